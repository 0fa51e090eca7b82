"""What the dashboards of cubes share: an energy, a position and colours, with their controls."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import ipywidgets as widgets
import numpy as np
from astropy import units as u

from bgnb.compare import Floats
from bgnb.cube import CubeAxes, to_value
from bgnb.dashboards.dashboard import Control, Dashboard, choice, number_box
from bgnb.dashboards.live import Action
from bgnb.dashboards.player import Player
from bgnb.errors import BgnbError
from bgnb.figures import energy_label
from bgnb.views.colours import Colours, Palette, Stretch, check_choice
from bgnb.views.view import Image

Limits = Literal["this energy", "all energies", "by hand"]


@dataclass(frozen=True)
class CubeState:
    """A group, an energy in TeV, a position in deg, and how values are coloured.

    Energy and position are those that were asked for, whatever the bins of the group are,
    so that they outlast a look at another group.
    """

    group_id: int
    energy: float = 1.0
    position: tuple[float, float] = (0.0, 0.0)
    stretch: Stretch = "linear"
    limits: Limits = "this energy"
    percentile: float = 100.0
    low: float | None = None
    high: float | None = None
    palette: Palette = "viridis"


class CubeDashboard(Dashboard):
    """A dashboard of cubes; what a kind of it shows is its own."""

    State = CubeState

    def axes_of(self, state: Any) -> CubeAxes:
        """The axes of what a state shows."""
        raise NotImplementedError

    def automatic_limits(self, state: Any) -> tuple[float, float]:
        """Limits of the colours that are not set by hand."""
        raise NotImplementedError

    def limits_of(self, state: Any) -> tuple[float, float]:
        """Values of the first and the last colour."""
        return (state.low, state.high) if state.limits == "by hand" else self.automatic_limits(state)

    def update(self, **changes: Any) -> None:
        if changes.get("low") is not None or changes.get("high") is not None:
            changes = {"limits": "by hand"} | changes
        super().update(**changes)

    def settle(self, state: Any) -> Any:
        for name, choices in (("stretch", Stretch), ("limits", Limits), ("palette", Palette)):
            check_choice(name, getattr(state, name), choices)
        energy, percentile = finite_number("energy", state.energy, "TeV"), finite_number("percentile", state.percentile, "")
        if not energy > 0:
            raise BgnbError(f"energy must be above 0 TeV, got {state.energy}")
        if not 0 < percentile <= 100:
            raise BgnbError(f"percentile must be above 0 and at most 100, got {state.percentile}")
        try:
            if not isinstance(state.position, tuple | list | np.ndarray):
                raise TypeError
            x, y = state.position
        except (TypeError, ValueError):
            raise BgnbError(f"position must be a pair of DETX and DETY in deg, got {state.position!r}") from None
        position = finite_number("DETX", x, "deg"), finite_number("DETY", y, "deg")
        state = replace(state, energy=energy, percentile=percentile, position=position)
        if state.limits != "by hand":
            return replace(state, low=None, high=None)
        automatic = self.automatic_limits(replace(state, limits="this energy"))
        given = (value if end is None else end for end, value in zip((state.low, state.high), automatic, strict=True))
        low, high = (finite_number("limits", value, "") for value in given)
        if not low < high or high - low < 1e-6 * abs(high) or max(abs(low), abs(high)) > 1e100 or high - low < 1e-100:
            raise BgnbError(f"the limits of the colours must increase, by more than a millionth, got {low:g} and {high:g}")
        if state.stretch == "log" and not low > 0:
            raise BgnbError(f"a logarithm needs limits above 0, got {low:g}; choose another stretch first")
        return replace(state, low=low, high=high)

    def act(self, action: Action) -> None:
        if action["kind"] != "tap" or action["x"] is None or action["y"] is None:
            return
        axes = self.axes_of(self.state)
        if isinstance(self.view.panels[action["panel"]], Image):
            self.update(position=_inside(axes, action["x"], action["y"]))
        elif action["panel"] in self.with_energy and action["x"] > 0:
            where = energy_bin(axes, replace(self.state, energy=action["x"]))
            self.update(energy=_rounded(axes, where))

    #: Graphs over energy, in which a tap chooses one.
    with_energy: tuple[str, ...] = ("spectrum",)

    def frames(self) -> list[tuple[str, Any]]:
        axes = self.axes_of(self.state)
        states = [replace(self.state, energy=_rounded(axes, where)) for where in range(axes.shape[0])]
        states[energy_bin(axes, self.state)] = self.state
        return [(energy_label(axes, where), state) for where, state in enumerate(states)]

    def controls(self) -> dict[str, Control]:
        slider = widgets.IntSlider(description="energy", readout=False, style={"description_width": "initial"})
        slider.add_class("bgnb-energy")

        def bins(state: Any) -> dict[str, Any]:
            axes = self.axes_of(state)
            return {"max": axes.shape[0] - 1, "value": energy_bin(axes, state)}

        def go_to(where: int) -> dict[str, Any]:
            return {"energy": _rounded(self.axes_of(self.state), where)}

        def energy(state: Any) -> dict[str, Any]:
            return {"value": _rounded(self.axes_of(state), energy_bin(self.axes_of(state), state))}

        def coordinate(number: int, name: str) -> Control:
            def show(state: Any) -> dict[str, Any]:
                axes = self.axes_of(state)
                centre = (axes.detx_centers, axes.dety_centers)[number][pixel(axes, state)[1 - number]]
                return {"value": round(float(centre.value), 3)}

            def change(value: float) -> dict[str, Any]:
                x, y = self.state.position
                return {"position": _inside(self.axes_of(self.state), *((value, y) if number == 0 else (x, value)))}

            return number_box(name, show, change)

        def limit(number: int, name: str) -> Control:
            def show(state: Any) -> dict[str, Any]:
                return {"value": float(f"{self.limits_of(state)[number]:.4g}")}

            def change(value: float) -> dict[str, Any]:
                low, high = self.limits_of(self.state)
                return {"low": value, "high": high} if number == 0 else {"low": low, "high": value}

            return number_box(name, show, change)

        return {
            "bin": Control(slider, bins, go_to),
            "play": Control(Player(self._next_energy), lambda _: {}),
            "energy": number_box("energy / TeV", energy, lambda value: {"energy": value}),
            "detx": coordinate(0, "DETX / deg"),
            "dety": coordinate(1, "DETY / deg"),
            "stretch": choice("stretch", "stretch", ["linear", "log", "sqrt"]),
            "limits": choice("limits", "colours from", ["this energy", "all energies", "by hand"]),
            "percentile": number_box(
                "% of values",
                lambda state: {"value": state.percentile, "disabled": state.limits == "by hand"},
                lambda value: {"percentile": value},
            ),
            "low": limit(0, "lowest"),
            "high": limit(1, "highest"),
            "palette": choice("palette", "palette", ["viridis", "cividis"]),
        }

    def _next_energy(self) -> None:
        axes = self.axes_of(self.state)
        self.update(energy=_rounded(axes, (energy_bin(axes, self.state) + 1) % axes.shape[0]))

    def energy_controls(self) -> list[Any]:
        """The widgets that choose an energy."""
        return [self._controls[name].widget for name in ("bin", "play", "energy")]

    def position_controls(self) -> list[Any]:
        """The widgets that choose a position."""
        return [self._controls[name].widget for name in ("detx", "dety")]

    def colour_controls(self) -> list[Any]:
        """The widgets that choose the colours."""
        return [self._controls[name].widget for name in ("stretch", "limits", "percentile", "low", "high", "palette")]

    def lines(self, function: str, arguments: list[str], default: Any) -> str:
        """The lines of `python`: a call with all that differs from the default."""
        arguments = list(arguments)
        for field in dataclasses.fields(self.state):
            value = getattr(self.state, field.name)
            if value != getattr(default, field.name) and not (field.name == "limits" and value == "by hand"):
                arguments.append(f"{field.name}={value!r}")
        return f"import bgnb\n\nbgnb.dashboards.{function}({', '.join(arguments)})"


def energy_bin(axes: CubeAxes, state: Any) -> int:
    """The energy bin that holds the energy of a state, or the nearest."""
    return int(np.clip(np.searchsorted(axes.energy.value, state.energy, side="right") - 1, 0, axes.shape[0] - 1))


def pixel(axes: CubeAxes, state: Any) -> tuple[int, int]:
    """Numbers in DETY and DETX of the bin that holds the position of a state, or the nearest."""
    x, y = state.position
    numbers = [
        int(np.clip(np.searchsorted(edges.value, value, side="right") - 1, 0, len(edges) - 2))
        for edges, value in ((axes.dety, y), (axes.detx, x))
    ]
    return numbers[0], numbers[1]


def place_of(axes: CubeAxes, iy: int, ix: int) -> str:
    """The centre of a bin in words."""
    return f"DETX {axes.detx_centers[ix].value:.2f}°, DETY {axes.dety_centers[iy].value:.2f}°"


def image_of(axes: CubeAxes, state: Any, values: Floats, title: str, unit: str, colours: Colours) -> Image:
    """Values in the field of view, with the position marked."""
    iy, ix = pixel(axes, state)
    x, y = axes.detx.value, axes.dety.value
    outline = (float(x[ix]), float(x[ix + 1]), float(y[iy]), float(y[iy + 1]))
    return Image(title, "DETX / deg", "DETY / deg", unit, values, x, y, colours, outline)


def _rounded(axes: CubeAxes, where: int) -> float:
    """The centre of an energy bin, with as few digits as keep it inside the bin."""
    low, high = axes.energy.value[where : where + 2]
    for digits in range(3, 17):
        value = float(f"{math.sqrt(low * high):.{digits}g}")
        if low <= value < high:
            return value
    return float(low)


def _inside(axes: CubeAxes, x: float, y: float) -> tuple[float, float]:
    """A position with three digits behind the point, moved into the field of view if it lies outside."""
    ends = ((axes.detx.value[0], axes.detx.value[-1]), (axes.dety.value[0], axes.dety.value[-1]))
    x, y = (round(float(np.clip(value, *limits)), 3) for value, limits in zip((x, y), ends, strict=True))
    return x, y


def finite_number(name: str, value: Any, unit: str) -> float:
    """A finite number, or a value with a unit."""
    if isinstance(value, str | u.Quantity) and unit:
        return to_value(name, value, unit)
    try:
        plain = float("nan" if isinstance(value, bool | str) else value)
    except (TypeError, ValueError, OverflowError):
        plain = math.nan
    if not math.isfinite(plain):
        raise BgnbError(f"{name} must be a finite number{unit and f' ({unit})'}, got {value!r}")
    return plain
