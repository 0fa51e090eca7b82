"""Standard streams that are closed, or that cannot be written."""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import Any

import click

from bgnb._util.errors import BgnbError, printable


def open_closed_streams() -> None:
    """Connect standard streams that are closed, as by ``2>&-``, to the null device.

    Otherwise the next files that are opened take their places.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.dup2(opened := os.open(os.devnull, os.O_RDWR), number)
            if opened != number:
                os.close(opened)
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115 - until the process ends


def name_output_errors() -> None:
    """Let errors of writing standard output end a command with one line; a closed pipe ends it without one.

    Control characters, as in names of files, are replaced.
    """
    old = sys.stdout
    raw: Any = io.BufferedWriter(_StandardOutput(old.fileno(), "w", closefd=False))
    options = {"encoding": old.encoding, "errors": old.errors, "line_buffering": old.line_buffering}
    sys.stdout = _PrintableText(raw, **options)  # type: ignore[arg-type]


class OutputError(click.ClickException):
    """Standard output that cannot be written."""

    exit_code = 2


class _PrintableText(io.TextIOWrapper):
    def write(self, text: str) -> int:
        super().write("\n".join(map(printable, text.split("\n"))))
        return len(text)


class _StandardOutput(io.FileIO):
    def write(self, data: Any) -> int | None:  # type: ignore[override]
        try:
            return super().write(data)
        except OSError as error:
            if error.errno == errno.EPIPE:
                raise
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self.fileno())  # Python writes the rest at its end
            os.close(null)
            text = f"standard output cannot be written: {error.strerror}; files that the command made are complete"
            raise OutputError(str(BgnbError("not-writable", text))) from None
