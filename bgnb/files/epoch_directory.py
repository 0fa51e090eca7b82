"""Directories with models for each epoch."""

from __future__ import annotations

import os
from pathlib import Path

from bgnb._util.errors import BgnbError
from bgnb.cubes.model_set import ModelSet
from bgnb.files.model_directory import EPOCHS_FILE, read_models
from bgnb.files.report_json import REPORT, read_report
from bgnb.observations.epochs import Epochs
from bgnb.observations.table_file import read_table_file

#: Name of the only set of models, if they are not made for epochs.
ALL_RUNS = ""


def write_epochs(epochs: Epochs, directory: Path) -> None:
    """Write the file that assigns runs to epochs."""
    epochs.as_table().write(directory / EPOCHS_FILE)


def read_epochs(directory: str | Path) -> Epochs | None:
    """Read the file that assigns runs to epochs; None if there is none, as the models are for all runs.

    Raises
    ------
    BgnbError
        If it cannot be read.
    """
    path = Path(directory) / EPOCHS_FILE
    if not os.path.exists(path):  # noqa: PTH110 # that of Path raises if the directory cannot be read, as `read_models` does
        return None
    try:
        table = read_table_file(path)
    except BgnbError:
        raise
    except Exception as error:  # astropy's readers raise many kinds
        raise BgnbError("damaged", f"{path}: cannot be read: {error}; make the models again") from None
    try:
        return Epochs.from_table(table, str(path))
    except BgnbError as error:
        raise BgnbError("damaged", f"{error.message}; make the models again") from None


def read_epoch_models(directory: str | Path) -> dict[str, ModelSet]:
    """Read the models of all epochs, by the name of the epoch."""
    names = read_report(Path(directory)).get("epochs")
    if not isinstance(names, list | dict) or not all(isinstance(name, str) and Path(name).name == name for name in names):
        what = "its epochs are not a list of names of directories"
        raise BgnbError("damaged", f"{Path(directory) / REPORT}: {what}; make the models again")
    return {name: read_models(Path(directory) / name) for name in names}


def read_all_models(directory: str | Path) -> dict[str, ModelSet]:
    """Read the models of all epochs, or the models for all runs, whose name is `ALL_RUNS`."""
    return {ALL_RUNS: read_models(directory)} if read_epochs(directory) is None else read_epoch_models(directory)
