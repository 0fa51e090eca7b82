"""Ranges of energies, and regions of the field of view, in the dashboard of models."""

from dataclasses import replace

import numpy as np
import pytest

import bgnb
from bgnb import write_model
from bgnb.dashboards import explore_models
from tests.dashboards.acting import drag, shared, tap
from tests.dashboards.conftest import OTHER_AXES
from tests.helpers.models import AXES, asymmetric_model

EDGES, WIDTHS = AXES.energy.value, np.diff(AXES.energy.value)
X, Y = AXES.detx_centers.value, AXES.dety_centers.value
REGIONS = {
    "circle(0.4, 0.3, 1.1)": lambda x, y: np.hypot(x - 0.4, y - 0.3) <= 1.1,
    "annulus(-1, 0.5, 0.6, 1.9)": lambda x, y: (np.hypot(x + 1, y - 0.5) <= 1.9) & (np.hypot(x + 1, y - 0.5) >= 0.6),
    "box(1.5, 2, 2, 3)": lambda x, y: (np.abs(x - 1.5) <= 1) & (np.abs(y - 2) <= 1.5),
}


def bins_of(dashboard):
    """Find the first and the last edge of the energies of a dashboard of group 3."""
    low, high = dashboard.energy
    return int(np.searchsorted(EDGES, low, side="right")) - 1, int(np.searchsorted(EDGES, high, side="right"))


def weights_in(inside, axes=AXES, number=300):
    """Compute the solid angle of each bin in a region, from many points in it."""
    fractions = (np.arange(number) + 0.5) / number
    x, y = ((edges.value[:-1, None] + np.diff(edges.value)[:, None] * fractions).ravel() for edges in (axes.detx, axes.dety))
    points = inside(x, y[:, None]).reshape(axes.shape[1], number, axes.shape[2], number)
    return points.mean(axis=(1, 3)) * axes.solid_angle.value


def shown_plane(first, last):
    """Average the rate of the model over energies."""
    return np.average(asymmetric_model().rate.quantity.value[first:last], axis=0, weights=WIDTHS[first:last])


def test_slider_handles_push_each_other(modeldir):
    """The two handles of the slider always enclose at least one energy bin."""
    dashboard = shared(explore_models, modeldir, group_id=3)
    slider = dashboard._controls["bins"].widget
    for before, moved, after in (
        ((2, 4), (4, 4), (4, 5)),  # the lower handle pushes the upper one
        ((0, 1), (1, 1), (1, 2)),
        ((2, 4), (2, 2), (1, 2)),  # the upper handle pushes the lower one
        ((4, 5), (4, 4), (3, 4)),
        ((3, 5), (5, 5), (4, 5)),  # at the ends of the axis
        ((4, 5), (5, 5), (4, 5)),
        ((0, 2), (0, 0), (0, 1)),
        ((0, 1), (0, 0), (0, 1)),
        ((1, 2), (1, 4), (1, 4)),
        ((1, 4), (0, 4), (0, 4)),
        ((2, 3), (0, 5), (0, 5)),
    ):
        slider.value = before
        assert (slider.min, slider.max, bins_of(dashboard)) == (0, 5, before)
        slider.value = moved
        assert (slider.value, bins_of(dashboard)) == (after, after)
        assert dashboard.view.panels["spectrum"].band == (EDGES[after[0]], EDGES[after[1]])
        label = f"{EDGES[after[0]]:.3g} to {EDGES[after[1]]:.3g} TeV"
        assert label in dashboard._controls["energies"].widget.value
        assert label in dashboard.view.panels["image"].title


def test_steps_continue_at_other_end(modeldir):
    """Steps move the range, keep its number of bins, and continue at the other end of the axis."""
    dashboard = shared(explore_models, modeldir, group_id=3, energy=(EDGES[1] * 1.1, EDGES[2] * 1.1))
    seen = [bins_of(dashboard)]
    for _ in range(4):
        dashboard._controls["next"].widget.click()
        seen.append(bins_of(dashboard))
    assert seen == [(1, 3), (2, 4), (3, 5), (0, 2), (1, 3)]
    for expected in ((0, 2), (3, 5)):
        dashboard._controls["previous"].widget.click()
        assert bins_of(dashboard) == expected
    play, sent = dashboard._controls["play"].widget, []
    play.send = lambda content: sent.append(content)
    play._take_step(play, {}, [])
    assert bins_of(dashboard) == (3, 5)  # a step that was asked for before the button was released
    play.playing = True
    play._take_step(play, {}, [])
    assert bins_of(dashboard) == (0, 2)
    assert sent == [{"kind": "done"}] * 2
    dashboard.energy = (0.01, 1000)
    dashboard.step()
    assert dashboard._controls["bins"].widget.value == (0, 5)


