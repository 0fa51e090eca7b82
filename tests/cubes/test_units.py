"""Quantities in any unit are the same as numbers in the unit of an axis or in deg, and impossible pointings are refused."""

import numpy as np
import pytest
from astropy import units as u

import bgnb
from tests.helpers.errors import raises

AXES = bgnb.CubeAxes([0.1, 1, 10, 100] * u.TeV, [-2, 0, 2] * u.deg, [-3, -1, 1, 3] * u.deg)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Make a spline of two simulated runs."""
    runs = tmp_path_factory.mktemp("runs")
    bgnb.make_test_dataset(runs / "in", n_runs=2, trigger_rate=5.0, alt_range=(70, 71))
    settings = {"select": "all", "n_energy": 4, "n_fov": 6, "workers": 1, "progress": False}
    return bgnb.make_models(runs / "in", "GADF", **settings).models


def test_bins_of_quantities():
    for name, value, number in (("energy", 5000 * u.GeV, 1), ("detx", 120 * u.arcmin, 2), ("dety", -1 * u.deg, 0)):
        assert AXES.bin_of(name, value) == AXES.nearest_bin(name, value) == number
    assert AXES.bin_of("energy", 1 * u.GeV) is None
    assert AXES.nearest_bin("energy", 1 * u.GeV) == 0


def test_groups_of_quantities():
    groups = bgnb.ObservationGroups()
    alt, az = np.array([80.0, 31.0]), np.array([180.0, 0.0])
    expected = groups.group_ids(alt, az).tolist()
    assert len(set(expected)) == 2
    for unit in ("rad", "arcmin"):
        assert groups.group_ids((alt * u.deg).to(unit), (az * u.deg).to(unit)).tolist() == expected
        assert groups.group_id((80 * u.deg).to(unit), (180 * u.deg).to(unit)) == expected[0]
    assert groups.group_ids(80, 180).tolist() == expected[:1]


def test_pointing_of_a_spline(models):
    spline = models.for_pointing
    rate, error = spline.at(1.2 * u.rad, "180 deg")
    expected, its_error = spline.at(np.degrees(1.2), 180)
    np.testing.assert_allclose(rate.quantity, expected.quantity, rtol=1e-12)
    np.testing.assert_allclose(error.quantity, its_error.quantity, rtol=1e-9)


@pytest.mark.parametrize("altitude", [180, -91, np.nan, "60 TeV"])
def test_impossible_pointings(models, altitude):
    """An altitude above 90 deg is probably an azimuth."""
    true = bgnb.TrueModel()
    for function in (models.rate_for, models.for_pointing.at, models.for_pointing.count_covariance):
        with raises("invalid-argument", "alt_pnt"):
            function(altitude, 60)
    with raises("invalid-argument", "alt_pnt"):
        true.expected(AXES, altitude)


def test_quantities_of_a_true_model():
    true = bgnb.TrueModel()
    np.testing.assert_allclose(true.expected(AXES, 1.2 * u.rad), true.expected(AXES, np.degrees(1.2)), rtol=1e-12)
