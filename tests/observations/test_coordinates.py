"""DETX and DETY against the frames of astropy."""

import warnings

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import AltAz, EarthLocation, SkyCoord, SkyOffsetFrame, angular_separation, get_sun
from astropy.time import Time
from astropy.utils import iers
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bgnb.observations.coordinates import (
    FieldOfView,
    Site,
    _unit_vectors,
    _ut1_and_pole,
    checked_fovalign,
    pointing_altaz,
    pointing_radec,
    separation,
    sun_altitude,
    tt_of,
)
from tests.helpers.errors import raises

SITE = Site(16.5002222, -23.2717778, 1835.0)
NORTHERN = Site(-17.89, 28.7619444, 2200.0)
TOLERANCE = 0.05 / 3600  # deg; documented accuracy: 1 arcsec


def astropy_detxy(view, sky, seconds):
    location = EarthLocation(lon=view.site.lon * u.deg, lat=view.site.lat * u.deg, height=view.site.height * u.m)
    frame = AltAz(obstime=Time(view.mjd_tt, format="mjd", scale="tt") + seconds * u.s, location=location)
    pointing = SkyCoord(view.ra_pnt * u.deg, view.dec_pnt * u.deg).transform_to(frame)
    offset = sky.transform_to(frame).transform_to(SkyOffsetFrame(origin=pointing))
    return -offset.lon.wrap_at(180 * u.deg).deg, offset.lat.deg


def events(view, rng, n=60, radius=5.0):
    pointing = SkyCoord(view.ra_pnt * u.deg, view.dec_pnt * u.deg)
    sky = pointing.directional_offset_by(rng.uniform(0, 360, n) * u.deg, radius * np.sqrt(rng.uniform(0, 1, n)) * u.deg)
    return sky, rng.uniform(-1800, 1800, n)


@pytest.mark.slow
@settings(max_examples=25)
@given(
    ra=st.floats(0, 360),
    dec=st.floats(-89.5, 89.5),
    mjd=st.floats(52000, 60500),
    site=st.sampled_from([SITE, NORTHERN]),
    seed=st.integers(0, 1000),
)
def test_detxy_altaz_against_astropy(ra, dec, mjd, site, seed):
    """Agree with astropy anywhere on the sky, at any time."""
    view = FieldOfView(ra, dec, mjd, site)
    sun = get_sun(Time(mjd, format="mjd", scale="tt"))
    assume(angular_separation(sun.ra, sun.dec, ra * u.deg, dec * u.deg) > 30 * u.deg)  # negligible deflection of light
    sky, seconds = events(view, np.random.default_rng(seed))
    detx, dety = view.detxy_altaz(sky.ra.deg, sky.dec.deg, seconds)
    expected_x, expected_y = astropy_detxy(view, sky, seconds)
    # Near the zenith, as the run passes it, an error of the frame rotates the direction of "up".
    zenith_distance = [90 - pointing_altaz(ra, dec, mjd + second / 86400, site)[0] for second in seconds]
    tolerance = TOLERANCE * np.maximum(1, 5 / np.maximum(zenith_distance, 0.01))
    assert np.all(np.abs(detx - expected_x) <= tolerance)
    assert np.all(np.abs(dety - expected_y) <= tolerance)


@pytest.mark.parametrize(
    ("ra", "dec", "mjd"),
    [
        (83.633, 21.514, 53343.93),  # Crab nebula, north
        (14.6, -23.2, 53201.13),  # passing within a degree of the zenith
        (350.0, 5.0, 53201.05),  # passing azimuth 0/360
    ],
)
def test_altaz_frame_during_a_run(ra, dec, mjd):
    """Agree with astropy during a run, also near the zenith and across azimuth 0."""
    view = FieldOfView(ra, dec, mjd, SITE)
    sky, seconds = events(view, np.random.default_rng(3), n=200)
    detx, dety = view.detxy_altaz(sky.ra.deg, sky.dec.deg, seconds)
    expected_x, expected_y = astropy_detxy(view, sky, seconds)
    np.testing.assert_allclose(detx, expected_x, atol=1 / 3600)
    np.testing.assert_allclose(dety, expected_y, atol=1 / 3600)


def test_detxy_radec_against_astropy():
    """Agree with astropy, also across RA 0."""
    view = FieldOfView(359.9, -60.0, 53343.9, SITE)
    sky, _ = events(view, np.random.default_rng(4))
    detx, dety = view.detxy_radec(sky.ra.deg, sky.dec.deg)
    offset = sky.transform_to(SkyOffsetFrame(origin=SkyCoord(359.9 * u.deg, -60 * u.deg)))
    np.testing.assert_allclose(detx, -offset.lon.wrap_at(180 * u.deg).deg, atol=1e-9)
    np.testing.assert_allclose(dety, offset.lat.deg, atol=1e-9)


