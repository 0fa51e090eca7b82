"""One thread for linear algebra: more are not faster for small matrices, and change the rounding."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

from threadpoolctl import threadpool_limits

_lock = Lock()
_limits: list[Any] = []  # one for each block that is under way; the limit is that of the process


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Limit BLAS to one thread in a block or a function, until the last such block of all threads has ended.

    >>> @one_blas_thread()
    ... def solve(): ...
    """
    import scipy.linalg  # noqa: F401 # only libraries that are loaded are limited, such as the BLAS of SciPy

    with _lock:
        _limits.append(threadpool_limits(limits=1, user_api="blas") if not _limits else _limits[0])
    try:
        yield
    finally:
        with _lock:
            limit = _limits.pop()
            if not _limits:
                limit.restore_original_limits()
