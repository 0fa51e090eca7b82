"""Counts predicted on other axes: against closed forms, and against a count of tiny cells."""

import itertools

import numpy as np
import pytest
from astropy import units as u
from scipy.interpolate import RegularGridInterpolator

from bgnb import Cube, CubeAxes, point_rate, predicted_rate
from bgnb.cubes.cube import RATE_UNIT
from bgnb.cubes.prediction import _prediction_in
from tests.helpers.errors import raises
from tests.helpers.models import AXES, asymmetric_model

# Lies inside AXES; no edge is one of AXES, and every length differs.
OTHER = CubeAxes(
    energy=np.geomspace(0.8, 30, 4) * u.TeV, dety=np.linspace(-1.3, 2.1, 5) * u.deg, detx=np.linspace(-3.7, 1.1, 6) * u.deg
)


def smooth_rate(axes: CubeAxes, index=2.7, gx=11.0, gy=-17.0) -> Cube:
    """Power law in energy, exponential in DETX and DETY (per rad), at the bin centres."""
    energy = axes.energy_centers.to_value("MeV")[:, None, None]
    y, x = axes.dety_centers.to_value("rad")[:, None], axes.detx_centers.to_value("rad")
    return Cube(axes, energy**-index * np.exp(gy * y + gx * x) * RATE_UNIT)


def test_interpolated_power_law_and_gradient():
    """Integrate an interpolated power law with a gradient exactly."""
    energy, (y, x) = OTHER.energy.to_value("MeV"), (OTHER.dety.to_value("rad"), OTHER.detx.to_value("rad"))
    in_energy = np.diff(energy**-1.7) / -1.7
    in_x = np.diff(np.exp(11 * x)) / 11
    fine = [np.linspace(low, high, 2001) for low, high in itertools.pairwise(y)]
    in_y = [np.trapezoid(np.exp(-17 * part) * np.cos(part), part) for part in fine]
    expected = in_energy[:, None, None] * np.array(in_y)[:, None] * in_x
    np.testing.assert_allclose(predicted_rate(smooth_rate(AXES), OTHER, "gammapy"), expected, rtol=1e-5)


def test_no_interpolation_shares_bins():
    """Without interpolation, each bin contributes in proportion to its overlap."""
    rate = asymmetric_model().rate
    # Count tiny cells along one axis at a time: the overlap is a product.
    by_hand = rate.quantity.value
    for axis, (name, measure) in enumerate((("energy", lambda e: e * 1e6), ("dety", np.sin), ("detx", lambda x: x))):
        unit = "TeV" if name == "energy" else "rad"
        target, source = (getattr(axes, name).to_value(unit) for axes in (OTHER, rate.axes))
        cuts = np.linspace(target[0], target[-1], 1_000_001)
        middle, width = (cuts[:-1] + cuts[1:]) / 2, np.diff(measure(cuts))
        into, out_of = np.searchsorted(target, middle) - 1, np.searchsorted(source, middle) - 1
        matrix = np.zeros((len(target) - 1, len(source) - 1))
        np.add.at(matrix, (into, out_of), width)
        by_hand = np.moveaxis(np.tensordot(matrix, by_hand, axes=(1, axis)), 0, axis)
    np.testing.assert_allclose(predicted_rate(rate, OTHER), by_hand, rtol=1e-3)


@pytest.mark.parametrize("interpolation", ["none", "gammapy"])
def test_what_lies_outside_is_zero(interpolation):
    wide = CubeAxes(energy=[0.1, 0.3, 0.4] * u.TeV, dety=[-6, -2, 3, 5] * u.deg, detx=[-9, -4, 2, 5, 6] * u.deg)
    inside = np.zeros(wide.shape, dtype=bool)
    inside[1, 1, 1] = True
    predicted = predicted_rate(smooth_rate(AXES), wide, interpolation)
    assert np.all((predicted > 0) == inside)
    half = CubeAxes(wide.energy[1:], dety=[-4.5, 0.5] * u.deg, detx=wide.detx[1:3])
    full = CubeAxes(wide.energy[1:], dety=[-2, 0.5] * u.deg, detx=wide.detx[1:3])
    both = [predicted_rate(smooth_rate(AXES), axes, interpolation).sum() for axes in (half, full)]
    assert both[0] == pytest.approx(both[1], rel=1e-9, abs=0)


