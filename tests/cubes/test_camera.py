"""Edge of the camera: circles and rectangles are found, soft edges and stray events are not mistaken."""

import re
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from astropy import units as u

import bgnb
from bgnb import Cell, CubeAxes, RunCounts, Stack, fit_spline, make_model
from bgnb.cubes.camera import inside_camera
from bgnb.cubes.spline import RADIAL_TERMS
from bgnb.observations.coordinates import separation

AXES = CubeAxes(np.geomspace(0.3, 30, 7) * u.TeV, np.linspace(-3.6, 3.6, 37) * u.deg, np.linspace(-4, 4, 31) * u.deg)
Y, X = np.meshgrid(AXES.dety_centers.value, AXES.detx_centers.value, indexing="ij")
FINE = 12


def part_inside(shape, size) -> np.ndarray:
    """Compute the part of each pixel inside a circle, or a rectangle twice as wide as high."""
    y, x = (
        np.concatenate([low + (high - low) * (np.arange(FINE) + 0.5) / FINE for low, high in pairwise(edges)])
        for edges in (AXES.dety.value, AXES.detx.value)
    )
    y, x = np.meshgrid(y, x, indexing="ij")
    inside = np.hypot(x, y) < size if shape == "circle" else (np.abs(x) < size) & (np.abs(y) < size / 2)
    return inside.reshape(len(AXES.dety) - 1, FINE, len(AXES.detx) - 1, FINE).mean(axis=(1, 3))


def mean_counts(total, part=1.0) -> np.ndarray:
    """Mean counts of a radial profile, wider at high energies."""
    energy = AXES.energy_centers.value[:, None, None]
    rate = energy**-2.7 * np.exp(-(X**2 + Y**2) / (7 + 2 * np.log10(energy)))
    mean = rate * AXES.bin_volume.value * part
    return mean * (total / mean.sum())


def stack_of(mean, seed=1, stray=()) -> Stack:
    """Draw counts, and add stray events."""
    counts = np.random.default_rng(seed).poisson(mean)
    for position in stray:
        counts[(0, *position)] += 1
    livetime = np.full(AXES.shape, 10**10)
    return Stack(AXES, "ALTAZ", counts, livetime, (RunCounts(1, 10000.0, None, int(counts.sum()), 0, 0, 0),))


@pytest.mark.parametrize("stray", [(), ((1, 2),)])
@pytest.mark.parametrize(("shape", "size"), [("circle", 2.13), ("rectangle", 3.1)])
def test_sharp_edges_are_found(shape, size, stray):
    """The part of each pixel inside is that of the true edge, also if an event lies far outside."""
    part = part_inside(shape, size)
    mean = mean_counts(100_000, part)
    stack = stack_of(mean, stray=stray)
    smooth = mean_counts(1)
    smooth = smooth.sum(axis=0) * (mean.sum() / (smooth * part).sum())
    inside, edge = inside_camera(stack.counts.sum(axis=0).astype(float), smooth, AXES)
    assert np.all(inside[part == 0] < 0.15)
    assert np.abs(inside - part).mean() < 0.01
    detx, dety = (size, size) if shape == "circle" else (size, size / 2)
    assert edge is not None
    assert (edge.shape, edge.detx, edge.dety) == (shape, pytest.approx(detx, abs=0.04), pytest.approx(dety, abs=0.04))
    if shape == "rectangle":
        assert re.fullmatch(r"a rectangle of ±3\.\d\d deg in DETX and ±1\.\d\d deg in DETY", str(edge))
    else:
        assert re.fullmatch(r"a circle of radius 2\.1\d deg", str(edge))


def test_soft_edges_are_kept():
    """A smooth rate that falls to zero has no edge."""
    counts = stack_of(mean_counts(100_000)).counts.sum(axis=0).astype(float)
    inside, edge = inside_camera(counts, mean_counts(100_000).sum(axis=0), AXES)
    assert np.all(inside == 1)
    assert edge is None


def test_deficit_at_the_end_is_no_edge():
    """Fewer counts than predicted in the outermost pixels are not an edge, as no pixel lies outside it."""
    expected = mean_counts(2_000_000).sum(axis=0)
    counts = expected.copy()
    counts[[0, -1]] *= 0.8
    counts[:, [0, -1]] *= 0.8
    inside, edge = inside_camera(np.rint(counts), expected, AXES)
    assert np.all(inside == 1)
    assert edge is None


@pytest.mark.parametrize(("width", "height", "total"), [(1.5, 0.75, 6_000), (1.5, 0.75, 127_000), (1.2, 0.4, 5_700)])
def test_elongated_fields_have_no_edge(width, height, total):
    """A smooth field of view that is narrow in one direction has no edge, beyond which the rate would be zero."""
    energy = AXES.energy_centers.value[:, None, None]
    mean = energy**-2.7 * np.exp(-((X / width) ** 2 + (Y / height) ** 2) / 2) * AXES.bin_volume.value
    assert make_model(stack_of(mean * (total / mean.sum()), 3), "spline").edge is None


