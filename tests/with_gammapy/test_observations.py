"""Models made from observations of Gammapy are those of the same runs."""

import gzip
from dataclasses import replace
from shutil import copytree

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import AltAz, EarthLocation
from astropy.table import Table
from astropy.time import Time

pytest.importorskip("gammapy", reason="Gammapy needs a separate environment: make test-gammapy")
from gammapy.data import GTI, DataStore, EventList, FixedPointingInfo, Observation, ObservationMetaData
from gammapy.maps import MapAxis, RegionNDMap

import bgnb
from bgnb import DataError
from tests.helpers.errors import raises
from tests.helpers.files import changed_file, digests_and_times
from tests.helpers.gammapy_runs import run_file, set_good_time, write_rotating_runs

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of Gammapy and its dependencies
    pytest.mark.filterwarnings("ignore::UserWarning"),
]
SETTINGS = {"select": "all", "method": "classic", "n_energy": 6, "n_fov": 8, "progress": False}


@pytest.fixture(scope="module")
def indir(tmp_path_factory):
    """Three runs, one of them with a gap."""
    return write_rotating_runs(tmp_path_factory.mktemp("simulated") / "runs")


@pytest.fixture
def observations(indir):
    """Observations of these runs, from files."""
    return DataStore.from_dir(indir).get_observations(required_irf=["aeff"])


def in_memory(observation, **changes):
    """Make an observation in memory; ``changes`` are its components."""
    names = ("obs_id", "meta", "gti", "aeff", "events", "pointing")
    location = {"location": observation.observatory_earth_location}
    return Observation(**{name: getattr(observation, name) for name in names} | location | changes)


def assert_equal_models(ours, main):
    """Assert that models have equal counts and runs, and livetimes and rates that agree."""
    assert [each.group_id for each in ours.models.models] == [each.group_id for each in main.models.models]
    for one, other in zip(ours.models.models, main.models.models, strict=True):
        one, other = one.model, other.model
        np.testing.assert_array_equal(one.stack.counts, other.stack.counts)
        assert one.stack.counts.sum() > 500
        np.testing.assert_allclose(one.stack.livetime_us, other.stack.livetime_us, rtol=1e-6)
        np.testing.assert_allclose(one.rate.quantity.value, other.rate.quantity.value, rtol=1e-6)
        for run, expected in zip(one.stack.runs, other.stack.runs, strict=True):
            rounded = ("livetime_s", "ontime_s", "alt_pnt", "az_pnt", "mjd")
            same = {name: getattr(expected, name) for name in rounded}
            assert replace(run, **same, notes=()) == replace(expected, notes=())  # notes on the index, which ours lacks
            np.testing.assert_allclose([getattr(run, name) for name in rounded], list(same.values()), rtol=1e-7)
    assert ours.report.notes == main.report.notes
    assert ours.report.group_ids == main.report.group_ids


def notes_of(production):
    """Return the notes on runs."""
    return [note for run in production.report.runs for note in (run.counted.notes if run.counted else ())]


def assert_equal_runs(ours, main):
    """Assert that models have equal counts, and livetimes that agree."""
    assert [each.group_id for each in ours.models.models] == [each.group_id for each in main.models.models]
    for one, other in zip(ours.models.models, main.models.models, strict=True):
        one, other = one.model.stack, other.model.stack
        np.testing.assert_array_equal(one.counts, other.counts)
        np.testing.assert_allclose(one.livetime_us, other.livetime_us, rtol=1e-6)


@pytest.mark.parametrize("fovalign", ["ALTAZ", "RADEC"])
def test_models_are_those_of_the_runs(indir, observations, fovalign):
    """Observations of a data store give the models of the runs, and the files stay as they are."""
    before = digests_and_times(indir)
    ours = bgnb.gammapy.make_models(observations, fovalign=fovalign, **SETTINGS)
    assert digests_and_times(indir) == before
    main = bgnb.make_models(indir, "GADF", fovalign=fovalign, **SETTINGS)
    assert_equal_models(ours, main)
    for name in ("OBS_ID", "OBJECT", "RA_PNT", "DEC_PNT", "GROUP_ID"):
        assert ours.runs[name].tolist() == main.runs[name].tolist()


