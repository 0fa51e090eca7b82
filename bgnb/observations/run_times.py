"""Times of a run: reference time, good time, and livetime, from all statements about them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from bgnb._util.arrays import IN_MEMORY, Floats, blocks
from bgnb._util.errors import DataError, located
from bgnb.observations import tolerances
from bgnb.observations.event_list import check_good_time
from bgnb.observations.findings import Findings
from bgnb.observations.fits_table import FitsTable
from bgnb.observations.gadf_keywords import column_in, factor_to, mjdref_tt, start_and_stop, time_unit

# Overlap of good time intervals that is due to rounding, and rounding of times that is not noted, s.
_ROUNDING = 0.01
# Values of LIVETIME, DEADC and ONTIME that are not known.
_PLACEHOLDERS = (0, -1)
_Fail = Callable[[str], DataError]
# Difference of DEADC from 1 that is due to rounding.
_ROUNDING_OF_DEADC = 1e-4


class GoodTime(NamedTuple):
    """Good time intervals in mission time of the events, s, shape (n, 2); sum and number of those that the file states."""

    intervals: Floats
    stated: float
    n_stated: int


def with_reference_times(events: FitsTable, gti: FitsTable | None, findings: Findings) -> tuple[FitsTable, FitsTable | None]:
    """Give both tables the keywords of the reference time that only one of them states."""
    for keyword in ("MJDREFF", "TIMESYS"):
        tables = [table for table in (events, gti) if table is not None]
        has_zero = [table for table in tables if table.stated("MJDREFI") is not None]
        stating = [table for table in tables if table.stated(keyword) is not None]
        lacking = [table for table in has_zero or tables[:1] if table not in stating]
        if not lacking or any(table.stated("MJDREF") is not None and table.stated("MJDREFI") is None for table in tables):
            continue
        if not stating:
            assumed = "0" if keyword == "MJDREFF" else "TT"
            if events.get(keyword) is None:
                findings.note(f"{keyword} is missing; {assumed} is assumed")
            continue
        (source, *_), (target, *_) = stating, lacking
        if keyword == "MJDREFF" and source.stated("MJDREFI") != target.stated("MJDREFI"):
            continue
        findings.note(f"{keyword} is missing in HDU {target.name}; that of HDU {source.name} is used")
        value = {keyword: source.cards[keyword]}
        if target is events:
            events = replace(events, cards={**events.cards, **value})
        elif gti is not None:
            gti = replace(gti, cards={**gti.cards, **value})
    return events, gti


def note_rounded_times(table: FitsTable, names: Collection[str], findings: Findings) -> None:
    """Note columns of times in single precision, which rounds mission times of years to seconds.

    Raises
    ------
    DataError
        If steps are so long that they would be taken for gaps.
    """
    for name in names:
        values = table.column(name)
        if values.dtype != np.float32 or not np.isfinite(largest := float(np.abs(values).max(initial=0.0))):
            continue
        step = float(np.spacing(np.float32(largest))) * factor_to(table.units[name] or time_unit(table), "s", table.where)
        text = f"column {name} is in single precision, which rounds it to {step:.3g} s"
        if step > tolerances.GAP_DURATION:
            raise table.error("bad-column", f"{text}; write it in double precision")
        if step > _ROUNDING:
            findings.note(f"{text} in HDU {table.name}")


def times_of(table: FitsTable, mjdref: float) -> Floats:
    """Return the column TIME in mission time of the events, s, whose reference time is ``mjdref``."""
    times = column_in(table, "TIME", "s", time_unit(table))
    has_zero = table.get("MJDREFI") is not None or table.get("MJDREF") is not None
    return times + (mjdref_tt(table) - mjdref) * 86400 if has_zero else times


def good_time_intervals(events: FitsTable, gti: FitsTable | None, mjdref: float, findings: Findings) -> GoodTime:
    """Return the good time intervals, in order and merged if they overlap; the whole run if there is no table.

    Raises
    ------
    DataError
        If there are none, or one ends before it starts.
    """
    if gti is None:
        findings.note("there are no good time intervals (HDU GTI); the whole run is used")
        whole = np.array([start_and_stop(events)])
        return GoodTime(whole, float(np.diff(whole).sum()), 1)
    gti = replace(gti, defaults={keyword: events.get(keyword) for keyword in ("TIMESYS", "TIMEUNIT", "TSTART")})
    note_rounded_times(gti, ("START", "STOP"), findings)
    start, stop = (column_in(gti, name, "s", time_unit(gti)) for name in ("START", "STOP"))
    if events.get("TSTART") is not None and events.get("TSTOP") is not None:
        start_and_stop(events)  # checks their order
    has_zero = gti.get("MJDREFI") is not None or gti.get("MJDREF") is not None
    shift = (mjdref_tt(gti) - mjdref) * 86400 if has_zero else 0.0
    intervals = np.stack([start, stop], axis=1)[np.argsort(start, kind="stable")] + shift
    stated = float(np.diff(intervals).sum())
    if np.any(empty := intervals[:, 0] == intervals[:, 1]) and not empty.all():
        findings.note(f"{np.count_nonzero(empty)} of {len(empty)} good time intervals have no length; they are ignored")
        intervals = intervals[~empty]
    until = np.maximum.accumulate(intervals[:, 1]) if len(intervals) else intervals
    if len(intervals) > 1 and np.all(intervals[:, 1] > intervals[:, 0]) and np.any(overlap := intervals[1:, 0] < until[:-1]):
        starts = np.r_[True, ~overlap]
        merged = np.stack([intervals[starts, 0], until[np.r_[~overlap, True]]], axis=1)
        if (twice := float(np.diff(intervals).sum() - np.diff(merged).sum())) > _ROUNDING:
            findings.note(f"good time intervals overlap by {twice:.1f} s; they are merged")
        intervals = merged
    with located(gti.where):
        check_good_time(intervals)
    return GoodTime(intervals, stated, len(start))


class Livetime(NamedTuple):
    """Livetime, s, and the duration that it belongs to, which may be shorter than the good time; infinite if trusted."""

    seconds: float
    span: float

    def within(self, whole: float, left: float) -> float:
        """Return the livetime if only a part of the good time is left."""
        if self.span == np.inf:
            return self.seconds
        if self.seconds < tolerances.PLAUSIBLE_LIVE_FRACTION * min(self.span, whole) and self.seconds <= left:
            return self.seconds  # it does not contain the rest
        return self.seconds * min(self.span, left) / min(self.span, whole)


def livetime_of(events: FitsTable, good: float, findings: Findings) -> Livetime:
    """Return the livetime of the good time from LIVETIME, DEADC and ONTIME; values of 0 are placeholders.

    Raises
    ------
    DataError
        If they contradict each other and the good time in a way that has no explanation, or all are missing.
    """
    stated = {name: events.number(name, 0) for name in ("LIVETIME", "DEADC", "ONTIME")}
    for name, value in stated.items():
        if value in _PLACEHOLDERS and events.get(name) is not None:
            findings.note(f"{name} is {value:g}; it is ignored")
    livetime, deadc, ontime = (None if value in _PLACEHOLDERS else value for value in stated.values())

    def fail(message: str) -> DataError:
        return events.error("inconsistent-times", f"{message}; to use LIVETIME as it is, --trust livetime")

    if (livetime or 0) < 0 or (deadc or 0) < 0:
        raise events.error(
            "inconsistent-times", f"LIVETIME = {livetime or 0:g} s and DEADC = {deadc or 0:g} must not be below 0"
        )
    if livetime is not None and "livetime" in findings.reading.trust:
        if not _agree(livetime, (deadc or livetime / good) * good) or not _agree(ontime or good, good):
            text = f"LIVETIME = {livetime:g} s is trusted, although DEADC, ONTIME or the good time contradict it"
            findings.note(text, requested=True)
        return Livetime(livetime, np.inf)
    if deadc is not None and deadc > 1 + tolerances.TIMES:
        raise fail(f"DEADC = {deadc:g} is above 1; DEADC times the good time is {deadc * good:g} s")
    if livetime is None:
        if deadc is None and events.get("LIVETIME") is not None:
            raise events.error("inconsistent-times", f"LIVETIME = {stated['LIVETIME']:g} s, and DEADC is missing")
        if deadc is None:
            findings.refuse(events.error("missing-livetime", "LIVETIME and DEADC are missing; the dead time is not known"))
            return Livetime(good, good)
        if deadc < tolerances.MIN_LIVE_FRACTION:
            message = f"DEADC = {deadc:g} without LIVETIME: the live fraction of a run is larger; is it the dead fraction?"
            raise events.error("inconsistent-times", message)
        return Livetime(deadc * good, good)
    if deadc is None:
        found = _without_deadc(livetime, ontime or good, good, findings, fail)
    else:
        found = _with_deadc(events, livetime, deadc, ontime or good, good, findings, fail)
    if found.seconds < tolerances.MIN_LIVE_FRACTION * good:
        longest = f"ONTIME, {ontime:g} s" if ontime and ontime > good else f"the good time, {good:g} s"
        raise fail(f"LIVETIME = {livetime:g} s is less than half of {longest}; are all times in seconds?")
    return found


def _without_deadc(livetime: float, ontime: float, good: float, findings: Findings, fail: _Fail) -> Livetime:
    if livetime > (1 + tolerances.TIMES) * ontime:
        raise fail(f"LIVETIME = {livetime:g} s is longer than ONTIME = {ontime:g} s")
    if _agree(ontime, good):
        if livetime > good * (1 - _ROUNDING_OF_DEADC):
            findings.note("LIVETIME is the good time, and DEADC is missing: there is no dead time")
        return Livetime(livetime, good)
    if ontime < good or livetime <= good:
        raise fail(f"ONTIME = {ontime:g} s, but good time adds up to {good:g} s")
    findings.note(f"LIVETIME is that of ONTIME = {ontime:g} s; it is scaled to the good time, {good:g} s")
    return Livetime(livetime * good / ontime, good)


def _with_deadc(
    events: FitsTable, livetime: float, deadc: float, ontime: float, good: float, findings: Findings, fail: _Fail
) -> Livetime:
    if deadc < tolerances.MIN_LIVE_FRACTION:
        times = f"LIVETIME = {livetime:g} s, but DEADC times the good time is {deadc * good:g} s"
        raise fail(f"{times} (DEADC = {deadc:g}: is it the dead fraction?)")
    if abs(livetime - deadc * good) <= tolerances.TIMES * good:
        if not _agree(ontime, good):
            # Some files of VERITAS with time cuts state the ONTIME of the whole run.
            findings.note("ONTIME is not the sum of the good time intervals; LIVETIME and DEADC, which agree with it, are used")
        return Livetime(livetime, good)
    spans = {"ONTIME": ontime}
    if events.get("TSTART") is not None and events.get("TSTOP") is not None:
        start, stop = start_and_stop(events)
        spans["TSTOP - TSTART"] = stop - start
    for name, span in spans.items():
        if abs(livetime - deadc * span) <= tolerances.TIMES * span and not _agree(span, good):
            if span < good:
                stated = f"{name} = {span:g} s, which is shorter than the good time, {good:g} s"
                findings.note(f"LIVETIME is DEADC times {stated}; it is used")
                return Livetime(livetime, span)
            findings.note(f"LIVETIME is that of {name} = {span:g} s; DEADC times the good time, {good:g} s, is used")
            return Livetime(deadc * good, good)
    if abs(deadc - 1) < _ROUNDING_OF_DEADC and livetime < good and _agree(ontime, good):
        findings.note("DEADC is 1, but LIVETIME is shorter than the good time; LIVETIME is used")
        return Livetime(livetime, good)
    if livetime > (1 + tolerances.TIMES) * max(ontime, good):
        raise fail(f"LIVETIME = {livetime:g} s is longer than ONTIME = {ontime:g} s")
    if not _agree(ontime, good):
        raise fail(f"ONTIME = {ontime:g} s, but good time adds up to {good:g} s")
    raise fail(f"LIVETIME = {livetime:g} s, but DEADC times the good time is {deadc * good:g} s")


def _agree(one: float, other: float) -> bool:
    return abs(one - other) <= tolerances.TIMES * max(one, other)


def elapsed_good_time(time: Floats, gti: Floats) -> Floats:
    """Return the good time, s, before each of the times, which lie in good time intervals."""
    before = np.r_[0, np.cumsum(np.diff(gti, axis=1))]
    elapsed = np.empty(len(time))
    for part in blocks(len(time), IN_MEMORY):
        interval = np.searchsorted(gti[:, 0], time[part], side="right") - 1
        elapsed[part] = before[interval] + time[part] - gti[interval, 0]
    return elapsed


def cut_gaps(time: Floats, gti: Floats) -> tuple[Floats, list[tuple[float, float]]]:
    """Cut gaps without events out of good time intervals.

    A gap is cut if one as long would occur in a run with a constant rate with a chance of less than
    `tolerances.GAP_CHANCE`, and is longer than `tolerances.GAP_DURATION`.

    Parameters
    ----------
    time : ndarray, shape (n,)
        Times of the events in the good time, s.
    gti : ndarray, shape (m, 2)
        Good time intervals, in order.

    Returns
    -------
    gti : ndarray, shape (k, 2)
        Good time intervals that are left.
    gaps : list of tuple of float
        Start and stop of each gap, s.
    """
    before = np.r_[0, np.cumsum(np.diff(gti, axis=1))]  # good time before each interval
    whole = float(before[-1])
    good = elapsed_good_time(time, gti)
    good.sort(kind="stable")  # fast if nearly sorted
    good = np.r_[0, good, whole]
    long = np.flatnonzero(np.diff(good) > tolerances.GAP_DURATION)
    gap = good[long + 1] - good[long]
    cut = np.zeros(len(gap), dtype=bool)
    for _ in range(len(gap)):
        left = whole - gap[cut].sum()
        mean = gap * (len(time) / left) if left > 0 else np.zeros(len(gap))  # expected numbers of events
        found = mean > np.log(max(len(time), 1) / tolerances.GAP_CHANCE)
        if np.array_equal(found, cut):
            break
        cut = found | cut
    if not cut.any():
        return gti, []

    def mission_time(position: float, *, end: bool) -> float:
        """Return the mission time of a position in the good time: the end of an interval, or the start of the next."""
        row = int(np.searchsorted(before, position, side="left" if end else "right")) - 1
        row = min(max(row, 0), len(gti) - 1)
        return float(gti[row, 0] + position - before[row])

    starts, stops = good[long[cut]], good[long[cut] + 1]
    gaps = [(mission_time(start, end=True), mission_time(stop, end=False)) for start, stop in zip(starts, stops, strict=True)]
    edges = np.stack([starts, stops], axis=1).ravel()
    bounds = np.unique(np.r_[before, edges])
    first, last = bounds[:-1], bounds[1:]
    kept = np.searchsorted(edges, first, side="right") % 2 == 0
    row = np.searchsorted(before, first, side="right") - 1
    pieces = np.stack([gti[row, 0] + first - before[row], gti[row, 0] + last - before[row]], axis=1)
    return pieces[kept], gaps
