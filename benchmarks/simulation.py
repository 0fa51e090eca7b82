"""Measure the CPU time per event of each step of the simulation, and its ratio to that of the random numbers.

Run with ``python benchmarks/simulation.py``. The minimum of several repetitions is printed, because other processes can
only add to it.
"""

import tempfile
import time
from pathlib import Path

import numpy as np

from bgnb import TrueModel, make_test_dataset, make_test_observation_table
from bgnb._util import compression
from bgnb.files.fits_writer import primary_hdu, write_fits
from bgnb.simulation.dataset import _events_hdu, _Task, _write_run
from bgnb.simulation.event_lists import simulate_run

REPEATS = 15


def main() -> None:
    """Measure the steps and print the results."""
    table = make_test_observation_table(1)
    row, model = table[0], TrueModel()
    events, detxy = simulate_run(row, model)
    n, hdu = len(events), _events_hdu(row, events, *detxy)
    with tempfile.TemporaryDirectory() as folder:
        task = _Task(0, table, model, (), None, 0, Path(folder), "GADF")
        steps = {
            "random numbers only (energy, two offsets, thinning, time)": lambda: random_numbers(n),
            "energies and directions (TrueModel.draw_directions)": lambda: model.draw_directions(
                np.random.default_rng(1), 65.0, 1500.0
            ),
            "event list with DETX, DETY (simulate_run): + times, sky positions": lambda: simulate_run(row, model),
            "FITS table with checksum": lambda: _events_hdu(row, events, *detxy),
            "compress and write": lambda: write_fits(Path(folder) / "e.fits.gz", [primary_hdu(), hdu]),
            "the whole run": lambda: _write_run(task),
        }
        print(f"{n} events; minimum CPU time of {REPEATS}; compression by {'isal' if compression.HAS_ISAL else 'zlib'}")
        times = {name: min(cpu_seconds(step) for _ in range(REPEATS)) / n * 1e9 for name, step in steps.items()}
        for name, nanoseconds in times.items():
            print(f"{nanoseconds:6.1f} ns per event, {nanoseconds / next(iter(times.values())):5.1f} ×  {name}")
        for workers in (1, 2):
            started = time.perf_counter()
            made = make_test_dataset(Path(folder) / f"set{workers}", n_runs=16, workers=workers, progress=False)
            seconds = time.perf_counter() - started
            rate = made["EVENT_COUNT"].sum() / seconds / 1e6
            print(f"make_test_dataset, 16 runs, {workers} workers: {rate:.2f} M events/s")


def cpu_seconds(step) -> float:
    """Return the CPU time of a step in seconds."""
    started = time.process_time()
    step()
    return time.process_time() - started


def random_numbers(n: int) -> None:
    """Draw the random numbers of n events."""
    rng = np.random.default_rng(1)
    rng.random(n)
    rng.standard_normal((2, n))
    rng.random(n)
    rng.standard_exponential(n)


if __name__ == "__main__":
    main()
