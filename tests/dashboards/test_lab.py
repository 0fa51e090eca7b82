"""Notebooks with dashboards, and JupyterLab on them."""

import errno
import json
import os
import re
import shutil
import sys
import urllib.error
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest

import bgnb
from bgnb.files.ownership import is_changed_by_user_only
from bgnb.notebooks.content import notebook_parameters
from bgnb.notebooks.lab import open_lab, prepare_notebook
from tests.browser.driver import QUIET, free_port, private_jupyter, running
from tests.helpers.errors import raises
from tests.helpers.files import give_away, names

# In /proc/net.
LOOPBACK, LOOPBACK_6 = "0100007F", "00000000000000000000000001000000"


def listening(port: int) -> set[str]:
    """Return the local addresses at which a port is open."""
    rows = [line.split() for kind in ("tcp", "tcp6") for line in Path(f"/proc/net/{kind}").read_text().splitlines()[1:]]
    addresses = (local.split(":") for _, local, _, state, *_ in rows if state == "0A")
    return {address for address, number in addresses if int(number, 16) == port}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "pictures"), [("explore", 2), ("explore_true_reco", 1)])
def test_notebooks_show_simulated_models(tmp_path, monkeypatch, name, pictures):
    """Without directories, notebooks show dashboards of simulated models; each has a PNG for pages without widgets."""
    monkeypatch.chdir(tmp_path)
    out = bgnb.run_notebook(name, "out.ipynb")
    notebook = json.loads(out.read_text())
    assert "widgets" not in notebook["metadata"]
    data = [output["data"] for cell in notebook["cells"] for output in cell.get("outputs", []) if "data" in output]
    assert sum("image/png" in item and "application/vnd.jupyter.widget-view+json" in item for item in data) == pictures
    assert len(out.read_text()) < 1_000_000


def test_prepared_notebooks_are_kept(modeldir, pair, tmp_path, monkeypatch):
    """A notebook of other directories, or of the user, is kept: the new one gets a number."""
    monkeypatch.chdir(tmp_path)
    first = prepare_notebook(modeldir)
    assert prepare_notebook(modeldir) == first == Path("explore.ipynb")
    (parameters,) = notebook_parameters(first).values()
    assert parameters.default == str(modeldir)
    assert prepare_notebook(pair[0]).name == "explore-2.ipynb"
    compared = prepare_notebook(*pair)
    assert [parameter.default for parameter in notebook_parameters(compared).values()] == [str(path) for path in pair]
    (tmp_path / "explore_true_reco.ipynb").write_text("a file of the user")
    assert prepare_notebook(*pair).name == "explore_true_reco-2.ipynb"


def test_only_own_notebooks_are_opened_again(modeldir, tmp_path, monkeypatch):
    """A notebook is opened again unless cells or outputs are others than its own, or it is a link or of another user."""
    monkeypatch.chdir(tmp_path)
    first = prepare_notebook(modeldir)
    notebook = nbformat.read(first, as_version=4)
    notebook.cells[1].update(execution_count=1, outputs=[nbformat.v4.new_output("stream", text="run")])
    nbformat.write(notebook, first)
    assert prepare_notebook(modeldir) == first
    for kind in ("application/vnd.vega.v5+json", "text/html", "image/svg+xml"):  # JupyterLab draws them without being asked
        notebook.cells[3].outputs = [nbformat.v4.new_output("display_data", {"text/plain": "", kind: ""})]
        nbformat.write(notebook, first)
        assert prepare_notebook(modeldir).name == "explore-2.ipynb"
        Path("explore-2.ipynb").unlink()
    notebook.cells[3].outputs = []
    notebook.metadata["widgets"] = {"application/vnd.jupyter.widget-state+json": {"state": {}}}
    nbformat.write(notebook, first)
    assert prepare_notebook(modeldir).name == "explore-2.ipynb"
    Path("explore-2.ipynb").unlink()
    del notebook.metadata["widgets"]
    notebook.cells.append(nbformat.v4.new_code_cell("print('planted')"))
    nbformat.write(notebook, first)
    second = prepare_notebook(modeldir)
    assert second.name == "explore-2.ipynb"
    second.rename(tmp_path / "elsewhere.ipynb")
    second.symlink_to("elsewhere.ipynb")
    third = prepare_notebook(modeldir)
    assert third.name == "explore-3.ipynb"
    give_away(third, monkeypatch)
    Path("explore-4.ipynb").symlink_to("none")
    assert prepare_notebook(modeldir).name == "explore-5.ipynb"
    assert names(tmp_path) == {"elsewhere.ipynb", "explore.ipynb", *(f"explore-{number}.ipynb" for number in (2, 3, 4, 5))}


