"""Views drawn with Bokeh: made once from a first view, then brought up to date by each further one."""

from __future__ import annotations

from typing import Any

import numpy as np
from bokeh.core.properties import value
from bokeh.layouts import row
from bokeh.model import Model
from bokeh.models import (
    BoxAnnotation,
    BoxSelectTool,
    ColorBar,
    ColumnDataSource,
    CrosshairTool,
    CustomJSHover,
    FixedTicker,
    HoverTool,
    LayoutDOM,
    Legend,
    LegendItem,
    LinearColorMapper,
    Range1d,
    Span,
)
from bokeh.plotting import figure

from bgnb.plots.colours import CHOSEN, GREY, NOTHING, palette
from bgnb.plots.view import Graph, Image, Series, View

#: Models and what they are to be.
Properties = list[tuple[Model, dict[str, Any]]]

# Borders wide enough for labels and the colour bar, so that the field of view is square.
_IMAGE = {"width": 410, "height": 330, "min_border_left": 60, "min_border_right": 110, "min_border_top": 40}
_IMAGE |= {"min_border_bottom": 50}
_GRAPH = {"width": 400, "height": 330}
#: Shows a value under the pointer, and says so where there is none.
_READOUT = """
if (Number.isNaN(value)) return "no value"
const size = Math.abs(value)
return size == 0 || (size >= 0.01 && size < 1e5) ? String(Number(value.toPrecision(4))) : value.toExponential(3)
"""


class Plots:
    """The figures of a dashboard.

    Parameters
    ----------
    view : `View`
        The first view.
    selecting : tuple of str
        Panels in which dragging selects, instead of moving the picture.
    """

    def __init__(self, view: View, selecting: tuple[str, ...] = ()) -> None:
        crosshair = (Span(dimension="width", line_dash="dotted"), Span(dimension="height", line_dash="dotted"))
        self._plots: dict[str, _ImagePlot | _GraphPlot] = {}
        for name, panel in view.panels.items():
            if isinstance(panel, Image):
                self._plots[name] = _ImagePlot(name, panel, crosshair)
            else:
                self._plots[name] = _GraphPlot(name, panel, selecting=name in selecting)
        figures: list[Any] = [plot.figure for plot in self._plots.values()]
        self.layout: LayoutDOM = row(figures, sizing_mode="stretch_width", styles={"flex-wrap": "wrap"})

    def properties(self, view: View) -> Properties:
        """What each model is, when the figures show a view: the whole of it, whatever they showed before."""
        return [pair for name, plot in self._plots.items() for pair in plot.properties(view.panels[name])]  # type: ignore[arg-type]


def draw(properties: Properties) -> None:
    """Give models their properties; what is the same is left alone."""
    for model, wanted in properties:
        model.update(**{name: new for name, new in wanted.items() if not same(getattr(model, name), new)})


class _ImagePlot:
    def __init__(self, name: str, image: Image, crosshair: tuple[Span, Span]) -> None:
        x, y = image.x_edges, image.y_edges
        self.figure = figure(
            name=name, **_IMAGE, title=" ", x_axis_label=image.x_label, y_axis_label=image.y_label,
            x_range=Range1d(x[0], x[-1]), y_range=Range1d(y[0], y[-1]),
            tools="pan,wheel_zoom,box_zoom,reset", toolbar_location="right",
        )  # fmt: skip
        self.figure.toolbar.logo = None
        self.figure.grid.visible = False
        self._source = ColumnDataSource({"codes": [], "value": []}, name=f"{name}-data")
        self._mapper = LinearColorMapper(palette=[GREY], low=-0.5, high=NOTHING + 0.5)
        self._scale = LinearColorMapper(palette=[GREY], low=-0.5, high=NOTHING - 0.5)
        glyph: dict[str, Any] = {"x": x[0], "y": y[0], "dw": x[-1] - x[0], "dh": y[-1] - y[0]}
        renderer = self.figure.image("codes", source=self._source, color_mapper=self._mapper, **glyph)
        self._glyph = renderer.glyph
        self._ticker = FixedTicker(ticks=[])
        self._bar = ColorBar(color_mapper=self._scale, ticker=self._ticker, width=14, padding=4, margin=0)
        self.figure.add_layout(self._bar, "right")
        self._outlines = [BoxAnnotation(fill_alpha=0, line_color=CHOSEN, line_width=2, line_alpha=1) for _ in image.outlines]
        self.figure.center.extend(self._outlines)
        readout = [("DETX", "$x{0.00} deg"), ("DETY", "$y{0.00} deg"), ("value", "@value{custom}")]
        hover = HoverTool(tooltips=readout, formatters={"@value": CustomJSHover(code=_READOUT)}, renderers=[renderer])
        self.figure.add_tools(hover, CrosshairTool(overlay=crosshair))

    def properties(self, image: Image) -> Properties:
        x, y, pixels = image.x_edges, image.y_edges, image.pixels
        colours, ticks = list(palette(image.colours.palette)), dict(image.colours.ticks())
        data = {"codes": [image.colours.codes(pixels)], "value": [pixels.astype(np.float32)]}
        return [
            (self.figure.title, {"text": f"{image.title}\n{image.unit}"}),
            (self.figure.x_range, _ends(x[0], x[-1])),
            (self.figure.y_range, _ends(y[0], y[-1])),
            (self._glyph, {"x": x[0], "y": y[0], "dw": x[-1] - x[0], "dh": y[-1] - y[0]}),
            (self._source, {"data": data}),
            (self._scale, {"palette": colours}),
            (self._mapper, {"palette": [*colours, GREY]}),
            (self._ticker, {"ticks": list(ticks)}),
            (self._bar, {"major_label_overrides": ticks}),
            *(
                (box, {"left": left, "right": right, "bottom": bottom, "top": top})
                for box, (left, right, bottom, top) in zip(self._outlines, image.outlines, strict=True)
            ),
        ]


