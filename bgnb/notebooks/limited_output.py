"""Limit on what the cells of a notebook run in batch may print."""

from __future__ import annotations

from ipykernel.iostream import OutStream

#: Maximum size of what a notebook prints to one of its streams.
MAX_PRINTED = 20_000_000
# Size of a line in memory and in the file, besides its characters.
_LINE = 50


class LimitedOutput(OutStream):
    """Standard output or standard error of a kernel, of which what exceeds a limit is left out.

    A loop that prints without end would fill the memory, and no time limit could end it.
    """

    _printed = 0

    def write(self, string: str) -> int:
        """Print a text, unless the limit was exceeded."""
        before = self._printed
        self._printed += len(string) + _LINE * string.count("\n")
        if self._printed <= MAX_PRINTED:
            super().write(string)
        elif before <= MAX_PRINTED:
            super().write(f"\nThe notebook printed more than {MAX_PRINTED // 1_000_000} MB; the rest is left out.\n")
        return len(string)
