"""Runs at the position of a tap, or in the rectangle of a drag."""

from __future__ import annotations

import numpy as np

from bgnb._util.arrays import Floats, Ints
from bgnb.dashboards.live_figures import Action

# A tap selects the nearest run within this fraction of the visible axes.
_MAX_DISTANCE = 0.02


def nearest_run(obs_ids: Ints, x: Floats, y: Floats, action: Action) -> int | None:
    """Find the run nearest to a tap; None if there is none within a small fraction of the visible axes.

    Parameters
    ----------
    obs_ids, x, y : ndarray
        OBS_IDs, and positions in the panel; NaN for runs that it does not show.
    action : `Action`
        The tap.
    """
    distance = np.hypot((x - action["x"]) / action["width"], (y - action["y"]) / action["height"])
    near = np.flatnonzero(distance < _MAX_DISTANCE)
    return int(obs_ids[near[np.argmin(distance[near])]]) if len(near) else None


def runs_within(obs_ids: Ints, x: Floats, y: Floats, action: Action) -> tuple[int, ...]:
    """Find the runs in the rectangle of a drag; for parameters see `nearest_run`."""
    inside = np.full(len(obs_ids), True)
    for values, ends in ((x, action["x"]), (y, action["y"])):
        inside &= (values >= min(ends)) & (values <= max(ends))
    return tuple(obs_ids[inside].tolist())
