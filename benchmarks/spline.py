"""The error of splines, and their speed.

    python -m benchmarks.spline

Pulls of the rate with its stated error on simulated data sets of known truth: their width over all
bins, pointings and data sets should be 1. And how long a fit of 30 runs takes, and one of 5000 of
which those in the same bin of pointing were summed, at the default bins.
"""

import itertools
import time

import numpy as np

from bgnb import Cell, CubeAxes, RunCounts, Stack, fit_spline
from tests.cubes.test_spline import cells, true_rate


def pulls(n_sets: int = 40) -> None:
    """Print the width of the pulls."""
    places = ((64.0, 120.0), (50.0, 10.0), (82.0, 200.0))
    found = []
    for seed in range(n_sets):
        model = fit_spline(cells(100 + seed, scale=0.5))
        for place in places:
            rate, error = (cube.quantity.value for cube in model.at(*place))
            found.append((rate / true_rate(*place) / 0.5 - 1) / (error / rate))
    squares = np.mean(np.square(found).reshape(n_sets, -1), axis=1)
    width, error = np.sqrt(squares.mean()), squares.std() / np.sqrt(n_sets) / 2 / np.sqrt(squares.mean())
    print(f"pulls of rate with its error: width {width:.3f} ± {error:.3f} over {n_sets} simulated sets of 7 runs, 3 pointings")


def speed() -> None:
    """Print seconds."""
    axes = CubeAxes.regular(n_energy=40, n_fov=40)
    rng = np.random.default_rng(1)
    livetime = np.full(axes.shape, 1_500_000_000)
    numbers = itertools.count()

    def cell(alt_pnt, az_pnt, n_runs):
        rate = 0.1 * true_rate(alt_pnt, az_pnt, axes)
        counts = rng.poisson(rate * n_runs * 1500 * axes.bin_volume.value)
        runs = tuple(RunCounts(next(numbers), 1500.0, None, 0, 0, 0, 0) for _ in range(n_runs))
        return Cell(alt_pnt, az_pnt, Stack(axes, "ALTAZ", counts, livetime * n_runs, runs))

    for n_cells, n_runs in ((30, 1), (250, 20)):
        many = [cell(rng.uniform(30, 89), rng.uniform(0, 360), n_runs) for _ in range(n_cells)]
        started = time.perf_counter()
        fit_spline(many)
        print(f"fit of {n_cells * n_runs} runs in {n_cells} cells: {time.perf_counter() - started:.1f} s")


if __name__ == "__main__":
    pulls()
    speed()
