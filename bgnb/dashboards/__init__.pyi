from .comparison_dashboard import compare_models
from .model_dashboard import explore_models
from .run_dashboard import explore_runs

__all__ = ["compare_models", "explore_models", "explore_runs"]
