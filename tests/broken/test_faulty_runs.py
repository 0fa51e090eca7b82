"""Runs that cannot be used are left out by name, and the others are used with exactly their own totals."""

import shutil

import numpy as np
import pytest

from tests.broken.directory import (
    CHANGED,
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
    left_out_by_name,
    with_column,
    with_whole_card,
)
from tests.helpers.run_files import TSTART

FILE = "run4.fits.gz"


def gti(*intervals):
    """Other good time intervals, and an ONTIME and LIVETIME that fit them."""
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
    """A value into the first row of a column."""

    def change(table):
        table[name][0] = value

    return in_columns(change=change)


def zeros(table):
    for name in table.colnames:
        table[name] *= 0


def doubled(times):
    def change(table):
        return table[np.tile(np.arange(len(table)), times)]

    return in_columns(change=change)


def some_doubled(table):
    return table[np.r_[0 : len(table), 3, 7]]


def half_of_the_time(table):
    """Many events, but all in the first half of the good time."""
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
    "table of another dimension": (in_card("NAXIS", "1"), "HDU EVENTS", "keyword NAXIS of a table must be 2, got 1"),
    "other bits": (in_card("BITPIX", "-64"), "HDU EVENTS", "keyword BITPIX of a table must be 8, got -64"),
    "bits of text": (in_card("BITPIX", "'many'"), "HDU EVENTS", "keyword BITPIX must be 8, 16, 32, 64, -32 or -64, got 'many'"),
    "scale is text": (in_bytes(scale_of_text), "HDU EVENTS", "keyword TSCAL5 is not a number: 'large'"),
    "HDU EVENTS missing": (without_hdu("EVENTS"), "there is no HDU events"),
    "HDU EVENTS misnamed": (renamed_hdu("EVENTS", "EVTS"), "there is no HDU events"),
    "HDU GTI missing": (without_hdu("GTI"), "there is no HDU gti"),
    "HDU AEFF missing": (without_hdu("AEFF"), "there is no HDU aeff"),
    "column ENERGY missing": (without_column("ENERGY"), "HDU EVENTS", "column ENERGY is missing"),
    "column TIME missing": (without_column("TIME"), "HDU EVENTS", "column TIME is missing"),
    "column RA misnamed": (renamed_column("RA", "RIGHTASC"), "HDU EVENTS", "column RA is missing"),
    "column START missing": (
        in_columns("GTI", lambda table: table.remove_column("START")),
        "HDU GTI",
        "column START is missing",
    ),
    "no unit of ENERGY": (without_unit("ENERGY"), "HDU EVENTS", "column ENERGY has no unit", "EUNIT"),
    "unit of another quantity": (
        with_column("ENERGY", lambda table: table["ENERGY"], "s"),
        "column ENERGY has the unit 's', which is no unit of energy",
    ),
    "unit that is none": (in_card("TUNIT5", "'parsnips'"), "column ENERGY has the unit 'parsnips'"),
    "unit of RA is no angle": (with_column("RA", lambda table: table["RA"], "TeV"), "column RA has the unit 'TeV'"),
    "unit of TIME is no time": (with_column("TIME", lambda table: table["TIME"], "m"), "column TIME has the unit 'm'"),
    "many rows claimed": (in_card("NAXIS2", "10000000000"), "HDU EVENTS", "NAXIS2 claims more rows than are there"),
    "too many rows claimed": (in_card("NAXIS2", "200"), "HDU EVENTS", "the next HDU begins within the table", "NAXIS2"),
    "rows without number": (in_card("NAXIS2", "1" + 30 * "0"), "HDU EVENTS", "NAXIS2 claims more rows than are there"),
    "negative number of rows": (
        in_card("NAXIS2", "-50"),
        "HDU EVENTS",
        "keyword NAXIS2 must be a whole number that is not negative, got -50",
    ),
    "number of rows is text": (in_card("NAXIS2", "'many'"), "keyword NAXIS2 must be a whole number"),
    "too few rows claimed": (in_card("NAXIS2", "30"), "HDU EVENTS", "the table goes on after rows that NAXIS2 claims"),
    "no rows claimed": (in_card("NAXIS2", "0"), "HDU EVENTS", "the table goes on after rows that NAXIS2 claims"),
    "wide rows claimed": (in_card("NAXIS1", "48"), "HDU EVENTS", "the columns take 40 bytes a row, but NAXIS1 says 48"),
    "many columns claimed": (in_card("TFIELDS", "9"), "HDU EVENTS", "column 6 has the unknown format '' (TFORM6)"),
    "unknown format": (in_card("TFORM5", "'Z'"), "HDU EVENTS", "column ENERGY has the unknown format 'Z'"),
    "huge repeat count": (in_card("TFORM5", "'99999999999D'"), "column ENERGY has the unknown format"),
    "energies that are vectors": (
        with_column("ENERGY", lambda table: np.repeat(table["ENERGY"][:, None], 2, axis=1)),
        "HDU EVENTS",
        "column ENERGY must hold one number a row",
    ),
    "energies that are text": (
        with_column("ENERGY", lambda table: table["ENERGY"].astype(str)),
        "column ENERGY must hold one number",
    ),
    "NaN energy": (first("ENERGY", np.nan), "HDU EVENTS", "column ENERGY is not finite in 1 of 50 rows"),
    "infinite energy": (first("ENERGY", np.inf), "column ENERGY is not finite in 1 of 50 rows"),
    "negative energy": (first("ENERGY", -1.0), "column ENERGY is not above 0 in 1 of 50 rows"),
    "NaN right ascension": (first("RA", np.nan), "HDU EVENTS", "column RA is not finite in 1 of 50 rows"),
    "NaN declination": (first("DEC", np.nan), "HDU EVENTS", "column DEC is not finite in 1 of 50 rows"),
    "NaN time": (first("TIME", np.nan), "HDU EVENTS", "column TIME is not finite in 1 of 50 rows"),
    "declination beyond the pole": (first("DEC", 95.0), "HDU EVENTS", "columns RA and DEC have values that are no position"),
    "all zeros": (in_columns(change=zeros), "HDU EVENTS", "column ENERGY is not above 0 in 50 of 50 rows"),
    "all positions zero": (
        both(with_column("RA", lambda t: 0 * t["RA"]), with_column("DEC", lambda t: 0 * t["DEC"])),
        "from the pointing",
    ),
    "declinations are right ascensions": (with_column("DEC", lambda table: table["RA"] - 360), "HDU EVENTS", "RA and DEC"),
    "no events": (in_columns(change=lambda table: table[:0]), "HDU EVENTS: has no events"),
    "second half of the events lost": (
        in_columns(change=half_of_the_time),
        "HDU EVENTS",
        "there is no event in",
        "is the list cut",
    ),
    "events twice": (doubled(2), "HDU EVENTS", "50 of 100 events are copies of others"),
    "events three times": (doubled(3), "HDU EVENTS", "100 of 150 events are copies of others"),
    "some events twice": (in_columns(change=some_doubled), "HDU EVENTS", "2 of 52 events are copies of others"),
    "events twice under new numbers": (
        both(doubled(2), with_column("EVENT_ID", lambda t: np.arange(len(t)))),
        "HDU EVENTS",
        "50 of 100 events are copies of others (TIME, RA, DEC, ENERGY)",
    ),
    "threshold above all energies": (
        in_header("AEFF", LO_THRES=(300.0, "GeV that nobody states")),
        "HDU aeff",
        "LO_THRES = 300 TeV: no energy bin lies above it",
    ),
    "events twice without EVENT_ID": (
        both(without_column("EVENT_ID"), doubled(2)),
        "HDU EVENTS",
        "50 of 100 events are copies of others",
    ),
    "MeV stated as TeV": (
        with_column("ENERGY", lambda t: t["ENERGY"] * 1e6),
        "column ENERGY has a median of",
        "its unit cannot be TeV",
    ),
    "GeV stated as TeV": (
        with_column("ENERGY", lambda t: t["ENERGY"] * 100),
        "column ENERGY has a median of",
        "its unit cannot be TeV",
    ),
    "TeV stated as GeV": (with_column("ENERGY", lambda t: t["ENERGY"] / 1.0, "MeV"), "its unit cannot be MeV"),
    "DETX mirrored": (detxy(-1), "HDU EVENTS", "columns DETX and DETY are mirrored"),
    "DETX mirrored, and NaN": (both(detxy(-1), first("DETX", np.nan)), "HDU EVENTS", "columns DETX and DETY are mirrored"),
}

