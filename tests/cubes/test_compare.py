"""Comparisons, on models whose differences are known."""

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
    spectrum,
    stack_runs,
)
from bgnb.cubes.compare import common_axes, note_on_rates, rebin
from bgnb.plots.comparison_graphs import measured_planes, spectra_ratio
from tests.helpers.errors import raises
from tests.helpers.true_models import AXES, TRUE_MODEL, counted, true_model


def scaled(model: BackgroundModel, factor) -> BackgroundModel:
    return replace(model, rate=Cube(model.axes, model.rate.quantity * np.reshape(factor, (-1, 1, 1))))


def test_ratio_and_bias_relative_to_first():
    """Ratio and bias have the first model as reference."""
    comparison = compare(true_model(), scaled(true_model(), 1.25))
    np.testing.assert_allclose(comparison.ratio, 1.25)
    assert [comparison.bias(zone) for zone in ("centre", "halfway", "rim")] == pytest.approx([0.25] * 3)


def test_normalisation_of_cube_and_planes():
    factors = np.linspace(0.5, 2, 12)
    by_plane = compare(true_model(), scaled(true_model(), factors), "plane")
    np.testing.assert_allclose(by_plane.factors, 1 / factors)
    np.testing.assert_allclose(by_plane.ratio, 1)
    by_cube = compare(true_model(), scaled(true_model(), factors), "cube")
    first, second = by_cube.plane_integrals()
    assert first.sum() == pytest.approx(second.sum(), rel=1e-9, abs=0)
    np.testing.assert_allclose(by_cube.ratio[3] / by_cube.ratio[0], factors[3] / factors[0])
    with raises("unknown-choice", "normalise", "all", "none, cube, plane"):
        compare(true_model(), true_model(), "all")


def test_normalisation_skips_empty_planes():
    """Exclude planes that were not exposed, or have no counts, from the normalisation."""
    second = counted(3, first_bin=4)
    comparison = compare(true_model(), second, "cube")
    assert comparison.exposed.tolist() == [False] * 4 + [True] * 8
    first_sum, second_sum = (integral[4:].sum() for integral in comparison.plane_integrals())
    assert first_sum == pytest.approx(second_sum, rel=1e-9, abs=0)
    assert np.isnan(comparison.pull[:4]).all()
    factors = compare(true_model(), counted(3, first_bin=4), "plane").factors
    assert factors[:4].tolist() == [1] * 4
    assert np.all(factors[4:] != 1)
    # Nor do those in which the second was exposed and saw nothing.
    counts = second.stack.counts.copy()
    counts[7] = 0
    dark = make_model(replace(second.stack, counts=counts), "unsmoothed")
    for pair in ((true_model(), dark), (dark, true_model())):
        assert np.flatnonzero(compare(*pair, "plane").factors == 1).tolist() == [0, 1, 2, 3, 7]
    # Nor do their rates for the spectral index.
    high = true_model(CubeAxes(AXES.energy[4:], AXES.dety, AXES.detx))
    place = 3 * u.deg, -3 * u.deg
    assert comparison.spectra(*place)[0].index == pytest.approx(spectrum(high, *place).index)


def test_pulls_against_true_model():
    """Pulls of counts against the true model follow a standard normal distribution."""
    comparison = compare(true_model(), counted(4))
    expected = TRUE_MODEL.expected(AXES, 80.0) * 2000
    np.testing.assert_allclose(comparison.expected, expected)
    np.testing.assert_allclose(comparison.pull, (comparison.second.stack.counts - expected) / np.sqrt(expected), atol=1e-9)
    pulls = comparison.pull[expected >= 10]
    assert np.array_equal(comparison.pulls, pulls)
    assert abs(pulls.mean()) < 3.5 / np.sqrt(len(pulls))
    assert abs(pulls.std() - 1) < 3.5 / np.sqrt(2 * len(pulls))


