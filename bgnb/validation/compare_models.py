"""Comparison of two directories of models, group by group."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from astropy.table import Table

from bgnb._util.checks import to_value
from bgnb._util.errors import BgnbError, numbered
from bgnb._util.extras import require
from bgnb._util.progress import progress_bar
from bgnb.cubes.compare import ZONES, Comparison, checked_normalise, compare, note_on_rates
from bgnb.cubes.cube import CubeAxes
from bgnb.files.model_directory import ModelDirectory, checked_labels, common_groups
from bgnb.files.output_directory import new_directory
from bgnb.files.output_file import write_file
from bgnb.files.report_json import plain, write_report
from bgnb.plots.comparison_graphs import planes_graph
from bgnb.plots.comparison_state import ComparisonState
from bgnb.plots.comparison_views import PERCENTILE, comparison_view, rate_limits
from bgnb.plots.cube_state import Position, Shown, energies_of, energy_bin, energy_bins, energy_edges, through_energies
from bgnb.plots.figures import plot_comparison
from bgnb.plots.labels import energy_label
from bgnb.production.workers import open_workers

#: Approximate CPU time for the picture and the page of a group, s.
SECONDS_PER_GROUP = 1.5


@dataclass(frozen=True)
class ModelComparison:
    """Result of `compare_models`.

    Parameters
    ----------
    comparisons : dict of int to `Comparison`
        Comparison of each group, by GROUP_ID.
    groups : tuple of dict
        Quantities of each group, as in ``report.json``.
    only_first, only_second : tuple of int
        GROUP_IDs that only one directory has.
    notes : tuple of str
        What differs between the models, why there are no pulls, and the energies and positions
        that are not shown, as they lie outside the axes.
    """

    comparisons: dict[int, Comparison]
    groups: tuple[dict[str, Any], ...]
    only_first: tuple[int, ...]
    only_second: tuple[int, ...]
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"ModelComparison({numbered('group', self.comparisons)})"

    @property
    def table(self) -> Table:
        """One row per group: ratio of the integrals, bias by zone, pulls if there are any, indices at the first position."""
        pulls = ["PULL_BINS", "PULL_MEAN", "PULL_STD"]
        names = ["GROUP_ID", "RATIO", *(f"BIAS_{zone.upper()}" for zone in ZONES), *pulls, "INDEX_1", "INDEX_2"]
        rows = []
        for group in self.groups:
            pull, spectra = group["pull"], group["spectra"]
            row = [group["group_id"], group["ratio"], *group["bias"].values(), pull["bins"], pull["mean"], pull["std"]]
            rows.append(row + (spectra[0]["index"] if spectra else [None, None]))
        values = [[np.nan if value is None else value for value in column] for column in zip(*rows, strict=True)]
        table = Table(values, names=names)
        for name in names:
            table[name].info.format = ".4f" if table[name].dtype.kind == "f" else None
        if not table["PULL_BINS"].any():
            table.remove_columns(pulls)
        return table


def compare_models(
    dir1: str | Path,
    dir2: str | Path,
    outdir: str | Path,
    *,
    normalise: str = "none",
    energies: Sequence[u.Quantity | str] = ("5 TeV", "50 TeV"),
    positions: Sequence[tuple[float, float]] = ((0.0, 0.0), (2.0, 2.0)),
    labels: tuple[str, str] | None = None,
    overwrite: bool = False,
    workers: int | Executor | None = None,
    progress: bool | None = None,
) -> ModelComparison:
    """Compare two directories of models, group by group.

    Parameters
    ----------
    dir1, dir2 : path
        Directories of models; the first is the reference, for instance the true model.
    outdir : path
        Directory to make, with ``report.json`` and, for each group, a PNG and an HTML file;
        the HTML file shows all energies, with a slider.
    normalise : {"none", "cube", "plane"}
        See `compare`.
    energies : sequence of `~astropy.units.Quantity` or str
        Energies of the images.
    positions : sequence of pair of float
        DETX and DETY of the spectra, deg; positions outside the field of view are skipped.
    labels : pair of str, optional
        Names of both directories in the plots; by default their own.
    overwrite : bool
        Replace ``outdir`` if bgnb made it, with a comparison.
    workers : int or `concurrent.futures.Executor`, optional
        Number of processes on this machine that draw, or an executor, see `make_models`.
    progress : bool, optional
        Show a progress bar over the groups; by default on a terminal only.

    Returns
    -------
    ModelComparison
        Comparisons of all common groups.

    Raises
    ------
    BgnbError
        If a directory contains no models, the two have no group in common, their groups are
        defined differently, or groups cannot be compared; the message names all of these.

    Examples
    --------
    >>> from pathlib import Path
    >>> import bgnb
    >>> report = bgnb.make_bg_cube_models("runs", "GADF", "other", select="all", method="classic", n_energy=5, n_fov=10)
    >>> result = bgnb.compare_models("models", "other", "comparison", energies=["1 TeV"])
    >>> round(result.comparisons[27].rate_ratio, 1)
    1.0
    >>> sorted(path.name for path in Path("comparison").glob("*group27*"))
    ['comparison_group27.html', 'comparison_group27.png']
    """
    require("plots")
    first, second = ModelDirectory(dir1), ModelDirectory(dir2)
    names = checked_labels(labels, first.path, second.path)
    at_energies = [to_value("each of the energies", energy, "TeV") * u.TeV for energy in energies]
    try:
        at_positions: list[Position] = [(float(x), float(y)) for x, y in positions]
    except (TypeError, ValueError):
        wanted = "pairs of DETX and DETY in deg, such as [(0, 0), (2, 2)]"
        raise BgnbError("invalid-argument", f"positions must be {wanted}, got {positions}") from None
    common = common_groups(first, second)
    quantities, notes = [], list[str]()
    with new_directory(Path(outdir), overwrite=overwrite, kind="comparisons", inputs=(first.path, second.path)) as directory:
        comparisons = _compared(first, second, common, checked_normalise(normalise), at_energies, at_positions)
        notes += _notes(comparisons)
        tasks = [
            _GroupTask(each, at_energies, _inside(each.axes, at_positions), names, group_id, first.label(group_id))
            for group_id, each in comparisons.items()
        ]
        bar = progress_bar(len(tasks), "group", progress)
        with bar, open_workers(workers, None, len(tasks) * SECONDS_PER_GROUP) as where:
            for task, (png, page) in where.map(_draw_group, tasks):
                write_file(directory / f"comparison_group{task.group_id}.png", png)
                write_file(directory / f"comparison_group{task.group_id}.html", page)
                bar.update()
        for task in tasks:
            outside = [str(e) for e in at_energies if not energy_bins(task.comparison.axes, [e])]
            outside += [str(position) for position in at_positions if position not in task.positions]
            if outside:
                notes.append(f"group {task.group_id}: not shown, as they lie outside the axes: {', '.join(outside)}")
            quantities.append(group_numbers(task.group_id, task.comparison, at_energies, task.positions))
        result = ModelComparison(
            comparisons,
            tuple(quantities),
            tuple(sorted(set(first.group_ids) - set(common))),
            tuple(sorted(set(second.group_ids) - set(common))),
            tuple(notes),
        )
        settings: dict[str, Any] = {"dir1": str(dir1), "dir2": str(dir2), "normalise": checked_normalise(normalise)}
        settings |= {"labels": names, "energies": [str(energy) for energy in energies], "positions": at_positions}
        missing = {"only_in_dir1": result.only_first, "only_in_dir2": result.only_second}
        write_report(directory, {"settings": settings, "groups": quantities, "notes": notes} | missing)
    return result


@dataclass(frozen=True)
class _GroupTask:
    """Comparison of a group, to be drawn."""

    comparison: Comparison
    energies: Sequence[u.Quantity]
    positions: Sequence[Position]
    labels: tuple[str, str]
    group_id: int
    group: str

    def __str__(self) -> str:
        return f"group {self.group_id}"


def _draw_group(task: _GroupTask) -> tuple[bytes, bytes]:
    """Draw the picture and the page of a group."""
    title = f"Group {task.group_id}: {task.labels[1]} against {task.labels[0]}"
    picture = plot_comparison(task.comparison, task.energies, task.positions, task.labels, title)
    page = comparison_page(task.comparison, task.energies, task.positions, task.labels, task.group_id, task.group)
    return picture.png, page.encode("utf-8", "replace")


def _compared(
    first: ModelDirectory,
    second: ModelDirectory,
    group_ids: Sequence[int],
    normalise: str,
    energies: Sequence[u.Quantity],
    positions: Sequence[Position],
) -> dict[int, Comparison]:
    """Compare the models of all groups, before anything is drawn; name all groups that cannot be compared."""
    comparisons: dict[int, Comparison] = {}
    errors: dict[str, list[int]] = {}
    codes = []
    for group_id in group_ids:
        try:
            comparison = compare(first.read(group_id), second.read(group_id), normalise)
            _check_inside(comparison.axes, energies, positions)
        except BgnbError as error:
            errors.setdefault(error.message, []).append(group_id)
            codes.append(error.code)
        else:
            comparisons[group_id] = comparison
    if errors:
        reasons = "; ".join(f"{numbered('group', groups, len(groups))}: {message}" for message, groups in errors.items())
        code, *_ = codes
        raise BgnbError(code, f"{len(codes)} of {len(group_ids)} groups cannot be compared; {reasons}")
    return comparisons


def _check_inside(axes: CubeAxes, energies: Sequence[u.Quantity], positions: Sequence[Position]) -> None:
    """Check that at least one of the energies, and one of the positions, lies inside the axes."""
    if energies and not energy_bins(axes, energies):
        limits = f"{axes.energy[0]:.3g} to {axes.energy[-1]:.3g}"
        raise BgnbError("invalid-argument", f"none of the energies lies within the energy axis, {limits}")
    if positions and not _inside(axes, positions):
        x, y = axes.detx, axes.dety
        limits = f"DETX {x[0]:.3g} to {x[-1]:.3g}, DETY {y[0]:.3g} to {y[-1]:.3g}"
        raise BgnbError("invalid-argument", f"none of the positions lies in the field of view, {limits}")


def _inside(axes: CubeAxes, positions: Sequence[Position]) -> list[Position]:
    """Return the positions inside the field of view."""
    return [(x, y) for x, y in positions if axes.holds(x * u.deg, y * u.deg)]


def _notes(comparisons: dict[int, Comparison]) -> list[str]:
    """Note what differs between the models, and why there are no pulls, each with the groups concerned."""
    found: dict[str, list[int]] = {}
    for group_id, comparison in comparisons.items():
        for note in comparison.notes:
            found.setdefault(note, []).append(group_id)
        if not comparison.independent:
            shared = "the models share runs, so that their errors are correlated, and there are no pulls"
            found.setdefault(shared, []).append(group_id)
        elif comparison.no_pulls:
            found.setdefault(f"there are no pulls, as {comparison.no_pulls}", []).append(group_id)
    ratios = {group_id: comparison.rate_ratio for group_id, comparison in comparisons.items()}
    notes = note_on_rates(ratios, "the rate of the second model", "that of the first", "group")
    several = len(comparisons) > 1
    for note, groups in found.items():
        every = several and len(groups) == len(comparisons)
        notes.append(f"{'all groups' if every else numbered('group', groups, len(groups))}: {note}")
    return notes


def comparison_page(
    comparison: Comparison,
    energies: Sequence[u.Quantity],
    positions: Sequence[Position],
    labels: tuple[str, str],
    group_id: int,
    group: str,
) -> str:
    """Make an HTML page with the views of `bgnb.dashboards.compare_models` at all energies; it needs no network.

    The lowest energy is shown first, and spectra are those at the positions (DETX, DETY), deg. ``group`` describes the group.
    """
    from bgnb.plots.html_page import to_html  # Bokeh takes time to load

    axes = comparison.axes
    state = ComparisonState(group_id=group_id, normalise=comparison.normalise, percentile=PERCENTILE)
    if bins := energy_bins(axes, energies):
        state = replace(state, energy=energies_of(axes, bins[0], bins[0] + 1))
    views = {}
    for label, each in through_energies(axes, state).items():
        shown = Shown(whole=comparison, part=comparison.in_energies(*energy_edges(axes, each.energy)))
        limits = rate_limits(shown.part, each.stretch, each.percentile)
        view = comparison_view({group_id: shown}, each, labels, group, limits, positions)
        views["", label] = replace(view, panels={**view.panels, "planes": planes_graph(comparison, labels, each.energy[0])})
    return to_html(views, ("", energy_label(axes, energy_bin(axes, state.energy[0]))))


def group_numbers(
    group_id: int, comparison: Comparison, energies: Sequence[u.Quantity], positions: Sequence[Position]
) -> dict[str, Any]:
    """Return the quantities of a comparison as plain numbers; None if one is not defined."""
    first, second = comparison.first, comparison.second
    planes1, planes2 = (np.where(comparison.exposed, plane, 0.0) for plane in comparison.plane_integrals())
    pulls = comparison.pulls
    impossible = first.rate.quantity.value == 0 if first.is_true else np.zeros(first.axes.shape, dtype=bool)
    spectra = []
    for detx, dety in positions:
        pair = comparison.spectra(detx * u.deg, dety * u.deg)
        spectra.append(
            {
                "detx_deg": detx,
                "dety_deg": dety,
                "rate": [spectrum.rate for spectrum in pair],
                "error": [spectrum.error for spectrum in pair],
                "index": [spectrum.index for spectrum in pair],
                "index_error": [spectrum.index_error for spectrum in pair],
            }
        )
    quantities = {
        "group_id": group_id,
        "methods": [first.method, second.method],
        "n_runs": [len(model.stack.runs) for model in (first, second)],
        "counts": [model.stack.counts.sum() for model in (first, second)],
        "normalise": comparison.normalise,
        "factors": comparison.factors,
        "ratio": planes2.sum() / planes1.sum() if planes1.sum() > 0 else np.nan,
        "bias": {zone: comparison.bias(zone) for zone in ZONES},
        "pull": {
            "bins": len(pulls),
            "mean": pulls.mean() if len(pulls) else np.nan,
            "std": pulls.std() if len(pulls) else np.nan,
        },
        "counts_where_none_are_possible": second.stack.counts[impossible].sum(),
        "exposed": comparison.exposed,
        "energy_edges_tev": comparison.axes.energy.value,
        "plane_integrals_per_s": comparison.plane_integrals(),
        "image_bins": energy_bins(comparison.axes, energies),
        "spectra": spectra,
    }
    return dict(plain(quantities))
