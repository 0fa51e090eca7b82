"""Errors and results in the words of the user: options instead of arguments of Python, and paths as they were given."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click


def name_options(message: str, command: click.Command, values: Iterable[Any]) -> str:
    """Name the options of a command, instead of the arguments of the function that it calls, in the message of an error.

    Messages name an argument as the first word, as `unknown NAME '...'` or in `NAME = value`. Other names with an
    underscore are replaced if one of these is found.
    """
    names = {str(each.name): each.opts[0] for each in command.params if isinstance(each, click.Option)}
    any_name, several = "|".join(names), "|".join(name for name in names if "_" in name)  # other names are words as well

    def replace(pattern: str, text: str) -> str:
        return re.sub(pattern, lambda found: names[found["name"]], text)

    def with_value(found: re.Match[str]) -> str:
        return names[found["name"]] if found["value"] == "True" else f"{names[found['name']]} {found['value']}"

    if not names:
        return message
    named = re.sub(rf"(?<!\S)(?P<name>{any_name}) = (?P<value>[^\s,;:]+)", with_value, message)
    if message.partition(":")[0] not in map(str, values):  # otherwise it is a path
        named = replace(rf"^(?P<name>{any_name})(?=:? )", named)
    named = replace(rf"(?<=^unknown )(?P<name>{any_name})(?= ')", named)
    if named != message and several:
        named = replace(rf"(?<= )(?P<name>{several})(?=[ ,;:]|$)", named)
    return named


def paths_as_given(text: str) -> str:
    """Replace the absolute form of a path that the user gave as a relative one."""
    given = click.get_current_context().params.values()
    for path in (each for value in given for each in (value if isinstance(value, tuple) else (value,))):
        if isinstance(path, Path) and not path.is_absolute():
            absolute = re.escape(os.path.normpath(path.absolute()))
            text = re.sub(rf"(?<![\w./-]){absolute}(?![\w.-])", str(path).replace("\\", r"\\"), text)
    return text


def say(text: object) -> None:
    """Print the result of a command."""
    click.echo(paths_as_given(str(text)))
