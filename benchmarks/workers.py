"""Measure from how much work on a second process pays: the cost of starting one, and those of counting and simulating.

Run with ``python benchmarks/workers.py [DIRECTORY]``; the runs of a DIRECTORY are counted as well. CPU times are measured,
which other processes disturb little. On an idle machine a process takes as long.
"""

import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from bgnb import make_test_dataset
from bgnb.production import pipeline, workers
from bgnb.production.count_chunks import KeptChunks, count_chunks
from bgnb.production.plan import make_plan
from bgnb.production.settings import ProductionSettings
from bgnb.simulation import dataset

REPEATS, FEW, MANY = 5, 2, 12


def main(directory: Path | None) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        costs = []
        for rate in (1.0, 30.0, 300.0):
            few, many = Path(folder) / f"{rate:g} few", Path(folder) / f"{rate:g} many"
            events = simulate(many, MANY, rate)["EVENT_COUNT"].mean()
            simulate(few, FEW, rate)
            simulated = cpu_of(lambda: simulate(many, MANY, rate)) - cpu_of(lambda: simulate(few, FEW, rate))  # noqa: B023
            costs.append((*counting_cost(many), events, simulated / (MANY - FEW)))
            size, counted, _, simulated = costs[-1]
            text = f"a run of {size / 1e6:6.3f} MB, {events:6.0f} events"
            print(f"{text}: counted in {counted * 1e3:5.1f} ms, simulated in {simulated * 1e3:5.1f} ms")
        (cpu, wall), (cpu_alone, wall_alone) = (measured(lambda: count(few, n)) for n in (2, 1))  # noqa: B023
    if directory is not None:
        size, counted = counting_cost(directory)
        print(f"a run of {size / 1e6:6.3f} MB in {directory}: counted in {counted * 1e3:5.1f} ms")
    sizes, counted, events, simulated = np.array(costs).T
    for name, amounts, seconds, module, of_amount in (
        ("counting", sizes, counted, pipeline, pipeline.SECONDS_PER_BYTE),
        ("simulation", events, simulated, dataset, dataset.SECONDS_PER_EVENT),
    ):
        slope = (seconds[-1] - seconds[0]) / (amounts[-1] - amounts[0])
        constant = seconds[0] - slope * amounts[0]
        used = f"(the estimate is {module.SECONDS_PER_RUN * 1e3:g} ms and {of_amount * 1e9:g} ns)"
        print(f"{name}: {constant * 1e3:.1f} ms a run and {slope * 1e9:.1f} ns a byte or event {used}")
    print(f"start of a process: {(cpu - cpu_alone) / 2:.2f} s; of two: {wall - wall_alone:.2f} s of wall-clock time")
    print(f"by default, one more process for each {workers.SECONDS_PER_WORKER:g} s of work")


def simulate(directory: Path, n_runs: int, rate: float):
    """Simulate runs."""
    return make_test_dataset(directory, n_runs=n_runs, trigger_rate=rate, workers=1, overwrite=True, progress=False)


def count(directory: Path, number: int) -> int:
    """Count the runs of a directory, each for itself, and return their number."""
    plan = make_plan(ProductionSettings.from_options({"indir": str(directory), "scheme": "GADF", "select": "all"}))
    chunks = [[obs_id] for chunk in plan.chunks for obs_id in chunk]
    with workers.open_workers(number) as where:
        return len(list(count_chunks(chunks, plan.chunk, where, KeptChunks(None))))


def counting_cost(directory: Path) -> tuple[float, float]:
    """Return the size in bytes of a run and the CPU time of counting it, s."""
    n_runs = count(directory, 1)
    size = sum(path.stat().st_size for path in directory.rglob("data/*")) / n_runs
    return size, cpu_of(lambda: count(directory, 1)) / n_runs


def cpu_of(function) -> float:
    """Return the minimum CPU time of a function, s."""
    return measured(function)[0]


def measured(function) -> tuple[float, float]:
    """Return the minimum CPU time of a function and of processes that it starts, s, and its minimum wall-clock time, s."""
    costs = []
    for _ in range(REPEATS):
        before, started = cpu_seconds(), time.perf_counter()
        function()
        costs.append((cpu_seconds() - before, time.perf_counter() - started))
    cpu, wall = zip(*costs, strict=True)
    return min(cpu), min(wall)


def cpu_seconds() -> float:
    """Return the CPU time of this process and of those that it started and that ended, s."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
