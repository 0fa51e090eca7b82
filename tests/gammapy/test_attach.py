"""Attachment of models to runs, tested without Gammapy."""

import json

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import Table
from scipy.interpolate import RegularGridInterpolator

from bgnb import (
    Cube,
    CubeAxes,
    ObservationGroups,
    TrueModel,
    attach,
    make_bg_cube_models,
    make_test_bg_cube_model,
    make_test_dataset,
    open_runs,
    read_background,
    read_event_list,
    read_group_model,
    read_model,
    validate,
    write_groups,
    write_model,
)
from bgnb.cubes.prediction import point_rate, predicted_rate
from bgnb.cubes.radial import radial_mean
from bgnb.cubes.rotate import rotate_to_radec
from bgnb.files.background_tables import REVERSED, background_hdus
from bgnb.files.epoch_directory import ALL_RUNS
from bgnb.files.fits_writer import write_fits
from bgnb.observations.coordinates import FieldOfView, Site, pointing_altaz, separation
from bgnb.observations.event_list import EventList
from tests.helpers.commands import output_of
from tests.helpers.drift import AXES as DRIFT_AXES
from tests.helpers.drift import GTIS, drifting_models, drifting_run, expected_rates
from tests.helpers.errors import raises
from tests.helpers.files import digests_and_times, names
from tests.helpers.model_directories import model_directory
from tests.helpers.models import AXES, asymmetric_model
from tests.helpers.run_files import TSTART, run, write_gadf, write_hess

DR1 = {"CREATOR": "SASH FITS::EventListWriter", "HDUVERS": "0.2"}
GAPS = {"gti": [(TSTART, TSTART + 300), (TSTART + 1200, TSTART + 1500)]}


@pytest.fixture
def models(tmp_path):
    """Make a directory of models."""
    return model_directory(tmp_path / "models")


def background(store, obs_id):
    """Read the background of a run."""
    return read_background(store / "backgrounds" / f"bkg_{obs_id}.fits.gz", "BACKGROUND")


def test_index_refers_to_original_files(models, tmp_path):
    """The index refers to unchanged original files, and bgnb can read the data store."""
    indir = write_gadf(tmp_path / "in", [run(obs_id, 50) for obs_id in (2, 3, 5)])
    rows = Table.read(indir / "hdu-index.fits.gz")
    rows["SIZE"] = np.arange(len(rows), dtype=np.int64) + 7
    rows.add_row((2, "bkg", "bkg_3d", "data", "old.fits", "BKG", 1))
    rows.write(indir / "hdu-index.fits.gz", overwrite=True)
    before = digests_and_times(indir)
    report = attach(models, indir, "GADF", tmp_path / "deep" / "er" / "store")
    assert digests_and_times(indir) == before
    store = tmp_path / "deep" / "er" / "store"
    index = Table.read(store / "hdu-index.fits.gz")
    assert index["HDU_TYPE"].tolist() == 3 * ["events", "gti", "aeff", "bkg"]
    assert set(index["FILE_DIR"].tolist()) == {"../../../in/data", "backgrounds"}
    for row in index:
        found = [hdu.name for hdu in fits.open(store / row["FILE_DIR"] / row["FILE_NAME"])]
        assert row["HDU_NAME"].upper() in found
    assert index["SIZE"][index["HDU_TYPE"] == "gti"].tolist() == [8, 11, 14]
    ours, theirs = (fits.open(path / "obs-index.fits.gz")[1] for path in (store, indir))
    assert ours.columns.names == theirs.columns.names
    assert ours.data.tolist() == theirs.data.tolist()
    runs = open_runs(store, "GADF")
    assert runs.obs_ids == report.obs_ids == [2, 3, 5]
    assert len(read_event_list(runs.files(3))) == 50
    manifest = json.loads((store / "manifest.json").read_text())
    assert "backgrounds/bkg_5.fits.gz" in manifest["files"]


