"""Norms of runs: predict one half of the field of view from the other, and test the coverage of the stated errors.

    python benchmarks/run_norms.py DIRECTORY

The runs are the 30 off runs of H.E.S.S. DL3 DR1, each predicted from models of the other folds, and 200
simulated runs whose norms scatter by 13 % and whose spectral indices scatter by 0.05, predicted from
30 others. Norm and tilt of each run are estimated from the pixels within 1.4 deg of the pointing, and
predict those farther out, and the other way round. Printed are the standard deviation of the logarithm of observed
over predicted counts, that expected from counting in both halves, and the fractions of the energy
bins with at least 3 predicted counts whose observed counts lie in intervals of 68 and 95 %.
"""

import sys
from pathlib import Path

import numpy as np
from scipy.stats import nbinom

from bgnb import (
    Cell,
    CubeAxes,
    EventList,
    Grid,
    ModelSet,
    TrueModel,
    fit_spline,
    make_model,
    make_models,
    make_test_eventlist,
    make_test_observation_table,
    open_runs,
    predicted_rate,
    read_event_list,
    stack_runs,
)
from bgnb.cubes.event_cuts import measured_planes
from bgnb.cubes.group_model import GroupModel
from bgnb.cubes.run_norm import fit_norm, prior_scatter

ON = ("Crab Nebula", "PKS 2155-304")
FOLDS, SPLIT_DEG, MIN_EXPECTED = 10, 1.4, 3.0
SCATTER, TILT, N_TRAIN, N_TEST = 0.13, 0.05, 30, 200
PIVOT = 0.5  # TeV; about the mean energy of the simulated events
GRID = Grid.regular()


def main(directory: Path) -> None:
    """Print the table."""
    print(f"{'runs':12s}{'norm from':>10s}{'mean':>8s}{'std':>8s}{'counting':>10s}{'68 %':>8s}{'95 %':>8s}{'bins':>6s}")
    for name, predictions in (("H.E.S.S.", real(directory)), ("simulated", simulated())):
        inner = GRID.offset < SPLIT_DEG
        for source, known, other in (
            ("model", np.zeros_like(inner), GRID.offset < 9),
            ("inside", inner, ~inner),
            ("outside", ~inner, inner),
        ):
            report(name, source, [compare(*each, known, other) for each in predictions])


def real(directory: Path) -> list:
    """Predict each off run from models of the other folds."""
    runs = open_runs(directory, "GADF")
    off = [int(row["OBS_ID"]) for row in runs.table if row["OBJECT"].strip() not in ON]
    order = np.random.default_rng(0).permutation(off).tolist()
    found = []
    for fold in range(FOLDS):
        held_out = order[fold::FOLDS]
        models = make_models(directory, "GADF", select=[each for each in order if each not in held_out], progress=False).models
        found += [predict(models, read_event_list(runs.files(obs_id))) for obs_id in held_out]
    return found


def simulated() -> list:
    """Predict simulated runs whose norms and indices scatter, from others."""
    table = make_test_observation_table(n_runs=N_TRAIN + N_TEST, seed=4)
    rng = np.random.default_rng(4)
    axes = CubeAxes.regular(n_energy=30, n_fov=40)

    def run(row) -> EventList:
        mean = TrueModel().spectral_index
        index = mean + rng.normal(0, TILT)
        # The rate at PIVOT does not depend on the index.
        rate = 200.0 * np.exp(rng.normal(-(SCATTER**2) / 2, SCATTER)) * mean / index * (0.1 / PIVOT) ** (mean - index)
        return make_test_eventlist(row, TrueModel(trigger_rate=rate, spectral_index=index), energy_threshold=0.3, seed=4)

    events = [run(row) for row in table]
    cells = [Cell(*each.mean_pointing, stack_runs([each], axes)) for each in events[:N_TRAIN]]
    spline, stack = fit_spline(cells), stack_runs(events[:N_TRAIN], axes)
    print(f"simulated: stated scatter {spline.scatter:.3f}, tilt {spline.tilt:.3f}")
    group = GroupModel(group_id=0, alt_pnt=60.0, az_pnt=0.0, model=make_model(stack, "unsmoothed"))
    models = ModelSet(models=(group,), groups=None, model_ids={0: 0}, for_pointing=spline)
    return [predict(models, each) for each in events[N_TRAIN:]]


def predict(models: ModelSet, run: EventList) -> tuple:
    """Return observed and predicted counts, relative covariance between energies, and the models."""
    found = models.mean_rate_for(run)
    stack = stack_runs([run], GRID.axes, models.fovalign)
    expected = predicted_rate(found.rate, GRID.axes) * stack.livetime.value
    planes = measured_planes(run.energy_threshold, run.energy_limit, GRID.axes)
    used = GRID.used(found.rate.axes, planes.start, planes.stop)
    nearest = np.abs(np.log(GRID.axes.energy_centers / found.rate.axes.energy_centers[:, None])).argmin(axis=0)
    covariance = models.count_covariance(found, *run.mean_pointing)[np.ix_(nearest, nearest)]
    return np.where(used, stack.counts, 0), np.where(used, expected, 0), covariance, models


def compare(counts, expected, covariance, models: ModelSet, known, other) -> tuple:
    """Estimate the norm from known pixels; return the comparison in the others: counts, prediction, quantiles by energy."""
    energy = GRID.axes.energy_centers.value
    of_known = counts[:, known].sum(axis=1), expected[:, known].sum(axis=1)
    norm = fit_norm(
        *of_known,
        energy,
        scatter=prior_scatter(models),
        tilt=models.scatter[1] or 0.0,
        reference_tev=models.reference_energy,
        of_models=covariance,
    )
    observed, predicted = counts[:, other].sum(axis=1), expected[:, other].sum(axis=1) * norm.factor(energy)
    variance = np.diag(norm.covariance)
    bins = predicted >= MIN_EXPECTED
    shape = 1 / variance[bins]
    arguments = shape, shape / (shape + predicted[bins])
    rng = np.random.default_rng(int(observed.sum()))
    below = nbinom.cdf(observed[bins] - 1, *arguments)
    quantiles = below + rng.random(len(shape)) * nbinom.pmf(observed[bins], *arguments)
    return observed.sum(), predicted.sum(), of_known[0].sum(), quantiles


def report(name: str, source: str, rows: list[tuple]) -> None:
    """Print a line of the table."""
    observed, predicted, known = (np.array([row[number] for row in rows], dtype=float) for number in range(3))
    ratio = np.log(observed / predicted)
    counting = np.sqrt(np.mean(1 / observed + (1 / known if known.all() else 0.0)))
    quantiles = np.concatenate([row[3] for row in rows])
    fractions = [np.mean(np.abs(quantiles - 0.5) < level / 2) for level in (0.68, 0.95)]
    numbers = f"{ratio.mean():8.3f}{ratio.std():8.3f}{counting:10.3f}{fractions[0]:8.3f}{fractions[1]:8.3f}"
    print(f"{name:12s}{source:>10s}{numbers}{len(quantiles):6d}", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
