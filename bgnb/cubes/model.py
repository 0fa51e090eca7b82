"""Background models: a rate, and the stack from which it was made."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from astropy import units as u

from bgnb._util.arrays import Bools
from bgnb._util.checks import check_type
from bgnb._util.errors import BgnbError
from bgnb.cubes.camera import CameraEdge
from bgnb.cubes.cube import Cube, CubeAxes, checked_rate
from bgnb.cubes.method import find_method, methods
from bgnb.cubes.stack import Stack


@dataclass(frozen=True, eq=False)
class BackgroundModel:
    """A background rate, and the stack from which it was made.

    Parameters
    ----------
    rate : `Cube`
        Background events per energy, solid angle and *livetime*, in MeV-1 s-1 sr-1.
    stack : `Stack`
        Counts and livetime on the same axes; see ``exposed`` and ``extrapolated`` for bins
        without them.
    method : str
        Name of the method.
    error : `Cube`, optional
        Statistical error of the rate, in the same unit; errors of neighbouring bins are
        correlated.
    live_fraction : float, optional
        Livetime divided by ontime, by which files convert the rate to one per ontime. Needed
        only for the true model of a simulation; otherwise that of the stack is used.
    edge : `~bgnb.cubes.camera.CameraEdge`, optional
        Edge of the camera at which the rate ends, if the method found one.

    Raises
    ------
    BgnbError
        If rate, error and stack have different axes, or a unit is not a unit of a rate.

    Examples
    --------
    >>> import bgnb
    >>> model = bgnb.read_group_model("models", 27)
    >>> (model.rate.quantity * model.axes.bin_volume).sum().to("Hz").round()
    <Quantity 3. Hz>
    >>> model.energy_range
    <Quantity [ 0.1, 80. ] TeV>
    """

    rate: Cube
    stack: Stack
    method: str
    error: Cube | None = None
    live_fraction: float | None = None
    edge: CameraEdge | None = None

    def __post_init__(self) -> None:
        check_type("stack", self.stack, Stack)
        object.__setattr__(self, "rate", checked_rate("rate", self.rate))
        if self.error is not None:
            object.__setattr__(self, "error", checked_rate("error", self.error))
        if self.rate.axes != self.stack.axes or (self.error is not None and self.error.axes != self.rate.axes):
            axes = f"{self.rate.axes!r} and {self.stack.axes!r}"
            raise BgnbError("axes-mismatch", f"rate, error and stack of a model need the same axes, got {axes}")
        if self.stack.runs:
            object.__setattr__(self, "live_fraction", self.stack.live_fraction)

    @property
    def axes(self) -> CubeAxes:
        """Axes of the rate."""
        return self.rate.axes

    @property
    def is_true(self) -> bool:
        """True for the true model of a simulation, which has neither runs nor counts nor errors."""
        return not self.stack.runs

    @property
    def is_simulated(self) -> bool:
        """True for a model of simulated runs, and for a true model."""
        return all(run.simulated for run in self.stack.runs)

    @property
    def exposed(self) -> Bools:
        """Mask of the energy planes with livetime, shape (energy,); true for all planes of a true model."""
        return np.asarray(self.stack.livetime_us.any(axis=(1, 2))) | self.is_true

    @property
    def energy_range(self) -> u.Quantity:
        """Minimum and maximum energy with livetime, in TeV; those of the axis for a true model."""
        planes = np.flatnonzero(self.exposed) if self.exposed.any() else np.array([0, self.axes.shape[0] - 1])
        return self.axes.energy[[planes[0], planes[-1] + 1]]

    @property
    def extrapolated(self) -> Bools:
        """Mask of the energy planes with extrapolated rates, shape (energy,); see `Method.extrapolated`."""
        if self.is_true:
            return np.zeros(self.axes.shape[0], dtype=bool)
        known = methods().get(self.method)
        return ~self.exposed if known is None else known.extrapolated(self.stack)

    def __repr__(self) -> str:
        return f"BackgroundModel(method: {self.method}, {self.stack!r})"


def make_model(stack: Stack, method: str = "spline") -> BackgroundModel:
    """Make a background model from a stack.

    Parameters
    ----------
    stack : `Stack`
        Counts and livetime.
    method : str
        Name of a method:

        ``spline``
            A smooth rate fitted to the counts, see `bgnb.cubes.spline`. From a stack alone it
            describes one pointing only; `make_bg_cube_models` fits it to all runs at once.
        ``classic``
            Smooth counts and exposure plane by plane, relative to a radially symmetric fit,
            and divide (``default`` in Gammapy's former command).
        ``michi``
            Divide counts by livetime before smoothing (Mayer 2015); otherwise as ``classic``.
            The two differ only where the livetime varies over the field of view.
        ``unsmoothed``
            Divide counts by exposure, bin by bin: rate × livetime × bin volume = counts. For
            comparisons; the rate of empty bins is zero.

    Returns
    -------
    BackgroundModel

    Raises
    ------
    BgnbError
        If there is no such method, or the stack has no counts.

    Examples
    --------
    >>> import bgnb
    >>> runs = bgnb.open_runs("runs", "GADF")
    >>> events = (bgnb.read_event_list(runs.files(obs_id)) for obs_id in runs.obs_ids)
    >>> stack = bgnb.stack_runs(events, bgnb.CubeAxes.regular(n_energy=10, n_fov=10))
    >>> model = bgnb.make_model(stack, "classic")
    >>> model.rate.quantity.shape
    (10, 10, 10)
    >>> model.rate.quantity.unit
    Unit("1 / (MeV s sr)")
    """
    found = find_method(method)
    check_type("stack", stack, Stack)
    if not stack.counts.any():
        advice = "no event lies inside the axes, above the energy threshold of its run and outside exclusion regions"
        raise BgnbError("no-counts", f"no counts: {advice}")
    return found.make(stack)
