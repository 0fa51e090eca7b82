"""Sphinx configuration of the documentation: `make docs`."""

import shutil
from pathlib import Path

import bgnb

HERE = Path(__file__).parent
# Sphinx reads documents from one folder only.
shutil.copytree(HERE.parent / "notebooks", HERE / "notebooks", dirs_exist_ok=True, ignore=shutil.ignore_patterns(".*", "*_*/"))

project = "bgnb"
version = release = bgnb.__version__
copyright = "The bgnb developers"

extensions = ["myst_nb", "numpydoc", "sphinx.ext.autosummary", "sphinx_click"]
exclude_patterns = ["_build"]
default_role = "py:obj"  # names in docstrings are links
smartquotes = False  # they would make dashes of the -- of options
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # the tests execute the notebooks
autosummary_generate = True
autodoc_mock_imports = ["gammapy"]  # it needs an environment with older dependencies
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

html_theme = "pydata_sphinx_theme"
html_title = "bgnb"
html_theme_options = {"show_toc_level": 2, "navigation_with_keys": False}
