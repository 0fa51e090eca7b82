from .background_maker import BackgroundMaker
from .background_priors import BackgroundErrors, background_errors, set_background_priors
from .observations import make_models

__all__ = ["BackgroundErrors", "BackgroundMaker", "background_errors", "make_models", "set_background_priors"]
