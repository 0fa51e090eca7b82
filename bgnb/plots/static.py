"""Static plots as PNG, PDF and SVG, drawn with Matplotlib."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np

from bgnb._util.checks import checked_path, finite_number
from bgnb._util.errors import BgnbError, quoted
from bgnb.files.output_file import write_file
from bgnb.plots.colours import GREY, NO_VALUE, SELECTED, Colours, choose_ticks, palette
from bgnb.plots.labels import axis_label, axis_power, format_ticks, keep_together, with_power
from bgnb.plots.view import MAX_LEGEND, Curve, Graph, Image, Panel, Polygon, Range, Series, View

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Format and marker size (pixels) of each style of series.
_STYLES = {"line": ("o-", 4.0), "dotted": ("--", 0.0), "points": ("o", 6.0), "dots": ("o", 2.0)}
_DASHES = {"solid": "-", "dashed": "--", "dotted": ":"}
#: Colour of a polygon without a value.
_NO_AREA = "#f0f0f0"
#: Width of a panel over the font size: minimum, minimum beside others, and by default.
_MIN_WIDTH, _MIN_WIDTH_IN_ROW, _DEFAULT_WIDTH = 18, 20, 33
#: Maximum width of a page, inches.
_MAX_PAGE = 60
#: Maximum number of pixels along a side of a PNG.
_MAX_PIXELS = 20_000
#: Number of passes after which the layout of images, whose size depends on that of their labels, has settled.
_PASSES = 2
#: Places of a legend in a panel.
_PLACES = ("upper right", "upper left", "lower left", "lower right", "upper center", "lower center")
#: Free space around a legend in a panel, relative to its font size.
_FREE = 0.7
#: Text remains text, which programs for graphics can edit, and nothing depends on the date or on the settings of the user.
_SETTINGS = {"pdf.fonttype": 42, "svg.fonttype": "none", "svg.hashsalt": "bgnb", "text.parse_math": False}


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
        write_file(checked_path("path", path), self.png)


def new_figure(width: float, height: float, rows: int, columns: int) -> tuple[Figure, Any]:
    """Make a figure with an array of axes; sizes are in inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def picture_of(figure: Figure) -> Picture:
    """Convert a figure to PNG."""
    return Picture(_save(figure, "png", dpi=90, metadata={"Software": None}))


def to_png(
    view: View,
    *,
    width: float | None = None,
    font_size: float = 10.0,
    panels: Sequence[str] | None = None,
    dpi: float | None = None,
) -> bytes:
    """Draw a view as PNG, up to three panels in a row; only the title if it has no panels.

    Parameters
    ----------
    view : `View`
        The view.
    width : float, optional
        Width of the picture, inches; by default 4.6 inches per panel in a row.
    font_size : float
        Size of the labels, points, 3 to 40. Other texts, lines and points have sizes in proportion.
    panels : sequence of str, optional
        Names of the panels to draw, in their order; by default all.
    dpi : float, optional
        Pixels per inch, 30 to 1200; by default 300, or 90 if the width is not given.

    Returns
    -------
    bytes
        Content of the file, identical for identical views.

    Raises
    ------
    BgnbError
        If a panel does not exist, the font size or the resolution is out of range, or a panel would be narrower than 18 times
        the font size.
    """
    dpi = _checked_dpi((90 if width is None else 300) if dpi is None else dpi)
    return _save(_draw(view, width, font_size, panels), "png", dpi=dpi, metadata={"Software": None})


def to_pdf(
    view: View, *, width: float | None = None, font_size: float = 10.0, panels: Sequence[str] | None = None, dpi: float = 300.0
) -> bytes:
    """Draw a view as PDF, with embedded fonts; see `to_png`. The resolution is that of images in it."""
    metadata = {"Title": view.title_of(panels), "Creator": None, "Producer": None, "CreationDate": None}
    return _save(_draw(view, width, font_size, panels), "pdf", dpi=_checked_dpi(dpi), metadata=metadata)


