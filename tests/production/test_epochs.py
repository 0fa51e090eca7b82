"""Models for each epoch, and their use."""

import json
import shutil

import numpy as np
import pytest
from astropy.table import MaskedColumn, Table

from bgnb import attach, check, make_bg_cube_models, make_epoch_models, read_models, validate
from tests.helpers.commands import error_of, output_of
from tests.helpers.errors import raises
from tests.helpers.files import digests_and_times
from tests.helpers.run_files import run, write_gadf

SMALL = {"n_energy": 5, "n_fov": 6, "alt_edges": [0, 90], "az_edges": [0, 360], "method": "classic", "select": "all"}
CONFIG = {2: "old", 3: "old", 4: "new", 5: "new", 6: "none", 7: ""}


def write_runs(indir, obs_ids):
    """Write runs with the column CONFIG; those of epoch new have half as many events."""
    n_events = {"new": 2000}
    write_gadf(indir, [run(o, n_events.get(CONFIG[o], 4000), pointing=(70.0, 30.0), threshold=None) for o in obs_ids])
    index = Table.read(indir / "obs-index.fits.gz")
    index["CONFIG"] = [CONFIG[obs_id] for obs_id in index["OBS_ID"]]
    index.write(indir / "obs-index.fits.gz", overwrite=True)
    return indir


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Models of the epochs old and new; run 6 of epoch none cannot be read, run 7 has no epoch."""
    folder = tmp_path_factory.mktemp("epochs")
    indir = write_runs(folder / "in", list(CONFIG))
    (indir / "data" / "run6.fits.gz").write_bytes(b"nonsense")
    report = make_epoch_models(indir, "GADF", folder / "models", "config", **SMALL)
    return folder, report


def test_epochs_have_their_own_models(models, tmp_path):
    """The models of an epoch are bit-identical to those from a directory with its runs only."""
    folder, report = models
    assert list(report.epochs) == ["new", "old"]
    assert list(report.without_models) == ["none"]
    assert {obs_id: str(reason) for obs_id, reason in report.without_epoch.items()} == {7: "without an epoch"}
    for words in ("epoch new", "epoch none has no models", "1 without an epoch"):
        assert words in str(report)
    write_runs(tmp_path / "in", [2, 3])
    make_bg_cube_models(tmp_path / "in", "GADF", tmp_path / "models", **SMALL)
    name = "bg_cube_model_group0_table.fits.gz"
    assert (folder / "models" / "old" / name).read_bytes() == (tmp_path / "models" / name).read_bytes()
    assert set(check(folder / "models").values()) == {None}
    content = json.loads((folder / "models" / "report.json").read_text())
    assert (content["epochs"], content["without_epoch"]) == (["new", "old"], {"7": "without an epoch"})


def test_attach_takes_the_epoch_of_a_run(models, tmp_path):
    """Each run has the background of its epoch; others are skipped, and the reason is reported."""
    folder, _ = models
    report = attach(folder / "models", folder / "in", "GADF", tmp_path / "store", norm="model")
    assert report.obs_ids == [2, 3, 4, 5]
    reasons = {entry.obs_id: str(entry.reason) for entry in report.runs if entry.reason}
    assert reasons == {6: "epoch without models: none", 7: "without an epoch"}
    for name, obs_id in (("old", 2), ("new", 4)):
        attach(folder / "models" / name, folder / "in", "GADF", tmp_path / name, norm="model", select=[obs_id])
        stored = [path / "backgrounds" / f"bkg_{obs_id}.fits.gz" for path in (tmp_path / "store", tmp_path / name)]
        assert stored[0].read_bytes() == stored[1].read_bytes()
    expected = {entry.obs_id: entry.norm.expected for entry in report.runs if entry.norm}
    assert expected[2] / expected[4] == pytest.approx(2, rel=0.1)


def test_other_uses_need_one_epoch(models, tmp_path):
    """Reading and validating name the epochs to choose from; runs without the column are an error."""
    folder, _ = models
    with raises("not-a-model", "new, old"):
        read_models(folder / "models")
    with raises("not-a-model", "new, old"):
        validate(folder / "models", folder / "in", "GADF")
    write_gadf(tmp_path / "other", [run(2, 50)])
    with raises("missing-column", "CONFIG"):
        attach(folder / "models", tmp_path / "other", "GADF", tmp_path / "store")
    shutil.copytree(folder / "models", tmp_path / "damaged")
    stop = [54000.0]
    tables = [Table({"EPOCH": ["a"], "START": start, "STOP": stop}) for start in ([np.nan], [[1.0, 2.0]], ["soon"])]
    tables += [Table({"EPOCH": ["a"], "START": MaskedColumn([53000.0], mask=[True]), "STOP": stop})]
    tables += [Table({"EPOCH": ["a"], "STOP": stop})]
    tables += [
        Table({"EPOCH": ["a", "a"], "START": [53000.0, 54000.0], "STOP": [53500.0, 54500.0]})
    ]  # two periods of one epoch
    for table in (None, *tables):
        if table is None:
            (tmp_path / "damaged" / "epochs.ecsv").write_text("# %ECSV 1.0\nnonsense")
        else:
            table.meta["COLUMN"] = None
            table.write(tmp_path / "damaged" / "epochs.ecsv", overwrite=True)
        with raises("damaged", "epochs.ecsv"):
            attach(tmp_path / "damaged", folder / "in", "GADF", tmp_path / "store")


def test_runs_with_errors_are_reported(models, tmp_path):
    """A run whose row in the index is invalid has no epoch, and ends the command if errors are not skipped."""
    indir = write_runs(tmp_path / "in", [2, 3])
    index = Table.read(indir / "obs-index.fits.gz")
    index["DEC_PNT"][1] = -95
    index.write(indir / "obs-index.fits.gz", overwrite=True)
    report = make_epoch_models(indir, "GADF", tmp_path / "models", "CONFIG", **SMALL)
    assert list(report.faults) == [3]
    assert "DEC_PNT" in report.faults[3]
    with raises("bad-position", "DEC_PNT"):
        make_epoch_models(indir, "GADF", tmp_path / "other", "CONFIG", on_error="fail", **SMALL)
    listed = make_epoch_models(indir, "GADF", tmp_path / "other", "CONFIG", on_error="fail", **SMALL | {"select": [2]})
    assert [list(each.group_ids) for each in listed.epochs.values()] == [[2]]


def test_run_without_a_time_stops(tmp_path):
    """With epochs of time, a run that cannot be read stops models and backgrounds with ``fail``, if it is selected."""
    indir = write_runs(tmp_path / "in", [2, 3])
    epochs = Table({"EPOCH": ["all"], "START": ["2000-01-01"], "STOP": ["2020-01-01"]})
    epochs.write(tmp_path / "epochs.ecsv")
    make_epoch_models(indir, "GADF", tmp_path / "models", tmp_path / "epochs.ecsv", **SMALL)
    (indir / "data" / "run3.fits.gz").write_bytes(b"nonsense")
    for select in ("all", [2, 3]):
        with raises("not-fits", "run3.fits.gz"):
            make_epoch_models(
                indir, "GADF", tmp_path / "other", tmp_path / "epochs.ecsv", on_error="fail", **SMALL | {"select": select}
            )
        with raises("not-fits", "run3.fits.gz"):
            attach(tmp_path / "models", indir, "GADF", tmp_path / "other", select=select, on_error="fail")
    assert attach(tmp_path / "models", indir, "GADF", tmp_path / "store", select=[2], on_error="fail").obs_ids == [2]
    (indir / "data" / "run2.fits.gz").write_bytes(b"nonsense")
    with raises("no-runs", "all: there are no runs", "runs 2, 3 without an epoch", "run2.fits.gz"):
        make_epoch_models(indir, "GADF", tmp_path / "none", tmp_path / "epochs.ecsv", **SMALL)


def test_listed_runs_of_epochs(models, tmp_path):
    """Of listed runs, each epoch takes its own; one without any has no models."""
    folder, _ = models
    report = make_epoch_models(folder / "in", "GADF", tmp_path / "models", "CONFIG", **SMALL | {"select": [2, 3]})
    assert {name: sorted(each.group_ids) for name, each in report.epochs.items()} == {"old": [2, 3]}
    assert "new" in report.without_models


def test_no_epoch_has_models(models, tmp_path):
    """Without a run in any epoch nothing is written, and an older directory stays."""
    folder, _ = models
    Table(rows=[("x", 40000.0, 40001.0)], names=("EPOCH", "START", "STOP")).write(tmp_path / "epochs.ecsv")
    before = digests_and_times(folder / "models")
    with raises("no-runs", "x: there are no runs", "outside all epochs"):
        make_epoch_models(folder / "in", "GADF", folder / "models", tmp_path / "epochs.ecsv", overwrite=True, **SMALL)
    assert digests_and_times(folder / "models") == before


def test_epochs_on_the_command_line(models, tmp_path):
    """The command prints a table for each epoch; parts are refused."""
    folder, _ = models
    options = ("--select", "all", "--method", "classic", "--n-energy", "5", "--n-fov", "6", "--epochs", "CONFIG")
    arguments = ("make-bg-cube-models", str(folder / "in"), "GADF", str(tmp_path / "models"), *options)
    printed = output_of(*arguments)
    assert printed.index("epoch new") < printed.index("epoch old")
    assert "[conflicting-arguments]" in error_of(*arguments, "--overwrite", "--part", "1/2")
