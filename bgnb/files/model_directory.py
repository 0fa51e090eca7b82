"""A directory of models: which there are, and which serves a run."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from astropy import units as u

from bgnb._util.checks import checked_choice
from bgnb._util.errors import BgnbError, DataError, enumerate_values
from bgnb.cubes.cube import RATE_UNIT, Cube
from bgnb.cubes.model import BackgroundModel
from bgnb.cubes.prediction import point_rate, predicted_rate
from bgnb.cubes.spline import SplineModel
from bgnb.files.gadf import read_model, read_pointing
from bgnb.files.group_file import GROUPS_FILE, read_groups, read_model_ids
from bgnb.files.report_json import read_report
from bgnb.files.spline_file import SPLINE_FILE, read_spline
from bgnb.observations.coordinates import FovAlign
from bgnb.observations.datastore import Runs
from bgnb.observations.event_list import EventList
from bgnb.observations.groups import ObservationGroups
from bgnb.observations.sites import same_instrument

#: Groups whose cubes are kept in memory.
KEPT = 3
#: A group's model serves the runs of other groups, and is interpolated with others, from so many counts on.
MIN_COUNTS = 1000
#: The distance of groups on the two sides in azimuth, in terms of the cosine of the zenith angle.
AZIMUTH_DISTANCE = 0.1
#: How a model is found for a run.
Between = Literal["interpolate", "nearest"]

_MODEL_FILE = re.compile(r"bg_cube_model_group(\d+)_table\.fits(\.gz)?")


def model_files(directory: Path) -> dict[int, Path]:
    """Table files of a directory of models, by GROUP_ID.

    Raises
    ------
    BgnbError
        Where there are none.
    """
    if not directory.is_dir():
        raise BgnbError(f"{directory}: there is no such directory of models")
    files = {int(match[1]): path for path in sorted(directory.iterdir()) if (match := _MODEL_FILE.fullmatch(path.name))}
    if not files:
        raise BgnbError(f"{directory}: holds no models (bg_cube_model_group<ID>_table.fits.gz)")
    return files


@dataclass(frozen=True)
class GroupModel:
    """A model and the mean altitude, in deg, at which the runs pointed that it was made from."""

    group_id: int
    alt_pnt: float
    model: BackgroundModel

    @property
    def cos_zenith(self) -> float:
        """Cosine of the zenith angle."""
        return float(np.sin(np.radians(self.alt_pnt)))


@dataclass(frozen=True)
class Choice:
    """The rate for a run, and the groups that it comes from with their weights."""

    rate: Cube
    weights: dict[int, float]


class ModelSet:
    """The models of a directory.

    Parameters
    ----------
    directory : path
        A directory of models.

    Raises
    ------
    BgnbError
        Where it holds none.
    """

    def __init__(self, directory: str | Path) -> None:
        self.path = Path(directory)
        self._files = model_files(self.path)
        self.group_ids = sorted(self._files)
        self._groups = read_groups(self.path / GROUPS_FILE) if (self.path / GROUPS_FILE).exists() else None
        self.read: Callable[[int], BackgroundModel] = lru_cache(KEPT)(lambda group_id: read_model(self._files[group_id]))

    def label(self, group_id: int) -> str:
        """A group in words: its number, and its edges where they are known."""
        if self._groups is None or group_id >= len(self._groups):
            return str(group_id)
        served = [other for other, model_id in self.model_ids.items() if model_id == group_id] or [group_id]
        rows = self._groups.table[served]
        altitude, azimuth = (f"{rows[f'{axis}_MIN'].min():g} to {rows[f'{axis}_MAX'].max():g}°" for axis in ("ALT", "AZ"))
        return f"{group_id}: altitude {altitude}, azimuth {azimuth}"

    def checked(self, group_id: int | None) -> int:
        """A group that there is; the one with most counts, as far as is known, where none is asked for.

        Raises
        ------
        BgnbError
            Where there is no such group.
        """
        if group_id is None:
            counts = self._counts()
            return max(self.group_ids, key=lambda group: counts.get(group, 0))
        return one_of(group_id, self.group_ids, f"{self.path}: has no model of group")

    @property
    def has_groups(self) -> bool:
        """Whether the directory says how the groups are defined."""
        return self._groups is not None

    @cached_property
    def groups(self) -> ObservationGroups:
        """The definition of the groups.

        Raises
        ------
        BgnbError
            Where the directory does not say.
        """
        if self._groups is None:
            raise BgnbError(f"{self.path}: {GROUPS_FILE} is missing, so that the group of a run is not known")
        return self._groups

    @cached_property
    def model_ids(self) -> dict[int, int]:
        """For each GROUP_ID that of the group whose model serves it, where there is one."""
        path = self.path / GROUPS_FILE
        return read_model_ids(path) if path.exists() else {group_id: group_id for group_id in self.group_ids}

    @cached_property
    def models(self) -> tuple[GroupModel, ...]:
        """Every model, in order of GROUP_ID."""
        return tuple(
            GroupModel(group_id, read_pointing(self._files[group_id])[0], read_model(self._files[group_id]))
            for group_id in self.group_ids
        )

    @cached_property
    def spline(self) -> SplineModel | None:
        """The spline for any pointing, where there is one."""
        path = self.path / SPLINE_FILE
        return read_spline(path) if path.exists() else None

    def checked_all(self) -> ModelSet:
        """The same, after all that `rate_for` needs was read.

        Raises
        ------
        BgnbError
            Where a file is missing or cannot be read.
        """
        if self.spline is None:
            _ = self.groups
        _ = self.models
        return self

    def check_interpolable(self) -> None:
        """Complain where Gammapy's interpolation of the models' rates would mean nothing.

        Raises
        ------
        BgnbError
            Where a model is not smoothed: it has zeros, and no logarithm, between bins with counts.
        """
        for group in self.models:
            if group.model.method == "unsmoothed":
                raise BgnbError(
                    f"{self.path}: the model of group {group.group_id} is unsmoothed, and Gammapy's interpolation between "
                    "its empty bins means nothing; use models of another method"
                )

    @property
    def fovalign(self) -> FovAlign:
        """Frame of DETX and DETY of the models."""
        return self.models[0].model.stack.fovalign

    @property
    def obs_ids(self) -> set[int]:
        """OBS_IDs of all runs that the models were made from."""
        return {obs_id for group in self.models for obs_id in group.model.stack.obs_ids}

    @cached_property
    def altitudes(self) -> tuple[float, float]:
        """Least and greatest altitude (deg) for which the models were made: of the runs of a spline, of the groups else."""
        if self.spline is not None:
            low, high = np.degrees(np.arcsin(np.clip(self.spline.zenith_range, -1, 1)))
            return float(low), float(high)
        rows = self.groups.table[[group_id for group_id, model_id in self.model_ids.items() if model_id in self.group_ids]]
        return float(rows["ALT_MIN"].min()), float(rows["ALT_MAX"].max())

    def note_beyond(self, runs: Runs, obs_ids: Iterable[int]) -> list[str]:
        """A note on the runs that point beyond the altitudes for which the models were made."""
        low, high = self.altitudes
        if beyond := [obs_id for obs_id in obs_ids if not low <= runs.pointing(obs_id)[0] <= high]:
            where = f"beyond the altitudes for which the models were made, {low:.1f} to {high:.1f} deg"
            return [f"{where}, and given the nearest: run {enumerate_values(beyond)}"]
        return []

    def check_instrument(self, run: EventList) -> None:
        """Complain of a run of another instrument.

        Raises
        ------
        DataError
            Where models and run state different ones.
        """
        ours = self.models[0].model.stack.telescop
        if not same_instrument(ours, run.telescop):
            which = f"run {run.obs_id} is of {run.telescop.strip()}, but the models are of {ours} (TELESCOP)"
            raise DataError(f"{self.path}: {which}; use models of its own instrument")

    def rate_for(self, alt_pnt: float, az_pnt: float, between: Between = "interpolate") -> Choice:
        """The rate for a run that points somewhere; there always is one.

        Parameters
        ----------
        alt_pnt, az_pnt : float
            Pointing of the run, deg.
        between : {"interpolate", "nearest"}
            ``nearest``: the model of the run's own group. Where it has none, or one of less
            than `MIN_COUNTS` counts, the nearest model that has as many; the distance is
            that of the cosines of the zenith angle, plus `AZIMUTH_DISTANCE` for a group of
            another range of azimuth. ``interpolate``: the logarithm of the rate is
            interpolated in the cosine of the zenith angle, between the next groups above
            and below of the same range of azimuth that have enough counts; beyond them
            the nearest is taken.

        Raises
        ------
        BgnbError
            Where the definition of the groups is missing.
        """
        between = checked_between(between)
        if between == "interpolate" and self.spline is not None:
            return Choice(self.spline.rate_at(alt_pnt, az_pnt), {})
        enough = [group for group in self.models if group.model.stack.counts.sum() >= MIN_COUNTS] or list(self.models)
        cos_zenith, column = float(np.sin(np.radians(alt_pnt))), self.groups.az_column(az_pnt)

        def distance(group: GroupModel) -> float:
            return abs(group.cos_zenith - cos_zenith) + AZIMUTH_DISTANCE * (column not in self._az_columns[group.group_id])

        group_id = self.groups.group_id(alt_pnt, az_pnt)
        own = [group for group in enough if group_id is not None and group.group_id == self.model_ids.get(group_id)]
        nearest = own[0] if own else min(enough, key=distance)
        if between == "interpolate":
            beside = sorted(
                (group for group in enough if column in self._az_columns[group.group_id]), key=lambda group: group.cos_zenith
            )
            below = [group for group in beside if group.cos_zenith <= cos_zenith]
            above = [group for group in beside if group.cos_zenith > cos_zenith]
            if below and above:
                return _interpolated(below[-1], above[0], cos_zenith)
        return Choice(nearest.model.rate, {nearest.group_id: 1.0})

    @cached_property
    def _az_columns(self) -> dict[int, set[int]]:
        """Ranges of azimuth that each model serves."""
        in_altitude = len(self.groups.az_edges) - 1
        columns = {group_id: {group_id % in_altitude} for group_id in self.group_ids}
        for group_id, model_id in self.model_ids.items():
            columns.setdefault(model_id, set()).add(group_id % in_altitude)
        return columns

    def _counts(self) -> dict[int, int]:
        try:
            return {int(group["group_id"]): int(group["counts"]) for group in read_report(self.path)["groups"]}
        except (BgnbError, ValueError, KeyError, TypeError):
            return {}


def checked_between(between: str) -> Between:
    """One of the kinds of `Between`, or a `BgnbError`."""
    return checked_choice("between", between, get_args(Between))


def _interpolated(below: GroupModel, above: GroupModel, cos_zenith: float) -> Choice:
    """Log rate linear in the cosine of the zenith angle, on the axes of the nearer one.

    Energies that were measured at one of the two only, since they lie below the threshold of
    the other's runs, are taken from that one. So are bins that the axes of the farther one do
    not cover.
    """
    part = (cos_zenith - below.cos_zenith) / (above.cos_zenith - below.cos_zenith)
    near, far, weight = (below, above, part) if part < 0.5 else (above, below, 1 - part)
    axes = near.model.axes
    first, second = near.model.rate.quantity.to_value(RATE_UNIT), far.model.rate.quantity.to_value(RATE_UNIT)
    seen_first, seen_second = near.model.exposed, far.model.exposed
    if far.model.axes != axes:
        second = predicted_rate(point_rate(far.model.rate), axes, "gammapy") / axes.bin_volume.to_value("MeV sr")
        second = np.where(axes.bins_on(far.model.axes), second, 0.0)
        low, high = far.model.axes.energy.value[[*np.flatnonzero(seen_second)[[0, -1]] + [0, 1]]]
        centres = axes.energy_centers.value
        seen_second = (centres >= low) & (centres < high)
    share = np.where(seen_second & ~seen_first, 1.0, np.where(seen_first & ~seen_second, 0.0, weight))[:, None, None]
    share = np.where(first > 0, np.where(second > 0, share, 0.0), 1.0)
    rate = np.exp((1 - share) * _log(first) + share * _log(second)) * ((first > 0) | (second > 0))
    weights = {near.group_id: 1 - weight, far.group_id: weight}
    return Choice(Cube(axes, u.Quantity(rate, RATE_UNIT)), dict(sorted(weights.items())))


def _log(values: Any) -> Any:
    return np.log(np.where(values > 0, values, 1.0))


def one_of(group_id: Any, group_ids: list[int], complaint: str) -> int:
    """A group that is among others.

    Raises
    ------
    BgnbError
        Where it is not.
    """
    if isinstance(group_id, bool) or not isinstance(group_id, int | np.integer) or group_id not in group_ids:
        raise BgnbError(f"{complaint} {group_id}; the groups are {', '.join(map(str, group_ids))}")
    return int(group_id)


def read_group_model(modeldir: str | Path, group_id: int) -> BackgroundModel:
    """Read the model of one group from a directory of models.

    Raises
    ------
    BgnbError
        Where there is none; the message lists the groups.
    """
    models = ModelSet(modeldir)
    return models.read(models.checked(group_id))
