"""Dashboard of two directories of models."""

from dataclasses import fields, replace

import numpy as np
import pytest
from astropy import units as u
from bokeh.models import HoverTool
from hypothesis import given, settings
from hypothesis import strategies as st

import bgnb
from bgnb import BgnbError, Cube, write_model
from bgnb.dashboards import compare_models, explore_models
from bgnb.plots.colours import choose_limits
from bgnb.plots.comparison_state import ComparisonState
from bgnb.plots.labels import format_number, format_value
from bgnb.plots.static import _draw
from tests.dashboards.acting import assert_same_as_fresh, shared
from tests.helpers.errors import raises
from tests.helpers.models import asymmetric_model


@pytest.mark.slow
def test_colour_limits_follow_settings(modeldir, pair):
    """Colour limits are those of the image, of all energies, or set by hand."""
    model, comparison = asymmetric_model(), bgnb.compare(*(bgnb.read_group_model(directory, 27) for directory in pair))
    dashboard, compared = shared(explore_models, modeldir, group_id=3, energy=5), shared(compare_models, *pair, energy=1)
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
    assert compared.shown_limits("compared") == pytest.approx((1 / 1.5, 1.5))
    compared.low = 1e-9
    assert (compared.span, compared._controls["limits"].widget.value) == (0.5, "by hand")
    compared.show = "difference"
    assert compared.span is None
    # One limit by hand, and new limits together with another quantity.
    dashboard.limits = "this energy"
    dashboard.low = 1e-9
    assert (dashboard.low, dashboard.high) == (1e-9, None)
    assert dashboard._controls["limits"].widget.value == "by hand"
    assert dashboard.shown_limits() == (1e-9, pytest.approx(rate[2].max()))
    high = explore_models(modeldir, group_id=3, energy=5, high=1.0)
    assert high.shown_limits() == (pytest.approx(rate[2].min(), rel=1e-9), 1.0)
    dashboard.update(quantity="counts", low=1, high=9)
    assert dashboard.shown_limits() == (1, 9)
    dashboard.update(quantity="livetime")
    dashboard._controls["limits"].widget.value = "by hand"
    assert dashboard.low < 0.9 < dashboard.high  # hours


@pytest.mark.parametrize(
    ("values", "code", "words"),
    [
        ({"show": "sum"}, "unknown-choice", ["show", "sum"]),
        ({"normalise": "all"}, "unknown-choice", ["normalise", "all"]),
        ({"against": "time"}, "unknown-choice", ["against", "time", "energy, offset, DETX, DETY"]),
        ({"contours": 1}, "invalid-argument", ["contours", 1]),
        ({"swap": "yes"}, "invalid-argument", ["swap", "yes"]),
        ({"span": 0}, "invalid-argument", ["span", "1e6"]),
    ],
)
def test_invalid_state_is_rejected(values, code, words):
    """A state with an invalid value cannot be made."""
    with raises(code, *words):
        ComparisonState(group_id=0, **values)


@pytest.mark.parametrize(("values", "name"), [({"position": (0.0, np.nan)}, "DETY"), ({"low": np.inf}, "limits")])
def test_infinite_values_are_rejected(values, name):
    """NaN and infinity are rejected, and the message names the argument."""
    with pytest.raises(BgnbError, match=name):
        ComparisonState(group_id=0, **values)


