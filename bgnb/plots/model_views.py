"""Views of models: image at an energy, spectra, profiles, and the rate against the zenith angle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bgnb._util.arrays import Floats, quotient
from bgnb._util.errors import numbered
from bgnb.cubes.compare import mean_altitude
from bgnb.cubes.energy_range import is_measured
from bgnb.cubes.model import BackgroundModel
from bgnb.cubes.profiles import RING_WIDTH, Profile, Spectrum, mean_spectrum, radial_profile, strip_profile
from bgnb.observations.groups import ObservationGroups
from bgnb.plots.colours import LINES, Colours, choose_limits, line_colours
from bgnb.plots.cube_panels import (
    STRIP,
    energy_graph,
    field_of_view_image,
    index_with_error,
    mask_nonpositive,
    other_styles,
    outlines_of,
    profile_series,
    rate_series,
)
from bgnb.plots.cube_state import CubeState, Shown, centre_of, energy_edges, pixel, place_label, weights_of
from bgnb.plots.labels import RATE_AXIS, RATE_LABEL, energy_label, format_count, format_number, format_value
from bgnb.plots.pointing_map import pointing_map, zenith_limit
from bgnb.plots.view import Curve, Dash, Graph, Legend, Panel, Range, Series, Style, View, axis_range, range_with_errors

Quantity = Literal["rate", "integrated rate", "counts", "livetime", "relative error"]
#: Quantities that colour the map of groups.
ColourBy = Literal["livetime", "counts", "mean rate"]

#: Colour of what is extrapolated.
EXTRAPOLATED = "#888888"
_UNITS = {
    "rate": RATE_LABEL,
    "integrated rate": "s⁻¹ sr⁻¹",
    "counts": "per bin",
    "livetime": "h",
    "relative error": "%",
}
_GROUP_UNITS = {"livetime": "h", "counts": "", "mean rate": "s⁻¹"}


@dataclass(frozen=True, kw_only=True)
class ModelState(CubeState):
    """State of `CubeState`, the quantity of the image, and the quantity that colours the map of groups."""

    quantity: Quantity = "rate"
    colour_by: ColourBy = "livetime"


@dataclass(frozen=True, kw_only=True, eq=False)
class GroupsOverview:
    """Properties of the groups of a directory of models.

    Parameters
    ----------
    groups : `ObservationGroups`, optional
        Groups, if they are known.
    model_ids : mapping of int to int
        For each GROUP_ID with a model, the GROUP_ID of the group with its model.
    pointings : mapping of int to tuple of float
        Mean altitude and azimuth of the runs, deg, by GROUP_ID.
    values : mapping of str to mapping of int to float
        Livetime (h), counts, and mean rate (s-1) by GROUP_ID.
    """

    groups: ObservationGroups | None = None
    model_ids: Mapping[int, int] = field(default_factory=dict)
    pointings: Mapping[int, tuple[float, float]] = field(default_factory=dict)
    values: Mapping[str, Mapping[int, float]] = field(default_factory=dict)

    def zenith(self, group_id: int, model: BackgroundModel | None = None) -> float:
        """Return the mean zenith angle of the runs of a group, deg, if necessary from its model; NaN if it is not known."""
        if group_id in self.pointings:
            return 90 - self.pointings[group_id][0]
        altitude = None if model is None else mean_altitude(model.stack.runs)
        return np.nan if altitude is None else 90 - altitude


def model_view(
    models: Mapping[int, Shown[BackgroundModel]],
    overview: GroupsOverview,
    state: ModelState,
    label: str,
    limits: Range,
    spline: Sequence[Curve] = (),
) -> View:
    """Draw a quantity of a model at energies, its spectrum, its profiles, and those of other groups.

    Parameters
    ----------
    models : mapping of int to `Shown`
        Models by GROUP_ID: first that of the group of the state, then those of the other groups.
    overview : `GroupsOverview`
        Properties of all groups.
    state : `ModelState`
        State.
    label : str
        Description of the group of the state.
    limits : tuple of float
        Values of the first and the last colour.
    spline : sequence of `Curve`
        Rate against zenith angle of a model for all pointings.
    """
    main, axes = models[state.group_id], models[state.group_id].whole.axes
    first, last = energy_edges(axes, state.energy)
    energies, place, unit = energy_label(axes, first, last), place_label(axes, state), _UNITS[state.quantity]
    values = quantity_of(main.part, state.quantity)[0]
    planes = main.whole.extrapolated[first:last]
    note = ", extrapolated" if planes.all() else ", partly extrapolated" if planes.any() else ""
    of_image = note if state.quantity not in ("counts", "livetime") else ""
    heading = f"{state.quantity.capitalize()} at {energies}{of_image}"
    colours_of_image = Colours(state.palette, state.stretch, *limits, whole=state.quantity == "counts")
    image = field_of_view_image(
        axes, values, heading, unit, colours_of_image, outlines_of(axes, state),
        quantity=state.quantity, selects=state.draw != "nothing",
    )  # fmt: skip
    weights = {group_id: weights_of(shown.whole.axes, state) for group_id, shown in models.items()}
    lines = {group_id: _spectrum(shown.whole, weights[group_id]) for group_id, shown in models.items()}
    styles = other_styles(state.further)
    profiles = {group_id: radial_profile(shown.part, 0) for group_id, shown in models.items()}
    panels: dict[str, Panel] = {
        "image": image,
        "spectrum": _spectrum_graph(models, lines, styles, state, place, (first, last)),
        "profile": _profile_graph(main, profiles, styles, state, energies + note, extrapolated=bool(planes.all())),
        "groups": _groups_map(overview, state),
        "zenith": _zenith_graph(models, weights, overview, state, energies + note, spline),
        "strips": _strips_graph(models, styles, state, energies + note),
    }
    summary = [
        f"Group {label}. {_describe_model(main.whole)}",
        f"{heading}: {_describe_range(values, unit)}",
        _describe_place(main, weights[state.group_id], lines[state.group_id], place, state),
    ]
    if state.further:
        summary.append(f"Also in the graphs: {numbered('group', state.further, len(state.further))}.")
    subject = f"Group {state.group_id}"
    return View(f"{subject}, {state.quantity} at {energies}", "\n".join(summary), panels, subject)


def quantity_of(model: BackgroundModel, quantity: str) -> NDArray[np.float64]:
    """Compute a quantity of a model in each bin, errors in percent; NaN in bins without livetime, rate or error."""
    rate, livetime = model.rate.quantity.value, model.stack.livetime_us * 1e-6
    if quantity == "rate":
        return rate
    if quantity == "integrated rate":
        return rate * np.diff(model.axes.energy.to_value("MeV"))[:, None, None]
    if quantity == "counts":
        return np.where(livetime > 0, model.stack.counts, np.nan)
    if quantity == "livetime":
        return np.where(livetime > 0, livetime / 3600, np.nan)
    if model.error is not None:
        return 100 * quotient(model.error.quantity.value, rate)
    return quotient(100.0, np.sqrt(rate * livetime * model.axes.bin_volume.value))


def _spectrum(model: BackgroundModel, weights: Floats) -> Spectrum:
    """Compute the mean spectrum with weights of bins."""
    return mean_spectrum(model, weights, model.stack.exposure.to_value("s MeV sr"), model.exposed)


def _describe_model(model: BackgroundModel) -> str:
    if model.is_true:
        return "A true model: it has no counts, no livetime and no error."
    runs, counts = format_count(len(model.stack.runs), "run"), format_count(int(model.stack.counts.sum()), "count")
    hours = sum(run.livetime_s for run in model.stack.runs) / 3600
    return f"{runs}, {counts}, {hours:.2f} h, method {model.method}, DETX and DETY aligned with {model.stack.fovalign}."


def _describe_place(shown: Shown[BackgroundModel], weights: Floats, line: Spectrum, place: str, state: CubeState) -> str:
    """Describe rate and counts in the region of a state, or in the bin at its position."""
    point = _spectrum(shown.part, weights)
    text = f"{place[0].upper()}{place[1:]}: rate {format_value(point.rate[0], point.error[0])} {RATE_LABEL}"
    if not shown.whole.is_true and not state.region:
        iy, ix = pixel(shown.whole.axes, state.position)
        counts, hours = int(shown.part.stack.counts[0, iy, ix]), shown.part.stack.livetime_us[0, iy, ix] / 3.6e9
        measured = is_measured(shown.whole, *energy_edges(shown.whole.axes, state.energy))
        text += f", {format_count(counts, 'count')}" + (f" in {hours:.3g} h" if measured else "")
    elif not shown.whole.is_true:
        counts = (weights / shown.whole.axes.solid_angle.value * shown.part.stack.counts[0]).sum()
        text += f", {counts:.0f} counts"
    return f"{text}; spectral index, fitted to all energies: {index_with_error(line)}."


def _describe_range(values: Floats, unit: str) -> str:
    finite = values[np.isfinite(values)]
    return (
        f"from {format_number(finite.min())} to {format_number(finite.max())} {unit}." if finite.size else "no bin has a value."
    )


def _spectrum_graph(
    models: Mapping[int, Shown[BackgroundModel]],
    lines: Mapping[int, Spectrum],
    styles: Mapping[int, dict[str, Any]],
    state: ModelState,
    place: str,
    shown: tuple[int, int],
) -> Graph:
    model, line = models[state.group_id].whole, lines[state.group_id]
    extrapolated = np.where(model.extrapolated, mask_nonpositive(line.rate), np.nan)
    name = f"group {state.group_id}" if state.further else "rate"
    curve, measured = rate_series(model, line, name)
    measured = replace(measured, legend=None if state.further else "")
    legend = None if model.extrapolated.any() else ""
    grey = Series("extrapolated", line.energy, extrapolated, "points", EXTRAPOLATED, legend=legend)
    curves = [curve]
    for other in state.further:
        extra, rate = models[other].whole.extrapolated, mask_nonpositive(lines[other].rate)
        drawn: dict[str, Any] = {"x": lines[other].energy, "width": 1.5, **styles[other]}
        curves.append(Curve(y=np.where(extra, np.nan, rate), **drawn))
        touching = np.convolve(extra, np.ones(3))[1:-1] > 0  # so that the two parts meet
        curves.append(Curve(y=np.where(touching, rate, np.nan), dash="dotted", **drawn | {"name": "", "legend": None}))
    edges = model.axes.energy.value
    band = float(edges[shown[0]]), float(edges[shown[1]])
    return energy_graph(edges, f"Rate {place}", RATE_AXIS, (grey, measured), band, curves=curves)


def _profile_graph(
    main: Shown[BackgroundModel],
    profiles: Mapping[int, Profile],
    styles: Mapping[int, dict[str, Any]],
    state: ModelState,
    energies: str,
    *,
    extrapolated: bool,
) -> Graph:
    name = f"group {state.group_id}" if state.further else ""
    series = _measured_or_extrapolated(profiles[state.group_id], name, extrapolated=extrapolated)
    others = [_profile_curve(profiles[other], width=1.5, **styles[other]) for other in state.further]
    band = None
    edges = profiles[state.group_id].edges
    if not state.region:
        iy, ix = pixel(main.whole.axes, state.position)
        offset = float(np.hypot(main.whole.axes.detx_centers[ix].value, main.whole.axes.dety_centers[iy].value))
        ring = float(edges[min(int(offset / RING_WIDTH), len(edges) - 2)])
        band = ring, ring + RING_WIDTH
    ranges = (0.0, float(edges[-1])), range_with_errors(series, others, log=True)
    texts = f"Rate, {energies}", "offset / deg", RATE_AXIS
    return Graph(*texts, series, *ranges, y_log=True, band=band, curves=(*others, *_camera_edge(main.whole, ranges[1])))


def _camera_edge(model: BackgroundModel, heights: Range) -> tuple[Curve, ...]:
    """Mark the offset from which a ring is not entirely inside the camera, if the model knows its edge."""
    if model.edge is None:
        return ()
    offset = min(size for size in (model.edge.detx, model.edge.dety) if size is not None)
    name = "edge of the camera"
    return (Curve(x=np.full(2, offset), y=np.array(heights), colour=EXTRAPOLATED, name=name, dash="dashed"),)


def _measured_or_extrapolated(
    profile: Profile, name: str, colour: str = LINES[0], *, extrapolated: bool
) -> tuple[Series, Series]:
    """Draw a profile as grey points if it is extrapolated, or as a line with errors; the other series is empty."""
    line = profile_series(profile, name or "rate", colour, legend="" if extrapolated else name)
    nothing, grey_name = np.full(len(line.x), np.nan), f"{name}, extrapolated".removeprefix(", ")
    if extrapolated:
        grey = Series(grey_name, line.x, line.y, "points", EXTRAPOLATED)
        return grey, replace(line, y=nothing, low=nothing, high=nothing)
    return Series(grey_name, line.x, nothing, "points", EXTRAPOLATED, legend=""), line


def _profile_curve(profile: Profile, **style: Any) -> Curve:
    line = profile_series(profile, "")
    return Curve(x=line.x, y=line.y, **style)


def _groups_map(overview: GroupsOverview, state: ModelState) -> Graph:
    if overview.groups is None:
        return Graph("The groups of these models are not known", "", "", (), (-1.0, 1.0), (-1.0, 1.0), is_map=True)
    values, unit = overview.values.get(state.colour_by, {}), _GROUP_UNITS[state.colour_by]
    label = f"{state.colour_by.capitalize()} of the groups"
    some = state.further if len(state.further) < len(values) - 1 else ()  # marks of all groups would hide the map
    radius = zenith_limit(overview.groups, [group_id for group_id in overview.model_ids if group_id < len(overview.groups)])
    return pointing_map(
        overview.groups, overview.model_ids, values, label, unit, quantity=state.colour_by, chosen=state.group_id, others=some,
        max_zenith=radius,
    )  # fmt: skip


def _zenith_graph(
    models: Mapping[int, Shown[BackgroundModel]],
    weights: Mapping[int, Floats],
    overview: GroupsOverview,
    state: ModelState,
    energies: str,
    spline: Sequence[Curve],
) -> Graph:
    series = []
    for name, group_ids, colour in (
        (f"group {state.group_id}", (state.group_id,), LINES[0]),
        ("other groups" if state.further else "", state.further, "#777777"),
    ):
        points = [_spectrum(models[group_id].part, weights[group_id]) for group_id in group_ids]
        zenith = np.array([overview.zenith(group_id, models[group_id].whole) for group_id in group_ids], dtype=float)
        rate, error = (np.array([float(getattr(point, key)[0]) for point in points], dtype=float) for key in ("rate", "error"))
        details = {"group": [str(group_id) for group_id in group_ids]}
        series.append(Series(name, zenith, rate, "points", colour, rate - error, rate + error, details=details))
    known = [*(point for each in series for point in each.x), *(overview.zenith(group_id) for group_id in overview.pointings)]
    ends = axis_range(np.array(known, dtype=float), *(curve.x for curve in spline))
    texts = f"Rate, {energies}", "zenith angle / deg", RATE_AXIS
    low, high = range_with_errors(series, spline, zero=True)
    heights = low, low + 1.25 * (high - low)  # with room for the legend
    return Graph(*texts, tuple(series), ends, heights, legend="left", curves=tuple(spline))


def _strips_graph(
    models: Mapping[int, Shown[BackgroundModel]], further: Mapping[int, dict[str, Any]], state: ModelState, energies: str
) -> Graph:
    x, y = centre_of(state)
    main = models[state.group_id]
    strips = {
        group_id: [strip_profile(shown.part, 0, axis, center, STRIP) for axis, center in (("detx", y), ("dety", x))]
        for group_id, shown in models.items()
    }
    names = "along DETX", "along DETY"
    styles: tuple[Style, Style] = "line", "dotted"
    dashes: tuple[Dash, Dash] = "solid", "dashed"
    series = [
        profile_series(profile, name, LINES[0], style)
        for profile, name, style in zip(strips[state.group_id], names, styles, strict=True)
    ]
    curves = [
        _profile_curve(profile, dash=dash, **further[other])
        for other in state.further
        for profile, dash in zip(strips[other], dashes, strict=True)
    ]
    edges = np.concatenate([main.whole.axes.detx.value, main.whole.axes.dety.value])
    texts = f"Strips of {2 * STRIP:g}°, {energies}", "DETX or DETY / deg", RATE_AXIS
    ranges = (float(edges.min()), float(edges.max())), range_with_errors(series, curves, zero=True)
    return Graph(*texts, tuple(series), *ranges, curves=tuple(curves))


def profile_graph(model: BackgroundModel, bins: Sequence[int]) -> Graph:
    """Draw the mean rate against the offset in energy bins."""
    profiles, several = [radial_profile(model, where) for where in bins], len(bins) > 1
    edges = profiles[0].edges
    series: list[Series] = []
    for where, profile, colour in zip(bins, profiles, line_colours(len(bins)), strict=True):
        name = energy_label(model.axes, where) if several else ""
        series += _measured_or_extrapolated(profile, name, colour, extrapolated=bool(model.extrapolated[where]))
    title = "Rate against offset" + ("" if several else f", {energy_label(model.axes, bins[0])}")
    ranges = (0.0, float(edges[-1])), range_with_errors(series, log=True)
    legend: Legend = "below" if several else "inside"
    curves = _camera_edge(model, ranges[1])
    return Graph(title, "offset / deg", RATE_AXIS, tuple(series), *ranges, y_log=True, legend=legend, curves=curves)


def limits_of(part: BackgroundModel, state: ModelState) -> Range:
    """Choose limits of the colours of the image of one energy bin."""
    return choose_limits(quantity_of(part, state.quantity)[0], state.stretch, state.percentile)
