"""Dashboard of a directory of models, and behaviour that all dashboards share."""

import csv
import json
from dataclasses import fields, replace
from types import MethodType

import ipywidgets
import numpy as np
import pytest
from astropy import units as u
from bokeh.models import Image as ImageGlyph
from hypothesis import given, settings
from hypothesis import strategies as st
from traitlets import TraitError

import bgnb
from bgnb import BgnbError, Cube, write_model
from bgnb.cubes.camera import CameraEdge
from bgnb.cubes.profiles import radial_profile
from bgnb.dashboards import compare_models, explore_models
from bgnb.files.model_directory import KEPT
from bgnb.plots.alternative_texts import describe
from bgnb.plots.labels import energy_label, format_number, format_value
from bgnb.plots.model_views import profile_graph
from tests.dashboards.acting import assert_controls_show_state, assert_same_as_fresh, drag, shared, tap
from tests.dashboards.conftest import OTHER_AXES
from tests.helpers.errors import raises
from tests.helpers.models import AXES, asymmetric_model


def test_images_and_spectra_of_model(modeldir):
    """Images and spectra show the values of the model at the energy and position."""
    model = asymmetric_model()
    dashboard = shared(explore_models, modeldir, group_id=3, energy="5 TeV", position=(1.5, -1.1))
    where = int(np.searchsorted(AXES.energy.value, 5)) - 1
    iy, ix = (int(np.searchsorted(edges.value, value)) - 1 for edges, value in ((AXES.dety, -1.1), (AXES.detx, 1.5)))
    livetime, rate = model.stack.livetime.to_value("h"), model.rate.quantity.value
    expected = {
        "rate": rate,
        "integrated rate": rate * np.diff(AXES.energy.to_value("MeV"))[:, None, None],
        "counts": model.stack.counts,
        "livetime": livetime,
        "relative error": 100 * model.error.quantity.value / rate,
    }
    for quantity, cube in expected.items():
        dashboard.quantity = quantity
        image = dashboard.view.panels["image"]
        np.testing.assert_allclose(image.values, cube[where])
        np.testing.assert_array_equal(image.x_edges, AXES.detx.value)
        (outline,) = image.curves
        (left, right), (bottom, top) = AXES.detx.value[ix : ix + 2], AXES.dety.value[iy : iy + 2]
        np.testing.assert_array_equal(outline.x, [left, right, right, left, left])
        np.testing.assert_array_equal(outline.y, [bottom, bottom, top, top, bottom])
    spectrum = dashboard.view.panels["spectrum"]
    np.testing.assert_allclose(spectrum.series[1].y, rate[:, iy, ix])
    np.testing.assert_allclose(spectrum.curves[0].y, rate[:, iy, ix])
    assert spectrum.band == tuple(AXES.energy.value[where : where + 2])
    words = f"{model.stack.counts[where, iy, ix]} counts in {livetime[where, iy, ix]:.3g} h"
    assert words in dashboard.view.summary
    assert "Group 3: altitude 20 to 23°, azimuth 90 to 270°. 2 runs" in dashboard.view.summary


def test_bokeh_image_orientation(modeldir):
    """In Bokeh, DETX increases to the right and DETY upwards."""
    dashboard = shared(explore_models, modeldir, group_id=3, energy=5, stretch="log")
    (image,) = [model for model in dashboard._plots.layout.references() if getattr(model, "name", "") == "image"]
    (renderer,) = [renderer for renderer in image.renderers if isinstance(renderer.glyph, ImageGlyph)]
    (value,), (codes,) = (renderer.data_source.data[name] for name in ("value", "codes"))
    assert value.shape == AXES.shape[1:]
    np.testing.assert_array_equal(codes, dashboard.view.panels["image"].colours.codes(dashboard.view.panels["image"].values))
    # The asymmetric model increases with DETX and decreases with DETY; in Bokeh, x increases with columns and y with rows.
    assert value[0].mean() > value[-1].mean()
    assert value[:, -1].mean() > value[:, 0].mean()
    glyph = renderer.glyph
    assert (glyph.x, glyph.y, glyph.dw, glyph.dh) == (-4, -2, 6, 5)
    mapper = glyph.color_mapper
    assert (mapper.low, mapper.high, len(mapper.palette), mapper.palette[255]) == (-0.5, 255.5, 256, "#bbbbbb")


