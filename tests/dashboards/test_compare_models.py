"""Dashboard of two directories of models."""

from dataclasses import fields, replace
from functools import partial

import numpy as np
import pytest
from astropy import units as u
from hypothesis import given, settings
from hypothesis import strategies as st

import bgnb
from bgnb import BgnbError, Cube, write_model
from bgnb.dashboards import compare_models, explore_models
from bgnb.plots.colours import choose_limits
from bgnb.plots.comparison_views import ComparisonState, rate_limits
from bgnb.plots.cube_state import complete_limits
from bgnb.plots.labels import format_number
from tests.dashboards.acting import assert_same_as_fresh
from tests.helpers.errors import raises
from tests.helpers.models import asymmetric_model


@pytest.mark.slow
def test_colour_limits_follow_settings(modeldir, pair):
    """Colour limits are those of the image, of all energies, or set by hand."""
    model, comparison = asymmetric_model(), bgnb.compare(*(bgnb.read_group_model(directory, 27) for directory in pair))
    dashboard, compared = explore_models(modeldir, group_id=3, energy=5), compare_models(*pair, energy=1)
    rate = model.rate.quantity.value
    both = np.stack([comparison.first.rate.quantity.value, comparison.second.rate.quantity.value])
    ratio = np.where(comparison.exposed[:, None, None], comparison.ratio, np.nan)
    for limits, plane, other in (("this energy", 2, 2), ("all energies", slice(None), slice(None))):
        dashboard.limits = compared.limits = limits
        assert dashboard.shown_limits() == pytest.approx((rate[plane].min(), rate[plane].max()))
        assert compared.shown_limits() == (both[:, other].min(), both[:, other].max())
        half = min(1, np.nanmax(np.abs(ratio[other] - 1)))
        assert compared.shown_limits("compared") == pytest.approx((1 - half, 1 + half))
        maximum = np.nanmax(np.abs(np.where(comparison.exposed[:, None, None], comparison.pull, np.nan)[other]))
        pulls = compare_models(*pair, energy=1, show="pull", limits=limits)
        assert pulls.shown_limits("compared") == pytest.approx((-maximum, maximum))
        swapped = compare_models(*pair[::-1], energy=1, limits=limits)
        assert swapped.shown_limits() == (both[:, other].min(), both[:, other].max())
    compared.update(span=0.5)
    assert compared.shown_limits("compared") == (0.5, 1.5)
    compared.stretch = "log"
    assert compared.span is None  # the span of another stretch is useless
    compared.span = 0.5
    assert compared.shown_limits("compared") == pytest.approx((1 / 1.5, 1.5))
    compared.low = 1e-9
    assert (compared.span, compared.limits) == (0.5, "by hand")
    compared.show = "difference"
    assert compared.span is None
    # One limit by hand, and new limits together with another quantity.
    dashboard.limits = "this energy"
    dashboard.low = 1e-9
    assert (dashboard.limits, dashboard.low, dashboard.high) == ("by hand", 1e-9, pytest.approx(rate[2].max()))
    assert explore_models(modeldir, group_id=3, energy=5, high=1.0).low == pytest.approx(rate[2].min(), rel=1e-9)
    dashboard.update(quantity="counts", low=1, high=9)
    assert dashboard.shown_limits() == (1, 9)
    dashboard.update(quantity="livetime", limits="by hand")
    assert dashboard.low < 0.9 < dashboard.high  # hours


@pytest.mark.parametrize(
    ("values", "code", "words"),
    [
        ({"energy": -3.0}, "invalid-argument", ["energy", "-3.0"]),
        ({"stretch": "foo"}, "unknown-choice", ["stretch", "foo"]),
        ({"palette": "jet"}, "unknown-choice", ["palette", "jet"]),
        ({"show": "sum"}, "unknown-choice", ["show", "sum"]),
        ({"normalise": "all"}, "unknown-choice", ["normalise", "all"]),
        ({"percentile": 101}, "invalid-argument", ["percentile", "101"]),
        ({"limits": "by hand", "low": 2.0, "high": 1.0}, "invalid-argument", ["low", "high", 2, 1]),
        ({"limits": "by hand", "low": -1.0, "high": 1.0, "stretch": "log"}, "invalid-argument", ["low", "stretch", "log", -1]),
        ({"span": 0}, "invalid-argument", ["span", "1e6"]),
    ],
)
def test_invalid_state_is_rejected(values, code, words):
    """A state with an invalid value cannot be made."""
    with raises(code, *words):
        ComparisonState(group_id=0, **values)


