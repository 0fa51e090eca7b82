"""What all dashboards share: one frozen state, controls that show and change it, exports.

    control or tap ──▶ update(field=value) ──▶ state ──▶ view ──▶ figures, summary, controls

The state is all there is to know; `Dashboard.update` is the only way to change it.
"""

from __future__ import annotations

import dataclasses
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from html import escape
from pathlib import Path
from typing import Any

import ipywidgets as widgets
import traitlets

from bgnb._util.errors import BgnbError
from bgnb.dashboards.live import Action, LiveFigures
from bgnb.files.output_directory import write_file
from bgnb.plots.bokeh_figures import Plots, Properties, draw
from bgnb.plots.pages import as_html, to_html
from bgnb.plots.png import to_png
from bgnb.plots.view import View

_LABEL = {"description_width": "initial"}


@dataclass(frozen=True)
class Control:
    """A widget, what it shows of a state, and what a new value of it means.

    Parameters
    ----------
    widget : `ipywidgets.Widget`
        The widget.
    show : callable
        From a state to the widget's attributes, in the order in which they are set.
    act : callable, optional
        From a new value to the fields of the state that change; nothing for widgets that only show.
    """

    widget: Any
    show: Callable[[Any], dict[str, Any]]
    act: Callable[[Any], dict[str, Any]] | None = None


def choice(field: str, label: str, options: list[Any], *, radio: bool = False) -> Control:
    """A control for a field that has few values: a menu, or radio buttons."""
    arguments = {"options": options, "description": label, "style": _LABEL, "layout": {"width": "max-content"}}
    return Control(
        widgets.RadioButtons(orientation="horizontal", **arguments) if radio else widgets.Dropdown(**arguments),
        lambda state: {"value": getattr(state, field)},
        lambda value: {field: value},
    )


def number_box(label: str, show: Callable[[Any], dict[str, Any]], act: Callable[[Any], dict[str, Any]]) -> Control:
    """A box for a number, which counts when Enter is pressed or the box is left."""
    layout = {"width": f"{len(label) * 0.55 + 8.5}em"}
    return Control(widgets.FloatText(description=label, style=_LABEL, continuous_update=False, layout=layout), show, act)


def field_of(name: str) -> Any:
    """A field of the state as an attribute of the dashboard."""
    return property(
        lambda dashboard: getattr(dashboard.state, name),
        lambda dashboard, value: dashboard.update(**{name: value}),
        doc=f"``{name}`` of the state; setting it draws the dashboard anew.",
    )


