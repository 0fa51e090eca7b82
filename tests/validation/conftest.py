"""Simulated runs for the tests of validation and of cross-validation."""

import pytest

from bgnb import PointSource, make_test_dataset, make_test_observation_table, make_true_reco


@pytest.fixture(scope="session")
def source(tmp_path_factory):
    """Make true models, and simulated runs of them with a source near the pointing of each."""
    path = tmp_path_factory.mktemp("source")
    common = {"trigger_rate": 25, "spectral_index": 1.5, "gradient_x": 0.3, "gradient_y": -0.2, "fovalign": "RADEC"}
    make_true_reco(path, n_runs=2, **common, n_energy=24, n_fov=40, progress=False, overwrite=True)
    pointing = {"n_runs": 9, "alt_range": (72, 90), "az_range": (90, 270), "seed": 5}
    table = make_test_observation_table(**pointing)
    sources = [PointSource(f"s{row['OBS_ID']}", row["RA_PNT"] % 360, row["DEC_PNT"] + 0.9, 1.5) for row in table]
    make_test_dataset(path / "runs", **pointing, **common, point_sources=sources, progress=False)
    return path
