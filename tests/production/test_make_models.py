"""Models in memory: what they contain and state."""

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import AltAz, EarthLocation, SkyCoord
from astropy.io import fits
from astropy.table import Table
from astropy.time import Time

import bgnb
from bgnb import (
    CubeAxes,
    make_bg_cube_models,
    make_models,
    make_test_dataset,
    open_runs,
    read_event_list,
    read_model,
    stack_runs,
    write_model,
)
from bgnb.observations.event_reader import read_pieces
from bgnb.observations.event_selection import notes_on_condition
from bgnb.production.pipeline import models_of_subsets
from bgnb.production.plan import make_plan
from tests.helpers.errors import raises
from tests.helpers.files import digests
from tests.helpers.run_files import HESS, MJDREF, ONTIME, TSTART, run, write_gadf


def test_options_reach_the_model(tmp_path):
    """Frame, method and the ends of the axes, each other than the default."""
    indir = write_gadf(tmp_path / "in", [run(2, 600, threshold=0.6)])
    common = {"select": "all", "n_energy": np.int64(9), "n_fov": 12}
    default = make_bg_cube_models(indir, "GADF", tmp_path / "default", **common)
    other = make_bg_cube_models(
        indir, "GADF", tmp_path / "other", **common, fovalign="radec", method="michi", energy_max="40 TeV", fov_max="3 deg"
    )
    first, second = (read_model(tmp_path / n / r.groups[0].files[0]) for n, r in (("default", default), ("other", other)))
    assert (first.stack.fovalign, first.method, second.stack.fovalign, second.method) == ("ALTAZ", "spline", "RADEC", "michi")
    assert first.axes.energy[[0, -1]].value == pytest.approx([0.1, 80])
    assert second.axes.energy[-1].value == pytest.approx(40)
    assert second.axes.detx[[0, -1]].value == pytest.approx([-3, 3])
    events = read_event_list(open_runs(indir, "GADF").files(2))
    axes = CubeAxes.regular(n_energy=9, n_fov=12, energy_max="40 TeV", fov_max="3 deg")
    expected = stack_runs([events], axes, "RADEC").counts
    assert np.array_equal(second.stack.counts, expected[-second.axes.shape[0] :])
    assert not np.array_equal(expected, stack_runs([events], axes, "ALTAZ").counts)


@pytest.mark.slow
def test_mean_pointing_of_a_group(tmp_path):
    """The pointing of a group is the mean over the good time of its runs, as in Astropy, weighted by livetime."""
    parts = [
        run(2, 100, pointing=(75.0, 350.0), LIVETIME=900.0),
        run(3, 100, pointing=(55.5, 100.0)),
        run(4, 100, pointing=(81.0, 20.0), gti=[(TSTART, TSTART + 400), (TSTART + 600, TSTART + ONTIME)]),
    ]
    indir = write_gadf(tmp_path / "in", parts)
    report = make_bg_cube_models(indir, "GADF", tmp_path / "out", select="all")
    group = report.groups[-1]
    assert (group.group_id, group.n_runs, group.livetime_s) == (26, 2, 900 + 0.9 * 1480)
    means = []
    for each in (parts[0], parts[2]):
        seconds = np.concatenate([np.arange(start, stop, 2.0) + 1 for start, stop in each["gti"]])
        location = EarthLocation(lon=HESS.lon * u.deg, lat=HESS.lat * u.deg, height=HESS.height * u.m)
        frame = AltAz(obstime=Time(MJDREF, format="mjd", scale="tt") + seconds * u.s, location=location)
        seen = SkyCoord(each["RA_PNT"] * u.deg, each["DEC_PNT"] * u.deg).transform_to(frame)
        means.append((seen.alt.deg.mean(), np.exp(1j * np.angle(np.exp(1j * seen.az.rad).mean()))))
    alt_pnt, direction = np.average(np.array(means), axis=0, weights=[900, 0.9 * 1480])
    az_pnt = np.degrees(np.angle(direction)) % 360
    assert not np.isclose(alt_pnt.real, 78, atol=0.2)
    assert (group.alt_mean_deg, group.az_mean_deg) == pytest.approx((alt_pnt.real, az_pnt), abs=0.01)
    assert group.alt_min_deg < group.alt_mean_deg < group.alt_max_deg
    assert report.table["ALT_MAX"][-1] - report.table["ALT_MIN"][-1] == pytest.approx(6, abs=3)
    header = fits.getheader(tmp_path / "out" / group.files[0])
    assert (header["ALT_PNT"], header["AZ_PNT"]) == pytest.approx((group.alt_mean_deg, group.az_mean_deg))
    assert [header[name] for name in ("ALT_MIN", "ALT_MAX", "AZ_MIN", "AZ_MAX")] == [72, 90, -90, 90]
    assert (group.n_runs, report.table["RUNS"][-1]) == (2, 2)


