"""Signal handling: a signal ends a command as an exception does, so that unfinished output is removed."""

from __future__ import annotations

import _thread
import atexit
import math
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

from bgnb._util.errors import enumerate_values, notes_of

# SIGHUP is sent when a terminal or a connection is closed, SIGXCPU at a limit of CPU time (ulimit -S -t), SIGUSR1 and SIGUSR2
# by batch systems some time before they kill. Signals that are ignored, as under nohup, stay ignored.
_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGXCPU", "SIGUSR1", "SIGUSR2")
_ENDING = tuple(getattr(signal, name) for name in _NAMES if hasattr(signal, name))  # Windows has the first two
# Time in s within which signals count as one.
_TOGETHER = 1.0
_CAN_HOLD = hasattr(signal, "pthread_sigmask")  # not on Windows
# Signals received while they are held; None otherwise.
_held: list[int] | None = None
# Time of the last exit by a signal.
_exited_at = -math.inf
# True once the exception after a signal has arrived where it ends the command; True while the signal is sent again.
_arrived = _again = False
# Output that was published.
_complete: list[str] = []


def note_complete(output: object) -> None:
    """Let the line after a signal say that an output is complete."""
    _complete.append(str(output))


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Exit with one line and status 128 + signal number on Ctrl-C, SIGTERM, and other signals that end a process.

    The line names the output that is complete nevertheless. Signals that arrive together with another one, as from batch
    systems, do not interrupt the cleaning up after it. Those that arrive when nothing is left to do but to end the
    interpreter are ignored, as it would die by them.
    """
    global _exited_at, _arrived
    received: list[int] = []
    _exited_at, _arrived = -math.inf, False
    unraisable = sys.unraisablehook

    def end(number: int, _: object) -> None:
        global _again, _exited_at
        if _again:
            _again = False
            if _is_ending():
                return
            _exited_at = -math.inf
        first = not received
        received.append(number)
        if first:
            with suppress(RuntimeError, MemoryError):  # no thread can be started
                _thread.start_new_thread(_insist, (number,))
        if _held is None:
            _exit(number)
        else:
            _held.append(number)

    def repeat_or_show(lost: sys.UnraisableHookArgs) -> None:
        global _exited_at
        # What is raised in a callback of the garbage collector goes no further.
        if received and isinstance(lost.exc_value, SystemExit):
            _exited_at = -math.inf
            _thread.start_new_thread(_repeat, (received[0],))
        else:
            unraisable(lost)

    caught = [number for number in _ENDING if signal.getsignal(number) != signal.SIG_IGN]
    atexit.register(_ignore, caught)
    try:
        for number in caught:
            signal.signal(number, end)
        sys.unraisablehook = repeat_or_show
        yield
    except BaseException as error:
        _arrived = True
        if not received:
            raise
        # An interrupted import may raise another exception than the SystemExit above.
        left = [output for output in _complete if os.path.lexists(output)]  # others were in a directory that is removed now
        complete = f"complete: {enumerate_values(left)}; other " if left else ""
        for line in (f"Interrupted; {complete}unfinished output is removed.", *notes_of(error)):
            sys.stderr.write(f"{line}\n")
        warnings.simplefilter("ignore")  # of what remains unfinished at the end, such as coroutines
        raise SystemExit(128 + received[0]) from None


def _exit(number: int) -> None:
    """Exit as after a signal, unless another one arrived a moment before."""
    global _exited_at
    if time.monotonic() - _exited_at > _TOGETHER:
        _exited_at = time.monotonic()
        raise SystemExit(128 + number)


def _is_ending() -> bool:
    """Check that an exception which ends the command is on its way, or another one that was raised in the cleaning up."""
    error = sys.exc_info()[1]
    while error is not None:
        if isinstance(error, SystemExit | GeneratorExit):
            return True
        error = error.__context__
    return False


def _insist(number: int) -> None:
    """Receive a signal again while its exception is lost: some libraries go on without what they fail to import."""
    global _again
    while True:
        time.sleep(1.5 * _TOGETHER)
        if _arrived:
            return
        _again = True
        _send(number)


def _repeat(number: int) -> None:
    """Receive a signal again, after what the main thread is doing now."""
    time.sleep(0.01)
    _send(number)


def _send(number: int) -> None:
    if _CAN_HOLD:
        os.kill(os.getpid(), number)
    else:  # where os.kill would kill
        signal.raise_signal(number)


def _ignore(numbers: Iterable[int]) -> None:
    for number in numbers:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def held_signals() -> Iterator[None]:
    """Block signals until the end of the block. In threads other than the main one, which no signal interrupts, do nothing.

    Processes started in the block receive no signals until they call `leave_signals_to_the_caller`.
    """
    global _held
    if not _CAN_HOLD or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    # The mask is that of this thread: if another one receives a signal, Python calls the handler here nevertheless.
    received: list[int] = []
    _held = received
    try:
        yield
    finally:
        _held = None
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if received:
            _exit(received[0])


def leave_signals_to_the_caller() -> None:
    """Let the parent process handle signals.

    Ctrl-C in a terminal and most batch systems signal all processes of a job. This process ignores
    Ctrl-C, and exits 10 s after one of the others unless the parent has ended it before.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if _CAN_HOLD:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)  # the parent may have been started with this signal ignored
        for number in _ENDING[1:]:
            signal.signal(number, lambda *_: signal.alarm(10))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (*_ENDING, signal.SIGALRM))
