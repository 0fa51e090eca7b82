"""Rates as backgrounds of Gammapy, and back."""

import numpy as np
import pytest
from astropy import units as u
from numpy.testing import assert_allclose, assert_array_equal

pytest.importorskip("gammapy", reason="Gammapy needs a separate environment: make test-gammapy")
from gammapy.irf import Background2D, Background3D, EffectiveAreaTable2D
from gammapy.maps import MapAxis

from bgnb import Cube, read_background
from bgnb.cubes.cube import LEAST_RATE, RATE_UNIT
from bgnb.cubes.radial import cube_of_radial, radial_mean
from bgnb.files.background_tables import background_hdus
from bgnb.files.fits_writer import write_fits
from bgnb.gammapy import from_irf, to_irf
from tests.helpers.errors import raises
from tests.helpers.models import AXES, asymmetric_model

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of Gammapy and its dependencies
    pytest.mark.filterwarnings("ignore::UserWarning"),
]
FRAMES = {"ALTAZ": "ALTAZ", "RADEC": "RADEC", "REVERSE_LON_RADEC": "RADEC"}


@pytest.fixture
def rate():
    """An asymmetric rate with zeros."""
    y, x = np.meshgrid(AXES.dety_centers.value, AXES.detx_centers.value, indexing="ij")
    values = 1e-6 * AXES.energy_centers.value[:, None, None] ** -2.7 * np.exp(0.4 * x - 0.3 * y)
    values[1, 2, 3] = values[4] = 0
    return Cube(AXES, u.Quantity(values, RATE_UNIT))


