"""Static pictures of values, drawn with Matplotlib.

Rates are drawn in viridis, differences in a diverging map centred on zero; bins without a
value are grey, never a colour of the map.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy import units as u
from astropy.table import Table
from numpy.typing import NDArray

from bgnb.compare import Comparison
from bgnb.groups import ObservationGroups
from bgnb.model import BackgroundModel
from bgnb.outdir import write_file
from bgnb.profiles import radial_profile, spectrum
from bgnb.runs import Selection
from bgnb.shown import (
    GREY,
    LINES,
    RATE_LABEL,
    Position,
    energy_bins,
    energy_label,
    extent,
    hidden,
    index_label,
    measured_planes,
    place,
    spectra_ratio,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Values, name, colour map, whether it diverges, and limits of an image.
Image = tuple[NDArray[Any], str, tuple[str, bool], tuple[float, float]]


@dataclass(frozen=True)
class Picture:
    """A picture, which notebooks show by themselves.

    Parameters
    ----------
    png : bytes
        The picture as PNG.
    """

    png: bytes

    def _repr_png_(self) -> bytes:
        return self.png

    def save(self, path: str | Path) -> None:
        """Write the picture to a file."""
        write_file(Path(path), self.png)


def plot_runs_on_sky(table: Table, selection: Selection, catalog: Table, exclusion_radius: u.Quantity = 3 * u.deg) -> Picture:
    """Pointings of the runs kept and left out, and the known sources with their exclusion circles.

    Parameters
    ----------
    table : `~astropy.table.Table`
        The runs, such as ``Runs.table``.
    selection : `Selection`
        Which of them are kept.
    catalog : `~astropy.table.Table`
        Known sources, see `read_catalog`.
    exclusion_radius : `~astropy.units.Quantity`
        Radius of the circles, besides twice the extension.
    """
    from matplotlib.collections import EllipseCollection

    figure, axes = new_figure(11, 5)
    kept = np.isin(table["OBS_ID"], selection.kept)
    radius = exclusion_radius.to_value("deg") + 2 * np.asarray(catalog["EXTENSION"])
    dec = np.asarray(catalog["DEC"])
    width = 2 * radius / np.maximum(np.cos(np.radians(dec)), 0.05)
    offsets = np.stack([np.asarray(catalog["RA"]) % 360, dec], axis=1)
    circles = EllipseCollection(
        width,
        2 * radius,
        np.zeros(len(dec)),
        units="xy",
        offsets=offsets,
        offset_transform=axes.transData,
        facecolor="#f0d9c0",
        zorder=0,
    )
    axes.add_collection(circles)
    axes.plot(*offsets.T, "+", color="#a06020", ms=4, label=f"{len(catalog)} known sources and what they exclude")
    for use, style, name in ((~kept, {"mfc": "none", "mec": LINES[1]}, "left out"), (kept, {"color": LINES[0]}, "kept")):
        label = f"{np.count_nonzero(use)} runs {name}"
        axes.plot(np.asarray(table["RA_PNT"])[use] % 360, np.asarray(table["DEC_PNT"])[use], "o", ms=5, label=label, **style)
    axes.set(xlim=(360, 0), ylim=(-90, 90), xlabel="right ascension / deg", ylabel="declination / deg", title="Runs on the sky")
    axes.set_xticks(range(0, 361, 30))
    axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(0, -0.13), ncols=3)
    return picture_of(figure)


def plot_runs_in_groups(table: Table, groups: ObservationGroups, used: Mapping[int, int]) -> Picture:
    """Altitude and azimuth of the runs, and the edges of the groups with their GROUP_IDs.

    Parameters
    ----------
    table : `~astropy.table.Table`
        The runs.
    groups : `ObservationGroups`
        The groups.
    used : mapping of int to int
        GROUP_ID by OBS_ID of the runs used.
    """
    figure, axes = new_figure(9, 6)
    az, alt = groups.az_edges.value, groups.alt_edges.value
    shown = (np.asarray(table["AZ_PNT"]) - az[0]) % 360 + az[0]
    kept = np.isin(table["OBS_ID"], list(used))
    axes.hlines(alt, az[0], az[-1], color=GREY, lw=0.8)
    axes.vlines(az, alt[0], alt[-1], color=GREY, lw=0.8)
    for row in groups.table:
        filled = int(row["GROUP_ID"]) in used.values()
        axes.text(
            row["AZ_MIN"] + 3,
            (row["ALT_MIN"] + row["ALT_MAX"]) / 2,
            row["GROUP_ID"],
            va="center",
            fontsize=8,
            color="black" if filled else GREY,
        )
    for use, style, name in ((~kept, {"mfc": "none", "mec": LINES[1]}, "left out"), (kept, {"color": LINES[0]}, "used")):
        axes.plot(
            shown[use], np.asarray(table["ALT_PNT"])[use], "o", ms=5, label=f"{np.count_nonzero(use)} runs {name}", **style
        )
    axes.set(
        xlim=(az[0], az[-1]),
        ylim=(alt[0], alt[-1]),
        xlabel="azimuth / deg",
        ylabel="altitude / deg",
        title="Runs in groups, with GROUP_ID",
    )
    axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(0, -0.1), ncols=2)
    return picture_of(figure)


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
    bins = energy_bins(model.axes, energies) or [0]
    columns = min(3, len(bins))
    figure, panels = new_figure(4.3 * columns, 3.8 * math.ceil(len(bins) / columns), math.ceil(len(bins) / columns), columns)
    figure.suptitle(_plain_text(title))
    for axes in panels.flat[len(bins) :]:
        axes.set_axis_off()
    for axes, number in zip(panels.flat, bins, strict=False):
        rate = hidden(model.rate.quantity.value[number])
        image = axes.imshow(rate, origin="lower", extent=extent(model.axes), cmap="viridis", vmin=0)
        axes.set_facecolor(GREY)
        counts = int(model.stack.counts[number].sum())
        words = "extrapolated" if model.extrapolated[number] else f"{counts} counts"
        axes.set_title(f"{energy_label(model.axes, number)}\n{words}", fontsize=10)
        axes.set(xlabel="DETX / deg", ylabel="DETY / deg")
        figure.colorbar(image, ax=axes, label=RATE_LABEL, fraction=0.046, pad=0.03)
    return picture_of(figure)


def plot_spectra(models: Mapping[str, BackgroundModel], positions: Sequence[Position] = ((0 * u.deg, 0 * u.deg),)) -> Picture:
    """Rate against energy at positions, and counts and livetime of the whole field of view.

    Parameters
    ----------
    models : mapping of str to `BackgroundModel`
        Models by name.
    positions : sequence of pair of `~astropy.units.Quantity`
        DETX and DETY.
    """
    from matplotlib.ticker import NullFormatter

    figure, panels = new_figure(13, 4, 1, 3)
    spectra, counts, livetime = panels.flat
    for (name, model), colour in zip(models.items(), _colours(len(models)), strict=True):
        energy, edges = model.axes.energy_centers.value, model.axes.energy.value
        measured = ~model.extrapolated
        for (detx, dety), style in zip(positions, itertools.cycle(("o-", "s--", "^-.", "v-"))):
            line = spectrum(model, detx, dety)
            label = f"{_plain_text(name)} {place(detx, dety)}: {index_label(line)}"
            rate = hidden(line.rate)
            spectra.plot(energy, rate, ":", lw=1, color=colour)  # all of it, also what is extrapolated
            spectra.plot(energy, np.where(measured, rate, np.nan), style, ms=3, lw=1, color=colour, label=label)
        counts.stairs(hidden(model.stack.counts.sum(axis=(1, 2))), edges, color=colour)
        livetime.stairs(model.stack.livetime.to_value("h").max(axis=(1, 2)), edges, color=colour)
    spectra.set(xscale="log", yscale="log", title="Rate (dotted: extrapolated)", xlabel="energy / TeV", ylabel=RATE_LABEL)
    counts.set(xscale="log", yscale="log", title="Counts in the field of view", xlabel="energy / TeV", ylabel="counts per bin")
    livetime.set(xscale="log", ylim=(0, None), title="Livetime", xlabel="energy / TeV", ylabel="h")
    for axes in panels.flat:
        axes.xaxis.set_minor_formatter(NullFormatter())
    figure.legend(*spectra.get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=7)
    return picture_of(figure)


def plot_radial_profile(model: BackgroundModel, energies: Sequence[u.Quantity]) -> Picture:
    """Mean rate against the offset from the centre of the field of view, at energies."""
    figure, axes = new_figure(6, 4)
    for number, colour in zip(energy_bins(model.axes, energies), LINES, strict=False):
        profile = radial_profile(model, number)
        style = ":" if model.extrapolated[number] else "-"
        label = energy_label(model.axes, number) + ("" if style == "-" else ", extrapolated")
        axes.stairs(profile.rate, profile.edges, color=colour, ls=style, label=label)
    axes.set(yscale="log", title="Rate against offset", xlabel="offset / deg", ylabel=RATE_LABEL)
    axes.legend(fontsize=8)
    return picture_of(figure)


def plot_histograms(table: Table, columns: Sequence[str]) -> Picture:
    """Histograms of columns of a table of runs; columns that it lacks are passed over."""
    there = [name for name in columns if name in table.colnames]
    figure, panels = new_figure(3.6 * max(len(there), 1), 3, 1, max(len(there), 1))
    for axes, name in zip(panels.flat, there, strict=False):
        axes.hist(np.asarray(table[name], dtype=float), bins=20, color=LINES[0])
        unit = f" / {table[name].unit}" if table[name].unit else ""
        axes.set(xlabel=f"{name}{unit}", ylabel="runs")
    return picture_of(figure)


def plot_events(
    detx: NDArray[np.float64], dety: NDArray[np.float64], energy: NDArray[np.float64], fov_max: float = 8.0
) -> Picture:
    """Where the events of a run are in the field of view (deg), and their energies (TeV)."""
    figure, panels = new_figure(10, 4, 1, 2)
    view, spectrum_axes = panels.flat
    inside = np.hypot(detx, dety) < fov_max
    image = view.hexbin(detx[inside], dety[inside], gridsize=40, cmap="viridis", mincnt=1)
    view.set(aspect="equal", title="Events in the field of view", xlabel="DETX / deg", ylabel="DETY / deg")
    figure.colorbar(image, ax=view, label="events")
    spectrum_axes.hist(energy, bins=np.geomspace(energy.min(), energy.max() * 1.001, 40), color=LINES[0], histtype="step")
    spectrum_axes.set(xscale="log", yscale="log", title="Energies", xlabel="energy / TeV", ylabel="events per bin")
    return picture_of(figure)


def plot_comparison(
    comparison: Comparison, energies: Sequence[u.Quantity], positions: Sequence[Position], labels: tuple[str, str], title: str
) -> Picture:
    """Images of both models at energies, their relative difference, and spectra at positions."""
    from matplotlib.ticker import NullFormatter

    bins = energy_bins(comparison.axes, energies)
    figure, rows = new_figure(13, 3.9 * (len(bins) + 1), len(bins) + 1, 3)
    labels = (_plain_text(labels[0]), _plain_text(labels[1]))
    figure.suptitle(_plain_text(title))
    edges = extent(comparison.axes)
    for row, number in zip(rows, bins, strict=False):
        for axes, (values, name, colours, limits) in zip(row, comparison_images(comparison, number, labels), strict=True):
            image = axes.imshow(values, origin="lower", extent=edges, cmap=colours[0], vmin=limits[0], vmax=limits[1])
            axes.set_facecolor(GREY)
            axes.set_title(f"{name}\n{energy_label(comparison.axes, number)}", fontsize=10, wrap=True)
            axes.set(xlabel="DETX / deg", ylabel="DETY / deg")
            figure.colorbar(image, ax=axes, label="" if colours[1] else RATE_LABEL, fraction=0.046, pad=0.03)
    spectra, ratios, planes = rows[-1]
    highest = 1.5
    for (detx, dety), colour in zip(positions, _colours(len(positions)), strict=True):
        where = place(detx, dety)
        pair = comparison.spectra(detx, dety)
        for line, name, style in zip(pair, labels, ("-", "o"), strict=True):
            rate = hidden(line.rate, line.error)
            if np.isfinite(rate).any():
                error = line.error if np.any(line.error > 0) else None
                label = f"{name} {where}: {index_label(line)}"
                spectra.errorbar(line.energy, rate, error, fmt=style, color=colour, ms=4, label=label)
        ratio, error = spectra_ratio(comparison, *pair)
        ratios.errorbar(pair[0].energy, ratio, error, fmt="o", color=colour, ms=4, label=where)
        well_known = ratio[np.nan_to_num(error, nan=np.inf) < 0.3]
        highest = max(highest, float(well_known.max(initial=0)) + 0.2, 2.2 - float(well_known.min(initial=1)))
    spectra.set(xscale="log", title="Spectra", xlabel="energy / TeV", ylabel=RATE_LABEL)
    ratios.axhline(1, color="black", lw=0.8)
    ratios.set(xscale="log", ylim=(2 - highest, highest), title=f"Ratio, {labels[1]} / {labels[0]}", xlabel="energy / TeV")
    for integral, name, style in zip(measured_planes(comparison), labels, ("-", "o"), strict=True):
        planes.plot(comparison.axes.energy_centers.value, integral, style, ms=4, label=name or "?", color="black")
    planes.set(xscale="log", yscale="log", title="Whole field of view", xlabel="energy / TeV", ylabel="events per s and bin")
    if spectra.has_data():
        spectra.set_yscale("log")
    for axes in (spectra, ratios, planes):
        axes.xaxis.set_minor_formatter(NullFormatter())
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=7)
    return picture_of(figure)


def comparison_images(comparison: Comparison, number: int, labels: tuple[str, str]) -> list[Image]:
    """Values, name, colour map (and whether it diverges) and limits of the images in a row."""
    rates = [hidden(model.rate.quantity.value[number]) for model in (comparison.first, comparison.second)]
    high = max((float(np.nanmax(rate)) for rate in rates if np.isfinite(rate).any()), default=1.0)
    difference = comparison.relative_difference[number]
    finite = np.abs(difference[np.isfinite(difference)])
    limit = float(np.clip(np.percentile(finite, 98) if finite.size else 1.0, 0.05, 2.0))
    return [
        (rates[0], labels[0], ("viridis", False), (0.0, high)),
        (rates[1], labels[1], ("viridis", False), (0.0, high)),
        (difference, f"{labels[1]} / {labels[0]} − 1", ("RdBu_r", True), (-limit, limit)),
    ]


def new_figure(width: float, height: float, rows: int = 0, columns: int = 0) -> tuple[Figure, Any]:
    """A figure with one pair of axes, or an array of them."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False) if rows else figure.subplots()


def picture_of(figure: Figure) -> Picture:
    """A figure as PNG."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=80, metadata={"Software": None})
    return Picture(buffer.getvalue())


def _plain_text(text: str) -> str:
    """Text in which a dollar sign starts no formula."""
    return text.replace("$", r"\$")


def _colours(number: int) -> list[Any]:
    """Colours for so many lines: easy to tell apart, also by the colour-blind, while they are few."""
    from matplotlib import colormaps

    return [LINES[i] if number <= len(LINES) else colormaps["tab20"](i % 20) for i in range(number)]
