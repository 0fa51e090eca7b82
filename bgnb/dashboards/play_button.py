"""Button that repeats a step, such as to the next energy.

It replaces `ipywidgets.Play`, which stops if it is shown twice, has no name for screen
readers, and does not wait for a slow kernel. Here the page asks Python for a step at regular
times, but only when the previous one is done.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anywidget
import traitlets


class PlayButton(anywidget.AnyWidget):
    """Widget of the button.

    Parameters
    ----------
    step : callable
        Called for each step; false ends playing.
    action : str
        What the button does, for screen readers.
    label : str
        Text of the button.
    interval : int
        Time between steps, ms.
    """

    _esm = (Path(__file__).parent / "play_button.js").read_text("utf-8")  # a text, as in `LiveFigures`
    playing = traitlets.Bool(False).tag(sync=True)
    action = traitlets.Unicode().tag(sync=True)
    label = traitlets.Unicode().tag(sync=True)
    interval = traitlets.Int().tag(sync=True)

    def __init__(self, step: Callable[[], bool], action: str, label: str = "▶", interval: int = 300) -> None:
        super().__init__(action=action, label=label, interval=interval)
        self._step = step
        self.on_msg(self._take_step)

    def _take_step(self, *_: Any) -> None:
        try:
            self.playing = self.playing and self._step()
        finally:
            self.send({"kind": "done"})
