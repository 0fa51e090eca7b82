"""Output directories: made completely or not at all, replaced only if bgnb wrote everything in them."""

import errno
import fcntl
import json
import os
import shutil
import signal
import tempfile
from pathlib import Path

import pytest

from bgnb._util import signals
from bgnb.files.manifest import MANIFEST, check
from bgnb.files.output_directory import check_before_start, new_directory, scratch_directory
from bgnb.files.output_file import check_new_file, is_in, write_file
from tests.helpers.errors import raises
from tests.helpers.files import names


def make(target: Path, *files: str, overwrite: bool = False) -> None:
    """Make a directory with some files."""
    with new_directory(target, overwrite=overwrite, kind="models") as directory:
        for name in files:
            (directory / name).write_text(name)


def test_only_listed_files_are_replaced(tmp_path):
    """A directory with a file that its manifest does not list is not replaced."""
    make(tmp_path / "out", "a", "b")
    make(tmp_path / "out", "c", overwrite=True)
    assert names(tmp_path / "out") == {"c", MANIFEST}
    (tmp_path / "out" / "link").symlink_to(tmp_path)
    with raises("foreign-files", "out", "link"):
        make(tmp_path / "out", "d", overwrite=True)


def test_content_of_another_kind_is_not_replaced(tmp_path):
    """Runs and models are not replaced by other results, as after a slip in a command; damaged kinds are foreign."""
    with new_directory(tmp_path / "out", overwrite=False, kind="runs") as directory:
        (directory / "a").write_text("a")
    for overwrite in (True, False):
        with raises("foreign-files", "out: contains runs, which models do not replace"):
            make(tmp_path / "out", "b", overwrite=overwrite)
    assert check(tmp_path / "out") == {"a": None, MANIFEST: None}
    check_before_start(tmp_path / "out", overwrite=True, kind=None)
    manifest = tmp_path / "out" / MANIFEST
    manifest.write_text(manifest.read_text().replace("runs", "models"))
    make(tmp_path / "out", "b", overwrite=True)
    manifest.write_text(manifest.read_text().replace('"models"', "3"))
    assert "is damaged" in check(tmp_path / "out")[MANIFEST]
    with raises("foreign-files", "out"):
        make(tmp_path / "out", "c", overwrite=True)


def test_manifest_of_others_is_foreign(tmp_path):
    """A directory with a manifest of another program is not replaced."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("mine")
    (tmp_path / "out" / MANIFEST).write_text(json.dumps({"creator": "somebody", "files": ["mine"]}))
    with raises("foreign-files", "out"):
        make(tmp_path / "out", "a", overwrite=True)


def test_first_foreign_file_is_enough(tmp_path, monkeypatch):
    """A large tree that bgnb did not make is refused at its first file."""
    for number in range(20):
        (tmp_path / "out" / f"{number}").mkdir(parents=True)
        (tmp_path / "out" / f"{number}" / "mine").touch()
    seen = []
    is_dir = Path.is_dir
    monkeypatch.setattr(Path, "is_dir", lambda path: seen.append(path) or is_dir(path))
    with raises("foreign-files", "mine"):
        make(tmp_path / "out", "a", overwrite=True)
    assert len([path for path in seen if path.name == "mine"]) == 1


def test_file_added_meanwhile_is_kept(tmp_path):
    """A foreign file that appears while the new directory is made keeps the old one in place."""
    make(tmp_path / "out", "a")
    with (
        raises("foreign-files", "out", "late"),
        new_directory(tmp_path / "out", overwrite=True, kind="models"),
    ):
        (tmp_path / "out" / "late").write_text("mine")
    assert (tmp_path / "out" / "late").read_text() == "mine"
    assert names(tmp_path) == {"out"}


def test_current_directory_is_not_replaced(tmp_path, monkeypatch):
    """The current directory is not replaced, even if bgnb made it."""
    make(tmp_path / "out", "a")
    monkeypatch.chdir(tmp_path / "out")
    with raises("bad-target", "current directory"):
        make(Path(), "b", overwrite=True)


def test_home_directory_is_not_a_name(tmp_path, monkeypatch):
    """Python does not replace ~; a directory of this name, which a shell would not remove alone, is not made."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    for name in ("~", "~/out"):
        with raises("bad-target", name, name.replace("~", "/home/me")):
            make(Path(name), "a")
        with raises("bad-target", name, name.replace("~", "/home/me")):
            write_file(Path(name), b"a")
    make(Path("~nobody-of-this-name"), "a")
    assert names(tmp_path) == {"~nobody-of-this-name"}


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (KeyboardInterrupt(), pytest.raises(KeyboardInterrupt)),
        (OSError(errno.ENOSPC, "No space left on device"), raises("not-writable", "out", "No space left on device")),
    ],
    ids=["interrupt", "full disk"],
)
def test_failed_rename_restores_directory(tmp_path, monkeypatch, error, expected):
    """If the second of two renames fails, the old directory gets its name back."""
    make(tmp_path / "out", "a")
    rename = Path.rename

    def failing(self, target):
        if self.name.startswith(".bgnb-unfinished"):
            raise error
        return rename(self, target)

    monkeypatch.setattr("bgnb.files.output_directory._exchange", lambda *_: False)  # as on systems that cannot
    monkeypatch.setattr(Path, "rename", failing)
    with expected:
        make(tmp_path / "out", "b", overwrite=True)
    assert names(tmp_path / "out") == {"a", MANIFEST}
    assert names(tmp_path) == {"out"}


