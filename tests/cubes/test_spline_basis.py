"""Cubic B-splines are those of SciPy."""

import numpy as np
import pytest
from scipy.interpolate import BSpline

from bgnb.cubes.spline_basis import _cubic_splines


@pytest.mark.parametrize("segments", [3, 4, 8])
def test_cubic_splines_are_those_of_scipy(segments):
    """Between the knots, and on them, the basis is that of SciPy to the last digits."""
    inside = np.random.default_rng(segments).uniform(0, 1, 1000)
    position = np.concatenate([inside, np.arange(segments) / segments, [1 - 1e-12]])
    knots = np.arange(-3, segments + 4) / segments
    expected = BSpline.design_matrix(position, knots, 3).toarray()
    assert np.allclose(_cubic_splines(position, segments), expected, rtol=0, atol=1e-15)
