"""Processes that tests start and wait for."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: Seconds after which a test that waits fails.
PATIENCE = 600.0


@contextmanager
def started(command: list[object], env: dict[str, str] | None = None, **options: object) -> Iterator[subprocess.Popen[str]]:
    """Start a process in a new process group; it and all that it started end with the block."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "cwd": ROOT}
    with _no_signal_ignored():
        process = subprocess.Popen([*map(str, command)], env=env, text=True, start_new_session=True, **pipes | options)  # type: ignore[call-overload]
    try:
        yield process
    finally:
        if process.poll() is None:
            for pid in [process.pid, *children(process.pid)]:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream:
                stream.close()


@contextmanager
def _no_signal_ignored() -> Iterator[None]:
    """Let new processes handle signals as in a terminal; they would inherit that nohup or a background job ignores some."""
    ignored = [number for number in (signal.SIGINT, signal.SIGHUP) if signal.getsignal(number) == signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, lambda *_: None)  # this is not inherited
    try:
        yield
    finally:
        for number in ignored:
            signal.signal(number, signal.SIG_IGN)


def until(true: Callable[[], object], what: str, process: subprocess.Popen[str] | None = None) -> None:
    """Wait until a condition is true; fail if a process ends before."""
    deadline = time.monotonic() + PATIENCE
    while not true():
        if process is not None and process.poll() is not None:
            raise RuntimeError(f"{what}: the process ended before, {process.communicate()}")
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: waited {PATIENCE:g} s")
        time.sleep(0.005)


def alive(pid: int) -> bool:
    """Return true for a process that runs, false for a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def children(pid: int) -> list[int]:
    """List all descendants of a process."""
    found = [int(text) for task in Path(f"/proc/{pid}/task").glob("*/children") for text in task.read_text().split()]
    return [*found, *(grandchild for child in found for grandchild in children(child))]
