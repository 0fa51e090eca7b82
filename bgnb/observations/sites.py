"""Locations of observatories, for simulations and for data that do not state them.

NumPy and Astropy are not imported, because the command line lists the observatories.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from bgnb._util.errors import BgnbError


@dataclass(frozen=True)
class Site:
    """Location of an observatory: geodetic longitude (east) and latitude in deg, height in m.

    Raises
    ------
    BgnbError
        If the location is not on Earth.
    """

    lon: float
    lat: float
    height: float

    def __post_init__(self) -> None:
        if not (abs(self.lon) <= 360 and abs(self.lat) <= 90 and -1000 < self.height < 10_000):
            location = f"longitude {self.lon:g} deg, latitude {self.lat:g} deg, height {self.height:g} m"
            raise BgnbError("bad-position", f"{location} is not a location on Earth")

    @classmethod
    def from_geocentric(cls, x: float, y: float, z: float) -> Site:
        """Make a location from geocentric coordinates (ITRS, m)."""
        import erfa

        lon, lat, height = erfa.gc2gd(1, [x, y, z])  # 1: WGS84
        return cls(math.degrees(lon), math.degrees(lat), float(height))


#: Longitude (east, deg), latitude (deg), height (m), by GADF TELESCOP in upper case.
#: H.E.S.S.: header of the DL3 public test data release 1; the others: the collaborations'
#: published coordinates, as collected in ``gammapy.data.observatory_locations``.
OBSERVATORIES = {
    "HESS": Site(16.5002222, -23.2717778, 1835.0),
    "MAGIC": Site(-17.8900000, 28.7619444, 2200.0),
    "VERITAS": Site(-110.9521306, 31.6750583, 1268.0),
    "CTAO-NORTH": Site(-17.8920050, 28.7621640, 2147.0),
    "CTAO-SOUTH": Site(-70.3163444, -24.6834278, 2150.0),
}
# Other names in TELESCOP or INSTRUME of instruments at these places, as `_plain` makes them.
_NAMES = {
    "HESS": ("HESSI", "HESSII"),
    "MAGIC": ("MAGICI", "MAGICII", "MAGICSTEREO", "MAGICLST1", "M1M2", "LST1M1M2", "LST1M1", "LST1M2"),
    "VERITAS": ("VTS",),
    "CTAO-NORTH": ("LST1", "LSTN"),
    "CTAO-SOUTH": (),
}
# Observatory, place and name of arrays and telescopes that observe alone or together, by the end of their names.
_ARRAYS = {
    "LST1M1M2": ("CTA", "N", "LST1M1M2"),
    "MAGICLST1": ("CTA", "N", "LST1M1M2"),
    "LST1M1": ("CTA", "N", "LST1M1"),
    "LST1M2": ("CTA", "N", "LST1M2"),
    "LST1": ("CTA", "N", "LST1"),
    "M1M2": ("MAGIC", "", "M1M2"),
}


def site_by_name(*names: str) -> Site | None:
    """Return the location of the first observatory or instrument that is known, regardless of spelling.

    >>> site_by_name("CTA", "LST-1") == site_by_name("cta north") == OBSERVATORIES["CTAO-NORTH"]
    True
    """
    known = {_plain(name): site for observatory, site in OBSERVATORIES.items() for name in (observatory, *_NAMES[observatory])}
    return next((known[_plain(name)] for name in names if _plain(name) in known), None)


def instrument_name(telescop: str, instrume: str) -> str:
    """Return the name of an instrument: TELESCOP, and INSTRUME if it names a place or an array that TELESCOP does not.

    Names of data-taking periods or configurations, such as ``Epoch V6`` or ``H.E.S.S. Phase I``, are no part of it.

    >>> instrument_name("CTA", "South"), instrument_name("CTAO-NORTH", "North"), instrument_name("CTA-N", "LST-1")
    ('CTA South', 'CTAO-NORTH', 'CTA-N LST-1')
    >>> instrument_name("", "LST1_M1_M2"), instrument_name("VERITAS", "Epoch V6"), instrument_name("HESS", "H.E.S.S. Phase I")
    ('LST1_M1_M2', 'VERITAS', 'HESS')
    """
    of_instrume = _identity(instrume)
    added = instrume.strip() if of_instrume.array else {"N": "North", "S": "South"}.get(of_instrume.place, "")
    known = _identity(telescop)
    is_new = of_instrume.array != known.array or of_instrume.place not in (known.place, "")
    return f"{telescop} {added}".strip() if added and is_new else telescop


def same_instrument(one: str, other: str) -> bool:
    """Compare two names of instruments (`instrument_name`) regardless of spelling; an empty name matches any.

    A name without a place or an array matches those with one.

    >>> same_instrument("HESS", "H.E.S.S."), same_instrument("CTAO-NORTH", "CTA-N"), same_instrument("CTA-N", "CTA-S")
    (True, True, False)
    >>> same_instrument("LST-1", "CTA-N LST-1"), same_instrument("CTA-N", "LST-1"), same_instrument("LST1_M1_M2", "LST-1")
    (True, True, False)
    """
    first, second = _identity(one), _identity(other)
    is_cta = "CTA" in (first.name, second.name) and first.name[:3] == second.name[:3]
    parts = zip(first[is_cta:], second[is_cta:], strict=True)
    return all(ours == theirs or "" in (ours, theirs) for ours, theirs in parts)


class _Identity(NamedTuple):
    """Name of an instrument, as `_plain` makes it, its place (N, S or "") and its array or telescope ("" if not stated)."""

    name: str
    place: str
    array: str


@cache
def _identity(name: str) -> _Identity:
    plain = _plain(name)
    for array, identity in _ARRAYS.items():
        if plain.endswith(array):
            return _Identity(*identity)
    word = re.search("(?<![A-Z])(NORTH|SOUTH)(?![A-Z])", name.upper())
    if word:
        return _Identity(_plain(name.upper().replace(word[1], "")), word[1][0], "")
    if plain in ("CTAN", "CTAS", "N", "S"):
        return _Identity(plain[:-1], plain[-1], "")
    return _Identity(plain, "", "")


def _plain(name: str) -> str:
    """Return a name without signs and spaces, in the shortest of its spellings."""
    return re.sub("[^A-Z0-9]", "", name.upper()).replace("CTAO", "CTA").replace("NORTH", "N").replace("SOUTH", "S")
