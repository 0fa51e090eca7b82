"""Views of two models: side by side, their ratio, difference and pull, spectra and their ratios."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from bgnb.arrays import Floats
from bgnb.compare import MIN_EXPECTED, Comparison, Normalise
from bgnb.profiles import Spectrum
from bgnb.shown import LINES, RATE_LABEL, energy_label, hidden, index_label, index_words, measured_planes, spectra_ratio
from bgnb.views.colours import Colours, around, choose_limits, counted, number
from bgnb.views.cubes import CubeState, energy_bin, image_of, pixel, place_of
from bgnb.views.view import Graph, Panel, Series, View, span

Show = Literal["ratio", "difference", "pull"]
Labels = tuple[str, str]

#: Values that mean that the two are the same.
NEUTRAL = {"ratio": 1.0, "difference": 0.0, "pull": 0.0}

_UNITS = {"difference": RATE_LABEL, "pull": "difference / error"}
_FIRST, _SECOND = LINES[0], LINES[1]


@dataclass(frozen=True)
class ComparisonState(CubeState):
    """What is shown: that of `CubeState`, and how the two are compared."""

    show: Show = "ratio"
    normalise: Normalise = "none"
    span: float | None = None


def comparison_view(
    comparison: Comparison,
    state: ComparisonState,
    labels: Labels,
    group: str,
    positions: Sequence[tuple[float, float]] | None = None,
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
    positions : sequence of pair of float, optional
        DETX and DETY, deg, of the spectra; by default that of the state.
    """
    axes = comparison.axes
    where = energy_bin(axes, state.energy)
    pixels = [pixel(axes, position) for position in positions or (state.position,)]
    energies = energy_label(axes, where)
    low, high = (state.low, state.high) if state.limits == "by hand" else rate_limits(comparison, state)
    colours = Colours(state.palette, state.stretch, low, high)  # type: ignore[arg-type]
    panels: dict[str, Panel] = {}
    for name, model, label in zip(("first", "second"), (comparison.first, comparison.second), labels, strict=True):
        rate = model.rate.quantity.value[where]
        word = ", extrapolated" * bool(model.extrapolated[where])
        panels[name] = image_of(axes, pixels, rate, f"{label}, {energies}{word}", RATE_LABEL, colours)
    values = _values(comparison, state.show)[where]
    diverging = Colours("diverging", state.stretch, *compared_limits(comparison, state), NEUTRAL[state.show])
    unit = _over(labels) if state.show == "ratio" else _UNITS[state.show]
    panels["compared"] = image_of(axes, pixels, values, f"{state.show.capitalize()}, {energies}", unit, diverging)
    lines = [
        f"Group {group}. {labels[1]} against {labels[0]}, the reference, normalised: {state.normalise}.",
        f"{state.show.capitalize()} at {energies}: {_spread(values, NEUTRAL[state.show])}",
    ]
    for count, (iy, ix) in enumerate(pixels, start=1):
        suffix = f" {count}" * (count > 1)
        pair = comparison.spectra(axes.detx_centers[ix], axes.dety_centers[iy])
        place = place_of(axes, iy, ix)
        panels[f"spectra{suffix}"] = _spectra(comparison, pair, labels, place, where)
        panels[f"ratios{suffix}"] = _ratios(comparison, pair, labels, place, where)
        lines.append(f"At {place}: {_at_position(comparison, pair, labels, where)}")
    panels["pulls"] = _pulls(comparison)
    if not comparison.exposed[where]:
        lines.append("At this energy not both models were exposed, so that there is nothing to compare.")
    return View(f"Group {state.group_id}, {state.show} at {energies}", "\n".join(lines), panels)


def planes_graph(comparison: Comparison, labels: Labels, energy: float) -> Graph:
    """Events per second in the whole field of view against energy, with an energy marked."""
    edges, energies = comparison.axes.energy.value, comparison.axes.energy_centers.value
    first, second = measured_planes(comparison)
    series = Series(labels[0], energies, first, "line", _FIRST), Series(labels[1], energies, second, "points", _SECOND)
    ranges = (edges[0], edges[-1]), span(first, second, log=True)
    words = "Whole field of view", "energy / TeV", "events per s and bin"
    return Graph(*words, series, *ranges, x_log=True, y_log=True, band=_band(comparison, energy_bin(comparison.axes, energy)))


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


