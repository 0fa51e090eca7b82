"""Reports of all groups, by `run_groups`."""

import json
import os
import re
import shutil
import signal
import struct
import sys

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

import bgnb
from bgnb import BgnbError, NotebookError, notebook_result, run_groups, run_notebook
from bgnb.files.output_directory import new_directory
from bgnb.notebooks import group_reports
from tests.helpers.commands import command
from tests.helpers.errors import raises
from tests.helpers.examples import run_example
from tests.helpers.files import names
from tests.helpers.model_directories import model_directory
from tests.helpers.notebooks import notebook
from tests.helpers.processes import PATIENCE, alive, started, until


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Models of groups 1 and 2; group 0 has no runs."""
    folder = tmp_path_factory.mktemp("models")
    bgnb.make_test_dataset(folder / "runs", n_runs=5, trigger_rate=5.0, alt_range=(60, 80))
    edges = {"alt_edges": [0, 20, 70, 90], "az_edges": [0, 360]}
    bgnb.make_bg_cube_models(folder / "runs", "GADF", folder / "models", select="all", n_energy=6, n_fov=8, **edges)
    return folder / "models"


@pytest.mark.slow
def test_failed_group_does_not_stop_others(models, tmp_path, monkeypatch):
    """The index has the results of all groups, and the error of one whose model is damaged.

    The example of `run_groups` replaces it; it gets copies of a notebook that was executed, to save time.
    """
    report = json.loads((models / "report.json").read_text())
    groups = [group["group_id"] for group in report["groups"]]
    assert groups == [1, 2]
    broken = tmp_path / "<models>"
    broken.mkdir()
    for path in models.iterdir():
        (broken / path.name).write_bytes(path.read_bytes())
    (broken / f"bg_cube_model_group{groups[0]}_table.fits.gz").write_bytes(b"nonsense")
    out = models.parent / "reports"
    result = command("run-groups", broken, out)
    assert result.exit_code == 1
    (line,) = [line for line in result.output.splitlines() if line.startswith(f"Error: group {groups[0]}: ")]
    assert "DataError" in line
    assert f"bg_cube_model_group{groups[0]}_table.fits.gz" in line
    assert line.endswith("[notebook-failed]")
    assert (out / f"group{groups[0]}.failed.ipynb").exists()
    assert not (out / f"group{groups[0]}.ipynb").exists()
    index = (out / "index.html").read_text()
    assert "<h1>Models in &lt;models&gt;</h1>" in index
    for group in report["groups"][1:]:
        name = f"group{group['group_id']}"
        assert notebook_result(out / f"{name}.ipynb")["counts"] == group["counts"]
        assert f'<a href="{name}.html">' in index
        assert f"<th>counts<td>{group['counts']}" in index
        hours = group["livetime_s"] / 3600
        assert f"<th>livetime<td>{hours:.4g} h" in index
        assert "<th>spectral index<td>" in index
        assert (out / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        page = (out / f"{name}.html").read_text()
        assert f"<title>&lt;models&gt;, group {group['group_id']}</title>" in page
        assert "data:image/png;base64" in page
        for code in ("import bgnb", "IPython.core.display", "Out[8]", "<th>float64<"):
            assert code not in page
        assert f"Runs: {group['n_runs']}; livetime: {hours:.3g} h" in page
        run = bgnb.read_group_model(models, group["group_id"]).stack.runs[0]
        assert f">{run.alt_pnt:.2f}</td>" in page
        assert struct.unpack(">I", (out / f"{name}.png").read_bytes()[16:20])[0] < 700  # a single image
        assert not re.search(r"<(script|link|img)[^>]*(src|href)=[\"']https?:", page)
    executed = (out / f"group{groups[1]}.ipynb").read_bytes()

    def run(source, output, *_, **__):
        output.write_bytes(executed)
        return output

    monkeypatch.setattr(group_reports, "run_notebook", run)
    monkeypatch.chdir(models.parent)
    run_example(run_groups)
    assert not (out / f"group{groups[0]}.failed.ipynb").exists()
    assert (out / f"group{groups[0]}.ipynb").exists()


def test_index_links_to_no_missing_notebook(tmp_path):
    """If a notebook was not executed, the index has the error only."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "bg_cube_model_group27_table.fits.gz").touch()
    errors = run_groups(tmp_path / "models", tmp_path / "out", notebook=notebook(tmp_path / "n.ipynb", "1"))
    assert "has no parameter" in errors[27]
    index = (tmp_path / "out" / "index.html").read_text()
    assert "has no parameter" in index
    assert "href" not in index


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_signal_ends_all_groups(models, tmp_path, workers):
    """A signal ends the kernels of all groups, which would run for ever, and nothing is left.

    With one worker, the second group has not begun. A second signal changes nothing.
    """
    running = tmp_path / "running"
    running.mkdir()
    code = f"import os, time; open(f'{running}/{{os.getpid()}}', 'w'); time.sleep(10 * {PATIENCE})"
    path = notebook(tmp_path / "n.ipynb", code, parameters="modeldir: str = ''\ngroup_id: int = 0")
    arguments = [models, tmp_path / "out", "--notebook", path, "--workers", workers]
    with started([sys.executable, "-m", "bgnb", "run-groups", *arguments]) as process:
        until(lambda: len(names(running)) == workers, "a notebook that runs", process)
        os.killpg(process.pid, signal.SIGINT)
        os.killpg(process.pid, signal.SIGTERM)
        _, errors = process.communicate(timeout=PATIENCE)
        assert errors == "Interrupted; unfinished output is removed.\n"
        assert process.returncode in (128 + signal.SIGINT, 128 + signal.SIGTERM)  # systems deliver both in any order
        until(lambda: not any(alive(int(pid)) for pid in names(running)), "the end of the kernels")
    assert names(tmp_path) == {"n.ipynb", "running"}


