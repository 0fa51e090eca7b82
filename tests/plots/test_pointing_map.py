"""Polar map of pointings."""

import numpy as np
import pytest
from astropy import units as u

from bgnb import ObservationGroups
from bgnb.plots.pointing_map import group_at, pointing_map, to_plane, to_sky, zenith_limit
from bgnb.plots.view import Series

GROUPS = ObservationGroups([10, 30, 50, 90] * u.deg, [-40, 100, 300] * u.deg)


def area(polygon):
    """Area of a polygon."""
    return abs(np.sum(polygon.x * np.roll(polygon.y, 1) - polygon.y * np.roll(polygon.x, 1))) / 2


def test_directions_of_the_map():
    """North is at the top, east on the right, zenith in the middle; the inverse agrees."""
    x, y = to_plane([60.0, 60, 60, 90], [0.0, 90, 200, 77])
    np.testing.assert_allclose(x, [0, 30, 30 * np.sin(np.radians(200)), 0], atol=1e-12)
    np.testing.assert_allclose(y, [30, 0, 30 * np.cos(np.radians(200)), 0], atol=1e-12)
    alt, az = to_sky(x[:3], y[:3])
    np.testing.assert_allclose(alt, 60)
    np.testing.assert_allclose(az, [0, 90, 200], atol=1e-12)
    assert np.isnan(to_sky(80.0, 50.0)).all()


def test_positions_lie_in_their_groups():
    """The group at a position is that of the pointing; None outside all groups."""
    for alt, az in ((80, 0), (35, 359), (12, 250), (49, 99.9), (20, 310), (5, 0)):
        assert group_at(GROUPS, *map(float, to_plane(alt, az))) == GROUPS.group_id(alt, az)
    assert group_at(GROUPS, 70.0, 70.0) is None


def test_polygons_are_the_groups():
    """Each polygon lies within the edges of its group, and has its area."""
    graph = pointing_map(GROUPS, {}, dict.fromkeys(range(6), 1.0), "Livetime", "h")
    assert graph.is_map
    assert len(graph.polygons) == 6
    for polygon, row in zip(graph.polygons, GROUPS.table, strict=True):
        alt, az = to_sky(polygon.x, polygon.y)
        inside = alt < 90 - 1e-9
        assert (alt.min(), alt.max()) == pytest.approx((row["ALT_MIN"], row["ALT_MAX"]))
        wrapped = (az[inside] - row["AZ_MIN"] + 1e-9) % 360
        assert wrapped.max() == pytest.approx(row["AZ_MAX"] - row["AZ_MIN"])
        zenith = 90 - row["ALT_MIN"], 90 - row["ALT_MAX"]
        expected = np.radians(row["AZ_MAX"] - row["AZ_MIN"]) / 2 * (zenith[0] ** 2 - zenith[1] ** 2)
        assert area(polygon) == pytest.approx(expected, rel=2e-3)
    whole = pointing_map(ObservationGroups([30, 60, 90] * u.deg, [0, 360] * u.deg), {}, {0: 1.0, 1: 2.0}, "", "")
    for polygon, expected in zip(whole.polygons, (60**2 - 30**2, 30**2), strict=True):
        assert area(polygon) == pytest.approx(np.pi * expected, rel=2e-3)


def test_values_and_marks_of_merged_groups():
    """Merged groups show and mark the model that contains them; other groups without a value are grey."""
    model_ids = {2: 2, 4: 2, 3: 3, 1: 1}
    graph = pointing_map(
        GROUPS, model_ids, {2: 7.0, 3: np.nan, 5: 3.0}, "Livetime", "h", chosen=4, others=[5], max_zenith=90.0,
        details={2: {"runs": "12"}},
    )  # fmt: skip
    values = [polygon.value for polygon in graph.polygons]
    np.testing.assert_array_equal(values, [np.nan, np.nan, 7, np.nan, 7, 3])
    assert [polygon.marked for polygon in graph.polygons] == [False, False, True, False, True, False]
    dashed = [curve for curve in graph.curves if curve.dash == "dashed"]
    assert len(dashed) == 1
    np.testing.assert_array_equal(dashed[0].x[:-1], graph.polygons[5].x)
    details = [polygon.details for polygon in graph.polygons]
    assert details[4] == {
        "group": "4, merged into 2", "altitude": "50° to 90°", "azimuth": "−40° to 100°", "Livetime": "7 h", "runs": "12"
    }  # fmt: skip
    assert details[3]["Livetime"] == "none"
    assert len({tuple(each) for each in details}) == 1
    assert {text for *_, text in graph.texts if text.isdecimal()} == {"2", "4", "5"}


