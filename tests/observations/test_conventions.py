"""Counts of data sets that follow the conventions of programs that write DL3 files."""

from dataclasses import astuple

import numpy as np
import pytest
from astropy import units as u
from numpy.testing import assert_allclose, assert_array_equal

from bgnb import CubeAxes, make_test_dataset, open_runs, read_event_list, stack_runs
from tests.helpers.conventions import CONVENTIONS, rewrite

AXES = CubeAxes(
    energy=np.geomspace(0.1, 80, 8) * u.TeV, dety=np.linspace(-4, 4, 21) * u.deg, detx=np.linspace(-5, 5, 26) * u.deg
)
# Old files of lstchain and magic-cta-pipe state the site in HDU POINTING alone; TELESCOP would give that of CTAO-NORTH.
OBSERVATORIES = dict.fromkeys(CONVENTIONS, "MAGIC") | {"lstchain": "CTAO-NORTH", "ctapipe": "CTAO-NORTH", "V2DL3": "VERITAS"}


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    """Simulate asymmetric runs of each observatory."""
    path = tmp_path_factory.mktemp("originals")
    for observatory in set(OBSERVATORIES.values()):
        asymmetric = {"gradient_x": 0.1, "gradient_y": -0.06, "mask_quadrant": True}
        dates = {"date_range": ("2019-01-01", "2021-01-01"), "alt_range": (50, 80)}
        options = {"n_runs": 3, "trigger_rate": 8.0, "seed": 5, "progress": False}
        make_test_dataset(path / observatory, observatory=observatory, **options, **dates, **asymmetric)
    return {convention: path / observatory for convention, observatory in OBSERVATORIES.items()}


def event_lists(path, scheme="GADF"):
    runs = open_runs(path, scheme)
    assert not runs.errors
    return [read_event_list(runs.files(obs_id)) for obs_id in runs.obs_ids]


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_counts_of_each_convention(originals, tmp_path, convention):
    """Count the same events in the same bins, in both frames, with the same livetime."""
    rewritten = event_lists(rewrite(originals[convention], tmp_path / "out", convention), CONVENTIONS[convention].scheme)
    original = event_lists(originals[convention])
    for fovalign in ("ALTAZ", "RADEC"):
        ours, theirs = (stack_runs(each, AXES, fovalign) for each in (rewritten, original))
        assert theirs.counts.sum() > 10_000
        assert_array_equal(ours.counts, theirs.counts)
        assert_array_equal(ours.livetime_us, theirs.livetime_us)
    for one, other in zip(rewritten, original, strict=True):
        assert abs(one.mjd_middle - other.mjd_middle) * 86400 < 0.5  # good time may begin with the first event
        assert_allclose(astuple(one.site), astuple(other.site), rtol=1e-9)
