"""Gammapy as the authority: it reads our files, sees our field of view, predicts our counts.

These tests run in an environment of their own, because Gammapy 2.1 needs older versions
of astropy and regions (``make test`` makes it).
"""

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import AltAz, EarthLocation, SkyCoord
from astropy.time import Time

pytest.importorskip("gammapy", reason="Gammapy needs an environment of its own: make test-gammapy")
from gammapy.data import DataStore, FixedPointingInfo
from gammapy.irf import Background3D, FoVAlignment
from gammapy.makers.utils import make_map_background_irf
from gammapy.maps import MapAxis, WcsGeom
from gammapy.utils.coordinates import FoVAltAzFrame, FoVICRSFrame

from bgnb import make_bg_cube_models, make_test_dataset, open_runs, read_event_list, read_model, write_model
from bgnb.observations.coordinates import FieldOfView, Site
from tests.helpers.models import AXES, lopsided_model
from tests.helpers.run_files import run, write_gadf

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of Gammapy's and its dependencies' own code
    pytest.mark.filterwarnings("ignore::UserWarning"),
]
SITE = Site(16.5002222, -23.2717778, 1835.0)
LOCATION = EarthLocation(lon=SITE.lon * u.deg, lat=SITE.lat * u.deg, height=SITE.height * u.m)


@pytest.mark.parametrize("fovalign", ["ALTAZ", "RADEC"])
def test_gammapy_reads_a_lopsided_model_rightly(tmp_path, fovalign):
    model = lopsided_model(fovalign)
    write_model(model, tmp_path / "m.fits.gz")
    theirs = Background3D.read(tmp_path / "m.fits.gz", hdu="BACKGROUND")
    assert theirs.fov_alignment == FoVAlignment[fovalign]
    assert theirs.unit == u.Unit("s-1 MeV-1 sr-1")
    for ie, iy, ix in np.ndindex(AXES.shape):
        value = theirs.evaluate(energy=AXES.energy_centers[ie], fov_lon=AXES.detx_centers[ix], fov_lat=AXES.dety_centers[iy])
        assert value.to_value("MeV-1 s-1 sr-1") == pytest.approx(model.rate.quantity[ie, iy, ix].value, rel=1e-6, abs=0)


def test_gammapy_reads_every_file_of_a_square_production(tmp_path):
    indir = write_gadf(tmp_path / "in", [run(obs_id, 400) for obs_id in (2, 3)])
    # As many bins in energy as in the field of view: the case in which an axis order could be guessed wrongly.
    report = make_bg_cube_models(indir, "GADF", tmp_path / "out", select="all", n_energy=8, n_fov=8)
    assert_evaluates_to_ours(tmp_path / "out", report)


def test_gammapy_reads_every_file_made_from_real_runs(hess_data, tmp_path):
    report = make_bg_cube_models(hess_data, "GADF", tmp_path / "out", select="all")
    assert len(report.groups) == 14
    assert_evaluates_to_ours(tmp_path / "out", report)


def assert_evaluates_to_ours(directory, report):
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
            assert value.to_value("MeV-1 s-1 sr-1") == pytest.approx(ours.rate.quantity[ie, iy, ix].value, rel=1e-6, abs=0)
            assert value > 0


def test_gammapy_sees_the_same_field_of_view():
    """Sign and rotation: Gammapy's own FoV frames against ours."""
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
def test_gammapy_predicts_our_counts_on_the_sky(tmp_path, fovalign):
    """A lopsided model, projected on the sky by Gammapy, peaks where our transform puts the peak."""
    model = lopsided_model(fovalign)
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


def test_gammapy_relabels_the_frame_of_models_on_hess_dr1_runs(hess_data, tmp_path):
    """Known trap: for events by the H.E.S.S. DR1 writer, Gammapy overrides FOVALIGN."""
    observation = DataStore.from_dir(hess_data).obs(23523)
    write_model(lopsided_model("ALTAZ"), tmp_path / "m.fits.gz")
    observation.bkg = Background3D.read(tmp_path / "m.fits.gz", hdu="BACKGROUND")
    assert observation.bkg.fov_alignment == FoVAlignment.REVERSE_LON_RADEC


def test_our_test_runs_open_in_gammapy_and_hold_the_same_events(tmp_path):
    indir = write_gadf(tmp_path / "in", [run(2, 100)])
    theirs = DataStore.from_dir(indir).obs(2, required_irf=[])
    runs = open_runs(indir, "GADF")
    assert len(theirs.events.table) == 100
    assert theirs.events.table["ENERGY"].quantity.to_value("TeV").sum() == pytest.approx(
        read_event_list(runs.files(2)).energy.sum()
    )


def test_simulated_runs_open_in_gammapy_without_complaint(tmp_path, caplog):
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
