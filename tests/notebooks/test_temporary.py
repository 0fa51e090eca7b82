"""Temporary folders of notebooks."""

from __future__ import annotations

import os
import tempfile
from socket import gethostname

from bgnb.notebooks.temporary import temporary_folder
from tests.helpers.errors import raises
from tests.helpers.files import names


def test_folders_of_killed_processes_are_removed(tmp_path, monkeypatch):
    """The next notebook removes folders that nobody holds, but neither new ones, nor those in use, nor the user's own."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name, left in (("bgnb-killed", True), ("bgnb-new", True), ("bgnb-mine", False)):
        (tmp_path / name).mkdir(mode=0o700)
        (tmp_path / name / ("bgnb-lock" if left else "file")).touch()
        (tmp_path / name / "bgnb-host").write_text(gethostname())
    (tmp_path / "bgnb-elsewhere").mkdir(mode=0o700)
    (tmp_path / "bgnb-elsewhere" / "bgnb-lock").touch()
    (tmp_path / "bgnb-elsewhere" / "bgnb-host").write_text("another machine, whose locks are not seen here")
    for name in ("bgnb-killed", "bgnb-elsewhere"):
        os.utime(tmp_path / name / "bgnb-lock", (0, 0))
    with temporary_folder() as used:
        os.utime(used / "bgnb-lock", (0, 0))
        with temporary_folder() as other:
            assert names(tmp_path) == {"bgnb-new", "bgnb-mine", "bgnb-elsewhere", used.name, other.name}
    assert names(tmp_path) == {"bgnb-new", "bgnb-mine", "bgnb-elsewhere"}


def test_folder_must_be_private(monkeypatch):
    """Some mounts keep neither owners nor permissions: the message says what to do."""
    monkeypatch.setattr("bgnb.notebooks.temporary.is_private", lambda _: False)
    with raises("not-writable", tempfile.gettempdir(), "set TMPDIR to a directory on a local disk"), temporary_folder():
        pass
