"""Shared directories: what other users put beside an output is neither believed, nor followed, nor removed."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest

from bgnb.files import output_directory
from bgnb.files.manifest import MANIFEST
from bgnb.files.output_directory import check_before_start, new_directory, only_writer
from bgnb.files.output_file import check_file_path, write_file
from bgnb.files.ownership import resolved
from bgnb.notebooks.shipped import copy_notebooks
from tests.helpers.commands import error_of
from tests.helpers.errors import raises
from tests.helpers.files import digests, give_away, names


def make(target: Path, content: str = "new", *, overwrite: bool = False) -> None:
    """Make a directory with one file."""
    with new_directory(target, overwrite=overwrite, kind="models") as directory:
        (directory / "a").write_text(content)


@pytest.fixture
def precious(tmp_path) -> Path:
    """Make a directory of the user with a file that must not change."""
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "precious").write_text("precious")
    return folder


@pytest.mark.skipif(not os.path.lexists("/proc/self/cwd"), reason="the system has no /proc")
def test_directories_of_other_processes(tmp_path):
    """The path that a process in a container sees is not that of this process."""
    with raises("bad-target", f"/proc/{os.getppid()}/root: may lead into a container"):
        resolved(Path(f"/proc/{os.getppid()}/root{tmp_path}"))
    assert resolved(Path("/proc/self/cwd/a")) == Path.cwd() / "a"


@pytest.mark.parametrize("kind", ["replaced", "unfinished"])
@pytest.mark.parametrize("exists", [True, False])
def test_leftovers_of_others_are_not_used(tmp_path, monkeypatch, kind, exists):
    """Hidden directories of others neither become the output, nor are removed."""
    if exists:
        make(tmp_path / "out", "mine")
    make(tmp_path / "planted", "planted")
    hidden = tmp_path / ".out.bgnb-partial"
    hidden.mkdir(mode=0o700)
    (tmp_path / "planted").rename(hidden / f".bgnb-{kind}")
    give_away(hidden, monkeypatch)
    before = names(tmp_path)
    with raises("foreign-files", hidden):
        make(tmp_path / "out", overwrite=True)
    assert names(tmp_path) == before
    assert (hidden / f".bgnb-{kind}" / "a").read_text() == "planted"
    assert not exists or (tmp_path / "out" / "a").read_text() == "mine"


@pytest.mark.parametrize("mode", [0o700, 0o755, 0o777])
@pytest.mark.parametrize("overwrite", [True, False])
def test_renamed_directories_are_not_removed(tmp_path, precious, mode, overwrite):
    """Users who may write in a directory can give the names of bgnb to directories of the user, which remain complete."""
    if overwrite:
        make(tmp_path / "out", "old")
    make(precious / "models", "mine")
    if mode == 0o777:  # others can make something in it
        (precious / "models").rename(precious / ".bgnb-unfinished")
        (precious / "precious").rename(precious / ".bgnb-kept")
    before = digests(precious)
    precious.chmod(mode)
    hidden = precious.rename(tmp_path / ".out.bgnb-partial")
    with raises("foreign-files", hidden), new_directory(tmp_path / "out", overwrite=overwrite, kind="models") as directory:
        (directory / "a").touch()
    assert digests(hidden) == before
    assert names(tmp_path) == {hidden.name, *(["out"] if overwrite else [])}


@pytest.mark.parametrize("exchange", [True, False])
def test_directory_that_was_replaced_at_the_last_moment_remains(tmp_path, precious, monkeypatch, exchange):
    """A directory that somebody gave the name of the output, after this was compared with its manifest, is kept."""
    make(tmp_path / "out", "old")
    is_own = output_directory.is_own_directory

    def late(path: Path) -> bool:
        if path == tmp_path / "out" and precious.exists():
            path.rename(tmp_path / "moved")
            precious.rename(path)
        return is_own(path)

    if not exchange:
        monkeypatch.setattr(output_directory, "_exchange", lambda *_: False)
    monkeypatch.setattr(output_directory, "is_own_directory", late)
    with raises("foreign-files", "out: contains precious"):
        make(tmp_path / "out", overwrite=True)
    assert (tmp_path / "out" / "precious").read_text() == "precious"
    assert names(tmp_path) == {"out", "moved"}


@pytest.mark.parametrize("kind", ["partial", "lock"])
def test_hidden_links_are_not_followed(tmp_path, precious, kind):
    """Links with hidden names, to files and directories, lead nowhere."""
    hidden = tmp_path / ".out.bgnb-partial"
    if kind == "lock":
        hidden.mkdir(mode=0o700)
        hidden /= ".bgnb-lock"
    for aim in (precious, precious / "precious", precious / "none"):
        hidden.symlink_to(aim)
        with raises("not-writable" if kind == "lock" else "foreign-files", hidden):
            make(tmp_path / "out")
        hidden.unlink()
    if kind == "lock":
        hidden.parent.rmdir()
    assert digests(precious).keys() == {"precious"}
    assert (precious / "precious").read_text() == "precious"
    assert names(tmp_path) == {"home"}


def test_pipe_as_lock_is_refused(tmp_path):
    """A pipe in place of the lock does not block."""
    (tmp_path / ".out.bgnb-partial").mkdir(mode=0o700)
    os.mkfifo(tmp_path / ".out.bgnb-partial" / ".bgnb-lock")
    with raises("not-writable", ".bgnb-lock", "regular file"):
        make(tmp_path / "out")


def test_partial_link_is_not_written(tmp_path, precious, monkeypatch):
    """A file is not written through a link with the name that it has before it is complete."""
    monkeypatch.setattr("bgnb.files.output_file.token_hex", lambda _: "0")
    link = tmp_path / ".out.txt.bgnb-file-0"
    link.symlink_to(precious / "precious")
    with raises("exists"):
        write_file(tmp_path / "out.txt", b"new")
    link.unlink(missing_ok=True)
    (tmp_path / "out.txt").symlink_to(precious / "precious")
    write_file(tmp_path / "out.txt", b"new")
    assert (tmp_path / "out.txt").read_bytes() == b"new"
    assert (precious / "precious").read_text() == "precious"
    assert names(tmp_path) == {"home", "out.txt"}


@pytest.mark.parametrize("where", [".", "new", "new/folder"])
def test_links_of_others_are_refused(tmp_path, precious, monkeypatch, where):
    """Nothing is made behind a link that another user made in the directory of the user."""
    link = tmp_path / "link"
    link.symlink_to(precious)
    give_away(link, monkeypatch)
    out = link / where
    for function in (
        lambda: make(out, overwrite=True),
        lambda: check_before_start(out, overwrite=True, kind=None),
        lambda: only_writer(out / "out.ipynb").__enter__(),
        lambda: copy_notebooks(out),
        lambda: write_file(out / "file", b"content"),
    ):
        with raises("bad-target", link):
            function()
    line = error_of("run-notebook", "explore", out / "out.ipynb")
    assert str(link) in line
    assert line.endswith("[bad-target]")
    (tmp_path / "out.ipynb").symlink_to(precious / "new.ipynb")
    give_away(tmp_path / "out.ipynb", monkeypatch)
    assert error_of("run-notebook", "explore", tmp_path / "out.ipynb").endswith("[bad-target]")
    assert names(precious) == {"precious"}


def test_link_that_appears_after_the_check_is_not_followed(tmp_path, precious, monkeypatch):
    """A link that another user makes while the output is checked leads nowhere: it is examined when it is followed."""
    make(precious / "models", "mine")
    check, link = output_directory.check_target, tmp_path / "out"

    def check_and_plant(*arguments, **options):
        check(*arguments, **options)
        if not link.is_symlink():
            link.symlink_to(precious / "models")
            give_away(link, monkeypatch)

    for first in range(3):  # of the checks of an output, one in turn
        number = itertools.count()
        monkeypatch.setattr(
            output_directory,
            "check_target",
            lambda *args, number=number, first=first, **kw: (check if next(number) < first else check_and_plant)(*args, **kw),
        )
        with raises("bad-target", "out: is a symbolic link of another user"):
            make(link)
        link.unlink()
    assert (precious / "models" / "a").read_text() == "mine"
    assert names(tmp_path) == {"home"}


@pytest.mark.parametrize("name", ["out", "../here/out", "link/out", "link/../here/out", "file/out", "loop/out"])
def test_paths_are_resolved_as_by_the_system(tmp_path, monkeypatch, name):
    """Links of the user, relative ones and those that lead to others are followed."""
    (tmp_path / "here" / "to").mkdir(parents=True)
    (tmp_path / "here" / "file").touch()
    (tmp_path / "here" / "link").symlink_to("../second")
    (tmp_path / "second").symlink_to(tmp_path / "here" / "to")
    (tmp_path / "here" / "loop").symlink_to("loop")
    monkeypatch.chdir(tmp_path / "here")
    if name == "loop/out":
        with pytest.raises(OSError, match="symbolic links"):
            resolved(Path(name))
    else:
        assert resolved(Path(name)) == Path(name).resolve()


def test_links_in_the_directory_of_their_owner_are_followed(tmp_path, monkeypatch):
    """A link of a colleague in a directory of this colleague is followed."""
    if os.geteuid() != 0:
        pytest.skip("only root can make directories of others")
    shared = tmp_path / "shared"
    (shared / "disk").mkdir(parents=True)
    (shared / "data").symlink_to("disk")
    for path in (shared, shared / "data"):
        give_away(path, monkeypatch)
    make(shared / "data" / "out")
    assert names(shared / "disk" / "out") == {"a", MANIFEST}


def test_file_that_only_its_owner_may_replace(tmp_path, monkeypatch):
    """In a directory with the sticky bit, the file of somebody else is refused before its content is made."""
    (tmp_path / "theirs").touch()
    tmp_path.chmod(0o1777)
    assert check_file_path(tmp_path / "theirs").name == "theirs"
    uid = os.geteuid() + 12345
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    with raises("not-writable", "theirs", "another user", "another name"):
        check_file_path(tmp_path / "theirs")
    assert check_file_path(tmp_path / "new").name == "new"
    tmp_path.chmod(0o777)
    assert check_file_path(tmp_path / "theirs").name == "theirs"


def test_copied_notebooks_replace_no_link(tmp_path):
    """A link that leads nowhere counts as an existing notebook."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "explore.ipynb").symlink_to(tmp_path / "none")
    with raises("exists", "explore.ipynb"):
        copy_notebooks(tmp_path / "mine")
    assert names(tmp_path / "mine") == {"explore.ipynb"}


