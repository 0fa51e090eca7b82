"""What methods make of a stack: rates that predict its counts, smooth, and filled where nothing was seen."""

import numpy as np
import pytest
from astropy import units as u
from scipy.ndimage import convolve
from scipy.optimize import brentq

from bgnb import BackgroundModel, Cube, CubeAxes, ModelSet, RunCounts, Stack, make_model
from bgnb.cubes.model_set import GroupModel
from bgnb.cubes.smoothing import smooth_planes
from tests.helpers.errors import raises

AXES = CubeAxes(
    energy=np.geomspace(0.1, 100, 8) * u.TeV, dety=np.linspace(-3, 2, 24) * u.deg, detx=np.linspace(-2, 4, 31) * u.deg
)

SECONDS = 1_000_000


def stack_of(counts, livetime_s) -> Stack:
    livetime = np.broadcast_to(np.reshape(livetime_s, (-1, 1, 1)), AXES.shape)
    n = int(counts.sum())
    run = RunCounts(1, float(np.max(livetime_s)), None, n, 0, 0, 0)
    return Stack(AXES, "ALTAZ", counts.astype(np.int64), np.rint(livetime * SECONDS).astype(np.int64), (run,))


def lopsided_counts(seed=1, scale=40.0) -> np.ndarray:
    """Counts that fall with energy and rise to the upper right."""
    y, x = np.meshgrid(AXES.dety_centers.value, AXES.detx_centers.value, indexing="ij")
    energy = AXES.energy_centers.value[:, None, None]
    mean = scale * energy**-1.2 * np.exp(0.3 * x + 0.5 * y) / 4
    return np.random.default_rng(seed).poisson(mean)


LIVETIMES = [0, 0, 900, 1500, 1500, 1500, 1500]


def exposed_counts() -> np.ndarray:
    counts = lopsided_counts()
    counts[:2] = 0
    return counts


def test_unsmoothed_rate_times_exposure_is_counts_bin_by_bin():
    stack = stack_of(exposed_counts(), LIVETIMES)
    model = make_model(stack, "unsmoothed")
    seconds = np.array(LIVETIMES)[:, None, None]
    width = np.diff(AXES.energy.to_value("MeV"))[:, None, None]
    solid_angle = np.outer(np.diff(np.sin(AXES.dety.to_value("rad"))), np.diff(AXES.detx.to_value("rad")))
    predicted = model.rate.quantity.to_value("MeV-1 s-1 sr-1") * seconds * width * solid_angle
    np.testing.assert_allclose(predicted, stack.counts, rtol=1e-12)


@pytest.mark.parametrize("method", ["default", "michi"])
def test_each_plane_predicts_the_counts_that_it_holds(method):
    stack = stack_of(exposed_counts(), LIVETIMES)
    model = make_model(stack, method)
    predicted = (model.rate.quantity * model.stack.exposure).to_value("").sum(axis=(1, 2))
    observed = model.stack.counts.sum(axis=(1, 2))
    np.testing.assert_allclose(predicted[observed > 0], observed[observed > 0])
    assert model.stack.counts.sum() == stack.counts.sum()


@pytest.mark.parametrize("method", ["default", "michi"])
def test_rates_are_above_zero_even_where_nothing_was_seen(method):
    counts = exposed_counts()
    counts[-1] = 0
    counts[-2] = 0
    counts[-2, 3, 4] = 1
    model = make_model(stack_of(counts, LIVETIMES), method)
    rate = model.rate.quantity.value
    assert np.all(rate > 0)
    # The exposed plane in which no event was seen predicts one at the most.
    assert (model.rate.quantity[-1] * model.stack.exposure[-1]).to_value("").sum() <= 1 + 1e-9
    # Mean rates fall with energy also where they are extrapolated.
    assert np.all(np.diff(rate.mean(axis=(1, 2))) < 0)


def test_default_keeps_all_energies_and_michi_begins_at_the_lowest_threshold():
    stack = stack_of(exposed_counts(), LIVETIMES)
    assert make_model(stack, "default").axes == AXES
    michi = make_model(stack, "michi")
    assert np.array_equal(michi.axes.energy, AXES.energy[2:])
    # Where the livetime is the same in a whole plane, the two agree up to the variation of solid angle.
    np.testing.assert_allclose(michi.rate.quantity.value, make_model(stack, "default").rate.quantity[2:].value, rtol=2e-3)


def test_planes_without_livetime_follow_the_power_law_of_the_others():
    y, x = np.meshgrid(np.arange(23), np.arange(30), indexing="ij")
    shape = 1.0 + 0.02 * x + 0.05 * y
    volume = AXES.bin_volume.to_value("MeV sr")
    rate = 1e-3 * AXES.energy_centers.value[:, None, None] ** -2.5 * shape
    counts = np.rint(rate * volume * 1e8)
    livetimes = np.array([0, 0, 1, 1, 1, 1, 1]) * 1e8
    counts[:2] = 0
    model = make_model(stack_of(counts, livetimes))
    np.testing.assert_allclose(model.rate.quantity.value[:2].mean(axis=(1, 2)), rate[:2].mean(axis=(1, 2)), rtol=0.02)


