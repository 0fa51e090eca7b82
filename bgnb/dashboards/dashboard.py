"""Base of all dashboards: one frozen state, controls that show and change it, exports.

    control or tap ──▶ update(field=value) ──▶ state ──▶ view ──▶ figures, summary, controls

The state is complete, and `Dashboard.update` is the only way to change it.
"""

from __future__ import annotations

import dataclasses
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from html import escape
from itertools import count
from operator import attrgetter
from pathlib import Path
from typing import Any

import ipywidgets as widgets
import traitlets

from bgnb._util.errors import BgnbError
from bgnb.dashboards.live_figures import Action, LiveFigures
from bgnb.files.output_directory import write_file
from bgnb.plots.bokeh_figures import Plots, draw
from bgnb.plots.html_page import lines_to_html, to_html
from bgnb.plots.static import to_png
from bgnb.plots.view import View

_LABEL = {"description_width": "initial"}


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
    show: Callable[[Any], dict[str, Any]]
    change: Callable[[Any], dict[str, Any]] | None = None


def menu(field: str, label: str, options: Any, *, radio: bool = False) -> Control:
    """Make a menu, or radio buttons, for a field of the state with few values."""
    kind = partial(widgets.RadioButtons, orientation="horizontal") if radio else widgets.Dropdown
    widget = kind(options=options, description=label, style=_LABEL, layout={"width": "max-content"})
    return Control(widget=widget, show=lambda state: {"value": getattr(state, field)}, change=lambda value: {field: value})


def number_box(label: str, show: Callable[[Any], dict[str, Any]], change: Callable[[Any], dict[str, Any]]) -> Control:
    """Make a box for a number, which is used when Enter is pressed or the box is left."""
    layout = {"width": f"{len(label) * 0.55 + 8.5}em"}
    widget = widgets.FloatText(description=label, style=_LABEL, continuous_update=False, layout=layout)
    return Control(widget=widget, show=show, change=change)


def row(*children: Any) -> widgets.Box:
    """Arrange widgets beside each other, in as many lines as they need."""
    return widgets.Box(children, layout={"flex_flow": "row wrap", "align_items": "center", "grid_gap": "2px 14px"})


def _state_property(name: str) -> property:
    doc = f"Field ``{name}`` of the state; setting it redraws the dashboard."
    return property(attrgetter(f"state.{name}"), lambda dashboard, value: dashboard.update(**{name: value}), doc=doc)


