"""Entry of a plain Gammapy script: python benchmarks/challenge/gammapy_entry.py TRAIN TEST OUT.

Counts over exposure in bins of energy and offset, as in Gammapy's tutorials, from the third of the training runs that is
nearest in the cosine of the zenith angle. It does not use the events of the test runs.
"""

import sys
from pathlib import Path

import numpy as np
from astropy import units as u
from gammapy.data import DataStore
from gammapy.irf import Background2D
from gammapy.maps import MapAxis

ENERGY = MapAxis.from_energy_bounds("0.1 TeV", "100 TeV", nbin=15, name="energy")
OFFSET = MapAxis.from_bounds(0, 4, nbin=8, unit="deg", name="offset")


def counts_and_time(observation):
    """Return the counts, and the livetime above the energy threshold."""
    first = np.searchsorted(ENERGY.edges.to_value("TeV"), observation.aeff.meta["LO_THRES"] * (1 - 1e-6))
    events = observation.events
    sample = events.energy.to_value("TeV"), events.radec.separation(observation.get_pointing_icrs(observation.tmid)).deg
    counts, *_ = np.histogram2d(*sample, [ENERGY.edges.to_value("TeV"), OFFSET.edges.to_value("deg")])
    counts[:first] = 0
    livetime = np.where(np.arange(ENERGY.nbin) < first, 0, observation.observation_live_time_duration.to_value("s"))
    return counts, livetime[:, None]


def main(train: str, test: str, out: str) -> None:
    """Make a radial background for each test run."""
    observations, others = (DataStore.from_dir(path).get_observations(required_irf=["aeff"]) for path in (test, train))
    up = np.array([np.sin(other.get_pointing_altaz(other.tmid).alt.rad) for other in others])
    of_runs = [counts_and_time(other) for other in others]
    volume = np.diff(ENERGY.edges.to_value("MeV"))[:, None] * -2 * np.pi * np.diff(np.cos(OFFSET.edges.to_value("rad")))
    for observation in observations:
        own = np.sin(observation.get_pointing_altaz(observation.tmid).alt.rad)
        nearest = np.argsort(abs(up - own))[: max(len(others) // 3, 1)]
        counts, livetime = (sum(of_runs[i][part] for i in nearest) for part in (0, 1))
        # A third of a count in empty bins, of which Gammapy interpolates the logarithm.
        rate = np.maximum(counts, 1 / 3) / np.maximum(livetime, 1) / volume
        rate[livetime[:, 0] == 0] = 0
        rate *= (observation.observation_live_time_duration / observation.observation_time_duration).to_value("")
        background = Background2D([ENERGY, OFFSET], rate, u.Unit("MeV-1 s-1 sr-1"))
        background.to_table_hdu().writeto(Path(out) / f"bkg_{observation.obs_id}.fits")


if __name__ == "__main__":
    main(*sys.argv[1:])
