"""From what was counted to a directory of models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table

from bgnb._util.errors import BgnbError
from bgnb.cubes.model import BackgroundModel, make_model
from bgnb.cubes.spline import SplineModel, fit_spline
from bgnb.cubes.stack import Stack
from bgnb.files.fits_writer import primary_hdu, table_hdu, write_fits
from bgnb.files.gadf import write_image, write_model
from bgnb.files.group_file import GROUPED_RUNS_FILE, GROUPS_FILE, write_groups
from bgnb.files.report_json import write_report
from bgnb.files.spline_file import SPLINE_FILE, write_spline
from bgnb.observations.groups import mean_azimuth
from bgnb.observations.selection import Reason, fault
from bgnb.production.counting import Counted, Key, sum_counted
from bgnb.production.plan import Plan
from bgnb.production.report import GroupReport, Report, RunReport, in_one_line
from bgnb.production.settings import Settings

_NO_COUNTS = Reason("its group has no counts inside the axes and above the energy thresholds")


def write_models(plan: Plan, sums: Mapping[Key, Counted], directory: Path) -> Report:
    """Make the model of each group, and write all files of a directory of models.

    Parameters
    ----------
    plan : `~bgnb.production.plan.Plan`
        What was to be counted.
    sums : mapping
        What was counted, by key of the plan's pieces.
    directory : path
        Where to write.

    Raises
    ------
    BgnbError
        Where no group has counts.
    """
    groups = sum_counted((Key(key.group_id), counted) for key, counted in sums.items())
    stacks = {key.group_id: counted.stack for key, counted in groups.items() if counted.stack.counts.any()}
    runs = [RunReport(obs_id, None, reason, None) for obs_id, reason in plan.left_out.items()]
    for key, counted in groups.items():
        runs += [RunReport(obs_id, key.group_id, fault(str(error)), None) for obs_id, error in counted.errors.items()]
        reason = None if key.group_id in stacks else _NO_COUNTS
        runs += [RunReport(run.obs_id, key.group_id, reason, run) for run in counted.stack.runs]
    if not stacks:
        reasons = in_one_line(run.reason for run in runs if run.reason and run.group_id is not None)
        raise BgnbError(f"no model could be made: {reasons}. Are the files complete, and the axes wide enough?")
    spline = None
    if plan.settings.method == "spline":
        spline = fit_spline([plan.cell(counted) for counted in sums.values() if counted.stack.runs])
        write_spline(spline, directory / SPLINE_FILE)
    reports = tuple(_write_group(plan, group_id, stack, spline, directory) for group_id, stack in stacks.items())
    in_order = tuple(sorted(runs, key=lambda run: run.obs_id))
    report = Report(in_order, reports, plan.settings.as_dict(), (*plan.runs.notes, *_poor_groups(reports, plan.settings)))
    if [run.obs_id for run in report.runs] != plan.runs.obs_ids:
        raise RuntimeError("the report does not name each run of the input once")  # a bug, not bad input
    model_ids = {group_id: model_id for group_id, model_id in plan.model_ids.items() if model_id in stacks}
    write_groups(plan.settings.groups, directory / GROUPS_FILE, model_ids)
    _write_tables(plan, report, directory)
    return report


def _poor_groups(groups: Sequence[GroupReport], settings: Settings) -> list[str]:
    """Notes on groups that have little data: less livetime than is wanted, and no other to be merged with, or one run."""
    wanted = f"{settings.min_livetime_s / 3600:.3f} h"
    lonely = sum(group.n_runs == 1 for group in groups)
    advice = "--method spline makes more of few runs, --min-livetime merges groups"
    notes = [f"groups of a single run: {lonely} of {len(groups)}; {advice}"] if lonely and settings.method != "spline" else []
    return notes + [
        f"group {group.group_id} has {group.livetime_s / 3600:.3f} h of livetime, less than min_livetime = {wanted}"
        for group in groups
        if group.livetime_s < settings.min_livetime_s
    ]


def _write_group(plan: Plan, group_id: int, stack: Stack, spline: SplineModel | None, directory: Path) -> GroupReport:
    """Make the model of a group, and write its files."""
    rows = np.isin(plan.runs.table["OBS_ID"], stack.obs_ids)
    table = plan.runs.table[rows]
    report = GroupReport(
        group_id=group_id,
        n_runs=len(stack.runs),
        livetime_s=sum(run.livetime_s for run in stack.runs),
        counts=int(stack.counts.sum()),
        alt_mean_deg=float(np.mean(table["ALT_PNT"])),
        az_mean_deg=mean_azimuth(np.asarray(table["AZ_PNT"])),
        merged=tuple(other for other, model_id in plan.model_ids.items() if model_id == group_id != other),
        files=tuple(f"bg_cube_model_group{group_id}_{kind}.fits.gz" for kind in ("table", "image")),
    )
    limits = plan.settings.groups.table[[group_id, *report.merged]]
    keywords: dict[str, Any] = {"GROUP_ID": group_id}
    for name, extreme in (("ALT_MIN", np.min), ("ALT_MAX", np.max), ("AZ_MIN", np.min), ("AZ_MAX", np.max)):
        keywords[name] = (float(extreme(limits[name])), "[deg] of the group")
    keywords |= {
        "ALT_PNT": (report.alt_mean_deg, "[deg] mean of the runs"),
        "AZ_PNT": (report.az_mean_deg, "[deg] mean of the runs"),
    }
    if spline is None:
        model = make_model(stack, plan.settings.method)
    else:
        rate, error = spline.at(report.alt_mean_deg, report.az_mean_deg)
        model = BackgroundModel(rate, stack, plan.settings.method, error)
    for write, name in zip((write_model, write_image), report.files, strict=True):
        write(model, directory / name, keywords)
    return report


def _write_tables(plan: Plan, report: Report, directory: Path) -> None:
    """Write the tables of runs, and the report."""
    used = report.group_ids
    table: Table = plan.runs.table[np.isin(plan.runs.table["OBS_ID"], list(used))]
    write_fits(directory / "bg_observation_table.fits.gz", [primary_hdu(), table_hdu(table, "OBS_INDEX")])
    table["GROUP_ID"] = np.array([used[obs_id] for obs_id in table["OBS_ID"].tolist()], dtype=np.int64)
    write_fits(directory / GROUPED_RUNS_FILE, [primary_hdu(), table_hdu(table, "OBS_INDEX")])
    write_report(directory, report.as_dict())
