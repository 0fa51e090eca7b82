"""The spline: its algebra against a dense design, its rate and error against a known true rate."""

import functools
import itertools
import operator
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from astropy import units as u

from bgnb import (
    Cell,
    CubeAxes,
    RunCounts,
    Stack,
    fit_spline,
    make_model,
    read_spline,
    write_model,
    write_spline,
)
from bgnb.cubes import spline_design as design_module
from bgnb.cubes import spline_model as model_module
from bgnb.cubes.cells import pointing_bin, segments
from bgnb.cubes.spline import TERMS, TURNING_TERMS
from bgnb.cubes.spline_basis import energy_parts, pointing_parts, view_parts
from tests.helpers.errors import raises
from tests.helpers.models import asymmetric_model

AXES = CubeAxes(
    energy=np.geomspace(0.3, 60, 9) * u.TeV, dety=np.linspace(-3, 2, 11) * u.deg, detx=np.linspace(-2, 4, 13) * u.deg
)

POINTINGS = [(40.0, 10.0), (47.0, 170.0), (55.0, 350.0), (61.0, 200.0), (70.0, 20.0), (78.0, 150.0), (85.0, 0.0)]


def true_rate(alt_pnt: float, az_pnt: float, axes: CubeAxes = AXES) -> np.ndarray:
    """An asymmetric rate whose norm, spectrum and width change with the pointing; MeV-1 s-1 sr-1."""
    x = np.log(axes.energy_centers.value)[:, None, None]
    dety, detx = axes.dety_centers.value[:, None], axes.detx_centers.value
    up, north = np.sin(np.radians(alt_pnt)), np.cos(np.radians(alt_pnt)) * np.cos(np.radians(az_pnt))
    width = 1.6 + 0.5 * x - 0.8 * (up - 0.8)
    log_rate = -2.6 * x + (1.5 + 0.8 * x) * (up - 0.8) + 0.2 * north + 0.12 * detx - 0.2 * dety
    return 1e-4 * np.exp(log_rate - 0.1 * (detx**2 + dety**2) / width)


def cell(rng, alt_pnt, az_pnt, obs_id, scatter=0.0, livetime=1500.0, threshold_bin=0, scale=1.0) -> Cell:
    livetimes = np.full(AXES.shape, round(livetime * 1e6))
    livetimes[:threshold_bin] = 0
    mean = scale * true_rate(alt_pnt, az_pnt) * livetimes / 1e6 * AXES.bin_volume.value * np.exp(scatter * rng.normal())
    counts = rng.poisson(mean)
    run = RunCounts(obs_id, livetime, None, int(counts.sum()), 0, 0, 0, alt_pnt=alt_pnt, az_pnt=az_pnt)
    return Cell(alt_pnt, az_pnt, Stack(AXES, "ALTAZ", counts, livetimes, (run,)))


def cells(seed, **arguments) -> list[Cell]:
    rng = np.random.default_rng(seed)
    return [cell(rng, *pointing, number, **arguments) for number, pointing in enumerate(POINTINGS)]


@pytest.fixture(scope="module")
def fitted():
    return fit_spline(cells(1))


def test_rate_between_pointings(fitted):
    """Recover the true rate at pointings between those of the runs."""
    for alt_pnt, az_pnt in ((52.0, 90.0), (74.0, 300.0)):
        rate, error = fitted.at(alt_pnt, az_pnt)
        ratio = rate.quantity.value / true_rate(alt_pnt, az_pnt)
        few = error.quantity.value < 0.05 * rate.quantity.value
        assert np.count_nonzero(few) > 100
        assert np.abs(ratio[few] - 1).max() < 0.25
        assert np.abs(np.log(ratio[few])).mean() < 0.04


def test_rate_and_error_by_dense_design(fitted):
    """Rate and error agree with a dense design matrix, made of one coefficient at a time."""
    parts = fitted._parts(52.0, 90.0)
    rows = np.eye(len(fitted.coefficients))
    design = np.stack([model_module._linear_predictor(row, parts, fitted.terms).ravel() for row in rows], axis=1)
    rate, error = (cube.quantity.value.ravel() for cube in fitted.at(52.0, 90.0))
    np.testing.assert_allclose(rate, np.exp(design @ fitted.coefficients), rtol=1e-9)
    np.testing.assert_allclose(error / rate, np.sqrt(np.diag(design @ fitted.covariance @ design.T)), rtol=1e-9)
    np.testing.assert_array_equal(fitted.rate_at(52.0, 90.0).quantity.value.ravel(), rate)


