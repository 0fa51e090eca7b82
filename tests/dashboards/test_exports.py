"""Exports of dashboards: PNG, HTML, CSV and Python code."""

import csv
import re
from base64 import b64decode
from dataclasses import replace
from io import BytesIO, StringIO
from itertools import pairwise
from xml.etree import ElementTree

import numpy as np
import pytest
from astropy import units as u
from matplotlib.image import imread

import bgnb
from bgnb import CubeAxes, TrueModel, make_test_bg_cube_model, write_model
from bgnb.dashboards import compare_models, explore_models, explore_runs, explore_validation
from bgnb.plots.html_page import _changes
from bgnb.plots.static import to_png
from bgnb.plots.view import Graph
from tests.dashboards.acting import assert_same_as_fresh, press, shared
from tests.dashboards.conftest import OTHER_AXES
from tests.helpers.errors import raises
from tests.helpers.models import AXES, asymmetric_model
from tests.helpers.validations import simulated_validation


@pytest.mark.slow
def test_copied_python_restores_state(modeldir, pair, runs, monkeypatch):
    """The copied Python code makes a dashboard in the same state."""
    monkeypatch.chdir(modeldir.parent)
    models = explore_models(modeldir.name, group_id=8, quantity="livetime", energy=3.3, stretch="sqrt", percentile=97)
    models.update(low=0.5, high=9.0)
    others = explore_models(
        modeldir.name, group_id=3, others="all", energy=(0.7, 12), region="circle(0.5, -0.25, 0.75)", draw="box",
        quantity="integrated rate", colour_by="mean rate", limits="all energies",
    )  # fmt: skip
    against = compare_models(
        *pair, against="DETY", contours=True, swap=True, region="box(0, 0, 1, 2)", energy="3 TeV", low=1e-9
    )
    compared = compare_models(*pair, show="pull", normalise="cube", position=(1, -2), span=2.5, labels=("a", "it's"))
    explored = explore_runs(runs[0] / "in", "GADF", select="all", alt_edges=[0, 50, 90])
    explored.group_id = 2
    for dashboard in (models, others, compared, against, explored):
        *lines, last = dashboard.python.splitlines()
        values = {}
        exec("\n".join(lines), values)
        assert_same_as_fresh(dashboard, eval(last, values))
    explored.selected = explored.selected[:2]
    *lines, last = explored.python.splitlines()
    exec("\n".join(lines), values)
    assert eval(last, values).selected == explored.selected


@pytest.mark.parametrize("font_size", [5, 10])
def test_narrowest_pictures_are_legible(tmp_path, font_size):
    """All panels of a dashboard fit the smallest width that is accepted, without a warning of Matplotlib."""
    write_model(make_test_bg_cube_model(CubeAxes.regular(n_energy=8, n_fov=10)), tmp_path / "bg_cube_model_group3_table.fits")
    view = explore_models(tmp_path).view
    with pytest.raises(bgnb.BgnbError) as caught:
        to_png(view, width=0.1, font_size=font_size)
    lowest = float(re.search(r"width must be ([\d.]+) to", str(caught.value))[1])
    assert imread(BytesIO(to_png(view, width=lowest, font_size=font_size))).size


def table_of(view):
    """Read the table of a view."""
    return list(csv.DictReader(StringIO("".join(line for line in view.to_csv().splitlines(True) if line[0] != "#"))))


def test_tables_name_all_series(modeldir, pair, runs):
    """Tables name the series of each point of a graph, also those that the legend does not name."""
    explored = explore_runs(runs[0] / "in", "GADF", catalog=runs[1], exclusion_radius="2.6 deg")
    kept = explored._runs.selection.kept
    explored.selected = kept[:2]
    series = {}
    for row in table_of(explored.view):
        if obs_id := re.match(r"OBS_ID: (\d+)", row["details"]):
            series.setdefault((row["panel"], row["series"]), set()).add(int(obs_id[1]))
    for panel in ("sky", "values"):
        assert series[panel, "selected"] == set(kept[:2])
        skipped = set(explored._runs.selection.skipped)
        assert series[panel, "skipped"] == skipped
        assert series[panel, "kept"] | series.get((panel, "outlier"), set()) == set(kept)
    assert skipped
    for dashboard in (
        explored, explore_models(modeldir, group_id=3), compare_models(*pair), compare_models(*pair, against="offset"),
        explore_validation(simulated_validation()),
    ):  # fmt: skip
        view = dashboard.view
        graphs = {name for name, panel in view.panels.items() if isinstance(panel, Graph) and not panel.polygons}
        rows = [row for row in table_of(view) if row["panel"] in graphs]
        assert len(graphs) > 1
        assert rows
        assert all(row["series"] for row in rows)


