"""Observations of Gammapy as runs, and models made from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import Executor
from contextlib import suppress
from copy import copy
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.table import Table
from astropy.time import Time

from bgnb._util.errors import BgnbError, DataError, quoted
from bgnb._util.settings_groups import with_settings
from bgnb.files.fits_writer import primary_hdu, table_hdu
from bgnb.observations.consistency_checks import CLASSES
from bgnb.observations.coordinates import Site, pointing_altaz
from bgnb.observations.datastore import Runs
from bgnb.observations.event_list import HduLocation, RunFiles
from bgnb.observations.event_reader import read_events_header
from bgnb.observations.event_selection import EventSelection
from bgnb.observations.findings import Findings
from bgnb.observations.reading_settings import ReadingSettings
from bgnb.observations.run_times import livetime_of
from bgnb.production.make_models import Production
from bgnb.production.pipeline import models_of_plan
from bgnb.production.plan import plan_of_runs
from bgnb.production.settings import ModelSettings

if TYPE_CHECKING:
    from gammapy.data import Observation

# Columns and keywords of events, besides those made here, and keywords of the effective area that are used. DETX and DETY are
# not needed; those of Gammapy's simulations are mirrored with respect to GADF.
_EVENTS_COLUMNS = ("RA", "DEC", "ENERGY", "EVENT_ID")
_EVENTS_KEYWORDS = ("OBJECT", "TELESCOP", "INSTRUME", "N_TELS", "RADESYS", "RADECSYS", "EQUINOX", "OBS_MODE")
_KEYWORDS_OF_WHOLE = ("ALT_PNT", "AZ_PNT", "DATE-OBS")  # which are compared with its times
_AEFF_KEYWORDS = ("LO_THRES", "HI_THRES")


@with_settings(ModelSettings)
def make_models(
    observations: Iterable[Observation],
    *,
    settings: ModelSettings,
    workers: int | Executor | None = None,
    scheduler: str | None = None,
    progress: bool | None = None,
) -> Production:
    """Make background cube models from observations of Gammapy.

    The models are those of `bgnb.make_models` from the same runs, up to rounding: counts are equal, livetimes and rates
    agree within 1e-6. Events and good time intervals are those of the observations, so that filters of time apply, such as
    `~gammapy.data.Observations.select_time`; a part without events counts with its livetime. Observations with event filters
    are skipped, as these would change the counts, but not livetime and solid angle; exclude regions with ``exclude``. Gammapy
    passes on neither the HDU POINTING nor comments of headers: LO_THRES and HI_THRES are in TeV, and that a run does not track
    a position is seen from its events only.

    Parameters
    ----------
    observations : `~gammapy.data.Observations`
        The observations.
    {settings}
    workers : int or `concurrent.futures.Executor`, optional
        Number of processes, or an executor, see `bgnb.make_models`. Scripts that use several processes need
        ``if __name__ == "__main__":``.
    scheduler : str, optional
        Address of a running Dask scheduler, see `bgnb.make_models`.
    progress : bool, optional
        Show a progress bar; by default on a terminal only.

    Returns
    -------
    `~bgnb.Production`
        The models and the report; `bgnb.write_models` writes them.

    Raises
    ------
    BgnbError
        If an argument is invalid, no observation is selected, observations belong to different instruments, or,
        with ``on_error="fail"``, an observation cannot be used, or only with a note.

    Examples
    --------
    >>> from gammapy.data import DataStore
    >>> import bgnb
    >>> observations = DataStore.from_dir("runs").get_observations(required_irf=["aeff"])
    >>> bgnb.gammapy.make_models(observations, select="all", n_energy=10, n_fov=10).models
    ModelSet(spline of 6 runs, groups 27)
    """
    return models_of_plan(plan_of_runs(runs_of(observations, settings.reading), settings), workers, scheduler, progress)


def runs_of(observations: Iterable[Observation], reading: ReadingSettings) -> Runs:
    """Describe observations of Gammapy as runs; their events are read when needed.

    Parameters
    ----------
    observations : iterable of `~gammapy.data.Observation`
        The observations.
    reading : `ReadingSettings`
        Settings of `bgnb.open_runs`.

    Returns
    -------
    `~bgnb.Runs`
        With the columns OBS_ID, OBJECT, RA_PNT, DEC_PNT, ALT_PNT, AZ_PNT, ONTIME and LIVETIME. Observations that lack
        something are errors of these runs.

    Raises
    ------
    BgnbError
        If there are no observations, an OBS_ID is not an integer, or is not unique.
    """
    if not isinstance(observations, Iterable) or isinstance(observations, str | Path):  # type: ignore[redundant-expr]
        kind = type(observations).__name__
        raise BgnbError("invalid-argument", f"observations must be several observations of Gammapy, got {kind}")
    rows: dict[int, dict[str, Any]] = {}
    locations, errors = {}, {}
    for observation in observations:
        files = run_of(observation, reading)
        if files.obs_id in rows:
            raise BgnbError("duplicate-run", f"two observations have obs_id {files.obs_id}; remove one of them")
        locations[files.obs_id] = files
        try:
            rows[files.obs_id] = row_of(observation, str(files.events.path), files.reading)
        except DataError as error:
            rows[files.obs_id], errors[files.obs_id] = {"OBS_ID": files.obs_id}, error
    if not rows:
        raise BgnbError("no-runs", "there are no observations")
    names = {"OBS_ID": "", "OBJECT": "", **dict.fromkeys(("RA_PNT", "DEC_PNT", "ALT_PNT", "AZ_PNT"), "deg")}
    names |= {"ONTIME": "s", "LIVETIME": "s"}
    table = Table()
    for name, unit in names.items():
        missing = "" if name == "OBJECT" else np.nan
        table[name] = [rows[obs_id].get(name, missing) for obs_id in sorted(rows)]
        table[name].unit = unit or None
    return Runs(Path("observations"), table, locations, errors, reading=reading)


def run_of(observation: Observation, reading: ReadingSettings) -> RunFiles:
    """Describe an observation as a FITS file in memory, which is made when it is read."""
    obs_id = obs_id_of(observation)
    path = Path(f"observation {obs_id}")
    hdus: dict[str, Any] = {
        name.lower(): HduLocation(path, name, optional=name == "AEFF" and "aeff" not in observation.available_hdus)
        for name in ("EVENTS", "GTI", "AEFF")
    }
    columns = () if reading.events is None else EventSelection(reading.events).columns
    content = partial(_content, observation, str(path), reading, columns)
    is_part = observation.obs_filter.time_filter is not None
    return RunFiles(obs_id, **hdus, content=content, reading=reading, may_be_empty=is_part)


def row_of(observation: Observation, where: str, reading: ReadingSettings) -> dict[str, Any]:
    """Return the row of an observation in the table of runs; ``where`` names it in errors."""
    if observation.obs_filter.event_filters:
        reason = "has event filters (obs_filter), which change the counts, but neither livetime nor solid angle"
        advice = "use the observation without them; regions can be excluded with exclude"
        raise DataError("invalid-argument", f"{where}: {reason}; {advice}")
    gti, pointing, meta = _good_time(observation, where), _pointing(observation, where), _required(observation, "meta", where)
    middle = gti.time_start.min().tt.mjd / 2 + gti.time_stop.max().tt.mjd / 2
    if reading.pointing == "header":
        altitude, azimuth = _stated_altaz(observation, where)
    else:
        altitude, azimuth = pointing_altaz(pointing.ra.deg, pointing.dec.deg, middle, _site(observation, where))
    return {
        "OBS_ID": obs_id_of(observation),
        "OBJECT": str((meta.target and meta.target.name) or ""),
        "RA_PNT": pointing.ra.deg,
        "DEC_PNT": pointing.dec.deg,
        "ALT_PNT": altitude,
        "AZ_PNT": azimuth,
        "ONTIME": gti.time_sum.to_value("s"),
        "LIVETIME": _required(observation, "observation_live_time_duration", where).to_value("s"),
    }


def obs_id_of(observation: Observation) -> int:
    """Return the number of an observation.

    Raises
    ------
    BgnbError
        If it is not an observation of Gammapy, or its ``obs_id`` is not an integer.
    """
    if not hasattr(observation, "obs_filter"):
        kind = type(observation).__name__
        raise BgnbError("invalid-argument", f"an observation must be a gammapy.data.Observation, got {kind}")
    try:
        return int(str(observation.obs_id))
    except ValueError:
        given = quoted(observation.obs_id)
        raise BgnbError("invalid-value", f"obs_id of an observation must be an integer, got {given}") from None


def is_empty(observation: Observation) -> bool:
    """Return true for an observation without events, such as a short part of a run.

    Raises
    ------
    DataError
        If they cannot be read.
    """
    events = _read(observation, "events", f"observation {observation.obs_id}")
    return events is not None and not len(events.table)


def _read(observation: Observation, name: str, where: str) -> Any:
    """Return a component of an observation, which Gammapy may read from a file, or raise a `DataError`."""
    try:
        return getattr(observation, name)
    except Exception as error:  # Gammapy and Astropy raise errors of many kinds
        code = "not-found" if isinstance(error, FileNotFoundError) else "unreadable"
        raise DataError(code, f"{where}: Gammapy cannot read {name}: {type(error).__name__}: {error}") from None


def _required(observation: Observation, name: str, where: str) -> Any:
    """Return a component of an observation, or raise a `DataError` if it is missing or cannot be read."""
    component = _read(observation, name, where)
    if component is None:
        reason = ", or the header of the events lacks what Gammapy needs, such as DEADC" if name == "meta" else ""
        raise DataError("missing-hdu", f"{where}: the component {name} is missing{reason}")
    return component


def _good_time(observation: Observation, where: str) -> Any:
    """Return the good time intervals."""
    gti = _required(observation, "gti", where)
    if not len(gti.table):
        raise DataError("bad-gti", f"{where}: there are no good time intervals (gti), or none in the time selected")
    return gti


def _pointing(observation: Observation, where: str) -> Any:
    """Return the position that an observation tracks."""
    position = getattr(_required(observation, "pointing", where), "fixed_icrs", None)
    if position is None or not position.isscalar:
        message = "does not track a fixed position (pointing); only such observations are supported"
        raise DataError("unsupported-mode", f"{where}: {message}")
    return position


def _stated_altaz(observation: Observation, where: str) -> tuple[float, float]:
    """Return the altitude and azimuth that the header states, deg."""
    if stated := observation.meta.pointing and observation.meta.pointing.altaz_mean:
        return stated.alt.deg, stated.az.deg
    header = _required(observation, "events", where).table.meta
    try:
        return float(header["ALT_PNT"]), float(header["AZ_PNT"])
    except (KeyError, TypeError, ValueError):
        text = "the header states no ALT_PNT and AZ_PNT; use pointing = 'computed'"
        raise DataError("missing-keyword", f"{where}: {text}") from None


def _site(observation: Observation, where: str) -> Site:
    """Return the location of the observatory."""
    location = _read(observation, "observatory_earth_location", where)
    if location is None or location.lon == location.lat == 0:  # keywords that are 0
        reason = "observatory_earth_location is missing or 0"
        raise DataError("unknown-site", f"{where}: {reason}; set location of the observation")
    lon, lat, height = location.geodetic
    return Site(lon.to_value("deg"), lat.to_value("deg"), height.to_value("m"))


def _content(observation: Observation, where: str, reading: ReadingSettings, more_columns: Iterable[str] = ()) -> bytes:
    """Return a FITS file of an observation with the HDUs EVENTS, GTI and AEFF, of which only the header is filled."""
    row = row_of(observation, where, reading)
    gti, events = _good_time(observation, where), _required(observation, "events", where).table
    zero = gti.time_ref.tt
    times = {"MJDREFI": int(zero.mjd), "MJDREFF": zero.mjd % 1, "TIMESYS": "TT", "TIMEUNIT": "s"}
    if "TIME" not in events.colnames:
        raise DataError("missing-column", f"{where}: column TIME of the events is missing")
    if not isinstance(events["TIME"], Time):
        raise DataError("bad-column", f"{where}: column TIME of the events must be an astropy.time.Time")
    if events.meta.get("TIMEOFFS"):
        raise DataError("bad-keyword", f"{where}: Gammapy does not add TIMEOFFS to the times; add it in the file")
    columns = Table({"TIME": (events["TIME"] - zero).to("s")})
    for name in dict.fromkeys((*_EVENTS_COLUMNS, *CLASSES, *more_columns)):
        if name in events.colnames:
            columns[name] = events[name]
    keywords = _EVENTS_KEYWORDS + (_KEYWORDS_OF_WHOLE if observation.obs_filter.time_filter is None else ())
    columns.meta = times | {name: events.meta[name] for name in keywords if events.meta.get(name) not in (None, "")}
    # Gammapy recognises the data of H.E.S.S. DR1, whose backgrounds it interprets otherwise, by these keywords.
    columns.meta |= {name: str((observation.meta.optional or {}).get(name, "")) for name in ("CREATOR", "HDUVERS")}
    columns.meta |= {name: row[name] for name in ("OBS_ID", "RA_PNT", "DEC_PNT")}
    columns.meta |= _stated_times(observation, events.meta, zero, reading)  # or else LIVETIME of the row
    if reading.pointing != "header":  # which needs no site
        site = _site(observation, where)
        columns.meta |= {"GEOLON": site.lon, "GEOLAT": site.lat, "ALTITUDE": site.height}
    good = Table({"START": (gti.time_start - zero).to("s"), "STOP": (gti.time_stop - zero).to("s")}, meta=times)
    hdus = [primary_hdu(), table_hdu(columns, "EVENTS"), table_hdu(good, "GTI")]
    aeff = _read(observation, "aeff", where)
    if aeff is not None:
        limits = {name: aeff.meta[name] for name in _AEFF_KEYWORDS if name in (aeff.meta or {})}
        hdus.append(table_hdu(Table({"ENERG_LO": [0.0]}, meta=limits), "AEFF"))
    return b"".join(hdus)


def _stated_times(observation: Observation, header: Mapping[str, Any], zero: Time, reading: ReadingSettings) -> dict[str, Any]:
    """Return the keywords of the events that state durations, or of a part of a run its livetime in proportion."""
    stated = {name: header[name] for name in ("LIVETIME", "ONTIME", "DEADC") if name in header}
    with suppress(TypeError, ValueError):  # what is no number is refused when it is read
        if not np.isclose(1 - float(header.get("DEADC", 1)), observation.meta.deadtime_fraction):
            return {}  # the user gave the observation another dead time than that of its events
    times = observation.meta.time_info
    if observation.obs_filter.time_filter is None:
        limits = {"TSTART": times and times.time_start, "TSTOP": times and times.time_stop}
        return stated | {name: (time - zero).to_value("s") for name, time in limits.items() if time is not None}
    if not stated:
        return {}
    whole = copy(observation)
    whole.obs_filter = observation.obs_filter.copy()
    whole.obs_filter.time_filter = None
    good, selected = (each.gti.time_sum.to_value("s") for each in (whole, observation))
    livetime = livetime_of(read_events_header(run_of(whole, reading)), good, Findings(reading))
    live_fraction = livetime.seconds / min(livetime.span, good)
    return {"LIVETIME": live_fraction * selected, "DEADC": live_fraction, "ONTIME": selected}
