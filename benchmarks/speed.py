"""Time to read, transform and stack runs, compared with a lower limit and with Astropy.

    python benchmarks/speed.py [DIRECTORY]   runs in scheme GADF; by default the 40 H.E.S.S. runs
    python benchmarks/speed.py --full        100 simulated runs at full rate, 4·10⁷ events, 1.3 GB on disk temporarily

All tasks are measured in one process, in several turns; the median CPU time is printed. Absolute times
depend on the machine; compare the ratios. Runs that bgnb refuses are not measured; the comparison with Astropy needs
runs with one good time interval, whose effective area states LO_THRES.
"""

import os
import statistics
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.coordinates import AltAz, EarthLocation, SkyCoord, SkyOffsetFrame
from astropy.io import fits
from astropy.time import Time
from astropy.utils import iers
from fast_histogram import histogramdd
from isal import isal_zlib
from usable_runs import usable_runs

from bgnb import CubeAxes, Runs, Stack, make_test_dataset, read_event_list, stack_runs
from bgnb._util.compression import MAGIC
from bgnb.observations.coordinates import FovAlign

TURNS = 7
PARTS = ("isal gunzip to the end of EVENTS", "FoV rotation in numpy (RADEC)", "fast-histogram")
WHOLE_FILE = "isal gunzip of whole files, which finds any flipped bit"
AXES = CubeAxes.regular(n_energy=20, n_fov=60)


def main(directory: Path, turns: int = TURNS) -> None:
    """Measure and print."""
    runs = usable_runs(directory)
    n_runs = len(runs)
    times, n_events = measure(runs, turns)
    limit = sum(times[part] for part in PARTS)
    print(f"{n_runs} runs, {n_events} events, {os.cpu_count()} cores; CPU, medians of {turns} turns")
    for name, seconds in times.items():
        print(f"{seconds / n_runs * 1e3:9.2f} ms per run, {n_events / seconds / 1e6:6.2f} M events/s  {name}")
    print(f"{limit / n_runs * 1e3:9.2f} ms per run, {n_events / limit / 1e6:6.2f} M events/s  limit: sum of the first three")
    checked = limit + times[WHOLE_FILE] - times[PARTS[0]]
    for fovalign in ("ALTAZ", "RADEC"):
        seconds = times[f"bgnb: read + transform ({fovalign}) + stack"]
        print(
            f"{seconds / limit:9.2f}    times the limit, {fovalign} (aim: 2); {seconds / checked:.2f} if whole files are read"
        )


def against_astropy(directory: Path) -> None:
    """Transform every eighth run with Astropy event by event, which takes about a minute for all runs."""
    runs = usable_runs(directory)
    chosen = runs.obs_ids[::8]
    started = time.process_time()
    reference = sum(astropy_counts(runs.files(obs_id).events.path) for obs_id in chosen)
    astropy_seconds = time.process_time() - started
    started = time.process_time()
    stack = stack_runs((read_event_list(runs.files(obs_id)) for obs_id in chosen), AXES)
    bgnb_seconds = time.process_time() - started
    moved = int(np.abs(stack.counts - reference).sum())
    print(f"{astropy_seconds / bgnb_seconds:9.0f}     times as fast as astropy's AltAz per event and np.histogramdd (aim: 100)")
    print(f"{moved:9d}     of {int(reference.sum())} counts of {len(chosen)} runs differ between the two")


def measure(runs: Runs, turns: int) -> tuple[dict[str, float], int]:
    """Return the median CPU time of each task for all runs, after a warm-up turn, and the number of events."""
    log_ranges = [(np.log10(AXES.energy.value[0]), np.log10(AXES.energy.value[-1]))]
    log_ranges += [(edges.value[0], edges.value[-1]) for edges in (AXES.dety, AXES.detx)]
    ends = {obs_id: end_of_events(runs.files(obs_id).events.path) for obs_id in runs.obs_ids}
    seconds: dict[str, list[float]] = {}
    for turn in range(turns + 1):
        used: Counter[str] = Counter()
        n_events = 0
        for obs_id in runs.obs_ids:
            files = runs.files(obs_id)
            used[PARTS[0]] += timed(gunzip, files.events.path, ends[obs_id])
            used[WHOLE_FILE] += timed(gunzip, files.events.path)
            events = read_event_list(files)
            n_events += len(events)
            used[PARTS[1]] += timed(rotate, events)
            sample = (np.log10(events.energy), *reversed(events.detxy()))
            used[PARTS[2]] += timed(histogramdd, sample, AXES.shape, log_ranges)
            used["bgnb: read"] += timed(read_event_list, files)
        for fovalign in ("ALTAZ", "RADEC"):
            used[f"bgnb: read + transform ({fovalign}) + stack"] = timed(stack_all, runs, fovalign)
        if turn:
            for name, value in used.items():
                seconds.setdefault(name, []).append(value)
    return {name: statistics.median(values) for name, values in seconds.items()}, n_events


