"""Small datasets of Gammapy without a background."""

from astropy import units as u
from gammapy.datasets import MapDataset
from gammapy.makers import MapDatasetMaker
from gammapy.maps import MapAxis, WcsGeom

ENERGY = MapAxis.from_energy_bounds("0.4 TeV", "40 TeV", nbin=5)
TRUE_ENERGY = MapAxis.from_energy_bounds("0.1 TeV", "100 TeV", nbin=3, name="energy_true")


def empty_map(observation, width=5 * u.deg, name=None):
    """Make an empty dataset, whose map is not centred on the pointing."""
    centre = observation.pointing.fixed_icrs.directional_offset_by(30 * u.deg, 0.7 * u.deg)
    geom = WcsGeom.create(skydir=centre, width=width, binsz=0.25, proj="TAN", axes=[ENERGY])
    return MapDataset.create(geom, energy_axis_true=TRUE_ENERGY, name=name)


def filled(dataset, observation):
    """Fill the counts of a dataset, as makers of backgrounds expect it."""
    return MapDatasetMaker(selection=["counts"]).run(dataset, observation)
