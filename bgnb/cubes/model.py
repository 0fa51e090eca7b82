"""Methods: from a stack to a background model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from bgnb._util.arrays import Floats, quotient
from bgnb._util.checks import checked_choice
from bgnb._util.errors import BgnbError
from bgnb.cubes.cells import Cell
from bgnb.cubes.cube import RATE_UNIT, Cube, CubeAxes
from bgnb.cubes.power_law import fit_power_law
from bgnb.cubes.smoothing import smooth_planes, times_to_smooth
from bgnb.cubes.spline import fit_spline
from bgnb.cubes.stack import Stack

#: Bins that smoothing leaves empty get this part of the mean rate of their plane.
FLOOR = 0.01
#: Smoothing reaches the bins that get more than this part of the greatest exposure of their plane.
REACHED = 0.1
#: Planes without counts follow the nearest planes that hold so many counts together.
POWER_LAW_COUNTS = 100
#: Spectral index of the rate where a single plane holds all counts.
POWER_LAW_INDEX = 2.7


@dataclass(frozen=True, eq=False)
class BackgroundModel:
    """A background rate, and the stack that it was made from.

    Parameters
    ----------
    rate : `Cube`
        Background events per energy, solid angle and *livetime*, in MeV-1 s-1 sr-1.
    stack : `Stack`
        Counts and livetime on the same axes. Where its livetime is zero nothing was
        measured, see ``exposed`` and ``extrapolated``.
    method : str
        How it was made.
    error : `Cube`, optional
        Statistical error of the rate, in the same unit; that of neighbouring bins is
        correlated.
    """

    rate: Cube
    stack: Stack
    method: str
    error: Cube | None = None

    def __post_init__(self) -> None:
        if self.rate.axes != self.stack.axes or (self.error is not None and self.error.axes != self.rate.axes):
            raise BgnbError(f"rate and stack of a model need the same axes: {self.rate.axes!r} and {self.stack.axes!r}")
        object.__setattr__(self, "rate", Cube(self.rate.axes, self.rate.quantity.to(RATE_UNIT)))
        if self.error is not None:
            object.__setattr__(self, "error", Cube(self.error.axes, self.error.quantity.to(RATE_UNIT)))

    @property
    def axes(self) -> CubeAxes:
        """The axes."""
        return self.rate.axes

    @property
    def is_true(self) -> bool:
        """Whether this is a truth, made from no runs: it has no counts and no statistical error."""
        return not self.stack.runs

    @property
    def exposed(self) -> NDArray[np.bool_]:
        """Energy planes that have livetime; all those of a truth."""
        return np.asarray(self.stack.livetime_us.any(axis=(1, 2))) | self.is_true

    @property
    def extrapolated(self) -> NDArray[np.bool_]:
        """Energy planes whose rate follows that of others.

        Smoothing needs counts in a plane. A spline is fitted to planes without counts as
        well, if they were exposed. Counts over exposure follow nothing.
        """
        if self.is_true or self.method == "unsmoothed":
            return np.zeros(self.axes.shape[0], dtype=bool)
        return ~(self.exposed if self.method == "spline" else np.asarray(self.stack.counts.any(axis=(1, 2))))

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
            Smooth counts and exposure plane by plane, and divide. Each plane with
            counts predicts as many as it holds. Planes without counts follow a power law
            through the nearest others, and bins that smoothing leaves empty get a small
            floor, so that every rate is above zero.
        ``michi``
            The energy axis starts at the lowest threshold in the group, and livetime is
            divided out before smoothing (Mayer 2015); for the rest as ``default``.
        ``spline``
            A smooth rate fitted to the counts, with its error, see `bgnb.cubes.spline`. Made from
            a stack alone it knows of one pointing only; `make_bg_cube_models` fits it to
            all runs at once.
        ``unsmoothed``
            Counts over exposure, bin by bin: rate × livetime × bin volume = counts. For
            comparisons; its empty bins are zero.

    Raises
    ------
    BgnbError
        Where there is no such method, or the stack holds no counts.
    """
    make = METHODS[checked_method(method)]
    if not stack.counts.any():
        raise BgnbError("no counts: no event of these runs lies inside the axes and above its run's energy threshold")
    return make(stack)


