"""Directories of models put to the test with runs, and methods with runs that the models were not made from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from bgnb.datastore import Runs
from bgnb.eventlist import read_event_list
from bgnb.modelset import ModelSet, checked_between
from bgnb.predict import checked_interpolation, point_rate, predicted_rate
from bgnb.stack import stack_runs
from bgnb.validation import Grid, RunPrediction


def predict_runs(
    models: ModelSet,
    runs: Runs,
    obs_ids: Sequence[int],
    grid: Grid,
    *,
    interpolation: str = "gammapy",
    between: str = "interpolate",
    bar: tqdm[Any] | None = None,
) -> Iterator[RunPrediction]:
    """Predict the counts of runs, one after the other.

    Parameters
    ----------
    models : `ModelSet`
        The models.
    runs : `~bgnb.Runs`
        The runs of a directory.
    obs_ids : sequence of int
        Those to predict.
    grid : `Grid`
        Where.
    interpolation : {"gammapy", "none"}
        See `predicted_rate`; for "gammapy" the rates are first taken to the bin centres
        with `point_rate`.
    between : {"interpolate", "nearest"}
        See `ModelSet.rate_for`.
    bar : tqdm, optional
        A progress bar.

    Raises
    ------
    DataError
        Where a run cannot be read.
    """
    how, link = checked_interpolation(interpolation), checked_between(between)
    pointings = {row["OBS_ID"]: (float(row["ALT_PNT"]), float(row["AZ_PNT"])) for row in runs.table}
    for obs_id in obs_ids:
        events = read_event_list(runs.files(obs_id))
        choice = models.rate_for(*pointings[obs_id], link)
        stack = stack_runs([events], grid.axes, models.fovalign)
        rate = point_rate(choice.rate) if how == "gammapy" else choice.rate
        livetime = stack.livetime.value
        first_bin = int(np.argmax(livetime.any(axis=(1, 2)))) if livetime.any() else grid.axes.shape[0]
        yield RunPrediction(
            obs_id,
            *pointings[obs_id],
            counts=stack.counts,
            expected=predicted_rate(rate, grid.axes, how) * livetime,
            used=grid.used(choice.rate.axes, first_bin),
            groups=choice.weights,
        )
        if bar is not None:
            bar.update()
