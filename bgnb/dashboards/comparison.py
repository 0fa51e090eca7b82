"""The dashboard of two directories of models: side by side, their ratio, difference and pull."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, get_args

from astropy import units as u

from bgnb.cubes.compare import Comparison, Normalise, compare
from bgnb.cubes.cube import CubeAxes
from bgnb.dashboards.cubes import CubeDashboard
from bgnb.dashboards.dashboard import Control, choice, number_box, row
from bgnb.files.model_directory import KEPT, ModelDirectory, checked_group, checked_labels, common_groups
from bgnb.plots.comparison_views import NEUTRAL, ComparisonState, Show, comparison_view, rate_limits
from bgnb.plots.cube_views import shown_limits
from bgnb.plots.view import View


class ComparisonDashboard(CubeDashboard):
    """See `bgnb.dashboards.compare_models`."""

    State = ComparisonState
    kind = "comparison"
    coloured = "first"
    with_energy = ("spectra", "ratios")

    def __init__(self, first: ModelDirectory, second: ModelDirectory, labels: tuple[str, str], state: ComparisonState) -> None:
        self._sets, self._labels = (first, second), labels
        self._group_ids = common_groups(first, second)
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
        group_id = checked_group(state.group_id, self._group_ids, "the directories do not share a group")
        return super().settle(replace(state, group_id=group_id))

    def automatic_limits(self, state: ComparisonState) -> tuple[float, float]:
        return rate_limits(self.comparison(state), state)

    def view_of(self, state: ComparisonState) -> View:
        group, limits = self._sets[0].label(state.group_id), shown_limits(state, self.automatic_limits)
        return comparison_view(self.comparison(state), state, self._labels, group, limits)

    def controls(self) -> dict[str, Control]:
        groups = [(self._sets[0].label(group_id), group_id) for group_id in self._group_ids]

        def spread(state: ComparisonState) -> dict[str, Any]:
            high = self.colours_of(state, "compared")[1]
            return {"value": float(f"{high - NEUTRAL[state.show]:.4g}")}

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

    def update(self, **changes: Any) -> bool:
        asked = {"show", "stretch", "percentile"} & changes.keys()
        if any(changes[name] != getattr(self.state, name) for name in asked):
            changes = {"span": None} | changes  # that of another comparison means nothing
        return super().update(**changes)

    @property
    def python(self) -> str:
        first, second = (models.path for models in self._sets)
        arguments = [repr(str(first)), repr(str(second))]
        if self._labels != checked_labels(None, first, second):
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
    energy, position, stretch, limits, percentile, low, high : as in `explore_models`
        Limits are those of both rates.
    span : float, optional
        Limits of ratio, difference or pull, by hand: this much on either side of the
        neutral value.
    palette : {"viridis", "cividis"}
        Colours of the rates.
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
    first, second = ModelDirectory(dir1), ModelDirectory(dir2)
    names = checked_labels(labels, first.path, second.path)
    limits = "by hand" if low is not None or high is not None else limits
    common = common_groups(first, second)
    if group_id is None:  # that with most counts, if both have it
        group_id = second.checked(None) if second.checked(None) in common else common[0]
    state = ComparisonState(
        group_id, energy, position, stretch, limits, percentile, low, high, palette, show, normalise, span  # type: ignore[arg-type]
    )  # fmt: skip
    return ComparisonDashboard(first, second, names, state)
