"""Backgrounds in Gammapy of the fields of the Crab nebula and of PKS 2155-304, without any further norm.

    bgnb make-bg-cube-models DIRECTORY GADF models --select off_runs.txt
    bgnb attach models DIRECTORY GADF store
    .venv-gammapy/bin/python benchmarks/fields.py store

Counts and background are compared farther than 0.4 deg from the source and within 2.5 deg of the pointings, from 0.7 to 50 TeV.
Printed are observed over predicted counts, the norms that `FoVBackgroundMaker` would fit to the runs, and mean and
width of the significance in circles of 0.1 deg.
"""

import sys

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from gammapy.data import DataStore
from gammapy.datasets import MapDataset
from gammapy.estimators import ExcessMapEstimator
from gammapy.makers import FoVBackgroundMaker, MapDatasetMaker, SafeMaskMaker
from gammapy.maps import MapAxis, WcsGeom
from regions import CircleSkyRegion

FIELDS = {
    "Crab nebula": ((23523, 23526, 23559, 23592), SkyCoord(83.633, 22.014, unit="deg")),
    "PKS 2155-304": ((47802, 47803, 47804, 47827, 47828, 47829), SkyCoord(329.717, -30.226, unit="deg")),
}


def main(store: str) -> None:
    """Print one line per field."""
    for name, (obs_ids, source) in FIELDS.items():
        axis = MapAxis.from_energy_bounds("0.7 TeV", "50 TeV", nbin=8)
        geom = WcsGeom.create(skydir=source, width=5, binsz=0.05, axes=[axis])
        outside = ~geom.region_mask([CircleSkyRegion(source, 0.4 * u.deg)])
        total, norms = MapDataset.create(geom), []
        for observation in DataStore.from_dir(store).get_observations(obs_ids):
            selection = ["counts", "background", "exposure"]
            dataset = MapDatasetMaker(selection=selection).run(MapDataset.create(geom), observation)
            methods = ["offset-max", "aeff-default"]
            dataset = SafeMaskMaker(methods=methods, offset_max=2.5 * u.deg).run(dataset, observation)
            scaled = FoVBackgroundMaker(exclusion_mask=outside).run(dataset.copy(), observation)
            norms.append(scaled.background_model.spectral_model.norm.value)
            total.stack(dataset)
        used = outside.data & total.mask_safe.data
        counts, background = (values.data[used].sum() for values in (total.counts, total.npred_background()))
        estimator = ExcessMapEstimator(0.1 * u.deg, correlate_off=False, energy_edges=[0.7, 50] * u.TeV)
        significance = estimator.run(total)["sqrt_ts"].data[0][used.any(axis=0) & outside.data.all(axis=0)]
        significance = significance[np.isfinite(significance)]
        print(
            f"{name}: observed / predicted {counts / background:.3f}; norms {', '.join(f'{norm:.3f}' for norm in norms)}; "
            f"significance: mean {significance.mean():.3f}, width {significance.std():.3f}"
        )


if __name__ == "__main__":
    main(sys.argv[1])
