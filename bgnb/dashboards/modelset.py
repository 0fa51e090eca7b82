"""A directory of models, read group by group when it is needed."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from bgnb.comparisons import model_files
from bgnb.errors import BgnbError
from bgnb.gadf import GROUPS_FILE, read_groups, read_model
from bgnb.model import BackgroundModel
from bgnb.outdir import REPORT

#: Groups whose cubes are kept in memory.
KEPT = 3


class ModelSet:
    """The models of a directory.

    Parameters
    ----------
    directory : path
        A directory of models.

    Raises
    ------
    BgnbError
        Where it holds none.
    """

    def __init__(self, directory: str | Path) -> None:
        self.path = Path(directory)
        self._files = model_files(self.path)
        self.group_ids = sorted(self._files)
        self._groups = read_groups(self.path / GROUPS_FILE) if (self.path / GROUPS_FILE).exists() else None
        self.read: Callable[[int], BackgroundModel] = lru_cache(KEPT)(lambda group_id: read_model(self._files[group_id]))

    def label(self, group_id: int) -> str:
        """A group in words: its number, and its edges where they are known."""
        if self._groups is None or group_id >= len(self._groups):
            return str(group_id)
        row = self._groups.table[group_id]
        altitude, azimuth = (f"{row[f'{axis}_MIN']:g} to {row[f'{axis}_MAX']:g}°" for axis in ("ALT", "AZ"))
        return f"{group_id}: altitude {altitude}, azimuth {azimuth}"

    def checked(self, group_id: int | None) -> int:
        """A group that there is; the one with most counts, as far as is known, where none is asked for.

        Raises
        ------
        BgnbError
            Where there is no such group.
        """
        if group_id is None:
            counts = self._counts()
            return max(self.group_ids, key=lambda group: counts.get(group, 0))
        return one_of(group_id, self.group_ids, f"{self.path}: has no model of group")

    def _counts(self) -> dict[int, int]:
        try:
            report: dict[str, Any] = json.loads((self.path / REPORT).read_text())
            return {int(group["group_id"]): int(group["counts"]) for group in report["groups"]}
        except (OSError, ValueError, KeyError, TypeError):
            return {}


def one_of(group_id: Any, group_ids: list[int], complaint: str) -> int:
    """A group that is among others.

    Raises
    ------
    BgnbError
        Where it is not.
    """
    if isinstance(group_id, bool) or not isinstance(group_id, int | np.integer) or group_id not in group_ids:
        raise BgnbError(f"{complaint} {group_id}; the groups are {', '.join(map(str, group_ids))}")
    return int(group_id)
