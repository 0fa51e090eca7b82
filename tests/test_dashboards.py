"""Dashboards without a browser: what they show, what their controls do, what they export."""

import csv
import json
import re
import shutil
import socket
import sys
import urllib.error
import urllib.request
from base64 import b64decode
from dataclasses import fields, replace
from io import BytesIO, StringIO
from itertools import pairwise
from pathlib import Path
from types import MethodType

import ipywidgets
import nbformat
import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import Table
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.colors import LogNorm, Normalize, PowerNorm
from matplotlib.image import imread
from traitlets import TraitError

import bgnb
from bgnb import BgnbError, CubeAxes, ObservationGroups, TrueModel, make_test_bg_cube_model, write_groups, write_model
from bgnb.batch import notebook_parameters
from bgnb.compare import radial_profile
from bgnb.dashboards import compare_models, explore_models, explore_runs
from bgnb.dashboards.colours import Colours, choose_limits, number, palette, round_values
from bgnb.dashboards.exports import _frames, to_png
from bgnb.dashboards.modelset import KEPT, ModelSet
from bgnb.dashboards.plots import same
from bgnb.lab import prepare_notebook
from tests.browser.driver import QUIET, free_port, private_jupyter, running
from tests.models import AXES, lopsided_model

OTHER = CubeAxes(
    energy=np.geomspace(0.5, 40, 9) * u.TeV, dety=np.linspace(-1, 1, 4) * u.deg, detx=np.linspace(-3, 3, 6) * u.deg
)


@pytest.fixture(scope="module")
def modeldir(tmp_path_factory):
    """A real model, and a true one on other axes."""
    folder = tmp_path_factory.mktemp("models")
    write_model(lopsided_model(), folder / "bg_cube_model_group3_table.fits.gz")
    write_model(
        make_test_bg_cube_model(OTHER, "70 deg", TrueModel(gradient_x=0.1)), folder / "bg_cube_model_group8_table.fits.gz"
    )
    write_groups(ObservationGroups(), folder / "bg_observation_groups.ecsv")
    return folder


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A truth and its reconstruction, of few bins."""
    folder = tmp_path_factory.mktemp("pair") / "out"
    bgnb.make_true_reco(folder, n_runs=4, trigger_rate=30.0, n_energy=6, n_fov=9, gradient_x=0.15, gradient_y=-0.05)
    return folder / "true", folder / "reco"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Simulated runs, some of them near a source of our own catalogue, and models of them."""
    folder = tmp_path_factory.mktemp("runs")
    table = bgnb.make_test_dataset(folder / "in", n_runs=12, trigger_rate=3.0, alt_range=(30, 88), seed=4)
    near = SkyCoord(table["RA_PNT"][:2], table["DEC_PNT"][:2], unit="deg").directional_offset_by(30 * u.deg, [1, 2.5] * u.deg)
    catalog = Table({"NAME": ["<b>one</b>", "two"], "RA": near.ra.deg, "DEC": near.dec.deg, "EXTENSION": [0.0, 0.5]})
    bgnb.make_bg_cube_models(
        folder / "in", "GADF", folder / "models", catalog=catalog, exclusion_radius="2.6 deg", n_energy=4, n_fov=5
    )
    return folder, catalog


def shown(dashboard):
    """All that the figures are, by model."""
    return [
        (type(model).__name__, {name: getattr(model, name) for name in properties})
        for model, properties in dashboard._plots.properties(dashboard.view)
    ]


def controls(dashboard):
    return {
        name: {attribute: getattr(control.widget, attribute) for attribute in control.show(dashboard.state)}
        for name, control in dashboard._controls.items()
    }


def assert_same_as_fresh(dashboard, fresh):
    """A dashboard that came to a state by some way shows what one shows that began there."""
    assert dashboard.state == fresh.state
    for (kind, one), (_, other) in zip(shown(dashboard), shown(fresh), strict=True):
        assert same(one, other), kind
    for name, control in dashboard._controls.items():
        assert control.show(dashboard.state) == controls(dashboard)[name], name
    assert controls(dashboard) == controls(fresh)
    assert dashboard._summary.value == fresh._summary.value


def tap(dashboard, panel, x, y, add=False):
    dashboard.act({"kind": "tap", "panel": panel, "x": x, "y": y, "add": add, "width": 360.0, "height": 90.0})


# Colours


@pytest.mark.parametrize(
    ("stretch", "norm"),
    [("linear", Normalize(0.5, 40)), ("log", LogNorm(0.5, 40)), ("sqrt", PowerNorm(0.5, 0.5, 40))],
)
def test_stretches_are_those_of_matplotlib(stretch, norm):
    values = np.linspace(0.5, 40, 37)
    colours = Colours("viridis", stretch, 0.5, 40)
    np.testing.assert_allclose(colours.position(values), norm(values), atol=1e-12)
    np.testing.assert_array_equal(colours.codes(values), np.rint(254 * np.asarray(norm(values))))
    assert colours.codes([0.1, 50, np.nan]).tolist() == [0, 254, 255]
    assert colours.codes([0.0, -1.0]).tolist() == ([255, 255] if stretch == "log" else [0, 0])
    for code, label in colours.ticks():
        assert colours.position(float(label.replace("−", "-"))) * 254 == pytest.approx(code, abs=1e-6)


