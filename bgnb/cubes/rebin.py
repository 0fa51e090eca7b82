"""Models on a common grid."""

from __future__ import annotations

import numpy as np

from bgnb._util.arrays import Floats
from bgnb._util.errors import BgnbError
from bgnb.cubes.cube import RATE_UNIT, Cube, CubeAxes
from bgnb.cubes.model import BackgroundModel
from bgnb.cubes.stack import Stack


def common_axes(first: CubeAxes, second: CubeAxes) -> CubeAxes:
    """The coarser of two grids over the range that both cover.

    Raises
    ------
    BgnbError
        Where the ranges do not overlap, or an edge of the coarser grid is none of the finer.
    """
    edges = {}
    for name in ("energy", "dety", "detx"):
        one, other = getattr(first, name), getattr(second, name).to(getattr(first, name).unit)
        tolerance = 1e-6 * np.abs(one.value).max()
        low = max(one.value[0], other.value[0]) - tolerance
        high = min(one.value[-1], other.value[-1]) + tolerance
        inside = [edge.value[(edge.value >= low) & (edge.value <= high)] for edge in (one, other)]
        coarse, fine = sorted(inside, key=len)
        if len(coarse) < 2:
            raise BgnbError(
                f"the {name} axes of the models do not overlap: {one[0]} to {one[-1]}, and {other[0]} to {other[-1]}"
            )
        if not all(np.isclose(fine, edge, rtol=1e-6, atol=1e-9 * high).any() for edge in coarse):
            raise BgnbError(
                f"the {name} axes of the models have no common grid: {len(one) - 1} and {len(other) - 1} bins;"
                " make both with the same number of bins"
            )
        edges[name] = coarse * one.unit
    return CubeAxes(**edges)


def rebin(model: BackgroundModel, axes: CubeAxes) -> BackgroundModel:
    """A model on coarser axes whose edges are among its own: rates averaged over volume, counts added.

    The livetime of a coarser bin is the one that keeps rate · exposure. A coarser bin of
    which a part was not exposed counts as not exposed. The error is averaged over volume
    like the rate: that of bins which are correlated completely, an upper limit.
    """
    if axes == model.axes:
        return model
    volume, livetime = model.axes.bin_volume.value, model.stack.livetime_us.astype(float)
    events = model.rate.quantity.value * volume
    known = _rebinned(volume * (livetime == 0), model.axes, axes) == 0
    weight = np.where(events > 0, events, 1e-30 * volume)  # where no rate is known, livetime is averaged over volume
    mean_livetime = _rebinned(livetime * weight, model.axes, axes) / _rebinned(weight, model.axes, axes)
    livetime_us = np.where(known, np.rint(mean_livetime), 0).astype(np.int64)
    counts = np.where(known, _rebinned(model.stack.counts.astype(float), model.axes, axes), 0).astype(np.int64)
    stack = Stack(axes, model.stack.fovalign, counts, livetime_us, model.stack.runs)
    error = None if model.error is None else _averaged(model.error, axes)
    return BackgroundModel(_averaged(model.rate, axes), stack, model.method, error)


def _averaged(cube: Cube, axes: CubeAxes) -> Cube:
    """A rate on coarser axes: the mean over volume."""
    sums = _rebinned(cube.quantity.to_value(RATE_UNIT) * cube.axes.bin_volume.value, cube.axes, axes)
    return Cube(axes, sums / axes.bin_volume.value * RATE_UNIT)


def _rebinned(values: Floats, fine: CubeAxes, coarse: CubeAxes) -> Floats:
    for axis, name in enumerate(("energy", "dety", "detx")):
        old, new = getattr(fine, name).value, getattr(coarse, name).value
        starts = [int(np.argmin(np.abs(old - edge))) for edge in new]
        values = np.add.reduceat(values.take(range(starts[-1]), axis=axis), starts[:-1], axis=axis)
    return values