@pytest.mark.slow
def test_exports_contain_the_view(modeldir, tmp_path, monkeypatch):
    """HTML and CSV files contain the present view, and replace nothing."""
    monkeypatch.chdir(tmp_path)
    dashboard = shared(explore_models, modeldir, group_id=3, energy=5, quantity="counts", position=(1.5, -1.1))
    for kind in ("html", "csv"):  # those of pictures are pressed below
        press(dashboard, f"save {kind.upper()}")
        assert "Saved" in dashboard._message.value
    name = "Group_3_counts_at_2.5_to_7.21_TeV"
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{name}.csv", f"{name}.html"]
    press(dashboard, "save CSV")
    assert (tmp_path / f"{name}-2.csv").read_bytes() == (tmp_path / f"{name}.csv").read_bytes()

    text = (tmp_path / f"{name}.csv").read_text()
    rows = list(csv.DictReader(StringIO("".join(line for line in text.splitlines(True) if line[0] != "#"))))
    image = {(float(row["x"]), float(row["y"])): float(row["value"]) for row in rows if row["panel"] == "image"}
    model = asymmetric_model()
    assert len(image) == 7 * 9
    for iy, y in enumerate(AXES.dety_centers.value):
        for ix, x in enumerate(AXES.detx_centers.value):
            assert image[float(f"{x:.9g}"), float(f"{y:.9g}")] == model.stack.counts[2, iy, ix]
    spectrum = [row for row in rows if row["panel"] == "spectrum" and row["series"].startswith("rate")]
    line = bgnb.spectrum(model, 1.5 * u.deg, -1.1 * u.deg)
    np.testing.assert_allclose([float(row["value"]) for row in spectrum], line.rate, rtol=1e-5)
    np.testing.assert_allclose([float(row["high"]) for row in spectrum], line.rate + line.error, rtol=1e-5)

    page = (tmp_path / f"{name}.html").read_text()
    assert not re.search(r"<(script|link|img)[^>]*(src|href)=[\"']?https?:", page)
    for axes in (AXES, OTHER_AXES):
        for low, high in pairwise(axes.energy.value):
            assert f"{low:.3g} to {high:.3g} TeV" in page


def test_paper_size_and_font_are_chosen(modeldir, tmp_path, monkeypatch):
    """PDF, SVG and PNG have the chosen width and font size, and the chosen panels."""
    monkeypatch.chdir(tmp_path)
    dashboard = explore_models(modeldir, group_id=3, energy=(1, 20))
    width, font_size = dashboard._paper
    width.value, font_size.value = 9.0, 5.5
    for kind in ("PDF", "SVG", "PNG"):
        press(dashboard, f"save {kind}")
        assert "Saved" in dashboard._message.value
    made = sorted(tmp_path.iterdir())
    assert [path.name for path in made] == [f"Group_3_rate_at_0.866_to_20.8_TeV.{kind}" for kind in ("pdf", "png", "svg")]
    pdf, png, svg = (path.read_bytes() for path in made)
    assert pdf.startswith(b"%PDF")
    (box,) = re.findall(rb"/MediaBox \[ ?0 0 ([\d.]+) ([\d.]+) ?\]", pdf)
    assert float(box[0]) == pytest.approx(9 * 72)
    tree = ElementTree.fromstring(svg)
    assert float(tree.get("width").removesuffix("pt")) == pytest.approx(9 * 72)
    assert imread(BytesIO(png)).shape[1] == 9 * 300
    texts = {"".join(text.itertext()).strip(): text.get("style") for text in tree.iter("{http://www.w3.org/2000/svg}text")}
    assert "5.5px" in texts["energy / TeV"]
    assert "zenith angle / deg" in texts
    assert any(text.startswith("Rate at 0.") for text in texts)
    # Some of the panels, by name.
    dashboard.save_svg(tmp_path / "one.svg", width=4, panels=["image"])
    one = (tmp_path / "one.svg").read_text()
    assert ">DETX / deg<" in one
    assert ">energy / TeV<" not in one
    with raises("unknown-choice", "sky", "image"):
        dashboard.save_pdf(tmp_path / "none.pdf", panels=["sky"])
    # A page that is too narrow for its text is an error, which the buttons show.
    before = sorted(tmp_path.iterdir())
    width.value, font_size.value = 2.0, 20.0
    press(dashboard, "save PDF")
    assert 'role="alert"' in dashboard._message.value
    assert "width" in dashboard._message.value
    assert sorted(tmp_path.iterdir()) == before


