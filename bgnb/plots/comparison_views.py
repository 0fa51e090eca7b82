"""Views of two models: images, their ratio, difference or pull, spectra and profiles with their ratios."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from bgnb._util.arrays import Floats
from bgnb._util.errors import numbered
from bgnb.cubes.compare import Comparison, note_on_rates
from bgnb.cubes.profiles import Spectrum
from bgnb.plots.colours import Colours, Stretch, choose_limits, symmetric_limits
from bgnb.plots.comparison_graphs import (
    graphs_against_energy,
    graphs_against_position,
    pull_graph,
    ratio_label,
    spectra_at,
    spectra_graphs,
    spectra_of,
    spectra_ratio,
)
from bgnb.plots.comparison_state import NEUTRAL, ComparisonState, Labels, Show, short_names
from bgnb.plots.cube_panels import contours, field_of_view_image, index_with_error, outlines, outlines_of
from bgnb.plots.cube_state import Positions, Shown, energy_edges, place_label
from bgnb.plots.labels import RATE_LABEL, energies_label, energy_label, format_number, format_value
from bgnb.plots.view import Image, Panel, Range, View

#: Percentage of the values within the limits of the colours, in pictures and pages of `bgnb.compare_models`.
PERCENTILE = 99.0


def comparison_view(
    shown: Mapping[int, Shown[Comparison]],
    state: ComparisonState,
    labels: Labels,
    group: str,
    limits: Range,
    positions: Positions = (),
) -> View:
    """Draw two models at energies, their ratio, and their spectra or profiles.

    Parameters
    ----------
    shown : mapping of int to `Shown`
        Comparisons by GROUP_ID, normalised according to the state: first that of the group of the
        state, then those of further groups, whose ratios are drawn.
    state : `ComparisonState`
        State.
    labels : pair of str
        Names of the models.
    group : str
        Description of the group.
    limits : tuple of float
        Rates of the first and the last colour, see `rate_limits`.
    positions : sequence of pair of float, optional
        Positions of spectra, DETX and DETY in deg; by default position or region of the state.
    """
    main = shown[state.group_id]
    comparison, axes = main.whole, main.whole.axes
    first, last = energy_edges(axes, state.energy)
    use = comparison.compared_energies(first, last)
    energies = energies_label(axes, use)
    compared = compared_limits(comparison if state.limits == "all energies" else main.part, state)
    names = short_names(labels)
    images = comparison_images(main.part, state, names, (limits, compared), energies, positions)
    if positions:
        band = float(axes.energy[first].value), float(axes.energy[last].value)
        graphs = spectra_graphs(comparison, names, spectra_at(comparison, positions), band)
    else:
        against = graphs_against_energy if state.against == "energy" else graphs_against_position
        graphs = against(shown, state, names, energies, (first, last))
    lines = [
        f"Group {group}. {labels[1]} compared with {labels[0]} (reference), normalisation: {state.normalise}.",
        f"{state.show.capitalize()} at {energies}: {_describe_spread(images['compared'].values, state.show, comparison)}",
        *(_describe_place(main, replace(state, position=position), labels) for position in positions or (state.position,)),
    ]
    lines += _describe_energies(main, (first, last), energies)
    if further := _further_groups(shown, state, energies):
        lines.append(f"Also in the graph of ratios: {numbered('group', further, len(further))}.")
    notes = note_on_rates({state.group_id: comparison.rate_ratio}, "the rate of the second model", "that of the first", "group")
    lines += [f"Note: {note}" for note in (*notes, *comparison.notes)]
    panels: dict[str, Panel] = {**images, **graphs}
    if comparison.pulls.size or not positions:  # dashboards have the same panels for all groups
        panels["pulls"] = pull_graph(comparison)
    else:
        lines.append(f"There are no pulls: {comparison.no_pulls}.")
    subject = f"Group {state.group_id}"
    return View(f"{subject}, {state.show} at {energies}", "\n".join(lines), panels, subject)


def _describe_energies(shown: Shown[Comparison], edges: tuple[int, int], energies: str) -> list[str]:
    """Explain which energies between two edges are not compared, if there are any."""
    comparison, axes = shown.whole, shown.whole.axes
    exposed = comparison.exposed[slice(*edges)]
    if not exposed.any():
        there = f"at {energies_label(axes, comparison.exposed)}" if comparison.exposed.any() else "at no energy"
        reason = f"because at least one has no livetime at {energies}"
        return [f"The models cannot be compared, {reason}; they can be compared {there}."]
    lines = []
    if not exposed.all():
        reason = "at the other energies, at least one has no livetime"
        lines.append(f"Of {energy_label(axes, *edges)}, the models are compared at {energies} only: {reason}.")
    if not shown.part.exposed[0]:
        lines.append("The models cannot be compared, because at least one has no bin with livetime at all of these energies.")
    return lines


def _further_groups(shown: Mapping[int, Shown[Comparison]], state: ComparisonState, energies: str) -> list[str]:
    """List the further groups, with the energies compared in profiles if they are others."""
    names = []
    for other in state.further:
        comparison = shown[other].whole
        label = energies_label(comparison.axes, comparison.compared_energies(*energy_edges(comparison.axes, state.energy)))
        if not shown[other].part.exposed[0]:
            label = "cannot be compared"
        names.append(f"{other} ({label})" if state.against != "energy" and label != energies else str(other))
    return names


def comparison_images(
    part: Comparison,
    state: ComparisonState,
    labels: Labels,
    limits: tuple[Range, Range],
    energies: str,
    positions: Positions = (),
) -> dict[str, Image]:
    """Draw both rates at energies, coloured between limits, and their comparison.

    Parameters
    ----------
    part : `Comparison`
        Comparison in one energy bin.
    state : `ComparisonState`
        State.
    labels : pair of str
        Names of the models.
    limits : pair of tuple of float
        Values of the first and the last colour, of the rates and of their comparison.
    energies : str
        Description of the energies.
    positions : sequence of pair of float, optional
        Marked positions, DETX and DETY in deg; by default position or region of the state.
    """
    axes = part.axes
    marks = outlines(axes, positions) if positions else outlines_of(axes, state)
    colours = Colours(state.palette, state.stretch, *limits[0])
    diverging = Colours("diverging", state.stretch, *limits[1], NEUTRAL[state.show])
    both = list(zip((part.first, part.second), labels, strict=True))
    panels, selects = {}, state.draw != "nothing"
    for name, (model, label), (other, _) in zip(("first", "second"), both, both[::-1], strict=True):
        if state.swap:
            model, label, other = other, labels[name == "first"], model
        title = f"{label}, {energies}{', extrapolated' * bool(model.extrapolated[0])}"
        lines = contours(axes, other.rate.quantity.value[0], colours, "#ffffff") if state.contours else []
        panels[name] = field_of_view_image(
            axes, model.rate.quantity.value[0], title, RATE_LABEL, colours, [*lines, *marks], quantity="rate", selects=selects
        )
    unit = {"ratio": ratio_label(labels), "difference": RATE_LABEL, "pull": "difference / error"}[state.show]
    title, values = f"{state.show.capitalize()}, {energies}", compared_values(part, state.show)[0]
    lines = contours(axes, part.first.rate.quantity.value[0], colours, "#555555") if state.contours else []
    quantity, curves = "difference" * (state.show == "difference"), [*lines, *marks]
    compared = field_of_view_image(axes, values, title, unit, diverging, curves, quantity=quantity, selects=selects)
    return panels | {"compared": compared}


def rate_limits(comparison: Comparison, stretch: Stretch, percentile: float) -> Range:
    """Choose automatic limits of the colours of both rates."""
    both = [model.rate.quantity.value.ravel() for model in (comparison.first, comparison.second)]
    return choose_limits(np.concatenate(both), stretch, percentile)


def compared_limits(comparison: Comparison, state: ComparisonState) -> Range:
    """Choose limits of the colours of ratio, difference or pull, symmetric about the neutral value."""
    neutral = NEUTRAL[state.show]
    if state.span is not None:
        logarithmic = neutral == 1 and state.stretch == "log"
        return symmetric_limits(neutral, float(np.log1p(state.span)) if logarithmic else state.span, state.stretch)
    return choose_limits(compared_values(comparison, state.show), state.stretch, state.percentile, neutral)


def compared_values(comparison: Comparison, show: Show) -> Floats:
    """Compute the ratio, difference or pull in each bin; NaN at energies at which a model has no livetime."""
    if show == "difference":
        values = comparison.second.rate.quantity.value - comparison.first.rate.quantity.value
    else:
        values = comparison.ratio if show == "ratio" else comparison.pull
    return np.where(comparison.exposed[:, None, None], values, np.nan)


def _describe_place(shown: Shown[Comparison], state: ComparisonState, labels: Labels) -> str:
    """Describe rates, ratio and spectral indices in the region of a state, or in the bin at its position."""
    point = spectra_of(shown.part, state)
    ratio, error = (float(values[0]) for values in spectra_ratio(shown.part, *point))
    rates = " and ".join(
        f"{label} {format_value(line.rate[0], line.error[0])}" for label, line in zip(labels, point, strict=True)
    )
    if np.isfinite(ratio):
        unknown = "" if shown.whole.independent else " (error unknown, because the models share runs)"
        compared = f"ratio {format_value(ratio, error)}{unknown}"
    else:
        compared = f"no ratio, because {_why_no_ratio(shown.part, point, labels)}"
    indices = " and ".join(map(index_with_error, spectra_of(shown.whole, state)))
    place = place_label(shown.whole.axes, state)
    return (
        f"{place[0].upper()}{place[1:]}: {rates} {RATE_LABEL}, {compared}; spectral indices, fitted to all energies: {indices}."
    )


def _why_no_ratio(part: Comparison, point: tuple[Spectrum, Spectrum], labels: Labels) -> str:
    """Give the reason why the ratio of two rates in one energy bin does not exist."""
    if not part.exposed[0]:
        return "the models cannot be compared at these energies"
    if unexposed := [label for label, line in zip(labels, point, strict=True) if not np.isfinite(line.error[0])]:
        return f"there is no livetime of {' and '.join(unexposed)} there"
    zero = [label for label, line in zip(labels, point, strict=True) if not line.rate[0] > 0]
    return f"the rate of {' and '.join(zero)} is zero"


def _describe_spread(values: Floats, show: Show, comparison: Comparison) -> str:
    values, neutral = values[np.isfinite(values)], NEUTRAL[show]
    if not values.size:
        return f"no bin has a value{', because the models share runs' * (show == 'pull' and not comparison.independent)}."
    spread = format_number(float(np.percentile(np.abs(values - neutral), 90)))
    return f"median {format_number(float(np.median(values)))}, 90 % of the bins within {spread} of {neutral:g}."
