"""Button that plays through the energies.

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
        Called for each step.
    """

    _esm = Path(__file__).parent / "play_button.js"
    playing = traitlets.Bool(False).tag(sync=True)

    def __init__(self, step: Callable[[], None]) -> None:
        super().__init__()
        self._step = step
        self.on_msg(self._take_step)

    def _take_step(self, *_: Any) -> None:
        try:
            if self.playing:
                self._step()
        finally:
            self.send({"kind": "done"})
