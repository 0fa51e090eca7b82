"""Views of two models: images, their ratio, difference or pull, spectra and their ratios."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from bgnb._util.arrays import Floats, quotient
from bgnb._util.checks import finite_number
from bgnb._util.errors import BgnbError
from bgnb.cubes.compare import Comparison, Normalise, note_on_rates
from bgnb.cubes.profiles import Spectrum
from bgnb.plots.colours import LINES, Colours, choose_limits, line_colours, symmetric_limits
from bgnb.plots.cube_panels import energy_graph, field_of_view_image, index_with_error, mask_nonpositive, rate_series
from bgnb.plots.cube_state import CubeState, Position, Positions, energy_bin, pixel
from bgnb.plots.labels import RATE_LABEL, bin_label, energy_label, format_count, format_number, format_value, position_label
from bgnb.plots.view import Graph, Image, Range, Series, View, axis_range, histogram

Show = Literal["ratio", "difference", "pull"]
Labels = tuple[str, str]
#: Spectra of both models at positions.
Spectra = Mapping[Position, tuple[Spectrum, Spectrum]]

#: Values of ratio, difference and pull for equal models.
NEUTRAL = {"ratio": 1.0, "difference": 0.0, "pull": 0.0}

_FIRST, _SECOND, _BOTH = LINES[0], LINES[1], "#000000"


@dataclass(frozen=True, kw_only=True)
class ComparisonState(CubeState):
    """State of `CubeState`, and how the models are compared.

    Parameters
    ----------
    show, normalise, span
        See `bgnb.dashboards.compare_models`.
    """

    show: Show = "ratio"
    normalise: Normalise = "none"
    span: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.span is not None:
            self._set("span", finite_number("span", self.span))
            if not 1e-6 <= self.span <= 1e6:
                raise BgnbError("invalid-argument", f"span must be 1e-6 to 1e6, got {self.span}")


def comparison_view(
    comparison: Comparison, state: ComparisonState, labels: Labels, group: str, limits: Range, positions: Positions = ()
) -> View:
    """Draw two models at an energy, and their spectra at positions.

    Parameters
    ----------
    comparison : `Comparison`
        The models, normalised according to the state.
    state : `ComparisonState`
        State.
    labels : pair of str
        Names of the models.
    group : str
        Description of the group.
    limits : tuple of float
        Rates of the first and the last colour, see `rate_limits`.
    positions : sequence of pair of float, optional
        DETX and DETY, deg, of the spectra; by default the position of the state.
    """
    axes, positions = comparison.axes, positions or (state.position,)
    where = energy_bin(axes, state.energy)
    energies = energy_label(axes, where)
    images = comparison_images(comparison, state, labels, limits, positions)
    spectra = spectra_at(comparison, positions)
    graphs = spectra_graphs(comparison, labels, spectra, where) | {"pulls": _pull_graph(comparison)}
    lines = [
        f"Group {group}. {labels[1]} compared with {labels[0]} (reference), normalisation: {state.normalise}.",
        f"{state.show.capitalize()} at {energies}: {_describe_spread(images['compared'].values, NEUTRAL[state.show])}",
        *(_describe_spectra(comparison, position, pair, labels, where) for position, pair in spectra.items()),
    ]
    if not comparison.exposed[where]:
        lines.append("At this energy the models cannot be compared, because at least one has no livetime.")
    notes = note_on_rates({state.group_id: comparison.rate_ratio}, "the rate of the second model", "that of the first", "group")
    lines += [f"Note: {note}" for note in (*notes, *comparison.notes)]
    return View(f"Group {state.group_id}, {state.show} at {energies}", "\n".join(lines), {**images, **graphs})


def comparison_images(
    comparison: Comparison, state: ComparisonState, labels: Labels, limits: Range, positions: Positions
) -> dict[str, Image]:
    """Draw both rates at an energy, coloured between limits, and their comparison, with positions marked."""
    axes = comparison.axes
    where = energy_bin(axes, state.energy)
    pixels, energies = [pixel(axes, position) for position in positions], energy_label(axes, where)
    colours = Colours(state.palette, state.stretch, *limits)
    diverging = Colours("diverging", state.stretch, *compared_limits(comparison, state), NEUTRAL[state.show])
    panels = {}
    for name, model, label in zip(("first", "second"), (comparison.first, comparison.second), labels, strict=True):
        title = f"{label}, {energies}{', extrapolated' * bool(model.extrapolated[where])}"
        panels[name] = field_of_view_image(axes, pixels, model.rate.quantity.value[where], title, RATE_LABEL, colours)
    unit = {"ratio": _ratio_label(labels), "difference": RATE_LABEL, "pull": "difference / error"}[state.show]
    title, values = f"{state.show.capitalize()}, {energies}", _compared_values(comparison, state.show)[where]
    return panels | {"compared": field_of_view_image(axes, pixels, values, title, unit, diverging)}


def spectra_at(comparison: Comparison, positions: Positions) -> Spectra:
    """Compute the spectra of both models in the bins that contain positions, or the nearest ones."""
    axes = comparison.axes
    pixels = {position: pixel(axes, position) for position in positions}
    return {at: comparison.spectra(axes.detx_centers[ix], axes.dety_centers[iy]) for at, (iy, ix) in pixels.items()}


def spectra_graphs(comparison: Comparison, labels: Labels, spectra: Spectra, where: int | None = None) -> dict[str, Graph]:
    """Draw the spectra of both models at positions, and their ratios.

    If there are several positions, each has its colour, and the second model is drawn as points.
    """
    axes, several, half = comparison.axes, len(spectra) > 1, 0.2
    rates: list[Series] = []
    ratios = [Series("", axes.energy.value[[0, -1]], np.ones(2), "outline", "#888888")]
    for (position, pair), colour in zip(spectra.items(), line_colours(len(spectra)), strict=True):
        name = f" {position_label(*position)}" if several else ""
        first, second = (colour, colour) if several else (_FIRST, _SECOND)
        rates += rate_series(comparison.first, pair[0], labels[0] + name, first)
        rates += rate_series(comparison.second, pair[1], labels[1] + name, second, "points" if several else "line")
        ratio, error = spectra_ratio(comparison, *pair)
        ratios.append(Series(name.strip(), pair[0].energy, ratio, "points", second, ratio - error, ratio + error))
        known = ratio[error < 0.5] if np.any(error < 0.5) else ratio
        half = float(np.max(np.abs(known[np.isfinite(known)] - 1), initial=half))
    at = "" if several else f" at {bin_label(axes, *pixel(axes, *spectra))}"
    ends = 1 - 1.3 * half, 1 + 1.3 * half
    unknown = "" if comparison.independent else "\nwithout errors, as the models share runs"
    return {
        "spectra": energy_graph(axes.energy.value, f"Rates{at}", RATE_LABEL, rates, where),
        "ratios": energy_graph(axes.energy.value, f"Ratio{at}{unknown}", _ratio_label(labels), ratios, where, ends),
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
    where = None if energy is None else energy_bin(axes, energy)
    return energy_graph(axes.energy.value, "Whole field of view", "events per s and bin", series, where)


def measured_planes(comparison: Comparison) -> list[Floats]:
    """Compute the measured rates of the whole field of view, s-1, of both models; NaN in other energy bins."""
    models = comparison.first, comparison.second
    return [
        np.where(model.exposed & ~model.extrapolated, mask_nonpositive(integral), np.nan)
        for model, integral in zip(models, comparison.plane_integrals(), strict=True)
    ]


def rate_limits(comparison: Comparison, state: ComparisonState) -> Range:
    """Choose automatic limits of the colours of both rates."""
    where = ... if state.limits == "all energies" else energy_bin(comparison.axes, state.energy)
    both = [model.rate.quantity.value[where].ravel() for model in (comparison.first, comparison.second)]
    return choose_limits(np.concatenate(both), state.stretch, state.percentile)


def compared_limits(comparison: Comparison, state: ComparisonState) -> Range:
    """Choose limits of the colours of ratio, difference or pull, symmetric about the neutral value."""
    neutral = NEUTRAL[state.show]
    if state.span is not None:
        logarithmic = neutral == 1 and state.stretch == "log"
        return symmetric_limits(neutral, float(np.log1p(state.span)) if logarithmic else state.span, state.stretch)
    values = _compared_values(comparison, state.show)
    if state.limits != "all energies":
        values = values[energy_bin(comparison.axes, state.energy)]
    return choose_limits(values, state.stretch, state.percentile, neutral)


def _compared_values(comparison: Comparison, show: Show) -> Floats:
    """Compute the ratio, difference or pull in each bin; NaN at energies at which a model has no livetime."""
    if show == "difference":
        values = comparison.second.rate.quantity.value - comparison.first.rate.quantity.value
    else:
        values = comparison.ratio if show == "ratio" else comparison.pull
    return np.where(comparison.exposed[:, None, None], values, np.nan)


def _ratio_label(labels: Labels) -> str:
    return f"{labels[1]} / {labels[0]}"


def _describe_spectra(
    comparison: Comparison, position: Position, pair: tuple[Spectrum, Spectrum], labels: Labels, where: int
) -> str:
    ratio, error = (values[where] for values in spectra_ratio(comparison, *pair))
    rates = " and ".join(
        f"{label} {format_value(line.rate[where], line.error[where])}" for label, line in zip(labels, pair, strict=True)
    )
    unknown = "" if comparison.independent else " (error unknown, because the models share runs)"
    indices = " and ".join(map(index_with_error, pair))
    at = bin_label(comparison.axes, *pixel(comparison.axes, position))
    return f"At {at}: {rates} {RATE_LABEL}, ratio {format_value(ratio, error)}{unknown}; spectral indices {indices}."


def _describe_spread(values: Floats, neutral: float) -> str:
    values = values[np.isfinite(values)]
    if not values.size:
        return "no bin has a value."
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
        title = f"Pulls of {format_count(len(pulls), 'bin')}\nmean {pulls.mean():.3f}, width {pulls.std():.3f}"
        title += f", {outside} outside the axis" if outside else ""
    else:
        title = f"No pulls: {comparison.no_pulls}"
    curve = Series("standard normal distribution" if pulls.size else "", bars.x, normal, "dotted", "#888888")
    ranges = (-5.0, 5.0), axis_range(bars.y, normal, zero=True)
    return Graph(title, "difference / error", "bins", (bars, curve), *ranges)