def test_smoothing_keeps_sums_and_does_not_bend_the_rim():
    counts = lopsided_counts().astype(float)
    smooth = smooth_planes(counts, 5)
    np.testing.assert_allclose(smooth.sum(axis=(1, 2)), counts.sum(axis=(1, 2)))
    np.testing.assert_allclose(smooth_planes(np.ones(AXES.shape), 5), 1)


def test_smoothing_once_spreads_a_count_like_k5a_within_its_own_plane():
    counts = np.zeros(AXES.shape)
    counts[3, 10, 20] = 25
    smooth = smooth_planes(counts, 1)
    expected = [[0, 0, 1, 0, 0], [0, 2, 2, 2, 0], [1, 2, 5, 2, 1], [0, 2, 2, 2, 0], [0, 0, 1, 0, 0]]
    np.testing.assert_allclose(smooth[3, 8:13, 18:23], np.array(expected), atol=1e-12)
    assert smooth[2].sum() == smooth[4].sum() == 0


def test_smoothing_follows_the_truth_without_mirror_or_shift():
    truth = np.exp(0.3 * AXES.detx_centers.value[None, :] + 0.5 * AXES.dety_centers.value[:, None])
    counts = np.random.default_rng(5).poisson(np.broadcast_to(200 * truth, AXES.shape))
    rate = make_model(stack_of(counts, [1000.0] * 7)).rate.quantity.value[3]
    relative = rate / rate.mean() / (truth / truth.mean()) - 1
    assert np.abs(relative[5:-5, 5:-5]).max() < 0.12


@pytest.mark.parametrize(("total", "times"), [(90_000, 5), (110_000, 4), (900_000, 4), (1_100_000, 3)])
@pytest.mark.parametrize("method", ["default", "michi"])
def test_planes_are_smoothed_as_often_as_their_counts_ask_for_and_masks_are_filled_from_their_rim(method, total, times):
    """Step by step, with a part of the field of view masked in all runs."""
    counts = np.rint(exposed_counts() * (total / exposed_counts().sum())).astype(np.int64)
    mask = np.ones(AXES.shape, dtype=np.int64)
    mask[:, 4:17, 10:28] = 0
    counts = np.rint(counts * mask * (total / (counts * mask).sum())).astype(np.int64)
    whole = stack_of(counts * 0, LIVETIMES)
    stack = Stack(AXES, "ALTAZ", counts, whole.livetime_us * mask, whole.runs)
    model = make_model(stack, method)
    first = 2 if method == "michi" else 0
    assert model.axes.shape == (7 - first, 23, 30)
    kernel = np.array([[0, 0, 1, 0, 0], [0, 2, 2, 2, 0], [1, 2, 5, 2, 1], [0, 2, 2, 2, 0], [0, 0, 1, 0, 0]]) / 25
    for plane in range(2, 7):
        counted, exposed = stack.counts[plane].astype(float), stack.exposure[plane].value
        above, below = (counted, exposed) if method == "default" else (counted / (exposed + (exposed == 0)), mask[plane] * 1.0)
        for _ in range(times):
            above, below = convolve(above, kernel), convolve(below, kernel)
        reached = below > 0.1 * below.max()
        rate, made = np.where(reached, above / (below + (below == 0)), np.nan), model.rate.quantity.value[plane - first]
        assert (made * exposed).sum() == pytest.approx(counted.sum())
        seen = rate > 0.02 * np.nanmean(rate)
        ratio = made[seen] / rate[seen]
        np.testing.assert_allclose(ratio, ratio[0], rtol=1e-9)
        inside = np.argwhere(~reached)
        assert len(inside) > 50
        rim = np.argwhere(reached)
        for y, x in inside:
            distance = np.hypot(*(rim - (y, x)).T)
            nearest = rim[distance < distance.min() + 1e-9]
            assert np.isclose(made[y, x], made[tuple(nearest.T)], rtol=1e-9, atol=0).any()


@pytest.mark.parametrize("totals", [[0, 60, 40, 1, 3000, 5000, 9000], [0, 32, 16, 8, 4, 2, 1]])
def test_an_empty_plane_follows_the_nearest_planes_with_a_hundred_counts_together_or_all(totals):
    """The first two hold just as many, and the others lie on another power law; or all lie on one and hold fewer."""
    counts = np.zeros(AXES.shape, dtype=np.int64)
    counts[:, 11, 15] = totals
    model = make_model(stack_of(counts, [0] + [1.0] * 6))
    volume = AXES.bin_volume.value.sum(axis=(1, 2))
    mean = (model.rate.quantity * AXES.bin_volume).value.sum(axis=(1, 2)) / volume
    law = np.array(totals) / volume
    assert mean[0] == pytest.approx(law[1] ** 2 / law[2], rel=1e-6, abs=0)  # steps in log energy are equal


