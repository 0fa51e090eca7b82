"""What becomes of runs that cannot be used, or are odd: left out, or a stop; and what the report says."""

import json

import pytest
from astropy.table import Table

from bgnb import BgnbError, DataError, attach, cross_validate, make_bg_cube_models, validate
from tests.helpers.commands import error_of, output_of
from tests.helpers.files import names
from tests.helpers.model_directories import model_directory
from tests.helpers.run_files import run, write_gadf

SMALL = {"select": "all", "n_energy": 6, "n_fov": 10}
SMALL_OPTIONS = ["--select", "all", "--n-energy", "6", "--n-fov", "10"]


@pytest.fixture
def indir(tmp_path):
    """Three runs, of which the second is broken."""
    write_gadf(tmp_path / "in", [run(obs_id, 100 * obs_id) for obs_id in (2, 3, 5)])
    (tmp_path / "in" / "data" / "run3.fits.gz").write_bytes(b"nonsense")
    return tmp_path / "in"


def test_skip_leaves_the_run_out_and_says_so(indir, tmp_path):
    output = output_of("make-bg-cube-models", indir, "GADF", tmp_path / "out", *SMALL_OPTIONS)
    assert "Warning: 1 run cannot be used; see above and report.json" in output
    assert "run3.fits.gz: is not a FITS file" in output
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert [entry["status"] for entry in report["runs"]] == ["used", "left_out", "used"]
    assert report["runs"][1]["reason"].endswith("run3.fits.gz: is not a FITS file [not-fits]")
    assert sum(entry["events"] or 0 for entry in report["runs"]) == 700
    assert Table.read(tmp_path / "out" / "bg_observation_table.fits.gz")["OBS_ID"].tolist() == [2, 5]


def test_fail_stops_with_status_2_and_publishes_nothing(indir, tmp_path):
    line = error_of("make-bg-cube-models", indir, "GADF", tmp_path / "out", *SMALL_OPTIONS, "--on-error", "FAIL")
    assert line == f"Error: {indir}/data/run3.fits.gz: is not a FITS file [not-fits]"
    assert names(tmp_path) == {"in"}


def test_an_error_names_some_of_many_faults(tmp_path):
    indir = write_gadf(tmp_path / "in", [run(obs_id, 10) for obs_id in range(2, 14)])
    for path in (indir / "data").iterdir():
        path.write_bytes(b"nonsense")
    with pytest.raises(BgnbError) as caught:
        make_bg_cube_models(indir, "GADF", tmp_path / "out", **SMALL)
    message = str(caught.value)
    assert "12 cannot be used" in message
    assert message.count("is not a FITS file") == 4
    assert " and 8 more. Are the files complete" in message


def test_fail_does_not_mind_runs_that_are_not_asked_for(indir, tmp_path):
    report = make_bg_cube_models(indir, "GADF", tmp_path / "out", **SMALL | {"select": [2, 5]}, on_error="fail")
    assert list(report.group_ids) == [2, 5]


def test_faults_of_the_index_stop_too(tmp_path):
    indir = write_gadf(tmp_path / "in", [run(obs_id, 100) for obs_id in (2, 3)])
    index = Table.read(indir / "obs-index.fits.gz")
    index["ALT_PNT"][1] = -5.0
    index.write(indir / "obs-index.fits.gz", overwrite=True)
    assert list(make_bg_cube_models(indir, "GADF", tmp_path / "out", **SMALL).faults) == [3]
    with pytest.raises(DataError, match="ALT_PNT of run 3 is -5 deg, below the horizon"):
        make_bg_cube_models(indir, "GADF", tmp_path / "fail", **SMALL, on_error="fail")


def test_every_command_that_reads_runs_can_stop(indir, tmp_path):
    model_directory(tmp_path / "models")
    with pytest.raises(DataError, match=r"run3.fits.gz: is not a FITS file"):
        attach(tmp_path / "models", indir, "GADF", tmp_path / "store", on_error="fail")
    with pytest.raises(DataError, match=r"run3.fits.gz: is not a FITS file"):
        validate(tmp_path / "models", indir, "GADF", select="all", on_error="fail")
    with pytest.raises(DataError, match=r"run3.fits.gz: is not a FITS file"):
        cross_validate(indir, "GADF", select="all", folds=3, on_error="fail")
    with pytest.raises(BgnbError, match="unknown on_error 'stop': use one of skip, fail"):
        attach(tmp_path / "models", indir, "GADF", tmp_path / "store", on_error="stop")


@pytest.mark.parametrize("on_error", ["skip", "fail"])
def test_runs_of_several_instruments_are_never_added(tmp_path, on_error):
    """Whether they are in one group or in several."""
    for name, numbers in (("one", (2, 8)), ("several", (2, 3))):
        indir = write_gadf(tmp_path / name, [run(n, 100, TELESCOP=t) for n, t in zip(numbers, ("HESS", "MAGIC"), strict=True)])
        with pytest.raises(BgnbError, match=rf"run 2 is of HESS, run {numbers[1]} of MAGIC \(TELESCOP\)"):
            make_bg_cube_models(indir, "GADF", tmp_path / "out", **SMALL, on_error=on_error)
    telescopes = {5: None, 7: "HESS", 2: "MAGIC"}  # the first that is counted does not say
    indir = write_gadf(tmp_path / "unsaid", [run(n, 100, TELESCOP=t) for n, t in telescopes.items()])
    with pytest.raises(BgnbError, match=r"run 7 is of HESS, run 2 of MAGIC|run 2 is of MAGIC, run 7 of HESS"):
        make_bg_cube_models(indir, "GADF", tmp_path / "out", **SMALL, on_error=on_error)
    same = write_gadf(tmp_path / "same", [run(n, 100, TELESCOP=t) for n, t in ((2, "HESS"), (8, "hess"))])
    assert len(make_bg_cube_models(same, "GADF", tmp_path / "out", **SMALL).group_ids) == 2


def test_what_is_odd_but_borne_is_reported_with_the_runs(tmp_path):
    indir = write_gadf(tmp_path / "in", [run(obs_id, 100, N_TELS=3 + obs_id % 2) for obs_id in (2, 3, 5, 6)])
    index = Table.read(indir / "obs-index.fits.gz")
    index["LIVETIME"][[1, 2]] -= 100
    index.add_row(index[0])
    index.write(indir / "obs-index.fits.gz", overwrite=True)
    report = make_bg_cube_models(indir, "GADF", tmp_path / "out", **SMALL)
    notes = [line for line in str(report).splitlines() if line.startswith("note: ")]
    assert notes == [
        "note: the index contains the row of run 2 more than once",
        "note: groups of a single run: 4 of 4; --method spline makes more of few runs, --min-livetime merges groups",
        "note: LIVETIME of the index differs from that of the events, which is used: run 3, 5",
        "note: runs have different numbers of telescopes (N_TELS): 3 in 2 runs, 4 in 2 runs",
    ]
    assert report.runs[1].counted.livetime_s == 1503
    content = json.loads((tmp_path / "out" / "report.json").read_text())
    assert [f"note: {note}" for note in content["notes"]] == notes
    assert [len(entry["notes"]) for entry in content["runs"]] == [0, 1, 1, 0]