def test_page_may_not_be_too_large(modeldir, tmp_path):
    """A page that would be larger than allowed is not written."""
    dashboard = shared(explore_models, modeldir, group_id=3)
    with raises("too-large", "0.1 MB", "max_size"):
        dashboard.save_html(tmp_path / "page.html", max_size=1e5)
    assert not list(tmp_path.iterdir())
    dashboard.save_html(tmp_path / "page.html", max_size=20e6)
    assert 1e5 < (tmp_path / "page.html").stat().st_size < 20e6


def test_invalid_paths_are_refused(modeldir, tmp_path, monkeypatch):
    """Exports to something that is not the path of a file are refused before anything is drawn, and write nothing."""
    dashboard = shared(explore_models, modeldir, group_id=3)
    for kind in ("png", "pdf", "svg", "html"):
        monkeypatch.setattr(f"bgnb.dashboards.dashboard.to_{kind}", lambda *_, **__: pytest.fail("drawn"))
    for kind in ("png", "pdf", "svg", "html", "csv", "json"):
        save = getattr(dashboard, f"save_{kind}")
        for wrong in ("", ".", "/", tmp_path):
            with raises("bad-target", "directory"):
                save(wrong)
        for wrong in (None, 5, "a\0b"):
            with raises("invalid-argument", "path", repr(wrong)):
                save(wrong)
    assert not list(tmp_path.iterdir())


def test_directories_must_be_paths(modeldir):
    """Directories that are not paths are refused."""
    for explore in (explore_models, explore_runs, lambda wrong: compare_models(modeldir, wrong), bgnb.read_models):
        for wrong in (None, 5):
            with raises("invalid-argument", "path", wrong):
                explore(wrong)


@pytest.mark.slow
def test_page_begins_with_shown_range(modeldir, pair, tmp_path):
    """A page begins with the present state, also with a range of energies, and has each energy bin too."""
    models = shared(explore_models, modeldir, group_id=8, energy=(1, 10))
    comparison = shared(compare_models, *pair, energy=(0.5, 20), against="offset", show="difference")
    for dashboard in (models, comparison):
        dashboard.save_html(tmp_path / "page.html")
        page = (tmp_path / "page.html").read_text()
        edges = dashboard.axes.energy.value
        low, high = dashboard._controls["bins"].widget.value
        label = f"{edges[low]:.3g} to {edges[high]:.3g} TeV"
        assert re.search(rf"<h1[^>]*>{re.escape(dashboard.view.title)}</h1>", page)
        assert re.search(rf'<span id="bgnb-label"[^>]*>{label}</span>', page)
        for one, other in pairwise(edges):
            assert f"{one:.3g} to {other:.3g} TeV" in page
        frames = dashboard.frames()
        assert dashboard.state in frames.values()
        assert len(frames) == len(edges) + (len(AXES.energy) if dashboard is models else 0)


@pytest.mark.slow
def test_notebook_output_has_picture(modeldir):
    """The output of a cell has a PNG image and a text beside the widget."""
    data = explore_models(modeldir)._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in data
    assert b64decode(data["image/png"]).startswith(b"\x89PNG")
    assert data["text/plain"].startswith("Group")


def test_pixels_of_unequal_bins(tmp_path):
    """Bins of different widths are drawn at their positions."""
    axes = CubeAxes(energy=[1, 10] * u.TeV, dety=[-1, 0, 3] * u.deg, detx=[-2, -1.5, 0, 1] * u.deg)
    write_model(make_test_bg_cube_model(axes, "70 deg", TrueModel()), tmp_path / "bg_cube_model_group0_table.fits")
    image = explore_models(tmp_path).view.panels["image"]
    for x, y in ((-1.9, 0.1), (-1.51, -0.99), (-1.49, 2.9), (-0.01, 0.01), (0.01, -0.01)):
        column, line = int((x + 2) / 3 * image.pixels.shape[1]), int((y + 1) / 4 * image.pixels.shape[0])
        ix, iy = (int(np.searchsorted(edges.value, value)) - 1 for edges, value in ((axes.detx, x), (axes.dety, y)))
        assert image.pixels[line, column] == image.values[iy, ix]


def test_png_image_orientation(modeldir):
    """The asymmetric model is brightest at high DETX and low DETY: to the right, and below."""
    view = shared(explore_models, modeldir, group_id=3, energy=1.2).view
    png = imread(BytesIO(to_png(replace(view, panels={"image": view.panels["image"]}))))
    yellow = np.argwhere((png[..., 0] > 0.9) & (png[..., 1] > 0.85) & (png[..., 2] < 0.3))
    blue = np.argwhere((png[..., 0] < 0.3) & (png[..., 1] < 0.05) & (png[..., 2] > 0.3))
    bar = png.shape[1] * 0.8  # the colour bar is to the right
    yellow, blue = (pixels[pixels[:, 1] < bar].mean(axis=0) for pixels in (yellow, blue))
    assert yellow[0] > blue[0]
    assert yellow[1] > blue[1]


