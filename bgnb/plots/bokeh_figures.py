"""Interactive plots of views, drawn with Bokeh: made once from a first view, then updated from further ones."""

from __future__ import annotations

from typing import Any

import numpy as np
from bokeh import models
from bokeh.core.properties import value
from bokeh.layouts import row
from bokeh.plotting import figure

from bgnb.plots.colours import GREY, NO_VALUE, SELECTED, palette
from bgnb.plots.view import Graph, Image, Panel, Series, View

#: Bokeh models and their properties.
Properties = list[tuple[Any, dict[str, Any]]]

# Margins are wide enough for labels and the colour bar, so that the field of view is square.
_IMAGE = {"width": 410, "height": 330, "min_border_left": 60, "min_border_right": 110, "min_border_top": 40}
_IMAGE |= {"min_border_bottom": 50}
_GRAPH = {"width": 400, "height": 330}
#: JavaScript that formats the value under the pointer.
_READOUT = """
if (Number.isNaN(value)) return "no value"
const size = Math.abs(value)
return size == 0 || (size >= 0.01 && size < 1e5) ? String(Number(value.toPrecision(4))) : value.toExponential(3)
"""


class Plots:
    """Bokeh figures of a view.

    Parameters
    ----------
    view : `View`
        First view.
    selecting : tuple of str
        Panels in which dragging selects, instead of moving the plot.
    """

    def __init__(self, view: View, selecting: tuple[str, ...] = ()) -> None:
        crosshair = (models.Span(dimension="width", line_dash="dotted"), models.Span(dimension="height", line_dash="dotted"))
        self._plots: dict[str, Any] = {
            name: _ImagePlot(name, panel, crosshair) if isinstance(panel, Image) else _GraphPlot(name, panel, name in selecting)
            for name, panel in view.panels.items()
        }
        figures = [plot.figure for plot in self._plots.values()]
        self.layout: models.LayoutDOM = row(figures, sizing_mode="stretch_width", styles={"flex-wrap": "wrap"})

    def properties(self, view: View) -> Properties:
        """List the properties of all Bokeh models for a view, independent of what they showed before."""
        return [pair for name, plot in self._plots.items() for pair in plot.properties(view.panels[name])]


def draw(properties: Properties) -> None:
    """Set properties of Bokeh models, only where they change."""
    for model, wanted in properties:
        model.update(**{name: new for name, new in wanted.items() if not equal(getattr(model, name), new)})


def _new_figure(name: str, panel: Panel, **options: Any) -> Any:
    plot = figure(
        name=name, title=" ", x_axis_label=panel.x_label, y_axis_label=panel.y_label, x_range=models.Range1d(),
        y_range=models.Range1d(), tools="pan,wheel_zoom,box_zoom,reset", toolbar_location="right", **options,
    )  # fmt: skip
    plot.toolbar.logo = None
    return plot


class _ImagePlot:
    def __init__(self, name: str, image: Image, crosshair: tuple[models.Span, models.Span]) -> None:
        self.figure = _new_figure(name, image, **_IMAGE)
        self.figure.grid.visible = False
        self._source = models.ColumnDataSource({"codes": [], "value": []}, name=f"{name}-data")
        self._mapper = models.LinearColorMapper(palette=[GREY], low=-0.5, high=NO_VALUE + 0.5)
        self._scale = models.LinearColorMapper(palette=[GREY], low=-0.5, high=NO_VALUE - 0.5)
        self._renderer = self.figure.image("codes", source=self._source, color_mapper=self._mapper, **_rectangle(image))
        self._ticker = models.FixedTicker(ticks=[])
        self._bar = models.ColorBar(color_mapper=self._scale, ticker=self._ticker, width=14, padding=4, margin=0)
        self.figure.add_layout(self._bar, "right")
        outline = {"fill_alpha": 0, "line_color": SELECTED, "line_width": 2, "line_alpha": 1}
        self._outlines = [models.BoxAnnotation(**outline) for _ in image.outlines]
        self.figure.center.extend(self._outlines)
        readout = [("DETX", "$x{0.00} deg"), ("DETY", "$y{0.00} deg"), ("value", "@value{custom}")]
        formatters = {"@value": models.CustomJSHover(code=_READOUT)}
        hover = models.HoverTool(tooltips=readout, formatters=formatters, renderers=[self._renderer])
        self.figure.add_tools(hover, models.CrosshairTool(overlay=crosshair))

    def properties(self, image: Image) -> Properties:
        pixels = image.pixels
        colours, ticks = list(palette(image.colours.palette)), dict(image.colours.ticks())
        outlines = [dict(zip(("left", "right", "bottom", "top"), outline, strict=True)) for outline in image.outlines]
        return [
            (self.figure.title, {"text": f"{image.title}\n{image.unit}"}),
            (self.figure.x_range, _range_ends(*image.x_edges[[0, -1]])),
            (self.figure.y_range, _range_ends(*image.y_edges[[0, -1]])),
            (self._renderer.glyph, _rectangle(image)),
            (self._source, {"data": {"codes": [image.colours.codes(pixels)], "value": [pixels.astype(np.float32)]}}),
            (self._scale, {"palette": colours}),
            (self._mapper, {"palette": [*colours, GREY]}),
            (self._ticker, {"ticks": list(ticks)}),
            (self._bar, {"major_label_overrides": ticks}),
            *zip(self._outlines, outlines, strict=True),
        ]


