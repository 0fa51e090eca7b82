"""The dashboard of a directory of models: images at an energy, spectra at a position, radial profiles."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from astropy import units as u

from bgnb.cubes.cube import CubeAxes
from bgnb.dashboards.cubes import CubeDashboard
from bgnb.dashboards.dashboard import Control, choice, row
from bgnb.files.model_directory import KEPT, ModelDirectory
from bgnb.plots.colours import choose_limits
from bgnb.plots.cube_views import energy_bin, shown_limits
from bgnb.plots.model_views import UNITS, ModelsState, cube_of, model_view
from bgnb.plots.view import View


class ModelsDashboard(CubeDashboard):
    """See `bgnb.dashboards.explore_models`."""

    State = ModelsState
    kind = "models"
    coloured = "image"

    def __init__(self, models: ModelDirectory, state: ModelsState) -> None:
        self._models = models
        self._cube = lru_cache(KEPT)(lambda group_id, quantity: cube_of(models.read(group_id), quantity))
        self._all_limits = lru_cache(64)(
            lambda group_id, quantity, stretch, percentile: choose_limits(self._cube(group_id, quantity), stretch, percentile)
        )
        super().__init__(state)

    def axes_of(self, state: Any) -> CubeAxes:
        return self._models.read(state.group_id).axes

    def settle(self, state: ModelsState) -> ModelsState:
        return super().settle(replace(state, group_id=self._models.checked(state.group_id)))

    def automatic_limits(self, state: ModelsState) -> tuple[float, float]:
        if state.limits == "all energies":
            return self._all_limits(state.group_id, state.quantity, state.stretch, state.percentile)
        plane = self._cube(state.group_id, state.quantity)[energy_bin(self.axes_of(state), state.energy)]
        return choose_limits(plane, state.stretch, state.percentile)

    def view_of(self, state: ModelsState) -> View:
        cube = self._cube(state.group_id, state.quantity)
        label = self._models.label(state.group_id)
        return model_view(self._models.read(state.group_id), cube, state, label, shown_limits(state, self.automatic_limits))

    def controls(self) -> dict[str, Control]:
        groups = [(self._models.label(group_id), group_id) for group_id in self._models.group_ids]
        quantity = choice("quantity", "show", [*UNITS], radio=True)
        return {"group_id": choice("group_id", "group", groups), "quantity": quantity} | super().controls()

    def arranged(self) -> list[Any]:
        here = {name: control.widget for name, control in self._controls.items()}
        return [
            row(here["group_id"], here["quantity"]),
            row(*self.energy_controls(), *self.position_controls()),
            row(*self.colour_controls()),
        ]

    def update(self, **changes: Any) -> bool:
        if changes.get("quantity", self.state.quantity) != self.state.quantity and self.state.limits == "by hand":
            if not changes.keys() & {"limits", "low", "high"}:
                changes["limits"] = "this energy"
            changes = {"low": None, "high": None} | changes  # those of another quantity mean nothing
        return super().update(**changes)

    @property
    def python(self) -> str:
        return self.lines("explore_models", [repr(str(self._models.path))], ModelsState(group_id=-1))


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
) -> ModelsDashboard:
    """Explore the models of a directory: images at an energy, spectra at a position.

    Tap in the image to choose a position, in the spectrum to choose an energy. All
    arguments are controls, and attributes of the widget.

    Parameters
    ----------
    modeldir : path
        A directory of models.
    group_id : int, optional
        The group; by default that with most counts.
    quantity : {"rate", "counts", "livetime", "relative error"}
        What the image shows. The relative error is the one that the model states, else that
        of the counts of one bin; the smoothing of the model makes the true one smaller.
    energy : `~astropy.units.Quantity`, str or float (TeV)
        The image is that of the energy bin that holds it.
    position : tuple of float
        DETX and DETY of the spectrum, deg.
    stretch : {"linear", "log", "sqrt"}
        Of the colours.
    limits : {"this energy", "all energies", "by hand"}
        Values of the first and the last colour: so that they hold those of the image, or
        of the whole cube, or ``low`` and ``high``.
    percentile : float
        Percentage of the values within limits that are not set by hand.
    low, high : float, optional
        Limits by hand; if one of them is given, the other is that of the image.
    palette : {"viridis", "cividis"}
        Colours.

    Returns
    -------
    ModelsDashboard
        A widget, see `Dashboard`.

    Raises
    ------
    BgnbError
        Where there are no models, or an argument cannot be used.
    """
    models = ModelDirectory(modeldir)
    limits = "by hand" if low is not None or high is not None else limits
    state = ModelsState(
        models.checked(group_id), energy, position, stretch, limits, percentile, low, high, palette, quantity  # type: ignore[arg-type]
    )  # fmt: skip
    return ModelsDashboard(models, state)