def test_frames_follow_groups_and_energies(modeldir):
    """The menu of an exported page has all groups, and the slider their energies in order."""
    dashboard = shared(explore_models, modeldir, group_id=3, energy=5)
    frames = dashboard.frames()
    groups = list(dict.fromkeys(group for group, _ in frames))
    for group, axes in zip(groups, (AXES, OTHER_AXES), strict=True):
        labels = [label for name, label in frames if name == group]
        assert [label.split()[0] for label in labels] == [f"{edge:.3g}" for edge in axes.energy.value[:-1]]
    assert list(frames.values()).index(dashboard.state) == 2
    views = {labels: dashboard.view_of(state) for labels, state in frames.items()}
    models, values, numbers = _changes(dashboard._plots, views, 1e9)
    where = [model.name for model in models].index("image-data")
    for energy_bin, expected in enumerate(asymmetric_model().rate.quantity.value):
        shown = values[where][numbers[energy_bin][where]]["data"]["value"][0]
        np.testing.assert_allclose(shown, expected, rtol=1e-6)


@pytest.mark.slow
def test_names_are_escaped_in_html(modeldir, tmp_path):
    """Names of directories are escaped in HTML."""
    unsafe = tmp_path / "<img src=x onerror=alert(1)>"
    unsafe.mkdir()
    for path in modeldir.iterdir():
        (unsafe / path.name).write_bytes(path.read_bytes())
    dashboard = compare_models(unsafe, modeldir)
    assert "<img" not in dashboard._summary.value
    assert "&lt;img src=x" in dashboard._summary.value
    dashboard.save_html(tmp_path / "page.html")
    assert "<img src=x" not in (tmp_path / "page.html").read_text()
    dashboard._copy()
    assert "<img" not in dashboard._message.value


def test_panels_of_a_view_are_fixed(modeldir):
    """The panels of a view cannot be changed, as dashboards keep their views."""
    view = shared(explore_models, modeldir).view
    given = dict(view.panels)
    with pytest.raises(TypeError):
        view.panels["image"] = view.panels["spectrum"]
    other = replace(view, panels=given)
    given.clear()
    assert list(other.panels) == list(view.panels)


def test_minus_signs(modeldir, pair, runs):
    """Texts and labels have minus signs, and menus have one word for ranges; tables and code have hyphens."""
    models = shared(explore_models, modeldir, group_id=8, position=(-1.5, -0.7), others="all")
    compared = shared(compare_models, *pair, position=(-1.5, -0.7), against="DETX", show="difference")
    explored = shared(explore_runs, runs[0] / "in", "GADF")
    explored.selected = explored._runs.obs_ids[:1]
    number = re.compile(r"(?<![\w/(-])-\d")
    for dashboard in (models, compared, explored, explore_validation(simulated_validation())):
        view = dashboard.view
        titles = [text for panel in view.panels.values() for text in (panel.title, panel.x_label, panel.y_label)]
        texts = [view.title, view.summary, *titles, *(text for panel in view.panels.values() for text in names_in(panel))]
        texts = [re.sub(r"\d{4}-\d\d-\d\d", "", text.replace(str(runs[0]), "")) for text in texts]
        assert not [text for text in texts if number.search(text)]
        assert "−" not in view.to_csv()
        assert "−" not in dashboard.python + dashboard.json
    assert "DETX −1." in models.view.summary
    assert "DETY −0.7" in compared.view.panels["ratios"].x_label
    menu = [label for label, _ in models._controls["group_id"].widget.options]
    assert "az −90 to 90°" in " ".join(menu)
    assert not [label for label in menu if "–" in label or "-" in label]
    assert (models.view.panels["image"].values < 0).sum() == 0
    hover = models._plots._plots["image"]._hover
    assert {name: type(each).__name__ for name, each in hover.formatters.items()} == dict.fromkeys(
        ("@value", "$x", "$y"), "CustomJSHover"
    )


def names_in(panel):
    """List the texts of the series, curves and polygons of a panel."""
    names = [each.name for each in (*getattr(panel, "series", ()), *panel.curves)]
    details = [text for series in getattr(panel, "series", ()) for values in series.details.values() for text in values]
    return names + details + [text for polygon in getattr(panel, "polygons", ()) for text in polygon.details.values()]
