"""Directories of runs: the run table, and the location of each event list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from bgnb._util.checks import checked_choice, checked_obs_ids, checked_path, without_dots
from bgnb._util.errors import BgnbError, DataError, enumerate_values, numbered
from bgnb._util.reading import stamp_of
from bgnb._util.settings_groups import with_settings
from bgnb.observations.event_files import find_runs
from bgnb.observations.event_list import HduLocation, RunFiles
from bgnb.observations.event_reader import read_events_header
from bgnb.observations.findings import Findings, IndexNote
from bgnb.observations.fits_table import FitsTable, read_table
from bgnb.observations.gadf_keywords import INDEX_HEADER, INDEX_UNITS, column_in, is_simulated, pointing_of, time_unit
from bgnb.observations.hdu_index import expands_variables, index_file, obs_ids_of, read_hdu_index
from bgnb.observations.reading_settings import ReadingSettings, Scheme

#: Range of each coordinate of a pointing, deg.
_POINTING = {"RA_PNT": (-360, 360), "DEC_PNT": (-90, 90), "ALT_PNT": (0, 90), "AZ_PNT": (-360, 360)}
# Columns of the index that replace those missing in the header of the events.
_INDEX_ROW = (*_POINTING, "ONTIME", "LIVETIME", "DEADC", "TSTART", "TSTOP", "EVENT_COUNT", "OBS_MODE")
# Further columns of numbers, which are also read if they are stored as text.
_NUMBERS = ("DEADC", "EVENT_COUNT", "N_TELS", "MUONEFF", "QUALITY")
# Maximum number of rows of an index, each of which takes about 20 µs.
_MAX_RUNS = 1_000_000
# QUALITY of bad runs (GADF).
_BAD = 2
_OLD_HESS_NAMES = {"RA": "RA_PNT", "DEC": "DEC_PNT", "ALT": "ALT_PNT", "AZ": "AZ_PNT", "MUON_EFFICIENCY": "MUONEFF"}
_OLD_HESS_NAMES |= {"TIME_OBSERVATION": "ONTIME", "TIME_LIVE": "LIVETIME", "TIME_START": "TSTART", "TIME_STOP": "TSTOP"}


@dataclass(frozen=True, eq=False)
class Runs:
    """Runs of a directory.

    Parameters
    ----------
    path : `~pathlib.Path`
        The directory, or the list of files.
    table : `~astropy.table.Table`
        One row per run, sorted by OBS_ID, with GADF names: at least OBS_ID, RA_PNT,
        DEC_PNT, ALT_PNT and AZ_PNT, in deg.
    locations : mapping of int to `~bgnb.observations.event_list.RunFiles`
        Locations of the HDUs of each run.
    errors : mapping of int to `~bgnb.DataError`
        Errors of runs that cannot be used.
    notes : tuple of str
        Warnings about the index; an `~bgnb.observations.findings.IndexNote` for each that is an error with
        ``on_error="fail"``.
    file_errors : tuple of `~bgnb.DataError`
        Errors of files of unknown runs.
    reading : `~bgnb.observations.reading_settings.ReadingSettings`
        How runs are read.
    without_altaz : frozenset of int
        OBS_IDs of runs whose ALT_PNT or AZ_PNT is not stated in the index.
    strict : bool
        Whether what is otherwise a note on a run is an error when it is read.
    state : mapping of `~pathlib.Path` to object
        What changes when a file of the index, or the whole directory, is replaced.

    Examples
    --------
    >>> import bgnb
    >>> runs = bgnb.open_runs("runs", "GADF")
    >>> runs.subset([1, 2])
    Runs(2 runs in runs)
    >>> altitude, azimuth = runs.pointing(1)
    >>> 74 < altitude < 78
    True
    """

    path: Path
    table: Table
    locations: Mapping[int, RunFiles]
    errors: Mapping[int, DataError] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    file_errors: tuple[DataError, ...] = ()
    reading: ReadingSettings = field(default_factory=ReadingSettings)
    without_altaz: frozenset[int] = frozenset()
    strict: bool = False
    state: Mapping[Path, object] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.table)

    def __repr__(self) -> str:
        return f"Runs({len(self)} runs in {self.path})"

    @property
    def obs_ids(self) -> list[int]:
        """OBS_ID of every run, in order."""
        return self.table["OBS_ID"].tolist()

    @cached_property
    def simulated(self) -> frozenset[int]:
        """OBS_IDs of simulated runs, according to the column OBJECT."""
        names = self._columns.get("OBJECT", np.full(len(self), ""))
        return frozenset(obs_id for obs_id, name in zip(self.obs_ids, names.tolist(), strict=True) if is_simulated(name))

    @cached_property
    def _columns(self) -> dict[str, NDArray[Any]]:
        """Columns of the table as plain arrays, whose elements are accessed a hundred times faster."""
        return {name: np.asarray(self.table[name]) for name in self.table.colnames}

    def _row(self, obs_id: int) -> int:
        """Return the number of the row of a run in the table."""
        row = int(np.searchsorted(self._columns["OBS_ID"], obs_id))
        if row == len(self) or self._columns["OBS_ID"][row] != obs_id:
            raise DataError("not-found", f"{self.path}: there is no run {obs_id}")
        return row

    def pointing(self, obs_id: int) -> tuple[float, float]:
        """Return altitude and azimuth of a run, deg.

        Raises
        ------
        DataError
            If the table has no such run.
        """
        row = self._row(obs_id)
        return float(self._columns["ALT_PNT"][row]), float(self._columns["AZ_PNT"][row])

    def check_unchanged(self) -> None:
        """Raise an error if the index, or the whole directory, was replaced since it was opened.

        Raises
        ------
        BgnbError
            If one of them was replaced.
        """
        if any(_state_of(path) != state for path, state in self.state.items()):
            raise BgnbError("changed", f"{self.path}: the runs were replaced while they were read; run the command again")

    def with_on_error(self, on_error: str) -> Runs:
        """Return the runs such that, with ``fail``, reading a run raises what is otherwise a note on it."""
        return replace(self, strict=on_error == "fail")

    def subset(self, obs_ids: Sequence[int]) -> Runs:
        """Return the runs with some OBS_IDs.

        Raises
        ------
        BgnbError
            If these are not OBS_IDs, or there is no such run.
        """
        chosen = set(checked_obs_ids("obs_ids", obs_ids))
        if unknown := sorted(chosen.difference(self.obs_ids)):
            which = f"{numbered('run', unknown)} {'are' if len(unknown) > 1 else 'is'} not in {self.path}"
            raise BgnbError("not-found", f"obs_ids: {which}")
        errors = {obs_id: error for obs_id, error in self.errors.items() if obs_id in chosen}
        return replace(self, table=self.table[np.isin(self.table["OBS_ID"], list(chosen))], errors=errors)

    def files(self, obs_id: int) -> RunFiles:
        """Return the locations of the HDUs of a run, and its entries in the index.

        Raises
        ------
        DataError
            If the run cannot be used, or the index has no event list for it.
        """
        if obs_id in self.errors:
            raise self.errors[obs_id]
        row = self._row(obs_id)
        try:
            files = self.locations[obs_id]
        except KeyError:
            raise DataError("bad-index", f"{self.path}: the index has no event list for run {obs_id}") from None
        values = {name: self._columns[name][row].item() for name in _INDEX_ROW if name in self._columns}
        known = {name: value for name, value in values.items() if value == value}  # not NaN
        if obs_id in self.without_altaz:
            known = {name: value for name, value in known.items() if name not in ("ALT_PNT", "AZ_PNT")}
        return replace(files, index={**self.table.meta, **known}, reading=self.reading, strict=self.strict)


@with_settings(ReadingSettings)
def open_runs(indir: str | Path, scheme: str, *, settings: ReadingSettings) -> Runs:
    """Open a directory of runs.

    Parameters
    ----------
    indir : path
        The directory; in scheme ``FILES`` also a file.
    scheme : {"GADF", "HESS", "FILES"}
        Layout of the directory: ``GADF`` has ``obs-index.fits.gz`` and ``hdu-index.fits.gz``;
        ``HESS`` has ``runinfo.fits`` and folders such as ``run023400-023599/run023523``. ``FILES``
        needs no index: it reads the headers of all FITS files in the directory and in its
        subdirectories, or of those whose paths are in a text file, one per line, relative to it.
        Each file with events is a run, with its good time intervals and effective area in the same
        file; other FITS files are ignored.
    {settings}

    Returns
    -------
    Runs

    Raises
    ------
    BgnbError
        If the directory or its index is missing or cannot be used, or there are no runs.

    Examples
    --------
    >>> import bgnb
    >>> runs = bgnb.open_runs("runs", "GADF")
    >>> runs
    Runs(6 runs in runs)
    >>> print(runs.table["OBS_ID", "LIVETIME"][:2])
    OBS_ID LIVETIME
              s
    ------ --------
         1   1500.0
         2   1500.0
    """
    layout, path = checked_scheme(scheme), checked_path("indir", indir)
    try:
        exists = path.exists() if layout == "FILES" else path.is_dir()
        directory = without_dots(path.absolute())  # found from any current directory
    except OSError as error:
        raise BgnbError("unreadable", f"{path}: cannot be read: {error.strerror}") from None
    if not exists:
        raise BgnbError("not-found", f"{path}: there is no such directory {'or list ' * (layout == 'FILES')}of runs")
    names = {"GADF": ("obs-index.fits", "hdu-index.fits"), "HESS": ("runinfo.fits",), "FILES": ()}[layout]
    state = {file: _state_of(file) for file in (directory, *(index_file(directory, name) for name in names))}
    opened = {"GADF": _open_gadf, "HESS": _open_hess, "FILES": _open_files}[layout](directory, settings)
    return replace(opened, path=path, state=state)


def _state_of(path: Path) -> object:
    """Return what changes when a file does, or when another directory gets its name.

    Files may be added to a directory; permissions and links may change.
    """
    stamp = stamp_of(path)
    return stamp and stamp[: 1 if path.is_dir() else 3]


def checked_scheme(scheme: str) -> Scheme:
    """Return ``scheme`` in upper case, or raise a `BgnbError` that lists the choices."""
    return checked_choice("scheme", scheme, get_args(Scheme))


def hess_run_file(indir: Path, obs_id: int, kind: str) -> Path:
    """Return the path of a file of a run in scheme HESS; ``kind`` is ``events`` or ``aeff_2d``.

    >>> hess_run_file(Path("data"), 23523, "events").as_posix()
    'data/run023400-023599/run023523/hess_events_023523.fits.gz'
    """
    first = obs_id // 200 * 200
    folder = f"run{first:06d}-{first + 199:06d}"
    return indir / folder / f"run{obs_id:06d}" / f"hess_{kind}_{obs_id:06d}.fits.gz"


def _open_gadf(path: Path, reading: ReadingSettings) -> Runs:
    index, runs = _read_index(path, "obs-index.fits", reading)
    runs = _without_bad_quality(runs, index, reading)
    hdus, locations, errors, notes = read_hdu_index(path, reading)
    if not len(locations):
        raise hdus.error("bad-index", "there are no event lists")
    known = set(runs.obs_ids)
    for obs_id in sorted(known - locations.rows.keys()):
        errors[obs_id] = hdus.error("bad-index", f"there is no event list for run {obs_id}")
    if unknown := sorted(locations.rows.keys() - known):
        message = f"event lists of runs missing in {index.path.name} are ignored: {enumerate_values(unknown)}"
        notes.append(IndexNote(f"{hdus.where}: {message}"))
    errors = {obs_id: error for obs_id, error in errors.items() if obs_id in known} | dict(runs.errors)
    return _with_pointings(replace(runs, locations=locations, errors=errors, notes=(*runs.notes, *notes)), reading, index.where)


def _open_hess(path: Path, reading: ReadingSettings) -> Runs:
    index, runs = _read_index(path, "runinfo.fits", reading, _OLD_HESS_NAMES)
    locations = {}
    for obs_id in runs.obs_ids:
        events, aeff = (hess_run_file(path, obs_id, kind) for kind in ("events", "aeff_2d"))
        gti = HduLocation(events, "GTI", optional=True)
        locations[obs_id] = RunFiles(obs_id, HduLocation(events, "EVENTS"), gti, HduLocation(aeff, 1))
    return _with_pointings(replace(runs, locations=locations), reading, index.where)


def _open_files(path: Path, reading: ReadingSettings) -> Runs:
    return _with_pointings(Runs(path, **vars(find_runs(path, path_variables=expands_variables(reading)))), reading)


def _read_index(
    path: Path, name: str, reading: ReadingSettings, gadf_names: Mapping[str, str] | None = None
) -> tuple[FitsTable, Runs]:
    """Read an index, and make the run table of it."""
    findings = Findings(reading)
    index = read_table(index_file(path, name), refuse=findings.refuse)
    runs = _read_run_table(path, index, gadf_names)
    return index, replace(runs, notes=(*findings.notes, *runs.notes))


def _read_run_table(path: Path, index: FitsTable, gadf_names: Mapping[str, str] | None = None) -> Runs:
    """Read an index into a table with GADF names, angles in deg, times in s, sorted by OBS_ID; no locations yet."""
    if index.size("NAXIS2") > _MAX_RUNS:
        raise index.error("too-large", f"there are more than the maximum of {_MAX_RUNS:,} rows")
    table = Table({"OBS_ID": obs_ids_of(index)})
    if not len(table):
        raise index.error("bad-index", "there are no runs")
    errors, notes = {}, [IndexNote(note, table["OBS_ID"].tolist()) for note in index.notes]
    table.meta = {key: index.get(key) for key in INDEX_HEADER if index.get(key) is not None}
    for name, values in index.columns.items():
        new = (gadf_names or {}).get(name, name)
        if new in table.colnames or (new != name and new in index.columns) or values.ndim != 1 or values.dtype.kind == "V":
            continue  # arrays and bits are not needed
        if new in INDEX_UNITS:
            numbers = replace(index, columns={name: _numbers(index, name, notes)})
            table[new] = column_in(numbers, name, INDEX_UNITS[new], time_unit(index) if new in ("TSTART", "TSTOP") else None)
            table[new].unit = INDEX_UNITS[new]
        elif new in _NUMBERS:
            table[new] = _numbers(index, name, notes)
        else:  # FITS allows ASCII only
            table[new] = np.char.encode(values, "ascii", "replace").astype(str) if values.dtype.kind == "U" else values
    table = table[np.argsort(table["OBS_ID"], kind="stable")]
    repeated = np.r_[False, np.diff(table["OBS_ID"]) == 0]
    differs = {name: _differs_from_previous(np.asarray(table[name])) for name in table.colnames}
    for row in np.flatnonzero(repeated).tolist():
        obs_id = int(table["OBS_ID"][row])
        differing = [name for name in table.colnames if differs[name][row]]
        if differing:
            errors[obs_id] = index.error("duplicate-run", f"two rows of run {obs_id} differ in {', '.join(differing[:3])}")
        else:
            notes.append(IndexNote(f"the index contains the row of run {obs_id} more than once", [obs_id]))
    return Runs(path, table[~repeated], {}, errors, tuple(notes))


def _differs_from_previous(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Return a mask of the values that are not those of the row before; NaN is equal to NaN."""
    is_nan = values != values
    return np.r_[False, (values[1:] != values[:-1]) & ~(is_nan[1:] & is_nan[:-1])]