def test_models_of_selected_observations(indir):
    """Only the observations that the user selected contribute."""
    selected = DataStore.from_dir(indir).get_observations([3, 1], required_irf=["aeff"])
    main = bgnb.make_models(indir, "GADF", **SETTINGS | {"select": [1, 3]})
    ours = bgnb.gammapy.make_models(selected, **SETTINGS)
    assert ours.report.group_ids.keys() == {1, 3}
    for one, other in zip(ours.models.models, main.models.models, strict=True):
        np.testing.assert_array_equal(one.model.stack.counts, other.model.stack.counts)


def test_models_of_real_observations(hess_data):
    """Real observations give the models of the runs, with their thresholds."""
    ids = [20561, 20915, 21613]
    settings = SETTINGS | {"select": ids, "min_livetime": "5 h"}
    observations = DataStore.from_dir(hess_data).get_observations(ids)
    main = bgnb.make_models(hess_data, "GADF", **settings)
    assert_equal_models(bgnb.gammapy.make_models(observations, **settings), main)
    assert len({run.energy_threshold_tev for run in main.models.models[0].model.stack.runs}) == 3


@pytest.mark.slow
def test_models_with_two_processes(observations):
    """Observations in files and in memory are sent to other processes."""
    some = [observations[0], *(in_memory(each) for each in observations[1:])]
    alone, together = (bgnb.gammapy.make_models(some, workers=workers, **SETTINGS) for workers in (1, 2))
    assert_equal_models(together, alone)


def test_models_of_selected_time(indir, observations, tmp_path):
    """A time filter cuts events, good time and livetime, as if the files had this good time."""
    copytree(indir, tmp_path / "in")
    some = []
    for observation in observations:
        start, stop = observation.tstart + 200 * u.s, observation.tstart + 1400 * u.s
        some.append(observation.select_time(Time([start, stop])))
        gti = [(200, 300), (1200, 1400)] if observation.obs_id == 3 else [(200, 1400)]
        set_good_time(run_file(tmp_path / "in", observation.obs_id), np.array(gti, dtype=float))
    main = bgnb.make_models(tmp_path / "in", "GADF", **SETTINGS)
    ours = bgnb.gammapy.make_models(some, **SETTINGS)
    for one, other in zip(ours.models.models, main.models.models, strict=True):
        one, other = one.model.stack, other.model.stack
        np.testing.assert_array_equal(one.counts, other.counts)
        np.testing.assert_allclose(one.livetime_us, other.livetime_us, rtol=1e-6)
    ontimes = {run.obs_id: run.ontime_s for each in ours.models.models for run in each.model.stack.runs}
    assert ontimes == pytest.approx({1: 1200, 2: 1200, 3: 300}, rel=1e-6)


@pytest.mark.parametrize(
    ("keywords", "settings", "live_fraction"),
    [
        ({"DEADC": 1.0}, {}, 1500 / 1800),  # LIVETIME is shorter than the good time
        ({"DEADC": 1.0, "LIVETIME": "1620"}, {"trust": ["livetime"]}, 0.9),
        ({"ONTIME": 1700.0, "LIVETIME": 1700 * 1500 / 1800}, {}, 1500 / 1800),  # with gaps in the good time, as of LST-1
        ({"ONTIME": 0.0, "LIVETIME": 1520.0, "TSTOP": 352329680.0 + 1824.0}, {}, 1500 / 1800),  # DEADC × (TSTOP - TSTART)
        ({"LIVETIME": 1200.0}, {"trust": ["livetime"]}, 1200 / 1800),
        ({"DEADC": 0.0}, {}, 1500 / 1800),  # placeholders
        ({"LIVETIME": 0.0}, {}, 1500 / 1800),
    ],
)
def test_livetime_is_what_the_header_states(indir, tmp_path, keywords, settings, live_fraction):
    """Contradictions between LIVETIME, DEADC and ONTIME are resolved as for files, also if a time is selected."""
    copytree(indir, tmp_path / "in")
    with changed_file(run_file(tmp_path / "in", 2)) as hdus:
        hdus["EVENTS"].header.update(keywords)
    store = DataStore.from_dir(tmp_path / "in")
    settings = SETTINGS | settings | {"select": [1, 2]}
    observations = store.get_observations([1, 2], required_irf=["aeff"])
    main = bgnb.make_models(tmp_path / "in", "GADF", **settings)
    whole = bgnb.gammapy.make_models(observations, **settings)
    assert_equal_runs(whole, main)
    assert notes_of(whole) == [note for note in notes_of(main) if "LIVETIME of the index" not in note]
    half = []
    for observation in observations:
        middle = observation.tstart + (observation.tstop - observation.tstart) / 2
        half.append(observation.select_time(Time([observation.tstart, middle])))
    made = bgnb.gammapy.make_models(half, **settings).models.models
    livetimes = {run.obs_id: run.livetime_s for each in made for run in each.model.stack.runs}
    length = (observations[1].tstop - observations[1].tstart).to_value("s") / 2
    assert livetimes == pytest.approx({1: 750, 2: live_fraction * length}, rel=1e-6)


