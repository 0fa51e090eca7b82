"""Kinds of arrays, and division by what may be zero."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


def quotient(numerator: Any, denominator: Floats, otherwise: float = np.nan) -> Floats:
    """Numerator over denominator; another value where the denominator is not above zero.

    >>> quotient(1.0, np.array([4.0, 0.0, np.nan]))
    array([0.25,  nan,  nan])
    """
    shape = np.broadcast_shapes(np.shape(numerator), np.shape(denominator))
    return np.divide(numerator, denominator, out=np.full(shape, otherwise), where=denominator > 0)
