"""Backgrounds of datasets from models, in memory: those of attach and `MapDatasetMaker`."""

import pickle
from itertools import pairwise

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.time import Time

pytest.importorskip("gammapy", reason="Gammapy needs a separate environment: make test-gammapy")
from gammapy.data import DataStore, EventList, Observations
from gammapy.datasets import Datasets, MapDataset, SpectrumDataset, SpectrumDatasetOnOff
from gammapy.irf import Background2D, Background3D
from gammapy.makers import DatasetsMaker, MapDatasetMaker, SafeMaskMaker, SpectrumDatasetMaker
from gammapy.maps import MapAxis, RegionGeom, WcsGeom
from regions import CircleSkyRegion, PointSkyRegion

from bgnb import DataError, attach, read_models
from bgnb.gammapy import BackgroundMaker, background_errors, make_models
from tests.helpers.errors import raises
from tests.helpers.gammapy_runs import DR1, GAPS, ORDINARY, write_rotating_runs
from tests.helpers.model_directories import model_directory

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of Gammapy and its dependencies
    pytest.mark.filterwarnings("ignore::UserWarning"),
]
ENERGY = MapAxis.from_energy_bounds("0.4 TeV", "40 TeV", nbin=5)
TRUE_ENERGY = MapAxis.from_energy_bounds("0.1 TeV", "100 TeV", nbin=3, name="energy_true")
FRAMES = {ORDINARY: "ALTAZ", DR1: "REVERSE_LON_RADEC", GAPS: "RADEC"}
WITHOUT = ["counts", "exposure"]
# As by default: parts of energy bins of at most 0.06 decades.
FINE = {"background_oversampling": int(np.ceil(np.log10(ENERGY.edges[1] / ENERGY.edges[0]) / 0.06))}


