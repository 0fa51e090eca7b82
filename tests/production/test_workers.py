"""Tasks in processes on this machine and in any executor: dead workers, signals, arguments."""

import errno
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import nullcontext
from functools import partial
from multiprocessing import active_children, get_context
from types import SimpleNamespace

import numpy as np
import pytest

from bgnb import make_bg_cube_models, make_models, make_test_dataset
from bgnb.files.output_directory import kept_folder
from bgnb.production import pipeline, workers
from bgnb.production.workers import Workers, open_workers
from tests.helpers.dask_cluster import SMALL, SMALL_CHUNKS, command, environment, lines
from tests.helpers.dying import square_or_die, write_half_and_die
from tests.helpers.errors import raises
from tests.helpers.files import digests, names
from tests.helpers.processes import PATIENCE, alive, children, until
from tests.helpers.run_files import run, write_gadf
from tests.helpers.time_limit import time_limit


@pytest.mark.slow
def test_processes_do_each_task_once():
    """Two processes return one result per task."""
    with open_workers(2) as workers:
        assert sorted(workers.map(abs, range(40))) == [(number, number) for number in range(40)]


@pytest.mark.slow
def test_killed_process_names_its_tasks():
    """At most one task besides those of the two processes can be lost."""
    function = partial(square_or_die, {3})
    with open_workers(2) as workers, raises("worker-died", 3, "workers = 1") as caught:
        list(workers.map(function, range(100, 0, -1)))
    assert str(caught.value).count(",") <= 2 + 1  # three tasks, and what to do


@pytest.mark.slow
def test_process_that_dies_while_it_writes(monkeypatch):
    """A result of which only the beginning arrived is not awaited, and the pool ends."""
    monkeypatch.setattr(workers, "PATIENCE", 1.0)
    with time_limit(), raises("worker-died"), open_workers(2) as pool:
        list(pool.map(write_half_and_die, range(10)))


@pytest.mark.slow
def test_any_number_of_processes():
    """Far more processes than tasks are no error."""
    with open_workers(10**18) as workers:
        assert list(workers.map(abs, [-3])) == [(-3, 3)]


@pytest.mark.parametrize(("seconds", "number"), [(None, 4), (0.0, 1), (2.9, 1), (3.0, 2), (8.0, 3), (9.0, 4), (1e9, 4)])
def test_short_tasks_use_few_processes(monkeypatch, seconds, number):
    """One process more than the main one is started for each 3 s."""
    monkeypatch.setattr(workers, "_cores", lambda: 4)
    assert workers.default_number(seconds) == number


@pytest.mark.parametrize(
    ("files", "number"),
    [
        ({"cpu.max": "150000 100000"}, 2),
        ({"cpu.max": "max 100000"}, 4),
        ({"cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "100000"}, 1),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 4),
        ({"cpu.max": "900000 100000"}, 4),
        ({}, 4),
    ],
)
def test_limits_of_containers_count(monkeypatch, tmp_path, files, number):
    """Not more processes are started than a container has cores, rounded up; it may not have more than the machine."""
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content + "\n")
    monkeypatch.setattr(workers, "_CGROUP", tmp_path)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(4))
    assert workers.default_number(None) == number


def test_size_of_files_counts(tmp_path, monkeypatch):
    """The estimated time grows with the size of the event files, and missing files do not matter."""
    seen = []
    monkeypatch.setattr(pipeline, "open_workers", lambda *arguments: nullcontext(seen.append(arguments[2]) or Workers()))
    for rate in (1.0, 20.0):
        make_test_dataset(tmp_path / f"{rate}", n_runs=3, trigger_rate=rate, workers=1)
        make_models(tmp_path / f"{rate}", "GADF", select="all", method="unsmoothed")
    sizes = [sum(path.stat().st_size for path in (tmp_path / name / "data").iterdir()) for name in ("1.0", "20.0")]
    assert seen[1] - seen[0] == pytest.approx(pipeline.SECONDS_PER_BYTE * (sizes[1] - sizes[0]))
    assert sizes[1] > 5 * sizes[0]
    next((tmp_path / "20.0" / "data").iterdir()).unlink()
    make_models(tmp_path / "20.0", "GADF", select="all", method="unsmoothed")
    assert seen[0] < seen[2] < seen[1]


def test_few_files_are_examined(monkeypatch):
    """The time for many runs is estimated from the size of some of their files, spread over all chunks."""
    examined = []

    def files(obs_id):
        size = examined.append(obs_id) or 1000 * obs_id
        return SimpleNamespace(events=SimpleNamespace(path=SimpleNamespace(stat=lambda: SimpleNamespace(st_size=size))))

    plan = SimpleNamespace(runs=SimpleNamespace(files=files))
    seconds = pipeline._estimated_seconds(plan, [range(start, start + 25) for start in range(0, 1000, 25)])
    assert len(examined) <= 100
    assert seconds == pytest.approx(1000 * (pipeline.SECONDS_PER_RUN + pipeline.SECONDS_PER_BYTE * 500_000), rel=0.02)
    assert pipeline._estimated_seconds(plan, []) == 0


