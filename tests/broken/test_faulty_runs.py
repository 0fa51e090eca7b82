"""Runs that cannot be used are skipped with an error that names them; other runs keep their totals."""

import shutil

import numpy as np
import pytest

from tests.broken.directory import (
    CHANGED,
    assert_skipped,
    both,
    detxy,
    file_of,
    gti_in_another_file,
    in_bytes,
    in_card,
    in_columns,
    in_hdus,
    in_header,
    in_index,
    in_location,
    in_row,
    with_column,
    with_whole_card,
)
from tests.helpers.run_files import ONTIME, TSTART

FILE = "run4.fits.gz"


def gti(*intervals):
    """Replace the good time intervals, and adapt ONTIME and LIVETIME."""
    seconds = float(np.sum([stop - start for start, stop in intervals]))

    def change(table):
        table.remove_rows(slice(None))
        for interval in intervals:
            table.add_row([TSTART + edge for edge in interval])

    return both(in_columns("GTI", change), in_header(ONTIME=seconds, LIVETIME=0.9 * seconds))


def without_hdu(name):
    return in_hdus(lambda hdus: hdus.pop(name))


def renamed_hdu(name, new):
    return in_hdus(lambda hdus: hdus[name].header.update(EXTNAME=new))


def without_unit(name):
    def change(table):
        table[name].unit = None

    return in_columns(change=change)


def without_column(name):
    return in_columns(change=lambda table: table.remove_column(name))


def renamed_column(name, new):
    return in_columns(change=lambda table: table.rename_column(name, new))


def first(name, value):
    """Put a value into the first row of a column."""

    def change(table):
        table[name][0] = value

    return in_columns(change=change)


def zeros(table):
    for name in table.colnames:
        table[name] *= 0


def repeated_events(times):
    def change(table):
        return table[np.tile(np.arange(len(table)), times)]

    return in_columns(change=change)


def with_some_duplicates(table):
    return table[np.r_[0 : len(table), 3, 7]]


def half_of_the_time(table):
    """Make many events, all in the first half of the good time."""
    table = table[np.arange(400) % len(table)]
    table["EVENT_ID"] = np.arange(400) + 1.0
    table["TIME"] = TSTART + 2.1 * np.arange(400)
    return table


def of_run_2(indir):
    shutil.copy(file_of(indir, 2), file_of(indir))


def contradicting_duplicate(table):
    table.add_row(table[list(table["OBS_ID"]).index(CHANGED)])
    table["RA_PNT"][-1] += 1
    table["LIVETIME"][-1] += 100


def two_event_lists(table):
    table.add_row([CHANGED, "events", "events", "data", "run2.fits.gz", "events"])


def scale_of_text(content):
    return with_whole_card(content, "HDUCLASS", "TSCAL5  = 'large   '")


