"""Splines of runs whose exclusion regions hide the same part of the field of view in all of them."""

import numpy as np
import pytest
from astropy import units as u

from bgnb import Cell, CubeAxes, RunCounts, Stack, fit_spline

AXES = CubeAxes(
    energy=np.geomspace(0.5, 20, 4) * u.TeV, dety=np.linspace(-3.2, 2.8, 16) * u.deg, detx=np.linspace(-2.8, 3.6, 17) * u.deg
)
#: Points on an axis of each bin.
N_FINE = 40


@pytest.mark.parametrize("radii", [(1.3, 1.3, 1.3), (1.7, 1.3, 1.0)])
def test_rate_in_a_hole(radii):
    """The fit continues the rate into a hole, although what is left of the pixels at its edge has a lower mean rate."""
    edges = [np.linspace(axis[0].value, axis[-1].value, N_FINE * (len(axis) - 1) + 1) for axis in (AXES.dety, AXES.detx)]
    y, x = np.meshgrid(*((line[1:] + line[:-1]) / 2 for line in edges), indexing="ij")
    rate, open_ = np.exp(-0.3 * (x**2 + y**2) + 0.1 * x), np.hypot(x, y) > np.array(radii)[:, None, None]

    def of_pixels(values):
        return values.reshape(-1, 15, N_FINE, 16, N_FINE).mean(axis=(2, 4))

    spectrum, part = np.array([3000.0, 1000.0, 300.0])[:, None, None], of_pixels(open_)
    livetime = np.rint(1e9 * part).astype(np.int64)
    rng, cells = np.random.default_rng(4), []
    for obs_id, alt_pnt in enumerate((55.0, 58.0, 61.0, 64.0)):
        counts = rng.poisson(spectrum * of_pixels(rate * open_)) * (livetime > 0)
        run = RunCounts(obs_id, 1000.0, None, int(counts.sum()), 0, 0, 0, alt_pnt=alt_pnt, az_pnt=180.0)
        cells.append(Cell(alt_pnt, 180.0, Stack(AXES, "ALTAZ", counts, livetime, (run,))))
    hole = part == 0
    assert np.all(hole.sum(axis=(1, 2)) > 10)
    made = fit_spline(cells).rate_at(60.0, 180.0).quantity * AXES.bin_volume * 1000 * u.s
    predicted, true = (np.sum(values, axis=(1, 2), where=hole) for values in (made.to_value(""), spectrum * of_pixels(rate)))
    np.testing.assert_allclose(predicted / true, 1, atol=0.06)


def test_pixels_larger_than_the_region():
    """If most pixels are at the edge of a region, they are fitted."""
    axes = CubeAxes(energy=AXES.energy, dety=[-3, -1, 1, 3] * u.deg, detx=[-3, -1, 1, 3] * u.deg)
    livetime = np.full(axes.shape, 700_000_000)
    livetime[:, 1, 1] = 0
    livetime[:, 0, 0] = 1_000_000_000
    counts = np.where(livetime > 0, 1000, 0)
    run = RunCounts(1, 1000.0, None, int(counts.sum()), 0, 0, 0, alt_pnt=60.0, az_pnt=180.0)
    rate = fit_spline([Cell(60.0, 180.0, Stack(axes, "ALTAZ", counts, livetime, (run,)))]).rate_at(60.0, 180.0)
    made = (rate.quantity * axes.bin_volume * 700 * u.s).to_value("")[:, 2, 2]
    np.testing.assert_allclose(made, 1000, rtol=0.1)
