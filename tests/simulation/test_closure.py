"""Closure tests: models reconstructed from simulated runs agree with the true model.

They must not agree if an implementation is wrong, which is tested with each known mistake.
"""

import errno
import json
import os
import re
from dataclasses import replace

import numpy as np
import pytest
from astropy import units as u

from bgnb import (
    BackgroundModel,
    Cube,
    CubeAxes,
    TrueModel,
    compare,
    compare_models,
    make_model,
    make_true_reco,
    open_runs,
    read_model,
    write_model,
)
from bgnb._util.errors import BgnbError
from bgnb.cli.simulations import make_true_reco as make_true_reco_command
from bgnb.cubes.compare import Comparison
from bgnb.simulation.true_model import LIVETIME, ONTIME
from tests.helpers.commands import error_of, output_of
from tests.helpers.errors import raises
from tests.helpers.files import names

ASYMMETRY = {"gradient_x": 0.1, "gradient_y": -0.06, "mask_quadrant": True}
N_RUNS = 10


def models(directory) -> tuple[BackgroundModel, BackgroundModel]:
    """Read the true and the reconstructed model."""
    true, reco = (read_model(directory / name / "bg_cube_model_group27_table.fits.gz") for name in ("true", "reco"))
    return true, reco


@pytest.fixture(scope="module", params=["ALTAZ", "RADEC"])
def asymmetric(request, tmp_path_factory):
    """Make an asymmetric true model, and its reconstruction."""
    out = tmp_path_factory.mktemp("asymmetric") / request.param
    options = {"n_runs": N_RUNS, "trigger_rate": 30.0, "n_energy": 9, "n_fov": 14, "method": "unsmoothed"}
    make_true_reco(out, fovalign=request.param, **options, **ASYMMETRY)
    return models(out)


def closes(comparison: Comparison) -> bool:
    """Check that the mean and width of pulls and the total agree within three errors, in bins with ten expected counts."""
    exposure = comparison.second.stack.exposure
    expected = (comparison.first.rate.quantity * exposure).to_value("")
    pulls = comparison.pull[expected >= 10]
    total = (comparison.second.stack.counts.sum() - expected.sum()) / np.sqrt(expected.sum())
    mean, width = pulls.mean() * np.sqrt(len(pulls)), (pulls.std() - 1) * np.sqrt(2 * len(pulls))
    impossible = comparison.second.stack.counts[expected == 0].any() if comparison.second.stack.livetime_us.all() else False
    return bool(len(pulls) > 200 and abs(mean) < 3 and abs(width) < 3 and abs(total) < 3 and not impossible)


def with_rate(model: BackgroundModel, rate) -> BackgroundModel:
    """Replace the rate of a model."""
    return BackgroundModel(Cube(model.axes, rate * model.rate.quantity.unit), model.stack, model.method)


def test_reconstruction_agrees(asymmetric):
    """The reconstructed model agrees with the true model without scaling."""
    true, reco = asymmetric
    assert closes(compare(true, reco))
    assert len(reco.stack.runs) == N_RUNS


