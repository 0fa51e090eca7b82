"""Interactive pictures of values, drawn with Bokeh, as single HTML files that need no network."""

from __future__ import annotations

from collections.abc import Sequence
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
    place,
    quotient,
)

if TYPE_CHECKING:
    from bokeh.plotting import figure as BokehFigure


def comparison_html(
    comparison: Comparison, energies: Sequence[u.Quantity], positions: Sequence[Position], labels: tuple[str, str], title: str
) -> str:
    """The same as `bgnb.figures.plot_comparison`, to zoom and read values in, as one HTML file that needs no network."""
    from bokeh.embed import file_html
    from bokeh.layouts import gridplot
    from bokeh.resources import INLINE

    rows: list[list[Any]] = [
        [_bokeh_image(comparison, number, image) for image in comparison_images(comparison, number, labels)]
        for number in energy_bins(comparison.axes, energies)
    ]
    rows.append(_bokeh_spectra(comparison, positions, labels))
    return file_html(gridplot(rows, toolbar_location="right"), INLINE, title)


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
    for (detx, dety), colour in zip(positions, LINES, strict=False):
        first, second = comparison.spectra(detx, dety)
        where = place(detx, dety)
        spectra.line(first.energy, hidden(first.rate), color=colour, legend_label=f"{labels[0]} {where}: γ = {first.index:.2f}")
        spectra.scatter(
            second.energy, hidden(second.rate), color=colour, legend_label=f"{labels[1]} {where}: γ = {second.index:.2f}"
        )
        low, high = (hidden(second.rate + sign * second.error) for sign in (-1, 1))
        spectra.segment(second.energy, np.maximum(low, 1e-3 * second.rate), second.energy, high, color=colour)
        ratio, error = quotient(second.rate, first.rate), quotient(second.error, first.rate)
        ratios.scatter(first.energy, ratio, color=colour, legend_label=where)
        ratios.segment(first.energy, ratio - error, first.energy, ratio + error, color=colour)
    energy = comparison.axes.energy_centers.value
    integrals = comparison.plane_integrals()
    planes.line(energy, hidden(integrals[0]), color="black", legend_label=labels[0])
    planes.scatter(energy, hidden(integrals[1]), color="black", legend_label=labels[1])
    for plot in (spectra, ratios, planes):
        plot.legend.update(label_text_font_size="8pt", spacing=0, padding=4, glyph_height=14, background_fill_alpha=0.7)
    spectra.legend.location = planes.legend.location = "bottom_left"
    return [spectra, ratios, planes]