BROKEN_TABLES = {
    "table of another dimension": (in_card("NAXIS", "1"), "bad-keyword", "HDU EVENTS", "keyword NAXIS ", "got 1"),
    "other bits": (in_card("BITPIX", "-64"), "bad-keyword", "HDU EVENTS", "keyword BITPIX", "got -64"),
    "bits of text": (in_card("BITPIX", "'many'"), "bad-keyword", "HDU EVENTS", "keyword BITPIX", "'many'"),
    "scale is text": (in_bytes(scale_of_text), "bad-keyword", "HDU EVENTS", "keyword TSCAL5", "'large'"),
    "HDU EVENTS missing": (without_hdu("EVENTS"), "missing-hdu", "HDU events"),
    "HDU EVENTS misnamed": (renamed_hdu("EVENTS", "EVTS"), "missing-hdu", "HDU events"),
    "HDU GTI missing": (without_hdu("GTI"), "missing-hdu", "HDU gti"),
    "HDU AEFF missing": (without_hdu("AEFF"), "missing-hdu", "HDU aeff"),
    "column ENERGY missing": (without_column("ENERGY"), "missing-column", "HDU EVENTS", "column ENERGY"),
    "column TIME missing": (without_column("TIME"), "missing-column", "HDU EVENTS", "column TIME"),
    "column RA misnamed": (renamed_column("RA", "RIGHTASC"), "missing-column", "HDU EVENTS", "column RA"),
    "column START missing": (
        in_columns("GTI", lambda table: table.remove_column("START")),
        "missing-column",
        "HDU GTI",
        "column START",
    ),
    "no unit of ENERGY": (without_unit("ENERGY"), "bad-unit", "HDU EVENTS", "column ENERGY", "EUNIT"),
    "unit of another quantity": (with_column("ENERGY", lambda table: table["ENERGY"], "s"), "bad-unit", "column ENERGY", "'s'"),
    "unknown unit": (in_card("TUNIT5", "'parsnips'"), "bad-unit", "column ENERGY", "'parsnips'", "correct it"),
    "unit of logarithms": (in_card("TUNIT5", "'dex(GeV)'"), "bad-unit", "column ENERGY", "'dex(GeV)'"),
    "unit of RA not of an angle": (with_column("RA", lambda table: table["RA"], "TeV"), "bad-unit", "column RA", "'TeV'"),
    "unit of TIME not of a time": (with_column("TIME", lambda table: table["TIME"], "m"), "bad-unit", "column TIME", "'m'"),
    "number of rows far too large": (in_card("NAXIS2", "10000000000"), "truncated", "HDU EVENTS", "NAXIS2"),
    "number of rows too large": (in_card("NAXIS2", "200"), "bad-header", "HDU EVENTS", "next HDU", "NAXIS2"),
    "number of rows beyond integers": (in_card("NAXIS2", "1" + 30 * "0"), "truncated", "HDU EVENTS", "NAXIS2"),
    "negative number of rows": (in_card("NAXIS2", "-50"), "bad-keyword", "HDU EVENTS", "keyword NAXIS2", "got -50"),
    "number of rows is text": (in_card("NAXIS2", "'many'"), "bad-keyword", "HDU EVENTS", "keyword NAXIS2", "'many'"),
    "number of rows too small": (in_card("NAXIS2", "30"), "bad-header", "HDU EVENTS", "NAXIS2"),
    "number of rows zero": (in_card("NAXIS2", "0"), "bad-header", "HDU EVENTS", "NAXIS2"),
    "width of rows too large": (in_card("NAXIS1", "48"), "bad-header", "HDU EVENTS", "40 bytes", "48", "NAXIS1"),
    "number of columns too large": (in_card("TFIELDS", "9"), "bad-header", "HDU EVENTS", "column 6", "''", "TFORM6"),
    "unknown format": (in_card("TFORM5", "'Z'"), "bad-header", "HDU EVENTS", "column ENERGY", "'Z'"),
    "huge repeat count": (in_card("TFORM5", "'99999999999D'"), "bad-header", "HDU EVENTS", "column ENERGY", "TFORM5"),
    "energies that are vectors": (
        with_column("ENERGY", lambda table: np.repeat(table["ENERGY"][:, None], 2, axis=1)),
        "bad-column",
        "HDU EVENTS",
        "column ENERGY",
    ),
    "energies that are text": (with_column("ENERGY", lambda table: table["ENERGY"].astype(str)), "bad-column", "column ENERGY"),
    "NaN energy": (first("ENERGY", np.nan), "bad-column", "HDU EVENTS", "column ENERGY", "1 of 50 rows"),
    "infinite energy": (first("ENERGY", np.inf), "bad-column", "column ENERGY", "1 of 50 rows"),
    "negative energy": (first("ENERGY", -1.0), "bad-energy", "column ENERGY", "1 of 50 rows"),
    "NaN right ascension": (first("RA", np.nan), "bad-column", "HDU EVENTS", "column RA", "1 of 50 rows"),
    "NaN declination": (first("DEC", np.nan), "bad-column", "HDU EVENTS", "column DEC", "1 of 50 rows"),
    "NaN time": (first("TIME", np.nan), "bad-column", "HDU EVENTS", "column TIME", "1 of 50 rows"),
    "declination beyond the pole": (first("DEC", 95.0), "bad-position", "HDU EVENTS", "columns RA and DEC"),
    "all zeros": (in_columns(change=zeros), "bad-energy", "HDU EVENTS", "column ENERGY", "50 of 50 rows"),
    "all positions zero": (
        both(with_column("RA", lambda t: 0 * t["RA"]), with_column("DEC", lambda t: 0 * t["DEC"])),
        "inconsistent-pointing",
        "HDU EVENTS",
        "RA and DEC",
        "74 deg",
    ),
    "declinations are right ascensions": (
        with_column("DEC", lambda table: table["RA"] - 360),
        "bad-position",
        "HDU EVENTS",
        "RA and DEC",
    ),
    "no events": (in_columns(change=lambda table: table[:0]), "no-events", "HDU EVENTS"),
    "second half of the events lost": (in_columns(change=half_of_the_time), "gap", "HDU EVENTS", "842 s of 1680 s"),
    "events twice": (repeated_events(2), "duplicate-events", "HDU EVENTS", "50 of 100 events"),
    "events three times": (repeated_events(3), "duplicate-events", "HDU EVENTS", "100 of 150 events"),
    "some events twice": (in_columns(change=with_some_duplicates), "duplicate-events", "HDU EVENTS", "2 of 52 events"),
    "events twice under new numbers": (
        both(repeated_events(2), with_column("EVENT_ID", lambda t: np.arange(len(t)))),
        "duplicate-events",
        "HDU EVENTS",
        "50 of 100 events",
        "TIME, RA, DEC, ENERGY",
    ),
    "threshold above all energies": (
        in_header("AEFF", LO_THRES=(300.0, "GeV that nobody states")),
        "below-threshold",
        "HDU aeff",
        "LO_THRES = 300 TeV",
    ),
    "limit below all energies": (
        in_header("AEFF", LO_THRES=0.01, HI_THRES=0.05),
        "below-threshold",
        "HDU aeff",
        "LO_THRES = 0.01 TeV, HI_THRES = 0.05 TeV",
    ),
    "events twice without EVENT_ID": (
        both(without_column("EVENT_ID"), repeated_events(2)),
        "duplicate-events",
        "HDU EVENTS",
        "50 of 100 events",
    ),
    "MeV stated as TeV": (
        with_column("ENERGY", lambda t: t["ENERGY"] * 1e6),
        "bad-energy",
        "HDU EVENTS",
        "column ENERGY",
        "4.236e+06 TeV",
        "cannot be TeV",
    ),
    "GeV stated as TeV": (
        with_column("ENERGY", lambda t: t["ENERGY"] * 100),
        "bad-energy",
        "HDU EVENTS",
        "column ENERGY",
        "423.6 TeV",
        "cannot be TeV",
    ),
    "TeV stated as GeV": (
        with_column("ENERGY", lambda t: t["ENERGY"] / 1.0, "MeV"),
        "bad-energy",
        "HDU EVENTS",
        "column ENERGY",
        "4.236e-06 TeV",
        "cannot be MeV",
    ),
    "DETX mirrored": (detxy(-1), "mirrored", "HDU EVENTS", "columns DETX and DETY"),
    "DETX mirrored, and NaN": (both(detxy(-1), first("DETX", np.nan)), "mirrored", "HDU EVENTS", "columns DETX and DETY"),
}

