"""Temporary changes of the state of the process that are safe in several threads."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from threading import Lock, RLock

from threadpoolctl import ThreadpoolController

_filters, _blas_lock = RLock(), Lock()
_limit, _limited = ExitStack(), set[object]()


@contextmanager
def ignored_warnings(category: type[Warning]) -> Iterator[None]:
    """Ignore warnings of a category in a block; threads wait for each other, as the filters belong to the whole process."""
    with _filters, warnings.catch_warnings(action="ignore", category=category):
        yield


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Limit BLAS to one thread in a block or a function: more are not faster for small matrices, and change the rounding.

    The first of several blocks sets the limit, and the last one removes it.

    >>> @one_blas_thread()
    ... def solve(): ...
    """
    block = object()
    with _blas_lock:
        if not _limited:
            _limit.enter_context(_blas().limit(limits=1))
        _limited.add(block)
    try:
        yield
    finally:
        with _blas_lock:
            _limited.remove(block)
            if not _limited:
                _limit.close()


@cache
def _blas() -> ThreadpoolController:
    """Find the BLAS libraries of NumPy and SciPy, once: the search takes several ms."""
    import scipy.linalg  # noqa: F401 # only libraries that are loaded are found

    return ThreadpoolController().select(user_api="blas")
