"""Signals end a command like an error, so that what is half-written is removed."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from bgnb._util.errors import notes_of

# SIGHUP comes when a terminal or a connection is closed; where nohup has it ignored, it stays so.
_ENDING = (signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else []))
_CAN_HOLD = hasattr(signal, "pthread_sigmask")  # not on Windows


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Let Ctrl-C, SIGTERM and SIGHUP end the block with one line, and the exit status 128 and their number."""
    received: list[int] = []

    def end(number: int, _: object) -> None:
        received.append(number)
        raise SystemExit(128 + number)

    caught = [number for number in _ENDING if signal.getsignal(number) != signal.SIG_IGN]
    try:
        for number in caught:
            signal.signal(number, end)
        yield
    except BaseException as error:
        if not received:
            raise
        # Not always the exception that we raised: an import that is interrupted may end with another.
        for line in ("Interrupted; unfinished output was removed.", *notes_of(error)):
            sys.stderr.write(f"{line}\n")
        raise SystemExit(128 + received[0]) from None


@contextmanager
def held_signals() -> Iterator[None]:
    """Let signals wait until the block ends, and processes that it starts get none until `leave_signals_to_the_caller`."""
    if not _CAN_HOLD:
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def leave_signals_to_the_caller() -> None:
    """Make this process one that its caller ends.

    Ctrl-C in a terminal, and many who stop a job, signal all its processes. Here SIGTERM and SIGHUP
    only end what the caller has not ended after 10 s.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if _CAN_HOLD:
        for number in _ENDING[1:]:
            signal.signal(number, lambda *_: signal.alarm(10))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
