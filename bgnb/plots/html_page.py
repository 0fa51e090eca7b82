"""Standalone HTML pages of views, with a menu of groups and a slider through energies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import blake2b
from typing import Any

import numpy as np
from bokeh.document import Document
from bokeh.embed import file_html
from bokeh.model import Model
from bokeh.models import CustomJS
from bokeh.resources import INLINE

from bgnb._util.errors import BgnbError
from bgnb.plots.alternative_texts import describe
from bgnb.plots.bokeh_figures import EQUAL_SCALES, Plots, draw
from bgnb.plots.bokeh_internals import renumber_ids
from bgnb.plots.view import View

#: Label of the menu and label of the slider.
Frame = tuple[str, str]

_TEMPLATE = """
{% block postamble %}
<style>
  body { color-scheme: light; color: #222222; background: white; font: 14px/1.45 sans-serif; padding: 0 12px; }
  h1 { font-size: 18px; line-height: 1.2; margin: 10px 0 4px; overflow-wrap: anywhere; }
  #bgnb-controls { display: flex; flex-wrap: wrap; align-items: center; gap: 4px 24px; }
  #bgnb-controls label { display: flex; align-items: center; gap: 8px; }
  #bgnb-controls [hidden] { display: none; }
  #bgnb-slider { width: min(420px, 60vw); }
  #bgnb-summary { white-space: pre-line; margin: 8px 0; overflow-wrap: anywhere; }
</style>
{% endblock %}
{% block contents %}
<main>
<h1 id="bgnb-title">{{ title | e }}</h1>
<div id="bgnb-controls">
<label {{ "hidden" if groups | length < 2 }}>{{ names[0] | e }}
<select id="bgnb-menu" aria-label="{{ names[0] | e }}">
{% for group in groups %}<option {{ "selected" if group == first[0] }}>{{ group | e }}</option>
{% endfor %}</select></label>
<label {{ "hidden" if not slides }}>{{ names[1] | e }}
<input id="bgnb-slider" type="range" min="0" step="1" aria-label="{{ names[1] | e }}">
<span id="bgnb-label" aria-hidden="true">{{ first[1] | e }}</span></label>
</div>
{{ super() }}
<p id="bgnb-summary" role="status">{{ summary | e }}</p>
</main>
{% endblock %}
"""
# frames: for each group, an array of frames with the number of the value that each model has; values: for each model.
_FOLLOW = """
const [title, menu, slider, label, summary] = ["title", "menu", "slider", "label", "summary"].map((name) =>
    document.getElementById(`bgnb-${name}`))
const figures = [...document.querySelectorAll("[data-root-id] > *")].flatMap((root) =>
    [...root.shadowRoot.querySelectorAll(".bk-Figure")])
scaleEqually(root.document)
let [group, number] = first
let shown = frames[group][number]
const describe = () => {
    figures.forEach((figure, i) => {
        figure.setAttribute("role", "img")
        figure.setAttribute("aria-label", shown.texts[i])
        figure.tabIndex = -1 // the Tab key skips what is inside
    })
    slider.max = frames[group].length - 1
    slider.value = number
    slider.setAttribute("aria-valuetext", shown.label)
    label.textContent = shown.label
    title.textContent = document.title = shown.title
    if (summary.textContent !== shown.summary) summary.textContent = shown.summary
}
const show = () => {
    const before = shown
    shown = frames[group][number]
    models.forEach((model, i) => {
        if (shown.values[i] !== before.values[i]) model.setv(values[i][shown.values[i]])
    })
    describe()
}
slider.addEventListener("input", () => {
    number = Number(slider.value)
    show()
})
menu.addEventListener("change", () => {
    group = menu.selectedIndex
    const same = frames[group].findIndex((frame) => frame.label === shown.label)
    number = same >= 0 ? same : Math.min(number, frames[group].length - 1)
    show()
})
describe()
"""


def to_html(
    views: Mapping[Frame, View],
    first: Frame | None = None,
    *,
    names: tuple[str, str] = ("group", "energy"),
    max_size: float = 50e6,
) -> str:
    """Draw views as one page that needs neither a server nor a network.

    Parameters
    ----------
    views : mapping of (str, str) to `View`
        The views by their group, an entry of a menu, and by their label at a slider. Groups may have different
        labels. There is no menu if there is only one group, and no slider if each has only one view.
    first : (str, str), optional
        Group and label of the view that is shown first; by default the first one.
    names : (str, str)
        Names of menu and slider.
    max_size : float
        Maximum size of the page, bytes.

    Returns
    -------
    str
        The page, identical for identical views.

    Raises
    ------
    BgnbError
        If the page would be larger than ``max_size``.
    """
    first = next(iter(views)) if first is None else first
    plots = Plots(views[first])
    draw(plots.properties(views[first]))
    models, values, numbers = _changes(plots, views, max_size)
    frames: dict[str, list[dict[str, Any]]] = {}
    for ((group, label), view), wanted in zip(views.items(), numbers, strict=True):
        frame = {"label": label, "title": view.title, "summary": view.summary, "values": wanted}
        frames.setdefault(group, []).append(frame | {"texts": [describe(panel) for panel in view.panels.values()]})
    where = [list(frames).index(first[0]), [frame["label"] for frame in frames[first[0]]].index(first[1])]
    document = Document()
    document.add_root(plots.layout)
    arguments = {"models": models, "values": values, "frames": list(frames.values()), "first": where, "root": plots.layout}
    document.js_on_event("document_ready", CustomJS(args=arguments, code=EQUAL_SCALES + _FOLLOW))
    variables = {"groups": list(frames), "slides": len(views) > len(frames), "first": first, "names": names}
    variables["summary"] = views[first].summary
    page = renumber_ids(file_html(document, INLINE, views[first].title, template=_TEMPLATE, template_variables=variables))
    _check_size(len(page.encode("utf-8", "replace")), max_size)
    return page


def _changes(
    plots: Plots, views: Mapping[Frame, View], max_size: float
) -> tuple[list[Model], list[list[dict[str, Any]]], list[list[int]]]:
    """Find the Bokeh models that differ between views, their different properties, and the number of those in each view."""
    models = [model for model, _ in plots.properties(next(iter(views.values())))]
    known: list[dict[bytes, int]] = [{} for _ in models]
    values: list[list[dict[str, Any]]] = [[] for _ in models]
    numbers: list[list[int]] = []
    size = 0.0
    for done, view in enumerate(views.values(), start=1):
        numbers.append([])
        for (_, properties), keys, different in zip(plots.properties(view), known, values, strict=True):
            content = b"\0".join(_content(properties))
            number = keys.setdefault(blake2b(content).digest(), len(keys))
            if number == len(different):
                different.append(properties)
                size += len(content) * 4 / 3  # encoded as base64
            numbers[-1].append(number)
        if size > max_size:
            _check_size(size * len(views) / done, max_size)
    changing = [i for i, different in enumerate(values) if len(different) > 1]
    return [models[i] for i in changing], [values[i] for i in changing], [[each[i] for i in changing] for each in numbers]


def _content(value: Any) -> Iterator[bytes]:
    """Iterate over the content of a property, which differs between different values; NaN equals NaN."""
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        yield f"{value.dtype} {value.shape}".encode()
        yield value.tobytes()
    elif isinstance(value, dict):
        yield f"{len(value)} items".encode()
        for name, item in value.items():
            yield repr(name).encode()
            yield from _content(item)
    elif isinstance(value, list) and all(isinstance(item, str) for item in value):  # such as a palette
        yield repr(value).encode()
    elif isinstance(value, list | tuple | np.ndarray):
        yield f"{len(value)} values".encode()
        for item in value:
            yield from _content(item)
    else:
        yield (value.id if isinstance(value, Model) else repr(value)).encode()


def _check_size(size: float, max_size: float) -> None:
    if size > max_size:
        message = f"the page would be {size / 1e6:.3g} MB, more than {max_size / 1e6:g} MB"
        raise BgnbError("too-large", f"{message}; export fewer groups, energies or pixels, or increase max_size")
