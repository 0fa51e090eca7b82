"""Regular files, read up to a maximum size; pipes and devices, which may block or never end, are refused."""

from __future__ import annotations

import errno
import json
import os
import stat
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections import Counter
from contextlib import suppress
from io import BufferedReader
from pathlib import Path
from typing import Any

from bgnb._util.errors import DataError, shortened

#: Maximum size of files of text that users write, bytes.
TEXT_MAX = 1 << 26
#: Maximum size of other files that are read as a whole, bytes: the report on a million runs has 600 MB.
FILE_MAX = 1 << 30


#: Inode, size (bytes) and times of change of a file; None if there is none.
Stamp = tuple[int, int, int, int] | None


def stamp_of(path: Path) -> Stamp:
    """Return what changes when a file does."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def open_file(path: str | Path) -> BufferedReader:
    """Open a regular file for reading.

    Parameters
    ----------
    path : path
        The file, or a link to it.

    Raises
    ------
    DataError
        If it is a directory, pipe or device.
    OSError
        If it cannot be opened.
    """
    try:
        with suppress(FileNotFoundError):  # opening it raises this error
            _check_kind(path, Path(path).stat())
    except ValueError:  # it contains a null byte, or half of a pair of surrogates
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path)) from None
    file = open(path, "rb", opener=_open_at_once)  # noqa: SIM115 # it is returned
    try:
        _check_kind(path, os.fstat(file.fileno()))  # it may have been replaced
    except DataError:
        file.close()
        raise
    if hasattr(os, "O_NONBLOCK"):
        os.set_blocking(file.fileno(), True)  # reading a file that is on tape waits
    return file


def read_bytes(path: str | Path, max_size: int = FILE_MAX) -> bytes:
    """Read a regular file.

    Parameters
    ----------
    path : path
        The file, or a link to it.
    max_size : int
        Maximum size, bytes.

    Raises
    ------
    DataError
        If it is a directory, pipe or device, or larger.
    OSError
        If it cannot be read.
    """
    with open_file(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > max_size:
            limit = f"{max_size >> 20} MiB" if max_size >> 20 else f"{max_size >> 10} KiB"
            raise DataError("too-large", f"{path}: is larger than {limit}, the maximum for such a file")
        content = file.read(size + 1) or b""
    if len(content) > size:
        raise DataError("changed", f"{path}: grew while it was read; wait until it is complete")
    return content


def read_text(path: str | Path, max_size: int = TEXT_MAX, encoding: str = "utf-8-sig") -> str:
    """Read a regular file of text, without a byte order mark; for parameters and errors see `read_bytes`.

    Raises
    ------
    UnicodeDecodeError
        If it is not text.
    """
    return read_bytes(path, max_size).decode(encoding)


def decoded(content: bytes) -> str:
    """Decode text in UTF-8, or else in Latin-1, in which names may be, without a byte order mark.

    Raises
    ------
    ValueError
        If it is not text, or is in UTF-16.
    """
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        if b"\0" in content or content.startswith((BOM_UTF16_BE, BOM_UTF16_LE)):
            raise ValueError("it is in UTF-16, or is no text; save it as UTF-8") from None
        return content.decode("latin-1")


def read_json(path: str | Path) -> Any:
    """Read a JSON file; for errors see `read_bytes` and `parse_json`."""
    return parse_json(read_bytes(path))


def home_expanded(path: str | Path) -> str:
    """Replace ~ at the beginning by the home directory. A ~ of an unknown user is kept, for which `Path.expanduser` raises."""
    return os.path.expanduser(path)  # noqa: PTH111


def parse_json(text: str | bytes) -> Any:
    """Read JSON.

    Raises
    ------
    ValueError
        If it is not JSON, too deeply nested, or an object has two values of one name.
    """
    try:
        return json.loads(text, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        raise ValueError(f"invalid JSON at line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise ValueError("too deeply nested") from None
    except ValueError as error:
        raise ValueError("a number has too many digits" if "max_str_digits" in str(error) else str(error)) from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        repeated = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"'{shortened(repeated)}' is given twice")
    return made


def _open_at_once(path: str, flags: int) -> int:
    """Open a file without waiting, as for the other end of a pipe, but for a server that has lent a file to another machine.

    On Windows nothing waits.
    """
    try:
        return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    except BlockingIOError:
        _check_kind(path, os.stat(path))  # noqa: PTH116
        return os.open(path, flags)


def _check_kind(path: str | Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = "directory" if stat.S_ISDIR(status.st_mode) else "pipe or device"
        raise DataError("not-a-file", f"{path}: is a {kind}, not a file")
