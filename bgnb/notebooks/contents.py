"""Files that JupyterLab writes beside notebooks, which are never written through links that somebody else made."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jupyter_server.services.contents.filecheckpoints import AsyncFileCheckpoints
from jupyter_server.services.contents.fileio import path_to_intermediate
from jupyter_server.services.contents.largefilemanager import AsyncLargeFileManager
from tornado.web import HTTPError


class Contents(AsyncLargeFileManager):
    """Notebooks and other files in a folder; while one is saved, a copy of the former content is beside it."""

    @contextmanager
    def atomic_writing(self, os_path: str, *args: Any, **options: Any) -> Iterator[Any]:
        """Provide a file to write."""
        _refuse_link(Path(path_to_intermediate(os_path)))  # type: ignore[no-untyped-call]
        with super().atomic_writing(os_path, *args, **options) as file:
            yield file


class Checkpoints(AsyncFileCheckpoints):
    """Copies of saved notebooks in the folder ``.ipynb_checkpoints``."""

    def checkpoint_path(self, checkpoint_id: str, path: str) -> str:
        """Return the path of a copy."""
        file = Path(super().checkpoint_path(checkpoint_id, path))  # type: ignore[no-untyped-call]
        _refuse_link(file.parent)
        _refuse_link(file)
        return str(file)


def _refuse_link(path: Path) -> None:
    if path.is_symlink():
        raise HTTPError(403, f"{path} is a link, through which nothing is written; remove it")
