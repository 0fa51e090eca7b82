"""Methods: from a stack to a background model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bgnb.cube import RATE_UNIT, Cube, CubeAxes
from bgnb.errors import BgnbError
from bgnb.smooth import smooth_planes, times_to_smooth
from bgnb.stack import Stack

Floats = NDArray[np.float64]

#: Bins that smoothing leaves empty get this part of the mean rate of their plane.
FLOOR = 0.01


@dataclass(frozen=True, eq=False)
class BackgroundModel:
    """A background rate, and the stack that it was made from.

    Parameters
    ----------
    rate : `Cube`
        Background events per energy, solid angle and *livetime*, in MeV-1 s-1 sr-1.
    stack : `Stack`
        Counts and livetime on the same axes. Where its livetime is zero nothing was
        measured, and where a plane has no counts too, the rate is extrapolated.
    method : str
        How it was made.
    """

    rate: Cube
    stack: Stack
    method: str

    def __post_init__(self) -> None:
        if self.rate.axes != self.stack.axes:
            raise BgnbError(f"rate and stack of a model need the same axes: {self.rate.axes!r} and {self.stack.axes!r}")
        object.__setattr__(self, "rate", Cube(self.rate.axes, self.rate.quantity.to(RATE_UNIT)))

    @property
    def axes(self) -> CubeAxes:
        """The axes."""
        return self.rate.axes

    def __repr__(self) -> str:
        return f"BackgroundModel(method: {self.method}, {self.stack!r})"


def make_model(stack: Stack, method: str = "default") -> BackgroundModel:
    """Make a background model from a stack.

    Parameters
    ----------
    stack : `Stack`
        Counts and livetime.
    method : str
        A key of `METHODS`:

        ``default``
            Smooth counts and exposure plane by plane, and divide. Each plane predicts
            the counts that it holds. Planes without counts are extrapolated from the
            others along a power law in energy, and empty bins get a small floor, so
            that every rate is above zero.
        ``michi``
            The energy axis starts at the lowest threshold in the group, and livetime is
            divided out before smoothing (Mayer 2015); for the rest as ``default``.
        ``unsmoothed``
            Counts over exposure, bin by bin: rate × livetime × bin volume = counts. For
            comparisons; its empty bins are zero.

    Raises
    ------
    BgnbError
        Where there is no such method, or the stack holds no counts.
    """
    if method not in METHODS:
        raise BgnbError(f"unknown method '{method}': use one of {', '.join(METHODS)}")
    if not stack.counts.any():
        raise BgnbError("no counts: no event of these runs lies inside the axes and above its run's energy threshold")
    return METHODS[method](stack)


def _default(stack: Stack) -> BackgroundModel:
    times = times_to_smooth(stack.counts.sum())
    counts, exposure = stack.counts.astype(float), stack.exposure.to_value("s MeV sr")
    rate = _ratio(smooth_planes(counts, times), smooth_planes(exposure, times))
    return _without_zeros(rate, stack, "default")


def _michi(stack: Stack) -> BackgroundModel:
    exposed = stack.livetime_us.any(axis=(1, 2))
    stack = stack.above(int(np.argmax(exposed)))
    times = times_to_smooth(stack.counts.sum())
    exposure = stack.exposure.to_value("s MeV sr")
    measured = (exposure > 0).astype(float)
    rate = _ratio(smooth_planes(_ratio(stack.counts, exposure), times), smooth_planes(measured, times))
    return _without_zeros(rate, stack, "michi")


def _unsmoothed(stack: Stack) -> BackgroundModel:
    exposure = stack.exposure.to_value("s MeV sr")
    return BackgroundModel(Cube(stack.axes, _ratio(stack.counts, exposure) * RATE_UNIT), stack, "unsmoothed")


METHODS: Mapping[str, Callable[[Stack], BackgroundModel]] = {
    "default": _default,
    "michi": _michi,
    "unsmoothed": _unsmoothed,
}


def _ratio(numerator: NDArray[Any], denominator: Floats) -> Floats:
    """Numerator over denominator; zero where the denominator is."""
    return np.divide(numerator, denominator, out=np.zeros(numerator.shape), where=denominator > 0)


def _without_zeros(rate: Floats, stack: Stack, method: str) -> BackgroundModel:
    """The model with rates above zero everywhere; planes that hold counts predict just these counts."""
    energy, exposure = stack.axes.energy_centers.value, stack.exposure.to_value("s MeV sr")
    plane_counts = stack.counts.sum(axis=(1, 2))
    plane_exposure = exposure.sum(axis=(1, 2))
    filled = np.empty_like(rate)
    populated = np.flatnonzero(plane_counts)
    for plane in populated:
        floored = np.maximum(rate[plane], FLOOR * rate[plane].mean())
        filled[plane] = floored * plane_counts[plane] / (floored * exposure[plane]).sum()

    slope = _spectral_slope(energy[populated], filled[populated].mean(axis=(1, 2)), plane_counts[populated])
    for plane in np.flatnonzero(plane_counts == 0):
        nearest = populated[np.argmin(np.abs(np.log(energy[populated] / energy[plane])))]
        filled[plane] = filled[nearest] * (energy[plane] / energy[nearest]) ** slope
        if plane_exposure[plane] > 0:  # exposed, and no event seen: predict one at the most
            filled[plane] /= max(1.0, (filled[plane] * exposure[plane]).sum())
    return BackgroundModel(Cube(stack.axes, filled * RATE_UNIT), stack, method)


def _spectral_slope(energy: Floats, mean_rate: Floats, plane_counts: Floats) -> float:
    """Slope of log rate against log energy, each plane weighted with its counts; −2.7 from one plane."""
    if len(energy) < 2:
        return -2.7
    # np.polyfit weights multiply the residuals: the square root of the inverse variance.
    return float(np.polyfit(np.log(energy), np.log(mean_rate), 1, w=np.sqrt(plane_counts))[0])
