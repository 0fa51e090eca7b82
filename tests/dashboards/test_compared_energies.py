"""Energies at which two models are compared, and reasons for ratios that do not exist."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

import bgnb
from bgnb import Cube, write_model
from bgnb.dashboards import compare_models
from tests.helpers.models import AXES, asymmetric_model

EDGES = AXES.energy.value


def partly_exposed(path, unexposed=(), where=(), zero=(), tilt=1.0, obs_id=0):
    """Write an unsmoothed model without livetime at energies, and at a bin, or without rate at a bin; return its directory."""
    model = asymmetric_model(method="unsmoothed")
    livetime, counts = model.stack.livetime_us.copy(), model.stack.counts.copy()
    rate = model.rate.quantity.value * tilt + 1e-12
    for number in unexposed:
        livetime[number] = counts[number] = 0
    for index in where:
        livetime[index] = counts[index] = 0
    for index in zero:
        rate[index] = 0
    runs = tuple(replace(run, obs_id=run.obs_id + obs_id) for run in model.stack.runs)
    stack = replace(model.stack, livetime_us=livetime, counts=counts, runs=runs)
    path.mkdir()
    write_model(
        replace(model, rate=Cube(AXES, rate * model.rate.quantity.unit), stack=stack), path / "bg_cube_model_group0_table.fits"
    )
    return path


def test_measured_part_of_range_is_compared(tmp_path):
    """Of a range, the energies at which both models have livetime are compared, and title and summary name them."""
    first = partly_exposed(tmp_path / "a", [4])
    second = partly_exposed(tmp_path / "b", [1], tilt=1.5, obs_id=1000)
    labels = [f"{low:.3g} to {high:.3g} TeV" for low, high in pairwise(EDGES)]
    whole = bgnb.compare(*(bgnb.read_group_model(path, 0) for path in (first, second)))
    dashboard = compare_models(first, second, energy=(EDGES[0], EDGES[-1]), labels=("one", "two"))
    width = np.diff(EDGES)
    for selected, used, energies in (
        ((0, 5), [0, 2, 3], f"{labels[0]} and {EDGES[2]:.3g} to {EDGES[4]:.3g} TeV"),
        ((2, 5), [2, 3], f"{EDGES[2]:.3g} to {EDGES[4]:.3g} TeV"),
        ((1, 3), [2], labels[2]),
    ):
        dashboard.energy = EDGES[selected[0]] * 1.01, EDGES[selected[1]] * 0.99
        rates = [np.average(m.rate.quantity.value[used], axis=0, weights=width[used]) for m in (whole.first, whole.second)]
        for against in ("energy", "offset"):
            dashboard.against = against
            view = dashboard.view
            for name, values in zip(("first", "second", "compared"), (*rates, rates[1] / rates[0]), strict=True):
                np.testing.assert_allclose(view.panels[name].values, values, rtol=1e-6)
                assert energies in view.panels[name].title
            assert energies in view.title
            chosen = f"{EDGES[selected[0]]:.3g} to {EDGES[selected[1]]:.3g} TeV"
            assert f"Of {chosen}, the models are compared at {energies} only" in view.summary
            ratios = view.panels["ratios"].series[0].y
            assert np.flatnonzero(np.isfinite(ratios)).tolist() == ([0, 2, 3] if against == "energy" else list(range(10)))
            np.testing.assert_allclose(ratios[np.isfinite(ratios)], 1.5, rtol=1e-5)
        assert chosen in dashboard._controls["energies"].widget.value
    # Without a common energy, the message names those at which they can be compared.
    for number in (1, 4):
        dashboard.energy = EDGES[number] * 1.1
        assert np.isnan(dashboard.view.panels["compared"].values).all()
        there = f"{labels[0]} and {EDGES[2]:.3g} to {EDGES[4]:.3g} TeV"
        assert f"no livetime at {labels[number]}; they can be compared at {there}." in dashboard.view.summary
    dashboard.energy = EDGES[3] * 1.1
    assert "compared at" not in dashboard.view.summary
    third = partly_exposed(tmp_path / "c", [0, 1, 2, 3], obs_id=2000)
    never = compare_models(first, third, against="offset")
    assert "they can be compared at no energy" in never.view.summary
    assert "\n" not in never.view.panels["ratios"].title


@pytest.mark.parametrize(
    ("changed", "reason", "independent"),
    [
        ({"unexposed": [2]}, "the models cannot be compared at these energies", True),
        ({"where": [(2, 3, 4)]}, "there is no livetime of two there", True),
        ({"zero": [(2, 3, 4)]}, "the rate of two is zero", False),
        ({}, "", True),
        ({}, "", False),
    ],
)
def test_reasons_for_a_missing_ratio(tmp_path, changed, reason, independent):
    """The text gives the reason for a ratio that does not exist, and for a missing error only if there is a ratio."""
    first = partly_exposed(tmp_path / "a")
    second = partly_exposed(tmp_path / "b", obs_id=1000 * independent, **changed)
    x, y = AXES.detx_centers.value[4], AXES.dety_centers.value[3]
    dashboard = compare_models(first, second, energy=EDGES[2] * 1.1, position=(x, y), labels=("one", "two"))
    text = dashboard.view.summary
    assert (", ratio " in text) == (not reason)
    assert (f"no ratio, because {reason}" in text) == ("no ratio" in text) == bool(reason)
    assert ("error unknown" in text) == (not reason and not independent)
    # The title of the graph explains missing errors if it has ratios at other energies.
    assert ("without errors" in dashboard.view.panels["ratios"].title) == (not independent)
    if not independent:
        dashboard.show = "pull"
        assert "no bin has a value, because the models share runs" in dashboard.view.summary
