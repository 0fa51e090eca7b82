"""Output that appears whole or not at all, and is replaced only where it is wholly ours."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

from bgnb.errors import BgnbError

#: What a command has to say of its work.
REPORT = "report.json"
#: The list of all files of a directory that bgnb made.
MANIFEST = "manifest.json"


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
        Where ``outdir`` is in the way, or cannot be written.
    """
    try:
        target = outdir.resolve()
        _check_apart(outdir, target, inputs)
        check_target(outdir, overwrite=overwrite)
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(mkdtemp(prefix=f".{target.name}.", suffix=".partial", dir=target.parent))
    except (FileExistsError, NotADirectoryError):
        raise BgnbError(f"{outdir}: cannot be made: a part of the path is a file") from None
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, a path that is none
        raise BgnbError(f"{outdir}: cannot be written: {getattr(error, 'strerror', None) or error}") from None
    try:
        partial.chmod(0o777 & ~_umask())
        yield partial
        files = sorted(path.relative_to(partial).as_posix() for path in partial.rglob("*") if not path.is_dir())
        write_file(partial / MANIFEST, (json.dumps({"creator": "bgnb", "files": files}, indent=1) + "\n").encode())
        check_target(outdir, overwrite=overwrite)
        _publish(partial, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


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
    try:
        manifest = json.loads((directory / MANIFEST).read_text())
        known = {MANIFEST, *manifest["files"]} if manifest["creator"] == "bgnb" else set()
    except (OSError, ValueError, KeyError, TypeError):
        known = set()
    entries = sorted(
        path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_symlink() or not path.is_dir()
    )
    return next((entry for entry in entries if entry not in known), None)


def _publish(partial: Path, target: Path) -> None:
    old = partial.with_suffix(".old")
    try:
        if target.exists():
            target.rename(old)
        partial.rename(target)
    except BaseException as error:
        if old.exists() and not target.exists():
            old.rename(target)
        if isinstance(error, OSError):
            raise BgnbError(f"{target}: cannot be written: {error.strerror}") from None
        raise
    shutil.rmtree(old, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
