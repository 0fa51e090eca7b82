"""Tests of the simulation with Astropy, SciPy and itself as references."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import AltAz, EarthLocation, SkyCoord, get_sun
from astropy.io import fits
from astropy.time import Time
from scipy.integrate import tplquad
from scipy.stats import chi2, kstest

from bgnb import (
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
from bgnb.observations.catalog import read_catalog
from bgnb.simulation.true_model import altitude_factor, detxy_of
from tests.helpers.errors import raises
from tests.helpers.files import digests

AXES = CubeAxes(
    energy=np.geomspace(0.1, 90, 8) * u.TeV, dety=np.linspace(-4, 3, 10) * u.deg, detx=np.linspace(-3.5, 5, 13) * u.deg
)


@pytest.mark.slow
@pytest.mark.parametrize("observatory", ["HESS", "ctao-north"])
def test_pointings_agree_with_astropy(observatory):
    """Runs are at night and between the dates, and positions agree with Astropy."""
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


def test_pointings_are_uniform():
    """Pointings are uniform in solid angle, and other columns are within their ranges."""
    table = make_test_observation_table(300, alt_range=(30, 80), az_range=(-40, 40), muoneff_range=(0.7, 0.8), seed=1)
    low, high = np.sin(np.radians([30, 80]))
    assert kstest((np.sin(np.radians(table["ALT_PNT"])) - low) / (high - low), "uniform").pvalue > 1e-3
    assert kstest(((table["AZ_PNT"] + 40) % 360) / 80, "uniform").pvalue > 1e-3
    assert set(table["N_TELS"]) == {3, 4}
    assert 0.7 <= min(table["MUONEFF"]) < max(table["MUONEFF"]) <= 0.8


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ({"n_runs": 0}, "invalid-argument", ("n_runs", "at least 1")),
        ({"n_runs": 10**6}, "invalid-argument", ("n_runs", "at most 999,999")),
        ({"n_runs": 1.5}, "invalid-argument", ("n_runs", "at least 1", "1.5")),
        ({"seed": -1}, "invalid-argument", ("seed", "at least 0", "-1")),
        ({"observatory": "HAWC"}, "unknown-choice", ("observatory", "HAWC", "HESS", "MAGIC")),
        ({"alt_range": (80, 30)}, "invalid-argument", ("alt_range", "increasing", "(80, 30)")),
        ({"date_range": ("2010-13-01", "2011-01-01")}, "invalid-argument", ("date_range", "2010-13-01")),
        ({"date_range": ("2011-01-01", "2010-01-01")}, "invalid-argument", ("date_range", "increasing", "2011-01-01")),
        ({"date_range": ("2110-01-01", "2111-01-01")}, "invalid-argument", ("date_range", "to 2099", "2110-01-01")),
        ({"date_range": ("1950-01-01", "1951-01-01")}, "invalid-argument", ("date_range", "from 1970", "1950-01-01")),
        pytest.param(
            {"date_range": ("2010-06-01 11:00", "2010-06-01 12:00")},
            "invalid-argument",
            ("date_range", "night"),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_invalid_ranges_raise_errors(arguments, code, words):
    """Empty and impossible ranges raise an error that names the argument."""
    with raises(code, *words):
        make_test_observation_table(**arguments)


@pytest.mark.parametrize(
    "model", [TrueModel(), TrueModel(gradient_x=0.1, gradient_y=-0.07, mask_quadrant=True, spectral_index=1.5)]
)
def test_true_model_is_integrated(model):
    """Expected counts in bins are proportional to numerical integrals of the rate by SciPy."""
    expected = model.expected(AXES, 60.0)

    def rate(x, y, log_energy):
        energy = np.exp(log_energy)
        offset = np.degrees(np.arccos(np.cos(x) * np.cos(y)))
        factor = float(model.asymmetry(np.degrees(x), np.degrees(y)))
        return energy**-model.spectral_index * np.exp(-0.5 * (offset / model.sigma_at(energy)) ** 2) * np.cos(y) * factor

    values = []
    for plane, iy, ix in [(0, 2, 11), (5, 4, 3), (3, 5, 4)]:  # the last contains the edge of the masked quadrant
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


def test_asymmetry():
    """The asymmetry is a gradient, and zero in the masked quadrant."""
    model, position = TrueModel(gradient_x=0.1, mask_quadrant=True), (np.array([-2.0, 1.0, 3.0]), np.array([1.0, 1.0, -2.0]))
    np.testing.assert_allclose(model.asymmetry(*position), [0.8, 0.0, 1.3])


@pytest.mark.parametrize("sigma", [5.0, 15.0])
def test_rate_sums_to_trigger_rate(sigma):
    """The sum over all directions and energies is the trigger rate at this altitude."""
    sphere = CubeAxes(
        np.geomspace(0.1, 100, 25) * u.TeV, np.linspace(-90, 90, 121) * u.deg, np.linspace(-180, 180, 241) * u.deg
    )
    assert TrueModel(sigma=sigma, trigger_rate=7.0).expected(sphere, 45.0).sum() == pytest.approx(7.0 * 0.75, rel=1e-4)


def test_rate_of_narrow_fields_of_view():
    """The rate is right where the field of view is narrower than a bin."""
    axes = CubeAxes(np.geomspace(0.1, 100, 4) * u.TeV, np.linspace(-2, 1, 4) * u.deg, np.linspace(-1, 2, 7) * u.deg)
    truth = TrueModel(sigma=0.1, trigger_rate=7.0, gradient_x=0.1)
    expected = truth.expected(axes, 45.0)
    assert expected.sum() == pytest.approx(7.0 * 0.75, rel=1e-5)
    energy, directions = truth.draw_directions(np.random.default_rng(5), 45.0, 4000.0)
    detx, dety = detxy_of(directions)
    counts, _ = np.histogramdd((energy, dety, detx), [edges.value for edges in (axes.energy, axes.dety, axes.detx)])
    populated = 4000 * expected > 10
    assert populated.sum() == 8
    deviations = (counts - 4000 * expected)[populated] / np.sqrt(4000 * expected[populated])
    assert chi2(8).sf(np.sum(deviations**2)) > 1e-3


def test_narrow_fields_of_view_in_wide_axes():
    """Bins far from the pointing are not divided, for which there would be no memory."""
    energy = np.geomspace(0.1, 100, 4) * u.TeV
    truth = TrueModel(sigma=0.1, elongation=5, trigger_rate=7.0)
    sphere = CubeAxes(energy, np.linspace(-90, 90, 4) * u.deg, np.linspace(-180, 180, 7) * u.deg)
    expected = truth.expected(sphere, 45.0, 0.0)
    assert expected.sum() == pytest.approx(7.0 * 0.75, rel=1e-4)
    assert not expected[:, :, [0, 5]].any()


@pytest.mark.parametrize("fovalign", ["ALTAZ", "RADEC"])
@pytest.mark.slow
def test_events_follow_the_true_model(fovalign):
    """Simulated counts scatter about those of the true model as Poisson statistics require."""
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
    # The masked quadrant lies at positive DETX and DETY in this frame only.
    y, x = AXES.dety[:-1].value, AXES.detx[:-1].value
    masked = (y[:, None] >= 0) & (x >= 0)
    assert stack.counts[:, masked].sum() == 0
    other = {"ALTAZ": "RADEC", "RADEC": "ALTAZ"}[fovalign]
    rotated = stack_runs((make_test_eventlist(row, model, seed=2) for row in table), AXES, other)
    assert rotated.counts[:, masked].sum() > 1000


def test_elongation_follows_the_baseline():
    """The rate at positions on the sky follows from the baseline, projected on the plane across the pointing."""
    round_one = TrueModel(sigma=4.0)
    model, alt_pnt, az_pnt = replace(round_one, elongation=1.7, baseline_az=35.0), 50.0, 80.0
    pointing = SkyCoord(az_pnt * u.deg, alt_pnt * u.deg, frame="altaz")
    ahead = pointing.cartesian.xyz.value
    on_ground = np.array([np.cos(np.radians(35)), np.sin(np.radians(35)), 0])
    baseline = on_ground - (on_ground @ ahead) * ahead
    ratio, width = 1.7 ** (baseline @ baseline), float(model.sigma_at(np.array(1.0)))
    for d_az, d_alt in ((3.0, 1.0), (-2.0, 2.5), (0.5, -3.0), (-4.0, -1.0)):
        event = SkyCoord((az_pnt + d_az) * u.deg, (alt_pnt + d_alt) * u.deg, frame="altaz")
        lon, lat = pointing.spherical_offsets_to(event)
        tangent = event.cartesian.xyz.value - (event.cartesian.xyz.value @ ahead) * ahead
        offset = pointing.separation(event).deg * tangent / np.linalg.norm(tangent)
        along = offset @ baseline / np.linalg.norm(baseline)
        across_squared = offset @ offset - along**2
        factor = np.exp(-0.5 * (along**2 / ratio + across_squared * ratio - offset @ offset) / width**2)
        small = [value + np.array([-1e-4, 1e-4]) for value in (lat.deg, -lon.deg)]  # DETX increases as azimuth decreases
        axes = CubeAxes(np.array([0.9999, 1.0001]) * u.TeV, small[0] * u.deg, small[1] * u.deg)
        assert model.expected(axes, alt_pnt, az_pnt)[0, 0, 0] / round_one.expected(axes, alt_pnt)[0, 0, 0] == pytest.approx(
            factor, rel=1e-5
        )
    with raises("invalid-argument", "azimuth"):
        model.expected(AXES, alt_pnt)


@pytest.mark.parametrize("elongation", [1.8, 0.6])
@pytest.mark.slow
def test_elongated_events_turn(elongation):
    """Events follow the elongated true model while the pointing moves, and neither a round one nor one at another azimuth."""
    model = TrueModel(trigger_rate=300, spectral_index=1.4, gradient_x=0.1, elongation=elongation, baseline_az=35.0)
    table = make_test_observation_table(3, alt_range=(30, 85), seed=9)
    runs = [make_test_eventlist(row, model, seed=2) for row in table]
    counts = np.array([stack_runs([events], AXES).counts for events in runs])
    seconds = (np.arange(12) + 0.5) / 12 * 1800 - 900

    def pulls(other, turned):
        expected = []
        for events in runs:
            pointings = zip(*events.field_of_view.pointing_altaz(seconds), strict=True)
            expected.append(np.mean([other.expected(AXES, alt, az + turned) for alt, az in pointings], axis=0) * 1500)
        return ((counts - expected) / np.sqrt(expected))[np.array(expected) >= 10]

    pull = pulls(model, 0.0)
    assert abs(pull.mean()) < 3.5 / np.sqrt(len(pull))
    assert abs(pull.std() - 1) < 3.5 / np.sqrt(2 * len(pull))
    assert pulls(model, 20.0).std() > 2
    assert pulls(replace(model, elongation=1.0), 0.0).std() > 2


def test_true_cube_is_rate_per_livetime():
    """The cube of the true model times bin volume and livetime is the expected number of events."""
    model = TrueModel(spectral_index=1.5)
    cube = make_test_bg_cube_model(AXES, 81 * u.deg, model)
    np.testing.assert_allclose(
        (cube.rate.quantity * AXES.bin_volume * 100 * u.s).to_value(""), 100 * model.expected(AXES, 81.0)
    )
    assert cube.is_true
    assert altitude_factor(90) == 1
    assert altitude_factor(0) == 0.5
    with raises("invalid-argument", "altitude", "0 to 90 deg", "95 deg"):
        make_test_bg_cube_model(AXES, 95 * u.deg)


def test_threshold_above_all_energies():
    """A threshold that excludes all events is an error, which states it at the altitude of the run."""
    table = make_test_observation_table(1, alt_range=(30.0, 31.0))
    with raises("invalid-argument", "energy_threshold", "below", "100 TeV", "altitude 30."):
        make_test_eventlist(table[0], TrueModel(trigger_rate=1.0), energy_threshold=20.0)


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"sigma": 0}, "invalid-argument", ("sigma", "at least 0.1")),
        ({"sigma": 25}, "invalid-argument", ("sigma", "at most 20", "25")),
        ({"trigger_rate": np.nan}, "invalid-argument", ("trigger_rate", "nan")),
        ({"fovalign": "GALACTIC"}, "unknown-choice", ("fovalign", "GALACTIC")),
        ({"elongation": 0.0}, "invalid-argument", ("elongation", "at least 0.2")),
        ({"spectral_index": 1e4}, "invalid-argument", ("spectral_index", "at most 20")),
        ({"elongation": 1.5, "fovalign": "RADEC"}, "invalid-argument", ("elongation", "ALTAZ", "RADEC")),
        ({"energy_min": 200.0}, "invalid-argument", ("energy_min", "increasing", "200")),
    ],
)
def test_invalid_parameters_raise_errors(changes, code, words):
    """Parameters of the true model that are out of range raise an error that names them."""
    with raises(code, *words):
        replace(TrueModel(), **changes)


@pytest.mark.slow
def test_files_do_not_depend_on_workers(tmp_path):
    """The same seed gives bit-identical files with any number of workers; another seed gives other events."""
    for name, seed, workers in (("a", 3, 1), ("b", 3, 2), ("c", 4, 1)):
        make_test_dataset(tmp_path / name, n_runs=3, trigger_rate=1.0, seed=seed, workers=workers)
    one, same, other = (digests(tmp_path / name) for name in ("a", "b", "c"))
    assert one == same
    assert one.keys() == other.keys()
    assert {name for name in one if name.startswith("data/") and one[name] == other[name]} == set()


def test_schemes_have_the_same_events(tmp_path):
    """Runs read back in all schemes have the events and metadata that were drawn."""
    for scheme in ("GADF", "HESS", "FILES"):
        table = make_test_dataset(tmp_path / scheme, scheme, n_runs=2, trigger_rate=2.0, seed=6)
    gadf, hess, files = (open_runs(tmp_path / scheme, scheme) for scheme in ("GADF", "HESS", "FILES"))
    assert gadf.obs_ids == hess.obs_ids == files.obs_ids == [1, 2]
    assert files.simulated == {1, 2}
    assert not list((tmp_path / "FILES").glob("*.fits*"))
    for obs_id in (1, 2):
        one, other, third = (read_event_list(runs.files(obs_id)) for runs in (gadf, hess, files))
        assert np.array_equal(one.ra, other.ra)
        assert np.array_equal(one.ra, third.ra)
        drawn = make_test_eventlist(table[obs_id - 1], TrueModel(trigger_rate=2.0), seed=6)
        assert np.array_equal(one.time, drawn.time)
        assert (one.livetime, one.energy_threshold, one.site) == (other.livetime, 0.1, other.site)
        assert np.all(np.diff(one.time) >= 0)
        assert one.in_gti.all()


@pytest.mark.parametrize("fovalign", ["ALTAZ", "RADEC"])
def test_stored_detx_and_dety(tmp_path, fovalign):
    """DETX and DETY in files are those of the transform from RA and DEC, of background events and those of a source."""
    row = make_test_observation_table(1)[0]
    source = PointSource("X-1", float(row["RA_PNT"]), float(row["DEC_PNT"]) + 1.5, 0.5)
    make_test_dataset(tmp_path / "set", n_runs=1, trigger_rate=20.0, fovalign=fovalign, point_sources=[source])
    files = open_runs(tmp_path / "set", "GADF").files(1)
    detx, dety = read_event_list(files).detxy("ALTAZ")
    data = fits.getdata(files.events.path, "EVENTS")
    assert len(data) > 20_000  # several blocks
    np.testing.assert_allclose(data["DETX"], detx, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(data["DETY"], dety, rtol=1e-6, atol=1e-9)


def test_sources_and_their_catalogue(tmp_path):
    """Events of a source are near its position, and its catalogue excludes the run."""
    table = make_test_observation_table(2, seed=0)
    ra, dec = table["RA_PNT"][0], table["DEC_PNT"][0] + 1.5
    source = PointSource("X-1", float(ra), float(dec), 0.5)
    make_test_dataset(tmp_path / "set", n_runs=2, trigger_rate=1.0, point_sources=[source], seed=0)
    runs = open_runs(tmp_path / "set", "GADF")
    near, far = (read_event_list(runs.files(obs_id)) for obs_id in (1, 2))
    at_source = np.hypot((near.ra - ra) * np.cos(np.radians(dec)), near.dec - dec) < 0.3
    assert abs(at_source.sum() - 0.5 * 1500) < 4 * np.sqrt(750)
    without = make_test_eventlist(table[1], TrueModel(trigger_rate=1.0), seed=0)
    assert len(far) == len(without)
    selection = select_off_runs(runs, read_catalog(tmp_path / "set" / "sources.ecsv"))
    assert selection.kept == (2,)
    assert "X-1" in str(selection.skipped[1])


def test_options_are_written_to_files(tmp_path):
    """Options other than their defaults are found in the index of runs."""
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
        point_sources=[],
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


def test_runs_and_seeds_are_independent():
    """Runs of the same altitude, and other seeds, have no events in common."""
    table = make_test_observation_table(2, seed=3)
    table["ALT_PNT"] = table["ALT_PNT"][0]
    first, second = (make_test_eventlist(row, TrueModel(trigger_rate=1.0), seed=3) for row in table)
    other = make_test_eventlist(table[0], TrueModel(trigger_rate=1.0), seed=4)
    for events in (second, other):
        assert not set(first.energy) & set(events.energy)


def test_source_events_follow_its_spectrum():
    """Events of sources have spectral index 2, are sorted in time and come only from sources in view."""
    table = make_test_observation_table(1, seed=0)
    source = PointSource("X", float(table["RA_PNT"][0]), float(table["DEC_PNT"][0]), 5.0)
    events = make_test_eventlist(table[0], TrueModel(trigger_rate=1e-9), point_sources=[source])
    assert len(events) > 7000
    assert np.all(np.diff(events.time) >= 0)
    low, high = 0.1**-1, 100.0**-1
    assert kstest((low - events.energy**-1) / (low - high), "uniform").pvalue > 1e-3
    # Of three sources, the two in view add events.
    other = PointSource("Y", float(table["RA_PNT"][0]), float(table["DEC_PNT"][0]) + 2, 1.0)
    far = PointSource("Z", float(table["RA_PNT"][0]), float(table["DEC_PNT"][0]) + 6, 50.0)
    events = make_test_eventlist(table[0], TrueModel(trigger_rate=1e-9), point_sources=[source, other, far])
    upper = events.dec > table["DEC_PNT"][0] + 1
    assert abs(upper.sum() - 1500) < 4 * np.sqrt(1500)
    assert abs((~upper).sum() - 7500) < 4 * np.sqrt(7500)
    assert np.all(np.diff(events.time) >= 0)


def test_excessive_rates_raise_errors():
    """Rates that would exceed the memory, or are NaN, raise an error."""
    table = make_test_observation_table(1)
    with raises("too-large", "up to 1.5e+15 events", "1e+08", "trigger_rate"):
        make_test_eventlist(table[0], TrueModel(trigger_rate=1e12))
    for name in ("gradient_x", "gradient_y"):
        with raises("invalid-argument", name, "nan"):
            TrueModel(**{name: np.nan})
        with raises("invalid-argument", name, "at most 100"):
            TrueModel(**{name: 1e308})  # the rate would be infinite minus infinite
