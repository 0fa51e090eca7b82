"""Uncertainty of backgrounds in other energy bins and stacks, and the priors that fits get from it."""

from dataclasses import replace

import numpy as np
import pytest
from astropy import units as u
from astropy.table import Table
from scipy.optimize import brentq

pytest.importorskip("gammapy", reason="Gammapy needs a separate environment: make test-gammapy")
from gammapy.datasets import Datasets, MapDataset, MapDatasetOnOff
from gammapy.maps import MapAxis, WcsGeom
from gammapy.modeling import Fit
from gammapy.modeling.models import FoVBackgroundModel, Models, PowerLawSpectralModel, SkyModel
from gammapy.stats import GaussianPriorPenalty

from bgnb.gammapy import BackgroundErrors, background_errors, set_background_priors
from bgnb.gammapy.background_priors import BIN_ERROR
from tests.helpers.errors import raises

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of Gammapy and its dependencies
    pytest.mark.filterwarnings("ignore::UserWarning"),
]
EDGES = np.geomspace(0.5, 50, 6)
X = np.log(EDGES[1:] * EDGES[:-1]) / 2
COUNTS = np.array([900.0, 400.0, 120.0, 30.0, 5.0])


def covariance(seed, size=0.1):
    """Make a covariance of five bins: of norm, tilt and independent errors of the bins."""
    root = np.random.default_rng(seed).normal(0, size / 4, (5, 5))
    return size**2 + 0.02**2 * np.outer(X, X) + root @ root.T


def make_errors(seed=1, counts=COUNTS, size=0.1, share=0.3):
    """Make errors of which a share is due to the models."""
    of_models = share * covariance(seed + 100, size)
    return BackgroundErrors(edges=EDGES, counts=counts, covariance=covariance(seed, size) + of_models, of_models=of_models)


def make_dataset(errors, name=None, factor=1.0, pixels=4):
    """Make a dataset with a background and its errors, and counts that are ``factor`` times as many."""
    axis = MapAxis.from_energy_edges(errors.edges * u.TeV)
    true = MapAxis.from_energy_bounds("0.5 TeV", "50 TeV", nbin=2, name="energy_true")
    geom = WcsGeom.create(skydir=(83.6, 22), width=pixels * 0.5, binsz=0.5, axes=[axis])
    dataset = MapDataset.create(geom, energy_axis_true=true, name=name)
    dataset.background.data[...] = errors.counts[:, None, None] / pixels**2
    dataset.counts.data = factor * dataset.background.data
    dataset.mask_safe.data[...] = True
    dataset.gti = None
    dataset.meta_table = Table({"TELESCOP": ["HESS"]} | errors.columns)
    return dataset


def test_equal_edges_change_nothing():
    """Conversion to the same energy bins is the identity."""
    errors = make_errors()
    same = errors.on_edges(EDGES)
    for name in ("counts", "covariance", "of_models"):
        np.testing.assert_allclose(getattr(same, name), getattr(errors, name), rtol=1e-12)


def test_merged_bins_have_the_mean_deviation():
    """The deviation of merged bins is the mean deviation, weighted by counts."""
    errors = make_errors()
    merged = errors.on_edges(EDGES[[0, 2, 5]])
    deviations = np.random.default_rng(2).multivariate_normal(np.zeros(5), errors.covariance, 400_000)
    sums = np.stack([(COUNTS * deviations)[:, part].sum(axis=1) / COUNTS[part].sum() for part in (slice(2), slice(2, 5))])
    np.testing.assert_allclose(merged.counts, [1300, 155])
    np.testing.assert_allclose(merged.covariance, np.cov(sums), rtol=0.02)
    assert merged.covariance[1, 1] < 0.99 * errors.covariance[3, 3]


def test_parts_of_bins_share_counts():
    """Bins within one bin have its errors, fully correlated, and its counts in proportion to their width in log energy."""
    errors = make_errors()
    fine = errors.on_edges(np.sort([*EDGES, 0.7]))
    np.testing.assert_allclose(fine.counts[:2].sum(), 900)
    assert fine.counts[0] / 900 == pytest.approx(np.log(0.7 / 0.5) / np.log(EDGES[1] / EDGES[0]))
    np.testing.assert_allclose(fine.covariance[:2, :2], errors.covariance[0, 0], rtol=1e-12)
    np.testing.assert_allclose(fine.covariance[0, 3], errors.covariance[0, 2], rtol=1e-12)


