"""Axes, and values on them."""

import numpy as np
import pytest
from astropy import units as u
from hypothesis import given
from hypothesis import strategies as st

from bgnb import Cube, CubeAxes
from tests.helpers.errors import raises


def axes() -> CubeAxes:
    return CubeAxes(energy=[0.1, 1, 10, 90] * u.TeV, dety=[-2, -1, 0, 2, 3] * u.deg, detx=[-3, -1, 0, 1, 2, 4] * u.deg)


def test_units_and_shape_of_axes():
    """Convert units; the shape is (energy, DETY, DETX)."""
    in_other_units = CubeAxes(axes().energy.to("GeV"), axes().dety.to("rad"), axes().detx.to("arcmin"))
    assert in_other_units.shape == (3, 4, 5)
    np.testing.assert_allclose(in_other_units.energy.to_value("TeV"), axes().energy.value)
    np.testing.assert_allclose(in_other_units.detx.to_value("deg"), axes().detx.value)


def test_solid_angle_of_whole_sphere():
    """The solid angle of the whole sphere is 4π sr."""
    sphere = CubeAxes([1, 2] * u.TeV, np.linspace(-90, 90, 8) * u.deg, np.linspace(-180, 180, 6) * u.deg)
    np.testing.assert_allclose(sphere.solid_angle.to_value("sr").sum(), 4 * np.pi)


def test_bin_volume_by_hand():
    """The volume of a bin, in MeV sr, agrees with one computed by hand."""
    volume = axes().bin_volume.to_value("MeV sr")
    assert volume.shape == (3, 4, 5)
    heights = np.sin(np.radians([-1, 0, 2, 3])) - np.sin(np.radians([-2, -1, 0, 2]))
    np.testing.assert_allclose(volume[2, 1, 4], 80e6 * heights[1] * np.radians(2))


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"energy": [1, 2, 2] * u.TeV}, "invalid-value", ["energy", "increasing"]),
        ({"energy": [0, 1] * u.TeV}, "invalid-value", ["energy", "above 0 TeV"]),
        ({"energy": [1, 2] * u.m}, "bad-unit", ["energy", "TeV"]),
        ({"dety": [0, np.nan] * u.deg}, "invalid-value", ["dety", "finite"]),
        ({"dety": [0, 91] * u.deg}, "invalid-value", ["dety", "-90 and 90 deg"]),
        ({"dety": [-91, 0] * u.deg}, "invalid-value", ["dety", "-90 and 90 deg"]),
        ({"detx": [-180, 0, 181] * u.deg}, "invalid-value", ["detx", "-180 and 180 deg"]),
        ({"detx": [-181, 0] * u.deg}, "invalid-value", ["detx", "-180 and 180 deg"]),
        ({"energy": [[1, 2], [3, 4]] * u.TeV}, "invalid-value", ["energy", "shape (2, 2)"]),
        ({"energy": [1, np.inf] * u.TeV}, "invalid-value", ["energy", "increasing"]),
        ({"energy": [2, 1, 3] * u.TeV}, "invalid-value", ["energy", "increasing"]),
        ({"detx": [1] * u.deg}, "invalid-value", ["detx", "shape (1,)"]),
    ],
)
def test_wrong_edges_are_refused(changes, code, words):
    edges = {"energy": [1, 2] * u.TeV, "dety": [0, 1] * u.deg, "detx": [0, 1] * u.deg}
    with raises(code, *words):
        CubeAxes(**(edges | changes))


def test_edges_are_read_only_copies():
    """Edges are read-only copies of the array given."""
    energy = np.array([1.0, 2.0]) * u.TeV
    made = CubeAxes(energy, [0, 1] * u.deg, [0, 1] * u.deg)
    energy[0] = 0.5 * u.TeV
    assert made.energy[0] == 1 * u.TeV
    with pytest.raises(ValueError, match="read-only"):
        made.energy[0] = 0.5 * u.TeV


def test_cube_values_are_read_only_copies():
    """Values of a cube are read-only copies of the array given."""
    values = np.ones((3, 4, 5))
    cube = Cube(axes(), u.Quantity(values, "s", copy=False))
    values[1, 2, 3] = 2
    assert np.all(cube.quantity == 1 * u.s)
    with pytest.raises(ValueError, match="read-only"):
        cube.quantity[1, 2, 3] = 2 * u.s


@given(st.sampled_from(["energy", "dety", "detx"]), st.floats(-5, 100))
def test_bins_include_lower_edge(name, value):
    """A bin includes its lower edge and excludes its upper edge."""
    edges = getattr(axes(), name).value
    holding = [number for number in range(len(edges) - 1) if edges[number] <= value < edges[number + 1]]
    assert axes().bin_of(name, value) == (holding[0] if holding else None)
    distances = [max(edges[number] - value, value - edges[number + 1], 0) for number in range(len(edges) - 1)]
    assert axes().nearest_bin(name, value) == (holding[0] if holding else int(np.argmin(distances)))
    for number, edge in enumerate(edges):
        assert axes().bin_of(name, edge) == (number if number < len(edges) - 1 else None)
    assert axes().bin_of(name, np.nan) is None
    assert axes().bin_of(name.upper(), value) == axes().bin_of(name, value)
    with raises("invalid-argument", name, "nan"):
        axes().nearest_bin(name, np.nan)