@pytest.mark.parametrize("stretch", ["linear", "log", "sqrt"])
def test_the_neutral_value_is_white_and_either_side_is_as_far(stretch):
    ratio = Colours("diverging", stretch, *choose_limits(np.array([0.5, 2.0, np.nan]), stretch, 100, 1.0), 1.0)
    pull = Colours("diverging", stretch, *choose_limits(np.array([-3.0, 1.0]), stretch, 100, 0.0), 0.0)
    assert ratio.codes([1.0]) == pull.codes([0.0]) == 127
    assert palette("diverging")[127] == "#f7f7f7"
    assert (pull.low, pull.high) == (-3, 3)
    codes = pull.codes([-3, -2, -0.5, 0.5, 2, 3]).astype(int)
    np.testing.assert_array_equal(codes + codes[::-1], 254)
    assert np.all(np.diff(codes) > 0)
    if stretch == "log":
        assert (ratio.low, ratio.high) == pytest.approx((0.5, 2))
        assert ratio.codes([0.5, 2]).tolist() == [0, 254]
    else:
        assert (ratio.low, ratio.high) == pytest.approx((0, 2))
    assert ratio.codes([np.nan]) == 255


def test_limits_leave_out_as_much_at_either_end():
    values = np.append(np.arange(1001.0), np.nan)
    assert choose_limits(values, "linear", 100) == (0, 1000)
    assert choose_limits(values, "linear", 90) == (50, 950)
    assert choose_limits(values, "log", 100) == (1, 1000)
    assert choose_limits(values - 500, "linear", 80, 0.0) == (-400, 400)
    for same_everywhere in (np.full(4, 7.0), np.zeros(3), np.full(2, np.nan), np.full(2, -1.0)):
        for stretch in ("linear", "log", "sqrt"):
            low, high = choose_limits(same_everywhere, stretch, 98)
            assert np.isfinite([low, high]).all()
            assert low < high
            assert stretch != "log" or low > 0


@given(low=st.floats(-1e3, 1e3), width=st.floats(1e-6, 1e6), log=st.booleans())
def test_ticks_lie_within_the_limits(low, width, log):
    low = 10 ** (low / 100) if log else low
    high = low * (1 + width) if log else low + width
    values = round_values(low, high, log=log)
    assert 2 <= len(values) <= 25
    margin = 1e-6 * (high - low)
    assert all(low - margin <= value <= high + margin for value in values)


# Models


def test_images_and_spectra_are_those_of_the_model(modeldir):
    model = lopsided_model()
    dashboard = explore_models(modeldir, group_id=3, energy="5 TeV", position=(1.5, -1.1))
    where = int(np.searchsorted(AXES.energy.value, 5)) - 1
    iy, ix = (int(np.searchsorted(edges.value, value)) - 1 for edges, value in ((AXES.dety, -1.1), (AXES.detx, 1.5)))
    livetime, rate = model.stack.livetime.to_value("h"), model.rate.quantity.value
    expected = {
        "rate": rate,
        "counts": model.stack.counts,
        "livetime": livetime,
        "relative error": 1 / np.sqrt(rate * livetime * 3600 * AXES.bin_volume.value),
    }
    for quantity, cube in expected.items():
        dashboard.quantity = quantity
        image = dashboard.view.panels["image"]
        np.testing.assert_allclose(image.values, cube[where])
        np.testing.assert_array_equal(image.x_edges, AXES.detx.value)
        assert image.outline == (*AXES.detx.value[ix : ix + 2], *AXES.dety.value[iy : iy + 2])
    spectrum = dashboard.view.panels["spectrum"]
    np.testing.assert_allclose(spectrum.series[2].y, rate[:, iy, ix])
    assert spectrum.band == tuple(AXES.energy.value[where : where + 2])
    words = f"{model.stack.counts[where, iy, ix]} counts in {livetime[where, iy, ix]:.3g} h"
    assert words in dashboard.view.summary
    assert "Group 3: altitude 20 to 23°, azimuth 90 to 270°. 2 runs" in dashboard.view.summary


def test_bokeh_shows_the_image_the_right_way_round(modeldir):
    dashboard = explore_models(modeldir, group_id=3, energy=5, stretch="log")
    (image,) = [model for model in dashboard._plots.layout.references() if getattr(model, "name", "") == "image"]
    (source,) = [renderer.data_source for renderer in image.renderers]
    (value,), (codes,) = source.data["value"], source.data["codes"]
    assert value.shape == AXES.shape[1:]
    np.testing.assert_array_equal(codes, dashboard.view.panels["image"].colours.codes(dashboard.view.panels["image"].values))
    # The lopsided model grows with DETX and falls with DETY: in Bokeh, x grows with columns and y with rows.
    assert value[0].mean() > value[-1].mean()
    assert value[:, -1].mean() > value[:, 0].mean()
    glyph = image.renderers[0].glyph
    assert (glyph.x, glyph.y, glyph.dw, glyph.dh) == (-4, -2, 6, 5)
    mapper = glyph.color_mapper
    assert (mapper.low, mapper.high, len(mapper.palette), mapper.palette[255]) == (-0.5, 255.5, 256, "#bbbbbb")


