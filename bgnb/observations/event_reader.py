"""Read the event list of a run from its files; inconsistent data raise a `DataError`."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from bgnb._util.arrays import IN_MEMORY, Bools, Floats, blocks, order_of
from bgnb._util.checks import check_type
from bgnb._util.errors import DataError, located
from bgnb.observations import tolerances
from bgnb.observations.consistency_checks import CLASSES, check_files, check_obs_id, check_run
from bgnb.observations.coordinates import Site, is_orientation_predicted, separation
from bgnb.observations.event_list import EventList, HduLocation, RunFiles
from bgnb.observations.event_selection import EventSelection
from bgnb.observations.findings import Findings
from bgnb.observations.fits_header import HduClass
from bgnb.observations.fits_table import FitsTable, read_tables
from bgnb.observations.gadf_keywords import (
    SITE_KEYWORDS,
    column_in,
    factor_to,
    is_simulated,
    mjdref_tt,
    named_site,
    site_of,
    stated_site,
    time_unit,
)
from bgnb.observations.moving_runs import Track, cut_into_pieces, track_of, unusual_mode
from bgnb.observations.run_pointing import MAX_RA, header_altaz, pointing_of_events
from bgnb.observations.run_times import (
    Livetime,
    cut_gaps,
    good_time_intervals,
    livetime_of,
    note_rounded_times,
    with_reference_times,
)
from bgnb.observations.sites import instrument_name

_REFERENCE_TIME = {"MJDREFI", "MJDREFF", "MJDREF"}
_COLUMNS = ("TIME", "RA", "DEC", "ENERGY", "EVENT_ID", "DETX", "DETY", "START", "STOP", "RA_PNT", "DEC_PNT", *CLASSES)
_REQUIRED = ("TIME", "RA", "DEC", "ENERGY")
_POINTING = "POINTING"


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

    Examples
    --------
    >>> import bgnb
    >>> runs = bgnb.open_runs("runs", "GADF")
    >>> run = bgnb.read_event_list(runs.files(1))
    >>> run.telescop, run.livetime
    ('HESS', 1500.0)
    >>> len(run) == int(runs.table["EVENT_COUNT"][0])
    True
    """
    check_type("files", files, RunFiles)
    run, track, events = _read(files)
    if track is not None:
        text = (
            f"OBS_MODE is {unusual_mode(files, events)}; only models can be made from runs that do not track a fixed position"
        )
        raise events.error("unsupported-mode", text)
    return run


def read_pieces(files: RunFiles) -> list[EventList]:
    """Read the event list of a run; those that do not track a fixed position are cut into short pieces.

    Parameters
    ----------
    files : `RunFiles`
        Locations of its HDUs.

    Returns
    -------
    list of EventList
        The run, or pieces of it with their own pointings, see `~bgnb.observations.moving_runs.cut_into_pieces`.

    Raises
    ------
    DataError
        As `read_event_list`.
    """
    run, track, events = _read(files)
    return [run] if track is None else cut_into_pieces(run, events, track, Findings(files.reading))


