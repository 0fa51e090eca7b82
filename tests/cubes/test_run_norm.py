"""Norm and tilt of runs from their counts."""

from dataclasses import replace

import numpy as np
import pytest
from astropy import units as u
from scipy.optimize import minimize
from scipy.stats import norm as normal

from bgnb import BackgroundModel, Cube, CubeAxes, EventList, ModelSet, ObservationGroups, RunCounts, Stack, norm_of_run
from bgnb.cubes.exclusion_mask import SourceMask
from bgnb.cubes.group_model import GroupModel
from bgnb.cubes.run_norm import VAGUE_RUNS, VAGUE_SCATTER, fit_norm, prior_scatter
from tests.helpers.errors import raises
from tests.helpers.run_files import HESS

ENERGY = np.array([0.4, 0.9, 2.0, 5.0, 12.0])
X = -np.log(ENERGY / 1.3)
EXPECTED = np.array([900.0, 500.0, 200.0, 60.0, 9.0])
PRIOR = {"scatter": 0.2, "tilt": 0.1, "reference_tev": 1.3, "of_models": np.zeros((5, 5))}


def objective(values, counts, expected):
    """Return minus the logarithm of the posterior density of log norm and tilt, with the mean factor 1."""
    predicted = expected * np.exp(values[0] + values[1] * X - (0.2**2 + (0.1 * X) ** 2) / 2)
    return (predicted - counts * np.log(predicted)).sum() + (values[0] / 0.2) ** 2 / 2 + (values[1] / 0.1) ** 2 / 2


@pytest.mark.parametrize("counts", [[1100, 560, 260, 80, 20], [0, 0, 0, 0, 0], [1, 0, 2, 0, 0]])
def test_norm_is_posterior_maximum(counts):
    """Estimate and covariance are those of a general minimiser and of the numerical curvature."""
    counts, expected = np.array(counts), EXPECTED / (1 if sum(counts) > 100 else 300)
    found = fit_norm(counts, expected, ENERGY, **PRIOR)
    best = minimize(objective, [0.0, 0.0], (counts, expected), method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12})
    step = 1e-3
    curvature = np.empty((2, 2))
    for i, di in enumerate(np.eye(2) * step):
        for j, dj in enumerate(np.eye(2) * step):
            signs = ((di + dj, 1), (di - dj, -1), (-di + dj, -1), (-di - dj, 1))
            curvature[i, j] = sum(sign * objective(best.x + at, counts, expected) for at, sign in signs) / (4 * step**2)
    covariance = np.linalg.inv(curvature)
    errors = np.sqrt(np.diag(covariance))
    assert [found.norm_error, found.tilt_error] == pytest.approx(errors, rel=1e-4)
    assert found.correlation == pytest.approx(covariance[0, 1] / np.prod(errors), rel=1e-3)
    assert (found.counts, found.expected) == (counts.sum(), pytest.approx(expected.sum()))
    design = np.stack([np.ones(5), X], axis=1)
    variance = np.diag(design @ covariance @ design.T)
    mean = np.exp(design @ best.x + (variance - 0.2**2 - (0.1 * X) ** 2) / 2)
    np.testing.assert_allclose(found.factor(ENERGY), mean, rtol=1e-5)
    np.testing.assert_allclose(found.covariance, design @ covariance @ design.T, rtol=1e-3)
    assert set(found.as_dict()) == set(vars(found)) - {"covariance", "of_models"}


@pytest.mark.parametrize("source", ["run", "model"])
def test_without_counts_norm_is_one(source):
    """Without expected counts, or with the norm of the models, the factor is 1, and its error the scatter."""
    counts, expected = (np.zeros(5, dtype=int), np.zeros(5)) if source == "run" else (np.array([30, 9, 1, 2, 0]), EXPECTED)
    of_models = 0.01 * np.array([[1.0 + (i == j) for i in range(5)] for j in range(5)])
    found = fit_norm(counts, expected, ENERGY, source=source, **PRIOR | {"of_models": of_models})
    values = (found.norm, found.norm_error, found.tilt, found.tilt_error, found.correlation, found.curvature)
    assert values == pytest.approx((1, 0.2, 0, 0.1, 0, 0), abs=1e-12)
    assert (found.source, found.counts, found.expected) == ("model", counts.sum(), expected.sum())
    np.testing.assert_allclose(found.covariance, 0.2**2 + 0.1**2 * np.outer(X, X) + of_models)
    np.testing.assert_allclose(found.of_models, of_models)


