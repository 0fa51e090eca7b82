"""A button that plays through the energies.

Not that of ipywidgets, which stands still when it is shown twice and has no name for screen
readers. The page keeps the time and asks for a step; Python takes it, and the page asks
again only when it is done, so that a slow kernel is never flooded.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anywidget
import traitlets


class Player(anywidget.AnyWidget):
    """The widget.

    Parameters
    ----------
    step : callable
        Takes one step.
    """

    _esm = Path(__file__).parent / "player.js"
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