class _GraphPlot:
    def __init__(self, name: str, graph: Graph, *, selecting: bool) -> None:
        tools = "pan,wheel_zoom,box_zoom,reset"
        self.figure = figure(
            name=name, **_GRAPH, title=" ", x_axis_label=graph.x_label, y_axis_label=graph.y_label,
            x_range=Range1d(*graph.x_range), y_range=Range1d(*graph.y_range), tools=tools, toolbar_location="right",
            x_axis_type="log" if graph.x_log else "linear", y_axis_type="log" if graph.y_log else "linear",
        )  # fmt: skip
        self.figure.toolbar.logo = None
        if selecting:
            select = BoxSelectTool(renderers=[], continuous=False)
            self.figure.add_tools(select)
            self.figure.toolbar.active_drag = select
        self._band = BoxAnnotation(fill_color=CHOSEN, fill_alpha=0.2, line_color=CHOSEN, line_alpha=0.6)
        self.figure.add_layout(self._band)
        self._texts = ColumnDataSource({"x": [], "y": [], "text": []}, name=f"{name}-texts")
        self.figure.text("x", "y", "text", source=self._texts, text_font_size="9px", text_color="gray", text_baseline="middle")
        self._sources, items = [], []
        for number, series in enumerate(graph.series):
            source = ColumnDataSource({"x": [], "y": []}, name=f"{name}-{number}")
            renderers = self._add(series, source)
            self._sources.append(source)
            items.append(LegendItem(label=series.name, renderers=renderers, visible=bool(series.name)))
        self._legend = Legend(items=items, label_text_font_size="8pt", spacing=0, padding=2, margin=2, glyph_height=12)
        inside = graph.legend == "inside"
        self._legend.update(border_line_alpha=0, background_fill_alpha=0.7, location="top_right" if inside else "left")
        self.figure.add_layout(self._legend, "center" if inside else "below")

    def _add(self, series: Series, source: ColumnDataSource) -> list[Any]:
        plot, colour = self.figure, series.colour
        if series.style == "outline":
            return [plot.line("x", "y", source=source, color=colour, line_width=1)]
        if series.style == "bars":
            points = plot.quad("left", "right", "high", "low", source=source, color=colour, alpha=0.8, line_alpha=1)
            drawn = [points]
        else:
            lone = series.style in ("points", "dots")
            if lone:
                plot.segment("x", "low", "x", "high", source=source, color=colour)
            else:
                plot.quad("left", "right", "high", "low", source=source, fill_color=colour, fill_alpha=0.25, line_alpha=0)
            size = {"points": 7, "dots": 3, "dotted": 0}.get(series.style, 4)
            points = plot.scatter("x", "y", source=source, color=colour, size=size)
            drawn = [points] if size else []
            if not lone:
                dash = "dashed" if series.style == "dotted" else "solid"
                drawn.append(plot.line("x", "y", source=source, color=colour, line_dash=dash))
        if series.details:
            tooltips = [(name, f"@{{{name}}}") for name in series.details]
        else:
            tooltips = [(self.figure.xaxis.axis_label, "@x"), (self.figure.yaxis.axis_label, "@y")]
        plot.add_tools(HoverTool(tooltips=tooltips, renderers=[points], visible=False))
        return drawn

    def properties(self, graph: Graph) -> Properties:
        left, right = graph.band or (0.0, 0.0)
        x, y, text = zip(*graph.texts, strict=True) if graph.texts else ((), (), ())
        texts = {"x": np.array(x, dtype=float), "y": np.array(y, dtype=float), "text": list(text)}
        pairs: Properties = [
            (self.figure.title, {"text": graph.title}),
            (self.figure.xaxis[0], {"axis_label": graph.x_label}),
            (self.figure.yaxis[0], {"axis_label": graph.y_label}),
            (self.figure.x_range, _ends(*graph.x_range)),
            (self.figure.y_range, _ends(*graph.y_range)),
            (self._band, {"left": left, "right": right, "visible": bool(graph.band)}),
            (self._texts, {"data": texts}),
        ]
        for series, source, item in zip(graph.series, self._sources, self._legend.items, strict=True):
            pairs.append((source, {"data": _columns(series, graph)}))
            pairs.append((item, {"label": value(series.name), "visible": bool(series.name)}))
        return pairs


def _ends(start: float, end: float) -> dict[str, float]:
    """Ends of an axis, now and after the reset tool."""
    return {"start": start, "end": end, "reset_start": start, "reset_end": end}


def _columns(series: Series, graph: Graph) -> dict[str, Any]:
    nothing = np.full(len(series.x), np.nan)
    bars = series.style == "bars"
    low, high = (np.zeros(len(series.x)), series.y) if bars else (nothing, nothing)
    columns = {
        "x": series.x,
        "y": series.y,
        "low": graph.drawn(low if series.low is None else series.low),
        "high": high if series.high is None else series.high,
        "left": nothing if series.edges is None else series.edges[:-1],
        "right": nothing if series.edges is None else series.edges[1:],
    }
    return columns | {name: list(values) for name, values in series.details.items()}


def same(one: Any, other: Any) -> bool:
    """Whether two values of a property are the same, arrays and columns included."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        one, other = np.asarray(one), np.asarray(other)
        return one.dtype == other.dtype and np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
    if isinstance(one, list) and isinstance(other, list) and any(isinstance(item, np.ndarray) for item in one):
        return len(one) == len(other) and all(same(*pair) for pair in zip(one, other, strict=True))
    return bool(one == other)
