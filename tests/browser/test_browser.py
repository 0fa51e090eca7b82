"""Dashboards in JupyterLab and exported pages, in Chromium, without network."""

import re
import shutil

import nbformat
import pytest

import bgnb
from bgnb.notebooks.shipped import notebook_directory
from tests.browser.driver import expect, lab, pages
from tests.helpers.processes import until

NOTEBOOKS = notebook_directory()

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
        nbformat.write(notebook, root / f"{name}.ipynb")
    return root


@pytest.fixture(scope="module")
def url(root, tmp_path_factory):
    with lab(root, tmp_path_factory.mktemp("state")) as url:
        yield url


@pytest.fixture
def page():
    """Page of Chromium; fails at the end if the page sent a request to another host or logged an error."""
    with pages() as page:
        yield page
        assert page.refused == []
        assert page.errors == []


def find_dashboard(page, kind):
    """Locate a dashboard by its kind."""
    return page.page.locator(f".bgnb-{kind}")


def test_model_dashboard_in_lab(page, url, root):
    """Slider, boxes, taps, play button and exports work in JupyterLab, also after a reload."""
    page.open_notebook(url.format("explore.ipynb"))
    page.run_all()
    page.wait_for_bokeh("image", "model.title.text.includes('TeV')")
    dashboard = find_dashboard(page, "models")
    group = dashboard.get_by_label("group", exact=True)
    labels = group.locator("option").all_inner_texts()
    assert len(labels) > 1
    group.select_option(index=1)
    status = dashboard.get_by_role("status")
    status.filter(has_text="Group " + labels[1].replace("\xa0", " ")).wait_for()

    before = page.pixels("image")
    slider = dashboard.get_by_role("slider", name="energy")
    slider.focus()
    at = int(slider.get_attribute("aria-valuenow").split(".")[0])
    slider.press("ArrowRight")
    edges = [float(value) for value in page.python("print(*models.axes.energy.value)").split()]
    title = f"{edges[at + 1]:.3g} to {edges[at + 2]:.3g} TeV"
    page.wait_for_bokeh("image", f"model.title.text.includes('{title}')")
    page.wait_for_other_pixels("image", before)
    status.filter(has_text=title).wait_for()
    box = dashboard.get_by_label("energy / TeV")
    box.fill(str(edges[2] * 1.01))
    box.press("Enter")
    page.wait_for_bokeh("image", f"model.title.text.includes('{edges[2]:.3g} to')")
    expect(slider).to_have_attribute("aria-valuenow", "2.0")

    page.tap("image", -2.2, 1.1)
    page.wait_for_bokeh("spectrum", "model.title.text.includes('DETX -2.')")
    x, y = (float(value) for value in page.python("print(*models.position)").split())
    assert (x, y) == pytest.approx((-2.2, 1.1), abs=0.05)
    low, high = (page.bokeh("spectrum", f"y_range.{end}") for end in ("start", "end"))
    page.tap("spectrum", (edges[5] * edges[6]) ** 0.5, (low * high) ** 0.5)  # not on the legend, which takes taps
    page.wait_for_bokeh("image", f"model.title.text.includes('{edges[5]:.3g} to')")

    dashboard.get_by_role("button", name="play through the energies").click()
    page.wait_for_bokeh("image", f"model.title.text.includes('{edges[7]:.3g} to')")  # the last energy
    page.wait_for_bokeh("image", f"model.title.text.includes('{edges[1]:.3g} to')")  # and again from the first energy
    dashboard.get_by_role("button", name="pause").click()
    dashboard.get_by_role("button", name="play through the energies").wait_for()

    dashboard.get_by_label("counts", exact=True).check()
    page.wait_for_bokeh("image", "model.title.text.startsWith('Counts')")
    dashboard.get_by_label("stretch").select_option("log")
    until(lambda: page.python("print(models.quantity, models.stretch)") == "counts log", "quantity and stretch in Python")
    for kind in ("PNG", "HTML", "CSV"):
        dashboard.get_by_role("button", name=f"save {kind}").click()
        dashboard.get_by_role("alert").filter(has_text=f".{kind.lower()}").wait_for()
        assert list(root.glob(f"Group_*.{kind.lower()}"))
    dashboard.get_by_role("button", name="copy as Python").click()
    dashboard.get_by_role("alert").filter(has_text="quantity='counts'").wait_for()

    # After fast key presses, slider, image and Python agree on the last energy bin, which only the last press reaches.
    slider.press("End")
    page.wait_for_bokeh("image", f"model.title.text.includes('{edges[7]:.3g} to {edges[8]:.3g} TeV')")
    for number in range(40):
        slider.press("ArrowLeft" if number % 8 < 4 else "ArrowRight")
    slider.press("Home")
    page.wait_for_bokeh("image", f"model.title.text.includes('{edges[0]:.3g} to {edges[1]:.3g} TeV')")
    until(lambda: page.python("print(models._controls['bin'].widget.value)") == "0", "the last bin in Python")
    expect(slider).to_have_attribute("aria-valuenow", "0.0")

    # With the dark theme, and after a reload, the image shows the present state.
    light = page.pixels("image")
    page.page.evaluate("() => jupyterapp.commands.execute('apputils:change-theme', { theme: 'JupyterLab Dark' })")
    page.page.wait_for_function("() => document.body.dataset.jpThemeLight === 'false'")
    page.wait_for_bokeh("image", "model.background_fill_color === '#111111'")
    page.wait_for_other_pixels("image", light)
    title = page.bokeh("image", "title.text")
    page.page.evaluate("() => jupyterapp.commands.execute('docmanager:save')")
    page.page.wait_for_function("() => !jupyterapp.shell.currentWidget.context.model.dirty")
    page.page.reload()
    page.wait_for_bokeh("image", f"model.title.text === {title!r}")
    text = (root / "explore.ipynb").read_text()
    assert "image/png" in text
    assert len(text) < 1_000_000
    # The reloaded dashboard follows Python.
    page.python("models.energy = models.axes.energy_centers[1]")
    page.wait_for_bokeh("image", f"model.title.text.includes('{edges[1]:.3g} to')")