def test_wide_merged_group_is_noted(tmp_path):
    """Merged groups whose runs span more than 0.1 in the cosine of the zenith angle are noted; others are not."""
    altitudes = {2: 38.0, 3: 48.0, 4: 74.0, 5: 86.0}
    indir = write_gadf(tmp_path / "in", [run(obs_id, 100, pointing=(alt, 20.0)) for obs_id, alt in altitudes.items()])
    arguments = {"select": "all", "n_energy": 5, "n_fov": 6, "min_livetime": "0.6 h"}
    report = make_bg_cube_models(indir, "GADF", tmp_path / "out", method="unsmoothed", **arguments)
    ranges = [(group.alt_min_deg, group.alt_max_deg) for group in report.groups]
    assert len(ranges) == 2
    assert ranges[0] == pytest.approx((38.0, 48.0), abs=0.2)
    assert ranges[1] == pytest.approx((74.0, 86.0), abs=1)
    (note,) = (note for note in report.notes if "merge" in note and "altitude" in note)
    assert "a range of 0.13" in note  # of altitude 74 to 86 deg, it is 0.04
    assert "--method spline" in note
    spline = make_models(indir, "GADF", method="spline", **arguments).report
    (of_spline,) = (note for note in spline.notes if "merge" in note and "altitude" in note)
    assert of_spline.partition("; ")[0] == note.partition("; ")[0]
    assert f"at {spline.groups[0].alt_mean_deg:.1f} deg" in of_spline
    assert "--method spline" not in of_spline
    assert not any("hardly known" in note for note in (*spline.notes, *report.notes))
    few = make_models(indir, "GADF", method="spline", **arguments | {"select": [2, 3, 5]}).report
    assert any(note.startswith("models of 3 runs") for note in few.notes)
    stored = json.loads((tmp_path / "out" / "report.json").read_text())
    assert note in stored["notes"]
    assert [stored["groups"][0][name] for name in ("alt_min_deg", "alt_max_deg")] == pytest.approx(ranges[0])
    wide = arguments | {"min_livetime": "0 h", "alt_edges": [0, 90]}
    chosen = make_bg_cube_models(indir, "GADF", tmp_path / "wide", method="unsmoothed", **wide)
    assert not any("merges" in note for note in chosen.notes)  # the user chose this group


def selected(obs_id, select, n_events=6000):
    """Make a run of the events whose DETX and DETY a function selects."""
    parts = run(obs_id, n_events)
    events = bgnb.EventList(
        obs_id=obs_id, time=parts["events"]["TIME"], ra=parts["events"]["RA"], dec=parts["events"]["DEC"],
        energy=parts["events"]["ENERGY"], mjdref=MJDREF, gti=np.array(parts["gti"]), livetime=parts["LIVETIME"],
        ra_pnt=parts["RA_PNT"], dec_pnt=parts["DEC_PNT"], site=HESS, energy_threshold=None,
    )  # fmt: skip
    inside = select(*events.detxy("ALTAZ"))
    return parts | {"events": {name: values[inside] for name, values in parts["events"].items()}}


def rectangle(obs_id, detx, dety):
    """Make a run without events outside a rectangle."""
    return selected(obs_id, lambda x, y: (np.abs(x) < detx) & (np.abs(y) < dety))


@pytest.mark.parametrize("method", ["spline", "classic", "unsmoothed"])
def test_misfit_is_noted(tmp_path, method):
    """A hole in the field of view that a method does not follow is noted; a field of view without is not."""
    hole = [selected(obs_id, lambda x, y: np.hypot(x - 0.6, y + 0.4) > 0.8, 60000) for obs_id in (1, 2)]
    make_test_dataset(tmp_path / "whole", n_runs=2, trigger_rate=120.0, gradient_x=0.05, seed=7)
    axes = {"n_energy": 4, "n_fov": 16, "energy_min": "0.3 TeV", "fov_max": "3 deg"}
    for indir, n_notes in ((write_gadf(tmp_path / "hole", hole), method != "unsmoothed"), (tmp_path / "whole", 0)):
        report = make_models(indir, "GADF", method=method, select="all", progress=False, **axes).report
        assert sum(group.counts for group in report.groups) > 8000
        notes = [note for note in report.notes if "differ from their counts" in note]
        assert len(notes) == n_notes
        assert all("--method unsmoothed" in note for note in notes)


