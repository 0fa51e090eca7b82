"""Directories of runs: the run table, and where each run's event list is."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from itertools import islice
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from bgnb._util.checks import checked_choice
from bgnb._util.errors import BgnbError, DataError, enumerate_values
from bgnb.observations.coordinates import pointing_altaz
from bgnb.observations.event_list import HduLocation, RunFiles
from bgnb.observations.event_reader import read_events_header, start_and_stop
from bgnb.observations.fits_table import FitsTable, read_table
from bgnb.observations.gadf_keywords import column_in, mjdref_tt, site_of

Scheme = Literal["GADF", "HESS"]

_POINTING = ("RA_PNT", "DEC_PNT", "ALT_PNT", "AZ_PNT")
# What the index may say in place of the header of the events.
_INDEX_ROW = (*_POINTING, "ONTIME", "LIVETIME", "DEADC", "TSTART", "TSTOP", "EVENT_COUNT")
_INDEX_HEADER: tuple[str, ...] = ("MJDREFI", "MJDREFF", "TIMESYS", "GEOLON", "GEOLAT", "ALTITUDE")
_INDEX_HEADER += ("OBSGEO-L", "OBSGEO-B", "OBSGEO-H", "TELESCOP", "OBSERVATORY_NAME")
_UNITS = {"RA_PNT": "deg", "DEC_PNT": "deg", "ALT_PNT": "deg", "AZ_PNT": "deg", "ZEN_PNT": "deg"}
_UNITS |= {"ONTIME": "s", "LIVETIME": "s", "TSTART": "s", "TSTOP": "s"}
# Columns of the index of HDUs: what an HDU is, and where.
_HDU_KIND, _HDU_PLACE = ("HDU_TYPE", "HDU_CLASS"), ("FILE_DIR", "FILE_NAME", "HDU_NAME")
# Names of the parts that we use, in HDU_TYPE or HDU_CLASS.
_HDU_KINDS = {"events": "events", "gti": "gti", "aeff": "aeff", "aeff_2d": "aeff", "effarea": "aeff", "effective area": "aeff"}
# Of runs with the same event list, how many others a message names.
_MOST_NAMED = 5
_OLD_HESS_NAMES = {
    "RA": "RA_PNT",
    "DEC": "DEC_PNT",
    "ALT": "ALT_PNT",
    "AZ": "AZ_PNT",
    "MUON_EFFICIENCY": "MUONEFF",
    "TIME_OBSERVATION": "ONTIME",
    "TIME_LIVE": "LIVETIME",
    "TIME_START": "TSTART",
    "TIME_STOP": "TSTOP",
}


@dataclass(frozen=True, eq=False)
class Runs:
    """The runs of a directory.

    Parameters
    ----------
    path : `~pathlib.Path`
        The directory.
    table : `~astropy.table.Table`
        One row a run, in order of OBS_ID, with GADF names; it has at least OBS_ID,
        RA_PNT, DEC_PNT, ALT_PNT and AZ_PNT, in deg.
    locations : mapping of int to `~bgnb.observations.event_list.RunFiles`
        Where the parts of each run are.
    faults : mapping of int to str
        Runs of the table that cannot be used, and why.
    notes : tuple of str
        What is odd about the index, and was borne.
    """

    path: Path
    table: Table
    locations: Mapping[int, RunFiles]
    faults: Mapping[int, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.table)

    def __repr__(self) -> str:
        return f"Runs({len(self)} runs in {self.path})"

    @property
    def obs_ids(self) -> list[int]:
        """OBS_ID of every run, in order."""
        ids: list[int] = self.table["OBS_ID"].tolist()
        return ids

    @cached_property
    def _columns(self) -> dict[str, NDArray[Any]]:
        """The table as plain arrays, which are a hundred times as fast."""
        return {name: np.asarray(self.table[name]) for name in self.table.colnames}

    def _row(self, obs_id: int) -> int:
        """Number of the row of a run in the table."""
        row = int(np.searchsorted(self._columns["OBS_ID"], obs_id))
        if row == len(self) or self._columns["OBS_ID"][row] != obs_id:
            raise DataError(f"{self.path}: the index has no run {obs_id}")
        return row

    def pointing(self, obs_id: int) -> tuple[float, float]:
        """Altitude and azimuth of a run, deg.

        Raises
        ------
        DataError
            Where the table has no such run.
        """
        row = self._row(obs_id)
        return float(self._columns["ALT_PNT"][row]), float(self._columns["AZ_PNT"][row])

    def files(self, obs_id: int) -> RunFiles:
        """Where the parts of a run are, and what the index says of it.

        Raises
        ------
        DataError
            Where the index has no event list for this run.
        """
        if obs_id in self.faults:
            raise DataError(self.faults[obs_id])
        row = self._row(obs_id)
        if obs_id not in self.locations:
            raise DataError(f"{self.path}: the index names no event list of run {obs_id}")
        values = {name: self._columns[name][row].item() for name in _INDEX_ROW if name in self._columns}
        known = {name: value for name, value in values.items() if value == value}  # not NaN
        return replace(self.locations[obs_id], index={**self.table.meta, **known})


def open_runs(indir: str | Path, scheme: str) -> Runs:
    """Open a directory of runs.

    Parameters
    ----------
    indir : path
        The directory.
    scheme : {"GADF", "HESS"}
        How it is laid out: ``GADF`` has ``obs-index.fits.gz`` and ``hdu-index.fits.gz``;
        ``HESS`` has ``runinfo.fits`` and folders such as ``run023400-023599/run023523``.

    Returns
    -------
    Runs

    Raises
    ------
    BgnbError
        Where the directory or its index is missing or cannot be used.

    Examples
    --------
    >>> import bgnb
    >>> runs = bgnb.open_runs("hess-dl3-dr1", "GADF")  # doctest: +SKIP
    >>> runs.table["OBS_ID", "ALT_PNT", "AZ_PNT"]  # doctest: +SKIP
    """
    open_index = _open_gadf if checked_scheme(scheme) == "GADF" else _open_hess
    path = Path(indir)
    try:
        is_directory = path.is_dir()
    except OSError as error:
        raise BgnbError(f"{path}: cannot be read: {error.strerror}") from None
    if not is_directory:
        raise BgnbError(f"{path}: there is no such directory of runs")
    return open_index(path)


def checked_scheme(scheme: str) -> Scheme:
    """``scheme`` in upper case, or a `BgnbError` that lists the choices."""
    return checked_choice("scheme", scheme, get_args(Scheme))


def hess_run_file(indir: Path, obs_id: int, kind: str) -> Path:
    """Path of a run's file in scheme HESS; ``kind`` is ``events`` or ``aeff_2d``.

    >>> hess_run_file(Path("data"), 23523, "events").as_posix()
    'data/run023400-023599/run023523/hess_events_023523.fits.gz'
    """
    first = obs_id // 200 * 200
    folder = f"run{first:06d}-{first + 199:06d}"
    return indir / folder / f"run{obs_id:06d}" / f"hess_{kind}_{obs_id:06d}.fits.gz"


def _open_gadf(path: Path) -> Runs:
    index = read_table(index_file(path, "obs-index.fits"))
    runs = _runs(path, index, {})
    hdus = read_table(index_file(path, "hdu-index.fits"), columns=("OBS_ID", *_HDU_KIND, *_HDU_PLACE))
    locations, faults, notes = _hdu_index(path, hdus)
    if not locations:
        raise DataError(f"{hdus.where}: names no event list")
    missing = [obs_id for obs_id in runs.obs_ids if obs_id not in locations]
    faults |= {obs_id: f"{hdus.where}: names no event list of run {obs_id}" for obs_id in missing}
    known = set(runs.obs_ids)
    if unknown := sorted(set(locations) - known):
        others = f"names event lists of runs that {index.path.name} lacks, which are not used: {enumerate_values(unknown)}"
        notes.append(f"{hdus.where}: {others}")
    faults = {obs_id: why for obs_id, why in faults.items() if obs_id in known} | dict(runs.faults)
    return _completed(replace(runs, locations=locations, faults=faults, notes=(*runs.notes, *notes)), index.where)


@dataclass(frozen=True, eq=False)
class _HduIndex(Mapping[int, RunFiles]):
    """An index of HDUs as a mapping from runs to their files, which are made when they are asked for.

    Parameters
    ----------
    base : `~pathlib.Path`
        What paths are relative to.
    place : sequence of ndarray
        FILE_DIR, FILE_NAME and HDU_NAME of each row.
    rows : mapping of str to mapping of int to int
        Row in ``place``, by kind and OBS_ID.
    shared_with : mapping of int to tuple of int
        Some of the other runs with the same event list, where there are any.
    """

    base: Path
    place: Sequence[NDArray[np.str_]]
    rows: Mapping[str, Mapping[int, int]]
    shared_with: Mapping[int, tuple[int, ...]]

    def __getitem__(self, obs_id: int) -> RunFiles:
        events = self.at(self.rows["events"][obs_id])
        gti, aeff = (self.at(self.rows[kind][obs_id]) if obs_id in self.rows[kind] else None for kind in ("gti", "aeff"))
        return RunFiles(obs_id, events, gti, aeff, shared_with=self.shared_with.get(obs_id, ()))

    def __contains__(self, obs_id: object) -> bool:
        return obs_id in self.rows["events"]

    def __iter__(self) -> Iterator[int]:
        return iter(self.rows["events"])

    def __len__(self) -> int:
        return len(self.rows["events"])

    def at(self, row: int) -> HduLocation:
        """What a row names."""
        file_dir, file_name, hdu_name = (str(column[row]) for column in self.place)
        return HduLocation(Path(self.base, file_dir, file_name), hdu_name)


def _hdu_index(path: Path, hdus: FitsTable) -> tuple[_HduIndex, dict[int, str], list[str]]:
    """Where the parts of each run are; contradictions by run; and what is odd but was borne."""
    described = zip(*(hdus.column(name).astype(str).tolist() for name in _HDU_KIND), strict=True)
    kinds = np.array([_hdu_kind(*names) for names in described], dtype=str)
    used = np.flatnonzero((kinds != "") & (hdus.column("FILE_NAME") != ""))
    place = [np.char.strip(hdus.column(name)[used].astype(str)) for name in _HDU_PLACE]
    rows: dict[str, dict[int, int]] = {kind: {} for kind in _HDU_KINDS.values()}
    index = _HduIndex(path / str(hdus.get("BASE_DIR", ".")), place, rows, {})
    faults: dict[int, str] = {}
    notes: list[str] = []
    for row, (obs_id, kind) in enumerate(zip(_obs_ids(hdus)[used].tolist(), kinds[used].tolist(), strict=True)):
        first = rows[kind].setdefault(obs_id, row)
        if first == row:
            continue
        one, other = index.at(first), index.at(row)
        if one != other and kind != "aeff":
            faults[obs_id] = f"{hdus.where}: names two HDUs of kind {kind} for run {obs_id}, in {one.path} and {other.path}"
        else:
            notes.append(f"the index names the {kind} of run {obs_id} more than once, and the first is used")
    return replace(index, shared_with=_shared(index)), faults, notes


@cache
def _hdu_kind(hdu_type: str, hdu_class: str) -> str:
    """The kind of an HDU, "" where it is none that we use."""
    return _HDU_KINDS.get(hdu_type.strip().lower(), _HDU_KINDS.get(hdu_class.strip().lower(), ""))


def _shared(index: _HduIndex) -> dict[int, tuple[int, ...]]:
    """Runs whose event list is that of other runs as well, and some of these."""
    first: dict[tuple[str, str], int] = {}
    same: dict[int, list[int]] = {}
    for obs_id, row in index.rows["events"].items():
        file_dir, file_name, hdu_name = (str(column[row]) for column in index.place)
        one = first.setdefault((os.path.normpath(f"{file_dir}/{file_name}"), hdu_name), obs_id)
        if one != obs_id:
            same.setdefault(one, [one]).append(obs_id)
    return {
        obs_id: tuple(islice((other for other in obs_ids if other != obs_id), _MOST_NAMED))
        for obs_ids in same.values()
        for obs_id in obs_ids
    }


def _open_hess(path: Path) -> Runs:
    index = read_table(index_file(path, "runinfo.fits"))
    runs = _runs(path, index, _OLD_HESS_NAMES)
    locations = {}
    for obs_id in runs.obs_ids:
        events, aeff = (hess_run_file(path, obs_id, kind) for kind in ("events", "aeff_2d"))
        gti = HduLocation(events, "GTI", optional=True)
        locations[obs_id] = RunFiles(obs_id, HduLocation(events, "EVENTS"), gti, HduLocation(aeff, 1))
    return _completed(replace(runs, locations=locations), index.where)


def index_file(path: Path, name: str) -> Path:
    """Path of an index, compressed or not, or a `BgnbError`."""
    for candidate in (path / f"{name}.gz", path / name):
        if os.path.lexists(candidate):
            return candidate
    raise BgnbError(f"{path}: has neither {name}.gz nor {name}; is it a directory of runs, and is the scheme right?")


def _runs(path: Path, index: FitsTable, new_names: Mapping[str, str]) -> Runs:
    """The index as a table with GADF names, angles in deg, times in s, sorted by OBS_ID; no locations."""
    obs_id = _obs_ids(index)
    if not len(obs_id):
        raise DataError(f"{index.where}: has no runs")
    table = Table({"OBS_ID": obs_id})
    table.meta = {key: index.get(key) for key in _INDEX_HEADER if index.get(key) is not None}
    for name, values in index.columns.items():
        new = new_names.get(name, name)
        if new in table.colnames or (new != name and new in index.columns) or values.ndim != 1 or values.dtype.kind == "V":
            continue  # arrays and bits are nothing that we need
        if new in _UNITS:
            table[new] = column_in(index, name, _UNITS[new])
            table[new].unit = _UNITS[new]
        elif values.dtype.kind == "U":
            table[new] = np.char.encode(values, "ascii", "replace").astype(str)  # as FITS wants it
        else:
            table[new] = values
    table = table[np.argsort(obs_id, kind="stable")]
    again = np.r_[False, np.diff(table["OBS_ID"]) == 0]
    faults, notes = {}, list(index.notes)
    for row in np.flatnonzero(again):
        number = int(table["OBS_ID"][row])
        if differing := [name for name in table.colnames if not _equal(table[name][row - 1], table[name][row])]:
            faults[number] = f"{index.where}: has two rows of run {number}, which differ in {', '.join(differing[:3])}"
        else:
            notes.append(f"the index has the same row of run {number} more than once")
    return Runs(path, table[~again], {}, faults, tuple(notes))


def _equal(one: Any, other: Any) -> bool:
    return bool(one == other or (one != one and other != other))


def _obs_ids(index: FitsTable) -> NDArray[np.int64]:
    """OBS_ID as whole numbers; text that holds them is accepted."""
    values = index.column("OBS_ID")
    try:
        if values.ndim == 1 and values.dtype.kind in "iuU":
            return values.astype(np.int64)
    except (ValueError, OverflowError):
        pass
    raise DataError(f"{index.where}: column OBS_ID must hold whole numbers")


def _completed(runs: Runs, where: str) -> Runs:
    """The same runs with a pointing each: what the index lacks comes from the events' headers."""
    table, faults = runs.table.copy(), dict(runs.faults)
    origin = dict.fromkeys(runs.obs_ids, where)
    if "ALT_PNT" not in table.colnames and "ZEN_PNT" in table.colnames:
        table["ALT_PNT"] = 90 - table["ZEN_PNT"]
    missing = [name for name in _POINTING if name not in table.colnames]
    for name in missing:
        table[name] = np.full(len(table), np.nan)
        table[name].unit = "deg"
    unknown = ~np.all([np.isfinite(table[name]) for name in _POINTING], axis=0)
    for row in np.flatnonzero(unknown):
        obs_id = int(table["OBS_ID"][row])
        try:
            files = runs.files(obs_id)
            pointing, origin[obs_id] = _pointing(files), f"{where}, or {files.events.path}"
        except DataError as error:
            faults[obs_id] = str(error)
            continue
        for name in _POINTING:
            if not np.isfinite(table[name][row]):
                table[name][row] = pointing[name]
    for name, least, most in (("RA_PNT", -360, 360), ("DEC_PNT", -90, 90), ("AZ_PNT", -360, 360), ("ALT_PNT", 0, 90)):
        for row in np.flatnonzero((table[name] < least) | (table[name] > most)):
            obs_id = int(table["OBS_ID"][row])
            below = ", below the horizon" if name == "ALT_PNT" and table[name][row] < 0 else ""
            faults.setdefault(obs_id, f"{origin[obs_id]}: {name} of run {obs_id} is {table[name][row]:g} deg{below}")
    return replace(runs, table=table, faults=faults)


def _pointing(files: RunFiles) -> dict[str, float]:
    """Pointing of a run from the header of its events; altitude and azimuth are computed if need be."""
    events = read_events_header(files)
    pointing = {name: events.number(name) for name in ("RA_PNT", "DEC_PNT")}
    if events.get("ALT_PNT") is not None and events.get("AZ_PNT") is not None:
        return pointing | {name: events.number(name) for name in ("ALT_PNT", "AZ_PNT")}
    middle = mjdref_tt(events) + sum(start_and_stop(events)) / 2 / 86400
    altitude, azimuth = pointing_altaz(pointing["RA_PNT"], pointing["DEC_PNT"], middle, site_of(events))
    return pointing | {"ALT_PNT": altitude, "AZ_PNT": azimuth}