def test_bins_outside_have_the_nearest_errors():
    """Bins outside the energies of the rate have the errors of the nearest bin, without counts."""
    errors = make_errors()
    longer = errors.on_edges(np.array([0.05, 0.1, *EDGES, 100]))
    np.testing.assert_allclose(longer.counts, [0, 0, *COUNTS, 0])
    rows = [0, 0, 0, 1, 2, 3, 4, 4]
    np.testing.assert_allclose(longer.covariance, errors.covariance[np.ix_(rows, rows)], rtol=1e-12)
    np.testing.assert_allclose(longer.of_models, errors.of_models[np.ix_(rows, rows)], rtol=1e-12)


def test_independent_errors_average_in_stacks():
    """In the sum of runs independent errors average, and those of the models do not."""
    one, few = make_errors(), 9
    stack = BackgroundErrors.stack([one] * few)
    np.testing.assert_allclose(stack.counts, few * COUNTS)
    np.testing.assert_allclose(stack.of_models, one.of_models, rtol=1e-9)
    np.testing.assert_allclose(stack.covariance - stack.of_models, (one.covariance - one.of_models) / few, rtol=1e-9)


def test_runs_weigh_by_counts():
    """Each run contributes to a stack in proportion to its counts in each bin."""
    one, other = make_errors(1, share=0), make_errors(2, np.array([100.0, 400, 0, 30, 5]), share=0)
    stack = BackgroundErrors.stack([one, other])
    draws = [np.random.default_rng(3).multivariate_normal(np.zeros(5), each.covariance, 400_000) for each in (one, other)]
    sums = (one.counts * draws[0] + other.counts * np.roll(draws[1], 1, axis=0)) / (one.counts + other.counts)
    np.testing.assert_allclose(stack.covariance, np.cov(sums.T), rtol=0.03, atol=1e-4)
    np.testing.assert_allclose(stack.covariance[2, 2], one.covariance[2, 2])
    neither = np.array([100.0, 400, 0, 30, 5])
    without = BackgroundErrors.stack([make_errors(1, neither, share=0), other])
    np.testing.assert_allclose(without.covariance[2, 2], (one.covariance + other.covariance)[2, 2] / 4)


def test_errors_survive_stacking_and_files(tmp_path):
    """The errors of stacked datasets, also from files, are those of the stack, also if edges differ by rounding."""
    runs = [make_errors(1), make_errors(2, COUNTS[::-1].copy()), make_errors(3, 2 * COUNTS)]
    total = make_dataset(runs[0], "all")
    for number, errors in enumerate(runs[1:]):
        total.stack(make_dataset(replace(errors, edges=EDGES * (1 + number * 1e-12)), f"run{number}"))
    expected = BackgroundErrors.stack(runs)
    total.write(tmp_path / "all.fits")
    for dataset in (total, MapDataset.read(tmp_path / "all.fits")):
        found = background_errors(dataset)
        for name in ("edges", "counts", "covariance", "of_models"):
            np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-5)


def test_errors_of_merged_energies():
    """Datasets on fewer energy bins have the errors of these bins."""
    errors = make_errors()
    axis = MapAxis.from_energy_edges(EDGES[[0, 1, 5]] * u.TeV)
    found = background_errors(make_dataset(errors).resample_energy_axis(axis))
    expected = errors.on_edges(axis.edges.value)
    np.testing.assert_allclose(found.covariance, expected.covariance, rtol=1e-6)
    np.testing.assert_allclose(found.counts, [900, 555], rtol=1e-6)


def weighted_fits(counts, matrix):
    """Fit lines, with NumPy, to each principal deviation of the bins, weighted by counts: tilts and norms at 1 TeV."""
    values, vectors = np.linalg.eigh(matrix)
    lines = np.polyfit(X, vectors * np.sqrt(np.maximum(values, 0)), 1, w=np.sqrt(counts))
    return -lines[0], lines[1]


def test_priors_are_weighted_projections():
    """Norm and tilt have the errors of a line fitted to the deviations, and do not correlate at the reference energy."""
    errors = make_errors()
    dataset = make_dataset(errors)
    (model,) = set_background_priors(dataset).models
    assert isinstance(model, FoVBackgroundModel)
    tilts, norms = weighted_fits(COUNTS, errors.covariance)
    spectrum = model.spectral_model
    at_reference = norms - tilts * np.log(spectrum.reference.quantity.to_value("TeV"))
    assert spectrum.tilt.prior.sigma.value == pytest.approx(np.linalg.norm(tilts), rel=1e-6)
    assert spectrum.norm.prior.sigma.value == pytest.approx(np.linalg.norm(at_reference), rel=1e-6)
    assert abs(at_reference @ tilts) < 1e-6 * np.linalg.norm(at_reference) * np.linalg.norm(tilts)
    assert abs(norms @ tilts) > 0.01 * np.linalg.norm(norms) * np.linalg.norm(tilts)
    assert (spectrum.norm.prior.mu.value, spectrum.tilt.prior.mu.value) == (1, 0)
    assert not spectrum.norm.frozen
    assert not spectrum.tilt.frozen


