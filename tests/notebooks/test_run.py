"""The notebooks, executed by papermill, and what becomes of those that fail."""

import ast
import inspect
import json
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import nbformat
import numpy as np
import pytest
from astropy import units as u
from nbformat.v4 import new_code_cell, new_notebook

import bgnb
from bgnb import BgnbError, NotebookError, notebook_result, read_model, run_groups, run_notebook
from bgnb.cli.main import SHORT, main
from bgnb.notebooks.run import find_notebook, notebook_names, notebook_parameters
from tests.helpers.commands import command, error_of, output_of
from tests.helpers.files import names
from tests.helpers.processes import PATIENCE, alive, started, until

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
FUNCTIONS = {
    "simulate_dataset": bgnb.make_test_dataset,
    "make_bg_cube_models": bgnb.make_bg_cube_models,
    "true_reco": bgnb.make_true_reco,
    "compare_models": bgnb.compare_models,
    "validate": bgnb.cross_validate,
}
# What the notebooks set otherwise than the functions, so that they run as they stand, and quickly.
OTHER_DEFAULTS = {"indir", "outdir", "dir1", "dir2", "overwrite", "trigger_rate", "test", "scheme", "n_runs"}


def pictures(path: Path) -> int:
    """Number of PNG pictures in an executed notebook; none of it may be Bokeh's or widgets' own."""
    text = path.read_text()
    assert len(text) < 2_000_000
    assert "bokeh" not in text.lower()
    assert "application/vnd" not in text
    return text.count('"image/png"')


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_notebooks_are_stored_without_outputs_and_are_thin(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert len(notebook.cells) <= 14
    assert [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None
            kinds = (ast.FunctionDef, ast.ClassDef, ast.Lambda)
            assert not [node for node in ast.walk(ast.parse(cell.source)) if isinstance(node, kinds)]


def plain(value):
    """A default as a notebook writes it: quantities are texts."""
    return u.Quantity(value) if isinstance(value, str) and re.match(r"[\d.]+ \w+$", value) else value


@pytest.mark.parametrize("name", FUNCTIONS)
def test_parameters_have_the_names_and_defaults_of_the_functions(name):
    parameters = notebook_parameters(name)
    expected = inspect.signature(FUNCTIONS[name]).parameters
    left_out = {"progress", *{"simulate_dataset": ["sources"], "make_bg_cube_models": ["part"]}.get(name, [])}
    assert set(parameters) == set(expected) - left_out
    for key, parameter in parameters.items():
        assert parameter.meaning, f"{key} is not explained"
        if key in OTHER_DEFAULTS:
            continue
        default = expected[key].default
        if isinstance(default, u.Quantity):
            assert u.isclose(plain(parameter.default), default)
        else:
            assert json.loads(json.dumps(parameter.default)) == json.loads(json.dumps(default)), key


def test_simulate_dataset(tmp_path):
    values = {"outdir": str(tmp_path / "set"), "n_runs": 2, "trigger_rate": 2.0, "scheme": "HESS"}
    out = run_notebook("simulate_dataset", tmp_path / "out.ipynb", values)
    runs = bgnb.open_runs(tmp_path / "set", "HESS")
    events = sum(len(bgnb.read_event_list(runs.files(obs_id))) for obs_id in runs.obs_ids)
    assert notebook_result(out) == {"outdir": str(tmp_path / "set"), "n_runs": 2, "events": events}
    assert pictures(out) == 2


def test_make_bg_cube_models_by_papermill_itself(tmp_path):
    """Without a word, on data that it simulates itself; from the command line of papermill."""
    command = [sys.executable, "-m", "papermill", str(NOTEBOOKS / "make_bg_cube_models.ipynb"), "out.ipynb", "-k", "python3"]
    subprocess.run([*command, "-p", "n_energy", "6", "--no-progress-bar"], cwd=tmp_path, check=True, capture_output=True)
    result = notebook_result(tmp_path / "out.ipynb")
    report = json.loads((tmp_path / "models" / "report.json").read_text())
    assert result["groups"] == {str(group["group_id"]): group["counts"] for group in report["groups"]}
    assert result["runs_used"] == sum(run["status"] == "used" for run in report["runs"]) >= 5
    assert read_model(tmp_path / "models" / report["groups"][0]["files"][0]).axes.shape[0] == 6
    assert pictures(tmp_path / "out.ipynb") == 3
    shown = subprocess.run([*command[:4], "--help-notebook"], capture_output=True, text=True, check=True).stdout
    assert "indir: str" in shown
    assert "number of energy bins" in shown


def test_validate(tmp_path):
    values = {"outdir": str(tmp_path / "out"), "folds": 2, "n_train": [3], "alt_edges": [0, 90]}
    result = notebook_result(run_notebook("validate", tmp_path / "out.ipynb", values))
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert sorted(report["n_train"], key=int)[0] == "3"
    assert result["dev_exp"] == report["n_train"][max(report["n_train"], key=int)]["free_norm"]["dev_exp"]
    assert pictures(tmp_path / "out.ipynb") == 3


def test_true_reco(tmp_path):
    values = {"outdir": str(tmp_path / "out"), "trigger_rate": 20.0, "method": "unsmoothed", "n_energy": 6, "n_fov": 8}
    result = notebook_result(run_notebook("true_reco", tmp_path / "out.ipynb", values))
    assert result["methods"] == ["true", "unsmoothed"]
    assert abs(result["pull"]["mean"]) < 3.5 / np.sqrt(result["pull"]["bins"])
    assert (tmp_path / "out" / "comparison" / "comparison_group27.html").exists()
    assert pictures(tmp_path / "out.ipynb") == 1


def test_compare_models(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    values = {"outdir": "two", "positions": [[1.0, -1.0]], "energies": ["1 TeV"]}
    result = notebook_result(run_notebook("compare_models", "out.ipynb", values))
    (group, *_) = result["groups"]
    assert group["methods"] == ["default", "unsmoothed"]
    assert group["ratio"] == pytest.approx(1)
    assert group["spectra"][0]["detx_deg"] == 1
    assert pictures(tmp_path / "out.ipynb") == len(result["groups"])


@pytest.mark.skipif(find_spec("gammapy") is not None, reason="Gammapy is here: tests/gammapy/test_use_in_gammapy.py runs it")
def test_use_in_gammapy_says_what_it_needs(tmp_path):
    with pytest.raises(NotebookError, match=r"needs Gammapy: pip install 'bgnb\[gammapy\]', in an environment of its own"):
        run_notebook("use_in_gammapy", tmp_path / "out.ipynb")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Models of groups 1 and 2; group 0 has no runs."""
    folder = tmp_path_factory.mktemp("models")
    bgnb.make_test_dataset(folder / "runs", n_runs=5, trigger_rate=5.0, alt_range=(60, 80))
    edges = {"alt_edges": [0, 20, 70, 90], "az_edges": [0, 360]}
    bgnb.make_bg_cube_models(folder / "runs", "GADF", folder / "models", select="all", **edges)
    return folder / "models"


def test_run_groups_makes_an_index_and_goes_on_when_one_group_fails(models, tmp_path):
    report = json.loads((models / "report.json").read_text())
    groups = [group["group_id"] for group in report["groups"]]
    assert groups == [1, 2]
    broken = tmp_path / "<models>"
    broken.mkdir()
    for path in models.iterdir():
        (broken / path.name).write_bytes(path.read_bytes())
    (broken / f"bg_cube_model_group{groups[0]}_table.fits.gz").write_bytes(b"nonsense")
    result = command("run-groups", broken, tmp_path / "out")
    assert result.exit_code == 1
    assert f"Error: group {groups[0]}: group_report failed: DataError" in result.output
    out = tmp_path / "out"
    assert (out / f"group{groups[0]}.failed.ipynb").exists()
    assert not (out / f"group{groups[0]}.ipynb").exists()
    index = (out / "index.html").read_text()
    assert "<h1>Models in &lt;models&gt;</h1>" in index
    for group in report["groups"][1:]:
        name = f"group{group['group_id']}"
        assert notebook_result(out / f"{name}.ipynb")["counts"] == group["counts"]
        assert f'<a href="{name}.html">' in index
        assert f"<th>counts<td>{group['counts']}" in index
        assert (out / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        page = (out / f"{name}.html").read_text()
        assert "data:image/png;base64" in page
        assert not re.search(r"<(script|link|img)[^>]*(src|href)=[\"']https?:", page)
    problems = run_groups(models, out, overwrite=True)
    assert problems == {}


def notebook(path: Path, *cells: str, parameters: str = "seconds: float = 1.0  # to sleep") -> Path:
    cells = [new_code_cell(parameters, metadata={"tags": ["parameters"]}), *(new_code_cell(cell) for cell in cells)]
    nbformat.write(
        new_notebook(cells=cells, metadata={"kernelspec": {"name": "python3", "display_name": "p", "language": "python"}}), path
    )
    return path


def test_the_kernel_is_the_running_interpreter(tmp_path):
    path = notebook(tmp_path / "n.ipynb", "import sys; from IPython.display import JSON; JSON({'python': sys.executable})")
    assert notebook_result(run_notebook(path, tmp_path / "out.ipynb")) == {"python": sys.executable}


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"inder": "x"}, r"make_bg_cube_models has no parameter inder. Its parameters are:\n  indir: str = ''"),
        ({"test": "false"}, "parameter test must be bool, got 'false'"),
        ({"n_fov": 2.5}, "parameter n_fov must be int or None, got 2.5"),
        ({"n_fov": True}, "parameter n_fov must be int or None, got True"),
        ({"alt_edges": (0, 90)}, "parameter alt_edges must be list or None"),
        ({"alt_edges": [0, np.float64(90)]}, None),
        ({"alt_edges": [0, {1, 2}]}, "parameter alt_edges must be list or None"),
        ({"indir\nimport os": "x"}, "has no parameter"),
    ],
)
def test_parameters_are_checked_before_anything_starts(tmp_path, parameters, message):
    if message is None:
        assert notebook_parameters("make_bg_cube_models")["alt_edges"].checked(parameters["alt_edges"]) == [0, 90]
        return
    with pytest.raises(BgnbError, match=message):
        run_notebook("make_bg_cube_models", tmp_path / "out.ipynb", parameters)
    assert list(tmp_path.iterdir()) == []


def test_values_on_the_command_line_become_those_of_the_declared_types(tmp_path):
    declared = "a: str = ''  # t\nb: bool = True  # t\nc: float = 0.5  # t\nd = None  # type: list|None t\ne = 3  # type: int t"
    cell = "from IPython.display import JSON; JSON({'all': [a, b, c, d, e]})"
    path = notebook(tmp_path / "n.ipynb", cell, parameters=declared)
    arguments = ("run", path, tmp_path / "out.ipynb")
    output_of(*arguments, "-p", "a", 7, "-p", "b", "false", "-p", "c", 2, "-p", "d", "[1, 2.5]", "-p", "e", -4)
    assert notebook_result(tmp_path / "out.ipynb")["all"] == ["7", False, 2, [1, 2.5], -4]
    assert "parameter b must be bool, got 'maybe'" in error_of(*arguments, "-p", "b", "maybe")
    assert "parameter e must be int" in error_of(*arguments, "-p", "e", "x()")


def test_a_failing_cell_keeps_the_notebook_with_the_error_on_top(tmp_path):
    path = notebook(tmp_path / "n.ipynb", "print('before')", "1 / 0", "print('after')")
    (tmp_path / "out.ipynb").write_text("an older result")
    with pytest.raises(NotebookError, match=r"n failed: ZeroDivisionError: division by zero; see .*out\.failed\.ipynb"):
        run_notebook(path, tmp_path / "out.ipynb")
    assert (tmp_path / "out.ipynb").read_text() == "an older result"
    failed = nbformat.read(tmp_path / "out.failed.ipynb", as_version=4)
    assert "An Exception was encountered" in failed.cells[0].source
    assert "ZeroDivisionError" in (tmp_path / "out.failed.ipynb").read_text()
    assert names(tmp_path) == {"n.ipynb", "out.failed.ipynb", "out.ipynb"}
    # The next one that succeeds clears the trace of the failure.
    run_notebook(notebook(tmp_path / "n.ipynb", "print('well')"), tmp_path / "out.ipynb")
    assert not (tmp_path / "out.failed.ipynb").exists()


@pytest.mark.parametrize(
    ("cell", "timeout", "message"),
    [
        ("import time; time.sleep(60)", 1, "imed out|timeout"),
        ("import os; os._exit(1)", None, "[Kk]ernel died|interrupted"),
    ],
)
def test_a_timeout_or_a_dead_kernel_is_no_success(tmp_path, cell, timeout, message):
    path = notebook(tmp_path / "n.ipynb", cell, "print('after')")
    with pytest.raises(NotebookError, match=message):
        run_notebook(path, tmp_path / "out.ipynb", timeout=timeout)
    assert not (tmp_path / "out.ipynb").exists()
    first = nbformat.read(tmp_path / "out.failed.ipynb", as_version=4).cells[0]
    assert "did not run to its end" in first.source


def test_missing_data_fail_with_our_message(tmp_path):
    line = error_of(
        "run", "make_bg_cube_models", tmp_path / "out.ipynb", "-p", "indir", "/nowhere", "-p", "outdir", tmp_path / "m"
    )
    assert "BgnbError: /nowhere: there is no such directory of runs; see" in line
    assert (tmp_path / "out.failed.ipynb").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_leaves_no_result_and_no_kernel(tmp_path, number):
    kernel = tmp_path / "kernel"
    path = notebook(
        tmp_path / "n.ipynb", f"import os, time; open({str(kernel)!r}, 'w').write(f'{{os.getpid()}}.'); time.sleep(60)"
    )
    with started([sys.executable, "-m", "bgnb", "run", path, tmp_path / "out.ipynb"]) as process:
        until(lambda: kernel.exists() and kernel.read_text().endswith("."), "a notebook that runs", process)
        process.send_signal(number)
        output = process.communicate(timeout=PATIENCE)
        assert process.returncode == 128 + number, output
        until(lambda: not alive(int(kernel.read_text()[:-1])), "the end of the kernel")
    assert names(tmp_path) == {"n.ipynb", "kernel", "out.failed.ipynb"}


def test_files_that_are_no_output_or_no_notebook_are_refused(tmp_path):
    path = notebook(tmp_path / "n.ipynb", "1")
    (tmp_path / "d.ipynb").mkdir()
    (tmp_path / "text.ipynb").write_text("hello")
    (tmp_path / "empty.ipynb").write_text("{}")
    odd = notebook(tmp_path / "odd.ipynb", "1", parameters='root: str = "a" + "b"  # no literal')
    strange = notebook(tmp_path / "strange.ipynb", "1", parameters="x: set = {1}  # no plain type")
    for source, output, message in (
        (path, path, "is the notebook itself"),
        (path, tmp_path / "d.ipynb", "is a directory"),
        (path, tmp_path / "out.html", r"must be named ….ipynb"),
        (path, tmp_path / "out.failed.ipynb", "and not ….failed.ipynb"),
        (tmp_path / "text.ipynb", tmp_path / "out.ipynb", "is not a notebook"),
        (tmp_path / "empty.ipynb", tmp_path / "out.ipynb", "is not a notebook"),
        (odd, tmp_path / "out.ipynb", "the default of parameter root must be a literal"),
        (strange, tmp_path / "out.ipynb", "parameter x has the type set; use str, int"),
    ):
        with pytest.raises(BgnbError, match=message):
            run_notebook(source, output)
    with pytest.raises(BgnbError, match="timeout must be above 0 s"):
        run_notebook(path, tmp_path / "out.ipynb", timeout=0)
    assert not (tmp_path / "out.ipynb").exists()


def test_a_notebook_without_kernel_or_annotations_runs_too(tmp_path):
    cells = [new_code_cell("a = 3\nb = {}", metadata={"tags": ["parameters"]}), new_code_cell("print(a)")]
    nbformat.write(new_notebook(cells=cells), tmp_path / "n.ipynb")
    assert [p.types for p in notebook_parameters(tmp_path / "n.ipynb").values()] == [("int",), ("dict",)]
    assert run_notebook(tmp_path / "n.ipynb", tmp_path / "out.ipynb", {"a": 4}).exists()


def test_a_long_name_of_the_temporary_folder_is_no_obstacle(tmp_path, monkeypatch):
    folder = tmp_path / ("x" * 100)
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    assert run_notebook(notebook(tmp_path / "n.ipynb", "1"), tmp_path / "out.ipynb").exists()


def test_one_missing_directory_is_not_replaced_by_a_simulation(tmp_path):
    with pytest.raises(NotebookError, match="no such directory of models"):
        run_notebook("compare_models", tmp_path / "out.ipynb", {"dir1": "/nowhere", "outdir": str(tmp_path / "c")})


def test_a_group_that_is_not_there_is_named_with_those_that_are(models, tmp_path):
    with pytest.raises(NotebookError, match="has no model of group 0; the groups are 1, 2"):
        run_notebook("group_report", tmp_path / "out.ipynb", {"modeldir": str(models), "group_id": 0})


def test_notebooks_of_the_user_need_no_result(models, tmp_path):
    declared = "modeldir: str = ''  # models\ngroup_id: int = 0  # group"
    path = notebook(tmp_path / "mine.ipynb", "from IPython.display import JSON; JSON([1, 2])", parameters=declared)
    assert run_groups(models, tmp_path / "out", notebook=path) == {}
    assert (tmp_path / "out" / "index.html").exists()


def test_the_examples_of_the_help_are_right():
    followed = dict.fromkeys(main.commands, 0)
    for name, described in main.commands.items():
        options = {option for parameter in described.params for option in parameter.opts}
        for line in described.help.splitlines():
            words = line.partition(" -- ")[0].split()
            if words[:1] != ["bgnb"]:
                continue
            assert words[1] == name, line
            assert {word for word in words if word.startswith("--")} <= options, line
            if name == "run-notebook":
                given = {words[i + 1] for i, word in enumerate(words) if word == "-p"}
                assert given, line
                assert given <= set(notebook_parameters(words[2])), line
            followed[name] += 1
    assert min(followed.values()) > 0
    for name in SHORT:
        assert "Example" in output_of(name, "--help")


def test_two_runs_into_one_output(tmp_path):
    at_work, go_on = tmp_path / "at_work", tmp_path / "go_on"
    cell = f"""
from pathlib import Path
from time import sleep
Path({str(at_work)!r}).touch()
while not Path({str(go_on)!r}).exists():
    sleep(0.05)
"""
    path = notebook(tmp_path / "n.ipynb", cell)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(run_notebook, path, tmp_path / "out.ipynb", timeout=PATIENCE)
        try:
            until(lambda: at_work.exists() or first.done(), "a notebook that runs")
            with pytest.raises(BgnbError, match="is being written by another run"):
                run_notebook(path, tmp_path / "out.ipynb")
        finally:
            go_on.touch()
    assert first.result() == tmp_path / "out.ipynb"
    assert first.result().exists()


def test_notebooks_are_found_by_name_and_copied(tmp_path):
    assert notebook_names() == sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))
    output_of("notebooks", tmp_path / "mine")
    assert names(tmp_path / "mine") == {f"{name}.ipynb" for name in notebook_names()}
    assert "already; name another directory" in error_of("notebooks", tmp_path / "mine")
    with pytest.raises(BgnbError, match="there is no such notebook; bgnb has compare_models, explore, "):
        find_notebook("true_recoo")
