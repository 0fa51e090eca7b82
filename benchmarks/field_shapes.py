"""Observed over predicted counts by offset and energy in the fields of the Crab nebula and of PKS 2155-304.

    python benchmarks/field_shapes.py DIRECTORY

The models are splines of the 30 off runs of H.E.S.S. DL3 DR1, with the norm of each run from its events outside 0.5 deg around
known sources, in the whole field of view. Printed are the ratios in rings of the offset (deg) at energies (TeV).
"""

import sys

import numpy as np
from astropy import units as u

import bgnb
from bgnb.cubes.exclusion_mask import SourceMask

FIELDS = {
    "Crab nebula": (23523, 23526, 23559, 23592),
    "PKS 2155-304": (47802, 47803, 47804, 47827, 47828, 47829),
}
RINGS = ((0, 1), (1, 1.75), (1.75, 2.5), (2.5, 6))
ENERGIES = ((0.2, 0.7), (0.7, 2), (2, 50))


def main(directory: str) -> None:
    """Print one line per field, ring and range of energies."""
    runs = bgnb.open_runs(directory, "GADF")
    on = {obs_id for obs_ids in FIELDS.values() for obs_id in obs_ids}
    off = [obs_id for obs_id in runs.obs_ids if obs_id not in on]
    models = bgnb.make_models(directory, "GADF", select=off, progress=False).models
    mask = SourceMask.around(bgnb.read_catalog(), 0.5 * u.deg)
    for name, obs_ids in FIELDS.items():
        counts, predicted = np.zeros(models.models[0].model.axes.shape), np.zeros(models.models[0].model.axes.shape)
        for obs_id in obs_ids:
            run = bgnb.read_event_list(runs.files(obs_id))
            found = models.mean_rate_for(run)
            stack = bgnb.stack_runs([run], found.rate.axes, models.fovalign, mask)
            factor = bgnb.norm_of_run(models, found, run, "run", mask).factor(found.rate.axes.energy_centers.value)
            predicted += (found.rate.quantity * stack.exposure).to_value("") * factor[:, None, None]
            counts += stack.counts
        axes = found.rate.axes
        x, y = (np.convolve(edges.value, [0.5, 0.5], "valid") for edges in (axes.detx, axes.dety))
        offset, energy = np.hypot(x, y[:, None]), axes.energy_centers.value
        print(f"{name}: {counts.sum():.0f} counts, observed / predicted {counts.sum() / predicted.sum():.3f}")
        for low, high in RINGS:
            for e_low, e_high in ENERGIES:
                used = (energy > e_low) & (energy < e_high)
                some = [values[used][:, (offset >= low) & (offset < high)].sum() for values in (counts, predicted)]
                if some[0]:
                    ratio = some[0] / some[1]
                    print(
                        f"  {low:4} to {high:4} deg, {e_low:3} to {e_high:3} TeV: {ratio:.3f} ± {ratio / np.sqrt(some[0]):.3f}"
                    )


if __name__ == "__main__":
    main(sys.argv[1])
