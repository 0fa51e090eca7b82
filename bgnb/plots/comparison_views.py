"""Views of two models: side by side, their ratio, difference and pull, spectra and their ratios."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from bgnb._util.arrays import Floats
from bgnb._util.checks import finite_number
from bgnb._util.errors import BgnbError
from bgnb.cubes.compare import MIN_EXPECTED, Comparison, Normalise
from bgnb.cubes.profiles import Spectrum
from bgnb.plots.colours import LINES, Colours, around, choose_limits, line_colours
from bgnb.plots.cube_views import CubeState, energy_bin, energy_graph, image_of, pixel, place_of, rate_series
from bgnb.plots.labels import (
    RATE_LABEL,
    Position,
    counted,
    energy_label,
    index_words,
    measured_planes,
    number,
    place,
    spectra_ratio,
)
from bgnb.plots.view import Graph, Image, Series, View, histogram, span

Show = Literal["ratio", "difference", "pull"]
Labels = tuple[str, str]
#: Spectra of both at positions.
Spectra = Mapping[Position, tuple[Spectrum, Spectrum]]

#: Values that mean that the two are the same.
NEUTRAL = {"ratio": 1.0, "difference": 0.0, "pull": 0.0}

_UNITS = {"difference": RATE_LABEL, "pull": "difference / error"}
_FIRST, _SECOND, _BOTH = LINES[0], LINES[1], "#000000"


@dataclass(frozen=True)
class ComparisonState(CubeState):
    """What is shown: that of `CubeState`, and how the two are compared."""

    show: Show = "ratio"
    normalise: Normalise = "none"
    span: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.span is not None:
            self._set("span", finite_number("span", self.span))
            if not 1e-6 <= self.span <= 1e6:
                raise BgnbError(f"span must be 1e-6 to 1e6, got {self.span}")


def comparison_view(
    comparison: Comparison,
    state: ComparisonState,
    labels: Labels,
    group: str,
    limits: tuple[float, float],
    positions: Sequence[Position] | None = None,
) -> View:
    """Two models at an energy, and their spectra at positions.

    Parameters
    ----------
    comparison : `Comparison`
        The two, normalised as the state says.
    state : `ComparisonState`
        What is shown.
    labels : pair of str
        Names of the two.
    group : str
        The group in words.
    limits : tuple of float
        Rates of the first and the last colour, see `rate_limits`.
    positions : sequence of pair of float, optional
        DETX and DETY, deg, of the spectra; by default that of the state.
    """
    axes, positions = comparison.axes, positions or (state.position,)
    where = energy_bin(axes, state.energy)
    energies = energy_label(axes, where)
    images = comparison_images(comparison, state, labels, limits, positions)
    spectra = spectra_at(comparison, positions)
    graphs = spectra_graphs(comparison, labels, spectra, where) | {"pulls": _pulls(comparison)}
    lines = [
        f"Group {group}. {labels[1]} against {labels[0]}, the reference, normalised: {state.normalise}.",
        f"{state.show.capitalize()} at {energies}: {_spread(images['compared'].values, NEUTRAL[state.show])}",
        *(_at_position(comparison, position, pair, labels, where) for position, pair in spectra.items()),
    ]
    if not comparison.exposed[where]:
        lines.append("At this energy not both models were exposed, so that there is nothing to compare.")
    return View(f"Group {state.group_id}, {state.show} at {energies}", "\n".join(lines), {**images, **graphs})


def comparison_images(
    comparison: Comparison,
    state: ComparisonState,
    labels: Labels,
    limits: tuple[float, float],
    positions: Sequence[Position],
) -> dict[str, Image]:
    """Both rates at an energy, coloured between limits, and how they compare, with positions marked."""
    axes = comparison.axes
    where = energy_bin(axes, state.energy)
    pixels = [pixel(axes, position) for position in positions]
    energies = energy_label(axes, where)
    colours = Colours(state.palette, state.stretch, *limits)
    panels = {}
    for name, model, label in zip(("first", "second"), (comparison.first, comparison.second), labels, strict=True):
        rate = model.rate.quantity.value[where]
        word = ", extrapolated" * bool(model.extrapolated[where])
        panels[name] = image_of(axes, pixels, rate, f"{label}, {energies}{word}", RATE_LABEL, colours)
    diverging = Colours("diverging", state.stretch, *compared_limits(comparison, state), NEUTRAL[state.show])
    unit = _over(labels) if state.show == "ratio" else _UNITS[state.show]
    title = f"{state.show.capitalize()}, {energies}"
    return panels | {"compared": image_of(axes, pixels, _values(comparison, state.show)[where], title, unit, diverging)}


def spectra_at(comparison: Comparison, positions: Sequence[Position]) -> Spectra:
    """Spectra of both at the bins that hold positions, or the nearest."""
    axes = comparison.axes
    pixels = {position: pixel(axes, position) for position in positions}
    return {at: comparison.spectra(axes.detx_centers[ix], axes.dety_centers[iy]) for at, (iy, ix) in pixels.items()}


def spectra_graphs(comparison: Comparison, labels: Labels, spectra: Spectra, where: int | None = None) -> dict[str, Graph]:
    """Spectra of both at positions, and their ratios; of several positions each has its colour, and the second has points."""
    axes, several, half = comparison.axes, len(spectra) > 1, 0.2
    rates: list[Series] = []
    ratios = [Series("", axes.energy.value[[0, -1]], np.ones(2), "outline", "#888888")]
    for (position, pair), colour in zip(spectra.items(), line_colours(len(spectra)), strict=True):
        name = f" {place(*position)}" if several else ""
        first, second = (colour, colour) if several else (_FIRST, _SECOND)
        rates += rate_series(comparison.first, pair[0], labels[0] + name, first)
        rates += rate_series(comparison.second, pair[1], labels[1] + name, second, "points" if several else "line")
        ratio, error = spectra_ratio(comparison, *pair)
        ratios.append(Series(name.strip(), pair[0].energy, ratio, "points", second, ratio - error, ratio + error))
        known = ratio[error < 0.5] if np.any(error < 0.5) else ratio
        half = float(np.max(np.abs(known[np.isfinite(known)] - 1), initial=half))
    at = "" if several else f" at {place_of(axes, *pixel(axes, *spectra))}"
    ends = 1 - 1.3 * half, 1 + 1.3 * half
    return {
        "spectra": energy_graph(axes.energy.value, f"Rates{at}", RATE_LABEL, rates, where),
        "ratios": energy_graph(axes.energy.value, f"Ratio{at}", _over(labels), ratios, where, ends),
    }


def planes_graph(comparison: Comparison, labels: Labels, energy: float | None = None) -> Graph:
    """Events per second in the whole field of view against energy, with an energy marked."""
    axes, (first, second) = comparison.axes, measured_planes(comparison)
    energies = axes.energy_centers.value
    series = Series(labels[0], energies, first, "line", _BOTH), Series(labels[1], energies, second, "points", _BOTH)
    where = None if energy is None else energy_bin(axes, energy)
    return energy_graph(axes.energy.value, "Whole field of view", "events per s and bin", series, where)


def rate_limits(comparison: Comparison, state: ComparisonState) -> tuple[float, float]:
    """Limits of the colours of both rates that are not set by hand."""
    where = ... if state.limits == "all energies" else energy_bin(comparison.axes, state.energy)
    both = [model.rate.quantity.value[where].ravel() for model in (comparison.first, comparison.second)]
    return choose_limits(np.concatenate(both), state.stretch, state.percentile)


def compared_limits(comparison: Comparison, state: ComparisonState) -> tuple[float, float]:
    """Limits of the colours of ratio, difference or pull: symmetric about the neutral value."""
    neutral = NEUTRAL[state.show]
    if state.span is not None:
        logarithm = neutral == 1 and state.stretch == "log"
        return around(neutral, float(np.log1p(state.span)) if logarithm else state.span, state.stretch)
    values = _values(comparison, state.show)
    if state.limits != "all energies":
        values = values[energy_bin(comparison.axes, state.energy)]
    return choose_limits(values, state.stretch, state.percentile, neutral)


def _values(comparison: Comparison, show: Show) -> Floats:
    """Ratio, difference or pull in each bin; not a number at energies at which one was not exposed."""
    if show == "difference":
        values = comparison.second.rate.quantity.value - comparison.first.rate.quantity.value
    else:
        values = comparison.ratio if show == "ratio" else comparison.pull
    return np.where(comparison.exposed[:, None, None], values, np.nan)


def _over(labels: Labels) -> str:
    return f"{labels[1]} / {labels[0]}"


def _at_position(
    comparison: Comparison, position: Position, pair: tuple[Spectrum, Spectrum], labels: Labels, where: int
) -> str:
    rates = " and ".join(
        f"{label} {number(line.rate[where])}" + (f" ± {number(line.error[where])}" if line.error[where] > 0 else "")
        for label, line in zip(labels, pair, strict=True)
    )
    ratio, error = (values[where] for values in spectra_ratio(comparison, *pair))
    words = f"{rates} {RATE_LABEL}, ratio {number(ratio)}" + (f" ± {number(error)}" if error > 0 else "")
    words += "" if comparison.independent else " (its error is not known, as they share runs)"
    where_words = place_of(comparison.axes, *pixel(comparison.axes, position))
    return f"At {where_words}: {words}; spectral indices {' and '.join(index_words(line) for line in pair)}."


def _spread(values: Floats, neutral: float) -> str:
    values = values[np.isfinite(values)]
    if not values.size:
        return "no bin has a value."
    words = f"median {number(float(np.median(values)))}, 9 of 10 bins within "
    return words + f"{number(float(np.percentile(np.abs(values - neutral), 90)))} of {neutral:g}."


def _pulls(comparison: Comparison) -> Graph:
    """The distribution of pulls over the bins of the cube in which enough counts are expected."""
    pulls = comparison.pulls
    edges = np.linspace(-5, 5, 41)
    bars = histogram("bins of the cube" if pulls.size else "", pulls, edges, _SECOND)
    centres, counts, width = bars.x, bars.y, edges[1] - edges[0]
    normal = len(pulls) * width * np.exp(-(centres**2) / 2) / np.sqrt(2 * np.pi)
    if pulls.size:
        beyond = len(pulls) - int(counts.sum())
        title = f"Pulls of {counted(len(pulls), 'bin')}\nmean {pulls.mean():.3f}, width {pulls.std():.3f}"
        title += f", {beyond} beyond the axis" if beyond else ""
    elif not comparison.independent:
        title = "No pulls: the models share runs"
    else:
        title = f"No pulls: nowhere {MIN_EXPECTED} counts expected"
    chance = Series("if only chance differs" if pulls.size else "", centres, normal, "dotted", "#888888")
    ranges = (-5.0, 5.0), span(counts, normal, zero=True)
    return Graph(title, "difference / error", "bins", (bars, chance), *ranges)