BROKEN_HEADERS = {
    "LIVETIME negative": (in_header(LIVETIME=-5.0), "inconsistent-times", "HDU EVENTS", "LIVETIME = -5 s"),
    "LIVETIME zero": (in_header(LIVETIME=0.0), "inconsistent-times", "HDU EVENTS", "LIVETIME = 0 s"),
    "LIVETIME text": (in_header(LIVETIME="long"), "bad-keyword", "HDU EVENTS", "keyword LIVETIME", "'long'"),
    "LIVETIME NaN": (in_card("LIVETIME", "NaN"), "bad-keyword", "HDU EVENTS", "keyword LIVETIME", "nan"),
    "LIVETIME infinite": (in_card("LIVETIME", "1E400"), "bad-keyword", "HDU EVENTS", "keyword LIVETIME", "inf"),
    "LIVETIME true": (in_header(LIVETIME=True), "bad-keyword", "HDU EVENTS", "keyword LIVETIME", "True"),
    "LIVETIME above ONTIME": (
        in_header(LIVETIME=1800.0),
        "inconsistent-times",
        "HDU EVENTS",
        "LIVETIME = 1800 s",
        "ONTIME = 1680 s",
    ),
    "LIVETIME against DEADC": (in_header(DEADC=0.5), "inconsistent-times", "LIVETIME = 1504 s", "DEADC", "840 s"),
    "LIVETIME in minutes": (in_header(LIVETIME=25.0, DEADC=0.9), "inconsistent-times", "LIVETIME = 25 s", "DEADC", "1512 s"),
    "LIVETIME in minutes, without DEADC": (
        in_header(LIVETIME=25.0),
        "inconsistent-times",
        "LIVETIME = 25 s",
        "good time, 1680 s",
    ),
    "good time of years": (
        both(gti((0.0, 1e9)), in_header(ONTIME=ONTIME, LIVETIME=0.9 * ONTIME, DEADC=0.9)),
        "inconsistent-times",
        "LIVETIME = 1512 s",
        "good time, 1e+09 s",
    ),
    "DEADC above 1": (in_header(DEADC=1.5, LIVETIME=None), "inconsistent-times", "HDU EVENTS", "DEADC", "2520 s"),
    "DEADC of dead instead of live time": (in_header(DEADC=0.1), "inconsistent-times", "LIVETIME = 1504 s", "DEADC", "168 s"),
    "ONTIME against GTI": (in_header(ONTIME=1600.0), "inconsistent-times", "HDU EVENTS", "ONTIME = 1600 s", "1680 s"),
    "TSTOP before TSTART": (in_header(TSTOP=TSTART - 10), "inconsistent-times", "HDU EVENTS", "TSTOP =", "TSTART ="),
    "MJDREF missing": (in_header(MJDREFI=None, MJDREFF=None), "missing-keyword", "HDU EVENTS", "keyword MJDREFI"),
    "MJDREF zero": (in_header(MJDREFI=0, MJDREFF=0.0), "bad-time", "HDU EVENTS", "MJDREF = 0"),
    "other MJDREF of GTI": (in_header("GTI", MJDREFI=51544), "bad-gti", "HDU EVENTS", "no event", "MJDREF"),
    "TIMESYS unknown": (in_header(TIMESYS="SIDEREAL"), "bad-keyword", "HDU EVENTS", "TIMESYS", "'sidereal'"),
    "TIMEUNIT unknown": (
        both(without_unit("TIME"), in_header(TIMEUNIT="apples")),
        "bad-unit",
        "HDU EVENTS",
        "TIMEUNIT",
        "'apples'",
    ),
    "GTI empty": (gti(), "bad-gti", "HDU GTI", "no good time intervals"),
    "GTI reversed": (gti((1680, 0)), "bad-gti", "HDU GTI", "ends before", "START, STOP"),
    "GTI NaN": (in_columns("GTI", lambda table: table["STOP"].fill(np.nan)), "bad-gti", "HDU GTI", "STOP", "not finite"),
    "GTI of another run": (gti((86400, 88080)), "bad-gti", "HDU EVENTS", "no event"),
    "pointing NaN": (in_card("RA_PNT", "NaN"), "bad-keyword", "HDU EVENTS", "keyword RA_PNT", "nan"),
    "pointing missing": (
        both(in_header(RA_PNT=None), in_index("obs-index", lambda table: table.remove_column("RA_PNT"))),
        "missing-keyword",
        "HDU EVENTS",
        "keyword RA_PNT",
    ),
    "pointing text": (in_header(DEC_PNT="-22d30m"), "bad-keyword", "HDU EVENTS", "keyword DEC_PNT", "'-22d30m'"),
    "pointing not a position": (in_header(DEC_PNT=-120.0), "bad-position", "HDU EVENTS", "DEC_PNT = -120 deg"),
    "pointing of another field": (
        in_header(RA_PNT=83.6, DEC_PNT=22.0),
        "inconsistent-pointing",
        "HDU EVENTS",
        "RA_PNT and DEC_PNT",
        "33.7 deg",
        "index",
    ),
    "site not filled in": (
        in_header(GEOLON=0.0, GEOLAT=0.0, TELESCOP="CTA"),
        "unknown-site",
        "HDU EVENTS",
        "GEOLON, GEOLAT",
        "ALTITUDE",
    ),
    "site missing": (
        in_header(GEOLON=None, GEOLAT=None, ALTITUDE=None, TELESCOP="Dish"),
        "unknown-site",
        "HDU EVENTS",
        "GEOLON, GEOLAT",
        "ALTITUDE",
        "'Dish'",
        "CTAO-NORTH",
    ),
    "site is text": (in_header(GEOLON="Namibia"), "bad-keyword", "HDU EVENTS", "keyword GEOLON", "'Namibia'"),
    "site at another latitude": (
        in_header(GEOLAT=45.0),
        "inconsistent-pointing",
        "HDU EVENTS",
        "ALT_PNT = 75.0",
        "34.5, 171.0 deg",
    ),
    "site beyond the pole": (in_header(GEOLAT=123.0), "bad-position", "HDU EVENTS", "GEOLAT", "latitude 123 deg"),
    "latitude missing": (in_header(GEOLAT=None), "missing-keyword", "HDU EVENTS", "keyword GEOLAT"),
    "frame of 1950": (
        in_header(RADECSYS="FK4", EQUINOX=1950.0),
        "unsupported-frame",
        "HDU EVENTS",
        "FK4 of 1950 (RADECSYS, EQUINOX)",
    ),
    "equinox of date": (
        in_header(RADECSYS="FK5", EQUINOX=2014.5),
        "unsupported-frame",
        "HDU EVENTS",
        "FK5 of 2014.5 (RADECSYS, EQUINOX)",
    ),
    "frame by its newer keyword": (in_header(RADESYS="FK4"), "unsupported-frame", "HDU EVENTS", "FK4 (RADESYS, EQUINOX)"),
    "old equinox alone": (in_header(RADECSYS=" ", EQUINOX="B1950"), "unsupported-frame", "HDU EVENTS", "FK4 of 1950 (EQUINOX)"),
    "galactic frame": (
        in_header(RADESYS=" ", RADECSYS="Galactic"),
        "unsupported-frame",
        "HDU EVENTS",
        "GALACTIC (RADECSYS, EQUINOX)",
    ),
    "drift": (in_header(OBS_MODE="DRIFT"), "unsupported-mode", "HDU EVENTS", "OBS_MODE is DRIFT"),
    "slew": (in_header(OBS_MODE="slew"), "unsupported-mode", "HDU EVENTS", "OBS_MODE is SLEW"),
    "OBS_ID of another run": (in_header(OBS_ID=5), "wrong-run", "HDU EVENTS", "OBS_ID is 5", "run 4"),
    "OBS_ID not an integer": (in_header(OBS_ID=4.5), "wrong-run", "HDU EVENTS", "OBS_ID is 4.5", "run 4"),
    "GTI of another OBS_ID": (in_header("GTI", OBS_ID=5), "wrong-run", "HDU GTI", "OBS_ID is 5", "run 4"),
    "OBS_ID with a terminal escape sequence": (
        in_card("OBS_ID", "'\x1b[31mfour'"),
        "wrong-run",
        "HDU EVENTS",
        "OBS_ID is \N{REPLACEMENT CHARACTER}[31mfour",
    ),
    "OBS_ID text": (in_header(OBS_ID="four"), "wrong-run", "HDU EVENTS", "OBS_ID is four", "run 4"),
    "file content of another run": (of_run_2, "wrong-run", "HDU EVENTS", "OBS_ID is 2", "run 4"),
    "LO_THRES text": (in_header("AEFF", LO_THRES="low"), "bad-keyword", "HDU AEFF", "keyword LO_THRES", "'low'"),
    "HI_THRES text": (in_header("AEFF", HI_THRES="high"), "bad-keyword", "HDU AEFF", "keyword HI_THRES", "'high'"),
    "HI_THRES below LO_THRES": (
        in_header("AEFF", HI_THRES=(200.0, "[GeV]")),
        "bad-keyword",
        "HDU AEFF",
        "HI_THRES = 0.2 TeV is not above LO_THRES = 0.3 TeV",
    ),
    "HI_THRES equal to LO_THRES": (in_header("AEFF", HI_THRES=0.3), "bad-keyword", "HDU AEFF", "HI_THRES = 0.3 TeV"),
    "LO_THRES in another unit": (
        in_header("AEFF", LO_THRES=(0.3, "[deg]")),
        "bad-unit",
        "HDU AEFF",
        "keyword LO_THRES",
        "'deg'",
    ),
}