def test_an_empty_plane_follows_the_likeliest_power_law_of_two_planes_that_hold_all_counts_and_of_what_lies_between():
    counts = np.zeros(AXES.shape, dtype=np.int64)
    counts[:, 11, 15] = [0, 200, 0, 0, 50, 0, 0]
    model = make_model(stack_of(counts, [0] + [1.0] * 6))
    volume, used = AXES.bin_volume.value.sum(axis=(1, 2)), slice(1, 5)
    mean = (model.rate.quantity * AXES.bin_volume).value.sum(axis=(1, 2)) / volume
    x = np.log(AXES.energy_centers.value / AXES.energy_centers.value[0])
    seen = np.average(x[[1, 4]], weights=[200, 50])  # of the likeliest law, the mean log energy is the one observed
    index = brentq(lambda index: np.average(x[used], weights=volume[used] * np.exp(-index * x[used])) - seen, 0, 5)
    assert mean[0] == pytest.approx(250 / np.sum(volume[used] * np.exp(-index * x[used])), rel=1e-6, abs=0)


def test_rate_and_error_of_a_model_need_the_axes_of_its_stack():
    model = make_model(stack_of(exposed_counts(), LIVETIMES))
    other = CubeAxes(AXES.energy * 2, AXES.dety, AXES.detx)
    elsewhere = Cube(other, model.rate.quantity)
    with raises("axes-mismatch"):
        BackgroundModel(elsewhere, model.stack, "default")
    with raises("axes-mismatch"):
        BackgroundModel(model.rate, model.stack, "default", error=elsewhere)
    in_tev = Cube(AXES, model.rate.quantity.to("s-1 TeV-1 sr-1"))
    converted = BackgroundModel(in_tev, model.stack, "default", error=in_tev)
    for cube in (converted.rate, converted.error):
        assert cube.quantity.unit == model.rate.quantity.unit
        np.testing.assert_allclose(cube.quantity.value, model.rate.quantity.value)


def test_planes_that_were_not_measured_are_told_apart_as_extrapolated():
    """A spline is fitted to an exposed plane without counts; smoothing has nothing to go by."""
    counts = exposed_counts()
    counts[3] = 0
    counts[4] = 0
    counts[4, 5, 6] = 1
    for method, told in (("default", [0, 1, 3]), ("unsmoothed", []), ("spline", [0, 1])):
        model = make_model(stack_of(counts, LIVETIMES), method)
        assert np.flatnonzero(model.extrapolated).tolist() == told
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
        model = BackgroundModel(Cube(axes, np.ones(axes.shape) * u.Unit("MeV-1 s-1 sr-1")), stack, "default")
        np.testing.assert_allclose(model.energy_range.to_value("TeV"), edges[[low, high]])
        models.append(GroupModel(group_id=number, alt_pnt=70.0, az_pnt=0.0, model=model))
    together = ModelSet(models=tuple(models), groups=None, model_ids={})
    for group_ids, low, high in (([], 1, 5), ([0, 2], 2, 5), ([1], 1, 4)):
        np.testing.assert_allclose(together.energy_range(group_ids).to_value("TeV"), edges[[low, high]])


def test_a_stack_without_counts_and_an_unknown_method_are_refused():
    with raises("no-counts"):
        make_model(stack_of(np.zeros(AXES.shape), LIVETIMES))
    with raises("unknown-choice", "ring", "default, michi, spline, unsmoothed"):
        make_model(stack_of(exposed_counts(), LIVETIMES), "ring")


def test_a_plane_without_counts_has_the_shape_of_the_nearest_that_has_some():
    """Flat at low energies, rising with DETX at high ones."""
    counts = np.full(AXES.shape, 30)
    counts[3:] = np.arange(1, 31)
    counts[0] = counts[-1] = 0
    rate = make_model(stack_of(counts, [1000.0] * 7)).rate.quantity.value
    assert np.ptp(rate[0].mean(axis=0)) < 1e-9 * rate[0].mean()
    assert rate[-1][:, -1].mean() > 5 * rate[-1][:, 0].mean()


def test_where_one_plane_holds_all_counts_the_others_follow_a_power_law_of_index_2_7():
    counts = np.zeros(AXES.shape)
    counts[2] = 5
    rate = make_model(stack_of(counts, [0, 0, 900, 900, 0, 0, 0])).rate.quantity.value.mean(axis=(1, 2))
    ratios = np.diff(np.log(rate)) / np.diff(np.log(AXES.energy_centers.value))
    np.testing.assert_allclose(ratios, -2.7)


def test_planes_that_were_exposed_and_empty_are_predicted_without_bias():
    """Hundreds of sparse spectra of index 2.7: what the empty planes at the end predict, against the truth."""
    rng = np.random.default_rng(3)
    mean = 150 * AXES.energy_centers.value**-1.7
    predicted = true = 0.0
    for _ in range(60):
        planes = rng.poisson(mean)
        if planes[-1]:
            continue
        counts = np.stack([rng.multinomial(n, np.full(690, 1 / 690)).reshape(23, 30) for n in planes])
        model = make_model(stack_of(counts, [1000.0] * 7))
        predicted += (model.rate.quantity[-1] * model.stack.exposure[-1]).to_value("").sum()
        true += mean[-1]
    assert 0.5 < predicted / true < 2
