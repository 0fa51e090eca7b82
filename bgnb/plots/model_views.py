"""Views of models: images at an energy, spectra at a position, radial profiles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bgnb._util.arrays import Floats, quotient
from bgnb.cubes.model import BackgroundModel
from bgnb.cubes.profiles import RING_WIDTH, Spectrum, radial_profile, spectrum
from bgnb.plots.colours import Colours, line_colours
from bgnb.plots.cube_views import CubeState, energy_bin, energy_graph, image_of, pixel, place_of, rate_series
from bgnb.plots.labels import RATE_LABEL, counted, energy_label, hidden, index_words, number
from bgnb.plots.view import Graph, Panel, Series, View, span

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
    line = spectrum(model, model.axes.detx_centers[ix], model.axes.dety_centers[iy])
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
    lines.append(_at_position(model, line, where, iy, ix))
    panels: dict[str, Panel] = {"image": image, "spectrum": _spectrum(model, line, where, iy, ix)}
    return View(title, "\n".join(lines), panels | {"profile": profile_graph(model, [where], (iy, ix))})


def cube_of(model: BackgroundModel, quantity: str) -> NDArray[np.float64]:
    """A quantity of a model in each bin; not a number where it has none: no livetime, no rate, or no error."""
    rate, livetime = model.rate.quantity.value, model.stack.livetime_us * 1e-6
    if quantity == "rate":
        return rate
    exposed = livetime > 0
    if quantity == "counts":
        return np.where(exposed, model.stack.counts, np.nan)
    if quantity == "livetime":
        return np.where(exposed, livetime / 3600, np.nan)
    if model.error is not None:
        return quotient(model.error.quantity.value, rate)
    return quotient(1.0, np.sqrt(rate * livetime * model.axes.bin_volume.value))


def _describe(model: BackgroundModel) -> str:
    if model.is_true:
        return "A true model: it has no counts, no livetime and no error."
    runs, counts = counted(len(model.stack.runs), "run"), counted(int(model.stack.counts.sum()), "count")
    hours = sum(run.livetime_s for run in model.stack.runs) / 3600
    return f"{runs}, {counts}, {hours:.2f} h, method {model.method}, DETX and DETY aligned with {model.stack.fovalign}."


def _at_position(model: BackgroundModel, line: Spectrum, where: int, iy: int, ix: int) -> str:
    error = f" ± {number(line.error[where])}" if line.error[where] > 0 else ""
    words = f"At {place_of(model.axes, iy, ix)}: rate {number(line.rate[where])}{error} {RATE_LABEL}"
    if not model.is_true:
        counts, hours = int(model.stack.counts[where, iy, ix]), model.stack.livetime_us[where, iy, ix] / 3.6e9
        words += f", {counted(counts, 'count')} in {hours:.3g} h"
    return f"{words}; spectral index {index_words(line)}."


def _extremes(values: Floats, unit: str) -> str:
    finite = values[np.isfinite(values)]
    return f"from {number(finite.min())} to {number(finite.max())} {unit}." if finite.size else "no bin has a value."


def _spectrum(model: BackgroundModel, line: Spectrum, where: int, iy: int, ix: int) -> Graph:
    follows = np.where(model.extrapolated, hidden(line.rate), np.nan)
    name = "extrapolated" if model.extrapolated.any() else ""
    outline, measured = rate_series(model, line, "rate")
    series = (outline, Series(name, line.energy, follows, "points", _EXTRAPOLATED), measured)
    return energy_graph(model.axes.energy.value, f"Rate at {place_of(model.axes, iy, ix)}", RATE_LABEL, series, where)


def profile_graph(model: BackgroundModel, bins: Sequence[int], position: tuple[int, int] | None = None) -> Graph:
    """Mean rate against the offset from the centre of the field of view, at energy bins, with the ring of a pixel marked."""
    profiles, several = [radial_profile(model, where) for where in bins], len(bins) > 1
    edges = profiles[0].edges
    centres = (edges[1:] + edges[:-1]) / 2
    series: list[Series] = []
    for where, profile, colour in zip(bins, profiles, line_colours(len(bins)), strict=True):
        rate, follows = hidden(profile.rate), bool(model.extrapolated[where])
        measured = np.where(follows, np.nan, rate)
        ends = measured - profile.error, measured + profile.error
        name = energy_label(model.axes, where) if several else ""
        grey = f"{name}, extrapolated".removeprefix(", ") if follows else ""
        series.append(Series(grey, centres, np.where(follows, rate, np.nan), "points", _EXTRAPOLATED))
        series.append(Series("" if follows else name, centres, measured, "line", colour, *ends, edges))
    band = None
    if position is not None:
        iy, ix = position
        offset = float(np.hypot(model.axes.detx_centers[ix].value, model.axes.dety_centers[iy].value))
        ring = float(edges[min(int(offset / RING_WIDTH), len(centres) - 1)])
        band = ring, ring + RING_WIDTH
    words = "Rate against offset" + ("" if several else f", {energy_label(model.axes, bins[0])}"), "offset / deg", RATE_LABEL
    ranges = (0.0, float(edges[-1])), span(*(each.y for each in series), log=True)
    return Graph(*words, tuple(series), *ranges, y_log=True, band=band, legend="below" if several else "inside")
