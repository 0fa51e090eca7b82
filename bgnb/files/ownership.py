"""Owners of files: where several users can write, others may have made files and links with any name."""

from __future__ import annotations

import errno
import os
import re
import stat
from pathlib import Path

from bgnb._util.errors import BgnbError

_ADMINISTRATOR = 0
# Maximum number of links in a path, as in Linux.
_MAX_LINKS = 40
# Links of Linux to directories of a process, of which it shows the path that the process sees.
_OF_PROCESS = re.compile(r"/proc/(\d+)(?:/task/\d+)?/(?:root|cwd|fd/\d+)")
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


def is_changed_by_user_only(path: Path) -> bool:
    """Return true for a directory of the user, not for a link, in which no other user may make, rename or remove files."""
    status = _own(path)
    if status is None or not stat.S_ISDIR(status.st_mode):
        return False
    return not (_HAS_OWNERS and status.st_mode & 0o022) or (not status.st_mode & 0o002 and _has_own_group(path, status.st_gid))


def can_be_replaced(path: Path) -> bool:
    """Return false for a file that only its owner, or the owner of its directory, may replace (sticky bit of the directory)."""
    if not (_HAS_OWNERS and os.path.lexists(path)):
        return True
    directory = path.parent.stat()
    return not directory.st_mode & stat.S_ISVTX or os.geteuid() in (_ADMINISTRATOR, path.lstat().st_uid, directory.st_uid)


def is_private(path: Path) -> bool:
    """Return true for a directory of the user, not for a link, to which no other user has access."""
    return is_own_directory(path) and not (_HAS_OWNERS and path.lstat().st_mode & 0o077)


def resolved(path: Path) -> Path:
    """Follow the links in a path, but refuse those that somebody else made in a directory of a third person.

    Links of the user, of the administrator, and of the owner of the directory that contains them are followed. Each link is
    examined when it is followed, so that a link cannot be replaced in between.

    Returns
    -------
    `~pathlib.Path`
        The absolute path without links; it need not exist.

    Raises
    ------
    BgnbError
        If there is such a link.
    OSError
        If a part of the path cannot be looked up, or there are too many links.
    """
    first, *parts = path.absolute().parts
    found, n_links = Path(first), 0
    while parts:
        name = parts.pop(0)
        step = found.parent if name == ".." else found / name
        try:
            status = step.lstat()
        except (FileNotFoundError, NotADirectoryError):
            status = None
        if status is None or not stat.S_ISLNK(status.st_mode):
            found = step
            continue
        if _HAS_OWNERS and status.st_uid not in (os.geteuid(), _ADMINISTRATOR, found.stat().st_uid):
            what = "is a symbolic link of another user, which is not followed"
            raise BgnbError("bad-target", f"{step}: {what}; use another path, or the one to which it points")
        if (of_process := _OF_PROCESS.fullmatch(str(step))) and int(of_process[1]) != os.getpid():
            raise BgnbError(
                "bad-target", f"{step}: may lead into a container, where this path is another place; use another path"
            )
        if (n_links := n_links + 1) > _MAX_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
        try:
            parts[:0] = step.readlink().parts
        except OSError:  # it was removed or replaced in between
            found = step
            continue
        if Path(parts[0]).is_absolute():
            found = Path(parts.pop(0))
    return found


def _has_own_group(path: Path, gid: int) -> bool:
    """Return true if the group of a directory is that of its owner alone, who has the same name, and no list adds others."""
    import grp
    import pwd

    try:
        user, own = pwd.getpwuid(os.geteuid()).pw_name, grp.getgrgid(gid)
        has_list = "system.posix_acl_access" in getattr(os, "listxattr", lambda _: ())(path)
    except (KeyError, OSError):
        return False
    members = {member for group in (own, *grp.getgrall()) if group.gr_gid == gid for member in group.gr_mem}
    members |= {each.pw_name for each in pwd.getpwall() if each.pw_gid == gid}
    return own.gr_name == user and members <= {user} and not has_list


def _own(path: Path) -> os.stat_result | None:
    """Return the status of a file or directory, or of a link itself, if it belongs to the user."""
    try:
        status = path.lstat()
    except OSError:
        return None
    return status if not _HAS_OWNERS or status.st_uid == os.geteuid() else None
