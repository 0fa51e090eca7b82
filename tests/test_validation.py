"""The validator itself: right predictions pass it, and wrong ones do not."""

import json

import numpy as np
import pytest
from scipy import stats

from bgnb import (
    BgnbError,
    Grid,
    RunPrediction,
    Validation,
    cross_validate,
    make_bg_cube_models,
    make_test_dataset,
    make_true_reco,
    validate,
)
from bgnb.poisson import deviance, deviance_moments, significance

GRID = Grid.regular(energy_min="1 TeV", energy_max="20 TeV", n_energy=3, pixel="0.8 deg", offset_max="2.1 deg")


def lopsided_expectation(scale: float) -> np.ndarray:
    y, x = np.meshgrid(GRID.axes.dety_centers.value, GRID.axes.detx_centers.value, indexing="ij")
    return scale * np.array([1.0, 0.3, 0.04])[:, None, None] * np.exp(0.4 * x - 0.25 * y)


def predictions(scale=6.0, n_runs=60, wrong=lambda expected: expected, seed=3) -> Validation:
    rng = np.random.default_rng(seed)
    runs = []
    for number in range(n_runs):
        expected = lopsided_expectation(scale * (1 + number % 5))
        counts = rng.poisson(expected)
        used = GRID.used(GRID.axes, number % 3 // 2)
        runs.append(RunPrediction(number, 30.0 + number, 6.0 * number, counts, wrong(expected), used, {1: 1.0}))
    return Validation(GRID, tuple(runs))


@pytest.mark.parametrize("free_norm", [True, False])
@pytest.mark.parametrize("scale", [0.05, 6.0])
def test_poisson_draws_of_the_prediction_itself_pass(scale, free_norm):
    fit = predictions(scale).fit(free_norm)
    assert fit.ratio == pytest.approx(1, abs=3.5 * fit.ratio_error)
    assert fit.ratio_error < 0.05
    for kind, values in fit.significance.items():
        mean, width = fit.mean_width(kind)
        # A norm of its own that is fitted to each run narrows its image by a little.
        assert mean == pytest.approx(0, abs=4 / np.sqrt(len(values))), kind
        assert width == pytest.approx(1, abs=4 / np.sqrt(2 * len(values)) + 0.02 * free_norm), kind


@pytest.mark.parametrize(
    "wrong",
    [
        lambda expected: expected[:, ::-1],
        lambda expected: expected[:, :, ::-1],
        lambda expected: expected.swapaxes(1, 2),
        lambda expected: expected * np.array([1, 1.4, 2.0])[:, None, None],
    ],
    ids=["dety", "detx", "transposed", "spectrum"],
)
def test_wrong_shapes_fail(wrong):
    fit = predictions(wrong=wrong).fit(free_norm=True)
    assert fit.ratio > 1 + 5 * fit.ratio_error
    assert fit.mean_width("cube of all runs")[1] > 1.3


def test_a_wrong_norm_fails_only_where_it_is_not_free():
    validation = predictions(wrong=lambda expected: 1.2 * expected)
    assert validation.fit(free_norm=False).ratio > 1 + 5 * validation.fit(free_norm=False).ratio_error
    assert validation.fit(free_norm=True).ratio == pytest.approx(1, abs=3.5 * validation.fit(free_norm=True).ratio_error)
    assert validation.ratio[0] == pytest.approx(1.2, abs=0.03)


@pytest.mark.parametrize("expected", [1e-4, 0.02, 0.7, 5.0, 80.0, 1000.0])
def test_the_expected_deviance_is_that_of_the_poisson_distribution(expected):
    counts = np.arange(int(expected + 15 * np.sqrt(expected) + 30))
    probability = stats.poisson.pmf(counts, expected)
    ratio = np.where(counts > 0, counts / expected, 1)
    values = 2 * (counts * np.log(ratio) - counts + expected)
    mean = (probability * values).sum()
    found, variance = deviance_moments(np.array([expected]))
    assert found[0] == pytest.approx(mean, rel=2e-3)
    assert variance[0] == pytest.approx((probability * (values - mean) ** 2).sum(), rel=5e-3)
    np.testing.assert_allclose(deviance(counts, np.full(len(counts), expected)), values, atol=1e-9 * expected + 1e-9)


def test_significance_is_that_of_li_and_ma_where_there_are_many_counts():
    counts, expected = np.array([400, 520, 300]), np.array([400.0, 400.0, 400.0])
    signed_root = np.sign(counts - expected) * np.sqrt(deviance(counts, expected))
    np.testing.assert_allclose(significance(counts, expected, np.random.default_rng(1)), signed_root, atol=0.05)
    far = significance(np.array([3000, 0]), np.array([1.0, 5000.0]), np.random.default_rng(1))
    np.testing.assert_allclose(far, [np.sqrt(deviance(np.array(3000), 1.0)), -100.0], rtol=1e-12)
    counts = np.arange(300, 1500, 10)  # to where the probabilities underflow, and beyond
    line = significance(counts, np.full(len(counts), 300.0), np.random.default_rng(2))
    np.testing.assert_allclose(line, np.sign(counts - 299) * np.sqrt(deviance(counts, np.full(len(counts), 300.0))), atol=0.06)
    assert line[-1] > 45


def test_counts_where_the_model_is_empty_are_told_and_do_not_hide():
    def hole(expected):
        return np.where(np.arange(expected.shape[2]) == 2, 0, expected)

    validation = predictions(wrong=hole)
    lost = sum(int(run.counts[:, :, 2][run.used[:, :, 2]].sum()) for run in validation.runs)
    assert validation.counts_where_none_are_possible == lost > 100
    # They do not inflate the norm of the others either.
    assert validation.fit(True).ratio == pytest.approx(1, abs=3.5 * validation.fit(True).ratio_error)
    assert f"counts where the model is empty: {lost}" in validation.summary


def test_a_run_without_counts_speaks_against_a_model_unless_its_norm_is_free():
    true = predictions(n_runs=12)
    last = true.runs[-1]
    empty = RunPrediction(99, 50.0, 0.0, 0 * last.counts, last.expected, last.used, {1: 1.0})
    with_empty = Validation(GRID, (*true.runs, empty))
    assert (with_empty.fit(True).n_runs, with_empty.fit(False).n_runs) == (12, 13)
    assert with_empty.fit(True).deviance == true.fit(True).deviance
    assert with_empty.fit(False).deviance == pytest.approx(true.fit(False).deviance + 2 * empty.n_expected)
    assert with_empty.total_ratio == pytest.approx(true.total_ratio + empty.n_expected / sum(r.n_counts for r in true.runs))
    with pytest.raises(BgnbError, match="nothing to compare in run 100"):
        true.fit(True, 100)


@pytest.mark.parametrize("axis", ["energy", "offset", "detx", "dety", "altitude", "azimuth"])
def test_profiles_hold_each_count_once(axis):
    validation = predictions()
    table = validation.profile(axis)
    assert table["COUNTS"].sum() == sum(run.n_counts for run in validation.runs)
    assert table["EXPECTED"].sum() == pytest.approx(sum(run.n_expected for run in validation.runs))
    assert table["EXPECTED_NORM"].sum() == pytest.approx(table["COUNTS"].sum())


def test_profiles_show_a_gradient_where_it_is():
    validation = predictions(wrong=lambda expected: np.full_like(expected, expected.mean()))
    detx, dety = (np.array(validation.profile(axis)["RATIO"]) for axis in ("detx", "dety"))
    assert np.all(np.diff(detx) < 0)
    assert np.all(np.diff(dety) > 0)


def test_only_pixels_within_the_offset_and_on_the_models_axes_are_used():
    used = GRID.used(GRID.axes, 1)
    assert not used[0].any()
    y, x = np.meshgrid(GRID.axes.dety_centers.value, GRID.axes.detx_centers.value, indexing="ij")
    np.testing.assert_array_equal(used[1], np.hypot(x, y) <= 2.1 + 1e-3)
    narrow = Grid.regular(energy_min="2 TeV", energy_max="10 TeV", n_energy=3, pixel="0.8 deg", offset_max="1.3 deg").axes
    assert not GRID.used(narrow, 0)[0].any()
    assert not GRID.used(narrow, 0)[:, :, 0].any()
    assert GRID.used(narrow, 0)[1].any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"pixel": "0 deg"}, "pixel must be above 0"), ({"offset_max": "1 TeV"}, "offset_max"), ({"n_energy": 0}, "n_energy")],
)
def test_impossible_grids_are_refused(arguments, message):
    with pytest.raises(BgnbError, match=message):
        Grid.regular(**arguments)


