"""What is left when a run is killed, interrupted, or finds no room, and when its input changes under it."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
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

SMALL = ("--select", "all", "--n-energy", "5", "--n-fov", "8")
# One group, so that there are few files.
OBS_IDS = (2, 4, 8, 10)


@pytest.fixture(scope="module")
def indir(tmp_path_factory) -> Path:
    return write_gadf(tmp_path_factory.mktemp("runs") / "in", [run(obs_id, 100) for obs_id in OBS_IDS])


@pytest.fixture(scope="module")
def models(indir, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("models") / "out"
    output_of("make-bg-cube-models", indir, "GADF", out, *SMALL)
    return out


def bgnb_process(*arguments: object, code: str = "") -> AbstractContextManager[subprocess.Popen[str]]:
    """A command in a process, perhaps behind some Python code."""
    python = ["-c", f"{code}\nimport runpy; runpy.run_module('bgnb', run_name='__main__')"] if code else ["-m", "bgnb"]
    return started([sys.executable, *python, *arguments])


def ends_interrupted(process: subprocess.Popen[str], number: int) -> None:
    """A command that got a signal must end with one line."""
    _, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, errors) == (128 + number, "Interrupted; unfinished output is removed.\n")


# Killed


def test_a_kill_at_any_moment_leaves_the_old_or_the_new_and_the_next_run_cleans_up(indir, tmp_path):
    arguments = [sys.executable, "-m", "tests.helpers.killing", str(indir), str(tmp_path)]
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(arguments, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    seen = json.loads((tmp_path / "result.json").read_text())
    assert len(seen["random"]) >= 50
    trials = [*seen["random"], *seen["steps"], *seen["steps_without_exchange"]]
    for trial in trials:
        assert trial["killed"], trial
        if ".out.bgnb-old" not in trial["left"]:  # between two renames, where the system cannot exchange
            assert trial["after"] in (trial["before"], "new"), trial
        assert (trial["next"], trial["then"], trial["left_then"]) == (0, "new", []), trial
    left = Counter(name for trial in trials for name in trial["left"])
    assert left[".out.bgnb-partial"] > 20, "too few were killed at work"
    assert {trial["after"] for trial in seen["steps"]} == {"old", "new"}
    assert {trial["after"] for trial in seen["steps_without_exchange"]} == {"old", "absent", "new"}
    for four in seen["race"]:
        assert four == {"codes": {"0": 1, "2": 3}, "state": "new", "files": 1}


def test_leftovers_are_swept_and_what_only_looks_like_them_is_kept(indir, models, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(models, tmp_path / ".out.bgnb-old")  # killed between two renames
    (tmp_path / ".out.bgnb-partial" / "data").mkdir(parents=True)
    (tmp_path / ".out.bgnb-partial" / "data" / "half").write_text("half")
    (tmp_path / ".out.bgnb-lock").touch()
    for mine in (".out.old", ".out.partial"):
        (tmp_path / mine).mkdir()
    assert "exists already" in error_of("make-bg-cube-models", indir, "GADF", out, *SMALL)
    assert digests_and_times(out) == digests_and_times(models)
    assert names(tmp_path) == {"out", ".out.old", ".out.partial"}
    shutil.copytree(models, tmp_path / ".out.bgnb-old")  # killed while it was removed
    output_of("make-bg-cube-models", indir, "GADF", out, *SMALL, "--overwrite")
    assert names(tmp_path) == {"out", ".out.old", ".out.partial"}


def test_true_reco_works_again_after_it_was_killed(tmp_path):
    for name in (".dataset.bgnb-partial", ".reco.bgnb-partial"):
        (tmp_path / "out" / name).mkdir(parents=True)
        (tmp_path / "out" / name.replace("partial", "lock")).touch()
    options = ("--test", "--n-energy", 4, "--n-fov", 6, "--trigger-rate", 2)
    output_of("true-reco", tmp_path / "out", *options)
    assert names(tmp_path / "out") == {"true", "reco"}


# Signals


@pytest.mark.parametrize(("number", "old"), [(signal.SIGTERM, True), (signal.SIGINT, False), (signal.SIGHUP, True)])
def test_a_signal_ends_a_run_with_one_line_and_nothing_left(models, tmp_path, number, old):
    indir, out = write_gadf(tmp_path / "in", [run(obs_id, 2000) for obs_id in range(1, 40)]), tmp_path / "work" / "out"
    out.parent.mkdir()
    if old:
        shutil.copytree(models, out)
    with bgnb_process("make-bg-cube-models", indir, "GADF", out, "--select", "all", "--overwrite") as process:
        until((out.parent / ".out.bgnb-partial").exists, "a command at work", process)
        process.send_signal(number)
        ends_interrupted(process, number)
    assert names(out.parent) == ({"out"} if old else set())
    assert not old or digests_and_times(out) == digests_and_times(models)


@pytest.mark.parametrize("module", ["click", "bgnb.production.pipeline", "numpy.linalg", "astropy.table", "scipy.ndimage"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_during_an_import_ends_with_one_line(indir, tmp_path, module, number):
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


@pytest.mark.parametrize(("number", "begun"), [(signal.SIGINT, False), (signal.SIGTERM, True), (signal.SIGKILL, True)])
def test_processes_that_simulate_end_with_their_caller(tmp_path, number, begun):
    """All processes of the job get the signal, as from a terminal or a batch system; SIGKILL the caller only."""
    partial = tmp_path / ".out.bgnb-partial"
    with bgnb_process("make-test-dataset", tmp_path / "out", "--n-runs", 500, "--trigger-rate", 20, "--workers", 2) as process:
        # Before they begin there are three: two that simulate, and Python's own, which minds their locks.
        until(
            lambda: any(partial.glob("data/run*")) if begun else len(children(process.pid)) == 3, "processes at work", process
        )
        if not begun:
            time.sleep(0.1)  # Python itself starts
        workers = children(process.pid)
        assert len(workers) == 3
        if number == signal.SIGKILL:
            process.kill()
            process.wait()
        else:
            os.killpg(process.pid, number)
            ends_interrupted(process, number)
        until(lambda: not any(map(alive, workers)), "the end of all processes")
    assert names(tmp_path) == ({".out.bgnb-partial", ".out.bgnb-lock"} if number == signal.SIGKILL else set())


def opened_to_write(pipe: Path) -> bool:
    """Whether somebody reads from a pipe; if so, it goes on."""
    try:
        os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
    except OSError:
        return False
    return True


def test_of_two_runs_into_one_directory_the_second_is_told(indir, tmp_path):
    out, go_on = tmp_path / "out", tmp_path / "go-on"
    os.mkfifo(go_on)  # the first waits here
    code = f"""
