"""Unusual but valid input: the run is used with all its counts and its livetime."""

import gzip
import shutil

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from bgnb import make_bg_cube_models, open_runs, read_event_list, read_group_model, read_model
from bgnb.observations.coordinates import Site
from tests.broken.directory import (
    CHANGED,
    EVENTS,
    LIVETIME,
    both,
    detxy,
    file_of,
    good_totals,
    gti_in_another_file,
    in_bytes,
    in_card,
    in_columns,
    in_header,
    in_index,
    in_location,
    in_row,
    make_models,
    moved_to,
    parts_of_run,
    totals,
    with_column,
    with_whole_card,
)
from tests.helpers.errors import raises
from tests.helpers.run_files import MJDREF, ONTIME, TSTART, run, write_gadf


def plain_fits(indir):
    path = file_of(indir)
    (indir / "data" / "run4.fits").write_bytes(gzip.decompress(path.read_bytes()))
    path.unlink()
    in_location(FILE_NAME="run4.fits")(indir)


def plain_content_under_gz_name(indir):
    in_bytes(gzip.decompress, decompressed=False)(indir)


def in_two_members(content):
    plain = gzip.decompress(content)
    return gzip.compress(plain[:7000]) + gzip.compress(plain[7000:])


def scaled(indir):
    def whole(table):
        table["ENERGY"] = np.round((table["ENERGY"] - 2) * 1000).astype(np.int16)
        table["ENERGY"].unit = "TeV"
        table["TIME"] -= TSTART

    in_columns(change=whole)(indir)
    # Replace unused cards, because astropy would scale the values itself.
    cards = {"HDUCLASS": "TSCAL5  =                0.001", "HDUCLAS1": "TZERO5  =                  2.0"}
    cards["TELESCOP"] = f"TZERO2  = {TSTART:20}"
    for keyword, card in cards.items():
        in_bytes(lambda content, old=keyword, new=card: with_whole_card(content, old, new))(indir)


def link(indir):
    file_of(indir).rename(indir / "there.fits.gz")
    file_of(indir).symlink_to("../there.fits.gz")


def absolute(indir):
    in_location(FILE_DIR=str((indir / "data").absolute()))(indir)


def base_dir(indir):
    shutil.move(indir / "data", indir / "elsewhere")

    def change(table):
        table.meta["BASE_DIR"] = "elsewhere"
        table["FILE_DIR"] = ""

    in_index("hdu-index", change)(indir)


def without_columns(*names):
    return in_index("obs-index", lambda table: table.remove_columns(list(names)))


def only_positions(table):
    table.keep_columns(["OBS_ID", "RA_PNT", "DEC_PNT"])


def as_text(table):
    table["OBS_ID"] = table["OBS_ID"].astype(str)


def like_magic(indir):
    """Imitate MAGIC: no LIVETIME or altitude in the index, and a wrong HDU name."""
    without_columns("ALT_PNT", "AZ_PNT", "LIVETIME", "ONTIME", "TSTART", "TSTOP")(indir)
    in_location("events", HDU_NAME="EVT")(indir)


def in_days(indir):
    """State TSTART and TSTOP in days, from which altitude and azimuth are computed."""
    without_columns("ALT_PNT", "AZ_PNT")(indir)
    in_header(TIMEUNIT="d", TSTART=TSTART / 86400, TSTOP=(TSTART + ONTIME) / 86400)(indir)


def like_veritas(indir):
    in_header(TIMESYS="tt", GEOLON="16.5002222", GEOLAT=" -23.2717778 ", ALTITUDE="1835.")(indir)


