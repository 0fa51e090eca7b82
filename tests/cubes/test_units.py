"""Quantities in any unit are the same as numbers in the unit of an axis or in deg, and impossible pointings are refused."""

from dataclasses import replace

import numpy as np
import pytest
from astropy import units as u
from astropy.table import Column, MaskedColumn, Table

import bgnb
from bgnb._util.setting_kinds import Numbers
from bgnb.cubes.exclusion_mask import SourceMask
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


def test_groups_of_columns():
    """Columns of tables are converted as quantities; masked values are refused."""
    groups = bgnb.ObservationGroups()
    alt, az = Column([80.0, 31.0], unit="deg"), Column([180.0, 0.0], unit="deg")
    in_rad = [Column(np.radians(each), unit="rad") for each in (alt, az)]
    assert groups.group_ids(*in_rad).tolist() == groups.group_ids(alt, az).tolist()
    assert Numbers(unit="deg").check("alt_edges", in_rad[0]) == pytest.approx((80, 31))
    with raises("invalid-argument", "masked"):
        groups.group_ids(MaskedColumn([80.0, 31.0], mask=[False, True]), az)


def test_lists_of_quantities():
    """Quantities in lists are converted as arrays of them, and masked values in them are refused."""
    groups = bgnb.ObservationGroups()
    expected = groups.group_ids([80.0, 31.0], [180.0, 0.0]).tolist()
    alt, az = np.radians([80.0, 31.0]) * u.rad, np.radians([180.0, 0.0]) * u.rad
    assert groups.group_ids(list(alt), list(az)).tolist() == expected
    assert groups.group_ids([alt], [az]).tolist() == [expected]
    row = bgnb.make_test_observation_table(1)[0]
    run = bgnb.make_test_eventlist(row, bgnb.TrueModel(trigger_rate=1.0))
    np.testing.assert_allclose(replace(run, gti=[(each / 60) * u.min for each in run.gti]).gti, run.gti)
    for alt in ([80.0, np.ma.masked], [np.ma.array([80.0, 31.0], mask=[False, True])]):
        with raises("invalid-argument", "masked"):
            groups.group_ids(alt, [180.0, 0.0])
    with raises("invalid-argument", "the pointing"):
        groups.group_ids([80 * u.deg, 31], [180.0, 0.0])
    with raises("invalid-argument", "one pointing"):
        groups.group_id([80, 60], [180, 0])
    with raises("invalid-argument", "same shape", "(2,)", "(3,)"):
        groups.group_ids([80, 60], [180, 0, 1])
    assert groups.group_id(80, np.inf) is groups.group_id(np.nan, 0) is None
    with raises("invalid-argument", "alt_edges", "masked"):
        bgnb.ObservationGroups(MaskedColumn([0.0, 45, 90], mask=[0, 1, 0], unit="deg"))
    table = Table(groups.table, masked=True)
    table["ALT_MIN"].mask[1] = True
    with raises("invalid-argument", "ALT_MIN", "masked"):
        bgnb.ObservationGroups.from_table(table)


def test_cubes_of_other_values():
    """Masked edges and values that are no quantities are refused."""
    with raises("invalid-argument", "energy edges", "masked"):
        bgnb.CubeAxes(MaskedColumn([1.0, 2, 3], mask=[0, 1, 0], unit="TeV"), [-1, 0, 1] * u.deg, [-1, 0, 1] * u.deg)
    for values in ("x", {}, [1 / u.s, 2]):
        with raises("invalid-argument", "values of a cube"):
            bgnb.Cube(AXES, values)


def test_events_with_units():
    """Events with units are those in s, deg and TeV."""
    row = bgnb.make_test_observation_table(1)[0]
    run = bgnb.make_test_eventlist(row, bgnb.TrueModel(trigger_rate=1.0), energy_threshold="300 GeV")
    assert run.energy_threshold > 0.3
    columns = {"energy": "GeV", "ra": "rad", "dec": "arcmin", "time": "h", "gti": "min"}
    scalars = {"livetime": "min", "ra_pnt": "rad", "dec_pnt": "arcmin", "energy_threshold": "GeV"}
    units = {"energy": "TeV", "energy_threshold": "TeV", "time": "s", "gti": "s", "livetime": "s"}
    changed = {
        name: u.Quantity(getattr(run, name), units.get(name, "deg")).to(unit) for name, unit in (columns | scalars).items()
    }
    other = replace(run, **changed)
    for name in changed:
        np.testing.assert_allclose(getattr(other, name), getattr(run, name), rtol=1e-12)
    with raises("invalid-argument", "energy", "masked"):
        replace(run, energy=np.ma.masked_less(run.energy, 0.5))
    with raises("invalid-argument", "ra"):
        replace(run, ra=run.energy * u.TeV)
    with raises("invalid-argument", "site"):
        replace(run, site=None)


def test_regions_with_units():
    """Circles with units are those in deg and TeV."""
    plain = SourceMask([83.6], [22.0], [0.5], [0.1], [1.0])
    with_units = ([83.6 * 3600] * u.arcsec, Column([22.0], unit="deg"), [30] * u.arcmin, [100] * u.GeV, [1] * u.TeV)
    np.testing.assert_allclose(SourceMask(*with_units).circles, plain.circles)
    np.testing.assert_allclose(SourceMask(*with_units).content[1], plain.content[1])


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
