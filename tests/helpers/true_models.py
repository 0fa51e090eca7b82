"""An asymmetric true model, and unsmoothed models of counts drawn from it."""

from __future__ import annotations

import numpy as np
from astropy import units as u

from bgnb import BackgroundModel, CubeAxes, RunCounts, Stack, TrueModel, make_model, make_test_bg_cube_model

AXES = CubeAxes(
    energy=np.geomspace(0.1, 80, 13) * u.TeV, dety=np.linspace(-4, 4, 17) * u.deg, detx=np.linspace(-4, 4, 21) * u.deg
)
#: 13 × 17 × 21 bins, of which 11 × 13 × 18 bins share only the ends.
FINE = CubeAxes(np.geomspace(0.1, 80, 14) * u.TeV, np.linspace(-4, 2, 18) * u.deg, np.linspace(-3, 4, 22) * u.deg)
COARSE = CubeAxes(np.geomspace(0.1, 80, 12) * u.TeV, np.linspace(-4, 2, 14) * u.deg, np.linspace(-3, 4, 19) * u.deg)
TRUE_MODEL = TrueModel(spectral_index=1.5, gradient_x=0.05, gradient_y=-0.03)


def true_model(axes: CubeAxes = AXES, model: TrueModel = TRUE_MODEL) -> BackgroundModel:
    return make_test_bg_cube_model(axes, 80 * u.deg, model)


def counted(seed: int, seconds: float = 2000.0, axes: CubeAxes = AXES, first_bin: int = 0, obs_id: int = 1) -> BackgroundModel:
    """An unsmoothed model of Poisson counts from the true model."""
    counts = np.random.default_rng(seed).poisson(TRUE_MODEL.expected(axes, 80.0) * seconds)
    livetime = np.full(axes.shape, round(seconds * 1e6))
    counts[:first_bin] = livetime[:first_bin] = 0
    run = RunCounts(obs_id, seconds, None, int(counts.sum()), 0, 0, 0)
    return make_model(Stack(axes, "ALTAZ", counts, livetime, (run,)), "unsmoothed")
