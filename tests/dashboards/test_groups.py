"""Several groups in the dashboard of models."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from astropy import units as u

import bgnb
from bgnb import write_groups, write_model
from bgnb.dashboards import compare_models, explore_models
from bgnb.plots.colours import LINES
from bgnb.plots.html_page import to_html
from bgnb.plots.pointing_map import to_plane
from bgnb.plots.static import to_svg
from tests.dashboards.acting import assert_same_as_fresh, press, shared, tap
from tests.helpers.errors import raises
from tests.helpers.models import asymmetric_model

GROUPS = bgnb.ObservationGroups()


def answer(dashboard, **action):
    """Send an action from the page, whose errors are shown."""
    dashboard._figures._answer(dashboard._figures, {"add": False} | action, [])


def middle(group_id):
    """Return the position of the middle of a group in the map."""
    row = GROUPS.table[group_id]
    x, y = to_plane((row["ALT_MIN"] + row["ALT_MAX"]) / 2, (row["AZ_MIN"] + row["AZ_MAX"]) / 2)
    return float(x), float(y)


def mean_plane(model, first, last):
    """Average rate and error of a model over energies, and return its solid angles."""
    widths = np.diff(model.axes.energy.value)[first:last]
    cubes = model.rate.quantity.value, model.error.quantity.value
    return [np.average(cube[first:last], axis=0, weights=widths) for cube in cubes]


@pytest.fixture(scope="module")
def modelled(runs):
    """Directory of spline models of many groups, the models, and the entries of the report."""
    folder = runs[0] / "models"
    rows = {row["group_id"]: row for row in json.loads((folder / "report.json").read_text())["groups"]}
    return folder, {group_id: bgnb.read_group_model(folder, group_id) for group_id in rows}, rows


def test_graphs_of_all_groups(modelled):
    """Spectra, profiles and strips of every other group are those of its model."""
    folder, models, _ = modelled
    assert len(models) > 6
    chosen, first, last = list(models)[2], 1, 3
    energy = models[chosen].axes.energy.value
    dashboard = shared(
        explore_models, folder, group_id=chosen, others="all", energy=(energy[1] * 1.1, energy[2] * 1.1), position=(1.6, -3)
    )
    assert dashboard.others == tuple(models)
    panels = dashboard.view.panels
    others = [group_id for group_id in models if group_id != chosen]
    names = [f"group {group_id}" for group_id in others]
    main, *curves = panels["spectrum"].curves
    np.testing.assert_allclose(main.y, bgnb.spectrum(models[chosen], 1.6 * u.deg, -3 * u.deg).rate)
    measured, extrapolated = curves[::2], curves[1::2]
    assert main.name == ""
    assert [curve.name for curve in measured] == names
    assert {(curve.name, curve.dash) for curve in extrapolated} == {("", "dotted")}
    assert [curve.name for curve in panels["profile"].curves] == names
    assert [curve.name for curve in panels["strips"].curves] == [name for name in names for _ in range(2)]
    assert len({curve.colour for curve in measured}) == 1  # many groups cannot be told apart
    assert LINES[0] not in {curve.colour for curve in measured}
    for number, group_id in enumerate(others):
        model = models[group_id]
        line = bgnb.spectrum(model, 1.6 * u.deg, -3 * u.deg)
        np.testing.assert_allclose(measured[number].x, model.axes.energy_centers.value)
        np.testing.assert_allclose(measured[number].y, np.where(model.extrapolated, np.nan, line.rate))
        dotted = np.isfinite(extrapolated[number].y)
        np.testing.assert_allclose(extrapolated[number].y[dotted], line.rate[dotted])
        assert dotted[model.extrapolated].all()  # and the neighbours, so that the lines meet
        assert dotted.any() == model.extrapolated.any()
        (plane, _), solid = mean_plane(model, first, last), model.axes.solid_angle.value
        x, y = model.axes.detx_centers.value, model.axes.dety_centers.value
        ring = np.floor(np.hypot(x, y[:, None]) / 0.5).astype(int)
        expected = np.full(ring.max() + 1, np.nan)
        for each in np.unique(ring):
            expected[each] = np.average(plane[ring == each], weights=solid[ring == each])
        np.testing.assert_allclose(panels["profile"].curves[number].x, 0.5 * np.arange(len(expected)) + 0.25)
        np.testing.assert_allclose(panels["profile"].curves[number].y, expected)
        iy, ix = int(np.argmin(np.abs(y + 3))), int(np.argmin(np.abs(x - 1.6)))
        along_x, along_y = panels["strips"].curves[2 * number : 2 * number + 2]
        np.testing.assert_allclose(along_x.x, x)
        np.testing.assert_allclose(along_x.y, plane[iy])
        np.testing.assert_allclose(along_y.x, y)
        np.testing.assert_allclose(along_y.y, plane[:, ix])
        assert (along_x.dash, along_y.dash) == ("solid", "dashed")
        assert measured[number].colour == along_x.colour == along_y.colour == panels["profile"].curves[number].colour
    line = bgnb.spectrum(models[chosen], 1.6 * u.deg, -3 * u.deg)
    assert panels["spectrum"].series[1].name == f"group {chosen}"
    assert f"γ = {line.index:.2f}" in dashboard.view.summary
    assert ", ".join(map(str, others)) in dashboard.view.summary
    # A few groups have different colours, also different from that of the chosen one.
    dashboard.others = others[:4]
    colours = [curve.colour for curve in dashboard.view.panels["profile"].curves]
    assert len({*colours, dashboard.view.panels["profile"].series[1].colour}) == 5
    # Without others there are none of these curves.
    dashboard.others = ()
    assert [len(dashboard.view.panels[name].curves) for name in ("spectrum", "profile", "strips")] == [1, 0, 0]
    assert_same_as_fresh(dashboard, explore_models(folder, **vars(dashboard.state)))


@pytest.mark.parametrize("region", ["", "box(1.2, -2.4, 2.2, 1.9)"])
def test_rate_against_zenith_angle(modelled, region):
    """Points are the mean rates of the groups at their zenith angles, and the curve is the spline at this azimuth."""
    folder, models, rows = modelled
    chosen, first, last = list(models)[4], 1, 3
    axes = models[chosen].axes
    energy = axes.energy.value
    dashboard = shared(
        explore_models,
        folder,
        group_id=chosen,
        others="all",
        energy=(energy[1] * 1.1, energy[2] * 1.1),
        position=(1.6, -3),
        region=region,
    )
    x, y = axes.detx.value, axes.dety.value
    if region:
        wide = np.clip(np.minimum(x[1:], 2.3) - np.maximum(x[:-1], 0.1), 0, None) / np.diff(x)
        high = np.clip(np.minimum(y[1:], -1.45) - np.maximum(y[:-1], -3.35), 0, None) / np.diff(y)
        weights = high[:, None] * wide * axes.solid_angle.value
        assert np.count_nonzero(weights) > 2
    else:
        weights = np.zeros(axes.shape[1:])
        weights[np.searchsorted(y, -3) - 1, np.searchsorted(x, 1.6) - 1] = 1
    weights /= weights.sum()
    graph = dashboard.view.panels["zenith"]
    points = {}
    for series in graph.series:
        for group_id, *values in zip(
            map(int, series.details["group"]), series.x, series.y, series.low, series.high, strict=True
        ):
            points[group_id] = values
    assert [len(series.x) for series in graph.series] == [1, len(models) - 1]
    assert list(points) == [chosen, *(group_id for group_id in models if group_id != chosen)]
    for group_id, (zenith, rate, low, high) in points.items():
        assert zenith == pytest.approx(90 - rows[group_id]["alt_mean_deg"])
        mean, error = ((plane * weights).sum() for plane in mean_plane(models[group_id], first, last))
        assert (rate, high - rate, rate - low) == pytest.approx((mean, error, error))
        assert graph.x_range[0] < zenith < graph.x_range[1]
        assert graph.y_range[0] <= rate < graph.y_range[1]
    curve, opposite = graph.curves
    highest = max(curve.y.max(), opposite.y.max(), *(high for *_, high in points.values()))
    assert highest < graph.y_range[0] + 0.85 * np.ptp(graph.y_range)  # below the legend
    azimuth = rows[chosen]["az_mean_deg"]
    assert curve.name == f"spline, azimuth {azimuth % 360:.0f}°"
    assert opposite.name == f"spline, azimuth {(azimuth + 180) % 360:.0f}°"
    spline = bgnb.read_spline(folder / "bg_spline.fits.gz")
    assert (90 - curve.x[0], 90 - curve.x[-1]) == pytest.approx(spline.altitude_range[::-1])
    widths = np.diff(energy)[first:last]
    for line, at in ((curve, azimuth), (opposite, azimuth + 180)):
        for zenith, rate in zip(line.x, line.y, strict=True):
            cube = spline.rate_at(90 - zenith, at).quantity.value[first:last]
            assert rate == pytest.approx((np.average(cube, axis=0, weights=widths) * weights).sum(), rel=1e-5)
    # The models of the groups are parts of the spline.
    assert np.interp(points[chosen][0], curve.x, curve.y) == pytest.approx(points[chosen][1], rel=0.02)


def test_curve_is_grey_where_no_run_measured(modelled, tmp_path):
    """At zenith angles beyond those of the groups that measured an energy, the curve of the spline is extrapolated."""
    folder, models, rows = modelled
    shutil.copytree(folder, tmp_path / "models")
    report = json.loads((folder / "report.json").read_text())
    edges = next(iter(models.values())).axes.energy.value
    steep = [group_id for group_id, row in rows.items() if row["alt_mean_deg"] > 60]
    for run in report["runs"]:  # as if thresholds grew with the zenith angle
        run["energy_threshold_tev"] = edges[1] if run["group_id"] in steep else edges[2] * 1.1
    (tmp_path / "models" / "report.json").write_text(json.dumps(report))
    for energy, n_curves in ((edges[1] * 1.1, 4), (edges[3] * 1.1, 2)):
        graph = explore_models(tmp_path / "models", group_id=steep[0], energy=energy).view.panels["zenith"]
        assert len(graph.curves) == n_curves
        measured, grey = graph.curves[0], graph.curves[2:3]
        limit = 90 - min(rows[group_id]["alt_min_deg"] for group_id in steep) if n_curves == 4 else 90
        step = np.diff(measured.x[:2])[0]
        np.testing.assert_array_equal(np.isfinite(measured.y), measured.x < limit + step / 2)
        assert np.count_nonzero(np.isfinite(measured.y)) > 3
        for curve in grey:
            assert (curve.name, curve.legend) == (f"{measured.name}, extrapolated", "extrapolated")
            np.testing.assert_array_equal(np.isfinite(curve.y), curve.x >= measured.x[np.isfinite(measured.y)].max())
            assert np.count_nonzero(np.isfinite(curve.y)) > 3


def test_no_spline_no_curve(modeldir):
    """Without a spline, or a report with the pointings, there is neither a curve nor a zenith angle."""
    graph = shared(explore_models, modeldir, group_id=3, others="all").view.panels["zenith"]
    assert graph.curves == ()
    assert np.isnan(np.concatenate([series.x for series in graph.series])).all()


def test_taps_in_map_choose_groups(modelled):
    """A tap in the map shows a group; with Shift it adds the group to the graphs, or removes it."""
    folder, models, _ = modelled
    one, two, three, *_ = models
    dashboard = shared(explore_models, folder, group_id=one)
    tap(dashboard, "groups", *middle(two))
    assert (dashboard.group_id, dashboard.others) == (two, ())
    tap(dashboard, "groups", *middle(one), add=True)
    tap(dashboard, "groups", *middle(three), add=True)
    assert (dashboard.group_id, dashboard.others) == (two, (one, three))
    marked = [int(each.details["group"]) for each in dashboard.view.panels["groups"].polygons if each.marked]
    assert marked == [two]
    tap(dashboard, "groups", *middle(one), add=True)
    tap(dashboard, "groups", *middle(two), add=True)  # the shown group itself, which changes nothing
    assert (dashboard.group_id, dashboard.others) == (two, (three,))
    assert_same_as_fresh(dashboard, explore_models(folder, group_id=two, others=(three,)))


def test_tap_on_group_without_model(modelled):
    """A tap on a group without a model, or outside the sky, shows an error and changes nothing."""
    folder, models, _ = modelled
    without = next(group_id for group_id in range(len(GROUPS)) if group_id not in models)
    dashboard = shared(explore_models, folder)
    before = dashboard.state
    for position in (middle(without), (80.0, 80.0)):
        with raises("not-found", "no model"):
            tap(dashboard, "groups", *position)
        for add in (False, True):
            dashboard._message.value = ""
            answer(dashboard, kind="tap", panel="groups", x=position[0], y=position[1], add=add)
            assert 'role="alert"' in dashboard._message.value
            assert "no model" in dashboard._message.value
            assert dashboard.state == before


def test_merged_group_shows_its_model(tmp_path):
    """A tap on a group that was merged with others shows the model of all of them."""
    for group_id in (3, 8):
        write_model(asymmetric_model(), tmp_path / f"bg_cube_model_group{group_id}_table.fits")
    write_groups(GROUPS, tmp_path / "bg_observation_groups.ecsv", {3: 3, 5: 3, 8: 8})
    dashboard = explore_models(tmp_path, group_id=8)
    tap(dashboard, "groups", *middle(5))
    assert dashboard.group_id == 3
    marked = [each.details["group"].split(",")[0] for each in dashboard.view.panels["groups"].polygons if each.marked]
    assert marked == ["3", "5"]


def test_map_shows_chosen_quantity(modelled):
    """The map shows livetime, counts or mean rate of the groups with models."""
    folder, _, rows = modelled
    dashboard = shared(explore_models, folder)
    for quantity, unit, value in (
        ("livetime", "h", lambda row: row["livetime_s"] / 3600),
        ("counts", "", lambda row: row["counts"]),
        ("mean rate", "s⁻¹", lambda row: row["counts"] / row["livetime_s"]),
    ):
        dashboard._controls["colour_by"].widget.value = quantity
        graph = dashboard.view.panels["groups"]
        assert graph.unit == unit
        shown = {int(each.details["group"]): each.value for each in graph.polygons if np.isfinite(each.value)}
        assert shown == pytest.approx({group_id: value(row) for group_id, row in rows.items()})
        described = f"{quantity.capitalize()} of the groups{f', {unit}' if unit else ''}"
        assert f"value is {described}\n" in dashboard.view.to_csv()


def test_controls_of_other_groups(modelled):
    """The text box and the buttons choose the other groups; the box shows them."""
    folder, models, _ = modelled
    dashboard = shared(explore_models, folder)
    box = dashboard._controls["others"].widget
    one, two, *_ = models
    for text, others in ((f"{two}, {one} {two}", (one, two)), ("All", tuple(models)), ("", ()), (str(two), (two,))):
        box.value = text
        shown = [group_id for group_id in others if group_id != dashboard.group_id]
        assert (dashboard.others, box.value) == (others, " ".join(map(str, shown)))
    press(dashboard, "all groups")
    assert dashboard.others == tuple(models)
    press(dashboard, "only one group")
    assert dashboard.others == ()
    # The shown group is among the others, so that it stays in the graphs if another one is chosen.
    dashboard.update(group_id=one, others=(one, two))
    dashboard.group_id = two
    assert [curve.name for curve in dashboard.view.panels["profile"].curves] == [f"group {one}"]


@pytest.mark.parametrize("kind", ["models", "comparison"])
def test_many_groups_share_legend_entry(modelled, kind):
    """More groups than there are colours have one entry in the legends of live, static and HTML figures; few have their own."""
    folder, models, _ = modelled
    dashboard = (
        shared(explore_models, folder) if kind == "models" else shared(compare_models, folder, folder, labels=("a", "b"))
    )
    panels = ["spectrum", "profile", "strips"] if kind == "models" else ["ratios"]
    further = [group_id for group_id in models if group_id != dashboard.group_id]
    for others, names in ((further[:2], [f"group {group_id}" for group_id in further[:2]]), (further, ["other groups"])):
        dashboard.others = others
        view = replace(dashboard.view, panels={name: dashboard.view.panels[name] for name in panels})
        for name in panels:
            items = dashboard._plots._plots[name]._names
            assert [item.label.value for item in items if item.visible] == names, name
            shown = {curve.name for curve in view.panels[name].curves} - {""}
            assert shown == {f"group {group_id}" for group_id in others}  # for hover information and tables
        svg, page = to_svg(view), to_html({("", ""): view})
        for name in names:
            assert svg.decode().count(f">{name}</text>") == len(panels)
            assert f'"{name}"' in page


def test_default_group_without_report(modelled, tmp_path):
    """The default group has most counts, also if there is no report."""
    folder, models, rows = modelled
    largest = max(rows, key=lambda group_id: rows[group_id]["counts"])
    assert largest != min(models)
    for path in folder.iterdir():
        if path.name != "report.json":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    for first, second in ((folder, folder), (folder, tmp_path), (tmp_path, tmp_path)):
        assert explore_models(second).group_id == largest
        assert compare_models(first, second, labels=("a", "b")).group_id == largest
