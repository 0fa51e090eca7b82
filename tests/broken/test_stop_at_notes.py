"""``--on-error fail``: what is otherwise accepted with a note is an error; what was requested or not selected is not."""

import gzip
import shutil

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from bgnb import (
    DataError,
    attach,
    check_runs,
    cross_validate,
    make_bg_cube_models,
    make_epoch_models,
    merge,
    open_runs,
    read_event_list,
    validate,
)
from bgnb import make_models as models_of
from bgnb.observations.gadf_keywords import SIMULATED
from tests.broken import test_compared_runs as compared
from tests.broken import test_contradictions as contradictions
from tests.broken import test_notes as noted
from tests.broken import test_odd_but_good as odd
from tests.broken.directory import CHANGED, EVENTS, both, file_of, in_header, in_index, in_row
from tests.helpers.commands import error_of, output_of
from tests.helpers.errors import raises
from tests.helpers.files import names
from tests.helpers.run_files import ONTIME

SMALL = {"select": "all", "method": "unsmoothed", "n_energy": 6, "n_fov": 4, "workers": 1}
OTHERS = [obs_id for obs_id in EVENTS if obs_id != CHANGED]


def simulated(indir):
    """Mark runs as simulated, which may take place at the same time."""
    for obs_id in EVENTS:
        with fits.open(file_of(indir, obs_id)) as hdus:
            hdus["EVENTS"].header["OBJECT"] = SIMULATED
            hdus.writeto(file_of(indir, obs_id), overwrite=True)
    return indir


@pytest.fixture(scope="module")
def simulated_runs(good_runs, plausible_runs, tmp_path_factory):
    """Good and plausible runs that are marked as simulated."""
    folder = tmp_path_factory.mktemp("simulated")
    return [
        simulated(shutil.copytree(runs, folder / name)) for runs, name in ((good_runs, "in"), (plausible_runs, "plausible"))
    ]


@pytest.fixture
def indir(simulated_runs, tmp_path):
    """Copy the good runs, to change run 4."""
    return shutil.copytree(simulated_runs[0], tmp_path / "in")


@pytest.fixture
def plausible(simulated_runs, tmp_path):
    """Copy the plausible runs, to change run 4."""
    return shutil.copytree(simulated_runs[1], tmp_path / "plausible")


def with_checksum(text):
    """State a checksum of the files of the changed run in the index."""

    def change(table):
        table["MD5"] = [text if obs_id == CHANGED else "" for obs_id in table["OBS_ID"]]

    return in_index("hdu-index", change)


def text_in_column(table):
    table["LIVETIME"] = ["long" if obs_id == CHANGED else "" for obs_id in table["OBS_ID"]]


def gti_called_events(table):
    table["HDU_NAME"] = np.where((table["OBS_ID"] == CHANGED) & (table["HDU_TYPE"] == "gti"), "EVENTS", table["HDU_NAME"])


OF_THE_RUN = noted.NOTES_OF_A_RUN | {
    "a row twice": noted.NOTES_OF_THE_INDEX["a row twice"],
    "a location twice": noted.NOTES_OF_THE_INDEX["a location twice"],
    "another checksum": (with_checksum(32 * "0"), "run4.fits.gz", "MD5"),
    "text in the index": (in_index("obs-index", text_in_column), "LIVETIME of run 4", "'long'"),
    "times in the HDU of events": (in_index("hdu-index", gti_called_events), "HDU EVENTS", "run 4"),
}


@pytest.mark.parametrize("name", OF_THE_RUN)
def test_notes_on_a_run_stop(indir, tmp_path, name):
    """The command stops and makes nothing; the other runs can be used."""
    change, *words = OF_THE_RUN[name]
    change(indir)
    with raises("noted", str(indir), *words, "--on-error skip", kind=DataError):
        make_bg_cube_models(indir, "GADF", tmp_path / "out", on_error="fail", **SMALL)
    assert names(tmp_path) == {"in"}
    report = make_bg_cube_models(indir, "GADF", tmp_path / "out", on_error="fail", **SMALL | {"select": OTHERS})
    assert list(report.group_ids) == OTHERS


@pytest.mark.parametrize("name", ["unknown run", "unknown run in files of others"])
def test_notes_on_unknown_runs_stop(indir, tmp_path, name):
    """Event lists without a row stop the command, unless runs are listed."""
    change, *words = noted.NOTES_OF_THE_INDEX[name]
    change(indir)
    with raises("noted", *words, kind=DataError):
        make_bg_cube_models(indir, "GADF", tmp_path / "out", on_error="fail", **SMALL)
    report = make_bg_cube_models(indir, "GADF", tmp_path / "out", on_error="fail", **SMALL | {"select": list(EVENTS)})
    assert list(report.group_ids) == list(EVENTS)


def test_header_of_the_index_stops_all(indir, tmp_path):
    """A note on the whole index concerns any run."""
    path = indir / "obs-index.fits.gz"
    content = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(content.replace(b"binary table extension", b"binary t\xe4ble extension")))
    assert "not ASCII" in open_runs(indir, "GADF").notes[0]
    for select in ("all", OTHERS):
        with raises("noted", str(indir), "not ASCII", kind=DataError):
            make_bg_cube_models(indir, "GADF", tmp_path / "out", on_error="fail", **SMALL | {"select": select})


CASES = {name: (case[0], {}) for name, case in contradictions.RESOLVED.items()}
CASES |= {name: (change, reading) for name, (change, _, reading) in contradictions.REFUSED.items() if reading}


