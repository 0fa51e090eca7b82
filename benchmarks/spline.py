"""The error of splines, and the cost of their fit.

    python -m benchmarks.spline [CELLS ...]

Pulls of the rate with its stated error on simulated data sets of known truth: their width over all
bins, pointings and data sets should be 1. And the CPU time and the peak memory of fits of 30, 100, 250 and 1000
cells (or the numbers given, and no pulls), at the default bins, with the exponents of their growth. The memory of the
fit is that in addition to its cells, which are 0.77 MB each; the last column is the peak memory of the process.
"""

import resource
import sys
import time
import tracemalloc

import numpy as np

from bgnb import Cell, CubeAxes, RunCounts, Stack, fit_spline
from tests.cubes.test_spline import cells, true_rate

N_CELLS = (30, 100, 250, 1000)


def pulls(scatter: float, n_sets: int = 40) -> None:
    """Print the width of the pulls for runs whose norms scatter."""
    places = ((64.0, 120.0), (50.0, 10.0), (82.0, 200.0))
    found = []
    for seed in range(n_sets):
        model = fit_spline(cells(100 + seed, scale=0.5, scatter=scatter))
        for place in places:
            rate, error = (cube.quantity.value for cube in model.at(*place))
            found.append((rate / true_rate(*place) / 0.5 / np.exp(scatter**2 / 2) - 1) / (error / rate))
    squares = np.mean(np.square(found).reshape(n_sets, -1), axis=1)
    width, error = np.sqrt(squares.mean()), squares.std() / np.sqrt(n_sets) / 2 / np.sqrt(squares.mean())
    sets = f"{n_sets} simulated sets of 7 runs with norms that scatter by {scatter:g}, 3 pointings"
    print(f"pulls of rate with its error: width {width:.3f} ± {error:.3f} over {sets}")


def pulls_of_totals(scatter: float, n_sets: int = 100) -> None:
    """Print the width of the pulls of the total rate of runs whose norms scatter, for some numbers of runs."""
    for n_runs in (4, 7, 28):
        found, scatters = [], []
        for seed in range(n_sets if n_runs < 10 else n_sets // 4):
            first = 50_000 + seed  # others than those with which the prior of the scatter was chosen
            runs = [run for part in range(-(-n_runs // 7)) for run in cells(1000 * part + first, scale=5.0, scatter=scatter)]
            runs = [Cell(run.alt_pnt, run.az_pnt, run.stack, number) for number, run in enumerate(runs[:n_runs])]
            model = fit_spline(runs)
            scatters.append(model.scatter)
            for run in runs[:4]:
                place = run.alt_pnt, run.az_pnt
                volume = model.axes.bin_volume.value
                made, true = (rate * volume for rate in (model.rate_at(*place).quantity.value, 5 * true_rate(*place)))
                share = made.sum(axis=(1, 2)) / made.sum()
                error = np.sqrt(share @ model.count_covariance(*place) @ share)
                found.append((np.log(made.sum() / true.sum()) - scatter**2 / 2) / error)
        width = np.sqrt(np.mean(np.square(found)))
        print(f"{n_runs} runs with norms that scatter by {scatter:g}: pulls of the total rate {width:.2f} wide", end="; ")
        print(f"scatter found: {np.median(scatters):.3f} (median)")


def cost(numbers: tuple[int, ...]) -> None:
    """Print the CPU time and the memory of fits, and the exponents of their growth."""
    axes = CubeAxes.regular(n_energy=30, n_fov=40)
    rng = np.random.default_rng(1)
    livetime = np.full(axes.shape, 1_500_000_000)

    def cell(number):
        alt_pnt, az_pnt = rng.uniform(30, 89), rng.uniform(0, 360)
        counts = rng.poisson(0.1 * true_rate(alt_pnt, az_pnt, axes) * 1500 * axes.bin_volume.value)
        return Cell(alt_pnt, az_pnt, Stack(axes, "ALTAZ", counts, livetime, (RunCounts(number, 1500.0, None, 0, 0, 0, 0),)))

    rows = []
    print(f"{'cells':>5s} {'CPU s':>7s} {'exponent':>8s} {'fit MB':>7s} {'exponent':>8s} {'process MB':>10s}")
    for n_cells in numbers:
        many = [cell(number) for number in range(n_cells)]
        started = time.process_time()
        fit_spline(many)
        seconds = time.process_time() - started
        process = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
        tracemalloc.start()
        fit_spline(many)
        megabytes = tracemalloc.get_traced_memory()[1] / 1e6
        tracemalloc.stop()
        del many  # before the next ones are made
        rows.append((n_cells, seconds, megabytes))
        of_time, of_memory = exponents(*rows[-2:]) if len(rows) > 1 else ("", "")
        print(f"{n_cells:5d} {seconds:7.1f} {of_time:>8s} {megabytes:7.0f} {of_memory:>8s} {process:10.0f}", flush=True)
    if len(rows) > 2:
        print(
            "exponents from {} to {} cells: time {}, memory {}".format(rows[0][0], rows[-1][0], *exponents(rows[0], rows[-1]))
        )


def exponents(first: tuple[int, float, float], last: tuple[int, float, float]) -> tuple[str, ...]:
    """Return the exponents of the growth of time and memory with the number of cells."""
    n_cells, *costs = np.log(last) - np.log(first)
    return tuple(f"{cost / n_cells:.2f}" for cost in costs)


if __name__ == "__main__":
    if len(sys.argv) == 1:
        pulls(0.0)
        pulls(0.1)
        pulls_of_totals(0.1)
        pulls_of_totals(0.3)
    cost(tuple(map(int, sys.argv[1:])) or N_CELLS)
