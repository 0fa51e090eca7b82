"""Spectra at a position and in regions, and mean rates in rings and strips of the field of view."""

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
    TrueModel,
    compare,
    make_model,
    make_test_bg_cube_model,
    spectrum,
)
from bgnb.cubes.fov_region import FovRegion
from bgnb.cubes.profiles import fit_index, radial_profile, strip_profile
from tests.helpers.errors import raises
from tests.helpers.models import AXES, asymmetric_model
from tests.helpers.true_models import counted, true_model


@pytest.mark.parametrize("index", [1.5, 2.0, 2.7])
def test_spectral_index_of_rate(index):
    """In the centre, where σ(E) has no effect, the index of the rate is that of the counts plus one."""
    model = TrueModel(spectral_index=index)
    axes = CubeAxes(np.geomspace(0.1, 80, 13) * u.TeV, [-0.2, 0.2] * u.deg, [-0.25, 0.25] * u.deg)
    assert spectrum(true_model(axes, model), 0 * u.deg, 0 * u.deg).index == pytest.approx(index + 1, abs=2e-3)
    counts = np.random.default_rng(1).poisson(model.expected(axes, 80.0) * 1e5)
    run = RunCounts(1, 1e5, None, int(counts.sum()), 0, 0, 0)
    fitted = spectrum(
        make_model(Stack(axes, "ALTAZ", counts, np.full(axes.shape, 10**11), (run,)), "unsmoothed"), 0 * u.deg, 0 * u.deg
    )
    assert abs(fitted.index - index - 1) < 3 * fitted.index_error < 0.1


def test_spectra_are_taken_at_their_place():
    first, second = compare(true_model(), counted(2)).spectra(2.1 * u.deg, -3.3 * u.deg)
    np.testing.assert_array_equal(first.rate, true_model().rate.quantity[:, 1, 15].value)
    assert not first.error.any()
    assert (first.index_error, second.index_error > 0) == (0, True)
    stack = counted(2).stack
    error = np.sqrt(stack.counts[:, 1, 15]) / stack.exposure[:, 1, 15].value
    seen = stack.counts[:, 1, 15] > 0
    assert seen[:3].all()
    np.testing.assert_allclose(second.error[seen], error[seen])
    with raises("invalid-argument", "field of view"):
        spectrum(true_model(), 4.5 * u.deg, 0 * u.deg)
    for detx in (1.0, "here", 1 * u.m, [1] * u.deg, np.nan * u.deg):
        with raises("invalid-argument", "detx"):
            spectrum(true_model(), detx, 0 * u.deg)


def test_position_on_an_edge():
    """A position on an edge belongs to the bin above it; positions on the last edge lie outside."""
    model = true_model(CubeAxes(AXES.energy, [-3, -1, 0, 2] * u.deg, [-2, 1, 2, 3, 4] * u.deg))
    for detx, dety, (iy, ix) in ((-2, -3, (0, 0)), (1, -1, (1, 1)), (0.999, -1.001, (0, 0)), (3.999, 1.999, (2, 3))):
        np.testing.assert_array_equal(
            spectrum(model, detx * u.deg, dety * u.deg).rate, model.rate.quantity.value[:, iy, ix], err_msg=f"{detx}, {dety}"
        )
        assert model.axes.holds(detx * u.deg, dety * u.deg)
    for detx, dety in ((4, 0), (0, 2), (-2.001, 0), (0, -3.001)):
        assert not model.axes.holds(detx * u.deg, dety * u.deg)
        with raises("invalid-argument", "field of view"):
            spectrum(model, detx * u.deg, dety * u.deg)