def test_taps_and_controls_set_state(modeldir):
    """Taps and controls set the state, and controls follow it."""
    dashboard = shared(explore_models, modeldir, group_id=3)
    tap(dashboard, "image", -3.3, 2.4)
    assert dashboard.position == (-3.3, 2.4)
    tap(dashboard, "spectrum", 10.0, 1e-9)
    assert AXES.energy.value[3] <= dashboard.energy[0] == dashboard.energy[1] < AXES.energy.value[4]
    before = dashboard.state
    tap(dashboard, "profile", 1.0, 1e-9)  # which selects nothing
    tap(dashboard, "image", 99.0, 0.0)  # outside the axes, which selects the nearest bin
    assert dashboard.state == replace(before, position=(2.0, 0.0))
    here = {name: control.widget for name, control in dashboard._controls.items()}
    assert here["bins"].value == (3, 4)
    here["bins"].value = (1, 2)
    assert AXES.energy.value[1] <= dashboard.energy[0] == dashboard.energy[1] < AXES.energy.value[2]
    here["last_energy"].value = 55.0
    assert here["bins"].value == (1, 5)
    here["last_energy"].value = 20.0  # in the last but one bin
    for first, last in ((1, 4), (4, 5), (2, 3), (0, 3)):
        assert here["bins"].value == (first, last)
        assert AXES.energy.value[first] <= dashboard.energy[0] < AXES.energy.value[first + 1]
        assert AXES.energy.value[last - 1] <= dashboard.energy[1] < AXES.energy.value[last]
        shown = here["first_energy"].value, here["last_energy"].value
        assert shown == pytest.approx((AXES.energy.value[first], AXES.energy.value[last]), rel=1e-3)
        if first == 1:
            here["first_energy"].value = 58.0  # above the last energy, which follows
        elif first == 4:
            here["last_energy"].value = 4.0  # below the first energy, which follows
        elif first == 2:
            here["first_energy"].value = 0.01  # outside the axis
    edges = [float(f"{edge:.4g}") for edge in AXES.energy.value]
    for number, edge in enumerate(edges[1:], start=1):  # an edge as shown ends the bin below
        here["last_energy"].value = edge
        assert here["bins"].value[1] == number
    for number, edge in enumerate(edges[:-1]):  # and begins the bin above
        here["first_energy"].value = edge
        assert here["bins"].value == (number, 5)
    here["last_energy"].value = 4.0
    here["first_energy"].value = 3.9
    assert here["bins"].value == (2, 3)
    here["detx"].value = -3.9
    assert dashboard.position == (-3.9, 0.0)
    here["low"].value = 1e-9
    assert (here["limits"].value, dashboard.low, here["percentile"].disabled) == ("by hand", 1e-9, True)
    assert dashboard.view.panels["image"].colours.low == 1e-9
    here["quantity"].value = "counts"
    assert (here["limits"].value, dashboard.low, dashboard.high) == ("this energy", None, None)
    here["limits"].value = "by hand"
    assert (dashboard.low, dashboard.high) == dashboard.shown_limits()
    here["limits"].value = "all energies"
    assert (dashboard.limits, dashboard.low, dashboard.high) == ("all energies", None, None)
    here["last_energy"].value = 59.0
    energy = dashboard.energy
    here["group_id"].value = 8
    first = int(np.searchsorted(OTHER_AXES.energy.value, dashboard.energy[0])) - 1
    assert (dashboard.group_id, here["bins"].max, here["bins"].value) == (8, 8, (first, 8))
    assert "has no counts" in dashboard.view.summary
    assert "no bin has a value" in dashboard.view.summary
    assert (dashboard.view.panels["image"].colours.codes(dashboard.view.panels["image"].values) == 255).all()
    here["group_id"].value = 3
    assert (dashboard.energy, here["bins"].max, here["bins"].value) == (energy, 5, (2, 5))


