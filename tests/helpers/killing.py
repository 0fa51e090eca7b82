"""Kill the command ``bgnb make-bg-cube-models`` at many moments, and record what is left.

This program imports bgnb once and forks a child for each trial, which is fast. It writes the results as JSON, which
``test_interruptions.py`` tests.
"""

from __future__ import annotations

import gc
import json
import os
import random
import shutil
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tqdm import tqdm

import bgnb
import bgnb.files.output_directory
from bgnb.cli.main import main
from tests.helpers.files import digests

# Audit events of steps that change files; a command is killed at some of them.
STEPS = ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "ctypes.dlsym")
KILLS_AT_RANDOM = 8


class Trials:
    """Trials in a directory, and the states of the output before and after a run."""

    def __init__(self, indir: Path, place: Path) -> None:
        self.indir, self.out, self.old = indir, place / "work" / "out", place / "old"
        self.out.parent.mkdir()
        self.make(self.old, "--n-energy", "4")
        self.make(place / "new")
        self.states = {"old": digests(self.old), "new": digests(place / "new")}

    def make(self, out: Path, *options: str) -> None:
        main(self.command(out, *options), standalone_mode=False)

    def command(self, out: Path, *options: str) -> list[str]:
        common = (
            "--select",
            "all",
            "--method",
            "unsmoothed",
            "--n-fov",
            "8",
            *(() if "--n-energy" in options else ("--n-energy", "5")),
        )
        return ["make-bg-cube-models", str(self.indir), "GADF", str(out), *common, *options]

    def prepare(self, old: bool) -> None:
        for path in self.out.parent.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        if old:
            shutil.copytree(self.old, self.out)

    def start(self, *options: str, before: Callable[[], None] = lambda: None) -> int:
        """Run the command in a child process."""
        child = os.fork()
        if child:
            return child
        code = 9
        try:
            tqdm.set_lock(threading.RLock())  # the lock of a killed child, shared between processes, would stay locked
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 1)
            os.dup2(nowhere, 2)
            before()
            main(self.command(self.out, *options))
        except SystemExit as end:
            code = int(end.code or 0)
        finally:
            os._exit(code)

    def state(self) -> str:
        """Describe the output: absent, old, new, broken or neither."""
        if not self.out.exists():
            return "absent"
        if any(bgnb.check(self.out).values()):
            return "broken"
        found = digests(self.out)
        return next((name for name, expected in self.states.items() if found == expected), "neither")

    def judge(self, child: int, old: bool) -> dict[str, object]:
        """Describe what a killed child left, and what the next run made of it."""
        killed = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        seen: dict[str, object] = {"killed": killed, "before": "old" if old else "absent", "after": self.state()}
        if not killed:
            return seen
        seen["left"] = sorted(path.name for path in self.out.parent.glob("*.bgnb-partial/*"))
        seen["next"] = os.waitstatus_to_exitcode(os.waitpid(self.start("--overwrite"), 0)[1])
        seen["then"] = self.state()
        seen["left_then"] = [path.name for path in self.out.parent.iterdir() if path != self.out]
        return seen

    def duration(self) -> float:
        """Measure the duration of a run."""
        times = []
        for _ in range(3):
            self.prepare(old=True)
            start = time.monotonic()
            os.waitpid(self.start("--overwrite"), 0)
            times.append(time.monotonic() - start)
        return min(times)

    def at_random(self) -> list[dict[str, object]]:
        """Kill runs at random moments; those that ended before do not count."""
        duration, seen = self.duration(), []
        rng = random.Random(1)
        for trial in range(3 * KILLS_AT_RANDOM):
            old = trial % 3 > 0
            self.prepare(old)
            child = self.start("--overwrite")
            time.sleep(duration * rng.random())
            os.kill(child, signal.SIGKILL)
            if (one := self.judge(child, old))["killed"]:
                seen.append(one)
            else:
                duration *= 0.9  # runs have become faster
            if len(seen) == KILLS_AT_RANDOM:
                break
        return seen

    def at_steps(self, exchange: bool) -> list[dict[str, object]]:
        """Kill runs just before and after each of the last renames, and before the first and last step."""
        self.prepare(old=True)
        listed = self.out.parent.parent / "steps"
        os.waitpid(self.start("--overwrite", before=lambda: self.list_steps(exchange, listed)), 0)
        steps = listed.read_text().split()
        naming = [number for number, event in enumerate(steps) if event in ("os.rename", "ctypes.dlsym")][-4:]
        seen = []
        for step in sorted({0, len(steps) - 1, *naming, *(number + 1 for number in naming)}):
            self.prepare(old=True)
            child = self.start("--overwrite", before=lambda step=step: self.kill_at(step, exchange))
            seen.append(self.judge(child, old=True))
        return seen

    def list_steps(self, exchange: bool, result: Path) -> None:
        file = os.open(result, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        self.at_each_step(exchange, lambda _, event: os.write(file, f"{event}\n".encode()))

    def kill_at(self, step: int, exchange: bool) -> None:
        self.at_each_step(exchange, lambda number, _: os.kill(os.getpid(), signal.SIGKILL) if number == step else None)

    def at_each_step(self, exchange: bool, act: Callable[[int, str], object]) -> None:
        if not exchange:
            bgnb.files.output_directory._exchange = lambda *_: False  # as on systems that cannot
        number = 0

        def hook(event: str, arguments: tuple[object, ...]) -> None:
            nonlocal number
            if event in STEPS and (event.startswith(("ctypes", "os.r")) or str(self.out.parent) in str(arguments[0])):
                act(number, event)
                number += 1

        sys.addaudithook(hook)


def race(trials: Trials) -> list[dict[str, object]]:
    """Start four runs with the same output at once."""
    seen = []
    for _ in range(3):
        trials.prepare(old=False)
        children = [trials.start() for _ in range(4)]
        codes = Counter(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children)
        seen.append({"codes": dict(codes), "state": trials.state(), "files": len(list(trials.out.parent.iterdir()))})
    return seen


if __name__ == "__main__":
    place = Path(sys.argv[2])
    trials = Trials(Path(sys.argv[1]), place)
    gc.freeze()  # children copy fewer pages
    start = time.monotonic()
    result: dict[str, object] = {}
    for name, work in (
        ("random", trials.at_random),
        ("steps", lambda: trials.at_steps(exchange=True)),
        ("steps_without_exchange", lambda: trials.at_steps(exchange=False)),
        ("race", lambda: race(trials)),
    ):
        result[name] = work()
        print(name, f"{time.monotonic() - start:.1f} s", file=sys.stderr)
    (place / "result.json").write_text(json.dumps(result))
