"""What GADF's columns and keywords mean: quantities in a unit, mission times, the site."""

from __future__ import annotations

import numpy as np
from astropy import units as u
from numpy.typing import NDArray

from bgnb._util.errors import DataError
from bgnb.observations.coordinates import Site
from bgnb.observations.fits_table import FitsTable
from bgnb.observations.sites import OBSERVATORIES


def column_in(table: FitsTable, name: str, unit: str, default_unit: str | None = None) -> NDArray[np.float64]:
    """A column of numbers in a unit; ``default_unit`` holds where the file states none.

    Raises
    ------
    DataError
        Where the column is missing, is no such quantity or has no unit.
    """
    values = table.column(name)
    stated = table.units[name] or (unit if default_unit is None else default_unit)
    if not stated:
        raise DataError(f"{table.where}: column {name} has no unit, and there is no keyword EUNIT")
    if values.ndim != 1 or values.dtype.kind not in "fiu":
        raise DataError(f"{table.where}: column {name} must hold one number a row")
    factor = factor_to(stated, unit, f"{table.where}: column {name}")
    return np.multiply(values, factor, dtype=float)


def factor_to(stated: str, unit: str, where: str) -> float:
    """Factor from a unit that a file states to ours, or a `DataError`."""
    if stated == unit:
        return 1.0
    try:
        return float(u.Unit(stated).to(unit))
    except (ValueError, TypeError):
        quantity = next(iter(u.Unit(unit).physical_type))
        raise DataError(f"{where} has the unit '{stated}', which is no unit of {quantity}") from None


def mjdref_tt(table: FitsTable) -> float:
    """Zero of a table's mission times, MJD in TT."""
    if table.get("MJDREFI") is None and table.get("MJDREF") is not None:
        mjdref = table.number("MJDREF")
    else:
        mjdref = table.number("MJDREFI") + table.number("MJDREFF", 0)
    if not 30000 < mjdref < 100000:
        raise DataError(f"{table.where}: MJDREF = {mjdref:g} is no modified Julian date of our time")
    timesys = str(table.get("TIMESYS", "TT")).lower()
    timesys = {"tdt": "tt", "et": "tt", "iat": "tai", "gmt": "utc"}.get(timesys, timesys)
    if timesys == "tt":
        return mjdref
    from astropy.time import Time

    if timesys not in Time.SCALES or timesys == "local":
        raise DataError(f"{table.where}: TIMESYS '{timesys}' is not a time scale; TT, UTC or TAI are")
    return float(Time(mjdref, format="mjd", scale=timesys).tt.mjd)


def time_unit(table: FitsTable) -> str:
    """Unit of mission times where a column states none."""
    return str(table.get("TIMEUNIT", "s"))


def site_of(table: FitsTable) -> Site:
    """Place of the observatory, from GADF keywords, else by the name in TELESCOP."""
    for lon, lat, height in (("GEOLON", "GEOLAT", "ALTITUDE"), ("OBSGEO-L", "OBSGEO-B", "OBSGEO-H")):
        if table.get(lon) is not None:
            site = Site(table.number(lon), table.number(lat), table.number(height, 0))
            if site.lon == site.lat == 0:
                continue  # not filled in: that is open sea
            if not (abs(site.lon) <= 360 and abs(site.lat) <= 90 and -1000 < site.height < 10_000):
                place = f"{lon} = {site.lon:g}, {lat} = {site.lat:g} deg, {height} = {site.height:g} m"
                raise DataError(f"{table.where}: {place} is no place on Earth")
            return site
    name = str(table.get("OBSERVATORY_NAME", table.get("TELESCOP", ""))).upper()
    if name in OBSERVATORIES:
        return OBSERVATORIES[name]
    raise DataError(f"{table.where}: keywords GEOLON, GEOLAT and ALTITUDE are missing or 0, and TELESCOP is unknown")
