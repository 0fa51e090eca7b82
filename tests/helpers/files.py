"""What files hold, and what is in a directory."""

from __future__ import annotations

import hashlib
from pathlib import Path


def digests(directory: Path) -> dict[str, str]:
    """What every file holds, in folders too."""
    return {
        path.relative_to(directory).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in directory.rglob("*")
        if path.is_file()
    }


def digests_and_times(directory: Path) -> dict[str, tuple[str, int]]:
    """The same, and when it was written."""
    return {name: (digest, (directory / name).stat().st_mtime_ns) for name, digest in digests(directory).items()}


def names(directory: Path) -> set[str]:
    """What is in a directory, hidden or not."""
    return {path.name for path in directory.iterdir()}
