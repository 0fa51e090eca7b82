"""Models of the most similar off runs of a run, against models of all other off runs.

    python benchmarks/matching.py DIRECTORY

Each of the 30 off runs of H.E.S.S. DL3 DR1 is predicted by a spline of all others, and by splines of the 6 or 12 runs that are
nearest in some properties. The distance is Euclidean in units of the standard deviation of each property.
Printed are the deviance per run and its ratio to the expectation, with one free norm per run, mean and standard deviation
of predicted over observed counts, and the root mean square of its logarithm.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from covariates import GRID, ON, properties

from bgnb import RunPrediction, Validation, make_models, open_runs, predicted_rate, read_event_list, stack_runs
from bgnb.cubes.event_cuts import measured_planes

SETS = (
    ("cos zenith",),
    ("cos zenith", "north"),
    ("cos zenith", "north", "muon efficiency", "time"),
    ("cos zenith", "north", "muon efficiency", "rate below threshold", "log threshold"),
    ("time",),
)


def main(directory: Path) -> None:
    """Print the table."""
    runs = open_runs(directory, "GADF")
    efficiency = {int(row["OBS_ID"]): float(row["MUONEFF"]) for row in runs.table if row["OBJECT"].strip() not in ON}
    off = list(efficiency)
    events = {obs_id: read_event_list(runs.files(obs_id)) for obs_id in off}
    table = {}
    for obs_id in off:
        alt_pnt, az_pnt = np.radians(events[obs_id].mean_pointing)
        further = {"north": np.cos(alt_pnt) * np.cos(az_pnt), "time": events[obs_id].mjd_middle}
        table[obs_id] = properties(runs, obs_id, efficiency[obs_id]) | further

    def nearest(names: tuple[str, ...], number: int) -> Callable[[int], list[int]]:
        values = np.array([[table[obs_id][name] for name in names] for obs_id in off])
        values = values / values.std(axis=0)

        def choose(obs_id: int) -> list[int]:
            order = np.argsort(((values - values[off.index(obs_id)]) ** 2).sum(axis=1))
            return [off[index] for index in order if off[index] != obs_id][:number]

        return choose

    def report(name: str, choose: Callable[[int], list[int]]) -> None:
        predictions = []
        for obs_id in off:
            run, models = events[obs_id], make_models(directory, "GADF", select=choose(obs_id), progress=False).models
            rate = models.mean_rate_for(run).rate
            stack = stack_runs([run], GRID.axes, models.fovalign)
            planes = measured_planes(run.energy_threshold, run.energy_limit, GRID.axes)
            expected = predicted_rate(rate, GRID.axes) * stack.livetime.value
            used = GRID.used(rate.axes, planes.start, planes.stop)
            values = {"counts": stack.counts, "expected": expected, "used": used, "groups": {}}
            predictions.append(RunPrediction(obs_id, *run.mean_pointing, **values))
        validation = Validation(GRID, tuple(predictions))
        fit, ratios = validation.fit(True), 1 / validation.ratios  # predicted over observed
        mean, deviation, rms = ratios.mean(), ratios.std(ddof=1), np.sqrt(np.mean(np.log(ratios) ** 2))
        print(f"{name:90s}{fit.deviance / fit.n_runs:8.1f}{fit.ratio:8.4f}{mean:8.3f} ± {deviation:.3f}{rms:8.3f}", flush=True)

    report("all", nearest(SETS[0], len(off)))
    for number in (6, 12):
        for names in SETS:
            report(f"{number} nearest: {', '.join(names)}", nearest(names, number))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
