"""Exclusion regions of any shape: the open part of each bin against circles and random points, and the events inside."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from scipy.spatial.transform import Rotation

from bgnb import CubeAxes, EventList, read_exclusions, stack_runs
from bgnb.cubes.exclusion_mask import SourceMask
from bgnb.cubes.sky_shapes import ClosedLines, SkyImage
from bgnb.observations.coordinates import separation
from tests.helpers.errors import raises
from tests.helpers.run_files import HESS, MJDREF

AXES = CubeAxes(
    energy=np.geomspace(0.2, 51.2, 5) * u.TeV, dety=np.linspace(-2, 1.6, 10) * u.deg, detx=np.linspace(-1.5, 2.1, 13) * u.deg
)
NOTHING = np.zeros(0)


def run_at(ra_pnt, dec_pnt, n=0, fovalign="RADEC") -> EventList:
    """Make a run of 35 min with events of uniform density in the axes."""
    rng = np.random.default_rng(1)
    time, energy = np.sort(rng.uniform(0, 2400, n)), 0.2 * 256 ** rng.uniform(0, 1, n)
    columns = {"time": time, "ra": np.zeros(n), "dec": np.zeros(n), "energy": energy}
    gti = np.array([[0.0, 900.0], [1200.0, 2400.0]])
    run = EventList(1, *columns.values(), MJDREF + 1400, gti, 2000.0, ra_pnt, dec_pnt, HESS, None)
    ra, dec = run.field_of_view.sky_position(fovalign, *random_positions(rng, n), time - run.middle)
    return replace(run, ra=ra, dec=dec)


def random_positions(rng, n):
    """Draw DETX and DETY of uniform density in the axes."""
    detx = rng.uniform(*AXES.detx.value[[0, -1]], n)
    return detx, np.degrees(np.arcsin(rng.uniform(*np.sin(AXES.dety.to_value("rad"))[[0, -1]], n)))


def mask_of(*shapes) -> SourceMask:
    return SourceMask(NOTHING, NOTHING, NOTHING, shapes=shapes)


def vertices(run, detx, dety):
    """Return positions of RADEC coordinates."""
    return np.stack(run.field_of_view.sky_position("RADEC", np.array(detx), np.array(dety), np.zeros(len(detx))), axis=1)


def regular_polygon(ra, dec, radius, n=720):
    sky = SkyCoord(ra, dec, unit="deg").directional_offset_by(np.arange(n) * 360 / n * u.deg, radius * u.deg)
    return np.stack([sky.ra.deg, sky.dec.deg], axis=1)


def image_of(ctype, crval, pixel, shape, inside) -> SkyImage:
    """Make an image, the first pixel of which is not at the corner of a block, of the positions inside a region."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.cdelt = ctype, crval, [-pixel, pixel * 1.2]
    wcs.wcs.crpix = [shape[1] * 0.5 + 0.5, shape[0] * 0.5 + 0.5]
    lon, lat = wcs.wcs_pix2world(*np.meshgrid(np.arange(shape[1]), np.arange(shape[0])), 0)
    on_sky = np.isfinite(lon) & (np.abs(lat) <= 90)
    sky = SkyCoord(
        np.where(on_sky, lon, 0), np.where(on_sky, lat, 0), unit="deg", frame="galactic" if "GLON" in ctype[0] else "icrs"
    )
    return SkyImage.from_array(~on_sky | inside(sky.icrs), wcs)


def check_against_random_points(run, mask, fovalign, n=250_000):
    """Compare the open fraction of each bin with that of random points at random good times."""
    rng = np.random.default_rng(3)
    detx, dety = random_positions(rng, n)
    seconds = np.where(rng.uniform(size=n) < 3 / 7, rng.uniform(0, 900, n), rng.uniform(1200, 2400, n)) - run.middle
    covered = mask.covers(*run.field_of_view.sky_position(fovalign, detx, dety, seconds))
    bins = [AXES.dety.value, AXES.detx.value]
    everywhere, open_ = (np.histogram2d(dety[rows], detx[rows], bins)[0] for rows in (slice(None), ~covered))
    (fraction,) = np.unique(mask.open_fraction(run, AXES, fovalign), axis=0)
    error = np.sqrt(fraction * (1 - fraction) / everywhere)
    assert np.all(np.abs(fraction - open_ / everywhere) < 5 * error + 1e-3)
    assert abs(np.sum((fraction - open_ / everywhere) * everywhere)) < 4 * np.sqrt(
        np.sum(fraction * (1 - fraction) * everywhere)
    )
    assert np.count_nonzero((fraction > 0) & (fraction < 1)) > 10