def _read(files: RunFiles) -> tuple[EventList, Track | None, FitsTable]:
    """Read a run, and its track if it does not track a fixed position."""
    findings = Findings(files.reading, strict=files.events.path if files.strict else None)
    selection = None if files.reading.events is None else EventSelection(files.reading.events)
    columns = _COLUMNS if selection is None else (*_COLUMNS, *selection.columns)
    check_files(files, findings)
    tables = _read_hdus(files, findings, columns, with_pointings=True)
    for kind, table in tables.items():
        check_obs_id(files, kind, table, findings)
    _refuse_ambiguous(tables, columns, findings)
    events, gti = with_reference_times(_with_index(tables["EVENTS"], files), tables.get("GTI"), findings)
    mjdref = mjdref_tt(events)
    good = good_time_intervals(events, gti, mjdref, findings)
    if is_orientation_predicted(mjdref + good.intervals[-1, 1] / 86400):  # nothing that one could mend, so no error
        findings.note("the run is later than the table of the Earth's orientation; a prediction is used", requested=True)
    livetime = livetime_of(events, float(np.diff(good.intervals).sum()), findings)
    if not len(events.column("TIME")) and not files.may_be_empty:
        raise events.error("no-events", "there are no events")
    required = _required_columns(events)
    note_rounded_times(events, ("TIME",), findings)
    if selection is None:  # otherwise they are needed again
        events = replace(events, columns={name: each for name, each in events.columns.items() if name not in _REQUIRED})
    del tables["EVENTS"]
    events, (time, ra, dec, energy) = _valid_events(events, required, findings)
    del required
    site, pointings = _site(events, files, findings), tables.get(_POINTING)
    if track := track_of(files, events, pointings, mjdref, site, good.intervals, findings):
        ra_pnt, dec_pnt = track.position(float(good.intervals[[0, -1], [0, 1]].mean()))
    else:
        ra_pnt, dec_pnt = pointing_of_events(files, events, ra, dec, findings)
    threshold, limit = _energy_range(tables.get("AEFF"), findings)
    names = (str(events.get(name, "")) for name in ("TELESCOP", "INSTRUME"))
    with located(events.where):
        event_list = EventList(
            obs_id=files.obs_id,
            time=time,
            ra=ra,
            dec=dec,
            energy=energy,
            mjdref=mjdref,
            gti=good.intervals,
            livetime=livetime.seconds,
            ra_pnt=_wrapped(ra_pnt),
            dec_pnt=dec_pnt,
            site=site,
            energy_threshold=threshold,
            energy_limit=limit,
            telescop=re.sub("[^ -~]", "?", instrument_name(*names)),  # ASCII, as FITS requires
            n_tels=_n_tels(events, findings),
            simulated=is_simulated(events.get("OBJECT", "")),
            time_cut=good.stated - float(np.diff(good.intervals).sum()),
            n_gti_stated=good.n_stated,
            altaz_pnt=header_altaz(files, events) if files.reading.pointing == "header" else None,
            fingerprint=_fingerprint(energy),
        )
    event_list = _without_gaps(event_list, events, livetime, findings)
    check_run(files, events, pointings, event_list, findings, moving=track is not None)
    if selection is not None:
        chosen = selection.select(events)
        columns_left = {name.lower(): getattr(event_list, name.lower())[chosen] for name in _REQUIRED}
        event_list = replace(event_list, **columns_left, selection=selection.condition)
        if not len(event_list):  # the checks used all events, so that this is a measurement of zero
            findings.note(f"no event meets the condition {selection.condition}; the livetime counts", requested=True)
    if findings.notes:
        event_list = replace(event_list, notes=tuple(findings.notes))
    return event_list, track, events


def _fingerprint(energy: Floats) -> int:
    """Compute a number from all energies that does not depend on their order."""
    total = 0
    for part in blocks(len(energy), IN_MEMORY):
        with np.errstate(over="ignore"):  # energies beyond the range are infinite
            bits = energy[part].astype(np.float32).view(np.uint32).astype(np.uint64)
        total += int((bits * bits).sum(dtype=np.uint64))
    return total % (1 << 64) >> 1


def _site(events: FitsTable, files: RunFiles, findings: Findings) -> Site:
    """Return the location of the observatory, which does not matter if altitude and azimuth are not computed."""
    try:
        site = site_of(events)
    except DataError:
        if files.reading.pointing != "header":
            raise
        return Site(0.0, 0.0, 0.0)
    named = None if files.reading.pointing == "header" else named_site(events)
    if named and (distance := separation(site.lon, site.lat, named.lon, named.lat)) > tolerances.SITE:
        where = f"the site ({site.lon:g} deg east, {site.lat:g} deg north) is {distance:.0f} deg from that of the instrument"
        findings.note(f"{where}; altitude and azimuth are computed for the former; check GEOLON, GEOLAT and TELESCOP")
    return site


def _refuse_ambiguous(tables: Mapping[str, FitsTable], columns: Collection[str], findings: Findings) -> None:
    """Refuse tables with a second HDU or column of the same name."""
    for kind in tables.keys() & {"EVENTS", "GTI"}:
        table = tables[kind]
        if table.twins:
            text = (
                f"{table.twins + 1} HDUs have the name {table.name}; of which event type or part is each? The first is wanted"
            )
            findings.refuse(table.error("ambiguous-hdu", text))
        if repeated := sorted(table.repeated & set(columns)):
            findings.refuse(table.error("duplicate-column", f"there are two columns {repeated[0]}"))


def _required_columns(events: FitsTable) -> dict[str, Floats]:
    """Return TIME (s), RA, DEC (deg) and ENERGY (TeV) of all events."""
    time = column_in(events, "TIME", "s", time_unit(events))
    ra, dec = (column_in(events, name, "deg") for name in ("RA", "DEC"))
    energy = column_in(events, "ENERGY", "TeV", str(events.get("EUNIT", "")))
    return dict(zip(_REQUIRED, (time, ra, dec, energy), strict=True))


