"""Tests of the overview of a directory of runs, against Astropy."""

import json
import shlex
from html import unescape
from itertools import pairwise

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import AltAz, EarthLocation, SkyCoord
from astropy.io import fits
from astropy.table import Table
from astropy.time import Time

import bgnb
from bgnb.observations.run_selection import select_off_runs
from bgnb.validation.inspection import GROUPS_LEGEND, RUNS_LEGEND
from tests.helpers.commands import output_of
from tests.helpers.errors import raises
from tests.helpers.run_files import ONTIME, TSTART, asymmetric_events, run, write_gadf

NEAR, TRUNCATED, DRIFTING, PLACEHOLDER, DUPLICATES, BARE, GAP, GAP2 = 4, 5, 6, 7, 8, 9, 10, 12
SOURCE = "<i>source</i>"
TELESCOP = "<b>&T"


def _run(obs_id, **changes):
    """Make a run whose events are around the pointing; all runs are more than 3 deg apart."""
    parts = run(obs_id, **{"pointing": (80.0 - 4 * obs_id, 30.0 + 20 * obs_id)} | changes)
    ra, dec = parts["RA_PNT"] - 0.5 / np.cos(np.radians(parts["DEC_PNT"])), parts["DEC_PNT"] - 0.3
    return parts | {"events": asymmetric_events(np.random.default_rng(obs_id), 400 + obs_id, ra, dec)}


def _run_with_gap(obs_id, start):
    """Make a run without events in 400 s."""
    parts = _run(obs_id, N_TELS=3)
    time = parts["events"]["TIME"] - TSTART
    elsewhere = (time - start) / 400 * (ONTIME - 400)
    elsewhere += 400 * (elsewhere > start)
    parts["events"]["TIME"] = TSTART + np.sort(np.where((time > start) & (time < start + 400), elsewhere, time))
    return parts


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """Write runs of all kinds, and a catalogue with an extended source 3.2 deg from the pointing of one of them."""
    path = tmp_path_factory.mktemp("inspect") / "my runs"
    below = {"RA_PNT": 10.0, "DEC_PNT": 60.0, "pointing": (60.0, 20.0)}
    parts = [
        _run(1),
        _run(2, threshold=0.45),
        _run(NEAR),
        _run(TRUNCATED),
        _run(DRIFTING, OBS_MODE="DRIFT"),
        _run(PLACEHOLDER, **below),
        _run(DUPLICATES),
        _run(BARE, threshold=None),
        _run_with_gap(GAP, 600),
        _run_with_gap(GAP2, 500),
    ]
    events = next(each for each in parts if each["OBS_ID"] == DUPLICATES)["events"]
    for values in events.values():
        values[1:6] = values[0]
    write_gadf(path, [each | {"TELESCOP": TELESCOP} for each in parts])
    file = path / "data" / f"run{TRUNCATED}.fits.gz"
    file.write_bytes(file.read_bytes()[:-1000])
    near = next(each for each in parts if each["OBS_ID"] == NEAR)
    position = SkyCoord(near["RA_PNT"], near["DEC_PNT"], unit="deg").directional_offset_by(40 * u.deg, 3.2 * u.deg)
    sources = Table({"NAME": [SOURCE, "other"], "RA": [position.ra.deg, 300.0], "DEC": [position.dec.deg, 85.0]})
    sources["EXTENSION"] = [0.2, 0.0]
    sources.write(path.parent / "sources.ecsv")
    return path


@pytest.fixture(scope="module")
def inspection(directory):
    return bgnb.inspect(directory, "GADF", catalog=directory.parent / "sources.ecsv", progress=False)


def _check_rows(inspection, files):
    """Compare the rows of runs with their files; return the pointings every minute of the good time."""
    for obs_id, (path, threshold) in files.items():
        row = inspection.table[inspection.table["OBS_ID"] == obs_id][0]
        with fits.open(path) as hdus:
            events, header, gti = hdus["EVENTS"].data, hdus["EVENTS"].header, hdus["GTI"].data
            intervals = np.stack([gti["START"], gti["STOP"]], axis=1).astype(float)
            inside = ((events["TIME"][:, None] >= intervals[:, 0]) & (events["TIME"][:, None] <= intervals[:, 1])).any(axis=1)
            assert row["ONTIME"] == pytest.approx(np.diff(intervals).sum())
            assert row["LIVETIME"] == header["LIVETIME"]
            assert row["EVENTS"] == inside.sum()
            assert row["RATE"] == pytest.approx(inside.sum() / header["LIVETIME"])
            assert row["LO_THRES"] == threshold if threshold else np.ma.is_masked(row["LO_THRES"])
            assert (row["TELESCOP"], row["STATUS"]) == (header["TELESCOP"], "usable")
            alt, az, weights, date = _pointings(header, intervals, 60)
            assert row["DATE"] == date
            assert row["ALT_PNT"] == pytest.approx(np.average(alt, weights=weights), abs=0.01)
            mean = np.average(np.exp(1j * np.radians(az)), weights=weights)
            assert abs(np.angle(np.exp(1j * np.radians(row["AZ_PNT"])) / mean, deg=True)) < 0.02