def test_taps_and_controls_do_the_same(modeldir):
    dashboard = explore_models(modeldir, group_id=3)
    tap(dashboard, "image", -3.3, 2.4)
    assert dashboard.position == (-3.3, 2.4)
    tap(dashboard, "spectrum", 10.0, 1e-9)
    assert AXES.energy.value[3] <= dashboard.energy < AXES.energy.value[4]
    before = dashboard.state
    tap(dashboard, "profile", 1.0, 1e-9)  # nothing to choose there
    tap(dashboard, "image", 99.0, 0.0)  # beyond the axes: the nearest bin
    assert dashboard.state == replace(before, position=(2.0, 0.0))
    here = {name: control.widget for name, control in dashboard._controls.items()}
    here["bin"].value = 1
    assert AXES.energy.value[1] <= dashboard.energy < AXES.energy.value[2]
    here["energy"].value = 55.0
    assert (dashboard.energy, here["bin"].value) == (55, 4)
    assert AXES.energy.value[4] <= here["energy"].value < AXES.energy.value[5]
    here["detx"].value = -3.9
    assert dashboard.position == (-3.9, 0.0)
    here["low"].value = 1e-9
    assert (dashboard.limits, dashboard.low) == ("by hand", 1e-9)
    assert dashboard.view.panels["image"].colours.low == 1e-9
    here["quantity"].value = "counts"
    assert (dashboard.limits, dashboard.low) == ("this energy", None)
    here["group_id"].value = 8
    assert (dashboard.group_id, here["bin"].max, here["bin"].value) == (8, 7, 7)
    assert "has no counts" in dashboard.view.summary
    assert "no bin has a value" in dashboard.view.summary
    assert (dashboard.view.panels["image"].colours.codes(dashboard.view.panels["image"].values) == 255).all()


def test_what_cannot_be_done_is_said_and_changes_nothing(modeldir):
    dashboard = explore_models(modeldir, group_id=3)
    before = dashboard.state
    for changes, message in (
        ({"group_id": 5}, "has no model of group 5; the groups are 3, 8"),
        ({"quantity": "flux"}, "quantity must be one of rate, counts, livetime, relative error; got 'flux'"),
        ({"energy": "5 deg"}, "energy must be a value with a unit, such as '1 TeV'"),
        ({"energy": -1}, "energy must be above 0 TeV"),
        ({"energy": float("nan")}, "energy must be a finite number"),
        ({"position": 3}, "position must be a pair"),
        ({"percentile": 0}, "percentile must be above 0"),
        ({"low": 2, "high": 1, "limits": "by hand"}, "must increase"),
        ({"low": 0, "high": 1, "limits": "by hand", "stretch": "log"}, "a logarithm needs limits above 0"),
        ({"low": -1e308, "high": 1e308, "limits": "by hand"}, "must increase"),
        ({"low": 1.0, "high": 1.0 + 1e-9}, "must increase, by more than a millionth"),
        ({"energy": 10**400}, "energy must be a finite number"),
        ({"group_id": [3]}, "has no model of group [3]"),
        ({"position": {1, 2}}, "position must be a pair"),
        ({"quantity": np.array(["rate"])}, "quantity must be one of"),
        ({"colour": "red"}, "there is no colour here; there are group_id, energy"),
    ):
        with pytest.raises(BgnbError, match=re.escape(message)):
            dashboard.update(**changes)
        assert dashboard.state == before
    with pytest.raises(BgnbError, match="there is no energies here; there are group_id"):
        dashboard.energies = 5
    with pytest.raises(TraitError):
        dashboard.state = before
    dashboard._controls["percentile"].widget.value = 500
    assert 'role="alert"' in dashboard._message.value
    assert "at most 100" in dashboard._message.value
    assert dashboard._controls["percentile"].widget.value == 100
    dashboard.energy = 2
    assert dashboard._message.value == ""
    for bad, message in ((modeldir / "none", "there is no such directory"), (modeldir.parent, "holds no models")):
        with pytest.raises(BgnbError, match=message):
            explore_models(bad)


ACTIONS = st.one_of(
    st.tuples(st.just("group_id"), st.sampled_from([3, 8])),
    st.tuples(st.just("quantity"), st.sampled_from(["rate", "counts", "livetime", "relative error"])),
    st.tuples(st.just("energy"), st.floats(0.01, 1000)),
    st.tuples(st.just("position"), st.tuples(st.floats(-9, 9), st.floats(-9, 9))),
    st.tuples(st.just("stretch"), st.sampled_from(["linear", "log", "sqrt"])),
    st.tuples(st.just("limits"), st.sampled_from(["this energy", "all energies", "by hand"])),
    st.tuples(st.just("percentile"), st.floats(1, 100)),
    st.tuples(st.just("low"), st.floats(1e-12, 1e-3)),
    st.tuples(st.just("palette"), st.sampled_from(["viridis", "cividis"])),
    st.tuples(st.just("bin"), st.integers(0, 20)),
    st.tuples(st.just("tap image"), st.tuples(st.floats(-5, 5), st.floats(-5, 5))),
    st.tuples(st.just("tap spectrum"), st.tuples(st.floats(0.1, 100), st.floats(1e-12, 1))),
)


