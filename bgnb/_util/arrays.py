"""Array types, read-only arrays, blocks of rows, and division where the denominator may be zero."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
#: Numbers of rows whose intermediate results fit in the cache of a processor, and take little memory.
IN_CACHE, IN_MEMORY = 1 << 13, 1 << 18


def order_of(values: NDArray[Any]) -> NDArray[np.intp] | slice:
    """Return the stable order of values; all rows as a slice, which makes no copies, if they are in order."""
    return slice(None) if np.all(values[1:] >= values[:-1]) else np.argsort(values, kind="stable")


def read_only(values: Any) -> Floats:
    """Return a read-only float array without copying: a view, if the values are such an array already."""
    array = np.asarray(values, dtype=float).view()
    array.setflags(write=False)
    return array


def blocks(n_rows: int, size: int = IN_CACHE) -> Iterator[slice]:
    """Divide rows into blocks that are processed one after the other, so that intermediate arrays take little memory.

    >>> list(blocks(10_000))
    [slice(0, 8192, None), slice(8192, 10000, None)]
    """
    return (slice(start, min(start + size, n_rows)) for start in range(0, n_rows, size))


def quotient(numerator: Any, denominator: Floats, otherwise: float = np.nan) -> Floats:
    """Divide where the denominator is above zero, and fill in another value elsewhere.

    >>> quotient(1.0, np.array([4.0, 0.0, np.nan]))
    array([0.25,  nan,  nan])
    """
    shape = np.broadcast_shapes(np.shape(numerator), np.shape(denominator))
    return np.divide(numerator, denominator, out=np.full(shape, otherwise), where=denominator > 0)


def ranges(first: Ints, stop: Ints) -> tuple[Ints, Ints]:
    """Enumerate ranges of integers: return the index of the range of each integer, and the integer.

    >>> ranges(np.array([5, 1, 8]), np.array([7, 1, 9]))
    (array([0, 0, 2]), array([5, 6, 8]))
    """
    number = stop - first
    which = np.repeat(np.arange(len(number)), number)
    return which, np.arange(len(which)) + np.repeat(first - np.cumsum(number) + number, number)
