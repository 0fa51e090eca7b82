"""True against reconstructed: one set of parameters, the truth and what comes out of simulated runs."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import Executor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u

import bgnb
from bgnb.dataset import make_test_dataset
from bgnb.errors import BgnbError
from bgnb.fov import checked_fovalign
from bgnb.gadf import read_model, write_groups, write_image, write_model
from bgnb.outdir import REPORT, new_directory, write_file
from bgnb.pipeline import make_bg_cube_models
from bgnb.report import Report
from bgnb.runs import ObservationGroups
from bgnb.truth import TrueModel, make_test_bg_cube_model

_TEST_RUNS = 2


def make_true_reco(
    outdir: str | Path,
    *,
    test: bool = False,
    n_runs: int = 100,
    group_id: int = 27,
    observatory: str = "HESS",
    trigger_rate: float = 300.0,
    sigma: float = 5.0,
    spectral_index: float = 1.5,
    gradient_x: float = 0.0,
    gradient_y: float = 0.0,
    mask_quadrant: bool = False,
    fovalign: str = "ALTAZ",
    method: str = "default",
    n_energy: int | None = None,
    n_fov: int | None = None,
    seed: int = 0,
    workers: int | Executor = 1,
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
    observatory, seed
        See `make_test_dataset`.
    trigger_rate, sigma, spectral_index, gradient_x, gradient_y, mask_quadrant, fovalign
        See `TrueModel`.
    method, n_energy, n_fov
        See `make_bg_cube_models`.
    workers : int or `concurrent.futures.Executor`
        For the simulation.
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
    groups = ObservationGroups()
    if not 0 <= group_id < len(groups):
        raise BgnbError(f"group_id must be one of the default groups, 0 to {len(groups) - 1}, got {group_id}")
    limits = groups.table[group_id]
    out = Path(outdir)
    common: dict[str, Any] = {"overwrite": overwrite, "progress": progress}
    model = TrueModel(sigma, spectral_index, trigger_rate, gradient_x, gradient_y, mask_quadrant, checked_fovalign(fovalign))
    table = make_test_dataset(
        out / "dataset",
        n_runs=_TEST_RUNS if test else n_runs,
        observatory=observatory,
        alt_range=(float(limits["ALT_MIN"]), float(limits["ALT_MAX"])),
        az_range=(float(limits["AZ_MIN"]), float(limits["AZ_MAX"])),
        trigger_rate=trigger_rate,
        sigma=sigma,
        spectral_index=spectral_index,
        gradient_x=gradient_x,
        gradient_y=gradient_y,
        mask_quadrant=mask_quadrant,
        fovalign=fovalign,
        seed=seed,
        workers=workers,
        **common,
    )
    report = make_bg_cube_models(
        out / "dataset",
        "GADF",
        out / "reco",
        select="all",
        method=method,
        n_energy=n_energy,
        n_fov=n_fov,
        fovalign=fovalign,
        **common,
    )
    if not keep_dataset:
        shutil.rmtree(out / "dataset")
    reco = read_model(out / "reco" / report.groups[0].files[0])
    true = make_test_bg_cube_model(reco.axes, np.average(table["ALT_PNT"], weights=table["LIVETIME"]) * u.deg, model)
    with new_directory(out / "true", overwrite=overwrite) as directory:
        for write, name in zip((write_model, write_image), report.groups[0].files, strict=True):
            write(true, directory / name, {"GROUP_ID": group_id})
        write_groups(groups, directory / "bg_observation_groups.ecsv")
        content = {"creator": f"bgnb {bgnb.__version__}", "settings": asdict(model) | {"group_id": group_id}}
        write_file(directory / REPORT, (json.dumps(content, indent=1) + "\n").encode())
    return report
