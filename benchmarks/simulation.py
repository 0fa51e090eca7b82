"""Measure the events per second of each step of the simulation, and of the random numbers alone.

Run with ``python benchmarks/simulation.py``.
"""

import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from bgnb import TrueModel, make_test_dataset, make_test_eventlist, make_test_observation_table
from bgnb.files.fits_writer import primary_hdu, write_fits
from bgnb.simulation.dataset import _events_hdu

REPEATS = 5


def main() -> None:
    """Measure the steps and print the results."""
    table = make_test_observation_table(1)
    row, model = table[0], TrueModel()
    events = make_test_eventlist(row, model)
    n = len(events)
    hdu = _events_hdu(row, events)
    with tempfile.TemporaryDirectory() as folder:
        tasks = {
            "random numbers only (energy, two offsets, thinning, time)": lambda: random_numbers(n),
            "energies and offsets (TrueModel.draw)": lambda: model.draw(np.random.default_rng(1), 65.0, 1500.0),
            "event list (make_test_eventlist): + sky positions, times": lambda: make_test_eventlist(row, model),
            "DETX, DETY and the FITS table with its checksum": lambda: _events_hdu(row, events),
            "compress, write": lambda: write_fits(Path(folder) / "e.fits.gz", [primary_hdu(), hdu]),
        }
        print(f"{n} events per run; medians of {REPEATS}")
        for name, task in tasks.items():
            seconds = statistics.median(timed(task) for _ in range(REPEATS))
            print(f"{seconds / n * 1e9:7.0f} ns per event, {n / seconds / 1e6:6.2f} M events/s  {name}")
        for workers in (1, 2):
            started = time.perf_counter()
            made = make_test_dataset(Path(folder) / f"set{workers}", n_runs=16, workers=workers, progress=False)
            seconds = time.perf_counter() - started
            rate = made["EVENT_COUNT"].sum() / seconds / 1e6
            print(f"make_test_dataset, 16 runs, {workers} workers: {rate:.2f} M events/s")


def timed(task) -> float:
    """Return the duration of a task in seconds."""
    started = time.perf_counter()
    task()
    return time.perf_counter() - started


def random_numbers(n: int) -> None:
    """Draw the random numbers of n events."""
    rng = np.random.default_rng(1)
    rng.random(n)
    rng.standard_normal((2, n))
    rng.random(n)
    rng.standard_exponential(n)


if __name__ == "__main__":
    main()
