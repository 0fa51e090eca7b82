"""Two directories of models compared, group by group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from astropy.table import Table

from bgnb._util.errors import BgnbError
from bgnb._util.extras import require
from bgnb.cubes.compare import ZONES, Comparison, checked_normalise, compare
from bgnb.files.model_directory import ModelDirectory, checked_labels, common_groups
from bgnb.files.output_directory import new_directory, write_file
from bgnb.files.report_json import plain, write_report
from bgnb.plots.comparison_views import ComparisonState, comparison_view, planes_graph, rate_limits
from bgnb.plots.cube_state import Position, energy_bin, energy_bins, energy_of, through_energies
from bgnb.plots.figures import plot_comparison


@dataclass(frozen=True)
class ModelComparison:
    """What `compare_models` found.

    Parameters
    ----------
    comparisons : dict of int to `Comparison`
        By GROUP_ID.
    groups : tuple of dict
        Figures of each group, as in ``report.json``.
    only_first, only_second : tuple of int
        Groups that only one directory has.
    notes : tuple of str
        What was asked for and is not shown.
    """

    comparisons: dict[int, Comparison]
    groups: tuple[dict[str, Any], ...]
    only_first: tuple[int, ...]
    only_second: tuple[int, ...]
    notes: tuple[str, ...] = ()

    @property
    def table(self) -> Table:
        """One row a group: ratio of the integrals, bias by zone, pulls, indices at the first position."""
        names = ["GROUP_ID", "RATIO", *(f"BIAS_{zone.upper()}" for zone in ZONES), "PULL_BINS", "PULL_MEAN", "PULL_STD"]
        names += ["INDEX_1", "INDEX_2"]
        rows = []
        for group in self.groups:
            pull, spectra = group["pull"], group["spectra"]
            row = [group["group_id"], group["ratio"], *group["bias"].values(), pull["bins"], pull["mean"], pull["std"]]
            rows.append(row + (spectra[0]["index"] if spectra else [None, None]))
        values = [[np.nan if value is None else value for value in column] for column in zip(*rows, strict=True)]
        table = Table(values, names=names)
        for name in names:
            table[name].info.format = ".4f" if table[name].dtype.kind == "f" else None
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
) -> ModelComparison:
    """Compare two directories of models, group by group.

    Parameters
    ----------
    dir1, dir2 : path
        Directories of models; the first is the reference, for instance the truth.
    outdir : path
        Directory to make, with ``report.json``, and for each group a PNG and an HTML file;
        the second shows all energies, on a slider.
    normalise : {"none", "cube", "plane"}
        See `compare`.
    energies : sequence of `~astropy.units.Quantity` or str
        Energies of the images.
    positions : sequence of pair of float
        DETX and DETY, in deg, of the spectra; those outside the field of view are passed over.
    labels : pair of str, optional
        Names of the two in pictures; by default those of the directories.
    overwrite : bool
        Replace ``outdir``, if bgnb made it.

    Returns
    -------
    ModelComparison
        The comparisons and figures of all common groups.

    Raises
    ------
    BgnbError
        Where a directory holds no models, or the two have no group in common, or their
        groups are defined differently.
    """
    require("plots")
    first, second = ModelDirectory(dir1), ModelDirectory(dir2)
    names = checked_labels(labels, first.path, second.path)
    try:
        at_energies = [u.Quantity(energy).to("TeV") for energy in energies]
    except (TypeError, ValueError) as error:
        raise BgnbError(f"energies must be values with a unit, such as '5 TeV', got {list(map(str, energies))}") from error
    try:
        at_positions: list[Position] = [(float(x), float(y)) for x, y in positions]
    except (TypeError, ValueError):
        raise BgnbError(f"positions must be pairs of DETX and DETY in deg, such as [(0, 0), (2, 2)], got {positions}") from None
    common = common_groups(first, second)
    comparisons, figures, notes = {}, [], list[str]()
    with new_directory(Path(outdir), overwrite=overwrite, inputs=(first.path, second.path)) as directory:
        for group_id in common:
            comparison = compare(first.read(group_id), second.read(group_id), normalise)
            inside = [(x, y) for x, y in at_positions if comparison.axes.holds(x * u.deg, y * u.deg)]
            if at_energies and not energy_bins(comparison.axes, at_energies):
                edges = comparison.axes.energy
                raise BgnbError(f"none of the energies of the images lies within {edges[0]:.3g} to {edges[-1]:.3g}")
            if at_positions and not inside:
                x, y = comparison.axes.detx, comparison.axes.dety
                ends = f"DETX {x[0]:.3g} to {x[-1]:.3g}, DETY {y[0]:.3g} to {y[-1]:.3g}"
                raise BgnbError(f"none of the positions of the spectra lies within {ends}")
            title = f"Group {group_id}: {names[1]} against {names[0]}"
            picture = plot_comparison(comparison, at_energies, inside, names, title)
            write_file(directory / f"comparison_group{group_id}.png", picture.png)
            page = comparison_page(comparison, at_energies, inside, names, group_id, first.label(group_id))
            write_file(directory / f"comparison_group{group_id}.html", page.encode())
            outside = [str(e) for e in at_energies if not energy_bins(comparison.axes, [e])]
            outside += [str(position) for position in at_positions if position not in inside]
            notes += [f"group {group_id}: outside its axes, and not shown: {', '.join(outside)}"] if outside else []
            comparisons[group_id] = comparison
            figures.append(group_numbers(group_id, comparison, at_energies, inside))
        result = ModelComparison(
            comparisons,
            tuple(figures),
            tuple(sorted(set(first.group_ids) - set(common))),
            tuple(sorted(set(second.group_ids) - set(common))),
            tuple(notes),
        )
        settings: dict[str, Any] = {
            "dir1": str(dir1),
            "dir2": str(dir2),
            "normalise": checked_normalise(normalise),
            "labels": names,
        }
        settings |= {"energies": [str(energy) for energy in energies], "positions": [list(map(float, p)) for p in positions]}
        report = {"settings": settings, "groups": figures}
        write_report(
            directory, report | {"notes": notes, "only_in_dir1": result.only_first, "only_in_dir2": result.only_second}
        )
    return result


def comparison_page(
    comparison: Comparison,
    energies: Sequence[u.Quantity],
    positions: Sequence[Position],
    labels: tuple[str, str],
    group_id: int,
    group: str,
) -> str:
    """What `bgnb.dashboards.compare_models` shows, at all energies and some positions, as one page that needs no network.

    It begins with the lowest of the energies given; positions are in deg, ``group`` is the group in words.
    """
    from bgnb.plots.html_page import to_html  # Bokeh takes time to load

    axes = comparison.axes
    state = ComparisonState(group_id=group_id, normalise=comparison.normalise)
    if bins := energy_bins(axes, energies):
        state = replace(state, energy=energy_of(axes, bins[0]))
    frames, views = through_energies(axes, state), []
    for _, each in frames:
        view = comparison_view(comparison, each, labels, group, rate_limits(comparison, each), positions)
        planes = planes_graph(comparison, labels, each.energy)
        views.append(replace(view, panels={**view.panels, "planes": planes}))
    return to_html([label for label, _ in frames], views, energy_bin(axes, state.energy))


def group_numbers(
    group_id: int, comparison: Comparison, energies: Sequence[u.Quantity], positions: Sequence[Position]
) -> dict[str, Any]:
    """The figures of a comparison, as plain numbers; None where one is not defined."""
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
    figures = {
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
    return dict(plain(figures))
