"""Mean rates in rings about the centre of the field of view."""

from dataclasses import replace

import numpy as np
import pytest
from astropy import units as u

import bgnb
from bgnb import BgnbError, TrueModel, make_test_bg_cube_model
from bgnb.profiles import radial_profile
from tests.models import AXES, lopsided_model


def test_rings_hold_the_whole_plane_and_their_error_is_that_of_their_counts():
    model = lopsided_model(method="unsmoothed")
    for plane in (1, 3):
        profile = radial_profile(model, plane, width=0.7)
        offset = np.hypot(AXES.detx_centers.value, AXES.dety_centers.value[:, None])
        area = np.histogram(offset, profile.edges, weights=AXES.solid_angle.value)[0]
        counts = np.histogram(offset, profile.edges, weights=model.stack.counts[plane])[0]
        total = (model.rate.quantity.value[plane] * AXES.solid_angle.value).sum()
        assert np.nansum(profile.rate * area) == pytest.approx(total, rel=1e-9, abs=0)
        # Livetime is the same everywhere in this plane: the mean is counts over exposure, its error Poisson's.
        some = counts > 0
        np.testing.assert_allclose(profile.rate[some] / profile.error[some], np.sqrt(counts[some]))


def test_rings_leave_out_what_was_not_exposed():
    model = lopsided_model(method="unsmoothed")
    livetime, counts = model.stack.livetime_us.copy(), model.stack.counts.copy()
    livetime[:, :, :4], counts[:, :, :4] = 0, 0
    part = bgnb.make_model(replace(model.stack, livetime_us=livetime, counts=counts), "unsmoothed")
    profile = radial_profile(part, 1, width=0.7)
    offset = np.hypot(AXES.detx_centers.value, AXES.dety_centers.value[:, None])[:, 4:]
    area = np.histogram(offset, profile.edges, weights=AXES.solid_angle.value[:, 4:])[0]
    rate = (model.rate.quantity.value[1] * AXES.solid_angle.value)[:, 4:]
    inside = area > 0
    np.testing.assert_allclose(
        profile.rate[inside], np.histogram(offset, profile.edges, weights=rate)[0][inside] / area[inside]
    )
    assert np.isnan(profile.rate[~inside]).all()
    for number_, width in ((-1, 0.5), (5, 0.5), (0, 0)):
        with pytest.raises(BgnbError, match="number must be 0 to 4, and width above 0"):
            radial_profile(model, number_, width)


def test_a_truth_has_a_profile_without_errors_also_at_the_lowest_energy():
    truth = make_test_bg_cube_model(AXES, 80 * u.deg, TrueModel(gradient_x=0.1))
    profile = radial_profile(truth, 0)
    assert profile.edges[:3].tolist() == [0, 0.5, 1]
    offset = np.hypot(AXES.detx_centers.value, AXES.dety_centers.value[:, None])
    ring = (offset >= 1) & (offset < 1.5)
    expected = np.average(truth.rate.quantity.value[0][ring], weights=AXES.solid_angle.value[ring])
    assert profile.rate[2] == pytest.approx(expected)
    assert profile.error.shape == profile.rate.shape
    assert not np.nan_to_num(profile.error).any()
