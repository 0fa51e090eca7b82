"""Model of a group of runs, the rate interpolated between two groups, and the scatter of runs about their group."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np
from astropy import units as u

from bgnb._util.arrays import Bools, Floats, Ints, quotient
from bgnb.cubes.cube import RATE_UNIT, Cube, CubeAxes
from bgnb.cubes.event_cuts import measured_planes
from bgnb.cubes.model import BackgroundModel
from bgnb.cubes.prediction import point_rate, predicted_rate


@dataclass(frozen=True, kw_only=True, eq=False)
class GroupModel:
    """Model of a group.

    Parameters
    ----------
    group_id : int
        GROUP_ID.
    alt_pnt, az_pnt : float
        Mean altitude and azimuth of the runs, deg.
    model : `BackgroundModel`
        The model.
    """

    group_id: int
    alt_pnt: float
    az_pnt: float
    model: BackgroundModel

    @property
    def cos_zenith(self) -> float:
        """Cosine of the mean zenith angle."""
        return float(np.sin(np.radians(self.alt_pnt)))

    @cached_property
    def plane_cos_zenith(self) -> Floats:
        """Mean cosine of the zenith angle of the runs that measured each energy plane, shape (energy,).

        At low energies these are those at high altitudes. Planes that no run measured have that of the group.
        """
        livetime, weighted = np.zeros((2, self.model.axes.shape[0]))
        for run in self.model.stack.runs:
            if run.alt_pnt is not None:
                planes = measured_planes(run.energy_threshold_tev, run.energy_limit_tev, self.model.axes)
                livetime[planes] += run.livetime_s
                weighted[planes] += run.livetime_s * np.sin(np.radians(run.alt_pnt))
        return quotient(weighted, livetime, self.cos_zenith)


@dataclass(frozen=True, kw_only=True, eq=False)
class RateForRun:
    """Rate for a run, and the weights of the groups that contribute to it; empty if it comes from a fit to all runs."""

    rate: Cube
    weights: Mapping[int, float]


def interpolated_rate(below: GroupModel, above: GroupModel, cos_zenith: float) -> RateForRun:
    """Interpolate log rates linearly in the cosine of the zenith angle, on the axes of the nearer model.

    At energies at which only one of the two models is exposed, the rate follows from this
    model and the ratio of the two at the nearest energy at which both are: otherwise the
    spectrum would have a step there. Each energy plane has the mean zenith angle of the runs that
    measured it. In bins outside the axes of the farther model, the rate is
    that of the nearer one.
    """
    part = (cos_zenith - below.cos_zenith) / (above.cos_zenith - below.cos_zenith)
    near, far, weight = (below, above, part) if part < 0.5 else (above, below, 1 - part)
    pair = _pair(near, far)
    part_of_far = _weights(near, far, cos_zenith, weight)[pair.closest][:, None, None]
    rate = pair.rate * np.exp((part_of_far - pair.from_far) * pair.ratio)
    weights = {near.group_id: 1 - weight, far.group_id: weight}
    return RateForRun(rate=Cube(near.model.axes, u.Quantity(rate, RATE_UNIT)), weights=dict(sorted(weights.items())))


class _Pair(NamedTuple):
    """Two groups on the axes of the first: rate and logarithm of the ratio of the second to the first."""

    rate: Floats  # of the first, or of the second where `from_far`
    from_far: Bools
    ratio: Floats
    closest: Ints  # energy plane in which the ratio is that of each plane


@lru_cache(maxsize=8)  # runs need it several times, and consecutive runs often the same
def _pair(near: GroupModel, far: GroupModel) -> _Pair:
    """Compare the rates of two groups."""
    axes = near.model.axes
    first, second = near.model.rate.quantity.to_value(RATE_UNIT), far.model.rate.quantity.to_value(RATE_UNIT)
    seen_first, seen_second = near.model.exposed, far.model.exposed
    if far.model.axes != axes:
        second, _ = rate_on_axes(far.model.rate, axes)
        low, high = far.model.axes.energy.value[[*np.flatnonzero(seen_second)[[0, -1]] + [0, 1]]]
        centres = axes.energy_centers.value
        seen_second = (centres >= low) & (centres < high)
    ratio = np.where((first > 0) & (second > 0), _log(second) - _log(first), 0.0)
    both, planes = np.flatnonzero(seen_first & seen_second), np.arange(len(ratio))
    closest = both[np.argmin(np.abs(both - planes[:, None]), axis=1)] if both.size else planes
    ratio = ratio[closest] if both.size else np.zeros_like(ratio)
    from_far = ((seen_second & ~seen_first)[:, None, None] | (first == 0)) & (second > 0)
    return _Pair(np.where(from_far, second, first), from_far, ratio, closest)


def _weights(near: GroupModel, far: GroupModel, cos_zenith: float, weight: float) -> Floats:
    """Return the weight of the farther model in each energy plane; ``weight`` where zenith angles do not increase."""
    of_near, of_far = (np.log(group.model.axes.energy_centers.value) for group in (near, far))
    sign = np.sign(far.cos_zenith - near.cos_zenith)
    distance = np.interp(of_near, of_far, far.plane_cos_zenith) - near.plane_cos_zenith
    return np.clip(quotient(sign * (cos_zenith - near.plane_cos_zenith), sign * distance, weight), 0, 1)


def rate_on_axes(rate: Cube, axes: CubeAxes) -> tuple[Floats, Bools]:
    """Return the mean rate in bins of other axes, zero in bins that do not lie on its own axes, and a mask of the others."""
    if rate.axes == axes:
        return rate.quantity.to_value(RATE_UNIT), np.ones(axes.shape, dtype=bool)
    inside = axes.bins_on(rate.axes)
    values = predicted_rate(point_rate(rate), axes, "gammapy") / axes.bin_volume.to_value("MeV sr")
    return np.where(inside, values, 0.0), inside


def _log(values: Any) -> Any:
    return np.log(np.where(values > 0, values, 1.0))


def norm_scatter(models: Iterable[BackgroundModel]) -> float | None:
    """Estimate the scatter of the norm of runs about that of their group, relative to the mean, from the numbers of counts.

    The counts n of run i are compared with its share of the counts N of the group, μ = Σ w N
    (method of moments). The sum is over the energy bins e that the run measured, and w is its
    livetime divided by that of all runs that measured the bin. If the norms have the variance s²,
    the expectation of (n − μ)², summed over runs, is Σ w N (1 − w) + s² Σ (δ M − A)². Here M is μ,
    δ is 1 for i = j and 0 otherwise, and A = Σ wᵢ wⱼ N is the part of μ of run i that are counts
    of run j. The thresholds of runs may therefore differ. Runs with events in exclusion regions
    have unknown shares; they contribute to N only. The result is None if in no group two runs without
    such events, or such a run and another, measured the same energies.
    """
    numerator = denominator = 0.0
    for model in models:
        stack, runs = model.stack, model.stack.runs
        in_plane = stack.counts.sum(axis=(1, 2))
        measured = np.zeros((len(runs), len(in_plane)))
        for row, run in zip(measured, runs, strict=True):
            row[measured_planes(run.energy_threshold_tev, run.energy_limit_tev, stack.axes)] = run.livetime_s
        per_second = np.divide(stack.counts, stack.livetime.value, out=np.zeros(stack.axes.shape), where=stack.livetime_us > 0)
        share = measured * per_second.sum(axis=(1, 2)) / np.maximum(in_plane, 1)
        expected, whole = share * in_plane, np.array([run.events_in_mask == 0 for run in runs], dtype=bool)
        total, own = expected.sum(axis=1), (expected * share).sum(axis=1)
        # The sum of A² over pairs of runs is one over pairs of energy bins, which are fewer.
        squares = in_plane @ ((share[whole].T @ share[whole]) * (share.T @ share)) @ in_plane
        spread = float((total**2 - 2 * total * own)[whole].sum() + squares)
        if spread > 1e-9 * float((total**2).sum()):  # otherwise no two runs have an energy in common
            counts = np.array([run.counts for run in runs], dtype=float)
            numerator += float(((counts - total) ** 2 - total + own)[whole].sum())
            denominator += spread
    return max(numerator / denominator, 0.0) ** 0.5 if denominator else None
