"""Base of all dashboards: one frozen state, controls that show and change it, exports.

    control or tap ──▶ update(field=value) ──▶ state ──▶ view ──▶ figures, summary, controls

The state is complete, and `Dashboard.update` is the only way to change it.
"""

from __future__ import annotations

import dataclasses
import json
from base64 import b64encode
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from html import escape
from itertools import count
from operator import attrgetter
from pathlib import Path
from typing import Any

import ipywidgets as widgets
import traitlets

from bgnb._util.checks import checked_path
from bgnb._util.errors import BgnbError, DataError, quoted, shortened
from bgnb._util.reading import parse_json, read_text
from bgnb.dashboards.controls import LABEL, Control, button, row, text_box
from bgnb.dashboards.live_figures import Action, LiveFigures
from bgnb.files.output_file import check_file_path, write_file
from bgnb.plots.alternative_texts import describe
from bgnb.plots.bokeh_figures import Plots, draw
from bgnb.plots.html_page import to_html
from bgnb.plots.static import to_pdf, to_png, to_svg
from bgnb.plots.view import View

#: Fields that reset others, and the values of these.
Resets = tuple[tuple[tuple[str, ...], Mapping[str, Any]], ...]
_SAVED = "use the text of dashboard.json, or a file written by dashboard.save_json"


def _state_property(name: str) -> property:
    doc = f"Field ``{name}`` of the state; setting it redraws the dashboard."
    return property(attrgetter(f"state.{name}"), lambda dashboard, value: dashboard.update(**{name: value}), doc=doc)