@pytest.mark.slow
@pytest.mark.parametrize("total", [5_000, 500_000])
@pytest.mark.parametrize("method", ["spline", "classic"])
def test_rates_end_at_the_edge(method, total):
    """Inside a circle of 2 deg the rate is the true one, in the pixels at its edge as well, and outside it vanishes."""
    part = part_inside("circle", 2.0)
    mean = mean_counts(total, part)
    model = make_model(stack_of(mean, stray=[(3, 3)]), method)
    assert model.edge is not None
    assert (model.edge.shape, model.edge.detx, model.edge.dety) == ("circle", pytest.approx(2, abs=0.05), model.edge.detx)
    made = (model.rate.quantity * AXES.bin_volume).to_value("s-1").sum(axis=0) * 10_000
    offset, mean = np.hypot(X, Y), mean.sum(axis=0)
    error = 4 / np.sqrt(total)
    for low, high in ((0, 0.7), (0.7, 1.5), (1.5, 2.3)):
        ring = (offset >= low) & (offset < high)
        assert made[ring].sum() == pytest.approx(mean[ring].sum(), rel=0.01 + 2 * error)
    assert made[offset > 2.4].sum() < 1e-4 * total


@pytest.mark.slow
@pytest.mark.parametrize("radius", [2.5, 3.5])
def test_edge_of_many_counts(radius):
    """The radius of a sharp edge is not confirmed by the pixels at the edge, and their counts are right."""
    axes = CubeAxes.regular(n_energy=8, n_fov=40)
    y, x = np.meshgrid(axes.dety_centers.value, axes.detx_centers.value, indexing="ij")
    fine_y, fine_x = ((np.arange(16) - 7.5)[:, None, None] / 80 + values for values in (y, x))
    part = (np.hypot(fine_y[:, None], fine_x[None]) < radius).mean(axis=(0, 1))
    mean = axes.energy_centers.value[:, None, None] ** -2.7 * np.exp(-(x**2 + y**2) / 18) * axes.bin_volume.value * part
    mean *= 10**6 / mean.sum()
    counts = np.random.default_rng(3).poisson(mean)
    runs = (RunCounts(1, 10_000.0, None, int(counts.sum()), 0, 0, 0),)
    model = make_model(Stack(axes, "ALTAZ", counts, np.full(axes.shape, 10**10), runs), "spline")
    assert model.edge.detx == pytest.approx(radius, abs=0.01)
    made, rim = (model.rate.quantity * model.stack.exposure).to_value("").sum(axis=0), (part > 0) & (part < 0.5)
    assert made[rim].sum() == pytest.approx(mean.sum(axis=0)[rim].sum(), rel=0.08)


@pytest.mark.slow
def test_fit_with_an_edge_converges():
    """A steep profile that ends at a sharp edge is fitted, for any fluctuation of the counts."""
    part = part_inside("circle", 2.0)
    for seed in range(3):
        model = fit_spline([Cell(90.0, 0.0, stack_of(mean_counts(10**6, part), seed))], RADIAL_TERMS)
        assert np.abs(model.camera - part).mean() < 0.01


@pytest.mark.parametrize(("shape", "size"), [("square", 1.5), ("square", 1.87), ("circle", 2.03), ("circle", 1.62)])
def test_edge_of_simulated_events(shape, size):
    """The edge is found to a hundredth of a degree, and the model predicts the counts of the pixels that it divides.

    Of a square, the circle of the outermost event leaves segments without events, in which the first fit does not converge.
    """
    table = bgnb.make_test_observation_table(2, alt_range=(60, 70), az_range=(0, 40), n_tels_range=(4, 4))
    true = bgnb.TrueModel(trigger_rate=25, spectral_index=1.2, sigma=3.0)
    axes = CubeAxes.regular(n_energy=8, n_fov=40)
    cells = []
    for row in table:
        run = bgnb.make_test_eventlist(row, true)
        x, y = run.detxy("ALTAZ")
        distance = np.maximum(np.abs(x), np.abs(y)) if shape == "square" else separation(x, y, 0, 0)
        columns = {name: getattr(run, name)[distance < size] for name in ("time", "ra", "dec", "energy")}
        cells.append(Cell(*run.mean_pointing, bgnb.stack_runs([replace(run, **columns)], axes)))
    model = fit_spline(cells)
    assert (model.edge.detx, model.edge.dety) == pytest.approx((size, size), abs=0.01)
    predicted = sum((model.rate_at(cell.alt_pnt, cell.az_pnt).quantity * cell.stack.exposure).to_value("") for cell in cells)
    at_edge = (model.camera > 0) & (model.camera < 1)
    observed = model.counts[:, at_edge].sum()
    assert abs(predicted[:, at_edge].sum() / observed - 1) < 3 / np.sqrt(observed)
