"""Standard streams that are closed, that cannot be written, or that get control characters."""

from __future__ import annotations

import codecs
import errno
import io
import os
import re
import sys
from select import select
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
            os.set_inheritable(number, True)  # Jupyter kernels inherit it; dup2 changes nothing if both numbers are the same
            if opened != number:
                os.close(opened)
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115 - until the process ends


def guard_streams() -> None:
    """Let standard output and standard error write any text, without the control characters that files and names may contain.

    Errors of writing standard output end a command with one line; a closed pipe ends it without one. Errors of writing
    standard error are ignored; the exit status still reports a failure.
    """
    out = _StandardOutput(sys.stdout.fileno(), "w", closefd=False)
    error = _StandardError(sys.stderr.fileno(), "w", closefd=False)
    sys.stdout = _PrintableText(io.BufferedWriter(out), sys.stdout, "\n\t")
    sys.stderr = _PrintableText(io.BufferedWriter(error), sys.stderr, "\n\t\r")  # progress bars return to the start of the line


class _PrintableText(io.TextIOWrapper):
    """Text in which control characters are replaced, as terminals would interpret them, and what the encoding lacks."""

    def __init__(self, raw: Any, old: Any, kept: str) -> None:
        encoding = "utf-8" if codecs.lookup(old.encoding).name == "ascii" else old.encoding  # as click does
        super().__init__(raw, encoding, "backslashreplace", line_buffering=old.line_buffering)
        self._shown = re.compile(f"[^{kept}]+")

    def write(self, text: str) -> int:
        super().write(self._shown.sub(lambda part: printable(part[0]), text))
        return len(text)


class OutputError(click.ClickException):
    """Standard output that cannot be written."""

    exit_code = 2


class _WaitingFile(io.FileIO):
    """A file that waits while it is full, also if another program that shares it has made it non-blocking."""

    def write(self, data: Any) -> int:
        while (written := super().write(data)) is None:
            select([], [self], [])
        return written


class _StandardOutput(_WaitingFile):
    def write(self, data: Any) -> int:
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


class _StandardError(_WaitingFile):
    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError:
            return len(data)
