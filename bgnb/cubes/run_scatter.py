"""Scatter of the background norm from run to run."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from bgnb.cubes.event_cuts import measured_planes
from bgnb.cubes.model import BackgroundModel


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
