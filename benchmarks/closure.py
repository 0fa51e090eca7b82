"""True against reconstructed at full size: 100 runs at 300 Hz, about 4·10⁷ events, in absolute terms.

    python benchmarks/closure.py [N_RUNS]

It also prints the bias of the smoothing methods in the centre, halfway and at the rim, and
what it would be with planes padded by zeros.
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from scipy.ndimage import convolve

from bgnb import Cube, compare, make_model, make_true_reco, read_model
from bgnb.cubes.compare import ZONES
from bgnb.cubes.model import BackgroundModel
from bgnb.cubes.profiles import plane_integral
from bgnb.cubes.smoothing import K5A, times_to_smooth


def main(n_runs: int) -> None:
    """Simulate, reconstruct, compare and print."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        started = time.perf_counter()
        report = make_true_reco(out, n_runs=n_runs, method="unsmoothed", workers=2)
        seconds = time.perf_counter() - started
        true, reco = (read_model(out / name / report.groups[0].files[0]) for name in ("true", "reco"))
    events = sum(run.counted.events for run in report.runs)
    print(f"{n_runs} runs, {events} events, {report.groups[0].counts} counts, {seconds:.0f} s in all")
    comparison = compare(true, reco)
    expected = (true.rate.quantity * reco.stack.exposure).to_value("")
    pulls = comparison.pull[expected >= 10]
    print(f"total: {(reco.stack.counts.sum() - expected.sum()) / np.sqrt(expected.sum()):+.2f} sigma")
    print(f"pulls of {len(pulls)} bins: mean {pulls.mean():+.5f} ± {1 / np.sqrt(len(pulls)):.5f}", end=", ")
    print(f"width {pulls.std():.5f} ± {1 / np.sqrt(2 * len(pulls)):.5f}")
    for name, model in (
        ("unsmoothed", reco),
        ("classic", make_model(reco.stack, "classic")),
        ("michi", make_model(reco.stack, "michi")),
        ("padded with zeros", zero_padded(reco)),
    ):
        bias = compare(true, model)
        print(f"{name:18s}", "  ".join(f"bias {zone} {bias.bias(zone):+.4f}" for zone in ZONES))


def zero_padded(reco: BackgroundModel) -> BackgroundModel:
    """Apply the default method with zero-padded boundaries, and keep the sum of each plane."""
    rate = reco.rate.quantity.value
    for _ in range(times_to_smooth(reco.stack.counts.sum())):
        rate = convolve(rate, (K5A / K5A.sum())[None], mode="constant")
    model = BackgroundModel(Cube(reco.axes, rate * reco.rate.quantity.unit), reco.stack, "padded with zeros")
    factor = plane_integral(reco) / plane_integral(model)
    return BackgroundModel(Cube(reco.axes, model.rate.quantity * factor[:, None, None]), reco.stack, "padded with zeros")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
