"""Notebooks and other files that JupyterLab writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jupyter_server.services.contents.largefilemanager import AsyncLargeFileManager
from tornado.web import HTTPError

from bgnb.files.ownership import is_link_of_another

_Files: Any = AsyncLargeFileManager  # whose methods have no types


class Contents(_Files):
    """Files in a folder, which are never written through links that somebody else put there.

    Beside a file are a copy of its former content while it is saved, and another one, as of the last time that the user saved
    it, in ``.ipynb_checkpoints``.
    """

    async def save(self, model: Any, path: str = "") -> Any:
        """Save a file, or a part of a large one."""
        self._check(path)
        return await super().save(model, path)

    async def rename(self, old_path: str, new_path: str) -> None:
        """Rename a file and its copy."""
        self._check(old_path, new_path)
        await super().rename(old_path, new_path)

    async def delete(self, path: str) -> None:
        """Delete a file and its copy."""
        self._check(path)
        await super().delete(path)

    async def create_checkpoint(self, path: str) -> Any:
        """Copy a file."""
        self._check(path)
        return await super().create_checkpoint(path)

    async def restore_checkpoint(self, checkpoint_id: str, path: str) -> None:
        """Replace a file by its copy."""
        self._check(path)
        await super().restore_checkpoint(checkpoint_id, path)

    def _check(self, *paths: str) -> None:
        """Refuse files that are links of somebody else, or whose copies are."""
        for path in paths:
            file = Path(self.root_dir, *path.split("/"))
            copies = file.parent / ".ipynb_checkpoints"
            for each in (file, file.with_name(f".~{file.name}"), copies, copies / f"{file.stem}-checkpoint{file.suffix}"):
                if is_link_of_another(each):
                    raise HTTPError(403, f"{each} is a symbolic link of another user, through which nothing is written")