def test_rates_are_per_ontime(tmp_path):
    """Rates of backgrounds are those at the bin centres, per ontime."""
    models = model_directory(tmp_path / "models", "RADEC")
    indir = write_gadf(tmp_path / "in", [run(2, 50, LIVETIME=1200.0), run(3, 50)])
    report = attach(models, indir, "GADF", tmp_path / "store", norm="model")
    rate = point_rate(read_model(models / "bg_cube_model_group27_table.fits.gz").rate)
    for entry, factor in zip(report.runs, (1200 / 1680, 1503 / 1680), strict=True):
        cube, fovalign = background(tmp_path / "store", entry.obs_id)
        assert fovalign == entry.fovalign == "RADEC"
        assert entry.livetime_over_ontime == pytest.approx(factor)
        assert cube.axes == AXES
        np.testing.assert_allclose(cube.quantity, rate.quantity * factor, rtol=1e-6)
        header = fits.getheader(tmp_path / "store" / "backgrounds" / f"bkg_{entry.obs_id}.fits.gz", "BACKGROUND")
        assert (header["TIMEBASE"], header["FOVALIGN"]) == ("ONTIME", "RADEC")
        assert header["TFORM7"].endswith("E")
        livetime = 1200.0 if entry.obs_id == 2 else 1503.0
        assert [header[name] for name in ("DEADC", "ONTIME", "LIVETIME")] == pytest.approx([factor, 1680, livetime])
        alt_pnt, az_pnt = open_runs(indir, "GADF").pointing(entry.obs_id)
        pointing = [header[name] for name in ("ALT_PNT", "AZ_PNT", "ZEN_PNT")]
        assert pointing == pytest.approx([alt_pnt, az_pnt, 90 - alt_pnt])
        assert (header["TELESCOP"], header["OBS_ID"]) == ("HESS", entry.obs_id)
        assert [header["LO_THRES"], header["HI_THRES"]] == pytest.approx([0.3, 60])


def test_radial_backgrounds_are_attached(tmp_path):
    """With kind bkg_2d, runs get the mean over the azimuth, per ontime, in any frame."""
    models = model_directory(tmp_path / "models")
    indir = write_gadf(tmp_path / "in", [run(2, 50), run(4, 50, **DR1), run(6, 50, **GAPS)])
    report = attach(models, indir, "GADF", tmp_path / "store", kind="bkg_2d", norm="model")
    assert [(entry.fovalign, entry.reason) for entry in report.runs] == 3 * [(None, None)]
    assert "radial 3" in str(report)
    index = Table.read(tmp_path / "store" / "hdu-index.fits.gz")
    assert index["HDU_CLASS"][index["HDU_TYPE"] == "bkg"].tolist() == 3 * ["bkg_2d"]
    theta, values = radial_mean(point_rate(read_model(models / "bg_cube_model_group27_table.fits.gz").rate))
    for entry in report.runs:
        with fits.open(tmp_path / "store" / "backgrounds" / f"bkg_{entry.obs_id}.fits.gz") as hdus:
            header, row = hdus["BACKGROUND"].header, hdus["BACKGROUND"].data[0]
            assert (header["HDUCLAS4"], header["TIMEBASE"], "FOVALIGN" in header) == ("BKG_2D", "ONTIME", False)
            np.testing.assert_allclose(row["THETA_LO"], theta[:-1].value)
            np.testing.assert_allclose(row["BKG"].T, values.value * entry.livetime_over_ontime, rtol=1e-6)
    with raises("unknown-choice", "bkg_4d", "bkg_2d"):
        attach(models, indir, "GADF", tmp_path / "other", kind="bkg_4d")


def test_rates_far_from_models_are_noted(tmp_path):
    """A run with many more events than predicted is noted; one as predicted, and one with few events, are not."""
    models = model_directory(tmp_path / "models")
    runs = [run(2, 5000, LIVETIME=20.0), run(4, 10, LIVETIME=0.3), run(8, 60000)]
    indir = write_gadf(tmp_path / "in", runs)
    report = attach(models, indir, "GADF", tmp_path / "store")
    ratios = {entry.obs_id: entry.predicted_over_observed for entry in report.runs}
    rate = read_model(models / "bg_cube_model_group27_table.fits.gz").rate
    first = AXES.first_bin_above(0.3 * u.TeV)
    events = read_event_list(open_runs(indir, "GADF").files(8))
    use = np.flatnonzero(events.in_gti & (events.energy >= AXES.energy[first].value) & (events.energy < 60))
    inside = np.ones(len(use), dtype=bool)
    for values, edges in zip(events.detxy("ALTAZ", use), (AXES.detx.value, AXES.dety.value), strict=True):
        inside &= (values >= edges[0]) & (values < edges[-1])
    observed = np.count_nonzero(inside)
    predicted = (rate.quantity * AXES.bin_volume)[first:].sum().value * events.livetime
    assert ratios[8] == pytest.approx(predicted / observed)
    assert ratios[4] is None
    (note,) = (note for note in report.notes if "the predicted rate is" in note)
    assert "run 8;" in note


