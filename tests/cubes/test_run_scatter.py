"""Scatter of norm and index from run to run."""

import numpy as np
import pytest
from astropy import units as u

from bgnb import BackgroundModel, Cell, Cube, CubeAxes, RunCounts, Stack, fit_spline
from bgnb.cubes.run_scatter import norm_scatter

AXES = CubeAxes(np.geomspace(0.3, 30, 9) * u.TeV, np.linspace(-3, 2, 6) * u.deg, np.linspace(-2, 4, 7) * u.deg)


def stacks(n_runs, scatter, tilt=0.0, seed=3):
    """Draw runs of different livetimes and thresholds, whose norms and spectral indices scatter."""
    rng, energy = np.random.default_rng(seed), AXES.energy_centers.value[:, None, None]
    for number in range(n_runs):
        livetime, first = 600.0 + 60 * number % 900, number % 3
        change = np.exp(scatter * rng.normal()) * (energy / 0.55) ** (tilt * rng.normal())
        mean = 2e-4 * energy**-2.7 * AXES.bin_volume.value * livetime * change * np.ones(AXES.shape)
        counts, livetime_us = rng.poisson(mean), np.full(AXES.shape, round(livetime * 1e6))
        counts[:first] = livetime_us[:first] = 0
        threshold = None if first == 0 else float(AXES.energy.value[first]) * 0.99
        run = RunCounts(number, livetime, threshold, int(counts.sum()), 0, 0, 0)
        yield Stack(AXES, "ALTAZ", counts, livetime_us.astype(np.int64), (run,))


def group_model(runs) -> BackgroundModel:
    """Make a model of runs with the true spectrum."""
    first, *others = runs
    stack = sum(others, first)
    rate = 2e-4 * AXES.energy_centers.value[:, None, None] ** -2.7 * np.ones(AXES.shape)
    return BackgroundModel(Cube(AXES, rate * u.Unit("MeV-1 s-1 sr-1")), stack, "classic")


@pytest.mark.parametrize("scatter", [0.0, 0.15])
def test_scatter_of_norms_in_groups(scatter):
    """The scatter is found beyond that of the counts, also from many groups of two runs."""
    runs = list(stacks(240, scatter))
    assert 50 < np.median([stack.counts.sum() for stack in runs]) < 5000
    assert norm_scatter([group_model(runs)]) == pytest.approx(scatter, abs=0.025)
    pairs = [group_model(runs[number : number + 2]) for number in range(0, 240, 2)]
    assert norm_scatter(pairs) == pytest.approx(scatter, abs=0.035)


def test_no_scatter_of_single_runs():
    """Groups of a single run, or of none, do not show the scatter."""
    assert norm_scatter([group_model([stack]) for stack in stacks(3, 0.1)]) is None
    assert norm_scatter([]) is None


def test_spline_states_scatter_and_tilt():
    """The fit of a spline finds the scatter of norms and of indices."""
    model = fit_spline([Cell(70.0, 180.0, stack) for stack in stacks(60, 0.15, tilt=0.2)])
    assert model.scatter == pytest.approx(0.15, rel=0.35)
    assert model.tilt == pytest.approx(0.2, rel=0.35)
