"""A Dask scheduler and workers: the exact result although workers die, or one clear line."""

import gc
import os
import signal
import socket
import sys
import threading
import types
from contextlib import ExitStack, contextmanager, suppress

import pytest

from bgnb import __version__, make_bg_cube_models
from bgnb.files.output_directory import kept_folder
from bgnb.production import workers
from tests.helpers.dask_cluster import OBS_IDS, SMALL, SMALL_CHUNKS, Cluster, command, lines
from tests.helpers.errors import raises
from tests.helpers.files import digests
from tests.helpers.processes import PATIENCE, until
from tests.helpers.run_files import run, write_gadf

dask = pytest.importorskip("dask")
distributed = pytest.importorskip("distributed")
# Dask closes some threads and sockets only at the end of the process.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(scope="module")
def indir(tmp_path_factory):
    return write_gadf(tmp_path_factory.mktemp("runs") / "in", [run(obs_id, 20 + obs_id) for obs_id in OBS_IDS])


@pytest.fixture(scope="module")
def expected(indir):
    out = indir.parent / "expected"
    make_bg_cube_models(indir, "GADF", out, workers=1, **SMALL)
    return digests(out)


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory):
    """A cluster of two workers; the scheduler cannot import bgnb, and the runs that workers read are recorded."""
    folder = tmp_path_factory.mktemp("cluster")
    with ExitStack() as stack:
        found = Cluster(folder, stack, BGNB="none")
        for _ in range(2):
            found.add_worker(WATCH=folder)
        yield found


@pytest.fixture
def two(two_workers, monkeypatch):
    """The same cluster with both workers running, and no run that waits."""
    for path in two_workers.folder.glob("[rwk]*[0-9d]"):
        path.unlink()
    monkeypatch.setattr("bgnb.production.count_chunks.CHUNK_RUNS", 3)
    until(lambda: len(workers_of(two_workers)) == 2, "two workers")
    return two_workers


def workers_of(found):
    """Return the process id of each worker."""
    with distributed.Client(found.address, set_as_default=False) as client:
        return client.run(os.getpid, on_error="ignore")


@contextmanager
def making(indir, out, **arguments):
    """Make models in a thread; the list has the result or error when the block has ended."""
    results = []

    def make():
        try:
            results.append(make_bg_cube_models(indir, "GADF", out, **SMALL, **arguments))
        except BaseException as error:
            results.append(error)

    thread = threading.Thread(target=make)
    thread.start()
    yield results
    thread.join(timeout=PATIENCE)
    assert not thread.is_alive()


@pytest.mark.slow
def test_scheduler_without_bgnb_installed(indir, expected, two, tmp_path):
    """A scheduler that cannot import bgnb gives the same files."""
    make_bg_cube_models(indir, "GADF", tmp_path / "out", scheduler=two.address, **SMALL)
    assert digests(tmp_path / "out") == expected
    with distributed.Client(two.address, set_as_default=False) as client:
        make_bg_cube_models(indir, "GADF", tmp_path / "executor", workers=client.get_executor(), **SMALL)
    assert digests(tmp_path / "executor") == expected


@pytest.mark.slow
def test_killed_workers_change_nothing(indir, expected, two, tmp_path):
    """Files are bit-identical if workers die."""
    for obs_id in (11, 12):
        (two.folder / f"wait{obs_id}").touch()
    before = lines(two.folder / "read")
    with making(indir, tmp_path / "out", scheduler=two.address) as results:
        # Dask gives up a task that lost more than three workers; it may give the task of the first one killed to the second.
        for n_killed in (2, 1):
            until(lambda before=before: {"11", "12"} & {*lines(two.folder / "read")[len(before) :]}, "a worker that waits")
            before = lines(two.folder / "read")  # others may wait again as soon as these are killed
            for pid in list(workers_of(two).values())[:n_killed]:
                os.kill(pid, signal.SIGKILL)
        for obs_id in (11, 12):
            (two.folder / f"wait{obs_id}").unlink()
    assert not isinstance(results[0], BaseException), results[0]
    assert len(results[0].group_ids) == len(OBS_IDS)
    assert digests(tmp_path / "out") == expected


