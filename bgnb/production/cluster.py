"""Tasks done on a Dask cluster."""

from __future__ import annotations

import logging
import pickle
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from bgnb._util.errors import BgnbError
from bgnb._util.extras import require
from bgnb.production.tasks import IN_FLIGHT, POLL, Workers

T = TypeVar("T")
R = TypeVar("R")

#: Seconds that a scheduler may be without workers, or not answer.
PATIENCE = 45.0
# Seconds that it may take to answer one question.
_ANSWER = 5.0


@contextmanager
def workers_of_scheduler(address: str) -> Iterator[Workers]:
    """Workers of a Dask scheduler."""
    require("dask")
    from distributed import Client

    _check_address(address)
    deadline = time.monotonic() + PATIENCE
    with _silent("distributed"):  # what is wrong, we say
        try:
            client = Client(address, timeout=PATIENCE, set_as_default=False)
        except (OSError, ValueError, TypeError) as error:
            reason = str(error).strip().splitlines() or [type(error).__name__]
            raise BgnbError(f"no Dask scheduler answers at {address}: {reason[0]}") from None
        try:
            try:
                client.wait_for_workers(1, timeout=max(deadline - time.monotonic(), POLL))
            except (TimeoutError, OSError):
                raise BgnbError(f"the scheduler at {address} has no workers; start some: dask worker {address}") from None
            yield workers_of_client(client, f"at {address}", needs_workers=True)
        finally:
            with suppress(OSError, TimeoutError):
                client.close(timeout=_ANSWER)


def _check_address(address: str) -> None:
    """Refuse what is no address at once; Dask would try it for long."""
    parts = re.fullmatch(r"(?:[a-z]+://)?[^/\s]+:(\d+)", address)
    if not parts or int(parts[1]) > 65535:
        raise BgnbError(f"scheduler must be an address such as tcp://10.0.0.1:8786, got '{address}'")


def workers_of_client(client: Any, name: str = "of the executor", *, needs_workers: bool = False) -> Workers:
    """Workers of a Dask client.

    A cluster of the caller's may start workers only when there is work for them, and that
    may take long; unless ``needs_workers``, they are waited for.
    """
    from distributed.scheduler import KilledWorker

    def submit(function: Callable[[T], R], task: T) -> Future[R]:
        # The scheduler, and workers before they begin, see only bytes: where they have no bgnb, or another, they
        # live on, and the answer is an error. A task that is repeated is not pure: it gets an answer of its own.
        asked = client.submit(pickle.loads, pickle.dumps(_Call(function, task)), pure=False)
        answer: Future[R] = Future()
        answer.add_done_callback(lambda done: asked.cancel() if done.cancelled() else None)
        asked.add_done_callback(lambda done: _pass_on(done, answer))
        return answer

    return Workers(submit, IN_FLIGHT, (KilledWorker,), _Watch(client, name, needs_workers).check)


def _pass_on(asked: Any, answer: Future[Any]) -> None:
    """Fetch a result in Dask's thread for that, one after the other.

    Dask's own executor takes a result that is lost on its way, as its worker died, for an error.
    """
    if not answer.set_running_or_notify_cancel():
        return
    try:
        answer.set_result(asked.result())
    except BaseException as error:
        answer.set_exception(error)


@dataclass(frozen=True)
class _Call:
    """Becomes the result of a function where it is unpickled."""

    function: Callable[[Any], Any]
    task: Any

    def __reduce__(self) -> tuple[Callable[[Any], Any], tuple[Any]]:
        return self.function, (self.task,)


class _Watch:
    """Sees whether a scheduler is there, and has workers if it needs some."""

    def __init__(self, client: Any, name: str, needs_workers: bool) -> None:
        self._client, self._name, self._needs_workers = client, name, needs_workers
        self._since: float | None = None

    def check(self) -> None:
        fault = self._fault()
        if fault is None:
            self._since = None
            return
        self._since = self._since or time.monotonic()
        if time.monotonic() - self._since > PATIENCE:
            raise BgnbError(f"the Dask scheduler {self._name} {fault}")

    def _fault(self) -> str | None:
        try:
            if self._client.status == "running" and (
                self._client.nthreads(callback_timeout=_ANSWER) or not self._needs_workers
            ):
                return None
        except (OSError, TimeoutError):
            return "does not answer any more"
        return "has no workers any more" if self._client.status == "running" else "does not answer any more"


@contextmanager
def _silent(name: str) -> Iterator[None]:
    """Nothing is logged by a package."""
    loggers = [
        logging.getLogger(name),
        *(logging.getLogger(each) for each in logging.root.manager.loggerDict if each.startswith(f"{name}.")),
    ]
    before = [logger.disabled for logger in loggers]
    try:
        for logger in loggers:
            logger.disabled = True
        yield
    finally:
        for logger, disabled in zip(loggers, before, strict=True):
            logger.disabled = disabled
