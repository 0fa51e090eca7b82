"""Output directories: written completely or not at all, and replaced only if bgnb wrote everything in them.

Unfinished files are in a private folder beside the output. Somebody who may rename directories of the user can give its
name to any of them, but cannot make anything in a private one: bgnb removes only what has one of its own names there.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from secrets import token_hex

from bgnb._util.errors import BgnbError
from bgnb._util.signals import held_signals, note_complete
from bgnb.files.locks import lock
from bgnb.files.manifest import MANIFEST, Kind, manifest_of, obstacle, sync_folder
from bgnb.files.output_file import (
    MARK,
    check_overwrite,
    hidden_path,
    is_hidden,
    is_in,
    keep_permissions,
    named_errors,
    refuse_home,
    source_date,
    write_file,
)
from bgnb.files.ownership import is_own_directory, is_private, resolved

# The lock, the unfinished directory, an older one that is being replaced, and results for a second attempt.
_LOCK, _NEW, _OLD, _KEPT = (f"{MARK}{kind}" for kind in ("lock", "unfinished", "replaced", "kept"))
# Disk errors while files are written.
_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)


@contextmanager
def new_directory(outdir: Path, *, overwrite: bool, kind: Kind, inputs: tuple[Path, ...] = ()) -> Iterator[Path]:
    """Make a hidden directory beside ``outdir``, which is renamed to ``outdir`` on success.

    Until then ``outdir`` does not exist, or an older one remains unchanged.

    Parameters
    ----------
    outdir : path
        The directory to make.
    overwrite : bool
        Replace it, if bgnb wrote all files in it, they are unchanged, and it has the same kind of content.
    kind : str
        Kind of content.
    inputs : tuple of path
        Directories that are read; they must not contain ``outdir``, nor lie in it.

    Yields
    ------
    `~pathlib.Path`
        The hidden directory.

    Raises
    ------
    BgnbError
        If ``outdir`` cannot be replaced or written, or another process is writing it.
    """
    check_before_start(outdir, overwrite=overwrite, kind=kind, inputs=inputs)
    with scratch_directory(outdir) as partial:
        # Another process may have made it since, or was killed between two renames.
        check_target(outdir, overwrite=overwrite, kind=kind)
        with named_errors(outdir, _DISK_ERRORS):
            yield partial
        with named_errors(outdir):
            if not (partial / MANIFEST).exists():
                write_file(partial / MANIFEST, manifest_of(partial, kind))
            sync_folder(partial)
            check_target(outdir, overwrite=overwrite, kind=kind)
            target = resolved(outdir)
            with held_signals():
                _publish(partial, target)
                note_complete(outdir)
            remove_tree(kept_folder(target), ignore_errors=True)


def check_before_start(outdir: Path, *, overwrite: bool, kind: Kind | None, inputs: Iterable[Path] = ()) -> None:
    """Refuse a directory that `new_directory` could not make now; nothing is made, and no file is read but the manifest.

    Raises
    ------
    BgnbError
        As `new_directory`.
    """
    refuse_inputs(outdir, inputs)
    source_date()
    check_target(outdir, overwrite=overwrite, kind=kind, changed=False)
    if os.path.lexists(_folder(resolved(outdir))):
        with only_writer(outdir):
            return


def refuse_inputs(outdir: Path, inputs: Iterable[Path]) -> None:
    """Refuse an output directory that contains an input, or lies in one.

    Raises
    ------
    BgnbError
        If it does.
    """
    with named_errors(outdir):
        target = resolved(outdir)
        for source in (path.resolve() for path in inputs):
            if is_in(target, source) or is_in(source, target):
                raise BgnbError("bad-target", f"{outdir}: contains the input {source}, or lies in it; use another directory")


@contextmanager
def scratch_directory(outdir: Path) -> Iterator[Path]:
    """Make a hidden directory beside ``outdir``, which is removed at the end of the block.

    Leftovers of a process that was killed are removed first. One process at a time can work beside ``outdir``.

    Yields
    ------
    `~pathlib.Path`
        The hidden directory.

    Raises
    ------
    BgnbError
        If it cannot be made, or another process uses it.
    """
    with only_writer(outdir) as locked:
        target = resolved(outdir)
        # Another machine may hold the same lock, if locks of a network file system are local.
        partial = _folder(target) / f"{_NEW}-{token_hex(4)}"
        try:
            with named_errors(outdir):
                _remove_leftovers(target, partial.parent, unfinished=locked)
                partial.mkdir()
            yield partial
        except BgnbError as error:  # whoever reads it finds no hidden directory
            error.message = error.message.replace(f"{partial}{os.sep}", f"{outdir}{os.sep}")
            raise
        finally:
            try:
                remove_tree(partial, ignore_errors=True)
            finally:  # again, if a signal interrupted the first
                remove_tree(partial, ignore_errors=True)


@contextmanager
def only_writer(path: Path) -> Iterator[bool]:
    """Hold a lock beside a file or directory that is to be made; its parent directories are made first.

    If the block fails, those that are empty are removed again.

    Yields
    ------
    bool
        False if the file system has no locks.

    Raises
    ------
    BgnbError
        If another process has the lock, or it cannot be made.
    """
    with named_errors(path):
        target = resolved(path)
        missing = [parent for parent in target.parents if not parent.exists()]
    folder = _folder(target)
    try:
        with ExitStack() as stack:
            with named_errors(path):
                target.parent.mkdir(parents=True, exist_ok=True)
                try:
                    locked = stack.enter_context(lock(folder / _LOCK))
                except BlockingIOError:
                    raise _in_use(path) from None
                _require_own_files(folder)
            yield locked
    except BaseException:
        for parent in missing:
            with suppress(OSError):
                parent.rmdir()
        raise


def kept_folder(outdir: Path) -> Path:
    """Return the path of a hidden folder for results that a second attempt can use; its parent is there in `new_directory`."""
    return _folder(resolved(outdir)) / _KEPT


def _require_own_files(folder: Path) -> None:
    """Refuse a hidden folder with other files than those of bgnb, or in which somebody else may have made them."""
    names = {path.name for path in folder.iterdir()} - {_LOCK}
    if not all(name.startswith(MARK) for name in names) or (names and not is_private(folder)):
        what = "contains files that bgnb did not make, or that others could change"
        raise BgnbError("foreign-files", f"{folder}: {what}; move or remove it yourself")


def _in_use(path: Path) -> BgnbError:
    return BgnbError("in-use", f"{path}: another process is writing it; wait until it ends, or use another name")


def check_target(outdir: Path, *, overwrite: bool, kind: Kind | None, changed: bool = True) -> None:
    """Refuse a directory that cannot be made or replaced.

    Parameters
    ----------
    outdir : path
        The directory.
    overwrite : bool
        It may exist.
    kind : str or None
        Kind of content that it may have; None for any.
    changed : bool
        Compare all files with their checksums.

    Raises
    ------
    BgnbError
        If it is a file, contains files that bgnb did not write or that were changed, or another
        kind of content, is the current directory or a mount point, or exists and ``overwrite`` is false.
    """
    check_overwrite(overwrite)
    refuse_home(outdir)
    with named_errors(outdir):
        target = resolved(outdir)
        if is_hidden(target.name):
            raise BgnbError("bad-target", f"{outdir}: bgnb uses such names for unfinished directories; use another name")
        if not os.path.lexists(target):
            return
        if not target.is_dir():
            raise BgnbError("bad-target", f"{outdir}: is a file; use a directory")
        if any(target.iterdir()):
            _require_from_bgnb(target, outdir, kind=kind, changed=overwrite and changed)
            if not overwrite:
                raise BgnbError("exists", f"{outdir}: exists already; use overwrite = True to replace it")
        if _is_current(target):
            raise BgnbError(
                "bad-target", f"{outdir}: is the current directory, which cannot be replaced; use another directory"
            )
        status = target.stat()  # where files are not numbered, each directory would be a mount point
        if target.is_mount() and (status.st_ino != 0 or status.st_dev != target.parent.stat().st_dev):
            raise BgnbError("bad-target", f"{outdir}: is a mount point, which cannot be replaced; use a directory in it")


def _require_from_bgnb(directory: Path, outdir: Path, *, kind: Kind | None, changed: bool = False) -> None:
    """Refuse a directory with files that bgnb did not write, of another kind or, if asked, that were changed since."""
    if found := obstacle(directory, kind=kind, changed=changed):
        advice = "use another directory, or move or remove this one yourself"
        raise BgnbError("foreign-files", f"{outdir}: contains {found}; {advice}")


def _folder(target: Path) -> Path:
    """Return the path of the hidden, private folder beside a file or directory."""
    return hidden_path(target, "partial")


def remove_tree(directory: Path, *, ignore_errors: bool = False) -> None:
    """Remove a directory and all in it, also from folders of the user that are read-only."""
    with suppress(OSError):
        directory.chmod(0o700)
    for folder, names, _ in os.walk(directory):
        for path in (Path(folder, name) for name in names):
            with suppress(OSError):
                if is_own_directory(path):
                    path.chmod(0o700)
    shutil.rmtree(directory, ignore_errors=ignore_errors)


def _remove_leftovers(target: Path, folder: Path, *, unfinished: bool) -> None:
    """Remove leftovers of killed processes, or restore the older target that one had renamed."""
    old = folder / _OLD
    if old.exists() and not os.path.lexists(target):
        old.rename(target)
    for path in [old, *(folder.glob(f"{_NEW}*") if unfinished else ())]:
        if path.exists():
            # If a process on another machine is still writing, it fails at once, instead of publishing what remains.
            remove_tree(path.rename(folder / f"{_NEW}-{token_hex(4)}"))


def _is_current(target: Path) -> bool:
    try:
        return is_in(Path.cwd(), target)
    except OSError:  # it was removed
        return False


def _publish(partial: Path, target: Path) -> None:
    """Rename a new directory to its final name, in exchange for an old one if there is one."""
    if is_own_directory(target) and not (mode := target.stat().st_mode) & stat.S_IWUSR:
        target.chmod(mode | stat.S_IWUSR)  # only a writable directory can be moved to another folder
    if not target.exists():
        partial.rename(target)
        sync_folder(target.parent)
        return
    for new in (*partial.rglob("*"), partial):
        keep_permissions(new, target / new.relative_to(partial))
    if _exchange(partial, target):
        try:
            _require_from_bgnb(partial, target, kind=None)
        except BaseException:
            _exchange(partial, target)
            raise
    else:
        _replace(partial, target)
    sync_folder(target.parent)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two directories atomically; return false if the system does not support it."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError, TypeError):
        return False
    at_working_directory, exchange = -100, 2  # linux/fcntl.h, linux/fs.h
    return bool(rename(at_working_directory, os.fsencode(one), at_working_directory, os.fsencode(other), exchange) == 0)


def _replace(partial: Path, target: Path) -> None:
    """Rename an old directory, rename the new one to its name, and remove the old one."""
    old = partial.with_name(_OLD)
    try:
        target.rename(old)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EBUSY):
            raise
        what = "cannot be renamed, as it is part of a container image or a mount point"
        raise BgnbError("not-writable", f"{target}: {what}; remove it, or use another name") from None
    try:
        _require_from_bgnb(old, target, kind=None)
        partial.rename(target)
    except BaseException:
        if not target.exists():
            old.rename(target)
        raise
    remove_tree(old, ignore_errors=True)
