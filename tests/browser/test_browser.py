"""Dashboards in JupyterLab and exported pages, in Chromium, without network."""

import json
import re

import nbformat
import numpy as np
import pytest
from nbformat.v4 import new_code_cell

import bgnb
from bgnb.notebooks.shipped import notebook_directory
from bgnb.plots.pointing_map import to_plane
from tests.browser.driver import browser, expect, lab
from tests.helpers.processes import until

NOTEBOOKS = notebook_directory()
#: Beginnings of files.
SIGNATURES = {"PNG": b"\x89PNG", "PDF": b"%PDF", "SVG": b"<?xml", "HTML": b"<!DOCTYPE html>", "CSV": b"# ", "JSON": b"{"}
CONTROL = r"\s*- '?(button|checkbox|combobox|img|slider|spinbutton|textbox)\b"
VALIDATION = "validation = dashboards.explore_validation(bgnb.validate('models', 'in', 'GADF'))\nvalidation"
RUNS_VALIDATED = """
from bgnb.validation.validation_views import run_positions
x, y = run_positions(validation._counts, validation.state, "runs")
print([validation._counts.obs_ids.tolist(), x.tolist(), y.tolist()])
"""
#: A figure of each dashboard, and widths of windows.
SHOWN = {"models": "image", "runs": "values", "comparison": "compared", "validation": "runs"}
WIDTHS = (1024, 1600, 2560, 1280)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Notebooks, and the models that they show."""
    root = tmp_path_factory.mktemp("lab")
    bgnb.make_test_dataset(root / "in", n_runs=9, trigger_rate=20.0, alt_range=(45, 80), seed=3)
    bgnb.make_bg_cube_models(root / "in", "GADF", root / "models", select="all", n_energy=8, n_fov=12, alt_edges=[0, 64, 90])
    bgnb.make_true_reco(root / "simulation", n_runs=4, trigger_rate=20.0, n_energy=6, n_fov=10, gradient_x=0.1)
    for name, values in (
        ("explore", {"modeldir": "models"}),
        ("explore_true_reco", {"dir1": "simulation/true", "dir2": "simulation/reco"}),
    ):
        notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
        for cell in notebook.cells:
            if "parameters" in cell.metadata.get("tags", []):
                for parameter, value in values.items():
                    cell.source = cell.source.replace(f'{parameter}: str = ""', f"{parameter}: str = '{value}'")
        if name == "explore_true_reco":
            notebook.cells.append(new_code_cell(VALIDATION))
        nbformat.write(notebook, root / f"{name}.ipynb")
    return root


@pytest.fixture(scope="module")
def url(root, tmp_path_factory):
    with lab(root, tmp_path_factory.mktemp("state")) as url:
        yield url


@pytest.fixture(scope="module")
def open_page():
    with browser() as open_page:
        yield open_page


def open_dashboards(open_page, url, notebook, *kinds):
    """Open a notebook, run it, and wait for its dashboards."""
    page = open_page()
    page.open_notebook(url.format(notebook))
    page.run_all()
    for kind in kinds:
        page.figures(kind).wait_for_bokeh(SHOWN[kind], "model.title.text.trim()")
        page.python(f"first_{kind} = {kind}.json")
    return page


@pytest.fixture(scope="module")
def explore(open_page, url):
    return open_dashboards(open_page, url, "explore.ipynb", "runs", "models")


@pytest.fixture(scope="module")
def explore_true_reco(open_page, url):
    return open_dashboards(open_page, url, "explore_true_reco.ipynb", "comparison", "validation")


def first_state(page, kind):
    """Show the first state of a dashboard; fail at the end if the page sent a request to another host or logged an error."""
    page.python(f"{kind}.restore(first_{kind}); {kind}.drawer_open = False")
    yield page, page.figures(kind)
    assert page.refused == []
    assert page.errors == []


@pytest.fixture
def models(explore):
    yield from first_state(explore, "models")


@pytest.fixture
def runs(explore):
    yield from first_state(explore, "runs")


@pytest.fixture
def comparison(explore_true_reco):
    yield from first_state(explore_true_reco, "comparison")


@pytest.fixture
def validation(explore_true_reco):
    yield from first_state(explore_true_reco, "validation")


def edges_of(page, kind):
    """Return the edges of the energy axis of a dashboard, TeV."""
    return [float(value) for value in page.python(f"print(*{kind}.axes.energy.value)").split()]


def title_of(edges, first, last):
    """Return the part of titles that contains the energies between two edges."""
    return f"{edges[first]:.3g} to {edges[last]:.3g} TeV"


def wait_for_title(figures, panel, text):
    figures.wait_for_bokeh(panel, f"model.title.text.includes({text!r})")


def handles(figures):
    """Return the handles of the slider of energies, and a function that waits until they are at two edges."""
    first, last = (figures.controls.get_by_role("slider", name=f"{end} energy") for end in ("first", "last"))

    def wait_for_edges(low, high):
        expect(first).to_have_attribute("aria-valuenow", f"{low}.0")
        expect(last).to_have_attribute("aria-valuenow", f"{high}.0")

    return first, last, wait_for_edges


def open_drawer(figures):
    figures.controls.get_by_role("button", name="more").click()
    expect(figures.controls.get_by_label("state", exact=True)).to_be_visible()


def wait_for_alert(figures, text):
    figures.controls.get_by_role("alert").filter(has_text=text).wait_for()


def wait_for_status(figures, text):
    figures.controls.get_by_role("status").filter(has_text=text).wait_for()


@pytest.mark.parametrize("kind", SHOWN)
def test_layout_at_all_widths(kind, request):
    """Bar and figures fit the notebook at 1280 × 800, and pixels of images are square at each width, also with the drawer."""
    page, figures = request.getfixturevalue(kind)

    def find_distorted():
        return [box for box in figures.boxes() if box.equal_scales and not has_equal_scales(box)]

    def has_equal_scales(box):
        width, height, across, up = box.axes
        return min(width, height) > 100 and min(abs(width - height * across / up), abs(height - width * up / across)) <= 2

    for width in WIDTHS:
        page.page.set_viewport_size({"width": width, "height": 800})
        until(lambda: not find_distorted(), f"equal scales at {width}: {find_distorted()}")
        open_drawer(figures)
        until(lambda: not find_distorted(), f"equal scales at {width} with the drawer: {find_distorted()}")
        figures.controls.get_by_role("button", name="more").click()
    figures.controls.evaluate("(dashboard) => dashboard.scrollIntoView({ block: 'start', behavior: 'instant' })")
    visible = figures.controls.locator("xpath=ancestor::*[contains(@class, 'jp-WindowedPanel-outer')]").bounding_box()

    def find_outside():
        boxes = [(box.name, box.x, box.y, box.width, box.height) for box in figures.boxes()]
        bar = figures.controls.locator(".bgnb-bar").bounding_box()
        boxes.append(("bar", *(bar[side] for side in ("x", "y", "width", "height"))))
        assert len(boxes) == 7
        return [
            name
            for name, x, y, width, height in boxes
            if not (visible["x"] <= x and x + width <= visible["x"] + visible["width"])
            or not (visible["y"] - 1 <= y and y + height <= visible["y"] + visible["height"])
        ]

    until(lambda: not find_outside(), "all figures inside the notebook")


def test_groups_tapped_in_map(models):
    """A tap in the polar map shows a group, one with Shift adds it to the graphs, and a button adds all."""
    page, figures = models
    pointings = json.loads(page.python("import json; print(json.dumps(models.overview.pointings))"))
    at = {int(group_id): to_plane(*pointing) for group_id, pointing in pointings.items()}
    graphs = ("spectrum", "profile", "strips", "zenith")
    figures.tap("groups", *at[3])
    wait_for_status(figures, "Group 3:")
    expect(figures.controls.get_by_label("group", exact=True)).to_have_value(re.compile("3"))

    before = {name: figures.pixels(name) for name in (*graphs, "groups")}
    figures.tap("groups", *at[1], shift=True)
    for name in ("spectrum", "profile", "strips"):
        figures.wait_for_bokeh(f"{name}-curves", "model.data.name.includes('group 1')")
    for name in (*graphs, "groups"):
        figures.wait_for_other_pixels(name, before[name])
    one = figures.pixels("spectrum")
    open_drawer(figures)
    figures.controls.get_by_role("button", name="all groups").click()
    figures.wait_for_bokeh("spectrum-curves", "model.data.name.length === 3")
    assert figures.bokeh("spectrum-curves", "model.data.name") == ["group 0", "group 1", "group 2"]
    assert figures.bokeh("zenith-1", "model.data.x.length") == 3
    expected = page.python("print(*models._models.read(2).rate.quantity.value[:, 6, 6])").split()
    assert list(figures.bokeh("spectrum-curves", "[...model.data.ys[2]]")) == pytest.approx([float(y) for y in expected])
    figures.wait_for_other_pixels("spectrum", one)

    figures.controls.get_by_role("button", name="only one group").click()
    figures.wait_for_bokeh("spectrum-curves", "model.data.name.length === 0")
    figures.controls.get_by_role("button", name="more").click()
    for name in graphs:
        figures.wait_for_pixels(name, before[name])
    figures.tap("groups", *at[0])
    wait_for_status(figures, "Group 0:")


def test_range_of_energies(models):
    """Handles of the slider, dragging in the spectrum, and boxes choose a range of energies."""
    page, figures = models
    edges, (first, last, wait_for_edges) = edges_of(page, "models"), handles(figures)
    before = figures.pixels("image"), figures.pixels("spectrum")
    last.scroll_into_view_if_needed()
    track, handle = (place.bounding_box() for place in (figures.controls.locator(".noUi-base"), last))
    start = handle["x"] + handle["width"] / 2, handle["y"] + handle["height"] / 2
    page.page.mouse.move(*start)
    page.page.mouse.down()
    page.page.mouse.move(track["x"] + track["width"] * 6 / 8, start[1], steps=8)
    page.page.mouse.up()
    at = int(first.get_attribute("aria-valuenow")[0])
    wait_for_edges(at, 6)
    for panel in ("image", "profile", "strips", "zenith"):
        wait_for_title(figures, panel, title_of(edges, at, 6))
    figures.wait_for_other_pixels("image", before[0])
    figures.wait_for_other_pixels("spectrum", before[1])
    mean = page.python(f"""
