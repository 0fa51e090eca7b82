"""Columns and keywords of GADF: quantities in a unit, mission times, and the site."""

from __future__ import annotations

import numpy as np
from astropy import units as u
from numpy.typing import NDArray

import bgnb._util.unit_parser  # noqa: F401 # which limits what Astropy computes
from bgnb._util.arrays import Floats
from bgnb._util.errors import DataError, located
from bgnb.observations.coordinates import Site, pointing_altaz, pointing_radec, tt_of
from bgnb.observations.fits_header import Header
from bgnb.observations.fits_table import FitsTable, read_headers
from bgnb.observations.sites import OBSERVATORIES, site_by_name

#: Units in the run table.
INDEX_UNITS = dict.fromkeys(("RA_PNT", "DEC_PNT", "ALT_PNT", "AZ_PNT", "ZEN_PNT"), "deg")
INDEX_UNITS |= dict.fromkeys(("ONTIME", "LIVETIME", "TSTART", "TSTOP"), "s")
# Keywords of the site: longitude and latitude in deg, height in m in one of two; or geocentric, in m (FITS 4.0, section 9.2.3).
_GEODETIC = (("GEOLON", "GEOLAT", "ALTITUDE", "GEOALT"), ("OBSGEO-L", "OBSGEO-B", "OBSGEO-H"))
_GEOCENTRIC = ("OBSGEO-X", "OBSGEO-Y", "OBSGEO-Z")
#: All of them.
SITE_KEYWORDS = (*_GEODETIC[0], *_GEODETIC[1], *_GEOCENTRIC)
#: Keywords of an index of runs that replace those missing in the header of the events.
INDEX_HEADER: tuple[str, ...] = ("MJDREFI", "MJDREFF", "TIMESYS", "TELESCOP", "INSTRUME", "OBSERVATORY_NAME", *SITE_KEYWORDS)
# Names of time scales that FITS allows besides those of Astropy (FITS 4.0, table 30).
_TIME_SCALES = {"tdt": "tt", "et": "tt", "iat": "tai", "gmt": "utc", "ut": "utc"}
# TAI minus GPS time, s.
_TAI_FROM_GPS = 19.0
#: Message on a pointing below the horizon, for an altitude in deg.
BELOW_HORIZON = (
    "by RA_PNT, DEC_PNT, time and site, the altitude is {:.1f} deg, below the horizon; correct the times or the site; "
    "if they are placeholders, state ALT_PNT and AZ_PNT above the horizon, and use --pointing header"
)
#: OBJECT of simulated runs.
SIMULATED = "simulated"
# MJD of the zero of Unix time.
_UNIX = 40587


def is_simulated(name: object) -> bool:
    """Check that the name of an object (OBJECT) is that of simulated runs, which contain none of the known sources."""
    return str(name).strip() == SIMULATED


def column_in(
    table: FitsTable, name: str, unit: str, default_unit: str | None = None, rows: NDArray[np.intp] | slice = slice(None)
) -> Floats:
    """Return a column of numbers, or some rows of it, in a unit; ``default_unit`` is used if the file states none.

    Raises
    ------
    DataError
        If the column is missing, is not numeric, or has no unit or one of another kind.
    """
    values = table.column(name)
    stated = table.units[name] or (unit if default_unit is None else default_unit)
    if not stated:
        raise table.error("bad-unit", f"column {name} has no unit, and there is no keyword EUNIT")
    if values.ndim != 1 or values.dtype.kind not in "fiu":
        raise table.error("bad-column", f"column {name} must contain one number per row")
    factor = factor_to(stated, unit, f"{table.where}: column {name}")
    with np.errstate(invalid="ignore", over="ignore"):  # of damaged numbers, which are refused or noted as such
        return np.asarray(values[rows], dtype=float) if factor == 1 else np.multiply(values[rows], factor, dtype=float)


def factor_to(stated: str, unit: str, where: str) -> float:
    """Return the factor from a unit stated in a file to another, or raise a `DataError`."""
    if stated == unit:
        return 1.0
    try:
        parsed = u.Unit(stated)
        if not isinstance(parsed, u.UnitBase):  # such as dex(TeV), whose values are logarithms
            raise TypeError
        return float(parsed.to(unit))
    except (ValueError, TypeError):
        quantity = next(iter(u.Unit(unit).physical_type))
        article = "an" if quantity[0] in "aeiou" else "a"
        reason = f"which is not {article} {quantity} unit of the FITS standard; correct it, for example to {unit}"
        raise DataError("bad-unit", f"{where} has unit '{stated}', {reason}") from None


def mjdref_tt(table: Header) -> float:
    """Return the reference time (MJDREF) of the mission times of a table, MJD in TT.

    UTC since 1970 is Unix time, which counts no leap seconds; the reference is that of the time TSTART.
    """
    if table.get("MJDREFI") is None and table.get("MJDREF") is not None:
        mjdref = table.number("MJDREF")
    else:
        mjdref = table.number("MJDREFI") + table.number("MJDREFF", 0)
    if not 30000 < mjdref < 100000:
        raise table.error("bad-time", f"MJDREF = {mjdref:g} is not a plausible modified Julian date")
    mjdref += table.number("TIMEOFFS", 0) * factor_to(time_unit(table), "s", f"{table.where}: keyword TIMEUNIT") / 86400
    stated = str(table.get("TIMESYS", "TT"))
    timesys = stated.partition("(")[0].strip().lower()  # the realization in brackets, as in TT(TAI), does not matter
    timesys = _TIME_SCALES.get(timesys, timesys)
    if timesys == "tt":
        return mjdref
    if timesys == "gps":
        timesys, mjdref = "tai", mjdref + _TAI_FROM_GPS / 86400
    from astropy.time import Time

    if timesys not in Time.SCALES or timesys == "local":
        raise table.error("bad-keyword", f"TIMESYS '{timesys}' is not a time scale, such as TT, UTC or TAI")
    if timesys == "utc" and mjdref == _UNIX and table.get("TSTART") is not None:  # lstchain < 0.9.7, magic-cta-pipe
        start = mjdref + table.number("TSTART") * factor_to(time_unit(table), "d", f"{table.where}: keyword TIMEUNIT")
        return mjdref + tt_of(start, format="mjd", scale=timesys) - start
    return tt_of(mjdref, format="mjd", scale=timesys)


