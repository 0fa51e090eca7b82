"""Background models, and what a method is that makes them of a stack."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Literal, Protocol

import numpy as np
from astropy import units as u

from bgnb._util.arrays import Bools
from bgnb._util.checks import checked_choice
from bgnb._util.errors import BgnbError
from bgnb.cubes.cells import Cell
from bgnb.cubes.cube import RATE_UNIT, Cube, CubeAxes
from bgnb.cubes.stack import Stack


@dataclass(frozen=True, eq=False)
class BackgroundModel:
    """A background rate, and the stack that it was made from.

    Parameters
    ----------
    rate : `Cube`
        Background events per energy, solid angle and *livetime*, in MeV-1 s-1 sr-1.
    stack : `Stack`
        Counts and livetime on the same axes. Bins without livetime were not measured, see
        ``exposed`` and ``extrapolated``.
    method : str
        Name of the method.
    error : `Cube`, optional
        Statistical error of the rate, in the same unit; errors of neighbouring bins are
        correlated.

    Raises
    ------
    BgnbError
        If rate, error and stack have different axes, or a unit is not that of a rate.
    """

    rate: Cube
    stack: Stack
    method: str
    error: Cube | None = None

    def __post_init__(self) -> None:
        if self.rate.axes != self.stack.axes or (self.error is not None and self.error.axes != self.rate.axes):
            axes = f"{self.rate.axes!r} and {self.stack.axes!r}"
            raise BgnbError("axes-mismatch", f"rate, error and stack of a model need the same axes, got {axes}")
        for name, cube in (("rate", self.rate), ("error", self.error)):
            if cube is not None:
                try:
                    object.__setattr__(self, name, Cube(cube.axes, cube.quantity.to(RATE_UNIT)))
                except u.UnitConversionError as error:
                    raise BgnbError("bad-unit", f"the {name} of a model must be in {RATE_UNIT}: {error}") from None

    @property
    def axes(self) -> CubeAxes:
        """Axes of the rate."""
        return self.rate.axes

    @property
    def is_true(self) -> bool:
        """True for the true model of a simulation, which has no runs, no counts and no error."""
        return not self.stack.runs

    @property
    def exposed(self) -> Bools:
        """Energy planes with livetime, shape (energy,); all planes of a true model."""
        return np.asarray(self.stack.livetime_us.any(axis=(1, 2))) | self.is_true

    @property
    def extrapolated(self) -> Bools:
        """Energy planes whose rate follows from those of others, shape (energy,); see `Method.extrapolated`."""
        if self.is_true:
            return np.zeros(self.axes.shape[0], dtype=bool)
        known = _methods().get(self.method)
        return ~self.exposed if known is None else known.extrapolated(self.stack)

    def __repr__(self) -> str:
        return f"BackgroundModel(method: {self.method}, {self.stack!r})"


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
    if _methods().setdefault(method.name, method) is not method:
        raise BgnbError("exists", f"there is a method {method.name} already")


def method_names() -> Iterable[str]:
    """Names of all methods."""
    return _methods().keys()


def find_method(name: str) -> Method:
    """Return a method by its name; capitals do not matter.

    Raises
    ------
    BgnbError
        If there is no such method; the message lists them.
    """
    return _methods()[checked_choice("method", name, method_names())]


@cache
def _methods() -> dict[str, Method]:
    """Methods by name: those of bgnb, and those of other packages."""
    own = import_module("bgnb.cubes.methods").METHODS
    others = [entry.load() for entry in entry_points(group="bgnb.methods")]
    return {method.name: method for method in (*own, *others)}


def make_model(stack: Stack, method: str = "default") -> BackgroundModel:
    """Make a background model from a stack.

    Parameters
    ----------
    stack : `Stack`
        Counts and livetime.
    method : str
        Name of a method:

        ``default``
            Smooth counts and exposure plane by plane, and divide. Each plane with
            counts predicts as many as it holds. Planes without counts follow a power law
            through the nearest others, and bins that smoothing leaves empty get a small
            floor, so that every rate is above zero.
        ``michi``
            The energy axis starts at the lowest threshold in the group, and livetime is
            divided out before smoothing (Mayer 2015); otherwise as ``default``.
        ``spline``
            A smooth rate fitted to the counts, with its error, see `bgnb.cubes.spline`.
            Made from a stack alone it describes one pointing only; `make_bg_cube_models`
            fits it to all runs at once.
        ``unsmoothed``
            Counts over exposure, bin by bin: rate × livetime × bin volume = counts. For
            comparisons; its empty bins are zero.

    Returns
    -------
    BackgroundModel

    Raises
    ------
    BgnbError
        If there is no such method, or the stack has no counts.
    """
    found = find_method(method)
    if not stack.counts.any():
        advice = "no event of these runs lies inside the axes and above its run's energy threshold"
        raise BgnbError("no-counts", f"no counts: {advice}")
    return found.make(stack)