from bgnb.production import counting
read = counting.read_event_list
counting.read_event_list = lambda files: (open({str(go_on)!r}).close(), read(files))[1] if files.obs_id == 2 else read(files)
"""
    with bgnb_process("make-bg-cube-models", indir, "GADF", out, *SMALL, code=code) as process:
        until((tmp_path / ".out.bgnb-partial").exists, "a command at work", process)
        line = error_of("make-bg-cube-models", indir, "GADF", out, *SMALL, "--overwrite")
        assert line == f"Error: {out}: another bgnb is making it; wait for it, or name another directory"
        until(lambda: opened_to_write(go_on), "the first to wait", process)
        _, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, errors) == (0, "")
    assert not any(bgnb.check(out).values())
    assert names(tmp_path) == {"out", "go-on"}


# No room


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """As on a full disk, writing fails."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("size", [0, 500, 4000])
@pytest.mark.parametrize("old", [True, False])
def test_a_full_disk_is_one_line_and_the_old_directory_is_kept(indir, models, tmp_path, size, old):
    out = tmp_path / "out"
    if old:
        shutil.copytree(models, out)
    with largest_file(size):
        line = error_of("make-bg-cube-models", indir, "GADF", out, *SMALL, "--overwrite")
    assert line.endswith(": cannot be written: File too large")
    assert names(tmp_path) == ({"out"} if old else set())
    assert not old or digests_and_times(out) == digests_and_times(models)


