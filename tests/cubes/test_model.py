"""Models that methods make from a stack."""

import numpy as np
import pytest
from astropy import units as u
from scipy.ndimage import convolve

from bgnb import BackgroundModel, Cell, Cube, CubeAxes, ModelSet, RunCounts, Stack, fit_spline, make_model
from bgnb.cubes.group_model import GroupModel
from bgnb.cubes.smoothing import convolved, smoothing_kernel
from bgnb.cubes.spline import RADIAL_TERMS
from tests.helpers.errors import raises

AXES = CubeAxes(
    energy=np.geomspace(0.1, 100, 8) * u.TeV, dety=np.linspace(-3, 2, 24) * u.deg, detx=np.linspace(-2, 4, 31) * u.deg
)
LIVETIMES = [0, 0, 900, 1500, 1500, 1500, 1500]
SMOOTH = ("classic", "michi")
K5A = np.array([[0, 0, 1, 0, 0], [0, 2, 2, 2, 0], [1, 2, 5, 2, 1], [0, 2, 2, 2, 0], [0, 0, 1, 0, 0]]) / 25


def stack_of(counts, livetime_s, axes=AXES) -> Stack:
    """Make the stack of one run."""
    livetime = np.broadcast_to(np.reshape(livetime_s, (-1, 1, 1)) if np.ndim(livetime_s) == 1 else livetime_s, axes.shape)
    n = int(counts.sum())
    run = RunCounts(1, float(np.max(livetime_s)), None, n, 0, 0, 0)
    return Stack(axes, "ALTAZ", counts.astype(np.int64), np.rint(livetime * 1e6).astype(np.int64), (run,))


def true_counts(total=20_000, livetime_s=LIVETIMES) -> np.ndarray:
    """Mean counts that fall with energy and offset, the latter faster at low energies, and rise with DETX and DETY."""
    y, x = np.meshgrid(AXES.dety_centers.value, AXES.detx_centers.value, indexing="ij")
    energy = AXES.energy_centers.value[:, None, None]
    rate = energy**-2.5 * np.exp(0.05 * x + 0.08 * y - (x**2 + y**2) / (8 + 4 * np.log10(energy / 0.1)))
    mean = rate * AXES.bin_volume.value * np.reshape(livetime_s, (-1, 1, 1))
    return mean * (total / mean.sum())


def counts_of(total=20_000, seed=1, livetime_s=LIVETIMES) -> np.ndarray:
    """Draw counts."""
    return np.random.default_rng(seed).poisson(true_counts(total, livetime_s))


def predicted(model, cube=None) -> np.ndarray:
    """Counts that a rate predicts."""
    return ((cube or model.rate).quantity * model.stack.exposure).to_value("")


def test_unsmoothed_predicts_counts_of_each_bin():
    """Rate times livetime times bin volume is the number of counts."""
    stack = stack_of(counts_of(), LIVETIMES)
    model = make_model(stack, "unsmoothed")
    seconds = np.array(LIVETIMES)[:, None, None]
    width = np.diff(AXES.energy.to_value("MeV"))[:, None, None]
    solid_angle = np.outer(np.diff(np.sin(AXES.dety.to_value("rad"))), np.diff(AXES.detx.to_value("rad")))
    counts = model.rate.quantity.to_value("MeV-1 s-1 sr-1") * seconds * width * solid_angle
    np.testing.assert_allclose(counts, stack.counts, rtol=1e-12)


@pytest.mark.parametrize("method", SMOOTH)
def test_smoothed_models_predict_all_counts(method):
    """The sum over all bins is exact, and that of a plane agrees within its fluctuation."""
    model = make_model(stack_of(counts_of(), LIVETIMES), method)
    np.testing.assert_allclose(predicted(model).sum(), model.stack.counts.sum())
    plane, mean = predicted(model).sum(axis=(1, 2)), true_counts().sum(axis=(1, 2))
    assert np.all(np.abs(plane - mean) <= 4 * np.sqrt(mean))


