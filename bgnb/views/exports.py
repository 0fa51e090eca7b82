"""Views as files: pictures drawn with Matplotlib, and pages that need no server."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from html import escape
from io import BytesIO
from typing import Any

import numpy as np

from bgnb.shown import GREY
from bgnb.views.colours import CHOSEN, NOTHING, palette
from bgnb.views.plots import Plots, draw, same
from bgnb.views.view import Graph, Image, Series, View


def to_png(view: View) -> bytes:
    """A view as a picture."""
    from matplotlib.figure import Figure

    columns = min(3, len(view.panels))
    rows = math.ceil(len(view.panels) / columns)
    figure = Figure(figsize=(4.6 * columns, 4.1 * rows), layout="constrained")
    figure.suptitle(_plain(view.title))
    places = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes, panel in zip(places, view.panels.values(), strict=False):
        axes.set_title(_plain(f"{panel.title}\n{panel.unit}" if isinstance(panel, Image) else panel.title), fontsize=9)
        axes.set_xlabel(_plain(panel.x_label))
        axes.set_ylabel(_plain(panel.y_label))
        if isinstance(panel, Image):
            _draw_image(figure, axes, panel)
        else:
            _draw_graph(axes, panel)
    for axes in places[len(view.panels) :]:
        axes.set_axis_off()
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=90, metadata={"Software": None})
    return buffer.getvalue()


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
    bar = figure.colorbar(scale, ax=axes, fraction=0.046, pad=0.03)
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
    if axes.get_legend_handles_labels()[0]:
        below = {"loc": "upper left", "bbox_to_anchor": (0, -0.14), "frameon": False}
        axes.legend(fontsize=7, **(below if graph.legend == "below" else {"loc": "upper right"}))


def _draw_series(axes: Any, series: Series, graph: Graph) -> None:
    label = _plain(series.name) or None
    if series.style == "bars":
        low = np.zeros_like(series.y) if series.low is None else series.low
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
        series.x, series.y, style, ms=size, lw=0.7 if series.style == "outline" else 1.2, color=series.colour, label=label
    )


def to_html(labels: Sequence[str], views: Sequence[View], present: int) -> str:
    """Views as one page; with a slider, where there are several.

    Parameters
    ----------
    labels : sequence of str
        What the slider says of each view.
    views : sequence of `View`
        The views.
    present : int
        The one to begin with.
    """
    from bokeh.embed import file_html
    from bokeh.layouts import column
    from bokeh.models import CustomJS, Div, Slider
    from bokeh.resources import INLINE

    plots = Plots(views[present])
    draw(plots.properties(views[present]))
    heading = Div(text=_heading(views[present]))
    children: list[Any] = [heading, plots.layout]
    if len(views) > 1:
        slider = Slider(start=0, end=len(views) - 1, value=present, step=1, title=labels[present], show_value=False, width=400)
        models, frames = _frames(plots, views)
        arguments = {"labels": list(labels), "models": models, "frames": frames}
        arguments |= {"heading": heading, "headings": [_heading(view) for view in views]}
        slider.js_on_change("value", CustomJS(args=arguments, code=_MOVE))
        children.insert(1, slider)
    return _numbered_anew(file_html(column(children, sizing_mode="stretch_width"), INLINE, views[present].title))


_MOVE = """
cb_obj.title = labels[cb_obj.value]
heading.text = headings[cb_obj.value]
frames[cb_obj.value].forEach((properties, i) => models[i].setv(properties))
"""


def _frames(plots: Plots, views: Sequence[View]) -> tuple[list[Any], list[list[dict[str, Any]]]]:
    """The models that differ between views, and their properties in each."""
    drawn = [plots.properties(view) for view in views]
    changing = [i for i, (_, first) in enumerate(drawn[0]) if not all(same(first, pairs[i][1]) for pairs in drawn)]
    return [drawn[0][i][0] for i in changing], [[pairs[i][1] for i in changing] for pairs in drawn]


_RANDOM_ID = re.compile(r'(?:<\w[^<>]* id="|"docid":")((?:bk-)?[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"')
_MODEL_ID = re.compile(r'("id":"|data-root-id="|"roots":\{"|"root_ids":\[")(p\d+)\b')


def _numbered_anew(page: str) -> str:
    """A page with ids from one on, so that the same views make the same page.

    Bokeh's own are random, or count all models since Python was started.
    """
    for count, name in enumerate(dict.fromkeys(_RANDOM_ID.findall(page)), start=1):
        page = page.replace(name, f"bokeh-{count}")
    names: dict[str, str] = {}
    return _MODEL_ID.sub(lambda match: match[1] + names.setdefault(match[2], f"p{len(names) + 1}"), page)


def _heading(view: View) -> str:
    return (
        f"<h1 style='font: 600 1.3em sans-serif'>{escape(view.title)}</h1>"
        f"<p role='status' style='font: 1em sans-serif'>{as_html(view.summary)}</p>"
    )


def as_html(text: str) -> str:
    """Lines of text for a page."""
    return "<br>".join(escape(line) for line in text.splitlines())


def _plain(text: str) -> str:
    """Text in which a dollar sign starts no formula, and a first underscore does not hide it from the legend."""
    text = text.replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text
