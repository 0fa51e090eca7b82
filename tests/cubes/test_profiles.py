"""Spectra at a position, and mean rates in rings about the centre of the field of view."""

from dataclasses import replace

import numpy as np
import pytest
from astropy import units as u

from bgnb import (
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
from bgnb.cubes.profiles import radial_profile
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
