"""Read and write definitions of groups as ECSV files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import StringIO
from pathlib import Path

import numpy as np

from bgnb._util.checks import check_type
from bgnb._util.errors import DataError, located
from bgnb.files.output_file import write_file
from bgnb.observations.groups import ObservationGroups
from bgnb.observations.table_file import read_table_file

#: Files of a directory of models: the definition of the groups, and the runs used with their GROUP_ID.
GROUPS_FILE = "bg_observation_groups.ecsv"
GROUPED_RUNS_FILE = "bg_observation_table_grouped.fits.gz"


def write_groups(groups: ObservationGroups, path: str | Path, model_ids: Mapping[int, int] | None = None) -> None:
    """Write the definition of the groups as ECSV.

    Parameters
    ----------
    groups : `ObservationGroups`
        The groups.
    path : path
        The file.
    model_ids : mapping of int to int, optional
        GROUP_ID of the model that is used for each group. It becomes the column MODEL_ID, which
        is -1 for groups without a model.

    Examples
    --------
    >>> import bgnb
    >>> from astropy import units as u
    >>> bgnb.write_groups(bgnb.ObservationGroups([30, 60, 90] * u.deg, [-90, 90, 270] * u.deg), "groups.ecsv")
    >>> len(bgnb.read_groups("groups.ecsv"))
    4
    """
    check_type("groups", groups, ObservationGroups)
    table = groups.table.copy()
    if model_ids is not None:
        table["MODEL_ID"] = [model_ids.get(group_id, -1) for group_id in table["GROUP_ID"].tolist()]
    text = StringIO()
    table.write(text, format="ascii.ecsv")
    write_file(Path(path), text.getvalue().encode())


def read_groups(path: str | Path) -> ObservationGroups:
    """Read groups written by `write_groups`.

    Parameters
    ----------
    path : path
        The file.

    Returns
    -------
    ObservationGroups
        The groups.

    Raises
    ------
    BgnbError
        If the file is missing or is not such a table.

    Examples
    --------
    >>> import bgnb
    >>> groups = bgnb.read_groups("models/bg_observation_groups.ecsv")
    >>> len(groups), groups.group_id(75, 180)
    (28, 27)
    """
    with _errors_explained(path):
        return ObservationGroups.from_table(read_table_file(path, format="ascii.ecsv"))


def read_model_ids(path: str | Path) -> dict[int, int]:
    """Read the GROUP_ID of the model that is used for each group; empty if the table does not state it.

    Raises
    ------
    DataError
        If the file is missing or is not a table of groups.
    """
    with _errors_explained(path):
        table = read_table_file(path, format="ascii.ecsv")
        ObservationGroups.from_table(table)
        if "MODEL_ID" not in table.colnames:
            return {}
        served = table["MODEL_ID"]
        if served.dtype.kind not in "iu" or served.ndim != 1 or np.ma.is_masked(served):
            raise DataError("bad-column", f"{path}: column MODEL_ID must contain integers")
        model_ids = {group_id: model_id for group_id, model_id in enumerate(served.tolist()) if model_id >= 0}
        if wrong := [model_id for model_id in model_ids.values() if model_ids.get(model_id) != model_id]:
            own = f"MODEL_ID is {wrong[0]} in a row, but not in that of group {wrong[0]}"
            raise DataError("groups-mismatch", f"{path}: {own}; copy the file again, or make the models again")
        return model_ids


@contextmanager
def _errors_explained(path: str | Path) -> Iterator[None]:
    """Raise all errors in reading a table of groups as a `DataError` that names it."""
    try:
        with located(str(path)):
            yield
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError("not-found", f"{path}: there is no such file") from None
    except Exception as error:  # astropy's readers raise many kinds
        raise DataError("not-a-model", f"{path}: cannot be read as a table of groups: {error}") from None
