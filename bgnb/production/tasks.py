"""Tasks and their results: sent to wherever they are done, and repeated where a worker died.

There is no scheduler of our own: whatever does the work is a `concurrent.futures.Executor`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Future, wait
from dataclasses import dataclass
from typing import Any, TypeVar

from bgnb._util.errors import BgnbError
from bgnb._version import __version__

T = TypeVar("T")
R = TypeVar("R")

#: Tasks that are sent to an executor that is not ours before the first of them is done.
IN_FLIGHT = 256
#: Seconds without a result after which it is asked whether any can be hoped for.
POLL = 1.0


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

        Tasks whose worker died are repeated at the end, one by one.

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
        yield from self.one_by_one(function, suspects)

    def one_by_one(self, function: Callable[[T], R], tasks: Iterable[T]) -> Iterator[tuple[T, R | Lost]]:
        """Results of a function; as one task is done at a time, none is blamed for another's fault."""
        return self._results(function, iter(tasks), 1)

    def _results(self, function: Callable[[T], R], tasks: Iterator[T], in_flight: int) -> Iterator[tuple[T, R | Lost]]:
        waiting: dict[Future[Any], T] = {}
        try:
            while True:
                while len(waiting) < in_flight and (task := next(tasks, None)) is not None:
                    waiting[self._sent(function, task)] = task
                if not waiting:
                    return
                done, _ = wait(waiting, timeout=POLL, return_when=FIRST_COMPLETED)
                if not done:
                    self.check()
                for future in done:
                    task = waiting.pop(future)
                    yield task, self._outcome(future)
        finally:
            for future in waiting:
                future.cancel()

    def _sent(self, function: Callable[[T], R], task: T) -> Future[Any]:
        assert self.submit is not None
        try:
            return self.submit(function, task)
        except RuntimeError as error:  # of which BrokenExecutor is one
            raise BgnbError(f"the executor takes no more work: {error}") from error

    def _outcome(self, future: Future[Any]) -> Any:
        try:
            return future.result()
        except self.deaths as error:
            return Lost(str(error))
        except BrokenExecutor as error:
            raise BgnbError(f"the executor is broken: {error}") from error
        except CancelledError:
            raise BgnbError("the executor cancelled the work: is its scheduler still there?") from None
        except ImportError as error:
            raise BgnbError(f"a worker lacks what it needs: {error}; install bgnb {__version__} for the workers") from error
