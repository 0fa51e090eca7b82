"""Models for the tests of files."""

from __future__ import annotations

from pathlib import Path

import pytest

import bgnb
from tests.helpers.run_files import run, write_gadf


@pytest.fixture(scope="package")
def models(tmp_path_factory) -> Path:
    """Make a small directory of models, made by a spline."""
    folder = tmp_path_factory.mktemp("models")
    write_gadf(folder / "in", [run(obs_id, 100) for obs_id in (2, 4)])
    bgnb.make_bg_cube_models(folder / "in", "GADF", folder / "out", select="all", n_energy=5, n_fov=8)
    return folder / "out"
