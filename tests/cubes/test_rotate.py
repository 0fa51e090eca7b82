"""Rates averaged over the rotation of the field of view."""

import numpy as np
import pytest
from astropy import units as u
from scipy.interpolate import RegularGridInterpolator
from scipy.ndimage import minimum_filter

from bgnb import Cube, CubeAxes, point_rate, predicted_rate
from bgnb.cubes.rotate import rotate_to_radec
from bgnb.observations.coordinates import FieldOfView, Site, separation
from bgnb.observations.event_list import EventList


def test_rate_rotates_with_the_sky():
    """The mean position and integral of a narrow off-axis peak are those averaged over the good time."""
    gti = np.array([[0.0, 400.0], [3000.0, 3600.0]])
    site = Site(16.5, -23.27, 1835.0)
    events = EventList(1, *np.zeros((4, 0)), 53343.95, gti, 1000.0, 83.6, -30.0, site, None)
    axes = CubeAxes([1, 2, 5] * u.TeV, np.linspace(-2, 2.5, 46) * u.deg, np.linspace(-3, 2, 51) * u.deg)
    y, x = np.meshgrid(axes.dety_centers.value, axes.detx_centers.value, indexing="ij")
    peak = np.exp(-((x - 1.2) ** 2 + (y - 0.9) ** 2) / (2 * 0.3**2))
    rate = Cube(axes, u.Quantity(np.stack([peak, 3 * peak]), "MeV-1 s-1 sr-1"))
    rotated = rotate_to_radec(rate, events)
    assert np.array_equal(rotated.axes.energy, axes.energy)
    values = rotated.quantity.value
    np.testing.assert_allclose(values[1], 3 * values[0], rtol=1e-9, atol=1e-30)
    y, x = np.meshgrid(rotated.axes.dety_centers.value, rotated.axes.detx_centers.value, indexing="ij")
    found = [np.sum(values[0] * c) / values[0].sum() for c in (x, y)]
    view = FieldOfView(83.6, -30.0, 53343.95 + 1800 / 86400, site)
    times = np.concatenate([np.arange(2, 400, 4), np.arange(3002, 3600, 4)]).astype(float)
    ra, dec = view.sky_position("ALTAZ", np.full(len(times), 1.2), np.full(len(times), 0.9), times - 1800)
    where = view.detxy_radec(ra, dec)
    assert max(np.ptp(where, axis=1)) > 0.2  # the field of view rotates
    assert found == pytest.approx([where[0].mean(), where[1].mean()], abs=0.01)
    counts = [predicted_rate(each, each.axes, "gammapy").sum(axis=(1, 2)) for each in (rotated, rate)]
    np.testing.assert_allclose(*counts, rtol=1e-3)


def rotating_run(start: float) -> EventList:
    """Make a run without events, some hours after another one."""
    site, gti = Site(16.5, -23.27, 1835.0), np.array([[0.0, 400.0], [600.0, 1700.0]])
    return EventList(1, *np.zeros((4, 0)), 53343.6 + start / 24, gti, 1000.0, 83.6, -30.0, site, None)


@pytest.mark.parametrize(("camera", "tolerance"), [(9.0, 0.01), (1.7, 0.0015)])
def test_rotation_conserves_counts(camera, tolerance):
    """The counts of a rate that is constant up to a square edge, or up to that of a round camera, remain."""
    edges = np.linspace(-2, 2, 61) * u.deg
    axes = CubeAxes([1, 2, 4] * u.TeV, edges, edges)
    fine = CubeAxes([1, 2, 4] * u.TeV, *2 * [np.linspace(-2, 2, 481) * u.deg])
    inside = np.hypot(*np.meshgrid(fine.dety_centers.value, fine.detx_centers.value)) < camera
    part = np.maximum(inside.reshape(60, 8, 60, 8).mean(axis=(1, 3)), 1e-6)
    rate = Cube(axes, u.Quantity(part * np.ones(axes.shape), "MeV-1 s-1 sr-1"))
    rotated = [rotate_to_radec(point_rate(rate), rotating_run(hours)) for hours in (0, 3, 6, 9, 12)]
    ratios = [predicted_rate(each, each.axes, "gammapy").sum() / predicted_rate(rate, axes).sum() for each in rotated]
    assert np.mean(ratios) == pytest.approx(1, abs=0.003)
    np.testing.assert_allclose(ratios, 1, atol=tolerance)


