"""Limits of the memory of a process, as by ``ulimit -v``, with which libraries end abruptly or hang while they are imported."""

from __future__ import annotations

import os

from bgnb._util.errors import BgnbError

try:
    import resource
except ImportError:  # on Windows there are no such limits
    _LIMITS = {}
else:
    _LIMITS = {"ulimit -v": resource.RLIMIT_AS, "ulimit -d": resource.RLIMIT_DATA}

#: Memory that the imported libraries and a small data set need, bytes.
_NEEDED = 512 << 20
#: Memory that a kernel of Jupyter and the libraries in a notebook need, bytes: with less, its sockets abort it.
KERNEL_NEEDED = 1280 << 20


def check_memory_limits(needed: int = _NEEDED) -> None:
    """Refuse limits that are too low for the imported libraries; call this before they are imported.

    OpenBLAS, which reserves memory for each core of the machine, is told to reserve it for one
    core if memory is limited.

    Parameters
    ----------
    needed : int
        Memory that is needed, bytes.

    Raises
    ------
    BgnbError
        If the memory is limited to less.
    """
    limits = {name: resource.getrlimit(number)[0] for name, number in _LIMITS.items()}
    limits = {name: limit for name, limit in limits.items() if limit != resource.RLIM_INFINITY}
    for name, limit in limits.items():
        if limit < needed:
            text = f"the memory of a process is limited to {limit >> 20} MiB; allow at least {needed >> 20} MiB ({name})"
            raise BgnbError("out-of-memory", text)
    if limits:
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
