"""Dashboard of runs."""

import csv
import gzip
import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import MaskedColumn, Table

import bgnb
from bgnb.dashboards import explore_runs
from bgnb.dashboards.run_dashboard import RunDashboard
from bgnb.plots.pointing_map import to_plane, to_sky
from bgnb.plots.run_views import coordinates
from bgnb.plots.sky_map import to_map
from tests.dashboards.acting import curve, drag, obs_ids, shared, tap
from tests.helpers.errors import raises
from tests.helpers.run_files import run, write_gadf
from tests.helpers.sky_map import to_radec


@pytest.mark.slow
def test_selection_agrees_with_report(runs):
    """The dashboard keeps and skips the same runs as `make_bg_cube_models`, for the same reasons."""
    folder, catalog = runs
    dashboard = explore_runs(folder / "in", "GADF", catalog=catalog, exclusion_radius="2.6 deg")
    report = json.loads((folder / "models" / "report.json").read_text())
    used = {run["obs_id"]: run["group_id"] for run in report["runs"] if run["status"] == "used"}
    kept = dashboard.view.panels["sky"].series[2]
    assert obs_ids(kept) == sorted(used)
    for group_id in set(used.values()):
        dashboard.group_id = group_id
        assert dashboard.selected == tuple(sorted(obs_id for obs_id, group in used.items() if group == group_id))
    skipped = dashboard.view.panels["groups"].series[0].details
    assert skipped["status"][0].startswith("skipped: near a known source: <b>one</b>, 1.00 deg")
    assert "12 runs in" in dashboard.view.summary
    table, centre = bgnb.open_runs(folder / "in", "GADF").table, dashboard._runs.centre
    for column, shown in zip(("RA_PNT", "DEC_PNT"), to_radec(kept.x, kept.y, centre), strict=True):
        np.testing.assert_allclose(shown, table[column][np.isin(table["OBS_ID"], sorted(used))])
    dashboard.selected = sorted(used)
    hours = sum(run["livetime_s"] for run in report["runs"] if run["status"] == "used") / 3600
    assert f"Selected: {len(used)} runs, {hours:.2f} h, {len(used)} of them kept." in dashboard.view.summary
    assert "skipped: 2 near a known source" in dashboard.view.summary
    # The directory of models has the kept runs, and the reasons of the others in its report.
    of_models = explore_runs(folder / "models", catalog=catalog)
    assert obs_ids(of_models.view.panels["sky"].series[2]) == sorted(used)
    assert of_models._runs.selection.skipped == dashboard._runs.selection.skipped
    assert "skipped: 2 near a known source" in of_models.view.summary


@pytest.mark.parametrize("where", ["in", "models"])
def test_circles_have_exclusion_radius(runs, where):
    """Circles lie at the exclusion radius plus twice the extension from the sources."""
    folder, catalog = runs
    given = {"scheme": "GADF", "exclusion_radius": "2.6 deg"} if where == "in" else {}
    dashboard = explore_runs(folder / where, catalog=catalog, **given)
    outline, centres = curve(dashboard, "excluded"), SkyCoord(catalog["RA"], catalog["DEC"], unit="deg")[:, None]
    assert dashboard.view.panels["sky"].series[0].name == "sources"
    ra, dec = to_radec(outline.x, outline.y, dashboard._runs.centre)
    good = np.isfinite(ra)
    distance = centres.separation(SkyCoord(ra[good], dec[good], unit="deg")).deg
    of_first = np.arange(len(good))[good] < len(good) / 2
    assert of_first.sum() > 40
    np.testing.assert_allclose(distance[0][of_first], 2.6, rtol=2e-3)
    np.testing.assert_allclose(distance[1][~of_first], 3.6, rtol=2e-3)


