"""Consistency checks on a run.

Well-formed files can still be wrong. These checks find errors that would change rates
silently, such as positions, energies or times in a wrong unit, duplicate events, or the
pointing of another run. Invalid values are refused by `bgnb.EventList`.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bgnb._util.arrays import order_of
from bgnb._util.reading import open_file
from bgnb.observations import tolerances
from bgnb.observations.coordinates import date_of, separation, sun_altitude
from bgnb.observations.event_list import EventList, RunFiles
from bgnb.observations.findings import Findings
from bgnb.observations.fits_table import FitsTable
from bgnb.observations.gadf_keywords import column_in, factor_to, time_unit
from bgnb.observations.run_pointing import check_altaz, check_tracking, sample_rows
from bgnb.observations.run_times import elapsed_good_time

#: Frames that differ from ICRS by more than an arcsecond; FK5 (J2000) does not.
_OTHER_FRAMES = ("FK4", "FK4-NO-E", "GAPPT", "CIRS", "GALACTIC", "ECLIPTIC")
#: Columns whose values are types or classes of events.
CLASSES = ("EVENT_TYPE", "EVENT_CLASS", "IS_GAMMA")
_MIN_EVENTS_FOR_MEDIAN = 20
# Ordinal number of the day of MJD 0, 1858-11-17.
_MJD_ZERO = 678576
# Minimum number of events for checks of their distribution.
_MIN_EVENTS = 100
# Likelihood ratio, as twice its logarithm, above which the rate of a run has a step.
_STEP_SIGNIFICANCE = 50.0
_STEP_BINS = 20
# Time within which events do not follow each other unless they are the same, s.
_COINCIDENCE = 1e-5


def check_run(
    files: RunFiles,
    table: FitsTable,
    pointings: FitsTable | None,
    run: EventList,
    findings: Findings,
    *,
    moving: bool = False,
) -> None:
    """Check a run for inconsistencies.

    Parameters
    ----------
    files : `~bgnb.observations.event_list.RunFiles`
        Entries of the run in the index.
    table : `~bgnb.observations.fits_table.FitsTable`
        EVENTS table as read from the file.
    pointings : `~bgnb.observations.fits_table.FitsTable` or None
        HDU POINTING of its file.
    run : `~bgnb.EventList`
        Its events.
    findings : `~bgnb.observations.findings.Findings`
        Receives notes: inconsistencies that do not change rates, or that were resolved.
    moving : bool
        True if the run is not expected to track one position.

    Raises
    ------
    DataError
        If the run is inconsistent.
    """
    if table.get("OBS_ID") is None and files.shared_with is not None:
        raise table.error("duplicate-run", f"the index lists these events for run {files.shared_with} too; OBS_ID is missing")
    if not run.in_gti.any() and not files.may_be_empty:
        raise table.error("bad-gti", "no event lies in a good time interval; do EVENTS and GTI have the same MJDREF?")
    _check_energies(table, run, findings)
    _check_frame(table)
    _check_positions(table, run, findings)
    _check_duplicates(table, run, findings)
    if not moving:
        check_altaz(files, table, run, findings)
        check_tracking(table, pointings, run, findings)
    _check_threshold(table, run, findings)
    _note_dates(table, run, findings)
    _note_daylight(table, run, findings)
    if not moving:
        _check_detxy(table, run, findings)
    _note_steps(run, findings)
    if findings.reading.events is None:
        _note_classes(table, findings)
    # The livetime of an observation in memory is that of Gammapy, which reads only some of the keywords.
    livetime = files.index.get("LIVETIME") if files.content is None else None
    count = files.index.get("EVENT_COUNT")
    stated = table.number("LIVETIME", 0) if "LIVETIME" in table.cards else 0  # without an index, the same
    differs = stated and livetime and livetime != stated and abs(livetime - run.livetime) > 1e-3 * run.livetime
    if differs and abs(run.time_cut) < 1:
        findings.note("LIVETIME of the index differs from that of the events, which is used")
    if count is not None and count != table.size("NAXIS2"):
        findings.note("EVENT_COUNT of the index differs from the number of events; the list may be truncated or duplicated")


def check_files(files: RunFiles, findings: Findings) -> None:
    """Note the files of a run whose size or checksum is not that in the index; files that cannot be read are ignored.

    Parameters
    ----------
    files : `~bgnb.observations.event_list.RunFiles`
        Files of the run.
    findings : `~bgnb.observations.findings.Findings`
        Receives the notes.
    """
    for path, stated in files.files.items():
        try:
            if not path.is_file():
                continue  # reading the run fails, with a message
            size = path.stat().st_size if stated.size else 0
            checksum = _md5(path) if stated.md5 else ""
        except OSError:
            continue
        if stated.md5 - {checksum}:
            findings.note(f"{path}: the index states another checksum (MD5) than the file has; was the file replaced?")
        elif size != stated.size:
            findings.note(f"{path}: the index states another size, {stated.size} bytes, than the file has, {size}")


def _md5(path: Path) -> str:
    with open_file(path) as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def check_obs_id(files: RunFiles, kind: str, table: FitsTable, findings: Findings) -> None:
    """Raise a `DataError` if the HDU of a kind, such as EVENTS, states the OBS_ID of another run.

    In the file of the events, an effective area may be that of another run, with a note: Gammapy writes such files of simulated
    events. In another file, the user has to allow it (``wrong-run``).
    """
    stated = table.get("OBS_ID")
    with suppress(ValueError, OverflowError):
        if stated is None or (int(stated) == files.obs_id and not (isinstance(stated, float) and stated % 1)):
            return
    error = table.error("wrong-run", f"OBS_ID is {stated}, but run {files.obs_id} is expected here")
    if kind != "AEFF" or files.aeff is None:
        raise error
    if files.aeff.path != files.events.path:
        findings.refuse(error)
    else:
        findings.note(f"OBS_ID is {stated} in HDU {table.name}; the effective area is that of another run")


def _check_energies(table: FitsTable, run: EventList, findings: Findings) -> None:
    """Check the unit of energies by their median, and that they are not logarithms, clipped or rounded."""
    if len(run) < _MIN_EVENTS_FOR_MEDIAN:
        return
    energy = np.sort(run.energy[sample_rows(len(run))])
    middle = float(np.median(energy))
    low, high = tolerances.MEDIAN_ENERGY
    if not low <= middle <= high:
        unit = table.units["ENERGY"] or table.get("EUNIT")
        findings.refuse(table.error("bad-energy", f"column ENERGY has a median of {middle:g} TeV; its unit cannot be {unit}"))
    if len(run) < _MIN_EVENTS:
        return
    first, last = np.quantile(energy, (0.01, 0.99))
    if middle > tolerances.LOW_ENERGIES * first:
        text = f"the lowest values in column ENERGY are far below their median, {middle:.3g} TeV; are they logarithms?"
        findings.refuse(table.error("bad-energy", text))
    if last < tolerances.ENERGY_RANGE * first:
        text = f"98 % of the values in column ENERGY lie between {first:.3g} and {last:.3g} TeV; are they logarithms?"
        findings.refuse(table.error("bad-energy", text))
    values, numbers = np.unique(energy, return_counts=True)
    share, often = numbers.max() / len(energy), values[numbers.argmax()]
    second = np.sort(numbers)[-2] / len(energy) if len(numbers) > 1 else 0.0
    if share > max(tolerances.EQUAL_VALUES, 5 * second):  # those of rounded energies are alike
        text = f"{share:.0%} of the events have the same ENERGY, {often:.4g} TeV; are they clipped, or not reconstructed?"
        findings.refuse(table.error("bad-energy", text))
    elif len(values) < len(energy) / 2:
        findings.note(f"energies are rounded: {len(energy)} events have {len(values)} different ones")


def _check_positions(table: FitsTable, run: EventList, findings: Findings) -> None:
    """Check that events are not at one position, such as the pointing where the reconstruction failed."""
    rows = sample_rows(len(run))
    if len(rows) < _MIN_EVENTS:
        return
    positions, numbers = np.unique(run.ra[rows] + 1j * run.dec[rows], return_counts=True)
    share, position = numbers.max() / len(rows), positions[numbers.argmax()]
    if share > tolerances.EQUAL_VALUES:
        where = f"RA {position.real:.4f}, DEC {position.imag:.4f} deg"
        text = f"{share:.0%} of the events are at the same position, {where}; did their reconstruction fail?"
        findings.refuse(table.error("bad-position", text))
        return
    near = separation(run.ra[rows], run.dec[rows], run.ra_pnt, run.dec_pnt) < tolerances.AT_POINTING
    if (share := np.count_nonzero(near) / len(rows)) > tolerances.MAX_AT_POINTING:
        text = f"{share:.0%} of the events are within {tolerances.AT_POINTING:g} deg of the pointing"
        findings.refuse(table.error("bad-position", f"{text}; did their reconstruction fail?"))


def _check_threshold(table: FitsTable, run: EventList, findings: Findings) -> None:
    """Check that LO_THRES does not exclude nearly all events."""
    if run.energy_threshold is None or len(run) < _MIN_EVENTS:
        return
    below = np.count_nonzero(run.energy < run.energy_threshold) / len(run)
    if below > tolerances.BELOW_THRESHOLD:
        text = f"{below:.1%} of the events are below LO_THRES = {run.energy_threshold:g} TeV; is it in GeV, or a logarithm?"
        findings.refuse(table.error("bad-threshold", text))
    above = np.count_nonzero(run.energy >= run.energy_threshold)
    first = tolerances.FIRST_ENERGY * run.energy_threshold
    if above >= _MIN_EVENTS and not np.any((run.energy >= run.energy_threshold) & (run.energy < first)):
        where = f"between LO_THRES = {run.energy_threshold:.3g} and {first:.3g} TeV"
        findings.note(f"there are no events {where}, although livetime counts there")


def _note_dates(table: FitsTable, run: EventList, findings: Findings) -> None:
    """Note a run whose good time begins on another day than TSTART, which decides the epoch, or DATE-OBS.

    Altitude and azimuth do not tell the year: MJDREF of 2000 and of 2001 give nearly the same.
    """
    start = run.mjdref + float(run.gti[0, 0]) / 86400
    if (days := float(run.gti[-1, 1] - run.gti[0, 0]) / 86400) > 1:
        findings.note(f"the good time intervals of the run span {days:.3g} days")
    dates = {}
    if table.get("TSTART") is not None:
        dates["TSTART"] = run.mjdref + table.number("TSTART") * factor_to(time_unit(table), "d", table.where)
    name = next((name for name in ("DATE-OBS", "DATE_OBS") if table.get(name) is not None), "")
    with suppress(ValueError):  # missing, or in another format
        dates[name] = date.fromisoformat(str(table.get(name))[:10]).toordinal() - _MJD_ZERO + 0.5  # noon
    for keyword, mjd in dates.items():
        if abs(start - mjd) > tolerances.DATE:
            shown = date_of(mjd) if abs(mjd) < 1e6 else f"MJD {mjd:.3g}"
            findings.note(f"{keyword} is on {shown}, but by MJDREF, TIMESYS and GTI the run begins on {date_of(start)}")


def _is_of_gammapy(table: FitsTable) -> bool:
    """Return true for events that the MapDatasetEventSampler of Gammapy simulated."""
    return str(table.get("ORIGIN", "")).strip() == "Gammapy"


def _note_daylight(table: FitsTable, run: EventList, findings: Findings) -> None:
    """Note a real run that, by its times and site, was taken by day."""
    if run.simulated or run.altaz_pnt is not None or _is_of_gammapy(table):
        return
    if (altitude := sun_altitude(run.mjd_middle, run.site)) > tolerances.SUN:
        findings.note(f"by time and site, the Sun is {altitude:.0f} deg above the horizon; check times, MJDREFI and the site")


def _note_classes(table: FitsTable, findings: Findings) -> None:
    """Note a run whose events are of several types or classes."""
    for name in CLASSES:
        values = table.columns.get(name)
        if values is not None and len(values) and (several := np.unique(values, axis=0))[1:].size:
            findings.note(f"events have {len(several)} different values of {name}, and all count; --events selects some")


def _note_steps(run: EventList, findings: Findings) -> None:
    """Note a run whose rate is different in a part of its time, as by clouds."""
    if len(run) < _MIN_EVENTS:
        return
    elapsed = elapsed_good_time(run.good_times, run.gti)
    counts = np.histogram(elapsed, _STEP_BINS, (0, run.ontime))[0]
    until = np.r_[0, np.cumsum(counts)]
    first, last = np.triu_indices(_STEP_BINS + 1, 1)
    inside, part, total = until[last] - until[first], (last - first) / _STEP_BINS, until[-1]
    pairs = ((inside, part), (total - inside, 1 - part))
    gain = 2 * np.sum(
        [np.where(n > 0, n * np.log(np.maximum(n, 1) / np.maximum(total * p, 1e-9)), 0) for n, p in pairs], axis=0
    )
    gain[part == 1] = 0  # the whole run
    gain += 1e-9 * (inside < part * total)  # the part with fewer events, if both are equally likely
    best = int(gain.argmax())
    ratio = (inside[best] / part[best]) / max((total - inside[best]) / max(1 - part[best], 1e-9), 1e-9)
    if gain[best] > _STEP_SIGNIFICANCE and not tolerances.STEP < ratio < 1 / tolerances.STEP:
        start, stop = (float(run.ontime * edge[best]) / _STEP_BINS for edge in (first, last))
        findings.note(f"the rate from {start:.0f} to {stop:.0f} s is {ratio:.0%} of that in the rest; were there clouds?")


def _check_frame(table: FitsTable) -> None:
    """Check that positions are in ICRS, or equal within an arcsecond (FITS 4.0, section 8.3)."""
    keyword = next((keyword for keyword in ("RADESYS", "RADECSYS") if str(table.get(keyword, "")).strip()), "")
    try:
        equinox = float(str(table.get("EQUINOX", "")).strip().upper().lstrip("JB"))
    except ValueError:
        equinox = 0.0  # missing, or not a number
    system = str(table.get(keyword, "FK4" if 0 < equinox < 1984 else "FK5")).strip().upper()
    if system in _OTHER_FRAMES or (system == "FK5" and equinox not in (0.0, 2000.0)):
        stated = f"{system}{f' of {equinox:g}' * (equinox > 0)} ({f'{keyword}, ' * bool(keyword)}EQUINOX)"
        raise table.error("unsupported-frame", f"positions are in {stated}; only ICRS and FK5 of J2000 are supported")


def _check_duplicates(table: FitsTable, run: EventList, findings: Findings) -> None:
    """Check for events with equal RA, DEC and ENERGY that follow each other, or with the same TIME and EVENT_ID."""
    order = order_of(run.time)
    time, energy = run.time[order], run.energy[order]
    equal = energy[1:] == energy[:-1]
    for values in (run.ra, run.dec) if equal.any() else ():
        equal[equal] = np.diff(values[order])[equal] == 0
    if equal.any():
        apart = float(np.diff(time)[equal].max())
        what = "TIME, RA, DEC, ENERGY" if apart == 0 else f"RA, DEC, ENERGY, at most {apart:.1g} s apart"
        text = f"{np.count_nonzero(equal)} of {len(run)} events are duplicates ({what})"
        findings.refuse(table.error("duplicate-events", text))
    after = np.diff(time)
    close, expected = np.count_nonzero((after > 0) & (after <= _COINCIDENCE)), len(run) ** 2 / run.ontime * _COINCIDENCE
    if len(run) >= _MIN_EVENTS and close > max(tolerances.COINCIDENT * len(run), 5 * expected):
        text = f"{close} of {len(run)} events follow another within {_COINCIDENCE * 1e6:.0f} microseconds; are they duplicates?"
        findings.refuse(table.error("duplicate-events", text))
    same_time = after == 0
    event_id = table.columns.get("EVENT_ID")
    if (
        not same_time.any()
        or event_id is None
        or event_id.ndim != 1
        or len(event_id) != len(run)
        or np.all(event_id == event_id[0])
    ):
        return
    suspects = np.r_[False, same_time] | np.r_[same_time, False]
    numbers = np.unique(event_id[order][suspects], return_inverse=True)[1]
    keys: NDArray[Any] = np.stack([time[suspects], numbers], axis=1)
    if duplicates := len(keys) - len(np.unique(keys, axis=0)):
        text = f"{duplicates} of {len(run)} events are duplicates (TIME, EVENT_ID)"
        findings.refuse(table.error("duplicate-events", text))


def _check_detxy(table: FitsTable, run: EventList, findings: Findings) -> None:
    """Check that DETX and DETY, which are always computed from RA and DEC, are not mirrored in the file."""
    if not {"DETX", "DETY"} <= table.columns.keys() or len(table.columns["DETX"]) != len(run):
        return
    some = sample_rows(len(run))
    columns = np.stack([column_in(table, name, "deg", rows=some) for name in ("DETX", "DETY")])
    known = np.isfinite(columns).all(axis=0)
    if not known.any():
        return
    rows, columns = some[known], columns[:, known]
    frames = ("RADEC",) if run.altaz_pnt else ("ALTAZ", "RADEC")
    computed = [np.stack(run.detxy(fovalign, rows)) for fovalign in frames]  # type: ignore[arg-type]

    def distance(*signs: int) -> float:
        stated = columns * np.array(signs)[:, None]
        return min(float(np.median(np.hypot(*(stated - detxy)))) for detxy in computed)

    mirrored = min(distance(-1, 1), distance(1, -1), distance(-1, -1))
    if mirrored < 0.1 and distance(1, 1) > 3 * mirrored + 0.1:
        if mirrored == distance(-1, 1) and _is_of_gammapy(table):
            findings.note("DETX increases to the east, as in simulations by Gammapy; it is computed from RA", requested=True)
            return
        advice = "if RA and DEC are right, remove these columns, which bgnb does not need"
        findings.refuse(table.error("mirrored", f"columns DETX and DETY have the opposite sign of RA and DEC; {advice}"))
