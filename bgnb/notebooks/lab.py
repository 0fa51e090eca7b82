"""Open JupyterLab on the dashboards of models."""

from __future__ import annotations

import os
import re
import sys
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote

from bgnb._util.errors import BgnbError
from bgnb._util.extras import require
from bgnb._util.library_settings import environment_of_user
from bgnb._util.resource_limits import check_kernel_limits
from bgnb.cubes.compare import compare as compare_two
from bgnb.files.model_directory import ModelDirectory, common_groups
from bgnb.files.output_file import write_file
from bgnb.files.ownership import is_changed_by_user_only, is_own_file
from bgnb.notebooks.content import parameter_cell, read_notebook
from bgnb.notebooks.shipped import find_notebook

# Outputs that neither run code nor load anything.
_HARMLESS = {"text/plain", "image/png", "application/vnd.jupyter.widget-view+json"}
# Options of bgnb that those of the user with other names replace, by the end of these names.
_PREFERRED = ("ServerApp.preferred_dir", "FileContentsManager.preferred_dir", "AsyncLargeFileManager.preferred_dir")
_ROOTS = ("ServerApp.root_dir", "FileContentsManager.root_dir", "AsyncLargeFileManager.root_dir", "LabApp.default_url")
_REPLACED_BY = {
    "root_dir": (*_ROOTS, *_PREFERRED),
    "notebook_dir": (*_ROOTS, *_PREFERRED),
    "preferred_dir": _PREFERRED,
}


def prepare_notebook(modeldir: str | Path, compare: str | Path | None = None, folder: str | Path = ".") -> Path:
    """Write the notebook that shows models, with their directories filled in.

    Parameters
    ----------
    modeldir : path
        A directory of models.
    compare : path, optional
        A second one, to be compared with the first, which is the reference.
    folder : path
        Folder of the notebook, in which only the user can write. An existing notebook is never overwritten: it is opened
        again if its cells are those of the new one, and its outputs contain neither HTML nor code; otherwise the name of
        the new one gets a number.

    Returns
    -------
    `~pathlib.Path`
        The notebook.

    Raises
    ------
    BgnbError
        If a directory contains no models, other users can write in the folder, or the notebook cannot be written.
    """
    require("dashboards", "jupyterlab", "nbformat")
    check_kernel_limits()
    import nbformat

    directories = [Path(modeldir)] if compare is None else [Path(modeldir), Path(compare)]
    models = [ModelDirectory(directory) for directory in directories]
    if compare is not None:  # raise here the errors that the notebook would raise
        group_id = common_groups(*models)[0]
        one, other = (each.read(group_id) for each in models)
        compare_two(one, other)
    name = "explore" if compare is None else "explore_true_reco"
    parameters = ("modeldir",) if compare is None else ("dir1", "dir2")
    values = dict(zip(parameters, (str(directory.resolve()) for directory in directories), strict=True))
    notebook = read_notebook(find_notebook(name))
    cell = parameter_cell(notebook)
    cell.source = re.sub(
        r'^(\w+): str = ""', lambda match: f"{match[1]}: str = {values.get(match[1], '')!r}", cell.source, flags=re.MULTILINE
    )
    names = (f"{name}{'' if number == 1 else f'-{number}'}.ipynb" for number in count(1))
    path = next(path for path in (Path(folder) / each for each in names) if not os.path.lexists(path) or _wrote(path, notebook))
    if os.path.lexists(path) or os.access(folder, os.W_OK):  # otherwise the error below says that it is not writable
        _check_folder(Path(folder))
    if not os.path.lexists(path):
        write_file(path, (nbformat.writes(notebook) + "\n").encode(), overwrite=False)
    return path


def open_lab(notebook: Path, arguments: tuple[str, ...] = ()) -> NoReturn:
    """Replace this process by a JupyterLab that opens a notebook and listens on this machine only.

    Parameters
    ----------
    notebook : `~pathlib.Path`
        The notebook; JupyterLab shows its folder.
    arguments : tuple of str
        Further arguments of ``jupyter lab``, which replace those of bgnb.
    """
    from bgnb.notebooks.kernels import can_encrypt

    folder = notebook.resolve().parent
    # In the workspace of another folder, JupyterLab would open the notebooks of the same names in this one, with their widgets.
    workspace = f"bgnb-{sha256(os.fsencode(folder)).hexdigest()[:8]}"
    options = {
        "ServerApp.root_dir": folder,
        "FileContentsManager.root_dir": folder,
        "AsyncLargeFileManager.root_dir": folder,
        "ServerApp.preferred_dir": folder,  # the one that the user configured may lie outside
        "FileContentsManager.preferred_dir": "",
        "AsyncLargeFileManager.preferred_dir": "",
        "LabApp.default_url": f"/lab/workspaces/{workspace}/tree/{quote(notebook.name)}",
        # Neither kernels nor notebooks nor exported pages use files in the folder that only happen to have the right name.
        "ServerApp.kernel_spec_manager_class": "bgnb.notebooks.kernels.KernelSpecs",
        "TemplateExporter.extra_template_basedirs": "[]",
        "LanguageServerManager.autodetect": "False",  # it would run programs in node_modules of the folder
        "LabApp.extension_manager": "readonly",  # the other one runs pip, which would import from the folder
        "ServerApp.ip": "127.0.0.1",
    }
    if can_encrypt():  # otherwise other users of this machine can read what kernels print
        options["KernelManager.transport_encryption"] = "auto"
    given = {argument.partition("=")[0].lstrip("-") for argument in arguments}
    places = {name.rpartition(".")[2].replace("-", "_") for name in given if "Kernel" not in name}  # those of kernels differ
    if "ip" in given:
        del options["ServerApp.ip"]
    replaced = given.union(*(_REPLACED_BY.get(name, ()) for name in places))
    command = [sys.executable, "-P", "-m", "jupyterlab"]
    command += [f"--{name}={value}" for name, value in options.items() if name not in replaced]
    sys.stdout.flush()
    os.chdir(folder)
    os.execve(sys.executable, [*command, *arguments], environment_of_user())


def _check_folder(folder: Path) -> None:
    """Refuse a folder in which other users can put notebooks, settings and links, which JupyterLab would use."""
    if not is_changed_by_user_only(folder.resolve() if folder.is_symlink() else folder):
        if folder.stat().st_uid == os.geteuid():
            what = "other users can write in this folder, where JupyterLab would use what they put there"
            advice = "start bgnb lab in a folder in which only you can write, or remove this permission (chmod go-w)"
        else:
            what = "this folder belongs to another user, and JupyterLab would use what is put there"
            advice = "start bgnb lab in a folder of your own"
        raise BgnbError("bad-target", f"{folder.resolve()}: {what}; {advice}")


def _wrote(path: Path, notebook: Any) -> bool:
    """Return true for a notebook of this user with these cells, whose outputs are as harmless as those of bgnb.

    JupyterLab runs the code in stored states of widgets as soon as it opens a notebook, and draws outputs such as those of
    Vega, which may read and send the files of the user. The notebook may be a copy of somebody else's.
    """
    try:
        found = read_notebook(path) if is_own_file(path) else None
    except BgnbError:  # a file of the user
        return False
    if found is None or "widgets" in found.metadata or _sources(found) != _sources(notebook):
        return False
    outputs = [output for cell in found.cells for output in cell.get("outputs", ())]
    return all(output.get("data", {}).keys() <= _HARMLESS for output in outputs)


def _sources(notebook: Any) -> list[tuple[str, str]]:
    return [(cell.cell_type, cell.source) for cell in notebook.cells]
