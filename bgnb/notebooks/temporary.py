"""Temporary folders, which are removed later if their process was killed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from socket import gethostname
from tempfile import TemporaryDirectory, gettempdir

from bgnb._util.errors import BgnbError
from bgnb._util.reading import read_text
from bgnb.files.locks import lock
from bgnb.files.output_directory import remove_tree
from bgnb.files.output_file import named_errors
from bgnb.files.ownership import is_own_file, is_private

# The lock of a folder, and the name of the machine on which it was made.
_LOCK, _HOST = "bgnb-lock", "bgnb-host"
# Age of a folder, s, after which its process has surely locked it.
_NEW = 60.0


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Make a temporary folder for the duration of a block; those of the user whose process was killed are removed."""
    for folder in Path(gettempdir()).glob("bgnb-*"):
        with suppress(OSError, ValueError, BgnbError):
            _remove_if_left(folder)
    with ExitStack() as stack:
        with named_errors(Path(gettempdir())):
            name = stack.enter_context(TemporaryDirectory(prefix="bgnb-", ignore_cleanup_errors=True))
            if not is_private(Path(name)):
                reason = "does not keep the owners and permissions of files"
                raise BgnbError("not-writable", f"{gettempdir()}: {reason}; set TMPDIR to a directory on a local disk")
            Path(name, _HOST).write_text(gethostname(), encoding="utf-8")
            stack.enter_context(lock(Path(name, _LOCK)))
        yield Path(name)


def _remove_if_left(folder: Path) -> None:
    """Remove a folder of this machine that nobody holds; locks of other machines may not be seen here."""
    if not (is_private(folder) and is_own_file(folder / _LOCK) and is_own_file(folder / _HOST)):
        return
    of_this_machine = read_text(folder / _HOST, max_size=1024) == gethostname()
    if of_this_machine and (folder / _LOCK).stat().st_mtime < time.time() - _NEW:
        with lock(folder / _LOCK) as locked:
            if locked:
                remove_tree(folder, ignore_errors=True)