def _valid_events(events: FitsTable, columns: Mapping[str, Floats], findings: Findings) -> tuple[FitsTable, tuple[Floats, ...]]:
    """Return TIME, RA, DEC and ENERGY of the events with valid values, and the table of these events."""
    time, ra, dec, energy = columns.values()
    if len({len(values) for values in columns.values()}) != 1:
        raise events.error("bad-column", "columns differ in length")
    with np.errstate(invalid="ignore"):
        valid = {
            "TIME": np.isfinite(time),
            "RA": (ra >= -MAX_RA) & (ra <= MAX_RA),
            "DEC": (dec >= -90) & (dec <= 90),
            "ENERGY": (energy > 0) & np.isfinite(energy),
        }
    keep = np.logical_and.reduce(list(valid.values()))
    if not keep.all():
        number, total = np.count_nonzero(~keep), len(keep)
        if number > tolerances.MAX_INVALID * total:
            raise _invalid(events, columns, valid)
        what = f"{number} of {total} events have invalid values of {' or '.join(n for n in valid if not valid[n].all())}"
        findings.note(f"{what}; they are skipped")
        events = replace(events, columns={name: values[keep] for name, values in events.columns.items()})
        time, ra, dec, energy = (values[keep] for values in (time, ra, dec, energy))
    order = order_of(time)
    again = np.ones(max(len(time) - 1, 0), dtype=bool)
    for values in (time, ra, dec, energy):
        if again.any():
            in_order = values[order]
            again &= in_order[1:] == in_order[:-1]
    if 0 < np.count_nonzero(again) <= tolerances.MAX_INVALID * len(time):
        findings.note(f"{np.count_nonzero(again)} of {len(time)} events are duplicates; they are skipped")
        keep = np.ones(len(time), dtype=bool)
        keep[np.arange(len(time))[order][1:][again]] = False
        events = replace(events, columns={name: values[keep] for name, values in events.columns.items()})
        time, ra, dec, energy = (values[keep] for values in (time, ra, dec, energy))
    return events, (time, _wrapped(ra), dec, energy)


def _invalid(events: FitsTable, columns: Mapping[str, Floats], valid: Mapping[str, Bools]) -> DataError:
    """Make the error of a run with too many invalid events."""
    total, skipped = len(columns["TIME"]), f"at most {tolerances.MAX_INVALID:.0%} of the events are skipped"
    numbers = {name: np.count_nonzero(~np.isfinite(values)) for name, values in columns.items()}
    for name, number in sorted(numbers.items(), key=lambda item: -item[1]):
        if number:
            return events.error("bad-column", f"column {name} is not finite in {number} of {total} rows; {skipped}")
    if number := np.count_nonzero(~(valid["RA"] & valid["DEC"])):
        text = f"columns RA and DEC contain values that are not positions in deg in {number} of {total} rows"
        return events.error("bad-position", f"{text}; {skipped}")
    number = np.count_nonzero(~valid["ENERGY"])
    return events.error("bad-energy", f"column ENERGY is not above 0 in {number} of {total} rows; {skipped}")


def _wrapped(ra: Any) -> Any:
    """Return right ascensions within ±360 deg, unchanged if they are."""
    outside = (ra < -360) | (ra > 360)
    if not np.any(outside):
        return ra
    return np.where(outside, ra % 360, ra) if np.ndim(ra) else ra % 360


def _n_tels(events: FitsTable, findings: Findings) -> int | None:
    """Return the number of telescopes, None if it is not stated."""
    stated = events.get("N_TELS")
    if stated is None:
        return None
    try:
        number = int(float(stated))
    except (TypeError, ValueError, OverflowError):
        number = -1
    if 0 <= number < 2**31:
        return number
    findings.note(f"N_TELS is not a number of telescopes: {stated!r}; it is ignored")
    return None


def _without_gaps(run: EventList, events: FitsTable, livetime: Livetime, findings: Findings) -> EventList:
    """Cut gaps without events out of the good time and the livetime."""
    if not run.in_gti.any():
        return run
    intervals, gaps = cut_gaps(run.good_times, run.gti)
    if not gaps:
        return run
    whole, left = run.ontime, float(np.diff(intervals).sum())
    cut = whole - left
    start, stop = max(gaps, key=lambda gap: gap[1] - gap[0])
    where = f"from {start - run.gti[0, 0]:.0f} to {stop - run.gti[0, 0]:.0f} s after the start"
    if len(gaps) > 1:
        where = f"in {len(gaps)} gaps, the longest {where}"
    if cut > tolerances.MAX_CUT * whole or "gap" in findings.reading.allow:
        text = f"there are no events in {cut:.0f} s of {whole:.0f} s good time ({where}); is the list truncated?"
        findings.refuse(events.error("gap", text))
        return run
    findings.note(f"there are no events in {cut:.0f} s of {whole:.0f} s good time ({where}), which do not count")
    return replace(run, gti=intervals, livetime=livetime.within(whole, left), time_cut=run.time_cut + cut)


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
    findings = Findings(files.reading)
    events = _with_index(_read_hdus(replace(files, gti=None, aeff=None), findings, ())["EVENTS"], files)
    if events.stated("MJDREFF") is None and files.gti is not None:  # GTI may state it; both headers take longer to read
        events, _ = with_reference_times(events, _read_hdus(replace(files, aeff=None), findings, ()).get("GTI"), findings)
    return events


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