def test_count_covariance_is_that_of_coefficients():
    """The covariance of the log counts is that of the coefficients times the numerical derivatives, in continued planes too."""
    model = fit_spline(cells(5, threshold_bin=3))

    def log_counts(coefficients):
        rate = replace(model, coefficients=coefficients).rate_at(57.0, 130.0)
        return np.log((rate.quantity * AXES.solid_angle).value.sum(axis=(1, 2)))

    steps = 1e-4 * np.eye(len(model.coefficients))
    rows = [log_counts(model.coefficients + step) - log_counts(model.coefficients - step) for step in steps]
    derivatives = np.array(rows) / 2e-4
    expected = derivatives.T @ model.covariance @ derivatives
    found = model.count_covariance(57.0, 130.0)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * expected.max())
    assert found[0, 0] == found[1, 1] == found[0, 1]  # the rate is constant below the factor to which it is continued
    assert found[3, 3] != found[2, 2]


@pytest.mark.slow
def test_pulls_have_unit_width():
    """Pulls of the rate have a width of one."""
    pulls = []
    models = [fit_spline(cells(100 + seed, scale=0.5)) for seed in range(8)]
    for model, pointing in itertools.product(models, ((64.0, 120.0), (50.0, 10.0), (82.0, 200.0))):
        rate, error = model.at(*pointing)
        pulls.append((rate.quantity.value / true_rate(*pointing) / 0.5 - 1) / (error.quantity / rate.quantity).value)
    # Bins are correlated, and eight data sets few: benchmarks/spline.py measures it more exactly.
    assert np.sqrt(np.mean(np.square(pulls))) == pytest.approx(1.0, abs=0.2)


def test_nothing_is_ever_empty_or_wild():
    rng = np.random.default_rng(5)
    thin = [cell(rng, *pointing, number, scale=0.01, threshold_bin=2) for number, pointing in enumerate(POINTINGS[:4])]
    assert 20 < sum(each.stack.counts.sum() for each in thin) < 1000
    rate, error = fit_spline(thin).at(50.0, 100.0)
    ratio = rate.quantity.value[2:] / true_rate(50.0, 100.0)[2:] / 0.01
    assert np.all(rate.quantity.value > 0)
    assert np.all(np.isfinite(error.quantity.value))
    assert np.median(np.abs(np.log(ratio))) < 0.4


@pytest.mark.slow
def test_scatter_of_runs_widens_error():
    """Measure the scatter of the norm from run to run, which increases the error."""
    rng = np.random.default_rng(8)
    pointings = list(itertools.islice(itertools.cycle(POINTINGS), 28))
    calm = fit_spline([cell(rng, *pointing, number) for number, pointing in enumerate(pointings)])
    restless = fit_spline([cell(rng, *pointing, number, scatter=0.2) for number, pointing in enumerate(pointings)])
    assert restless.scatter == pytest.approx(0.2, rel=0.35)
    assert calm.scatter < 0.02  # a priori it is 0.14
    errors = [(model.at(60, 90)[1].quantity / model.at(60, 90)[0].quantity).value.min() for model in (calm, restless)]
    assert errors[1] > 1.5 * errors[0]


def test_unsupported_terms_vanish(fitted):
    """Terms that the data do not support have few degrees of freedom."""
    freedom = dict(zip(fitted.terms, fitted.degrees_of_freedom, strict=True))
    assert freedom["zenith", "1", "1"] > 0.9
    assert freedom["1", "1", "xy"] + freedom["1", "1", "xy~"] > 1.5
    assert freedom["zenith~", "1", "1"] < 1.5


