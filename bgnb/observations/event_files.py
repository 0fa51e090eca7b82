"""Find runs without an index, by the headers of their events."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table

from bgnb._util.errors import BgnbError, DataError
from bgnb._util.reading import read_text
from bgnb.observations.event_list import HduLocation, RunFiles
from bgnb.observations.fits_header import HduClass, Header
from bgnb.observations.fits_table import read_headers
from bgnb.observations.gadf_keywords import INDEX_HEADER, INDEX_UNITS, altaz_in, pointing_of, start_and_stop

# Also files that are compressed by other programs than gzip, so that they are not ignored silently.
_FITS_NAME = re.compile(r"\.(fits?|fts)(\.(gz|z|bz2|xz|zst|zip|fz))?$", re.IGNORECASE)
_POINTING = ("RA_PNT", "DEC_PNT", "ALT_PNT", "AZ_PNT")
# Keywords with the class of the events, such as event types in files of their own.
_EVENT_CLASS = ("EV_CLASS", "EVENT_CLASS", "EVENTCLASS", "EVTCLASS")
_OPTIONAL = ("ONTIME", "LIVETIME", "DEADC", "N_TELS", "MUONEFF")


@dataclass(frozen=True, kw_only=True)
class FoundRuns:
    """Runs found in files; see `~bgnb.Runs` for the fields."""

    table: Table
    locations: dict[int, RunFiles]
    errors: dict[int, DataError]
    notes: tuple[str, ...]
    file_errors: tuple[DataError, ...]
    without_altaz: frozenset[int]


def find_runs(path: Path, *, path_variables: bool = False) -> FoundRuns:
    """Find the runs in files.

    Parameters
    ----------
    path : `~pathlib.Path`
        A directory, in which all FITS files are read, also in subdirectories, except for hidden ones;
        a FITS file; or a text file with the path of a file in each line, relative to its own.
    path_variables : bool
        Expand variables of the environment in the paths of a text file.

    Returns
    -------
    FoundRuns
        The pointing of runs with errors may be NaN.

    Raises
    ------
    BgnbError
        If there are no runs, or the path is none of these.
    """
    rows: dict[int, dict[str, Any]] = {}
    headers: list[dict[str, Any]] = []
    locations: dict[int, RunFiles] = {}
    classes: dict[int, str] = {}
    errors: dict[int, DataError] = {}
    without_altaz: set[int] = set()
    file_errors: list[DataError] = []
    n_others = 0
    for file in _paths(path, path_variables):
        try:
            if isinstance(file, DataError):
                raise file
            events = next((header for header in read_headers(file) if header.hdu_class is HduClass.EVENTS), None)
            if events is None:
                n_others += 1
                continue
            obs_id = _obs_id(events)
        except DataError as error:
            file_errors.append(_without_traceback(error))
            continue
        event_class = next((str(events.get(keyword)) for keyword in _EVENT_CLASS if events.get(keyword) is not None), "")
        if obs_id in rows:
            both = f"{locations[obs_id].events.path} and {file}: both contain run {obs_id}"
            advice = "list the files to use in a text file"
            if classes[obs_id] != event_class:
                both += f", in different event classes ({classes[obs_id] or 'not stated'} and {event_class or 'not stated'})"
                advice = "list the files of one class in a text file, or use index files (scheme GADF)"
            errors[obs_id] = DataError("duplicate-run", f"{both}; {advice}")
            continue
        classes[obs_id] = event_class
        rows[obs_id] = _row(events)
        headers.append({keyword: events.get(keyword) for keyword in INDEX_HEADER})
        gti, aeff = (HduLocation(file, content, optional=True) for content in (HduClass.GTI, HduClass.AEFF))
        locations[obs_id] = RunFiles(obs_id, HduLocation(file, HduClass.EVENTS), gti, aeff)
        try:
            if altaz_in(events) is None:
                without_altaz.add(obs_id)
            rows[obs_id] |= pointing_of(events)
        except DataError as error:
            errors[obs_id] = _without_traceback(error)
    others = f"{n_others} FITS file{'s' * (n_others != 1)} without events"
    if not rows:
        found = [others] * (n_others > 0)
        found += [f"{len(file_errors)} that cannot be used, such as {error}" for error in file_errors[:1]]
        raise BgnbError("no-runs", f"{path}: there are no files with events{', but ' * bool(found)}{', '.join(found)}")
    common = {key: value for key, value in headers[0].items() if all(header[key] == value for header in headers)}
    notes = [f"{others} {'is' if n_others == 1 else 'are'} ignored"] * (n_others > 0)
    notes += [f"a file is skipped: {error}" for error in file_errors]
    return FoundRuns(
        table=_run_table(rows, {key: value for key, value in common.items() if value is not None}),
        locations=locations,
        errors=errors,
        notes=tuple(notes),
        file_errors=tuple(file_errors),
        without_altaz=frozenset(without_altaz),
    )


def _paths(path: Path, path_variables: bool) -> Iterator[Path | DataError]:
    """Iterate over the files to read, each once, and the errors of directories."""
    seen = set()
    is_file = _FITS_NAME.search(path.name)
    for file in _walk(path) if path.is_dir() else [path] if is_file else _listed_files(path, path_variables):
        if isinstance(file, DataError):
            yield file
        elif (real := os.path.realpath(file)) not in seen:
            seen.add(real)
            yield file


def _walk(path: Path) -> Iterator[Path | DataError]:
    """Walk through a directory in the order of names; links to directories are followed, but each is visited once.

    Those that contain the directory, with runs beside it or the whole disk, are not visited.
    """
    visited: set[str] = set()
    above = {str(parent) for parent in Path(os.path.realpath(path)).parents}
    errors: list[OSError] = []
    try:
        for root, folders, names in os.walk(path, onerror=errors.append, followlinks=True):
            real = os.path.realpath(root)
            if real in visited:
                folders.clear()
                continue
            if real in above:
                folders.clear()
                yield DataError("not-a-file", f"{root}: is a link to a directory that contains {path}, which is not followed")
                continue
            visited.add(real)
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            yield from (Path(root, name) for name in sorted(names) if _FITS_NAME.search(name) and not name.startswith("."))
    except RecursionError:
        yield DataError("unreadable", f"{path}: folders in it are nested too deeply")
    yield from (DataError("unreadable", f"{error.filename}: cannot be read: {error.strerror}") for error in errors)


def _listed_files(path: Path, path_variables: bool) -> list[Path]:
    """Read a list of files; empty lines, and those that start with a #, are ignored."""
    try:
        if "\0" in (text := read_text(path)):
            raise ValueError
        lines = [line.strip() for line in text.splitlines()]
    except ValueError:  # not UTF-8, or with NUL
        kinds = "a directory, a FITS file (*.fits, *.fits.gz) or a text file with the path of a FITS file in each line"
        raise BgnbError("invalid-argument", f"{path}: the scheme FILES needs {kinds}") from None
    except OSError as error:
        raise BgnbError("unreadable", f"{path}: cannot be read: {error.strerror}") from None
    listed = [line for line in lines if line and not line.startswith("#")]
    return [path.parent / (os.path.expandvars(line) if path_variables else line) for line in listed]