def test_invalid_change_leaves_state(modeldir):
    """An invalid change raises an error and leaves the state as it was."""
    dashboard = shared(explore_models, modeldir, group_id=3)
    before = dashboard.state
    for changes, code, words in (
        ({"group_id": 5}, "not-found", ["group 5", "3, 8"]),
        (
            {"quantity": "flux"},
            "unknown-choice",
            ["quantity", "flux", "rate, integrated rate, counts, livetime, relative"],
        ),
        ({"energy": -1}, "invalid-argument", ["energy", "TeV", -1]),
        ({"position": 3}, "invalid-argument", ["position", 3]),
        ({"percentile": 0}, "invalid-argument", ["percentile", 0]),
        ({"low": 2, "high": 1}, "invalid-argument", ["low", "high", 2, 1]),
        ({"low": 0, "high": 1, "stretch": "log"}, "invalid-argument", ["low", "stretch", "log", 0]),
        ({"low": 0, "stretch": "log"}, "invalid-argument", ["low", "stretch", "log", 0]),
        ({"low": -1e308, "high": 1e308}, "invalid-argument", ["low", "high", "1e+308"]),
        ({"limits": "by hand"}, "unknown-choice", ["limits", "this energy, all energies"]),
        ({"energy": (5, 1)}, "invalid-argument", ["energy", "TeV", 5, 1]),
        ({"energy": (1, 2, 3)}, "invalid-argument", ["energy", "TeV"]),
        ({"energy": [[1], [2, 3]]}, "invalid-argument", ["energy", "TeV"]),
        ({"energy": (0.0, 1.0)}, "invalid-argument", ["energy", "TeV", 0]),
        ({"others": (3, 5)}, "not-found", ["group 5", "3, 8"]),
        ({"others": "every"}, "invalid-argument", ["others", "every", "all"]),
        ({"others": 8}, "invalid-argument", ["others", 8]),
        ({"others": np.array(8)}, "invalid-argument", ["others", 8]),
        ({"others": 8 * u.TeV}, "invalid-argument", ["others", 8]),
        ({"others": [[8]]}, "not-found", ["group [8]"]),
        ({"others": (True,)}, "not-found", ["group True"]),
        ({"region": "circle(1, 2)"}, "invalid-argument", ["circle(1, 2)", "annulus"]),
        ({"region": "circle(9, 9, 1)"}, "invalid-argument", ["circle(9, 9, 1)", "-4 to 2", "-2 to 3"]),
        ({"region": 5}, "invalid-argument", ["5", "circle"]),
        ({"draw": "ellipse"}, "unknown-choice", ["draw", "ellipse", "nothing, circle, annulus, box"]),
        ({"colour_by": "size"}, "unknown-choice", ["colour_by", "size", "mean rate"]),
        ({"low": 1.0, "high": 1.0 + 1e-9}, "invalid-argument", ["low", "high", "millionth"]),
        ({"group_id": [3]}, "not-found", ["group [3]"]),
        ({"position": {1, 2}}, "invalid-argument", ["position"]),
        ({"quantity": np.array(["rate"])}, "unknown-choice", ["quantity"]),
        ({"colour": "red"}, "unknown-choice", ["colour", "group_id, others, energy"]),
    ):
        with raises(code, *words):
            dashboard.update(**changes)
        assert dashboard.state == before
    for energy in ("5 deg", float("nan"), 10**400):
        with pytest.raises(BgnbError, match=r"energy must be .*TeV"):
            dashboard.update(energy=energy)
        assert dashboard.state == before
    with raises("unknown-choice", "energies", "group_id"):
        dashboard.energies = 5
    with pytest.raises(TraitError):
        dashboard.state = before
    dashboard._controls["percentile"].widget.value = 500
    assert 'role="alert"' in dashboard._message.value
    assert "percentile" in dashboard._message.value
    assert "500" in dashboard._message.value
    assert dashboard._controls["percentile"].widget.value == 100
    dashboard.energy = 2
    assert dashboard._message.value == ""
    for name, wrong in (("others", "3 x"), ("others", "5"), ("region", "circle(1)"), ("json", "{}")):
        before, here = dashboard.state, dashboard._controls[name].widget
        shown = here.value
        here.value = wrong
        assert 'role="alert"' in dashboard._message.value
        assert (dashboard.state, here.value) == (before, wrong)  # so that it can be corrected
        here.value = shown
        assert (dashboard.state, here.value, dashboard._message.value) == (before, shown, "")
    for code, path in (("not-found", modeldir / "none"), ("not-a-model", modeldir.parent)):
        with raises(code, path):
            explore_models(path)


