"""The command line, in this process."""

from __future__ import annotations

from click.testing import CliRunner, Result

from bgnb.cli.main import main


def command(*arguments: object) -> Result:
    """What becomes of a command."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def output_of(*arguments: object) -> str:
    """What a command says, which must end well."""
    result = command(*arguments)
    assert result.exit_code == 0, result.output
    return result.output


def error_of(*arguments: object) -> str:
    """The line with which a command ends that cannot do its work."""
    result = command(*arguments)
    assert result.exit_code == 2, result.output
    *usage, line = result.stderr.splitlines()
    assert line.startswith("Error: ")
    assert not usage or usage[0].startswith("Usage: ")
    return line