def test_rings_and_their_errors():
    """Rings cover the whole plane, and their errors are those of their counts."""
    model = asymmetric_model(method="unsmoothed")
    for plane in (1, 3):
        profile = radial_profile(model, plane)
        offset = np.hypot(AXES.detx_centers.value, AXES.dety_centers.value[:, None])
        area = np.histogram(offset, profile.edges, weights=AXES.solid_angle.value)[0]
        counts = np.histogram(offset, profile.edges, weights=model.stack.counts[plane])[0]
        total = (model.rate.quantity.value[plane] * AXES.solid_angle.value).sum()
        assert np.nansum(profile.rate * area) == pytest.approx(total, rel=1e-9, abs=0)
        # Livetime is the same everywhere in this plane: the mean is counts over exposure, its error Poisson's.
        some = counts > 0
        np.testing.assert_allclose(profile.rate[some] / profile.error[some], np.sqrt(counts[some]))


def test_rings_exclude_unexposed_bins():
    model = asymmetric_model(method="unsmoothed")
    livetime, counts = model.stack.livetime_us.copy(), model.stack.counts.copy()
    livetime[:, :, :4], counts[:, :, :4] = 0, 0
    part = make_model(replace(model.stack, livetime_us=livetime, counts=counts), "unsmoothed")
    profile = radial_profile(part, 1)
    offset = np.hypot(AXES.detx_centers.value, AXES.dety_centers.value[:, None])[:, 4:]
    area = np.histogram(offset, profile.edges, weights=AXES.solid_angle.value[:, 4:])[0]
    rate = (model.rate.quantity.value[1] * AXES.solid_angle.value)[:, 4:]
    inside = area > 0
    np.testing.assert_allclose(
        profile.rate[inside], np.histogram(offset, profile.edges, weights=rate)[0][inside] / area[inside]
    )
    assert np.isnan(profile.rate[~inside]).all()
    for number_ in (-1, 5):
        with raises("invalid-argument", "0 to 4", number_):
            radial_profile(model, number_)


def test_profile_of_true_model():
    """A true model has a profile without errors, also at the lowest energy."""
    model = make_test_bg_cube_model(AXES, 80 * u.deg, TrueModel(gradient_x=0.1))
    profile = radial_profile(model, 0)
    assert profile.edges[:3].tolist() == [0, 0.5, 1]
    offset = np.hypot(AXES.detx_centers.value, AXES.dety_centers.value[:, None])
    ring = (offset >= 1) & (offset < 1.5)
    expected = np.average(model.rate.quantity.value[0][ring], weights=AXES.solid_angle.value[ring])
    assert profile.rate[2] == pytest.approx(expected, rel=1e-9, abs=0)
    assert profile.error.shape == profile.rate.shape
    assert not np.nan_to_num(profile.error).any()


def test_profiles_use_stated_error():
    """The error that a model states is the error of its spectra, and an upper limit for its rings."""
    counts_only = asymmetric_model()
    error = counts_only.rate.quantity * np.random.default_rng(4).uniform(0.01, 0.3, AXES.shape)
    stating = replace(counts_only, error=Cube(AXES, error))
    plain, stated = (spectrum(model, 1.5 * u.deg, -1.1 * u.deg) for model in (counts_only, stating))
    np.testing.assert_array_equal(stated.error, error.value[:, 1, 8])
    assert (stated.index, stated.index_error) == (plain.index, plain.index_error)
    profile = radial_profile(stating, 2)
    offset = np.hypot(AXES.detx_centers.value, AXES.dety_centers.value[:, None])
    ring = (offset >= 1.5) & (offset < 2)
    area = AXES.solid_angle.value[ring]
    assert profile.error[3] == pytest.approx((error.value[2][ring] * area).sum() / area.sum(), rel=1e-9, abs=0)
    np.testing.assert_array_equal(profile.rate, radial_profile(counts_only, 2).rate)


def partly_exposed(rate_seed: int = 5) -> BackgroundModel:
    """An asymmetric model with a different livetime in each bin, none in some, and none in the first plane."""
    model, random = asymmetric_model(method="unsmoothed"), np.random.default_rng(rate_seed)
    livetime = random.integers(10**8, 10**9, AXES.shape) * (random.random(AXES.shape) > 0.2)
    livetime[0] = 0
    stack = replace(model.stack, livetime_us=livetime, counts=model.stack.counts * (livetime > 0))
    return replace(model, stack=stack, rate=Cube(AXES, model.rate.quantity * random.uniform(0.5, 2, AXES.shape)))


