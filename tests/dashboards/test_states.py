"""States of dashboards: what a change resets, and saved states."""

import json
import os
import re
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bgnb import BgnbError
from bgnb.dashboards import compare_models, explore_models, explore_runs
from tests.dashboards.acting import assert_same_as_fresh, in_state, shared, tap
from tests.helpers.errors import raises
from tests.helpers.time_limit import time_limit

BY_HAND = {"low": 1e-9, "high": 1e-3}


@pytest.fixture
def models(modeldir):
    """Dashboard of models."""
    return shared(explore_models, modeldir, group_id=3)


@pytest.fixture(scope="module")
def unchanged(modeldir):
    """Dashboard of models that refuses all states, and can be used again."""
    return explore_models(modeldir, group_id=3)


@pytest.fixture
def comparison(pair):
    """Dashboard of two models."""
    return shared(compare_models, *pair)


@pytest.mark.parametrize(
    ("changed", "set_before", "reset"),
    [
        ({"quantity": "counts"}, BY_HAND, {"low": None, "high": None}),
        ({"limits": "all energies"}, BY_HAND, {"low": None, "high": None}),
        ({"percentile": 90}, BY_HAND, {"low": None, "high": None}),
        ({"position": (1.0, 0.5)}, {"region": "circle(0, 0, 1)"}, {"region": ""}),
    ],
)
def test_changes_of_models_reset_fields(models, changed, set_before, reset):
    """A change resets the fields that are useless afterwards; values given at the same time win."""
    models.update(**set_before, colour_by="counts")
    before = models.state
    models.update(**changed)
    assert models.state == replace(before, **changed, **reset)
    models.update(**{name: getattr(before, name) for name in changed}, **set_before)
    assert models.state == before
    models.update(**changed, **set_before)
    assert models.state == replace(before, **changed)
    # The same value again is no change.
    models.update(**changed)
    assert models.state == replace(before, **changed)


@pytest.mark.parametrize(
    ("changed", "set_before", "reset"),
    [
        ({"show": "pull"}, {"span": 0.5}, {"span": None}),
        ({"percentile": 90}, {"span": 0.5, **BY_HAND}, {"span": None, "low": None, "high": None}),
        ({"limits": "all energies"}, {"span": 0.5, **BY_HAND}, {"low": None, "high": None}),
        ({"position": (1.0, 0.5)}, {"region": "circle(0, 0, 1)"}, {"region": ""}),
    ],
)
def test_changes_of_comparison_reset_fields(comparison, changed, set_before, reset):
    """A change resets the fields that are useless afterwards; values given at the same time win."""
    comparison.update(**set_before, against="offset")
    before = comparison.state
    comparison.update(**changed)
    assert comparison.state == replace(before, **changed, **reset)
    comparison.update(**{name: getattr(before, name) for name in changed}, **set_before)
    comparison.update(**changed, **set_before)
    assert comparison.state == replace(before, **changed)


def test_other_changes_reset_nothing(models, comparison):
    """Limits by hand and a region remain if a field changes that has nothing to do with them."""
    models.update(**BY_HAND, region="circle(0, 0, 1)")
    before = models.state
    changes = {"energy": 5, "stretch": "log", "colour_by": "counts", "draw": "box", "others": (8,), "group_id": 8}
    models.update(**changes)
    assert models.state == replace(before, **changes)
    comparison.update(**BY_HAND, region="circle(0, 0, 1)", span=0.5)
    before = comparison.state
    changes = {
        "energy": 5,
        "stretch": "log",
        "palette": "cividis",
        "draw": "box",
        "against": "DETX",
        "contours": True,
        "swap": True,
    }
    comparison.update(**changes)
    assert comparison.state == replace(before, **changes)


def test_resets_name_existing_fields(models, comparison, runs):
    """All fields in the tables of resets exist."""
    for dashboard in (models, comparison, shared(explore_runs, runs[0] / "in", "GADF")):
        names = {field.name for field in fields(dashboard.State)}
        assert dashboard.resets
        for causes, values in dashboard.resets:
            assert {*causes, *values} <= names


MODELS = {
    "group_id": 8, "others": (3, 8), "quantity": "integrated rate", "energy": (0.7, 12.5), "draw": "annulus",
    "stretch": "sqrt", "limits": "all energies", "percentile": 97.5, "low": 1e-9, "palette": "cividis",
    "colour_by": "mean rate", "position": (0.4, -0.3), "region": "annulus(0.5, 0.25, 0.3, 1)",
}  # fmt: skip
COMPARISON = {
    "show": "difference", "against": "DETY", "normalise": "plane", "contours": True, "swap": True, "span": 1e-7 * 20,
    "energy": (0.7, 12.5), "position": (0.4, -0.3), "high": 1e-3, "low": 1e-10, "stretch": "log",
}  # fmt: skip


