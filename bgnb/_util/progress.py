"""Progress bars on long work."""

from __future__ import annotations

from typing import Any

from tqdm import tqdm


def progress_bar(total: int, unit: str, show: bool | None) -> tqdm[Any]:
    """A bar that is shown, or is not; if neither is asked for, on a terminal only."""
    return tqdm(total=total, unit=unit, disable=None if show is None else not show)
