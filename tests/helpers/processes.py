"""Programs that tests start, and what may befall them."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: Seconds after which something that a test waits for is taken not to come.
PATIENCE = 60.0


@contextmanager
def started(command: list[object], env: dict[str, str] | None = None, **options: object) -> Iterator[subprocess.Popen[str]]:
    """A process in a group of its own, which ends with the block, and with it all that it started."""
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
    """As in a terminal, though the tests run under nohup or in a background job: what ignores a signal hands that on."""
    ignored = [number for number in (signal.SIGINT, signal.SIGHUP) if signal.getsignal(number) == signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, lambda *_: None)  # this is not handed on
    try:
        yield
    finally:
        for number in ignored:
            signal.signal(number, signal.SIG_IGN)


def until(true: Callable[[], object], what: str, process: subprocess.Popen[str] | None = None) -> None:
    """Wait until something is true, while a process lives."""
    deadline = time.monotonic() + PATIENCE
    while not true():
        if process is not None and process.poll() is not None:
            raise RuntimeError(f"{what}: the process ended before, {process.communicate()}")
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: waited {PATIENCE:g} s")
        time.sleep(0.005)


def alive(pid: int) -> bool:
    """Whether a process is there, and not only waiting to be buried."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def children(pid: int) -> list[int]:
    """All processes that a process started, and those that they started."""
    found = [int(text) for task in Path(f"/proc/{pid}/task").glob("*/children") for text in task.read_text().split()]
    return [*found, *(grandchild for child in found for grandchild in children(child))]