def test_saved_state_is_restored(models, comparison, modeldir, pair, tmp_path):
    """A saved state makes another dashboard show the same, from text, from a file, and from the text box."""
    for dashboard, changes, restored in (
        (models, MODELS, explore_models(modeldir, group_id=3, quantity="counts", low=0.5, energy=2)),
        (comparison, COMPARISON, compare_models(*pair, percentile=90, region="circle(0, 0, 1)")),
    ):
        first = restored.state
        dashboard.update(**changes)
        saved = json.loads(dashboard.json)
        assert saved["dashboard"] == dashboard.function
        assert set(saved["state"]) == {*changes, "group_id"}  # only what differs from the defaults
        assert "\n" not in dashboard.json
        path = tmp_path / f"{dashboard.function}.json"
        dashboard.save_json(path)
        assert json.loads(path.read_text()) == saved
        for source in (f"\n {json.dumps(saved, indent=1)} ", path):
            in_state(restored, first)
            assert restored.restore(source)
            assert_same_as_fresh(restored, dashboard)
            assert not restored.restore(source)
        in_state(restored, first)
        restored._controls["json"].widget.value = dashboard.json
        assert_same_as_fresh(restored, dashboard)
        in_state(restored, first)
        restored._controls["json"].widget.value = str(path)
        assert_same_as_fresh(restored, dashboard)


def test_restored_state_has_defaults(models):
    """Fields that are not in a saved state get their defaults; only the group remains."""
    models.update(**MODELS)
    models.restore('{"dashboard": "explore_models", "state": {"palette": "cividis"}}')
    assert models.state == models.State(group_id=8, palette="cividis")


@pytest.mark.parametrize(
    ("saved", "code", "words"),
    [
        ("{", "invalid-argument", ["saved state", "{"]),
        ("{}", "invalid-argument", ["saved state", "dashboard"]),
        ("", "invalid-argument", ["saved state"]),
        ("nowhere.json", "not-found", ["saved state", "nowhere.json"]),
        ("a\0b", "not-found", ["saved state"]),
        ("x" * 5000, "unreadable", ["saved state", "xxx"]),
        ("[" * 100_000, "unreadable", ["saved state", "[[["]),
        ('{"a": ' * 100_000, "invalid-argument", ["saved state", "nested"]),
        ('{"dashboard": "explore_models",\n "state": {}', "invalid-argument", ["saved state", "line 2, column 13"]),
        ('{"dashboard": "explore_models"}', "invalid-argument", ["saved state", "state"]),
        ('{"dashboard": "explore_models", "state": %s}' % ("1" * 5000), "invalid-argument", ["saved state", "number"]),
        ('{"dashboard": "explore_models", "state": 5}', "invalid-argument", ["saved state"]),
        ('{"dashboard": "explore_models", "state": [1]}', "invalid-argument", ["saved state"]),
        ('{"dashboard": "compare_models", "state": {}}', "invalid-argument", ["compare_models", "explore_models"]),
        ('{"dashboard": 5, "state": {}}', "invalid-argument", ["saved state", "name of a function"]),
        ('{"dashboard": "explore_models", "state": {"palette": 1, "palette": 2}}', "invalid-argument", ["palette", "twice"]),
        ('{"dashboard": "explore_models", "state": {}, "state": {"energy": 2}}', "invalid-argument", ["state", "twice"]),
        ('{"dashboard": "explore_models", "state": {"region": "circle(0, 0, 1e308)"}}', "invalid-argument", ["180 deg"]),
        ('{"dashboard": "explore_models", "state": {"region": "%s"}}' % ("(" * 10**5), "invalid-argument", ["region", "…"]),
        ('{"dashboard": "explore_models", "state": {"colour": "red"}}', "unknown-choice", ["colour", "palette"]),
        ('{"dashboard": "explore_models", "state": {"group_id": 5}}', "not-found", ["group 5", "3, 8"]),
        ('{"dashboard": "explore_models", "state": {"group_id": "8"}}', "not-found", ["group '8'"]),
        ('{"dashboard": "explore_models", "state": {"low": NaN}}', "invalid-argument", ["limits", "nan"]),
        ('{"dashboard": "explore_models", "state": {"energy": [5, 1]}}', "invalid-argument", ["energy", 5, 1]),
        ('{"dashboard": "explore_models", "state": {"others": {"a": 1}}}', "not-found", ["group 'a'"]),
    ],
)
def test_invalid_saved_states(unchanged, tmp_path, monkeypatch, saved, code, words):
    """Something that is not a state raises an error, which is shown while the text remains in its box, and changes nothing."""
    monkeypatch.chdir(tmp_path)
    unchanged.update(energy=5, palette="cividis")
    before = unchanged.state
    with raises(code, *words) as caught:
        unchanged.restore(saved)
    assert not re.search("Errno|Error|object is not|indices|Expecting|'utf-8'", str(caught.value))  # those of Python
    assert unchanged.state == before
    if "\0" not in saved:
        path = tmp_path / "state.json"
        path.write_text(saved)
        with raises("invalid-argument" if "group" not in words[0] and code in ("not-found", "unreadable") else code):
            unchanged.restore(path)
    box = unchanged._controls["json"].widget
    box.value = saved
    assert 'role="alert"' in unchanged._message.value
    assert (unchanged.state, box.value) == (before, saved)  # so that it can be corrected
    unchanged.energy = 7
    assert (unchanged._message.value, box.value) == ("", unchanged.json)