CASES = {
    "plain FITS": plain_fits,
    "plain FITS under a name with .gz": plain_content_under_gz_name,
    "gzip of two members": in_bytes(in_two_members, decompressed=False),
    "padding after gzip": in_bytes(lambda content: content + bytes(1000), decompressed=False),
    "padding after the last HDU": in_bytes(lambda content: content + bytes(5760)),
    "good time intervals in another file": gti_in_another_file,
    "energies in GeV": with_column("ENERGY", lambda table: table["ENERGY"] * 1000, "GeV"),
    "positions in rad": both(
        with_column("RA", lambda table: np.radians(table["RA"]), "rad"),
        with_column("DEC", lambda table: np.radians(table["DEC"]), "rad"),
    ),
    "times in ms": with_column("TIME", lambda table: table["TIME"] * 1000, "ms"),
    "negative right ascension of events": with_column("RA", lambda table: table["RA"] - 360),
    "negative right ascension of the pointing": in_header(RA_PNT=parts_of_run(CHANGED)["RA_PNT"] - 360),
    "negative azimuth": in_row(AZ_PNT=30.0 - 360),
    "single precision": with_column("ENERGY", lambda table: np.asarray(table["ENERGY"], dtype=np.float32)),
    "scaled columns": scaled,
    "column names in lower case": in_columns(change=lambda table: table.rename_columns(["ENERGY", "RA"], ["energy", "Ra"])),
    "descending index": in_index("obs-index", lambda table: table[::-1]),
    "unsorted index": in_index("obs-index", lambda table: table[[1, 2, 0]]),
    "descending index of HDUs": in_index("hdu-index", lambda table: table[::-1]),
    "index without altitude and azimuth": without_columns("ALT_PNT", "AZ_PNT"),
    "index without altitude and azimuth, headers with them": both(
        without_columns("ALT_PNT", "AZ_PNT"), in_header(ALT_PNT=75.0, AZ_PNT=30.0)
    ),
    "index of numbers alone": in_index("obs-index", lambda table: table.keep_columns(["OBS_ID"])),
    "index of numbers and positions": in_index("obs-index", only_positions),
    "altitude that is not a number in the index": in_row(ALT_PNT=np.nan),
    "right DETX and DETY": detxy(1),
    "FK5 in words": in_header(RADECSYS="FK5", EQUINOX="J2000.0"),
    "FK5 without equinox": in_header(RADECSYS="fk5", EQUINOX="UNKNOWN"),
    "FK5 of 2000 by its equinox": in_header(EQUINOX=2000),
    "OBS_MODE": in_header(OBS_MODE="POINTING"),
    "OBS_MODE wobble": in_header(OBS_MODE="Wobble"),
    "OBS_MODE in lower case": in_header(OBS_MODE=" pointing"),
    "path with ..": in_location(FILE_DIR="data/../data/./"),
    "absolute path": absolute,
    "BASE_DIR": base_dir,
    "BASE_DIR of another computer": in_index(
        "hdu-index", lambda table: table.meta.update(BASE_DIR="/data/of/another/computer")
    ),
    "file name with spaces": moved_to("my run 4.fits.gz", "my data"),
    "file name that is not ASCII": moved_to("Läufe ²4.fits.gz", "données"),
    "file name of glob characters": moved_to("run[4]*?.fits.gz"),
    "file name of shell characters": moved_to("run4;`$HOME`&'\".fits.gz"),
    "link to the file": link,
    "OBS_ID as text": in_index("obs-index", as_text),
    "OBS_ID as text in both": both(in_index("obs-index", as_text), in_index("hdu-index", as_text)),
    "OBS_ID as text in the header": in_header(OBS_ID="004"),
    "as in MAGIC's index": like_magic,
    "as in VERITAS's headers": like_veritas,
    "TIMEUNIT d": in_days,
    "site in the index alone, as text": both(
        in_header(GEOLON=None, GEOLAT=None, ALTITUDE=None, TELESCOP=None),
        in_index("obs-index", lambda table: table.meta.update(GEOLON="16.5", GEOLAT="-23.27", ALTITUDE="1835")),
    ),
    "site of 0, right in the index": both(
        in_header(GEOLON=0.0, GEOLAT=0.0, ALTITUDE=0.0, TELESCOP=None),
        in_index("obs-index", lambda table: table.meta.update({"OBSGEO-L": 16.5, "OBSGEO-B": -23.27, "OBSGEO-H": 1835})),
    ),
    "LIVETIME in the index alone": in_header(LIVETIME=None),
    "EVENT_ID that is always zero": with_column("EVENT_ID", lambda table: 0 * table["EVENT_ID"]),
    "empty texts": in_header(TIMEUNIT="", ALT_PNT="", AZ_PNT="", OBSERVER="", EUNIT="", EQUINOX=""),
    "altitude that is not a number in the header": in_header(ALT_PNT="NaN", AZ_PNT="nan"),
    "altitude that is not a number in the only header": both(
        without_columns("ALT_PNT", "AZ_PNT"), in_header(ALT_PNT="NaN", AZ_PNT=30.0)
    ),
    "text in an unused keyword": in_card("HDUCLASS", "'it''s / text' / odd"),
}


