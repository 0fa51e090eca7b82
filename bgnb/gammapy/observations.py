"""Observations of Gammapy as runs, and models made from them."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.io import fits
from astropy.table import Table

from bgnb._util.errors import BgnbError, DataError
from bgnb._util.settings_groups import with_settings
from bgnb.files.fits_writer import fits_content
from bgnb.observations.coordinates import Site, pointing_altaz
from bgnb.observations.datastore import Runs
from bgnb.observations.event_list import HduLocation, RunFiles
from bgnb.production.make_models import Production
from bgnb.production.pipeline import models_of_plan
from bgnb.production.plan import plan_of_runs
from bgnb.production.settings import ModelSettings

if TYPE_CHECKING:
    from gammapy.data import Observation

# Keywords of the effective area that are used.
_AEFF_KEYWORDS = ("OBS_ID", "LO_THRES", "HI_THRES")


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

    The models are those of `bgnb.make_models` from the same runs. Events and good time intervals are those of the
    observations, so that filters apply, such as those of `~gammapy.data.Observations.select_time`.

    Parameters
    ----------
    observations : `~gammapy.data.Observations`
        The observations.
    {settings}
    workers : int or `concurrent.futures.Executor`, optional
        Number of processes, or an executor, see `bgnb.make_models`.
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
        with ``on_error="fail"``, an observation cannot be used.

    Examples
    --------
    >>> from gammapy.data import DataStore  # doctest: +SKIP
    >>> observations = DataStore.from_dir("hess-dl3-dr1").get_observations()  # doctest: +SKIP
    >>> models = bgnb.gammapy.make_models(observations).models  # doctest: +SKIP
    """
    return models_of_plan(plan_of_runs(runs_of(observations), settings), workers, scheduler, progress)


def runs_of(observations: Iterable[Observation]) -> Runs:
    """Describe observations of Gammapy as runs; their events are read when needed.

    Parameters
    ----------
    observations : iterable of `~gammapy.data.Observation`
        The observations.

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
    rows: dict[int, dict[str, Any]] = {}
    locations, errors = {}, {}
    for observation in observations:
        files = run_of(observation)
        if files.obs_id in rows:
            raise BgnbError("duplicate-run", f"two observations have obs_id {files.obs_id}; remove one of them")
        locations[files.obs_id] = files
        try:
            rows[files.obs_id] = row_of(observation, str(files.events.path))
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
    return Runs(Path("observations"), table, locations, errors)


def run_of(observation: Observation) -> RunFiles:
    """Describe an observation as a FITS file in memory, which is made when it is read.

    Raises
    ------
    BgnbError
        If its ``obs_id`` is not an integer.
    """
    try:
        obs_id = int(observation.obs_id)
    except (TypeError, ValueError):
        raise BgnbError("invalid-value", f"obs_id of an observation must be an integer, got {observation.obs_id!r}") from None
    path = Path(f"observation {obs_id}")
    hdus: dict[str, Any] = {
        name.lower(): HduLocation(path, name, optional=name == "AEFF") for name in ("EVENTS", "GTI", "AEFF")
    }
    return RunFiles(obs_id, **hdus, content=partial(_content, observation, str(path)))


def row_of(observation: Observation, where: str) -> dict[str, Any]:
    """Return the row of an observation in the table of runs; ``where`` names it in errors."""
    gti, location = _required(observation, "gti", where), _site(observation, where)
    pointing = getattr(observation.pointing, "fixed_icrs", None)
    if pointing is None:
        message = "does not track a fixed position (pointing); only such observations are supported"
        raise DataError("unsupported-mode", f"{where}: {message}")
    middle = gti.time_start[0].tt.mjd / 2 + gti.time_stop[-1].tt.mjd / 2
    altitude, azimuth = pointing_altaz(pointing.ra.deg, pointing.dec.deg, middle, location)
    target = observation.meta.target if observation.meta else None
    return {
        "OBS_ID": int(observation.obs_id),
        "OBJECT": str((target and target.name) or ""),
        "RA_PNT": pointing.ra.deg,
        "DEC_PNT": pointing.dec.deg,
        "ALT_PNT": altitude,
        "AZ_PNT": azimuth,
        "ONTIME": observation.observation_time_duration.to_value("s"),
        "LIVETIME": observation.observation_live_time_duration.to_value("s"),
    }


def _required(observation: Observation, name: str, where: str) -> Any:
    """Return a component of an observation, or raise a `DataError` if it is missing or cannot be read."""
    try:
        component = getattr(observation, name)
    except (OSError, KeyError, AttributeError) as error:
        raise DataError("unreadable", f"{where}: {name} cannot be read: {error}") from None
    if component is None:
        raise DataError("missing-hdu", f"{where}: there is no component {name}")
    return component


def _site(observation: Observation, where: str) -> Site:
    """Return the location of the observatory."""
    location = observation.observatory_earth_location
    if location is None:
        raise DataError("unknown-site", f"{where}: observatory_earth_location is missing; set location of the observation")
    lon, lat, height = location.geodetic
    return Site(lon.to_value("deg"), lat.to_value("deg"), height.to_value("m"))


def _content(observation: Observation, where: str) -> bytes:
    """Return a FITS file of an observation with the HDUs EVENTS, GTI and AEFF, of which only the header is filled."""
    events = _required(observation, "events", where).to_table_hdu()
    gti, site = _required(observation, "gti", where), _site(observation, where)
    header, pointing = events.header, observation.pointing.fixed_icrs
    header["EXTNAME"], header["OBS_ID"] = "EVENTS", int(observation.obs_id)
    header["RA_PNT"], header["DEC_PNT"] = pointing.ra.deg, pointing.dec.deg
    header["GEOLON"], header["GEOLAT"], header["ALTITUDE"] = site.lon, site.lat, site.height
    for keyword in ("CHECKSUM", "DATASUM"):  # of the original file
        header.remove(keyword, ignore_missing=True)
    # Other keywords describe the observation before it was filtered.
    ontime = observation.observation_time_duration.to_value("s")
    header["ONTIME"], header["LIVETIME"] = ontime, observation.observation_live_time_duration.to_value("s")
    header["DEADC"] = header["LIVETIME"] / ontime
    hdus = [fits.PrimaryHDU(), events, gti.to_table_hdu()]
    aeff = observation.aeff
    if aeff is not None:
        hdus.append(fits.BinTableHDU.from_columns([fits.Column("ENERG_LO", "D", array=[0.0])], name="AEFF"))
        hdus[-1].header.update({name: aeff.meta[name] for name in _AEFF_KEYWORDS if name in (aeff.meta or {})})
    return fits_content(hdus)
