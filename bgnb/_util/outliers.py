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
    width : float
        Standard deviation of a value with the median error, from the scatter and this error; NaN without values.
    sigmas : ndarray
        Deviations from the median in standard deviations: those of the scatter and of the error of each value. NaN
        where there is no value.
    """

    median: float
    scatter: float
    width: float
    sigmas: Floats

    @property
    def enough(self) -> bool:
        """There are enough values to say which of them stand out."""
        return bool(np.count_nonzero(~np.isnan(self.sigmas)) >= _MIN_VALUES)

    @property
    def limits(self) -> tuple[float, float]:
        """Values beyond which a value with the median error stands out."""
        return self.median - STANDS_OUT * self.width, self.median + STANDS_OUT * self.width

    @property
    def stand_out(self) -> Bools:
        """Values further from the median than `STANDS_OUT`; there is none among less than five values."""
        return (np.abs(self.sigmas) > STANDS_OUT) & self.enough


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
        return Deviations(median=math.nan, scatter=math.nan, width=math.nan, sigmas=np.full(len(values), np.nan))
    median = float(np.median(values[known]))
    difference, variance = np.where(known, values, np.nan) - median, np.nan_to_num(errors) ** 2
    total = _NORMAL_MAD * float(np.median(np.abs(difference[known])))
    error = math.sqrt(float(np.median(variance[known])))
    scatter = math.sqrt(max(total**2 - error**2, 0.0))
    rounding = max(1e-6 * abs(median), 1e-150)
    sigmas = difference / np.sqrt(scatter**2 + variance + rounding**2)
    return Deviations(median=median, scatter=scatter, width=max(total, error), sigmas=sigmas)
