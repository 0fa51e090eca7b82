"""What callers gave, checked: one of a few names, a value with a unit, a finite or whole number."""

from __future__ import annotations

import math
from collections.abc import Iterable
from operator import index
from typing import Any

import numpy as np
from astropy import units as u

from bgnb._util.errors import BgnbError


def checked_choice(name: str, value: Any, choices: Iterable[str]) -> Any:
    """One of the names to choose from, as it is spelled there; capitals do not matter.

    Raises
    ------
    BgnbError
        Where it is none of them; the message lists them.

    Examples
    --------
    >>> checked_choice("scheme", "gadf", ("GADF", "HESS"))
    'GADF'
    """
    spelled = {choice.lower(): choice for choice in choices}
    if not isinstance(value, str) or value.lower() not in spelled:
        raise BgnbError("unknown-choice", f"unknown {name} '{value}': use one of {', '.join(spelled.values())}")
    return spelled[value.lower()]


def to_value(name: str, value: u.Quantity | str, unit: str) -> float:
    """One finite value in a unit.

    Raises
    ------
    BgnbError
        Where it is none; the message names the argument.
    """
    try:
        number = u.Quantity(value).to_value(unit)
    except (TypeError, ValueError):
        raise BgnbError(f"{name} must be a value with a unit, such as '1 {unit}', got {str(value)!r}") from None
    if np.ndim(number) or not np.isfinite(number):
        raise BgnbError(f"{name} must be one finite value, got {str(value)!r}")
    return float(number)


def finite_number(name: str, value: Any, unit: str = "") -> float:
    """A finite number, or, where there is a unit, a value with one.

    Raises
    ------
    BgnbError
        Where it is none; the message names the argument.

    Examples
    --------
    >>> finite_number("energy", 5, "TeV"), finite_number("energy", "5 GeV", "TeV")
    (5.0, 0.005)
    """
    if isinstance(value, str | u.Quantity) and unit:
        return to_value(name, value, unit)
    try:
        plain = float("nan" if isinstance(value, bool | str) else value)
    except (TypeError, ValueError, OverflowError):
        plain = math.nan
    if not math.isfinite(plain):
        raise BgnbError(f"{name} must be a finite number{unit and f' ({unit})'}, got {value!r}")
    return plain


def whole_number(name: str, number: Any, least: int = 1) -> int:
    """A whole number from a least one up.

    Raises
    ------
    BgnbError
        Where it is none; the message names the argument.
    """
    try:
        if not isinstance(number, bool) and index(number) >= least:
            return index(number)
    except TypeError:
        pass
    raise BgnbError(f"{name} must be a whole number from {least} up, got {number!r}")
