"""Means of rates over the azimuth about the pointing."""

import numpy as np
from astropy import units as u
from numpy.testing import assert_allclose

from bgnb import Cube, CubeAxes
from bgnb.cubes.cube import RATE_UNIT
from bgnb.cubes.radial import cube_of_radial, radial_mean
from tests.helpers.errors import raises

AXES = CubeAxes([1, 2, 5] * u.TeV, np.linspace(-3, 3, 31) * u.deg, np.linspace(-3, 3, 41) * u.deg)


def cube(values, axes=AXES):
    """Make a cube from values that broadcast to the axes."""
    return Cube(axes, u.Quantity(np.broadcast_to(values, axes.shape), RATE_UNIT))


def test_asymmetric_parts_cancel():
    """Gradients and an empty half of the field of view change the radial mean as they should."""
    y, x = np.meshgrid(AXES.dety_centers.value, AXES.detx_centers.value, indexing="ij")
    theta, mean = radial_mean(cube(np.stack([1 + 0.2 * x - 0.1 * y, 3.0 * (x > 0)])))
    assert (theta[0].value, theta[-2].value, theta[-1].value, len(theta)) == (0, 3 - 0.00015, 3, 22)
    assert_allclose(mean[0].value, 1, rtol=1e-4)
    assert_allclose(mean[1].value, 1.5, rtol=1e-4)


def test_radial_mean_conserves_counts():
    """Rings contain the counts of the cube within the circle; energies are not mixed."""
    rate = np.random.default_rng(3).lognormal(size=AXES.shape)
    theta, mean = radial_mean(cube(rate))
    rings = 2 * np.pi * -np.diff(np.cos(theta.to_value("rad")))
    fine = (np.arange(1200) + 0.5) / 200 - 3  # 40 pixels in a bin of DETY, 30 in one of DETX
    pixels = np.repeat(np.repeat(rate, 40, axis=1), 30, axis=2)
    y, x = np.radians(fine)[:, None], np.radians(fine)
    solid_angle = np.cos(y) * np.radians(1 / 200) ** 2 * (np.cos(y) * np.cos(x) > np.cos(np.radians(3)))
    assert_allclose(mean.value @ rings, (pixels * solid_angle).sum(axis=(1, 2)), rtol=2e-3)


def test_only_covered_azimuths_count():
    """In rings that leave the axes, the mean is that over their part inside."""
    axes = CubeAxes([1, 2] * u.TeV, [-1, 0, 1] * u.deg, [-1, 0, 2, 4] * u.deg)
    theta, mean = radial_mean(cube([[[1, 1, 5]]], axes))
    assert theta.value.tolist() == [0, 1, 2, 3, 3.999, 4]
    assert_allclose(mean.value[0, [0, 1]], 1, rtol=1e-12)
    assert 1 < mean.value[0, 2] < 5
    assert_allclose(mean.value[0, 3:], 5, rtol=1e-12)


def test_axes_must_contain_the_pointing():
    """Axes beside the pointing have no radial mean."""
    axes = CubeAxes([1, 2] * u.TeV, [-1, 1] * u.deg, [2, 3, 4] * u.deg)
    with raises("invalid-value", "pointing"):
        radial_mean(cube(1, axes))


def test_cube_of_a_radial_rate():
    """Bins have the rate at the offset of their centres, interpolated in its logarithm, and zero outside the rings."""
    theta = np.array([0, 0.5, 1, 1.5, 2]) * u.deg
    centres = (theta[1:] + theta[:-1]).value / 2
    values = u.Quantity([np.exp(-2 * centres), 3 * np.exp(-centres)], "TeV-1 s-1 sr-1")
    made = cube_of_radial([1, 2, 5] * u.TeV, theta, values)
    assert made.axes.shape == (2, 8, 8)
    assert_allclose(made.axes.detx.value, np.linspace(-2, 2, 9))
    y, x = np.radians(made.axes.dety_centers.value), np.radians(made.axes.detx_centers.value)
    offset = np.degrees(np.arccos(np.cos(y)[:, None] * np.cos(x)))
    at = np.clip(offset, centres[0], centres[-1])
    expected = np.stack([np.exp(-2 * at), 3 * np.exp(-at)]) * (offset < 2)
    assert_allclose(made.quantity.to_value("TeV-1 s-1 sr-1"), expected, rtol=1e-12)
    assert not made.quantity.value[:, 0, 0].any()


def test_narrow_last_ring_adds_no_bins():
    """The last ring of a radial mean leaves the number of bins of the cube, and its values."""
    axes = CubeAxes(AXES.energy, AXES.dety, np.linspace(-3, 3, 31) * u.deg)
    rate = cube(np.stack([np.exp(-(axes.detx_centers.value**2) / 9), np.ones(30)])[:, None, :], axes)
    theta, mean = radial_mean(rate)
    made = cube_of_radial(axes.energy, theta, mean)
    assert made.axes == axes
    assert_allclose(made.quantity[1, 15], rate.quantity[1, 15], rtol=1e-9)
    coarse = cube_of_radial(axes.energy, np.linspace(0, 3, 16) * u.deg, mean[:, :-1])
    assert_allclose(made.quantity[0, 15], coarse.quantity[0, 15], rtol=1e-3)


def test_invalid_rings_are_refused():
    """Rings must be offsets in increasing order, and rates not negative."""
    energy, good = [1, 2] * u.TeV, u.Quantity([[1.0, 1.0]], RATE_UNIT)
    for theta, values, code in (
        ([0, 2, 1] * u.deg, good, "invalid-value"),
        ([-1, 0, 1] * u.deg, good, "invalid-value"),
        ([0, 1, 2] * u.m, good, "bad-unit"),
        ([0, 1, 2] * u.deg, -good, "invalid-value"),
        ([0, 1, 2] * u.deg, np.nan * good, "invalid-value"),
    ):
        with raises(code):
            cube_of_radial(energy, theta, values)


def test_empty_rings_stay_empty():
    """Rates of zero stay zero, although logarithms are interpolated."""
    made = cube_of_radial([1, 2] * u.TeV, [0, 1, 2, 3] * u.deg, u.Quantity([[1.0, 1.0, 0.0]], RATE_UNIT))
    assert made.quantity[0, 3, 3].value == 1
    assert made.quantity[0, 0, 3].value == 0
