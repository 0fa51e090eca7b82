"""Stretches, limits and ticks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import LogNorm, Normalize, PowerNorm

from bgnb.plots.colours import Colours, choose_limits, line_colours, palette, round_values


@pytest.mark.parametrize(
    ("stretch", "norm"),
    [("linear", Normalize(0.5, 40)), ("log", LogNorm(0.5, 40)), ("sqrt", PowerNorm(0.5, 0.5, 40))],
)
def test_stretches_are_those_of_matplotlib(stretch, norm):
    values = np.linspace(0.5, 40, 37)
    colours = Colours("viridis", stretch, 0.5, 40)
    np.testing.assert_allclose(colours.position(values), norm(values), atol=1e-12)
    np.testing.assert_array_equal(colours.codes(values), np.rint(254 * np.asarray(norm(values))))
    assert colours.codes([0.1, 50, np.nan]).tolist() == [0, 254, 255]
    assert colours.codes([0.0, -1.0]).tolist() == ([255, 255] if stretch == "log" else [0, 0])
    for code, label in colours.ticks():
        assert colours.position(float(label.replace("−", "-"))) * 254 == pytest.approx(code, abs=1e-6)


@pytest.mark.parametrize("stretch", ["linear", "log", "sqrt"])
def test_the_neutral_value_is_white_and_either_side_is_as_far(stretch):
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


def test_limits_leave_out_as_much_at_either_end():
    values = np.append(np.arange(1001.0), np.nan)
    assert choose_limits(values, "linear", 100) == (0, 1000)
    assert choose_limits(values, "linear", 90) == (50, 950)
    assert choose_limits(values, "log", 100) == (1, 1000)
    assert choose_limits(values - 500, "linear", 80, 0.0) == (-400, 400)
    for same_everywhere in (np.full(4, 7.0), np.zeros(3), np.full(2, np.nan), np.full(2, -1.0)):
        for stretch in ("linear", "log", "sqrt"):
            low, high = choose_limits(same_everywhere, stretch, 98)
            assert np.isfinite([low, high]).all()
            assert low < high
            assert stretch != "log" or low > 0


@given(low=st.floats(-1e3, 1e3), width=st.floats(1e-6, 1e6), log=st.booleans())
def test_ticks_lie_within_the_limits(low, width, log):
    low = 10 ** (low / 100) if log else low
    high = low * (1 + width) if log else low + width
    values = round_values(low, high, log=log)
    assert 2 <= len(values) <= 25
    margin = 1e-6 * (high - low)
    assert all(low - margin <= value <= high + margin for value in values)


def test_labels_of_the_colour_bar_tell_values_apart():
    for colours in (Colours("viridis", "linear", 10000, 10050), Colours("diverging", "log", 0.9998, 1.0002, 1.0)):
        labels = [label for _, label in colours.ticks()]
        assert len(set(labels)) == len(labels) >= 3


def test_ticks_about_a_neutral_value_are_round_and_hold_it():
    for low, high, neutral, labels in ((0.77, 1.23, 1.0, "0.8 0.9 1 1.1 1.2"), (-3.1, 3.1, 0.0, "−2 0 2")):
        ticks = Colours("diverging", "linear", low, high, neutral).ticks()
        assert " ".join(label for _, label in ticks) == labels
        assert ticks[len(ticks) // 2][0] == pytest.approx(127)


def test_every_line_has_a_colour_of_its_own():
    for number in (1, 6, 7, 28):
        assert len(set(line_colours(number))) == number
    assert line_colours(7)[0] == palette("viridis")[0]  # many are in order