class Dashboard(widgets.VBox):
    """A widget that shows one state.

    Every control has an attribute of the same name, to read and to set. ``state`` can be
    observed: ``dashboard.observe(function, "state")``.
    """

    state = traitlets.Any(read_only=True)
    #: A class of values, whose fields become attributes.
    State: type[Any]
    #: The kind of dashboard, in one word.
    kind: str
    #: Panels in which dragging selects.
    selecting: tuple[str, ...] = ()

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        for field in dataclasses.fields(cls.State):
            setattr(cls, field.name, field_of(field.name))

    def __init__(self, state: Any) -> None:
        super().__init__()
        self._showing = False
        self._view_of = lru_cache(1)(self.view_of)  # all that is told of a state is told of one view of it
        self.set_trait("state", self.settle(state))
        view = self.view
        self._plots = Plots(view, self.selecting)
        draw(self._plots.properties(view))  # before the figures are in a document, which would mind each change
        self._figures = LiveFigures(self._plots.layout, lambda action: self.attempt(partial(self.act, action)))
        self._summary = widgets.HTML()
        self._message = widgets.HTML()
        self._controls = self.controls()
        for control in self._controls.values():
            if control.act is not None:
                control.widget.observe(partial(self._changed, control.act), "value")
        self.add_class("bgnb-dashboard")
        self.add_class(f"bgnb-{self.kind}")
        self.children = [*self.arranged(), self._exports(), self._summary, self._figures]
        self._tell(view)

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_") and not hasattr(type(self), name):
            raise self._unknown(name)
        super().__setattr__(name, value)

    def _unknown(self, name: str) -> BgnbError:
        known = ", ".join(field.name for field in dataclasses.fields(self.State))
        return BgnbError(f"there is no {name} here; there are {known}")

    # What each kind of dashboard says of itself.

    def settle(self, state: Any) -> Any:
        """The state with what depends on the data checked; raises `BgnbError` where it cannot be shown."""
        raise NotImplementedError

    def view_of(self, state: Any) -> View:
        """What a state looks like."""
        raise NotImplementedError

    def controls(self) -> dict[str, Control]:
        """The controls by name."""
        raise NotImplementedError

    def arranged(self) -> list[Any]:
        """The widgets of the controls, in rows."""
        raise NotImplementedError

    def act(self, action: Action) -> None:
        """Do what a tap or a selection means."""
        raise NotImplementedError

    @property
    def python(self) -> str:
        """The lines that make this dashboard in this state."""
        raise NotImplementedError

    def frames(self) -> list[tuple[str, Any]]:
        """Labels and states through which an exported page moves; by default only the present one."""
        return [("", self.state)]

    # What they share.

    @property
    def view(self) -> View:
        """What is shown."""
        return self._view_of(self.state)

    def update(self, **changes: Any) -> bool:
        """Change fields of the state, and draw it.

        Returns
        -------
        bool
            Whether that makes another state.

        Raises
        ------
        BgnbError
            Where a value cannot be used; nothing has changed then.
        """
        for name in changes:
            if name not in (field.name for field in dataclasses.fields(self.State)):
                raise self._unknown(name)
        state = self.settle(dataclasses.replace(self.state, **changes))
        if state == self.state:
            return False
        view = self._view_of(state)
        drawing = self._plots.properties(view)  # what cannot be shown complains before anything has changed
        self.set_trait("state", state)
        if self.state is state:  # else one who observes it has changed it again, and that is drawn
            self._draw(view, drawing)
        return True

    def close(self) -> None:
        """Take the dashboard off all pages, and let go of what it holds."""
        for widget in _inside(self):
            widget.close()
        super().close()

    def save_png(self, path: str | Path) -> None:
        """Write what is shown as a picture."""
        write_file(Path(path), to_png(self.view))

    def save_html(self, path: str | Path) -> None:
        """Write what is shown as a page that needs neither Python nor network, with a slider where there is one here."""
        labels, states = zip(*self.frames(), strict=True)
        write_file(Path(path), to_html(labels, [self.view_of(state) for state in states], states.index(self.state)).encode())

    def save_csv(self, path: str | Path) -> None:
        """Write the numbers that are shown as a table, see `View.to_csv`."""
        write_file(Path(path), self.view.to_csv().encode())

    def _draw(self, view: View, drawing: Properties) -> None:
        """Show the state: the only place that does."""
        draw(drawing)
        self._figures.push()
        self._tell(view)

    def _tell(self, view: View) -> None:
        """What is shown, in words and in the controls."""
        self._summary.value = f'<div role="status" style="line-height: 1.5">{as_html(view.summary)}</div>'
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

    def _changed(self, act: Callable[[Any], dict[str, Any]], change: Any) -> None:
        if not self._showing:
            self.attempt(partial(self._update_from, act, change["new"]))

    def _update_from(self, act: Callable[[Any], dict[str, Any]], value: Any) -> None:
        if not self.update(**act(value)):
            self._show_controls()  # the state is the same, but the control is not as it was

    def attempt(self, action: Callable[[], None]) -> None:
        """Do what a person asked for; what cannot be done is said below the controls."""
        try:
            action()
        except (BgnbError, OSError) as error:
            self._show_controls()
            self._say(str(error))

    def _say(self, text: str) -> None:
        self._message.value = f'<div role="alert">{escape(text)}</div>'

    def _exports(self) -> widgets.Box:
        buttons = []
        for kind, save in (("PNG", self.save_png), ("HTML", self.save_html), ("CSV", self.save_csv)):
            button = widgets.Button(description=f"save {kind}", layout={"width": "max-content"})
            button.on_click(partial(self._save, kind.lower(), save))
            buttons.append(button)
        copy = widgets.Button(description="copy as Python", layout={"width": "max-content"})
        copy.on_click(lambda _: self._copy())
        return row(*buttons, copy, self._message)

    def _save(self, suffix: str, save: Callable[[Path], None], _: Any) -> None:
        def do() -> None:
            path = _free(f"{self.file_name}.{suffix}")
            save(path)
            self._say(f"Saved {path.resolve()}")

        self.attempt(do)

    def _copy(self) -> None:
        """Show the lines, and copy them where the page may."""
        lines = self.python
        self._message.value = f'<pre role="alert">{escape(lines)}</pre>'
        self._figures.copy(lines)

    @property
    def file_name(self) -> str:
        """Name for files of the present view, without suffix."""
        words = "".join(letter if letter.isalnum() or letter in ".-" else " " for letter in self.view.title)
        return "_".join(words.split())

    def _repr_mimebundle_(self, **arguments: Any) -> Any:
        """Also a picture, which is what is seen where there is no Python."""
        bundle = super()._repr_mimebundle_(**arguments)
        if bundle is None:
            return None
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        return {**data, "image/png": b64encode(to_png(self.view)).decode(), "text/plain": self.view.summary}, metadata


def row(*children: Any) -> widgets.Box:
    """Widgets beside each other, in as many lines as they need."""
    return widgets.Box(list(children), layout={"flex_flow": "row wrap", "align_items": "center", "grid_gap": "2px 14px"})


def _inside(box: Any) -> Iterator[Any]:
    """All widgets in a box, and in the boxes in it."""
    for child in box.children:
        yield child
        if hasattr(child, "children"):
            yield from _inside(child)


def _free(name: str) -> Path:
    """A path that does not exist yet, numbered if need be."""
    path, number = Path(name), 1
    while path.exists():
        number += 1
        path = Path(name).with_stem(f"{Path(name).stem}-{number}")
    return path
