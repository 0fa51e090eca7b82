"""Read, transform and stack the 40 H.E.S.S. runs, against the limit of the parts and against astropy.

    python benchmarks/speed.py [DIRECTORY]

Everything is measured in one process, in turns, and the median of the turns is printed.
Absolute times depend on the machine; the ratios are what counts.
"""

import os
import statistics
import sys
import time
import zlib
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

from bgnb import CubeAxes, open_runs, read_event_list, stack_runs

TURNS = 7
AXES = CubeAxes.regular(n_energy=20, n_fov=60)


def main(directory: Path) -> None:
    """Measure and print."""
    runs = open_runs(directory, "GADF")
    paths = [runs.files(obs_id).events.path for obs_id in runs.obs_ids]
    ends = [end_of_events(path) for path in paths]
    events = [read_event_list(runs.files(obs_id)) for obs_id in runs.obs_ids]
    log_ranges = [(np.log10(AXES.energy.value[0]), np.log10(AXES.energy.value[-1]))]
    log_ranges += [(edges.value[0], edges.value[-1]) for edges in (AXES.dety, AXES.detx)]
    samples = [(np.log10(run.energy), *reversed(run.detxy())) for run in events]

    parts: dict[str, Callable[[], object]] = {
        "isal gunzip to the end of EVENTS": lambda: [gunzip(*args) for args in zip(paths, ends, strict=True)],
        "FoV rotation in numpy (RADEC)": lambda: [rotate(run) for run in events],
        "fast-histogram": lambda: [histogramdd(sample, AXES.shape, log_ranges) for sample in samples],
    }
    whole = {
        "bgnb: read": lambda: [read_event_list(runs.files(obs_id)) for obs_id in runs.obs_ids],
        "bgnb: read + transform (ALTAZ) + stack": lambda: stack_all(runs, "ALTAZ"),
        "bgnb: read + transform (RADEC) + stack": lambda: stack_all(runs, "RADEC"),
    }
    times = measure(parts | whole)
    limit = sum(times[name] for name in parts)
    n_events = sum(len(run) for run in events)
    print(f"{len(events)} runs, {n_events} events, {os.cpu_count()} cores; medians of {TURNS} turns")
    for name, seconds in times.items():
        print(f"{seconds * 1e3:9.1f} ms  {name}")
    print(f"{limit * 1e3:9.1f} ms  limit: sum of the three parts")
    for fovalign in ("ALTAZ", "RADEC"):
        print(f"{times[f'bgnb: read + transform ({fovalign}) + stack'] / limit:9.2f}     times the limit, {fovalign} (aim: 2)")

    # Astropy takes about a minute for all runs: every eighth run, against the same runs with bgnb.
    chosen = runs.obs_ids[::8]
    started = time.perf_counter()
    reference = sum(astropy_counts(runs.files(obs_id).events.path) for obs_id in chosen)
    astropy_seconds = time.perf_counter() - started
    started = time.perf_counter()
    stack = stack_runs((read_event_list(runs.files(obs_id)) for obs_id in chosen), AXES)
    bgnb_seconds = time.perf_counter() - started
    moved = int(np.abs(stack.counts - reference).sum())
    print(f"{astropy_seconds / bgnb_seconds:9.0f}     times as fast as astropy's AltAz per event and np.histogramdd (aim: 100)")
    print(f"{moved:9d}     of {int(reference.sum())} counts of {len(chosen)} runs differ between the two")


def measure(tasks: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Median time of each task, taken in turns after one turn to warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for turn in range(TURNS + 1):
        for name, task in tasks.items():
            started = time.perf_counter()
            task()
            if turn:
                seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in seconds.items()}


def stack_all(runs, fovalign):
    """What the command does between opening the directory and making models."""
    return stack_runs((read_event_list(runs.files(obs_id)) for obs_id in runs.obs_ids), AXES, fovalign)


def end_of_events(path: Path) -> int:
    """Bytes of the inflated file up to the end of the EVENTS data."""
    with fits.open(path) as hdus:
        info = hdus["EVENTS"].fileinfo()
    return info["datLoc"] + info["datSpan"]


def gunzip(path: Path, size: int) -> bytes:
    """Inflate the beginning of a file."""
    return isal_zlib.decompressobj(wbits=16 + zlib.MAX_WBITS).decompress(path.read_bytes(), max_length=size)


def rotate(run) -> tuple[np.ndarray, np.ndarray]:
    """The least that any transform has to do: vectors, one matrix, angles."""
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
    """Counts of one run by astropy's readers and frames, event by event, and np.histogramdd."""
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
    default = os.environ.get("BGNB_TEST_DATA", Path(__file__).parents[2] / "shared" / "hess-dl3-dr1")
    with iers.conf.set_temp("auto_download", False):
        main(Path(sys.argv[1] if len(sys.argv) > 1 else default))