def to_svg(
    view: View, *, width: float | None = None, font_size: float = 10.0, panels: Sequence[str] | None = None, dpi: float = 300.0
) -> bytes:
    """Draw a view as SVG, with texts that can be edited, except those in maps; see `to_png` and `to_pdf`."""
    metadata = {"Title": view.title_of(panels), "Description": view.summary, "Creator": None, "Date": None}
    return _save(_draw(view, width, font_size, panels), "svg", dpi=_checked_dpi(dpi), metadata=metadata)


#: Functions that draw a view, by the extension of the file.
FORMATS = {".png": to_png, ".pdf": to_pdf, ".svg": to_svg}


def _checked_dpi(dpi: float) -> float:
    dpi = finite_number("dpi", dpi)
    if not 30 <= dpi <= 1200:
        raise BgnbError("invalid-argument", f"dpi must be 30 to 1200 (pixels per inch), got {dpi:g}")
    return dpi


@contextmanager
def own_style() -> Iterator[None]:
    """Draw independently of settings of the user; characters that the font does not have become boxes without a warning."""
    from matplotlib import style

    with style.context(["default", _SETTINGS]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        yield


def _save(figure: Figure, kind: str, *, dpi: float, **options: Any) -> bytes:
    if kind == "png" and (pixels := dpi * max(figure.get_size_inches())) > _MAX_PIXELS:
        message = f"dpi must be less, as the picture would have a side of {pixels:.0f} pixels; at most {_MAX_PIXELS}"
        raise BgnbError("invalid-argument", message)
    buffer = BytesIO()
    with own_style():
        figure.savefig(buffer, format=kind, dpi=dpi, **options)
    return buffer.getvalue()


@dataclass(frozen=True)
class _Sizes:
    """Sizes in a figure: its width (inches), font size (points) and panels in a row."""

    width: float
    font: float
    columns: int

    @property
    def panel(self) -> float:
        """Width of a panel over the font size."""
        return 72 * self.width / self.columns / self.font

    @property
    def pixel(self) -> float:
        """Size of a pixel of the screen (points), for lines and markers."""
        return 0.075 * self.font

    @property
    def small(self) -> float:
        """Size of the texts in the legend and in the plot (points); those at ticks are between it and the labels."""
        return 0.8 * self.font

    def wrap(self, text: str, width: float = 1.0) -> str:
        """Wrap a text to a width in panels; a leading underscore does not hide it from the legend."""
        letters = max(12, int(1.5 * width * self.panel))
        text = "\n".join(fill(line, letters) for line in keep_together(text).splitlines()).replace("\N{NO-BREAK SPACE}", " ")
        return f" {text}" if text.startswith("_") else text


def _choose_sizes(n_panels: int, width: float | None, font_size: float) -> _Sizes:
    font_size = finite_number("font_size", font_size)
    if not 3 <= font_size <= 40:
        raise BgnbError("invalid-argument", f"font_size must be 3 to 40 (points), got {font_size:g}")
    columns = min(3, n_panels) or 1
    if width is None:
        panel = (1.0 if columns == 3 else 1.25) * _DEFAULT_WIDTH * font_size / 72
        return _Sizes(panel * columns, font_size, columns)
    width, minimum = finite_number("width", width), _MIN_WIDTH * font_size / 72
    if not minimum <= width <= _MAX_PAGE:
        lowest = math.ceil(100 * minimum) / 100  # rounded up, so that it is accepted
        message = f"width must be {lowest:g} to {_MAX_PAGE} (inches) with a font size of {font_size:g}, got {width:g}"
        raise BgnbError("invalid-argument", message)
    fitting = int(72 * width / font_size / _MIN_WIDTH_IN_ROW) or 1
    return _Sizes(width, font_size, min(columns, fitting))


def _choose_panels(view: View, names: Sequence[str] | None) -> list[Panel]:
    if names is None:
        return list(view.panels.values())
    if not isinstance(names, list | tuple) or not names:
        raise BgnbError("invalid-argument", f"panels must be a list of at least one name, got {quoted(names)}")
    for name in names:
        if not isinstance(name, str) or name not in view.panels:
            raise BgnbError("unknown-choice", f"unknown panel {quoted(name)}: use some of {', '.join(view.panels)}")
    return [view.panels[name] for name in names]


def _draw(view: View, width: float | None, font_size: float, names: Sequence[str] | None) -> Figure:
    panels = _choose_panels(view, names)
    sizes = _choose_sizes(len(panels), width, font_size)
    rows = math.ceil(len(panels) / sizes.columns) or 1
    with own_style():
        title = sizes.wrap(view.title_of(names), 0.9 * sizes.columns)
        height = 0.89 * sizes.width / sizes.columns * rows + 1.5 * sizes.font / 72 * title.count("\n")
        figure, grid = new_figure(sizes.width, height, rows, sizes.columns)
        figure.set_layout_engine("constrained", w_pad=0.4 * sizes.font / 72, h_pad=0.4 * sizes.font / 72)
        if title:
            figure.suptitle(title, fontsize=1.2 * sizes.font)
        drawn = list(zip(grid.flat, panels, strict=False))
        for axes, panel in drawn:
            _draw_panel(axes, panel, sizes)
        for axes in grid.flat[len(panels) :]:
            axes.set_axis_off()
        _settle(figure)  # sizes of texts are known after the layout
        if covering := [(axes, panel) for axes, panel in drawn if not _place_legend(axes)]:
            for axes, panel in covering:
                _draw_legend(axes, panel, sizes, below=True)
            added: dict[int, float] = {}  # height of each row
            for axes, _ in covering:
                row = axes.get_subplotspec().rowspan.start
                added[row] = max(added.get(row, 0.0), axes.get_legend().get_window_extent().height / figure.dpi)
            figure.set_figheight(figure.get_figheight() + sum(added.values()))
            _settle(figure)
        for axes in (axes for axes, panel in drawn if isinstance(panel, Graph) and panel.is_map):
            _omit_overlapping(axes.texts)
        figure.set_layout_engine(None)  # the arrangement remains, and saving does not draw twice
    return figure


def _settle(figure: Figure) -> None:
    """Arrange the panels. The size of an image depends on that of its colour bar, and vice versa, so this takes some passes."""
    for _ in range(_PASSES):
        figure.get_layout_engine().execute(figure)  # type: ignore[union-attr]


def _place_legend(axes: Any) -> bool:
    """Move the legend inside a panel to a place without points, lines and errors; return false if there is none."""
    legend = axes.get_legend()
    if legend is None or not legend.get_frame_on():  # it is below
        return True
    bars = [bar for container in axes.containers for bar in container]
    paths = [each.get_transform().transform_path(each.get_path()) for each in (*axes.lines, *bars)]
    for errors in axes.collections:
        paths += map(errors.get_transform().transform_path, errors.get_paths())
    for place in _PLACES:
        legend.set_loc(place)
        box = legend.get_window_extent().padded(_FREE * legend.get_texts()[0].get_fontsize())
        if not any(path.intersects_bbox(box, filled=False) for path in paths):
            return True
    return False


def _omit_overlapping(texts: Sequence[Any]) -> None:
    """Hide texts that would overlap earlier ones."""
    boxes: list[Any] = []
    for text in texts:
        box = text.get_window_extent().expanded(1.4, 0.8)  # numbers are apart, and digits are lower than a line
        if any(box.overlaps(other) for other in boxes):
            text.set_visible(False)
        else:
            boxes.append(box)


def _draw_panel(axes: Any, panel: Panel, sizes: _Sizes) -> None:
    axes.set_title(sizes.wrap(panel.title), fontsize=sizes.font)
    axes.tick_params(labelsize=0.9 * sizes.font, width=sizes.pixel, length=4 * sizes.pixel, pad=4 * sizes.pixel)
    axes.tick_params(which="minor", width=0.7 * sizes.pixel, length=2 * sizes.pixel)
    for spine in axes.spines.values():
        spine.set_linewidth(sizes.pixel)
    if isinstance(panel, Image):
        _draw_image(axes, panel, sizes)
    else:
        _draw_graph(axes, panel, sizes)
    _draw_curves(axes, panel.curves, sizes, above=isinstance(panel, Image))
    _draw_legend(axes, panel, sizes, below=isinstance(panel, Graph) and panel.legend == "below")


def _draw_legend(axes: Any, panel: Panel, sizes: _Sizes, *, below: bool) -> None:
    handles, labels = axes.get_legend_handles_labels()
    if not labels:
        return
    names = [sizes.wrap(each.legend_name) for each in (*getattr(panel, "series", ()), *panel.curves)]
    pairs = sorted(zip(handles, labels, strict=True), key=lambda pair: names.index(pair[1]))  # bars would be last
    handles, labels = zip(*pairs, strict=True)
    where: dict[str, Any] = {"loc": _PLACES[0], "edgecolor": "none", "framealpha": 0.7}
    if below:  # the distance is in units of the font size
        where = {"loc": "upper center", "bbox_to_anchor": (0.5, 0), "borderaxespad": 4.5 if axes.axison else 0.5}
        where |= {"frameon": False, "ncols": min(3, math.ceil(len(labels) / 4))}
    axes.legend(handles, labels, fontsize=sizes.small, **where)


def _draw_image(axes: Any, image: Image, sizes: _Sizes) -> None:
    from matplotlib.colors import ListedColormap

    ends = image.x_edges[[0, -1]], image.y_edges[[0, -1]]
    axes.imshow(
        image.colours.codes(image.pixels), origin="lower", interpolation="nearest", extent=(*ends[0], *ends[1]),
        cmap=ListedColormap([*palette(image.colours.palette), GREY]), vmin=-0.5, vmax=NO_VALUE + 0.5,
    )  # fmt: skip
    for side, label, (low, high) in zip("xy", (image.x_label, image.y_label), ends, strict=True):
        _draw_axis(axes, side, label, (low, high), False, sizes)
    _draw_colour_bar(axes, image, image.colours, sizes)


def _draw_colour_bar(axes: Any, panel: Panel, colours: Colours, sizes: _Sizes) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize

    scale = ScalarMappable(Normalize(-0.5, NO_VALUE - 0.5), ListedColormap(list(palette(colours.palette))))
    bar = axes.figure.colorbar(scale, cax=axes.inset_axes((1.03, 0, 0.05, 1)))
    label = axis_label(panel.quantity, panel.unit) if panel.quantity else panel.unit
    bar.set_label(sizes.wrap(with_power(label, colours.power)), fontsize=sizes.font)
    codes, labels = zip(*colours.ticks(), strict=True)
    bar.set_ticks(codes, labels=labels)
    bar.ax.tick_params(labelsize=0.9 * sizes.font, width=sizes.pixel, length=4 * sizes.pixel, pad=4 * sizes.pixel)
    bar.outline.set_linewidth(sizes.pixel)
    bar.minorticks_off()


def _draw_graph(axes: Any, graph: Graph, sizes: _Sizes) -> None:
    from matplotlib.patheffects import Stroke

    if graph.is_map:
        axes.set(xlim=graph.x_range, ylim=graph.y_range, aspect="equal")
        axes.set_axis_off()
    else:
        _draw_axis(axes, "x", graph.x_label, graph.x_range, graph.x_log, sizes)
        _draw_axis(axes, "y", graph.y_label, graph.y_range, graph.y_log, sizes, whole=graph.y_whole)
    if graph.colours is not None:
        _draw_polygons(axes, graph.polygons, graph.colours, sizes)
        _draw_colour_bar(axes, graph, graph.colours, sizes)
    if graph.band is not None:
        axes.axvspan(*graph.band, color=SELECTED, alpha=0.2, lw=0)
    for series in graph.series:
        _draw_series(axes, series, graph, sizes)
    options = {"fontsize": sizes.small, "color": "#333333", "ha": "center" if graph.is_map else "left", "va": "center"}
    if graph.is_map:
        halo = Stroke(linewidth=2.5 * sizes.pixel, foreground="#ffffffb0", snap=False)
        options["path_effects"] = [halo, Stroke(snap=False)]  # snapped to pixels, E would lose its lower arm
    for x, y, text in graph.texts:
        axes.text(x, y, sizes.wrap(text), **options)


def _draw_axis(axes: Any, side: str, label: str, ends: Range, log: bool, sizes: _Sizes, *, whole: bool = False) -> None:
    """Draw an axis with few, round ticks and its label, which has their common power of ten."""
    axes.set(**{f"{side}scale": "log" if log else "linear", f"{side}lim": ends})
    power = 0 if log else axis_power(*ends)
    values = choose_ticks(min(ends), max(ends), log=log, number=7 if sizes.panel > 25 else 5, whole=whole)
    axis = axes.xaxis if side == "x" else axes.yaxis
    axis.set_ticks(values, labels=format_ticks(values, power, log=log))
    axis.set_tick_params(which="minor", label1On=False)
    axis.set_label_text(sizes.wrap(with_power(label, power)), fontsize=sizes.font)


def _draw_polygons(axes: Any, polygons: Sequence[Polygon], colours: Colours, sizes: _Sizes) -> None:
    from matplotlib.collections import PolyCollection

    known = [*palette(colours.palette), _NO_AREA]
    corners = [np.column_stack([polygon.x, polygon.y]) for polygon in polygons]
    fills = [known[code] for code in colours.codes([polygon.value for polygon in polygons])]
    marked = [number for number, polygon in enumerate(polygons) if polygon.marked]
    axes.add_collection(
        PolyCollection(corners, facecolors=fills, edgecolors=(0.5, 0.5, 0.5, 0.6), linewidths=0.5 * sizes.pixel, zorder=0.5)
    )
    outlines = [corners[number] for number in marked]
    axes.add_collection(
        PolyCollection(outlines, facecolors="none", edgecolors=SELECTED, linewidths=2 * sizes.pixel, zorder=0.6)
    )


def _draw_curves(axes: Any, curves: Sequence[Curve], sizes: _Sizes, *, above: bool) -> None:
    first = {curve.legend_name: curve for curve in reversed(curves) if curve.legend_name}  # a legend has each name once
    for curve in curves:
        is_first = len(first) <= MAX_LEGEND and first.get(curve.legend_name) is curve
        label = sizes.wrap(curve.legend_name) if is_first else None
        line = _DASHES[curve.dash], curve.width * sizes.pixel
        axes.plot(curve.x, curve.y, line[0], lw=line[1], color=curve.colour, label=label, zorder=3 if above else 1.9)


def _draw_series(axes: Any, series: Series, graph: Graph, sizes: _Sizes) -> None:
    label, colour, pixel = sizes.wrap(series.legend_name) or None, series.colour, sizes.pixel
    if series.style == "bars":
        _draw_bars(axes, series, graph.clip_low(np.zeros_like(series.y)), series.y, alpha=0.8, label=label)
        return
    if series.low is not None and series.high is not None:
        low = graph.clip_low(series.low)
        if series.edges is not None and series.style in ("line", "dotted"):
            _draw_bars(axes, series, low, series.high, alpha=0.25, lw=0)
        else:
            axes.vlines(series.x, low, series.high, color=colour, lw=1.3 * pixel)
    style, size = _STYLES[series.style]
    axes.plot(series.x, series.y, style, ms=size * pixel, lw=1.6 * pixel, color=colour, label=label)


def _draw_bars(axes: Any, series: Series, low: Any, high: Any, **options: Any) -> None:
    assert series.edges is not None
    axes.bar(series.edges[:-1], high - low, np.diff(series.edges), low, align="edge", color=series.colour, **options)