BROKEN_ROWS = {
    "altitude below the horizon": (
        in_row(ALT_PNT=-10.0),
        "bad-position",
        "obs-index.fits.gz",
        "ALT_PNT of run 4",
        "-10 deg",
        "below the horizon; correct it, or use --pointing computed",
    ),
    "altitude above 90": (in_row(ALT_PNT=91.0), "bad-position", "obs-index.fits.gz", "ALT_PNT of run 4", "91 deg"),
    "altitude that contradicts": (in_row(ALT_PNT=45.0), "inconsistent-pointing", FILE, "ALT_PNT = 45.0", "75.0, 30.0 deg"),
    "azimuth that contradicts": (in_row(AZ_PNT=120.0), "inconsistent-pointing", FILE, "AZ_PNT = 120.0", "75.0, 30.0 deg"),
    "position that contradicts": (in_row(DEC_PNT=40.0), "inconsistent-pointing", FILE, "RA_PNT and DEC_PNT", "50.1 deg"),
    "declination below -90": (in_row(DEC_PNT=-91.0), "bad-position", "obs-index.fits.gz", "DEC_PNT of run 4", "-91 deg"),
    "no pointing anywhere": (
        both(in_row(RA_PNT=np.nan), in_header(RA_PNT=None)),
        "missing-keyword",
        FILE,
        "HDU EVENTS",
        "keyword RA_PNT",
    ),
    "two rows that differ": (
        in_index("obs-index", contradicting_duplicate),
        "duplicate-run",
        "obs-index.fits.gz",
        "run 4",
        "RA_PNT, LIVETIME",
    ),
    "two event lists": (
        in_index("hdu-index", two_event_lists),
        "bad-index",
        "hdu-index.fits.gz",
        "two HDUs",
        "events",
        "run 4",
        FILE,
        "run2.fits.gz",
    ),
    "no event list": (
        in_index("hdu-index", lambda table: table[table["OBS_ID"] != CHANGED]),
        "bad-index",
        "hdu-index.fits.gz",
        "run 4",
    ),
    "file of another run": (
        in_location(FILE_NAME="run2.fits.gz"),
        "wrong-run",
        "run2.fits.gz, HDU EVENTS",
        "OBS_ID is 2",
        "run 4",
    ),
    "file of good time intervals missing": (
        both(gti_in_another_file, lambda indir: (indir / "data" / "times.fits").unlink()),
        "not-found",
        "times.fits",
    ),
    "path of two lines": (
        in_location(FILE_NAME="run4\nrun2.fits.gz"),
        "not-found",
        "run4\N{REPLACEMENT CHARACTER}run2.fits.gz",
    ),
    "variable in the path": (in_location(FILE_DIR="$BGNB_DATA"), "not-found", "$BGNB_DATA", "variables"),
    "URL": (in_location(FILE_DIR="", FILE_NAME="https://example.org/run4.fits.gz"), "not-found", "example.org", "URLs"),
    "password file": (in_location(FILE_DIR="/etc", FILE_NAME="passwd"), "not-fits", "/etc/passwd"),
    "name too long": (in_location(FILE_NAME="x" * 300), "unreadable", "File name too long"),
}

BROKEN_FILES = {name: (change, code, FILE, *words) for name, (change, code, *words) in (BROKEN_TABLES | BROKEN_HEADERS).items()}
BROKEN = BROKEN_FILES | BROKEN_ROWS


@pytest.mark.parametrize("name", BROKEN)
def test_broken_run_is_skipped(indir, tmp_path, name):
    """Skip a broken run with an error that names file and cause, and count the others in full."""
    change, code, *words = BROKEN[name]
    change(indir)
    assert_skipped(indir, tmp_path / "out", code, *words)
