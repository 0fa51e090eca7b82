"""Sums of observed and predicted counts over runs, energies and parts of the field of view."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import numpy as np
from scipy import stats

from bgnb._util.arrays import Bools, Floats, Ints, quotient
from bgnb.cubes.poisson_statistics import deviance, deviance_moments, significance
from bgnb.validation.result import Validation

Norm = Literal["free", "fixed"]

#: Significance beyond which a run stands out from the others.
STANDS_OUT = 3.5
#: Minimum predicted counts of a bin of the map, and of a bin whose residual is shown.
MIN_MAP, MIN_BIN = 5.0, 1.0
# Minimum number of runs, of which the scatter is determined.
_MIN_RUNS = 5
# The bins of the map are wide enough that at most this fraction of them has fewer predicted counts.
_MAX_EMPTY = 0.1
# Ratio of the standard deviation of a normal distribution to its median absolute deviation.
_MAD_TO_SIGMA = 1 / float(stats.norm.ppf(0.75))
_SEED = 0  # of the random numbers in significances


@dataclass(frozen=True, eq=False, kw_only=True)
class Residuals:
    """Observed against predicted counts in bins of a quantity.

    Parameters
    ----------
    edges : ndarray
        Edges of the bins.
    counts, expected : ndarray
        Observed and predicted counts.
    """

    edges: Floats
    counts: Floats
    expected: Floats

    @cached_property
    def residual(self) -> Floats:
        """Observed over predicted counts − 1; NaN with fewer predicted counts than `MIN_BIN`."""
        return np.where(self.expected >= MIN_BIN, quotient(self.counts, self.expected) - 1, np.nan)

    @cached_property
    def error(self) -> Floats:
        """Expected standard deviation of the residual from counting statistics."""
        return np.where(self.expected >= MIN_BIN, quotient(1.0, np.sqrt(self.expected)), np.nan)

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


@dataclass(frozen=True, eq=False, kw_only=True)
class RunRatios:
    """Observed over predicted counts of each run, without a free norm.

    Parameters
    ----------
    counts, expected : ndarray
        Observed and predicted counts of each run.
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

    @cached_property
    def median(self) -> float:
        """Median of the ratios; NaN if there are none."""
        return float(np.median(self.ratio[self.known])) if self.known.any() else math.nan

    @property
    def known(self) -> Bools:
        """Runs with a ratio."""
        return np.isfinite(self.ratio)

    @cached_property
    def scatter(self) -> float:
        """Standard deviation of the ratios beyond counting statistics, from the median absolute deviation."""
        if not self.known.any():
            return math.nan
        total = _MAD_TO_SIGMA * float(np.median(np.abs(self.ratio[self.known] - self.median)))
        return math.sqrt(max(total**2 - float(np.median(self.error[self.known] ** 2)), 0.0))

    @cached_property
    def sigmas(self) -> Floats:
        """Deviations from the median, in standard deviations: the scatter of the runs, and the error of the run."""
        return (self.ratio - self.median) / np.hypot(self.scatter, self.error)

    @property
    def stand_out(self) -> Bools:
        """Runs that stand out from the others; none if there are too few to determine the scatter."""
        return (np.abs(np.nan_to_num(self.sigmas)) > STANDS_OUT) & (self.known.sum() >= _MIN_RUNS)


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
    """

    ratio: float
    ratio_error: float
    n_bins: int
    mean: float
    width: float
    expected_width: float
    width_error: float


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
        self._counts: Floats = np.array([np.where(run.used, run.counts, 0.0) for run in runs])
        self._expected: Floats = np.array([np.where(run.used, run.expected, 0.0) for run in runs])
        self._factors: Floats = np.array([run.factor for run in runs])
        self._by_energy = [cubes.sum(axis=(2, 3)) for cubes in (self._counts, self._expected)]
        grid = validation.grid
        ring = np.clip(np.searchsorted(grid.offset_edges, grid.offset, side="right") - 1, 0, len(grid.offset_edges) - 2)
        self._rings = (ring.ravel()[:, None] == np.arange(len(grid.offset_edges) - 1)).astype(float)
        self._goodness = {norm: self._compute_goodness(norm) for norm in get_args(Norm)}

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
        counts, expected = (cubes[runs, energies].sum(axis=1) for cubes in (self._counts, self._expected))
        return counts.sum(axis=0), np.tensordot(self._scale(norm)[runs], expected, axes=1)

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

    def _compute_goodness(self, norm: Norm) -> tuple[Floats, Floats]:
        """Compute the significance of each bin of each run (NaN without one), and sums of the deviance in energy bins."""
        expected = self._expected * self._scale(norm)[:, None, None, None]
        bins = expected > 0
        sums = np.zeros((3, *bins.shape))
        sums[0][bins] = deviance(self._counts[bins], expected[bins])
        sums[1][bins], sums[2][bins] = deviance_moments(expected[bins])
        values = np.full(bins.shape, np.nan)
        values[bins] = self.validation.fit(norm == "free").significance["cube of each run"]
        return values, sums.sum(axis=(3, 4))

    def significances(self, runs: Bools, energies: slice, norm: Norm) -> Floats:
        """Return the significance of all bins, of energy and the field of view, of each run."""
        values = self._goodness[norm][0][runs, energies]
        return values[np.isfinite(values)]

    def _norms(self, runs: Bools, energies: slice) -> Floats:
        """Return the part of the degree of freedom of the norm of each run that the counts at these energies determine."""
        expected = self._by_energy[1][runs]
        parts = quotient(expected[:, energies].sum(axis=1), expected.sum(axis=1), 0.0)
        return np.where(self._factors[runs] > 0, parts, 0.0)

    def _deviances(self, runs: Bools, energies: slice, norm: Norm) -> tuple[Floats, Floats, Floats]:
        """Sum the deviance of each run, its expectation, and its variance."""
        total, mean, variance = self._goodness[norm][1][:, runs, energies].sum(axis=2)
        return total, mean - self._norms(runs, energies) * (norm == "free"), variance

    def run_deviances(self, runs: Bools, energies: slice, norm: Norm) -> tuple[Floats, Floats, Floats]:
        """Compute the deviance of each run: excess in standard deviations, ratio to its expectation, error of the ratio."""
        total, mean, variance = self._deviances(runs, energies, norm)
        return quotient(total - mean, np.sqrt(variance)), quotient(total, mean), quotient(np.sqrt(variance), mean)

    def goodness(self, runs: Bools, energies: slice, norm: Norm) -> Goodness:
        """Compute the goodness of fit of the bins of each run, as `Validation.fit` does for all energies."""
        total, mean, variance = (sums.sum() for sums in self._deviances(runs, energies, norm))
        values = self.significances(runs, energies, norm)
        n_bins = len(values)
        n_norms = float(self._norms(runs, energies).sum()) if norm == "free" else 1.0
        several = n_bins > 1
        return Goodness(
            ratio=float(total / mean) if mean > 0 else math.nan,
            ratio_error=math.sqrt(variance) / float(mean) if mean > 0 else math.nan,
            n_bins=n_bins,
            mean=float(values.mean()) if n_bins else math.nan,
            width=float(values.std(ddof=1)) if several else math.nan,
            expected_width=math.sqrt(max(n_bins - max(n_norms, 1.0), 0) / (n_bins - 1)) if several else math.nan,
            width_error=1 / math.sqrt(2 * (n_bins - 1)) if several else math.nan,
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
