"""Comparison of runs with each other: copies of a run, and runs with far fewer events than others."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from bgnb._util.arrays import Floats
from bgnb._util.errors import DataError, enumerate_values
from bgnb.cubes.event_cuts import RunCounts, add_pieces
from bgnb.cubes.stack import Stack
from bgnb.observations import tolerances
from bgnb.observations.coordinates import separation
from bgnb.observations.datastore import Runs
from bgnb.observations.event_selection import notes_on_condition
from bgnb.observations.findings import Findings, error_of_note, notes_of_runs
from bgnb.production.count_chunks import Counted, Key, count_chunk
from bgnb.production.plan import Plan

Positions = NDArray[np.intp]

# Maximum difference of altitude of runs whose rates are compared, deg, and minimum numbers of such runs and of expected events.
_ALTITUDE, _MIN_RUNS, _MIN_EXPECTED = 10.0, 2, 50.0
# Maximum distance of pointings of runs at the same time that may be copies, deg, and number of runs that each is compared with.
_SAME_POINTING, _COMPARED = 1.0, 10


def without_unlikely_runs(plan: Plan, counted: Counted) -> tuple[Counted, list[str]]:
    """Remove copies of runs, and runs with far fewer events than runs of similar altitude.

    Returns
    -------
    counted : `~bgnb.production.count_chunks.Counted`
        Counts and livetime of the other runs; the removed ones are errors.
    notes : list of str
        Notes on runs at the same time, and on removed runs that are allowed.

    Raises
    ------
    DataError
        If a run is to be removed, or noted and not allowed, and ``on_error`` is ``fail``.
    """
    runs = {obs_id: add_pieces(list(pieces.values())) for obs_id, pieces in counted.pieces.items()}
    findings, errors = Findings(plan.runs.reading), {}
    for obs_id, error in unlikely_runs(plan.runs, runs).items():
        try:
            findings.refuse(error)
        except DataError as refused:
            if plan.settings.on_error == "fail":
                raise
            errors[obs_id] = refused
    notes = notes_on_runs(plan.runs, {obs_id: run for obs_id, run in runs.items() if obs_id not in errors})
    if notes and plan.settings.on_error == "fail":
        raise error_of_note(plan.runs.path, notes[0])
    notes = findings.notes + notes
    if not errors:
        return counted, notes
    removed = count_chunk(plan.chunk(sorted(errors)))
    for obs_id in errors:
        if obs_id in removed.errors or removed.pieces[obs_id] != counted.pieces[obs_id]:
            path, advice = plan.runs.files(obs_id).events.path, "run the command again, or that of the part with this run"
            raise DataError("changed", f"{path}: was replaced, moved or removed since run {obs_id} was counted; {advice}")
    stacks = {key: _without(stack, removed.stacks.get(key)) for key, stack in counted.stacks.items()}
    kept: Mapping[Key, Stack] = {key: stack for key, stack in stacks.items() if stack.runs}
    return Counted(kept, {**counted.errors, **errors}), notes


def notes_on_used_runs(runs: Runs, counted: Mapping[int, RunCounts]) -> list[str]:
    """List the notes on the index, on single runs, and on runs compared with each other, without removing any.

    The last are on copies of runs, unusual rates and live fractions, runs at the same time, and simulated runs among real ones.
    If the directory is strict, see `~bgnb.Runs.with_on_error`, the first of these notes is raised as a `DataError`.
    """
    counted = dict(sorted(counted.items()))
    unlikely, findings = unlikely_runs(runs, counted), Findings(runs.reading, strict=runs.path if runs.strict else None)
    for error in unlikely.values():
        if error.code in runs.reading.allow:
            findings.refuse(error)
        else:
            findings.note(error.message)
    for note in notes_on_runs(runs, {obs_id: run for obs_id, run in counted.items() if obs_id not in unlikely}):
        findings.note(note)
    of_runs = notes_of_runs({obs_id: run.all_notes for obs_id, run in counted.items()})
    return [*runs.notes, *notes_on_condition(runs.reading.events), *of_runs, *findings.notes]


def unlikely_runs(runs: Runs, counted: Mapping[int, RunCounts]) -> dict[int, DataError]:
    """Return the errors of unlikely runs, by OBS_ID.

    They are copies, have far fewer events than runs of similar altitude, or no event of any run meets the condition on events.
    """
    return {**_low_rates(runs, counted)[0], **_copies(runs, counted), **_without_events(runs, counted)}


def notes_on_runs(runs: Runs, counted: Mapping[int, RunCounts]) -> list[str]:
    """Note runs with unusual rates or live fractions, runs at the same time, and simulated runs among real ones."""
    notes = _low_rates(runs, counted)[1] + _unusual_live_fractions(counted) + _at_the_same_time(runs, counted)
    simulated = [obs_id for obs_id, run in counted.items() if run.simulated]
    if 0 < len(simulated) < len(counted):
        notes.append(f"simulated runs among real ones: {enumerate_values(simulated)}")
    return notes


def _unusual_live_fractions(runs: Mapping[int, RunCounts]) -> list[str]:
    """Note runs whose livetime is another part of their ontime than that of most runs."""
    fractions = {obs_id: run.livetime_s / run.ontime_s for obs_id, run in runs.items() if run.ontime_s}
    if len(fractions) <= _MIN_RUNS:
        return []
    median = float(np.median(list(fractions.values())))
    unusual = [f"{obs_id} ({each:.2f})" for obs_id, each in fractions.items() if abs(each - median) > tolerances.LIVE_FRACTION]
    if not unusual:
        return []
    return [f"runs with an unusual live fraction (median of all: {median:.2f}): {enumerate_values(unusual)}"]


def _copies(directory: Runs, runs: Mapping[int, RunCounts]) -> dict[int, DataError]:
    """Find runs whose events are those of another run."""
    first: dict[tuple[int, int], int] = {}
    found = {}
    for obs_id, run in runs.items():
        other = first.setdefault((run.fingerprint, run.events), obs_id)
        if run.fingerprint and other != obs_id:
            where = directory.files(obs_id).events.path
            found[obs_id] = DataError("duplicate-run", f"{where}: run {obs_id} has the same events as run {other}")
    return found


def _without_events(directory: Runs, runs: Mapping[int, RunCounts]) -> dict[int, DataError]:
    """Return the same error for all runs if none has an event that meets the condition; in some runs, none may be chance."""
    if any(run.events or not run.selection for run in runs.values()):
        return {}
    text = "no event of any run meets the condition {}; check its values"
    return {obs_id: DataError("no-events", f"{directory.path}: {text.format(run.selection)}") for obs_id, run in runs.items()}


def _low_rates(directory: Runs, runs: Mapping[int, RunCounts]) -> tuple[dict[int, DataError], list[str]]:
    """Find runs with far fewer events than runs of similar altitude."""
    known: dict[tuple[str, int | None], list[RunCounts]] = {}
    for run in runs.values():
        if run.alt_pnt is not None and run.ontime_s:
            known.setdefault((run.telescop, run.n_tels), []).append(run)
    expected: dict[int, float] = {}
    anywhere: dict[int, float] = {}
    for alike in known.values():
        rates = [(run.events - run.events_outside_gti) / max(run.ontime_s or 0, 1e-9) for run in alike]
        medians = _medians_of_others(np.array([run.alt_pnt for run in alike], dtype=float), np.array(rates))
        expected |= {run.obs_id: median * (run.ontime_s or 0) for run, median in zip(alike, medians.tolist(), strict=True)}
        anywhere |= {run.obs_id: float(np.median(rates)) * (run.ontime_s or 0) for run in alike}
    found, unusual, empty = {}, [], []
    low, high = tolerances.USUAL_RATES
    for obs_id, run in runs.items():
        number = expected.get(obs_id, np.nan)
        events = run.events - run.events_outside_gti
        at_any_altitude = anywhere.get(obs_id, 0.0)
        if np.isnan(number) and at_any_altitude >= _MIN_EXPECTED and events < tolerances.FEW_EVENTS * at_any_altitude:
            empty.append(f"{obs_id} ({events} event{'s' * (events != 1)})")
        if not number >= _MIN_EXPECTED:
            continue
        if events < tolerances.MIN_RATE * number:
            where = directory.files(obs_id).events.path
            text = f"run {obs_id} has {events} events; at the rate of other runs at similar altitude it would be"
            found[obs_id] = DataError("low-rate", f"{where}: {text} {number:.0f}")
        elif not low * number <= events <= high * number:
            unusual.append(f"{obs_id} ({events / number:.2g})")
    notes = []
    if unusual:
        notes.append(f"runs with an unusual rate relative to others at similar altitude: {enumerate_values(unusual)}")
    if empty:
        share = f"{100 * tolerances.FEW_EVENTS:.0f} % of the median rate of runs with as many telescopes"
        notes.append(f"runs with less than {share}, and too few others at similar altitude: {enumerate_values(empty)}")
    return found, notes


def _medians_of_others(altitude: Floats, rate: Floats) -> Floats:
    """Return the median rate of the other runs at similar altitude of each run; NaN if there are too few.

    The time is proportional to n log n (n runs).
    """
    n_runs = len(rate)
    order = np.argsort(altitude, kind="stable")
    in_order = altitude[order]
    first = np.searchsorted(in_order, in_order - _ALTITUDE, side="left")
    stop = np.searchsorted(in_order, in_order + _ALTITUDE, side="right")
    by_rate = np.argsort(rate[order], kind="stable")
    rank = np.empty(n_runs, dtype=np.intp)
    rank[by_rate] = np.arange(n_runs)
    n_others = stop - first - 1
    middle = []
    for number in (np.maximum(n_others - 1, 0) // 2, n_others // 2):
        chosen = _nth_smallest(rank, first, stop, number)
        itself_before = (chosen >= rank) & (n_others > 0)
        middle.append(np.where(itself_before, _nth_smallest(rank, first, stop, number + itself_before), chosen))
    of_rank = rate[order][by_rate]
    medians = np.empty(n_runs)
    medians[order] = np.where(n_others < _MIN_RUNS, np.nan, (of_rank[middle[0]] + of_rank[middle[1]]) / 2)
    return medians


def _nth_smallest(values: Positions, first: Positions, stop: Positions, number: Positions) -> Positions:
    """Return the nth smallest, from 0, of ``values[first:stop]`` for each first, stop and n; values are below their number.

    Values are divided bit by bit, the highest first, those with 0 before those with 1 (a wavelet matrix).
    """
    found = np.zeros(len(number), dtype=np.intp)
    for bit in reversed(range(len(values).bit_length())):
        is_one = (values >> bit & 1).astype(bool)
        zeros = np.r_[0, np.cumsum(~is_one)]  # before each position
        n_zeros = zeros[stop] - zeros[first]
        upper = number >= n_zeros
        found |= upper.astype(np.intp) << bit
        first, stop = (np.where(upper, zeros[-1] + each - zeros[each], zeros[each]) for each in (first, stop))
        number = np.where(upper, number - n_zeros, number)
        values = np.r_[values[~is_one], values[is_one]]
    return found


def _at_the_same_time(directory: Runs, runs: Mapping[int, RunCounts]) -> list[str]:
    """Note runs of real data with the same pointing that overlap in time, such as a run and its parts."""
    known = [run for run in runs.values() if run.mjd and run.ontime_s and not run.simulated]
    known.sort(key=lambda run: (run.mjd or 0) - (run.ontime_s or 0) / 2 / 86400)
    middle = np.array([run.mjd or 0.0 for run in known]) * 86400
    ontime = np.array([run.ontime_s or 0.0 for run in known])
    start, stop = middle - ontime / 2, middle + ontime / 2
    found = []
    for step in range(1, min(_COMPARED, len(known) - 1) + 1):
        overlap = np.minimum(stop[step:], stop[:-step]) - start[step:]
        for row in np.flatnonzero(overlap > np.minimum(ontime[step:], ontime[:-step]) / 2).tolist():
            pair = known[row].obs_id, known[row + step].obs_id
            if separation(*_position(directory, pair[0]), *_position(directory, pair[1])) < _SAME_POINTING:
                found.append((min(pair), max(pair)))
    if not found:
        return []
    which = enumerate_values([f"{one} and {other}" for one, other in sorted(found)])
    return [f"runs at the same time with the same pointing, maybe one run processed twice, or a run and its parts: {which}"]


def _position(directory: Runs, obs_id: int) -> tuple[float, float]:
    """Return RA_PNT and DEC_PNT of a run, deg."""
    row = directory.table[int(np.searchsorted(directory.table["OBS_ID"], obs_id))]
    return float(row["RA_PNT"]), float(row["DEC_PNT"])


def _without(stack: Stack, part: Stack | None) -> Stack:
    """Subtract a stack of some of the runs."""
    if part is None:
        return stack
    removed = set(part.obs_ids)
    runs = tuple(run for run in stack.runs if run.obs_id not in removed)
    return Stack(stack.axes, stack.fovalign, stack.counts - part.counts, stack.livetime_us - part.livetime_us, runs)
