"""Validation of models with simulated and real runs."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord, SkyOffsetFrame
from astropy.table import Table

from bgnb import (
    Cube,
    CubeAxes,
    Grid,
    make_bg_cube_models,
    make_models,
    make_test_dataset,
    make_true_reco,
    open_runs,
    read_event_list,
    read_models,
    validate,
)
from bgnb.cubes.prediction import predicted_rate
from tests.helpers import run_files
from tests.helpers.drift import AXES as DRIFT_AXES
from tests.helpers.drift import GTIS, drifting_models, drifting_run, expected_rates
from tests.helpers.errors import raises
from tests.helpers.run_files import write_gadf


@pytest.mark.slow
def test_bins_above_limit_are_not_used(tmp_path):
    """Bins above the limit of a run are not compared; those below are predicted as without a limit."""
    predictions = {}
    for name, limit in (("whole", None), ("cut", 3.0)):
        indir = run_files.write_gadf(tmp_path / name, [run_files.run(2, 900, limit=limit)])
        make_bg_cube_models(indir, "GADF", tmp_path / f"{name}-models", method="default", select="all", progress=False)
        (predictions[name],) = validate(tmp_path / "whole-models", indir, "GADF", select="all", progress=False).runs
    stop = Grid.regular().axes.number_below(3 * u.TeV)
    assert 0 < stop < 7
    whole, cut = predictions["whole"], predictions["cut"]
    assert whole.used[stop:].any()
    assert not cut.used[stop:].any()
    assert np.array_equal(cut.used[:stop], whole.used[:stop])
    assert np.array_equal(cut.counts[:stop], whole.counts[:stop])
    assert np.array_equal(cut.expected[:stop], whole.expected[:stop])


@pytest.mark.slow
def test_true_model_predicts_its_runs(tmp_path):
    """The true model in files predicts simulated runs, and one with another gradient does not."""
    common = {"n_runs": 12, "trigger_rate": 25, "spectral_index": 1.5, "gradient_x": 0.1, "gradient_y": -0.2}
    common["method"] = "unsmoothed"  # these models are not used
    make_true_reco(tmp_path / "a", **common, keep_dataset=True, energy_threshold=0.3, n_energy=24, n_fov=40, progress=False)
    arguments = (tmp_path / "a/dataset", "GADF")
    validation = validate(tmp_path / "a/true", *arguments, tmp_path / "out", select="all", progress=False)
    fit = validation.fit(free_norm=False)
    assert fit.ratio == pytest.approx(1, abs=3.5 * fit.ratio_error)
    assert validation.ratio[0] == pytest.approx(1, abs=0.03)
    assert {path.name for path in (tmp_path / "out").glob("*.png")} == {"profiles.png", "significance.png"}
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert report["no_norm"]["dev_exp"] == fit.ratio
    assert len(report["runs"]) == 12
    assert report["settings"]["model_lookup"] == "interpolate"

    make_true_reco(tmp_path / "b", **common | {"n_runs": 2, "gradient_y": 0.2}, n_energy=24, n_fov=40, progress=False)
    other = validate(tmp_path / "b/true", *arguments, select="all", progress=False).fit(free_norm=True)
    assert other.ratio > 1 + 5 * other.ratio_error


@pytest.mark.slow
@pytest.mark.parametrize("method", ["classic", "spline"])
def test_models_in_memory_equal_files(tmp_path, method):
    """Rates, errors, weights and report of models in memory equal those written and read back."""
    make_test_dataset(tmp_path / "runs", n_runs=6, trigger_rate=8, seed=4, progress=False)
    arguments = {"select": "all", "method": method, "n_energy": 6, "n_fov": 8, "progress": False}
    made = make_models(tmp_path / "runs", "GADF", **arguments)
    report = make_bg_cube_models(tmp_path / "runs", "GADF", tmp_path / "models", **arguments)
    read = read_models(tmp_path / "models")
    assert made.report.as_dict() == report.as_dict()
    assert made.models.group_ids == read.group_ids
    assert made.models.model_ids == read.model_ids
    assert (made.models.fovalign, made.models.obs_ids) == (read.fovalign, read.obs_ids)
    for ours, theirs in zip(made.models.models, read.models, strict=True):
        assert (ours.alt_pnt, ours.az_pnt) == pytest.approx((theirs.alt_pnt, theirs.az_pnt))
        assert ours.model.method == theirs.model.method == method
        assert ours.model.axes == theirs.model.axes
        np.testing.assert_array_equal(ours.model.stack.counts, theirs.model.stack.counts)
        np.testing.assert_array_equal(ours.model.stack.livetime_us, theirs.model.stack.livetime_us)
        np.testing.assert_allclose(ours.model.rate.quantity, theirs.model.rate.quantity, rtol=1e-14)
        np.testing.assert_allclose(ours.model.error.quantity, theirs.model.error.quantity, rtol=1e-14)
    for alt_pnt, az_pnt in ((50.0, 20.0), (63.0, 200.0), (85.0, 300.0)):
        ours, theirs = (models.rate_for(alt_pnt, az_pnt) for models in (made.models, read))
        assert ours.weights == pytest.approx(theirs.weights)
        np.testing.assert_allclose(ours.rate.quantity, theirs.rate.quantity, rtol=1e-6)


@pytest.mark.slow
def test_rates_far_from_models_are_noted(tmp_path):
    """Runs, and energies, with rates far from the prediction are noted; agreeing ones are not."""
    arguments = {"sigma": 1.5, "n_runs": 2, "progress": False, "alt_range": (70, 71)}
    edges = {"alt_edges": [0, 90], "az_edges": [0, 360], "n_energy": 20, "n_fov": 24, "method": "unsmoothed"}
    for name, changes in (("runs", {}), ("many", {"trigger_rate": 240}), ("hard", {"spectral_index": 2.0})):
        make_test_dataset(tmp_path / name, **{"trigger_rate": 40, "spectral_index": 2.7, "seed": 4} | arguments | changes)
    make_bg_cube_models(tmp_path / "runs", "GADF", tmp_path / "m", select="all", progress=False, **edges)

    def notes(runs):
        validation = validate(
            tmp_path / "m", tmp_path / runs, "GADF", select="all", progress=False, energy_min="0.2 TeV",
            rate_interpolation="none",
        )  # fmt: skip
        return [note for note in validation.notes if "the observed rate is" in note]

    assert not notes("runs")
    run, energy = notes("many")
    assert float(re.search(r"observed rate is ([\d.]+) times the predicted", run)[1]) == pytest.approx(6, rel=0.05)
    assert ": runs 1, 2;" in run
    assert "TeV" in energy
    hard = notes("hard")
    assert "TeV" in hard[-1]


@pytest.mark.slow
def test_runs_used_for_models_are_noted(tmp_path):
    """The summary notes how many of the runs were used to make the models."""
    make_test_dataset(tmp_path / "runs", n_runs=3, trigger_rate=8, progress=False)
    make_bg_cube_models(tmp_path / "runs", "GADF", tmp_path / "m", select="all", progress=False)
    validation = validate(tmp_path / "m", tmp_path / "runs", "GADF", select="all", progress=False)
    assert "note: all of these runs were used" in validation.summary
    assert "note: 2 of these runs were used" in replace(validation, seen=frozenset({1, 3})).summary
    one = replace(validation, runs=validation.runs[:1])
    assert "note: this run was used" in one.summary


@pytest.mark.slow
@pytest.mark.parametrize("interpolation", ["none", "gammapy"])
@pytest.mark.parametrize("gti", GTIS)
def test_prediction_follows_the_altitude(tmp_path, monkeypatch, gti, interpolation):
    """Predictions for a run that drifts by 15 deg are averaged over its good time."""
    monkeypatch.setattr("bgnb.validation.validate.read_models", lambda _: drifting_models())
    indir = write_gadf(tmp_path / "in", [drifting_run(1, GTIS[gti])])
    grid = {"energy_min": DRIFT_AXES.energy[0], "energy_max": DRIFT_AXES.energy[-1], "n_energy": 8}
    grid |= {"pixel": "0.8 deg", "offset_max": "2.4 deg", "rate_interpolation": interpolation, "progress": False}
    (found,) = validate(tmp_path / "models", indir, "GADF", select="all", on_error="fail", **grid).runs
    events = read_event_list(open_runs(indir, "GADF").files(1))
    edges = np.arange(-3, 4) * 0.8
    volume = DRIFT_AXES.bin_volume.to_value("MeV sr")
    averaged, of_middle = (
        predicted_rate(Cube(DRIFT_AXES, rate / volume * u.Unit("MeV-1 s-1 sr-1")), validation_axes(edges), "none")
        for rate in expected_rates(events)
    )
    planes = slice(*found.used.any(axis=(1, 2)).nonzero()[0][[0, -1]])
    expected, of_middle = (rate.sum(axis=(1, 2))[planes] * events.livetime for rate in (averaged, of_middle))
    np.testing.assert_allclose(found.expected.sum(axis=(1, 2))[planes], expected, rtol=0.01)
    assert np.abs(of_middle / expected - 1).max() > 0.1


def validation_axes(edges):
    """Return axes with the energies of the drifting model and the given edges in deg."""
    return CubeAxes(DRIFT_AXES.energy, edges * u.deg, edges * u.deg)


@pytest.mark.slow
def test_events_outside_models_are_noted(tmp_path):
    """Events above the threshold that lie outside the axes of the models are counted in the report, and noted."""
    simulation = {"trigger_rate": 40, "spectral_index": 1.3, "energy_threshold": 0.4, "seed": 4, "progress": False}
    make_test_dataset(tmp_path / "runs", n_runs=3, **simulation)
    axes = {"energy_min": "1.5 TeV", "energy_max": "12 TeV", "n_energy": 6, "n_fov": 8, "fov_max": "2 deg"}
    groups = {"alt_edges": [0, 90], "az_edges": [0, 360], "method": "unsmoothed"}
    make_bg_cube_models(tmp_path / "runs", "GADF", tmp_path / "m", select="all", progress=False, **axes, **groups)
    arguments = {"select": "all", "rate_interpolation": "none", "offset_max": "1.5 deg", "progress": False}
    validation = validate(tmp_path / "m", tmp_path / "runs", "GADF", tmp_path / "v", **arguments)
    report = json.loads((tmp_path / "v/report.json").read_text())
    totals = np.zeros(4, dtype=int)
    runs = open_runs(tmp_path / "runs", "GADF")
    for row in report["runs"]:
        events = read_event_list(runs.files(row["obs_id"]))
        used = events.energy >= events.energy_threshold
        below, above = used & (events.energy < 1.5), events.energy >= 12
        outside = used & ~below & ~above & (np.max(np.abs(events.detxy()), axis=0) > 2)
        numbers = [int(mask.sum()) for mask in (used, below, above, outside)]
        assert list(row["coverage"].values()) == numbers
        totals += numbers
    energy, view = report["notes"]
    assert energy.startswith(f"{totals[1] + totals[2]} of {totals[0]} events ({(totals[1] + totals[2]) / totals[0]:.1%}"[:-1])
    assert f"({totals[1]} below, {totals[2]} above)" in energy
    assert view.startswith(f"{totals[3]} of {totals[0]} events")
    assert f"note: {energy}" in validation.summary
    assert energy.endswith("runs 1, 2, 3")


@pytest.mark.slow
def test_unreadable_models_are_named(tmp_path):
    """Settings are checked first, then the models, before any run is read."""
    make_test_dataset(tmp_path / "runs", n_runs=2, trigger_rate=8, progress=False)
    arguments = {"select": "all", "n_energy": 5, "n_fov": 6, "progress": False}
    make_bg_cube_models(tmp_path / "runs", "GADF", tmp_path / "m", method="spline", **arguments)
    with raises("invalid-argument", "exclusion_radius", "'5'"):
        validate(tmp_path / "m", tmp_path / "runs", "GADF", exclusion_radius="5", progress=False)
    (tmp_path / "m/bg_spline.fits.gz").write_bytes(b"broken")
    with raises("not-fits", tmp_path / "m/bg_spline.fits.gz"):
        validate(tmp_path / "m", tmp_path / "runs", "GADF", progress=False)
    with raises("invalid-argument", "min_livetime", "-1 h"):
        make_bg_cube_models(tmp_path / "runs", "GADF", tmp_path / "n", min_livetime="-1 h")


@pytest.mark.slow
def test_masked_source_is_not_compared(source):
    """With masks the true model predicts runs on a source, and without masks it does not."""
    arguments = (source / "true", source / "runs", "GADF")
    catalog = source / "runs/sources.ecsv"
    counted = validate(*arguments, select="all", progress=False)
    masked = validate(*arguments, sources="mask", catalog=catalog, mask_radius="0.4 deg", progress=False)
    circles = Table.read(catalog)
    circles["RADIUS"] = 0.4
    excluded = validate(*arguments, select="all", exclude=circles, progress=False)
    assert excluded.as_dict() | {"notes": []} == masked.as_dict() | {"notes": []}
    assert counted.total_ratio > 1.05
    assert counted.fit(True).ratio > 1 + 20 * counted.fit(True).ratio_error
    assert masked.total_ratio == pytest.approx(1, abs=0.02)
    for free_norm in (True, False):
        fit = masked.fit(free_norm)
        assert fit.ratio == pytest.approx(1, abs=3.5 * fit.ratio_error)
    assert counted.events_in_mask == 0
    lost = sum(run.n_counts for run in counted.runs) - sum(run.n_counts for run in masked.runs)
    assert masked.events_in_mask == lost > 3000
    assert any(line.endswith(f": {masked.events_in_mask}") for line in masked.summary.splitlines())
    assert masked.as_dict()["events_in_mask"] == masked.events_in_mask
    with raises("no-effect", "mask_radius"):
        validate(*arguments, select="all", mask_radius="0.4 deg")


@pytest.mark.slow
def test_masked_prediction_matches_astropy(source):
    """The prediction of pixels that a region covers in part is that of fine pixels outside it, by separations of Astropy."""
    arguments = {"sources": "mask", "catalog": source / "runs/sources.ecsv", "rate_interpolation": "none"}
    grid = {"energy_min": "1 TeV", "energy_max": "9 TeV", "n_energy": 2, "pixel": "0.6 deg"}
    row = open_runs(source / "runs", "GADF").table[3]
    obs_id = int(row["OBS_ID"])
    validation = validate(source / "true", source / "runs", "GADF", select=[obs_id], **arguments, **grid, progress=False)
    axes, (run,) = validation.grid.axes, validation.runs
    fine = validation.grid.divided(30)
    rate = predicted_rate(read_models(source / "true").rate_for(run.alt_pnt, run.az_pnt).rate, fine)
    pointing = SkyCoord(row["RA_PNT"], row["DEC_PNT"], unit="deg")
    frame = SkyOffsetFrame(origin=pointing)
    pixels = SkyCoord(-fine.detx_centers, fine.dety_centers[:, None], frame=frame).icrs
    away = pixels.separation(SkyCoord(row["RA_PNT"], row["DEC_PNT"] + 0.9, unit="deg")) > 0.5 * u.deg
    n_energy, n_dety, n_detx = axes.shape
    expected = (rate * away * row["LIVETIME"]).reshape(n_energy, n_dety, 30, n_detx, 30).sum(axis=(2, 4))
    closed = (rate * row["LIVETIME"]).reshape(n_energy, n_dety, 30, n_detx, 30).sum(axis=(2, 4))
    assert (expected < 0.9 * closed).any(axis=(0, 1)).sum() >= 2, "the region covers several pixels"
    np.testing.assert_allclose(run.expected, expected, rtol=0.01, atol=0.002 * expected.max())


@pytest.mark.slow
def test_crab_nebula_is_masked(hess_data, tmp_path):
    """Models of H.E.S.S. runs predict the shape of the runs on the Crab Nebula with masks only."""
    make_bg_cube_models(
        hess_data, "GADF", tmp_path / "models", method="spline", sources="mask", n_energy=10, n_fov=24, progress=False
    )
    crab = [23523, 23526, 23559, 23592]
    counted, masked = (
        validate(tmp_path / "models", hess_data, "GADF", select=crab, sources=sources, progress=False)
        for sources in ("drop", "mask")
    )
    assert counted.fit(True).ratio > 1.25
    assert masked.fit(True).ratio < 1.12
    assert counted.total_ratio > masked.total_ratio + 0.04
    assert masked.total_ratio == pytest.approx(1, abs=0.1)
    central = [validation.profile("offset")["RESIDUAL"][0] for validation in (counted, masked)]
    assert central[0] > 0.15
    assert abs(central[1]) < 0.1
