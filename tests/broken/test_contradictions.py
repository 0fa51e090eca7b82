"""Plausible runs whose statements contradict each other: resolved with a note, or refused with the option that overrules."""

import re
import shutil

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import AltAz, EarthLocation, get_sun
from astropy.io import fits
from astropy.table import Table, vstack
from astropy.time import Time
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bgnb import DataError, make_bg_cube_models, open_runs, read_event_list
from tests.broken.directory import both, file_of, in_bytes, in_columns, in_hdus, in_header, in_index, in_row, with_column
from tests.broken.plausible import DEADC, LIVETIME, N_EVENTS, RUNS, SMALL
from tests.broken.test_faulty_runs import gti
from tests.helpers.errors import raises
from tests.helpers.run_files import ONTIME, SITE, TSTART


@pytest.fixture
def indir(plausible_runs, tmp_path):
    """Copy the plausible runs, to change run 4."""
    return shutil.copytree(plausible_runs, tmp_path / "in")


def read(indir, obs_id=4, **reading):
    return read_event_list(open_runs(indir, "GADF", **reading).files(obs_id))


def without(start, stop):
    """Remove the events between two times since the start, s."""

    def change(table):
        time = table["TIME"] - TSTART
        return table[(time < start) | (time > stop)]

    return in_columns(change=change)


def add_detxy(indir):
    """Add DETX and DETY in the frame RADEC."""
    x, y = read(indir).detxy("RADEC")

    def add(table):
        table["DETX"], table["DETY"] = x * u.deg, y * u.deg

    in_columns(change=add)(indir)


def moved(degrees):
    return lambda indir: in_header(DEC_PNT=read(indir).dec_pnt + degrees)(indir)


def moved_index(degrees):
    return lambda indir: in_row(DEC_PNT=read(indir).dec_pnt + degrees)(indir)


def drift(table):
    """Move the sky by 7 deg during the run."""
    table["RA"] += 7 * ((table["TIME"] - TSTART) / ONTIME - 0.5) / np.cos(np.radians(table["DEC"]))


def elsewhere(table):
    """Move 2 % of the events to the other hemisphere."""
    table["DEC"][::50] = 60


def clouds(table):
    """Remove two of three events in the second half."""
    late = table["TIME"] > TSTART + ONTIME / 2
    return table[~late | (np.arange(len(table)) % 3 == 0)]


def mode_of_index(mode):
    def change(table):
        table["OBS_MODE"] = [mode] * len(table)

    return in_index("obs-index", change)


def pointing_table(indir):
    """Add HDU POINTING, by which the second half of the run points elsewhere."""
    run = read(indir)
    dec = run.dec_pnt + 2.0 * (np.arange(10) > 4)
    table = Table({"TIME": TSTART + ONTIME * np.arange(10) / 10, "RA_PNT": [run.ra_pnt] * 10, "DEC_PNT": dec})
    for name, unit in (("TIME", "s"), ("RA_PNT", "deg"), ("DEC_PNT", "deg")):
        table[name].unit = unit
    hdu = fits.table_to_hdu(table)
    hdu.name = "POINTING"
    in_hdus(lambda hdus: hdus.append(hdu))(indir)


def second_events(hdus):
    """Move every second event to a second HDU EVENTS."""
    other = hdus["EVENTS"].copy()
    first = np.arange(N_EVENTS) % 2 == 0
    hdus["EVENTS"].data, other.data = other.data[first], other.data[~first]
    hdus.append(other)


def second_energy(indir):
    """Add a second column ENERGY."""

    def add(table):
        table["ENERGX"] = 2 * table["ENERGY"]
        table["ENERGX"].unit = "TeV"

    in_columns(change=add)(indir)
    in_bytes(lambda content: content.replace(b"'ENERGX  '", b"'ENERGY  '"))(indir)


def at_pointing(indir):
    """Put a fifth of the events exactly at the pointing."""
    run = read(indir)

    def change(table):
        table["RA"][::5], table["DEC"][::5] = run.ra_pnt, run.dec_pnt

    in_columns(change=change)(indir)


def twice_later(seconds):
    def change(table):
        later = table.copy()
        later["TIME"] += seconds
        later["EVENT_ID"] += 1e6
        return vstack([table, later])

    return in_columns(change=change)


def with_interval(start, stop):
    """Add a good time interval, s after the start of the run."""
    return in_columns("GTI", lambda table: table.add_row([table["START"][0] + start, table["START"][0] + stop]))


