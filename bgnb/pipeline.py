"""The main job: from a directory of runs to a directory of background models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from astropy.table import Table
from tqdm import tqdm

from bgnb.cube import CubeAxes, to_value
from bgnb.datastore import Runs, open_runs
from bgnb.errors import BgnbError, DataError
from bgnb.eventfile import read_event_list
from bgnb.eventlist import EventList
from bgnb.fitsfile import primary_hdu, table_hdu, write_fits
from bgnb.fov import FovAlign, checked_fovalign
from bgnb.gadf import GROUPED_RUNS_FILE, GROUPS_FILE, SPLINE_FILE, write_groups, write_image, write_model, write_spline
from bgnb.mask import MASK_RADIUS, SourceMask
from bgnb.model import METHODS, BackgroundModel, make_model
from bgnb.outdir import REPORT, new_directory, write_file
from bgnb.report import GroupReport, Report, RunReport, count_reasons
from bgnb.runs import (
    EXCLUSION_RADIUS,
    ObservationGroups,
    Reason,
    Selection,
    fault,
    group_runs,
    mean_azimuth,
    merge_groups,
    observation_groups,
    read_catalog,
    select_runs,
    spread_out,
)
from bgnb.spline import Cell, SplineModel, fit_spline
from bgnb.stack import Stack, stack_runs

#: Bins of a spline in energy, and in each of DETX and DETY: it is smooth, so that they need hold no minimum of counts.
SPLINE_BINS = 40
#: Splines are fitted to single runs up to so many; where there are more, runs of a group that point alike are added first.
SINGLE_RUNS = 100

_TEST_ALT_EDGES = (0, 45, 90)
_TEST_RUNS = 20


@dataclass(frozen=True)
class Binning:
    """Binning of the cubes; the number of bins may depend on the number of runs."""

    energy_min: u.Quantity
    energy_max: u.Quantity
    n_energy: int | None
    fov_max: u.Quantity
    n_fov: int | None

    def axes(self, n_runs: int) -> CubeAxes:
        """Axes for a group of ``n_runs``.

        Numbers of bins that are not given are 20 in energy and 60 in the field of view;
        with fewer than 100 runs n, 20 + m and 60 + 4m, with m = n // 10 − 10.
        """
        coarser = min(n_runs // 10 - 10, 0)
        return CubeAxes.regular(
            n_energy=20 + coarser if self.n_energy is None else self.n_energy,
            n_fov=60 + 4 * coarser if self.n_fov is None else self.n_fov,
            energy_min=self.energy_min,
            energy_max=self.energy_max,
            fov_max=self.fov_max,
        )


def make_bg_cube_models(
    indir: str | Path,
    scheme: str,
    outdir: str | Path,
    *,
    test: bool = False,
    method: str = "default",
    overwrite: bool = False,
    select: str | Path | Sequence[int] = "far",
    catalog: str | Path | Table | None = None,
    exclusion_radius: u.Quantity | str = EXCLUSION_RADIUS,
    sources: str = "drop",
    mask_radius: u.Quantity | str = MASK_RADIUS,
    alt_edges: Sequence[float] | u.Quantity | None = None,
    az_edges: Sequence[float] | u.Quantity | None = None,
    min_livetime: u.Quantity | str | None = None,
    energy_min: u.Quantity | str = 0.1 * u.TeV,
    energy_max: u.Quantity | str = 80 * u.TeV,
    n_energy: int | None = None,
    fov_max: u.Quantity | str = 0.07 * u.rad,
    n_fov: int | None = None,
    fovalign: str = "ALTAZ",
    progress: bool | None = None,
) -> Report:
    """Make background cube models from a directory of runs.

    Select runs, group them by altitude and azimuth, stack counts and livetime of each
    group, make the model, write it. OUTDIR appears when all is done, or not at all.

    Parameters
    ----------
    indir : path
        Directory of event lists.
    scheme : {"GADF", "HESS"}
        Its layout, see `open_runs`.
    outdir : path
        Directory to make.
    test : bool
        Quick test: at most 20 runs, evenly spread, and altitude edges 0, 45, 90 deg.
    method : {"default", "michi", "spline", "unsmoothed"}
        See `make_model`. A spline is fitted to all runs at once and evaluated at the mean
        pointing of each group; that for any pointing is written besides, see `read_spline`.
    overwrite : bool
        Replace ``outdir``, if bgnb made it.
    select : {"far", "all"}, path or sequence of int
        Keep the runs far from known sources, or all, or those with the OBS_IDs in a text
        file, one a line, or in a sequence.
    catalog : path or `~astropy.table.Table`, optional
        Known sources, see `read_catalog`.
    exclusion_radius : `~astropy.units.Quantity` or str
        Distance from a source, besides twice its extension, that counts as far.
    sources : {"drop", "mask"}
        What to do with known sources: drop the runs near them, if ``select`` is "far"; or
        keep all runs that ``select`` names, with "far" those near sources too, and cut
        circles around the sources out of them, events and livetime.
    mask_radius : `~astropy.units.Quantity` or str
        Radius of such a circle, besides twice the source's extension.
    alt_edges, az_edges : sequence of float (deg) or `~astropy.units.Quantity`, optional
        Edges of the groups, see `ObservationGroups`.
    min_livetime : `~astropy.units.Quantity` or str, optional
        Merge neighbouring groups until each has at least this livetime, see `merge_groups`.
    energy_min, energy_max, fov_max : `~astropy.units.Quantity` or str
        Ends of the axes; the field of view reaches from −fov_max to fov_max.
    n_energy, n_fov : int, optional
        Numbers of bins. By default 20 and 60, and fewer in groups with fewer than 100 runs;
        40 and 40 for splines.
    fovalign : {"ALTAZ", "RADEC"}
        Frame of DETX and DETY.
    progress : bool, optional
        Show a progress bar; by default on a terminal only.

    Returns
    -------
    Report

    Raises
    ------
    BgnbError
        Where an argument cannot be used, or no run is left.
    """
    if method not in METHODS:
        raise BgnbError(f"unknown method '{method}': use one of {', '.join(METHODS)}")
    if method == "spline":
        n_energy, n_fov = (SPLINE_BINS if number is None else number for number in (n_energy, n_fov))
    binning = Binning(
        to_value("energy_min", energy_min, "TeV") * u.TeV,
        to_value("energy_max", energy_max, "TeV") * u.TeV,
        n_energy,
        to_value("fov_max", fov_max, "deg") * u.deg,
        n_fov,
    )
    binning.axes(1)  # complain of wrong axes before the work begins
    align = checked_fovalign(fovalign)
    radius = to_value("exclusion_radius", exclusion_radius, "deg") * u.deg
    if sources not in ("drop", "mask"):
        raise BgnbError(f"unknown sources '{sources}': use one of drop, mask")
    circle = to_value("mask_radius", mask_radius, "deg") * u.deg
    if circle <= 0 * u.deg:
        raise BgnbError(f"mask_radius must be above 0 deg, got {mask_radius}")
    least = 0.0 if min_livetime is None else to_value("min_livetime", min_livetime, "s")
    if least < 0:
        raise BgnbError(f"min_livetime must not be negative, got {min_livetime}")
    groups = observation_groups(_TEST_ALT_EDGES if test and alt_edges is None else alt_edges, az_edges)
    settings = {
        "indir": str(indir),
        "scheme": str(scheme).upper(),
        "test": test,
        "method": method,
        "select": str(select),
        "catalog": "default" if catalog is None else "table" if isinstance(catalog, Table) else str(catalog),
        "exclusion_radius_deg": radius.value,
        "sources": sources,
        "mask_radius_deg": circle.value,
        "min_livetime_s": least,
        "alt_edges_deg": groups.alt_edges.value.tolist(),
        "az_edges_deg": groups.az_edges.value.tolist(),
        "energy_min_tev": binning.energy_min.value,
        "energy_max_tev": binning.energy_max.value,
        "n_energy": None if n_energy is None else int(n_energy),
        "fov_max_deg": binning.fov_max.value,
        "n_fov": None if n_fov is None else int(n_fov),
        "fovalign": align,
    }
    with new_directory(Path(outdir), overwrite=overwrite, inputs=(Path(indir),)) as directory:
        runs = open_runs(indir, scheme)
        mask = None
        if sources == "mask":
            mask = SourceMask.around(read_catalog(catalog), circle)
            if str(select).lower() == "far":
                select = "all"
        selection = select_runs(runs, select, catalog, radius)
        if test:
            selection = spread_out(selection, _TEST_RUNS)
        members, selection = group_runs(runs, selection, groups)
        if not selection.kept:
            raise BgnbError(_nothing_left(runs, selection))
        model_ids = {group_id: group_id for group_id in members}
        if least > 0:
            model_ids = merge_groups(groups, {group_id: _livetime(runs, ids) for group_id, ids in members.items()}, least)
            members = _merged(members, model_ids)
        job = _Job(runs, groups, binning, align, method, directory, mask, model_ids)
        with tqdm(total=len(selection.kept), unit="run", disable=None if progress is None else not progress) as bar:
            run_reports, group_reports = job.all_groups(members, bar)
        if not group_reports:
            reasons = ", ".join(count_reasons(run.reason for run in run_reports if run.reason))
            raise BgnbError(f"no model could be made: {reasons}. Are the files complete, and the axes wide enough?")
        left_out = [RunReport(obs_id, None, reason, None) for obs_id, reason in selection.left_out.items()]
        report = Report(tuple(sorted([*run_reports, *left_out], key=lambda run: run.obs_id)), group_reports, settings)
        _check_ledger(runs, report)
        made = {group.group_id for group in group_reports}
        write_groups(groups, directory / GROUPS_FILE, {one: model for one, model in model_ids.items() if model in made})
        _write_tables(runs, report, directory)
    return report


@dataclass(frozen=True)
class _Job:
    """What every group needs."""

    runs: Runs
    groups: ObservationGroups
    binning: Binning
    fovalign: FovAlign
    method: str
    directory: Path
    mask: SourceMask | None
    model_ids: Mapping[int, int]

    def all_groups(self, members: Mapping[int, list[int]], bar: tqdm[Any]) -> tuple[list[RunReport], tuple[GroupReport, ...]]:
        """Stack, model and write each group; what became of its runs, and the groups with a model."""
        run_reports: list[RunReport] = []
        stacks: dict[int, Stack] = {}
        cells: list[Cell] = []
        single = sum(map(len, members.values())) <= SINGLE_RUNS
        for group_id, obs_ids in members.items():
            bar.set_postfix_str(f"group {group_id}")
            faults: dict[int, Reason] = {}
            runs = self._read(obs_ids, faults, bar)
            axes = self.binning.axes(len(obs_ids))
            stack = stack_runs([], axes, self.fovalign)
            if self.method == "spline":
                group = self._cells(runs, axes, single)
                stack = sum((cell.stack for cell in group), stack)
                cells += group
            else:
                stack = stack_runs(runs, axes, self.fovalign, self.mask)
            run_reports += [RunReport(obs_id, group_id, reason, None) for obs_id, reason in faults.items()]
            reason: Reason | None = None
            if stack.counts.any():
                stacks[group_id] = stack
            else:
                reason = Reason("its group has no counts inside the axes and above the energy thresholds")
            run_reports += [RunReport(run.obs_id, group_id, reason, run) for run in stack.runs]
        spline = None
        if self.method == "spline" and stacks:
            bar.set_postfix_str("fitting the spline")
            spline = fit_spline(cells)
            write_spline(spline, self.directory / SPLINE_FILE)
        return run_reports, tuple(self._write_group(group_id, stack, spline) for group_id, stack in stacks.items())

    def _cells(self, runs: Iterator[EventList], axes: CubeAxes, single: bool) -> list[Cell]:
        """The runs one by one, or those that point alike added."""
        cells: dict[Any, Cell] = {}
        for events in runs:
            row = self.runs.row(events.obs_id)
            cell = Cell(float(row["ALT_PNT"]), float(row["AZ_PNT"]), stack_runs([events], axes, self.fovalign, self.mask))
            key = events.obs_id if single else cell.alike
            cells[key] = cells[key] + cell if key in cells else cell
        return list(cells.values())

    def _read(self, obs_ids: list[int], faults: dict[int, Reason], bar: tqdm[Any]) -> Iterator[EventList]:
        for obs_id in obs_ids:
            try:
                yield read_event_list(self.runs.files(obs_id))
            except DataError as error:
                faults[obs_id] = fault(str(error))
            bar.update()

    def _write_group(self, group_id: int, stack: Stack, spline: SplineModel | None) -> GroupReport:
        rows = np.isin(self.runs.table["OBS_ID"], stack.obs_ids)
        table = self.runs.table[rows]
        report = GroupReport(
            group_id=group_id,
            n_runs=len(stack.runs),
            livetime_s=sum(run.livetime_s for run in stack.runs),
            counts=int(stack.counts.sum()),
            alt_mean_deg=float(np.mean(table["ALT_PNT"])),
            az_mean_deg=mean_azimuth(np.asarray(table["AZ_PNT"])),
            merged=tuple(other for other, model_id in self.model_ids.items() if model_id == group_id != other),
            files=tuple(f"bg_cube_model_group{group_id}_{kind}.fits.gz" for kind in ("table", "image")),
        )
        limits = self.groups.table[[group_id, *report.merged]]
        keywords: dict[str, Any] = {"GROUP_ID": group_id}
        for name, extreme in (("ALT_MIN", np.min), ("ALT_MAX", np.max), ("AZ_MIN", np.min), ("AZ_MAX", np.max)):
            keywords[name] = (float(extreme(limits[name])), "[deg] of the group")
        keywords |= {
            "ALT_PNT": (report.alt_mean_deg, "[deg] mean of the runs"),
            "AZ_PNT": (report.az_mean_deg, "[deg] mean of the runs"),
        }
        if spline is None:
            model = make_model(stack, self.method)
        else:
            rate, error = spline.at(report.alt_mean_deg, report.az_mean_deg)
            model = BackgroundModel(rate, stack, self.method, error)
        for write, name in zip((write_model, write_image), report.files, strict=True):
            write(model, self.directory / name, keywords)
        return report


def _livetime(runs: Runs, obs_ids: Sequence[int]) -> float:
    """Livetime of runs by the index, s; ontime where it does not say."""
    name = next((name for name in ("LIVETIME", "ONTIME") if name in runs.table.colnames), None)
    if name is None:
        raise BgnbError(f"{runs.path}: min_livetime needs the column LIVETIME or ONTIME in the index of runs")
    return float(np.nansum(runs.table[name][np.isin(runs.table["OBS_ID"], obs_ids)]))


def _merged(members: Mapping[int, list[int]], model_ids: Mapping[int, int]) -> dict[int, list[int]]:
    """OBS_IDs by the group that they are merged into, in order."""
    merged: dict[int, list[int]] = {}
    for group_id, obs_ids in members.items():
        merged.setdefault(model_ids[group_id], []).extend(obs_ids)
    return {group_id: sorted(obs_ids) for group_id, obs_ids in sorted(merged.items())}


def _nothing_left(runs: Runs, selection: Selection) -> str:
    reasons = ", ".join(count_reasons(selection.left_out.values()))
    return f"no run is left of the {len(runs)} in {runs.path}: {reasons}. Try --select all, or other group edges"


def _check_ledger(runs: Runs, report: Report) -> None:
    if [run.obs_id for run in report.runs] != runs.obs_ids:
        raise RuntimeError("the report does not name each run of the input once")  # a bug, not bad input


def _write_tables(runs: Runs, report: Report, directory: Path) -> None:
    used = report.group_ids
    table: Table = runs.table[np.isin(runs.table["OBS_ID"], list(used))]
    write_fits(directory / "bg_observation_table.fits.gz", [primary_hdu(), table_hdu(table, "OBS_INDEX")])
    table["GROUP_ID"] = np.array([used[obs_id] for obs_id in table["OBS_ID"].tolist()], dtype=np.int64)
    write_fits(directory / GROUPED_RUNS_FILE, [primary_hdu(), table_hdu(table, "OBS_INDEX")])
    write_file(directory / REPORT, report.to_json().encode())
