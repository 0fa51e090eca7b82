"""Interface and registry of the methods that make background models, see `Method` and `register_method`.

Astropy and SciPy are imported only when a method is used, because the command line needs the names of the methods.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from bgnb._util.arrays import Bools
from bgnb._util.errors import BgnbError, quoted

if TYPE_CHECKING:
    from bgnb.cubes.cells import Cell
    from bgnb.cubes.cube import Cube
    from bgnb.cubes.model import BackgroundModel
    from bgnb.cubes.stack import Stack


class PointingModel(Protocol):
    """A rate for any pointing, fitted to runs with different pointings."""

    @property
    def altitude_range(self) -> tuple[float, float]:
        """Minimum and maximum altitude of the runs, deg."""

    def at(self, alt_pnt: float, az_pnt: float) -> tuple[Cube, Cube]:
        """Return the rate at a pointing (deg) and its statistical error."""

    def rate_at(self, alt_pnt: float, az_pnt: float) -> Cube:
        """Return the rate at a pointing (deg)."""


class Method(ABC):
    """Method that makes a background model from counts.

    To add a method, define a subclass and pass an instance to `register_method`. Then
    `make_model`, `make_bg_cube_models` and the command line accept its name. A package that
    declares the instance as an entry point in the group ``bgnb.methods`` needs no registration.

    Examples
    --------
    See `register_method`.
    """

    #: Name, for arguments, options and files.
    name: str
    #: Earlier names, which are still accepted.
    aliases: tuple[str, ...] = ()
    #: Runs that are summed to one stack: those of a ``group``, or, for `fit`, those with similar ``pointing``.
    sums: Literal["group", "pointing"] = "group"
    #: Default number of energy bins, and of bins in each of DETX and DETY.
    default_bins: tuple[int, int] = (20, 60)
    #: False if there may be empty bins between bins with counts, because log rates cannot be interpolated then.
    interpolable: bool = True

    @abstractmethod
    def make(self, stack: Stack) -> BackgroundModel:
        """Make a model from a stack that has counts."""

    def fit(self, cells: Sequence[Cell]) -> PointingModel | None:
        """Fit one model for all pointings; return None if each group has a separate model."""
        return None

    def extrapolated(self, stack: Stack) -> Bools:
        """Return a mask of the energy planes with extrapolated rates, shape (energy,); by default those without livetime."""
        return np.asarray(~stack.livetime_us.any(axis=(1, 2)))


def register_method(method: Method) -> None:
    """Register a method by its name.

    Parameters
    ----------
    method : `Method`
        The method.

    Raises
    ------
    BgnbError
        If the name is not a text of printable ASCII characters without blanks at its ends, or another method with this name,
        ignoring case, or with this earlier name, is registered.

    Examples
    --------
    >>> import bgnb
    >>> class Symmetric(bgnb.Method):
    ...     name = "symmetric"
    ...     def make(self, stack):
    ...         rate = bgnb.make_model(stack, "classic").rate
    ...         mean = (rate.quantity + rate.quantity[:, :, ::-1]) / 2
    ...         return bgnb.BackgroundModel(bgnb.Cube(rate.axes, mean), stack, self.name)
    >>> bgnb.register_method(Symmetric())
    >>> bgnb.make_models("runs", "GADF", select="all", method="symmetric").models
    ModelSet(symmetric of 6 runs, groups 27)
    """
    from bgnb._util.checks import check_type  # which imports Astropy

    check_type("method", method, Method)
    _add(method, methods())


def _add(method: Method, known: dict[str, Method]) -> None:
    """Add a method to others, by its name and earlier names in lower case."""
    aliases: object = method.aliases
    if not isinstance(aliases, tuple):
        raise BgnbError("invalid-argument", f"the aliases of a method must be a tuple of names, got {quoted(aliases)}")
    names: list[Any] = [getattr(method, "name", None), *aliases]
    for name in names:
        if not isinstance(name, str) or not name or not name.isascii() or not name.isprintable() or name != name.strip():
            raise BgnbError("invalid-argument", f"the name of a method must be a text of ASCII characters, got {quoted(name)}")
        if known.get(name.lower(), method) is not method:
            raise BgnbError("exists", f"a method named {name.lower()} is registered already; use another name")
    known.update({name.lower(): method for name in names})


def method_names() -> Iterable[str]:
    """Return the names of all methods, without earlier names."""
    return [method.name for method in dict.fromkeys(methods().values())]


def find_method(name: str) -> Method:
    """Return a method by its name, ignoring case.

    Raises
    ------
    BgnbError
        If there is no such method; the message lists the methods.
    """
    from bgnb._util.checks import checked_choice

    earlier = methods().get(str(name).lower())
    return earlier or methods()[checked_choice("method", name, method_names())]


@cache
def methods() -> dict[str, Method]:
    """Return the methods of bgnb and of other packages, by name and by earlier names, in lower case.

    Those of other packages that cannot be used are left out, with a warning.
    """
    known: dict[str, Method] = {}
    for method in import_module("bgnb.cubes.rate_methods").METHODS:
        _add(method, known)
    for entry in entry_points(group="bgnb.methods"):
        try:
            method = entry.load()
            if not isinstance(method, Method):
                raise TypeError(f"it is of the type {type(method).__name__}, not an instance of bgnb.Method")
            _add(method, known)
        except Exception as error:
            warnings.warn(f"the method {entry.name} ({entry.value}) cannot be used: {error}", stacklevel=2)
    return known
