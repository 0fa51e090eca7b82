"""Backgrounds of datasets from models, in memory: those of attach and `MapDatasetMaker`."""

import pickle
from itertools import pairwise

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import Table
from astropy.time import Time

pytest.importorskip("gammapy", reason="Gammapy needs a separate environment: make test-gammapy")
from gammapy.data import DataStore, EventList, Observations
from gammapy.datasets import Datasets, MapDataset, SpectrumDataset, SpectrumDatasetOnOff
from gammapy.irf import Background2D, Background3D
from gammapy.makers import DatasetsMaker, MapDatasetMaker, SafeMaskMaker, SpectrumDatasetMaker
from gammapy.maps import MapAxis, RegionGeom, WcsGeom
from regions import CircleSkyRegion, PointSkyRegion

from bgnb import (
    CubeAxes,
    DataError,
    ObservationGroups,
    TrueModel,
    attach,
    make_test_bg_cube_model,
    read_models,
    write_groups,
    write_model,
)
from bgnb.gammapy import BackgroundMaker, background_errors, make_models
from tests.helpers.errors import raises
from tests.helpers.gammapy_datasets import ENERGY, TRUE_ENERGY, empty_map, filled
from tests.helpers.gammapy_runs import DR1, GAPS, ORDINARY, write_rotating_runs
from tests.helpers.model_directories import model_directory

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of Gammapy and its dependencies
    pytest.mark.filterwarnings("ignore::UserWarning"),
]
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
    counts = [maker.run(filled(empty_map(each), each), each).background.data.sum() for each in (part, whole)]
    assert counts[0] / counts[1] == pytest.approx(1 / 3, rel=0.02)
    assert maker.make_irf(part).meta["ONTIME"] == pytest.approx(600)


def test_spectrum_datasets(models, observations, stored):
    """Spectrum datasets are filled at the centre of the region, or integrated over it by a given maker, as in a fine map."""
    for observation, expected in zip(observations, stored, strict=True):
        empty = empty_spectrum(observation)
        at_centre = SpectrumDatasetMaker(**FINE).make_background(empty.counts.geom, expected)
        region = empty.counts.geom.region
        fine = WcsGeom.create(skydir=region.center, width=1.7, binsz=0.02, proj="TAN", axes=[ENERGY])
        integrated = MapDatasetMaker().make_background(fine, expected).to_region_nd_map(region, func=np.sum)
        assert np.abs(integrated.data / at_centre.data - 1).max() > 0.02
        integrating = SpectrumDatasetMaker(use_region_center=False)
        for maker, reference, rtol in ((None, at_centre, 1e-5), (integrating, integrated, 0.01)):
            ours = BackgroundMaker(models["ALTAZ"], maker=maker)
            dataset = ours.run(SpectrumDatasetMaker(selection=WITHOUT).run(empty, observation), observation)
            assert isinstance(dataset, SpectrumDataset)
            np.testing.assert_allclose(dataset.background.data, reference.data, rtol=rtol)


