"""Files that are replaced, damaged or removed while a dashboard shows them, and put back."""

from __future__ import annotations

import errno
import gc
import json
import os
import shutil
import weakref
from functools import partial
from pathlib import Path

import pytest
from ipywidgets.widgets import widget

import bgnb
from bgnb.dashboards import compare_models, explore_models, explore_runs, explore_validation
from bgnb.files.model_directory import ModelDirectory
from tests.dashboards.acting import assert_controls_show_state, assert_same_as_fresh, press
from tests.helpers.errors import raises


@pytest.fixture
def folder(runs, tmp_path) -> Path:
    """Copy models."""
    return shutil.copytree(runs[0] / "models", tmp_path / "models")


@pytest.fixture(scope="module")
def others(runs, tmp_path_factory) -> Path:
    """Make models of the same runs in other groups and on other axes."""
    outdir = tmp_path_factory.mktemp("others") / "models"
    edges = {"alt_edges": [0, 90], "az_edges": [0, 180]}
    bgnb.make_bg_cube_models(runs[0] / "in", "GADF", outdir, select="all", n_energy=3, n_fov=6, **edges)
    return outdir


def file_of(folder: Path, group_id: int) -> Path:
    return folder / f"bg_cube_model_group{group_id}_table.fits.gz"


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


# What happens to a directory of which two groups are shown one after the other, and the code of the error.
CHANGES = {
    "file removed": (lambda folder, _, group_id: file_of(folder, group_id).unlink(), "not-found"),
    "file truncated": (lambda folder, _, group_id: truncate(file_of(folder, group_id)), "truncated"),
    "directory removed": (lambda folder, *_: shutil.rmtree(folder), "changed"),
    "directory replaced": (lambda folder, others, _: (shutil.rmtree(folder), shutil.copytree(others, folder)), "changed"),
}
# What is shown in the meantime is the same in all dashboards: one damaged file and one replaced directory for comparisons.
OF_KIND = {"models": list(CHANGES), "comparison": ["file truncated", "directory replaced"]}


