"""Views as pages that need no server."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from typing import Any

from bgnb.plots.bokeh_figures import Plots, draw, same
from bgnb.plots.view import View


def to_html(labels: Sequence[str], views: Sequence[View], present: int) -> str:
    """Views as one page; with a slider, where there are several.

    Parameters
    ----------
    labels : sequence of str
        What the slider says of each view.
    views : sequence of `View`
        The views.
    present : int
        The one to begin with.
    """
    from bokeh.embed import file_html
    from bokeh.layouts import column
    from bokeh.models import CustomJS, Div, Slider
    from bokeh.resources import INLINE

    plots = Plots(views[present])
    draw(plots.properties(views[present]))
    heading = Div(text=_heading(views[present]))
    children: list[Any] = [heading, plots.layout]
    if len(views) > 1:
        slider = Slider(start=0, end=len(views) - 1, value=present, step=1, title=labels[present], show_value=False, width=400)
        models, frames = _frames(plots, views)
        arguments = {"labels": list(labels), "models": models, "frames": frames}
        arguments |= {"heading": heading, "headings": [_heading(view) for view in views]}
        slider.js_on_change("value", CustomJS(args=arguments, code=_MOVE))
        children.insert(1, slider)
    return _numbered_anew(file_html(column(children, sizing_mode="stretch_width"), INLINE, views[present].title))


_MOVE = """
cb_obj.title = labels[cb_obj.value]
heading.text = headings[cb_obj.value]
frames[cb_obj.value].forEach((properties, i) => models[i].setv(properties))
"""


def _frames(plots: Plots, views: Sequence[View]) -> tuple[list[Any], list[list[dict[str, Any]]]]:
    """The models that differ between views, and their properties in each."""
    drawn = [plots.properties(view) for view in views]
    changing = [i for i, (_, first) in enumerate(drawn[0]) if not all(same(first, pairs[i][1]) for pairs in drawn)]
    return [drawn[0][i][0] for i in changing], [[pairs[i][1] for i in changing] for pairs in drawn]


_RANDOM_ID = re.compile(r'(?:<\w[^<>]* id="|"docid":")((?:bk-)?[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"')
_MODEL_ID = re.compile(r'("id":"|data-root-id="|"roots":\{"|"root_ids":\[")(p\d+)\b')


def _numbered_anew(page: str) -> str:
    """A page with ids from one on, so that the same views make the same page.

    Bokeh's own are random, or count all models since Python was started.
    """
    for count, name in enumerate(dict.fromkeys(_RANDOM_ID.findall(page)), start=1):
        page = page.replace(name, f"bokeh-{count}")
    names: dict[str, str] = {}
    return _MODEL_ID.sub(lambda match: match[1] + names.setdefault(match[2], f"p{len(names) + 1}"), page)


def _heading(view: View) -> str:
    return (
        f"<h1 style='font: 600 1.3em sans-serif'>{escape(view.title)}</h1>"
        f"<p role='status' style='font: 1em sans-serif'>{as_html(view.summary)}</p>"
    )


def as_html(text: str) -> str:
    """Lines of text for a page."""
    return "<br>".join(escape(line) for line in text.splitlines())
