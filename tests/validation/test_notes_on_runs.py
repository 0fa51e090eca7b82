"""Notes on runs that are compared with models."""

from dataclasses import replace

import numpy as np
import pytest

from bgnb import check_runs, cross_validate, make_bg_cube_models, read_models, validate
from tests.helpers.errors import raises
from tests.helpers.run_files import run, write_gadf

ALTITUDE = 55.5
FEWER = "runs with a number of telescopes (N_TELS) that is not one of those of the models (4): 5"


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """Write runs: the first with a wrong altitude in the index and a placeholder as DEADC, the last a copy of the second."""
    path = tmp_path_factory.mktemp("noted")
    first = run(1, 900)
    runs = [first | {"pointing": (ALTITUDE + 8, first["pointing"][1]), "DEADC": 0.0, "threshold": None}, run(3, 900)]
    write_gadf(path / "runs", [*runs, runs[1] | {"OBS_ID": 5, "N_TELS": 2}])
    axes = {"n_energy": 4, "n_fov": 4, "method": "classic", "on_error": "skip"}
    make_bg_cube_models(path / "runs", "GADF", path / "models", select=[1, 3], **axes, progress=False)
    return path


def expect(notes):
    """Check that notes are on each of the faults of the first run."""
    for text in ("DEADC is 0; it is ignored: run 1", "there is no energy threshold (LO_THRES)", "ALT_PNT = 63.5"):
        assert len([note for note in notes if note.startswith(text)]) == 1, (text, notes)


def test_validation_notes_what_was_resolved(directory):
    """Notes on runs, and on copies, are those of the models; the altitude is that of the events, not of the index."""
    arguments = directory / "models", directory / "runs", "GADF"
    validation = validate(*arguments, select="all", progress=False)
    report = validation.as_dict()
    for notes in (validation.all_notes, report["notes"]):
        expect(notes)
        assert len([note for note in notes if "run 5 has the same events as run 3" in note]) == 1
        assert FEWER in notes
    assert validation.seen == {1, 3}
    first, second, _ = (run.counted for run in validation.runs)
    assert read_models(directory / "models").common_runs([replace(first, mjd=51544.0), second]) == {3}
    np.testing.assert_allclose([each.alt_pnt for each in validation.runs], [ALTITUDE] * 3, atol=0.3)
    assert report["runs"][0]["alt_pnt"] == pytest.approx(ALTITUDE, abs=0.3)
    with raises("noted", "DEADC"):
        validate(*arguments, select=[1, 3], on_error="fail", progress=False)
    with raises("noted", "run 5 has the same events"):
        validate(*arguments, select=[3, 5], on_error="fail", progress=False)
    allowed = validate(*arguments, select=[3, 5], on_error="fail", allow=["duplicate-run"], progress=False)
    assert any(note.startswith("allowed (duplicate-run)") for note in allowed.notes)


def test_cross_validation_notes_copies(directory):
    """A run whose copy is in the models from which it is predicted is noted, whatever the folds."""
    axes = {"model_n_energy": 4, "model_n_fov": 4, "method": "classic"}
    (validation,) = cross_validate(directory / "runs", "GADF", select="all", folds=3, **axes, progress=False).values()
    expect(validation.notes)
    assert any("run 5 has the same events as run 3" in note for note in validation.notes)


def test_check_of_runs_notes_what_was_resolved(directory):
    """Notes on runs are printed, and written to the report."""
    checks = check_runs(directory / "runs", "GADF", directory / "models", select=[1, 5], offset_max="0.5 deg", progress=False)
    expect(checks.notes)
    assert FEWER in checks.notes
    expect(checks.as_dict()["notes"])