def test_many_counts_decide_the_norm():
    """Norm and tilt of a run with many counts are recovered, whatever the scatter; without tilt only the norm."""
    factor = 3.0 * np.exp(0.4 * X - (0.1 * X) ** 2 / 2)
    found = fit_norm(np.round(1e4 * EXPECTED * factor).astype(int), 1e4 * EXPECTED, ENERGY, **PRIOR)
    np.testing.assert_allclose(found.factor(ENERGY), factor, rtol=5e-3)
    one = {"scatter": 9.0, "tilt": 0.0, "reference_tev": 1.3, "of_models": np.zeros((1, 1))}
    fixed = fit_norm(np.array([33]), np.array([11.0]), ENERGY[:1], **one)
    assert (fixed.norm_error, fixed.tilt_error, fixed.correlation) == (pytest.approx(33**-0.5, rel=0.05), 0, 0)


@pytest.mark.parametrize(("counts", "expected"), [(685, 6220.0), (0, 6220.0), (9000, 1000.0)])
def test_counts_of_outliers_decide(counts, expected):
    """The norm of a run far from the models is that of its counts; that of a run at the limit is shrunk."""
    one = {"scatter": 0.12, "tilt": 0.0, "reference_tev": 1.3, "of_models": np.zeros((1, 1))}
    found = fit_norm(np.array([counts]), np.array([expected]), ENERGY[:1], **one)
    assert abs(found.norm * expected - counts) < max(0.6 * counts**0.5, 2)
    assert found.is_far(0.12)
    near = fit_norm(np.array([130]), np.array([100.0]), ENERGY[:1], **one)
    assert 1.1 < near.norm < 1.2
    assert not near.is_far(0.12)


@pytest.mark.slow
@pytest.mark.parametrize(("n_runs", "n_expected"), [(4, 4.0), (30, 60.0), (4, 3000.0)])
def test_errors_cover_true_counts(n_runs, n_expected):
    """Stated errors of the total and of each bin cover the true expectation of runs, for any counts and errors of models."""
    rng = np.random.default_rng(11)
    expected = EXPECTED * n_expected / EXPECTED.sum()
    # The models have the mean norm of n runs, and independent errors of the bins.
    of_models = 0.2**2 / n_runs + np.diag([0.02, 0.03, 0.04, 0.05, 0.08]) ** 2
    pulls, ratios = [], []
    for _ in range(2000):
        error = rng.multivariate_normal(np.zeros(5), of_models)
        true = expected * np.exp(rng.normal(0, 0.2) + rng.normal(0, 0.1) * X - (0.2**2 + (0.1 * X) ** 2) / 2 - error)
        found = fit_norm(rng.poisson(true), expected, ENERGY, **PRIOR | {"of_models": of_models})
        predicted, variance = expected * found.factor(ENERGY), np.diag(found.covariance)
        share = predicted / predicted.sum()
        total = share @ found.covariance @ share
        log_ratios = [np.log(predicted.sum() / true.sum()), *np.log(predicted / true)[[0, 4]]]
        variances = np.array([total, *variance[[0, 4]]])
        ratios.append(predicted.sum() / true.sum())
        pulls.append((np.array(log_ratios) - variances / 2) / np.sqrt(variances))
    for level in (0.68, 0.95):
        covered = np.mean(np.abs(pulls) < normal.ppf((1 + level) / 2), axis=0)
        np.testing.assert_allclose(covered, level, atol=0.03)


AXES = CubeAxes(np.geomspace(1, 32, 6) * u.TeV, [-1, 0, 2] * u.deg, [-3, -1, 0, 1] * u.deg)
MJD = 53343.95


