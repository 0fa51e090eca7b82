"""Models averaged over a range of energies."""

from dataclasses import replace

import numpy as np
import pytest
from astropy import units as u

from bgnb import BackgroundModel, Cube, CubeAxes, compare
from bgnb.cubes.energy_range import in_energies, is_measured
from bgnb.cubes.rebin import rebin
from tests.helpers.errors import raises
from tests.helpers.models import AXES, asymmetric_model
from tests.helpers.true_models import counted, true_model


def varied(seed: int, unexposed: float = 0.0) -> BackgroundModel:
    """An asymmetric model with errors and a different livetime in each bin, zero in a part of them, and in the first plane."""
    model, random = asymmetric_model(method="unsmoothed"), np.random.default_rng(seed)
    livetime = random.integers(10**8, 10**10, AXES.shape) * (random.random(AXES.shape) >= unexposed)
    if unexposed:
        livetime[0] = 0
    stack = replace(model.stack, livetime_us=livetime, counts=model.stack.counts * (livetime > 0))
    rate = model.rate.quantity * random.uniform(0.5, 2, AXES.shape) + 1e-12 * model.rate.quantity.unit
    return replace(model, stack=stack, rate=Cube(AXES, rate), error=Cube(AXES, rate * random.uniform(0.1, 0.5, AXES.shape)))


def axes_of(first: int, last: int) -> CubeAxes:
    return CubeAxes(AXES.energy[[first, last]], AXES.dety, AXES.detx)


@pytest.mark.parametrize(("first", "last"), [(0, 5), (1, 3), (2, 5), (3, 4)])
@pytest.mark.parametrize("unexposed", [0.0, 0.2])
def test_range_agrees_with_rebin(first, last, unexposed):
    """The average is that of `rebin`, if bins that were only partly exposed count as not exposed."""
    model = varied(3, unexposed)
    found, expected = in_energies(model, first, last, whole=True), rebin(model, axes_of(first, last))
    assert found.axes == expected.axes
    np.testing.assert_array_equal(found.stack.counts, expected.stack.counts)
    np.testing.assert_allclose(found.stack.livetime_us, expected.stack.livetime_us, rtol=1e-12, atol=1)
    for name in ("rate", "error"):
        cubes = (getattr(which, name).quantity.value for which in (found, expected))
        np.testing.assert_allclose(*cubes, rtol=1e-12, err_msg=name)
    assert found.stack.runs == model.stack.runs
    assert (found.method, found.live_fraction) == (model.method, model.live_fraction)


def test_single_energy_bin_is_unchanged():
    """Values of a range of one bin are bit-identical to those of the model."""
    model = varied(4, 0.2)
    for number in range(5):
        for whole in (False, True):
            found = in_energies(model, number, number + 1, whole=whole)
            assert found.axes == axes_of(number, number + 1)
            for name in ("rate", "error"):
                np.testing.assert_array_equal(getattr(found, name).quantity[0], getattr(model, name).quantity[number])
            np.testing.assert_array_equal(found.stack.livetime_us[0], model.stack.livetime_us[number])
            np.testing.assert_array_equal(found.stack.counts[0], model.stack.counts[number])


def test_counts_and_rate_are_conserved():
    """Counts are added, the integral of the rate is kept, and rate · exposure is that of the exposed energies."""
    model = varied(5, 0.3)
    found = in_energies(model, 0, 4)
    np.testing.assert_array_equal(found.stack.counts[0], model.stack.counts[:4].sum(axis=0))
    np.testing.assert_array_equal(found.stack.livetime_us[0] > 0, (model.stack.livetime_us[:4] > 0).any(axis=0))
    assert 0 < np.count_nonzero((model.stack.livetime_us[:4] > 0).any(axis=0)) < AXES.shape[1] * AXES.shape[2]
    for iy, ix in np.ndindex(AXES.shape[1:]):
        events = sum(model.rate.quantity[e, iy, ix] * AXES.bin_volume[e, iy, ix] for e in range(4))
        expected = sum(model.rate.quantity[e, iy, ix] * model.stack.exposure[e, iy, ix] for e in range(4))
        rate = found.rate.quantity[0, iy, ix]
        assert (rate * found.axes.bin_volume[0, iy, ix]).to_value("s-1") == pytest.approx(events.to_value("s-1"), rel=1e-12)
        assert (rate * found.stack.exposure[0, iy, ix]).to_value("") == pytest.approx(expected.to_value(""), rel=1e-6)
    assert [is_measured(model, first, last) for first, last in ((0, 4), (0, 1), (1, 4), (4, 5))] == [False, False, True, True]


