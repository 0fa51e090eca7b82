"""Comparison with Gammapy: files, field of view coordinates and predicted counts.

These tests run in a separate environment, because Gammapy 2.1 needs older versions of astropy
and regions (``make test`` creates it).
"""

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import AltAz, EarthLocation, SkyCoord
from astropy.time import Time

pytest.importorskip("gammapy", reason="Gammapy needs a separate environment: make test-gammapy")
from gammapy.data import DataStore, FixedPointingInfo
from gammapy.datasets import MapDataset
from gammapy.irf import Background2D, Background3D, FoVAlignment
from gammapy.makers import MapDatasetMaker
from gammapy.makers.utils import make_map_background_irf
from gammapy.maps import MapAxis, WcsGeom
from gammapy.utils.coordinates import FoVAltAzFrame, FoVICRSFrame

from bgnb import (
    CubeAxes,
    TrueModel,
    make_bg_cube_models,
    make_test_bg_cube_model,
    make_test_dataset,
    open_runs,
    read_event_list,
    read_model,
    write_background_2d,
    write_model,
)
from bgnb.cubes.prediction import point_rate
from bgnb.cubes.radial import radial_mean
from bgnb.gammapy import to_irf
from bgnb.observations.coordinates import FieldOfView, Site
from tests.helpers.files import changed_file
from tests.helpers.models import AXES, asymmetric_model
from tests.helpers.run_files import run, write_gadf

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of Gammapy and its dependencies
    pytest.mark.filterwarnings("ignore::UserWarning"),
]
SITE = Site(16.5002222, -23.2717778, 1835.0)
LOCATION = EarthLocation(lon=SITE.lon * u.deg, lat=SITE.lat * u.deg, height=SITE.height * u.m)


@pytest.mark.parametrize("fovalign", ["ALTAZ", "RADEC"])
def test_gammapy_reads_asymmetric_model(tmp_path, fovalign):
    """Gammapy reads frame, unit, axes and rates of an asymmetric model."""
    model = asymmetric_model(fovalign)
    write_model(model, tmp_path / "m.fits.gz")
    theirs = Background3D.read(tmp_path / "m.fits.gz", hdu="BACKGROUND")
    assert theirs.fov_alignment == FoVAlignment[fovalign]
    assert theirs.unit == u.Unit("s-1 MeV-1 sr-1")
    for ie, iy, ix in np.ndindex(AXES.shape):
        value = theirs.evaluate(energy=AXES.energy_centers[ie], fov_lon=AXES.detx_centers[ix], fov_lat=AXES.dety_centers[iy])
        expected = model.rate.quantity[ie, iy, ix].value * model.live_fraction
        assert value.to_value("MeV-1 s-1 sr-1") == pytest.approx(expected, rel=1e-6, abs=0)


def test_gammapy_reads_radial_background(tmp_path):
    """Gammapy reads the means over the azimuth that bgnb writes, per ontime."""
    model = asymmetric_model()
    write_background_2d(model, tmp_path / "m.fits.gz")
    theirs = Background2D.read(tmp_path / "m.fits.gz", hdu="BACKGROUND")
    theta, values = radial_mean(model.rate)
    np.testing.assert_allclose(theirs.axes["offset"].edges.to_value("deg"), theta.value)
    np.testing.assert_allclose(theirs.quantity.to_value("MeV-1 s-1 sr-1"), values.value * model.live_fraction, rtol=1e-6)


@pytest.mark.parametrize("n_fov", [10, 41])
def test_radial_background_ends_at_the_field_of_view(n_fov):
    """Gammapy repeats the last ring of a radial background; bgnb's is so narrow that this adds nothing."""
    axes = CubeAxes.regular(n_energy=8, n_fov=n_fov, fov_max=2 * u.deg)
    rate = make_test_bg_cube_model(axes, "70 deg", TrueModel(sigma=3.0)).rate
    geom = WcsGeom.create(width=6, binsz=0.1, axes=[MapAxis.from_energy_edges(axes.energy)])
    pointing = FixedPointingInfo(fixed_icrs=geom.center_skydir)
    time = {"ontime": 100 * u.s, "time_start": Time("2020-01-01")}
    background = to_irf(point_rate(rate), kind="bkg_2d").pad(1, mode="edge", axis_name="offset")  # as MapDatasetMaker does
    predicted = make_map_background_irf(pointing, bkg=background, geom=geom, oversampling=10, **time).data
    offset = geom.to_image().separation(geom.center_skydir).deg
    assert predicted[:, offset > 2.1].sum() == 0
    cubes = make_map_background_irf(pointing, bkg=to_irf(point_rate(rate), "RADEC"), geom=geom, oversampling=10, **time).data
    inside = (offset > 0.1) & (offset < 1.9)  # pixels at the centre and at the edge depend on the way Gammapy integrates
    expected = np.where(inside, cubes, 0).sum(axis=(1, 2))
    np.testing.assert_allclose(np.where(inside, predicted, 0).sum(axis=(1, 2)), expected, rtol=0.002)
    np.testing.assert_allclose(predicted.sum(axis=(1, 2)), np.where(offset <= 2, cubes, 0).sum(axis=(1, 2)), rtol=0.01)


