"""Signal handling: a signal ends a command as an exception does, so that unfinished output is removed."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from bgnb._util.errors import notes_of

# SIGHUP is sent when a terminal or a connection is closed. Signals that are ignored, as under nohup, stay ignored.
_ENDING = (signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else []))
_CAN_HOLD = hasattr(signal, "pthread_sigmask")  # not on Windows


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Exit with one line and status 128 + signal number on Ctrl-C, SIGTERM or SIGHUP."""
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
        # An interrupted import may raise another exception than the SystemExit above.
        for line in ("Interrupted; unfinished output is removed.", *notes_of(error)):
            sys.stderr.write(f"{line}\n")
        raise SystemExit(128 + received[0]) from None


@contextmanager
def held_signals() -> Iterator[None]:
    """Block signals until the end of the block.

    Processes started in the block receive no signals until they call `leave_signals_to_the_caller`.
    """
    if not _CAN_HOLD:
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def leave_signals_to_the_caller() -> None:
    """Let the parent process handle signals.

    Ctrl-C in a terminal and most batch systems signal all processes of a job. This process ignores
    Ctrl-C, and exits 10 s after SIGTERM or SIGHUP unless the parent has ended it before.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if _CAN_HOLD:
        for number in _ENDING[1:]:
            signal.signal(number, lambda *_: signal.alarm(10))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
