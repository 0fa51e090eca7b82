"""The version of bgnb."""

__version__ = "0.1.0.dev0"