def test_few_tasks_are_in_flight():
    """The number of submitted tasks is limited."""
    taken = []

    def tasks():
        for number in range(50):
            taken.append(number)
            yield number

    with ThreadPoolExecutor(2) as pool:
        seen = 0
        for task, result in Workers(submit=pool.submit, in_flight=3).map(abs, tasks()):
            seen += 1
            assert task == result
            assert len(taken) <= seen + 3
    assert seen == 50


def test_waiting_tasks_are_cancelled():
    """If the consumer stops, tasks that have not begun are not done."""

    class Asleep(Executor):
        def __init__(self):
            self.futures = []

        def submit(self, function, /, *arguments, **keywords):
            self.futures.append(Future())
            if len(self.futures) == 1:
                self.futures[0].set_result(1)
            return self.futures[-1]

    asleep = Asleep()
    results = Workers(submit=asleep.submit, in_flight=5).map(abs, range(9))
    next(results)
    results.close()
    assert [future.cancelled() for future in asleep.futures[1:]] == [True] * 4


def test_signals_to_other_threads_end_a_wait(monkeypatch):
    """A wait for results ends by a signal that another thread receives."""
    monkeypatch.setattr(workers, "PATIENCE", 2 * PATIENCE)
    future: Future[int] = Future()
    handled = threading.Event()
    in_time = []

    def kill():
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
        in_time.append(handled.wait(20))
        if in_time == [False]:
            future.set_result(1)  # ends the wait

    def end(*_):
        handled.set()
        raise InterruptedError

    before = signal.signal(signal.SIGUSR1, end)
    killing = threading.Timer(0.1, kill)

    def wait():
        killing.start()
        list(Workers(submit=lambda *_: future).map(abs, [1]))

    try:
        with pytest.raises(InterruptedError):
            wait()
        killing.join()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert in_time == [True]


def test_stopped_processes_are_killed(monkeypatch):
    """Processes that are stopped end with the block nevertheless."""
    monkeypatch.setattr(workers, "KILLED_AFTER", 0.1)
    before = active_children()
    with open_workers(2) as some:
        assert list(some.map(abs, [-1])) == [(-1, 1)]
        started = [process for process in active_children() if process not in before]
        assert started
        for process in started:
            os.kill(process.pid, signal.SIGSTOP)
    assert not any(alive(process.pid) for process in started)


@pytest.mark.parametrize("workers", [0, -2, True, "2", 2.0])
def test_invalid_numbers_of_workers(workers):
    """Numbers of workers below one or of another type are refused."""
    with raises("invalid-argument", "workers"), open_workers(workers):
        pass


def test_workers_and_scheduler_conflict():
    """A number of workers and a scheduler exclude each other."""
    with raises("conflicting-arguments", "workers", "scheduler"), open_workers(2, "tcp://127.0.0.1:1"):
        pass