def test_contradictory_altitude_is_refused(indir, tmp_path):
    """An altitude in the header that is far from that of the pointing is an error, as in files; a part has none of its own."""
    copytree(indir, tmp_path / "in")
    with changed_file(run_file(tmp_path / "in", 2)) as hdus:
        hdus["EVENTS"].header["ALT_PNT"] = 45.0
    (observation,) = DataStore.from_dir(tmp_path / "in").get_observations([2], required_irf=["aeff"])
    with raises("no-counts", "ALT_PNT = 45.0", "--pointing computed"):
        bgnb.gammapy.make_models([observation], **SETTINGS)
    part = observation.select_time(Time([observation.tstart, observation.tstart + 600 * u.s]))
    for each, settings in ((observation, {"pointing": "computed"}), (part, {})):
        (run,) = bgnb.gammapy.make_models([each], **SETTINGS | settings).models.models[0].model.stack.runs
        assert 72 < run.alt_pnt < 78


@pytest.mark.parametrize("keywords", [{"DATE-OBS": "1999-01-01"}, {"ALT_PNT": 70.0}])
def test_contradictions_are_noted_as_in_files(indir, tmp_path, keywords):
    """Notes are those on the file if the date is wrong, or the altitude differs a little."""
    copytree(indir, tmp_path / "in")
    with changed_file(run_file(tmp_path / "in", 2)) as hdus:
        hdus["EVENTS"].header.update(keywords)
    settings = SETTINGS | {"select": [2]}
    main = bgnb.make_models(tmp_path / "in" / "data", "FILES", **settings)
    ours = bgnb.gammapy.make_models(
        DataStore.from_dir(tmp_path / "in").get_observations([2], required_irf=["aeff"]), **settings
    )
    assert_equal_runs(ours, main)
    assert [note for note in notes_of(main) if "in the index" not in note] == notes_of(ours) != []


def test_offset_that_gammapy_ignores(indir, tmp_path):
    """An offset of times, which Gammapy ignores, is refused instead of taking another altitude than for the file."""
    copytree(indir, tmp_path / "in")
    with changed_file(run_file(tmp_path / "in", 2)) as hdus:
        hdus["EVENTS"].header["TIMEOFFS"] = hdus["GTI"].header["TIMEOFFS"] = 3600.0
    observations = DataStore.from_dir(tmp_path / "in").get_observations([2], required_irf=["aeff"])
    with raises("no-counts", "TIMEOFFS"):
        bgnb.gammapy.make_models(observations, **SETTINGS)


def test_dead_time_that_the_user_gives(observations):
    """If an observation has another dead time than the header of its events, the livetime is that of the observation."""
    original = observations[0]
    meta = original.meta.model_copy()
    meta.deadtime_fraction = 0.1
    made = bgnb.gammapy.make_models([in_memory(original, meta=meta)], **SETTINGS).models.models
    assert made[0].model.stack.runs[0].livetime_s == pytest.approx(1620, rel=1e-6)