@pytest.mark.slow
def test_frames_and_groups_are_reported(tmp_path):
    """The report states frames, groups and weights, and the rates are interpolated with these weights."""
    models = model_directory(tmp_path / "models", groups=(27, 15))
    runs = [run(6, 50), run(9, 50, **DR1), run(12, 50, **GAPS), run(7, 50)]  # altitude 75 deg, 50 for odd numbers
    indir = write_gadf(tmp_path / "in", runs)
    report = attach(models, indir, "GADF", tmp_path / "store", norm="model")
    stored = json.loads((tmp_path / "store" / "report.json").read_text())
    assert stored["runs"] == [entry.as_dict() | {"missing": ["edisp", "psf"], "groups": groups(entry)} for entry in report.runs]
    assert [(entry.obs_id, entry.fovalign) for entry in report.runs] == [
        (6, "ALTAZ"),
        (7, "ALTAZ"),
        (9, REVERSED),
        (12, "RADEC"),
    ]
    # Altitudes 75 and 50 deg lie between both groups of their azimuth, 50 deg closer to the lower group; run 7 points north.
    by_run = {entry.obs_id: entry.groups for entry in report.runs}
    events = read_event_list(open_runs(indir, "GADF").files(6))
    times = events.mjdref + np.linspace(*events.gti[0], 201) / 86400
    altitude = [pointing_altaz(events.ra_pnt, events.dec_pnt, time, events.site)[0] for time in times]
    part = (np.sin(np.radians(altitude)) - np.sin(np.radians(47))) / (np.sin(np.radians(80)) - np.sin(np.radians(47)))
    assert by_run[6] == pytest.approx({15: 1 - part.mean(), 27: part.mean()}, rel=2e-3)
    assert by_run[9][15] > 0.5
    assert by_run[7] == {15: 1.0}
    low, _ = background(tmp_path / "store", 7)
    high, _ = background(tmp_path / "store", 6)
    factor = 1507 / 1506 * 0.5 / (0.5 ** (1 - part)).mean()  # rates differ by a factor of 0.5, logarithms are interpolated
    np.testing.assert_allclose(low.quantity / high.quantity, factor, rtol=2e-4)
    nearest = attach(models, indir, "GADF", tmp_path / "nearest", model_lookup="nearest")
    assert [entry.groups for entry in nearest.runs] == [{27: 1.0}, {15: 1.0}, {15: 1.0}, {27: 1.0}]
    assert "ALTAZ 2, RADEC 1, REVERSE_LON_RADEC 1" in str(report)


def groups(entry):
    """Return the weights of groups as JSON has them."""
    return {str(group_id): weight for group_id, weight in entry.groups.items()}


def test_reversed_background_round_trip(tmp_path):
    """A background of frame REVERSE_LON_RADEC is reflected in DETX, and reflected back by reading."""
    rate = asymmetric_model("RADEC").rate
    write_fits(tmp_path / "b.fits", background_hdus(rate, fovalign=REVERSED, keywords={}))
    with fits.open(tmp_path / "b.fits") as hdus:
        row = hdus["BACKGROUND"].data[0]
        np.testing.assert_allclose(row["DETX_LO"], -AXES.detx.value[:0:-1], atol=1e-12)
        np.testing.assert_allclose(row["BKG"][1, 0, 2], rate.quantity[2, 1, -1].value, rtol=1e-6)
    cube, fovalign = read_background(tmp_path / "b.fits", "BACKGROUND")
    assert fovalign == "RADEC"
    np.testing.assert_allclose(cube.quantity, rate.quantity, rtol=1e-6)


