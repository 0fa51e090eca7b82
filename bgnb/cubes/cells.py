"""Runs binned by pointing: cosine of the zenith angle, and azimuth."""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np

from bgnb._util.arrays import Floats
from bgnb._util.checks import check_type, checked_pointing, numbers_with_unit
from bgnb._util.errors import BgnbError
from bgnb.cubes.stack import Stack

#: Widths of the bins in the cosine of the zenith angle and in azimuth, deg.
BIN_WIDTHS = (0.04, 30.0)
#: Maximum ranges of the cosine of the zenith angle and of the azimuth, deg, in a cell of a run. In a range of this width in
#: the cosine, the mean rate differs by less than 0.1 % from that at the mean pointing.
SEGMENTS = (0.05, 30.0)


@dataclass(frozen=True, eq=False)
class Cell:
    """A run or a piece of it, or several runs in the same bin of pointing.

    Parameters
    ----------
    alt_pnt, az_pnt : float
        Pointing, deg.
    stack : `Stack`
        Counts and livetime.
    norm : hashable, optional
        Cells with the same value consist of pieces of the same runs, and have one norm in
        common. By default a cell has a norm of its own.
    pointings : ndarray, shape (n, 3), optional
        Altitude and azimuth of each run, deg, and its weight; the sum of the weights is 1. The
        spline averages functions of the pointing over them. By default the pointing of the cell.

    Raises
    ------
    BgnbError
        If the pointing is not a direction.
    """

    alt_pnt: float
    az_pnt: float
    stack: Stack
    norm: Hashable = None
    pointings: Floats | None = None

    def __post_init__(self) -> None:
        check_type("stack", self.stack, Stack)
        for name, value in zip(("alt_pnt", "az_pnt"), checked_pointing(self.alt_pnt, self.az_pnt), strict=True):
            object.__setattr__(self, name, value)
        if self.pointings is not None:
            pointings = numbers_with_unit("pointings", self.pointings, "")
            if pointings.ndim != 2 or pointings.shape[1] != 3:
                raise BgnbError("invalid-value", f"pointings must have the shape (n, 3), got {pointings.shape}")
            object.__setattr__(self, "pointings", pointings)

    @classmethod
    def of_runs(cls, alt_pnt: Floats, az_pnt: Floats, stack: Stack, norm: Hashable = None) -> Cell:
        """Make the cell of all runs in a stack.

        Parameters
        ----------
        alt_pnt, az_pnt : ndarray
            Pointing of each run of the stack, deg. The cell gets the mean cosine of the zenith
            angle and the azimuth of the mean direction, weighted by livetime.
        stack : `Stack`
            Counts and livetime.
        norm : hashable, optional
            See `Cell`.

        Raises
        ------
        BgnbError
            If the numbers of pointings and runs differ.
        """
        check_type("stack", stack, Stack)
        alt_pnt, az_pnt = (np.atleast_1d(numbers_with_unit("the pointing", values, "deg")) for values in (alt_pnt, az_pnt))
        if not len(alt_pnt) == len(az_pnt) == len(stack.runs):
            raise BgnbError(
                "invalid-value", f"a cell needs the pointing of each run: {len(alt_pnt)} are given for {len(stack.runs)} runs"
            )
        if len(stack.runs) == 1:
            return cls(float(alt_pnt[0]), float(az_pnt[0]), stack, norm)
        livetimes = np.array([run.livetime_s for run in stack.runs])
        up, azimuth = _mean_direction(alt_pnt, az_pnt, livetimes)
        pointings = np.stack([alt_pnt, az_pnt, livetimes / livetimes.sum()], axis=1)
        return cls(float(np.degrees(np.arcsin(up))), azimuth, stack, norm, pointings)


def pointing_bin(alt_pnt: float | Floats, az_pnt: float | Floats) -> tuple[int, int, int]:
    """Return the bin of a pointing, or of the mean direction of several (deg).

    Returns
    -------
    tuple
        Numbers of the bins in the cosine of the zenith angle and in the angle from the north, and
        of the side: 0 in the east, 1 in the west.
    """
    up, azimuth = _mean_direction(np.atleast_1d(alt_pnt), np.atleast_1d(az_pnt))
    return int(up // BIN_WIDTHS[0]), int(min(azimuth, 360 - azimuth) // BIN_WIDTHS[1]), int(azimuth > 180)


def segments(alt_pnt: Floats, az_pnt: Floats) -> list[int]:
    """Divide the pointings of a run (deg) into equal ranges of the cosine of the zenith angle and of azimuth (`SEGMENTS`)."""
    numbers = np.zeros(len(alt_pnt), dtype=int)
    for values, width in zip((np.sin(np.radians(alt_pnt)), np.unwrap(az_pnt, period=360)), SEGMENTS, strict=True):
        number = max(math.ceil(np.ptp(values) / width), 1)
        positions = (values - values.min()) / max(np.ptp(values), 1e-12) * number
        numbers = numbers * number + np.minimum(positions.astype(int), number - 1)
    return numbers.tolist()


def _mean_direction(alt_pnt: Floats, az_pnt: Floats, weights: Floats | None = None) -> tuple[float, float]:
    """Compute the mean cosine of the zenith angle, and the azimuth of the mean direction in [0, 360)."""
    altitude, azimuth = np.radians(alt_pnt), np.radians(az_pnt)
    up, north, east = (
        float(np.average(component, weights=weights))
        for component in (np.sin(altitude), np.cos(altitude) * np.cos(azimuth), np.cos(altitude) * np.sin(azimuth))
    )
    return up, float(np.degrees(np.arctan2(east, north)) % 360 % 360)
