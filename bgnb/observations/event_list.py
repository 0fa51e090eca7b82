"""One run: where its files are, and its event list."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bgnb._util.errors import BgnbError
from bgnb.observations.coordinates import FieldOfView, FovAlign, Site


@dataclass(frozen=True)
class HduLocation:
    """Where an HDU is: a file, a name or number in it, and whether a run can do without it."""

    path: Path
    hdu: str | int
    optional: bool = False


@dataclass(frozen=True)
class RunFiles:
    """Where the parts of one run are, and what its index says.

    Parameters
    ----------
    obs_id : int
        Number of the run.
    events, gti, aeff : `HduLocation`
        The parts; ``gti`` and ``aeff`` may be None.
    index : mapping
        Keywords that the run's row in the index, or the header of the index, gives;
        they stand in where the header of the events lacks them.
    shared_with : tuple of int
        Other runs for which the index names the same event list, or some of them.
    """

    obs_id: int
    events: HduLocation
    gti: HduLocation | None = None
    aeff: HduLocation | None = None
    index: Mapping[str, Any] = field(default_factory=dict)
    shared_with: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class EventList:
    """The events of one run and what is needed to stack them.

    Parameters
    ----------
    obs_id : int
        Number of the run.
    time : ndarray, shape (n,)
        Mission time, s since ``mjdref``.
    ra, dec : ndarray, shape (n,)
        Positions, ICRS, deg.
    energy : ndarray, shape (n,)
        Reconstructed energies, TeV.
    mjdref : float
        Zero of the mission time, MJD in TT.
    gti : ndarray, shape (m, 2)
        Good time intervals, mission time, s, in order of time.
    livetime : float
        Dead-time corrected duration of the run, s.
    ra_pnt, dec_pnt : float
        Pointing, ICRS, deg.
    site : `~bgnb.observations.coordinates.Site`
        Place of the observatory.
    energy_threshold : float or None
        LO_THRES of the run's effective area, TeV; None where it is not stated.
    telescop : str
        Name of the instrument, "" where it is not stated.
    n_tels : int or None
        Number of telescopes, None where it is not stated.
    notes : tuple of str
        What is odd about the files of the run, and was borne.

    Raises
    ------
    BgnbError
        Where columns differ in length, intervals are not in order, or there is no livetime.
    """

    obs_id: int
    time: NDArray[np.float64]
    ra: NDArray[np.float64]
    dec: NDArray[np.float64]
    energy: NDArray[np.float64]
    mjdref: float
    gti: NDArray[np.float64]
    livetime: float
    ra_pnt: float
    dec_pnt: float
    site: Site
    energy_threshold: float | None
    telescop: str = ""
    n_tels: int | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        columns = (self.time, self.ra, self.dec, self.energy)
        if any(column.shape != (len(self),) for column in columns):
            raise BgnbError(f"run {self.obs_id}: time, ra, dec and energy must be lists of equal length")
        ends = np.ravel(self.gti)
        if self.gti.ndim != 2 or self.gti.shape[1:] != (2,) or not ends.size or np.any(np.diff(ends) < 0):
            raise BgnbError(f"run {self.obs_id}: gti must be one or more intervals in order of time, shape (m, 2)")
        if not self.livetime > 0:
            raise BgnbError(f"run {self.obs_id}: livetime must be above 0 s, got {self.livetime:g}")

    def __len__(self) -> int:
        return len(self.time)

    @cached_property
    def in_gti(self) -> NDArray[np.bool_]:
        """Whether each event lies in a good time interval, shape (n,)."""
        interval = np.searchsorted(self.gti[:, 0], self.time, side="right") - 1
        return (interval >= 0) & (self.time <= self.gti[interval, 1])

    @property
    def view(self) -> FieldOfView:
        """The field of view, with the middle of the run as its reference time."""
        return FieldOfView(self.ra_pnt, self.dec_pnt, self.mjdref + self.middle / 86400, self.site)

    @property
    def middle(self) -> float:
        """Middle of the run, mission time, s."""
        return float(self.gti[0, 0] + self.gti[-1, 1]) / 2

    def good_seconds(self, step: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Times that represent the good time: s since the middle of the run, and their parts of the whole.

        Parameters
        ----------
        step : float
            Greatest distance of the times, s.
        """
        times, weights = [], []
        for start, stop in self.gti - self.middle:
            number = max(int(np.ceil((stop - start) / step)), 1)
            times.append(start + (np.arange(number) + 0.5) * (stop - start) / number)
            weights.append(np.full(number, (stop - start) / number))
        parts = np.concatenate(weights)
        return np.concatenate(times), parts / parts.sum()

    def detxy(
        self, fovalign: FovAlign = "ALTAZ", rows: NDArray[np.intp] | slice = slice(None)
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Field-of-view coordinates DETX and DETY of the events, deg.

        Parameters
        ----------
        fovalign : {"ALTAZ", "RADEC"}
            The frame, see `bgnb.observations.coordinates`.
        rows : ndarray of int, optional
            Which events; all by default.
        """
        return self.view.detxy(fovalign, self.ra[rows], self.dec[rows], self.time[rows] - self.middle)
