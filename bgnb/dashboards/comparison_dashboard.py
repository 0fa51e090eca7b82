"""Dashboard of two directories of models: images, their ratio, difference or pull, spectra."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from astropy import units as u

from bgnb.cubes.compare import Comparison, compare
from bgnb.cubes.cube import CubeAxes
from bgnb.dashboards.cube_dashboard import CubeDashboard
from bgnb.dashboards.dashboard import Control, number_box
from bgnb.files.model_directory import KEPT, ModelDirectory, checked_group, checked_labels, common_groups
from bgnb.plots.comparison_views import NEUTRAL, ComparisonState, comparison_view, rate_limits
from bgnb.plots.view import View


class ComparisonDashboard(CubeDashboard):
    """See `bgnb.dashboards.compare_models`."""

    State = ComparisonState
    kind = "comparison"
    function = "compare_models"
    coloured = "first"
    energy_panels = ("spectra", "ratios")
    rows = (("group_id", "show", "normalise"), CubeDashboard.rows[0], (*CubeDashboard.rows[1], "span"))

    def __init__(self, first: ModelDirectory, second: ModelDirectory, labels: tuple[str, str], state: ComparisonState) -> None:
        self._labels = labels
        self._compared = lru_cache(KEPT)(
            lambda group_id, normalise: compare(first.read(group_id), second.read(group_id), normalise)
        )
        arguments = [repr(str(models.path)) for models in (first, second)]
        if labels != checked_labels(None, first.path, second.path):
            arguments.append(f"labels={labels!r}")
        super().__init__(state, {group_id: first.label(group_id) for group_id in common_groups(first, second)}, arguments)

    def comparison(self, state: ComparisonState) -> Comparison:
        """Compare the two models of a state."""
        return self._compared(state.group_id, state.normalise)

    def axes_of(self, state: Any) -> CubeAxes:
        return self.comparison(state).axes

    def settle(self, state: ComparisonState) -> ComparisonState:
        group_id = checked_group(state.group_id, list(self._groups), "the directories do not share a group")
        return super().settle(replace(state, group_id=group_id))

    def automatic_limits(self, state: ComparisonState) -> tuple[float, float]:
        return rate_limits(self.comparison(state), state)

    def view_of(self, state: ComparisonState) -> View:
        group, limits = self._groups[state.group_id], self.colour_limits(state)
        return comparison_view(self.comparison(state), state, self._labels, group, limits)

    def controls(self) -> dict[str, Control]:
        def show_span(state: ComparisonState) -> dict[str, Any]:
            return {"value": float(f"{self.shown_limits('compared')[1] - NEUTRAL[state.show]:.4g}")}

        return super().controls() | {"span": number_box("around neutral, ±", show_span, lambda value: {"span": value})}

    def update(self, **changes: Any) -> bool:
        if any(changes.get(name, old := getattr(self, name)) != old for name in ("show", "stretch", "percentile")):
            changes = {"span": None} | changes  # the span of another comparison is useless
        return super().update(**changes)


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
    """Compare two directories of models: images, ratio, difference, pull, spectra.

    Tap in an image to choose a position, in a graph against energy to choose an energy. All
    arguments but the first two and ``labels`` are controls, and attributes of the widget.

    Parameters
    ----------
    dir1, dir2 : path
        Directories of models; the first is the reference, for instance of true models.
    group_id : int, optional
        Group; by default the group with most counts in the second directory.
    show : {"ratio", "difference", "pull"}
        Second over first, second minus first, or the difference over its statistical
        error, see `Comparison`.
    normalise : {"none", "cube", "plane"}
        Scaling of the second model, see `bgnb.compare`.
    energy, position, stretch, limits, percentile, low, high : as in `explore_models`
        Limits are those of both rates.
    span : float, optional
        Limits of ratio, difference or pull by hand, as distance from the neutral value.
    palette : {"viridis", "cividis"}
        Colours of the rates.
    labels : pair of str, optional
        Names of the models; by default those of the directories.

    Returns
    -------
    ComparisonDashboard
        A widget, see `Dashboard`.

    Raises
    ------
    BgnbError
        If a directory contains no models, the directories have no group in common or define
        groups differently, or an argument is invalid.
    """
    first, second = ModelDirectory(dir1), ModelDirectory(dir2)
    names = checked_labels(labels, first.path, second.path)
    common = common_groups(first, second)
    if group_id is None:
        group_id = second.checked(None) if second.checked(None) in common else common[0]
    state = ComparisonState.from_arguments(
        group_id=group_id, show=show, normalise=normalise, energy=energy, position=position, stretch=stretch, limits=limits,
        percentile=percentile, low=low, high=high, span=span, palette=palette,
    )  # fmt: skip
    return ComparisonDashboard(first, second, names, state)
