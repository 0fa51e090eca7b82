"""Limits of the consistency checks: runs just within are read, runs just beyond are errors."""

import shutil

import numpy as np
import pytest

from bgnb import DataError, open_runs, read_event_list
from tests.broken.directory import CHANGED, both, in_card, in_columns, in_header, in_index, in_row, parts_of_run, with_column
from tests.broken.test_faulty_runs import FILE, gti
from tests.helpers.errors import raises
from tests.helpers.run_files import ONTIME, TSTART

POINTING = {name: parts_of_run(CHANGED)[name] for name in ("RA_PNT", "DEC_PNT")}


def read(indir):
    return read_event_list(open_runs(indir, "GADF").files(CHANGED))


def events(number, **columns):
    """Spread events evenly over the good time; ``columns`` are functions of the elapsed fraction of it."""

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
    """Remove the events from a fraction of the good time."""
    return events(number, TIME=lambda part: TSTART + ONTIME * (part * (1 - length) + length * (part * (1 - length) > start)))


def silence(start, stop):
    """Make no events in the good time from ``start`` to ``stop``, s, but many outside good time, from 800 to 1000 s."""

    def times(part):
        good = np.r_[np.linspace(1, start - 1, 200), np.linspace(stop, max(1679, stop + 9), 200)]
        return TSTART + np.sort(np.r_[good, np.linspace(801, 999, len(part) - 400)])

    return both(gti((0, 800), (1000, 1680)), events(500, TIME=times))


def away(degrees):
    """Place most events at a distance from the pointing, the others at the pointing itself."""
    return events(
        100, RA=lambda part: 0 * part + POINTING["RA_PNT"], DEC=lambda part: POINTING["DEC_PNT"] + degrees * (part > 0.4)
    )


def detxy(fovalign, sign_x, sign_y, noise=0.0):
    """Add columns DETX and DETY of a frame, with signs."""

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
    """Set a column to NaN for the first three events."""
    return with_column(name, lambda table: np.where(np.arange(len(table)) < 3, np.nan, table[name]))


def named_for_two(table):
    """Name the events of run 4 for run 8 too."""
    table["FILE_NAME"][table["OBS_ID"] == 8] = "run4.fits.gz"


def twice(*others):
    """Repeat every second event, with other values in some columns."""

    def change(table):
        table = table[np.r_[0 : len(table), 1 : len(table) : 2]]
        for name in others:
            table[name][50:] += 0.001
        return table

    return in_columns(change=change)


