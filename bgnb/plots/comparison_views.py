"""Views of two models: images, their ratio, difference or pull, spectra and profiles with their ratios."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from bgnb._util.arrays import Floats, quotient
from bgnb._util.checks import finite_number
from bgnb._util.errors import BgnbError
from bgnb.cubes.compare import Comparison, Normalise, note_on_rates
from bgnb.cubes.profiles import Profile, Spectrum, radial_profile, strip_profile
from bgnb.plots.colours import LINES, Colours, Stretch, choose_limits, line_colours, symmetric_limits
from bgnb.plots.cube_panels import (
    STRIP,
    beside,
    contours,
    energy_graph,
    field_of_view_image,
    index_with_error,
    mask_nonpositive,
    other_styles,
    outlines,
    outlines_of,
    profile_series,
    rate_series,
)
from bgnb.plots.cube_state import (
    CubeState,
    Position,
    Positions,
    Shown,
    centre_of,
    energy_bin,
    energy_edges,
    pixel,
    place_label,
    region_of,
)
from bgnb.plots.labels import (
    RATE_AXIS,
    RATE_LABEL,
    bin_label,
    energies_label,
    energy_label,
    format_count,
    format_number,
    format_value,
    position_label,
    with_minus,
)
from bgnb.plots.view import Curve, Graph, Image, Panel, Range, Series, View, axis_range, histogram, range_with_errors

Show = Literal["ratio", "difference", "pull"]
Against = Literal["energy", "offset", "DETX", "DETY"]
Labels = tuple[str, str]
#: Spectra of both models at positions.
Spectra = Mapping[Position, tuple[Spectrum, Spectrum]]

#: Values of ratio, difference and pull for equal models.
NEUTRAL = {"ratio": 1.0, "difference": 0.0, "pull": 0.0}
#: Percentage of the values within the limits of the colours, in pictures and pages of `bgnb.compare_models`.
PERCENTILE = 99.0

_FIRST, _SECOND, _BOTH, _GREY = LINES[0], LINES[1], "#555555", "#888888"


@dataclass(frozen=True, kw_only=True)
class ComparisonState(CubeState):
    """State of `CubeState`, and how the models are compared.

    Parameters
    ----------
    show, normalise, span, against, contours, swap
        See `bgnb.dashboards.compare_models`.
    """

    show: Show = "ratio"
    normalise: Normalise = "none"
    span: float | None = None
    against: Against = "energy"
    contours: bool = False
    swap: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("contours", "swap"):
            if not isinstance(getattr(self, name), bool):
                raise BgnbError("invalid-argument", f"{name} must be true or false, got {getattr(self, name)!r}")
        if self.span is not None:
            self._set("span", finite_number("span", self.span))
            minimum = 1e-30 if self.show == "difference" else 1e-6
            if not minimum <= self.span <= 1e6:
                raise BgnbError("invalid-argument", f"span must be {minimum:g} to 1e6, got {self.span}")


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
    images = comparison_images(main.part, state, labels, (limits, compared), energies, positions)
    if positions:
        band = float(axes.energy[first].value), float(axes.energy[last].value)
        graphs = spectra_graphs(comparison, labels, spectra_at(comparison, positions), band)
    else:
        against = _graphs_against_energy if state.against == "energy" else _graphs_against_position
        graphs = against(shown, state, labels, energies, (first, last))
    lines = [
        f"Group {group}. {labels[1]} compared with {labels[0]} (reference), normalisation: {state.normalise}.",
        f"{state.show.capitalize()} at {energies}: {_describe_spread(images['compared'].values, state.show, comparison)}",
        *(_describe_place(main, replace(state, position=position), labels) for position in positions or (state.position,)),
    ]
    lines += _describe_energies(main, (first, last), energies)
    if state.further:
        lines.append(f"Also in the graph of ratios: group {', '.join(_further_groups(shown, state, energies))}.")
    notes = note_on_rates({state.group_id: comparison.rate_ratio}, "the rate of the second model", "that of the first", "group")
    lines += [f"Note: {note}" for note in (*notes, *comparison.notes)]
    panels: dict[str, Panel] = {**images, **graphs, "pulls": _pull_graph(comparison)}
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
    unit = {"ratio": _ratio_label(labels), "difference": RATE_LABEL, "pull": "difference / error"}[state.show]
    title, values = f"{state.show.capitalize()}, {energies}", compared_values(part, state.show)[0]
    lines = contours(axes, part.first.rate.quantity.value[0], colours, "#555555") if state.contours else []
    quantity, curves = "difference" * (state.show == "difference"), [*lines, *marks]
    compared = field_of_view_image(axes, values, title, unit, diverging, curves, quantity=quantity, selects=selects)
    return panels | {"compared": compared}


def _spectra(comparison: Comparison, state: ComparisonState) -> tuple[Spectrum, Spectrum]:
    """Compute the spectra of both models in the region of a state, or in the bin at its position."""
    if region := region_of(state):
        return comparison.spectra(region=region)
    iy, ix = pixel(comparison.axes, state.position)
    return comparison.spectra(comparison.axes.detx_centers[ix], comparison.axes.dety_centers[iy])


def _graphs_against_energy(
    shown: Mapping[int, Shown[Comparison]], state: ComparisonState, labels: Labels, energies: str, edges: tuple[int, int]
) -> dict[str, Graph]:
    """Draw the spectra of both models, and their ratio, also of further groups."""
    comparison = shown[state.group_id].whole
    energy, place = comparison.axes.energy.value, place_label(comparison.axes, state)
    band = float(energy[edges[0]]), float(energy[edges[1]])
    ratios = {}
    for group_id, each in shown.items():
        ratio, error = spectra_ratio(each.whole, *_spectra(each.whole, state))
        ratios[group_id] = each.whole.axes.energy_centers.value, ratio, error
    models = zip((comparison.first, comparison.second), _spectra(comparison, state), labels, (_FIRST, _SECOND), strict=True)
    curves, series = zip(*(rate_series(model, line, label, colour) for model, line, label, colour in models), strict=True)
    points, others, ends = _ratios(ratios, state)
    title = _with_note(f"Ratio {place}", comparison, points)
    return {
        "spectra": energy_graph(energy, f"Rates {place}", RATE_AXIS, series, band, curves=curves),
        "ratios": energy_graph(energy, title, _ratio_label(labels), points, band, ends, [_unity(energy), *others]),
    }


def _graphs_against_position(
    shown: Mapping[int, Shown[Comparison]], state: ComparisonState, labels: Labels, energies: str, edges: tuple[int, int]
) -> dict[str, Graph]:
    """Draw profiles of both models at energies, and their ratio, also of further groups."""
    main = shown[state.group_id].part
    profiles = {group_id: _profiles(each.part, state) for group_id, each in shown.items()}
    lines = [
        profile_series(profile, name, colour)
        for profile, name, colour in zip(profiles[state.group_id], labels, (_FIRST, _SECOND), strict=True)
    ]
    ratios = {}
    for group_id, each in shown.items():
        one, other = profiles[group_id]
        ratio = np.where(each.part.exposed[0], quotient(other.rate, one.rate), np.nan)
        error = ratio * np.hypot(quotient(one.error, one.rate), quotient(other.error, other.rate))
        ratios[group_id] = (one.edges[1:] + one.edges[:-1]) / 2, ratio, error if main.independent else np.zeros_like(ratio)
    edges_there = profiles[state.group_id][0].edges
    ends = float(edges_there[0]), float(edges_there[-1])
    label = _position_label(state)
    points, others, ratio_ends = _ratios(ratios, state)
    return {
        "spectra": Graph(
            f"Rates, {energies}", label, RATE_AXIS, tuple(lines), ends, range_with_errors(lines, log=True),
            y_log=True, x_link="spectra",
        ),
        "ratios": Graph(
            _with_note(f"Ratio, {energies}", main, points), label, _ratio_label(labels), points, ends, ratio_ends,
            curves=(_unity(edges_there), *others), x_link="spectra",
        ),
    }  # fmt: skip


def _ratios(
    ratios: Mapping[int, tuple[Floats, Floats, Floats]], state: ComparisonState
) -> tuple[tuple[Series, ...], list[Curve], Range]:
    """Draw ratios (x, ratio, error): points for the group of the state, curves for others; choose the ends of the axis."""
    x, ratio, error = ratios[state.group_id]
    names = (f"group {state.group_id}", None) if state.further else ("ratio", "")
    points = Series(names[0], x, ratio, "points", _SECOND, ratio - error, ratio + error, legend=names[1])
    styles = other_styles(state.further, used=2)
    curves = [Curve(x=ratios[other][0], y=ratios[other][1], width=1.5, **styles[other]) for other in state.further]
    return (points,), curves, _ratio_ends([(ratio, error)])


def _unity(x: Floats) -> Curve:
    """Draw a line at a ratio of one."""
    return Curve(x=x[[0, -1]], y=np.ones(2), colour=_GREY)


def _with_note(title: str, comparison: Comparison, ratios: Sequence[Series]) -> str:
    """Add to the title of ratios why they have no errors, if there are any ratios."""
    known = any(np.isfinite(ratio.y).any() for ratio in ratios)
    return f"{title}\nwithout errors, as the models share runs" if known and not comparison.independent else title


def _profiles(part: Comparison, state: ComparisonState) -> list[Profile]:
    """Compute profiles of both models in one energy bin, averaged over the same bins."""
    profiles = []
    exposed, (x, y) = part.exposed_bins[0], centre_of(state)
    for model, factor in ((part.first, 1.0), (part.second, float(part.factors[0]))):
        if state.against == "offset":
            profile = radial_profile(model, 0, exposed)
        else:
            axis, center = ("detx", y) if state.against == "DETX" else ("dety", x)
            profile = strip_profile(model, 0, axis, center, STRIP, exposed)
        if model.error is None:  # it follows from the counts, and these from the rate before normalisation
            profile = replace(profile, error=profile.error * np.sqrt(factor))
        profiles.append(profile)
    return profiles


def _position_label(state: ComparisonState) -> str:
    """Label the axis of profiles."""
    if state.against == "offset":
        return "offset / deg"
    x, y = centre_of(state)
    other, center = ("DETY", y) if state.against == "DETX" else ("DETX", x)
    return f"{state.against} / deg, within {STRIP:g}° of {other} {with_minus(f'{center:g}')}°"


def _ratio_ends(ratios: list[tuple[Floats, Floats]], half: float = 0.05) -> Range:
    """Choose the ends of an axis of ratios, symmetric about one or down to zero, that contain those that are known well."""
    for ratio, error in ratios:
        known = ratio[error < 0.5] if np.any(error < 0.5) else ratio
        half = float(np.max(np.abs(known[np.isfinite(known)] - 1), initial=half))
    return max(1 - 1.3 * half, 0.0), 1 + 1.3 * half


def spectra_at(comparison: Comparison, positions: Positions) -> Spectra:
    """Compute the spectra of both models in the bins that contain positions, or the nearest ones."""
    axes = comparison.axes
    pixels = {position: pixel(axes, position) for position in positions}
    return {at: comparison.spectra(axes.detx_centers[ix], axes.dety_centers[iy]) for at, (iy, ix) in pixels.items()}


def spectra_graphs(comparison: Comparison, labels: Labels, spectra: Spectra, band: Range | None = None) -> dict[str, Graph]:
    """Draw the spectra of both models at positions, and their ratios.

    If there are several positions, each has its colour, and the second model is drawn as points.
    """
    energy, several = comparison.axes.energy.value, len(spectra) > 1
    rates: list[Series] = []
    curves: list[Curve] = []
    ratios: list[Series] = []
    known: list[tuple[Floats, Floats]] = []
    for number, ((position, pair), colour) in enumerate(zip(spectra.items(), line_colours(len(spectra)), strict=True)):
        name, legend = (f" {position_label(*position)}", None) if several else ("", "")
        first, second = (colour, colour) if several else (_FIRST, _SECOND)
        for drawn in (
            rate_series(comparison.first, pair[0], labels[0] + name, first),
            rate_series(comparison.second, pair[1], labels[1] + name, second, "points" if several else "line"),
        ):
            curves.append(drawn[0])
            rates.append(drawn[1])
        known.append(spectra_ratio(comparison, *pair))
        ratio, error = known[-1]
        x = beside(energy, number, len(spectra), log=True)
        ratios.append(Series(name.strip() or "ratio", x, ratio, "points", second, ratio - error, ratio + error, legend=legend))
    at = "" if several else f" at {bin_label(comparison.axes, *pixel(comparison.axes, *spectra))}"
    title = _with_note(f"Ratio{at}", comparison, ratios)
    return {
        "spectra": energy_graph(energy, f"Rates{at}", RATE_AXIS, rates, band, curves=curves),
        "ratios": energy_graph(energy, title, _ratio_label(labels), ratios, band, _ratio_ends(known), [_unity(energy)]),
    }


def spectra_ratio(comparison: Comparison, first: Spectrum, second: Spectrum) -> tuple[Floats, Floats]:
    """Compute the ratio of two spectra, second over first, and its error.

    Both are NaN at energies at which one model has no livetime or no error. The error is zero
    if the models share runs: it is unknown, and much smaller than that of independent models.
    """
    ratio = quotient(mask_nonpositive(second.rate, second.error), mask_nonpositive(first.rate, first.error))
    ratio = np.where(comparison.exposed, ratio, np.nan)
    if not comparison.independent:
        return ratio, np.zeros_like(ratio)
    relative = [quotient(line.error, line.rate) for line in (first, second)]
    return ratio, ratio * np.hypot(*relative)


def planes_graph(comparison: Comparison, labels: Labels, energy: float | None = None) -> Graph:
    """Draw the rates of the whole field of view against energy, with an energy marked."""
    axes, (first, second) = comparison.axes, measured_planes(comparison)
    energies = axes.energy_centers.value
    series = Series(labels[0], energies, first, "line", _BOTH), Series(labels[1], energies, second, "points", _BOTH)
    edges = axes.energy.value
    band = None if energy is None else tuple(map(float, edges[(where := energy_bin(axes, energy)) : where + 2]))
    return energy_graph(edges, "Whole field of view", "events per s and bin", series, band)  # type: ignore[arg-type]


def measured_planes(comparison: Comparison) -> list[Floats]:
    """Compute the measured rates of the whole field of view, s-1, of both models; NaN in other energy bins."""
    models = comparison.first, comparison.second
    return [
        np.where(model.exposed & ~model.extrapolated, mask_nonpositive(integral), np.nan)
        for model, integral in zip(models, comparison.plane_integrals(), strict=True)
    ]


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


def _ratio_label(labels: Labels) -> str:
    return f"{labels[1]} / {labels[0]}"


def _describe_place(shown: Shown[Comparison], state: ComparisonState, labels: Labels) -> str:
    """Describe rates, ratio and spectral indices in the region of a state, or in the bin at its position."""
    point = _spectra(shown.part, state)
    ratio, error = (float(values[0]) for values in spectra_ratio(shown.part, *point))
    rates = " and ".join(
        f"{label} {format_value(line.rate[0], line.error[0])}" for label, line in zip(labels, point, strict=True)
    )
    if np.isfinite(ratio):
        unknown = "" if shown.whole.independent else " (error unknown, because the models share runs)"
        compared = f"ratio {format_value(ratio, error)}{unknown}"
    else:
        compared = f"no ratio, because {_why_no_ratio(shown.part, point, labels)}"
    indices = " and ".join(map(index_with_error, _spectra(shown.whole, state)))
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


def _pull_graph(comparison: Comparison) -> Graph:
    """Draw the distribution of pulls over the bins of the cube with enough expected counts."""
    pulls = comparison.pulls
    edges = np.linspace(-5, 5, 41)
    bars = histogram("bins of the cube" if pulls.size else "", pulls, edges, _SECOND)
    normal = len(pulls) * (edges[1] - edges[0]) * np.exp(-(bars.x**2) / 2) / np.sqrt(2 * np.pi)
    if pulls.size:
        outside = len(pulls) - int(bars.y.sum())
        title = f"Pulls of {format_count(len(pulls), 'bin')}, all energies\n"
        title += f"mean {with_minus(f'{pulls.mean():.3f}')}, width {pulls.std():.3f}"
        title += f", {outside} outside the axis" if outside else ""
    else:
        title = f"No pulls: {comparison.no_pulls}"
    curve = Series("standard normal" if pulls.size else "", bars.x, normal, "dotted", "#888888")
    ranges = (-5.0, 5.0), axis_range(bars.y, normal, zero=True)
    return Graph(title, "difference / error", "bins", (bars, curve), *ranges, legend="below")
