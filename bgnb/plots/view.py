"""What a dashboard shows, as plain values: images and graphs, from which every renderer draws.

A view is made from a state by one function and has no memory, so that what is shown can
never disagree with the state; the live page, PNG, HTML and CSV are all made from it.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import StringIO
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bgnb.plots.colours import LINES, Colours

#: Pixels along an axis whose bins are not equal.
_FINE = 1000

Style = Literal["line", "dotted", "points", "dots", "bars", "outline"]
Legend = Literal["inside", "below"]


@dataclass(frozen=True, eq=False)
class Image:
    """Values in the bins of a field of view.

    Parameters
    ----------
    title, x_label, y_label, unit : str
        Words.
    values : ndarray, shape (y, x)
        Not a number where there is none.
    x_edges, y_edges : ndarray
        Edges of the bins.
    colours : `Colours`
        How they are coloured.
    outlines : tuple of tuple of float
        Bins to mark: x from and to, y from and to.
    """

    title: str
    x_label: str
    y_label: str
    unit: str
    values: NDArray[Any]
    x_edges: NDArray[np.float64]
    y_edges: NDArray[np.float64]
    colours: Colours
    outlines: tuple[tuple[float, float, float, float], ...] = ()

    @property
    def pixels(self) -> NDArray[Any]:
        """The values in pixels of equal size: the values themselves, unless the bins are not equal."""
        return self.values[np.ix_(_equal(self.y_edges), _equal(self.x_edges))]


@dataclass(frozen=True, eq=False)
class Series:
    """Points of a graph.

    Parameters
    ----------
    name : str
        For the legend; empty for none.
    x, y : ndarray
        Positions; lines break where y is not a number.
    style : {"line", "dotted", "points", "dots", "bars", "outline"}
        Dots are small points; bars stand in their ``edges``; an outline is a thin line that is not read off.
    colour : str
        As ``#rrggbb``.
    low, high : ndarray, optional
        Ends of the error band, or of the error bar of points.
    edges : ndarray, optional
        Edges in x of bars and bands, one more than points.
    details : mapping of str to sequence of str
        More to read at each point.
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


@dataclass(frozen=True, eq=False)
class Graph:
    """Curves, points or bars over two axes.

    Parameters
    ----------
    title, x_label, y_label : str
        Words.
    series : tuple of `Series`
        What it shows.
    x_range, y_range : tuple of float
        Ends of the axes; x may fall.
    x_log, y_log : bool
        Whether they are logarithmic.
    band : tuple of float, optional
        A range in x to mark.
    texts : tuple of (x, y, text)
        Words in the graph.
    legend : {"inside", "below"}
        Where the names of the series stand: in the upper right corner, or below the axis.
    """

    title: str
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    x_range: tuple[float, float]
    y_range: tuple[float, float]
    x_log: bool = False
    y_log: bool = False
    band: tuple[float, float] | None = None
    texts: tuple[tuple[float, float, str], ...] = ()
    legend: Legend = "inside"

    def drawn(self, low: NDArray[np.float64]) -> NDArray[np.float64]:
        """Lower ends as they are drawn: a logarithm shows no zero, so they go on below the axis."""
        return np.where(low <= 0, self.y_range[0] / 10, low) if self.y_log else low


Panel = Image | Graph


@dataclass(frozen=True, eq=False)
class View:
    """All that a dashboard shows in one state.

    Parameters
    ----------
    title : str
        In a few words.
    summary : str
        The same in sentences, for those who do not see it.
    panels : mapping of str to `Image` or `Graph`
        The pictures by name; the names are the same in all states.
    """

    title: str
    summary: str
    panels: Mapping[str, Panel]

    def to_csv(self) -> str:
        """What is shown as a table: one row a bin or point.

        Columns are ``panel, series, x, y, value, low, high, details``; an image has a value
        at (x, y), the centre of a bin; a graph has a value at x, with the ends of its error.
        Lines that start with # tell what the numbers are.
        """
        text = StringIO()
        text.writelines(f"# {line}\n" for line in [*self.title.splitlines(), *self.summary.splitlines()])
        for name, panel in self.panels.items():
            value = f"{panel.title}, {panel.unit}" if isinstance(panel, Image) else f"{panel.title}, {panel.y_label}"
            text.write(f"# {name}: x is {panel.x_label}, value is {' '.join(value.split())}\n")
        table = csv.writer(text, lineterminator="\n")
        table.writerow(["panel", "series", "x", "y", "value", "low", "high", "details"])
        for name, panel in self.panels.items():
            if isinstance(panel, Image):
                x, y = ((edges[:-1] + edges[1:]) / 2 for edges in (panel.x_edges, panel.y_edges))
                for iy, row in enumerate(panel.values):
                    table.writerows([name, "", _cell(x[ix]), _cell(y[iy]), _cell(v), "", "", ""] for ix, v in enumerate(row))
                continue
            for series in (series for series in panel.series if series.style != "outline"):
                nothing = np.full(len(series.x), np.nan)
                low, high = (nothing if end is None else end for end in (series.low, series.high))
                for number, row in enumerate(zip(series.x, series.y, low, high, strict=True)):
                    details = "; ".join(f"{key}: {values[number]}" for key, values in series.details.items())
                    table.writerow([name, series.name, _cell(row[0]), "", *(_cell(value) for value in row[1:]), details])
        return text.getvalue()


def span(*values: NDArray[Any] | None, log: bool = False, zero: bool = False) -> tuple[float, float]:
    """Ends of an axis that holds values, with a margin; with zero, if that is wanted."""
    joined = np.concatenate([np.zeros(0), *(np.ravel(np.asarray(value, dtype=float)) for value in values if value is not None)])
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


def histogram(name: str, values: NDArray[Any], edges: NDArray[np.float64], colour: str = LINES[0]) -> Series:
    """How many values lie in each bin, as bars."""
    counts, _ = np.histogram(values, edges)
    return Series(name, (edges[1:] + edges[:-1]) / 2, counts.astype(float), "bars", colour, edges=edges)


def _cell(value: float) -> str:
    return f"{value:.9g}" if np.isfinite(value) else ""


def _equal(edges: NDArray[np.float64]) -> NDArray[np.intp]:
    """Which bin each of equally wide pixels shows."""
    widths = np.diff(edges)
    if np.allclose(widths, widths[0], rtol=1e-6):
        return np.arange(len(widths))
    centres = edges[0] + (np.arange(_FINE) + 0.5) / _FINE * (edges[-1] - edges[0])
    return np.searchsorted(edges, centres, side="right") - 1