def _band(comparison: Comparison, where: int) -> tuple[float, float]:
    low, high = comparison.axes.energy.value[where : where + 2]
    return float(low), float(high)


def _at_position(comparison: Comparison, pair: tuple[Spectrum, Spectrum], labels: Labels, where: int) -> str:
    rates = " and ".join(
        f"{label} {number(line.rate[where])}" + (f" ± {number(line.error[where])}" if line.error[where] > 0 else "")
        for label, line in zip(labels, pair, strict=True)
    )
    ratio, error = (values[where] for values in spectra_ratio(comparison, *pair))
    words = f"{rates} {RATE_LABEL}, ratio {number(ratio)}" + (f" ± {number(error)}" if error > 0 else "")
    words += "" if comparison.independent else " (its error is not known, as they share runs)"
    return f"{words}; spectral indices {' and '.join(index_words(line) for line in pair)}."


def _spectra(comparison: Comparison, pair: tuple[Spectrum, Spectrum], labels: Labels, place: str, where: int) -> Graph:
    edges = comparison.axes.energy.value
    series, shown = [], []
    models = (comparison.first, comparison.second)
    for line, model, label, colour in zip(pair, models, labels, (_FIRST, _SECOND), strict=True):
        series.append(Series("", line.energy, hidden(line.rate), "outline", colour))  # also what is extrapolated
        rate = np.where(model.extrapolated, np.nan, hidden(line.rate))
        low, high = rate - line.error, rate + line.error
        series.append(Series(f"{label}, {index_label(line)}", line.energy, rate, "line", colour, low, high, edges))
        shown.append(rate)
    ranges = (edges[0], edges[-1]), span(*shown, log=True)
    words = f"Rates at {place}", "energy / TeV", RATE_LABEL
    return Graph(*words, tuple(series), *ranges, x_log=True, y_log=True, band=_band(comparison, where))


def _ratios(comparison: Comparison, pair: tuple[Spectrum, Spectrum], labels: Labels, place: str, where: int) -> Graph:
    edges = comparison.axes.energy.value
    ratio, error = spectra_ratio(comparison, *pair)
    one = Series("", edges[[0, -1]], np.ones(2), "outline", "#888888")
    points = Series("", pair[0].energy, ratio, "points", _SECOND, ratio - error, ratio + error)
    known = ratio[error < 0.5] if np.any(error < 0.5) else ratio
    half = 1.3 * float(np.max(np.abs(known[np.isfinite(known)] - 1), initial=0.2))
    ranges = (edges[0], edges[-1]), (1 - half, 1 + half)
    words = f"Ratio at {place}", "energy / TeV", _over(labels)
    return Graph(*words, (one, points), *ranges, x_log=True, band=_band(comparison, where))


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
    centres, width = (edges[1:] + edges[:-1]) / 2, edges[1] - edges[0]
    counts, _ = np.histogram(pulls, edges)
    normal = len(pulls) * width * np.exp(-(centres**2) / 2) / np.sqrt(2 * np.pi)
    if pulls.size:
        beyond = len(pulls) - counts.sum()
        title = f"Pulls of {counted(len(pulls), 'bin')}: mean {pulls.mean():.3f}, width {pulls.std():.3f}"
        title += f"\n{beyond} beyond the axis" if beyond else ""
    elif not comparison.independent:
        title = "No pulls: the models share runs"
    else:
        title = f"No pulls: nowhere {MIN_EXPECTED} counts expected"
    series = (
        Series("bins of the cube" if pulls.size else "", centres, counts.astype(float), "bars", _SECOND, edges=edges),
        Series("if only chance differs" if pulls.size else "", centres, normal, "dotted", "#888888"),
    )
    ranges = (-5.0, 5.0), span(counts, normal, zero=True)
    return Graph(title, "difference / error", "bins", series, *ranges)
