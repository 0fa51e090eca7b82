"""Copies of saved notebooks that JupyterLab keeps in ``.ipynb_checkpoints``."""

from __future__ import annotations

from pathlib import Path

from jupyter_server.services.contents.filecheckpoints import AsyncFileCheckpoints
from tornado.web import HTTPError


class Checkpoints(AsyncFileCheckpoints):
    """Copies that are never written through a link, which somebody else might have put into the folder."""

    def checkpoint_path(self, checkpoint_id: str, path: str) -> str:
        """Return the path of a copy."""
        file = Path(super().checkpoint_path(checkpoint_id, path))  # type: ignore[no-untyped-call]
        for each in (file.parent, file):
            if each.is_symlink():
                raise HTTPError(403, f"{each} is a link, through which nothing is written; remove it")
        return str(file)