def test_pulls_of_two_counted_models():
    """Pulls of two models of counts take the exposures of both into account."""
    comparison = compare(counted(5), counted(6, seconds=500.0, obs_id=2))
    expected = TRUE_MODEL.expected(AXES, 80.0) * 500
    pulls = comparison.pull[expected >= 20]
    assert len(pulls) > 500
    assert abs(pulls.mean()) < 3.5 / np.sqrt(len(pulls))
    assert abs(pulls.std() - 1) < 3.5 / np.sqrt(2 * len(pulls))


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


def test_frames_must_agree():
    with raises("frame-mismatch", "ALTAZ", "RADEC"):
        compare(true_model(), true_model(model=replace(TRUE_MODEL, fovalign="RADEC")))


def test_normalisation_keeps_pulls():
    """Pulls and relative errors do not depend on the normalisation, here of a model four times as bright."""
    brighter = replace(TRUE_MODEL, trigger_rate=4 * TRUE_MODEL.trigger_rate)
    counts = np.random.default_rng(5).poisson(brighter.expected(AXES, 80.0) * 500)
    run = RunCounts(1, 500.0, None, int(counts.sum()), 0, 0, 0)
    second = make_model(Stack(AXES, "ALTAZ", counts, np.full(AXES.shape, 500_000_000), (run,)), "unsmoothed")
    comparison = compare(true_model(), second, "cube")
    pulls = comparison.pull[comparison.expected >= 10]
    assert len(pulls) > 500
    assert abs(pulls.std() - 1) < 3.5 / np.sqrt(2 * len(pulls))
    raw, scaled_ = (compare(true_model(), second, how).spectra(1 * u.deg, 1 * u.deg)[1] for how in ("none", "cube"))
    seen = raw.rate > 0
    np.testing.assert_allclose(raw.error[seen] / raw.rate[seen], scaled_.error[seen] / scaled_.rate[seen])
    assert (raw.index, raw.index_error) == pytest.approx((scaled_.index, scaled_.index_error))


def test_pulls_independent_of_order():
    """Bins are selected by the counts expected from both models, not by the noise of one, so the order does not bias pulls."""
    one, other = counted(11, seconds=300.0), counted(12, seconds=300.0, obs_id=2)
    there, back = compare(one, other), compare(other, one)
    chosen = there.expected >= 10
    assert np.array_equal(chosen, back.expected >= 10)
    np.testing.assert_allclose(there.pull[chosen], -back.pull[chosen])
    assert abs(there.pull[chosen].mean()) < 3.5 / np.sqrt(chosen.sum())
    few = compare(one, counted(13, seconds=5.0, obs_id=2))
    assert few.expected.max() < 5.0 * TRUE_MODEL.expected(AXES, 80.0).max() * 2
    np.testing.assert_allclose(compare(true_model(), one).pull[chosen], -compare(one, true_model()).pull[chosen])


def test_shared_runs_have_no_pulls():
    """Models with runs in common have neither pulls nor errors of the ratio."""
    assert np.isnan(compare(counted(1), counted(1)).pull).all()
    comparison = compare(counted(1), counted(1))
    assert not comparison.independent
    ratio, error = spectra_ratio(comparison, *comparison.spectra(0 * u.deg, 0 * u.deg))
    assert not error.any()  # bars of independent errors would mislead
    assert np.nanmax(ratio) == np.nanmin(ratio) == 1
    other = compare(counted(1), counted(2, obs_id=2))
    first, second = other.spectra(0 * u.deg, 0 * u.deg)
    ratio, error = spectra_ratio(other, first, second)
    both = np.hypot(first.error[0] / first.rate[0], second.error[0] / second.rate[0])
    assert error[0] == pytest.approx(ratio[0] * both)


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


