"""Bokeh figures in a notebook that follow Python, and report taps and selections.

An anywidget is used instead of jupyter_bokeh: the kernel sends BokehJS if the page lacks it
(without network, and without megabytes in the notebook), each view asks for the present
state when it appears (so that a reloaded page is up to date), and all changes of one step
are sent in one message.
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

    _esm = EQUAL_SCALES + (Path(__file__).parent / "live_figures.js").read_text()
    _css = Path(__file__).parent / "dashboard.css"
    bokeh_version = traitlets.Unicode(bokeh.__version__).tag(sync=True)

    def __init__(self, layout: LayoutDOM, act: Callable[[Action], None], texts: Callable[[], list[str]]) -> None:
        super().__init__()
        self.add_class("bgnb-figures")
        self._layout, self._act, self._texts = layout, act, texts
        self._changes: list[Any] = []
        document = Document()
        document.add_root(layout)
        document.on_change(self._changes.append)
        self.on_msg(self._answer)

    def push(self) -> None:
        """Send all changes since the last call, in one message."""
        if self._changes:
            patch, ids, buffers = encode_changes(list(self._changes))
            self._changes.clear()
            self.send({"kind": "patch", "patch": patch, "ids": ids, "texts": self._texts()}, buffers)

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
