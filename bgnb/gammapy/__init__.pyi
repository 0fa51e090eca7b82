from .background_maker import BackgroundMaker
from .background_priors import BackgroundErrors, background_errors, set_background_priors
from .irfs import from_irf, to_irf
from .observations import make_models

__all__ = [
    "BackgroundErrors",
    "BackgroundMaker",
    "background_errors",
    "from_irf",
    "make_models",
    "set_background_priors",
    "to_irf",
]
