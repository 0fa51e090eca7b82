"""Sources cut out: the open part of each bin against random points, and models against those of source-free fields."""

from dataclasses import replace

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import Table

from bgnb import (
    CubeAxes,
    PointSource,
    make_bg_cube_models,
    make_test_dataset,
    open_runs,
    read_event_list,
    read_model,
    stack_runs,
)
from bgnb.cubes.exclusion_mask import SourceMask, reach
from bgnb.observations.coordinates import separation
from tests.helpers.errors import raises

AXES = CubeAxes(
    energy=np.geomspace(0.2, 50, 5) * u.TeV, dety=np.linspace(-2, 1.6, 10) * u.deg, detx=np.linspace(-1.5, 2.1, 13) * u.deg
)


@pytest.fixture(scope="module")
def run_near_the_zenith(tmp_path_factory):
    """A run whose field of view turns quickly."""
    path = tmp_path_factory.mktemp("mask") / "runs"
    make_test_dataset(
        path, n_runs=1, trigger_rate=300, alt_range=(84, 86), seed=5, energy_threshold=0.35, spectral_index=1.2, progress=False
    )
    runs = open_runs(path, "GADF")
    return read_event_list(runs.files(runs.obs_ids[0]))


def circles_in(events) -> SourceMask:
    """Two that overlap, one at the rim, a small one, and one that hides a whole bin."""
    detx, dety = np.array([0.4, 0.9, 2.0, -1.0, 0.1]), np.array([0.2, 0.5, -1.8, 1.1, -1.2])
    ra, dec = events.field_of_view.sky_position("ALTAZ", detx, dety, np.zeros(5))
    return SourceMask(ra, dec, np.array([0.5, 0.4, 0.45, 0.06, 0.5]))


@pytest.mark.slow
@pytest.mark.parametrize("fovalign", ["ALTAZ", "RADEC"])
def test_open_fraction_against_random_points(run_near_the_zenith, fovalign):
    """The open fraction of each bin agrees with that of random points."""
    events, n = run_near_the_zenith, 400_000
    rng = np.random.default_rng(3)
    detx = rng.uniform(*AXES.detx.value[[0, -1]], n)
    dety = np.degrees(np.arcsin(rng.uniform(*np.sin(AXES.dety.to_value("rad"))[[0, -1]], n)))
    seconds = rng.uniform(*(events.gti[0] - events.middle), n)
    ra, dec = events.field_of_view.sky_position(fovalign, detx, dety, seconds)
    mask = circles_in(events)
    covered = np.zeros(n, dtype=bool)
    points = SkyCoord(ra * u.deg, dec * u.deg)
    for lon, lat, radius in zip(mask.ra, mask.dec, mask.radius, strict=True):
        covered |= points.separation(SkyCoord(lon * u.deg, lat * u.deg)).deg < radius
    bins = [AXES.dety.value, AXES.detx.value]
    everywhere, open_ = (np.histogram2d(dety[rows], detx[rows], bins)[0] for rows in (slice(None), ~covered))
    fraction = mask.open_fraction(events, AXES, fovalign)[0]
    error = np.sqrt(fraction * (1 - fraction) / everywhere)
    assert np.all(np.abs(fraction - open_ / everywhere) < 5 * error + 1e-3)
    assert np.count_nonzero((fraction > 0) & (fraction < 1)) > 20
    if fovalign == "RADEC":
        assert np.count_nonzero(fraction == 0) >= 1


