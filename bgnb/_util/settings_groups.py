"""Declarations of settings.

A setting is declared once, as a field of a group, with its kind, default and help. The
arguments of functions, the options of commands, the parameters of notebooks and the settings
in ``report.json`` are derived from the declarations.
"""

from __future__ import annotations

import difflib
import functools
import inspect
import math
import re
import textwrap
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

from bgnb._util.errors import BgnbError, DataError, quoted
from bgnb._util.reading import read_json, read_text

R = TypeVar("R")
# Maximum size of a TOML file of settings, bytes.
_TOML_MAX = 1 << 20
_MANY_PARTS = re.compile(r"""(\.\s*[\w"'-]+\s*){100}""")


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
        if not isinstance(value, bool):
            raise BgnbError("invalid-argument", f"{name} must be True or False, got {quoted(value)}")
        return value


@dataclass(frozen=True)
class Choice(Kind):
    """One of a few names, ignoring case."""

    names: Callable[[], Iterable[str]]
    #: Names by earlier names, which are still accepted.
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


@dataclass(frozen=True)
class Whole(Kind):
    """A whole number."""

    minimum: int = 1
    annotation: ClassVar[str] = "int"
    json: ClassVar[str] = "int"

    def check(self, name: str, value: Any) -> int:
        """Return the value if it is a whole number of at least the minimum."""
        from bgnb._util.checks import whole_number

        return whole_number(name, value, self.minimum)


@dataclass(frozen=True)
class Number(Kind):
    """A finite number."""

    above: float | None = None
    maximum: float | None = None
    annotation: ClassVar[str] = "float"
    json: ClassVar[str] = "float"

    def check(self, name: str, value: Any) -> float:
        """Return the value if it is finite and in range."""
        from bgnb._util.checks import finite_number

        number = finite_number(name, value)
        if self.above is not None and not number > self.above:
            raise BgnbError("invalid-argument", f"{name} must be a number above {self.above:g}, got {value}")
        if self.maximum is not None and number > self.maximum:
            raise BgnbError("invalid-argument", f"{name} must be at most {self.maximum:g}, got {value}")
        return number


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

        number = to_value(name, value, self.unit)
        if self.minimum is not None and number < self.minimum:
            raise BgnbError("invalid-argument", f"{name} must be at least {self.minimum:g} {self.unit}, got {value}")
        if self.above is not None and not number > self.above:
            raise BgnbError("invalid-argument", f"{name} must be above {self.above:g} {self.unit}, got {value}")
        if self.maximum is not None and number > self.maximum:
            raise BgnbError("invalid-argument", f"{name} must be at most {self.maximum:g} {self.unit}, got {value}")
        return number

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
        values = values.to_value(self.unit) if hasattr(values, "to_value") else values
        try:
            return tuple(self.type(number) for number in values)
        except (TypeError, ValueError, OverflowError):
            example = "0,45,90" if self.type is float else "4,8,15"
            raise BgnbError("invalid-argument", f"{name} must be numbers such as {example}, got {quoted(value)}") from None

    def to_json(self, value: Any) -> Any:
        """Return the numbers as a list."""
        return list(value)


@dataclass(frozen=True)
class Declaration:
    """Declaration of a setting, without its default.

    Parameters
    ----------
    kind : `Kind`
        The kind of values.
    help : str
        One or two sentences, for documentation and command line.
    see : str
        Python name to refer to in the documentation.
    metavar : str
        Placeholder for the value on the command line, if it differs from that of the kind.
    default_text : str
        Description of a default that depends on other settings or data.
    annotation : str
        Type in docstrings, if it differs from that of the kind.
    """

    kind: Kind
    help: str
    see: str = ""
    metavar: str = ""
    default_text: str = ""
    annotation: str = ""


def setting(kind: Kind, default: Any = MISSING, *, help: str, **more: Any) -> Any:
    """Declare a setting as a field of a `SettingsGroup`; a default of None makes it optional."""
    return field(default=default, metadata={"declaration": Declaration(kind, help, **more)})


