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
)
from bgnb.cubes.compare import note_on_rates
from bgnb.plots.comparison_graphs import measured_planes, spectra_ratio
from tests.helpers.errors import raises
from tests.helpers.true_models import AXES, COARSE, FINE, TRUE_MODEL, counted, true_model


def scaled(model: BackgroundModel, factor) -> BackgroundModel:
    return replace(model, rate=Cube(model.axes, model.rate.quantity * np.reshape(factor, (-1, 1, 1))))


def test_ratio_and_bias_relative_to_first():
    """Ratio and bias have the first model as reference."""
    comparison = compare(true_model(), scaled(true_model(), 1.25))
    np.testing.assert_allclose(comparison.ratio, 1.25)
    assert repr(comparison).endswith("normalise='none', ratio 1.25)")
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


def with_runs(model: BackgroundModel, **changes) -> BackgroundModel:
    """Change what the runs of a model state."""
    return replace(model, stack=replace(model.stack, runs=tuple(replace(run, **changes) for run in model.stack.runs)))


def named(model: BackgroundModel, telescop: str) -> BackgroundModel:
    """Change the instrument of a model."""
    return with_runs(model, telescop=telescop)


def test_different_models_are_noted():
    """Instruments, axes and measured energies that differ are noted; equal ones and unknown instruments are not."""
    one, other = counted(1), counted(2, obs_id=2)
    assert not compare(named(one, "HESS"), named(other, "H.E.S.S.")).notes
    assert not compare(named(one, "HESS"), other).notes
    (note,) = compare(named(one, "HESS"), named(other, "VERITAS")).notes
    assert all(name in note for name in ("HESS", "VERITAS", "TELESCOP"))
    selected = with_runs(other, selection="MULTIP > 2")
    (note,) = compare(one, selected).notes
    assert "all events, the second from events with MULTIP > 2" in note
    assert not compare(selected, selected).notes
    (note,) = compare(with_runs(one, n_tels=3), with_runs(other, n_tels=4)).notes
    assert "(N_TELS): 3 and 4" in note
    assert not compare(one, with_runs(other, n_tels=4)).notes
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


def test_runs_of_other_days_are_not_shared():
    """Runs of two simulations, which are counted from 1, are independent; those of the same night, in pieces, are not."""

    def at(mjd):
        model = counted(1, seconds=20000.0)
        return replace(model, stack=replace(model.stack, runs=(replace(model.stack.runs[0], mjd=mjd),)))

    assert not compare(at(53000.0), at(53000.2)).independent
    assert not compare(at(None), at(53000.2)).independent
    assert compare(at(53000.0), at(53900.2)).independent
    assert len(compare(at(53000.0), at(53900.2)).pulls)


def test_reasons_for_no_pulls():
    """Shared runs, and too few expected counts, are given as reasons."""
    assert "share runs" in compare(counted(1), counted(1)).no_pulls
    assert "10 expected counts" in compare(true_model(), true_model()).no_pulls
    assert not compare(true_model(), counted(1)).no_pulls
