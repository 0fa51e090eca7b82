"""Attachment of models to runs, tested without Gammapy."""

import json
from dataclasses import replace

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import Table

from bgnb import (
    Cube,
    CubeAxes,
    ObservationGroups,
    TrueModel,
    attach,
    check_runs,
    compare_models,
    cross_validate,
    inspect,
    make_bg_cube_models,
    make_epoch_models,
    make_models,
    make_test_bg_cube_model,
    make_test_dataset,
    merge,
    open_runs,
    read_background,
    read_event_list,
    read_group_model,
    read_model,
    validate,
    write_groups,
    write_model,
    write_models,
)
from bgnb.cubes.prediction import point_rate, predicted_rate
from bgnb.cubes.radial import radial_mean
from bgnb.files.background_tables import REVERSED, background_hdus
from bgnb.files.epoch_directory import ALL_RUNS
from bgnb.files.fits_writer import write_fits
from bgnb.observations.coordinates import pointing_altaz
from tests.helpers.commands import output_of
from tests.helpers.drift import AXES as DRIFT_AXES
from tests.helpers.drift import GTIS, drifting_models, drifting_run, expected_rates
from tests.helpers.errors import raises
from tests.helpers.files import digests, names
from tests.helpers.model_directories import model_directory
from tests.helpers.models import AXES, asymmetric_model
from tests.helpers.run_files import TSTART, run, write_gadf

DR1 = {"CREATOR": "SASH FITS::EventListWriter", "HDUVERS": "0.2"}
GAPS = {"gti": [(TSTART, TSTART + 300), (TSTART + 1200, TSTART + 1500)]}


def background(store, obs_id):
    """Read the background of a run."""
    return read_background(store / "backgrounds" / f"bkg_{obs_id}.fits.gz", "BACKGROUND")


