"""Dashboards to explore runs and models in JupyterLab.

Each function returns a widget. Every control has an attribute of the same name.
``dashboard.save_png``, ``save_html`` and ``save_csv`` write the present view, and
``dashboard.python`` is the Python code that shows it again.
"""

from bgnb.dashboards.comparison_dashboard import compare_models
from bgnb.dashboards.model_dashboard import explore_models
from bgnb.dashboards.run_dashboard import explore_runs

__all__ = ["compare_models", "explore_models", "explore_runs"]
