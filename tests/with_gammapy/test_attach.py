"""Data stores made by attach: Gammapy predicts with them the counts that the models predict."""

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import EarthLocation
from scipy.interpolate import RegularGridInterpolator

pytest.importorskip("gammapy", reason="Gammapy needs a separate environment: make test-gammapy")
from gammapy.data import DataStore, Observation
from gammapy.datasets import MapDataset
from gammapy.irf import Background2D, FoVAlignment
from gammapy.makers import MapDatasetMaker
from gammapy.maps import MapAxis, WcsGeom

from bgnb import (
    CubeAxes,
    ObservationGroups,
    TrueModel,
    attach,
    make_bg_cube_models,
    make_test_bg_cube_model,
    make_test_dataset,
    open_runs,
    read_event_list,
    read_models,
    write_groups,
    write_model,
)
from bgnb.cubes.coverage import continue_to_events, interpolable_rate
from bgnb.cubes.prediction import point_rate, predicted_rate
from bgnb.files.epoch_directory import ALL_RUNS
from bgnb.observations.coordinates import FieldOfView
from tests.helpers.drift import AXES as DRIFT_AXES
from tests.helpers.drift import GTIS, drifting_models, drifting_run, expected_rates
from tests.helpers.files import changed_file, digests_and_times
from tests.helpers.gammapy_runs import DR1, GAPS, ORDINARY, write_rotating_runs
from tests.helpers.model_directories import model_directory
from tests.helpers.run_files import SITE, run, write_gadf, write_hess

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of Gammapy and its dependencies
    pytest.mark.filterwarnings("ignore::UserWarning"),
]
STEPS = 36  # steps of the sum in each energy bin


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Simulate runs near the zenith, where the field of view rotates fast: ordinary, as of H.E.S.S. DR1, and with a gap."""
    return write_rotating_runs(tmp_path_factory.mktemp("simulated") / "runs")


def predicted_by_gammapy(observation, geom, oversampling=12):
    """Predict counts in the pixels of a map with Gammapy."""
    empty = MapDataset.create(
        geom, energy_axis_true=MapAxis.from_energy_bounds("0.1 TeV", "100 TeV", nbin=3, name="energy_true")
    )
    maker = MapDatasetMaker(selection=["background"], background_oversampling=oversampling)
    return maker.run(empty, observation).background.data


def rate_of_run(rate, events):
    """Rates at the bin centres, continued to the energies of all events."""
    return point_rate(continue_to_events(rate, events))


def predicted_by_us(rate, fovalign, events, geom):
    """Sum a rate per livetime over energy and time in small steps, in the pixels of a map."""
    sky = geom.to_image().get_coord().skycoord.icrs
    middle = (events.gti[0, 0] + events.gti[-1, 1]) / 2
    view = FieldOfView(events.ra_pnt, events.dec_pnt, events.mjdref + middle / 86400, events.site)
    axes = rate.axes
    centres = np.log(axes.energy_centers.value), axes.dety_centers.value, axes.detx_centers.value
    log_rate = RegularGridInterpolator(centres, np.log(rate.quantity.value), bounds_error=False, fill_value=None)
    edges = geom.axes["energy"].edges.to_value("TeV")
    fine = np.geomspace(edges[0], edges[-1], STEPS * (len(edges) - 1) + 1)
    middles, widths = np.log(fine[1:] * fine[:-1]) / 2, np.diff(fine) * 1e6
    # In RADEC, positions in the field of view do not change.
    steps = [np.linspace(start, stop, 31 if fovalign == "ALTAZ" else 2) for start, stop in events.gti]
    times = np.concatenate([(step[1:] + step[:-1]) / 2 for step in steps])
    weights = np.concatenate([np.diff(step) for step in steps]) / np.diff(events.gti).sum()
    total = 0
    for time, weight in zip(times, weights, strict=True):
        x, y = view.detxy(fovalign, sky.ra.deg.ravel(), sky.dec.deg.ravel(), np.full(sky.size, time - middle))
        inside = (axes.detx[0].value < x) & (x < axes.detx[-1].value) & (axes.dety[0].value < y) & (y < axes.dety[-1].value)
        rates = np.exp(log_rate((middles[:, None], y[None], x[None]))) * widths[:, None] * inside
        total = total + weight * rates.reshape(-1, STEPS, *sky.shape).sum(axis=1)
    return total * geom.to_image().solid_angle().to_value("sr") * events.livetime


@pytest.mark.parametrize("obs_id", [ORDINARY, DR1, GAPS])
@pytest.mark.parametrize("fovalign", ["ALTAZ", "RADEC"])
def test_prediction_of_simulated_runs(runs, tmp_path, fovalign, obs_id):
    """Gammapy predicts the counts of the models for simulated runs, in each frame and with gaps."""
    models = read_models(model_directory(tmp_path / "models", fovalign))
    attach(tmp_path / "models", runs, "GADF", tmp_path / "store", select=[obs_id], norm="model")
    observation = DataStore.from_dir(tmp_path / "store").obs(obs_id, required_irf=["aeff", "bkg"])
    events = read_event_list(open_runs(runs, "GADF").files(obs_id))
    rate = models.models[0].model.rate
    energy = MapAxis.from_energy_bounds("0.4 TeV", "40 TeV", nbin=5)
    pixels = {"skydir": observation.pointing.fixed_icrs, "binsz": 0.2, "proj": "TAN", "axes": [energy]}

    # Pixels that the field of view always covers; reflected or rotated predictions would differ clearly.
    inner = WcsGeom.create(width=2.8, **pixels)
    ours = predicted_by_us(rate_of_run(rate, events), fovalign, events, inner)
    theirs = predicted_by_gammapy(observation, inner)
    np.testing.assert_allclose(theirs.sum(axis=(1, 2)), ours.sum(axis=(1, 2)), rtol=0.003)
    np.testing.assert_allclose(theirs, ours, rtol=0.01)
    reflected = ours[:, :, ::-1]
    assert np.abs(reflected.sum(axis=1) - theirs.sum(axis=1)).max() > 0.1 * theirs.sum(axis=1).max()

    # The whole field of view with its edges, where the model is maximal.
    axes = CubeAxes(energy.edges, [-2, 3] * u.deg, [-4, 2] * u.deg)
    whole = predicted_rate(rate_of_run(rate, events), axes, "gammapy").ravel() * events.livetime
    theirs = predicted_by_gammapy(observation, WcsGeom.create(width=12, **pixels), oversampling=6)
    rotated = observation.bkg.fov_alignment != FoVAlignment[fovalign] and fovalign == "ALTAZ"
    np.testing.assert_allclose(theirs.sum(axis=(1, 2)), whole, rtol=0.01 if rotated else 0.005)
    expected = {ORDINARY: fovalign, DR1: "REVERSE_LON_RADEC", GAPS: "RADEC"}[obs_id]
    assert observation.bkg.fov_alignment == FoVAlignment[expected]


@pytest.mark.parametrize("obs_id", [ORDINARY, DR1, GAPS])
def test_prediction_with_radial_background(runs, tmp_path, obs_id):
    """In rings about the pointing, a radial background predicts the counts of an asymmetric model, and no azimuth."""
    parameters = {"trigger_rate": 200.0, "gradient_x": 0.12, "gradient_y": -0.06, "fovalign": "RADEC"}
    model = make_test_bg_cube_model(CubeAxes.regular(n_energy=20, n_fov=40), "75 deg", TrueModel(**parameters))
    (tmp_path / "models").mkdir()
    write_groups(ObservationGroups(), tmp_path / "models" / "bg_observation_groups.ecsv")
    write_model(model, tmp_path / "models" / "bg_cube_model_group27_table.fits.gz", {"ALT_PNT": 75.0, "AZ_PNT": 180.0})
    attach(tmp_path / "models", runs, "GADF", tmp_path / "store", select=[obs_id], kind="bkg_2d", norm="model")
    observation = DataStore.from_dir(tmp_path / "store").obs(obs_id, required_irf=["aeff", "bkg"])
    assert isinstance(observation.bkg, Background2D)
    assert observation.bkg.data.shape == (20, 61)
    energy = MapAxis.from_energy_bounds("0.4 TeV", "40 TeV", nbin=5)
    centre = observation.pointing.fixed_icrs
    geom = WcsGeom.create(skydir=centre, width=7, binsz=0.1, proj="TAN", axes=[energy])
    events = read_event_list(open_runs(runs, "GADF").files(obs_id))
    ours = predicted_by_us(rate_of_run(model.rate, events), "RADEC", events, geom)
    theirs = predicted_by_gammapy(observation, geom)
    ring = (geom.to_image().get_coord().skycoord.separation(centre).deg / 0.35).astype(int)
    for number in range(9):
        here = ring == number
        np.testing.assert_allclose(theirs[:, here].sum(axis=1), ours[:, here].sum(axis=1), rtol=0.01)
    np.testing.assert_allclose(theirs, theirs[:, ::-1, ::-1], rtol=1e-3)
    halves = ours[:, :, :35].sum(axis=(1, 2)) / ours[:, :, 35:].sum(axis=(1, 2))
    assert np.all(np.abs(np.log(halves)) > 0.3)  # our model is asymmetric


@pytest.mark.slow
@pytest.mark.parametrize(("fovalign", "creator"), [("ALTAZ", "SASH FITS::EventListWriter"), ("RADEC", "bgnb")])
def test_events_follow_the_prediction(tmp_path, fovalign, creator):
    """Events of a true model, binned by Gammapy, agree with the prediction of Gammapy."""
    parameters = {"trigger_rate": 200.0, "spectral_index": 1.5, "gradient_x": 0.3, "gradient_y": -0.15, "fovalign": fovalign}
    table = make_test_dataset(tmp_path / "in", n_runs=1, alt_range=(68, 72), az_range=(150, 160), **parameters)
    with changed_file(tmp_path / "in" / "data" / "run000001.fits.gz") as hdus:
        hdus["EVENTS"].header["CREATOR"], hdus["EVENTS"].header["HDUVERS"] = creator, "0.2"
    altitude, azimuth = float(table["ALT_PNT"][0]), float(table["AZ_PNT"][0])
    model = make_test_bg_cube_model(CubeAxes.regular(n_energy=20, n_fov=40), altitude * u.deg, TrueModel(**parameters))
    (tmp_path / "models").mkdir()
    write_groups(ObservationGroups(), tmp_path / "models" / "bg_observation_groups.ecsv")
    path = tmp_path / "models" / "bg_cube_model_group0_table.fits.gz"
    write_model(model, path, {"ALT_PNT": altitude, "AZ_PNT": azimuth})
    attach(tmp_path / "models", tmp_path / "in", "GADF", tmp_path / "store", norm="model")
    observation = DataStore.from_dir(tmp_path / "store").obs(1, required_irf=["aeff", "bkg"])
    energy = MapAxis.from_energy_bounds("0.2 TeV", "20 TeV", nbin=6)
    geom = WcsGeom.create(skydir=observation.pointing.fixed_icrs, width=6, binsz=0.2, proj="TAN", axes=[energy])
    empty = MapDataset.create(
        geom, energy_axis_true=MapAxis.from_energy_bounds("0.1 TeV", "100 TeV", nbin=3, name="energy_true")
    )
    dataset = MapDatasetMaker(selection=["counts", "background"], background_oversampling=6).run(empty, observation)
    counts, expected = dataset.counts.data, dataset.background.data
    n = counts.sum(axis=(1, 2))
    np.testing.assert_array_less(np.abs(n - expected.sum(axis=(1, 2))), 4 * np.sqrt(n) + 1)
    y, x = np.indices(counts.shape[1:]) - (counts.shape[1] - 1) / 2
    for coordinate in (x, y):
        error = np.sqrt((expected * coordinate**2).sum())
        found, predicted = (counts * coordinate).sum() / error, (expected * coordinate).sum() / error
        assert abs(found - predicted) < 4
    dipole = np.hypot(*((expected * coordinate).sum() for coordinate in (x, y))) / error
    assert dipole > 20  # a reflection or a rotation by 90 deg would be detected


def test_prediction_of_real_runs(hess_data, tmp_path):
    """Gammapy predicts the counts of the models for runs of H.E.S.S., and the runs are unchanged."""
    runs = open_runs(hess_data, "GADF")
    objects = [name.strip() for name in runs.table["OBJECT"].tolist()]
    off = [obs_id for obs_id, name in zip(runs.obs_ids, objects, strict=True) if name not in ("Crab Nebula", "PKS 2155-304")]
    make_bg_cube_models(hess_data, "GADF", tmp_path / "models", select=off, n_energy=6, n_fov=40, method="classic")
    before = digests_and_times(hess_data)
    selected = [23523, 47829]
    report = attach(tmp_path / "models", hess_data, "GADF", tmp_path / "store", select=selected, norm="model")
    assert digests_and_times(hess_data) == before
    models = read_models(tmp_path / "models")
    energy = MapAxis.from_energy_bounds("0.5 TeV", "50 TeV", nbin=6)
    observations = DataStore.from_dir(tmp_path / "store").get_observations()
    assert [observation.obs_id for observation in observations] == report.obs_ids == selected
    for observation in observations:
        events = read_event_list(runs.files(observation.obs_id))
        rate = rate_of_run(interpolable_rate(models.mean_rate_for(events).rate), events)
        assert events.livetime < 0.97 * np.diff(events.gti).sum()  # a rate per livetime would differ
        geom = WcsGeom.create(skydir=observation.pointing.fixed_icrs, width=5, binsz=0.2, proj="TAN", axes=[energy])
        ours = predicted_by_us(rate, "ALTAZ", events, geom)
        theirs = predicted_by_gammapy(observation, geom)
        np.testing.assert_allclose(theirs.sum(axis=(1, 2)), ours.sum(axis=(1, 2)), rtol=0.003)
        np.testing.assert_allclose(theirs, ours, rtol=0.03)

        axes = CubeAxes(energy.edges, rate.axes.dety[[0, -1]], rate.axes.detx[[0, -1]])
        whole = predicted_rate(rate, axes, "gammapy").ravel() * events.livetime
        geom = WcsGeom.create(skydir=observation.pointing.fixed_icrs, width=12, binsz=0.2, proj="TAN", axes=[energy])
        np.testing.assert_allclose(predicted_by_gammapy(observation, geom).sum(axis=(1, 2)), whole, rtol=0.01)


@pytest.mark.parametrize("gti", GTIS)
def test_prediction_follows_the_altitude(tmp_path, monkeypatch, gti):
    """Gammapy predicts the counts of a true model that changes with altitude, for a run that drifts by 15 deg."""
    monkeypatch.setattr("bgnb.gammapy.attach.read_all_models", lambda _: {ALL_RUNS: drifting_models()})
    indir = write_gadf(tmp_path / "in", [drifting_run(1, GTIS[gti])])
    attach(tmp_path / "models", indir, "GADF", tmp_path / "store", on_error="fail", norm="model")
    stored = DataStore.from_dir(tmp_path / "store").obs(1, required_irf=["bkg"])
    location = EarthLocation.from_geodetic(SITE["GEOLON"], SITE["GEOLAT"], SITE["ALTITUDE"])
    observation = Observation(bkg=stored.bkg, gti=stored.gti, pointing=stored.pointing, location=location)
    energy = MapAxis.from_energy_edges(DRIFT_AXES.energy)
    geom = WcsGeom.create(skydir=observation.pointing.fixed_icrs, width=13, binsz=0.2, proj="TAN", axes=[energy])
    events = read_event_list(open_runs(indir, "GADF").files(1))
    expected, of_middle = (rate.sum(axis=(1, 2)) * events.livetime for rate in expected_rates(events))
    found = MapDatasetMaker(background_oversampling=6).make_background(geom, observation).data.sum(axis=(1, 2))
    np.testing.assert_allclose(found, expected, rtol=0.01)
    assert np.abs(of_middle / expected - 1).max() > 0.1


@pytest.fixture(scope="module")
def real_store(hess_data, tmp_path_factory):
    """Attach models to all runs of H.E.S.S.; return the models, the data store and the report."""
    folder = tmp_path_factory.mktemp("real")
    model_directory(folder / "models")
    return folder / "models", folder / "store", attach(folder / "models", hess_data, "GADF", folder / "store")


@pytest.mark.slow
def test_gammapy_opens_all_runs(hess_data, real_store, caplog):
    """Gammapy opens all runs without warnings; all but the backgrounds is read from the original files."""
    _, path, report = real_store
    store, original = DataStore.from_dir(path), DataStore.from_dir(hess_data)
    assert len(report.obs_ids) == 40
    assert report.call == "get_observations()"
    assert store.obs_table["OBS_ID"].tolist() == report.obs_ids
    assert store.obs_table.colnames == original.obs_table.colnames
    for obs_id in report.obs_ids[::13]:
        ours, theirs = store.obs(obs_id), original.obs(obs_id)
        assert len(ours.events.table) == len(theirs.events.table)
        for part in ("aeff", "edisp", "psf"):
            np.testing.assert_array_equal(getattr(ours, part).data, getattr(theirs, part).data)
        assert ours.bkg.data.shape != theirs.bkg.data.shape
    assert not [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")]


@pytest.mark.slow
def test_gammapy_opens_single_files(hess_data, real_store, tmp_path, caplog):
    """Gammapy opens runs without an index as with one: events, responses, backgrounds, livetime and reference time."""
    models, path, gadf = real_store
    report = attach(models, hess_data / "data", "FILES", tmp_path / "files")
    assert report.call == "get_observations()"
    assert report.runs == gadf.runs
    index, files = DataStore.from_dir(path), DataStore.from_dir(tmp_path / "files")
    observations = files.get_observations()
    assert [int(obs_id) for obs_id in observations.ids] == report.obs_ids == index.obs_table["OBS_ID"].tolist()
    assert files.obs_table.time_ref == index.obs_table.time_ref
    for obs_id in report.obs_ids[::13]:
        one, other = index.obs(obs_id), files.obs(obs_id)
        assert one.observation_live_time_duration == other.observation_live_time_duration
        assert one.events.table.meta == other.events.table.meta
        np.testing.assert_array_equal(one.events.table["ENERGY"], other.events.table["ENERGY"])
        for part in ("aeff", "edisp", "psf", "bkg"):
            np.testing.assert_array_equal(getattr(one, part).data, getattr(other, part).data)
    assert not [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")]


@pytest.mark.parametrize("simulated", [True, False])
def test_gammapy_opens_scheme_hess(tmp_path, simulated):
    """Gammapy opens runs of scheme HESS as the report advises."""
    if simulated:
        make_test_dataset(tmp_path / "in", "HESS", n_runs=2, trigger_rate=1.0)
    else:
        write_hess(tmp_path / "in", [run(obs_id, 100) for obs_id in (1, 2)])
    model_directory(tmp_path / "models")
    report = attach(tmp_path / "models", tmp_path / "in", "HESS", tmp_path / "store")
    assert 'get_observations(required_irf=["aeff", "bkg"])' in str(report)
    store = DataStore.from_dir(tmp_path / "store")
    observations = store.get_observations(required_irf=["aeff", "bkg"])
    assert [observation.obs_id for observation in observations] == [1, 2]
    for observation in observations:
        assert observation.bkg.data.shape[1:] == (9, 7)
        assert observation.gti.time_sum.to_value("s") == pytest.approx(1800 if simulated else 1680)
        assert store.hdu_table["FILE_DIR"][0].startswith("../in/")
