"""Positions on the sky of positions in the equal-area map, from Astropy's projection."""

from __future__ import annotations

from typing import Any

import numpy as np
from astropy.wcs import WCS
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def aitoff(centre: float) -> WCS:
    """Make the projection AIT, with right ascension increasing to the left."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.cdelt = ("RA---AIT", "DEC--AIT"), (centre, 0), (-1, 1)
    wcs.wcs.crpix = (0, 0)
    return wcs


def to_radec(x: Any, y: Any, centre: float = 0.0) -> tuple[Floats, Floats]:
    """Find right ascension and declination, deg; NaN outside the map."""
    ra, dec = aitoff(centre).wcs_pix2world(x, y, 1)
    return ra, dec
