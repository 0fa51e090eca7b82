"""Static plots, drawn with Matplotlib."""

from __future__ import annotations

import math
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np

from bgnb.files.output_directory import write_file
from bgnb.plots.colours import GREY, NO_VALUE, SELECTED, choose_ticks, palette
from bgnb.plots.labels import format_number
from bgnb.plots.view import Graph, Image, Series, View

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Format and marker size of each style of series.
_STYLES = {"line": ("o-", 3), "dotted": ("--", 0), "points": ("o", 4.5), "dots": ("o", 1.5), "outline": ("-", 0)}


@dataclass(frozen=True)
class Picture:
    """A PNG image that notebooks display.

    Parameters
    ----------
    png : bytes
        Content of the PNG file.
    """

    png: bytes

    def _repr_png_(self) -> bytes:
        return self.png

    def save(self, path: str | Path) -> None:
        """Write the image to a file."""
        write_file(Path(path), self.png)


def new_figure(width: float, height: float, rows: int, columns: int) -> tuple[Figure, Any]:
    """Make a figure with an array of axes; sizes are in inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def picture_of(figure: Figure) -> Picture:
    """Convert a figure to PNG."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=90, metadata={"Software": None})
    return Picture(buffer.getvalue())


def to_png(view: View) -> bytes:
    """Draw a view as PNG, up to three panels in a row; only the title if it has no panels."""
    columns = min(3, len(view.panels)) or 1
    rows = math.ceil(len(view.panels) / columns) or 1
    size = 1.0 if columns == 3 else 1.25
    figure, grid = new_figure(4.6 * size * columns, 4.1 * size * rows, rows, columns)
    figure.suptitle(_wrap(view.title, 40 * columns))
    for axes, panel in zip(grid.flat, view.panels.values(), strict=False):
        axes.set_title(_wrap(panel.title), fontsize=10)
        axes.set_xlabel(_wrap(panel.x_label))
        axes.set_ylabel(_wrap(panel.y_label))
        if isinstance(panel, Image):
            _draw_image(figure, axes, panel)
        else:
            _draw_graph(axes, panel)
    for axes in grid.flat[len(view.panels) :]:
        axes.set_axis_off()
    return picture_of(figure).png


def _draw_image(figure: Any, axes: Any, image: Image) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize
    from matplotlib.patches import Rectangle

    colours = palette(image.colours.palette)
    axes.imshow(
        image.colours.codes(image.pixels), origin="lower", interpolation="nearest", cmap=ListedColormap([*colours, GREY]),
        extent=(*image.x_edges[[0, -1]], *image.y_edges[[0, -1]]), vmin=-0.5, vmax=NO_VALUE + 0.5,
    )  # fmt: skip
    scale = ScalarMappable(Normalize(-0.5, NO_VALUE - 0.5), ListedColormap(list(colours)))
    bar = figure.colorbar(scale, ax=axes, label=_wrap(image.unit), fraction=0.046, pad=0.03)
    codes, labels = zip(*image.colours.ticks(), strict=True)
    bar.set_ticks(codes, labels=labels)
    bar.minorticks_off()
    for left, right, bottom, top in image.outlines:
        axes.add_patch(Rectangle((left, bottom), right - left, top - bottom, fill=False, color=SELECTED, lw=1.5))


def _draw_graph(axes: Any, graph: Graph) -> None:
    axes.set(xscale="log" if graph.x_log else "linear", yscale="log" if graph.y_log else "linear")
    axes.set(xlim=graph.x_range, ylim=graph.y_range)
    if graph.band is not None:
        axes.axvspan(*graph.band, color=SELECTED, alpha=0.2, lw=0)
    for series in graph.series:
        _draw_series(axes, series, graph)
    for x, y, text in graph.texts:
        axes.text(x, y, _wrap(text), fontsize=7, color="gray", va="center")
    if graph.x_log:
        values = choose_ticks(*graph.x_range, log=True)
        axes.set_xticks(values, labels=[format_number(value) for value in values])
        axes.tick_params(axis="x", which="minor", labelbottom=False)
    if names := axes.get_legend_handles_labels()[1]:
        where: dict[str, Any] = {"loc": "best"}
        if graph.legend == "below":
            where = {"loc": "upper left", "bbox_to_anchor": (0, -0.14), "frameon": False}
            where["ncols"] = min(3, math.ceil(len(names) / 4))
        axes.legend(fontsize=7, **where)


def _draw_series(axes: Any, series: Series, graph: Graph) -> None:
    label, colour = _wrap(series.name) or None, series.colour
    if series.style == "bars":
        _draw_bars(axes, series, graph.clip_low(np.zeros_like(series.y)), series.y, alpha=0.8, label=label)
        return
    if series.low is not None and series.high is not None:
        low = graph.clip_low(series.low)
        if series.style == "points":
            axes.vlines(series.x, low, series.high, color=colour, lw=1)
        elif series.edges is not None:
            _draw_bars(axes, series, low, series.high, alpha=0.25, lw=0)
    style, size = _STYLES[series.style]
    axes.plot(series.x, series.y, style, ms=size, lw=1.0 if series.style == "outline" else 1.2, color=colour, label=label)


def _draw_bars(axes: Any, series: Series, low: Any, high: Any, **options: Any) -> None:
    assert series.edges is not None
    axes.bar(series.edges[:-1], high - low, np.diff(series.edges), low, align="edge", color=series.colour, **options)


def _wrap(text: str, width: int = 50) -> str:
    """Wrap a text for Matplotlib: a dollar sign starts no formula, a leading underscore hides no legend entry."""
    text = "\n".join(fill(line, width) for line in text.splitlines()).replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text
