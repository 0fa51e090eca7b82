"""Dashboard of runs."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from astropy.coordinates import SkyCoord

import bgnb
from bgnb.dashboards import explore_runs
from tests.dashboards.acting import tap
from tests.helpers.errors import raises


@pytest.mark.slow
def test_selection_agrees_with_report(runs):
    """The dashboard keeps and skips the same runs as `make_bg_cube_models`, for the same reasons."""
    folder, catalog = runs
    dashboard = explore_runs(folder / "in", "GADF", catalog=catalog, exclusion_radius="2.6 deg")
    report = json.loads((folder / "models" / "report.json").read_text())
    used = {run["obs_id"]: run["group_id"] for run in report["runs"] if run["status"] == "used"}
    kept = dashboard.view.panels["sky"].series[3]
    assert [int(obs_id) for obs_id in kept.details["OBS_ID"]] == sorted(used)
    for group_id in set(used.values()):
        dashboard.group_id = group_id
        assert dashboard.selected == tuple(sorted(obs_id for obs_id, group in used.items() if group == group_id))
    skipped = dashboard.view.panels["groups"].series[1].details
    assert skipped["status"][0].startswith("skipped: near a known source: <b>one</b>, 1.00 deg")
    assert "12 runs in" in dashboard.view.summary
    assert dashboard.view.panels["sky"].x_range == (360, 0)  # right ascension increases to the left
    dashboard.selected = sorted(used)
    hours = sum(run["livetime_s"] for run in report["runs"] if run["status"] == "used") / 3600
    assert f"Selected: {len(used)} runs, {hours:.2f} h, {len(used)} of them kept." in dashboard.view.summary
    assert "skipped: 2 near a known source" in dashboard.view.summary
    # The directory of models has the kept runs, and the reasons of the others in its report.
    of_models = explore_runs(folder / "models", catalog=catalog)
    assert [int(obs_id) for obs_id in of_models.view.panels["sky"].series[3].details["OBS_ID"]] == sorted(used)
    assert of_models._runs.selection.left_out == dashboard._runs.selection.left_out
    assert "skipped: 2 near a known source" in of_models.view.summary


@pytest.mark.parametrize("where", ["in", "models"])
def test_circles_have_exclusion_radius(runs, where):
    """Circles lie at the exclusion radius plus twice the extension from the sources."""
    folder, catalog = runs
    given = {"scheme": "GADF", "exclusion_radius": "2.6 deg"} if where == "in" else {}
    dashboard = explore_runs(folder / where, catalog=catalog, **given)
    assert dashboard.view.panels["sky"].series[1].name == "known sources, with exclusion regions"
    outline = dashboard.view.panels["sky"].series[0]
    x, y = (values.reshape(2, -1)[:, :-1] for values in (outline.x, outline.y))
    centres = SkyCoord(catalog["RA"], catalog["DEC"], unit="deg")[:, None]
    good = np.isfinite(y)
    distance = centres.separation(SkyCoord(x, np.where(good, y, 0), unit="deg")).deg
    np.testing.assert_allclose(distance[0][good[0]], 2.6, rtol=1e-6)
    np.testing.assert_allclose(distance[1][good[1]], 3.6, rtol=1e-6)


@pytest.mark.slow
def test_circles_depend_on_selection(runs, tmp_path):
    """Circles are drawn only if runs near sources of the same catalogue were dropped."""
    folder, catalog = runs
    obs_ids = bgnb.open_runs(folder / "in", "GADF").obs_ids[3:8]

    def dashboard(shown=None, **choices):
        bgnb.make_bg_cube_models(folder / "in", "GADF", tmp_path / "models", n_energy=4, n_fov=5, overwrite=True, **choices)
        return explore_runs(tmp_path / "models", catalog=shown)

    def has_circles(dashboard):
        return bool(np.isfinite(dashboard.view.panels["sky"].series[0].y).any())

    assert has_circles(dashboard())
    listed = dashboard(select=obs_ids)
    assert listed._runs.obs_ids.tolist() == obs_ids
    assert not has_circles(listed)
    assert not has_circles(dashboard(select="all"))
    assert not has_circles(dashboard(sources="mask"))  # runs are kept, and events are excluded
    # Circles belong to the catalogue of the selection.
    files = tmp_path / "one.ecsv", tmp_path / "other.ecsv"
    for path in files:
        catalog.write(path)
    assert has_circles(dashboard(shown=catalog, catalog=catalog))
    assert has_circles(dashboard(shown=str(files[0]), catalog=tmp_path / "." / "one.ecsv"))
    for shown, chosen in ((catalog, None), (files[0], None), (None, catalog), (files[1], files[0]), (catalog, files[0])):
        assert not has_circles(dashboard(shown=shown, catalog=chosen))


@pytest.mark.slow
def test_runs_of_merged_groups(runs, tmp_path):
    """Runs of merged groups belong, by their pointing at mid-run, to the group with the model."""
    folder, _ = runs
    report = bgnb.make_bg_cube_models(
        folder / "in", "GADF", tmp_path / "models", select="all", min_livetime="1 h", n_energy=4, n_fov=5
    )
    dashboard = explore_runs(tmp_path / "models")
    table, groups = bgnb.open_runs(folder / "in", "GADF").table, bgnb.ObservationGroups()
    own = dict(zip(table["OBS_ID"].tolist(), groups.group_ids(table["ALT_PNT"], table["AZ_PNT"]).tolist(), strict=True))
    model_ids = {group_id: group.group_id for group in report.groups for group_id in (group.group_id, *group.merged)}
    group_ids = {obs_id: model_ids[group_id] for obs_id, group_id in own.items()}
    moved = [obs_id for obs_id in own if own[obs_id] != group_ids[obs_id]]
    assert moved
    for group in report.groups:
        dashboard.group_id = group.group_id
        assert dashboard.selected == tuple(obs_id for obs_id in own if group_ids[obs_id] == group.group_id)
        n_runs = len(dashboard.selected)
        assert f"Selected: {n_runs} runs of group {group.group_id}" in dashboard.view.summary
        assert dashboard._controls["group_id"].widget.label == f"{group.group_id}: {n_runs} runs"
    details = dashboard.view.panels["sky"].series[3].details
    fractions = {entry.obs_id: entry.group_fractions for entry in report.runs}
    for obs_id, status in zip(map(int, details["OBS_ID"]), details["status"], strict=True):
        merged = f", merged into group {group_ids[obs_id]}" if obs_id in moved else ""
        assert status.partition(" (")[0] == f"kept, group {own[obs_id]}{merged}"
        parts = {name: int(percent) for percent, name in re.findall(r"(\d+)% in group (\d+)", status)}
        assert parts == {name: round(100 * part) for name, part in fractions[obs_id].items()}
    assert 0 < sum(len(parts) > 1 for parts in fractions.values()) < len(fractions)
    notes = [f"Note: {note}" for note in report.as_dict()["notes"]]
    for summary in (dashboard.view.summary, bgnb.dashboards.explore_models(tmp_path / "models").view.summary):
        assert summary.splitlines()[-len(notes) :] == notes
        assert summary.count("Note: ") == len(notes)
    one = own[moved[0]]
    dashboard.group_id = one
    assert dashboard.selected == ()
    assert f"Group {one} has no runs: it was merged into group {group_ids[moved[0]]}." in dashboard.view.summary
    assert dashboard._controls["group_id"].widget.label == f"{one}: merged into {group_ids[moved[0]]}"
    cell = groups.table[one]
    tap(dashboard, "groups", cell["AZ_MIN"] + 0.1, cell["ALT_MIN"] + 0.1)  # no run is near
    assert dashboard.group_id == group_ids[moved[0]]


def test_runs_lie_in_their_groups(runs):
    """Runs are drawn inside their groups; invalid selections raise errors."""
    dashboard = explore_runs(runs[0] / "in", "GADF", select="all")
    x, y = dashboard._runs.coordinates("groups")
    azimuth = np.asarray(dashboard._runs.table["AZ_PNT"])
    assert (azimuth > 270).any()
    assert ((azimuth > 90) & (azimuth < 270)).any()
    groups = dashboard._runs.groups.table
    for position, group_id in zip(zip(x, y, strict=True), dashboard._runs.group_ids, strict=True):
        row = groups[group_id]
        assert row["AZ_MIN"] <= position[0] < row["AZ_MAX"]
        assert row["ALT_MIN"] <= position[1] < row["ALT_MAX"]
    assert dashboard.view.panels["sky"].series[1].name == "known sources"  # nothing is excluded
    assert np.isnan(dashboard.view.panels["sky"].series[0].y).all()
    menu = dashboard._controls["group_id"].widget
    dashboard.group_id = int(dashboard._runs.group_ids[0])
    dashboard.selected = dashboard._runs.obs_ids[:2]
    assert menu.label == "any"
    for wrong in (20339, "1", [[1]], None):
        with raises("invalid-argument", "selected", "OBS_ID"):
            dashboard.selected = wrong
    for wrong in (25.0, True, "1", 99):
        with raises("not-found", "group", wrong):
            dashboard.group_id = wrong
    text = dashboard.view.to_csv()
    assert f"OBS_ID: {dashboard.selected[0]}; OBJECT" in text


@pytest.mark.slow
def test_selection_is_linked(runs):
    """Runs selected in one plot, or as text, are selected in all plots."""
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
    tap(dashboard, "groups", 0.0, 10.0)  # the centre of group 0
    assert dashboard.group_id == 0
    assert "Group 0 has no runs." in dashboard.view.summary
    text = dashboard._controls["selected"].widget
    text.value = f"{one['OBS_ID']}, {other['OBS_ID']}\n"
    assert set(dashboard.selected) == {one["OBS_ID"], other["OBS_ID"]}
    assert dashboard.group_id is None
    text.value = "12 twelve"
    assert "&#x27;twelve&#x27;" in dashboard._message.value
    assert "[invalid-argument]" in dashboard._message.value
    text.value = "999"
    assert "run 999" in dashboard._message.value
    assert "[not-found]" in dashboard._message.value
    assert set(dashboard.selected) == {one["OBS_ID"], other["OBS_ID"]}
    report = bgnb.make_bg_cube_models(
        folder / "in", "GADF", folder / "chosen", select=dashboard.selected, n_energy=4, n_fov=5, overwrite=True
    )
    assert sorted(report.group_ids) == sorted(dashboard.selected)


@pytest.mark.slow
def test_missing_scheme_and_column(runs, tmp_path):
    """A missing scheme is an error; a missing column is mentioned in the plot."""
    folder, _ = runs
    for path, arguments, code, words in (
        (folder / "in", {}, "not-found", []),
        (folder / "models", {"select": "all"}, "no-effect", ["select"]),
        (folder / "models", {"alt_edges": [0, 90]}, "no-effect", ["alt_edges"]),
    ):
        with raises(code, path, "scheme", *words):
            explore_runs(path, **arguments)
    dashboard = explore_runs(folder / "in", "GADF", select="all")
    with raises("conflicting-arguments", "selected", "group_id"):
        dashboard.update(selected=(), group_id=26)
    dashboard._runs.table.remove_column("MUONEFF")
    dashboard.group_id = 26
    assert not dashboard.update()
    assert dashboard.view.panels["muoneff"].title == "The run table has no values of MUONEFF"
    assert dashboard.view.panels["muoneff"].series[0].y.sum() == 0


def test_time_outside_groups_is_shown(runs):
    """The status of a run that is outside all groups for some time says so."""
    shown = explore_runs(runs[0] / "in", "GADF", select="all")._runs
    first, second = shown.obs_ids[:2].tolist()
    status = replace(shown, group_fractions={first: {"4": 0.246, "outside": 0.754}}).details["status"]
    assert status[0].endswith("(25% in group 4, 75% outside all groups)")
    assert "%" not in status[shown.obs_ids.tolist().index(second)]