def test_image_of_energy_range(modeldir):
    """Images show the mean rate, the integral, the sum of counts, and the livetime and error that belong to them."""
    model, first, last = asymmetric_model(), 0, 4
    dashboard = shared(explore_models, modeldir, group_id=3, energy=(EDGES[first], EDGES[last] * 0.999))
    rate, width = model.rate.quantity.value[first:last], WIDTHS[first:last, None, None]
    mean = shown_plane(first, last)
    livetime = (rate * width * model.stack.livetime.to_value("h")[first:last]).sum(axis=0) / (rate * width).sum(axis=0)
    error = (model.error.quantity.value[first:last] * width).sum(axis=0) / width.sum()
    for quantity, expected in {
        "rate": mean,
        "integrated rate": (rate * width * 1e6).sum(axis=0),
        "counts": model.stack.counts[first:last].sum(axis=0),
        "livetime": livetime,
        "relative error": 100 * error / mean,
    }.items():
        dashboard.quantity = quantity
        image = dashboard.view.panels["image"]
        np.testing.assert_allclose(image.values, expected, rtol=1e-6, err_msg=quantity)
        assert image.title == f"{quantity.capitalize()} at {EDGES[first]:.3g} to {EDGES[last]:.3g} TeV"
        assert (image.colours.low, image.colours.high) == pytest.approx((expected.min(), expected.max()), rel=1e-6)
    assert dashboard.view.panels["image"].unit == "%"
    iy, ix = (int(np.argmin(np.abs(centres))) for centres in (Y, X))
    assert f"{model.stack.counts[first:last, iy, ix].sum()} counts in" in dashboard.view.summary
    dashboard.update(energy=(0.01, 100), quantity="counts")
    np.testing.assert_array_equal(dashboard.view.panels["image"].values, model.stack.counts.sum(axis=0))


@pytest.mark.parametrize(("region", "method"), [*((region, "classic") for region in REGIONS), (min(REGIONS), "unsmoothed")])
def test_spectrum_of_region(tmp_path, region, method):
    """Spectrum and error in a region are the means over its bins, weighted by the solid angle inside."""
    model = asymmetric_model(method=method)
    model = model if method == "classic" else replace(model, error=None)
    write_model(model, tmp_path / "bg_cube_model_group0_table.fits")
    dashboard = explore_models(tmp_path, region=region.replace(" ", "").upper(), energy=(1, 20))
    assert dashboard.region == region
    weights, rate = weights_in(REGIONS[region]), model.rate.quantity.value
    mean = (rate * weights).sum(axis=(1, 2)) / weights.sum()
    if method == "classic":
        error = (model.error.quantity.value * weights).sum(axis=(1, 2)) / weights.sum()
    else:
        exposure = model.stack.livetime_us * 1e-6 * AXES.bin_volume.to_value("MeV sr")
        error = np.sqrt((weights**2 * rate / exposure).sum(axis=(1, 2))) / weights.sum()
    shown = dashboard.view.panels["spectrum"].series[1]
    np.testing.assert_allclose(shown.y, mean, rtol=3e-3)
    np.testing.assert_allclose(shown.high - shown.y, error, rtol=5e-3)
    np.testing.assert_allclose(shown.y - shown.low, error, rtol=5e-3)
    exact = bgnb.spectrum(model, region=region)
    np.testing.assert_allclose(shown.y, exact.rate)
    np.testing.assert_allclose(shown.high - shown.y, exact.error)
    assert shown.name == "rate"
    assert f"γ = {exact.index:.2f}" in dashboard.view.summary
    assert dashboard.view.panels["spectrum"].title == f"Rate in {region}"
    assert f"In {region}: rate " in dashboard.view.summary
    assert dashboard.view.panels["profile"].band is None
    (zenith, _), (first, last) = dashboard.view.panels["zenith"].series, bins_of(dashboard)
    np.testing.assert_allclose(zenith.y, np.average(mean[first:last], weights=WIDTHS[first:last]), rtol=3e-3)


