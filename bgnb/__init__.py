"""Background cube models for very-high-energy gamma-ray astronomy.

The public names are on one page, ``__init__.pyi``; they are loaded when they are first used.
"""

import lazy_loader

from bgnb._version import __version__ as __version__

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