@dataclass(frozen=True, kw_only=True)
class SettingsGroup:
    """Group of settings, checked on construction.

    Fields are declared with `setting`, or are groups themselves. Subclasses check combinations
    of settings in ``__post_init__``, after ``super().__post_init__()``.
    """

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if "declaration" in each.metadata and not (value is None and each.default is None):
                object.__setattr__(self, each.name, each.metadata["declaration"].kind.check(each.name, value))

    @classmethod
    def declared(cls) -> dict[str, Field[Any]]:
        """Return all settings by name, including those of nested groups."""
        found: dict[str, Field[Any]] = {}
        for each in fields(cls):
            if "declaration" in each.metadata:
                found[each.name] = each
            else:
                found |= each.default_factory.declared()  # type: ignore[union-attr]
        return found

    def is_default(self, name: str) -> bool:
        """Check that a setting of this group, not of a nested one, has its default value."""
        default = self.declared()[name].default
        value = getattr(self, name)
        if default is None or value is None:
            return value is default
        default = self.declared()[name].metadata["declaration"].kind.check(name, default)
        return math.isclose(value, default) if isinstance(default, float) else bool(value == default)

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Self:
        """Make the group from settings by name; missing settings have their defaults.

        Raises
        ------
        BgnbError
            If a value is invalid.
        """
        values: dict[str, Any] = {}
        for each in fields(cls):
            if "declaration" not in each.metadata:
                values[each.name] = each.default_factory.from_options(options)  # type: ignore[union-attr]
            elif each.name in options:
                values[each.name] = options[each.name]
        return cls(**values)

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Make the group from the result of `as_dict`."""
        return cls.from_options(stored_options(cls, stored))

    def as_dict(self) -> dict[str, Any]:
        """Return the settings in the form stored in ``report.json``: plain values, units in the names."""
        stored: dict[str, Any] = {}
        for each in fields(self):
            value = getattr(self, each.name)
            if "declaration" in each.metadata:
                kind = each.metadata["declaration"].kind
                stored[each.name + kind.suffix] = None if value is None else kind.to_json(value)
            else:
                stored |= value.as_dict()
        return stored


def options_of(group: SettingsGroup) -> dict[str, Any]:
    """Return the checked values of a group by name, without those of nested groups."""
    return {each.name: getattr(group, each.name) for each in fields(group) if "declaration" in each.metadata}


def stored_options(group: type[SettingsGroup], stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings by name from a mapping with the names of `SettingsGroup.as_dict`, or with plain names.

    Raises
    ------
    BgnbError
        If a name is not the name of a setting, or a setting is given twice.
    """
    names: dict[str, tuple[str, Kind]] = {}
    for name, declared in group.declared().items():
        kind = declared.metadata["declaration"].kind
        names |= {name: (name, kind), name + kind.suffix: (name, kind)}
    options: dict[str, Any] = {}
    for given, value in stored.items():
        key = given.replace("-", "_")
        if key not in names:
            similar = difflib.get_close_matches(key, names, 1)
            advice = f"did you mean {similar[0]}?" if similar else f"use one of {', '.join(group.declared())}"
            raise BgnbError("unknown-choice", f"unknown setting '{given}'; {advice}")
        name, kind = names[key]
        if name in options:
            raise BgnbError("conflicting-arguments", f"{name} is given twice, the second time as '{given}'")
        # A number has the unit of the name only if the name has one: energy_min_tev, not energy_min.
        options[name] = value if value is None or key != name + kind.suffix else kind.from_json(value)
    return options


