"""Output files: written completely or not at all."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from secrets import token_hex

from bgnb._util.errors import BgnbError, quoted
from bgnb.files.manifest import sync_file
from bgnb.files.ownership import can_be_replaced, resolved

#: Part of the names of hidden files and folders beside output while it is written, and of those in the hidden folder.
MARK = ".bgnb-"


def write_file(path: Path, content: bytes | Iterable[bytes | memoryview], *, overwrite: bool = True) -> None:
    """Write a file, in one or several pieces, atomically: it gets its name when it is complete and flushed to disk.

    Raises
    ------
    BgnbError
        If it cannot be written, or exists and must not be replaced.
    """
    place = check_file_path(path)
    partial = hidden_path(place, f"file-{token_hex(4)}")
    try:
        try:
            replaces = overwrite and place.is_file() and not place.is_symlink()
            # Never through a link; if a file is replaced, others cannot open the new one before it has the same permissions.
            with open(partial, "xb", opener=_private if replaces else None) as file:
                if replaces:
                    keep_permissions(partial, place)
                file.writelines([content] if isinstance(content, bytes) else content)
                file.flush()
                sync_file(file.fileno())
            if overwrite:
                partial.replace(place)
            else:
                _publish_new(partial, place)
        finally:
            with suppress(OSError):
                partial.unlink(missing_ok=True)
    except FileExistsError:
        text = "was made by another process in the meantime; use another name, or repeat the command"
        raise BgnbError("exists", f"{path}: {text}") from None
    except OSError as error:
        raise BgnbError("not-writable", f"{path}: cannot be written: {error.strerror}") from None


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def keep_permissions(new: Path, old: Path) -> None:
    """Give a file or directory the permissions and the group of the one that it replaces, so that what is private stays so.

    Where the group or the access control list cannot be kept, the group gets no more than everybody.
    """
    with suppress(OSError):  # nothing is replaced, or the file system has no permissions
        status, own = old.lstat(), new.lstat()
        if stat.S_IFMT(status.st_mode) != stat.S_IFMT(own.st_mode):
            return
        mode = stat.S_IMODE(status.st_mode) & 0o3777 | (stat.S_IRWXU if new.is_dir() else stat.S_IRUSR | stat.S_IWUSR)
        for_all = mode & ~0o2070 | (mode & stat.S_IRWXO) << 3
        if status.st_gid != own.st_gid:
            try:
                os.chown(new, -1, status.st_gid)
            except OSError:
                mode = for_all
        if mode != stat.S_IMODE(own.st_mode):
            new.chmod(mode)
        try:
            _copy_access_lists(new, old)
        except OSError:
            new.chmod(for_all)


def _copy_access_lists(new: Path, old: Path) -> None:
    """Give a file or directory the access control lists of another one, where the system has them."""
    try:
        there, here = (set(os.listxattr(path)) for path in (old, new))
    except (AttributeError, OSError):  # neither the system nor the file system has any
        return
    for name in ("system.posix_acl_access", "system.posix_acl_default"):
        if name in there:
            os.setxattr(new, name, os.getxattr(old, name))
        elif name in here:
            os.removexattr(new, name)


def _publish_new(partial: Path, path: Path) -> None:
    """Give a file its name, if nothing has it."""
    try:
        os.link(partial, path)
    except FileExistsError:
        raise
    except OSError:  # the file system has no links
        if os.path.lexists(path):
            raise FileExistsError from None
        partial.replace(path)


def check_file_path(path: Path) -> Path:
    """Refuse a path that cannot be that of a file, such as a directory, before its content is made.

    Returns
    -------
    `~pathlib.Path`
        The path in its directory, without links.

    Raises
    ------
    BgnbError
        If no file can be written there.
    """
    refuse_home(path)
    try:
        if not path.name or path.is_dir():
            raise BgnbError("bad-target", f"{path}: is a directory; give the path of a file")
        place = resolved(path.parent) / path.name
        if not can_be_replaced(place):
            raise BgnbError("not-writable", f"{path}: is a file of another user, who alone may replace it; use another name")
        return place
    except OSError as error:
        raise BgnbError("not-writable", f"{path}: cannot be written: {error.strerror}") from None


def check_new_file(path: Path, kinds: Collection[str], *, overwrite: bool) -> None:
    """Refuse a file that has another extension, or that exists and is not to be replaced.

    Parameters
    ----------
    path : path
        The file to write.
    kinds : collection of str
        Ends of its name, such as ``.png``, in lower case.
    overwrite : bool
        Permit to replace it.

    Raises
    ------
    BgnbError
        If it must not be written.
    """
    check_overwrite(overwrite)
    name = path.name.lower()
    if name in kinds or not name.endswith(tuple(kinds)):
        *others, last = kinds
        raise BgnbError("invalid-argument", f"{path}: must be a name that ends in {', '.join(others)} or {last}")
    with named_errors(path):
        if not overwrite and os.path.lexists(path) and not path.is_dir():
            raise BgnbError("exists", f"{path}: exists already; use overwrite = True to replace it")


def check_overwrite(overwrite: bool) -> None:
    """Refuse another value than true or false, such as the text "no".

    Raises
    ------
    BgnbError
        If it is another value.
    """
    if not isinstance(overwrite, bool):
        raise BgnbError("invalid-argument", f"overwrite must be True or False, got {quoted(overwrite)}")


def source_date() -> datetime | None:
    """Return the date that SOURCE_DATE_EPOCH states for files, if it is set.

    Raises
    ------
    BgnbError
        If it is no number of seconds.
    """
    if (seconds := os.environ.get("SOURCE_DATE_EPOCH")) is None:
        return None
    try:
        return datetime.fromtimestamp(int(seconds), UTC)
    except (ValueError, OverflowError, OSError):
        text = f"SOURCE_DATE_EPOCH must be a number of seconds since 1970, got '{seconds}'; unset it to write no date"
        raise BgnbError("invalid-argument", text) from None


@contextmanager
def named_errors(path: Path, kinds: Collection[int] = ()) -> Iterator[None]:
    """Convert errors of the operating system, all or those with some errno, to a `BgnbError` that names a path."""
    try:
        yield
    except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: a loop of links; ValueError: an invalid path
        if kinds and getattr(error, "errno", None) not in kinds:
            raise
        if isinstance(error, FileExistsError | NotADirectoryError):
            raise BgnbError("bad-target", f"{path}: cannot be made, as a part of the path is a file") from error
        text = getattr(error, "strerror", None) or str(error)
        where = getattr(error, "filename", None)
        message = f"{path}: cannot be written: {text}{f' ({os.fsdecode(where)})' if where else ''}"
        raise BgnbError("not-writable", message) from error


def refuse_home(path: Path) -> None:
    """Refuse a path that starts with ~, which only shells and commands replace: removing such a directory is dangerous."""
    if (home := os.path.expanduser(path)) != str(path):  # noqa: PTH111 # that of Path raises for unknown users
        raise BgnbError("bad-target", f"{path}: ~ is not replaced by the home directory here; write '{home}'")


def is_in(path: Path, directory: Path) -> bool:
    """Return true for a directory and all in it, also by other names, as where case is ignored or it is mounted twice.

    Parameters
    ----------
    path, directory : path
        Resolved paths, which need not exist.
    """

    def is_same(other: Path) -> bool:
        try:
            one, two = other.stat(), directory.stat()
        except OSError:
            return False
        return one.st_ino != 0 and os.path.samestat(one, two)  # some file systems do not number files

    return path.is_relative_to(directory) or any(map(is_same, (path, *path.parents)))


def is_hidden(name: str) -> bool:
    """Return true for names of hidden files and folders beside output while it is written."""
    return name.startswith(".") and MARK in name


def hidden_path(target: Path, kind: str) -> Path:
    """Return the path of a hidden file or folder beside a file or directory; names of files have at most 255 bytes."""
    name = os.fsencode(target.name)
    return target.with_name(f".{target.name if len(name) < 200 else sha256(name).hexdigest()}{MARK}{kind}")