MISTAKES = {
    "exchanged axes": lambda rate: rate.transpose(0, 2, 1),
    "mirrored DETX": lambda rate: rate[:, :, ::-1],
    "mirrored DETY": lambda rate: rate[:, ::-1],
    "rotated by 180 deg": lambda rate: rate[:, ::-1, ::-1],
    "ontime for livetime": lambda rate: rate * LIVETIME / ONTIME,
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_wrong_reconstruction_disagrees(asymmetric, mistake):
    """Reconstructed models with known mistakes disagree with the true model."""
    true, reco = asymmetric
    wrong = with_rate(reco, MISTAKES[mistake](reco.rate.quantity.value))
    assert not closes(compare(true, wrong))


def at_bin_centers(model, axes, alt):
    """Return the rate at the bin centres in place of its mean over bins."""
    fine = 1e-4
    energy, dety, detx = axes.energy_centers.value, axes.dety_centers.value, axes.detx_centers.value
    rate = np.empty(axes.shape)
    for plane, centre in enumerate(energy):
        for iy, y in enumerate(dety):
            for ix, x in enumerate(detx):
                edges = CubeAxes([centre, centre * (1 + fine)] * u.TeV, [y, y + fine] * u.deg, [x, x + fine] * u.deg)
                rate[plane, iy, ix] = (model.expected(edges, alt) / edges.bin_volume.to_value("MeV sr"))[0, 0, 0]
    return rate


@pytest.mark.slow
def test_wrong_true_model_disagrees(tmp_path):
    """True models evaluated at bin centres, or of another width, disagree with the reconstruction."""
    options = {"n_runs": N_RUNS, "trigger_rate": 30.0, "n_energy": 5, "n_fov": 8, "method": "unsmoothed"}
    make_true_reco(tmp_path / "out", **options)
    true, reco = models(tmp_path / "out")
    assert closes(compare(true, reco))
    alt = json.loads((tmp_path / "out" / "reco" / "report.json").read_text())["groups"][0]["alt_mean_deg"]
    model = TrueModel(spectral_index=1.5, trigger_rate=30.0)
    centers = at_bin_centers(model, true.axes, alt)
    assert not closes(compare(with_rate(true, centers), reco))
    # exp(−r²/σ²) is a Gaussian of width σ/√2; it is scaled to the correct total.
    expected, narrow = (
        TrueModel(spectral_index=1.5, trigger_rate=30.0, sigma=sigma).expected(true.axes, alt) for sigma in (5, 5 / np.sqrt(2))
    )
    rate = narrow * expected.sum() / narrow.sum() / true.axes.bin_volume.value
    assert not closes(compare(with_rate(true, rate), reco))


@pytest.mark.slow
def test_bias_of_smoothing_is_small(tmp_path):
    """The bias of smoothed models is small in all zones, by the command line at a high rate."""
    out = tmp_path / "out"
    output_of("true-reco", out, "--n-runs", 2, "--method", "classic", "--n-energy", 10, "--n-fov", 60)
    assert names(out) == {"reco", "true"}
    assert "BIAS_RIM" in output_of("compare", out / "true", out / "reco", out / "comparison")
    (group,) = json.loads((out / "comparison" / "report.json").read_text())["groups"]
    assert group["methods"] == ["true", "classic"]
    assert group["ratio"] == pytest.approx(1, abs=0.01)
    assert abs(group["bias"]["centre"]) < 0.02
    assert abs(group["bias"]["halfway"]) < 0.02
    assert abs(group["bias"]["rim"]) < 0.02
    assert group["spectra"][0]["index"][0] == pytest.approx(2.5, abs=0.01)


def test_true_reco_checks_its_options(tmp_path):
    """Options of true-reco out of range are errors that name them, and no output is made."""
    for option, words in (("--group-id", ("0 to 27", "99")), ("--sigma", ("at least 0.1", "-1"))):
        line = error_of("true-reco", tmp_path / "out", option, words[-1])
        assert all(word in line for word in ("[invalid-argument]", option, *words)), line
    assert not (tmp_path / "out").exists()


def test_true_model_from_command_line(tmp_path):
    """The command writes the true model, and refuses wrong names, altitudes and existing files."""

    def arguments(name, altitude="81 deg"):
        return "make-test-bg-cube-model", tmp_path / name, "--altitude", altitude, "--n-fov", 12

    output_of(*arguments("t.fits.gz"))
    for line, words in (
        (error_of(*arguments("t.fits.gz")), ("[exists]", "t.fits.gz", "--overwrite")),
        (error_of(*arguments("README.md")), ("README.md", ".fits.gz")),
        (error_of(*arguments("u.fits", "45")), ("[invalid-argument]", "altitude", "'45'")),
    ):
        assert all(word in line for word in words), line
    model = read_model(tmp_path / "t.fits.gz")
    expected = TrueModel().expected(model.axes, 81.0)
    np.testing.assert_allclose((model.rate.quantity * model.axes.bin_volume).to_value("s-1"), expected)
    assert model.is_true
    elongated = (*arguments("v.fits.gz"), "--elongation", "1.5", "--baseline-az", "35")
    assert "azimuth" in error_of(*elongated)
    output_of(*elongated, "--azimuth", "80 deg")
    turned = TrueModel(elongation=1.5, baseline_az=35.0).expected(model.axes, 81.0, 80.0)
    rate = read_model(tmp_path / "v.fits.gz").rate.quantity
    np.testing.assert_allclose((rate * model.axes.bin_volume).to_value("s-1"), turned)


def test_dataset_from_command_line(tmp_path):
    """The command simulates runs with a source; sources without all values are refused."""
    arguments = ("make-test-dataset", tmp_path / "set", "HESS", "--n-runs", 2, "--trigger-rate", 1, "--point-source")
    output_of(*arguments, "X-1,10,-20,0.1")
    assert {"runinfo.fits", "sources.ecsv"} <= names(tmp_path / "set")
    assert "NAME,RA,DEC,RATE" in error_of(*arguments, "X-1,10")


@pytest.mark.slow
def test_different_thresholds_agree(tmp_path):
    """Models of runs with different thresholds, and so livetimes of energy bins, agree with the true model."""
    options = {"n_runs": N_RUNS, "trigger_rate": 60.0, "n_energy": 60, "n_fov": 8, "method": "unsmoothed", "group_id": 24}
    report = make_true_reco(tmp_path / "out", energy_threshold=0.3, **options)
    thresholds = {run.counted.energy_threshold_tev for run in report.runs}
    assert 0.3 / np.sin(np.radians(72)) ** 3 < min(thresholds) < max(thresholds) < 0.3 / np.sin(np.radians(64)) ** 3
    true, reco = (read_model(tmp_path / "out" / name / "bg_cube_model_group24_table.fits.gz") for name in ("true", "reco"))
    livetimes = np.unique(reco.stack.livetime.value)
    assert len(livetimes) >= 3  # of no, some and all runs
    assert closes(compare(true, reco))
    # Exposures without the thresholds disagree.
    whole = np.full_like(reco.stack.livetime_us, reco.stack.livetime_us.max())
    wrong = make_model(replace(reco.stack, livetime_us=whole), "unsmoothed")
    assert not closes(compare(true, wrong))


@pytest.mark.slow
def test_counts_of_neighbouring_groups_are_noted(tmp_path):
    """The counts of the group, and those in groups whose models are not kept, are those that the report counts."""
    report = make_true_reco(tmp_path / "out", n_runs=20, trigger_rate=2.0, n_energy=4, n_fov=4, method="unsmoothed")
    numbers = [int(re.match(r"(\d+) of the counts are in group", note)[1]) for note in report.notes if "not kept" in note]
    assert len(numbers) == 1
    assert report.groups[0].counts + numbers[0] == sum(run.counted.counts for run in report.runs)
    assert report.settings["indir"] == str(tmp_path / "out" / "dataset")


@pytest.mark.slow
def test_true_reco_writes_models_once(tmp_path, monkeypatch):
    """The reconstructed model stays in memory until it is written once, and so is the true model."""
    written = []
    for module in ("bgnb.production.write_models", "bgnb.simulation.true_reco"):

        def record(model, path, *arguments):
            written.append((model.method, path.name))
            write_model(model, path, *arguments)

        monkeypatch.setattr(f"{module}.write_model", record)
    monkeypatch.delattr("bgnb.production.pipeline.write_files")
    make_true_reco(tmp_path / "out", test=True, trigger_rate=3.0)
    name = "bg_cube_model_group27_table.fits.gz"
    assert written == [("true", name), ("spline", name)]
    assert sorted(path.parent.name for path in tmp_path.rglob("bg_cube_model_*_table.fits.gz")) == ["reco", "true"]


@pytest.mark.slow
def test_true_and_reco_belong_together(tmp_path, monkeypatch):
    """If a file of the true model cannot be written, the reconstructed one is not replaced by that of another simulation."""

    def no_space(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def not_possible(*_):
        raise BgnbError("invalid-value", "no model")

    out, few = tmp_path / "out", {"test": True, "n_energy": 6, "n_fov": 8}
    make_true_reco(out, trigger_rate=3.0, **few)
    before = (out / "reco" / "report.json").read_bytes()
    for name, function, code in (
        ("make_test_bg_cube_model", not_possible, "invalid-value"),
        ("write_groups", no_space, "not-writable"),
        ("manifest_of", no_space, "not-writable"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(f"bgnb.simulation.true_reco.{name}", function)
            for directory in (out, tmp_path / "new"):
                with raises(code):
                    make_true_reco(directory, trigger_rate=4.0, overwrite=True, **few)
        assert (out / "reco" / "report.json").read_bytes() == before
        assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_true_reco_fails_early(tmp_path, monkeypatch):
    """Arguments and output directories are checked before the simulation, and no files are left."""
    out, few = tmp_path / "out", {"test": True, "n_energy": 6, "n_fov": 8, "trigger_rate": 3.0}
    for wrong, code, words in (
        ({"mask_quadrant": True}, "conflicting-arguments", ("mask_quadrant", "classic")),
        ({"method": "ring"}, "unknown-choice", ("method", "ring")),
        ({"n_fov": 0}, "invalid-argument", ("n_fov", "at least 1")),
        ({"trigger_rate": -1.0}, "invalid-argument", ("trigger_rate", "above 0", "-1.0")),
    ):
        with raises(code, *words):
            make_true_reco(out, test=True, **wrong)
        assert not out.exists()
    make_true_reco(out, **few)
    with raises("exists", out / "true"):
        make_true_reco(out, **few)
    assert names(out) == {"reco", "true"}
    make_true_reco(out, overwrite=True, keep_dataset=True, seed=5, observatory="VERITAS", elongation=1.5, **few)
    runs = open_runs(out / "dataset", "GADF")
    assert runs.table["N_TELS"].tolist() == [2, 2]  # of which splines know that the field of view is elongated
    assert runs.table.meta["GEOLAT"] > 30
    settings = json.loads((out / "true" / "report.json").read_text())["settings"]
    assert (settings["seed"], settings["observatory"], settings["n_runs"]) == (5, "VERITAS", 2)
    monkeypatch.setattr("bgnb.validation.compare_models._draw_group", lambda task: (b"", b""))  # to save time
    compare_models(out / "true", out / "reco", out / "comparison")
    make_true_reco(out, overwrite=True, **few)
    assert names(out) == {"reco", "true"}  # no runs and no comparison of the earlier simulation
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("mine")
    with raises("foreign-files", tmp_path / "other", "mine.txt", "true, reco, dataset, comparison"):
        make_true_reco(tmp_path / "other", test=True, overwrite=True)


def test_printed_advice_names_options_of_the_command(tmp_path):
    """The output of make-true-reco names no option that only other commands have."""
    few = ("--n-runs", 1, "--trigger-rate", 20, "--n-energy", 5, "--n-fov", 8)
    known = {option for parameter in make_true_reco_command.params for option in parameter.opts}
    for method in ("classic", "spline"):
        printed = output_of("make-true-reco", tmp_path / method, *few, "--method", method)
        assert "outside the axes" in printed
        assert set(re.findall(r"--[a-z][a-z-]+", printed)) <= known