BROKEN_HEADERS = {
    "LIVETIME negative": (in_header(LIVETIME=-5.0), "HDU EVENTS", "LIVETIME must be above 0 s, got -5"),
    "LIVETIME zero": (in_header(LIVETIME=0.0), "HDU EVENTS", "LIVETIME must be above 0 s, got 0"),
    "LIVETIME text": (in_header(LIVETIME="long"), "HDU EVENTS", "keyword LIVETIME is not a number: 'long'"),
    "LIVETIME NaN": (in_card("LIVETIME", "NaN"), "HDU EVENTS", "keyword LIVETIME is not a number: nan"),
    "LIVETIME infinite": (in_card("LIVETIME", "1E400"), "HDU EVENTS", "keyword LIVETIME is not a number: inf"),
    "LIVETIME true": (in_header(LIVETIME=True), "HDU EVENTS", "keyword LIVETIME is not a number: True"),
    "LIVETIME above ONTIME": (in_header(LIVETIME=1800.0), "HDU EVENTS", "LIVETIME = 1800 s is longer than ONTIME = 1680 s"),
    "LIVETIME against DEADC": (in_header(DEADC=0.5), "LIVETIME = 1504 s, but DEADC times the good time is 840 s"),
    "LIVETIME in minutes": (in_header(LIVETIME=25.0, DEADC=0.9), "LIVETIME = 25 s, but DEADC times the good time is 1512 s"),
    "LIVETIME in minutes, without DEADC": (in_header(LIVETIME=25.0), "LIVETIME = 25 s is not in keeping with ONTIME = 1680 s"),
    "DEADC above 1": (in_header(DEADC=1.5, LIVETIME=None), "HDU EVENTS", "DEADC"),
    "DEADC is the dead part": (in_header(DEADC=0.1), "LIVETIME = 1504 s, but DEADC times the good time is 168 s"),
    "ONTIME against GTI": (
        in_header(ONTIME=1600.0),
        "HDU EVENTS",
        "ONTIME = 1600 s, but the good time intervals add up to 1680 s",
    ),
    "TSTOP before TSTART": (in_header(TSTOP=TSTART - 10), "HDU EVENTS", "TSTOP =", "is not after TSTART"),
    "MJDREF missing": (in_header(MJDREFI=None, MJDREFF=None), "HDU EVENTS", "keyword MJDREFI is missing"),
    "MJDREF zero": (in_header(MJDREFI=0, MJDREFF=0.0), "HDU EVENTS", "MJDREF = 0 is no modified Julian date"),
    "MJDREF of GTI another": (in_header("GTI", MJDREFI=51544), "no event lies in a good time interval", "MJDREF"),
    "TIMESYS unknown": (in_header(TIMESYS="SIDEREAL"), "HDU EVENTS", "TIMESYS 'sidereal' is not a time scale"),
    "TIMEUNIT unknown": (both(without_unit("TIME"), in_header(TIMEUNIT="apples")), "HDU EVENTS", "has the unit 'apples'"),
    "GTI empty": (gti(), "HDU GTI", "there is no good time interval"),
    "GTI reversed": (gti((1680, 0)), "HDU GTI", "an interval stops before it starts"),
    "GTI of no length": (gti((0, 1680), (1690, 1690)), "HDU GTI", "an interval stops before it starts"),
    "GTI overlapping": (gti((0, 1000), (900, 1680)), "HDU GTI", "good time intervals overlap"),
    "GTI twice": (gti((0, 1680), (0, 1680)), "HDU GTI", "good time intervals overlap"),
    "GTI NaN": (
        in_columns("GTI", lambda table: table["STOP"].fill(np.nan)),
        "HDU GTI",
        "column STOP is not finite in 1 of 1 rows",
    ),
    "GTI of another run": (gti((86400, 88080)), "HDU EVENTS", "no event lies in a good time interval"),
    "pointing NaN": (in_card("RA_PNT", "NaN"), "HDU EVENTS", "keyword RA_PNT is not a number: nan"),
    "pointing missing": (
        both(in_header(RA_PNT=None), in_index("obs-index", lambda table: table.remove_column("RA_PNT"))),
        "HDU EVENTS",
        "keyword RA_PNT is missing",
    ),
    "pointing text": (in_header(DEC_PNT="-22d30m"), "HDU EVENTS", "keyword DEC_PNT is not a number: '-22d30m'"),
    "pointing no position": (in_header(DEC_PNT=-120.0), "HDU EVENTS", "is no position"),
    "pointing of another field": (
        in_header(RA_PNT=83.6, DEC_PNT=22.0),
        "HDU EVENTS",
        "RA_PNT and DEC_PNT are",
        "from those in the index",
    ),
    "site not filled in": (in_header(GEOLON=0.0, GEOLAT=0.0, TELESCOP="CTA"), "HDU EVENTS", "ALTITUDE are missing or 0"),
    "site missing": (
        in_header(GEOLON=None, GEOLAT=None, ALTITUDE=None, TELESCOP="Dish"),
        "HDU EVENTS",
        "GEOLON, GEOLAT and ALTITUDE are missing",
    ),
    "site is text": (in_header(GEOLON="Namibia"), "HDU EVENTS", "keyword GEOLON is not a number: 'Namibia'"),
    "site at another latitude": (in_header(GEOLAT=45.0), "HDU EVENTS", "by RA, DEC, time and site"),
    "site beyond the pole": (in_header(GEOLAT=123.0), "HDU EVENTS", "GEOLAT = 123 deg", "is no place on Earth"),
    "latitude missing": (in_header(GEOLAT=None), "HDU EVENTS", "keyword GEOLAT is missing"),
    "frame of 1950": (
        in_header(RADECSYS="FK4", EQUINOX=1950.0),
        "HDU EVENTS",
        "positions are in FK4 of 1950 (RADECSYS, EQUINOX)",
    ),
    "equinox of date": (in_header(RADECSYS="FK5", EQUINOX=2014.5), "HDU EVENTS", "positions are in FK5 of 2014.5"),
    "frame by its newer keyword": (in_header(RADESYS="FK4"), "positions are in FK4 (RADESYS, EQUINOX)"),
    "old equinox alone": (in_header(RADECSYS=" ", EQUINOX="B1950"), "positions are in FK4 of 1950 (EQUINOX)"),
    "galactic frame": (in_header(RADESYS=" ", RADECSYS="Galactic"), "positions are in GALACTIC (RADECSYS, EQUINOX)"),
    "drift": (in_header(OBS_MODE="DRIFT"), "HDU EVENTS", "OBS_MODE is DRIFT"),
    "slew": (in_header(OBS_MODE="slew"), "HDU EVENTS", "OBS_MODE is SLEW"),
    "OBS_ID of another run": (in_header(OBS_ID=5), "HDU EVENTS", "OBS_ID says that it holds run 5, but the index says 4"),
    "OBS_ID that is no whole number": (in_header(OBS_ID=4.5), "HDU EVENTS", "OBS_ID says that it holds run 4.5"),
    "AEFF of another run": (in_header("AEFF", OBS_ID=5), "HDU AEFF", "OBS_ID says that it holds run 5, but the index says 4"),
    "GTI that says it is of another run": (in_header("GTI", OBS_ID=5), "HDU GTI", "OBS_ID says that it holds run 5"),
    "OBS_ID that a terminal obeys": (in_card("OBS_ID", "'\x1b[31mfour'"), "holds run \N{REPLACEMENT CHARACTER}[31mfour"),
    "OBS_ID text": (in_header(OBS_ID="four"), "HDU EVENTS", "OBS_ID says that it holds run four, but the index says 4"),
    "copy of another run": (of_run_2, "HDU EVENTS", "OBS_ID says that it holds run 2, but the index says 4"),
    "LO_THRES text": (in_header("AEFF", LO_THRES="low"), "HDU AEFF", "keyword LO_THRES is not a number: 'low'"),
    "LO_THRES in a strange unit": (
        in_header("AEFF", LO_THRES=(0.3, "[deg]")),
        "HDU AEFF",
        "keyword LO_THRES has the unit 'deg'",
    ),
}

