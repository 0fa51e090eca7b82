"""Locations of observatories, for simulations and for data that do not state them."""

from __future__ import annotations

import re

from bgnb.observations.coordinates import Site

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


def site_by_name(*names: str) -> Site | None:
    """Return the location of the first observatory or instrument that is known, regardless of spelling.

    >>> site_by_name("CTA", "LST-1") == site_by_name("cta north") == OBSERVATORIES["CTAO-NORTH"]
    True
    """
    known = {_plain(name): site for observatory, site in OBSERVATORIES.items() for name in (observatory, *_NAMES[observatory])}
    return next((known[_plain(name)] for name in names if _plain(name) in known), None)


def same_instrument(one: str, other: str) -> bool:
    """Compare two instrument names (TELESCOP) regardless of spelling; an empty name matches any.

    >>> same_instrument("HESS", "H.E.S.S."), same_instrument("CTAO-NORTH", "CTA-N"), same_instrument("CTA-N", "CTA-S")
    (True, True, False)
    """
    first, second = _plain(one), _plain(other)
    return first == second or not first or not second or ("CTA" in (first, second) and first[:3] == second[:3])


def _plain(name: str) -> str:
    """Return a name without signs and spaces, in the shortest of its spellings."""
    return re.sub("[^A-Z0-9]", "", name.upper()).replace("CTAO", "CTA").replace("NORTH", "N").replace("SOUTH", "S")
