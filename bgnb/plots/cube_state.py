"""State of views of cubes: groups, energies, position or region, and colours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Literal, Self, TypeAlias, TypeVar, get_args, get_origin, get_type_hints

import numpy as np
from astropy import units as u

from bgnb._util.arrays import Floats
from bgnb._util.checks import checked_choice, finite_number
from bgnb._util.errors import BgnbError, quoted
from bgnb.cubes.cube import CubeAxes
from bgnb.cubes.fov_region import FovRegion
from bgnb.cubes.model import BackgroundModel
from bgnb.plots.colours import Palette, Stretch
from bgnb.plots.labels import bin_label, energy_label

#: Energy; numbers are in TeV.
Energy: TypeAlias = float | str | u.Quantity
#: DETX and DETY, deg.
Position = tuple[float, float]
Positions = Sequence[Position]
Limits = Literal["this energy", "all energies"]
Draw = Literal["nothing", "circle", "annulus", "box"]


@dataclass(frozen=True, kw_only=True)
class CubeState:
    """Groups, energies, position or region, and colours.

    Energies and position are kept as given, independent of the bins of the group, so that they
    stay the same if another group is shown in between. Names may be given in any case, energies
    and positions as quantities.

    Parameters
    ----------
    group_id : int
        Group.
    others : tuple of int
        Further groups that are shown in graphs.
    energy : tuple of float
        Energies, TeV: all bins from that which contains the first to that which contains the
        second. One energy may be given for one bin.
    position : tuple of float
        DETX and DETY, deg.
    region : str
        Region that replaces the bin at the position, such as ``circle(0.5, 1, 0.3)``, see
        `~bgnb.cubes.fov_region.FovRegion`; empty for none.
    draw : {"nothing", "circle", "annulus", "box"}
        Region that dragging in an image draws.
    stretch, limits, percentile, low, high, palette
        Colours, see `bgnb.dashboards.explore_models`.

    Raises
    ------
    BgnbError
        If a value is invalid.
    """

    group_id: int
    others: tuple[int, ...] = ()
    energy: tuple[float, float] = (1.0, 1.0)
    position: Position = (0.0, 0.0)
    region: str = ""
    draw: Draw = "nothing"
    stretch: Stretch = "linear"
    limits: Limits = "this energy"
    percentile: float = 100.0
    low: float | None = None
    high: float | None = None
    palette: Palette = "viridis"

    def __post_init__(self) -> None:
        for name, choices in choices_of(type(self)).items():
            self._set(name, checked_choice(name, getattr(self, name), choices))
        self._set("energy", checked_energies(self.energy))
        self._set("percentile", finite_number("percentile", self.percentile))
        if not 0 < self.percentile <= 100:
            raise BgnbError("invalid-argument", f"percentile must be positive and at most 100, got {self.percentile}")
        self._set("position", _checked_position(self.position))
        if not isinstance(self.region, str | FovRegion):
            raise BgnbError("invalid-argument", f"region must be text such as circle(0.5, 1, 0.3), got {quoted(self.region)}")
        self._set("region", str(FovRegion.from_text(str(self.region))) if self.region else "")
        for name in ("low", "high"):
            limit = getattr(self, name)
            self._set(name, None if limit is None else finite_number("limits", limit))
        if self.low is not None and self.high is not None:
            check_limits(self.low, self.high, self.stretch)

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    @classmethod
    def from_arguments(cls, **values: Any) -> Self:
        """Make a state from values of any type, which are checked."""
        return cls(**values)

    @property
    def further(self) -> tuple[int, ...]:
        """Further groups that are shown, besides that of the image."""
        return tuple(other for other in self.others if other != self.group_id)


State = TypeVar("State", bound=CubeState)
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, eq=False)
class Shown(Generic[T]):
    """Model or comparison of a group, as a whole and at the energies of a state.

    Parameters
    ----------
    whole : `BackgroundModel` or `Comparison`
        All energies.
    part : `BackgroundModel` or `Comparison`
        The same in one energy bin, see ``in_energies``.
    """

    whole: T
    part: T


def choices_of(kind: type[CubeState]) -> dict[str, tuple[str, ...]]:
    """List the fields of a kind of state that have one of a few names, with these names."""
    return {name: get_args(hint) for name, hint in get_type_hints(kind).items() if get_origin(hint) is Literal}


def checked_energies(energy: Any) -> tuple[float, float]:
    """Return one energy, or a pair of energies in increasing order, as a pair in TeV.

    Raises
    ------
    BgnbError
        If they are no such energies.
    """
    pair = len(energy) == 2 if isinstance(energy, tuple | list) else np.shape(energy) == (2,)
    low, high = (finite_number("energy", each, "TeV") for each in (energy if pair else (energy, energy)))
    if not 0 < low <= high:
        given = f"{low:g} to {high:g}" if pair else f"{low:g}"
        raise BgnbError("invalid-argument", f"energy must be positive, or an increasing pair, got {given} TeV")
    return low, high


def _checked_position(position: Any) -> Position:
    try:
        x, y = position if isinstance(position, tuple | list | np.ndarray) else ()
    except (TypeError, ValueError):
        wanted = "position must be a pair of DETX and DETY in deg"
        raise BgnbError("invalid-argument", f"{wanted}, got {quoted(position)}") from None
    return finite_number("DETX", x, "deg"), finite_number("DETY", y, "deg")


def check_limits(low: float, high: float, stretch: Stretch) -> None:
    """Check limits of colours.

    Raises
    ------
    BgnbError
        If they do not increase, or cannot be shown with the stretch.
    """
    if stretch == "log" and not min(low, high) > 0:
        raise BgnbError("invalid-argument", f"low and high must be positive for stretch 'log', got {min(low, high):g}")
    if not low < high or high - low < 1e-6 * abs(high) or max(abs(low), abs(high)) > 1e100 or high - low < 1e-100:
        raise BgnbError("invalid-argument", f"low must be less than high by more than a millionth, got {low:g} and {high:g}")


def energy_bin(axes: CubeAxes, energy: float) -> int:
    """Find the energy bin that contains an energy (TeV), or the nearest one."""
    return axes.nearest_bin("energy", energy)


def energy_edges(axes: CubeAxes, energies: tuple[float, float]) -> tuple[int, int]:
    """Find the bins that contain a range of energies (TeV), as indices of their first and their last edge."""
    return energy_bin(axes, energies[0]), energy_bin(axes, energies[1]) + 1


def energies_of(axes: CubeAxes, first: int, last: int) -> tuple[float, float]:
    """Return energies in the first and in the last bin between two edges."""
    return energy_of(axes, first), energy_of(axes, last - 1)


def energy_bins(axes: CubeAxes, energies: Sequence[u.Quantity]) -> list[int]:
    """Find the energy bins that contain energies, without duplicates; energies outside the axis are ignored."""
    bins = {axes.bin_of("energy", energy.to_value("TeV")) for energy in energies}
    return sorted(number for number in bins if number is not None)


def default_energy(model: BackgroundModel) -> float:
    """Return the centre of the energy bin that is nearest to 1 TeV, of those in which the model is measured, TeV."""
    shown = np.flatnonzero(model.exposed & ~model.extrapolated)
    centres = model.axes.energy_centers.value[shown if shown.size else slice(None)]
    return float(centres[np.abs(np.log(centres)).argmin()])


def energy_of(axes: CubeAxes, where: int) -> float:
    """Return the centre of an energy bin, with as few digits as are needed to lie inside the bin."""
    low, high = axes.energy.value[where : where + 2]
    for digits in range(3, 17):
        value = float(f"{math.sqrt(low * high):.{digits}g}")
        if low <= value < high:
            return value
    return float(low)


def through_energies(axes: CubeAxes, state: State) -> dict[str, State]:
    """List a state for each energy bin, by label; and the state itself for the present one."""
    states = {energy_label(axes, n): replace(state, energy=energies_of(axes, n, n + 1)) for n in range(axes.shape[0])}
    first, last = energy_edges(axes, state.energy)
    return states | {energy_label(axes, first, last): state}


def pixel(axes: CubeAxes, position: Position) -> tuple[int, int]:
    """Find the bin, in DETY and DETX, that contains a position (DETX and DETY, deg), or the nearest one."""
    x, y = position
    return axes.nearest_bin("dety", y), axes.nearest_bin("detx", x)


def region_of(state: CubeState) -> FovRegion | None:
    """Return the region of a state; None for the bin at its position."""
    return FovRegion.from_text(state.region) if state.region else None


def centre_of(state: CubeState) -> Position:
    """Return the centre of the region of a state, or its position."""
    region = region_of(state)
    return (region.x, region.y) if region else state.position


def weights_of(axes: CubeAxes, state: CubeState) -> Floats:
    """Compute the solid angle of each bin that lies in the region of a state, or that of the bin at its position."""
    if region := region_of(state):
        return region.coverage(axes) * axes.solid_angle.value
    weights = np.zeros(axes.shape[1:])
    weights[pixel(axes, state.position)] = 1.0
    return weights


def place_label(axes: CubeAxes, state: CubeState) -> str:
    """Describe the region of a state, or the bin at its position."""
    return f"in {state.region}" if state.region else f"at {bin_label(axes, *pixel(axes, state.position))}"
