"""Run commands of bgnb in this process."""

from __future__ import annotations

from click.testing import CliRunner, Result

from bgnb.cli.main import main


def command(*arguments: object) -> Result:
    """Run a command."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def output_of(*arguments: object) -> str:
    """Run a command that succeeds, and return its output."""
    result = command(*arguments)
    assert result.exit_code == 0, result.output
    return result.output


def error_of(*arguments: object) -> str:
    """Run a command that fails, and return the line with its error."""
    result = command(*arguments)
    assert result.exit_code == 2, result.output
    *usage, line = result.stderr.splitlines()
    assert line.startswith("Error: ")
    assert not usage or usage[0].startswith("Usage: ")
    return line
