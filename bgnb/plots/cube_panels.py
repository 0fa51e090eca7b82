"""Images and graphs of cubes, shared by the views of one model and of two models."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from bgnb._util.arrays import Floats
from bgnb.cubes.cube import CubeAxes
from bgnb.cubes.model import BackgroundModel
from bgnb.cubes.profiles import Spectrum
from bgnb.plots.colours import LINES, Colours
from bgnb.plots.view import Graph, Image, Range, Series, Style, axis_range


def mask_nonpositive(values: Floats, error: Floats | None = None) -> Floats:
    """Replace values that are not positive, or have no error, by NaN: a logarithmic axis cannot show them."""
    shown = values > 0 if error is None else (values > 0) & np.isfinite(error)
    return np.where(shown, values, np.nan)


def field_of_view_image(
    axes: CubeAxes, pixels: Sequence[tuple[int, int]], values: Floats, title: str, unit: str, colours: Colours
) -> Image:
    """Make an image of values in the field of view, with bins marked."""
    x, y = axes.detx.value, axes.dety.value
    outlines = tuple((float(x[ix]), float(x[ix + 1]), float(y[iy]), float(y[iy + 1])) for iy, ix in pixels)
    return Image(title, "DETX / deg", "DETY / deg", unit, values, x, y, colours, outlines)


def rate_series(
    model: BackgroundModel, line: Spectrum, name: str, colour: str = LINES[0], style: Style = "line"
) -> tuple[Series, Series]:
    """Make the series of a spectrum: a thin line at all energies, and the measured rates with errors and index."""
    rate = mask_nonpositive(line.rate)
    measured = np.where(model.extrapolated, np.nan, rate)
    errors = measured - line.error, measured + line.error
    name = f"{name}, {index_label(line)}"
    return (
        Series("", line.energy, rate, "outline", colour),
        Series(name, line.energy, measured, style, colour, *errors, model.axes.energy.value),
    )


def energy_graph(
    edges: Floats, title: str, y_label: str, series: Sequence[Series], where: int | None = None, y_range: Range | None = None
) -> Graph:
    """Make a graph against energy, with an energy bin marked; y is logarithmic, unless its range is given."""
    band = None if where is None else (float(edges[where]), float(edges[where + 1]))
    ranges = (float(edges[0]), float(edges[-1])), y_range or axis_range(*(each.y for each in series), log=True)
    texts = title, "energy / TeV", y_label
    return Graph(*texts, tuple(series), *ranges, x_log=True, y_log=y_range is None, band=band)


def index_label(line: Spectrum) -> str:
    """Format the spectral index of a spectrum."""
    return f"γ = {line.index:.2f}" if math.isfinite(line.index) else "no power law"


def index_with_error(line: Spectrum) -> str:
    """Format the spectral index of a spectrum with its error."""
    return index_label(line) + (f" ± {line.index_error:.2f}" if line.index_error > 0 else "")