@pytest.mark.parametrize("unit", ["MeV-1 s-1 sr-1", "TeV-1 h-1 deg-2"])
def test_point_rates_predict_counts(unit):
    """Interpolated rates at bin centres predict the counts of each bin."""
    rate = asymmetric_model().rate
    counts = predicted_rate(point_rate(Cube(AXES, rate.quantity.to(unit))), AXES, "gammapy")
    np.testing.assert_allclose(counts, (rate.quantity * AXES.bin_volume).to_value("s-1"), rtol=2e-3)
    assert counts.sum() == pytest.approx((rate.quantity * AXES.bin_volume).to_value("s-1").sum(), rel=1e-5)


def test_point_rates_of_power_law_and_gradient():
    """Exponential functions, which interpolation of logarithms reproduces, are recovered from their means."""
    steep = smooth_rate(AXES)
    lows, highs = AXES.energy[:-1].to_value("MeV"), AXES.energy[1:].to_value("MeV")
    mean = (lows**-1.7 - highs**-1.7) / 1.7 / (highs - lows) * AXES.energy_centers.to_value("MeV") ** 2.7
    in_y, in_x = (g * np.diff(edges.to_value("rad")) / 2 for g, edges in ((-17, AXES.dety), (11, AXES.detx)))
    factor = mean[:, None, None] * (np.sinh(in_y) / in_y)[:, None] * (np.sinh(in_x) / in_x)
    means = Cube(AXES, steep.quantity * factor)
    np.testing.assert_allclose(point_rate(means).quantity.value, steep.quantity.value, rtol=1e-5)


def test_what_is_no_rate_is_refused():
    """A model instead of its rate, and a cube of counts, are refused with advice."""
    counts = Cube(AXES, np.ones(AXES.shape) * u.m)
    for function in (point_rate, lambda rate: predicted_rate(rate, AXES)):
        with raises("invalid-argument", "rate", "give its rate"):
            function(asymmetric_model())
        with raises("bad-unit", "rate", "'m'"):
            function(counts)


def test_an_unknown_interpolation_is_refused():
    with raises("unknown-choice", "interpolation", "cubic", "none, gammapy"):
        predicted_rate(smooth_rate(AXES), OTHER, "cubic")


def test_bins_beyond_ends_of_axes():
    """Bins that extend beyond an end of any axis predict the counts of the part inside."""
    for name in ("energy", "dety", "detx"):
        edges = getattr(AXES, name)
        span = edges[-1] - edges[0]
        for beyond, within in (
            ([edges[0] - 0.004 * span, edges[0] + 0.6 * span], [edges[0], edges[0] + 0.6 * span]),
            ([edges[-1] - 0.6 * span, edges[-1] + 2 * span], [edges[-1] - 0.6 * span, edges[-1]]),
        ):
            kept = {n: getattr(AXES, n)[1:3] for n in ("energy", "dety", "detx") if n != name}
            both = [
                predicted_rate(smooth_rate(AXES), CubeAxes(**kept, **{name: u.Quantity(part)}), "gammapy").item()
                for part in (beyond, within)
            ]
            assert both[0] == pytest.approx(both[1], rel=1e-9, abs=0), name


def test_interpolation_against_scipy():
    """Between bin centres, the log rate is interpolated linearly, as by SciPy."""
    rate = asymmetric_model(method="unsmoothed").rate
    rough = Cube(AXES, (rate.quantity + 0.02 * rate.quantity.mean()) * np.random.default_rng(4).uniform(0.5, 2, AXES.shape))

    def coordinates(axes):
        return np.log(axes.energy_centers.to_value("MeV")), axes.dety_centers.to_value("rad"), axes.detx_centers.to_value("rad")

    between = RegularGridInterpolator(coordinates(AXES), np.log(rough.quantity.value), bounds_error=False, fill_value=None)
    parts = (30, 12, 12)  # into which each bin is cut
    fine = CubeAxes(
        np.geomspace(0.8, 30, 3 * parts[0] + 1) * u.TeV,
        np.linspace(-1.3, 2.1, 4 * parts[1] + 1) * u.deg,
        np.linspace(-3.7, 1.1, 5 * parts[2] + 1) * u.deg,
    )
    events = np.exp(between(tuple(np.meshgrid(*coordinates(fine), indexing="ij")))) * fine.bin_volume.value
    expected = events.reshape(3, parts[0], 4, parts[1], 5, parts[2]).sum(axis=(1, 3, 5))
    np.testing.assert_allclose(predicted_rate(rough, OTHER, "gammapy"), expected, rtol=5e-3)


