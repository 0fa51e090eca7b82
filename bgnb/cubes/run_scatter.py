"""Scatter of the background norm from run to run."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from bgnb.cubes.event_cuts import measured_planes
from bgnb.cubes.model import BackgroundModel


def norm_scatter(models: Iterable[BackgroundModel]) -> float | None:
    """Estimate the scatter of the norm of runs about that of their group, from the numbers of counts.

    The norms of runs are their counts n over the counts μ that the model of the group predicts
    for their livetime, energy threshold and energy limit. With Poisson fluctuations subtracted, and
    k / (k − 1) for the mean norm of a group of k runs, the variance is
    Σ ((n − μ)² − μ) k / (k − 1) / Σ μ². Exclusion regions are assumed to be alike for the runs of a
    group.

    Parameters
    ----------
    models : iterable of `~bgnb.BackgroundModel`
        Models of groups.

    Returns
    -------
    float or None
        Standard deviation, relative to the mean; None if no group has two runs.
    """
    numerator = denominator = 0.0
    for model in models:
        k = len(model.stack.runs)
        if k < 2 or not model.stack.counts.any():
            continue
        per_second = (model.rate.quantity * model.axes.bin_volume).to_value("s-1").sum(axis=(1, 2))
        counts = np.array([run.counts for run in model.stack.runs], dtype=float)
        expected = np.array(
            [
                per_second[measured_planes(run.energy_threshold_tev, run.energy_limit_tev, model.axes)].sum() * run.livetime_s
                for run in model.stack.runs
            ]
        )
        expected *= counts.sum() / expected.sum()
        numerator += float(((counts - expected) ** 2 - expected).sum()) * k / (k - 1)
        denominator += float((expected**2).sum())
    return max(numerator / denominator, 0.0) ** 0.5 if denominator else None
