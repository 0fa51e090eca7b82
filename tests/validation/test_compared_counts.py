"""Sums of observed and predicted counts: equal to those of `Validation`, and right for any runs and energies."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from astropy import units as u
from scipy import stats

from bgnb import CubeAxes, Grid, Validation
from bgnb.validation.compared_counts import MIN_MAP, SIGNIFICANCES, ComparedCounts, RunRatios, largest_by_chance
from tests.helpers.validations import GRID, simulated_validation

ALL = slice(0, 3)


def everything(counts):
    """Select all runs."""
    return np.ones(len(counts.obs_ids), dtype=bool)


@pytest.fixture(scope="module")
def validation():
    """Simulate a validation with counts in bins where the model is empty, and a run without counts."""
    validation = simulated_validation()
    runs = list(validation.runs)
    expected = runs[4].expected.copy()
    expected[1, 2, 3] = 0.0  # an empty bin of the model
    runs[4] = replace(runs[4], expected=expected)
    runs[7] = replace(runs[7], counts=np.zeros_like(runs[7].counts))
    return Validation(validation.grid, tuple(runs))


@pytest.fixture(scope="module")
def counts(validation):
    """Sum the counts of this validation."""
    return ComparedCounts(validation)


def test_sums_agree_with_profiles(counts, validation):
    """Residuals against energy and offset are those of `Validation.profile`."""
    for axis, found in (
        ("energy", counts.by_energy(everything(counts), "free")),
        ("offset", counts.by_offset(everything(counts), ALL, "free")),
    ):
        table = validation.profile(axis)
        np.testing.assert_allclose(found.residual, table["RESIDUAL"], atol=1e-12)
        np.testing.assert_allclose(found.error, table["ERROR_NORM"], rtol=1e-12)
        np.testing.assert_array_equal(found.edges, [*table["LOW"], table["HIGH"][-1]])
    for axis, found in (
        ("energy", counts.by_energy(everything(counts), "fixed")),
        ("offset", counts.by_offset(everything(counts), ALL, "fixed")),
    ):
        np.testing.assert_allclose(found.expected, validation.profile(axis)["EXPECTED"], rtol=1e-12)
        np.testing.assert_array_equal(found.counts, validation.profile(axis)["COUNTS"])


@pytest.mark.parametrize("norm", ["free", "fixed"])
def test_sums_of_selected_runs(counts, validation, norm):
    """The sums of some runs are those of a validation of these runs only."""
    mask = np.isin(counts.obs_ids, [110, 140, 190])
    part = Validation(validation.grid, tuple(run for run, kept in zip(validation.runs, mask, strict=True) if kept))
    column = "EXPECTED_NORM" if norm == "free" else "EXPECTED"
    np.testing.assert_allclose(counts.by_energy(mask, norm).expected, part.profile("energy")[column], rtol=1e-12)
    np.testing.assert_allclose(counts.by_offset(mask, ALL, norm).expected, part.profile("offset")[column], rtol=1e-12)
    np.testing.assert_array_equal(counts.by_offset(mask, ALL, norm).counts, part.profile("offset")["COUNTS"])
    fit, goodness = part.fit(norm == "free"), counts.goodness(mask, ALL, norm)
    assert goodness.ratio == pytest.approx(fit.ratio, rel=1e-12)
    assert goodness.ratio_error == pytest.approx(fit.ratio_error, rel=1e-12)
    expected_width, width_error = fit.expected_width("cube of each run")
    assert goodness.n_bins == len(fit.significance["cube of each run"])
    assert goodness.expected_width == pytest.approx(expected_width, rel=1e-12)
    assert goodness.width_error == pytest.approx(width_error, rel=1e-12)


@pytest.mark.parametrize("norm", ["free", "fixed"])
def test_goodness_agrees_with_fit(counts, validation, norm):
    """Deviance and significances of all runs and energies, and of each run, are those of `Validation.fit`."""
    fit, goodness = validation.fit(norm == "free"), counts.goodness(everything(counts), ALL, norm)
    assert goodness.ratio == pytest.approx(fit.ratio, rel=1e-12)
    assert goodness.ratio_error == pytest.approx(fit.ratio_error, rel=1e-12)
    assert (goodness.mean, goodness.width) == pytest.approx(fit.mean_width("cube of each run"), rel=1e-9)
    inside, _ = np.histogram(fit.significance["cube of each run"], [-np.inf, *SIGNIFICANCES[1:-1], np.inf])
    np.testing.assert_array_equal(goodness.histogram, inside)
    sigmas, ratios, errors = counts.run_deviances(everything(counts), ALL, norm)
    for i, obs_id in enumerate(counts.obs_ids.tolist()):
        if norm == "free" and obs_id == 170:  # without counts
            assert np.isnan([sigmas[i], ratios[i], errors[i]]).all()
            continue
        fit = validation.fit(norm == "free", obs_id)
        assert (ratios[i], errors[i]) == pytest.approx((fit.ratio, fit.ratio_error), rel=1e-12)
        assert sigmas[i] == pytest.approx((fit.deviance - fit.expected) / fit.error, rel=1e-9)


@pytest.mark.parametrize("norm", ["free", "fixed"])
def test_histograms_of_some_energies(counts, validation, norm):
    """Significances are counted by run and energy: those of all add up, bins without a prediction have none."""
    fit = validation.fit(norm == "free")
    parts = [counts.goodness(counts.obs_ids == obs_id, slice(i, i + 1), norm) for obs_id in counts.obs_ids for i in range(3)]
    possible = [run.possible[i].sum() * (norm == "fixed" or run.n_counts > 0) for run in validation.runs for i in range(3)]
    assert [part.n_bins for part in parts] == [part.histogram.sum() for part in parts] == possible
    stops = np.cumsum(possible)
    for part, start, stop in zip(parts, stops - possible, stops, strict=True):
        values = fit.significance["cube of each run"][start:stop]
        inside, _ = np.histogram(values, [-np.inf, *SIGNIFICANCES[1:-1], np.inf])
        np.testing.assert_array_equal(part.histogram, inside)
        expected = (values.mean(), values.std(ddof=1)) if stop > start else (np.nan, np.nan)
        assert (part.mean, part.width) == pytest.approx(expected, rel=1e-9, nan_ok=True)


def test_memory_is_less_than_one_cube():
    """Sums of many runs need less memory than the observed counts themselves."""
    validation = simulated_validation(n_runs=60, grid=Grid.regular(n_energy=3, pixel="0.1 deg", offset_max="2 deg"))
    tracemalloc.start()
    try:
        counts = ComparedCounts(validation)
        for norm in ("free", "fixed"):
            counts.goodness(everything(counts), ALL, norm)
        counts.field_map(everything(counts), ALL, "free")
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert used < 0.2 * sum(run.counts.nbytes for run in validation.runs)


def test_runs_agree_with_table(counts, validation):
    """Counts and ratios of the runs are those of `Validation.table`."""
    runs, table = counts.runs(ALL), validation.table
    np.testing.assert_array_equal(runs.counts, table["COUNTS"])
    np.testing.assert_allclose(runs.expected, table["EXPECTED"], rtol=1e-12)
    np.testing.assert_allclose(runs.ratio, table["RATIO"], rtol=1e-12)
    np.testing.assert_allclose(counts.runs(slice(1, 2)).counts, [run.counts[1][run.used[1]].sum() for run in validation.runs])


def test_norm_takes_part_of_a_degree():
    """With a free norm, the expected deviance at some energies is smaller by the part of the norm they determine."""
    axes = CubeAxes(energy=[1, 3, 9] * u.TeV, dety=[-2, 0, 2] * u.deg, detx=[-2, 0, 2] * u.deg)
    counts = ComparedCounts(simulated_validation(80.0, n_runs=400, grid=Grid(axes, 3.0)))
    for energies in (slice(0, 1), slice(1, 2)):
        for norm in ("free", "fixed"):
            goodness = counts.goodness(everything(counts), energies, norm)
            assert goodness.ratio_error < 0.06
            assert goodness.ratio == pytest.approx(1, abs=3 * goodness.ratio_error)


def test_map_shows_wrong_pixel():
    """An excess in one pixel of some runs, at one energy, appears there in the map of these runs and this energy only."""

    def change(number, true):
        true[1, 1, 4] *= 3 if number < 5 else 1
        return true

    counts = ComparedCounts(simulated_validation(30.0, change=change))
    first = counts.obs_ids < 150
    at_energy = counts.field_map(first, slice(1, 2), "fixed")
    assert at_energy.counts.shape == (10, 10)
    assert np.unravel_index(np.nanargmax(at_energy.significance), (10, 10)) == (1, 4)
    assert at_energy.significance[1, 4] > 6
    assert at_energy.residual[1, 4] == pytest.approx(2, abs=0.8)
    for other in (counts.field_map(~first, slice(1, 2), "fixed"), counts.field_map(first, slice(0, 1), "fixed")):
        assert np.nanmax(np.abs(other.significance)) < 4


@pytest.mark.parametrize("norm", ["free", "fixed"])
def test_map_has_enough_counts(norm):
    """The bins of the map become wider with fewer predicted counts; their sum is that of the profiles."""
    counts = ComparedCounts(simulated_validation(0.6))
    shapes = []
    for energies in (ALL, slice(1, 3), slice(2, 3)):
        field = counts.field_map(everything(counts), energies, norm)
        shapes.append(field.counts.shape)
        assert field.counts.shape == (len(field.y_edges) - 1, len(field.x_edges) - 1)
        assert field.x_edges[[0, -1]].tolist() == GRID.axes.detx.value[[0, -1]].tolist()
        profile = counts.by_offset(everything(counts), energies, norm)
        assert field.counts.sum() == profile.counts.sum()
        assert field.expected.sum() == pytest.approx(profile.expected.sum(), rel=1e-12)
        few = field.compared & (field.expected < MIN_MAP)
        assert field.counts.size == 1 or few.sum() <= 0.1 * field.compared.sum()
        np.testing.assert_array_equal(np.isfinite(field.significance), field.expected >= MIN_MAP)
        np.testing.assert_array_equal(np.isfinite(field.residual), field.expected >= MIN_MAP)
    assert shapes == sorted(shapes, reverse=True)
    assert len(set(shapes)) == 3


def test_scatter_agrees_with_scipy():
    """With many counts, the scatter is the normalized median absolute deviation of SciPy."""
    ratio = np.random.default_rng(1).normal(1.1, 0.1, 41)
    runs = RunRatios(counts=ratio * 1e9, expected=np.full(41, 1e9))
    assert runs.deviations.scatter == pytest.approx(stats.median_abs_deviation(ratio, scale="normal"), rel=1e-4)
    assert runs.deviations.median == pytest.approx(np.median(ratio))


def test_counting_statistics_is_no_scatter():
    """Runs that differ by counting statistics only have standard normal deviations, and no further scatter."""
    rng = np.random.default_rng(5)
    expected = rng.uniform(20, 4000, 2000)
    runs = RunRatios(counts=rng.poisson(1.02 * expected).astype(float), expected=expected)
    assert runs.deviations.scatter < 0.02
    assert runs.deviations.sigmas.std() == pytest.approx(1, abs=0.1)
    assert runs.deviations.stand_out.sum() <= 5


def test_deviating_run_stands_out():
    """One run with other counts is found, although it increases the scatter; it is compared with its own error."""

    def change(number, true):
        return true * (1.6 if number == 3 else 0.9 + 0.02 * (number % 5))

    runs = ComparedCounts(simulated_validation(20.0, change=change)).runs(ALL)
    assert np.flatnonzero(runs.deviations.stand_out).tolist() == [3]
    assert runs.deviations.sigmas[3] > 5
    short = RunRatios(counts=np.append(runs.counts, 5), expected=np.append(runs.expected, 3))
    assert not short.deviations.stand_out[-1]  # ratio 1.67, but only 3 predicted counts
    few = RunRatios(counts=runs.counts[:4], expected=runs.expected[:4])
    assert few.deviations.sigmas[3] > 5
    assert not few.deviations.stand_out.any()


def test_runs_without_prediction_are_unknown():
    """Runs with less than one predicted count have no ratio; a sum without any has no scatter."""
    runs = RunRatios(counts=np.array([3.0, 0, 100]), expected=np.array([0.5, 0, 90.0]))
    assert runs.known.tolist() == [False, False, True]
    assert runs.deviations.stand_out.tolist() == [False] * 3
    none = RunRatios(counts=np.zeros(2), expected=np.zeros(2))
    assert np.isnan([none.deviations.median, none.deviations.scatter, *none.deviations.sigmas]).all()


@pytest.mark.parametrize("number", [1, 8, 80, 13360])
def test_largest_by_chance_is_median(number):
    """Half of the largest of several absolute deviations are below the value."""
    assert (2 * stats.norm.cdf(largest_by_chance(number)) - 1) ** number == pytest.approx(0.5)
