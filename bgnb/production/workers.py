"""Distribution of tasks over processes on this machine, a Dask cluster, or any `concurrent.futures.Executor`."""

from __future__ import annotations

import errno
import logging
import os
import pickle
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, ProcessPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from math import ceil
from multiprocessing import current_process, get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.resource_tracker import ensure_running
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, TypeVar

from bgnb._util.checks import whole_number
from bgnb._util.errors import BgnbError, enumerate_values
from bgnb._util.extras import require
from bgnb._util.signals import held_signals, leave_signals_to_the_caller
from bgnb._version import __version__

T = TypeVar("T")
R = TypeVar("R")

#: Maximum number of tasks submitted to an executor before the first of them is done.
IN_FLIGHT = 256
#: Time in s without a result after which a Dask scheduler is asked for its workers, and timeout for the answer.
PATIENCE = 45.0
#: Estimated CPU time of tasks, s, for which one more process is started by default: two of them gain from about five times
#: the time that one takes to start (0.6 s, ``benchmarks/workers.py``), as they share caches and often a core.
SECONDS_PER_WORKER = 3.0
#: Time in s after which processes that should have ended are killed.
KILLED_AFTER = 5.0
# Maximum number of processes, far above the number of cores of any machine; they are started when there are tasks for them.
_MAX_PROCESSES = 4096
# Linux shows the limits of a container here, by cgroups 2 or 1.
_CGROUP = Path("/sys/fs/cgroup")
# Longest wait that no signal interrupts, s.
_SHORT = 0.5
# Held while the environment of this process differs.
_ENVIRONMENT = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class Workers:
    """Processes or threads that execute tasks.

    Parameters
    ----------
    submit : callable, optional
        ``submit(function, task)`` returns a future. By default tasks are executed in this process.
    in_flight : int
        Maximum number of tasks submitted before the first of them is done.
    killed : type
        Exception raised by a task whose worker died.
    check : callable
        Function that raises a `BgnbError` if no more results can be expected.
    result_of : callable
        Function that returns the result of a future that is done, or raises its exception.
    cancels : bool
        Cancel tasks that are left at the end; not needed if the workers end then.
    """

    submit: Callable[[Callable[[Any], Any], Any], Any] | None = None
    in_flight: int = IN_FLIGHT
    killed: type[BaseException] = BrokenExecutor
    check: Callable[[], None] = lambda: None
    result_of: Callable[[Any], Any] = lambda future: future.result()
    cancels: bool = True

    def map(self, function: Callable[[T], R], tasks: Iterable[T]) -> Iterator[tuple[T, R]]:
        """Yield each task with its result, in order of completion.

        Raises
        ------
        BgnbError
            If a worker died or cannot import bgnb, or no workers are left.
        """
        if self.submit is None:
            yield from ((task, function(task)) for task in tasks)
            return
        tasks, pending = iter(tasks), dict[Any, T]()
        done: SimpleQueue[Any] = SimpleQueue()
        try:
            while True:
                for task in islice(tasks, self.in_flight - len(pending)):
                    future = self._submitted(function, task)
                    pending[future] = task
                    # Nothing that may wait: all clients of Dask in this process have one thread for this.
                    future.add_done_callback(done.put)
                if not pending:
                    return
                if (future := _next_done(done)) is None:
                    self.check()
                    continue
                result = self.result_of(future)
                task = pending.pop(future)
                del future  # Dask repeats a task whose result was lost with its worker as long as it has a reference
                yield task, result
        except BrokenExecutor as error:  # all its tasks fail at once
            raise _worker_died(pending.values()) from error
        except self.killed as error:
            raise _worker_died([pending[future]]) from error
        except CancelledError:
            raise BgnbError("scheduler-lost", "the scheduler or executor cancelled the work; is it still running?") from None
        except ImportError as error:
            raise BgnbError("version-mismatch", f"a worker cannot import bgnb: {error}; install bgnb {__version__}") from error
        finally:
            for future in pending if self.cancels else ():
                future.cancel()

    def _submitted(self, function: Callable[[Any], Any], task: object) -> Any:
        assert self.submit is not None
        try:
            return self.submit(function, task)
        except BrokenExecutor:
            raise
        except RuntimeError as error:
            if "shutdown" not in str(error):
                raise
            raise BgnbError("worker-died", f"the executor takes no tasks ({error}); give one that is open") from None


def _next_done(done: SimpleQueue[Any]) -> Any:
    """Wait for a future that is done; return None if there is none in time.

    A signal that another thread receives, or that arrives just before a wait, is handled only when the wait ends, so waits
    are short.
    """
    deadline = time.monotonic() + PATIENCE
    while (left := deadline - time.monotonic()) > 0:
        with suppress(Empty):
            return done.get(timeout=min(left, _SHORT))
    return None


def _worker_died(tasks: Collection[object]) -> BgnbError:
    """Return the error for a worker that died during one of these tasks."""
    names = enumerate_values(tasks, maximum=10) or "nothing"
    advice = "try workers = 1, or without these runs"
    return BgnbError("worker-died", f"a worker died (out of memory?) while it processed {names}; {advice}")


