"""The dashboards of comparisons and validations in Chromium, without network: layout, contours, blinking, taps, pages."""

import json

import pytest

import bgnb
from tests.browser.dashboards import check_layout, open_drawer, wait_for_status, wait_for_title
from tests.browser.driver import expect
from tests.helpers.processes import until

RUNS_VALIDATED = """
from bgnb.validation.validation_views import run_positions
x, y = run_positions(validation._counts, validation.state, "runs")
print([validation._counts.obs_ids.tolist(), x.tolist(), y.tolist()])
"""

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("kind", ["comparison", "validation"])
def test_layout_at_all_widths(kind, request):
    """Bar and figures fit the notebook at 1280 × 800, images are square at each width, and the drawer is in sight."""
    check_layout(*request.getfixturevalue(kind), (800, 1280))


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


def test_exported_comparison_in_browser(open_page, simulation, tmp_path):
    """An exported page of a comparison works from a file, without a server."""
    comparison = bgnb.dashboards.compare_models(simulation / "true", simulation / "reco", energy=1.0)
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
