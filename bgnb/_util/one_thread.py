"""One thread for linear algebra: more are not faster for small matrices, and change the rounding."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from threadpoolctl import threadpool_limits

# True in a block that is limited already: the search for libraries takes several ms.
_is_limited = ContextVar("_is_limited", default=False)


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

    with threadpool_limits(limits=1, user_api="blas"):
        token = _is_limited.set(True)
        try:
            yield
        finally:
            _is_limited.reset(token)
