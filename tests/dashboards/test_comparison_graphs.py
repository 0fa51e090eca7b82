"""Contours, swapped images, and ratios against energy and position in the dashboard of two models."""

from dataclasses import replace

import numpy as np
import pytest
from bokeh.models import LinearScale, LogScale
from scipy.interpolate import RegularGridInterpolator

import bgnb
from bgnb import write_model
from bgnb.dashboards import compare_models
from bgnb.plots.comparison_graphs import _ratio_ends
from tests.dashboards.acting import assert_same_as_fresh, drag, in_state, tap
from tests.helpers.true_models import AXES, counted

EDGES = AXES.energy.value
X, Y = AXES.detx_centers.value, AXES.dety_centers.value
SECONDS = {"one": 2000.0, "two": 5000.0}
#: Position between the centres of bins, and first and last edge of energies with many counts.
POSITION, FIRST, LAST = (1.1, -0.6), 2, 5
ENERGY = (EDGES[FIRST] * 1.1, EDGES[LAST] * 0.95)


@pytest.fixture(scope="module")
def directories(tmp_path_factory):
    """Directories with unsmoothed models of two groups, of independent runs."""
    folder = tmp_path_factory.mktemp("counted")
    for number, name in enumerate(SECONDS):
        (folder / name).mkdir()
        for group_id in (3, 8):
            model = counted(10 * number + group_id, SECONDS[name], obs_id=10 * number + group_id)
            write_model(model, folder / name / f"bg_cube_model_group{group_id}_table.fits")
    return folder / "one", folder / "two"


@pytest.fixture(scope="module")
def first(directories):
    """Make a dashboard, which the tests share, and its first state."""
    dashboard = compare_models(*directories, group_id=3)
    return dashboard, dashboard.state


@pytest.fixture
def dashboard(first):
    """Show the first state."""
    return in_state(*first)


@pytest.fixture(scope="module")
def counts(directories):
    """Counts of the models by group."""
    return {
        group_id: [bgnb.read_group_model(directory, group_id).stack.counts for directory in directories] for group_id in (3, 8)
    }


def factors(counts, normalise):
    """Compute the factors by which the second model is multiplied, for each energy."""
    one, two = (each.sum(axis=(1, 2)) / seconds for each, seconds in zip(counts, SECONDS.values(), strict=True))
    if normalise == "plane":
        return one / two
    return np.full(len(one), one.sum() / two.sum() if normalise == "cube" else 1.0)


def labels_of(against, position):
    """Number the bins by ring or strip; −1 outside the strip. Return the centres too."""
    x, y = position
    if against == "offset":
        ring = np.floor(np.hypot(X, Y[:, None]) / 0.5).astype(int)
        return ring, np.arange(ring.max() + 1) * 0.5 + 0.25
    if against == "DETX":
        return np.where(np.abs(Y - y)[:, None] <= 0.5 + 1e-9, np.arange(len(X)), -1), X
    return np.where(np.abs(X - x) <= 0.5 + 1e-9, np.arange(len(Y))[:, None], -1), Y


def sums(planes, labels, number):
    """Sum planes over bins with the same label."""
    return np.array([planes[..., labels == each].sum(axis=-1) for each in range(number)])


