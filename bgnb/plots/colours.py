"""Colours of values: stretch, limits, and ticks of the colour bar.

Values are converted to integer codes of colours, from which Bokeh and Matplotlib draw the
same image. The highest code is grey, for bins without a value that can be shown.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bgnb.plots.labels import axis_power, format_ticks

Stretch = Literal["linear", "log", "sqrt"]
Palette = Literal["viridis", "cividis"]

#: Number of colours in a palette; codes run from 0 to N_COLOURS - 1.
N_COLOURS = 255
#: Code of a bin without a value.
NO_VALUE = N_COLOURS
#: Colour of a bin without a value.
GREY = "#bbbbbb"
#: Colours of up to six lines: Okabe and Ito's palette.
LINES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
#: Colour of the selection, visible on all palettes.
SELECTED = "#e6007e"
#: Values that differ by less than this fraction have one colour, on a scale within this fraction of the value.
_CONSTANT, _AROUND = 5e-4, 0.1
#: A diverging logarithmic scale is linear below about this fraction of the limit.
_LOG_FLOOR = 0.01


@dataclass(frozen=True)
class Colours:
    """Mapping of values to colours.

    Parameters
    ----------
    palette : {"viridis", "cividis", "diverging"}
        Colours; the diverging palette is white at the neutral value.
    stretch : {"linear", "log", "sqrt"}
        Scaling of the values.
    low, high : float
        Values of the first and the last colour, to which values outside are clipped.
    neutral : float, optional
        Value in the middle of diverging colours: 1 for ratios, whose logarithmic scale is
        then symmetric, and 0 for differences.
    whole : bool
        Values are whole numbers, and so are the ticks.
    """

    palette: str
    stretch: Stretch
    low: float
    high: float
    neutral: float | None = None
    whole: bool = False

    def scale(self, values: Any) -> NDArray[np.float64]:
        """Scale values such that the first colour is 0 and the last is 1; NaN where there is no value."""
        values = np.asarray(values, dtype=float)
        with np.errstate(divide="ignore", invalid="ignore"):
            if self.neutral is not None:
                scaled = _distance(values, self.neutral, self.stretch) / _distance(self.high, self.neutral, self.stretch)
                if self.neutral != 1 and self.stretch == "log":
                    scaled = np.sign(scaled) * np.log1p(np.abs(scaled) / _LOG_FLOOR) / math.log1p(1 / _LOG_FLOOR)
                elif self.stretch == "sqrt":
                    scaled = np.sign(scaled) * np.sqrt(np.abs(scaled))
                return (scaled + 1) / 2
            if self.stretch == "log":
                first, last = math.log(self.low), math.log(self.high)  # not of quotients, which overflow
                return (np.log(np.where(values > 0, values, np.nan)) - first) / (last - first)
            scaled = (values - self.low) / (self.high - self.low)
            return np.sqrt(np.where(scaled < 0, 0.0, scaled)) if self.stretch == "sqrt" else scaled

    def codes(self, values: Any) -> NDArray[np.uint8]:
        """Convert values to codes of colours, `NO_VALUE` where there is none."""
        scaled = self.scale(values)
        codes = np.rint((N_COLOURS - 1) * np.clip(np.nan_to_num(scaled), 0, 1))
        return np.where(np.isnan(scaled), NO_VALUE, codes).astype(np.uint8)

    @property
    def power(self) -> int:
        """Power of ten by which the values at the ticks of the colour bar are divided; see `with_power`."""
        return 0 if self._is_log else axis_power(self.low, self.high)

    @property
    def _is_log(self) -> bool:
        """True for a scale of positive values with powers of ten."""
        return self.stretch == "log" and self.neutral in (None, 1)

    def levels(self) -> list[float]:
        """Choose round values, for the ticks of the colour bar and for contours."""
        if self.stretch == "log" and not self._is_log:
            largest = choose_ticks(self.high / 10, self.high, log=True)[-1]
            return [fraction * largest for fraction in (-1, -0.1, 0, 0.1, 1)]
        return choose_ticks(self.low, self.high, log=self._is_log, whole=self.whole)

    def ticks(self) -> tuple[tuple[float, str], ...]:
        """Choose ticks of the colour bar; return their codes, and their labels divided by the `power` of ten."""
        values = self.levels()
        labels = format_ticks(values, self.power, log=self._is_log)
        return tuple(zip(((N_COLOURS - 1) * self.scale(values)).tolist(), labels, strict=True))


def choose_limits(
    values: NDArray[Any], stretch: Stretch, percentile: float, neutral: float | None = None
) -> tuple[float, float]:
    """Choose limits of the colours that contain a percentage of the values.

    Without a neutral value, equal percentages are excluded at both ends; with one, the limits
    are symmetric about it. A logarithmic stretch ignores values that are not positive. If all values
    are nearly equal, they have the colour in the middle.

    Returns
    -------
    low, high : float
        Limits, always different; positive for a logarithmic stretch.
    """
    values = values[np.isfinite(values)]
    if stretch == "log" and neutral in (None, 1):
        values = values[values > 0]
    if neutral is not None:
        distance = np.abs(_distance(values, neutral, stretch))
        half = float(np.percentile(distance, percentile)) if distance.size else 0.0
        if neutral == 1 and stretch != "log":
            half = min(half, 1.0)  # ratios are not negative
        if neutral == 1 and half < _CONSTANT / 2:
            half = _AROUND
        return symmetric_limits(neutral, half or 1.0, stretch)
    if not values.size:
        return (0.1, 1.0) if stretch == "log" else (0.0, 1.0)
    low, high = (float(limit) for limit in np.percentile(values, [(100 - percentile) / 2, (100 + percentile) / 2]))
    if high - low > _CONSTANT * abs(high):
        return low, high
    middle = (low + high) / 2
    if middle == 0:
        return 0.0, 1.0
    if stretch == "log":
        return middle / (1 + _AROUND), middle * (1 + _AROUND)
    step = _AROUND * abs(middle)
    return middle - step, middle + (3 * step if stretch == "sqrt" else step)


def symmetric_limits(neutral: float, half: float, stretch: Stretch) -> tuple[float, float]:
    """Compute limits at a distance from the neutral value; for the logarithm of a ratio, in the logarithm."""
    if neutral == 1 and stretch == "log":
        return math.exp(-half), math.exp(half)
    return neutral - half, neutral + half


def choose_ticks(low: float, high: float, *, log: bool, number: int = 7, whole: bool = False) -> list[float]:
    """Choose round values within limits, two to about a number of them, where possible.

    Values on a logarithmic scale are powers of ten; over few decades also 3, or 2 and 5, times powers of ten; and over
    less than about half a decade values at equal distances. If requested, they are whole numbers, if there are any.
    """
    whole = whole and math.floor(high) >= math.ceil(low)
    if log:
        first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
        for step, factors in ((math.ceil((last - first) / number), (1,)), (1, (1,)), (1, (1, 3)), (1, (1, 2, 5))):
            decades = [power for power in range(first, last + 1) if power % step == 0]
            values = [float(f"{factor}e{decade}") for decade in decades for factor in factors]
            inside = [value for value in values if low * (1 - 1e-9) <= value <= high * (1 + 1e-9)]
            inside = [value for value in inside if value >= 1] if whole else inside
            if len(inside) >= 3:
                return inside
    power = 10 ** math.floor(math.log10((high - low) / number))
    for step in (max(factor * power, 1.0 if whole else 0.0) for factor in (1, 2, 5, 10, 20)):
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first < number:
            break
    return [float(f"{count * step:.12g}") for count in range(first, last + 1)]


@cache
def palette(name: str) -> tuple[str, ...]:
    """List the colours of a palette, as ``#rrggbb``."""
    from bokeh.palettes import Cividis256, RdBu11, Viridis256, interp_palette

    known = {"viridis": Viridis256, "cividis": Cividis256, "diverging": RdBu11}
    return tuple(interp_palette(known[name], N_COLOURS))


def line_colours(number: int) -> list[str]:
    """Choose colours of lines: distinct ones, also for colour-blind readers, of up to six lines; else ordered ones."""
    if number <= len(LINES):
        return list(LINES[:number])
    return [palette("viridis")[round(code)] for code in np.linspace(0, 0.85 * N_COLOURS, number)]


def _distance(values: Any, neutral: float, stretch: Stretch) -> Any:
    """Compute the signed distance from the neutral value; for the logarithm of a ratio, in the logarithm."""
    if neutral == 1 and stretch == "log":
        return np.log(np.where(np.asarray(values) > 0, values, np.nan))
    return np.asarray(values) - neutral
