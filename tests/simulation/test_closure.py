"""Truth against what comes out of simulated runs, by the ordinary command: the whole chain closes.

And it must not close where an implementation is wrong: each known mistake is tried.
"""

import json
from dataclasses import replace

import numpy as np
import pytest
from astropy import units as u
from scipy.ndimage import convolve

from bgnb import (
    BackgroundModel,
    BgnbError,
    Cube,
    CubeAxes,
    TrueModel,
    compare,
    make_model,
    make_true_reco,
    open_runs,
    read_model,
)
from bgnb.cubes.compare import Comparison
from bgnb.cubes.smoothing import K5A, smooth_planes
from bgnb.simulation.event_lists import LIVETIME, ONTIME
from tests.helpers.commands import error_of, output_of
from tests.helpers.files import names

LOPSIDED = {"gradient_x": 0.1, "gradient_y": -0.06, "mask_quadrant": True}
N_RUNS = 10


def models(directory) -> tuple[BackgroundModel, BackgroundModel]:
    true, reco = (read_model(directory / name / "bg_cube_model_group27_table.fits.gz") for name in ("true", "reco"))
    return true, reco


@pytest.fixture(scope="module", params=["ALTAZ", "RADEC"])
def lopsided(request, tmp_path_factory):
    out = tmp_path_factory.mktemp("lopsided") / request.param
    options = {"n_runs": N_RUNS, "trigger_rate": 30.0, "n_energy": 9, "n_fov": 14, "method": "unsmoothed"}
    make_true_reco(out, fovalign=request.param, **options, **LOPSIDED)
    return models(out)


def closes(comparison: Comparison) -> bool:
    """Pulls over bins with ten expected counts have mean 0 and width 1, and the total agrees, within three errors."""
    exposure = comparison.second.stack.exposure
    expected = (comparison.first.rate.quantity * exposure).to_value("")
    pulls = comparison.pull[expected >= 10]
    total = (comparison.second.stack.counts.sum() - expected.sum()) / np.sqrt(expected.sum())
    mean, width = pulls.mean() * np.sqrt(len(pulls)), (pulls.std() - 1) * np.sqrt(2 * len(pulls))
    impossible = comparison.second.stack.counts[expected == 0].any() if comparison.second.stack.livetime_us.all() else False
    return bool(len(pulls) > 200 and abs(mean) < 3 and abs(width) < 3 and abs(total) < 3 and not impossible)


def with_rate(model: BackgroundModel, rate) -> BackgroundModel:
    return BackgroundModel(Cube(model.axes, rate * model.rate.quantity.unit), model.stack, model.method)


def test_truth_and_reconstruction_agree_in_absolute_terms(lopsided):
    true, reco = lopsided
    assert closes(compare(true, reco))
    assert len(reco.stack.runs) == N_RUNS