RESOLVED = {
    "gap": (without(700, 1000), 300.0, "302 s of 1680 s", "from 699 to 1001 s"),
    "no events in the last third": (without(1180, 1680), 500.0, "501 s of 1680 s"),
    "good time a minute early": (
        gti((-60, 1620)),
        60.0,
        "61 s of 1680 s",
    ),
    "good time 300 s too long": (gti((0, 1980)), None, "301 s of 1980 s"),
    "livetime of the whole run": (
        in_columns("GTI", lambda table: table["STOP"].fill(TSTART + 840)),
        840.0,
        "LIVETIME is that of ONTIME = 1680 s",
    ),
    "ontime shorter than good time": (in_header(ONTIME=1080.0, LIVETIME=972.0), None, "ONTIME = 1080 s", "1680 s"),
    "DEADC is a placeholder": (in_header(DEADC=1.0), 0.0, "DEADC is 1"),
    "LIVETIME is a placeholder": (in_header(LIVETIME=0.0), 0.0, "LIVETIME is 0"),
    "zero DEADC": (in_header(DEADC=0.0), 0.0, "DEADC is 0"),
    "good time twice": (gti((0, 1680), (0, 1680)), 0.0, "overlap by 1680.0 s"),
    "good time overlaps": (gti((0, 1000), (900, 1680)), 0.0, "overlap by 100.0 s"),
    "good time without length": (gti((0, 1680), (1690, 1690)), 0.0, "1 of 2", "no length"),
    "pointing of the header": (moved(0.7), 0.0, "RA_PNT and DEC_PNT are 0.7 deg", "index are used"),
    "pointing of the header by far": (moved(4.5), 0.0, "4.5 deg", "those of the index are used"),
    "pointing of the index": (moved_index(0.7), 0.0, "0.7 deg", "those of the header are used"),
    "altitude of the index": (in_row(ALT_PNT=67.0), 0.0, "ALT_PNT = 67.0", "75.0, 30.0 deg"),
    "azimuth from south": (in_row(AZ_PNT=210.0), 0.0, "AZ_PNT = 210.0", "south"),
    "altitude of another time": (in_row(ALT_PNT=50.0, AZ_PNT=30.0), None, "ALT_PNT = 50.0"),
    "TIMESYS missing": (
        both(in_header(TIMESYS=None), in_header("GTI", TIMESYS=None)),
        0.0,
        "TIMESYS is missing; TT is assumed",
    ),
    "MJDREFF missing in events": (in_header(MJDREFF=None), 0.0, "MJDREFF is missing in HDU EVENTS"),
    "MJDREFF missing in good time": (in_header("GTI", MJDREFF=None), 0.0, "MJDREFF is missing in HDU GTI"),
    "MJDREFF missing in both": (both(in_header(MJDREFF=None), in_header("GTI", MJDREFF=None)), 0.0, "0 is assumed"),
    "events elsewhere": (in_columns(change=elsewhere), 0.0, "2% of the events", "20 deg"),
    "clouds": (in_columns(change=clouds), 0.0, "33%", "clouds"),
    "rounded energies": (
        with_column("ENERGY", lambda table: np.round(table["ENERGY"], 1)),
        0.0,
        "energies are rounded",
    ),
    "types of events": (
        with_column("EVENT_TYPE", lambda table: np.arange(len(table)) % 3),
        0.0,
        "3 different values of EVENT_TYPE",
    ),
    "good time not in the index": (
        in_index("hdu-index", lambda table: table[~((table["OBS_ID"] == 4) & (table["HDU_TYPE"] == "gti"))]),
        0.0,
        "HDU GTI of the file is used",
    ),
    "no events near the threshold": (
        in_columns(change=lambda table: table[table["ENERGY"] > 0.9]),
        0.0,
        "no events between LO_THRES = 0.3 and 0.39 TeV",
    ),
    "date of another year": (
        in_header(**{"DATE-OBS": "2003-12-04T01:00:00"}),
        0.0,
        "DATE-OBS is on 2003-12-04, but",
        "on 2004-12-04",
    ),
    "start of another reference": (in_header(TSTART=0.0, TSTOP=ONTIME), 0.0, "TSTART is on 2001-01-01, but", "on 2004-12-04"),
    "interval three days later": (with_interval(3 * 86400, 3 * 86400 + 5), -5.0, "good time intervals of the run span 3 days"),
    "times in single precision": (
        with_column("TIME", lambda table: table["TIME"].astype(np.float32)),
        0.0,
        "column TIME is in single precision, which rounds it to 8 s in HDU EVENTS",
    ),
    "text in N_TELS": (in_header(N_TELS="four"), 0.0, "N_TELS is not a number"),
    "negative N_TELS": (in_header(N_TELS=-1), 0.0, "N_TELS is not a number of telescopes: -1"),
    "huge N_TELS": (in_header(N_TELS=2**31), 0.0, "N_TELS is not a number of telescopes"),
    "event number of the index": (
        in_index("obs-index", lambda table: table.add_column([17, 17, 17], name="EVENT_COUNT")),
        0.0,
        "EVENT_COUNT",
    ),
}
REFUSED = {
    "LIVETIME and DEADC missing": (in_header(LIVETIME=None, DEADC=None), "missing-livetime", {"allow": "missing-livetime"}),
    "dead fraction": (in_header(DEADC=0.1, LIVETIME=ONTIME), "inconsistent-times", {"trust": "livetime"}),
    "dead fraction without LIVETIME": (in_header(DEADC=0.1, LIVETIME=None), "inconsistent-times", None),
    "times rounded to 32 s": (with_column("TIME", lambda table: (table["TIME"] + 2e8).astype(np.float32)), "bad-column", None),
    "most of the run lost": (without(300, 1680), "gap", {"allow": "gap"}),
    "pointing without evidence": (both(moved(4.0), moved_index(-4.0)), "inconsistent-pointing", {"trust": "header"}),
    "pointing against its events": (
        both(moved(3.0), in_index("obs-index", lambda table: table.remove_columns(["RA_PNT", "DEC_PNT"]))),
        "inconsistent-pointing",
        {"allow": "inconsistent-pointing"},
    ),
    "pointing against DETX and DETY": (
        both(add_detxy, both(moved(0.9), in_index("obs-index", lambda t: t.remove_columns(["RA_PNT", "DEC_PNT"])))),
        "inconsistent-pointing",
        {"allow": "inconsistent-pointing"},
    ),
    "sky drifts": (in_columns(change=drift), "drifting", {"allow": "drifting"}),
    "second half elsewhere": (pointing_table, "drifting", {"allow": "drifting"}),
    "mode of the index": (mode_of_index("DRIFT"), "unsupported-mode", {"allow": "unsupported-mode"}),
    "divergent pointing": (in_header(OBS_MODE="DIVERGENT"), "unsupported-mode", {"allow": "unsupported-mode"}),
    "checksums of other content": (
        both(in_hdus(lambda hdus: None, checksum=True), in_columns(change=lambda table: table[:-9])),
        "damaged",
        {"allow": "damaged"},
    ),
    "two HDUs of events": (in_hdus(second_events), "ambiguous-hdu", {"allow": "ambiguous-hdu"}),
    "two columns of energies": (second_energy, "duplicate-column", {"allow": "duplicate-column"}),
    "decadic logarithms of GeV": (
        with_column("ENERGY", lambda table: np.log10(1000 * table["ENERGY"])),
        "bad-energy",
        {"allow": "bad-energy"},
    ),
    "natural logarithms of GeV": (
        with_column("ENERGY", lambda table: np.log(1000 * table["ENERGY"])),
        "bad-energy",
        {"allow": "bad-energy"},
    ),
    "logarithms of TeV": (
        with_column("ENERGY", lambda table: np.log(np.maximum(table["ENERGY"], 1) * (1 + 1e-6 * np.arange(N_EVENTS))) + 1e-9),
        "bad-energy",
        {"allow": "bad-energy"},
    ),
    "clipped energies": (
        with_column("ENERGY", lambda table: np.minimum(table["ENERGY"], 2.0)),
        "bad-energy",
        {"allow": "bad-energy"},
    ),
    "failed reconstruction": (at_pointing, "bad-position", {"allow": "bad-position"}),
    "threshold in GeV": (in_header("AEFF", LO_THRES=(33.0, "")), "bad-threshold", {"allow": "bad-threshold"}),
    "logarithm of the threshold": (in_header("AEFF", LO_THRES=(-0.48, "")), "bad-threshold", {"allow": "bad-threshold"}),
    "events twice a microsecond apart": (twice_later(1e-6), "duplicate-events", {"allow": "duplicate-events"}),
}


