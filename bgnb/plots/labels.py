"""Texts in plots: numbers, ticks of axes, energies and positions."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np

from bgnb._util.arrays import Bools
from bgnb.cubes.cube import CubeAxes

RATE_LABEL = "MeV⁻¹ s⁻¹ sr⁻¹"
#: Label of an axis of rates.
RATE_AXIS = f"rate / ({RATE_LABEL})"
#: Numbers of these sizes are written without a power of ten.
_PLAIN = (1e-2, 1e5)
# Parts of a text that stay in one line.
_TOGETHER = re.compile(r"(?:altitude |azimuth )?[\d−]\S* to \S+(?: TeV,?)?|partly extrapolated")
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def with_minus(text: str) -> str:
    """Write the hyphens of numbers as minus signs.

    >>> with_minus(f"{-0.5:.2f}")
    '−0.50'
    """
    return text.replace("-", "−")


def format_number(value: float, digits: int = 3) -> str:
    """Format a number with a few digits, as ``0.25`` or ``1.2 × 10⁻⁴``; NaN and infinity as a dash."""
    if not math.isfinite(value):
        return "–"
    rounded = float(f"{value:.{digits}g}")
    return _scientific(rounded, digits) if axis_power(rounded, rounded) else _plain(rounded, max(digits, 5))


def format_value(value: float, error: float) -> str:
    """Format a number with its error, if it has one, as ``0.250 ± 0.012`` or ``(1.23 ± 0.10) × 10⁻⁴``."""
    if not error > 0 or not math.isfinite(value + error):
        return format_number(value)
    power = axis_power(value, error)
    value, error = value / 10.0**power, error / 10.0**power
    digits = 1 - int(f"{error:.1e}".partition("e")[2])  # after the point, for two digits of the error
    if digits > 8:
        both = f"{format_number(value)} ± {format_number(error)}"
    else:
        both = " ± ".join(f"{round(number, digits):.{max(digits, 0)}f}" for number in (value, error))
        both = with_minus(both)
    return f"({both}) × {power_of_ten(power)}" if power else both


def format_ticks(values: Sequence[float], power: int = 0, *, log: bool = False) -> list[str]:
    """Format values at the ticks of a scale, with as many digits as distinguish them.

    Parameters
    ----------
    values : sequence of float
        Values.
    power : int
        Power of ten by which the values are divided, see `axis_power`.
    log : bool
        The scale is logarithmic: all ticks are written with a power of ten if one of them needs it.
    """
    scientific = log and any(axis_power(value, value) for value in values)
    labels: list[str] = []
    for digits in range(3, 16):
        labels = [(_scientific if scientific else format_number)(value / 10.0**power, digits) for value in values]
        if len(set(labels)) == len(set(values)):
            break
    return labels


def axis_power(low: float, high: float) -> int:
    """Choose the power of ten by which the values of a linear axis are divided; 0 if they need none."""
    size = max(abs(low), abs(high))
    return 0 if size == 0 or _PLAIN[0] <= size < _PLAIN[1] else int(f"{size:e}".partition("e")[2])


def power_of_ten(power: int) -> str:
    """Format a power of ten, such as ``10⁻⁴``; ``10`` for power 1."""
    return "10" + (str(power).translate(_SUPERSCRIPTS) if power != 1 else "")


def with_power(unit: str, power: int) -> str:
    """Put a power of ten before a unit.

    Parameters
    ----------
    unit : str
        Unit, or label of an axis with its unit, such as ``"livetime / h"``.
    power : int
        Power of ten by which the values were divided, see `axis_power`.

    Returns
    -------
    str
        Such as ``"10⁻⁴ MeV⁻¹ s⁻¹ sr⁻¹"``, ``"livetime / 10⁵ h"`` or ``"rate / (10⁻⁴ s⁻¹ sr⁻¹)"``; the unit itself for power 0.
    """
    if power == 0:
        return unit
    quantity, slash, unit = unit.rpartition(" / ")
    bracket = "(" * unit.startswith("(")
    return f"{quantity}{slash}{bracket}{power_of_ten(power)} {unit.removeprefix('(')}".rstrip()


def axis_label(quantity: str, unit: str) -> str:
    """Describe an axis by its quantity and unit.

    >>> axis_label("livetime", "h"), axis_label("rate", "s⁻¹ sr⁻¹"), axis_label("counts", "per bin"), axis_label("pull", "")
    ('livetime / h', 'rate / (s⁻¹ sr⁻¹)', 'counts per bin', 'pull')
    """
    if not unit or unit.startswith("per "):
        return f"{quantity} {unit}".rstrip()
    return f"{quantity} / ({unit})" if " " in unit else f"{quantity} / {unit}"


def _plain(value: float, digits: int) -> str:
    text = f"{value:.{digits}g}"
    return _scientific(value, digits) if "e" in text else with_minus(text)


def _scientific(value: float, digits: int) -> str:
    """Format a number with a power of ten; a factor of 1, and a power of 0, are not written."""
    mantissa, _, power = f"{value:.{digits - 1}e}".partition("e")
    factor, tens = _plain(float(mantissa), digits), power_of_ten(int(power))
    if int(power) == 0 or factor == "0":
        return factor
    return tens if factor == "1" else f"{factor} × {tens}"


def keep_together(text: str) -> str:
    """Put no-break spaces in the parts of a text that stay in one line, such as ranges of energies."""
    return _TOGETHER.sub(lambda part: part[0].replace(" ", "\N{NO-BREAK SPACE}"), text)


def format_count(number: int, noun: str) -> str:
    """Format a number of things, such as ``1 run`` or ``2 runs``."""
    return f"{number} {noun}{'s' * (number != 1)}"


def energy_label(axes: CubeAxes, first: int, last: int | None = None) -> str:
    """Format the edges of an energy bin, or of the bins between two edges, with digits that distinguish all edges."""
    edges = axes.energy.value
    digits = next(digits for digits in range(3, 17) if len({f"{edge:.{digits}g}" for edge in edges}) == len(edges))
    low, high = (f"{edges[edge]:.{digits}g}" for edge in (first, first + 1 if last is None else last))
    return f"{low} to {high} TeV"


def energies_label(axes: CubeAxes, bins: Bools) -> str:
    """Format the ranges of energy bins, such as ``1 to 2 TeV and 4 to 8 TeV``."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], bins, [False]]))).reshape(-1, 2).tolist()
    *ranges, last = [energy_label(axes, *pair) for pair in edges]
    return f"{', '.join(ranges)} and {last}" if ranges else last


def position_label(detx: float, dety: float) -> str:
    """Format a position in the field of view (deg)."""
    return with_minus(f"({detx:g}, {dety:g}) deg")


def bin_label(axes: CubeAxes, iy: int, ix: int) -> str:
    """Format the centre of a bin of the field of view."""
    x, y = (round(float(value), 2) + 0.0 for value in (axes.detx_centers[ix].value, axes.dety_centers[iy].value))  # no −0
    return with_minus(f"DETX {x:.2f}°, DETY {y:.2f}°")
