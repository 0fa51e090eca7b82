"""Quality of runs: verdicts on real runs, false alarms, and the fraction of injected errors that is found.

    python benchmarks/run_checks.py DIRECTORY

The runs are the 30 off runs of H.E.S.S. DL3 DR1, each tested with models of the other folds, and 200 simulated
runs of as many events, whose norms scatter by 13 % and whose spectral indices scatter by 0.05, tested
with models of 40 others. Three errors are injected: 20 % of the events of 5 min are lost, at a random time; all events
in a sector of 5 % of the azimuth about the pointing are lost; and events of a point source are added, 0.7 deg from the
pointing, at the energies of events of the run. An error is found if its test gives an alarm at a rate of 1 % for all tests.
For comparison, the excess of the Crab Nebula in its runs is printed.
"""

import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from bgnb import (
    Cell,
    CubeAxes,
    EventList,
    ModelSet,
    TrueModel,
    fit_spline,
    make_model,
    make_models,
    make_test_eventlist,
    make_test_observation_table,
    open_runs,
    read_event_list,
    stack_runs,
)
from bgnb.cubes.group_model import GroupModel
from bgnb.validation.check_runs import RunChecks
from bgnb.validation.run_tests import compare_time, run_tests

ON = ("Crab Nebula", "PKS 2155-304")
FOLDS, RATE, DIPS, SOURCES = 10, 0.01, 5, (10, 15, 20, 30)
SCATTER, TILT, N_TRAIN, N_TEST, N_INJECTED = 0.13, 0.05, 40, 200, 40
SIMULATED = {"sigma": 2.5, "spectral_index": 1.5, "gradient_x": 0.1, "gradient_y": -0.07}
COLUMNS = ("time", "ra", "dec", "energy")


def main(directory: Path) -> None:
    """Print verdicts and fractions."""
    crab(directory)
    pairs = list(real(directory))
    verdicts(pairs, "H.E.S.S.")
    injected(pairs, "H.E.S.S.")
    pairs = simulated()
    verdicts(pairs, "simulated")
    injected(pairs[:N_INJECTED], "simulated")


def crab(directory: Path) -> None:
    """Print the excess of the Crab Nebula."""
    runs = open_runs(directory, "GADF")
    models = make_models(directory, "GADF", progress=False).models
    for row in runs.table[[name.strip() == ON[0] for name in runs.table["OBJECT"]]]:
        run = read_event_list(runs.files(int(row["OBS_ID"])))
        test = run_tests(models, models.mean_rate_for(run), run).tests["source"]
        print(f"Crab Nebula, run {run.obs_id}: {test.counts - test.expected:.0f} events in excess, {test.where}", flush=True)


def real(directory: Path) -> Iterable[tuple[ModelSet, EventList]]:
    """Pair each off run with models of the other folds."""
    runs = open_runs(directory, "GADF")
    off = [int(row["OBS_ID"]) for row in runs.table if row["OBJECT"].strip() not in ON]
    order = np.random.default_rng(0).permutation(off).tolist()
    for fold in range(FOLDS):
        held_out = order[fold::FOLDS]
        models = make_models(directory, "GADF", select=[each for each in order if each not in held_out], progress=False).models
        yield from ((models, read_event_list(runs.files(obs_id))) for obs_id in held_out)


def simulated() -> list[tuple[ModelSet, EventList]]:
    """Pair simulated runs whose norms and indices scatter with models of others."""
    table = make_test_observation_table(n_runs=N_TRAIN + N_TEST, seed=4)
    rng = np.random.default_rng(4)
    axes = CubeAxes.regular(n_energy=30, n_fov=40)
    events = []
    for row in table:
        rate, index = 7.0 * np.exp(rng.normal(-(SCATTER**2) / 2, SCATTER)), 1.5 + rng.normal(0, TILT)
        true = TrueModel(**SIMULATED | {"trigger_rate": rate, "spectral_index": index})
        events.append(make_test_eventlist(row, true, energy_threshold=0.13, seed=4))
    cells = [Cell(*each.mean_pointing, stack_runs([each], axes)) for each in events[:N_TRAIN]]
    spline, stack = fit_spline(cells), stack_runs(events[:N_TRAIN], axes)
    group = GroupModel(group_id=0, alt_pnt=60.0, az_pnt=0.0, model=make_model(stack, "unsmoothed"))
    models = ModelSet(models=(group,), groups=None, model_ids={0: 0}, for_pointing=spline)
    return [(models, each) for each in events[N_TRAIN:]]


