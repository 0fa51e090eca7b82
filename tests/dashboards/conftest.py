"""Models and runs for the tests of dashboards."""

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import Table

import bgnb
from bgnb import CubeAxes, ObservationGroups, TrueModel, make_test_bg_cube_model, write_groups, write_model
from tests.helpers.models import asymmetric_model

OTHER_AXES = CubeAxes(
    energy=np.geomspace(0.5, 40, 9) * u.TeV, dety=np.linspace(-1, 1, 4) * u.deg, detx=np.linspace(-3, 3, 6) * u.deg
)


@pytest.fixture(scope="session")
def modeldir(tmp_path_factory):
    """Models with counts, and a true model on other axes."""
    folder = tmp_path_factory.mktemp("models")
    write_model(asymmetric_model(), folder / "bg_cube_model_group3_table.fits.gz")
    write_model(
        make_test_bg_cube_model(OTHER_AXES, "70 deg", TrueModel(gradient_x=0.1)), folder / "bg_cube_model_group8_table.fits.gz"
    )
    write_groups(ObservationGroups(), folder / "bg_observation_groups.ecsv")
    return folder


@pytest.fixture(scope="session")
def pair(tmp_path_factory):
    """True and reconstructed models with few bins."""
    folder = tmp_path_factory.mktemp("pair") / "out"
    bgnb.make_true_reco(folder, n_runs=4, trigger_rate=30.0, n_energy=6, n_fov=9, gradient_x=0.15, gradient_y=-0.05)
    return folder / "true", folder / "reco"


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    """Simulated runs, some of them near sources of a catalogue, and models of the others."""
    folder = tmp_path_factory.mktemp("runs")
    table = bgnb.make_test_dataset(folder / "in", n_runs=12, trigger_rate=3.0, alt_range=(30, 88), seed=4)
    near = SkyCoord(table["RA_PNT"][:2], table["DEC_PNT"][:2], unit="deg").directional_offset_by(30 * u.deg, [1, 2.5] * u.deg)
    catalog = Table({"NAME": ["<b>one</b>", "two"], "RA": near.ra.deg, "DEC": near.dec.deg, "EXTENSION": [0.0, 0.5]})
    bgnb.make_bg_cube_models(
        folder / "in", "GADF", folder / "models", catalog=catalog, exclusion_radius="2.6 deg", n_energy=4, n_fov=5
    )
    return folder, catalog
