"""Production of models for each epoch."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from pathlib import Path

from bgnb._util.checks import without_dots
from bgnb._util.errors import BgnbError, numbered
from bgnb._util.settings_groups import options_of, with_settings
from bgnb.files.epoch_directory import write_epochs
from bgnb.files.output_directory import kept_folder, new_directory
from bgnb.files.report_json import write_report
from bgnb.observations.datastore import open_runs
from bgnb.observations.epochs import Epochs
from bgnb.observations.run_selection import Reason, select_runs
from bgnb.production.pipeline import models_of_plan
from bgnb.production.plan import plan_of_runs, select_and_mask
from bgnb.production.report import Report, count_reasons, in_one_line
from bgnb.production.settings import ProductionSettings, RunSelection
from bgnb.production.write_models import write_files


@dataclass(frozen=True, kw_only=True)
class EpochReport:
    """Outcome of a production of models for each epoch.

    Parameters
    ----------
    epochs : mapping of str to `Report`
        Report on the runs of each epoch with models.
    without_models : mapping of str to str
        Reason why an epoch has no models.
    without_epoch : mapping of int to `~bgnb.observations.run_selection.Reason`
        Reason why a run has no epoch, by OBS_ID.
    """

    epochs: Mapping[str, Report]
    without_models: Mapping[str, str]
    without_epoch: Mapping[int, Reason]

    @property
    def faults(self) -> dict[int, str]:
        """Error messages of runs that cannot be used, by OBS_ID."""
        found = {obs_id: reason.detail for obs_id, reason in self.without_epoch.items() if reason.is_error}
        return found | {obs_id: error for report in self.epochs.values() for obs_id, error in report.faults.items()}

    def __str__(self) -> str:
        parts = [f"epoch {name}\n{report}" for name, report in self.epochs.items()]
        notes = [f"note: epoch {name} has no models: {reason}" for name, reason in self.without_models.items()]
        if self.without_epoch:
            number = len(self.without_epoch)
            notes.append(f"{number} run{'s' * (number != 1)} without an epoch:")
            notes += [f"  {line}" for line in count_reasons(list(self.without_epoch.values()))]
        return "\n\n".join([*parts, "\n".join(notes)] if notes else parts)


@with_settings(ProductionSettings)
def make_epoch_models(
    indir: str | Path,
    scheme: str,
    outdir: str | Path,
    epochs: str | Path,
    *,
    settings: ProductionSettings,
    overwrite: bool = False,
    workers: int | Executor | None = None,
    scheduler: str | None = None,
    progress: bool | None = None,
) -> EpochReport:
    """Make background cube models for each epoch, and write them.

    The runs of an epoch make the models in the directory OUTDIR/EPOCH, as `make_bg_cube_models` does from a directory
    with these runs only. `attach` finds the models of the epoch of each run.

    Parameters
    ----------
    indir : path
        Directory of event lists.
    scheme : str
        Layout of INDIR, see `open_runs`.
    outdir : path
        Directory to make.
    epochs : path or str
        A table with the columns EPOCH, START and STOP (dates in UTC, or MJD in TT), in which runs start; or a
        column of the index of runs whose values are the names of the epochs.
    {settings}
    overwrite : bool
        Replace ``outdir`` if bgnb made it, with models.
    workers : int or `concurrent.futures.Executor`, optional
        Number of processes on this machine, or an executor, see `make_models`.
    scheduler : str, optional
        Address of a running Dask scheduler, see `make_models`.
    progress : bool, optional
        Show a progress bar; by default on a terminal only.

    Returns
    -------
    EpochReport

    Raises
    ------
    BgnbError
        If an argument is invalid, or no epoch has runs for models.

    Examples
    --------
    >>> import bgnb
    >>> from astropy.table import Table
    >>> rows = [("early", "2010-01-01", "2012-01-01"), ("late", "2012-01-01", "2015-01-01")]
    >>> Table(rows=rows, names=["EPOCH", "START", "STOP"]).write("epochs.ecsv")
    >>> report = bgnb.make_epoch_models("runs", "GADF", "epochs", "epochs.ecsv", select="all", method="classic", n_fov=10)
    >>> list(report.epochs)
    ['early', 'late']
    >>> bgnb.read_models("epochs/late").group_ids
    [27]
    """
    runs = open_runs(without_dots(Path(settings.indir).absolute()), settings.scheme, **options_of(settings.reading))
    rule = Epochs.read(epochs, runs)
    with new_directory(Path(outdir), overwrite=overwrite, kind="models", inputs=(Path(indir),)) as directory:
        required: tuple[int, ...] = ()
        if settings.on_error == "fail":
            required = select_and_mask(runs, settings.selection, settings.source_handling, "fail")[0].kept
        epoch_of = rule.of(runs, required)
        without_epoch = {obs_id: epoch for obs_id, epoch in epoch_of.items() if isinstance(epoch, Reason)}
        names = {name for name in epoch_of.values() if isinstance(name, str)}
        reports, without_models = {}, dict.fromkeys(sorted(rule.periods.keys() - names), "there are no runs")
        for name in sorted(names):
            some = runs.subset([obs_id for obs_id, epoch in epoch_of.items() if epoch == name])
            try:
                selection = settings.selection
                if selection.select not in ("far", "all"):  # listed runs; those of other epochs are not in the subset
                    listed = select_runs(runs, selection.select).kept
                    own = [obs_id for obs_id in listed if epoch_of[obs_id] == name]
                    selection = RunSelection(select=own, catalog=selection.catalog)
                plan = plan_of_runs(some, replace(settings, selection=selection))
                production = models_of_plan(plan, workers, scheduler, progress, kept_folder(Path(outdir)))
            except BgnbError as error:
                if error.code not in ("no-runs", "no-counts"):
                    raise
                without_models[name] = str(error)
                continue
            (directory / name).mkdir()
            write_files(production, directory / name)
            reports[name] = production.report
        if not reports:
            reasons = [f"{name}: {reason}" for name, reason in without_models.items()]
            if without_epoch:
                reasons.append(f"{numbered('run', without_epoch)} without an epoch: {in_one_line(without_epoch.values())}")
            raise BgnbError("no-runs", f"{runs.path}: no epoch has models: {'; '.join(reasons)}")
        write_epochs(rule, directory)
        report = EpochReport(epochs=reports, without_models=without_models, without_epoch=without_epoch)
        content = {"epochs": sorted(reports), "without_models": without_models, "settings": settings.as_dict()}
        write_report(directory, content | {"without_epoch": {key: str(value) for key, value in without_epoch.items()}})
    return report