def _numbers(index: FitsTable, name: str, notes: list[IndexNote]) -> NDArray[Any]:
    """Return a column as numbers; text that is not a number counts as missing (NaN), with a note."""
    values = index.columns[name]
    if values.dtype.kind in "fiu":
        return values
    texts = [str(value).strip() for value in values.tolist()]
    numbers = np.array([_number(text) for text in texts])
    if wrong := [row for row in np.flatnonzero(np.isnan(numbers)).tolist() if texts[row].lower() not in ("", "nan")]:
        which = dict.fromkeys(obs_ids_of(index)[wrong].tolist())
        text = f"{name} of {numbered('run', which)} is not a number ({texts[wrong[0]]!r}) and is ignored"
        notes.append(IndexNote(f"{index.where}: {text}", which))
    return numbers.astype(np.int64) if np.all(numbers == np.floor(numbers)) else numbers


def _number(text: str) -> float:
    """Return the number in a text, NaN if there is no finite one."""
    try:
        number = float(text)
    except ValueError:
        return np.nan
    return number if np.isfinite(number) else np.nan


def _without_bad_quality(runs: Runs, index: FitsTable, reading: ReadingSettings) -> Runs:
    """Refuse runs whose QUALITY is bad, or note them if they are allowed."""
    if "QUALITY" not in runs.table.colnames or not (bad := runs.table["OBS_ID"][runs.table["QUALITY"] == _BAD].tolist()):
        return runs
    if "bad-quality" in reading.allow:
        note = f"{index.where}: allowed (bad-quality): QUALITY of {numbered('run', bad)} is {_BAD}, bad"
        return replace(runs, notes=(*runs.notes, note))
    advice = "--allow bad-quality uses it nevertheless"
    errors = {obs_id: index.error("bad-quality", f"QUALITY of run {obs_id} is {_BAD}, bad; {advice}") for obs_id in bad}
    return replace(runs, errors=errors | dict(runs.errors))


