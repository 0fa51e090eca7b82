"""Output that appears whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

from bgnb.errors import BgnbError

#: The file by which bgnb knows a directory that it made.
REPORT = "report.json"


@contextmanager
def new_directory(outdir: Path, *, overwrite: bool) -> Iterator[Path]:
    """A hidden directory beside ``outdir``, which becomes ``outdir`` when the block ends well.

    Until then nothing stands under the final name, and an older ``outdir`` is kept.

    Raises
    ------
    BgnbError
        Where ``outdir`` exists and ``overwrite`` is false, or bgnb did not make it, or
        it cannot be written.
    """
    target = outdir.resolve()
    _check_target(outdir, target, overwrite)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(mkdtemp(prefix=f".{target.name}.", suffix=".partial", dir=target.parent))
    except OSError as error:
        raise BgnbError(f"{outdir}: cannot be written: {error.strerror}") from None
    try:
        partial.chmod(0o777 & ~_umask())
        yield partial
        _check_target(outdir, target, overwrite)
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
        raise BgnbError(f"{path}: cannot be written: {error.strerror}") from None
    finally:
        partial.unlink(missing_ok=True)


def _check_target(outdir: Path, target: Path, overwrite: bool) -> None:
    if not os.path.lexists(target):
        return
    if not target.is_dir():
        raise BgnbError(f"{outdir}: is a file; name a directory")
    if not any(target.iterdir()):
        return
    if not overwrite:
        raise BgnbError(f"{outdir}: exists already; use --overwrite (overwrite=True) to replace it")
    if not _made_by_bgnb(target):
        raise BgnbError(f"{outdir}: was not made by bgnb (no {REPORT} of ours in it), so it is not replaced")


def _made_by_bgnb(directory: Path) -> bool:
    try:
        report = json.loads((directory / REPORT).read_text())
    except (OSError, ValueError):
        return False
    return isinstance(report, dict) and str(report.get("creator", "")).startswith("bgnb ")


def _publish(partial: Path, target: Path) -> None:
    old = partial.with_suffix(".old")
    if target.exists():
        target.rename(old)
    partial.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
