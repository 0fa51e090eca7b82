"""Counts and livetime of runs, added: by hand, and against astropy and NumPy."""

import weakref
from dataclasses import replace

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import AltAz, EarthLocation, SkyCoord, SkyOffsetFrame
from astropy.io import fits
from astropy.time import Time
from hypothesis import given
from hypothesis import strategies as st

from bgnb import CubeAxes, EventList, open_runs, read_event_list, stack_runs
from bgnb.cubes.event_cuts import _bin_index
from bgnb.cubes.stack import add_stacks
from tests.helpers.errors import raises
from tests.helpers.run_files import TSTART, run, write_gadf
from tests.helpers.time_limit import time_limit

AXES = CubeAxes(energy=np.geomspace(0.1, 50, 7) * u.TeV, dety=np.linspace(-3, 2, 6) * u.deg, detx=np.linspace(-2, 4, 9) * u.deg)


@pytest.fixture
def event_lists(tmp_path) -> list[EventList]:
    parts = [run(1, 300, threshold=0.5), run(2, 500, threshold=None), run(3, 700, threshold=1.5)]
    runs = open_runs(write_gadf(tmp_path / "in", parts), "GADF")
    return [read_event_list(runs.files(obs_id)) for obs_id in runs.obs_ids]


def assert_same(one, other):
    assert np.array_equal(one.counts, other.counts)
    assert np.array_equal(one.livetime_us, other.livetime_us)
    assert one.runs == other.runs


def test_stacks_add_up_in_any_order(event_lists):
    a, b, c = (stack_runs([events], AXES) for events in event_lists)
    whole = stack_runs(event_lists, AXES)
    assert_same(a + b + c, whole)
    assert_same(c + (a + b), whole)
    assert whole.obs_ids == [1, 2, 3]
    assert whole.counts.sum() == sum(run.counts for run in whole.runs) > 0


def test_equal_livetimes_take_little_memory(event_lists):
    """A livetime that is the same in the field of view is kept once, also in sums, which free the first stacks."""
    whole = stack_runs(event_lists, AXES)
    assert whole.livetime_us.base.nbytes == 8 * AXES.shape[0]
    some = whole.livetime_us.copy()
    some[3, 1, 2] += 1
    uneven = replace(whole, livetime_us=some, runs=tuple(replace(run, obs_id=run.obs_id + 10) for run in whole.runs))
    stacks = [stack_runs([events], AXES) for events in event_lists]
    references = [weakref.ref(stack) for stack in stacks]
    even = add_stacks(("all", stacks.pop()) for _ in range(3))["all"]
    assert_same(even, whole)
    assert even.livetime_us.base.nbytes == 8 * AXES.shape[0]
    assert [reference() for reference in references] == [None] * 3
    total = add_stacks([(1, whole), (1, uneven)])[1]
    assert np.array_equal(total.livetime_us, whole.livetime_us + some)
    assert not np.shares_memory(total.livetime_us, whole.livetime_us)


def test_live_fraction_of_runs(tmp_path):
    """The live fraction is the sum of livetimes over the sum of good time intervals, in any order."""
    parts = [run(1, 300), run(2, 300, gti=[(TSTART, TSTART + 300), (TSTART + 1200, TSTART + 1500)], LIVETIME=420.0, DEADC=0.7)]
    runs = open_runs(write_gadf(tmp_path / "in", parts), "GADF")
    first, second = (stack_runs([read_event_list(runs.files(obs_id))], AXES) for obs_id in runs.obs_ids)
    assert [each.ontime_s for each in (first + second).runs] == pytest.approx([1680, 600])
    livetimes = [each.livetime_s for each in (first + second).runs]
    assert second.live_fraction == pytest.approx(0.7)
    assert (first + second).live_fraction == (second + first).live_fraction == pytest.approx(sum(livetimes) / 2280)
    assert stack_runs([], AXES).live_fraction is None


def test_counts_as_histogram(event_lists):
    """Counts become a histogram on the same axes."""
    pytest.importorskip("boost_histogram")
    stack = stack_runs(event_lists, AXES)
    histogram = stack.to_hist()
    np.testing.assert_array_equal(histogram.values(), stack.counts)
    assert histogram.sum() == stack.counts.sum() > 0
    assert [axis.metadata for axis in histogram.axes] == ["energy", "dety", "detx"]
    for axis in histogram.axes:
        np.testing.assert_array_equal(axis.edges, getattr(AXES, axis.metadata).value)
    bins = np.argwhere(stack.counts == stack.counts.max())[0]
    centres = [float(axis.centers[number]) for axis, number in zip(histogram.axes, bins, strict=True)]
    histogram.fill(*([centre] for centre in centres))
    assert histogram[tuple(bins)] == stack.counts.max() + 1


