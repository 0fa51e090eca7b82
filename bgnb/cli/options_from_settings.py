"""Options derived from declared settings, and options shared by several commands."""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Callable, Mapping
from dataclasses import MISSING
from pathlib import Path
from typing import Any, get_args

import click

from bgnb._util.errors import BgnbError
from bgnb._util.setting_kinds import Choice, Flag, Number, Whole
from bgnb._util.settings_file import read_config
from bgnb._util.settings_groups import Declaration, SettingsGroup
from bgnb.cli.as_typed import name_options, paths_as_given
from bgnb.observations.reading_settings import Scheme
from bgnb.simulation.settings import Pair


class LazyChoice(click.Choice[str]):
    """Choice of names, ignoring case, that are looked up only for values, help and completion."""

    def __init__(self, kind: Choice) -> None:
        self._names, self._aliases = kind.names, kind.aliases
        super().__init__(())  # case is ignored in `convert`, so that messages list the names as they are spelled

    @property
    def choices(self) -> tuple[str, ...]:
        """Names to choose from."""
        return tuple(self._names())

    @choices.setter
    def choices(self, value: object) -> None:
        """Ignore the names that click sets."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the name in its spelling; accept earlier names as well."""
        spelled = {name.lower(): name for name in self.choices} | dict(self._aliases())
        return super().convert(spelled.get(str(value).lower(), value), param, ctx)


class FilePath(click.Path):
    """Path, ~ being the home directory also where the shell kept it; not an empty text, which would be the current one."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path."""
        if value == "":
            self.fail("is empty, as a variable of the shell that is not set; '.' is the current directory", param, ctx)
        return super().convert(os.path.expanduser(value), param, ctx)  # noqa: PTH111 # that of Path drops ./ before a ~


class Command(click.Command):
    """Command that accepts settings from a file."""

    def invoke(self, ctx: click.Context) -> Any:
        """Take settings that are not on the command line from the file of ``--config``; in errors, name options."""
        given = click.core.ParameterSource.COMMANDLINE
        for name, value in (ctx.params.pop("config", None) or {}).items():
            if ctx.get_parameter_source(name) is not given:
                ctx.params[name] = value
        try:
            return super().invoke(ctx)
        except BgnbError as error:
            message = paths_as_given(name_options(error.message, self, ctx.params.values()))
            if message == error.message:
                raise
            raise type(error)(error.code, message) from error


def settings(group: type[SettingsGroup], **defaults: Any) -> Callable[[Any], Any]:
    """Make the options of the settings of a group.

    Parameters
    ----------
    group : type of `SettingsGroup`
        The group; settings without a default are arguments of the command.
    **defaults
        Defaults that differ from those of the group.
    """
    made = []
    for name, each in group.declared().items():
        default = defaults.get(name, each.default)
        if default is MISSING:
            kind = each.metadata["declaration"].kind
            type_ = LazyChoice(kind) if isinstance(kind, Choice) else FilePath()
            made.append(click.argument(name, type=type_, metavar=name.upper()))
        else:
            made.append(_option(name, each.metadata["declaration"], default))

    def decorate(command: Any) -> Any:
        for option in reversed(made):
            command = option(command)
        return command

    return decorate


def _option(name: str, declared: Declaration, default: Any) -> Callable[[Any], Any]:
    kind = declared.kind
    metavar = declared.metavar or kind.metavar
    more: dict[str, Any] = {"metavar": metavar} if metavar else {}
    names = f"--{name.replace('_', '-')}"
    if isinstance(kind, Flag):
        names = f"{names}/--no-{names[2:]}"
    elif isinstance(kind, Choice):
        more |= {"type": LazyChoice(kind)}
    elif isinstance(kind, Whole | Number):
        more |= {"type": int if isinstance(kind, Whole) else float}
    elif isinstance(kind, Pair):
        more |= {"nargs": 2, "type": kind.type}
    else:
        more |= {"type": str, "multiple": kind.multiple}
    text = declared.help + " May be repeated." * kind.multiple
    shown: bool | str = declared.default_text or (default not in (None, ()) and not isinstance(kind, Flag))
    more |= {"default": default, "show_default": shown, "help": text}
    return click.option(names, name, **more)


def config(group: type[SettingsGroup], renamed: Mapping[str, str] | None = None) -> Callable[[Any], Any]:
    """Make the option ``--config`` for the settings of a group; the command may have other names for some of them."""
    names = renamed or {}

    def read(_: click.Context, __: click.Parameter, path: Path | None) -> dict[str, Any] | None:
        without_default = [name for name, each in group.declared().items() if each.default is MISSING]
        found = {} if path is None else read_config(path, group)
        return {names.get(name, name): value for name, value in found.items() if name not in without_default}

    text = "Take settings (not arguments) from a TOML file, or from the report.json of earlier models; options take precedence."
    return click.option("--config", type=FilePath(), callback=read, metavar="FILE", help=text)


def path_argument(name: str, **options: Any) -> Callable[[Any], Any]:
    """Declare an argument that is a path."""
    return click.argument(name, type=FilePath(), **options)


def scheme_argument(**options: Any) -> Callable[[Any], Any]:
    """Declare the argument for the layout of a directory of runs."""
    return click.argument("scheme", type=LazyChoice(Choice(lambda: get_args(Scheme))), **options)


overwrite = click.option("--overwrite", is_flag=True, help="Replace the output of an earlier call.")


def checks_outdir(*inputs: str) -> Callable[[Any], Any]:
    """Refuse an OUTDIR that cannot be made, or contains an input, before the slow imports of a command."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def checked(*args: Any, **arguments: Any) -> Any:
            from bgnb.files.output_directory import check_before_start

            if (outdir := arguments["outdir"]) is not None:
                given = (arguments[name] for name in inputs)
                paths = itertools.chain(*(paths if isinstance(paths, tuple) else (paths,) for paths in given))
                check_before_start(outdir, overwrite=arguments["overwrite"], kind=None, inputs=map(Path, paths))
            return function(*args, **arguments)

        return checked

    return decorate


workers = click.option(
    "--workers", type=int, help="Number of processes on this machine.  [default: all cores, fewer for little work]"
)


def warn(errors: Mapping[int, str]) -> None:
    """Print a warning on runs that cannot be used."""
    if errors:
        click.echo(f"Warning: {len(errors)} run{'s' * (len(errors) > 1)} cannot be used; see above and report.json", err=True)
