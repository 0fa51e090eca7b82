"""Dashboards in JupyterLab: opening them, and waiting for what they show."""

from tests.browser.driver import expect
from tests.helpers.processes import until

#: A figure of each dashboard.
SHOWN = {"models": "image", "runs": "values", "comparison": "compared", "validation": "runs"}


def open_dashboards(open_page, url, notebook, *kinds):
    """Open a notebook, run it, and wait for its dashboards."""
    page = open_page()
    page.open_notebook(url.format(notebook))
    page.run_all()
    for kind in kinds:
        page.figures(kind).wait_for_bokeh(SHOWN[kind], "model.title.text.trim()")
        page.python(f"first_{kind} = {kind}.json")
    return page


def first_state(page, kind):
    """Show the first state of a dashboard; fail at the end if the page sent a request to another host or logged an error."""
    page.python(f"{kind}.restore(first_{kind}); {kind}.drawer_open = False")
    expect(page.figures(kind).controls.get_by_label("state", exact=True)).to_be_hidden()
    yield page, page.figures(kind)
    assert page.refused == []
    assert page.errors == [], page.errors


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


def check_layout(page, figures, widths):
    """Check that bar and figures fit the notebook at the last width, and images are square at each, without blank space below.

    The drawer is beside the figures or above them, where it is seen when it is opened.
    """

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

    for width in widths:
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