LIMITS = {
    "median energy at the lower end": (energies(40, 0.0031), energies(40, 0.0029), "bad-energy", "column ENERGY", "0.0029 TeV"),
    "median energy at the upper end": (energies(40, 49), energies(40, 51), "bad-energy", "column ENERGY", "51 TeV"),
    "number of events for a median": (energies(19, 1000), energies(20, 1000), "bad-energy", "column ENERGY", "1000 TeV"),
    "energies at zero": (
        events(40, ENERGY=lambda part: 1e-9 + (part > 0.1)),
        events(40, ENERGY=lambda part: 1.0 * (part > 0.1)),
        "bad-energy",
        "column ENERGY",
        "4 of 40 rows",
    ),
    "right ascension of events": (
        with_column("RA", lambda table: np.where(np.arange(len(table)) == 7, 720.0, table["RA"])),
        with_column("RA", lambda table: np.where(np.arange(len(table)) == 7, 720.1, table["RA"])),
        "bad-position",
        "columns RA and DEC",
    ),
    "declination of events": (
        with_column("DEC", lambda table: np.where(np.arange(len(table)) == 7, -90.0, table["DEC"])),
        with_column("DEC", lambda table: np.where(np.arange(len(table)) == 7, -90.1, table["DEC"])),
        "bad-position",
        "columns RA and DEC",
    ),
    "median distance": (in_header(), away(20.2), "inconsistent-pointing", "RA and DEC", "20 deg"),
    "right ascension of the pointing": (
        in_header(RA_PNT=POINTING["RA_PNT"] - 360),
        in_header(RA_PNT=POINTING["RA_PNT"] - 1080),
        "bad-position",
        "RA_PNT = -1006.67",
    ),
    "position in the index": (
        in_row(DEC_PNT=POINTING["DEC_PNT"] + 4.9),
        in_row(DEC_PNT=POINTING["DEC_PNT"] + 5.1),
        "inconsistent-pointing",
        "RA_PNT and DEC_PNT",
        "5.1 deg",
    ),
    "altitude in the index": (
        in_row(ALT_PNT=61.5),
        in_row(ALT_PNT=55.0),
        "inconsistent-pointing",
        "ALT_PNT = 55.0, AZ_PNT = 30.0 deg",
        "index",
    ),
    "gap at the start": (gap(400, 0, 0.49), gap(400, 0, 0.51), "gap", "858 s of 1680 s"),
    "gap in between": (gap(400, 0.3, 0.49), gap(400, 0.3, 0.51), "gap", "859 s of 1680 s"),
    "gap of few events": (gap(50, 0.2, 0.31), gap(50, 0.2, 0.61), "gap", "1038 s of 1680 s"),
    "gap across two intervals": (silence(500, 1390), silence(400, 1390), "gap", "791 s of 1480 s"),
    "duplicates by EVENT_ID": (
        twice("EVENT_ID", "RA"),
        twice("RA", "ENERGY"),
        "duplicate-events",
        "25 of 75 events",
        "TIME, EVENT_ID",
    ),
    "DETX mirrored in RADEC": (detxy("RADEC", 1, 1), detxy("RADEC", -1, 1), "mirrored", "columns DETX and DETY"),
    "DETX mirrored by Gammapy's simulation": (
        both(detxy("RADEC", -1, 1), in_header(ORIGIN="Gammapy")),
        both(detxy("RADEC", -1, -1), in_header(ORIGIN="Gammapy")),
        "mirrored",
        "columns DETX and DETY",
    ),
    "DETX unknown for some events": (
        both(detxy("RADEC", 1, 1), unknown("DETX")),
        both(detxy("RADEC", -1, 1), unknown("DETX")),
        "mirrored",
        "columns DETX and DETY",
    ),
    "DETY mirrored in ALTAZ": (detxy("ALTAZ", 1, 1, noise=0.3), detxy("ALTAZ", 1, -1), "mirrored", "columns DETX and DETY"),
    "DETX and DETY mirrored in ALTAZ": (
        detxy("ALTAZ", -1, -1, noise=0.3),
        detxy("ALTAZ", -1, -1, noise=0.02),
        "mirrored",
        "DETX",
        "DETY",
    ),
    "OBS_ID of shared events": (
        both(in_header(OBS_ID=4.0), in_index("hdu-index", named_for_two)),
        both(in_header(OBS_ID=None), in_index("hdu-index", named_for_two)),
        "duplicate-run",
        "run 8",
        "OBS_ID",
    ),
    "OBS_ID beyond integers": (in_card("OBS_ID", "4.0"), in_card("OBS_ID", "1E400"), "wrong-run", "OBS_ID is inf"),
    "scan mode": (in_header(OBS_MODE="WOBBLE"), in_header(OBS_MODE=" scan "), "unsupported-mode", "OBS_MODE is SCAN"),
    "raster mode": (in_header(OBS_MODE=""), in_header(OBS_MODE="RASTER"), "unsupported-mode", "OBS_MODE is RASTER"),
}


@pytest.mark.parametrize("name", LIMITS)
def test_limits_of_consistency_checks(indir, good_runs, name):
    """Read a run just within a limit, and refuse it just beyond."""
    within, beyond, code, *words = LIMITS[name]
    within(indir)
    assert len(read(indir))
    shutil.rmtree(indir)
    shutil.copytree(good_runs, indir)
    beyond(indir)
    with raises(code, FILE, "HDU EVENTS", *words, kind=DataError):
        read(indir)


@pytest.mark.parametrize(("livetime", "noted"), [(1504 * 1.0009, False), (1504 * 1.0011, True), (1504 * 0.9989, True)])
def test_differing_livetime_of_index(indir, livetime, noted):
    """Note a LIVETIME of the index that differs by more than a thousandth."""
    in_row(LIVETIME=livetime)(indir)
    notes = read(indir).notes
    assert len(notes) == noted
    assert all("LIVETIME of the index" in note for note in notes)


def test_meaningless_columns_are_ignored(indir, good_runs):
    """Ignore columns DETX, DETY and EVENT_ID that do not describe the events."""
    for change in (
        with_column("DETX", lambda table: 0 * table["RA"], "deg"),
        both(*(with_column(name, lambda table: np.nan * table["RA"], "deg") for name in ("DETX", "DETY"))),
        with_column("EVENT_ID", lambda table: np.repeat(table["EVENT_ID"][:, None], 2, axis=1)),
    ):
        change(indir)
        assert len(read(indir)) == len(read(good_runs))
