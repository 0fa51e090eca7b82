"""The dashboard of two directories of models: side by side, their ratio, difference and pull."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from astropy import units as u

from bgnb.compare import Comparison, Floats, Normalise, Spectrum, compare
from bgnb.comparisons import MIN_EXPECTED, check_groups, common_groups, labels_of
from bgnb.cube import CubeAxes
from bgnb.dashboards.cubes import CubeDashboard, CubeState, energy_bin, finite_number, image_of, pixel, place_of
from bgnb.dashboards.dashboard import Control, choice, number_box, row
from bgnb.errors import BgnbError
from bgnb.figures import LINES, RATE_LABEL, energy_label, hidden, index_label, index_words, spectra_ratio
from bgnb.modelset import KEPT, ModelSet, one_of
from bgnb.views.colours import Colours, around, check_choice, choose_limits, counted, number
from bgnb.views.view import Graph, Image, Series, View, span

Show = Literal["ratio", "difference", "pull"]

_NEUTRAL = {"ratio": 1.0, "difference": 0.0, "pull": 0.0}
_UNITS = {"difference": RATE_LABEL, "pull": "difference / error"}
_FIRST, _SECOND = LINES[0], LINES[1]


@dataclass(frozen=True)
class ComparisonState(CubeState):
    """What `compare_models` shows: that of `CubeState`, and how the two are compared."""

    show: Show = "ratio"
    normalise: Normalise = "none"
    span: float | None = None


class ComparisonDashboard(CubeDashboard):
    """See `bgnb.dashboards.compare_models`."""

    State = ComparisonState
    kind = "comparison"
    with_energy = ("spectra", "ratios")

    def __init__(self, first: ModelSet, second: ModelSet, labels: tuple[str, str], state: ComparisonState) -> None:
        self._sets, self._labels, self._ratio = (first, second), labels, f"{labels[1]} / {labels[0]}"
        self._group_ids = common_groups(first.path, first.group_ids, second.path, second.group_ids)
        self._compared = lru_cache(KEPT)(
            lambda group_id, normalise: compare(first.read(group_id), second.read(group_id), normalise)
        )
        super().__init__(state)

    def comparison(self, state: ComparisonState) -> Comparison:
        """The two models of a state, compared."""
        return self._compared(state.group_id, state.normalise)

    def axes_of(self, state: Any) -> CubeAxes:
        return self.comparison(state).axes

    def settle(self, state: ComparisonState) -> ComparisonState:
        check_choice("show", state.show, Show)
        check_choice("normalise", state.normalise, Normalise)
        state = replace(state, group_id=one_of(state.group_id, self._group_ids, "the directories do not share a group"))
        if state.span is not None:
            state = replace(state, span=finite_number("span", state.span, ""))
            if not 1e-6 <= state.span <= 1e6:  # type: ignore[operator]
                raise BgnbError(f"span must be 1e-6 to 1e6, got {state.span}")
        return super().settle(state)

    def automatic_limits(self, state: ComparisonState) -> tuple[float, float]:
        comparison = self.comparison(state)
        where = ... if state.limits == "all energies" else energy_bin(comparison.axes, state)
        both = [model.rate.quantity.value[where].ravel() for model in (comparison.first, comparison.second)]
        return choose_limits(np.concatenate(both), state.stretch, state.percentile)

    def compared_limits(self, state: ComparisonState) -> tuple[float, float]:
        """Limits of the colours of ratio, difference or pull: symmetric about the neutral value."""
        neutral = _NEUTRAL[state.show]
        if state.span is not None:
            logarithm = neutral == 1 and state.stretch == "log"
            return around(neutral, float(np.log1p(state.span)) if logarithm else state.span, state.stretch)
        values = self._values(state)
        if state.limits != "all energies":
            values = values[energy_bin(self.axes_of(state), state)]
        return choose_limits(values, state.stretch, state.percentile, neutral)

    def _values(self, state: ComparisonState) -> Floats:
        """Ratio, difference or pull in each bin; not a number at energies at which one was not exposed."""
        comparison = self.comparison(state)
        if state.show == "difference":
            values = comparison.second.rate.quantity.value - comparison.first.rate.quantity.value
        else:
            values = comparison.ratio if state.show == "ratio" else comparison.pull
        return np.where(comparison.exposed[:, None, None], values, np.nan)

    def view_of(self, state: ComparisonState) -> View:
        comparison = self.comparison(state)
        axes = comparison.axes
        where, (iy, ix) = energy_bin(axes, state), pixel(axes, state)
        energies = energy_label(axes, where)
        colours = Colours(state.palette, state.stretch, *self.limits_of(state))
        panels: dict[str, Image | Graph] = {}
        for name, model, label in zip(("first", "second"), (comparison.first, comparison.second), self._labels, strict=True):
            rate = model.rate.quantity.value[where]
            word = ", extrapolated" * bool(model.extrapolated[where])
            panels[name] = image_of(axes, state, rate, f"{label}, {energies}{word}", RATE_LABEL, colours)
        values = self._values(state)[where]
        diverging = Colours("diverging", state.stretch, *self.compared_limits(state), _NEUTRAL[state.show])
        title = f"{state.show.capitalize()}, {energies}"
        unit = self._ratio if state.show == "ratio" else _UNITS[state.show]
        panels["compared"] = image_of(axes, state, values, title, unit, diverging)
        pair = comparison.spectra(axes.detx_centers[ix], axes.dety_centers[iy])
        place = place_of(axes, iy, ix)
        panels["spectra"] = self._spectra(comparison, pair, place, where)
        panels["ratios"] = self._ratios(comparison, pair, place, where)
        panels["pulls"] = _pulls(comparison)
        lines = [
            f"Group {self._sets[0].label(state.group_id)}. {self._labels[1]} against {self._labels[0]}, "
            f"the reference, normalised: {state.normalise}.",
            f"{state.show.capitalize()} at {energies}: {_spread(values, _NEUTRAL[state.show])}",
            f"At {place}: {self._at_position(comparison, pair, where)}",
        ]
        if not comparison.exposed[where]:
            lines.append("At this energy not both models were exposed, so that there is nothing to compare.")
        return View(f"Group {state.group_id}, {state.show} at {energies}", "\n".join(lines), panels)

    def _at_position(self, comparison: Comparison, pair: tuple[Spectrum, Spectrum], where: int) -> str:
        rates = " and ".join(
            f"{label} {number(line.rate[where])}" + (f" ± {number(line.error[where])}" if line.error[where] > 0 else "")
            for label, line in zip(self._labels, pair, strict=True)
        )
        ratio, error = (values[where] for values in spectra_ratio(comparison, *pair))
        words = f"{rates} {RATE_LABEL}, ratio {number(ratio)}" + (f" ± {number(error)}" if error > 0 else "")
        words += "" if comparison.independent else " (its error is not known, as they share runs)"
        return f"{words}; spectral indices {' and '.join(index_words(line) for line in pair)}."

    def _spectra(self, comparison: Comparison, pair: tuple[Spectrum, Spectrum], place: str, where: int) -> Graph:
        edges = comparison.axes.energy.value
        series, shown = [], []
        models = (comparison.first, comparison.second)
        for line, model, label, colour in zip(pair, models, self._labels, (_FIRST, _SECOND), strict=True):
            series.append(Series("", line.energy, hidden(line.rate), "outline", colour))  # also what is extrapolated
            rate = np.where(model.extrapolated, np.nan, hidden(line.rate))
            low, high = rate - line.error, rate + line.error
            series.append(Series(f"{label}, {index_label(line)}", line.energy, rate, "line", colour, low, high, edges))
            shown.append(rate)
        ranges = (edges[0], edges[-1]), span(*shown, log=True)
        band = (float(edges[where]), float(edges[where + 1]))
        title = f"Rates at {place}"
        return Graph(title, "energy / TeV", RATE_LABEL, tuple(series), *ranges, x_log=True, y_log=True, band=band)

    def _ratios(self, comparison: Comparison, pair: tuple[Spectrum, Spectrum], place: str, where: int) -> Graph:
        edges = comparison.axes.energy.value
        ratio, error = spectra_ratio(comparison, *pair)
        one = Series("", edges[[0, -1]], np.ones(2), "outline", "#888888")
        points = Series("", pair[0].energy, ratio, "points", _SECOND, ratio - error, ratio + error)
        known = ratio[error < 0.5] if np.any(error < 0.5) else ratio
        half = 1.3 * float(np.max(np.abs(known[np.isfinite(known)] - 1), initial=0.2))
        title = f"Ratio at {place}"
        ranges = (edges[0], edges[-1]), (1 - half, 1 + half)
        band = (float(edges[where]), float(edges[where + 1]))
        return Graph(title, "energy / TeV", self._ratio, (one, points), *ranges, x_log=True, band=band)

    def controls(self) -> dict[str, Control]:
        groups = [(self._sets[0].label(group_id), group_id) for group_id in self._group_ids]

        def spread(state: ComparisonState) -> dict[str, Any]:
            neutral, high = _NEUTRAL[state.show], self.compared_limits(state)[1]
            return {"value": float(f"{high - neutral:.4g}")}

        return {
            "group_id": choice("group_id", "group", groups),
            "show": choice("show", "compare by", list(get_args(Show)), radio=True),
            "normalise": choice("normalise", "normalise", list(get_args(Normalise))),
            **super().controls(),
            "span": number_box("around neutral, ±", spread, lambda value: {"span": value}),
        }

    def arranged(self) -> list[Any]:
        here = {name: control.widget for name, control in self._controls.items()}
        return [
            row(here["group_id"], here["show"], here["normalise"]),
            row(*self.energy_controls(), *self.position_controls()),
            row(*self.colour_controls(), here["span"]),
        ]

    def update(self, **changes: Any) -> None:
        asked = {"show", "stretch", "percentile"} & changes.keys()
        if any(changes[name] != getattr(self.state, name) for name in asked):
            changes = {"span": None} | changes  # that of another comparison means nothing
        super().update(**changes)

    @property
    def python(self) -> str:
        first, second = (models.path for models in self._sets)
        arguments = [repr(str(first)), repr(str(second))]
        if self._labels != labels_of(first.resolve(), second.resolve()):
            arguments.append(f"labels={self._labels!r}")
        return self.lines("compare_models", arguments, ComparisonState(group_id=-1))


def compare_models(
    dir1: str | Path,
    dir2: str | Path,
    *,
    group_id: int | None = None,
    show: str = "ratio",
    normalise: str = "none",
    energy: float | str | u.Quantity = 1.0,
    position: tuple[float, float] = (0.0, 0.0),
    stretch: str = "linear",
    limits: str = "this energy",
    percentile: float = 100.0,
    low: float | None = None,
    high: float | None = None,
    span: float | None = None,
    palette: str = "viridis",
    labels: tuple[str, str] | None = None,
) -> ComparisonDashboard:
    """Compare two directories of models: side by side, ratio, difference, pull, spectra.

    Tap in an image to choose a position, in a graph over energy to choose an energy. All
    arguments but the first two and ``labels`` are controls, and attributes of the widget.

    Parameters
    ----------
    dir1, dir2 : path
        Directories of models; the first is the reference, for instance the truth.
    group_id : int, optional
        The group; by default that with most counts in the second.
    show : {"ratio", "difference", "pull"}
        Second over first, second minus first, or the difference over its statistical
        error, see `Comparison`.
    normalise : {"none", "cube", "plane"}
        Scaling of the second, see `bgnb.compare`.
    energy, position, stretch, limits, percentile, low, high, palette
        As in `explore_models`; limits are those of both rates.
    span : float, optional
        Limits of ratio, difference or pull, by hand: this much on either side of the
        neutral value.
    labels : pair of str, optional
        Names of the two; by default those of the directories.

    Returns
    -------
    ComparisonDashboard
        A widget, see `Dashboard`.

    Raises
    ------
    BgnbError
        Where a directory holds no models, they have no group in common or define them
        differently, or an argument cannot be used.
    """
    first, second = ModelSet(dir1), ModelSet(dir2)
    check_groups(first.path, second.path)
    if labels is not None and (not isinstance(labels, tuple | list) or len(labels) != 2):
        raise BgnbError(f"labels must be the names of both, got {labels!r}")
    names = labels_of(first.path.resolve(), second.path.resolve()) if labels is None else (str(labels[0]), str(labels[1]))
    limits = "by hand" if low is not None or high is not None else limits
    common = common_groups(first.path, first.group_ids, second.path, second.group_ids)
    if group_id is None:  # that with most counts, if both have it
        group_id = second.checked(None) if second.checked(None) in common else common[0]
    state = ComparisonState(
        group_id, energy, position, stretch, limits, percentile, low, high, palette, show, normalise, span  # type: ignore[arg-type]
    )  # fmt: skip
    return ComparisonDashboard(first, second, names, state)


def _spread(values: Floats, neutral: float) -> str:
    values = values[np.isfinite(values)]
    if not values.size:
        return "no bin has a value."
    words = f"median {number(float(np.median(values)))}, 9 of 10 bins within "
    return words + f"{number(float(np.percentile(np.abs(values - neutral), 90)))} of {neutral:g}."


def _pulls(comparison: Comparison) -> Graph:
    """The distribution of pulls over the bins of the cube in which enough counts are expected."""
    pulls = comparison.pull[comparison.expected >= MIN_EXPECTED]
    pulls = pulls[np.isfinite(pulls)]
    edges = np.linspace(-5, 5, 41)
    centres, width = (edges[1:] + edges[:-1]) / 2, edges[1] - edges[0]
    counts, _ = np.histogram(pulls, edges)
    normal = len(pulls) * width * np.exp(-(centres**2) / 2) / np.sqrt(2 * np.pi)
    if pulls.size:
        beyond = len(pulls) - counts.sum()
        title = f"Pulls of {counted(len(pulls), 'bin')}: mean {pulls.mean():.3f}, width {pulls.std():.3f}"
        title += f"; {beyond} beyond" if beyond else ""
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
