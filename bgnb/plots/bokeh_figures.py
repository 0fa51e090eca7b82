"""Interactive plots of views, drawn with Bokeh: made once from a first view, then updated from further ones."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
from bokeh import models
from bokeh.core.properties import value
from bokeh.layouts import row
from bokeh.plotting import figure

from bgnb.plots.colours import GREY, N_COLOURS, NO_VALUE, SELECTED, Colours, palette
from bgnb.plots.labels import axis_power, keep_together, with_power
from bgnb.plots.view import MAX_LEGEND, Curve, Graph, Image, Panel, Series, View

#: Bokeh models and their properties.
Properties = list[tuple[Any, dict[str, Any]]]

# Rows of three plots, of two or one if the page is narrow; two rows fit a screen. Narrow plots are lower.
_GRID = {"display": "grid", "grid-template-columns": "repeat(auto-fit, minmax(max(260px, 30%), 1fr))", "gap": "2px"}
_SIZE = {"width": "100%", "height": "auto", "aspect-ratio": "1.09", "min-height": "230px"}
_SIZE |= {"max-height": "clamp(230px, 35vh, 640px)"}
_TITLE, _LABEL, _TICK = "12px", "12px", "11px"
# Margins, px: left, right, bottom. In images they contain the labels and the colour bar.
_IMAGE_MARGINS, _MAP_MARGINS = (52, 76, 44), (8, 8, 8)
_BAR_WIDTH, _LEGEND_HEIGHT = 68, 26
# Maximum numbers of letters in a line of a title and of the label of a vertical axis, in the smallest plots.
_TITLE_LETTERS, _LABEL_LETTERS = 38, 32
# Bokeh typesets what is between such characters.
_FORMULA = re.compile(r"\$(?=\$)|\\(?=[(\[])")
_POSITION = [("DETX", "$x{custom}°"), ("DETY", "$y{custom}°")]
#: JavaScript function that gives the plots of a document equal scales on both axes, see `_scale_equally`.
EQUAL_SCALES = (Path(__file__).parent / "equal_scales.js").read_text("utf-8")
#: Formats a number as in a paper.
_NUMBER = """
const power = (value) => {
    const [mantissa, exponent] = value.toExponential(3).split("e")
    const raised = [...String(Number(exponent))].map((sign) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(sign)]).join("")
    const factor = String(Number(mantissa)).replace("-", "−")
    return factor === "1" ? `10${raised}` : `${factor} × 10${raised}`
}
const number = (value) => {
    if (!Number.isFinite(value)) return "no value"
    const size = Math.abs(value)
    return size === 0 || (size >= 0.01 && size < 1e5) ? String(Number(value.toPrecision(4))).replace("-", "−") : power(value)
}
"""
_READOUT = f"{_NUMBER}\nreturn number(value)"
_DEGREES = "return (Math.round(100 * value) / 100 + 0).toFixed(2).replace('-', '−')"
_TICKS = "return String(Number((tick / 10 ** power).toPrecision(4))).replace('-', '−')"
#: Formats the ticks of a logarithmic axis: all of them with a power of ten if one of them needs it.
_LOG_TICKS = f"""{_NUMBER}
const plain = ticks.every((value) => value >= 0.01 && value < 1e5)
return plain ? number(tick) : power(tick)
"""
#: Chooses the ticks of a logarithmic axis, as `choose_ticks` does for static plots.
_LOG_MAJOR = """
const low = Math.min(cb_data.range.start, cb_data.range.end)
const high = Math.max(cb_data.range.start, cb_data.range.end)
if (!(low > 0)) return []
const [first, last] = [Math.floor(Math.log10(low)), Math.ceil(Math.log10(high))]
for (const [step, factors] of [[Math.ceil((last - first) / 7), [1]], [1, [1]], [1, [1, 3]], [1, [1, 2, 5]]]) {
    const decades = []
    for (let power = first; power <= last; power++) if (power % step === 0) decades.push(power)
    const values = decades.flatMap((power) => factors.map((factor) => Number(`${factor}e${power}`)))
    const inside = values.filter((value) => value >= low * (1 - 1e-9) && value <= high * (1 + 1e-9))
    if (inside.length >= 3) return inside
}
const rough = (high - low) / 5
const power = 10 ** Math.floor(Math.log10(rough))
const width = [1, 2, 5, 10].map((factor) => factor * power).find((value) => value >= rough * 0.999)
const ticks = []
for (let i = Math.ceil(low / width); i * width <= high; i++) ticks.push(Number((i * width).toPrecision(12)))
return ticks
"""
_LOG_MINOR = """
const low = Math.min(cb_data.range.start, cb_data.range.end)
const high = Math.max(cb_data.range.start, cb_data.range.end)
if (!(low > 0) || high / low > 1e8) return []
const ticks = []
for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++)
    for (let factor = 1; factor < 10; factor++) ticks.push(Number(`${factor}e${power}`))
