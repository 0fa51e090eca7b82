"""Tests of the checks of all runs of a directory: verdicts, files and options."""

import json
import re

import numpy as np
import pytest
from astropy.table import Table

from bgnb import PointSource, check_runs, make_bg_cube_models, make_test_dataset, make_test_observation_table, open_runs
from bgnb.observations.run_selection import read_run_list
from tests.helpers.commands import output_of
from tests.helpers.errors import raises
from tests.helpers.run_files import sky_image

POINTING = {"n_runs": 4, "alt_range": (70, 80), "az_range": (100, 200), "seed": 5}
BRIGHT = 3


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """Make runs, one of them with a bright source, and models of other runs."""
    path = tmp_path_factory.mktemp("checks")
    true = {"trigger_rate": 4, "sigma": 2.5, "spectral_index": 1.5, "gradient_x": 0.1, "gradient_y": -0.07, "progress": False}
    make_test_dataset(path / "others", **POINTING | {"n_runs": 12, "seed": 6}, **true)
    make_bg_cube_models(path / "others", "GADF", path / "models", select="all", progress=False)
    table = make_test_observation_table(**POINTING)
    row = table[table["OBS_ID"] == BRIGHT][0]
    source = PointSource("unknown", row["RA_PNT"] % 360, row["DEC_PNT"] - 0.7, 0.1)
    make_test_dataset(path / "runs", **POINTING, **true, point_sources=[source])
    return path


@pytest.mark.slow
def test_verdicts_are_used_to_select(directory):
    """The command finds the run with a source, and its list of good runs selects the others."""
    runs, models, out = directory / "runs", directory / "models", directory / "out"
    printed = output_of("check-runs", runs, "GADF", models, out, "--select", "all")
    report = json.loads((out / "report.json").read_text())
    verdicts = {run["obs_id"]: run["verdict"] for run in report["runs"]}
    assert set(verdicts) == set(open_runs(runs, "GADF").obs_ids)
    assert "source" in verdicts.pop(BRIGHT)
    good = [obs_id for obs_id, verdict in verdicts.items() if verdict == "good"]
    assert len(good) >= 2
    assert "source" in printed
    assert list(read_run_list(out / "good_runs.txt")) == good
    assert f": {BRIGHT}" in (out / "good_runs.txt").read_text()
    assert re.search(rf"run {BRIGHT}: alarm \([a-z, ]*source", (out / "runs.html").read_text())
    assert report["settings"]["false_alarm_rate"] == 0.01
    small = ("--n-energy", 5, "--n-fov", 8)
    output_of("make-bg-cube-models", runs, "GADF", directory / "again", "--select", out / "good_runs.txt", *small)
    again = json.loads((directory / "again" / "report.json").read_text())
    assert {run["obs_id"] for run in again["runs"] if run["status"] == "used"} == set(good)


@pytest.mark.slow
def test_known_sources_are_masked(directory):
    """The source is not found if it is in the catalogue; by default, runs near it are not tested."""
    arguments = directory / "runs", "GADF", directory / "models"
    catalog = directory / "runs" / "sources.ecsv"
    checks = check_runs(*arguments, select=[BRIGHT], catalog=catalog, progress=False)
    assert checks.alarms == {BRIGHT: ()}
    assert repr(checks) == "RunChecks(good runs: 1 of 1)"
    assert [str(reason) for reason in checks.skipped.values()] == ["not in the list of runs"] * 3
    row = Table.read(catalog)[0]
    image = sky_image(directory / "sky.fits", row["RA"], row["DEC"])
    assert check_runs(*arguments, select=[BRIGHT], exclude=[image], progress=False).alarms == {BRIGHT: ()}
    index = Table.read(directory / "runs" / "obs-index.fits.gz")
    everywhere = Table({"RA": index["RA_PNT"], "DEC": index["DEC_PNT"]})
    with raises("no-runs", "4 near a known source", "use --select all, as known sources do not enter the result"):
        check_runs(*arguments, catalog=everywhere, progress=False)
    far = check_runs(*arguments, catalog=catalog, progress=False)
    assert BRIGHT in far.skipped
    assert not far.faults
    (row,) = checks.table
    assert (row["OBS_ID"], row["VERDICT"]) == (BRIGHT, "good")
    assert min(row[name] for name in row.colnames if name.startswith("P_")) == row[f"P_{row['TEST'].upper()}"]


@pytest.mark.slow
def test_models_of_small_field_of_view(directory):
    """Events beyond the field of view of the models are not tested, with a note."""
    small = {"select": "all", "fov_max": "1.4 deg", "n_fov": 14, "overwrite": True, "progress": False}
    make_bg_cube_models(directory / "others", "GADF", directory / "small", **small)
    with np.errstate(all="raise"):
        checks = check_runs(directory / "runs", "GADF", directory / "small", select=[1, 2, 4], progress=False)
    assert not any({"field", "source"} & set(names) for names in checks.alarms.values()), checks.alarms
    assert any("offsets up to 1.4 deg" in note for note in checks.notes)


@pytest.mark.slow
def test_rate_of_false_alarms_sets_limit(directory):
    """Five tests share the false alarm rate; a run with an error is skipped and named, or fails."""
    arguments = directory / "runs", "GADF", directory / "models"
    one = check_runs(*arguments, select=[1], progress=False, false_alarm_rate=0.3)
    assert 1 - (1 - one.p_limit) ** 5 == pytest.approx(0.3)
    (alarms,) = one.alarms.values()
    assert set(alarms) == {name for name, test in one.runs[0].tests.items() if test.p_value < one.p_limit}
    broken = directory / "broken"
    make_test_dataset(broken, **POINTING | {"n_runs": 2}, trigger_rate=4, sigma=2.5, progress=False)
    next(broken.glob("data/*1.fits.gz")).write_bytes(b"no FITS file")
    checks = check_runs(broken, "GADF", directory / "models", select="all", progress=False)
    assert list(checks.faults) == [1]
    assert [run.obs_id for run in checks.runs] == [2]
    assert "not-fits" in checks.faults[1] or "damaged" in checks.faults[1]
    with raises("not-fits"):
        check_runs(broken, "GADF", directory / "models", select="all", progress=False, on_error="fail")


@pytest.mark.slow
def test_wrong_arguments_are_refused(directory):
    """Rates and offsets out of range, directories that cannot be replaced, and masks without a hole, are refused."""
    arguments = directory / "runs", "GADF", directory / "models"
    for name, value in (("false_alarm_rate", 0.0), ("false_alarm_rate", 0.6), ("offset_max", "-1 deg")):
        with raises("invalid-argument", name):
            check_runs(*arguments, **{name: value})
    with raises("foreign-files"):
        check_runs(*arguments, directory)
    with raises("no-runs"):
        check_runs(*arguments, select=[1], mask_radius="80 deg", progress=False)
