"""Files that JupyterLab writes in folders where others can write."""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from nbformat.v4 import new_notebook
from tornado.web import HTTPError

from bgnb.notebooks.contents import Checkpoints, Contents

SOMEBODY = 12345
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of another user")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of a third person, in which everybody can write, with a notebook; beside it is a private one."""
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "data"))
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "n.ipynb").write_text("precious")
    shared = tmp_path / "shared"
    shared.mkdir()
    os.chown(shared, 54321, -1)
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
    os.chown(path, SOMEBODY, -1, follow_symlinks=False)


def test_copies_are_beside_the_file(folder, tmp_path):
    """The copy of a saved notebook is where every Jupyter has it."""
    save(folder, "n.ipynb")
    assert [path.name for path in (folder / ".ipynb_checkpoints").iterdir()] == ["n-checkpoint.ipynb"]
    assert not (tmp_path / "data" / "bgnb-checkpoints").exists()


@pytest.mark.parametrize("planted", ["link", "file", "folder"])
def test_copies_are_not_those_of_another(folder, tmp_path, planted):
    """If copies would be written to files of somebody else, they are in a private folder, and can be restored."""
    copies = folder / ".ipynb_checkpoints"
    copies.mkdir()
    copy = copies / "n-checkpoint.ipynb"
    if planted == "link":
        copy.symlink_to(tmp_path / "private" / "n.ipynb")
    else:
        copy.touch()
    owned_by_another(copies if planted == "folder" else copy)
    contents = save(folder, "n.ipynb", "first")
    saved = (folder / "n.ipynb").read_text()
    assert copy.read_text() == ("precious" if planted == "link" else "")
    (private,) = (tmp_path / "data" / "bgnb-checkpoints").iterdir()
    assert stat.S_IMODE(private.stat().st_mode) == 0o700
    (folder / "n.ipynb").write_text("{}")
    asyncio.run(contents.restore_checkpoint("checkpoint", "n.ipynb"))
    assert (folder / "n.ipynb").read_text() == saved
    (folder / "sub").mkdir()
    save(folder / "sub", "n.ipynb", "of the same name")
    asyncio.run(contents.restore_checkpoint("checkpoint", "n.ipynb"))
    assert (folder / "n.ipynb").read_text() == saved
    asyncio.run(contents.delete("n.ipynb"))
    assert not list(private.iterdir())


@pytest.mark.parametrize("is_link", [True, False])
def test_temporary_copies_of_another_are_refused(folder, tmp_path, is_link):
    """A notebook is not saved while somebody else has made the file to which it is copied first."""
    copy = folder / ".~n.ipynb"
    if is_link:
        copy.symlink_to(tmp_path / "private" / "n.ipynb")
    else:
        copy.touch()
    owned_by_another(copy)
    with pytest.raises(HTTPError, match=r"~n\.ipynb belongs to another user"):
        save(folder, "n.ipynb")
    assert not is_link or copy.is_symlink()
    assert copy.read_text() == ("precious" if is_link else "")


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
