"""Controls that the dashboards of one model and of two models share: energy, position and colours."""

from __future__ import annotations

import dataclasses
from typing import Any

import ipywidgets as widgets
import numpy as np

from bgnb.cubes.cube import CubeAxes
from bgnb.dashboards.dashboard import Control, Dashboard, menu, number_box
from bgnb.dashboards.live_figures import Action
from bgnb.dashboards.play_button import PlayButton
from bgnb.plots.cube_state import CubeState, choices_of, complete_limits, energy_bin, energy_of, through_energies
from bgnb.plots.view import Image

_LABELS = {"quantity": "show", "show": "compare by", "limits": "colours from"}
_RADIO_BUTTONS = ("quantity", "show")


class CubeDashboard(Dashboard):
    """A dashboard of models.

    Parameters
    ----------
    state : `CubeState`
        First state.
    groups : mapping of int to str
        Labels of the groups.
    arguments : list of str
        Python code of the first arguments of the function that makes the dashboard.
    """

    State = CubeState
    #: Function that makes the dashboard.
    function: str
    #: Image whose colour limits the controls show.
    coloured: str
    #: Graphs against energy, in which a tap selects the energy.
    energy_panels: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...] = (
        ("bin", "play", "energy", "detx", "dety"),
        ("stretch", "limits", "percentile", "low", "high", "palette"),
    )

    def __init__(self, state: CubeState, groups: dict[int, str], arguments: list[str]) -> None:
        self._groups, self._arguments = groups, arguments
        super().__init__(state)

    def axes_of(self, state: Any) -> CubeAxes:
        """Return the axes of the cubes of a state."""
        raise NotImplementedError

    @property
    def axes(self) -> CubeAxes:
        """Axes of the cubes of the present state."""
        return self.axes_of(self.state)

    def automatic_limits(self, state: Any) -> tuple[float, float]:
        """Choose limits of the colours that are not set by hand."""
        raise NotImplementedError

    def colour_limits(self, state: Any) -> tuple[float, float]:
        """Return the values of the first and the last colour of a complete state."""
        return self.automatic_limits(state) if state.low is None else (state.low, state.high)

    def shown_limits(self, panel: str = "") -> tuple[float, float]:
        """Return the values of the first and the last colour of an image of the present view."""
        image = self.view.panels[panel or self.coloured]
        assert isinstance(image, Image)
        return image.colours.low, image.colours.high

    def update(self, **changes: Any) -> bool:
        if changes.get("low") is not None or changes.get("high") is not None:
            changes = {"limits": "by hand"} | changes
        return super().update(**changes)

    def settle(self, state: Any) -> Any:
        return complete_limits(state, self.automatic_limits)

    def act(self, action: Action) -> None:
        if action["kind"] != "tap" or action["x"] is None or action["y"] is None:
            return
        if isinstance(self.view.panels[action["panel"]], Image):
            self.update(position=self._inside(action["x"], action["y"]))
        elif action["panel"] in self.energy_panels and action["x"] > 0:
            self.update(energy=self._energy(self._bin(action["x"])))

    def frames(self) -> list[tuple[str, Any]]:
        return through_energies(self.axes, self.state)

    def _bin(self, energy: float) -> int:
        return energy_bin(self.axes, energy)

    def _energy(self, where: int) -> float:
        return energy_of(self.axes, where)

    def _step(self) -> None:
        self.update(energy=self._energy((self._bin(self.energy) + 1) % self.axes.shape[0]))

    def _inside(self, x: float, y: float) -> tuple[float, float]:
        """Round a position to three digits after the point, and move it into the field of view."""
        edges = self.axes.detx.value, self.axes.dety.value
        x, y = (round(float(np.clip(value, ends[0], ends[-1])), 3) for value, ends in zip((x, y), edges, strict=True))
        return x, y

    def controls(self) -> dict[str, Control]:
        slider = widgets.IntSlider(description="energy", readout=False, style={"description_width": "initial"})
        slider.add_class("bgnb-energy")

        def show_bin(state: Any) -> dict[str, Any]:
            return {"max": self.axes.shape[0] - 1, "value": self._bin(state.energy)}

        def coordinate(i: int, name: Any) -> Control:
            def show(state: Any) -> dict[str, Any]:
                centre = getattr(self.axes, f"{name}_centers")[self.axes.nearest_bin(name, state.position[i])]
                return {"value": round(float(centre.value), 3)}

            def change(value: float) -> dict[str, Any]:
                x, y = self.position
                return {"position": self._inside(x, value) if i else self._inside(value, y)}

            return number_box(f"{name.upper()} / deg", show, change)

        def limit(i: int, label: str) -> Control:
            def change(value: float) -> dict[str, Any]:
                low, high = self.shown_limits()
                return {"low": low, "high": value} if i else {"low": value, "high": high}

            return number_box(label, lambda _: {"value": float(f"{self.shown_limits()[i]:.4g}")}, change)

        menus = {
            name: menu(name, _LABELS.get(name, name), choices, radio=name in _RADIO_BUTTONS)
            for name, choices in choices_of(self.State).items()
        }
        return {
            "group_id": menu("group_id", "group", [(label, group_id) for group_id, label in self._groups.items()]),
            "bin": Control(widget=slider, show=show_bin, change=lambda where: {"energy": self._energy(where)}),
            "play": Control(widget=PlayButton(self._step), show=lambda _: {}),
            "energy": number_box(
                "energy / TeV", lambda state: {"value": self._energy(self._bin(state.energy))}, lambda value: {"energy": value}
            ),
            "detx": coordinate(0, "detx"),
            "dety": coordinate(1, "dety"),
            **menus,
            "percentile": number_box(
                "% of values",
                lambda state: {"value": state.percentile, "disabled": state.limits == "by hand"},
                lambda value: {"percentile": value},
            ),
            "low": limit(0, "minimum"),
            "high": limit(1, "maximum"),
        }

    @property
    def python(self) -> str:
        arguments = list(self._arguments)
        for field in dataclasses.fields(self.state):
            value = getattr(self.state, field.name)
            if value != field.default and (field.name, value) != ("limits", "by hand"):
                arguments.append(f"{field.name}={value!r}")
        return f"import bgnb\n\nbgnb.dashboards.{self.function}({', '.join(arguments)})"
