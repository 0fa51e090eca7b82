"""Means of rates over the azimuth about the pointing."""

import numpy as np
import pytest
from astropy import units as u
from numpy.testing import assert_allclose
from scipy.interpolate import RegularGridInterpolator
from scipy.special import i0

from bgnb import Cube, CubeAxes
from bgnb.cubes.cube import RATE_UNIT
from bgnb.cubes.radial import cube_of_radial, radial_mean
from tests.helpers.errors import raises

AXES = CubeAxes([1, 2, 5] * u.TeV, np.linspace(-3, 3, 31) * u.deg, np.linspace(-3, 3, 41) * u.deg)


def cube(values, axes=AXES):
    """Make a cube from values that broadcast to the axes."""
    return Cube(axes, u.Quantity(np.broadcast_to(values, axes.shape), RATE_UNIT))


def test_asymmetric_parts_cancel():
    """An odd factor cancels in the mean over the azimuth, and a gradient of the logarithm becomes a Bessel function."""
    y, x = np.meshgrid(AXES.dety_centers.value, AXES.detx_centers.value, indexing="ij")
    theta, mean = radial_mean(cube(np.stack([np.exp(0.2 * x - 0.1 * y), 3 * np.exp(-(x**2) / 8)])))
    assert (theta[0].value, theta[-2].value, theta[-1].value, len(theta)) == (0, 3 - 0.00005, 3, 62)
    offset = ((theta[1:] + theta[:-1]) / 2).value
    assert_allclose(mean[0].value[:-1], i0(np.hypot(0.2, 0.1) * offset[:-1]), rtol=2e-3)
    assert_allclose(mean[1].value[:-1], 3 * np.exp(-(offset[:-1] ** 2) / 16) * i0(offset[:-1] ** 2 / 16), rtol=1e-2)


@pytest.mark.parametrize("n_fov", [8, 30, 200])
def test_radial_mean_conserves_counts(n_fov):
    """Rings contain the counts that Gammapy predicts with the cube in the circle; energies are not mixed."""
    axes = CubeAxes.regular(n_energy=2, n_fov=n_fov, energy_min="1 TeV", energy_max="5 TeV", fov_max="3 deg")
    y, x = np.meshgrid(axes.dety_centers.value, axes.detx_centers.value, indexing="ij")
    rate = cube(np.stack([np.exp(-((x - 0.3) ** 2 + y**2) / 4), 1 + 0.2 * np.sin(2 * x)]), axes)
    theta, mean = radial_mean(rate)
    rings = 2 * np.pi * -np.diff(np.cos(theta.to_value("rad")))
    fine = (np.arange(600) + 0.5) / 100 - 3
    centres = axes.dety_centers.value, axes.detx_centers.value
    at = np.stack(np.meshgrid(*(np.clip(fine, each[0], each[-1]) for each in centres), indexing="ij"), axis=-1)
    logs = [RegularGridInterpolator(centres, np.log(plane))(at) for plane in rate.quantity.value]
    y, x = np.radians(fine)[:, None], np.radians(fine)
    solid_angle = np.cos(y) * np.radians(1 / 100) ** 2 * (np.cos(y) * np.cos(x) > np.cos(np.radians(3)))
    assert_allclose(mean.value @ rings, (np.exp(logs) * solid_angle).sum(axis=(1, 2)), rtol=2e-3)


def test_only_covered_azimuths_count():
    """In rings that leave the axes, the mean is that over their part inside."""
    axes = CubeAxes([1, 2] * u.TeV, [-1, 0, 1] * u.deg, [-1, 0, 2, 4] * u.deg)
    theta, mean = radial_mean(cube([[[1, 1, 5]]], axes))
    assert_allclose(theta[[0, 1, -1]].value, [0, 1 / 15, 4])
    values, offset = mean.value[0], theta[1:].value
    assert_allclose(values[offset <= 1], 1, rtol=1e-12)  # up to the centre of the second bin
    assert np.all(np.diff(values[(offset > 1.1) & (offset < 3)]) > 0)
    assert_allclose(values[offset > 3.2], 5, rtol=1e-12)  # from the last centre on


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
    axes = CubeAxes(AXES.energy, *2 * (np.linspace(-3, 3, 121) * u.deg,))
    offset = np.hypot(axes.dety_centers.value[:, None], axes.detx_centers.value)
    rate = cube(np.stack([np.exp(-(offset**2) / 9), np.ones(offset.shape)]), axes)
    theta, mean = radial_mean(rate)
    made = cube_of_radial(axes.energy, theta, mean)
    assert made.axes == axes
    inside = offset < 2.9
    assert_allclose(made.quantity.value[:, inside], rate.quantity.value[:, inside], rtol=2e-3)


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
