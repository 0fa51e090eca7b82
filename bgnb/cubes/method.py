"""What a method is that makes background models, and the methods by name. To add one: `Method`, `register_method`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from bgnb._util.arrays import Bools
from bgnb._util.checks import checked_choice
from bgnb._util.errors import BgnbError
from bgnb.cubes.cells import Cell
from bgnb.cubes.cube import Cube
from bgnb.cubes.stack import Stack

if TYPE_CHECKING:
    from bgnb.cubes.model import BackgroundModel


class PointingModel(Protocol):
    """A rate for any pointing, fitted to runs of many."""

    @property
    def altitude_range(self) -> tuple[float, float]:
        """Minimum and maximum altitude of the runs, deg."""

    def at(self, alt_pnt: float, az_pnt: float) -> tuple[Cube, Cube]:
        """Return the rate at a pointing (deg) and its statistical error."""

    def rate_at(self, alt_pnt: float, az_pnt: float) -> Cube:
        """Return the rate at a pointing (deg)."""


class Method(ABC):
    """A way to make a background model from counts.

    Subclass it, and pass an instance to `register_method`: then `make_model`,
    `make_bg_cube_models` and the command line know the method by its name. A package that
    declares the instance as an entry point in the group ``bgnb.methods`` needs no registration.
    """

    #: Name, for arguments, options and files.
    name: str
    #: What is counted together: all runs of a ``group``, or runs of like ``pointing``, for `fit`.
    sums: Literal["group", "pointing"] = "group"
    #: Number of energy bins, and of bins in DETX and in DETY; None: it depends on the number of runs.
    default_bins: tuple[int, int] | None = None
    #: False if there may be empty bins between bins with counts, so that log rates cannot be interpolated.
    interpolable: bool = True

    @abstractmethod
    def make(self, stack: Stack) -> BackgroundModel:
        """Make the model of a stack, which has counts."""

    def fit(self, cells: Sequence[Cell]) -> PointingModel | None:
        """Fit one model for all pointings to runs; None if each group has a model of its own."""
        return None

    def extrapolated(self, stack: Stack) -> Bools:
        """Return the energy planes whose rate follows from those of others, shape (energy,): those without counts."""
        return np.asarray(~stack.counts.any(axis=(1, 2)))


def register_method(method: Method) -> None:
    """Make a method known by its name.

    Parameters
    ----------
    method : `Method`
        The method.

    Raises
    ------
    BgnbError
        If another method has this name.
    """
    if methods().setdefault(method.name, method) is not method:
        raise BgnbError("exists", f"there is a method {method.name} already")


def method_names() -> Iterable[str]:
    """Names of all methods."""
    return methods().keys()


def find_method(name: str) -> Method:
    """Return a method by its name; capitals do not matter.

    Raises
    ------
    BgnbError
        If there is no such method; the message lists them.
    """
    return methods()[checked_choice("method", name, method_names())]


@cache
def methods() -> dict[str, Method]:
    """Methods by name: those of bgnb, and those of other packages."""
    own = import_module("bgnb.cubes.methods").METHODS
    others = [entry.load() for entry in entry_points(group="bgnb.methods")]
    return {method.name: method for method in (*own, *others)}