def _default(stack: Stack) -> BackgroundModel:
    times = times_to_smooth(stack.counts.sum())
    counts, exposure = stack.counts.astype(float), stack.exposure.to_value("s MeV sr")
    rate = _filled(smooth_planes(counts, times), smooth_planes(exposure, times))
    return _without_zeros(rate, stack, "default")


def _michi(stack: Stack) -> BackgroundModel:
    exposed = stack.livetime_us.any(axis=(1, 2))
    stack = stack.above(int(np.argmax(exposed)))
    times = times_to_smooth(stack.counts.sum())
    exposure = stack.exposure.to_value("s MeV sr")
    measured = (exposure > 0).astype(float)
    rate = _filled(smooth_planes(quotient(stack.counts, exposure, 0.0), times), smooth_planes(measured, times))
    return _without_zeros(rate, stack, "michi")


def _spline(stack: Stack) -> BackgroundModel:
    rate, error = fit_spline([Cell(90.0, 0.0, stack)]).at(90.0, 0.0)
    return BackgroundModel(rate, stack, "spline", error)


def _unsmoothed(stack: Stack) -> BackgroundModel:
    exposure = stack.exposure.to_value("s MeV sr")
    return BackgroundModel(Cube(stack.axes, quotient(stack.counts, exposure, 0.0) * RATE_UNIT), stack, "unsmoothed")


METHODS: Mapping[str, Callable[[Stack], BackgroundModel]] = {
    "default": _default,
    "michi": _michi,
    "spline": _spline,
    "unsmoothed": _unsmoothed,
}


def checked_method(method: str) -> str:
    """One of `METHODS`, or a `BgnbError` that lists them."""
    return str(checked_choice("method", method, METHODS))


def _filled(numerator: Floats, denominator: Floats) -> Floats:
    """Numerator over denominator; inside masks that smoothing hardly reaches, as in the nearest bin that it does."""
    ratio = quotient(numerator, denominator, 0.0)
    for plane, weight in zip(ratio, denominator, strict=True):
        reached = weight > REACHED * weight.max()
        if reached.any() and not reached.all():
            nearest = distance_transform_edt(~reached, return_distances=False, return_indices=True)
            plane[:] = plane[tuple(nearest)]
    return ratio


def _without_zeros(rate: Floats, stack: Stack, method: str) -> BackgroundModel:
    """The model with rates above zero everywhere; planes that hold counts predict just these counts."""
    volume, exposure = stack.axes.bin_volume.to_value("MeV sr"), stack.exposure.to_value("s MeV sr")
    plane_counts = stack.counts.sum(axis=(1, 2))
    filled = np.empty_like(rate)
    populated = np.flatnonzero(plane_counts)
    for plane in populated:
        floored = np.maximum(rate[plane], FLOOR * rate[plane].mean())
        filled[plane] = floored * plane_counts[plane] / (floored * exposure[plane]).sum()

    log_energy = np.log(stack.axes.energy_centers.value)
    for plane in np.flatnonzero(plane_counts == 0):
        nearest = populated[np.argmin(np.abs(log_energy[populated] - log_energy[plane]))]
        mean_rate = _plane_rate(int(plane), stack.axes.energy_centers.value, plane_counts, exposure.sum(axis=(1, 2)))
        filled[plane] = filled[nearest] * mean_rate / np.average(filled[nearest], weights=volume[nearest])
    return BackgroundModel(Cube(stack.axes, filled * RATE_UNIT), stack, method)


def _plane_rate(plane: int, energy: Floats, counts: NDArray[np.int64], exposure: Floats) -> float:
    """Mean rate of a plane without counts, on the power law of the nearest planes that were exposed.

    As many planes are taken as hold `POWER_LAW_COUNTS` together, in two planes at least.
    """
    exposed = np.flatnonzero(exposure)
    nearest = exposed[np.argsort(np.abs(np.log(energy[exposed] / energy[plane])), kind="stable")]
    enough = (np.cumsum(counts[nearest]) >= POWER_LAW_COUNTS) & (np.cumsum(counts[nearest] > 0) >= 2)
    chosen = nearest[: int(np.argmax(enough)) + 1] if enough.any() else nearest
    law = fit_power_law(energy[chosen], counts[chosen].astype(float), exposure[chosen])
    if law is None:  # all counts are in one plane
        only = int(np.argmax(counts))
        return float(counts[only] / exposure[only] * (energy[plane] / energy[only]) ** -POWER_LAW_INDEX)
    return float(law.at(energy[plane]))