@pytest.mark.slow
@pytest.mark.parametrize("method", [*SMOOTH, "spline"])
def test_sparse_counts_give_unbiased_rates(method):
    """A few hundred counts lose none from the centre, nor gain any at high energies, however wide the smoothing."""
    drawn = [counts_of(400, seed) for seed in range(6)]
    made, counts = (
        np.mean([predicted(make_model(stack_of(each, LIVETIMES), method)) for each in drawn], axis=0),
        np.mean(drawn, axis=0),
    )
    centre = np.hypot(AXES.dety_centers.value[:, None], AXES.detx_centers.value) < 1
    assert made[:, centre].sum() == pytest.approx(counts[:, centre].sum(), rel=0.05)
    assert made[4:].sum() == pytest.approx(counts[4:].sum(), rel=0.05)
    assert made[:4, ~centre].sum() == pytest.approx(counts[:4, ~centre].sum(), rel=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("total", [3_000, 300_000])
@pytest.mark.parametrize("method", SMOOTH)
def test_pulls_of_smoothed_models_are_one(method, total):
    """Deviations from the true rate are as large as the stated errors."""
    truth, pulls = true_counts(total), []
    for seed in range(12):
        model = make_model(stack_of(counts_of(total, seed), LIVETIMES), method)
        pulls.append((predicted(model) - truth)[2:] / predicted(model, model.error)[2:])
    weights = np.broadcast_to(truth[2:], np.shape(pulls))
    assert np.average(np.square(pulls), weights=weights) ** 0.5 == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(("total", "times"), [(90_000, 5), (110_000, 4), (1_100_000, 3)])
@pytest.mark.parametrize("method", SMOOTH)
def test_smoothed_rate_step_by_step(method, total, times):
    """The rate is that of the documented formula, with a part of the field of view masked for a third of the time."""
    livetime = np.broadcast_to(np.reshape(LIVETIMES, (-1, 1, 1)), AXES.shape).astype(float)
    livetime[:, 4:17, 10:28] *= 2 / 3
    counts = np.rint(true_counts(total) * livetime / np.maximum(livetime.max(axis=(1, 2), keepdims=True), 1))
    counts *= total / counts.sum()
    stack = stack_of(np.rint(counts), livetime)
    model = make_model(stack, method)
    template = fit_spline([Cell(90.0, 0.0, stack)], RADIAL_TERMS).at(90.0, 0.0)[0].quantity
    expected = (template * stack.exposure).to_value("")
    weight = np.ones(AXES.shape)
    if method == "michi":
        weight[:, 4:17, 10:28] = 3 / 2
    above, below = (np.pad(weight * values, ((0, 0), (20, 20), (20, 20))) for values in (stack.counts, expected))
    for _ in range(times):
        above, below = (convolve(values, K5A[None]) for values in (above, below))
    above, below = (values[:, 20:-20, 20:-20] for values in (above, below))
    spread = np.pad(np.ones((1, 1)), 2 * times)
    for _ in range(times):
        spread = convolve(spread, K5A)
    k = 40 * (spread**2).sum()  # events over effective bins
    rate = (template * (above + k) / (below + k)).value
    ratio = (model.rate.quantity.value / rate)[2:]
    np.testing.assert_allclose(ratio, ratio[0, 0, 0], rtol=1e-9)


@pytest.mark.parametrize("method", [*SMOOTH, "spline"])
def test_single_pixel(method):
    """A field of view of one pixel gets the rate of its counts."""
    axes = CubeAxes(AXES.energy, [-2, 2] * u.deg, [-2, 2] * u.deg)
    counts = true_counts(20_000).sum(axis=(1, 2)).round().astype(int)[:, None, None]
    model = make_model(stack_of(counts, LIVETIMES, axes), method)
    populated = counts > 1000
    assert populated.sum() >= 2
    np.testing.assert_allclose(predicted(model)[populated], counts[populated], rtol=0.05)


def test_michi_differs_only_with_masks():
    """The two methods agree if the livetime is uniform in the field of view."""
    stack = stack_of(counts_of(), LIVETIMES)
    michi, classic = (make_model(stack, method) for method in ("michi", "classic"))
    assert michi.axes == classic.axes == AXES
    np.testing.assert_allclose(michi.rate.quantity.value, classic.rate.quantity.value, rtol=1e-12)


def test_default_is_the_earlier_name_of_classic():
    """The method `classic` is found by its earlier name, and models have the new one."""
    stack = stack_of(counts_of(), LIVETIMES)
    assert make_model(stack, "Default").method == "classic"
    assert make_model(stack).method == "spline"


@pytest.mark.parametrize("method", [*SMOOTH, "spline"])
def test_masked_parts_are_filled(method):
    """Bins inside a mask of all runs get the rate that the others suggest."""
    livetime = np.broadcast_to(np.reshape(LIVETIMES, (-1, 1, 1)), AXES.shape).astype(float)
    livetime[:, 6:15, 8:18] = 0
    truth = true_counts(200_000)
    stack = stack_of(np.random.default_rng(2).poisson(truth * (livetime > 0)), livetime)
    rate = make_model(stack, method).rate.quantity.value
    true_rate = truth[2:] / (AXES.bin_volume.value * np.reshape(LIVETIMES, (-1, 1, 1)))[2:]
    hole = (slice(0, 3), slice(6, 15), slice(8, 18))
    assert rate[2:][hole].sum() == pytest.approx(true_rate[hole].sum(), rel=0.05)


@pytest.mark.parametrize("method", [*SMOOTH, "spline"])
def test_spectrum_continues_where_nothing_was_measured(method):
    """The spectrum continues for one plane below the threshold, is constant farther below, and continues above."""
    livetimes = [0, 0, 900, 1500, 1500, 1500, 0]
    model = make_model(stack_of(counts_of(10**6, livetime_s=livetimes), livetimes), method)
    rate, volume = model.rate.quantity.value, AXES.bin_volume.value
    mean = (rate * volume).sum(axis=(1, 2)) / volume.sum(axis=(1, 2))
    whole = true_counts(10**6, [1.0] * 7)
    law = whole.sum(axis=(1, 2)) / volume.sum(axis=(1, 2))
    np.testing.assert_allclose(mean[[1, 6]] / mean[3], law[[1, 6]] / law[3], rtol=0.15)
    np.testing.assert_allclose(rate[0], rate[1])


@pytest.mark.parametrize("method", [*SMOOTH, "spline"])
def test_rates_are_positive_and_not_tiny(method):
    """A single event, or a single plane of events, gives rates that can be interpolated and drawn."""
    for counts in (np.zeros(AXES.shape), np.zeros(AXES.shape)):
        counts[3, 4, 5] = 1 if not counts.any() else 5
        model = make_model(stack_of(counts, LIVETIMES), method)
        rate = model.rate.quantity.value
        assert np.all(rate >= 1e-6 * rate.max(axis=(1, 2), keepdims=True) * (1 - 1e-9))
        assert np.all(np.isfinite(model.error.quantity.value))


def test_index_of_a_single_plane_of_counts():
    """If only one plane was measured, the others follow a power law of index 2.7, that of the background."""
    counts = np.zeros(AXES.shape)
    counts[2] = 5
    rate = make_model(stack_of(counts, [0, 0, 900, 0, 0, 0, 0]), "classic").rate.quantity.value.mean(axis=(1, 2))
    ratios = np.diff(np.log(rate[1:])) / np.diff(np.log(AXES.energy_centers.value[1:]))
    np.testing.assert_allclose(ratios, -2.7, atol=0.05)


def smooth_planes(values, times):
    return convolved(values, smoothing_kernel(times))


def smoothed_variance(variance, times):
    return convolved(variance, smoothing_kernel(times) ** 2)


def test_smoothing_keeps_sums_and_flat_planes():
    """Sums are kept inside, and the ratio of two smoothed planes is flat up to the edge if the two are proportional."""
    inner = np.zeros(AXES.shape)
    inner[:, 10:-10, 10:-10] = counts_of()[:, 10:-10, 10:-10]
    np.testing.assert_allclose(smooth_planes(inner, 5).sum(axis=(1, 2)), inner.sum(axis=(1, 2)))
    counts = true_counts()[2:]
    np.testing.assert_allclose(smooth_planes(3 * counts, 5) / smooth_planes(counts, 5), 3)


def test_smoothing_spreads_a_count_like_k5a():
    """One pass spreads a count within its plane."""
    counts = np.zeros(AXES.shape)
    counts[3, 10, 20] = 25
    smooth = smooth_planes(counts, 1)
    np.testing.assert_allclose(smooth[3, 8:13, 18:23], 25 * K5A, atol=1e-12)
    assert smooth[2].sum() == smooth[4].sum() == 0


def test_smoothing_is_the_convolution_of_scipy():
    """The passes act as one kernel, beyond the edges of a plane is zero, and planes may be smaller than the kernel."""
    from scipy.ndimage import convolve

    kernel = K5A / K5A.sum()
    twice = convolve(np.pad(kernel, 2), kernel, mode="constant")
    for shape in ((3, 6, 7), (2, 30, 41), (1, 51, 20)):
        counts = np.random.default_rng(8).poisson(1.5, shape).astype(float)
        expected = convolve(counts, twice[None], mode="constant")
        np.testing.assert_allclose(smooth_planes(counts, 2), expected, rtol=1e-12, atol=1e-12)
        expected = convolve(counts, twice[None] ** 2, mode="constant")
        np.testing.assert_allclose(smoothed_variance(counts, 2), expected, rtol=1e-12, atol=1e-12)
        assert np.all(smooth_planes(counts * (counts > 4), 2) >= 0)


@pytest.mark.slow
def test_variance_of_smoothed_counts():
    """The variance is that of many draws."""
    mean = true_counts(50_000)[3:5]
    draws = np.random.default_rng(7).poisson(mean, size=(4000, *mean.shape))
    variance = np.var([smooth_planes(draw.astype(float), 3) for draw in draws[:1500]], axis=0)
    ratio = variance / smoothed_variance(mean, 3)
    assert ratio.mean() == pytest.approx(1, abs=0.02)
    assert ratio.std() < 0.06


def test_smoothing_does_not_mirror_or_shift():
    """A gradient in DETX and DETY is reproduced where it is."""
    truth = np.exp(0.3 * AXES.detx_centers.value[None, :] + 0.5 * AXES.dety_centers.value[:, None])
    counts = np.random.default_rng(5).poisson(np.broadcast_to(200 * truth, AXES.shape))
    rate = make_model(stack_of(counts, [1000.0] * 7), "classic").rate.quantity.value[3]
    relative = rate / rate.mean() / (truth / truth.mean()) - 1
    assert np.abs(relative[5:-5, 5:-5]).max() < 0.12


def test_rate_and_error_need_the_axes_of_the_stack():
    """Rates and errors on other axes are refused; those in other units of a rate are converted."""
    model = make_model(stack_of(counts_of(), LIVETIMES), "unsmoothed")
    other = CubeAxes(AXES.energy * 2, AXES.dety, AXES.detx)
    elsewhere = Cube(other, model.rate.quantity)
    with raises("axes-mismatch"):
        BackgroundModel(elsewhere, model.stack, "classic")
    with raises("axes-mismatch"):
        BackgroundModel(model.rate, model.stack, "classic", error=elsewhere)
    in_tev = Cube(AXES, model.rate.quantity.to("s-1 TeV-1 sr-1"))
    converted = BackgroundModel(in_tev, model.stack, "classic", error=in_tev)
    for cube in (converted.rate, converted.error):
        assert cube.quantity.unit == model.rate.quantity.unit
        np.testing.assert_allclose(cube.quantity.value, model.rate.quantity.value)


def test_extrapolated_planes():
    """Planes without livetime are extrapolated; planes without counts are part of a fit."""
    counts = counts_of()
    counts[3] = 0
    for method, planes in (("classic", [0, 1]), ("unsmoothed", []), ("spline", [0, 1])):
        model = make_model(stack_of(counts, LIVETIMES), method)
        assert np.flatnonzero(model.extrapolated).tolist() == planes
        assert np.flatnonzero(~model.exposed).tolist() == [0, 1]


def test_exposed_energies_of_models():
    """The range of energy of models is that with livetime; that of several groups contains all of theirs."""
    edges, models = np.geomspace(0.1, 100, 7), []
    axes = CubeAxes(edges * u.TeV, [-1, 0, 1] * u.deg, [-1, 1, 2] * u.deg)
    for number, (low, high) in enumerate(((2, 5), (1, 4), (3, 4))):
        livetime = np.zeros(axes.shape, dtype=np.int64)
        livetime[low:high, 0, 1] = 7
        run = RunCounts(number, 1.0, None, 0, 0, 0, 0)
        stack = Stack(axes, "ALTAZ", np.zeros_like(livetime), livetime, (run,))
        model = BackgroundModel(Cube(axes, np.ones(axes.shape) * u.Unit("MeV-1 s-1 sr-1")), stack, "classic")
        np.testing.assert_allclose(model.energy_range.to_value("TeV"), edges[[low, high]])
        models.append(GroupModel(group_id=number, alt_pnt=70.0, az_pnt=0.0, model=model))
    together = ModelSet(models=tuple(models), groups=None, model_ids={})
    for group_ids, low, high in (([], 1, 5), ([0, 2], 2, 5), ([1], 1, 4)):
        np.testing.assert_allclose(together.energy_range(group_ids).to_value("TeV"), edges[[low, high]])


def test_no_counts_and_unknown_methods_are_errors():
    """The message lists the methods, without earlier names."""
    with raises("no-counts"):
        make_model(stack_of(np.zeros(AXES.shape), LIVETIMES))
    with raises("unknown-choice", "ring", "spline, classic, michi, unsmoothed"):
        make_model(stack_of(counts_of(), LIVETIMES), "ring")