def test_the_truth_predicts_simulated_runs(tmp_path):
    """The whole way, from files: the true model passes, and one of wrong width does not."""
    common = {"n_runs": 12, "trigger_rate": 25, "spectral_index": 1.5, "gradient_x": 0.1, "gradient_y": -0.2}
    make_true_reco(tmp_path / "a", **common, keep_dataset=True, energy_threshold=0.3, n_energy=24, n_fov=40, progress=False)
    arguments = (tmp_path / "a/dataset", "GADF")
    validation = validate(tmp_path / "a/true", *arguments, tmp_path / "out", select="all", progress=False)
    fit = validation.fit(free_norm=False)
    assert fit.ratio == pytest.approx(1, abs=3.5 * fit.ratio_error)
    assert validation.ratio[0] == pytest.approx(1, abs=0.03)
    assert {path.name for path in (tmp_path / "out").glob("*.png")} == {"profiles.png", "significance.png"}
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert report["no_norm"]["dev_exp"] == fit.ratio
    assert len(report["runs"]) == 12
    assert report["settings"]["between"] == "interpolate"

    make_true_reco(tmp_path / "b", **common | {"n_runs": 2, "gradient_y": 0.2}, n_energy=24, n_fov=40, progress=False)
    other = validate(tmp_path / "b/true", *arguments, select="all", progress=False).fit(free_norm=True)
    assert other.ratio > 1 + 5 * other.ratio_error