def test_conditions_that_remove_exposure_are_noted(tmp_path):
    """A condition on energy, time or position leaves the livetime as it is, which is noted."""
    indir = write_gadf(tmp_path / "in", [run(obs_id, 4000) for obs_id in (1, 2)])
    axes = {"n_energy": 4, "n_fov": 8, "energy_min": "0.3 TeV", "method": "classic", "select": "all", "progress": False}
    notes = make_models(indir, "GADF", events="ENERGY < 50 and TIME > 0", **axes).report.notes
    assert sum("the condition on events depends on ENERGY, TIME: " in note for note in notes) == 1
    assert not notes_on_condition("GAMMANESS > 0.7 and EVENT_TYPE & 1")
    assert not any("condition" in note for note in make_models(indir, "GADF", **axes).report.notes)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["spline", "classic"])
def test_edge_of_the_camera_is_stated(tmp_path, method):
    """Report, notes and headers state the edge of the camera, of each group if they differ, and none where there is none."""
    size = (1.7, 0.9)
    indir = write_gadf(tmp_path / "in", [rectangle(2, *size), rectangle(6, *size), run(3, 6000)])
    arguments = {"n_energy": 4, "n_fov": 16, "fov_max": "3 deg", "method": method}
    report = make_bg_cube_models(indir, "GADF", tmp_path / "out", select=[2, 6], **arguments)
    models = bgnb.read_models(tmp_path / "out")
    found = [models[group.group_id].edge for group in report.groups]
    assert len(found) == 2
    for group, edge in zip(report.groups, found, strict=True):
        assert (edge.shape, edge.detx, edge.dety) == ("rectangle", pytest.approx(1.7, abs=0.15), pytest.approx(0.9, abs=0.15))
        assert group.camera_edge == str(edge)
        assert f"±{edge.detx:.2f} deg in DETX" in str(edge)
    notes = [note for note in report.notes if "camera" in note]
    assert len(notes) == len({str(edge) for edge in found})
    assert all(any(str(edge) in note for note in notes) for edge in found)
    if method == "spline":
        assert models.for_pointing.edge == found[0]
        assert len(notes) == 1
        assert ": group" not in notes[0]
        return
    both = make_models(indir, "GADF", select="all", **arguments).report
    (whole,) = (group for group in both.groups if group.camera_edge is None)
    ids = sorted(group.group_id for group in both.groups if group is not whole)
    assert (
        sorted(
            int(group_id) for note in both.notes if "camera" in note for group_id in note.partition(": group ")[2].split(",")
        )
        == ids
    )


def test_runs_near_sources_are_noted(tmp_path):
    """Models, validation and cross-validation note runs near a source, unless they are dropped or the source is masked."""
    positions = {2: (72.0, -43.0), 3: (74.0, -53.0), 5: (72.0, -44.3), 6: (75.0, -53.0)}  # of PKS 0447-439: 72.35, -43.84
    parts = [run(obs_id, 300, RA_PNT=ra, DEC_PNT=dec) for obs_id, (ra, dec) in positions.items()]
    (indir := write_gadf(tmp_path / "in", parts)).joinpath("data/run5.fits.gz").write_bytes(b"nonsense")
    small = {"n_energy": 5, "n_fov": 6, "alt_edges": [0, 90], "az_edges": [0, 360], "method": "unsmoothed"}
    arguments = ({"select": "all"}, {"select": [2, 3, 5]}, {"select": "far"}, {"select": "all", "sources": "mask"})
    found = [make_models(indir, "GADF", **each, **small).report for each in arguments]
    notes = [[note for note in report.notes if note.startswith("runs near known sources")] for report in found]
    assert [len(each) for each in notes] == [1, 1, 0, 0]
    assert [sum("gamma-cat (July 2018)" in note for note in report.notes) for report in found] == [0, 0, 1, 1]
    covered = Table({"RA": [72.35], "DEC": [-43.84], "RADIUS": [0.4]})
    excluded = make_models(indir, "GADF", select="all", exclude=covered, **small).report
    assert excluded.notes == tuple(note for note in found[0].notes if note not in notes[0])
    assert ": 2 (nearest: PKS 0447-439, 0.87 deg from run 2);" in notes[0][0]
    make_bg_cube_models(indir, "GADF", tmp_path / "m", select=[3, 6], **small)
    small = {"model_n_energy" if name == "n_energy" else name: value for name, value in small.items() if name != "n_fov"}
    for each, expected in zip(arguments, notes, strict=True):
        validated = bgnb.validate(tmp_path / "m", indir, "GADF", rate_interpolation="none", **each)
        crossed = bgnb.cross_validate(indir, "GADF", folds=2, rate_interpolation="none", **each, **small)
        for validation in (validated, *crossed.values()):
            assert [note for note in validation.notes if note.startswith("runs near known sources")] == expected


