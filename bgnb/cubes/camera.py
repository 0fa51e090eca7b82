"""Edge of the camera, beyond which there are no events."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bgnb._util.arrays import Floats
from bgnb.cubes.cube import CubeAxes

#: Number of events that a smooth rate must predict beyond the outermost event for an edge there.
_EXPECTED_BEYOND = 10.0
# Points in each direction of a pixel, to compute the part of it that is inside.
_POINTS = 8
# Steps within one pixel in which the edge is sought.
_STEPS = 16


def inside_camera(counts: Floats, expected: Floats, axes: CubeAxes) -> Floats:
    """Compute the part of each pixel that is inside the camera.

    Some event lists end at a sharp edge, a circle or a rectangle, beyond which a smooth rate
    still predicts events. There is an edge if the probability of no event beyond it is
    negligible; of the two shapes, that which excludes more of the prediction is taken. Its
    size is fitted to the counts (maximum likelihood).

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
    return inside if (expected * (1 - inside)).sum() > _EXPECTED_BEYOND else np.ones(counts.shape)


def _points(edges: Floats) -> Floats:
    """Return `_POINTS` points of each bin."""
    return (edges[:-1, None] + np.diff(edges)[:, None] * (np.arange(_POINTS) + 0.5) / _POINTS).ravel()


def _inside(counts: Floats, expected: Floats, distances: Sequence[Floats]) -> Floats:
    """Compute the part of each pixel within the most likely limits of the distances, which are those of its points."""
    parts = []
    for distance in distances:
        points = distance.reshape(counts.shape[0], _POINTS, counts.shape[1], _POINTS)
        nearest, farthest = points.min(axis=(1, 3)), points.max(axis=(1, 3))
        limits = nearest[counts > 0].max() + np.linspace(0, (farthest - nearest).max(), _STEPS + 1)[1:]
        parts.append([(points <= limit).mean(axis=(1, 3)) for limit in limits])
    chosen = [of_distance[-1] for of_distance in parts]
    for number, of_distance in enumerate(parts):
        others = expected * np.prod([*chosen[:number], *chosen[number + 1 :], np.ones(counts.shape)], axis=0)
        chosen[number] = max(of_distance, key=lambda part, others=others: _log_likelihood(counts, others * part))  # type: ignore[misc]
    return np.asarray(np.prod(chosen, axis=0))


def _log_likelihood(counts: Floats, expected: Floats) -> float:
    seen = counts > 0
    return float((counts[seen] * np.log(np.maximum(expected[seen], 1e-300))).sum() - expected.sum())
