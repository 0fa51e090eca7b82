"""Interactive pictures of values, drawn with Bokeh, as single HTML files that need no network."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy import units as u

from bgnb.compare import Comparison
from bgnb.figures import (
    GREY,
    LINES,
    RATE_LABEL,
    Image,
    Position,
    comparison_images,
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
    from bokeh.plotting import figure as BokehFigure


def comparison_html(
    comparison: Comparison, energies: Sequence[u.Quantity], positions: Sequence[Position], labels: tuple[str, str], title: str
) -> str:
    """The same as `bgnb.figures.plot_comparison`, to zoom and read values in, as one HTML file that needs no network."""
    from bokeh.embed import file_html
    from bokeh.layouts import column, gridplot
    from bokeh.models import Div
    from bokeh.resources import INLINE

    rows: list[list[Any]] = [
        [_bokeh_image(comparison, number, image) for image in comparison_images(comparison, number, labels)]
        for number in energy_bins(comparison.axes, energies)
    ]
    rows.append(_bokeh_spectra(comparison, positions, labels))
    heading = Div(text=f"<h1 style='font-family: sans-serif; font-size: 1.3em'>{escape(title)}</h1>")
    return file_html(column(heading, gridplot(rows, toolbar_location="right")), INLINE, title)


def _bokeh_image(comparison: Comparison, number: int, image: Image) -> BokehFigure:
    values, name, colours, limits = image
    from bokeh.models import HoverTool, LinearColorMapper
    from bokeh.models.annotations import ColorBar
    from bokeh.palettes import RdBu11, Viridis256, interp_palette
    from bokeh.plotting import figure

    low_x, high_x, low_y, high_y = extent(comparison.axes)
    tools = [HoverTool(tooltips=[("DETX", "$x{0.00} deg"), ("DETY", "$y{0.00} deg"), ("value", "@image")])]
    plot = figure(
        width=440, height=360, title=f"{name}, {energy_label(comparison.axes, number)}", x_axis_label="DETX / deg",
        y_axis_label="DETY / deg", x_range=(low_x, high_x), y_range=(low_y, high_y), tools=["pan", "box_zoom", "reset", *tools],
    )  # fmt: skip
    palette = interp_palette(RdBu11, 256) if colours[1] else Viridis256
    mapper = LinearColorMapper(palette=palette, low=limits[0], high=limits[1], nan_color=GREY)
    plot.image([values], x=low_x, y=low_y, dw=high_x - low_x, dh=high_y - low_y, color_mapper=mapper)
    plot.add_layout(ColorBar(color_mapper=mapper, title=None if colours[1] else RATE_LABEL), "right")
    return plot


def _bokeh_spectra(comparison: Comparison, positions: Sequence[Position], labels: tuple[str, str]) -> list[BokehFigure]:
    from bokeh.models import HoverTool
    from bokeh.plotting import figure

    hover = [("energy", "@x{0.00} TeV"), ("rate", "@y")]
    common: dict[str, Any] = {"width": 440, "height": 360, "x_axis_type": "log", "x_axis_label": "energy / TeV"}
    common["tools"] = "pan,box_zoom,reset"
    spectra = figure(title="Spectra", y_axis_type="log", y_axis_label=RATE_LABEL, **common)
    ratios = figure(title=f"Ratio, {labels[1]} / {labels[0]}", y_range=(0.5, 1.5), **common)
    planes = figure(title="Whole field of view", y_axis_type="log", y_axis_label="events per s and bin", **common)
    for plot in (spectra, ratios, planes):
        plot.add_tools(HoverTool(tooltips=hover))
    for (detx, dety), colour in zip(positions, itertools.cycle(LINES), strict=False):
        first, second = comparison.spectra(detx, dety)
        where = place(detx, dety)
        rates = [hidden(line.rate, line.error) for line in (first, second)]
        names = [f"{label} {where}: {index_label(line)}" for label, line in zip(labels, (first, second), strict=True)]
        spectra.line(first.energy, rates[0], color=colour, legend_label=names[0])
        spectra.scatter(second.energy, rates[1], color=colour, legend_label=names[1])
        for line, rate in zip((first, second), rates, strict=True):
            low = np.fmax(line.rate - line.error, 1e-3 * rate)  # a logarithm shows no zero
            spectra.segment(line.energy, low, line.energy, rate + line.error, color=colour)
        ratio, error = spectra_ratio(comparison, first, second)
        ratios.scatter(first.energy, ratio, color=colour, legend_label=where)
        ratios.segment(first.energy, ratio - error, first.energy, ratio + error, color=colour)
    energy = comparison.axes.energy_centers.value
    integrals = measured_planes(comparison)
    planes.line(energy, integrals[0], color="black", legend_label=labels[0])
    planes.scatter(energy, integrals[1], color="black", legend_label=labels[1])
    for plot in (spectra, ratios, planes) if positions else (planes,):
        plot.legend.update(label_text_font_size="8pt", spacing=0, padding=4, glyph_height=14, background_fill_alpha=0.7)
        plot.legend.location = "top_right" if plot is ratios else "bottom_left"
    return [spectra, ratios, planes]
