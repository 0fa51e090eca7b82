"""Output that appears whole or not at all, and is replaced only where it is wholly ours."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from hashlib import sha256
from pathlib import Path
from secrets import token_hex

from bgnb._util.errors import BgnbError
from bgnb.files.locks import lock
from bgnb.files.manifest import MANIFEST, foreign_file, manifest_of, sync_folder

# Part of the names of all that stands beside a directory while it is made.
_MARK = ".bgnb-"
# What may go wrong with a disk while files are written.
_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)


@contextmanager
def new_directory(outdir: Path, *, overwrite: bool, inputs: tuple[Path, ...] = ()) -> Iterator[Path]:
    """A hidden directory beside ``outdir``, which becomes ``outdir`` when the block ends well.

    Until then nothing stands under the final name, and an older ``outdir`` is kept.

    Parameters
    ----------
    outdir : path
        The directory to make.
    overwrite : bool
        Replace it, if it holds nothing but what bgnb wrote there.
    inputs : tuple of path
        Directories that are read: ``outdir`` must lie in none of them, nor they in it.

    Raises
    ------
    BgnbError
        Where ``outdir`` is in the way, or cannot be written, or another process makes it.
    """
    with _named_errors(outdir):
        target = outdir.resolve()
        _check_apart(outdir, target, inputs)
    check_target(outdir, overwrite=overwrite)
    with scratch_directory(outdir) as partial:
        check_target(outdir, overwrite=overwrite)  # another process may have made it since, or died halfway
        with _named_errors(outdir, _DISK_ERRORS):
            yield partial
        with _named_errors(outdir):
            write_file(partial / MANIFEST, manifest_of(partial))
            sync_folder(partial)
            check_target(outdir, overwrite=overwrite)
            _publish(partial, target)
            shutil.rmtree(kept_folder(target), ignore_errors=True)


@contextmanager
def scratch_directory(outdir: Path) -> Iterator[Path]:
    """A hidden directory beside ``outdir``, which is removed when the block ends.

    What a process that died has left is swept by the next one. A lock, which dies with its
    process, lets one process at a time work beside ``outdir``.

    Raises
    ------
    BgnbError
        Where it cannot be made, or another process has it.
    """
    with _named_errors(outdir):
        target = outdir.resolve()
        target.parent.mkdir(parents=True, exist_ok=True)
    with _only_maker(outdir, target) as locked:
        partial = _hidden(target, "partial" if locked else f"partial-{token_hex(4)}")
        try:
            with _named_errors(outdir):
                _sweep(target, partial)
                partial.mkdir()
            yield partial
        finally:
            try:
                shutil.rmtree(partial, ignore_errors=True)
            finally:  # again, where a signal ended the first
                shutil.rmtree(partial, ignore_errors=True)


def kept_folder(outdir: Path) -> Path:
    """A hidden folder beside ``outdir`` for what is of use until it is there."""
    return _hidden(outdir.resolve(), "kept")


def write_file(path: Path, content: bytes) -> None:
    """Write a file that appears under its name only when it is complete and on disk."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise BgnbError(f"{path}: cannot be written: {error.strerror}") from None
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def check_target(outdir: Path, *, overwrite: bool) -> None:
    """Complain where a directory cannot be made or replaced.

    Raises
    ------
    BgnbError
        Where it is a file, holds what bgnb did not write there, is the current directory or
        a mount point, or exists and ``overwrite`` is false.
    """
    with _named_errors(outdir):
        target = outdir.resolve()
        if is_hidden(target.name):
            raise BgnbError(f"{outdir}: is a name that bgnb uses while it makes a directory; take another")
        if not os.path.lexists(target):
            return
        if not target.is_dir():
            raise BgnbError(f"{outdir}: is a file; name a directory")
        if any(target.iterdir()):
            if foreign := foreign_file(target):
                raise BgnbError(f"{outdir}: holds {foreign}, which bgnb did not write there; name another directory")
            if not overwrite:
                raise BgnbError(f"{outdir}: exists already; use --overwrite (overwrite=True) to replace it")
        if _is_current(target):
            raise BgnbError(f"{outdir}: is the current directory, and cannot be replaced from within")
        if target.is_mount():
            raise BgnbError(f"{outdir}: is a mount point, and cannot be replaced; name a directory in it")


def is_hidden(name: str) -> bool:
    """Whether it is a name of what stands beside a directory while it is made."""
    return name.startswith(".") and _MARK in name


def _hidden(target: Path, kind: str) -> Path:
    """What stands beside a directory while it is made; the name of no file may have more than 255 bytes."""
    name = os.fsencode(target.name)
    return target.with_name(f".{target.name if len(name) < 200 else sha256(name).hexdigest()}{_MARK}{kind}")


@contextmanager
def _named_errors(outdir: Path, kinds: Collection[int] = ()) -> Iterator[None]:
    """Errors of the system as one line about ``outdir``; of those ``kinds`` (errno), or of all."""
    try:
        yield
    except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: a loop of links; ValueError: a path that is none
        if kinds and getattr(error, "errno", None) not in kinds:
            raise
        if isinstance(error, FileExistsError | NotADirectoryError):
            raise BgnbError(f"{outdir}: cannot be made: a part of the path is a file") from error
        text = getattr(error, "strerror", None) or str(error)
        where = getattr(error, "filename", None)
        raise BgnbError(f"{outdir}: cannot be written: {text}{f' ({os.fsdecode(where)})' if where else ''}") from error


@contextmanager
def _only_maker(outdir: Path, target: Path) -> Iterator[bool]:
    """Hold a lock beside the target; false where the system has none."""
    with ExitStack() as stack:
        with _named_errors(outdir):
            try:
                locked = stack.enter_context(lock(_hidden(target, "lock")))
            except BlockingIOError:
                raise BgnbError(f"{outdir}: another bgnb is making it; wait for it, or name another directory") from None
        yield locked


def _sweep(target: Path, partial: Path) -> None:
    """Remove what a process that died has left; an older target that it had put aside comes back."""
    old = _hidden(target, "old")
    if old.exists():
        if os.path.lexists(target):
            shutil.rmtree(old)
        else:
            old.rename(target)
    if os.path.lexists(partial):
        shutil.rmtree(partial)


def _check_apart(outdir: Path, target: Path, inputs: tuple[Path, ...]) -> None:
    for source in (path.resolve() for path in inputs):
        if target.is_relative_to(source) or source.is_relative_to(target):
            raise BgnbError(f"{outdir}: is, holds or lies inside the input {source}; name a directory apart from it")


def _is_current(target: Path) -> bool:
    try:
        return Path.cwd().is_relative_to(target)
    except OSError:  # it was removed
        return False


def _publish(partial: Path, target: Path) -> None:
    """Give the new directory its name; an old one, if there is one, gets that of the new one, or is removed."""
    if not target.exists():
        partial.rename(target)
    elif not _exchange(partial, target):
        _replace(partial, target)
    sync_folder(target.parent)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two directories at once, so that there always is one; false where the system cannot."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError, TypeError):
        return False
    at_working_directory, exchange = -100, 2  # linux/fcntl.h, linux/fs.h
    return bool(rename(at_working_directory, os.fsencode(one), at_working_directory, os.fsencode(other), exchange) == 0)


def _replace(partial: Path, target: Path) -> None:
    """Put the old directory aside, and the new one in its place."""
    old = _hidden(target, "old")
    target.rename(old)
    try:
        partial.rename(target)
    except BaseException:
        if not target.exists():
            old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)
