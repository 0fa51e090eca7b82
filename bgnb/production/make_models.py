"""Make background models from counts, in memory."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from astropy.table import Table

from bgnb._util.checks import check_type
from bgnb._util.errors import BgnbError, numbered
from bgnb.cubes.cells import Cell
from bgnb.cubes.cube import Cube
from bgnb.cubes.group_model import GroupModel
from bgnb.cubes.method import PointingModel, find_method
from bgnb.cubes.model import BackgroundModel
from bgnb.cubes.model_set import MIN_COUNTS, ModelSet
from bgnb.cubes.spline_model import SplineModel
from bgnb.cubes.stack import add_stacks
from bgnb.observations.coordinates import mean_pointing
from bgnb.observations.event_selection import notes_on_condition
from bgnb.observations.groups import OUTSIDE, merge_groups
from bgnb.production.count_chunks import Counted
from bgnb.production.misfit import notes_on_misfit
from bgnb.production.plan import Plan, notes_on_selection
from bgnb.production.report import GroupReport, Report, RunReport, explain, run_reports
from bgnb.production.run_comparison import without_unlikely_runs
from bgnb.production.settings import ModelSettings

#: Range of the cosine of the zenith angle above which a merged model is called wide: twice that of most default groups.
WIDE = 0.1
#: Number of runs below which a fit to all runs is called uncertain.
FEW_RUNS = 4


@dataclass(frozen=True, kw_only=True, eq=False)
class Production:
    """Models made from runs, and the report on the runs, in memory.

    Parameters
    ----------
    models : `ModelSet`
        The models.
    report : `Report`
        The outcome of every run.
    settings : `ModelSettings`
        The settings.
    runs : `~astropy.table.Table`
        Rows of the runs used, with their GROUP_ID.
    """

    models: ModelSet
    report: Report
    settings: ModelSettings
    runs: Table

    def __repr__(self) -> str:
        return f"Production({self.models!r})"


def models_of_counts(plan: Plan, counted: Counted) -> Production:
    """Make the models of all groups from the counts and livetime of all runs.

    Raises
    ------
    BgnbError
        If no group has counts, or the runs were replaced since the plan was made.
    """
    plan.runs.check_unchanged()
    counted, on_runs = without_unlikely_runs(plan, counted)
    model_ids = _model_ids(counted, plan.settings)
    in_models = [(key._replace(group_id=model_ids[key.group_id]), stack) for key, stack in counted.stacks.items()]
    counted = replace(counted, stacks=add_stacks(in_models, pieces=True))
    groups = add_stacks(((key.group_id, stack) for key, stack in counted.stacks.items()), pieces=True)
    stacks = {group_id: stack for group_id, stack in groups.items() if stack.counts.any()}
    runs = [RunReport(obs_id, None, reason, None) for obs_id, reason in plan.skipped.items()]
    runs += run_reports(counted, stacks)
    if not stacks:
        reasons = [run.reason for run in runs if run.reason and run.obs_id not in plan.skipped]
        raise BgnbError("no-counts", f"none of the {len(reasons)} runs has counts for a model: {explain(reasons)}")
    method = find_method(plan.settings.method)
    fitted = method.fit(cells := _cells(counted, stacks))
    models, reports = [], []
    for group_id, stack in stacks.items():
        pointings = np.array([(run.alt_pnt, run.az_pnt) for run in stack.runs], dtype=float)
        alt_pnt, az_pnt = mean_pointing(pointings, np.array([run.livetime_s for run in stack.runs]))
        if fitted is None:
            model = method.make(stack)
            check_type(f"the result of the method {method.name}", model, BackgroundModel)
        else:
            rate, error = _rate_and_error(fitted, method.name, alt_pnt, az_pnt)
            edge = fitted.edge if isinstance(fitted, SplineModel) else None
            model = BackgroundModel(rate, stack, method.name, error, edge=edge)
        models.append(GroupModel(group_id=group_id, alt_pnt=alt_pnt, az_pnt=az_pnt, model=model))
        reports.append(
            GroupReport(
                group_id=group_id,
                n_runs=len(stack.runs),
                livetime_s=sum(run.livetime_s for run in stack.runs),
                counts=int(stack.counts.sum()),
                alt_mean_deg=alt_pnt,
                alt_min_deg=float(pointings[:, 0].min()),
                alt_max_deg=float(pointings[:, 0].max()),
                az_mean_deg=az_pnt,
                merged=tuple(other for other, model_id in model_ids.items() if model_id == group_id != other),
                camera_edge=None if model.edge is None else str(model.edge),
                files=tuple(f"bg_cube_model_group{group_id}_{kind}.fits.gz" for kind in ("table", "image")),
            )
        )
    in_order = tuple(sorted(runs, key=lambda run: run.obs_id))
    used = [run.obs_id for run in in_order if run.reason is None]
    on_sources = notes_on_selection(plan.runs, used, plan.settings.selection, plan.settings.source_handling, plan.mask)
    on_groups = _notes_on_groups(reports, len(used), plan.settings)
    on_events = notes_on_condition(plan.runs.reading.events)
    notes = (*plan.runs.notes, *on_events, *on_runs, *on_sources, *on_groups, *notes_on_misfit(cells, fitted, models))
    report = Report(in_order, tuple(reports), plan.settings.as_dict(), notes)
    if [run.obs_id for run in report.runs] != plan.runs.obs_ids:
        raise RuntimeError("the report does not name each run of the input once")  # a bug, not bad input
    served = {group_id: model_id for group_id, model_id in model_ids.items() if model_id in stacks}
    return Production(
        models=ModelSet(models=tuple(models), groups=plan.settings.groups, model_ids=served, for_pointing=fitted),
        report=report,
        settings=plan.settings,
        runs=_grouped(plan.runs.table, report.group_ids),
    )


def _rate_and_error(fitted: PointingModel, name: str, alt_pnt: float, az_pnt: float) -> tuple[Cube, Cube]:
    """Evaluate what a method fitted, which may be that of another package."""
    found = fitted.at(alt_pnt, az_pnt) if hasattr(fitted, "at") else None
    if not isinstance(found, tuple) or len(found) != 2:
        raise BgnbError("invalid-argument", f"the fit of the method {name} must have a method at, which returns rate and error")
    return found


def _model_ids(counted: Counted, settings: ModelSettings) -> dict[int, int]:
    """Return the GROUP_ID of the model of each group; groups are merged if a minimum livetime is set."""
    livetimes: dict[int, float] = {}
    for pieces in counted.pieces.values():
        for group_id, run in pieces.items():
            livetimes[group_id] = livetimes.get(group_id, 0.0) + run.livetime_s
    outside = {OUTSIDE: OUTSIDE} if livetimes.pop(OUTSIDE, None) else {}
    if minimum := settings.grouping.min_livetime:
        return merge_groups(settings.groups, livetimes, minimum) | outside
    return {group_id: group_id for group_id in sorted(livetimes)} | outside


def _cells(counted: Counted, group_ids: Collection[int]) -> list[Cell]:
    """Make the cells of groups, for methods that fit all runs at once."""
    inside = ((key, stack) for key, stack in counted.stacks.items() if key.group_id in group_ids)
    across = ((key._replace(group_id=0) if key.norm else key, stack) for key, stack in inside)
    cells = []
    for key, stack in add_stacks(across, pieces=True).items():
        alt_pnt, az_pnt = np.array([(run.alt_pnt, run.az_pnt) for run in stack.runs], dtype=float).T
        cells.append(Cell.of_runs(alt_pnt, az_pnt, stack, key.norm or None))
    return cells


def _notes_on_groups(groups: Sequence[GroupReport], n_runs: int, settings: ModelSettings) -> list[str]:
    """Return notes on groups of a single run, merged over a wide range of altitude, with an edge, or with little livetime."""
    minimum = settings.grouping.min_livetime
    single = sum(group.n_runs == 1 for group in groups)
    by_group = find_method(settings.method).sums == "group"
    notes = []
    if by_group and single:
        advice = "--method spline predicts better from few runs, as do larger groups"
        notes.append(f"groups of a single run: {single} of {len(groups)}; {advice}")
    if not by_group and n_runs < FEW_RUNS:
        consequence = "how norm and shape vary from run to run and with altitude is hardly known"
        notes.append(f"models of {n_runs} run{'s' * (n_runs > 1)}: {consequence}; use at least {FEW_RUNS} runs")
    few = [each.group_id for each in groups if each.counts < MIN_COUNTS]
    if (by_group and few) or sum(each.counts for each in groups) < MIN_COUNTS:
        notes.append(f"fewer than {MIN_COUNTS} counts, so that the rate is uncertain: {numbered('group', few)}")
    for each in groups:
        width = float(np.sin(np.radians(each.alt_max_deg)) - np.sin(np.radians(each.alt_min_deg)))
        if each.merged and width > WIDE:
            altitudes = f"runs at altitudes from {each.alt_min_deg:.1f} to {each.alt_max_deg:.1f} deg"
            change = f"a range of {width:.2f} in the cosine of the zenith angle, over which the rate changes"
            advice = "use --method spline, or a lower --min-livetime"
            if not by_group:
                mean = f"the cube is the fit to all runs at {each.alt_mean_deg:.1f} deg"
                advice = f"{mean}, but attach and validate evaluate the fit at the pointing of each run"
            notes.append(f"group {each.group_id} merges {altitudes}, {change}; {advice}")
    edges: dict[str, list[int]] = {}
    for each in groups:
        if each.camera_edge is not None:
            edges.setdefault(each.camera_edge, []).append(each.group_id)
    for edge, group_ids in edges.items():
        which = f": {numbered('group', group_ids)}" if len(group_ids) < len(groups) else ""
        notes.append(f"the rates end at the edge of the camera, {edge}{which}")
    return notes + [
        f'group {each.group_id} has {each.livetime_s / 3600:.3f} h of livetime, less than --min-livetime "{minimum / 3600:g} h"'
        for each in groups
        if each.livetime_s < minimum
    ]


def _grouped(table: Table, group_ids: Mapping[int, int]) -> Table:
    """Select the rows of the runs used, and add their GROUP_ID."""
    used = table[np.isin(table["OBS_ID"], list(group_ids))]
    used["GROUP_ID"] = np.array([group_ids[obs_id] for obs_id in used["OBS_ID"].tolist()], dtype=np.int64)
    return used