def test_cross_validation_predicts_each_run_once_from_others(tmp_path):
    make_test_dataset(tmp_path / "runs", n_runs=9, trigger_rate=8, seed=4, progress=False)
    arguments = {"select": "all", "folds": 3, "alt_edges": [0, 90], "az_edges": [0, 360], "progress": False}
    validations = cross_validate(tmp_path / "runs", "GADF", tmp_path / "cv", n_train=[2], **arguments)
    assert sorted(validations) == [2, 6]
    for validation in validations.values():
        assert len({run.obs_id for run in validation.runs}) == len(validation.runs) == 9
    assert validations[6].ratio[0] == pytest.approx(1, abs=0.2)
    assert (tmp_path / "cv/learning_curve.png").exists()
    with pytest.raises(BgnbError, match="n_train must be 1 to 6"):
        cross_validate(tmp_path / "runs", "GADF", n_train=[7], **arguments)
    with pytest.raises(BgnbError, match="folds must be 2 to the number of runs, 9"):
        cross_validate(tmp_path / "runs", "GADF", **arguments | {"folds": 10})


def test_runs_that_the_models_were_made_from_are_told(tmp_path):
    make_test_dataset(tmp_path / "runs", n_runs=3, trigger_rate=8, progress=False)
    make_bg_cube_models(tmp_path / "runs", "GADF", tmp_path / "m", select="all", progress=False)
    validation = validate(tmp_path / "m", tmp_path / "runs", "GADF", select="all", progress=False)
    assert "note: 3 of these runs are among those that the models were made from" in validation.summary


def test_models_that_cannot_be_read_are_named_before_any_run(tmp_path):
    make_test_dataset(tmp_path / "runs", n_runs=2, trigger_rate=8, progress=False)
    arguments = {"select": "all", "n_energy": 5, "n_fov": 6, "progress": False}
    make_bg_cube_models(tmp_path / "runs", "GADF", tmp_path / "m", method="spline", **arguments)
    with pytest.raises(BgnbError, match="exclusion_radius must be a value with a unit"):
        validate(tmp_path / "m", tmp_path / "runs", "GADF", exclusion_radius="5", progress=False)
    (tmp_path / "m/bg_spline.fits.gz").write_bytes(b"broken")
    with pytest.raises(BgnbError, match=r"bg_spline.fits.gz: cannot be read as FITS"):
        validate(tmp_path / "m", tmp_path / "runs", "GADF", progress=False)
    with pytest.raises(BgnbError, match="min_livetime must not be negative"):
        make_bg_cube_models(tmp_path / "runs", "GADF", tmp_path / "n", min_livetime="-1 h")
