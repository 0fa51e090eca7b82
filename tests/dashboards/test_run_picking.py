"""Runs at the position of a tap, or in the rectangle of a drag."""

import numpy as np
import pytest

from bgnb.dashboards.run_picking import nearest_run, runs_within

OBS_IDS = np.array([70, 50, 60, 90])
X, Y = np.array([100.0, 103.0, 104.0, np.nan]), np.array([10.0, 10.0, 10.4, 10.0])


@pytest.mark.parametrize(
    ("x", "y", "obs_id"),
    [(100.0, 10.0, 70), (103.1, 10.0, 50), (103.9, 10.3, 60), (96.1, 10.0, 70), (95.9, 10.0, None), (100.0, 9.61, 70),
     (100.0, 9.59, None), (np.nan, 10.0, None)],
)  # fmt: skip
def test_nearest_run_within_a_fraction(x, y, obs_id):
    """A tap selects the nearest run within 2 % of the visible axes, each in its own unit."""
    tap = {"x": x, "y": y, "width": 200.0, "height": 20.0}
    assert nearest_run(OBS_IDS, X, Y, tap) == obs_id
    assert nearest_run(OBS_IDS[:0], X[:0], Y[:0], tap) is None
    assert nearest_run(OBS_IDS, np.full(4, np.nan), Y, tap) is None


def test_runs_within_a_rectangle():
    """A drag in any direction selects the runs inside; runs that are not shown are never selected."""
    assert runs_within(OBS_IDS, X, Y, {"x": [99.0, 103.5], "y": [9.0, 11.0]}) == (70, 50)
    assert runs_within(OBS_IDS, X, Y, {"x": [200.0, 0.0], "y": [11.0, 10.2]}) == (60,)
    assert runs_within(OBS_IDS, X, Y, {"x": [-1e9, 1e9], "y": [-1e9, 1e9]}) == (70, 50, 60)
