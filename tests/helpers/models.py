"""An asymmetric model for tests of files."""

from dataclasses import replace

import numpy as np
from astropy import units as u

from bgnb import BackgroundModel, Cube, CubeAxes, RunCounts, Stack, make_model

AXES = CubeAxes(
    energy=np.geomspace(0.3, 60, 6) * u.TeV, dety=np.linspace(-2, 3, 8) * u.deg, detx=np.linspace(-4, 2, 10) * u.deg
)
#: Livetime over ontime of the runs.
LIVE_FRACTION = (1500.125 + 1500.125001) / (1600 + 1900.25)


def asymmetric_model(fovalign: str = "ALTAZ", method: str = "classic") -> BackgroundModel:
    y, x = np.meshgrid(AXES.dety_centers.value, AXES.detx_centers.value, indexing="ij")
    mean = 300 * AXES.energy_centers.value[:, None, None] ** -1.5 * np.exp(0.4 * x - 0.3 * y)
    counts = np.random.default_rng(8).poisson(mean)
    livetime = np.full(AXES.shape, 3_000_250_001)
    livetime[0] = 1_500_125_000
    runs = (
        RunCounts(11, 1500.125, 0.7, 4000, 1, 2, 3, ontime_s=1600.0),
        RunCounts(5_000_000_012, 1500.125001, None, int(counts.sum()) - 3994, 0, 0, 0, ontime_s=1900.25),
    )
    return make_model(Stack(AXES, fovalign, counts, livetime, runs), method)


def stating_model(**changes) -> BackgroundModel:
    """A model that states its error and its instrument."""
    model = asymmetric_model()
    runs = tuple(replace(run, telescop="VERITAS", **changes) for run in model.stack.runs)
    error = Cube(AXES, model.rate.quantity * np.linspace(0.1, 0.9, 7)[:, None])
    return replace(model, error=error, stack=replace(model.stack, runs=runs))