@pytest.mark.parametrize(
    ("against", "normalise"), [("offset", "none"), ("DETX", "none"), ("DETY", "none"), ("DETX", "cube"), ("DETY", "plane")]
)
def test_ratio_against_position(directories, counts, against, normalise):
    """Rates, ratio and its error against offset, DETX and DETY follow from the counts in rings and strips."""
    energy = ENERGY if normalise != "plane" else ENERGY[0]  # one bin has one factor
    last = LAST if normalise != "plane" else FIRST + 1
    dashboard = compare_models(
        *directories, group_id=3, others=(8,), energy=energy, position=POSITION, against=against, normalise=normalise
    )
    labels, centres = labels_of(against, POSITION)
    rates, ratios = dashboard.view.panels["spectra"], dashboard.view.panels["ratios"]
    solid, width = sums(AXES.solid_angle.value, labels, len(centres)), (EDGES[last] - EDGES[FIRST]) * 1e6
    expected = {}
    for group_id, both in counts.items():
        factor = factors(both, normalise)[FIRST]
        one, two = (sums(each[FIRST:last].sum(axis=0), labels, len(centres)) for each in both)
        assert (solid > 0).sum() > 9
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = factor * (two / SECONDS["two"]) / (one / SECONDS["one"])
            expected[group_id] = ratio, ratio * np.sqrt(1 / one + 1 / two)
            if group_id == 3:
                means = [one / SECONDS["one"] / width / solid, factor * two / SECONDS["two"] / width / solid]
                errors = [means[0] / np.sqrt(one), means[1] / np.sqrt(two)]
    (points,) = ratios.series
    np.testing.assert_allclose(points.x, centres, atol=1e-12)
    np.testing.assert_allclose(points.y, expected[3][0], rtol=1e-5)
    np.testing.assert_allclose(points.high - points.y, expected[3][1], rtol=1e-4)
    np.testing.assert_allclose(points.y - points.low, expected[3][1], rtol=1e-4)
    one, other = ratios.curves
    np.testing.assert_array_equal(one.y, 1)
    assert (points.name, other.name) == ("group 3", "group 8")
    np.testing.assert_allclose(other.x, centres, atol=1e-12)
    np.testing.assert_allclose(other.y, expected[8][0], rtol=1e-5)
    for series, mean, label in zip(rates.series, means, ("one", "two"), strict=True):
        assert series.name == label
        np.testing.assert_allclose(series.y, mean, rtol=1e-5)
    np.testing.assert_allclose(rates.series[0].high - rates.series[0].y, errors[0], rtol=1e-4)
    if normalise == "none":
        np.testing.assert_allclose(rates.series[1].high - rates.series[1].y, errors[1], rtol=1e-4)
    assert not rates.x_log
    assert rates.x_label == ratios.x_label
    assert ratios.x_label.startswith(f"{against} / deg")
    assert ratios.y_range[0] + ratios.y_range[1] == pytest.approx(2)


def test_strips_go_through_region(dashboard, counts):
    """With a region, the strips go through its centre."""
    dashboard.update(energy=ENERGY, position=(-3, 3), region="circle(1.1, -0.6, 0.2)")
    for against in ("DETX", "DETY"):
        dashboard.against = against
        labels, centres = labels_of(against, POSITION)
        one, two = (sums(each[FIRST:LAST].sum(axis=0), labels, len(centres)) for each in counts[3])
        (points,) = dashboard.view.panels["ratios"].series
        np.testing.assert_allclose(points.y, 2000 / 5000 * two / one, rtol=1e-5)


@pytest.mark.parametrize("normalise", ["none", "cube", "plane"])
@pytest.mark.parametrize("region", ["", "box(0.4, 0.25, 1.6, 1.5)"])
def test_ratio_against_energy(dashboard, counts, region, normalise):
    """Spectra, their ratio and its error at a position or in a region follow from the counts there."""
    dashboard.update(others="all", energy=ENERGY, position=POSITION, normalise=normalise, region=region)
    inside = np.zeros(AXES.shape[1:], dtype=bool)
    if region:
        inside[7:10, 9:13] = True  # DETY −0.5 to 1 deg, DETX −0.4 to 1.2 deg
    else:
        inside[np.searchsorted(AXES.dety.value, -0.6) - 1, np.searchsorted(AXES.detx.value, 1.1) - 1] = True
    graph, ratios = dashboard.view.panels["spectra"], dashboard.view.panels["ratios"]
    for group_id, both in counts.items():
        one, two = (each[:, inside].sum(axis=1) for each in both)
        many = (one > 5) & (two > 5)
        assert many.sum() > 3
        scale = factors(both, normalise) * SECONDS["one"] / SECONDS["two"]
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = scale * two / one
            error = ratio * np.sqrt(1 / one + 1 / two)
        if group_id == 8:
            curve = next(curve for curve in ratios.curves if curve.name == "group 8")
            np.testing.assert_allclose(curve.x, AXES.energy_centers.value)
            np.testing.assert_allclose(curve.y[many], ratio[many], rtol=2e-3)
            continue
        (points,) = ratios.series
        np.testing.assert_allclose(points.y[many], ratio[many], rtol=2e-3)
        np.testing.assert_allclose((points.high - points.y)[many], error[many], rtol=2e-2)
        solid, width = AXES.solid_angle.value[inside].sum(), np.diff(EDGES) * 1e6
        np.testing.assert_allclose(graph.series[0].y[many], (one / SECONDS["one"] / width / solid)[many], rtol=2e-3)
    assert graph.x_log
    assert graph.band == (EDGES[FIRST], EDGES[LAST])


