"""The list of all files of a directory that bgnb made, with their sums: what is ours, and whether it is as we wrote it."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from hashlib import file_digest, sha256
from pathlib import Path

from bgnb._util.errors import BgnbError

#: Where the list is. It is written last, so that a directory that has one is complete.
MANIFEST = "manifest.json"


def check(directory: str | Path) -> dict[str, str | None]:
    """Compare a directory that bgnb made with its manifest.

    Parameters
    ----------
    directory : path
        A directory of models, runs, comparisons or whatever else bgnb made.

    Returns
    -------
    dict of str to str or None
        What is wrong with each file, by its path in the directory; None where it is as bgnb wrote it.

    Raises
    ------
    BgnbError
        Where bgnb did not make the directory.
    """
    path = Path(directory)
    if not path.is_dir():
        raise BgnbError(f"{path}: there is no such directory")
    try:
        text = (path / MANIFEST).read_text() if _is_file(path / MANIFEST) else None
        there = files(path)
    except UnicodeDecodeError:
        text = ""
    except OSError as error:
        raise BgnbError(f"{path}: cannot be read: {error.strerror}") from None
    if text is None:
        raise BgnbError(_without_manifest(path))
    try:
        stated = _parse(text)
    except ValueError:
        return {MANIFEST: "is damaged: what bgnb wrote here can no longer be told"}
    if stated is None:
        raise BgnbError(f"{path}: its {MANIFEST} is not of bgnb, which did not make this directory")
    faults = {name: _fault(path / name, sum_) for name, sum_ in stated.items()}
    faults |= dict.fromkeys(set(there) - faults.keys() - {MANIFEST}, "was not written by bgnb")
    faults[MANIFEST] = _fault_of_manifest(text, stated)
    return dict(sorted(faults.items()))


def manifest_of(directory: Path) -> bytes:
    """The manifest of a directory to be; its files and folders are on disk when this returns."""
    sums = {name: _sha256(directory / name, sync=True) for name in files(directory)}
    for folder in (directory, *(path for path in directory.rglob("*") if path.is_dir() and not path.is_symlink())):
        sync_folder(folder)
    return _text(sums).encode()


def foreign_file(directory: Path) -> str | None:
    """The first file of a directory that bgnb did not write, None where all are its own."""
    try:
        stated = _parse((directory / MANIFEST).read_text()) if _is_file(directory / MANIFEST) else None
    except ValueError:
        stated = None
    ours = set() if stated is None else {MANIFEST, *stated}
    return next((name for name in files(directory) if name not in ours), None)


def sync_folder(folder: Path) -> None:
    """Bring names in a folder to disk, where the system can."""
    with suppress(OSError):
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def files(directory: Path) -> list[str]:
    """Files and links in a directory and its folders, in order."""
    paths = (path for path in directory.rglob("*") if path.is_symlink() or not path.is_dir())
    return sorted(path.relative_to(directory).as_posix() for path in paths)


def _text(sums: Mapping[str, str]) -> str:
    return json.dumps({"creator": "bgnb", "files": sums}, indent=1) + "\n"


def _parse(text: str) -> dict[str, str | None] | None:
    """Sums by file, None where they were not written yet; None in all where the manifest is not bgnb's."""
    try:
        manifest = json.loads(text)
    except RecursionError:
        return None
    if not isinstance(manifest, dict) or manifest.get("creator") != "bgnb":
        return None
    stated = manifest.get("files")
    if isinstance(stated, list) and all(isinstance(name, str) for name in stated):
        return dict.fromkeys(stated)
    if not isinstance(stated, dict) or not all(isinstance(value, str) for value in stated.values()):
        raise ValueError("no files are stated")
    return stated


def _fault(path: Path, stated: str | None) -> str | None:
    """What is wrong with a file that ought to be there."""
    if not os.path.lexists(path):
        return "is missing"
    if not path.is_symlink() and not _is_file(path):
        return "is no file any more"
    try:
        return None if stated in (None, _sha256(path)) else "was changed after bgnb wrote it, or is damaged"
    except OSError as error:
        return f"cannot be read: {error.strerror}"


def _fault_of_manifest(text: str, stated: Mapping[str, str | None]) -> str | None:
    sums = {name: value for name, value in stated.items() if value is not None}
    if len(sums) < len(stated):
        return "has no sums, as an older bgnb wrote it, so that changes cannot be seen; make the directory again"
    return None if text == _text(sums) else "was changed after bgnb wrote it, or is damaged"


def _without_manifest(path: Path) -> str:
    """What a directory without manifest is."""
    inside = [f"{folder.parent}" for folder in sorted(path.glob(f"*/{MANIFEST}"))]
    if inside:
        return f"{path}: has no {MANIFEST}; bgnb did not make it, but directories in it. Check {', '.join(inside)}"
    return f"{path}: has no {MANIFEST}, so bgnb did not make it: it writes one in every directory, last of all"


def _is_file(path: Path) -> bool:
    """Whether it is a regular file: reading a pipe might never end."""
    return os.path.lexists(path) and stat.S_ISREG(path.lstat().st_mode)


def _sha256(path: Path, *, sync: bool = False) -> str:
    """Sum of a file; of a link, that of the path it leads to."""
    if path.is_symlink():
        return sha256(os.fsencode(path.readlink())).hexdigest()
    with path.open("rb") as file:
        if sync:
            os.fsync(file.fileno())
        return file_digest(file, "sha256").hexdigest()
