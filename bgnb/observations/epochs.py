"""Epochs: periods, or configurations of the instrument, in which models are made and used separately."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table
from astropy.time import Time

from bgnb._util.errors import BgnbError, DataError, located, quoted
from bgnb._util.threads import ignored_warnings
from bgnb.observations.coordinates import date_of
from bgnb.observations.datastore import Runs
from bgnb.observations.event_reader import read_events_header
from bgnb.observations.gadf_keywords import mjdref_tt, start_and_stop
from bgnb.observations.run_selection import Reason
from bgnb.observations.table_file import read_table_file

# Names of epochs become those of directories.
_NAME = re.compile(r"\w[\w.+-]*")
# Maximum length of these names, bytes.
_NAME_MAX = 200
# Maximum distance of a date from MJD 0, the year 1858, d: the year 10072.
_MAX_MJD = 3e6
# Time scales whose differences from TT are known.
_SCALES = ("utc", "tai", "tt", "tcg", "tcb", "tdb")
_NOT_IN_NAMES = re.compile(r"[^\w.+-]+")


@dataclass(frozen=True, kw_only=True)
class Epochs:
    """Rule that assigns runs to epochs: by a column of the index of runs, or by the time at which they start.

    Parameters
    ----------
    column : str or None
        Name of the column whose values are the names of the epochs.
    periods : mapping of str to tuple of float
        Without a column, the start and the end of each epoch, MJD in TT. The end is not included.

    Raises
    ------
    BgnbError
        If a name cannot be that of a directory, or a period is empty or overlaps with another one.
    """

    column: str | None = None
    periods: Mapping[str, tuple[float, float]]

    def __post_init__(self) -> None:
        for name, (start, stop) in self.periods.items():
            _check_name(name, "the epochs")
            if not start < stop:
                raise BgnbError(
                    "invalid-argument", f"epoch {name} ends at {date_of(stop)}, not after its start {date_of(start)}"
                )
        in_order = sorted(self.periods.items(), key=lambda item: item[1])
        for (one, (_, stop)), (other, (start, _)) in pairwise(in_order):
            if start < stop:
                raise BgnbError(
                    "invalid-argument", f"epochs {one} and {other} overlap: from {date_of(start)} to {date_of(stop)}"
                )

    @classmethod
    def read(cls, epochs: str | Path, runs: Runs) -> Epochs:
        """Read epochs from a table, or take them from a column.

        Parameters
        ----------
        epochs : path or str
            A table (FITS, VOTable, ECSV or CSV) with the columns EPOCH, START and STOP, as dates (UTC) or MJD (TT); or the name
            of a column of the index of runs.
        runs : `~bgnb.Runs`
            The runs.

        Raises
        ------
        BgnbError
            If there is neither such a file nor such a column, or the table cannot be used.
        """
        names = {name.upper(): name for name in runs.table.colnames}
        if str(epochs).upper() in names and not Path(epochs).exists():
            return cls(column=names[str(epochs).upper()], periods={})
        try:
            table = read_table_file(epochs)
        except DataError:
            raise
        except FileNotFoundError:
            known = f"the columns of {runs.path} are {', '.join(runs.table.colnames)}"
            raise BgnbError("not-found", f"epochs: there is neither a file nor a column {epochs}; {known}") from None
        except Exception as error:  # astropy's readers raise many kinds
            reason = str(error).strip().splitlines() or [type(error).__name__]
            raise BgnbError("invalid-argument", f"{epochs}: cannot be read as a table of epochs: {reason[0]}") from None
        return cls.from_table(table, str(epochs))

    def of(self, runs: Runs, required: Collection[int] = ()) -> dict[int, str | Reason]:
        """Assign runs to epochs.

        Parameters
        ----------
        runs : `~bgnb.Runs`
            The runs.
        required : collection of int
            OBS_IDs of runs whose errors are raised; those of others are returned as reasons.

        Returns
        -------
        dict of int to str or `Reason`
            Name of the epoch of each run, or the reason why it has none, by OBS_ID.

        Raises
        ------
        BgnbError
            If the index lacks the column, a value cannot be the name of a directory, or a required run cannot be read.
        """
        errors = {obs_id: Reason.from_error(error) for obs_id, error in runs.errors.items()}
        if self.column is None:
            return {obs_id: errors.get(obs_id) or self._at(runs, obs_id, required) for obs_id in runs.obs_ids}
        where = f"{runs.path}, column {self.column}"
        if self.column not in runs.table.colnames:
            raise BgnbError("missing-column", f"{where}: the index of runs has no such column, which has the epochs")
        column = runs.table[self.column]
        if column.ndim != 1 or column.dtype.kind not in "iuU":
            raise BgnbError("bad-column", f"{where}: must contain names or integers to be that of epochs")
        values = [value.strip() for value in np.asarray(column.astype(str)).tolist()]
        names = {value: _check_name(_NOT_IN_NAMES.sub("_", value), where) for value in sorted({*values} - {""})}
        if len({name.lower() for name in names.values()}) < len(names):
            raise BgnbError("bad-column", f"{where}: two values give the same name of an epoch: {', '.join(names)}")
        epochs = dict(zip(runs.obs_ids, values, strict=True))
        assigned = {obs_id: names.get(epochs[obs_id], Reason("without an epoch")) for obs_id in runs.obs_ids}
        return assigned | errors

    def _at(self, runs: Runs, obs_id: int, required: Collection[int]) -> str | Reason:
        """Return the epoch in which a run starts."""
        try:
            header = read_events_header(runs.files(obs_id))
            mjd = mjdref_tt(header) + start_and_stop(header)[0] / 86400
        except DataError as error:
            if obs_id in required:
                raise
            return Reason.from_error(error)
        found = (name for name, (start, stop) in self.periods.items() if start <= mjd < stop)
        return next(found, Reason("outside all epochs", date_of(mjd)))

    def as_table(self) -> Table:
        """Return a table that `from_table` converts back."""
        rows = [(name, start, stop) for name, (start, stop) in self.periods.items()]
        table = Table(rows=rows or None, names=("EPOCH", "START", "STOP"), dtype=(str, float, float))
        table.meta["COLUMN"] = self.column
        return table

    @classmethod
    def from_table(cls, table: Table, where: str) -> Epochs:
        """Return the epochs of a table with the columns EPOCH, START and STOP, or with a name of a column in its metadata.

        Raises
        ------
        BgnbError
            If it cannot be used; the message says where it is.
        """
        if isinstance(column := table.meta.get("COLUMN"), str):
            return cls(column=column, periods={})
        if missing := [name for name in ("EPOCH", "START", "STOP") if name not in table.colnames]:
            raise BgnbError("missing-column", f"{where}: a table of epochs needs the column {missing[0]}")
        names = [str(name) for name in table["EPOCH"]]
        if len({name.lower() for name in names}) < len(names):
            raise BgnbError("invalid-argument", f"{where}: the names of epochs must differ by more than case (column EPOCH)")
        start, stop = (_mjd(table[name], f"{where}: column {name}") for name in ("START", "STOP"))
        is_mjd = getattr(getattr(table["START"], "dtype", None), "kind", "") in "fiu"
        for key, usual in (("MJDREF", ("0", "0.0")), ("MJDREFI", ("0",)), ("TIMESYS", ("TT",))):
            if is_mjd and str(table.meta.get(key, usual[0])).strip().upper() not in usual:
                what = f"{key} = {table.meta[key]} is not taken into account; write dates, or MJDs in TT, and remove it"
                raise BgnbError("invalid-argument", f"{where}: {what}")
        with located(where):
            return cls(periods=dict(zip(names, zip(start, stop, strict=True), strict=True)))


def _check_name(name: str, where: str) -> str:
    if len(name.encode()) > _NAME_MAX:
        raise BgnbError("invalid-argument", f"{where}: the name of an epoch has more than {_NAME_MAX} bytes: {quoted(name)}")
    if not _NAME.fullmatch(name) or name.lower().endswith((".json", ".ecsv")):  # the files beside the directories
        allowed = "letters, digits and the characters _ . + -"
        raise BgnbError("invalid-argument", f"{where}: '{name}' cannot be the name of an epoch, which may contain {allowed}")
    return name


def _mjd(column: Any, where: str) -> list[float]:
    """Return MJDs in TT of a column of dates or MJDs."""
    try:
        if column.ndim != 1:
            advice = "write dates as text, or the table as ECSV"
            raise ValueError(f"it contains more than one value in each row, as times in FITS do; {advice}")
        if np.any(getattr(column, "mask", False)):
            raise ValueError("a value is missing")
        with ignored_warnings(Warning):  # leap seconds of other centuries, or after the table of Astropy, are unknown
            mjd = np.asarray(_time(column).tt.mjd)
    except (ValueError, TypeError) as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise BgnbError("invalid-argument", f"{where} must contain dates, such as 2004-05-01, or MJDs: {reason[0]}") from None
    if not np.all(np.abs(mjd) < _MAX_MJD):  # False for NaN
        raise BgnbError("invalid-argument", f"{where} contains values that are not finite dates")
    return [float(value) for value in mjd]


def _time(column: Any) -> Time:
    """Return the times of a column of times, dates or MJDs."""
    if isinstance(column, Time):
        if column.scale not in _SCALES:  # UT1 needs the orientation of the Earth, which Astropy would download
            raise ValueError(f"its time scale is {column.scale}; use one of {', '.join(_SCALES)}")
        return column
    values = np.asarray(column)
    if values.dtype.kind not in "fiu":
        return Time(values.astype(str), scale="utc")
    if (unit := getattr(column, "unit", None)) not in (None, "d"):
        raise ValueError(f"its unit is {unit}; an MJD is in days")
    if not np.isfinite(values).all():
        raise ValueError("a value is not finite")
    for first, last, kind in ((1900, 2100, "a year"), (2_400_000, 2_500_000, "a Julian date")):
        if len(wrong := values[(values >= first) & (values <= last)]):
            raise ValueError(f"{wrong[0]:.10g} seems to be {kind}")
    return Time(values.astype(float), format="mjd", scale="tt")