MISTAKES = {
    "exchanged axes": lambda rate: rate.transpose(0, 2, 1),
    "mirrored DETX": lambda rate: rate[:, :, ::-1],
    "mirrored DETY": lambda rate: rate[:, ::-1],
    "turned by 180 deg": lambda rate: rate[:, ::-1, ::-1],
    "ontime for livetime": lambda rate: rate * LIVETIME / ONTIME,
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_in_the_reconstruction_do_not_pass(lopsided, mistake):
    true, reco = lopsided
    wrong = with_rate(reco, MISTAKES[mistake](reco.rate.quantity.value))
    assert not closes(compare(true, wrong))


def at_bin_centres(model, axes, alt):
    """The rate at the centre of a bin instead of its integral."""
    fine = 1e-4
    energy, dety, detx = axes.energy_centers.value, axes.dety_centers.value, axes.detx_centers.value
    rate = np.empty(axes.shape)
    for plane, centre in enumerate(energy):
        for iy, y in enumerate(dety):
            for ix, x in enumerate(detx):
                edges = CubeAxes([centre, centre * (1 + fine)] * u.TeV, [y, y + fine] * u.deg, [x, x + fine] * u.deg)
                rate[plane, iy, ix] = (model.expected(edges, alt) / edges.bin_volume.to_value("MeV sr"))[0, 0, 0]
    return rate


def test_mistakes_in_the_truth_do_not_pass(tmp_path):
    options = {"n_runs": N_RUNS, "trigger_rate": 30.0, "n_energy": 5, "n_fov": 8, "method": "unsmoothed"}
    make_true_reco(tmp_path / "out", **options)
    true, reco = models(tmp_path / "out")
    assert closes(compare(true, reco))
    alt = json.loads((tmp_path / "out" / "reco" / "report.json").read_text())["groups"][0]["alt_mean_deg"]
    model = TrueModel(spectral_index=1.5, trigger_rate=30.0)
    centres = at_bin_centres(model, true.axes, alt)
    assert not closes(compare(with_rate(true, centres), reco))
    # exp(−r²/σ²) is a Gaussian of width σ/√2; its total is made the right one.
    expected, narrow = (
        TrueModel(spectral_index=1.5, trigger_rate=30.0, sigma=sigma).expected(true.axes, alt) for sigma in (5, 5 / np.sqrt(2))
    )
    rate = narrow * expected.sum() / narrow.sum() / true.axes.bin_volume.value
    assert not closes(compare(with_rate(true, rate), reco))


def test_the_rim_is_bent_less_than_by_zero_padding():
    """Where counts end with the axes, smoothing that pads with zeros loses a third of the rate at the rim."""
    axes = CubeAxes.regular(n_energy=3, n_fov=60)
    truth = TrueModel().expected(axes, 80.0)
    padded, mirrored = truth, smooth_planes(truth, 5)
    for _ in range(5):
        padded = convolve(padded, (K5A / K5A.sum())[None], mode="constant")
    rim = np.ones((60, 60), dtype=bool)
    rim[3:-3, 3:-3] = False
    at_rim = truth[:, rim].sum(axis=1)
    zero, mirror = (np.abs(smooth[:, rim].sum(axis=1) / at_rim - 1) for smooth in (padded, mirrored))
    assert np.all(zero > 0.15)
    assert np.all(mirror < zero / 4)


@pytest.mark.parametrize("method", ["default", "michi"])
def test_smoothing_keeps_the_truth_within_the_bias_that_is_printed(tmp_path, method):
    """From the command line, at a rate where noise is small: biases of the centre, halfway and the rim."""
    out = tmp_path / "out"
    output_of("true-reco", out, "--n-runs", 2, "--method", method, "--n-energy", 10, "--n-fov", 60)
    assert names(out) == {"reco", "true"}
    assert "BIAS_RIM" in output_of("compare", out / "true", out / "reco", out / "comparison")
    (group,) = json.loads((out / "comparison" / "report.json").read_text())["groups"]
    assert group["methods"] == ["true", method]
    assert group["ratio"] == pytest.approx(1, abs=0.01)
    assert abs(group["bias"]["centre"]) < 0.03
    assert abs(group["bias"]["halfway"]) < 0.02
    assert 0 < group["bias"]["rim"] < 0.05
    assert group["spectra"][0]["index"][0] == pytest.approx(2.5, abs=0.01)


def test_true_reco_refuses_what_it_cannot_do(tmp_path):
    line = error_of("true-reco", tmp_path / "out", "--group-id", 99)
    assert "group_id must be one of the default groups, 0 to 27, got 99" in line
    assert "sigma must be a number above 0" in error_of("true-reco", tmp_path / "out", "--sigma", -1)
    assert not (tmp_path / "out").exists()


def test_true_model_from_the_command_line(tmp_path):
    def arguments(name, altitude="81 deg"):
        return "make-test-bg-cube-model", tmp_path / name, "--altitude", altitude, "--n-fov", 12

    output_of(*arguments("t.fits.gz"))
    assert "exists already; use --overwrite" in error_of(*arguments("t.fits.gz"))
    assert "must be named ….fits or ….fits.gz" in error_of(*arguments("README.md"))
    assert "altitude must be a value with a unit, such as '1 deg', got '45'" in error_of(*arguments("u.fits", "45"))
    model = read_model(tmp_path / "t.fits.gz")
    expected = TrueModel().expected(model.axes, 81.0)
    np.testing.assert_allclose((model.rate.quantity * model.axes.bin_volume).to_value("s-1"), expected)
    assert model.is_true


def test_data_set_from_the_command_line(tmp_path):
    arguments = ("make-test-dataset", tmp_path / "set", "HESS", "--n-runs", 2, "--trigger-rate", 1, "--source")
    output_of(*arguments, "X-1,10,-20,0.1")
    assert {"runinfo.fits", "sources.ecsv"} <= names(tmp_path / "set")
    assert "is not of the form NAME,RA,DEC,RATE" in error_of(*arguments, "X-1,10")


def test_thresholds_that_differ_from_run_to_run_close_too(tmp_path):
    """Runs of altitude 64 to 72 deg: their thresholds differ, and so does the livetime of the energy bins."""
    options = {"n_runs": N_RUNS, "trigger_rate": 60.0, "n_energy": 60, "n_fov": 8, "method": "unsmoothed", "group_id": 24}
    report = make_true_reco(tmp_path / "out", energy_threshold=0.3, **options)
    thresholds = {run.counted.energy_threshold_tev for run in report.runs}
    assert 0.3 / np.sin(np.radians(72)) ** 3 < min(thresholds) < max(thresholds) < 0.3 / np.sin(np.radians(64)) ** 3
    true, reco = (read_model(tmp_path / "out" / name / "bg_cube_model_group24_table.fits.gz") for name in ("true", "reco"))
    livetimes = np.unique(reco.stack.livetime.value)
    assert len(livetimes) >= 3  # of none, of some and of all runs
    assert closes(compare(true, reco))
    # Exposures that forget the thresholds do not close.
    whole = np.full_like(reco.stack.livetime_us, reco.stack.livetime_us.max())
    wrong = make_model(replace(reco.stack, livetime_us=whole), "unsmoothed")
    assert not closes(compare(true, wrong))


def test_everything_is_checked_before_the_simulation_and_nothing_stays_behind(tmp_path):
    out = tmp_path / "out"
    for wrong, message in (
        ({"method": "ring"}, "unknown method 'ring'"),
        ({"n_fov": 0}, "n_fov must be a whole number from 1 up"),
        ({"trigger_rate": -1.0}, "trigger_rate must be a number above 0"),
    ):
        with pytest.raises(BgnbError, match=message):
            make_true_reco(out, test=True, **wrong)
        assert not out.exists()
    make_true_reco(out, test=True, trigger_rate=3.0)
    with pytest.raises(BgnbError, match="exists already"):
        make_true_reco(out, test=True, trigger_rate=3.0)
    assert names(out) == {"reco", "true"}
    make_true_reco(out, test=True, trigger_rate=3.0, overwrite=True, keep_dataset=True, seed=5, observatory="VERITAS")
    runs = open_runs(out / "dataset", "GADF")
    assert len(runs) == 2
    assert runs.table.meta["GEOLAT"] > 30
    settings = json.loads((out / "true" / "report.json").read_text())["settings"]
    assert (settings["seed"], settings["observatory"], settings["n_runs"]) == (5, "VERITAS", 2)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("mine")
    with pytest.raises(BgnbError, match=r"holds mine\.txt, which is none of true, reco, dataset, comparison"):
        make_true_reco(tmp_path / "other", test=True, overwrite=True)