def test_background_rates_have_logarithms(tmp_path):
    """Rates are large enough for logarithms in single precision, as Gammapy fills zeros from other energies."""
    values = asymmetric_model().rate.quantity.value.copy()
    values[1, 2, 3], values[4, 5, 6] = 0, 1e-44
    rate = Cube(AXES, u.Quantity(values, "MeV-1 s-1 sr-1"))
    write_fits(tmp_path / "b.fits", background_hdus(rate, fovalign="ALTAZ", keywords={"OBS_ID": 7}))
    back = read_background(tmp_path / "b.fits", "BACKGROUND")[0].quantity.value
    assert back[1, 2, 3] == back[4, 5, 6] == back.min() == np.finfo(np.float32).tiny
    np.testing.assert_allclose(back[values > 1e-44], values[values > 1e-44], rtol=1e-6)
    header = fits.getheader(tmp_path / "b.fits")
    assert (header["OBS_ID"], header["FOVALIGN"]) == (7, "ALTAZ")


def test_rate_rotates_with_the_sky():
    """The mean position and integral of a narrow off-axis peak are those averaged over the good time."""
    gti = np.array([[0.0, 400.0], [3000.0, 3600.0]])
    site = Site(16.5, -23.27, 1835.0)
    events = EventList(1, *np.zeros((4, 0)), 53343.95, gti, 1000.0, 83.6, -30.0, site, None)
    axes = CubeAxes([1, 2, 5] * u.TeV, np.linspace(-2, 2.5, 46) * u.deg, np.linspace(-3, 2, 51) * u.deg)
    y, x = np.meshgrid(axes.dety_centers.value, axes.detx_centers.value, indexing="ij")
    peak = np.exp(-((x - 1.2) ** 2 + (y - 0.9) ** 2) / (2 * 0.3**2))
    rate = Cube(axes, u.Quantity(np.stack([peak, 3 * peak]), "MeV-1 s-1 sr-1"))
    rotated = rotate_to_radec(rate, events)
    assert np.array_equal(rotated.axes.energy, axes.energy)
    values = rotated.quantity.value
    np.testing.assert_allclose(values[1], 3 * values[0], rtol=1e-9, atol=1e-30)
    y, x = np.meshgrid(rotated.axes.dety_centers.value, rotated.axes.detx_centers.value, indexing="ij")
    found = [np.sum(values[0] * c) / values[0].sum() for c in (x, y)]
    view = FieldOfView(83.6, -30.0, 53343.95 + 1800 / 86400, site)
    times = np.concatenate([np.arange(2, 400, 4), np.arange(3002, 3600, 4)]).astype(float)
    ra, dec = view.sky_position("ALTAZ", np.full(len(times), 1.2), np.full(len(times), 0.9), times - 1800)
    where = view.detxy_radec(ra, dec)
    assert max(np.ptp(where, axis=1)) > 0.2  # the field of view rotates
    assert found == pytest.approx([where[0].mean(), where[1].mean()], abs=0.01)
    solid = (values.sum() * np.prod([np.diff(edges.value[:2])[0] for edges in (rotated.axes.detx, rotated.axes.dety)])) / 4
    assert solid == pytest.approx(2 * np.pi * 0.3**2, rel=0.03)  # interpolated logarithms lie below the peak


