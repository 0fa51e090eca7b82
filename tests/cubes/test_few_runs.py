"""Splines of few runs: their error if norms and spectral indices scatter, and their rate if they do not."""

import numpy as np
from astropy import units as u

from bgnb import Cell, CubeAxes, RunCounts, Stack, fit_spline
from tests.cubes.test_spline import POINTINGS, true_rate

AXES = CubeAxes(energy=np.geomspace(0.3, 60, 6) * u.TeV, dety=np.linspace(-3, 2, 4) * u.deg, detx=np.linspace(-2, 4, 5) * u.deg)
SCATTER, TILT = 0.1, 0.05


def runs(rng: np.random.Generator, n_runs: int = 4, calm: bool = False) -> list[Cell]:
    """Runs with many events whose norms and indices scatter, unless they are calm."""
    x = np.log(AXES.energy_centers.value)[:, None, None]
    cells = []
    for obs_id, (alt_pnt, az_pnt) in enumerate(POINTINGS[:n_runs]):
        factor = 1.0 if calm else np.exp(SCATTER * rng.normal() + TILT * x * rng.normal())
        counts = rng.poisson(5 * true_rate(alt_pnt, az_pnt, AXES) * 1500 * AXES.bin_volume.value * factor)
        run = RunCounts(obs_id, 1500.0, None, int(counts.sum()), 0, 0, 0, alt_pnt=alt_pnt, az_pnt=az_pnt)
        cells.append(Cell(alt_pnt, az_pnt, Stack(AXES, "ALTAZ", counts, np.full(AXES.shape, 1_500_000_000), (run,))))
    return cells


def test_error_of_norm_and_index():
    """Total rate and spectral index of models of four runs differ from the truth by about their errors."""
    x, found = np.log(AXES.energy_centers.value), []
    for seed in range(20):
        model = fit_spline(cells := runs(np.random.default_rng(seed)))
        for run in cells:
            volume = AXES.bin_volume.value
            made = (model.rate_at(run.alt_pnt, run.az_pnt).quantity.value * volume).sum(axis=(1, 2))
            true = (5 * true_rate(run.alt_pnt, run.az_pnt, AXES) * volume).sum(axis=(1, 2))
            total = made / made.sum()
            slope = total * (x - total @ x) / (total @ (x - total @ x) ** 2)
            covariance = model.count_covariance(run.alt_pnt, run.az_pnt)
            shift = np.log(made / true) - SCATTER**2 / 2  # the model is that of the mean run
            found.append([weights @ shift / np.sqrt(weights @ covariance @ weights) for weights in (total, slope)])
    widths = np.sqrt(np.mean(np.square(found), axis=0))
    assert np.all((widths > 0.7) & (widths < 1.5)), widths  # a vague prior gives 2.5


def test_calm_runs_show_a_curvature():
    """Norms of seven runs that do not scatter are not taken as scattered, which would hide changes with the zenith angle."""
    scatters, deviations = [], []
    for seed in range(6):
        model = fit_spline(cells := runs(np.random.default_rng(seed), n_runs=7, calm=True))
        scatters.append(model.scatter)
        for run in cells:
            made, true = (
                (rate * AXES.bin_volume.value).sum()
                for rate in (
                    model.rate_at(run.alt_pnt, run.az_pnt).quantity.value,
                    5 * true_rate(run.alt_pnt, run.az_pnt, AXES),
                )
            )
            deviations.append(made / true - 1)
    assert np.mean(scatters) < 0.03, scatters  # a prior worth one observation of 0.14 gives 0.06
    assert np.sqrt(np.mean(np.square(deviations))) < 0.008, deviations