def test_full_disk_keeps_older_groups(models, tmp_path, monkeypatch):
    """If reports cannot be written, an older directory is not replaced by one without them."""

    def fail(source, output, *_, **__):
        raise BgnbError("not-writable", f"{output}: cannot be written: No space left on device")

    with new_directory(tmp_path / "out", overwrite=False, kind="notebooks") as directory:
        (directory / "group1.html").write_text("old")
    monkeypatch.setattr(group_reports, "run_notebook", fail)
    with raises("not-writable", tmp_path / "out" / "group"):
        run_groups(models, tmp_path / "out", overwrite=True)
    assert names(tmp_path) == {"out"}
    assert names(tmp_path / "out") == {"group1.html", "manifest.json"}


def test_models_that_are_replaced(models, tmp_path, monkeypatch):
    """Reports on groups of two sets of models are never in one directory."""

    shutil.copytree(models, copied := tmp_path / "models")

    def replace_models(source, output, *_, **__):
        if "group1" in str(output):
            copied.rename(tmp_path / "old")
            model_directory(copied)
        raise BgnbError("notebook-failed", f"{output}: failed")

    monkeypatch.setattr(group_reports, "run_notebook", replace_models)
    with raises("changed", copied, "run the command again"):
        run_groups(copied, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_missing_group_names_existing_ones(models, tmp_path):
    """The error for a group without model lists the groups that have one."""
    with raises("notebook-failed", "group 0", "1, 2", "[not-found]", kind=NotebookError):
        run_notebook("group_report", tmp_path / "out.ipynb", {"modeldir": str(models), "group_id": 0})


@pytest.mark.slow
def test_user_notebooks_need_no_result(models, tmp_path):
    """The index shows groups whose notebook has no result; pages load no code for widgets from the network."""
    declared = "modeldir: str = ''  # models\ngroup_id: int = 0  # group"
    cells = "from IPython.display import JSON; JSON([1, 2])", "from ipywidgets import Output; Output()"
    path = notebook(tmp_path / "mine.ipynb", *cells, parameters=declared)
    assert run_groups(models, tmp_path / "out", notebook=path) == {}
    assert (tmp_path / "out" / "index.html").exists()
    assert "unpkg" not in (tmp_path / "out" / "group1.html").read_text()


def test_damaged_picture_of_a_group_is_explained(tmp_path, monkeypatch):
    """The error names the notebook whose picture cannot be decoded."""
    data = {"image/png": "abc"}
    cell = new_code_cell(outputs=[new_output("display_data", data)])

    def run(source, output, *_, **__):
        output.write_text(nbformat.writes(new_notebook(cells=[cell])))
        return output

    monkeypatch.setattr(group_reports, "run_notebook", run)
    with raises("bad-notebook", "mine.ipynb", "image/png"):
        group_reports._run_group(tmp_path / "mine.ipynb", tmp_path, tmp_path, 3, None)
