"""Limits of a process, such as those by ``ulimit``, with which libraries end abruptly, hang or leave processes behind."""

from __future__ import annotations

import math
import os
import threading

from bgnb._util.errors import BgnbError

#: Limits of the memory, by the commands that set them.
_MEMORY = {"ulimit -v": "RLIMIT_AS", "ulimit -d": "RLIMIT_DATA"}
#: Memory that the imported libraries and a small data set need, bytes.
_NEEDED = 512 << 20
# Memory, bytes, open files and threads that a kernel of Jupyter and the libraries in a notebook need.
_KERNEL_NEEDED, _KERNEL_FILES, _KERNEL_THREADS = 1280 << 20, 128, 32
# Number of processes and threads of a user below which OpenBLAS starts no threads.
_FEW_PROCESSES = 1024


def check_memory_limits() -> None:
    """Refuse limits that are too low for the imported libraries; call this before they are imported.

    OpenBLAS, which reserves memory and starts a thread for each core of the machine, is told to use
    one core if memory is limited, or few processes are permitted.

    Raises
    ------
    BgnbError
        If the memory is limited to less than 512 MiB.
    """
    if _limited_memory(_NEEDED) or _limit("RLIMIT_NPROC") < _FEW_PROCESSES:
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def _limited_memory(needed: int) -> bool:
    """Refuse limits of the memory below what is needed, bytes; return true if there are any others."""
    limits = {command: _limit(name) for command, name in _MEMORY.items()}
    for name, limit in limits.items():
        if limit < needed:
            text = f"the memory of a process is limited to {int(limit) >> 20} MiB; allow at least {needed >> 20} MiB ({name})"
            raise BgnbError("out-of-memory", text)
    return min(limits.values()) < math.inf


def _limit(name: str) -> float:
    """Return a limit; infinity where there is none, or a sandbox does not tell."""
    try:
        import resource

        limit, _ = resource.getrlimit(getattr(resource, name))
    except (ImportError, AttributeError, OSError, ValueError):  # ImportError: on Windows there are no such limits
        return math.inf
    return math.inf if limit == resource.RLIM_INFINITY else limit


def check_kernel_limits() -> None:
    """Refuse limits with which kernels of Jupyter are aborted by their sockets, or are not ended.

    Raises
    ------
    BgnbError
        If memory, open files or threads are limited to less than a notebook needs.
    """
    memory_is_limited = _limited_memory(_KERNEL_NEEDED)
    if (limit := _limit("RLIMIT_NOFILE")) < _KERNEL_FILES:
        text = f"a process may open {limit} files; notebooks need {_KERNEL_FILES} (ulimit -n)"
        raise BgnbError("too-many-files", text)
    if not memory_is_limited:  # of which the threads would reserve more than a notebook needs
        _try_threads(_KERNEL_THREADS)


def _try_threads(number: int) -> None:
    """Check that threads can be started, by starting them; the limit may be that of a user, a container or a batch job."""
    end = threading.Event()
    started: list[threading.Thread] = []
    try:
        for _ in range(number):
            thread = threading.Thread(target=end.wait)
            thread.start()
            started.append(thread)
    except RuntimeError:
        text = f"the system permits fewer than {number} more threads, which notebooks need; permit more processes (ulimit -u)"
        raise BgnbError("too-many-processes", text) from None
    finally:
        end.set()
        for thread in started:
            thread.join()