def test_no_run_is_counted_twice(event_lists):
    stack = stack_runs(event_lists[:2], AXES)
    with raises("duplicate-run", "run 2"):
        stack + stack_runs(event_lists[1:], AXES)
    with raises("axes-mismatch", "ALTAZ", "RADEC"):
        stack + stack_runs(event_lists[2:], AXES, "RADEC")
    with raises("duplicate-run", "run 1"), time_limit():  # not in a time that grows as the square
        replace(stack, runs=100_000 * stack.runs)


def test_what_cannot_be_a_stack_is_refused(event_lists):
    stack = stack_runs(event_lists[:1], AXES)
    negative, part = stack.counts.copy(), np.zeros(AXES.shape, dtype=np.int64)
    negative[2, 3, 4], part[5, 4, 3] = -1, 1
    for changes, code, words in (
        ({"counts": negative}, "invalid-value", ["counts of a stack", "int64", AXES.shape]),
        ({"counts": stack.counts.astype(float)}, "invalid-value", ["counts of a stack", "int64"]),
        ({"livetime_us": stack.livetime_us[:, :, 1:]}, "invalid-value", ["livetime_us", "int64"]),
        ({"counts": part * 0, "livetime_us": part, "runs": ()}, "invalid-value", ["without runs", "livetime"]),
        ({"fovalign": "GALACTIC"}, "unknown-choice", ["fovalign", "GALACTIC"]),
        ({"livetime_us": stack.livetime_us * 0}, "invalid-value", ["counts", "without livetime"]),
    ):
        with raises(code, *words):
            replace(stack, **changes)
    for name in ("energy", "dety", "detx"):
        other = replace(AXES, **{name: getattr(AXES, name) * 1.01})
        with raises("axes-mismatch"):
            stack + stack_runs(event_lists[1:], other)


def test_threshold_cuts_bin(event_lists):
    """A bin that contains the threshold has neither counts nor livetime."""
    edges = AXES.energy.value
    events = event_lists[0]
    first = int(np.searchsorted(edges, 0.5))
    assert edges[first - 1] < 0.5 < edges[first]
    stack = stack_runs([events], AXES)
    assert not stack.counts[:first].any()
    assert stack.counts[first].any()
    assert np.all(stack.livetime[:first] == 0 * u.s)
    assert np.all(stack.livetime[first:] == 1501 * u.s)
    (counted,) = stack.runs
    assert counted.events_below_threshold == np.count_nonzero(events.in_gti & (events.energy < edges[first]))


def test_no_threshold_keeps_all_energies(event_lists):
    (counted,) = stack_runs([event_lists[1]], AXES).runs
    assert counted.events_below_threshold == 0
    outside_energy = np.count_nonzero((event_lists[1].energy < 0.1) | (event_lists[1].energy >= 50))
    assert counted.events_outside_axes > outside_energy > 0


def test_threshold_above_all_bins(event_lists):
    """A threshold above all bins leaves neither counts nor livetime."""
    stack = stack_runs([replace(event_lists[0], energy_threshold=60.0)], AXES)
    assert not stack.counts.any()
    assert not stack.livetime_us.any()
    (counted,) = stack.runs
    assert counted.events_below_threshold == np.count_nonzero(event_lists[0].energy < 50)


def test_energy_limit(event_lists):
    """The bin that contains the limit and those above get neither counts nor livetime; every event has one category."""
    edges, unlimited = AXES.energy.value, replace(event_lists[2], energy_threshold=0.2)
    events = replace(unlimited, energy_limit=1.0)
    first, stop = int(np.searchsorted(edges, 0.2)), int(np.searchsorted(edges, 1.0)) - 1
    assert first < stop < len(edges) - 2
    whole, stack = stack_runs([unlimited], AXES), stack_runs([events], AXES)
    assert np.array_equal(stack.counts[:stop], whole.counts[:stop])
    assert np.array_equal(stack.livetime_us[:stop], whole.livetime_us[:stop])
    assert whole.counts[stop:].any()
    assert not stack.counts[stop:].any()
    assert not stack.livetime_us[stop:].any()
    (counted,) = stack.runs
    assert counted.energy_limit_tev == 1.0
    assert counted.events_above_limit == np.count_nonzero(events.in_gti & (events.energy >= edges[stop])) > 0
    assert counted.events_below_threshold == whole.runs[0].events_below_threshold
    assert counted.counts == stack.counts.sum() > 0


def test_energy_limit_beyond_the_axis(event_lists):
    """Only events above the limit itself are in its category."""
    events = replace(event_lists[1], energy_limit=60.0)
    whole, stack = stack_runs(event_lists[1:2], AXES), stack_runs([events], AXES)
    assert np.array_equal(stack.counts, whole.counts)
    assert np.array_equal(stack.livetime_us, whole.livetime_us)
    above = np.count_nonzero(events.energy > 60)
    assert stack.runs[0].events_above_limit == above
    assert stack.runs[0].events_outside_axes == whole.runs[0].events_outside_axes - above