def test_group_without_counts_is_skipped(tmp_path):
    """Runs of a group without counts are skipped; the other groups get models."""
    indir = write_gadf(tmp_path / "in", [run(2, 100), run(3, 100, threshold=79.0)])
    report = make_bg_cube_models(indir, "GADF", tmp_path / "out", select="all", allow="bad-threshold")
    assert [entry.as_dict()["status"] for entry in report.runs] == ["used", "skipped"]
    assert "LO_THRES = 79 TeV: no energy bin lies within these limits; the axis ranges from 0.1 to 80 TeV" in report.faults[3]
    assert len(report.groups) == 1
    with raises("no-counts", "1 in a group without counts"):
        make_bg_cube_models(indir, "GADF", tmp_path / "none", select=[2], energy_min="78 TeV", n_energy=1)


def test_both_headers_describe_the_scatter(tmp_path):
    """SCATTER has the same value and comment in the primary header of a model and in that of its rate."""
    indir = write_gadf(tmp_path / "in", [run(2, 500), run(4, 800)])
    report = make_bg_cube_models(indir, "GADF", tmp_path / "out", select="all", method="unsmoothed", n_energy=6, n_fov=10)
    with fits.open(tmp_path / "out" / report.groups[0].files[0]) as hdus:
        primary, rate = (hdus[name].header for name in ("PRIMARY", "BACKGROUND"))
        assert primary["SCATTER"] == rate["SCATTER"] > 0
        assert primary.comments["SCATTER"] == rate.comments["SCATTER"] != ""


@pytest.mark.slow
def test_run_below_threshold_adds_nothing(tmp_path):
    """The group's livetime would be too long for its counts, if such a run counted."""
    indir = write_gadf(tmp_path / "in", [run(2, 100), run(4, 100), run(8, 100, threshold=300.0)])
    for workers in (1, 2):
        report = make_bg_cube_models(indir, "GADF", tmp_path / f"out{workers}", select="all", workers=workers)
        assert list(report.faults) == [8]
        assert report.groups[0].livetime_s == 3006


def test_runs_that_end_at_a_limit(tmp_path):
    """The rate is that of complete runs below the limit; above it, there is no livetime, and the report names the events."""
    options = {"select": "all", "method": "unsmoothed", "n_energy": 8, "n_fov": 6}
    whole = write_gadf(tmp_path / "in", [run(2, 900), run(4, 900)])
    cut = write_gadf(tmp_path / "cut", [run(2, 900, limit=5.0), run(4, 900, limit=5000.0, limit_comment="[GeV]")])
    one, other = (make_models(path, "GADF", **options) for path in (whole, cut))
    (full,), (limited,) = ([group.model for group in made.models.models] for made in (one, other))
    stop = full.axes.number_below(5 * u.TeV)
    assert 0 < stop < 7
    assert np.array_equal(full.rate.quantity[:stop], limited.rate.quantity[:stop])
    assert limited.exposed.tolist()[stop:] == [False] * (8 - stop)
    lost = sum(entry.counted.events_above_limit for entry in other.report.runs)
    assert lost >= full.stack.counts[stop:].sum() > 0
    assert f"{lost} above the energy limit or in the bin that contains it" in other.report.summary
    for entry in other.report.as_dict()["runs"]:
        kinds = ("events_outside_gti", "events_below_threshold", "events_above_limit", "events_outside_axes", "counts")
        assert sum(entry[kind] for kind in kinds) == entry["events"]
        assert entry["energy_limit_tev"] == 5
    write_model(limited, tmp_path / "m.fits")
    assert fits.getheader(tmp_path / "m.fits", "BACKGROUND")["HI_THRES"] == limited.axes.energy[stop].value
    back = read_model(tmp_path / "m.fits").stack.runs
    assert back == tuple(replace(entry, notes=()) for entry in limited.stack.runs)