@pytest.mark.parametrize("name", CASES)
def test_unusual_runs_are_used_in_full(indir, tmp_path, name):
    """Use all runs, with all their events and their livetime."""
    CASES[name](indir)
    report = make_models(indir, tmp_path / "out")
    assert not report.faults
    assert totals(report) == good_totals(*EVENTS)
    assert [group.n_runs for group in report.groups] == [3]  # its pointing is right, too


def test_unusual_events_equal_others(indir, good_runs, tmp_path):
    """Read equal events in other units, scaled or negative."""
    for name in (
        "energies in GeV",
        "positions in rad",
        "negative right ascension of events",
        "scaled columns",
        "right DETX and DETY",
    ):
        shutil.rmtree(indir)
        shutil.copytree(good_runs, indir)
        CASES[name](indir)
        one, other = (read_event_list(open_runs(path, "GADF").files(CHANGED)) for path in (indir, good_runs))
        np.testing.assert_allclose(one.energy, other.energy, atol=0.0005 if name == "scaled columns" else 1e-12)
        np.testing.assert_allclose(one.detxy(), other.detxy(), atol=1e-9)


def test_relative_input_directory(indir, tmp_path, monkeypatch):
    """Read from a directory with a relative path."""
    monkeypatch.chdir(indir)
    report = make_bg_cube_models(".", "GADF", "../out", select="all", n_energy=6, n_fov=4)
    assert totals(report) == good_totals(*EVENTS)


def test_gaps_in_good_time(tmp_path):
    """Count no events and no livetime in gaps of good time."""
    gti = [(TSTART, TSTART + 500), (TSTART + 700, TSTART + ONTIME)]
    changed = parts_of_run(4, gti=gti)
    report = make_models(write_gadf(tmp_path / "in", [parts_of_run(2), changed, parts_of_run(8)]), tmp_path / "out")
    seconds = changed["events"]["TIME"] - TSTART
    inside = int(np.sum((seconds <= 500) | (seconds >= 700)))
    assert 0 < inside < EVENTS[4]
    assert totals(report) == good_totals(2, 8) | {4: (inside, pytest.approx(0.9 * (ONTIME - 200)))}


def test_group_across_north(tmp_path):
    """Group runs on both sides of north, with a circular mean."""
    azimuths = {2: 350.0, 4: -5.0, 8: 21.0}
    parts = [parts_of_run(obs_id, pointing=(75.0, azimuth)) for obs_id, azimuth in azimuths.items()]
    report = make_models(write_gadf(tmp_path / "in", parts), tmp_path / "out")
    assert totals(report) == good_totals(*EVENTS)
    (group,) = report.groups
    assert group.az_mean_deg == pytest.approx(2.0, abs=0.1)


@pytest.mark.parametrize("obs_id", [2**31 + 5, 2**53 + 1, 2**62])
def test_large_numbers_of_runs(tmp_path, obs_id):
    """Use OBS_IDs beyond 32 bit and 53 bit."""
    events = parts_of_run(4)["events"]
    large = run(obs_id, 1, pointing=(75.0, 30.0), events=events, LIVETIME=LIVETIME[4])
    report = make_models(write_gadf(tmp_path / "in", [parts_of_run(2), large]), tmp_path / "out")
    assert totals(report) == good_totals(2) | {obs_id: (EVENTS[4], LIVETIME[4])}
    stack = read_model(tmp_path / "out" / report.groups[0].files[0]).stack
    assert stack.obs_ids == [2, obs_id]


