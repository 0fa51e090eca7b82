"""The methods that come with bgnb. To add one, see `bgnb.cubes.method.Method`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from bgnb._util.arrays import Bools, Floats, quotient
from bgnb.cubes.cells import Cell
from bgnb.cubes.cube import RATE_UNIT, Cube
from bgnb.cubes.method import Method
from bgnb.cubes.model import BackgroundModel
from bgnb.cubes.power_law import fit_power_law
from bgnb.cubes.smoothing import smooth_planes, times_to_smooth
from bgnb.cubes.spline import SplineModel, fit_spline
from bgnb.cubes.stack import Stack

#: Minimum rate of a bin, as a fraction of the mean rate of its plane.
FLOOR = 0.01
#: Minimum exposure of a bin after smoothing, as a fraction of the maximum in its plane; below, the nearest bin is used.
REACHED = 0.1
#: Planes without counts are extrapolated from the nearest planes that have this number of counts in total.
POWER_LAW_COUNTS = 100
#: Spectral index of the rate if all counts are in a single plane.
POWER_LAW_INDEX = 2.7


class _Default(Method):
    """Smooth counts and exposure, and divide."""

    name = "default"

    def make(self, stack: Stack) -> BackgroundModel:
        times = times_to_smooth(stack.counts.sum())
        counts, exposure = stack.counts.astype(float), stack.exposure.to_value("s MeV sr")
        rate = _filled(smooth_planes(counts, times), smooth_planes(exposure, times))
        return _without_zeros(rate, stack, self.name)


class _Michi(Method):
    """Divide counts by exposure and then smooth; the energy axis starts at the lowest threshold of the group."""

    name = "michi"

    def make(self, stack: Stack) -> BackgroundModel:
        stack = stack.above(int(np.argmax(stack.livetime_us.any(axis=(1, 2)))))
        times = times_to_smooth(stack.counts.sum())
        exposure = stack.exposure.to_value("s MeV sr")
        measured = (exposure > 0).astype(float)
        rate = _filled(smooth_planes(quotient(stack.counts, exposure, 0.0), times), smooth_planes(measured, times))
        return _without_zeros(rate, stack, self.name)


class _Spline(Method):
    """Fit a rate that is smooth in energy, field of view and pointing to all runs."""

    name = "spline"
    sums = "pointing"
    default_bins = (40, 40)  # the rate is smooth, so that bins need no minimum of counts

    def make(self, stack: Stack) -> BackgroundModel:
        rate, error = self.fit([Cell(90.0, 0.0, stack)]).at(90.0, 0.0)
        return BackgroundModel(rate, stack, self.name, error)

    def fit(self, cells: Sequence[Cell]) -> SplineModel:
        return fit_spline(cells)

    def extrapolated(self, stack: Stack) -> Bools:
        """Return a mask of the planes without livetime, as the fit includes exposed planes without counts."""
        return np.asarray(~stack.livetime_us.any(axis=(1, 2)))


class _Unsmoothed(Method):
    """Divide counts by exposure, bin by bin."""

    name = "unsmoothed"
    interpolable = False

    def make(self, stack: Stack) -> BackgroundModel:
        rate = quotient(stack.counts, stack.exposure.to_value("s MeV sr"), 0.0) * RATE_UNIT
        return BackgroundModel(Cube(stack.axes, rate), stack, self.name)

    def extrapolated(self, stack: Stack) -> Bools:
        """Return an empty mask, as nothing is extrapolated."""
        return np.zeros(stack.axes.shape[0], dtype=bool)


METHODS: tuple[Method, ...] = (_Default(), _Michi(), _Spline(), _Unsmoothed())


def _filled(numerator: Floats, denominator: Floats) -> Floats:
    """Divide smoothed cubes; in the middle of masks, which smoothing does not reach, take the value of the nearest bin."""
    ratio = quotient(numerator, denominator, 0.0)
    for plane, weight in zip(ratio, denominator, strict=True):
        reached = weight > REACHED * weight.max()
        if reached.any() and not reached.all():
            nearest = distance_transform_edt(~reached, return_distances=False, return_indices=True)
            plane[:] = plane[tuple(nearest)]
    return ratio


def _without_zeros(rate: Floats, stack: Stack, method: str) -> BackgroundModel:
    """Make a model with positive rates in all bins, in which each plane with counts predicts exactly these counts."""
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
    """Extrapolate the mean rate of a plane without counts along a power law.

    The power law is fitted to the nearest exposed planes that have `POWER_LAW_COUNTS` in total,
    at least two of them with counts.
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