@pytest.mark.parametrize(("n_dety", "n_detx"), [(34, 60), (9, 11), (1, 7), (5, 1)])
def test_rotation_agrees_with_scipy(n_dety, n_detx):
    """In a short run the rate is that interpolated by SciPy, a tenth of it just outside the edge, and zero beyond."""
    site = Site(16.5, -23.27, 1835.0)
    events = EventList(1, *np.zeros((4, 0)), 53343.95, np.array([[0.0, 50.0]]), 45.0, 83.6, -30.0, site, None)
    axes = CubeAxes([1, 2, 5] * u.TeV, np.linspace(-2, 1.3, n_dety + 1) * u.deg, np.linspace(-1.2, 3, n_detx + 1) * u.deg)
    rate = np.random.default_rng(3).lognormal(size=axes.shape)

    def interpolated(x, y):
        log_rate, centres = np.log(rate), []
        for axis, centre in enumerate((axes.dety_centers.value, axes.detx_centers.value), start=1):
            log_rate = np.repeat(log_rate, 2, axis=axis) if len(centre) == 1 else log_rate
            centres.append(centre + np.array([-1, 1]) if len(centre) == 1 else centre)
        at = RegularGridInterpolator(centres, np.moveaxis(log_rate, 0, -1), bounds_error=False, fill_value=None)
        return np.exp(at((y, x)).T)

    rotated = rotate_to_radec(Cube(axes, u.Quantity(rate, "MeV-1 s-1 sr-1")), events)
    edges = rotated.axes.detx.value
    assert np.array_equal(edges, rotated.axes.dety.value)
    assert edges[-1] == -edges[0] == pytest.approx(float(separation(3, -2, 0, 0)))  # the farthest corner
    bin_width = min(3.3 / n_dety, 4.2 / n_detx)
    widths = [bin_width / n for n in range(1, 30) if bin_width / n <= 0.15]
    assert len(edges) - 1 == 2 * np.ceil(edges[-1] / widths[0])
    y, x = np.meshgrid(rotated.axes.dety_centers.value, rotated.axes.detx_centers.value, indexing="ij")
    view = FieldOfView(83.6, -30.0, 53343.95 + 25 / 86400, site)
    sky = view.sky_position("RADEC", x.ravel(), y.ravel(), np.zeros(1))
    x, y = (values.reshape(x.shape) for values in view.detxy_altaz(*sky, np.zeros(1)))
    beyond = np.max([-2 - y, y - 1.3, -1.2 - x, x - 3], axis=0)  # the nearest edge
    weight = np.where(beyond <= 0, 1, np.where(beyond <= edges[1] - edges[0], 0.1, 0))
    assert set(np.unique(weight)) == {0, 0.1, 1}
    covered = weight > 0
    assert not rotated.quantity.value[:, ~covered].any()
    expected = interpolated(x[covered], y[covered]) * weight[covered]
    np.testing.assert_allclose(rotated.quantity.value[:, covered], expected, rtol=1e-6)


def test_unusable_runs_are_skipped(models, tmp_path):
    """Runs that cannot be read are skipped and named, and have no rows or files in the data store."""
    indir = write_gadf(tmp_path / "in", [run(obs_id, 50) for obs_id in (2, 3, 5, 8)])
    (indir / "data" / "run3.fits.gz").write_bytes(b"nonsense")
    index = Table.read(indir / "obs-index.fits.gz")
    index[index["OBS_ID"] != 8].write(indir / "obs-index.fits.gz", overwrite=True)
    output = output_of("attach", models, indir, "GADF", tmp_path / "store")
    assert "2 of 3 runs, 1 skipped" in output
    assert "run3.fits.gz" in output
    (note,) = (line for line in output.splitlines() if "obs-index.fits.gz" in line)
    assert note.endswith(": 8")
    assert "Warning: 1 run" in output
    report = json.loads((tmp_path / "store" / "report.json").read_text())
    assert [(entry["obs_id"], entry["status"]) for entry in report["runs"]] == [
        (2, "attached"),
        (3, "skipped"),
        (5, "attached"),
    ]
    for name in ("obs-index", "hdu-index"):
        assert set(Table.read(tmp_path / "store" / f"{name}.fits.gz")["OBS_ID"]) == {2, 5}
    assert names(tmp_path / "store" / "backgrounds") == {"bkg_2.fits.gz", "bkg_5.fits.gz"}


def test_missing_components_are_noted(models, tmp_path):
    """In scheme HESS, missing components are noted with advice, and the store can be read in scheme GADF."""
    indir = write_hess(tmp_path / "in", [run(obs_id, 50) for obs_id in (201, 202)])
    without = indir / "run000200-000399" / "run000202" / "hess_events_000202.fits.gz"
    with fits.open(without) as hdus:
        fits.HDUList([hdus[0], hdus["EVENTS"]]).writeto(without, overwrite=True)
    before = digests_and_times(indir)
    report = attach(models, indir, "HESS", tmp_path / "store")
    assert digests_and_times(indir) == before
    assert [entry.missing for entry in report.runs] == [("edisp", "psf"), ("gti", "edisp", "psf")]
    first, second = (line for line in str(report).splitlines() if line.startswith("note: 1 run "))
    assert "edisp, psf" in first
    assert 'get_observations(required_irf=["aeff", "bkg"])' in first
    assert "gti, edisp, psf" in second
    assert report.call == 'get_observations(required_irf=["aeff", "bkg"])'
    assert output_of("attach", models, indir, "HESS", tmp_path / "other").rstrip().endswith(f'/other").{report.call}')
    rows = Table.read(tmp_path / "store" / "hdu-index.fits.gz")
    assert rows["HDU_NAME"].tolist() == ["EVENTS", "GTI", "AEFF", "BACKGROUND", "EVENTS", "AEFF", "BACKGROUND"]
    assert rows["FILE_DIR"][0] == "../in/run000200-000399/run000201"
    observations = Table.read(tmp_path / "store" / "obs-index.fits.gz")
    assert {"OBS_ID", "RA_PNT", "ALT_PNT", "LIVETIME"} <= set(observations.colnames)
    assert len(read_event_list(open_runs(tmp_path / "store", "GADF").files(201))) == 50


