"""A rate in the frame of altitude and azimuth, as it is on average over a run in that of the sky."""

from __future__ import annotations

import numpy as np
from astropy import units as u
from numpy.typing import NDArray
from scipy.sparse import csr_array

from bgnb._util.arrays import Floats
from bgnb.cubes.cube import LEAST_RATE, RATE_UNIT, Cube, CubeAxes
from bgnb.observations.event_list import EventList

# The field of view turns by 15 arcmin in a minute, and by more than some degrees only a few degrees from the zenith.
_STEP_S = 60.0
# Bins of the turned rate are no wider than this, deg: its interpolation is one on top of that of the model.
_WIDEST_BIN = 0.15
# What a bin just outside the rim holds of the rate there. Towards zero, the logarithm would fall at once, and a strip of
# half a bin be lost; towards a tenth, the strip holds about what it should, whether the rim stands still or moves.
_BESIDE = 0.1


def turned_to_radec(rate: Cube, run: EventList) -> Cube:
    """The mean over the good time of a run of a rate that stands still in altitude and azimuth.

    Parameters
    ----------
    rate : `~bgnb.Cube`
        Rates at the bin centres (see `bgnb.cubes.prediction.point_rate`), in the frame ALTAZ.
    run : `~bgnb.EventList`
        The run.

    Returns
    -------
    `~bgnb.Cube`
        Rates at the bin centres in the frame RADEC. Its field of view is the least square
        that holds that of ``rate`` however it is turned. The rate is zero where the
        model's field of view never comes, as Gammapy has it, but for a bin at the rim.

    Notes
    -----
    At nodes a minute apart or less, the position of each bin is taken from RADEC to ALTAZ,
    and the logarithm of the rate interpolated there, linearly in DETX and DETY.
    """
    axes = _round_axes(rate.axes)
    view = run.field_of_view
    dety, detx = np.meshgrid(axes.dety_centers.value, axes.detx_centers.value, indexing="ij")
    ra, dec = view.sky_position("RADEC", detx.ravel(), dety.ravel(), np.zeros(1))
    values = rate.quantity.to_value(RATE_UNIT)
    log_rate = np.log(np.maximum(values, LEAST_RATE)).reshape(len(values), -1).T
    width = float(axes.detx.value[1] - axes.detx.value[0])
    mean = np.zeros((detx.size, len(values)))
    for seconds, weight in zip(*run.good_seconds(_STEP_S), strict=True):
        x, y = view.detxy_altaz(ra, dec, np.array([seconds]))
        inside, beside = (
            _within(x, rate.axes.detx.value, margin) & _within(y, rate.axes.dety.value, margin) for margin in (0.0, width)
        )
        part = np.where(inside, 1.0, _BESIDE)[beside] * weight
        mean[beside] += part[:, None] * np.exp(_bilinear(x[beside], y[beside], rate.axes) @ log_rate)
    return Cube(axes, u.Quantity(mean.T.reshape(axes.shape), RATE_UNIT))


def _round_axes(axes: CubeAxes) -> CubeAxes:
    """The same energies, and a square field of view around the pointing that holds every corner, however it is turned."""
    x, y = (np.radians(edges.value[[0, -1]]) for edges in (axes.detx, axes.dety))
    radius = min(float(np.degrees(np.arccos(np.min(np.cos(x)[:, None] * np.cos(y))))), 90.0)
    width = min(float(np.diff(edges.value).min()) for edges in (axes.detx, axes.dety))
    n = int(np.ceil(radius / (width / np.ceil(width / _WIDEST_BIN))))
    edges = np.linspace(-1, 1, 2 * n + 1) * radius * u.deg
    return CubeAxes(axes.energy, edges, edges)


def _within(values: Floats, edges: Floats, margin: float) -> NDArray[np.bool_]:
    return (values >= edges[0] - margin) & (values <= edges[-1] + margin)


def _bilinear(x: Floats, y: Floats, axes: CubeAxes) -> csr_array:
    """Matrix that interpolates between, and extrapolates from, bin centres; shape (n_positions, n_dety * n_detx)."""
    _, n_dety, n_detx = axes.shape
    left, right, right_part = _neighbours(x, axes.detx_centers.value)
    below, above, above_part = _neighbours(y, axes.dety_centers.value)
    columns = np.stack([below * n_detx + left, below * n_detx + right, above * n_detx + left, above * n_detx + right], axis=1)
    weights = np.stack(
        [
            (1 - above_part) * (1 - right_part),
            (1 - above_part) * right_part,
            above_part * (1 - right_part),
            above_part * right_part,
        ],
        axis=1,
    )
    return csr_array((weights.ravel(), columns.ravel(), np.arange(0, columns.size + 1, 4)), shape=(len(x), n_dety * n_detx))


def _neighbours(values: Floats, centres: Floats) -> tuple[NDArray[np.intp], NDArray[np.intp], Floats]:
    """The centres before and behind each value, and how far it is on the way between them."""
    if len(centres) == 1:
        only = np.zeros(len(values), dtype=np.intp)
        return only, only, np.zeros(len(values))
    before = np.clip(np.searchsorted(centres, values) - 1, 0, len(centres) - 2)
    return before, before + 1, (values - centres[before]) / (centres[before + 1] - centres[before])