def test_binary_file_is_no_saved_state(models, tmp_path):
    """A file that is no text raises an error, as does a directory."""
    path = tmp_path / "model.fits"
    path.write_bytes(b"\xff\xfe\x00SIMPLE")
    for wrong, code in ((path, "invalid-argument"), (tmp_path, "not-a-file")):
        with raises(code, "saved state", wrong):
            models.restore(wrong)


def test_observer_that_raises(models):
    """An error of an observer is raised, and figures and controls show the state none the less."""

    def fail(change):
        raise KeyError("of the user")

    models.observe(fail, "state")
    with pytest.raises(KeyError, match="of the user"):
        models.update(quantity="counts")
    models.unobserve(fail, "state")
    title = models.view.panels["image"].title
    assert title.startswith("Counts")
    figure = models._plots._plots["image"].figure
    assert figure.title.text.startswith("Counts")
    assert models._controls["quantity"].widget.value == "counts"


JSON = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-10, 10), st.floats(), st.text(max_size=5), st.sampled_from(["all", "log"])
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=2)),
    max_leaves=5,
)


@pytest.mark.slow
@settings(max_examples=200)
@given(st.sampled_from(sorted(MODELS)), JSON)
def test_any_value_is_restored_or_rejected(modeldir, name, value):
    """Any value of a field in a saved state is either shown, or raises an error and changes nothing."""
    dashboard = _one(modeldir)
    before = dashboard.state
    saved = json.dumps({"dashboard": "explore_models", "state": {name: value}})
    try:
        dashboard.restore(saved)
    except BgnbError:
        assert dashboard.state == before
    else:
        again = json.loads(dashboard.json)["state"]
        assert dashboard.state == dashboard.State(
            **{key: tuple(item) if isinstance(item, list) else item for key, item in again.items()}
        )


_KEPT = {}


def _one(modeldir):
    """Keep one dashboard for all examples."""
    if modeldir not in _KEPT:
        _KEPT[modeldir] = explore_models(modeldir, group_id=3)
    return _KEPT[modeldir]


def test_file_name_of_state(models, tmp_path, monkeypatch):
    """The button saves the state as JSON under the name of the view, and replaces no file."""
    monkeypatch.chdir(tmp_path)
    tap(models, "image", 1.0, 1.0)
    for _ in range(2):
        models._save("json")
    first, second = sorted(tmp_path.iterdir())
    assert first.read_bytes() == second.read_bytes()
    assert json.loads(first.read_text()) == json.loads(models.json)
    assert np.all([path.name.startswith("Group_3_rate_at") for path in (first, second)])


def test_file_name_of_long_title(runs, tmp_path, monkeypatch):
    """The button saves files under a shorter name if the directory, and so the title, has a name as long as possible."""
    monkeypatch.chdir(tmp_path)
    name = "模" * 85
    (tmp_path / name).symlink_to(runs[0] / "models")
    dashboard = explore_runs(name)
    for _ in range(2):
        dashboard._save("json")
        assert "Saved" in dashboard._message.value
    assert len(list(tmp_path.glob("Runs_of_模*.json"))) == 2


def test_saved_state_in_a_pipe(unchanged, tmp_path):
    """A pipe is no saved state, and is not waited for."""
    os.mkfifo(tmp_path / "pipe")
    with time_limit(), raises("not-a-file", tmp_path / "pipe"):
        unchanged.restore(tmp_path / "pipe")
