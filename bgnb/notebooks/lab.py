"""JupyterLab on the dashboards of given models."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import NoReturn
from urllib.parse import quote

from bgnb._util.errors import BgnbError
from bgnb._util.extras import require
from bgnb.cubes.compare import compare as compare_two
from bgnb.files.model_directory import ModelDirectory, common_groups
from bgnb.files.output_directory import write_file
from bgnb.notebooks.run import find_notebook


def prepare_notebook(modeldir: str | Path, compare: str | Path | None = None, folder: str | Path = ".") -> Path:
    """Write the notebook that shows models, with their directories filled in.

    Parameters
    ----------
    modeldir : path
        A directory of models.
    compare : path, optional
        A second one, to be compared with the first, which is the reference.
    folder : path
        Where to write it. A notebook that is there already is opened again if it begins with
        these directories, and never overwritten: else the new one gets a number.

    Returns
    -------
    `~pathlib.Path`
        The notebook.

    Raises
    ------
    BgnbError
        Where a directory holds no models, or the notebook cannot be written.
    """
    require("dashboards", "jupyterlab", "nbformat")
    import nbformat

    directories = [Path(modeldir)] if compare is None else [Path(modeldir), Path(compare)]
    models = [ModelDirectory(directory) for directory in directories]
    if compare is not None:  # complain here of what would fail there
        group_id = common_groups(*models)[0]
        one, other = (each.read(group_id) for each in models)
        compare_two(one, other)
    name = "explore" if compare is None else "explore_true_reco"
    parameters = ("modeldir",) if compare is None else ("dir1", "dir2")
    values = dict(zip(parameters, (str(directory.resolve()) for directory in directories), strict=True))
    source = nbformat.read(find_notebook(name), as_version=4)
    cell = next(cell for cell in source.cells if "parameters" in cell.metadata.get("tags", []))
    cell.source = re.sub(
        r'^(\w+): str = ""', lambda match: f"{match[1]}: str = {values.get(match[1], '')!r}", cell.source, flags=re.MULTILINE
    )
    text = nbformat.writes(source) + "\n"
    for number in range(1, 1000):
        path = Path(folder) / f"{name}{'' if number == 1 else f'-{number}'}.ipynb"
        if path.exists() and not _shows(path, cell.source):
            continue
        if not path.exists():
            try:
                write_file(path, text.encode())
            except BgnbError:
                raise BgnbError(f"{path.resolve()}: cannot be written; go to a directory of your own") from None
        return path
    raise BgnbError(f"{folder}: holds a thousand notebooks {name}-….ipynb; remove some")


def open_lab(notebook: Path, arguments: tuple[str, ...] = ()) -> NoReturn:
    """Become a JupyterLab on this machine alone, opened on a notebook.

    Parameters
    ----------
    notebook : `~pathlib.Path`
        The notebook; its folder is what JupyterLab shows.
    arguments : tuple of str
        Further arguments of ``jupyter lab``.
    """
    folder = notebook.resolve().parent
    command = [sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={folder}"]
    command.append(f"--LabApp.default_url=/lab/tree/{quote(notebook.name)}")
    sys.stdout.flush()
    os.chdir(folder)
    os.execv(sys.executable, [*command, "--ServerApp.ip=127.0.0.1", *arguments])


def _shows(path: Path, parameters: str) -> bool:
    """Whether a notebook begins with these parameters."""
    import nbformat

    try:
        cells = nbformat.read(path, as_version=4).cells
    except Exception:  # whatever it is, it is not ours
        return False
    return any(cell.source == parameters for cell in cells if "parameters" in cell.metadata.get("tags", []))
