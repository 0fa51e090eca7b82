"""A real Dask scheduler and real workers: the exact result, whoever dies, or one clear line."""

import os
import signal
import threading
from contextlib import ExitStack, contextmanager

import pytest

from bgnb import BgnbError, make_bg_cube_models
from bgnb.production import cluster
from tests.helpers.dask_cluster import OBS_IDS, SMALL, SMALL_CHUNKS, Cluster, command, lines
from tests.helpers.files import digests
from tests.helpers.processes import PATIENCE, until
from tests.helpers.run_files import run, write_gadf

distributed = pytest.importorskip("distributed")
# Threads and sockets of Dask's that it leaves to the end of the process.
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
    """A cluster that blames tasks at the first death, and so often the innocent; its processes watch a folder."""
    folder = tmp_path_factory.mktemp("cluster")
    with ExitStack() as stack:
        found = Cluster(folder, stack, DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES=0, BGNB="none")
        for _ in range(2):
            found.add_worker(WATCH=folder)
        yield found


@pytest.fixture
def two(two_workers, monkeypatch):
    """The same, with both workers there, and nothing in the way of reading."""
    for path in two_workers.folder.glob("[rwk]*[0-9d]"):
        path.unlink()
    monkeypatch.setattr("bgnb.production.chunks.CHUNK_RUNS", 3)
    until(lambda: len(workers_of(two_workers)) == 2, "two workers")
    return two_workers


def workers_of(found):
    """Numbers of the worker processes."""
    with distributed.Client(found.address, set_as_default=False) as client:
        return client.run(os.getpid, on_error="ignore")


@contextmanager
def making(indir, out, **arguments):
    """Make models in a thread; its result or error comes in the list when the block ends."""
    results = []

    def make():
        try:
            results.append(make_bg_cube_models(indir, "GADF", out, **SMALL, **arguments))
        except BaseException as error:
            results.append(error)

    thread = threading.Thread(target=make)
    thread.start()
    yield results
    thread.join(timeout=120)
    assert not thread.is_alive()


def test_the_same_files_and_a_scheduler_that_needs_no_bgnb(indir, expected, two, tmp_path):
    make_bg_cube_models(indir, "GADF", tmp_path / "out", scheduler=two.address, **SMALL)
    assert digests(tmp_path / "out") == expected
    with distributed.Client(two.address, set_as_default=False) as client:
        make_bg_cube_models(indir, "GADF", tmp_path / "executor", workers=client.get_executor(), **SMALL)
    assert digests(tmp_path / "executor") == expected


def test_workers_killed_in_the_middle_change_nothing(indir, expected, two, tmp_path):
    for obs_id in (11, 12):
        (two.folder / f"wait{obs_id}").touch()
    with making(indir, tmp_path / "out", scheduler=two.address) as results:
        for _ in range(2):
            before = lines(two.folder / "read")
            until(lambda before=before: {"11", "12"} & {*lines(two.folder / "read")[len(before) :]}, "a worker that waits")
            for pid in workers_of(two).values():
                os.kill(pid, signal.SIGKILL)
        for obs_id in (11, 12):
            (two.folder / f"wait{obs_id}").unlink()
    assert len(results[0].group_ids) == len(OBS_IDS)
    assert digests(tmp_path / "out") == expected


def test_only_the_run_that_kills_workers_is_blamed(indir, two, tmp_path):
    (two.folder / "kill11").touch()
    report = make_bg_cube_models(indir, "GADF", tmp_path / "out", scheduler=two.address, **SMALL)
    path = indir / "data" / "run11.fits.gz"
    died = "the worker that read run 11 died, even where it had nothing else to do; has it enough memory?"
    assert report.faults == {11: f"{path}: {died}"}
    assert len(report.group_ids) == len(OBS_IDS) - 1
    others = [obs_id for obs_id in OBS_IDS if obs_id != 11]
    expected = make_bg_cube_models(indir, "GADF", tmp_path / "others", workers=1, **SMALL | {"select": others})
    assert report.groups == expected.groups
    files = {name for group in report.groups for name in group.files}
    made, wanted = (digests(tmp_path / name) for name in ("out", "others"))
    assert {name: made[name] for name in files} == {name: wanted[name] for name in files}


def test_ctrl_c_ends_the_command_and_its_tasks(indir, two, tmp_path):
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


def test_a_scheduler_that_stops_answering_is_one_clear_error(indir, two, tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "PATIENCE", 3.0)
    monkeypatch.setattr(cluster, "_ANSWER", 1.0)
    (two.folder / "wait11").touch()
    try:
        with making(indir, tmp_path / "out", scheduler=two.address) as results:
            until(lambda: "11" in lines(two.folder / "read"), "a worker that reads run 11")
            two.scheduler.send_signal(signal.SIGSTOP)
    finally:
        two.scheduler.send_signal(signal.SIGCONT)
        (two.folder / "wait11").unlink()
    assert str(results[0]) == f"the Dask scheduler at {two.address} does not answer any more"


def test_a_scheduler_that_dies_is_one_clear_line_and_what_was_counted_is_kept(indir, expected, tmp_path):
    (tmp_path / "wait11").touch()
    kept = tmp_path / ".out.bgnb-kept"
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
    assert died == "Error: the executor cancelled the work: is its scheduler still there?"
    assert note == f"What was counted is kept in {kept}, and the same command goes on from there."
    (tmp_path / "wait11").unlink()
    (tmp_path / "read").unlink()
    with command(tmp_path, indir, "GADF", tmp_path / "out", "--workers", 2, **settings) as process:
        assert process.wait() == 0, process.stderr.read()
    assert sorted(map(int, lines(tmp_path / "read"))) == [5, 7, 11]
    assert digests(tmp_path / "out") == expected


def test_no_scheduler_no_workers_and_workers_of_another_bgnb(indir, tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "PATIENCE", 1.0)
    with ExitStack() as stack:
        found = Cluster(tmp_path, stack)
        arguments = {"scheduler": found.address, **SMALL}
        with pytest.raises(BgnbError, match=rf"^the scheduler at {found.address} has no workers; start some: dask worker"):
            make_bg_cube_models(indir, "GADF", tmp_path / "out", **arguments)
        monkeypatch.setattr(cluster, "PATIENCE", 60.0)
        for version, message in (
            ("none", r"^a worker lacks what it needs: .*bgnb.*; install bgnb .* for the workers$"),
            ("7.1", r"^a worker has bgnb 7\.1, this is bgnb .*: install the same everywhere$"),
        ):
            worker = found.add_worker(BGNB=version)
            with pytest.raises(BgnbError, match=message):
                make_bg_cube_models(indir, "GADF", tmp_path / "out", **arguments)
            worker.terminate()
            until(lambda: not workers_of(found), "no worker")
        found.scheduler.kill()
        found.scheduler.wait()
        monkeypatch.setattr(cluster, "PATIENCE", 1.0)
        for address in (found.address, "tcp://nowhere.invalid:8786", "nonsense://x:8786"):
            with pytest.raises(BgnbError, match=f"^no Dask scheduler answers at {address}: .") as caught:
                make_bg_cube_models(indir, "GADF", tmp_path / "out", **arguments | {"scheduler": address})
            assert "\n" not in str(caught.value)
    for address in ("nonsense", "nonsense://x", "tcp://10.0.0.1:99999"):
        with pytest.raises(BgnbError, match=f"^scheduler must be an address such as tcp://10.0.0.1:8786, got '{address}'$"):
            make_bg_cube_models(indir, "GADF", tmp_path / "out", **arguments | {"scheduler": address})
    assert not (tmp_path / "out").exists()