@pytest.mark.slow
def test_spline_of_summed_runs_agrees(tmp_path, monkeypatch):
    """Beyond a number of runs, those of similar pointing are summed; report and models agree."""
    make_test_dataset(tmp_path / "runs", n_runs=6, trigger_rate=15, alt_range=(60, 64), seed=3, progress=False)
    arguments = {"select": "all", "method": "spline", "n_energy": 5, "n_fov": 8, "progress": False}
    arguments |= {"alt_edges": [0, 90], "az_edges": [0, 360]}
    single = make_bg_cube_models(tmp_path / "runs", "GADF", tmp_path / "single", **arguments)
    monkeypatch.setattr("bgnb.production.plan.SINGLE_RUNS", 2)
    added = make_bg_cube_models(tmp_path / "runs", "GADF", tmp_path / "added", **arguments)
    assert single.runs == added.runs
    one, other = (read_model(tmp_path / name / single.groups[0].files[0]) for name in ("single", "added"))
    assert np.array_equal(one.stack.counts, other.stack.counts)
    assert one.error is not None
    np.testing.assert_allclose((one.rate.quantity * one.stack.exposure).sum(), one.stack.counts.sum(), rtol=0.05)
    np.testing.assert_allclose(other.rate.quantity[:3], one.rate.quantity[:3], rtol=0.1)
    again = make_bg_cube_models(tmp_path / "runs", "GADF", tmp_path / "again", **arguments)
    assert again.groups == added.groups
    assert digests(tmp_path / "again") == digests(tmp_path / "added")


def test_no_step_at_the_threshold_of_dim_runs(tmp_path, monkeypatch):
    """Runs with fewer events and a higher threshold, as by moonlight, are not summed with others of the same pointing.

    Otherwise the spectrum would have a step of a fifth where they start to count.
    """
    monkeypatch.setattr("bgnb.production.plan.SINGLE_RUNS", 2)
    bright = [run(obs_id, 24_000, pointing=(70.0, 30.0), LIVETIME=1500.0) for obs_id in (2, 4, 6)]
    dim = [run(obs_id, 14_000, pointing=(70.0, 30.0), LIVETIME=1500.0, threshold=1.0) for obs_id in (1, 3, 5)]
    write_gadf(tmp_path / "in", bright + dim)
    axes = {"energy_min": "0.1 TeV", "energy_max": "10 TeV", "n_energy": 8, "n_fov": 12}
    models = make_models(tmp_path / "in", "GADF", select="all", **axes, progress=False).models
    rate = models.for_pointing.rate_at(70.0, 30.0)
    spectrum = (rate.quantity * rate.axes.bin_volume).to_value("s-1").sum(axis=(1, 2))
    edges = rate.axes.energy.to_value("TeV")
    per_event = spectrum / (edges[:-1] ** -1.7 - edges[1:] ** -1.7)
    assert edges[4] == pytest.approx(1)
    assert per_event[4:6].mean() / per_event[2:4].mean() == pytest.approx(1, abs=0.03)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["classic", "spline"])
def test_models_of_subsets_count_once(indir, method, monkeypatch):
    """Models of subsets are those of the runs alone, also if only some subsets have cells of single runs."""
    monkeypatch.setattr("bgnb.production.plan.SINGLE_RUNS", 4)
    axes = {"n_energy": 6, "n_fov": 10, "method": method}
    subsets = [[2, 3, 5, 9, 11], [6, 2, 3, 5], [11, 9, 6, 3, 2], [2, 3]]
    expected = [make_models(indir, "GADF", select=subset, **axes, progress=False).models for subset in subsets]
    settings = make_models(indir, "GADF", select="all", **axes, progress=False).settings
    read: list[int] = []

    def reading(files):
        read.append(files.obs_id)
        return read_pieces(files)

    monkeypatch.setattr("bgnb.production.count_chunks.read_pieces", reading)
    for found, models in zip(models_of_subsets(make_plan(settings), subsets), expected, strict=True):
        assert found.group_ids == models.group_ids
        for group_id in models.group_ids:
            one, other = found[group_id], models[group_id]
            for name in ("counts", "livetime_us", "runs"):
                np.testing.assert_array_equal(getattr(one.stack, name), getattr(other.stack, name))
            np.testing.assert_array_equal(one.rate.quantity, other.rate.quantity)
    # Subsets of at most SINGLE_RUNS runs, and larger ones, have different cells of the spline.
    once = {2: 1, 3: 1, 5: 1, 6: 1, 9: 1, 11: 1}
    twice = {2: 2, 3: 2, 5: 2, 6: 2, 9: 1, 11: 1}
    assert Counter(read) == (once if method == "classic" else twice)