@pytest.mark.parametrize(
    ("draw", "region"),
    [
        ("circle", "circle(-0.5, 1.5, 1)"),
        ("annulus", "annulus(-0.5, 1.5, 0.5, 1)"),
        ("box", "box(-0.5, 1.5, 3, 2)"),
        ("nothing", ""),
    ],
)
def test_drags_in_image_draw_region(modeldir, draw, region):
    """Dragging in the image draws a region, if asked for; a tap replaces it by a position."""
    dashboard = shared(explore_models, modeldir, group_id=3, position=(1.0, -1.0))
    before = dashboard.view
    dashboard._controls["draw"].widget.value = draw
    assert dashboard.view.panels["image"].selects == (draw != "nothing")
    for x, y in (((-2.0, 1.0), (0.5, 2.5)), ((1.0, -2.0), (2.5, 0.5))):
        drag(dashboard, "image", x, y)
        assert (dashboard.region, dashboard.position) == (region, (1.0, -1.0))
        assert dashboard._controls["region"].widget.value == region
        dashboard.region = ""
    drag(dashboard, "image", (-2.0, 1.0), (0.5, 2.5))
    (outline,) = dashboard.view.panels["image"].curves
    if draw == "nothing":
        np.testing.assert_array_equal(outline.x, before.panels["image"].curves[0].x)
        return
    ends = (-2.0, 1.0) if draw == "box" else (-1.5, 0.5)
    assert (np.nanmin(outline.x), np.nanmax(outline.x)) == pytest.approx(ends)
    assert (np.nanmin(outline.y), np.nanmax(outline.y)) == pytest.approx((0.5, 2.5))
    # Drags that draw nothing, and regions outside the field of view, are errors that change nothing.
    state = dashboard.state
    for x, y in (((0.3, 0.3), (1.0, 2.0)), ((8.0, 9.0), (1.0, 2.0))):
        action = {"kind": "select", "panel": "image", "x": x, "y": y}
        dashboard._figures._answer(dashboard._figures, action, [])
        assert dashboard.state == state
        assert 'role="alert"' in dashboard._message.value
        assert draw in dashboard._message.value
    tap(dashboard, "image", 0.9, 0.8)
    assert (dashboard.region, dashboard.position, dashboard._message.value) == ("", (0.9, 0.8), "")


def test_mistyped_region_remains_in_its_box(modeldir):
    """A mistyped region remains in its box, with a message, until it is corrected or something else changes."""
    dashboard = shared(explore_models, modeldir, group_id=3, region="circle(0, 0, 1)")
    box = dashboard._controls["region"].widget
    for wrong in ("circle(0, 0", "circle(99, 99, 1)"):
        box.value = wrong
        assert "circle" in dashboard._message.value
        assert (box.value, dashboard.region) == (wrong, "circle(0, 0, 1)")
    box.value = "circle(0, 0, 1)"  # as before
    assert (box.value, dashboard._message.value) == (dashboard.region, "")
    box.value = "circle(0, 0"
    box.value = "circle(0, 0, 0.90)"
    assert (box.value, dashboard.region, dashboard._message.value) == ("circle(0, 0, 0.9)", "circle(0, 0, 0.9)", "")
    for other in (lambda: dashboard.update(energy=5), lambda: dashboard._copy(), lambda: tap(dashboard, "image", 0.1, 0.2)):
        box.value = "circle("
        other()
        assert box.value == dashboard.region