@pytest.mark.parametrize("normalise", ["none", "cube", "plane"])
def test_images_of_energy_range(dashboard, counts, normalise):
    """Images, ratio, difference and pull of several energy bins follow from the counts."""
    dashboard.update(group_id=8, energy=ENERGY, normalise=normalise)
    width, solid = (EDGES[LAST] - EDGES[FIRST]) * 1e6, AXES.solid_angle.value
    scale = factors(counts[8], normalise)[FIRST:LAST, None, None]
    one, two = (each[FIRST:LAST] / seconds for each, seconds in zip(counts[8], SECONDS.values(), strict=True))
    first, second = one.sum(axis=0) / width / solid, (scale * two).sum(axis=0) / width / solid
    np.testing.assert_allclose(dashboard.view.panels["first"].values, first, rtol=1e-5)
    np.testing.assert_allclose(dashboard.view.panels["second"].values, second, rtol=1e-5)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(first > 0, second / first, np.nan)
    np.testing.assert_allclose(dashboard.view.panels["compared"].values, ratio, rtol=1e-5)
    dashboard.show = "difference"
    np.testing.assert_allclose(dashboard.view.panels["compared"].values, second - first, rtol=1e-3, atol=1e-6 * first.max())
    if normalise == "none":
        dashboard.show = "pull"
        n, m = (each[FIRST:LAST].sum(axis=0) for each in counts[8])
        common = (n + m) / 7000
        with np.errstate(divide="ignore", invalid="ignore"):
            pull = (m / 5000 - n / 2000) / np.sqrt(common * (1 / 5000 + 1 / 2000))
        np.testing.assert_allclose(dashboard.view.panels["compared"].values, pull, rtol=1e-4, atol=1e-6)


def contour_values(curve, values):
    """Interpolate values along a curve."""
    shown = np.isfinite(curve.x)
    points = np.column_stack([curve.y[shown], curve.x[shown]])
    inside = np.clip(points, (Y[0], X[0]), (Y[-1], X[-1]))
    np.testing.assert_allclose(inside, points, atol=1e-12)  # up to rounding
    return RegularGridInterpolator((Y, X), values)(inside)


@pytest.mark.parametrize(("swap", "stretch"), [(False, "log"), (True, "linear")])
def test_contours_have_levels_of_colours(directories, dashboard, swap, stretch):
    """Each image has contours of the other model at the ticks of the colour bar, the comparison those of the first."""
    dashboard.update(energy=(0.2, 3), contours=True, swap=swap, stretch=stretch)
    panels = dashboard.view.panels
    levels = panels["first"].colours.levels()
    models = [bgnb.read_group_model(directory, 3) for directory in directories]
    first, last = dashboard._controls["bins"].widget.value
    widths = np.diff(EDGES)[first:last]
    one, two = (np.average(model.rate.quantity.value[first:last], axis=0, weights=widths) for model in models)
    shown = {"first": two, "second": one, "compared": one}
    shown = {"first": one, "second": two, "compared": one} if swap else shown
    for name, values in shown.items():
        *contours, mark = panels[name].curves
        assert (mark.width, len(contours)) == (2, sum(values.min() < level < values.max() for level in levels))
        found = set()
        for curve in contours:
            along = contour_values(curve, values)
            level = min(levels, key=lambda each: abs(each - along[0]))
            np.testing.assert_allclose(along, level, rtol=1e-6)
            found.add(level)
        assert found == {level for level in levels if values.min() < level < values.max()}
        assert len(found) >= 2
    dashboard.contours = False
    assert [len(dashboard.view.panels[name].curves) for name in shown] == [1, 1, 1]
    assert_same_as_fresh(dashboard, compare_models(*directories, **vars(dashboard.state)))


