"""Mask of the pixels that may be fitted with the norms of runs as priors."""

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import Table

pytest.importorskip("gammapy", reason="Gammapy needs a separate environment: make test-gammapy")
from gammapy.maps import Map, MapAxis, RegionGeom, WcsGeom
from regions import CircleSkyRegion, PointSkyRegion

from bgnb.gammapy import BackgroundMaker
from tests.helpers.errors import raises
from tests.helpers.model_directories import model_directory

SOURCES = SkyCoord([83.0, 85.5], [20.0, 21.5], unit="deg")
EXTENSION = np.array([0.4, 0.0])


def test_fit_mask_is_exclusion_regions(tmp_path):
    """Pixels to be fitted are those within the exclusion regions of their energy, or all if the norm is that of the models."""
    directory = model_directory(tmp_path / "models", "ALTAZ")
    names = {"NAME": ["a", "b"], "RA": SOURCES.ra.deg, "DEC": SOURCES.dec.deg, "EXTENSION": EXTENSION}
    some_energies = Table({"RA": [84.0], "DEC": [18.5], "RADIUS": [0.6], "E_MIN": [1.0], "E_MAX": [3.0]})
    maker = BackgroundMaker(directory, catalog=Table(names), mask_radius="0.3 deg", exclude=[some_energies])
    axis = MapAxis.from_energy_edges([0.5, 1, 2, 4, 10] * u.TeV, interp="log")
    for frame in ("icrs", "galactic"):
        center = SkyCoord(84.0, 20.5, unit="deg").transform_to(frame)
        geom = WcsGeom.create(skydir=center, frame=frame, width=(6, 5), binsz=0.1, axes=[axis])
        sky = geom.get_coord().skycoord
        radii = (0.3 + 2 * EXTENSION) * u.deg
        expected = np.any([sky.separation(each) < radius for each, radius in zip(SOURCES, radii, strict=True)], axis=0)
        in_circle = sky.separation(SkyCoord(84.0, 18.5, unit="deg")) < 0.6 * u.deg
        expected[1] |= in_circle[1]  # other bins have energies outside its range
        mask = maker.fit_mask(geom)
        assert 0.05 < expected.mean() < 0.2
        np.testing.assert_array_equal(mask.data, expected)
        assert BackgroundMaker(directory, norm="model").fit_mask(geom).data.all()


def test_energies_between_regions_are_not_fitted(tmp_path):
    """A bin at both ends of which a position is excluded, but not in its middle, is not fitted: the norm used its events."""
    directory = model_directory(tmp_path / "models", "ALTAZ")
    circles = Table({"RA": [84.0] * 2, "DEC": [18.5] * 2, "RADIUS": [0.6] * 2, "E_MIN": [0.1, 5.0], "E_MAX": [1.5, 100.0]})
    nothing = Table({"NAME": ["a"], "RA": [0.0], "DEC": [0.0], "EXTENSION": [0.0]})
    maker = BackgroundMaker(directory, catalog=nothing, exclude=[circles])
    axis = MapAxis.from_energy_edges([0.5, 1, 10, 20] * u.TeV, interp="log")
    geom = WcsGeom.create(skydir=(84.0, 18.5), width=1, binsz=0.1, axes=[axis])
    assert maker.fit_mask(geom).data.any(axis=(1, 2)).tolist() == [True, False, True]


def test_fit_mask_needs_a_geometry(tmp_path):
    """Maps, nothing, and geometries without an energy axis or with others are refused."""
    axis = MapAxis.from_energy_edges([0.5, 1, 2, 4] * u.TeV, interp="log")
    geom = WcsGeom.create(skydir=(84, 20.5), width=2, axes=[axis])
    others = [MapAxis.from_edges([0, 1, 2], name="time"), axis]
    wrong = [geom.to_image(), geom.to_image().to_cube(others), geom.to_image().to_cube([axis.copy(name="energy_true")])]
    for norm in ("run", "model"):
        maker = BackgroundMaker(model_directory(tmp_path / norm, "ALTAZ"), norm)
        for value in (None, "geom", Map.from_geom(geom), RegionGeom.create(None, axes=[axis]), *wrong):
            with raises("invalid-argument", "geom"):
                maker.fit_mask(value)


def test_regions_must_be_excluded_as_a_whole(tmp_path):
    """A region is fitted at the energies at which all of it is excluded; one that sticks out anywhere is refused."""
    directory = model_directory(tmp_path / "models", "ALTAZ")
    circles = Table({"RA": [84.0, 84.0], "DEC": [18.5, 18.5], "RADIUS": [0.6, 0.2], "E_MIN": [1.0, 0.0], "E_MAX": [3.0, 99.0]})
    nothing = Table({"NAME": ["a"], "RA": [0.0], "DEC": [0.0], "EXTENSION": [0.0]})
    maker = BackgroundMaker(directory, catalog=nothing, exclude=[circles])
    axis = MapAxis.from_energy_edges([0.5, 1, 2, 4, 10] * u.TeV, interp="log")
    center = SkyCoord(84.0, 18.5, unit="deg")

    def mask(region):
        return maker.fit_mask(RegionGeom(region, axes=[axis])).data.ravel().tolist()

    assert mask(CircleSkyRegion(center, 0.6 * u.deg)) == [False, True, False, False]
    assert mask(CircleSkyRegion(center, 0.2 * u.deg)) == [True] * 4
    assert mask(PointSkyRegion(center)) == [True] * 4
    with raises("invalid-argument", "fit_mask", "norm='model'"):
        mask(CircleSkyRegion(center, 0.7 * u.deg))
    with raises("invalid-argument", "fit_mask", "exclude"):
        maker.fit_mask(WcsGeom.create(skydir=(20, 20), width=2, axes=[axis]))
