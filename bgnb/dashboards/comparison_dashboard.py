"""Dashboard of two directories of models: images, their ratio, difference or pull, spectra and profiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from bgnb._util.reading import Stamp
from bgnb.cubes.compare import Comparison, compare
from bgnb.cubes.cube import CubeAxes
from bgnb.dashboards.controls import Control, check_box, number_box
from bgnb.dashboards.cube_dashboard import CubeDashboard
from bgnb.dashboards.live_figures import Action
from bgnb.dashboards.play_button import PlayButton
from bgnb.files.model_directory import KEPT, ModelDirectory, checked_labels, common_groups
from bgnb.plots.comparison_state import NEUTRAL, ComparisonState
from bgnb.plots.comparison_views import comparison_view, rate_limits
from bgnb.plots.cube_state import Energy, Shown, energy_edges
from bgnb.plots.view import View


class ComparisonDashboard(CubeDashboard):
    """See `bgnb.dashboards.compare_models`."""

    State = ComparisonState
    kind = "comparison"
    function = "compare_models"
    coloured = "first"
    energy_panels = ("spectra", "ratios")
    selecting = energy_panels
    bar = ("group_id", "bins", "previous", "play", "next", "energies", "show", "against")
    drawer: Mapping[str, tuple[str, ...]] = {
        "Groups": ("others", "all_groups", "one_group", "normalise"),
        "Images": ("contours", "blink"),
        "Position or region": ("detx", "dety", "region", "draw"),
        "Energies": ("first_energy", "last_energy"),
        "Colours": ("stretch", "limits", "percentile", "low", "high", "span", "palette"),
    }
    # The span of another comparison is useless.
    resets = (*CubeDashboard.resets, (("show", "percentile"), {"span": None}))

    def __init__(self, first: ModelDirectory, second: ModelDirectory, labels: tuple[str, str], state: ComparisonState) -> None:
        self._labels = labels
        groups = {group_id: first.label(group_id) for group_id in common_groups(first, second)}
        self._directories = first, second
        # The stamps are those of the files, which may be replaced.
        self._compared = lru_cache(len(groups) + KEPT)(
            lambda group_id, normalise, stamps: compare(first.read(group_id), second.read(group_id), normalise)
        )
        self._parts = lru_cache(64)(lambda pair, edges: self._compared(*pair).in_energies(*edges))
        self._all_limits = lru_cache(64)(
            lambda pair, stretch, percentile: rate_limits(self._compared(*pair), stretch, percentile)
        )
        arguments = [repr(str(models.path)) for models in (first, second)]
        if labels != checked_labels(None, first.path, second.path):
            arguments.append(f"labels={labels!r}")
        super().__init__(state, groups, arguments)

    def comparison(self, state: ComparisonState) -> Comparison:
        """Compare the two models of a state."""
        return self._compared(*self._pair(state.group_id, state))

    def _pair(self, group_id: int, state: ComparisonState) -> tuple[int, str, tuple[Stamp, ...]]:
        """Identify the comparison of a group."""
        return group_id, state.normalise, tuple(directory.stamp(group_id) for directory in self._directories)

    def axes_of(self, state: Any) -> CubeAxes:
        return self.comparison(state).axes

    def _shown(self, group_id: int, state: ComparisonState) -> Shown[Comparison]:
        whole = self._compared(*(pair := self._pair(group_id, state)))
        return Shown(whole=whole, part=self._parts(pair, energy_edges(whole.axes, state.energy)))

    def automatic_limits(self, state: ComparisonState) -> tuple[float, float]:
        if state.limits == "all energies":
            return self._all_limits(self._pair(state.group_id, state), state.stretch, state.percentile)
        return rate_limits(self._shown(state.group_id, state).part, state.stretch, state.percentile)

    def view_of(self, state: ComparisonState) -> View:
        shown = {group_id: self._shown(group_id, state) for group_id in (state.group_id, *state.further)}
        return comparison_view(shown, state, self._labels, self._groups[state.group_id], self.colour_limits(state))

    def act(self, action: Action) -> None:
        against, x = self.state.against, action["x"]
        if action["panel"] not in self.energy_panels or against == "energy":
            super().act(action)
        elif action["kind"] == "tap" and x is not None and against in ("DETX", "DETY"):
            at_x, at_y = self.state.position
            self.update(position=self._inside(x, at_y) if against == "DETX" else self._inside(at_x, x))

    def controls(self) -> dict[str, Control]:
        def show_span(state: ComparisonState) -> dict[str, Any]:
            return {"value": float(f"{self.shown_limits('compared')[1] - NEUTRAL[state.show]:.4g}")}

        def swap() -> bool:
            return self.attempt(lambda: self.update(swap=not self.state.swap))

        return super().controls() | {
            "span": number_box("around neutral, ±", show_span, lambda value: {"span": value}),
            "contours": check_box("contours", "contours of the other model"),
            "blink": Control(widget=PlayButton(swap, "blink between the models", "blink", 700)),
        }


def compare_models(
    dir1: str | Path,
    dir2: str | Path,
    *,
    group_id: int | None = None,
    others: Sequence[int] | str = (),
    show: str = "ratio",
    against: str = "energy",
    normalise: str = "none",
    energy: Energy | tuple[Energy, Energy] = 1.0,
    position: tuple[float, float] = (0.0, 0.0),
    region: str = "",
    stretch: str = "linear",
    limits: str = "this energy",
    percentile: float = 100.0,
    low: float | None = None,
    high: float | None = None,
    span: float | None = None,
    palette: str = "viridis",
    contours: bool = False,
    swap: bool = False,
    draw: str = "nothing",
    labels: tuple[str, str] | None = None,
) -> ComparisonDashboard:
    """Compare two directories of models: images, ratio, difference, pull, spectra, profiles.

    Tap in an image to choose a position, in a graph against energy to choose an energy. All
    arguments but the first two and ``labels`` are controls, and attributes of the widget.

    Parameters
    ----------
    dir1, dir2 : path
        Directories of models; the first is the reference, for instance of true models.
    group_id : int, optional
        Group; by default the group with most counts in the second directory.
    others : sequence of int or "all"
        Further groups, whose ratios are drawn in the graph of the ratio.
    show : {"ratio", "difference", "pull"}
        Second over first, second minus first, or the difference over its statistical
        error, see `Comparison`.
    against : {"energy", "offset", "DETX", "DETY"}
        Quantity against which rates and their ratio are drawn.
    normalise : {"none", "cube", "plane"}
        Scaling of the second model, see `bgnb.compare`.
    energy, position, region, stretch, limits, percentile, low, high : as in `explore_models`
        Limits are those of both rates.
    span : float, optional
        Limits of ratio, difference or pull by hand, as distance from the neutral value.
    palette : {"viridis", "cividis"}
        Colours of the rates.
    contours : bool
        Draw contours of the other model in the image of each, and of the first in the comparison.
    swap : bool
        Exchange the images of the two models. The button *blink* does so at regular times.
    draw : {"nothing", "circle", "annulus", "box"}
        Region that dragging in an image draws.
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

    Examples
    --------
    >>> import bgnb
    >>> report = bgnb.make_bg_cube_models("runs", "GADF", "coarse", select="all", method="classic", n_energy=5, n_fov=10)
    >>> dashboard = bgnb.dashboards.compare_models("models", "coarse", normalise="cube")
    >>> dashboard.show = "difference"
    >>> print(dashboard.python)
    import bgnb
    <BLANKLINE>
    bgnb.dashboards.compare_models('models', 'coarse', group_id=27, show='difference', normalise='cube')
    """
    first, second = ModelDirectory(dir1), ModelDirectory(dir2)
    names = checked_labels(labels, first.path, second.path)
    common = common_groups(first, second)
    if group_id is None:
        counts = second.counts
        if not any(counts[group] for group in common):  # those of true models
            counts = first.counts
        group_id = max(common, key=counts.__getitem__)
    state = ComparisonState.from_arguments(
        group_id=group_id, others=common if others == "all" else others, show=show, against=against, normalise=normalise,
        energy=energy, position=position, region=region, stretch=stretch, limits=limits, percentile=percentile, low=low,
        high=high, span=span, palette=palette, contours=contours, swap=swap, draw=draw,
    )  # fmt: skip
    return ComparisonDashboard(first, second, names, state)
