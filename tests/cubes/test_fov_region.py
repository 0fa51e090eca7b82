"""Regions of the field of view."""

import numpy as np
import pytest
from astropy import units as u

from bgnb import CubeAxes
from bgnb.cubes.fov_region import FovRegion
from tests.helpers.errors import raises
from tests.helpers.models import AXES

DETX, DETY = AXES.detx.value, AXES.dety.value
AREA = np.diff(DETY)[:, None] * np.diff(DETX)


def covered(text: str, axes: CubeAxes = AXES) -> np.ndarray:
    return FovRegion.from_text(text).coverage(axes)


def sampled(inside, n=300):
    """Fraction of points of a fine grid in each bin of `AXES` that lie inside."""
    x, y = ((edges[:-1, None] + np.diff(edges)[:, None] * (np.arange(n) + 0.5) / n).ravel() for edges in (DETX, DETY))
    return inside(x, y[:, None]).reshape(len(DETY) - 1, n, len(DETX) - 1, n).mean(axis=(1, 3))


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("Circle( 1.0,-.5 , 0.30)", "circle(1, -0.5, 0.3)"),
        ("ANNULUS(0,0,1,2)", "annulus(0, 0, 1, 2)"),
        (" box(1e-7, -0.1234567890123456, 3, 100) ", "box(0.0000001, -0.1234567890123456, 3, 100)"),
    ],
)
def test_region_is_read_and_printed(text, same):
    """Text in any case and spacing is read, and printed such that it can be read again, without rounding."""
    region = FovRegion.from_text(text)
    assert str(region) == same
    assert FovRegion.from_text(str(region)) == region
    assert hash(FovRegion.from_text(str(region))) == hash(region)


@pytest.mark.parametrize(
    "text",
    [
        *("circle(1, 2)", "circle(1, 2, 3, 4)", "circle(1, 2, x)", "circle 1, 2, 3", "circle(1, 2, 3", "(1, 2, 3)", ""),
        *("ellipse(1, 2, 3, 4)", "box(1, 2, 3, 4, 5)", "annulus(0, 0, 1)", "circle(nan, 0, 1)", "box(0, 0, inf, 1)"),
        *("circle(0, 0, 0)", "circle(0, 0, -1)", "box(0, 0, 1, -1)", "annulus(0, 0, -1, 2)", "annulus(0, 0, 0, 2)"),
        *("annulus(0, 0, 2, 1)", "annulus(0, 0, 2, 2)", "circle(0, 0, 1) circle(1, 1, 1)"),
    ],
)
def test_invalid_regions_are_refused(text):
    with raises("invalid-argument", text):
        FovRegion.from_text(text)


@pytest.mark.parametrize(
    "text",
    [
        *("circle(0, 0, 1e308)", "circle(1e9, 0, 1e9)", "box(1e308, 0, 1, 1)", "circle(0, -181, 180)", "box(0, 0, 1, 1e200)"),
        *("circle(0, 0, 1e-320)", "box(0, 0, 1, 1e-320)", "annulus(0, 0, 1e-9, 1)", "annulus(0, 0, 1, 1.0000000000000002)"),
    ],
)
def test_regions_with_large_rounding_errors_are_refused(text):
    """Numbers whose squares overflow or vanish, or whose areas would be noise, are refused, in a message of one line."""
    with raises("invalid-argument", "180 deg", "1e-06 deg") as caught:
        FovRegion.from_text(text)
    assert len(str(caught.value)) < 300
    for limit in ("circle(180, 0, 180)", "circle(-180, 0, 180)"):  # nearly half planes
        middle = np.add.outer(0 * DETY[:-1], DETX[:-1] + np.diff(DETX) / 2) * (1 if limit[7] == "1" else -1)
        np.testing.assert_allclose(covered(limit)[np.abs(middle) > 0.5], (middle > 0)[np.abs(middle) > 0.5], atol=0.02)


def test_region_outside_field_of_view():
    """A region that covers no part of the field of view, or only touches it, is refused where it is used."""
    for text in ("circle(5, 0, 1)", "circle(4, 0, 2)", "box(-5, 0, 2, 1)", "annulus(-1, 0.5, 20, 30)", "box(0, 3.5, 1, 1)"):
        with raises("invalid-argument", text, "field of view", "-4 to 2 deg", "-2 to 3 deg"):
            covered(text)


