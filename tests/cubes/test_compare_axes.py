"""Comparison of models on different axes."""

from dataclasses import replace

import numpy as np
import pytest
from astropy import units as u

from bgnb import (
    BackgroundModel,
    Cube,
    CubeAxes,
    RunCounts,
    Stack,
    compare,
    make_model,
    stack_runs,
)
from bgnb.cubes.rebin import common_axes, rebin
from tests.helpers.errors import raises
from tests.helpers.true_models import AXES, COARSE, FINE, counted, true_model


def test_fine_and_coarse_axes():
    """Compare models on finer and coarser axes on the coarser axes."""
    fine = CubeAxes(np.geomspace(0.1, 80, 25) * u.TeV, AXES.dety, np.linspace(-4, 4, 61) * u.deg)
    comparison = compare(true_model(fine), true_model())
    assert comparison.axes == AXES
    np.testing.assert_allclose(comparison.ratio, 1, rtol=1e-6)
    many = compare(true_model(), counted(7, axes=fine))
    assert many.second.stack.counts.sum() == counted(7, axes=fine).stack.counts.sum()
    np.testing.assert_allclose(
        (many.second.rate.quantity * many.second.stack.exposure).to_value(""), many.second.stack.counts, rtol=1e-6
    )


def test_first_energies_differ():
    """Compare from the higher of the two minimum energies."""
    short = CubeAxes(AXES.energy[3:], AXES.dety, AXES.detx)
    np.testing.assert_allclose(compare(true_model(), true_model(short)).ratio, 1, rtol=1e-6)
    last = CubeAxes(AXES.energy[-2:], AXES.dety, AXES.detx)
    assert compare(true_model(last), true_model()).ratio.shape == (1, 16, 20)


@pytest.mark.parametrize(
    ("other", "axis"),
    [
        (CubeAxes(AXES.energy * 1e4, AXES.dety, AXES.detx), "energy"),
        (CubeAxes(AXES.energy * 800, AXES.dety, AXES.detx), "energy"),  # they touch
    ],
)
def test_axes_without_overlap(other, axis):
    """Refuse axes that do not overlap."""
    rate = Cube(other, np.ones(other.shape) * true_model().rate.quantity.unit)
    with raises("axes-mismatch", axis):
        compare(true_model(), BackgroundModel(rate, stack_runs([], other), "true"))


def test_partly_exposed_coarse_bins():
    """A coarse bin is exposed only if all its fine bins are."""
    fine = CubeAxes(np.geomspace(0.1, 80, 25) * u.TeV, AXES.dety, AXES.detx)
    comparison = compare(true_model(), counted(7, axes=fine, first_bin=3))
    assert comparison.exposed.tolist() == [False, False] + [True] * 10
    assert comparison.bias("centre") == pytest.approx(0, abs=0.05)
    second = comparison.second
    kept = (second.rate.quantity * second.stack.exposure).to_value("")
    np.testing.assert_allclose(kept, second.stack.counts, rtol=1e-6)
    # Unequal livetimes within a coarser bin: rate · exposure is kept too.
    made = counted(8, axes=fine)
    livetime = made.stack.livetime_us.copy()
    livetime[4] //= 4
    uneven = make_model(replace(made.stack, livetime_us=livetime), "unsmoothed")
    second = compare(true_model(), uneven).second
    np.testing.assert_allclose((second.rate.quantity * second.stack.exposure).to_value(""), second.stack.counts, rtol=1e-6)


@pytest.mark.parametrize("name", ["energy", "dety", "detx"])
def test_edges_equal_within_rounding(name):
    """Edges that differ by rounding are equal; larger differences are refused."""
    edges = getattr(AXES, name)
    for factor in (1 + 3e-7, 1 - 3e-7):
        comparison = compare(true_model(), true_model(replace(AXES, **{name: edges * factor})))
        assert comparison.axes.shape == AXES.shape
        np.testing.assert_allclose(comparison.ratio, 1, rtol=1e-5)
        assert not comparison.notes
    moved = edges.value.copy()
    moved[3] *= 1.1
    comparison = compare(true_model(), true_model(replace(AXES, **{name: moved * edges.unit})))
    assert comparison.axes == AXES
    assert name in "".join(comparison.notes)
    np.testing.assert_allclose(comparison.ratio, 1, rtol=0.04)
    zero = np.where(edges.value == 0, 1e-13, edges.value)  # as sums of steps have it
    assert compare(true_model(), true_model(replace(AXES, **{name: zero * edges.unit}))).axes.shape == AXES.shape


def test_partly_overlapping_axes():
    """Average rates and add counts where axes overlap: the first extends lower in energy and DETY, the second in DETX."""
    rng = np.random.default_rng(21)
    fine = CubeAxes(np.geomspace(0.1, 10, 9) * u.TeV, np.linspace(-3, 2, 11) * u.deg, np.linspace(-4, 3, 22) * u.deg)
    coarse = CubeAxes(np.geomspace(1, 100, 5) * u.TeV, np.linspace(-1, 4, 6) * u.deg, np.linspace(-5, 2, 8) * u.deg)
    models = []
    for obs_id, axes in enumerate((fine, coarse)):
        counts = rng.integers(1, 50, axes.shape)
        run = RunCounts(obs_id, 100.0, None, int(counts.sum()), 0, 0, 0)
        livetime = rng.integers(50_000_000, 100_000_000, axes.shape)
        models.append(make_model(Stack(axes, "ALTAZ", counts, livetime, (run,)), "unsmoothed"))
    for first, second in (models, models[::-1]):
        comparison = compare(first, second)
        made = (comparison.first, comparison.second) if first is models[0] else (comparison.second, comparison.first)
        for name, edges in (("energy", coarse.energy[:3]), ("dety", coarse.dety[:4]), ("detx", coarse.detx[1:])):
            np.testing.assert_allclose(getattr(comparison.axes, name).value, edges.value, rtol=1e-9, atol=1e-9)
        inside = np.s_[4:8, 4:10, :18]
        counts, rates = models[0].stack.counts[inside], (models[0].rate.quantity * fine.bin_volume).value[inside]
        counts, events = (values.reshape(2, 2, 3, 2, 6, 3).sum(axis=(1, 3, 5)) for values in (counts, rates))
        np.testing.assert_array_equal(made[0].stack.counts, counts)
        np.testing.assert_allclose((made[0].rate.quantity * comparison.axes.bin_volume).value, events, rtol=1e-6)
        np.testing.assert_allclose(made[1].rate.quantity.value, models[1].rate.quantity.value[:2, :3, 1:], rtol=1e-9)
        np.testing.assert_array_equal(made[1].stack.counts, models[1].stack.counts[:2, :3, 1:])


