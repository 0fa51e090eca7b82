"""Models for Gammapy: from its observations, as its backgrounds, and with priors for its fits.

All public names need Gammapy (``pip install 'bgnb[gammapy]'``, or in a checkout ``pip install '.[gammapy]'``).
"""

from typing import Any

import lazy_loader

from bgnb._util.extras import require

_load, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    """Load a function when it is first used, so that `bgnb` can be explored without the extra."""
    if name in __all__:
        require("gammapy")
    return _load(name)
