"""The dashboard of a directory of models: images at an energy, spectra at a position, radial profiles."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from astropy import units as u
from numpy.typing import NDArray

from bgnb.compare import Floats, Spectrum, radial_profile, spectrum
from bgnb.cube import CubeAxes
from bgnb.dashboards.cubes import CubeDashboard
from bgnb.dashboards.dashboard import Control, choice, row
from bgnb.model import BackgroundModel
from bgnb.modelset import KEPT, ModelSet
from bgnb.shown import RATE_LABEL, energy_label, hidden, index_label, index_words
from bgnb.views.colours import Colours, check_choice, choose_limits, counted, number
from bgnb.views.cubes import CubeState, energy_bin, image_of, pixel, place_of
from bgnb.views.view import Graph, Image, Series, View, span

Quantity = Literal["rate", "counts", "livetime", "relative error"]

EXTRAPOLATED = "#888888"
_UNITS = {"rate": RATE_LABEL, "counts": "per bin", "livetime": "h", "relative error": "of the rate"}


@dataclass(frozen=True)
class ModelsState(CubeState):
    """What `explore_models` shows: that of `CubeState`, and one of rate, counts, livetime and relative error."""

    quantity: Quantity = "rate"


class ModelsDashboard(CubeDashboard):
    """See `bgnb.dashboards.explore_models`."""

    State = ModelsState
    kind = "models"

    def __init__(self, models: ModelSet, state: ModelsState) -> None:
        self._models = models
        self._cube = lru_cache(KEPT)(lambda group_id, quantity: cube_of(models.read(group_id), quantity))
        self._all_limits = lru_cache(64)(
            lambda group_id, quantity, stretch, percentile: choose_limits(self._cube(group_id, quantity), stretch, percentile)
        )
        super().__init__(state)

    def axes_of(self, state: Any) -> CubeAxes:
        return self._models.read(state.group_id).axes

    def settle(self, state: ModelsState) -> ModelsState:
        check_choice("quantity", state.quantity, Quantity)
        return super().settle(replace(state, group_id=self._models.checked(state.group_id)))

    def automatic_limits(self, state: ModelsState) -> tuple[float, float]:
        if state.limits == "all energies":
            return self._all_limits(state.group_id, state.quantity, state.stretch, state.percentile)
        plane = self._cube(state.group_id, state.quantity)[energy_bin(self.axes_of(state), state.energy)]
        return choose_limits(plane, state.stretch, state.percentile)

    def view_of(self, state: ModelsState) -> View:
        model = self._models.read(state.group_id)
        where = energy_bin(model.axes, state.energy)
        iy, ix = pixel(model.axes, state.position)
        energies = energy_label(model.axes, where)
        plane = self._cube(state.group_id, state.quantity)[where]
        follows = model.extrapolated[where] and state.quantity in ("rate", "relative error")
        kind = f"{state.quantity}, extrapolated," if follows else state.quantity
        image = image_of(
            model.axes, [(iy, ix)], plane, f"{kind.capitalize()} at {energies}", _UNITS[state.quantity],
            Colours(state.palette, state.stretch, *self.limits_of(state)),
        )  # fmt: skip
        title = f"Group {state.group_id}, {state.quantity} at {energies}"
        lines = [f"Group {self._models.label(state.group_id)}. {_describe(model)}"]
        lines.append(f"{kind.capitalize()} at {energies}: {_extremes(plane, _UNITS[state.quantity])}")
        lines.append(_at_position(model, where, iy, ix))
        panels: dict[str, Image | Graph] = {"image": image, "spectrum": _spectrum(model, where, iy, ix)}
        return View(title, "\n".join(lines), panels | {"profile": _profile(model, where, iy, ix, energies)})

    def controls(self) -> dict[str, Control]:
        groups = [(self._models.label(group_id), group_id) for group_id in self._models.group_ids]
        quantity = choice("quantity", "show", [*_UNITS], radio=True)
        return {"group_id": choice("group_id", "group", groups), "quantity": quantity} | super().controls()

    def arranged(self) -> list[Any]:
        here = {name: control.widget for name, control in self._controls.items()}
        return [
            row(here["group_id"], here["quantity"]),
            row(*self.energy_controls(), *self.position_controls()),
            row(*self.colour_controls()),
        ]

    def update(self, **changes: Any) -> None:
        if changes.get("quantity", self.state.quantity) != self.state.quantity and self.state.limits == "by hand":
            if not changes.keys() & {"limits", "low", "high"}:
                changes["limits"] = "this energy"
            changes = {"low": None, "high": None} | changes  # those of another quantity mean nothing
        super().update(**changes)

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
        What the image shows. The relative error is that of the counts of one bin; the
        smoothing of the model makes the true one smaller.
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
    models = ModelSet(modeldir)
    limits = "by hand" if low is not None or high is not None else limits
    state = ModelsState(
        models.checked(group_id), energy, position, stretch, limits, percentile, low, high, palette, quantity  # type: ignore[arg-type]
    )  # fmt: skip
    return ModelsDashboard(models, state)


def cube_of(model: BackgroundModel, quantity: str) -> NDArray[np.float64]:
    """A quantity of a model in each bin; not a number where it has none: no livetime, or no rate."""
    rate, livetime = model.rate.quantity.value, model.stack.livetime_us * 1e-6
    if quantity == "rate":
        return rate
    exposed = livetime > 0
    if quantity == "counts":
        return np.where(exposed, model.stack.counts, np.nan)
    if quantity == "livetime":
        return np.where(exposed, livetime / 3600, np.nan)
    expected = rate * livetime * model.axes.bin_volume.value
    return np.divide(1.0, np.sqrt(expected), out=np.full(rate.shape, np.nan), where=expected > 0)


def _describe(model: BackgroundModel) -> str:
    if model.is_true:
        return "A true model: it has no counts, no livetime and no error."
    runs, counts = counted(len(model.stack.runs), "run"), counted(int(model.stack.counts.sum()), "count")
    hours = sum(run.livetime_s for run in model.stack.runs) / 3600
    return f"{runs}, {counts}, {hours:.2f} h, method {model.method}, DETX and DETY aligned with {model.stack.fovalign}."


def _at_position(model: BackgroundModel, where: int, iy: int, ix: int) -> str:
    line = _line(model, iy, ix)
    error = f" ± {number(line.error[where])}" if line.error[where] > 0 else ""
    words = f"At {place_of(model.axes, iy, ix)}: rate {number(line.rate[where])}{error} {RATE_LABEL}"
    if not model.is_true:
        counts, hours = int(model.stack.counts[where, iy, ix]), model.stack.livetime_us[where, iy, ix] / 3.6e9
        words += f", {counted(counts, 'count')} in {hours:.3g} h"
    return f"{words}; spectral index {index_words(line)}."


def _line(model: BackgroundModel, iy: int, ix: int) -> Spectrum:
    return spectrum(model, model.axes.detx_centers[ix], model.axes.dety_centers[iy])


def _extremes(values: Floats, unit: str) -> str:
    finite = values[np.isfinite(values)]
    return f"from {number(finite.min())} to {number(finite.max())} {unit}." if finite.size else "no bin has a value."


def _spectrum(model: BackgroundModel, where: int, iy: int, ix: int) -> Graph:
    line, edges = _line(model, iy, ix), model.axes.energy.value
    rate = hidden(line.rate)
    measured = np.where(model.extrapolated, np.nan, rate)
    low, high = measured - line.error, measured + line.error
    name = "extrapolated" if model.extrapolated.any() else ""
    series = (
        Series("", line.energy, rate, "outline", EXTRAPOLATED),
        Series(name, line.energy, np.where(model.extrapolated, rate, np.nan), "points", EXTRAPOLATED),
        Series(f"rate, {index_label(line)}", line.energy, measured, "line", low=low, high=high, edges=edges),
    )
    band = (float(edges[where]), float(edges[where + 1]))
    ranges = (edges[0], edges[-1]), span(rate, low, high, log=True)
    title = f"Rate at {place_of(model.axes, iy, ix)}"
    return Graph(title, "energy / TeV", RATE_LABEL, series, *ranges, x_log=True, y_log=True, band=band)


def _profile(model: BackgroundModel, where: int, iy: int, ix: int, energies: str) -> Graph:
    profile = radial_profile(model, where)
    centres = (profile.edges[1:] + profile.edges[:-1]) / 2
    rate = hidden(profile.rate)
    low, high = rate - profile.error, rate + profile.error
    nothing, follows = np.full(len(rate), np.nan), model.extrapolated[where]
    series = (
        Series("extrapolated" if follows else "", centres, rate if follows else nothing, "points", EXTRAPOLATED),
        Series("", centres, nothing if follows else rate, "line", low=low, high=high, edges=profile.edges),
    )
    offset = float(np.hypot(model.axes.detx_centers[ix].value, model.axes.dety_centers[iy].value))
    ring = float(profile.edges[min(int(offset / profile.edges[1]), len(centres) - 1)])
    ranges = (0.0, float(profile.edges[-1])), span(rate, low, high, log=True)
    title = f"Rate against offset, {energies}"
    band = (ring, ring + float(profile.edges[1]))
    return Graph(title, "offset / deg", RATE_LABEL, series, *ranges, y_log=True, band=band)
