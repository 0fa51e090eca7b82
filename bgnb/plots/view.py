"""Contents of a plot as plain values: images, graphs and maps, from which all renderers draw.

A view is made from the state of a dashboard by one function and has no memory, so that it
cannot disagree with the state. Bokeh figures, PNG, HTML and CSV are all made from it.
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from io import StringIO
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bgnb.plots.colours import LINES, Colours

#: Number of pixels along an axis with bins of different widths.
_N_PIXELS = 1000

#: Maximum number of names of curves in a legend.
MAX_LEGEND = 8

Style = Literal["line", "dotted", "points", "dots", "bars"]
Dash = Literal["solid", "dashed", "dotted"]
#: Minimum and maximum, or start and end.
Range = tuple[float, float]
Legend = Literal["inside", "left", "below"]
#: Series, x, y, value, lower and upper end of the error, details.
Row = tuple[str, float, float, float, float, float, str]


@dataclass(frozen=True, eq=False, kw_only=True)
class Curve:
    """A line without points or errors. A panel may have any number of them.

    Parameters
    ----------
    x, y : ndarray
        Positions; the line is interrupted where y is NaN.
    colour : str
        Colour, as ``#rrggbb``.
    name : str
        Name in the legend, in hover information and in tables; empty for none. A table contains
        only the curves with a name.
    width : float
        Width, pixels.
    dash : {"solid", "dashed", "dotted"}
        Pattern.
    legend : str, optional
        Name in the legend, if it is another one; empty for none.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    colour: str
    name: str = ""
    width: float = 1.0
    dash: Dash = "solid"
    legend: str | None = None

    @property
    def legend_name(self) -> str:
        """Name in the legend; empty for none."""
        return self.name if self.legend is None else self.legend


@dataclass(frozen=True, eq=False, kw_only=True)
class Polygon:
    """A filled area. A panel may have any number of them.

    Parameters
    ----------
    x, y : ndarray
        Corners.
    value : float
        Value, for the colour and for hover information; NaN for none.
    marked : bool
        Draw the outline in the colour of the selection.
    details : mapping of str to str
        Hover information; the same keys in all polygons of a panel.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    value: float = np.nan
    marked: bool = False
    details: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Image:
    """Values in the bins of a field of view.

    Parameters
    ----------
    title, x_label, y_label, unit : str
        Texts. Tables contain values in % as fractions.
    values : ndarray, shape (y, x)
        Values; NaN in bins without one.
    x_edges, y_edges : ndarray
        Edges of the bins.
    colours : `Colours`
        Mapping of the values to colours.
    curves : tuple of `Curve`
        Outlines of marked bins and regions, and contours.
    link : str
        Images with the same name are moved and enlarged together; empty for none.
    selects : bool
        Dragging selects a region, instead of moving the image.
    quantity : str
        Quantity of the values, for the colour bar of static plots; empty if ``unit`` describes it.
    """

    title: str
    x_label: str
    y_label: str
    unit: str
    values: NDArray[Any]
    x_edges: NDArray[np.float64]
    y_edges: NDArray[np.float64]
    colours: Colours
    curves: tuple[Curve, ...] = ()
    link: str = ""
    selects: bool = False
    quantity: str = ""

    @property
    def pixels(self) -> NDArray[Any]:
        """Values in pixels of equal size; the values themselves if all bins have the same size."""
        return self.values[np.ix_(_bins_of_pixels(self.y_edges), _bins_of_pixels(self.x_edges))]

    @property
    def value_label(self) -> str:
        """Description of the values in tables."""
        return f"{self.title}, {'fraction' if self.unit == '%' else self.unit}"

    def rows(self) -> Iterator[Row]:
        """Iterate over the bins, as rows of a table."""
        x, y = (((edges[:-1] + edges[1:]) / 2).tolist() for edges in (self.x_edges, self.y_edges))
        for (iy, ix), value in np.ndenumerate(self.values / 100 if self.unit == "%" else self.values):
            yield "", x[ix], y[iy], value, np.nan, np.nan, ""


@dataclass(frozen=True, eq=False)
class Series:
    """Points of a graph.

    Parameters
    ----------
    name : str
        Name in the legend and in tables; empty for none.
    x, y : ndarray
        Positions; lines are interrupted where y is NaN.
    style : {"line", "dotted", "points", "dots", "bars"}
        Style; dots are small points, and bars extend over ``edges``.
    colour : str
        Colour, as ``#rrggbb``.
    low, high : ndarray, optional
        Lower and upper end of the error band or of the error bars.
    edges : ndarray, optional
        Edges in x of bars and bands, one more than points.
    details : mapping of str to sequence of str
        Hover information of each point.
    legend : str, optional
        Name in the legend, if it is another one; empty for none.
    """

    name: str
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    style: Style = "line"
    colour: str = LINES[0]
    low: NDArray[np.float64] | None = None
    high: NDArray[np.float64] | None = None
    edges: NDArray[np.float64] | None = None
    details: Mapping[str, list[str]] = field(default_factory=dict)
    legend: str | None = None

    @property
    def legend_name(self) -> str:
        """Name in the legend; empty for none."""
        return self.name if self.legend is None else self.legend

    @property
    def error_ends(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Lower and upper ends of the errors; NaN without errors."""
        none = np.full(len(self.x), np.nan)
        return none if self.low is None else self.low, none if self.high is None else self.high


