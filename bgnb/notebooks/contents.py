"""Notebooks and other files that JupyterLab writes."""

from __future__ import annotations

import errno
import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from shutil import rmtree
from typing import Any

from jupyter_core.paths import jupyter_data_dir
from jupyter_server.services.contents.filecheckpoints import AsyncFileCheckpoints
from jupyter_server.services.contents.largefilemanager import AsyncLargeFileManager
from tornado.web import HTTPError

from bgnb._util.errors import BgnbError
from bgnb.files.output_file import write_file
from bgnb.files.ownership import is_changed_by_user_only, is_link_of_another, is_own_file, resolved

# Classes whose methods have no types.
_Files: Any = AsyncLargeFileManager
_Copies: Any = AsyncFileCheckpoints


class Checkpoints(_Copies):
    """Copies of files as of the last time that the user saved them.

    They are in ``.ipynb_checkpoints`` beside the file, or in a private folder if somebody else may write there, who could read
    the copies, or put links in their place.
    """

    def checkpoint_path(self, checkpoint_id: str, path: str) -> str:
        """Return the path of a copy."""
        file = _file(self.root_dir, path)
        folder = file.parent / self.checkpoint_dir
        if is_changed_by_user_only(file.parent):
            with suppress(OSError):  # it exists, or the folder is read-only
                folder.mkdir(mode=0o700)  # also without what a default access control list would permit
        if not (is_changed_by_user_only(file.parent) and is_changed_by_user_only(folder)):
            folder = _private(file.parent)
            with self.perm_to_403(str(file)):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return str(folder / f"{file.stem}-{checkpoint_id}{file.suffix}")


class Contents(_Files):
    """Files in a folder, which are never written through links that somebody else put there."""

    @contextmanager
    def atomic_writing(self, os_path: str, *, text: bool = True, encoding: str = "utf-8", **_: Any) -> Iterator[Any]:
        """Write a file, which gets its name when it is complete."""
        content = io.BytesIO()
        stream = io.TextIOWrapper(content, encoding, newline="\n", write_through=True) if text else content
        yield stream
        with _as_http_errors():
            _write(Path(os_path), content.getvalue())

    async def save(self, model: Any, path: str = "") -> Any:
        """Save a file, or a part of a large one."""
        self._check(path)
        return await super().save(model, path)

    async def rename(self, old_path: str, new_path: str) -> None:
        """Rename a file and its copy."""
        self._check(old_path, new_path)
        old, new = (_file(self.root_dir, path) for path in (old_path, new_path))
        is_folder = old.is_dir()
        await super().rename(old_path, new_path)
        if is_folder:
            rmtree(_private(new), ignore_errors=True)  # of a folder that was removed elsewhere
            if _private(old).exists():
                _private(new).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                _private(old).rename(_private(new))

    async def copy(self, from_path: str, to_path: str | None = None) -> Any:
        """Copy a file or folder into another folder, or beside it."""
        self._check(from_path if to_path is None else to_path)
        return await super().copy(from_path, to_path)

    async def delete(self, path: str) -> None:
        """Delete a file and its copy."""
        self._check(path)
        file = _file(self.root_dir, path)
        is_folder = file.is_dir()
        await super().delete(path)
        if is_folder:
            rmtree(_private(file), ignore_errors=True)

    async def restore_checkpoint(self, checkpoint_id: str, path: str) -> None:
        """Replace a file by its copy."""
        self._check(path)
        copy = Path(self.checkpoints.checkpoint_path(checkpoint_id, path))
        if not copy.is_file():
            raise HTTPError(404, f"{path} has no checkpoint {checkpoint_id}")
        with _as_http_errors():
            _write(_file(self.root_dir, path), copy.read_bytes())

    def _check(self, *paths: str) -> None:
        """Refuse files that are links of somebody else, or lie behind one."""
        for path in paths:
            file = _file(self.root_dir, path)
            try:
                resolved(file.parent)
            except (BgnbError, OSError) as error:
                raise HTTPError(403, str(error)) from None
            if is_link_of_another(file):
                raise HTTPError(403, f"{file} is a symbolic link of another user, through which nothing is written")


def _file(folder: str, path: str) -> Path:
    """Return the path of a file of JupyterLab."""
    return Path(folder, *path.strip("/").split("/"))


def _private(folder: Path) -> Path:
    """Return the private folder for the copies of the files in a folder."""
    return Path(jupyter_data_dir(), "bgnb-checkpoints", *folder.absolute().parts[1:])


@contextmanager
def _as_http_errors() -> Iterator[None]:
    try:
        yield
    except BgnbError as error:
        raise HTTPError(403, error.message) from None
    except OSError as error:
        raise HTTPError(403, f"{error.filename}: cannot be written: {error.strerror}") from None


def _write(path: Path, content: bytes) -> None:
    """Replace a file, or write into it if it would not remain the same: that of another user, of several names or read-only."""
    place = resolved(path.parent) / path.name
    if place.is_symlink() and not is_link_of_another(place):
        place = resolved(place)
    is_ordinary = is_own_file(place) and place.stat().st_nlink == 1 and os.access(place, os.W_OK)
    if not os.path.lexists(place) or (is_ordinary and os.access(place.parent, os.W_OK)):
        write_file(place, content)
        return
    with open(place, "r+b", buffering=0, opener=_ordinary) as file:
        former = file.read()
        try:
            _overwrite(file, content)
        except OSError:  # such as a full disk
            _overwrite(file, former)
            raise


def _overwrite(file: FileIO, content: bytes) -> None:
    """Write the whole content of a file, and flush it to disk."""
    file.seek(0)
    rest = memoryview(content)
    while rest:
        rest = rest[file.write(rest) :]
    file.truncate()
    os.fsync(file.fileno())


def _ordinary(path: str, flags: int) -> int:
    """Open a regular file, but not through a link, and without waiting for the reader of a pipe."""
    descriptor = os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise PermissionError(errno.EACCES, "is not a file", path)
    return descriptor
