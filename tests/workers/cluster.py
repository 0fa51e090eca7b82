"""Processes that count runs: a Dask scheduler and workers, the command itself, and what may befall them."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

#: Seconds after which something that a test waits for is taken not to come.
PATIENCE = 60.0

# What each Python process runs first. BGNB: "none" where bgnb cannot be imported, else its version. CHANGE: values of names
# in modules. WATCH: a folder, in which "read" gets the OBS_ID of each run that is read; while there is a file "wait" and an
# OBS_ID, reading that run waits, and where there is one "kill" and an OBS_ID, reading that run kills the process.
_FIRST = """
import importlib.machinery, json, os, pathlib, sys, time

if os.environ.get("BGNB") == "none":
    sys.modules["bgnb"] = None
elif "BGNB" in os.environ:
    import bgnb

    bgnb.__version__ = os.environ["BGNB"]

CHANGE = json.loads(os.environ.get("CHANGE", "{}"))


def watched(read):
    folder = pathlib.Path(os.environ["WATCH"])

    def read_watched(files):
        with (folder / "read").open("a") as file:
            file.write(f"{files.obs_id}\\n")
        if (folder / f"kill{files.obs_id}").exists():
            os.kill(os.getpid(), 9)
        while (folder / f"wait{files.obs_id}").exists():
            time.sleep(0.01)
        return read(files)

    return read_watched


class Finder:
    @staticmethod
    def find_spec(name, path, target=None):
        if name != "bgnb.eventfile" and name not in CHANGE:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        load = spec.loader.exec_module

        def load_and_change(module):
            load(module)
            for key, value in CHANGE.get(name, {}).items():
                assert hasattr(module, key), key
                setattr(module, key, value)
            if name == "bgnb.eventfile" and "WATCH" in os.environ:
                module.read_event_list = watched(module.read_event_list)

        spec.loader.exec_module = load_and_change
        return spec


sys.meta_path.insert(0, Finder)
"""
#: Chunks of three runs, which are kept.
SMALL_CHUNKS = {"bgnb.chunks": {"CHUNK_RUNS": 3}, "bgnb.pipeline": {"KEPT_FROM": 1}}
#: Arguments for small cubes.
SMALL = {"select": "all", "n_energy": 6, "n_fov": 10}


def environment(folder: Path, **variables: object) -> dict[str, str]:
    """Variables of a process in which reading runs is watched, see above."""
    first = folder / "first"
    first.mkdir(exist_ok=True)
    (first / "sitecustomize.py").write_text(_FIRST)
    paths = [str(first), str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    if "CHANGE" in variables:
        variables["CHANGE"] = json.dumps(variables["CHANGE"])
    quiet = {"DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    return os.environ | quiet | {"PYTHONPATH": os.pathsep.join(paths)} | {name: str(value) for name, value in variables.items()}


def until(true: Callable[[], object], what: str) -> None:
    """Wait until something is true."""
    deadline = time.monotonic() + PATIENCE
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: waited {PATIENCE:g} s")
        time.sleep(0.02)


def lines(path: Path) -> list[str]:
    """The lines of a file that may not be there yet."""
    return path.read_text().split() if path.exists() else []


def digests(directory: Path) -> dict[str, str]:
    """SHA-256 of all files."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in directory.iterdir()}


def alive(pid: int) -> bool:
    """Whether a process is there, and not only waiting to be buried."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def children(pid: int) -> list[int]:
    """All processes that a process started, and those that they started."""
    found = [int(text) for task in Path(f"/proc/{pid}/task").glob("*/children") for text in task.read_text().split()]
    return [*found, *(grandchild for child in found for grandchild in children(child))]


@contextmanager
def started(command: list[object], env: dict[str, str], **options: object) -> Iterator[subprocess.Popen[str]]:
    """A process, which ends with the block, and with it all that it started."""
    process = subprocess.Popen([*map(str, command)], env=env, text=True, start_new_session=True, **options)  # type: ignore[call-overload]
    try:
        yield process
    finally:
        if process.poll() is None:
            for pid in [process.pid, *children(process.pid)]:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream:
                stream.close()


@contextmanager
def command(folder: Path, *arguments: object, **variables: object) -> Iterator[subprocess.Popen[str]]:
    """`bgnb make-bg-cube-models` in a process of its own."""
    small = ["--select", "all", "--n-energy", 6, "--n-fov", 10]
    whole = [sys.executable, "-m", "bgnb", "make-bg-cube-models", *arguments, *small]
    with started(whole, environment(folder, **variables), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        yield process


class Cluster:
    """A Dask scheduler, to which workers can be added; the folder is where it leaves its files."""

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
        """Start a worker with one thread, and a nanny that starts it again where it dies."""
        there = [self.address, "--nthreads", "1", "--nworkers", "1", "--no-dashboard", "--local-directory", self.folder]
        return self._start("worker", [*there, "--death-timeout", "60"], variables)

    def _start(self, kind: str, arguments: list[object], variables: dict[str, object]) -> subprocess.Popen[str]:
        whole = [sys.executable, "-m", "dask", kind, *arguments]
        process = started(whole, environment(self.folder, **variables), stdout=self._log, stderr=self._log)
        return self._stack.enter_context(process)

    def _address(self) -> str:
        try:
            return str(json.loads(self._file.read_text())["address"])
        except (OSError, ValueError):
            return ""
