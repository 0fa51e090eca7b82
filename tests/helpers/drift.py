"""A true model that depends strongly on altitude, and a run whose altitude drifts by 15 deg."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from astropy import units as u

from bgnb import BackgroundModel, Cube, CubeAxes, EventList, ModelSet, stack_runs
from bgnb.cubes.group_model import GroupModel
from bgnb.observations.coordinates import pointing_altaz, pointing_radec
from tests.helpers.run_files import HESS, MJDREF, ONTIME, TSTART, asymmetric_events, run

AXES = CubeAxes(np.geomspace(0.5, 20, 9) * u.TeV, np.linspace(-3.2, 3.5, 43) * u.deg, np.linspace(-3.4, 3.2, 41) * u.deg)
MIDDLE = TSTART + ONTIME / 2
HALF = 1960.0  # s; the altitude rises by 15 deg in twice this time
GTIS = {"ordinary": [(-HALF, HALF)], "gaps": [(-HALF, -HALF + 420), (400, HALF)]}


class DriftingModel:
    """A rate with an energy threshold proportional to sin(altitude)^-3, and a field of view that widens with it."""

    altitude_range = (10.0, 80.0)

    def rate_at(self, alt_pnt: float, az_pnt: float) -> Cube:
        """Return the rate at a pointing."""
        energy = AXES.energy_centers.value[:, None, None]
        y, x = np.meshgrid(AXES.dety_centers.value, AXES.detx_centers.value, indexing="ij")
        sine = np.sin(np.radians(alt_pnt))
        view = np.exp(-((x - 0.3) ** 2 + (y + 0.2) ** 2) / (2 * (0.8 + 0.3 * sine) ** 2))
        return Cube(AXES, u.Quantity(0.01 * energy**-2.7 * np.exp(-0.3 / sine**3 / energy) * view, "MeV-1 s-1 sr-1"))

    def at(self, alt_pnt: float, az_pnt: float) -> tuple[Cube, Cube]:
        """Return the rate twice."""
        return (self.rate_at(alt_pnt, az_pnt),) * 2


def drifting_models() -> ModelSet:
    """Return a set of models with the rate for each pointing."""
    model = BackgroundModel(DriftingModel().rate_at(50, 0), stack_runs([], AXES), "true")
    group = GroupModel(group_id=0, alt_pnt=50.0, az_pnt=0.0, model=model)
    return ModelSet(models=(group,), groups=None, model_ids={0: 0}, for_pointing=DriftingModel())


def drifting_run(obs_id: int, gti: Sequence[tuple[float, float]], n_events: int = 3000) -> dict[str, Any]:
    """Make a run in the east, at altitude 32.5 deg in the middle, to write; good time in s since the middle."""
    good = np.array(gti) + MIDDLE
    position = pointing_radec(32.5, 90.0, MJDREF + MIDDLE / 86400, HESS)
    rng = np.random.default_rng(obs_id)
    events = asymmetric_events(rng, n_events, *position)
    at = rng.uniform(0, np.diff(good).sum(), n_events)
    ends = np.cumsum(np.diff(good, axis=1)[:, 0])
    interval = np.searchsorted(ends, at)
    events["TIME"] = np.sort(good[interval, 1] - (ends[interval] - at))
    times = {"gti": good.tolist(), "TSTART": good[0, 0], "TSTOP": good[-1, 1]}
    return run(obs_id, pointing=(32.5, 90.0), events=events, **times)


def expected_rates(events: EventList) -> tuple[np.ndarray, np.ndarray]:
    """Return events per second of livetime in each bin: averaged over the good time in small steps, and in the middle."""
    rates = []
    for start, stop in events.gti:
        steps = np.linspace(start, stop, int((stop - start) / 10) + 1)
        for time in (steps[1:] + steps[:-1]) / 2:
            mjd = events.mjdref + time / 86400
            pointing = pointing_altaz(events.ra_pnt, events.dec_pnt, mjd, events.site)
            rates.append(DriftingModel().rate_at(*pointing).quantity.value * (steps[1] - steps[0]))
    middle = pointing_altaz(events.ra_pnt, events.dec_pnt, events.mjd_middle, events.site)
    volume = AXES.bin_volume.to_value("MeV sr")
    return sum(rates) / np.diff(events.gti).sum() * volume, DriftingModel().rate_at(*middle).quantity.value * volume
