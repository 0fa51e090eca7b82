"""Sums of observed and predicted counts over runs, energies and parts of the field of view."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from scipy import stats

from bgnb._util.arrays import Bools, Floats, Ints, quotient
from bgnb._util.outliers import Deviations, deviations
from bgnb.cubes.poisson_statistics import deviance, deviance_moments, significance
from bgnb.validation.result import Validation

Norm = Literal["free", "fixed"]

#: Minimum predicted counts of a bin of the map, and of a bin whose residual is shown.
MIN_MAP, MIN_BIN = 5.0, 1.0
#: Edges of the bins in which significances are counted; the first and the last bin contain all beyond.
SIGNIFICANCES = np.linspace(-5, 5, 41)
# The bins of the map are wide enough that at most this fraction of them has fewer predicted counts.
_MAX_EMPTY = 0.1
_SEED = 0  # of the random numbers in significances


@dataclass(frozen=True, eq=False, kw_only=True)
class Ratios:
    """Observed over predicted counts.

    Parameters
    ----------
    counts, expected : ndarray
        Observed and predicted counts.
    """

    counts: Floats
    expected: Floats

    @cached_property
    def ratio(self) -> Floats:
        """Observed over predicted counts; NaN with fewer predicted counts than `MIN_BIN`."""
        return np.where(self.expected >= MIN_BIN, quotient(self.counts, self.expected), np.nan)

    @cached_property
    def error(self) -> Floats:
        """Expected standard deviation of the ratio from counting statistics."""
        return np.where(self.expected >= MIN_BIN, quotient(1.0, np.sqrt(self.expected)), np.nan)


@dataclass(frozen=True, eq=False, kw_only=True)
class Residuals(Ratios):
    """Observed against predicted counts in bins of a quantity, with the given edges."""

    edges: Floats

    @property
    def residual(self) -> Floats:
        """Observed over predicted counts − 1."""
        return self.ratio - 1

    @property
    def sigmas(self) -> Floats:
        """Residual over its error."""
        return self.residual / self.error


@dataclass(frozen=True, eq=False, kw_only=True)
class FieldMap:
    """Observed against predicted counts in bins of the field of view.

    Parameters
    ----------
    x_edges, y_edges : ndarray
        Edges of the bins in DETX and DETY, deg.
    counts, expected : ndarray, shape (y, x)
        Observed and predicted counts.
    compared : ndarray of bool, shape (y, x)
        Bins that contain pixels within the maximum offset.
    """

    x_edges: Floats
    y_edges: Floats
    counts: Floats
    expected: Floats
    compared: Bools

    @property
    def enough(self) -> Bools:
        """Bins with enough predicted counts."""
        return self.expected >= MIN_MAP

    @property
    def residual(self) -> Floats:
        """Observed over predicted counts − 1; NaN with too few predicted counts."""
        return np.where(self.enough, quotient(self.counts, self.expected) - 1, np.nan)

    @cached_property
    def significance(self) -> Floats:
        """Significance of the bins; NaN with too few predicted counts."""
        values = np.full(self.counts.shape, np.nan)
        counts, expected = self.counts[self.enough], self.expected[self.enough]
        values[self.enough] = significance(np.rint(counts).astype(np.int64), expected, np.random.default_rng(_SEED))
        return values


class RunRatios(Ratios):
    """Observed over predicted counts of each run, without a free norm."""

    @property
    def known(self) -> Bools:
        """Runs with a ratio."""
        return np.isfinite(self.ratio)

    @cached_property
    def deviations(self) -> Deviations:
        """Deviations of the ratios from their median, and the runs that stand out."""
        return deviations(self.ratio, self.error)


@dataclass(frozen=True, kw_only=True)
class Goodness:
    """Deviance of bins over its expectation, and mean and width of their significances.

    Parameters
    ----------
    ratio, ratio_error : float
        Deviance over its expectation, and its standard deviation if the prediction is true.
    n_bins : int
        Number of bins.
    mean, width : float
        Mean and standard deviation of the significances.
    expected_width, width_error : float
        Expected standard deviation and its error, if the prediction is true.
    histogram : ndarray of int
        Numbers of significances between `SIGNIFICANCES`.
    """

    ratio: float
    ratio_error: float
    n_bins: int
    mean: float
    width: float
    expected_width: float
    width_error: float
    histogram: Ints


class ComparedCounts:
    """Sums of the counts of a validation, for any runs and energies.

    Runs are selected by a mask, energies by a range of bins. With a free norm, the prediction of
    each run is scaled to its counts at all energies.

    Parameters
    ----------
    validation : `Validation`
        Observed and predicted counts.
    """

    def __init__(self, validation: Validation) -> None:
        self.validation, runs = validation, validation.runs
        self.obs_ids: Ints = np.array([run.obs_id for run in runs], dtype=np.int64)
        self.altitude: Floats = np.array([run.alt_pnt for run in runs])
        self.azimuth: Floats = np.array([run.az_pnt for run in runs]) % 360
        self._factors: Floats = np.array([run.factor for run in runs])
        both = [[np.where(run.used, each, 0.0).sum(axis=(1, 2)) for each in (run.counts, run.expected)] for run in runs]
        self._by_energy: Floats = np.array(both).swapaxes(0, 1)
        grid = validation.grid
        ring = np.clip(np.searchsorted(grid.offset_edges, grid.offset, side="right") - 1, 0, len(grid.offset_edges) - 2)
        self._rings = (ring.ravel()[:, None] == np.arange(len(grid.offset_edges) - 1)).astype(float)
        self._sums: dict[Norm, tuple[Floats, Ints]] = {}

    @property
    def edges(self) -> Floats:
        """Edges of the energy bins, TeV."""
        return np.asarray(self.validation.grid.axes.energy.value)

    def _scale(self, norm: Norm) -> Floats:
        return self._factors if norm == "free" else np.ones(len(self._factors))

    def runs(self, energies: slice) -> RunRatios:
        """Sum the counts of each run."""
        counts, expected = (sums[:, energies].sum(axis=1) for sums in self._by_energy)
        return RunRatios(counts=counts, expected=expected)

    def by_energy(self, runs: Bools, norm: Norm) -> Residuals:
        """Sum the counts of runs in energy bins."""
        counts, expected = self._by_energy
        return Residuals(edges=self.edges, counts=counts[runs].sum(axis=0), expected=self._scale(norm)[runs] @ expected[runs])

    def by_offset(self, runs: Bools, energies: slice, norm: Norm) -> Residuals:
        """Sum the counts of runs in bins of the offset."""
        counts, expected = (plane.ravel() @ self._rings for plane in self._planes(runs, energies, norm))
        return Residuals(edges=self.validation.grid.offset_edges, counts=counts, expected=expected)

    def _planes(self, runs: Bools, energies: slice, norm: Norm) -> tuple[Floats, Floats]:
        """Sum observed and predicted counts of runs over energies."""
        counts, expected = np.zeros((2, *self.validation.grid.axes.shape[1:]))
        for i in np.flatnonzero(runs).tolist():
            run = self.validation.runs[i]
            used = run.used[energies]
            counts += np.where(used, run.counts[energies], 0.0).sum(axis=0)
            expected += self._scale(norm)[i] * np.where(used, run.expected[energies], 0.0).sum(axis=0)
        return counts, expected

    def field_map(self, runs: Bools, energies: slice, norm: Norm) -> FieldMap:
        """Sum the counts of runs in bins of the field of view, as narrow as the predicted counts permit."""
        planes, grid = self._planes(runs, energies, norm), self.validation.grid
        within = (grid.offset <= grid.offset_max).astype(float)
        n_y, n_x = within.shape
        for width in range(1, max(n_y, n_x) + 1):
            y, x = _merged(n_y, width), _merged(n_x, width)
            counts, expected, compared = (
                np.add.reduceat(np.add.reduceat(plane, y[:-1], axis=0), x[:-1], axis=1) for plane in (*planes, within)
            )
            if np.mean(expected[compared > 0] < MIN_MAP) <= _MAX_EMPTY:
                break
        edges = {"x_edges": grid.axes.detx.value[x], "y_edges": grid.axes.dety.value[y]}
        return FieldMap(**edges, counts=counts, expected=expected, compared=compared > 0)

    def _bins(self, norm: Norm) -> tuple[Floats, Ints]:
        """Sum over the bins of each run at each energy, when it is needed first.

        Returns
        -------
        sums : ndarray, shape (6, n_runs, n_energies)
            Deviance, its expectation, and its variance; number of bins, sum of their significances, and of the squares.
        histograms : ndarray of int, shape (n_runs, n_energies, n)
            Numbers of significances between `SIGNIFICANCES`.
        """
        if norm not in self._sums:
            values = self.validation.fit(norm == "free").significance["cube of each run"]  # in the order of the loops
            shape, stop = (len(self.obs_ids), len(self.edges) - 1), 0
            sums, histograms = np.zeros((6, *shape)), np.zeros((*shape, len(SIGNIFICANCES) - 1), dtype=np.int64)
            for i, (run, scale) in enumerate(zip(self.validation.runs, self._scale(norm), strict=True)):
                for j, bins in enumerate(run.possible & (scale > 0)):
                    counts, expected = run.counts[j][bins], scale * run.expected[j][bins]
                    start, stop = stop, stop + len(counts)
                    found = values[start:stop]
                    terms = deviance(counts, expected), *deviance_moments(expected), np.ones(len(found)), found, found**2
                    sums[:, i, j] = np.sum(terms, axis=1)
                    histograms[i, j], _ = np.histogram(np.clip(found, *SIGNIFICANCES[[0, -1]]), SIGNIFICANCES)
            self._sums[norm] = sums, histograms
        return self._sums[norm]

    def _norms(self, runs: Bools, energies: slice) -> Floats:
        """Return the part of the degree of freedom of the norm of each run that the counts at these energies determine."""
        expected = self._by_energy[1][runs]
        parts = quotient(expected[:, energies].sum(axis=1), expected.sum(axis=1), 0.0)
        return np.where(self._factors[runs] > 0, parts, 0.0)

    def _deviances(self, runs: Bools, energies: slice, norm: Norm) -> tuple[Floats, Floats, Floats]:
        """Sum the deviance of each run, its expectation, and its variance."""
        total, mean, variance = self._bins(norm)[0][:3, runs, energies].sum(axis=2)
        return total, mean - self._norms(runs, energies) * (norm == "free"), variance

    def run_deviances(self, runs: Bools, energies: slice, norm: Norm) -> tuple[Floats, Floats, Floats]:
        """Compute the deviance of each run: excess in standard deviations, ratio to its expectation, error of the ratio."""
        total, mean, variance = self._deviances(runs, energies, norm)
        return quotient(total - mean, np.sqrt(variance)), quotient(total, mean), quotient(np.sqrt(variance), mean)

    def goodness(self, runs: Bools, energies: slice, norm: Norm) -> Goodness:
        """Compute the goodness of fit of the bins of each run, as `Validation.fit` does for all energies."""
        total, mean, variance = (sums.sum() for sums in self._deviances(runs, energies, norm))
        sums, histograms = self._bins(norm)
        number, linear, squares = sums[3:, runs, energies].sum(axis=(1, 2)).tolist()
        n_bins = int(number)
        n_norms = float(self._norms(runs, energies).sum()) if norm == "free" else 1.0
        several = n_bins > 1
        return Goodness(
            ratio=float(total / mean) if mean > 0 else math.nan,
            ratio_error=math.sqrt(variance) / float(mean) if mean > 0 else math.nan,
            n_bins=n_bins,
            mean=linear / n_bins if n_bins else math.nan,
            width=math.sqrt(max(squares - linear**2 / n_bins, 0.0) / (n_bins - 1)) if several else math.nan,
            expected_width=math.sqrt(max(n_bins - max(n_norms, 1.0), 0) / (n_bins - 1)) if several else math.nan,
            width_error=1 / math.sqrt(2 * (n_bins - 1)) if several else math.nan,
            histogram=histograms[runs, energies].sum(axis=(0, 1)),
        )


def largest_by_chance(number: int) -> float:
    """Compute the median of the largest of absolute values that are normally distributed.

    >>> round(largest_by_chance(100), 2)
    2.7
    """
    return float(stats.norm.isf((1 - 0.5 ** (1 / number)) / 2))


def _merged(number: int, width: int) -> Ints:
    """Divide bins into parts of about a width, symmetric about the centre; return the first bin of each, and the end."""
    return np.rint(np.linspace(0, number, max(number // width, 1) + 1)).astype(np.int64)