def test_bias_of_exposed_square_zones():
    """The bias uses exposed energies only, and zones are square."""
    second = counted(3, first_bin=4)
    rate = second.rate.quantity.value.copy()
    rate[:4] = 1e3  # where it was not exposed
    changed = replace(second, rate=Cube(AXES, rate * second.rate.quantity.unit))
    assert compare(true_model(), changed).bias("centre") == pytest.approx(compare(true_model(), second).bias("centre"))
    corner = np.ones(AXES.shape)
    corner[:, 0, 0] = 3  # the corner belongs to the rim
    lifted = replace(true_model(), rate=Cube(AXES, true_model().rate.quantity * corner))
    comparison = compare(true_model(), lifted)
    y, x = (np.abs(centers.value) / 4 for centers in (AXES.dety_centers, AXES.detx_centers))
    rim = np.maximum(y[:, None], x) >= 0.85
    events = TRUE_MODEL.expected(AXES, 80.0)
    assert comparison.bias("rim") == pytest.approx(2 * events[:, 0, 0].sum() / events[:, rim].sum())
    assert comparison.bias("centre") == comparison.bias("halfway") == 0
    with raises("unknown-choice", "zone", "edge", "centre, halfway, rim"):
        comparison.bias("edge")


@pytest.mark.parametrize(("zone", "low", "high"), [("centre", 0, 0.25), ("halfway", 0.4, 0.65), ("rim", 0.85, 1)])
def test_bias_of_zone_integral(zone, low, high):
    """The bias is that of the integral over the zone, also in a wide field of view with bins at the limits of zones."""
    axes = CubeAxes([1, 2, 9] * u.TeV, np.linspace(-1, 1, 41) * u.deg, np.linspace(-4, 4, 81) * u.deg)
    y, x = (np.abs(centers.value / reach) for centers, reach in ((axes.dety_centers, 1), (axes.detx_centers, 4)))
    distance = np.maximum(y[:, None], x)
    first = true_model(axes)
    second = replace(first, rate=Cube(axes, first.rate.quantity * (1 + distance**2)))
    inside = (distance >= low) & (distance <= high)
    events = (first.rate.quantity * axes.bin_volume).value[:, inside]
    expected = (events * distance[inside] ** 2).sum() / events.sum()
    assert compare(first, second).bias(zone) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("zone", "limit", "edges"),
    [
        ("centre", 0.25, [-1, 0.2, 0.3, 1]),
        ("halfway", 0.4, [-1, 0.3, 0.5, 1]),
        ("halfway", 0.65, [-1, 0.5, 0.8, 1]),
        ("rim", 0.85, [-1, 0.7, 1]),
    ],
)
def test_zone_includes_its_limits(zone, limit, edges):
    """A bin with its centre on the limit of a zone belongs to the zone."""
    axes = CubeAxes([1, 2, 9] * u.TeV, edges * u.deg, [-0.1, 0.1] * u.deg)
    assert axes.dety_centers[1].value == limit
    first = true_model(axes)
    second = replace(first, rate=Cube(axes, first.rate.quantity * (1 + (axes.dety_centers.value == limit))[:, None]))
    assert compare(first, second).bias(zone) == pytest.approx(1)
    nothing = replace(first, rate=Cube(axes, 0 * first.rate.quantity))
    assert np.isnan(compare(nothing, second).bias(zone))


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


def test_two_true_models_have_no_pulls():
    """Two true models have neither expected counts nor pulls."""
    comparison = compare(true_model(), scaled(true_model(), 2))
    assert not comparison.expected.any()
    assert not len(comparison.pulls)


def test_nothing_to_normalise_by_is_said():
    stack = counted(3).stack
    late = np.arange(12)[:, None, None] >= 6
    low = make_model(replace(stack, counts=stack.counts * ~late, livetime_us=stack.livetime_us * ~late), "unsmoothed")
    with raises("nothing-to-compare"):
        compare(low, counted(4, first_bin=6, obs_id=2), "cube")


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