@pytest.mark.parametrize("site", [{}, {"GEOLON": 0.0, "GEOLAT": 0.0}])
def test_pointing_of_the_header(indir, tmp_path, site):
    """Altitude and azimuth are those of the header, if this is asked for; the site is not needed."""
    copytree(indir, tmp_path / "in")
    for number in (1, 2, 3):
        with changed_file(run_file(tmp_path / "in", number)) as hdus:
            hdus["EVENTS"].header.update({"ALT_PNT": 40.0 + number, "AZ_PNT": 10.0} | site)
    with changed_file(tmp_path / "in" / "obs-index.fits.gz") as hdus:
        hdus[1].data["ALT_PNT"] = [41, 42, 43]
        hdus[1].data["AZ_PNT"] = 10
    observations = DataStore.from_dir(tmp_path / "in").get_observations(required_irf=["aeff"])
    settings = SETTINGS | {"pointing": "header"}
    ours = bgnb.gammapy.make_models(observations, **settings)
    assert_equal_runs(ours, bgnb.make_models(tmp_path / "in", "GADF", **settings))
    altitudes = {run.obs_id: run.alt_pnt for each in ours.models.models for run in each.model.stack.runs}
    assert altitudes == pytest.approx({1: 41, 2: 42, 3: 43})


def test_observations_created_in_memory(observations):
    """Observations that Gammapy creates need no headers; those of its simulations have empty keywords and mirrored DETX."""
    created = []
    for original in observations[:2]:
        table = original.events.table
        events = Table({name: table[name] for name in ("TIME", "RA", "DEC", "ENERGY")})
        pointing = original.pointing.fixed_icrs
        offset = pointing.skyoffset_frame()
        position = original.events.radec.transform_to(offset)
        events["DETX"], events["DETY"] = position.lon.wrap_at("180d"), position.lat
        events.meta = {"N_TELS": "", "TSTART": 5.0, "TSTOP": 4.0, "CREATOR": "Gammapy"} if original.obs_id == 2 else {}
        each = Observation.create(
            original.pointing,
            location=original.observatory_earth_location,
            obs_id=original.obs_id,
            tstart=original.gti.time_start[0].utc,
            tstop=original.gti.time_stop[0].utc,
            irfs={"aeff": original.aeff},
            deadtime_fraction=original.observation_dead_time_fraction,
            reference_time=Time("2010-01-01 00:00:00"),
        )
        each.events = EventList(events)
        created.append(each)
    ours, expected = (bgnb.gammapy.make_models(some, **SETTINGS) for some in (created, observations[:2]))
    for one, other in zip(ours.models.models, expected.models.models, strict=True):
        np.testing.assert_array_equal(one.model.stack.counts, other.model.stack.counts)
        np.testing.assert_allclose(one.model.stack.livetime_us, other.model.stack.livetime_us, rtol=1e-6)


def test_copies_with_another_number(observations):
    """Copies with other numbers keep the effective area of the original."""
    copies = [observations[0].copy(in_memory=True, obs_id=f"{obs_id}") for obs_id in (7, 8)]
    (group,) = bgnb.gammapy.make_models(copies, allow="duplicate-run", **SETTINGS).models.models
    assert group.model.stack.obs_ids == [7, 8]
    assert {run.energy_threshold_tev for run in group.model.stack.runs} == {observations[0].aeff.meta["LO_THRES"]}


@pytest.mark.parametrize("kind", ["missing", "map"])
def test_observations_without_threshold(observations, kind):
    """Without an effective area, or with a map, there is no energy threshold."""
    axis = MapAxis.from_energy_bounds("0.1 TeV", "100 TeV", nbin=2, name="energy_true")
    aeff = RegionNDMap.create("icrs;circle(83.63, 22.01, 0.5)", axes=[axis], unit="m2 s") if kind == "map" else None
    (group,) = bgnb.gammapy.make_models([in_memory(observations[0], aeff=aeff)], **SETTINGS).models.models
    assert [run.energy_threshold_tev for run in group.model.stack.runs] == [None]


def with_event_filter(observation, parameter, **values):
    filtered = observation.copy()
    filtered.obs_filter.event_filters = [{"type": "custom", "opts": {"parameter": parameter} | values}]
    return filtered


