"""Command ``bgnb``: one subcommand per public function, with the same name and arguments."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from bgnb._util.errors import BgnbError, notes_of
from bgnb._util.resource_limits import check_memory_limits
from bgnb._version import __version__
from bgnb.cli import comparing, models, notebooks, simulations
from bgnb.files.output_file import source_date

#: Commands by purpose, in the order of typical use.
COMMANDS: Mapping[str, tuple[click.Command, ...]] = {
    "Runs": (comparing.inspect,),
    "Models": (models.make_bg_cube_models, models.merge, models.check, models.attach),
    "Validation": (comparing.validate, comparing.cross_validate, comparing.check_runs, comparing.compare_models),
    "Simulations": (simulations.make_true_reco, simulations.make_test_dataset, simulations.make_test_bg_cube_model),
    "Pictures, dashboards and notebooks": (
        notebooks.plot,
        notebooks.lab,
        notebooks.run_groups,
        notebooks.run_notebook,
        notebooks.copy_notebooks,
    ),
}
#: Short names of commands.
SHORT = {"true-reco": "make-true-reco", "compare": "compare-models", "run": "run-notebook", "notebooks": "copy-notebooks"}


# Errors of file systems that may occur anywhere.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
_REFUSED = (
    errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG,
)  # fmt: skip


class _BadInput(click.ClickException):
    exit_code = 2


def _has_current_directory() -> bool:
    try:
        Path.cwd()
    except FileNotFoundError:
        return False
    return True


def _has_temporary_directory() -> bool:
    from tempfile import gettempdir

    try:
        gettempdir()
    except OSError:
        return False
    return True


class _Commands(click.Group):
    """Group of commands that report an error in one line, with exit status 2."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            check_memory_limits()
            source_date()  # with an invalid one, libraries fail
            return super().invoke(ctx)
        except BgnbError as error:
            raise _BadInput("\n".join([str(error), *notes_of(error)])) from error
        except (MemoryError, ImportError, OSError) as error:
            if isinstance(error, FileNotFoundError) and not _has_current_directory():
                text = "the current directory was removed; change to another directory, or make it again and enter it anew"
                raise _BadInput(str(BgnbError("not-found", text))) from None
            if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
                text = f"{error.strerror}; permit more (ulimit -n), or use fewer workers"
                raise _BadInput(str(BgnbError("too-many-files", text))) from None
            if isinstance(error, OSError) and not _has_temporary_directory():
                text = "no directory for temporary files is writable; set TMPDIR to one that is"
                raise _BadInput(str(BgnbError("not-writable", text))) from None
            if isinstance(error, OSError) and error.errno in (*_FULL, *_REFUSED):
                where = f"{error.filename}: " if isinstance(error.filename, str) else ""
                text = f"{where}{error.strerror}; is the file system there, writable and not full?"
                raise _BadInput(str(BgnbError("not-writable" if error.errno in _FULL else "unreadable", text))) from error
            if not _lacks_memory(error):
                raise
            advice = "use fewer workers, smaller axes or fewer runs at a time (--part), or allow more memory"
            text = f"not enough memory{f': {error}' if str(error) else ''}; {advice}"
            raise _BadInput(str(BgnbError("out-of-memory", text))) from None

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return super().get_command(ctx, SHORT.get(cmd_name, cmd_name))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for heading, commands in COMMANDS.items():
            with formatter.section(heading):
                formatter.write_dl([(str(command.name), command.get_short_help_str(72)) for command in commands])


def _lacks_memory(error: Exception) -> bool:
    """Return true if memory does not suffice for values, or for a library that is loaded."""
    if isinstance(error, ImportError):  # the dynamic linker gives its reason as a text only
        return any(reason in str(error) for reason in ("failed to map segment", "annot allocate memory"))
    return isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="bgnb")
def main() -> None:
    """Background cube models for very-high-energy gamma-ray astronomy.

    \b
    Examples:
      bgnb make-bg-cube-models hess-dl3-dr1 GADF models
      bgnb make-true-reco truth --test
      bgnb lab models

    Short names: true-reco, compare, run and notebooks.
    """


for _command in (command for commands in COMMANDS.values() for command in commands):
    main.add_command(_command)