def _obs_id(events: Header) -> int:
    """Return the OBS_ID in a header; text and floats that contain it are accepted."""
    stated, number = events.get("OBS_ID"), events.number("OBS_ID")
    try:
        if number.is_integer() and abs(number) < 2**63:
            return int(stated)
    except ValueError:
        pass
    raise events.error("bad-keyword", f"keyword OBS_ID must be an integer, got {stated!r}")


def _row(events: Header) -> dict[str, Any]:
    """Return values for the run table, NaN where they are missing or invalid: if needed, reading the events fails."""
    row: dict[str, Any] = {"OBJECT": str(events.get("OBJECT", ""))}
    for name, keyword in ({"EVENT_COUNT": "NAXIS2"} | {name: name for name in (*_POINTING, *_OPTIONAL)}).items():
        try:
            row[name] = events.number(keyword, np.nan)
        except DataError:
            row[name] = np.nan
    try:
        row["TSTART"], row["TSTOP"] = start_and_stop(events)
    except DataError:
        row["TSTART"], row["TSTOP"] = np.nan, np.nan
    return row


def _run_table(rows: dict[int, dict[str, Any]], meta: dict[str, Any]) -> Table:
    """Make a run table in the order of OBS_ID; optional columns without values are omitted."""
    obs_ids = sorted(rows)
    table = Table({"OBS_ID": obs_ids}, meta=meta)
    for name in rows[obs_ids[0]]:
        values = np.array([rows[obs_id][name] for obs_id in obs_ids])
        if values.dtype.kind == "U":  # FITS allows ASCII only
            values = np.char.encode(values, "ascii", "replace").astype(str)
        elif name in _OPTIONAL and np.all(np.isnan(values)):
            continue
        elif name in ("EVENT_COUNT", "N_TELS") and np.all(np.abs(values) < 2**53):
            values = values.astype(np.int64)
        table[name] = values
        table[name].unit = INDEX_UNITS.get(name)
    return table


def _without_traceback(error: DataError) -> DataError:
    """Return an error that does not keep the content of a file in memory."""
    return DataError(error.code, error.message)
