"""The spline for telescopes whose field of view is elongated and turns with azimuth, such as pairs."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from astropy import units as u

from bgnb import (
    Cell,
    CubeAxes,
    RunCounts,
    Stack,
    TrueModel,
    fit_spline,
    make_models,
    make_test_bg_cube_model,
    make_test_dataset,
)
from bgnb.cubes.cells import pointing_bin
from bgnb.cubes.spline import TERMS, TURNING_TERMS

AXES = CubeAxes(
    energy=np.geomspace(0.1, 50, 10) * u.TeV, dety=np.linspace(-4, 3.5, 19) * u.deg, detx=np.linspace(-3.5, 4, 21) * u.deg
)
VOLUME = AXES.bin_volume.to_value("MeV sr")
WITHOUT = TERMS
#: Pointings at azimuths at which there are no runs.
HELD_OUT = tuple(itertools.product((52.0, 70.0), range(10, 180, 20)))


def true_model(elongation: float, trigger_rate: float = 30.0) -> TrueModel:
    return TrueModel(elongation=elongation, baseline_az=35.0, sigma=4.0, trigger_rate=trigger_rate, spectral_index=1.7)


def runs(model: TrueModel, number: int, seed: int) -> list[tuple[float, float, Stack]]:
    """Draw counts of runs whose azimuths are not within 3 deg of those of `HELD_OUT`."""
    rng, found = np.random.default_rng(seed), []
    for obs_id in range(number):
        alt_pnt = np.degrees(np.arcsin(rng.uniform(0.6, 0.99)))
        az_pnt = float(rng.choice(np.arange(20, 380, 20)) + rng.uniform(-7, 7))
        counts = rng.poisson(model.expected(AXES, alt_pnt, az_pnt) * 1500)
        run = RunCounts(obs_id, 1500.0, None, int(counts.sum()), 0, 0, 0, alt_pnt=alt_pnt, az_pnt=az_pnt)
        found.append((alt_pnt, az_pnt, Stack(AXES, "ALTAZ", counts, np.full(AXES.shape, 1_500_000_000), (run,))))
    return found


def moments(counts: np.ndarray, axes: CubeAxes = AXES) -> complex:
    """Mean of (DETX + i DETY)² over events."""
    position = axes.detx_centers.value + 1j * axes.dety_centers.value[:, None]
    return complex((counts * position**2).sum() / counts.sum())


def recovered(spline, model: TrueModel) -> tuple[complex, float]:
    """Return the part of the quadrupole that changes with azimuth relative to the true one, and the width of pulls."""
    found, true, pulls = [], [], []
    for pointing in HELD_OUT:
        rate, error = (cube.quantity.value * VOLUME for cube in spline.at(*pointing))
        expected = model.expected(AXES, *pointing)
        found.append(moments(rate))
        true.append(moments(expected))
        pulls.append((rate - expected) / error)
    found, true = np.array(found), np.array(true)
    for values in (found, true):  # a constant quadrupole, such as that of the bins, does not turn
        values -= values.mean()
    return complex(np.vdot(true, found) / np.vdot(true, true)), float(np.sqrt(np.mean(np.square(pulls))))


def test_round_field_of_view_stays_round():
    """Turning terms vanish if nothing is elongated: few degrees of freedom, and the rate without them within its error."""
    model = true_model(1.0)
    cells = [Cell(*run) for run in runs(model, 24, 1)]
    spline, plain = fit_spline(cells), fit_spline(cells, WITHOUT)
    freedom = dict(zip(spline.terms, spline.degrees_of_freedom, strict=True))
    assert sum(freedom[term] for term in TURNING_TERMS[1:]) < 4
    for pointing in HELD_OUT[::4]:
        rate, error = (cube.quantity.value for cube in spline.at(*pointing))
        change = rate - plain.rate_at(*pointing).quantity.value
        assert np.sqrt(np.mean((change / error) ** 2)) < 0.6
        assert np.average(np.abs(change / rate), weights=rate * VOLUME) < 0.005


@pytest.mark.parametrize("elongation", [1.3, 0.75])
def test_turning_field_of_view_is_recovered(elongation):
    """The quadrupole at azimuths without runs is recovered, with its error; without the terms it is not."""
    model = true_model(elongation)
    cells = [Cell(*run) for run in runs(model, 24, 2)]
    ratio, width = recovered(fit_spline(cells), model)
    assert abs(ratio - 1) < 0.03
    assert width < 1.25
    ratio, width = recovered(fit_spline(cells, WITHOUT), model)
    assert abs(ratio) < 0.1
    assert width > 5


@pytest.mark.parametrize(("n_tels", "used"), [((2, 4), True), ((None, 4), True), ((3, 4), False)])
def test_turning_terms_are_for_few_telescopes(n_tels, used):
    """Turning terms are fitted if a run has fewer than three telescopes, or does not state their number."""
    cells = []
    for (alt_pnt, az_pnt, stack), number in zip(runs(true_model(1.0), 2, 5), n_tels, strict=True):
        (run,) = stack.runs
        cells.append(Cell(alt_pnt, az_pnt, replace(stack, runs=(replace(run, n_tels=number),))))
    assert fit_spline(cells).terms == (TERMS + TURNING_TERMS if used else TERMS)


@pytest.mark.slow
def test_turning_is_kept_in_sums_of_runs():
    """The quadrupole is recovered from runs that are summed in bins of pointing."""
    model = true_model(1.3, trigger_rate=8.0)
    bins: dict[tuple[int, ...], list[tuple[float, float, Stack]]] = {}
    for run in runs(model, 300, 3):
        bins.setdefault(pointing_bin(*run[:2]), []).append(run)
    assert len(bins) < 120
    cells = []
    for of_bin in bins.values():
        alt_pnt, az_pnt, stacks = zip(*of_bin, strict=True)
        stack = stacks[0]
        for other in stacks[1:]:
            stack += other
        cells.append(Cell.of_runs(np.array(alt_pnt), np.array(az_pnt), stack))
    ratio, width = recovered(fit_spline(cells), model)
    assert abs(ratio - 1) < 0.03
    assert width < 1.4


@pytest.mark.slow
def test_simulated_events_turn(tmp_path, monkeypatch):
    """Models of simulated runs, more than are fitted singly, have the true quadrupole at each azimuth."""
    monkeypatch.setattr("bgnb.production.plan.SINGLE_RUNS", 40)
    parameters = {"elongation": 1.4, "baseline_az": 35.0, "trigger_rate": 15.0, "sigma": 4.0, "spectral_index": 1.7}
    make_test_dataset(
        tmp_path / "runs",
        n_runs=45,
        observatory="MAGIC",
        n_tels_range=(2, 2),
        alt_range=(45, 85),
        seed=4,
        workers=1,
        **parameters,
    )
    production = make_models(tmp_path / "runs", "GADF", select="all", n_energy=8, n_fov=16, workers=1)
    spline, found, true = production.models.for_pointing, [], []
    for azimuth in range(10, 360, 40):
        rate = spline.rate_at(65.0, azimuth)
        expected = make_test_bg_cube_model(rate.axes, "65 deg", TrueModel(**parameters), f"{azimuth} deg").rate
        for values, cube in ((found, rate), (true, expected)):
            values.append(moments((cube.quantity * rate.axes.bin_volume).value, rate.axes))
    ratio = np.vdot(true, found) / np.vdot(true, true)
    assert abs(ratio - 1) < 0.05


def test_turning_gradient_is_recovered():
    """A gradient that turns with the azimuth, as of two unequal telescopes, is that of the counts in each quadrant."""
    cells, rng = [], np.random.default_rng(4)
    y, x = np.meshgrid(AXES.dety_centers.value, AXES.detx_centers.value, indexing="ij")
    model = true_model(1.0)
    for obs_id, az_pnt in enumerate(np.arange(5.0, 365, 15)):
        turn = np.radians(az_pnt + 20)
        gradient = np.exp(0.08 * (x * np.sin(turn) + y * np.cos(turn)))
        counts = rng.poisson(model.expected(AXES, 60.0, az_pnt) * gradient * 1500)
        run = RunCounts(obs_id, 1500.0, None, int(counts.sum()), 0, 0, 0, alt_pnt=60.0, az_pnt=az_pnt)
        cells.append(Cell(60.0, az_pnt, Stack(AXES, "ALTAZ", counts, np.full(AXES.shape, 1_500_000_000), (run,))))
    spline = fit_spline(cells)
    for az_pnt in (70.0, 160.0, 250.0, 340.0):  # the gradient is along one of the axes
        rate = (spline.rate_at(60.0, az_pnt).quantity.value * VOLUME).sum(axis=0)
        true = model.expected(AXES, 60.0, az_pnt).sum(axis=0)
        turn = np.radians(az_pnt + 20)
        along = x * np.sin(turn) + y * np.cos(turn)
        slope = np.polyfit(along.ravel(), np.log(rate / true).ravel(), 1, w=np.sqrt(true).ravel())[0]
        assert slope == pytest.approx(0.08, abs=0.008)
