"""Tests of single runs: injected errors are found where they are, and runs without errors give no alarm."""

from dataclasses import replace

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from scipy.stats import kstest

from bgnb import BackgroundModel, CubeAxes, ModelSet, TrueModel, make_test_eventlist, make_test_observation_table
from bgnb.cubes.exclusion_mask import SourceMask
from bgnb.cubes.group_model import GroupModel, RateForRun
from bgnb.validation.run_check_views import check_view
from bgnb.validation.run_tests import TESTS, compare_time, run_tests
from tests.helpers.errors import raises
from tests.helpers.true_models import true_model

AXES = CubeAxes(np.geomspace(0.1, 80, 25) * u.TeV, np.linspace(-4, 4, 33) * u.deg, np.linspace(-4, 4, 41) * u.deg)
TRUE = TrueModel(sigma=2.5, spectral_index=1.5, trigger_rate=6.0, gradient_x=0.15, gradient_y=-0.1)
TABLE = make_test_observation_table(n_runs=40, seed=3, alt_range=(69, 71))
#: Probability below which each of five tests gives an alarm, for one false alarm in 100 runs.
LIMIT = 1 - 0.99 ** (1 / 5)


def models_and_rate(model: BackgroundModel) -> tuple[ModelSet, RateForRun]:
    """Make a set of one model, and its rate for all runs."""
    group = GroupModel(group_id=0, alt_pnt=70.0, az_pnt=180.0, model=model)
    return ModelSet(models=(group,), groups=None, model_ids={0: 0}), RateForRun(rate=model.rate, weights={0: 1.0})


MODELS, RATE = models_and_rate(true_model(AXES, TRUE))


def simulated(number: int, **changes):
    """Simulate a run; its threshold of 0.12 TeV excludes a third of the events from all tests but that of time."""
    run = make_test_eventlist(TABLE[number], TRUE, energy_threshold=0.12, seed=9)
    return replace(run, **changes)


def without(run, lost):
    """Remove events."""
    return replace(run, **{name: getattr(run, name)[~lost] for name in ("time", "ra", "dec", "energy")})


def with_source(run, n_events, west, north, seed=0):
    """Add a point source, at a position relative to the pointing, deg."""
    rng = np.random.default_rng(seed)
    x, y = west + rng.normal(0, 0.06, n_events), north + rng.normal(0, 0.06, n_events)
    ra, dec = run.field_of_view.sky_position("RADEC", x, y, np.zeros(1))
    added = {"time": rng.uniform(*run.gti[0], n_events), "ra": ra, "dec": dec, "energy": np.full(n_events, 0.9)}
    return replace(run, **{name: np.append(getattr(run, name), values) for name, values in added.items()})


def alarms(result) -> set[str]:
    """Return the names of the tests that give an alarm."""
    return {name for name, test in result.tests.items() if test.p_value < LIMIT}


@pytest.mark.slow
def test_good_runs_give_no_alarm():
    """Runs of the true model give no alarm; random numbers depend on OBS_ID only."""
    results = [run_tests(MODELS, RATE, simulated(number)) for number in range(2)]
    assert not any(alarms(result) for result in results)
    for number, result in enumerate(results):
        assert tuple(result.tests) == TESTS
        assert result.events == len(simulated(number)) == result.time.counts.sum()
        assert result.norm.norm == pytest.approx(1, abs=0.1)
        assert result.energy.expected.sum() == pytest.approx(result.energy.counts.sum())
    repeated = run_tests(MODELS, RATE, simulated(0))
    assert repeated.tests == results[0].tests
    assert run_tests(MODELS, RATE, simulated(0, obs_id=77)).tests["field"].p_value != results[0].tests["field"].p_value


@pytest.mark.slow
def test_short_dips_are_found():
    """A rate reduced by 20 % for 5 min is found in more than 95 % of runs of 10 000 events, and at the right time."""
    found, wrong = 0, 0
    for number in range(40):
        run = simulated(number)
        rng = np.random.default_rng(number)
        start = rng.uniform(0, run.ontime - 300)
        since = run.time - run.gti[0, 0]
        dip = (since >= start) & (since < start + 300)
        good, _ = compare_time(run, None, np.random.default_rng(1))
        wrong += good.p_value < 0.05
        test, cells = compare_time(without(run, dip & (rng.random(len(run)) < 0.2)), None, np.random.default_rng(1))
        marked = cells.edges[cells.marked]
        found += test.p_value < LIMIT and test.significance < 0 and marked[0, 0] < start + 300 and marked[-1, 1] > start
    assert found > 0.95 * 40
    assert wrong <= 7  # 2 expected


