"""Limit of what the cells of a notebook that is executed in batch print."""

from __future__ import annotations

import threading

from ipykernel.iostream import OutStream

#: Maximum number of characters that a notebook prints to one of its streams.
MAX_PRINTED = 20_000_000


class LimitedOutput(OutStream):
    """Standard output or standard error of a kernel.

    A loop that prints without end would fill the memory, and no time limit could end it.
    """

    _printed = 0

    def write(self, string: str) -> int:
        """Print a text, or raise OSError in the cell if it exceeds the limit; what other threads print is dropped then."""
        self._printed += len(string)
        if self._printed <= MAX_PRINTED:
            super().write(string)
        elif threading.current_thread() is threading.main_thread():
            raise OSError(f"the notebook prints more than {MAX_PRINTED // 1_000_000} MB")
        return len(string)
