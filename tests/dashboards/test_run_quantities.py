"""Dashboard of runs: quantities, runs that stand out, and tests."""

import json
import re
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import bgnb
from bgnb.dashboards import explore_runs
from bgnb.dashboards.run_dashboard import RunDashboard
from bgnb.observations.run_selection import Reason, Selection
from bgnb.plots.run_views import coordinates
from tests.dashboards.acting import assert_same_as_fresh, curve, obs_ids, shared, tap
from tests.helpers.errors import raises


@pytest.fixture(scope="module")
def checks(runs):
    """Check six of the runs, as each takes a second."""
    folder, _ = runs
    some = bgnb.open_runs(folder / "in", "GADF").obs_ids[:6]
    return bgnb.check_runs(folder / "in", "GADF", folder / "models", select=some, progress=False)


def test_docstring_names_rule_for_marks():
    """The file named in the docstring states when a run stands out."""
    (name,) = re.findall(r"stand out.*?``(docs/[a-z_/]+\.md)``", explore_runs.__doc__, re.DOTALL)
    assert "**Runs that stand out**" in (Path(bgnb.__file__).parents[1] / name).read_text()


def test_quantities_of_runs(runs):
    """Rates are events over livetime with their Poisson errors; a range of them selects runs."""
    dashboard = shared(explore_runs, runs[0] / "in", "GADF", select="all", y="event rate", x="muon efficiency")
    table = dashboard._runs.table
    graph = dashboard.view.panels["values"]
    assert (graph.x_label, graph.title) == ("muon efficiency", "Event rate against muon efficiency")
    rate, rows = np.asarray(table["EVENT_COUNT"] / table["LIVETIME"]), np.argsort(table["OBS_ID"])
    shown = np.argsort(obs_ids(graph.series[1]))
    assert len(shown) == len(rows)
    np.testing.assert_allclose(graph.series[1].x[shown], table["MUONEFF"][rows])
    np.testing.assert_allclose(graph.series[1].y[shown], rate[rows])
    error = np.sqrt(table["EVENT_COUNT"]) / table["LIVETIME"]
    np.testing.assert_allclose((graph.series[1].high - graph.series[1].y)[shown], error[rows])
    np.testing.assert_allclose(curve(dashboard, "median", "values").y, np.median(rate))
    middle = float(np.median(rate))
    dashboard.act({"kind": "select", "panel": "values", "x": [0.0, 2.0], "y": [0.0, middle]})
    assert set(dashboard.selected) == set(table["OBS_ID"][rate <= middle].tolist())
    tap(dashboard, "values", float(table["MUONEFF"][3]), float(rate[3]))
    dashboard.x = "time"
    start = dashboard._runs.start
    np.testing.assert_allclose(np.diff(start) * 86400, np.diff(table["TSTART"]), atol=1e-3)
    dashboard.colour_by = "counts"
    groups = dashboard.view.panels["groups"]
    counts = {polygon.details["group"]: polygon.value for polygon in groups.polygons if np.isfinite(polygon.value)}
    assert sum(counts.values()) == table["EVENT_COUNT"].sum()
    for group_id, value in counts.items():
        assert value == table["EVENT_COUNT"][dashboard._runs.group_ids == int(group_id)].sum()


def test_rates_of_models(runs):
    """Rates above and below the threshold are those of the report of the models."""
    dashboard = shared(explore_runs, runs[0] / "models", y="rate above threshold", x="OBS_ID")
    report = json.loads((runs[0] / "models" / "report.json").read_text())
    used = {run["obs_id"]: run for run in report["runs"] if run["livetime_s"]}
    graph = dashboard.view.panels["values"]
    points = {
        int(x): (y, high - y)
        for series in graph.series[1:3]
        for x, y, high in zip(series.x, series.y, series.high, strict=True)
    }
    assert points.keys() == used.keys()
    for obs_id, run in used.items():
        events = run["counts"] + run["events_outside_axes"] + run["events_in_mask"]
        assert points[obs_id] == pytest.approx((events / run["livetime_s"], events**0.5 / run["livetime_s"]))
    below = sum(run["events_below_threshold"] for run in used.values())
    assert ("rate below threshold" in dashboard._runs.quantities) == (below > 0)


