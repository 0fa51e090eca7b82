"""Edge of the camera, beyond which there are no events."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from bgnb._util.arrays import Floats
from bgnb.cubes.cube import CubeAxes, distances

#: Number of events that a smooth rate must predict beyond the edge, and the maximum number observed there relative to it.
_EXPECTED_BEYOND, _OBSERVED_BEYOND = 10.0, 0.01
#: Fraction of the events that may lie beyond the edge, such as those with a badly reconstructed direction; one may always.
_STRAY = 1e-4
# Weight of pixels outside in the likelihood, so that stray events do not exclude an edge.
_OUTSIDE = 1e-6
# Points in each direction of a pixel, to compute the part of it that is inside.
_POINTS = 32
# Steps within one pixel in which the edge is sought.
_STEPS = 64


# A distance of directions, DETY and DETX, from the centre of the camera.
Distance = Callable[[Floats, Floats], Floats]


@dataclass(frozen=True, kw_only=True)
class CameraEdge:
    """Edge of the camera, about the centre of the field of view.

    Parameters
    ----------
    shape : {"circle", "rectangle"}
        Its shape.
    detx, dety : float or None
        Distance from the centre in DETX and DETY, deg; both are the radius of a circle. None for a rectangle that ends
        in the other direction only.
    """

    shape: Literal["circle", "rectangle"]
    detx: float | None
    dety: float | None

    def __str__(self) -> str:
        if self.shape == "circle":
            return f"a circle of radius {self.detx:.2f} deg"
        sides = (("DETX", self.detx), ("DETY", self.dety))
        return "a rectangle of " + " and ".join(f"±{size:.2f} deg in {name}" for name, size in sides if size is not None)


def inside_camera(counts: Floats, expected: Floats, axes: CubeAxes) -> tuple[Floats, CameraEdge | None]:
    """Find the edge of the camera, and the part of each pixel that is inside.

    Some event lists end at a sharp edge, a circle or a rectangle, beyond which a smooth rate
    still predicts events. There is an edge if the prediction beyond it is many events and
    (almost) none was observed; of the two shapes, that which excludes more of the prediction is
    taken. Its size is fitted to the counts (maximum likelihood).

    Parameters
    ----------
    counts, expected : ndarray, shape (dety, detx)
        Observed counts, and those that a smooth rate predicts.
    axes : `CubeAxes`
        The axes.

    Returns
    -------
    inside : ndarray, shape (dety, detx)
        1 inside and 0 outside; 1 everywhere if there is no edge.
    edge : `CameraEdge` or None
        The edge, if there is one.
    """
    circle, (radius,) = _inside(counts, expected, axes, [np.hypot])
    rectangle, (height, width) = _inside(counts, expected, axes, [_height, _width])
    inside, edge = circle, CameraEdge(shape="circle", detx=radius, dety=radius)
    if (expected * rectangle).sum() < (expected * circle).sum():
        ends = [bool((rectangle == 0).all(axis=axis).any()) for axis in (0, 1)]
        sizes = [size if is_end else None for size, is_end in zip((width, height), ends, strict=True)]
        inside, edge = rectangle, CameraEdge(shape="rectangle", detx=sizes[0], dety=sizes[1])
    beyond = (expected * (1 - inside)).sum() * (inside == 0).any()  # a deficit in the outermost pixels alone is not an edge
    sharp = beyond > _EXPECTED_BEYOND and counts[inside == 0].sum() <= _OBSERVED_BEYOND * beyond
    sharp &= counts[inside == 1].sum() > counts.sum() / 2  # otherwise there are too few pixels to tell
    return (inside, edge) if sharp else (np.ones(counts.shape), None)


def within_outermost(counts: Floats, axes: CubeAxes) -> Floats:
    """Select the pixels that lie entirely within the offset, |DETX| and |DETY| of the outermost events, 1, others 0."""
    limits = [_limits(distance, axes) for distance in (np.hypot, _height, _width)]
    return np.where(np.all([far <= _outermost(counts, near) for near, far in limits], axis=0), 1.0, 0.0)


def _height(dety: Floats, detx: Floats) -> Floats:
    """Return |DETY|, of the shape of both together."""
    return np.abs(dety) + 0 * detx


def _width(dety: Floats, detx: Floats) -> Floats:
    """Return |DETX|, of the shape of both together."""
    return np.abs(detx) + 0 * dety


def _limits(distance: Distance, axes: CubeAxes) -> tuple[Floats, Floats]:
    """Return the minimum and maximum distance of each pixel from the centre, shape (dety, detx)."""
    dety, detx = axes.dety.value, axes.detx.value
    nearest, farthest = (distance(y[:, None], x) for y, x in zip(distances(dety), distances(detx), strict=True))
    return nearest, farthest


def _outermost(counts: Floats, nearest: Floats) -> float:
    """Return the distance of the outermost pixel with counts, without stray events."""
    order = np.argsort(nearest, axis=None)
    inner = np.cumsum(counts.ravel()[order])
    first = int(np.searchsorted(inner, inner[-1] - max(_STRAY * inner[-1], 1.0)))
    return float(nearest.ravel()[order][first])


def _points(edges: Floats) -> Floats:
    """Return `_POINTS` points of each bin, shape (bin, point)."""
    return edges[:-1, None] + np.diff(edges)[:, None] * (np.arange(_POINTS) + 0.5) / _POINTS


def _inside(counts: Floats, expected: Floats, axes: CubeAxes, measures: Sequence[Distance]) -> tuple[Floats, list[float]]:
    """Compute the most likely limits of the distances from the centre, and the part of each pixel within them."""
    dety, detx = _points(axes.dety.value), _points(axes.detx.value)
    parts, all_limits = [], []
    for distance in measures:
        nearest, farthest = _limits(distance, axes)
        limits = _outermost(counts, nearest) + np.linspace(0, (farthest - nearest).max(), _STEPS + 1)[1:]
        part = np.repeat((farthest <= limits[0]).astype(float)[None], _STEPS, axis=0)
        at_limits = (farthest > limits[0]) & (nearest <= limits[-1])
        row, column = np.nonzero(at_limits)
        points = distance(dety[row][:, :, None], detx[column][:, None])
        part[:, at_limits] = [(points <= limit).mean(axis=(1, 2)) for limit in limits]
        parts.append(part)
        all_limits.append(limits.tolist())
    chosen, sizes = [of_distance[-1] for of_distance in parts], [limits[-1] for limits in all_limits]
    for number, of_distance in enumerate(parts):
        others = np.prod([*chosen[:number], *chosen[number + 1 :], np.ones(counts.shape)], axis=0)
        likelihoods = [_log_likelihood(counts, expected, others * part) for part in of_distance]
        best = int(np.argmax(likelihoods))
        chosen[number], sizes[number] = of_distance[best], all_limits[number][best]
    return np.asarray(np.prod(chosen, axis=0)), sizes


def _log_likelihood(counts: Floats, expected: Floats, inside: Floats) -> float:
    mean, seen = np.maximum(expected, 1e-300) * np.maximum(inside, _OUTSIDE), counts > 0
    return float((counts[seen] * np.log(mean[seen])).sum() - mean.sum())
