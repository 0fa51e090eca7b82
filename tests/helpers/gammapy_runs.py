"""Simulated runs for Gammapy, near the zenith, where the field of view rotates fast."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from astropy.io import fits

from bgnb import make_test_dataset

ORDINARY, DR1, GAPS = 1, 2, 3


def run_file(indir: Path, obs_id: int) -> Path:
    """Return the path of the file of a run."""
    return indir / "data" / f"run{obs_id:06d}.fits.gz"


def set_good_time(path: Path, gti: np.ndarray) -> None:
    """Set the good time intervals of a run, seconds after its start, shape (m, 2); the live fraction stays."""
    with fits.open(path, mode="update") as hdus:
        header = hdus["EVENTS"].header
        ends = zip(("START", "STOP"), header["TSTART"] + gti.T, strict=True)
        columns = [fits.Column(name, "D", unit="s", array=values) for name, values in ends]
        hdus["GTI"] = fits.BinTableHDU.from_columns(columns, header=hdus["GTI"].header)
        header["ONTIME"] = float(np.diff(gti).sum())
        header["LIVETIME"] = header["ONTIME"] * header["DEADC"]


def write_rotating_runs(indir: Path) -> Path:
    """Write three runs: ordinary, as of H.E.S.S. DR1, and with a gap after the first five minutes."""
    make_test_dataset(indir, n_runs=3, trigger_rate=1.0, alt_range=(72, 78), az_range=(150, 210), seed=3)
    with fits.open(run_file(indir, DR1), mode="update") as hdus:
        hdus["EVENTS"].header["CREATOR"], hdus["EVENTS"].header["HDUVERS"] = "SASH FITS::EventListWriter", "0.2"
    set_good_time(run_file(indir, GAPS), np.array([(0.0, 300.0), (1200.0, 1800.0)]))
    return indir
