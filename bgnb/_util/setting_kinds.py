"""Kinds of settings, which check values and convert them to JSON and back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from bgnb._util.errors import BgnbError, quoted


def is_boolean(value: Any) -> bool:
    """Return true for True and False of Python and of any version of NumPy, which is not imported for it."""
    return type(value).__name__ in ("bool", "bool_")


@dataclass(frozen=True)
class Kind:
    """Text; the base of all kinds of settings."""

    annotation: ClassVar[str] = "str"
    #: Type of a notebook's parameter.
    json: ClassVar[str] = "str"
    #: Appended to the name in ``report.json``.
    suffix: ClassVar[str] = ""
    #: Placeholder for the value on the command line.
    metavar: ClassVar[str] = ""
    #: True if the option may be given several times.
    multiple: ClassVar[bool] = False

    def check(self, name: str, value: Any) -> Any:
        """Return the value in its internal form, or raise a `BgnbError` that names the setting."""
        return str(value)

    def to_json(self, value: Any) -> Any:
        """Return a checked value in the form stored in ``report.json``."""
        return value

    def from_json(self, value: Any) -> Any:
        """Return a value that `check` accepts from one of `to_json`."""
        return value


@dataclass(frozen=True)
class Flag(Kind):
    """Yes or no."""

    annotation: ClassVar[str] = "bool"
    json: ClassVar[str] = "bool"

    def check(self, name: str, value: Any) -> bool:
        """Return the value if it is a bool."""
        if not is_boolean(value):
            raise BgnbError("invalid-argument", f"{name} must be True or False, got {quoted(value)}")
        return bool(value)


@dataclass(frozen=True)
class Choice(Kind):
    """One of a few names, ignoring case."""

    names: Callable[[], Iterable[str]]
    #: Names by other names, which are accepted as well.
    aliases: Callable[[], Mapping[str, str]] = dict

    def check(self, name: str, value: Any) -> str:
        """Return the name in the spelling of the choices."""
        from bgnb._util.checks import checked_choice

        known = self.aliases().get(value.lower(), value) if isinstance(value, str) else value
        return str(checked_choice(name, known, self.names()))


@dataclass(frozen=True)
class Choices(Kind):
    """Any number of a few names, ignoring case: one, a sequence, or a text with commas."""

    names: Callable[[], Iterable[str]]
    annotation: ClassVar[str] = "str or sequence of str"
    json: ClassVar[str] = "list"
    multiple: ClassVar[bool] = True

    def check(self, name: str, value: Any) -> tuple[str, ...]:
        """Return the names in the spelling of the choices, in their order, each once."""
        from bgnb._util.checks import checked_choice

        values = [value] if isinstance(value, str) else value
        if not isinstance(values, list | tuple | set | frozenset):
            raise BgnbError("invalid-argument", f"{name} must be names, got {quoted(value)}")
        texts = [text.strip() for each in values for text in str(each).split(",")]
        given = {checked_choice(name, text, self.names()) for text in texts if text}
        return tuple(each for each in self.names() if each in given)

    def to_json(self, value: Any) -> Any:
        """Return the names as a list."""
        return list(value)


def converted(value: Any, kind: Callable[[Any], Any]) -> Any:
    """Convert a value; to an integer without loss, so that 3.7 and True are a TypeError.

    >>> converted("3", int), converted(3.0, int), converted("3.7", float)
    (3, 3, 3.7)
    """
    if kind is not int or isinstance(value, str):
        return kind(value)
    if is_boolean(value) or value != int(value):
        raise TypeError
    return int(value)


@dataclass(frozen=True)
class Whole(Kind):
    """A whole number."""

    minimum: int = 1
    maximum: int = 2**63 - 1
    annotation: ClassVar[str] = "int"
    json: ClassVar[str] = "int"

    def check(self, name: str, value: Any) -> int:
        """Return the value if it is a whole number within the limits."""
        from bgnb._util.checks import whole_number

        return whole_number(name, value, self.minimum, self.maximum)


def _in_range(name: str, number: float, limits: Number | Value, given: Any, unit: str = "") -> float:
    if limits.minimum is not None and number < limits.minimum:
        raise BgnbError("invalid-argument", f"{name} must be at least {limits.minimum:g}{unit}, got {given}")
    if limits.above is not None and not number > limits.above:
        raise BgnbError("invalid-argument", f"{name} must be above {limits.above:g}{unit}, got {given}")
    if limits.maximum is not None and number > limits.maximum:
        raise BgnbError("invalid-argument", f"{name} must be at most {limits.maximum:g}{unit}, got {given}")
    return number


@dataclass(frozen=True)
class Number(Kind):
    """A finite number."""

    minimum: float | None = None
    above: float | None = None
    maximum: float | None = None
    annotation: ClassVar[str] = "float"
    json: ClassVar[str] = "float"

    def check(self, name: str, value: Any) -> float:
        """Return the value if it is finite and in range."""
        from bgnb._util.checks import finite_number

        return _in_range(name, finite_number(name, value), self, value)


@dataclass(frozen=True)
class Value(Kind):
    """A quantity, kept as a float in a unit."""

    unit: str
    minimum: float | None = None
    above: float | None = None
    maximum: float | None = None
    annotation: ClassVar[str] = "`~astropy.units.Quantity` or str"
    metavar: ClassVar[str] = "QUANTITY"

    @property
    def suffix(self) -> str:  # type: ignore[override]
        """The unit, appended to the name in ``report.json``."""
        return f"_{self.unit.lower()}"

    def check(self, name: str, value: Any) -> float:
        """Return the value in the unit if it is finite and in range."""
        from bgnb._util.checks import to_value

        return _in_range(name, to_value(name, value, self.unit), self, value, f" {self.unit}")

    def from_json(self, value: Any) -> Any:
        """Return the quantity of a number in the unit."""
        from astropy.units import Quantity

        try:
            return value if isinstance(value, str | bool) else Quantity(value, self.unit)
        except (TypeError, ValueError, OverflowError):
            return value  # which `check` refuses


@dataclass(frozen=True)
class Numbers(Kind):
    """Several numbers, optionally with a unit: a sequence, or a text such as ``0,45,90``."""

    unit: str = ""
    type: Callable[[Any], Any] = float
    annotation: ClassVar[str] = "sequence of float or `~astropy.units.Quantity`"
    metavar: ClassVar[str] = "LIST"
    json: ClassVar[str] = "list"

    @property
    def suffix(self) -> str:  # type: ignore[override]
        """The unit, appended to the name in ``report.json``."""
        return f"_{self.unit.lower()}" if self.unit else ""

    def check(self, name: str, value: Any) -> tuple[Any, ...]:
        """Return the numbers in the unit."""
        values = value.split(",") if isinstance(value, str) else value
        try:
            if getattr(values, "unit", None) is not None:  # quantities and columns of tables
                from bgnb._util.checks import numbers_with_unit

                values = numbers_with_unit(name, values, self.unit)
            return tuple(converted(number, self.type) for number in values)
        except (TypeError, ValueError, OverflowError):
            wanted = "numbers such as 0,45,90" if self.type is float else "whole numbers such as 4,8,15"
            raise BgnbError("invalid-argument", f"{name} must be {wanted}, got {quoted(value)}") from None

    def to_json(self, value: Any) -> Any:
        """Return the numbers as a list."""
        return list(value)
