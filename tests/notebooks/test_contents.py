"""Files that JupyterLab writes in folders where others can write."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from nbformat.v4 import new_notebook
from tornado.web import HTTPError

from bgnb.notebooks import contents as contents_module
from bgnb.notebooks.contents import Checkpoints, Contents

SOMEBODY = 12345


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder; beside it is a private one, with a notebook that must not change."""
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "data"))
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "n.ipynb").write_text("precious")
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o755)  # whatever the umask
    yield shared
    assert [path.name for path in (tmp_path / "private").iterdir()] == ["n.ipynb"]
    assert (tmp_path / "private" / "n.ipynb").read_text() == "precious"


def save(folder: Path, path: str, name: str = "new") -> Any:
    """Save a notebook, and copy it as JupyterLab does when the user saves it; return what wrote it."""
    contents = Contents(root_dir=str(folder), checkpoints_class=Checkpoints)
    notebook = new_notebook(metadata={"name": name})
    asyncio.run(contents.save({"type": "notebook", "content": notebook}, path))
    asyncio.run(contents.create_checkpoint(path))
    return contents


def owned_by_another(path: Path) -> None:
    if getattr(os, "geteuid", lambda: 1)() != 0:
        pytest.skip("only root can make files of another user")
    os.chown(path, SOMEBODY, -1, follow_symlinks=False)


def test_copies_are_beside_the_file(folder, tmp_path):
    """The copy of a saved notebook in a folder of the user is where every Jupyter has it."""
    save(folder, "n.ipynb")
    assert [path.name for path in (folder / ".ipynb_checkpoints").iterdir()] == ["n-checkpoint.ipynb"]
    assert stat.S_IMODE((folder / ".ipynb_checkpoints").stat().st_mode) == 0o700
    assert not (tmp_path / "data" / "bgnb-checkpoints").exists()


@pytest.mark.parametrize("planted", ["nothing", "link", "file", "writable", "folder", "folder of another"])
def test_copies_are_private(folder, tmp_path, planted):
    """Copies are in a private folder if somebody else may write to those beside the file, and can be restored."""
    copies = folder / ".ipynb_checkpoints"
    copy = copies / "n-checkpoint.ipynb"
    if planted != "nothing":
        copies.mkdir()
        if planted == "link":
            copy.symlink_to(tmp_path / "private" / "n.ipynb")
        else:
            copy.touch()
    if planted == "writable":
        copies.chmod(0o777)
    elif planted == "folder of another":
        owned_by_another(copies)
    else:
        folder.chmod(0o777)
    contents = save(folder, "n.ipynb", "first")
    saved = (folder / "n.ipynb").read_text()
    assert planted == "nothing" or copy.read_text() == ("precious" if planted == "link" else "")
    private = tmp_path / "data" / "bgnb-checkpoints" / folder.relative_to("/")
    assert stat.S_IMODE(private.stat().st_mode) == 0o700
    (folder / "n.ipynb").write_text("{}")
    (folder / "n.ipynb").chmod(0o600)
    asyncio.run(contents.restore_checkpoint("checkpoint", "n.ipynb"))
    assert (folder / "n.ipynb").read_text() == saved
    assert stat.S_IMODE((folder / "n.ipynb").stat().st_mode) == 0o600
    asyncio.run(contents.delete("n.ipynb"))
    assert not list(private.iterdir())
    with pytest.raises(HTTPError, match="no checkpoint"):
        asyncio.run(contents.restore_checkpoint("checkpoint", "n.ipynb"))


def test_notebook_in_a_read_only_folder(folder, tmp_path, monkeypatch):
    """The copies of notebooks in folders in which none can be made are in a private folder, so that they are opened."""
    mkdir = Path.mkdir

    def read_only(path, *arguments, **options):
        if path.parent == folder:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        mkdir(path, *arguments, **options)

    monkeypatch.setattr(Path, "mkdir", read_only)
    save(folder, "n.ipynb")
    (copy,) = (tmp_path / "data" / "bgnb-checkpoints").rglob("*.ipynb")
    assert copy.name == "n-checkpoint.ipynb"


def test_copies_follow_their_folder(folder):
    """Private copies are those of a file also after its folder was renamed, and gone with the folder."""
    for name in ("one", "two"):
        (folder / name).mkdir()
        (folder / name).chmod(0o777)
        contents = save(folder, f"{name}/n.ipynb", f"in {name}")
    asyncio.run(contents.delete("two"))
    asyncio.run(contents.rename("one", "two"))
    assert len(asyncio.run(contents.list_checkpoints("two/n.ipynb"))) == 1
    (folder / "two" / "n.ipynb").write_text("{}")
    asyncio.run(contents.restore_checkpoint("checkpoint", "two/n.ipynb"))
    assert "in one" in (folder / "two" / "n.ipynb").read_text()
    (folder / "one").mkdir()
    (folder / "one").chmod(0o777)
    assert not asyncio.run(contents.list_checkpoints("one/n.ipynb"))


