"""Views of a model: image at an energy, spectrum at a position, radial profile."""

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
from bgnb.plots.cube_panels import energy_graph, field_of_view_image, index_with_error, mask_nonpositive, rate_series
from bgnb.plots.cube_state import CubeState, energy_bin, pixel
from bgnb.plots.labels import RATE_LABEL, bin_label, energy_label, format_count, format_number, format_value
from bgnb.plots.view import Graph, Legend, Panel, Range, Series, View, axis_range

Quantity = Literal["rate", "counts", "livetime", "relative error"]

_EXTRAPOLATED = "#888888"
_UNITS = {"rate": RATE_LABEL, "counts": "per bin", "livetime": "h", "relative error": "of the rate"}


@dataclass(frozen=True, kw_only=True)
class ModelState(CubeState):
    """State of `CubeState`, and the quantity of the image: rate, counts, livetime or relative error."""

    quantity: Quantity = "rate"


def model_view(model: BackgroundModel, cube: Floats, state: ModelState, group: str, limits: Range) -> View:
    """Draw a quantity of a model at an energy, its spectrum at a position, and its radial profile.

    Parameters
    ----------
    model : `BackgroundModel`
        Model.
    cube : ndarray
        Values of the quantity, see `cube_of`.
    state : `ModelState`
        State.
    group : str
        Description of the group.
    limits : tuple of float
        Values of the first and the last colour.
    """
    axes, quantity, unit = model.axes, state.quantity, _UNITS[state.quantity]
    where, (iy, ix) = energy_bin(axes, state.energy), pixel(axes, state.position)
    line, energies = spectrum(model, axes.detx_centers[ix], axes.dety_centers[iy]), energy_label(axes, where)
    extrapolated = model.extrapolated[where] and quantity in ("rate", "relative error")
    heading = f"{quantity.capitalize()}{', extrapolated,' * bool(extrapolated)} at {energies}"
    colours = Colours(state.palette, state.stretch, *limits)
    summary = [f"Group {group}. {_describe_model(model)}", f"{heading}: {_describe_range(cube[where], unit)}"]
    summary += [_describe_bin(model, line, where, iy, ix)]
    panels: dict[str, Panel] = {
        "image": field_of_view_image(axes, [(iy, ix)], cube[where], heading, unit, colours),
        "spectrum": _spectrum_graph(model, line, where, iy, ix),
        "profile": profile_graph(model, [where], (iy, ix)),
    }
    return View(f"Group {state.group_id}, {quantity} at {energies}", "\n".join(summary), panels)


def cube_of(model: BackgroundModel, quantity: str) -> NDArray[np.float64]:
    """Compute a quantity of a model in each bin; NaN in bins without livetime, rate or error."""
    rate, livetime = model.rate.quantity.value, model.stack.livetime_us * 1e-6
    if quantity == "rate":
        return rate
    if quantity == "counts":
        return np.where(livetime > 0, model.stack.counts, np.nan)
    if quantity == "livetime":
        return np.where(livetime > 0, livetime / 3600, np.nan)
    if model.error is not None:
        return quotient(model.error.quantity.value, rate)
    return quotient(1.0, np.sqrt(rate * livetime * model.axes.bin_volume.value))


def _describe_model(model: BackgroundModel) -> str:
    if model.is_true:
        return "A true model: it has no counts, no livetime and no error."
    runs, counts = format_count(len(model.stack.runs), "run"), format_count(int(model.stack.counts.sum()), "count")
    hours = sum(run.livetime_s for run in model.stack.runs) / 3600
    return f"{runs}, {counts}, {hours:.2f} h, method {model.method}, DETX and DETY aligned with {model.stack.fovalign}."


def _describe_bin(model: BackgroundModel, line: Spectrum, where: int, iy: int, ix: int) -> str:
    text = f"At {bin_label(model.axes, iy, ix)}: rate {format_value(line.rate[where], line.error[where])} {RATE_LABEL}"
    if not model.is_true:
        counts, hours = int(model.stack.counts[where, iy, ix]), model.stack.livetime_us[where, iy, ix] / 3.6e9
        text += f", {format_count(counts, 'count')} in {hours:.3g} h"
    return f"{text}; spectral index {index_with_error(line)}."


def _describe_range(values: Floats, unit: str) -> str:
    finite = values[np.isfinite(values)]
    return (
        f"from {format_number(finite.min())} to {format_number(finite.max())} {unit}." if finite.size else "no bin has a value."
    )


def _spectrum_graph(model: BackgroundModel, line: Spectrum, where: int, iy: int, ix: int) -> Graph:
    extrapolated = np.where(model.extrapolated, mask_nonpositive(line.rate), np.nan)
    name = "extrapolated" if model.extrapolated.any() else ""
    outline, measured = rate_series(model, line, "rate")
    series = (outline, Series(name, line.energy, extrapolated, "points", _EXTRAPOLATED), measured)
    return energy_graph(model.axes.energy.value, f"Rate at {bin_label(model.axes, iy, ix)}", RATE_LABEL, series, where)


def profile_graph(model: BackgroundModel, bins: Sequence[int], position: tuple[int, int] | None = None) -> Graph:
    """Draw the mean rate against the offset in energy bins, with the ring of a bin of the field of view marked."""
    profiles, several = [radial_profile(model, where) for where in bins], len(bins) > 1
    edges = profiles[0].edges
    centres = (edges[1:] + edges[:-1]) / 2
    series: list[Series] = []
    for where, profile, colour in zip(bins, profiles, line_colours(len(bins)), strict=True):
        rate, extrapolated = mask_nonpositive(profile.rate), bool(model.extrapolated[where])
        measured = np.where(extrapolated, np.nan, rate)
        errors = measured - profile.error, measured + profile.error
        name = energy_label(model.axes, where) if several else ""
        grey = f"{name}, extrapolated".removeprefix(", ") if extrapolated else ""
        series.append(Series(grey, centres, np.where(extrapolated, rate, np.nan), "points", _EXTRAPOLATED))
        series.append(Series("" if extrapolated else name, centres, measured, "line", colour, *errors, edges))
    band = None
    if position is not None:
        iy, ix = position
        offset = float(np.hypot(model.axes.detx_centers[ix].value, model.axes.dety_centers[iy].value))
        ring = float(edges[min(int(offset / RING_WIDTH), len(centres) - 1)])
        band = ring, ring + RING_WIDTH
    title = "Rate against offset" + ("" if several else f", {energy_label(model.axes, bins[0])}")
    ranges = (0.0, float(edges[-1])), axis_range(*(each.y for each in series), log=True)
    legend: Legend = "below" if several else "inside"
    return Graph(title, "offset / deg", RATE_LABEL, tuple(series), *ranges, y_log=True, band=band, legend=legend)
