"""The spline resolves the field of view however far the axes reach beyond it."""

import numpy as np
import pytest
from astropy import units as u

from bgnb import Cell, CubeAxes, RunCounts, Stack, fit_spline

AXES = CubeAxes(np.geomspace(0.1, 50, 13) * u.TeV, np.linspace(-8, 8, 51) * u.deg, np.linspace(-8.1, 8.1, 54) * u.deg)
Y, X = np.meshgrid(AXES.dety_centers.value, AXES.detx_centers.value, indexing="ij")
RINGS = np.arange(0, 8.5, 0.5)


def chi2_of_rings(part: np.ndarray, edge: float | None) -> tuple[float, int]:
    """Fit a spline to 300 000 counts of a field that is wider at high energies; return χ² of energies and rings, and bins.

    The field is a disc of 1 to 3 deg with a soft end; ``part`` is the part of each pixel inside the camera.
    """
    energy = AXES.energy_centers.value[:, None, None]
    width = 1.2 + 0.7 * np.log10(energy / 0.1)
    mean = energy**-2.2 * part / (1 + np.exp((np.hypot(Y, X) - width) / 0.25)) * AXES.bin_volume.value
    counts = np.random.default_rng(5).poisson(mean * (300_000 / mean.sum()))
    run = RunCounts(1, 10_000.0, None, int(counts.sum()), 0, 0, 0)
    stack = Stack(AXES, "ALTAZ", counts, np.full(AXES.shape, 10**10), (run,))
    model = fit_spline([Cell(70.0, 180.0, stack)])
    assert model.edge is None if edge is None else model.edge.detx == pytest.approx(edge, abs=0.03)
    expected = (model.rate_at(70.0, 180.0).quantity * stack.exposure).to_value("")
    ring = np.digitize(np.hypot(Y, X), RINGS).ravel()
    seen, made = (np.array([np.bincount(ring, plane.ravel()) for plane in cube]) for cube in (counts, expected))
    many = made > 5
    return float(((seen - made)[many] ** 2 / made[many]).sum()), int(many.sum())


@pytest.mark.parametrize("edge", [None, 2.5])
def test_narrow_field_on_wide_axes(edge):
    """Counts in rings of offset are predicted at all energies, on axes three times as wide as the field, and with an edge."""
    y, x = (values + (np.arange(8) - 3.5)[:, None, None] / 8 * 0.313 for values in (Y, X))
    part = 1.0 if edge is None else (np.hypot(y[:, None], x[None]) < edge).mean(axis=(0, 1))
    chi2, n_bins = chi2_of_rings(part, edge)
    assert n_bins > 60
    assert chi2 < n_bins + 3 * np.sqrt(2 * n_bins)
