"""Consistency checks on a run.

Well-formed files can still be wrong. These checks find errors that would change rates
silently, such as positions, energies or times in a wrong unit, duplicate events, or the
pointing of another run. Invalid values are refused by `bgnb.EventList`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bgnb.observations.coordinates import pointing_altaz, separation
from bgnb.observations.event_list import EventList, RunFiles
from bgnb.observations.fits_table import FitsTable
from bgnb.observations.gadf_keywords import column_in

#: Frames that differ from ICRS by more than an arcsecond; FK5 (J2000) does not.
_OTHER_FRAMES = ("FK4", "FK4-NO-E", "GAPPT", "CIRS", "GALACTIC", "ECLIPTIC")
#: Modes in which the field of view does not track one position on the sky.
_OTHER_MODES = ("DRIFT", "SLEW", "SCAN", "RASTER")
#: Range of plausible median energies, TeV: from the largest telescopes to runs near the horizon.
_MEDIAN_ENERGY = (0.003, 50.0)
_MIN_EVENTS_FOR_MEDIAN = 20
#: Maximum median distance of the events from the pointing, deg.
_MAX_OFFSET = 20.0
#: ALT_PNT in real index files differs by up to 2 deg from the value at mid-run computed from RA, DEC, time and site.
_POINTING_TOLERANCE = 5.0
#: Maximum gap, as a fraction of the good time and in mean intervals between events; exceeded by chance in one of 10¹⁰ runs.
_MAX_GAP, _MAX_INTERVALS = 0.2, 30.0
_SAMPLE_SIZE = 1000


def check_run(files: RunFiles, table: FitsTable, run: EventList) -> list[str]:
    """Check a run for inconsistencies.

    Parameters
    ----------
    files : `~bgnb.observations.event_list.RunFiles`
        Entries of the run in the index.
    table : `~bgnb.observations.fits_table.FitsTable`
        EVENTS table as read from the file.
    run : `~bgnb.EventList`
        Its events.

    Returns
    -------
    list of str
        Warnings: inconsistencies that do not change rates.

    Raises
    ------
    DataError
        If the run is inconsistent.
    """
    if table.get("OBS_ID") is None and files.shared_with is not None:
        raise table.error("duplicate-run", f"the index lists these events for run {files.shared_with} too; OBS_ID is missing")
    if not len(run):
        raise table.error("no-events", "there are no events")
    if not run.in_gti.any():
        raise table.error("bad-gti", "no event lies in a good time interval; do EVENTS and GTI have the same MJDREF?")
    _check_energies(table, run)
    _check_frame_and_mode(table)
    _check_pointing(files, table, run)
    _check_offsets(table, run)
    _check_duplicates(table, run)
    _check_gaps(table, run)
    _check_detxy(table, run)
    notes = []
    livetime, count = files.index.get("LIVETIME"), files.index.get("EVENT_COUNT")
    if "LIVETIME" in table.cards and livetime is not None and abs(livetime - run.livetime) > 1e-3 * run.livetime:
        notes.append("LIVETIME of the index differs from that of the events, which is used")
    if count is not None and count != len(run):
        notes.append("EVENT_COUNT of the index differs from the number of events; the list may be truncated or duplicated")
    return notes


def check_obs_id(files: RunFiles, table: FitsTable) -> None:
    """Raise a `DataError` if an HDU states the OBS_ID of another run."""
    stated = table.get("OBS_ID")
    try:
        agrees = stated is None or (int(stated) == files.obs_id and not (isinstance(stated, float) and stated % 1))
    except (ValueError, OverflowError):
        agrees = False
    if not agrees:
        raise table.error("wrong-run", f"OBS_ID is {stated}, but run {files.obs_id} is expected here")


def _check_energies(table: FitsTable, run: EventList) -> None:
    """Check the unit of energies by their median."""
    median = float(np.median(run.energy[_sample_rows(len(run))]))
    if len(run) >= _MIN_EVENTS_FOR_MEDIAN and not _MEDIAN_ENERGY[0] <= median <= _MEDIAN_ENERGY[1]:
        unit = table.units["ENERGY"] or table.get("EUNIT")
        raise table.error("bad-energy", f"column ENERGY has a median of {median:g} TeV; its unit cannot be {unit}")


def _check_frame_and_mode(table: FitsTable) -> None:
    """Check that positions are in ICRS, or equal within an arcsecond (FITS 4.0, section 8.3), and that the run tracks."""
    keyword = next((keyword for keyword in ("RADESYS", "RADECSYS") if str(table.get(keyword, "")).strip()), "")
    try:
        equinox = float(str(table.get("EQUINOX", "")).strip().upper().lstrip("JB"))
    except ValueError:
        equinox = 0.0  # missing, or not a number
    system = str(table.get(keyword, "FK4" if 0 < equinox < 1984 else "FK5")).strip().upper()
    if system in _OTHER_FRAMES or (system == "FK5" and equinox not in (0.0, 2000.0)):
        stated = f"{system}{f' of {equinox:g}' * (equinox > 0)} ({f'{keyword}, ' * bool(keyword)}EQUINOX)"
        raise table.error("unsupported-frame", f"positions are in {stated}; only ICRS and FK5 of J2000 are supported")
    mode = str(table.get("OBS_MODE", "")).strip().upper()
    if mode in _OTHER_MODES:
        raise table.error("unsupported-mode", f"OBS_MODE is {mode}; only runs that track a fixed position are supported")


def _check_pointing(files: RunFiles, table: FitsTable, run: EventList) -> None:
    """Compare the pointing with the index."""
    index = files.index
    if {"RA_PNT", "DEC_PNT"} <= index.keys():
        distance = float(separation(run.ra_pnt, run.dec_pnt, index["RA_PNT"], index["DEC_PNT"]))
        if distance > _POINTING_TOLERANCE:
            raise table.error("inconsistent-pointing", f"RA_PNT and DEC_PNT are {distance:.1f} deg from those in the index")
    if {"ALT_PNT", "AZ_PNT"} <= index.keys():
        altitude, azimuth = pointing_altaz(run.ra_pnt, run.dec_pnt, run.mjd_middle, run.site)
        if separation(azimuth, altitude, index["AZ_PNT"], index["ALT_PNT"]) > _POINTING_TOLERANCE:
            stated = f"ALT_PNT = {index['ALT_PNT']:.1f}, AZ_PNT = {index['AZ_PNT']:.1f} deg in the index or header"
            computed = f"{altitude:.1f}, {azimuth:.1f} deg from RA, DEC, time and site"
            raise table.error("inconsistent-pointing", f"{stated}, but {computed}")


def _check_offsets(table: FitsTable, run: EventList) -> None:
    """Check that events are near the pointing."""
    rows = _sample_rows(len(run))
    offset = float(np.median(separation(run.ra[rows], run.dec[rows], run.ra_pnt, run.dec_pnt)))
    if offset > _MAX_OFFSET:
        raise table.error("inconsistent-pointing", f"columns RA and DEC are {offset:.0f} deg (median) from the pointing")


def _check_duplicates(table: FitsTable, run: EventList) -> None:
    """Check for events with the same TIME, RA, DEC and ENERGY, or the same TIME and EVENT_ID."""
    order = np.argsort(run.time, kind="stable")
    equal = np.diff(run.time[order]) == 0
    if not equal.any():
        return
    suspects = order[np.r_[False, equal] | np.r_[equal, False]]
    keys: dict[str, list[NDArray[Any]]] = {"TIME, RA, DEC, ENERGY": [run.time, run.ra, run.dec, run.energy]}
    event_id = table.columns.get("EVENT_ID")
    if event_id is not None and event_id.ndim == 1 and np.any(event_id != event_id[0]):
        keys["TIME, EVENT_ID"] = [run.time, np.unique(event_id, return_inverse=True)[1]]
    for names, columns in keys.items():
        distinct = np.unique(np.stack([column[suspects] for column in columns], axis=1), axis=0)
        if duplicates := len(suspects) - len(distinct):
            raise table.error("duplicate-events", f"{duplicates} of {len(run)} events are duplicates ({names})")


def _check_gaps(table: FitsTable, run: EventList) -> None:
    """Check for good time without events, from a truncated list or a camera that was off: its livetime must not count."""
    before = np.r_[0, np.cumsum(np.diff(run.gti, axis=1))]  # good time before each interval
    time = run.time[run.in_gti]
    interval = np.searchsorted(run.gti[:, 0], time, side="right") - 1
    good_time = np.sort(before[interval] + time - run.gti[interval, 0], kind="stable")  # fast if nearly sorted
    gap, whole = float(np.diff(np.r_[0, good_time, before[-1]]).max()), float(before[-1])
    if gap > max(_MAX_GAP * whole, _MAX_INTERVALS * whole / len(good_time)):
        raise table.error("gap", f"there are no events in {gap:.0f} s of {whole:.0f} s good time; is the list truncated?")


def _check_detxy(table: FitsTable, run: EventList) -> None:
    """Check that DETX and DETY, which are always computed from RA and DEC, are not mirrored in the file."""
    if not {"DETX", "DETY"} <= table.columns.keys():
        return
    columns = np.stack([column_in(table, name, "deg") for name in ("DETX", "DETY")])
    known = np.flatnonzero(np.isfinite(columns).all(axis=0))
    if not len(known):
        return
    rows = known[_sample_rows(len(known))]
    computed = [np.stack(run.detxy(fovalign, rows)) for fovalign in ("ALTAZ", "RADEC")]

    def distance(*signs: int) -> float:
        stated = columns[:, rows] * np.array(signs)[:, None]
        return min(float(np.median(np.hypot(*(stated - detxy)))) for detxy in computed)

    mirrored = min(distance(-1, 1), distance(1, -1), distance(-1, -1))
    if mirrored < 0.1 and distance(1, 1) > 3 * mirrored + 0.1:
        advice = "if RA and DEC are right, remove these columns, which bgnb does not need"
        raise table.error("mirrored", f"columns DETX and DETY have the opposite sign of RA and DEC; {advice}")


def _sample_rows(number: int) -> NDArray[np.intp]:
    """Return up to 1000 rows of ``number``, evenly spaced: enough for a median."""
    return np.linspace(0, number - 1, min(number, _SAMPLE_SIZE)).astype(np.intp)
