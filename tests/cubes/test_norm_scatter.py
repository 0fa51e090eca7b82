"""Scatter of norm and index from run to run."""

from dataclasses import replace

import numpy as np
import pytest
from astropy import units as u
from scipy import stats

from bgnb import BackgroundModel, Cell, CubeAxes, RunCounts, Stack, fit_spline, make_model
from bgnb.cubes.group_model import norm_scatter

AXES = CubeAxes(np.geomspace(0.3, 30, 9) * u.TeV, np.linspace(-3, 2, 6) * u.deg, np.linspace(-2, 4, 7) * u.deg)


def stacks(n_runs, scatter, tilt=0.0, seed=3, first_bins=(0, 1, 2), hidden=False):
    """Draw runs of different livetimes and thresholds, whose norms and spectral indices scatter.

    With ``hidden``, every second run has a pixel without counts and livetime, and a source there.
    """
    rng, energy = np.random.default_rng(seed), AXES.energy_centers.value[:, None, None]
    for number in range(n_runs):
        livetime, first = 600.0 + 60 * number % 900, first_bins[number % len(first_bins)]
        change = np.exp(scatter * rng.normal()) * (energy / 0.55) ** (tilt * rng.normal())
        mean = 2e-4 * energy**-2.7 * AXES.bin_volume.value * livetime * change * np.ones(AXES.shape)
        counts, livetime_us = rng.poisson(mean), np.full(AXES.shape, round(livetime * 1e6))
        counts[:first] = livetime_us[:first] = 0
        in_mask = 0
        if hidden and number % 2:
            pixel = (slice(None), rng.integers(5), rng.integers(6))
            in_mask = 3 * int(counts[pixel].sum())
            counts[pixel] = livetime_us[pixel] = 0
        threshold = None if first == 0 else float(AXES.energy.value[first]) * 0.99
        run = RunCounts(number, livetime, threshold, int(counts.sum()) + in_mask, 0, 0, 0, in_mask)
        yield Stack(AXES, "ALTAZ", counts, livetime_us.astype(np.int64), (run,))


def group_models(runs, size) -> list[BackgroundModel]:
    """Make models of groups of runs."""
    groups = [runs[start : start + size] for start in range(0, len(runs), size)]
    return [make_model(sum(others, first), "unsmoothed") for first, *others in groups]


@pytest.mark.parametrize("size", [2, 4, 240])
@pytest.mark.parametrize("first_bins", [(2,), (0, 1, 2), (3, 3, 3, 0)], ids=["equal", "three", "one-low"])
@pytest.mark.parametrize("scatter", [0.0, 0.15])
def test_scatter_of_norms_in_groups(scatter, first_bins, size):
    """The scatter is found beyond that of the counts, if few runs of a group measured the lowest energies, too."""
    runs = list(stacks(240, scatter, first_bins=first_bins))
    assert 50 < np.median([stack.counts.sum() for stack in runs]) < 5000
    assert norm_scatter(group_models(runs, size)) == pytest.approx(scatter, abs=0.025)


@pytest.mark.parametrize("size", [3, 20])
def test_scatter_with_exclusion_regions(size):
    """Runs with events in exclusion regions, whose livetime is lost in part, do not change the scatter of the others."""
    models = group_models(list(stacks(480, 0.15, hidden=True)), size)
    assert norm_scatter(models) == pytest.approx(0.15, abs=0.025)


def test_no_scatter_of_single_runs():
    """Groups of a single run, of none, or of runs without a common energy do not show the scatter."""
    runs = list(stacks(3, 0.1))
    assert norm_scatter(group_models(runs, 1)) is None
    assert norm_scatter([]) is None
    high, low = stacks(2, 0.1, first_bins=(3, 0))
    limit = float(AXES.energy.value[3]) * 1.01
    counts, livetime_us = (np.where(np.arange(8)[:, None, None] < 3, cube, 0) for cube in (low.counts, low.livetime_us))
    run = replace(low.runs[0], energy_limit_tev=limit, events=int(counts.sum()))
    below = Stack(AXES, "ALTAZ", counts, livetime_us, (run,))
    assert norm_scatter([make_model(high + below, "unsmoothed")]) is None


def test_spline_states_scatter_and_tilt():
    """The fit of a spline finds the scatter of norms and of indices."""
    model = fit_spline([Cell(70.0, 180.0, stack) for stack in stacks(60, 0.15, tilt=0.2)])
    assert model.scatter == pytest.approx(0.15, rel=0.35)
    assert model.tilt == pytest.approx(0.2, rel=0.35)


def test_spline_is_the_mean_of_runs():
    """At all energies the rate is that of the mean run, which lies above the median run if norms and indices scatter."""
    quantiles = stats.norm.ppf((np.arange(60) + 0.5) / 60)
    x = np.log(AXES.energy_centers.value[:, None, None] / 1.4)
    norms, indices = 0.2 * np.random.default_rng(2).permutation(quantiles), 0.3 * quantiles
    changes = [np.exp(norm + index * x) for norm, index in zip(norms, indices, strict=True)]
    rate = 4e-3 * np.exp(-1.7 * x) / AXES.bin_volume.value * np.ones(AXES.shape)
    livetime_us, cells = np.full(AXES.shape, 1_000_000_000_000), []
    for number, change in enumerate(changes):
        counts = np.rint(rate * AXES.bin_volume.value * change * 1e6).astype(np.int64)
        run = RunCounts(number, 1e6, None, int(counts.sum()), 0, 0, 0)
        cells.append(Cell(70.0, 180.0, Stack(AXES, "ALTAZ", counts, livetime_us, (run,))))
    mean = np.mean(changes, axis=0)
    assert mean[-1] > 1.3 * mean[2]
    found = fit_spline(cells).rate_at(70.0, 180.0).quantity.value / rate
    np.testing.assert_allclose(found, mean * np.ones(AXES.shape), rtol=0.03)
