"""Views of models: images at an energy, spectra at a position, radial profiles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bgnb.arrays import Floats
from bgnb.model import BackgroundModel
from bgnb.profiles import Spectrum, radial_profile, spectrum
from bgnb.shown import RATE_LABEL, energy_label, hidden, index_label, index_words
from bgnb.views.colours import Colours, counted, number
from bgnb.views.cubes import CubeState, energy_bin, image_of, pixel, place_of
from bgnb.views.view import Graph, Panel, Series, View, span

Quantity = Literal["rate", "counts", "livetime", "relative error"]

_EXTRAPOLATED = "#888888"
UNITS = {"rate": RATE_LABEL, "counts": "per bin", "livetime": "h", "relative error": "of the rate"}


@dataclass(frozen=True)
class ModelsState(CubeState):
    """What is shown: that of `CubeState`, and one of rate, counts, livetime and relative error."""

    quantity: Quantity = "rate"


def model_view(model: BackgroundModel, cube: Floats, state: ModelsState, group: str, limits: tuple[float, float]) -> View:
    """A quantity of a model at an energy, and its spectrum at a position.

    Parameters
    ----------
    model : `BackgroundModel`
        The model.
    cube : ndarray
        The quantity, see `cube_of`.
    state : `ModelsState`
        What is shown.
    group : str
        The group in words.
    limits : tuple of float
        Values of the first and the last colour.
    """
    where = energy_bin(model.axes, state.energy)
    iy, ix = pixel(model.axes, state.position)
    energies = energy_label(model.axes, where)
    plane = cube[where]
    follows = model.extrapolated[where] and state.quantity in ("rate", "relative error")
    kind = f"{state.quantity}, extrapolated," if follows else state.quantity
    image = image_of(
        model.axes, [(iy, ix)], plane, f"{kind.capitalize()} at {energies}", UNITS[state.quantity],
        Colours(state.palette, state.stretch, *limits),
    )  # fmt: skip
    title = f"Group {state.group_id}, {state.quantity} at {energies}"
    lines = [f"Group {group}. {_describe(model)}"]
    lines.append(f"{kind.capitalize()} at {energies}: {_extremes(plane, UNITS[state.quantity])}")
    lines.append(_at_position(model, where, iy, ix))
    panels: dict[str, Panel] = {"image": image, "spectrum": _spectrum(model, where, iy, ix)}
    return View(title, "\n".join(lines), panels | {"profile": _profile(model, where, iy, ix, energies)})


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
        Series("", line.energy, rate, "outline", _EXTRAPOLATED),
        Series(name, line.energy, np.where(model.extrapolated, rate, np.nan), "points", _EXTRAPOLATED),
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
        Series("extrapolated" if follows else "", centres, rate if follows else nothing, "points", _EXTRAPOLATED),
        Series("", centres, nothing if follows else rate, "line", low=low, high=high, edges=profile.edges),
    )
    offset = float(np.hypot(model.axes.detx_centers[ix].value, model.axes.dety_centers[iy].value))
    ring = float(profile.edges[min(int(offset / profile.edges[1]), len(centres) - 1)])
    ranges = (0.0, float(profile.edges[-1])), span(rate, low, high, log=True)
    title = f"Rate against offset, {energies}"
    band = (ring, ring + float(profile.edges[1]))
    return Graph(title, "offset / deg", RATE_LABEL, series, *ranges, y_log=True, band=band)
