"""Layout of all dashboards in Chromium, and those of comparisons, runs and validations, without network."""

import json
import re

import numpy as np
import pytest

import bgnb
from tests.browser.dashboards import SHOWN, open_drawer, wait_for_alert, wait_for_status, wait_for_title
from tests.browser.driver import expect
from tests.helpers.processes import until

RUNS_VALIDATED = """
from bgnb.validation.validation_views import run_positions
x, y = run_positions(validation._counts, validation.state, "runs")
print([validation._counts.obs_ids.tolist(), x.tolist(), y.tolist()])
"""
#: Widths of windows; at the widest, that of models stands for the others, which have the same grid.
WIDTHS = {"models": (800, 1920, 1280)}

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("kind", SHOWN)
def test_layout_at_all_widths(kind, request):
    """Bar and figures fit the notebook at 1280 × 800; images are square at each width, and narrow ones lower than wide ones.

    The drawer is beside the figures or above them, where it is seen when it is opened.
    """
    page, figures = request.getfixturevalue(kind)

    def find_distorted():
        return [box for box in figures.boxes() if box.equal_scales and not has_equal_scales(box)]

    def has_equal_scales(box):
        width, height, across, up = box.axes
        if box.height > max(231, box.width / 1.05):  # blank space below the image
            return False
        return min(width, height) > 100 and min(abs(width - height * across / up), abs(height - width * up / across)) <= 2

    def is_drawer_in_sight():
        drawer = figures.controls.locator(".bgnb-drawer").bounding_box()
        return drawer["y"] <= min(box.y for box in figures.boxes())

    for width in WIDTHS.get(kind, (800, 1280)):
        page.page.set_viewport_size({"width": width, "height": 800})
        until(lambda: not find_distorted(), f"equal scales at {width}: {find_distorted()}")
        open_drawer(figures)
        until(lambda: not find_distorted(), f"equal scales at {width} with the drawer: {find_distorted()}")
        until(is_drawer_in_sight, f"the drawer in sight at {width}")
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
    before = {name: figures.pixels(name) for name in ("first", "compared", "ratios")}
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
    figures.wait_for_other_pixels("ratios", before["ratios"])
    figures.tap("compared", 2.1, -1.9)
    wait_for_title(figures, "ratios", "DETX 2.")
    figures.tap("ratios", 20.0, 1.0)
    wait_for_title(figures, "first", "8.62 to 26.3 TeV")
    figures.controls.get_by_label("against", exact=True).select_option("DETX")
    figures.wait_for_bokeh("ratios", "model.below[0].axis_label.startsWith('DETX')")


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
