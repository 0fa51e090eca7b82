"""Differences between models and the counts of which they are made, and the notes on them."""

from types import SimpleNamespace

import numpy as np
import pytest
from astropy import units as u

from bgnb import BackgroundModel, Cell, Cube, CubeAxes, RunCounts, Stack
from bgnb.cubes.group_model import GroupModel
from bgnb.production.misfit import notes_on_misfit

AXES = CubeAxes(np.geomspace(1, 27, 7) * u.TeV, np.linspace(-2, 2, 21) * u.deg, np.linspace(-2, 2, 26) * u.deg)
Y, X = np.meshgrid(AXES.dety_centers.value, AXES.detx_centers.value, indexing="ij")
#: Patterns that cancel in sums over energy.
SIGN = np.array([1, 1, -2, -2, 1, 1])[:, None, None] / np.sqrt(2)


def stack_of(pattern, n_counts=10**7, obs_id=3) -> Stack:
    """Draw counts of a pattern."""
    counts = np.random.default_rng(obs_id).poisson(pattern * n_counts / pattern.size)
    return Stack(
        AXES, "ALTAZ", counts, np.full(AXES.shape, 10**9), (RunCounts(obs_id, 1000.0, None, int(counts.sum()), 0, 0, 0),)
    )


def flat_model(group_id, stack) -> GroupModel:
    """Make a model with the same expected counts in all bins."""
    rate = Cube(AXES, 1 / stack.exposure)
    return GroupModel(group_id=group_id, alt_pnt=60.0, az_pnt=180.0, model=BackgroundModel(rate, stack, "flat"))


@pytest.mark.parametrize(("difference", "n_counts", "noted"), [(0.04, 10**7, 0), (0.06, 10**7, 1), (0.06, 10**4, 0)])
@pytest.mark.parametrize(
    ("bins", "pattern"),
    [
        ("pixel", np.where(np.arange(25) % 2, 1, -1) * np.ones(AXES.shape)),
        ("energy and offset", SIGN * np.where(np.hypot(Y, X) < 1.3, 1, -1)),
        (
            "energy and part of the field of view",
            SIGN * np.where(np.arange(25) < 12, 1, -1) * np.where(np.arange(20) < 10, 1, -1)[:, None],
        ),
    ],
)
def test_misfits_that_are_noted(bins, pattern, difference, n_counts, noted):
    """A difference is noted if it is above 5 % and significant, of the group in which it is, and where it does not cancel."""
    models = [
        flat_model(3, stack_of(np.ones(AXES.shape), n_counts)),
        flat_model(5, stack_of(1 + difference * pattern, n_counts)),
    ]
    notes = notes_on_misfit([], None, models)
    assert len(notes) == noted
    assert all(f"the models of group 5 differ from their counts by 6 % (rms per {bins}" in note for note in notes)


def test_shapes_that_change_with_the_direction():
    """Gradients that are opposite in the south and in the north, or at low and high altitudes, are noted."""
    fitted = SimpleNamespace(rate_at=lambda alt_pnt, az_pnt: flat_model(1, stack_of(np.ones(AXES.shape))).model.rate)
    for pointings in ([(60, 10), (60, 185)], [(40, 100), (70, 100)], [(60, 10), (60, 350)]):
        stacks = [stack_of(1 + slope * X * np.ones(AXES.shape), obs_id=n) for n, slope in enumerate((0.1, -0.1))]
        cells = [Cell(*pointing, stack) for pointing, stack in zip(pointings, stacks, strict=True)]
        notes = notes_on_misfit(cells, fitted, [flat_model(27, sum(stacks[1:], stacks[0]))])
        assert len(notes) == (pointings[1][1] != 350)
        assert all("rms per direction and part of the field of view" in note and "--method classic" in note for note in notes)