import numpy as np
model, width = models._models.read(models.group_id), np.diff(models.axes.energy.value)[{at}:6]
print(*np.tensordot(width, model.rate.quantity.value[{at}:6], 1).ravel() / width.sum())""")
    shown = figures.bokeh("image-data", "[...model.data.value[0]]")
    assert np.ravel(shown) == pytest.approx([float(value) for value in mean.split()], rel=1e-5)

    first.press("ArrowLeft")
    wait_for_edges(at - 1, 6)
    last.press("ArrowRight")
    wait_for_edges(at - 1, 7)
    wait_for_title(figures, "image", title_of(edges, at - 1, 7))

    low, high = (figures.bokeh("spectrum", f"model.y_range.{end}") for end in ("start", "end"))
    figures.drag("spectrum", (edges[3] * 1.2, (low * high) ** 0.5), (edges[5] * 1.2, low * 2))
    wait_for_edges(3, 6)
    wait_for_title(figures, "image", title_of(edges, 3, 6))
    figures.tap("spectrum", (edges[5] * edges[6]) ** 0.5, (low * high) ** 0.5)
    wait_for_edges(5, 6)
    figures.controls.get_by_role("button", name="previous energy").click()
    wait_for_edges(4, 5)
    figures.controls.get_by_role("button", name="next energy").click()
    wait_for_edges(5, 6)
    open_drawer(figures)
    box = figures.controls.get_by_label("from / TeV")
    box.fill(str(edges[2] * 1.01))
    box.press("Enter")
    wait_for_edges(2, 6)
    box = figures.controls.get_by_label("region", exact=True)
    box.fill("circle(1, 1)")
    box.press("Enter")
    wait_for_alert(figures, "circle(1, 1)")
    expect(box).to_have_value("circle(1, 1)")  # so that it can be corrected
    wait_for_edges(2, 6)
    box.fill("circle(1, 1, 0.50)")
    box.press("Enter")
    expect(box).to_have_value("circle(1, 1, 0.5)")
    wait_for_title(figures, "spectrum", "in circle(1, 1, 0.5)")


def test_regions_drawn_in_image(models):
    """A tap chooses a bin; dragging draws a circle, an annulus, and a box: spectrum, outline and summary follow."""
    page, figures = models
    figures.tap("image", -2.2, 1.1)
    wait_for_title(figures, "spectrum", "DETX −2.")
    x, y = (float(value) for value in page.python("print(*models.position)").split())
    assert (x, y) == pytest.approx((-2.2, 1.1), abs=0.05)
    open_drawer(figures)
    start, end = (-2.5, -1.5), (1.5, 2.0)  # the largest circle has a radius of 1.75 deg
    for shape, sizes in (("circle", [1.75]), ("annulus", [0.875, 1.75]), ("box", [4.0, 3.5])):
        before = {name: figures.pixels(name) for name in ("image", "spectrum", "zenith")}
        figures.controls.get_by_label("dragging draws", exact=True).select_option(shape)
        figures.wait_for_bokeh("image", "model.toolbar.active_drag.type === 'BoxSelectTool'")
        figures.drag("image", start, end)
        wait_for_title(figures, "spectrum", f"in {shape}(")
        region = figures.bokeh("spectrum", "model.title.text").partition("in ")[2]
        numbers = [float(number) for number in re.findall(r"-?[\d.]+", region)]
        assert numbers == pytest.approx([-0.5, 0.25, *sizes], abs=0.08)
        expect(figures.controls.get_by_label("region", exact=True)).to_have_value(region)
        wait_for_status(figures, region)
        outline = [np.array(figures.bokeh("image-lines", f"[...model.data.{axis}s[0]]"), dtype=float) for axis in "xy"]
        half = numbers[2] / 2 if shape == "box" else numbers[-1]
        assert np.nanmin(outline[0]) == pytest.approx(numbers[0] - half, abs=0.01)
        assert np.nanmax(outline[0]) == pytest.approx(numbers[0] + half, abs=0.01)
        assert (np.nanmin(outline[1]) + np.nanmax(outline[1])) / 2 == pytest.approx(numbers[1], abs=0.01)
        for name, pixels in before.items():
            figures.wait_for_other_pixels(name, pixels)
    figures.controls.get_by_label("dragging draws", exact=True).select_option("nothing")
    figures.wait_for_bokeh("image", "model.toolbar.active_drag.type === 'PanTool'")
    figures.tap("image", 1.0, 1.0)
    wait_for_title(figures, "spectrum", "at DETX 1.0")


def test_contours_and_blink(comparison):
    """A check box draws contours; a button exchanges the two images repeatedly, until it is pressed again."""
    page, figures = comparison
    open_drawer(figures)
    images = ("first", "second", "compared")
    before = {name: figures.pixels(name) for name in images}
    contours = figures.controls.get_by_label("contours of the other model")
    contours.check()
    for name in images:
        figures.wait_for_bokeh(f"{name}-lines", "model.data.xs.length > 3")
        figures.wait_for_other_pixels(name, before[name])
    contours.uncheck()
    for name in images:
        figures.wait_for_bokeh(f"{name}-lines", "model.data.xs.length === 1")
        figures.wait_for_pixels(name, before[name])

    figures.controls.get_by_role("button", name="blink").click()
    for swapped in (True, False, True, False):
        for name, label in zip(images, ("reco", "true") if swapped else ("true", "reco"), strict=False):
            figures.wait_for_bokeh(name, f"model.title.text.startsWith('{label}')")
    figures.controls.get_by_role("button", name="pause").click()
    figures.controls.get_by_role("button", name="blink").wait_for()
    until(lambda: page.python("print(comparison._controls['blink'].widget.playing)") == "False", "no more blinking")
    swapped = page.python("print(comparison.swap)")
    figures.controls.get_by_label("normalise", exact=True).select_option("plane")
    wait_for_status(figures, "normalisation: plane")
    assert page.python("print(comparison.swap)") == swapped


def test_comparison_dashboard_in_lab(comparison):
    """Menus and taps change the comparison."""
    _, figures = comparison
    before = {name: figures.pixels(name) for name in ("first", "second", "compared", "pulls")}
    show = figures.controls.get_by_label("show", exact=True)
    show.select_option("difference")
    figures.wait_for_bokeh("compared", "model.title.text.startsWith('Difference')")
    show.select_option("pull")
    figures.wait_for_bokeh("compared", "model.title.text.startsWith('Pull')")
    figures.wait_for_other_pixels("compared", before["compared"])
    assert figures.pixels("first") == before["first"]
    open_drawer(figures)
    figures.controls.get_by_label("normalise", exact=True).select_option("plane")
    wait_for_status(figures, "normalisation: plane")
    figures.controls.get_by_role("button", name="more").click()
    figures.wait_for_other_pixels("second", before["second"])
    figures.tap("compared", 2.1, -1.9)
    wait_for_title(figures, "ratios", "DETX 2.")
    figures.tap("ratios", 20.0, 1.0)
    wait_for_title(figures, "first", "8.62 to 26.3 TeV")
    figures.controls.get_by_label("against", exact=True).select_option("DETX")
    figures.wait_for_bokeh("ratios", "model.below[0].axis_label.startsWith('DETX')")


def test_runs_selected_in_all_plots(runs, root, tmp_path):
    """A tap on a run, dragging, and the menu select runs in all plots; a saved selection makes models of these runs."""
    page, figures = runs
    coordinates = "from bgnb.plots.run_views import coordinates\nx, y = coordinates(runs._runs, {!r}, runs.state)\n"

    def places(panel):
        return json.loads(page.python(coordinates.format(panel) + "print(json.dumps([x.tolist(), y.tolist()]))"))

    obs_ids = json.loads(page.python("print(runs._runs.obs_ids.tolist())"))
    chosen = figures.controls.get_by_label("selected OBS_IDs")
    before = {name: figures.pixels(name) for name in ("sky", "groups", "values")}
    x, y = places("values")
    figures.tap("values", x[2], y[2])
    wait_for_status(figures, f"Selected: run {obs_ids[2]} ")
    expect(chosen).to_have_value(str(obs_ids[2]))
    for name in before:
        marks = f"[i for i, series in enumerate(runs.view.panels[{name!r}].series) if series.colour == SELECTED]"
        number = page.python(f"from bgnb.plots.colours import SELECTED; print(*{marks})")
        figures.wait_for_bokeh(f"{name}-{number}", "model.data.x.length === 1")
        figures.wait_for_other_pixels(name, before[name])
    x, y = places("sky")
    figures.tap("sky", x[5], y[5], shift=True)
    expect(chosen).to_have_value(re.compile(rf"\b{obs_ids[5]}\b"))

    x, y = (np.array(values) for values in places("values"))
    low, middle = figures.bokeh("values", "model.x_range.start"), np.median(x) * (1 + 1e-9)
    bottom, top = (figures.bokeh("values", f"model.y_range.{end}") for end in ("start", "end"))
    figures.drag("values", (0.99 * low + 0.01 * x.max(), bottom), (middle, top))
    wanted = [obs_id for obs_id, at in zip(obs_ids, x, strict=True) if at < middle]
    expect(chosen).to_have_value(" ".join(map(str, wanted)))
    wait_for_status(figures, f"Selected: {len(wanted)} runs")
    open_drawer(figures)
    figures.controls.get_by_role("button", name="save selection").click()
    wait_for_alert(figures, "selected_runs.txt")
    selection = root / "selected_runs.txt"
    bgnb.make_bg_cube_models(root / "in", "GADF", tmp_path / "models", select=selection, n_energy=4, n_fov=6)
    report = json.loads((tmp_path / "models" / "report.json").read_text())
    assert [run["obs_id"] for run in report["runs"] if run["status"] == "used"] == wanted

    figures.controls.get_by_label("group", exact=True).select_option(index=1)
    wait_for_status(figures, "of group")
    assert page.python("print(runs.selected == runs._runs.members(runs.group_id))") == "True"


def test_validation_of_tapped_run(validation):
    """A tap on a run shows its deviations in all plots, and a tap in an energy bin those at these energies."""
    page, figures = validation
    before = {name: figures.pixels(name) for name in ("runs", "energy", "offset", "field", "pointings")}
    obs_ids, x, y = json.loads(page.python(RUNS_VALIDATED))
    figures.tap("runs", x[4], y[4])
    wait_for_status(figures, f"run {obs_ids[4]}")
    open_drawer(figures)
    expect(figures.controls.get_by_label("OBS_IDs")).to_have_value(str(obs_ids[4]))
    figures.controls.get_by_role("button", name="more").click()
    for name, pixels in before.items():
        figures.wait_for_other_pixels(name, pixels)
    edges = json.loads(page.python("print(list(validation._edges))"))
    low, high = (figures.bokeh("energy", f"model.y_range.{end}") for end in ("start", "end"))
    figures.tap("energy", (edges[1] * edges[2]) ** 0.5, (low + high) / 2)
    wait_for_status(figures, f"{edges[1]:.3g} to {edges[2]:.3g} TeV")
    slider = figures.controls.get_by_role("slider", name="last energy")
    slider.press("ArrowRight")
    wait_for_status(figures, f"{edges[1]:.3g} to {edges[3]:.3g} TeV")
    field = figures.pixels("field")
    figures.controls.get_by_label("show", exact=True).select_option("residual")
    figures.wait_for_other_pixels("field", field)


def test_exports_of_all_kinds(models, root, open_page):
    """Buttons write files of all kinds; the page with all groups works from a file with the keyboard."""
    page, figures = models
    open_drawer(figures)
    figures.controls.get_by_label("width / in").fill("8")
    figures.controls.get_by_label("show", exact=True).select_option("counts")
    wait_for_title(figures, "image", "Counts")
    for kind, beginning in SIGNATURES.items():
        figures.controls.get_by_role("button", name=f"save {kind}").click()
        wait_for_alert(figures, f".{kind.lower()}")
        (path,) = root.glob(f"Group_*.{kind.lower()}")
        assert path.read_bytes().lstrip().startswith(beginning)
    figures.controls.get_by_role("button", name="copy as Python").click()
    wait_for_alert(figures, "quantity='counts'")

    (path,) = root.glob("Group_*.html")
    elsewhere = path.rename(path.with_name("elsewhere.html"))
    edges = edges_of(page, "models")
    exported = open_page()
    exported.page.goto(f"file://{elsewhere}")
    shown = exported.figures()
    wait_for_title(shown, "image", "Counts")
    at = next(i for i in range(8) if title_of(edges, i, i + 1) in shown.bokeh("image", "model.title.text"))
    before = {name: shown.pixels(name) for name in ("image", "spectrum", "groups")}
    tab_to(exported, "slider")
    exported.page.keyboard.press("ArrowRight")
    wait_for_title(shown, "image", title_of(edges, at + 1, at + 2))
    wait_for_status(shown, title_of(edges, at + 1, at + 2))
    shown.wait_for_other_pixels("image", before["image"])
    assert shown.pixels("groups") == before["groups"]
    exported.page.keyboard.press("ArrowLeft")
    shown.wait_for_pixels("image", before["image"])
    exported.page.keyboard.press("Shift+Tab")
    exported.page.keyboard.press("ArrowDown")
    group = exported.page.get_by_label("group").locator("option:checked").inner_text()
    wait_for_status(shown, group[0].upper() + group[1:])
    for name, pixels in before.items():
        shown.wait_for_other_pixels(name, pixels)
    snapshot = exported.page.locator("body").aria_snapshot()
    assert find_unnamed(snapshot) == []
    assert exported.page.get_by_role("img").count() == 6
    assert exported.refused == []
    assert exported.errors == []


def tab_to(page, role):
    """Press Tab until an element with a role has the focus."""
    page.page.keyboard.press("Tab")
    while page.page.get_by_role(role).and_(page.page.locator(":focus")).count() == 0:
        page.page.keyboard.press("Tab")


def find_unnamed(snapshot):
    """List the controls and images without a name in a snapshot of the accessibility tree."""
    return [line for line in snapshot.splitlines() if re.match(CONTROL, line) and not re.match(CONTROL + ' "', line)]


def name_in(snapshot):
    """Return the name of the first element of a snapshot."""
    return snapshot.partition('"')[2].partition('"')[0]


def test_state_pasted_elsewhere(models):
    """The state of a dashboard, pasted into another one, is restored there; states of other dashboards are refused."""
    page, figures = models
    open_drawer(figures)
    edges, (_, last, wait_for_edges) = edges_of(page, "models"), handles(figures)
    last.press("End")
    wait_for_title(figures, "image", title_of(edges, 2, 8))
    figures.controls.get_by_label("group", exact=True).select_option(index=1)
    figures.controls.get_by_label("stretch", exact=True).select_option("log")
    figures.controls.get_by_label("also groups", exact=True).fill("2 3")
    figures.controls.get_by_label("also groups", exact=True).press("Enter")
    figures.wait_for_bokeh("spectrum-curves", "model.data.name.length === 2")
    figures.tap("image", 2.2, -1.1)
    wait_for_title(figures, "spectrum", "DETX 2.")
    state = figures.controls.get_by_label("state", exact=True)
    expect(state).to_have_value(page.python("print(models.json)"))  # the text follows the figures
    saved, title = state.input_value(), figures.bokeh("spectrum", "model.title.text")
    figures.controls.get_by_role("button", name="more").click()
    wanted = {name: figures.pixels(name) for name in ("image", "spectrum", "groups")}

    first = page.python("old = models; print(first_models)")
    page.run_cell("explore_models(modeldir)")
    until(lambda: page.python("print(models is old)") == "False", "another dashboard")
    expect(page.page.locator(".bgnb-models")).to_have_count(1)
    expect(state).to_have_value(first)
    figures.wait_for_bokeh("spectrum-curves", "model.data.name.length === 0")
    open_drawer(figures)
    state.fill(saved.replace("explore_models", "explore_runs"))
    state.press("Enter")
    wait_for_alert(figures, "this is a state of explore_runs")
    expect(state).to_have_value(saved.replace("explore_models", "explore_runs"))  # so that it can be corrected
    state.fill(saved)
    state.press("Enter")
    wait_for_title(figures, "spectrum", title)
    wait_for_edges(2, 8)
    figures.controls.get_by_role("button", name="more").click()
    for name, pixels in wanted.items():
        figures.wait_for_pixels(name, pixels)
    assert page.python("print(models.json)") == saved


def test_keyboard_alone(models):
    """Each control of the bar and the drawer has a name, and is used with the keyboard."""
    page, figures = models
    press, edges = page.page.keyboard.press, edges_of(page, "models")

    def has_focus(name):
        focused = figures.controls.locator(":focus")
        expect(focused).to_have_count(1)
        return name_in(focused.aria_snapshot()).startswith(name)

    figures.controls.get_by_label("group", exact=True).focus()
    press("ArrowDown")
    wait_for_status(figures, "Group 1:")
    for name in ("first energy", "last energy", "previous energy", "play through the energies", "next energy", "show", "more"):
        press("Tab")
        assert has_focus(name), name
        if name == "last energy":
            press("ArrowRight")
            wait_for_title(figures, "image", title_of(edges, 2, 4))
        elif name == "previous energy":
            press("Enter")
            wait_for_title(figures, "image", title_of(edges, 1, 3))
        elif name == "play through the energies":
            press("Enter")
            wait_for_title(figures, "image", title_of(edges, 2, 4))
            press("Enter")
            figures.controls.get_by_role("button", name="play through the energies").wait_for()
        elif name == "show":
            press("ArrowDown")
            wait_for_title(figures, "image", "Integrated rate")
    press("Enter")
    expect(figures.controls.get_by_label("state", exact=True)).to_be_visible()
    names = []
    press("Tab")
    while (focused := figures.controls.locator(":focus")).count():
        names.append(name_in(focused.aria_snapshot()))
        press("Tab")
    snapshot = figures.controls.aria_snapshot()
    assert find_unnamed(snapshot) == []
    controls = [name_in(line) for line in snapshot.splitlines() if re.match(CONTROL, line) and "img" not in line]
    assert names == controls[-len(names) :]
    assert {"all groups", "region", "stretch", "save PDF", "copy as Python", "state"} < set(names)

    expected = page.python("""