def test_regions_are_followed_in_blocks(run_near_the_zenith, monkeypatch):
    """The open fraction is the mean of those at single times, whose number at a time does not matter."""
    events, mask = run_near_the_zenith, circles_in(run_near_the_zenith)
    expected = mask.open_fraction(events, AXES, "ALTAZ")
    for block in (1, 17, 10_000):
        monkeypatch.setattr("bgnb.cubes.exclusion_mask._BLOCK", block)
        np.testing.assert_allclose(mask.open_fraction(events, AXES, "ALTAZ"), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("fovalign", ["ALTAZ", "RADEC"])
def test_mask_cuts_events_and_livetime(run_near_the_zenith, fovalign):
    """A mask removes the same fraction of events and livetime, and every excluded event is counted."""
    events = run_near_the_zenith
    mask = circles_in(events)
    whole, cut = (stack_runs([events], AXES, fovalign, which) for which in (None, mask))
    run = cut.runs[0]
    assert run.counts == cut.counts.sum()
    assert run.events_in_mask == whole.counts.sum() - cut.counts.sum() > 1000
    assert run.events_outside_axes == whole.runs[0].events_outside_axes
    fraction = mask.open_fraction(events, AXES, fovalign)[0]
    first = np.flatnonzero(whole.livetime_us.any(axis=(1, 2)))[0]
    assert first > 0
    assert not cut.livetime_us[:first].any()
    left = cut.livetime_us[first:] / whole.livetime_us[first:]
    np.testing.assert_allclose(left, np.broadcast_to(fraction, left.shape), atol=1e-8)
    # What is left has the same rate: the background is smooth, the livetime exact.
    part = fraction > 0.05
    expected = (whole.counts * fraction).sum(axis=0)[part]
    pull = (cut.counts.sum(axis=0)[part] - expected) / np.sqrt(expected * (1 - fraction[part]) + 1e-3)
    assert np.abs(pull).max() < 5


def test_circles_out_of_view_cost_nothing(run_near_the_zenith):
    events = run_near_the_zenith
    far = SourceMask(np.array([events.ra_pnt]), np.array([events.dec_pnt - 5]), np.array([0.5]))
    one, other = (stack_runs([events], AXES, "ALTAZ", which) for which in (None, far))
    np.testing.assert_array_equal(one.livetime_us, other.livetime_us)
    assert one.runs == other.runs


@pytest.mark.parametrize("fovalign", ["ALTAZ", "RADEC"])
def test_circle_that_contains_the_field_of_view(run_near_the_zenith, monkeypatch, fovalign):
    """A circle about the whole field of view leaves nothing, at once; a smaller one leaves a corner."""
    events = run_near_the_zenith
    ra, dec = np.array([events.ra_pnt]), np.array([events.dec_pnt - 3])
    corner = reach(AXES)
    part = SourceMask(ra, dec, np.array([corner + 1])).open_fraction(events, AXES, fovalign)
    assert 0 < part.mean() < 0.5
    monkeypatch.setattr("bgnb.cubes.exclusion_mask._in_circles", None)
    assert not SourceMask(ra, dec, np.array([corner + 3.2])).open_fraction(events, AXES, fovalign).any()


def test_circles_from_catalogue():
    """Make circles from a catalogue and keep those near a pointing, also across RA 0 and at high declination."""
    table = Table({"RA": [359.8, 0.5, 40.0, 3.0], "DEC": [-60.0, -61.0, 10.0, -60.0], "EXTENSION": [0.0, 0.25, 0.1, 0.0]})
    mask = SourceMask.around(table, 12 * u.arcmin)
    np.testing.assert_allclose(mask.circles, [[359.8, -60, 0.2], [0.5, -61, 0.7], [40, 10, 0.4], [3, -60, 0.2]])
    assert SourceMask.around(table).radius.tolist() == [0.5, 1.0, 0.7, 0.5]
    pointing = SkyCoord(0.1 * u.deg, -60 * u.deg)
    away = pointing.separation(SkyCoord(table["RA"] * u.deg, table["DEC"] * u.deg)).deg
    for distance in (away[1] - 0.7 - 1e-6, away[1] - 0.7 + 1e-6, away[3] - 0.2 + 1e-6):
        kept = mask.near(0.1, -60.0, distance)
        assert kept.ra.tolist() == mask.ra[away < mask.radius + distance].tolist()
        assert len(kept) == len(kept.dec) == len(kept.radius)
    ra, dec = np.array([0.19, 0.21, 359.8, 0.5, 180.0]), np.array([-60.0, -60.0, -60.199, -60.301, -60.0])
    covered = np.any(
        [SkyCoord(ra, dec, unit="deg").separation(SkyCoord(a, b, unit="deg")).deg < r for a, b, r in mask.circles], axis=0
    )
    assert covered.any()
    assert not covered.all()
    assert mask.covers(ra, dec).tolist() == covered.tolist()


def test_corner_of_covered_bin(run_near_the_zenith):
    """Exclude events in a bin without livetime even if they lie just outside the circle; its neighbours stay open."""
    edges = [-0.75, -0.25, 0.25, 0.75] * u.deg
    axes = CubeAxes([1, 2, 4, 8] * u.TeV, [-1.25, *edges.value] * u.deg, edges)
    events = replace(run_near_the_zenith, energy_threshold=None)
    detx, dety = np.array([0.24999, 0.3, -0.7, 0.0]), np.array([0.24999, 0.24999, 0.0, 0.3])
    ra, dec = events.field_of_view.sky_position("RADEC", detx, dety, np.zeros(4))
    first = np.flatnonzero(events.in_gti)[:4]
    few = replace(events, ra=ra, dec=dec, time=events.time[first], energy=np.array([1.5, 1.5, 3.0, 5.0]))
    corner = separation(ra[0], dec[0], events.ra_pnt, events.dec_pnt)
    mask = SourceMask(*(np.array([value]) for value in (events.ra_pnt, events.dec_pnt, corner - 2e-5)))
    assert not mask.covers(ra[:1], dec[:1]).any()
    stack = stack_runs([few], axes, "RADEC", mask)
    assert np.argwhere(stack.livetime_us[0] == 0).tolist() == [[2, 1]]
    assert stack.runs[0].events_in_mask == 2  # the last lies within the circle, in a bin that it covers in part
    assert np.argwhere(stack.counts).tolist() == [[0, 2, 2], [1, 2, 0]]


@pytest.fixture(scope="module")
def with_and_without_sources(tmp_path_factory):
    """The same fields with strong sources and without them."""
    path = tmp_path_factory.mktemp("sources")
    arguments = {"n_runs": 6, "trigger_rate": 120, "alt_range": (60, 75), "az_range": (100, 250), "gradient_x": 0.15}
    arguments |= {"seed": 9, "energy_threshold": 0.2, "progress": False}
    make_test_dataset(path / "empty", **arguments)
    table = open_runs(path / "empty", "GADF").table
    sources = [
        PointSource(f"source {row['OBS_ID']}", float(row["RA_PNT"]) + 0.7, float(row["DEC_PNT"]) + 0.4, 3.0) for row in table
    ]
    make_test_dataset(path / "full", point_sources=sources, **arguments)
    return path


GROUPS = {"alt_edges": [0, 90], "az_edges": [0, 360], "n_energy": 6, "n_fov": 30, "progress": False}


def model_of(path, runs, name, **arguments):
    report = make_bg_cube_models(path / runs, "GADF", path / name, **GROUPS | arguments, overwrite=True)
    return read_model(path / name / report.groups[0].files[0])


@pytest.mark.slow
@pytest.mark.parametrize("method", ["classic", "spline"])
def test_masked_model_against_empty_fields(with_and_without_sources, method):
    """A model made with masked sources agrees with one of the same fields without sources."""
    path, catalog = with_and_without_sources, with_and_without_sources / "full/sources.ecsv"
    empty = model_of(path, "empty", "m0", select="all", method=method)
    masked = model_of(path, "full", "m1", sources="mask", catalog=catalog, method=method)
    bare = model_of(path, "full", "m2", select="all", method=method)
    hidden = masked.stack.livetime_us[3] < empty.stack.livetime_us[3]
    assert 50 < np.count_nonzero(hidden) < 500
    assert masked.stack.counts.sum() < empty.stack.counts.sum()
    volume = empty.axes.bin_volume.value[1:4]

    def excess(model):
        """Counts too many where circles are, and their error."""
        n = ((model.rate.quantity.value - empty.rate.quantity.value)[1:4] * volume * hidden).sum()
        seconds = empty.stack.livetime.value.max()
        return n * seconds, np.sqrt((empty.rate.quantity.value[1:4] * volume * hidden).sum() * seconds)

    surplus, error = excess(masked)
    assert abs(surplus) < 4 * error
    assert excess(bare)[0] > 8 * error
    ratio = (masked.rate.quantity.value / empty.rate.quantity.value)[1:3]
    assert np.abs(ratio[:, hidden].mean() - 1) < 0.03
    assert np.abs(ratio[:, ~hidden].mean() - 1) < 0.03


@pytest.mark.slow
@pytest.mark.parametrize("method", ["classic", "michi", "spline"])
def test_same_large_mask_in_all_runs(method, tmp_path):
    """Fill a large exclusion region that all runs have in common."""
    make_test_dataset(tmp_path / "runs", n_runs=1, trigger_rate=200, seed=5, progress=False)
    runs = open_runs(tmp_path / "runs", "GADF")
    row = runs.table[0]
    catalog = Table({"RA": [row["RA_PNT"]], "DEC": [row["DEC_PNT"]], "EXTENSION": [0.9]})
    model = model_of(tmp_path, "runs", "m", sources="mask", catalog=catalog, method=method, n_fov=60)
    centre, rim = model.rate.quantity.value[1, 30, 30], model.rate.quantity.value[1, 30, 30 + 20]
    assert model.stack.livetime_us[1, 30, 30] == 0
    assert 0.6 < centre / rim < 2.5


def test_wrong_arguments_are_refused(with_and_without_sources, tmp_path):
    with raises("unknown-choice", "sources", "cut", "drop, mask"):
        make_bg_cube_models(with_and_without_sources / "full", "GADF", tmp_path / "m", sources="cut")
    with raises("invalid-argument", "mask_radius"):
        make_bg_cube_models(with_and_without_sources / "full", "GADF", tmp_path / "m", sources="mask", mask_radius="0 deg")
    with raises("invalid-argument", "mask_radius", "180 deg", "200 deg"):
        make_bg_cube_models(with_and_without_sources / "full", "GADF", tmp_path / "m", sources="mask", mask_radius="200 deg")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ({"mask_radius": "0.6 deg"}, "no-effect", ["mask_radius", "sources = mask"]),
        ({"exclusion_radius": "2 deg", "select": "all"}, "no-effect", ["exclusion_radius", "select = far "]),
        ({"exclusion_radius": "2 deg", "sources": "mask"}, "no-effect", ["exclusion_radius", "sources = drop"]),
        ({"catalog": "sources.ecsv", "select": [1, 2]}, "no-effect", ["catalog", "select = far", "sources = mask"]),
        ({"exclusion_radius": "-1 deg"}, "invalid-argument", ["exclusion_radius", "at least 0 deg"]),
    ],
)
def test_arguments_without_effect(with_and_without_sources, tmp_path, arguments, code, words):
    """Refuse arguments that have no effect, or lie out of range."""
    with raises(code, *words):
        make_bg_cube_models(with_and_without_sources / "full", "GADF", tmp_path / "m", **arguments)


@pytest.mark.parametrize(
    ("ra", "dec", "radius"), [([1, 2], [3], [1]), (1, 2, 3), ([np.nan], [3], [1]), ([1], [91], [1]), ([1], [3], [-1])]
)
def test_mask_checks_its_circles(ra, dec, radius):
    """A mask of unequal lengths or values out of range cannot be made."""
    with raises("invalid-value", "radius"):
        SourceMask(*(np.array(values, dtype=float) for values in (ra, dec, radius)))
