"""Undocumented parts of Bokeh, on which `bgnb.plots.bokeh_internals` depends.

If a new version of Bokeh changes them, these tests fail.
"""

import json
import re

import numpy as np
from bokeh.document import Document
from bokeh.embed import file_html
from bokeh.models import ColumnDataSource
from bokeh.plotting import figure
from bokeh.resources import INLINE

from bgnb.plots.bokeh_internals import bokehjs_source, encode_changes, renumber_ids


def new_figure():
    plot = figure(name="plot", title="title")
    plot.line("x", "y", source=ColumnDataSource({"x": [1.0, 2.0], "y": [3.0, 4.0]}, name="data"))
    return plot


def test_patch_applies_to_other_document():
    """A patch with the changes of a document makes the same changes in a copy of it."""
    document, changes = Document(), []
    document.add_root(new_figure())
    copy = Document.from_json(document.to_json())
    document.on_change(changes.append)
    document.get_model_by_name("plot").title.text = "another title"
    document.get_model_by_name("data").data = {"x": [5.0], "y": [6.0]}
    patch, ids, buffers = encode_changes(changes)
    assert len(json.loads(patch)["events"]) == len(changes) == 2
    assert len(ids) == len(buffers)
    copy.apply_json_patch(json.loads(patch))
    assert copy.get_model_by_name("plot").title.text == "another title"
    assert copy.get_model_by_name("data").data == {"x": [5.0], "y": [6.0]}


def test_arrays_are_sent_as_buffers():
    """Arrays are sent as binary buffers, whose ids appear in the patch."""
    document, changes = Document(), []
    document.add_root(new_figure())
    document.on_change(changes.append)
    source = document.get_model_by_name("data")
    x = np.arange(3.0)
    source.data = {"x": x, "y": x}
    patch, ids, buffers = encode_changes(changes)
    assert x.tobytes() in buffers
    assert ids
    assert all(f'"{buffer_id}"' in patch for buffer_id in ids)


def test_page_has_only_renumbered_ids():
    """Two pages of the same figure are identical, and contain none of Bokeh's own ids."""
    pages = [file_html(new_figure(), INLINE, "title") for _ in range(2)]
    assert pages[0] != pages[1]
    first, second = map(renumber_ids, pages)
    assert first == second
    own = first.split("</script>")[-3:]  # behind the source of BokehJS
    assert not re.search(r"[0-9a-f]{8}-[0-9a-f]{4}-", "".join(own))
    numbers = [int(number) for number in re.findall(r'"id":"p(\d+)"', first)]
    assert sorted(set(numbers)) == list(range(1, max(numbers) + 1))
    assert 'data-root-id="p' in first


def test_bokehjs_source_has_no_widgets():
    """The source of BokehJS is complete, but without widgets and tables."""
    source = bokehjs_source()
    assert "embed_item" in source
    assert "apply_json_patch" in source
    assert len(source) < 1.5e6
