"""Where belief ends: what lies just within a limit is read, and what lies just beyond is a fault that is named."""

import shutil

import numpy as np
import pytest

from bgnb import DataError, open_runs, read_event_list
from tests.broken.directory import CHANGED, both, in_card, in_columns, in_header, in_index, in_row, parts_of_run, with_column
from tests.broken.test_faulty_runs import gti
from tests.helpers.run_files import ONTIME, TSTART

POINTING = {name: parts_of_run(CHANGED)[name] for name in ("RA_PNT", "DEC_PNT")}


def read(indir):
    return read_event_list(open_runs(indir, "GADF").files(CHANGED))


def events(number, **columns):
    """So many events, spread evenly over the good time; ``columns`` are functions of the parts of it that went by."""

    def change(table):
        table = table[np.arange(number) % len(table)]
        part = (np.arange(number) + 0.5) / number
        table["EVENT_ID"], table["TIME"] = np.arange(number) + 1.0, TSTART + ONTIME * part
        for name, values in columns.items():
            table[name][:] = values(part)
        return table

    return in_columns(change=change)


def energies(number, median):
    return events(number, ENERGY=lambda part: median * (part + 0.5))


def gap(number, start, length):
    """No events in a part of the good time."""
    return events(number, TIME=lambda part: TSTART + ONTIME * (part * (1 - length) + length * (part * (1 - length) > start)))


def silence(start, stop):
    """No events in the good time from ``start`` to ``stop``, s, but many in the gap of good time from 800 to 1000 s."""

    def times(part):
        good = np.r_[np.linspace(1, start - 1, 200), np.linspace(stop, max(1679, stop + 9), 200)]
        return TSTART + np.sort(np.r_[good, np.linspace(801, 999, len(part) - 400)])

    return both(gti((0, 800), (1000, 1680)), events(500, TIME=times))


def away(degrees):
    """Most events at a distance from the pointing, the others at the pointing itself."""
    return events(
        100, RA=lambda part: 0 * part + POINTING["RA_PNT"], DEC=lambda part: POINTING["DEC_PNT"] + degrees * (part > 0.4)
    )


def detxy(fovalign, sign_x, sign_y, noise=0.0):
    """Columns DETX and DETY of a frame, with signs."""

    def apply(indir):
        x, y = read(indir).detxy(fovalign)
        rng = np.random.default_rng(1)

        def add(table):
            for name, values, sign in (("DETX", x, sign_x), ("DETY", y, sign_y)):
                table[name] = sign * values + noise * rng.normal(size=len(values))
                table[name].unit = "deg"

        in_columns(change=add)(indir)

    return apply


def unknown(name):
    """No value of a column for the first three events."""
    return with_column(name, lambda table: np.where(np.arange(len(table)) < 3, np.nan, table[name]))


def named_for_two(table):
    """The events of run 4 are those of run 8 too."""
    table["FILE_NAME"][table["OBS_ID"] == 8] = "run4.fits.gz"


def twice(*others):
    """Every second event once more, with other values in some columns."""

    def change(table):
        table = table[np.r_[0 : len(table), 1 : len(table) : 2]]
        for name in others:
            table[name][50:] += 0.001
        return table

    return in_columns(change=change)