@pytest.mark.parametrize(
    ("values", "name"), [({"position": (0.0, np.nan)}, "DETY"), ({"limits": "by hand", "low": np.inf}, "limits")]
)
def test_infinite_values_are_rejected(values, name):
    """NaN and infinity are rejected, and the message names the argument."""
    with pytest.raises(BgnbError, match=name):
        ComparisonState(group_id=0, **values)


def test_state_converts_its_values(pair):
    """A state converts quantities and names, and has limits only if they are set by hand."""
    state = ComparisonState(
        group_id=0, energy="500 GeV", position=[1, 2 * u.deg], stretch="LOG", low=1.0, show="Pull", span=np.float32(2)
    )
    assert state == ComparisonState(group_id=0, energy=0.5, position=(1.0, 2.0), stretch="log", show="pull", span=2.0)
    assert (state.low, [type(value) for value in state.position]) == (None, [float, float])
    # A missing limit is completed by that of the image.
    comparison = bgnb.compare(*(bgnb.read_group_model(directory, 27) for directory in pair))
    first, second = (model.rate.quantity.value[2] for model in (comparison.first, comparison.second))
    automatic = partial(rate_limits, comparison)
    complete = complete_limits(ComparisonState(group_id=27, limits="by hand", low=1e-12), automatic)
    assert (complete.low, complete.high) == (1e-12, max(first.max(), second.max()))
    with raises("invalid-argument", "low", "high", 1000):
        complete_limits(ComparisonState(group_id=27, limits="by hand", low=1e3), automatic)


@pytest.mark.parametrize("kind", ["models", "comparison"])
def test_step_computes_limits_once(kind, modeldir, pair, monkeypatch):
    """A step computes each limit once and sets the controls once."""
    dashboard = explore_models(modeldir, group_id=3) if kind == "models" else compare_models(*pair)
    found, shown = [], []
    for module in ("bgnb.dashboards.model_dashboard", "bgnb.plots.comparison_views"):
        monkeypatch.setattr(f"{module}.choose_limits", lambda *arguments: found.append(1) or choose_limits(*arguments))
    slider = dashboard._controls["bin"]
    monkeypatch.setitem(dashboard._controls, "bin", replace(slider, show=lambda state: shown.append(1) or slider.show(state)))
    own = ["rates", "ratio"] if kind == "comparison" else ["image"]
    slider.widget.value = (slider.widget.value + 1) % 4
    assert (len(found), len(shown)) == (len(own), 1)
    dashboard.update(low=1e-12, high=1.0)
    found.clear()
    slider.widget.value = (slider.widget.value + 1) % 4
    assert len(found) == len(own) - 1  # none for limits by hand
    # A control that was changed without effect shows the state again.
    shown.clear()
    detx = dashboard._controls["detx"].widget
    detx.value = 99.0
    end = detx.value
    detx.value = 99.0
    assert (detx.value, len(shown)) == (end, 2)
    assert end < 5