@pytest.mark.parametrize("limits", [(0.5, 0.55), (0.01, 0.05), (0.06, 0.15), (45.0, 55.0), (60.0, 70.0)])
def test_energy_limits_without_a_bin(event_lists, limits):
    """Limits in one bin, or outside the axis, leave neither counts nor livetime, and account for all events."""
    stack = stack_runs([replace(event_lists[0], energy_threshold=limits[0], energy_limit=limits[1])], AXES)
    assert not stack.counts.any()
    assert not stack.livetime_us.any()
    assert stack.runs[0].counts == 0


def test_events_outside_gti(event_lists):
    """Exclude events outside the GTI, and state their number."""
    events = event_lists[1]
    middle = float(np.median(events.time))
    shorter = replace(events, gti=np.array([[events.gti[0, 0], middle]]))
    # The same events in the same frame, whose reference time is the middle of the GTI.
    assert stack_runs([shorter], AXES, "RADEC").counts.sum() < stack_runs([events], AXES, "RADEC").counts.sum()
    (counted,) = stack_runs([shorter], AXES).runs
    assert counted.events_outside_gti == np.count_nonzero(events.time > middle)


@pytest.mark.parametrize("fovalign", ["ALTAZ", "RADEC"])
def test_counts_against_astropy(tmp_path, fovalign):
    """Counts equal those by astropy and NumPy."""
    parts = [run(1, 800, threshold=0.5), run(2, 800, threshold=None)]
    indir = write_gadf(tmp_path / "in", parts)
    runs = open_runs(indir, "GADF")
    stack = stack_runs((read_event_list(runs.files(i)) for i in runs.obs_ids), AXES, fovalign)
    files = [indir / "data" / f"run{i}.fits.gz" for i in (1, 2)]
    assert np.array_equal(stack.counts, independent_counts(files, AXES, fovalign))


@pytest.mark.slow
def test_counts_of_real_runs(hess_data):
    """Agree with astropy and NumPy on runs in the north, near the zenith, and with events outside their GTI."""
    obs_ids = [23523, 26850, 29072]
    axes = CubeAxes.regular(n_energy=9, n_fov=14)
    runs = open_runs(hess_data, "GADF")
    stack = stack_runs((read_event_list(runs.files(i)) for i in obs_ids), axes)
    files = [hess_data / "data" / f"hess_dl3_dr1_obs_id_{i:06d}.fits.gz" for i in obs_ids]
    expected = independent_counts(files, axes, "ALTAZ")
    # An event within a hundredth of an arcsecond of a bin's edge may change sides.
    assert np.abs(stack.counts - expected).sum() <= 2
    assert expected.sum() > 8000
    assert sum(run.events_outside_gti for run in stack.runs) > 0


@given(
    st.lists(st.floats(-9, 9), min_size=1, max_size=50),
    st.floats(-5, 0),
    st.floats(0.1, 5),
    st.integers(1, 70),
    st.booleans(),
)
def test_counts_at_edges(values, low, width, n_bins, even):
    """Assign values to the same bins as `np.searchsorted`, also on the edges."""
    edges = np.linspace(low, low + width, n_bins + 1)
    if not even:
        edges[-1] += 1
    everything = np.concatenate([values, edges, np.nextafter(edges, -99), np.nextafter(edges, 99)])
    assert np.array_equal(_bin_index(edges, everything), np.searchsorted(edges, everything, side="right") - 1)


def independent_counts(files, axes, fovalign):
    """Counts cube by astropy's coordinates, event by event, and np.histogramdd."""
    total = 0
    for path in files:
        with fits.open(path) as hdus:
            header, data = hdus["EVENTS"].header, hdus["EVENTS"].data
            gti = hdus["GTI"].data
            threshold = hdus["AEFF"].header.get("LO_THRES", 0.0)
            sky = SkyCoord(data["RA"].astype(float) * u.deg, data["DEC"].astype(float) * u.deg)
            seconds, energy = data["TIME"].astype(float), data["ENERGY"].astype(float)
            pointing = SkyCoord(header["RA_PNT"] * u.deg, header["DEC_PNT"] * u.deg)
            good = np.any([(seconds >= a) & (seconds <= b) for a, b in zip(gti["START"], gti["STOP"], strict=True)], axis=0)
        if fovalign == "ALTAZ":
            location = EarthLocation(
                lon=header["GEOLON"] * u.deg, lat=header["GEOLAT"] * u.deg, height=header["ALTITUDE"] * u.m
            )
            reference = Time(header["MJDREFI"], header["MJDREFF"], format="mjd", scale="tt")
            frame = AltAz(obstime=reference + seconds * u.s, location=location)
            sky, pointing = sky.transform_to(frame), pointing.transform_to(frame)
        offset = sky.transform_to(SkyOffsetFrame(origin=pointing))
        detx, dety = -offset.lon.wrap_at(180 * u.deg).deg, offset.lat.deg
        usable = min((edge for edge in axes.energy.value if edge >= threshold * (1 - 1e-6)), default=np.inf)
        use = good & (energy >= usable)
        edges = (axes.energy.value, axes.dety.value, axes.detx.value)
        total = total + np.histogramdd(np.stack([energy, dety, detx], axis=1)[use], edges)[0]
    return total
