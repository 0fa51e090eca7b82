"""Bases of cubic splines."""

import numpy as np
import pytest
from scipy.interpolate import BSpline

from bgnb.cubes.spline_basis import _cubic_splines, _spline_parts


@pytest.mark.parametrize("breaks", [np.arange(4) / 3, np.arange(9) / 8, np.array([0, 0.1, 0.25, 0.3, 0.7, 1])])
def test_cubic_splines_are_those_of_scipy(breaks):
    """Between the knots, and on them, the basis is that of SciPy to the last digits."""
    inside = np.random.default_rng(len(breaks)).uniform(0, 1, 1000)
    position = np.concatenate([inside, breaks[:-1], [1 - 1e-12]])
    knots = np.concatenate([[-0.4, -0.2, -0.1], breaks, [1.1, 1.2, 1.4]])
    expected = BSpline.design_matrix(position, knots, 3).toarray()
    assert np.allclose(_cubic_splines(position, knots), expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize("breaks", [None, np.array([0, 0.1, 0.25, 0.3, 0.5, 0.6, 0.7, 0.75, 1])])
def test_penalised_part_bends(breaks):
    """No combination of the penalised functions is a line, and together with the line they are all cubic splines."""
    values = np.linspace(2, 5, 500)
    parts = _spline_parts("r2", values, 2, 5, breaks)
    line, bent = np.concatenate([parts["1"], parts["r2"]], axis=1), parts["r2~"]
    cubic = np.clip(values - 2 - 3 * (3 / 8 if breaks is None else 0.3), 0, None) ** 3
    fit = np.linalg.lstsq(np.concatenate([line, bent], axis=1), cubic)[0]
    assert np.allclose(np.concatenate([line, bent], axis=1) @ fit, cubic, rtol=0, atol=1e-10)
    assert np.linalg.matrix_rank(np.concatenate([line, bent], axis=1)) == bent.shape[1] + 2 == 11
