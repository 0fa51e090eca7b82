"""Stretches, limits and ticks of colours."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import LogNorm, Normalize, PowerNorm

from bgnb.plots.colours import Colours, choose_limits, choose_ticks, line_colours, palette


@pytest.mark.parametrize(
    ("stretch", "norm"),
    [("linear", Normalize(0.5, 40)), ("log", LogNorm(0.5, 40)), ("sqrt", PowerNorm(0.5, 0.5, 40))],
)
def test_stretches_match_matplotlib(stretch, norm):
    """Each stretch scales values like the norm of Matplotlib."""
    values = np.linspace(0.5, 40, 37)
    colours = Colours("viridis", stretch, 0.5, 40)
    np.testing.assert_allclose(colours.scale(values), norm(values), atol=1e-12)
    np.testing.assert_array_equal(colours.codes(values), np.rint(254 * np.asarray(norm(values))))
    assert colours.codes([0.1, 50, np.nan]).tolist() == [0, 254, 255]
    assert colours.codes([0.0, -1.0]).tolist() == ([255, 255] if stretch == "log" else [0, 0])
    for code, label in colours.ticks():
        assert colours.scale(float(label.replace("−", "-"))) * 254 == pytest.approx(code, abs=1e-6)


@pytest.mark.parametrize("stretch", ["linear", "log", "sqrt"])
def test_diverging_colours_are_symmetric(stretch):
    """The neutral value is white, and equal distances from it have opposite colours."""
    ratio = Colours("diverging", stretch, *choose_limits(np.array([0.5, 2.0, np.nan]), stretch, 100, 1.0), 1.0)
    pull = Colours("diverging", stretch, *choose_limits(np.array([-3.0, 1.0]), stretch, 100, 0.0), 0.0)
    assert ratio.codes([1.0]) == pull.codes([0.0]) == 127
    assert palette("diverging")[127] == "#f7f7f7"
    assert (pull.low, pull.high) == (-3, 3)
    codes = pull.codes([-3, -2, -0.5, 0.5, 2, 3]).astype(int)
    np.testing.assert_array_equal(codes + codes[::-1], 254)
    assert np.all(np.diff(codes) > 0)
    if stretch == "log":
        assert (ratio.low, ratio.high) == pytest.approx((0.5, 2))
        assert ratio.codes([0.5, 2]).tolist() == [0, 254]
    else:
        assert (ratio.low, ratio.high) == pytest.approx((0, 2))
    assert ratio.codes([np.nan]) == 255


def test_limits_exclude_equal_percentages():
    """Percentile limits exclude the same percentage at both ends, and always differ."""
    values = np.append(np.arange(1001.0), np.nan)
    assert choose_limits(values, "linear", 100) == (0, 1000)
    assert choose_limits(values, "linear", 90) == (50, 950)
    assert choose_limits(values, "log", 100) == (1, 1000)
    assert choose_limits(values - 500, "linear", 80, 0.0) == (-400, 400)
    for constant in (np.full(4, 7.0), np.zeros(3), np.full(2, np.nan), np.full(2, -1.0)):
        for stretch in ("linear", "log", "sqrt"):
            low, high = choose_limits(constant, stretch, 98)
            assert np.isfinite([low, high]).all()
            assert low < high
            assert stretch != "log" or low > 0


@pytest.mark.parametrize("stretch", ["linear", "log", "sqrt"])
@pytest.mark.parametrize("value", [1.789, 7e-5, 3e9, -2.0])
def test_constant_values_have_middle_colour(stretch, value):
    """Values that are equal apart from rounding have the colour in the middle of a narrow scale, with round ticks."""
    if value < 0 and stretch == "log":
        return
    values = value * (1 + 1e-4 * np.linspace(-1, 1, 9))
    colours = Colours("viridis", stretch, *choose_limits(values, stretch, 100))
    assert set(colours.codes(values).tolist()) <= {126, 127, 128}
    assert 0.1 < (colours.high - colours.low) / abs(value) < 0.5
    assert all(len(label.lstrip("−").split()[0]) <= 4 for _, label in colours.ticks())
    ratio = choose_limits(1 + 1e-4 * np.array([-1, 0.5, 1]), stretch, 100, 1.0)
    assert ratio == pytest.approx((0.9, 1.1), abs=0.006)


def test_limits_far_apart():
    """A logarithmic scale over all orders of magnitude does not overflow."""
    low, middle, high = Colours("viridis", "log", 1e-300, 1e100).scale([1e-300, 1e-100, 1e100]).tolist()
    assert (low, middle, high) == pytest.approx((0, 0.5, 1))


def test_small_differences_are_shown():
    """Differences of a thousandth are not hidden, neither of values nor of ratios."""
    assert choose_limits(np.array([2.0, 2.002]), "linear", 100) == (2.0, 2.002)
    assert choose_limits(np.array([1.0, 1.001]), "linear", 100, 1.0) == pytest.approx((0.999, 1.001))


@pytest.mark.parametrize(
    ("low", "high", "log", "values"),
    [
        (2, 4, True, [2, 3, 4]), (0.6, 6, True, [1, 2, 5]), (0.6, 20, True, [1, 3, 10]), (0.05, 2.1, True, [1, 2]),
        (1, 3, False, [1, 2, 3]), (0, 40, False, [0, 10, 20, 30, 40]), (0.9, 1.1, True, [1]), (1.2, 1.3, True, None),
    ],
)  # fmt: skip
def test_ticks_of_counts_are_whole(low, high, log, values):
    """Ticks of counts are whole numbers, except where the scale contains none."""
    ticks = Colours("viridis", "log" if log else "linear", low, high, whole=True).levels()
    assert ticks == values if values else len(ticks) > 1


@given(low=st.floats(-1e3, 1e3), width=st.floats(1e-6, 1e6), log=st.booleans())
def test_ticks_lie_within_limits(low, width, log):
    """There are 2 to 25 ticks, all within the limits."""
    low = 10 ** (low / 100) if log else low
    high = low * (1 + width) if log else low + width
    values = choose_ticks(low, high, log=log)
    assert 2 <= len(values) <= 25
    margin = 1e-6 * (high - low)
    assert all(low - margin <= value <= high + margin for value in values)


@pytest.mark.parametrize(
    ("low", "high", "number", "values"),
    [
        (-4.04, 4.04, 5, [-4, -2, 0, 2, 4]),
        (-4.04, 4.04, 9, [-4, -3, -2, -1, 0, 1, 2, 3, 4]),
        (0, 1.7e-4, 7, [0, 5e-5, 1e-4, 1.5e-4]),
        (0.9, 1.1, 7, [0.9, 0.95, 1, 1.05, 1.1]),
    ],
)
def test_linear_ticks_are_round(low, high, number, values):
    """Ticks are multiples of 1, 2 or 5 times a power of ten, as many as permitted."""
    assert choose_ticks(low, high, log=False, number=number) == pytest.approx(values)


def test_log_ticks_are_round():
    """Ticks of a logarithmic axis are powers of ten; of a short one 3, or 2 and 5, times powers of ten as well."""
    assert choose_ticks(2e-5, 3e-3, log=True) == [3e-5, 1e-4, 3e-4, 1e-3, 3e-3]
    assert choose_ticks(0.2, 1.1, log=True) == [0.2, 0.5, 1]
    assert choose_ticks(3e-8, 1.2e-3, log=True, number=5) == [1e-7, 1e-6, 1e-5, 1e-4, 1e-3]
    assert choose_ticks(1e-9, 1e9, log=True) == [1e-9, 1e-6, 1e-3, 1, 1e3, 1e6, 1e9]


def test_bars_share_power_of_ten():
    """The labels of a linear colour bar are divided by a common power of ten; those of a logarithmic one are not."""
    rate = Colours("viridis", "linear", 0, 1.7e-4)
    assert (rate.power, [label for _, label in rate.ticks()]) == (-4, ["0", "0.5", "1", "1.5"])
    logarithmic = Colours("viridis", "log", 2e-5, 1.7e-2)
    assert (logarithmic.power, [label for _, label in logarithmic.ticks()]) == (0, ["10⁻⁴", "10⁻³", "10⁻²"])
    difference = Colours("diverging", "log", -3e-7, 3e-7, 0.0)
    assert (difference.power, [label for _, label in difference.ticks()]) == (-7, ["−3", "−0.3", "0", "0.3", "3"])


def test_colour_bar_labels_are_distinct():
    """Labels have enough digits to distinguish the ticks of narrow limits."""
    for colours in (Colours("viridis", "linear", 10000, 10050), Colours("diverging", "log", 0.9998, 1.0002, 1.0)):
        labels = [label for _, label in colours.ticks()]
        assert len(set(labels)) == len(labels) >= 3


def test_diverging_ticks_are_round():
    """Ticks of diverging colours are round and include the neutral value."""
    for low, high, neutral, labels in ((0.77, 1.23, 1.0, "0.8 0.9 1 1.1 1.2"), (-3.1, 3.1, 0.0, "−3 −2 −1 0 1 2 3")):
        ticks = Colours("diverging", "linear", low, high, neutral).ticks()
        assert " ".join(label for _, label in ticks) == labels
        assert ticks[len(ticks) // 2][0] == pytest.approx(127)


def test_line_colours_are_distinct():
    """Any number of lines has distinct colours."""
    for number in (1, 6, 7, 28):
        assert len(set(line_colours(number))) == number
    assert line_colours(7)[0] == palette("viridis")[0]  # colours of many lines are ordered


@pytest.mark.parametrize("stretch", ["linear", "sqrt"])
def test_small_differences_have_colours(stretch):
    """Limits follow differences of rates however small they are, as rates at high energies are; equal models have some."""
    assert choose_limits(np.array([1e-10, -3e-10]), stretch, 100, 0.0) == (-3e-10, 3e-10)
    assert choose_limits(np.zeros(2), stretch, 100, 0.0) == (-1, 1)
