"""Controls of dashboards: widgets that show and change the state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ipywidgets as widgets

#: Style of the label of a widget: as wide as its text.
LABEL = {"description_width": "initial"}


@dataclass(frozen=True, kw_only=True)
class Control:
    """A widget that shows and changes the state.

    Parameters
    ----------
    widget : `ipywidgets.Widget`
        The widget.
    show : callable
        From the present state to attributes of the widget, in the order in which they are set.
    change : callable, optional
        From a new value to the fields of the state that change; none for widgets without a value.
    """

    widget: Any
    show: Callable[[Any], dict[str, Any]] = lambda _: {}
    change: Callable[[Any], dict[str, Any]] | None = None


def menu(field: str, label: str, options: Any) -> Control:
    """Make a menu for a field of the state with few values."""
    widget = widgets.Dropdown(options=options, description=label, style=LABEL, layout={"width": "max-content"})
    return Control(widget=widget, show=lambda state: {"value": getattr(state, field)}, change=lambda value: {field: value})


def check_box(field: str, label: str) -> Control:
    """Make a check box for a field of the state that is true or false."""
    widget = widgets.Checkbox(description=label, indent=False, layout={"width": "max-content"})
    return Control(widget=widget, show=lambda state: {"value": getattr(state, field)}, change=lambda value: {field: value})


def number_box(label: str, show: Callable[[Any], dict[str, Any]], change: Callable[[Any], dict[str, Any]]) -> Control:
    """Make a box for a number, which is used when Enter is pressed or the box is left."""
    widget = widgets.FloatText(description=label, style=LABEL, continuous_update=False, layout={"width": "auto"})
    return Control(widget=widget, show=show, change=change)


def text_box(
    label: str, placeholder: str, show: Callable[[Any], dict[str, Any]], change: Callable[[str], dict[str, Any]]
) -> Control:
    """Make a box for a line of text, which is used when Enter is pressed or the box is left."""
    widget = widgets.Text(
        description=label, placeholder=placeholder, style=LABEL, continuous_update=False, layout={"width": "auto"}
    )
    return Control(widget=widget, show=show, change=change)


def button(label: str, action: Callable[[], object], tooltip: str = "") -> Control:
    """Make a button."""
    widget = widgets.Button(description=label, tooltip=tooltip or label, layout={"width": "max-content"})
    widget.on_click(lambda _: action())
    return Control(widget=widget)


def row(*children: Any, **layout: str) -> widgets.Box:
    """Arrange widgets beside each other, in as many lines as they need."""
    return widgets.Box(children, layout={"flex_flow": "row wrap", "align_items": "center", "grid_gap": "2px 10px"} | layout)
