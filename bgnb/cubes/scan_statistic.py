"""Scan statistic: the largest deviation of counts from their expectation over many windows, and its probability."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from bgnb._util.arrays import Floats, Ints
from bgnb.cubes.poisson_statistics import deviance

#: Number of simulated sets of counts, to whose largest deviations a Gumbel distribution is fitted.
N_DRAWS = 500
# Maximum sizes of arrays of windows and draws: of those drawn at once, and of those tested at once, which fit into a cache.
_CHUNK, _PIECE = 4_000_000, 600_000
_STEPS, _MAX_STEP = 20, 1.0
# Windows with fewer expected counts are not scanned.
_MIN_EXPECTED = 1e-6


@dataclass(frozen=True, kw_only=True)
class Trend:
    """Free factor exp(b · values) of an expectation.

    Parameters
    ----------
    values : ndarray, shape (n_cells,)
        Value of each cell, such as its time, or the logarithm of its energy.
    width : float or None
        Standard deviation of b, which is normally distributed about 0; None if b can have any value.
    """

    values: Floats
    width: float | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Scan:
    """Result of `scan`.

    Parameters
    ----------
    p_value : float
        Probability of such a large deviation, in any window, of counts that agree with the expectation.
    window : int
        Index of the window with the largest deviation.
    significances : ndarray, shape (n_windows,)
        Deviation of each window in standard deviations, positive for an excess; 0 in windows that are not scanned.
    counts : int
        Observed counts in the window with the largest deviation.
    expected : float
        Expected counts there.
    fitted : ndarray, shape (n_cells,)
        Expected counts in each cell, with norm and trend fitted.
    """

    p_value: float
    window: int
    significances: Floats
    counts: int
    expected: float
    fitted: Floats

    @property
    def significance(self) -> float:
        """Largest deviation in standard deviations, positive for an excess."""
        return float(self.significances[self.window])


def as_windows(windows: Sequence[Ints], n_cells: int) -> csr_array:
    """Make windows from the indices of the cells in each.

    Returns
    -------
    csr_array, shape (n_windows, n_cells)
        1 for the cells of a window, else 0.
    """
    cells = np.concatenate([np.zeros(0, dtype=np.int64), *windows])
    return csr_array((np.ones(len(cells)), cells, np.cumsum([0, *map(len, windows)])), shape=(len(windows), n_cells))


def successive_cells(edges: Floats, minimum: float, maximum: float) -> csr_array:
    """Make windows of successive cells; see `as_windows`.

    Parameters
    ----------
    edges : ndarray, shape (n_cells, 2)
        Lower and upper edge of each cell, in increasing order.
    minimum, maximum : float
        Limits of the width of a window, between its outer edges.

    Examples
    --------
    >>> edges = np.array([[0.0, 1.0], [1.0, 2.0], [2.0, 4.0]])
    >>> successive_cells(edges, 1.5, 3.0).toarray().astype(int).tolist()
    [[1, 1, 0], [0, 1, 1], [0, 0, 1]]
    """
    width = edges[None, :, 1] - edges[:, None, 0]  # from the first to the last cell of a window
    tolerance = 1e-9 * (edges[-1, 1] - edges[0, 0])
    fits = (width >= minimum - tolerance) & (width <= maximum + tolerance) & np.tri(len(edges), dtype=bool).T
    return as_windows([np.arange(first, last + 1) for first, last in np.argwhere(fits)], len(edges))


def scan(
    counts: Ints,
    expected: Floats,
    windows: csr_array,
    rng: np.random.Generator,
    *,
    trend: Trend | None = None,
    model_counts: Floats | None = None,
    excess_only: bool = False,
) -> Scan:
    """Find the window with the largest deviation of counts from their expectation.

    The norm of the expectation, and a trend if there is one, are fitted to the counts. The significance of a window
    is the signed square root of its Poisson deviance, divided by the square root of its variance relative to that of
    Poisson counts, which the fit reduces, and the statistical error of the expectation increases. Windows with
    more than half of the expected counts are not scanned.

    The largest significance of all windows is compared with those of `N_DRAWS` sets of counts that are drawn from the
    fitted expectation, with a random trend if its width is known, and analysed in the same way. To half the square of
    these largest significances, a Gumbel distribution is fitted (Abrams et al. 2010, Int. J. Health Geogr. 9, 61).

    Parameters
    ----------
    counts : ndarray of int64, shape (n_cells,)
        Observed counts; those in cells without expected counts are ignored.
    expected : ndarray, shape (n_cells,)
        Expected counts, up to a factor.
    windows : csr_array, shape (n_windows, n_cells)
        Windows, see `as_windows`.
    rng : `numpy.random.Generator`
        Generator of the simulated counts.
    trend : Trend, optional
        A trend in which counts and expectation may differ.
    model_counts : ndarray, shape (n_cells,), optional
        Number of counts from which the expectation was derived in each cell, as a measure of its error; by default
        the expectation is exact.
    excess_only : bool
        Search for an excess only.

    Returns
    -------
    Scan
        With a probability of 1 if there are no counts, or no window with expected counts.
    """
    counts = np.where(expected > 0, counts, 0)
    variance = 1 / np.maximum(np.inf if model_counts is None else model_counts, 1.0)

    def in_windows(values: Floats) -> Floats:
        return np.asarray((windows @ values.T).T)

    def significances(sets: Floats) -> tuple[Floats, Floats]:
        """Return the significance of each window, and the fitted expectation, of sets of counts, shapes (sets, …)."""
        fitted, deviations, curvature = _fit(sets, expected, trend)
        total = np.maximum(sets.sum(axis=1, keepdims=True), 1.0)
        observed = in_windows(sets)
        mean = in_windows(fitted) if trend is not None else in_windows(expected) * (total / max(expected.sum(), 1e-300))
        scanned = (mean > _MIN_EXPECTED) & (mean <= total / 2) & sets.any(axis=1, keepdims=True)
        mean = np.where(scanned, mean, 1.0)
        # The deviation of a window is a sum over all cells, with weights 1 (in the window) − share − lever · deviations.
        share, lever = mean / total, np.zeros(1)
        of_window = 1 - share
        if trend is not None:
            lever = in_windows(fitted * deviations) / curvature[:, None]
            of_window -= lever**2 * curvature[:, None] / mean
        if model_counts is not None:
            error = fitted**2 * variance
            sums = [(error * deviations**power).sum(axis=1, keepdims=True) for power in range(3)]
            inside = in_windows(error) * (1 - 2 * share) - 2 * lever * in_windows(error * deviations)
            of_window += (inside + share**2 * sums[0] + 2 * share * lever * sums[1] + lever**2 * sums[2]) / mean
        size = np.sign(observed - mean) * np.sqrt(deviance(observed, mean) / np.maximum(of_window, 1e-3))
        return np.where(scanned, size, 0.0), fitted

    def sizes(significances: Floats) -> Floats:
        return np.maximum(significances, 0.0) if excess_only else np.abs(significances)

    (of_windows,), (fitted,) = significances(counts[None].astype(float))
    window = int(np.argmax(sizes(of_windows))) if len(of_windows) else 0
    if not np.any(sizes(of_windows)):
        return Scan(p_value=1.0, window=window, significances=of_windows, counts=0, expected=0.0, fitted=fitted)
    largest, chunk = [], max(_CHUNK // max(windows.shape), 1)
    for start in range(0, N_DRAWS, chunk):
        mean = np.repeat(fitted[None], min(chunk, N_DRAWS - start), axis=0)
        if trend is not None and trend.width is not None:
            mean = expected * np.exp(rng.normal(0, trend.width, (len(mean), 1)) * trend.values)
            mean *= counts.sum() / mean.sum(axis=1, keepdims=True)
        if model_counts is not None:
            mean = mean * rng.gamma(1 / variance, variance, mean.shape)
        drawn = rng.poisson(mean).astype(float)
        for piece in np.array_split(drawn, -(-len(drawn) * max(windows.shape) // _PIECE)):
            largest.append(sizes(significances(piece)[0]).max(axis=1))
    inside = windows.indices[windows.indptr[window] : windows.indptr[window + 1]]
    return Scan(
        p_value=_tail(of_windows[window] ** 2 / 2, np.concatenate(largest) ** 2 / 2),
        window=window,
        significances=of_windows,
        counts=int(counts[inside].sum()),
        expected=float(fitted[inside].sum()),
        fitted=fitted,
    )


def _fit(counts: Floats, expected: Floats, trend: Trend | None) -> tuple[Floats, Floats, Floats]:
    """Fit norm and trend of an expectation to sets of counts.

    Returns
    -------
    tuple of ndarray
        Fitted expectation, shape (sets, cells); deviation of the values of the trend from their mean, same shape; and
        curvature of the likelihood in b, shape (sets,).
    """
    total = counts.sum(axis=1, keepdims=True)
    if trend is None:
        fitted = expected * (total / max(expected.sum(), 1e-300))
        return fitted, np.zeros_like(fitted), np.ones(len(counts))
    precision = 1e-9 if trend.width is None else trend.width**-2
    values, slope = trend.values - trend.values.mean(), np.zeros((len(counts), 1))
    for _ in range(_STEPS):
        fitted = expected * np.exp(slope * values)
        fitted *= total / np.maximum(fitted.sum(axis=1, keepdims=True), 1e-300)
        deviations = values - (fitted @ values)[:, None] / np.maximum(total, 1.0)
        curvature = (fitted * deviations**2).sum(axis=1) + precision
        step = ((counts * deviations).sum(axis=1) - precision * slope[:, 0]) / curvature
        slope = slope + np.clip(step, -_MAX_STEP, _MAX_STEP)[:, None]
        if np.abs(step).max() < 1e-6:
            break
    return fitted, deviations, curvature


def _tail(value: float, sample: Floats) -> float:
    """Compute the probability of a value, or a larger one, in the Gumbel distribution with the moments of a sample."""
    scale = max(float(np.std(sample, ddof=1)) * np.sqrt(6) / np.pi, 1e-9)
    mode = float(np.mean(sample)) - np.euler_gamma * scale
    return float(-np.expm1(-np.exp(min((mode - value) / scale, 700.0))))
