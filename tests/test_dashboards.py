"""Dashboards without a browser: what they show, what their controls do, what they export."""

import csv
import json
import re
import socket
import sys
import urllib.error
import urllib.request
from base64 import b64decode
from dataclasses import fields, replace
from io import BytesIO, StringIO
from pathlib import Path
from types import MethodType

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import Table
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.colors import LogNorm, Normalize, PowerNorm
from matplotlib.image import imread

import bgnb
from bgnb import BgnbError, CubeAxes, ObservationGroups, TrueModel, make_test_bg_cube_model, write_groups, write_model
from bgnb.batch import notebook_parameters
from bgnb.compare import radial_profile
from bgnb.dashboards import compare_models, explore_models, explore_runs
from bgnb.dashboards.colours import Colours, choose_limits, palette, round_values
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
    bgnb.make_bg_cube_models(folder / "in", "GADF", folder / "models", catalog=catalog, n_energy=4, n_fov=5)
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
    dashboard.act({"kind": "tap", "panel": panel, "x": x, "y": y, "add": add})


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
    np.testing.assert_allclose(spectrum.series[1].y, rate[:, iy, ix])
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
        ({"group_id": 5}, "has no model of group 5; its groups are 3, 8"),
        ({"quantity": "flux"}, "quantity must be one of rate, counts, livetime, relative error; got 'flux'"),
        ({"energy": "5 deg"}, "energy must be a value with a unit, such as '1 TeV'"),
        ({"energy": -1}, "energy must be above 0 TeV"),
        ({"energy": float("nan")}, "energy must be a finite number"),
        ({"position": 3}, "position must be a pair"),
        ({"percentile": 0}, "percentile must be above 0"),
        ({"low": 2, "high": 1, "limits": "by hand"}, "must increase"),
        ({"low": 0, "high": 1, "limits": "by hand", "stretch": "log"}, "a logarithm needs limits above 0"),
        ({"colour": "red"}, "there is no colour here; there are group_id, energy"),
    ):
        with pytest.raises(BgnbError, match=re.escape(message)):
            dashboard.update(**changes)
        assert dashboard.state == before
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
            assert image[float(f"{x:.6g}"), float(f"{y:.6g}")] == model.stack.counts[2, iy, ix]
    spectrum = [row for row in rows if row["panel"] == "spectrum" and row["series"].startswith("rate")]
    line = bgnb.spectrum(model, 1.5 * u.deg, -1.1 * u.deg)
    np.testing.assert_allclose([float(row["value"]) for row in spectrum], line.rate, rtol=1e-5)
    np.testing.assert_allclose([float(row["high"]) for row in spectrum], line.rate + line.error, rtol=1e-5)

    page = (tmp_path / f"{name}.html").read_text()
    assert not re.search(r"<(script|link|img)[^>]*(src|href)=[\"']?https?:", page)
    for number in range(5):
        assert f"{AXES.energy[number].value:.3g} to {AXES.energy[number + 1].value:.3g} TeV" in page


def test_notebooks_keep_a_picture(modeldir):
    data, _ = explore_models(modeldir)._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in data
    assert b64decode(data["image/png"]).startswith(b"\x89PNG")
    assert data["text/plain"].startswith("Group")


def test_bins_of_unequal_width_are_shown_where_they_are(tmp_path):
    axes = CubeAxes(energy=[1, 10] * u.TeV, dety=[-1, 0, 3] * u.deg, detx=[-2, -1.5, 0, 1] * u.deg)
    write_model(make_test_bg_cube_model(axes, "70 deg", TrueModel()), tmp_path / "bg_cube_model_group0_table.fits")
    image = explore_models(tmp_path).view.panels["image"]
    assert image.pixels.shape == (4, 6)
    np.testing.assert_array_equal(image.pixels[0], image.values[0][[0, 1, 1, 1, 2, 2]])
    np.testing.assert_array_equal(image.pixels[:, 0], image.values[:, 0][[0, 1, 1, 1]])


# Radial profile


def test_rings_hold_the_whole_plane_and_their_error_is_that_of_their_counts():
    model = lopsided_model(method="unsmoothed")
    for number in (1, 3):
        profile = radial_profile(model, number, width=0.7)
        offset = np.hypot(AXES.detx_centers.value, AXES.dety_centers.value[:, None])
        area = np.histogram(offset, profile.edges, weights=AXES.solid_angle.value)[0]
        counts = np.histogram(offset, profile.edges, weights=model.stack.counts[number])[0]
        total = (model.rate.quantity.value[number] * AXES.solid_angle.value).sum()
        assert np.nansum(profile.rate * area) == pytest.approx(total)
        # Livetime is the same everywhere in this plane: the mean is counts over exposure, its error Poisson's.
        some = counts > 0
        np.testing.assert_allclose(profile.rate[some] / profile.error[some], np.sqrt(counts[some]))


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
            np.testing.assert_allclose(image.values, cube[where])
            neutral = 1 if show == "ratio" else 0
            assert (image.colours.low + image.colours.high) / 2 == pytest.approx(neutral)
        np.testing.assert_allclose(dashboard.view.panels["second"].values, comparison.second.rate.quantity.value[where])
        assert dashboard.view.panels["first"].colours == dashboard.view.panels["second"].colours
    first, second = comparison.spectra(-1 * u.deg, 2 * u.deg)
    spectra = dashboard.view.panels["spectra"].series
    np.testing.assert_allclose(spectra[1].y, second.rate)
    assert spectra[0].name == f"true, γ = {first.index:.2f}"
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
    with pytest.raises(BgnbError, match="no group 8 in common; they share 3"):
        dashboard.group_id = 8


# Runs


def test_runs_are_kept_for_the_reasons_that_make_models(runs):
    folder, catalog = runs
    dashboard = explore_runs(folder / "in", "GADF", catalog=catalog)
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
    assert "left out: 2 near a known source" in dashboard.view.summary
    # The same from the directory of models, which has the runs used only.
    of_models = explore_runs(folder / "models", catalog=catalog)
    assert [int(obs_id) for obs_id in of_models.view.panels["sky"].series[3].details["OBS_ID"]] == sorted(used)
    assert "left out: 2 near a known source" in of_models.view.summary


def test_circles_lie_at_the_distance_that_excludes(runs):
    folder, catalog = runs
    dashboard = explore_runs(folder / "in", "GADF", catalog=catalog, exclusion_radius="2 deg")
    outline = dashboard.view.panels["sky"].series[0]
    x, y = (values.reshape(2, -1)[:, :-1] for values in (outline.x, outline.y))
    centres = SkyCoord(catalog["RA"], catalog["DEC"], unit="deg")[:, None]
    good = np.isfinite(y)
    distance = centres.separation(SkyCoord(x, np.where(good, y, 0), unit="deg")).deg
    np.testing.assert_allclose(distance[0][good[0]], 2, rtol=1e-6)
    np.testing.assert_allclose(distance[1][good[1]], 3, rtol=1e-6)


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
    with pytest.raises(BgnbError, match="of a directory of runs, name the scheme"):
        explore_runs(folder / "in")
    dashboard = explore_runs(folder / "in", "GADF", select="all")
    dashboard._runs.table.remove_column("MUONEFF")
    dashboard.group_id = 26
    assert dashboard.view.panels["muoneff"].title == "The run table has no MUONEFF"
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
