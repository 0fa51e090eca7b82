"""Attachment of models to runs: data stores for Gammapy in which every run has a background."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.table import Table

from bgnb._util.errors import BgnbError, DataError
from bgnb._util.progress import progress_bar
from bgnb._util.settings_groups import with_settings
from bgnb.cubes.compare import note_on_rates
from bgnb.cubes.coverage import Coverage, notes_on_coverage
from bgnb.cubes.model_set import ModelSet
from bgnb.cubes.run_norm import RunNorm, notes_on_norms, prior_scatter
from bgnb.files.epoch_directory import read_epoch_models, read_epochs
from bgnb.files.fits_writer import index_hdu, primary_hdu, write_fits
from bgnb.files.model_directory import read_models
from bgnb.files.output_directory import new_directory
from bgnb.files.report_json import write_report
from bgnb.gammapy.run_background import RunBackground, RunBackgrounds
from bgnb.gammapy.settings import AttachSettings
from bgnb.observations.datastore import Runs, base_of, bases_of, index_file, open_runs
from bgnb.observations.epochs import Epochs
from bgnb.observations.event_list import HduLocation
from bgnb.observations.fits_header import Header
from bgnb.observations.fits_table import read_headers, read_table, read_tables
from bgnb.observations.run_selection import Reason, notes_on_catalog, select_runs
from bgnb.production.report import count_reasons, in_one_line

#: Minimum number of events, observed or predicted, of a run whose rate is compared with that of the models.
MIN_EVENTS = 100
#: Directory of the backgrounds, one file per run.
BACKGROUNDS = "backgrounds"
# Header keywords of the events from which Gammapy takes the location of the observatory.
_SITE = (("GEOLON",), ("GEOLAT",), ("GEOALT", "ALTITUDE"))
# Components of a run that Gammapy requires by default, in addition to the background.
_COMPONENTS = ("events", "gti", "aeff", "edisp", "psf")
_CLASSES = ("events", "gti", "aeff_2d", "edisp_2d", "psf_table", "psf_3gauss", "psf_king", "rad_max_2d")
# Name of the only set of models, if they are not made for epochs.
_ALL = ""
_INDEX_COLUMNS = ("OBS_ID", "HDU_TYPE", "HDU_CLASS", "FILE_DIR", "FILE_NAME", "HDU_NAME")


@dataclass(frozen=True)
class AttachedRun:
    """Result for one run of the input: attached, or skipped for a reason.

    Parameters
    ----------
    obs_id : int
        OBS_ID.
    reason : Reason or None
        Reason for which the run is skipped.
    groups : mapping of int to float
        Mean weights of the groups whose models make the background; empty for a spline.
    livetime_over_ontime : float or None
        Factor from rates per livetime to rates per ontime.
    fovalign : str or None
        Frame of the background: ALTAZ, RADEC or REVERSE_LON_RADEC; None for radial backgrounds.
    missing : tuple of str
        Components that Gammapy requires by default and the index lacks; ``site`` if the
        header of the events does not state the location of the observatory.
    norm : RunNorm or None
        Norm and tilt of the background relative to the models, and their uncertainty.
    coverage : `~bgnb.cubes.coverage.Coverage` or None
        Numbers of events outside the axes of the models.
    continued_tev : tuple of float or None
        Minimum and maximum energy, TeV, of a background continued beyond the energies of the models.
    epoch : str
        Epoch of its models, "" if they are for all runs.
    """

    obs_id: int
    reason: Reason | None = None
    groups: Mapping[int, float] = field(default_factory=dict)
    livetime_over_ontime: float | None = None
    fovalign: str | None = None
    missing: tuple[str, ...] = ()
    norm: RunNorm | None = None
    coverage: Coverage | None = None
    continued_tev: tuple[float, float] | None = None
    epoch: str = ""

    @property
    def predicted_over_observed(self) -> float | None:
        """Predicted over observed events that were compared, before the norm is applied; None if there are few."""
        if self.norm is None or max(self.norm.counts, self.norm.expected) < MIN_EVENTS:
            return None
        return self.norm.expected / max(self.norm.counts, 1)

    def as_dict(self) -> dict[str, Any]:
        """Return the entry in ``report.json``."""
        status = "attached" if self.reason is None else "left_out"
        entry = asdict(self) | {"reason": None if self.reason is None else str(self.reason)}
        entry |= {"norm": self.norm and self.norm.as_dict(), "predicted_over_observed": self.predicted_over_observed}
        return {"obs_id": entry.pop("obs_id"), "status": status, **entry}


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
        lines.append(f"frames of the backgrounds: {', '.join(f'{frame} {n}' for frame, n in sorted(frames.items()))}")
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
    progress: bool | None = None,
) -> Attachments:
    """Make a data store for Gammapy in which every run has a background.

    OUTDIR contains GADF index files and a background for each run. The index refers, by
    relative paths, to the files of INDIR, which are not changed. The backgrounds have the norm of
    their run (see `norm_of_run`), or that of the models. They are written such that Gammapy predicts
    the right counts: per ontime, at the bin centres, averaged over the pointings of the run, and
    in a frame that Gammapy interprets correctly. They are continued to the energies of events
    above the energy threshold of the run that lie outside the energies of the models (see
    ``docs/methods.md``).

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
        Replace ``outdir`` if bgnb made it.
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
    >>> bgnb.attach("models", "hess-dl3-dr1", "GADF", "store")  # doctest: +SKIP
    >>> from gammapy.data import DataStore  # doctest: +SKIP
    >>> DataStore.from_dir("store").get_observations()  # doctest: +SKIP
    """
    epochs = read_epochs(modeldir)  # fails before the output directory is made
    models = {_ALL: read_models(modeldir)} if epochs is None else read_epoch_models(modeldir)
    background_of = {name: RunBackgrounds(each, settings.background) for name, each in models.items()}
    with new_directory(Path(outdir), overwrite=overwrite, inputs=(Path(indir), Path(modeldir))) as directory:
        runs = open_runs(indir, settings.scheme)
        selection = select_runs(runs, settings.select, on_error=settings.on_error)
        epoch_of, without = _epochs_of(runs, epochs, models)
        skipped = without | dict(selection.left_out)
        kept = [obs_id for obs_id in selection.kept if obs_id not in without]
        (directory / BACKGROUNDS).mkdir()
        attached: list[AttachedRun] = []
        configurations: dict[int, tuple[float, int | None]] = {}
        with progress_bar(len(kept), "run", progress) as bar:
            for obs_id in kept:
                try:
                    background = background_of[epoch_of[obs_id]](runs.files(obs_id), *runs.pointing(obs_id))
                except DataError as error:
                    if settings.on_error == "fail":
                        raise
                    skipped[obs_id] = Reason.from_error(error)
                else:
                    write_fits(directory / BACKGROUNDS / background_file(obs_id), background.hdus)
                    attached.append(replace(_attached(background), epoch=epoch_of[obs_id]))
                    configurations[obs_id] = background.run.mjd_middle, background.run.n_tels
                bar.update()
        if not attached:
            reasons = in_one_line(skipped.values())
            raise BgnbError("no-runs", f"{reasons}; no run of {runs.path} gets a background")
        target = Path(outdir).resolve()
        make_rows = {"GADF": _gadf_rows, "HESS": _hess_rows, "FILES": _files_rows}[settings.scheme]
        hdus, components = make_rows(runs, [run.obs_id for run in attached], target, settings.background.kind)
        write_fits(directory / "hdu-index.fits.gz", [primary_hdu(), index_hdu(hdus, "HDU")])
        observations = _observations(runs, [run.obs_id for run in attached], settings.scheme)
        write_fits(directory / "obs-index.fits.gz", [primary_hdu(), observations])
        reports = [_with_missing(run, components[run.obs_id]) for run in attached]
        reports += [AttachedRun(obs_id, reason) for obs_id, reason in skipped.items()]
        norms = {run.obs_id: run.norm for run in attached if run.norm is not None}
        of_models: list[str] = []
        for name, each in models.items():
            some = [run.obs_id for run in attached if epoch_of[run.obs_id] == name]
            notes = [
                *each.notes_on(runs, some),
                *each.notes_on_configuration({obs_id: configurations[obs_id] for obs_id in some}),
                *notes_on_norms({obs_id: norms[obs_id] for obs_id in some}, settings.background.norm, prior_scatter(each)),
            ]
            of_models += [f"epoch {name}: {note}" if name else note for note in notes]
        covered = {run.obs_id: run.coverage for run in attached if run.coverage is not None}
        consequences = "the backgrounds are continued along a power law", "there is no background (see fov_max of the models)"
        report = Attachments(
            tuple(sorted(reports, key=lambda run: run.obs_id)),
            {"modeldir": str(modeldir), "indir": str(indir)} | settings.as_dict(),
            (
                *runs.notes,
                *of_models,
                *_note_on_rates(attached),
                *(notes_on_catalog(runs, norms, settings.background.catalog) if settings.background.norm == "run" else ()),
                *notes_on_coverage(covered, *consequences),
            ),
        )
        write_report(directory, report.as_dict())
    return report


def _epochs_of(runs: Runs, epochs: Epochs | None, models: Mapping[str, ModelSet]) -> tuple[dict[int, str], dict[int, Reason]]:
    """Return the epoch of the models of each run, and the reasons why other runs have no models."""
    if epochs is None:
        return dict.fromkeys(runs.obs_ids, _ALL), {}
    found: dict[int, str] = {}
    without: dict[int, Reason] = {}
    for obs_id, epoch in epochs.of(runs).items():
        if isinstance(epoch, Reason):
            without[obs_id] = epoch
        elif epoch in models:
            found[obs_id] = epoch
        else:
            without[obs_id] = Reason("epoch without models", epoch)
    return found, without


def _attached(background: RunBackground) -> AttachedRun:
    """Return the result for a run."""
    states_site = all(any(background.header.get(name) is not None for name in names) for names in _SITE)
    energies = background.rate.axes.energy.value
    return AttachedRun(
        background.run.obs_id,
        groups=background.groups,
        livetime_over_ontime=background.run.livetime / background.run.ontime,
        fovalign=background.fovalign,
        missing=() if states_site else ("site",),
        norm=background.norm,
        coverage=background.coverage,
        continued_tev=(float(energies[0]), float(energies[-1])) if background.is_continued else None,
    )


def _note_on_rates(attached: Sequence[AttachedRun]) -> list[str]:
    """Note runs whose rates differ from those of the models by a large factor."""
    ratios = {run.obs_id: run.predicted_over_observed for run in attached if run.predicted_over_observed is not None}
    return note_on_rates(ratios, "the predicted rate", "the observed one", "run")


def background_file(obs_id: int) -> str:
    """Return the name of the file with the background of a run."""
    return f"bkg_{obs_id}.fits.gz"


def _gadf_rows(runs: Runs, obs_ids: Sequence[int], target: Path, kind: str) -> tuple[Table, dict[int, set[str]]]:
    """Return the index of HDUs, with rows for the original files and the backgrounds, and the components of each run."""
    index = read_table(index_file(runs.path, "hdu-index.fits"))
    columns = {name: index.column(name) for name in _INDEX_COLUMNS}
    columns |= {name: values for name, values in index.columns.items() if values.ndim == 1 and values.dtype.kind != "V"}
    columns["OBS_ID"] = columns["OBS_ID"].astype(np.int64)
    kinds = np.char.lower(np.char.strip(columns["HDU_TYPE"]))
    kept = np.isin(columns["OBS_ID"], obs_ids) & (kinds != "bkg")
    kept &= ~np.char.startswith(np.char.lower(np.char.strip(columns["HDU_CLASS"])), "bkg")
    components: dict[int, set[str]] = {obs_id: set() for obs_id in obs_ids}
    for obs_id, component in zip(columns["OBS_ID"][kept].tolist(), kinds[kept].tolist(), strict=True):
        components[obs_id].add(component)
    bases = bases_of(runs.path, index)
    files = [(folder.strip(), name.strip()) for folder, name in zip(columns["FILE_DIR"], columns["FILE_NAME"], strict=True)]
    folders = {file: (base_of(bases, Path(*file)) / file[0]).resolve() for file in set(files)}
    relative = {folder: os.path.relpath(folder, target) for folder in set(folders.values())}
    columns["FILE_DIR"] = np.array([relative[folders[file]] for file in files])
    table, rows = Table(), [_background_row(obs_id, kind) for obs_id in obs_ids]
    for name, values in columns.items():
        ours = [row[name] for row in rows] if name in _INDEX_COLUMNS else np.zeros(len(rows), values.dtype)
        table[name] = np.concatenate([values[kept], ours])
        table[name].unit = index.units[name] or None
    return table[np.argsort(table["OBS_ID"], kind="stable")], components


def _hess_rows(runs: Runs, obs_ids: Sequence[int], target: Path, kind: str) -> tuple[Table, dict[int, set[str]]]:
    """Make an index of the HDUs of scheme HESS and of the backgrounds; return it and the components of each run."""
    rows: list[dict[str, Any]] = []
    components: dict[int, set[str]] = {}
    for obs_id in obs_ids:
        files = runs.files(obs_id)
        kinds = (("events", "events", files.events), ("gti", "gti", files.gti), ("aeff", "aeff_2d", files.aeff))
        components[obs_id] = set()
        for hdu_type, hdu_class, location in kinds:
            name = _hdu_name(location) if location else None
            if location and name:
                folder = os.path.relpath(location.path.parent.resolve(), target)
                values = (obs_id, hdu_type, hdu_class, folder, location.path.name, name)
                rows.append(dict(zip(_INDEX_COLUMNS, values, strict=True)))
                components[obs_id].add(hdu_type)
        rows.append(_background_row(obs_id, kind))
    return Table(rows=rows), components


def _files_rows(runs: Runs, obs_ids: Sequence[int], target: Path, kind: str) -> tuple[Table, dict[int, set[str]]]:
    """Make an index of the HDUs in the files of the runs and of the backgrounds; return it and the components of each run."""
    rows: list[dict[str, Any]] = []
    components: dict[int, set[str]] = {}
    for obs_id in obs_ids:
        path = runs.files(obs_id).events.path
        folder = os.path.relpath(path.parent.resolve(), target)
        components[obs_id] = set()
        for header in read_headers(path):
            hdu_class = _class_in_gammapy(header)
            if header.hdu_class and hdu_class and header.name:
                values = (obs_id, header.hdu_class.value, hdu_class, folder, path.name, header.name)
                rows.append(dict(zip(_INDEX_COLUMNS, values, strict=True)))
                components[obs_id].add(header.hdu_class.value)
        rows.append(_background_row(obs_id, kind))
    return Table(rows=rows), components


def _class_in_gammapy(header: Header) -> str | None:
    """Return the HDU_CLASS of an HDU, None if Gammapy has no such class; files of CTA 1DC state only a part of it."""
    hdu_type = header.hdu_class.value if header.hdu_class else ""
    stated = str(header.get("HDUCLAS4", "2D")).strip().lower()
    names = (hdu_type, stated, f"{hdu_type}_{stated}")
    return next((name for name in names if name in _CLASSES and name.startswith(hdu_type)), None)


def _background_row(obs_id: int, kind: str) -> dict[str, Any]:
    """Return the row of a background in the index of HDUs."""
    values = (obs_id, "bkg", kind, BACKGROUNDS, background_file(obs_id), "BACKGROUND")
    return dict(zip(_INDEX_COLUMNS, values, strict=True))


def _hdu_name(location: HduLocation) -> str | None:
    """Read the EXTNAME of an HDU; None if there is no such HDU."""
    (table,) = read_tables(location.path, [location.hdu], columns=[])
    return table.name if table else None


def _with_missing(run: AttachedRun, components: set[str]) -> AttachedRun:
    """Add the missing components to the result for a run."""
    return replace(run, missing=run.missing + tuple(name for name in _COMPONENTS if name not in components))


def _observations(runs: Runs, obs_ids: Sequence[int], scheme: str) -> fits.BinTableHDU:
    """Make the index of observations, from the original rows in scheme GADF and from the run table in other schemes."""
    if scheme != "GADF":
        return index_hdu(runs.table[np.isin(runs.table["OBS_ID"], obs_ids)], "OBS")
    with fits.open(index_file(runs.path, "obs-index.fits"), memmap=False) as hdus:
        numbers, rows = np.unique(np.asarray(hdus[1].data["OBS_ID"]).astype(np.int64), return_index=True)
        kept = np.sort(rows[np.isin(numbers, obs_ids)])
        return fits.BinTableHDU(hdus[1].data[kept], hdus[1].header)