def test_runs_without_threshold_are_noted(tmp_path):
    """At all energies, a background is compared with the counts of a run without LO_THRES."""
    models = model_directory(tmp_path / "models", "RADEC")
    indir = write_gadf(tmp_path / "in", [run(2, 50, threshold=None), run(3, 50)])
    report = attach(models, indir, "GADF", tmp_path / "store", progress=False)
    assert "there is no energy threshold (LO_THRES), and all energies are used: run 2" in report.notes


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
    assert "(FOVALIGN): 3 radial" in str(report)
    assert repr(report) == "Attachments(3 of 3 runs)"
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
    ratios = {entry.obs_id: entry.observed_over_predicted for entry in report.runs}
    rate = read_model(models / "bg_cube_model_group27_table.fits.gz").rate
    first = AXES.first_bin_above(0.3 * u.TeV)
    events = read_event_list(open_runs(indir, "GADF").files(8))
    use = np.flatnonzero(events.in_gti & (events.energy >= AXES.energy[first].value) & (events.energy < 60))
    inside = np.ones(len(use), dtype=bool)
    for values, edges in zip(events.detxy("ALTAZ", use), (AXES.detx.value, AXES.dety.value), strict=True):
        inside &= (values >= edges[0]) & (values < edges[-1])
    observed = np.count_nonzero(inside)
    predicted = (rate.quantity * AXES.bin_volume)[first:].sum().value * events.livetime
    assert ratios[8] == pytest.approx(observed / predicted)
    assert ratios[4] is None
    (note,) = (note for note in report.notes if "the observed rate is" in note)
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
    assert "2 in ALTAZ, 1 in RADEC, 1 in REVERSE_LON_RADEC; Gammapy reads" in str(report)


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
    other = write_gadf(tmp_path / "other", [run(3, 50, TELESCOP="FACT")])
    for use in (attach, validate):
        with raises("mixed-instruments", "models", "run 3", "FACT", "HESS", "TELESCOP"):
            use(tmp_path / "models", other, "GADF", tmp_path / "out", on_error="fail")
    with raises("no-runs", "models: run 3 is of FACT", other):
        attach(tmp_path / "models", other, "GADF", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    runs = [run(number, 50, TELESCOP=name) for number, name in ((3, None), (4, "H.E.S.S."), (5, "FACT"))]
    report = attach(tmp_path / "models", write_gadf(tmp_path / "mixed", runs), "GADF", tmp_path / "out")
    assert (report.obs_ids, list(report.faults)) == ([3, 4], [5])


@pytest.mark.slow
def test_overwrite_spares_runs_and_models(tmp_path):
    """Runs are not replaced by results of theirs that are read by way of another index or links, nor models by results."""
    runs, models, store, links = (tmp_path / name for name in ("runs", "models", "store", "links"))
    make_test_dataset(runs, n_runs=3, trigger_rate=5.0, seed=1)
    settings = {"select": "all", "method": "classic", "n_energy": 4, "n_fov": 6}
    production = make_models(runs, "GADF", **settings)
    write_models(production, models)
    attach(models, runs, "GADF", store)
    for part in (1, 2):
        make_bg_cube_models(store, "GADF", tmp_path / f"part{part}", part=f"{part}/2", **settings)
    links.mkdir()
    for path in [*(runs / "data").iterdir(), *models.iterdir()]:
        (links / path.name).symlink_to(path)
    write_models(production, tmp_path / "other")
    before = digests(tmp_path)
    for_runs = [
        lambda: attach(models, store, "GADF", runs, overwrite=True),
        lambda: make_bg_cube_models(store, "GADF", runs, overwrite=True, **settings),
        lambda: make_bg_cube_models(links, "FILES", runs, overwrite=True, **settings),
        lambda: make_epoch_models(store, "GADF", runs, "OBJECT", overwrite=True, **settings),
        lambda: merge([tmp_path / "part1", tmp_path / "part2"], runs, overwrite=True),
        lambda: write_models(production, runs, overwrite=True),
        lambda: check_runs(store, "GADF", models, runs, overwrite=True),
        lambda: inspect(store, "GADF", runs, overwrite=True),
        lambda: validate(models, store, "GADF", runs, overwrite=True),
        lambda: cross_validate(store, "GADF", runs, overwrite=True, folds=2, select="all"),
    ]
    for call in for_runs:
        with raises("foreign-files", runs, "contains runs, which"):
            call()
    with raises("foreign-files", models, "contains models, which comparisons do not replace"):
        compare_models(links, tmp_path / "other", models, overwrite=True)
    with raises("foreign-files", models, "contains models, which backgrounds do not replace"):
        attach(tmp_path / "other", store, "GADF", models, overwrite=True)
    assert digests(tmp_path) == before


def test_overwrite_replaces_the_store(models, tmp_path):
    """An existing data store is replaced only with overwrite."""
    indir = write_gadf(tmp_path / "in", [run(2, 50), run(4, 50)])
    attach(models, indir, "GADF", tmp_path / "store")
    with raises("exists", tmp_path / "store"):
        attach(models, indir, "GADF", tmp_path / "store")
    attach(models, indir, "GADF", tmp_path / "store", overwrite=True, select=[4])
    assert names(tmp_path / "store" / "backgrounds") == {"bkg_4.fits.gz"}


@pytest.mark.parametrize("seconds", [[(3000, 3000), (0, 1680)], [(900, 1680), (0, 900)], [(0, 1000), (900, 1680)], [(0, 1680)]])
def test_frame_of_other_intervals_in_the_file(models, tmp_path, seconds):
    """Gammapy averages backgrounds in ALTAZ from the first row on, also if it is empty, later than others or overlaps."""
    start = run(2, 50)["gti"][0][0]
    gti = [(start + first, start + last) for first, last in seconds]
    report = attach(models, write_gadf(tmp_path / "in", [run(2, 50, gti=gti, ONTIME=1680.0)]), "GADF", tmp_path / "store")
    assert [entry.fovalign for entry in report.runs] == ["ALTAZ" if len(seconds) == 1 else "RADEC"]


@pytest.mark.slow
@pytest.mark.parametrize("gti", [*GTIS, "no events at first"])
def test_background_follows_the_altitude(tmp_path, monkeypatch, gti):
    """Backgrounds of a run that drifts by 15 deg are averaged over its good time; those of mid-run are wrong by 5 %."""
    monkeypatch.setattr("bgnb.gammapy.attach.read_all_models", lambda _: {ALL_RUNS: drifting_models()})
    drifting = drifting_run(1, GTIS.get(gti, GTIS["ordinary"]))
    if gti not in GTIS:
        drifting["events"] = drifting_run(1, [(start + 600, stop) for start, stop in GTIS["ordinary"]])["events"]
    indir = write_gadf(tmp_path / "in", [drifting])
    attach(tmp_path / "models", indir, "GADF", tmp_path / "store", norm="model")
    events = read_event_list(open_runs(indir, "GADF").files(1))
    cube, fovalign = background(tmp_path / "store", 1)
    assert fovalign == ("ALTAZ" if gti == "ordinary" else "RADEC")
    whole = CubeAxes(DRIFT_AXES.energy, cube.axes.dety[[0, -1]], cube.axes.detx[[0, -1]])
    found = predicted_rate(cube, whole, "gammapy").ravel() * events.stated_ontime
    expected, of_middle = (rate.sum(axis=(1, 2)) * events.livetime for rate in expected_rates(events))
    np.testing.assert_allclose(found, expected, rtol=0.01)
    assert np.abs(of_middle / expected - 1).max() > 0.1


@pytest.mark.parametrize(("altitude", "fovalign"), [((70, 72), "ALTAZ"), ((88, 89), "RADEC")])
def test_frame_of_runs_near_the_zenith(tmp_path, altitude, fovalign):
    """Gammapy would compute a background in ALTAZ at each degree of a rotation that is fast near the zenith."""
    model_directory(tmp_path / "models", "ALTAZ")
    make_test_dataset(tmp_path / "runs", n_runs=1, trigger_rate=2.0, alt_range=altitude, az_range=(90, 270))
    attach(tmp_path / "models", tmp_path / "runs", "GADF", tmp_path / "store", norm="model")
    assert background(tmp_path / "store", 1)[1] == fovalign


def test_runs_whose_times_are_placeholders(tmp_path):
    """With the pointing of the header, backgrounds are in RADEC, as the models must be."""
    model_directory(tmp_path / "models", "RADEC")
    indir = write_gadf(tmp_path / "in", [run(2, 50, ALT_PNT=75.0, AZ_PNT=30.0)])
    attach(tmp_path / "models", indir, "GADF", tmp_path / "store", norm="model", pointing="header")
    assert background(tmp_path / "store", 2)[1] == "RADEC"


def test_events_outside_the_good_time_are_noted(models, tmp_path):
    """Gammapy counts events outside the good time intervals, for which there is no background."""
    good = run(4, 50)
    start = run(2, 50)["gti"][0][0]
    cut = run(2, 50, gti=[(start, start + 900)])
    notes = attach(models, write_gadf(tmp_path / "in", [cut, good]), "GADF", tmp_path / "store").notes
    outside = int(np.count_nonzero(cut["events"]["TIME"] > start + 900))
    assert outside > 10
    (note,) = [note for note in notes if "good time" in note and "Gammapy" in note]
    assert note.startswith(f"{outside} of 50 events")
    assert "%) of run 2 lie outside" in note
    notes = attach(models, write_gadf(tmp_path / "good", [good]), "GADF", tmp_path / "other").notes
    assert not [note for note in notes if "good time" in note]


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
    assert energy.endswith("runs 1, 2")
    assert view.startswith(f"{totals[3]} of {totals[0]} events")
    assert f"note: {energy}" in str(report)


def test_continued_background_keeps_the_counts_of_the_model(tmp_path):
    """The counts in the energy bins of a model stay as they are if its rate bends at the ends where it is continued."""
    make_test_dataset(tmp_path / "in", n_runs=1, energy_threshold=0.3, alt_range=(68, 72), seed=2, trigger_rate=30.0)
    axes = CubeAxes(np.geomspace(1.2, 15, 9) * u.TeV, np.linspace(-2, 2.2, 22) * u.deg, np.linspace(-2.4, 2, 23) * u.deg)
    model = make_test_bg_cube_model(axes, 70 * u.deg, TrueModel(spectral_index=1.6, fovalign="RADEC"))
    bends = np.array([0.02, 0.3, 1, 1, 1, 1, 0.3, 0.02])[:, None, None]
    model = replace(model, rate=Cube(axes, model.rate.quantity * bends))
    models = tmp_path / "models"
    models.mkdir()
    write_groups(ObservationGroups([0, 90] * u.deg, [0, 360] * u.deg), models / "bg_observation_groups.ecsv")
    write_model(model, models / "bg_cube_model_group0_table.fits.gz", {"ALT_PNT": 70.0, "AZ_PNT": 10.0})
    (entry,) = attach(models, tmp_path / "in", "GADF", tmp_path / "store", norm="model").runs
    cube, _ = background(tmp_path / "store", entry.obs_id)
    assert cube.axes.energy[0] < axes.energy[0]
    found = predicted_rate(cube, axes, "gammapy").sum(axis=(1, 2)) / entry.livetime_over_ontime
    np.testing.assert_allclose(found, (model.rate.quantity * axes.bin_volume).to_value("s-1").sum(axis=(1, 2)), rtol=2e-3)
