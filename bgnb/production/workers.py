"""Where tasks are done: in this process, in others on this machine, on a Dask cluster, or wherever an executor does them."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from numbers import Integral
from typing import TypeVar

from bgnb._util.errors import BgnbError
from bgnb._util.signals import held_signals, leave_signals_to_the_caller
from bgnb.production.cluster import workers_of_client, workers_of_scheduler
from bgnb.production.tasks import IN_FLIGHT, Workers

T = TypeVar("T")
R = TypeVar("R")


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
        with workers_of_scheduler(scheduler) as found:
            yield found
        return
    if isinstance(workers, Executor):
        # Its caller closes it.
        dask = type(workers).__module__.startswith("distributed")
        yield workers_of_client(workers._client) if dask else Workers(workers.submit, IN_FLIGHT)  # type: ignore[attr-defined]
        return
    number = min(_cores(), most or _cores()) if workers is None else workers
    if isinstance(number, bool) or not isinstance(number, Integral) or number < 1:
        raise BgnbError(f"workers must be a whole number from 1 up, or an executor, got {workers!r}")
    if number == 1:
        yield Workers()
        return
    processes = _Processes(int(number))
    try:
        # One task waits besides those that are done. More would fill the pipe to the workers, and then some versions of
        # Python wait for ever for a pool of which a process died (CPython issue 94777).
        yield Workers(processes.submit, int(number) + 1, (BrokenExecutor,))
    finally:
        processes.close()


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Processes:
    """Worker processes on this machine, started anew where one died."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._executor: ProcessPoolExecutor | None = None
        self._life: Connection | None = None

    def submit(self, function: Callable[[T], R], task: T) -> Future[R]:
        for _ in range(3):
            executor = self._executor or self._start()
            try:
                with held_signals():
                    return executor.submit(function, task)
            except BrokenExecutor:
                self.close()
        raise BgnbError("worker processes are killed again and again; use workers=1")

    def _start(self) -> ProcessPoolExecutor:
        context = get_context("spawn")
        alive, self._life = context.Pipe(duplex=False)
        self._executor = ProcessPoolExecutor(self._number, context, _begin, (alive,))
        try:
            with held_signals():
                first = self._executor.submit(abs, -1)
            first.result()
        except BrokenExecutor:
            advice = 'in a script the call must stand under if __name__ == "__main__":, or use workers=1'
            raise BgnbError(f"worker processes die as soon as they start: {advice}") from None
        return self._executor

    def close(self) -> None:
        if self._executor is not None and self._life is not None:
            self._life.close()
            self._executor.shutdown(cancel_futures=True)
            self._executor = self._life = None


def _begin(alive: Connection) -> None:
    """What a worker process does first: it leaves signals to its caller, and ends at once when that wants it, or dies."""
    leave_signals_to_the_caller()

    def watch() -> None:
        with suppress(OSError):
            alive.poll(None)  # until the other end is closed, and be it by the death of the parent
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