@contextmanager
def open_workers(
    workers: int | Executor | None, scheduler: str | None = None, seconds: float | None = None
) -> Iterator[Workers]:
    """Provide workers for the duration of a block.

    Parameters
    ----------
    workers : int or `~concurrent.futures.Executor`, optional
        Number of processes on this machine, 1 for this process only; by default the number of cores, if the tasks take long
        enough; 1 in a daemonic process, as those of `multiprocessing.pool.Pool` and Dask, and in Python started with -E.
        Or an executor, such as ``distributed.Client(...).get_executor()``.
    scheduler : str, optional
        Address of a Dask scheduler, instead of ``workers``.
    seconds : float, optional
        Estimated CPU time of all tasks, s, on which the default number of processes depends.

    Raises
    ------
    BgnbError
        If an argument is invalid, or the scheduler does not answer or has no workers.
    """
    if scheduler is not None:
        if workers is not None:
            raise BgnbError("conflicting-arguments", "give either workers or scheduler, not both")
        with _scheduler(scheduler) as found:
            yield found
    elif isinstance(workers, Executor):  # its caller closes it
        dask = type(workers).__module__.startswith("distributed")
        yield _dask_workers(workers._client, patient=True) if dask else Workers(submit=workers.submit)  # type: ignore[attr-defined]
    elif (number := default_number(seconds) if workers is None else whole_number("workers", workers)) == 1:
        yield Workers()
    else:
        if current_process().daemon:
            kind = "a daemonic process, as those of multiprocessing.Pool and Dask,"
            raise BgnbError("invalid-argument", f"{kind} cannot start {number} others; use workers = 1")
        if _ignores_safe_path():
            reason = "processes that Python -E starts import modules from the current directory"
            raise BgnbError("invalid-argument", f"{reason}; use workers = 1, or start Python with -P as well")
        with _processes(min(number, _MAX_PROCESSES)) as found:
            yield found


def default_number(seconds: float | None) -> int:
    """Return the number of cores, but at most one and one more for each `SECONDS_PER_WORKER` of tasks."""
    cores = 1 if current_process().daemon or _ignores_safe_path() else _cores()  # these start no others
    return cores if seconds is None else min(cores, 1 + int(seconds / SECONDS_PER_WORKER))