def test_link_points_to_new_directory(tmp_path):
    """If the output is a link to a directory, the link stays, and its target is replaced."""
    (tmp_path / "disk").mkdir()
    make(tmp_path / "disk" / "models", "a")
    (tmp_path / "out").symlink_to("disk/models")
    make(tmp_path / "out", "b", overwrite=True)
    assert (tmp_path / "out").readlink() == Path("disk/models")
    assert names(tmp_path / "disk" / "models") == {"b", MANIFEST}
    assert names(tmp_path / "disk") == {"models"}


def test_dangling_link_gets_its_target(tmp_path):
    """If the output is a link to a missing directory, this directory is made."""
    (tmp_path / "out").symlink_to("disk/models")
    make(tmp_path / "out", "a")
    assert (tmp_path / "disk" / "models" / "a").exists()


def test_empty_current_directory_is_kept(tmp_path, monkeypatch):
    """The current directory is not replaced, even if it is empty."""
    monkeypatch.chdir(tmp_path)
    with raises("bad-target", "current directory"):
        make(Path())
    assert names(tmp_path) == set()


@pytest.mark.parametrize("letter", ["a", "ä", "\udcff"])
def test_longest_names_can_be_replaced(tmp_path, letter):
    """Directories with names of 255 bytes, the maximum, are made and replaced."""
    out = tmp_path / (letter * (255 // len(os.fsencode(letter))))
    make(out, "a")
    make(out, "b", overwrite=True)
    assert names(tmp_path) == {out.name}
    with raises("not-writable", "File name too long"):
        make(tmp_path / (letter * 256), "a")


@pytest.mark.parametrize("kind", ["lock", "partial", "old"])
def test_hidden_names_are_refused(tmp_path, kind):
    """Names of hidden folders that bgnb uses are refused."""
    with raises("bad-target", f".out.bgnb-{kind}"):
        make(tmp_path / f".out.bgnb-{kind}", "a")
    assert names(tmp_path) == set()


@pytest.mark.parametrize("overwrite", ["no", "False", 1, None])
def test_overwrite_is_true_or_false(tmp_path, overwrite):
    """A text such as "no", which counts as true in Python, replaces nothing."""
    make(tmp_path / "out", "a")
    with raises("invalid-argument", "overwrite must be True or False"):
        make(tmp_path / "out", "b", overwrite=overwrite)
    with raises("invalid-argument", "overwrite must be True or False"):
        check_new_file(tmp_path / "out" / "a.png", [".png"], overwrite=overwrite)
    assert names(tmp_path / "out") == {"a", MANIFEST}


def test_locks_are_not_required(tmp_path, monkeypatch):
    """Without locks, as on some network file systems, two processes use different folders, and the first to end wins."""

    def no_lock(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", no_lock)
    monkeypatch.setattr("bgnb.files.output_directory._exchange", lambda *_: False)
    with (
        raises("exists", "out"),
        new_directory(tmp_path / "out", overwrite=False, kind="models"),
    ):
        make(tmp_path / "out", "fast")
    assert names(tmp_path / "out") == {"fast", MANIFEST}
    (tmp_path / ".out.bgnb-partial").mkdir(mode=0o700)  # a process was killed between two renames
    (tmp_path / "out").rename(tmp_path / ".out.bgnb-partial" / ".bgnb-replaced")
    make(tmp_path / "out", "new", overwrite=True)
    assert names(tmp_path / "out") == {MANIFEST, "new"}
    assert names(tmp_path) == {"out"}


def test_flushing_is_not_required(tmp_path, monkeypatch):
    """File systems that cannot flush files to disk are used; errors of the disk are not hidden."""
    problem = errno.EINVAL

    def fsync(number):
        raise OSError(problem, os.strerror(problem))

    monkeypatch.setattr("os.fsync", fsync)
    with new_directory(tmp_path / "out", overwrite=False, kind="models") as directory:
        write_file(directory / "a.txt", b"a")
    assert set(check(tmp_path / "out").values()) == {None}
    problem = errno.EIO
    with raises("not-writable", "Input/output error"):
        write_file(tmp_path / "b.txt", b"b")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_removed_lock_file_is_taken_again(tmp_path, monkeypatch):
    """If the file of a lock was removed between opening and locking it, another process may have made a new one."""
    lock, flock, calls = tmp_path / ".out.bgnb-partial" / ".bgnb-lock", fcntl.flock, []

    def late(file, how):
        calls.append(file)
        if len(calls) == 1:
            lock.unlink()
            lock.touch()
        flock(file, how)

    monkeypatch.setattr("fcntl.flock", late)
    make(tmp_path / "out", "a")
    assert calls.count(calls[0]) == 2
    assert names(tmp_path) == {"out"}


def test_locks_without_stable_numbers_of_files(tmp_path, monkeypatch):
    """If a file has another number whenever it is asked for, no lock is relied on, and nothing waits forever."""
    monkeypatch.setattr("bgnb.files.locks._is_at", lambda *_: False)
    monkeypatch.setattr("fcntl.flock", lambda *_: None)  # which another process obtains as well
    with scratch_directory(tmp_path / "out") as first:
        make(tmp_path / "out", "a")
        assert first.is_dir()  # another process may be writing it
    assert names(tmp_path) == {"out"}


@pytest.mark.parametrize("complete", [True, False])
def test_locks_that_other_machines_do_not_see(tmp_path, monkeypatch, complete):
    """Of two machines that make one directory, if locks are local, the first fails, and writes nothing into the other's."""
    monkeypatch.setattr("fcntl.flock", lambda *_: None)
    with raises("not-writable", "out", "No such file"), new_directory(tmp_path / "out", overwrite=True, kind="models") as first:
        write_file(first / "a", b"a")
        with new_directory(tmp_path / "out", overwrite=False, kind="models") as second:
            write_file(second / "b", b"b")
            if not complete:
                write_file(first / "c", b"c")
    assert not complete or names(tmp_path / "out") == {"b", MANIFEST}
    assert names(tmp_path) == ({"out"} if complete else set())


def test_other_spelling_of_input(tmp_path, monkeypatch):
    """If case is ignored, an input is not replaced under another spelling of its name."""
    make(tmp_path / "runs", "a")
    stat_of = os.stat

    def stat(path, **options):
        parent, inside, name = str(path).partition(str(tmp_path))
        return stat_of(f"{parent}{inside}{name.lower()}" if inside else path, **options)

    monkeypatch.setattr(os, "stat", stat)
    for outdir in ("RUNS", "Runs/models", "."):
        with (
            raises("bad-target", "contains the input"),
            new_directory(tmp_path / outdir, overwrite=True, kind="models", inputs=(tmp_path / "runs",)),
        ):
            pass
    assert is_in(tmp_path / "RUNS" / "new", tmp_path / "runs")
    assert not is_in(tmp_path / "RUN", tmp_path / "runs")
    assert names(tmp_path) == {"runs"}


def test_files_without_numbers(tmp_path, monkeypatch):
    """A directory is replaced if the file system does not number files, so that it looks like a mount point."""
    make(tmp_path / "out", "a")
    stat_of = os.stat

    def stat(path, **options):
        mode, _, *others = stat_of(path, **options)
        return os.stat_result((mode, 0, *others))

    with monkeypatch.context() as unnumbered:
        unnumbered.setattr(os, "stat", stat)
        assert (tmp_path / "out").is_mount()
        make(tmp_path / "out", "b", overwrite=True)
    assert names(tmp_path / "out") == {"b", MANIFEST}


def test_unwritable_file_is_named(tmp_path, monkeypatch):
    """The error names the output and the file that the system refuses to write."""

    def refuse(path, *_, **__):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(os, "open", refuse)
    with raises("not-writable", tmp_path / "out", "Permission denied", tmp_path / ".out.bgnb-partial" / ".bgnb-lock"):
        make(tmp_path / "out", "a")
    assert names(tmp_path) == set()


def test_removed_partial_folder_is_an_error(tmp_path):
    """If the hidden folder is removed while it is filled, nothing appears."""
    with (
        raises("not-writable", "manifest.json", "No such file or directory"),
        new_directory(tmp_path / "out", overwrite=False, kind="models") as directory,
    ):
        shutil.rmtree(directory)
    assert names(tmp_path) == set()


@pytest.mark.parametrize("name", ["x" * 300, "file/model.fits"])
def test_file_at_invalid_path(tmp_path, name):
    """A path that cannot exist is an error that names it."""
    (tmp_path / "file").touch()
    with raises("not-writable", tmp_path / name):
        write_file(tmp_path / name, b"content")


def test_failure_removes_new_parents_only(tmp_path):
    """If a directory cannot be made, the parents that were made for it are removed, unless they contain something."""
    (tmp_path / "old").mkdir()
    for target in (tmp_path / "a" / "b" / "out", tmp_path / "old" / "out"):
        with pytest.raises(KeyError), new_directory(target, overwrite=False, kind="models"):
            raise KeyError
    assert names(tmp_path) == {"old"}

    def add_and_fail() -> None:
        (tmp_path / "a" / "note").touch()
        raise KeyError

    with pytest.raises(KeyError), new_directory(tmp_path / "a" / "b" / "out", overwrite=False, kind="models"):
        add_and_fail()
    assert names(tmp_path / "a") == {"note"}


def test_read_only_directory_is_replaced(tmp_path, as_ordinary_user):
    """A directory without write permission, and what an earlier command left of one, is removed when it is replaced."""
    out = as_ordinary_user / "out"
    left = as_ordinary_user / ".out.bgnb-partial" / ".bgnb-unfinished"
    make(out, "a")
    left.parent.mkdir(mode=0o700)
    (left / "in").mkdir(parents=True)
    (left / "in" / "file").touch()
    for folder in (out, left / "in", left):
        folder.chmod(0o555)
    make(out, "b", overwrite=True)
    assert names(as_ordinary_user) == {"out"}
    assert "b" in names(out)


@pytest.fixture
def as_ordinary_user():
    """Make a folder, and run the test as a user whom permissions restrict."""
    with tempfile.TemporaryDirectory() as folder:
        root = os.geteuid() == 0
        if root:
            os.chown(folder, 65534, 65534)
            os.seteuid(65534)
        try:
            yield Path(folder)
        finally:
            if root:
                os.seteuid(0)


@pytest.fixture
def message_after_signal(monkeypatch, capsys):
    """Return a function that calls another one, which a signal interrupts, and returns the line after it."""
    monkeypatch.setattr(signals, "_complete", [])
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}

    def call(function):
        with pytest.raises(SystemExit) as error, signals.ended_by_signals():
            function()
        assert error.value.code == 128 + signal.SIGTERM
        return capsys.readouterr().err

    yield call
    for number, handler in before.items():
        signal.signal(number, handler)


def test_signal_while_publishing_says_complete(tmp_path, monkeypatch, message_after_signal):
    """If a signal arrives while a directory gets its name, the line after it says that the directory is complete."""
    rename = Path.rename

    def interrupted(self, target):
        result = rename(self, target)
        os.kill(os.getpid(), signal.SIGTERM)
        return result

    monkeypatch.setattr(Path, "rename", interrupted)
    assert f"complete: {tmp_path / 'out'};" in message_after_signal(lambda: make(tmp_path / "out", "a"))
    assert "a" in names(tmp_path / "out")
    assert names(tmp_path) == {"out"}


def test_directory_that_cannot_be_renamed_is_kept(tmp_path, monkeypatch):
    """A directory in a lower layer of a container image cannot be renamed: it is kept, and the message says what to do."""
    make(tmp_path / "out", "a")
    monkeypatch.setattr("bgnb.files.output_directory._exchange", lambda *_: False)

    def rename(self, target):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), str(self))

    monkeypatch.setattr(Path, "rename", rename)
    with raises("not-writable", tmp_path / "out", "container image", "another name"):
        make(tmp_path / "out", "b", overwrite=True)
    assert "a" in names(tmp_path / "out")
    assert names(tmp_path) == {"out"}


def test_signal_before_scratch_directory_is_removed(tmp_path, message_after_signal):
    """Output that is removed with the directory in which it was made is not said to be complete."""

    def interrupted():
        with scratch_directory(tmp_path / "out") as hidden:
            make(hidden / "runs", "a")
            os.kill(os.getpid(), signal.SIGTERM)

    assert message_after_signal(interrupted) == "Interrupted; unfinished output is removed.\n"
    assert not names(tmp_path)
