"""Dashboards to explore runs and models in JupyterLab.

Each function returns a widget. Every control has an attribute of the same name.
``dashboard.save_png``, ``save_html`` and ``save_csv`` write the present view, and
``dashboard.python`` is the Python code that shows it again.
"""

from bgnb._util.extras import require

require("dashboards")  # before the modules that import them

from bgnb.dashboards.comparison_dashboard import compare_models  # noqa: E402
from bgnb.dashboards.model_dashboard import explore_models  # noqa: E402
from bgnb.dashboards.run_dashboard import explore_runs  # noqa: E402

__all__ = ["compare_models", "explore_models", "explore_runs"]
