"""Static pictures of values: views of them, for notebooks and files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import cycle

import numpy as np
from astropy import units as u
from astropy.table import Table
from numpy.typing import NDArray

from bgnb.cubes.compare import Comparison
from bgnb.cubes.model import BackgroundModel
from bgnb.cubes.profiles import spectrum
from bgnb.observations.datastore import Runs
from bgnb.observations.groups import ObservationGroups
from bgnb.observations.selection import Selection
from bgnb.plots.colours import Colours, choose_limits, line_colours
from bgnb.plots.comparison_views import (
    ComparisonState,
    comparison_images,
    planes_graph,
    rate_limits,
    spectra_at,
    spectra_graphs,
)
from bgnb.plots.cube_views import energy_graph, energy_of, image_of, rate_series
from bgnb.plots.labels import RATE_LABEL, Position, counted, energy_bins, energy_label, hidden, place
from bgnb.plots.model_views import profile_graph
from bgnb.plots.png import Picture, to_png
from bgnb.plots.run_views import RunSet, RunsState, runs_view
from bgnb.plots.view import Graph, Image, Panel, Series, Style, View, histogram, span

#: Of spectra at the first, second, ... position.
_STYLES: tuple[Style, ...] = ("line", "points", "dots")


def plot_runs(
    runs: Runs, selection: Selection, groups: ObservationGroups, catalog: Table, exclusion_radius: u.Quantity | None = None
) -> Picture:
    """Runs on the sky with the known sources, and in the groups with their GROUP_IDs.

    Parameters
    ----------
    runs : `~bgnb.observations.datastore.Runs`
        The runs.
    selection : `Selection`
        Which of them are kept.
    groups : `ObservationGroups`
        The groups.
    catalog : `~astropy.table.Table`
        Known sources, see `read_catalog`.
    exclusion_radius : `~astropy.units.Quantity`, optional
        Radius of the circles around them, besides twice the extension; none are drawn where
        runs were not selected by it.
    """
    radius = None if exclusion_radius is None else exclusion_radius.to_value("deg")
    run_set = RunSet(str(runs.path), runs.table, selection, groups, catalog, radius, "")
    view = runs_view(run_set, RunsState())
    return _picture(view.title, {name: view.panels[name] for name in ("sky", "groups")})


def plot_model(model: BackgroundModel, energies: Sequence[u.Quantity], title: str = "") -> Picture:
    """Images of the rate at energies.

    Parameters
    ----------
    model : `BackgroundModel`
        The model.
    energies : sequence of `~astropy.units.Quantity`
        Where; those outside the axis are passed over.
    title : str
        Above all.
    """
    panels: dict[str, Panel] = {}
    for number in energy_bins(model.axes, energies) or [0]:
        rate = model.rate.quantity.value[number]
        words = "extrapolated" if model.extrapolated[number] else counted(int(model.stack.counts[number].sum()), "count")
        colours = Colours("viridis", "linear", *choose_limits(rate, "linear", 100))
        name = f"{energy_label(model.axes, number)}, {words}"
        panels[name] = image_of(model.axes, [], rate, name, RATE_LABEL, colours)
    return _picture(title, panels)


def plot_spectra(models: Mapping[str, BackgroundModel], positions: Sequence[Position] = ((0.0, 0.0),)) -> Picture:
    """Rate against energy at positions, and counts and livetime of the whole field of view.

    Parameters
    ----------
    models : mapping of str to `BackgroundModel`
        Models by name.
    positions : sequence of pair of float
        DETX and DETY, deg.
    """
    places = [place(*position) for position in positions]
    several = len(places) > 1
    rates: list[Series] = []
    counts, livetimes = [], []
    for (name, model), colour in zip(models.items(), line_colours(len(models)), strict=True):
        for (detx, dety), words, style in zip(positions, places, cycle(_STYLES)):
            label = f"{name} {words}" if several else name
            series = rate_series(model, spectrum(model, detx * u.deg, dety * u.deg), label, colour, style)
            rates += (replace(each, low=None, high=None) for each in series)  # errors of many would hide each other
        energy, stack = model.axes.energy.value, model.stack
        counts.append(_steps(hidden(stack.counts.sum(axis=(1, 2))), energy, colour))
        livetimes.append(_steps(stack.livetime.to_value("h").max(axis=(1, 2)), energy, colour))
    edges = np.concatenate([model.axes.energy.value for model in models.values()])
    ends = np.array([edges.min(), edges.max()])
    at, hours = "" if several else f" at {places[0]}", span(*(each.y for each in livetimes), zero=True)
    panels = {
        "rates": energy_graph(ends, f"Rate{at} (without points: extrapolated)", RATE_LABEL, rates, legend="below"),
        "counts": energy_graph(ends, "Counts in the field of view", "counts per bin", counts),
        "livetimes": energy_graph(ends, "Livetime", "livetime / h", livetimes, y_range=hours),
    }
    return _picture("", panels)


def plot_radial_profile(model: BackgroundModel, energies: Sequence[u.Quantity]) -> Picture:
    """Mean rate against the offset from the centre of the field of view, at energies."""
    return _picture("", {"profile": profile_graph(model, energy_bins(model.axes, energies) or [0])})


def plot_histograms(table: Table, columns: Sequence[str]) -> Picture:
    """Histograms of columns of a table of runs; columns that it lacks are passed over, and so are missing values."""
    panels = {}
    for name in (name for name in columns if name in table.colnames):
        values: NDArray[np.float64] = np.ma.masked_invalid(np.ma.array(table[name], dtype=float)).compressed()
        edges = np.linspace(*span(values), 21)
        bars, unit = histogram("", values, edges), f" / {table[name].unit}" if table[name].unit else ""
        panels[name] = Graph("", f"{name}{unit}", "runs", (bars,), (edges[0], edges[-1]), span(bars.y, zero=True))
    return _picture("" if panels else f"The table of runs has none of {', '.join(columns)}", panels)


def plot_events(detx: NDArray[np.float64], dety: NDArray[np.float64], energy: NDArray[np.float64]) -> Picture:
    """Where the events of a run are in the field of view (deg), and their energies (TeV)."""
    sides = np.linspace(-8, 8, 41)
    counts, _, _ = np.histogram2d(dety, detx, (sides, sides))
    words = "Events in the field of view", "DETX / deg", "DETY / deg", "events"
    image = Image(*words, counts, sides, sides, Colours("viridis", "sqrt", *choose_limits(counts, "sqrt", 100)))
    edges = np.geomspace(energy.min(), energy.max() * 1.001, 40)
    graph = energy_graph(edges, "Energies", "events per bin", [histogram("", energy, edges)])
    return _picture("", {"image": image, "energies": graph})


def plot_comparison(
    comparison: Comparison, energies: Sequence[u.Quantity], positions: Sequence[Position], labels: tuple[str, str], title: str
) -> Picture:
    """Images of both models at energies, their ratio, and spectra at positions (deg)."""
    axes, places = comparison.axes, positions or [(0.0, 0.0)]
    panels: dict[str, Panel] = {}
    for number in energy_bins(axes, energies):
        state = ComparisonState(0, energy_of(axes, number), percentile=99)
        images = comparison_images(comparison, state, labels, rate_limits(comparison, state), places)
        panels |= {f"{name} {number}": image for name, image in images.items()}
    panels |= spectra_graphs(comparison, labels, spectra_at(comparison, places))
    return _picture(title, panels | {"planes": planes_graph(comparison, labels)})


def _picture(title: str, panels: Mapping[str, Panel]) -> Picture:
    return Picture(to_png(View(title, "", panels)))


def _steps(values: NDArray[np.float64], edges: NDArray[np.float64], colour: str) -> Series:
    """Values in bins, as a line."""
    return Series("", np.repeat(edges, 2)[1:-1], np.repeat(values, 2), "outline", colour)