def test_runs_that_stand_out(runs):
    """A run with a rate far from the others is marked and named."""
    shown = shared(explore_runs, runs[0] / "in", "GADF", select="all")._runs
    table = shown.table.copy()
    table["EVENT_COUNT"][4] = 3 * table["EVENT_COUNT"].max()
    dashboard = RunDashboard(replace(shown, table=table), [], {}, y="event rate")
    obs_id = int(table["OBS_ID"][4])
    graph = dashboard.view.panels["values"]
    assert obs_ids(graph.series[2]) == [obs_id]
    assert obs_id not in obs_ids(graph.series[1])
    assert f"1 run stands out: {obs_id}." in dashboard.view.summary
    rate = np.asarray(table["EVENT_COUNT"] / table["LIVETIME"])
    limits = [each.y[0] for each in graph.curves if each.dash == "dotted"]
    assert (limits[0] < np.sort(rate)[0], np.sort(rate)[-2] < limits[1] < rate[4]) == (True, True)
    percent = 100 * (limits[1] / np.median(rate) - 1)
    assert f"more than about {percent:.2g} % stand out" in dashboard.view.summary
    assert [text for *_, text in graph.texts] == [str(obs_id)]
    assert run_names(dashboard) == {str(obs_id): 4}
    dashboard.y = "muon efficiency"
    assert "no run stands out" in dashboard.view.summary
    assert run_names(dashboard) == {}


def test_huge_numbers_are_unknown(runs, tmp_path):
    """The largest numbers, which some programs write for unknown ones, are not drawn, and pictures can be made."""
    shown = shared(explore_runs, runs[0] / "in", "GADF", select="all")._runs
    table = shown.table.copy()
    for name in ("MUONEFF", "LIVETIME", "EVENT_COUNT"):
        table[name] = table[name].astype(float)
        table[name][4:7] = 1.7e308, -1e308, 3.4028235e38
    dashboard = RunDashboard(replace(shown, table=table), [], {}, y="muon efficiency")
    points = dashboard.view.panels["values"]
    drawn = np.concatenate([curve.y for curve in points.series])
    assert 0 < np.nanmax(np.abs(drawn)) < 2
    assert np.isnan(drawn).sum() == 3
    dashboard.save_png(tmp_path / "runs.png")


def run_names(dashboard):
    """Find the names of runs in the map of the sky, with the number of the nearest run, which is near."""
    x, y = coordinates(dashboard._runs, "sky", dashboard.state)
    names = {}
    for at_x, at_y, text in dashboard.view.panels["sky"].texts:
        if text.isdecimal():
            distance = np.hypot(x - at_x, y - at_y)
            assert distance.min() < 35
            names[text] = int(distance.argmin())
    return names


def test_few_selected_runs_are_named(runs):
    """The map of the sky names selected runs if they are few."""
    dashboard = shared(explore_runs, runs[0] / "in", "GADF", select="all")
    known = dashboard._runs.obs_ids.tolist()
    dashboard.selected = (known[5],)
    assert run_names(dashboard) == {str(known[5]): 5}
    dashboard.selected = known[:9]
    assert run_names(dashboard) == {}


def test_axis_ignores_skipped_runs(runs):
    """The axis of a quantity does not reach for skipped runs, which the summary counts, unless they are selected."""
    shown = shared(explore_runs, runs[0] / "in", "GADF", select="all")._runs
    table, skipped = shown.table.copy(), int(shown.table["OBS_ID"][4])
    table["EVENT_COUNT"][4] = 50 * table["EVENT_COUNT"].max()
    kept = tuple(obs_id for obs_id in shown.selection.kept if obs_id != skipped)
    selection = Selection(kept, {skipped: Reason.from_text("near a known source")})
    dashboard = RunDashboard(replace(shown, table=table, selection=selection), [], {}, y="event rate")
    rate = float(table["EVENT_COUNT"][4] / table["LIVETIME"][4])
    for selected in ((), (skipped,)):
        dashboard.selected = selected
        panels = dashboard.view.panels
        inside = panels["values"].y_range[1] > rate, panels["histogram"].x_range[1] > rate
        assert inside == (bool(selected), bool(selected))
        assert ("does not contain 1 skipped run." in dashboard.view.summary) == (not selected)
        others = np.delete(np.asarray(table["EVENT_COUNT"] / table["LIVETIME"]), 4)
        assert panels["values"].y_range[0] < others.min() < others.max() < panels["values"].y_range[1]


