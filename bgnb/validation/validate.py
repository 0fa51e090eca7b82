"""Directories of models put to the test with runs, and methods with runs that their models were not made from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from astropy import units as u
from astropy.table import Table
from tqdm import tqdm

from bgnb._util.checks import to_value, whole_number
from bgnb._util.errors import BgnbError, DataError
from bgnb._util.progress import progress_bar
from bgnb.cubes.model import checked_method
from bgnb.cubes.prediction import Interpolation, checked_interpolation, point_rate, predicted_rate
from bgnb.cubes.stack import stack_runs
from bgnb.files.model_directory import Between, ModelSet, checked_between
from bgnb.files.output_directory import check_target, new_directory, write_file
from bgnb.files.report_json import write_report
from bgnb.observations.datastore import Runs, open_runs
from bgnb.observations.event_reader import read_event_list
from bgnb.observations.selection import EXCLUSION_RADIUS, OnError, check_effect, checked_on_error, select_runs
from bgnb.production.pipeline import make_bg_cube_models
from bgnb.validation.figures import plot_learning_curve, plot_profiles, plot_significance
from bgnb.validation.result import Validation
from bgnb.validation.run_prediction import Grid, RunPrediction


def validate(
    modeldir: str | Path,
    indir: str | Path,
    scheme: str,
    outdir: str | Path | None = None,
    *,
    select: str | Path | Sequence[int] = "far",
    catalog: str | Path | Table | None = None,
    exclusion_radius: u.Quantity | str = EXCLUSION_RADIUS,
    interpolation: str = "gammapy",
    between: str = "interpolate",
    energy_min: u.Quantity | str = 0.5 * u.TeV,
    energy_max: u.Quantity | str = 50 * u.TeV,
    n_energy: int = 8,
    pixel: u.Quantity | str = 0.5 * u.deg,
    offset_max: u.Quantity | str = 2.5 * u.deg,
    on_error: str = "skip",
    overwrite: bool = False,
    progress: bool | None = None,
) -> Validation:
    """Predict runs from models, and compare with what was counted.

    A bin of a run is compared where it lies wholly above the run's energy threshold.

    Parameters
    ----------
    modeldir : path
        A directory of models.
    indir, scheme, select, catalog, exclusion_radius
        The runs to predict, see `make_bg_cube_models`. Those that the models were made from
        flatter the models.
    outdir : path, optional
        Directory to make, with ``report.json`` and pictures.
    interpolation : {"gammapy", "none"}
        How the rate is read between bin centres, see `bgnb.cubes.prediction.predicted_rate`.
    between : {"interpolate", "nearest"}
        How the model of a run is found, see `ModelSet.rate_for`.
    energy_min, energy_max, n_energy, pixel, offset_max
        See `Grid.regular`.
    on_error : {"skip", "fail"}
        Leave out runs that cannot be used and say so in the report, or stop at the first.
    overwrite : bool
        Replace ``outdir``, if bgnb made it.
    progress : bool, optional
        Show a progress bar; by default on a terminal only.

    Returns
    -------
    Validation

    Raises
    ------
    BgnbError
        Where an argument cannot be used, or there is nothing to compare.
    """
    settings = {name: value for name, value in locals().items() if name not in ("outdir", "overwrite", "progress")}
    grid = Grid.regular(energy_min, energy_max, n_energy, pixel, offset_max)
    if outdir is not None:
        check_target(Path(outdir), overwrite=overwrite)  # before the work begins
    how, link, if_faulty = checked_interpolation(interpolation), checked_between(between), checked_on_error(on_error)
    settings |= {"interpolation": how, "between": link, "on_error": if_faulty}
    models, runs = ModelSet(modeldir).checked_all(), open_runs(indir, scheme)
    obs_ids = _selected(runs, select, catalog, exclusion_radius, if_faulty)
    with progress_bar(len(obs_ids), "run", progress) as bar:
        predictions, faults = _predict(models, runs, obs_ids, grid, how, link, if_faulty, bar)
    notes = models.note_beyond(runs, [prediction.obs_id for prediction in predictions])
    validation = Validation(grid, predictions, faults, frozenset(models.obs_ids), tuple(notes))
    if outdir is not None:
        with new_directory(Path(outdir), overwrite=overwrite, inputs=(Path(modeldir), Path(indir))) as directory:
            _write(directory, validation.as_dict(), settings, {"": validation})
    return validation


def cross_validate(
    indir: str | Path,
    scheme: str,
    outdir: str | Path | None = None,
    *,
    method: str = "default",
    folds: int = 3,
    n_train: Sequence[int] | None = None,
    seed: int = 0,
    select: str | Path | Sequence[int] = "far",
    catalog: str | Path | Table | None = None,
    exclusion_radius: u.Quantity | str = EXCLUSION_RADIUS,
    alt_edges: Sequence[float] | u.Quantity | None = None,
    az_edges: Sequence[float] | u.Quantity | None = None,
    fovalign: str = "ALTAZ",
    interpolation: str = "gammapy",
    between: str = "interpolate",
    energy_min: u.Quantity | str = 0.5 * u.TeV,
    energy_max: u.Quantity | str = 50 * u.TeV,
    n_energy: int = 8,
    pixel: u.Quantity | str = 0.5 * u.deg,
    offset_max: u.Quantity | str = 2.5 * u.deg,
    on_error: str = "skip",
    overwrite: bool = False,
    progress: bool | None = None,
) -> dict[int, Validation]:
    """Predict each run from models that were made without it.

    The runs are dealt at random into folds. Each fold is predicted from models of the runs
    of all other folds; for the learning curve, of so many of them.

    Parameters
    ----------
    indir, scheme, select, catalog, exclusion_radius, method, alt_edges, az_edges, fovalign
        See `make_bg_cube_models`.
    outdir : path, optional
        Directory to make, with ``report.json`` and pictures.
    folds : int
        Number of folds.
    n_train : sequence of int, optional
        Further numbers of runs to make models from, besides all of the other folds.
    seed : int
        Of the order in which runs are dealt.
    interpolation, between, energy_min, energy_max, n_energy, pixel, offset_max, on_error, overwrite, progress
        See `validate`.

    Returns
    -------
    dict of int to Validation
        By the number of runs that models were made from; where folds differ in length, the
        smallest.

    Raises
    ------
    BgnbError
        Where an argument cannot be used, or there are too few runs.
    """
    settings = {name: value for name, value in locals().items() if name not in ("outdir", "overwrite", "progress")}
    grid = Grid.regular(energy_min, energy_max, n_energy, pixel, offset_max)
    if outdir is not None:
        check_target(Path(outdir), overwrite=overwrite)
    how, link, if_faulty = checked_interpolation(interpolation), checked_between(between), checked_on_error(on_error)
    settings |= {"method": checked_method(method), "interpolation": how, "between": link, "on_error": if_faulty}
    whole_number("folds", folds, least=2), whole_number("seed", seed, least=0)
    runs = open_runs(indir, scheme)
    kept = _selected(runs, select, catalog, exclusion_radius, if_faulty)
    if folds > len(kept):
        raise BgnbError(f"folds must be 2 to the number of runs, {len(kept)}, got {folds}")
    order = np.random.default_rng(seed).permutation(kept).tolist()
    most = len(order) - -(-len(order) // folds)
    if wrong := [number for number in n_train or () if whole_number("n_train", number) > most]:
        raise BgnbError(f"n_train must be 1 to {most}, as many as the other folds have runs, got {wrong[0]}")
    sizes = sorted({most, *(n_train or ())})
    validations = {}
    with progress_bar(len(sizes) * folds, "fold", progress) as bar:
        for size in sizes:
            predictions: list[RunPrediction] = []
            faults: dict[int, str] = {}
            for fold in range(folds):
                held_out = order[fold::folds]
                others = [obs_id for obs_id in order if obs_id not in held_out]
                with TemporaryDirectory(prefix="bgnb-") as scratch:
                    make_bg_cube_models(
                        indir,
                        scheme,
                        Path(scratch) / "models",
                        method=method,
                        select=others if size == most else others[:size],
                        alt_edges=alt_edges,
                        az_edges=az_edges,
                        fovalign=fovalign,
                        on_error=on_error,
                        progress=False,
                    )
                    models = ModelSet(Path(scratch) / "models").checked_all()
                    found, bad = _predict(models, runs, held_out, grid, how, link, if_faulty)
                predictions += found
                faults |= bad
                bar.update()
            validations[size] = Validation(grid, tuple(predictions), faults)
    if outdir is not None:
        with new_directory(Path(outdir), overwrite=overwrite, inputs=(Path(indir),)) as directory:
            content = {"n_train": {str(size): validation.as_dict() for size, validation in validations.items()}}
            _write(directory, content, settings, {f"_{size}_runs": validation for size, validation in validations.items()})
            if len(validations) > 1:
                write_file(directory / "learning_curve.png", plot_learning_curve(validations).png)
    return validations


def _selected(
    runs: Runs, select: str | Path | Sequence[int], catalog: Any, exclusion_radius: u.Quantity | str, on_error: OnError
) -> Sequence[int]:
    """OBS_IDs of the runs that are asked for."""
    radius = to_value("exclusion_radius", exclusion_radius, "deg")
    check_effect(select, catalog, radius)
    return select_runs(runs, select, catalog, radius * u.deg, on_error).kept


def _predict(
    models: ModelSet,
    runs: Runs,
    obs_ids: Sequence[int],
    grid: Grid,
    how: Interpolation,
    link: Between,
    on_error: OnError,
    bar: tqdm[Any] | None = None,
) -> tuple[tuple[RunPrediction, ...], dict[int, str]]:
    """Predictions for runs, and what is wrong with those that cannot be read."""
    if how == "gammapy":
        models.check_interpolable()
    predictions, faults = [], {}
    for obs_id in obs_ids:
        try:
            predictions.append(_prediction(models, runs, obs_id, grid, how, link))
        except DataError as error:
            if on_error == "fail":
                raise
            faults[obs_id] = str(error)
        if bar is not None:
            bar.update()
    return tuple(predictions), faults


def _prediction(models: ModelSet, runs: Runs, obs_id: int, grid: Grid, how: Interpolation, link: Between) -> RunPrediction:
    events = read_event_list(runs.files(obs_id))
    models.check_instrument(events)
    stack = stack_runs([events], grid.axes, models.fovalign)
    pointing = runs.pointing(obs_id)
    choice = models.rate_for(*pointing, link)
    rate = point_rate(choice.rate) if how == "gammapy" else choice.rate
    exposed = np.flatnonzero(stack.livetime_us.any(axis=(1, 2)))
    return RunPrediction(
        obs_id,
        *pointing,
        counts=stack.counts,
        expected=predicted_rate(rate, grid.axes, how) * stack.livetime.value,
        used=grid.used(choice.rate.axes, int(exposed[0]) if len(exposed) else grid.axes.shape[0]),
        groups=choice.weights,
    )


def _write(directory: Path, figures: dict[str, Any], settings: dict[str, Any], validations: dict[str, Validation]) -> None:
    """``report.json``, and two pictures of each validation."""
    write_report(directory, {"settings": settings} | figures)
    for name, validation in validations.items():
        write_file(directory / f"profiles{name}.png", plot_profiles(validation).png)
        write_file(directory / f"significance{name}.png", plot_significance(validation).png)