def test_spectrum_of_a_single_bin():
    """The spectrum at a position is exactly rate and error of the bin, and the fit to its counts."""
    model, (iy, ix) = partly_exposed(), (3, 6)
    rate, x = model.rate.quantity.value[:, iy, ix], model.stack.exposure.to_value("s MeV sr")[:, iy, ix]
    use = x > 0
    assert use.any()
    assert not use.all()
    found = spectrum(model, AXES.detx_centers[ix], AXES.dety_centers[iy])
    np.testing.assert_array_equal(found.rate, rate)
    np.testing.assert_array_equal(found.error, np.where(use, np.sqrt(rate / np.where(use, x, 1)), np.nan))
    law = fit_index(AXES.energy_centers.value[use], (rate * x)[use], x[use])
    assert (found.index, found.index_error) == law
    left, right, low, high = *AXES.detx[ix : ix + 2].value, *AXES.dety[iy : iy + 2].value
    box = spectrum(model, region=f"box({(left + right) / 2}, {(low + high) / 2}, {right - left - 1e-6}, {high - low - 1e-6})")
    for name in ("rate", "error", "index", "index_error"):
        np.testing.assert_array_equal(getattr(box, name), getattr(found, name), err_msg=name)


def test_spectrum_of_a_region():
    """The mean over a region has the counts, exposures and errors of the exposed bins, one by one."""
    model, text = partly_exposed(), "circle(-0.7, 0.3, 1.9)"
    coverage, x = FovRegion.from_text(text).coverage(AXES), model.stack.exposure.to_value("s MeV sr")
    rates, errors = np.zeros(5), np.zeros(5)
    for e in range(5):
        total = variance = weight = 0.0
        for iy in range(7):
            for ix in range(9):
                if coverage[iy, ix] and (x[e, iy, ix] or e == 0):
                    w = coverage[iy, ix] * AXES.solid_angle.value[iy, ix]
                    rate = model.rate.quantity.value[e, iy, ix]
                    total, weight = total + w * rate, weight + w
                    variance += w**2 * rate / x[e, iy, ix] if e else np.nan
        rates[e], errors[e] = total / weight, np.sqrt(variance) / weight
    found = spectrum(model, region=text)
    np.testing.assert_allclose(found.rate, rates, rtol=1e-12)
    np.testing.assert_allclose(found.error, errors, rtol=1e-12)
    # The exposure of the index follows from the shape of the field of view at all energies together.
    counts, even = model.rate.quantity.value * x, rates[:, None, None] * x
    shape = counts.sum(axis=0) / np.where(even.sum(axis=0) > 0, even.sum(axis=0), 1)
    weights = coverage * AXES.solid_angle.value * ((x > 0) | (x == 0).all(axis=(1, 2), keepdims=True))
    weights /= weights.sum(axis=(1, 2), keepdims=True)
    variance = np.divide(weights**2 * shape, x, out=np.zeros(AXES.shape), where=x > 0).sum(axis=(1, 2))[1:]
    law = fit_index(AXES.energy_centers.value[1:], rates[1:] / variance, 1 / variance)
    assert (found.index, found.index_error) == pytest.approx(law, rel=1e-9, abs=0)
    stated = replace(model, error=Cube(AXES, model.rate.quantity * np.random.default_rng(2).uniform(0.1, 1, AXES.shape)))
    weights = coverage * AXES.solid_angle.value * ((x > 0) | (x == 0).all(axis=(1, 2), keepdims=True))
    mean = (weights * stated.error.quantity.value).sum(axis=(1, 2)) / weights.sum(axis=(1, 2))
    np.testing.assert_allclose(spectrum(stated, region=FovRegion.from_text(text)).error, mean, rtol=1e-12)


