"""One run's event list: the value, and how it is read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from numpy.typing import NDArray

from bgnb.errors import DataError
from bgnb.fitstable import FitsTable, read_tables
from bgnb.fov import FieldOfView, FovAlign, Site
from bgnb.observatories import OBSERVATORIES

_EVENT_COLUMNS = ("TIME", "RA", "DEC", "ENERGY")


@dataclass(frozen=True)
class HduLocation:
    """Where an HDU is: a file, a name or number in it, and whether a run can do without it."""

    path: Path
    hdu: str | int
    optional: bool = False


@dataclass(frozen=True)
class RunFiles:
    """Where the parts of one run are, and what its index says.

    Parameters
    ----------
    obs_id : int
        Number of the run.
    events, gti, aeff : `HduLocation`
        The parts; ``gti`` and ``aeff`` may be None.
    index : mapping
        Keywords that the run's row in the index, or the header of the index, gives;
        they stand in where the header of the events lacks them.
    """

    obs_id: int
    events: HduLocation
    gti: HduLocation | None = None
    aeff: HduLocation | None = None
    index: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class EventList:
    """The events of one run and what is needed to stack them.

    Parameters
    ----------
    obs_id : int
        Number of the run.
    time : ndarray, shape (n,)
        Mission time, s since ``mjdref``.
    ra, dec : ndarray, shape (n,)
        Positions, ICRS, deg.
    energy : ndarray, shape (n,)
        Reconstructed energies, TeV.
    mjdref : float
        Zero of the mission time, MJD in TT.
    gti : ndarray, shape (m, 2)
        Good time intervals, mission time, s, in order of time.
    livetime : float
        Dead-time corrected duration of the run, s.
    ra_pnt, dec_pnt : float
        Pointing, ICRS, deg.
    site : `~bgnb.fov.Site`
        Place of the observatory.
    energy_threshold : float or None
        LO_THRES of the run's effective area, TeV; None where it is not stated.
    """

    obs_id: int
    time: NDArray[np.float64]
    ra: NDArray[np.float64]
    dec: NDArray[np.float64]
    energy: NDArray[np.float64]
    mjdref: float
    gti: NDArray[np.float64]
    livetime: float
    ra_pnt: float
    dec_pnt: float
    site: Site
    energy_threshold: float | None

    def __len__(self) -> int:
        return len(self.time)

    @cached_property
    def in_gti(self) -> NDArray[np.bool_]:
        """Whether each event lies in a good time interval, shape (n,)."""
        interval = np.searchsorted(self.gti[:, 0], self.time, side="right") - 1
        return (interval >= 0) & (self.time <= self.gti[interval, 1])

    @property
    def view(self) -> FieldOfView:
        """The field of view, with the middle of the run as its reference time."""
        return FieldOfView(self.ra_pnt, self.dec_pnt, self.mjdref + self.middle / 86400, self.site)

    @property
    def middle(self) -> float:
        """Middle of the run, mission time, s."""
        return float(self.gti[0, 0] + self.gti[-1, 1]) / 2

    def good_seconds(self, step: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Times that represent the good time: s since the middle of the run, and their parts of the whole.

        Parameters
        ----------
        step : float
            Greatest distance of the times, s.
        """
        times, weights = [], []
        for start, stop in self.gti - self.middle:
            number = max(int(np.ceil((stop - start) / step)), 1)
            times.append(start + (np.arange(number) + 0.5) * (stop - start) / number)
            weights.append(np.full(number, (stop - start) / number))
        parts = np.concatenate(weights)
        return np.concatenate(times), parts / parts.sum()

    def detxy(
        self, fovalign: FovAlign = "ALTAZ", rows: NDArray[np.intp] | slice = slice(None)
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Field-of-view coordinates DETX and DETY of the events, deg.

        Parameters
        ----------
        fovalign : {"ALTAZ", "RADEC"}
            The frame, see `bgnb.fov`.
        rows : ndarray of int, optional
            Which events; all by default.
        """
        return self.view.detxy(fovalign, self.ra[rows], self.dec[rows], self.time[rows] - self.middle)


def read_event_list(files: RunFiles) -> EventList:
    """Read one run.

    Parameters
    ----------
    files : `RunFiles`
        Where its parts are, from `bgnb.Runs.files`.

    Raises
    ------
    DataError
        Where a part is missing or cannot be used; the message names it.
    """
    parts = [files.events, files.gti, files.aeff]
    tables = _read_parts([part for part in parts if part is not None])
    events = tables[files.events]
    if events is None:
        raise DataError(f"{files.events.path}: there is no HDU {files.events.hdu}")
    events = events.with_defaults(files.index)
    gti, aeff = (tables[part] if part else None for part in (files.gti, files.aeff))
    for part in (files.gti, files.aeff):
        if part and not part.optional and tables[part] is None:
            raise DataError(f"{part.path}: there is no HDU {part.hdu}, although the index names it")
    if int(events.number("OBS_ID", files.obs_id)) != files.obs_id:
        raise DataError(f"{events.where}: holds run {events.get('OBS_ID')}, but the index says {files.obs_id}")
    mjdref = mjdref_tt(events)
    intervals = _good_time_intervals(events, gti, mjdref)
    event_list = EventList(
        obs_id=files.obs_id,
        time=_values(events, "TIME", "s", _time_unit(events)),
        ra=_values(events, "RA", "deg", "deg"),
        dec=_values(events, "DEC", "deg", "deg"),
        energy=_values(events, "ENERGY", "TeV", str(events.get("EUNIT", ""))),
        mjdref=mjdref,
        gti=intervals,
        livetime=_livetime(events, float(np.diff(intervals).sum())),
        ra_pnt=events.number("RA_PNT"),
        dec_pnt=events.number("DEC_PNT"),
        site=site_of(events),
        energy_threshold=_energy_threshold(aeff),
    )
    if len(event_list) and not event_list.in_gti.any():
        raise DataError(f"{events.where}: no event lies in a good time interval; do both count time from the same MJDREF?")
    return event_list


def _read_parts(parts: list[HduLocation]) -> dict[HduLocation, FitsTable | None]:
    """Each file is opened and inflated once."""
    tables: dict[HduLocation, FitsTable | None] = {}
    for path in dict.fromkeys(part.path for part in parts):
        here = [part for part in parts if part.path == path]
        columns = {*_EVENT_COLUMNS, "START", "STOP"}
        tables.update(zip(here, read_tables(path, [part.hdu for part in here], columns), strict=True))
    return tables


def column_in(table: FitsTable, name: str, unit: str, default_unit: str | None = None) -> NDArray[np.float64]:
    """A column of numbers in a unit; ``default_unit`` holds where the file states none.

    Raises
    ------
    DataError
        Where the column is missing, is no such quantity or has no unit.
    """
    values = table.column(name)
    stated = table.units[name] or (unit if default_unit is None else default_unit)
    if not stated:
        raise DataError(f"{table.where}: column {name} has no unit, and there is no keyword EUNIT")
    if values.ndim != 1 or values.dtype.kind not in "fiu":
        raise DataError(f"{table.where}: column {name} must hold one number a row")
    factor = _factor(stated, unit, f"{table.where}: column {name}")
    return values.astype(float) if factor == 1 else values.astype(float) * factor


def _values(table: FitsTable, name: str, unit: str, default_unit: str) -> NDArray[np.float64]:
    values = column_in(table, name, unit, default_unit)
    if not np.all(np.isfinite(values)):
        raise DataError(f"{table.where}: column {name} has values that are not finite")
    return values


def _factor(stated: str, unit: str, where: str) -> float:
    if stated == unit:
        return 1.0
    try:
        return float(u.Unit(stated).to(unit))
    except (ValueError, TypeError):
        raise DataError(f"{where} has the unit '{stated}', which is not one of {u.Unit(unit).physical_type}") from None


def mjdref_tt(table: FitsTable) -> float:
    """Zero of a table's mission times, MJD in TT."""
    if table.get("MJDREFI") is None and table.get("MJDREF") is not None:
        mjdref = table.number("MJDREF")
    else:
        mjdref = table.number("MJDREFI") + table.number("MJDREFF", 0)
    if not 30000 < mjdref < 100000:
        raise DataError(f"{table.where}: MJDREF = {mjdref:g} is no modified Julian date of our time")
    timesys = str(table.get("TIMESYS", "TT")).lower()
    timesys = {"tdt": "tt", "et": "tt", "iat": "tai", "gmt": "utc"}.get(timesys, timesys)
    if timesys == "tt":
        return mjdref
    from astropy.time import Time

    if timesys not in Time.SCALES or timesys == "local":
        raise DataError(f"{table.where}: TIMESYS '{timesys}' is not a time scale; TT, UTC or TAI are")
    return float(Time(mjdref, format="mjd", scale=timesys).tt.mjd)


def _time_unit(table: FitsTable) -> str:
    return str(table.get("TIMEUNIT", "s"))


def _good_time_intervals(events: FitsTable, gti: FitsTable | None, mjdref: float) -> NDArray[np.float64]:
    """Intervals in the mission time of the events, in order; the whole run where there is no GTI table."""
    if gti is None:
        factor = _factor(_time_unit(events), "s", f"{events.where}: keyword TIMEUNIT")
        intervals = np.array([[events.number("TSTART"), events.number("TSTOP")]]) * factor
        where = f"{events.where}: keywords TSTART and TSTOP"
    else:
        gti = gti.with_defaults({"TIMESYS": events.get("TIMESYS"), "TIMEUNIT": events.get("TIMEUNIT")})
        start, stop = (_values(gti, name, "s", _time_unit(gti)) for name in ("START", "STOP"))
        own_zero = gti.get("MJDREFI") is not None or gti.get("MJDREF") is not None
        shift = (mjdref_tt(gti) - mjdref) * 86400 if own_zero else 0.0
        intervals = np.stack([start, stop], axis=1)[np.argsort(start, kind="stable")] + shift
        where = gti.where
    if not len(intervals):
        raise DataError(f"{where}: there is no good time interval")
    if np.any(intervals[:, 1] <= intervals[:, 0]):
        raise DataError(f"{where}: an interval stops before it starts")
    if np.any(intervals[1:, 0] < intervals[:-1, 1]):
        raise DataError(f"{where}: good time intervals overlap")
    middle = mjdref + intervals.mean() / 86400
    if not 40000 < middle < 100000:
        raise DataError(f"{where}: the run is at MJD {middle:g}, which is no date of our time")
    return intervals


def _livetime(events: FitsTable, good_time: float) -> float:
    """LIVETIME, which must fit the good time intervals (s)."""
    ontime = events.number("ONTIME", good_time)
    livetime = events.number("LIVETIME", ontime * events.number("DEADC", 1))
    if livetime <= 0:
        raise DataError(f"{events.where}: LIVETIME must be above 0 s, got {livetime:g}")
    if abs(ontime - good_time) > 0.01 * good_time:
        raise DataError(f"{events.where}: ONTIME = {ontime:g} s, but the good time intervals add up to {good_time:g} s")
    if livetime > 1.01 * ontime:
        raise DataError(f"{events.where}: LIVETIME = {livetime:g} s is longer than ONTIME = {ontime:g} s")
    return livetime


def site_of(table: FitsTable) -> Site:
    """Place of the observatory, from GADF keywords, else by the name in TELESCOP."""
    for lon, lat, height in (("GEOLON", "GEOLAT", "ALTITUDE"), ("OBSGEO-L", "OBSGEO-B", "OBSGEO-H")):
        if table.get(lon) is not None:
            return Site(table.number(lon), table.number(lat), table.number(height, 0))
    name = str(table.get("OBSERVATORY_NAME", table.get("TELESCOP", ""))).upper()
    if name in OBSERVATORIES:
        return OBSERVATORIES[name]
    raise DataError(f"{table.where}: keywords GEOLON, GEOLAT and ALTITUDE are missing, and TELESCOP is unknown")


def _energy_threshold(aeff: FitsTable | None) -> float | None:
    """LO_THRES in TeV, None where it is missing or not above 0; its unit, by custom, stands in the comment: ``[TeV]``."""
    if aeff is None or aeff.number("LO_THRES", 0) <= 0:
        return None
    threshold = aeff.number("LO_THRES")
    unit = re.search(r"\[(\w+)\]", aeff.comment("LO_THRES"))
    return threshold * _factor(unit[1], "TeV", f"{aeff.where}: keyword LO_THRES") if unit else threshold
