"""One thread for linear algebra: more are not faster for small matrices, and change the rounding."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from threadpoolctl import threadpool_limits


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Limit BLAS to one thread in a block or a function; not reliably if several threads of the process do so.

    >>> @one_blas_thread()
    ... def solve(): ...
    """
    import scipy.linalg  # noqa: F401 # only libraries that are loaded are limited, such as the BLAS of SciPy

    with threadpool_limits(limits=1, user_api="blas"):
        yield
