"""Soak test: random productions, faults, repairs and kills on simulated runs.

    python -m benchmarks.soak [--minutes 10] [--seed N]

Each case damages or repairs runs, and makes models, backgrounds or runs in one process, in several, in parts or on a Dask
scheduler, while commands, their workers and those of Dask get signals at random moments. Whatever happens, an output is
absent, old or complete; in the end it has the bits that one undisturbed process writes, the skipped runs are the damaged
ones and all others are used, and no process or file is left. The seed determines all choices, but not the exact moments.
A failure exits with status 1 and keeps the directory.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import numpy as np

import bgnb
from tests.helpers.commands import output_of
from tests.helpers.dask_cluster import SMALL_CHUNKS, Cluster, environment
from tests.helpers.files import digests, names
from tests.helpers.processes import alive, children, started

Random = np.random.Generator
N_RUNS = 12
_PATIENCE = 120.0  # seconds after which a command hangs, or a process is left
_SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_MARK = "BGNB_SOAK"  # variable of the environment by which processes are found


def flip(path: Path, rng: Random) -> None:
    """Flip a bit of the compressed events."""
    content = bytearray(path.read_bytes())
    content[rng.integers(len(content) // 2, len(content) - 8)] ^= 1 << rng.integers(8)
    path.write_bytes(content)


def replace_by_other(path: Path, rng: Random) -> None:
    """Replace a run by another one."""
    others = sorted(other for other in path.parent.parent.parent.glob("good/data/*") if other.name != path.name)
    shutil.copy(others[rng.integers(len(others))], path)


FAULTS: tuple[Callable[[Path, Random], object], ...] = (
    flip,
    replace_by_other,
    lambda path, rng: path.unlink(),
    lambda path, rng: os.truncate(path, rng.integers(path.stat().st_size)),
    lambda path, rng: path.write_bytes(rng.bytes(3000)),
)


def require(condition: object, text: str) -> None:
    """Raise an error if an invariant does not hold."""
    if not condition:
        raise AssertionError(text)


def check_report(outdir: Path, obs_ids: set[int], damaged: set[int]) -> None:
    """Check that used and skipped runs are all runs, each once, and that the damaged ones are skipped with a code."""
    runs = json.loads((outdir / "report.json").read_text())["runs"]
    require(sorted(run["obs_id"] for run in runs) == sorted(obs_ids), f"used and skipped runs are not all runs: {runs}")
    skipped = {run["obs_id"] for run in runs if run["status"] == "skipped"}
    require(skipped == damaged, f"runs {skipped} are skipped, but {damaged} are damaged")
    require(all((run["reason"] or "").endswith("]") == (run["obs_id"] in damaged) for run in runs), f"no reasons: {runs}")


def check_output(outdir: Path, allowed: list[dict[str, str]]) -> None:
    """Check that an output is absent, or complete and one of those allowed."""
    require(outdir.exists() or {} in allowed, f"{outdir} is absent")
    if outdir.exists():
        require(not any(bgnb.check(outdir).values()), f"{outdir} is damaged: {bgnb.check(outdir)}")
        require(digests(outdir) in allowed, f"{outdir} has other bits than expected")


def check_nothing_left(folder: Path, expected: set[str]) -> None:
    """Check that a folder has the expected entries only."""
    require(names(folder) == expected, f"left in {folder}: {sorted(names(folder) ^ expected)}")


def check_no_process(mark: str, patience: float = _PATIENCE) -> None:
    """Check that no process has a mark in its environment; workers end shortly after their caller."""
    deadline = time.monotonic() + patience
    while left := [pid for pid in marked(mark) if alive(pid)]:
        require(time.monotonic() < deadline, f"processes left: {left}")
        time.sleep(0.02)


def marked(mark: str) -> Iterator[int]:
    """List the processes with a mark in their environment."""
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):  # it ended, or is that of another user
            if f"{_MARK}={mark}".encode() in path.read_bytes().split(b"\0"):
                yield int(path.parent.name)


class Soak:
    """Runs to damage, and commands to disturb, in an empty folder; commands with changes in modules test the soak test."""

    def __init__(self, folder: Path, stack: ExitStack, changes: dict[str, dict[str, object]] | None = None) -> None:
        self.folder, self.work, self.ends = folder, folder / "work", Counter[str]()
        self.good, self.indir, self.out = folder / "good", folder / "in", folder / "work" / "out"
        for name in ("work", "tmp", "expected"):
            (folder / name).mkdir()
        bgnb.make_test_dataset(self.good, n_runs=N_RUNS, trigger_rate=2.0, alt_range=(50, 80), progress=False)
        shutil.copytree(self.good, self.indir)
        runs = bgnb.open_runs(self.indir, "GADF")
        self.files = {obs_id: runs.files(obs_id).events.path for obs_id in runs.obs_ids}
        bgnb.make_bg_cube_models(self.good, "GADF", folder / "models", select="all", n_energy=6, n_fov=8, workers=1)
        self.damaged, self.was_killed, self.content = set[int](), False, ""
        self.duration: dict[object, float] = {}
        self.variables = {"CHANGE": SMALL_CHUNKS | (changes or {}), "TMPDIR": folder / "tmp", _MARK: folder}
        self.cluster = Cluster(folder, stack, CHANGE=SMALL_CHUNKS)
        self.nannies = [self.cluster.add_worker(CHANGE=SMALL_CHUNKS).pid for _ in range(2)]

    def change_input(self, rng: Random) -> None:
        """Damage or repair some runs; most are always good."""
        for obs_id in rng.choice(sorted(self.files), rng.integers(3), replace=False).tolist():
            path = self.files[obs_id]
            if obs_id in self.damaged:
                shutil.copy(self.good / path.relative_to(self.indir), path)
                self.damaged.remove(obs_id)
            elif len(self.damaged) < N_RUNS // 3:
                FAULTS[rng.integers(len(FAULTS))](path, rng)
                self.damaged.add(obs_id)

    def case(self, rng: Random) -> None:
        """Make one output with a command that is disturbed several times, and check it."""
        self.change_input(rng)
        small = ("--select", "all", "--n-energy", 6, "--n-fov", 8, "--method", rng.choice(["classic", "spline", "unsmoothed"]))
        kind = str(rng.choice(["models", "parts", "attach", "simulate"], p=[0.4, 0.2, 0.25, 0.15]))
        final = whole = {
            "attach": ("attach", self.folder / "models", self.indir, "GADF", self.out),
            "simulate": ("make-test-dataset", self.out, "--n-runs", 4, "--trigger-rate", 2, "--seed", rng.integers(5)),
        }.get(kind, ("make-bg-cube-models", self.indir, "GADF", self.out, *small))
        if kind == "parts":
            parts = [self.folder / "parts" / str(number) for number in (1, 2)]
            for part in parts:
                self.run((*whole[:3], part, *small, "--part", f"{part.name}/2"), rng)
            final = ("merge", *parts, self.out)
        content = "models" if kind == "parts" else kind
        if self.out.exists() and (rng.random() < 0.5 or content != self.content):  # only the same kind is replaced
            shutil.rmtree(self.out)
        self.content = content
        allowed = [digests(self.out) if self.out.exists() else {}]
        for _ in range(rng.integers(3)):
            allowed.append(self.expected(whole))
            if self.run(final, rng, rng.random()) == 0:
                del allowed[:-1]
            check_output(self.out, allowed)
            if kind in ("models", "attach") and rng.random() < 0.4:  # parts must not change until they are merged
                self.change_input(rng)
        require(self.run(final, rng) == 0, "an undisturbed command fails")
        check_output(self.out, [self.expected(whole)])
        if kind != "simulate":
            check_report(self.out, set(self.files), self.damaged)
        check_nothing_left(self.work, {"out"})
        check_nothing_left(self.folder / "tmp", set())
        self.ends[kind] += 1

    def expected(self, arguments: tuple[object, ...]) -> dict[str, str]:
        """Make the output in this process, without workers, and return its digests."""
        out = self.folder / "expected" / "out"
        shutil.rmtree(out, ignore_errors=True)
        output_of(*(out if argument == self.out else argument for argument in arguments), "--workers", 1)
        return digests(out)

    def run(self, arguments: tuple[object, ...], rng: Random, moment: float | None = None) -> int:
        """Run a command on random workers; disturb it at a moment, in units of its usual duration, unless that is None."""
        if arguments[0] != "merge":
            on_dask = arguments[0] != "make-test-dataset" and rng.random() < 0.3
            arguments += ("--scheduler", self.cluster.address) if on_dask else ("--workers", rng.integers(1, 4))
        variables, begun, sent = environment(self.folder, **self.variables), time.monotonic(), None
        with started([sys.executable, "-m", "bgnb", *arguments, "--overwrite"], variables) as process:
            if moment is not None:
                time.sleep(moment * self.duration.get(arguments[0], 3.0))
                sent = self.disturb(process, rng)
            _, errors = process.communicate(timeout=_PATIENCE)
        if moment is None:
            self.duration[arguments[0]] = time.monotonic() - begun
        code, what = process.returncode, f"{arguments} after {sent}: {errors}"
        self.ends[f"exit {code} after {sent}" if sent else f"exit {code}"] += 1
        died = {2} if sent == "a worker" and "[worker-died]" in errors else set()
        in_site = sent == signal.SIGINT and "init_import_site" in errors
        allowed = {0, *died, *((-sent, 128 + sent) if isinstance(sent, signal.Signals) else ())}
        require(code in allowed or in_site, f"{code} of {what}")
        require(code < 0 or in_site or "Traceback" not in errors, what)  # Python ends itself until bgnb is loaded
        self.was_killed = code < 0 or (self.was_killed and code > 0)
        if not self.was_killed:
            kept = self.work / ".out.bgnb-partial"
            may_remain = {"out", kept.name} if kept.is_dir() and names(kept) == {".bgnb-kept"} else {"out"}
            check_nothing_left(self.work, names(self.work) & may_remain)
        check_no_process(str(self.folder))
        return code

    def disturb(self, process: subprocess.Popen[str], rng: Random) -> signal.Signals | str | None:
        """Send a signal to a command or to all its processes, or kill one of its workers or of those of Dask."""
        number, target, chance = _SIGNALS[rng.integers(len(_SIGNALS))], rng.random(), rng.random()
        parents = self.nannies if target < 0.2 else [process.pid] if target < 0.5 else []
        with suppress(IndexError, OSError):  # there is none, or it ended
            commands = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for parent in parents for pid in children(parent)}
            pids = [pid for pid, text in commands.items() if b"resource_tracker" not in text]  # a process of Python itself
            os.kill(pids[int(chance * len(pids))], signal.SIGKILL)
            return "a worker of Dask" if target < 0.2 else "a worker"
        if process.poll() is None:
            os.killpg(process.pid, number) if target > 0.8 else process.send_signal(number)
            return number
        return None


def soak(minutes: float, seed: int, folder: Path) -> bool:
    """Try cases until the time is over; return True if none failed."""
    end, number = time.monotonic() + 60 * minutes, 0
    with ExitStack() as stack:
        world = Soak(folder, stack)
        while time.monotonic() < end:
            try:
                world.case(np.random.default_rng([seed, number]))
            except Exception:
                traceback.print_exc()
                print(f"case {number} of seed {seed} failed: directory {folder}")
                return False
            number += 1
    shutil.rmtree(folder)
    for kind, count in sorted(world.ends.items()):
        print(f"{count:6d}  {kind}")
    print(f"{number} cases of seed {seed} in {minutes:g} min: all invariants hold")
    return True


def main() -> None:
    """Run the soak test."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=int(np.random.SeedSequence().generate_state(1)[0]))
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    sys.exit(not soak(arguments.minutes, arguments.seed, Path(tempfile.mkdtemp(prefix="bgnb-soak-"))))


if __name__ == "__main__":
    main()
