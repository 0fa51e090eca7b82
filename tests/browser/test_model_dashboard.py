"""The dashboards of models and runs in Chromium, without network: map, energies, regions, keyboard, states, exports, reload."""

import json
import re

import numpy as np
import pytest

import bgnb
from bgnb.plots.pointing_map import to_plane
from tests.browser.dashboards import (
    check_layout,
    edges_of,
    handles,
    open_drawer,
    title_of,
    wait_for_alert,
    wait_for_status,
    wait_for_title,
)
from tests.browser.driver import expect
from tests.helpers.processes import until

#: Beginnings of files.
SIGNATURES = {"PNG": b"\x89PNG", "PDF": b"%PDF", "SVG": b"<?xml", "HTML": b"<!DOCTYPE html>", "CSV": b"# ", "JSON": b"{"}
CONTROL = r"\s*- '?(button|checkbox|combobox|img|slider|spinbutton|textbox)\b"

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("kind", "widths"), [("models", (800, 1920, 1280)), ("runs", (800, 1280))])
def test_layout_at_all_widths(kind, widths, request):
    """Bar and figures fit the notebook at 1280 × 800, images are square at each width, and the drawer is in sight.

    At the widest, that of models stands for the others, which have the same grid.
    """
    check_layout(*request.getfixturevalue(kind), widths)


def test_titles_fit_beside_drawer(models):
    """Titles are not cut at the narrowest figures, those beside the drawer."""
    page, figures = models
    open_drawer(figures)
    page.python("models.update(quantity='integrated rate', energy=models.axes.energy.value[[0, 6]], draw='annulus')")
    page.python("models.region = 'annulus(0.51, 1.01, 0.875, 1.75)'")
    wait_for_title(figures, "image", "Integrated rate")
    wait_for_title(figures, "spectrum", "annulus")
    until(lambda: figures.cut_titles() == [], "titles inside their figures")


def test_groups_tapped_in_map(models):
    """A tap in the polar map shows a group, one with Shift adds it to the graphs, and a button adds all."""
    page, figures = models
    pointings = json.loads(page.python("import json; print(json.dumps(models._views.overview.pointings))"))
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
    figures.enter("from / TeV", str(edges[2] * 1.01))
    wait_for_edges(2, 6)
    box = figures.controls.get_by_label("region", exact=True)
    figures.enter("region", "circle(1, 1)")
    wait_for_alert(figures, "circle(1, 1)")
    expect(box).to_have_value("circle(1, 1)")  # so that it can be corrected
    wait_for_edges(2, 6)
    figures.enter("region", "circle(1, 1, 0.50)")
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
        region = " ".join(figures.bokeh("spectrum", "model.title.text").split()).partition("in ")[2]
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

    # The slider follows Python, and sends no value back.
    page.python("steps = []; models.energy = models.axes.energy_centers[0]")
    wait_for_title(figures, "image", title_of(edges, 0, 1))
    page.python("models.observe(lambda change: steps.append(models._edges()[0]), 'state')")
    page.python("for _ in range(6): models.step()")
    wait_for_title(figures, "image", title_of(edges, 6, 7))
    wait_for_edges(6, 7)
    figures.controls.get_by_role("button", name="next energy").click()
    wait_for_title(figures, "image", title_of(edges, 7, 8))
    assert page.python("print(steps)") == "[1, 2, 3, 4, 5, 6, 7]"


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


def test_state_pasted_elsewhere(models):
    """The state of a dashboard, pasted into another one, is restored there; states of other dashboards are refused."""
    page, figures = models
    open_drawer(figures)
    edges, (_, last, wait_for_edges) = edges_of(page, "models"), handles(figures)
    last.press("End")
    wait_for_title(figures, "image", title_of(edges, 2, 8))
    figures.controls.get_by_label("group", exact=True).select_option(index=1)
    figures.controls.get_by_label("stretch", exact=True).select_option("log")
    figures.enter("also groups", "2 3")
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
    figures.enter("state", saved.replace("explore_models", "explore_runs"))
    wait_for_alert(figures, "this is a state of explore_runs")
    expect(state).to_have_value(saved.replace("explore_models", "explore_runs"))  # so that it can be corrected
    figures.enter("state", saved)
    wait_for_title(figures, "spectrum", title)
    wait_for_edges(2, 8)
    figures.controls.get_by_role("button", name="more").click()
    for name, pixels in wanted.items():
        figures.wait_for_pixels(name, pixels)
    assert page.python("print(models.json)") == saved


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


def test_runs_selected_in_all_plots(runs, root, tmp_path):
    """A tap on a run, dragging, and the menu select runs in all plots; a saved selection makes models of these runs."""
    page, figures = runs
    coordinates = "import json\nfrom bgnb.plots.run_views import coordinates\n"
    coordinates += "x, y = coordinates(runs._runs, {!r}, runs.state)\n"

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
