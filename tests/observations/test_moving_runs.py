"""Runs that do not track a position: pieces with their own pointings."""

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import AltAz, EarthLocation, SkyCoord, SkyOffsetFrame
from astropy.io import fits
from astropy.table import Table
from astropy.time import Time

from bgnb import make_models, open_runs, read_event_list
from bgnb.observations.event_reader import read_pieces
from tests.helpers.errors import raises
from tests.helpers.files import changed_file
from tests.helpers.run_files import MJDREF, ONTIME, SITE, TSTART, run, write_gadf
from tests.helpers.time_limit import time_limit

ALTITUDE, AZIMUTH, N_EVENTS = 70.0, 130.0, 2000
SMALL = {"select": "all", "method": "unsmoothed", "n_energy": 4, "n_fov": 10, "fov_max": 5 * u.deg}


def drift_run(obs_id, mode="DRIFT", *, tracks=False, altitude=ALTITUDE):
    """Make events around a fixed altitude and azimuth, by Astropy; or around a fixed position."""
    rng = np.random.default_rng(obs_id)
    time = np.sort(rng.uniform(TSTART, TSTART + ONTIME, N_EVENTS))
    at = Time(MJDREF + (np.full(N_EVENTS, TSTART + ONTIME / 2) if tracks else time) / 86400, format="mjd", scale="tt")
    location = EarthLocation(lon=SITE["GEOLON"] * u.deg, lat=SITE["GEOLAT"] * u.deg, height=SITE["ALTITUDE"] * u.m)
    pointing = SkyCoord(AZIMUTH * u.deg, altitude * u.deg, frame=AltAz(obstime=at, location=location))
    x, y = rng.normal(0.6, 1.0, N_EVENTS), rng.normal(-0.3, 0.8, N_EVENTS)
    frame = SkyOffsetFrame(origin=SkyCoord(AZIMUTH * u.deg, altitude * u.deg))
    offset = SkyCoord(x * u.deg, y * u.deg, frame=frame).transform_to(SkyCoord(0 * u.deg, 0 * u.deg).frame)
    sky = SkyCoord(offset.ra, offset.dec, frame=pointing.frame.replicate_without_data()).icrs
    middle = pointing[N_EVENTS // 2].icrs
    events = {"TIME": time, "RA": sky.ra.deg, "DEC": sky.dec.deg, "ENERGY": 0.5 * rng.uniform(0, 1, N_EVENTS) ** (-1 / 1.7)}
    stated = {"RA_PNT": middle.ra.deg, "DEC_PNT": middle.dec.deg, "ALT_PNT": altitude, "AZ_PNT": AZIMUTH}
    # DETX increases against azimuth.
    return run(obs_id, 1, events=events, OBS_MODE=mode, threshold=None, **stated), -x, y


@pytest.mark.parametrize("altitude", [70.0, 89.97, 90.0])
def test_drift_runs_are_cut_into_pieces(tmp_path, altitude):
    """Events of a run at fixed altitude and azimuth have their true DETX and DETY, also at the zenith."""
    parts, x, y = drift_run(2, altitude=altitude)
    files = open_runs(write_gadf(tmp_path / "in", [parts]), "GADF").files(2)
    pieces = read_pieces(files)
    assert len(pieces) == 84
    assert sum(len(piece) for piece in pieces) == N_EVENTS
    assert sum(piece.livetime for piece in pieces) == pytest.approx(1502, abs=1e-6)
    found = np.concatenate([np.stack(piece.detxy("ALTAZ")) for piece in pieces], axis=1)
    np.testing.assert_allclose(found, [x, y], atol=1e-3)
    assert all("--sources mask" in "; ".join(piece.notes) for piece in pieces)
    np.testing.assert_allclose([piece.mean_pointing for piece in pieces], [(altitude, AZIMUTH)] * 84, atol=1e-9)
    with raises("unsupported-mode", "DRIFT", "models"):
        read_event_list(files)


def test_drift_runs_need_no_position_on_the_sky(tmp_path):
    """GADF requires RA_PNT and DEC_PNT of other runs only; those of drift runs are computed for the middle of the run."""
    indir = write_gadf(tmp_path / "in", [drift_run(2)[0]])
    stated = open_runs(indir, "FILES")
    with changed_file(indir / "data" / "run2.fits.gz") as hdus:
        for name in ("RA_PNT", "DEC_PNT"):
            del hdus["EVENTS"].header[name]
    found = open_runs(indir, "FILES")
    for name in ("RA_PNT", "DEC_PNT", "ALT_PNT", "AZ_PNT"):
        assert found.table[name][0] == pytest.approx(stated.table[name][0], abs=0.02)
    assert len(read_pieces(found.files(2))) == 84


def test_models_of_drift_runs(tmp_path):
    """All events and the whole livetime of drift runs enter the models, in a single group."""
    indir = write_gadf(tmp_path / "in", [drift_run(obs_id)[0] for obs_id in (2, 3)])
    production = make_models(indir, "GADF", energy_min="0.4 TeV", **SMALL)
    (group,) = production.report.groups
    _, x, y = drift_run(2)
    _, x3, y3 = drift_run(3)
    edges = np.linspace(-5, 5, 11)
    expected = np.histogram2d(np.r_[y, y3], np.r_[x, x3], (edges, edges))[0]
    counts = production.models.models[0].model.stack.counts.sum(axis=0)
    assert group.n_runs == 2
    assert group.livetime_s == pytest.approx(1502 + 1503, abs=1e-5)
    assert abs(counts.sum() - expected.sum()) <= 20
    assert np.abs(counts - expected).sum() < 0.08 * expected.sum()


def test_tracking_runs_are_not_drift(tmp_path):
    """A run that states DRIFT although its events are around one position is refused."""
    files = open_runs(write_gadf(tmp_path / "in", [drift_run(2, tracks=True)[0]]), "GADF").files(2)
    with raises("unsupported-mode", "run2.fits.gz", "events move"):
        read_pieces(files)


def test_drift_of_many_days_is_refused(tmp_path):
    """A run of which the times are hardly in seconds is not cut into many pieces."""
    indir = write_gadf(tmp_path / "in", [drift_run(2)[0]])
    with changed_file(indir / "data" / "run2.fits.gz") as hdus:
        hdus["EVENTS"].data["TIME"] = TSTART + (hdus["EVENTS"].data["TIME"] - TSTART) * 1e4
        hdus["GTI"].data["STOP"] = TSTART + ONTIME * 1e4
        header = hdus["EVENTS"].header
        header.update({name: header[name] * 1e4 for name in ("ONTIME", "LIVETIME") if name in header})
        header["TSTOP"] = TSTART + ONTIME * 1e4
    with raises("inconsistent-times", "run2.fits.gz", "are all times in seconds?"), time_limit():
        read_pieces(open_runs(indir, "GADF").files(2))


def test_altitude_of_drift_runs_is_an_angle(tmp_path):
    """A drift run whose ALT_PNT is not an altitude is refused."""
    indir = write_gadf(tmp_path / "in", [drift_run(2)[0]])
    with changed_file(indir / "data" / "run2.fits.gz") as hdus:
        hdus["EVENTS"].header["ALT_PNT"] = 110.0
    with raises("bad-position", "run2.fits.gz", "ALT_PNT = 110"):
        read_pieces(open_runs(indir, "GADF").files(2))


@pytest.mark.parametrize(("shift", "pointing"), [(0.0, "auto"), (0.5, "auto"), (0.05, "computed")])
def test_drift_runs_with_positions(tmp_path, shift, pointing):
    """Positions in HDU POINTING are used only if they contradict altitude and azimuth of the header, or these are ignored."""
    parts, _, y = drift_run(2, altitude=90.0)
    path = write_gadf(tmp_path / "in", [parts]) / "data" / "run2.fits.gz"
    add_positions(path, altitude=90 - shift)
    pieces = read_pieces(open_runs(tmp_path / "in", "GADF", pointing=pointing).files(2))
    found = np.concatenate([np.stack(piece.detxy("ALTAZ")) for piece in pieces], axis=1)
    np.testing.assert_allclose(found[1].mean(), y.mean() + shift, atol=0.05)
    for piece in pieces:
        assert piece.mean_pointing == pytest.approx((90 - shift, AZIMUTH), abs=1e-9 if shift == 0 else 0.1)
        assert (piece.drift_altaz is None) == (shift > 0)


def add_positions(path, altitude=ALTITUDE):
    """Add HDU POINTING with the positions of a fixed altitude and azimuth."""
    location = EarthLocation(lon=SITE["GEOLON"] * u.deg, lat=SITE["GEOLAT"] * u.deg, height=SITE["ALTITUDE"] * u.m)
    time = TSTART + np.linspace(0, ONTIME, 30)
    at = Time(MJDREF + time / 86400, format="mjd", scale="tt")
    sky = SkyCoord(AZIMUTH * u.deg, altitude * u.deg, frame=AltAz(obstime=at, location=location)).icrs
    pointings = fits.table_to_hdu(Table({"TIME": time * u.s, "RA_PNT": sky.ra.deg * u.deg, "DEC_PNT": sky.dec.deg * u.deg}))
    pointings.name = "POINTING"
    with fits.open(path) as hdus:
        fits.HDUList([*hdus, pointings]).writeto(path, overwrite=True)


def test_raster_runs_need_pointings(tmp_path):
    """A raster run is cut into pieces with the positions of HDU POINTING, and refused without them."""
    indir = write_gadf(tmp_path / "in", [drift_run(2, mode="RASTER")[0]])
    with raises("unsupported-mode", "RASTER"):
        read_pieces(open_runs(indir, "GADF").files(2))
    path = indir / "data" / "run2.fits.gz"
    add_positions(path)
    pieces = read_pieces(open_runs(indir, "GADF").files(2))
    with changed_file(path) as hdus:  # a minute too short
        hdus["POINTING"].data["TIME"] = np.minimum(hdus["POINTING"].data["TIME"], TSTART + ONTIME - 60)
    with raises("unsupported-mode", "OBS_MODE is RASTER, and HDU POINTING does not state the pointing", "RA_PNT"):
        read_pieces(open_runs(indir, "GADF").files(2))
    _, x, y = drift_run(2)
    found = np.concatenate([np.stack(piece.detxy("ALTAZ")) for piece in pieces], axis=1)
    np.testing.assert_allclose(found, [x, y], atol=0.05)
