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
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any, Self, TypeVar

from bgnb._util.errors import BgnbError, quoted
from bgnb._util.setting_kinds import Choice, Kind

R = TypeVar("R")


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
            raise BgnbError("unknown-choice", f"unknown setting {quoted(given)}; {advice}")
        name, kind = names[key]
        if name in options:
            raise BgnbError("conflicting-arguments", f"{name} is given twice, the second time as {quoted(given)}")
        # A number has the unit of the name only if the name has one: energy_min_tev, not energy_min.
        options[name] = value if value is None or key != name + kind.suffix else kind.from_json(value)
    return options


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
