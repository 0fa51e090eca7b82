"""Controls that the dashboards of one model and of two models share: energies, position or region, and colours."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import ipywidgets as widgets
import numpy as np

from bgnb._util.checks import numbers_in
from bgnb._util.errors import BgnbError, quoted
from bgnb.cubes.cube import CubeAxes
from bgnb.dashboards.controls import Control, button, menu, number_box, text_box
from bgnb.dashboards.dashboard import Dashboard, Resets
from bgnb.dashboards.live_figures import Action
from bgnb.dashboards.play_button import PlayButton
from bgnb.files.model_directory import checked_group
from bgnb.plots.cube_state import CubeState, check_limits, choices_of, energies_of, energy_bin, energy_edges, through_energies
from bgnb.plots.labels import energy_label
from bgnb.plots.view import Image

_LABELS = {"quantity": "show", "limits": "limits of", "draw": "dragging draws", "colour_by": "groups by"}
_ALL, _BY_HAND = "all", "by hand"


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
    #: Image whose colour limits the controls show.
    coloured: str
    #: Graphs against energy, in which a tap or dragging selects energies.
    energy_panels: tuple[str, ...]
    # Limits by hand are useless for other values; a position replaces a region.
    resets: Resets = ((("limits", "percentile"), {"low": None, "high": None}), (("position",), {"region": ""}))

    def __init__(self, state: CubeState, groups: dict[int, str], arguments: list[str]) -> None:
        self._groups, self._arguments = groups, arguments
        self._axes_of = lru_cache(1)(self.axes_of)  # controls show those of the present state, also if its file is damaged
        super().__init__(state)

    def axes_of(self, state: Any) -> CubeAxes:
        """Return the axes of the cubes of a state."""
        raise NotImplementedError

    @property
    def axes(self) -> CubeAxes:
        """Axes of the cubes of the present state."""
        return self._axes_of(self.state)

    def automatic_limits(self, state: Any) -> tuple[float, float]:
        """Choose limits of the colours that are not set by hand."""
        raise NotImplementedError

    def colour_limits(self, state: Any) -> tuple[float, float]:
        """Return the values of the first and the last colour: those set by hand, or else the automatic ones.

        If the automatic limit is not on the right side of the one set by hand, it yields.
        """
        if state.low is not None and state.high is not None:
            return state.low, state.high
        low, high = self.automatic_limits(state)
        if state.low is not None:
            low, high = state.low, _beyond(state.low, high, +1, state.stretch)
        elif state.high is not None:
            low, high = _beyond(state.high, low, -1, state.stretch), state.high
        check_limits(low, high, state.stretch)
        return low, high

    def shown_limits(self, panel: str = "") -> tuple[float, float]:
        """Return the values of the first and the last colour of an image of the present view."""
        image = self.view.panels[panel or self.coloured]
        assert isinstance(image, Image)
        return image.colours.low, image.colours.high

    def settle(self, state: Any) -> Any:
        """Check the groups and the region."""
        group_ids, missing = list(self._groups), "there is no model of group"
        group_id = checked_group(state.group_id, group_ids, missing)
        return dataclasses.replace(state, group_id=group_id, others=_checked_others(state.others, group_ids, missing))

    def act(self, action: Action) -> None:
        panel, x, y = action["panel"], action["x"], action["y"]
        is_tap, is_drag = action["kind"] == "tap", action["kind"] == "select"
        if isinstance(self.view.panels[panel], Image):
            if is_tap and x is not None and y is not None:
                self.update(position=self._inside(x, y))
            elif is_drag and self.state.draw != "nothing":
                self.update(region=_region_in(self.state.draw, x, y))
        elif panel in self.energy_panels and x is not None:
            low, high = x if is_drag else (x, x)
            if high > 0:
                self.update(energy=energies_of(self.axes, *energy_edges(self.axes, (max(low, 1e-6), high))))

    def frames(self) -> dict[tuple[str, str], Any]:
        return {("", label): state for label, state in through_energies(self.axes, self.state).items()}

    def _edges(self) -> tuple[int, int]:
        """Return the indices of the first and the last edge of the shown energy bins."""
        return energy_edges(self.axes, self.state.energy)

    def step(self, by: int = 1) -> None:
        """Move the shown energies by bins; at an end of the axis, continue at the other end."""
        first, last = self._edges()
        places = self.axes.shape[0] - (last - first) + 1
        first, last = (first + by) % places, (first + by) % places + last - first
        self.update(energy=energies_of(self.axes, first, last))

    def _inside(self, x: float, y: float) -> tuple[float, float]:
        """Round a position to three digits after the point, and move it into the field of view."""
        edges = self.axes.detx.value, self.axes.dety.value
        x, y = (round(float(np.clip(value, ends[0], ends[-1])), 3) for value, ends in zip((x, y), edges, strict=True))
        return x, y

    def _slide(self, first: int, last: int) -> tuple[float, float]:
        """Return the energies between two edges; where the handles of the slider meet, the moved one pushes the other."""
        if first == last:
            first = first - (first == self._edges()[0])  # the upper handle was moved
            first = min(max(first, 0), self.axes.shape[0] - 1)
            last = first + 1
        return energies_of(self.axes, first, last)

    def controls(self) -> dict[str, Control]:
        choices = {name: options for name, options in choices_of(self.State).items() if name != "limits"}
        menus = {name: menu(name, _LABELS.get(name, name), options) for name, options in choices.items()}
        return menus | self._group_controls() | self._energy_controls() | self._place_controls() | self._limit_controls()

    def _group_controls(self) -> dict[str, Control]:
        groups = menu("group_id", "group", [(_shorten(label), group_id) for group_id, label in self._groups.items()])
        groups.widget.add_class("bgnb-group")

        def show(others: Sequence[int]) -> None:
            self.attempt(lambda: self.update(others=others))

        return {
            "group_id": groups,
            "others": text_box(
                "also groups",
                "such as 3 8, or all",
                lambda state: {"value": " ".join(map(str, state.further))},
                lambda text: {"others": _parse_others(text)},
            ),
            "all_groups": button("all groups", lambda: show(tuple(self._groups))),
            "one_group": button("only one", lambda: show(()), "only one group"),
        }

    def _energy_controls(self) -> dict[str, Control]:
        # With continuous updates, sliders also send back the values that Python sets, and undo later ones.
        slider = widgets.IntRangeSlider(
            description="energy", readout=False, continuous_update=False, style={"description_width": "initial"}
        )
        slider.layout.width, slider.layout.flex, slider.layout.min_width = "auto", "1 1 120px", "120px"
        slider.add_class("bgnb-energy")

        def edge(end: int, label: str) -> Control:
            def change(value: float) -> dict[str, Any]:
                if not value > 0:
                    raise BgnbError("invalid-argument", f"energy must be positive, got {value:g} TeV")
                first, last = self._edges()  # edges are shown with four digits
                if end == 0:
                    first = energy_bin(self.axes, value * (1 + 1e-3))
                    last = max(first + 1, last)
                else:
                    edges = self.axes.energy.value
                    last = int(np.clip(np.searchsorted(edges, value * (1 - 1e-3)), 1, len(edges) - 1))
                    first = min(first, last - 1)
                return {"energy": energies_of(self.axes, first, last)}

            def show(_: Any) -> dict[str, Any]:
                return {"value": float(f"{self.axes.energy.value[self._edges()[end]]:.4g}")}

            return number_box(label, show, change)

        return {
            "bins": Control(
                widget=slider,
                show=lambda _: {"max": self.axes.shape[0], "value": self._edges()},
                change=lambda edges: {"energy": self._slide(*edges)},
            ),
            "previous": button("‹", lambda: self.attempt(lambda: self.step(-1)), "previous energy"),
            "next": button("›", lambda: self.attempt(self.step), "next energy"),
            "play": Control(widget=PlayButton(lambda: self.attempt(self.step), "play through the energies")),
            "energies": Control(
                widget=widgets.HTML(layout={"min_width": "150px"}),  # so that the buttons stay where they are while playing
                show=lambda _: {"value": f"<b>{energy_label(self.axes, *self._edges())}</b>"},
            ),
            "first_energy": edge(0, "from / TeV"),
            "last_energy": edge(1, "to / TeV"),
        }

    def _place_controls(self) -> dict[str, Control]:
        def coordinate(i: int, name: Any) -> Control:
            def show(state: Any) -> dict[str, Any]:
                centre = getattr(self.axes, f"{name}_centers")[self.axes.nearest_bin(name, state.position[i])]
                return {"value": round(float(centre.value), 3)}

            def change(value: float) -> dict[str, Any]:
                x, y = self.state.position
                return {"position": self._inside(x, value) if i else self._inside(value, y)}

            return number_box(f"{name.upper()} / deg", show, change)

        return {
            "detx": coordinate(0, "detx"),
            "dety": coordinate(1, "dety"),
            "region": text_box(
                "region", "circle(0.5, 1, 0.3)", lambda state: {"value": state.region}, lambda text: {"region": text.strip()}
            ),
        }

    def _limit_controls(self) -> dict[str, Control]:
        def limit(end: int, label: str) -> Control:
            def change(value: float) -> dict[str, Any]:
                low, high = self.shown_limits()
                return {"low": low, "high": value} if end else {"low": value, "high": high}

            return number_box(label, lambda _: {"value": float(f"{self.shown_limits()[end]:.4g}")}, change)

        def change_limits(value: str) -> dict[str, Any]:
            if value == _BY_HAND:
                return dict(zip(("low", "high"), self.shown_limits(), strict=True))
            return {"limits": value, "low": None, "high": None}

        limits = menu("limits", _LABELS["limits"], (*choices_of(self.State)["limits"], _BY_HAND))
        return {
            "limits": Control(
                widget=limits.widget,
                show=lambda state: {"value": _BY_HAND if _has_limits(state) else state.limits},
                change=change_limits,
            ),
            "percentile": number_box(
                "% of values",
                lambda state: {"value": state.percentile, "disabled": _has_limits(state)},
                lambda value: {"percentile": value},
            ),
            "low": limit(0, "minimum"),
            "high": limit(1, "maximum"),
        }

    @property
    def python(self) -> str:
        arguments = list(self._arguments)
        for name, value in self.changed_fields().items():
            if name == "energy" and value[0] == value[1]:
                value = value[0]
            arguments.append(f"{name}={value!r}")
        return f"import bgnb\n\nbgnb.dashboards.{self.function}({', '.join(arguments)})"


def _shorten(label: str) -> str:
    """Shorten the label of a group for the menu."""
    return label.replace("altitude", "alt").replace("azimuth", "az")


def _beyond(limit: float, other: float, side: int, stretch: str) -> float:
    """Return the other limit if it is above (side 1) or below (side -1) one set by hand, or else a value that is."""
    if side * (other - limit) > 1e-5 * abs(limit):
        return other
    return limit * 10.0**side if stretch == "log" else limit + side * (abs(limit) or 1.0)


def _has_limits(state: CubeState) -> bool:
    """Return True if a limit of the colours is set by hand."""
    return state.low is not None or state.high is not None


def _parse_others(text: str) -> str | tuple[int, ...]:
    words = text.replace(",", " ").split()
    if [word.lower() for word in words] == [_ALL]:
        return _ALL
    return numbers_in(text, f"a GROUP_ID; enter numbers, or {_ALL}")


def _checked_others(others: Any, group_ids: list[int], missing: str) -> tuple[int, ...]:
    """Check further groups, and put them in order."""
    if isinstance(others, str) and others.lower() == _ALL:
        return tuple(group_ids)
    if isinstance(others, str) or not np.iterable(others):
        raise BgnbError("invalid-argument", f"others must be a list of GROUP_IDs or '{_ALL}', got {quoted(others)}")
    return tuple(sorted({checked_group(other, group_ids, missing) for other in others}))


def _region_in(draw: str, x: tuple[float, float], y: tuple[float, float]) -> str:
    """Return the region in a dragged rectangle: the rectangle, or the largest circle in it."""
    (left, right), (bottom, top) = sorted(x), sorted(y)
    centre = f"{(left + right) / 2:.3g}, {(bottom + top) / 2:.3g}"
    width, height = right - left, top - bottom
    if draw == "box":
        return f"box({centre}, {width:.3g}, {height:.3g})"
    radius = min(width, height) / 2
    return f"circle({centre}, {radius:.3g})" if draw == "circle" else f"annulus({centre}, {radius / 2:.3g}, {radius:.3g})"
