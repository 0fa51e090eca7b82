"""Output that appears whole or not at all, and is replaced only where it is wholly ours."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from hashlib import file_digest, sha256
from pathlib import Path

from bgnb.errors import BgnbError

try:
    import fcntl
except ImportError:  # as on Windows
    fcntl = None  # type: ignore[assignment]

#: What a command has to say of its work.
REPORT = "report.json"
#: The list of all files of a directory that bgnb made, with their SHA-256.
MANIFEST = "manifest.json"

# What may go wrong with a disk while files are written.
_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)


@contextmanager
def new_directory(outdir: Path, *, overwrite: bool, inputs: tuple[Path, ...] = ()) -> Iterator[Path]:
    """A hidden directory beside ``outdir``, which becomes ``outdir`` when the block ends well.

    Until then nothing stands under the final name, and an older ``outdir`` is kept. What a
    process that died has left is swept by the next one. A lock, which dies with its process,
    lets one process at a time make ``outdir``.

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
    with ExitStack() as stack:
        with _named_errors(outdir):
            target = outdir.resolve()
            _check_apart(outdir, target, inputs)
            check_target(outdir, overwrite=overwrite)
            target.parent.mkdir(parents=True, exist_ok=True)
            locked = stack.enter_context(_lock(outdir, target))
            suffix = ".partial" if locked else f".{os.getpid()}.partial"
            partial = target.with_name(f".{target.name}{suffix}")
            if locked:
                _sweep(target, partial)
                check_target(outdir, overwrite=overwrite)
            partial.mkdir()
        try:
            with _named_errors(outdir, _DISK_ERRORS):
                yield partial
                _write_manifest(partial)
            check_target(outdir, overwrite=overwrite)
            _publish(partial, target)
            shutil.rmtree(kept_folder(target), ignore_errors=True)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def kept_folder(outdir: Path) -> Path:
    """A hidden folder beside ``outdir`` for what is of use until it is there."""
    target = outdir.resolve()
    return target.with_name(f".{target.name}.kept")


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


def check_directory(directory: str | Path) -> tuple[str, ...]:
    """What is wrong with a directory that bgnb made: files that are missing, changed, or not bgnb's.

    Parameters
    ----------
    directory : path
        A directory of models, runs, comparisons or whatever else bgnb made.

    Returns
    -------
    tuple of str
        A line for each fault; empty where all is as bgnb wrote it.

    Raises
    ------
    BgnbError
        Where bgnb did not make the directory.
    """
    path = Path(directory)
    stated = _manifest(path)
    if stated is None:
        raise BgnbError(f"{path}: has no {MANIFEST} of bgnb: bgnb did not make it, or it is damaged")
    there = _files(path)
    faults = [f"{path / name}: is missing" for name in sorted(stated.keys() - set(there))]
    for name in there:
        if name not in stated:
            faults += [f"{path / name}: was not written by bgnb"] if name != MANIFEST else []
            continue
        try:
            changed = _sha256(path / name) != stated[name]
        except OSError as error:
            faults.append(f"{path / name}: cannot be read: {error.strerror}")
        else:
            faults += [f"{path / name}: was changed after bgnb wrote it, or is damaged"] if changed else []
    return tuple(faults)


@contextmanager
def _named_errors(outdir: Path, kinds: Collection[int] = ()) -> Iterator[None]:
    """Errors of the system as one line about ``outdir``; of those ``kinds`` (errno), or of all."""
    try:
        yield
    except (FileExistsError, NotADirectoryError) as error:
        if kinds:
            raise
        raise BgnbError(f"{outdir}: cannot be made: a part of the path is a file") from error
    except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: a loop of links; ValueError: a path that is none
        if kinds and getattr(error, "errno", None) not in kinds:
            raise
        raise BgnbError(f"{outdir}: cannot be written: {getattr(error, 'strerror', None) or error}") from error


@contextmanager
def _lock(outdir: Path, target: Path) -> Iterator[bool]:
    """Hold a lock beside the target; false where the system has none."""
    path = target.with_name(f".{target.name}.lock")
    if fcntl is None:
        yield False
        return
    while True:
        with path.open("ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BgnbError(f"{outdir}: another bgnb is making it; wait for it, or name another directory") from None
            except OSError as error:
                if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP):
                    raise
                path.unlink(missing_ok=True)
                yield False
                return
            # Another process may have held the lock, and taken its file away, between our opening and our locking it.
            if path.exists() and os.path.samestat(path.stat(), os.fstat(file.fileno())):
                try:
                    yield True
                finally:
                    path.unlink(missing_ok=True)
                return


