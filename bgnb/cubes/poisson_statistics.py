"""Statistics of counts against what was expected of them."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.interpolate import CubicSpline
from scipy.special import kl_div

from bgnb._util.arrays import Floats

# The moments of the deviance are tabled in between; below, two terms are enough, above, the asymptotic series.
_TABLE = (1e-3, 200.0)
# The least probability that is believed.
_LEAST = 1e-300


def deviance(counts: NDArray[np.int64], expected: Floats) -> Floats:
    """Poisson deviance 2 · (n ln(n/μ) − n + μ) of each bin; infinite where counts fall where none are expected.

    >>> deviance(np.array([0, 3]), np.array([2.0, 3.0]))
    array([4., 0.])
    """
    return 2 * np.maximum(kl_div(counts, expected), 0.0)  # which rounding may leave a little below


def deviance_moments(expected: Floats) -> tuple[Floats, Floats]:
    """Mean and variance of the deviance of a bin, if its counts are drawn from what is expected.

    Summed over the Poisson distribution, and tabled; asymptotically 1 + 1/(6μ) and 2 + 2/(3μ).
    A deviance divided by its degrees of freedom misleads where few counts are expected.
    """
    low, high = _TABLE
    expected = np.maximum(expected, 1e-300)
    # For μ → 0: one is counted with probability μ, and the deviance is −2 ln μ − 2; else nothing, and it is 2μ.
    mean_few = -2 * expected * np.log(expected)
    var_few = expected * (2 * np.log(expected) + 2) ** 2 - mean_few**2
    mean_many, var_many = 1 + 1 / (6 * expected), 2 + 2 / (3 * expected)
    mean, variance = (curve(np.log(np.clip(expected, low, high))) for curve in _moment_curves())
    few_many = [expected < low, expected > high]
    return np.select(few_many, [mean_few, mean_many], mean), np.select(few_many, [var_few, var_many], variance)


@cache
def _moment_curves() -> tuple[CubicSpline, CubicSpline]:
    grid = np.geomspace(*_TABLE, 400)
    counts = np.arange(int(_TABLE[1] + 12 * np.sqrt(_TABLE[1]) + 20))
    probability = stats.poisson.pmf(counts[None], grid[:, None])
    values = deviance(counts[None], grid[:, None])
    mean = (probability * values).sum(axis=1)
    variance = (probability * values**2).sum(axis=1) - mean**2
    return CubicSpline(np.log(grid), mean), CubicSpline(np.log(grid), variance)


def significance(counts: NDArray[np.int64], expected: Floats, rng: np.random.Generator) -> Floats:
    """Significance of each bin as a normal deviate: exactly normal if counts are drawn from what is expected.

    Randomised quantile residuals (Dunn and Smyth 1996, J. Comp. Graph. Stat. 5, 236): the
    probability of fewer counts, plus a random part of that of just as many. For many counts
    this is the significance of Li and Ma with a known background, the signed root of the
    deviance; for few counts that one is neither centred nor of width 1.

    Parameters
    ----------
    counts, expected : ndarray
        Counts, and what was expected of them; above zero.
    rng : `numpy.random.Generator`
        For the random part.
    """
    fewer, most = stats.poisson.cdf(counts - 1, expected), stats.poisson.sf(counts, expected)
    part = rng.uniform(size=np.shape(counts))
    same = stats.poisson.pmf(counts, expected)
    below, above = fewer + part * same, most + (1 - part) * same
    # From the nearer tail, so that nothing is lost to rounding; beyond 37 the probability underflows.
    near = np.where(below < above, stats.norm.ppf(np.maximum(below, _LEAST)), stats.norm.isf(np.maximum(above, _LEAST)))
    far = np.sign(counts - expected) * np.sqrt(deviance(counts, expected))
    return np.where(np.minimum(below, above) > _LEAST, near, far)
