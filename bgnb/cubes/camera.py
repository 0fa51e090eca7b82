"""Edge of the camera, beyond which there are no events."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bgnb._util.arrays import Floats
from bgnb.cubes.cube import CubeAxes

#: Number of events that a smooth rate must predict beyond the edge, and the maximum number observed there relative to it.
_EXPECTED_BEYOND, _OBSERVED_BEYOND = 10.0, 0.01
#: Fraction of the events that may lie beyond the edge, such as those with a badly reconstructed direction; one may always.
_STRAY = 1e-4
# Weight of pixels outside in the likelihood, so that stray events do not exclude an edge.
_OUTSIDE = 1e-6
# Points in each direction of a pixel, to compute the part of it that is inside.
_POINTS = 8
# Steps within one pixel in which the edge is sought.
_STEPS = 16


def inside_camera(counts: Floats, expected: Floats, axes: CubeAxes) -> Floats:
    """Compute the part of each pixel that is inside the camera.

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
    ndarray, shape (dety, detx)
        1 inside and 0 outside; 1 everywhere if there is no edge.
    """
    dety, detx = (_points(edges.value) for edges in (axes.dety, axes.detx))
    offset = np.hypot(dety[:, None], detx)
    vertical, horizontal = (np.broadcast_to(np.abs(values), offset.shape) for values in (dety[:, None], detx))
    circle, rectangle = (_inside(counts, expected, distances) for distances in ([offset], [vertical, horizontal]))
    inside = min((circle, rectangle), key=lambda part: (expected * part).sum())
    beyond = (expected * (1 - inside)).sum()
    sharp = beyond > _EXPECTED_BEYOND and counts[inside == 0].sum() <= _OBSERVED_BEYOND * beyond
    sharp &= counts[inside == 1].sum() > counts.sum() / 2  # otherwise there are too few pixels to tell
    return inside if sharp else np.ones(counts.shape)


def within_outermost(counts: Floats, axes: CubeAxes) -> Floats:
    """Select the pixels that lie entirely within the offset of the outermost event, 1, others 0."""
    farthest, nearest = (
        np.hypot(*np.meshgrid(of_edges(axes.dety.value), of_edges(axes.detx.value), indexing="ij"))
        for of_edges in (_farthest, _nearest)
    )
    return np.where(farthest <= _outermost(counts, nearest), 1.0, 0.0)


def _nearest(edges: Floats) -> Floats:
    """Return the minimum distance of each bin from zero."""
    across = (edges[:-1] < 0) & (edges[1:] > 0)
    return np.where(across, 0.0, np.minimum(np.abs(edges[:-1]), np.abs(edges[1:])))


def _farthest(edges: Floats) -> Floats:
    """Return the maximum distance of each bin from zero."""
    return np.maximum(np.abs(edges[:-1]), np.abs(edges[1:]))


def _outermost(counts: Floats, nearest: Floats) -> float:
    """Return the distance of the outermost pixel with counts, without stray events."""
    order = np.argsort(nearest, axis=None)
    inner = np.cumsum(counts.ravel()[order])
    first = int(np.searchsorted(inner, inner[-1] - max(_STRAY * inner[-1], 1.0)))
    return float(nearest.ravel()[order][first])


def _points(edges: Floats) -> Floats:
    """Return `_POINTS` points of each bin."""
    return (edges[:-1, None] + np.diff(edges)[:, None] * (np.arange(_POINTS) + 0.5) / _POINTS).ravel()


def _inside(counts: Floats, expected: Floats, distances: Sequence[Floats]) -> Floats:
    """Compute the part of each pixel within the most likely limits of the distances, which are those of its points."""
    parts = []
    for distance in distances:
        points = distance.reshape(counts.shape[0], _POINTS, counts.shape[1], _POINTS)
        nearest, farthest = points.min(axis=(1, 3)), points.max(axis=(1, 3))
        limits = _outermost(counts, nearest) + np.linspace(0, (farthest - nearest).max(), _STEPS + 1)[1:]
        parts.append([(points <= limit).mean(axis=(1, 3)) for limit in limits])
    chosen = [of_distance[-1] for of_distance in parts]
    for number, of_distance in enumerate(parts):
        others = np.prod([*chosen[:number], *chosen[number + 1 :], np.ones(counts.shape)], axis=0)
        likelihoods = [_log_likelihood(counts, expected, others * part) for part in of_distance]
        chosen[number] = of_distance[int(np.argmax(likelihoods))]
    return np.asarray(np.prod(chosen, axis=0))


def _log_likelihood(counts: Floats, expected: Floats, inside: Floats) -> float:
    mean, seen = np.maximum(expected, 1e-300) * np.maximum(inside, _OUTSIDE), counts > 0
    return float((counts[seen] * np.log(mean[seen])).sum() - mean.sum())