def test_range_without_counts():
    """Livetime is averaged over energy if the rate is zero at all energies of the range."""
    model = asymmetric_model(method="unsmoothed")
    rate = model.rate.quantity.copy()
    rate[:, 2, 3] = 0
    found = in_energies(replace(model, rate=Cube(AXES, rate)), 0, 3)
    width = np.diff(AXES.energy.value[:4])
    livetime = (model.stack.livetime_us[:3, 2, 3] * width).sum() / width.sum()
    assert found.rate.quantity[0, 2, 3] == 0
    assert found.stack.livetime_us[0, 2, 3] == round(livetime)


def test_range_of_a_true_model():
    """A true model stays one."""
    model = true_model()
    found = in_energies(model, 3, 9)
    width = np.diff(model.axes.energy.value)[3:9, None, None]
    np.testing.assert_allclose(
        found.rate.quantity.value[0], (model.rate.quantity.value[3:9] * width).sum(axis=0) / width.sum(), rtol=1e-12
    )
    assert found.is_true
    assert is_measured(model, 0, 12)
    assert found.live_fraction == model.live_fraction


@pytest.mark.parametrize(("first", "last"), [(-1, 3), (2, 2), (3, 2), (0, 6)])
def test_ranges_that_do_not_exist(first, last):
    for call in (lambda: in_energies(varied(1), first, last), lambda: is_measured(varied(1), first, last)):
        with raises("invalid-argument", "0 to 5", first, last):
            call()


@pytest.mark.parametrize("normalise", ["none", "cube", "plane"])
def test_comparison_in_a_range(normalise):
    """Models in a range keep their normalisation, exposures such that rate · exposure are counts, and the ratio of rates."""
    comparison = compare(varied(6), counterpart(varied(7)), normalise)
    found = comparison.in_energies(1, 4)
    for one, whole in ((found.first, comparison.first), (found.second, comparison.second)):
        np.testing.assert_array_equal(one.rate.quantity, in_energies(whole, 1, 4).rate.quantity)
        np.testing.assert_array_equal(one.error.quantity, in_energies(whole, 1, 4).error.quantity)
    for number, model in enumerate((found.first, found.second)):
        before = (comparison.first, comparison.second)[number].rate.quantity.value * comparison.exposures[number]
        np.testing.assert_allclose(
            model.rate.quantity.value[0] * found.exposures[number][0], before[1:4].sum(axis=0), rtol=1e-6
        )
    raw = compare(varied(6), counterpart(varied(7))).in_energies(1, 4)
    assert found.rate_ratio == pytest.approx(raw.rate_ratio, rel=1e-12)
    assert (found.normalise, found.notes) == (normalise, comparison.notes)
    if normalise == "plane":
        assert np.ptp(comparison.factors[1:4]) > 1e-3
        assert found.second.rate.quantity.value.shape == (1, 7, 9)
        integrals = found.plane_integrals()
        assert integrals[0] == pytest.approx(integrals[1], rel=1e-12)


def test_comparison_of_a_single_bin():
    """A range of one bin has the ratio, the pulls and the expected counts of this bin."""
    comparison = compare(varied(6, 0.2), counterpart(varied(7, 0.2)), "plane")
    for number in range(5):
        found = comparison.in_energies(number, number + 1)
        for name in ("ratio", "pull", "expected"):
            np.testing.assert_allclose(getattr(found, name)[0], getattr(comparison, name)[number], rtol=1e-9, err_msg=name)


