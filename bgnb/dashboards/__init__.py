"""Dashboards to explore runs and models in JupyterLab.

Each function returns a widget. Every control has an attribute of the same name.
``dashboard.save_png``, ``save_html`` and ``save_csv`` write the present view, and
``dashboard.python`` is the Python code that shows it again.
"""

from typing import Any

import lazy_loader

from bgnb._util.extras import require

_load, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    """Load a function when it is first used, so that `bgnb` can be explored without the extra."""
    if name in __all__:
        require("dashboards")
    return _load(name)