def _read_hdus(
    files: RunFiles, findings: Findings, columns: Collection[str] = _COLUMNS, *, with_pointings: bool = False
) -> dict[str, FitsTable]:
    """Read the HDUs of a run by kind; each file is opened and decompressed once."""
    wanted = {"EVENTS": files.events, "GTI": files.gti, "AEFF": files.aeff}
    if with_pointings:
        wanted[_POINTING] = HduLocation(files.events.path, _POINTING, optional=True)
        if files.gti is None:
            wanted["GTI"] = HduLocation(files.events.path, "GTI", optional=True)
    locations = {kind: location for kind, location in wanted.items() if location is not None}
    tables: dict[str, FitsTable] = {}
    for path in dict.fromkeys(location.path for location in locations.values()):
        here = {kind: location for kind, location in locations.items() if location.path == path}
        found = read_tables(path, [location.hdu for location in here.values()], columns, files.content, findings.refuse)
        for kind, table in zip(here, found, strict=True):
            if table := table or _by_usual_name(kind, here[kind], findings, columns, files):
                tables[kind] = table
                for note in table.notes:
                    findings.note(note)
    if with_pointings and files.gti is None and "GTI" in tables:
        findings.note("the index names no good time intervals; HDU GTI of the file is used instead of the whole run")
    for kind, location in locations.items():
        if kind not in tables and not location.optional:
            name = location.hdu or "without a name"
            error = DataError("missing-hdu", f"{location.path}: there is no HDU {name}, although the index names it")
            if kind != "AEFF":
                raise error
            findings.refuse(error)  # without it, there is no energy threshold
    return tables


def _by_usual_name(
    kind: str, location: HduLocation, findings: Findings, columns: Collection[str], files: RunFiles
) -> FitsTable | None:
    """Read the HDU EVENTS or GTI if the index states a wrong name, as in data of MAGIC."""
    if kind in ("AEFF", _POINTING) or isinstance(location.hdu, HduClass) or str(location.hdu).upper() == kind:
        return None
    (table,) = read_tables(location.path, [kind], columns, files.content, findings.refuse)
    if table:
        findings.note(f"the index names HDU {location.hdu}, which is missing; {kind} is used")
    return table


def _energy_range(aeff: FitsTable | None, findings: Findings) -> tuple[float | None, float | None]:
    """Return LO_THRES and HI_THRES in TeV, each None if it states no limit."""
    if aeff is None:
        return None, None
    low, high = (_limit(aeff, keyword, findings) for keyword in ("LO_THRES", "HI_THRES"))
    if low is not None and high is not None and high <= low:
        raise aeff.error("bad-keyword", f"HI_THRES = {high:g} TeV is not above LO_THRES = {low:g} TeV")
    return low, high


def _limit(aeff: FitsTable, keyword: str, findings: Findings) -> float | None:
    """Return a limit in TeV, None if it is missing, infinite or not above 0; its comment may state a unit: ``[GeV]``."""
    if str(aeff.get(keyword, "")).strip().lower() in ("inf", "infinity"):  # as text: FITS has no infinite numbers
        return None
    limit = aeff.number(keyword, 0)
    unit = re.search(r"\[(\w+)\]", aeff.comment(keyword))
    if limit < 0 and (limit != -1 or keyword == "LO_THRES"):  # -1 is a placeholder of limits
        findings.refuse(
            aeff.error("bad-threshold", f"{keyword} = {limit:g} is below 0; is it a logarithm? Without it, all energies count")
        )
    if limit <= 0:
        return None
    if limit > tolerances.MAX_ENERGY and not unit:
        findings.refuse(aeff.error("bad-threshold", f"{keyword} = {limit:g} TeV is too high; is it in GeV?"))
    return limit * factor_to(unit[1], "TeV", f"{aeff.where}: keyword {keyword}") if unit else limit