@pytest.fixture(scope="module")
def indir(tmp_path_factory):
    """Three runs: ordinary, as of H.E.S.S. DR1, and with a gap."""
    return write_rotating_runs(tmp_path_factory.mktemp("simulated") / "runs")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Directories of asymmetric models, by frame."""
    folder = tmp_path_factory.mktemp("models")
    return {fovalign: model_directory(folder / fovalign, fovalign) for fovalign in ("ALTAZ", "RADEC")}


@pytest.fixture
def observations(indir):
    """Observations without a background."""
    return DataStore.from_dir(indir).get_observations(required_irf=["aeff"])


@pytest.fixture(scope="module")
def stored(indir, models, tmp_path_factory):
    """Observations with the backgrounds of attach."""
    store = tmp_path_factory.mktemp("stored") / "store"
    attach(models["ALTAZ"], indir, "GADF", store)
    return DataStore.from_dir(store).get_observations(required_irf=["aeff", "bkg"])


def empty_map(observation, width=5 * u.deg, name=None):
    """Make an empty dataset, whose map is not centred on the pointing."""
    centre = observation.pointing.fixed_icrs.directional_offset_by(30 * u.deg, 0.7 * u.deg)
    geom = WcsGeom.create(skydir=centre, width=width, binsz=0.25, proj="TAN", axes=[ENERGY])
    return MapDataset.create(geom, energy_axis_true=TRUE_ENERGY, name=name)


def empty_spectrum(observation):
    """Make an empty dataset of a region in which the background is not uniform."""
    centre = observation.pointing.fixed_icrs.directional_offset_by(60 * u.deg, 1.2 * u.deg)
    geom = RegionGeom(CircleSkyRegion(centre, 0.8 * u.deg), axes=[ENERGY])
    return SpectrumDataset.create(geom, energy_axis_true=TRUE_ENERGY)


def parts_of(observation):
    """Divide an observation by time into three, in memory, so that their maps overlap."""
    times = observation.tstart + [0, 300, 900, 1800] * u.s
    parts = [observation.select_time(Time([start, stop])) for start, stop in pairwise(times)]
    for number, part in enumerate(parts):
        part.obs_id = 10 + number
    return Observations(parts)


def assert_equal_counts(ours, expected):
    """Assert that background counts agree in each pixel."""
    np.testing.assert_allclose(ours.background.data, expected.background.data, rtol=1e-5, atol=1e-9)
    assert expected.background.data.sum() > 1


@pytest.mark.parametrize(
    ("fovalign", "kind", "norm"), [("ALTAZ", "bkg_3d", "run"), ("RADEC", "bkg_3d", "model"), ("ALTAZ", "bkg_2d", "run")]
)
def test_counts_are_those_of_attach(indir, models, observations, tmp_path, fovalign, kind, norm):
    """Datasets have the counts that Gammapy predicts from a data store of attach; observations stay as they are."""
    report = attach(models[fovalign], indir, "GADF", tmp_path / "store", kind=kind, norm=norm)
    stored = DataStore.from_dir(tmp_path / "store").get_observations(required_irf=["aeff", "bkg"])
    maker = BackgroundMaker(models[fovalign], norm=norm, kind=kind)
    for observation, expected, run in zip(observations, stored, report.runs, strict=True):
        empty = empty_map(observation)
        dataset = maker.run(MapDatasetMaker(selection=WITHOUT).run(empty, observation), observation)
        reference = MapDatasetMaker(selection=[*WITHOUT, "background"], **FINE).run(empty, expected)
        assert_equal_counts(dataset, reference)
        assert dataset.counts.data.sum() > 0
        np.testing.assert_array_equal(dataset.counts.data, reference.counts.data)
        assert dataset.meta_table["BKG_NORM"].tolist() == [pytest.approx(run.norm.norm, rel=1e-6)]
        assert dataset.meta_table["OBS_ID"].tolist() == [observation.obs_id]
        assert observation.bkg is None
        irf = maker.make_irf(observation)
        assert isinstance(irf, Background2D if kind == "bkg_2d" else Background3D)
        np.testing.assert_allclose(irf.data, expected.bkg.data, rtol=1e-6)
        if kind == "bkg_3d":
            assert irf.fov_alignment.value == (FRAMES[observation.obs_id] if fovalign == "ALTAZ" else run.fovalign)
        observation.bkg = irf
        assert_equal_counts(MapDatasetMaker(selection=["background"], **FINE).run(empty, observation), reference)


def test_background_of_observation_stays(models, stored):
    """The background and the events that an observation has are not changed."""
    observation = stored[0].copy(in_memory=True)
    before = observation.bkg
    data, events = before.data.copy(), observation.events.table.copy()
    empty = empty_map(observation)
    old = MapDatasetMaker(selection=["counts", "background"]).run(empty, observation)
    new = BackgroundMaker(models["RADEC"], norm="model").run(old.copy(), observation)
    assert observation.bkg is before
    np.testing.assert_array_equal(before.data, data)
    assert (observation.events.table == events).all()
    assert not np.allclose(new.background.data, old.background.data, rtol=0.1)


def test_selected_time_changes_the_background(models, observations):
    """The background of a part of a run is that of its good time, per ontime."""
    whole = observations[0]
    part = whole.select_time(Time([whole.tstart, whole.tstart + 600 * u.s]))
    maker = BackgroundMaker(models["ALTAZ"], norm="model")
    counts = [maker.run(empty_map(each), each).background.data.sum() for each in (part, whole)]
    assert counts[0] / counts[1] == pytest.approx(1 / 3, rel=0.02)
    assert maker.make_irf(part).meta["ONTIME"] == pytest.approx(600)


@pytest.mark.parametrize("use_region_center", [True, False])
def test_spectrum_datasets(models, observations, stored, use_region_center):
    """Spectrum datasets are filled at the centre of the region, or integrated over it by a given maker, as in a fine map."""
    maker = None if use_region_center else SpectrumDatasetMaker(use_region_center=False)
    ours = BackgroundMaker(models["ALTAZ"], maker=maker)
    for observation, expected in zip(observations, stored, strict=True):
        empty = empty_spectrum(observation)
        dataset = ours.run(SpectrumDatasetMaker(selection=WITHOUT).run(empty, observation), observation)
        assert isinstance(dataset, SpectrumDataset)
        at_centre = SpectrumDatasetMaker(**(FINE if use_region_center else {})).make_background(empty.counts.geom, expected)
        region = empty.counts.geom.region
        fine = WcsGeom.create(skydir=region.center, width=2, binsz=0.02, proj="TAN", axes=[ENERGY])
        integrated = MapDatasetMaker().make_background(fine, expected).to_region_nd_map(region, func=np.sum)
        assert np.abs(integrated.data / at_centre.data - 1).max() > 0.02
        reference, rtol = (at_centre, 1e-5) if use_region_center else (integrated, 0.01)
        np.testing.assert_allclose(dataset.background.data, reference.data, rtol=rtol)


def test_wide_energy_bins(models, observations):
    """The background of wide energy bins is that of many narrow ones."""
    observation, counts = observations[0], []
    for n_bins in (2, 40):
        geom = empty_map(observation).counts.geom.to_image().to_cube([MapAxis.from_energy_bounds("0.2 TeV", "20 TeV", n_bins)])
        dataset = BackgroundMaker(models["ALTAZ"], norm="model").run(MapDataset.create(geom), observation)
        counts.append(dataset.background.data.reshape(2, n_bins // 2, -1).sum(axis=(1, 2)))
    np.testing.assert_allclose(*counts, rtol=2e-3)


@pytest.mark.parametrize("stacked", [True, False])
@pytest.mark.parametrize("n_jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_makers_of_datasets(models, observations, stacked, n_jobs):
    """`DatasetsMaker` fills and stacks backgrounds, also in several processes."""
    maker, parts, with_background = BackgroundMaker(models["ALTAZ"]), parts_of(observations[0]), parts_of(observations[0])
    for part in with_background:
        part.bkg = maker.make_irf(part)
    reference = empty_map(observations[0], name="all")
    mask = SafeMaskMaker(methods=["offset-max"], offset_max="1.7 deg")
    ours = [MapDatasetMaker(selection=WITHOUT), maker, mask]
    theirs = [MapDatasetMaker(selection=[*WITHOUT, "background"], **FINE), mask]
    datasets, expected = (
        DatasetsMaker(makers, stack_datasets=stacked, n_jobs=number).run(reference.copy(name="all"), each)
        for makers, each, number in ((ours, parts, n_jobs), (theirs, with_background, 1))
    )
    assert len(datasets) == (1 if stacked else 3)
    for dataset, other in zip(datasets, expected, strict=True):
        assert_equal_counts(dataset, other)
    ids, norms = (
        np.concatenate([np.ravel(dataset.meta_table[name]) for dataset in datasets]) for name in ("OBS_ID", "BKG_NORM")
    )
    assert sorted(ids) == [10, 11, 12]
    assert len(set(norms)) == 3


def test_masks_weigh_runs(models, observations):
    """If the mask is known, runs contribute to the uncertainty of a stack with the counts within it."""
    above, parts = [0.4, 6.0], parts_of(observations[0])
    empty, datasets = empty_map(observations[0]), []
    for part, energy_min in zip(parts[:2], above, strict=True):
        dataset = MapDatasetMaker(selection=WITHOUT).run(empty.copy(), part)
        dataset.mask_safe = dataset.counts.geom.energy_mask(energy_min=energy_min * u.TeV)
        datasets.append(BackgroundMaker(models["ALTAZ"]).run(dataset, part))
    alone = [background_errors(dataset) for dataset in datasets]
    for dataset, each in zip(datasets, alone, strict=True):
        np.testing.assert_allclose(each.counts, (dataset.background.data * dataset.mask_safe.data).sum(axis=(1, 2)))
    assert np.count_nonzero(alone[1].counts) == 2
    stacked = Datasets(datasets).stack_reduce(name="all")
    errors = background_errors(stacked)
    np.testing.assert_allclose(errors.counts, stacked.background.data.sum(axis=(1, 2)), rtol=1e-6)
    np.testing.assert_allclose(errors.covariance[:3, :3], alone[0].covariance[:3, :3])
    assert np.all(np.diag(errors.covariance)[3:] < np.diag(alone[0].covariance)[3:])


def test_maker_is_described_and_pickled(models, observations):
    """Makers have a text, and are equal after pickling; they may be made from models in memory."""
    maker = BackgroundMaker(read_models(models["ALTAZ"]), norm="model", maker=MapDatasetMaker(background_oversampling=3))
    assert "BackgroundMaker" in str(maker)
    assert "model" in str(maker)
    dataset = empty_map(observations[0])
    one, other = (each.run(dataset.copy(), observations[0]) for each in (maker, pickle.loads(pickle.dumps(maker))))
    np.testing.assert_array_equal(one.background.data, other.background.data)
    default = BackgroundMaker(models["ALTAZ"], norm="model").run(dataset.copy(), observations[0])
    assert not np.allclose(default.background.data, one.background.data, rtol=1e-3)
    assert default.background.data.sum() == pytest.approx(one.background.data.sum(), rel=0.1)


def test_models_and_maps_without_files(observations):
    """Models of observations predict the counts of these observations in the field of view."""
    settings = {"select": "all", "method": "classic", "n_energy": 6, "n_fov": 10, "energy_min": "0.4 TeV", "progress": False}
    production = make_models(observations, **settings)
    maker = BackgroundMaker(production, norm="model")
    predicted = [maker.run(empty_map(each, 12 * u.deg), each).background.data.sum() for each in observations]
    (group,) = production.models.models
    assert sum(predicted) == pytest.approx(group.model.stack.counts.sum(), rel=0.05)
    assert predicted[0] / predicted[2] == pytest.approx(2, rel=0.05)  # 30 and 15 min


def test_maker_checks_its_settings(models, tmp_path):
    """Settings and models are checked when the maker is made."""
    with raises("unknown-choice", "kinds"):
        BackgroundMaker(models["ALTAZ"], kinds="bkg_2d")
    with raises("unknown-choice", "runs"):
        BackgroundMaker(models["ALTAZ"], norm="runs")
    with raises("no-effect", "mask_radius"):
        BackgroundMaker(models["ALTAZ"], norm="model", mask_radius="1 deg")
    with raises("not-found", "absent"):
        BackgroundMaker(tmp_path / "absent")


def test_unusable_observation_is_an_error(models, observations):
    """An observation that cannot be used is an error that names it."""
    observation = observations[0].copy(in_memory=True)
    observation.events = EventList(observation.events.table[:0])
    with raises("no-events", "observation 1", kind=DataError):
        BackgroundMaker(models["ALTAZ"]).run(empty_map(observation), observation)


def test_unsuitable_datasets_are_refused(models, observations):
    """Datasets with off counts have a background already, and points have no solid angle."""
    spectrum = empty_spectrum(observations[0])
    dataset = SpectrumDatasetOnOff.from_spectrum_dataset(dataset=spectrum, acceptance=1, acceptance_off=2)
    with raises("invalid-argument", dataset.name, "off counts"):
        BackgroundMaker(models["ALTAZ"]).run(dataset, observations[0])
    point = SpectrumDataset.create(RegionGeom(PointSkyRegion(spectrum.counts.geom.center_skydir), axes=[ENERGY]), name="point")
    with raises("invalid-argument", "point", "circle"):
        BackgroundMaker(models["ALTAZ"]).run(point, observations[0])


def test_map_far_from_the_pointing(models, observations):
    """A map far from the pointing has no background."""
    geom = WcsGeom.create(skydir=SkyCoord(0, 80, unit="deg"), width=2, axes=[ENERGY])
    dataset = BackgroundMaker(models["ALTAZ"]).run(MapDataset.create(geom, energy_axis_true=TRUE_ENERGY), observations[0])
    assert not dataset.background.data.any()
    assert not background_errors(dataset).counts.any()


def test_models_must_be_models():
    """Neither None nor a single model are models of groups."""
    with raises("invalid-argument", "models", "NoneType"):
        BackgroundMaker(None)