def test_run_dashboard_in_lab(page, url):
    """Taps, drags and the menu select runs in all plots."""
    page.open_notebook(url.format("explore.ipynb"))
    page.run_all()
    page.wait_for_bokeh("groups", "model.title.text")
    page.wait_for_bokeh("image", "model.title.text")
    positions = "from bgnb.plots.run_views import coordinates"
    x, y = map(
        float, page.python(f"{positions}\nx, y = coordinates(runs._runs, 'groups', runs.state)\nprint(x[0], y[0])").split()
    )
    dashboard = find_dashboard(page, "runs")
    before = page.pixels("sky")
    page.tap("groups", x, y)
    dashboard.get_by_role("status").filter(has_text="Selected: run").wait_for()
    chosen = page.python("print(*runs.selected)")
    assert chosen
    expect(dashboard.get_by_label("selected OBS_IDs")).to_have_value(chosen)
    page.wait_for_other_pixels("sky", before)
    assert page.bokeh("sky-3", "data.x.length") == page.bokeh("groups-2", "data.x.length") == 1
    low, high = page.bokeh("zenith", "x_range.start"), page.bokeh("zenith", "x_range.end")
    middle = (low + high) / 2
    page.drag("zenith", (low + 0.1, 0.7), (middle, 0.1))
    dashboard.get_by_role("status").filter(has_text=re.compile(r"Selected: \d+ runs")).wait_for()
    wanted = page.python(f"print(*runs._runs.obs_ids[coordinates(runs._runs, 'zenith', runs.state)[0] < {middle}])")
    expect(dashboard.get_by_label("selected OBS_IDs")).to_have_value(wanted)
    dashboard.get_by_label("group", exact=True).select_option(index=1)
    dashboard.get_by_role("status").filter(has_text="of group").wait_for()
    assert page.python("print(runs.selected == runs._runs.members(runs.group_id))") == "True"


def test_comparison_dashboard_in_lab(page, url):
    """Radio buttons, menu and taps change the comparison."""
    page.open_notebook(url.format("explore_true_reco.ipynb"))
    page.run_all()
    page.wait_for_bokeh("compared", "model.title.text.startsWith('Ratio')")
    dashboard = find_dashboard(page, "comparison")
    before = {name: page.pixels(name) for name in ("first", "second", "compared", "pulls")}
    dashboard.get_by_label("difference", exact=True).check()
    page.wait_for_bokeh("compared", "model.title.text.startsWith('Difference')")
    dashboard.get_by_label("pull", exact=True).check()
    page.wait_for_bokeh("compared", "model.title.text.startsWith('Pull')")
    page.wait_for_other_pixels("compared", before["compared"])
    assert page.pixels("first") == before["first"]
    dashboard.get_by_label("normalise").select_option("plane")
    dashboard.get_by_role("status").filter(has_text="normalisation: plane").wait_for()
    page.wait_for_other_pixels("second", before["second"])
    page.tap("compared", 2.1, -1.9)
    page.wait_for_bokeh("ratios", "model.title.text.includes('DETX 2.')")
    page.tap("ratios", 20.0, 1.0)
    page.wait_for_bokeh("first", "model.title.text.includes('8.62 to 26.3 TeV')")


def test_exported_page_in_browser(page, root, tmp_path):
    """The menu and the slider of an exported page work from a file, without a server, also with the keyboard."""
    models = bgnb.dashboards.explore_models(root / "models", energy=1.0)
    models.save_html(tmp_path / "page.html")
    frames = list(models.frames())
    groups = list(dict.fromkeys(group for group, _ in frames))
    labels = [label for group, label in frames if group == groups[0]]
    assert len(groups) > 1
    shutil.copy(tmp_path / "page.html", tmp_path / "elsewhere.html")
    page.page.goto(f"file://{tmp_path}/elsewhere.html")
    page.wait_for_bokeh("image", "model.title.text.startsWith('Rate')")
    shown = next(number for number, label in enumerate(labels) if label in page.bokeh("image", "title.text"))
    names = ("image", "spectrum")
    before = {name: page.pixels(name) for name in names}
    slider, status = page.page.get_by_role("slider", name="energy"), page.page.get_by_role("status")
    slider.focus()
    slider.press("ArrowRight")
    page.wait_for_bokeh("image", f"model.title.text.includes('{labels[shown + 1]}')")
    status.filter(has_text=labels[shown + 1]).wait_for()
    expect(slider).to_have_attribute("aria-valuetext", labels[shown + 1])
    page.page.get_by_role("img", name=labels[shown + 1]).first.wait_for()
    page.wait_for_other_pixels("image", before["image"])
    slider.press("ArrowLeft")
    page.wait_for_pixels("image", before["image"])
    menu = page.page.get_by_role("combobox", name="group")
    menu.focus()
    menu.press("ArrowDown")
    expect(menu).to_have_value(groups[1])
    status.filter(has_text=models.view_of(models.frames()[groups[1], labels[shown]]).summary.splitlines()[0]).wait_for()
    expect(slider).to_have_attribute("aria-valuetext", labels[shown])
    for name in names:
        page.wait_for_other_pixels(name, before[name])
    menu.press("ArrowUp")
    for name in names:
        page.wait_for_pixels(name, before[name])