@pytest.mark.slow
def test_circles_depend_on_selection(runs, tmp_path):
    """Circles are drawn only if runs near sources of the same catalogue were dropped."""
    folder, catalog = runs
    some = bgnb.open_runs(folder / "in", "GADF").obs_ids[3:8]

    def make(**choices):
        style = {"method": "unsmoothed", "n_energy": 1, "n_fov": 2, "overwrite": True}
        bgnb.make_bg_cube_models(folder / "in", "GADF", tmp_path / "models", **style, **choices)

    def has_circles(shown=None):
        return curve(explore_runs(tmp_path / "models", catalog=shown), "excluded") is not None

    # Circles belong to the catalogue of the selection.
    files = tmp_path / "one.ecsv", tmp_path / "other.ecsv"
    for path in files:
        catalog.write(path)
    make()
    assert has_circles()
    assert not has_circles(catalog)
    assert not has_circles(files[0])
    make(catalog=catalog)
    assert has_circles(catalog)
    assert not has_circles()
    make(catalog=tmp_path / "." / "one.ecsv")
    assert has_circles(str(files[0]))
    assert not has_circles(files[1])
    assert not has_circles(catalog)
    make(select=some)
    assert explore_runs(tmp_path / "models")._runs.obs_ids.tolist() == some
    assert not has_circles()
    for without in ({"select": "all"}, {"sources": "mask"}):  # masked events drop no runs
        make(**without)
        assert not has_circles()


@pytest.mark.slow
def test_runs_of_merged_groups(runs, tmp_path):
    """Runs belong to each group to which they contribute, merged or not, with their share of the livetime, as in the report."""
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
    fractions = {entry.obs_id: entry.group_fractions for entry in report.runs}
    shared = False
    for group in report.groups:
        dashboard.group_id, n_runs = group.group_id, group.n_runs
        parts = {
            obs_id: {model_ids[int(name)] for name in fractions[obs_id]} or {group_id} for obs_id, group_id in group_ids.items()
        }
        assert dashboard.selected == tuple(obs_id for obs_id in own if group.group_id in parts[obs_id])
        assert len(dashboard.selected) == n_runs
        shared |= (part := any(len(parts[obs_id]) > 1 for obs_id in dashboard.selected))
        hours = f"{group.livetime_s / 3600:.2f} h{' in this group' * part}, {n_runs} of them kept"
        assert f"Selected: {n_runs} runs of group {group.group_id}, {hours}" in dashboard.view.summary
        areas = dashboard.view.panels["groups"].polygons
        np.testing.assert_allclose([area.value for area in areas if area.marked], group.livetime_s / 3600, rtol=1e-4)
        assert dashboard._controls["group_id"].widget.label == f"{group.group_id}: {n_runs} runs"
    assert shared
    details = dashboard.view.panels["sky"].series[2].details
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
    tap(dashboard, "groups", *map(float, to_plane(cell["ALT_MIN"] + 0.1, cell["AZ_MIN"] + 0.1)))  # no run is near
    assert dashboard.group_id == group_ids[moved[0]]


def test_arguments_of_another_kind(runs):
    """Selections and edges that are no lists of numbers are errors that name the argument."""
    for wrong in (None, 20339, 1.5, [[1]], [None, -1], np.array(1)):
        with raises("invalid-argument", "select", "OBS_ID", wrong):
            explore_runs(runs[0] / "in", "GADF", select=wrong)
    for name in ("alt_edges", "az_edges"):
        for wrong in ("", "all", b"x", [0, 1] * u.m, [0, 10**400], [[0], [1, 2]]):
            with raises("invalid-value", name, "angles"):
                explore_runs(runs[0] / "in", "GADF", **{name: wrong})


