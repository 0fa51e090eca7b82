"""Settings of libraries that the environment or files contain: bgnb needs none, and they must neither break nor block it."""

from __future__ import annotations

import os
from collections.abc import Iterator, MutableMapping
from pathlib import Path

from bgnb._util.errors import BgnbError
from bgnb._util.reading import read_text

# Variables, or how their names begin, that change how libraries draw and show progress.
_IGNORED = ("MPLBACKEND", "BOKEH_", "TQDM_")
# Variables that name a file or directories from which IPython and Jupyter run programs and templates, or lists of them.
_DIRECTORIES = {
    "IPYTHONDIR", "JUPYTERLAB_DIR", "JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR", "JUPYTER_CONFIG_DIR",
    "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "PYTHONSTARTUP", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME",
}  # fmt: skip
_LISTS = {"JUPYTER_CONFIG_PATH", "JUPYTER_PATH", "XDG_CONFIG_DIRS", "XDG_DATA_DIRS"}
# Variables that were removed, for programs that a command starts for its user.
_removed: dict[str, str] = {}


def forget_library_settings(environment: MutableMapping[str, str]) -> None:
    """Remove the settings of libraries from the environment of a command, which their invalid values would end.

    Lists such as ``$UNSET:/there`` have an empty part, which means the current directory. Empty and relative parts are
    removed, as other users may have made what is there.

    Parameters
    ----------
    environment : mapping of str to str
        `os.environ`, which is changed.
    """
    for name in [name for name in environment if name.startswith(_IGNORED)]:
        _removed[name] = environment.pop(name)
    for name in environment.keys() & (_DIRECTORIES | _LISTS):
        parts = environment[name].split(os.pathsep) if name in _LISTS else [environment[name]]
        if kept := [part for part in parts if os.path.isabs(part)]:  # noqa: PTH117
            environment[name] = os.pathsep.join(kept)
        else:
            del environment[name]
    if not environment.get("JUPYTER_PORT", "0").isdecimal():  # a URL in Kubernetes, where a service has the name jupyter
        del environment["JUPYTER_PORT"]


def environment_of_user() -> dict[str, str]:
    """Return the environment with the settings of libraries that were removed."""
    return dict(os.environ) | _removed


def check_matplotlib_settings() -> None:
    """Refuse a file ``matplotlibrc`` that Matplotlib cannot read, or that would block it, before it is imported.

    Raises
    ------
    BgnbError
        If it is a pipe or device, too large or not text.
    """
    # Those of `pathlib` raise if a directory must not be searched.
    path = next((path for path in _matplotlib_files() if os.path.exists(path) and not os.path.isdir(path)), None)  # noqa: PTH110, PTH112
    if path is None:
        return
    try:
        text = read_text(path, 1 << 20)
        of_another = path.stat().st_uid not in (0, getattr(os, "geteuid", int)())
        if of_another and path == Path("matplotlibrc") and "prop_cycle" in text:
            reason = "is a file of another user, which states a prop_cycle, and Matplotlib would compute it without limits"
            raise BgnbError("unreadable", f"{path}: {reason}; remove it, or start in another directory")
    except UnicodeDecodeError:
        raise BgnbError("unreadable", f"{path}: is not text; remove it, or change MATPLOTLIBRC if that names it") from None
    except OSError as error:
        raise BgnbError("unreadable", f"{path}: cannot be read: {error.strerror}; Matplotlib would read it") from None


def _matplotlib_files() -> Iterator[Path]:
    """List the files of settings in the order in which Matplotlib searches them."""
    name, environment = "matplotlibrc", os.environ
    yield Path(name)
    if named := environment.get("MATPLOTLIBRC"):
        yield from (Path(named), Path(named, name))
    home = os.path.expanduser("~")  # noqa: PTH111 # where that of Path raises if there is no home directory
    config = environment.get("XDG_CONFIG_HOME") or Path(home, ".config")
    yield Path(environment.get("MPLCONFIGDIR") or Path(config, "matplotlib"), name)
