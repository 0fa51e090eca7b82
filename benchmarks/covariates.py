"""Regression of the norms of runs on their properties: left-out off runs, and transfer to on-source fields.

    python benchmarks/covariates.py DIRECTORY

The logarithm of observed over predicted counts of each of the 30 off runs of H.E.S.S. DL3 DR1, predicted from models of the
other folds, is regressed on properties of the runs: the cosine of the zenith angle, the muon efficiency, the dead
time, the season, the energy threshold and the rate of the events below it, outside known sources. Each coefficient is
shrunk by its own prior, whose width maximises the likelihood, so that a property without effect gets none;
properties of a run are limited to the range of the others. The root mean square of the residuals is that of
runs that were left out of the regression. The regression on all off runs is then applied to the runs
on the Crab nebula and PKS 2155-304, with exclusion regions.
"""

import sys
from pathlib import Path

import numpy as np
from astropy import units as u
from numpy.typing import NDArray

from bgnb import Grid, make_models, open_runs, predicted_rate, read_catalog, read_event_list, stack_runs
from bgnb.cubes.event_cuts import measured_planes
from bgnb.cubes.exclusion_mask import SourceMask

ON = ("Crab Nebula", "PKS 2155-304")
FOLDS = 10
GRID = Grid.regular()
SETS = (
    (),
    ("muon efficiency",),
    ("dead time",),
    ("season sin", "season cos"),
    ("rate below threshold",),
    ("rate below threshold", "cos zenith", "log threshold"),
    ("rate below threshold", "cos zenith", "log threshold", "muon efficiency"),
    ("rate below threshold", "cos zenith", "log threshold", "muon efficiency", "dead time"),
)
Values = NDArray[np.float64]


def main(directory: Path) -> None:
    """Print the table."""
    runs = open_runs(directory, "GADF")
    names = {int(row["OBS_ID"]): row["OBJECT"].strip() for row in runs.table}
    efficiency = {int(row["OBS_ID"]): float(row["MUONEFF"]) for row in runs.table}
    off = [obs_id for obs_id, name in names.items() if name not in ON]
    order = np.random.default_rng(0).permutation(off).tolist()
    logs = {}
    for fold in range(FOLDS):
        models = make_models(directory, "GADF", select=[each for each in order if each not in order[fold::FOLDS]]).models
        logs |= {obs_id: log_ratio(models, runs, obs_id) for obs_id in order[fold::FOLDS]}
    models = make_models(directory, "GADF", select=off).models
    logs |= {obs_id: log_ratio(models, runs, obs_id) for obs_id in names if obs_id not in off}
    table = {obs_id: properties(runs, obs_id, efficiency[obs_id]) for obs_id in names}
    print(f"{'properties':80s}{'off: rms':>10s}" + "".join(f"{name:>20s}" for name in ON))
    for chosen in SETS:
        x = {obs_id: np.array([table[obs_id][name] for name in chosen]) for obs_id in names}
        residuals = []
        for obs_id in off:
            others = [each for each in off if each != obs_id]
            residuals.append(logs[obs_id][0] - regress(x, logs, others, [obs_id])[0])
        line = f"{', '.join(chosen) or 'none':80s}{np.sqrt(np.mean(np.square(residuals))):10.3f}"
        for field in ON:
            on = [obs_id for obs_id, name in names.items() if name == field]
            rest = np.array([logs[obs_id][0] for obs_id in on]) - regress(x, logs, off, on)
            line += f"{rest.mean():+12.3f} ± {rest.std(ddof=1):.3f}"
        print(line, flush=True)


def log_ratio(models, runs, obs_id: int) -> tuple[float, int]:
    """Return the logarithm of observed over predicted counts of a run outside known sources, and the observed counts."""
    events = read_event_list(runs.files(obs_id))
    rate = models.mean_rate_for(events).rate
    stack = stack_runs([events], GRID.axes, models.fovalign, known_sources())
    planes = measured_planes(events.energy_threshold, events.energy_limit, GRID.axes)
    used = GRID.used(rate.axes, planes.start, planes.stop)
    expected = (predicted_rate(rate, GRID.axes) * stack.livetime.value)[used].sum()
    counts = int(stack.counts[used].sum())
    return float(np.log(counts / expected)), counts


def known_sources() -> SourceMask:
    """Return the exclusion regions around known sources."""
    return SourceMask.around(read_catalog(), 0.5 * u.deg)


def properties(runs, obs_id: int, efficiency: float) -> dict[str, float]:
    """Return the properties of a run."""
    events = read_event_list(runs.files(obs_id))
    below = events.in_gti & (events.energy < events.energy_threshold)
    below &= ~known_sources().near(events.ra_pnt, events.dec_pnt, 6.0).covers(events.ra, events.dec)
    season = 2 * np.pi * events.mjd_middle / 365.25
    return {
        "cos zenith": np.sin(np.radians(events.mean_pointing[0])),
        "muon efficiency": np.log(efficiency),
        "dead time": 1 - events.livetime / events.ontime,
        "season sin": np.sin(season),
        "season cos": np.cos(season),
        "log threshold": np.log(events.energy_threshold),
        "rate below threshold": np.log(np.count_nonzero(below) / events.livetime),
    }


def regress(x: dict[int, Values], logs: dict[int, tuple[float, int]], known: list[int], others: list[int]) -> Values:
    """Fit the regression to known runs, and return its prediction for others."""
    y, counts = np.array([logs[obs_id] for obs_id in known]).T
    of_known, of_others = (np.array([x[obs_id] for obs_id in obs_ids]).reshape(len(obs_ids), -1) for obs_ids in (known, others))
    mean, width = of_known.mean(axis=0), of_known.std(axis=0)
    design = np.column_stack([np.ones(len(y)), (of_known - mean) / width])
    prior = np.array([1e3] + [0.01] * len(mean))  # variances of the coefficients
    variance = 0.02  # of the norms of runs, beyond counting statistics
    for _ in range(300):
        weights = 1 / (variance + 1 / counts)
        covariance = np.linalg.inv((design.T * weights) @ design + np.diag(1 / prior))
        coefficients = covariance @ ((design.T * weights) @ y)
        freedom = 1 - np.diag(covariance) / prior
        prior[1:] = np.clip((coefficients[1:] ** 2 + 3e-4) / (freedom[1:] + 0.1), 1e-9, 10)
        leverage = np.einsum("ij,jk,ik->i", design, covariance, design)
        shrunk = variance * weights
        variance = np.mean((shrunk * (y - design @ coefficients)) ** 2 + variance * (1 - shrunk) + shrunk**2 * leverage)
    limited = np.clip(of_others, of_known.min(axis=0), of_known.max(axis=0)) if len(mean) else of_others
    return np.column_stack([np.ones(len(others)), (limited - mean) / width]) @ coefficients


if __name__ == "__main__":
    main(Path(sys.argv[1]))
