"""Every command that reads runs has the same notes on them, and on whether they match the models."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.table import Table

from bgnb import (
    DataError,
    attach,
    check_runs,
    cross_validate,
    inspect,
    make_bg_cube_models,
    make_epoch_models,
    merge,
    validate,
)
from bgnb.observations.gadf_keywords import SIMULATED
from tests.helpers.errors import raises
from tests.helpers.run_files import ONTIME, run, write_gadf

ALTITUDE = 75.0
SHORT, COPY, FEW, LONG, OTHER, BAD = 1, 7, 9, 11, 13, 15
AXES = {"n_energy": 4, "n_fov": 4}
SMALL = {"method": "classic", "workers": 1, **AXES}


@pytest.fixture(scope="module")
def directory(tmp_path_factory) -> Path:
    """Write runs with one fault each, models of the good ones, and epochs."""
    path = tmp_path_factory.mktemp("runs")
    runs = {obs_id: run(obs_id, 300, pointing=(ALTITUDE, 30.0)) for obs_id in (SHORT, 3, 5, FEW, LONG, OTHER, BAD)}
    runs[COPY] = runs[3] | {"OBS_ID": COPY}
    runs[SHORT] |= {"DEADC": 0.0, "pointing": (ALTITUDE - 8, 30.0)}
    runs[FEW]["events"] = {name: values[::10] for name, values in runs[FEW]["events"].items()}
    runs[LONG]["LIVETIME"] = ONTIME
    runs[OTHER] |= {"OBJECT": SIMULATED, "N_TELS": 2}
    write_gadf(path / "in", [runs[obs_id] for obs_id in sorted(runs)])
    index = Table.read(path / "in" / "obs-index.fits.gz")
    index["QUALITY"] = 2 * (np.asarray(index["OBS_ID"]) == BAD)
    index.write(path / "in" / "obs-index.fits.gz", overwrite=True)
    make_bg_cube_models(path / "in", "GADF", path / "models", select=[3, 5], **SMALL, progress=False)
    Table({"EPOCH": ["all"], "START": ["2000-01-01"], "STOP": ["2020-01-01"]}).write(path / "epochs.ecsv")
    return path


def _merged(path: Path, out: Path, **options: Any) -> object:
    for part in (1, 2):
        make_bg_cube_models(path / "in", "GADF", out / f"{part}", part=f"{part}/2", **SMALL, **options)
    return merge([out / "1", out / "2"], out / "models", progress=False)


def _cross_validated(path: Path, out: Path, **options: Any) -> object:
    axes = {f"model_{name}": number for name, number in AXES.items()}
    (validation,) = cross_validate(path / "in", "GADF", folds=2, method="classic", **axes, **options).values()
    return validation.summary


#: The commands, as functions of the directory, of another one to write to, and of options.
COMMANDS: dict[str, Callable[..., object]] = {
    "make-bg-cube-models": lambda path, out, **options: make_bg_cube_models(
        path / "in", "GADF", out / "models", **SMALL, **options
    ),
    "merge": _merged,
    "make-bg-cube-models --epochs": lambda path, out, **options: make_epoch_models(
        path / "in", "GADF", out / "models", path / "epochs.ecsv", **SMALL, **options
    ),
    "cross-validate": _cross_validated,
    "inspect": lambda path, out, **options: inspect(path / "in", "GADF", **options),
    "validate": lambda path, out, **options: validate(path / "models", path / "in", "GADF", **options).summary,
    "check-runs": lambda path, out, **options: check_runs(path / "in", "GADF", path / "models", offset_max="1 deg", **options),
    "attach": lambda path, out, **options: attach(path / "models", path / "in", "GADF", out / "store", **options),
}
WITH_MODELS = ("validate", "check-runs", "attach")
NOTES = {
    "on a run": "DEADC is 0",
    "pointing": f"ALT_PNT = {ALTITUDE - 8}",
    "index": f"QUALITY of run {BAD} is 2",
    "copy": f"run {COPY} has the same events as run 3",
    "few events": f"run {FEW} has {300 // 10} events",
    "live fraction": f"{LONG} (1.00)",
    "same time": "runs at the same time with the same pointing",
    "simulated": f"simulated runs among real ones: {OTHER}",
}
NOTES_ON_MODELS = {
    "simulated": f"runs that are simulated although the models are of real runs: {OTHER}",
    "telescopes": f"not one of those of the models (4): {OTHER}",
}


@pytest.mark.parametrize("command", COMMANDS)
def test_all_commands_have_the_same_notes(directory, tmp_path, command):
    """Each fault of a run is noted, or is the reason for which it is skipped; the altitude is that of the events."""
    text = str(COMMANDS[command](directory, tmp_path, select="all", progress=False))
    expected = NOTES | NOTES_ON_MODELS if command in WITH_MODELS else NOTES
    assert [name for name, words in expected.items() if words not in text] == [], text
    assert "outside the altitudes" not in text


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "inspect"])
def test_all_commands_stop_at_notes_on_several_runs(directory, tmp_path, command):
    """With ``on_error="fail"``, runs at the same time with the same pointing stop every command."""
    with raises("noted", "runs at the same time", "3 and 5", kind=DataError):
        COMMANDS[command](directory, tmp_path, select=[3, 5], on_error="fail", progress=False)
