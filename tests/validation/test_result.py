"""Comparison of observed with predicted counts: correct predictions pass, and wrong ones fail."""

import json
import re
from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from scipy import stats
from scipy.special import xlogy

from bgnb import (
    CubeAxes,
    Grid,
    RunPrediction,
    Validation,
)
from bgnb.cubes.poisson_statistics import deviance, deviance_moments, significance
from bgnb.validation.figures import plot_profiles, plot_significance
from bgnb.validation.result import KINDS, PROFILES, Fit, table_lines
from tests.helpers.errors import raises

GRID = Grid.regular(energy_min="1 TeV", energy_max="20 TeV", n_energy=3, pixel="0.8 deg", offset_max="2.1 deg")


def asymmetric_expectation(scale: float) -> np.ndarray:
    """Return expected counts with gradients in DETX and DETY."""
    y, x = np.meshgrid(GRID.axes.dety_centers.value, GRID.axes.detx_centers.value, indexing="ij")
    return scale * np.array([1.0, 0.3, 0.04])[:, None, None] * np.exp(0.4 * x - 0.25 * y)


def predictions(scale=6.0, n_runs=60, wrong=lambda expected: expected, seed=3) -> Validation:
    """Validate predictions, changed by a function, with counts drawn from the true expectation."""
    rng = np.random.default_rng(seed)
    runs = []
    for number in range(n_runs):
        expected = asymmetric_expectation(scale * (1 + number % 5))
        counts = rng.poisson(expected)
        used = GRID.used(GRID.axes, number % 3 // 2)
        runs.append(RunPrediction(number, 30.0 + number, 6.0 * number, counts, wrong(expected), used, {1: 1.0}))
    return Validation(GRID, tuple(runs))


@pytest.mark.parametrize("free_norm", [True, False])
@pytest.mark.parametrize("scale", [0.05, 6.0])
def test_poisson_counts_pass(scale, free_norm):
    """Counts drawn from the prediction have the expected deviance, and normal significances."""
    fit = predictions(scale).fit(free_norm)
    assert fit.ratio == pytest.approx(1, abs=3.5 * fit.ratio_error)
    assert fit.ratio_error < 0.05
    for kind, values in fit.significance.items():
        mean, width = fit.mean_width(kind)
        expected, error = fit.expected_width(kind)
        assert error == pytest.approx(1 / np.sqrt(2 * (len(values) - 1)))
        assert mean == pytest.approx(0, abs=4 / np.sqrt(len(values))), kind
        assert width == pytest.approx(expected, abs=4 * error), kind
        assert expected == 1 or (free_norm and kind.endswith("each run"))


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
    """Reflected, transposed and wrong energy dependences of the prediction are detected."""
    fit = predictions(wrong=wrong).fit(free_norm=True)
    assert fit.ratio > 1 + 5 * fit.ratio_error
    assert fit.mean_width("cube of all runs")[1] > 1.3


def test_wrong_norm_fails_unless_free():
    """A wrong norm is detected without a free norm, and has no effect with one."""
    validation = predictions(wrong=lambda expected: 1.2 * expected)
    assert validation.fit(free_norm=False).ratio > 1 + 5 * validation.fit(free_norm=False).ratio_error
    assert validation.fit(free_norm=True).ratio == pytest.approx(1, abs=3.5 * validation.fit(free_norm=True).ratio_error)
    assert validation.ratio[0] == pytest.approx(1 / 1.2, abs=0.02)


PRECISION = {1e-8: 1e-6, 1e-4: 3e-4, 9e-4: 3e-3, 0.0011: 1e-6, 0.7: 1e-6, 80.0: 1e-6, 198.0: 1e-6, 250.0: 2e-5, 1000.0: 2e-6}


@pytest.mark.parametrize(("expected", "precision"), PRECISION.items())
def test_deviance_moments_match_scipy(expected, precision):
    """Mean and variance of the deviance are the sums over the Poisson distribution of SciPy."""
    counts = np.arange(int(expected + 15 * np.sqrt(expected) + 30))
    probability = stats.poisson.pmf(counts, expected)
    ratio = np.where(counts > 0, counts / expected, 1)
    values = 2 * (counts * np.log(ratio) - counts + expected)
    mean = (probability * values).sum()
    found, variance = deviance_moments(np.array([expected]))
    assert found[0] == pytest.approx(mean, rel=precision, abs=0)
    assert variance[0] == pytest.approx((probability * (values - mean) ** 2).sum(), rel=precision, abs=0)
    np.testing.assert_allclose(deviance(counts, np.full(len(counts), expected)), values, atol=1e-9 * expected + 1e-9)


def test_deviance_without_expectation():
    """With zero expected counts the deviance is zero, or infinite if there are counts."""
    assert deviance(np.array([0, 1]), np.array([0.0, 0.0])).tolist() == [0, np.inf]
    assert [moment.tolist() for moment in deviance_moments(np.array([0.0]))] == [[pytest.approx(0, abs=1e-200)]] * 2


def test_significance_of_many_counts():
    """With many counts the significance is the signed root of the deviance, as of Li and Ma."""
    counts, expected = np.array([400, 520, 300]), np.array([400.0, 400.0, 400.0])
    signed_root = np.sign(counts - expected) * np.sqrt(deviance(counts, expected))
    np.testing.assert_allclose(significance(counts, expected, np.random.default_rng(1)), signed_root, atol=0.05)
    far = significance(np.array([3000, 0]), np.array([1.0, 5000.0]), np.random.default_rng(1))
    np.testing.assert_allclose(far, [np.sqrt(deviance(np.array(3000), 1.0)), -100.0], rtol=1e-12)
    counts = np.arange(300, 1500, 10)  # up to and beyond the underflow of probabilities
    line = significance(counts, np.full(len(counts), 300.0), np.random.default_rng(2))
    np.testing.assert_allclose(line, np.sign(counts - 299) * np.sqrt(deviance(counts, np.full(len(counts), 300.0))), atol=0.06)
    assert line[-1] > 45


def test_counts_in_empty_model_bins():
    """Counts in bins where the model is empty are reported, and do not change the free norm."""

    def with_hole(expected):
        return np.where(np.arange(expected.shape[2]) == 2, 0, expected)

    validation = predictions(wrong=with_hole)
    lost = sum(int(run.counts[:, :, 2][run.used[:, :, 2]].sum()) for run in validation.runs)
    assert validation.counts_where_none_are_possible == lost > 100
    assert validation.fit(True).ratio == pytest.approx(1, abs=3.5 * validation.fit(True).ratio_error)
    (line,) = (line for line in validation.summary.splitlines() if "model is empty" in line)
    assert line.endswith(f": {lost}")


def test_run_without_counts():
    """A run without counts adds to the deviance without a free norm only."""
    true = predictions(n_runs=12)
    last = true.runs[-1]
    empty = RunPrediction(99, 50.0, 0.0, 0 * last.counts, last.expected, last.used, {1: 1.0})
    with_empty = Validation(GRID, (*true.runs, empty))
    assert (with_empty.fit(True).n_runs, with_empty.fit(False).n_runs) == (12, 13)
    assert with_empty.fit(True).deviance == true.fit(True).deviance
    assert with_empty.fit(False).deviance == pytest.approx(true.fit(False).deviance + 2 * empty.n_expected)
    assert with_empty.total_ratio == pytest.approx(
        1 / (1 / true.total_ratio + empty.n_expected / sum(r.n_counts for r in true.runs))
    )
    with raises("nothing-to-compare", "run 100"):
        true.fit(True, 100)


@pytest.mark.parametrize("axis", ["energy", "offset", "detx", "dety", "altitude", "azimuth"])
def test_profiles_are_histograms(axis):
    """Profiles are histograms without empty bins, for any azimuth and with a run without counts."""
    made = predictions(0.02, n_runs=7, wrong=lambda expected: 1.3 * expected).runs
    silent = replace(made[3], counts=0 * made[3].counts)
    runs = [replace(run, az_pnt=run.az_pnt * 90 - 181, alt_pnt=15.0 * run.obs_id) for run in (*made[:3], silent, *made[4:])]
    y, x = np.meshgrid(GRID.axes.dety_centers.value, GRID.axes.detx_centers.value, indexing="ij")
    steps = {"offset": np.arange(6) * 0.42, "altitude": np.arange(0, 91, 10), "azimuth": np.arange(0, 361, 45)}
    edges = steps.get(axis, getattr(GRID.axes, axis, u.Quantity(0)).value)
    sums = np.zeros((3, len(edges) - 1))
    for run in runs:
        values = {"energy": GRID.axes.energy_centers.value[:, None, None], "detx": x, "dety": y, "offset": np.hypot(x, y)}
        values |= {"altitude": run.alt_pnt, "azimuth": (run.az_pnt + 720) % 360}
        where = np.broadcast_to(values[axis], run.counts.shape)[run.used]
        norm = run.counts[run.used].sum() / run.expected[run.used].sum()
        for number, weights in enumerate((run.counts, run.expected, norm * run.expected)):
            sums[number] += np.histogram(where, edges, weights=weights[run.used])[0]
    table, some = Validation(GRID, tuple(runs)).profile(axis), sums[1] > 0
    for name, wanted in (
        ("LOW", edges[:-1]),
        ("HIGH", edges[1:]),
        *zip(("COUNTS", "EXPECTED", "EXPECTED_NORM"), sums, strict=True),
    ):
        np.testing.assert_allclose(table[name], wanted[some], err_msg=name)
    for end, predicted in (("", sums[1]), ("_NORM", sums[2])):
        divisor = np.where(predicted > 0, predicted, np.nan)[some]
        np.testing.assert_allclose(table[f"RATIO{end}"], sums[0][some] / divisor)
        np.testing.assert_allclose(table[f"ERROR{end}"], divisor**-0.5)
    np.testing.assert_allclose(table["RESIDUAL"], sums[0][some] / np.where(sums[2] > 0, sums[2], np.nan)[some] - 1)
    assert table["LOW"].unit == table["HIGH"].unit == ("TeV" if axis == "energy" else "deg")


def test_norm_of_runs_in_energy_bins():
    """Mean and spread of the norms are those of the runs with a predicted count; the spread of the true norms is added."""
    norms = np.random.default_rng(8).normal(0.8, 0.2, 60)
    runs = predictions(scale=40.0).runs
    runs = [replace(run, expected=run.expected / norm) for run, norm in zip(runs, norms, strict=True)]
    runs[5] = replace(runs[5], expected=runs[5].expected * np.array([1, 1, 1e-9])[:, None, None])  # would give a norm of 1e9
    table = Validation(GRID, tuple(runs)).profile("energy")
    counts, expected = (
        np.array([(getattr(run, name) * run.used).sum(axis=(1, 2)) for run in runs]) for name in ("counts", "expected")
    )
    for row, observed, predicted in zip(table, counts.T, expected.T, strict=True):
        enough = predicted >= 1
        each = observed[enough] / predicted[enough]
        assert row["N_RUNS"] == enough.sum()
        assert row["NORM"] == pytest.approx(each.mean()) == pytest.approx(0.8, abs=0.1)
        assert row["SPREAD"] == pytest.approx(np.std(each, ddof=1))
        assert row["SPREAD_POISSON"] == pytest.approx(np.sqrt(np.mean(1 / predicted[enough])))
    assert [row["N_RUNS"] - (column > 0).sum() for row, column in zip(table, expected.T, strict=True)] == [0, 0, -1]
    assert table["SPREAD"][0] == pytest.approx(0.2, abs=0.05)
    assert table["SPREAD_POISSON"][0] < 0.03


def test_norm_needs_a_predicted_count():
    """Bins without a run that has a predicted count have no norm; of one run there is no spread."""
    table = predictions(scale=0.05, n_runs=1).profile("energy")
    assert table["N_RUNS"].tolist() == [1, 0, 0]
    assert np.isfinite(table["NORM"]).tolist() == [True, False, False]
    assert np.isnan(table["SPREAD"]).all()


def test_missing_values_are_dashes():
    """Tables show a dash for NaN, in columns as wide as before."""
    validation = predictions(scale=0.05, n_runs=1)
    table = validation.profile("energy")
    lines, plain = table_lines(table), table.pformat(max_lines=-1, max_width=-1)
    assert list(map(len, lines)) == list(map(len, plain))
    spread = table.colnames.index("SPREAD")
    assert [line.split()[spread] for line in lines[-3:]] == ["–"] * 3
    assert lines[-3].split()[spread - 1] == f"{table['NORM'][0]:.3f}"


def test_table_summary_and_report_agree():
    """Table, summary and report agree, for unsorted runs of which one has no counts and one made the models."""
    made = predictions(n_runs=4, wrong=lambda expected: 1.3 * expected).runs
    silent = replace(made[1], counts=0 * made[1].counts, groups={})
    runs = (made[3], replace(made[2], groups={4: 0.25, 7: 0.75}), silent, made[0])
    validation = Validation(GRID, runs, faults={12: "run 12 is broken"}, seen=frozenset({2, 99}))
    table = validation.table
    assert table["OBS_ID"].tolist() == [0, 1, 2, 3]
    assert (table["ALT_PNT"].tolist(), table["AZ_PNT"].tolist()) == ([30.0, 31.0, 32.0, 33.0], [0.0, 6.0, 12.0, 18.0])
    assert table["GROUPS"].tolist() == ["1 (100%)", "spline", "4 (25%), 7 (75%)", "1 (100%)"]
    counts = np.array([run.counts[run.used].sum() for run in (made[0], silent, made[2], made[3])])
    expected = np.array([run.expected[run.used].sum() for run in made])
    assert table["COUNTS"].tolist() == counts.tolist()
    np.testing.assert_allclose(table["EXPECTED"], expected)
    ratios = counts / expected
    np.testing.assert_allclose(table["RATIO"], ratios)
    for row in table:
        if row["COUNTS"]:
            fit = validation.fit(True, int(row["OBS_ID"]))
            assert (row["DEV_EXP"], row["DEV_EXP_ERROR"]) == (fit.deviance / fit.expected, fit.error / fit.expected)
            assert row["WIDTH"] == pytest.approx(np.std(fit.significance["cube of each run"], ddof=1))
        else:
            assert np.isnan([row["DEV_EXP"], row["DEV_EXP_ERROR"], row["WIDTH"]]).all()
    mean, scatter, total = ratios.mean(), np.sqrt(np.sum((ratios - ratios.mean()) ** 2) / 3), counts.sum() / expected.sum()
    floor = np.sqrt(np.mean(1 / expected))
    assert validation.ratio == pytest.approx((mean, scatter))
    assert np.isnan(Validation(GRID, runs[:1]).ratio[1])
    assert repr(validation) == f"Validation(4 runs, {counts.sum()} counts, ratio {total:.4g})"
    summary = str(validation).splitlines()
    assert summary[0] == f"4 runs, {counts.sum()} counts within 2.1 deg"
    assert re.findall(r"\d\.\d{3}", summary[1]) == [f"{value:.3f}" for value in (total, mean, scatter, floor)]
    free, fixed = validation.fit(True), validation.fit(False)
    for line, name, fit, n_runs in ((summary[2], "one free norm per run", free, 3), (summary[3], "no free norm", fixed, 4)):
        assert line.startswith(f"{name}: deviance {fit.deviance / n_runs:.1f} per run")
        assert f" {fit.ratio:.4f} ± {fit.ratio_error:.4f};" in line
        assert f"width of significances {fit.mean_width('cube of each run')[1]:.3f} (" in line
    assert [line[:8] for line in summary if line.startswith("note:")] == ["note: 1 "]
    assert summary[-1] == "skipped: run 12 is broken"
    assert "note:" not in Validation(GRID, runs).summary
    report = validation.as_dict()
    assert report == json.loads(json.dumps(report))
    assert report["ratio"] == {"total": total, "mean": mean, "scatter": pytest.approx(scatter)}
    assert (report["skipped"], report["seen"]) == ({"12": "run 12 is broken"}, [2])
    assert [run["groups"] for run in report["runs"]] == [{"1": 1.0}, {}, {"4": 0.25, "7": 0.75}, {"1": 1.0}]
    for name in ("obs_id", "alt_pnt", "counts", "expected"):
        assert [run[name] for run in report["runs"]] == table[name.upper()].tolist()
    assert report["runs"][1]["width"] is None
    for name, fit in (("free_norm", free), ("no_norm", fixed)):
        figures = report[name]
        assert (figures["deviance"], figures["expected"]) == (fit.deviance, fit.expected)
        assert (figures["dev_exp"], figures["dev_exp_error"]) == (fit.ratio, fit.ratio_error)
        for kind in KINDS:
            values = (*fit.mean_width(kind), *fit.expected_width(kind))
            assert list(figures["significance"][kind].values()) == list(values)
    for axis in PROFILES:
        profile = validation.profile(axis)
        assert report["profiles"][axis]["counts"] == profile["COUNTS"].tolist()
        assert list(report["profiles"][axis]) == [name.lower() for name in profile.colnames]


def test_one_significance_has_no_width():
    """The width of a single significance is NaN."""
    fit = Fit(1, 1.0, 1.0, 1.0, {"image of each run": np.array([0.3]), "cube of each run": np.array([0.3, 0.7])})
    assert str(fit.mean_width("image of each run")) == "(0.3, nan)"
    assert np.isnan(fit.expected_width("image of each run")).all()
    assert fit.mean_width("cube of each run") == pytest.approx((0.5, np.sqrt(0.08)))


def test_free_norm_is_a_degree_of_freedom():
    """A free norm reduces the expected deviance of each run by one."""
    validation = predictions(n_runs=3)
    scaled = [replace(run, expected=run.expected * run.n_counts / run.n_expected) for run in validation.runs]
    free, fixed = validation.fit(True), Validation(GRID, tuple(scaled)).fit(False)
    assert (free.deviance, free.expected, free.error) == pytest.approx((fixed.deviance, fixed.expected - 3, fixed.error))
    counts, expected = (np.concatenate([getattr(run, name)[run.used] for run in scaled]) for name in ("counts", "expected"))
    mean, variance = deviance_moments(expected)
    assert fixed.deviance == pytest.approx(2 * np.sum(xlogy(counts, counts / expected) - counts + expected))
    assert (fixed.expected, fixed.error) == pytest.approx((mean.sum(), np.sqrt(variance.sum())))
    assert [len(free.significance[kind]) for kind in KINDS] == [
        sum(run.used.any(axis=0).sum() for run in validation.runs),
        sum(run.used.sum() for run in validation.runs),
        np.any([run.used for run in validation.runs], axis=(0, 1)).sum(),
        np.any([run.used for run in validation.runs], axis=0).sum(),
    ]


def test_summary_of_one_run():
    """The ratio of a single run has its statistical error, and the summary no NaN."""
    (run,) = predictions(n_runs=1).runs
    first, second, *others = str(Validation(GRID, (run,))).splitlines()
    assert first.startswith("1 run, ")
    error = 1 / np.sqrt(run.n_expected)
    assert second == f"observed / predicted counts: {run.n_counts / run.n_expected:.3f} ± {error:.3f}"
    assert "nan" not in " ".join(others)


def test_nothing_to_compare_is_an_error():
    """Runs without counts or without predictions raise an error if there is no other run."""
    (run,) = predictions(n_runs=1).runs
    for nothing in (replace(run, counts=0 * run.counts), replace(run, expected=0 * run.expected)):
        with raises("nothing-to-compare"):
            Validation(GRID, (nothing,))
        assert len(Validation(GRID, (nothing, run)).runs) == 2
    faults = {number: f"run{number}.fits: is empty [empty-file]" for number in (4, 8, 15)}
    with raises("nothing-to-compare", "no run can be used: run4.fits: is empty [empty-file] (and 2 more runs)"):
        Validation(GRID, (), faults)


def test_profiles_show_gradients():
    """Ratios change monotonically along axes with a gradient that the prediction lacks."""
    validation = predictions(wrong=lambda expected: np.full_like(expected, expected.mean()))
    detx, dety = (np.array(validation.profile(axis)["RATIO"]) for axis in ("detx", "dety"))
    assert np.all(np.diff(detx) > 0)
    assert np.all(np.diff(dety) < 0)


def test_bins_outside_model_are_not_used():
    """Bins beyond the maximum offset, below the threshold or outside the model are not compared."""
    used = GRID.used(GRID.axes, 1)
    assert not used[0].any()
    y, x = np.meshgrid(GRID.axes.dety_centers.value, GRID.axes.detx_centers.value, indexing="ij")
    np.testing.assert_array_equal(used[1], np.hypot(x, y) <= 2.1 + 1e-3)
    narrow = Grid.regular(energy_min="2 TeV", energy_max="10 TeV", n_energy=3, pixel="0.8 deg", offset_max="1.3 deg").axes
    assert not GRID.used(narrow, 0)[0].any()
    assert not GRID.used(narrow, 0)[:, :, 0].any()
    assert GRID.used(narrow, 0)[1].any()


def test_pixel_offset_is_spherical():
    """Offsets of pixels are the angular separations of Astropy."""
    axes = CubeAxes([1, 2] * u.TeV, [-9, -4, 0, 2] * u.deg, [-3, 1, 2, 30, 70] * u.deg)
    offset = Grid(axes, 50.0).offset
    for (iy, ix), found in np.ndenumerate(offset):
        away = SkyCoord(axes.detx_centers[ix], axes.dety_centers[iy]).separation(SkyCoord(0 * u.deg, 0 * u.deg))
        assert found == pytest.approx(away.deg)
    assert Grid(axes, offset[0, 1]).used(axes, 0)[0, 0].tolist() == [True, True, False, False]


def test_edges_may_differ_by_rounding():
    """Bins at the edge of a model are compared if edges differ by rounding only."""
    whole = GRID.used(GRID.axes, 0)
    for name, number in (("energy", 0), ("dety", 1), ("detx", 2)):
        for factor, kept in ((1 - 1e-8, 3 if name == "energy" else 6), (1 - 1e-3, 2 if name == "energy" else 4)):
            edges = getattr(GRID.axes, name)
            narrow = replace(
                GRID.axes, **{name: edges * np.where(edges > 0, factor, 1) if name == "energy" else edges * factor}
            )
            used = GRID.used(narrow, 0).any(axis=tuple({0, 1, 2} - {number}))
            assert used.sum() == kept, name
            assert np.array_equal(
                GRID.used(narrow, 0).take(np.flatnonzero(used), number), whole.take(np.flatnonzero(used), number)
            )


def test_regular_grid_covers_the_offset():
    """A regular grid is square, has pixels of the given width and covers the maximum offset."""
    default = Grid.regular()
    np.testing.assert_allclose(default.axes.energy.to_value("TeV"), np.geomspace(0.5, 50, 9))
    for edges in (default.axes.dety, default.axes.detx):
        np.testing.assert_allclose(edges.to_value("deg"), np.linspace(-2.5, 2.5, 11), atol=1e-12)
    assert default.offset_max == 2.5
    for pixel, offset_max, n in ((0.8, 2.1, 6), (0.2, 1.1, 11), (0.1, 0.35, 7), (0.3, 0.31, 3), (0.6, 0.3, 1), (1.5, 2.5, 4)):
        axes = Grid.regular(pixel=pixel * u.deg, offset_max=offset_max * u.deg).axes
        for edges in (axes.dety, axes.detx):
            np.testing.assert_allclose(edges.value, (np.arange(n + 1) - n / 2) * pixel, atol=1e-12)


def test_norm_without_prediction_is_zero():
    """The free norm of a run without predicted counts is zero."""
    true = predictions(n_runs=1).runs[0]
    nothing = replace(true, expected=0 * true.expected)
    assert (nothing.n_expected, nothing.factor, nothing.n_counts) == (0, 0, true.n_counts)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"pixel": "5.1 deg"}, ("pixel", "offset_max", "5.1 deg", "2.5 deg")),
        ({"pixel": "0 deg"}, ("pixel", "0 deg")),
        ({"offset_max": "1 TeV"}, ("offset_max", "1 TeV")),
        ({"n_energy": 0}, ("n_energy", "0")),
        ({"offset_max": "180 deg"}, ("offset_max", "90 deg", "180 deg")),
        ({"pixel": "0.001 deg"}, ("pixels of 0.001 deg", "larger")),
        ({"pixel": "1 deg", "offset_max": "0.7 deg"}, ("no pixel of 1 deg", "offset_max, 0.7 deg")),
    ],
)
def test_impossible_grids_raise_errors(arguments, words):
    """Widths, offsets and numbers of bins that make no grid raise an error with their values."""
    with raises("invalid-argument", *words):
        Grid.regular(**arguments)