def test_wide_energy_bins(models, observations):
    """The background of wide energy bins is that of many narrow ones."""
    observation, counts = observations[0], []
    for n_bins in (2, 40):
        geom = empty_map(observation).counts.geom.to_image().to_cube([MapAxis.from_energy_bounds("0.2 TeV", "20 TeV", n_bins)])
        dataset = filled(MapDataset.create(geom), observation)
        dataset = BackgroundMaker(models["ALTAZ"], norm="model").run(dataset, observation)
        counts.append(dataset.background.data.reshape(2, n_bins // 2, -1).sum(axis=(1, 2)))
    np.testing.assert_allclose(*counts, rtol=2e-3)


def test_memory_of_wide_energy_bins(models, observations, monkeypatch):
    """Gammapy computes about as many planes at once as the map has, whatever the width of its bins; the counts are the same."""
    edges = np.array([0.4, 0.41, 0.8, 4, 4.1, 11, 12, 40]) * u.TeV  # of 1, 5, 12, 1, 8, 1 and 9 parts
    geom = empty_map(observations[0]).counts.geom.to_image().to_cube([MapAxis.from_energy_edges(edges)])
    dataset = filled(MapDataset.create(geom, energy_axis_true=TRUE_ENERGY), observations[0])
    with monkeypatch.context() as patch:
        patch.setattr("bgnb.gammapy.background_maker._blocks", lambda starts, _: [starts])
        whole = BackgroundMaker(models["ALTAZ"]).run(dataset.copy(name=dataset.name), observations[0])
    n_planes, make = [], MapDatasetMaker.make_background

    def counted(maker, geom, observation):
        n_planes.append(geom.data_shape[0])
        return make(maker, geom, observation)

    monkeypatch.setattr(MapDatasetMaker, "make_background", counted)
    monkeypatch.setattr("bgnb.gammapy.background_maker._MAX_POINTS", 0)
    assert_equal_counts(BackgroundMaker(models["ALTAZ"]).run(dataset, observations[0]), whole)
    assert n_planes == [6, 12, 1, 8, 1, 9]


@pytest.mark.parametrize(("n_jobs", "stacked"), [(1, False), pytest.param(2, True, marks=pytest.mark.slow)])
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
    dataset = filled(empty_map(observations[0]), observations[0])
    one, other = (each.run(dataset.copy(), observations[0]) for each in (maker, pickle.loads(pickle.dumps(maker))))
    np.testing.assert_array_equal(one.background.data, other.background.data)
    default = BackgroundMaker(models["ALTAZ"], norm="model").run(dataset.copy(), observations[0])
    assert not np.allclose(default.background.data, one.background.data, rtol=1e-3)
    assert default.background.data.sum() == pytest.approx(one.background.data.sum(), rel=0.1)


@pytest.mark.parametrize("interp", ["lin", "sqrt"])
@pytest.mark.parametrize("kind", ["map", "region"])
def test_counts_do_not_depend_on_the_interpolation_of_the_axis(models, observations, interp, kind):
    """Wide energy bins of a linear axis, as `MapAxis.from_edges` makes by default, have the counts of a logarithmic one."""
    observation, maker = observations[0], BackgroundMaker(models["ALTAZ"], norm="model")
    counts = []
    for each in (interp, "log"):
        axis = MapAxis.from_edges([400, 3000, 40000], unit="GeV", name="energy", interp=each)
        if kind == "map":
            dataset = MapDataset.create(
                empty_map(observation).geoms["geom"].to_image().to_cube([axis]), energy_axis_true=TRUE_ENERGY
            )
            dataset = filled(dataset, observation)
        else:
            geom = RegionGeom(empty_spectrum(observation).counts.geom.region, axes=[axis])
            empty = SpectrumDataset.create(geom, energy_axis_true=TRUE_ENERGY)
            dataset = SpectrumDatasetMaker(selection=["counts"]).run(empty, observation)
        background = maker.run(dataset, observation).background
        assert background.geom == dataset.counts.geom
        counts.append(background.data.sum(axis=(1, 2)))
    np.testing.assert_allclose(*counts, rtol=1e-5)
    assert counts[0].min() > 1


def test_models_and_maps_without_files(observations):
    """Models of observations predict the counts of these observations in the field of view."""
    settings = {"select": "all", "method": "classic", "n_energy": 6, "n_fov": 10, "energy_min": "0.4 TeV", "progress": False}
    production = make_models(observations, **settings)
    maker = BackgroundMaker(production, norm="model")
    datasets = [filled(empty_map(each, 12 * u.deg), each) for each in observations]
    predicted = [maker.run(*each).background.data.sum() for each in zip(datasets, observations, strict=True)]
    (group,) = production.models.models
    assert sum(predicted) == pytest.approx(group.model.stack.counts.sum(), rel=0.05)
    assert predicted[0] / predicted[2] == pytest.approx(2, rel=0.05)  # 30 and 15 min


@pytest.mark.parametrize(("n_energy", "energy"), [(1, (0.1, 100)), (4, (0.5, 5))])
def test_counts_are_those_of_the_model(observations, tmp_path, n_energy, energy):
    """In wide bins, the predicted counts are those of the mean rates, with and without rotation; few events lie beyond."""
    axes = CubeAxes(
        np.geomspace(*energy, n_energy + 1) * u.TeV, np.linspace(-3, 3.4, 17) * u.deg, np.linspace(-4, 4, 21) * u.deg
    )
    model = make_test_bg_cube_model(axes, "75 deg", TrueModel(gradient_x=0.12, gradient_y=-0.06, sigma=1.1))
    (tmp_path / "models").mkdir()
    write_groups(ObservationGroups(), tmp_path / "models" / "bg_observation_groups.ecsv")
    write_model(model, tmp_path / "models" / "bg_cube_model_group27_table.fits.gz", {"ALT_PNT": 75.0, "AZ_PNT": 180.0})
    maker = BackgroundMaker(tmp_path / "models", norm="model")
    counts = (model.rate.quantity * axes.bin_volume).to_value("s-1").sum()
    for observation in (observations[0], observations[2]):
        centre = observation.pointing.fixed_icrs
        bins = MapAxis.from_energy_bounds(*energy, nbin=1, unit="TeV")
        dataset = MapDataset.create(WcsGeom.create(skydir=centre, width=12, binsz=0.4, proj="TAN", axes=[bins]))
        background = maker.run(filled(dataset, observation), observation).background
        livetime = observation.observation_live_time_duration.to_value("s")
        assert background.data.sum() == pytest.approx(counts * livetime, rel=3e-3)


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
    observation.events.table["RA"][:] = np.nan
    with raises("bad-column", "observation 1", kind=DataError):
        BackgroundMaker(models["ALTAZ"]).run(filled(empty_map(observation), observation), observation)


@pytest.mark.parametrize("kind", ["in memory", "part", "part without good events"])
def test_observation_without_events_has_a_background(models, observations, kind):
    """Zero events are a measurement: the norm is that of zero counts, and the norm of the models needs no events."""
    whole = observations[2 if kind == "part without good events" else 0]
    seconds = np.sort((whole.events.time - whole.tstart).to_value("s"))
    if kind == "in memory":
        observation = whole.copy(in_memory=True)
        observation.events = EventList(whole.events.table[:0])
    else:
        first = np.diff(seconds).argmax()
        start, stop = seconds[first] + 0.01, seconds[first + 1] - 0.01
        if kind == "part without good events":  # the first good time interval ends at 300 s, but not the events
            start, stop = seconds[seconds < 300][-1] + 0.01, 500.0
        observation = whole.select_time(Time(whole.tstart + [start, stop] * u.s))
        assert (len(observation.events.table) > 0) == (kind == "part without good events")
    background = {}
    for norm, each in (("run", observation), ("model", observation), ("model", whole)):
        dataset = BackgroundMaker(models["ALTAZ"], norm).run(filled(empty_map(whole), each), each)
        background[norm, each is whole] = dataset.background.data.sum() / each.gti.time_sum.to_value("s")
        assert (dataset.meta_table["BKG_NORM"][0] < 1) == (norm == "run")
    assert background["run", False] < background["model", False]
    assert background["model", False] == pytest.approx(background["model", True], rel=0.05)


def test_unsuitable_datasets_are_refused(models, observations):
    """Datasets with off counts have a background already, points have no solid angle, and energies need edges."""
    spectrum = empty_spectrum(observations[0])
    dataset = SpectrumDatasetOnOff.from_spectrum_dataset(dataset=spectrum, acceptance=1, acceptance_off=2)
    with raises("invalid-argument", dataset.name, "off counts"):
        BackgroundMaker(models["ALTAZ"]).run(dataset, observations[0])
    point = SpectrumDataset.create(RegionGeom(PointSkyRegion(spectrum.counts.geom.center_skydir), axes=[ENERGY]), name="point")
    point.meta_table = Table({"OBS_ID": [1]})
    with raises("invalid-argument", "point", "circle"):
        BackgroundMaker(models["ALTAZ"]).run(point, observations[0])
    nodes = MapAxis.from_energy_bounds("0.4 TeV", "40 TeV", nbin=5, node_type="center")
    for axis in (nodes, MapAxis.from_edges([0, 1, 2] * u.TeV, name="energy")):
        odd = MapDataset.create(empty_map(observations[0]).counts.geom.to_image().to_cube([axis]), name="odd", binsz_irf=1)
        with raises("invalid-argument", "odd", "edges"):
            BackgroundMaker(models["ALTAZ"]).run(filled(odd, observations[0]), observations[0])


def test_healpix_is_refused(models, observations, monkeypatch):
    """Gammapy makes no background on HEALPix maps, and fails inside; such maps need healpy, which is not installed here."""
    dataset = filled(empty_map(observations[0], name="healpix"), observations[0])
    monkeypatch.setattr(WcsGeom, "is_hpx", True)
    with raises("invalid-argument", "healpix", "WcsGeom"):
        BackgroundMaker(models["ALTAZ"]).run(dataset, observations[0])


def test_map_far_from_the_pointing(models, observations):
    """A map far from the pointing has no background."""
    geom = WcsGeom.create(skydir=SkyCoord(0, 80, unit="deg"), width=2, axes=[ENERGY])
    dataset = filled(MapDataset.create(geom, energy_axis_true=TRUE_ENERGY), observations[0])
    dataset = BackgroundMaker(models["ALTAZ"]).run(dataset, observations[0])
    assert not dataset.background.data.any()
    assert not background_errors(dataset).counts.any()


def test_models_must_be_models(models):
    """Neither None nor a single model are models of groups; makers must be those of Gammapy, and not their class."""
    with raises("invalid-argument", "models", "NoneType"):
        BackgroundMaker(None)
    for other in ("run", MapDatasetMaker, SafeMaskMaker()):
        with raises("invalid-argument", "maker", "MapDatasetMaker"):
            BackgroundMaker(models["ALTAZ"], "run", other)


def test_arguments_must_be_in_order(models, observations):
    """Other values than a dataset and an observation, also in the wrong order, are refused."""
    maker, dataset = BackgroundMaker(models["ALTAZ"]), filled(empty_map(observations[0]), observations[0])
    for first, second in ((None, observations[0]), (observations[0], dataset), (dataset, None), (dataset, dataset)):
        with raises("invalid-argument"):
            maker.run(first, second)
    with raises("invalid-argument", "observation"):
        maker.make_irf(dataset)


def test_datasets_must_be_filled(models, observations):
    """Datasets must be filled from the observation alone, whatever is selected, before the background is made."""
    maker, dataset = BackgroundMaker(models["ALTAZ"]), empty_map(observations[0], name="empty")
    with raises("invalid-argument", "empty", "MapDatasetMaker"):
        maker.run(dataset, observations[0])
    with raises("invalid-argument", "MapDatasetMaker", "before BackgroundMaker"):
        DatasetsMaker([maker, MapDatasetMaker(selection=WITHOUT)], stack_datasets=False).run(dataset, observations[:1])
    full, nothing = (MapDatasetMaker(selection=each).run(dataset, observations[0]) for each in (WITHOUT, []))
    expected = maker.run(full, observations[0]).background.data
    np.testing.assert_array_equal(maker.run(nothing, observations[0]).background.data, expected)
    position = dataset.counts.geom.center_skydir
    cutout = maker.run(full.cutout(position, 3 * u.deg), observations[0])
    np.testing.assert_allclose(cutout.background.data, full.cutout(position, 3 * u.deg).background.data, rtol=1e-6)
    with raises("invalid-argument", "empty", "observation 1", "2"):
        maker.run(full, observations[1])
    others = DatasetsMaker([MapDatasetMaker(selection=WITHOUT), maker]).run(full.copy(name="stack"), observations[1:])
    assert others[0].meta_table["BKG_NORM"].shape == (1, 3)
    with raises("invalid-argument", "stack", "observations 1, 2, 3", "alone"):
        maker.run(others[0], observations[0])
    with raises("invalid-argument", "OBS_ID", "MapDatasetMaker"):
        maker.run(MapDataset(meta_table=Table({"OBS_ID": [1]}), name="nothing"), observations[0])


def test_other_parts_are_refused(models, observations):
    """The dataset of a part of an observation cannot have the background of another part, or of all of it."""
    whole = observations[0]
    parts = [whole.select_time(Time([whole.tstart + start, whole.tstart + start + 600 * u.s])) for start in (0, 900) * u.s]
    maker = BackgroundMaker(models["ALTAZ"])
    dataset = filled(empty_map(whole, name="part"), parts[0])
    assert maker.run(dataset, parts[0]).background.data.any()
    for other in (parts[1], whole):
        with raises("invalid-argument", "part", "gti"):
            maker.run(dataset, other)


def test_event_filters_are_refused(models, observations):
    """Filters of events change the counts, but not the solid angle; without them the observation can be used."""
    observation = observations[0].copy()
    observation.obs_filter.event_filters = [{"type": "custom", "opts": {"parameter": "ENERGY", "values": (1, 9) * u.TeV}}]
    maker, dataset = BackgroundMaker(models["ALTAZ"]), filled(empty_map(observation), observation)
    for make in (maker.make_irf, lambda each: maker.run(dataset, each)):
        with raises("invalid-argument", "observation 1", "event filters", kind=DataError):
            make(observation)
    observation.obs_filter.event_filters = []
    assert maker.run(dataset, observation).background.data.any()
