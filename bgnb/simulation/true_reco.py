"""True against reconstructed: one set of parameters, the truth and what comes out of simulated runs."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u

from bgnb._util.errors import BgnbError
from bgnb.cubes.cube import CubeAxes
from bgnb.cubes.model import checked_method
from bgnb.files.gadf import read_model, write_image, write_model
from bgnb.files.group_file import GROUPS_FILE, write_groups
from bgnb.files.output_directory import check_target, is_hidden, new_directory, scratch_directory
from bgnb.files.report_json import write_report
from bgnb.observations.coordinates import checked_fovalign
from bgnb.observations.groups import ObservationGroups, mean_azimuth
from bgnb.production.pipeline import make_bg_cube_models
from bgnb.production.report import Report
from bgnb.simulation.dataset import make_test_dataset
from bgnb.simulation.true_model import TrueModel, make_test_bg_cube_model

_DEFAULT_RUNS, _TEST_RUNS = 100, 2
_OURS = ("true", "reco", "dataset", "comparison")


def make_true_reco(
    outdir: str | Path,
    *,
    test: bool = False,
    n_runs: int = _DEFAULT_RUNS,
    group_id: int = 27,
    observatory: str = "HESS",
    trigger_rate: float = 300.0,
    sigma: float = 5.0,
    spectral_index: float = 1.5,
    gradient_x: float = 0.0,
    gradient_y: float = 0.0,
    mask_quadrant: bool = False,
    fovalign: str = "ALTAZ",
    energy_threshold: float | None = None,
    method: str = "default",
    n_energy: int | None = None,
    n_fov: int | None = None,
    seed: int = 0,
    workers: int | Executor | None = None,
    keep_dataset: bool = False,
    overwrite: bool = False,
    progress: bool | None = None,
) -> Report:
    """Make the true and the reconstructed model of one group.

    Runs are simulated in the group's range of altitude and azimuth and go through
    `make_bg_cube_models`, like real ones. The true model is that of their mean altitude,
    on the same axes.

    Parameters
    ----------
    outdir : path
        Gets the directories ``true`` and ``reco``.
    test : bool
        Quick test with two runs.
    n_runs : int
        Number of runs.
    group_id : int
        One of the default groups, see `ObservationGroups`.
    observatory, energy_threshold, seed
        See `make_test_dataset`.
    trigger_rate, sigma, spectral_index, gradient_x, gradient_y, mask_quadrant, fovalign
        See `TrueModel`.
    method, n_energy, n_fov
        See `make_bg_cube_models`.
    workers : int or `concurrent.futures.Executor`, optional
        Number of processes, or where to run; see `make_bg_cube_models`.
    keep_dataset : bool
        Keep the simulated runs in ``outdir/dataset``: about 13 MB a run at the full rate.
    overwrite : bool
        Replace the directories of an earlier call.
    progress : bool, optional
        Show progress bars; by default on a terminal only.

    Returns
    -------
    Report
        Of the reconstruction.

    Raises
    ------
    BgnbError
        Where an argument cannot be used, or ``outdir`` is in the way.
    """
    if test and n_runs not in (_DEFAULT_RUNS, _TEST_RUNS):
        raise BgnbError(f"n_runs has no effect with test, which simulates {_TEST_RUNS} runs")
    groups = ObservationGroups()
    if not 0 <= group_id < len(groups):
        raise BgnbError(f"group_id must be one of the default groups, 0 to {len(groups) - 1}, got {group_id}")
    limits = groups.table[group_id]
    out = Path(outdir)
    model = TrueModel(sigma, spectral_index, trigger_rate, gradient_x, gradient_y, mask_quadrant, checked_fovalign(fovalign))
    _check(out, overwrite, method, n_energy, n_fov)
    with _dataset_directory(out, keep_dataset) as dataset:
        table = make_test_dataset(
            dataset,
            n_runs=_TEST_RUNS if test else n_runs,
            observatory=observatory,
            alt_range=(float(limits["ALT_MIN"]), float(limits["ALT_MAX"])),
            az_range=(float(limits["AZ_MIN"]), float(limits["AZ_MAX"])),
            energy_threshold=energy_threshold,
            seed=seed,
            workers=workers,
            overwrite=overwrite,
            progress=progress,
            **_options(model),
        )
        report = make_bg_cube_models(
            dataset,
            "GADF",
            out / "reco",
            select="all",
            method=method,
            n_energy=n_energy,
            n_fov=n_fov,
            fovalign=fovalign,
            workers=workers,
            overwrite=overwrite,
            progress=progress,
        )
    reco = read_model(out / "reco" / report.groups[0].files[0])
    altitude = float(np.average(table["ALT_PNT"], weights=table["LIVETIME"]))
    azimuth = mean_azimuth(np.asarray(table["AZ_PNT"]))
    true = make_test_bg_cube_model(reco.axes, altitude * u.deg, model)
    with new_directory(out / "true", overwrite=overwrite) as directory:
        for write, name in zip((write_model, write_image), report.groups[0].files, strict=True):
            write(true, directory / name, {"GROUP_ID": group_id, "ALT_PNT": altitude, "AZ_PNT": azimuth})
        write_groups(groups, directory / GROUPS_FILE)
        settings = asdict(model) | {"group_id": group_id, "altitude_deg": altitude, "n_runs": len(table)}
        settings |= {"observatory": observatory, "energy_threshold": energy_threshold, "seed": seed}
        write_report(directory, {"settings": settings})
    return report


def _options(model: TrueModel) -> dict[str, Any]:
    """The parameters of a true model that `make_test_dataset` takes."""
    return {name: value for name, value in asdict(model).items() if name not in ("energy_min", "energy_max")}


def _check(out: Path, overwrite: bool, method: str, n_energy: int | None, n_fov: int | None) -> None:
    """Complain of what would fail after the simulation."""
    checked_method(method)
    CubeAxes.regular(n_energy=20 if n_energy is None else n_energy, n_fov=60 if n_fov is None else n_fov)
    if out.is_dir() and (foreign := sorted({path.name for path in out.iterdir() if not is_hidden(path.name)} - {*_OURS})):
        raise BgnbError(f"{out}: holds {foreign[0]}, which is none of {', '.join(_OURS)}; name another directory")
    for name in _OURS[:3]:
        check_target(out / name, overwrite=overwrite)


@contextmanager
def _dataset_directory(out: Path, keep: bool) -> Iterator[Path]:
    if keep:
        yield out / "dataset"
        return
    with scratch_directory(out / "dataset") as directory:
        yield directory / "runs"
