"""Bokeh figures in a notebook that follow Python, and report taps and selections.

An anywidget is used instead of jupyter_bokeh: the kernel sends BokehJS if the page lacks it
(without network, and without megabytes in the notebook), each view asks for the present
state when it appears (so that a reloaded page is up to date), and all changes of one step
are sent in one message. The first figure, which people look at, is drawn before the others.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anywidget
import bokeh
import traitlets
from bokeh.document import Document
from bokeh.document.events import ColumnDataChangedEvent, ModelChangedEvent
from bokeh.embed import json_item
from bokeh.models import LayoutDOM

from bgnb.plots.bokeh_figures import EQUAL_SCALES
from bgnb.plots.bokeh_internals import bokehjs_source, encode_changes

#: Action of a user in a figure: ``{"kind": "tap" or "select", "panel": name, "x": …, …}``.
Action = dict[str, Any]


class LiveFigures(anywidget.AnyWidget):
    """Widget of the figures.

    Parameters
    ----------
    layout : `~bokeh.models.LayoutDOM`
        Figures.
    act : callable
        Called with each `Action`.
    texts : callable
        Return the descriptions of the present figures, for readers who do not see them.
    """

    # Texts, as anywidget watches files given as paths, which keeps each widget in memory.
    _esm = EQUAL_SCALES + (Path(__file__).parent / "live_figures.js").read_text("utf-8")
    _css = (Path(__file__).parent / "dashboard.css").read_text("utf-8")
    bokeh_version = traitlets.Unicode(bokeh.__version__).tag(sync=True)

    def __init__(self, layout: LayoutDOM, act: Callable[[Action], object], texts: Callable[[], list[str]]) -> None:
        super().__init__()
        self.add_class("bgnb-figures")
        self._layout, self._act, self._texts = layout, act, texts
        self._changes: list[Any] = []
        self._first = {model.id for model in layout.children[0].references()}
        document = Document()
        document.add_root(layout)
        document.on_change(self._note)
        self.on_msg(self._answer)

    def _note(self, event: Any) -> None:
        # A new view changes the title of the document as well.
        if isinstance(event, (ModelChangedEvent, ColumnDataChangedEvent)):
            self._changes.append(event)

    def push(self) -> None:
        """Send all changes since the last call, in one message, with those of the first figure apart."""
        if not self._changes:
            return
        first, others = (
            [event for event in self._changes if (event.model.id in self._first) == part] for part in (True, False)
        )
        (patch, ids, buffers), (later, later_ids, later_buffers) = encode_changes(first), encode_changes(others)
        content = {"kind": "patch", "patches": [patch, later], "ids": ids + later_ids, "texts": self._texts()}
        self.send(content, buffers + later_buffers)
        self._changes.clear()  # at the end, so that nothing is lost if Ctrl-C interrupts

    def copy(self, text: str) -> None:
        """Copy a text to the clipboard, if the browser permits."""
        self.send({"kind": "copy", "text": text})

    def _answer(self, _: Any, content: Any, __: Any) -> None:
        if content["kind"] == "need bokeh":
            self.send({"kind": "bokeh", "view": content["view"]}, [bokehjs_source().encode()])
        elif content["kind"] == "need figures":
            item = json.dumps(json_item(self._layout))
            self.send({"kind": "figures", "view": content["view"], "item": item, "texts": self._texts()})
        else:
            self._act(content)