def test_runs_lie_in_their_groups(runs):
    """Runs are drawn inside their groups; invalid selections raise errors."""
    dashboard = shared(explore_runs, runs[0] / "in", "GADF", select="all")
    altitude, shown_azimuth = to_sky(*coordinates(dashboard._runs, "groups", dashboard.state))
    azimuth = np.asarray(dashboard._runs.table["AZ_PNT"])
    assert (azimuth > 270).any()
    assert ((azimuth > 90) & (azimuth < 270)).any()
    groups = dashboard._runs.groups.table
    for alt, az, group_id in zip(altitude, shown_azimuth, dashboard._runs.group_ids, strict=True):
        row = groups[group_id]
        assert row["AZ_MIN"] <= dashboard._runs.groups.wrapped(az) < row["AZ_MAX"]
        assert row["ALT_MIN"] <= alt < row["ALT_MAX"]
    assert curve(dashboard, "excluded") is None
    menu = dashboard._controls["group_id"].widget
    dashboard.group_id = int(dashboard._runs.group_ids[0])
    dashboard.selected = dashboard._runs.obs_ids[:2]
    assert menu.label == "any"
    for wrong in (20339, "1", [[1]], None, [1.0], [1.5], [float("inf")], [True], ["1"]):
        with raises("invalid-argument", "selected", "OBS_ID"):
            dashboard.selected = wrong
    for wrong in (25.0, True, "1", 99):
        with raises("not-found", "group", wrong):
            dashboard.group_id = wrong
    with raises("unknown-choice", "colour_by", "livetime", "'rate'"):
        dashboard.colour_by = "rate"
    text = dashboard.view.to_csv()
    selected = f"OBS_ID: {dashboard.selected[0]}; OBJECT"
    of_run, *_ = (row for row in csv.reader(text.splitlines()) if row[0] == "groups" and selected in row[-1])
    number = dashboard._runs.obs_ids.tolist().index(dashboard.selected[0])
    expected = [values[number] for values in coordinates(dashboard._runs, "groups", dashboard.state)]
    assert [float(value) for value in of_run[2:4]] == pytest.approx(expected, rel=1e-6, abs=1e-6)
    assert of_run[4] == ""  # runs have positions in the map, and no values


@pytest.mark.slow
def test_selection_is_linked(runs):
    """Runs selected in one plot, or as text, are selected in all plots."""
    folder, catalog = runs
    dashboard = explore_runs(folder / "in", "GADF", catalog=catalog)
    table, centre = bgnb.open_runs(folder / "in", "GADF").table, dashboard._runs.centre
    one = table[5]
    tap(dashboard, "groups", *map(float, to_plane(one["ALT_PNT"] - 0.3, one["AZ_PNT"] + 0.5)))
    assert dashboard.selected == (one["OBS_ID"],)
    assert f"Selected: run {one['OBS_ID']}" in dashboard.view.summary
    other = table[7]
    tap(dashboard, "sky", *map(float, to_map(other["RA_PNT"], other["DEC_PNT"], centre)), add=True)
    assert set(dashboard.selected) == {one["OBS_ID"], other["OBS_ID"]}
    assert obs_ids(dashboard.view.panels["values"].series[4]) == list(dashboard.selected)
    tap(dashboard, "sky", *map(float, to_map(one["RA_PNT"], one["DEC_PNT"], centre)), add=True)
    assert dashboard.selected == (other["OBS_ID"],)
    dashboard.y = "livetime"
    for panel, value in (
        ("histogram", other["LIVETIME"] / 60),
        ("zenith", 90 - other["ALT_PNT"]),
        ("muoneff", other["MUONEFF"]),
    ):
        selected = dashboard.view.panels[panel].series[1]
        (where,) = np.flatnonzero(selected.y)
        assert selected.edges[where] <= value <= selected.edges[where + 1]
    low, high = 10.0, 35.0
    dashboard.act({"kind": "select", "panel": "zenith", "x": [high, low], "y": [0, 1]})
    zenith = 90 - np.asarray(table["ALT_PNT"])
    kept = np.isin(table["OBS_ID"], obs_ids(dashboard.view.panels["sky"].series[2]))
    assert dashboard.selected == tuple(table["OBS_ID"][(zenith > low) & (zenith < high) & kept])
    assert dashboard.selected
    tap(dashboard, "sky", *map(float, to_map(centre + 179.9, -89.0, centre)))
    assert dashboard.selected == ()
    tap(dashboard, "groups", *map(float, to_plane(10.0, 0.0)))  # the centre of group 0
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
def test_skipped_run_cannot_be_selected(runs):
    """The message on a run that is not shown states why it was skipped; only other runs do not exist."""
    folder, catalog = runs
    dashboard = explore_runs(folder / "models", catalog=catalog)
    skipped = next(iter(set(dashboard._runs.selection.skipped) - set(dashboard._runs.obs_ids.tolist())))
    with raises("not-found", skipped, "skipped", dashboard._runs.selection.skipped[skipped]):
        dashboard.selected = [skipped]
    with raises("not-found", 987654, "exist"):
        dashboard.selected = [987654]
    assert dashboard.selected == ()


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
    (tmp_path / "early").mkdir()
    (tmp_path / "epochs.ecsv").touch()
    with raises("not-a-model", tmp_path, "for each epoch", "early"):
        explore_runs(tmp_path)
    dashboard = shared(explore_runs, folder / "in", "GADF", select="all")
    elsewhere = dashboard._runs.obs_ids[dashboard._runs.group_ids != 26][0]
    with raises("conflicting-arguments", "selected", "group_id"):
        dashboard.update(selected=[elsewhere], group_id=26)
    table = bgnb.open_runs(folder / "in", "GADF").table
    table.remove_columns(["MUONEFF", "EVENT_COUNT", "TSTART"])
    few = RunDashboard(replace(dashboard._runs, table=table), [], {})
    few.group_id = 26
    assert not few.update()
    assert few.view.panels["muoneff"].title == "The muon efficiency of these runs is not known"
    assert few.view.panels["muoneff"].series[0].y.sum() == 0
    assert (few.y, few.x, few.colour_by) == ("livetime", "zenith angle", "livetime")
    assert list(few._controls["y"].widget.options) == ["livetime", "live fraction"]
    for name, value in (("y", "event rate"), ("x", "time"), ("colour_by", "counts"), ("y", "norm")):
        with raises("unknown-choice", name, value):
            few.update(**{name: value})


