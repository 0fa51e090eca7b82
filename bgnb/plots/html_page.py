"""Standalone HTML pages of views, with a slider through several of them."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from bokeh.embed import file_html
from bokeh.layouts import column
from bokeh.models import CustomJS, Div, Slider
from bokeh.resources import INLINE

from bgnb.plots.bokeh_figures import Plots, draw, equal
from bgnb.plots.bokeh_internals import renumber_ids
from bgnb.plots.view import View

_SHOW_FRAME = """
cb_obj.title = labels[cb_obj.value]
heading.text = headings[cb_obj.value]
frames[cb_obj.value].forEach((properties, i) => models[i].setv(properties))
"""


def to_html(labels: Sequence[str], views: Sequence[View], first: int) -> str:
    """Draw views as one page that needs no server; with a slider if there are several.

    Parameters
    ----------
    labels : sequence of str
        Label of the slider for each view.
    views : sequence of `View`
        The views.
    first : int
        Index of the view that is shown first.
    """
    plots = Plots(views[first])
    draw(plots.properties(views[first]))
    heading = Div(text=_heading(views[first]))
    children: list[Any] = [heading, plots.layout]
    if len(views) > 1:
        slider = Slider(start=0, end=len(views) - 1, value=first, step=1, title=labels[first], show_value=False, width=400)
        models, frames = _frames(plots, views)
        arguments = {"labels": list(labels), "models": models, "frames": frames}
        arguments |= {"heading": heading, "headings": [_heading(view) for view in views]}
        slider.js_on_change("value", CustomJS(args=arguments, code=_SHOW_FRAME))
        children.insert(1, slider)
    return renumber_ids(file_html(column(children, sizing_mode="stretch_width"), INLINE, views[first].title))


def _frames(plots: Plots, views: Sequence[View]) -> tuple[list[Any], list[list[dict[str, Any]]]]:
    """Find the Bokeh models that differ between views, and their properties in each view."""
    drawn = [plots.properties(view) for view in views]
    changing = [i for i, (_, first) in enumerate(drawn[0]) if not all(equal(first, pairs[i][1]) for pairs in drawn)]
    return [drawn[0][i][0] for i in changing], [[pairs[i][1] for i in changing] for pairs in drawn]


def _heading(view: View) -> str:
    return (
        f"<h1 style='font: 600 1.3em sans-serif'>{escape(view.title)}</h1>"
        f"<p role='status' style='font: 1em sans-serif'>{lines_to_html(view.summary)}</p>"
    )


def lines_to_html(text: str) -> str:
    """Escape lines of text for HTML."""
    return "<br>".join(escape(line) for line in text.splitlines())