@settings(max_examples=20, deadline=None)
@given(path=st.lists(ACTIONS, max_size=8))
def test_any_way_to_a_state_shows_the_same(modeldir, path):
    dashboard = explore_models(modeldir, group_id=3)
    for name, value in path:
        if name.startswith("tap"):
            tap(dashboard, name[4:], *value)
        elif name in ("bin", "low"):
            dashboard._controls[name].widget.value = value
        else:
            dashboard.attempt(lambda name=name, value=value: dashboard.update(**{name: value}))
        assert set(controls(dashboard)) == set(dashboard._controls)
    arguments = {field.name: getattr(dashboard.state, field.name) for field in fields(dashboard.state)}
    fresh = explore_models(modeldir, **arguments)
    assert_same_as_fresh(dashboard, fresh)


def test_copied_python_shows_the_same(modeldir, pair, runs, monkeypatch):
    monkeypatch.chdir(modeldir.parent)
    models = explore_models(modeldir.name, group_id=8, quantity="livetime", energy=3.3, stretch="sqrt", percentile=97)
    models.limits = "by hand"
    compared = compare_models(*pair, show="pull", normalise="cube", position=(1, -2), span=2.5, labels=("a", "it's"))
    explored = explore_runs(runs[0] / "in", "GADF", select="all", alt_edges=[0, 50, 90])
    explored.group_id = 2
    for dashboard in (models, compared, explored):
        *lines, last = dashboard.python.splitlines()
        values = {}
        exec("\n".join(lines), values)
        assert_same_as_fresh(dashboard, eval(last, values))
    explored.selected = explored.selected[:2]
    *lines, last = explored.python.splitlines()
    exec("\n".join(lines), values)
    assert eval(last, values).selected == explored.selected


def test_only_what_is_shown_is_read_and_kept(tmp_path, monkeypatch):
    for group_id in range(28):
        write_model(lopsided_model(), tmp_path / f"bg_cube_model_group{group_id}_table.fits")
    read = []
    monkeypatch.setattr("bgnb.dashboards.modelset.read_model", lambda path: read.append(path) or bgnb.read_model(path))
    dashboard = explore_models(tmp_path, group_id=4)
    assert len(read) == 1
    for group_id in range(28):
        dashboard.group_id = group_id
        dashboard.energy = 3.0
    assert len(read) == 29  # by then, group 4 had been let go
    dashboard.group_id = 25
    assert len(read) == 29
    assert dashboard._models.read.cache_info().currsize == KEPT
    assert dashboard._cube.cache_info().currsize == KEPT


def test_one_step_is_one_message_with_what_has_changed(modeldir):
    dashboard = explore_models(modeldir, group_id=3)
    figures, messages = dashboard._figures, []
    figures.send = MethodType(lambda self, content, buffers=None: messages.append((content, buffers)), figures)
    dashboard.energy = dashboard.energy * 1.0001  # the same bin
    assert messages == []
    dashboard.energy = 20
    ((content, buffers),) = messages
    assert content["kind"] == "patch"
    assert len(content["ids"]) == len(buffers)
    changed = {event["attr"] for event in json.loads(content["patch"])["events"] if "attr" in event}
    assert {"text", "left", "right"} <= changed
    assert "palette" not in changed
    # A view that appears later, or again after a reload, gets the present state.
    messages.clear()
    figures._answer(figures, {"kind": "need figures", "view": "v"}, [])
    ((content, _),) = messages
    assert content["view"] == "v"
    assert dashboard.view.panels["image"].title in json.loads(content["item"])["doc"]["roots"].__repr__()
    messages.clear()
    figures._answer(figures, {"kind": "need bokeh", "view": "v"}, [])
    assert b"Bokeh" in messages[0][1][0]


