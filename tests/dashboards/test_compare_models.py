"""The dashboard of two directories of models."""

from dataclasses import fields, replace
from functools import partial

import numpy as np
import pytest
from astropy import units as u
from hypothesis import given, settings
from hypothesis import strategies as st

import bgnb
from bgnb import BgnbError, write_model
from bgnb.dashboards import compare_models, explore_models
from bgnb.plots.colours import choose_limits
from bgnb.plots.comparison_views import ComparisonState, rate_limits
from bgnb.plots.cube_views import shown_limits
from bgnb.plots.labels import number
from tests.dashboards.acting import assert_same_as_fresh
from tests.helpers.models import lopsided_model


def limits_shown(dashboard):
    colours = dashboard.view.panels["compared"].colours
    return colours.low, colours.high


def test_limits_are_those_of_what_is_named(modeldir, pair):
    model, comparison = lopsided_model(), bgnb.compare(*(bgnb.read_group_model(directory, 27) for directory in pair))
    dashboard, compared = explore_models(modeldir, group_id=3, energy=5), compare_models(*pair, energy=1)
    rate = model.rate.quantity.value
    both = np.stack([comparison.first.rate.quantity.value, comparison.second.rate.quantity.value])
    ratio = np.where(comparison.exposed[:, None, None], comparison.ratio, np.nan)
    for limits, plane, other in (("this energy", 2, 2), ("all energies", slice(None), slice(None))):
        dashboard.limits = compared.limits = limits
        assert dashboard.limits_of(dashboard.state) == (rate[plane].min(), rate[plane].max())
        assert compared.limits_of(compared.state) == (both[:, other].min(), both[:, other].max())
        half = min(1, np.nanmax(np.abs(ratio[other] - 1)))
        assert limits_shown(compared) == pytest.approx((1 - half, 1 + half))
        most = np.nanmax(np.abs(np.where(comparison.exposed[:, None, None], comparison.pull, np.nan)[other]))
        pulls = compare_models(*pair, energy=1, show="pull", limits=limits)
        assert limits_shown(pulls) == pytest.approx((-most, most))
        turned = compare_models(*pair[::-1], energy=1, limits=limits)
        assert turned.limits_of(turned.state) == (both[:, other].min(), both[:, other].max())
    compared.update(span=0.5)
    assert limits_shown(compared) == (0.5, 1.5)
    compared.stretch = "log"
    assert compared.span is None  # it was that of another stretch
    compared.span = 0.5
    assert limits_shown(compared) == pytest.approx((1 / 1.5, 1.5))
    compared.low = 1e-9
    assert (compared.span, compared.limits) == (0.5, "by hand")
    compared.show = "difference"
    assert compared.span is None
    # One limit by hand, and new ones together with another quantity.
    dashboard.limits = "this energy"
    dashboard.low = 1e-9
    assert (dashboard.limits, dashboard.low, dashboard.high) == ("by hand", 1e-9, rate[2].max())
    assert explore_models(modeldir, group_id=3, energy=5, high=1.0).low == rate[2].min()
    dashboard.update(quantity="counts", low=1, high=9)
    assert dashboard.limits_of(dashboard.state) == (1, 9)
    dashboard.update(quantity="livetime", limits="by hand")
    assert dashboard.low < 0.9 < dashboard.high  # hours


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"energy": -3.0}, "energy must be above 0 TeV"),
        ({"stretch": "foo"}, "unknown stretch 'foo'"),
        ({"palette": "jet"}, "unknown palette 'jet'"),
        ({"show": "sum"}, "unknown show 'sum'"),
        ({"normalise": "all"}, "unknown normalise 'all'"),
        ({"percentile": 101}, "percentile must be above 0"),
        ({"position": (0.0, np.nan)}, "DETY must be a finite number"),
        ({"limits": "by hand", "low": 2.0, "high": 1.0}, "must increase"),
        ({"limits": "by hand", "low": -1.0, "high": 1.0, "stretch": "log"}, "a logarithm needs limits above 0"),
        ({"limits": "by hand", "low": np.inf}, "limits must be a finite number"),
        ({"span": 0}, "span must be 1e-6 to 1e6"),
    ],
)
def test_a_state_is_valid_or_cannot_be_made(values, message):
    with pytest.raises(BgnbError, match=message):
        ComparisonState(0, **values)