@pytest.mark.slow
def test_run_that_kills_its_workers(indir, expected, tmp_path):
    """One line names a chunk that was lost with its workers; later the same command continues from the counts so far."""
    for kind in ("kill", "wait"):
        (tmp_path / f"{kind}11").touch()
    kept = kept_folder(tmp_path / "out")
    watched = {"WATCH": tmp_path, "CHANGE": SMALL_CHUNKS}
    with ExitStack() as stack:
        found = Cluster(tmp_path, stack)
        for _ in range(2):
            found.add_worker(**watched)
        arguments = (indir, "GADF", tmp_path / "out", "--scheduler")
        with command(tmp_path, *arguments, found.address, **watched) as process:
            until(lambda: len(list(kept.glob("[0-9a-f]*"))) == 7, "all chunks but one", process)
            (tmp_path / "wait11").unlink()
            _, errors = process.communicate(timeout=PATIENCE)
        assert process.returncode == 2
        error, note = errors.splitlines()
        assert error.startswith("Error: ")
        assert error.endswith("[worker-died]")
        assert "runs 5, 7, 11;" in error
        assert str(kept) in note
        # Dask repeats tasks of a dead worker whose results were not released yet.
        with distributed.Client(found.address, set_as_default=False) as client:
            until(lambda: not any(client.processing().values()), "idle workers")
        for name in ("kill11", "read"):
            (tmp_path / name).unlink()
        with command(tmp_path, *arguments, found.address, **watched) as process:
            assert process.wait() == 0, process.stderr.read()
    assert sorted(map(int, lines(tmp_path / "read"))) == [5, 7, 11]
    assert digests(tmp_path / "out") == expected


@pytest.mark.slow
def test_interrupt_cancels_tasks_on_dask(indir, two, tmp_path):
    """Ctrl-C cancels the tasks on the cluster."""
    (two.folder / "wait11").touch()
    with command(tmp_path, indir, "GADF", tmp_path / "out", "--scheduler", two.address) as process:
        until(lambda: "11" in lines(two.folder / "read"), "a worker that reads run 11", process)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert errors.splitlines() == ["Interrupted; unfinished output is removed."]
    (two.folder / "wait11").unlink()
    with distributed.Client(two.address, set_as_default=False) as client:
        until(lambda: not any(client.processing().values()), "idle workers")


@pytest.mark.slow
def test_scheduler_that_stops_answering(indir, two, tmp_path, monkeypatch):
    """A scheduler that does not respond is an error with its address."""
    monkeypatch.setattr(workers, "PATIENCE", 5.0)
    (two.folder / "wait11").touch()
    try:
        with making(indir, tmp_path / "out", scheduler=two.address) as results:
            until(lambda: "11" in lines(two.folder / "read"), "a worker that reads run 11")
            two.scheduler.send_signal(signal.SIGSTOP)
    finally:
        two.scheduler.send_signal(signal.SIGCONT)
        (two.folder / "wait11").unlink()
    assert results[0].code == "scheduler-lost"
    assert two.address in str(results[0])


@pytest.mark.slow
def test_scheduler_that_dies_is_one_line(indir, expected, tmp_path):
    """If the scheduler dies, the command ends with one line, and can be continued."""
    (tmp_path / "wait11").touch()
    kept = kept_folder(tmp_path / "out")
    settings = {"WATCH": tmp_path, "CHANGE": SMALL_CHUNKS}
    with ExitStack() as stack:
        first = Cluster(tmp_path, stack)
        for _ in range(2):
            first.add_worker(**settings)
        arguments = (indir, "GADF", tmp_path / "out", "--scheduler", first.address)
        with command(tmp_path, *arguments, **settings) as process:
            until(lambda: len(list(kept.glob("[0-9a-f]*"))) == 7, "all chunks but one", process)
            first.scheduler.kill()
            _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2
    died, note = errors.splitlines()
    assert died.startswith("Error: ")
    assert died.endswith("[scheduler-lost]")
    assert note == f"The counts so far are kept in {kept}; run the same command to continue."
    (tmp_path / "wait11").unlink()
    (tmp_path / "read").unlink()
    with command(tmp_path, indir, "GADF", tmp_path / "out", "--workers", 2, **settings) as process:
        assert process.wait() == 0, process.stderr.read()
    assert sorted(map(int, lines(tmp_path / "read"))) == [5, 7, 11]
    assert digests(tmp_path / "out") == expected