def test_exports_are_what_is_shown(modeldir, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    dashboard = explore_models(modeldir, group_id=3, energy=5, quantity="counts", position=(1.5, -1.1))
    for button in dashboard._exports().children[:3]:
        button.click()
        assert "Saved" in dashboard._message.value
    name = "Group_3_counts_at_2.5_to_7.21_TeV"
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{name}.{kind}" for kind in ("csv", "html", "png")]
    dashboard._exports().children[0].click()
    assert (tmp_path / f"{name}-2.png").read_bytes() == (tmp_path / f"{name}.png").read_bytes()
    assert imread(BytesIO((tmp_path / f"{name}.png").read_bytes())).shape[0] > 300

    text = (tmp_path / f"{name}.csv").read_text()
    rows = list(csv.DictReader(StringIO("".join(line for line in text.splitlines(True) if line[0] != "#"))))
    image = {(float(row["x"]), float(row["y"])): float(row["value"]) for row in rows if row["panel"] == "image"}
    model = lopsided_model()
    assert len(image) == 7 * 9
    for iy, y in enumerate(AXES.dety_centers.value):
        for ix, x in enumerate(AXES.detx_centers.value):
            assert image[float(f"{x:.9g}"), float(f"{y:.9g}")] == model.stack.counts[2, iy, ix]
    spectrum = [row for row in rows if row["panel"] == "spectrum" and row["series"].startswith("rate")]
    line = bgnb.spectrum(model, 1.5 * u.deg, -1.1 * u.deg)
    np.testing.assert_allclose([float(row["value"]) for row in spectrum], line.rate, rtol=1e-5)
    np.testing.assert_allclose([float(row["high"]) for row in spectrum], line.rate + line.error, rtol=1e-5)

    page = (tmp_path / f"{name}.html").read_text()
    assert not re.search(r"<(script|link|img)[^>]*(src|href)=[\"']?https?:", page)
    for low, high in pairwise(AXES.energy.value):
        assert f"{low:.3g} to {high:.3g} TeV" in page


def test_notebooks_keep_a_picture(modeldir):
    data, _ = explore_models(modeldir)._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in data
    assert b64decode(data["image/png"]).startswith(b"\x89PNG")
    assert data["text/plain"].startswith("Group")


def test_bins_of_unequal_width_are_shown_where_they_are(tmp_path):
    axes = CubeAxes(energy=[1, 10] * u.TeV, dety=[-1, 0, 3] * u.deg, detx=[-2, -1.5, 0, 1] * u.deg)
    write_model(make_test_bg_cube_model(axes, "70 deg", TrueModel()), tmp_path / "bg_cube_model_group0_table.fits")
    image = explore_models(tmp_path).view.panels["image"]
    for x, y in ((-1.9, 0.1), (-1.51, -0.99), (-1.49, 2.9), (-0.01, 0.01), (0.01, -0.01)):
        column, line = int((x + 2) / 3 * image.pixels.shape[1]), int((y + 1) / 4 * image.pixels.shape[0])
        ix, iy = (int(np.searchsorted(edges.value, value)) - 1 for edges, value in ((axes.detx, x), (axes.dety, y)))
        assert image.pixels[line, column] == image.values[iy, ix]


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
        assert compared.compared_limits(compared.state) == pytest.approx((1 - half, 1 + half))
        most = np.nanmax(np.abs(np.where(comparison.exposed[:, None, None], comparison.pull, np.nan)[other]))
        pulls = compare_models(*pair, energy=1, show="pull", limits=limits)
        assert pulls.compared_limits(pulls.state) == pytest.approx((-most, most))
        turned = compare_models(*pair[::-1], energy=1, limits=limits)
        assert turned.limits_of(turned.state) == (both[:, other].min(), both[:, other].max())
    compared.update(span=0.5)
    assert compared.compared_limits(compared.state) == (0.5, 1.5)
    compared.stretch = "log"
    assert compared.span is None  # it was that of another stretch
    compared.span = 0.5
    assert compared.compared_limits(compared.state) == pytest.approx((1 / 1.5, 1.5))
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


def test_profile_and_bands_are_those_of_the_energy_and_the_position(modeldir):
    model = lopsided_model()
    dashboard = explore_models(modeldir, group_id=3, energy=5, position=(1.5, -1.1))
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
    spectrum = dashboard.view.panels["spectrum"].series[2]
    np.testing.assert_allclose(spectrum.low, line.rate - line.error)
    np.testing.assert_allclose(spectrum.high, line.rate + line.error)


def test_what_is_extrapolated_is_said(tmp_path):
    model = lopsided_model(method="unsmoothed")
    counts = model.stack.counts.copy()
    counts[4] = 0
    stack = replace(model.stack, counts=counts)
    for method in ("default", "unsmoothed"):
        (tmp_path / method).mkdir()
        write_model(bgnb.make_model(stack, method), tmp_path / method / "bg_cube_model_group0_table.fits")
    dashboard = explore_models(tmp_path / "default", energy=50)
    assert dashboard.view.panels["image"].title.startswith("Rate, extrapolated, at")
    _, follows, measured = dashboard.view.panels["spectrum"].series
    assert (follows.name, measured.name[:4]) == ("extrapolated", "rate")
    np.testing.assert_array_equal(np.isfinite(follows.y), np.arange(5) == 4)
    np.testing.assert_array_equal(np.isfinite(measured.y), np.arange(5) != 4)
    follows, measured = dashboard.view.panels["profile"].series
    assert (follows.name, np.isfinite(measured.y).any()) == ("extrapolated", False)
    unsmoothed = explore_models(tmp_path / "unsmoothed", energy=50)
    assert unsmoothed.view.panels["image"].title.startswith("Rate at")
    assert unsmoothed.view.panels["spectrum"].series[1].name == ""
    # Where a model was not exposed there is nothing to compare.
    livetime = stack.livetime_us.copy()
    livetime[4] = 0
    (tmp_path / "second").mkdir()
    other = bgnb.make_model(replace(stack, livetime_us=livetime, runs=(replace(stack.runs[0], obs_id=77),)))
    write_model(other, tmp_path / "second" / "bg_cube_model_group0_table.fits")
    compared = compare_models(tmp_path / "default", tmp_path / "second", energy=50)
    assert np.isnan(compared.view.panels["compared"].values).all()
    assert "not both models were exposed" in compared.view.summary
    compared.energy = 5
    assert np.isfinite(compared.view.panels["compared"].values).any()
    assert "not both models" not in compared.view.summary


def test_pictures_lie_the_right_way_round(modeldir):
    """The lopsided model is brightest where DETX is high and DETY low: to the right, and below."""
    view = explore_models(modeldir, group_id=3, energy=1.2).view
    png = imread(BytesIO(to_png(replace(view, panels={"image": view.panels["image"]}))))
    yellow = np.argwhere((png[..., 0] > 0.9) & (png[..., 1] > 0.85) & (png[..., 2] < 0.3))
    blue = np.argwhere((png[..., 0] < 0.3) & (png[..., 1] < 0.05) & (png[..., 2] > 0.3))
    bar = png.shape[1] * 0.8  # to the right of it is the colour bar
    yellow, blue = (place[place[:, 1] < bar].mean(axis=0) for place in (yellow, blue))
    assert yellow[0] > blue[0]
    assert yellow[1] > blue[1]


def test_exported_frames_are_the_energies_in_order(modeldir):
    dashboard = explore_models(modeldir, group_id=3, energy=5)
    labels, states = zip(*dashboard.frames(), strict=True)
    assert [label.split()[0] for label in labels] == [f"{edge:.3g}" for edge in AXES.energy.value[:-1]]
    assert states.index(dashboard.state) == 2
    models, frames = _frames(dashboard._plots, [dashboard.view_of(state) for state in states])
    where = [model.name for model in models].index("image-data")
    for number_, frame in enumerate(frames):
        expected = lopsided_model().rate.quantity.value[number_]
        np.testing.assert_allclose(frame[where]["data"]["value"][0], expected, rtol=1e-6)


def test_the_last_word_is_what_is_shown(modeldir):
    """One who observes the state and changes it again gets what they asked for, in the picture too."""
    dashboard = explore_models(modeldir, group_id=3, energy=1)
    dashboard.observe(lambda change: dashboard.update(energy=50), "state")
    dashboard.energy = 5
    assert dashboard.energy == 50
    assert_same_as_fresh(dashboard, explore_models(modeldir, group_id=3, energy=50))
    ranges = [properties for _, properties in dashboard._plots.properties(dashboard.view) if "reset_start" in properties]
    assert len(ranges) == 6
    assert all(ends["reset_start"] == ends["start"] and ends["reset_end"] == ends["end"] for ends in ranges)


def test_closing_lets_go_of_everything(modeldir):
    kept = ipywidgets.widgets.widget._instances
    before = set(kept)
    dashboard = explore_models(modeldir, group_id=3)
    widgets = [kept[key] for key in set(kept) - before]
    seen = [widget for widget in widgets if isinstance(widget, ipywidgets.DOMWidget)]
    assert len(seen) > 20
    dashboard.close()
    assert not [widget for widget in seen if widget in kept.values()]


def test_labels_of_the_colour_bar_tell_values_apart():
    for colours in (Colours("viridis", "linear", 10000, 10050), Colours("diverging", "log", 0.9998, 1.0002, 1.0)):
        labels = [label for _, label in colours.ticks()]
        assert len(set(labels)) == len(labels) >= 3


# Radial profile


def test_rings_hold_the_whole_plane_and_their_error_is_that_of_their_counts():
    model = lopsided_model(method="unsmoothed")
    for plane in (1, 3):
        profile = radial_profile(model, plane, width=0.7)
        offset = np.hypot(AXES.detx_centers.value, AXES.dety_centers.value[:, None])
        area = np.histogram(offset, profile.edges, weights=AXES.solid_angle.value)[0]
        counts = np.histogram(offset, profile.edges, weights=model.stack.counts[plane])[0]
        total = (model.rate.quantity.value[plane] * AXES.solid_angle.value).sum()
        assert np.nansum(profile.rate * area) == pytest.approx(total)
        # Livetime is the same everywhere in this plane: the mean is counts over exposure, its error Poisson's.
        some = counts > 0
        np.testing.assert_allclose(profile.rate[some] / profile.error[some], np.sqrt(counts[some]))


def test_rings_leave_out_what_was_not_exposed():
    model = lopsided_model(method="unsmoothed")
    livetime, counts = model.stack.livetime_us.copy(), model.stack.counts.copy()
    livetime[:, :, :4], counts[:, :, :4] = 0, 0
    part = bgnb.make_model(replace(model.stack, livetime_us=livetime, counts=counts), "unsmoothed")
    profile = radial_profile(part, 1, width=0.7)
    offset = np.hypot(AXES.detx_centers.value, AXES.dety_centers.value[:, None])[:, 4:]
    area = np.histogram(offset, profile.edges, weights=AXES.solid_angle.value[:, 4:])[0]
    rate = (model.rate.quantity.value[1] * AXES.solid_angle.value)[:, 4:]
    inside = area > 0
    np.testing.assert_allclose(
        profile.rate[inside], np.histogram(offset, profile.edges, weights=rate)[0][inside] / area[inside]
    )
    assert np.isnan(profile.rate[~inside]).all()
    for number_, width in ((-1, 0.5), (5, 0.5), (0, 0)):
        with pytest.raises(BgnbError, match="number must be 0 to 4, and width above 0"):
            radial_profile(model, number_, width)


# Comparison


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
    title = f"Pulls of {len(pulls)} bins: mean {pulls.mean():.3f}, width {pulls.std():.3f}"
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


# Runs


def test_runs_are_kept_for_the_reasons_that_make_models(runs):
    folder, catalog = runs
    dashboard = explore_runs(folder / "in", "GADF", catalog=catalog, exclusion_radius="2.6 deg")
    report = json.loads((folder / "models" / "report.json").read_text())
    used = {run["obs_id"]: run["group_id"] for run in report["runs"] if run["status"] == "used"}
    kept = dashboard.view.panels["sky"].series[3]
    assert [int(obs_id) for obs_id in kept.details["OBS_ID"]] == sorted(used)
    for group_id in set(used.values()):
        dashboard.group_id = group_id
        assert dashboard.selected == tuple(sorted(obs_id for obs_id, group in used.items() if group == group_id))
    left_out = dashboard.view.panels["groups"].series[1].details
    assert left_out["becomes"][0].startswith("left out: near a known source: <b>one</b>, 1.00 deg")
    assert "12 runs in" in dashboard.view.summary
    assert dashboard.view.panels["sky"].x_range == (360, 0)  # east is left
    dashboard.selected = sorted(used)
    hours = sum(run["livetime_s"] for run in report["runs"] if run["status"] == "used") / 3600
    assert f"Selected: {len(used)} runs, {hours:.2f} h, {len(used)} of them kept." in dashboard.view.summary
    assert "left out: 2 near a known source" in dashboard.view.summary
    # The same from the directory of models, which has the runs used only.
    of_models = explore_runs(folder / "models", catalog=catalog)
    assert [int(obs_id) for obs_id in of_models.view.panels["sky"].series[3].details["OBS_ID"]] == sorted(used)
    assert "left out: 2 near a known source" in of_models.view.summary


@pytest.mark.parametrize("where", ["in", "models"])
def test_circles_lie_at_the_distance_that_excludes(runs, where):
    folder, catalog = runs
    given = {"scheme": "GADF", "exclusion_radius": "2.6 deg"} if where == "in" else {}
    dashboard = explore_runs(folder / where, catalog=catalog, **given)
    assert dashboard.view.panels["sky"].series[1].name == "known sources, and what they exclude"
    outline = dashboard.view.panels["sky"].series[0]
    x, y = (values.reshape(2, -1)[:, :-1] for values in (outline.x, outline.y))
    centres = SkyCoord(catalog["RA"], catalog["DEC"], unit="deg")[:, None]
    good = np.isfinite(y)
    distance = centres.separation(SkyCoord(x, np.where(good, y, 0), unit="deg")).deg
    np.testing.assert_allclose(distance[0][good[0]], 2.6, rtol=1e-6)
    np.testing.assert_allclose(distance[1][good[1]], 3.6, rtol=1e-6)


def test_runs_stand_in_their_groups(runs):
    dashboard = explore_runs(runs[0] / "in", "GADF", select="all")
    x, y = dashboard._runs.places("groups")
    azimuth = np.asarray(dashboard._runs.table["AZ_PNT"])
    assert (azimuth > 270).any()
    assert ((azimuth > 90) & (azimuth < 270)).any()
    groups = dashboard._runs.groups.table
    for place, group_id in zip(zip(x, y, strict=True), dashboard._runs.group_ids, strict=True):
        row = groups[group_id]
        assert row["AZ_MIN"] <= place[0] < row["AZ_MAX"]
        assert row["ALT_MIN"] <= place[1] < row["ALT_MAX"]
    assert dashboard.view.panels["sky"].series[1].name == "known sources"  # they exclude nothing here
    assert np.isnan(dashboard.view.panels["sky"].series[0].y).all()
    menu = dashboard._controls["group_id"].widget
    dashboard.group_id = int(dashboard._runs.group_ids[0])
    dashboard.selected = dashboard._runs.obs_ids[:2]
    assert menu.label == "any"
    for wrong in (20339, "1", [[1]], None):
        with pytest.raises(BgnbError, match="selected must be a list of OBS_IDs"):
            dashboard.selected = wrong
    for wrong in (25.0, True, "1", 99):
        with pytest.raises(BgnbError, match="there is no group"):
            dashboard.group_id = wrong
    text = dashboard.view.to_csv()
    assert f"OBS_ID: {dashboard.selected[0]}; OBJECT" in text


def test_what_is_selected_in_one_picture_is_selected_in_all(runs):
    folder, catalog = runs
    dashboard = explore_runs(folder / "in", "GADF", catalog=catalog)
    table = bgnb.open_runs(folder / "in", "GADF").table
    one = table[5]
    tap(dashboard, "groups", (one["AZ_PNT"] + 90) % 360 - 90 + 0.5, one["ALT_PNT"] - 0.3)
    assert dashboard.selected == (one["OBS_ID"],)
    assert f"Selected: run {one['OBS_ID']}" in dashboard.view.summary
    other = table[7]
    tap(dashboard, "sky", other["RA_PNT"], other["DEC_PNT"], add=True)
    assert set(dashboard.selected) == {one["OBS_ID"], other["OBS_ID"]}
    tap(dashboard, "sky", one["RA_PNT"], one["DEC_PNT"], add=True)
    assert dashboard.selected == (other["OBS_ID"],)
    for panel, column in (("livetime", "LIVETIME"), ("zenith", "ALT_PNT")):
        selected = dashboard.view.panels[panel].series[1]
        value = other["LIVETIME"] / 60 if column == "LIVETIME" else 90 - other["ALT_PNT"]
        (where,) = np.flatnonzero(selected.y)
        assert selected.edges[where] <= value <= selected.edges[where + 1]
    low, high = 10.0, 35.0
    dashboard.act({"kind": "select", "panel": "zenith", "x": [high, low], "y": [0, 1]})
    zenith = 90 - np.asarray(table["ALT_PNT"])
    kept = np.isin(table["OBS_ID"], [int(i) for i in dashboard.view.panels["sky"].series[3].details["OBS_ID"]])
    assert dashboard.selected == tuple(table["OBS_ID"][(zenith > low) & (zenith < high) & kept])
    assert dashboard.selected
    tap(dashboard, "sky", 359.9, -89.0)
    assert dashboard.selected == ()
    tap(dashboard, "groups", 0.0, 10.0)  # the middle of group 0
    assert dashboard.group_id == 0
    assert "Group 0 has no runs." in dashboard.view.summary
    text = dashboard._controls["selected"].widget
    text.value = f"{one['OBS_ID']}, {other['OBS_ID']}\n"
    assert set(dashboard.selected) == {one["OBS_ID"], other["OBS_ID"]}
    assert dashboard.group_id is None
    text.value = "12 twelve"
    assert "&#x27;twelve&#x27; is not an OBS_ID" in dashboard._message.value
    text.value = "999"
    assert "has no run 999" in dashboard._message.value
    assert set(dashboard.selected) == {one["OBS_ID"], other["OBS_ID"]}
    report = bgnb.make_bg_cube_models(
        folder / "in", "GADF", folder / "chosen", select=dashboard.selected, n_energy=4, n_fov=5, overwrite=True
    )
    assert sorted(report.group_ids) == sorted(dashboard.selected)


def test_missing_columns_and_files_are_said(runs, tmp_path):
    folder, _ = runs
    for path, arguments in (
        (folder / "in", {}),
        (folder / "models", {"select": "all"}),
        (folder / "models", {"alt_edges": [0, 90]}),
    ):
        with pytest.raises(BgnbError, match="of a directory of runs, name the scheme"):
            explore_runs(path, **arguments)
    dashboard = explore_runs(folder / "in", "GADF", select="all")
    dashboard._runs.table.remove_column("MUONEFF")
    dashboard.group_id = 26
    assert dashboard.view.panels["muoneff"].title == "The run table has no values of MUONEFF"
    assert dashboard.view.panels["muoneff"].series[0].y.sum() == 0


def test_names_from_files_are_escaped(modeldir, tmp_path):
    evil = tmp_path / "<img src=x onerror=alert(1)>"
    evil.mkdir()
    for path in modeldir.iterdir():
        (evil / path.name).write_bytes(path.read_bytes())
    dashboard = compare_models(evil, modeldir)
    assert "<img" not in dashboard._summary.value
    assert "&lt;img src=x" in dashboard._summary.value
    dashboard.save_html(tmp_path / "page.html")
    assert "<img src=x" not in (tmp_path / "page.html").read_text()
    dashboard._copy()
    assert "<img" not in dashboard._message.value
    models = ModelSet(evil)
    assert models.group_ids == [3, 8]


# Notebooks and JupyterLab


@pytest.mark.parametrize(("name", "pictures"), [("explore", 2), ("explore_true_reco", 1)])
def test_notebooks_simulate_what_they_show(tmp_path, monkeypatch, name, pictures):
    monkeypatch.chdir(tmp_path)
    out = bgnb.run_notebook(name, "out.ipynb")
    notebook = json.loads(out.read_text())
    assert "widgets" not in notebook["metadata"]
    data = [output["data"] for cell in notebook["cells"] for output in cell.get("outputs", []) if "data" in output]
    assert sum("image/png" in item and "application/vnd.jupyter.widget-view+json" in item for item in data) == pictures
    assert len(out.read_text()) < 1_000_000


def test_lab_opens_a_notebook_of_its_own_on_loopback_with_a_token(modeldir, pair, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = prepare_notebook(modeldir)
    assert prepare_notebook(modeldir) == first == Path("explore.ipynb")
    (parameters,) = notebook_parameters(first).values()
    assert parameters.default == str(modeldir)
    assert prepare_notebook(pair[0]).name == "explore-2.ipynb"
    compared = prepare_notebook(*pair)
    assert [parameter.default for parameter in notebook_parameters(compared).values()] == [str(path) for path in pair]
    (tmp_path / "explore_true_reco.ipynb").write_text("somebody's own")
    assert prepare_notebook(*pair).name == "explore_true_reco-2.ipynb"
    with pytest.raises(BgnbError, match="holds no models"):
        prepare_notebook(tmp_path)
    with pytest.raises(BgnbError, match="no group in common"):
        prepare_notebook(modeldir, pair[0])
    first, second = tmp_path / 'dir2: str = ""', tmp_path / "+print(42)+"
    for source, copy in zip(pair, (first, second), strict=True):
        shutil.copytree(source, copy)
    written = {}
    exec(nbformat.read(prepare_notebook(first, second), as_version=4).cells[1].source, written)
    assert (written["dir1"], written["dir2"]) == (str(first), str(second))

    port = free_port()
    command = [sys.executable, "-m", "bgnb", "lab", str(modeldir), "--", "--no-browser", f"--ServerApp.port={port}", *QUIET]
    state = tmp_path / "state"
    state.mkdir()
    with running(command, f"http://127.0.0.1:{port}/api", state / "lab.log", private_jupyter(state), tmp_path):
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/api/contents")
        said = (state / "lab.log").read_text()
        token = re.search(rf"http://127\.0\.0\.1:{port}/lab/tree/explore\.ipynb\?token=(\w+)", said)[1]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/contents/explore.ipynb?token={token}") as answer:
            assert json.load(answer)["name"] == "explore.ipynb"
        assert "Opening explore.ipynb in JupyterLab" in said
        others = [address[4][0] for address in socket.getaddrinfo(socket.gethostname(), port, proto=socket.IPPROTO_TCP)]
        for host in [host for host in others if not host.startswith("127.") and host != "::1"]:
            with pytest.raises(OSError, match="refused"):
                socket.create_connection((host, port), timeout=2).close()
