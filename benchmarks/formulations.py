"""Formulations of the background compared on real runs: what held-out runs say of each.

    python benchmarks/formulations.py DIRECTORY [SEEDS]

Off runs of H.E.S.S. DL3 DR1 (all but those on the Crab nebula and on PKS 2155-304), threefold
cross-validation. Deviance is that of the held-out counts with one free norm per run: the lower the
better. Deviance over expectation is 1 for a true model, but sinks as well where a model predicts
too many counts in sparse bins, so that of two models near 1 the deviance decides. The models in
the files were made by H.E.S.S. from thousands of runs. With pyGAM installed, its tensor splines
are fitted to the same counts.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bgnb import (
    CubeAxes,
    Grid,
    RunPrediction,
    Validation,
    cross_validate,
    open_runs,
    point_rate,
    predicted_rate,
    read_background,
    read_event_list,
    stack_runs,
)
from bgnb import spline as module
from bgnb.cube import RATE_UNIT, Cube
from bgnb.spline import TERMS, Cell, fit_spline

ON = ("Crab Nebula", "PKS 2155-304")
AXES = CubeAxes.regular(n_energy=20, n_fov=30)
GRID = Grid.regular()


class Data:
    """The off runs: cells to fit, counts to predict."""

    def __init__(self, directory: Path) -> None:
        runs = open_runs(directory, "GADF")
        self.obs_ids = [int(row["OBS_ID"]) for row in runs.table if row["OBJECT"].strip() not in ON]
        self.events = {obs_id: read_event_list(runs.files(obs_id)) for obs_id in self.obs_ids}
        self.path = {obs_id: runs.files(obs_id).events.path for obs_id in self.obs_ids}
        self.pointing = {o: (float(runs.row(o)["ALT_PNT"]), float(runs.row(o)["AZ_PNT"])) for o in self.obs_ids}
        self.cell = {o: Cell(*self.pointing[o], stack_runs([self.events[o]], AXES)) for o in self.obs_ids}
        self.counted = {
            frame: {o: stack_runs([self.events[o]], GRID.axes, frame) for o in self.obs_ids} for frame in ("ALTAZ", "RADEC")
        }

    def prediction(self, obs_id: int, rate: Cube, frame: str = "ALTAZ") -> RunPrediction:
        """What a rate per livetime predicts for a run."""
        stack = self.counted[frame][obs_id]
        exposed = np.flatnonzero(stack.livetime_us.any(axis=(1, 2)))
        expected = predicted_rate(point_rate(rate), GRID.axes, "gammapy") * stack.livetime.value
        return RunPrediction(obs_id, *self.pointing[obs_id], stack.counts, expected, GRID.used(rate.axes, exposed[0]), {})

    def shipped(self) -> Validation:
        """The models in the files, which are per ontime."""
        found = []
        for o in self.obs_ids:
            rate, frame = read_background(self.path[o])
            factor = np.diff(self.events[o].gti).sum() / self.events[o].livetime
            found.append(self.prediction(o, Cube(rate.axes, rate.quantity * factor), frame))
        return Validation(GRID, tuple(found))

    def cross_validated(self, seed: int, fit: Callable[[list[Cell]], Callable[[float, float], Cube]]) -> Validation:
        """Threefold."""
        order = np.random.default_rng(seed).permutation(self.obs_ids).tolist()
        found = []
        for fold in range(3):
            held_out = order[fold::3]
            rate_at = fit([self.cell[o] for o in order if o not in held_out])
            found += [self.prediction(o, rate_at(*self.pointing[o])) for o in held_out]
        return Validation(GRID, tuple(found))


def ours(terms=TERMS):
    """The array fit of bgnb, with given terms."""

    def fit(cells):
        saved = module.TERMS, module._ALL_TERMS
        module.TERMS, module._ALL_TERMS = tuple(terms), (*terms, ("cell", "1", "1"))
        try:
            model = fit_spline(cells)
        finally:
            module.TERMS, module._ALL_TERMS = saved
        return lambda alt_pnt, az_pnt: model.at(alt_pnt, az_pnt)[0]

    return fit


def pygam_fit(cells):
    """Tensor splines of pyGAM in (energy, square of the offset) and (energy, zenith), and lines in DETX and DETY.

    Its smoothing parameters, one for all terms, are chosen by UBRE. Pixels are added to rings, and
    exposure is the offset of the linear predictor by way of weights, as pyGAM has no other.
    """
    from pygam import PoissonGAM, l, te

    y, x = (values.ravel() for values in np.meshgrid(AXES.dety_centers.value, AXES.detx_centers.value, indexing="ij"))
    log_energy = np.log(AXES.energy_centers.value)

    def features(up):
        shape = (len(log_energy), x.size)
        columns = (log_energy[:, None], x**2 + y**2, up, x, y)
        return np.stack([np.broadcast_to(column, shape).ravel() for column in columns], axis=1)

    # Relative to a power law, so that the fit begins near its end.
    reference = np.repeat(AXES.energy_centers.value**-2.7, x.size)
    rows, counts, exposures = [], [], []
    for cell in cells:
        exposure = cell.stack.exposure.value.ravel() * reference
        seen = (exposure > 0) & (np.hypot(x, y) < 3.5)[None].repeat(len(log_energy), axis=0).ravel()
        rows.append(features(np.sin(np.radians(cell.alt_pnt)))[seen])
        counts.append(cell.stack.counts.ravel()[seen])
        exposures.append(exposure[seen])
    scale = np.concatenate(exposures).sum() / np.concatenate(counts).sum()
    best = None
    for strength in (0.1, 1.0, 10.0):
        model = PoissonGAM(te(0, 1, n_splines=[8, 8], lam=strength) + te(0, 2, n_splines=[8, 5], lam=strength) + l(3) + l(4))
        model.fit(np.concatenate(rows), np.concatenate(counts), exposure=np.concatenate(exposures) / scale)
        if best is None or model.statistics_["UBRE"] < best.statistics_["UBRE"]:
            best = model

    def rate_at(alt_pnt, _):
        values = best.predict(features(np.sin(np.radians(alt_pnt)))) / scale * reference
        return Cube(AXES, values.reshape(AXES.shape) * RATE_UNIT)

    return rate_at


def main(directory: Path, seeds: int) -> None:
    """Print the table."""
    data = Data(directory)
    print(f"{len(data.obs_ids)} off runs, threefold cross-validation, mean over {seeds} seeds; deviance per run")
    print(f"{'formulation':44s} {'deviance':>8s} {'dev/exp':>8s} {'width':>6s} {'pred/obs':>8s} {'scatter':>7s} {'s/fit':>6s}")

    def line(name, validations, seconds):
        fits = [validation.fit(free_norm=True) for validation in validations]
        ratio = np.mean([validation.ratio for validation in validations], axis=0)
        figures = [np.mean([f.deviance for f in fits]) / len(data.obs_ids), np.mean([f.ratio for f in fits])]
        figures.append(np.mean([f.mean_width("cube of each run")[1] for f in fits]))
        print(
            f"{name:44s} {figures[0]:8.1f} {figures[1]:8.4f} {figures[2]:6.3f} {ratio[0]:8.3f} {ratio[1]:7.3f} {seconds:6.1f}",
            flush=True,
        )

    line("shipped by H.E.S.S., from thousands of runs", [data.shipped()], 0)
    for name, edges in (
        ("default, 14 x 2 groups", {}),
        ("default, 2 groups", {"alt_edges": [0, 49, 90], "az_edges": [0, 360]}),
    ):
        for between in ("nearest", "interpolate"):
            made = [
                cross_validate(directory, "GADF", select=data.obs_ids, seed=seed, between=between, **edges)[20]
                for seed in range(seeds)
            ]
            line(f"{name}, {between}", made, 0)
    formulations = {
        "spline: all terms": ours(),
        "  shape the same at all zenith angles": ours([t for t in TERMS if t[0] == "1" or t[2] == "1"]),
        "  without the wiggly part in DETX and DETY": ours([t for t in TERMS if t[2] != "xy~"]),
        "  round: no DETX and DETY at all": ours([t for t in TERMS if "xy" not in t[2]]),
        "  without the magnetic field": ours([t for t in TERMS if t[0] != "north"]),
        "  energy and offset do not interact": ours([t for t in TERMS if not (t[1] == "energy~" and t[2] == "r2~")]),
    }
    try:
        import pygam

        formulations[f"pyGAM {pygam.__version__}, tensor splines"] = pygam_fit
    except ImportError:
        print("(pyGAM is not installed)")
    for name, fit in formulations.items():
        started = time.perf_counter()
        validations = [data.cross_validated(seed, fit) for seed in range(seeds)]
        line(name, validations, (time.perf_counter() - started) / (3 * seeds))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 3)