class Dashboard(widgets.VBox):
    """A widget that shows one state.

    Every control has an attribute of the same name, to read and to set. The trait ``state``
    can be observed: ``dashboard.observe(function, "state")``. ``dashboard.drawer_open`` shows
    or hides the drawer with further controls.
    """

    state = traitlets.Any(read_only=True)
    drawer_open = traitlets.Bool(False)
    #: Class of the states; its fields become attributes.
    State: type[Any]
    #: Kind of dashboard, in one word.
    kind: str
    #: Function that makes the dashboard.
    function: str
    #: Names of the controls in the bar above the figures.
    bar: tuple[str, ...]
    #: Names of the controls in the drawer, by heading.
    drawer: Mapping[str, tuple[str, ...]] = {}
    #: If one of the first fields changes, the second ones get these values, unless they change at the same time.
    resets: Resets = ()
    #: Graphs in which dragging selects.
    selecting: tuple[str, ...] = ()

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        for field in dataclasses.fields(cls.State):
            if field.name not in vars(cls):
                setattr(cls, field.name, _state_property(field.name))

    def __init__(self, state: Any) -> None:
        super().__init__()
        self._showing = False
        self._is_shown = True  # False if Ctrl-C has interrupted drawing: the next update draws again, also in the same state
        self._view_of = lru_cache(1)(self.view_of)  # figures, summary and controls need the view of the same state
        self.set_trait("state", self.settle(state))
        self._plots = Plots(self.view, self.selecting)
        draw(self._plots.properties(self.view))  # before the figures are in a document, which would record each change
        self._figures = LiveFigures(
            self._plots.layout,
            act=lambda action: self.attempt(partial(self.act, action)),
            texts=lambda: [describe(panel) for panel in self.view.panels.values()],
        )
        self._summary, self._message = widgets.HTML(), widgets.HTML()
        self._controls = self.controls() | {
            "json": text_box("state", "paste a saved state", lambda _: {"value": self.json}, self._saved_fields)
        }
        for control in self._controls.values():
            if control.change is not None:
                control.widget.observe(partial(self._changed, control), "value")
        self.add_class("bgnb-dashboard")
        self.add_class(f"bgnb-{self.kind}")
        self._lay_out()
        self._show(self.view)

    def _lay_out(self) -> None:
        """Arrange the widgets: bar, message, figures and drawer, summary."""
        more = widgets.ToggleButton(description="more", icon="sliders", tooltip="more controls, and exports")
        more.layout.width = "max-content"
        traitlets.link((self, "drawer_open"), (more, "value"))
        sections: list[Any] = []
        for heading, names in self.drawer.items():
            sections += [widgets.HTML(f"<h4>{heading}</h4>"), *(self._controls[name].widget for name in names)]
        sections += [widgets.HTML("<h4>Export</h4>"), *self._exports()]
        drawer = widgets.VBox(sections).add_class("bgnb-drawer")
        traitlets.dlink((self, "drawer_open"), (drawer.layout, "display"), lambda shown: "flex" if shown else "none")
        bar = row(*(self._controls[name].widget for name in self.bar), more).add_class("bgnb-bar")
        body = widgets.Box([self._figures, drawer]).add_class("bgnb-body")
        self.children = [bar, self._message, body, self._summary]

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_") and not hasattr(type(self), name):
            self._check_fields(name)
        super().__setattr__(name, value)

    def _check_fields(self, *names: str) -> None:
        known = [field.name for field in dataclasses.fields(self.State)]
        if unknown := [name for name in names if name not in known]:
            raise BgnbError("unknown-choice", f"unknown attribute {quoted(unknown[0])}: use one of {', '.join(known)}")

    def observe(self, handler: Any, names: Any = traitlets.All, type: Any = "change") -> None:
        """Call a function at each change of a trait: ``state``, which contains all controls, or ``drawer_open``.

        Parameters
        ----------
        handler : callable
            Called with the change, whose ``new`` is the new value.
        names, type
            Names of the traits and kind of the change, as in traitlets.

        Raises
        ------
        BgnbError
            If there is no such trait, for instance because it is a field of the state.
        """
        wanted = names if isinstance(names, list | tuple) else [names]
        if unknown := [name for name in wanted if name is not traitlets.All and not self.has_trait(str(name))]:
            use = "observe 'state', which contains all controls, or 'drawer_open'"
            raise BgnbError("unknown-choice", f"{quoted(unknown[0])} cannot be observed: {use}")
        if not callable(handler):
            use = "use dashboard.observe(function, 'state')"
            text = f"the first argument of observe must be a function, got {quoted(handler)}"
            raise BgnbError("invalid-argument", f"{text}; {use}")
        super().observe(handler, names, type)

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

    def frames(self) -> dict[tuple[str, str], Any]:
        """List the states of an exported page, by the labels of its menu and its slider; by default only the present one."""
        return {("", ""): self.state}

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
        state = dataclasses.replace(self.state, **changes)
        for names, values in self.resets:
            if any(_differ(getattr(state, name), getattr(self.state, name)) for name in names):
                state = dataclasses.replace(state, **{name: value for name, value in values.items() if name not in changes})
        state = self.settle(state)
        changed = bool(state != self.state)
        if not changed and self._is_shown:
            return False
        view = self._view_of(state)
        properties = self._plots.properties(view)  # errors are raised before anything has changed
        self._is_shown = False
        try:
            self.set_trait("state", state)
        finally:  # if an observer raises an error as well
            if self.state is state:  # else an observer has changed the state again, and that was drawn
                draw(properties)
                self._figures.push()
                self._show(view)
        return changed

    @property
    def json(self) -> str:
        """The state as a line of JSON, with the fields that differ from their defaults; see `restore`."""
        return json.dumps({"dashboard": self.function, "state": self.changed_fields()})

    def restore(self, saved: str | Path) -> bool:
        """Show a saved state of such a dashboard; see `update` for the result and errors.

        Parameters
        ----------
        saved : str or path
            Text of ``dashboard.json``, or a file with it (see `save_json`).
        """
        return self.update(**self._saved_fields(saved))

    def _saved_fields(self, saved: str | Path) -> dict[str, Any]:
        kind, fields = _parse_state(saved)
        if kind != self.function:
            known = shortened(kind)
            advice = f"restore it in a dashboard made by {known}"
            raise BgnbError("invalid-argument", f"this is a state of {known}, not of {self.function}; {advice}")
        self._check_fields(*fields)
        return {f.name: f.default for f in dataclasses.fields(self.State) if f.default is not dataclasses.MISSING} | fields

    def changed_fields(self) -> dict[str, Any]:
        """List the fields of the state that differ from their defaults."""
        values = {field: getattr(self.state, field.name) for field in dataclasses.fields(self.State)}
        return {field.name: value for field, value in values.items() if value != field.default}

    def close(self) -> None:
        """Remove the dashboard from all pages, and free its widgets."""
        _close_parts(self)
        super().close()

    def save_png(self, path: str | Path, **options: Any) -> None:
        """Write the view as a PNG file; for options see `save_pdf`."""
        self._write(path, lambda: to_png(self.view, **options))

    def save_pdf(self, path: str | Path, **options: Any) -> None:
        """Write the view as a PDF file.

        Parameters
        ----------
        path : path
            The file.
        width : float, optional
            Width, inches.
        font_size : float, optional
            Size of the text, points.
        panels : sequence of str, optional
            Names of the plots, see ``dashboard.view.panels``; by default all.
        dpi : float, optional
            Pixels per inch of a PNG file, and of images in others; by default 300.
        """
        self._write(path, lambda: to_pdf(self.view, **options))

    def save_svg(self, path: str | Path, **options: Any) -> None:
        """Write the view as an SVG file; for options see `save_pdf`."""
        self._write(path, lambda: to_svg(self.view, **options))

    def save_html(self, path: str | Path, max_size: float = 50e6) -> None:
        """Write a page that needs neither Python nor network, with all `frames`.

        Parameters
        ----------
        path : path
            The file.
        max_size : float
            Maximum size, bytes.

        Raises
        ------
        BgnbError
            If it would be larger.
        """

        def page() -> bytes:
            frames = self.frames()
            views = {labels: self.view_of(state) for labels, state in frames.items()}
            first = next(labels for labels, state in frames.items() if state == self.state)
            return to_html(views, first, max_size=max_size).encode("utf-8", "replace")

        self._write(path, page)

    def save_csv(self, path: str | Path) -> None:
        """Write the values of the view as a table, see `View.to_csv`."""
        self._write(path, lambda: self.view.to_csv().encode())

    def save_json(self, path: str | Path) -> None:
        """Write the state, for `restore`."""
        self._write(path, lambda: f"{self.json}\n".encode())

    def _write(self, path: str | Path, content: Callable[[], bytes]) -> None:
        check_file_path(target := checked_path("path", path))  # drawing takes seconds
        write_file(target, content())

    def _show(self, view: View) -> None:
        """Show a view in the summary and in the controls."""
        lines = "<br>".join(map(escape, view.summary.splitlines()))
        self._summary.value = f'<div role="status">{lines}</div>'
        self._message.value = ""
        self._show_controls()
        self._is_shown = True

    def _show_controls(self, kept: Control | None = None) -> None:
        """Show the state in all controls, or in all but one."""
        self._showing = True
        try:
            for control in (each for each in self._controls.values() if each is not kept):
                for name, value in control.show(self.state).items():
                    if getattr(control.widget, name) != value:
                        setattr(control.widget, name, value)
        finally:
            self._showing = False

    def _changed(self, control: Control, event: Any) -> None:
        """Update the state from a control; if it stays the same, reset the control. Text with an error remains."""
        if not self._showing and control.change is not None:
            change, is_text = control.change, isinstance(control.widget, widgets.Text | widgets.Textarea)
            self.attempt(
                lambda: None if self.update(**change(event["new"])) else self._show(self.view), control if is_text else None
            )

    def attempt(self, action: Callable[[], object], kept: Control | None = None) -> bool:
        """Perform an action of the user; show an error below the bar, and the state in all controls, or in all but one.

        Returns
        -------
        bool
            True if there was no error.
        """
        try:
            action()
        except (BgnbError, OSError) as error:
            self._say(str(error), kept=kept)
            return False
        return True

    def _say(self, text: str, tag: str = "div", kept: Control | None = None) -> None:
        self._message.value = f'<{tag} role="alert">{escape(text)}</{tag}>'
        self._show_controls(kept)

    def _exports(self) -> list[Any]:
        """Make the widgets of the exports."""
        width, font_size = (
            widgets.BoundedFloatText(value=value, min=low, max=high, description=label, style=LABEL, layout={"width": "auto"})
            for label, value, low, high in (("width / in", 14.0, 2, 40), ("font size / pt", 10.0, 3, 40))
        )
        self._paper = width, font_size
        kinds = [button(kind, partial(self._save, kind.lower())) for kind in ("PNG", "PDF", "SVG", "HTML", "CSV", "JSON")]
        for each, kind in zip(kinds, ("PNG", "PDF", "SVG", "HTML", "CSV", "JSON"), strict=True):
            each.widget.tooltip = f"save {kind}"
        copy = button("copy as Python", partial(self.attempt, self._copy))
        return [width, font_size, row(*(each.widget for each in kinds)), copy.widget, self._controls["json"].widget]

    def _save(self, suffix: str) -> None:
        def save() -> None:
            path = unused_path(f"{self.file_name}.{suffix}")
            options = (
                {"width": self._paper[0].value, "font_size": self._paper[1].value} if suffix in ("png", "pdf", "svg") else {}
            )
            getattr(self, f"save_{suffix}")(path, **options)
            self._say(f"Saved {path.resolve()}")

        self.attempt(save)

    def _copy(self) -> None:
        """Show the Python code, and copy it to the clipboard if the browser permits."""
        self._say(self.python, "pre")
        self._figures.copy(self.python)

    @property
    def file_name(self) -> str:
        """Name of files of the present view, without suffix, shorter than the 255 bytes that file systems allow."""
        words = "".join(letter if letter.isalnum() or letter in ".-" else " " for letter in self.view.title)
        return "_".join(words.split()).encode()[:200].decode(errors="ignore")

    def _repr_mimebundle_(self, **arguments: Any) -> Any:
        """Add a PNG image, which is shown if no kernel is running."""
        static = {"image/png": b64encode(to_png(self.view)).decode(), "text/plain": self.view.summary}
        return super()._repr_mimebundle_(**arguments) | static


