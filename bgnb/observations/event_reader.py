"""Read the event list of a run from its files; what cannot be believed is refused."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bgnb._util.errors import DataError
from bgnb.observations.consistency_checks import check_number, check_run
from bgnb.observations.event_list import EventList, HduLocation, RunFiles
from bgnb.observations.fits_table import FitsTable, read_tables
from bgnb.observations.gadf_keywords import column_in, factor_to, mjdref_tt, site_of, time_unit

#: Part of the time in which a camera is ready at least; real ones reach 0.8 and more.
_LEAST_LIVETIME = 0.2
# Keywords that say that a header states the zero of its time, or its site; and all that belong to these.
_TOGETHER = (
    ({"MJDREFI", "MJDREF"}, {"MJDREFI", "MJDREFF", "MJDREF"}),
    ({"GEOLON", "OBSGEO-L"}, {"GEOLON", "GEOLAT", "ALTITUDE", "OBSGEO-L", "OBSGEO-B", "OBSGEO-H"}),
)
_COLUMNS = ("TIME", "RA", "DEC", "ENERGY", "EVENT_ID", "DETX", "DETY", "START", "STOP")


def read_event_list(files: RunFiles) -> EventList:
    """Read one run.

    Parameters
    ----------
    files : `RunFiles`
        Where its parts are, from `bgnb.Runs.files`.

    Returns
    -------
    EventList
        Events and pointing of the run.

    Raises
    ------
    DataError
        Where a part is missing, cannot be used, or contradicts another; the message names it.
    """
    notes: list[str] = []
    tables = _read_parts(files, notes)
    events = _with_index(tables["EVENTS"], files)
    gti = tables.get("GTI")
    for table in tables.values():
        check_number(files, table)
    mjdref = mjdref_tt(events)
    intervals = _good_time_intervals(events, gti, mjdref)
    if gti is None:
        notes.append("there are no good time intervals (HDU GTI), and the whole run is taken for good")
    event_list = EventList(
        obs_id=files.obs_id,
        time=_values(events, "TIME", "s", time_unit(events)),
        ra=_values(events, "RA", "deg", "deg"),
        dec=_values(events, "DEC", "deg", "deg"),
        energy=_values(events, "ENERGY", "TeV", str(events.get("EUNIT", ""))),
        mjdref=mjdref,
        gti=intervals,
        livetime=_livetime(events, float(np.diff(intervals).sum()), notes),
        ra_pnt=events.number("RA_PNT"),
        dec_pnt=events.number("DEC_PNT"),
        site=site_of(events),
        energy_threshold=_energy_threshold(tables.get("AEFF")),
        telescop=_ascii(str(events.get("TELESCOP", ""))),
        n_tels=int(events.number("N_TELS")) if events.get("N_TELS") is not None else None,
    )
    notes += check_run(files, events, event_list)
    return replace(event_list, notes=tuple(dict.fromkeys(notes)))


def read_events_header(files: RunFiles) -> FitsTable:
    """The keywords of a run's events alone, with what the index gives for those that are missing.

    Parameters
    ----------
    files : `RunFiles`
        Where its parts are.

    Raises
    ------
    DataError
        Where the file or the HDU is missing or cannot be read.
    """
    return _with_index(_read_parts(replace(files, gti=None, aeff=None), [], ())["EVENTS"], files)


def _with_index(events: FitsTable, files: RunFiles) -> FitsTable:
    """The events, with what the index gives for keywords that they lack; of those that belong together, all or none."""
    stated = {keyword for group in _TOGETHER if events.header.keys() & group[0] for keyword in group[1]}
    return events.with_defaults({keyword: value for keyword, value in files.index.items() if keyword not in stated})


def _ascii(text: str) -> str:
    """Text as FITS can write it."""
    return "".join(letter if " " <= letter <= "~" else "?" for letter in text)


def _read_parts(files: RunFiles, notes: list[str], columns: Collection[str] = _COLUMNS) -> dict[str, FitsTable]:
    """The tables that are there, by kind; each file is opened and inflated once."""
    wanted = {"EVENTS": files.events, "GTI": files.gti, "AEFF": files.aeff}
    parts = {kind: part for kind, part in wanted.items() if part is not None}
    tables: dict[str, FitsTable] = {}
    for path in dict.fromkeys(part.path for part in parts.values()):
        here = {kind: part for kind, part in parts.items() if part.path == path}
        for kind, table in zip(here, read_tables(path, [part.hdu for part in here.values()], columns), strict=True):
            if table := table or _under_its_usual_name(kind, here[kind], notes, columns):
                tables[kind] = table
                notes += table.notes
    for kind, part in parts.items():
        if kind not in tables and not part.optional:
            raise DataError(f"{part.path}: there is no HDU {part.hdu or 'without a name'}, although the index names it")
    return tables


def _under_its_usual_name(kind: str, part: HduLocation, notes: list[str], columns: Collection[str]) -> FitsTable | None:
    """The table where the index gives it a wrong name, as MAGIC's does."""
    if kind == "AEFF" or str(part.hdu).upper() == kind:
        return None
    (table,) = read_tables(part.path, [kind], columns)
    if table:
        notes.append(f"the index names HDU {part.hdu}, which is not there, and {kind} is read")
    return table


