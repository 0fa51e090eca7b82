"""Models on other axes."""

from __future__ import annotations

import numpy as np

from bgnb._util.arrays import Floats
from bgnb._util.errors import BgnbError
from bgnb.cubes.cube import RATE_UNIT, Cube, CubeAxes
from bgnb.cubes.model import BackgroundModel
from bgnb.cubes.stack import Stack

# Steepest slope that is followed within a bin, as the logarithm of the ratio of the rates at its edges.
_STEEPEST = 30.0


def common_axes(first: CubeAxes, second: CubeAxes) -> CubeAxes:
    """Find the axes on which two models are compared: along each axis the coarser bins, over the range that both cover.

    Bins that only one of the models covers in full are excluded. If neither has a whole bin in
    the common range, this range is one bin.

    Raises
    ------
    BgnbError
        If the ranges do not overlap.
    """
    edges = {}
    for name in ("energy", "dety", "detx"):
        one, other = getattr(first, name), getattr(second, name).to(getattr(first, name).unit)
        low, high = max(one.value[0], other.value[0]), min(one.value[-1], other.value[-1])
        if low > high or np.isclose(low, high, rtol=1e-6, atol=1e-9):
            raise BgnbError(
                "axes-mismatch",
                f"the {name} axes of the models do not overlap: {one[0]} to {one[-1]}, and {other[0]} to {other[-1]}",
            )
        choices = []
        for values in (one.value, other.value):
            near = np.isclose(values, low, rtol=1e-6, atol=1e-9) | np.isclose(values, high, rtol=1e-6, atol=1e-9)
            choices.append(values[near | ((values > low) & (values < high))])
        choices = [choice for choice in choices if len(choice) > 1] or [np.array([low, high])]
        edges[name] = min(choices, key=len) * one.unit
    return CubeAxes(**edges)


def rebin(model: BackgroundModel, axes: CubeAxes) -> BackgroundModel:
    """Rebin a model to other axes, within its own.

    Rates are averaged over volume, and counts are added. The livetime of a bin is chosen such
    that rate · exposure is conserved. A bin that was only partly exposed counts as not exposed.
    The error is averaged over volume like the rate, as if the bins were fully correlated: an
    upper limit.

    If an edge of the new axes lies inside a bin of the model, the events in this bin are divided
    as if the rate fell exponentially within it (in energy, along a power law), with the slope
    of the rate between the neighbouring bins, summed over the other axes.
    """
    if axes == model.axes:
        return model
    volume, livetime = model.axes.bin_volume.value, model.stack.livetime_us.astype(float)
    events = model.rate.quantity.value * volume
    shares = _shares_along_axes(events, model.axes, axes)
    known = _summed(volume * (livetime == 0), shares) == 0
    weight = np.where(events > 0, events, 1e-30 * volume)  # livetime is averaged over volume if all rates are zero
    mean_livetime = _summed(livetime * weight, shares) / _summed(weight, shares)
    livetime_us = np.where(known, np.rint(mean_livetime), 0).astype(np.int64)
    counts = np.where(known, np.rint(_summed(model.stack.counts.astype(float), shares)), 0).astype(np.int64)
    stack = Stack(axes, model.stack.fovalign, counts, livetime_us, model.stack.runs)
    rate = Cube(axes, _summed(events, shares) / axes.bin_volume.value * RATE_UNIT)
    error = None
    if model.error is not None:
        summed = _summed(model.error.quantity.to_value(RATE_UNIT) * volume, shares)
        error = Cube(axes, summed / axes.bin_volume.value * RATE_UNIT)
    return BackgroundModel(rate, stack, model.method, error)


def _shares_along_axes(events: Floats, source: CubeAxes, target: CubeAxes) -> list[Floats]:
    """Compute the parts of the events in the bins of a model that lie in new bins, one matrix (new, old) per axis."""
    shares = []
    for axis, name in enumerate(("energy", "dety", "detx")):
        old, new = getattr(source, name).value, getattr(target, name).value
        nearest = old[np.argmin(np.abs(old - new[:, None]), axis=1)]
        new = np.where(np.isclose(nearest, new, rtol=1e-6, atol=1e-9), nearest, new)  # equal up to rounding
        if name == "energy":
            old, new = np.log(old), np.log(new)
        shares.append(_shares(events.sum(axis=tuple({0, 1, 2} - {axis})), old, new))
    return shares


def _shares(events: Floats, old: Floats, new: Floats) -> Floats:
    """Compute the parts of the events in old bins that lie in new bins, shape (new, old), for exponentials in each old bin."""
    widths, centres = np.diff(old), (old[:-1] + old[1:]) / 2
    seen, slopes = events > 0, np.zeros(len(widths))
    if np.count_nonzero(seen) > 1:
        density = np.log(events[seen] / widths[seen])
        slopes = np.interp(centres, centres[seen], np.gradient(density, centres[seen]))
    steep = np.clip(slopes * widths, -_STEEPEST, _STEEPEST)
    steep = np.where(np.abs(steep) < 1e-6, 1e-6, steep)  # a constant rate, up to rounding
    below = np.expm1(steep * np.clip((new[:, None] - old[:-1]) / widths, 0, 1)) / np.expm1(steep)
    return np.diff(below, axis=0)


def _summed(values: Floats, shares: list[Floats]) -> Floats:
    """Sum values in old bins into new bins."""
    return np.einsum("ae,by,cx,eyx->abc", *shares, values, optimize=True)
