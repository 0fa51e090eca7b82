"""Dashboards in JupyterLab: opening them, and waiting for what they show."""

from tests.browser.driver import expect

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
