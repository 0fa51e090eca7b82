from .comparison_dashboard import compare_models
from .model_dashboard import explore_models
from .run_dashboard import explore_runs
from .validation_dashboard import explore_validation

__all__ = ["compare_models", "explore_models", "explore_runs", "explore_validation"]