def test_prediction_from_model_file(tmp_path):
    """Read from a model file, Gammapy predicts the counts of the runs from which the model was made, dead times included."""
    table = make_test_dataset(
        tmp_path / "in",
        n_runs=2,
        trigger_rate=60.0,
        spectral_index=1.5,
        gradient_x=0.3,
        alt_range=(67, 69),
        az_range=(150, 160),
    )
    with changed_file(tmp_path / "in" / "data" / "run000002.fits.gz") as hdus:  # another dead time
        hdus["EVENTS"].header["LIVETIME"], hdus["EVENTS"].header["DEADC"] = 900.0, 0.5
    arguments = {"select": "all", "method": "classic", "n_energy": 30, "n_fov": 40}
    report = make_bg_cube_models(tmp_path / "in", "GADF", tmp_path / "models", **arguments)
    (group,) = report.groups
    background = Background3D.read(tmp_path / "models" / group.files[0], hdu="BACKGROUND")
    expected = {"TIMEBASE": "ONTIME", "DEADC": 2400 / 3600, "ONTIME": 3600, "LIVETIME": 2400}
    assert {name: background.meta[name] for name in expected} == pytest.approx(expected)
    assert background.meta["ALT_PNT"] == pytest.approx(90 - background.meta["ZEN_PNT"])
    assert table["ALT_PNT"].min() < background.meta["ALT_PNT"] < table["ALT_PNT"].max()
    energy = MapAxis.from_energy_bounds("0.2 TeV", "5 TeV", nbin=3)
    counts, predicted = 0, 0
    for observation in DataStore.from_dir(tmp_path / "in").get_observations(required_irf=["aeff"]):
        observation.bkg = background
        geom = WcsGeom.create(skydir=observation.pointing.fixed_icrs, width=12, binsz=0.2, proj="TAN", axes=[energy])
        dataset = MapDatasetMaker(selection=["counts", "background"], background_oversampling=5).run(
            MapDataset.create(geom, energy_axis_true=energy.copy(name="energy_true")), observation
        )
        inside = geom.separation(observation.pointing.fixed_icrs) < 4 * u.deg
        counts = counts + (dataset.counts.data * inside).sum(axis=(1, 2))
        predicted = predicted + (dataset.background.data * inside).sum(axis=(1, 2))
    np.testing.assert_allclose(predicted.sum(), counts.sum(), rtol=0.015)
    np.testing.assert_allclose(predicted, counts, rtol=0.03)


def test_gammapy_reads_equal_axes(tmp_path):
    """Gammapy reads models with equal numbers of bins in energy, DETX and DETY, whose order is ambiguous."""
    indir = write_gadf(tmp_path / "in", [run(obs_id, 400) for obs_id in (2, 3)])
    report = make_bg_cube_models(indir, "GADF", tmp_path / "out", select="all", n_energy=8, n_fov=8)
    assert_evaluates_to_ours(tmp_path / "out", report)


@pytest.mark.slow
def test_gammapy_reads_real_models(hess_data, tmp_path):
    """Gammapy reads all models made from runs of H.E.S.S."""
    report = make_bg_cube_models(hess_data, "GADF", tmp_path / "out", select="all", n_energy=8, n_fov=12)
    assert len(report.groups) == 18
    assert_evaluates_to_ours(tmp_path / "out", report)