def _pointings(header, intervals, step):
    """Return altitude and azimuth in pieces of the good time, the duration of each, and the date of the start."""
    pieces = []
    for start, stop in intervals:
        edges = np.linspace(start, stop, int(np.ceil((stop - start) / step)) + 1)
        pieces += pairwise(edges)
    pieces = np.array(pieces)
    zero = Time(header["MJDREFI"], header["MJDREFF"], format="mjd", scale="tt")
    site = EarthLocation.from_geodetic(*(header[name] for name in ("GEOLON", "GEOLAT")), header.get("ALTITUDE", 0))
    frame = AltAz(obstime=zero + pieces.mean(axis=1) * u.s, location=site)
    sky = SkyCoord(header["RA_PNT"], header["DEC_PNT"], unit="deg").transform_to(frame)
    return sky.alt.deg, sky.az.deg, np.diff(pieces)[:, 0], (zero + intervals[0, 0] * u.s).utc.isot[:10]


def test_rows_agree_with_files(directory, inspection):
    """Livetime, ontime, events, thresholds and pointings are those of the files; broken runs have none."""
    files = {
        obs_id: (directory / "data" / f"run{obs_id}.fits.gz", threshold)
        for obs_id, threshold in ((1, 0.3), (2, 0.45), (NEAR, 0.3), (BARE, None))
    }
    _check_rows(inspection, files)
    assert inspection.table["OBS_ID"].tolist() == [1, 2, *range(4, 11), 12]
    assert inspection.usable["OBS_ID"].tolist() == [*files, GAP, GAP2]
    for row in inspection.table[~inspection.is_usable]:
        assert np.ma.is_masked(row["LIVETIME"])
        assert np.ma.is_masked(row["EVENTS"])
    assert "4 telescopes (4 runs)" in inspection.summary["instrument"]
    assert "3 telescopes (2 runs)" in inspection.summary["instrument"]
    assert "1 run " in inspection.summary["energy threshold"]
    assert "0.3 to 0.45 TeV" in inspection.summary["energy threshold"]


def test_ranges_agree_with_files(directory, inspection):
    """The totals and ranges in the summary are those of the usable runs, computed from the files."""
    hours, counts = 0.0, []
    for obs_id in (1, 2, NEAR, BARE, GAP, GAP2):
        with fits.open(directory / "data" / f"run{obs_id}.fits.gz") as hdus:
            gap = np.diff(hdus["EVENTS"].data["TIME"]).max() if obs_id in (GAP, GAP2) else 0
            hours += hdus["EVENTS"].header["LIVETIME"] * (1 - gap / ONTIME) / 3600
            counts.append(len(hdus["EVENTS"].data))
    assert inspection.summary["livetime"].startswith(f"{hours:.2f} h")
    assert inspection.summary["events per run"] == f"{min(counts)} to {max(counts)}, median {np.median(counts):.0f}"
    assert "6 usable" in inspection.summary["runs"]
    zenith = sorted(90 - inspection.usable["ALT_PNT"])
    assert inspection.summary["zenith angle"].startswith(f"{zenith[0]:.1f} to {zenith[-1]:.1f} deg")


def test_skipped_runs_name_options(inspection):
    """Each reason has its runs, and the options that make them usable, which are tried."""
    reasons = {row["REASON"]: row for row in inspection.reasons}
    expected = {
        "truncated": (TRUNCATED, ""),
        "unsupported-mode": (DRIFTING, "1 usable with --allow unsupported-mode"),
        "below-horizon": (PLACEHOLDER, "1 usable with --pointing header"),
        "duplicate-events": (DUPLICATES, "1 usable with --allow duplicate-events"),
    }
    assert reasons.keys() == expected.keys()
    for code, (obs_id, options) in expected.items():
        row = reasons[code]
        assert (row["RUNS"], row["OBS_IDS"], row["OPTIONS"]) == (1, str(obs_id), options)
        assert f"run{obs_id}.fits.gz" in row["EXAMPLE"]
    printed = str(inspection)
    assert "below-horizon: 1 run (7); 1 usable with --pointing header" in printed


