"""Tasks in processes of this machine and in any executor: what becomes of them where workers die, and who ends when."""

import os
import signal
import subprocess
import sys
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from multiprocessing import get_context

import numpy as np
import pytest

from bgnb import BgnbError, make_bg_cube_models
from bgnb.production.tasks import Lost, Workers
from bgnb.production.workers import open_workers
from tests.helpers.dask_cluster import SMALL, command, environment, lines
from tests.helpers.dying import square_or_die
from tests.helpers.files import names
from tests.helpers.processes import PATIENCE, alive, children, until
from tests.helpers.run_files import run, write_gadf


def test_only_a_task_that_kills_alone_is_lost(tmp_path):
    """Others are done, though they die with it, and one that killed its worker once is forgiven."""
    function = partial(square_or_die, {3: "always", 7: "once"}, tmp_path)
    with open_workers(2) as workers:
        results = dict(workers.map(function, range(1, 11)))
    assert isinstance(results.pop(3), Lost)
    assert results == {number: number**2 for number in range(1, 11) if number != 3}


def test_few_tasks_are_held_at_a_time():
    taken = []

    def tasks():
        for number in range(50):
            taken.append(number)
            yield number

    with ThreadPoolExecutor(2) as pool:
        seen = 0
        for task, result in Workers(pool.submit, in_flight=3).map(abs, tasks()):
            seen += 1
            assert task == result
            assert len(taken) <= seen + 3
    assert seen == 50


def test_tasks_that_are_not_begun_are_cancelled_where_nobody_wants_their_results():
    class Asleep(Executor):
        def __init__(self):
            self.futures = []

        def submit(self, function, /, *arguments, **keywords):
            self.futures.append(Future())
            if len(self.futures) == 1:
                self.futures[0].set_result(1)
            return self.futures[-1]

    asleep = Asleep()
    results = Workers(asleep.submit, in_flight=5).map(abs, range(9))
    next(results)
    results.close()
    assert [future.cancelled() for future in asleep.futures[1:]] == [True] * 4


@pytest.mark.parametrize("workers", [0, -2, True, "2", 2.0])
def test_numbers_of_workers_that_are_none(workers):
    with pytest.raises(BgnbError, match="workers must be a whole number from 1 up, or an executor, got"), open_workers(workers):
        pass


def test_workers_and_scheduler_exclude_each_other():
    with pytest.raises(BgnbError, match="give either workers or scheduler"), open_workers(2, "tcp://127.0.0.1:1"):
        pass


def test_numpy_integers_are_numbers():
    with open_workers(np.int64(1)) as workers:
        assert workers.submit is None


def test_executors_that_break_or_are_closed_are_one_clear_error(tmp_path):
    with ProcessPoolExecutor(1, get_context("spawn")) as pool, open_workers(pool) as workers:
        with pytest.raises(BgnbError, match="the executor is broken"):
            list(workers.map(partial(square_or_die, {1: "always"}, tmp_path), [1]))
        with pytest.raises(BgnbError, match="the executor takes no more work"):
            list(workers.map(abs, [1]))


def test_errors_of_tasks_come_through():
    with open_workers(2) as workers, pytest.raises(ZeroDivisionError):
        list(workers.map(partial(divmod, 1), [0]))


@pytest.fixture(scope="module")
def indir(tmp_path_factory):
    return write_gadf(tmp_path_factory.mktemp("runs") / "in", [run(obs_id, 20 + obs_id) for obs_id in range(2, 14)])


def test_a_script_without_main_guard_ends_with_one_clear_error(indir, tmp_path):
    arguments = f"{str(indir)!r}, 'GADF', {str(tmp_path / 'out')!r}, select='all', n_energy=6, n_fov=10"
    script = tmp_path / "script.py"
    script.write_text(f"import bgnb\nbgnb.make_bg_cube_models({arguments}, workers=2)\n")
    env = environment(tmp_path)
    done = subprocess.run([sys.executable, script], env=env, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 1
    assert 'in a script the call must stand under if __name__ == "__main__":' in done.stderr.splitlines()[-1]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_signals_leave_no_process_behind(indir, tmp_path, number, status):
    """Whether the command alone gets them, or, as Ctrl-C in a terminal, its workers too; though a run is just being read."""
    for obs_id in (2, 3):
        (tmp_path / f"wait{obs_id}").touch()
    change = {"bgnb.production.chunks": {"CHUNK_RUNS": 3}}
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


def test_any_executor_counts(indir, tmp_path):
    expected = make_bg_cube_models(indir, "GADF", tmp_path / "one", workers=1, **SMALL)
    with ThreadPoolExecutor(3) as pool:
        assert make_bg_cube_models(indir, "GADF", tmp_path / "threads", workers=pool, **SMALL) == expected
