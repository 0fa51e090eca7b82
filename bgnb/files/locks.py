"""Locks between processes, which are released when the process that owns them ends."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bgnb._util.errors import BgnbError
from bgnb.files.ownership import is_own_directory

try:
    import fcntl
except ImportError:  # as on Windows
    fcntl = None  # type: ignore[assignment]

# Maximum number of attempts to lock a file; one fails if another process removes the file in between.
_ATTEMPTS = 20


@contextmanager
def lock(path: Path) -> Iterator[bool]:
    """Hold a lock on a file, which exists during the block; yield false if the file system has no locks.

    Its folder is made if it is missing, so that only the user has access, and removed after the block if it is empty.

    Raises
    ------
    BlockingIOError
        If another process holds it.
    BgnbError
        If the folder is not a directory of the user.
    OSError
        If the file cannot be written, or there is a link, directory, pipe or device in its place.
    """
    for attempt in range(_ATTEMPTS):
        with _opened(path) as file:
            locked = _take(file)
            if locked and not _is_at(path, file):
                if attempt < _ATTEMPTS - 1:
                    continue  # another process released the lock and removed its file after we opened, but before we locked it
                locked = False  # the file system does not keep the numbers of files
            try:
                yield locked
            finally:
                with suppress(OSError):
                    path.unlink()
            return


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    """Open a file, which is made if necessary; refuse links and anything else that somebody may have put there."""
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    file = None
    while file is None:
        _make_folder(path.parent)
        try:
            with suppress(FileNotFoundError):  # another process removed the folder
                file = os.open(path, flags, 0o666)
        except OSError as error:
            with suppress(OSError):
                path.parent.rmdir()
            if error.errno == errno.ELOOP:
                raise _not_regular(path) from None
            raise
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise _not_regular(path)
        yield file
    finally:
        with suppress(OSError):  # the file system is gone, or reports now that a disk is full: nothing was written to it
            os.close(file)
        with suppress(OSError):
            path.parent.rmdir()  # not before: on NFS, an open file that was removed has another name in the folder


def _make_folder(folder: Path) -> None:
    """Make a private folder if it is missing; refuse one of another user, and links."""
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        if not is_own_directory(folder) and os.path.lexists(folder):
            what = "is not a directory of this user; another user may be at work: use another name, or remove it"
            raise BgnbError("foreign-files", f"{folder}: {what}") from None


def _not_regular(path: Path) -> OSError:
    return OSError(errno.EINVAL, f"{path} is not a regular file; remove it")


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
        return os.path.samestat(path.lstat(), os.fstat(file))
    except FileNotFoundError:
        return False
