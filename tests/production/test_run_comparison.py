"""Comparison of runs with each other, against one run after the other."""

import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from astropy.table import Table

from bgnb.cubes.event_cuts import RunCounts
from bgnb.production.run_comparison import notes_on_runs, unlikely_runs

ALTITUDE, FEWEST, EVENTS, LOW = 10, 2, 50, 0.2


def test_rates_are_compared_with_the_median_of_the_others_at_similar_altitude():
    rng = np.random.default_rng(5)
    runs = {}
    for obs_id in range(1, 401):
        altitude, events = float(rng.integers(20, 90)), int(rng.choice([3, 20, 200, 210, 600, 5000]))
        instrument = {"telescop": str(rng.choice(["A", "B"], p=[0.98, 0.02])), "n_tels": rng.choice([None, 3, 4])}
        runs[obs_id] = replace(run(obs_id, altitude, events, float(rng.choice([400, 1000]))), **instrument)
    runs[401] = replace(run(401, 50, 3), alt_pnt=None)
    runs[402] = replace(run(402, 50, 3), ontime_s=None)
    expected = {obs_id: expected_events(each, runs.values()) for obs_id, each in runs.items()}
    low = {obs_id for obs_id, number in expected.items() if number >= EVENTS and counted(runs[obs_id]) < number * LOW}
    errors = unlikely_runs(directory(), runs)
    assert errors.keys() == low
    assert len(low) > 50
    assert all(re.search(rf" {expected[obs_id]:.0f}$", error.message) for obs_id, error in errors.items())
    note, *_ = notes_on_runs(directory(), {obs_id: each for obs_id, each in runs.items() if obs_id not in low})
    assert "unusual rate" in note


def test_too_few_runs_or_events_to_compare():
    rates = [(1, 5000), (2, 5000), (3, 3)]
    assert unlikely_runs(directory(), {n: run(n, 60, events) for n, events in rates}).keys() == {3}
    assert not unlikely_runs(directory(), {n: run(n, 60, events) for n, events in rates[1:]})
    assert not unlikely_runs(directory(), {n: run(n, 60 + (n == 2) * 10.1, events) for n, events in rates})
    assert not unlikely_runs(directory(), {n: run(n, 60, events // 101) for n, events in rates})
    assert not unlikely_runs(directory(), {})


def test_nearly_empty_run_among_few():
    """A run with hardly any events is noted also if there are too few others at similar altitude."""
    for altitudes in ((60, 30, 20), (60, 55)):
        for events, noted in ((1, True), (1000, False)):
            runs = {number: run(number, altitude, 5000) for number, altitude in enumerate(altitudes)}
            runs[0] = run(0, altitudes[0], events)
            assert not unlikely_runs(directory(), runs)
            notes = notes_on_runs(directory(), runs)
            assert len(notes) == noted
            assert all("less than 2 %" in note and note.endswith(": 0 (1 event)") for note in notes)


def test_runs_without_selected_events():
    """Some runs may have no event that meets a condition; if none has one, the condition is wrong."""
    runs = {n: replace(run(n, 60, events), selection="A > 1") for n, events in ((1, 0), (2, 0), (3, 1))}
    assert not unlikely_runs(directory(), runs)
    errors = unlikely_runs(directory(), {n: each for n, each in runs.items() if n < 3})
    assert {n: error.code for n, error in errors.items()} == {1: "no-events", 2: "no-events"}
    assert not unlikely_runs(directory(), {1: run(1, 60, 0)})


def test_run_and_its_parts_are_noted():
    """A run overlaps with each of its parts, but not with the next run, nor with another field at the same time."""
    seconds = {9: (0, 1800), 2: (0, 900), 5: (900, 900), 3: (1800, 1800), 4: (0, 1800), 6: (1700, 400)}
    runs = {
        obs_id: replace(run(obs_id, 60 - 0.004 * start, 0, float(ontime)), mjd=53000 + (start + ontime / 2) / 86400)
        for obs_id, (start, ontime) in seconds.items()
    }
    table = Table({"OBS_ID": sorted(runs), "RA_PNT": [359.9, 0.1, 50.0, 359.8, 0.0, 0.0], "DEC_PNT": 6 * [-20.0]})
    (note,) = notes_on_runs(SimpleNamespace(table=table), runs)
    assert note.endswith(": 2 and 9, 3 and 6, 5 and 9")
    simulated = {obs_id: replace(each, simulated=True) for obs_id, each in runs.items()}
    assert not notes_on_runs(SimpleNamespace(table=table), simulated)


def run(obs_id, altitude, events, ontime=1000.0):
    numbers = {"events_outside_gti": events // 20, "events_below_threshold": 0, "events_outside_axes": 0}
    return RunCounts(
        obs_id, 0.9 * ontime, None, events, **numbers, telescop="A", alt_pnt=altitude, az_pnt=0.0, ontime_s=ontime, mjd=None
    )


def counted(each):
    return each.events - each.events_outside_gti


def expected_events(one, runs):
    if one.alt_pnt is None or not one.ontime_s:
        return 0
    rates = [
        counted(other) / other.ontime_s
        for other in runs
        if other is not one and other.ontime_s and other.alt_pnt is not None
        if abs(other.alt_pnt - one.alt_pnt) <= ALTITUDE and (other.telescop, other.n_tels) == (one.telescop, one.n_tels)
    ]
    return np.median(rates) * one.ontime_s if len(rates) >= FEWEST else 0


def directory():
    path = Path("runs")
    return SimpleNamespace(
        path=path, files=lambda obs_id: SimpleNamespace(events=SimpleNamespace(path=path / f"run_{obs_id}.fits"))
    )
