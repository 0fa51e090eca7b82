"""Pictures of values: static with Matplotlib (PNG), interactive with Bokeh (self-contained HTML).

Rates are drawn in viridis, differences in a diverging map centred on zero; bins without a
value are grey, never a colour of the map.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy import units as u
from numpy.typing import NDArray

from bgnb.compare import Comparison

if TYPE_CHECKING:
    from bokeh.plotting import figure as BokehFigure

Position = tuple[u.Quantity, u.Quantity]

RATE_LABEL = "MeV⁻¹ s⁻¹ sr⁻¹"
_GREY = "#bbbbbb"
_LINES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # Okabe and Ito's palette


def energy_bins(comparison: Comparison, energies: Sequence[u.Quantity]) -> list[int]:
    """The energy bins that hold these energies, each once; energies outside the axis are passed over."""
    edges = comparison.axes.energy
    bins = [int(np.searchsorted(edges.value, energy.to_value("TeV"), side="right")) - 1 for energy in energies]
    return sorted({number for number in bins if 0 <= number < len(edges) - 1})


def comparison_png(
    comparison: Comparison, energies: Sequence[u.Quantity], positions: Sequence[Position], labels: tuple[str, str], title: str
) -> bytes:
    """Images of both models at energies, their relative difference, and spectra at positions, as PNG."""
    from matplotlib.figure import Figure

    bins = energy_bins(comparison, energies)
    figure = Figure(figsize=(13, 3.9 * (len(bins) + 1)), layout="constrained")
    figure.suptitle(title.replace("$", r"\$"))
    rows = figure.subplots(len(bins) + 1, 3, squeeze=False)
    extent = _extent(comparison)
    for row, number in zip(rows, bins, strict=False):
        for axes, (values, name, colours, limits) in zip(row, _images(comparison, number, labels), strict=True):
            image = axes.imshow(values, origin="lower", extent=extent, cmap=colours[0], vmin=limits[0], vmax=limits[1])
            axes.set_facecolor(_GREY)
            axes.set(title=f"{name}, {_energy_label(comparison, number)}", xlabel="DETX / deg", ylabel="DETY / deg")
            figure.colorbar(image, ax=axes, label="" if colours[1] else RATE_LABEL)
    spectra, ratios, planes = rows[-1]
    for (detx, dety), colour in zip(positions, _LINES, strict=False):
        place = _place(detx, dety)
        pair = comparison.spectra(detx, dety)
        for spectrum, name, style in zip(pair, labels, ("-", "o"), strict=True):
            label = f"{name} {place}: γ = {spectrum.index:.2f}"
            error = np.where(np.isfinite(spectrum.error) & (spectrum.error > 0), spectrum.error, 0)
            spectra.errorbar(spectrum.energy, _hidden(spectrum.rate), error, fmt=style, color=colour, ms=4, label=label)
        first, second = pair
        ratios.errorbar(
            first.energy,
            _quotient(second.rate, first.rate),
            _quotient(second.error, first.rate),
            fmt="o",
            color=colour,
            ms=4,
            label=place,
        )
    spectra.set(xscale="log", yscale="log", title="Spectra", xlabel="energy / TeV", ylabel=RATE_LABEL)
    spectra.legend(fontsize=8)
    ratios.axhline(1, color="black", lw=0.8)
    ratios.set(xscale="log", ylim=(0.5, 1.5), title=f"Ratio, {labels[1]} / {labels[0]}", xlabel="energy / TeV")
    ratios.legend(fontsize=8)
    for integral, name, style in zip(comparison.plane_integrals(), labels, ("-", "o"), strict=True):
        planes.plot(comparison.axes.energy_centers.value, _hidden(integral), style, ms=4, label=name, color="black")
    planes.set(xscale="log", yscale="log", title="Whole field of view", xlabel="energy / TeV", ylabel="events per s and bin")
    planes.legend(fontsize=8)
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=80, metadata={"Software": None})
    return buffer.getvalue()


def comparison_html(
    comparison: Comparison, energies: Sequence[u.Quantity], positions: Sequence[Position], labels: tuple[str, str], title: str
) -> str:
    """The same as `comparison_png`, with zoom and values under the pointer, as one HTML file that needs no network."""
    from bokeh.embed import file_html
    from bokeh.layouts import gridplot
    from bokeh.resources import INLINE

    rows: list[list[Any]] = [
        [_bokeh_image(comparison, number, *image) for image in _images(comparison, number, labels)]
        for number in energy_bins(comparison, energies)
    ]
    rows.append(_bokeh_spectra(comparison, positions, labels))
    return file_html(gridplot(rows, toolbar_location="right"), INLINE, title)


def _images(
    comparison: Comparison, number: int, labels: tuple[str, str]
) -> list[tuple[NDArray[Any], str, tuple[str, bool], tuple[float, float]]]:
    """Values, name, colour map (and whether it diverges) and limits of the images in a row."""
    rates = [_hidden(model.rate.quantity.value[number]) for model in (comparison.first, comparison.second)]
    high = max((float(np.nanmax(rate)) for rate in rates if np.isfinite(rate).any()), default=1.0)
    difference = comparison.relative_difference[number]
    finite = np.abs(difference[np.isfinite(difference)])
    limit = float(np.clip(np.percentile(finite, 98) if finite.size else 1.0, 0.05, 2.0))
    return [
        (rates[0], labels[0], ("viridis", False), (0.0, high)),
        (rates[1], labels[1], ("viridis", False), (0.0, high)),
        (difference, f"{labels[1]} / {labels[0]} − 1", ("RdBu_r", True), (-limit, limit)),
    ]


def _bokeh_image(
    comparison: Comparison, number: int, values: NDArray[Any], name: str, colours: tuple[str, bool], limits: tuple[float, float]
) -> BokehFigure:
    from bokeh.models import HoverTool, LinearColorMapper
    from bokeh.models.annotations import ColorBar
    from bokeh.palettes import RdBu11, Viridis256, interp_palette
    from bokeh.plotting import figure

    low_x, high_x, low_y, high_y = _extent(comparison)
    tools = [HoverTool(tooltips=[("DETX", "$x{0.00} deg"), ("DETY", "$y{0.00} deg"), ("value", "@image")])]
    plot = figure(
        width=440, height=360, title=f"{name}, {_energy_label(comparison, number)}", x_axis_label="DETX / deg",
        y_axis_label="DETY / deg", x_range=(low_x, high_x), y_range=(low_y, high_y), tools=["pan", "box_zoom", "reset", *tools],
    )  # fmt: skip
    palette = interp_palette(RdBu11, 256) if colours[1] else Viridis256
    mapper = LinearColorMapper(palette=palette, low=limits[0], high=limits[1], nan_color=_GREY)
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
    for (detx, dety), colour in zip(positions, _LINES, strict=False):
        first, second = comparison.spectra(detx, dety)
        place = _place(detx, dety)
        spectra.line(
            first.energy, _hidden(first.rate), color=colour, legend_label=f"{labels[0]} {place}: γ = {first.index:.2f}"
        )
        spectra.scatter(
            second.energy, _hidden(second.rate), color=colour, legend_label=f"{labels[1]} {place}: γ = {second.index:.2f}"
        )
        low, high = (_hidden(second.rate + sign * second.error) for sign in (-1, 1))
        spectra.segment(second.energy, np.maximum(low, 1e-3 * second.rate), second.energy, high, color=colour)
        ratio, error = _quotient(second.rate, first.rate), _quotient(second.error, first.rate)
        ratios.scatter(first.energy, ratio, color=colour, legend_label=place)
        ratios.segment(first.energy, ratio - error, first.energy, ratio + error, color=colour)
    energy = comparison.axes.energy_centers.value
    integrals = comparison.plane_integrals()
    planes.line(energy, _hidden(integrals[0]), color="black", legend_label=labels[0])
    planes.scatter(energy, _hidden(integrals[1]), color="black", legend_label=labels[1])
    for plot in (spectra, ratios, planes):
        plot.legend.update(label_text_font_size="8pt", spacing=0, padding=4, glyph_height=14, background_fill_alpha=0.7)
    spectra.legend.location = planes.legend.location = "bottom_left"
    return [spectra, ratios, planes]


def _extent(comparison: Comparison) -> tuple[float, float, float, float]:
    axes = comparison.axes
    return tuple(float(edge) for edges in (axes.detx, axes.dety) for edge in (edges[0].value, edges[-1].value))  # type: ignore[return-value]


def _energy_label(comparison: Comparison, number: int) -> str:
    low, high = comparison.axes.energy[number : number + 2].value
    return f"{low:.3g} to {high:.3g} TeV"


def _place(detx: u.Quantity, dety: u.Quantity) -> str:
    return f"({detx.to_value('deg'):g}, {dety.to_value('deg'):g}) deg"


def _hidden(values: NDArray[Any]) -> NDArray[Any]:
    """Values above zero; not a number for the others, which a logarithm cannot show."""
    return np.where(values > 0, values, np.nan)


def _quotient(numerator: NDArray[Any], denominator: NDArray[Any]) -> NDArray[Any]:
    return np.divide(numerator, denominator, out=np.full(numerator.shape, math.nan), where=denominator > 0)