# What --overwrite replaces


def test_directory_of_another_user_can_be_replaced(tmp_path, monkeypatch):
    """If the permissions allow it, a directory that bgnb made for another user is replaced, and nothing is left of it."""
    make(tmp_path / "out", "old")
    give_away(tmp_path / "out", monkeypatch)
    make(tmp_path / "out", overwrite=True)
    assert (tmp_path / "out" / "a").read_text() == "new"
    assert names(tmp_path) == {"out"}


def change(path: Path) -> None:
    path.write_text("changed")


def replace_by_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("manifest.json")


def replace_by_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("changed", [change, replace_by_link, replace_by_pipe])
def test_changed_files_are_not_replaced(tmp_path, changed):
    """A directory with a file that was changed is not replaced, neither before nor after the work."""
    make(tmp_path / "out", "old")
    with raises("foreign-files", "out: contains a, which"), new_directory(tmp_path / "out", overwrite=True, kind="models"):
        changed(tmp_path / "out" / "a")
    status = (tmp_path / "out" / "a").lstat()

    def never() -> None:
        raise AssertionError("the work has begun")

    with raises("foreign-files", "out: contains a, which"), new_directory(tmp_path / "out", overwrite=True, kind="models"):
        never()
    assert (tmp_path / "out" / "a").lstat() == status
    assert names(tmp_path) == {"out"}


def test_missing_files_do_not_matter(tmp_path):
    """A directory of which files were removed is replaced."""
    make(tmp_path / "out", "old")
    (tmp_path / "out" / "a").unlink()
    make(tmp_path / "out", overwrite=True)
    assert (tmp_path / "out" / "a").read_text() == "new"
