"""Dashboard of a directory of models: images at an energy, spectra at a position, radial profiles."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from astropy import units as u

from bgnb.cubes.cube import CubeAxes
from bgnb.dashboards.cube_dashboard import CubeDashboard
from bgnb.files.model_directory import KEPT, ModelDirectory
from bgnb.plots.colours import choose_limits
from bgnb.plots.cube_state import energy_bin
from bgnb.plots.model_views import ModelState, cube_of, model_view
from bgnb.plots.view import View


class ModelDashboard(CubeDashboard):
    """See `bgnb.dashboards.explore_models`."""

    State = ModelState
    kind = "models"
    function = "explore_models"
    coloured = "image"
    energy_panels = ("spectrum",)
    rows = (("group_id", "quantity"), *CubeDashboard.rows)

    def __init__(self, models: ModelDirectory, state: ModelState) -> None:
        self._models = models
        self._cube = lru_cache(KEPT)(lambda group_id, quantity: cube_of(models.read(group_id), quantity))
        self._all_limits = lru_cache(64)(
            lambda group_id, quantity, stretch, percentile: choose_limits(self._cube(group_id, quantity), stretch, percentile)
        )
        super().__init__(state, {group_id: models.label(group_id) for group_id in models.group_ids}, [repr(str(models.path))])

    def axes_of(self, state: Any) -> CubeAxes:
        return self._models.read(state.group_id).axes

    def settle(self, state: ModelState) -> ModelState:
        return super().settle(replace(state, group_id=self._models.checked(state.group_id)))

    def automatic_limits(self, state: ModelState) -> tuple[float, float]:
        if state.limits == "all energies":
            return self._all_limits(state.group_id, state.quantity, state.stretch, state.percentile)
        plane = self._cube(state.group_id, state.quantity)[energy_bin(self.axes_of(state), state.energy)]
        return choose_limits(plane, state.stretch, state.percentile)

    def view_of(self, state: ModelState) -> View:
        model, cube = self._models.read(state.group_id), self._cube(state.group_id, state.quantity)
        view = model_view(model, cube, state, self._groups[state.group_id], self.colour_limits(state))
        return replace(view, summary="\n".join([view.summary, *(f"Note: {note}" for note in self._models.notes)]))

    def update(self, **changes: Any) -> bool:
        if changes.get("quantity", self.quantity) != self.quantity and self.limits == "by hand":
            if not changes.keys() & {"limits", "low", "high"}:
                changes["limits"] = "this energy"
            changes = {"low": None, "high": None} | changes  # limits of another quantity are useless
        return super().update(**changes)


def explore_models(
    modeldir: str | Path,
    *,
    group_id: int | None = None,
    quantity: str = "rate",
    energy: float | str | u.Quantity = 1.0,
    position: tuple[float, float] = (0.0, 0.0),
    stretch: str = "linear",
    limits: str = "this energy",
    percentile: float = 100.0,
    low: float | None = None,
    high: float | None = None,
    palette: str = "viridis",
) -> ModelDashboard:
    """Explore the models of a directory: images at an energy, spectra at a position.

    Tap in the image to choose a position, in the spectrum to choose an energy. All
    arguments are controls, and attributes of the widget.

    Parameters
    ----------
    modeldir : path
        Directory of models.
    group_id : int, optional
        Group; by default the group with most counts.
    quantity : {"rate", "counts", "livetime", "relative error"}
        Quantity of the image. The relative error is that stated by the model, or else that of
        the counts of one bin; smoothing makes the actual error smaller.
    energy : `~astropy.units.Quantity`, str or float (TeV)
        Energy; the image shows the energy bin that contains it.
    position : tuple of float
        DETX and DETY of the spectrum, deg.
    stretch : {"linear", "log", "sqrt"}
        Stretch of the colours.
    limits : {"this energy", "all energies", "by hand"}
        Values of the first and the last colour: those of the image, those of the whole cube,
        or ``low`` and ``high``.
    percentile : float
        Percentage of the values within limits that are not set by hand.
    low, high : float, optional
        Limits by hand; if only one is given, the other is that of the image.
    palette : {"viridis", "cividis"}
        Colours.

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
        group_id=models.checked(group_id), quantity=quantity, energy=energy, position=position, stretch=stretch,
        limits=limits, percentile=percentile, low=low, high=high, palette=palette,
    )  # fmt: skip
    return ModelDashboard(models, state)