def time_unit(table: Header) -> str:
    """Return the unit of mission times in columns that state none."""
    return str(table.get("TIMEUNIT", "s"))


def start_and_stop(events: Header) -> tuple[float, float]:
    """Return TSTART and TSTOP, s.

    Raises
    ------
    DataError
        If one is missing, or they are in the wrong order.
    """
    factor = factor_to(time_unit(events), "s", f"{events.where}: keyword TIMEUNIT")
    start, stop = events.number("TSTART") * factor, events.number("TSTOP") * factor
    if stop <= start:
        raise events.error("inconsistent-times", f"TSTOP = {stop:.3f} s is not after TSTART = {start:.3f} s")
    return start, stop


def stated_site(table: Header) -> Site | None:
    """Return the location of the observatory that the keywords of a header state; None if they are missing or 0."""
    for names in _GEODETIC:
        if table.get(names[0]) is None:
            continue
        height_name = next((name for name in names[2:] if table.get(name) is not None), "")
        lon, lat = table.number(names[0]), table.number(names[1])
        height = table.number(height_name, 0)
        if lon or lat:  # otherwise a point in the Atlantic
            with located(f"{table.where}: keywords {', '.join(names)}"):
                return Site(lon, lat, height)
    if table.get(_GEOCENTRIC[0]) is not None and any(position := [table.number(name) for name in _GEOCENTRIC]):
        with located(f"{table.where}: keywords {', '.join(_GEOCENTRIC)}"):
            return Site.from_geocentric(*position)
    return None


def site_of(events: Header) -> Site:
    """Return the location of the observatory.

    The first of these is used: keywords in the header of the events, completed by the index; those of the HDU POINTING
    in the same file; the names OBSERVATORY_NAME, TELESCOP and INSTRUME.

    Raises
    ------
    DataError
        If there is none of them.
    """
    if site := stated_site(events):
        return site
    pointing = next((header for header in read_headers(events.path) if header.name.upper() == "POINTING"), None)
    if pointing and (site := stated_site(pointing)):
        return site
    if site := named_site(events):
        return site
    keywords = "GEOLON, GEOLAT and ALTITUDE (or OBSGEO-L, -B, -H, or OBSGEO-X, -Y, -Z)"
    missing = f"the location of the observatory is unknown: {keywords} are missing or 0, also in HDU POINTING and the index"
    names_of_sites = f"one of the names {', '.join(OBSERVATORIES)} as TELESCOP"
    advice = f"add these keywords, or {names_of_sites}, to the header of the events or index, or use --pointing header"
    raise events.error("unknown-site", f"{missing}, and TELESCOP is {str(events.get('TELESCOP', ''))!r}; {advice}")


def named_site(events: Header) -> Site | None:
    """Return the location of the observatory or instrument that a header names; None if it is not known."""
    names = [str(events.get(keyword, "")) for keyword in ("OBSERVATORY_NAME", "TELESCOP", "INSTRUME")]
    return site_by_name(*names, f"{names[1]} {names[2]}")


def altaz_in(header: Header) -> tuple[float, float] | None:
    """Return ALT_PNT and AZ_PNT, deg; None if one of them is missing, or NaN, also as text.

    Raises
    ------
    DataError
        If one of them is not a number.
    """
    if any(str(header.get(name, "nan")).strip().lower() == "nan" for name in ("ALT_PNT", "AZ_PNT")):
        return None
    return header.number("ALT_PNT"), header.number("AZ_PNT")


def pointing_of(events: Header, *, stated: bool = True) -> dict[str, float]:
    """Return RA_PNT, DEC_PNT, ALT_PNT and AZ_PNT, deg; altitude and azimuth are computed if they are not stated.

    For runs with OBS_MODE = DRIFT, which need not state RA_PNT and DEC_PNT, these are computed for the middle of the run.

    Raises
    ------
    DataError
        If a keyword is missing or invalid.
    """
    if "DRIFT" in str(events.get("OBS_MODE", "")).upper() and events.get("RA_PNT") is None and (altaz := altaz_in(events)):
        middle = mjdref_tt(events) + sum(start_and_stop(events)) / 2 / 86400
        ra_pnt, dec_pnt = pointing_radec(*altaz, middle, site_of(events))
        return {"RA_PNT": ra_pnt, "DEC_PNT": dec_pnt, "ALT_PNT": altaz[0], "AZ_PNT": altaz[1]}
    pointing = {name: events.number(name) for name in ("RA_PNT", "DEC_PNT")}
    if stated and (altaz := altaz_in(events)):
        return pointing | dict(zip(("ALT_PNT", "AZ_PNT"), altaz, strict=True))
    middle = mjdref_tt(events) + sum(start_and_stop(events)) / 2 / 86400
    altitude, azimuth = pointing_altaz(pointing["RA_PNT"], pointing["DEC_PNT"], middle, site_of(events))
    if altitude < 0:
        raise events.error("below-horizon", BELOW_HORIZON.format(altitude))
    return pointing | {"ALT_PNT": altitude, "AZ_PNT": azimuth}