def test_signs_of_detx_and_dety():
    """An event to the north-east has negative DETX, which increases as RA decreases, and positive DETY."""
    view = FieldOfView(100.0, -20.0, 53343.9, SITE)
    detx, dety = view.detxy_radec(np.array([101.0]), np.array([-19.5]))
    assert detx[0] < -0.9
    assert dety[0] > 0.45


def test_pointing_against_astropy():
    """Convert a pointing to altitude and azimuth as astropy does, and back."""
    for ra, dec, mjd in [(83.6, 21.5, 53343.93), (350.0, -42.6, 53201.07), (200.0, -80.0, 55000.2)]:
        location = EarthLocation(lon=SITE.lon * u.deg, lat=SITE.lat * u.deg, height=SITE.height * u.m)
        frame = AltAz(obstime=Time(mjd, format="mjd", scale="tt"), location=location)
        expected = SkyCoord(ra * u.deg, dec * u.deg).transform_to(frame)
        altaz = pointing_altaz(ra, dec, mjd, SITE)
        np.testing.assert_allclose(altaz, [expected.alt.deg, expected.az.deg], atol=0.01 / 3600)
        np.testing.assert_allclose(pointing_radec(*altaz, mjd, SITE), [ra, dec], atol=1e-9)


@pytest.mark.parametrize("dec", [-23.27, 30.0, -89.0])
def test_altitude_alone_is_the_same(dec):
    """The altitude computed without the azimuth agrees, also close to the zenith and to the pole, and below the horizon."""
    view = FieldOfView(100.0, dec, 53343.9, SITE)
    seconds = np.linspace(-43000, 43000, 500)
    np.testing.assert_allclose(view.pointing_altitude(seconds), view.pointing_altaz(seconds)[0], atol=1e-9)


@pytest.mark.parametrize("fovalign", ["ALTAZ", "RADEC"])
def test_sky_position_inverts_detxy(fovalign):
    """Invert `detxy` in both frames."""
    view = FieldOfView(359.0, 60.0, 53343.9, SITE)
    rng = np.random.default_rng(2)
    (detx, dety), seconds = rng.uniform(-40, 40, (2, 50)), rng.uniform(-900, 900, 50)
    ra, dec = view.sky_position(fovalign, detx, dety, seconds)
    assert np.all((ra >= 0) & (ra < 360))
    np.testing.assert_allclose(view.detxy(fovalign, ra, dec, seconds), [detx, dety], atol=1e-9)


@pytest.mark.parametrize("altaz", [(90.0, 130.0), (89.999, 130.0), (0.0, 10.0), (65.0, 300.0)])
def test_drifting_field_of_view(altaz):
    """A field of view that keeps altitude and azimuth is, at each time, that of the position which is there then."""
    rng = np.random.default_rng(3)
    (detx, dety), seconds = rng.uniform(-40, 40, (2, 50)), rng.uniform(-3000, 3000, 50)
    view = FieldOfView(*pointing_radec(*altaz, 53343.9, SITE), 53343.9, SITE, drift_altaz=altaz)
    ra, dec = view.sky_position("ALTAZ", detx, dety, seconds)
    np.testing.assert_allclose(view.detxy("ALTAZ", ra, dec, seconds), [detx, dety], atol=1e-9)
    np.testing.assert_array_equal(view.pointing_altaz(seconds), np.repeat(np.array(altaz)[:, None], 50, axis=1))
    np.testing.assert_array_equal(view.pointing_altitude(seconds), altaz[0])
    if altaz[0] == 90:
        return
    for number, time in enumerate(seconds / 86400):
        tracked = FieldOfView(*pointing_radec(*altaz, view.mjd_tt + time, SITE), view.mjd_tt + time, SITE)
        found = tracked.detxy("ALTAZ", ra[number], dec[number], np.zeros(1))
        np.testing.assert_allclose(np.ravel(found), [detx[number], dety[number]], atol=1e-4)


def test_altitude_of_sun_against_astropy():
    """Agree with astropy within 0.01 deg."""
    location = EarthLocation(lon=SITE.lon * u.deg, lat=SITE.lat * u.deg, height=SITE.height * u.m)
    for mjd in (53343.93, 55000.2, 57000.5):
        time = Time(mjd, format="mjd", scale="tt")
        expected = get_sun(time).transform_to(AltAz(obstime=time, location=location)).alt.deg
        assert sun_altitude(mjd, SITE) == pytest.approx(expected, abs=0.01)


def test_far_events_stay_outside():
    """Keep events with offsets up to 86 deg, which occur, outside the field of view."""
    view = FieldOfView(10.0, -30.0, 53201.1, SITE)
    detx, dety = view.detxy_altaz(np.array([190.0, 100.0]), np.array([30.0, -30.0]), np.zeros(2))
    assert np.all(np.hypot(detx, dety) > 40)


