"""The simulation against astropy, scipy and itself."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import AltAz, EarthLocation, SkyCoord, get_sun
from astropy.io import fits
from astropy.time import Time
from scipy.integrate import tplquad
from scipy.stats import kstest

from bgnb import (
    BgnbError,
    CubeAxes,
    PointSource,
    TrueModel,
    make_test_bg_cube_model,
    make_test_dataset,
    make_test_eventlist,
    make_test_observation_table,
    open_runs,
    read_event_list,
    select_off_runs,
    stack_runs,
)
from bgnb.observations.selection import read_catalog
from bgnb.simulation.true_model import altitude_factor
from tests.helpers.files import digests

AXES = CubeAxes(
    energy=np.geomspace(0.1, 90, 8) * u.TeV, dety=np.linspace(-4, 3, 10) * u.deg, detx=np.linspace(-3.5, 5, 13) * u.deg
)


@pytest.mark.parametrize("observatory", ["HESS", "ctao-north"])
def test_runs_are_at_night_and_pointings_agree_with_astropy(observatory):
    table = make_test_observation_table(12, observatory=observatory, seed=4)
    location = EarthLocation(
        lon=table.meta["GEOLON"] * u.deg, lat=table.meta["GEOLAT"] * u.deg, height=table.meta["ALTITUDE"] * u.m
    )
    zero = Time(table.meta["MJDREFI"], table.meta["MJDREFF"], format="mjd", scale="tt")
    assert np.all(table["TSTOP"] - table["TSTART"] == 1800)
    assert np.all(
        (Time("2010-01-01") <= zero + table["TSTART"].quantity) & (zero + table["TSTOP"].quantity < Time("2015-01-02"))
    )
    for column in ("TSTART", "TSTOP"):
        times = zero + table[column].quantity
        assert np.all(get_sun(times).transform_to(AltAz(obstime=times, location=location)).alt.deg < -17.9)
    frame = AltAz(obstime=zero + (table["TSTART"].quantity + 900 * u.s), location=location)
    pointing = SkyCoord(table["RA_PNT"], table["DEC_PNT"]).transform_to(frame)
    np.testing.assert_allclose(pointing.alt.deg, table["ALT_PNT"], atol=1e-4)
    np.testing.assert_allclose((pointing.az.deg - table["AZ_PNT"] + 180) % 360, 180, atol=1e-3)


def test_pointings_fill_the_solid_angle_of_the_ranges():
    table = make_test_observation_table(300, alt_range=(30, 80), az_range=(-40, 40), muoneff_range=(0.7, 0.8), seed=1)
    low, high = np.sin(np.radians([30, 80]))
    assert kstest((np.sin(np.radians(table["ALT_PNT"])) - low) / (high - low), "uniform").pvalue > 1e-3
    assert kstest(((table["AZ_PNT"] + 40) % 360) / 80, "uniform").pvalue > 1e-3
    assert set(table["N_TELS"]) == {3, 4}
    assert 0.7 <= min(table["MUONEFF"]) < max(table["MUONEFF"]) <= 0.8


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_runs": 0}, "n_runs must be a whole number from 1 up"),
        ({"n_runs": 1.5}, "n_runs must be a whole number from 1 up"),
        ({"seed": -1}, "seed must be a whole number from 0 up"),
        ({"observatory": "HAWC"}, "unknown observatory 'HAWC': use one of HESS, MAGIC"),
        ({"alt_range": (80, 30)}, "alt_range must be two increasing values"),
        ({"date_range": ("2010-13-01", "2011-01-01")}, "date_range must hold dates"),
        ({"date_range": ("2011-01-01", "2010-01-01")}, "the earlier first"),
        ({"date_range": ("2010-06-01 11:00", "2010-06-01 12:00")}, "there is no night"),
    ],
)
def test_wrong_ranges_are_refused(arguments, message):
    with pytest.raises(BgnbError, match=message):
        make_test_observation_table(**arguments)


@pytest.mark.parametrize(
    "model", [TrueModel(), TrueModel(gradient_x=0.1, gradient_y=-0.07, mask_quadrant=True, spectral_index=1.5)]
)
def test_truth_is_the_integral_over_the_bin(model):
    expected = model.expected(AXES, 60.0)

    def rate(x, y, log_energy):
        energy = np.exp(log_energy)
        offset = np.degrees(np.arccos(np.cos(x) * np.cos(y)))
        factor = float(model.lopsidedness(np.degrees(x), np.degrees(y)))
        return energy**-model.spectral_index * np.exp(-0.5 * (offset / model.sigma_at(energy)) ** 2) * np.cos(y) * factor

    values = []
    for plane, iy, ix in [(0, 2, 11), (5, 4, 3), (3, 5, 4)]:  # the last is cut by the masked quadrant
        limits = []
        for edges, number, scale in ((AXES.energy, plane, np.log), (AXES.dety, iy, np.radians), (AXES.detx, ix, np.radians)):
            limits += list(scale(edges.value[number : number + 2]))
        integral = 0.0
        x_breaks = sorted({limits[4], min(max(0.0, limits[4]), limits[5]), limits[5]})
        y_breaks = sorted({limits[2], min(max(0.0, limits[2]), limits[3]), limits[3]})
        for x0, x1 in itertools.pairwise(x_breaks):
            for y0, y1 in itertools.pairwise(y_breaks):
                integral += tplquad(rate, limits[0], limits[1], y0, y1, x0, x1, epsrel=1e-8)[0]
        values.append(expected[plane, iy, ix] / integral)
    np.testing.assert_allclose(values, values[0], rtol=1e-6)


@pytest.mark.parametrize("sigma", [5.0, 15.0])
def test_all_directions_and_energies_together_give_the_trigger_rate(sigma):
    sphere = CubeAxes(
        np.geomspace(0.1, 100, 25) * u.TeV, np.linspace(-90, 90, 121) * u.deg, np.linspace(-180, 180, 241) * u.deg
    )
    assert TrueModel(sigma=sigma, trigger_rate=7.0).expected(sphere, 45.0).sum() == pytest.approx(7.0 * 0.75, rel=1e-4)


@pytest.mark.parametrize("fovalign", ["ALTAZ", "RADEC"])
def test_events_follow_the_truth_bin_by_bin(fovalign):
    model = TrueModel(
        trigger_rate=400, spectral_index=1.4, gradient_x=0.12, gradient_y=-0.06, mask_quadrant=True, fovalign=fovalign
    )
    table = make_test_observation_table(3, seed=9)
    stack = stack_runs((make_test_eventlist(row, model, seed=2) for row in table), AXES, fovalign)
    expected = sum(model.expected(AXES, row["ALT_PNT"]) * row["LIVETIME"] for row in table)
    assert abs(stack.counts.sum() - expected.sum()) < 3.5 * np.sqrt(expected.sum())
    pull = ((stack.counts - expected) / np.sqrt(np.maximum(expected, 1e-9)))[expected >= 10]
    assert len(pull) > 300
    assert abs(pull.mean()) < 3.5 / np.sqrt(len(pull))
    assert abs(pull.std() - 1) < 3.5 / np.sqrt(2 * len(pull))
    # The quadrant without events lies to the upper right, in this frame and in no other.
    y, x = AXES.dety[:-1].value, AXES.detx[:-1].value
    masked = (y[:, None] >= 0) & (x >= 0)
    assert stack.counts[:, masked].sum() == 0
    other = {"ALTAZ": "RADEC", "RADEC": "ALTAZ"}[fovalign]
    turned = stack_runs((make_test_eventlist(row, model, seed=2) for row in table), AXES, other)
    assert turned.counts[:, masked].sum() > 1000


def test_the_true_cube_is_the_rate_per_livetime():
    model = TrueModel(spectral_index=1.5)
    cube = make_test_bg_cube_model(AXES, 81 * u.deg, model)
    np.testing.assert_allclose(
        (cube.rate.quantity * AXES.bin_volume * 100 * u.s).to_value(""), 100 * model.expected(AXES, 81.0)
    )
    assert cube.is_true
    assert altitude_factor(90) == 1
    assert altitude_factor(0) == 0.5
    with pytest.raises(BgnbError, match="altitude must lie within 0 and 90"):
        make_test_bg_cube_model(AXES, 95 * u.deg)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sigma": 0}, "sigma must be a number above 0"),
        ({"sigma": 25}, "at most 20"),
        ({"trigger_rate": np.nan}, "trigger_rate must be"),
        ({"fovalign": "GALACTIC"}, "unknown fovalign"),
        ({"energy_min": 200.0}, "must be increasing"),
    ],
)
def test_wrong_parameters_are_refused(changes, message):
    with pytest.raises(BgnbError, match=message):
        replace(TrueModel(), **changes)


def test_the_same_seed_gives_the_same_bytes_whatever_the_number_of_workers(tmp_path):
    for name, seed, workers in (("a", 3, 1), ("b", 3, 2), ("c", 4, 1)):
        make_test_dataset(tmp_path / name, n_runs=3, trigger_rate=1.0, seed=seed, workers=workers)
    one, same, other = (digests(tmp_path / name) for name in ("a", "b", "c"))
    assert one == same
    assert one.keys() == other.keys()
    assert {name for name in one if name.startswith("data/") and one[name] == other[name]} == set()


def test_both_schemes_hold_the_same_events(tmp_path):
    for scheme in ("GADF", "HESS"):
        table = make_test_dataset(tmp_path / scheme, scheme, n_runs=2, trigger_rate=2.0, seed=6)
    gadf, hess = (open_runs(tmp_path / scheme, scheme) for scheme in ("GADF", "HESS"))
    assert gadf.obs_ids == hess.obs_ids == [1, 2]
    for obs_id in (1, 2):
        one, other = (read_event_list(runs.files(obs_id)) for runs in (gadf, hess))
        assert np.array_equal(one.ra, other.ra)
        drawn = make_test_eventlist(table[obs_id - 1], TrueModel(trigger_rate=2.0), seed=6)
        assert np.array_equal(one.time, drawn.time)
        assert (one.livetime, one.energy_threshold, one.site) == (other.livetime, 0.1, other.site)
        assert np.all(np.diff(one.time) >= 0)
        assert one.in_gti.all()


def test_stored_field_of_view_coordinates_are_those_of_the_transform(tmp_path):
    make_test_dataset(tmp_path / "set", n_runs=1, trigger_rate=2.0)
    files = open_runs(tmp_path / "set", "GADF").files(1)
    detx, dety = read_event_list(files).detxy("ALTAZ")
    data = fits.getdata(files.events.path, "EVENTS")
    np.testing.assert_allclose(data["DETX"], detx, atol=1e-5)
    np.testing.assert_allclose(data["DETY"], dety, atol=1e-5)


def test_sources_are_in_the_field_and_in_a_catalogue_that_selection_understands(tmp_path):
    table = make_test_observation_table(2, seed=0)
    ra, dec = table["RA_PNT"][0], table["DEC_PNT"][0] + 1.5
    source = PointSource("X-1", float(ra), float(dec), 0.5)
    make_test_dataset(tmp_path / "set", n_runs=2, trigger_rate=1.0, sources=[source], seed=0)
    runs = open_runs(tmp_path / "set", "GADF")
    near, far = (read_event_list(runs.files(obs_id)) for obs_id in (1, 2))
    at_source = np.hypot((near.ra - ra) * np.cos(np.radians(dec)), near.dec - dec) < 0.3
    assert abs(at_source.sum() - 0.5 * 1500) < 4 * np.sqrt(750)
    without = make_test_eventlist(table[1], TrueModel(trigger_rate=1.0), seed=0)
    assert len(far) == len(without)
    selection = select_off_runs(runs, read_catalog(tmp_path / "set" / "sources.ecsv"))
    assert selection.kept == (2,)
    assert "X-1" in str(selection.left_out[1])


def test_options_reach_the_files(tmp_path):
    """Each other than its default, and read back from the index."""
    make_test_dataset(
        tmp_path / "set",
        "HESS",
        n_runs=4,
        observatory="MAGIC",
        trigger_rate=1.0,
        date_range=("2020-03-01", "2020-04-01"),
        n_tels_range=(7, 8),
        muoneff_range=(0.2, 0.3),
        energy_threshold=0.2,
        sources=[],
    )
    runs = open_runs(tmp_path / "set", "HESS")
    zero = Time(runs.table.meta["MJDREFI"], runs.table.meta["MJDREFF"], format="mjd", scale="tt")
    start = zero + runs.table["TSTART"].quantity
    assert np.all((start > Time("2020-03-01")) & (start < Time("2020-04-01")))
    assert set(runs.table["N_TELS"]) <= {7, 8}
    assert np.all((runs.table["MUONEFF"] > 0.2) & (runs.table["MUONEFF"] < 0.3))
    assert runs.table.meta["OBSERVATORY_NAME"] == "MAGIC"
    for row, obs_id in zip(runs.table, runs.obs_ids, strict=True):
        expected = 0.2 / np.sin(np.radians(row["ALT_PNT"])) ** 3
        assert read_event_list(runs.files(obs_id)).energy_threshold == pytest.approx(expected)


def test_runs_and_seeds_have_events_of_their_own():
    """Though runs point alike."""
    table = make_test_observation_table(2, seed=3)
    table["ALT_PNT"] = table["ALT_PNT"][0]
    first, second = (make_test_eventlist(row, TrueModel(trigger_rate=1.0), seed=3) for row in table)
    other = make_test_eventlist(table[0], TrueModel(trigger_rate=1.0), seed=4)
    for events in (second, other):
        assert not set(first.energy) & set(events.energy)


def test_events_of_a_source_fall_with_its_index_and_are_in_order_of_time():
    table = make_test_observation_table(1, seed=0)
    source = PointSource("X", float(table["RA_PNT"][0]), float(table["DEC_PNT"][0]), 5.0)
    events = make_test_eventlist(table[0], TrueModel(trigger_rate=1e-9), sources=[source])
    assert len(events) > 7000
    assert np.all(np.diff(events.time) >= 0)
    low, high = 0.1**-1, 100.0**-1
    assert kstest((low - events.energy**-1) / (low - high), "uniform").pvalue > 1e-3
    # Of two sources in view and one far away, the two are there.
    other = PointSource("Y", float(table["RA_PNT"][0]), float(table["DEC_PNT"][0]) + 2, 1.0)
    far = PointSource("Z", float(table["RA_PNT"][0]), float(table["DEC_PNT"][0]) + 6, 50.0)
    events = make_test_eventlist(table[0], TrueModel(trigger_rate=1e-9), sources=[source, other, far])
    upper = events.dec > table["DEC_PNT"][0] + 1
    assert abs(upper.sum() - 1500) < 4 * np.sqrt(1500)
    assert abs((~upper).sum() - 7500) < 4 * np.sqrt(7500)
    assert np.all(np.diff(events.time) >= 0)


def test_silly_rates_are_refused_before_memory_is_full():
    table = make_test_observation_table(1)
    with pytest.raises(BgnbError, match="events; 1e\\+08 is the limit: lower trigger_rate"):
        make_test_eventlist(table[0], TrueModel(trigger_rate=1e12))
    for name in ("gradient_x", "gradient_y"):
        with pytest.raises(BgnbError, match=f"{name} must be a finite number"):
            TrueModel(**{name: np.nan})