def test_errors_of_regions_are_poisson():
    """In a region of whole bins with the same livetime, rate and error are those of the summed counts."""
    model = asymmetric_model(method="unsmoothed")
    region = f"box({AXES.detx[[2, 6]].value.mean()}, {AXES.dety[[1, 4]].value.mean()}, {8 / 3 - 1e-9}, {15 / 7 - 1e-9})"
    counts = model.stack.counts[:, 1:4, 2:6].sum(axis=(1, 2))
    exposure = model.stack.exposure.value[:, 1:4, 2:6].sum(axis=(1, 2))
    found = spectrum(model, region=region)
    np.testing.assert_allclose(found.rate, counts / exposure, rtol=1e-6)
    np.testing.assert_allclose(found.error, np.sqrt(counts) / exposure, rtol=1e-6)
    law = fit_index(AXES.energy_centers.value, counts.astype(float), exposure)
    assert (found.index, found.index_error) == pytest.approx(law, rel=1e-6, abs=0)


def test_pulls_of_the_index_in_a_circle():
    """The index in a circle, which covers bins in part, deviates from the true one by its error, also with few counts."""
    axes = CubeAxes(np.geomspace(0.1, 80, 13) * u.TeV, AXES.dety, AXES.detx)
    edges = axes.energy.value
    spectrum_ = (edges[:-1] ** -1.6 - edges[1:] ** -1.6)[:, None, None] * axes.solid_angle.value
    pulls = []
    for seed in range(60):
        counts = np.random.default_rng(seed).poisson(4000 * spectrum_ / spectrum_.sum())
        run = RunCounts(1, 1e4, None, int(counts.sum()), 0, 0, 0)
        stack = Stack(axes, "ALTAZ", counts, np.full(axes.shape, 10**10), (run,))
        found = spectrum(make_model(stack, "unsmoothed"), region="circle(-0.7, 0.3, 1.3)")
        pulls.append((found.index - 2.6) / found.index_error)
    assert np.std(pulls) == pytest.approx(1, abs=0.3)
    assert np.mean(pulls) == pytest.approx(0, abs=0.4)


def test_bins_without_counts_in_a_region():
    """A plane without counts has rate and error zero, and its exposure contributes to the fitted index."""
    model = asymmetric_model(method="unsmoothed")
    counts = model.stack.counts.copy()
    counts[3] = 0
    empty = make_model(replace(model.stack, counts=counts), "unsmoothed")
    found, other = spectrum(empty, region="circle(-0.7, 0.3, 1.9)"), spectrum(model, region="circle(-0.7, 0.3, 1.9)")
    assert (found.rate[3], found.error[3]) == (0, 0)
    assert found.index > other.index


def test_region_of_a_true_model():
    """A true model is averaged over all bins, without error; a region and a position cannot be combined."""
    model, text = true_model(), "annulus(0.4, -0.2, 1, 2.5)"
    weights = FovRegion.from_text(text).coverage(model.axes) * model.axes.solid_angle.value
    found = spectrum(model, region=text)
    expected = (model.rate.quantity.value * weights).sum(axis=(1, 2)) / weights.sum()
    np.testing.assert_allclose(found.rate, expected, rtol=1e-12)
    assert (found.error.any(), found.index_error) == (False, 0)
    for place in ({"region": text, "detx": 0 * u.deg, "dety": 0 * u.deg}, {"detx": 0 * u.deg}, {"dety": 0 * u.deg}, {}):
        with raises("invalid-argument", "detx", "dety", "region"):
            spectrum(model, **place)
    with raises("invalid-argument", "circle(9, 9, 1)", "field of view"):
        spectrum(model, region="circle(9, 9, 1)")