from bgnb.plots.alternative_texts import describe
for panel in models.view.panels.values(): print(describe(panel))""")
    images = figures.controls.get_by_role("img")
    expect(images).to_have_count(6)
    assert [image.get_attribute("aria-label") for image in images.all()] == expected.splitlines()


def test_play_and_fast_keys(models):
    """Play goes through the energies; after fast key presses, slider, image and Python agree."""
    page, figures = models
    edges, (first, last, wait_for_edges) = edges_of(page, "models"), handles(figures)
    play = figures.controls.get_by_role("button", name="play through the energies")
    play.click()
    wait_for_title(figures, "image", title_of(edges, 7, 8))
    wait_for_title(figures, "image", title_of(edges, 1, 2))  # again from the first energy
    figures.controls.get_by_role("button", name="pause").click()
    play.wait_for()
    until(lambda: page.python("print(models._controls['play'].widget.playing)") == "False", "the end of playing")
    at = int(page.python("print(models._controls['bins'].widget.value[0])"))

    # Only the last press reaches the first edge.
    last.press("End")
    wait_for_title(figures, "image", title_of(edges, at, 8))
    wait_for_edges(at, 8)
    for number in range(40):
        first.press("ArrowRight" if number % 8 < 4 else "ArrowLeft")
    first.press("Home")
    wait_for_title(figures, "image", title_of(edges, 0, 8))
    until(lambda: page.python("print(models._controls['bins'].widget.value)") == "(0, 8)", "the last edges in Python")
    wait_for_edges(0, 8)


def test_theme_and_reload(models, root):
    """With the dark theme, and after a reload, the image shows the present state."""
    page, figures = models
    edges = edges_of(page, "models")
    page.python("models.update(quantity='counts', energy=models.axes.energy_centers[5])")
    wait_for_title(figures, "image", title_of(edges, 5, 6))
    light = figures.pixels("image")
    page.page.evaluate("() => void jupyterapp.commands.execute('apputils:change-theme', { theme: 'JupyterLab Dark' })")
    page.page.wait_for_function("() => document.body.dataset.jpThemeLight === 'false'")
    figures.wait_for_bokeh("image", "model.background_fill_color === '#111111'")
    figures.wait_for_other_pixels("image", light)
    title = figures.bokeh("image", "model.title.text")
    page.page.evaluate("() => void jupyterapp.commands.execute('docmanager:save')")
    page.page.wait_for_function("() => !jupyterapp.shell.currentWidget.context.model.dirty")
    page.page.reload()
    wait_for_title(figures, "image", title)
    text = (root / "explore.ipynb").read_text()
    assert "image/png" in text
    assert len(text) < 1_000_000
    # The reloaded dashboard follows Python.
    page.python("models.energy = models.axes.energy_centers[1]")
    wait_for_title(figures, "image", title_of(edges, 1, 2))
    expect(figures.controls.get_by_role("img").first).to_have_attribute("aria-label", re.compile(title_of(edges, 1, 2)))


def test_exported_comparison_in_browser(open_page, root, tmp_path):
    """An exported page of a comparison works from a file, without a server."""
    comparison = bgnb.dashboards.compare_models(root / "simulation/true", root / "simulation/reco", energy=1.0)
    comparison.save_html(tmp_path / "page.html")
    labels = [label for _, label in comparison.frames()]
    (tmp_path / "page.html").rename(tmp_path / "elsewhere.html")
    page = open_page()
    page.page.goto(f"file://{tmp_path}/elsewhere.html")
    figures = page.figures()
    wait_for_title(figures, "compared", "Ratio")
    at = next(number for number, label in enumerate(labels) if label in figures.bokeh("compared", "model.title.text"))
    before = {name: figures.pixels(name) for name in ("first", "compared", "pulls")}
    handle = page.page.get_by_role("slider")
    handle.focus()
    handle.press("ArrowRight")
    wait_for_title(figures, "compared", labels[at + 1])
    wait_for_status(figures, labels[at + 1])
    figures.wait_for_other_pixels("first", before["first"])
    figures.wait_for_other_pixels("compared", before["compared"])
    assert figures.pixels("pulls") == before["pulls"]
    handle.press("ArrowLeft")
    figures.wait_for_pixels("first", before["first"])
    assert page.refused == []
    assert page.errors == []
