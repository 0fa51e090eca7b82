"""From values to colours: stretch, limits, and the ticks of the colour bar.

Colours are chosen here, once, as numbers from 0 on, so that every renderer shows the same;
one more than the last is grey and means that a bin has no value that can be shown.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bgnb.plots.labels import number

Stretch = Literal["linear", "log", "sqrt"]
Palette = Literal["viridis", "cividis"]

#: Colours of a palette; their codes are 0 to one less.
N_COLOURS = 255
#: The code of a bin without a value.
NOTHING = N_COLOURS
#: The colour of such a bin.
GREY = "#bbbbbb"
#: Colours of lines, as long as they are few: Okabe and Ito's palette.
LINES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
#: The colour of what is chosen, to be seen on any ground.
CHOSEN = "#e6007e"
#: A diverging logarithm reaches from the limit down to this part of it, on either side.
_LOG_FLOOR = 0.01


@dataclass(frozen=True)
class Colours:
    """How values become colours.

    Parameters
    ----------
    palette : {"viridis", "cividis", "diverging"}
        Colours; the diverging ones are white at the neutral value.
    stretch : {"linear", "log", "sqrt"}
        Of the values, before they are coloured.
    low, high : float
        Values of the first and the last colour; those beyond get the same.
    neutral : float, optional
        Value in the middle of diverging colours, 1 for ratios (whose logarithm is then
        symmetric) and 0 for differences.
    """

    palette: str
    stretch: Stretch
    low: float
    high: float
    neutral: float | None = None

    def position(self, values: Any) -> NDArray[np.float64]:
        """Place of values between the first colour, 0, and the last, 1; not a number where there is none."""
        values = np.asarray(values, dtype=float)
        with np.errstate(divide="ignore", invalid="ignore"):
            if self.neutral is not None:
                half = _distance(self.high, self.neutral, self.stretch)
                part = _distance(values, self.neutral, self.stretch) / half
                if self.neutral != 1 and self.stretch == "log":
                    part = np.sign(part) * np.log1p(np.abs(part) / _LOG_FLOOR) / math.log1p(1 / _LOG_FLOOR)
                elif self.stretch == "sqrt":
                    part = np.sign(part) * np.sqrt(np.abs(part))
                return (part + 1) / 2
            if self.stretch == "log":
                return np.log(np.where(values > 0, values, np.nan) / self.low) / math.log(self.high / self.low)
            part = (values - self.low) / (self.high - self.low)
            return np.sqrt(np.where(part < 0, 0.0, part)) if self.stretch == "sqrt" else part

    def codes(self, values: Any) -> NDArray[np.uint8]:
        """Code of the colour of each value, and NOTHING where there is none."""
        position = self.position(values)
        shown = ~np.isnan(position)
        codes = np.rint((N_COLOURS - 1) * np.clip(np.where(shown, position, 0), 0, 1))
        return np.where(shown, codes, NOTHING).astype(np.uint8)

    def ticks(self) -> tuple[tuple[float, str], ...]:
        """Code and label of some values on the colour bar."""
        if self.neutral is None or self.stretch != "log":
            values = round_values(self.low, self.high, log=self.stretch == "log")
        elif self.neutral == 1:
            values = [self.low, math.sqrt(self.low), 1.0, math.sqrt(self.high), self.high]
        else:
            values = [part * self.high for part in (-1, -0.1, 0, 0.1, 1)]
        return tuple(zip(((N_COLOURS - 1) * self.position(values)).tolist(), _labels(values), strict=True))


def choose_limits(
    values: NDArray[Any], stretch: Stretch, percentile: float, neutral: float | None = None
) -> tuple[float, float]:
    """Limits that hold the given percentage of the values.

    Without a neutral value they leave out as many at the top as at the bottom, so that 100
    means all; with one they are symmetric about it. A logarithm counts values above zero.

    Returns
    -------
    low, high : float
        Always different, and above zero for a logarithm.
    """
    values = values[np.isfinite(values)]
    if neutral is not None:
        if neutral == 1 and stretch == "log":
            values = values[values > 0]
        distance = np.abs(_distance(values, neutral, stretch))
        half = float(np.percentile(distance, percentile)) if distance.size else 0.0
        if neutral == 1 and stretch != "log":
            half = min(half, 1.0)  # a ratio below zero means nothing
        return around(neutral, half if half > 1e-9 else 1.0, stretch)
    if stretch == "log":
        values = values[values > 0]
    if not values.size:
        return (0.1, 1.0) if stretch == "log" else (0.0, 1.0)
    low, high = (float(limit) for limit in np.percentile(values, [(100 - percentile) / 2, (100 + percentile) / 2]))
    if high - low > 1e-9 * abs(high):
        return low, high
    if low > 0:
        return low / 2, high * 2
    return (low * 2, high / 2) if high < 0 else (0.0, 1.0)


def around(neutral: float, half: float, stretch: Stretch) -> tuple[float, float]:
    """Limits at a distance from the neutral value, which for the logarithm of a ratio is that of the logarithms."""
    if neutral == 1 and stretch == "log":
        return math.exp(-half), math.exp(half)
    return neutral - half, neutral + half


def round_values(low: float, high: float, *, log: bool) -> list[float]:
    """Round values within limits, three to eight where that can be."""
    if log:
        first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
        for factors in ((1,), (1, 3), (1, 2, 5)):
            step = max(1, math.ceil((last - first) / 7))
            decades = range(first, last + 1, step)
            found = [f * 10.0**d for d in decades for f in factors if low * (1 - 1e-9) <= f * 10.0**d <= high * (1 + 1e-9)]
            if len(found) >= 3:
                return found
    rough = (high - low) / 6
    power = 10 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{number * step:.12g}") for number in range(first, last + 1)]


@cache
def palette(name: str) -> tuple[str, ...]:
    """The colours of a palette, as ``#rrggbb``."""
    from bokeh.palettes import Cividis256, RdBu11, Viridis256, interp_palette

    known = {"viridis": Viridis256, "cividis": Cividis256, "diverging": RdBu11}
    return tuple(interp_palette(known[name], N_COLOURS))


def line_colours(number: int) -> list[str]:
    """Colours for so many lines: easy to tell apart, also by the colour-blind, while they are few; else in order."""
    if number <= len(LINES):
        return list(LINES[:number])
    return [palette("viridis")[round(place)] for place in np.linspace(0, 0.85 * N_COLOURS, number)]


def _labels(values: list[float]) -> list[str]:
    """Values to read, with as many digits as tell them apart."""
    for digits in range(3, 16):
        labels = [number(value, digits) for value in values]
        if len(set(labels)) == len(set(values)):
            break
    return labels


def _distance(values: Any, neutral: float, stretch: Stretch) -> Any:
    """Signed distance from the neutral value; for the logarithm of a ratio that of the logarithms."""
    if neutral == 1 and stretch == "log":
        return np.log(np.where(np.asarray(values) > 0, values, np.nan))
    return np.asarray(values) - neutral
