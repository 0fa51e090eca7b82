"""State of views of cubes: group, energy, position and colours."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self, TypeVar, get_args, get_origin, get_type_hints

import numpy as np
from astropy import units as u

from bgnb._util.checks import checked_choice, finite_number
from bgnb._util.errors import BgnbError
from bgnb.cubes.cube import CubeAxes
from bgnb.plots.colours import Palette, Stretch
from bgnb.plots.labels import energy_label

#: DETX and DETY, deg.
Position = tuple[float, float]
Positions = Sequence[Position]
Limits = Literal["this energy", "all energies", "by hand"]


@dataclass(frozen=True, kw_only=True)
class CubeState:
    """Group, energy, position and colours.

    Energy and position are kept as given, independent of the bins of the group, so that they
    stay the same if another group is shown in between. ``low`` and ``high`` are limits set
    by hand; None is the limit of the image. Names may be given in any case, energies and
    positions as quantities.

    Parameters
    ----------
    group_id : int
        Group.
    energy : float
        Energy, TeV.
    position : tuple of float
        DETX and DETY, deg.
    stretch, limits, percentile, low, high, palette
        Colours, see `bgnb.dashboards.explore_models`.

    Raises
    ------
    BgnbError
        If a value is invalid.
    """

    group_id: int
    energy: float = 1.0
    position: Position = (0.0, 0.0)
    stretch: Stretch = "linear"
    limits: Limits = "this energy"
    percentile: float = 100.0
    low: float | None = None
    high: float | None = None
    palette: Palette = "viridis"

    def __post_init__(self) -> None:
        for name, choices in choices_of(type(self)).items():
            self._set(name, checked_choice(name, getattr(self, name), choices))
        self._set("energy", finite_number("energy", self.energy, "TeV"))
        if not self.energy > 0:
            raise BgnbError("invalid-argument", f"energy must be positive, got {self.energy} TeV")
        self._set("percentile", finite_number("percentile", self.percentile))
        if not 0 < self.percentile <= 100:
            raise BgnbError("invalid-argument", f"percentile must be positive and at most 100, got {self.percentile}")
        self._set("position", _checked_position(self.position))
        for name in ("low", "high"):
            limit = getattr(self, name) if self.limits == "by hand" else None
            self._set(name, None if limit is None else finite_number("limits", limit))
        if self.low is not None and self.high is not None:
            _check_limits(self.low, self.high, self.stretch)

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    @classmethod
    def from_arguments(cls, **values: Any) -> Self:
        """Make a state from arguments of a function; limits are by hand if one is given."""
        by_hand = values["low"] is not None or values["high"] is not None
        return cls(**values | ({"limits": "by hand"} if by_hand else {}))


State = TypeVar("State", bound=CubeState)


def complete_limits(state: State, automatic: Callable[[State], tuple[float, float]]) -> State:
    """Replace a missing limit by the automatic one of the image if limits are set by hand."""
    if state.limits != "by hand" or (state.low is not None and state.high is not None):
        return state
    low, high = automatic(replace(state, limits="this energy"))
    return replace(state, low=low if state.low is None else state.low, high=high if state.high is None else state.high)


def choices_of(kind: type[CubeState]) -> dict[str, tuple[str, ...]]:
    """List the fields of a kind of state that have one of a few names, with these names."""
    return {name: get_args(hint) for name, hint in get_type_hints(kind).items() if get_origin(hint) is Literal}


def _checked_position(position: Any) -> Position:
    try:
        x, y = position if isinstance(position, tuple | list | np.ndarray) else ()
    except (TypeError, ValueError):
        raise BgnbError("invalid-argument", f"position must be a pair of DETX and DETY in deg, got {position!r}") from None
    return finite_number("DETX", x, "deg"), finite_number("DETY", y, "deg")


def _check_limits(low: float, high: float, stretch: Stretch) -> None:
    if not low < high or high - low < 1e-6 * abs(high) or max(abs(low), abs(high)) > 1e100 or high - low < 1e-100:
        raise BgnbError("invalid-argument", f"low must be less than high by more than a millionth, got {low:g} and {high:g}")
    if stretch == "log" and not low > 0:
        raise BgnbError("invalid-argument", f"low must be positive for stretch 'log', got {low:g}")


def energy_bin(axes: CubeAxes, energy: float) -> int:
    """Find the energy bin that contains an energy (TeV), or the nearest one."""
    return axes.nearest_bin("energy", energy)


def energy_bins(axes: CubeAxes, energies: Sequence[u.Quantity]) -> list[int]:
    """Find the energy bins that contain energies, without duplicates; energies outside the axis are ignored."""
    bins = {axes.bin_of("energy", energy.to_value("TeV")) for energy in energies}
    return sorted(number for number in bins if number is not None)


def energy_of(axes: CubeAxes, where: int) -> float:
    """Return the centre of an energy bin, with as few digits as are needed to lie inside the bin."""
    low, high = axes.energy.value[where : where + 2]
    for digits in range(3, 17):
        value = float(f"{math.sqrt(low * high):.{digits}g}")
        if low <= value < high:
            return value
    return float(low)


def through_energies(axes: CubeAxes, state: State) -> list[tuple[str, State]]:
    """List a label and a state for each energy bin; for the present one, the state itself."""
    states = [replace(state, energy=energy_of(axes, where)) for where in range(axes.shape[0])]
    states[energy_bin(axes, state.energy)] = state
    return [(energy_label(axes, where), state) for where, state in enumerate(states)]


def pixel(axes: CubeAxes, position: Position) -> tuple[int, int]:
    """Find the bin, in DETY and DETX, that contains a position (DETX and DETY, deg), or the nearest one."""
    x, y = position
    return axes.nearest_bin("dety", y), axes.nearest_bin("detx", x)