def test_pulls_use_stated_error():
    """Pulls use the error that a model states, scaled with its normalisation."""
    one, other = counted(31), counted(32, seconds=500.0, obs_id=2)
    error = true_model().rate.quantity * np.random.default_rng(33).uniform(0.1, 0.9, AXES.shape)
    stating = replace(scaled(other, 3), error=Cube(AXES, error))
    true, (rate1, rate2) = true_model().rate.quantity, (model.rate.quantity for model in (one, stating))
    np.testing.assert_allclose(compare(true_model(), stating).pull, ((rate2 - true) / error).value)
    cube = compare(true_model(), stating, "cube")
    assert 0.3 < cube.factors[0] < 0.4
    np.testing.assert_allclose(cube.pull, ((rate2 - true / cube.factors[0]) / error).value)
    # Of one that was counted, the rate that is common to both, over its exposure.
    counts, exposure = rate1 * one.stack.exposure + rate2 * other.stack.exposure, one.stack.exposure + other.stack.exposure
    variance = counts / exposure / one.stack.exposure + error**2
    np.testing.assert_allclose(compare(one, stating).pull, ((rate2 - rate1) / np.sqrt(variance)).to_value(""))


def test_ratio_uses_stated_error():
    """Against the true model, (ratio − 1) over its error is the pull if both use the rate of the reference."""
    made = counted(3, first_bin=4)
    error = true_model().rate.quantity * np.random.default_rng(34).uniform(0.1, 0.9, AXES.shape)
    stating = replace(made, error=Cube(AXES, error))
    comparison = compare(true_model(), stating, "plane")
    first, second = comparison.spectra(2.1 * u.deg, -3.3 * u.deg)
    ratio, ratio_error = spectra_ratio(comparison, first, second)
    pull = comparison.pull[:, 1, 15]
    seen = made.stack.counts[:, 1, 15] > 0
    assert seen[4:7].all()
    np.testing.assert_allclose((ratio - 1)[seen] / ratio_error[seen], pull[seen])
    # The spline states an error where it was not exposed too; still nothing is compared there.
    smooth = compare(true_model(), replace(true_model(), stack=made.stack, error=Cube(AXES, error)))
    first, second = smooth.spectra(2.1 * u.deg, -3.3 * u.deg)
    np.testing.assert_array_equal(second.error, error.value[:, 1, 15])
    np.testing.assert_array_equal(np.isfinite(spectra_ratio(smooth, first, second)[0]), np.arange(12) >= 4)


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


def test_rates_shown_where_measured():
    """Show exposed planes, also those without counts, and hide those that a method says it extrapolated."""
    stack = counted(3, first_bin=2).stack
    counts = stack.counts.copy()
    counts[6] = 0
    smoothed = make_model(replace(stack, counts=counts), "classic")
    for second, hidden in ((smoothed, [0, 1]), (replace(smoothed, method="spline"), [0, 1])):
        comparison = compare(true_model(), second)
        integrals, shown = comparison.plane_integrals(), measured_planes(comparison)
        np.testing.assert_array_equal(shown[0], integrals[0])
        assert np.flatnonzero(np.isnan(shown[1])).tolist() == hidden
        np.testing.assert_array_equal(np.delete(shown[1], hidden), np.delete(integrals[1], hidden))


#: 13 × 17 × 21 bins, of which 11 × 13 × 18 bins share only the ends.
FINE = CubeAxes(np.geomspace(0.1, 80, 14) * u.TeV, np.linspace(-4, 2, 18) * u.deg, np.linspace(-3, 4, 22) * u.deg)
COARSE = CubeAxes(np.geomspace(0.1, 80, 12) * u.TeV, np.linspace(-4, 2, 14) * u.deg, np.linspace(-3, 4, 19) * u.deg)


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


def named(model: BackgroundModel, telescop: str) -> BackgroundModel:
    """Change the instrument of a model."""
    return replace(model, stack=replace(model.stack, runs=tuple(replace(run, telescop=telescop) for run in model.stack.runs)))


