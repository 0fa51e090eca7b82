"""Dashboard of a directory of models: images at energies, spectra, profiles, and the rate against the zenith angle."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from bgnb._util.arrays import Floats
from bgnb._util.errors import BgnbError
from bgnb.cubes.cube import CubeAxes
from bgnb.cubes.energy_range import in_energies
from bgnb.cubes.model import BackgroundModel
from bgnb.cubes.spline import SplineModel
from bgnb.dashboards.cube_dashboard import CubeDashboard
from bgnb.dashboards.live_figures import Action
from bgnb.files.model_directory import ModelDirectory
from bgnb.files.spline_file import SPLINE_FILE, read_spline
from bgnb.plots.colours import LINES, choose_limits
from bgnb.plots.cube_state import Energy, Shown, energy_edges, through_energies, weights_of
from bgnb.plots.model_views import GroupsOverview, ModelState, limits_of, model_view, quantity_of
from bgnb.plots.pointing_map import group_at
from bgnb.plots.view import Curve, Dash, View

# Number of zenith angles of the curve of a spline.
_ZENITHS = 16


class ModelDashboard(CubeDashboard):
    """See `bgnb.dashboards.explore_models`."""

    State = ModelState
    kind = "models"
    function = "explore_models"
    coloured = "image"
    energy_panels = ("spectrum",)
    selecting = ("spectrum",)
    bar = ("group_id", "bins", "previous", "play", "next", "energies", "quantity")
    drawer: Mapping[str, tuple[str, ...]] = {
        "Groups": ("others", "all_groups", "one_group", "colour_by"),
        "Position or region": ("detx", "dety", "region", "draw"),
        "Energies": ("first_energy", "last_energy"),
        "Colours": ("stretch", "limits", "percentile", "low", "high", "palette"),
    }

    resets = (*CubeDashboard.resets, (("quantity",), {"low": None, "high": None}))

    def __init__(self, models: ModelDirectory, state: ModelState) -> None:
        self._models = models
        #: Model of a group between two edges of the energy axis; the stamp is that of its file, which may be replaced.
        self._part = lru_cache(256)(lambda group_id, stamp, first, last: in_energies(models.read(group_id), first, last))
        self._all_limits = lru_cache(64)(
            lambda group_id, stamp, quantity, stretch, percentile: choose_limits(
                quantity_of(models.read(group_id), quantity), stretch, percentile
            )
        )
        super().__init__(state, {group_id: models.label(group_id) for group_id in models.group_ids}, [repr(str(models.path))])

    def axes_of(self, state: Any) -> CubeAxes:
        return self._models.read(state.group_id).axes

    def _shown(self, group_id: int, energy: tuple[float, float]) -> Shown[BackgroundModel]:
        model = self._models.read(group_id)
        return Shown(whole=model, part=self._part(group_id, self._models.stamp(group_id), *energy_edges(model.axes, energy)))

    def automatic_limits(self, state: ModelState) -> tuple[float, float]:
        part = self._shown(state.group_id, state.energy).part
        if state.limits == "this energy":
            return limits_of(part, state)
        stamp = self._models.stamp(state.group_id)
        limits = self._all_limits(state.group_id, stamp, state.quantity, state.stretch, state.percentile)
        if state.quantity in ("counts", "integrated rate"):  # sums over several energies exceed those of single ones
            low, high = limits_of(part, state)
            limits = min(limits[0], low), max(limits[1], high)
        return limits

    def view_of(self, state: ModelState) -> View:
        models = {group_id: self._shown(group_id, state.energy) for group_id in (state.group_id, *state.further)}
        limits = self.colour_limits(state)
        view = model_view(models, self.overview, state, self._groups[state.group_id], limits, self._spline_curves(state))
        return replace(view, summary="\n".join([view.summary, *(f"Note: {note}" for note in self._models.notes)]))

    @cached_property
    def overview(self) -> GroupsOverview:
        """Properties of the groups, as far as the report on the models states them."""
        rows = self._models.group_rows
        known = {group_id: row for group_id, row in rows.items() if len(row) == 4 and row["livetime_s"] > 0}
        return GroupsOverview(
            groups=self._models.groups,
            model_ids={one: other for one, other in self._models.model_ids.items() if other in self._models.group_ids},
            pointings={group_id: (row["alt_mean_deg"], row["az_mean_deg"]) for group_id, row in known.items()},
            values={
                "livetime": {group_id: row["livetime_s"] / 3600 for group_id, row in known.items()},
                "counts": {group_id: row["counts"] for group_id, row in known.items()},
                "mean rate": {group_id: row["counts"] / row["livetime_s"] for group_id, row in known.items()},
            },
        )

    @cached_property
    def _spline(self) -> SplineModel | None:
        path = self._models.path / SPLINE_FILE
        return read_spline(path) if path.exists() else None

    def _spline_curves(self, state: ModelState) -> list[Curve]:
        """Draw the rate of the spline against the zenith angle, at the azimuth of the group and at the opposite one."""
        if self._spline is None or state.group_id not in self.overview.pointings:
            return []
        axes, azimuth = self._spline.axes, self.overview.pointings[state.group_id][1] % 360
        first, last = energy_edges(axes, state.energy)
        weights = np.diff(axes.energy.value)[first:last, None, None] * weights_of(axes, state)
        curves = []
        lines: tuple[tuple[float, Dash], ...] = (azimuth, "solid"), ((azimuth + 180) % 360, "dashed")
        for at, dash in lines:
            rate = np.tensordot(self._spline_rates(at)[:, first:last], weights, 3) / weights.sum()
            name = f"spline, azimuth {at:.0f}°"
            curves.append(Curve(x=self._zeniths, y=rate, colour=LINES[2], name=name, width=1.5, dash=dash))
        return curves

    @cached_property
    def _zeniths(self) -> Floats:
        assert self._spline is not None
        low, high = self._spline.altitude_range
        return np.linspace(90 - high, 90 - low, _ZENITHS)

    @cached_property
    def _spline_rates(self) -> Callable[[float], Any]:
        """Compute the rates at all zenith angles for an azimuth, shape (zenith, energy, dety, detx)."""
        spline = self._spline
        assert spline is not None
        return lru_cache(4)(
            lambda azimuth: np.array(
                [spline.rate_at(90 - zenith, azimuth).quantity.value for zenith in self._zeniths], np.float32
            )
        )

    def act(self, action: Action) -> None:
        if action["panel"] != "groups":
            super().act(action)
        elif action["kind"] == "tap" and action["x"] is not None and self.overview.groups is not None:
            found = group_at(self.overview.groups, action["x"], action["y"])
            group_id = None if found is None else self.overview.model_ids.get(found, found)
            if group_id not in self._groups:
                raise BgnbError("not-found", "there is no model of this group: tap a coloured one")
            if action.get("add") and group_id != self.state.group_id:
                self.update(others=tuple({*self.state.further} ^ {group_id}))
            else:
                self.update(group_id=group_id)

    def frames(self) -> dict[tuple[str, str], Any]:
        frames: dict[tuple[str, str], Any] = {}
        for group_id, label in self._groups.items():
            state = replace(self.state, group_id=group_id)
            frames |= {(label, energies): each for energies, each in through_energies(self.axes_of(state), state).items()}
        return frames


def explore_models(
    modeldir: str | Path,
    *,
    group_id: int | None = None,
    others: Sequence[int] | str = (),
    quantity: str = "rate",
    energy: Energy | tuple[Energy, Energy] = 1.0,
    position: tuple[float, float] = (0.0, 0.0),
    region: str = "",
    stretch: str = "linear",
    limits: str = "this energy",
    percentile: float = 100.0,
    low: float | None = None,
    high: float | None = None,
    palette: str = "viridis",
    colour_by: str = "livetime",
    draw: str = "nothing",
) -> ModelDashboard:
    """Explore the models of a directory: images at energies, spectra, profiles, and the rate against the zenith angle.

    Tap in the image to choose a position, in the spectrum to choose an energy (or drag to
    choose a range), and in the map of pointings to choose a group; with Shift, to add one to
    the graphs. All arguments are controls, and attributes of the widget.

    Parameters
    ----------
    modeldir : path
        Directory of models.
    group_id : int, optional
        Group; by default the group with most counts.
    others : sequence of int or "all"
        Further groups that are shown in the graphs.
    quantity : {"rate", "integrated rate", "counts", "livetime", "relative error"}
        Quantity of the image: of several energy bins the mean rate, the rate integrated over
        energy, the sum of the counts. The relative error is that stated by the model, or else
        that of the counts of one bin; smoothing makes the actual error smaller.
    energy : `~astropy.units.Quantity`, str or float (TeV), or a pair of them
        Energy, or a range of energies; the image shows the energy bins that contain it.
    position : tuple of float
        DETX and DETY of the spectrum, deg.
    region : str
        Region for spectrum and zenith angle, in place of the bin at the position:
        ``circle(x, y, r)``, ``annulus(x, y, r1, r2)`` or ``box(x, y, width, height)``, deg.
    stretch : {"linear", "log", "sqrt"}
        Stretch of the colours.
    limits : {"this energy", "all energies"}
        Values of the first and the last colour: those of the image, or those of all energy bins.
    percentile : float
        Percentage of the values within limits that are not set by hand.
    low, high : float, optional
        Limits by hand, in the unit of the image; if only one is given, the other is chosen as above.
    palette : {"viridis", "cividis"}
        Colours.
    colour_by : {"livetime", "counts", "mean rate"}
        Quantity that colours the map of groups.
    draw : {"nothing", "circle", "annulus", "box"}
        Region that dragging in the image draws.

    Returns
    -------
    ModelDashboard
        A widget, see `Dashboard`.

    Raises
    ------
    BgnbError
        If there are no models, or an argument is invalid.
    """
    models = ModelDirectory(modeldir)
    state = ModelState.from_arguments(
        group_id=models.checked(group_id), others=models.group_ids if others == "all" else others, quantity=quantity,
        energy=energy, position=position, region=region, stretch=stretch, limits=limits, percentile=percentile, low=low,
        high=high, palette=palette, colour_by=colour_by, draw=draw,
    )  # fmt: skip
    return ModelDashboard(models, state)
