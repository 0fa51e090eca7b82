"""True model, and the model reconstructed from simulated runs."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from astropy import units as u

from bgnb._util.checks import without_dots
from bgnb._util.errors import BgnbError, numbered
from bgnb._util.settings_groups import options_of, with_settings
from bgnb.files.gadf import write_image, write_model
from bgnb.files.group_file import GROUPS_FILE, write_groups
from bgnb.files.manifest import MANIFEST, Kind, manifest_of
from bgnb.files.output_directory import check_target, new_directory, remove_tree, scratch_directory
from bgnb.files.output_file import is_hidden, named_errors, write_file
from bgnb.files.ownership import resolved
from bgnb.files.report_json import write_report
from bgnb.observations.groups import ObservationGroups
from bgnb.production.make_models import Production
from bgnb.production.pipeline import make_models
from bgnb.production.report import Report
from bgnb.production.settings import CubeBinning
from bgnb.production.write_models import write_files
from bgnb.simulation.dataset import make_test_dataset
from bgnb.simulation.settings import TrueRecoSettings
from bgnb.simulation.true_model import TrueModel, make_test_bg_cube_model

_TEST_RUNS = 2
_OURS: dict[str, Kind] = {"true": "models", "reco": "models", "dataset": "runs", "comparison": "comparisons"}


@with_settings(TrueRecoSettings, spectral_index=1.5)
def make_true_reco(
    outdir: str | Path,
    *,
    settings: TrueRecoSettings,
    workers: int | Executor | None = None,
    keep_dataset: bool = False,
    overwrite: bool = False,
    progress: bool | None = None,
) -> Report:
    """Make the true and the reconstructed model of one group.

    Runs are simulated in the range of altitude and azimuth of the group, and processed by
    `make_models` like real runs. The true model is evaluated at their mean altitude
    and azimuth, on the same axes.

    Parameters
    ----------
    outdir : path
        Directory in which the directories ``true`` and ``reco`` are made.
    {settings}
    workers : int or `concurrent.futures.Executor`, optional
        Number of processes, or an executor; see `make_models`.
    keep_dataset : bool
        Keep the simulated runs in ``outdir/dataset``: about 13 MB per run at the full rate.
    overwrite : bool
        Replace the directories of an earlier call, with their comparison and simulated runs.
    progress : bool, optional
        Show progress bars; by default on a terminal only.

    Returns
    -------
    Report
        Report of the reconstruction.

    Raises
    ------
    BgnbError
        If an argument cannot be used, or ``outdir`` exists.

    Examples
    --------
    >>> import bgnb
    >>> report = bgnb.make_true_reco("demo", n_runs=2, trigger_rate=4, n_energy=10, n_fov=10)
    >>> bgnb.read_models("demo/true")
    ModelSet(true of 0 runs, groups 27)
    >>> bgnb.read_models("demo/reco")
    ModelSet(spline of 2 runs, groups 27)
    """
    if settings.test and settings.n_runs not in (TrueRecoSettings().n_runs, _TEST_RUNS):
        raise BgnbError("no-effect", f"n_runs has no effect with test = True, which simulates {_TEST_RUNS} runs")
    groups, group_id = ObservationGroups(), settings.group_id
    if group_id >= len(groups):
        choices = f"one of the default groups, 0 to {len(groups) - 1}"
        raise BgnbError("invalid-argument", f"group_id must be {choices}, got {group_id}")
    limits, out = groups.table[group_id], Path(outdir)
    CubeBinning(n_energy=settings.n_energy, n_fov=settings.n_fov)  # before the simulation
    _check_output(out, overwrite)
    parameters, observatory = options_of(settings.true_model), settings.observatory
    threshold, seed = settings.energy_threshold, settings.seed
    with _dataset_directory(out, keep_dataset) as dataset:
        table = make_test_dataset(
            dataset,
            n_runs=_TEST_RUNS if settings.test else settings.n_runs,
            observatory=observatory,
            alt_range=(float(limits["ALT_MIN"]), float(limits["ALT_MAX"])),
            az_range=(float(limits["AZ_MIN"]), float(limits["AZ_MAX"])),
            energy_threshold=threshold,
            n_tels_range=(3, 4) if settings.true_model.elongation == 1 else (2, 2),
            seed=seed,
            workers=workers,
            overwrite=overwrite,
            progress=progress,
            **parameters,
        )
        reco = make_models(
            dataset,
            "GADF",
            select="all",
            method=settings.method,
            n_energy=settings.n_energy,
            n_fov=settings.n_fov,
            fovalign=settings.true_model.fovalign,
            workers=workers,
            progress=progress,
        )
        reco = _only_group(reco, group_id, without_dots((out / "dataset").absolute()))
        true_model, (group,) = TrueModel(**parameters), reco.models.models
        altitude, azimuth = group.alt_pnt, group.az_pnt
        true = make_test_bg_cube_model(group.model.axes, altitude * u.deg, true_model, azimuth * u.deg)
        with new_directory(out / "true", overwrite=overwrite, kind="models") as directory:
            for write, name in zip((write_model, write_image), reco.report.groups[0].files, strict=True):
                write(true, directory / name, {"GROUP_ID": group_id, "ALT_PNT": altitude, "AZ_PNT": azimuth})
            write_groups(groups, directory / GROUPS_FILE)
            used = options_of(true_model) | {"group_id": group_id, "altitude_deg": altitude, "n_runs": len(table)}
            used |= {"observatory": observatory, "energy_threshold": threshold, "seed": seed}
            write_report(directory, {"settings": used})
            with new_directory(out / "reco", overwrite=overwrite, kind="models") as reco_directory:
                write_files(reco, reco_directory)
                # All is written before one of both is published.
                write_file(directory / MANIFEST, manifest_of(directory, "models"))
    for name in ("comparison",) if keep_dataset else ("dataset", "comparison"):
        check_target(out / name, overwrite=True, kind=_OURS[name])  # again, as for those that were replaced
        if (target := resolved(out / name)).exists():  # of an earlier simulation
            with scratch_directory(target) as folder, suppress(OSError):  # a link may point to another disk
                target.rename(folder / name)  # so that no part of it is left after a signal
            remove_tree(target, ignore_errors=True)
    return reco.report


def _only_group(production: Production, group_id: int, indir: Path) -> Production:
    """Remove the models of neighbouring groups, into which some runs point for a short time; report where runs are kept."""
    models = tuple(group for group in production.models.models if group.group_id == group_id)
    groups = tuple(group for group in production.report.groups if group.group_id == group_id)
    notes, settings = production.report.notes, {**production.report.settings, "indir": str(indir)}
    if others := [group for group in production.report.groups if group.group_id != group_id]:
        n_counts, which = sum(group.counts for group in others), numbered("group", [group.group_id for group in others])
        notes += (f"{n_counts} of the counts are in {which}, whose model is not kept",)
    return replace(
        production,
        models=replace(production.models, models=models, model_ids={group_id: group_id}),
        report=replace(production.report, groups=groups, notes=notes, settings=settings),
    )


def _check_output(out: Path, overwrite: bool) -> None:
    """Refuse an output directory that cannot be used, before the simulation."""
    with named_errors(out):
        names = {path.name for path in out.iterdir() if not is_hidden(path.name)} if out.is_dir() else set()
    if foreign := sorted(names - {*_OURS}):
        ours = f"which is not one of {', '.join(_OURS)}"
        raise BgnbError("foreign-files", f"{out}: contains {foreign[0]}, {ours}; use another directory")
    for name, kind in _OURS.items():
        check_target(out / name, overwrite=overwrite, kind=kind)


@contextmanager
def _dataset_directory(out: Path, keep: bool) -> Iterator[Path]:
    """Provide a directory for the simulated runs; it is removed at the end if it is not kept."""
    if keep:
        yield out / "dataset"
        return
    with scratch_directory(out / "dataset") as directory:
        yield directory / "runs"
