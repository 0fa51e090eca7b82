"""Permissions of output: those of the umask, and of what is replaced."""

import errno
import os
import stat
import struct

import pytest

from bgnb.files.manifest import MANIFEST
from bgnb.files.output_file import write_file
from tests.files.test_output_directory import make
from tests.helpers.files import names


def test_permissions_that_cannot_be_changed(tmp_path, monkeypatch):
    """With fixed permissions, as on some network file systems, a writable directory is replaced."""
    make(tmp_path / "out", "a")

    def refused(*_, **__):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "chmod", refused)
    make(tmp_path / "out", "b", overwrite=True)
    assert "b" in names(tmp_path / "out")
    assert names(tmp_path) == {"out"}


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_modes_follow_the_umask(tmp_path, umask):
    """New directories and files have the permissions that the umask of the user allows."""
    before = os.umask(umask)
    try:
        make(tmp_path / "out", "a")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o777 & ~umask
    assert stat.S_IMODE((tmp_path / "out" / MANIFEST).stat().st_mode) == 0o666 & ~umask


def test_what_is_private_stays_private(tmp_path):
    """A directory or file that is replaced keeps its permissions, also those of its files, and its group."""
    out, single = tmp_path / "out", tmp_path / "models.png"
    make(out, "a")
    write_file(single, b"old")
    own = os.geteuid() == 0
    for path, mode in ((out / MANIFEST, 0o640), (single, 0o600), (out, 0o2750)):
        if own:
            os.chown(path, -1, 12345)
        path.chmod(mode)
    make(out, "b", overwrite=True)
    write_file(single, b"new")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (out / MANIFEST, single, out)}
    assert modes == {MANIFEST: 0o640, "models.png": 0o600, "out": 0o2750}
    assert {path.stat().st_gid for path in (out / MANIFEST, single, out)} == ({12345} if own else {os.getegid()})


def test_nobody_reads_what_replaces_a_private_file(tmp_path):
    """A private file is private from the start, not only when it is complete."""
    path = tmp_path / "page.html"
    write_file(path, b"old")
    path.chmod(0o600)

    def content():
        (partial,) = set(tmp_path.iterdir()) - {path}
        modes.append(stat.S_IMODE(partial.stat().st_mode))
        yield b"new"

    modes = []
    write_file(path, content())
    assert (modes, path.read_bytes()) == ([0o600], b"new")
    path.unlink()
    path.symlink_to("elsewhere")  # a link has no permissions
    other = tmp_path / "other"
    for each in (path, other):
        write_file(each, b"new")
    assert path.stat().st_mode == other.stat().st_mode


def access_list(*entries):
    """Make an access control list of tags (1 user, 2 a user, 4 group, 16 mask, 32 others), permissions and ids."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def test_access_lists_are_kept(tmp_path):
    """Replaced files keep their access control list; without one, they get none from the directory around them."""
    name, nobody = "system.posix_acl_access", 0xFFFFFFFF
    kept = access_list((1, 6, nobody), (2, 4, 1001), (4, 0, nobody), (16, 4, nobody), (32, 0, nobody))
    inherited = access_list((1, 7, nobody), (2, 7, 1002), (4, 7, nobody), (16, 7, nobody), (32, 0, nobody))
    paths = tmp_path / "with", tmp_path / "without"
    for path in paths:
        write_file(path, b"old")
        path.chmod(0o640)
    try:
        os.setxattr(paths[0], name, kept)
        os.setxattr(tmp_path, "system.posix_acl_default", inherited)
    except (AttributeError, OSError):
        pytest.skip("the file system has no access control lists")
    for path in paths:
        write_file(path, b"new")
    assert os.getxattr(paths[0], name) == kept
    assert name not in os.listxattr(paths[1])
    assert [stat.S_IMODE(path.stat().st_mode) for path in paths] == [0o640, 0o640]


def test_group_that_cannot_be_kept(tmp_path, monkeypatch):
    """If the new file cannot have the group of the old one, the other group gets no more than everybody."""
    if os.geteuid() != 0:
        pytest.skip("only root can make a file of another group")
    make(tmp_path / "out", "a")
    os.chown(tmp_path / "out", -1, 12345)
    (tmp_path / "out").chmod(0o2775)

    def refused(*_, **__):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "chown", refused)
    make(tmp_path / "out", "b", overwrite=True)
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o755