def _cores() -> int:
    """Return the number of cores that this process may use; a container may have only a part of the time of all cores."""
    cores = os.cpu_count() or 1
    with suppress(AttributeError, OSError):  # macOS has no such function, and a sandbox may not permit it
        cores = len(os.sched_getaffinity(0))
    for names in (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        with suppress(OSError, ValueError, ZeroDivisionError):  # such as "max" or -1 for no limit
            quota, period = (int(number) for name in names for number in (_CGROUP / name).read_text().split())
            if quota > 0:
                cores = min(cores, ceil(quota / period))
    return cores


@contextmanager
def _processes(number: int) -> Iterator[Workers]:
    """Start processes on this machine; they end with the block or with this process."""
    context = get_context("spawn")
    with _starting():
        ensure_running()  # before there is a semaphore, which nobody else would remove
        receiver, sender = context.Pipe(duplex=False)
        pool = ProcessPoolExecutor(number, context, _start_worker, (receiver,))

    def submit(function: Callable[[T], R], task: T) -> Future[R]:
        with _starting():
            return pool.submit(function, task)

    try:
        try:
            submit(abs, -1).result()
        except BrokenExecutor:
            advice = 'put the call under if __name__ == "__main__": in a script that is a file, or use workers = 1'
            raise BgnbError("worker-died", f"worker processes die when they start; {advice}") from None
        # Only a single task waits, as more could fill the pipe to the workers, and then early versions of Python 3.11
        # never notice that a process died (CPython issue 94777).
        yield Workers(submit=submit, in_flight=number + 1, check=partial(_check_processes, pool), cancels=False)
    finally:
        sender.close()
        try:
            _end(list((pool._processes or {}).values()))
        finally:
            _stop_reading(pool)
            with suppress(RuntimeError):  # if its thread was never started
                pool.shutdown(cancel_futures=True)


def _check_processes(pool: ProcessPoolExecutor) -> None:
    """End the processes if one of them died while it was writing a result, which the pool does not notice."""
    processes = list((pool._processes or {}).values())
    if any(process.exitcode is not None for process in processes):
        for process in processes:
            process.kill()
        _stop_reading(pool)


def _stop_reading(pool: ProcessPoolExecutor) -> None:
    """Let the thread of a pool whose processes ended not wait for the rest of what one of them wrote."""
    with suppress(AttributeError, OSError):
        pool._result_queue._writer.close()  # type: ignore[attr-defined]


def _end(processes: Collection[Any]) -> None:
    """Wait for processes to end; kill those that do not, for example because they are stopped."""
    deadline = time.monotonic() + KILLED_AFTER
    try:
        for process in processes:
            wait([process.sentinel], max(deadline - time.monotonic(), 0))
    finally:
        for process in processes:
            process.kill()


@contextmanager
def _starting() -> Iterator[None]:
    """Hold signals, as Python may start its resource tracker in the block, which would not survive SIGHUP."""
    try:
        with held_signals(), _safe_path():
            yield
    except (OSError, RuntimeError) as error:
        number = getattr(error, "errno", None)
        no_thread = "new thread" in str(error)
        if number == errno.ENOMEM or not (no_thread or isinstance(error, OSError)):
            raise
        of_limits = no_thread or number in (errno.EMFILE, errno.ENFILE, errno.EAGAIN)
        more = "permit more open files (ulimit -n) or processes (ulimit -u)"
        advice = f"use workers = 1, or {more if of_limits else 'check that shared memory (/dev/shm) is writable and not full'}"
        reason = getattr(error, "strerror", None) or error
        raise BgnbError("worker-died", f"worker processes cannot be started: {reason}; {advice}") from None


@contextmanager
def _safe_path() -> Iterator[None]:
    """Let Python processes that start in the block import no module from the current directory.

    Python starts them with ``-c``, and would search the current directory first, until they receive the path of this process.
    """
    with _ENVIRONMENT:
        before = os.environ.get("PYTHONSAFEPATH")
        os.environ["PYTHONSAFEPATH"] = "1"
        try:
            yield
        finally:
            if before is None:
                del os.environ["PYTHONSAFEPATH"]
            else:
                os.environ["PYTHONSAFEPATH"] = before


def _ignores_safe_path() -> bool:
    """Return true if the interpreter ignores the variable that `_safe_path` sets, and hands this on to processes."""
    return bool(sys.flags.ignore_environment and not sys.flags.safe_path)


def _start_worker(parent: Connection) -> None:
    """Let the parent process handle signals, and exit when it closes its end of the pipe or dies."""
    leave_signals_to_the_caller()
    logging.getLogger("matplotlib").addHandler(logging.NullHandler())  # as in `bgnb.__main__`
    threading.Thread(target=lambda: (wait([parent]), os._exit(1)), daemon=True).start()


@contextmanager
def _scheduler(address: str) -> Iterator[Workers]:
    """Connect to a Dask scheduler."""
    require("dask")
    try:
        from distributed import Client
    except (MemoryError, ImportError):
        raise
    except Exception as error:  # of many kinds, for its settings
        settings = "the variables DASK_* and the files in ~/.config/dask"
        reason = str(error).partition("\n")[0]
        raise BgnbError("invalid-value", f"Dask cannot be loaded, perhaps for its settings ({settings}): {reason}") from None

    class ClosingClient(Client):
        """Client that closes itself if it cannot connect.

        Otherwise the garbage collector does it, in any thread: in that of the next client, both wait for each other.
        """

        def start(self, **options: Any) -> None:
            try:
                super().start(callback_timeout=PATIENCE, **options)  # also if something else listens there, and says nothing
            except BaseException:
                _close(self)
                raise

    with ExitStack() as stack:
        for name in ("distributed", "distributed.client"):  # errors are reported here
            logger = logging.getLogger(name)
            stack.callback(logger.setLevel, logger.level)
            logger.setLevel(logging.CRITICAL)
        try:
            client = ClosingClient(address, timeout=PATIENCE, set_as_default=False)
        except Exception as error:  # of many kinds, also for its settings; a MemoryError for the size in an answer of others
            reason = str(error).partition("\n")[0] or type(error).__name__
            what = (
                "no Dask scheduler answers" if isinstance(error, OSError) else "Dask cannot connect (is it a Dask scheduler?)"
            )
            raise BgnbError("scheduler-lost", f"{address}: {what}: {reason}") from None
        stack.callback(_close, client)
        workers = _dask_workers(client)
        workers.check()
        yield workers


def _close(client: Any) -> None:
    with suppress(OSError):  # if its scheduler does not answer
        client.close(timeout=5)


def _dask_workers(client: Any, *, patient: bool = False) -> Workers:
    """Return the workers of a Dask client; if patient, wait indefinitely for workers, which a batch system may start late."""
    from distributed import KilledWorker

    def submit(function: Callable[[Any], Any], task: object) -> Any:
        # A task is sent as bytes, as a scheduler or worker without bgnb would fail to unpickle it before it is run.
        return client.submit(pickle.loads, pickle.dumps(_Call(function, task)), pure=False)

    def check() -> None:
        try:
            client.nthreads(callback_timeout=PATIENCE)
            if not patient:
                client.wait_for_workers(1, timeout=PATIENCE)
        except OSError as error:
            where = f"the Dask scheduler at {client.scheduler.address}"
            raise BgnbError("scheduler-lost", f"{where} does not answer or has no workers: {error}") from None

    def result_of(future: Any) -> Any:
        while True:
            try:
                return future.result(timeout=PATIENCE)
            except TimeoutError:
                if future.status == "error":  # raised by the task
                    raise
                check()

    return Workers(submit=submit, killed=KilledWorker, check=check, result_of=result_of)


class _Call(NamedTuple):
    """Function call that is executed when it is unpickled."""

    function: Callable[[Any], Any]
    task: Any

    def __reduce__(self) -> tuple[Callable[[Any], Any], tuple[Any]]:
        return self.function, (self.task,)