def with_column(observation, name, values):
    """Change a column of the events, which Gammapy checks only when it makes them."""
    changed = in_memory(observation, events=EventList(observation.events.table.copy()))
    changed.events.table.remove_column(name)
    if values is not None:
        changed.events.table[name] = values
    return changed


def test_part_without_events_is_a_measurement(observations):
    """A part of a run without events counts with its livetime; a whole run without events is suspicious, and skipped."""
    whole = observations[0]
    seconds = np.sort((whole.events.time - whole.tstart).to_value("s"))
    first = np.diff(seconds).argmax()
    ends = [seconds[first] + 0.01, seconds[first + 1] - 0.01]
    part = whole.select_time(Time(whole.tstart + ends * u.s))
    assert len(part.events.table) == 0
    report = bgnb.gammapy.make_models([part, observations[1]], on_error="fail", **SETTINGS).report
    (run,) = (each for each in report.runs if each.obs_id == whole.obs_id)
    assert run.reason is None
    assert (run.counted.events, run.counted.ontime_s) == (0, pytest.approx(np.diff(ends)[0], abs=1e-4))


def far_in_time(observation):
    return observation.select_time(Time([60000, 60001], format="mjd", scale="tt"))


BROKEN = {
    "gti": (lambda each: in_memory(each, gti=None), "missing-hdu", "gti"),
    "events": (lambda each: in_memory(each, events=None), "missing-hdu", "events"),
    "pointing": (lambda each: in_memory(each, pointing=None), "missing-hdu", "pointing"),
    "location of 0": (lambda each: in_memory(each, location=EarthLocation.from_geodetic(0, 0)), "unknown-site", "location"),
    "location": (lambda each: in_memory(each, location=None, meta=ObservationMetaData()), "unknown-site", "location"),
    "drift": (
        lambda each: in_memory(each, pointing=FixedPointingInfo(fixed_altaz=AltAz(alt=70 * u.deg, az=10 * u.deg))),
        "unsupported-mode",
        "pointing",
    ),
    "empty events": (lambda each: in_memory(each, events=EventList(each.events.table[:0])), "no-events", "EVENTS"),
    "empty gti": (lambda each: in_memory(each, gti=GTI(each.gti.table[:0], each.gti.time_ref)), "bad-gti", "gti"),
    "time": (far_in_time, "bad-gti", "gti"),
    "filter": (lambda each: with_event_filter(each, "ENERGY", values=(1, 9) * u.TeV), "invalid-argument", "event filters"),
    "phase": (lambda each: with_event_filter(each, "PHASE", values=(0.2, 0.4)), "invalid-argument", "event filters"),
    "energy": (lambda each: with_column(each, "ENERGY", np.ones(len(each.events.table))), "bad-unit", "ENERGY"),
    "no times": (lambda each: with_column(each, "TIME", None), "missing-column", "TIME"),
    "times": (lambda each: with_column(each, "TIME", np.arange(len(each.events.table))), "bad-column", "TIME"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_observations_are_skipped(observations, kind):
    """Observations that lack something are skipped and named; with on_error="fail" they are errors."""
    change, code, word = BROKEN[kind]
    some = [change(observations[0]), observations[1]]
    report = bgnb.gammapy.make_models(some, **SETTINGS).report
    reason, good = (run.reason for run in report.runs)
    assert good is None
    assert "observation 1" in str(reason)
    assert str(reason).endswith(f"[{code}]")
    with raises(code, "observation 1", word, kind=DataError):
        bgnb.gammapy.make_models(some, on_error="fail", **SETTINGS)


def test_notes_on_observations_stop(observations):
    """With on_error="fail" a note on a selected observation is an error."""
    values = observations[0].events.table["ENERGY"].quantity.copy()
    values[3] = np.nan
    some = [with_column(observations[0], "ENERGY", values), observations[1]]
    assert "invalid values of ENERGY" in bgnb.gammapy.make_models(some, **SETTINGS).report.runs[0].counted.notes[0]
    with raises("noted", "observation 1", "invalid values of ENERGY", kind=DataError):
        bgnb.gammapy.make_models(some, on_error="fail", **SETTINGS)


def without_deadc(path):
    """Remove DEADC, without which Gammapy has no metadata."""
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()).replace(b"DEADC   =", b"DEADX   =")))


