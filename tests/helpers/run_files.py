"""Small directories of runs, written with astropy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord, SkyOffsetFrame
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

from bgnb.observations.coordinates import Site, pointing_altaz, pointing_radec

MJDREF = 51910.000742870370
TSTART = 123890826.0
ONTIME = 1680.0
SITE = {"GEOLON": 16.5002222, "GEOLAT": -23.2717778, "ALTITUDE": 1835.0}
HESS = Site(*SITE.values())


def asymmetric_events(rng: np.random.Generator, n: int, ra_pnt: float, dec_pnt: float) -> dict[str, np.ndarray]:
    """Make events with an excess to the north-east, mostly from 0.1 to 80 TeV."""
    lon = rng.normal(0.7, 1.2, n) * u.deg  # increases with right ascension
    lat = rng.normal(0.4, 0.8, n) * u.deg
    sky = SkyCoord(lon, lat, frame=SkyOffsetFrame(origin=SkyCoord(ra_pnt * u.deg, dec_pnt * u.deg))).icrs
    return {
        "TIME": np.sort(rng.uniform(TSTART, TSTART + ONTIME, n)),
        "RA": sky.ra.deg,
        "DEC": sky.dec.deg,
        "ENERGY": 0.08 * rng.uniform(0, 1, n) ** (-1 / 1.7),
    }


def run(obs_id: int, n_events: int = 400, **changes: Any) -> dict[str, Any]:
    """Make a run to write; ``changes`` are keywords of the header of events, or other parts.

    Altitude and azimuth depend on ``obs_id``, so that runs fall into several groups, unless ``pointing`` states
    them, or RA_PNT and DEC_PNT the position.
    """
    middle = MJDREF + (TSTART + ONTIME / 2) / 86400
    if "RA_PNT" in changes:
        position = changes["RA_PNT"], changes["DEC_PNT"]
        pointing = pointing_altaz(*position, middle, HESS)
    else:
        pointing = changes.get("pointing", (75.0 - 19.5 * (obs_id % 2), 30.0 + 150 * (obs_id % 3 == 0)))
        position = pointing_radec(*pointing, middle, HESS)
    parts = {
        "pointing": pointing,
        "RA_PNT": position[0],
        "DEC_PNT": position[1],
        "LIVETIME": 1500.0 + obs_id % 100,
        "threshold": 0.3,
        "threshold_comment": "[TeV]",
        "limit": None,
        "limit_comment": "[TeV]",
        "gti": [(TSTART, TSTART + ONTIME)],
        "units": {"TIME": "s", "RA": "deg", "DEC": "deg", "ENERGY": "TeV"},
    } | changes
    good_time = float(np.diff(parts["gti"]).sum())
    if "gti" in changes and good_time > 0:
        parts |= {"ONTIME": good_time, "LIVETIME": 0.9 * good_time} | changes
    rng = np.random.default_rng(obs_id)
    parts.setdefault("events", asymmetric_events(rng, n_events, parts["RA_PNT"], parts["DEC_PNT"]))
    return {"OBS_ID": obs_id} | parts


def events_hdu(parts: Mapping[str, Any]) -> fits.BinTableHDU:
    """Make the EVENTS table of a run."""
    columns = [fits.Column(name, "D", unit=parts["units"].get(name), array=values) for name, values in parts["events"].items()]
    hdu = fits.BinTableHDU.from_columns(columns, name="EVENTS")
    keywords = {name: value for name, value in parts.items() if name.isupper() and value is not None}
    defaults = {"ONTIME": ONTIME, "TSTART": TSTART, "TSTOP": TSTART + ONTIME, "TELESCOP": "HESS", "TIMESYS": "TT", "N_TELS": 4}
    defaults |= {"MJDREFI": int(MJDREF), "MJDREFF": MJDREF % 1, "HDUCLASS": "GADF", "HDUCLAS1": "EVENTS"} | SITE
    for name, value in (defaults | keywords).items():
        if parts.get(name, "") is not None:
            hdu.header[name] = value
    return hdu


def gti_hdu(parts: Mapping[str, Any]) -> fits.BinTableHDU:
    """Make the GTI table of a run."""
    start, stop = np.array(parts["gti"], dtype=float).T
    columns = [fits.Column(name, "D", unit="s", array=array) for name, array in (("START", start), ("STOP", stop))]
    hdu = fits.BinTableHDU.from_columns(columns, name="GTI")
    hdu.header["MJDREFI"], hdu.header["MJDREFF"], hdu.header["TIMESYS"] = int(MJDREF), MJDREF % 1, "TT"
    return hdu


def aeff_hdu(parts: Mapping[str, Any]) -> fits.BinTableHDU:
    """Make an AEFF table, of which only LO_THRES and HI_THRES are used."""
    hdu = fits.BinTableHDU.from_columns([fits.Column("ENERG_LO", "2E", array=[[0.1, 1.0]])], name="AEFF")
    if parts["threshold"] is not None:
        hdu.header["LO_THRES"] = (parts["threshold"], parts["threshold_comment"])
    if parts["limit"] is not None:
        hdu.header["HI_THRES"] = (parts["limit"], parts["limit_comment"])
    return hdu


def write_gadf(indir: Path, runs: Sequence[Mapping[str, Any]], *, drop: Sequence[str] = ()) -> Path:
    """Write a directory of runs in scheme GADF; the index lacks the columns ``drop``."""
    (indir / "data").mkdir(parents=True)
    hdu_rows = []
    for parts in runs:
        name = f"run{parts['OBS_ID']}.fits.gz"
        hdus = [fits.PrimaryHDU(), events_hdu(parts), gti_hdu(parts), aeff_hdu(parts)]
        fits.HDUList(hdus).writeto(indir / "data" / name)
        hdu_rows += [(parts["OBS_ID"], kind, kind, "data", name, kind) for kind in ("events", "gti", "aeff")]
    names = ("OBS_ID", "HDU_TYPE", "HDU_CLASS", "FILE_DIR", "FILE_NAME", "HDU_NAME")
    Table(rows=hdu_rows, names=names).write(indir / "hdu-index.fits.gz")
    index = run_table(runs)
    index.remove_columns(list(drop))
    index.write(indir / "obs-index.fits.gz")
    return indir


def write_hess(indir: Path, runs: Sequence[Mapping[str, Any]]) -> Path:
    """Write a directory of runs in scheme HESS, with the older names in the run table and no units in the events."""
    for parts in runs:
        obs_id = parts["OBS_ID"]
        first = obs_id - obs_id % 200
        folder = indir / f"run{first:06d}-{first + 199:06d}" / f"run{obs_id:06d}"
        folder.mkdir(parents=True)
        bare = dict(parts) | {"units": {}, "EUNIT": "TeV"}
        hdus = [fits.PrimaryHDU(), events_hdu(bare), gti_hdu(parts)]
        fits.HDUList(hdus).writeto(folder / f"hess_events_{obs_id:06d}.fits.gz")
        fits.HDUList([fits.PrimaryHDU(), aeff_hdu(parts)]).writeto(folder / f"hess_aeff_2d_{obs_id:06d}.fits.gz")
    table = run_table(runs)
    old = {"RA_PNT": "RA", "DEC_PNT": "DEC", "ALT_PNT": "ALT", "AZ_PNT": "AZ", "MUONEFF": "MUON_EFFICIENCY"}
    old |= {"ONTIME": "TIME_OBSERVATION", "LIVETIME": "TIME_LIVE", "TSTART": "TIME_START", "TSTOP": "TIME_STOP"}
    table.rename_columns(list(old), list(old.values()))
    hdu = fits.table_to_hdu(table)
    hdu.header["HIERARCH OBSERVATORY_NAME"] = "HESS"
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(indir / "runinfo.fits")
    return indir


def run_table(runs: Sequence[Mapping[str, Any]]) -> Table:
    """Make an observation table."""
    table = Table()
    table["OBS_ID"] = [parts["OBS_ID"] for parts in runs]
    for name, unit, values in (
        ("RA_PNT", "deg", [parts["RA_PNT"] for parts in runs]),
        ("DEC_PNT", "deg", [parts["DEC_PNT"] for parts in runs]),
        ("ALT_PNT", "deg", [parts["pointing"][0] for parts in runs]),
        ("AZ_PNT", "deg", [parts["pointing"][1] for parts in runs]),
        ("ONTIME", "s", [ONTIME for _ in runs]),
        ("LIVETIME", "s", [parts["LIVETIME"] or np.nan for parts in runs]),
        ("TSTART", "s", [TSTART for _ in runs]),
        ("TSTOP", "s", [parts.get("TSTOP", TSTART + ONTIME) for parts in runs]),
        ("MUONEFF", "", [0.9 for _ in runs]),
    ):
        table[name] = np.array(values, dtype=float)
        table[name].unit = unit
    return table


def sky_image(path: Path, ra: float, dec: float, radius: float = 0.6) -> Path:
    """Write an image of the sky in which a circle is excluded."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.cdelt, wcs.wcs.crpix = ["RA---TAN", "DEC--TAN"], [ra, dec], [-0.1, 0.1], [16, 11]
    position = wcs.pixel_to_world(*np.meshgrid(np.arange(31), np.arange(21)))
    outside = position.separation(SkyCoord(ra, dec, unit="deg")).deg > radius
    fits.PrimaryHDU(outside.astype(np.uint8), wcs.to_header()).writeto(path)
    return path
