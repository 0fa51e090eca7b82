"""Growth of CPU time and memory of the command with runs, events per run, bins and groups.

    python benchmarks/growth.py DIRECTORY PICTURE

One process counts and makes the models. The exponent k is that of a fit of the CPU time by a + b x^k, where a are the costs
that do not grow. Without smoothing, the runs are those of DIRECTORY (scheme GADF) that bgnb does not refuse, repeated
(``replicate.py``). As these repeat their fluctuations, which a fit would try to follow, the runs of the other methods are
simulated. The exponent in the number of cells is printed by ``python -m benchmarks.spline``.
"""

import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from replicate import replicate
from scale import Cost, command
from scipy.optimize import curve_fit

from bgnb import make_test_dataset

_RUNS = (40, 1250, 5000, 20_000)
_TRIGGER_RATE = 5.0  # gives about as many events as runs of DIRECTORY have, 1/s
_TRIGGER_RATES = (10, 100, 1000, 3000)
_EVENTS_PER_RATE = 1300  # about: seconds of livetime of a simulated run
_FOV_BINS = (30, 60, 120, 240)
_AZIMUTHS = (1, 2, 4, 8, 16)
_COARSE = ["--alt-edges", "30,60,90", "--az-edges", "0,360"]


@dataclass(frozen=True)
class Curve:
    """Cost of the command for some values of one quantity."""

    quantity: str
    title: str
    values: tuple[int, ...]
    costs: tuple[Cost, ...]

    @property
    def exponent(self) -> float:
        """Exponent of the growth of the CPU time, without the costs that do not grow."""
        x, cpu = np.array(self.values) / self.values[-1], np.array([cost.cpu for cost in self.costs])
        start = (cpu[0], cpu[-1] - cpu[0], 1.0)
        (_, _, power), _ = curve_fit(lambda x, a, b, k: a + b * x**k, x, cpu, start, bounds=([0, 0, 0.1], [np.inf, np.inf, 4]))
        return float(power)


def main(directory: Path, picture: Path) -> None:
    """Measure, print and plot."""
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        made = {n: replicate(directory, scratch / str(n), n, scratch / "copies") for n in _RUNS}
        curves = [
            curve("runs", "unsmoothed", _RUNS, lambda n: run(made[n], scratch, "--method", "unsmoothed")),
            curve("runs", "simulated, spline", _RUNS, lambda n: simulated(scratch, n)),
            curve("events per run", "4 runs, classic", _TRIGGER_RATES, lambda rate: crowded(scratch, rate)),
            curve("bins", "40 runs", _FOV_BINS, lambda n: run(made[40], scratch, "--method", "classic", "--n-fov", str(n))),
            groups(scratch),
        ]
    draw(curves, picture)


def curve(quantity: str, title: str, values: tuple[int, ...], cost: Callable[[int], Cost]) -> Curve:
    """Measure the cost for each value, and print it with the exponent."""
    costs = tuple(map(cost, values))
    scale = {"events per run": lambda rate: rate * _EVENTS_PER_RATE, "bins": lambda n: 20 * n * n}.get(quantity, int)
    made = Curve(quantity, title, tuple(map(scale, values)), costs)
    for value, one in zip(made.values, costs, strict=True):
        print(f"{one}  {value} {quantity} ({title})", flush=True)
    print(f"exponent in {quantity} ({title}): {made.exponent:.2f}", flush=True)
    return made


def run(runs: Path, scratch: Path, *options: str) -> Cost:
    """Make models of a directory with one process."""
    return command(runs, scratch / "out", "--workers", "1", *options)


def simulated(scratch: Path, n_runs: int) -> Cost:
    """Make models of simulated runs."""
    runs = scratch / "simulated"
    make_test_dataset(runs, n_runs=n_runs, trigger_rate=_TRIGGER_RATE, overwrite=True, progress=False)
    return run(runs, scratch, "--method", "spline")


def crowded(scratch: Path, rate: int) -> Cost:
    """Make models of four simulated runs with a trigger rate, in 1/s."""
    runs = scratch / f"rate{rate}"
    make_test_dataset(runs, n_runs=4, trigger_rate=float(rate), alt_range=(65, 85), workers=1, progress=False)
    return run(runs, scratch, "--method", "classic", *_COARSE)


def groups(scratch: Path) -> Curve:
    """Make models of 320 simulated runs in more and more groups."""
    runs = scratch / "sparse"
    make_test_dataset(runs, n_runs=320, trigger_rate=3.0, workers=1, progress=False)

    def cost(n_groups: int) -> Cost:
        edges = ",".join(str(360 * i / n_groups) for i in range(n_groups + 1))
        return run(runs, scratch, "--method", "classic", "--alt-edges", "30,60,90", "--az-edges", edges)

    made = curve("ranges of azimuth", "320 runs, classic", _AZIMUTHS, cost)
    return Curve("groups", made.title, tuple(2 * n for n in made.values), made.costs)


def draw(curves: list[Curve], picture: Path) -> None:
    """Plot CPU time and memory against each quantity."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter

    figure = Figure(figsize=(2.4 * len(curves), 4.4), layout="constrained")
    panels = figure.subplots(2, len(curves), sharey="row")
    for (above, below), curve in zip(panels.T, curves, strict=True):
        above.loglog(curve.values, [cost.cpu for cost in curve.costs], "o-", color="C0")
        above.set_title(f"{curve.title}\nexponent {curve.exponent:.2f}", fontsize="medium")
        below.loglog(curve.values, [max(cost.megabytes.values()) for cost in curve.costs], "o-", color="C1")
        below.set_xlabel(curve.quantity)
        for panel in (above, below):
            panel.xaxis.set_major_locator(LogLocator(subs=(1,) if curve.values[-1] > 100 * curve.values[0] else (1, 3)))
            panel.xaxis.set_minor_formatter(NullFormatter())
    panels[0, 0].set_ylabel("CPU time (s)")
    panels[1, 0].set_ylabel("maximum memory (MB)")
    figure.savefig(picture, dpi=120)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
