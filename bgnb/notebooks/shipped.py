"""Notebooks that come with bgnb."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from bgnb._util.errors import BgnbError
from bgnb.files.output_file import named_errors, write_file
from bgnb.files.ownership import resolved


def notebook_directory() -> Path:
    """Find the notebooks of the installed package, or of a checkout."""
    here = Path(__file__).parent
    return next(path for path in (here / "ipynb", here.parents[1] / "notebooks") if path.is_dir())


def notebook_names() -> list[str]:
    """List the names of the notebooks that come with bgnb."""
    return sorted(path.stem for path in notebook_directory().glob("*.ipynb"))


def copy_notebooks(directory: str | Path) -> list[Path]:
    """Copy the notebooks that come with bgnb to a directory.

    Parameters
    ----------
    directory : path
        The directory; it is made if it does not exist.

    Returns
    -------
    list of `~pathlib.Path`
        The new notebooks.

    Raises
    ------
    BgnbError
        If a file of the same name exists, or the directory cannot be written.

    Examples
    --------
    >>> import bgnb
    >>> paths = bgnb.copy_notebooks("my-notebooks")
    >>> [path.name for path in paths][:2]
    ['compare_models.ipynb', 'explore.ipynb']
    """
    target = Path(directory)
    copies = {target / f"{name}.ipynb": notebook_directory() / f"{name}.ipynb" for name in notebook_names()}
    if existing := [path.name for path in copies if os.path.lexists(path)]:
        raise BgnbError("exists", f"{target}: {', '.join(existing)} exist already; use another directory")
    with named_errors(target):
        place = resolved(target)
        missing = [folder for folder in (place, *place.parents) if not folder.exists()]
    made: list[Path] = []
    try:
        with named_errors(target):
            place.mkdir(parents=True, exist_ok=True)
        for path, source in copies.items():
            write_file(path, source.read_bytes(), overwrite=False)
            made.append(path)
    except BaseException:
        for path in made:
            path.unlink(missing_ok=True)
        for folder in missing:
            with suppress(OSError):
                folder.rmdir()
        raise
    return made


def find_notebook(notebook: str | Path) -> Path:
    """Find a notebook by its path, or by the name of one that comes with bgnb.

    Raises
    ------
    BgnbError
        If there is none, in which case the message lists the names, or it cannot be read.
    """
    path = Path(notebook)
    try:
        if path.suffix == ".ipynb" and path.is_file():
            return path.absolute()
    except OSError as error:
        raise BgnbError("unreadable", f"{notebook}: cannot be read: {error.strerror}") from None
    if path.parent == Path() and path.stem in notebook_names():
        return notebook_directory() / f"{path.stem}.ipynb"
    raise BgnbError("not-found", f"{notebook}: there is no such notebook; bgnb has {', '.join(notebook_names())}")
