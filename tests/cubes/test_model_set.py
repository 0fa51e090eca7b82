"""Rates for runs, averaged over the pointings on the way."""

from dataclasses import replace

import numpy as np
import pytest
from astropy import units as u

from bgnb import (
    BackgroundModel,
    Cube,
    CubeAxes,
    DataError,
    EventList,
    ModelSet,
    ObservationGroups,
    RunCounts,
    Stack,
    stack_runs,
)
from bgnb.cubes.group_model import GroupModel, RateForRun
from bgnb.observations.coordinates import pointing_altaz, pointing_radec
from tests.helpers.errors import raises
from tests.helpers.run_files import HESS

MJD = 53343.95
GROUPS = ObservationGroups([20, 32, 45] * u.deg, [0, 360] * u.deg)
AXES = CubeAxes(np.geomspace(1, 16, 5) * u.TeV, [-1, 0, 2] * u.deg, [-3, -1, 0, 1] * u.deg)
NARROW = CubeAxes(AXES.energy[1:], AXES.dety, AXES.detx)


def event_list(gti):
    """Make a run without events in the east, that drifts upwards by 15 deg in 3920 s from altitude 25 deg."""
    gti = np.array(gti, dtype=float)
    ra, dec = pointing_radec(32.5, 90.0, MJD + 1960 / 86400, HESS)
    return EventList(1, *np.zeros((4, 0)), MJD, gti, float(np.diff(gti).sum()), ra, dec, HESS, None)


def model_set(low_axes=AXES, high_axes=AXES):
    """Make models of two groups, at altitude 26 and 38 deg; the higher one has four times the rate of the lower one."""
    models = []
    for group_id, alt_pnt, axes, factor in ((0, 26.0, low_axes, 1.0), (1, 38.0, high_axes, 4.0)):
        energy = axes.energy_centers.value[:, None, None]
        view = 1 + 0.03 * np.arange(6).reshape(2, 3)
        rate = Cube(axes, u.Quantity(factor * view * energy**-2, "MeV-1 s-1 sr-1"))
        model = BackgroundModel(rate, stack_runs([], axes), "true")
        models.append(GroupModel(group_id=group_id, alt_pnt=alt_pnt, az_pnt=90.0, model=model))
    return ModelSet(models=tuple(models), groups=GROUPS, model_ids={0: 0, 1: 1})


def test_models_of_unknown_groups():
    """A group without a model is an error that generators and loops do not take for their end."""
    models = replace(model_set(), models=model_set().models[1:])
    for wrong in (lambda: models[7], lambda: list(map(models.__getitem__, [1, 7])), lambda: list(models)):
        with raises("not-found", "has no model of group", "groups are 1"):
            wrong()


def altitudes(run):
    """Return altitudes at equidistant times in the good time."""
    times = np.concatenate([np.arange(start + 2.5, stop, 5) for start, stop in run.gti])
    return np.array([pointing_altaz(run.ra_pnt, run.dec_pnt, run.mjdref + time / 86400, run.site)[0] for time in times])


@pytest.mark.parametrize("gti", [[(0, 3920)], [(0, 900), (3000, 3920)]])
def test_nearest_groups_share_the_run(gti):
    """With nearest, the groups have the weights of the good time in which the run points to them."""
    run = event_list(gti)
    found = model_set().mean_rate_for(run, "nearest")
    high = np.mean(altitudes(run) > 32)
    assert found.weights == pytest.approx({0: 1 - high, 1: high}, abs=0.035)  # half a step of 240 s
    low = model_set().models[0].model.rate.quantity
    np.testing.assert_allclose(found.rate.quantity / low, found.weights[0] + 4 * found.weights[1], rtol=1e-12)


@pytest.mark.parametrize("gti", [[(0, 3920)], [(0, 900), (3000, 3920)]])
def test_interpolated_rates_are_averaged(gti):
    """Rates are averaged, not their logarithms; beyond the mean altitudes of the groups they are constant."""
    run, models = event_list(gti), model_set()
    found = models.mean_rate_for(run)
    low, high = np.sin(np.radians([26, 38]))
    part = np.clip((np.sin(np.radians(altitudes(run))) - low) / (high - low), 0, 1)
    assert found.weights == pytest.approx({0: 1 - part.mean(), 1: part.mean()}, rel=5e-3)
    expected = (4**part).mean()
    np.testing.assert_allclose(found.rate.quantity / models.models[0].model.rate.quantity, expected, rtol=1e-3)
    assert expected > 1.05 * 4 ** part.mean()


def test_short_run_has_the_rate_of_its_group():
    """A run in a single group has the very rate of this group."""
    models = model_set()
    found = models.mean_rate_for(event_list([(0, 200)]))
    assert found.weights == {0: 1.0}
    assert found.rate is models.models[0].model.rate


def test_pointing_of_a_rate():
    """A pointing may have a unit, and must be finite."""
    models = model_set()
    found, expected = models.rate_for(0.5 * u.rad, "20 deg").rate, models.rate_for(np.degrees(0.5), 20).rate
    np.testing.assert_array_equal(found.quantity, expected.quantity)
    for pointing in ((np.nan, 20), (30, np.inf), ([30], 20)):
        with raises("invalid-argument", "_pnt"):
            models.rate_for(*pointing)


