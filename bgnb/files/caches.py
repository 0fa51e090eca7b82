"""Places for what libraries keep in the home directory, if they cannot write there."""

from __future__ import annotations

import atexit
import os
from contextlib import suppress
from pathlib import Path
from shutil import rmtree
from tempfile import gettempdir, mkdtemp

from bgnb.files.ownership import is_private

#: Where libraries write in the home directory, by the variable that names another place.
_IN_HOME = {
    "XDG_CACHE_HOME": (".cache",),  # that of Fontconfig, which Matplotlib starts
    "MPLCONFIGDIR": (".config/matplotlib", ".cache/matplotlib"),
    "IPYTHONDIR": (".ipython",),
    "JUPYTER_CONFIG_DIR": (".jupyter",),
    "JUPYTER_DATA_DIR": (),  # see `_data`
    "JUPYTER_RUNTIME_DIR": (),  # in that of the data, unless it is set
}
# Variables that are replaced although they are set.
_REPLACED = ("JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")


def writable_places() -> dict[str, str]:
    """Return environment variables for libraries that cannot write in the home directory.

    They name a directory below that of temporary files, to which no other user has access. It is
    kept for later commands, unless its name is taken by another user. Variables that are set stay as they are, but for those
    of Jupyter's data, without which it does not start, if nothing can be written there.

    Returns
    -------
    dict of str to str
        Values by variable; empty if the home directory is writable.
    """
    try:
        return _places()
    except OSError:  # nor are there temporary files
        return {}


def _places() -> dict[str, str]:
    home = Path(os.path.expanduser("~"))  # noqa: PTH111 # relative if there is none, where that of Path raises
    if not (home.is_absolute() and os.access(home, os.X_OK)):  # it contains nothing, and Astropy might not be imported
        return {"HOME": str(_private_folder())}
    needed = [name for name in _IN_HOME if not all(_can_write(path) for path in _paths(name, home))]
    if not (names := [name for name in needed if not os.environ.get(name) or name in _REPLACED]):
        return {}
    folder = _private_folder()
    for name in names:  # Astropy warns of one that does not exist
        (folder / name.lower()).mkdir(mode=0o700, exist_ok=True)
    places = {"JUPYTER_CONFIG_PATH": home / ".jupyter", "JUPYTER_PATH": _data(home)}  # where Jupyter also reads
    read = {name: path for name, path in places.items() if os.access(path, os.R_OK | os.X_OK)}
    return {name: _add(name, path) for name, path in read.items()} | {name: str(folder / name.lower()) for name in names}


def _paths(name: str, home: Path) -> list[Path]:
    """Return where libraries write, according to a variable or by default."""
    if name == "JUPYTER_DATA_DIR":
        return [_data(home) / "runtime"]
    given = os.environ.get(name)
    return [Path(given)] if given else [home / path for path in _IN_HOME[name]]


def _data(home: Path) -> Path:
    """Return the directory of the data of Jupyter."""
    given = os.environ.get("JUPYTER_DATA_DIR")
    return Path(given) if given else Path(os.environ.get("XDG_DATA_HOME") or home / ".local/share", "jupyter")


def _private_folder() -> Path:
    folder = Path(gettempdir(), f".bgnb-caches-{os.getuid() if hasattr(os, 'getuid') else ''}")
    with suppress(OSError):
        folder.mkdir(mode=0o700, exist_ok=True)
    if is_private(folder):
        folder.chmod(0o700)  # the umask may have removed permissions of the user
        return folder
    folder = Path(mkdtemp(prefix=folder.name))
    atexit.register(rmtree, folder, ignore_errors=True)
    return folder


def _can_write(path: Path) -> bool:
    """Return true for a directory in which files can be made, or that can be made itself."""
    found = next((each for each in (path, *path.parents) if os.access(each, os.F_OK)), None)
    return found is not None and found.is_dir() and os.access(found, os.W_OK | os.X_OK)


def _add(name: str, path: Path) -> str:
    return os.pathsep.join([*filter(None, [os.environ.get(name)]), str(path)])
