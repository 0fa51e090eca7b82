"""Runs that cannot be used or give warnings: skipped or an error, and the report."""

import json
import re

import pytest
from astropy.table import Table

from bgnb import BgnbError, DataError, attach, cross_validate, make_bg_cube_models, make_models, open_runs, validate
from tests.helpers.commands import error_of, output_of
from tests.helpers.errors import raises
from tests.helpers.files import names
from tests.helpers.model_directories import model_directory
from tests.helpers.run_files import run, write_gadf

SMALL = {"select": "all", "n_energy": 6, "n_fov": 10, "method": "classic"}
SMALL_OPTIONS = ["--select", "all", "--n-energy", "6", "--n-fov", "10", "--method", "classic"]


@pytest.fixture
def indir(tmp_path):
    """Three runs, of which the second is broken."""
    write_gadf(tmp_path / "in", [run(obs_id, 100 * obs_id) for obs_id in (2, 3, 5)])
    (tmp_path / "in" / "data" / "run3.fits.gz").write_bytes(b"nonsense")
    return tmp_path / "in"


def test_skipped_run_is_reported(indir, tmp_path):
    """A run that cannot be read is skipped, with a warning and an entry in the report."""
    output = output_of("make-bg-cube-models", indir, "GADF", tmp_path / "out", *SMALL_OPTIONS)
    assert "Warning: 1 run cannot be used; see above and report.json" in output
    assert "run3.fits.gz: " in output
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert [entry["status"] for entry in report["runs"]] == ["used", "skipped", "used"]
    assert report["runs"][1]["reason"].endswith("[not-fits]")
    assert "run3.fits.gz: " in report["runs"][1]["reason"]
    assert sum(entry["events"] or 0 for entry in report["runs"]) == 700
    assert Table.read(tmp_path / "out" / "bg_observation_table.fits.gz")["OBS_ID"].tolist() == [2, 5]


def test_fail_writes_no_directory(indir, tmp_path):
    """With ``fail`` the command ends with status 2, and writes nothing."""
    line = error_of("make-bg-cube-models", indir, "GADF", tmp_path / "out", *SMALL_OPTIONS, "--on-error", "FAIL")
    assert line.startswith(f"Error: {indir}/data/run3.fits.gz: ")
    assert line.endswith("[not-fits]")
    assert names(tmp_path) == {"in"}


def test_error_groups_broken_files(tmp_path):
    """If all of many runs are broken, the error counts them by code, with an example of the most frequent one."""
    indir = write_gadf(tmp_path / "in", [run(obs_id, 10) for obs_id in range(2, 14)])
    for path in (indir / "data").iterdir():
        path.write_bytes(b"nonsense")
    (indir / "data" / "run7.fits.gz").unlink()
    with pytest.raises(BgnbError) as caught:
        make_bg_cube_models(tmp_path / "in" / ".." / "in", "GADF", tmp_path / "out", **SMALL)
    message = str(caught.value)
    assert caught.value.code == "no-counts"
    assert "12 cannot be used" in message
    assert re.search(r": 12 cannot be used; errors: 11 not-fits \(such as [^ ]*/run10.fits.gz: .*\), 1 not-found ", message)
    assert message.count(".fits.gz: ") == 1
    assert f" {indir.resolve()}/data/" in message


def test_advice_depends_on_the_reasons(tmp_path):
    """If no run is left, the advice concerns the reasons for skipping runs, and no others."""
    indir = write_gadf(tmp_path / "in", [run(obs_id, 100) for obs_id in (2, 3)])
    near, edges = "--sources mask, --select all or a smaller --exclusion-radius", "--alt-edges, --az-edges"

    def advice(**arguments):
        with raises("no-runs", str(indir)) as caught:
            make_bg_cube_models(indir, "GADF", tmp_path / "out", **arguments)
        return [text in str(caught.value) for text in (near, edges)]

    assert advice(exclusion_radius="180 deg") == [True, False]
    assert advice(select="all", alt_edges=[10, 20]) == [False, True]
    index = Table.read(indir / "obs-index.fits.gz")
    index["ALT_PNT"] = -5.0
    index.write(indir / "obs-index.fits.gz", overwrite=True)
    assert advice(select="all") == [False, False]


def test_dots_in_paths_are_resolved(tmp_path):
    """Errors name files without ``..``, also if the index or a link leads there."""
    indir = write_gadf(tmp_path / "store", [run(2, 100)])
    (indir / "data").rename(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "run2.fits.gz").write_bytes(b"nonsense")
    (tmp_path / "far" / "away").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "far" / "away")
    index = Table.read(indir / "hdu-index.fits.gz")
    for folder, expected in (("../elsewhere", tmp_path / "elsewhere"), ("../link/../elsewhere", tmp_path / "far/elsewhere")):
        index["FILE_DIR"] = [folder] * len(index)
        index.write(indir / "hdu-index.fits.gz", overwrite=True)
        path = open_runs(indir, "GADF").files(2).events.path
        assert path == expected.resolve() / "run2.fits.gz"
    with raises("not-found", f"{tmp_path.resolve()}: "):
        make_models(indir / "..", "GADF")


