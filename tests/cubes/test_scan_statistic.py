"""Scan statistic: significances against SciPy, and probabilities against simulations."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import binom, kstest, norm

from bgnb.cubes import scan_statistic
from bgnb.cubes.scan_statistic import Trend, as_windows, scan, successive_cells

# Cells of different lengths with a gap, and an expectation that is not constant.
EDGES = np.array([[0, 1], [1, 2], [2, 2.5], [2.5, 4], [6, 7], [7, 8], [8, 9], [9, 10.0]])
EXPECTED = np.array([5, 4, 2, 7, 3, 6, 1, 4.0])
VALUES = EDGES.mean(axis=1) / 5 - 1.3
WINDOWS = successive_cells(EDGES, 0.9, 4.1)
TRENDS = {"none": None, "free": Trend(values=VALUES), "random": Trend(values=VALUES, width=0.4)}


def drawn(rng, total, trend=None, model_counts=None):
    """Draw counts that agree with the expectation."""
    mean = EXPECTED.copy()
    if trend is not None:
        mean *= np.exp(rng.normal(0, trend.width or 0.5) * trend.values)
    if model_counts is not None:
        mean *= rng.gamma(model_counts) / model_counts
    return rng.poisson(mean * total / mean.sum())


def test_windows_span_allowed_widths():
    """Windows are all series of cells whose outer edges are a distance within the limits apart, gaps included."""
    found = {tuple(np.flatnonzero(row)) for row in WINDOWS.toarray()}
    every = {tuple(range(first, last + 1)) for first in range(8) for last in range(first, 8)}
    assert found == {cells for cells in every if 0.9 <= EDGES[cells[-1], 1] - EDGES[cells[0], 0] <= 4.1}
    assert (3, 4) not in found
    assert (4, 5, 6, 7) in found


def test_significance_matches_binomial(monkeypatch):
    """With a fitted norm, counts in a window are binomially distributed."""
    monkeypatch.setattr(scan_statistic, "N_DRAWS", 2)
    counts = np.array([5130, 3960, 2200, 6800, 3300, 5700, 900, 4100])
    found = scan(counts, EXPECTED, WINDOWS, np.random.default_rng(1))
    share = (WINDOWS @ EXPECTED) / EXPECTED.sum()
    inside = WINDOWS @ counts
    middle = (binom.cdf(inside, counts.sum(), share) + binom.cdf(inside - 1, counts.sum(), share)) / 2
    scanned = (share <= 0.5) & (middle > 1e-12) & (middle < 1 - 1e-12)
    assert scanned.sum() > 10
    np.testing.assert_allclose(found.significances[scanned], norm.ppf(middle[scanned]), rtol=0.03, atol=0.02)
    assert np.all(found.significances[share > 0.5] == 0)
    assert (found.counts, found.expected) == (inside[found.window], pytest.approx(share[found.window] * counts.sum()))
    assert abs(found.significance) == np.abs(found.significances).max()


@pytest.mark.parametrize("name", ["free", "random"])
def test_trend_is_most_likely(monkeypatch, name):
    """Norm and trend are those of a general minimiser."""
    monkeypatch.setattr(scan_statistic, "N_DRAWS", 2)
    trend = TRENDS[name]
    counts = np.array([9, 8, 3, 11, 2, 5, 0, 1])
    fitted = scan(counts, EXPECTED, WINDOWS, np.random.default_rng(1), trend=trend).fitted

    def objective(values):
        mean = EXPECTED * np.exp(values[0] + values[1] * VALUES)
        return (mean - counts * np.log(mean)).sum() + (0 if trend.width is None else (values[1] / trend.width) ** 2 / 2)

    best = minimize(objective, [0.0, 0.0], method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12}).x
    np.testing.assert_allclose(fitted, EXPECTED * np.exp(best[0] + best[1] * VALUES), rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", TRENDS)
@pytest.mark.parametrize("precise", [True, False])
def test_significances_have_width_one(monkeypatch, name, precise):
    """The significance of each window has mean 0 and width 1, with any trend and with an error of the expectation."""
    monkeypatch.setattr(scan_statistic, "N_DRAWS", 2)
    rng, model_counts = np.random.default_rng(3), None if precise else 60 * EXPECTED
    windows = as_windows([np.arange(i, j) for i in range(8) for j in range(i + 1, 9) if EXPECTED[i:j].sum() < 9], 8)
    sets = [drawn(rng, 3000, TRENDS[name], model_counts) for _ in range(1500)]
    options = {"trend": TRENDS[name], "model_counts": model_counts}
    found = np.array([scan(counts, EXPECTED, windows, rng, **options).significances for counts in sets])
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=0.12)
    np.testing.assert_allclose(found.std(axis=0), 1, atol=0.08)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "total", "model_counts", "excess_only"),
    [("none", 40, None, True), ("free", 300, None, False), ("random", 2000, 90 * EXPECTED, False), ("random", 40, None, False)],
)
def test_probabilities_are_uniform(name, total, model_counts, excess_only):
    """Counts that agree with the expectation have probabilities distributed uniformly from 0 to 1."""
    rng = np.random.default_rng(4)
    options = {"trend": TRENDS[name], "model_counts": model_counts, "excess_only": excess_only}
    sets = [drawn(rng, total, TRENDS[name], model_counts) for _ in range(400)]
    found = np.array([scan(counts, EXPECTED, WINDOWS, rng, **options).p_value for counts in sets])
    assert kstest(found, "uniform").pvalue > 1e-3
    assert np.mean(found < 0.05) == pytest.approx(0.05, abs=0.033)  # 3 standard deviations
    assert np.mean(found < 0.01) < 0.03


def test_deviation_is_found_in_its_window():
    """The window with a deficit is found; the largest excess is found if only an excess is sought."""
    counts = np.rint(EXPECTED * 100).astype(int)
    counts[[1, 2]] = [260, 130]
    counts[6] = 180
    found = scan(counts, EXPECTED, WINDOWS, np.random.default_rng(1))
    assert WINDOWS[[found.window]].indices.tolist() == [1, 2]
    assert (found.counts, np.sign(found.significance)) == (390, -1)
    assert found.p_value < 1e-8
    excess = scan(counts, EXPECTED, WINDOWS, np.random.default_rng(1), excess_only=True)
    assert WINDOWS[[excess.window]].indices.tolist() == [6]
    assert excess.counts == 180
    assert found.p_value < excess.p_value < 1e-6


def test_scan_without_counts():
    """Without counts, expected counts or windows there is no deviation; counts where none are expected are ignored."""
    rng, none = np.random.default_rng(1), np.zeros(8, dtype=int)
    for counts, expected, windows in (
        (none, EXPECTED, WINDOWS),
        (none + 3, 0 * EXPECTED, WINDOWS),
        (none + 3, EXPECTED, WINDOWS[:0]),
    ):
        for trend in (None, TRENDS["random"]):
            found = scan(counts, expected, windows, rng, trend=trend)
            assert (found.p_value, found.counts, found.expected) == (1, 0, 0)
            assert not found.significances.any()
    expected = np.where(np.arange(8) == 5, 0, EXPECTED)
    counts = np.rint(expected * 10).astype(int)
    counts[5] = 999
    assert scan(counts, expected, WINDOWS, rng).p_value > 0.5