def test_a_state_holds_plain_values_and_limits_only_by_hand(pair):
    state = ComparisonState(0, "500 GeV", [1, 2 * u.deg], "LOG", low=1.0, show="Pull", span=np.float32(2))
    assert state == ComparisonState(0, 0.5, (1.0, 2.0), "log", show="pull", span=2.0)
    assert (state.low, [type(value) for value in state.position]) == (None, [float, float])
    # A limit that is not given is that of the image, also where nobody has settled it.
    comparison = bgnb.compare(*(bgnb.read_group_model(directory, 27) for directory in pair))
    first, second = (model.rate.quantity.value[2] for model in (comparison.first, comparison.second))
    automatic = partial(rate_limits, comparison)
    assert shown_limits(ComparisonState(27, limits="by hand", low=1e-12), automatic) == (1e-12, max(first.max(), second.max()))
    with pytest.raises(BgnbError, match="must increase"):
        shown_limits(ComparisonState(27, limits="by hand", low=1e3), automatic)


@pytest.mark.parametrize("kind", ["models", "comparison"])
def test_one_step_finds_each_limit_once_and_sets_the_controls_once(kind, modeldir, pair, monkeypatch):
    dashboard = explore_models(modeldir, group_id=3) if kind == "models" else compare_models(*pair)
    found, shown = [], []
    for module in ("bgnb.dashboards.models", "bgnb.plots.comparison_views"):
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
    # A control that was changed to no effect shows the state again.
    shown.clear()
    detx = dashboard._controls["detx"].widget
    detx.value = 99.0
    end = detx.value
    detx.value = 99.0
    assert (detx.value, len(shown)) == (end, 2)
    assert end < 5


def test_comparison_shows_what_compare_finds(pair):
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
    rates = f"true {number(first.rate[where])} and reco {number(second.rate[where])} ± {number(second.error[where])} MeV"
    assert rates in dashboard.view.summary
    plane = comparison.pull[where][np.isfinite(comparison.pull[where])]
    assert f"9 of 10 bins within {number(np.percentile(np.abs(plane), 90))} of 0." in dashboard.view.summary
    normal = dashboard.view.panels["pulls"].series[1].y
    assert normal.sum() == pytest.approx(np.isfinite(comparison.pull[comparison.expected >= 10]).sum(), rel=1e-3)
    pulls = comparison.pull[comparison.expected >= 10]
    title = f"Pulls of {len(pulls)} bins\nmean {pulls.mean():.3f}, width {pulls.std():.3f}"
    assert dashboard.view.panels["pulls"].title.startswith(title)
    assert dashboard.view.panels["pulls"].series[0].y.sum() == np.count_nonzero(np.abs(pulls) <= 5)


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
def test_any_way_to_a_comparison_shows_the_same(pair, path):
    dashboard = compare_models(*pair)
    for name, value in path:
        dashboard.attempt(lambda name=name, value=value: dashboard.update(**{name: value}))
    arguments = {field.name: getattr(dashboard.state, field.name) for field in fields(dashboard.state)}
    assert_same_as_fresh(dashboard, compare_models(*pair, **arguments))


def test_models_that_share_runs_have_no_pulls(modeldir, tmp_path):
    write_model(lopsided_model(method="unsmoothed"), tmp_path / "bg_cube_model_group3_table.fits")
    dashboard = compare_models(modeldir, tmp_path, show="pull")
    assert dashboard.view.panels["pulls"].title == "No pulls: the models share runs"
    assert "Pull at" in dashboard.view.summary
    assert "no bin has a value" in dashboard.view.summary
    with pytest.raises(BgnbError, match="do not share a group 8; the groups are 3"):
        dashboard.group_id = 8
