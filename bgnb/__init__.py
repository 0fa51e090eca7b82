"""Background cube models for very-high-energy gamma-ray astronomy.

The public names are listed in ``__init__.pyi`` and imported on first use.
"""

import lazy_loader

from bgnb._version import __version__ as __version__

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
