"""Static plots of runs, models and comparisons, for notebooks and files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import cycle

import numpy as np
from astropy import units as u
from astropy.table import Table

from bgnb._util.arrays import Floats
from bgnb.cubes.compare import Comparison
from bgnb.cubes.model import BackgroundModel
from bgnb.cubes.profiles import spectrum
from bgnb.observations.datastore import Runs
from bgnb.observations.groups import ObservationGroups
from bgnb.observations.run_selection import Selection
from bgnb.plots.colours import Colours, choose_limits, line_colours
from bgnb.plots.comparison_graphs import planes_graph, spectra_at, spectra_graphs
from bgnb.plots.comparison_state import ComparisonState
from bgnb.plots.comparison_views import PERCENTILE, compared_limits, comparison_images, rate_limits
from bgnb.plots.cube_panels import energy_graph, field_of_view_image, mask_nonpositive, rate_series
from bgnb.plots.cube_state import Positions, default_energy, energies_of, energy_bins
from bgnb.plots.labels import RATE_AXIS, RATE_LABEL, energy_label, format_count, position_label
from bgnb.plots.model_views import profile_graph
from bgnb.plots.run_set import RunSet
from bgnb.plots.run_views import first_state, runs_view
from bgnb.plots.static import Picture, to_png
from bgnb.plots.view import Curve, Graph, Image, Panel, Series, Style, View, axis_range, histogram

#: Styles of the spectra at the first, second, ... position.
_STYLES: tuple[Style, ...] = ("line", "points", "dots")


def plot_runs(
    runs: Runs, selection: Selection, groups: ObservationGroups, catalog: Table, exclusion_radius: u.Quantity | None = None
) -> Picture:
    """Plot runs on the sky with the known sources, and in the groups, which are coloured by livetime.

    Parameters
    ----------
    runs : `~bgnb.observations.datastore.Runs`
        Runs.
    selection : `Selection`
        Kept runs.
    groups : `ObservationGroups`
        Groups.
    catalog : `~astropy.table.Table`
        Known sources, see `read_catalog`.
    exclusion_radius : `~astropy.units.Quantity`, optional
        Radius of the circles around the sources, which is added to twice the extension. By
        default no circles are drawn, for runs that were not selected by their distance.

    Returns
    -------
    Picture
        The plot.
    """
    radius = None if exclusion_radius is None else exclusion_radius.to_value("deg")
    shown = RunSet(
        origin=str(runs.path), table=runs.table, selection=selection, groups=groups, catalog=catalog, exclusion_radius=radius
    )
    view = runs_view(shown, first_state(shown))
    return _picture(view.title, {name: view.panels[name] for name in ("sky", "groups")})


def plot_model(model: BackgroundModel, energies: Sequence[u.Quantity] | None = None, title: str = "") -> Picture:
    """Plot images of the rate at energies.

    Parameters
    ----------
    model : `BackgroundModel`
        Model.
    energies : sequence of `~astropy.units.Quantity`, optional
        Energies of the images; energies outside the axis are ignored. By default 1 TeV, or the nearest energy at which the
        model is measured.
    title : str
        Title.

    Returns
    -------
    Picture
        The plot.
    """
    panels: dict[str, Panel] = {}
    energies = [default_energy(model) * u.TeV] if energies is None else energies
    for where in energy_bins(model.axes, energies) or [0]:
        rate, counts = model.rate.quantity.value[where], format_count(int(model.stack.counts[where].sum()), "count")
        name = f"{energy_label(model.axes, where)}, {'extrapolated' if model.extrapolated[where] else counts}"
        colours = Colours("viridis", "linear", *choose_limits(rate, "linear", 100))
        panels[name] = field_of_view_image(model.axes, rate, name, RATE_LABEL, colours, quantity="rate")
    return _picture(title, panels)


def plot_spectra(models: Mapping[str, BackgroundModel], positions: Positions = ((0.0, 0.0),)) -> Picture:
    """Plot the rate against energy at positions, and counts and livetime of the whole field of view.

    Parameters
    ----------
    models : mapping of str to `BackgroundModel`
        Models by name.
    positions : sequence of pair of float
        DETX and DETY, deg.

    Returns
    -------
    Picture
        The plot.
    """
    names = [position_label(*position) for position in positions]
    several = len(names) > 1
    rates: list[Series] = []
    curves: list[Curve] = []
    counts, livetimes = [], []
    for (label, model), colour in zip(models.items(), line_colours(len(models)), strict=True):
        for (detx, dety), name, style in zip(positions, names, cycle(_STYLES)):
            line = spectrum(model, detx * u.deg, dety * u.deg)
            curve, series = rate_series(model, line, f"{label} {name}" if several else label, colour, style)
            curves.append(curve)
            rates.append(replace(series, low=None, high=None))  # many error bands would hide each other
        energy, stack = model.axes.energy.value, model.stack
        counts.append(_steps(mask_nonpositive(stack.counts.sum(axis=(1, 2))), energy, colour))
        livetimes.append(_steps(stack.livetime.to_value("h").max(axis=(1, 2)), energy, colour))
    edges = np.concatenate([model.axes.energy.value for model in models.values()])
    ends = np.array([edges.min(), edges.max()])
    title = f"Rate{'' if several else f' at {names[0]}'} (without points: extrapolated)"
    hours = axis_range(*(each.y for each in livetimes), zero=True)
    panels = {
        "rates": replace(energy_graph(ends, title, RATE_AXIS, rates, curves=curves), legend="below"),
        "counts": replace(energy_graph(ends, "Counts in the field of view", "counts per bin", (), curves=counts), y_whole=True),
        "livetimes": energy_graph(ends, "Livetime", "livetime / h", (), y_range=hours, curves=livetimes),
    }
    return _picture("", panels)


def plot_radial_profile(model: BackgroundModel, energies: Sequence[u.Quantity]) -> Picture:
    """Plot the mean rate against the offset from the centre of the field of view.

    Parameters
    ----------
    model : `BackgroundModel`
        Model.
    energies : sequence of `~astropy.units.Quantity`
        Energies; those outside the axis are ignored.

    Returns
    -------
    Picture
        The plot.
    """
    return _picture("", {"profile": profile_graph(model, energy_bins(model.axes, energies) or [0])})


def plot_histograms(table: Table, columns: Sequence[str]) -> Picture:
    """Plot histograms of columns of a table of runs.

    Parameters
    ----------
    table : `~astropy.table.Table`
        Table with one row per run.
    columns : sequence of str
        Names of the columns; missing columns and values are ignored.

    Returns
    -------
    Picture
        The plot.
    """
    panels = {}
    for name in (name for name in columns if name in table.colnames):
        values: Floats = np.ma.masked_invalid(np.ma.array(table[name], dtype=float)).compressed()
        edges = np.linspace(*axis_range(values), 21)
        bars, unit = histogram(name, values, edges, legend=""), f" / {table[name].unit}" if table[name].unit else ""
        panels[name] = Graph("", f"{name}{unit}", "runs", (bars,), (edges[0], edges[-1]), axis_range(bars.y, zero=True))
    return _picture("" if panels else f"The table of runs has none of {', '.join(columns)}", panels)


def plot_events(detx: Floats, dety: Floats, energy: Floats) -> Picture:
    """Plot the positions and energies of events.

    Parameters
    ----------
    detx, dety : ndarray
        Positions in the field of view, deg.
    energy : ndarray
        Energies, TeV.

    Returns
    -------
    Picture
        The plot.
    """
    sides = np.linspace(-8, 8, 41)
    counts, _, _ = np.histogram2d(dety, detx, (sides, sides))
    texts = "Events in the field of view", "DETX / deg", "DETY / deg", "events"
    image = Image(*texts, counts, sides, sides, Colours("viridis", "sqrt", *choose_limits(counts, "sqrt", 100), whole=True))
    edges = np.geomspace(energy.min(), energy.max() * 1.001, 40)
    energies = histogram("events", energy, edges, legend="")
    graph = replace(energy_graph(edges, "Energies", "events per bin", [energies]), y_whole=True)
    return _picture("", {"image": image, "energies": graph})


def plot_comparison(
    comparison: Comparison, energies: Sequence[u.Quantity], positions: Positions, labels: tuple[str, str], title: str
) -> Picture:
    """Plot images of two models at energies, their ratio, and spectra at positions.

    Parameters
    ----------
    comparison : `Comparison`
        Comparison of the models.
    energies : sequence of `~astropy.units.Quantity`
        Energies of the images; those outside the axis are ignored.
    positions : sequence of pair of float
        DETX and DETY of the spectra, deg; the centre of the field of view if empty.
    labels : pair of str
        Names of the models.
    title : str
        Title.

    Returns
    -------
    Picture
        The plot.
    """
    axes, positions = comparison.axes, positions or [(0.0, 0.0)]
    panels: dict[str, Panel] = {}
    for where in energy_bins(axes, energies):
        state = ComparisonState(group_id=0, energy=energies_of(axes, where, where + 1), percentile=PERCENTILE)
        part = comparison.in_energies(where, where + 1)
        limits = rate_limits(part, state.stretch, state.percentile), compared_limits(part, state)
        images = comparison_images(part, state, labels, limits, energy_label(axes, where), positions)
        panels |= {f"{name} {where}": image for name, image in images.items()}
    panels |= spectra_graphs(comparison, labels, spectra_at(comparison, positions))
    return _picture(title, panels | {"planes": planes_graph(comparison, labels)})


def _picture(title: str, panels: Mapping[str, Panel]) -> Picture:
    return Picture(to_png(View(title, "", panels)))


def _steps(values: Floats, edges: Floats, colour: str) -> Curve:
    """Draw values in bins as a line."""
    return Curve(x=np.repeat(edges, 2)[1:-1], y=np.repeat(values, 2), colour=colour)