def test_fail_ignores_other_runs(indir, tmp_path):
    """With ``fail`` a broken run that is not selected has no effect."""
    report = make_bg_cube_models(indir, "GADF", tmp_path / "out", **SMALL | {"select": [2, 5]}, on_error="fail")
    assert list(report.group_ids) == [2, 5]


def test_errors_of_the_index_can_stop(tmp_path):
    """With ``fail`` an error in the index of runs is raised."""
    indir = write_gadf(tmp_path / "in", [run(obs_id, 100) for obs_id in (2, 3)])
    index = Table.read(indir / "obs-index.fits.gz")
    index["ALT_PNT"][1] = -5.0
    index.write(indir / "obs-index.fits.gz", overwrite=True)
    assert list(make_bg_cube_models(indir, "GADF", tmp_path / "out", **SMALL).faults) == [3]
    with raises("bad-position", "ALT_PNT", "run 3", "-5 deg", kind=DataError):
        make_bg_cube_models(indir, "GADF", tmp_path / "fail", **SMALL, on_error="fail")


def test_all_functions_can_stop(indir, tmp_path):
    """All functions that read runs raise the error of a run with ``fail``."""
    model_directory(tmp_path / "models")
    with raises("not-fits", "run3.fits.gz: ", kind=DataError):
        attach(tmp_path / "models", indir, "GADF", tmp_path / "store", on_error="fail")
    with raises("not-fits", "run3.fits.gz: ", kind=DataError):
        validate(tmp_path / "models", indir, "GADF", select="all", on_error="fail")
    with raises("not-fits", "run3.fits.gz: ", kind=DataError):
        cross_validate(indir, "GADF", select="all", folds=3, on_error="fail")
    with raises("unknown-choice", "on_error", "stop", "skip, fail"):
        attach(tmp_path / "models", indir, "GADF", tmp_path / "store", on_error="stop")


@pytest.mark.parametrize("on_error", ["skip", "fail"])
def test_instruments_are_not_mixed(tmp_path, on_error):
    """Runs of different instruments are refused, in one group or in several."""
    for name, numbers in (("one", (2, 8)), ("several", (2, 3))):
        indir = write_gadf(tmp_path / name, [run(n, 100, TELESCOP=t) for n, t in zip(numbers, ("HESS", "FACT"), strict=True)])
        with raises("mixed-instruments", "run 2 is of HESS", f"run {numbers[1]} of FACT", "TELESCOP"):
            make_bg_cube_models(indir, "GADF", tmp_path / "out", **SMALL, on_error=on_error)
    telescopes = {5: None, 7: "HESS", 2: "FACT"}  # the first has no TELESCOP
    indir = write_gadf(tmp_path / "unsaid", [run(n, 100, TELESCOP=t) for n, t in telescopes.items()])
    with raises("mixed-instruments") as caught:
        make_bg_cube_models(indir, "GADF", tmp_path / "out", **SMALL, on_error=on_error)
    assert re.search(r"run 7 is of HESS, run 2 of FACT|run 2 is of FACT, run 7 of HESS", str(caught.value))
    same = write_gadf(tmp_path / "same", [run(n, 100, TELESCOP=t) for n, t in ((2, "HESS"), (8, "hess"))])
    assert len(make_bg_cube_models(same, "GADF", tmp_path / "out", **SMALL).group_ids) == 2


def test_warnings_are_reported_with_runs(tmp_path):
    """The report contains the warnings, with the runs concerned."""
    indir = write_gadf(tmp_path / "in", [run(obs_id, 100, N_TELS=3 + obs_id % 2) for obs_id in (2, 3, 5, 6)])
    index = Table.read(indir / "obs-index.fits.gz")
    index["LIVETIME"][[1, 2]] -= 100
    index.add_row(index[0])
    index.write(indir / "obs-index.fits.gz", overwrite=True)
    report = make_bg_cube_models(indir, "GADF", tmp_path / "out", **SMALL)
    notes = [line for line in str(report).splitlines() if line.startswith("note: ")]
    assert notes == [
        "note: the index contains the row of run 2 more than once",
        "note: groups of a single run: 4 of 4; --method spline predicts better from few runs, as do larger groups",
        "note: fewer than 1000 counts, so that the rate is uncertain: groups 20, 21, 26, 27",
        "note: LIVETIME of the index differs from that of the events, which is used: runs 3, 5",
        "note: runs have different numbers of telescopes (N_TELS): 3 in 2 runs, 4 in 2 runs",
    ]
    assert report.runs[1].counted.livetime_s == 1503
    content = json.loads((tmp_path / "out" / "report.json").read_text())
    assert [f"note: {note}" for note in content["notes"]] == notes
    assert [len(entry["notes"]) for entry in content["runs"]] == [0, 1, 1, 0]