def test_different_models_are_noted():
    """Instruments, axes and measured energies that differ are noted; equal ones and unknown instruments are not."""
    one, other = counted(1), counted(2, obs_id=2)
    assert not compare(named(one, "HESS"), named(other, "H.E.S.S.")).notes
    assert not compare(named(one, "HESS"), other).notes
    (note,) = compare(named(one, "HESS"), named(other, "VERITAS")).notes
    assert all(name in note for name in ("HESS", "VERITAS", "TELESCOP"))
    assert not compare(one, counted(2, obs_id=2, first_bin=1)).notes  # by a factor of 1.7
    (note,) = compare(one, counted(2, obs_id=2, first_bin=2)).notes
    assert "0.1 and 0.305 TeV" in note
    real = counted(2, first_bin=2)
    runs = tuple(replace(run, simulated=True) for run in real.stack.runs)
    simulated = replace(real, stack=replace(real.stack, runs=runs))
    assert not compare(true_model(), simulated).notes
    assert not compare(simulated, replace(simulated, method="other")).notes
    for first, second, which in ((simulated, real, "first"), (real, simulated, "second"), (true_model(), real, "first")):
        (note,) = compare(first, second).notes
        assert f"only the {which} model is simulated" in note
    note, *rest = compare(true_model(FINE), true_model(COARSE)).notes
    assert "energy" in note
    assert "13 bins from 0.1 to 80 TeV, and 11 bins" in note
    assert ["dety" in rest[0], "detx" in rest[1]] == [True, True]


def at_altitude(model: BackgroundModel, *altitudes: float | None) -> BackgroundModel:
    """Give a model runs at altitudes, the first with three times as much livetime as the others."""
    (run,) = model.stack.runs
    runs = tuple(
        replace(run, obs_id=run.obs_id + 10 * number, alt_pnt=altitude, az_pnt=350.0, livetime_s=1.0 if number else 3.0)
        for number, altitude in enumerate(altitudes)
    )
    return replace(model, stack=replace(model.stack, runs=runs))


def test_different_altitudes_are_noted():
    """Mean altitudes that differ by more than 0.03 in the cosine of the zenith angle are noted."""
    low = at_altitude(counted(1), 50.0, 46.0)
    (note,) = compare(low, at_altitude(counted(2, obs_id=2), 53.5)).notes
    assert "49.0 and 53.5 deg" in note
    assert not compare(low, at_altitude(counted(2, obs_id=2), 50.0)).notes
    assert not compare(low, at_altitude(counted(2, obs_id=2), None)).notes
    assert not compare(low, true_model()).notes[1:]


def test_rates_far_apart_are_noted():
    """Factors above 2 are noted in both directions, with the numbers; NaN and zero are not."""
    assert not note_on_rates({1: 1.9, 2: 0.55, 3: np.nan, 4: 0.0}, "one", "other", "run")
    (note,) = note_on_rates({1: 16.0, 2: 0.25, 3: 1.0}, "one", "other", "run")
    assert note.startswith("one is 0.25 to 16 times other: runs 1, 2;")
    assert "one is 0.062 times other: group 1;" in note_on_rates({1: 1 / 16}, "one", "other", "group")[0]
    comparison = compare(true_model(), scaled(true_model(), 16), "plane")
    assert comparison.rate_ratio == pytest.approx(16)


def test_michi_that_equals_default_is_noted():
    """The note appears only if the livetime is uniform, the models agree and were made from the same runs."""
    stack = counted(3, seconds=20000.0).stack
    one, other = (make_model(stack, method) for method in ("default", "michi"))
    (note,) = compare(one, other).notes
    assert f"{one.method} and michi" in note
    assert compare(other, one).notes
    assert not compare(one, one).notes
    assert not compare(scaled(one, 1.05), other).notes
    run = replace(stack.runs[0], obs_id=7)
    assert not compare(one, make_model(replace(stack, runs=(run,)), "michi")).notes
    livetime = stack.livetime_us.copy()
    livetime[:, 3, 5] //= 2
    masked = replace(stack, livetime_us=livetime)
    assert not compare(replace(one, stack=masked), replace(other, stack=masked)).notes


def test_reasons_for_no_pulls():
    """Shared runs, and too few expected counts, are given as reasons."""
    assert "share runs" in compare(counted(1), counted(1)).no_pulls
    assert "10 expected counts" in compare(true_model(), true_model()).no_pulls
    assert not compare(true_model(), counted(1)).no_pulls
