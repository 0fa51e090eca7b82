"""Event list of a run, and the location of its files."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from bgnb._util.arrays import IN_MEMORY, Bools, Floats, Ints, blocks, read_only
from bgnb._util.checks import check_type, finite_number, numbers_with_unit
from bgnb._util.errors import BgnbError
from bgnb.observations.coordinates import FieldOfView, FovAlign, Site, mean_pointing
from bgnb.observations.fits_header import HduClass
from bgnb.observations.reading_settings import ReadingSettings

Label = TypeVar("Label", bound=Hashable)

#: Maximum good time in a piece of a run, s.
PIECE = 300.0
MICROSECONDS = 1_000_000
# Time step in which the pointing is averaged, s.
_POINTING_STEP = 60.0
#: Range of dates of runs.
PLAUSIBLE_MJD = (40000.0, 100000.0)
_UNITS = {"time": "s", "ra": "deg", "dec": "deg", "energy": "TeV", "gti": "s"}
_SCALAR_UNITS = {
    "mjdref": "d", "livetime": "s", "ra_pnt": "deg", "dec_pnt": "deg", "energy_threshold": "TeV", "energy_limit": "TeV"
}  # fmt: skip


@dataclass(frozen=True)
class HduLocation:
    """Location of an HDU: file, and name, number or content. An optional HDU may be missing."""

    path: Path
    hdu: str | int | HduClass
    optional: bool = False


@dataclass(frozen=True, kw_only=True)
class FileState:
    """Size and checksums that an index states of a file: bytes, 0 if it states none, and MD5 in lower case."""

    size: int = 0
    md5: frozenset[str] = frozenset()


@dataclass(frozen=True)
class RunFiles:
    """Locations of the HDUs of a run, and its entries in the index.

    Parameters
    ----------
    obs_id : int
        Number of the run.
    events, gti, aeff : `HduLocation`
        Location of each HDU; ``gti`` and ``aeff`` may be None.
    index : mapping
        Values from the row of the run and the header of the index, which replace keywords
        that are missing in the header of the events.
    shared_with : int or None
        Another run for which the index names the same event list.
    content : callable or None
        Function that returns the content of the FITS file of a run in memory; paths are then only its name.
    reading : `~bgnb.observations.reading_settings.ReadingSettings`
        How the run is read.
    files : mapping of `~pathlib.Path` to `FileState`
        What the index states of the files.
    strict : bool
        Whether what is otherwise a note on the run is an error.
    may_be_empty : bool
        Whether it is no error that there are no events, or none in the good time, as in a short part of a run.
    """

    obs_id: int
    events: HduLocation
    gti: HduLocation | None = None
    aeff: HduLocation | None = None
    index: Mapping[str, Any] = field(default_factory=dict)
    shared_with: int | None = None
    content: Callable[[], bytes] | None = None
    reading: ReadingSettings = field(default_factory=ReadingSettings)
    files: Mapping[Path, FileState] = field(default_factory=dict)
    strict: bool = False
    may_be_empty: bool = False


@dataclass(frozen=True, eq=False)
class EventList:
    """Events of a run with its pointing, good time and livetime. The arrays are read-only.

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
        Reference time of the mission time (MJDREF), MJD in TT.
    gti : ndarray, shape (m, 2)
        Good time intervals, mission time, s, in order of time.
    livetime : float
        Dead-time corrected duration of the run, s.
    ra_pnt, dec_pnt : float
        Pointing, ICRS, deg.
    site : `~bgnb.observations.coordinates.Site`
        Location of the observatory.
    energy_threshold : float or None
        LO_THRES of the effective area, TeV; None if it is not stated.
    telescop : str
        Name of the instrument, "" if it is not stated.
    n_tels : int or None
        Number of telescopes, None if it is not stated.
    energy_limit : float or None
        HI_THRES of the effective area, TeV, above which nothing was measured; None if it is not
        stated.
    notes : tuple of str
        Warnings raised while reading.
    simulated : bool
        True for a simulated run.
    time_cut : float
        Good time in the file that is not in ``gti``, such as gaps without events, s.
    n_gti_stated : int
        Number of good time intervals in the file.
    altaz_pnt : tuple of float or None
        Altitude and azimuth of the pointing, deg, if they are not to be computed.
    selection : str
        Condition by which the events were selected, "" for all events.
    fingerprint : int
        Number that depends on the energies of all events, to recognize copies of a run.
    drift_altaz : tuple of float or None
        Altitude and azimuth that the pointing keeps, deg, in a piece of a run whose field of view does not follow the sky.

    Raises
    ------
    BgnbError
        If columns differ in length, an event has an invalid position or energy, the good time
        intervals are not in order, or the pointing, date or livetime is invalid.

    Examples
    --------
    >>> import bgnb
    >>> runs = bgnb.open_runs("runs", "GADF")
    >>> run = bgnb.read_event_list(runs.files(1))
    >>> detx, dety = run.detxy("ALTAZ")
    >>> round(abs(float(detx.mean()))), round(abs(float(dety.mean())))  # deg; symmetric about the pointing
    (0, 0)
    """

    obs_id: int
    time: Floats
    ra: Floats
    dec: Floats
    energy: Floats
    mjdref: float
    gti: Floats
    livetime: float
    ra_pnt: float
    dec_pnt: float
    site: Site
    energy_threshold: float | None
    telescop: str = ""
    n_tels: int | None = None
    energy_limit: float | None = None
    notes: tuple[str, ...] = ()
    simulated: bool = False
    time_cut: float = 0.0
    n_gti_stated: int = 1
    altaz_pnt: tuple[float, float] | None = None
    selection: str = ""
    fingerprint: int = 0
    drift_altaz: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        run = f"run {self.obs_id}"
        for name, unit in _UNITS.items():
            object.__setattr__(self, name, read_only(numbers_with_unit(f"{run}: {name}", getattr(self, name), unit)))
        for name, unit in _SCALAR_UNITS.items():
            optional = name in ("energy_threshold", "energy_limit") and getattr(self, name) is None
            if not optional and not isinstance(value := getattr(self, name), int | float | np.floating):
                object.__setattr__(self, name, finite_number(f"{run}: {name}", value, unit))
        check_type(f"{run}: site", self.site, Site)
        for name in ("time", "ra", "dec", "energy"):
            values = getattr(self, name)
            if values.ndim != 1 or values.shape != self.time.shape:
                raise BgnbError("invalid-value", f"{run}: time, ra, dec and energy must be one-dimensional and of equal length")
            if invalid := np.count_nonzero(~np.isfinite(values)):
                raise BgnbError("bad-column", f"{run}: column {name.upper()} is not finite in {invalid} of {len(self)} rows")
        if np.any(np.abs(self.dec) > 90) or np.any(np.abs(self.ra) > 360):
            raise BgnbError("bad-position", f"{run}: columns RA and DEC contain values that are not positions in deg")
        if invalid := np.count_nonzero(self.energy <= 0):
            raise BgnbError("bad-energy", f"{run}: column ENERGY is not above 0 in {invalid} of {len(self)} rows")
        if not (abs(self.dec_pnt) <= 90 and abs(self.ra_pnt) <= 360):
            pointing = f"RA_PNT = {self.ra_pnt:g}, DEC_PNT = {self.dec_pnt:g} deg"
            raise BgnbError("bad-position", f"{run}: {pointing} is not a valid position")
        check_good_time(self.gti)
        if not PLAUSIBLE_MJD[0] < self.mjd_middle < PLAUSIBLE_MJD[1]:
            raise BgnbError("bad-time", f"{run}: takes place at MJD {self.mjd_middle:g}, which is not a plausible date")
        if not 0 < self.livetime < np.inf:
            raise BgnbError("invalid-value", f"{run}: livetime must be finite and above 0 s, got {self.livetime:g}")

    def __len__(self) -> int:
        return len(self.time)

    @cached_property
    def in_gti(self) -> Bools:
        """Mask of the events inside the good time intervals, shape (n,)."""
        inside = np.empty(len(self), dtype=bool)
        for part in blocks(len(self), IN_MEMORY):
            interval = np.searchsorted(self.gti[:, 0], self.time[part], side="right") - 1
            inside[part] = (interval >= 0) & (self.time[part] <= self.gti[interval, 1])
        return inside

    @property
    def good_times(self) -> Floats:
        """Times of the events inside the good time intervals."""
        return self.time if self.in_gti.all() else self.time[self.in_gti]

    @property
    def ontime(self) -> float:
        """Ontime, the sum of the good time intervals, s."""
        return float(np.diff(self.gti).sum())

    @property
    def stated_ontime(self) -> float:
        """Sum of the good time intervals in the file, by which Gammapy multiplies rates, s."""
        return self.ontime + self.time_cut

    @property
    def field_of_view(self) -> FieldOfView:
        """Field of view, with the middle of the run as reference time."""
        return FieldOfView(self.ra_pnt, self.dec_pnt, self.mjd_middle, self.site, self.altaz_pnt, self.drift_altaz)

    @property
    def middle(self) -> float:
        """Middle of the run, mission time, s."""
        return float(self.gti[0, 0] + self.gti[-1, 1]) / 2

    @property
    def mjd_middle(self) -> float:
        """Middle of the run, MJD in TT."""
        return self.mjdref + self.middle / 86400

    def good_seconds(self, step: float) -> tuple[Floats, Floats]:
        """Sample the good time.

        Parameters
        ----------
        step : float
            Maximum distance between samples, s.

        Returns
        -------
        tuple of ndarray, shape (n,)
            Times, s since the middle of the run, and the fraction of the good time that each represents.
        """
        times, weights = [], []
        for start, stop in self.gti - self.middle:
            number = max(int(np.ceil((stop - start) / step)), 1)
            times.append(start + (np.arange(number) + 0.5) * (stop - start) / number)
            weights.append(np.full(number, (stop - start) / number))
        seconds = np.concatenate(weights)
        return np.concatenate(times), seconds / seconds.sum()

    @property
    def mean_pointing(self) -> tuple[float, float]:
        """Altitude and azimuth of the pointing, deg, averaged over the good time."""
        seconds, weights = self.good_seconds(_POINTING_STEP)
        return mean_pointing(np.stack(self.field_of_view.pointing_altaz(seconds), axis=1), weights)

    def split(self, label: Callable[[Floats, Floats], Sequence[Label]]) -> dict[Label, EventList]:
        """Split the run by a label of its pointing, such as the group.

        Good time intervals are cut into equal pieces of at most `PIECE`. Pieces with the same
        label make up one event list. The livetime is divided in proportion to the good time, in
        whole microseconds. Each event is in exactly one list; events outside the good time are in
        that of the piece before them.

        Parameters
        ----------
        label : callable
            Function of altitude and azimuth in the middle of each piece, deg, that returns the
            label of each piece.

        Returns
        -------
        dict of label to EventList
            In order of time; a run with a single label is returned unchanged.
        """
        pieces, livetime_us = pieces_of(self, PIECE)
        labels = list(label(*self.field_of_view.pointing_altaz(pieces.mean(axis=1) - self.middle)))
        totals: dict[Label, int] = {}
        for each, microseconds in zip(labels, livetime_us.tolist(), strict=True):
            totals[each] = totals.get(each, 0) + microseconds
        longest = max(totals, key=lambda each: totals[each])
        labels = [each if totals[each] else longest for each in labels]  # less than a microsecond is no livetime
        if len(set(labels)) == 1:
            return {longest: self}
        piece = np.maximum(np.searchsorted(pieces[:, 0], self.time, side="right") - 1, 0)
        parts = {}
        for each in dict.fromkeys(labels):
            chosen = np.array([other == each for other in labels])
            rows: Any = chosen[piece]
            if (number := np.count_nonzero(rows)) and rows[(first := int(rows.argmax())) : first + number].all():
                rows = slice(first, first + number)  # a view, if events are in order of time
            columns = {name: getattr(self, name)[rows] for name in ("time", "ra", "dec", "energy")}
            parts[each] = replace(self, **columns, gti=pieces[chosen], livetime=totals[each] / MICROSECONDS, time_cut=0.0)
        return parts

    def detxy(self, fovalign: FovAlign = "ALTAZ", rows: NDArray[np.intp] | slice = slice(None)) -> tuple[Floats, Floats]:
        """Compute the field-of-view coordinates DETX and DETY of events, deg.

        Parameters
        ----------
        fovalign : {"ALTAZ", "RADEC"}
            Frame of DETX and DETY, see `bgnb.observations.coordinates`.
        rows : ndarray of int, optional
            Rows of the events; all by default.
        """
        return self.field_of_view.detxy(fovalign, self.ra[rows], self.dec[rows], self.time[rows] - self.middle)


def pieces_of(run: EventList, duration: float) -> tuple[Floats, Ints]:
    """Cut each good time interval of a run into equal pieces of at most a duration, s.

    Returns
    -------
    pieces : ndarray, shape (n, 2)
        Intervals of mission time, s.
    livetime_us : ndarray of int, shape (n,)
        Their livetimes in proportion to the good time, in whole microseconds that add up to that of the run.
    """
    edges = [np.linspace(start, stop, int(np.ceil((stop - start) / duration)) + 1) for start, stop in run.gti]
    pieces = np.concatenate([np.stack([edge[:-1], edge[1:]], axis=1) for edge in edges])
    until = np.cumsum(np.diff(pieces, axis=1)[:, 0])
    return pieces, np.diff(np.rint(until / until[-1] * run.livetime * MICROSECONDS).astype(np.int64), prepend=0)


def check_good_time(gti: Floats) -> None:
    """Check that good time intervals, shape (m, 2), are in order and do not overlap.

    Raises
    ------
    BgnbError
        If they are not, or there are none.
    """
    if gti.shape[1:] != (2,) or not len(gti):
        raise BgnbError("bad-gti", "there are no good time intervals (gti, shape (m, 2))")
    if not np.all(np.isfinite(gti)):
        raise BgnbError("bad-gti", "START or STOP of a good time interval is not finite")
    if np.any(gti[:, 1] <= gti[:, 0]):
        raise BgnbError("bad-gti", "a good time interval ends before it starts (START, STOP)")
    if np.any(gti[1:, 0] < gti[:-1, 1]):
        raise BgnbError("bad-gti", "good time intervals overlap or are not in order (START, STOP)")