def test_state_converts_its_values(pair):
    """A state converts quantities, names and regions."""
    state = ComparisonState(
        group_id=0, energy="500 GeV", position=[1, 2 * u.deg], stretch="LOG", low=np.float32(1), show="Pull",
        span=np.float32(2), against="detx", region="Circle( 1,-.5 , 0.30)",
    )  # fmt: skip
    assert state == ComparisonState(
        group_id=0, energy=(0.5, 0.5), position=(1.0, 2.0), stretch="log", low=1.0, show="pull", span=2.0, against="DETX",
        region="circle(1, -0.5, 0.3)",
    )  # fmt: skip
    assert [type(value) for value in (*state.position, *state.energy, state.low, state.span)] == [float] * 6
    for pair_of_energies in ((0.5, "5 TeV"), ["500 GeV", 5 * u.TeV], [500, 5000] * u.GeV, np.array([0.5, 5])):
        assert ComparisonState(group_id=0, energy=pair_of_energies).energy == pytest.approx((0.5, 5))
    # A missing limit is that of the image.
    comparison = bgnb.compare(*(bgnb.read_group_model(directory, 27) for directory in pair))
    both = np.stack([model.rate.quantity.value[2] for model in (comparison.first, comparison.second)])
    dashboard = shared(compare_models, *pair, group_id=27, low=1e-12)
    assert dashboard.shown_limits() == (1e-12, both.max())
    assert compare_models(*pair, group_id=27, high=1.0).shown_limits() == (both.min(), 1.0)
    # If it is not on the right side of the one set by hand, it yields.
    dashboard.low = 1e3
    assert dashboard.shown_limits() == (1e3, 2e3)
    dashboard.stretch = "log"
    assert dashboard.shown_limits() == (1e3, 1e4)
    dashboard.update(low=None, high=1e-20)
    assert dashboard.shown_limits() == (1e-21, 1e-20)
    dashboard.update(high=-1.0, stretch="linear")
    assert dashboard.shown_limits() == (-2, -1)
    with raises("invalid-argument", "low", "log", -1):
        dashboard.stretch = "log"


@pytest.mark.parametrize("kind", ["models", "comparison"])
def test_step_computes_limits_once(kind, modeldir, pair, monkeypatch):
    """A step computes each limit once and sets the controls once."""
    dashboard = shared(explore_models, modeldir, group_id=3) if kind == "models" else shared(compare_models, *pair)
    found, shown = [], []
    for module in ("bgnb.plots.directory_views", "bgnb.plots.model_views", "bgnb.plots.comparison_views"):
        monkeypatch.setattr(f"{module}.choose_limits", lambda *arguments: found.append(1) or choose_limits(*arguments))
    slider = dashboard._controls["bins"]
    monkeypatch.setitem(dashboard._controls, "bins", replace(slider, show=lambda state: shown.append(1) or slider.show(state)))
    own = ["rates", "ratio"] if kind == "comparison" else ["image"]
    slider.widget.value = (1, 3)
    assert (len(found), len(shown)) == (len(own), 1)
    dashboard.update(low=1e-12, high=1.0)
    found.clear()
    slider.widget.value = (2, 4)
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
    dashboard = shared(compare_models, *pair, energy=1.0, position=(-1.0, 2.0))
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
    graph = dashboard.view.panels["spectra"]
    counted = reco.stack.counts.any(axis=(1, 2))
    for line, curve, series, name in zip((first, second), graph.curves, graph.series, ("true", "reco"), strict=True):
        known = np.where(counted, line.rate, np.nan) if name == "reco" else line.rate
        np.testing.assert_allclose(curve.y, line.rate)
        np.testing.assert_allclose(series.y, known)
        np.testing.assert_allclose(series.low, known - line.error)
        np.testing.assert_allclose(series.high, known + line.error)
        assert series.name == name
        assert f"γ = {line.index:.2f}" in dashboard.view.summary
    edges = comparison.axes.energy.value
    ratios = dashboard.view.panels["ratios"]
    assert ratios.band == dashboard.view.panels["spectra"].band == (edges[where], edges[where + 1])
    (points,), (one,) = ratios.series, ratios.curves
    np.testing.assert_allclose(points.y[counted], (second.rate / first.rate)[counted])
    np.testing.assert_allclose((points.high - points.low)[counted], (2 * second.error / first.rate)[counted])
    np.testing.assert_array_equal(one.y, 1)
    rates = f"true {format_number(first.rate[where])} and reco {format_value(second.rate[where], second.error[where])} MeV"
    assert rates in dashboard.view.summary
    plane = comparison.pull[where][np.isfinite(comparison.pull[where])]
    assert f"90 % of the bins within {format_number(np.percentile(np.abs(plane), 90))} of 0." in dashboard.view.summary
    normal = dashboard.view.panels["pulls"].series[1].y
    assert normal.sum() == pytest.approx(np.isfinite(comparison.pull[comparison.expected >= 10]).sum(), rel=1e-3)
    pulls = comparison.pull[comparison.expected >= 10]
    title = f"Pulls of {len(pulls)} bins, all energies\nmean {pulls.mean():.3f}, width {pulls.std():.3f}"
    assert dashboard.view.panels["pulls"].title.startswith(title)
    assert dashboard.view.panels["pulls"].series[0].y.sum() == np.count_nonzero(np.abs(pulls) <= 5)


