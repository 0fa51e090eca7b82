"""Attachment of models to runs: data stores for Gammapy in which every run has a background."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bgnb._util.checks import without_dots
from bgnb._util.errors import BgnbError
from bgnb._util.progress import progress_bar
from bgnb._util.settings_groups import options_of, with_settings
from bgnb.cubes.event_cuts import RunCounts
from bgnb.cubes.model_set import ModelSet
from bgnb.files.epoch_directory import ALL_RUNS, read_all_models, read_epochs
from bgnb.files.fits_writer import index_hdu, primary_hdu, write_fits
from bgnb.files.output_directory import new_directory
from bgnb.files.output_file import write_file
from bgnb.files.report_json import write_report
from bgnb.gammapy.attached_runs import (
    CHUNK_RUNS,
    AttachedRun,
    BackgroundChunk,
    BackgroundSource,
    MadeBackground,
    digest_of,
    make_backgrounds,
    notes_on_backgrounds,
    notes_on_selection,
)
from bgnb.gammapy.run_background import RunBackgrounds
from bgnb.gammapy.settings import AttachSettings
from bgnb.gammapy.store_index import BACKGROUNDS, background_file, index_of_hdus, index_of_runs, relative_path
from bgnb.observations.datastore import Runs, open_runs
from bgnb.observations.epochs import Epochs
from bgnb.observations.run_selection import Reason, notes_on_catalog, select_runs
from bgnb.production.report import count_reasons, explain_masked
from bgnb.production.run_comparison import notes_on_used_runs
from bgnb.production.workers import open_workers

#: Approximate CPU time for the background of a run, s.
SECONDS_PER_RUN = 0.03
# Components of a run that Gammapy requires by default, in addition to the background.
_COMPONENTS = ("events", "gti", "aeff", "edisp", "psf")


@dataclass(frozen=True)
class Attachments:
    """Result of `bgnb.attach`.

    Parameters
    ----------
    runs : tuple of AttachedRun
        All runs of the input, in order of OBS_ID.
    settings : mapping
        All arguments.
    notes : tuple of str
        Warnings raised while reading the index of runs, and notes on the runs.
    """

    runs: tuple[AttachedRun, ...]
    settings: Mapping[str, Any]
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Attachments({len(self.obs_ids)} of {len(self.runs)} runs)"

    @property
    def obs_ids(self) -> list[int]:
        """OBS_IDs of the attached runs, in order."""
        return [run.obs_id for run in self.runs if run.reason is None]

    @property
    def faults(self) -> dict[int, str]:
        """Error messages of runs that cannot be used, by OBS_ID."""
        return {run.obs_id: run.reason.detail for run in self.runs if run.reason and run.reason.is_error}

    @property
    def call(self) -> str:
        """Call of Gammapy's data store that opens all attached runs."""
        return _call({name for run in self.runs for name in run.missing})

    def __str__(self) -> str:
        attached = [run for run in self.runs if run.reason is None]
        reasons = [run.reason for run in self.runs if run.reason is not None]
        lines = [f"background attached to {len(attached)} of {len(self.runs)} runs, {len(reasons)} skipped"]
        lines += [f"  {line}" for line in count_reasons(reasons)]
        frames = Counter(run.fovalign or "radial" for run in attached)
        why = "; Gammapy reads all backgrounds of H.E.S.S. DR1 as REVERSE_LON_RADEC" * ("REVERSE_LON_RADEC" in frames)
        found = ", ".join(f"{n} in {name}" if name != "radial" else f"{n} radial" for name, n in sorted(frames.items()))
        lines.append(f"frames of the backgrounds (FOVALIGN): {found}{why}")
        norms = [run.norm for run in attached if run.norm is not None]
        if any(norm.source == "run" for norm in norms):
            values, errors = np.array([norm.norm for norm in norms]), [norm.norm_error for norm in norms]
            deviation = f"standard deviation {values.std():.3f}, " * (len(values) > 1)
            spread = f"mean {values.mean():.3f}, {deviation}mean error {np.mean(errors):.3f}"
            lines.append(f"norms of the runs relative to the models: {spread}")
        for missing, n in Counter(run.missing for run in attached if run.missing).items():
            lines.append(f"note: {n} run{'s' * (n != 1)} without {', '.join(missing)}: {_advice(missing)}")
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])

    def as_dict(self) -> dict[str, Any]:
        """Return the content of ``report.json``."""
        return {"runs": [run.as_dict() for run in self.runs], "notes": self.notes, "settings": self.settings}