@pytest.mark.slow
def test_checked_runs(runs, checks):
    """With checks, norms are drawn with their errors, alarms are marked, and a tap shows the tests of a run."""
    folder, _ = runs
    first, second, *_ = (run.obs_id for run in checks.runs)
    weak = {name: replace(test, p_value=1.0) for name, test in checks.runs[0].tests.items()}
    alarm = weak | {"field": replace(weak["field"], p_value=0.0)}
    marked = np.zeros_like(checks.runs[1].field.marked)
    marked[3, 4:6] = marked[4, 4] = True
    second_run = replace(checks.runs[1], tests=weak, field=replace(checks.runs[1].field, marked=marked))
    results = [replace(checks.runs[0], tests=alarm), second_run, *(replace(run, tests=weak) for run in checks.runs[2:])]
    checks = replace(checks, runs=tuple(results))
    dashboard = explore_runs(folder / "in", "GADF", select="all", checks=checks, x="OBS_ID")
    assert list(dashboard.view.panels) == ["sky", "groups", "histogram", "values", "field", "time"]
    assert dashboard.y == "norm"
    assert "other runs with the same" not in dashboard.view.summary
    moved = replace(checks, runs=(replace(checks.runs[0], alt_pnt=checks.runs[0].alt_pnt - 20), *checks.runs[1:]))
    with_other_runs = explore_runs(folder / "in", "GADF", select="all", checks=moved)
    assert f"differ by more than 15 deg for run {first}" in with_other_runs.view.summary
    values = dashboard.view.panels["values"]
    norms = {int(x): (y, high) for series in values.series for x, y, high in zip(series.x, series.y, series.high, strict=True)}
    for run in checks.runs:
        assert norms[run.obs_id] == pytest.approx((run.norm.norm, run.norm.norm * (1 + run.norm.norm_error)))
    assert obs_ids(values.series[3]) == [first]
    assert f"1 run: {first} (field" in dashboard.view.summary
    assert re.search(r"Norm: median [\d.]+, scatter", dashboard.view.summary)
    assert f"All {len(checks.runs)} runs" in dashboard.view.panels["field"].title
    maps = np.array([run.field.significance for run in checks.runs])
    np.testing.assert_allclose(
        dashboard.view.panels["field"].values,
        np.nansum(maps, axis=0) / np.sqrt(np.where(known := np.isfinite(maps).sum(axis=0), known, np.nan)),
    )
    tap(dashboard, "values", float(second), norms[second][0])
    assert dashboard.selected == (second,)
    field, time = dashboard.view.panels["field"], dashboard.view.panels["time"]
    assert (str(second) in field.title, str(second) in time.title) == (True, True)
    np.testing.assert_array_equal(field.values, results[1].field.significance)
    (outline,) = field.curves  # of three pixels in the shape of an L, clockwise from the lower left
    places = [np.searchsorted(field.x_edges - 1e-9, values) - 1 for values in (outline.x, outline.y)]
    sides = {frozenset(zip(*(each[i : i + 2].tolist() for each in places), strict=True)) for i in range(0, len(outline.x), 3)}
    corners = [(4, 3), (4, 4), (4, 5), (5, 5), (5, 4), (6, 4), (6, 3), (5, 3), (4, 3)]
    assert sides == {frozenset(pair) for pair in pairwise(corners)}
    np.testing.assert_allclose(time.series[0].y * np.diff(results[1].time.edges)[:, 0], results[1].time.counts)
    dashboard.selected = (first, second)
    combined = (results[0].field.significance + results[1].field.significance) / np.sqrt(2)
    both = np.isfinite(combined)
    np.testing.assert_allclose(dashboard.view.panels["field"].values[both], combined[both])
    assert "2 runs" in dashboard.view.panels["field"].title
    assert f"Run {first}, first of 2" in dashboard.view.panels["time"].title
    assert "checks=checks" in dashboard.python
    with raises("invalid-argument", "checks"):
        explore_runs(folder / "in", "GADF", checks={})
    with raises("not-found", "checks"):
        explore_runs(folder / "in", "GADF", checks=replace(checks, runs=(replace(results[0], obs_id=12345),)))


@pytest.mark.slow
def test_picture_agrees_with_state(runs, checks):
    """After any changes, the dashboard shows the same as a new one in the same state."""
    folder, _ = runs
    rng = np.random.default_rng(8)
    for given in ({}, {"checks": checks}):
        dashboard = explore_runs(folder / "models", **given)
        choices = {name: dashboard._controls[name].widget.options for name in ("y", "x", "colour_by")}
        for _ in range(4):
            for name, options in choices.items():
                setattr(dashboard, name, options[rng.integers(len(options))])
            if rng.random() < 0.5:
                dashboard.group_id = int(rng.choice(dashboard._runs.group_ids))
            else:
                dashboard.selected = rng.choice(dashboard._runs.obs_ids, rng.integers(4))
        fresh = explore_runs(folder / "models", **given)
        fresh.update(**asdict(dashboard.state))
        assert_same_as_fresh(dashboard, fresh)