return ticks.filter((value) => value >= low && value <= high)
"""


class Plots:
    """Bokeh figures of a view.

    Parameters
    ----------
    view : `View`
        First view.
    selecting : tuple of str
        Graphs in which dragging selects, instead of moving the plot.
    """

    def __init__(self, view: View, selecting: tuple[str, ...] = ()) -> None:
        crosshair = [models.Span(dimension=side, line_dash="dotted", line_color="#888888") for side in ("width", "height")]
        links: dict[str, models.Range1d] = {}
        self._plots: dict[str, Any] = {
            name: _ImagePlot(name, panel, links, crosshair)
            if isinstance(panel, Image)
            else _GraphPlot(name, panel, links, name in selecting)
            for name, panel in view.panels.items()
        }
        figures = [plot.figure for plot in self._plots.values()]
        self.layout: models.LayoutDOM = row(figures, sizing_mode="stretch_width", styles=_GRID)

    def properties(self, view: View) -> Properties:
        """List the properties of all Bokeh models for a view, independent of what they showed before."""
        return [pair for name, plot in self._plots.items() for pair in plot.properties(view.panels[name])]


def draw(properties: Properties) -> None:
    """Set properties of Bokeh models, only where they change."""
    for model, wanted in properties:
        model.update(**{name: new for name, new in wanted.items() if not equal(getattr(model, name), new)})


def _new_figure(name: str, panel: Panel, links: dict[str, models.Range1d], **options: Any) -> Any:
    link = panel.link if isinstance(panel, Image) else panel.x_link
    x_range = links.setdefault(f"{link} x", models.Range1d()) if link else models.Range1d()
    y_range = links.setdefault(f"{link} y", models.Range1d()) if link and isinstance(panel, Image) else models.Range1d()
    plot = figure(
        name=name, title=" ", x_axis_label=panel.x_label, y_axis_label=panel.y_label, x_range=x_range, y_range=y_range,
        tools="pan,wheel_zoom,box_zoom,reset", toolbar_location="above", sizing_mode="stretch_both", frame_align=False,
        styles=_SIZE, **options,
    )  # fmt: skip
    plot.toolbar.update(logo=None, autohide=True)
    plot.title.update(text_font_size=_TITLE, text_font_style="normal", text_line_height=1.15)
    plot.axis.axis_label_text_font_style = "normal"
    plot.axis.axis_label_text_font_size, plot.axis.major_label_text_font_size = _LABEL, _TICK
    plot.axis.axis_label_standoff = 3
    return plot


def _scale_equally(plot: Any, margins: tuple[int, int, int]) -> None:
    """Reserve margins (left, right, bottom) around a plot with equal scales; that at the top follows from its title."""
    left, right, bottom = margins
    plot.update(min_border_left=left, min_border_right=right, min_border_bottom=bottom)
    plot.tags = [{"margins": list(margins)}]


def wrap(text: str, letters: int = _TITLE_LETTERS) -> str:
    """Wrap the lines of a title or label to the smallest plots; energies are not divided, and TeX is not typeset."""
    wrapped = (fill(line, letters, break_on_hyphens=False) for line in keep_together(text).splitlines())
    text = "\n".join(wrapped).replace("\N{NO-BREAK SPACE}", " ")
    return _FORMULA.sub("\\g<0>\N{ZERO WIDTH NON-JOINER}", text)


class _ColourBar:
    """Colour bar, which shows codes of colours as values."""

    def __init__(self, plot: Any) -> None:
        self.mapper = models.LinearColorMapper(palette=[GREY], low=-0.5, high=NO_VALUE - 0.5)
        self._ticker = models.FixedTicker(ticks=[])
        self._bar = models.ColorBar(color_mapper=self.mapper, ticker=self._ticker, width=12, padding=4, margin=0)
        self._bar.major_label_text_font_size = _TICK
        plot.add_layout(self._bar, "right")

    def properties(self, colours: Colours) -> Properties:
        ticks = dict(colours.ticks())
        return [
            (self.mapper, {"palette": list(palette(colours.palette))}),
            (self._ticker, {"ticks": list(ticks)}),
            (self._bar, {"major_label_overrides": ticks}),
        ]


class _Curves:
    """Any number of curves; those with a name have hover information."""

    def __init__(self, name: str, plot: Any) -> None:
        self._sources = []
        for kind in ("lines", "curves"):
            self._sources.append(models.ColumnDataSource(_columns_of_curves([]), name=f"{name}-{kind}"))
            lines = models.MultiLine(xs="xs", ys="ys", line_color="colour", line_width="width", line_dash="dash")
            self.renderer = plot.add_glyph(self._sources[-1], lines)

    def properties(self, panel: Panel) -> Properties:
        parts = [[curve for curve in panel.curves if bool(curve.name) == named] for named in (False, True)]
        return [(source, {"data": _columns_of_curves(part)}) for source, part in zip(self._sources, parts, strict=True)]


def _columns_of_curves(curves: Sequence[Curve]) -> dict[str, list[Any]]:
    columns = {"xs": [curve.x for curve in curves], "ys": [curve.y for curve in curves]}
    return columns | {name: [getattr(curve, name) for curve in curves] for name in ("colour", "width", "dash", "name")}


class _ImagePlot:
    def __init__(self, name: str, image: Image, links: dict[str, models.Range1d], crosshair: list[models.Span]) -> None:
        self.figure = _new_figure(name, image, links)
        self.figure.grid.visible = False
        _scale_equally(self.figure, _IMAGE_MARGINS)
        self._source = models.ColumnDataSource({"codes": [], "value": [], "unit": []}, name=f"{name}-data")
        self._mapper = models.LinearColorMapper(palette=[GREY], low=-0.5, high=NO_VALUE + 0.5)
        self._renderer = self.figure.add_glyph(
            self._source, models.Image(image="codes", color_mapper=self._mapper, **_rectangle(image))
        )
        self._bar = _ColourBar(self.figure)
        self._curves = _Curves(name, self.figure)
        formatters = {"@value": models.CustomJSHover(code=_READOUT)}
        formatters |= {f"${axis}": models.CustomJSHover(code=_DEGREES) for axis in ("x", "y")}
        tooltips = [*_POSITION, ("value", "@value{custom} @unit")]
        self._hover = models.HoverTool(tooltips=tooltips, formatters=formatters, renderers=[self._renderer])
        self._select = models.BoxSelectTool(renderers=[], continuous=False, description="select a region")
        self._pan = self.figure.toolbar.tools[0]
        self.figure.add_tools(self._hover, models.CrosshairTool(overlay=crosshair), self._select)

    def properties(self, image: Image) -> Properties:
        pixels, colours = image.pixels, list(palette(image.colours.palette))
        columns = {"codes": [image.colours.codes(pixels)], "value": [pixels.astype(np.float32)], "unit": [image.unit]}
        return [
            (self.figure.title, {"text": wrap(f"{image.title}\n{with_power(image.unit, image.colours.power)}")}),
            (self.figure.x_range, _range_ends(*image.x_edges[[0, -1]])),
            (self.figure.y_range, _range_ends(*image.y_edges[[0, -1]])),
            (self.figure.toolbar, {"active_drag": self._select if image.selects else self._pan}),
            (self._renderer.glyph, _rectangle(image)),
            (self._source, {"data": columns}),
            (self._mapper, {"palette": [*colours, GREY]}),
            *self._bar.properties(image.colours),
            *self._curves.properties(image),
        ]


class _GraphPlot:
    def __init__(self, name: str, graph: Graph, links: dict[str, models.Range1d], selecting: bool) -> None:
        self.figure = _new_figure(name, graph, links, y_axis_type="log" if graph.y_log else "linear")
        self._x_scales = {
            log: ({"x_scale": scale()}, {"ticker": (ticks := ticker()), "formatter": formatter()}, {"ticker": ticks})
            for log, scale, ticker, formatter in (
                (False, models.LinearScale, models.BasicTicker, models.BasicTickFormatter),
                (True, models.LogScale, _log_ticker, _log_formatter),
            )
        }
        if selecting:
            select = models.BoxSelectTool(renderers=[], continuous=False)
            self.figure.add_tools(select)
            self.figure.toolbar.active_drag = select
        if graph.is_map:
            left, right, bottom = _MAP_MARGINS
            bottom += _LEGEND_HEIGHT * (graph.legend == "below")
            _scale_equally(self.figure, (left, right + _BAR_WIDTH * bool(graph.colours), bottom))
            self.figure.axis.visible = self.figure.grid.visible = False
            self.figure.outline_line_width = 0
        else:
            self.figure.min_border_right = 14
        self._y_ticks = models.CustomJSTickFormatter(args={"power": 0}, code=_TICKS)
        self.figure.yaxis.formatter = _log_formatter() if graph.y_log else self._y_ticks
        if graph.y_log:
            self.figure.yaxis.ticker = self.figure.ygrid.ticker = _log_ticker()
        self._areas = models.ColumnDataSource({"xs": [], "ys": []}, name=f"{name}-polygons")
        if graph.colours is not None:
            self._add_areas()
            self._bar = _ColourBar(self.figure)
        self._band = models.BoxAnnotation(fill_color=SELECTED, fill_alpha=0.15, line_color=SELECTED, line_alpha=0.5)
        self.figure.add_layout(self._band)
        self._curves = _Curves(name, self.figure)
        self._texts = models.ColumnDataSource({"x": [], "y": [], "text": []}, name=f"{name}-texts")
        texts = models.Text(
            x="x", y="y", text="text", text_baseline="middle", text_align="center" if graph.is_map else "left",
            text_color="#222222", text_font_size="10px",
            background_fill_color="rgba(255, 255, 255, 0.6)", padding=0, border_radius=3,
        )  # fmt: skip
        self._sources: list[Any] = []
        self._hovers: list[Any] = []
        self._items: list[Any] = []
        for i, series in enumerate(graph.series):
            source = models.ColumnDataSource({"x": [], "y": []}, name=f"{name}-{i}")
            renderers = self._add(series, source)
            self._sources.append(source)
            item = models.LegendItem(label=series.legend_name, renderers=renderers, visible=bool(series.legend_name))
            self._items.append(item)
        self.figure.add_glyph(self._texts, texts)  # above the points
        self._names = [models.LegendItem(renderers=[self._curves.renderer], visible=False) for _ in range(MAX_LEGEND)]
        self._legend = models.Legend(
            items=[*self._items, *self._names], label_text_font_size=_TICK, spacing=0, padding=2, margin=2, glyph_height=12
        )
        location = {"inside": "top_right", "left": "top_left", "below": "left"}[graph.legend]
        self._legend.update(border_line_alpha=0, background_fill_alpha=0.6, location=location)
        if graph.legend == "below":
            self._legend.update(orientation="horizontal", spacing=6, glyph_width=14)
        self.figure.add_layout(self._legend, "below" if graph.legend == "below" else "center")
        hover = models.HoverTool(
            tooltips=[("", "@name")], renderers=[self._curves.renderer], visible=False, line_policy="interp"
        )
        self.figure.add_tools(hover)

    def _add_areas(self) -> None:
        patches = models.Patches(xs="xs", ys="ys", fill_color="colour", line_color="line", line_width="width")
        areas = self.figure.add_glyph(self._areas, patches, level="underlay")
        self._area_hover = models.HoverTool(tooltips=[], renderers=[areas], visible=False)
        self.figure.add_tools(self._area_hover)

    def _add(self, series: Series, source: models.ColumnDataSource) -> list[Any]:
        """Add the glyphs of a series; return those that the legend shows."""
        style, colour = series.style, series.colour

        def add(glyph: Any) -> Any:
            return self.figure.add_glyph(source, glyph)

        box = {"left": "left", "right": "right", "top": "high", "bottom": "low"}
        if style == "bars":
            points = add(models.Quad(**box, fill_color=colour, fill_alpha=0.55, line_color=colour))
            glyphs = [points]
        else:
            with_line = style in ("line", "dotted")
            if with_line:
                add(models.Quad(**box, fill_color=colour, fill_alpha=0.35, line_alpha=0))
            else:
                add(models.Segment(x0="x", y0="low", x1="x", y1="high", line_color=colour))
            size = {"points": 6, "dots": 3, "dotted": 0, "line": 4}[style]
            points = add(models.Scatter(x="x", y="y", size=size, fill_color=colour, line_color=colour))
            glyphs = [points] if size else []
            if with_line:
                dash = "dashed" if style == "dotted" else "solid"
                glyphs.append(add(models.Line(x="x", y="y", line_color=colour, line_dash=dash)))
        formatters = {f"@{axis}": models.CustomJSHover(code=_READOUT) for axis in ("x", "y")}
        self._hovers.append(models.HoverTool(tooltips=[], formatters=formatters, renderers=[points], visible=False))
        self.figure.add_tools(self._hovers[-1])
        return glyphs

    def properties(self, graph: Graph) -> Properties:
        left, right = graph.band or (0.0, 0.0)
        x, y, text = zip(*graph.texts, strict=True) if graph.texts else ((), (), ())
        texts = {"x": np.array(x, dtype=float), "y": np.array(y, dtype=float), "text": list(text)}
        power = 0 if graph.y_log else axis_power(*graph.y_range)
        unit = with_power(graph.unit, graph.colours.power) if graph.colours is not None else ""
        pairs: Properties = [
            (self.figure.title, {"text": wrap(f"{graph.title} / {unit}" if unit else graph.title)}),
            *zip((self.figure, self.figure.xaxis[0], self.figure.xgrid[0]), self._x_scales[graph.x_log], strict=True),
            (self.figure.xaxis[0], {"axis_label": wrap(graph.x_label)}),
            (self.figure.yaxis[0], {"axis_label": wrap(with_power(graph.y_label, power), _LABEL_LETTERS)}),
            (self._y_ticks, {"args": {"power": power}}),
            (self.figure.x_range, _range_ends(*graph.x_range)),
            (self.figure.y_range, _range_ends(*graph.y_range)),
            (self._band, {"left": left, "right": right, "visible": bool(graph.band)}),
            (self._texts, {"data": texts}),
            *self._curves.properties(graph),
        ]
        if graph.colours is not None:
            names = graph.polygons[0].details if graph.polygons else ()
            pairs += [(self._areas, {"data": _areas(graph, graph.colours)}), *self._bar.properties(graph.colours)]
            pairs.append((self._area_hover, {"tooltips": [(name, f"@{{{name}}}") for name in names]}))
        parts = zip(graph.series, self._sources, self._hovers, self._items, strict=True)
        for series, source, hover, item in parts:
            pairs.append((source, {"data": _columns(series, graph)}))
            pairs.append((hover, {"tooltips": _tooltips(series, graph)}))
            pairs.append((item, {"label": value(series.legend_name), "visible": bool(series.legend_name)}))
        return pairs + self._curve_names(graph)

    def _curve_names(self, graph: Graph) -> Properties:
        """List the properties of the legend of curves, which has each name once; it is empty if there are many."""
        named = [curve.legend_name for curve in graph.curves if curve.name]
        first = {name: named.index(name) for name in named if name}
        shown = sorted(first.items(), key=lambda pair: pair[1]) if len(first) <= MAX_LEGEND else []
        shown += [("", 0)] * (MAX_LEGEND - len(shown))
        items = zip(self._names, shown, strict=True)
        return [(item, {"label": value(name), "index": i, "visible": bool(name)}) for item, (name, i) in items]


def _log_ticker() -> models.CustomJSTicker:
    return models.CustomJSTicker(major_code=_LOG_MAJOR, minor_code=_LOG_MINOR)


def _log_formatter() -> models.CustomJSTickFormatter:
    return models.CustomJSTickFormatter(code=_LOG_TICKS)


def _tooltips(series: Series, graph: Graph) -> list[tuple[str, str]]:
    """Describe the hover information of a series.

    Names of models, which may contain the characters of fields and markup, are in columns, and not in these templates.
    """
    if series.details:
        return [(name, f"@{{{name}}}") for name in series.details]
    rows = [("", "@legend_name")] if series.legend_name else []
    for axis, label in (("x", graph.x_label), ("y", graph.y_label)):
        rows.append((label.rpartition(" / ")[0] or "value", f"@{axis}{{custom}} @{axis}_unit"))
    return rows


def _areas(graph: Graph, colours: Colours) -> dict[str, list[Any]]:
    """List the polygons of a graph by column."""
    codes = colours.codes([polygon.value for polygon in graph.polygons]).tolist()
    hues = [*palette(colours.palette), GREY]
    data: dict[str, list[Any]] = {
        "xs": [polygon.x for polygon in graph.polygons],
        "ys": [polygon.y for polygon in graph.polygons],
        "colour": ["rgba(128, 128, 128, 0.12)" if code == N_COLOURS else hues[code] for code in codes],
        "line": [SELECTED if polygon.marked else "rgba(128, 128, 128, 0.6)" for polygon in graph.polygons],
        "width": [3.0 if polygon.marked else 0.5 for polygon in graph.polygons],
    }
    names = graph.polygons[0].details if graph.polygons else ()
    return data | {name: [polygon.details[name] for polygon in graph.polygons] for name in names}


def _rectangle(image: Image) -> dict[str, float]:
    (x0, x1), (y0, y1) = image.x_edges[[0, -1]], image.y_edges[[0, -1]]
    return {"x": x0, "y": y0, "dw": x1 - x0, "dh": y1 - y0}


def _range_ends(start: float, end: float) -> dict[str, float]:
    """Return the ends of an axis, now and after use of the reset tool."""
    return {"start": start, "end": end, "reset_start": start, "reset_end": end}


def _columns(series: Series, graph: Graph) -> dict[str, Any]:
    low, high = (np.zeros(len(series.x)), series.y) if series.style == "bars" else series.error_ends
    edges = np.full(len(series.x) + 1, np.nan) if series.edges is None else series.edges
    x, y = np.asarray(series.x, dtype=float), np.asarray(series.y, dtype=float)  # Bokeh cannot send columns of tables
    columns = {"x": x, "y": y, "low": graph.clip_low(low), "high": high, "left": edges[:-1], "right": edges[1:]}
    if series.details:
        return columns | {name: list(values) for name, values in series.details.items()}
    units = {f"{axis}_unit": label.rpartition(" / ")[2] for axis, label in (("x", graph.x_label), ("y", graph.y_label))}
    return columns | {name: [text] * len(x) for name, text in {"legend_name": series.legend_name, **units}.items()}


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