def _with_pointings(runs: Runs, reading: ReadingSettings, where: str = "") -> Runs:
    """Take pointings that are missing in the index from the headers of events, and check all of them."""
    runs = replace(runs, reading=reading)
    table, errors = runs.table.copy(), dict(runs.errors)
    origin: dict[int, str] = {}
    if "ALT_PNT" not in table.colnames and "ZEN_PNT" in table.colnames:
        table["ALT_PNT"] = 90 - table["ZEN_PNT"]
    for name in [name for name in _POINTING if name not in table.colnames]:
        table[name] = np.full(len(table), np.nan)
        table[name].unit = "deg"
    computed = reading.pointing == "computed"
    for name in ("ALT_PNT", "AZ_PNT") if computed else ():
        table[name][:] = np.nan
    filled = [np.flatnonzero(~np.isfinite(table[name])) for name in ("ALT_PNT", "AZ_PNT")]
    for row in np.flatnonzero(~np.all([np.isfinite(table[name]) for name in _POINTING], axis=0)):
        obs_id = int(table["OBS_ID"][row])
        try:
            files = runs.files(obs_id)
            pointing, origin[obs_id] = (
                pointing_of(read_events_header(files), stated=not computed),
                f"{where}, or {files.events.path}",
            )
        except DataError as error:
            errors[obs_id] = DataError(error.code, error.message)  # a traceback would keep the content of files
            continue
        for name in _POINTING:
            if not np.isfinite(table[name][row]):
                table[name][row] = pointing[name]
    for name in ("RA_PNT", "AZ_PNT"):
        another_turn = (np.abs(table[name]) > 360) & (np.abs(table[name]) <= 720)
        table[name][another_turn] %= 360
    for name, (minimum, maximum) in _POINTING.items():
        for row in np.flatnonzero((table[name] < minimum) | (table[name] > maximum)):
            obs_id, value = int(table["OBS_ID"][row]), table[name][row]
            below = ", below the horizon" if name == "ALT_PNT" and value < 0 else ""
            source = origin.get(obs_id) or where or runs.locations[obs_id].events.path
            ignored = "; correct it, or use --pointing computed if times and site are right"
            advice = ignored if name in ("ALT_PNT", "AZ_PNT") and not computed else ""
            message = f"{source}: {name} of run {obs_id} is {value:g} deg{below}{advice}"
            errors.setdefault(obs_id, DataError("bad-position", message))
    without = frozenset(table["OBS_ID"][np.concatenate(filled)].tolist())
    return replace(runs, table=table, errors=errors, without_altaz=runs.without_altaz | without)
