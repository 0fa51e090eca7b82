"""Norm and tilt of runs from their counts."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import norm as normal

from bgnb.cubes.run_norm import fit_norm

ENERGY = np.array([0.4, 0.9, 2.0, 5.0, 12.0])
EXPECTED = np.array([900.0, 500.0, 200.0, 60.0, 9.0])
SCATTER, TILT, REFERENCE = 0.2, 0.1, 1.3


def objective(values, counts, expected):
    """Return minus the logarithm of the posterior density of log norm and tilt."""
    predicted = expected * np.exp(values[0] - values[1] * np.log(ENERGY / REFERENCE))
    log_prior = ((values[0] + SCATTER**2 / 2) / SCATTER) ** 2 / 2 + (values[1] / TILT) ** 2 / 2
    return (predicted - counts * np.log(predicted)).sum() + log_prior


@pytest.mark.parametrize("counts", [[1100, 560, 260, 80, 20], [0, 0, 0, 0, 0], [1, 0, 2, 0, 0]])
def test_norm_is_posterior_maximum(counts):
    """Estimate and covariance are those of a general minimiser and of the numerical curvature."""
    counts, expected = np.array(counts), EXPECTED / (1 if sum(counts) > 100 else 300)
    found = fit_norm(counts, expected, ENERGY, SCATTER, TILT, REFERENCE)
    best = minimize(objective, [0.0, 0.0], (counts, expected), method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12})
    step = 1e-3
    curvature = np.empty((2, 2))
    for i, di in enumerate(np.eye(2) * step):
        for j, dj in enumerate(np.eye(2) * step):
            signs = ((di + dj, 1), (di - dj, -1), (-di + dj, -1), (-di - dj, 1))
            curvature[i, j] = sum(sign * objective(best.x + at, counts, expected) for at, sign in signs) / (4 * step**2)
    covariance = np.linalg.inv(curvature)
    errors = np.sqrt(np.diag(covariance))
    assert [found.norm_error, found.tilt_error] == pytest.approx(errors, rel=1e-4)
    assert found.correlation == pytest.approx(covariance[0, 1] / np.prod(errors), rel=1e-3)
    assert found.norm == pytest.approx(np.exp(best.x[0] + covariance[0, 0] / 2), rel=1e-5)
    assert found.tilt == pytest.approx(best.x[1] + covariance[0, 1], rel=1e-4, abs=1e-6)
    assert (found.counts, found.expected) == (counts.sum(), pytest.approx(expected.sum()))
    at = np.array([0.5, 3.0, 40.0])
    x = -np.log(at / REFERENCE)
    np.testing.assert_allclose(found.factor(at), found.norm * np.exp(found.tilt * x))
    design = np.stack([np.ones(3), x], axis=1)
    np.testing.assert_allclose(found.covariance(at), design @ covariance @ design.T, rtol=1e-3)


def test_without_counts_norm_is_one():
    """Without expected counts the mean norm is 1, and its error the scatter."""
    found = fit_norm(np.zeros(5, dtype=int), np.zeros(5), ENERGY, SCATTER, TILT, REFERENCE)
    values = (found.norm, found.norm_error, found.tilt, found.tilt_error, found.correlation)
    assert values == pytest.approx((1, SCATTER, 0, TILT, 0), abs=1e-12)


def test_many_counts_decide_the_norm():
    """Norm and tilt of a run with many counts are recovered, whatever the scatter; without tilt only the norm."""
    true = 1e4 * EXPECTED * 3.0 * (ENERGY / REFERENCE) ** -0.4
    found = fit_norm(np.round(true).astype(int), 1e4 * EXPECTED, ENERGY, SCATTER, TILT, REFERENCE)
    assert (found.norm, found.tilt) == pytest.approx((3.0, 0.4), rel=2e-3)
    fixed = fit_norm(np.array([33]), np.array([11.0]), ENERGY[:1], 9.0, 0.0, REFERENCE)
    assert (fixed.norm, fixed.norm_error) == pytest.approx((np.exp(np.log(3) + 1 / 66), 33**-0.5), rel=0.05)
    assert (fixed.tilt, fixed.tilt_error, fixed.correlation) == (0, 0, 0)


@pytest.mark.parametrize("n_expected", [4.0, 60.0, 3000.0])
def test_errors_cover_true_norms(n_expected):
    """Intervals of 68 and 95 % of the expected counts in an energy bin contain the true value as often, for any counts."""
    rng = np.random.default_rng(11)
    expected = EXPECTED * n_expected / EXPECTED.sum()
    x, pulls, norms = -np.log(ENERGY / REFERENCE), [], []
    for _ in range(3000):
        log_norm, tilt = rng.normal(-(SCATTER**2) / 2, SCATTER), rng.normal(0, TILT)
        true = log_norm + tilt * x
        found = fit_norm(rng.poisson(expected * np.exp(true)), expected, ENERGY, SCATTER, TILT, REFERENCE)
        variance = np.diag(found.covariance(ENERGY))
        pulls.append((true - np.log(found.factor(ENERGY)) + variance[0] / 2)[0] / variance[0] ** 0.5)
        norms.append((np.exp(log_norm), found.norm))
    for level in (0.68, 0.95):
        limit = normal.ppf((1 + level) / 2)
        assert np.mean(np.abs(pulls) < limit) == pytest.approx(level, abs=0.03)
    true_norms, means = np.transpose(norms)
    assert np.mean(means - true_norms) == pytest.approx(0, abs=4 * np.std(means - true_norms) / 3000**0.5)
    assert np.std(means - true_norms) < np.std(1 - true_norms)  # counts always help
