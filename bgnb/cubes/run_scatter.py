"""Scatter of the background norm from run to run."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from bgnb.cubes.event_cuts import measured_planes
from bgnb.cubes.model import BackgroundModel


def norm_scatter(models: Iterable[BackgroundModel]) -> float | None:
    """Estimate the scatter of the norm of runs about that of their group, from the numbers of counts.

    The counts n of runs are compared with the counts μ that the model of their group predicts for
    their livetime, energy threshold and energy limit, scaled to the counts M of the group (method
    of moments). If the norm of runs has the variance s², the expectation of (n − μ)², summed over the
    runs of a group, is Σ μ (1 − μ/M) + s² (Σ μ² − 2 Σ μ³/M + (Σ μ²)²/M²). Groups with exclusion
    regions, which differ from run to run, are not used. If thresholds differ, the estimate is
    somewhat low, as energies that few runs measured follow their norms.

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
        runs = model.stack.runs
        if len(runs) < 2 or not model.stack.counts.any() or any(run.events_in_mask for run in runs):
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
        share = expected / expected.sum()
        numerator += float(((counts - expected) ** 2 - expected * (1 - share)).sum())
        denominator += float((expected**2 * (1 - 2 * share)).sum() + (share * expected).sum() ** 2)
    return max(numerator / denominator, 0.0) ** 0.5 if denominator else None
