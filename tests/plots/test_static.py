"""Static plots: PNG, PDF and SVG."""

import re
from dataclasses import replace
from io import BytesIO
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pytest
from astropy import units as u
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from bgnb import BgnbError, ObservationGroups
from bgnb.plots.colours import LINES, SELECTED, line_colours, palette
from bgnb.plots.pointing_map import pointing_map
from bgnb.plots.static import _choose_sizes, _draw, _Sizes, to_pdf, to_png, to_svg
from bgnb.plots.view import Curve, View
from tests.helpers.errors import raises
from tests.plots.views import bars, circle, image, sectors, spectrum, view

SVG = "{http://www.w3.org/2000/svg}"


def texts_of(svg):
    """Collect the texts of an SVG file, with their font sizes in points."""
    found = {}
    for element in ElementTree.fromstring(svg).iter(f"{SVG}text"):
        size = re.search(r"([\d.]+)px", element.get("style"))
        found["".join(element.itertext()).strip()] = float(size[1])
    return found


def colours_of(svg, kind):
    """Collect the fill or stroke colours of the paths of an SVG file."""
    return re.findall(rf"{kind}: (#[0-9a-f]{{6}})", svg.decode())


def test_svg_has_all_texts():
    """Titles, labels with their power of ten, ticks, legends and texts remain texts, with four sizes of font."""
    texts = texts_of(to_svg(view(), width=9, font_size=10))
    assert {text: texts[text] for text in ("Group 3 costs $5 or $6", "Rate", "DETX / deg", "Spectrum", "Livetime")} == {
        "Group 3 costs $5 or $6": 12, "Rate": 10, "DETX / deg": 10, "Spectrum": 10, "Livetime": 10,
    }  # fmt: skip
    for label in ("10⁻⁴ MeV⁻¹ s⁻¹", "livetime / 10⁵ s", "energy / TeV", "h"):
        assert texts[label] == 10, label
    for tick in ("0.5", "1.5", "10⁻⁸", "0.3", "30", "−2"):
        assert texts[tick] == 9, tick
    for small in ("model", "_data", "region", "runs"):
        assert texts[small] == 8, small
    assert "Histogram" in texts
    assert "of runs" in texts
    assert set(texts.values()) == {12, 10, 9, 8}
    assert set(texts_of(to_svg(view(bars=bars()), font_size=5)).values()) == {6, 5, 4.5, 4}
    hidden = texts_of(to_svg(view(map=sectors())))
    assert hidden.keys() == {"Group 3 costs $5 or $6", "Livetime", "runs", "h", *["0", "2", "4", "6", "8", "10"]}


def test_counts_have_whole_ticks():
    """Ticks of counts on a logarithmic axis are whole numbers."""
    few = replace(spectrum(), y_range=(1.5, 4.5))
    assert "2.5" in texts_of(to_svg(view(few=few)))
    assert {"2", "3", "4"} < texts_of(to_svg(view(few=replace(few, y_whole=True)))).keys()
    assert "2.5" not in texts_of(to_svg(view(few=replace(few, y_whole=True))))


def test_legend_follows_series():
    """The legend has the series in their order, and then the curves."""
    points = replace(spectrum().series[1], name="points", x=np.array([1.0]), y=np.array([1e5]), low=None, high=None)
    histogram = bars(curves=(circle(1, name="circle"),))
    svg = to_svg(view(bars=replace(histogram, series=(*histogram.series, points)))).decode()
    assert re.findall(r">(points|runs|circle)<", svg) == ["runs", "points", "circle"]


def test_texts_in_maps_have_halo():
    """Texts in maps are legible: they have a white outline."""
    assert "#ffffff; stroke-opacity: 0.69" in to_svg(view(map=sectors())).decode()
    assert "stroke-opacity: 0.69" not in to_svg(view(map=replace(sectors(), is_map=False))).decode()


@pytest.mark.slow
def test_letters_are_complete():
    """The lower arm of an E is as strong in PNG files wherever it stands between pixels."""
    arms = []
    for at in np.linspace(20.0, 21.0, 5):
        maps = [replace(sectors(), polygons=(), series=(), texts=((at, at, letter),)) for letter in "FE"]
        without, complete = (imread(BytesIO(to_png(view(map=each))))[..., :3].sum() for each in maps)
        arms.append(without - complete)
    # 1.1, and 1.3 by Matplotlib 3.9; snapped to pixels 2.5 and 7.
    assert max(arms) < 1.6 * min(arms)