def test_store_of_single_files(models, tmp_path):
    """In scheme FILES, the index has a row for each HDU that Gammapy uses, with the classes that files state."""
    indir = write_gadf(tmp_path / "in", [run(obs_id, 50) for obs_id in (2, 3)])
    for name in ("obs-index.fits.gz", "hdu-index.fits.gz"):
        (indir / name).unlink()
    responses = {  # EXTNAME: HDUCLAS1, HDUCLAS2, HDUCLAS4
        "POINT SPREAD FUNCTION": ("RESPONSE", "RPSF", "3GAUSS"),  # as of CTA 1DC
        "EDISP": ("RESPONSE", "EDISP", "EDISP_2D"),
        "BKG": ("RESPONSE", "BKG", "BKG_3D"),
        "PSF": ("RESPONSE", "RPSF", "PSF_NEW"),  # unknown to Gammapy
        "RAD_MAX": ("RESPONSE", "RAD_MAX", "RAD_MAX_2D"),
        "": ("RESPONSE", "RPSF", "PSF_TABLE"),  # Gammapy opens HDUs by name
    }
    with fits.open(indir / "data" / "run3.fits.gz") as hdus:
        for name, classes in responses.items():
            hdu = fits.BinTableHDU.from_columns([fits.Column("ENERG_LO", "E", array=[0.1])], name=name)
            hdu.header["HDUCLAS1"], hdu.header["HDUCLAS2"], hdu.header["HDUCLAS4"] = classes
            hdus.append(hdu)
        hdus.writeto(indir / "data" / "run3.fits.gz", overwrite=True)
    before = digests_and_times(indir)
    report = attach(models, indir, "FILES", tmp_path / "store")
    assert digests_and_times(indir) == before
    assert [entry.missing for entry in report.runs] == [("edisp", "psf"), ()]
    rows = Table.read(tmp_path / "store" / "hdu-index.fits.gz")
    assert [tuple(row[name] for name in ("HDU_TYPE", "HDU_CLASS", "HDU_NAME")) for row in rows[rows["OBS_ID"] == 3]] == [
        ("events", "events", "EVENTS"),
        ("gti", "gti", "GTI"),
        ("aeff", "aeff_2d", "AEFF"),
        ("psf", "psf_3gauss", "POINT SPREAD FUNCTION"),
        ("edisp", "edisp_2d", "EDISP"),
        ("rad_max", "rad_max_2d", "RAD_MAX"),
        ("bkg", "bkg_3d", "BACKGROUND"),
    ]
    assert set(rows["FILE_DIR"]) == {"../in/data", "backgrounds"}
    assert len(rows[rows["OBS_ID"] == 2]) == 4
    observations = Table.read(tmp_path / "store" / "obs-index.fits.gz")
    assert observations["OBS_ID"].tolist() == [2, 3]
    assert (observations["TSTART"].unit, observations.meta["MJDREFI"]) == ("s", 51910)
    assert len(read_event_list(open_runs(tmp_path / "store", "GADF").files(3))) == 50


@pytest.mark.parametrize(("base_dir", "file_dir"), [("/data/of/another/computer", "data"), ("data", "")])
def test_base_dir_of_index(models, tmp_path, base_dir, file_dir):
    """The index of the store finds files beside the original index, and those in its BASE_DIR."""
    indir = write_gadf(tmp_path / "in", [run(2, 50)])
    path = indir / "hdu-index.fits.gz"
    index = Table.read(path)
    index["FILE_DIR"], index.meta["BASE_DIR"] = file_dir, base_dir
    index.write(path, overwrite=True)
    attach(models, indir, "GADF", tmp_path / "store")
    assert len(read_event_list(open_runs(tmp_path / "store", "GADF").files(2))) == 50


