"""What the dashboards of cubes share: an energy, a position and colours, with their controls."""

from __future__ import annotations

import dataclasses
from typing import Any

import ipywidgets as widgets
import numpy as np

from bgnb.cubes.cube import CubeAxes
from bgnb.dashboards.dashboard import Control, Dashboard, choice, number_box
from bgnb.dashboards.live import Action
from bgnb.dashboards.player import Player
from bgnb.plots.cube_views import CubeState, energy_bin, energy_of, pixel, through_energies, with_limits
from bgnb.plots.view import Image


class CubeDashboard(Dashboard):
    """A dashboard of cubes; what a kind of it shows is its own."""

    State = CubeState

    def axes_of(self, state: Any) -> CubeAxes:
        """The axes of what a state shows."""
        raise NotImplementedError

    #: A panel in the colours whose limits the controls show.
    coloured: str

    def automatic_limits(self, state: Any) -> tuple[float, float]:
        """Limits of the colours that are not set by hand."""
        raise NotImplementedError

    def limits_of(self, state: Any) -> tuple[float, float]:
        """Values of the first and the last colour."""
        return self.colours_of(state, self.coloured)

    def colours_of(self, state: Any, panel: str) -> tuple[float, float]:
        """Values of the first and the last colour of an image."""
        image = self._view_of(state).panels[panel]
        assert isinstance(image, Image)
        return image.colours.low, image.colours.high

    def update(self, **changes: Any) -> bool:
        if changes.get("low") is not None or changes.get("high") is not None:
            changes = {"limits": "by hand"} | changes
        return super().update(**changes)

    def settle(self, state: Any) -> Any:
        return with_limits(state, self.automatic_limits)

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
