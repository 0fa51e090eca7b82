"""Events outside the axes of models, and continuation of rates to their energies."""

from dataclasses import replace

import numpy as np
import pytest
from astropy import units as u

from bgnb import Cube, CubeAxes, EventList
from bgnb.cubes.coverage import (
    Coverage,
    continue_to_events,
    coverage,
    notes_on_coverage,
    without_empty_ends,
    without_single_bins,
)
from bgnb.observations.coordinates import FieldOfView, Site

SITE = Site(16.5, -23.27, 1835.0)
AXES = CubeAxes(np.geomspace(1, 8, 4) * u.TeV, [-1, 0, 2] * u.deg, [-3, -1, 0, 1] * u.deg)
# Energy (TeV), DETX, DETY (deg) and time (s) of events, and where they belong.
EVENTS = (
    (0.4, 0.0, 0.0, 10, "below the threshold"),
    (0.5, 0.0, 0.0, 20, "below"),
    (0.99, 5.0, 0.0, 30, "below"),
    (1.0, 0.0, 0.0, 40, "inside"),
    (2.0, -2.9, 1.9, 50, "inside"),
    (2.0, 2.9, 0.0, 60, "view"),
    (2.0, -2.0, -1.1, 70, "view"),
    (7.9, 0.0, 2.1, 80, "view"),
    (8.0, 0.0, 0.0, 90, "above"),
    (20.0, 0.0, 0.0, 95, "above"),
    (100.0, 0.0, 0.0, 150, "outside the good time"),
    (0.6, 0.0, 0.0, 160, "outside the good time"),
)


def event_list(events=EVENTS, threshold=0.5, fovalign="ALTAZ"):
    """Make a run with some events."""
    energy, detx, dety, time = (np.array(values, dtype=float) for values in list(zip(*events, strict=True))[:4])
    view = FieldOfView(83.6, -30.0, 53343.95 + 100 / 86400, SITE)
    ra, dec = view.sky_position(fovalign, detx, dety, time - 100)
    gti = np.array([[0.0, 100.0], [180.0, 200.0]])
    return EventList(1, time, ra, dec, energy, 53343.95, gti, 90.0, 83.6, -30.0, SITE, threshold)


@pytest.mark.parametrize("fovalign", ["ALTAZ", "RADEC"])
def test_each_event_counted_once(fovalign):
    """Events below, above and beside the axes are counted if they are in the good time and above the threshold."""
    where = [place for *_, place in EVENTS]
    counted = coverage(event_list(fovalign=fovalign), AXES, fovalign)
    numbers = {f"events_{name}": where.count(place) for name, place in (("below_axis", "below"), ("above_axis", "above"))}
    assert counted == Coverage(events=9, events_outside_fov=where.count("view"), **numbers)
    assert coverage(event_list(threshold=None), AXES, "ALTAZ").events == 10


def test_notes_state_numbers_and_runs():
    """Notes on energies and field of view state number, fraction and runs; there are none if nothing lies outside."""
    runs = {
        4: Coverage(events=100, events_below_axis=30, events_above_axis=0, events_outside_fov=0),
        7: Coverage(events=300, events_below_axis=0, events_above_axis=2, events_outside_fov=10),
        9: Coverage(events=100, events_below_axis=0, events_above_axis=0, events_outside_fov=0),
    }
    energy, view = notes_on_coverage(runs, "alas", "so be it")
    for note, words in (
        (energy, ("32 of 500", "6.4 %", "30 below, 2 above", "alas")),
        (view, ("10 of 500", "2.0 %", "so be it")),
    ):
        assert all(word in note for word in words), note
    assert energy.endswith("runs 4, 7")
    assert view.endswith("run 7")
    assert notes_on_coverage({9: runs[9]}, "", "") == []
    (note,) = notes_on_coverage({4: replace(runs[9], events=10000, events_above_axis=1)}, "", "")
    assert note.startswith("1 of 10000 events (< 0.1 %)")


def power_law(index, axes=AXES):
    """Return a rate whose shape over the field of view differs from plane to plane."""
    view = np.arange(1.0, np.prod(axes.shape) + 1).reshape(axes.shape)
    view /= (view * axes.solid_angle.value).sum(axis=(1, 2), keepdims=True)
    return Cube(axes, u.Quantity(view * axes.energy_centers.value[:, None, None] ** -index, "MeV-1 s-1 sr-1"))