def test_lab_refuses_what_it_cannot_show(modeldir, pair, tmp_path):
    """Directories without models, or without a common group, are refused before JupyterLab starts."""
    with raises("not-a-model", tmp_path):
        prepare_notebook(tmp_path, folder=tmp_path)
    with raises("groups-mismatch", modeldir, pair[0]):
        prepare_notebook(modeldir, pair[0], folder=tmp_path)
    with raises("not-writable", tmp_path / "missing" / "explore.ipynb"):
        prepare_notebook(modeldir, folder=tmp_path / "missing")
    assert names(tmp_path) == set()


@pytest.mark.parametrize(
    ("mode", "others_write"), [(0o777, True), (0o1777, True), (0o775, True), (0o755, False), (0o500, None)]
)
def test_folder_in_which_others_can_write(modeldir, tmp_path, mode, others_write):
    """JupyterLab would use notebooks, settings and links that others put into its folder, which is refused."""
    if (user := getattr(os, "geteuid", int)()) == 0:
        os.chown(tmp_path, -1, 12345)  # the group of root may be its own
    tmp_path.chmod(mode)
    if others_write:
        with raises("bad-target", tmp_path, "other users can write"):
            prepare_notebook(modeldir, folder=tmp_path)
        assert names(tmp_path) == set()
    elif others_write is None and user != 0:
        with raises("not-writable", tmp_path):
            prepare_notebook(modeldir, folder=tmp_path)
    else:
        prepare_notebook(modeldir, folder=tmp_path)
    tmp_path.chmod(0o700)


def test_folder_of_another_user(modeldir, tmp_path, monkeypatch):
    """The owner of a folder can put files there, whatever the permissions; if the user cannot, this is what is wrong."""
    (tmp_path / "own").mkdir()
    (tmp_path / "link").symlink_to("own")
    notebook = prepare_notebook(modeldir, folder=tmp_path / "link")
    give_away(tmp_path, monkeypatch)
    with raises("bad-target", tmp_path, "belongs to another user"):
        prepare_notebook(modeldir, folder=tmp_path)

    def cannot_write(path, *_, **__):
        raise OSError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(os, "access", lambda *_: False)
    monkeypatch.setattr("bgnb.files.output_file.open", cannot_write, raising=False)
    with raises("not-writable", tmp_path / "explore.ipynb"):
        prepare_notebook(modeldir, folder=tmp_path)
    notebook.rename(tmp_path / "explore.ipynb")
    with raises("bad-target", tmp_path, "belongs to another user"):  # JupyterLab would start there
        prepare_notebook(modeldir, folder=tmp_path)


@pytest.mark.parametrize(
    ("group", "members", "primary", "others_write"),
    [
        ("me", [], ["me"], False),
        ("me", ["me"], [], False),
        ("me", ["you"], ["me"], True),
        ("me", [], ["me", "you"], True),
        ("all", [], [], True),
    ],
)
@pytest.mark.parametrize("listed", [True, False])  # directories of large institutes list no groups
def test_group_of_one_user(tmp_path, monkeypatch, group, members, primary, others_write, listed):
    """Folders may be writable for a group of which nobody but the user is a member, unless a list permits others."""
    pwd, grp = pytest.importorskip("pwd"), pytest.importorskip("grp")
    monkeypatch.setattr(pwd, "getpwuid", lambda _: SimpleNamespace(pw_name="me"))
    gid = tmp_path.stat().st_gid
    own = SimpleNamespace(gr_name=group, gr_gid=gid, gr_mem=members)
    groups = [*([own] if listed else []), SimpleNamespace(gr_gid=gid + 1, gr_mem=["you"])]
    users = [SimpleNamespace(pw_name=name, pw_gid=gid) for name in primary] + [SimpleNamespace(pw_name="other", pw_gid=gid + 1)]
    monkeypatch.setattr(grp, "getgrgid", lambda _: own)
    monkeypatch.setattr(grp, "getgrall", lambda: groups)
    monkeypatch.setattr(pwd, "getpwall", lambda: users)
    tmp_path.chmod(0o775)
    assert is_changed_by_user_only(tmp_path) == (not others_write)
    monkeypatch.setattr(os, "listxattr", lambda _: ["system.posix_acl_access"], raising=False)
    assert not is_changed_by_user_only(tmp_path)