def timed(task: Callable[..., object], *arguments: object) -> float:
    """Return the CPU time of a task, s."""
    started = time.process_time()
    task(*arguments)
    return time.process_time() - started


def stack_all(runs: Runs, fovalign: FovAlign) -> Stack:
    """Count as the command does, after opening the directory and before making models."""
    return stack_runs((read_event_list(runs.files(obs_id)) for obs_id in runs.obs_ids), AXES, fovalign)


def end_of_events(path: Path) -> int:
    """Return the number of bytes of the decompressed file up to the end of the EVENTS data."""
    with fits.open(path) as hdus:
        info = hdus["EVENTS"].fileinfo()
    return info["datLoc"] + info["datSpan"]


def gunzip(path: Path, size: int = 0) -> bytes:
    """Decompress the beginning of a file, or the whole file, with its checksum verified."""
    content = path.read_bytes()
    if not content.startswith(MAGIC):
        return content[: size or None]
    return isal_zlib.decompressobj(wbits=16 + zlib.MAX_WBITS).decompress(content, max_length=size)


def rotate(run) -> tuple[np.ndarray, np.ndarray]:
    """Do the minimum work of any transform: vectors, one matrix, angles."""
    ra, dec = np.radians(run.ra), np.radians(run.dec)
    ra0, dec0 = np.radians(run.ra_pnt), np.radians(run.dec_pnt)
    matrix = [
        [np.cos(dec0) * np.cos(ra0), np.cos(dec0) * np.sin(ra0), np.sin(dec0)],
        [np.sin(ra0), -np.cos(ra0), 0],
        [-np.sin(dec0) * np.cos(ra0), -np.sin(dec0) * np.sin(ra0), np.cos(dec0)],
    ]
    x, y, z = matrix @ np.array([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])
    return np.degrees(np.arctan2(y, x)), np.degrees(np.arcsin(z))


def astropy_counts(path: Path) -> np.ndarray:
    """Count one run with Astropy's readers and frames, event by event, and np.histogramdd."""
    with fits.open(path) as hdus:
        header, data, gti = hdus["EVENTS"].header, hdus["EVENTS"].data, hdus["GTI"].data
        threshold = hdus["AEFF"].header["LO_THRES"]
        seconds = data["TIME"].astype(float)
        reference = Time(header["MJDREFI"], header["MJDREFF"], format="mjd", scale="tt")
        location = EarthLocation(lon=header["GEOLON"] * u.deg, lat=header["GEOLAT"] * u.deg, height=header["ALTITUDE"] * u.m)
        frame = AltAz(obstime=reference + seconds * u.s, location=location)
        sky = SkyCoord(data["RA"].astype(float) * u.deg, data["DEC"].astype(float) * u.deg).transform_to(frame)
        pointing = SkyCoord(header["RA_PNT"] * u.deg, header["DEC_PNT"] * u.deg).transform_to(frame)
        offset = sky.transform_to(SkyOffsetFrame(origin=pointing))
        sample = np.stack([data["ENERGY"].astype(float), offset.lat.deg, -offset.lon.wrap_at(180 * u.deg).deg], axis=1)
        usable = min(edge for edge in AXES.energy.value if edge >= threshold * (1 - 1e-6))
        use = (seconds >= gti["START"][0]) & (seconds <= gti["STOP"][0]) & (sample[:, 0] >= usable)
    return np.histogramdd(sample[use], (AXES.energy.value, AXES.dety.value, AXES.detx.value))[0]


if __name__ == "__main__":
    with iers.conf.set_temp("auto_download", False):
        if sys.argv[1:] == ["--full"]:
            with tempfile.TemporaryDirectory() as folder:
                make_test_dataset(Path(folder) / "runs", n_runs=100, workers=2, progress=False)
                main(Path(folder) / "runs", turns=1)
        else:
            default = os.environ.get("BGNB_TEST_DATA", Path(__file__).parents[2] / "shared" / "hess-dl3-dr1")
            given = Path(sys.argv[1] if len(sys.argv) > 1 else default)
            main(given)
            against_astropy(given)
