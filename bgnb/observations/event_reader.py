"""Read the event list of a run from its files; inconsistent data raise a `DataError`."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import replace

import numpy as np

from bgnb._util.arrays import Floats
from bgnb._util.errors import DataError, located
from bgnb.observations.consistency_checks import check_obs_id, check_run
from bgnb.observations.event_list import EventList, HduLocation, RunFiles, check_good_time
from bgnb.observations.fits_header import HduClass
from bgnb.observations.fits_table import FitsTable, read_tables
from bgnb.observations.gadf_keywords import (
    SITE_KEYWORDS,
    column_in,
    factor_to,
    is_simulated,
    mjdref_tt,
    site_of,
    start_and_stop,
    stated_site,
    time_unit,
)

#: Minimum live fraction of a run; that of real runs is 0.8 or more.
_MIN_LIVE_FRACTION = 0.2
_REFERENCE_TIME = {"MJDREFI", "MJDREFF", "MJDREF"}
_COLUMNS = ("TIME", "RA", "DEC", "ENERGY", "EVENT_ID", "DETX", "DETY", "START", "STOP")


def read_event_list(files: RunFiles) -> EventList:
    """Read the event list of a run.

    Parameters
    ----------
    files : `RunFiles`
        Locations of its HDUs, from `bgnb.Runs.files`.

    Returns
    -------
    EventList
        Events and pointing of the run.

    Raises
    ------
    DataError
        If an HDU is missing, cannot be used, or contradicts another; the message names it.
    """
    notes: list[str] = []
    tables = _read_hdus(files, notes)
    events = _with_index(tables["EVENTS"], files)
    for table in tables.values():
        check_obs_id(files, table)
    mjdref = mjdref_tt(events)
    gti = _good_time_intervals(events, tables.get("GTI"), mjdref)
    if "GTI" not in tables:
        notes.append("there are no good time intervals (HDU GTI); the whole run is used")
    threshold, limit = _energy_range(tables.get("AEFF"))
    with located(events.where):
        event_list = EventList(
            obs_id=files.obs_id,
            time=column_in(events, "TIME", "s", time_unit(events)),
            ra=column_in(events, "RA", "deg"),
            dec=column_in(events, "DEC", "deg"),
            energy=column_in(events, "ENERGY", "TeV", str(events.get("EUNIT", ""))),
            mjdref=mjdref,
            gti=gti,
            livetime=_livetime(events, float(np.diff(gti).sum()), notes),
            ra_pnt=events.number("RA_PNT"),
            dec_pnt=events.number("DEC_PNT"),
            site=site_of(events),
            energy_threshold=threshold,
            energy_limit=limit,
            telescop=re.sub("[^ -~]", "?", str(events.get("TELESCOP", ""))),  # ASCII, as FITS requires
            n_tels=int(events.number("N_TELS")) if events.get("N_TELS") is not None else None,
            simulated=is_simulated(events.get("OBJECT", "")),
        )
    notes += check_run(files, events, event_list)
    return replace(event_list, notes=tuple(dict.fromkeys(notes)))


def read_events_header(files: RunFiles) -> FitsTable:
    """Read the header of a run's events, completed by values of the index.

    Parameters
    ----------
    files : `RunFiles`
        Locations of its HDUs.

    Returns
    -------
    FitsTable
        Without columns.

    Raises
    ------
    DataError
        If the file or the HDU is missing or cannot be read.
    """
    return _with_index(_read_hdus(replace(files, gti=None, aeff=None), [], ())["EVENTS"], files)


def _with_index(events: FitsTable, files: RunFiles) -> FitsTable:
    """Take missing keywords from the index; the reference time and the site are each taken from a single header."""
    stated = set(_REFERENCE_TIME) if events.cards.keys() & {"MJDREFI", "MJDREF"} else set()
    cards = events.cards
    if stated_site(events):
        stated.update(SITE_KEYWORDS)
    else:  # they are missing, or 0
        cards = {keyword: text for keyword, text in cards.items() if keyword not in SITE_KEYWORDS}
    defaults = {keyword: value for keyword, value in files.index.items() if keyword not in stated}
    return replace(events, cards=cards, defaults=defaults)


def _read_hdus(files: RunFiles, notes: list[str], columns: Collection[str] = _COLUMNS) -> dict[str, FitsTable]:
    """Read the HDUs of a run by kind; each file is opened and decompressed once."""
    wanted = {"EVENTS": files.events, "GTI": files.gti, "AEFF": files.aeff}
    locations = {kind: location for kind, location in wanted.items() if location is not None}
    tables: dict[str, FitsTable] = {}
    for path in dict.fromkeys(location.path for location in locations.values()):
        here = {kind: location for kind, location in locations.items() if location.path == path}
        found = read_tables(path, [location.hdu for location in here.values()], columns, files.content)
        for kind, table in zip(here, found, strict=True):
            if table := table or _by_usual_name(kind, here[kind], notes, columns, files):
                tables[kind] = table
                notes += table.notes
    for kind, location in locations.items():
        if kind not in tables and not location.optional:
            name = location.hdu or "without a name"
            raise DataError("missing-hdu", f"{location.path}: there is no HDU {name}, although the index names it")
    return tables


def _by_usual_name(
    kind: str, location: HduLocation, notes: list[str], columns: Collection[str], files: RunFiles
) -> FitsTable | None:
    """Read the HDU EVENTS or GTI if the index states a wrong name, as in data of MAGIC."""
    if kind == "AEFF" or isinstance(location.hdu, HduClass) or str(location.hdu).upper() == kind:
        return None
    (table,) = read_tables(location.path, [kind], columns, files.content)
    if table:
        notes.append(f"the index names HDU {location.hdu}, which is missing; {kind} is used")
    return table


def _good_time_intervals(events: FitsTable, gti: FitsTable | None, mjdref: float) -> Floats:
    """Return the good time intervals in mission time of the events, in order; the whole run if there is no GTI table."""
    if gti is None:
        return np.array([start_and_stop(events)])
    gti = replace(gti, defaults={keyword: events.get(keyword) for keyword in ("TIMESYS", "TIMEUNIT", "TSTART")})
    start, stop = (column_in(gti, name, "s", time_unit(gti)) for name in ("START", "STOP"))
    if events.get("TSTART") is not None and events.get("TSTOP") is not None:
        start_and_stop(events)  # checks their order
    has_zero = gti.get("MJDREFI") is not None or gti.get("MJDREF") is not None
    shift = (mjdref_tt(gti) - mjdref) * 86400 if has_zero else 0.0
    intervals = np.stack([start, stop], axis=1)[np.argsort(start, kind="stable")] + shift
    with located(gti.where):
        check_good_time(intervals)
    return intervals


def _livetime(events: FitsTable, good_time: float, notes: list[str]) -> float:
    """Return LIVETIME, which must agree with ONTIME, DEADC and the good time (s)."""
    ontime = events.number("ONTIME", good_time)
    livetime = events.number("LIVETIME", ontime * events.number("DEADC", 1))
    expected = None if events.get("DEADC") is None else events.number("DEADC") * good_time
    as_expected = expected is not None and abs(livetime - expected) <= 0.01 * good_time
    if abs(ontime - good_time) > 0.01 * good_time:
        if not as_expected:
            raise events.error("inconsistent-times", f"ONTIME = {ontime:g} s, but good time adds up to {good_time:g} s")
        # Some files of VERITAS with time cuts state the ONTIME of the whole run.
        notes.append("ONTIME is not the sum of the good time intervals, but LIVETIME and DEADC agree with them and are used")
    stated = f"LIVETIME = {livetime:g} s"
    if livetime > 1.01 * ontime:
        raise events.error("inconsistent-times", f"{stated} is longer than ONTIME = {ontime:g} s")
    if expected is not None and not as_expected:
        raise events.error("inconsistent-times", f"{stated}, but DEADC times the good time is {expected:g} s")
    if livetime < _MIN_LIVE_FRACTION * ontime:
        raise events.error("inconsistent-times", f"{stated} is inconsistent with ONTIME = {ontime:g} s; is it in seconds?")
    return livetime


def _energy_range(aeff: FitsTable | None) -> tuple[float | None, float | None]:
    """Return LO_THRES and HI_THRES in TeV, each None if it states no limit."""
    if aeff is None:
        return None, None
    low, high = (_limit(aeff, keyword) for keyword in ("LO_THRES", "HI_THRES"))
    if low is not None and high is not None and high <= low:
        raise aeff.error("bad-keyword", f"HI_THRES = {high:g} TeV is not above LO_THRES = {low:g} TeV")
    return low, high


def _limit(aeff: FitsTable, keyword: str) -> float | None:
    """Return a limit in TeV, None if it is missing, infinite or not above 0; its comment may state a unit: ``[GeV]``."""
    if str(aeff.get(keyword, "")).strip().lower() in ("inf", "infinity"):  # as text: FITS has no infinite numbers
        return None
    limit = aeff.number(keyword, 0)
    unit = re.search(r"\[(\w+)\]", aeff.comment(keyword))
    if limit <= 0:
        return None
    return limit * factor_to(unit[1], "TeV", f"{aeff.where}: keyword {keyword}") if unit else limit
