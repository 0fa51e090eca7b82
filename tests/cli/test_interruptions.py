"""Output of commands that are killed or interrupted, or that find the disk full or their input changed."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import pytest

import bgnb
from bgnb.observations import fits_table as fitstable
from bgnb.production import plan
from tests.helpers.commands import error_of, output_of
from tests.helpers.files import digests_and_times, names
from tests.helpers.model_directories import model_directory
from tests.helpers.processes import PATIENCE, ROOT, alive, children, started, until
from tests.helpers.run_files import run, write_gadf

SMALL = ("--select", "all", "--n-energy", "5", "--n-fov", "8", "--method", "classic")
# Runs of one group, so that there are few files.
OBS_IDS = (2, 4, 8, 10)


@pytest.fixture(scope="module")
def indir(tmp_path_factory) -> Path:
    """Write some runs."""
    return write_gadf(tmp_path_factory.mktemp("runs") / "in", [run(obs_id, 100) for obs_id in OBS_IDS])


@pytest.fixture(scope="module")
def models(indir, tmp_path_factory) -> Path:
    """Make a directory of models."""
    out = tmp_path_factory.mktemp("models") / "out"
    output_of("make-bg-cube-models", indir, "GADF", out, *SMALL)
    return out


def bgnb_process(*arguments: object, code: str = "") -> AbstractContextManager[subprocess.Popen[str]]:
    """Start a command in a process, after some Python code."""
    python = ["-c", f"{code}\nimport runpy; runpy.run_module('bgnb', run_name='__main__')"] if code else ["-m", "bgnb"]
    return started([sys.executable, *python, *arguments])


def ends_interrupted(process: subprocess.Popen[str], number: int) -> None:
    """Assert that a command that got a signal ends with one line."""
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 128 + number, errors
    (line,) = errors.splitlines()
    assert line.startswith("Interrupted; ")


def waiting(pipe: Path) -> str:
    """Return code that makes a command wait while it reads run 2, until a pipe was opened to write and closed."""
    os.mkfifo(pipe)
    return f"""
import select
from bgnb.production import count_chunks as counting
read = counting.read_pieces
def waiting(run):
    if run.obs_id == 2:
        with open({str(pipe)!r}) as file:
            # In Python between short waits, as a signal just before a long one would be handled after it only.
            while not select.select([file], [], [], 0.05)[0]:
                pass
    return read(run)