class _GraphPlot:
    def __init__(self, name: str, graph: Graph, selecting: bool) -> None:
        x_type, y_type = ("log" if log else "linear" for log in (graph.x_log, graph.y_log))
        self.figure = _new_figure(name, graph, x_axis_type=x_type, y_axis_type=y_type, **_GRAPH)
        if selecting:
            select = models.BoxSelectTool(renderers=[], continuous=False)
            self.figure.add_tools(select)
            self.figure.toolbar.active_drag = select
        self._band = models.BoxAnnotation(fill_color=SELECTED, fill_alpha=0.2, line_color=SELECTED, line_alpha=0.6)
        self.figure.add_layout(self._band)
        self._texts = models.ColumnDataSource({"x": [], "y": [], "text": []}, name=f"{name}-texts")
        self.figure.text("x", "y", "text", source=self._texts, text_font_size="9px", text_color="gray", text_baseline="middle")
        self._sources, items = [], []
        for i, series in enumerate(graph.series):
            source = models.ColumnDataSource({"x": [], "y": []}, name=f"{name}-{i}")
            renderers = self._add(series, source)
            self._sources.append(source)
            items.append(models.LegendItem(label=series.name, renderers=renderers, visible=bool(series.name)))
        self._legend = models.Legend(items=items, label_text_font_size="8pt", spacing=0, padding=2, margin=2, glyph_height=12)
        inside = graph.legend == "inside"
        self._legend.update(border_line_alpha=0, background_fill_alpha=0.7, location="top_right" if inside else "left")
        self.figure.add_layout(self._legend, "center" if inside else "below")

    def _add(self, series: Series, source: models.ColumnDataSource) -> list[Any]:
        """Add the glyphs of a series; return those that the legend shows."""
        plot, style = self.figure, series.style
        common = {"source": source, "color": series.colour}
        if style == "outline":
            return [plot.line("x", "y", line_width=1, **common)]
        if style == "bars":
            points = plot.quad("left", "right", "high", "low", alpha=0.8, line_alpha=1, **common)
            glyphs = [points]
        else:
            with_line = style in ("line", "dotted")
            if with_line:
                plot.quad(
                    "left", "right", "high", "low", source=source, fill_color=series.colour, fill_alpha=0.25, line_alpha=0
                )
            else:
                plot.segment("x", "low", "x", "high", **common)
            size = {"points": 7, "dots": 3, "dotted": 0, "line": 4}[style]
            points = plot.scatter("x", "y", size=size, **common)
            glyphs = [points] if size else []
            if with_line:
                glyphs.append(plot.line("x", "y", line_dash="dashed" if style == "dotted" else "solid", **common))
        tooltips = [(name, f"@{{{name}}}") for name in series.details]
        tooltips = tooltips or [(plot.xaxis.axis_label, "@x"), (plot.yaxis.axis_label, "@y")]
        plot.add_tools(models.HoverTool(tooltips=tooltips, renderers=[points], visible=False))
        return glyphs

    def properties(self, graph: Graph) -> Properties:
        left, right = graph.band or (0.0, 0.0)
        x, y, text = zip(*graph.texts, strict=True) if graph.texts else ((), (), ())
        texts = {"x": np.array(x, dtype=float), "y": np.array(y, dtype=float), "text": list(text)}
        pairs: Properties = [
            (self.figure.title, {"text": graph.title}),
            (self.figure.xaxis[0], {"axis_label": graph.x_label}),
            (self.figure.yaxis[0], {"axis_label": graph.y_label}),
            (self.figure.x_range, _range_ends(*graph.x_range)),
            (self.figure.y_range, _range_ends(*graph.y_range)),
            (self._band, {"left": left, "right": right, "visible": bool(graph.band)}),
            (self._texts, {"data": texts}),
        ]
        for series, source, item in zip(graph.series, self._sources, self._legend.items, strict=True):
            pairs.append((source, {"data": _columns(series, graph)}))
            pairs.append((item, {"label": value(series.name), "visible": bool(series.name)}))
        return pairs


def _rectangle(image: Image) -> dict[str, float]:
    (x0, x1), (y0, y1) = image.x_edges[[0, -1]], image.y_edges[[0, -1]]
    return {"x": x0, "y": y0, "dw": x1 - x0, "dh": y1 - y0}


def _range_ends(start: float, end: float) -> dict[str, float]:
    """Return the ends of an axis, now and after use of the reset tool."""
    return {"start": start, "end": end, "reset_start": start, "reset_end": end}


def _columns(series: Series, graph: Graph) -> dict[str, Any]:
    low, high = (np.zeros(len(series.x)), series.y) if series.style == "bars" else series.error_ends
    edges = np.full(len(series.x) + 1, np.nan) if series.edges is None else series.edges
    columns = {"x": series.x, "y": series.y, "low": graph.clip_low(low), "high": high, "left": edges[:-1], "right": edges[1:]}
    return columns | {name: list(values) for name, values in series.details.items()}


def equal(one: Any, other: Any) -> bool:
    """Compare values of a property, which may contain arrays; NaN equals NaN."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(equal(one[name], other[name]) for name in one)
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        one, other = np.asarray(one), np.asarray(other)
        return one.dtype == other.dtype and np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
    if isinstance(one, list) and isinstance(other, list) and any(isinstance(item, np.ndarray) for item in one):
        return len(one) == len(other) and all(equal(*pair) for pair in zip(one, other, strict=True))
    return bool(one == other)
