"""Images and graphs of cubes, shared by the views of one model and of two models."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from bgnb._util.arrays import Floats
from bgnb.cubes.cube import CubeAxes
from bgnb.cubes.fov_region import FovRegion
from bgnb.cubes.model import BackgroundModel
from bgnb.cubes.profiles import Profile, Spectrum
from bgnb.plots.colours import LINES, SELECTED, Colours
from bgnb.plots.cube_state import CubeState, Positions, pixel, region_of
from bgnb.plots.labels import with_minus
from bgnb.plots.view import Curve, Graph, Image, Range, Series, Style, range_with_errors

#: Half the width of the strips along DETX and DETY in which rates are averaged, deg.
STRIP = 0.5
# Colour of many further groups.
_MANY = "#9a9a9a"
#: Distance of points of different series in the same bin, as a fraction of the width of the bin.
_BESIDE = 0.16


def mask_nonpositive(values: Floats, error: Floats | None = None) -> Floats:
    """Replace values that are not positive, or have no error, by NaN: a logarithmic axis cannot show them."""
    shown = values > 0 if error is None else (values > 0) & np.isfinite(error)
    return np.where(shown, values, np.nan)


def field_of_view_image(
    axes: CubeAxes,
    values: Floats,
    title: str,
    unit: str,
    colours: Colours,
    curves: Sequence[Curve] = (),
    *,
    quantity: str = "",
    selects: bool = False,
) -> Image:
    """Make an image of values in the field of view."""
    x, y = axes.detx.value, axes.dety.value
    texts = title, "DETX / deg", "DETY / deg", unit
    return Image(*texts, values, x, y, colours, tuple(curves), "field of view", selects, quantity)


def outlines(axes: CubeAxes, positions: Positions, region: FovRegion | None = None) -> list[Curve]:
    """Mark the bins at positions, or a region."""
    if region is not None:
        x, y = region.outline()
        return [Curve(x=x, y=y, colour=SELECTED, width=2)]
    curves = []
    for iy, ix in (pixel(axes, position) for position in positions):
        (left, right), (bottom, top) = axes.detx.value[ix : ix + 2], axes.dety.value[iy : iy + 2]
        x, y = np.array([left, right, right, left, left]), np.array([bottom, bottom, top, top, bottom])
        curves.append(Curve(x=x, y=y, colour=SELECTED, width=2))
    return curves


def outlines_of(axes: CubeAxes, state: CubeState) -> list[Curve]:
    """Mark the region of a state, or the bin at its position."""
    return outlines(axes, [state.position], region_of(state))


def contours(axes: CubeAxes, values: Floats, colours: Colours, colour: str) -> list[Curve]:
    """Draw contours of values at the ticks of a colour bar."""
    if min(values.shape) < 2:
        return []
    from contourpy import contour_generator  # a dependency of both Bokeh and Matplotlib

    lines = contour_generator(
        axes.detx_centers.value, axes.dety_centers.value, np.ma.masked_invalid(values), line_type="ChunkCombinedNan"
    )
    curves = []
    for level in colours.levels():
        for points in lines.lines(level)[0]:
            if points is not None:
                curves.append(Curve(x=points[:, 0].astype(float), y=points[:, 1].astype(float), colour=colour, width=1.2))
    return curves


def rate_series(
    model: BackgroundModel, line: Spectrum, name: str, colour: str = LINES[0], style: Style = "line"
) -> tuple[Curve, Series]:
    """Draw a spectrum: a thin line at all energies, and the measured rates with errors."""
    rate = mask_nonpositive(line.rate)
    measured = np.where(model.extrapolated, np.nan, rate)
    errors = measured - line.error, measured + line.error
    curve = Curve(x=line.energy, y=rate, colour=colour)
    return curve, Series(name, line.energy, measured, style, colour, *errors, model.axes.energy.value)


def profile_series(
    profile: Profile, name: str, colour: str = LINES[0], style: Style = "line", legend: str | None = None
) -> Series:
    """Draw a profile with its errors."""
    rate = mask_nonpositive(profile.rate)
    centres = (profile.edges[1:] + profile.edges[:-1]) / 2
    ends = rate - profile.error, rate + profile.error
    return Series(name, centres, rate, style, colour, *ends, profile.edges, legend=legend)


def energy_graph(
    edges: Floats, title: str, y_label: str, series: Sequence[Series], band: Range | None = None, y_range: Range | None = None,
    curves: Sequence[Curve] = (),
) -> Graph:  # fmt: skip
    """Make a graph against energy, with a range of energies marked; y is logarithmic, unless its range is given."""
    ranges = (float(edges[0]), float(edges[-1])), y_range or range_with_errors(series, curves, log=True)
    texts = title, "energy / TeV", y_label
    return Graph(
        *texts, tuple(series), *ranges, x_log=True, y_log=y_range is None, band=band, curves=tuple(curves), x_link="spectra"
    )


def other_styles(groups: Sequence[int], used: int = 1) -> dict[int, dict[str, Any]]:
    """Choose names and colours of curves of further groups, by GROUP_ID.

    A few have distinct colours, after those used. Many are grey, and share an entry of the legend.
    """
    few = len(groups) <= len(LINES) - used
    colours, legend = LINES[used:] if few else (_MANY,) * len(groups), None if few else "other groups"
    return {
        group_id: {"name": f"group {group_id}", "colour": colour, "legend": legend}
        for group_id, colour in zip(groups, colours, strict=False)
    }


def beside(edges: Floats, number: int, count: int, *, log: bool) -> Floats:
    """Return positions in bins for one of several series, beside each other, so that their error bars do not overlap."""
    at = 0.5 + _BESIDE * (number - (count - 1) / 2)
    return edges[:-1] ** (1 - at) * edges[1:] ** at if log else edges[:-1] * (1 - at) + edges[1:] * at


def index_with_error(line: Spectrum) -> str:
    """Format the spectral index of a spectrum with its error."""
    if not math.isfinite(line.index):
        return "no power law"
    return with_minus(f"γ = {line.index:.2f}") + (f" ± {line.index_error:.2f}" if line.index_error > 0 else "")
