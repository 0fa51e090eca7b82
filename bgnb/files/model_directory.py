"""Directories of models."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from bgnb._util.checks import checked_path, without_dots
from bgnb._util.errors import BgnbError, DataError, command_line, numbered, printable, quoted
from bgnb._util.reading import Stamp, stamp_of
from bgnb.cubes.group_model import GroupModel
from bgnb.cubes.model import BackgroundModel
from bgnb.cubes.model_set import ModelSet
from bgnb.cubes.spline_model import SplineModel
from bgnb.files.fits_reader import find_fits
from bgnb.files.gadf import read_counts, read_model, read_model_and_pointing
from bgnb.files.group_file import GROUPS_FILE, read_groups, read_model_ids
from bgnb.files.manifest import MANIFEST, manifest_text
from bgnb.files.report_json import REPORT, read_report
from bgnb.files.spline_file import SPLINE_FILE, read_spline
from bgnb.observations.groups import ObservationGroups

#: Minimum number of models that a directory keeps in memory.
KEPT = 3
#: Memory that more models may use, bytes.
KEPT_BYTES = 256 << 20

#: File of a directory with models for each epoch.
EPOCHS_FILE = "epochs.ecsv"

_CHECK = "to list all damaged files"
# Differences of altitude and azimuth, deg, within which the pointing of a run may lie in another group.
_AROUND = 0.1 * np.array([(0, 0), (1, 1), (1, -1), (-1, 1), (-1, -1)])
_MODEL_FILE = re.compile(r"bg_cube_model_group(\d+)_table\.fits(\.gz)?")


def model_files(directory: Path) -> dict[int, Path]:
    """Find the files of models in a directory, by GROUP_ID.

    Raises
    ------
    BgnbError
        If there are none, or two of one group.
    """
    with _damage_advised(directory):
        if not directory.is_dir():
            raise BgnbError("not-found", f"{directory}: there is no such directory of models")
        paths = sorted(directory.iterdir())
    files: dict[int, Path] = {}
    for path in paths:
        match = _MODEL_FILE.fullmatch(path.name)
        if match and (first := files.setdefault(int(match[1]), path)) != path:
            both = f"{first.name} and {path.name} are both the model of group {int(match[1])}"
            raise BgnbError("groups-mismatch", f"{directory}: {both}; remove one of them")
    if not files and (directory / EPOCHS_FILE).exists():
        names = sorted(path.name for path in directory.iterdir() if path.is_dir())
        raise BgnbError("not-a-model", f"{directory}: contains models for each epoch; give one of: {', '.join(names)}")
    if not files:
        raise BgnbError("not-a-model", f"{directory}: contains no models (bg_cube_model_group<ID>_table.fits.gz)")
    return files


@contextmanager
def _damage_advised(directory: Path) -> Iterator[None]:
    """Explain errors of the system, and add to those of files the command that lists all damaged files of a directory."""
    try:
        yield
    except OSError as error:
        raise DataError("unreadable", f"{error.filename or directory}: cannot be read: {error.strerror}") from None
    except DataError as error:
        if not os.path.lexists(directory / MANIFEST) or _CHECK in error.message:
            raise
        advice = f"{_CHECK}: {command_line('check', directory)}"
        raise DataError(error.code, f"{error.message}; {advice}") from error


class ModelDirectory:
    """A directory of models. Files are read when they are needed.

    Parameters
    ----------
    directory : path
        The directory.

    Raises
    ------
    BgnbError
        If it contains no models.

    Examples
    --------
    >>> import bgnb
    >>> models = bgnb.ModelDirectory("models")
    >>> [models.label(group_id) for group_id in models.group_ids]
    ['27: altitude 72 to 90°, azimuth 90 to 270°']
    >>> models.read(27).method
    'spline'
    """

    def __init__(self, directory: str | Path) -> None:
        self.path = checked_path("the directory of models", directory)
        with _damage_advised(self.path):
            self._directory = without_dots(self.path.absolute())  # found from any current directory
            self._files = model_files(self._directory)
            self._identity = self._identify()
        self.group_ids = sorted(self._files)
        self._kept: dict[int, tuple[Stamp, BackgroundModel, int]] = {}  # with bytes; the last used is at the end

    def read(self, group_id: int) -> BackgroundModel:
        """Read the model of a group.

        The last `KEPT` models are kept in memory, and further ones as long as all of them fit
        in `KEPT_BYTES`.

        Parameters
        ----------
        group_id : int
            GROUP_ID of a model in ``group_ids``.

        Returns
        -------
        BackgroundModel

        Raises
        ------
        BgnbError
            If the file cannot be read, or all files were replaced since the directory was opened.
        """
        with _damage_advised(self._directory):
            stamp = self.stamp(group_id)
            kept = self._kept.pop(group_id, None)
            if kept is None or kept[0] != stamp:
                self.check_unchanged()
                model = read_model(self._files[group_id], group_id)
                self.check_unchanged()  # otherwise this model might be that of another directory
                self._check_pointings(group_id, model)
                if (spline := self.spline) is not None:
                    self._check_spline(spline, [model])
                kept = stamp, model, _size(model)
        self._kept[group_id] = kept
        while len(self._kept) > KEPT and sum(size for *_, size in self._kept.values()) > KEPT_BYTES:
            del self._kept[next(iter(self._kept))]
        return kept[1]

    def _check_pointings(self, group_id: int, model: BackgroundModel) -> None:
        """Check that a model is not that of another group: a run of it, if their pointings are known, points into its own."""
        pointings = [
            (run.alt_pnt, run.az_pnt) for run in model.stack.runs if run.alt_pnt is not None and run.az_pnt is not None
        ]
        if self.groups is None or not pointings:
            return
        around = np.array(pointings)[:, None] + _AROUND  # those at an edge may be rounded
        own = self.groups.group_ids(np.minimum(around[..., 0].ravel(), 90.0), around[..., 1].ravel()).tolist()
        if group_id not in {self.model_ids.get(each, each) for each in own}:
            reason = f"no run in HDU RUNS points into group {group_id}, so that this is the model of another group"
            raise DataError("groups-mismatch", f"{self._files[group_id]}: {reason}; copy the files again, with their names")

    def stamp(self, group_id: int) -> Stamp:
        """Return what changes when the file of a model does; None if there is no such file."""
        return stamp_of(self._files[group_id])

    def check_unchanged(self) -> None:
        """Raise an error if the directory was replaced or removed since it was opened.

        Raises
        ------
        BgnbError
            If it was.
        """
        if self._identify() != self._identity:
            advice = "open it again, for instance make the dashboard again, or run the command again"
            raise BgnbError("changed", f"{self.path}: was replaced or removed since it was opened; {advice}")

    def _identify(self) -> object:
        """Return what changes when the directory is replaced: its manifest, or else the stamps of the files on all models."""
        names = GROUPS_FILE, REPORT, SPLINE_FILE, SPLINE_FILE.removesuffix(".gz")
        return manifest_text(self._directory) or [stamp_of(self._directory / name) for name in names]

    @cached_property
    def groups(self) -> ObservationGroups | None:
        """The groups; None if the directory does not define them."""
        path = self._directory / GROUPS_FILE
        with _damage_advised(self._directory):
            return read_groups(path) if path.exists() else None

    @cached_property
    def model_ids(self) -> dict[int, int]:
        """GROUP_ID of the model that is used for each group, if there is one."""
        path = self._directory / GROUPS_FILE
        with _damage_advised(self._directory):
            return (path.exists() and read_model_ids(path)) or {group_id: group_id for group_id in self.group_ids}

    @property
    def spline(self) -> SplineModel | None:
        """The spline from which the models were derived, which is read from its file; None if there is none."""
        path = find_fits(self._directory, SPLINE_FILE)
        return None if path is None else read_spline(path)

    def label(self, group_id: int) -> str:
        """Describe a group: its number, and its edges if they are known."""
        if self.groups is None or group_id >= len(self.groups):
            return str(group_id)
        served = [other for other, model_id in self.model_ids.items() if model_id == group_id] or [group_id]
        rows = self.groups.table[served]
        altitude, azimuth = (f"{rows[f'{axis}_MIN'].min():g} to {rows[f'{axis}_MAX'].max():g}°" for axis in ("ALT", "AZ"))
        return f"{group_id}: altitude {altitude}, azimuth {azimuth}".replace("-", "−")

    def checked(self, group_id: int | None) -> int:
        """Check a GROUP_ID; for None return that of the model with most counts.

        Raises
        ------
        BgnbError
            If there is no such group.
        """
        if group_id is None:
            return max(self.group_ids, key=self.counts.__getitem__)
        return checked_group(group_id, self.group_ids, f"{self.path}: has no model of group")

    def read_all(self) -> ModelSet:
        """Read all models.

        Raises
        ------
        BgnbError
            If a file is missing or cannot be read, or all files were replaced in the meantime.
        """
        with _damage_advised(self._directory):
            fitted = self.spline
            if fitted is None and self.groups is None:
                reason = f"{GROUPS_FILE} is missing, so the group of a run is unknown"
                raise DataError("not-found", f"{self.path}: {reason}")
            if self.groups is not None and self.group_ids[-1] >= len(self.groups):
                which = f"defines {len(self.groups)} groups, but there is a model of group {self.group_ids[-1]}"
                raise DataError("groups-mismatch", f"{self.path / GROUPS_FILE}: {which}; copy the whole directory")
            if missing := sorted({*self.model_ids.values()} - {*self.group_ids}):
                advice = "copy the whole directory, or set MODEL_ID to -1 there"
                names = f"{numbered('group', missing)}, which the column MODEL_ID of {GROUPS_FILE} names"
                raise DataError("not-found", f"{self.path}: there is no model of {names}; {advice}")
            models = []
            for group_id in self.group_ids:
                model, (alt_pnt, az_pnt) = read_model_and_pointing(self._files[group_id], group_id)
                self._check_pointings(group_id, model)
                models.append(GroupModel(group_id=group_id, alt_pnt=alt_pnt, az_pnt=az_pnt, model=model))
            if fitted is None and any(group.model.method == "spline" for group in models):
                advice = "copy the whole directory, or make the models again"
                raise DataError(
                    "not-found", f"{self.path}: {SPLINE_FILE}, of which these models are parts, is missing; {advice}"
                )
            if fitted is not None:
                self._check_spline(fitted, [group.model for group in models])
            self.check_unchanged()
        return ModelSet(
            models=tuple(models), groups=self.groups, model_ids=self.model_ids, for_pointing=fitted, name=str(self.path)
        )

    def _check_spline(self, spline: SplineModel, models: Sequence[BackgroundModel]) -> None:
        """Check that the models can be parts of the spline: all have its axes and frame, and its parts no more counts."""
        counted = [model.stack for model in models if model.method == "spline"]
        agree = all((model.axes, model.stack.fovalign) == (spline.axes, spline.fovalign) for model in models)
        if not agree or (counted and (sum(stack.counts for stack in counted) > spline.counts).any()):
            advice = "copy the whole directory, or make the models again"
            reason = "was made from other runs, on other axes or in another frame than the models"
            raise DataError("groups-mismatch", f"{self.path / SPLINE_FILE}: {reason}; {advice}")

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """Notes in the report on the models; none if there is no report."""
        try:
            return tuple(printable(str(note)) for note in read_report(self._directory)["notes"])
        except (BgnbError, KeyError, TypeError):
            return ()

    @property
    def counts(self) -> dict[int, float]:
        """Counts of the models by GROUP_ID, from the report, or else from the files; 0 if they are unknown."""
        rows = self.group_rows
        stated = {group_id: rows.get(group_id, {}).get("counts", 0.0) for group_id in self.group_ids}
        return stated if any(stated.values()) else {group_id: _counts_in(path) for group_id, path in self._files.items()}

    @property
    def group_rows(self) -> dict[int, dict[str, float]]:
        """Counts, livetime and mean pointing of groups, by GROUP_ID, as far as there is a report that states them."""
        rows: dict[int, dict[str, float]] = {}
        try:
            for group in read_report(self._directory)["groups"]:
                row = rows.setdefault(int(group["group_id"]), {})
                for name in ("counts", "livetime_s", "alt_mean_deg", "az_mean_deg"):
                    if isinstance(group.get(name), int | float) and np.isfinite(group[name]):
                        row[name] = float(group[name])
        except (BgnbError, ValueError, OverflowError, KeyError, TypeError, AttributeError):
            return {}
        return rows

    @cached_property
    def measurements(self) -> frozenset[tuple[float, float, float | None, float | None]]:
        """Minimum and maximum altitude (deg) of the group, threshold and limit (TeV) of each used run, as far as reported."""
        try:
            report = read_report(self._directory)
            altitudes = {str(group["group_id"]): (group["alt_min_deg"], group["alt_max_deg"]) for group in report["groups"]}
            found = set()
            for run in report["runs"]:
                energies = [
                    None if run[key] is None else float(run[key]) for key in ("energy_threshold_tev", "energy_limit_tev")
                ]
                for group_id in map(str, run["group_fractions"] or [run["group_id"]]):
                    if run["status"] == "used" and group_id in altitudes:
                        low, high = map(float, altitudes[group_id])
                        found.add((low, high, energies[0], energies[1]))
        except (BgnbError, ValueError, OverflowError, KeyError, TypeError, AttributeError):
            return frozenset()
        return frozenset(found)


def _counts_in(path: Path) -> float:
    """Read the number of counts of a model; 0 if the file is damaged, which is an error when the model is used."""
    try:
        return float(read_counts(path))
    except DataError:
        return 0.0


def _size(model: BackgroundModel) -> int:
    """Compute the memory of the cubes of a model, bytes."""
    cubes = [cube.quantity for cube in (model.rate, model.error) if cube is not None]
    return sum(array.nbytes for array in (*cubes, model.stack.counts, model.stack.livetime_us))


def read_models(directory: str | Path) -> ModelSet:
    """Read all models of a directory.

    Parameters
    ----------
    directory : path
        A directory of models.

    Returns
    -------
    ModelSet

    Raises
    ------
    BgnbError
        If it contains no models, or a file is missing or cannot be read.

    Examples
    --------
    >>> import bgnb
    >>> models = bgnb.read_models("models")
    >>> models
    ModelSet(spline of 6 runs, groups 27)
    >>> models.rate_for(75, 180).rate.axes.shape
    (10, 10, 10)
    """
    return ModelDirectory(directory).read_all()


def read_group_model(modeldir: str | Path, group_id: int) -> BackgroundModel:
    """Read the model of one group from a directory of models.

    Parameters
    ----------
    modeldir : path
        A directory of models.
    group_id : int
        GROUP_ID of the group.

    Returns
    -------
    BackgroundModel
        The model of the group.

    Raises
    ------
    BgnbError
        If there is no such model; the message lists the groups.

    Examples
    --------
    >>> import bgnb
    >>> model = bgnb.read_group_model("models", 27)
    >>> model.method, len(model.stack.runs)
    ('spline', 6)
    """
    models = ModelDirectory(modeldir)
    return models.read(models.checked(group_id))


def checked_group(group_id: Any, group_ids: list[int], complaint: str) -> int:
    """Check that a GROUP_ID is in a list.

    Raises
    ------
    BgnbError
        If it is not.
    """
    if isinstance(group_id, bool) or not isinstance(group_id, int | np.integer) or group_id not in group_ids:
        raise BgnbError("not-found", f"{complaint} {quoted(group_id)}; the groups are {', '.join(map(str, group_ids))}")
    return int(group_id)


def common_groups(first: ModelDirectory, second: ModelDirectory) -> list[int]:
    """Find the GROUP_IDs that two directories have in common.

    Raises
    ------
    BgnbError
        If there are none, or the groups are defined differently.
    """
    both = f"{first.path} and {second.path}"
    if first.groups is not None and second.groups is not None and first.groups != second.groups:
        raise BgnbError("groups-mismatch", f"{both} have different groups, so their GROUP_IDs cannot be compared")
    if not (common := sorted(set(first.group_ids) & set(second.group_ids))):
        raise BgnbError("groups-mismatch", f"{both} have no group in common: {first.group_ids} and {second.group_ids}")
    return common


def checked_labels(labels: Sequence[str] | None, first: Path, second: Path) -> tuple[str, str]:
    """Check labels of two directories; by default use their names, with the parent directories if the names are equal.

    Raises
    ------
    BgnbError
        If there are not two names.
    """
    if labels is None:
        one, other = first.resolve(), second.resolve()
        if one.name != other.name:
            return printable(one.name), printable(other.name)
        return printable(f"{one.parent.name}/{one.name}"), printable(f"{other.parent.name}/{other.name}")
    if not isinstance(labels, tuple | list) or len(labels) != 2:
        raise BgnbError("invalid-argument", f"labels must be the names of both, got {quoted(labels)}")
    return printable(str(labels[0])), printable(str(labels[1]))
