"""Deviations from the median, and values that stand out."""

import numpy as np

from bgnb._util.outliers import deviations


def test_outliers_are_far_from_median():
    """Values beyond 3.5 standard deviations are outliers, whatever their direction."""
    rng = np.random.default_rng(5)
    values = rng.normal(10, 2, 2001)
    values[:4] = 10 + 2 * np.array([4.2, -4.2, 3.0, -3.0])
    found = deviations(values, np.full(len(values), np.nan)).stand_out
    assert found[:4].tolist() == [True, True, False, False]
    assert found[4:].sum() < 5
    values[4] = np.nan
    assert not deviations(values, np.full(len(values), np.nan)).stand_out[4]


def test_errors_of_outliers_count():
    """A value with a large error is no outlier; constant values with errors have no scatter beyond these."""
    rng = np.random.default_rng(6)
    errors = np.full(1000, 0.5)
    errors[0] = errors[1] = 5.0
    values = 20 + errors * rng.standard_normal(1000)
    values[:3] = 30.0, 45.0, 22.6
    found = deviations(values, errors).stand_out
    assert found[:3].tolist() == [False, True, True]
    assert found[3:].sum() < 5


def test_outliers_need_five_values():
    """There are no outliers among four values; equal values differ by rounding only."""
    none = np.full(6, np.nan)
    values = np.array([1.0, 1, 1, 1 + 1e-12, 9, np.nan])
    assert deviations(values, none).stand_out.tolist() == [False, False, False, False, True, False]
    assert not deviations(values[1:], none[1:]).stand_out.any()


def test_outliers_among_zeros():
    """Among values of zero without errors, every other value is an outlier; without values, there is none."""
    values = np.array([0.0, 0, 0, 0, 1e-3, np.nan, np.inf])
    found = deviations(values, np.full(7, np.nan))
    assert found.stand_out.tolist() == [False, False, False, False, True, False, False]
    assert np.isnan(found.sigmas[5:]).all()
    none = deviations(values[5:], np.zeros(2))
    assert np.isnan([none.median, none.scatter, *none.sigmas]).all()
    assert not none.stand_out.any()


def test_limits_agree_with_marks():
    """With equal errors, the values that stand out are those beyond the limits."""
    rng = np.random.default_rng(7)
    values, errors = rng.standard_t(3, 500) + 8, np.full(500, 0.7)
    found = deviations(values, errors)
    low, high = found.limits
    assert found.stand_out.any()
    np.testing.assert_array_equal(found.stand_out, (values < low) | (values > high))