@pytest.mark.slow
def test_events_of_real_runs_outside_gti(hess_data, tmp_path):
    """Account for every event of 40 real runs, and find as many outside GTI as astropy."""
    report = make_bg_cube_models(hess_data, "GADF", tmp_path / "out", select="all", n_energy=6, n_fov=4)
    assert not report.faults
    index = Table.read(hess_data / "hdu-index.fits.gz")
    paths = {
        int(row["OBS_ID"]): hess_data / row["FILE_DIR"].strip() / row["FILE_NAME"].strip()
        for row in index[index["HDU_TYPE"] == "events"]
    }
    assert len(paths) == len(report.runs) == 40
    for entry in report.runs:
        with fits.open(paths[entry.obs_id]) as hdus:
            time = hdus["EVENTS"].data["TIME"][:, None]
            good = np.any((time >= hdus["GTI"].data["START"]) & (time <= hdus["GTI"].data["STOP"]), axis=1)
        assert (entry.counted.events, entry.counted.events_outside_gti) == (len(good), np.sum(~good))
    assert sum(entry.counted.events_outside_gti for entry in report.runs) > 0


def test_instrument_name_not_ascii(tmp_path):
    """Replace characters of TELESCOP that FITS cannot store."""
    write_gadf(tmp_path / "in", [run(CHANGED, 60)])
    in_card("TELESCOP", "'H.\xc9.S.S.'")(tmp_path / "in")
    report = make_models(tmp_path / "in", tmp_path / "out")
    assert read_group_model(tmp_path / "out", report.groups[0].group_id).stack.telescop == "H.?.S.S."


@pytest.mark.parametrize(
    ("keywords", "index"),
    [
        ({"MJDREF": MJDREF - 300 / 86400, "MJDREFI": None, "MJDREFF": None}, {"MJDREFI": int(MJDREF), "MJDREFF": MJDREF % 1}),
        ({"MJDREFI": 51910, "MJDREFF": None}, {"MJDREFI": int(MJDREF), "MJDREFF": 0.5}),
        (
            {"OBSGEO-L": 16.4, "OBSGEO-B": -23.1, "OBSGEO-H": 1700.0, "GEOLON": None, "GEOLAT": None, "ALTITUDE": None},
            {"GEOLON": -110.9, "GEOLAT": 31.6, "ALTITUDE": 1268.0},
        ),
    ],
)
def test_keywords_from_one_header(tmp_path, keywords, index):
    """Take the zero of time, or the site, from one header: from that of the events or of the index."""
    indir = write_gadf(tmp_path / "in", [run(CHANGED, 60)])
    for part in ("EVENTS", "GTI"):
        in_header(part, **{name: value for name, value in keywords.items() if part == "EVENTS" or name.startswith("MJD")})(
            indir
        )
    in_index("obs-index", without_pointing)(indir)
    alone = read_event_list(open_runs(indir, "GADF").files(CHANGED))
    in_index("obs-index", lambda table: table.meta.update(index))(indir)
    both = read_event_list(open_runs(indir, "GADF").files(CHANGED))
    assert (both.mjdref, both.site) == (alone.mjdref, alone.site)
    if "MJDREF" in keywords:
        assert both.mjdref == pytest.approx(keywords["MJDREF"], abs=1e-9)
    if "OBSGEO-L" in keywords:
        assert both.site == Site(16.4, -23.1, 1700.0)


def without_pointing(table):
    """Remove altitude and azimuth, which other times and sites would contradict."""
    table.remove_columns(["ALT_PNT", "AZ_PNT"])


def test_effective_area_of_another_run(indir):
    """An effective area in a file of its own may be that of another run if the user says so; events and good time may not."""
    responses = file_of(indir).with_name("responses.fits.gz")
    shutil.copy(file_of(indir), responses)
    for name in ("EVENTS", "GTI", "AEFF"):
        fits.setval(responses, "OBS_ID", value=5, extname=name)
    in_location("aeff", FILE_NAME=responses.name)(indir)
    with raises("wrong-run", "responses.fits.gz, HDU AEFF", "OBS_ID is 5", "--allow wrong-run"):
        read_event_list(open_runs(indir, "GADF").files(CHANGED))
    event_list = read_event_list(open_runs(indir, "GADF", allow="wrong-run").files(CHANGED))
    assert any("allowed (wrong-run)" in note for note in event_list.notes)
    in_location("gti", FILE_NAME=responses.name)(indir)
    with raises("wrong-run", "responses.fits.gz, HDU GTI") as caught:
        read_event_list(open_runs(indir, "GADF", allow="wrong-run").files(CHANGED))
    assert "--allow" not in str(caught.value)
