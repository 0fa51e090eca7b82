"""Map of the whole sky in an equal-area projection (Hammer–Aitoff), with right ascension increasing to the left.

The map is an ellipse of ±162 by ±81 deg about the centre, where its scale is that of the sky.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord

from bgnb._util.arrays import Floats
from bgnb.plots.labels import with_minus
from bgnb.plots.view import Curve

#: Names of the coordinates of the map, in tables.
X_LABEL, Y_LABEL = "x of the Hammer–Aitoff map / deg", "y of the Hammer–Aitoff map / deg"
#: Half the width and half the height of the map, deg.
HALF_WIDTH, HALF_HEIGHT = math.degrees(2 * math.sqrt(2)), math.degrees(math.sqrt(2))
#: Ends of the axes, with a margin for the labels of the declination.
X_RANGE, Y_RANGE = (-1.1 * HALF_WIDTH, 1.03 * HALF_WIDTH), (-1.04 * HALF_HEIGHT, 1.04 * HALF_HEIGHT)
_GRID, _EDGE, _PLANE = "#888888", "#888888", "#9467bd"
# Steps of the graticule in right ascension and declination, and of points along its lines, deg.
_RA_STEP, _DEC_STEP, _STEP = 60, 30, 3
# Distance of the labels of the declination from the edge, deg.
_LABEL_SPACE = 13.0


def to_map(ra: Any, dec: Any, centre: float = 0.0) -> tuple[Floats, Floats]:
    """Project positions on the sky.

    Parameters
    ----------
    ra, dec : array_like
        Right ascension and declination, deg.
    centre : float
        Right ascension in the middle of the map, deg.

    Returns
    -------
    x, y : ndarray
        Positions in the map, deg.
    """
    return _project(
        np.radians((np.asarray(ra, dtype=float) - centre + 180) % 360 - 180), np.radians(np.asarray(dec, dtype=float))
    )


def _project(longitude: Floats, latitude: Floats) -> tuple[Floats, Floats]:
    """Project positions relative to the middle of the map, longitude within ±π."""
    scale = np.degrees(np.sqrt(2 / (1 + np.cos(latitude) * np.cos(longitude / 2))))
    return -2 * scale * np.cos(latitude) * np.sin(longitude / 2), scale * np.sin(latitude)


def project_path(ra: Any, dec: Any, centre: float = 0.0) -> tuple[Floats, Floats]:
    """Project a path on the sky, and cut it where it leaves the map on one side and enters on the other.

    Parameters
    ----------
    ra, dec : array_like, shape (n,)
        Points of the path, deg, joined by great circles; the path is interrupted at NaN.
    centre : float
        Right ascension in the middle of the map, deg.

    Returns
    -------
    x, y : ndarray
        The path in the map, deg: interrupted by NaN between its points on the left and on the right edge.
    """
    longitude, latitude = np.radians(np.asarray(ra, dtype=float) - centre), np.radians(np.asarray(dec, dtype=float))
    points = np.array([np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude), np.sin(latitude)])
    x, y = _project(np.arctan2(points[1], points[0]), latitude)
    start, end = points[:, :-1], points[:, 1:]
    (steps,) = np.nonzero(np.isfinite(start[1] * end[1]) & ((start[1] < 0) != (end[1] < 0)))
    start, end = start[:, steps], end[:, steps]
    crossing = start + (end - start) * (start[1] / (start[1] - end[1]))
    behind = crossing[0] < 0  # the others cross the middle of the map
    before = np.where(start[1, behind] < 0, -np.pi, np.pi)
    at = np.arctan2(crossing[2, behind], -crossing[0, behind])
    cuts = [
        np.insert(np.column_stack(ends), 1, np.nan, axis=1)
        for ends in zip(_project(before, at), _project(-before, at), strict=True)
    ]
    where = np.repeat(steps[behind] + 1, 3)
    return np.insert(x, where, cuts[0].ravel()), np.insert(y, where, cuts[1].ravel())


def circles(ra: Any, dec: Any, radius: Any, colour: str, centre: float = 0.0, name: str = "") -> Curve:
    """Draw circles on the sky.

    Parameters
    ----------
    ra, dec, radius : array_like, shape (n,)
        Centres and radii, deg.
    colour : str
        Colour.
    centre : float
        Right ascension in the middle of the map, deg.
    name : str
        Name in the legend.

    Returns
    -------
    Curve
        All circles, interrupted between them.
    """
    middle = SkyCoord(np.asarray(ra), np.asarray(dec), unit="deg")[:, None]
    outline = middle.directional_offset_by(np.linspace(0, 360, 49) * u.deg, np.asarray(radius)[:, None] * u.deg)
    path = [np.pad(angle.deg, ((0, 0), (0, 1)), constant_values=np.nan).ravel() for angle in (outline.ra, outline.dec)]
    x, y = project_path(path[0], path[1], centre)
    return Curve(x=x, y=y, colour=colour, name=name)


@lru_cache(4)
def background(centre: float = 0.0) -> tuple[Curve, ...]:
    """Draw the graticule, the edge of the map, and the galactic plane."""
    dec, ra = np.arange(-90.0, 90.1, _STEP), np.linspace(centre - 180 + 1e-9, centre + 180, 121)
    lines = [to_map(np.full(len(dec), meridian), dec, centre) for meridian in range(0, 360, _RA_STEP)]
    lines += [to_map(ra, np.full(len(ra), parallel), centre) for parallel in range(-90 + _DEC_STEP, 90, _DEC_STEP)]
    turn = np.linspace(0, 2 * np.pi, 181)
    plane = SkyCoord(l=np.arange(0, 361, _STEP) * u.deg, b=0 * u.deg, frame="galactic").icrs
    x, y = project_path(plane.ra.deg, plane.dec.deg, centre)
    return (
        *(Curve(x=x, y=y, colour=_GRID, width=0.5) for x, y in lines),
        Curve(x=HALF_WIDTH * np.cos(turn), y=HALF_HEIGHT * np.sin(turn), colour=_EDGE),
        Curve(x=x, y=y, colour=_PLANE, name="galactic plane", width=1.5),
    )


def labels(centre: float = 0.0) -> tuple[tuple[float, float, str], ...]:
    """Label the graticule: right ascension in hours along the equator, declination on the left; texts are centred."""
    texts = []
    for ra in range(0, 360, _RA_STEP):
        x, y = to_map(ra, 0.0, centre)
        if abs(x) < 0.95 * HALF_WIDTH:
            texts.append((float(x), float(y), f"{ra // 15}h"))
    for dec in (each for each in range(-90 + _DEC_STEP, 90, _DEC_STEP) if each):
        x, y = to_map(centre + 179.999999, float(dec), centre)
        texts.append((float(x) - _LABEL_SPACE, 1.04 * float(y), with_minus(f"{dec:+d}°")))
    return tuple(texts)


def central_meridian(ra: Any) -> float:
    """Choose the right ascension in the middle of a map of positions: a multiple of 30 deg near their mean direction."""
    direction = np.exp(1j * np.radians(np.asarray(ra, dtype=float)))
    mean = direction[np.isfinite(direction)].sum()
    return float(30 * round(math.degrees(math.atan2(mean.imag, mean.real)) / 30) % 360) if abs(mean) > 1e-6 else 0.0