def verdicts(pairs: list[tuple[ModelSet, EventList]], name: str) -> None:
    """Print the runs with alarms, and the fraction of low probabilities by test."""
    results = [run_tests(models, models.mean_rate_for(run), run) for models, run in pairs]
    checks = RunChecks(runs=tuple(results), false_alarm_rate=RATE)
    for result in results:
        if alarms := checks.alarms[result.obs_id]:
            tests = ", ".join(f"{test}: {result.tests[test].p_value:.1e} {result.tests[test].where}" for test in alarms)
            print(f"{name}, run {result.obs_id}, {tests}")
    table = checks.table
    events, energies = np.mean(table["EVENTS"]), np.mean([result.energy.counts.sum() for result in results])
    print(f"{name}: {len(results)} runs of {events:.0f} events, {energies:.0f} of them above threshold within 2.5 deg")
    for column in (column for column in table.colnames if column.startswith("P_")):
        below = [np.mean(table[column] < limit) for limit in (0.5, 0.1, checks.p_limit)]
        print(f"  {column}: {below[0]:.3f} below 0.5, {below[1]:.3f} below 0.1, {below[2]:.4f} below {checks.p_limit:.4f}")
    print(f"  runs with an alarm: {np.mean([bool(names) for names in checks.alarms.values()]):.4f}", flush=True)


def injected(pairs: list[tuple[ModelSet, EventList]], name: str) -> None:
    """Print the fractions of injected errors that are found."""
    limit = RunChecks(runs=(), false_alarm_rate=RATE).p_limit
    dips, few, sectors = [], [], []
    sources: dict[int, list[bool]] = {number: [] for number in SOURCES}
    for models, run in pairs:
        rng, found = np.random.default_rng(run.obs_id), models.mean_rate_for(run)
        for _ in range(DIPS):
            since = run.time - run.gti[0, 0] - rng.uniform(0, run.ontime - 300)
            lost = (since >= 0) & (since < 300) & (rng.random(len(run)) < 0.2)
            test, _ = compare_time(without(run, lost), None, np.random.default_rng(1))
            dips.append(test.p_value < limit)
            few.append(len(run) < 8000)
        x, y = run.detxy("ALTAZ")
        dead = (np.degrees(np.arctan2(y, x)) - rng.uniform(0, 360)) % 360 < 18
        angle = rng.uniform(0, 2 * np.pi)
        for number in SOURCES:
            bright = with_source(without(run, dead) if number == SOURCES[0] else run, number, angle, rng)
            tests = run_tests(models, found, bright).tests
            sources[number].append(tests["source"].p_value < limit)
            if number == SOURCES[0]:
                sectors.append(tests["field"].p_value < limit)
    print(f"{name}: {np.mean(dips):.3f} of {len(dips)} dips of 20 % for 5 min are found")
    for text, chosen in (("fewer", np.array(few)), ("more", ~np.array(few))):
        if chosen.any():
            print(f"  {np.mean(np.array(dips)[chosen]):.3f} of {chosen.sum()} in runs of {text} than 8000 events")
    print(f"{name}: {np.mean(sectors):.3f} of {len(sectors)} dead sectors of 5 % are found")
    for number, hits in sources.items():
        print(f"{name}: {np.mean(hits):.3f} of {len(hits)} sources of {number} events are found", flush=True)


def without(run: EventList, lost: np.ndarray) -> EventList:
    """Remove events."""
    return replace(run, **{column: getattr(run, column)[~lost] for column in COLUMNS})


def with_source(run: EventList, number: int, angle: float, rng: np.random.Generator) -> EventList:
    """Add the events of a source above the threshold."""
    x, y = (0.7 * part + rng.normal(0, 0.06, number) for part in (np.cos(angle), np.sin(angle)))
    ra, dec = run.field_of_view.sky_position("RADEC", x, y, np.zeros(1))
    energy = rng.choice(run.energy[run.energy > 1.2 * (run.energy_threshold or 0.0)], number)
    added = dict(zip(COLUMNS, (rng.uniform(*run.gti[0], number), ra, dec, energy), strict=True))
    return replace(run, **{column: np.append(getattr(run, column), added[column]) for column in COLUMNS})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
