"""What the dashboards of cubes share: an energy, a position and colours, with their controls."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import replace
from typing import Any, get_args

import ipywidgets as widgets
import numpy as np
from astropy import units as u

from bgnb.arguments import checked_choice, to_value
from bgnb.cube import CubeAxes
from bgnb.dashboards.dashboard import Control, Dashboard, choice, number_box
from bgnb.dashboards.live import Action
from bgnb.dashboards.player import Player
from bgnb.errors import BgnbError
from bgnb.views.colours import Palette, Stretch
from bgnb.views.cubes import CubeState, Limits, energy_bin, energy_of, pixel, through_energies
from bgnb.views.view import Image


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
        state = with_choices(state, stretch=Stretch, limits=Limits, palette=Palette)
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
            where = energy_bin(axes, action["x"])
            self.update(energy=energy_of(axes, where))

    #: Graphs over energy, in which a tap chooses one.
    with_energy: tuple[str, ...] = ("spectrum",)

    def frames(self) -> list[tuple[str, Any]]:
        return through_energies(self.axes_of(self.state), self.state)

    def controls(self) -> dict[str, Control]:
        slider = widgets.IntSlider(description="energy", readout=False, style={"description_width": "initial"})
        slider.add_class("bgnb-energy")

        def bins(state: Any) -> dict[str, Any]:
            axes = self.axes_of(state)
            return {"max": axes.shape[0] - 1, "value": energy_bin(axes, state.energy)}

        def go_to(where: int) -> dict[str, Any]:
            return {"energy": energy_of(self.axes_of(self.state), where)}

        def energy(state: Any) -> dict[str, Any]:
            return {"value": energy_of(self.axes_of(state), energy_bin(self.axes_of(state), state.energy))}

        def coordinate(number: int, name: str) -> Control:
            def show(state: Any) -> dict[str, Any]:
                axes = self.axes_of(state)
                centre = (axes.detx_centers, axes.dety_centers)[number][pixel(axes, state.position)[1 - number]]
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
        self.update(energy=energy_of(axes, (energy_bin(axes, self.state.energy) + 1) % axes.shape[0]))

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


def _inside(axes: CubeAxes, x: float, y: float) -> tuple[float, float]:
    """A position with three digits behind the point, moved into the field of view if it lies outside."""
    ends = ((axes.detx.value[0], axes.detx.value[-1]), (axes.dety.value[0], axes.dety.value[-1]))
    x, y = (round(float(np.clip(value, *limits)), 3) for value, limits in zip((x, y), ends, strict=True))
    return x, y


def with_choices(state: Any, **choices: Any) -> Any:
    """The state, with some fields checked to be one of the names in a ``Literal``, and spelled like these."""
    spelled = {name: checked_choice(name, getattr(state, name), get_args(names)) for name, names in choices.items()}
    return replace(state, **spelled)


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