def small_design(n_cells: int, terms) -> tuple[design_module.Design, np.ndarray, CubeAxes]:
    """Make a design with few bins in which the third cell has the norm of the first, and its dense design matrix."""
    axes = CubeAxes(AXES.energy[:4], AXES.dety[:5], AXES.detx[:6])
    rng = np.random.default_rng(2)
    pointing = pointing_parts(rng.uniform(35, 89, n_cells), rng.uniform(0, 360, n_cells), (0.6, 0.9))
    parts = (pointing, energy_parts(axes), view_parts(axes))
    norms = np.array([0, 1, 0, *range(2, n_cells - 1)])
    sizes = [np.prod([part[name].shape[1] for part, name in zip(parts, term, strict=True)]) for term in terms]
    of_terms = np.stack([model_module._linear_predictor(row, parts, terms).ravel() for row in np.eye(sum(sizes))], axis=1)
    of_norms = [
        np.einsum("cn,e,x->cexn", np.eye(n_cells - 1)[norms], parts[1][name][:, 0], np.ones(20)).reshape(len(of_terms), -1)
        for name in ("1", "energy")
    ]
    design = design_module.Design.of_terms(parts, terms, ("1", "energy"), norms)
    return design, np.concatenate([of_terms, *of_norms], axis=1), axes


