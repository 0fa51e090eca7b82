"""What must fit together in a run that can be believed.

Files of runs can be well-formed and wrong all the same. These checks find the faults that
would change rates without a word: positions, energies or times that are another
quantity's, events counted twice, a pointing that is another run's.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bgnb._util.errors import DataError
from bgnb.observations.coordinates import pointing_altaz, separation
from bgnb.observations.event_list import EventList, RunFiles
from bgnb.observations.fits_table import FitsTable
from bgnb.observations.gadf_keywords import column_in

#: Frames that are not ICRS, nor the same within an arcsecond, as FK5 of 2000 is.
_OTHER_FRAMES = ("FK4", "FK4-NO-E", "GAPPT", "CIRS", "GALACTIC", "ECLIPTIC")
#: Modes in which the field of view does not follow one position on the sky.
_OTHER_MODES = ("DRIFT", "SLEW", "SCAN", "RASTER")
#: Medians of energy that a run can have, TeV: from the threshold of the largest telescopes to runs near the horizon.
_MEDIAN_ENERGY = (0.003, 50.0)
_ENOUGH_FOR_A_MEDIAN = 20
#: No event list covers more of the sky; the median distance of its events from the pointing, deg.
_WIDEST = 20.0
#: ALT_PNT of real indices differs by up to 2 deg from what RA, DEC and time say, as it is not always that of mid-run.
_POINTING_TOLERANCE = 5.0
#: Good time without events, in parts of the whole and in mean distances of events: by chance, once in 10¹⁰ runs at most.
_LONGEST_GAP, _MOST_INTERVALS = 0.2, 30.0
_TRIED_EVENTS = 1000


def check_run(files: RunFiles, table: FitsTable, run: EventList) -> list[str]:
    """What is odd about a run but can be borne.

    Parameters
    ----------
    files : `~bgnb.observations.event_list.RunFiles`
        What the index says of the run.
    table : `~bgnb.observations.fits_table.FitsTable`
        Its events as they stand in the file.
    run : `~bgnb.EventList`
        Its events.

    Raises
    ------
    DataError
        Where something cannot be true.
    """
    if table.get("OBS_ID") is None and files.shared_with:
        others = ", ".join(map(str, files.shared_with))
        raise DataError(f"{table.where}: the index names these events for run {others} too, and there is no keyword OBS_ID")
    if not len(run):
        raise DataError(f"{table.where}: has no events")
    _check_events(table, run)
    _check_pointing(files, table, run)
    _check_distance(table, run)
    _check_doubled(table, run)
    _check_gaps(table, run)
    _check_detxy(table, run)
    notes = []
    livetime, count = files.index.get("LIVETIME"), files.index.get("EVENT_COUNT")
    if "LIVETIME" in table.header and livetime is not None and abs(livetime - run.livetime) > 1e-3 * run.livetime:
        notes.append("LIVETIME of the index differs from that of the events, which is used")
    if count is not None and count != len(run):
        notes.append("EVENT_COUNT of the index differs from the number of events; is the list cut, or doubled?")
    return notes


def check_number(files: RunFiles, table: FitsTable) -> None:
    """Raise a `DataError` where a part of a run says that it is of another run."""
    stated = table.get("OBS_ID")
    try:
        fits = stated is None or (int(stated) == files.obs_id and not (isinstance(stated, float) and stated % 1))
    except (ValueError, OverflowError):
        fits = False
    if not fits:
        raise DataError(f"{table.where}: OBS_ID says that it holds run {stated}, but the index says {files.obs_id}")


def _check_pointing(files: RunFiles, table: FitsTable, run: EventList) -> None:
    _check_frame(table)
    mode = str(table.get("OBS_MODE", "")).strip().upper()
    if mode in _OTHER_MODES:
        raise DataError(f"{table.where}: OBS_MODE is {mode}: only runs that follow one position on the sky can be used")
    if not (abs(run.dec_pnt) <= 90 and abs(run.ra_pnt) <= 360):
        raise DataError(f"{table.where}: RA_PNT = {run.ra_pnt:g}, DEC_PNT = {run.dec_pnt:g} deg is no position")
    index = files.index
    if {"RA_PNT", "DEC_PNT"} <= index.keys():
        apart = float(separation(run.ra_pnt, run.dec_pnt, index["RA_PNT"], index["DEC_PNT"]))
        if apart > _POINTING_TOLERANCE:
            raise DataError(f"{table.where}: RA_PNT and DEC_PNT are {apart:.1f} deg from those in the index")
    if {"ALT_PNT", "AZ_PNT"} <= index.keys():
        altitude, azimuth = pointing_altaz(run.ra_pnt, run.dec_pnt, run.view.mjd_tt, run.site)
        if separation(azimuth, altitude, index["AZ_PNT"], index["ALT_PNT"]) > _POINTING_TOLERANCE:
            stated = f"altitude {index['ALT_PNT']:.1f}, azimuth {index['AZ_PNT']:.1f} deg"
            computed = f"{altitude:.1f} and {azimuth:.1f} deg"
            raise DataError(f"{table.where}: the index says {stated}, but by RA, DEC, time and site these are {computed}")


def _check_frame(table: FitsTable) -> None:
    """Positions must be in ICRS, or what is the same within an arcsecond; FITS 4.0, section 8.3, has the rules."""
    keyword = next((keyword for keyword in ("RADESYS", "RADECSYS") if str(table.get(keyword, "")).strip()), "")
    try:
        equinox = float(str(table.get("EQUINOX", "")).strip().upper().lstrip("JB"))
    except ValueError:
        equinox = 0.0  # not stated, or in words
    system = str(table.get(keyword, "FK4" if 0 < equinox < 1984 else "FK5")).strip().upper()
    if system in _OTHER_FRAMES or (system == "FK5" and equinox not in (0.0, 2000.0)):
        stated = f"{system}{f' of {equinox:g}' * (equinox > 0)} ({f'{keyword}, ' * bool(keyword)}EQUINOX)"
        raise DataError(f"{table.where}: positions are in {stated}; only those in ICRS, or FK5 of 2000, can be used")


def _check_events(table: FitsTable, run: EventList) -> None:
    if np.any(np.abs(run.dec) > 90) or np.any(np.abs(run.ra) > 360):
        raise DataError(f"{table.where}: columns RA and DEC have values that are no position in deg")
    if broken := np.count_nonzero(run.energy <= 0):
        raise DataError(f"{table.where}: column ENERGY is not above 0 in {broken} of {len(run)} rows")
    some = _spread_out(len(run))
    median = float(np.median(run.energy[some]))
    if len(run) >= _ENOUGH_FOR_A_MEDIAN and not _MEDIAN_ENERGY[0] <= median <= _MEDIAN_ENERGY[1]:
        stated = table.units["ENERGY"] or table.get("EUNIT")
        raise DataError(f"{table.where}: column ENERGY has a median of {median:g} TeV: its unit cannot be {stated}")
    if not run.in_gti.any():
        raise DataError(f"{table.where}: no event lies in a good time interval; do both count time from the same MJDREF?")


def _check_distance(table: FitsTable, run: EventList) -> None:
    some = _spread_out(len(run))
    distance = float(np.median(separation(run.ra[some], run.dec[some], run.ra_pnt, run.dec_pnt)))
    if distance > _WIDEST:
        raise DataError(f"{table.where}: the events lie {distance:.0f} deg from the pointing (median of columns RA and DEC)")


def _check_doubled(table: FitsTable, run: EventList) -> None:
    """Events that stand twice: the same everything, or, under other values, the same TIME and EVENT_ID."""
    order = np.argsort(run.time, kind="stable")
    equal = np.diff(run.time[order]) == 0
    if not equal.any():
        return
    suspects = order[np.r_[False, equal] | np.r_[equal, False]]
    what_is_same: dict[str, list[NDArray[Any]]] = {"TIME, RA, DEC, ENERGY": [run.time, run.ra, run.dec, run.energy]}
    event_id = table.columns.get("EVENT_ID")
    if event_id is not None and event_id.ndim == 1 and np.any(event_id != event_id[0]):
        what_is_same["TIME, EVENT_ID"] = [run.time, np.unique(event_id, return_inverse=True)[1]]
    for names, columns in what_is_same.items():
        distinct = np.unique(np.stack([column[suspects] for column in columns], axis=1), axis=0)
        if repeated := len(suspects) - len(distinct):
            raise DataError(f"{table.where}: {repeated} of {len(run)} events are copies of others ({names})")


def _check_gaps(table: FitsTable, run: EventList) -> None:
    """Good time without events: the list is cut, or the camera was off, and livetime is counted that was none."""
    before = np.r_[0, np.cumsum(np.diff(run.gti, axis=1))]  # good time before each interval
    time = run.time[run.in_gti]
    interval = np.searchsorted(run.gti[:, 0], time, side="right") - 1
    good_time = np.sort(before[interval] + time - run.gti[interval, 0], kind="stable")  # fast where it is in order
    gap, whole = float(np.diff(np.r_[0, good_time, before[-1]]).max()), float(before[-1])
    if gap > max(_LONGEST_GAP * whole, _MOST_INTERVALS * whole / len(good_time)):
        raise DataError(f"{table.where}: there is no event in {gap:.0f} s of the good time of {whole:.0f} s; is the list cut?")


def _check_detxy(table: FitsTable, run: EventList) -> None:
    """DETX and DETY are computed from RA and DEC; where a file has them, they must not be the mirror image."""
    if not {"DETX", "DETY"} <= table.columns.keys():
        return
    columns = np.stack([column_in(table, name, "deg", "deg") for name in ("DETX", "DETY")])
    known = np.flatnonzero(np.isfinite(columns).all(axis=0))
    if not len(known):
        return
    rows = known[_spread_out(len(known))]
    stated = columns[:, rows]
    frames = [np.stack(run.detxy(fovalign, rows)) for fovalign in ("ALTAZ", "RADEC")]

    def distance(signs: tuple[int, int]) -> float:
        away = [np.hypot(*(stated * np.array(signs)[:, None] - frame)) for frame in frames]
        return min(float(np.median(one)) for one in away)

    mirrored = min(distance(signs) for signs in ((-1, 1), (1, -1), (-1, -1)))
    if mirrored < 0.1 and distance((1, 1)) > 3 * mirrored + 0.1:
        advice = "where RA and DEC are right, remove these columns: they are computed anew"
        raise DataError(f"{table.where}: columns DETX and DETY are mirrored: RA and DEC say the opposite sign; {advice}")


def _spread_out(number: int) -> NDArray[np.intp]:
    """Some of so many events, spread evenly: enough for a median."""
    return np.linspace(0, number - 1, min(number, _TRIED_EVENTS)).astype(np.intp)