@pytest.mark.parametrize("width", [2.3, 3.0, 5.0])
def test_texts_in_small_maps_do_not_touch(width):
    """Texts that would overlap are omitted, but not those of the compass and of the chosen group."""
    groups = ObservationGroups([30, 35, 40, 45, 50, 55, 60, 65, 70, 90] * u.deg, [-90, 90, 270] * u.deg)
    graph = pointing_map(groups, {}, dict.fromkeys(range(18), 1.0), "Livetime", "h", chosen=13)
    figure = _draw(view(map=graph), width, 9, None)
    shown = [text for text in figure.axes[0].texts if text.get_visible()]
    assert {"13", "N", "E", "S", "W"} < {text.get_text() for text in shown}
    assert (len(shown) == len(graph.texts)) == (width == 5.0)
    boxes = [text.get_window_extent().expanded(1, 0.7) for text in shown]
    assert not any(box.overlaps(other) for i, box in enumerate(boxes) for other in boxes[:i])


@pytest.mark.parametrize("draw", [to_png, to_pdf, to_svg])
def test_characters_without_a_glyph(draw):
    """Names in scripts that the font does not have are drawn without a warning."""
    assert draw(replace(view(), title="模型 😀"), panels=["image"])


@pytest.mark.slow
def test_title_of_some_panels():
    """The title of a figure of some panels is the subject of the view, as other parts of the title may not apply."""
    some = replace(view(map=sectors(), bars=bars()), subject="Group 3")
    assert "Group 3 costs $5 or $6" in texts_of(to_svg(some, panels=list(some.panels)))
    svg = to_svg(some, panels=["map"])
    assert {"Group 3", "Group 3 costs $5 or $6"} & texts_of(svg).keys() == {"Group 3"}
    assert ElementTree.fromstring(svg).find(f"{SVG}title").text == "Group 3"
    assert b"(Group 3)" in to_pdf(some, panels=["map"])
    assert "Group 3 costs $5 or $6" in texts_of(to_svg(replace(some, subject=""), panels=["map"]))


def test_svg_describes_itself():
    """The title and the summary are metadata of an SVG file."""
    tree = ElementTree.fromstring(to_svg(view(bars=bars())))
    assert tree.find(f"{SVG}title").text == "Group 3 costs $5 or $6"
    assert tree.find(".//{http://purl.org/dc/elements/1.1/}description").text == view().summary


