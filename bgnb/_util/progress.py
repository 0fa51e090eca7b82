"""Progress bars."""

from __future__ import annotations

from typing import Any

from tqdm import tqdm


class _Bar(tqdm):  # type: ignore[type-arg]
    """Bar that needs no thread, which would fail with a warning if memory is short."""

    monitor_interval = 0


def progress_bar(total: int, unit: str, show: bool | None) -> tqdm[Any]:
    """Make a progress bar; with ``show=None`` it appears on terminals only."""
    return _Bar(total=total, unit=unit, disable=None if show is None else not show, miniters=1)
