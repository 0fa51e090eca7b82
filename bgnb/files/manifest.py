"""Manifests: the files that bgnb wrote in a directory, with their sizes and checksums."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Literal, get_args

from bgnb._util.errors import BgnbError
from bgnb._util.reading import open_file, read_bytes

#: Name of the manifest. It is written last, so that a directory that has one is complete.
MANIFEST = "manifest.json"
#: Kinds of content. A directory is replaced only by one of the same kind.
Kind = Literal[
    "runs", "models", "parts", "backgrounds", "comparisons", "validations", "checks of runs", "inspections", "notebooks"
]
_CHANGED = "was changed after bgnb wrote it, or is damaged"


def check(directory: str | Path) -> dict[str, str | None]:
    """Compare a directory written by bgnb with its manifest.

    Parameters
    ----------
    directory : path
        A directory of models, runs, comparisons or other results of bgnb.

    Returns
    -------
    dict of str to str or None
        The problem with each file, by its path in the directory; None if it is unchanged.

    Raises
    ------
    BgnbError
        If bgnb did not make the directory.

    Examples
    --------
    >>> import os, shutil
    >>> import bgnb
    >>> [name for name, problem in bgnb.check("models").items() if problem]
    []
    >>> copy = shutil.copytree("models", "copy")
    >>> os.truncate("copy/report.json", 100)
    >>> bgnb.check("copy")["report.json"]
    'was changed after bgnb wrote it, or is damaged'
    """
    path = Path(directory)
    try:
        if not path.is_dir():
            raise BgnbError("not-found", f"{path}: there is no such directory")
        text, found = manifest_text(path), set(_files(path))
    except OSError as error:
        raise BgnbError("unreadable", f"{path}: cannot be read: {error.strerror}") from None
    if text is None:
        inside = ", ".join(str(manifest.parent) for manifest in sorted(path.glob(f"*/{MANIFEST}")))
        hint = f"; check the directories in it: {inside}" if inside else ""
        if (whole := path.absolute().parent / MANIFEST).is_file():
            raise BgnbError("not-a-model", f"{path}: has no {MANIFEST} of its own; check {whole.parent}, of which it is a part")
        raise BgnbError("not-a-model", f"{path}: has no {MANIFEST}, so bgnb did not make it{hint}")
    try:
        manifest = _parse(text)
    except ValueError:
        return {MANIFEST: "is damaged, so the other files cannot be checked"}
    if manifest is None:
        raise BgnbError("not-a-model", f"{path}: its {MANIFEST} is not from bgnb, so bgnb did not make it")
    kind, sums = manifest
    # Only files in the directory are read, not those of other names, such as ../other.
    problems = {name: _problem(path / name, expected) if name in found else "is missing" for name, expected in sums.items()}
    problems |= dict.fromkeys(found - sums.keys() - {MANIFEST}, "was not written by bgnb")
    problems[MANIFEST] = None if text == _text(kind, sums) else _CHANGED
    return dict(sorted(problems.items()))


def manifest_of(directory: Path, kind: Kind) -> bytes:
    """Flush the files and folders of a new directory to disk, and make its manifest."""
    sums = {name: _sum(directory / name, sync=True) for name in files(directory)}
    for folder in (directory, *(path for path in directory.rglob("*") if path.is_dir() and not path.is_symlink())):
        sync_folder(folder)
    return _text(kind, sums).encode()


def obstacle(directory: Path, *, kind: Kind | None, changed: bool) -> str | None:
    """Describe why a directory is not replaced by one of a kind; None if it is.

    It must not have files that bgnb did not write or, if asked, that were changed since; nor content of another kind.
    """
    try:
        found, sums = _parse(manifest_text(directory) or "") or (None, None)
    except ValueError:
        found = sums = None
    if kind and found and kind != found:
        return f"{found}, which {kind} do not replace"
    for name in _files(directory):  # in any order, so that not all of a large tree are listed before the first
        if name == MANIFEST and sums is not None:
            continue
        if sums is None or name not in sums:
            return f"{name}, which bgnb did not write"
        if changed and (problem := _problem(directory / name, sums[name])):
            return f"{name}, which {problem}"
    return None


def sync_folder(folder: Path) -> None:
    """Flush the names in a folder to disk, if the system can."""
    with suppress(OSError):
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def sync_file(number: int) -> None:
    """Flush an open file to disk, by its number, if the file system can.

    Raises
    ------
    OSError
        If the disk is full or fails.
    """
    try:
        os.fsync(number)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
            raise


def files(directory: Path) -> list[str]:
    """List the files and links in a directory and its folders, sorted."""
    return sorted(_files(directory))


def _files(directory: Path) -> Iterator[str]:
    try:
        for path in directory.rglob("*"):
            if path.is_symlink() or not path.is_dir():
                yield path.relative_to(directory).as_posix()
    except RecursionError:
        raise BgnbError("unreadable", f"{directory}: folders in it are nested too deeply") from None


def manifest_text(directory: Path) -> str | None:
    """Read the manifest of a directory; None if there is none."""
    manifest = directory / MANIFEST
    return read_bytes(manifest).decode(errors="replace") if _is_regular(manifest) else None


def _text(kind: str, sums: Mapping[str, str]) -> str:
    return json.dumps({"creator": "bgnb", "kind": kind, "files": sums}, indent=1) + "\n"


def _parse(text: str) -> tuple[str, dict[str, str]] | None:
    """Read the kind of content, and checksums by file; return None if bgnb did not write the text."""
    try:
        manifest = json.loads(text)
    except RecursionError:
        return None
    if not isinstance(manifest, dict) or manifest.get("creator") != "bgnb":
        return None
    kind, sums = manifest.get("kind"), manifest.get("files")
    if kind not in get_args(Kind) or not isinstance(sums, dict) or not all(isinstance(value, str) for value in sums.values()):
        raise ValueError("no kind or no files")
    return str(kind), sums


def _problem(path: Path, expected: str) -> str | None:
    """Describe the problem with a file that the manifest lists."""
    if not os.path.lexists(path):
        return "is missing"
    if not path.is_symlink() and not path.is_file():
        return "is no longer a file"
    try:
        return None if _agrees(path, expected) else _CHANGED
    except OSError as error:
        return f"cannot be read: {error.strerror}"


def _is_regular(path: Path) -> bool:
    """Return true for a regular file; a pipe could block forever."""
    return path.is_file() and not path.is_symlink()


def _agrees(path: Path, expected: str) -> bool:
    """Compare the size of a file, then its checksum: a file of another size, perhaps of many gigabytes, is not read."""
    size = expected.rpartition(" ")[0]
    if size and size != str(path.lstat().st_size):
        return False
    return _sum(path) == expected


def _sum(path: Path, *, sync: bool = False) -> str:
    """Return the size of a file, bytes, and its checksum; or the checksum of the path that a link points to."""
    if path.is_symlink():
        return sha256(os.fsencode(path.readlink())).hexdigest()
    with open_file(path) as file:
        if sync:
            sync_file(file.fileno())
        return f"{os.fstat(file.fileno()).st_size} {file_digest(file, 'sha256').hexdigest()}"
