"""The notebooks that come with bgnb."""

import ast
import inspect
import json
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import nbformat
import numpy as np
import papermill
import pytest
from astropy import units as u

import bgnb
from bgnb import NotebookError, notebook_result, read_model, run_notebook
from bgnb.cli.main import main
from bgnb.notebooks.content import notebook_parameters
from bgnb.notebooks.shipped import find_notebook, notebook_names
from tests.helpers import notebooks
from tests.helpers.commands import error_of, output_of
from tests.helpers.errors import raises
from tests.helpers.examples import run_example
from tests.helpers.files import names
from tests.helpers.notebooks import pictures

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


FUNCTIONS = {
    "simulate_dataset": bgnb.make_test_dataset,
    "make_bg_cube_models": bgnb.make_bg_cube_models,
    "true_reco": bgnb.make_true_reco,
    "compare_models": bgnb.compare_models,
    "validate": bgnb.cross_validate,
}


# Parameters with other defaults than in the functions, so that the notebooks run unchanged, and quickly.
OTHER_DEFAULTS = {"indir", "outdir", "dir1", "dir2", "overwrite", "trigger_rate", "test", "scheme", "n_runs"}


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_notebooks_are_thin_without_outputs(path):
    """Notebooks are stored without outputs, with at most 14 cells, and define no functions or classes."""
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
    """Convert a default of a notebook, where quantities are texts."""
    return u.Quantity(value) if isinstance(value, str) and re.match(r"[\d.]+ \w+$", value) else value


@pytest.mark.parametrize("name", FUNCTIONS)
def test_parameters_are_those_of_functions(name):
    """The parameters of a notebook have the names and defaults of arguments of its function, and are explained."""
    expected = inspect.signature(FUNCTIONS[name]).parameters
    for key, parameter in notebook_parameters(name).items():
        assert parameter.meaning, f"{key} is not explained"
        default = expected[key].default
        if key in OTHER_DEFAULTS:
            continue
        if isinstance(default, u.Quantity):
            assert u.isclose(plain(parameter.default), default)
        else:
            assert json.loads(json.dumps(parameter.default)) == json.loads(json.dumps(default)), key


def test_notebooks_teach_with_few_parameters():
    """All settings are parameters of one notebook, for batch jobs; others have at most twelve."""
    parameters = {name: notebook_parameters(name) for name in notebook_names()}
    expected = inspect.signature(bgnb.make_bg_cube_models).parameters
    assert set(parameters.pop("make_bg_cube_models")) == set(expected) - notebooks.NOT_PARAMETERS
    assert {name: len(few) for name, few in parameters.items() if len(few) > 12} == {}


def test_generated_cells_are_current():
    """The cells derived from settings are those that ``python -m tests.helpers.notebooks`` writes."""
    assert nbformat.writes(notebooks.rewritten()) + "\n" == notebooks.NOTEBOOK.read_text()


@pytest.mark.slow
def test_from_runs_to_models(tmp_path):
    """The notebook shows runs, a model, and spectra of all groups and of two methods."""
    out = run_notebook("from_runs_to_models", tmp_path / "out.ipynb", {"method": "classic", "energies": ["2 TeV"]})
    assert pictures(out) == 4
    assert "runs used" in out.read_text()


@pytest.mark.slow
def test_notebook_simulate_dataset(tmp_path, monkeypatch):
    """The example of `run_notebook` makes the runs, and its result has the number of their events."""
    monkeypatch.chdir(tmp_path)
    run_example(run_notebook)
    runs = bgnb.open_runs("simulated", "GADF")
    events = sum(len(bgnb.read_event_list(runs.files(obs_id))) for obs_id in runs.obs_ids)
    assert notebook_result("simulated.ipynb") == {"outdir": "simulated", "n_runs": 2, "events": events}
    assert pictures(Path("simulated.ipynb")) == 2


@pytest.mark.slow
def test_plain_papermill_runs_notebooks(tmp_path):
    """The command papermill runs a notebook of bgnb without directories, on data that the notebook simulates."""
    command = [sys.executable, "-m", "papermill", str(NOTEBOOKS / "make_bg_cube_models.ipynb"), "out.ipynb", "-k", "python3"]
    small = ("-p", "n_energy", "6", "-p", "n_fov", "8")
    subprocess.run([*command, *small, "--no-progress-bar"], cwd=tmp_path, check=True, capture_output=True)
    result = notebook_result(tmp_path / "out.ipynb")
    report = json.loads((tmp_path / "models" / "report.json").read_text())
    assert result["groups"] == {str(group["group_id"]): group["counts"] for group in report["groups"]}
    assert result["runs_used"] == sum(run["status"] == "used" for run in report["runs"]) >= 5
    assert read_model(tmp_path / "models" / report["groups"][0]["files"][0]).axes.shape[0] == 6
    assert pictures(tmp_path / "out.ipynb") == 3
    shown = papermill.inspect_notebook(command[3])  # what its option --help-notebook prints
    assert shown["indir"]["inferred_type_name"] == "str"
    assert shown["n_energy"]["help"].startswith("number of energy bins")