def damage(path):
    """Overwrite compressed data."""
    content = path.read_bytes()
    path.write_bytes(content[:60] + bytes([255] * 40) + content[100:])


FILES = {
    "missing": (lambda path: path.unlink(), "not-found"),
    "empty": (lambda path: path.write_bytes(b""), "unreadable"),
    "not compressed": (lambda path: path.write_bytes(b"events" * 1000), "unreadable"),
    "damaged": (damage, "unreadable"),
    "truncated": (lambda path: path.write_bytes(path.read_bytes()[:9000]), "missing-hdu"),
    "metadata": (without_deadc, "missing-hdu"),
}


@pytest.mark.parametrize("kind", FILES)
def test_broken_files_are_skipped(indir, tmp_path, kind):
    """Observations whose files Gammapy cannot read are skipped and named."""
    copytree(indir, tmp_path / "in")
    some = DataStore.from_dir(tmp_path / "in").get_observations(required_irf=["aeff"])
    change, code = FILES[kind]
    change(run_file(tmp_path / "in", 1))
    reasons = [run.reason for run in bgnb.gammapy.make_models(some, **SETTINGS).report.runs]
    assert reasons[1:] == [None, None]
    assert "observation 1" in str(reasons[0])
    assert str(reasons[0]).endswith(f"[{code}]")


def test_unreadable_threshold_is_an_error(indir, tmp_path):
    """An effective area that Gammapy does not find is not taken for one without a threshold, unless that is allowed."""
    copytree(indir, tmp_path / "in")
    path = run_file(tmp_path / "in", 1)
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()).replace(b"'AEFF    '", b"'OTHER   '")))
    some = DataStore.from_dir(tmp_path / "in").get_observations(required_irf=["aeff"])
    with raises("missing-hdu", "observation 1", "AEFF", "--allow missing-hdu", kind=DataError):
        bgnb.gammapy.make_models(some, on_error="fail", **SETTINGS)
    runs = bgnb.gammapy.make_models(some, allow=["missing-hdu"], **SETTINGS).report.runs
    assert [run.counted.energy_threshold_tev is None for run in runs] == [True, False, False]
    assert any("allowed (missing-hdu)" in note for note in runs[0].counted.notes)


@pytest.mark.parametrize("number", ["run 5", None, 12.5])
def test_numbers_must_be_integers(observations, number):
    """The number of an observation must be an integer."""
    with raises("invalid-value", "obs_id", number):
        bgnb.gammapy.make_models([in_memory(observations[0], obs_id=number)], **SETTINGS)


def test_numbers_must_be_unique(observations):
    """Two observations cannot have the same number."""
    with raises("duplicate-run", "obs_id", 1):
        bgnb.gammapy.make_models([observations[0], in_memory(observations[1], obs_id=1)], **SETTINGS)


def test_no_observations_are_an_error():
    """There must be an observation."""
    with raises("no-runs", "no observations"):
        bgnb.gammapy.make_models([], **SETTINGS)


def test_models_of_observations_on_disk(observations, indir, tmp_path):
    """Models of observations can be written, and attached."""
    production = bgnb.gammapy.make_models(observations, **SETTINGS)
    bgnb.write_models(production, tmp_path / "models")
    assert not any(bgnb.check(tmp_path / "models").values())
    read = bgnb.read_models(tmp_path / "models")
    for one, other in zip(read.models, production.models.models, strict=True):
        np.testing.assert_allclose(one.model.rate.quantity.value, other.model.rate.quantity.value, rtol=1e-12)
    assert bgnb.attach(tmp_path / "models", indir, "GADF", tmp_path / "store").obs_ids == [1, 2, 3]


def test_other_values_are_no_observations(observations):
    """A single observation, a path or numbers are refused."""
    for value in (observations[0], "hess-dl3-dr1", 5, [23523]):
        with raises("invalid-argument", "observation"):
            bgnb.gammapy.make_models(value)
