"""Progress bars."""

from __future__ import annotations

from typing import Any

from tqdm import tqdm


def progress_bar(total: int, unit: str, show: bool | None) -> tqdm[Any]:
    """Make a progress bar; with ``show=None`` it appears on terminals only."""
    return tqdm(total=total, unit=unit, disable=None if show is None else not show)
