"""One thread for linear algebra: more are not faster for small matrices, and change the rounding."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from threadpoolctl import ThreadpoolController


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Limit BLAS to one thread in a block or a function; not reliably if several threads of the process do so.

    >>> @one_blas_thread()
    ... def solve(): ...
    """
    with _blas().limit(limits=1):
        yield


@cache
def _blas() -> ThreadpoolController:
    """Find the BLAS libraries of NumPy and SciPy, once: the search takes several ms."""
    import scipy.linalg  # noqa: F401 # only libraries that are loaded are found

    return ThreadpoolController().select(user_api="blas")