def test_stated_error_on_coarser_axes():
    """On coarser axes, 2 × 2 × 3 bins in one and not centred, the stated error becomes an upper limit."""
    fine = CubeAxes(np.geomspace(0.1, 10, 9) * u.TeV, np.linspace(-3, 2, 11) * u.deg, np.linspace(-4, 3, 22) * u.deg)
    coarse = CubeAxes(fine.energy[::2], fine.dety[::2], fine.detx[::3])
    made = counted(41, axes=fine)
    error = Cube(fine, made.rate.quantity.max() * np.random.default_rng(42).uniform(0.1, 0.9, fine.shape))
    second = compare(true_model(coarse), replace(made, error=error)).second
    volume = fine.bin_volume.value
    events, volumes = (
        values.reshape(4, 2, 5, 2, 7, 3).sum(axis=(1, 3, 5)) for values in (error.quantity.value * volume, volume)
    )
    np.testing.assert_allclose(second.error.quantity.value, events / volumes, rtol=1e-9)
    by_hand = (second.rate.quantity - true_model(coarse).rate.quantity) / second.error.quantity
    pull = compare(true_model(coarse), replace(made, error=error)).pull
    np.testing.assert_allclose(pull, by_hand.value)
    assert compare(true_model(coarse), made).second.error is None


def test_edges_without_a_common_grid():
    """Models on unrelated grids are compared: the true model on both agrees within 3 %, and in total."""
    for first, second in ((true_model(FINE), true_model(COARSE)), (true_model(COARSE), true_model(FINE))):
        comparison = compare(first, second)
        assert comparison.axes == COARSE
        np.testing.assert_allclose(comparison.ratio, 1, rtol=0.03)
        assert comparison.ratio.std() < 0.01
        assert comparison.rate_ratio == pytest.approx(1, abs=1e-3)
    # Along each axis, the coarser of both.
    mixed = replace(FINE, energy=COARSE.energy)
    common = common_axes(mixed, replace(COARSE, energy=FINE.energy))
    assert common == COARSE


def test_power_law_is_divided_exactly():
    """A power law that is uniform in the field of view keeps its rates on any grid, which constant bins would not."""
    law = 2.7
    rates = []
    for axes in (FINE, COARSE):
        low, high = axes.energy[:-1].value, axes.energy[1:].value
        mean = (low ** (1 - law) - high ** (1 - law)) / (law - 1) / (high - low)
        rates.append(Cube(axes, np.broadcast_to(mean[:, None, None], axes.shape) * true_model().rate.quantity.unit))
    fine, coarse = (BackgroundModel(rate, stack_runs([], rate.axes), "true") for rate in rates)
    np.testing.assert_allclose(compare(fine, coarse).ratio, 1, rtol=1e-5)


def test_rebinning_conserves_counts():
    """Events and counts are conserved on an unrelated grid, and rate · exposure remains the counts."""
    made = counted(51, axes=FINE)
    moved = rebin(made, COARSE)
    assert moved.stack.counts.sum() == pytest.approx(made.stack.counts.sum(), rel=1e-3, abs=0)
    kept = (moved.rate.quantity * moved.stack.exposure).to_value("")
    np.testing.assert_allclose(kept, moved.stack.counts, atol=0.51)
    assert kept.sum() == pytest.approx(made.stack.counts.sum(), rel=1e-9, abs=0)
    late = rebin(counted(51, axes=FINE, first_bin=4), COARSE)
    covered = COARSE.energy[:-1] >= FINE.energy[4] * (1 - 1e-9)
    np.testing.assert_array_equal(late.exposed, covered)


def test_rates_of_zero_can_be_divided():
    """Rates that are zero or fall by many orders of magnitude are divided without NaN."""
    rate = true_model(FINE).rate.quantity.copy()
    rate[5:] = 0 * rate.unit
    rate[:, :, :6] *= 1e-30
    for seen in (rate, 0 * rate):
        moved = rebin(BackgroundModel(Cube(FINE, seen), stack_runs([], FINE), "true"), COARSE)
        total = (moved.rate.quantity * COARSE.bin_volume).sum()
        assert total.value == pytest.approx((seen * FINE.bin_volume).sum().value, rel=1e-9, abs=0)


def test_narrow_overlap_is_one_bin():
    """Axes that overlap in less than a bin of either are compared in the common range."""
    narrow = [replace(AXES, detx=edges * u.deg) for edges in ([-4, 1], [0, 3])]
    comparison = compare(true_model(narrow[0]), true_model(narrow[1]))
    assert comparison.axes.detx.value.tolist() == [0, 1]
    np.testing.assert_allclose(comparison.ratio, 1, rtol=0.5)
