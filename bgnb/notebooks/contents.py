"""Notebooks and other files that JupyterLab writes."""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path
from typing import Any

from jupyter_core.paths import jupyter_data_dir
from jupyter_server.services.contents.filecheckpoints import AsyncFileCheckpoints
from jupyter_server.services.contents.largefilemanager import AsyncLargeFileManager
from tornado.web import HTTPError

from bgnb._util.errors import BgnbError
from bgnb.files.ownership import is_link_of_another, is_of_another, resolved

# Classes whose methods have no types.
_Files: Any = AsyncLargeFileManager
_Copies: Any = AsyncFileCheckpoints


class Checkpoints(_Copies):
    """Copies of files as of the last time that the user saved them.

    They are in ``.ipynb_checkpoints`` beside the file, or in a private folder if those there belong to somebody else, who could
    read them, or none can be made there.
    """

    def checkpoint_path(self, checkpoint_id: str, path: str) -> str:
        """Return the path of a copy."""
        file = _file(self.root_dir, path)
        copy = file.parent / self.checkpoint_dir / f"{file.stem}-{checkpoint_id}{file.suffix}"
        if os.access(file.parent, os.W_OK) and not is_of_another(copy.parent) and not is_of_another(copy):
            return str(super().checkpoint_path(checkpoint_id, path))
        folder = Path(jupyter_data_dir(), "bgnb-checkpoints", sha256(os.fsencode(file.parent)).hexdigest())
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return str(folder / copy.name)


class Contents(_Files):
    """Files in a folder, which are never written through links or to temporary copies that somebody else put there."""

    async def save(self, model: Any, path: str = "") -> Any:
        """Save a file, or a part of a large one."""
        self._check(path)
        return await super().save(model, path)

    async def rename(self, old_path: str, new_path: str) -> None:
        """Rename a file and its copy."""
        self._check(old_path, new_path)
        await super().rename(old_path, new_path)

    async def copy(self, from_path: str, to_path: str | None = None) -> Any:
        """Copy a file or folder into another folder, or beside it."""
        self._check(from_path if to_path is None else to_path)
        return await super().copy(from_path, to_path)

    async def delete(self, path: str) -> None:
        """Delete a file and its copy."""
        self._check(path)
        await super().delete(path)

    async def restore_checkpoint(self, checkpoint_id: str, path: str) -> None:
        """Replace a file by its copy."""
        self._check(path)
        await super().restore_checkpoint(checkpoint_id, path)

    def _check(self, *paths: str) -> None:
        """Refuse files that are links of somebody else or behind one, and those whose temporary copy belongs to another."""
        for path in paths:
            file = _file(self.root_dir, path)
            copy = file.with_name(f".~{file.name}")
            try:
                resolved(file.parent)
            except (BgnbError, OSError) as error:
                raise HTTPError(403, str(error)) from None
            if is_link_of_another(file):
                raise HTTPError(403, f"{file} is a symbolic link of another user, through which nothing is written")
            if is_of_another(copy):
                reason = "belongs to another user, who could read this file while it is saved"
                raise HTTPError(403, f"{copy} {reason}; remove it, or use another folder")


def _file(folder: str, path: str) -> Path:
    """Return the path of a file of JupyterLab."""
    return Path(folder, *path.strip("/").split("/"))