def test_temporary_copies_of_another_are_not_used(folder, tmp_path):
    """Files of others with the names of temporary copies of Jupyter are neither written nor removed."""
    for number, make in enumerate((Path.touch, lambda path: path.symlink_to(tmp_path / "private" / "n.ipynb"))):
        make(copy := folder / f".~{number}.ipynb")
        owned_by_another(copy)
        for name in ("first", "second"):
            save(folder, f"{number}.ipynb", name)
            assert name in (folder / f"{number}.ipynb").read_text()
        assert copy.lstat().st_uid == SOMEBODY
        assert copy.read_text() == ("precious" if number else "")


def test_link_that_appears_after_the_check_is_not_followed(folder, tmp_path, monkeypatch):
    """A file that somebody else replaces by a link at the last moment is not written through the link."""
    save(folder, "n.ipynb")
    monkeypatch.setattr(Contents, "_check", lambda *_: None)
    (folder / "n.ipynb").unlink()
    (folder / "n.ipynb").symlink_to(tmp_path / "private" / "n.ipynb")
    owned_by_another(folder / "n.ipynb")
    with pytest.raises(HTTPError, match="symbolic link"):
        save(folder, "n.ipynb", "second")


def test_files_keep_owner_and_permissions(folder):
    """A private notebook stays private, and one of somebody else remains theirs; links of the user are followed."""
    (folder / "n.ipynb").touch(mode=0o600)
    (folder / "theirs.ipynb").write_text("{}")
    is_root = getattr(os, "geteuid", lambda: 1)() == 0
    if is_root:
        owned_by_another(folder / "theirs.ipynb")
    (folder / "link.ipynb").symlink_to("n.ipynb")
    for name in ("n.ipynb", "theirs.ipynb", "link.ipynb"):
        save(folder, name, f"second {name}")
    assert stat.S_IMODE((folder / "n.ipynb").stat().st_mode) == 0o600
    assert "second link.ipynb" in (folder / "n.ipynb").read_text()
    assert (folder / "link.ipynb").is_symlink()
    assert (folder / "theirs.ipynb").stat().st_uid == SOMEBODY or not is_root
    assert "second theirs.ipynb" in (folder / "theirs.ipynb").read_text()
    assert {path.name for path in folder.iterdir()} == {"n.ipynb", "theirs.ipynb", "link.ipynb", ".ipynb_checkpoints"}


def test_files_of_several_names_remain_one_file(folder):
    """A notebook with two names keeps both."""
    (folder / "n.ipynb").write_text("{}")
    (folder / "also.ipynb").hardlink_to(folder / "n.ipynb")
    save(folder, "n.ipynb", "second" * 1000)
    save(folder, "n.ipynb", "short")
    assert (folder / "also.ipynb").read_text() == (folder / "n.ipynb").read_text()
    assert "short" in (folder / "n.ipynb").read_text()


def test_full_disk_leaves_the_former_content(folder, monkeypatch):
    """A notebook that is written in place is not lost if the disk is full."""
    (folder / "n.ipynb").write_text("former")
    (folder / "also.ipynb").hardlink_to(folder / "n.ipynb")
    overwrite, calls = contents_module._overwrite, []

    def full_at_first(file, content):
        calls.append(content)
        overwrite(file, content)
        if len(calls) == 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(contents_module, "_overwrite", full_at_first)
    with pytest.raises(HTTPError, match="No space left"):
        save(folder, "n.ipynb", "new" * 100)
    assert (folder / "also.ipynb").read_text() == "former"
    assert len(calls) == 2


def test_pipe_in_place_of_a_notebook(folder, monkeypatch):
    """A pipe that somebody else put in the place of a notebook does not block JupyterLab."""
    monkeypatch.setattr(Contents, "_check", lambda *_: None)
    os.mkfifo(folder / "n.ipynb")
    with pytest.raises(HTTPError, match="cannot be written"):
        save(folder, "n.ipynb")


def test_nothing_is_written_through_links_of_another(folder, tmp_path):
    """Files and folders behind a link that somebody else made are neither written nor removed; own links are followed."""
    (folder / "linked").symlink_to(tmp_path / "private")
    (folder / "n.ipynb").symlink_to(tmp_path / "private" / "n.ipynb")
    owned_by_another(folder / "linked")
    owned_by_another(folder / "n.ipynb")
    (folder / "own.ipynb").write_text("{}")
    contents = Contents(root_dir=str(folder), checkpoints_class=Checkpoints)
    calls = [
        lambda: contents.save({"type": "directory"}, "linked/new"),
        lambda: contents.save({"type": "file", "format": "text", "content": "x"}, "linked/n.ipynb"),
        lambda: contents.save({"type": "file", "format": "text", "content": "x"}, "n.ipynb"),
        lambda: contents.delete("linked/n.ipynb"),
        lambda: contents.rename("own.ipynb", "linked/own.ipynb"),
        lambda: contents.rename("linked/n.ipynb", "mine.ipynb"),
        lambda: contents.copy("own.ipynb", "linked"),
        lambda: contents.copy("linked/n.ipynb"),
    ]
    for number, call in enumerate(calls):
        with pytest.raises(HTTPError) as caught:
            asyncio.run(call())
        assert caught.value.status_code == 403, number
    (tmp_path / "mine").mkdir()
    (folder / "mine").symlink_to(tmp_path / "mine")
    save(folder, "mine/n.ipynb")
    assert (tmp_path / "mine" / "n.ipynb").exists()