LIMITS = {
    "median energy at the lower end": (energies(40, 0.0031), energies(40, 0.0029), "median of 0.0029 TeV: its unit cannot be"),
    "median energy at the upper end": (energies(40, 49), energies(40, 51), "column ENERGY has a median of 51 TeV"),
    "events that have a median": (energies(19, 1000), energies(20, 1000), "column ENERGY has a median of 1000 TeV"),
    "energies at zero": (
        events(40, ENERGY=lambda part: 1e-9 + (part > 0.1)),
        events(40, ENERGY=lambda part: 1.0 * (part > 0.1)),
        "column ENERGY is not above 0 in 4 of 40 rows",
    ),
    "right ascension of events": (
        with_column("RA", lambda table: np.where(np.arange(len(table)) == 7, 360.0, table["RA"])),
        with_column("RA", lambda table: np.where(np.arange(len(table)) == 7, 360.1, table["RA"])),
        "columns RA and DEC have values that are no position",
    ),
    "declination of events": (
        with_column("DEC", lambda table: np.where(np.arange(len(table)) == 7, -90.0, table["DEC"])),
        with_column("DEC", lambda table: np.where(np.arange(len(table)) == 7, -90.1, table["DEC"])),
        "columns RA and DEC have values that are no position",
    ),
    "median distance": (away(19.9), away(20.2), "the events lie 20 deg from the pointing"),
    "right ascension of the pointing": (
        in_header(RA_PNT=POINTING["RA_PNT"] - 360),
        in_header(RA_PNT=POINTING["RA_PNT"] + 360),
        "is no position",
    ),
    "position in the index": (
        in_row(DEC_PNT=POINTING["DEC_PNT"] + 4.9),
        in_row(DEC_PNT=POINTING["DEC_PNT"] + 5.1),
        "RA_PNT and DEC_PNT are 5.1 deg from those in the index",
    ),
    "altitude in the index": (in_row(ALT_PNT=79.9), in_row(ALT_PNT=80.1), "the index says altitude 80.1, azimuth 30.0 deg"),
    "livetime of a gap at the start": (gap(400, 0, 0.19), gap(400, 0, 0.21), "there is no event in 35. s of the good time"),
    "livetime of a gap in between": (gap(400, 0.3, 0.19), gap(400, 0.3, 0.21), "there is no event in 35. s of the good time"),
    "livetime of a gap at the end": (gap(400, 0.99, 0.19), gap(400, 0.78, 0.21), "there is no event in 35. s of the good time"),
    "gap of few events": (gap(50, 0.2, 0.58), gap(50, 0.2, 0.61), "there is no event in 10.. s of the good time of 1680 s"),
    "gap across two intervals": (silence(700, 1190), silence(700, 1210), "no event in 311 s of the good time of 1480 s"),
    "gap at the end of two intervals": (
        silence(1390, 1690),
        silence(1370, 1690),
        "no event in 311 s of the good time of 1480 s",
    ),
    "events of the same time": (
        twice("EVENT_ID", "RA"),
        twice("RA", "ENERGY"),
        r"25 of 75 events are copies of others \(TIME, EVENT_ID\)",
    ),
    "DETX of a frame": (detxy("RADEC", 1, 1), detxy("RADEC", -1, 1), "columns DETX and DETY are mirrored"),
    "DETX that is unknown for some": (
        both(detxy("RADEC", 1, 1), unknown("DETX")),
        both(detxy("RADEC", -1, 1), unknown("DETX")),
        "columns DETX and DETY are mirrored",
    ),
    "DETY of a frame": (detxy("ALTAZ", 1, 1, noise=0.3), detxy("ALTAZ", 1, -1), "columns DETX and DETY are mirrored"),
    "DETX and DETY": (detxy("ALTAZ", -1, -1, noise=0.3), detxy("ALTAZ", -1, -1, noise=0.02), "DETX and DETY are mirrored"),
    "number that says whose events they are": (
        both(in_header(OBS_ID=4.0), in_index("hdu-index", named_for_two)),
        both(in_header(OBS_ID=None), in_index("hdu-index", named_for_two)),
        "the index names these events for run 8 too, and there is no keyword OBS_ID",
    ),
    "number beyond all": (in_card("OBS_ID", "4.0"), in_card("OBS_ID", "1E400"), "OBS_ID says that it holds run inf"),
    "mode": (in_header(OBS_MODE="WOBBLE"), in_header(OBS_MODE=" scan "), "OBS_MODE is SCAN"),
    "another mode": (in_header(OBS_MODE=""), in_header(OBS_MODE="RASTER"), "OBS_MODE is RASTER"),
}


@pytest.mark.parametrize("name", LIMITS)
def test_what_lies_just_within_a_limit_is_believed_and_what_lies_beyond_is_not(indir, good_runs, name):
    within, beyond, message = LIMITS[name]
    within(indir)
    assert len(read(indir))
    shutil.rmtree(indir)
    shutil.copytree(good_runs, indir)
    beyond(indir)
    with pytest.raises(DataError, match=message):
        read(indir)


@pytest.mark.parametrize(("livetime", "noted"), [(1504 * 1.0009, False), (1504 * 1.0011, True), (1504 * 0.9989, True)])
def test_a_livetime_of_the_index_that_differs_by_more_than_a_thousandth_is_noted(indir, livetime, noted):
    in_row(LIVETIME=livetime)(indir)
    note = "LIVETIME of the index differs from that of the events, which is used"
    assert read(indir).notes == ((note,) if noted else ())


def test_columns_detx_and_dety_that_say_nothing_are_passed_over(indir, good_runs):
    for change in (
        with_column("DETX", lambda table: 0 * table["RA"], "deg"),
        both(*(with_column(name, lambda table: np.nan * table["RA"], "deg") for name in ("DETX", "DETY"))),
        with_column("EVENT_ID", lambda table: np.repeat(table["EVENT_ID"][:, None], 2, axis=1)),
    ):
        change(indir)
        assert len(read(indir)) == len(read(good_runs))
