"""Time and memory to open an index of 100 000 runs with 6 HDUs each, select far runs and group them.

    python benchmarks/index.py [N_RUNS]

The index is synthetic, without event lists. Each repetition runs in a new process.
"""

import multiprocessing
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from astropy.table import Table

from bgnb import ObservationGroups, open_runs
from bgnb.observations.groups import group_runs
from bgnb.observations.run_selection import select_runs

REPETITIONS = 3
#: HDU_TYPE, HDU_CLASS and HDU_NAME.
HDUS = [("events", "events", "EVENTS"), ("gti", "gti", "GTI"), ("aeff", "aeff_2d", "AEFF"), ("edisp", "edisp_2d", "EDISP")]
HDUS += [("psf", "psf_table", "PSF"), ("bkg", "bkg_3d", "BKG")]


def main(n_runs: int) -> None:
    """Measure and print the medians."""
    with tempfile.TemporaryDirectory() as folder:
        write_index(Path(folder), n_runs)
        with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
            repetitions = [pool.apply(steps, (Path(folder),)) for _ in range(REPETITIONS)]
    print(f"{n_runs} runs, {len(HDUS) * n_runs} HDUs; medians of {REPETITIONS} processes")
    for step in repetitions[0]:
        print(f"{statistics.median(times[step] for times in repetitions):8.2f}  {step}")


def steps(directory: Path) -> dict[str, float]:
    """Do all steps before the first event list is read, and return the time of each."""
    started, busy = time.perf_counter(), time.process_time()
    runs = open_runs(directory, "GADF")
    opened = time.perf_counter()
    selection = select_runs(runs, "far")
    selected = time.perf_counter()
    members, _ = group_runs(runs, selection, ObservationGroups())
    grouped, busy = time.perf_counter(), time.process_time() - busy
    for obs_ids in members.values():
        for obs_id in obs_ids:
            runs.files(obs_id)
    located = time.perf_counter()
    return {
        "s to open": opened - started,
        "s to select runs far from sources": selected - opened,
        "s to group": grouped - selected,
        "s in total (aim: 5)": grouped - started,
        "s of CPU in total": busy,
        "s more to find the files of each run": located - grouped,
        "MB peak memory (aim: 500)": peak_memory(),
    }


def peak_memory(pid: int | str = "self") -> float:
    """Return the peak memory of a process, MB; ru_maxrss would include that of its parent."""
    (line,) = (line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def write_index(directory: Path, n_runs: int) -> None:
    """Write an index of runs all over the sky, in files of six HDUs."""
    rng = np.random.default_rng(1)
    obs_id = np.arange(1, n_runs + 1)
    obs = Table({"OBS_ID": obs_id})
    obs["OBJECT"] = [f"field {number % 999}" for number in obs_id]
    obs["RA_PNT"], obs["DEC_PNT"] = rng.uniform(0, 360, n_runs), np.degrees(np.arcsin(rng.uniform(-1, 1, n_runs)))
    obs["ALT_PNT"], obs["AZ_PNT"] = rng.uniform(30, 90, n_runs), rng.uniform(0, 360, n_runs)
    obs["TSTART"] = 2000.0 * obs_id
    obs["TSTOP"] = obs["TSTART"] + 1700
    obs["ONTIME"], obs["LIVETIME"], obs["DEADC"] = 1700.0, 1500.0, 1500 / 1700
    names = np.array([f"run{number // 200 * 200:06d}/run_{number:06d}.fits.gz" for number in obs_id])
    hdus = Table({"OBS_ID": np.repeat(obs_id, len(HDUS))})
    for column, values in zip(("HDU_TYPE", "HDU_CLASS", "HDU_NAME"), zip(*HDUS, strict=True), strict=True):
        hdus[column] = np.tile(values, n_runs)
    hdus["FILE_DIR"] = "data"
    hdus["FILE_NAME"] = np.repeat(names, len(HDUS))
    for name, table in (("obs-index", obs), ("hdu-index", hdus)):
        table.write(directory / f"{name}.fits.gz")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