@pytest.mark.parametrize("name", CASES)
def test_contradictions_stop(plausible, name):
    """Any note on a run is an error, unless it says that a check was allowed or a statement is trusted."""
    change, reading = CASES[name]
    change(plausible)
    if name == "altitude of another time":
        reading = {"pointing": "computed"}
    runs = open_runs(plausible, "GADF", **reading)
    notes = read_event_list(runs.files(4)).notes
    unrequested = [note for note in notes if not note.startswith("allowed (") and "trusted" not in note]
    assert reading or unrequested
    if not unrequested:
        assert read_event_list(runs.with_on_error("fail").files(4)).notes == notes
        return
    with raises("noted", "run4.fits.gz", unrequested[0], kind=DataError):
        read_event_list(runs.with_on_error("fail").files(4))


def test_allowed_runs_do_not_stop(indir, tmp_path):
    """A bad run that is allowed is a note."""
    in_index(
        "obs-index", lambda table: table.add_column([2 * (obs_id == CHANGED) for obs_id in table["OBS_ID"]], name="QUALITY")
    )(indir)
    with raises("bad-quality"):
        make_bg_cube_models(indir, "GADF", tmp_path / "out", on_error="fail", **SMALL)
    report = make_bg_cube_models(indir, "GADF", tmp_path / "out", on_error="fail", allow="bad-quality", **SMALL)
    assert list(report.group_ids) == list(EVENTS)
    assert any("allowed (bad-quality)" in note for note in report.notes)


def test_unusual_runs_stop(plausible, tmp_path):
    """Notes from the comparison of runs with each other stop as well; an allowed copy does not."""
    compared.copied(plausible)
    small = compared.SMALL | {"on_error": "fail", "allow": "duplicate-run"}
    assert compared.outcome(models_of(plausible, "GADF", **small).report)[4] == "used"
    in_header(DEADC=1.0, LIVETIME=ONTIME)(plausible)
    with raises("noted", str(plausible), "live fraction", "4 (1.00)", kind=DataError):
        models_of(plausible, "GADF", **small)


@pytest.mark.parametrize("name", odd.CASES)
def test_unusual_runs_stop_with_notes_only(indir, tmp_path, name):
    """Unusual but valid runs stop the command only if something is noted."""
    odd.CASES[name](indir)
    runs = open_runs(indir, "GADF")
    notes = [*runs.notes, *(note for obs_id in EVENTS for note in read_event_list(runs.files(obs_id)).notes)]
    arguments = SMALL | {"on_error": "fail"}
    if notes:
        with raises("noted", notes[0], kind=DataError):
            models_of(indir, "GADF", **arguments)
    else:
        assert list(models_of(indir, "GADF", **arguments).report.group_ids) == list(EVENTS)


def test_harmless_notes_do_not_stop(indir, tmp_path):
    """Files without events, runs near sources that are not selected, and few counts are only noted."""
    both(in_row(RA_PNT=83.63, DEC_PNT=22.01), in_index("obs-index", noted.repeated))(indir)  # not read: near the Crab Nebula
    far = SMALL | {"select": "far", "on_error": "fail"}
    with raises("noted", "run 4"):
        make_bg_cube_models(indir, "GADF", tmp_path / "out", **SMALL | {"on_error": "fail"})
    report = make_bg_cube_models(indir, "GADF", tmp_path / "out", **far)
    assert list(report.group_ids) == OTHERS
    assert any("1000 counts" in note for note in report.notes)
    shutil.rmtree(tmp_path / "out")
    file_of(indir).unlink()
    report = make_bg_cube_models(indir, "FILES", tmp_path / "out", **far)
    assert list(report.group_ids) == OTHERS
    assert any("FITS files without events are ignored" in note for note in report.notes)


def test_all_functions_stop_at_notes(indir, tmp_path):
    """Every function that reads runs raises a note with ``fail``, on any workers."""
    options = {"n_energy": 6, "n_fov": 4, "select": "all", "method": "classic"}
    make_bg_cube_models(indir, "GADF", tmp_path / "models", workers=1, **options)
    for part in (1, 2):
        make_bg_cube_models(indir, "GADF", tmp_path / f"part{part}", part=f"{part}/2", workers=1, on_error="fail", **options)
    assert list(merge([tmp_path / "part1", tmp_path / "part2"], tmp_path / "merged").group_ids) == list(EVENTS)
    in_row(LIVETIME=1000.0)(indir)
    epochs = Table({"EPOCH": ["all"], "START": ["2000-01-01"], "STOP": ["2020-01-01"]})
    epochs.write(tmp_path / "epochs.ecsv")
    models, strict = tmp_path / "models", {"on_error": "fail", "progress": False}
    for function in (
        lambda: make_bg_cube_models(indir, "GADF", tmp_path / "out", workers=2, **options, **strict),
        lambda: make_bg_cube_models(indir, "GADF", tmp_path / "out", part="1/1", **options, **strict),
        lambda: make_epoch_models(indir, "GADF", tmp_path / "out", tmp_path / "epochs.ecsv", **options, **strict),
        lambda: attach(models, indir, "GADF", tmp_path / "out", **strict),
        lambda: validate(models, indir, "GADF", select="all", **strict),
        lambda: cross_validate(indir, "GADF", select="all", folds=3, **strict),
        lambda: check_runs(indir, "GADF", models, select="all", **strict),
    ):
        with raises("noted", "run4.fits.gz", "LIVETIME of the index", kind=DataError):
            function()
    assert not (tmp_path / "out").exists()
    line = error_of("make-bg-cube-models", indir, "GADF", tmp_path / "out", "--select", "all", "--on-error", "fail")
    assert line.endswith("[noted]")
    output = output_of("make-bg-cube-models", indir, "GADF", tmp_path / "out", "--select", "all", "--method", "unsmoothed")
    assert "note: LIVETIME of the index" in output