def _values(table: FitsTable, name: str, unit: str, default_unit: str) -> NDArray[np.float64]:
    values = column_in(table, name, unit, default_unit)
    if broken := np.count_nonzero(~np.isfinite(values)):
        raise DataError(f"{table.where}: column {name} is not finite in {broken} of {len(values)} rows")
    return values


def _good_time_intervals(events: FitsTable, gti: FitsTable | None, mjdref: float) -> NDArray[np.float64]:
    """Intervals in the mission time of the events, in order; the whole run where there is no GTI table."""
    if gti is None:
        intervals = np.array([start_and_stop(events)])
        where = f"{events.where}: keywords TSTART and TSTOP"
    else:
        gti = gti.with_defaults({"TIMESYS": events.get("TIMESYS"), "TIMEUNIT": events.get("TIMEUNIT")})
        start, stop = (_values(gti, name, "s", time_unit(gti)) for name in ("START", "STOP"))
        own_zero = gti.get("MJDREFI") is not None or gti.get("MJDREF") is not None
        if events.get("TSTART") is not None and events.get("TSTOP") is not None:
            start_and_stop(events)
        shift = (mjdref_tt(gti) - mjdref) * 86400 if own_zero else 0.0
        intervals = np.stack([start, stop], axis=1)[np.argsort(start, kind="stable")] + shift
        where = gti.where
    if not len(intervals):
        raise DataError(f"{where}: there is no good time interval")
    if np.any(intervals[:, 1] <= intervals[:, 0]):
        raise DataError(f"{where}: an interval stops before it starts (START, STOP)")
    if np.any(intervals[1:, 0] < intervals[:-1, 1]):
        raise DataError(f"{where}: good time intervals overlap")
    middle = mjdref + intervals.mean() / 86400
    if not 40000 < middle < 100000:
        raise DataError(f"{where}: the run is at MJD {middle:g}, which is no date of our time")
    return intervals


def start_and_stop(events: FitsTable) -> tuple[float, float]:
    """TSTART and TSTOP, s.

    Raises
    ------
    DataError
        Where one is missing, or they are in the wrong order.
    """
    factor = factor_to(time_unit(events), "s", f"{events.where}: keyword TIMEUNIT")
    start, stop = events.number("TSTART") * factor, events.number("TSTOP") * factor
    if stop <= start:
        raise DataError(f"{events.where}: TSTOP = {stop:.3f} s is not after TSTART = {start:.3f} s")
    return start, stop


def _livetime(events: FitsTable, good_time: float, notes: list[str]) -> float:
    """LIVETIME, which must fit the good time intervals (s)."""
    ontime = events.number("ONTIME", good_time)
    livetime = events.number("LIVETIME", ontime * events.number("DEADC", 1))
    expected = None if events.get("DEADC") is None else events.number("DEADC") * good_time
    as_expected = expected is not None and abs(livetime - expected) <= 0.01 * good_time
    if livetime <= 0:
        raise DataError(f"{events.where}: LIVETIME must be above 0 s, got {livetime:g}")
    if abs(ontime - good_time) > 0.01 * good_time:
        if not as_expected:
            raise DataError(f"{events.where}: ONTIME = {ontime:g} s, but the good time intervals add up to {good_time:g} s")
        # As some files of VERITAS with time cuts: ONTIME is that of the whole run.
        notes.append("ONTIME is not the sum of the good time intervals; LIVETIME and DEADC fit them, and are believed")
    if livetime > 1.01 * ontime:
        raise DataError(f"{events.where}: LIVETIME = {livetime:g} s is longer than ONTIME = {ontime:g} s")
    if expected is not None and not as_expected:
        raise DataError(f"{events.where}: LIVETIME = {livetime:g} s, but DEADC times the good time is {expected:g} s")
    if livetime < _LEAST_LIVETIME * ontime:
        raise DataError(f"{events.where}: LIVETIME = {livetime:g} s is not in keeping with ONTIME = {ontime:g} s; is it in s?")
    return livetime


def _energy_threshold(aeff: FitsTable | None) -> float | None:
    """LO_THRES in TeV, None where it is missing or not above 0; its unit, by custom, stands in the comment: ``[TeV]``."""
    if aeff is None or aeff.number("LO_THRES", 0) <= 0:
        return None
    threshold = aeff.number("LO_THRES")
    unit = re.search(r"\[(\w+)\]", aeff.comment("LO_THRES"))
    return threshold * factor_to(unit[1], "TeV", f"{aeff.where}: keyword LO_THRES") if unit else threshold
