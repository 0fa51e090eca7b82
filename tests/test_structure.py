"""The house: imports run one way, the package is light, every public name is documented."""

import ast
import subprocess
import sys
from pathlib import Path

import bgnb

PACKAGE = Path(bgnb.__file__).parent
# Each room may import from the ones before it. A new room has to be given its place.
ORDER = [
    "errors",
    "cube",
    "fov",
    "observatories",
    "fitstable",
    "eventlist",
    "stack",
    "smooth",
    "powerlaw",
    "model",
    "compare",
    "datastore",
    "runs",
    "outdir",
    "fitsfile",
    "gadf",
    "report",
    "truth",
    "simulate",
    "dataset",
    "pipeline",
    "truereco",
    "figures",
    "interactive",
    "comparisons",
    "batch",
    "groupreports",
    "cli",
]


def test_imports_run_one_way():
    modules = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__", "__main__"}
    assert modules == set(ORDER)
    for module in modules:
        tree = ast.parse((PACKAGE / f"{module}.py").read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("bgnb."):
                imported = node.module.removeprefix("bgnb.")
                assert ORDER.index(imported) < ORDER.index(module), f"{module} imports {imported}"


def test_import_is_light():
    code = "import sys, bgnb; print(' '.join(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    for heavy in ("astropy", "numpy", "scipy", "IPython", "ipywidgets", "bokeh", "dask", "gammapy", "papermill"):
        assert heavy not in loaded


def test_every_public_name_loads_and_is_documented():
    for name in bgnb.__all__:
        documented = getattr(bgnb, name)
        assert documented.__doc__, name
        assert documented.__module__.startswith("bgnb."), name
