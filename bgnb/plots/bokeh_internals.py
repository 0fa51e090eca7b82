"""All uses of undocumented parts of Bokeh.

A new version of Bokeh may change them; ``tests/plots/test_bokeh_internals.py`` fails then.
"""

from __future__ import annotations

import re
from typing import Any

from bokeh.protocol import Protocol
from bokeh.resources import Resources

_RANDOM_ID = re.compile(r'(?:<\w[^<>]* id="|"docid":")((?:bk-)?[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"')
_MODEL_ID = re.compile(r'("id":"|data-root-id="|"roots":\{"|"root_ids":\[")(p\d+)\b')


def renumber_ids(page: str) -> str:
    """Renumber the ids in an HTML page from one, so that the same views make the same page.

    Bokeh's ids are random, or count all models since Python was started.
    """
    for count, name in enumerate(dict.fromkeys(_RANDOM_ID.findall(page)), start=1):
        page = page.replace(name, f"bokeh-{count}")
    names: dict[str, str] = {}
    return _MODEL_ID.sub(lambda match: match[1] + names.setdefault(match[2], f"p{len(names) + 1}"), page)


def encode_changes(changes: list[Any]) -> tuple[str, list[str], list[bytes]]:
    """Encode changes of a document as a patch for BokehJS: JSON, ids of its binary buffers, and these buffers."""
    if not changes:
        return '{"events": []}', [], []
    patch = Protocol().create("PATCH-DOC", changes)
    return patch.content_json, [buffer.id for buffer in patch.buffers], [buffer.to_bytes() for buffer in patch.buffers]


def bokehjs_source() -> str:
    """Read the source of BokehJS, without its widgets and tables."""
    return "\n".join(Resources(mode="inline", components=["bokeh"]).js_raw)
