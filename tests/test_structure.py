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
    "spline",
    "model",
    "compare",
    "datastore",
    "runs",
    "manifest",
    "outdir",
    "tasks",
    "cluster",
    "workers",
    "chunks",
    "counting",
    "fitsfile",
    "gadf",
    "predict",
    "poisson",
    "modelset",
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
    "figures",
    "validationfigures",
    "validate",
    "interactive",
    "comparisons",
    "batch",
    "groupreports",
    "dashboards.colours",
    "dashboards.view",
    "dashboards.plots",
    "dashboards.exports",
    "dashboards.live",
    "dashboards.player",
    "dashboards.dashboard",
    "dashboards.cubes",
    "dashboards.models",
    "dashboards.comparison",
    "dashboards.runs",
    "lab",
    "cli",
]


def test_imports_run_one_way():
    modules = {".".join(path.relative_to(PACKAGE).with_suffix("").parts): path for path in PACKAGE.rglob("*.py")}
    modules = {name: path for name, path in modules.items() if path.stem not in ("__init__", "__main__")}
    assert set(modules) == set(ORDER)
    for module, path in modules.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("bgnb."):
                imported = node.module.removeprefix("bgnb.")
                assert ORDER.index(imported) < ORDER.index(module), f"{module} imports {imported}"


def test_import_is_light():
    code = "import sys, bgnb; print(' '.join(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    for heavy in ("astropy", "numpy", "scipy", "IPython", "ipywidgets", "anywidget", "bokeh", "dask", "gammapy", "papermill"):
        assert heavy not in loaded


def test_every_public_name_loads_and_is_documented():
    for house in (bgnb, bgnb.dashboards):
        for name in house.__all__:
            documented = getattr(house, name)
            assert documented.__doc__, name
            assert getattr(documented, "__module__", documented.__name__).startswith("bgnb."), name


def test_every_public_name_is_in_the_documentation():
    listed = [line.strip() for line in (PACKAGE.parent / "docs" / "api.md").read_text().splitlines() if line.startswith("   ")]
    names = [name for name in bgnb.__all__ if name != "dashboards"] + [f"dashboards.{name}" for name in bgnb.dashboards.__all__]
    assert sorted(listed) == sorted([":toctree: api"] * listed.count(":toctree: api") + names)
