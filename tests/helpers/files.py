"""Digests of files, and names in directories."""

from __future__ import annotations

import hashlib
from pathlib import Path


def digests(directory: Path) -> dict[str, str]:
    """Compute the digest of every file, in subdirectories too."""
    return {
        path.relative_to(directory).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in directory.rglob("*")
        if path.is_file()
    }


def digests_and_times(directory: Path) -> dict[str, tuple[str, int]]:
    """Compute the digest and the time of writing of every file."""
    return {name: (digest, (directory / name).stat().st_mtime_ns) for name, digest in digests(directory).items()}


def names(directory: Path) -> set[str]:
    """List the names in a directory, including hidden ones."""
    return {path.name for path in directory.iterdir()}
