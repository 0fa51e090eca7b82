"""Numbers, ticks and units, written as in a paper."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgnb.plots.labels import (
    axis_power,
    bin_label,
    energies_label,
    format_number,
    format_ticks,
    format_value,
    position_label,
    power_of_ten,
    with_power,
)
from tests.helpers.models import AXES

SUPERSCRIPTS = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹−", "-0123456789-")


def read_number(text):
    """Read a formatted number."""
    factor, _, tens = text.rpartition("10") if "×" in text or text.startswith(("10", "−10")) else (text, "", "")
    if not tens.translate(SUPERSCRIPTS).lstrip("-").isdigit() or tens.isascii():
        return float(text.replace("−", "-"))
    factor = factor.replace("×", "").strip().translate(SUPERSCRIPTS)
    return float(f"{factor or 1}e{tens.translate(SUPERSCRIPTS)}")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"), (1, "1"), (0.25, "0.25"), (-3.14159, "−3.14"), (150, "150"), (12345, "12300"), (99940, "99900"),
        (1.2e-4, "1.2 × 10⁻⁴"), (-3.21e-7, "−3.21 × 10⁻⁷"), (1e-4, "10⁻⁴"), (0.009999, "0.01"), (0.00994, "9.94 × 10⁻³"),
        (99960, "10⁵"), (2.5e12, "2.5 × 10¹²"), (1e-300, "10⁻³⁰⁰"), (math.nan, "–"), (math.inf, "–"),
    ],
)  # fmt: skip
def test_numbers_are_rounded(value, text):
    """Numbers below 0.01 and from 100 000 on, after rounding, have a power of ten."""
    assert format_number(value) == text


@given(st.floats(-1e30, 1e30).filter(lambda value: abs(value) > 1e-30), st.integers(2, 8))
def test_numbers_can_be_read(value, digits):
    """A formatted number is the value to as many digits as requested."""
    assert read_number(format_number(value, digits)) == pytest.approx(value, rel=0.51 * 10.0 ** (1 - digits))


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (1.23e-4, 2e-6, "(1.230 ± 0.020) × 10⁻⁴"), (-0.5, 0.00128, "−0.5000 ± 0.0013"), (0.001, 0.02, "0.001 ± 0.020"),
        (12345, 12.2, "12345 ± 12"), (12345, 1290, "12300 ± 1300"), (1.5e-4, 0.0, "1.5 × 10⁻⁴"), (1, math.nan, "1"),
        (math.nan, 1, "–"), (0.5, 1e-20, "0.5 ± 10⁻²⁰"), (0.9, 0.0999, "0.90 ± 0.10"),
    ],
)  # fmt: skip
def test_value_and_error_share_power(value, error, text):
    """A value and its error have a common power of ten and the same digits."""
    assert format_value(value, error) == text


def test_axes_have_common_power():
    """A linear axis needs a power of ten if all values are small, or one is large."""
    for low, high, power in (
        (0, 1.7e-4, -4),
        (-3e-7, 1e-9, -7),
        (0, 0.01, 0),
        (0, 99999, 0),
        (0, 1e5, 5),
        (0, 0, 0),
        (-1e6, 1, 6),
    ):
        assert axis_power(low, high) == power
    assert with_power("MeV⁻¹ s⁻¹", -4) == "10⁻⁴ MeV⁻¹ s⁻¹"
    assert with_power("rate / (MeV⁻¹ s⁻¹)", -4) == "rate / (10⁻⁴ MeV⁻¹ s⁻¹)"
    assert with_power("rate / (MeV⁻¹ s⁻¹)", 0) == "rate / (MeV⁻¹ s⁻¹)"
    assert with_power("livetime / h", 5) == "livetime / 10⁵ h"
    assert with_power("livetime / h", 0) == "livetime / h"
    assert with_power("", -12) == "10⁻¹²"
    assert power_of_ten(1) == "10"


def test_ticks_have_distinct_labels():
    """Labels at ticks are divided by the common power, and have as many digits as distinguish them."""
    assert format_ticks([0, 5e-5, 1e-4, 1.5e-4], -4) == ["0", "0.5", "1", "1.5"]
    assert format_ticks([100000, 100010, 100020], 5) == ["1", "1.0001", "1.0002"]
    assert format_ticks([10000, 10010]) == ["10000", "10010"]
    assert format_ticks([0.1, 1, 10, 100], log=True) == ["0.1", "1", "10", "100"]
    assert format_ticks([1e-3, 0.01, 0.1, 1, 10], log=True) == ["10⁻³", "10⁻²", "10⁻¹", "1", "10"]
    assert format_ticks([2e-5, 5e-5, 1e-4], log=True) == ["2 × 10⁻⁵", "5 × 10⁻⁵", "10⁻⁴"]


def test_ranges_and_positions():
    """Ranges of energies are joined, and positions have minus signs."""
    edges = [f"{edge:.3g}" for edge in AXES.energy.value]
    for bins, text in (
        ([0], f"{edges[0]} to {edges[1]} TeV"),
        ([1, 2, 3], f"{edges[1]} to {edges[4]} TeV"),
        ([0, 1, 4], f"{edges[0]} to {edges[2]} TeV and {edges[4]} to {edges[5]} TeV"),
        ([0, 2, 4], f"{edges[0]} to {edges[1]} TeV, {edges[2]} to {edges[3]} TeV and {edges[4]} to {edges[5]} TeV"),
    ):
        assert energies_label(AXES, np.isin(np.arange(5), bins)) == text
    assert position_label(-1.5, 0.25) == "(−1.5, 0.25) deg"
    x, y = AXES.detx_centers.value[0], AXES.dety_centers.value[-1]
    assert x < 0 < y
    assert bin_label(AXES, 6, 0) == f"DETX −{-x:.2f}°, DETY {y:.2f}°"