@pytest.mark.parametrize("fovalign", ["ALTAZ", "RADEC"])
def test_polygon_against_exact_circles(fovalign):
    """Polygons of many vertices leave as much of each bin open as circles, also where they overlap."""
    run = run_at(0.4, -24.0)
    (ra, dec), radius = vertices(run, [0.4, 0.9, 2.0, -1.0], [0.2, 0.5, -1.8, 1.1]).T, np.array([0.5, 0.4, 0.45, 0.06])
    circles = SourceMask(ra, dec, radius)
    polygons = mask_of(*(ClosedLines([regular_polygon(*circle)]) for circle in circles.circles))
    expected = circles.open_fraction(run, AXES, fovalign)
    np.testing.assert_allclose(polygons.open_fraction(run, AXES, fovalign), expected, atol=2e-4)
    mixed = SourceMask(ra[::2], dec[::2], radius[::2]) + mask_of(*polygons.shapes)
    np.testing.assert_allclose(mixed.open_fraction(run, AXES, fovalign), expected, atol=2e-4)
    assert 0.01 < 1 - expected.mean() < 0.2


@pytest.mark.parametrize("fovalign", ["ALTAZ", "RADEC"])
@pytest.mark.parametrize("dec_pnt", [-24.0, 89.0])
def test_polygons_against_random_points(fovalign, dec_pnt):
    """Follow a concave polygon, one with a hole, and one with an edge across the field, that overlap with a circle."""
    run = run_at(359.9, dec_pnt)
    concave = vertices(run, [-1.2, 0.3, 0.1, 1.4, -1.0], [-1.7, -1.5, -0.4, 0.9, 0.1])
    hole = [vertices(run, [0.5, 1.9, 1.9, 0.5], [0.3, 0.3, 1.5, 1.5]), vertices(run, [0.8, 1.5, 1.1], [0.6, 0.7, 1.3])]
    large = vertices(run, [1.7, 30.0, 30.0, 1.2], [-20.0, -20.0, 20.0, 21.0])
    shapes = [ClosedLines([concave]), ClosedLines(hole), ClosedLines([large])]
    circle = vertices(run, [0.2], [0.2]).T
    mask = SourceMask(*circle, np.array([0.4]), shapes=shapes)
    assert len(mask.near(run.ra_pnt, run.dec_pnt, 2.7)) == 4
    check_against_random_points(run, mask, fovalign)


@pytest.mark.parametrize("fovalign", ["ALTAZ", "RADEC"])
@pytest.mark.parametrize(
    ("ctype", "longitude", "pixel", "shape"),
    [
        (["RA---TAN", "DEC--TAN"], 0.0, 0.07, (41, 90)),
        (["RA---CAR", "DEC--CAR"], 180.0, 0.3, (501, 1200)),
        (["GLON-AIT", "GLAT-AIT"], 0.0, 0.4, (350, 900)),
        (["RA---TAN", "DEC--TAN"], 1.0, 1.1, (5, 7)),
    ],
)
def test_images_against_random_points(fovalign, ctype, longitude, pixel, shape):
    """Follow the excluded pixels of images, also across the ends of an all-sky map."""
    run = run_at(0.1, -24.0)
    center = SkyCoord(run.ra_pnt + 0.3, run.dec_pnt - 0.2, unit="deg")
    image = image_of(ctype, [longitude, 0 if "AIT" in ctype[0] or "CAR" in ctype[0] else -24], pixel, shape,
                     lambda sky: (sky.separation(center).deg < 1.1) ^ (sky.separation(center).deg < 0.3))  # fmt: skip
    check_against_random_points(run, mask_of(image), fovalign)
    again = pickle.loads(pickle.dumps(image))
    assert again.digest == image.digest
    assert len(pickle.dumps(image)) < 30_000


def test_events_in_polygon_against_plane():
    """Find the events inside a polygon, whose edges are straight in the tangent plane."""
    matplotlib_path = pytest.importorskip("matplotlib.path")
    run = run_at(100.0, 88.5, n=20_000)
    corners = vertices(run, [-1.2, 0.3, 0.1, 1.4, -1.0], [-1.7, -1.5, -0.4, 0.9, 0.1])
    to_equator = Rotation.from_euler("zy", [-run.ra_pnt, run.dec_pnt], degrees=True)

    def in_plane(ra, dec):
        x, y, z = to_equator.apply(SkyCoord(ra, dec, unit="deg").cartesian.xyz.value.T).T
        return np.stack([y / x, z / x], axis=1)

    expected = matplotlib_path.Path(in_plane(*corners.T)).contains_points(in_plane(run.ra, run.dec))
    found = ClosedLines([corners]).covers(run.ra, run.dec)
    assert np.count_nonzero(found != expected) <= 2  # at the edges
    assert 1000 < np.count_nonzero(found) < 10_000