def test_priors_follow_the_mask():
    """Only the energies that are fitted decide norm and tilt."""
    errors = make_errors()
    dataset = make_dataset(errors)
    dataset.mask_safe.data[:2] = False
    (model,) = set_background_priors(dataset).models
    tilts, _ = weighted_fits(np.where(np.arange(5) < 2, 1e-12, COUNTS), errors.covariance)
    assert model.parameters["tilt"].prior.sigma.value == pytest.approx(np.linalg.norm(tilts), rel=1e-4)
    dataset.mask_safe.data[...] = False
    np.testing.assert_array_equal(background_errors(dataset).counts, 0)
    with raises("no-counts", "mask_fit"):
        set_background_priors(dataset)
    other = make_dataset(make_errors(), "other")
    frozen, free = (model.parameters for model in set_background_priors([dataset, other]).models)
    assert len(frozen.free_parameters) == 0
    assert len(free.free_parameters) == 2


def test_no_tilt_without_its_error():
    """If all bins have the same error, there is a norm but no tilt."""
    size = 0.2
    matrix = np.full((5, 5), size**2)
    errors = BackgroundErrors(edges=EDGES, counts=COUNTS, covariance=matrix, of_models=matrix / 2)
    (model,) = set_background_priors(make_dataset(errors)).models
    spectrum = model.spectral_model
    assert spectrum.norm.prior.sigma.value == pytest.approx(size)
    assert spectrum.tilt.frozen
    assert spectrum.tilt.prior is None
    assert EDGES[0] < spectrum.reference.value < EDGES[-1]


@pytest.mark.parametrize("others", [0, 1e-25])
def test_no_tilt_in_a_single_bin(others):
    """If one bin has counts, its error is that of the norm; the others may have the least rate instead of zero."""
    errors = make_errors(counts=np.array([others, others, others, 30.0, others]))
    (model,) = set_background_priors(make_dataset(errors)).models
    assert model.parameters["norm"].prior.sigma.value == pytest.approx(np.sqrt(errors.covariance[3, 3]))
    assert model.parameters["tilt"].frozen
    assert model.parameters["reference"].value == pytest.approx(np.exp(X[3]))


def test_norms_of_bins_have_the_covariance():
    """With per_energy, the norms of all datasets have one covariance: errors of the models are common."""
    errors = [make_errors(1), make_errors(2, 3 * COUNTS)]
    datasets = set_background_priors(
        [make_dataset(each, name) for each, name in zip(errors, "ab", strict=True)], per_energy=True
    )
    (penalty,) = datasets.models._penalties
    assert [parameter.name for parameter in penalty.parameters] == 2 * [f"norm_{number}" for number in range(5)]
    np.testing.assert_allclose(penalty.mean, 1)
    matrix = penalty.covariance.data
    for each, here in zip(errors, (slice(5), slice(5, 10)), strict=True):
        np.testing.assert_allclose(matrix[here, here], each.covariance + BIN_ERROR**2 * np.eye(5), rtol=1e-9)
    common = matrix[:5, 5:]
    # The symmetric square roots of the covariances that are due to the models are applied to the same deviations.
    np.testing.assert_allclose(common @ common.T, root_product(*(each.of_models for each in errors)), rtol=1e-6)
    assert np.all(np.linalg.eigvalsh(matrix) > 0)
    for norm, model in zip((1.1, 0.9), datasets.models, strict=True):
        model.parameters["norm_2"].value = norm
    for norm, dataset in zip((1.1, 0.9), datasets, strict=True):
        ratio = (dataset.npred_background().data / dataset.background.data)[:, 0, 0]
        np.testing.assert_allclose(ratio, [1, 1, norm, 1, 1], rtol=1e-6)
    deviations = np.array([0, 0, 0.1, 0, 0, 0, 0, -0.1, 0, 0])
    assert penalty.stat_sum() == pytest.approx(deviations @ np.linalg.solve(matrix, deviations))