ENERGIES = st.floats(0.01, 1000)
ACTIONS = st.one_of(
    st.tuples(st.just("group_id"), st.sampled_from([3, 8])),
    st.tuples(st.just("quantity"), st.sampled_from(["rate", "integrated rate", "counts", "livetime", "relative error"])),
    st.tuples(st.just("others"), st.sampled_from([(), (3,), (8, 3), "all"])),
    st.tuples(st.just("energy"), st.one_of(ENERGIES, st.tuples(ENERGIES, ENERGIES))),
    st.tuples(st.just("region"), st.sampled_from(["", "circle(0.5, 0.4, 0.9)", "box(-1, 0, 1, 3)", "annulus(0, 0, 0.5, 1.5)"])),
    st.tuples(st.just("draw"), st.sampled_from(["nothing", "circle", "annulus", "box"])),
    st.tuples(st.just("colour_by"), st.sampled_from(["livetime", "counts", "mean rate"])),
    st.tuples(st.just("position"), st.tuples(st.floats(-9, 9), st.floats(-9, 9))),
    st.tuples(st.just("stretch"), st.sampled_from(["linear", "log", "sqrt"])),
    st.tuples(st.just("limits"), st.sampled_from(["this energy", "all energies"])),
    st.tuples(st.just("percentile"), st.floats(1, 100)),
    st.tuples(st.just("low"), st.floats(1e-12, 1e-3)),
    st.tuples(st.just("high"), st.one_of(st.none(), st.floats(1e-12, 1e-3))),
    st.tuples(st.just("palette"), st.sampled_from(["viridis", "cividis"])),
    st.tuples(st.sampled_from(["control first_energy", "control last_energy"]), ENERGIES),
    st.tuples(st.just("control low"), st.floats(1e-12, 1e-3)),
    st.tuples(st.just("control limits"), st.sampled_from(["this energy", "all energies", "by hand"])),
    st.tuples(st.just("control bins"), st.tuples(st.integers(0, 9), st.integers(0, 9)).map(sorted)),
    st.tuples(st.just("step"), st.integers(-9, 9)),
    st.tuples(st.just("drag spectrum"), st.tuples(st.tuples(ENERGIES, ENERGIES).map(sorted), st.just((1e-9, 1.0)))),
    st.tuples(st.just("drag image"), st.tuples(*[st.tuples(st.floats(-5, 5), st.floats(-5, 5))] * 2)),
    st.tuples(st.just("tap groups"), st.tuples(st.floats(-90, 90), st.floats(-90, 90), st.booleans())),
    st.tuples(st.just("tap image"), st.tuples(st.floats(-5, 5), st.floats(-5, 5))),
    st.tuples(st.just("tap spectrum"), st.tuples(st.floats(0.1, 100), st.floats(1e-12, 1))),
)


@pytest.mark.slow
@settings(max_examples=5)
@given(path=st.lists(ACTIONS, min_size=4, max_size=8))
def test_view_is_path_independent(modeldir, path):
    """The view depends on the state only, not on previous states."""
    dashboard = shared(explore_models, modeldir, group_id=3)
    for name, value in path:
        verb, _, object_ = name.partition(" ")
        if verb == "tap":
            dashboard.attempt(lambda panel=object_, value=value: tap(dashboard, panel, *value))
        elif verb == "drag":
            dashboard.attempt(lambda panel=object_, value=value: drag(dashboard, panel, *value))
        elif verb == "control":
            dashboard._controls[object_].widget.value = value
        elif verb == "step":
            dashboard.step(value)
        else:
            dashboard.attempt(lambda name=name, value=value: dashboard.update(**{name: value}))
        assert_controls_show_state(dashboard)
    arguments = {field.name: getattr(dashboard.state, field.name) for field in fields(dashboard.state)}
    fresh = explore_models(modeldir, **arguments)
    assert_same_as_fresh(dashboard, fresh)