counting.read_pieces = waiting
"""


@contextmanager
def held(pipe: Path, process: subprocess.Popen[str]) -> Iterator[None]:
    """Wait until a command waits at a pipe; it goes on after the block."""
    opened: list[int] = []

    def is_read() -> bool:
        with suppress(OSError):  # until a process reads from the pipe
            opened.append(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
        return bool(opened)

    try:
        until(is_read, "a command at work", process)
        yield
    finally:
        for number in opened:
            os.close(number)


# Killed


@pytest.mark.slow
def test_kill_leaves_old_or_new_directory(indir, tmp_path):
    """SIGKILL at any moment leaves the old or the new directory, complete; the next run removes what else is left."""
    arguments = [sys.executable, "-m", "tests.helpers.killing", str(indir), str(tmp_path)]
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(arguments, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=3 * PATIENCE)
    assert done.returncode == 0, done.stderr
    seen = json.loads((tmp_path / "result.json").read_text())
    assert len(seen["random"]) >= 8
    trials = [*seen["random"], *seen["steps"], *seen["steps_without_exchange"]]
    for trial in trials:
        assert trial["killed"], trial
        if ".bgnb-replaced" not in trial["left"]:  # killed between two renames, if the system cannot exchange directories
            assert trial["after"] in (trial["before"], "new"), trial
        assert (trial["next"], trial["then"], trial["left_then"]) == (0, "new", []), trial
    at_work = sum(name.startswith(".bgnb-unfinished-") for trial in trials for name in trial["left"])
    assert at_work > 4, "too few commands were killed at work"
    assert {trial["after"] for trial in seen["steps"]} == {"old", "new"}
    assert {trial["after"] for trial in seen["steps_without_exchange"]} == {"old", "absent", "new"}
    for four in seen["race"]:
        assert four == {"codes": {"0": 1, "2": 3}, "state": "new", "files": 1}


def test_leftovers_are_removed_by_name(indir, models, tmp_path):
    """A run removes what a killed one left, restores an older directory, and keeps files with similar names."""
    out = tmp_path / "out"
    left = tmp_path / ".out.bgnb-partial"
    left.mkdir(mode=0o700)
    shutil.copytree(models, left / ".bgnb-replaced")  # killed between two renames
    (left / ".bgnb-unfinished" / "data").mkdir(parents=True)
    (left / ".bgnb-unfinished" / "data" / "half").write_text("half")
    (left / ".bgnb-lock").touch()
    for mine in (".out.old", ".out.partial"):
        (tmp_path / mine).mkdir()
    assert error_of("make-bg-cube-models", indir, "GADF", out, *SMALL).endswith("[exists]")
    assert digests_and_times(out) == digests_and_times(models)
    assert names(tmp_path) == {"out", ".out.old", ".out.partial"}
    left.mkdir(mode=0o700)
    shutil.copytree(models, left / ".bgnb-replaced")  # killed while it was removed
    output_of("make-bg-cube-models", indir, "GADF", out, *SMALL, "--overwrite")
    assert names(tmp_path) == {"out", ".out.old", ".out.partial"}


def test_killed_true_reco_can_run_again(tmp_path):
    """A second run removes what a killed one left."""
    (tmp_path / "out").mkdir()
    for name in (".dataset.bgnb-partial", ".reco.bgnb-partial"):
        (tmp_path / "out" / name).mkdir(mode=0o700)
        (tmp_path / "out" / name / ".bgnb-unfinished").mkdir()
        (tmp_path / "out" / name / ".bgnb-lock").touch()
    options = ("--test", "--n-energy", 4, "--n-fov", 6, "--trigger-rate", 2)
    output_of("true-reco", tmp_path / "out", *options)
    assert names(tmp_path / "out") == {"true", "reco"}


# Signals


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "old"), [(signal.SIGTERM, True), (signal.SIGINT, False), (signal.SIGHUP, True), (signal.SIGUSR2, True)]
)
def test_signal_removes_unfinished_output(indir, models, tmp_path, number, old):
    """A signal ends a command with one line; an older directory is kept."""
    out, pipe = tmp_path / "work" / "out", tmp_path / "pipe"
    out.parent.mkdir()
    if old:
        shutil.copytree(models, out)
    command = bgnb_process("make-bg-cube-models", indir, "GADF", out, *SMALL, "--overwrite", code=waiting(pipe))
    with command as process, held(pipe, process):
        assert (out.parent / ".out.bgnb-partial").exists()
        process.send_signal(number)
        ends_interrupted(process, number)
    assert names(out.parent) == ({"out"} if old else set())
    assert not old or digests_and_times(out) == digests_and_times(models)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "number"),
    [
        ("click", signal.SIGTERM),
        ("click", signal.SIGINT),
        ("bgnb.production.pipeline", signal.SIGTERM),
        ("numpy.linalg", signal.SIGINT),
        ("astropy.table", signal.SIGTERM),
        ("scipy.linalg", signal.SIGINT),
    ],
)
def test_signal_during_import_is_one_line(indir, tmp_path, module, number):
    """A signal while modules are imported ends a command with one line."""
    code = f"""
