"""Models of groups of runs, and the rate for a run derived from them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from operator import eq
from typing import Literal, get_args

import numpy as np
from astropy import units as u

from bgnb._util.arrays import Floats
from bgnb._util.checks import check_type, checked_choice, checked_pointing
from bgnb._util.errors import BgnbError, DataError, enumerate_values
from bgnb.cubes.cube import RATE_UNIT, Cube
from bgnb.cubes.event_cuts import RunCounts, common_runs
from bgnb.cubes.group_model import GroupModel, RateForRun, interpolated_rate, norm_scatter, rate_on_axes
from bgnb.cubes.method import PointingModel, find_method, method_names
from bgnb.cubes.model import BackgroundModel
from bgnb.cubes.spline_model import SplineModel
from bgnb.observations.coordinates import FovAlign, date_of
from bgnb.observations.event_list import EventList
from bgnb.observations.groups import ObservationGroups
from bgnb.observations.sites import same_instrument

#: Models with fewer counts are used only if all models have fewer.
MIN_COUNTS = 1000
#: Distance between groups in different ranges of azimuth, in units of the cosine of the zenith angle.
AZIMUTH_DISTANCE = 0.1
# Maximum distance of the times at which the rate for a run is evaluated, s; meanwhile the sky turns by 1 deg.
_STEP_S = 240.0
#: Time before and after the runs of the models within which other runs are expected to have the same background, days.
DAYS = 90
#: Lookup of the rate for a run in the models of groups.
ModelLookup = Literal["interpolate", "nearest"]


@dataclass(frozen=True, kw_only=True, eq=False)
class ModelSet:
    """Models of groups.

    Parameters
    ----------
    models : tuple of `GroupModel`
        At least one model, in order of GROUP_ID.
    groups : `ObservationGroups` or None
        The groups; None if they are not known.
    model_ids : mapping of int to int
        GROUP_ID of the model that is used for each group.
    for_pointing : `PointingModel` or None
        Model for any pointing from which the models of the groups were derived, if there is one.
    name : str
        Name of the models in messages, such as their directory.

    Raises
    ------
    BgnbError
        If there are no models, or they differ in the frame, the instrument or the condition on events.

    Examples
    --------
    >>> import bgnb
    >>> models = bgnb.read_models("models")
    >>> models.group_ids, models[27].method
    ([27], 'spline')
    >>> models.rate_for(75, 180).rate.axes == models[27].axes
    True
    """

    models: tuple[GroupModel, ...]
    groups: ObservationGroups | None
    model_ids: Mapping[int, int]
    for_pointing: PointingModel | None = None
    name: str = "the models"

    def __post_init__(self) -> None:
        if not self.models:
            raise BgnbError("invalid-value", f"{self.name}: there are no models")
        for group in self.models:
            check_type("each of models", group, GroupModel)
        self._check_agreement()

    def _check_agreement(self) -> None:
        """Check that the models can be used for the same runs; their files may have been copied from several directories."""
        stacks = [(group.group_id, group.model.stack) for group in self.models]
        self._check_equal("frame-mismatch", "FOVALIGN", [(group_id, stack.fovalign) for group_id, stack in stacks])
        telescops = [(group_id, stack.telescop) for group_id, stack in stacks]
        self._check_equal("mixed-instruments", "TELESCOP", telescops, same_instrument)
        selections = [(group_id, stack.selection) for group_id, stack in stacks if stack.runs]
        self._check_equal("mixed-selections", "EVENTSEL", selections)

    def _check_equal(
        self, code: str, keyword: str, values: Iterable[tuple[int, str]], agree: Callable[[str, str], bool] = eq
    ) -> None:
        """Check that the values of a keyword, given with their GROUP_ID, agree with each other."""
        first = {value: group_id for group_id, value in reversed(list(values))}
        for one, other in combinations(reversed(first), 2):
            if not agree(one, other):
                which = f"the models of groups {first[one]} and {first[other]} differ in {keyword}: '{one}' and '{other}'"
                raise DataError(code, f"{self.name}: {which}; copy the whole directory again, or make the models again")

    def __repr__(self) -> str:
        method = self.models[0].model.method
        groups = enumerate_values(self.group_ids, len(self.models))
        return f"ModelSet({method} of {len(self.obs_ids)} runs, groups {groups})"

    def __getitem__(self, group_id: int) -> BackgroundModel:
        """Return the model of a group; iterating over the set is an error, instead of ending at group 0."""
        for group in self.models:
            if group.group_id == group_id:
                return group.model
        groups = enumerate_values(self.group_ids, len(self.models))
        raise BgnbError("not-found", f"{self.name}: has no model of group {group_id!r}; the groups are {groups}")

    @property
    def group_ids(self) -> list[int]:
        """GROUP_ID of every model, in order."""
        return [group.group_id for group in self.models]

    @property
    def fovalign(self) -> FovAlign:
        """Frame of DETX and DETY."""
        return self.models[0].model.stack.fovalign

    @property
    def obs_ids(self) -> set[int]:
        """OBS_IDs of all runs from which the models were made."""
        return {obs_id for group in self.models for obs_id in group.model.stack.obs_ids}

    def common_runs(self, runs: Iterable[RunCounts]) -> set[int]:
        """Return the OBS_IDs of those of the runs from which the models were made."""
        return common_runs((run for group in self.models for run in group.model.stack.runs), runs)

    @cached_property
    def scatter(self) -> tuple[float | None, float | None]:
        """Standard deviation of log norm and of the spectral index from run to run; None if not known."""
        if isinstance(self.for_pointing, SplineModel):
            return self.for_pointing.scatter or None, self.for_pointing.tilt or None
        return norm_scatter(group.model for group in self.models), None

    @cached_property
    def reference_energy(self) -> float:
        """Mean energy of the counts of all models, on a logarithmic scale, TeV."""
        weighted = total = 0.0
        for group in self.models:
            counts = group.model.stack.counts.sum(axis=(1, 2))
            weighted += float(counts @ np.log(group.model.axes.energy_centers.value))
            total += float(counts.sum())
        return float(np.exp(weighted / total)) if total else 1.0

    def count_covariance(self, found: RateForRun, alt_pnt: float, az_pnt: float) -> Floats:
        """Compute the relative statistical covariance of the predicted counts between energy bins.

        For a spline, it follows from the covariance of the coefficients. For models of groups, the relative
        variance in an energy bin is 1 over the counts of the group, independent of other bins, plus that of the
        mean norm of its runs, which all bins have in common. Groups are combined with their weights. True models have no
        error.

        Parameters
        ----------
        found : `RateForRun`
            Rate for a run.
        alt_pnt, az_pnt : float
            Mean pointing of the run, deg.

        Returns
        -------
        ndarray, shape (energy, energy)
            Covariance of the logarithm of the predicted counts in the field of view, in the energy bins of the rate.
        """
        if isinstance(self.for_pointing, SplineModel):
            return self.for_pointing.count_covariance(alt_pnt, az_pnt)
        log_energy, n_energy = np.log(found.rate.axes.energy_centers.value), found.rate.axes.shape[0]
        covariance = np.zeros((n_energy, n_energy))
        # A model for any pointing of another package has the counts of all groups.
        weights = found.weights or dict.fromkeys(self.group_ids, 1 / len(self.models))
        for group_id, weight in weights.items():
            model = self[group_id]
            if model.is_true:
                continue
            of_group = 1 / np.maximum(model.stack.counts.sum(axis=(1, 2)), 1)
            of_group = np.interp(log_energy, np.log(model.axes.energy_centers.value), of_group)
            covariance += weight**2 * (np.diag(of_group) + (self.scatter[0] or 0.0) ** 2 / len(model.stack.runs))
        return covariance

    @cached_property
    def scatter_freedom(self) -> int:
        """Number of independent differences between runs from which `scatter` was estimated."""
        if isinstance(self.for_pointing, SplineModel):
            return max(len(self.obs_ids) - 1, 0)
        return sum(max(len(group.model.stack.runs) - 1, 0) for group in self.models)

    @cached_property
    def altitudes(self) -> tuple[float, float]:
        """Range of altitude (deg) for which the models were made."""
        if self.for_pointing is not None:
            return self.for_pointing.altitude_range
        served = [group_id for group_id, model_id in self.model_ids.items() if model_id in self.group_ids]
        rows = self._known_groups.table[served or self.group_ids]
        return float(rows["ALT_MIN"].min()), float(rows["ALT_MAX"].max())

    def energy_range(self, group_ids: Iterable[int]) -> u.Quantity:
        """Minimum and maximum energy with livetime in the models of some groups, or of all if there are none, in TeV."""
        some = set(group_ids)
        ranges = [limits for group_id, limits in self._energy_ranges.items() if not some or group_id in some]
        return u.Quantity([min(low for low, _ in ranges), max(high for _, high in ranges)], u.TeV)

    @cached_property
    def _energy_ranges(self) -> dict[int, tuple[float, float]]:
        """Minimum and maximum energy with livetime in each model, TeV."""
        return {group.group_id: tuple(group.model.energy_range.to_value("TeV").tolist()) for group in self.models}

    def check_interpolable(self) -> None:
        """Check that Gammapy can interpolate the rates.

        Raises
        ------
        BgnbError
            If a model has empty bins between bins with counts.
        """
        for group in self.models:
            if group.model.method in method_names() and not find_method(group.model.method).interpolable:
                raise BgnbError(
                    "not-interpolable",
                    f"{self.name}: the model of group {group.group_id} is {group.model.method}; its empty bins cannot be "
                    "interpolated as Gammapy does; use models of another method",
                )

    def check_instrument(self, run: EventList) -> None:
        """Check that a run and the models belong to the same instrument, and that their events are selected alike.

        Raises
        ------
        DataError
            If they state different instruments, or their events have different conditions.
        """
        stack = self.models[0].model.stack
        if stack.runs and stack.selection != run.selection:
            ours, theirs = (f"events with {each}" if each else "all events" for each in (stack.selection, run.selection))
            advice = f"use --events '{stack.selection}'" if stack.selection else "do not use --events"
            raise DataError("mixed-selections", f"{self.name} is made from {ours}, run {run.obs_id} has {theirs}; {advice}")
        ours = stack.telescop
        if not same_instrument(ours, run.telescop):
            which = f"run {run.obs_id} is of {run.telescop.strip()}, but the models are of {ours} (TELESCOP)"
            raise DataError("mixed-instruments", f"{self.name}: {which}; use models of the same instrument")

    def notes_on(self, runs: Mapping[int, RunCounts]) -> list[str]:
        """List notes on runs for which the models are not made.

        They are outside the ranges of altitude or azimuth of the models, simulated with models of real runs or the reverse, far
        in time from the runs of the models, or have other numbers of telescopes.

        Parameters
        ----------
        runs : mapping of int to RunCounts
            The runs, by OBS_ID.
        """
        low, high = self.altitudes
        margin, notes = 1.0, []  # the altitude changes during a run
        altitudes = {obs_id: run.alt_pnt for obs_id, run in runs.items() if run.alt_pnt is not None}
        if outside := [obs_id for obs_id, altitude in altitudes.items() if not low - margin <= altitude <= high + margin]:
            where = f"outside the altitudes for which the models were made, {low:.1f} to {high:.1f} deg"
            notes.append(f"runs {where}, for which the nearest model is used: {enumerate_values(outside)}")
        notes += self._notes_on_azimuths(runs, margin)
        of_simulation = self.models[0].model.is_simulated
        if other := [obs_id for obs_id, run in runs.items() if run.simulated != of_simulation]:
            which, models = ("real", "simulated") if of_simulation else ("simulated", "of real runs")
            notes.append(f"runs that are {which} although the models are {models}: {enumerate_values(other)}")
        ours = [run for group in self.models for run in group.model.stack.runs]
        if mjds := [run.mjd for run in ours if run.mjd is not None]:
            first, last = min(mjds), max(mjds)
            if far := [obs_id for obs_id, run in runs.items() if run.mjd and not first - DAYS <= run.mjd <= last + DAYS]:
                dates = " to ".join(dict.fromkeys([date_of(first), date_of(last)]))
                when = f"more than {DAYS} days before or after the runs of the models ({dates})"
                notes.append(f"runs taken {when}; the instrument may have changed: {enumerate_values(far)}")
        numbers = {run.n_tels for run in ours}
        if numbers and None not in numbers:
            known = enumerate_values(sorted(number for number in numbers if number is not None))
            if others := [obs_id for obs_id, run in runs.items() if run.n_tels is not None and run.n_tels not in numbers]:
                which = f"with a number of telescopes (N_TELS) that is not one of those of the models ({known})"
                notes.append(f"runs {which}: {enumerate_values(others)}")
        return notes

    def _notes_on_azimuths(self, runs: Mapping[int, RunCounts], margin: float) -> list[str]:
        """Note the runs that are more than ``margin`` (deg on the sky) outside the ranges of azimuth that have models."""
        if self.groups is None:
            return []
        edges, columns = self.groups.az_edges.value, set().union(*self._az_columns.values())
        if self.for_pointing is not None:  # the ranges in which it was fitted
            azimuths = [run.az_pnt for group in self.models for run in group.model.stack.runs if run.az_pnt is not None]
            found = map(self.groups.az_column, azimuths)
            columns = {column for column in found if column is not None} or columns
        ranges = [(float(edges[column]), float(edges[column + 1])) for column in sorted(columns)]
        for number in range(len(ranges) - 1, 0, -1):
            if ranges[number - 1][1] == ranges[number][0]:
                ranges[number - 1 : number + 1] = [(ranges[number - 1][0], ranges[number][1])]
        if len(ranges) > 1 and ranges[-1][1] - ranges[0][0] == 360:  # around the first edge
            ranges = [*ranges[1:-1], (ranges[-1][0] - 360, ranges[0][1])]
        low, high = np.transpose(ranges)
        outside = []
        for obs_id, run in runs.items():
            if run.alt_pnt is not None and run.az_pnt is not None:
                from_middle = np.abs((run.az_pnt - (low + high) / 2 + 180) % 360 - 180)
                azimuth = np.radians(np.clip(np.min(from_middle - (high - low) / 2), 0, 90))  # to the nearest meridian
                distance = np.degrees(np.arcsin(np.sin(azimuth) * np.cos(np.radians(run.alt_pnt))))
                outside += [obs_id] * bool(distance > margin)
        listed = " and ".join(f"{first:g} to {last:g} deg" for first, last in ranges)
        where = f"outside the azimuths for which the models were made, {listed}"
        return [f"runs {where}, whose rates may differ: {enumerate_values(outside)}"] if outside else []

    def rate_for(
        self, alt_pnt: float | str | u.Quantity, az_pnt: float | str | u.Quantity, model_lookup: ModelLookup = "interpolate"
    ) -> RateForRun:
        """Return the rate for the pointing of a run.

        Parameters
        ----------
        alt_pnt, az_pnt : float, str or `~astropy.units.Quantity`
            Pointing of the run, deg if no unit is stated.
        model_lookup : {"interpolate", "nearest"}
            ``nearest``: use the model of the group that contains the pointing. If the group
            has no model, or one with fewer than `MIN_COUNTS` counts, use the nearest model
            with enough counts. The distance is the difference of the cosines of the zenith
            angle, plus `AZIMUTH_DISTANCE` if the ranges of azimuth differ.
            ``interpolate``: interpolate the logarithm of the rate in the cosine of the zenith
            angle between the nearest groups above and below in the same range of azimuth that
            have enough counts. If there is none on one side, proceed as for ``nearest``.

        Returns
        -------
        RateForRun

        Raises
        ------
        BgnbError
            If the groups are not known, or the pointing is not finite or not a direction.
        """
        lookup = checked_choice("model_lookup", model_lookup, get_args(ModelLookup))
        altitude, azimuth = checked_pointing(alt_pnt, az_pnt)
        if lookup == "interpolate" and self.for_pointing is not None:
            return RateForRun(rate=self.for_pointing.rate_at(altitude, azimuth), weights={})
        groups = self._known_groups
        enough = self._with_enough_counts
        cos_zenith, column = float(np.sin(np.radians(altitude))), groups.az_column(azimuth)

        def distance(group: GroupModel) -> float:
            return abs(group.cos_zenith - cos_zenith) + AZIMUTH_DISTANCE * (column not in self._az_columns[group.group_id])

        group_id = groups.group_id(altitude, azimuth)
        own = [group for group in enough if group_id is not None and group.group_id == self.model_ids.get(group_id)]
        nearest = own[0] if own else min(enough, key=distance)
        if lookup == "interpolate":
            in_column = [group for group in enough if column in self._az_columns[group.group_id]]
            in_column.sort(key=lambda group: group.cos_zenith)
            below = [group for group in in_column if group.cos_zenith <= cos_zenith]
            above = [group for group in in_column if group.cos_zenith > cos_zenith]
            if below and above:
                return interpolated_rate(below[-1], above[0], cos_zenith)
        return RateForRun(rate=nearest.model.rate, weights={nearest.group_id: 1.0})

    def mean_rate_for(self, run: EventList, model_lookup: ModelLookup = "interpolate") -> RateForRun:
        """Average the rate for the pointing over the good time of a run.

        The rate is that of `rate_for`, evaluated at times at most 4 minutes apart, in which the
        pointing moves by at most 1 deg. If the models have different axes, the mean has those
        of the rate in the middle of the run.

        Parameters
        ----------
        run : `~bgnb.EventList`
            The run.
        model_lookup : {"interpolate", "nearest"}
            See `rate_for`.

        Returns
        -------
        RateForRun
            The mean rate, in the frame of the models, and the mean weights of the groups.

        Raises
        ------
        BgnbError
            If the groups are not known.
        """
        seconds, parts = run.good_seconds(_STEP_S)
        pointings = zip(*run.field_of_view.pointing_altaz(seconds), strict=True)
        found = [self.rate_for(float(altitude), float(azimuth), model_lookup) for altitude, azimuth in pointings]
        if all(each.rate is found[0].rate for each in found):
            return found[0]
        axes = found[int(np.argmin(np.abs(seconds)))].rate.axes
        total, covered = np.zeros(axes.shape), np.zeros(axes.shape)
        weights: dict[int, float] = {}
        for each, part in zip(found, parts.tolist(), strict=True):
            rate, inside = rate_on_axes(each.rate, axes)
            total += part * rate
            covered += part * inside
            for group_id, weight in each.weights.items():
                weights[group_id] = weights.get(group_id, 0.0) + part * weight
        return RateForRun(rate=Cube(axes, u.Quantity(total / covered, RATE_UNIT)), weights=dict(sorted(weights.items())))

    @property
    def _known_groups(self) -> ObservationGroups:
        if self.groups is None:
            raise BgnbError("groups-mismatch", f"{self.name}: the definition of the groups is missing")
        return self.groups

    @cached_property
    def _with_enough_counts(self) -> list[GroupModel]:
        """Models with at least `MIN_COUNTS`, or all if there are none."""
        return [group for group in self.models if group.model.stack.counts.sum() >= MIN_COUNTS] or list(self.models)

    @cached_property
    def _az_columns(self) -> dict[int, set[int]]:
        """Indices of the ranges of azimuth for which each model is used."""
        in_altitude = len(self._known_groups.az_edges) - 1
        columns = {group_id: {group_id % in_altitude} for group_id in self.group_ids}
        for group_id, model_id in self.model_ids.items():
            columns.setdefault(model_id, set()).add(group_id % in_altitude)
        return columns
