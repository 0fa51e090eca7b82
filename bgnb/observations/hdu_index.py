"""HDU index of a directory of runs: the files and HDUs of each run."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bgnb._util.arrays import IN_MEMORY, Floats, Ints, blocks
from bgnb._util.checks import without_dots
from bgnb._util.errors import BgnbError, DataError, enumerate_values, numbered
from bgnb.observations.event_list import FileState, HduLocation, RunFiles
from bgnb.observations.findings import Findings, IndexNote
from bgnb.observations.fits_table import FitsTable, read_table
from bgnb.observations.reading_settings import ReadingSettings

# Columns of the HDU index that describe and locate an HDU, those about its file, and the descriptions of HDUs that are used.
_HDU_DESCRIPTION, _HDU_LOCATION = ("HDU_TYPE", "HDU_CLASS"), ("FILE_DIR", "FILE_NAME", "HDU_NAME")
_HDU_FILE = ("SIZE", "MD5")
_HDU_KINDS = {"events": "events", "gti": "gti", "aeff": "aeff", "aeff_2d": "aeff", "effarea": "aeff", "effective area": "aeff"}


@dataclass(frozen=True, eq=False)
class HduIndex(Mapping[int, RunFiles]):
    """HDU index as a mapping from runs to their files; values are made on demand, so that large indices open quickly.

    Parameters
    ----------
    bases : sequence of `~pathlib.Path`
        Directories that paths are relative to, see `bases_of`.
    columns : sequence of ndarray
        FILE_DIR, FILE_NAME and HDU_NAME.
    stated : sequence of ndarray
        SIZE (bytes; 0 if it is not stated) and MD5 ("" if it is not stated).
    rows : mapping of int to mapping of str to int
        Row in ``columns`` by OBS_ID and kind.
    shared_with : mapping of int to int
        Another run with the same event list.
    """

    bases: Sequence[Path]
    columns: Sequence[NDArray[np.str_]]
    stated: tuple[Floats, NDArray[np.str_]]
    rows: Mapping[int, Mapping[str, int]]
    shared_with: Mapping[int, int]

    def __getitem__(self, obs_id: int) -> RunFiles:
        locations: dict[str, Any] = {kind: self.location(row) for kind, row in self.rows[obs_id].items()}
        files = {
            location.path: self._file([self.rows[obs_id][kind] for kind in locations if locations[kind].path == location.path])
            for location in locations.values()
        }
        return RunFiles(obs_id, **locations, shared_with=self.shared_with.get(obs_id), files=files)

    def _file(self, rows: Collection[int]) -> FileState:
        """Return size and checksum of a file, of which these are the rows; SIZE may also be that of each HDU."""
        sizes, sums = ({column[row].item() for row in rows} for column in self.stated)
        size = sizes.pop() if len(rows) > 1 and len(sizes) == 1 else 0
        return FileState(size=int(size) if np.isfinite(size) else 0, md5=frozenset(sums - {""}))

    def __iter__(self) -> Iterator[int]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def location(self, row: int) -> HduLocation:
        """Return the location of the HDU in a row."""
        file_dir, file_name, hdu_name = (str(column[row]) for column in self.columns)
        path = Path(file_dir, file_name)
        return HduLocation(without_dots(base_of(self.bases, path) / path), hdu_name)


def read_hdu_index(path: Path, reading: ReadingSettings) -> tuple[FitsTable, HduIndex, dict[int, DataError], list[str]]:
    """Read the HDU index: its header, locations, errors by run, and warnings."""
    findings = Findings(reading)
    hdus = _read_used_hdus(index_file(path, "hdu-index.fits"), findings)
    kinds, obs_ids = hdu_kinds(hdus), obs_ids_of(hdus)
    columns = [*columns_of_paths(hdus, reading), hdu_names(hdus, kinds)]
    notes = [*findings.notes, *_notes_on_hdus(hdus, columns, obs_ids, reading)]
    rows: dict[int, dict[str, int]] = {}
    index = HduIndex(bases_of(path, hdus, reading), columns, _stated_of_files(hdus), rows, {})
    hdus = replace(hdus, columns={})
    errors: dict[int, DataError] = {}
    for row, (obs_id, kind) in enumerate(zip(obs_ids.tolist(), kinds.tolist(), strict=True)):
        first = rows.setdefault(obs_id, {}).setdefault(kind, row)
        if first == row:
            continue
        one, other = index.location(first), index.location(row)
        if one == other or kind == "aeff":
            text = f"the index names the {kind} of run {obs_id} more than once; the first is used"
            notes.append(IndexNote(text, [obs_id]))
        else:
            message = f"there are two HDUs of kind {kind} for run {obs_id}, in {one.path} and {other.path}"
            errors[obs_id] = hdus.error("bad-index", message)
    index = replace(index, rows={obs_id: kinds for obs_id, kinds in rows.items() if "events" in kinds})
    return hdus, replace(index, shared_with=_shared_event_lists(index)), errors, notes


def index_file(path: Path, name: str) -> Path:
    """Return the path of an index, compressed or not, or raise a `BgnbError`."""
    for candidate in (path / f"{name}.gz", path / name):
        if os.path.lexists(candidate):
            return candidate
    advice = "are directory and scheme right? Without index files, use the scheme FILES"
    if folders := _folders_with(path, (f"{name}.gz", name)):
        advice = f"give the directory that has it: {enumerate_values(folders)}"
    raise BgnbError("not-found", f"{path}: has neither {name}.gz nor {name}; {advice}")


def _folders_with(path: Path, names: Collection[str]) -> list[Path]:
    """Find the directories up to two levels above or below another one that have a file."""
    above = [folder for folder in list(path.absolute().parents)[:2] if any(os.path.lexists(folder / name) for name in names)]
    below = {file.parent for level in ("*", "*/*") for name in names for file in path.glob(f"{level}/{name}")}
    return above + sorted(below)


def obs_ids_of(index: FitsTable) -> Ints:
    """Return OBS_ID as integers; text and floats that contain them are accepted."""
    values = index.column("OBS_ID")
    try:
        whole = values.dtype.kind == "f" and np.all(values == np.floor(values)) and np.all(np.abs(values) < 2**53)
        beyond = values.dtype.kind == "u" and len(values) and values.max() > np.iinfo(np.int64).max
        if values.ndim == 1 and (values.dtype.kind in "iuU" or whole) and not beyond:
            return values.astype(np.int64)
    except (ValueError, OverflowError):
        pass
    raise index.error("bad-column", "column OBS_ID must contain integers")


def bases_of(path: Path, index: FitsTable, reading: ReadingSettings) -> tuple[Path, ...]:
    """Return the directories that paths in an HDU index may be relative to: its own, and BASE_DIR if it is stated.

    The first with the file is used (`base_of`). Gammapy ignores BASE_DIR, and lstchain states the path where the
    index was made, which is not that of a copy.
    """
    if (base := index.get("BASE_DIR")) is None:
        return (path,)
    return path, path / (os.path.expandvars(str(base)) if expands_variables(reading) else str(base))


def base_of(bases: Sequence[Path], path: Path) -> Path:
    """Return the directory of `bases_of` in which a file is."""
    return bases[0] if len(bases) == 1 else next((base for base in bases if os.path.lexists(base / path)), bases[0])


def columns_of_paths(index: FitsTable, reading: ReadingSettings) -> tuple[NDArray[np.str_], NDArray[np.str_]]:
    """Return FILE_DIR and FILE_NAME of an HDU index; without FILE_DIR, files are beside the index."""
    names = np.char.strip(index.column("FILE_NAME").astype(str, copy=False))
    folders = np.char.strip(index.columns.get("FILE_DIR", np.full(len(names), "")).astype(str))
    if expands_variables(reading):
        folders, names = (np.array(list(map(os.path.expandvars, column.tolist())), dtype=str) for column in (folders, names))
    return folders, names


def expands_variables(reading: ReadingSettings) -> bool:
    """Check that variables of the environment in paths are allowed."""
    return "path-variables" in reading.allow


def hdu_names(index: FitsTable, kinds: NDArray[np.str_]) -> NDArray[np.str_]:
    """Return HDU_NAME of an HDU index, but GTI where it names EVENTS for the good time intervals; see `hdu_kinds`."""
    names = np.char.strip(index.column("HDU_NAME").astype(str))
    return np.where((kinds == "gti") & (np.char.upper(names) == "EVENTS"), "GTI", names)


def hdu_kinds(hdus: FitsTable) -> NDArray[np.str_]:
    """Return the kind of each HDU of an index, "" if it is not used."""
    described = [hdus.column(name).astype(str, copy=False) for name in _HDU_DESCRIPTION]
    kinds = np.full(len(described[0]), "", dtype=f"U{max(map(len, _HDU_KINDS.values()))}")
    for part in blocks(len(kinds), IN_MEMORY):
        kinds[part] = [_hdu_kind(*names) for names in zip(*(each[part].tolist() for each in described), strict=True)]
    return kinds


@cache
def _hdu_kind(hdu_type: str, hdu_class: str) -> str:
    """Return the kind of an HDU, "" if it is not used."""
    return _HDU_KINDS.get(hdu_type.strip().lower(), _HDU_KINDS.get(hdu_class.strip().lower(), ""))


def _read_used_hdus(path: Path, findings: Findings) -> FitsTable:
    """Read the rows of an HDU index whose HDUs are used."""
    names = ("OBS_ID", *_HDU_DESCRIPTION, *_HDU_LOCATION, *_HDU_FILE)
    hdus = read_table(path, columns=names, refuse=findings.refuse)
    obs_ids_of(hdus)  # checks all of them
    used = (hdu_kinds(hdus) != "") & (hdus.column("FILE_NAME") != "")
    columns = dict(hdus.columns)
    hdus = replace(hdus, columns=columns)
    for name in columns:  # one by one, as they may take more than a gigabyte
        columns[name] = columns[name][used]
    return hdus


def _notes_on_hdus(hdus: FitsTable, columns: Sequence[NDArray[np.str_]], obs_ids: Ints, reading: ReadingSettings) -> list[str]:
    """Note paths and names of HDUs (`HduIndex.columns`) that are not those in the index."""
    folders, files, names = columns
    notes = []
    stated = columns_of_paths(hdus, ReadingSettings()) if expands_variables(reading) else (folders, files)
    if any(np.any(used != paths) for used, paths in zip((folders, files), stated, strict=True)):
        notes.append(f"{hdus.where}: allowed (path-variables): variables in paths are expanded")
    if len(changed := np.flatnonzero(names != np.char.strip(hdus.column("HDU_NAME").astype(str)))):
        which = dict.fromkeys(obs_ids[changed].tolist())
        text = f"the index names HDU EVENTS for the good time intervals of {numbered('run', which)}; HDU GTI is used"
        notes.append(IndexNote(f"{hdus.where}: {text}", which))
    return notes


def _stated_of_files(hdus: FitsTable) -> tuple[Floats, NDArray[np.str_]]:
    """Return SIZE in bytes and MD5 of the files of HDUs; 0 and "" where they are not stated, or are something else."""
    size, md5 = (hdus.columns.get(name, np.zeros(0)) for name in _HDU_FILE)
    n_hdus = len(hdus.column("FILE_NAME"))
    sizes, sums = np.zeros(n_hdus), np.full(n_hdus, "")
    if size.ndim == 1 and size.dtype.kind in "fiu" and len(size) and hdus.units["SIZE"].lower() in ("", "b", "byte", "bytes"):
        sizes = np.where(size > 0, size, 0.0)
    if md5.ndim == 1 and md5.dtype.kind == "U":
        sums = np.array([text if re.fullmatch("[0-9a-f]{32}", text) else "" for text in np.char.lower(md5)], dtype=str)
    return sizes, sums


def _shared_event_lists(index: HduIndex) -> dict[int, int]:
    """Find runs with the event list of another run, and one such run for each."""

    def event_list(obs_id: int) -> tuple[str, str]:
        file_dir, file_name, hdu_name = (str(column[index.rows[obs_id]["events"]]) for column in index.columns)
        return os.path.normpath(f"{file_dir}/{file_name}"), hdu_name

    # Hash values take a tenth of the memory of the paths.
    hashes = np.fromiter((hash(event_list(obs_id)) for obs_id in index.rows), dtype=np.int64, count=len(index.rows))
    _, which, numbers = np.unique(hashes, return_inverse=True, return_counts=True)
    first: dict[tuple[str, str], int] = {}
    shared: dict[int, int] = {}
    for obs_id in compress(index.rows, numbers[which] > 1):
        other = first.setdefault(event_list(obs_id), obs_id)
        if other != obs_id:
            shared |= {obs_id: other, other: obs_id}
    return shared