def _advice(missing: Sequence[str]) -> str:
    """Advise on runs that lack components which Gammapy requires by default."""
    if "site" in missing:
        return "Gammapy cannot predict a background if the header of the events lacks GEOLON, GEOLAT or ALTITUDE"
    if not {"events", "gti"}.isdisjoint(missing):
        return "Gammapy opens runs only if the HDUs of events and good time intervals exist and have names (EXTNAME)"
    return f"to open them in Gammapy, use {_call(missing)}"


def _call(missing: Collection[str]) -> str:
    """Return the call that opens runs in Gammapy if components are missing."""
    names = ", ".join(f'"{name}"' for name in (*_COMPONENTS[2:], "bkg") if name not in missing)
    complete = set(missing).isdisjoint(_COMPONENTS[2:])
    return "get_observations()" if complete else f"get_observations(required_irf=[{names}])"


@with_settings(AttachSettings)
def attach(
    modeldir: str | Path,
    indir: str | Path,
    scheme: str,
    outdir: str | Path,
    *,
    settings: AttachSettings,
    overwrite: bool = False,
    workers: int | Executor | None = None,
    scheduler: str | None = None,
    progress: bool | None = None,
) -> Attachments:
    """Make a data store for Gammapy in which every run has a background.

    OUTDIR contains GADF index files and a background for each run. The index refers, by
    relative paths, to the files of INDIR, which are not changed. The backgrounds have the norm of
    their run (see `norm_of_run`), or that of the models. They are written such that Gammapy predicts
    the right counts: per ontime, at the bin centres, averaged over the pointings of the run, and
    in a frame that Gammapy interprets correctly. They are continued to the energies of events
    above the energy threshold of the run that lie outside the energies of the models (see
    ``docs/explanation/gammapy.md``).

    Parameters
    ----------
    modeldir : path
        A directory of models, or of the models of epochs, see `make_epoch_models`.
    indir : path
        Directory of event lists.
    scheme : str
        Layout of INDIR, see `open_runs`. In scheme HESS the index contains only events, good
        time intervals and effective areas; in scheme FILES also the other instrument responses in
        the file of a run.
    outdir : path
        Directory to make.
    {settings}
    overwrite : bool
        Replace ``outdir`` if bgnb made it, with a data store.
    workers : int or `concurrent.futures.Executor`, optional
        Number of processes on this machine, or an executor, see `make_models`. The files are bit-identical regardless
        of the number of processes.
    scheduler : str, optional
        Address of a running Dask scheduler, see `make_models`. Its workers read ``modeldir`` and ``indir``.
    progress : bool, optional
        Show a progress bar; by default on a terminal only.

    Returns
    -------
    Attachments
        Result for every run, as in OUTDIR/report.json.

    Raises
    ------
    BgnbError
        If an argument cannot be used, or no run is left.

    Examples
    --------
    >>> import bgnb
    >>> attachments = bgnb.attach("models", "runs", "GADF", "store")
    >>> attachments.obs_ids
    [1, 2, 3, 4, 5, 6]
    >>> attachments.call  # of DataStore.from_dir("store")
    'get_observations(required_irf=["aeff", "bkg"])'
    """
    epochs = read_epochs(modeldir)  # fails before the output directory is made
    digest = digest_of(Path(modeldir))
    models = read_all_models(modeldir)
    makers = {name: RunBackgrounds(each, settings.background) for name, each in models.items()}
    with new_directory(
        Path(outdir), overwrite=overwrite, kind="backgrounds", inputs=(Path(indir), Path(modeldir))
    ) as directory:
        path, reading = without_dots(Path(indir).absolute()), settings.background.reading
        target = Path(outdir).resolve()
        runs = open_runs(path, settings.scheme, **options_of(reading)).with_on_error(settings.on_error)
        selection = select_runs(runs, settings.select, settings.background.catalog, on_error=settings.on_error)
        required = selection.kept if settings.on_error == "fail" else ()
        epoch_of, without = _epochs_of(runs, epochs, models, required)
        skipped = without | dict(selection.skipped)
        kept = [obs_id for obs_id in selection.kept if obs_id not in without]
        for obs_id in kept:  # fails before the backgrounds are made
            relative_path(runs.files(obs_id).events.path, target)
        (directory / BACKGROUNDS).mkdir()
        attached: list[AttachedRun] = []
        counted: dict[int, RunCounts] = {}
        source = partial(BackgroundSource.of, Path(modeldir), digest, settings.background, makers)
        bar = progress_bar(len(kept), "run", progress)
        with bar, open_workers(workers, scheduler, len(kept) * SECONDS_PER_RUN) as where:
            for obs_id, made in make_backgrounds(_chunks(runs, kept, epoch_of), makers, source, where):
                if isinstance(made, MadeBackground):
                    write_file(directory / BACKGROUNDS / background_file(obs_id), made.content)
                    attached.append(made.run)
                    counted[obs_id] = made.counted
                elif settings.on_error == "fail":
                    raise made
                else:
                    skipped[obs_id] = Reason.from_error(made)
                bar.update()
        attached.sort(key=lambda run: run.obs_id)  # workers return them in any order
        skipped = dict(sorted(skipped.items()))
        if not attached:
            raise BgnbError("no-runs", f"no run of {runs.path} gets a background: {explain_masked(skipped.values())}")
        on_runs = notes_on_used_runs(runs, counted)
        obs_ids = [run.obs_id for run in attached]
        uses_catalog = settings.background.norm == "run" or settings.select == "far"
        on_sources = notes_on_catalog(runs, obs_ids, settings.background.catalog) if uses_catalog else []
        hdus, components = index_of_hdus(runs, obs_ids, target, settings.scheme, settings.background.kind)
        index = index_of_runs(runs, obs_ids, settings.scheme)
        runs.check_unchanged()
        write_fits(directory / "hdu-index.fits.gz", [primary_hdu(), index_hdu(hdus, "HDU")])
        write_fits(directory / "obs-index.fits.gz", [primary_hdu(), index])
        absent = {obs_id: tuple(name for name in _COMPONENTS if name not in components[obs_id]) for obs_id in obs_ids}
        reports = [replace(run, missing=run.missing + absent[run.obs_id]) for run in attached]
        reports += [AttachedRun(obs_id, reason) for obs_id, reason in skipped.items()]
        of_models: list[str] = []
        for name, each in models.items():
            some = [run for run in attached if run.epoch == name]
            found = notes_on_backgrounds(each, settings.background, some, {run.obs_id: counted[run.obs_id] for run in some})
            of_models += [f"epoch {name}: {note}" if name else note for note in found]
        report = Attachments(
            tuple(sorted(reports, key=lambda run: run.obs_id)),
            {"modeldir": str(modeldir), "indir": str(indir)} | settings.as_dict(),
            (*on_runs, *notes_on_selection(reading.events), *of_models, *on_sources),
        )
        write_report(directory, report.as_dict())
    return report


def _chunks(runs: Runs, obs_ids: Sequence[int], epoch_of: Mapping[int, str]) -> Iterator[BackgroundChunk]:
    """Divide runs into chunks."""
    for start in range(0, len(obs_ids), CHUNK_RUNS):
        part = obs_ids[start : start + CHUNK_RUNS]
        files = tuple(runs.files(obs_id) for obs_id in part)
        yield BackgroundChunk(runs=files, epochs={obs_id: epoch_of[obs_id] for obs_id in part})


def _epochs_of(
    runs: Runs, epochs: Epochs | None, models: Mapping[str, ModelSet], required: Collection[int]
) -> tuple[dict[int, str], dict[int, Reason]]:
    """Return the epoch of the models of each run, and the reasons why others have none; raise errors of required runs."""
    if epochs is None:
        return dict.fromkeys(runs.obs_ids, ALL_RUNS), {}
    found: dict[int, str] = {}
    without: dict[int, Reason] = {}
    for obs_id, epoch in epochs.of(runs, required).items():
        if isinstance(epoch, Reason):
            without[obs_id] = epoch
        elif epoch in models:
            found[obs_id] = epoch
        else:
            without[obs_id] = Reason("epoch without models", epoch)
    return found, without