class Dashboard(widgets.VBox):
    """A widget that shows one state.

    Every control has an attribute of the same name, to read and to set. The trait ``state``
    can be observed: ``dashboard.observe(function, "state")``.
    """

    state = traitlets.Any(read_only=True)
    #: Class of the states; its fields become attributes.
    State: type[Any]
    #: Kind of dashboard, in one word.
    kind: str
    #: Names of the controls in each row.
    rows: tuple[tuple[str, ...], ...]
    #: Panels in which dragging selects.
    selecting: tuple[str, ...] = ()

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        for field in dataclasses.fields(cls.State):
            setattr(cls, field.name, _state_property(field.name))

    def __init__(self, state: Any) -> None:
        super().__init__()
        self._showing = False
        self._view_of = lru_cache(1)(self.view_of)  # figures, summary and controls need the view of the same state
        self.set_trait("state", self.settle(state))
        self._plots = Plots(self.view, self.selecting)
        draw(self._plots.properties(self.view))  # before the figures are in a document, which would record each change
        self._figures = LiveFigures(self._plots.layout, lambda action: self.attempt(partial(self.act, action)))
        self._summary, self._message = widgets.HTML(), widgets.HTML()
        self._controls = self.controls()
        for control in self._controls.values():
            if control.change is not None:
                control.widget.observe(partial(self._changed, control.change), "value")
        self.add_class("bgnb-dashboard")
        self.add_class(f"bgnb-{self.kind}")
        rows = [row(*(self._controls[name].widget for name in names)) for names in self.rows]
        self.children = [*rows, self._exports(), self._summary, self._figures]
        self._show(self.view)

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_") and not hasattr(type(self), name):
            self._check_fields(name)
        super().__setattr__(name, value)

    def _check_fields(self, *names: str) -> None:
        known = [field.name for field in dataclasses.fields(self.State)]
        if unknown := [name for name in names if name not in known]:
            raise BgnbError("unknown-choice", f"unknown attribute '{unknown[0]}': use one of {', '.join(known)}")

    # Methods that each kind of dashboard defines.

    def settle(self, state: Any) -> Any:
        """Check a state against the data and complete it; raise `BgnbError` if it cannot be shown."""
        raise NotImplementedError

    def view_of(self, state: Any) -> View:
        """Make the view of a state."""
        raise NotImplementedError

    def controls(self) -> dict[str, Control]:
        """Make the controls, by name."""
        raise NotImplementedError

    def act(self, action: Action) -> None:
        """Respond to a tap or a selection in a figure."""
        raise NotImplementedError

    @property
    def python(self) -> str:
        """Python code that makes this dashboard in this state."""
        raise NotImplementedError

    def frames(self) -> list[tuple[str, Any]]:
        """List labels and states of the slider of an exported page; by default only the present state."""
        return [("", self.state)]

    # Methods that all share.

    @property
    def view(self) -> View:
        """View of the present state."""
        return self._view_of(self.state)

    def update(self, **changes: Any) -> bool:
        """Change fields of the state, and redraw.

        Parameters
        ----------
        **changes
            New values by field.

        Returns
        -------
        bool
            True if the state has changed.

        Raises
        ------
        BgnbError
            If a value is invalid; nothing has changed then.
        """
        self._check_fields(*changes)
        state = self.settle(dataclasses.replace(self.state, **changes))
        if state == self.state:
            return False
        view = self._view_of(state)
        properties = self._plots.properties(view)  # errors are raised before anything has changed
        self.set_trait("state", state)
        if self.state is state:  # else an observer has changed the state again, and that was drawn
            draw(properties)
            self._figures.push()
            self._show(view)
        return True

    def close(self) -> None:
        """Remove the dashboard from all pages, and free its widgets."""
        _close_children(self)
        super().close()

    def save_png(self, path: str | Path) -> None:
        """Write the view as a PNG file."""
        write_file(Path(path), to_png(self.view))

    def save_html(self, path: str | Path) -> None:
        """Write a page that needs neither Python nor network, with a slider through the `frames`."""
        labels, states = zip(*self.frames(), strict=True)
        write_file(Path(path), to_html(labels, [self.view_of(state) for state in states], states.index(self.state)).encode())

    def save_csv(self, path: str | Path) -> None:
        """Write the values of the view as a table, see `View.to_csv`."""
        write_file(Path(path), self.view.to_csv().encode())

    def _show(self, view: View) -> None:
        """Show a view in the summary and in the controls."""
        self._summary.value = f'<div role="status" style="line-height: 1.5">{lines_to_html(view.summary)}</div>'
        self._message.value = ""
        self._show_controls()

    def _show_controls(self) -> None:
        self._showing = True
        try:
            for control in self._controls.values():
                for name, value in control.show(self.state).items():
                    if getattr(control.widget, name) != value:
                        setattr(control.widget, name, value)
        finally:
            self._showing = False

    def _changed(self, change: Callable[[Any], dict[str, Any]], event: Any) -> None:
        """Update the state from a control; if it stays the same, reset the control."""
        if not self._showing:
            self.attempt(lambda: None if self.update(**change(event["new"])) else self._show_controls())

    def attempt(self, action: Callable[[], object]) -> None:
        """Perform an action of the user; show an error below the controls."""
        try:
            action()
        except (BgnbError, OSError) as error:
            self._show_controls()
            self._say(str(error))

    def _say(self, text: str, tag: str = "div") -> None:
        self._message.value = f'<{tag} role="alert">{escape(text)}</{tag}>'

    def _exports(self) -> widgets.Box:
        actions = [(f"save {kind}", partial(self._save, kind.lower())) for kind in ("PNG", "HTML", "CSV")]
        buttons = []
        for label, action in [*actions, ("copy as Python", self._copy)]:
            buttons.append(widgets.Button(description=label, layout={"width": "max-content"}))
            buttons[-1].on_click(lambda _, action=action: self.attempt(action))
        return row(*buttons, self._message)

    def _save(self, suffix: str) -> None:
        path = _unused_path(f"{self.file_name}.{suffix}")
        getattr(self, f"save_{suffix}")(path)
        self._say(f"Saved {path.resolve()}")

    def _copy(self) -> None:
        """Show the Python code, and copy it to the clipboard if the browser permits."""
        self._say(self.python, "pre")
        self._figures.copy(self.python)

    @property
    def file_name(self) -> str:
        """Name of files of the present view, without suffix."""
        words = "".join(letter if letter.isalnum() or letter in ".-" else " " for letter in self.view.title)
        return "_".join(words.split())

    def _repr_mimebundle_(self, **arguments: Any) -> Any:
        """Add a PNG image, which is shown if no kernel is running."""
        static = {"image/png": b64encode(to_png(self.view)).decode(), "text/plain": self.view.summary}
        return super()._repr_mimebundle_(**arguments) | static


def _close_children(box: Any) -> None:
    for child in getattr(box, "children", ()):
        _close_children(child)
        child.close()


def _unused_path(name: str) -> Path:
    """Choose a path that does not exist, with a number if necessary."""
    path = Path(name)
    numbered = (path.with_stem(f"{path.stem}-{number}") for number in count(2))
    return path if not path.exists() else next(other for other in numbered if not other.exists())
