"""Event selection: bins of the counted events of a run, and numbers of excluded events by reason."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from astropy import units as u
from numpy.typing import NDArray

from bgnb._util.arrays import IN_MEMORY, blocks
from bgnb._util.checks import finite_number, whole_number
from bgnb._util.errors import BgnbError, quoted
from bgnb.cubes.cube import CubeAxes
from bgnb.cubes.exclusion_mask import SourceMask
from bgnb.observations.coordinates import FovAlign, mean_pointing
from bgnb.observations.event_list import MICROSECONDS, PLAUSIBLE_MJD, EventList


@dataclass(frozen=True)
class RunCounts:
    """Numbers of counted and excluded events of one run, or of a piece of it.

    Each event is in one category: in a piece of the run that points outside all groups, else
    outside the good time intervals, else below the run's
    energy threshold or in the energy bin that contains the threshold, else above its energy limit
    or in the energy bin that contains the limit, else outside the axes, else in an exclusion
    region, else counted.

    Parameters
    ----------
    obs_id : int
        Number of the run.
    livetime_s : float
        Livetime, s.
    energy_threshold_tev : float or None
        Energy threshold (LO_THRES), TeV; None if it is not stated.
    events : int
        Number of all events of the run.
    events_outside_gti, events_below_threshold, events_outside_axes, events_in_mask : int
        Numbers of excluded events, by reason.
    telescop : str
        Name of the instrument (TELESCOP).
    n_tels : int or None
        Number of telescopes (N_TELS).
    energy_limit_tev : float or None
        Energy limit (HI_THRES), TeV; None if it is not stated.
    events_above_limit : int
        Number of events excluded because of the energy limit.
    events_outside_groups : int
        Number of events excluded because their piece of the run points outside all groups.
    alt_pnt, az_pnt : float or None
        Mean altitude and azimuth of the pointing, deg; None if they are not known.
    notes : tuple of str
        Warnings raised while the run was read.
    ontime_s : float or None
        Ontime, the sum of the good time intervals, s; None if it is not known.
    simulated : bool
        True for a simulated run.
    mjd : float or None
        Middle of the run, MJD in TT; None if it is not known.
    selection : str
        Condition by which its events were selected, "" for all events.
    fingerprint : int
        Number that depends on the energies of all events of the run, 0 if it is not known.

    Raises
    ------
    BgnbError
        If a value has the wrong type or is out of range, or more events are excluded than there are.
    """

    obs_id: int
    livetime_s: float
    energy_threshold_tev: float | None
    events: int
    events_outside_gti: int
    events_below_threshold: int
    events_outside_axes: int
    events_in_mask: int = 0
    telescop: str = ""
    n_tels: int | None = None
    energy_limit_tev: float | None = None
    events_above_limit: int = 0
    events_outside_groups: int = 0
    alt_pnt: float | None = None
    az_pnt: float | None = None
    notes: tuple[str, ...] = ()
    ontime_s: float | None = None
    simulated: bool = False
    mjd: float | None = None
    selection: str = ""
    fingerprint: int = field(default=0, compare=False)  # not in files

    def __post_init__(self) -> None:
        whole_number("obs_id", self.obs_id, minimum=-(2**63))
        whole_number("fingerprint", self.fingerprint, minimum=-(2**63))
        if self.n_tels is not None:
            whole_number("n_tels", self.n_tels, minimum=0)
        for name in ("events", *EXCLUDED):
            whole_number(name, getattr(self, name), minimum=0)
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if (value is not None or name == "livetime_s") and not low <= finite_number(name, value) <= high:
                text = f"must be from {low:g} to {high:g}, got {quoted(value)}"
                raise BgnbError("invalid-value", f"{name} of run {self.obs_id} {text}")
        if not 0 <= self.counts <= self.events < 2**63 or (self.n_tels or 0) >= 2**31:
            numbers = f"{self.counts} counts of {self.events} events and {self.n_tels} telescopes"
            raise BgnbError("invalid-value", f"run {self.obs_id} cannot have {numbers}")
        if not all(type(text) is str and text.isascii() and text.isprintable() for text in (self.telescop, self.selection)):
            raise BgnbError("invalid-value", f"telescop and selection of run {self.obs_id} must be texts of printable ASCII")
        if {type(self.simulated)} != {bool} or {*map(type, self.notes)} - {str}:
            raise BgnbError("invalid-value", f"simulated or notes of run {self.obs_id} are of the wrong type")

    @property
    def counts(self) -> int:
        """Number of counted events."""
        return self.events - sum(getattr(self, name) for name in EXCLUDED)

    @property
    def all_notes(self) -> tuple[str, ...]:
        """Warnings raised while the run was read, a missing energy threshold, and an excluded field of view."""
        missing = "there is no energy threshold (LO_THRES), and all energies are used"
        excluded = (
            "no event is left outside the exclusion regions; leave the run out, or it shifts the mean pointing of its group"
        )
        return (missing,) * (self.energy_threshold_tev is None) + (excluded,) * self.is_excluded + self.notes

    @property
    def is_excluded(self) -> bool:
        """True if exclusion regions contain all events that would be counted otherwise."""
        return self.counts == 0 < self.events_in_mask

    @classmethod
    def of(cls, events: EventList, **excluded: int) -> RunCounts:
        """Describe a run, or a piece of it, given the numbers of excluded events by category (0 by default)."""
        alt_pnt, az_pnt = events.mean_pointing
        numbers: dict[str, Any] = dict.fromkeys(EXCLUDED, 0) | excluded
        return cls(
            obs_id=events.obs_id,
            livetime_s=events.livetime,
            energy_threshold_tev=events.energy_threshold,
            events=len(events),
            telescop=events.telescop,
            n_tels=events.n_tels,
            energy_limit_tev=events.energy_limit,
            alt_pnt=alt_pnt,
            az_pnt=az_pnt,
            notes=events.notes,
            ontime_s=events.ontime,
            simulated=events.simulated,
            mjd=events.mjd_middle,
            selection=events.selection,
            fingerprint=events.fingerprint,
            **numbers,
        )


#: Categories of excluded events.
EXCLUDED = (
    "events_outside_groups",
    "events_outside_gti",
    "events_below_threshold",
    "events_above_limit",
    "events_outside_axes",
    "events_in_mask",
)

# Ranges of the other numbers, which are None if they are not known, except for the livetime.
_RANGES = {
    "livetime_s": (0.0, 1e12),  # in microseconds, it is a 64-bit integer
    "ontime_s": (0.0, 1e12),
    "energy_threshold_tev": (0.0, math.inf),
    "energy_limit_tev": (0.0, math.inf),
    "alt_pnt": (-90.0, 90.0),
    "az_pnt": (-math.inf, math.inf),
    "mjd": PLAUSIBLE_MJD,
}

# Those that `cut_events` excludes, in the order in which it does.
_CUTS = EXCLUDED[1:]


def add_pieces(pieces: Sequence[RunCounts]) -> RunCounts:
    """Add the counts of pieces of one run; livetimes are added as whole microseconds."""
    first, *others = pieces
    if not others:
        return first
    livetimes = [round(piece.livetime_s * MICROSECONDS) for piece in pieces]
    mjds = [piece.mjd or 0.0 for piece in pieces]
    alt_pnt = az_pnt = None
    if all(piece.alt_pnt is not None for piece in pieces):
        pointings = np.array([(piece.alt_pnt, piece.az_pnt) for piece in pieces], dtype=float)
        alt_pnt, az_pnt = mean_pointing(pointings, np.array(livetimes))
    return replace(
        first,
        **{name: sum(getattr(piece, name) for piece in pieces) for name in ("events", *EXCLUDED)},
        livetime_s=sum(livetimes) / MICROSECONDS,
        ontime_s=None if any(piece.ontime_s is None for piece in pieces) else sum(piece.ontime_s or 0.0 for piece in pieces),
        mjd=None if any(piece.mjd is None for piece in pieces) else float(np.average(mjds, weights=livetimes)),
        alt_pnt=alt_pnt,
        az_pnt=az_pnt,
        notes=tuple(dict.fromkeys(note for piece in pieces for note in piece.notes)),
    )


def common_runs(runs: Iterable[RunCounts], others: Iterable[RunCounts]) -> set[int]:
    """Find the OBS_IDs of runs that are in both.

    Runs with the same OBS_ID on other days are not the same: those of each simulation are counted from 1.
    """
    days = {run.obs_id: run.mjd for run in runs}
    both = [(run.obs_id, days[run.obs_id], run.mjd) for run in others if run.obs_id in days]
    return {obs_id for obs_id, one, other in both if one is None or other is None or abs(one - other) < 1}


def measured_planes(threshold: float | None, limit: float | None, axes: CubeAxes) -> slice:
    """Return the energy bins that lie entirely between the energy threshold and the energy limit of a run, TeV."""
    first = 0 if threshold is None else axes.first_bin_above(threshold * u.TeV)
    stop = axes.shape[0] if limit is None else axes.number_below(limit * u.TeV)
    return slice(first, max(first, stop))


def cut_events(
    events: EventList, axes: CubeAxes, fovalign: FovAlign, mask: SourceMask | None, part: NDArray[np.float64]
) -> tuple[NDArray[np.intp], RunCounts]:
    """Compute the flat bin index of each counted event, and the numbers of counted and excluded events."""
    planes = measured_planes(events.energy_threshold, events.energy_limit, axes)
    parts = [_cut_block(events, axes, fovalign, mask, part, planes, rows) for rows in blocks(len(events), IN_MEMORY)]
    flat = np.concatenate([np.zeros(0, dtype=np.intp), *(bins for bins, _ in parts)])
    numbers = np.sum([np.zeros(len(_CUTS), dtype=np.int64), *(excluded for _, excluded in parts)], axis=0)
    return flat, RunCounts.of(events, **dict(zip(_CUTS, numbers.tolist(), strict=True)))


def _cut_block(
    events: EventList,
    axes: CubeAxes,
    fovalign: FovAlign,
    mask: SourceMask | None,
    part: NDArray[np.float64],
    planes: slice,
    rows: slice,
) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
    """Compute the flat bin index of each counted event in some rows, and the numbers of excluded ones (`_CUTS`)."""
    energy_edges, energy, in_gti = axes.energy.value, events.energy[rows], events.in_gti[rows]
    above = in_gti & (energy >= (energy_edges[planes.start] if planes.start else events.energy_threshold or 0.0))
    if planes.stop < axes.shape[0]:
        within = above & (energy < energy_edges[planes.stop])
    else:
        within = above & (energy <= (np.inf if events.energy_limit is None else events.energy_limit))
    use = rows.start + np.flatnonzero(within)
    detx, dety = events.detxy(fovalign, use)
    bins = [
        _bin_index(energy_edges, events.energy[use]),
        _bin_index(axes.dety.value, dety),
        _bin_index(axes.detx.value, detx),
    ]
    inside = np.ones(len(use), dtype=bool)
    for index, n_bins in zip(bins, axes.shape, strict=True):
        inside &= (index >= 0) & (index < n_bins)
    outside = int(np.count_nonzero(~inside))
    if mask:
        # A bin without livetime gets no counts, even if a corner lies just outside the regions.
        plane, *pixel = (index[inside] for index in bins)
        closed = part[plane, *pixel] * events.livetime * MICROSECONDS < 1
        chosen = use[inside]
        bounds = energy_edges[plane], energy_edges[plane + 1]
        inside[inside] = ~(closed | mask.covers(events.ra[chosen], events.dec[chosen], bounds))
    flat = np.ravel_multi_index([index[inside] for index in bins], axes.shape)
    n_good, n_above = np.count_nonzero(in_gti), np.count_nonzero(above)
    excluded = len(energy) - n_good, n_good - n_above, n_above - len(use), outside, len(use) - outside - len(flat)
    return flat, np.array(excluded, dtype=np.int64)


def _bin_index(edges: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.intp]:
    """Find the bin [lo, hi) of each value; −1 below and the number of bins above the axis.

    For bins of equal width the index is computed, and corrected for rounding, which is five
    times as fast as a search.
    """
    n_bins, width = len(edges) - 1, edges[-1] - edges[0]
    if np.ptp(np.diff(edges)) > 1e-6 * width / n_bins:
        return np.searchsorted(edges, values, side="right") - 1
    index = ((values - edges[0]) * (n_bins / width)).clip(0, n_bins - 1).astype(np.intp)
    index += values >= edges[1:][index]
    index -= values < edges[index]
    return index
