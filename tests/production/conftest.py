"""Runs of which models are made."""

import pytest

from tests.helpers.run_files import TSTART, run, write_gadf


@pytest.fixture
def indir(tmp_path):
    """Make a directory of six runs, one of them with a short good time."""
    parts = [run(obs_id, 200 + 10 * obs_id) for obs_id in (2, 3, 5, 6, 9, 11)]
    parts[1] = run(3, 230, gti=[(TSTART, TSTART + 800)])
    return write_gadf(tmp_path / "in", parts)