def test_events_in_image_against_pixels():
    """Find the events in excluded pixels; those outside the image count."""
    run = run_at(100.0, -30.0, n=5000)
    rng = np.random.default_rng(2)
    image = image_of(["GLON-TAN", "GLAT-TAN"], [237.0, -15.5], 0.1, (20, 26), lambda sky: rng.uniform(size=sky.shape) < 0.4)
    wcs = WCS(image.header)
    column, row = SkyCoord(run.ra, run.dec, unit="deg").galactic.to_pixel(wcs)
    column, row = np.round(column).astype(int), np.round(row).astype(int)
    inside = (row >= 0) & (row < 20) & (column >= 0) & (column < 26)
    expected = np.zeros(len(run), dtype=bool)
    expected[inside] = image.excluded[row[inside], column[inside]]
    assert image.covers(run.ra, run.dec).tolist() == expected.tolist()
    assert 100 < np.count_nonzero(inside) < 4900
    assert 50 < np.count_nonzero(expected) < 2500


def test_pixels_off_the_sky_are_open():
    """Pixels beyond the edge of an all-sky projection are not excluded, and those on it are dropped."""
    image = image_of(["RA---AIT", "DEC--AIT"], [0, 0], 2.0, (90, 180), lambda sky: np.ones(sky.shape, dtype=bool))
    assert not image.excluded[0, 0]
    assert image.excluded[45, 90]
    assert 0.5 < image.excluded.mean() < 0.53  # of the rectangle around the ellipse of the sky
    boundary = image.boundary(179.0, 5.0, 3.0)
    assert len(boundary.edges) > 10
    assert np.isfinite(boundary.ra).all()