def _parse_state(saved: Any) -> tuple[str, dict[str, Any]]:
    """Read the kind of dashboard and the fields of a saved state, which is a text or a file."""
    if not isinstance(saved, str | Path) or not str(saved).strip():
        raise BgnbError("invalid-argument", f"a saved state must be text or a file, got {quoted(saved)}; {_SAVED}")
    is_file = isinstance(saved, Path) or not saved.lstrip().startswith("{")
    where = f"{saved}"[: 300 if is_file else 80]
    try:
        content = parse_json(read_text(saved) if is_file else str(saved))
    except DataError as error:
        raise BgnbError(error.code, f"{error.message}; for a saved state, {_SAVED}") from None
    except OSError as error:
        code = "not-found" if isinstance(error, FileNotFoundError) else "unreadable"
        wrong = f"cannot be read: {error.strerror}, and is not the text of a saved state, which begins with {{"
        raise BgnbError(code, f"{where}: {wrong}; {_SAVED}") from None
    except ValueError as error:
        reason = "it is not text" if isinstance(error, UnicodeDecodeError) else error
        raise BgnbError("invalid-argument", f"{where}: is not a saved state: {reason}; {_SAVED}") from None
    content = content if isinstance(content, dict) else {}
    if not isinstance(content.get("dashboard"), str) or not isinstance(content.get("state"), dict):
        wanted = "'dashboard', the name of a function, and 'state', an object"
        raise BgnbError("invalid-argument", f"{where}: is not a saved state: it must contain {wanted}; {_SAVED}")
    return content["dashboard"], content["state"]


def _differ(one: Any, other: Any) -> bool:
    """Compare values, also such as arrays, which a state will refuse."""
    try:
        return bool(one != other)
    except ValueError:
        return True


def _close_parts(widget: Any) -> None:
    """Close the children of a widget, with theirs, its layout and its style, which ipywidgets would keep."""
    for child in getattr(widget, "children", ()):
        _close_parts(child)
        child.close()
    widget.layout.close()
    if isinstance(style := getattr(widget, "style", None), widgets.Widget):
        style.close()


def unused_path(name: str) -> Path:
    """Choose a path that does not exist, with a number if necessary."""
    path = Path(name)
    numbered = (path.with_stem(f"{path.stem}-{number}") for number in count(2))
    return path if not path.exists() else next(other for other in numbered if not other.exists())
