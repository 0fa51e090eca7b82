"""Formulations of the background compared on real runs: what held-out runs say of each.

    python benchmarks/formulations.py DIRECTORY [SEEDS]

Off runs of H.E.S.S. DL3 DR1 (all but those on the Crab nebula and on PKS 2155-304), threefold
cross-validation. Deviance is that of the held-out counts with one free norm per run: the lower the
better. Deviance over expectation is 1 for a true model, but sinks as well where a model predicts
too many counts in sparse bins, so that of two models near 1 the deviance decides. The models in
the files were made by H.E.S.S. from thousands of runs. With statsmodels installed, its additive
model is fitted to the same counts. (The tensor splines of pyGAM 0.12 did not converge on them.)
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from usable_runs import usable_runs

from bgnb import (
    CubeAxes,
    Grid,
    RunPrediction,
    Validation,
    cross_validate,
    point_rate,
    predicted_rate,
    read_background,
    read_event_list,
    stack_runs,
)
from bgnb.cubes.cells import Cell
from bgnb.cubes.cube import RATE_UNIT, Cube
from bgnb.cubes.spline import TERMS, TURNING_TERMS, fit_spline

ON = ("Crab Nebula", "PKS 2155-304")
AXES = CubeAxes.regular(n_energy=20, n_fov=30)
GRID = Grid.regular()


class Data:
    """The off runs: cells to fit, counts to predict."""

    def __init__(self, directory: Path) -> None:
        runs = usable_runs(directory)
        self.obs_ids = [int(row["OBS_ID"]) for row in runs.table if row["OBJECT"].strip() not in ON]
        self.events = {obs_id: read_event_list(runs.files(obs_id)) for obs_id in self.obs_ids}
        self.path = {obs_id: runs.files(obs_id).events.path for obs_id in self.obs_ids}
        self.pointing = {o: runs.pointing(o) for o in self.obs_ids}
        self.cell = {o: Cell(*self.pointing[o], stack_runs([self.events[o]], AXES)) for o in self.obs_ids}
        self.counted = {
            frame: {o: stack_runs([self.events[o]], GRID.axes, frame) for o in self.obs_ids} for frame in ("ALTAZ", "RADEC")
        }

    def prediction(self, obs_id: int, rate: Cube, frame: str = "ALTAZ") -> RunPrediction:
        """Predict the counts of a run from a rate per livetime."""
        stack = self.counted[frame][obs_id]
        exposed = np.flatnonzero(stack.livetime_us.any(axis=(1, 2)))
        used = GRID.used(rate.axes, exposed[0], exposed[-1] + 1)
        expected = predicted_rate(point_rate(rate), GRID.axes, "gammapy") * stack.livetime.value
        return RunPrediction(obs_id, *self.pointing[obs_id], stack.counts, expected, used, {})

    def shipped(self) -> Validation:
        """Read the models in the files, which are per ontime."""
        found = []
        for o in self.obs_ids:
            rate, frame = read_background(self.path[o])
            factor = np.diff(self.events[o].gti).sum() / self.events[o].livetime
            found.append(self.prediction(o, Cube(rate.axes, rate.quantity * factor), frame))
        return Validation(GRID, tuple(found))

    def folds(self, seed: int) -> list[tuple[list[int], list[int]]]:
        """Divide the runs into three folds: those held out, and all others."""
        order = np.random.default_rng(seed).permutation(self.obs_ids).tolist()
        return [(order[fold::3], [o for o in order if o not in order[fold::3]]) for fold in range(3)]

    def cross_validated(self, seed: int, fit: Callable[[list[Cell]], Callable[[float, float], Cube]]) -> Validation:
        """Threefold."""
        found = []
        for held_out, others in self.folds(seed):
            rate_at = fit([self.cell[o] for o in others])
            found += [self.prediction(o, rate_at(*self.pointing[o])) for o in held_out]
        return Validation(GRID, tuple(found))


HEADER = f"{'formulation':44s} {'deviance':>8s} {'dev/exp':>8s} {'width':>6s} {'pred/obs':>8s} {'scatter':>7s} {'s/fit':>6s}"


def line(name: str, validations: list[Validation], seconds: float = 0) -> None:
    """Print the mean figures of a formulation; deviance is per run."""
    fits = [validation.fit(free_norm=True) for validation in validations]
    ratios = 1 / np.array([validation.ratios for validation in validations])  # predicted over observed
    ratio = ratios.mean(), ratios.std(axis=1, ddof=1).mean()
    deviance, dev_exp = np.mean([(f.deviance / f.n_runs, f.ratio) for f in fits], axis=0)
    width = np.mean([f.mean_width("cube of each run")[1] for f in fits])
    print(f"{name:44s} {deviance:8.1f} {dev_exp:8.4f} {width:6.3f} {ratio[0]:8.3f} {ratio[1]:7.3f} {seconds:6.1f}", flush=True)


def ours(terms=TERMS):
    """Run the array fit of bgnb with given terms."""
    return lambda cells: fit_spline(cells, terms).rate_at


def statsmodels_fit(cells):
    """GLMGam of statsmodels: B-splines in energy, square of the offset and zenith, and products of their lines.

    It has no tensor products, and one strength of penalty for each spline, of which the best set by
    generalised cross-validation is taken.
    """
    from statsmodels.api import families
    from statsmodels.gam.api import BSplines, GLMGam

    y, x = (values.ravel() for values in np.meshgrid(AXES.dety_centers.value, AXES.detx_centers.value, indexing="ij"))
    log_energy = np.log(AXES.energy_centers.value)
    low, high = np.array([log_energy[0], 0.0, 0.0]), np.array([log_energy[-1], (x**2 + y**2).max(), 1.0])

    def features(up):
        shape = (len(log_energy), x.size)
        columns = [np.broadcast_to(c, shape).ravel() for c in (log_energy[:, None], x**2 + y**2, up, x, y)]
        e, r, z = (columns[k] / high[k] for k in range(3))
        return np.stack(columns[:3], axis=1), np.stack(
            [np.ones_like(e), columns[3], columns[4], e * r, e * z, r * z, e * r * z], axis=1
        )

    smooth, lines, counts, exposures = [], [], [], []
    for cell in cells:
        exposure = cell.stack.exposure.value.ravel()
        seen = exposure > 0
        of_splines, of_lines = features(np.sin(np.radians(cell.alt_pnt)))
        smooth.append(of_splines[seen])
        lines.append(of_lines[seen])
        counts.append(cell.stack.counts.ravel()[seen])
        exposures.append(exposure[seen])
    points = np.concatenate(smooth)
    low[2], high[2] = points[:, 2].min(), points[:, 2].max()
    knots = [{"lower_bound": a, "upper_bound": b} for a, b in zip(low, high, strict=True)]
    splines = BSplines(points, df=[10, 10, 6], degree=[3, 3, 3], knot_kwds=knots)
    best = None
    for strength in (1e-2, 1.0, 1e2):
        arguments = {"exog": np.concatenate(lines), "smoother": splines, "offset": np.log(np.concatenate(exposures))}
        model = GLMGam(np.concatenate(counts), alpha=[strength] * 3, family=families.Poisson(), **arguments)
        found = model.fit()
        if best is None or found.gcv < best.gcv:
            best = found

    def rate_at(alt_pnt, _):
        up = np.clip(np.sin(np.radians(alt_pnt)), low[2], high[2])
        of_splines, of_lines = features(up)
        values = best.predict(exog=of_lines, exog_smooth=of_splines)
        return Cube(AXES, np.asarray(values).reshape(AXES.shape) * RATE_UNIT)

    return rate_at


def main(directory: Path, seeds: int) -> None:
    """Print the table."""
    data = Data(directory)
    print(f"{len(data.obs_ids)} off runs, threefold cross-validation, mean over {seeds} seeds; deviance per run")
    print(HEADER)
    line("shipped by H.E.S.S., from thousands of runs", [data.shipped()])
    for name, edges in (
        ("classic, 14 x 2 groups", {}),
        ("classic, 2 groups", {"alt_edges": [0, 49, 90], "az_edges": [0, 360]}),
    ):
        for between in ("nearest", "interpolate"):
            options = {"method": "classic", "model_lookup": between, **edges}
            made = [cross_validate(directory, "GADF", select=data.obs_ids, seed=seed, **options)[20] for seed in range(seeds)]
            line(f"{name}, {between}", made)
    formulations = {
        "spline: all terms": ours(),
        "  shape the same at all zenith angles": ours([t for t in TERMS if t[0] == "1" or t[2] == "1"]),
        "  without the wiggly part in DETX and DETY": ours([t for t in TERMS if t[2] != "xy~"]),
        "  round: no DETX and DETY at all": ours([t for t in TERMS if "xy" not in t[2]]),
        "  with the quadrupoles of few telescopes": ours((*TERMS, *TURNING_TERMS)),
        "  without the magnetic field": ours([t for t in TERMS if t[0] != "north"]),
        "  energy and offset do not interact": ours([t for t in TERMS if not (t[1] == "energy~" and t[2] == "r2~")]),
    }
    try:
        import statsmodels

        formulations[f"statsmodels {statsmodels.__version__}, splines that add"] = statsmodels_fit
    except ImportError:
        print("(statsmodels is not installed)")
    for name, fit in formulations.items():
        started = time.perf_counter()
        validations = [data.cross_validated(seed, fit) for seed in range(seeds)]
        line(name, validations, (time.perf_counter() - started) / (3 * seeds))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 3)