def assert_equal_rates(one, other):
    """Assert that values are equal, and edges up to rounding, because Gammapy computes them from logarithms."""
    assert_array_equal(one.quantity.to_value(RATE_UNIT), other.quantity.to_value(RATE_UNIT))
    for name in ("energy", "dety", "detx"):
        assert_allclose(getattr(one.axes, name).value, getattr(other.axes, name).value, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("fovalign", FRAMES)
def test_round_trips_are_exact(rate, fovalign):
    """Rates are equal after a round trip, with their zeros and in their frame."""
    irf = to_irf(rate, fovalign)
    cube, frame = from_irf(irf)
    assert irf.fov_alignment.value == fovalign
    assert frame == FRAMES[fovalign]
    assert_equal_rates(cube, rate)
    assert_array_equal(to_irf(cube, fovalign).data, irf.data)


@pytest.mark.parametrize("fovalign", FRAMES)
def test_backgrounds_are_those_of_files(rate, tmp_path, fovalign):
    """Backgrounds are those that Gammapy reads from our files, and we read rates from those of Gammapy."""
    write_fits(tmp_path / "ours.fits", background_hdus(rate, keywords={}, fovalign=fovalign))
    read, irf = Background3D.read(tmp_path / "ours.fits", hdu="BACKGROUND"), to_irf(rate, fovalign)
    assert_allclose(irf.data, read.data, rtol=1e-7)
    assert read.fov_alignment == irf.fov_alignment
    for axis, other in zip(irf.axes, read.axes, strict=True):
        assert_allclose(axis.edges, other.edges, rtol=1e-12, atol=1e-12 * other.unit)
        assert (axis.name, axis.interp) == (other.name, other.interp)
    irf.write(tmp_path / "theirs.fits")
    cube, frame = read_background(tmp_path / "theirs.fits", hdu="BACKGROUND")
    converted, same_frame = from_irf(Background3D.read(tmp_path / "theirs.fits", hdu="BACKGROUND"))
    assert frame == same_frame == FRAMES[fovalign]
    assert_allclose(converted.quantity.value, np.where(cube.quantity.value == LEAST_RATE, 0, cube.quantity.value), rtol=1e-12)
    assert_allclose(converted.axes.detx.value, cube.axes.detx.value, atol=1e-12)


def test_gammapy_evaluates_the_rate(rate):
    """At the centre of a bin Gammapy finds the rate of the bin; in the reversed frame, with the opposite longitude."""
    energy, lat, lon = AXES.energy_centers[2], AXES.dety_centers[5], AXES.detx_centers[1]
    expected = rate.quantity[2, 5, 1].value
    for fovalign, sign in (("ALTAZ", 1), ("REVERSE_LON_RADEC", -1)):
        found = to_irf(rate, fovalign).evaluate(energy=energy, fov_lon=sign * lon, fov_lat=lat)
        assert found.to_value(RATE_UNIT) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("kind", [Background3D, Background2D])
def test_units_are_converted(rate, kind):
    """Units of axes and values are converted, in any byte order."""
    energy = MapAxis.from_edges(AXES.energy.to("GeV"), name="energy", interp="log")
    lon, lat = (
        MapAxis.from_edges(edges.to("arcmin"), name=name) for edges, name in ((AXES.detx, "fov_lon"), (AXES.dety, "fov_lat"))
    )
    if kind is Background3D:
        data = rate.quantity.to_value("TeV-1 min-1 deg-2").transpose(0, 2, 1).astype(">f8")
        axes = [energy, lon, lat.copy(name="fov_lat")]
        cube, _ = from_irf(Background3D(axes, data, "TeV-1 min-1 deg-2", fov_alignment="ALTAZ"))
        expected = rate
    else:
        theta = [0, 0.4, 1.1, 2.0] * u.deg
        values = u.Quantity(np.arange(1.0, 16).reshape(5, 3), "TeV-1 min-1 deg-2")
        cube, _ = from_irf(Background2D([energy, MapAxis.from_edges(theta.to("rad"), name="offset")], values))
        expected = cube_of_radial(AXES.energy, theta, values.to(RATE_UNIT))
    assert cube.quantity.unit == RATE_UNIT
    assert_allclose(cube.quantity.value, expected.quantity.to_value(RATE_UNIT), rtol=1e-10)
    for name in ("energy", "dety", "detx"):
        assert_allclose(
            getattr(cube.axes, name), getattr(expected.axes, name), rtol=1e-10, atol=1e-10 * getattr(cube.axes, name).unit
        )


def test_radial_backgrounds(rate, tmp_path):
    """Radial backgrounds are those of our files, and come back as the cubes that are read from files."""
    irf = to_irf(rate, kind="bkg_2d")
    theta, values = radial_mean(rate)
    assert_allclose(irf.axes["offset"].edges, theta, atol=1e-12 * u.deg)
    assert_allclose(irf.quantity[:4], values[:4], rtol=1e-12)
    write_fits(tmp_path / "ours.fits", background_hdus(rate, keywords={}, kind="bkg_2d"))
    assert_allclose(irf.data, Background2D.read(tmp_path / "ours.fits", hdu="BACKGROUND").data, rtol=1e-7)
    (cube, frame), (expected, _) = from_irf(irf), read_background(tmp_path / "ours.fits", hdu="BACKGROUND")
    assert frame == "ALTAZ"
    assert_allclose(cube.quantity.value, expected.quantity.value, rtol=1e-5)
    assert not cube.quantity[4].value.any()


def test_invalid_backgrounds_are_refused(rate):
    """The frame must be given, and kinds, frames and values must be valid."""
    with raises("invalid-argument", "fovalign"):
        to_irf(rate)
    with raises("unknown-choice", "GALACTIC"):
        to_irf(rate, "GALACTIC")
    with raises("unknown-choice", "bkg_4d"):
        to_irf(rate, "ALTAZ", kind="bkg_4d")
    for value, words in ((rate.quantity, ["Quantity"]), (None, ["NoneType"]), (asymmetric_model(), ["give its rate"])):
        with raises("invalid-argument", "rate", *words):
            to_irf(value, "ALTAZ")
    irf = to_irf(rate, "ALTAZ")
    for value in (None, rate, EffectiveAreaTable2D.from_parametrization(irf.axes["energy"].copy(name="energy_true"))):
        with raises("invalid-argument", "irf", type(value).__name__):
            from_irf(value)
    for unit in ("m2", ""):
        with raises("bad-unit", f"'{unit}'"):
            from_irf(Background3D(irf.axes, irf.data, unit, fov_alignment="ALTAZ"))
    irf.data[0, 0, 0] = np.nan
    with raises("invalid-value", "finite"):
        from_irf(irf)
