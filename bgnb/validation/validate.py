"""Comparison of models and methods with the counts of runs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from bgnb._util.checks import whole_number
from bgnb._util.errors import BgnbError, DataError
from bgnb._util.extras import require
from bgnb._util.progress import progress_bar
from bgnb._util.settings_groups import options_of, with_settings
from bgnb.cubes.compare import note_on_rates
from bgnb.cubes.coverage import coverage, interpolable_rate
from bgnb.cubes.event_cuts import measured_planes
from bgnb.cubes.exclusion_mask import SourceMask
from bgnb.cubes.model_set import ModelSet
from bgnb.cubes.prediction import point_rate, predicted_rate
from bgnb.cubes.stack import stack_runs
from bgnb.files.model_directory import read_models
from bgnb.files.output_directory import check_target, new_directory
from bgnb.files.output_file import write_file
from bgnb.files.report_json import write_report
from bgnb.observations.datastore import Runs, open_runs
from bgnb.observations.event_reader import read_event_list
from bgnb.observations.groups import OUTSIDE, OUTSIDE_GROUPS
from bgnb.observations.run_selection import Reason
from bgnb.production.pipeline import models_of_subsets
from bgnb.production.plan import Plan, make_plan, notes_on_selection, require_runs, select_and_mask
from bgnb.production.report import explain, in_one_line
from bgnb.production.run_comparison import notes_on_used_runs
from bgnb.validation.figures import plot_learning_curve, plot_profiles, plot_significance
from bgnb.validation.result import Validation
from bgnb.validation.run_prediction import RunPrediction
from bgnb.validation.settings import CrossValidationSettings, PredictionSettings, ValidationSettings

T = TypeVar("T", np.int64, np.float64)

# Maximum width of the parts into which pixels are divided where sources are masked, deg.
_MASKED_PIXEL = 0.1
#: Minimum counts, observed or predicted, of a run or energy bin whose rates are compared for a note.
MIN_COUNTS = 100


@with_settings(ValidationSettings)
def validate(
    modeldir: str | Path,
    indir: str | Path,
    scheme: str,
    outdir: str | Path | None = None,
    *,
    settings: ValidationSettings,
    overwrite: bool = False,
    progress: bool | None = None,
) -> Validation:
    """Compare the counts of runs with those that models predict.

    A bin of a run is compared if it lies wholly above the run's energy threshold and below its energy limit. With
    ``sources="mask"`` exclusion regions are applied to the counts and to the prediction.

    Parameters
    ----------
    modeldir : path
        A directory of models.
    indir : path
        Directory of the runs to predict. Runs that the models were made from bias the result
        in the models' favour.
    scheme : str
        Its layout, see `open_runs`.
    outdir : path, optional
        Directory to make, with ``report.json`` and plots.
    {settings}
    overwrite : bool
        Replace ``outdir`` if bgnb made it, with a validation.
    progress : bool, optional
        Show a progress bar; by default on a terminal only.

    Returns
    -------
    Validation
        Observed and predicted counts of the runs.

    Raises
    ------
    BgnbError
        If an argument cannot be used, or there is nothing to compare.

    Examples
    --------
    >>> import bgnb
    >>> new = bgnb.make_test_dataset("test-runs", n_runs=2, trigger_rate=4, spectral_index=1.5, alt_range=(74, 78), seed=1)
    >>> validation = bgnb.validate("models", "test-runs", "GADF", energy_min="0.2 TeV")
    >>> round(validation.total_ratio, 1)
    1.0
    >>> print(validation.table["OBS_ID", "GROUPS"])
    OBS_ID GROUPS
    ------ ------
         1 spline
         2 spline
    """
    if outdir is not None:
        require("plots")
        check_target(Path(outdir), overwrite=overwrite, kind="validations")  # before reading
    models, on_error = read_models(modeldir), settings.prediction.on_error
    runs = open_runs(indir, scheme, **options_of(settings.prediction.reading)).with_on_error(on_error)
    selection, mask = select_and_mask(runs, settings.selection, settings.source_handling, on_error)
    require_runs(runs, selection)
    with progress_bar(len(selection.kept), "run", progress) as bar:
        predictions, errors = _predict(models, runs, selection.kept, mask, settings.prediction, bar)
    runs.check_unchanged()
    used = [prediction.obs_id for prediction in predictions]
    counted = {run.obs_id: run.counted for run in predictions if run.counted}
    notes = [*_notes_on_skipped(selection.skipped), *notes_on_used_runs(runs, counted), *models.notes_on(counted)]
    notes += notes_on_selection(runs, used, settings.selection, settings.source_handling, mask)
    validation = Validation(
        settings.prediction.grid.grid, predictions, errors, frozenset(models.common_runs(counted.values())), tuple(notes)
    )
    validation = replace(validation, notes=(*notes, *_notes_on_rates(validation)))
    if outdir is not None:
        with new_directory(
            Path(outdir), overwrite=overwrite, kind="validations", inputs=(Path(modeldir), Path(indir))
        ) as directory:
            inputs = {"modeldir": str(modeldir), "indir": str(indir), "scheme": scheme}
            _write(directory, validation.as_dict(), inputs | settings.as_dict(), {"": validation})
    return validation


@with_settings(CrossValidationSettings)
def cross_validate(
    indir: str | Path,
    scheme: str,
    outdir: str | Path | None = None,
    *,
    settings: CrossValidationSettings,
    overwrite: bool = False,
    progress: bool | None = None,
) -> dict[int, Validation]:
    """Compare the counts of each run with those that models made without it predict.

    Runs are split randomly into folds. Each fold is predicted from models of the runs of all
    other folds; for the learning curve, of some of them. The models are made in memory, with
    the settings of `make_models`; only those of the axes have other names, with the prefix
    ``model_``, as ``energy_min``, ``energy_max`` and ``n_energy`` are the bins of the
    comparison. With ``sources="mask"`` exclusion regions are applied to the models, to the
    counts and to the prediction.

    Parameters
    ----------
    indir : path
        Directory of event lists.
    scheme : str
        Its layout, see `open_runs`.
    outdir : path, optional
        Directory to make, with ``report.json`` and plots.
    {settings}
    overwrite : bool
        Replace ``outdir`` if bgnb made it, with a validation.
    progress : bool, optional
        Show a progress bar; by default on a terminal only.

    Returns
    -------
    dict of int to Validation
        Validations by the number of runs used to make the models; if the folds have
        different sizes, the minimum.

    Raises
    ------
    BgnbError
        If an argument cannot be used, or there are too few runs.

    Examples
    --------
    >>> import bgnb
    >>> settings = {"folds": 2, "energy_min": "0.2 TeV", "model_n_energy": 10, "model_n_fov": 10}
    >>> validations = bgnb.cross_validate("runs", "GADF", select="all", **settings)
    >>> {n_train: round(validation.total_ratio, 1) for n_train, validation in validations.items()}
    {3: 1.0}
    """
    if outdir is not None:
        require("plots")
        check_target(Path(outdir), overwrite=overwrite, kind="validations")
    plan, folds = _without_runs_outside(make_plan(settings.production(indir, scheme))), settings.folds
    runs, members = plan.runs, {obs_id for group in plan.members.values() for obs_id in group}
    kept = [obs_id for obs_id in runs.obs_ids if obs_id in members]
    if len(kept) < 2:
        reasons = f"; others: {explain(plan.skipped.values())}" if plan.skipped else ""
        raise BgnbError("no-runs", f"cross-validation needs at least 2 runs, but only {len(kept)} can be used{reasons}")
    if folds > len(kept):
        raise BgnbError("invalid-argument", f"folds must be at most {len(kept)}, the number of selected runs, got {folds}")
    order = np.random.default_rng(settings.seed).permutation(kept).tolist()
    largest = len(order) - -(-len(order) // folds)
    if wrong := [number for number in settings.n_train or () if whole_number("n_train", number) > largest]:
        allowed = f"1 to {largest}, the number of runs of the other folds"
        more = f"; with more folds it can be up to {len(kept) - 1}" if largest < len(kept) - 1 else ""
        raise BgnbError("invalid-argument", f"n_train must be {allowed}, got {wrong[0]}{more}")
    sizes = sorted({largest, *(settings.n_train or ())})
    held_out = [order[fold::folds] for fold in range(folds)]
    others = [[obs_id for obs_id in order if obs_id not in fold] for fold in map(set, held_out)]
    models_of = models_of_subsets(plan, [rest if size == largest else rest[:size] for size in sizes for rest in others])
    validations = {}
    with progress_bar(len(sizes) * folds, "fold", progress) as bar:
        for size in sizes:
            predictions: list[RunPrediction] = []
            errors: dict[int, str] = {}
            for fold in held_out:
                found, failed = _predict(next(models_of), runs, fold, plan.mask, settings.prediction)
                predictions += found
                errors |= failed
                bar.update()
            used = [prediction.obs_id for prediction in predictions]
            all_notes = (
                *_notes_on_skipped(plan.skipped),
                *notes_on_used_runs(runs, {run.obs_id: run.counted for run in predictions if run.counted}),
                *notes_on_selection(runs, used, settings.selection, settings.source_handling, plan.mask),
            )
            validations[size] = Validation(settings.prediction.grid.grid, tuple(predictions), errors, notes=all_notes)
    runs.check_unchanged()
    if outdir is not None:
        with new_directory(Path(outdir), overwrite=overwrite, kind="validations", inputs=(Path(indir),)) as directory:
            content = {"n_train": {str(size): validation.as_dict() for size, validation in validations.items()}}
            named = {f"_{size}_runs": validation for size, validation in validations.items()}
            _write(directory, content, {"indir": str(indir), "scheme": scheme} | settings.as_dict(), named)
            if len(validations) > 1:
                write_file(directory / "learning_curve.png", plot_learning_curve(validations).png)
    return validations


def _without_runs_outside(plan: Plan) -> Plan:
    """Skip the runs of a plan that never point into a group, as found when they are read; those with errors stay."""
    groups = plan.settings.groups
    if groups.covers_sky:
        return plan
    outside = set()
    for obs_id in itertools.chain(*plan.members.values()):
        with suppress(DataError):
            pieces = read_event_list(plan.runs.files(obs_id)).split(lambda alt, az: groups.group_ids(alt, az).tolist())
            if pieces.keys() <= {OUTSIDE}:
                outside.add(obs_id)
    members = {group_id: [obs_id for obs_id in group if obs_id not in outside] for group_id, group in plan.members.items()}
    return replace(plan, members=members, skipped={**plan.skipped, **dict.fromkeys(sorted(outside), OUTSIDE_GROUPS)})


def _notes_on_skipped(skipped: Mapping[int, Reason]) -> list[str]:
    """Note the numbers of runs that are not selected, or cannot be used according to the index."""
    return [f"runs not used: {in_one_line(skipped.values())}"] if skipped else []


def _notes_on_rates(validation: Validation) -> list[str]:
    """Note runs, and energies, in which the observed rate differs from the predicted one by a large factor."""
    compared = [run for run in validation.runs if max(run.n_counts, run.n_expected) >= MIN_COUNTS and run.n_expected > 0]
    runs = {run.obs_id: max(run.n_counts, 1) / run.n_expected for run in compared}
    rows = validation.profile("energy")
    rows = rows[(np.maximum(rows["COUNTS"], rows["EXPECTED"]) >= MIN_COUNTS) & (rows["EXPECTED"] > 0)]
    energies = {f"{row['LOW']:.3g} to {row['HIGH']:.3g} TeV": max(row["COUNTS"], 1) / row["EXPECTED"] for row in rows}
    rates = "the observed rate", "the predicted one"
    return [*note_on_rates(runs, *rates, "run"), *note_on_rates(energies, *rates, "energy bin")]


def _predict(
    models: ModelSet,
    runs: Runs,
    obs_ids: Sequence[int],
    mask: SourceMask | None,
    settings: PredictionSettings,
    bar: tqdm[Any] | None = None,
) -> tuple[tuple[RunPrediction, ...], dict[int, str]]:
    """Predict runs; return the errors of those that cannot be read as well."""
    if settings.rate_interpolation == "gammapy":
        models.check_interpolable()
    predictions, errors = [], {}
    for obs_id in obs_ids:
        try:
            predictions.append(_prediction(models, runs, obs_id, mask, settings))
        except DataError as error:
            if settings.on_error == "fail":
                raise
            errors[obs_id] = str(error)
        if bar is not None:
            bar.update()
    return tuple(predictions), errors


def _prediction(
    models: ModelSet, runs: Runs, obs_id: int, mask: SourceMask | None, settings: PredictionSettings
) -> RunPrediction:
    """Predict the counts of a run."""
    grid, interpolation = settings.grid.grid, settings.rate_interpolation
    events = read_event_list(runs.files(obs_id))
    models.check_instrument(events)
    # The rate varies within pixels that an exclusion region covers in part.
    n_parts = 1 if mask is None else math.ceil(settings.grid.pixel / _MASKED_PIXEL - 1e-9)
    axes = grid.divided(n_parts)
    stack = stack_runs([events], axes, models.fovalign, mask)
    found = models.mean_rate_for(events, settings.model_lookup)
    rate = point_rate(interpolable_rate(found.rate)) if interpolation == "gammapy" else found.rate
    planes = measured_planes(events.energy_threshold, events.energy_limit, grid.axes)
    return RunPrediction(
        obs_id,
        *events.mean_pointing,
        counts=_sum_parts(stack.counts, n_parts),
        expected=_sum_parts(predicted_rate(rate, axes, interpolation) * stack.livetime.value, n_parts),
        used=grid.used(found.rate.axes, planes.start, planes.stop),
        groups=dict(found.weights),
        coverage=coverage(events, found.rate.axes, models.fovalign),
        counted=stack.runs[0],
    )


def _sum_parts(values: NDArray[T], n_parts: int) -> NDArray[T]:
    """Sum over the parts into which pixels are divided."""
    n_energy, n_dety, n_detx = values.shape
    return values.reshape(n_energy, n_dety // n_parts, n_parts, n_detx // n_parts, n_parts).sum(axis=(2, 4))


def _write(directory: Path, content: dict[str, Any], settings: dict[str, Any], validations: dict[str, Validation]) -> None:
    """Write ``report.json``, and two plots of each validation."""
    write_report(directory, {"settings": settings} | content)
    for name, validation in validations.items():
        write_file(directory / f"profiles{name}.png", plot_profiles(validation).png)
        write_file(directory / f"significance{name}.png", plot_significance(validation).png)