def test_plausible_runs_have_no_notes(indir):
    """Without changes there is nothing to note."""
    event_list = read(indir)
    assert event_list.notes == ()
    assert (len(event_list), event_list.livetime) == (N_EVENTS, LIVETIME)


@pytest.mark.parametrize("name", RESOLVED)
def test_contradictions_are_resolved(indir, name):
    """Runs are used with a note, with the livetime of the time in which events were recorded, at their true pointing."""
    change, cut, *words = RESOLVED[name]
    before = read(indir)
    change(indir)
    if name == "altitude of another time":
        with raises("inconsistent-pointing", "--pointing computed", *words):
            read(indir)
        words = []
        after = read(indir, pointing="computed")
    else:
        after = read(indir)
    assert all(any(word in note for note in after.notes) for word in words), after.notes
    assert (after.ra_pnt, after.dec_pnt) == pytest.approx((before.ra_pnt, before.dec_pnt))
    if not cut:
        assert after.mjd_middle == pytest.approx(before.mjd_middle, abs=2e-3)
    if cut is not None:
        assert after.ontime == pytest.approx(ONTIME - cut, abs=5)
        assert after.livetime == pytest.approx(DEADC * (ONTIME - cut), abs=5)
    if name == "good time 300 s too long":
        assert (after.ontime, after.livetime) == pytest.approx((ONTIME, LIVETIME), abs=5)
    if name == "ontime shorter than good time":
        assert after.livetime == 972
    assert after.stated_ontime == pytest.approx(
        float(np.sum(fits.getdata(file_of(indir), "GTI")["STOP"] - fits.getdata(file_of(indir), "GTI")["START"]))
    )


