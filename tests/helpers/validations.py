"""Validations of simulated counts, in which one run, energy or pixel may be wrong."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from bgnb import Grid, RunPrediction, Validation

GRID = Grid.regular(energy_min="1 TeV", energy_max="20 TeV", n_energy=3, pixel="0.45 deg", offset_max="2.1 deg")
#: Relative rates at the energies.
ENERGIES = np.array([1.0, 0.3, 0.04])


def simulated_validation(
    scale: float = 6.0,
    n_runs: int = 12,
    change: Callable[[int, NDArray[np.float64]], NDArray[np.float64]] = lambda number, true: true,
    grid: Grid = GRID,
    seed: int = 3,
) -> Validation:
    """Validate a prediction with gradients in DETX and DETY against Poisson counts.

    ``change`` returns the expectation from which the counts of a run are drawn. Runs have different livetimes, and every
    third one has a higher threshold. OBS_IDs increase with the number by 10, from 100.
    """
    rng = np.random.default_rng(seed)
    y, x = np.meshgrid(grid.axes.dety_centers.value, grid.axes.detx_centers.value, indexing="ij")
    shape = ENERGIES[: grid.axes.shape[0], None, None] * np.exp(0.3 * x - 0.2 * y)
    runs = []
    for number in range(n_runs):
        expected = scale * (1 + number % 4) * shape
        counts = rng.poisson(change(number, expected.copy()))
        used = grid.used(grid.axes, number % 3 // 2)
        pointing = 40.0 + 3.5 * number, (170.0 + 25 * number) % 360
        runs.append(RunPrediction(100 + 10 * number, *pointing, counts, expected, used, {1: 1.0}))
    return Validation(grid, tuple(runs), notes=("a note on the runs",))