@pytest.mark.slow
def test_counts_at_a_sharp_edge():
    """Interpolation between bin centres conserves the counts near the edge of a camera."""
    n_fov = 40
    axes = CubeAxes.regular(n_energy=5, n_fov=n_fov)
    y, x = np.meshgrid(axes.dety_centers.value, axes.detx_centers.value, indexing="ij")
    n_points = 8
    fine = CubeAxes.regular(n_energy=5, n_fov=n_fov * n_points)
    fine_y, fine_x = np.meshgrid(fine.dety_centers.value, fine.detx_centers.value, indexing="ij")
    part = (np.hypot(fine_x, fine_y) < 2).reshape(n_fov, n_points, n_fov, n_points).mean(axis=(1, 3))
    values = axes.energy_centers.value[:, None, None] ** -2.7 * np.exp(-(x**2 + y**2) / 20) * np.maximum(part, 1e-6)
    rate = Cube(axes, values * u.Unit("MeV-1 s-1 sr-1"))
    true = predicted_rate(rate, fine)
    made = predicted_rate(point_rate(rate), fine, "gammapy")
    offset = np.hypot(fine_x, fine_y)
    assert made.sum() == pytest.approx(true.sum(), rel=0.006)
    change = (point_rate(rate).quantity / rate.quantity).value[:, np.hypot(x, y) < 1.9]
    assert 0.7 < change.min() < change.max() < 1.3  # the rates near the edge do not oscillate
    ring = (offset > 1.6) & (offset < 2.4)
    assert made[:, ring].sum() == pytest.approx(true[:, ring].sum(), rel=0.02)


def test_smooth_corners_stay_as_they_are():
    """A rate that falls smoothly to almost nothing has no edge: where it is constant, the factor is that of the energy."""
    axes = CubeAxes.regular(n_energy=5, n_fov=40)
    y, x = np.meshgrid(axes.dety_centers.to_value("deg"), axes.detx_centers.to_value("deg"), indexing="ij")
    field = np.maximum(np.exp(-((x - 0.3) ** 2 / 2 + (y + 0.2) ** 2 / 1.6)), 1e-6)
    corners = field == 1e-6
    assert corners.sum() > 50
    rate = Cube(axes, axes.energy_centers.value[:, None, None] ** -2.7 * field * RATE_UNIT)
    points = point_rate(rate)
    change = (points.quantity / rate.quantity).value
    np.testing.assert_allclose(change[:, corners], change[:, :1, 0] * np.ones(corners.sum()), rtol=1e-12)
    counts = predicted_rate(points, axes, "gammapy").sum(axis=(1, 2)) / predicted_rate(rate, axes).sum(axis=(1, 2))
    np.testing.assert_allclose(counts, 1, rtol=2e-5)


@pytest.mark.parametrize("shape", [(5, 7, 6), (1, 2, 3)])
def test_prediction_in_some_bins(shape):
    """The prediction in a few bins of an irregular axis is that in all of them."""
    edges = [np.cumsum(1 + np.arange(n + 1) ** 2 % 5) / 20 for n in shape]
    axes = CubeAxes(edges[0] * u.TeV, (edges[1] - 0.3) * u.deg, (edges[2] - 0.8) * u.deg)
    rate = np.random.default_rng(4).lognormal(sigma=3, size=shape)
    rate[0, 0, 1] = 0.0
    bins = tuple(np.array([0, 0, n // 2, n - 1]) for n in shape)
    expected = predicted_rate(Cube(axes, rate * RATE_UNIT), axes, "gammapy")[bins]
    np.testing.assert_allclose(_prediction_in(axes, bins)(rate), expected, rtol=1e-12)