@pytest.mark.slow
def test_models_are_read_on_demand(tmp_path, monkeypatch):
    """Models are read when they are shown, and kept as long as they fit in memory."""
    for group_id in range(11):
        write_model(asymmetric_model(), tmp_path / f"bg_cube_model_group{group_id}_table.fits")
    read = []
    monkeypatch.setattr("bgnb.files.model_directory.read_model", lambda path, _: read.append(path) or bgnb.read_model(path))
    dashboard = explore_models(tmp_path, group_id=4)
    assert len(read) == 1
    for group_id in range(11):
        dashboard.group_id = group_id
        dashboard.energy = 3.0
    assert len(read) == 11
    dashboard.group_id = 4
    dashboard.others = "all"
    assert len(read) == 11
    monkeypatch.setattr("bgnb.files.model_directory.KEPT_BYTES", 0)
    dashboard = explore_models(tmp_path, group_id=4)
    for group_id in range(4, 4 + KEPT):
        dashboard.group_id = group_id
    dashboard.group_id = 4
    assert len(read) == 11 + KEPT
    dashboard.group_id = 10
    dashboard.group_id = 5  # the one that was used longest ago is not kept
    assert len(read) == 11 + KEPT + 2


def test_step_sends_one_message(modeldir):
    """A step sends one message with the changes, those of the image apart; a new view gets the present state."""
    dashboard = explore_models(modeldir, group_id=3)
    figures, messages = dashboard._figures, []
    figures.send = MethodType(lambda self, content, buffers=None: messages.append((content, buffers)), figures)
    dashboard.energy = dashboard.energy[0] * 1.0001  # the same bin
    assert messages == []
    dashboard.energy = 20
    ((content, buffers),) = messages
    assert content["kind"] == "patch"
    assert len(content["ids"]) == len(buffers)
    events = [json.loads(patch)["events"] for patch in content["patches"]]
    changed = [{(event["model"]["id"], event["attr"]) for event in part} for part in events]
    image = {model.id for model in figures._layout.children[0].references()}
    assert all(model in image for model, _ in changed[0])
    assert not any(model in image for model, _ in changed[1])
    names = [{name for _, name in part} for part in changed]
    assert names[0] >= {"text", "data"}
    assert names[1] >= {"left", "right"}
    assert "palette" not in names[0] | names[1]
    assert content["texts"] == [describe(panel) for panel in dashboard.view.panels.values()]
    # A view that appears later, or after a reload, gets the present state.
    messages.clear()
    figures._answer(figures, {"kind": "need figures", "view": "v"}, [])
    ((content, _),) = messages
    assert content["view"] == "v"
    assert dashboard.view.panels["image"].title in json.loads(content["item"])["doc"]["roots"].__repr__()
    messages.clear()
    dashboard.energy = 1
    assert [content["kind"] for content, _ in messages] == ["patch"]
    messages.clear()
    figures._answer(figures, {"kind": "need bokeh", "view": "v"}, [])
    assert b"Bokeh" in messages[0][1][0]


def test_profile_and_marked_ranges(modeldir):
    """The profile has the errors of `radial_profile`; the marked ranges contain energy and position."""
    model = asymmetric_model()
    dashboard = shared(explore_models, modeldir, group_id=3, energy=5, position=(1.5, -1.1))
    expected = radial_profile(model, 2)
    nothing, profile = dashboard.view.panels["profile"].series
    assert np.isnan(nothing.y).all()
    np.testing.assert_allclose(profile.y, expected.rate)
    np.testing.assert_allclose(profile.high - profile.y, expected.error)
    np.testing.assert_allclose(profile.y - profile.low, expected.error)
    low, high = dashboard.view.panels["profile"].band
    iy, ix = int(np.searchsorted(AXES.dety.value, -1.1)) - 1, int(np.searchsorted(AXES.detx.value, 1.5)) - 1
    assert low <= np.hypot(AXES.detx_centers[ix].value, AXES.dety_centers[iy].value) < high
    line = bgnb.spectrum(model, 1.5 * u.deg, -1.1 * u.deg)
    spectrum = dashboard.view.panels["spectrum"].series[1]
    np.testing.assert_allclose(spectrum.low, line.rate - line.error)
    np.testing.assert_allclose(spectrum.high, line.rate + line.error)