def test_spectra_average_over_same_bins():
    """The true model is averaged over the bins that the other model was exposed in, so a common rate has ratio 1."""
    first = true_model()
    livetime = np.full(first.axes.shape, 10**9)
    livetime[:, :8, :] = 0
    livetime[0] = 0
    stack = Stack(
        first.axes, "ALTAZ", np.zeros(first.axes.shape, dtype=np.int64), livetime, (RunCounts(1, 1e3, None, 0, 0, 0, 0),)
    )
    comparison = compare(first, BackgroundModel(first.rate, stack, "classic"))
    one, other = comparison.spectra(region="circle(0.3, 0.2, 2)")
    np.testing.assert_allclose(one.rate, other.rate, rtol=1e-12)
    seen = spectrum(first, region="box(0.3, 2, 1, 4)")
    np.testing.assert_allclose(comparison.spectra(region="box(0.3, 0, 1, 8)")[0].rate[1:], seen.rate[1:], rtol=1e-12)
    whole = spectrum(first, region="circle(0.3, 0.2, 2)")
    assert whole.rate[0] == pytest.approx(one.rate[0], rel=1e-12, abs=0)  # nothing was exposed: all bins
    assert abs(whole.rate[1] / one.rate[1] - 1) > 1e-3


@pytest.mark.parametrize(("axis", "center", "half_width", "chosen"), [
    ("detx", 0.5, 0.8, [2, 3, 4]),  # centres of bins in DETY: −1.64, −0.93, −0.21, 0.5, 1.21, …
    ("detx", 0.9, 0.5, [3, 4]),
    ("detx", 0.5, 0.0, [3]),
    ("detx", -1.9, 0.1, [0]),
    ("detx", 99, 1, [6]),
    ("dety", -0.8, 0.6, [4, 5]),  # centres of bins in DETX: …, −1.67, −1, −0.33, 0.33, …
    ("dety", -9, 0.5, [0]),
])  # fmt: skip
def test_profile_along_an_axis(axis, center, half_width, chosen):
    """Each bin along the axis has the mean of the bins of the strip that were exposed, and its error."""
    model, plane = partly_exposed(), 2
    profile = strip_profile(model, plane, axis, center, half_width)
    rate, x, solid_angle = (
        (values if axis == "detx" else values.T)
        for values in (
            model.rate.quantity.value[plane], model.stack.exposure.to_value("s MeV sr")[plane], AXES.solid_angle.value
        )
    )  # fmt: skip
    np.testing.assert_array_equal(profile.edges, getattr(AXES, axis).value)
    for number in range(rate.shape[1]):
        used = [row for row in chosen if x[row, number] > 0]
        weight = sum(solid_angle[row, number] for row in used)
        if not used:
            assert np.isnan(profile.rate[number])
            continue
        mean = sum(solid_angle[row, number] * rate[row, number] for row in used) / weight
        variance = sum(solid_angle[row, number] ** 2 * rate[row, number] / x[row, number] for row in used)
        assert profile.rate[number] == pytest.approx(mean, rel=1e-12, abs=0)
        assert profile.error[number] == pytest.approx(np.sqrt(variance) / weight, rel=1e-12, abs=0)


def test_strips_of_other_models():
    """Profiles along an axis use the stated error, are defined where nothing was exposed, and exact for true models."""
    model = partly_exposed()
    unexposed = strip_profile(model, 0, "dety", 0)
    assert unexposed.rate.shape == (7,)
    assert np.isnan(unexposed.error).all()
    inside = np.abs(AXES.detx_centers.value) <= 0.5
    weights = AXES.solid_angle.value[:, inside]
    expected = (model.rate.quantity.value[0][:, inside] * weights).sum(axis=1) / weights.sum(axis=1)
    np.testing.assert_allclose(unexposed.rate, expected, rtol=1e-12)
    stated = strip_profile(replace(asymmetric_model(), error=asymmetric_model().rate), 1, "detx", 1, 1)
    np.testing.assert_array_equal(stated.error, stated.rate)
    assert not strip_profile(true_model(), 1, "detx", 0).error.any()
    with raises("unknown-choice", "energy", "detx, dety"):
        strip_profile(model, 0, "energy", 0)
    with raises("invalid-argument", "center", "nan"):
        strip_profile(model, 0, "detx", float("nan"))
    with raises("invalid-argument", "0 to 4", "5"):
        strip_profile(model, 5, "detx", 0)