def test_drags_in_spectrum_select_range(modeldir):
    """Dragging in the spectrum selects all bins that it touches, also beyond the axis."""
    dashboard = shared(explore_models, modeldir, group_id=3)
    one = EDGES[2] * 1.01, EDGES[2] * 1.02
    for x, expected in (((1.0, 20.0), (1, 4)), (one, (2, 3)), ((1e-9, 5e3), (0, 5)), ((0.01, 0.4), (0, 1))):
        drag(dashboard, "spectrum", x, (1e-9, 1e-3))
        assert (bins_of(dashboard), dashboard._controls["bins"].widget.value) == (expected, expected)
    before = dashboard.state
    drag(dashboard, "profile", (0.5, 2.0), (1e-9, 1e-3))
    drag(dashboard, "spectrum", (-3.0, -1.0), (1e-9, 1e-3))
    assert dashboard.state == before


def test_strips_follow_position_and_region(modeldir):
    """Strips along both axes contain the bins within 0.5 deg of the position or of the centre of the region."""
    model, first, last = asymmetric_model(), 1, 3
    dashboard = shared(
        explore_models, modeldir, group_id=3, energy=(EDGES[1], EDGES[2] * 1.1), position=(0.7, -0.4), others=(8,)
    )
    plane = shown_plane(first, last)
    error = np.average(model.error.quantity.value[first:last], axis=0, weights=WIDTHS[first:last])
    for (x, y), region in (((0.7, -0.4), ""), ((-1.2, 0.9), "box(-1.2, 0.9, 0.2, 0.3)")):
        dashboard.region = region
        graph = dashboard.view.panels["strips"]
        rows, columns = np.abs(Y - y) <= 0.5, np.abs(X - x) <= 0.5
        assert 1 <= rows.sum() < len(Y)
        assert 1 <= columns.sum() < len(X)
        solid = AXES.solid_angle.value
        for series, name, axis, selected, centres in (
            (graph.series[0], "along DETX", 0, np.s_[rows], X),
            (graph.series[1], "along DETY", 1, np.s_[:, columns], Y),
        ):
            assert series.name == name
            np.testing.assert_allclose(series.x, centres)
            np.testing.assert_allclose(series.y, np.average(plane[selected], axis=axis, weights=solid[selected]))
            expected = np.average(error[selected], axis=axis, weights=solid[selected])
            np.testing.assert_allclose(series.high - series.y, expected)
        # The true model of the other group has its own axes, and energy bins.
        along_x, along_y = graph.curves
        assert [along_x.name, along_y.name] == ["group 8"] * 2
        assert along_x.dash != along_y.dash
        true = bgnb.read_group_model(modeldir, 8).rate.quantity.value
        energy = OTHER_AXES.energy.value
        low, high = (int(np.searchsorted(energy, value, side="right")) - 1 for value in dashboard.energy)
        mean = np.average(true[low : high + 1], axis=0, weights=np.diff(energy)[low : high + 1])
        rows = np.abs(OTHER_AXES.dety_centers.value - y) <= 0.5
        np.testing.assert_allclose(along_x.x, OTHER_AXES.detx_centers.value)
        np.testing.assert_allclose(along_x.y, mean[rows].mean(axis=0), rtol=1e-3)
        columns = np.abs(OTHER_AXES.detx_centers.value - x) <= 0.5
        np.testing.assert_allclose(along_y.y, mean[:, columns].mean(axis=1), rtol=1e-3)


def test_partly_exposed_energies(tmp_path):
    """Energies without livetime take part in the rate; counts and livetime are those of the others."""
    model = asymmetric_model(method="unsmoothed")
    counts, livetime = model.stack.counts.copy(), model.stack.livetime_us.copy()
    counts[4] = livetime[4] = 0
    stack = replace(model.stack, counts=counts, livetime_us=livetime)
    rate = model.rate.quantity.value
    partly = replace(model, stack=stack, error=None)
    write_model(partly, tmp_path / "bg_cube_model_group0_table.fits")
    dashboard = explore_models(tmp_path, energy=(EDGES[3], EDGES[4] * 1.1), position=(X[2], Y[5]))
    expected = np.average(rate[3:], axis=0, weights=WIDTHS[3:])
    np.testing.assert_allclose(dashboard.view.panels["image"].values, expected, rtol=1e-6)
    dashboard.quantity = "counts"
    np.testing.assert_array_equal(dashboard.view.panels["image"].values, counts[3])
    dashboard.energy = EDGES[4] * 1.1
    assert np.isnan(dashboard.view.panels["image"].values).all()