@pytest.mark.slow
@pytest.mark.parametrize("n_energy", [1, 2])
def test_further_groups_of_few_energies(tmp_path, n_energy):
    """Graphs show groups with one or two energy bins; the line of extrapolated energies touches that of the others."""
    counts = np.full((n_energy, 4, 5), 7)
    livetime = np.full(counts.shape, round(3000.25e6))
    livetime[1:] = counts[1:] = 0  # the second energy is extrapolated
    axes = bgnb.CubeAxes(np.geomspace(1, 9, n_energy + 1) * u.TeV, np.linspace(-2, 2, 5) * u.deg, np.linspace(-2, 2, 6) * u.deg)
    stack = replace(asymmetric_model().stack, axes=axes, counts=counts, livetime_us=livetime)
    for group_id, model in ((0, asymmetric_model()), (1, bgnb.make_model(stack, "classic"))):
        write_model(model, tmp_path / f"bg_cube_model_group{group_id}_table.fits")
    dashboard = explore_models(tmp_path, others="all")
    curve, dotted = dashboard.view.panels["spectrum"].curves[1:]
    assert [np.isfinite(each.y).tolist() for each in (curve, dotted)] == [[True, False][:n_energy], n_energy * [n_energy == 2]]
    dashboard.save_svg(tmp_path / "view.svg")


@pytest.mark.slow
def test_extrapolation_is_labelled(tmp_path):
    """Extrapolated energies are labelled; energies without livetime are not compared."""
    model = asymmetric_model(method="unsmoothed")
    counts, livetime = model.stack.counts.copy(), model.stack.livetime_us.copy()
    counts[4] = livetime[4] = 0
    stack = replace(model.stack, counts=counts, livetime_us=livetime)
    for method in ("classic", "unsmoothed"):
        (tmp_path / method).mkdir()
        write_model(bgnb.make_model(stack, method), tmp_path / method / "bg_cube_model_group0_table.fits")
    dashboard = explore_models(tmp_path / "classic", energy=50)
    assert dashboard.view.panels["image"].title.endswith(" TeV, extrapolated")
    follows, measured = dashboard.view.panels["spectrum"].series
    assert (follows.name, measured.name[:4]) == ("extrapolated", "rate")
    np.testing.assert_array_equal(np.isfinite(follows.y), np.arange(5) == 4)
    np.testing.assert_array_equal(np.isfinite(measured.y), np.arange(5) != 4)
    follows, measured = dashboard.view.panels["profile"].series
    assert (follows.name, np.isfinite(measured.y).any()) == ("extrapolated", False)
    assert not dashboard.view.panels["profile"].curves
    with_edge = replace(bgnb.make_model(stack, "classic"), edge=CameraEdge(shape="rectangle", detx=1.9, dety=None))
    (tmp_path / "edge").mkdir()
    write_model(with_edge, tmp_path / "edge" / "bg_cube_model_group0_table.fits")
    for profile in (explore_models(tmp_path / "edge").view.panels["profile"], profile_graph(with_edge, [3])):
        assert [(*curve.x, *curve.y) for curve in profile.curves] == [(1.9, 1.9, *profile.y_range)]
        assert profile.curves[0].name == "edge of the camera"  # the rate ends there, it is not extrapolated
    of_some = profile_graph(bgnb.make_model(stack, "classic"), [3, 4]).series
    names = [energy_label(AXES, number) for number in (3, 4)]
    assert [series.name for series in of_some] == [f"{names[0]}, extrapolated", names[0], f"{names[1]}, extrapolated", names[1]]
    shown = [series.name if series.legend is None else series.legend for series in of_some]
    assert shown == ["", names[0], f"{names[1]}, extrapolated", ""]
    assert [bool(np.isfinite(series.y).any()) for series in of_some] == [False, True, True, False]
    unsmoothed = explore_models(tmp_path / "unsmoothed", energy=50)
    assert unsmoothed.view.panels["image"].title.startswith("Rate at")
    assert unsmoothed.view.panels["spectrum"].series[0].legend == ""
    # Without livetime of both models there is nothing to compare.
    (tmp_path / "second").mkdir()
    other = bgnb.make_model(replace(stack, runs=tuple(replace(run, obs_id=run.obs_id + 70) for run in stack.runs)))
    write_model(other, tmp_path / "second" / "bg_cube_model_group0_table.fits")
    compared = compare_models(tmp_path / "classic", tmp_path / "second", energy=50)
    assert np.isnan(compared.view.panels["compared"].values).all()
    assert "cannot be compared" in compared.view.summary
    compared.energy = 5
    assert np.isfinite(compared.view.panels["compared"].values).any()
    assert "cannot be compared" not in compared.view.summary