BROKEN_ROWS = {
    "altitude below the horizon": (
        in_row(ALT_PNT=-10.0),
        "obs-index.fits.gz",
        "ALT_PNT of run 4 is -10 deg, below the horizon",
    ),
    "altitude above 90": (in_row(ALT_PNT=91.0), "obs-index.fits.gz", "ALT_PNT of run 4 is 91 deg"),
    "altitude that contradicts": (in_row(ALT_PNT=65.0), FILE, "the index says altitude 65.0", "by RA, DEC, time and site"),
    "azimuth that contradicts": (in_row(AZ_PNT=120.0), FILE, "azimuth 120.0 deg", "by RA, DEC, time and site"),
    "position that contradicts": (in_row(DEC_PNT=40.0), FILE, "RA_PNT and DEC_PNT are", "from those in the index"),
    "no position": (in_row(DEC_PNT=-91.0), "obs-index.fits.gz", "DEC_PNT of run 4 is -91 deg"),
    "no pointing anywhere": (
        both(in_row(RA_PNT=np.nan), in_header(RA_PNT=None)),
        FILE,
        "HDU EVENTS",
        "keyword RA_PNT is missing",
    ),
    "two rows that differ": (
        in_index("obs-index", contradicting_duplicate),
        "obs-index.fits.gz",
        "has two rows of run 4, which differ in RA_PNT, LIVETIME",
    ),
    "two event lists": (
        in_index("hdu-index", two_event_lists),
        "hdu-index.fits.gz",
        "names two HDUs of kind events for run 4",
        FILE,
        "run2.fits.gz",
    ),
    "no event list": (
        in_index("hdu-index", lambda table: table[table["OBS_ID"] != CHANGED]),
        "hdu-index.fits.gz",
        "names no event list of run 4",
    ),
    "file of another run": (
        in_location(FILE_NAME="run2.fits.gz"),
        "run2.fits.gz, HDU EVENTS: OBS_ID says that it holds run 2, but the index says 4",
    ),
    "file of good time intervals missing": (
        both(gti_in_another_file, lambda indir: (indir / "data" / "times.fits").unlink()),
        "times.fits: there is no such file",
    ),
    "path of two lines": (in_location(FILE_NAME="run4\nrun2.fits.gz"), "there is no such file"),
    "variable in the path": (in_location(FILE_DIR="$BGNB_DATA"), "there is no such file; variables in paths are not expanded"),
    "URL": (in_location(FILE_DIR="", FILE_NAME="https://example.org/run4.fits.gz"), "files are read from disk, not from URLs"),
    "file of a password": (in_location(FILE_DIR="/etc", FILE_NAME="passwd"), "is not a FITS file"),
    "name too long": (in_location(FILE_NAME="x" * 300), "cannot be read: File name too long"),
}

BROKEN_FILES = {name: (change, FILE, *words) for name, (change, *words) in (BROKEN_TABLES | BROKEN_HEADERS).items()}
BROKEN = BROKEN_FILES | BROKEN_ROWS


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_run_is_left_out_by_name_and_the_others_count(indir, tmp_path, name):
    change, *words = BROKEN[name]
    change(indir)
    left_out_by_name(indir, tmp_path / "out", words)