def test_swap_exchanges_images(directories):
    """Blinking exchanges the images of the models and their titles, and nothing else."""
    dashboard = compare_models(*directories, group_id=3, energy=ENERGY)
    before = dashboard.view.panels
    blink = dashboard._controls["blink"].widget
    blink.send = lambda content: None
    blink.playing = True
    blink._take_step(blink, {}, [])
    after = dashboard.view.panels
    assert dashboard.swap
    assert before["first"].title != before["second"].title
    for name, other in (("first", "second"), ("second", "first")):
        np.testing.assert_array_equal(after[name].values, before[other].values)
        assert after[name].title == before[other].title
        assert after[name].colours == before[name].colours
    np.testing.assert_array_equal(after["compared"].values, before["compared"].values)
    for name in ("spectra", "ratios", "pulls"):
        assert after[name].title == before[name].title
        for one, other in zip(after[name].series, before[name].series, strict=True):
            np.testing.assert_array_equal(one.y, other.y)
    blink._take_step(blink, {}, [])
    assert not dashboard.swap


def test_taps_in_graphs_of_comparison(dashboard):
    """Taps in graphs against energy choose an energy, those against DETX or DETY this coordinate, others nothing."""
    for panel, energy in (("spectra", 0.5), ("ratios", 5.0)):
        tap(dashboard, panel, energy, 1.0)
        low, high = dashboard.view.panels["ratios"].band
        assert low <= energy < high
        assert low <= dashboard.energy[0] == dashboard.energy[1] < high
    for panel in ("spectra", "ratios"):
        drag(dashboard, panel, (EDGES[2] * 1.01, EDGES[4] * 0.99), (0.5, 2.0))
        assert dashboard.view.panels["spectra"].band == (EDGES[2], EDGES[4])
        dashboard.energy = 5
    for against, position in (("offset", (0.0, 0.0)), ("DETX", (2.0, 0.0)), ("DETY", (2.0, 4.0))):
        dashboard.against = against
        before = dashboard.state
        tap(dashboard, "spectra", 1.0, 1.0)
        tap(dashboard, "ratios", 2.0 if against != "DETY" else 4.5, 1.0)  # the latter is outside
        drag(dashboard, "ratios", (1.0, 2.0), (0.5, 2.0))
        assert dashboard.state == replace(before, position=position)
    before = dashboard.state
    tap(dashboard, "pulls", 1.0, 1.0)
    assert dashboard.state == before
    tap(dashboard, "compared", 1.0, 1.5)
    assert dashboard.position == (1.0, 1.5)
    dashboard.draw = "circle"
    drag(dashboard, "second", (0.0, 1.0), (1.0, 2.0))
    assert dashboard.region == "circle(0.5, 1.5, 0.5)"


def test_axis_follows_quantity_of_graphs(dashboard):
    """Figures against energy have a logarithmic axis, those against position a linear one, with matching ends."""
    figures = {model.name: model for model in dashboard._plots.layout.children}
    for against, scale, ends in (
        ("energy", LogScale, (EDGES[0], EDGES[-1])),
        ("DETX", LinearScale, (-4, 4)),
        ("DETY", LinearScale, (-4, 4)),
        ("offset", LinearScale, (0, 5.5)),
        ("energy", LogScale, (EDGES[0], EDGES[-1])),
    ):
        dashboard.against = against
        for name in ("spectra", "ratios"):
            assert type(figures[name].x_scale) is scale
            assert (figures[name].x_range.start, figures[name].x_range.end) == pytest.approx(ends)
            assert figures[name].xaxis[0].axis_label == dashboard.view.panels[name].x_label


def test_other_groups_must_be_common(directories, tmp_path):
    """Only groups of both directories can be shown."""
    (tmp_path / "two").mkdir()
    write_model(counted(5, obs_id=77), tmp_path / "two" / "bg_cube_model_group8_table.fits")
    dashboard = compare_models(directories[0], tmp_path / "two", others="all")
    assert (dashboard.group_id, dashboard.others) == (8, (8,))
    before = dashboard.state
    dashboard._controls["others"].widget.value = "3"
    assert 'role="alert"' in dashboard._message.value
    assert "group 3" in dashboard._message.value
    assert dashboard.state == before


def test_axis_of_ratios_contains_known_errors():
    """Errors below 0.2 are inside the axis; a ratio with an error of half is not allowed to widen it."""
    ratio, error = np.array([1.01, 0.9, 1.02, 4.0]), np.array([0.002, 0.1, 0.15, 3.0])
    low, high = _ratio_ends([(ratio, error)])
    assert low < 0.8
    assert 1.2 < high < 1.25
    assert _ratio_ends([(ratio, 10 * error + 1)]) == (0.0, pytest.approx(4.9))