@pytest.mark.slow
def test_notebook_cross_validates(tmp_path):
    """The result of the notebook is that of the report."""
    values = {"outdir": str(tmp_path / "out"), "folds": 2, "n_train": [3], "method": "classic"}
    result = notebook_result(run_notebook("validate", tmp_path / "out.ipynb", values))
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert sorted(report["n_train"], key=int)[0] == "3"
    assert result["dev_exp"] == report["n_train"][max(report["n_train"], key=int)]["free_norm"]["dev_exp"]
    assert pictures(tmp_path / "out.ipynb") == 3


@pytest.mark.slow
def test_notebook_true_reco_is_unbiased(tmp_path):
    """The pulls of an unsmoothed model to the true model are compatible with zero."""
    values = {"outdir": str(tmp_path / "out"), "trigger_rate": 20.0, "method": "unsmoothed", "n_energy": 6, "n_fov": 8}
    result = notebook_result(run_notebook("true_reco", tmp_path / "out.ipynb", values))
    assert result["methods"] == ["true", "unsmoothed"]
    assert abs(result["pull"]["mean"]) < 3.5 / np.sqrt(result["pull"]["bins"])
    assert (tmp_path / "out" / "comparison" / "comparison_group27.html").exists()
    assert pictures(tmp_path / "out.ipynb") == 1


@pytest.mark.slow
def test_notebook_compares_two_methods(tmp_path, monkeypatch):
    """Without directories, the notebook compares two methods on the same simulated runs: the ratio is one."""
    monkeypatch.chdir(tmp_path)
    values = {"outdir": "two", "positions": [[1.0, -1.0]], "energies": ["1 TeV"]}
    result = notebook_result(run_notebook("compare_models", "out.ipynb", values))
    (group, *_) = result["groups"]
    assert group["methods"] == ["classic", "unsmoothed"]
    assert group["ratio"] == pytest.approx(1, rel=1e-3)
    assert group["spectra"][0]["detx_deg"] == 1
    assert pictures(tmp_path / "out.ipynb") == len(result["groups"])


@pytest.mark.slow
@pytest.mark.skipif(find_spec("gammapy") is not None, reason="needs an environment without Gammapy")
def test_missing_gammapy_is_an_error(tmp_path):
    """Without Gammapy, the notebook fails with the command that installs it."""
    with raises("notebook-failed", "Gammapy", "pip install 'bgnb[gammapy]'", kind=NotebookError):
        run_notebook("significance_map", tmp_path / "out.ipynb")


@pytest.mark.slow
def test_missing_models_are_not_simulated(tmp_path):
    """A directory that is given must exist; models are simulated only if none is given."""
    with raises("notebook-failed", "/nowhere", "[not-found]", kind=NotebookError):
        run_notebook("compare_models", tmp_path / "out.ipynb", {"dir1": "/nowhere", "outdir": str(tmp_path / "c")})


def test_notebooks_are_found_and_copied(tmp_path):
    """Notebooks of bgnb are found by name, and copied unless files of their names exist."""
    assert notebook_names() == sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))
    output_of("notebooks", tmp_path / "mine")
    assert names(tmp_path / "mine") == {f"{name}.ipynb" for name in notebook_names()}
    line = error_of("notebooks", tmp_path / "mine")
    assert "explore.ipynb" in line
    assert line.endswith("[exists]")
    (tmp_path / "file").touch()
    assert error_of("notebooks", tmp_path / "file" / "mine").endswith("[bad-target]")
    with raises("not-found", "true_recoo", "compare_models, explore, "):
        find_notebook("true_recoo")


def test_help_names_all_notebooks():
    """The help of run-notebook names every notebook that comes with bgnb."""
    described = main.commands["run-notebook"].help
    assert described
    assert [name for name in notebook_names() if not re.search(rf"\b{name}\b", described)] == []


def test_comments_of_parameters_are_short():
    """The meaning of a parameter fits in a cell without scrolling far."""
    explained = {(name, key): each.meaning for name in notebook_names() for key, each in notebook_parameters(name).items()}
    assert {where: text for where, text in explained.items() if len(text) > 110} == {}