import os, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), {int(number)})
sys.meta_path.insert(0, Finder())
"""
    with bgnb_process("make-bg-cube-models", indir, "GADF", tmp_path / "out", *SMALL, code=code) as process:
        ends_interrupted(process, number)
    assert names(tmp_path) == set()


@pytest.mark.parametrize(
    ("number", "begun"), [(signal.SIGINT, False), (signal.SIGTERM, True), (signal.SIGHUP, True), (signal.SIGKILL, True)]
)
@pytest.mark.slow
def test_workers_end_with_their_caller(tmp_path, number, begun):
    """Workers end if all processes get a signal, as from a terminal or a batch system, or if SIGKILL ends the caller."""
    with bgnb_process("make-test-dataset", tmp_path / "out", "--n-runs", 500, "--trigger-rate", 20, "--workers", 2) as process:
        # Three processes: two workers, and the resource tracker of Python.
        files = ".out.bgnb-partial/.bgnb-unfinished-*/data/run*"
        until(lambda: any(tmp_path.glob(files)) if begun else len(children(process.pid)) == 3, "processes at work", process)
        workers = children(process.pid)
        assert len(workers) == 3
        if number == signal.SIGKILL:
            process.kill()
            process.wait()
        else:
            os.killpg(process.pid, number)
            ends_interrupted(process, number)
        until(lambda: not any(map(alive, workers)), "the end of all processes")
    assert names(tmp_path) == ({".out.bgnb-partial"} if number == signal.SIGKILL else set())


@pytest.mark.slow
def test_second_run_of_same_output_fails(indir, tmp_path):
    """While a command writes a directory, a second one with this output is refused."""
    out, pipe = tmp_path / "out", tmp_path / "pipe"
    with bgnb_process("make-bg-cube-models", indir, "GADF", out, *SMALL, code=waiting(pipe)) as process:
        with held(pipe, process):
            assert (tmp_path / ".out.bgnb-partial").exists()
            line = error_of("make-bg-cube-models", indir, "GADF", out, *SMALL, "--overwrite")
            assert line.startswith(f"Error: {out}: ")
            assert line.endswith("[in-use]")
        _, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, errors) == (0, "")
    assert not any(bgnb.check(out).values())
    assert names(tmp_path) == {"out", "pipe"}


# Full disks


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Limit the size of files, so that writing fails as on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("exists", [True, False])
def test_full_disk_leaves_no_notebooks(tmp_path, exists):
    """If not all notebooks can be copied, none is, so that the command can be repeated."""
    target = tmp_path / "my" / "notebooks"
    if exists:
        target.mkdir(parents=True)
    with largest_file(5000):
        line = error_of("copy-notebooks", target)
    assert "File too large" in line
    assert names(tmp_path) == ({"my"} if exists else set())
    assert not exists or names(target) == set()
    output_of("copy-notebooks", target)


@pytest.mark.parametrize("size", [0, 500, 4000])
@pytest.mark.parametrize("old", [True, False])
def test_full_disk_keeps_old_directory(indir, models, tmp_path, size, old):
    """If a file cannot be written completely, a command ends with one line, and an older directory is kept."""
    out = tmp_path / "out"
    if old:
        shutil.copytree(models, out)
    with largest_file(size):
        line = error_of("make-bg-cube-models", indir, "GADF", out, *SMALL, "--overwrite")
    assert str(out) in line  # not a hidden directory
    assert "File too large" in line
    assert line.endswith("[not-writable]")
    assert names(tmp_path) == ({"out"} if old else set())
    assert not old or digests_and_times(out) == digests_and_times(models)


def test_small_disk_keeps_old_directory(models, indir, tmp_path):
    """On a disk with space for one directory, a second one cannot be made, and the first is kept."""
    disk = tmp_path / "disk"
    disk.mkdir()
    size = sum(path.stat().st_size + 4096 for path in models.iterdir()) + 20000
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("only root can mount a small disk here")
    try:
        shutil.copytree(models, disk / "out")
        line = error_of("make-bg-cube-models", indir, "GADF", disk / "out", "--select", "all", "--overwrite")
        assert "No space left on device" in line
        assert line.endswith("[not-writable]")
        assert names(disk) == {"out"}
        assert digests_and_times(disk / "out") == digests_and_times(models)
        shutil.rmtree(disk / "out")
        line = error_of("make-test-dataset", disk)
        assert "mount point" in line
        assert line.endswith("[bad-target]")
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize(
    "name", ["attach", "compare", "cross-validate", "make-test-dataset", "run-groups", "true-reco", "validate"]
)
@pytest.mark.slow
def test_failed_write_leaves_nothing(tmp_path, monkeypatch, name):
    """No command leaves anything if it cannot write to disk."""
    indir = write_gadf(tmp_path / "in", [run(obs_id, 300) for obs_id in (2, 4)])
    models, out, one = model_directory(tmp_path / "models"), tmp_path / "work" / "out", tmp_path / "one.ipynb"
    out.parent.mkdir()
    code = {"cell_type": "code", "execution_count": None, "outputs": [], "id": "p", "metadata": {"tags": ["parameters"]}}
    code["source"] = "modeldir = ''\ngroup_id = 0"
    one.write_text(json.dumps({"cells": [code], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    arguments = {
        "attach": [models, indir, "GADF", out],
        "compare": [models, shutil.copytree(models, tmp_path / "other"), out],
        "cross-validate": [indir, "GADF", out, "--select", "all", "--folds", 2, "--alt-edges", "0,90", "--method", "classic"],
        "make-test-dataset": [out, "--n-runs", 1, "--trigger-rate", 2, "--point-source", "A,83,22,1"],
        "run-groups": [models, out, "--notebook", one],
        "true-reco": [out, "--test", "--trigger-rate", 2],
        "validate": [models, indir, "GADF", out, "--select", "all"],
    }

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("bgnb.plots.static._save", lambda *_, **__: b"")  # pictures are not the subject
    monkeypatch.setattr("bgnb.validation.compare_models._draw_group", lambda _: (b"", b""))
    monkeypatch.setattr(os, "fsync", full)
    line = error_of(name, *arguments[name])
    assert "No space left on device" in line
    assert line.endswith("[not-writable]")
    assert names(out.parent) <= {"out"}
    assert not out.exists() or names(out) == set()  # true-reco makes directories in it


# Input that changes


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def replace_by_another_run(path: Path) -> None:
    shutil.copy(path.with_name("run8.fits.gz"), path.with_name("new"))
    path.with_name("new").replace(path)


@pytest.fixture
def changing(indir, tmp_path) -> Path:
    """Duplicate the runs, so that they can be changed."""
    return shutil.copytree(indir, tmp_path / "in")


def counts(report: bgnb.Report) -> int:
    (group,) = report.groups
    return group.counts


def make(indir: Path, out: Path, select: object = "all") -> bgnb.Report:
    return bgnb.make_bg_cube_models(indir, "GADF", out, select=select, n_energy=5, n_fov=8, overwrite=True)


@pytest.mark.slow
@pytest.mark.parametrize("change", [Path.unlink, truncate, replace_by_another_run])
def test_changed_run_is_skipped_by_name(changing, tmp_path, monkeypatch, change):
    """A run whose file changes after the index was read is skipped, and named in the report."""
    expected = make(changing, tmp_path / "without", [2, 8, 10])
    open_runs = plan.open_runs

    def open_and_change(*arguments, **reading):
        runs = open_runs(*arguments, **reading)
        change(changing / "data" / "run4.fits.gz")
        return runs

    monkeypatch.setattr(plan, "open_runs", open_and_change)
    report = make(changing, tmp_path / "out")
    (skipped,) = [entry for entry in report.runs if entry.reason]
    assert skipped.obs_id == 4
    assert "run4.fits.gz" in str(skipped.reason)
    assert counts(report) == counts(expected)


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"\0" * 2880)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "complete"), [(Path.unlink, True), (replace_by_another_run, True), (truncate, False), (append, False)]
)
def test_run_changed_while_read(changing, tmp_path, monkeypatch, change, complete):
    """A file that is removed or replaced while it is read is read to its end; one that grows or shrinks is skipped."""
    expected = make(changing, tmp_path / "expected", "all" if complete else [2, 8, 10])
    decompress = fitstable.decompress

    def decompress_and_change(content, limit):
        result = decompress(content, limit)
        if content == original:
            change(run4)
        return result

    run4 = next(changing.rglob("run4.fits.gz"))
    original = run4.read_bytes()
    monkeypatch.setattr(fitstable, "decompress", decompress_and_change)
    report = make(changing, tmp_path / "out")
    reasons = {entry.obs_id: str(entry.reason) for entry in report.runs if entry.reason}
    assert complete == (not reasons)
    if not complete:
        assert set(reasons) == {4}
        assert "changed while it was read" in reasons[4]
    assert counts(report) == counts(expected)


@pytest.mark.slow
def test_input_is_never_written(indir, models, tmp_path):
    """Commands work on read-only input, and leave files and their times unchanged."""
    before = [digests_and_times(directory) for directory in (indir, models)]
    readonly = tmp_path / "in"
    readonly.mkdir()
    bind = (
        os.geteuid() == 0
        and subprocess.run(["mount", "--bind", str(indir), str(readonly)], capture_output=True).returncode == 0
    )
    try:
        if bind:
            subprocess.run(["mount", "-o", "remount,ro,bind", str(readonly)], check=True)
        source = readonly if bind else indir
        for method in ("classic", "spline"):
            out = tmp_path / method
            output_of("make-bg-cube-models", source, "GADF", out, *SMALL, "--method", method)
        output_of("attach", models, source, "GADF", tmp_path / "store")
    finally:
        if bind:
            subprocess.run(["umount", str(readonly)], check=True)
    assert [digests_and_times(directory) for directory in (indir, models)] == before