def test_allowed_runs_become_usable(directory):
    """With the option that is named, the run is usable, and the command contains it."""
    arguments = {"allow": "duplicate-events", "select": [DUPLICATES, PLACEHOLDER], "progress": False}
    allowed = bgnb.inspect(directory, "GADF", **arguments)
    assert allowed.table["OBS_ID"].tolist() == [PLACEHOLDER, DUPLICATES]
    assert allowed.usable["OBS_ID"].tolist() == [DUPLICATES]
    assert "duplicate-events" in allowed.usable["NOTES"][0]
    assert "--allow duplicate-events" in allowed.command
    assert "--pointing" not in allowed.command  # it would cost as many runs as it gains


def test_notes_are_combined_by_kind(inspection):
    """Two gaps of different durations are one note of two runs."""
    (note,) = [note for note in inspection.notes if "there are no events in" in note]
    assert inspection.notes[note] == (GAP, GAP2)
    assert note == inspection.table[inspection.table["OBS_ID"] == GAP]["NOTES"][0]


def test_catalogue_is_noted_where_runs_are_selected(directory):
    """The date of the catalogue is a note on models, and not repeated by commands that select no runs."""
    assert not any("gamma-cat" in note for note in bgnb.inspect(directory, "GADF", progress=False).notes)
    made = bgnb.make_models(directory, "GADF", method="classic", n_energy=3, n_fov=4, progress=False)
    assert sum("gamma-cat" in note for note in made.report.notes) == 1


def test_sources_agree_with_astropy(directory, inspection):
    """Distances are those of Astropy, and runs are far if `select_off_runs` selects them."""
    sources = Table.read(directory.parent / "sources.ecsv")
    runs = bgnb.open_runs(directory, "GADF")
    pointings = SkyCoord(*(np.asarray(runs.table[name]) for name in ("RA_PNT", "DEC_PNT")), unit="deg")
    distance = pointings[:, None].separation(SkyCoord(sources["RA"], sources["DEC"], unit="deg")).deg
    np.testing.assert_allclose(inspection.table["DISTANCE"], distance.min(axis=1), atol=1e-9)
    assert inspection.table["SOURCE"].tolist() == [sources["NAME"][row] for row in distance.argmin(axis=1)]
    far = inspection.table["OBS_ID"][inspection.table["FAR"]].tolist()
    assert far == list(select_off_runs(runs, sources).kept)
    expected = {}
    for name, extension, distances in zip(sources["NAME"], sources["EXTENSION"], distance.T, strict=True):
        if (near := distances[distances < 3 + 2 * extension]).size:
            expected[name] = (near.size, pytest.approx(near.min()))
    assert SOURCE in expected
    assert {row["NAME"]: (row["RUNS"], row["NEAREST"]) for row in inspection.sources} == expected


def test_page_shows_all_runs(directory, tmp_path):
    """The page loads nothing, escapes names, and has all runs; table and report agree with it."""
    arguments = "inspect", directory, "GADF", tmp_path / "out", "--catalog", directory.parent / "sources.ecsv"
    printed = output_of(*arguments)
    assert output_of(*arguments, "--overwrite") == printed
    page = (tmp_path / "out" / "runs.html").read_text()
    assert "<i>" not in page
    assert "<b>" not in page
    assert "src=" not in page
    assert "http" not in page
    assert SOURCE in unescape(page)
    assert TELESCOP in unescape(page)
    table = Table.read(tmp_path / "out" / "runs.ecsv")
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert all(page.count(legend) == 1 for legend in (RUNS_LEGEND, GROUPS_LEGEND))
    assert GROUPS_LEGEND in printed
    runs = page.partition("All runs")[2]
    assert table["OBS_ID"].tolist() == [each["obs_id"] for each in report["runs"]]
    for row, each in zip(table, report["runs"], strict=True):
        mark = "" if row["STATUS"] == "usable" else "skipped"
        assert runs.count(f"<tr class='{mark}'><td class=number>{row['OBS_ID']}<td") == 1
        assert (each["livetime_s"] is None) == np.ma.is_masked(row["LIVETIME"])
        assert each["reason"] in unescape(runs)
    for text in report["summary"].values():
        assert text in printed
    assert report["command"] in printed
    assert report["settings"]["select"] == "all"


