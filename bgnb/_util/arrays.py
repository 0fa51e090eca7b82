"""Array types, read-only arrays, and division where the denominator may be zero."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


def read_only(values: Any) -> Floats:
    """Return a read-only float array without copying: a view, if the values are such an array already."""
    array = np.asarray(values, dtype=float).view()
    array.setflags(write=False)
    return array


def quotient(numerator: Any, denominator: Floats, otherwise: float = np.nan) -> Floats:
    """Divide where the denominator is above zero, and fill in another value elsewhere.

    >>> quotient(1.0, np.array([4.0, 0.0, np.nan]))
    array([0.25,  nan,  nan])
    """
    shape = np.broadcast_shapes(np.shape(numerator), np.shape(denominator))
    return np.divide(numerator, denominator, out=np.full(shape, otherwise), where=denominator > 0)