def test_dashboard_shows_comparison(pair):
    """Images, graphs and summary agree with `bgnb.compare`."""
    true, reco = (bgnb.read_group_model(directory, 27) for directory in pair)
    dashboard = compare_models(*pair, energy=1.0, position=(-1.0, 2.0))
    for normalise in ("none", "cube", "plane"):
        dashboard.normalise = normalise
        comparison = bgnb.compare(true, reco, normalise)
        where = int(np.searchsorted(comparison.axes.energy.value, 1.0)) - 1
        for show, cube in (
            ("ratio", comparison.ratio),
            ("difference", comparison.second.rate.quantity.value - comparison.first.rate.quantity.value),
            ("pull", comparison.pull),
        ):
            dashboard.show = show
            image = dashboard.view.panels["compared"]
            np.testing.assert_allclose(image.values, cube[where] if comparison.exposed[where] else np.nan)
            neutral = 1 if show == "ratio" else 0
            assert (image.colours.low + image.colours.high) / 2 == pytest.approx(neutral)
        dashboard.show = "pull"
        np.testing.assert_allclose(dashboard.view.panels["second"].values, comparison.second.rate.quantity.value[where])
        assert dashboard.view.panels["first"].colours == dashboard.view.panels["second"].colours
    first, second = comparison.spectra(-1 * u.deg, 2 * u.deg)
    outlines, spectra = dashboard.view.panels["spectra"].series[::2], dashboard.view.panels["spectra"].series[1::2]
    counted = reco.stack.counts.any(axis=(1, 2))
    for line, outline, series, name in zip((first, second), outlines, spectra, ("true", "reco"), strict=True):
        known = np.where(counted, line.rate, np.nan) if name == "reco" else line.rate
        np.testing.assert_allclose(outline.y, line.rate)
        np.testing.assert_allclose(series.y, known)
        np.testing.assert_allclose(series.low, known - line.error)
        np.testing.assert_allclose(series.high, known + line.error)
        assert series.name == f"{name}, γ = {line.index:.2f}"
    edges = comparison.axes.energy.value
    ratios = dashboard.view.panels["ratios"]
    assert ratios.band == dashboard.view.panels["spectra"].band == (edges[where], edges[where + 1])
    np.testing.assert_allclose(ratios.series[1].y[counted], (second.rate / first.rate)[counted])
    np.testing.assert_allclose(
        (ratios.series[1].high - ratios.series[1].low)[counted], (2 * second.error / first.rate)[counted]
    )
    texts = [format_number(value) for value in (first.rate[where], second.rate[where], second.error[where])]
    rates = "true {} and reco {} ± {} MeV".format(*texts)
    assert rates in dashboard.view.summary
    plane = comparison.pull[where][np.isfinite(comparison.pull[where])]
    assert f"90 % of the bins within {format_number(np.percentile(np.abs(plane), 90))} of 0." in dashboard.view.summary
    normal = dashboard.view.panels["pulls"].series[1].y
    assert normal.sum() == pytest.approx(np.isfinite(comparison.pull[comparison.expected >= 10]).sum(), rel=1e-3)
    pulls = comparison.pull[comparison.expected >= 10]
    title = f"Pulls of {len(pulls)} bins\nmean {pulls.mean():.3f}, width {pulls.std():.3f}"
    assert dashboard.view.panels["pulls"].title.startswith(title)
    assert dashboard.view.panels["pulls"].series[0].y.sum() == np.count_nonzero(np.abs(pulls) <= 5)


@pytest.mark.slow
@settings(max_examples=12, deadline=None)
@given(
    path=st.lists(
        st.one_of(
            st.tuples(st.just("show"), st.sampled_from(["ratio", "difference", "pull"])),
            st.tuples(st.just("normalise"), st.sampled_from(["none", "cube", "plane"])),
            st.tuples(st.just("stretch"), st.sampled_from(["linear", "log", "sqrt"])),
            st.tuples(st.just("limits"), st.sampled_from(["this energy", "all energies", "by hand"])),
            st.tuples(st.just("span"), st.floats(0.01, 5)),
            st.tuples(st.just("energy"), st.floats(0.1, 80)),
        ),
        max_size=7,
    )
)
def test_comparison_is_path_independent(pair, path):
    """The view depends on the state only, not on previous states."""
    dashboard = compare_models(*pair)
    for name, value in path:
        dashboard.attempt(lambda name=name, value=value: dashboard.update(**{name: value}))
    arguments = {field.name: getattr(dashboard.state, field.name) for field in fields(dashboard.state)}
    assert_same_as_fresh(dashboard, compare_models(*pair, **arguments))


def test_shared_runs_have_no_pulls(modeldir, tmp_path):
    """Models that share runs have no pulls, because their errors are not independent."""
    write_model(asymmetric_model(method="unsmoothed"), tmp_path / "bg_cube_model_group3_table.fits")
    dashboard = compare_models(modeldir, tmp_path, show="pull")
    assert dashboard.view.panels["pulls"].title == "No pulls: the models share runs"
    assert "Pull at" in dashboard.view.summary
    assert "no bin has a value" in dashboard.view.summary
    with raises("not-found", "group 8", "3"):
        dashboard.group_id = 8


def test_notes_on_a_comparison_are_shown(tmp_path):
    """The summary shows the notes on models of different instruments, and on their rates."""
    model = asymmetric_model()
    for name, factor in (("HESS", 1), ("VERITAS", 5)):
        runs = tuple(replace(run, telescop=name) for run in model.stack.runs)
        changed = replace(model, rate=Cube(model.axes, model.rate.quantity * factor), stack=replace(model.stack, runs=runs))
        (tmp_path / name).mkdir()
        write_model(changed, tmp_path / name / "bg_cube_model_group3_table.fits")
    summary = compare_models(tmp_path / "HESS", tmp_path / "VERITAS").view.summary
    notes = [line for line in summary.splitlines() if line.startswith("Note: ")]
    assert "second model is 5 times that of the first: group 3;" in notes[0]
    assert "HESS and VERITAS (TELESCOP)" in notes[1]
    assert "Note" not in compare_models(tmp_path / "HESS", tmp_path / "HESS").view.summary
