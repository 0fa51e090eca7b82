"""What views of cubes share: a group, an energy, a position and colours."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import numpy as np

from bgnb._util.arrays import Floats
from bgnb._util.checks import checked_choice, finite_number
from bgnb._util.errors import BgnbError
from bgnb.cubes.cube import CubeAxes
from bgnb.cubes.model import BackgroundModel
from bgnb.cubes.profiles import Spectrum
from bgnb.plots.colours import LINES, Colours, Palette, Stretch
from bgnb.plots.labels import Position, energy_label, hidden, index_label
from bgnb.plots.view import Graph, Image, Legend, Series, Style, span

Limits = Literal["this energy", "all energies", "by hand"]


@dataclass(frozen=True)
class CubeState:
    """A group, an energy in TeV, a position in deg, and how values are coloured.

    Energy and position are those that were asked for, whatever the bins of the group are,
    so that they outlast a look at another group. Limits ``low`` and ``high`` are set by hand,
    or None: that of the image. Names may be given in any case, energies and positions as
    quantities.

    Raises
    ------
    BgnbError
        Where a value cannot be used.
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
        for name, choices in _choices(type(self)).items():
            self._set(name, checked_choice(name, getattr(self, name), choices))
        self._set("energy", finite_number("energy", self.energy, "TeV"))
        if not self.energy > 0:
            raise BgnbError(f"energy must be above 0 TeV, got {self.energy}")
        self._set("percentile", finite_number("percentile", self.percentile))
        if not 0 < self.percentile <= 100:
            raise BgnbError(f"percentile must be above 0 and at most 100, got {self.percentile}")
        self._set("position", _position(self.position))
        for name in ("low", "high"):
            end = getattr(self, name) if self.limits == "by hand" else None
            self._set(name, None if end is None else finite_number("limits", end))
        if self.low is not None and self.high is not None:
            _check_limits(self.low, self.high, self.stretch)

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)


State = TypeVar("State", bound=CubeState)


def with_limits(state: State, automatic: Callable[[State], tuple[float, float]]) -> State:
    """The state with both limits where they are set by hand; one that is not given is the automatic one of the image."""
    if state.limits != "by hand" or (state.low is not None and state.high is not None):
        return state
    low, high = automatic(replace(state, limits="this energy"))
    return replace(state, low=low if state.low is None else state.low, high=high if state.high is None else state.high)


def shown_limits(state: State, automatic: Callable[[State], tuple[float, float]]) -> tuple[float, float]:
    """Values of the first and the last colour."""
    state = with_limits(state, automatic)
    return automatic(state) if state.low is None or state.high is None else (state.low, state.high)


def _choices(kind: type[CubeState]) -> dict[str, tuple[str, ...]]:
    """The fields of a kind of state that hold one of a few names, and these names."""
    return {name: get_args(hint) for name, hint in get_type_hints(kind).items() if get_origin(hint) is Literal}


def _position(position: Any) -> Position:
    try:
        if not isinstance(position, tuple | list | np.ndarray):
            raise TypeError
        x, y = position
    except (TypeError, ValueError):
        raise BgnbError(f"position must be a pair of DETX and DETY in deg, got {position!r}") from None
    return finite_number("DETX", x, "deg"), finite_number("DETY", y, "deg")


def _check_limits(low: float, high: float, stretch: Stretch) -> None:
    if not low < high or high - low < 1e-6 * abs(high) or max(abs(low), abs(high)) > 1e100 or high - low < 1e-100:
        raise BgnbError(f"the limits of the colours must increase, by more than a millionth, got {low:g} and {high:g}")
    if stretch == "log" and not low > 0:
        raise BgnbError(f"a logarithm needs limits above 0, got {low:g}; choose another stretch first")


def energy_bin(axes: CubeAxes, energy: float) -> int:
    """The energy bin that holds an energy (TeV), or the nearest."""
    return axes.nearest_bin("energy", energy)


def pixel(axes: CubeAxes, position: Position) -> tuple[int, int]:
    """Numbers in DETY and DETX of the bin that holds a position (DETX and DETY, deg), or the nearest."""
    x, y = position
    return axes.nearest_bin("dety", y), axes.nearest_bin("detx", x)


def place_of(axes: CubeAxes, iy: int, ix: int) -> str:
    """The centre of a bin in words."""
    return f"DETX {axes.detx_centers[ix].value:.2f}°, DETY {axes.dety_centers[iy].value:.2f}°"


def image_of(
    axes: CubeAxes, pixels: Sequence[tuple[int, int]], values: Floats, title: str, unit: str, colours: Colours
) -> Image:
    """Values in the field of view, with bins marked."""
    x, y = axes.detx.value, axes.dety.value
    outlines = tuple((float(x[ix]), float(x[ix + 1]), float(y[iy]), float(y[iy + 1])) for iy, ix in pixels)
    return Image(title, "DETX / deg", "DETY / deg", unit, values, x, y, colours, outlines)


def rate_series(
    model: BackgroundModel, line: Spectrum, name: str, colour: str = LINES[0], style: Style = "line"
) -> tuple[Series, Series]:
    """A spectrum of a model: all of it as a thin line, and with its errors and index where it was measured."""
    rate = hidden(line.rate)
    measured = np.where(model.extrapolated, np.nan, rate)
    errors = measured - line.error, measured + line.error
    name = f"{name}, {index_label(line)}"
    return (
        Series("", line.energy, rate, "outline", colour),
        Series(name, line.energy, measured, style, colour, *errors, model.axes.energy.value),
    )


def energy_graph(
    edges: Floats,
    title: str,
    y_label: str,
    series: Sequence[Series],
    where: int | None = None,
    y_range: tuple[float, float] | None = None,
    legend: Legend = "inside",
) -> Graph:
    """A graph over energy, with an energy bin marked; logarithmic, unless the range of its values is given."""
    band = None if where is None else (float(edges[where]), float(edges[where + 1]))
    ranges = (float(edges[0]), float(edges[-1])), y_range or span(*(each.y for each in series), log=True)
    words = title, "energy / TeV", y_label
    return Graph(*words, tuple(series), *ranges, x_log=True, y_log=y_range is None, band=band, legend=legend)


def through_energies(axes: CubeAxes, state: State) -> list[tuple[str, State]]:
    """For each energy bin its name and a state that shows it; that of the present one is the state itself."""
    states = [replace(state, energy=energy_of(axes, where)) for where in range(axes.shape[0])]
    states[energy_bin(axes, state.energy)] = state
    return [(energy_label(axes, where), state) for where, state in enumerate(states)]


def energy_of(axes: CubeAxes, where: int) -> float:
    """The centre of an energy bin, with as few digits as keep it inside the bin."""
    low, high = axes.energy.value[where : where + 2]
    for digits in range(3, 17):
        value = float(f"{math.sqrt(low * high):.{digits}g}")
        if low <= value < high:
            return value
    return float(low)