@pytest.mark.parametrize("values", ["x", (1.0, 2.0), None], ids=["text", "pairs", "masked OBS_ID"])
def test_damaged_table_of_runs(runs, tmp_path, values):
    """A table of the runs of models whose columns are not numbers is damaged."""
    shutil.copytree(runs[0] / "models", tmp_path / "models")
    path = tmp_path / "models" / "bg_observation_table_grouped.fits.gz"
    table = Table.read(path)
    if values is None:
        table["OBS_ID"] = MaskedColumn(table["OBS_ID"], mask=np.arange(len(table)) == 1, fill_value=-1)
    else:
        table["EVENT_COUNT"] = [values] * len(table)
    table.write(path, overwrite=True)
    with raises("not-a-model", path.name, "damaged"):
        explore_runs(tmp_path / "models")


def test_damaged_header_of_runs(runs, tmp_path):
    """A format of a column that FITS does not have, for which Astropy raises an error of its own, is damage."""
    shutil.copytree(runs[0] / "models", tmp_path / "models")
    path = tmp_path / "models" / "bg_observation_table_grouped.fits.gz"
    content, stated = gzip.decompress(path.read_bytes()), b"TFORM2  = '"
    start = content.index(stated) + len(stated)
    path.write_bytes(gzip.compress(content[:start] + b"?" + content[start + 1 :]))
    with raises("not-a-model", path.name, "damaged"):
        explore_runs(tmp_path / "models")