@pytest.mark.slow
def test_dead_sectors_and_sources_are_found():
    """A sector without 5 % of the events, and a source of 40 events, are found in each run, where they are."""
    sectors = sources = 0
    for number in range(6):
        rng = np.random.default_rng(number)
        west, north = rng.uniform(0.3, 0.9) * rng.choice([-1, 1]), rng.uniform(-0.9, 0.9)
        run = simulated(number)
        x, y = run.detxy("ALTAZ")
        after = (np.degrees(np.arctan2(y, x)) - (first := rng.uniform(0, 360))) % 360
        ra, dec = run.field_of_view.sky_position("RADEC", np.array([west]), np.array([north]), np.zeros(1))
        result = run_tests(MODELS, RATE, with_source(without(run, after < 18), 40, west, north, number))
        sector, source = result.tests["field"], result.tests["source"]
        assert [each.name for each in check_view(result, "").panels["energy"].series] == ["observed"]  # no points at 1
        assert np.isfinite(result.field.significance[result.field.marked]).all()  # not beyond the largest offset
        pixel_y, pixel_x = np.nonzero(result.field.marked)
        middle = (result.field.edges[1:] + result.field.edges[:-1]) / 2
        angle = (np.degrees(np.arctan2(middle[pixel_y], middle[pixel_x])) - first) % 360
        sectors += sector.p_value < LIMIT and sector.significance < 0 and bool(np.any(angle < 18))
        place = SkyCoord(
            *map(float, source.where.replace("RA ", "").replace("DEC ", "").split(" deg")[0].split(",")), unit="deg"
        )
        sources += source.p_value < LIMIT and place.separation(SkyCoord(ra[0], dec[0], unit="deg")).deg < 0.15
        pixel_y, pixel_x = (each.mean() for each in np.nonzero(result.sky.marked))
        size = result.sky.significance.shape[0]
        on_map = (np.array([pixel_x, pixel_y]) + 0.5) * 5 / size - 2.5
        sources -= np.hypot(*(on_map - [west, north])) > 0.2 and source.p_value < LIMIT
    assert sectors == 6
    assert sources == 6


@pytest.mark.slow
def test_masked_sources_are_ignored():
    """A source in an exclusion region changes no test but that of time, which also ignores it."""
    run = simulated(5)
    bright = with_source(run, 400, 0.7, -0.6)
    burst = bright.time < run.gti[0, 0] + 200
    bright = without(bright, np.append(np.zeros(len(run), dtype=bool), ~burst[len(run) :]))
    assert {"source", "field"} <= alarms(run_tests(MODELS, RATE, bright))
    ra, dec = run.field_of_view.sky_position("RADEC", np.array([0.7]), np.array([-0.6]), np.zeros(1))
    mask = SourceMask(np.append(ra, 10.0), np.append(dec, 80.0), np.array([0.5, 1.0]))
    masked, empty = (run_tests(MODELS, RATE, each, mask) for each in (bright, run))
    assert masked.tests == empty.tests
    assert masked.time.counts.sum() == len(run) - mask.covers(run.ra, run.dec).sum()
    assert not alarms(masked)


@pytest.mark.slow
def test_norm_and_spectrum_alarms():
    """Few events are an alarm of the norm, also at a vague scatter; missing energies one of the spectrum, at these energies."""
    run = simulated(6)
    fewer = run_tests(MODELS, RATE, without(run, np.arange(len(run)) % 6 > 0))
    assert "norm" in alarms(fewer)
    assert fewer.tests["norm"].significance < 0
    assert fewer.norm.norm == pytest.approx(1 / 6, rel=0.2)
    low, high = AXES.energy[6:8].value
    gap = run_tests(MODELS, RATE, without(run, (run.energy > low) & (run.energy < high) & (np.arange(len(run)) % 2 > 0)))
    assert alarms(gap) == {"energy"}
    assert gap.energy.edges[gap.energy.marked].tolist() == [[low, high]]
    assert gap.tests["energy"].significance < 0


@pytest.mark.slow
def test_probability_of_norm_is_uniform(monkeypatch):
    """Norms drawn with the scatter of the models have uniform probabilities; with few events they are not too small."""
    from bgnb.cubes.run_norm import prior_scatter
    from bgnb.validation import run_tests as module

    rng, scatter = np.random.default_rng(2), prior_scatter(MODELS)
    planes = slice(0, AXES.shape[0])
    for mean, tolerance in ((2000.0, 1e-3), (3.0, None)):
        values = []
        for _ in range(300):
            counts = rng.poisson(mean * np.exp(rng.normal(-(scatter**2) / 2, scatter)))
            norm = module.RunNorm(
                norm=1.0, norm_error=0.1, tilt=0.0, tilt_error=0.0, correlation=0.0, curvature=0.0, reference_tev=1.0,
                source="run", covariance=np.zeros((1, 1)), of_models=np.zeros((1, 1)),
                counts=int(counts), expected=mean,
            )  # fmt: skip
            values.append(module.compare_norm(MODELS, RATE, norm, planes, (70.0, 180.0)).p_value)
        if tolerance is not None:
            assert kstest(values, "uniform").pvalue > tolerance
        assert np.mean(np.array(values) < 0.05) < 0.09


@pytest.mark.slow
def test_runs_without_prediction_are_refused():
    """A run above whose threshold the models have no energies, or whose field of view is masked, is not called good."""
    for run, mask in (
        (simulated(0, energy_threshold=90.0), None),
        (simulated(0), SourceMask(np.array([TABLE["RA_PNT"][0]]), np.array([TABLE["DEC_PNT"][0]]), np.array([9.0]))),
    ):
        with raises("nothing-to-compare", f"run {run.obs_id}"):
            run_tests(MODELS, RATE, run, mask)
