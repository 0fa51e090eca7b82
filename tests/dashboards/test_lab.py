"""Notebooks of the dashboards, and the command that opens them in JupyterLab."""

import json
import re
import shutil
import sys
import urllib.error
import urllib.request
from pathlib import Path

import nbformat
import pytest

import bgnb
from bgnb.notebooks.lab import prepare_notebook
from bgnb.notebooks.run import notebook_parameters
from tests.browser.driver import QUIET, free_port, private_jupyter, running
from tests.helpers.errors import raises

# As in /proc/net.
LOOPBACK, LOOPBACK_6 = "0100007F", "00000000000000000000000001000000"


def listening(port: int) -> set[str]:
    """Find the local addresses that listen on a port."""
    rows = [line.split() for kind in ("tcp", "tcp6") for line in Path(f"/proc/net/{kind}").read_text().splitlines()[1:]]
    sockets = (address.split(":") for _, address, _, state, *_ in rows if state == "0A")
    return {address for address, number in sockets if int(number, 16) == port}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "pictures"), [("explore", 2), ("explore_true_reco", 1)])
def test_notebooks_simulate_their_models(tmp_path, monkeypatch, name, pictures):
    """Without parameters, the notebooks simulate models and show them."""
    monkeypatch.chdir(tmp_path)
    out = bgnb.run_notebook(name, "out.ipynb")
    notebook = json.loads(out.read_text())
    assert "widgets" not in notebook["metadata"]
    data = [output["data"] for cell in notebook["cells"] for output in cell.get("outputs", []) if "data" in output]
    assert sum("image/png" in item and "application/vnd.jupyter.widget-view+json" in item for item in data) == pictures
    assert len(out.read_text()) < 1_000_000


@pytest.mark.slow
def test_lab_opens_prepared_notebook(modeldir, pair, tmp_path, monkeypatch):
    """`bgnb lab` opens a new notebook; the server listens on loopback only and needs a token."""
    monkeypatch.chdir(tmp_path)
    first = prepare_notebook(modeldir)
    assert prepare_notebook(modeldir) == first == Path("explore.ipynb")
    (parameters,) = notebook_parameters(first).values()
    assert parameters.default == str(modeldir)
    assert prepare_notebook(pair[0]).name == "explore-2.ipynb"
    compared = prepare_notebook(*pair)
    assert [parameter.default for parameter in notebook_parameters(compared).values()] == [str(path) for path in pair]
    (tmp_path / "explore_true_reco.ipynb").write_text("another notebook")
    assert prepare_notebook(*pair).name == "explore_true_reco-2.ipynb"
    with raises("not-a-model", tmp_path):
        prepare_notebook(tmp_path)
    with raises("groups-mismatch", modeldir, pair[0]):
        prepare_notebook(modeldir, pair[0])
    first, second = tmp_path / 'dir2: str = ""', tmp_path / "+print(42)+"
    for source, copy in zip(pair, (first, second), strict=True):
        shutil.copytree(source, copy)
    written = {}
    exec(nbformat.read(prepare_notebook(first, second), as_version=4).cells[1].source, written)
    assert (written["dir1"], written["dir2"]) == (str(first), str(second))

    port = free_port()
    command = [sys.executable, "-m", "bgnb", "lab", str(modeldir), "--", "--no-browser", f"--ServerApp.port={port}", *QUIET]
    state = tmp_path / "state"
    state.mkdir()
    with running(command, f"http://127.0.0.1:{port}/api", state / "lab.log", private_jupyter(state), tmp_path):
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/api/contents")
        log = (state / "lab.log").read_text()
        token = re.search(rf"http://127\.0\.0\.1:{port}/lab/tree/explore\.ipynb\?token=(\w+)", log)[1]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/contents/explore.ipynb?token={token}") as answer:
            assert json.load(answer)["name"] == "explore.ipynb"
        assert "Opening explore.ipynb in JupyterLab" in log
        assert listening(port) <= {LOOPBACK, LOOPBACK_6}
        assert LOOPBACK in listening(port)
