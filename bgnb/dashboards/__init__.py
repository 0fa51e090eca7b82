"""Dashboards to explore runs and models in JupyterLab.

Each function returns a widget. Every control of it has an attribute of the same name;
``dashboard.save_png``, ``save_html`` and ``save_csv`` write what is shown, and
``dashboard.python`` are the lines that show it again.
"""

from bgnb._util.extras import require

require("dashboards")  # before the modules that import them

from bgnb.dashboards.comparison import compare_models  # noqa: E402
from bgnb.dashboards.models import explore_models  # noqa: E402
from bgnb.dashboards.runs import explore_runs  # noqa: E402

__all__ = ["compare_models", "explore_models", "explore_runs"]