@given(st.floats(0.01, 200))
def test_first_bin_above_threshold(threshold):
    """The first bin above a threshold lies completely above it, and the bin below does not."""
    edges = axes().energy.value
    first = axes().first_bin_above(threshold * u.TeV)
    assert all(edges[first:-1] >= threshold * (1 - 2e-6))
    assert first == 0 or edges[first - 1] < threshold


def test_a_threshold_on_an_edge_costs_no_bin():
    grid = CubeAxes.regular(n_energy=20, n_fov=2)
    for number, edge in enumerate(grid.energy[:-1]):
        assert grid.first_bin_above(np.float32(edge.value) * u.TeV) == number


@given(st.floats(0.01, 200))
def test_bins_below_a_limit_end_below_it(limit):
    """The bins below a limit are all bins whose upper edge does not exceed it."""
    edges = axes().energy.value
    below = axes().number_below(limit * u.TeV)
    assert all(edges[1 : below + 1] <= limit * (1 + 2e-6))
    assert below == len(edges) - 1 or edges[below + 1] > limit


def test_limit_on_an_edge_costs_no_bin():
    """An edge that differs from the limit only by rounding counts as equal to it."""
    grid = CubeAxes.regular(n_energy=20, n_fov=2)
    assert [grid.number_below(np.float32(edge.value) * u.TeV) for edge in grid.energy] == list(range(21))


@pytest.mark.parametrize("wrong", [-1.0, np.nan, np.inf])
def test_cube_values_are_checked(wrong):
    """Refuse values that are negative or not finite, or of the wrong shape."""
    values = np.ones((3, 4, 5))
    assert Cube(axes(), values * u.s).quantity.unit == u.s
    values[1, 2, 3] = wrong
    with raises("invalid-value"):
        Cube(axes(), values * u.s)
    with raises("invalid-value", "shape"):
        Cube(axes(), np.ones((5, 4, 3)) * u.s)


def test_regular_axes_and_centres():
    """Regular axes have equal steps in log energy and a square field of view; centres lie between the edges."""
    grid = CubeAxes.regular(n_energy=2, n_fov=4, energy_min="1 TeV", energy_max=100 * u.TeV, fov_max="120 arcmin")
    np.testing.assert_allclose(grid.energy.to_value("TeV"), [1, 10, 100])
    np.testing.assert_allclose(grid.energy_centers.to_value("TeV"), [10**0.5, 10**1.5])
    for edges in (grid.dety, grid.detx):
        np.testing.assert_allclose(edges.to_value("deg"), [-2, -1, 0, 1, 2], atol=1e-12)
    np.testing.assert_allclose(axes().dety_centers.to_value("deg"), [-1.5, -0.5, 1, 2.5])
    np.testing.assert_allclose(axes().detx_centers.to_value("deg"), [-2, -0.5, 0.5, 1.5, 3])
    assert CubeAxes.regular(n_energy=np.int64(1), n_fov=1, fov_max=90 * u.deg).shape == (1, 1, 1)
    assert CubeAxes.regular(n_energy=32, n_fov=1000).shape == (32, 1000, 1000)


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"n_energy": 0}, "invalid-argument", ["n_energy", "whole number", "at least 1", "got 0"]),
        ({"n_fov": 2.0}, "invalid-argument", ["n_fov", "whole number", "at least 1", "got 2.0"]),
        ({"n_energy": 33, "n_fov": 1000}, "invalid-argument", ["n_energy = 33", "n_fov = 1000", "32,000,000"]),
        ({"energy_min": 0 * u.TeV}, "invalid-argument", ["energy_min and energy_max", "increasing and above 0"]),
        ({"energy_min": "80 TeV"}, "invalid-argument", ["energy_min and energy_max", "increasing and above 0"]),
        ({"energy_max": np.inf * u.TeV}, "invalid-argument", ["energy_max", "one finite value"]),
        ({"energy_max": [1, 2] * u.TeV}, "invalid-argument", ["energy_max", "one finite value"]),
        ({"energy_max": 80}, "invalid-argument", ["energy_max", "unit", "'80 TeV'", "got 80"]),
        ({"fov_max": "0 deg"}, "invalid-argument", ["fov_max", "above 0", "90 deg"]),
        ({"fov_max": "90.5 deg"}, "invalid-argument", ["fov_max", "above 0", "90 deg"]),
    ],
)
def test_regular_axes_check_arguments(changes, code, words):
    """Refuse arguments that cannot make regular axes."""
    with raises(code, *words):
        CubeAxes.regular(**({"n_energy": 3, "n_fov": 4} | changes))


def test_axes_are_equal_where_all_edges_are():
    assert axes() == axes()
    for name in ("energy", "dety", "detx"):
        edges = getattr(axes(), name).copy()
        edges[-1] *= 1 + 1e-9
        assert axes() != CubeAxes(**({n: getattr(axes(), n) for n in ("energy", "dety", "detx")} | {name: edges}))
    assert axes() != "axes"


def test_threshold_above_all_bins():
    """The index is the number of bins if the threshold lies above all bins."""
    assert [axes().first_bin_above(threshold * u.TeV) for threshold in (0.05, 10, 10.1, 90, 1e4)] == [0, 2, 3, 3, 3]
