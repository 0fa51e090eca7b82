"""Ctrl-C while a dashboard is drawn: the next change, also the same one, draws everything."""

from __future__ import annotations

import json
from types import MethodType

import pytest

from bgnb.dashboards import explore_models
from bgnb.plots.bokeh_figures import draw
from bgnb.plots.bokeh_internals import encode_changes
from tests.dashboards.acting import assert_same_as_fresh


def interrupted_draw(properties):
    """Draw a part."""
    draw(properties[: len(properties) // 2])
    raise KeyboardInterrupt


def interrupted_encoding(changes):
    """Encode, but never return."""
    encode_changes(changes)
    raise KeyboardInterrupt


def record(dashboard) -> list:
    """Record the changes that are sent to the page, by the number of the model among those of the figures."""
    sent: list = []
    number = {model.id: i for i, (model, _) in enumerate(dashboard._plots.properties(dashboard.view))}

    def send(_, content, __=None):
        events = [event for patch in content["patches"] for event in json.loads(patch)["events"]]
        sent.extend((number.get(event["model"]["id"]), event.get("attr")) for event in events)

    dashboard._figures.send = MethodType(send, dashboard._figures)
    return sent


@pytest.mark.parametrize(
    ("name", "replaced"),
    [("dashboard.draw", interrupted_draw), ("live_figures.encode_changes", interrupted_encoding)],
)
def test_interrupted_update(modeldir, monkeypatch, name, replaced):
    """The page gets all changes when the same change is repeated, and shows no old picture below a new title."""
    dashboard, other = explore_models(modeldir, group_id=3), explore_models(modeldir, group_id=3)
    sent, expected = record(dashboard), record(other)
    other.quantity = "counts"
    with monkeypatch.context() as patch:
        patch.setattr(f"bgnb.dashboards.{name}", replaced)
        with pytest.raises(KeyboardInterrupt):
            dashboard.quantity = "counts"
    assert dashboard.update(quantity="counts") is False  # the state is the same; it is only drawn
    assert_same_as_fresh(dashboard, other)
    assert set(sent) == set(expected)
    assert len(expected) > 3
    count = len(sent)
    assert dashboard.update(quantity="counts") is False
    assert len(sent) == count
