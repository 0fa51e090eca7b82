"""Sphinx configuration of the documentation: `make docs`."""

import json
import os
from pathlib import Path

import nbformat

import bgnb

HERE = Path(__file__).parent
NOTEBOOKS = HERE / "tutorials" / "notebooks"
#: Notebooks that need Gammapy run in an environment of their own.
GAMMAPY_PYTHON = HERE.parent / ".venv-gammapy" / "bin" / "python"
WITH_GAMMAPY = ("significance_map", "extended_source", "upper_limit")
DASHBOARDS = ("explore", "explore_true_reco")

# Sphinx reads documents from one folder only.
NOTEBOOKS.mkdir(exist_ok=True)
for path in (HERE.parent / "notebooks").glob("*.ipynb"):
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code" and "JSON(" in cell.source:  # a result for programs
            cell.metadata.tags = ["remove-cell"]
    if path.stem in WITH_GAMMAPY:
        notebook.metadata.kernelspec = {"name": "gammapy", "display_name": "gammapy", "language": "python"}
    nbformat.write(notebook, NOTEBOOKS / path.name)
kernel = HERE / "_build" / "jupyter" / "kernels" / "gammapy"
kernel.mkdir(parents=True, exist_ok=True)
command = [str(GAMMAPY_PYTHON), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
(kernel / "kernel.json").write_text(json.dumps({"argv": command, "display_name": "gammapy", "language": "python"}))
os.environ["JUPYTER_PATH"] = str(kernel.parents[1])
os.environ["PYTHONWARNINGS"] = "ignore"  # in kernels

project = "bgnb"
version = release = bgnb.__version__
copyright = "The bgnb developers"

extensions = [
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx_click",
]
exclude_patterns = ["_build"]
default_role = "py:obj"  # names in docstrings are links
smartquotes = False  # they would make dashes of the -- of options
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "cache"  # off in `make test`, as the tests execute them too
nb_execution_cache_path = str(HERE / "_build" / "executed")
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 300
nb_execution_excludepatterns = [f"tutorials/notebooks/{name}.ipynb" for name in DASHBOARDS]  # widgets need a kernel
if not GAMMAPY_PYTHON.exists():
    nb_execution_excludepatterns += [f"tutorials/notebooks/{name}.ipynb" for name in WITH_GAMMAPY]
autosummary_generate = True
autodoc_mock_imports = ["gammapy"]  # it needs an environment with older dependencies
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

if os.environ.get("READTHEDOCS"):  # links into other documentation need the network
    _pages = {"python": "docs.python.org/3", "numpy": "numpy.org/doc/stable", "astropy": "docs.astropy.org/en/stable"}
    _pages["gammapy"] = "docs.gammapy.org/stable"
    intersphinx_mapping = {name: (f"https://{page}/", None) for name, page in _pages.items()}

html_theme = "pydata_sphinx_theme"
html_static_path = ["_static"]
html_css_files = ["bgnb.css"]
html_sidebars = {"index": []}
html_show_sourcelink = False
html_title = "bgnb"
html_theme_options = {"show_toc_level": 2, "navigation_with_keys": False}
