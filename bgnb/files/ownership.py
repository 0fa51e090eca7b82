"""Owners of files: where several users can write, others may have made files and links with any name."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from bgnb._util.errors import BgnbError

_ADMINISTRATOR = 0
# Elsewhere, as on Windows, files have neither owners nor permissions of this kind.
_HAS_OWNERS = hasattr(os, "geteuid")


def is_own_file(path: Path) -> bool:
    """Return true for a regular file of the user, not for a link."""
    status = _own(path)
    return status is not None and stat.S_ISREG(status.st_mode)


def is_own_directory(path: Path) -> bool:
    """Return true for a directory of the user, not for a link."""
    status = _own(path)
    return status is not None and stat.S_ISDIR(status.st_mode)


def is_private(path: Path) -> bool:
    """Return true for a directory of the user, not for a link, to which no other user has access."""
    return is_own_directory(path) and not (_HAS_OWNERS and path.lstat().st_mode & 0o077)


def refuse_foreign_links(path: Path) -> None:
    """Refuse a path with a symbolic link that somebody else made in a directory of a third person.

    Links of the user, of the administrator, and of the owner of the directory that contains them are followed.

    Raises
    ------
    BgnbError
        If there is such a link.
    """
    absolute = path.absolute()
    for each in (*reversed(absolute.parents), absolute) if _HAS_OWNERS else ():
        if each.is_symlink() and each.lstat().st_uid not in (os.geteuid(), _ADMINISTRATOR, each.parent.stat().st_uid):
            what = "is a symbolic link of another user, which is not followed"
            raise BgnbError("bad-target", f"{path}: {each} {what}; use another path, or the one to which it points")


def _own(path: Path) -> os.stat_result | None:
    """Return the status of a file or directory, or of a link itself, if it belongs to the user."""
    try:
        status = path.lstat()
    except OSError:
        return None
    return status if not _HAS_OWNERS or status.st_uid == os.geteuid() else None