def assert_evaluates_to_ours(directory, report):
    """Assert that Gammapy evaluates the rates of all models."""
    for group in report.groups:
        ours = read_model(directory / group.files[0])
        theirs = Background3D.read(directory / group.files[0], hdu="BACKGROUND")
        n_energy, n_dety, n_detx = ours.axes.shape
        for ie, iy, ix in [(1, n_dety // 4, n_detx - 3), (n_energy // 2, n_dety - 2, n_detx // 3), (n_energy - 2, 2, 5)]:
            value = theirs.evaluate(
                energy=ours.axes.energy_centers[ie],
                fov_lon=ours.axes.detx_centers[ix],
                fov_lat=ours.axes.dety_centers[iy],
            )
            expected = ours.rate.quantity[ie, iy, ix].value * ours.live_fraction
            assert value.to_value("MeV-1 s-1 sr-1") == pytest.approx(expected, rel=1e-6, abs=0)
            assert value > 0


def test_field_of_view_frames_agree():
    """DETX and DETY agree in sign and rotation with the field of view frames of Gammapy."""
    time = Time(53343.93, format="mjd", scale="tt")
    view = FieldOfView(83.6, 21.5, time.mjd, SITE)
    pointing, event = SkyCoord(83.6 * u.deg, 21.5 * u.deg), SkyCoord(85.0 * u.deg, 22.1 * u.deg)

    theirs = event.transform_to(FoVICRSFrame(origin=pointing.icrs))
    detx, dety = view.detxy_radec(np.array([85.0]), np.array([22.1]))
    assert (theirs.fov_lon.wrap_at("180d").deg, theirs.fov_lat.deg) == pytest.approx((detx[0], dety[0]), abs=1e-6)

    altaz = AltAz(obstime=time, location=LOCATION)
    frame = FoVAltAzFrame(origin=pointing.transform_to(altaz), obstime=time, location=LOCATION)
    theirs = event.transform_to(altaz).transform_to(frame)
    detx, dety = view.detxy_altaz(np.array([85.0]), np.array([22.1]), np.zeros(1))
    assert (theirs.fov_lon.wrap_at("180d").deg, theirs.fov_lat.deg) == pytest.approx((detx[0], dety[0]), abs=1e-4)


@pytest.mark.parametrize("fovalign", ["ALTAZ", "RADEC"])
def test_gammapy_projects_to_the_sky(tmp_path, fovalign):
    """Gammapy projects an asymmetric model on the sky as the transform of bgnb does."""
    model = asymmetric_model(fovalign)
    write_model(model, tmp_path / "m.fits.gz")
    irf = Background3D.read(tmp_path / "m.fits.gz", hdu="BACKGROUND")
    start, duration = Time(53343.92, format="mjd", scale="tt"), 60 * u.s
    pointing = SkyCoord(83.6 * u.deg, 21.5 * u.deg)
    energy = MapAxis.from_energy_bounds("2 TeV", "10 TeV", nbin=40)
    geom = WcsGeom.create(skydir=pointing, width=5, binsz=0.1, axes=[energy])
    info = FixedPointingInfo(fixed_icrs=pointing.icrs)
    predicted = make_map_background_irf(info, duration, irf, geom, start, location=LOCATION).data.sum(axis=0)

    sky = geom.to_image().get_coord().skycoord
    view = FieldOfView(83.6, 21.5, start.mjd, SITE)
    seconds = np.full(sky.size, duration.value / 2)
    detx, dety = view.detxy(fovalign, sky.ra.deg.ravel(), sky.dec.deg.ravel(), seconds)
    centre = (AXES.detx_centers[0].value + 0.1 < detx) & (detx < AXES.detx_centers[-1].value - 0.1)
    centre &= (AXES.dety_centers[0].value + 0.1 < dety) & (dety < AXES.dety_centers[-1].value - 0.1)
    energies = np.geomspace(2, 10, 200) * u.TeV
    rates = irf.evaluate(energy=energies[:, None], fov_lon=detx[centre][None] * u.deg, fov_lat=dety[centre][None] * u.deg)
    ours = np.trapezoid(rates, energies[:, None], axis=0) * duration
    ours = (ours * geom.to_image().solid_angle().ravel()[centre]).to_value("")
    assert centre.sum() > 500
    np.testing.assert_allclose(predicted.ravel()[centre], ours, rtol=0.001)


def test_gammapy_overrides_frame_of_dr1(hess_data, tmp_path):
    """Gammapy overrides FOVALIGN for events of the H.E.S.S. DR1 writer, which attach relies on."""
    observation = DataStore.from_dir(hess_data).obs(23523)
    write_model(asymmetric_model("ALTAZ"), tmp_path / "m.fits.gz")
    observation.bkg = Background3D.read(tmp_path / "m.fits.gz", hdu="BACKGROUND")
    assert observation.bkg.fov_alignment == FoVAlignment.REVERSE_LON_RADEC


def test_gammapy_reads_test_runs(tmp_path):
    """Gammapy reads the same events of the runs of these tests as bgnb."""
    indir = write_gadf(tmp_path / "in", [run(2, 100)])
    theirs = DataStore.from_dir(indir).obs(2, required_irf=[])
    runs = open_runs(indir, "GADF")
    assert len(theirs.events.table) == 100
    assert theirs.events.table["ENERGY"].quantity.to_value("TeV").sum() == pytest.approx(
        read_event_list(runs.files(2)).energy.sum()
    )


def test_gammapy_opens_simulated_runs(tmp_path, caplog):
    """Gammapy opens simulated runs without warnings, and reads times, pointings and thresholds."""
    table = make_test_dataset(tmp_path / "set", n_runs=2, trigger_rate=2.0)
    store = DataStore.from_dir(tmp_path / "set")
    observations = store.get_observations(required_irf=["aeff"])
    assert [observation.obs_id for observation in observations] == [1, 2]
    for row, observation in zip(table, observations, strict=True):
        assert len(observation.events.table) == row["EVENT_COUNT"]
        assert observation.observation_live_time_duration.to_value("s") == pytest.approx(1500)
        pointing = observation.get_pointing_icrs(observation.tmid)
        assert (pointing.ra.deg, pointing.dec.deg) == pytest.approx((row["RA_PNT"], row["DEC_PNT"]))
        altaz = observation.get_pointing_altaz(observation.tmid)
        assert altaz.alt.deg == pytest.approx(row["ALT_PNT"], abs=0.01)
        assert observation.aeff.meta["LO_THRES"] == 0.1
        assert observation.gti.time_sum.to_value("s") == pytest.approx(1800)
    assert not [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")]
