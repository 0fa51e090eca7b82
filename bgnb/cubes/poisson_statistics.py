"""Poisson statistics of observed and expected counts."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.special import gammaln, kl_div, ndtri, pdtr, pdtrc, xlogy

from bgnb._util.arrays import Floats

# Range of expected counts in which the moments of the deviance are tabulated; approximations are used outside.
_TABLE = (1e-3, 200.0)
# Minimum probability that is computed reliably.
_MIN_PROBABILITY = 1e-300


def deviance(counts: NDArray[np.int64] | Floats, expected: Floats) -> Floats:
    """Compute the Poisson deviance 2 · (n ln(n/μ) − n + μ) of each bin; infinite if n > 0 and μ = 0.

    >>> deviance(np.array([0, 3]), np.array([2.0, 3.0]))
    array([4., 0.])
    """
    return 2 * np.maximum(kl_div(counts, expected), 0.0)  # rounding may give slightly negative values


def deviance_moments(expected: Floats) -> tuple[Floats, Floats]:
    """Compute the mean and variance of the deviance of each bin, if counts are drawn from the expectation.

    They are summed over the Poisson distribution and tabulated; asymptotically they are
    1 + 1/(6μ) and 2 + 2/(3μ). For few expected counts, the deviance divided by the degrees of
    freedom is not a valid measure of the goodness of fit.
    """
    low, high = _TABLE
    expected = np.maximum(expected, 1e-300)
    # For μ → 0 there is one count with probability μ and deviance −2 ln μ − 2, else none with deviance 2μ.
    mean_few = -2 * expected * np.log(expected)
    var_few = expected * (2 * np.log(expected) + 2) ** 2 - mean_few**2
    mean_many, var_many = 1 + 1 / (6 * expected), 2 + 2 / (3 * expected)
    mean, variance = (curve(np.log(np.clip(expected, low, high))) for curve in _moment_curves())
    few_many = [expected < low, expected > high]
    return np.select(few_many, [mean_few, mean_many], mean), np.select(few_many, [var_few, var_many], variance)


@cache
@np.errstate(under="ignore")
def _moment_curves() -> tuple[CubicSpline, CubicSpline]:
    grid = np.geomspace(*_TABLE, 400)
    counts = np.arange(int(_TABLE[1] + 12 * np.sqrt(_TABLE[1]) + 20))
    probability = _probability(counts[None], grid[:, None])
    values = deviance(counts[None], grid[:, None])
    mean = (probability * values).sum(axis=1)
    variance = (probability * values**2).sum(axis=1) - mean**2
    return CubicSpline(np.log(grid), mean), CubicSpline(np.log(grid), variance)


@np.errstate(under="ignore")
def _probability(counts: NDArray[np.int64], expected: Floats) -> Floats:
    """Compute the Poisson probability, as `scipy.stats.poisson` does, which takes long to import."""
    return np.exp(xlogy(counts, expected) - gammaln(counts + 1) - expected)


def significance(counts: NDArray[np.int64], expected: Floats, rng: np.random.Generator) -> Floats:
    """Compute the significance of each bin, which is normally distributed if counts are drawn from the expectation.

    These are randomised quantile residuals (Dunn and Smyth 1996, J. Comp. Graph. Stat. 5, 236):
    normal quantiles of the probability of fewer counts, plus a random fraction of the
    probability of the same number of counts. For many counts this is the significance of Li
    and Ma with a known background, the signed square root of the deviance; for few counts the
    latter has neither mean 0 nor width 1.

    Parameters
    ----------
    counts, expected : ndarray
        Observed and expected counts; the latter above zero.
    rng : `numpy.random.Generator`
        Generator of the random fractions.
    """
    fewer, more = np.where(counts > 0, pdtr(np.maximum(counts - 1, 0), expected), 0.0), pdtrc(counts, expected)
    part = rng.uniform(size=np.shape(counts))
    same = _probability(counts, expected)
    below, above = fewer + part * same, more + (1 - part) * same
    # The smaller tail is used to avoid rounding errors; its probability underflows beyond a significance of 37.
    near = np.where(below < above, ndtri(np.maximum(below, _MIN_PROBABILITY)), -ndtri(np.maximum(above, _MIN_PROBABILITY)))
    far = np.sign(counts - expected) * np.sqrt(deviance(counts, expected))
    return np.where(np.minimum(below, above) > _MIN_PROBABILITY, near, far)
