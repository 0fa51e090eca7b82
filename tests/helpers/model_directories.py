"""Directories of models to attach."""

from __future__ import annotations

from pathlib import Path

from bgnb import Cube, ObservationGroups, write_groups, write_model
from bgnb.cubes.model import BackgroundModel
from tests.helpers.models import asymmetric_model

# Pointings of two groups of different axes: altitude 72-90 and 44-49 deg, azimuth 90-270 deg.
GROUPS = {27: (80.0, 170.0, 1.0), 15: (47.0, 190.0, 0.5)}


def model_directory(directory: Path, fovalign: str = "ALTAZ", groups: tuple[int, ...] = (27,)) -> Path:
    """Asymmetric models of some groups; their rates differ by factors."""
    directory.mkdir()
    write_groups(ObservationGroups(), directory / "bg_observation_groups.ecsv")
    for group_id in groups:
        altitude, azimuth, factor = GROUPS[group_id]
        model = asymmetric_model(fovalign)
        rate = Cube(model.axes, model.rate.quantity * factor)
        path = directory / f"bg_cube_model_group{group_id}_table.fits.gz"
        write_model(BackgroundModel(rate, model.stack, model.method), path, {"ALT_PNT": altitude, "AZ_PNT": azimuth})
    return directory
