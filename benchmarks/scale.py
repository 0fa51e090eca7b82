"""Thousands of runs: time, CPU and memory with one process, with two, and on Dask.

    python benchmarks/scale.py DIRECTORY

The runs are those of DIRECTORY (scheme GADF) that bgnb does not refuse, repeated (``replicate.py``), in a scratch directory.
Dask is a scheduler and two workers, each a process, connected over the loopback interface. CPU is that of all
processes involved, while the command runs.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from index import peak_memory
from replicate import replicate

FEW, MANY = 105, 2100
_OPTIONS = ["--select", "all", "--n-energy", "20", "--n-fov", "60", "--overwrite"]
_OPTIONS += ["--allow", "duplicate-run", "--allow", "low-rate"]  # repeated runs have the same events
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Cost:
    """Cost of a command: wall-clock time and CPU time, s, and peak memory of each process, MB."""

    seconds: float
    cpu: float
    megabytes: dict[int, float]

    def __str__(self) -> str:
        peaks = " + ".join(f"{peak:.0f}" for peak in self.megabytes.values())
        return f"{self.seconds:6.1f} s, {self.cpu:6.1f} s of CPU, maximum {peaks} MB"


def main(directory: Path) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        made = {n: replicate(directory, scratch / str(n), n, scratch / "copies") for n in (FEW, MANY)}
        one = {n: command(made[n], scratch / "out", "--workers", "1") for n in made}
        two = command(made[MANY], scratch / "out", "--workers", "2")
        with dask_cluster(scratch) as (address, pids):
            dask = command(made[MANY], scratch / "out", "--scheduler", address, helpers=pids)
        for title, cost in (
            (f"{FEW} runs, 1 process", one[FEW]),
            (f"{MANY} runs, 1 process", one[MANY]),
            (f"{MANY} runs, 2 processes and their parent", two),
            (f"{MANY} runs, Dask: client, scheduler, 2 workers", dask),
        ):
            print(f"{cost}  {title}")
        print(f"{(one[MANY].cpu - one[FEW].cpu) / (MANY - FEW) * 1e3:6.2f} ms of CPU per further run, 1 process (aim: 10)")
        print(f"{dask.cpu / two.cpu - 1:+6.1%} CPU on Dask against processes (aim: maximum 20 %)")
        growth = max(one[MANY].megabytes.values()) / max(one[FEW].megabytes.values()) - 1
        print(f"{growth:+6.1%} memory from {FEW} to {MANY} runs (aim: maximum 5 %)")


def command(directory: Path, out: Path, *choices: str, helpers: tuple[int, ...] = ()) -> Cost:
    """Make models, and measure the command, its child processes and helpers."""
    arguments = [sys.executable, "-m", "bgnb", "make-bg-cube-models", str(directory), "GADF", str(out), *_OPTIONS]
    before = sum(map(cpu_of, helpers))
    started = time.perf_counter()
    process = subprocess.Popen([*arguments, *choices], stdout=subprocess.DEVNULL)
    peaks: dict[int, float] = {}
    while True:
        for pid in (process.pid, *children(process.pid), *helpers):
            try:
                peaks[pid] = max(peak_memory(pid), peaks.get(pid, 0))
            except (OSError, ValueError):  # it has just ended
                continue
        done, status, usage = os.wait4(process.pid, os.WNOHANG)
        if done:
            break
        time.sleep(0.1)
    seconds = time.perf_counter() - started
    if status:
        raise SystemExit(f"{' '.join(arguments)} failed")
    cpu = usage.ru_utime + usage.ru_stime + sum(map(cpu_of, helpers)) - before
    return Cost(seconds, cpu, {pid: peak for pid, peak in peaks.items() if peak > 30})  # not the resource tracker


def children(pid: int) -> list[int]:
    """Find the child processes of a process."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def cpu_of(pid: int) -> float:
    """Return the CPU time of a process, s."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


@contextmanager
def dask_cluster(folder: Path) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Start a scheduler and two workers of one thread; return address and process ids."""
    file = folder / "scheduler.json"
    environment = os.environ | {"DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False"}
    common = ["--scheduler-file", str(file), "--host", "127.0.0.1", "--no-dashboard"]
    roles = {"scheduler": ["--port", "0"], "worker": ["--nworkers", "1", "--nthreads", "1", "--no-nanny"]}
    roles["worker"] += ["--local-directory", str(folder)]
    processes = []
    try:
        for role in ("scheduler", "worker", "worker"):
            program = [sys.executable, "-m", f"distributed.cli.dask_{role}", *common, *roles[role]]
            processes.append(subprocess.Popen(program, env=environment, stderr=subprocess.DEVNULL))
            while not file.exists():
                time.sleep(0.1)
        from distributed import Client

        with Client(scheduler_file=str(file)) as client:
            client.wait_for_workers(2)
            address = client.scheduler.address
        yield address, tuple(process.pid for process in processes)
    finally:
        for process in reversed(processes):
            process.terminate()
            process.wait()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