@dataclass(frozen=True, eq=False)
class Graph:
    """Curves, points or bars over two axes; or a map, which has equal scales and no axes.

    Parameters
    ----------
    title, x_label, y_label : str
        Texts.
    series : tuple of `Series`
        Points and bars with their errors; as many in all states.
    x_range, y_range : tuple of float
        Ends of the axes; x may decrease.
    x_log, y_log : bool
        Logarithmic axes.
    band : tuple of float, optional
        Marked range of x.
    texts : tuple of (x, y, text)
        Texts in the graph. In static maps, those that would overlap earlier ones are omitted.
    legend : {"inside", "left", "below"}
        Position of the legend: in the upper right or left corner, or below the axis.
    curves : tuple of `Curve`
        Lines.
    polygons : tuple of `Polygon`
        Filled areas, below everything else.
    colours : `Colours`, optional
        Mapping of the values of polygons to colours, shown as a colour bar; needed if there are polygons.
    unit, quantity : str
        Unit of these values, and the quantity if the unit does not describe it.
    is_map : bool
        Draw equal scales and no axes. The labels of the axes then only describe tables.
    x_link : str
        Graphs with the same name have a common x axis; empty for none.
    y_whole : bool
        Values are whole numbers, and so are the ticks of y in static plots.
    """

    title: str
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    x_range: Range
    y_range: Range
    x_log: bool = False
    y_log: bool = False
    band: Range | None = None
    texts: tuple[tuple[float, float, str], ...] = ()
    legend: Legend = "inside"
    curves: tuple[Curve, ...] = ()
    polygons: tuple[Polygon, ...] = ()
    colours: Colours | None = None
    unit: str = ""
    quantity: str = ""
    is_map: bool = False
    x_link: str = ""
    y_whole: bool = False

    def __post_init__(self) -> None:
        if self.polygons and self.colours is None:
            raise ValueError("polygons need colours")

    @property
    def value_label(self) -> str:
        """Description of the values."""
        unit = self.unit if self.is_map else self.y_label
        return f"{self.title}, {unit}" if unit else self.title

    def clip_low(self, low: NDArray[np.float64]) -> NDArray[np.float64]:
        """Replace lower ends that a logarithmic axis cannot show by values below the axis."""
        return np.where(low <= 0, self.y_range[0] / 10, low) if self.y_log else low

    def rows(self) -> Iterator[Row]:
        """Iterate over the points of all series and named curves, and the polygons, as rows of a table."""
        for series in self.series:
            for i, numbers in enumerate(zip(series.x, series.y, *series.error_ends, strict=True)):
                details = "; ".join(f"{key}: {values[i]}" for key, values in series.details.items())
                yield series.name, *self._columns(*numbers[:2]), *numbers[2:], details
        for curve in self.curves:
            if curve.name:
                for x, y in zip(curve.x, curve.y, strict=True):
                    yield curve.name, *self._columns(x, y), np.nan, np.nan, ""
        for polygon in self.polygons:
            details = "; ".join(f"{key}: {text}" for key, text in polygon.details.items())
            yield "", float(polygon.x.mean()), float(polygon.y.mean()), polygon.value, np.nan, np.nan, details

    def _columns(self, x: float, y: float) -> tuple[float, float, float]:
        """Return x, y and value in a table: only points of a map have two coordinates."""
        return (x, y, np.nan) if self.is_map else (x, np.nan, y)


Panel = Image | Graph