# With four cells there are fewer cells than products of functions of the pointing, with forty there are more.
@pytest.mark.parametrize(("n_cells", "terms"), [(4, (*TERMS, *TURNING_TERMS)), (40, TERMS)])
def test_information_by_dense_design(n_cells, terms):
    """Projection, information, solution and covariance agree with those of a dense design matrix."""
    terms = (*terms, ("zenith", "energy", "xy~"))
    design, dense, _ = small_design(n_cells, terms)
    rng = np.random.default_rng(3)
    values = rng.uniform(0.1, 3, (n_cells, 3, 20))
    blocks = [(slice(0, 3), values[:3]), (slice(3, n_cells), values[3:])]
    np.testing.assert_allclose(design_module.project(design, blocks), dense.T @ values.ravel(), rtol=1e-9, atol=1e-9)
    information = design_module.fisher_information(design, blocks)
    np.testing.assert_allclose(information.expected, dense.T @ values.ravel(), rtol=1e-9, atol=1e-9)
    whole = dense.T @ (dense * values.ravel()[:, None])
    p, n = design.columns.shape[1], n_cells - 1
    np.testing.assert_allclose(information.shared, whole[:p, :p], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(information.mixed, whole[p:, :p].reshape(2, n, p).transpose(1, 0, 2), rtol=1e-9, atol=1e-9)
    own = np.einsum("injn->nij", whole[p:, p:].reshape(2, n, 2, n))
    np.testing.assert_allclose(information.own, own, rtol=1e-9, atol=1e-9)

    strength, gradient = rng.uniform(0.1, 2, len(whole)), rng.normal(size=len(whole))
    solution, covariance, of_norms = design_module.solve(information, strength, gradient)
    inverse = np.linalg.inv(whole + np.diag(strength))
    np.testing.assert_allclose(solution, inverse @ gradient, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(covariance, inverse[:p, :p], rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(of_norms, np.einsum("injn->nij", inverse[p:, p:].reshape(2, n, 2, n)), rtol=1e-7, atol=1e-9)


def test_expected_counts_by_dense_design(monkeypatch):
    """Counts that are expected and observed in blocks of cells agree with those of a dense design matrix."""
    monkeypatch.setattr(design_module, "_BLOCK", 1)
    monkeypatch.setattr(design_module, "_BLOCK_CELLS", 2)
    design, dense, axes = small_design(5, (*TERMS, *TURNING_TERMS))
    rng = np.random.default_rng(4)
    stacks = [
        Stack(
            axes,
            "ALTAZ",
            rng.integers(0, 9, axes.shape),
            rng.integers(1, 9, axes.shape),
            (RunCounts(n, 1.0, None, 0, 0, 0, 0),),
        )
        for n in range(5)
    ]
    small = [Cell(50.0, 0.0, stack) for stack in stacks]
    volume, coefficients = rng.uniform(1, 2, (3, 20)), rng.normal(scale=0.1, size=dense.shape[1])
    blocks = list(design_module.expected_counts(design, small, volume, coefficients))
    assert [block for block, _ in blocks] == [slice(0, 2), slice(2, 4), slice(4, 5)]
    livetimes = np.stack([stack.livetime_us for stack in stacks]).reshape(5, 3, 20)
    expected = np.exp(dense @ coefficients).reshape(5, 3, 20) * livetimes * volume
    np.testing.assert_allclose(np.concatenate([values for _, values in blocks]), expected, rtol=1e-9)
    inside = rng.integers(0, 2, axes.shape[1:]).astype(float)
    observed = np.concatenate([values for _, values in design_module.observed_counts(design, small, inside)])
    counts = np.stack([stack.counts for stack in stacks]) * inside
    np.testing.assert_array_equal(observed, counts.reshape(5, 3, 20))


@pytest.mark.slow
def test_steps_in_the_spectrum():
    """Rates of single energies that deviate from a smooth spectrum, as by cuts for each bin, are those of the counts."""
    rng, axes = np.random.default_rng(3), replace(AXES, energy=np.geomspace(0.3, 60, 25) * u.TeV)
    steps, exposure = rng.choice([0.88, 1.0, 1.12], 24)[:, None, None], 7500 * axes.bin_volume.value
    livetimes, made, total = np.full(axes.shape, 7500 * 10**6), [], np.zeros(24)
    for number, (alt_pnt, az_pnt) in enumerate(POINTINGS):
        counts = rng.poisson(steps * true_rate(alt_pnt, az_pnt, axes) * exposure)
        run = RunCounts(number, 7500.0, None, int(counts.sum()), 0, 0, 0, alt_pnt=alt_pnt, az_pnt=az_pnt)
        made.append(Cell(alt_pnt, az_pnt, Stack(axes, "ALTAZ", counts, livetimes, (run,))))
        total += counts.sum(axis=(1, 2))
    model = fit_spline(made)
    rates = [model.rate_at(*pointing).quantity.value for pointing in POINTINGS]
    expected = np.sum([(rate * exposure).sum(axis=(1, 2)) for rate in rates], axis=0)
    assert total[:10].min() > 1000
    assert np.abs((total - expected) / np.sqrt(expected)).max() < 2


@pytest.mark.slow
def test_surface_changes_with_energy():
    """A field of view that is elongated in opposite directions at low and high energies is followed, within two percent."""
    rng, y, x = np.random.default_rng(3), *np.meshgrid(AXES.dety_centers.value, AXES.detx_centers.value, indexing="ij")
    tilt = 0.03 * np.log(AXES.energy_centers.value / AXES.energy_centers.value[3])[:, None, None] * (x**2 - y**2)
    exposure, livetimes = 60_000 * AXES.bin_volume.value, np.full(AXES.shape, 60_000 * 10**6)
    made = []
    for number, pointing in enumerate(POINTINGS):
        counts = rng.poisson(np.exp(tilt) * true_rate(*pointing) * exposure)
        run = RunCounts(number, 60_000.0, None, int(counts.sum()), 0, 0, 0, alt_pnt=pointing[0], az_pnt=pointing[1])
        made.append(Cell(*pointing, Stack(AXES, "ALTAZ", counts, livetimes, (run,))))
    model = fit_spline(made)
    for pointing in POINTINGS[:2]:
        excess = model.rate_at(*pointing).quantity.value / true_rate(*pointing)
        for part in (np.abs(x) > np.abs(y) + 1, np.abs(y) > np.abs(x) + 1):
            weights = true_rate(*pointing)[:, part]
            found = (excess[:, part] * weights).sum(axis=1) / (np.exp(tilt)[:, part] * weights).sum(axis=1)
            assert np.abs(found[1:5] / found[1:5].mean() - 1).max() < 0.02


@pytest.mark.slow
def test_gradient_changes_with_zenith_angle():
    """A gradient along DETY of opposite sign for high and low runs is that of the true rate."""
    rng, dety = np.random.default_rng(4), AXES.dety_centers.value[:, None]

    def tilted(alt_pnt):
        return np.exp(0.5 * (np.sin(np.radians(alt_pnt)) - 0.87) * dety)

    made = [cell(rng, *pointing, number, scale=5 * tilted(pointing[0])) for number, pointing in enumerate(POINTINGS)]
    model, weights = fit_spline(made), AXES.bin_volume.value
    for alt_pnt, az_pnt in ((43.0, 40.0), (82.0, 300.0)):
        true = true_rate(alt_pnt, az_pnt) * 5 * tilted(alt_pnt)
        found = model.rate_at(alt_pnt, az_pnt).quantity.value
        across = [(rate * weights)[:4].sum(axis=(0, 2)) for rate in (found, true)]
        ratio = across[0] / across[1]
        np.testing.assert_allclose(ratio / ratio.mean(), 1, atol=0.03)


def test_rate_beyond_altitudes(fitted):
    """Beyond the altitudes of the runs, the rate stays constant."""
    low, lower = (fitted.at(alt_pnt, 90.0)[0].quantity.value for alt_pnt in (40.0, 25.0))
    np.testing.assert_allclose(low, lower, rtol=1e-9)


def added(*cells) -> Cell:
    alt_pnt, az_pnt = np.array([(one.alt_pnt, one.az_pnt) for one in cells]).T
    return Cell.of_runs(alt_pnt, az_pnt, functools.reduce(operator.add, (one.stack for one in cells)))


def test_mean_direction_of_cell():
    """A cell of several runs has their mean direction, and their pointings."""
    one, other = cell(np.random.default_rng(1), 60.0, 350.0, 1), cell(np.random.default_rng(2), 50.0, 350.0, 2, livetime=500.0)
    both = added(one, other)
    assert np.sin(np.radians(both.alt_pnt)) == pytest.approx((3 * np.sin(np.radians(60)) + np.sin(np.radians(50))) / 4)
    assert both.az_pnt == pytest.approx(350)
    np.testing.assert_allclose(both.pointings, [[60, 350, 0.75], [50, 350, 0.25]])
    assert added(one, cell(np.random.default_rng(3), 60.0, 20.0, 3)).az_pnt == pytest.approx(5)
    zenith = added(cell(np.random.default_rng(4), 90.0, 0.0, 4), cell(np.random.default_rng(5), 90.0, 180.0, 5))
    assert zenith.alt_pnt == pytest.approx(90)
    assert (added(one).alt_pnt, added(one).az_pnt) == (60.0, 350.0)
    with raises("invalid-value", "2", "1 run"):
        Cell.of_runs(np.array([60.0, 60.0]), np.array([0.0, 0.0]), one.stack)


def test_bins_of_pointings():
    """Bins differ in altitude and azimuth; east and west differ in the last number only, across the north as well."""
    east, west = pointing_bin(60.0, 70.0), pointing_bin(60.1, 290.1)
    assert east[:2] == west[:2]
    assert east != west
    assert pointing_bin(60.0, 359.0)[:2] == pointing_bin(60.0, 1.0)[:2]
    assert pointing_bin(np.array([60.0, 60.0]), np.array([358.0, 10.0])) == pointing_bin(60.0, 4.0)
    assert len({pointing_bin(*pointing) for pointing in ((60.0, 300.0), (60.0, 100.0), (60.0, 260.0), (55.0, 300.0))}) == 4


def test_segments_of_a_run():
    """A run is divided where its altitude or its azimuth changes much, also across the north."""
    altitude, azimuth = np.array([78.0, 79.0, 79.5, 79.0, 78.0]), np.array([330.0, 345.0, 0.0, 15.0, 30.0])
    assert segments(altitude, azimuth) == [0, 0, 1, 1, 1]
    assert segments(altitude, azimuth / 100) == [0] * 5
    assert segments(np.array([40.0, 41.0, 44.0]), np.full(3, 90.0)) == [0, 0, 1]


def test_cells_of_runs_in_all_directions():
    """Recover the true rate from runs of all directions that are summed in cells."""
    rng = np.random.default_rng(5)
    pointings = list(itertools.product((42.0, 55.0, 66.0, 75.0), range(15, 360, 15)))
    single = [cell(rng, altitude, float(azimuth), number) for number, (altitude, azimuth) in enumerate(pointings)]
    found: dict[tuple[int, ...], list[Cell]] = {}
    for one in single:
        found.setdefault(pointing_bin(one.alt_pnt, one.az_pnt), []).append(one)
    assert len(found) < 0.7 * len(single)
    spline = fit_spline([added(*cells) for cells in found.values()])
    for pointing in ((45.0, 80.0), (62.0, 250.0), (73.0, 350.0)):
        rate, error = (cube.quantity.value for cube in spline.at(*pointing))
        pull = (rate - true_rate(*pointing)) / error
        assert pull.std() < 1.4
        counts = (true_rate(*pointing) * AXES.bin_volume.value).sum(axis=(1, 2))
        ratio = (rate * AXES.bin_volume.value).sum(axis=(1, 2)) / counts
        np.testing.assert_allclose(ratio, 1, atol=0.05)
    assert spline.scatter < 0.04


def test_rate_of_outermost_runs():
    """The lowest and the highest runs have their own rate, not that at the mean altitude of their cells."""
    rng, numbers = np.random.default_rng(7), itertools.count()
    pairs = [
        [cell(rng, altitude, 180.0, next(numbers), scale=3.0) for altitude in pair]
        for pair in ((40.0, 46.0), (50.0, 55.0), (58.0, 64.0), (74.0, 86.0))
    ]
    spline = fit_spline([added(*pair) for pair in pairs])
    assert spline.altitude_range == pytest.approx((40, 86))
    for altitude in (40.0, 86.0):
        rate, true = (
            cube * AXES.bin_volume.value
            for cube in (spline.rate_at(altitude, 180.0).quantity.value, true_rate(altitude, 180.0))
        )
        assert rate.sum() / 3 == pytest.approx(true.sum(), rel=0.02)


@pytest.mark.slow
def test_mean_rate_of_scattered_runs():
    """The rate is the mean, not the median, of runs with scattered norms."""
    rng = np.random.default_rng(6)
    pointings = [POINTINGS[number % len(POINTINGS)] for number in range(140)]
    runs = [cell(rng, *pointing, number, scatter=0.4) for number, pointing in enumerate(pointings)]
    spline = fit_spline(runs)
    predicted = sum((spline.at(*pointing)[0].quantity * runs[0].stack.exposure).to_value("").sum() for pointing in pointings)
    assert spline.scatter == pytest.approx(0.4, rel=0.2)
    # That of the median run would be 0.92.
    assert predicted / sum(run.stack.counts.sum() for run in runs) == pytest.approx(1, abs=0.03)


@pytest.mark.slow
def test_pieces_of_a_run_share_its_norm():
    """The scatter of the norms of runs is found from their pieces, and the error of the rate is as large as it is."""
    rng, pulls, scatters = np.random.default_rng(8), [], []
    for first in (0, 100):
        pieces = []
        for number in range(first, first + 40):
            alt_pnt, az_pnt, norm = rng.uniform(45, 80), rng.uniform(0, 360), np.exp(0.3 * rng.normal())
            for step in (-4.0, 0.0, 4.0):
                one = cell(rng, alt_pnt + step, az_pnt, number, livetime=500.0 * norm)
                livetime_us = np.full(AXES.shape, 500_000_000)
                stack = Stack(AXES, "ALTAZ", one.stack.counts, livetime_us, one.stack.runs)
                pieces.append(Cell(one.alt_pnt, one.az_pnt, stack, norm=number))
        spline = fit_spline(pieces)
        scatters.append(spline.scatter)
        for pointing in ((50.0, 60.0), (65.0, 200.0), (75.0, 320.0)):
            rate, error = (cube.quantity.value for cube in spline.at(*pointing))
            volume = AXES.bin_volume.value
            # The mean of log-normal norms is above their median.
            ratio = (rate * volume).sum() / (true_rate(*pointing) * volume).sum() / np.exp(0.3**2 / 2)
            pulls.append(np.log(ratio) / np.average(error / rate, weights=rate * volume))
    assert np.mean(scatters) == pytest.approx(0.3, rel=0.2)
    assert np.sqrt(np.mean(np.square(pulls))) < 1.8


def test_cells_must_be_of_one_kind():
    one, other = cells(1)[:2]
    with raises("axes-mismatch"):
        fit_spline([one, Cell(50, 0, Stack(AXES, "RADEC", other.stack.counts, other.stack.livetime_us, other.stack.runs))])


def test_a_spline_survives_a_file(fitted, tmp_path):
    write_spline(fitted, tmp_path / "spline.fits.gz")
    again = read_spline(tmp_path / "spline.fits.gz")
    for mine, theirs in zip(fitted.at(58.0, 77.0), again.at(58.0, 77.0), strict=True):
        np.testing.assert_allclose(theirs.quantity.value, mine.quantity.value, rtol=1e-9)
    assert again.axes == fitted.axes
    assert (again.terms, again.zenith_range, again.fovalign) == (fitted.terms, fitted.zenith_range, "ALTAZ")
    np.testing.assert_array_equal(again.counts, fitted.counts)
    write_model(asymmetric_model(), tmp_path / "model.fits.gz")
    with raises("not-a-model", "MEANS, TERMS, COEFFICIENTS, COVARIANCE"):
        read_spline(tmp_path / "model.fits.gz")


def test_a_spline_of_runs_near_the_zenith_survives_a_file(tmp_path):
    """The range of zenith angles is widened, but not beyond the zenith, where a file would be refused."""
    rng = np.random.default_rng(1)
    fitted = fit_spline([cell(rng, alt, 180.0, number) for number, alt in enumerate((80.0, 86.0, 89.9))])
    assert fitted.zenith_range == (pytest.approx(0.95), 1.0)
    write_spline(fitted, tmp_path / "spline.fits.gz")
    assert read_spline(tmp_path / "spline.fits.gz").altitude_range == fitted.altitude_range


@pytest.mark.slow
def test_model_of_single_stack():
    """Make a model with an error from a single stack."""
    stack = cells(3)[3].stack
    model = make_model(stack, "spline")
    predicted = (model.rate.quantity * stack.exposure).to_value("").sum()
    assert predicted == pytest.approx(stack.counts.sum(), rel=0.02)
    assert model.error is not None
    assert np.all(model.error.quantity.value > 0)


def test_no_counts_are_refused():
    empty = cell(np.random.default_rng(1), 60.0, 350.0, 1, scale=1e-12)
    with raises("no-counts"):
        fit_spline([empty])


ONE_THREAD = """
from threadpoolctl import threadpool_info
from bgnb._util.threads import one_blas_thread

@one_blas_thread()
def threads():
    return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]

import scipy.linalg
BEFORE = max(threads.__wrapped__())
with one_blas_thread():
    print(*threads())
    print(*threads())  # the end of a block in another one changes nothing
print(*threads())
first, second = one_blas_thread(), one_blas_thread()
first.__enter__()
second.__enter__()
first.__exit__(None, None, None)
print(*threads.__wrapped__())  # a thread that ends before another one does not lift its limit
second.__exit__(None, None, None)
print(max(threads.__wrapped__()) == BEFORE)
"""


def test_one_thread_of_all_libraries():
    """In fits, all libraries of linear algebra have one thread, that of SciPy, which is loaded late, too."""
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    outcome = subprocess.run(
        [sys.executable, "-c", ONE_THREAD], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    assert outcome.stdout.split() == [*4 * ["1", "1"], "True"]  # NumPy and SciPy have one each


@pytest.mark.parametrize(("n_cells", "method"), [(1, "unsmoothed"), (7, "classic")])
def test_absurd_counts_are_no_spline(n_cells, method):
    """Counts of which no rate makes sense are an error of the fit, not of its algebra."""
    first, *others = cells(1)[:n_cells]
    counts = first.stack.counts.copy()
    counts[0, 0, 0] = 2**62
    with raises("not-converged", f"the spline cannot be fitted to these counts; try --method {method}"):
        fit_spline([replace(first, stack=replace(first.stack, counts=counts)), *others])


def test_events_selected_by_energy_are_explained():
    """If exposed energies at an end of the axis have no events at all, the error of a fit names the energies to use."""
    first = cells(1)[0]
    counts = first.stack.counts.copy()
    counts[:2], counts[3, 0, 0] = 0, 2**62
    edges = first.stack.axes.energy.value
    with raises("not-converged", "2 energy bins", f"from {edges[2]:.3g} to {edges[-1]:.3g} TeV", "--energy-min"):
        fit_spline([replace(first, stack=replace(first.stack, counts=counts))])
