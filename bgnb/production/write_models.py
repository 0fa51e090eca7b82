"""Write directories of models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bgnb._util.checks import check_type
from bgnb.cubes.spline_model import SplineModel
from bgnb.files.background_tables import scatter_keywords
from bgnb.files.fits_writer import primary_hdu, table_hdu, write_fits
from bgnb.files.gadf import write_image, write_model
from bgnb.files.group_file import GROUPED_RUNS_FILE, GROUPS_FILE, write_groups
from bgnb.files.output_directory import new_directory
from bgnb.files.report_json import write_report
from bgnb.files.spline_file import SPLINE_FILE, write_spline
from bgnb.observations.groups import ObservationGroups
from bgnb.production.make_models import Production
from bgnb.production.report import GroupReport


def write_models(production: Production, outdir: str | Path, *, overwrite: bool = False) -> None:
    """Write models that were made in memory, as `bgnb.make_bg_cube_models` does.

    Parameters
    ----------
    production : `Production`
        Models and report.
    outdir : path
        Directory to make.
    overwrite : bool
        Replace ``outdir`` if bgnb made it, with models.

    Raises
    ------
    BgnbError
        If the directory exists or cannot be written.

    Examples
    --------
    >>> import bgnb
    >>> production = bgnb.make_models("runs", "GADF", select=[1, 2, 3], n_energy=10, n_fov=10)
    >>> bgnb.write_models(production, "models-of-3-runs")
    >>> bgnb.read_models("models-of-3-runs")
    ModelSet(spline of 3 runs, groups 27)
    """
    check_type("production", production, Production)
    with new_directory(Path(outdir), overwrite=overwrite, kind="models") as directory:
        write_files(production, directory)


def write_files(production: Production, directory: Path) -> None:
    """Write all files of a directory of models."""
    models, groups = production.models, production.settings.groups
    if isinstance(models.for_pointing, SplineModel):
        write_spline(models.for_pointing, directory / SPLINE_FILE)
    scatter = scatter_keywords(models.scatter)
    for group, report in zip(models.models, production.report.groups, strict=True):
        for write, name in zip((write_model, write_image), report.files, strict=True):
            write(group.model, directory / name, _keywords(report, groups) | scatter)
    write_groups(groups, directory / GROUPS_FILE, models.model_ids)
    runs = production.runs.copy()
    write_fits(directory / GROUPED_RUNS_FILE, [primary_hdu(), table_hdu(runs, "OBS_INDEX")])
    runs.remove_column("GROUP_ID")
    write_fits(directory / "bg_observation_table.fits.gz", [primary_hdu(), table_hdu(runs, "OBS_INDEX")])
    write_report(directory, production.report.content)


def _keywords(report: GroupReport, groups: ObservationGroups) -> dict[str, Any]:
    """Return the keywords for the primary header of a model."""
    limits = groups.table[[report.group_id, *report.merged]]
    keywords: dict[str, Any] = {"GROUP_ID": report.group_id}
    for name, extreme in (("ALT_MIN", np.min), ("ALT_MAX", np.max), ("AZ_MIN", np.min), ("AZ_MAX", np.max)):
        keywords[name] = (float(extreme(limits[name])), "[deg] of the group")
    return keywords | {
        "ALT_PNT": (report.alt_mean_deg, "[deg] mean of the runs"),
        "AZ_PNT": (report.az_mean_deg, "[deg] mean of the runs"),
    }
