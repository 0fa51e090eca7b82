"""Graphs of two models: spectra and profiles with their ratios, and pulls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from bgnb._util.arrays import Floats, quotient
from bgnb.cubes.compare import Comparison
from bgnb.cubes.profiles import Profile, Spectrum, radial_profile, strip_profile
from bgnb.plots.colours import LINES, line_colours
from bgnb.plots.comparison_state import ComparisonState, Labels
from bgnb.plots.cube_panels import STRIP, beside, energy_graph, mask_nonpositive, other_styles, profile_series, rate_series
from bgnb.plots.cube_state import Position, Positions, Shown, centre_of, energy_bin, pixel, place_label, region_of
from bgnb.plots.labels import RATE_AXIS, bin_label, format_count, position_label, with_minus
from bgnb.plots.view import Curve, Graph, Range, Series, axis_range, histogram, range_with_errors

#: Spectra of both models at positions.
Spectra = Mapping[Position, tuple[Spectrum, Spectrum]]

_FIRST, _SECOND, _BOTH, _GREY = LINES[0], LINES[1], "#555555", "#888888"


def graphs_against_energy(
    shown: Mapping[int, Shown[Comparison]], state: ComparisonState, labels: Labels, energies: str, edges: tuple[int, int]
) -> dict[str, Graph]:
    """Draw the spectra of both models, and their ratio, also of further groups."""
    comparison = shown[state.group_id].whole
    energy, place = comparison.axes.energy.value, place_label(comparison.axes, state)
    band = float(energy[edges[0]]), float(energy[edges[1]])
    ratios = {}
    for group_id, each in shown.items():
        ratio, error = spectra_ratio(each.whole, *spectra_of(each.whole, state))
        ratios[group_id] = each.whole.axes.energy_centers.value, ratio, error
    models = zip((comparison.first, comparison.second), spectra_of(comparison, state), labels, (_FIRST, _SECOND), strict=True)
    curves, series = zip(*(rate_series(model, line, label, colour) for model, line, label, colour in models), strict=True)
    points, others, ends = _ratios(ratios, state)
    title = _with_note(f"Ratio {place}", comparison, points)
    return {
        "spectra": energy_graph(energy, f"Rates {place}", RATE_AXIS, series, band, curves=curves),
        "ratios": replace(
            energy_graph(energy, title, ratio_label(labels), points, band, ends, [_unity(energy), *others]),
            legend="below" if others else "inside",
        ),
    }


def graphs_against_position(
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
            _with_note(f"Ratio, {energies}", main, points), label, ratio_label(labels), points, ends, ratio_ends,
            curves=(_unity(edges_there), *others), x_link="spectra", legend="below" if others else "inside",
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
    """Choose the ends of an axis of ratios, symmetric about one or down to zero.

    They contain ratios whose error is below 0.5, and the errors below 0.2.
    """
    for ratio, error in ratios:
        reach = np.abs(ratio - 1)[error < 0.5] if np.any(error < 0.5) else np.abs(ratio - 1)
        with_errors = (np.abs(ratio - 1) + error)[error < 0.2]
        reach = np.concatenate([reach, with_errors / 1.25])  # ends of errors need less of the margin of 1.3 below
        half = float(np.max(reach[np.isfinite(reach)], initial=half))
    return max(1 - 1.3 * half, 0.0), 1 + 1.3 * half


def spectra_of(comparison: Comparison, state: ComparisonState) -> tuple[Spectrum, Spectrum]:
    """Compute the spectra of both models in the region of a state, or in the bin at its position."""
    if region := region_of(state):
        return comparison.spectra(region=region)
    iy, ix = pixel(comparison.axes, state.position)
    return comparison.spectra(comparison.axes.detx_centers[ix], comparison.axes.dety_centers[iy])


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
        "ratios": replace(
            energy_graph(energy, title, ratio_label(labels), ratios, band, _ratio_ends(known), [_unity(energy)]),
            legend="below" if several else "inside",
        ),
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


def pull_graph(comparison: Comparison) -> Graph:
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
    curve = Series("normal" if pulls.size else "", bars.x, normal, "dotted", "#888888")
    ranges = (-5.0, 5.0), axis_range(bars.y, normal, zero=True)
    return Graph(title, "difference / error", "bins", (bars, curve), *ranges, legend="below")


def ratio_label(labels: Labels) -> str:
    """Label an axis of ratios."""
    return f"{labels[1]} / {labels[0]}"
