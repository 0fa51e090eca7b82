"""Argument validation: names from a list, paths, quantities, finite numbers, whole numbers."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Iterator
from operator import index
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u

import bgnb._util.unit_parser  # noqa: F401 # which limits what Astropy computes
from bgnb._util.arrays import Floats
from bgnb._util.errors import BgnbError, quoted
from bgnb._util.setting_kinds import is_boolean

# Whole numbers are 64-bit integers in files.
_LARGEST = 2**63 - 1
# Such as thousands that are separated by a space.
_TWO_NUMBERS = re.compile(r"\s*[+-]?[\d.]+(e[+-]?\d+)?\s+[+−-]?[\d.]", re.IGNORECASE)


def checked_choice(name: str, value: Any, choices: Iterable[str]) -> Any:
    """Return the choice with a given name, ignoring case.

    Raises
    ------
    BgnbError
        If there is no such choice; the message lists the choices.

    Examples
    --------
    >>> checked_choice("scheme", "gadf", ("GADF", "HESS"))
    'GADF'
    """
    spelled = {choice.lower(): choice for choice in choices}
    if not isinstance(value, str) or value.lower() not in spelled:
        raise BgnbError("unknown-choice", f"unknown {name} {quoted(value)}: use one of {', '.join(spelled.values())}")
    return spelled[value.lower()]


def checked_path(name: str, value: Any) -> Path:
    """Return a path.

    Raises
    ------
    BgnbError
        If it is neither text nor a path; the message names the argument.
    """
    if not isinstance(value, str | os.PathLike) or "\0" in os.fsdecode(value):
        raise BgnbError("invalid-argument", f"{name} must be a path, got {quoted(value)}")
    return Path(os.fsdecode(value))


def check_type(name: str, value: object, kind: type) -> None:
    """Refuse an argument of another type, such as the path of a model instead of the model.

    Raises
    ------
    BgnbError
        If it is not an instance of ``kind``; the message names the argument.
    """
    if not isinstance(value, kind):
        got = quoted(value) if isinstance(value, str | os.PathLike | int | float) or value is None else type(value).__name__
        raise BgnbError("invalid-argument", f"{name} must be of the type {kind.__name__}, got {got}")


def without_dots(path: Path) -> Path:
    """Resolve the directory of a path if it contains ``..``, for shorter messages; links stay otherwise."""
    if ".." not in path.parts:
        return path
    directory, name = (path, "") if path.name == ".." else (path.parent, path.name)
    return Path(os.path.realpath(directory), name)


def to_value(name: str, value: u.Quantity | str, unit: str) -> float:
    """Return a finite quantity as a number in a unit.

    Raises
    ------
    BgnbError
        If it is not finite, not a scalar, or has no such unit; the message names the argument.
    """
    try:
        if isinstance(value, str) and _TWO_NUMBERS.match(value):
            raise ValueError  # Astropy would take the second one for a part of the unit
        number = u.Quantity(value).to_value(unit)
    except (TypeError, ValueError, OverflowError):
        kind = str(u.Unit(unit).physical_type).partition("/")[0]
        wanted = f"{'an' if kind[0] in 'aeiou' else 'a'} {kind} with a unit, such as {_with_units(value, unit)}"
        message = f"{name} must be {wanted}, got {quoted(str(value) if isinstance(value, u.Quantity) else value)}"
        raise BgnbError("invalid-argument", message) from None
    if np.ndim(number) or not np.isfinite(number):
        raise BgnbError("invalid-argument", f"{name} must be one finite value, got {quoted(str(value))}")
    return float(number)


def _with_units(value: Any, unit: str) -> str:
    """Give examples of a value with a unit: the value itself if it is a number.

    >>> _with_units("5", "s"), _with_units("far", "deg")
    ("'5 h' or '5 s'", "'1 deg'")
    """
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    units = ("h", "s") if unit == "s" else (unit,)
    return " or ".join(f"'{number if math.isfinite(number) else 1:g} {each}'" for each in units)


def finite_number(name: str, value: Any, unit: str = "") -> float:
    """Return a finite number; with a unit, numbers in it and quantities are accepted.

    Raises
    ------
    BgnbError
        If it is not a finite number; the message names the argument.

    Examples
    --------
    >>> finite_number("energy", 5, "TeV"), finite_number("energy", "5 GeV", "TeV")
    (5.0, 0.005)
    """
    if isinstance(value, str | u.Quantity) and unit:
        return to_value(name, value, unit)
    try:
        number = float("nan" if isinstance(value, bool | np.bool_ | str) or value is np.ma.masked else value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise BgnbError("invalid-argument", f"{name} must be a finite number{unit and f' ({unit})'}, got {quoted(value)}")
    return number


def check_unmasked(name: str, values: Any) -> None:
    """Refuse masked values, whose masks would be lost; the message names the argument."""
    for part in _parts(values):
        mask = getattr(part, "mask", False)
        if not callable(mask) and np.any(mask):  # it is a method of a column of pandas
            raise BgnbError("invalid-argument", f"{name} contains masked values")


def _parts(values: Any) -> Iterator[Any]:
    """Yield values, and the elements of lists that are not plain numbers, up to two levels deep."""
    yield values
    for value in values if isinstance(values, list | tuple) else ():
        if type(value) not in (int, float):
            yield value
            if isinstance(value, list | tuple):
                yield from (each for each in value if type(each) not in (int, float))


def numbers_with_unit(name: str, values: Any, unit: str) -> Floats:
    """Return numbers as a plain array; quantities and columns with a unit are converted, other numbers are in it.

    Raises
    ------
    BgnbError
        If it is not numbers, has no such unit, or values are masked; the message names the argument.

    Examples
    --------
    >>> numbers_with_unit("energy", [500, 5000] * u.GeV, "TeV"), numbers_with_unit("energy", 5, "TeV")
    (array([0.5, 5. ]), array(5.))
    """
    check_unmasked(name, values)
    try:
        has_unit = any(getattr(part, "unit", None) is not None for part in _parts(values))
        array = np.asarray(u.Quantity(values).to_value(unit) if has_unit else values)
        if array.size and array.dtype.kind not in "iuf":
            raise TypeError
        return array.astype(float, copy=False)
    except (TypeError, ValueError, OverflowError):
        wanted = f"numbers ({unit}) or a quantity" if unit else "numbers"
        raise BgnbError("invalid-argument", f"{name} must be {wanted}, got {quoted(str(values))}") from None


def checked_pointing(alt_pnt: Any, az_pnt: Any) -> tuple[float, float]:
    """Return altitude and azimuth in deg; numbers in deg and quantities are accepted.

    Raises
    ------
    BgnbError
        If one is not finite, or the altitude is not within ±90 deg, as where both are swapped.

    Examples
    --------
    >>> checked_pointing(1.5 * u.rad, 180)
    (85.94366926962348, 180.0)
    """
    altitude, azimuth = finite_number("alt_pnt", alt_pnt, "deg"), finite_number("az_pnt", az_pnt, "deg")
    if abs(altitude) > 90 + 1e-6:
        raise BgnbError("invalid-argument", f"alt_pnt must lie within −90 and 90 deg, got {altitude:g}")
    return altitude, azimuth


def whole_number(name: str, value: Any, minimum: int = 1, maximum: int = _LARGEST) -> int:
    """Return a whole number that is at least a minimum and at most a maximum, by default the largest of 64 bits.

    Raises
    ------
    BgnbError
        If it is not such a number; the message names the argument.
    """
    limit = ""
    try:
        if not is_boolean(value) and minimum <= index(value) <= maximum:
            return index(value)
        largest = "2^63 − 1" if maximum == _LARGEST else f"{maximum:,}"
        limit = f" and at most {largest}" if index(value) > maximum else ""
    except TypeError:
        pass
    raise BgnbError("invalid-argument", f"{name} must be a whole number of at least {minimum}{limit}, got {quoted(value)}")


def numbers_in(text: str, wanted: str) -> tuple[int, ...]:
    """Read whole numbers, such as OBS_IDs, separated by spaces or commas.

    Raises
    ------
    BgnbError
        If a word is not a number of at most 64 bits; the message says what is wanted.
    """
    words = text.replace(",", " ").split()
    if invalid := [word for word in words if not word.isdecimal() or len(word) > 19 or int(word) > _LARGEST]:
        raise BgnbError("invalid-argument", f"{quoted(invalid[0])} is not {wanted}")
    return tuple(map(int, words))


def checked_obs_ids(name: str, values: Any) -> tuple[int, ...]:
    """Return OBS_IDs in order, without duplicates.

    Raises
    ------
    BgnbError
        If it is not a sequence of whole numbers of at most 64 bits; the message names the argument.
    """
    try:
        values = list(values)
        obs_ids = tuple(sorted(set(map(index, values))))
        if any(map(is_boolean, values)) or any(abs(obs_id) > _LARGEST for obs_id in obs_ids):
            raise TypeError
        return obs_ids
    except TypeError:
        raise BgnbError("invalid-argument", f"{name} must be a list of OBS_IDs, got {quoted(values)}") from None