@dataclass(frozen=True, eq=False)
class View:
    """Contents of a dashboard in one state.

    Parameters
    ----------
    title : str
        Short title.
    summary : str
        Description in sentences, also for screen readers.
    panels : mapping of str to `Image` or `Graph`
        Images and graphs by name, drawn in rows of three; the names are the same in all states.
    subject : str
        Title of a figure of some of the panels, to which the whole title may not apply; by default the title.
    """

    title: str
    summary: str
    panels: Mapping[str, Panel]
    subject: str = ""

    def title_of(self, panels: Collection[str] | None) -> str:
        """Return the title of a figure of panels with given names; None for all."""
        return self.title if panels is None or not self.subject or set(panels) >= set(self.panels) else self.subject

    def __post_init__(self) -> None:
        object.__setattr__(self, "panels", MappingProxyType(dict(self.panels)))  # views are kept

    def to_csv(self) -> str:
        """Convert the view to a table with one row per bin or point.

        Columns are ``panel, series, x, y, value, low, high, details``. An image has a value
        at the centre (x, y) of each bin; a graph has a value at each x, with the ends of its
        error, and a map the positions (x, y) of its points. Lines that start with # describe the values.
        """
        text = StringIO()
        text.writelines(f"# {line}\n" for line in [*self.title.splitlines(), *self.summary.splitlines()])
        for name, panel in self.panels.items():
            position = f"x is {panel.x_label}"
            if isinstance(panel, Image) or panel.is_map:
                position += f", y is {panel.y_label}"
            text.write(f"# {name}: {position}, value is {' '.join(panel.value_label.split())}\n")
        table = csv.writer(text, lineterminator="\n")
        table.writerow(["panel", "series", "x", "y", "value", "low", "high", "details"])
        for name, panel in self.panels.items():
            for series, *numbers, details in panel.rows():
                table.writerow([name, series, *map(_written, numbers), details])
        return text.getvalue().replace("−", "-")  # programs read hyphens


def _written(number: float) -> str:
    """Write a number of a table: whole numbers, such as OBS_IDs, in full; empty if it is not finite."""
    if not np.isfinite(number):
        return ""
    return f"{number:.0f}" if number == round(number) and abs(number) < 1e15 else f"{number:.9g}"


def axis_range(*values: NDArray[Any], log: bool = False, zero: bool = False) -> Range:
    """Choose the ends of an axis from all values that it can show, and zero if requested, with a margin."""
    joined = np.concatenate([np.zeros(0), *map(np.ravel, values)])
    joined = joined[np.isfinite(joined) & (joined > 0 if log else True)]
    if not joined.size:
        return (0.1, 1.0) if log else (0.0, 1.0)
    low, high = float(joined.min()), float(joined.max())
    if log:
        margin = max((high / low) ** 0.05, 1.1)
        return low / margin, high * margin
    low = min(low, 0.0) if zero else low
    margin = 0.06 * (high - low) or 1.0
    return (low if zero and low == 0 else low - margin), high + margin


def range_with_errors(
    series: Iterable[Series], curves: Iterable[Curve] = (), *, log: bool = False, zero: bool = False
) -> Range:
    """Choose the ends of an axis as `axis_range`, such that it contains the errors of all points.

    On a logarithmic axis, they may extend below it if they are more than nine tenths of the value.
    """
    values = [curve.y for curve in curves]
    for each in series:
        low, high = each.error_ends
        values += [each.y, high, np.where(low > 0.1 * each.y, low, np.nan) if log else low]
    return axis_range(*values, log=log, zero=zero)


def histogram(
    name: str, values: NDArray[Any], edges: NDArray[np.float64], colour: str = LINES[0], legend: str | None = None
) -> Series:
    """Count values in bins, as bars."""
    counts, _ = np.histogram(values, edges)
    return Series(name, (edges[1:] + edges[:-1]) / 2, counts.astype(float), "bars", colour, edges=edges, legend=legend)


def _bins_of_pixels(edges: NDArray[np.float64]) -> NDArray[np.intp]:
    """Find the bin that each of equally wide pixels shows."""
    widths = np.diff(edges)
    if np.allclose(widths, widths[0], rtol=1e-6):
        return np.arange(len(widths))
    centres = edges[0] + (np.arange(_N_PIXELS) + 0.5) / _N_PIXELS * (edges[-1] - edges[0])
    return np.searchsorted(edges, centres, side="right") - 1