def test_stated_error_is_shown(tmp_path):
    """The error stated by a model appears in image, summary and error bands; in percent, but as a fraction in tables."""
    model = asymmetric_model()
    error = model.rate.quantity * np.random.default_rng(4).uniform(0.01, 0.3, AXES.shape)
    write_model(replace(model, error=Cube(AXES, error)), tmp_path / "bg_cube_model_group0_table.fits")
    dashboard = explore_models(tmp_path, quantity="relative error", energy=5, position=(1.5, -1.1))
    expected, there = error.value[2], error.value[:, 1, 8]
    relative, image = expected / model.rate.quantity.value[2], dashboard.view.panels["image"]
    np.testing.assert_allclose(image.values, 100 * relative, rtol=1e-6)
    assert image.unit == "%"
    assert f"to {format_number(100 * relative.max())} %." in dashboard.view.summary
    rows = [row for row in csv.reader(dashboard.view.to_csv().splitlines()) if row[0] == "image"]
    np.testing.assert_allclose([float(row[4]) for row in rows], relative.ravel(), rtol=1e-6)
    assert (
        "# image: x is DETX / deg, y is DETY / deg, value is Relative error at 2.5 to 7.21 TeV, fraction"
        in dashboard.view.to_csv()
    )
    spectrum = dashboard.view.panels["spectrum"].series[1]
    np.testing.assert_allclose(spectrum.high - spectrum.y, there, rtol=1e-5)
    rate = model.rate.quantity.value[2, 1, 8]
    assert f"rate {format_value(rate, there[2])} " in dashboard.view.summary


def test_observer_changes_state_again(modeldir):
    """If an observer of the state changes it again, the last state is drawn."""
    dashboard = explore_models(modeldir, group_id=3, energy=1)
    dashboard.observe(lambda change: dashboard.update(energy=50), "state")
    dashboard.energy = 5
    assert dashboard.energy == (50, 50)
    assert_same_as_fresh(dashboard, explore_models(modeldir, group_id=3, energy=50))
    ranges = [properties for _, properties in dashboard._plots.properties(dashboard.view) if "reset_start" in properties]
    assert len(ranges) == 2 * len(dashboard.view.panels)
    assert all(ends["reset_start"] == ends["start"] and ends["reset_end"] == ends["end"] for ends in ranges)


def test_close_frees_all_widgets(modeldir):
    """Closing a dashboard frees all its widgets."""
    kept = ipywidgets.widgets.widget._instances
    before = set(kept)
    dashboard = explore_models(modeldir, group_id=3)
    widgets = [kept[key] for key in set(kept) - before]
    seen = [widget for widget in widgets if isinstance(widget, ipywidgets.DOMWidget)]
    assert len(seen) > 20
    dashboard.close()
    assert not [widget for widget in seen if widget in kept.values()]