def test_command_can_be_pasted(directory, tmp_path, inspection):
    """The command quotes the directory, and makes models from the runs that are usable and far."""
    program, *arguments = shlex.split(inspection.command)
    assert program == "bgnb"
    assert arguments[arguments.index("--catalog") + 1] == str(directory.parent / "sources.ecsv")
    assert arguments[3] == "models"
    arguments[3] = str(tmp_path / "models")
    output_of(*arguments, "--method", "classic", "--n-energy", 5, "--n-fov", 6)
    report = json.loads((tmp_path / "models" / "report.json").read_text())
    used = [each["obs_id"] for each in report["runs"] if each["status"] == "used"]
    assert used == inspection.usable["OBS_ID"][inspection.usable["FAR"]].tolist()
    groups = {row["GROUP_ID"]: row for row in inspection.groups}
    for group in report["groups"]:
        row = groups[group["group_id"]]
        assert row["FAR_LIVETIME"] == pytest.approx(group["livetime_s"] / 3600)
        assert row["FAR_RUNS"] == group["n_runs"]


def test_list_and_edges_are_in_command(directory, tmp_path):
    """A list of runs, edges and a condition are part of the command; time outside the edges is stated."""
    listed = tmp_path / "list.txt"
    listed.write_text(f"1\n2\n{NEAR}\n")
    arguments = {"select": listed, "alt_edges": "0,68", "az_edges": [-90, 270], "events": "ENERGY > 0.2", "progress": False}
    found = bgnb.inspect(directory, "GADF", **arguments)
    words = shlex.split(found.command)
    options = dict(zip(words[5::2], words[6::2], strict=True))
    assert options["--select"] == str(listed)
    assert (options["--alt-edges"], options["--az-edges"]) == ("0,68", "-90,270")
    assert options["--events"] == "ENERGY > 0.2"
    with fits.open(directory / "data" / "run1.fits.gz") as hdus:
        assert found.table["EVENTS"][0] == np.sum(hdus["EVENTS"].data["ENERGY"] > 0.2)
    assert found.groups["RUNS"].tolist() == [1]  # NEAR is at an altitude of 64 deg, 1 and 2 of 76 and 72 deg
    assert found.groups["LIVETIME"][0] == pytest.approx((1500 + NEAR) / 3600)
    assert found.outside == pytest.approx((1501 + 1502) / 3600)
    with raises("not-found", "99"):
        bgnb.inspect(directory, "GADF", select=[99], progress=False)


def test_several_instruments_are_noted(tmp_path):
    """Runs of two instruments are not mixed, so that the command asks for a list; an azimuth range passes north."""
    pointings = ((70.0, 350.0), (65.0, 20.0), (60.0, 5.0))
    parts = [_run(n, TELESCOP="AB"[n == 3], pointing=each) for n, each in enumerate(pointings, 1)]
    found = bgnb.inspect(write_gadf(tmp_path / "runs", parts), "GADF", progress=False)
    assert "A, 4 telescopes (2 runs); B, 4 telescopes (1 run)" in found.summary["instrument"]
    assert "--select runs.txt" in found.command
    first, last = found.usable["AZ_PNT"][0], found.usable["AZ_PNT"][1]
    assert found.summary["azimuth"] == f"{first:.1f} through north to {last:.1f} deg"
    alone = bgnb.inspect(tmp_path / "runs", "gadf", select=[3], progress=False)
    assert " GADF " in alone.command
    assert alone.summary["azimuth"] == f"{alone.usable['AZ_PNT'][0]:.1f} deg"
    assert repr(found) == f"Inspection(3 runs in {tmp_path / 'runs'} (GADF), 3 usable)"


def test_simulated_runs_have_no_sources(tmp_path):
    """The command selects all simulated runs; without usable runs, there is none."""
    bgnb.make_test_dataset(tmp_path / "runs", n_runs=2, trigger_rate=1.0, progress=False)
    found = bgnb.inspect(tmp_path / "runs", "FILES", progress=False)
    assert not len(found.sources)
    assert shlex.split(found.command)[-2:] == ["--select", "all"]
    for file in (tmp_path / "runs" / "data").glob("*.fits.gz"):
        file.write_bytes(file.read_bytes()[:-500])
    broken = bgnb.inspect(tmp_path / "runs", "GADF", progress=False)
    assert broken.command == ""
    assert list(broken.summary) == ["runs"]
    assert "truncated: 2 runs (1, 2)" in output_of("inspect", tmp_path / "runs", "GADF")