@pytest.mark.parametrize(("index", "below", "above"), [(2.7, 2.7, 2.7), (-1.5, -1.5, 1), (5, 4, 5), (9, 4, 6), (-4, -2, 1)])
def test_rate_continues_as_power_law(index, below, above):
    """Mean rates follow a power law with a limited index, with the shape of the outermost plane, up to all events."""
    rate = power_law(index)
    longer = continue_to_events(rate, event_list())
    np.testing.assert_allclose(longer.axes.energy.value, [0.5, *AXES.energy.value, 16, 32], rtol=1e-12)
    assert np.array_equal(longer.quantity[1:4], rate.quantity)
    for plane, end, slope in ((0, 0, below), (4, -1, above), (5, -1, above)):
        ratio = longer.axes.energy_centers[plane] / AXES.energy_centers[end]
        np.testing.assert_allclose(longer.quantity[plane], rate.quantity[end] * ratio**-slope, rtol=1e-12)


def test_rates_are_continued_over_two_decades():
    """An event far outside does not continue the rate beyond a factor of 100 in energy, and one more bin."""
    events = [*EVENTS, (1e-6, 0.0, 0.0, 40, "below"), (1e7, 0.0, 0.0, 40, "above")]
    longer = continue_to_events(power_law(2.7), event_list(events, threshold=None)).axes.energy.value
    assert 1 / 100 / 2 < longer[0] <= 1 / 100
    assert 8 * 100 <= longer[-1] < 8 * 100 * 2.1


def test_covered_events_change_nothing():
    """A rate that covers the energies of all events, or is zero, is returned unchanged; bins of one plane have an index."""
    inside = event_list([event for event in EVENTS if event[-1] in ("inside", "view", "outside the good time")])
    rate, zero = power_law(2.7), Cube(AXES, np.zeros(AXES.shape) * u.Unit("MeV-1 s-1 sr-1"))
    assert continue_to_events(rate, inside) is rate
    assert continue_to_events(rate, event_list(threshold=1000.0)) is rate
    assert continue_to_events(zero, event_list()) is zero
    single = power_law(1.0, CubeAxes([4, 8] * u.TeV, AXES.dety, AXES.detx))
    longer = continue_to_events(single, event_list())
    np.testing.assert_allclose(longer.quantity[-3:], single.quantity * np.array([1, 2**-2.7, 4**-2.7])[:, None, None])


def test_planes_without_rate_are_removed():
    """Planes without a rate are removed at the ends of the energy axis only."""
    axes = CubeAxes(np.geomspace(1, 64, 7) * u.TeV, AXES.dety, AXES.detx)
    values = np.ones(axes.shape) * np.array([0, 0, 1, 0, 2, 0])[:, None, None]
    values[2, 0] = 0
    rate = without_empty_ends(Cube(axes, values * u.Unit("MeV-1 s-1 sr-1")))
    np.testing.assert_allclose(rate.axes.energy.value, [4, 8, 16, 32])
    assert np.array_equal(rate.quantity.value, values[2:5])
    assert without_empty_ends(rate) is rate
    zero = Cube(axes, 0 * values * u.Unit("MeV-1 s-1 sr-1"))
    assert without_empty_ends(zero) is zero


def test_single_bins_are_split():
    """The two bins of an axis with a single one have its integral; along the energy axis, they fall as a power law."""
    single = power_law(1.0, CubeAxes([4, 9] * u.TeV, AXES.dety, [-1, 3] * u.deg))
    two = without_single_bins(single)
    np.testing.assert_allclose(two.axes.energy.value, [4, 6, 9])
    np.testing.assert_allclose(two.axes.detx.value, [-1, 1, 3])
    assert np.array_equal(two.axes.dety, AXES.dety)
    counts, expected = ((each.quantity * each.axes.bin_volume).sum(axis=(0, 2)) for each in (two, single))
    np.testing.assert_allclose(counts, expected)
    assert np.array_equal(two.quantity[:, :, 0], two.quantity[:, :, 1])
    ratio = (6**-1.7 - 9**-1.7) / 3 / ((4**-1.7 - 6**-1.7) / 2)
    np.testing.assert_allclose(two.quantity[1], two.quantity[0] * ratio)
    assert without_single_bins(two) is two
