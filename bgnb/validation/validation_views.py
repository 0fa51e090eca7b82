"""Views of a validation: deviations of observed from predicted counts, by run, energy, offset and field of view."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal, get_args

import numpy as np
from scipy import stats

from bgnb._util.arrays import Bools, Floats, Ints
from bgnb._util.checks import checked_choice, checked_obs_ids
from bgnb._util.errors import BgnbError
from bgnb._util.outliers import STANDS_OUT
from bgnb.observations.groups import ObservationGroups
from bgnb.plots.colours import GREY, LINES, SELECTED, Colours, choose_limits
from bgnb.plots.cube_state import checked_energies
from bgnb.plots.labels import energy_label, format_count, format_number, with_minus
from bgnb.plots.pointing_map import X_LABEL, Y_LABEL, graticule, to_plane, zenith_limit
from bgnb.plots.run_views import describe_scatter, limit_curves, shown_limits
from bgnb.plots.view import Curve, Graph, Image, Panel, Polygon, Range, Series, View, axis_range
from bgnb.validation.compared_counts import (
    MIN_BIN,
    MIN_MAP,
    SIGNIFICANCES,
    ComparedCounts,
    FieldMap,
    Goodness,
    Norm,
    Residuals,
    RunRatios,
    largest_by_chance,
)

Show = Literal["significance", "residual", "observed", "predicted"]
RunAxis = Literal["OBS_ID", "altitude", "azimuth"]
#: Lowest and highest energy, TeV.
EnergyRange = tuple[float, float]

#: Choices of the fields of a state.
CHOICES: dict[str, tuple[str, ...]] = {"norm": get_args(Norm), "show": get_args(Show), "x": get_args(RunAxis)}
# Edges of energy bins are equal to energies within this relative difference, which is more than that of five digits.
_SAME_ENERGY = 1e-4
# Significance of the first and the last colour, and ends of the distribution.
_LIMIT = float(SIGNIFICANCES[-1])
# Radius of the point of a run, relative to that of the map of pointings.
_POINT = 0.045
# Number of runs, energies and offsets with the largest deviations in the summary.
_N_WORST = 3
# Standard deviations of further deviations in the summary.
_NOTABLE = 2.0
# Number of OBS_IDs of selected runs in the summary.
_MAX_LISTED = 10
_NO_NORM = "no free norm"
_ALL, _CHOSEN, _MARKED = LINES[0], SELECTED, LINES[1]


@dataclass(frozen=True, kw_only=True)
class ValidationState:
    """Runs and energies whose counts are compared, and the quantities shown.

    Parameters
    ----------
    selected : tuple of int
        OBS_IDs; empty for all runs.
    energy : tuple of float, optional
        Lowest and highest energy, TeV; None for all energies. One energy may be given for one bin.
    norm : {"free", "fixed"}
        Scale the prediction of each run to its counts at all energies, or not.
    show : {"significance", "residual", "observed", "predicted"}
        Quantity in the field of view.
    x : {"OBS_ID", "altitude", "azimuth"}
        Horizontal axis of the runs.

    Raises
    ------
    BgnbError
        If a value is invalid.
    """

    selected: tuple[int, ...] = ()
    energy: EnergyRange | None = None
    norm: Norm = "free"
    show: Show = "significance"
    x: RunAxis = "OBS_ID"

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            object.__setattr__(self, name, checked_choice(name, getattr(self, name), choices))
        object.__setattr__(self, "selected", checked_obs_ids("selected", self.selected))
        if self.energy is not None:
            object.__setattr__(self, "energy", checked_energies(self.energy))


def energy_edges(counts: ComparedCounts) -> tuple[float, ...]:
    """Round the edges of the energy bins to five digits, TeV."""
    return tuple(float(f"{edge:.5g}") for edge in counts.edges)


def energy_slice(counts: ComparedCounts, energy: EnergyRange | None) -> slice:
    """Find the energy bins that overlap a range; empty if none does."""
    if energy is None:
        return slice(0, len(counts.edges) - 1)
    low, high = energy
    first = int(np.searchsorted(counts.edges[1:], low * (1 + _SAME_ENERGY), side="right"))
    if low == high and np.isclose(low, counts.edges[-1], rtol=_SAME_ENERGY):  # the end of the axis belongs to the last bin
        return slice(len(counts.edges) - 2, len(counts.edges) - 1)
    stop = int(np.searchsorted(counts.edges[:-1], high * (1 - _SAME_ENERGY), side="left"))
    return slice(first, max(stop, first + 1) if low < counts.edges[-1] and high >= counts.edges[0] else first)


def complete_state(counts: ComparedCounts, state: ValidationState) -> ValidationState:
    """Check that a validation contains the runs and energies of a state, and extend the energies to edges of bins.

    Raises
    ------
    BgnbError
        If it does not contain a run, or no energy bin.
    """
    if unknown := sorted(set(state.selected).difference(counts.obs_ids.tolist())):
        among = f"is not among the {format_count(len(counts.obs_ids), 'run')} of the validation"
        raise BgnbError("not-found", f"selected: run {unknown[0]} {among}")
    energies, edges = energy_slice(counts, state.energy), energy_edges(counts)
    if state.energy is not None and energies.start >= min(energies.stop, len(edges) - 1):
        low, high = state.energy
        ends = f"they extend from {edges[0]:g} to {edges[-1]:g} TeV"
        raise BgnbError("invalid-argument", f"energy: no energy bin overlaps {low:g} to {high:g} TeV; {ends}")
    ends_of_bins = edges[energies.start], edges[energies.stop]
    return replace(state, energy=None if ends_of_bins == (edges[0], edges[-1]) else ends_of_bins)


@dataclass(frozen=True, eq=False, kw_only=True)
class _Shown:
    """Sums of the counts of a state, from which all panels and the summary are made."""

    counts: ComparedCounts
    state: ValidationState
    energies: slice
    mask: Bools
    runs: RunRatios
    by_energy: Residuals
    by_offset: Residuals
    field: FieldMap
    goodness: Goodness

    @property
    def is_part(self) -> bool:
        """A part of the runs is selected."""
        return not self.mask.all()

    @property
    def which_runs(self) -> str:
        n_runs, n_chosen = format_count(len(self.mask), "run"), int(self.mask.sum())
        if n_chosen == 1:
            return f"run {self.counts.obs_ids[self.mask][0]}"
        return f"{n_chosen} of {n_runs}" if self.is_part else n_runs

    @property
    def which_energies(self) -> str:
        return energy_label(self.counts.validation.grid.axes, self.energies.start, self.energies.stop)

    def sample(self, *, every: bool = False, norm: str = "") -> str:
        """Describe the counts of a sentence: all runs or the selected ones, energies, and norm."""
        n_runs, n_chosen = format_count(len(self.mask), "run"), int(self.mask.sum())
        which = self.which_runs if n_chosen == 1 else f"{n_chosen} selected of {n_runs}" if self.is_part else f"all {n_runs}"
        return f"({f'all {n_runs}' if every else which}, {self.which_energies}, {norm or self.scaled})"

    @property
    def scaled(self) -> str:
        return "one free norm per run" if self.state.norm == "free" else _NO_NORM


def validation_view(counts: ComparedCounts, state: ValidationState) -> View:
    """Draw the deviations of observed from predicted counts.

    Parameters
    ----------
    counts : `ComparedCounts`
        Counts of a validation.
    state : `ValidationState`
        A complete state, see `complete_state`.

    Returns
    -------
    View
        Panels ``runs``, ``energy``, ``offset``, ``field``, ``significance`` and ``pointings``.
    """
    mask = np.isin(counts.obs_ids, state.selected) if state.selected else np.ones(len(counts.obs_ids), dtype=bool)
    energies, norm = energy_slice(counts, state.energy), state.norm
    shown = _Shown(
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
    return View(f"Validation, {shown.which_runs}, {shown.which_energies}", "\n".join(_summary(shown)), panels)


def run_positions(counts: ComparedCounts, state: ValidationState, panel: str) -> tuple[Floats, Floats]:
    """Return the positions of the runs in a panel; NaN for runs that it does not show."""
    if panel == "pointings":
        return to_plane(counts.altitude, counts.azimuth)
    x = {"OBS_ID": counts.obs_ids.astype(float), "altitude": counts.altitude, "azimuth": counts.azimuth}[state.x]
    return x, counts.runs(energy_slice(counts, state.energy)).ratio


def _run_details(shown: _Shown, rows: Sequence[int]) -> dict[str, list[str]]:
    runs, counts = shown.runs, shown.counts
    return {
        "OBS_ID": [str(counts.obs_ids[i]) for i in rows],
        "observed": [f"{runs.counts[i]:.0f}" for i in rows],
        "predicted": [f"{runs.expected[i]:.1f}" for i in rows],
        "observed / predicted": [f"{runs.ratio[i]:.3f} ± {runs.error[i]:.3f}" for i in rows],
        "from the others": [f"{_sigma(runs.deviations.sigmas[i])}" for i in rows],
        "altitude": [f"{counts.altitude[i]:.1f}°" for i in rows],
        "azimuth": [f"{counts.azimuth[i]:.1f}°" for i in rows],
    }


def _run_graph(shown: _Shown) -> Graph:
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


def _residual_graph(shown: _Shown, name: str, chosen: Residuals, every: Residuals) -> Graph:
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
                f"{_signed(value)} ± {error:.3f}" for value, error in zip(residuals.residual, residuals.error, strict=True)
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


def _field_image(shown: _Shown) -> Image:
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
        colours = Colours("viridis", "linear", 0.0, highest)
    titles = f"{show.capitalize()}, {shown.which_energies}", "DETX / deg", "DETY / deg", unit
    worst = _worst(field.significance.ravel())[:1]
    curves = [_outline(field, where) for where, sigma in worst if abs(sigma) > STANDS_OUT]
    return Image(*titles, values, field.x_edges, field.y_edges, colours, tuple(curves))


def _outline(field: FieldMap, where: int) -> Curve:
    """Draw the outline of a bin of the field of view."""
    iy, ix = divmod(where, len(field.x_edges) - 1)
    x, y = field.x_edges[[ix, ix + 1]], field.y_edges[[iy, iy + 1]]
    return Curve(x=x[[0, 1, 1, 0, 0]], y=y[[0, 0, 1, 1, 0]], colour=SELECTED, width=2.0)


def _distribution(shown: _Shown) -> Graph:
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
    title = f"Significance, mean {_signed(good.mean)}\nwidth {good.width:.3f} ± {good.width_error:.3f}"
    heights = axis_range(bars, outline, np.array([0.4]), zero=True)
    titles = title, "significance / standard deviations", "fraction per standard deviation"
    return Graph(*titles, (series,), (-_LIMIT, _LIMIT), heights, curves=curves)


def _density(numbers: Ints, edges: Floats) -> Floats:
    return numbers / (max(numbers.sum(), 1) * np.diff(edges))


def _pointing_map(shown: _Shown) -> Graph:
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


def _summary(shown: _Shown) -> list[str]:
    counts, runs, validation = shown.counts, shown.runs, shown.counts.validation
    observed, predicted = float(runs.counts[shown.mask].sum()), float(runs.expected[shown.mask].sum())
    ratio = _with_error(observed / predicted, 1 / math.sqrt(predicted)) if predicted > 0 else "unknown"
    total = f"{observed:.0f} observed, {predicted:.1f} predicted, observed / predicted {ratio}"
    notes = [f"Note: {note}" for note in validation.all_notes]
    n_first = int(not validation.seen.isdisjoint(counts.obs_ids.tolist()))  # runs used to make the models
    lines = [f"Counts {shown.sample(norm=_NO_NORM)}: {total}.", *notes[:n_first], _describe_goodness(shown)]
    lines += [_describe_runs(shown), *_describe_shapes(shown)]
    axes, within, every = validation.grid.axes, shown.energies, shown.by_energy
    energies = [energy_label(axes, i) for i in range(within.start, within.stop)]
    edges = every.edges[within.start : within.stop + 1]
    by_energy = Residuals(edges=edges, counts=every.counts[within], expected=every.expected[within])
    rings = shown.by_offset.edges
    offsets = [f"{low:.3g} to {high:.3g}°" for low, high in pairwise(rings)]
    lines += [
        _describe_bins(f"Energies {shown.sample()}", by_energy, energies),
        _describe_bins(f"Offsets {shown.sample()}", shown.by_offset, offsets),
        f"Field of view {shown.sample()}: {_describe_field(shown.field)}",
    ]
    if shown.is_part:
        obs_ids = [str(obs_id) for obs_id in counts.obs_ids[shown.mask]]
        more = f" and {len(obs_ids) - _MAX_LISTED} more" if len(obs_ids) > _MAX_LISTED else ""
        lines.append(f"Selected: {', '.join(obs_ids[:_MAX_LISTED])}{more}.")
    if unknown := int((~runs.known).sum()):
        lines.append(f"Not shown: {format_count(unknown, 'run')} with less than {MIN_BIN:g} predicted count at these energies.")
    if empty := validation.counts_where_none_are_possible:
        lines.append(f"Counts in bins where the model is empty: {empty}.")
    return lines + notes[n_first:] + [f"Skipped: {error}" for error in validation.faults.values()]


def _describe_goodness(shown: _Shown) -> str:
    good = shown.goodness
    deviation = f"deviance / expectation {_with_error(good.ratio, good.ratio_error)}"
    width = f"mean {_signed(good.mean)}, width {good.width:.3f}"
    expected = f"expected {good.expected_width:.3f} ± {good.width_error:.3f}"
    return f"Bins {shown.sample()}: {deviation}; significance of {good.n_bins} bins: {width} ({expected})."


def _describe_runs(shown: _Shown) -> str:
    runs = shown.runs
    if not runs.known.any():
        return "Runs: none has enough predicted counts."
    floor = math.sqrt(float(np.mean(runs.error[runs.known] ** 2)))
    scatter = f"{describe_scatter(runs.deviations)}; " if runs.deviations.enough else ""
    median = f"median of observed / predicted {runs.deviations.median:.3f}, counting statistics {100 * floor:.2g} %"
    text = f"Runs {shown.sample(every=True, norm=_NO_NORM)}: {median}, {scatter}"
    worst = [(i, sigma) for i, sigma in _worst(runs.deviations.sigmas) if runs.deviations.stand_out[i]]
    found = worst or _worst(runs.deviations.sigmas)[:1]
    listed = [f"{shown.counts.obs_ids[i]} ({runs.ratio[i]:.3f} ± {runs.error[i]:.3f}, {_sigma(s)})" for i, s in found]
    if worst:
        number = int(runs.deviations.stand_out.sum())
        return f"{text}{number} {'stands' if number == 1 else 'stand'} out: {', '.join(listed)}{', …' * (number > len(worst))}."
    chance = largest_by_chance(int(runs.known.sum()))
    return f"{text}none stands out; largest deviation: {listed[0]}; expected maximum {chance:.1f} σ."


def _describe_shapes(shown: _Shown) -> list[str]:
    """Describe the run whose distribution of counts deviates most, with a free norm or without one."""
    sigmas, ratios, errors = shown.counts.run_deviances(shown.mask, shown.energies, shown.state.norm)
    if not (worst := _worst(sigmas)[:1]):
        return []
    [(i, sigma)] = worst
    obs_id = shown.counts.obs_ids[shown.mask][i]
    chance = f"expected maximum {largest_by_chance(int(np.isfinite(sigmas).sum())):.1f} σ"
    ratio = f"deviance / expectation {_with_error(ratios[i], errors[i])}, {_sigma(sigma)} ({chance})"
    return [f"Distribution of the counts of each run {shown.sample()}: largest deviation in run {obs_id}, {ratio}."]


def _describe_bins(name: str, residuals: Residuals, labels: Sequence[str]) -> str:
    sigmas = residuals.sigmas
    known = np.isfinite(sigmas)
    if not known.any():
        return f"{name}: no bin has enough predicted counts."
    listed = [
        f"{_signed(residuals.residual[i])} ± {residuals.error[i]:.3f} ({_sigma(sigma)}) at {labels[i]}"
        for i, sigma in _worst(sigmas)
    ]
    missing = (
        f"; {format_count(int((~known).sum()), 'bin')} with less than {MIN_BIN:g} predicted count not shown"
        if not known.all()
        else ""
    )
    chance = f"expected maximum {largest_by_chance(int(known.sum())):.1f} σ"
    return f"{name}: largest {'residuals' if len(listed) > 1 else 'residual'} {', '.join(listed)}; {chance}{missing}."


def _describe_field(field: FieldMap) -> str:
    worst = _worst(field.significance.ravel())[:1]
    number = int(field.enough.sum())
    if not worst:
        return f"no bin has {MIN_MAP:g} predicted counts."
    [(where, sigma)] = worst
    iy, ix = divmod(where, len(field.x_edges) - 1)
    x, y = float(field.x_edges[ix : ix + 2].mean()), float(field.y_edges[iy : iy + 2].mean())
    observed = f"{field.counts[iy, ix]:.0f} observed, {field.expected[iy, ix]:.1f} predicted"
    grey = int((field.compared & ~field.enough).sum())
    few = f"; {format_count(grey, 'bin')} with fewer than {MIN_MAP:g} predicted counts not shown" if grey else ""
    chance = f"expected maximum {largest_by_chance(number):.1f} σ in {format_count(number, 'bin')}"
    where_text = f"DETX {format_number(x)}°, DETY {format_number(y)}°"
    return f"largest deviation {_sigma(sigma)} at {where_text}, {observed}; {chance}{few}."


def _worst(sigmas: Floats) -> list[tuple[int, float]]:
    """Return numbers and values of the largest deviation, and of a few further ones above `_NOTABLE`, in decreasing order."""
    order = np.argsort(-np.abs(np.nan_to_num(sigmas)), kind="stable")[:_N_WORST].tolist()
    found = [(i, float(sigmas[i])) for i in order if np.isfinite(sigmas[i])]
    return found[:1] + [(i, sigma) for i, sigma in found[1:] if abs(sigma) > _NOTABLE]


def _signed(value: float, places: int = 3) -> str:
    """Format a deviation with its sign; NaN as a dash."""
    return with_minus(f"{value:+.{places}f}") if math.isfinite(value) else "–"


def _sigma(value: float) -> str:
    """Format a number of standard deviations."""
    return f"{_signed(value, 1)} σ"


def _with_error(value: float, error: float) -> str:
    """Format a value with as many decimal places as its error has with two digits."""
    if not (math.isfinite(value) and math.isfinite(error) and error > 0):
        return format_number(value)
    places = max(1 - math.floor(math.log10(error)), 0)
    return f"{value:.{places}f} ± {error:.{places}f}".replace("-", "−")
