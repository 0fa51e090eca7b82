"""One thread for linear algebra: more are not faster for small matrices, and change the rounding."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar

# True in a block that is limited already: the search for libraries takes several ms.
_is_limited = ContextVar("_is_limited", default=False)


def spare_limited_memory() -> None:
    """Start OpenBLAS with one thread if the memory of processes is limited, as by ``ulimit -v``.

    It reserves memory for each thread, and may try for ever if there is not enough; no signal ends that.
    """
    with suppress(ImportError):  # as on Windows
        import resource

        if resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY:
            os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Limit BLAS to one thread in a block or a function; not reliably if several threads of the process do so.

    >>> @one_blas_thread()
    ... def solve(): ...
    """
    if _is_limited.get():
        yield
        return
    import scipy.linalg  # noqa: F401 # only libraries that are loaded are limited, such as the BLAS of SciPy
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1, user_api="blas"):
        token = _is_limited.set(True)
        try:
            yield
        finally:
            _is_limited.reset(token)