@pytest.mark.slow
def test_hess_runs_agree_with_astropy(hess_data):
    """Rows and groups of real runs are those computed by Astropy from their files."""
    index = Table.read(hess_data / "hdu-index.fits.gz")
    rows = index[np.char.strip(np.asarray(index["HDU_TYPE"]).astype(str)) == "events"]
    files = {}
    for row in rows:
        path = hess_data / row["FILE_DIR"].strip() / row["FILE_NAME"].strip()
        files[int(row["OBS_ID"])] = path, fits.getheader(path, "AEFF")["LO_THRES"]
    found = bgnb.inspect(hess_data, "GADF", progress=False)
    assert found.table["OBS_ID"].tolist() == sorted(files)
    _check_rows(found, files)
    seconds = dict.fromkeys(found.groups["GROUP_ID"].tolist(), 0.0)
    for path, _ in files.values():
        with fits.open(path) as hdus:
            intervals = np.stack([hdus["GTI"].data["START"], hdus["GTI"].data["STOP"]], axis=1).astype(float)
            header = hdus["EVENTS"].header
        alt, az, weights, _ = _pointings(header, intervals, 300)
        for a, z, weight in zip(alt, az, weights, strict=True):
            (row,) = [
                row
                for row in found.groups
                if row["ALT_MIN"] <= a < row["ALT_MAX"] and (z - row["AZ_MIN"]) % 360 < row["AZ_MAX"] - row["AZ_MIN"]
            ]
            seconds[row["GROUP_ID"]] += header["LIVETIME"] * weight / weights.sum()
    np.testing.assert_allclose(found.groups["LIVETIME"], np.array(list(seconds.values())) / 3600, rtol=1e-6)
    assert found.outside == 0
    crab = SkyCoord(83.6333, 22.0133, unit="deg")
    obs = Table.read(hess_data / "obs-index.fits.gz")
    distance = SkyCoord(obs["RA_PNT"], obs["DEC_PNT"], unit="deg").separation(crab).deg
    (row,) = [row for row in found.sources if row["NAME"] == "Crab nebula"]
    assert row["RUNS"] == np.sum(distance < 3)
    assert row["NEAREST"] == pytest.approx(distance.min(), abs=0.01)


@pytest.mark.slow
def test_cta_runs_need_header(other_data, tmp_path):
    """The overview of the first data challenge names the option without which no run is usable, and its command works."""
    indir = other_data / "cta-1dc" / "index" / "gps"
    found = bgnb.inspect(indir, "GADF", progress=False)
    assert not len(found.usable)
    assert all("--pointing header" in row["OPTIONS"] for row in found.reasons)
    assert sum(row["RUNS"] for row in found.reasons) == 4
    _, *arguments = shlex.split(found.command)
    assert arguments[4:] == ["--pointing", "header", "--sources", "mask"]
    arguments[3] = str(tmp_path / "models")
    assert "4 of 4 runs used" in output_of(*arguments, "--method", "classic")
    header = bgnb.inspect(indir, "GADF", pointing="header", progress=False)
    obs = Table.read(indir / "obs-index.fits.gz")
    np.testing.assert_allclose(header.usable["ALT_PNT"], obs["ALT_PNT"])
    paths = [other_data / "cta-1dc/data/baseline/gps" / f"gps_baseline_{each}.fits" for each in header.usable["OBS_ID"]]
    livetimes = [fits.getheader(path, "EVENTS")["LIVETIME"] for path in paths]
    np.testing.assert_allclose(header.usable["LIVETIME"], livetimes)
    assert header.summary["livetime"].startswith(f"{sum(livetimes) / 3600:.2f} h")


@pytest.mark.slow
def test_magic_runs_have_thresholds(other_data):
    """Runs of MAGIC are found without an index; all are near the Crab nebula."""
    indir = other_data / "magic" / "rad_max"
    found = bgnb.inspect(indir, "FILES", progress=False)
    paths = {fits.getheader(path, "EVENTS")["OBS_ID"]: path for path in sorted(indir.rglob("*DL3*.fits"))}
    assert found.usable["OBS_ID"].tolist() == sorted(paths)
    for row in found.usable:
        assert row["LO_THRES"] == fits.getheader(paths[row["OBS_ID"]], "EFFECTIVE AREA")["LO_THRES"]
        assert row["EVENTS"] <= len(fits.getdata(paths[row["OBS_ID"]], "EVENTS"))
    assert found.command.endswith("--sources mask")
