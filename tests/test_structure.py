"""Structure: imports in one direction, a light package, documentation of all public names and error codes."""

import ast
import inspect
import re
import runpy
import subprocess
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import bgnb
from bgnb.cli.main import COMMANDS, SHORT, main
from bgnb.observations import tolerances
from tests.helpers.requirements import everything, extra

TRUE_MODEL = ("sigma", "spectral_index", "trigger_rate", "gradient_x", "gradient_y", "mask_quadrant", "fovalign")
TRUE_MODEL += ("elongation", "baseline_az")
PACKAGE = Path(bgnb.__file__).parent
# Private attributes of other packages, and the module with undocumented parts of Bokeh.
PRIVATE = {"_client": "distributed", "_penalties": "gammapy", "bokeh_internals": "bokeh"}
# Each package imports from those in the lines above it only.
LAYERS = (
    {"_util", "_version"},
    {"observations"},
    {"cubes"},
    {"files"},
    {"production", "plots", "notebooks"},
    {"simulation", "gammapy", "validation"},
    {"dashboards"},
    {"cli"},
)


@pytest.mark.slow
def test_imports_run_in_one_direction():
    layer = {package: number for number, packages in enumerate(LAYERS) for package in packages}
    found = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert found - {"__init__", "__main__"} == layer.keys()
    for package in layer.keys() - {"_version"}:
        for path in (PACKAGE / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "bgnb":
                    imported = node.module.split(".")[1] if "." in node.module else "_version"
                    assert imported == package or layer[imported] < layer[package], f"{path} imports {node.module}"


@pytest.mark.slow
def test_the_core_reads_and_writes_no_files():
    code = "import sys, bgnb.cubes.model, bgnb.cubes.compare, bgnb.cubes.prediction; print(' '.join(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    ours = {name.split(".")[1] for name in loaded if name.startswith("bgnb.")}
    assert ours == {"_util", "_version", "observations", "cubes"}
    assert not {"bokeh", "matplotlib", "multiprocessing.pool", "distributed", "click", "tqdm"} & set(loaded)


def test_import_is_light():
    code = "import sys, bgnb; print(' '.join(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    for heavy in ("astropy", "numpy", "scipy", "IPython", "ipywidgets", "anywidget", "bokeh", "dask", "gammapy", "papermill"):
        assert heavy not in loaded


@pytest.mark.slow
def test_pages_are_made_without_widgets():
    code = "import sys, bgnb.validation.compare_models, bgnb.plots.html_page; print(' '.join(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "bokeh" in loaded
    assert not {"IPython", "ipywidgets", "anywidget"} & set(loaded)


@pytest.mark.slow
def test_modules_hide_no_public_functions():
    """Importing modules of the same name does not replace public functions."""
    modules = ("gammapy.attach", "cubes.compare", "validation.validate", "validation.compare_models", "files.manifest")
    code = f"import {', '.join(f'bgnb.{module}' for module in modules)}, bgnb; print(bgnb.attach, bgnb.compare, bgnb.validate)"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.count("<function") == 3


def test_oldest_versions_are_tested():
    """Every requirement is tested in its oldest version."""
    oldest = {line.replace("==", ">=") for line in (PACKAGE.parent / "tests" / "oldest.txt").read_text().splitlines()[1:]}
    assert oldest == {text.partition(",<")[0] for text in everything() if ";" not in text}


def test_private_parts_bound_versions():
    """Packages of which private parts are used are limited to versions known to have them."""
    trees = [ast.parse(path.read_text()) for path in PACKAGE.rglob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    own = {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    own |= {node.attr for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)}
    own |= {node.target.id for node in nodes if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)}
    used = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    private = {name for name in used - own if name.startswith("_") and not name.startswith("__")}
    documented = {"_exit", "_replace", "_repr_mimebundle_", "_result_queue", "_writer"}  # the last two may be missing
    assert private - documented == PRIVATE.keys() - {"bokeh_internals"}
    requirements = [Requirement(text) for text in everything() | extra("gammapy")]
    bounded = {each.name for each in requirements if "<" in {limit.operator for limit in each.specifier}}
    assert set(PRIVATE.values()) <= bounded


def test_installed_versions_are_supported():
    """The tests run with versions that bgnb can be installed with."""
    for requirement in map(Requirement, everything()):
        if requirement.marker is None or requirement.marker.evaluate():
            assert requirement.specifier.contains(version(requirement.name)), requirement


def test_public_names_have_docstrings():
    """Every public name loads, and has a docstring."""
    modules = (bgnb, bgnb.dashboards, *([bgnb.gammapy] if find_spec("gammapy") else []))
    for module in modules:
        for name in module.__all__:
            documented = getattr(module, name)
            assert documented.__doc__, name
            assert getattr(documented, "__module__", documented.__name__).startswith("bgnb."), name


def test_public_names_are_in_api_docs():
    """Every public name is listed in docs/reference/api.md, and no other."""
    lines = (PACKAGE.parent / "docs" / "reference" / "api.md").read_text().splitlines()
    listed = [line.strip() for line in lines if line.startswith("   ") and line.strip() != ":toctree: api"]
    names = [name for name in bgnb.__all__ if name not in ("dashboards", "gammapy")]
    names += [f"dashboards.{name}" for name in bgnb.dashboards.__all__] + [f"gammapy.{name}" for name in bgnb.gammapy.__all__]
    assert sorted(listed) == sorted(names)


def test_commands_match_public_functions():
    """`lab` has no function, a settings file is an option only, and two commands combine options to one argument."""
    for command in (command for commands in COMMANDS.values() for command in commands if command.name != "lab"):
        function = set(inspect.signature(getattr(bgnb, command.name.replace("-", "_"))).parameters) - {"progress"}
        if command.name == "make-test-bg-cube-model":
            function = function - {"axes", "model"} | {"file", "overwrite", "n_energy", "n_fov"} | set(TRUE_MODEL)
        elif command.name == "make-bg-cube-models":
            function |= {"config", "epochs"}  # with epochs, it calls make_epoch_models
        elif command.name == "cross-validate":
            function |= {"config"}
        elif command.name == "run-notebook":
            function = function - {"parameters"} | {"texts", "overwrite"}
        assert {parameter.name for parameter in command.params} == function, command.name
        assert "Example" in command.help, command.name
    assert set(SHORT.values()) <= set(main.commands)


def test_documentation_names_all_tolerances():
    """The table of checks names each tolerance."""
    text = (PACKAGE.parent / "docs" / "reference" / "checks.md").read_text()
    names = [name for name in vars(tolerances) if name.isupper()]
    assert len(names) > 20
    assert [name for name in names if f"`{name}`" not in text] == []


def test_docstrings_begin_with_a_statement():
    """Docstrings say what something is or does, not what is asked about it."""
    question = re.compile(r'^\s*"""(What|Whether|Which|How|Where|When|Why) ', re.MULTILINE)
    folders = ("bgnb", "tests", "benchmarks", "docs", "binder")
    paths = [path for folder in folders for path in (PACKAGE.parent / folder).rglob("*.py")]
    assert len(paths) > 300
    assert [str(path) for path in paths if question.search(path.read_text())] == []


@pytest.mark.parametrize("path", sorted((PACKAGE.parent / "benchmarks").glob("*.py")), ids=lambda path: path.stem)
def test_benchmarks_can_be_started(path, monkeypatch):
    """Benchmarks find the modules and files that they use, but for Gammapy, which is in another environment."""
    monkeypatch.syspath_prepend(path.parent)
    try:
        runpy.run_path(str(path), run_name="imported")
    except ModuleNotFoundError as error:
        if error.name != "gammapy":
            raise
