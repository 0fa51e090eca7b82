"""Checksums of files, names in directories, and changes of FITS files."""

from __future__ import annotations

import gzip
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import pytest
from astropy.io import fits


def digests(directory: Path) -> dict[str, str]:
    """Compute the checksum of each file in a directory and its folders."""
    return {
        path.relative_to(directory).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in directory.rglob("*")
        if path.is_file()
    }


def digests_and_times(directory: Path) -> dict[str, tuple[str, int]]:
    """Return the checksum and modification time of each file."""
    return {name: (digest, (directory / name).stat().st_mtime_ns) for name, digest in digests(directory).items()}


def names(directory: Path) -> set[str]:
    """List the names in a directory, hidden ones too."""
    return {path.name for path in directory.iterdir()}


@contextmanager
def changed_file(path: Path) -> Iterator[fits.HDUList]:
    """Open a compressed file, and write it with its changes; Astropy itself takes long to compress many events."""
    with fits.open(path) as hdus:
        yield hdus
        content = BytesIO()
        hdus.writeto(content, checksum=True)
    path.write_bytes(gzip.compress(content.getvalue(), compresslevel=1))


def give_away(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a file, directory or link belong to another user; pretend it if the tests do not run as root."""
    path = path.absolute()
    if os.geteuid() == 0:
        os.lchown(path, 65533, 65533)
        return
    lstat = Path.lstat

    def pretending(self: Path) -> os.stat_result:
        status = lstat(self)
        return os.stat_result((*status[:4], 65533, *status[5:])) if self.absolute() == path else status

    monkeypatch.setattr(Path, "lstat", pretending)
