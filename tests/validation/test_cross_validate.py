"""Tests of cross-validation: each run is predicted once, by models made of other runs with the settings given."""

import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table

from bgnb import cross_validate, make_bg_cube_models, make_test_dataset, open_runs, validate
from tests.helpers.commands import output_of
from tests.helpers.errors import raises
from tests.helpers.run_files import run, write_gadf


@pytest.mark.slow
def test_cross_validation_uses_each_run_once(tmp_path):
    """Each run is predicted once, from models without it; arguments that cannot be used raise errors."""
    make_test_dataset(tmp_path / "runs", n_runs=9, trigger_rate=8, seed=4, progress=False)
    arguments = {"select": "all", "folds": 3, "alt_edges": [0, 90], "az_edges": [0, 360], "progress": False}
    arguments |= {"model_n_energy": 10, "model_n_fov": 12}
    validations = cross_validate(tmp_path / "runs", "GADF", tmp_path / "cv", n_train=[2], **arguments)
    assert sorted(validations) == [2, 6]
    for validation in validations.values():
        assert len({run.obs_id for run in validation.runs}) == len(validation.runs) == 9
    assert validations[6].ratio[0] == pytest.approx(1, abs=0.2)
    assert (tmp_path / "cv/learning_curve.png").exists()
    for number in (3.7, True):
        with raises("invalid-argument", "n_train"):
            cross_validate(tmp_path / "runs", "GADF", n_train=[number], **arguments)
    with raises("invalid-argument", "n_train", "1 to 6", "got 7"):
        cross_validate(tmp_path / "runs", "GADF", n_train=[7], **arguments)
    with raises("invalid-argument", "folds", "9", "got 10"):
        cross_validate(tmp_path / "runs", "GADF", **arguments | {"folds": 10})
    with raises("no-runs", "at least 2 runs", "only 1"):
        cross_validate(tmp_path / "runs", "GADF", **arguments | {"select": open_runs(tmp_path / "runs", "GADF").obs_ids[:1]})
    for wrong, code, words in (
        ({"folds": 2.5}, "invalid-argument", ("folds", "at least 2", "2.5")),
        ({"seed": -1}, "invalid-argument", ("seed", "at least 0", "-1")),
        ({"model_lookup": "far"}, "unknown-choice", ("model_lookup", "far", "interpolate", "nearest")),
        ({"catalog": "sources.ecsv"}, "no-effect", ("catalog",)),
    ):
        with raises(code, *words):
            cross_validate(tmp_path / "runs", "GADF", **arguments | wrong)


def test_runs_outside_all_groups_are_left_out(tmp_path):
    """As from models, with the reason; a condition that leaves livetime without events is noted, too."""
    indir = write_gadf(tmp_path / "in", [run(obs_id, threshold=None) for obs_id in (2, 3, 4, 8)])
    edges = {"alt_edges": [62, 90], "az_edges": [0, 360]}  # run 3 is at 55.5 deg, run 2 at 75 deg
    arguments = {"select": "all", "folds": 3, "method": "classic", "progress": False, "events": "ENERGY > 0.6"} | edges
    ((n_train, validation),) = cross_validate(indir, "GADF", model_n_energy=4, model_n_fov=6, **arguments).items()
    assert (n_train, [each.obs_id for each in validation.runs]) == (2, [2, 4, 8])
    assert "runs not used: 1 altitude and azimuth outside all groups" in validation.notes
    assert any("depends on ENERGY" in note for note in validation.notes)
    with raises("no-runs", "only 0 can be used", "4 altitude and azimuth outside all groups; use other group edges"):
        cross_validate(indir, "GADF", **arguments | {"alt_edges": [82, 90]})


@pytest.fixture
def no_model_files(monkeypatch):
    """Fail if a file of a model or a temporary directory is made."""

    def fail(*_, **__):
        raise AssertionError("models must stay in memory")

    for module in ("bgnb.production.write_models", "bgnb.production.pipeline"):
        monkeypatch.setattr(f"{module}.write_files", fail)
    for name in ("write_model", "write_spline", "write_groups"):
        monkeypatch.setattr(f"bgnb.production.write_models.{name}", fail)
    for name in ("mkdtemp", "mkstemp", "TemporaryDirectory", "NamedTemporaryFile", "TemporaryFile"):
        monkeypatch.setattr(tempfile, name, fail)
    monkeypatch.setattr(Path, "mkdir", fail)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["classic", "spline"])
def test_cross_validation_writes_no_models(tmp_path, method, request):
    """Models of folds are made in memory, without files or temporary directories."""
    make_test_dataset(tmp_path / "runs", n_runs=4, trigger_rate=8, seed=4, progress=False)
    before = set(tmp_path.rglob("*"))
    request.getfixturevalue("no_model_files")
    validations = cross_validate(tmp_path / "runs", "GADF", select="all", folds=2, method=method, progress=False)
    assert [len(validation.runs) for validation in validations.values()] == [4]
    assert set(tmp_path.rglob("*")) == before


