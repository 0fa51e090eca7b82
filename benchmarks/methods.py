"""Methods compared on simulated runs: deviation of the rate from the true model, for 10 to 1000 runs.

    python benchmarks/methods.py [MAXIMUM]

Runs of 15 Hz (7500 events each at the zenith) are distributed over altitudes from 30 to 90 deg and all azimuths. For
each group, the rate is compared with the true rate at its mean pointing, in the bins with livetime: bias is the mean of
predicted over true counts, minus 1, at the centre of the field of view (up to 1 deg), at its edge (from 2.5 to 4 deg) and
above 10 TeV; rms is the deviation of a bin, weighted by true counts; pull is the width of (rate − true rate) / error,
weighted likewise.
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from bgnb import TrueModel, make_models, make_test_dataset

TRUE = TrueModel(trigger_rate=15.0)


def main(maximum: int) -> None:
    """Print the table."""
    print("method      runs groups   total  centre    edge >10 TeV    rms  pull s")
    for n_runs in (10, 30, 100, 1000):
        if n_runs > maximum:
            return
        with tempfile.TemporaryDirectory() as folder:
            runs = Path(folder) / "runs"
            make_test_dataset(runs, n_runs=n_runs, trigger_rate=15.0, alt_range=(30, 90), seed=n_runs, progress=False)
            for method in ("spline", "classic", "michi"):
                started = time.perf_counter()
                models = make_models(runs, "GADF", select="all", method=method, progress=False).models.models
                seconds = time.perf_counter() - started
                made, true, error = [], [], []
                for group in models:
                    axes, livetime = group.model.axes, group.model.stack.livetime.value
                    y, x = np.meshgrid(axes.dety_centers.value, axes.detx_centers.value, indexing="ij")
                    made.append((group.model.rate.quantity * group.model.stack.exposure).to_value(""))
                    error.append((group.model.error.quantity * group.model.stack.exposure).to_value(""))
                    true.append(TRUE.expected(axes, group.alt_pnt) * livetime)
                made, true, error = (np.stack(values) for values in (made, true, error))
                offset, energy = np.hypot(x, y), axes.energy_centers.value
                parts = [np.ones(true.shape, dtype=bool)]
                parts += [np.broadcast_to(where, true.shape) for where in (offset < 1, (offset > 2.5) & (offset < 4))]
                parts.append(np.broadcast_to((energy > 10)[:, None, None], true.shape))
                bias = [made[part].sum() / true[part].sum() - 1 for part in parts]
                seen = true > 0
                rms = np.average((made[seen] / true[seen] - 1) ** 2, weights=true[seen]) ** 0.5
                pull = np.average(((made[seen] - true[seen]) / error[seen]) ** 2, weights=true[seen]) ** 0.5
                figures = " ".join(f"{value:+7.3f}" for value in bias)
                print(f"{method:10s} {n_runs:5d} {len(models):6d} {figures} {rms:6.3f} {pull:5.2f} {seconds:.0f}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