def test_numpy_integers_are_accepted():
    """NumPy integers are valid numbers of workers."""
    with open_workers(np.int64(1)) as workers:
        assert workers.submit is None


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS, errno.ENOENT])
def test_shared_memory_that_cannot_be_written(tmp_path, monkeypatch, number):
    """If shared memory is full or not writable, the error is not that of the output, which may be elsewhere."""

    def no_semaphore(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("multiprocessing.synchronize._multiprocessing.SemLock", no_semaphore)
    with raises("worker-died", os.strerror(number), "workers = 1", "/dev/shm"):
        make_test_dataset(tmp_path / "out", n_runs=2, workers=2)
    assert names(tmp_path) == set()


def test_no_semaphore_without_a_tracker(tmp_path, monkeypatch):
    """If Python cannot start the process that removes semaphores, for lack of open files, none is made."""

    def too_many():
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(workers, "ensure_running", too_many)
    monkeypatch.setattr("multiprocessing.synchronize._multiprocessing.SemLock", None)
    with raises("worker-died", os.strerror(errno.EMFILE), "ulimit -n"):
        make_test_dataset(tmp_path / "out", n_runs=2, workers=2)


def test_threads_that_cannot_be_started(tmp_path, monkeypatch):
    """If the system permits no more threads, worker processes cannot be started."""

    def no_thread(_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", no_thread)
    monkeypatch.setattr(workers, "KILLED_AFTER", 0)
    with raises("worker-died", "can't start new thread", "workers = 1", "ulimit -u"):
        make_test_dataset(tmp_path / "out", n_runs=2, workers=2)
    assert names(tmp_path) == set()


def test_broken_executor_is_clear_error():
    """An executor whose process died gives an error for the current and for later tasks."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool, open_workers(pool) as workers:
        with raises("worker-died", 1):
            list(workers.map(partial(square_or_die, {1}), [1]))
        with raises("worker-died"):
            list(workers.map(abs, [1]))


def test_executor_that_was_shut_down():
    """An executor whose block has ended, as in the next cell of a notebook, is an error that says so."""
    with ThreadPoolExecutor(1) as pool:
        pass
    with raises("worker-died", "shutdown", "open"), open_workers(pool) as workers:
        list(workers.map(abs, [1]))


def _in_daemon(workers):
    with open_workers(workers, seconds=1000.0) as found:
        return found.submit is None


def test_process_of_a_pool():
    """Daemonic processes, which cannot start others, do the work themselves, unless several processes are asked for."""
    with get_context("spawn").Pool(1) as pool:
        assert pool.apply(_in_daemon, [None])
        with raises("invalid-argument", "daemonic", "workers = 1"):
            pool.apply(_in_daemon, [2])


def test_errors_of_tasks_are_raised():
    """An exception in a task is raised in the caller."""
    with open_workers(2) as workers, pytest.raises(ZeroDivisionError):
        list(workers.map(partial(divmod, 1), [0]))


@pytest.fixture(scope="module")
def indir(tmp_path_factory):
    return write_gadf(tmp_path_factory.mktemp("runs") / "in", [run(obs_id, 20 + obs_id) for obs_id in range(2, 14)])


@pytest.mark.slow
def test_script_without_main_guard(indir, tmp_path):
    """A script without ``__main__`` guard gets an error that shows the guard."""
    arguments = f"{str(indir)!r}, 'GADF', {str(tmp_path / 'out')!r}, select='all', n_energy=6, n_fov=10"
    script = tmp_path / "script.py"
    script.write_text(f"import bgnb\nbgnb.make_bg_cube_models({arguments}, workers=2)\n")
    env = environment(tmp_path)
    done = subprocess.run([sys.executable, script], env=env, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 1
    assert 'if __name__ == "__main__":' in done.stderr.splitlines()[-1]
    assert "[worker-died]" in done.stderr.splitlines()[-1]
    assert "ulimit" not in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_run_that_kills_its_process(indir, tmp_path):
    """The command ends with one line that names the run; without it the same command continues from the counts so far."""
    for kind in ("kill", "wait"):
        (tmp_path / f"{kind}11").touch()
    watched = {"WATCH": tmp_path, "CHANGE": SMALL_CHUNKS}
    arguments = (indir, "GADF", tmp_path / "out", "--workers", 2)
    with command(tmp_path, *arguments, **watched) as process:
        until(
            lambda: len(list(kept_folder(tmp_path / "out").glob("[0-9a-f]*"))) == 5,
            "all chunks but one",
            process,
        )
        (tmp_path / "wait11").unlink()
        _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2
    error, note = errors.splitlines()
    assert error.startswith("Error: ")
    assert error.endswith("[worker-died]")
    assert "runs 5, 7, 11;" in error
    assert str(kept_folder(tmp_path / "out")) in note
    (tmp_path / "read").unlink()
    others = [obs_id for obs_id in range(2, 14) if obs_id != 11]
    (tmp_path / "others").write_text("\n".join(map(str, others)))
    with command(tmp_path, *arguments, **watched, select=tmp_path / "others") as process:
        assert process.wait() == 0, process.stderr.read()
    assert sorted(map(int, lines(tmp_path / "read"))) == [5, 7, 13]  # of one group
    make_bg_cube_models(indir, "GADF", tmp_path / "expected", workers=1, **SMALL | {"select": others})
    assert digests(tmp_path / "out") == digests(tmp_path / "expected")


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_signals_leave_no_process(indir, tmp_path, number, status):
    """Only the command gets the signal, or, as from Ctrl-C in a terminal, also its workers; each is reading a run."""
    for obs_id in (2, 3):
        (tmp_path / f"wait{obs_id}").touch()
    change = {"bgnb.production.count_chunks": {"CHUNK_RUNS": 3}}
    with command(tmp_path, indir, "GADF", tmp_path / "out", "--workers", 2, WATCH=tmp_path, CHANGE=change) as process:
        until(lambda: {"2", "3"} <= set(lines(tmp_path / "read")), "two runs that wait", process)
        workers = children(process.pid)
        assert len(workers) >= 2
        if number == signal.SIGINT:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        _, errors = process.communicate(timeout=PATIENCE)
        assert process.returncode == status
        until(lambda: not any(map(alive, workers)), "the end of the workers")
    if status > 0:
        assert errors.splitlines() == ["Interrupted; unfinished output is removed."]
        assert not [name for name in names(tmp_path) if "out" in name]


@pytest.mark.slow
def test_any_executor_counts(indir, tmp_path):
    """Threads give the same report as one process."""
    expected = make_bg_cube_models(indir, "GADF", tmp_path / "one", workers=1, **SMALL)
    with ThreadPoolExecutor(3) as pool:
        assert make_bg_cube_models(indir, "GADF", tmp_path / "threads", workers=pool, **SMALL) == expected


def test_dead_worker_of_a_simulation(tmp_path):
    """A dead worker ends a simulation with the run in the error, and no output."""

    class Dying(Executor):
        def submit(self, function, /, *arguments, **keywords):
            future = Future()
            future.set_exception(BrokenExecutor("died"))
            return future

    with raises("worker-died", "run 1"):
        make_test_dataset(tmp_path / "out", n_runs=1, trigger_rate=2, workers=Dying())
    assert names(tmp_path) == set()
