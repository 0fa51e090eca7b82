"""Equal-area map of the sky."""

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import Column

from bgnb.plots import sky_map
from bgnb.plots.pointing_map import to_plane
from tests.helpers.sky_map import aitoff, to_radec


def positions(number=400):
    """Random positions on the whole sky, and the poles."""
    rng = np.random.default_rng(3)
    ra, dec = rng.uniform(-30, 390, number), np.degrees(np.arcsin(rng.uniform(-1, 1, number)))
    return np.append(ra, [10.0, 200.0]), np.append(dec, [90.0, -90.0])


def area(x, y):
    """Area of a polygon."""
    return abs(np.sum(x * np.roll(y, 1) - y * np.roll(x, 1))) / 2


@pytest.mark.parametrize("centre", [0.0, 83.6, 270.0])
def test_projection_agrees_with_wcs(centre):
    """Positions are those of Astropy's AIT projection, with right ascension to the left."""
    ra, dec = positions()
    np.testing.assert_allclose(sky_map.to_map(ra, dec, centre), aitoff(centre).wcs_world2pix(ra, dec, 1), atol=1e-9)


@pytest.mark.parametrize("centre", [0.0, 150.0])
def test_inverse_of_projection(centre):
    """The inverse gives the same position, also near the edge, and NaN outside the map."""
    ra, dec = positions()
    found = to_radec(*sky_map.to_map(ra, dec, centre), centre)
    distance = SkyCoord(*found, unit="deg").separation(SkyCoord(ra, dec, unit="deg"))
    assert distance.deg.max() < 1e-5
    assert ((found[0] >= 0) & (found[0] < 360)).all()
    for x, y in ((163.0, 0.0), (0.0, -82.0), (140.0, 60.0)):
        assert np.isnan(to_radec(x, y, centre)).all()
    assert np.isfinite(to_radec(np.array([161.0, 0.0]), np.array([0.0, 80.0]), centre)).all()


def test_areas_are_those_on_the_sky():
    """Circles have the same area everywhere, also where their shape is distorted."""
    middle = SkyCoord([0.0, 60, 150, 170, 300] * u.deg, [0.0, 45, -30, 70, -80] * u.deg)[:, None]
    outline = middle.directional_offset_by(np.linspace(0, 360, 721)[:-1] * u.deg, 7 * u.deg)
    areas = [area(*sky_map.to_map(ra, dec, 20.0)) for ra, dec in zip(outline.ra.deg, outline.dec.deg, strict=True)]
    expected = 2 * np.pi * (1 - np.cos(np.radians(7))) * np.degrees(1) ** 2
    np.testing.assert_allclose(areas, expected, rtol=1e-4)
    np.testing.assert_allclose(np.pi * sky_map.HALF_WIDTH * sky_map.HALF_HEIGHT, 4 * np.pi * np.degrees(1) ** 2)


@pytest.mark.parametrize(("ra", "dec", "cuts"), [(181.0, 10.0, 2), (0.0, -20.0, 0), (40.0, 88.0, 1), (179.0, -89.0, 1)])
def test_circles_are_cut_at_the_edge(ra, dec, cuts):
    """A circle across the edge is cut there, also around a pole; no line crosses the map."""
    curve = sky_map.circles([ra], [dec], [5.0], "#000000")
    x, y = curve.x[:-1], curve.y[:-1]
    assert np.isnan([curve.x[-1], curve.y[-1]]).all()
    (gaps,) = np.nonzero(np.isnan(x))
    assert len(gaps) == cuts
    steps = np.hypot(np.diff(x), np.diff(y))
    assert np.nanmax(steps) < 4
    for gap in gaps:  # both ends lie on the edge, opposite to each other
        assert x[gap - 1] == -x[gap + 1]
        assert y[gap - 1] == y[gap + 1]
        assert (x[gap - 1] / sky_map.HALF_WIDTH) ** 2 + (y[gap - 1] / sky_map.HALF_HEIGHT) ** 2 == pytest.approx(1)
        assert x[gap - 1] * x[gap - 2] > 0
        assert x[gap + 1] * x[gap + 2] > 0
    good = np.isfinite(x)
    distance = SkyCoord(ra, dec, unit="deg").separation(SkyCoord(*to_radec(x[good], y[good]), unit="deg")).deg
    np.testing.assert_allclose(distance, 5.0, atol=0.02)


def test_path_with_points_on_the_edge():
    """Points exactly on the edge belong to the side from which the path comes."""
    for ra in ([170.0, 180, 190, 180, 170], [190.0, 180, 170], [150, 180, 150], [200, 180, 200]):
        x, _ = sky_map.project_path(ra, np.full(len(ra), 20.0))
        assert np.nanmax(np.abs(np.diff(x))) < 40, ra
    x, _ = sky_map.project_path([170.0, np.nan, 190.0, 350.0, 10.0], [0.0, 0, 0, 0, 0])
    assert len(x) == 5


def test_galactic_plane_and_graticule():
    """The plane has galactic latitude 0 at any centre; labels stand at their coordinates."""
    for centre in (0.0, 90.0, 210.0):
        curves = {curve.name: curve for curve in sky_map.background(centre) if curve.name}
        plane = curves["galactic plane"]
        good = np.isfinite(plane.x)
        b = SkyCoord(*to_radec(plane.x[good], plane.y[good], centre), unit="deg").galactic.b.deg
        np.testing.assert_allclose(b, 0, atol=0.1)
        assert np.nanmax(np.hypot(np.diff(plane.x), np.diff(plane.y))) < 15
        labels = {text: (x, y) for x, y, text in sky_map.labels(centre)}
        ra, dec = to_radec(*labels["4h"], centre)
        assert (ra, dec) == pytest.approx((60, 0))
        assert labels["+30°"][1] > 0 > labels["−30°"][1]
        assert {text for text in labels if text.endswith("°")} == {"+30°", "+60°", "−30°", "−60°"}
        assert all(sky_map.X_RANGE[0] < x < sky_map.X_RANGE[1] for x, _ in labels.values())


def test_central_meridian_near_positions():
    """The middle of the map is near the positions, also on both sides of the zero point."""
    assert sky_map.central_meridian([350.0, 355, 20]) == 0
    assert sky_map.central_meridian([83.6, np.nan, 90]) == 90
    assert sky_map.central_meridian([]) == 0


def test_columns_become_plain_arrays():
    """Columns of tables are projected to plain arrays, as Bokeh cannot draw columns."""
    column = Column([10.0, 20.0], unit="deg")
    projected = (*sky_map.to_map(column, column), *sky_map.project_path(column, column), *to_plane(column, column))
    assert {type(values) for values in projected} == {np.ndarray}