def test_missing_location_is_noted(models, tmp_path):
    """Runs without the location of the observatory in the header of the events are noted."""
    indir = write_gadf(tmp_path / "in", [run(2, 50, GEOLON=None)])
    with fits.open(indir / "obs-index.fits.gz", mode="update") as hdus:
        hdus[1].header["GEOLON"], hdus[1].header["GEOLAT"] = 16.5, -23.3
    report = attach(models, indir, "GADF", tmp_path / "store")
    assert report.runs[0].missing[0] == "site"
    (note,) = (line for line in str(report).splitlines() if "GEOLON" in line)
    assert note.startswith("note: 1 run without site")


def test_invalid_input_leaves_no_files(models, tmp_path):
    """Arguments and inputs that cannot be used raise an error, and no data store is made."""
    indir = write_gadf(tmp_path / "in", [run(2, 50)])
    empty = tmp_path / "empty"
    empty.mkdir()
    store = tmp_path / "store"
    lookup = {"model_lookup": "spline"}
    for arguments, options, code, words in (
        ((models, indir, "GADF", store), lookup, "unknown-choice", ("model_lookup", "spline", "interpolate", "nearest")),
        ((models, indir, "FITS", store), {}, "unknown-choice", ("scheme", "FITS")),
        ((empty, indir, "GADF", store), {}, "not-a-model", (empty,)),
        ((models, empty, "GADF", store), {}, "not-found", (empty, "obs-index.fits.gz")),
        ((models, indir, "GADF", indir / "store"), {}, "bad-target", (indir / "store", indir)),
        ((models, indir, "GADF", models / "store"), {}, "bad-target", (models / "store", models)),
        ((models, indir, "GADF", store), {"select": [7]}, "not-found", (indir, "run 7")),
    ):
        with raises(code, *words):
            attach(*arguments, **options)
    (indir / "data" / "run2.fits.gz").write_bytes(b"nonsense")
    with raises("no-runs", indir, "run2.fits.gz"):
        attach(models, indir, "GADF", store)
    (models / "bg_observation_groups.ecsv").unlink()
    with raises("not-found", models, "bg_observation_groups.ecsv"):
        attach(models, indir, "GADF", store)
    assert not list(tmp_path.rglob("*store*"))


