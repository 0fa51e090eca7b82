"""Static pictures, drawn with Matplotlib; those of views show what Bokeh shows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np

from bgnb.files.output_directory import write_file
from bgnb.plots.colours import CHOSEN, GREY, NOTHING, palette, round_values
from bgnb.plots.labels import number
from bgnb.plots.view import Graph, Image, Series, View

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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


def new_figure(width: float, height: float, rows: int, columns: int) -> tuple[Figure, Any]:
    """A figure with an array of axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def picture_of(figure: Figure) -> Picture:
    """A figure as PNG."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=90, metadata={"Software": None})
    return Picture(buffer.getvalue())


def to_png(view: View) -> bytes:
    """A view as a picture, up to three panels in a row; without panels, its title."""
    columns = min(3, len(view.panels)) or 1
    rows = math.ceil(len(view.panels) / columns) or 1
    size = 1.0 if columns == 3 else 1.25
    figure, places = new_figure(4.6 * size * columns, 4.1 * size * rows, rows, columns)
    figure.suptitle(_plain(view.title, 40 * columns))
    for axes, panel in zip(places.flat, view.panels.values(), strict=False):
        axes.set_title(_plain(panel.title), fontsize=10)
        axes.set_xlabel(_plain(panel.x_label))
        axes.set_ylabel(_plain(panel.y_label))
        if isinstance(panel, Image):
            _draw_image(figure, axes, panel)
        else:
            _draw_graph(axes, panel)
    for axes in places.flat[len(view.panels) :]:
        axes.set_axis_off()
    return picture_of(figure).png


def _draw_image(figure: Any, axes: Any, image: Image) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize
    from matplotlib.patches import Rectangle

    colours = palette(image.colours.palette)
    codes = image.colours.codes(image.pixels)
    table = ListedColormap([*colours, GREY])
    edges = (image.x_edges[0], image.x_edges[-1], image.y_edges[0], image.y_edges[-1])
    axes.imshow(codes, origin="lower", extent=edges, cmap=table, vmin=-0.5, vmax=NOTHING + 0.5, interpolation="nearest")
    scale = ScalarMappable(Normalize(-0.5, NOTHING - 0.5), ListedColormap(list(colours)))
    bar = figure.colorbar(scale, ax=axes, label=_plain(image.unit), fraction=0.046, pad=0.03)
    ticks = image.colours.ticks()
    bar.set_ticks([tick for tick, _ in ticks], labels=[label for _, label in ticks])
    bar.minorticks_off()
    for left, right, bottom, top in image.outlines:
        axes.add_patch(Rectangle((left, bottom), right - left, top - bottom, fill=False, color=CHOSEN, lw=1.5))


def _draw_graph(axes: Any, graph: Graph) -> None:
    axes.set(xscale="log" if graph.x_log else "linear", yscale="log" if graph.y_log else "linear")
    axes.set(xlim=graph.x_range, ylim=graph.y_range)
    if graph.band is not None:
        axes.axvspan(*graph.band, color=CHOSEN, alpha=0.2, lw=0)
    for series in graph.series:
        _draw_series(axes, series, graph)
    for x, y, text in graph.texts:
        axes.text(x, y, _plain(text), fontsize=7, color="gray", va="center")
    if graph.x_log:
        values = round_values(*graph.x_range, log=True)
        axes.set_xticks(values, labels=[number(value) for value in values])
        axes.tick_params(axis="x", which="minor", labelbottom=False)
    if names := axes.get_legend_handles_labels()[1]:
        below = {
            "loc": "upper left",
            "bbox_to_anchor": (0, -0.14),
            "frameon": False,
            "ncols": min(3, math.ceil(len(names) / 4)),
        }
        axes.legend(fontsize=7, **(below if graph.legend == "below" else {"loc": "best"}))


def _draw_series(axes: Any, series: Series, graph: Graph) -> None:
    label = _plain(series.name) or None
    if series.style == "bars":
        low = graph.drawn(np.zeros_like(series.y) if series.low is None else series.low)
        edges = series.edges if series.edges is not None else np.array([])
        axes.bar(edges[:-1], series.y - low, np.diff(edges), low, align="edge", color=series.colour, alpha=0.8, label=label)
        return
    if series.low is not None and series.high is not None:
        low = graph.drawn(series.low)
        if series.style == "points":
            axes.vlines(series.x, low, series.high, color=series.colour, lw=1)
        elif series.edges is not None:
            axes.bar(
                series.edges[:-1], series.high - low, np.diff(series.edges), low, align="edge",
                color=series.colour, alpha=0.25, lw=0,
            )  # fmt: skip
    style = {"line": "o-", "dotted": "--", "points": "o", "dots": "o", "outline": "-"}[series.style]
    size = {"line": 3, "points": 4.5, "dots": 1.5}.get(series.style, 0)
    axes.plot(
        series.x, series.y, style, ms=size, lw=1.0 if series.style == "outline" else 1.2, color=series.colour, label=label
    )


def _plain(text: str, most: int = 50) -> str:
    """Text in lines, in which a dollar sign starts no formula, and a first underscore does not hide it from the legend."""
    text = "\n".join(fill(line, most) for line in text.splitlines()).replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text