@pytest.mark.parametrize("middle", [0, 1])
def test_different_axes_are_averaged(middle):
    """The mean is on the axes in the middle of the run; bins on the axes of one model only have the rate of this model."""
    run = event_list([(0, 3920)] if middle else [(0, 2600)])
    same, models = model_set(), model_set(AXES, NARROW)
    rate = models.mean_rate_for(run, "nearest").rate
    assert rate.axes == (NARROW if middle else AXES)
    expected = same.mean_rate_for(run, "nearest").rate.quantity
    np.testing.assert_allclose(rate.quantity[-3:], expected[-3:], rtol=0.02)  # interpolated between bins
    if not middle:
        np.testing.assert_allclose(rate.quantity[0], same.models[0].model.rate.quantity[0], rtol=1e-12)


def counted(model, planes, obs_id):
    """Give a model counts, the same number in each bin of an energy plane."""
    counts = np.broadcast_to(np.array(planes, dtype=np.int64)[:, None, None], model.axes.shape)
    run = RunCounts(obs_id, 100.0, None, int(counts.sum()), 0, 0, 0)
    stack = Stack(model.axes, "ALTAZ", counts, np.full(model.axes.shape, 100_000_000), (run,))
    return BackgroundModel(model.rate, stack, "true")


def test_covariance_and_reference_of_groups():
    """The variance is 1 / counts of each group, with the squared weights; the reference energy is the mean of the counts."""
    models = model_set()
    planes = {0: [6, 4, 2, 1], 1: [30, 20, 9, 0]}
    groups = tuple(
        replace(group, model=counted(group.model, planes[group.group_id], group.group_id)) for group in models.models
    )
    models = replace(models, models=groups)
    weights = {0: 0.25, 1: 0.75}
    covariance = models.count_covariance(RateForRun(rate=groups[0].model.rate, weights=weights), 32.0, 90.0)
    expected = [0.25**2 / (6 * low) + 0.75**2 / max(6 * high, 1) for low, high in zip(*planes.values(), strict=True)]
    np.testing.assert_allclose(covariance, np.diag(expected))
    scattered = replace(models)
    vars(scattered)["scatter"] = (0.3, None)
    common = scattered.count_covariance(RateForRun(rate=groups[0].model.rate, weights=weights), 32.0, 90.0) - covariance
    np.testing.assert_allclose(common, np.full((4, 4), 0.09 * (0.25**2 + 0.75**2)))
    assert models.scatter_freedom == 0
    total = np.sum(list(planes.values()), axis=0)
    mean = (total * np.log(AXES.energy_centers.value)).sum() / total.sum()
    assert models.reference_energy == pytest.approx(np.exp(mean))


def test_other_dates_and_telescopes_are_noted():
    """Runs long before or after the models' runs, or with other telescopes, are noted; unknown ones are not."""
    models = model_set()
    groups = []
    for group, mjd, n_tels in zip(models.models, (53000.0, 53200.0), (4, 3), strict=True):
        model = counted(group.model, [6, 4, 2, 1], group.group_id)
        (run,) = model.stack.runs
        stack = replace(model.stack, runs=(replace(run, mjd=mjd, n_tels=n_tels),))
        groups.append(replace(group, model=replace(model, stack=stack)))
    models = replace(models, models=tuple(groups))
    margin = 90

    def of(*runs):
        whole = RunCounts(1, 1.0, None, 0, 0, 0, 0, simulated=models.models[0].model.is_simulated)
        return {number: replace(whole, mjd=mjd, n_tels=n_tels) for number, mjd, n_tels in runs}

    early, late = 53000.0 - margin, 53200.0 + margin
    runs = of((7, early, 4), (8, early - 1, 3), (9, late + 1, None), (10, late, 2), (11, 53100.0, 5))
    dates, numbers = models.notes_on(runs)
    assert dates.endswith(": 8, 9")
    assert "2003-12-27 to 2004-07-14" in dates
    assert numbers.endswith("(3, 4): 10, 11")
    later, _ = replace(models, models=models.models[1:]).notes_on(of((1, 53000.0, 3), (2, 53200.0, 4)))
    assert later.count("2004-07-14") == 1  # a single day
    assert " to " not in later
    (other,) = model_set().notes_on(runs)
    assert other.startswith("runs that are real although the models are simulated")


def test_models_of_different_instruments_are_refused():
    """Models that state no instrument belong to any; all others must belong to the same one."""
    rate = Cube(AXES, u.Quantity(np.ones(AXES.shape), "MeV-1 s-1 sr-1"))

    def of(*telescops):
        models = []
        for number, telescop in enumerate(telescops):
            run = RunCounts(number, 1.0, None, 0, 0, 0, 0, telescop=telescop)
            zeros = np.zeros(AXES.shape, dtype=np.int64)
            model = BackgroundModel(rate, Stack(AXES, "ALTAZ", zeros, zeros, (run,)), "classic")
            models.append(GroupModel(group_id=number, alt_pnt=70.0, az_pnt=0.0, model=model))
        return ModelSet(models=tuple(models), groups=None, model_ids={})

    assert of("", "H.E.S.S.", "HESS", "").group_ids == [0, 1, 2, 3]
    with raises("mixed-instruments", "groups 1 and 3", "HESS", "VERITAS", kind=DataError):
        of("", "HESS", "HESS", "VERITAS")