@pytest.mark.parametrize("name", REFUSED)
def test_contradictions_are_refused(indir, name):
    """Runs are refused with a code, and used with a note if the user says which statement or check does not count."""
    change, code, reading = REFUSED[name]
    change(indir)
    option = "" if reading is None else " ".join(f"--{key} {value}" for key, value in reading.items() if isinstance(value, str))
    with raises(code, "run4.fits.gz", option):
        read(indir)
    if reading is not None:
        event_list = read(indir, **reading)
        assert len(event_list)
        if "allow" in reading:
            assert any("allowed" in note for note in event_list.notes)
        if name == "pointing without evidence":
            assert any(note.endswith("known sources was decided by the index") for note in event_list.notes)


def test_few_invalid_events_are_skipped(indir):
    """Single events with invalid values are skipped with a note, up to one in a hundred."""

    def change(table):
        table["ENERGY"][5], table["RA"][70], table["TIME"][100], table["ENERGY"][9] = np.nan, np.inf, np.nan, -1.0

    in_columns(change=change)(indir)
    event_list = read(indir)
    assert len(event_list) == N_EVENTS - 4
    assert any("4 of 3000 events" in note for note in event_list.notes)
    in_columns(change=lambda table: table["DEC"].__setitem__(slice(None, 40), np.nan))(indir)
    with raises("bad-column", "column DEC", "40 of 3000 rows"):
        read(indir)


@pytest.mark.parametrize("turn", [-360, 360])
def test_right_ascension_is_periodic(indir, turn):
    """Right ascensions of events and pointing may lie in another turn."""
    before = read(indir)
    both(with_column("RA", lambda table: table["RA"] + turn), in_header(RA_PNT=before.ra_pnt + turn))(indir)
    after = read(indir)
    for one, other in zip(before.detxy("ALTAZ"), after.detxy("ALTAZ"), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-9)


def test_time_offset_moves_all_times(indir):
    """TIMEOFFS is added to all times, as FITS defines it."""
    before = read(indir)
    both(in_header(TIMEOFFS=600.0), in_header("GTI", TIMEOFFS=600.0))(indir)
    assert read(indir, pointing="computed").mjd_middle - before.mjd_middle == pytest.approx(600 / 86400, abs=1e-9)


def test_pointing_of_the_header(indir, tmp_path):
    """Runs whose times are placeholders have the pointing of the header, and models in the frame RADEC."""
    for obs_id in RUNS:
        with fits.open(file_of(indir, obs_id)) as hdus:
            for name in ("EVENTS", "GTI"):
                hdus[name].header["MJDREFI"] += 200
            hdus.writeto(file_of(indir, obs_id), overwrite=True)
    with raises("no-counts", "below the horizon; correct the times or the site", "--pointing header"):
        make_bg_cube_models(indir, "GADF", tmp_path / "computed", **SMALL)
    report = make_bg_cube_models(indir, "GADF", tmp_path / "header", pointing="header", **SMALL)
    (group,) = report.groups
    assert (group.n_runs, group.alt_mean_deg, group.az_mean_deg) == (3, pytest.approx(75), pytest.approx(30))
    assert report.settings["fovalign"] == "RADEC"
    with raises("conflicting-arguments", "fovalign"):
        make_bg_cube_models(indir, "GADF", tmp_path / "altaz", pointing="header", fovalign="ALTAZ", **SMALL)


