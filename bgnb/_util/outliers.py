"""Deviations of values from their median, in units of their scatter and their own errors."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from bgnb._util.arrays import Bools, Floats

#: Number of standard deviations beyond which a value stands out.
STANDS_OUT = 3.5
# Minimum number of values of which the scatter is determined.
_MIN_VALUES = 5
# Standard deviation of a normal distribution, in units of its median absolute deviation.
_NORMAL_MAD = 1.4826


@dataclass(frozen=True, eq=False, kw_only=True)
class Deviations:
    """Deviations of values from their median.

    Parameters
    ----------
    median : float
        Median of the values; NaN if there are none.
    scatter : float
        Standard deviation of the values beyond their errors, from the median absolute deviation; NaN without values.
    sigmas : ndarray
        Deviations from the median in standard deviations: those of the scatter and of the error of each value. NaN
        where there is no value.
    """

    median: float
    scatter: float
    sigmas: Floats

    @property
    def stand_out(self) -> Bools:
        """Values further from the median than `STANDS_OUT`; there is none among less than five values."""
        return (np.abs(self.sigmas) > STANDS_OUT) & (np.count_nonzero(~np.isnan(self.sigmas)) >= _MIN_VALUES)


def deviations(values: Floats, errors: Floats) -> Deviations:
    """Compute the deviations of values from their median.

    Parameters
    ----------
    values, errors : ndarray
        Values, and their errors; NaN where there is none.

    Returns
    -------
    Deviations
        Median, scatter and deviations.
    """
    known = np.isfinite(values)
    if not known.any():
        return Deviations(median=math.nan, scatter=math.nan, sigmas=np.full(len(values), np.nan))
    median = float(np.median(values[known]))
    difference, variance = np.where(known, values, np.nan) - median, np.nan_to_num(errors) ** 2
    width = _NORMAL_MAD * float(np.median(np.abs(difference[known])))
    scatter = math.sqrt(max(width**2 - float(np.median(variance[known])), 0.0))
    rounding = max(1e-6 * abs(median), 1e-150)
    return Deviations(median=median, scatter=scatter, sigmas=difference / np.sqrt(scatter**2 + variance + rounding**2))
