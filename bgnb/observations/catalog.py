"""Catalogues of known sources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table

from bgnb._util.arrays import Floats
from bgnb._util.errors import BgnbError, DataError
from bgnb.observations.coordinates import separation
from bgnb.observations.table_file import check_frame, columns_by_name, numbers_in, read_table_file

#: Origin of the catalogue included in bgnb.
DEFAULT_CATALOG = "gamma-cat (July 2018)"
# Ranges of longitude and latitude, deg.
_LIMITS = ((-360, 360), (-90, 90))
# Maximum distance of a source from a known one, deg: at the same position, and if it may be the same source.
_SAME_POSITION, _SAME_SOURCE = 0.1, 0.5
# Minimum number and share of sources at known positions that tell the unit of a catalogue.
_MIN_KNOWN, _MIN_SHARE = 3, 0.3
# Right ascensions up to 24 are hours for many sources over a wide range of declination (deg). Many positions that are
# possible in radians are in radians.
_HOURS, _MANY, _WIDE = 24, 10, 60


def read_catalog(catalog: str | Path | Table | None = None) -> Table:
    """Read a catalogue of known sources.

    Parameters
    ----------
    catalog : path or `~astropy.table.Table`, optional
        A table, or a file of one (FITS, VOTable, ECSV or CSV), with columns RA and DEC (ICRS), or GLON and
        GLAT (galactic), in deg if no unit is stated, and optionally EXTENSION (radius, deg; empty for a
        point source) and NAME, or Size and Source_Name as in the H.E.S.S. Galactic plane survey. Of several
        tables in a FITS file, the first is read if it states extensions. By default the catalogue included in
        bgnb: the known TeV sources of gamma-cat (2018-07).

    Returns
    -------
    `~astropy.table.Table`
        With columns NAME, RA, DEC and EXTENSION, in deg.

    Raises
    ------
    BgnbError
        If it cannot be read, lacks positions, or contains invalid ones; or if RA and DEC have no unit, and
        look as if they were in hours, radians or galactic coordinates.

    Examples
    --------
    >>> import bgnb
    >>> from astropy.table import Table
    >>> catalog = bgnb.read_catalog(Table({"NAME": ["Crab Nebula"], "RA": [83.63], "DEC": [22.01]}))
    >>> print(catalog)
        NAME      RA   DEC  EXTENSION
                 deg   deg     deg
    ----------- ----- ----- ---------
    Crab Nebula 83.63 22.01       0.0
    >>> len(bgnb.read_catalog()) > 100
    True
    """
    if catalog is None:
        with as_file(files("bgnb.observations") / "tev_sources.ecsv") as default:
            return read_catalog(default)
    if isinstance(catalog, Table):
        return _checked_catalog(catalog, "catalog")
    try:
        table = read_table_file(catalog, first_with=("EXTENSION", "SIZE"))
    except DataError:
        raise
    except FileNotFoundError:
        raise BgnbError("not-found", f"{catalog}: there is no such catalogue") from None
    except Exception as error:  # astropy's readers raise many kinds
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise BgnbError("bad-catalog", f"{catalog}: cannot be read as a table: {reason[0]}") from None
    return _checked_catalog(table, str(catalog))


def _checked_catalog(table: Table, where: str) -> Table:
    if not len(table):
        raise BgnbError("bad-catalog", f"{where}: the catalogue has no sources")
    try:
        columns = columns_by_name(table, ("NAME", "SOURCE_NAME", "RA", "DEC", "GLON", "GLAT", "EXTENSION", "SIZE"))
        is_galactic = not {"RA", "DEC"} & columns.keys() and {"GLON", "GLAT"} <= columns.keys()
        if not is_galactic:
            check_frame(table)
    except ValueError as error:
        raise BgnbError("bad-catalog", f"{where}: {error}") from None
    catalog = Table({"NAME": _names(columns.get("NAME", columns.get("SOURCE_NAME")), len(table))})
    for name, stated, limits in zip(("RA", "DEC"), ("GLON", "GLAT") if is_galactic else ("RA", "DEC"), _LIMITS, strict=True):
        if stated not in columns:
            message = f"the catalogue has no column {stated}; it has {', '.join(table.colnames)}"
            raise BgnbError("bad-catalog", f"{where}: {message}")
        catalog[name] = _degrees(columns[stated], stated, catalog["NAME"], limits, where)
    if is_galactic:
        catalog["RA"], catalog["DEC"] = _from_galactic(catalog["RA"], catalog["DEC"])
    elif suspicion := not_in_degrees(columns, np.asarray(catalog["RA"]), np.asarray(catalog["DEC"])):
        raise BgnbError("bad-catalog", f"{where}: {suspicion}")
    extension = "EXTENSION" if "EXTENSION" in columns or not _is_angle(columns.get("SIZE")) else "SIZE"
    extensions = columns.get(extension, np.zeros(len(table)))
    catalog["EXTENSION"] = _degrees(extensions, extension, catalog["NAME"], (0, 180), where, empty=0.0)  # a point source
    for name in ("RA", "DEC", "EXTENSION"):
        catalog[name].unit = "deg"
    return catalog


def _is_angle(column: Any) -> bool:
    """Return true for a column whose unit is an angle or not stated."""
    unit = getattr(column, "unit", None)
    return column is not None and (unit is None or unit.is_equivalent("deg"))


def _names(column: Any, n_sources: int) -> list[str]:
    """Return the names of sources, and the number of their row for those without."""
    if column is not None and column.dtype.kind == "S":  # not always UTF-8
        column = np.char.decode(np.ma.filled(column, b"").astype("S"), "utf-8", "replace")
    names = [""] * n_sources if column is None else column.tolist()
    return [str(name).strip() or f"source {row}" if name is not None else f"source {row}" for row, name in enumerate(names, 1)]


def _degrees(
    values: Any, name: str, sources: Sequence[str], limits: tuple[float, float], where: str, empty: float = np.nan
) -> Floats:
    """Return angles of sources in deg."""
    try:
        degrees = numbers_in(values, "deg", empty)
    except (TypeError, ValueError) as error:
        raise BgnbError("bad-catalog", f"{where}: column {name} of the catalogue is not an angle: {error}") from None
    minimum, maximum = limits
    if len(wrong := np.flatnonzero(~((degrees >= minimum) & (degrees <= maximum)))):
        source = f"{name} of {sources[wrong[0]]} is {degrees[wrong[0]]:g} deg"
        raise BgnbError("bad-catalog", f"{where}: {source}, but must lie within {minimum} and {maximum} deg")
    return degrees


def _from_galactic(lon: Floats, lat: Floats) -> tuple[Floats, Floats]:
    """Convert galactic coordinates to ICRS, deg."""
    from astropy.coordinates import SkyCoord

    sky = SkyCoord(lon, lat, unit="deg", frame="galactic").icrs
    return sky.ra.deg, sky.dec.deg


def not_in_degrees(columns: Mapping[str, Any], ra: Floats, dec: Floats) -> str:
    """Describe why positions without a unit are hardly in deg, by known sources at them or by their ranges; "" if they may be.

    Parameters
    ----------
    columns : mapping of str to `~astropy.table.Column`
        The columns RA and DEC, and perhaps others.
    ra, dec : ndarray, shape (n,)
        Their numbers, taken as deg.
    """
    if any(getattr(columns[name], "unit", None) for name in ("RA", "DEC")):
        return ""
    known = read_catalog()
    as_degrees = _coincidences(ra, dec, known, _SAME_SOURCE)
    readings = {"galactic coordinates in deg": _from_galactic(ra, dec)}
    if np.all(np.abs(ra) <= _HOURS):
        readings["RA in hours"] = (ra * 15, dec)
    if np.all(np.abs(ra) <= 2 * np.pi) and np.all(np.abs(dec) <= np.pi / 2):
        readings["radians"] = (np.degrees(ra), np.degrees(dec))
    for reading, position in readings.items():
        number = _coincidences(*position, known, _SAME_POSITION)
        is_likely = number >= _MIN_KNOWN and number > _MIN_SHARE * min(len(ra), len(known)) and as_degrees < number / 3
        if len(ra) >= _MANY and as_degrees < _MIN_KNOWN:  # sources without known ones
            is_likely |= reading == "radians" or (reading == "RA in hours" and float(np.ptp(dec)) > _WIDE)
        if is_likely:
            found = f"{number} of {len(ra)} sources are then at known positions, {as_degrees} if they are ICRS in deg"
            advice = "give columns GLON and GLAT" if reading.startswith("galactic") else "state the unit, or convert them"
            text = f"RA and DEC have no unit, and look like {reading} ({found})"
            return f"{text}; {advice}; if they are ICRS in deg, state the unit deg"
    return ""


def _coincidences(ra: Floats, dec: Floats, known: Table, distance: float) -> int:
    """Count positions within a distance (deg) of known sources, each of which counts once."""
    order = np.argsort(dec)
    ra, dec = ra[order], dec[order]
    near = np.zeros(len(ra), dtype=bool)
    found = 0
    for known_ra, known_dec in zip(known["RA"].tolist(), known["DEC"].tolist(), strict=True):
        band = slice(*np.searchsorted(dec, [known_dec - distance, known_dec + distance]))  # only these can be near
        here = separation(ra[band], dec[band], known_ra, known_dec) < distance
        near[band] |= here
        found += bool(here.any())
    return min(found, int(near.sum()))
