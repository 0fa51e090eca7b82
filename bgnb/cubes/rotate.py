"""Average of an ALTAZ-aligned rate over a run, in the RADEC frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u
from numpy.typing import NDArray

from bgnb._util.arrays import Bools, Floats
from bgnb.cubes.cube import FLOOR, LEAST_RATE, RATE_UNIT, Cube, CubeAxes
from bgnb.observations.event_list import EventList

if TYPE_CHECKING:
    from scipy.sparse import csr_array

# The field of view rotates by 15 arcmin per minute; by several degrees per minute only close to the zenith.
_STEP_S = 60.0
# Maximum bin width of the averaged rate, deg, and minimum number of bins from the centre to the farthest corner.
_BIN_WIDTH_MAX, _BINS_MIN = 0.15, 40
# Factor on the rate in bins just outside the edge of the field of view. With zero, interpolation of the logarithm would
# lose a strip half a bin wide; with 0.15, the strip has the right counts in the mean over all rotations.
_EDGE_FACTOR = 0.15
# Number of positions, at all times together, that are interpolated at a time, such that they fit into the cache of a processor.
_BLOCK = 1 << 15
_SECOND_DIFFERENCE = np.array([[[0, 1, 0], [1, -4, 1], [0, 1, 0]]])


def rotate_to_radec(rate: Cube, run: EventList) -> Cube:
    """Average an ALTAZ-aligned rate over the good time of a run, in the RADEC frame.

    Parameters
    ----------
    rate : `~bgnb.Cube`
        Rates at the bin centres (see `bgnb.cubes.prediction.point_rate`), in the frame ALTAZ.
    run : `~bgnb.EventList`
        The run.

    Returns
    -------
    `~bgnb.Cube`
        Rates at the bin centres in the frame RADEC. The field of view is the smallest square
        that contains that of ``rate`` under any rotation. As in Gammapy, the rate is zero in
        bins that the field of view of ``rate`` never covers, except for one bin at its edge.

    Notes
    -----
    At nodes at most one minute apart, the position of each bin is transformed from RADEC to
    ALTAZ, and the logarithm of the rate is interpolated there, linearly in DETX and DETY. The means are then
    changed such that they predict the same counts if they are interpolated again.
    """
    axes = _enclosing_axes(rate.axes)
    view = run.field_of_view
    dety, detx = np.meshgrid(axes.dety_centers.value, axes.detx_centers.value, indexing="ij")
    ra, dec = view.sky_position("RADEC", detx.ravel(), dety.ravel(), np.zeros(1))
    values = rate.quantity.to_value(RATE_UNIT)
    log_rate = np.log(np.maximum(values, LEAST_RATE)).reshape(len(values), -1).T.copy()
    width = float(axes.detx.value[1] - axes.detx.value[0])
    mean, inside = np.empty((detx.size, len(values))), np.empty(detx.size, dtype=bool)
    seconds, weights = run.good_seconds(_STEP_S)
    for start in range(0, detx.size, size := max(_BLOCK // len(seconds), 1)):
        part = slice(start, start + size)
        x, y = view.detxy("ALTAZ", ra[part, None], dec[part, None], seconds)
        mean[part], inside[part] = _weighted_mean(x, y, rate.axes, log_rate, weights, width)
    return Cube(axes, u.Quantity(_conserved(mean.T.reshape(axes.shape), inside.reshape(axes.shape[1:])), RATE_UNIT))


def _conserved(values: Floats, inside: Bools) -> Floats:
    """Change rates in bins of equal width such that the interpolation of their logarithm conserves counts.

    If the logarithm has the second difference d from bin to bin, the mean of its linear interpolation in a bin is larger
    than that of the rate by the fraction d / 12. Bins at the edge of the field of view, which are not always inside, are not
    changed.
    """
    from scipy.ndimage import convolve, minimum_filter

    smooth = minimum_filter((values > 10 * FLOOR * values.max(axis=(1, 2), keepdims=True)) & inside, (1, 3, 3))
    difference = convolve(np.log(np.maximum(values, LEAST_RATE)), _SECOND_DIFFERENCE, mode="nearest")
    return np.where(smooth, values * np.exp(-difference / 12), values)


def _weighted_mean(
    x: Floats, y: Floats, axes: CubeAxes, log_rate: Floats, weights: Floats, width: float
) -> tuple[Floats, Bools]:
    """Compute the mean rate of positions that move through the field of view, or up to a width outside.

    DETX and DETY have the shape (position, time), the rate has the shape (position, energy). The mask selects positions
    that are always inside.
    """
    from scipy.sparse import csr_array

    inside, nearby = (_within(x, axes.detx.value, margin) & _within(y, axes.dety.value, margin) for margin in (0.0, width))
    rates = _bilinear(x[nearby], y[nearby], axes) @ log_rate
    np.exp(rates, out=rates)
    weights = (np.where(inside, 1.0, _EDGE_FACTOR) * weights)[nearby]
    ends = np.cumsum(np.count_nonzero(nearby, axis=1))
    mean = csr_array((weights, np.arange(len(weights)), np.append(0, ends)), shape=(len(x), len(weights))) @ rates
    return mean, np.all(inside, axis=1)


def _enclosing_axes(axes: CubeAxes) -> CubeAxes:
    """Make axes of the same energies whose square field of view contains that of the given axes under any rotation."""
    x, y = (np.radians(edges.value[[0, -1]]) for edges in (axes.detx, axes.dety))
    radius = min(float(np.degrees(np.arccos(np.min(np.cos(x)[:, None] * np.cos(y))))), 90.0)
    width = min(float(np.diff(edges.value).min()) for edges in (axes.detx, axes.dety))
    n = int(np.ceil(radius / (width / np.ceil(width / min(_BIN_WIDTH_MAX, radius / _BINS_MIN)))))
    edges = np.linspace(-1, 1, 2 * n + 1) * radius * u.deg
    return CubeAxes(axes.energy, edges, edges)


def _within(values: Floats, edges: Floats, margin: float) -> NDArray[np.bool_]:
    """Select values within the outer edges, widened by a margin."""
    return (values >= edges[0] - margin) & (values <= edges[-1] + margin)


def _bilinear(x: Floats, y: Floats, axes: CubeAxes) -> csr_array:
    """Make the matrix of bilinear interpolation between bin centres; shape (n_positions, n_dety * n_detx)."""
    from scipy.sparse import csr_array

    _, n_dety, n_detx = axes.shape
    left, right, to_right = _neighbors(x, axes.detx_centers.value)
    below, above, to_above = _neighbors(y, axes.dety_centers.value)
    columns = np.stack([row * n_detx + column for row in (below, above) for column in (left, right)], axis=1)
    weights = np.stack([y * x for y in (1 - to_above, to_above) for x in (1 - to_right, to_right)], axis=1)
    return csr_array((weights.ravel(), columns.ravel(), np.arange(0, columns.size + 1, 4)), shape=(len(x), n_dety * n_detx))


def _neighbors(values: Floats, centers: Floats) -> tuple[NDArray[np.intp], NDArray[np.intp], Floats]:
    """Return the bin centres below and above each value, and the fraction of the distance between them."""
    if len(centers) == 1:
        only = np.zeros(len(values), dtype=np.intp)
        return only, only, np.zeros(len(values))
    below = np.clip(np.searchsorted(centers, values) - 1, 0, len(centers) - 2)
    return below, below + 1, (values - centers[below]) / (centers[below + 1] - centers[below])
