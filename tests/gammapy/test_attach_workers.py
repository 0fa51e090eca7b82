"""Backgrounds of runs made by several workers: the same files, or one clear error and no files."""

import os
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context

import pytest
from astropy.table import Table

from bgnb import attach, make_bg_cube_models, open_runs
from bgnb._util.errors import DataError
from bgnb.gammapy import attached_runs
from bgnb.gammapy.attached_runs import digest_of
from tests.helpers.dask_cluster import Cluster
from tests.helpers.dying import die_at
from tests.helpers.errors import raises
from tests.helpers.files import digests, names
from tests.helpers.run_files import run, write_gadf

OBS_IDS = (2, 3, 5, 7, 8, 11, 12)


class Here(Executor):
    """Executor that executes tasks at once in this process, and does something before and after them."""

    def __init__(self, before=lambda: None, after=lambda: None):
        self.before, self.after = before, after

    def submit(self, function, /, task):
        future = Future()
        self.before()
        try:
            future.set_result(function(task))
        except Exception as error:
            future.set_exception(error)
        self.after()
        return future


class Backwards(Executor):
    """Executor of four tasks, which are done in the reverse order."""

    def __init__(self):
        self.waiting = []

    def submit(self, function, /, task):
        self.waiting.append((future := Future(), function, task))
        if len(self.waiting) == 4:
            for waiting, call, argument in reversed(self.waiting):
                waiting.set_result(call(argument))
            self.waiting.clear()
        return future


@pytest.fixture
def indir(tmp_path, monkeypatch):
    """Make a directory of runs, which make four chunks."""
    monkeypatch.setattr("bgnb.gammapy.attach.CHUNK_RUNS", 2)
    return write_gadf(tmp_path / "in", [run(obs_id, 40 + obs_id) for obs_id in OBS_IDS])


def store_of(tmp_path, models, indir, **choices):
    """Attach models to runs; return the digests of the files of the data store."""
    attach(models, indir, "GADF", tmp_path / "store", overwrite=True, **choices)
    return digests(tmp_path / "store")


@pytest.mark.slow
@pytest.mark.parametrize("method", ["classic", "spline"])
def test_workers_write_the_same_bits(indir, tmp_path, method):
    """Files are bit-identical whatever the workers, also if a run cannot be used."""
    models = tmp_path / "models"
    make_bg_cube_models(indir, "GADF", models, method=method, n_energy=6, n_fov=10, select="all", workers=1)
    (indir / "data" / "run5.fits.gz").write_bytes(b"no FITS file")
    table = tmp_path / "regions.ecsv"
    runs = open_runs(indir, "GADF").table[:1]
    Table({"RA": runs["RA_PNT"], "DEC": runs["DEC_PNT"], "RADIUS": [1.0]}).write(table)
    choices = {"exclude": table, "kind": "bkg_2d"} if method == "classic" else {"model_lookup": "nearest"}
    expected = store_of(tmp_path, models, indir, workers=1, **choices)
    if method == "classic":
        assert store_of(tmp_path, models, indir, workers=1, **choices | {"exclude": None}) != expected
    assert len(expected) == len(OBS_IDS) - 1 + 4
    # Splines in processes of their own: test_same_files_from_all_backends.
    for workers in (2, Backwards()) if method == "classic" else (Backwards(),):
        assert store_of(tmp_path, models, indir, workers=workers, **choices) == expected


def test_killed_worker_leaves_no_store(models, indir, tmp_path):
    """A worker that dies is one error, which names its runs, and leaves no files."""
    before = names(tmp_path)
    with (
        ProcessPoolExecutor(2, get_context("spawn"), die_at, (7,)) as pool,
        raises("worker-died", "7", "workers"),
    ):
        store_of(tmp_path, models, indir, workers=pool)
    assert names(tmp_path) == before


@pytest.mark.parametrize("name", ["bg_cube*table.fits.gz", "bg_observation_groups.ecsv"])
def test_other_models_of_a_worker(models, indir, tmp_path, name):
    """Models or groups that change while backgrounds are made, or that a worker does not see, are an error."""
    (path,) = models.glob(name)
    times = iter(range(10))
    with raises("unreadable", str(models), "workers"):
        store_of(tmp_path, models, indir, workers=Here(before=lambda: os.utime(path, (next(times), 0))))
    assert not (tmp_path / "store").exists()


def test_models_are_read_once(models, indir, tmp_path, monkeypatch):
    """A worker looks for the models before its first chunk only, and its results hold no covariances."""
    calls = []
    monkeypatch.setattr(attached_runs, "digest_of", lambda path: calls.append(path) or digest_of(path))
    report = attach(models, indir, "GADF", tmp_path / "store", workers=Here())
    assert calls == [models.resolve()]
    assert [run.norm.covariance.size + run.norm.of_models.size for run in report.runs] == len(OBS_IDS) * [0]


def test_run_that_only_workers_cannot_read(models, indir, tmp_path):
    """A run that a worker cannot read, but this process can, is an error; the worker may not see the files."""
    path, elsewhere = indir / "data" / "run5.fits.gz", tmp_path / "run5.fits.gz"
    there = Here(before=lambda: path.rename(elsewhere), after=lambda: elsewhere.rename(path))
    with raises("unreadable", "run5.fits.gz", "workers"):
        store_of(tmp_path, models, indir, workers=there)
    path.unlink()
    report = attach(models, indir, "GADF", tmp_path / "store", workers=Here())
    assert list(report.faults) == [5]
    with raises("not-found", "run5.fits.gz", kind=DataError):
        attach(models, indir, "GADF", tmp_path / "other", workers=Here(), on_error="fail")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_dask_writes_the_same_bits(models, indir, tmp_path, monkeypatch):
    """A Dask worker in another directory finds models that are given by a relative path."""
    pytest.importorskip("distributed")
    expected = store_of(tmp_path, models, indir, workers=1)
    monkeypatch.chdir(tmp_path)
    with ExitStack() as stack:
        (folder := tmp_path / "cluster").mkdir()
        cluster = Cluster(folder, stack)
        cluster.add_worker()
        attach("models", "in", "GADF", "other", scheduler=cluster.address)
    found = digests(tmp_path / "other")
    assert {name: digest for name, digest in found.items() if "backgrounds" in name} == {
        name: digest for name, digest in expected.items() if "backgrounds" in name
    }