def test_profiles_can_be_compared(monkeypatch):
    """All profiles have the same range of ratios; error bars stand beside each other, and energies are plain numbers."""
    figures = []
    monkeypatch.setattr("bgnb.validation.figures.picture_of", figures.append)
    plot_profiles(predictions(n_runs=6))
    (figure,) = figures
    figure.draw_without_rendering()
    assert len({axes.get_ylim() for axes in figure.axes}) == 1
    for axes in figure.axes:
        (low, top), points = axes.get_ylim(), [container.lines[0] for container in axes.containers]
        assert not np.isin(points[0].get_xdata(), points[1].get_xdata()).any()
        assert all(low <= y <= top for line in points for y in line.get_ydata())
    labels = [label.get_text() for label in figure.axes[0].get_xticklabels(which="both")]
    assert {"1", "10"} <= set(labels)
    assert not any("$" in label for label in labels)


def test_figures_do_not_depend_on_settings_of_the_user():
    """Settings of Matplotlib, such as LaTeX, which may be missing, change nothing."""
    as_usual = plot_significance(predictions(n_runs=6)).png
    with mpl.rc_context({"text.usetex": True, "axes.facecolor": "black", "font.size": 20}):
        assert plot_significance(predictions(n_runs=6)).png == as_usual


def test_distributions_are_compared_with_a_smooth_curve(monkeypatch):
    """The curve has the area of the histogram, also between the edges of bins; titles have minus signs."""
    figures = []
    monkeypatch.setattr("bgnb.validation.figures.picture_of", figures.append)
    plot_significance(predictions(n_runs=6))
    (figure,) = figures
    for axes in figure.axes:
        x, y = axes.lines[0].get_data()
        bars = axes.patches
        assert len(x) > 4 * len(bars)
        assert np.trapezoid(y, x) == pytest.approx(sum(bar.get_height() * bar.get_width() for bar in bars), rel=1e-3)
    titles = [axes.get_title() for axes in figure.axes]
    assert not any("-" in title for title in titles)
    assert any("−" in title for title in titles)
    assert figure.get_suptitle().startswith("One free norm per run: deviance / expectation ")
