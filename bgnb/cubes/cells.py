"""Runs that point alike, as far as the background rate depends on where they point.

That is the cosine of the zenith angle, and the northern component of the direction: east and
west are not told apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bgnb._util.arrays import Floats
from bgnb._util.errors import BgnbError
from bgnb.cubes.stack import Stack

#: Runs point alike where they are so near in the cosine of the zenith angle, and in the northern component of the direction.
ALIKE = (0.02, 0.1)


@dataclass(frozen=True, eq=False)
class Cell:
    """A run, or runs that point alike.

    Parameters
    ----------
    alt_pnt, az_pnt : float
        Pointing, deg.
    stack : `Stack`
        Counts and livetime.
    """

    alt_pnt: float
    az_pnt: float
    stack: Stack

    @classmethod
    def of_runs(cls, alt_pnt: Floats, az_pnt: Floats, stack: Stack) -> Cell:
        """The cell of all runs in a stack.

        Parameters
        ----------
        alt_pnt, az_pnt : ndarray
            Pointing of each run of the stack, deg. That of the cell has their mean cosine of the
            zenith angle and mean northern component, and, of several runs, lies in the east.
        stack : `Stack`
            Counts and livetime.

        Raises
        ------
        BgnbError
            Where there are more or fewer pointings than runs.
        """
        if not len(alt_pnt) == len(az_pnt) == len(stack.runs):
            raise BgnbError(
                "invalid-value", f"a cell needs the pointing of each run: {len(alt_pnt)} are given for {len(stack.runs)} runs"
            )
        if len(stack.runs) == 1:
            return cls(float(alt_pnt[0]), float(az_pnt[0]), stack)
        north, up = (float(np.mean(component)) for component in _north_and_up(alt_pnt, az_pnt))
        altitude = np.arcsin(up)
        azimuth = np.arccos(np.clip(north / max(np.cos(altitude), 1e-12), -1, 1))
        return cls(float(np.degrees(altitude)), float(np.degrees(azimuth)), stack)


def alike(alt_pnt: float, az_pnt: float) -> tuple[int, int]:
    """Pointings (deg) for which this is the same are alike."""
    north, up = _north_and_up(alt_pnt, az_pnt)
    return int(up // ALIKE[0]), int(north // ALIKE[1])


def _north_and_up(alt_pnt: float | Floats, az_pnt: float | Floats) -> tuple[Any, Any]:
    """Northern component of a direction, and the cosine of its zenith angle."""
    altitude, azimuth = np.radians(alt_pnt), np.radians(az_pnt)
    return np.cos(altitude) * np.cos(azimuth), np.sin(altitude)
