"""Read and write models as FITS files.

BACKGROUND is a GADF BKG_3D table in the recommended axis order, FITS order
(ENERG, DETX, DETY). The rate of a model is per *livetime*, as the keyword TIMEBASE states.
Gammapy multiplies by ontime; for use with a run the rate must be scaled by LIVETIME/ONTIME
of the run, as `bgnb.attach` does.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from astropy.io import fits

from bgnb._util.checks import checked_choice
from bgnb._util.errors import BgnbError, DataError
from bgnb.cubes.cube import LEAST_RATE, RATE_UNIT, Cube, CubeAxes
from bgnb.cubes.event_cuts import RunCounts
from bgnb.cubes.model import BackgroundModel
from bgnb.cubes.stack import Stack
from bgnb.files.fits_writer import GADF_KEYWORDS, primary_hdu, write_fits
from bgnb.observations.coordinates import FovAlign, checked_fovalign

_AXES = {"energy": "ENERG", "dety": "DETY", "detx": "DETX"}
_FITS_ORDER = ("energy", "detx", "dety")
#: Axis orders of BKG_3D cubes in numpy order, by name.
LAYOUTS = {"GADF": ("dety", "detx", "energy"), "HESS-DR1": ("energy", "detx", "dety")}
#: CREATOR and HDUVERS of the events of H.E.S.S. DR1.
HESS_DR1_WRITER = ("SASH FITS::EventListWriter", "0.2")
#: Gammapy's name of the frame of H.E.S.S. DR1, in which DETX increases with right ascension, contrary to GADF.
REVERSED = "REVERSE_LON_RADEC"
# Unit of rates in the spelling of GADF.
_RATE = "s-1 MeV-1 sr-1"
_BKG_3D_KEYWORDS = {"HDUCLAS1": "RESPONSE", "HDUCLAS2": "BKG", "HDUCLAS3": "FULL-ENCLOSURE", "HDUCLAS4": "BKG_3D"}
_RUN_COLUMNS = {
    "OBS_ID": ("obs_id", "K", ""),
    "LIVETIME": ("livetime_s", "D", "s"),
    "LO_THRES": ("energy_threshold_tev", "D", "TeV"),
    "EVENTS": ("events", "K", ""),
    "OUT_GTI": ("events_outside_gti", "K", ""),
    "BELOW_THRES": ("events_below_threshold", "K", ""),
    "OUT_AXES": ("events_outside_axes", "K", ""),
    "IN_MASK": ("events_in_mask", "K", ""),
    "HI_THRES": ("energy_limit_tev", "D", "TeV"),
    "ABOVE_THRES": ("events_above_limit", "K", ""),
    "ALT_PNT": ("alt_pnt", "D", "deg"),
    "AZ_PNT": ("az_pnt", "D", "deg"),
}


def write_model(model: BackgroundModel, path: str | Path, keywords: dict[str, Any] | None = None) -> None:
    """Write a model as tables in HDUs COUNTS, LIVETIME, BACKGROUND and RUNS, and ERROR if the model states errors.

    Parameters
    ----------
    model : `BackgroundModel`
        The model.
    path : path
        The file; its name must end in ``.fits.gz`` or ``.fits``.
    keywords : dict, optional
        Further keywords for the primary header.
    """
    axes = model.axes
    hdus = [
        _primary(model, keywords),
        cube_hdu("COUNTS", axes, model.stack.counts, "K", "", {}),
        cube_hdu("LIVETIME", axes, model.stack.livetime.value, "D", "s", {}),
        cube_hdu("BACKGROUND", axes, model.rate.quantity.value, "D", _RATE, _background_keywords(model)),
        _runs_hdu(model.stack),
    ]
    if model.error is not None:
        hdus.append(cube_hdu("ERROR", axes, model.error.quantity.value, "D", _RATE, {}))
    write_fits(Path(path), hdus)


def write_image(model: BackgroundModel, path: str | Path, keywords: dict[str, Any] | None = None) -> None:
    """Write the rate as an image cube for a quick look in DS9.

    The primary HDU has a linear WCS in DETX and DETY, in deg. Its third axis is the number of
    the energy bin; the second HDU, ENERGIES, contains the edges of these bins.

    Parameters
    ----------
    model : `BackgroundModel`
        The model.
    path : path
        The file; it is compressed if its name ends in ``.gz``.
    keywords : dict, optional
        Further keywords for the primary header.

    Raises
    ------
    BgnbError
        If bins in DETX or DETY are not of equal width.
    """
    axes = model.axes
    primary = _primary(model, keywords)
    primary.data = model.rate.quantity.to_value(RATE_UNIT).astype(np.float32)
    header = primary.header
    header["BUNIT"] = _RATE
    for number, (name, edges) in enumerate((("DETX", axes.detx.value), ("DETY", axes.dety.value)), start=1):
        widths = np.diff(edges)
        if not np.allclose(widths, widths[0], rtol=1e-6):
            raise BgnbError("invalid-value", f"an image needs {name} bins of equal width")
        header[f"CTYPE{number}"], header[f"CUNIT{number}"] = name, "deg"
        header[f"CRPIX{number}"], header[f"CRVAL{number}"] = 0.5, edges[0]
        header[f"CDELT{number}"] = (edges[-1] - edges[0]) / len(widths)
    header["CTYPE3"], header["CRPIX3"], header["CRVAL3"], header["CDELT3"] = "ENERGBIN", 1.0, 1.0, 1.0
    energies = fits.BinTableHDU.from_columns(
        [
            fits.Column("BIN", "J", array=np.arange(1, axes.shape[0] + 1)),
            fits.Column("ENERG_LO", "D", unit="TeV", array=axes.energy[:-1].value),
            fits.Column("ENERG_HI", "D", unit="TeV", array=axes.energy[1:].value),
        ],
        name="ENERGIES",
    )
    write_fits(Path(path), [primary, energies])


def write_background(rate: Cube, path: Path, *, fovalign: str, timebase: str, keywords: dict[str, Any] | None = None) -> None:
    """Write a rate as the HDU BACKGROUND of a new file, in single precision.

    Parameters
    ----------
    rate : `Cube`
        The rate. Zeros, which Gammapy would fill from other energies, become `LEAST_RATE`.
    path : path
        The file; its name must end in ``.fits.gz`` or ``.fits``.
    fovalign : {"ALTAZ", "RADEC", "REVERSE_LON_RADEC"}
        Frame of DETX and DETY in the file. For the last one the rate is given in RADEC, and
        written with DETX reversed; `read_background` reverses it again.
    timebase : {"LIVETIME", "ONTIME"}
        Time to which the rate refers.
    keywords : dict, optional
        Further keywords for the primary header.
    """
    in_file = _mirrored(rate) if fovalign == REVERSED else rate
    values = np.maximum(in_file.quantity.to_value(RATE_UNIT), LEAST_RATE).astype(np.float32)
    stated = {"FOVALIGN": (fovalign, "frame of DETX and DETY"), "TIMEBASE": (timebase, "what the rates are per")}
    primary = primary_hdu()
    primary.header.update(stated | (keywords or {}))
    hdu = cube_hdu("BACKGROUND", in_file.axes, values, "E", _RATE, _BKG_3D_KEYWORDS | stated)
    write_fits(path, [primary, hdu])


def read_model(path: str | Path) -> BackgroundModel:
    """Read a model written by `write_model`.

    Parameters
    ----------
    path : path
        The file.

    Returns
    -------
    BackgroundModel

    Raises
    ------
    DataError
        If the file is not such a model.
    """
    with open_fits(path) as hdus:
        return _read_model(hdus, path)


def read_model_and_pointing(path: str | Path) -> tuple[BackgroundModel, tuple[float, float]]:
    """Read a model from a directory of models, and the mean altitude and azimuth (deg) of its runs.

    Raises
    ------
    DataError
        If the file is not such a model, or does not state the pointing.
    """
    with open_fits(path) as hdus:
        pointing = [hdus[0].header.get(name) for name in ("ALT_PNT", "AZ_PNT")]
        if not all(isinstance(value, int | float) for value in pointing):
            missing = "the primary header has no ALT_PNT and AZ_PNT, the mean pointing of its runs"
            raise DataError("missing-keyword", f"{path}: {missing}")
        return _read_model(hdus, path), (float(pointing[0]), float(pointing[1]))


def _read_model(hdus: fits.HDUList, path: str | Path) -> BackgroundModel:
    names = [hdu.name for hdu in hdus]
    if missing := [name for name in ("COUNTS", "LIVETIME", "BACKGROUND", "RUNS") if name not in names]:
        raise DataError("not-a-model", f"{path}: is not a bgnb model: HDU {', '.join(missing)} is missing")
    rate, fovalign = _background(hdus["BACKGROUND"], path, None)
    livetime_us = np.rint(read_cube(hdus["LIVETIME"], path, "LIVETIME", LAYOUTS["GADF"]) * 1e6).astype(np.int64)
    counts = read_cube(hdus["COUNTS"], path, "COUNTS", LAYOUTS["GADF"]).astype(np.int64)
    runs = _read_runs(hdus["RUNS"], str(hdus[0].header.get("TELESCOP", "")))
    error = None
    if "ERROR" in names:
        error = Cube(rate.axes, u.Quantity(read_cube(hdus["ERROR"], path, "ERROR", LAYOUTS["GADF"]), RATE_UNIT))
    stack = Stack(rate.axes, fovalign, counts, livetime_us, runs)
    return BackgroundModel(rate, stack, str(hdus[0].header.get("METHOD", "")), error)


def read_background(path: str | Path, hdu: str = "BKG", layout: str | None = None) -> tuple[Cube, FovAlign]:
    """Read a BKG_3D table of any origin.

    Parameters
    ----------
    path : path
        The file.
    hdu : str
        Name of the HDU.
    layout : {"GADF", "HESS-DR1"}, optional
        Axis order. By default it is read from the keyword CREF, or else derived from the shape
        if this is unique. The cubes of H.E.S.S. DR1, recognised by this name or by the writer of
        the events in the same file, have energy as the first axis, and DETX opposite to GADF.
        This agrees with the positions of the events of the off runs
        (``tests/files/test_gadf.py``), and with Gammapy.

    Returns
    -------
    cube : `Cube`
        The rate.
    fovalign : {"ALTAZ", "RADEC"}
        Frame of DETX and DETY; ALTAZ, the default of GADF, if the file does not state it.

    Raises
    ------
    DataError
        If the HDU is missing or is not such a table, or its axis order is ambiguous.
    """
    with open_fits(path) as hdus:
        names = [table.name for table in hdus]
        if hdu.upper() not in names or not isinstance(hdus[hdu], fits.BinTableHDU):
            raise DataError("missing-hdu", f"{path}: there is no table HDU {hdu}; there are {', '.join(names)}")
        events = hdus["EVENTS"].header if "EVENTS" in names else {}
        if layout is None and (events.get("CREATOR"), events.get("HDUVERS")) == HESS_DR1_WRITER:
            layout = "HESS-DR1"
        reverse = layout == "HESS-DR1" or hdus[hdu].header.get("FOVALIGN") == REVERSED
        cube, fovalign = _background(hdus[hdu], path, layout)
    return (_mirrored(cube) if reverse else cube), fovalign


def _primary(model: BackgroundModel, keywords: dict[str, Any] | None) -> fits.PrimaryHDU:
    primary = primary_hdu()
    primary.header["METHOD"] = (model.method, "how the rate was made from the counts")
    primary.header["FOVALIGN"] = (model.stack.fovalign, "frame of DETX and DETY")
    primary.header["TIMEBASE"] = ("LIVETIME", "rates are per livetime, not per ontime")
    primary.header["N_RUNS"] = len(model.stack.runs)
    if telescop := model.stack.telescop:
        primary.header["TELESCOP"] = telescop
    primary.header.update(keywords or {})
    return primary


def _background_keywords(model: BackgroundModel) -> dict[str, Any]:
    exposed = np.flatnonzero(model.stack.livetime_us.any(axis=(1, 2)))
    lowest, highest = model.axes.energy[[exposed[0], exposed[-1] + 1] if len(exposed) else [0, -1]].value
    return {
        "LO_THRES": (lowest, "[TeV] lowest energy used; extrapolated below"),
        "HI_THRES": (highest, "[TeV] highest energy used; extrapolated above"),
        **_BKG_3D_KEYWORDS,
        "FOVALIGN": model.stack.fovalign,
        "TIMEBASE": "LIVETIME",
    }


def cube_hdu(
    name: str, axes: CubeAxes, values: Any, code: str, unit: str, keywords: dict[str, Any]
) -> fits.BinTableHDU:  # fmt: skip
    """Make a table of one row from a cube and its axes."""
    columns = []
    for axis in _FITS_ORDER:
        edges = getattr(axes, axis)
        for end, part in (("LO", edges[:-1]), ("HI", edges[1:])):
            columns.append(fits.Column(f"{_AXES[axis]}_{end}", f"{len(part)}D", unit=str(part.unit), array=part.value[None]))
    in_file = values.transpose(1, 2, 0)  # to (dety, detx, energy), which is FITS order (ENERG, DETX, DETY)
    dim = f"({','.join(str(n) for n in reversed(in_file.shape))})"
    column = "BKG" if name == "BACKGROUND" else name
    columns.append(fits.Column(column, f"{in_file.size}{code}", unit=unit, dim=dim, array=in_file[None]))
    hdu = fits.BinTableHDU.from_columns(columns, name=name)
    # Data are converted to the byte order of the file, as Astropy would swap the bytes of a long row one by one.
    header, described = hdu.header.copy(), hdu.columns
    hdu.data = hdu.data.astype(hdu.data.dtype.newbyteorder(">"))
    hdu.header, hdu.columns = header, described  # setting new data resets them
    hdu.header.update(GADF_KEYWORDS | keywords)
    hdu.header[f"CREF{len(columns)}"] = f"({','.join(f'{_AXES[axis]}_LO:{_AXES[axis]}_HI' for axis in _FITS_ORDER)})"
    return hdu


def _runs_hdu(stack: Stack) -> fits.BinTableHDU:
    columns = []
    for column, (attribute, code, unit) in _RUN_COLUMNS.items():
        values = [np.nan if (value := getattr(run, attribute)) is None else value for run in stack.runs]
        columns.append(fits.Column(column, code, unit=unit, array=np.array(values)))
    return fits.BinTableHDU.from_columns(columns, name="RUNS")


def _read_runs(hdu: fits.BinTableHDU, telescop: str) -> tuple[RunCounts, ...]:
    runs = []
    for row in hdu.data:
        there = ((column, attribute) for column, (attribute, _, _) in _RUN_COLUMNS.items() if column in hdu.columns.names)
        values = {attribute: row[column].item() for column, attribute in there}  # older files have fewer
        stated: dict[str, Any] = {attribute: None if np.isnan(value) else value for attribute, value in values.items()}
        runs.append(RunCounts(**stated, telescop=telescop))
    return tuple(runs)


def open_fits(path: str | Path) -> fits.HDUList:
    """Open a FITS file.

    Raises
    ------
    DataError
        If it is missing or cannot be read.
    """
    try:
        return fits.open(path, memmap=False)
    except FileNotFoundError:
        raise DataError("not-found", f"{path}: there is no such file") from None
    except IsADirectoryError:
        raise DataError("not-a-file", f"{path}: is a directory, not a file") from None
    except PermissionError as error:
        raise DataError("unreadable", f"{path}: cannot be read: {error.strerror}") from None
    except OSError as error:
        raise DataError("not-fits", f"{path}: cannot be read as FITS: {error}") from None


def _background(hdu: fits.BinTableHDU, path: str | Path, layout: str | None) -> tuple[Cube, FovAlign]:
    name = next((name for name in ("BKG", "BGD") if name in hdu.columns.names), None)
    if name is None:
        raise DataError("missing-column", f"{path}, HDU {hdu.name}: has neither a column BKG nor BGD")
    axes = read_axes(hdu, path)
    values = read_cube(hdu, path, name, _layout(hdu, path, name, axes, layout))
    unit = hdu.columns[name].unit
    if not unit:
        raise DataError("bad-unit", f"{path}, HDU {hdu.name}: column {name} has no unit")
    try:
        quantity = u.Quantity(values, unit).to(RATE_UNIT)
    except (TypeError, ValueError):
        raise DataError("bad-unit", f"{path}, HDU {hdu.name}: column {name} is in '{unit}', not in {_RATE}") from None
    stated = str(hdu.header.get("FOVALIGN", "ALTAZ"))
    try:
        return Cube(axes, quantity), checked_fovalign("RADEC" if stated == REVERSED else stated)
    except BgnbError as error:
        raise DataError(error.code, f"{path}, HDU {hdu.name}: {error.message}") from None


def _mirrored(cube: Cube) -> Cube:
    """Reverse the direction of DETX."""
    return Cube(replace(cube.axes, detx=-cube.axes.detx[::-1]), cube.quantity[:, :, ::-1])


def read_axes(hdu: fits.BinTableHDU, path: str | Path) -> CubeAxes:
    """Read the axes of a cube.

    Raises
    ------
    DataError
        If a column is missing, or the bins of an axis have gaps, overlap or are invalid.
    """
    edges = {}
    for axis, column in _AXES.items():
        for name in (f"{column}_LO", f"{column}_HI"):
            if name not in hdu.columns.names:
                raise DataError("missing-column", f"{path}, HDU {hdu.name}: column {name} is missing")
        low, high = (np.ravel(hdu.data[f"{column}_{end}"]).astype(float) for end in ("LO", "HI"))
        if not np.allclose(low[1:], high[:-1], rtol=1e-5, atol=1e-6):
            raise DataError("bad-column", f"{path}, HDU {hdu.name}: the bins of {column} have gaps or overlap")
        edges[axis] = u.Quantity([*low, high[-1]], hdu.columns[f"{column}_LO"].unit)
    try:
        return CubeAxes(**edges)
    except BgnbError as error:
        raise DataError(error.code, f"{path}, HDU {hdu.name}: {error.message}") from None


def _layout(hdu: fits.BinTableHDU, path: str | Path, name: str, axes: CubeAxes, layout: str | None) -> tuple[str, ...]:
    """Find the axis order of a cube, in numpy order."""
    if layout is not None:
        return LAYOUTS[checked_choice("layout", layout, LAYOUTS)]
    reference = str(hdu.header.get(f"CREF{hdu.columns.names.index(name) + 1}", ""))
    stated = [axis for part in reference.strip("() ").split(",") for axis, key in _AXES.items() if part.strip().startswith(key)]
    if len(stated) == 3:
        return tuple(reversed(stated))
    lengths = dict(zip(_AXES, axes.shape, strict=True))
    shape = hdu.data[name][0].shape
    fitting = [order for order in LAYOUTS.values() if shape == tuple(lengths[axis] for axis in order)]
    if len(fitting) != 1:
        raise DataError(
            "bad-header",
            f"{path}, HDU {hdu.name}: the axis order of {name} is ambiguous; give a layout: {', '.join(LAYOUTS)}",
        )
    return fitting[0]


def read_cube(hdu: fits.BinTableHDU, path: str | Path, name: str, order: tuple[str, ...]) -> Any:
    """Read a cube, and transpose it to the order (energy, dety, detx).

    Raises
    ------
    DataError
        If the column is missing.
    """
    if name not in hdu.columns.names:
        raise DataError("missing-column", f"{path}, HDU {hdu.name}: column {name} is missing")
    values = np.asarray(hdu.data[name][0])
    return values.astype(values.dtype.newbyteorder("=")).transpose([order.index(axis) for axis in _AXES])