def test_a_small_disk_is_one_line_and_the_old_directory_is_kept(models, indir, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    room = sum(path.stat().st_size + 4096 for path in models.iterdir()) + 20000
    mount = ["mount", "-t", "tmpfs", "-o", f"size={room}", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("only root can mount a small disk here")
    try:
        shutil.copytree(models, disk / "out")
        line = error_of("make-bg-cube-models", indir, "GADF", disk / "out", "--select", "all", "--overwrite")
        assert line.endswith(": cannot be written: No space left on device")
        assert names(disk) == {"out"}
        assert digests_and_times(disk / "out") == digests_and_times(models)
        shutil.rmtree(disk / "out")
        assert "is a mount point" in error_of("make-test-dataset", disk)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize(
    "name", ["attach", "compare", "cross-validate", "make-test-dataset", "run-groups", "true-reco", "validate"]
)
def test_no_command_leaves_anything_when_it_cannot_write(tmp_path, monkeypatch, name):
    indir = write_gadf(tmp_path / "in", [run(obs_id, 300) for obs_id in (2, 4)])
    models, out, one = model_directory(tmp_path / "models"), tmp_path / "work" / "out", tmp_path / "one.ipynb"
    out.parent.mkdir()
    code = {"cell_type": "code", "execution_count": None, "outputs": [], "id": "p", "metadata": {"tags": ["parameters"]}}
    code["source"] = "modeldir = ''\ngroup_id = 0"
    one.write_text(json.dumps({"cells": [code], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    arguments = {
        "attach": [models, indir, "GADF", out],
        "compare": [models, shutil.copytree(models, tmp_path / "other"), out],
        "cross-validate": [indir, "GADF", out, "--select", "all", "--folds", 2, "--alt-edges", "0,90"],
        "make-test-dataset": [out, "--n-runs", 1, "--trigger-rate", 2, "--source", "A,83,22,1"],
        "run-groups": [models, out, "--notebook", one],
        "true-reco": [out, "--test", "--trigger-rate", 2],
        "validate": [models, indir, "GADF", out, "--select", "all"],
    }

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert "cannot be written: No space left on device" in error_of(name, *arguments[name])
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
    return shutil.copytree(indir, tmp_path / "in")


def counts(report: bgnb.Report) -> int:
    (group,) = report.groups
    return group.counts


def make(indir: Path, out: Path, select: object = "all") -> bgnb.Report:
    return bgnb.make_bg_cube_models(indir, "GADF", out, select=select, n_energy=5, n_fov=8, overwrite=True)


@pytest.mark.parametrize("change", [Path.unlink, truncate, replace_by_another_run])
def test_a_run_that_changes_after_the_index_was_read_is_left_out_by_name(changing, tmp_path, monkeypatch, change):
    expected = make(changing, tmp_path / "without", [2, 8, 10])
    open_runs = plan.open_runs

    def open_and_change(*arguments):
        runs = open_runs(*arguments)
        change(changing / "data" / "run4.fits.gz")
        return runs

    monkeypatch.setattr(plan, "open_runs", open_and_change)
    report = make(changing, tmp_path / "out")
    (left_out,) = [entry for entry in report.runs if entry.reason]
    assert left_out.obs_id == 4
    assert "run4.fits.gz" in str(left_out.reason)
    assert counts(report) == counts(expected)


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"\0" * 2880)


@pytest.mark.parametrize(
    ("change", "complete"), [(Path.unlink, True), (replace_by_another_run, True), (truncate, False), (append, False)]
)
def test_a_run_that_changes_while_it_is_read_is_complete_or_left_out(changing, tmp_path, monkeypatch, change, complete):
    """What was opened is read to its end, although it is not under its name any more; what grows or shrinks is not used."""
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


def test_input_is_only_read(indir, models, tmp_path):
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
        for method in ("default", "spline"):
            out = tmp_path / method
            output_of("make-bg-cube-models", source, "GADF", out, *SMALL, "--method", method)
        output_of("attach", models, source, "GADF", tmp_path / "store")
    finally:
        if bind:
            subprocess.run(["umount", str(readonly)], check=True)
    assert [digests_and_times(directory) for directory in (indir, models)] == before