@pytest.mark.slow
def test_folds_take_settings_of_models(source, tmp_path):
    """Each fold is predicted as by models in files, made of the other runs with the same settings."""
    masks = {"sources": "mask", "catalog": source / "runs/sources.ecsv", "mask_radius": "0.4 deg"}
    models = {"method": "unsmoothed", "min_livetime": "2 h", "alt_edges": [0, 78, 84, 90], "az_edges": [0, 180, 360]}
    models |= {"fovalign": "RADEC", "on_error": "fail"}
    lookup = {"rate_interpolation": "none", "model_lookup": "nearest"}
    axes = {"energy_min": "0.2 TeV", "energy_max": "70 TeV", "n_energy": 7, "fov_max": "3 deg", "n_fov": 10}
    indir = source / "runs"
    (validation,) = cross_validate(
        indir,
        "GADF",
        tmp_path / "cv",
        folds=2,
        seed=7,
        **masks,
        **models,
        **lookup,
        **{f"model_{name}": axes[name] for name in axes},
        progress=False,
    ).values()
    assert validation.total_ratio == pytest.approx(1, abs=0.1)  # the energy bins are wide
    assert not validation.notes
    order = np.random.default_rng(7).permutation(open_runs(indir, "GADF").obs_ids).tolist()
    predicted = {run.obs_id: run for run in validation.runs}
    for fold in (0, 1):
        others = order[1 - fold :: 2]
        out = tmp_path / f"models{fold}"
        make_bg_cube_models(indir, "GADF", out, select=others, **masks, **models, **axes, progress=False)
        for each in validate(out, indir, "GADF", select=order[fold::2], **masks, **lookup, progress=False).runs:
            found = predicted.pop(each.obs_id)
            np.testing.assert_array_equal(found.counts, each.counts)
            np.testing.assert_allclose(found.expected, each.expected, rtol=1e-6)
            assert found.groups == pytest.approx(each.groups)
    assert not predicted
    stored = json.loads((tmp_path / "cv/report.json").read_text())["settings"]
    assert (stored["energy_min_tev"], stored["model_energy_min_tev"], stored["model_n_fov"]) == (0.5, 0.2, 10)


@pytest.mark.slow
def test_folds_exclude_regions(source):
    """Exclusion regions apply to the models of the folds and to the predictions, as masked sources do."""
    catalog = source / "runs/sources.ecsv"
    circles = Table.read(catalog)
    circles["RADIUS"] = 0.4
    arguments = {"folds": 2, "method": "unsmoothed", "rate_interpolation": "none", "progress": False}
    arguments |= {"alt_edges": [0, 90], "az_edges": [0, 360], "model_n_energy": 6, "model_n_fov": 12}
    settings = {"select": "all", "exclude": circles}, {"sources": "mask", "catalog": catalog, "mask_radius": "0.4 deg"}
    (excluded,), (masked,) = (cross_validate(source / "runs", "GADF", **arguments, **each).values() for each in settings)
    assert excluded.events_in_mask == masked.events_in_mask > 1000
    for one, other in zip(excluded.runs, masked.runs, strict=True):
        np.testing.assert_array_equal(one.counts, other.counts)
        np.testing.assert_array_equal(one.expected, other.expected)


@pytest.mark.slow
def test_config_gives_settings_of_models(source, tmp_path):
    """The report of models gives all settings of models; the bins of the comparison stay, and options take precedence."""
    made = {"energy_min": "0.2 TeV", "n_energy": 9, "n_fov": 12, "az_edges": [0, 360], "method": "unsmoothed", "test": True}
    make_bg_cube_models(source / "runs", "GADF", tmp_path / "models", select="all", **made, progress=False)
    out, config = tmp_path / "cv", tmp_path / "models/report.json"
    arguments = ("--config", config, "--model-n-fov", 8, "--n-train", 3, "--folds", 2, "--rate-interpolation", "none")
    output = output_of("cross-validate", source / "runs", "GADF", out, *arguments)
    for used in ("4 or more runs", "3 runs"):
        assert (
            f"9 runs in 2 random folds; the runs of each fold are predicted from models of {used} of the other folds." in output
        )
    assert len(output.splitlines()) < 20  # a few lines for each number of runs; the others are in the report
    assert len(set(output.splitlines())) == len(output.splitlines())  # what holds for both numbers of runs is printed once
    assert str(out / "report.json") in output.splitlines()[-1]
    stored = json.loads((out / "report.json").read_text())["settings"]
    expected = {"model_energy_min_tev": 0.2, "model_n_energy": 9, "model_n_fov": 8, "energy_min_tev": 0.5, "n_energy": 8}
    expected |= {"test": True, "alt_edges_deg": [0, 45, 90], "az_edges_deg": [0, 360], "method": "unsmoothed", "select": "all"}
    assert {name: stored[name] for name in expected} == expected


def test_axes_of_models_are_checked():
    """Axes of models that make no cube raise an error, before any file is opened."""
    with raises("invalid-argument", "model_energy_min", "100.0 TeV"):
        cross_validate("nowhere", "GADF", model_energy_min="100 TeV")
    with raises("no-effect", "mask_radius"):
        cross_validate("nowhere", "GADF", mask_radius="1 deg")