def test_other_instruments_are_skipped(tmp_path):
    """Runs of another instrument than that of the models are skipped, or fail if asked for."""
    arguments = {"alt_edges": [0, 90], "az_edges": [0, 360], "n_energy": 3, "n_fov": 4}
    make_bg_cube_models(write_gadf(tmp_path / "in", [run(2, 50)]), "GADF", tmp_path / "models", **arguments)
    assert read_group_model(tmp_path / "models", 0).stack.telescop == "HESS"
    other = write_gadf(tmp_path / "other", [run(3, 50, TELESCOP="VERITAS")])
    for use in (attach, validate):
        with raises("mixed-instruments", "models", "run 3", "VERITAS", "HESS", "TELESCOP"):
            use(tmp_path / "models", other, "GADF", tmp_path / "out", on_error="fail")
    with raises("no-runs", "models: run 3 is of VERITAS", other):
        attach(tmp_path / "models", other, "GADF", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    runs = [run(number, 50, TELESCOP=name) for number, name in ((3, None), (4, "H.E.S.S."), (5, "VERITAS"))]
    report = attach(tmp_path / "models", write_gadf(tmp_path / "mixed", runs), "GADF", tmp_path / "out")
    assert (report.obs_ids, list(report.faults)) == ([3, 4], [5])


def test_overwrite_replaces_the_store(models, tmp_path):
    """An existing data store is replaced only with overwrite."""
    indir = write_gadf(tmp_path / "in", [run(2, 50), run(4, 50)])
    attach(models, indir, "GADF", tmp_path / "store")
    with raises("exists", tmp_path / "store"):
        attach(models, indir, "GADF", tmp_path / "store")
    attach(models, indir, "GADF", tmp_path / "store", overwrite=True, select=[4])
    assert names(tmp_path / "store" / "backgrounds") == {"bkg_4.fits.gz"}


@pytest.mark.slow
@pytest.mark.parametrize("gti", GTIS)
def test_background_follows_the_altitude(tmp_path, monkeypatch, gti):
    """Backgrounds of a run that drifts by 15 deg are averaged over its good time; those of mid-run are wrong by 5 %."""
    monkeypatch.setattr("bgnb.gammapy.attach.read_all_models", lambda _: {ALL_RUNS: drifting_models()})
    indir = write_gadf(tmp_path / "in", [drifting_run(1, GTIS[gti])])
    attach(tmp_path / "models", indir, "GADF", tmp_path / "store", on_error="fail", norm="model")
    events = read_event_list(open_runs(indir, "GADF").files(1))
    cube, fovalign = background(tmp_path / "store", 1)
    assert fovalign == ("ALTAZ" if gti == "ordinary" else "RADEC")
    whole = CubeAxes(DRIFT_AXES.energy, cube.axes.dety[[0, -1]], cube.axes.detx[[0, -1]])
    found = predicted_rate(cube, whole, "gammapy").ravel() * np.diff(events.gti).sum()
    expected, of_middle = (rate.sum(axis=(1, 2)) * events.livetime for rate in expected_rates(events))
    np.testing.assert_allclose(found, expected, rtol=0.01)
    assert np.abs(of_middle / expected - 1).max() > 0.1


def test_background_reaches_all_events(tmp_path):
    """The background is continued along a power law to events below the model, as the true model of a simulation."""
    parameters = {"spectral_index": 1.6, "trigger_rate": 30.0, "gradient_x": 0.2}
    true = TrueModel(**parameters)
    make_test_dataset(tmp_path / "in", n_runs=2, energy_threshold=0.3, alt_range=(68, 72), seed=2, **parameters)
    axes = CubeAxes(np.geomspace(1.2, 15, 9) * u.TeV, np.linspace(-2, 2.2, 22) * u.deg, np.linspace(-2.4, 2, 23) * u.deg)
    models = tmp_path / "models"
    models.mkdir()
    write_groups(ObservationGroups([0, 90] * u.deg, [0, 360] * u.deg), models / "bg_observation_groups.ecsv")
    model = make_test_bg_cube_model(axes, 70 * u.deg, true)
    write_model(model, models / "bg_cube_model_group0_table.fits.gz", {"ALT_PNT": 70.0, "AZ_PNT": 10.0})
    report = attach(models, tmp_path / "in", "GADF", tmp_path / "store")
    runs, stored = open_runs(tmp_path / "in", "GADF"), json.loads((tmp_path / "store" / "report.json").read_text())
    totals = np.zeros(4, dtype=int)
    for entry, row in zip(report.runs, stored["runs"], strict=True):
        events = read_event_list(runs.files(entry.obs_id))
        used = events.energy >= events.energy_threshold
        detx, dety = events.detxy("ALTAZ")
        below, above = used & (events.energy < 1.2), events.energy >= 15
        outside = used & ~below & ~above & ((detx < -2.4) | (detx >= 2) | (dety < -2) | (dety >= 2.2))
        numbers = [int(mask.sum()) for mask in (used, below, above, outside)]
        names = ("events", "events_below_axis", "events_above_axis", "events_outside_fov")
        assert row["coverage"] == dict(zip(names, numbers, strict=True))
        totals += numbers
        cube, _ = background(tmp_path / "store", entry.obs_id)
        low, high = cube.axes.energy.value[[0, -1]]
        assert row["continued_tev"] == pytest.approx([low, high])
        assert low <= events.energy[used].min()
        assert high > events.energy[used].max()
        bins = CubeAxes([0.45, 0.7, 1.2, 4] * u.TeV, axes.dety[[0, -1]], axes.detx[[0, -1]])
        found = predicted_rate(cube, bins, "gammapy").ravel() / entry.livetime_over_ontime
        np.testing.assert_allclose(found, true.expected(bins, 70).ravel(), rtol=0.04)
    assert totals[1] > totals[0] / 2
    energy, view = (note for note in stored["notes"] if "outside the" in note)
    assert energy.startswith(f"{totals[1] + totals[2]} of {totals[0]} events")
    assert f"({totals[1]} below, {totals[2]} above)" in energy
    assert energy.endswith("run 1, 2")
    assert view.startswith(f"{totals[3]} of {totals[0]} events")
    assert f"note: {energy}" in str(report)
