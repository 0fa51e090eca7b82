"""Index files of the data stores of attach: rows for the files of runs and for their backgrounds."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.table import Table
from numpy.typing import NDArray

from bgnb._util.errors import BgnbError, DataError
from bgnb.files.fits_reader import open_fits
from bgnb.files.fits_writer import extension, index_hdu
from bgnb.observations.datastore import Runs
from bgnb.observations.event_list import HduLocation
from bgnb.observations.findings import Findings
from bgnb.observations.fits_header import Header
from bgnb.observations.fits_table import read_headers, read_table, read_tables
from bgnb.observations.hdu_index import base_of, bases_of, columns_of_paths, hdu_kinds, hdu_names, index_file

#: Directory of the backgrounds, one file per run.
BACKGROUNDS = "backgrounds"
_CLASSES = ("events", "gti", "aeff_2d", "edisp_2d", "psf_table", "psf_3gauss", "psf_king", "rad_max_2d")
# HDU_TYPE and HDU_CLASS of the HDUs that bgnb reads.
_DESCRIPTIONS = {"events": ("events", "events"), "gti": ("gti", "gti"), "aeff": ("aeff", "aeff_2d")}
_COLUMNS = ("OBS_ID", "HDU_TYPE", "HDU_CLASS", "FILE_DIR", "FILE_NAME", "HDU_NAME")


def index_of_hdus(
    runs: Runs, obs_ids: Sequence[int], target: Path, scheme: str, kind: str
) -> tuple[Table, dict[int, set[str]]]:
    """Make the index of HDUs of a data store.

    Parameters
    ----------
    runs : `~bgnb.Runs`
        Runs of the input.
    obs_ids : sequence of int
        OBS_IDs of the runs with a background.
    target : path
        Directory of the store, to which paths are relative.
    scheme : str
        Layout of the input.
    kind : str
        HDU_CLASS of the backgrounds.

    Returns
    -------
    table : `~astropy.table.Table`
        Rows for the original files and the backgrounds.
    components : dict of int to set of str
        HDU_TYPEs of the HDUs of each run.
    """
    table = {"GADF": _gadf_table, "HESS": _hess_table, "FILES": _files_table}[scheme](runs, obs_ids, target, kind)
    components: dict[int, set[str]] = {obs_id: set() for obs_id in obs_ids}
    for obs_id, hdu_type in zip(table["OBS_ID"].tolist(), table["HDU_TYPE"].tolist(), strict=True):
        components[obs_id].add(hdu_type)
    return table, components


def relative_path(file: Path, target: Path) -> tuple[str, str]:
    """Return FILE_DIR, which is relative to a data store, and FILE_NAME of a file.

    Raises
    ------
    BgnbError
        If the index of HDUs cannot contain it, or Gammapy would change it.
    """
    relative = os.path.relpath(Path(os.path.realpath(file.parent), file.name), target)
    if relative.isascii() and "$" not in relative:
        return os.path.split(relative)
    why = "with characters other than ASCII, which FITS does not allow, or with $, which Gammapy takes for a variable"
    advice = "make OUTDIR beside INDIR, or rename the directories or files"
    raise BgnbError("bad-target", f"{target}: the index would contain the path '{relative}', {why}; {advice}")


def background_file(obs_id: int) -> str:
    """Return the name of the file with the background of a run."""
    return f"bkg_{obs_id}.fits.gz"


def _gadf_table(runs: Runs, obs_ids: Sequence[int], target: Path, kind: str) -> Table:
    """Return the index of HDUs, with rows for the original files and the backgrounds."""
    index = read_table(index_file(runs.path, "hdu-index.fits"), refuse=Findings(runs.reading).refuse)
    columns: dict[str, NDArray[Any]] = dict.fromkeys(_COLUMNS, np.zeros(0))  # in this order
    columns |= {name: values for name, values in index.columns.items() if values.ndim == 1 and values.dtype.kind != "V"}
    columns["FILE_DIR"], columns["FILE_NAME"] = columns_of_paths(index, runs.reading)
    used_kinds = hdu_kinds(index)
    columns |= {"OBS_ID": index.column("OBS_ID").astype(np.int64), "HDU_NAME": hdu_names(index, used_kinds)}
    for number, name in enumerate(("HDU_TYPE", "HDU_CLASS")):  # as Gammapy spells them
        texts = np.char.lower(np.char.strip(columns[name].astype(str)))
        columns[name] = np.select(
            [used_kinds == kind for kind in _DESCRIPTIONS], [each[number] for each in _DESCRIPTIONS.values()], texts
        )
    kinds = columns["HDU_TYPE"]
    kept = np.isin(columns["OBS_ID"], obs_ids) & (kinds != "bkg") & ~np.char.startswith(columns["HDU_CLASS"], "bkg")
    bases = bases_of(runs.path, index, runs.reading)
    files = list(zip(columns["FILE_DIR"].tolist(), columns["FILE_NAME"].tolist(), strict=True))
    folders = {file: (base_of(bases, Path(*file)) / file[0]).resolve() for file in set(files)}
    if "missing-hdu" in runs.reading.allow:
        names = columns["HDU_NAME"].tolist()
        for number in np.flatnonzero(kept & ~np.isin(used_kinds, ["events", "gti"])).tolist():
            kept[number] = _exists(HduLocation(folders[files[number]] / files[number][1], names[number]))
    columns["HDU_NAME"] = _names_of_used_hdus(columns, used_kinds, kept, folders)
    used = {file for file, is_kept in zip(files, kept, strict=True) if is_kept}
    paths = {file: relative_path(folders[file] / file[1], target) for file in used}
    columns["FILE_DIR"], columns["FILE_NAME"] = np.array([paths.get(file, ("", "")) for file in files]).T
    table, rows = Table(), [_background_row(obs_id, kind) for obs_id in obs_ids]
    with_gti = set(columns["OBS_ID"][kept & (kinds == "gti")].tolist())
    for obs_id in obs_ids:
        if obs_id not in with_gti:  # then that in the file of the events was read
            location = HduLocation(runs.files(obs_id).events.path, "GTI", optional=True)
            if row := _row_of_hdu(obs_id, "gti", location, target):
                rows.append(row)
    for name, values in columns.items():
        ours = [row[name] for row in rows] if name in _COLUMNS else np.zeros(len(rows), values.dtype)
        here = values[kept]
        if here.dtype.kind == "U":  # FITS has only ASCII
            here = np.char.decode(np.char.encode(here, "ascii", "replace"), "ascii")
        table[name] = np.concatenate([here, ours])
        table[name].unit = index.units.get(name) or None
    return table[np.argsort(table["OBS_ID"], kind="stable")]


def _names_of_used_hdus(
    columns: Mapping[str, NDArray[Any]],
    kinds: NDArray[np.str_],
    kept: NDArray[np.bool_],
    folders: Mapping[tuple[str, str], Path],
) -> NDArray[np.str_]:
    """Return HDU_NAME, with EVENTS and GTI where it names HDUs that are missing, so that those HDUs were read instead."""
    names = columns["HDU_NAME"].tolist()
    unusual = kept & np.isin(kinds, ["events", "gti"]) & (np.char.lower(columns["HDU_NAME"]) != kinds)
    for row in np.flatnonzero(unusual):
        file = str(columns["FILE_DIR"][row]), str(columns["FILE_NAME"][row])
        if _hdu_name(HduLocation(folders[file] / file[1], names[row])) is None:
            names[row] = str(kinds[row]).upper()
    return np.array(names, dtype=str)


def _hess_table(runs: Runs, obs_ids: Sequence[int], target: Path, kind: str) -> Table:
    """Make an index of the HDUs of scheme HESS and of the backgrounds."""
    rows: list[dict[str, Any]] = []
    for obs_id in obs_ids:
        files = runs.files(obs_id)
        for hdu_type, location in {"events": files.events, "gti": files.gti, "aeff": files.aeff}.items():
            if row := _row_of_hdu(obs_id, hdu_type, location, target):
                rows.append(row)
        rows.append(_background_row(obs_id, kind))
    return Table(rows=rows)


def _files_table(runs: Runs, obs_ids: Sequence[int], target: Path, kind: str) -> Table:
    """Make an index of the HDUs in the files of the runs and of the backgrounds."""
    rows: list[dict[str, Any]] = []
    for obs_id in obs_ids:
        path = runs.files(obs_id).events.path
        file = relative_path(path, target)
        names = {"PRIMARY"}
        for header in read_headers(path):
            hdu_class, name = _class_in_gammapy(header), header.name.strip().upper()
            is_first = name not in names  # which Gammapy finds by its name
            names.add(name)
            if header.hdu_class and hdu_class and name and is_first:
                values = (obs_id, header.hdu_class.value, hdu_class, *file, header.name)
                rows.append(dict(zip(_COLUMNS, values, strict=True)))
        rows.append(_background_row(obs_id, kind))
    return Table(rows=rows)


def _class_in_gammapy(header: Header) -> str | None:
    """Return the HDU_CLASS of an HDU, None if Gammapy has no such class; files of CTA 1DC state only a part of it."""
    hdu_type = header.hdu_class.value if header.hdu_class else ""
    stated = str(header.get("HDUCLAS4", "2D")).strip().lower()
    names = (hdu_type, stated, f"{hdu_type}_{stated}")
    return next((name for name in names if name in _CLASSES and name.startswith(hdu_type)), None)


def _background_row(obs_id: int, kind: str) -> dict[str, Any]:
    """Return the row of a background in the index of HDUs."""
    values = (obs_id, "bkg", kind, BACKGROUNDS, background_file(obs_id), "BACKGROUND")
    return dict(zip(_COLUMNS, values, strict=True))


def _row_of_hdu(obs_id: int, kind: str, location: HduLocation | None, target: Path) -> dict[str, Any] | None:
    """Return the row of an HDU of a run in the index of HDUs; None if there is no such HDU, or it has no name."""
    name = _hdu_name(location) if location else None
    if location is None or not name:
        return None
    values = (obs_id, *_DESCRIPTIONS[kind], *relative_path(location.path, target), name)
    return dict(zip(_COLUMNS, values, strict=True))


def _exists(location: HduLocation) -> bool:
    """Return whether an HDU exists, even if it is damaged."""
    try:
        return _hdu_name(location) is not None
    except DataError as error:
        return error.code != "not-found"


def _hdu_name(location: HduLocation) -> str | None:
    """Read the EXTNAME of an HDU; None if there is no such HDU."""
    (table,) = read_tables(location.path, [location.hdu], columns=[], refuse=lambda _: None)
    return table.name if table else None


def index_of_runs(runs: Runs, obs_ids: Sequence[int], scheme: str) -> memoryview:
    """Make the index of observations, from the original rows in scheme GADF and from the run table in other schemes.

    Columns of arrays of variable length, which Astropy cannot copy, are left out.
    """
    if scheme != "GADF":
        return index_hdu(runs.table[np.isin(runs.table["OBS_ID"], obs_ids)], "OBS")
    with open_fits(index_file(runs.path, "obs-index.fits"), verify=False) as hdus:  # it was compared when runs were opened
        for name in [column.name for column in hdus[1].columns if column.format.lstrip("0123456789").startswith(("P", "Q"))]:
            hdus[1].columns.del_col(name)
        for name in hdus[1].columns.names:  # Gammapy knows them in capitals only
            if name != name.upper() and name.upper() in runs.table.colnames:
                hdus[1].columns.change_name(name, name.upper())
        numbers, rows = np.unique(np.asarray(hdus[1].data["OBS_ID"]).astype(np.int64), return_index=True)
        kept = np.sort(rows[np.isin(numbers, obs_ids)])
        return extension(fits.BinTableHDU(hdus[1].data[kept], hdus[1].header))
