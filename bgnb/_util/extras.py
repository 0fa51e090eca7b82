"""Optional packages, which the extras of bgnb install."""

from __future__ import annotations

from importlib.util import find_spec

from bgnb._util.errors import BgnbError
from bgnb._util.library_settings import check_matplotlib_settings

# Purpose of each extra, and the modules that it needs.
_EXTRAS = {
    "plots": ("pictures and pages need", ("bokeh", "matplotlib")),
    "dashboards": ("dashboards need", ("anywidget", "bokeh", "ipywidgets", "matplotlib")),
    "notebooks": ("running notebooks needs", ("ipykernel", "matplotlib", "nbconvert", "nbformat", "papermill")),
    "gammapy": ("this part of bgnb needs", ("gammapy",)),
    "hist": ("histograms need", ("boost_histogram",)),
    "dask": ("a Dask scheduler needs", ("distributed",)),
    "regions": ("files of regions need", ("regions",)),
}


def require(extra: str, *modules: str) -> None:
    """Check that the optional packages of an extra are installed.

    Parameters
    ----------
    extra : {"plots", "dashboards", "notebooks", "gammapy", "hist", "dask", "regions"}
        The extra of bgnb that installs them.
    *modules : str
        Further modules of this extra that the work needs.

    Raises
    ------
    BgnbError
        If any is not installed; the message has the command that installs it.
        If Matplotlib is needed, and cannot read its file of settings.
    """
    purpose, needed = _EXTRAS[extra]
    if missing := sorted(name for name in {*needed, *modules} if not _is_installed(name)):
        listed = ", ".join(missing)
        install = f"pip install 'bgnb[{extra}]', or in a checkout of bgnb: pip install '.[{extra}]'"
        raise BgnbError("extra-missing", f"{purpose} {listed}; install what is missing with: {install}")
    if "matplotlib" in needed:
        check_matplotlib_settings()


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ValueError:  # a module without a specification is put in sys.modules to hide it
        return False