@pytest.mark.parametrize("values", [(1, 2), (3,), (0, 5), (7, 9), (11, 13)])
def test_ticks_of_few_runs(values):
    """The colour bar of numbers of runs has whole numbers, and starts at zero for small ones."""
    colours = pointing_map(GROUPS, {}, dict(enumerate(values)), "Runs per group", "").colours
    levels = colours.levels()
    assert levels == [round(level) for level in levels]
    assert (colours.low, colours.high >= max(values)) == (11 if min(values) > 10 else 0, True)


def test_radius_contains_groups_and_runs():
    """The radius is a multiple of 10 deg that contains all groups with a value and all runs."""
    assert zenith_limit(GROUPS, [4, 5]) == 40
    assert zenith_limit(GROUPS, [2]) == 60
    assert zenith_limit(GROUPS, []) == 40
    runs = Series("runs", *to_plane(np.array([25.0, np.nan]), np.array([200.0, 0])), "points")
    assert zenith_limit(GROUPS, [2], [runs]) == 70
    graph = pointing_map(GROUPS, {}, {2: 1.0}, "Runs", "", series=(runs,))
    assert graph.x_range == graph.y_range
    assert 70 < graph.x_range[1] < 85
    for polygon in graph.polygons:
        assert np.hypot(polygon.x, polygon.y).max() <= 70 + 1e-9
    shown = pointing_map(GROUPS, {}, {4: 1.0}, "Runs", "")
    assert len(shown.polygons) == 2  # the others are lower than the map
    assert {text for *_, text in shown.texts if not text.isdecimal()} == {"N", "E", "S", "W", "10°", "20°", "30°"}


@pytest.mark.parametrize(("values", "stretch"), [((1, 29), "linear"), ((1, 31), "log"), ((0, 31), "linear"), ((), "linear")])
def test_stretch_of_the_colours(values, stretch):
    """Colours are logarithmic only for positive values of a wide range."""
    colours = pointing_map(GROUPS, {}, dict(enumerate(values)), "Livetime", "h").colours
    assert colours.stretch == stretch
    if values:
        assert (colours.low, colours.high) == values


@pytest.mark.parametrize(
    "groups", [ObservationGroups(), ObservationGroups(np.arange(20, 91, 1.0) * u.deg, np.arange(0, 361, 30) * u.deg), GROUPS]
)
def test_texts_do_not_overlap(groups):
    """GROUP_IDs stand in their groups, and do not overlap each other or the labels, even for narrow rings."""
    graph = pointing_map(groups, {}, dict.fromkeys(range(len(groups)), 1.0), "Runs", "")
    radius = graph.x_range[1] / 1.13
    size = 2 * graph.x_range[1] / 240  # deg per pixel of a small figure
    for x, y, text in graph.texts:
        if text.isdecimal():
            assert group_at(groups, x, y) == int(text)
            assert np.hypot(x, y) < radius
    for i, (x, y, text) in enumerate(graph.texts):
        for other_x, other_y, other in graph.texts[:i]:
            apart_x = abs(x - other_x) >= 5 * size * (len(text) + len(other)) / 2
            assert apart_x or abs(y - other_y) >= 10 * size, (text, other)
    if len(groups) <= 28:
        assert sum(text.isdecimal() for *_, text in graph.texts) == len(groups)