@pytest.mark.slow
def test_clusters_that_cannot_be_used(indir, tmp_path, monkeypatch):
    """No workers, and workers without bgnb or with another version."""
    monkeypatch.setattr(workers, "PATIENCE", 5.0)
    with ExitStack() as stack:
        found = Cluster(tmp_path, stack)
        arguments = {"scheduler": found.address, **SMALL}
        with raises("scheduler-lost", found.address, "workers"):
            make_bg_cube_models(indir, "GADF", tmp_path / "out", **arguments)
        monkeypatch.setattr(workers, "PATIENCE", PATIENCE)
        for version, words in (("none", ["cannot import bgnb", __version__]), ("7.1", ["bgnb 7.1", __version__])):
            worker = found.add_worker(BGNB=version)
            with raises("version-mismatch", *words):
                make_bg_cube_models(indir, "GADF", tmp_path / "out", **arguments)
            worker.terminate()
            until(lambda: not workers_of(found), "no worker")
    assert not (tmp_path / "out").exists()


def clients():
    return [found for found in gc.get_referrers(distributed.Client) if isinstance(found, distributed.Client)]


def test_invalid_settings_of_dask(indir, tmp_path, monkeypatch):
    """Settings of Dask with which it cannot connect, or cannot be loaded, are errors of one line."""
    arguments = {"scheduler": "tcp://127.0.0.1:9", **SMALL}
    with dask.config.set({"distributed.client.heartbeat": "x"}), raises("scheduler-lost", "Invalid time unit: x"):
        make_bg_cube_models(indir, "GADF", tmp_path / "out", **arguments)
    damaged = types.ModuleType("distributed")
    damaged.__spec__ = distributed.__spec__
    damaged.__getattr__ = lambda name: float("a malformed file")
    monkeypatch.setitem(sys.modules, "distributed", damaged)
    with raises("invalid-value", "Dask cannot be loaded", "DASK_"):
        make_bg_cube_models(indir, "GADF", tmp_path / "out", **arguments)


@pytest.mark.slow
@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n" * 9])
def test_something_else_listens_there(indir, tmp_path, monkeypatch, answer):
    """A port of another program, which says nothing, or not what a scheduler says, is an error of one line."""
    monkeypatch.setattr(workers, "PATIENCE", 1.0)
    connections = []

    def listen():
        with suppress(OSError):
            while True:
                connections.append(server.accept()[0])
                connections[-1].sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=listen, daemon=True).start()
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        with raises("scheduler-lost", address, "scheduler") as caught:
            make_bg_cube_models(indir, "GADF", tmp_path / "out", scheduler=address, **SMALL)
        server.shutdown(socket.SHUT_RDWR)
    for connection in connections:
        connection.close()
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_schedulers_that_do_not_exist(indir, tmp_path, monkeypatch):
    """Invalid addresses and addresses without a scheduler are errors of one line, and leave no client open."""
    before = clients()
    monkeypatch.setattr(workers, "PATIENCE", 1.0)
    addresses = ["tcp://127.0.0.1:9", "tls://127.0.0.1:9", "tcp://nowhere.invalid:8786"]
    for address in (*addresses, "nonsense://x:8786", "nonsense", "tcp://x:99999"):
        with raises("scheduler-lost", address) as caught:
            make_bg_cube_models(indir, "GADF", tmp_path / "out", scheduler=address, **SMALL)
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "out").exists()
        assert all(client.status == "closed" for client in clients() if client not in before)
