"""Processes that count runs: a Dask scheduler and workers, and the command itself; the runs that they read are recorded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

from tests.helpers.processes import ROOT, started, until

# Code that each Python process runs first. BGNB: "none" if bgnb cannot be imported, else its version. CHANGE: values of
# names in modules. WATCH: a folder. The OBS_ID of each run that is read is added to its file "read". While it has a file
# "wait" and an OBS_ID, reading that run waits; if it has a file "kill" and an OBS_ID, reading that run kills the process.
_FIRST = """
import importlib.machinery, json, os, pathlib, sys, time

if os.environ.get("BGNB") == "none":
    sys.modules["bgnb"] = None
elif "BGNB" in os.environ:
    import bgnb._version

    bgnb._version.__version__ = os.environ["BGNB"]

CHANGE = json.loads(os.environ.get("CHANGE", "{}"))


def watched(read):
    folder = pathlib.Path(os.environ["WATCH"])

    def read_watched(files):
        with (folder / "read").open("a") as file:
            file.write(f"{files.obs_id}\\n")
        while (folder / f"wait{files.obs_id}").exists():
            time.sleep(0.01)
        if (folder / f"kill{files.obs_id}").exists():
            os.kill(os.getpid(), 9)
        return read(files)

    return read_watched


class Finder:
    @staticmethod
    def find_spec(name, path, target=None):
        if name != "bgnb.observations.event_reader" and name not in CHANGE:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        load = spec.loader.exec_module

        def load_and_change(module):
            load(module)
            for key, value in CHANGE.get(name, {}).items():
                assert hasattr(module, key), key
                setattr(module, key, value)
            if name == "bgnb.observations.event_reader" and "WATCH" in os.environ:
                module.read_pieces = watched(module.read_pieces)

        spec.loader.exec_module = load_and_change
        return spec


sys.meta_path.insert(0, Finder)
"""
#: Chunks of three runs, which are kept.
SMALL_CHUNKS = {"bgnb.production.count_chunks": {"CHUNK_RUNS": 3}, "bgnb.production.pipeline": {"KEPT_FROM": 1}}
#: Runs of four groups, which make eight chunks of at most three.
OBS_IDS = tuple(range(2, 22))
#: Arguments for small cubes.
SMALL = {"select": "all", "n_energy": 6, "n_fov": 10, "method": "classic"}


def environment(folder: Path, **variables: object) -> dict[str, str]:
    """Return the environment of a process in which the reading of runs is recorded, see above."""
    first = folder / "first"
    first.mkdir(exist_ok=True)
    (first / "sitecustomize.py").write_text(_FIRST)
    paths = [str(first), str(ROOT), os.environ.get("PYTHONPATH", "")]
    if "CHANGE" in variables:
        variables["CHANGE"] = json.dumps(variables["CHANGE"])
    quiet = {"DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    return os.environ | quiet | {"PYTHONPATH": os.pathsep.join(paths)} | {name: str(value) for name, value in variables.items()}


def lines(path: Path) -> list[str]:
    """Read the words of a file, if it exists."""
    return path.read_text().split() if path.exists() else []


def command(
    folder: Path, *arguments: object, select: object = "all", **variables: object
) -> AbstractContextManager[subprocess.Popen[str]]:
    """Start `bgnb make-bg-cube-models` in a process."""
    small = ["--select", select, "--n-energy", 6, "--n-fov", 10, "--method", "classic"]
    whole = [sys.executable, "-m", "bgnb", "make-bg-cube-models", *arguments, *small]
    return started(whole, environment(folder, **variables))


class Cluster:
    """A Dask scheduler, to which workers can be added; it writes its files to the folder."""

    def __init__(self, folder: Path, stack: ExitStack, **variables: object) -> None:
        self.folder, self._stack = folder, stack
        self._file = folder / "scheduler.json"
        self._file.unlink(missing_ok=True)
        self._log = stack.enter_context((folder / "dask.log").open("a"))
        there = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", self._file]
        self.scheduler = self._start("scheduler", there, variables)
        until(lambda: self._address(), "scheduler")
        self.address = self._address()

    def add_worker(self, **variables: object) -> subprocess.Popen[str]:
        """Start a worker with one thread, and a nanny that starts it again when it dies."""
        there = [self.address, "--nthreads", "1", "--nworkers", "1", "--no-dashboard", "--local-directory", self.folder]
        return self._start("worker", [*there, "--death-timeout", "600"], variables)

    def _start(self, kind: str, arguments: list[object], variables: dict[str, object]) -> subprocess.Popen[str]:
        whole = [sys.executable, "-m", "dask", kind, *arguments]
        process = started(whole, environment(self.folder, **variables), stdout=self._log, stderr=self._log)
        return self._stack.enter_context(process)

    def _address(self) -> str:
        try:
            return str(json.loads(self._file.read_text())["address"])
        except (OSError, ValueError):
            return ""