@pytest.mark.parametrize("projection", ["AIT", "MOL"])
def test_pixels_that_the_edge_of_the_sky_cuts(tmp_path, projection):
    """Positions in excluded pixels at the edge of an all-sky projection are excluded, as in the image itself."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.cdelt = (f"GLON-{projection}", f"GLAT-{projection}"), (-0.5, 0.5)
    wcs.wcs.crpix, wcs.wcs.crval = (360.5, 180.5), (0, 0)
    centre = SkyCoord(180, 2, unit="deg", frame="galactic")
    row, column = np.indices((360, 720))
    with np.errstate(invalid="ignore"):
        lon, lat = wcs.wcs_pix2world(column, row, 0)
    on_sky = np.isfinite(lon) & (np.abs(lat) <= 90)
    sky = SkyCoord(np.where(on_sky, lon, 0), np.where(on_sky, lat, -90), unit="deg", frame="galactic")
    excluded = on_sky & (sky.separation(centre).deg < 3)
    fits.PrimaryHDU((~excluded).astype(np.int16), wcs.to_header()).writeto(tmp_path / "mask.fits")
    rng = np.random.default_rng(1)
    points = centre.directional_offset_by(rng.uniform(0, 360, 4000) * u.deg, rng.uniform(0, 5, 4000) * u.deg)
    x, y = (np.round(each).astype(int) for each in wcs.wcs_world2pix(points.l.deg, points.b.deg, 0))
    expected = excluded[y, x]
    mask = read_exclusions(tmp_path / "mask.fits")
    found = mask.covers(points.icrs.ra.deg, points.icrs.dec.deg)
    assert np.count_nonzero(expected & ~found) < 0.01 * np.count_nonzero(expected)  # beyond the circle in place of a pixel
    assert np.count_nonzero(found & ~expected) < 0.1 * np.count_nonzero(expected)
    assert 1000 < np.count_nonzero(expected) < 3000
    assert 4 < len(mask.circles) < 20


@pytest.mark.parametrize("fovalign", ["ALTAZ", "RADEC"])
def test_rates_outside_a_polygon(fovalign):
    """Counts divided by livetime do not depend on the excluded polygon, in bins and in all of the field."""
    run = run_at(70.0, -30.0, n=400_000, fovalign=fovalign)
    mask = mask_of(ClosedLines([vertices(run, [-1.2, 0.3, 0.1, 1.4, -1.0], [-1.7, -1.5, -0.4, 0.9, 0.1])]))
    whole, outside = (stack_runs([run], AXES, fovalign, which) for which in (None, mask))
    assert outside.runs[0].events_in_mask == whole.counts.sum() - outside.counts.sum() > 10_000
    fraction = outside.livetime_us / whole.livetime_us
    expected = whole.counts * fraction
    # The events inside and outside are binomial.
    variance = whole.counts * fraction * (1 - fraction)
    pull = (outside.counts.sum(axis=0) - expected.sum(axis=0)) / np.sqrt(variance.sum(axis=0) + 1e-3)
    assert np.abs(pull).max() < 4.5
    assert abs(outside.counts.sum() - expected.sum()) < 3 * np.sqrt(variance.sum())
    assert np.count_nonzero(variance.sum(axis=0)) > 20


def test_circles_of_energy_ranges():
    """A circle counts in the energy bins that overlap with its range, for events and livetime."""
    run = run_at(70.0, -30.0, n=50_000)
    (ra, dec), radius = vertices(run, [0.0, 0.0], [0.0, 0.0]).T, np.array([0.9, 0.4])
    edges = AXES.energy.value  # 0.2, 0.8, 3.2, 12.8, 51.2
    mask = SourceMask(ra, dec, radius, e_min=np.array([0.0, edges[1]]), e_max=np.array([edges[1], 4.0]))
    fraction = mask.open_fraction(run, AXES, "RADEC")
    one, other = (
        SourceMask(ra[n : n + 1], dec[n : n + 1], radius[n : n + 1]).open_fraction(run, AXES, "RADEC") for n in (0, 1)
    )
    np.testing.assert_array_equal(fraction, [one[0], other[0], other[0], np.ones_like(one[0])])
    stack = stack_runs([run], AXES, "RADEC", mask)
    np.testing.assert_allclose(stack.livetime.value, fraction * run.livetime, atol=1e-6)
    plane = np.searchsorted(edges, run.energy) - 1
    limit = np.array([0.9, 0.4, 0.4, 0.0])[plane]
    inside = run.in_gti & (separation(run.ra, run.dec, ra[0], dec[0]) < limit)
    assert stack.runs[0].events_in_mask == np.count_nonzero(inside) > 100
    assert mask.covers(run.ra, run.dec).sum() > np.count_nonzero(inside)  # at any energy


def test_regions_out_of_view_cost_nothing():
    """Drop shapes that lie outside the field of view, and keep those that reach into it."""
    run = run_at(70.0, -30.0)
    corners = regular_polygon(70.0, -24.0, 3.0)
    image = image_of(["RA---TAN", "DEC--TAN"], [70, -23], 0.5, (12, 16), lambda sky: sky.dec.deg < -22)
    mask = mask_of(ClosedLines([corners]), image)
    assert len(mask.near(run.ra_pnt, run.dec_pnt, 2.9)) == 0
    assert len(mask.near(run.ra_pnt, run.dec_pnt, 3.1)) == 1
    assert len(mask.near(run.ra_pnt, run.dec_pnt, 4.0)) == 2


def test_content_tells_masks_apart():
    """Masks that differ in a vertex, a pixel, an energy or a coordinate have different contents."""
    corners = regular_polygon(10.0, 20.0, 1.0, n=5)
    moved = corners + np.array([[0, 0], [0, 0], [0, 1e-9], [0, 0], [0, 0]])
    images = [image_of(["RA---TAN", "DEC--TAN"], [70, d], 0.5, (12, 16), lambda sky: sky.dec.deg < -22) for d in (-24, -24.1)]
    one = np.ones(1)
    masks = [mask_of(ClosedLines([lines])) for lines in (corners, moved)] + [mask_of(image) for image in images]
    masks += [SourceMask(one, one, one), SourceMask(one, one, one, e_min=one)]
    assert len({str(mask.content) for mask in masks}) == 6


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([[[1, 2], [3, 4]]], "three vertices"),
        ([[[1, 2], [3, 4], [3, 91]]], "90 deg"),
        ([[[1, 2], [np.nan, 4], [3, 1]]], "finite"),
        ([[[0, 0], [90, 0], [180, 0], [270, 0]]], "40 deg"),
        ([[[0, 0], [50, 0], [100, 5]]], "40 deg"),
    ],
)
def test_invalid_lines_are_refused(lines, words):
    with raises("invalid-value", words):
        ClosedLines([np.array(line, dtype=float) for line in lines])


def test_image_without_sky_is_refused():
    wcs = WCS(naxis=2)
    with raises("invalid-value", "longitude"):
        SkyImage.from_array(np.ones((2, 3), dtype=bool), wcs)
