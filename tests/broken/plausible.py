"""Plausible runs, with events around their pointings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord, SkyOffsetFrame
from astropy.table import Table

from tests.helpers.run_files import ONTIME, TSTART, run, write_gadf

N_EVENTS, LIVETIME, DEADC = 3000, 0.9 * ONTIME, 0.9
RUNS = (2, 4, 8)
SMALL = {"select": "all", "method": "unsmoothed", "n_energy": 6, "n_fov": 4, "fov_max": "8 deg"}


def plausible_run(obs_id: int) -> dict[str, Any]:
    """Make a run with events around its pointing."""
    parts = run(obs_id, 1, pointing=(75.0, 30.0), LIVETIME=LIVETIME, DEADC=DEADC)
    rng = np.random.default_rng(obs_id)
    lon, lat = rng.normal(0, 1.2, (2, N_EVENTS)) * u.deg
    origin = SkyCoord(parts["RA_PNT"], parts["DEC_PNT"], unit="deg")
    sky = SkyCoord(lon, lat, frame=SkyOffsetFrame(origin=origin)).icrs
    parts["events"] = {
        "EVENT_ID": np.arange(N_EVENTS) + 1.0,
        "TIME": np.sort(rng.uniform(TSTART, TSTART + ONTIME, N_EVENTS)),
        "RA": sky.ra.deg,
        "DEC": sky.dec.deg,
        "ENERGY": 0.28 * rng.uniform(0, 1, N_EVENTS) ** (-1 / 1.7),
    }
    return parts


def write_plausible_runs(indir: Path) -> Path:
    """Write three plausible runs in scheme GADF."""
    write_gadf(indir, [plausible_run(obs_id) for obs_id in RUNS])
    index = Table.read(indir / "obs-index.fits.gz")
    index.remove_column("LIVETIME")
    index.write(indir / "obs-index.fits.gz", overwrite=True)
    return indir