def put_back(folder: Path, original: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(original, folder, copy_function=shutil.copyfile)  # the times of the files are new


def shown_error(dashboard) -> str:
    """Return the message below the bar."""
    return dashboard._message.value


def open_dashboard(kind: str, folder: Path, runs) -> object:
    first, second = ModelDirectory(folder).group_ids[:2]
    assert first != second
    if kind == "models":
        return explore_models(folder, group_id=first)
    return compare_models(runs[0] / "models", folder, group_id=first)


@pytest.mark.parametrize("kind", ["models", "comparison"])
def test_other_group(runs, folder, others, kind):
    """The error of a group that cannot be read is shown, and the controls go back; when it can be read again, it is shown."""
    dashboard, (first, second, *_) = open_dashboard(kind, folder, runs), ModelDirectory(folder).group_ids
    menu, state = dashboard._controls["group_id"].widget, dashboard.state
    fresh = open_dashboard(kind, folder, runs)
    fresh.group_id = second
    for function, code in (CHANGES[name] for name in OF_KIND[kind]):
        function(folder, others, second)
        menu.value = second
        assert f"[{code}]" in shown_error(dashboard)
        assert str(folder) in shown_error(dashboard)
        assert dashboard.state == state
        assert_controls_show_state(dashboard)
        put_back(folder, runs[0] / "models")
        menu.value = second
        assert shown_error(dashboard) == ""
        assert_same_as_fresh(dashboard, fresh)
        menu.value = first
        assert dashboard.state == state


@pytest.mark.parametrize("kind", ["models", "comparison"])
def test_present_group(runs, folder, others, kind):
    """If the models that are shown change, each control shows the error, playing ends, and all goes on when they are back."""
    dashboard, first = open_dashboard(kind, folder, runs), ModelDirectory(folder).group_ids[0]
    bins, play = (dashboard._controls[name].widget for name in ("bins", "play"))
    for function, code in (CHANGES[name] for name in OF_KIND[kind]):
        state = dashboard.state
        function(folder, others, first)
        bins.value = (0, 1) if bins.value != (0, 1) else (1, 2)
        assert f"[{code}]" in shown_error(dashboard)
        dashboard._message.value = ""
        press(dashboard, "next energy")
        assert f"[{code}]" in shown_error(dashboard)
        dashboard._message.value = ""
        play.playing = True
        play._take_step()
        assert not play.playing
        assert f"[{code}]" in shown_error(dashboard)
        assert dashboard.state == state
        assert_controls_show_state(dashboard)
        put_back(folder, runs[0] / "models")
        press(dashboard, "next energy")
        assert shown_error(dashboard) == ""
        assert dashboard.state != state
    fresh = open_dashboard(kind, folder, runs)
    fresh.energy = dashboard.state.energy
    assert_same_as_fresh(dashboard, fresh)


def deny(monkeypatch, method: str, name: str) -> None:
    """Deny the permission for a method of paths with a name."""
    original = getattr(Path, method)

    def denied(path, *arguments, **options):
        if path.name == name:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return original(path, *arguments, **options)

    monkeypatch.setattr(Path, method, denied)


@pytest.mark.parametrize(("method", "name"), [("iterdir", "models"), ("is_file", "manifest.json")])
def test_unreadable_directory(runs, folder, monkeypatch, method, name):
    """A directory that the user may not read is an error of bgnb, when a dashboard is made and while it is shown."""
    dashboard, second = open_dashboard("models", folder, runs), ModelDirectory(folder).group_ids[1]
    with monkeypatch.context() as patch:
        deny(patch, method, name)
        for function in (explore_models, bgnb.read_models, ModelDirectory):
            with raises("unreadable", folder):
                function(folder)
        if name == "manifest.json":
            dashboard._controls["group_id"].widget.value = second
            assert "[unreadable]" in shown_error(dashboard)
    dashboard._controls["group_id"].widget.value = second
    assert shown_error(dashboard) == ""
    assert dashboard.state.group_id == second


def test_unreadable_runs_of_models(folder, monkeypatch):
    """The error of runs of models that may not be read names the file and has one code."""
    with monkeypatch.context() as patch:
        deny(patch, "exists", "bg_observation_table_grouped.fits.gz")
        with raises("unreadable", folder):
            explore_runs(folder)
    (folder / "report.json").unlink()
    with raises("not-a-model", folder / "report.json") as found:
        explore_runs(folder)
    assert str(found.value).count("[") == 1


@pytest.mark.parametrize("value", [10**400, None, "", []])
@pytest.mark.parametrize("entry", ["counts", "group_fractions"])
def test_wrong_values_in_the_report(folder, entry, value):
    """A report with values of another kind is damaged."""
    report = json.loads((folder / "report.json").read_text())
    run = next(run for run in report["runs"] if run["status"] == "used")
    if entry == "counts":
        run["counts"] = value
    else:
        run["group_fractions"] = {str(run["group_id"]): value}
    (folder / "report.json").write_text(json.dumps(report))
    with raises("not-a-model", folder):
        explore_runs(folder)


def test_path_too_long():
    """A path that the file system refuses is an error of bgnb."""
    with raises("unreadable"):
        ModelDirectory("models" * 100)


@pytest.mark.parametrize("kind", ["models", "comparison", "runs"])
def test_closed_dashboard_is_freed(runs, kind):
    """No widget, figure or array of a closed dashboard remains in memory."""
    folder = runs[0] / "models"
    make = {"models": explore_models, "comparison": partial(compare_models, folder), "runs": explore_runs}[kind]
    registered = set(widget._instances)
    dashboard = make(folder)
    parts = [weakref.ref(part) for part in (dashboard, dashboard._figures, dashboard._plots, dashboard.view)]
    dashboard.close()
    del dashboard
    gc.collect()
    assert [part() for part in parts] == [None] * len(parts)
    assert set(widget._instances) <= registered


@pytest.mark.parametrize("kind", ["models", "comparison"])
def test_replaced_file(pair, tmp_path, kind):
    """A file that is replaced by another model, in a directory without a manifest, is read again with all that follows."""
    folder = shutil.copytree(pair[1], tmp_path / "models")
    (folder / "manifest.json").unlink()
    (group_id,) = ModelDirectory(folder).group_ids
    make = explore_models if kind == "models" else lambda each, **options: compare_models(pair[0], each, **options)
    options = {"limits": "all energies", "group_id": group_id}
    dashboard = make(folder, **options)
    model = bgnb.read_model(file_of(folder, group_id))
    brighter = bgnb.BackgroundModel(bgnb.Cube(model.axes, 3 * model.rate.quantity), model.stack, model.method)
    bgnb.write_model(brighter, file_of(folder, group_id))
    press(dashboard, "next energy")
    press(dashboard, "previous energy")
    press(dashboard, "next energy")
    assert shown_error(dashboard) == ""
    assert_same_as_fresh(dashboard, make(folder, energy=dashboard.state.energy, **options))


@pytest.mark.parametrize("name", ["bg_spline.fits.gz", "bg_observation_groups.ecsv", "report.json"])
def test_replaced_directory_without_manifest(runs, folder, name):
    """If a file on all models is removed as well, new models are not shown with the old spline, groups or pointings."""
    (folder / "manifest.json").unlink()
    dashboard = open_dashboard("models", folder, runs)
    (folder / name).unlink()
    shutil.copyfile(*[file_of(folder, group_id) for group_id in ModelDirectory(folder).group_ids[1::-1]])
    press(dashboard, "next energy")
    assert "[changed]" in shown_error(dashboard)


def test_runs_and_validation(runs, tmp_path):
    """The dashboards of runs and of a validation have read everything, and need no file again."""
    folder = shutil.copytree(runs[0], tmp_path / "all")
    validation = bgnb.validate(folder / "models", folder / "in", "GADF")
    dashboards = [
        explore_runs(folder / "models"),
        explore_runs(folder / "in", "GADF", select="all"),
        explore_validation(validation),
    ]
    shutil.rmtree(folder)
    for dashboard in dashboards:
        obs_id = 1 + (dashboard is dashboards[2])
        run = (dashboard._runs if dashboard is not dashboards[2] else dashboard._counts).obs_ids[obs_id]
        dashboard._controls["selected"].widget.value = str(run)
        assert shown_error(dashboard) == ""
        assert dashboard.state.selected == (run,)


def test_counts_of_a_reference_are_not_needed(pair, monkeypatch):
    """The group is chosen by the counts of the second directory, unless it has none."""
    asked = []
    counts = ModelDirectory.counts.fget
    monkeypatch.setattr(ModelDirectory, "counts", property(lambda self: asked.append(self.path) or counts(self)))
    compare_models(*pair)
    compare_models(*pair[::-1])
    assert asked == [pair[1], pair[0], pair[1]]
