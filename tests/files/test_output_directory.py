"""What becomes of a directory that is in the way."""

import errno
import fcntl
import json
import os
import shutil
import stat
from pathlib import Path

import pytest

from bgnb import BgnbError
from bgnb.files.manifest import MANIFEST
from bgnb.files.output_directory import new_directory
from tests.helpers.files import names


def make(target: Path, *files: str, overwrite: bool = False) -> None:
    with new_directory(target, overwrite=overwrite) as directory:
        for name in files:
            (directory / name).write_text(name)


def test_only_what_the_manifest_lists_is_replaced(tmp_path):
    make(tmp_path / "out", "a", "b")
    make(tmp_path / "out", "c", overwrite=True)
    assert names(tmp_path / "out") == {"c", MANIFEST}
    (tmp_path / "out" / "link").symlink_to(tmp_path)
    with pytest.raises(BgnbError, match="holds link, which bgnb did not write there"):
        make(tmp_path / "out", "d", overwrite=True)


def test_a_manifest_of_others_is_none_of_ours(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("mine")
    (tmp_path / "out" / MANIFEST).write_text(json.dumps({"creator": "somebody", "files": ["mine"]}))
    with pytest.raises(BgnbError, match="which bgnb did not write there"):
        make(tmp_path / "out", "a", overwrite=True)


def test_what_an_older_bgnb_made_is_still_replaced(tmp_path):
    """Its manifest has no sums."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "ab").touch()
    (tmp_path / "out" / MANIFEST).write_text('{"creator": "bgnb", "files": ["ab"]}')
    make(tmp_path / "out", "c", overwrite=True)
    assert names(tmp_path / "out") == {"c", MANIFEST}


def test_a_file_that_comes_while_we_work_is_kept(tmp_path):
    make(tmp_path / "out", "a")
    with (
        pytest.raises(BgnbError, match="holds late, which bgnb did not write there"),
        new_directory(tmp_path / "out", overwrite=True),
    ):
        (tmp_path / "out" / "late").write_text("mine")
    assert (tmp_path / "out" / "late").read_text() == "mine"
    assert names(tmp_path) == {"out"}


def test_the_current_directory_is_not_pulled_from_under_the_shell(tmp_path, monkeypatch):
    make(tmp_path / "out", "a")
    monkeypatch.chdir(tmp_path / "out")
    with pytest.raises(BgnbError, match="is the current directory"):
        make(Path(), "b", overwrite=True)


@pytest.mark.parametrize(
    ("error", "told", "words"),
    [
        (KeyboardInterrupt(), KeyboardInterrupt, None),
        (OSError(errno.ENOSPC, "No space left on device"), BgnbError, "out: cannot be written: No space left on device"),
    ],
)
def test_what_breaks_between_the_renames_brings_the_old_directory_back(tmp_path, monkeypatch, error, told, words):
    make(tmp_path / "out", "a")
    rename = Path.rename

    def failing(self, target):
        if self.name.endswith("-partial"):
            raise error
        return rename(self, target)

    monkeypatch.setattr("bgnb.files.output_directory._exchange", lambda *_: False)  # as where the system cannot
    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(told, match=words):
        make(tmp_path / "out", "b", overwrite=True)
    assert names(tmp_path / "out") == {"a", MANIFEST}
    assert names(tmp_path) == {"out"}


def test_a_link_to_a_directory_stays_and_leads_to_the_new_one(tmp_path):
    (tmp_path / "disk").mkdir()
    make(tmp_path / "disk" / "models", "a")
    (tmp_path / "out").symlink_to("disk/models")
    make(tmp_path / "out", "b", overwrite=True)
    assert (tmp_path / "out").readlink() == Path("disk/models")
    assert names(tmp_path / "disk" / "models") == {"b", MANIFEST}
    assert names(tmp_path / "disk") == {"models"}


def test_a_link_to_nothing_leads_to_what_is_made(tmp_path):
    (tmp_path / "out").symlink_to("disk/models")
    make(tmp_path / "out", "a")
    assert (tmp_path / "disk" / "models" / "a").exists()


def test_an_empty_current_directory_is_not_replaced_either(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BgnbError, match="is the current directory"):
        make(Path())
    assert names(tmp_path) == set()


@pytest.mark.parametrize("letter", ["a", "ä", "\udcff"])
def test_the_longest_names_that_a_file_may_have_can_be_made_and_replaced(tmp_path, letter):
    out = tmp_path / (letter * (255 // len(os.fsencode(letter))))
    make(out, "a")
    make(out, "b", overwrite=True)
    assert names(tmp_path) == {out.name}
    with pytest.raises(BgnbError, match="cannot be written: File name too long"):
        make(tmp_path / (letter * 256), "a")


@pytest.mark.parametrize("kind", ["lock", "partial", "old"])
def test_names_that_stand_beside_a_directory_are_refused(tmp_path, kind):
    with pytest.raises(BgnbError, match="is a name that bgnb uses"):
        make(tmp_path / f".out.bgnb-{kind}", "a")
    assert names(tmp_path) == set()


def test_a_file_system_without_locks_will_do(tmp_path, monkeypatch):
    """As some network file systems: two that work at once take folders of their own, and the first to end wins."""

    def no_lock(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", no_lock)
    monkeypatch.setattr("bgnb.files.output_directory._exchange", lambda *_: False)
    with (
        pytest.raises(BgnbError, match="exists already"),
        new_directory(tmp_path / "out", overwrite=False),
    ):
        make(tmp_path / "out", "fast")
    assert names(tmp_path / "out") == {"fast", MANIFEST}
    (tmp_path / "out").rename(tmp_path / ".out.bgnb-old")  # one was killed between its two renames
    make(tmp_path / "out", "new", overwrite=True)
    assert names(tmp_path / "out") == {MANIFEST, "new"}
    assert names(tmp_path) == {"out"}


def test_the_lock_of_one_that_ends_at_this_moment_is_not_taken_for_ours(tmp_path, monkeypatch):
    """Its file was removed between our opening and our locking it: a third may have made another."""
    lock, flock, calls = tmp_path / ".out.bgnb-lock", fcntl.flock, []

    def late(file, how):
        calls.append(file)
        if len(calls) == 1:
            lock.unlink()
            lock.touch()
        flock(file, how)

    monkeypatch.setattr("fcntl.flock", late)
    make(tmp_path / "out", "a")
    assert len(calls) == 2
    assert names(tmp_path) == {"out"}


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_modes_are_those_that_the_user_wants(tmp_path, umask):
    before = os.umask(umask)
    try:
        make(tmp_path / "out", "a")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o777 & ~umask
    assert stat.S_IMODE((tmp_path / "out" / MANIFEST).stat().st_mode) == 0o666 & ~umask


def test_what_cannot_be_written_is_named(tmp_path, monkeypatch):
    def refuse(path, *_, **__):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(BgnbError, match=r"out: cannot be written: Permission denied \(.*/\.out\.bgnb-lock\)$"):
        make(tmp_path / "out", "a")


def test_a_working_folder_that_vanishes_is_an_error_and_nothing_appears(tmp_path):
    with (
        pytest.raises(BgnbError, match=r"manifest\.json: cannot be written: No such file or directory"),
        new_directory(tmp_path / "out", overwrite=False) as directory,
    ):
        shutil.rmtree(directory)
    assert names(tmp_path) == set()