def test_pulls_need_all_energies():
    """Bins that were not exposed at all compared energies of the range have no pull; the ratio is that of the rates."""
    model = counted(1)
    livetime, counts = model.stack.livetime_us.copy(), model.stack.counts.copy()
    livetime[5, 2, 3] = counts[5, 2, 3] = 0
    stack = replace(model.stack, livetime_us=livetime, counts=counts)
    comparison = compare(replace(model, stack=stack), counted(2, obs_id=2))
    assert np.isfinite(comparison.in_energies(6, 9).pull).all()
    partly = comparison.in_energies(3, 9)
    assert np.argwhere(np.isnan(partly.pull)).tolist() == [[0, 2, 3]]
    assert np.isfinite(partly.ratio).all()
    pulls = compare(true_model(), counted(3)).in_energies(0, 6).pull
    assert np.std(pulls) == pytest.approx(1, abs=0.15)
    assert abs(pulls.mean()) < 0.2


def test_measured_energies_are_compared():
    """Energies at which one model has no livetime take no part in a comparison; alone, they are not exposed."""
    comparison = compare(counted(1, first_bin=4), counted(2, obs_id=2))
    found, expected = comparison.in_energies(3, 9), comparison.in_energies(4, 9)
    assert found.axes == expected.axes == CubeAxes(comparison.axes.energy[[4, 9]], comparison.axes.dety, comparison.axes.detx)
    for name in ("ratio", "pull", "expected"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)
    assert np.flatnonzero(comparison.compared_energies(3, 9)).tolist() == [4, 5, 6, 7, 8]
    assert np.flatnonzero(comparison.compared_energies(2, 4)).tolist() == [2, 3]
    unexposed = comparison.in_energies(2, 4)
    assert not unexposed.exposed.any()
    assert np.isnan(unexposed.pull).all()
    with raises("invalid-argument", 3):
        comparison.in_energies(3, 3)


@pytest.mark.parametrize("normalise", ["none", "plane"])
def test_gap_in_compared_energies(normalise):
    """An energy without livetime inside a range is excluded, and rate · exposure are the counts of the others."""
    model = varied(6)
    livetime = model.stack.livetime_us * (np.arange(5) != 2)[:, None, None]
    gap = replace(model, stack=replace(model.stack, livetime_us=livetime, counts=model.stack.counts * (livetime > 0)))
    comparison = compare(gap, counterpart(varied(7)), normalise)
    found, width = comparison.in_energies(1, 5), np.diff(AXES.energy.value)
    used = [1, 3, 4]
    assert found.axes == axes_of(1, 5)
    for number, (one, whole) in enumerate(((found.first, comparison.first), (found.second, comparison.second))):
        expected = np.average(whole.rate.quantity.value[used], axis=0, weights=width[used])
        np.testing.assert_allclose(one.rate.quantity.value[0], expected, rtol=1e-12)
        predicted = (whole.rate.quantity.value * comparison.exposures[number])[used].sum(axis=0)
        np.testing.assert_allclose(one.rate.quantity.value[0] * found.exposures[number][0], predicted, rtol=1e-6)
        np.testing.assert_array_equal(one.stack.counts[0], whole.stack.counts[used].sum(axis=0))
    assert np.isfinite(found.pull).all()


def counterpart(model: BackgroundModel) -> BackgroundModel:
    """The model, as if of other runs, with another spectrum."""
    runs = tuple(replace(run, obs_id=run.obs_id + 1) for run in model.stack.runs)
    tilt = (AXES.energy_centers / u.TeV).value[:, None, None] ** 0.3
    rate, error = (Cube(AXES, cube.quantity * tilt) for cube in (model.rate, model.error))
    return replace(model, stack=replace(model.stack, runs=runs), rate=rate, error=error)