def test_fields_of_any_kind(runs):
    """Names ignore case, GROUP_IDs may be NumPy integers, and values of other kinds are refused; the state stays valid."""
    dashboard = shared(explore_runs, runs[0] / "in", "GADF", select="all", y="Livetime", x="obs_id")
    assert (dashboard.y, dashboard.x) == ("livetime", "OBS_ID")
    dashboard.update(y="EVENT rate", colour_by="Counts")
    assert (dashboard.y, dashboard.colour_by) == ("event rate", "counts")
    group_id = int(dashboard._runs.group_ids[0])
    dashboard.group_id = np.int64(group_id)
    assert type(dashboard.group_id) is int
    assert json.loads(dashboard.json)["state"]["group_id"] == group_id
    assert f"group_id = {group_id}\n" in dashboard.python
    state = dashboard.state
    for name in ("y", "x", "colour_by"):
        for wrong in (["livetime"], np.array(["livetime", "OBS_ID"]), 3, None):
            with raises("unknown-choice", name):
                dashboard.update(**{name: wrong})
    for wrong in (np.array([group_id, group_id]), [group_id], {}):
        with raises("not-found", "group"):
            dashboard.settle(replace(state, group_id=wrong, selected=()))
    assert dashboard.state is state


def test_empty_group_is_left(runs):
    """A group without runs is left by a tap or a drag outside, or by selecting no runs, like other groups."""
    dashboard = shared(explore_runs, runs[0] / "in", "GADF", select="all")
    centre = dashboard._runs.centre
    outside = tuple(map(float, to_map(centre + 179.9, -89.0, centre)))
    assert dashboard._runs.members(0) == ()
    for group_id in (0, int(dashboard._runs.group_ids[0])):
        for leave in (
            lambda: tap(dashboard, "sky", *outside),
            lambda: drag(dashboard, "sky", (outside[0], outside[0] + 0.1), (outside[1], outside[1] + 0.1)),
            lambda: setattr(dashboard, "selected", ()),
        ):
            dashboard.group_id = group_id
            assert dashboard.group_id == group_id
            leave()
            assert (dashboard.group_id, dashboard.selected) == (None, ())
            assert dashboard._controls["group_id"].widget.label == "any"


def test_time_outside_groups_is_shown(runs):
    """The status of a run that is outside all groups for some time says so."""
    shown = shared(explore_runs, runs[0] / "in", "GADF", select="all")._runs
    first, second = shown.obs_ids[:2].tolist()
    status = replace(shown, group_fractions={first: {"4": 0.246, "outside": 0.754}}).details["status"]
    assert status[0].endswith("(25% in group 4, 75% outside all groups)")
    assert "%" not in status[shown.obs_ids.tolist().index(second)]


@pytest.mark.slow
def test_selection_is_saved(runs, tmp_path, monkeypatch):
    """The saved list of runs selects the same runs; an empty one is an error."""
    monkeypatch.chdir(tmp_path)
    folder, _ = runs
    dashboard = shared(explore_runs, folder / "in", "GADF", select="all")
    with raises("no-runs", "list.txt"):
        dashboard.save_selection("list.txt")
    dashboard.group_id = int(dashboard._runs.group_ids[2])
    dashboard.save_selection("list.txt")
    again = explore_runs(folder / "in", "GADF", select="list.txt")
    assert again._runs.selection.kept == dashboard.selected
    for name in ("selected_runs.txt", "selected_runs-2.txt"):
        dashboard._controls["save_selection"].widget.click()
        assert (tmp_path / name).read_text() == (tmp_path / "list.txt").read_text()
        assert name in dashboard._message.value
    saved = dashboard.json
    dashboard.selected = ()
    dashboard.restore(saved)
    assert dashboard.group_id == int(dashboard._runs.group_ids[2])


def test_runs_are_read_with_options(tmp_path):
    """Options on reading apply to the runs shown and are in the line of Python; the runs of models were read before."""
    runs = [run(obs_id, 50, pointing=(75.0, 30.0)) | {"pointing": (60.0, 30.0)} for obs_id in (1, 3)]
    write_gadf(tmp_path / "in", runs)
    dashboard = explore_runs(tmp_path / "in", "GADF", select="all", pointing="computed", allow=["bad-quality"])
    np.testing.assert_allclose(dashboard._runs.column("ALT_PNT"), 75.0, atol=0.1)
    assert dashboard.python.endswith("select='all', pointing='computed', allow=['bad-quality'])\nruns")
    with raises("no-effect", "pointing", "give the scheme"):
        explore_runs(tmp_path / "in", pointing="computed")
