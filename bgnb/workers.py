"""Where tasks are done: in this process, in others on this machine, or on a Dask cluster.

There is no scheduler of our own: whatever does the work is a `concurrent.futures.Executor`.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Executor, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from typing import Any, TypeVar

from bgnb.errors import BgnbError

T = TypeVar("T")
R = TypeVar("R")

#: Seconds that a Dask scheduler may be without workers, or not answer.
PATIENCE = 45.0
#: Tasks that are sent to an executor that is not ours before the first of them is done.
_IN_FLIGHT = 256
_POLL = 1.0


@dataclass(frozen=True)
class Lost:
    """In place of a result: the worker died of this task, even where it had nothing else to do."""

    reason: str


@dataclass(frozen=True)
class Workers:
    """Where tasks are done.

    Parameters
    ----------
    submit : callable, optional
        ``submit(function, task)`` returns a future; None: tasks are done in this process.
    in_flight : int
        Tasks that are sent before the first of them is done.
    deaths : tuple of type
        Errors that tell that a worker died of a task, not that the task failed.
    check : callable
        Raises a `BgnbError` where no result can be hoped for any more.
    """

    submit: Callable[[Callable[[Any], Any], Any], Future[Any]] | None = None
    in_flight: int = 1
    deaths: tuple[type[BaseException], ...] = ()
    check: Callable[[], None] = lambda: None

    def map(self, function: Callable[[T], R], tasks: Iterable[T]) -> Iterator[tuple[T, R | Lost]]:
        """Results of a function, in the order in which they come; a few tasks are held at a time.

        Tasks whose worker died are repeated at the end, one by one, so that none is blamed for
        another's fault.

        Raises
        ------
        BgnbError
            Where there is nobody left to do the work.
        """
        if self.submit is None:
            yield from ((task, function(task)) for task in tasks)
            return
        suspects: list[T] = []
        for task, result in self._results(function, iter(tasks), self.in_flight):
            if isinstance(result, Lost):
                suspects.append(task)
            else:
                yield task, result
        if suspects:
            ((_, alive),) = self._results(abs, iter([-1]), 1)
            if isinstance(alive, Lost):  # nobody's fault but the caller's
                advice = 'in a script the call must stand under if __name__ == "__main__":, or use workers=1'
                raise BgnbError(f"worker processes die as soon as they start: {advice}")
        yield from self._results(function, iter(suspects), 1)

    def _results(self, function: Callable[[T], R], tasks: Iterator[T], in_flight: int) -> Iterator[tuple[T, R | Lost]]:
        assert self.submit is not None
        waiting: dict[Future[Any], T] = {}
        try:
            while True:
                while len(waiting) < in_flight and (task := next(tasks, None)) is not None:
                    waiting[self.submit(function, task)] = task
                if not waiting:
                    return
                done, _ = wait(waiting, timeout=_POLL, return_when=FIRST_COMPLETED)
                if not done:
                    self.check()
                for future in done:
                    task = waiting.pop(future)
                    yield task, self._outcome(future)
        finally:
            for future in waiting:
                future.cancel()

    def _outcome(self, future: Future[Any]) -> Any:
        try:
            return future.result()
        except self.deaths as error:
            return Lost(str(error))
        except BrokenExecutor as error:
            raise BgnbError(f"the executor is broken: {error}") from error
        except CancelledError:
            raise BgnbError("the executor cancelled the work: is its scheduler still there?") from None


class _Processes:
    """Worker processes on this machine, started anew where one died."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._executor: ProcessPoolExecutor | None = None

    def submit(self, function: Callable[[T], R], task: T) -> Future[R]:
        for _ in range(2):
            if self._executor is None:
                self._executor = ProcessPoolExecutor(self._number, get_context("spawn"), _begin, (os.getpid(),))
            try:
                return self._executor.submit(function, task)
            except BrokenExecutor:
                self.close()
        raise BgnbError("worker processes cannot be started")

    def close(self) -> None:
        if self._executor is not None:
            self._executor.shutdown(cancel_futures=True)
            self._executor = None


@contextmanager
def open_workers(workers: int | Executor | None, scheduler: str | None = None, most: int | None = None) -> Iterator[Workers]:
    """Workers for the time of a block.

    Parameters
    ----------
    workers : int or `~concurrent.futures.Executor`, optional
        A number of processes on this machine, 1 for this process; by default as many as
        there are cores. Or where to run: ``distributed.Client(...).get_executor()``, say.
    scheduler : str, optional
        Address of a Dask scheduler, in place of ``workers``.
    most : int, optional
        By default no more processes than this: to start them takes a second.

    Raises
    ------
    BgnbError
        Where an argument cannot be used, or the scheduler does not answer.
    """
    if scheduler is not None:
        if workers is not None:
            raise BgnbError("give either workers or scheduler, not both")
        with _dask(scheduler) as found:
            yield found
        return
    if isinstance(workers, Executor):
        yield _of_executor(workers)
        return
    number = min(_cores(), most or _cores()) if workers is None else workers
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        raise BgnbError(f"workers must be a whole number from 1 up, or an executor, got {workers!r}")
    if number == 1:
        yield Workers()
        return
    processes = _Processes(number)
    try:
        yield Workers(processes.submit, 2 * number, (BrokenExecutor,))
    finally:
        processes.close()


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _begin(parent: int) -> None:
    """What a worker process does first: Ctrl-C is left to the parent, and when that dies, it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_POLL)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _of_executor(executor: Executor) -> Workers:
    """Workers of an executor that is the caller's, who closes it."""
    if type(executor).__module__.startswith("distributed"):
        from distributed.scheduler import KilledWorker

        # A task that is repeated must not be answered with what became of it the first time.
        return Workers(partial(executor.submit, pure=False), _IN_FLIGHT, (KilledWorker,))
    return Workers(executor.submit, _IN_FLIGHT)


@contextmanager
def _dask(address: str) -> Iterator[Workers]:
    """Workers of a Dask scheduler."""
    try:
        from distributed import Client
    except ImportError:
        raise BgnbError("a scheduler needs Dask: pip install 'bgnb[dask]'") from None
    try:
        client = Client(address, timeout=PATIENCE, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise BgnbError(f"no Dask scheduler answers at {address}: {reason[0]}") from None
    try:
        try:
            client.wait_for_workers(1, timeout=PATIENCE)
        except TimeoutError:
            raise BgnbError(f"the scheduler at {address} has no workers; start some: dask worker {address}") from None
        yield replace(_of_executor(client.get_executor()), check=_Watch(client, address).check)
    finally:
        client.close()


class _Watch:
    """Sees whether a scheduler is there, and has workers."""

    def __init__(self, client: Any, address: str) -> None:
        self._client, self._address = client, address
        self._since: float | None = None

    def check(self) -> None:
        if self._client.status == "running" and self._client.nthreads():
            self._since = None
            return
        self._since = self._since or time.monotonic()
        if time.monotonic() - self._since > PATIENCE:
            what = "has no workers any more" if self._client.status == "running" else "does not answer any more"
            raise BgnbError(f"the Dask scheduler at {self._address} {what}")