def test_earth_orientation_against_astropy():
    """Agree with astropy, also across leap seconds, and stay constant outside the table."""
    table = iers.IERS_A.open(iers.IERS_A_FILE)
    # Leap seconds end MJD 53735 and 57753.
    for mjd in (53201.13, 53735.75, 53736.0, 57753.01, 57753.99, 57754.5, 60000.0):
        dut1, xp, yp = _ut1_and_pole(mjd)
        time = Time(mjd, format="mjd", scale="utc")
        pole = [angle.to_value("arcsec") for angle in table.pm_xy(time)]
        assert dut1 == pytest.approx(table.ut1_utc(time).to_value("s"), abs=3e-4), mjd
        np.testing.assert_allclose(np.degrees([xp, yp]) * 3600, pole, atol=2e-3)
    known = table["MJD"][~np.isnan(table["UT1_UTC_A"])].value
    for outside, edge in ((known[0] - 5000, known[0]), (known[-1] + 5000, known[-1])):
        assert _ut1_and_pole(outside) == _ut1_and_pole(edge)
        row = table[table["MJD"].value == edge]
        np.testing.assert_allclose(np.degrees(_ut1_and_pole(edge)[1:]) * 3600, [row["PM_x_A"][0].value, row["PM_y_A"][0].value])


def test_separation_against_astropy():
    """Agree with astropy from milliarcseconds to opposite points."""
    rng = np.random.default_rng(6)
    lon, lat = rng.uniform(-180, 540, 200), rng.uniform(-90, 90, 200)
    other_lon, other_lat = rng.uniform(-180, 540, 200), rng.uniform(-90, 90, 200)
    other_lon[:50], other_lat[:50] = lon[:50] + 1e-5, lat[:50] * (1 - 1e-7)
    expected = np.degrees(angular_separation(*np.radians([lon, lat, other_lon, other_lat])))
    np.testing.assert_allclose(separation(lon, lat, other_lon, other_lat), expected, rtol=1e-9)
    assert separation(20, 30, 200, -30) == pytest.approx(180)


def test_fovalign_is_checked():
    """Accept the two frames in any case, and list them for other names."""
    assert [checked_fovalign(name) for name in ("altaz", "RaDec")] == ["ALTAZ", "RADEC"]
    with raises("unknown-choice", "fovalign", "GALACTIC", "ALTAZ, RADEC"):
        checked_fovalign("GALACTIC")


@pytest.mark.parametrize("site", [(361, 0, 0), (0, -90.5, 0), (0, 0, 10_000), (0, 0, -1000), (0, float("nan"), 0)])
def test_site_is_on_earth(site):
    """Refuse locations that are not on Earth."""
    with raises("bad-position"):
        Site(*site)


@pytest.mark.parametrize("site", [SITE, NORTHERN])
def test_pointing_during_a_long_run(site):
    """Altitude and azimuth through ten hours agree with Astropy."""
    view, seconds = FieldOfView(83.6, 22.0, 54000.3, site), np.linspace(-18000, 18000, 21)
    location = EarthLocation(lon=site.lon * u.deg, lat=site.lat * u.deg, height=site.height * u.m)
    frame = AltAz(obstime=Time(view.mjd_tt, format="mjd", scale="tt") + seconds * u.s, location=location)
    expected = SkyCoord(view.ra_pnt * u.deg, view.dec_pnt * u.deg).transform_to(frame)
    altitude, azimuth = view.pointing_altaz(seconds)
    assert np.ptp(altitude) > 20
    assert np.max(separation(azimuth, altitude, expected.az.deg, expected.alt.deg)) < 0.5 / 3600


def test_unit_vectors_of_many_positions_are_as_accurate_as_sine_and_cosine():
    rng = np.random.default_rng(2)
    ra = np.r_[0, 90, 180, -180, 270, 360, -360, 180, 0, 1e-9, rng.uniform(-360, 360, 10_000)]
    dec = np.r_[0, 0, 0, 0, 0, 0, 0, 90, -90, 1e-9, rng.uniform(-90, 90, 10_000)]
    lon, lat = np.radians(ra.astype(np.longdouble)), np.radians(dec.astype(np.longdouble))
    exact = np.array([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])
    np.testing.assert_allclose(_unit_vectors(ra, dec), exact.astype(float), rtol=0, atol=2e-15)


def test_table_of_leap_seconds_may_have_expired(monkeypatch):
    """Astropy warns of it, as in an environment that is some years old; the known leap seconds are used without a warning."""
    stale = iers.IERSStaleWarning("expired")
    monkeypatch.setattr("astropy.time.core._check_leapsec", lambda: warnings.warn(stale, stacklevel=1))
    assert tt_of(60000.0, format="mjd", scale="utc") == pytest.approx(60000 + 69.184 / 86400, abs=1e-9)
