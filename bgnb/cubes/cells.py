"""Runs binned by pointing: cosine of the zenith angle, and northern component of the direction.

The background rate is assumed to depend on these two only, so that east and west are equivalent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bgnb._util.arrays import Floats
from bgnb._util.errors import BgnbError
from bgnb.cubes.stack import Stack

#: Widths of the bins in the cosine of the zenith angle and in the northern component of the direction.
BIN_WIDTHS = (0.02, 0.1)


@dataclass(frozen=True, eq=False)
class Cell:
    """A run, or several runs in the same bin of pointing.

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
        """Make the cell of all runs in a stack.

        Parameters
        ----------
        alt_pnt, az_pnt : ndarray
            Pointing of each run of the stack, deg. The cell gets the mean cosine of the zenith
            angle and the mean northern component; for several runs, the azimuth is eastern.
        stack : `Stack`
            Counts and livetime.

        Raises
        ------
        BgnbError
            If the numbers of pointings and runs differ.
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


def pointing_bin(alt_pnt: float, az_pnt: float) -> tuple[int, int]:
    """Return the bin of a pointing (deg)."""
    north, up = _north_and_up(alt_pnt, az_pnt)
    return int(up // BIN_WIDTHS[0]), int(north // BIN_WIDTHS[1])


def _north_and_up(alt_pnt: float | Floats, az_pnt: float | Floats) -> tuple[Any, Any]:
    """Compute the northern component of a direction, and the cosine of its zenith angle."""
    altitude, azimuth = np.radians(alt_pnt), np.radians(az_pnt)
    return np.cos(altitude) * np.cos(azimuth), np.sin(altitude)