def read_config(path: Path, group: type[SettingsGroup]) -> dict[str, Any]:
    """Read settings from a TOML file, or from the ``report.json`` of an earlier production.

    Raises
    ------
    BgnbError
        If the file cannot be read, or has an unknown setting or an invalid value.
    """
    try:
        stored = _read_report(path) if path.suffix == ".json" else _read_toml(path)
        options = stored_options(group, stored)
        for name, value in options.items():
            if value is not None:
                group.declared()[name].metadata["declaration"].kind.check(name, value)
    except DataError:
        raise
    except BgnbError as error:
        raise BgnbError(error.code, f"{path}: {error.message}") from None
    except OSError as error:
        code = "not-found" if isinstance(error, FileNotFoundError) else "unreadable"
        raise BgnbError(code, f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        kinds = "a TOML file of settings or a report.json of bgnb"
        raise BgnbError("bad-config", f"{path}: is not {kinds}: {error}") from None
    return options


def _read_report(path: Path) -> dict[str, Any]:
    report = read_json(path, _without_repetition)
    if not isinstance(report, dict) or not isinstance(report.get("settings"), dict):
        raise ValueError("it has no object 'settings'")
    return report["settings"]


def _read_toml(path: Path) -> dict[str, Any]:
    import tomllib

    text = read_text(path, _TOML_MAX)
    if _MANY_PARTS.search(text):  # for which tomllib takes memory that grows as the square of their number
        raise ValueError("a key has too many parts")
    return tomllib.loads(text)


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object of JSON."""
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)} is given twice")
    return made


def with_settings(group: type[SettingsGroup], **defaults: Any) -> Callable[[Callable[..., R]], Callable[..., R]]:
    """Give a function the settings of a group as arguments.

    The function takes the group as its keyword argument ``settings``. Its callers give the
    single settings, which replace ``settings`` in the signature and ``{settings}`` in the docstring.

    Parameters
    ----------
    group : type of `SettingsGroup`
        The group.
    **defaults
        Defaults of this function that differ from those of the group.
    """
    declared = {name: each.metadata["declaration"] for name, each in group.declared().items()}
    values = {name: defaults.get(name, each.default) for name, each in group.declared().items()}

    def decorate(function: Callable[..., R]) -> Callable[..., R]:
        own = inspect.signature(function, eval_str=False).parameters
        before = [each for each in own.values() if each.kind is each.POSITIONAL_OR_KEYWORD]
        required = {each.name for each in before}
        arguments = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=value)
            for name, value in values.items()
            if name not in required
        ]
        after = [each for each in own.values() if each.kind is each.KEYWORD_ONLY and each.name != "settings"]
        signature = inspect.Signature([*before, *arguments, *after])
        takes = {*required, *(each.name for each in after)}

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> R:
            given = signature.bind(*args, **kwargs).arguments
            options = {name: given.get(name, values[name]) for name in values}
            own_arguments = {name: value for name, value in given.items() if name in takes}
            return function(**own_arguments, settings=group.from_options(options))

        call.__signature__ = signature  # type: ignore[attr-defined]
        call.settings_group = group  # type: ignore[attr-defined]
        call.__doc__ = _with_documented(
            function.__doc__ or "", {n: d for n, d in declared.items() if n not in required}, values
        )
        return call

    return decorate


def _with_documented(docstring: str, declared: Mapping[str, Declaration], defaults: Mapping[str, Any]) -> str:
    """Replace the line ``{settings}`` of a docstring by the documentation of the settings."""
    lines = []
    for line in docstring.splitlines():
        if line.strip() != "{settings}":
            lines.append(line)
            continue
        indent = line[: line.index("{")]
        for name, each in declared.items():
            optional = ", optional" if defaults[name] is None else ""
            lines.append(f"{indent}{name} : {each.annotation or _annotation(each.kind)}{optional}")
            text = each.help + (f" By default {each.default_text}." if each.default_text else "")
            text += f" See `{each.see}`." if each.see else ""
            lines += textwrap.wrap(text, 92 - len(indent), initial_indent=f"{indent}    ", subsequent_indent=f"{indent}    ")
    return "\n".join(lines)


def _annotation(kind: Kind) -> str:
    if isinstance(kind, Choice):  # those of Choices are many
        return "{" + ", ".join(f'"{name}"' for name in kind.names()) + "}"
    return kind.annotation