def model_set(n_runs=5, first=2, norms=(0.8, 1.1, 0.9, 1.3, 1.0)):
    """Make a model of runs of 1000 s from the third energy bin on, with 10 times as many counts as expected of a run."""
    livetime = np.zeros(AXES.shape, dtype=np.int64)
    livetime[first:] = n_runs * 1_000_000_000
    per_run = np.array([64, 32, 16, 8, 4])[:, None, None] * np.arange(1, 7).reshape(2, 3)
    counts = np.round(per_run * sum(norms[:n_runs])).astype(np.int64)
    counts[:first] = 0
    rate = Cube(AXES, u.Quantity(per_run / (1000 * AXES.bin_volume.value), "MeV-1 s-1 sr-1"))
    of_runs = [round(per_run[first:].sum() * norm) for norm in norms[:n_runs]]
    runs = tuple(
        RunCounts(number, 1000.0, 3.9, n, 0, 0, 0, alt_pnt=50.0, az_pnt=90.0, n_tels=4) for number, n in enumerate(of_runs)
    )
    model = BackgroundModel(rate, Stack(AXES, "RADEC", counts, livetime, runs), "classic")
    group = GroupModel(group_id=0, alt_pnt=50.0, az_pnt=90.0, model=model)
    return ModelSet(models=(group,), groups=ObservationGroups([0, 90] * u.deg, [0, 360] * u.deg), model_ids={0: 0})


def run(counts, livetime=1000.0):
    """Make a run with a number of events in each energy bin, spread over the field of view, and no threshold."""
    rng = np.random.default_rng(5)
    energy = np.repeat(AXES.energy_centers.value, counts)
    ra, dec = 40.0 + rng.uniform(-1, 2.8, len(energy)), rng.uniform(-0.9, 1.9, len(energy))
    gti = np.array([[0.0, 1100.0]])
    return EventList(9, np.full(len(energy), 5.0), ra, dec, energy, MJD, gti, livetime, 40.0, 0.0, HESS, None)


def test_only_measured_energies_are_compared():
    """Energies that the models did not measure do not enter the norm, however many events a run has there."""
    models = model_set()
    expected = np.array([64, 32, 16, 8, 4]) * 21
    norms = []
    for below in (1, 4):
        events = run([below * expected[0], below * expected[1], *(2 * expected[2:])])
        norms.append(norm_of_run(models, models.mean_rate_for(events), events))
    assert norms[0].norm == norms[1].norm == pytest.approx(2, rel=0.06)
    assert (norms[0].counts, norms[0].expected) == (2 * expected[2:].sum(), pytest.approx(expected[2:].sum()))


def test_scatter_of_few_runs_is_widened():
    """The prior scatter is that of many runs, and near the vague one for few; models of single runs state none."""
    models = model_set()
    scatter = models.scatter[0]
    assert 0.1 < scatter < 0.3
    weighted = (4 * scatter**2 + VAGUE_RUNS * VAGUE_SCATTER**2) / (4 + VAGUE_RUNS)
    assert prior_scatter(models) == pytest.approx(weighted**0.5)
    single = model_set(1)
    assert (single.scatter[0], prior_scatter(single)) == (None, VAGUE_SCATTER)
    events = run([0, 0, 300, 100, 60])
    for each in (models, single):
        norm = norm_of_run(each, each.mean_rate_for(events), events, "model")
        assert (norm.norm, norm.norm_error) == (1, pytest.approx(prior_scatter(each)))


def test_nothing_to_compare_leaves_the_models():
    """If exclusion regions cover the field of view, or no energy was measured, the norm is that of the models."""
    models, events = model_set(), run([20, 10, 300, 100, 60])
    found = models.mean_rate_for(events)
    mask = SourceMask(np.array([40.0]), np.array([0.0]), np.array([9.0]))
    norm = norm_of_run(models, found, events, "run", mask)
    assert (norm.source, norm.norm, norm.counts, norm.expected) == ("model", 1, 0, 0)
    with raises("unknown-choice", "source", "run", "model"):
        norm_of_run(models, found, events, "runs")


def test_true_models_have_no_error():
    """The covariance of a true model is that of the norm alone."""
    models = model_set()
    (group,) = models.models
    true = BackgroundModel(group.model.rate, replace(group.model.stack, counts=0 * group.model.stack.counts), "true")
    empty = Stack(AXES, "RADEC", np.zeros(AXES.shape, np.int64), np.zeros(AXES.shape, np.int64), ())
    models = replace(models, models=(replace(group, model=replace(true, stack=empty)),))
    events = run([20, 10, 300, 100, 60])
    np.testing.assert_array_equal(models.count_covariance(models.mean_rate_for(events), 50.0, 90.0), 0)