def test_paths_are_filled_in_literally(pair, tmp_path):
    """Paths with code or patterns in their names become texts in the notebook."""
    first, second = tmp_path / 'dir2: str = ""', tmp_path / "+print(42)+"
    for source, duplicate in zip(pair, (first, second), strict=True):
        shutil.copytree(source, duplicate)
    written = {}
    exec(nbformat.read(prepare_notebook(first, second, tmp_path), as_version=4).cells[1].source, written)
    assert (written["dir1"], written["dir2"]) == (str(first), str(second))


def test_arguments_replace_options(tmp_path, monkeypatch):
    """JupyterLab refuses an option that is given twice, so that those of the user replace those of bgnb."""
    started = []
    monkeypatch.setattr(os, "execve", lambda program, command, environment: started.append(command))
    monkeypatch.chdir(tmp_path)
    open_lab(tmp_path / "explore.ipynb")
    open_lab(tmp_path / "explore.ipynb", ("--LanguageServerManager.autodetect=True", "--ip=0.0.0.0", "--no-browser"))
    usual, other = ([word.partition("=")[0] for word in command if word.startswith("--")] for command in started)
    assert {"--LanguageServerManager.autodetect", "--ServerApp.ip"} <= {*usual}
    assert sorted(other) == sorted([*{*usual} - {"--ServerApp.ip"}, "--ip", "--no-browser"])
    assert "--LanguageServerManager.autodetect=False" not in started[1]
    for name in ("ServerApp.root_dir", "ServerApp.notebook_dir", "notebook-dir", "FileContentsManager.root_dir"):
        argument = f"--{name}=/"
        open_lab(tmp_path / "explore.ipynb", (argument,))
        assert [word for word in started[-1] if "root_dir" in word or ("notebook" in word and "=/" in word)] == [argument]
    open_lab(tmp_path / "explore.ipynb", ("--MappingKernelManager.root_dir=/",))  # where kernels start
    assert {word.partition("=")[0] for word in started[-1]} >= {*usual}
    for name in ("ServerApp.preferred_dir", "preferred-dir", "ContentsManager.preferred_dir"):
        argument = f"--{name}=/"
        open_lab(tmp_path / "explore.ipynb", (argument,))
        assert [word for word in started[-1] if "preferred" in word] == [argument]


@pytest.mark.slow
def test_lab_listens_locally_with_a_token(modeldir, tmp_path):
    """`bgnb lab` opens a notebook in a JupyterLab that listens on this machine only and asks for a token."""
    port = free_port()
    command = [sys.executable, "-m", "bgnb", "lab", str(modeldir), "--", "--no-browser", f"--ServerApp.port={port}", *QUIET]
    state = tmp_path / "state"
    state.mkdir()
    with running(command, f"http://127.0.0.1:{port}/api", state / "lab.log", private_jupyter(state), tmp_path):
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/api/contents")
        log = (state / "lab.log").read_text()
        token = re.search(rf"http://127\.0\.0\.1:{port}/lab/workspaces/bgnb-\w+/tree/explore\.ipynb\?token=(\w+)", log)[1]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/contents/explore.ipynb?token={token}") as answer:
            assert json.load(answer)["name"] == "explore.ipynb"
        assert "Opening explore.ipynb in JupyterLab" in log
        assert listening(port) <= {LOOPBACK, LOOPBACK_6}
        assert LOOPBACK in listening(port)