@pytest.mark.parametrize(
    ("text", "area"),
    [
        ("circle(-0.7, 0.3, 1.9)", np.pi * 1.9**2),
        ("circle(-0.7, 0.3, 0.02)", np.pi * 0.02**2),  # in one bin
        ("circle(0.6666, 0.1428571, 0.00001)", np.pi * 1e-10),
        ("annulus(-0.7, 0.3, 0.6, 1.9)", np.pi * (1.9**2 - 0.6**2)),
        ("circle(2, 0.4, 1.5)", np.pi * 1.5**2 / 2),  # half of it outside
        ("circle(2, 3, 1.5)", np.pi * 1.5**2 / 4),
        ("box(0.1, -0.3, 1.7, 0.9)", 1.7 * 0.9),
        ("box(2, -0.3, 1.7, 0.9)", 1.7 * 0.9 / 2),
        ("box(0, 0, 50, 50)", 30),
        ("circle(0, 0, 30)", 30),
    ],
)
def test_area_of_coverage(text, area):
    """The area of circles, annuli and boxes is exact, also at the edges of the field of view."""
    assert (covered(text) * AREA).sum() == pytest.approx(area, rel=1e-6, abs=0)


def test_coverage_of_each_bin():
    """The covered fraction of each bin is that of the points of a fine grid in it."""
    regions = {
        "circle(-0.7, 0.3, 1.9)": lambda x, y: np.hypot(x + 0.7, y - 0.3) < 1.9,
        "circle(1.9, 2.8, 0.8)": lambda x, y: np.hypot(x - 1.9, y - 2.8) < 0.8,
        "circle(-2, 4, 1.5)": lambda x, y: np.hypot(x + 2, y - 4) < 1.5,  # centre outside
        "annulus(-0.7, 0.3, 0.2, 1.3)": lambda x, y: (np.hypot(x + 0.7, y - 0.3) < 1.3) & (np.hypot(x + 0.7, y - 0.3) >= 0.2),
        "box(-0.7, 1.3, 2.3, 0.4)": lambda x, y: (abs(x + 0.7) < 1.15) & (abs(y - 1.3) < 0.2),
    }
    for text, inside in regions.items():
        np.testing.assert_allclose(covered(text), sampled(inside), atol=4e-3, err_msg=text)


def test_whole_and_empty_bins_are_exact():
    """Bins inside and outside have coverage 1 and 0, without rounding errors, and bins may have different widths."""
    axes = CubeAxes(AXES.energy, [-2, -1, 0, 3] * u.deg, [-3, 0, 1, 2, 7] * u.deg)
    coverage = covered("circle(0.5, -0.5, 1.2)", axes)
    assert coverage[1, 1] == 1  # the corners of this bin are 0.71 deg from the centre
    assert not coverage[:, 3].any()
    assert 0 < coverage[2, 0] < coverage[2, 1] < 1
    area = np.diff(axes.dety.value)[:, None] * np.diff(axes.detx.value)
    assert (coverage * area).sum() == pytest.approx(np.pi * 1.2**2, rel=1e-12, abs=0)
    np.testing.assert_array_equal(covered("box(1, -1.5, 2, 1)", axes), [[0, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]])


def test_outlines_enclose_the_region():
    """Outlines are closed; those of an annulus are two circles with NaN between them."""
    x, y = FovRegion.from_text("box(1, 2, 4, 1)").outline()
    assert (x.tolist(), y.tolist()) == ([-1, 3, 3, -1, -1], [1.5, 1.5, 2.5, 2.5, 1.5])
    x, y = FovRegion.from_text("circle(1, 2, 0.5)").outline()
    np.testing.assert_allclose(np.hypot(x - 1, y - 2), 0.5)
    assert (x[0], y[0]) == (pytest.approx(x[-1]), pytest.approx(y[-1]))
    assert len(x) > 50
    x, y = FovRegion.from_text("annulus(1, 2, 0.5, 0.75)").outline()
    (gap,) = np.flatnonzero(np.isnan(x))
    assert np.isnan(y[gap])
    for part, radius in ((slice(0, gap), 0.5), (slice(gap + 1, None), 0.75)):
        np.testing.assert_allclose(np.hypot(x[part] - 1, y[part] - 2), radius)
