"""Optional packages: what works without them, and the errors that name the command that installs them."""

import re
import sys
from importlib.util import find_spec

import pytest
from packaging.requirements import Requirement

import bgnb
from bgnb._util import extras
from bgnb._util.extras import require
from tests.helpers.commands import error_of
from tests.helpers.errors import raises
from tests.helpers.requirements import everything, extra


@pytest.fixture
def hide(monkeypatch):
    """Return a function that makes modules look as if they were not installed."""

    def hide(*modules):
        for name in [name for name in sys.modules if name.partition(".")[0] in modules]:
            monkeypatch.delitem(sys.modules, name)
        for name in modules:
            monkeypatch.setitem(sys.modules, name, None)

    return hide


@pytest.mark.parametrize("name", extras._EXTRAS)
def test_extra_installs_its_modules(name):
    """Extras that are not in ``bgnb[all]`` need not be installed here."""
    _, modules = extras._EXTRAS[name]
    assert set(modules) <= {Requirement(text).name.replace("-", "_") for text in extra(name)}
    if not extra(name) <= everything() and not all(find_spec(module) for module in modules):
        with raises("extra-missing", *modules, f"bgnb[{name}]"):
            require(name)
        return
    assert all(find_spec(module) for module in modules)
    require(name)


def test_missing_modules_are_named(hide):
    hide("bokeh", "jupyterlab")
    with raises("extra-missing", "dashboards need bokeh, jupyterlab;", "pip install 'bgnb[dashboards]'"):
        require("dashboards", "jupyterlab", "nbformat")


COMMANDS = {
    "validate": (("models", "runs", "GADF"), "matplotlib", "plots"),
    "cross-validate": (("runs", "GADF"), "matplotlib", "plots"),
    "check-runs": (("runs", "GADF", "models"), "bokeh", "plots"),
    "compare-models": (("one", "other"), "bokeh", "plots"),
    "run-notebook": (("validate", "out.ipynb"), "papermill", "notebooks"),
    "run-groups": (("models", "reports"), "nbconvert", "notebooks"),
    "lab": (("models",), "jupyterlab", "dashboards"),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_command_refuses_before_it_reads(command, hide, tmp_path, monkeypatch):
    """The directories do not exist: the extra is asked for first."""
    arguments, module, name = COMMANDS[command]
    monkeypatch.chdir(tmp_path)
    hide(module)
    line = error_of(command, *arguments)
    assert re.search(rf"\b{module}\b.*'bgnb\[{name}\]'.* pip install '\.\[{name}\]' \[extra-missing\]$", line)
    assert not list(tmp_path.iterdir())


def test_scheduler_needs_the_extra_dask(hide, tmp_path):
    bgnb.make_test_dataset(tmp_path / "runs", n_runs=2, trigger_rate=1.0, progress=False)
    hide("distributed")
    line = error_of(
        "make-bg-cube-models",
        tmp_path / "runs",
        "GADF",
        tmp_path / "out",
        "--select",
        "all",
        "--scheduler",
        "tcp://10.0.0.1:8786",
    )
    assert "distributed" in line
    assert line.endswith("pip install '.[dask]' [extra-missing]")


@pytest.mark.parametrize("name", bgnb.dashboards.__all__)
def test_dashboards_name_their_extra(name, hide, monkeypatch):
    """The package itself can be imported and explored."""
    hide("ipywidgets")
    monkeypatch.delitem(bgnb.dashboards.__dict__, name, raising=False)
    with raises("extra-missing", "ipywidgets", "bgnb[dashboards]"):
        getattr(bgnb.dashboards, name)


@pytest.mark.parametrize("name", bgnb.gammapy.__all__)
def test_gammapy_is_the_extra_of_its_names(name, hide, monkeypatch):
    """The package itself can be imported and explored."""
    hide("gammapy")
    monkeypatch.delitem(bgnb.gammapy.__dict__, name, raising=False)
    with raises("extra-missing", "gammapy", "bgnb[gammapy]"):
        getattr(bgnb.gammapy, name)


def test_copying_notebooks_needs_no_extra(hide, tmp_path):
    hide("nbformat", "papermill", "jupyterlab")
    assert len(bgnb.copy_notebooks(tmp_path / "copies")) == 12