def _sweep(target: Path, partial: Path) -> None:
    """Remove what a process that died has left; an older target that it had put aside comes back."""
    old = target.with_name(f".{target.name}.old")
    if old.exists() and not os.path.lexists(target):
        old.rename(target)
    shutil.rmtree(old, ignore_errors=True)
    if os.path.lexists(partial):
        shutil.rmtree(partial)


def _write_manifest(directory: Path) -> None:
    """List all files with their sums; they and their folders are on disk before it."""
    sums = {name: _sha256(directory / name, sync=True) for name in _files(directory)}
    for folder in (directory, *(path for path in directory.rglob("*") if path.is_dir() and not path.is_symlink())):
        _sync_folder(folder)
    write_file(directory / MANIFEST, (json.dumps({"creator": "bgnb", "files": sums}, indent=1) + "\n").encode())
    _sync_folder(directory)


def _sha256(path: Path, *, sync: bool = False) -> str:
    """Sum of a file; of a link, that of the path it leads to."""
    if path.is_symlink():
        return sha256(os.fsencode(path.readlink())).hexdigest()
    with path.open("rb") as file:
        if sync:
            os.fsync(file.fileno())
        return file_digest(file, "sha256").hexdigest()


def _sync_folder(folder: Path) -> None:
    with suppress(OSError):  # not every system can
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def _files(directory: Path) -> list[str]:
    """Files and links in a directory and its folders, in order."""
    paths = (path for path in directory.rglob("*") if path.is_symlink() or not path.is_dir())
    return sorted(path.relative_to(directory).as_posix() for path in paths)


def _manifest(directory: Path) -> dict[str, str] | None:
    """Sums by file of a directory that bgnb made, else None."""
    try:
        manifest = json.loads((directory / MANIFEST).read_text())
        return dict(manifest["files"]) if manifest["creator"] == "bgnb" else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _check_apart(outdir: Path, target: Path, inputs: tuple[Path, ...]) -> None:
    for source in (path.resolve() for path in inputs):
        if target.is_relative_to(source) or source.is_relative_to(target):
            raise BgnbError(f"{outdir}: is, holds or lies inside the input {source}; name a directory apart from it")


def check_target(outdir: Path, *, overwrite: bool) -> None:
    """Complain where a directory cannot be made or replaced.

    Raises
    ------
    BgnbError
        Where it is a file, holds what bgnb did not write there, is the current directory,
        or exists and ``overwrite`` is false.
    """
    target = outdir.resolve()
    if not os.path.lexists(target):
        return
    if not target.is_dir():
        raise BgnbError(f"{outdir}: is a file; name a directory")
    if not any(target.iterdir()):
        return
    if foreign := _foreign_file(target):
        raise BgnbError(f"{outdir}: holds {foreign}, which bgnb did not write there; name another directory")
    if not overwrite:
        raise BgnbError(f"{outdir}: exists already; use --overwrite (overwrite=True) to replace it")
    if Path.cwd().is_relative_to(target):
        raise BgnbError(f"{outdir}: is the current directory, and cannot be replaced from within")


def _foreign_file(directory: Path) -> str | None:
    """The first entry of a directory that is not in its manifest."""
    known = {MANIFEST, *stated} if (stated := _manifest(directory)) is not None else set()
    return next((entry for entry in _files(directory) if entry not in known), None)


def _publish(partial: Path, target: Path) -> None:
    """Give the new directory its name, and remove the old one, if there is one."""
    try:
        if not target.exists():
            partial.rename(target)
        elif not _exchange(partial, target):
            _replace(partial, target)
    except OSError as error:
        raise BgnbError(f"{target}: cannot be written: {error.strerror}") from None
    _sync_folder(target.parent)


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
    old = target.with_name(f".{target.name}.old")
    target.rename(old)
    try:
        partial.rename(target)
    except BaseException:
        if not target.exists():
            old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)
