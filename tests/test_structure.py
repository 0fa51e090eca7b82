"""The house: imports run one way, the package is light, every public name is documented."""

import ast
import inspect
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import bgnb
from bgnb.cli import COMMANDS, SHORT, main

TRUTH = ("sigma", "spectral_index", "trigger_rate", "gradient_x", "gradient_y", "mask_quadrant", "fovalign")
PACKAGE = Path(bgnb.__file__).parent
# Each room may import from the ones before it. A new room has to be given its place.
ORDER = [
    "errors",
    "arguments",
    "arrays",
    "signals",
    "cube",
    "fov",
    "observatories",
    "fitsheader",
    "fitstable",
    "keywords",
    "eventlist",
    "plausibility",
    "eventfile",
    "mask",
    "stack",
    "smooth",
    "powerlaw",
    "cells",
    "splineparts",
    "spline",
    "model",
    "profiles",
    "rebin",
    "compare",
    "datastore",
    "runs",
    "groups",
    "locks",
    "manifest",
    "outdir",
    "reportfile",
    "progress",
    "tasks",
    "cluster",
    "workers",
    "chunks",
    "counting",
    "fitsfile",
    "gadf",
    "splinefile",
    "groupsfile",
    "predict",
    "poisson",
    "modelset",
    "pairs",
    "runprediction",
    "validation",
    "report",
    "truth",
    "simulate",
    "dataset",
    "settings",
    "plan",
    "parts",
    "production",
    "pipeline",
    "turn",
    "attach",
    "truereco",
    "shown",
    "views.colours",
    "views.view",
    "views.cubes",
    "views.models",
    "views.comparison",
    "views.runs",
    "views.plots",
    "views.exports",
    "views.pictures",
    "figures",
    "validationfigures",
    "validate",
    "comparisons",
    "batch",
    "groupreports",
    "dashboards.live",
    "dashboards.player",
    "dashboards.dashboard",
    "dashboards.cubes",
    "dashboards.models",
    "dashboards.comparison",
    "dashboards.runs",
    "lab",
    "commands.options",
    "commands.models",
    "commands.comparing",
    "commands.simulations",
    "commands.notebooks",
    "cli",
]


def test_imports_run_one_way():
    modules = {".".join(path.relative_to(PACKAGE).with_suffix("").parts): path for path in PACKAGE.rglob("*.py")}
    modules = {name: path for name, path in modules.items() if path.stem not in ("__init__", "__main__")}
    assert set(modules) == set(ORDER)
    for module, path in modules.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("bgnb."):
                room = node.module.removeprefix("bgnb.")
                for imported in [room] if room in ORDER else [f"{room}.{alias.name}" for alias in node.names]:
                    assert ORDER.index(imported) < ORDER.index(module), f"{module} imports {imported}"


def test_every_room_is_on_the_architecture_page_in_order():
    page = (PACKAGE.parent / "docs" / "architecture.md").read_text()
    rows = "".join(line.split("|")[1] for line in page.splitlines() if line.startswith("|"))
    named = re.findall(r"`([a-z_]+)(?:\.py|/)`", rows)
    expected = list(dict.fromkeys(room.split(".")[0] for room in ORDER))
    for house in ("views", "dashboards"):  # each has a table of its own
        expected += [house, *(room.split(".")[1] for room in ORDER if room.startswith(f"{house}."))]
    assert named == expected


def test_import_is_light():
    code = "import sys, bgnb; print(' '.join(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    for heavy in ("astropy", "numpy", "scipy", "IPython", "ipywidgets", "anywidget", "bokeh", "dask", "gammapy", "papermill"):
        assert heavy not in loaded


def test_pages_are_made_without_widgets():
    code = "import sys, bgnb.comparisons, bgnb.views.exports; print(' '.join(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "bokeh" in loaded
    assert not {"IPython", "ipywidgets", "anywidget"} & set(loaded)


def test_public_functions_are_not_hidden_by_modules_of_the_same_name():
    code = "import bgnb, bgnb.attach, bgnb.compare, bgnb.validate; print(bgnb.attach, bgnb.compare, bgnb.validate)"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.count("<function") == 3


def test_what_is_needed_is_tested_in_its_oldest_version():
    needed = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["project"]
    stated = [*needed["dependencies"], *needed["optional-dependencies"]["dask"]]
    oldest = {line.replace("==", ">=") for line in (PACKAGE.parent / "tests" / "oldest.txt").read_text().splitlines()[1:]}
    assert oldest == set(stated)


def test_every_public_name_loads_and_is_documented():
    for house in (bgnb, bgnb.dashboards):
        for name in house.__all__:
            documented = getattr(house, name)
            assert documented.__doc__, name
            assert getattr(documented, "__module__", documented.__name__).startswith("bgnb."), name


def test_every_public_name_is_in_the_documentation():
    lines = (PACKAGE.parent / "docs" / "api.md").read_text().splitlines()
    listed = [line.strip() for line in lines if line.startswith("   ") and line.strip() != ":toctree: api"]
    names = [name for name in bgnb.__all__ if name != "dashboards"] + [f"dashboards.{name}" for name in bgnb.dashboards.__all__]
    assert sorted(listed) == sorted(names)


def test_commands_have_the_names_and_arguments_of_public_functions():
    """`lab` has no function; two others put arguments of the function together from several of their own."""
    for command in (command for commands in COMMANDS.values() for command in commands if command.name != "lab"):
        function = set(inspect.signature(getattr(bgnb, command.name.replace("-", "_"))).parameters) - {"progress"}
        if command.name == "make-test-bg-cube-model":
            function = function - {"axes", "model"} | {"file", "overwrite", "n_energy", "n_fov"} | set(TRUTH)
        elif command.name == "run-notebook":
            function = function - {"parameters"} | {"texts"}
        assert {parameter.name for parameter in command.params} == function, command.name
        assert "Example" in command.help, command.name
    assert set(SHORT.values()) <= set(main.commands)
