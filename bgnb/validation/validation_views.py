"""Views of a validation: deviations of observed from predicted counts, by run, energy, offset and field of view."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
from scipy import stats

from bgnb._util.arrays import Floats, Ints
from bgnb._util.outliers import STANDS_OUT
from bgnb.observations.groups import ObservationGroups
from bgnb.plots.colours import GREY, LINES, SELECTED, Colours, choose_limits
from bgnb.plots.pointing_map import X_LABEL, Y_LABEL, graticule, to_plane, zenith_limit
from bgnb.plots.run_views import limit_curves, shown_limits
from bgnb.plots.view import Curve, Graph, Image, Panel, Polygon, Range, Series, View, axis_range
from bgnb.validation.compared_counts import SIGNIFICANCES, ComparedCounts, FieldMap, Residuals
from bgnb.validation.validation_state import ShownCounts, ValidationState, energy_slice
from bgnb.validation.validation_summary import format_sigmas, largest_deviations, signed, summarize

# Significance of the first and the last colour, and ends of the distribution.
_LIMIT = float(SIGNIFICANCES[-1])
# Radius of the point of a run, relative to that of the map of pointings.
_POINT = 0.045
_ALL, _CHOSEN, _MARKED = LINES[0], SELECTED, LINES[1]


def validation_view(counts: ComparedCounts, state: ValidationState) -> View:
    """Draw the deviations of observed from predicted counts, for a complete state (see `complete_state`)."""
    mask = np.isin(counts.obs_ids, state.selected) if state.selected else np.ones(len(counts.obs_ids), dtype=bool)
    energies, norm = energy_slice(counts, state.energy), state.norm
    shown = ShownCounts(
        counts=counts,
        state=state,
        energies=energies,
        mask=mask,
        runs=counts.runs(energies),
        by_energy=counts.by_energy(mask, norm),
        by_offset=counts.by_offset(mask, energies, norm),
        field=counts.field_map(mask, energies, norm),
        goodness=counts.goodness(mask, energies, norm),
    )
    every = np.ones(len(mask), dtype=bool)
    low, high = counts.edges[[energies.start, energies.stop]].tolist()
    energy_graph = _residual_graph(shown, "energy", shown.by_energy, counts.by_energy(every, norm))
    panels: dict[str, Panel] = {
        "runs": _run_graph(shown),
        "energy": replace(energy_graph, band=None if state.energy is None else (low, high)),
        "offset": _residual_graph(shown, "offset", shown.by_offset, counts.by_offset(every, energies, norm)),
        "field": _field_image(shown),
        "significance": _distribution(shown),
        "pointings": _pointing_map(shown),
    }
    subject = f"Validation, {shown.which_runs}"
    return View(f"{subject}, {shown.which_energies}", "\n".join(summarize(shown)), panels, subject)


def run_positions(counts: ComparedCounts, state: ValidationState, panel: str) -> tuple[Floats, Floats]:
    """Return the positions of the runs in a panel; NaN for runs that it does not show."""
    if panel == "pointings":
        return to_plane(counts.altitude, counts.azimuth)
    x = {"OBS_ID": counts.obs_ids.astype(float), "altitude": counts.altitude, "azimuth": counts.azimuth}[state.x]
    return x, counts.runs(energy_slice(counts, state.energy)).ratio


def _run_details(shown: ShownCounts, rows: Sequence[int]) -> dict[str, list[str]]:
    runs, counts = shown.runs, shown.counts
    return {
        "OBS_ID": [str(counts.obs_ids[i]) for i in rows],
        "observed": [f"{runs.counts[i]:.0f}" for i in rows],
        "predicted": [f"{runs.expected[i]:.1f}" for i in rows],
        "observed / predicted": [f"{runs.ratio[i]:.3f} ± {runs.error[i]:.3f}" for i in rows],
        "from the others": [f"{format_sigmas(runs.deviations.sigmas[i])}" for i in rows],
        "altitude": [f"{counts.altitude[i]:.1f}°" for i in rows],
        "azimuth": [f"{counts.azimuth[i]:.1f}°" for i in rows],
    }


def _run_graph(shown: ShownCounts) -> Graph:
    runs, state = shown.runs, shown.state
    x, y = run_positions(shown.counts, state, "runs")
    chosen = shown.mask & shown.is_part
    kinds = (
        ("run", ~runs.deviations.stand_out & ~chosen, _ALL, ""),
        ("outlier", runs.deviations.stand_out & ~chosen, _MARKED, "outlier"),
        ("selected", chosen, _CHOSEN, ""),
    )
    series = []
    for name, mask, colour, legend in kinds:
        mask = mask & runs.known
        bars = y[mask] - runs.error[mask], y[mask] + runs.error[mask]
        label, details = legend if mask.any() else "", _run_details(shown, np.flatnonzero(mask).tolist())
        series.append(Series(name, x[mask], y[mask], "points", colour, *bars, details=details, legend=label))
    ends = axis_range(x)
    curves = (Curve(x=np.array(ends), y=np.ones(2), colour=GREY), *limit_curves(runs.deviations, ends))
    step = 0.015 * (ends[1] - ends[0])
    texts = tuple(
        (float(x[i]) + step, float(y[i]), str(shown.counts.obs_ids[i]))
        for i in np.flatnonzero(runs.deviations.stand_out).tolist()
    )
    label = {"OBS_ID": "OBS_ID", "altitude": "altitude / deg", "azimuth": "azimuth / deg"}[state.x]
    titles = f"Runs, no free norm\n{shown.which_energies}", label, "observed / predicted"
    y_range = axis_range(y - runs.error, y + runs.error, np.ones(1), shown_limits(runs.deviations))
    return Graph(*titles, tuple(series), ends, y_range, texts=texts, curves=curves, legend="below")


def _residual_graph(shown: ShownCounts, name: str, chosen: Residuals, every: Residuals) -> Graph:
    """Draw residuals against energy or offset, of all runs and, beside them, of the selected ones."""
    log, unit, edges = name == "energy", "TeV" if name == "energy" else "deg", every.edges
    scaled = np.log(edges) if log else edges
    centres, widths = (scaled[1:] + scaled[:-1]) / 2, np.diff(scaled)
    series = []
    for label, residuals, colour, shift in (
        ("all runs", every, _ALL, -0.1 * shown.is_part),
        (shown.which_runs, chosen, _CHOSEN, 0.1),
    ):
        at = centres + shift * widths
        x = np.exp(at) if log else at
        mask = np.full(len(x), residuals is every or shown.is_part)
        details = {
            name: [f"{low:.3g} to {high:.3g} {unit}" for low, high in pairwise(edges)],
            "observed": [f"{value:.0f}" for value in residuals.counts],
            "predicted": [f"{value:.1f}" for value in residuals.expected],
            "residual": [
                f"{signed(value)} ± {error:.3f}" for value, error in zip(residuals.residual, residuals.error, strict=True)
            ],
        }
        y, error = residuals.residual[mask], residuals.error[mask]
        details = {key: values if mask.all() else [] for key, values in details.items()}
        legend = None if shown.is_part else ""
        series.append(Series(label, x[mask], y, "points", colour, y - error, y + error, details=details, legend=legend))
    ends = float(edges[0]), float(edges[-1])
    zero = Curve(x=np.array(ends), y=np.zeros(2), colour=GREY)
    title = f"Energy, {shown.scaled}" if name == "energy" else f"Offset, {shown.which_energies}"
    titles = title, f"{name} / {unit}", "observed / predicted − 1"
    return Graph(*titles, tuple(series), ends, _residual_range(series), x_log=log, curves=(zero,), legend="below")


def _residual_range(series: Iterable[Series]) -> Range:
    """Choose the ends of an axis of residuals, in which points with large errors need not lie."""
    ends = []
    for points in series:
        lower, upper = points.error_ends
        precise = upper - lower < 1
        ends += [lower[precise], upper[precise]]
    low, high = axis_range(*ends, np.array([-0.02, 0.02]))
    return max(low, -1.1), high


def _field_image(shown: ShownCounts) -> Image:
    show, field = shown.state.show, shown.field
    if show == "significance":
        values, unit = field.significance, "standard deviations"
        colours = Colours("diverging", "linear", -_LIMIT, _LIMIT, 0.0)
    elif show == "residual":
        values, unit = field.residual, "observed / predicted − 1"
        colours = Colours("diverging", "linear", *choose_limits(values, "linear", 100, 0.0), 0.0)
    else:
        values = np.where(field.compared, field.counts if show == "observed" else field.expected, np.nan)
        unit, highest = "counts per bin", max(float(np.max(field.counts)), float(np.max(field.expected)), 1.0)
        colours = Colours("viridis", "linear", 0.0, highest, whole=True)
    titles = f"{show.capitalize()}, {shown.which_energies}", "DETX / deg", "DETY / deg", unit
    worst = largest_deviations(field.significance.ravel())[:1]
    curves = [_outline(field, where) for where, sigma in worst if abs(sigma) > STANDS_OUT]
    return Image(*titles, values, field.x_edges, field.y_edges, colours, tuple(curves))


def _outline(field: FieldMap, where: int) -> Curve:
    """Draw the outline of a bin of the field of view."""
    iy, ix = divmod(where, len(field.x_edges) - 1)
    x, y = field.x_edges[[ix, ix + 1]], field.y_edges[[iy, iy + 1]]
    return Curve(x=x[[0, 1, 1, 0, 0]], y=y[[0, 0, 1, 1, 0]], colour=SELECTED, width=2.0)


def _distribution(shown: ShownCounts) -> Graph:
    good, edges, coarse = shown.goodness, SIGNIFICANCES, SIGNIFICANCES[::2]
    field = np.clip(shown.field.significance[shown.field.enough], -_LIMIT, _LIMIT)
    bars, outline = _density(good.histogram, edges), _density(np.histogram(field, coarse)[0], coarse)
    line = np.linspace(-_LIMIT, _LIMIT, 101)
    of_map = f"{field.size} bins of the map"
    curves = (
        Curve(x=np.repeat(coarse, 2)[1:-1], y=np.repeat(outline, 2), colour=_MARKED, name=of_map, width=2),
        Curve(x=line, y=stats.norm.pdf(line), colour="#999999", name="normal", dash="dashed", width=1.5),
    )
    centres = (edges[1:] + edges[:-1]) / 2
    series = Series(f"{good.n_bins} bins of runs", centres, bars, "bars", _ALL, edges=edges)
    title = f"Significance, mean {signed(good.mean)}\nwidth {good.width:.3f} ± {good.width_error:.3f}"
    heights = axis_range(bars, outline, np.array([0.4]), zero=True)
    titles = title, "significance / standard deviations", "fraction per standard deviation"
    return Graph(*titles, (series,), (-_LIMIT, _LIMIT), heights, curves=curves, legend="below")


def _density(numbers: Ints, edges: Floats) -> Floats:
    return numbers / (max(numbers.sum(), 1) * np.diff(edges))


def _pointing_map(shown: ShownCounts) -> Graph:
    """Draw the runs in altitude and azimuth, coloured by observed over predicted counts."""
    runs, (x, y) = shown.runs, run_positions(shown.counts, shown.state, "pointings")
    radius = zenith_limit(ObservationGroups(), (), (Series("", x, y),))
    grid, texts = graticule(radius)
    angles = np.arange(0, 390, 30) * np.pi / 180
    circle = _POINT * radius * np.cos(angles), _POINT * radius * np.sin(angles)
    outlines = [
        np.append(at[:, None] + part, np.full((len(at), 1), np.nan), axis=1).ravel()
        for at, part in zip((x, y), circle, strict=True)
    ]
    grid.append(Curve(x=outlines[0], y=outlines[1], colour="#666666", width=0.7))
    details, chosen = _run_details(shown, range(len(x))), shown.mask & shown.is_part
    polygons = tuple(
        Polygon(
            x=x[i] + circle[0][:-1],
            y=y[i] + circle[1][:-1],
            value=float(runs.ratio[i]),
            marked=bool(chosen[i]),
            details={key: values[i] for key, values in details.items()},
        )
        for i in range(len(x))
    )
    colours = Colours("diverging", "linear", *choose_limits(runs.ratio, "linear", 100, 1.0), 1.0)
    title, end = f"Pointings: observed / predicted\n{shown.which_energies}", 1.13 * radius
    return Graph(
        title, X_LABEL, Y_LABEL, (), (-end, end), (-end, end), texts=tuple(texts),
        curves=tuple(grid), polygons=polygons, colours=colours, is_map=True,
    )  # fmt: skip
