"""Rewrite data sets after the conventions of programs that write DL3 files.

Only what `bgnb` reads, or might misread, is imitated: times, sites, names, units and types. Angles, livetimes
and the number of events stay.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from astropy.coordinates import EarthLocation
from astropy.io import fits
from astropy.table import Table
from astropy.time import Time

#: Directory stated in BASE_DIR, where the files were when the index was made.
MADE_IN = "/fefs/onsite/data/dl3"
_POINTING = ("RA_PNT", "DEC_PNT", "ALT_PNT", "AZ_PNT")
_GADF = {"HDUCLASS": "GADF", "HDUVERS": "0.3"}


@dataclass(frozen=True, kw_only=True)
class Convention:
    """Differences of the files of a program from those of others.

    Parameters
    ----------
    epoch : `~astropy.time.Time`
        Zero of the mission time, in the scale TIMESYS.
    unix : bool
        Mission times are Unix times, which do not count leap seconds; ``epoch`` must be 1970.
    reference : mapping
        Keywords of the mission time that are unlike ``MJDREFI = 58392, TIMESYS = 'UTC', TIMEREF = 'TOPOCENTER'``.
    site : mapping of str to tuple of str
        First keywords of the forms in which the site is stated, by HDU: GEOLON, OBSGEO-L or OBSGEO-X.
    events : mapping
        Further keywords of EVENTS.
    columns : mapping
        Further columns of EVENTS, each with one value.
    gti_of_events : bool
        The good time reaches from the first to the last event, otherwise it stays.
    single : bool
        Columns of events, other than TIME, are in single precision.
    pointing_hdu : bool
        There is an HDU POINTING after GTI.
    thresholds : bool
        The effective area states LO_THRES and HI_THRES.
    split_dates : bool
        DATE-OBS is a date without time, which is in TIME-OBS.
    file_name : str
        Name of the file of a run.
    index : str
        Index tables: after ``lstchain``, ``V2DL3``, or none.
    """

    epoch: Time
    unix: bool = False
    reference: Mapping[str, Any] = field(default_factory=dict)
    site: Mapping[str, tuple[str, ...]]
    events: Mapping[str, Any]
    columns: Mapping[str, Any]
    gti_of_events: bool = False
    single: bool = False
    pointing_hdu: bool = True
    thresholds: bool = False
    split_dates: bool = True
    file_name: str
    index: str = "lstchain"

    @property
    def scheme(self) -> str:
        """Scheme in which `bgnb.open_runs` opens the directory."""
        return "GADF" if self.index else "FILES"


_LST = {"TELESCOP": "CTA-N", "INSTRUME": "LST-1", "TELLIST": "LST-1", "ORIGIN": "CTA", "FOVALIGN": "RADEC"}
_MAGIC = {"INSTRUME": "LST1_M1_M2", "TELLIST": "LST1_M1_M2", "OBS_MODE": "WOBBLE", "FOVALIGN": "RADEC"}
_COLUMNS = {
    "GAMMANESS": 0.9,
    "MULTIP": 1,
    "GLON": 184.6 * u.deg,
    "GLAT": -5.8 * u.deg,
    "ALT": 70.0 * u.deg,
    "AZ": 120.0 * u.deg,
}
_UNIX = Time("1970-01-01", scale="utc")

CONVENTIONS = {
    "lstchain": Convention(
        epoch=Time("2018-10-01", scale="utc"),
        site={"EVENTS": ("GEOLON",), "POINTING": ("GEOLON",)},
        events=_LST | {"OBS_MODE": "POINTING"},
        columns=_COLUMNS,
        gti_of_events=True,
        file_name="dl3_LST-1.Run{:05d}.fits",
    ),
    "lstchain 0.9.6": Convention(
        epoch=_UNIX,
        unix=True,
        site={"POINTING": ("OBSGEO-L",)},
        events=_LST | {"OBS_MODE": "WOBBLE"},
        columns=_COLUMNS,
        gti_of_events=True,
        file_name="dl3_LST-1.Run{:05d}.fits.gz",
    ),
    "magic-cta-pipe": Convention(
        epoch=_UNIX,
        unix=True,
        reference={"MJDREFI": 40587.0},
        site={"EVENTS": ("GEOLON",), "POINTING": ("OBSGEO-L",)},
        events=_MAGIC,
        columns=_COLUMNS,
        gti_of_events=True,
        file_name="dl3_LST-1_MAGIC.Run{:05d}.fits.gz",
    ),
    "magic-cta-pipe 0.5.6": Convention(
        epoch=_UNIX,
        unix=True,
        reference={"MJDREFI": 40587.0},
        site={"POINTING": ("OBSGEO-L",)},
        events=_MAGIC,
        columns=_COLUMNS,
        gti_of_events=True,
        file_name="dl3_LST-1_MAGIC.Run{:05d}.fits.gz",
    ),
    "ctapipe": Convention(
        epoch=Time("2018-01-01", scale="tai"),
        site={"EVENTS": ("GEOLON", "OBSGEO-X"), "POINTING": ("GEOLON", "OBSGEO-X")},
        events={"TELESCOP": "CTAO-North", "INSTRUME": "4LST", "RADESYS": "ICRS", "RADECSYS": "ICRS", "EQUINOX": 2000.0}
        | {"OBS_MODE": "POINTING", "TELLIST": "[1 2 3 4]", "FOVALIGN": "ALTAZ"},
        columns=_COLUMNS | {"DIR_ERR": 0.1 * u.deg, "COREX": 12.0 * u.m},
        split_dates=False,
        file_name="{}.dl3.fits",
        index="",
    ),
    "V2DL3": Convention(
        epoch=Time("2005-02-01", scale="utc"),
        reference={"MJDREFI": 53402.0, "TIMESYS": "utc", "TIMEREF": "topocenter"},
        site={"EVENTS": ("GEOLON",)},
        events={"TELESCOP": "VERITAS", "INSTRUME": "Epoch V6", "RADECSYS": "FK5", "EQUINOX": 2000.0, "EUNIT": "TeV"}
        | {"TELLIST": "T1,T2,T3,T4", "QUALITY": 0, "NSBLEVEL": 6.1, "OBSMODE": "wobble"},
        columns={"ALT": 70.0 * u.deg, "AZ": 120.0 * u.deg, "Xoff": 0.1 * u.deg, "Yoff": 0.2 * u.deg, "EVENT_TYPE": 4},
        single=True,
        pointing_hdu=False,
        thresholds=True,
        split_dates=False,
        file_name="{}.anasum.fits.gz",
        index="V2DL3",
    ),
}


def rewrite(directory: Path, outdir: Path, convention: str) -> Path:
    """Rewrite the runs of a directory of scheme GADF, such as simulated ones or those of H.E.S.S.

    Parameters
    ----------
    directory : path
        Directory of the runs. Their headers must state GEOLON, GEOLAT and ALTITUDE.
    outdir : path
        Directory to make.
    convention : str
        One of `CONVENTIONS`.

    Returns
    -------
    `~pathlib.Path`
        ``outdir``.
    """
    style = CONVENTIONS[convention]
    outdir.mkdir(parents=True)
    index, files = Table.read(directory / "hdu-index.fits.gz"), []
    for obs_id in np.unique(index["OBS_ID"]).tolist():
        rows = {row["HDU_TYPE"].strip(): row for row in index[index["OBS_ID"] == obs_id]}
        original = {kind: _read_hdu(directory, rows[kind]) for kind in ("events", "gti", "aeff")}
        files.append(outdir / style.file_name.format(obs_id))
        _run(style, obs_id, **original).writeto(files[-1], checksum=True)
    if style.index:
        (_lstchain_index if style.index == "lstchain" else _veritas_index)(files, outdir)
    return outdir


def _read_hdu(directory: Path, row: Any) -> fits.BinTableHDU:
    path = directory / row["FILE_DIR"].strip() / row["FILE_NAME"].strip()
    with fits.open(path, memmap=False) as hdus:
        return hdus[row["HDU_NAME"].strip()].copy()


def _run(
    style: Convention, obs_id: int, events: fits.BinTableHDU, gti: fits.BinTableHDU, aeff: fits.BinTableHDU
) -> fits.HDUList:
    """Make the file of a run."""
    given = events.header
    zero = Time(given["MJDREFI"], given["MJDREFF"], format="mjd", scale=given["TIMESYS"].lower())

    def mission_time(seconds: Any) -> Any:
        time = zero + np.asarray(seconds, dtype=float) * u.s
        return (time.unix if style.unix else (time - style.epoch).to_value("s")) * u.s

    good = np.stack([gti.data["START"], gti.data["STOP"]], axis=1).astype(float)
    if style.gti_of_events:
        good = np.array([[events.data["TIME"].min(), events.data["TIME"].max()]])
    ontime = float(np.diff(good).sum())
    start, stop = mission_time(good[0, 0]), mission_time(good[-1, 1])
    reference = {"MJDREFI": int(style.epoch.mjd), "MJDREFF": style.epoch.mjd % 1, "TIMEUNIT": "s", "TIMEREF": "TOPOCENTER"}
    reference |= {"TIMESYS": style.epoch.scale.upper()} | style.reference
    sites = {hdu: {k: v for form in forms for k, v in _site(given, form).items()} for hdu, forms in style.site.items()}
    keywords: dict[str, Any] = {"OBS_ID": obs_id} | reference | {"TSTART": (start.value, "[s]"), "TSTOP": (stop.value, "[s]")}
    keywords |= {"ONTIME": (ontime, "[s]"), "LIVETIME": (given["LIVETIME"], "[s]"), "DEADC": given["LIVETIME"] / ontime}
    keywords |= _dates(style, zero + good[[0, -1], [0, 1]] * u.s) | {name: (given[name], "[deg]") for name in _POINTING}
    keywords |= {"OBJECT": given["OBJECT"], "N_TELS": given["N_TELS"], "RA_OBJ": 83.6, "DEC_OBJ": 22.0}

    kind = np.float32 if style.single else np.float64
    columns = Table({"EVENT_ID": events.data["EVENT_ID"], "TIME": mission_time(events.data["TIME"])})
    for name, unit in (("RA", "deg"), ("DEC", "deg"), ("ENERGY", "TeV")):
        columns[name] = np.asarray(events.data[name], dtype=kind) * u.Unit(unit)
    for name, value in style.columns.items():
        columns[name] = value
    hdus = [fits.PrimaryHDU(), _table(columns, "EVENTS", keywords | sites.get("EVENTS", {}) | dict(style.events))]
    intervals = Table({"START": mission_time(good[:, 0]), "STOP": mission_time(good[:, 1])})
    hdus.append(_table(intervals, "GTI", {"OBS_ID": obs_id} | reference))
    if style.pointing_hdu:
        row = Table({"TIME": [start.value] * u.s} | {name: [given[name]] * u.deg for name in _POINTING})
        hdus.append(_table(row, "POINTING", {"OBS_ID": obs_id} | reference | sites.get("POINTING", {})))
    hdus.append(fits.BinTableHDU(aeff.data, name="EFFECTIVE AREA"))
    hdus[-1].header.update(_GADF | {"OBS_ID": obs_id, "HDUCLAS1": "RESPONSE", "HDUCLAS2": "EFF_AREA", "HDUCLAS4": "AEFF_2D"})
    if style.thresholds:
        for name, word in (("LO_THRES", "Low"), ("HI_THRES", "High")):
            hdus[-1].header[name] = aeff.header[name], f"{word} energy threshold of validity [TeV]"
    return fits.HDUList(hdus)


def _table(columns: Table, name: str, keywords: Mapping[str, Any]) -> fits.BinTableHDU:
    hdu = fits.BinTableHDU(columns, name=name)
    hdu.header.update(_GADF | {"HDUCLAS1": name} | dict(keywords))
    return hdu


def _site(header: fits.Header, form: str) -> dict[str, float]:
    """Return the keywords of a site in another form."""
    geodetic = [header[name] for name in ("GEOLON", "GEOLAT", "ALTITUDE")]
    if form == "OBSGEO-X":
        location = EarthLocation.from_geodetic(*geodetic)
        return {f"OBSGEO-{axis.upper()}": getattr(location, axis).to_value("m") for axis in "xyz"}
    names = ("GEOLON", "GEOLAT", "ALTITUDE") if form == "GEOLON" else ("OBSGEO-L", "OBSGEO-B", "OBSGEO-H")
    return dict(zip(names, geodetic, strict=True))


def _dates(style: Convention, times: Time) -> dict[str, str]:
    """Return DATE-OBS and DATE-END, in TIMESYS."""
    dates = dict(zip(("OBS", "END"), getattr(times, style.epoch.scale).isot, strict=True))
    if not style.split_dates:
        return {f"DATE-{name}": date for name, date in dates.items()}
    return {
        f"{part}-{name}": text
        for name, date in dates.items()
        for part, text in zip(("DATE", "TIME"), date.split("T"), strict=True)
    }


def _lstchain_index(files: list[Path], outdir: Path) -> None:
    """Write an index with the absolute path BASE_DIR; magic-cta-pipe uses this writer too, with TELESCOP of CTA."""
    common = _GADF | {"TELESCOP": "CTA-N", "ORIGIN": "CTA", "HDUCLAS1": "INDEX"}
    names = (*_POINTING, "TSTART", "TSTOP", "ONTIME", "LIVETIME", "DEADC", "OBJECT", "N_TELS", "TELLIST", "INSTRUME")
    observations, hdu_rows = [], []
    for file in files:
        with fits.open(file) as hdus:
            header = hdus["EVENTS"].header
            observations.append({"OBS_ID": header["OBS_ID"], "ZEN_PNT": 90 - header["ALT_PNT"]} | {n: header[n] for n in names})
            for hdu in hdus[1:]:
                type_, class_ = ("aeff", "aeff_2d") if hdu.name == "EFFECTIVE AREA" else 2 * (hdu.name.lower(),)
                hdu_rows.append((header["OBS_ID"], type_, class_, ".", file.name, hdu.name, file.stat().st_size))
            zero = {name: header[name] for name in ("MJDREFI", "MJDREFF")}
    table = Table(observations)
    for name in table.colnames:
        unit = "deg" if name.endswith("_PNT") else "s" if name in ("TSTART", "TSTOP", "ONTIME", "LIVETIME") else None
        table[name].unit = unit
    columns = ("OBS_ID", "HDU_TYPE", "HDU_CLASS", "FILE_DIR", "FILE_NAME", "HDU_NAME", "SIZE")
    for name, content, keywords in (
        ("OBS", table, {"INSTRUME": header["INSTRUME"]} | zero),
        ("HDU", Table(rows=hdu_rows, names=columns), {"INSTRUME": header["INSTRUME"], "BASE_DIR": MADE_IN}),
    ):
        hdu = fits.BinTableHDU(content, name=f"{name} INDEX")
        hdu.header.update(common | {"HDUCLAS2": name} | keywords)
        fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(outdir / f"{name.lower()}-index.fits.gz")


def _veritas_index(files: list[Path], outdir: Path) -> None:
    """Write an index in single precision, TSTART and TSTOP too, whose units follow from comments of the events."""
    names = ("ONTIME", "LIVETIME", "DEADC", "TSTART", "TSTOP", "N_TELS", "TELLIST", "OBJECT", "NSBLEVEL")
    table, hdu_rows = Table(), []
    headers = [fits.getheader(file, "EVENTS") for file in files]
    table["OBS_ID"] = np.array([header["OBS_ID"] for header in headers], dtype=">i8")
    for name in (*_POINTING, *names):
        values = np.array([header[name] for header in headers])
        table[name] = values.astype(">f4") if values.dtype.kind == "f" else values
        table[name].unit = headers[0].comments[name].strip("[]") or None
    table["ZEN_PNT"] = (90 - table["ALT_PNT"]).astype(">f4")
    table["ZEN_PNT"].unit = "deg"
    keywords = ("MJDREFI", "MJDREFF", "TIMEUNIT", "TIMESYS", "TIMEREF", "ALTITUDE", "GEOLAT", "GEOLON")
    table.meta = {name: headers[0][name] for name in keywords}
    for file, header in zip(files, headers, strict=True):
        for type_, class_, name in (
            ("events", "events", "EVENTS"),
            ("gti", "gti", "GTI"),
            ("aeff", "aeff_2d", "EFFECTIVE AREA"),
        ):
            hdu_rows.append((header["OBS_ID"], type_, class_, "", file.name, name))
    columns = ("OBS_ID", "HDU_TYPE", "HDU_CLASS", "FILE_DIR", "FILE_NAME", "HDU_NAME")
    hdu_table = Table(rows=hdu_rows, names=columns, dtype=(">i8", "S6", "S10", "S40", "S54", "S20"))
    for name, content in (("OBS", table), ("HDU", hdu_table)):
        hdu = fits.table_to_hdu(content)
        hdu.name = f"{name}_INDEX"
        hdu.header.update(_GADF | {"HDUCLAS1": "INDEX", "HDUCLAS2": name})
        hdu.writeto(outdir / f"{name.lower()}-index.fits.gz")