def root_product(one, other):
    """Compute R S S R for the square roots R, S of two covariances."""
    values, vectors = np.linalg.eigh(one)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    return root @ other @ root


def test_equal_errors_of_models_are_common():
    """Two datasets with the same errors of the models deviate together."""
    errors = make_errors(share=0.9)
    datasets = set_background_priors([make_dataset(errors, name) for name in "ab"], per_energy=True)
    np.testing.assert_allclose(datasets.models._penalties[0].covariance.data[:5, 5:], errors.of_models, rtol=1e-9)


@pytest.mark.parametrize("per_energy", [False, True])
def test_other_models_stay(per_energy):
    """Sources, their penalties and backgrounds of other datasets stay; earlier backgrounds are replaced."""
    datasets = Datasets([make_dataset(make_errors(seed), name) for seed, name in enumerate("abc")])
    source = SkyModel(PowerLawSpectralModel(), name="source", datasets_names=["a", "b"])
    models = Models([source, FoVBackgroundModel(dataset_name="a"), FoVBackgroundModel(dataset_name="c", name="kept")])
    of_source = GaussianPriorPenalty([source.parameters["index"]], mean=[2.0])
    models.set_penalties([of_source])
    datasets.models = models
    some = Datasets(list(datasets)[:2])
    some.models = models
    for _ in range(2):
        assert set_background_priors(some, per_energy=per_energy) is some
    assert some.models.names == ["source", "a-bkg", "b-bkg"]
    assert some.models["source"] is source
    assert some.models._penalties[0] is of_source
    assert len(some.models._penalties) == 1 + per_energy
    assert datasets["c"].models.names == ["kept"]
    has_prior = [parameter.prior is not None for parameter in some["b"].background_model.parameters if not parameter.frozen]
    assert has_prior == ([False] * 5 if per_energy else [True, True])


def test_sources_of_one_dataset():
    """A source of one dataset is not added to others; different sources of the same name are refused."""
    datasets = [make_dataset(make_errors(seed), name) for seed, name in enumerate("ab")]
    for dataset, name in zip(datasets, ("first", "second"), strict=True):
        dataset.models = [SkyModel(PowerLawSpectralModel(), name=name)]
    assert set_background_priors(datasets).models.names == ["first", "a-bkg", "second", "b-bkg"]
    assert [dataset.models.names for dataset in datasets] == [["first", "a-bkg"], ["second", "b-bkg"]]
    datasets[1].models = [SkyModel(PowerLawSpectralModel(), name="first")]
    with raises("invalid-argument", "models of the datasets", "unique"):
        set_background_priors(datasets)


def test_datasets_without_errors_are_refused():
    """Datasets need the columns of the maker, some background, and more than one bin for norms of bins."""
    dataset = make_dataset(make_errors(), "mine")
    dataset.meta_table = Table({"TELESCOP": ["HESS"]})
    for table in (dataset.meta_table, None):
        dataset.meta_table = table
        with raises("missing-column", "mine", "BackgroundMaker"):
            set_background_priors(dataset)
    with raises("no-counts", "empty"):
        set_background_priors(make_dataset(make_errors(counts=np.zeros(5)), "empty"))
    axis = MapAxis.from_energy_edges(EDGES[[0, 5]] * u.TeV)
    single = make_dataset(make_errors(), "one").resample_energy_axis(axis, name="one")
    with raises("invalid-argument", "one", "per_energy"):
        set_background_priors(single, per_energy=True)
    (model,) = set_background_priors(single).models
    assert model.parameters["tilt"].frozen
    two = make_dataset(make_errors(), "two").resample_energy_axis(
        MapAxis.from_energy_edges(EDGES[[0, 2, 5]] * u.TeV), name="two"
    )
    with raises("invalid-argument", "energy bins"):
        set_background_priors([two, make_dataset(make_errors())], per_energy=True)


def test_backgrounds_that_are_no_counts_are_refused():
    """Pixels that are not finite or negative, and damaged columns, would give priors that are wrong or missing."""
    for value in (np.nan, -1e6):
        dataset = make_dataset(make_errors(), "odd")
        dataset.background.data[0, 1, 1] = value
        with raises("invalid-value", "odd", "background"):
            set_background_priors(dataset)
        dataset.mask_safe.data[0, 1, 1] = False
        assert set_background_priors(dataset).models.parameters["norm"].prior is not None
    nothing = np.full((1, 25), np.nan)
    for name, value, code in (
        ("BKG_COV", nothing, "invalid-value"),
        ("BKG_COV_MODELS", nothing, "bad-column"),
        ("BKG_COV", [[1.0, 2.0]], "bad-column"),
    ):
        dataset = make_dataset(make_errors(), "odd")
        dataset.meta_table[name] = value
        with raises(code, "odd"):
            set_background_priors(dataset)