def test_polygons_have_colours():
    """Polygons have the colours of their values, light grey without one; marked ones have an outline."""
    svg = to_svg(view(map=sectors()))
    fills = colours_of(svg, "fill")
    viridis = palette("viridis")
    for colour in ("#f0f0f0", viridis[0], viridis[127], viridis[-1]):
        assert fills.count(colour) >= 1, colour
    assert colours_of(svg, "stroke").count(SELECTED) == 1
    png = imread(BytesIO(to_png(view(map=sectors()))))[..., :3]
    found = []
    for colour in ("#f0f0f0", viridis[0], viridis[127], viridis[-1]):
        rows, columns = np.nonzero(np.all(np.abs(png - to_rgb(colour)) < 0.004, axis=-1)[:, : png.shape[1] * 5 // 6])
        found.append((rows, columns))
    height, width = (np.concatenate(numbers) for numbers in zip(*found[1:], strict=True))
    assert np.ptp(height) == pytest.approx(np.ptp(width), rel=0.02)  # equal scales
    middle = (height.min() + height.max()) / 2, (width.min() + width.max()) / 2
    sides = [(np.median(rows) < middle[0], np.median(columns) > middle[1]) for rows, columns in found]
    assert sides == [(True, True), (False, True), (False, False), (True, False)]  # clockwise from the upper right


def test_curves_have_width_and_dash():
    """Curves are drawn in their colours, widths and patterns, on images as well as on graphs."""
    plain = to_svg(view(image=image("Rate")), font_size=10)
    (style,) = {style for style in re.findall(r'style="(fill: none; [^"]*)"', plain.decode()) if "dasharray" in style}
    assert f"stroke: {SELECTED}" in style
    widths = {float(width or 1) for width in re.findall(rf"stroke: {SELECTED}(?:; stroke-width: ([\d.]+))?", plain.decode())}
    assert widths == {1.5, 0.75}
    curves = tuple(Curve(x=np.array([1.0, 2.0]), y=np.array([1e-5, 1e-4]), colour=c, name=f"n{c}") for c in line_colours(9))
    for number in (8, 9):
        svg = to_svg(view(spectrum=spectrum(curves=curves[:number])))
        assert set(line_colours(9)[:number]) <= set(colours_of(svg, "stroke"))
        named = [text for text in texts_of(svg) if text.startswith("n#")]
        assert len(named) == (8 if number == 8 else 0)  # the legend would be too long


def test_points_lie_on_curves():
    """Many curves do not hide the points of a graph."""
    curve = Curve(x=np.array([0.2, 80.0]), y=np.array([1e-3, 1e-8]), colour="#123456", name="other")
    drawn = to_svg(view(spectrum=spectrum(curves=(curve,)))).decode()
    axes = drawn[: drawn.index('id="legend_1"')]
    assert 0 < axes.index("stroke: #123456") < axes.index(f"stroke: {LINES[0]}")


@pytest.mark.slow
@pytest.mark.parametrize("panels", [["bars"], ["spectrum", "image"], None])
def test_page_has_requested_width(panels):
    """The width in inches is that of the file, with fewer panels in a row if they would be too narrow."""
    pdf = to_pdf(view(), width=3.5, font_size=8, panels=panels)
    (box,) = re.findall(rb"/MediaBox \[ 0 0 ([\d.]+) ([\d.]+) \]", pdf)
    rows = len(panels or view().panels)
    assert float(box[0]) == 252
    assert float(box[1]) == pytest.approx(0.89 * 252 * rows)
    wide = to_png(view(), width=7, font_size=6, panels=panels)  # legends fit into the panels
    assert imread(BytesIO(wide)).shape[1] == 2100
    assert imread(BytesIO(wide)).shape[0] == pytest.approx(0.89 * 2100 / min(3, rows) * -(-rows // 3), abs=1)
    if rows == 2:  # the number of rows is the same in all formats
        svg = ElementTree.fromstring(to_svg(view(), width=7, panels=panels))
        assert svg.get("width") == "504pt"


@pytest.mark.slow
def test_resolution_is_chosen():
    """The resolution is that requested; by default 300 pixels per inch, or 90 without a width."""
    for options, pixels in (({"dpi": 150, "width": 4}, 600), ({"width": 4}, 1200), ({"dpi": 180}, 1032), ({}, 516)):
        png = to_png(view(), panels=["image"], **options)
        assert imread(BytesIO(png)).shape[1] == pytest.approx(pixels, abs=1)
    image = {"panels": ["image"], "width": 4}
    assert len(to_pdf(view(), dpi=30, **image)) < len(to_pdf(view(), dpi=600, **image))


def test_moved_legend_makes_the_figure_higher():
    """A legend that would cover the points is below the axis, for which the figure is higher."""
    zigzag = Curve(x=np.geomspace(0.2, 80, 40), y=np.tile([2e-10, 5e-2], 20), colour=LINES[2])
    full = spectrum(curves=(zigzag,))
    figure = _draw(view(spectrum=full), 3, 12, None)
    (axes,) = figure.axes
    assert figure.get_figheight() > 0.89 * 3 + 0.2
    assert axes.get_legend().get_window_extent().y1 < axes.xaxis.label.get_window_extent().y0


def test_pdf_has_embedded_fonts():
    """Fonts are embedded as outlines of TrueType, type 42, and not as type 3, which journals refuse."""
    pdf = to_pdf(view(spectrum=spectrum(), map=sectors()))
    assert pdf.startswith(b"%PDF")
    assert b"/FontFile2" in pdf
    assert b"/Type3" not in pdf


@pytest.mark.slow
@pytest.mark.parametrize("draw", [to_png, to_pdf, to_svg])
def test_files_are_reproducible(draw, monkeypatch):
    """A file depends neither on the date, nor on the version or the settings of Matplotlib."""
    panels = ["image", "map"]  # with texts, lines, pixels and polygons
    first = draw(view(), width=7, font_size=8, panels=panels)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1000000000")
    with mpl.rc_context({"text.color": "red", "axes.facecolor": "black", "svg.fonttype": "path", "font.size": 30}):
        assert draw(view(), width=7, font_size=8, panels=panels) == first
        assert mpl.rcParams["font.size"] == 30
    assert mpl.__version__.encode() not in first
    assert not re.search(rb"CreationDate|dc:date|matplotlib\.org", first)


def test_panels_are_chosen_in_order():
    """Panels are drawn in the order of their names."""
    svg = to_svg(view(), panels=["bars", "image"]).decode()
    assert svg.index(">of runs<") < svg.index(">Rate<")
    assert ">Spectrum<" not in svg


@pytest.mark.parametrize(
    ("options", "code", "named"),
    [
        ({"width": 0}, "invalid-argument", "width"),
        ({"width": 1.5, "font_size": 10}, "invalid-argument", "width"),
        ({"width": 61}, "invalid-argument", "width"),
        ({"width": np.nan}, "invalid-argument", "width"),
        ({"width": "wide"}, "invalid-argument", "width"),
        ({"font_size": 2}, "invalid-argument", "font_size"),
        ({"font_size": 41}, "invalid-argument", "font_size"),
        ({"font_size": None}, "invalid-argument", "font_size"),
        ({"panels": []}, "invalid-argument", "panels"),
        ({"panels": "image"}, "invalid-argument", "panels"),
        ({"panels": ["image", "bar"]}, "unknown-choice", "'bar'"),
        ({"panels": [["image"]]}, "unknown-choice", "['image']"),
        ({"panels": 5}, "invalid-argument", 5),
    ],
)
def test_invalid_options_fail(options, code, named):
    """An invalid width, font size or panel raises an error that names it."""
    with raises(code, named):
        to_svg(view(), **options)


@pytest.mark.parametrize("font_size", [3, 5.5, 10, 11, 39.7, 40])
def test_stated_minimum_width_is_accepted(font_size):
    """The minimum width in the message is accepted."""
    with pytest.raises(BgnbError) as caught:
        to_svg(view(), width=0.1, font_size=font_size)
    lowest = float(re.search(r"width must be ([\d.]+) to", str(caught.value))[1])
    assert lowest < 18 * font_size / 72 + 0.02
    _choose_sizes(1, lowest, font_size)


@pytest.mark.slow
def test_smallest_sizes_are_legible():
    """The narrowest panel with the largest font is drawn without warnings, and a view without panels as well."""
    for panels in (["image"], ["spectrum"], ["map"]):
        assert to_png(view(), width=18 * 40 / 72 + 0.01, font_size=40, dpi=90, panels=panels)
    assert imread(BytesIO(to_png(View("Nothing", "", {})))).shape[0] > 100


def test_decreasing_axis_is_drawn():
    """An axis may decrease to the right."""
    svg = to_svg(view(bars=bars()))
    places = {}
    for element in ElementTree.fromstring(svg).iter(f"{SVG}text"):
        if place := re.search(r"translate\(([\d.]+)", element.get("transform", "")):
            places["".join(element.itertext())] = float(place[1])
        else:
            places["".join(element.itertext())] = float(element.get("x", 0))
    assert places["0.5"] > places["2.5"]


def test_long_texts_are_wrapped():
    """Long texts are wrapped completely, and narrower in narrow panels."""
    long = "_a directory with a long name " + 70 * "x" + ", cost $5"
    lines = _Sizes(13.8, 10, 3).wrap(long).splitlines()
    assert max(map(len, lines)) <= 51
    assert "".join(lines).replace(" ", "") == long.replace(" ", "")
    assert lines[0].startswith(" _")  # Matplotlib omits names that start with _ from the legend
    assert _Sizes(13.8, 10, 3).wrap("Pulls\n3 outside the axis") == "Pulls\n3 outside the axis"
    assert max(map(len, _Sizes(3, 10, 1).wrap(long).splitlines())) <= 34
    svg = to_svg(view(title="wide " * 40, image=image("title " * 30)), width=4)
    assert max(map(len, texts_of(svg))) < 60
    assert circle(1).name == ""
