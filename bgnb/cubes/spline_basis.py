"""Basis functions of the spline: matrices with a row per pointing, energy or pixel and a column per coefficient."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from bgnb._util.arrays import Floats
from bgnb.cubes.cube import CubeAxes

#: Matrices by name: "1" for the constant, a quantity for the line, a quantity with "~" for the penalised part.
Parts = Mapping[str, Floats]

#: Part of a pixel that must be inside the camera for the spline to be fitted to its counts.
HALF = 0.5
_SEGMENTS = {"energy": 8, "r2": 8, "zenith": 3, "xy": 4}
# Minimum range of the spline in the cosine of the zenith angle.
_ZENITH_RANGE = 0.05
# Fraction of the counts within the equal segments of the square of the offset.
_NEAR = 0.9


def zenith_range_of(alt_pnt: Floats) -> tuple[float, float]:
    """Compute the range of the cosine of the zenith angle of cells, widened, but not beyond the zenith, if it is too narrow."""
    cos_zenith = np.sin(np.radians(alt_pnt))
    missing = max(_ZENITH_RANGE - np.ptp(cos_zenith), 0) / 2
    high = min(float(cos_zenith.max() + missing), 1.0)
    return min(float(cos_zenith.min() - missing), high - _ZENITH_RANGE), high


def pointing_parts(alt_pnt: Floats, az_pnt: Floats, zenith_range: tuple[float, float]) -> dict[str, Floats]:
    """Evaluate the bases in the cosine of the zenith angle, in the northern component of the direction and in azimuth.

    "az_plus" and "az_cross" are for the quadrupoles "plus" and "cross" of the field of view. Seen
    from the pointing, a baseline with azimuth B on the ground has the components sin(A − B) along
    DETX and −sin h cos(A − B) along DETY at altitude h and azimuth A. The difference of their
    squares, and twice their product, change with azimuth as (1 + sin² h)/2 · cos 2(A − B) and
    sin h · sin 2(A − B).
    """
    cos_zenith = np.clip(np.sin(np.radians(alt_pnt)), *zenith_range)
    parts = _spline_parts("zenith", cos_zenith, *zenith_range)
    north = np.sqrt(np.maximum(1 - cos_zenith**2, 0)) * np.cos(np.radians(az_pnt))
    turn = np.radians(2 * az_pnt)[:, None] + np.array([0, -np.pi / 2])  # cosine and sine
    plus, cross = ((1 + cos_zenith**2)[:, None] / 2 * np.cos(turn), cos_zenith[:, None] * np.cos(turn))
    azimuth = np.radians(az_pnt)
    direction = np.stack([np.cos(azimuth), np.sin(azimuth)], axis=1)
    return parts | {"north": north[:, None], "azimuth": direction, "az_plus": plus, "az_cross": cross}


def energy_parts(axes: CubeAxes) -> dict[str, Floats]:
    """Evaluate the bases in the logarithm of the energy, and that of a value for each bin."""
    edges = np.log(axes.energy.value)
    return _spline_parts("energy", (edges[:-1] + edges[1:]) / 2, edges[0], edges[-1]) | {"bins": np.eye(len(edges) - 1)}


def breaks_of_r2(axes: CubeAxes, counts: NDArray[np.int64], camera: Floats) -> Floats:
    """Compute the limits of the segments of the spline in the square of the offset, deg².

    They reach the farthest pixel that is fitted. The segments are equal where most of the counts are, and have equal ratios
    outside, so that they resolve the counts, however far the axes reach.
    """
    y, x = axes.dety_centers.value[:, None], axes.detx_centers.value
    fitted = camera >= HALF
    r2, events = (x**2 + y**2)[fitted], counts.sum(axis=0)[fitted]
    farthest, order = r2.max() or 1.0, np.argsort(r2)  # zero for a single pixel at the centre
    inner = np.cumsum(events[order])
    near = max(r2[order][np.searchsorted(inner, _NEAR * inner[-1])], farthest / 100)
    limits = np.linspace(0, 1 + np.log(farthest / near), _SEGMENTS["r2"] + 1)
    return np.asarray(near * np.minimum(limits, 1) * np.exp(np.maximum(limits - 1, 0)))


def view_parts(axes: CubeAxes, breaks: Floats | None = None) -> dict[str, Floats]:
    """Evaluate the bases in the square of the offset, in DETX and DETY, and the two quadrupoles, of all pixels.

    Segments of the square of the offset have the limits ``breaks``, beyond which its functions are constant, or divide all
    pixels equally.
    """
    detx, dety = axes.detx_centers.value, axes.dety_centers.value
    pixels = np.meshgrid(dety, detx, indexing="ij")
    y, x = (values.ravel() for values in pixels)
    farthest = float((x**2 + y**2).max() if breaks is None else breaks[-1]) or 1.0
    r2 = np.minimum(x**2 + y**2, farthest)
    parts = _spline_parts("r2", r2, 0.0, farthest, None if breaks is None else breaks / farthest)
    ranges = [(axes.detx, x), (axes.dety, y)]
    lines = []
    for edges, values in ranges:
        along = _spline_parts("xy", values, edges[0].value, edges[-1].value)
        lines.append(np.concatenate(list(along.values()), axis=1))
    quadrupoles = np.stack([x**2 - y**2, 2 * x * y], axis=1) / farthest
    parts["plus"], parts["cross"] = quadrupoles[:, :1], quadrupoles[:, 1:]
    parts["xy"] = np.stack([lines[0][:, 1], lines[1][:, 1]], axis=1)
    parts["xy~"] = (lines[0][:, :, None] * lines[1][:, None, :]).reshape(len(x), -1)[:, 1:]
    return parts


def _spline_parts(name: str, values: Floats, low: float, high: float, breaks: Floats | None = None) -> dict[str, Floats]:
    """Evaluate a constant, a line from −1 to 1, and the penalised part of a cubic spline.

    Its segments are equal, or end at ``breaks``, from 0 to 1. The penalty is on the differences of slopes between neighbours.
    """
    breaks = np.linspace(0, 1, _SEGMENTS[name] + 1) if breaks is None else breaks
    steps = np.arange(1, 4)
    knots = np.concatenate(
        [breaks[0] - steps[::-1] * (breaks[1] - breaks[0]), breaks, breaks[-1] + steps * (breaks[-1] - breaks[-2])]
    )
    position = (values - low) / (high - low)
    basis = _cubic_splines(np.clip(position, 0, 1 - 1e-12), knots)
    centers = (knots[1:-3] + knots[2:-2] + knots[3:-1]) / 3  # coefficients on a line at these are a line
    slopes = np.diff(np.eye(len(centers)), axis=0) / np.diff(centers)[:, None]
    differences = np.diff(slopes, axis=0) * ((centers[2:] - centers[:-2]) / 2)[:, None]
    wiggly = basis @ differences.T @ np.linalg.inv(differences @ differences.T)
    return {"1": np.ones((len(values), 1)), name: 2 * position[:, None] - 1, f"{name}~": wiggly}


def _cubic_splines(position: Floats, knots: Floats) -> Floats:
    """Evaluate the cubic B-splines from 0 to 1 for these knots, by the recursion of de Boor.

    The same as ``BSpline.design_matrix`` of SciPy, whose import takes longer than most fits.
    """
    first = np.searchsorted(knots, position, side="right") - 1
    splines = [np.ones(len(position))]  # those that are not zero
    for degree in (1, 2, 3):
        higher = [np.zeros(len(position)) for _ in range(degree + 1)]
        for number, lower in enumerate(splines, start=1):
            end, start = knots[first + number], knots[first + number - degree]
            share = lower / (end - start)
            higher[number - 1] += share * (end - position)
            higher[number] += share * (position - start)
        splines = higher
    basis = np.zeros((len(position), len(knots) - 4))
    np.put_along_axis(basis, first[:, None] + np.arange(-3, 1), np.stack(splines, axis=1), axis=1)
    return basis


def centred(parts: Parts, means: Parts) -> dict[str, Floats]:
    """Subtract the means."""
    return {name: part - means[name] if name in means else part for name, part in parts.items()}