def test_site_that_is_not_that_of_the_instrument(indir):
    """A sign that is missing or a longitude that counts to the west, which changes altitudes, is noted."""
    for site, distance in (({"GEOLAT": 23.2717778}, 47), ({"GEOLON": -16.5002222}, 30), ({"GEOLAT": -21.5}, 2)):
        in_header(TELESCOP="H.E.S.S.", **site)(indir)
        (note,) = [note for note in read(indir, pointing="computed").notes if "the site" in note]
        assert f"is {distance} deg from that of the instrument" in note
        in_header(**SITE)(indir)
    assert not [note for note in read(indir).notes if "the site" in note]
    in_header(TELESCOP="VERITAS")(indir)
    assert [note for note in read(indir).notes if "the site" in note]
    assert not [note for note in read(indir, pointing="header").notes if "the site" in note]


def test_run_by_day_is_noted(indir):
    """Times that are six hours off are noted, if no altitude and azimuth in the file contradict them."""
    later = 0.00074287 + 0.25
    both(in_header(MJDREFF=later), in_header("GTI", MJDREFF=later))(indir)
    (note,) = [note for note in read(indir, pointing="computed").notes if "Sun" in note]
    location = EarthLocation(lon=SITE["GEOLON"] * u.deg, lat=SITE["GEOLAT"] * u.deg, height=SITE["ALTITUDE"] * u.m)
    middle = Time(51910 + later + (TSTART + ONTIME / 2) / 86400, format="mjd", scale="tt")
    altitude = get_sun(middle).transform_to(AltAz(obstime=middle, location=location)).alt.deg
    assert altitude > 3
    assert float(re.search(r"the Sun is (\d+) deg", note)[1]) == pytest.approx(altitude, abs=0.6)
    assert not [note for note in read(indir, pointing="header").notes if "Sun" in note]
    for each in ({"ORIGIN": "Gammapy"}, {"ORIGIN": "", "OBJECT": "simulated"}):
        in_header(**each)(indir)
        assert not [note for note in read(indir, pointing="computed").notes if "Sun" in note]
    assert not [note for note in read(indir, 2).notes if "Sun" in note]


def in_good_time(start, stop):
    """Move the start and the end of the good time, s."""

    def change(table):
        table["START"] += start
        table["STOP"] += stop

    return in_columns("GTI", change)


def _scaled(keyword, factor):
    value = {"LIVETIME": LIVETIME, "DEADC": DEADC, "ONTIME": ONTIME}[keyword]
    return in_header(**{keyword: value * factor})


STATEMENTS = {
    "LIVETIME": lambda size: _scaled("LIVETIME", 1 + size),
    "DEADC": lambda size: _scaled("DEADC", 1 + size),
    "ONTIME": lambda size: _scaled("ONTIME", 1 + size),
    "RA_PNT of the header": lambda size: lambda indir: in_header(RA_PNT=read(indir).ra_pnt + 5 * size)(indir),
    "DEC_PNT of the header": lambda size: moved(5 * size),
    "DEC_PNT of the index": lambda size: moved_index(5 * size),
    "ALT_PNT of the index": lambda size: in_row(ALT_PNT=75 + 15 * size),
    "AZ_PNT of the index": lambda size: in_row(AZ_PNT=30 + 180 * size),
    "MJDREFF of events": lambda size: in_header(MJDREFF=0.00074287 + 0.02 * size),
    "good time": lambda size: in_good_time(ONTIME * size, ONTIME * size),
    "end of good time": lambda size: in_good_time(0, ONTIME * abs(size)),
    "events": lambda size: without(ONTIME * (1 - abs(size)), ONTIME),
}


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(sorted(STATEMENTS)), size=st.floats(-0.9, 0.9))
def test_no_contradiction_passes_unseen(plausible_runs, tmp_path_factory, name, size):
    """A run with one changed statement is refused, noted, or right within tolerances, for any statement and amount."""
    before = read(plausible_runs)
    indir = shutil.copytree(plausible_runs, tmp_path_factory.mktemp("changed") / "in")
    try:
        STATEMENTS[name](size)(indir)
        after = read(indir)
    except DataError:
        return
    finally:
        shutil.rmtree(indir.parent)
    np.testing.assert_allclose([after.ra_pnt, after.dec_pnt], [before.ra_pnt, before.dec_pnt], atol=0.11)
    rate = np.count_nonzero(after.in_gti) / after.livetime
    true_rate = len(before) / before.livetime
    if after.notes:
        assert rate == pytest.approx(true_rate, rel=0.05)
    else:
        assert rate == pytest.approx(true_rate, rel=0.02)
