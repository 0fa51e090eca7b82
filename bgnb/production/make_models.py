"""Make background models from counts, in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from astropy.table import Table

from bgnb._util.errors import BgnbError
from bgnb.cubes.method import find_method
from bgnb.cubes.model import BackgroundModel
from bgnb.cubes.model_set import GroupModel, ModelSet
from bgnb.observations.groups import mean_azimuth
from bgnb.observations.run_selection import Reason
from bgnb.production.count_chunks import Counted, Key, sum_counted
from bgnb.production.plan import Plan
from bgnb.production.report import GroupReport, Report, RunReport, in_one_line
from bgnb.production.settings import ModelSettings

#: Range of the cosine of the zenith angle above which a merged model is called wide: twice that of most default groups.
WIDE = 0.1

_NO_COUNTS = Reason("its group has no counts inside the axes and above the energy thresholds")


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


def models_of_counts(plan: Plan, sums: Mapping[Key, Counted]) -> Production:
    """Make the models of all groups.

    Parameters
    ----------
    plan : `~bgnb.production.plan.Plan`
        The plan.
    sums : mapping
        Counts and livetime, by the keys of the pieces of the plan.

    Raises
    ------
    BgnbError
        If no group has counts.
    """
    groups = sum_counted((Key(key.group_id), counted) for key, counted in sums.items())
    stacks = {key.group_id: counted.stack for key, counted in groups.items() if counted.stack.counts.any()}
    runs = [RunReport(obs_id, None, reason, None) for obs_id, reason in plan.skipped.items()]
    for key, counted in groups.items():
        runs += [RunReport(obs_id, key.group_id, Reason.from_error(error), None) for obs_id, error in counted.errors.items()]
        reason = None if key.group_id in stacks else _NO_COUNTS
        runs += [RunReport(run.obs_id, key.group_id, reason, run) for run in counted.stack.runs]
    if not stacks:
        reasons = in_one_line(run.reason for run in runs if run.reason and run.group_id is not None)
        advice = "check that the files are complete and the axes are wide enough"
        raise BgnbError("no-counts", f"no model could be made: {reasons}; {advice}")
    method = find_method(plan.settings.method)
    fitted = method.fit([plan.cell(counted) for counted in sums.values() if counted.stack.runs])
    models, reports = [], []
    for group_id, stack in stacks.items():
        rows = plan.runs.table[np.isin(plan.runs.table["OBS_ID"], stack.obs_ids)]
        alt_pnt, az_pnt = float(np.mean(rows["ALT_PNT"])), mean_azimuth(np.asarray(rows["AZ_PNT"]))
        if fitted is None:
            model = method.make(stack)
        else:
            rate, error = fitted.at(alt_pnt, az_pnt)
            model = BackgroundModel(rate, stack, method.name, error)
        models.append(GroupModel(group_id=group_id, alt_pnt=alt_pnt, az_pnt=az_pnt, model=model))
        reports.append(
            GroupReport(
                group_id=group_id,
                n_runs=len(stack.runs),
                livetime_s=sum(run.livetime_s for run in stack.runs),
                counts=int(stack.counts.sum()),
                alt_mean_deg=alt_pnt,
                alt_min_deg=float(np.min(rows["ALT_PNT"])),
                alt_max_deg=float(np.max(rows["ALT_PNT"])),
                az_mean_deg=az_pnt,
                merged=tuple(other for other, model_id in plan.model_ids.items() if model_id == group_id != other),
                files=tuple(f"bg_cube_model_group{group_id}_{kind}.fits.gz" for kind in ("table", "image")),
            )
        )
    in_order = tuple(sorted(runs, key=lambda run: run.obs_id))
    notes = (*plan.runs.notes, *_notes_on_groups(reports, plan.settings))
    report = Report(in_order, tuple(reports), plan.settings.as_dict(), notes)
    if [run.obs_id for run in report.runs] != plan.runs.obs_ids:
        raise RuntimeError("the report does not name each run of the input once")  # a bug, not bad input
    model_ids = {group_id: model_id for group_id, model_id in plan.model_ids.items() if model_id in stacks}
    return Production(
        models=ModelSet(models=tuple(models), groups=plan.settings.groups, model_ids=model_ids, for_pointing=fitted),
        report=report,
        settings=plan.settings,
        runs=_grouped(plan.runs.table, report.group_ids),
    )


def _notes_on_groups(groups: Sequence[GroupReport], settings: ModelSettings) -> list[str]:
    """Return notes on groups of a single run, merged over a wide range of altitude, or with too little livetime after all."""
    minimum = settings.grouping.min_livetime
    single = sum(group.n_runs == 1 for group in groups)
    notes = []
    if single and find_method(settings.method).sums == "group":
        advice = "--method spline makes more of few runs, --min-livetime merges groups"
        notes.append(f"groups of a single run: {single} of {len(groups)}; {advice}")
    for each in groups if find_method(settings.method).sums == "group" else ():
        width = float(np.sin(np.radians(each.alt_max_deg)) - np.sin(np.radians(each.alt_min_deg)))
        if each.merged and width > WIDE:
            altitudes = f"runs at altitudes from {each.alt_min_deg:.1f} to {each.alt_max_deg:.1f} deg"
            advice = f"a range of {width:.2f} in the cosine of the zenith angle, over which the rate changes"
            notes.append(f"group {each.group_id} merges {altitudes}, {advice}; use --method spline, or a lower --min-livetime")
    return notes + [
        f"group {each.group_id} has {each.livetime_s / 3600:.3f} h of livetime, less than min_livetime = {minimum / 3600:.3f} h"
        for each in groups
        if each.livetime_s < minimum
    ]


def _grouped(table: Table, group_ids: Mapping[int, int]) -> Table:
    """Select the rows of the runs used, and add their GROUP_ID."""
    used = table[np.isin(table["OBS_ID"], list(group_ids))]
    used["GROUP_ID"] = np.array([group_ids[obs_id] for obs_id in used["OBS_ID"].tolist()], dtype=np.int64)
    return used