@pytest.mark.parametrize(("n_dety", "n_detx"), [(34, 60), (9, 11), (1, 7), (5, 1)])
def test_rotation_agrees_with_scipy(n_dety, n_detx):
    """In a short run the rate is that interpolated by SciPy, 15 % of it just outside the edge, and zero beyond."""
    site = Site(16.5, -23.27, 1835.0)
    events = EventList(1, *np.zeros((4, 0)), 53343.95, np.array([[0.0, 50.0]]), 45.0, 83.6, -30.0, site, None)
    axes = CubeAxes([1, 2, 5] * u.TeV, np.linspace(-2, 1.3, n_dety + 1) * u.deg, np.linspace(-1.2, 3, n_detx + 1) * u.deg)
    rate = np.random.default_rng(3).lognormal(sigma=0.3, size=axes.shape)

    def interpolated(x, y):
        log_rate, centres = np.log(rate), []
        for axis, centre in enumerate((axes.dety_centers.value, axes.detx_centers.value), start=1):
            log_rate = np.repeat(log_rate, 2, axis=axis) if len(centre) == 1 else log_rate
            centres.append(centre + np.array([-1, 1]) if len(centre) == 1 else centre)
        at = RegularGridInterpolator(centres, np.moveaxis(log_rate, 0, -1), bounds_error=False, fill_value=None)
        return np.exp(at((y, x)).T)

    rotated = rotate_to_radec(Cube(axes, u.Quantity(rate, "MeV-1 s-1 sr-1")), events)
    edges = rotated.axes.detx.value
    assert np.array_equal(edges, rotated.axes.dety.value)
    assert edges[-1] == -edges[0] == pytest.approx(float(separation(3, -2, 0, 0)))  # the farthest corner
    bin_width = min(3.3 / n_dety, 4.2 / n_detx)
    widths = [bin_width / n for n in range(1, 30) if bin_width / n <= min(0.15, edges[-1] / 40)]
    assert len(edges) - 1 == 2 * np.ceil(edges[-1] / widths[0])
    y, x = np.meshgrid(rotated.axes.dety_centers.value, rotated.axes.detx_centers.value, indexing="ij")
    view = FieldOfView(83.6, -30.0, 53343.95 + 25 / 86400, site)
    sky = view.sky_position("RADEC", x.ravel(), y.ravel(), np.zeros(1))
    x, y = (values.reshape(x.shape) for values in view.detxy_altaz(*sky, np.zeros(1)))
    beyond = np.max([-2 - y, y - 1.3, -1.2 - x, x - 3], axis=0)  # the nearest edge
    weight = np.where(beyond <= 0, 1, np.where(beyond <= edges[1] - edges[0], 0.15, 0))
    assert set(np.unique(weight)) == {0, 0.15, 1}
    covered = weight > 0
    assert not rotated.quantity.value[:, ~covered].any()
    expected = np.ones(rotated.quantity.shape)
    expected[:, covered] = interpolated(x[covered], y[covered]) * weight[covered]
    # Away from the edges, the rate is changed such that its interpolation conserves counts.
    logs, inner = np.log(expected), minimum_filter(weight == 1, 3)
    curvature = np.zeros(logs.shape)
    curvature[:, 1:-1] += np.diff(logs, 2, axis=1)
    curvature[:, :, 1:-1] += np.diff(logs, 2, axis=2)
    expected = np.where(inner, expected * np.exp(-curvature / 12), expected)[:, covered]
    np.testing.assert_allclose(rotated.quantity.value[:, covered], expected, rtol=1e-6)
