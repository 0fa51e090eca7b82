"""Locks between processes, which are released when the process that owns them ends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bgnb._util.reading import open_to_append

try:
    import fcntl
except ImportError:  # as on Windows
    fcntl = None  # type: ignore[assignment]


@contextmanager
def lock(path: Path) -> Iterator[bool]:
    """Hold a lock on a file, which exists during the block; yield false if the file system has no locks.

    Raises
    ------
    BlockingIOError
        If another process holds it.
    DataError
        If there is a directory, pipe or device in place of the file.
    OSError
        If the file cannot be written.
    """
    while True:
        with open_to_append(path) as file:
            locked = _take(file.fileno())
            if locked and not _is_at(path, file.fileno()):
                continue  # another process released the lock and removed its file after we opened, but before we locked it
            try:
                yield locked
            finally:
                with suppress(OSError):
                    path.unlink()
            return


def _take(file: int) -> bool:
    """Take a lock, or raise BlockingIOError; return false if locks are not supported, as on some network file systems."""
    try:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return fcntl is not None
    except BlockingIOError:
        raise
    except OSError:
        return False


def _is_at(path: Path, file: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file))
    except FileNotFoundError:
        return False