@pytest.mark.slow
@settings(max_examples=4)
@given(
    path=st.lists(
        st.one_of(
            st.tuples(st.just("show"), st.sampled_from(["ratio", "difference", "pull"])),
            st.tuples(st.just("normalise"), st.sampled_from(["none", "cube", "plane"])),
            st.tuples(st.just("stretch"), st.sampled_from(["linear", "log", "sqrt"])),
            st.tuples(st.just("limits"), st.sampled_from(["this energy", "all energies"])),
            st.tuples(st.just("low"), st.one_of(st.none(), st.floats(1e-12, 1e-3))),
            st.tuples(st.just("span"), st.floats(0.01, 5)),
            st.tuples(st.just("energy"), st.tuples(st.floats(0.1, 80), st.floats(0.1, 80)).map(sorted)),
            st.tuples(st.just("position"), st.tuples(st.floats(-5, 5), st.floats(-5, 5))),
            st.tuples(st.just("region"), st.sampled_from(["", "circle(0.5, 0.4, 0.9)", "box(-1, 0, 1, 3)"])),
            st.tuples(st.just("against"), st.sampled_from(["energy", "offset", "DETX", "DETY"])),
            st.tuples(st.just("contours"), st.booleans()),
            st.tuples(st.just("swap"), st.booleans()),
            st.tuples(st.just("others"), st.just("all")),
        ),
        min_size=4,
        max_size=9,
    )
)
def test_comparison_is_path_independent(pair, path):
    """The view depends on the state only, not on previous states."""
    dashboard = shared(compare_models, *pair)
    for name, value in path:
        dashboard.attempt(lambda name=name, value=value: dashboard.update(**{name: value}))
    arguments = {field.name: getattr(dashboard.state, field.name) for field in fields(dashboard.state)}
    assert_same_as_fresh(dashboard, compare_models(*pair, **arguments))


@pytest.mark.parametrize("width", [2.3, 5.0])
def test_legend_does_not_cover_bars(pair, width):
    """The legend of the distribution of pulls lies outside its bars, also in narrow figures."""
    axes = _draw(compare_models(*pair).view, width, 9, ["pulls"]).axes[0]
    legend = axes.get_legend().get_window_extent()
    assert len(axes.patches) == 40
    assert not any(bar.get_window_extent().overlaps(legend) for bar in axes.patches if bar.get_height() > 0)


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


def test_long_names(pair):
    """Names that are too long for plots are shortened in them, and complete in the summary."""
    names = "one_" * 50, "other_" * 40
    view = compare_models(*pair, labels=names).view
    texts = [text for panel in view.panels.values() for text in (panel.title, panel.x_label, panel.y_label, panel.unit)]
    texts += [series.legend_name for name in ("spectra", "ratios") for series in view.panels[name].series]
    assert max(map(len, texts)) < 80
    assert all(name in view.summary for name in names)


def test_names_are_not_in_templates_of_hover_information(pair):
    """Hover information shows names of models as they are; in its templates they could be fields or markup."""
    name = "<i>@x{safe}"
    for show in ("ratio", "pull"):
        dashboard = compare_models(*pair, labels=("$x", name), show=show)
        hovers = [tool for panel in dashboard._plots._plots.values() for tool in panel.figure.toolbar.tools]
        templates = [row[1] for tool in hovers if isinstance(tool, HoverTool) for row in tool.tooltips]
        assert "@legend_name" in templates
        assert not [template for template in templates if name in template or "$x" in template.split()]
