"""Entry of BAccMod 0.4.1: python -m benchmarks.challenge.baccmod_entry TRAIN TEST OUT.

The radial model of the nearest zenith bin, which has the lowest deviance of its models in ``benchmarks/peers.py``, with the
axes and the interpolation described there. It does not use the events of the test runs.
"""

import sys
from pathlib import Path

import baccmod
import numpy as np
from astropy import units as u
from gammapy.data import DataStore
from gammapy.irf import Background3D
from gammapy.maps import MapAxis

from benchmarks.peers import FINE, NEAREST, fine_rate
from bgnb import Cube, CubeAxes, point_rate
from bgnb.cubes.cube import RATE_UNIT


def main(train: str, test: str, out: str) -> None:
    """Make the models, and write their rates per ontime at the bin centres."""
    energy = MapAxis.from_energy_bounds(0.1 * u.TeV, 100 * u.TeV, nbin=9, name="energy")
    offset = MapAxis.from_bounds(0 * u.deg, 2.5 * u.deg, nbin=6, name="offset")
    observations, others = (DataStore.from_dir(path).get_observations(required_irf=["aeff"]) for path in (test, train))
    backgrounds = baccmod.RadialAcceptanceMapCreator(energy, offset).create_acceptance_map_per_observation(
        observations, off_observations=others, runwise_normalisation=False, **NEAREST
    )
    axes = CubeAxes.regular(n_energy=9, n_fov=len(FINE), energy_min="0.1 TeV", energy_max="100 TeV", fov_max="2.5 deg")
    for observation in observations:
        mean = Cube(axes, fine_rate(backgrounds[observation.obs_id]) * RATE_UNIT)  # per livetime
        per_ontime = observation.observation_live_time_duration / observation.observation_time_duration
        rate = point_rate(mean).quantity * per_ontime.to_value("")
        fov = [MapAxis.from_edges(edges, name=name) for name, edges in (("fov_lon", axes.detx), ("fov_lat", axes.dety))]
        background = Background3D([energy, *fov], np.swapaxes(rate.value, 1, 2), rate.unit, fov_alignment="ALTAZ")
        hdu = background.to_table_hdu()
        hdu.header["FOVALIGN"] = "ALTAZ"
        hdu.writeto(Path(out) / f"bkg_{observation.obs_id}.fits")


if __name__ == "__main__":
    main(*sys.argv[1:])
