"""Progress bars."""

from __future__ import annotations

import sys
from threading import RLock
from typing import Any

from tqdm import tqdm


class _Bar(tqdm):  # type: ignore[type-arg]
    """Bar without a thread of its own, which fails with a warning if memory is short, and without a lock between processes.

    A process that was forked would wait for ever for a lock that another one held when it was killed.
    """

    monitor_interval = 0


_Bar.set_lock(RLock())


def progress_bar(total: int, unit: str, show: bool | None) -> tqdm[Any]:
    """Make a progress bar; with ``show=None`` it appears on terminals only."""
    if sys.stderr is None:  # as in programs without a console
        show = False
    return _Bar(total=total, unit=unit, disable=None if show is None else not show, miniters=1)
