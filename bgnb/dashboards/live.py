"""Bokeh figures in a notebook that follow Python, and tell it of taps and selections.

It uses anywidget instead of jupyter_bokeh: BokehJS comes through the kernel when the page
lacks it (no network, and no megabytes in the notebook), each view asks for the present
state when it appears (so that a reloaded page is right), and all changes of one step
travel in one message.
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
from bokeh.protocol import Protocol
from bokeh.resources import Resources

#: What a person did in a figure: ``{"kind": "tap" or "select", "panel": name, "x": …, …}``.
Action = dict[str, Any]


class LiveFigures(anywidget.AnyWidget):
    """The widget.

    Parameters
    ----------
    layout : `~bokeh.models.LayoutDOM`
        The figures.
    act : callable
        Told of each `Action`.
    """

    _esm = Path(__file__).parent / "live.js"
    bokeh_version = traitlets.Unicode(bokeh.__version__).tag(sync=True)

    def __init__(self, layout: LayoutDOM, act: Callable[[Action], None]) -> None:
        super().__init__()
        self._layout, self._act = layout, act
        self._changes: list[Any] = []
        document = Document()
        document.add_root(layout)
        document.on_change(self._changes.append)
        self.on_msg(self._answer)

    def push(self) -> None:
        """Send what has changed since the last time, in one message."""
        if self._changes:
            patch = Protocol().create("PATCH-DOC", list(self._changes))
            self._changes.clear()
            content = {"kind": "patch", "patch": patch.content_json, "ids": [buffer.id for buffer in patch.buffers]}
            self.send(content, [buffer.to_bytes() for buffer in patch.buffers])

    def copy(self, text: str) -> None:
        """Put a text on the clipboard of the page, where it may."""
        self.send({"kind": "copy", "text": text})

    def _answer(self, _: Any, content: Any, __: Any) -> None:
        if content["kind"] == "need bokeh":
            self.send({"kind": "bokeh", "view": content["view"]}, [_bokehjs().encode()])
        elif content["kind"] == "need figures":
            self.send({"kind": "figures", "view": content["view"], "item": json.dumps(json_item(self._layout))})
        else:
            self._act(content)


def _bokehjs() -> str:
    """The source of BokehJS, without its own widgets and tables."""
    return "\n".join(Resources(mode="inline", components=["bokeh"]).js_raw)