@pytest.mark.parametrize("counts", [1e5, 30.0, 1e-3])
def test_fit_weighs_data_and_prior(counts):
    """Many counts decide the norm, few leave it to the prior: the fit is the maximum of the posterior density."""
    factor, sigma = 1.3, 0.1
    matrix = np.full((5, 5), sigma**2)
    share = COUNTS / COUNTS.sum()
    dataset = make_dataset(
        BackgroundErrors(edges=EDGES, counts=counts * share, covariance=matrix, of_models=matrix), factor=factor
    )
    datasets = set_background_priors(dataset)
    result = Fit().run(datasets)
    assert result.success
    norm = datasets.parameters["norm"]
    expected = brentq(lambda a: counts * (factor / a - 1) - (a - 1) / sigma**2, 0.5, 2, xtol=1e-12)
    error = (counts * factor / expected**2 + sigma**-2) ** -0.5
    assert norm.value == pytest.approx(expected, abs=0.02 * error)
    assert norm.error == pytest.approx(error, rel=0.02)
    assert (abs(expected - factor) < 0.01, abs(expected - 1) < 0.01) == (counts == 1e5, counts == 1e-3)


def test_fit_with_norms_of_bins():
    """Without counts, norms of bins have the prior errors; with many, the bins' own counts decide."""
    errors = make_errors(counts=1e-3 * COUNTS)
    datasets = set_background_priors(make_dataset(errors, factor=1.5), per_energy=True)
    Fit().run(datasets)
    norms = datasets.parameters.free_parameters
    np.testing.assert_allclose([norm.value for norm in norms], 1, atol=0.02)
    expected = np.sqrt(np.diag(errors.covariance) + BIN_ERROR**2)
    np.testing.assert_allclose([norm.error for norm in norms], expected, rtol=0.05)
    datasets = set_background_priors(make_dataset(make_errors(counts=1e6 * COUNTS), factor=1.2), per_energy=True)
    Fit().optimize(datasets)
    np.testing.assert_allclose([norm.value for norm in datasets.parameters.free_parameters], 1.2, rtol=0.01)


def test_priors_are_replaced():
    """After a fit, priors of the other kind give what they give without it."""
    results = {False: [], True: []}
    for kinds in ((True, False, True), (False,)):
        dataset = make_dataset(make_errors(counts=1e4 * COUNTS), factor=1.2)
        for kind in kinds:
            datasets = set_background_priors(dataset, per_energy=kind)
            Fit().optimize(datasets)
            results[kind].append([parameter.value for parameter in datasets.parameters.free_parameters])
    for one, other in results.values():
        np.testing.assert_allclose(one, other, rtol=1e-3)


def test_priors_need_datasets():
    """Other values, no datasets, two of the same name, and those without a background of their own are refused."""
    for value in (3, "x", None, ["x"], [None], [], Datasets()):
        with raises("invalid-argument", "datasets"):
            set_background_priors(value)
    with raises("invalid-argument", "twin, twin"):
        set_background_priors([make_dataset(make_errors(), "twin"), make_dataset(make_errors(), "twin")])
    dataset = make_dataset(make_errors(), "mine")
    off = MapDatasetOnOff.from_map_dataset(dataset, acceptance=1, acceptance_off=2, counts_off=dataset.counts, name="off")
    off.meta_table = dataset.meta_table
    dataset.background = None
    for wrong, word in ((off, "off counts"), (dataset, "BackgroundMaker")):
        for function in (set_background_priors, background_errors):
            with raises("invalid-argument", wrong.name, word):
                function(wrong)


def test_files_of_several_datasets(tmp_path):
    """Datasets.read of Gammapy reads the uncertainty with lazy=False only, which the error says."""
    datasets = Datasets([make_dataset(make_errors(1), "one"), make_dataset(make_errors(2), "two")])
    datasets.write(tmp_path / "all.yaml")
    with raises("missing-column", "one", "Datasets.read", "lazy=False"):
        set_background_priors(Datasets.read(tmp_path / "all.yaml"))
    for read, dataset in zip(Datasets.read(tmp_path / "all.yaml", lazy=False), datasets, strict=True):
        np.testing.assert_allclose(background_errors(read).covariance, background_errors(dataset).covariance)
