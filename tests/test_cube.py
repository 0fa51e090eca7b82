import numpy as np
import pytest
from astropy import units as u
from hypothesis import given
from hypothesis import strategies as st

from bgnb import BgnbError, Cube, CubeAxes


def axes() -> CubeAxes:
    return CubeAxes(energy=[0.1, 1, 10, 90] * u.TeV, dety=[-2, -1, 0, 2, 3] * u.deg, detx=[-3, -1, 0, 1, 2, 4] * u.deg)


def test_units_are_converted_and_shape_is_energy_dety_detx():
    in_other_units = CubeAxes(axes().energy.to("GeV"), axes().dety.to("rad"), axes().detx.to("arcmin"))
    assert in_other_units.shape == (3, 4, 5)
    np.testing.assert_allclose(in_other_units.energy.to_value("TeV"), axes().energy.value)
    np.testing.assert_allclose(in_other_units.detx.to_value("deg"), axes().detx.value)


def test_solid_angle_of_the_whole_sphere_is_4_pi():
    sphere = CubeAxes([1, 2] * u.TeV, np.linspace(-90, 90, 8) * u.deg, np.linspace(-180, 180, 6) * u.deg)
    np.testing.assert_allclose(sphere.solid_angle.to_value("sr").sum(), 4 * np.pi)


def test_bin_volume_is_in_mev_sr_and_belongs_to_its_bin():
    volume = axes().bin_volume.to_value("MeV sr")
    assert volume.shape == (3, 4, 5)
    heights = np.sin(np.radians([-1, 0, 2, 3])) - np.sin(np.radians([-2, -1, 0, 2]))
    np.testing.assert_allclose(volume[2, 1, 4], 80e6 * heights[1] * np.radians(2))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"energy": [1, 2, 2] * u.TeV}, "energy edges must be finite and increasing"),
        ({"energy": [0, 1] * u.TeV}, "energy edges must lie above 0 TeV"),
        ({"energy": [1, 2] * u.m}, "energy edges need a unit that converts to TeV"),
        ({"dety": [0, np.nan] * u.deg}, "dety edges must be finite"),
        ({"dety": [0, 91] * u.deg}, "dety edges must lie within -90 and 90 deg"),
        ({"detx": [1] * u.deg}, "detx edges must be a list of two or more"),
    ],
)
def test_wrong_edges_are_refused(changes, message):
    edges = {"energy": [1, 2] * u.TeV, "dety": [0, 1] * u.deg, "detx": [0, 1] * u.deg}
    with pytest.raises(BgnbError, match=message):
        CubeAxes(**(edges | changes))


def test_edges_cannot_be_changed_and_do_not_follow_the_array_they_came_from():
    energy = np.array([1.0, 2.0]) * u.TeV
    made = CubeAxes(energy, [0, 1] * u.deg, [0, 1] * u.deg)
    energy[0] = 0.5 * u.TeV
    assert made.energy[0] == 1 * u.TeV
    with pytest.raises(ValueError, match="read-only"):
        made.energy[0] = 0.5 * u.TeV


@given(st.floats(0.01, 200))
def test_first_bin_above_a_threshold_is_not_cut_by_it(threshold):
    edges = axes().energy.value
    first = axes().first_bin_above(threshold * u.TeV)
    assert all(edges[first:-1] >= threshold * (1 - 2e-6))
    assert first == 0 or edges[first - 1] < threshold


def test_a_threshold_on_an_edge_costs_no_bin():
    grid = CubeAxes.regular(n_energy=20, n_fov=2)
    for number, edge in enumerate(grid.energy[:-1]):
        assert grid.first_bin_above(np.float32(edge.value) * u.TeV) == number


@pytest.mark.parametrize("wrong", [-1.0, np.nan, np.inf])
def test_cubes_hold_only_finite_values_that_are_not_negative(wrong):
    values = np.ones((3, 4, 5))
    assert Cube(axes(), values * u.s).quantity.unit == u.s
    values[1, 2, 3] = wrong
    with pytest.raises(BgnbError, match="finite and not negative"):
        Cube(axes(), values * u.s)
    with pytest.raises(BgnbError, match="needs shape"):
        Cube(axes(), np.ones((5, 4, 3)) * u.s)
