"""Read and write GADF tables of backgrounds: BKG_3D and radial BKG_2D, and tables of cubes on the same axes."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from astropy.io import fits

from bgnb._util.arrays import Floats
from bgnb._util.checks import checked_choice
from bgnb._util.errors import DataError, located
from bgnb.cubes.camera import CameraEdge
from bgnb.cubes.cube import LEAST_RATE, MAX_BINS, RATE_UNIT, Cube, CubeAxes
from bgnb.cubes.radial import cube_of_radial, radial_mean
from bgnb.cubes.run_norm import RunNorm
from bgnb.files.fits_reader import check_single, number_in, numbers, open_fits
from bgnb.files.fits_writer import GADF_KEYWORDS, columns_hdu, primary_hdu
from bgnb.observations.coordinates import FovAlign, checked_fovalign

# Keywords of the distances from the centre to the edge of the camera in DETX and in DETY.
_EDGE = ("CAM_DETX", "CAM_DETY")
_AXES = {"energy": "ENERG", "dety": "DETY", "detx": "DETX"}
_FITS_ORDER = ("energy", "detx", "dety")
_RADIAL_AXES = {"energy": "ENERG", "theta": "THETA"}
#: Axis orders of BKG_3D cubes in numpy order, by name.
LAYOUTS = {"GADF": ("dety", "detx", "energy"), "HESS-DR1": ("energy", "detx", "dety")}
_RADIAL_LAYOUTS = {"GADF": ("theta", "energy"), "HESS-DR1": ("energy", "theta")}
#: CREATOR and HDUVERS of the events of H.E.S.S. DR1.
HESS_DR1_WRITER = ("SASH FITS::EventListWriter", "0.2")
#: Gammapy's name of the frame of H.E.S.S. DR1, in which DETX increases with right ascension, contrary to GADF.
REVERSED = "REVERSE_LON_RADEC"
#: Maximum rate, as backgrounds of runs are written in single precision.
LARGEST_RATE = float(np.finfo(np.float32).max)
#: Unit of rates in the spelling of GADF.
RATE = "s-1 MeV-1 sr-1"
#: Keywords of the HDU class of backgrounds.
BKG_KEYWORDS = {"HDUCLAS1": "RESPONSE", "HDUCLAS2": "BKG", "HDUCLAS3": "FULL-ENCLOSURE"}


def read_background(path: str | Path, hdu: str | None = None, layout: str | None = None) -> tuple[Cube, FovAlign]:
    """Read a BKG_3D or BKG_2D table of any origin.

    The rate is that in the file: by the definition of GADF it is per ontime.

    Parameters
    ----------
    path : path
        The file.
    hdu : str, optional
        Name of the HDU; by default BKG or, if there is none, BACKGROUND, as bgnb and Gammapy write it.
    layout : {"GADF", "HESS-DR1"}, optional
        Axis order. By default it is read from the keyword CREF, or else derived from the shape
        if this is unique. The cubes of H.E.S.S. DR1, recognised by this name or by the writer of
        the events in the same file, have energy as the first axis, and DETX opposite to GADF.
        This agrees with the positions of the events of the off runs
        (``tests/files/test_background_tables.py``), and with Gammapy.

    Returns
    -------
    cube : `Cube`
        The rate. That of a radial table (BKG_2D) is on square axes with twice as many bins in
        DETX and in DETY as in THETA. Each bin has the rate at the offset of its centre: the
        logarithm of the rate is interpolated linearly between the centres of the bins in
        THETA, and constant beyond the first and the last centre. Outside the THETA axis the
        rate is zero.
    fovalign : {"ALTAZ", "RADEC"}
        Frame of DETX and DETY; ALTAZ, the default of GADF, if the file does not state it, and
        for radial tables, which are the same in both frames.

    Raises
    ------
    DataError
        If the HDU is missing or is not such a table, or its axis order is ambiguous.

    Examples
    --------
    >>> import bgnb
    >>> cube, fovalign = bgnb.read_background("models/bg_cube_model_group27_table.fits.gz")
    >>> cube.axes.shape, fovalign
    ((10, 10, 10), 'ALTAZ')
    """
    with open_fits(path) as hdus:
        names = [table.name for table in hdus]
        if hdu is None:
            hdu = "BACKGROUND" if "BACKGROUND" in names and "BKG" not in names else "BKG"
        if hdu.upper() not in names or not isinstance(hdus[hdu], fits.BinTableHDU):
            raise DataError("missing-hdu", f"{path}: there is no table HDU {hdu}; there are {', '.join(names)}")
        check_single(hdus, path, hdu.upper())
        events = hdus["EVENTS"].header if "EVENTS" in names else {}
        if layout is None and (events.get("CREATOR"), events.get("HDUVERS")) == HESS_DR1_WRITER:
            layout = "HESS-DR1"
        reverse = layout == "HESS-DR1" or hdus[hdu].header.get("FOVALIGN") == REVERSED
        if "THETA_LO" in hdus[hdu].columns.names:
            return _radial_background(hdus[hdu], path, layout), "ALTAZ"
        cube, fovalign = read_rate_cube(hdus[hdu], path, layout)
    return (mirrored(cube) if reverse else cube), fovalign


def background_hdus(
    rate: Cube,
    *,
    keywords: Mapping[str, Any],
    fovalign: str | None = None,
    kind: str = "bkg_3d",
    covariance: Mapping[str, Floats] | None = None,
) -> list[memoryview]:
    """Make the HDUs of a file whose HDU BACKGROUND contains a rate per ontime, in single precision.

    Parameters
    ----------
    rate : `Cube`
        The rate. Zeros, which Gammapy would fill from other energies, become `LEAST_RATE`.
    keywords : mapping
        Further keywords for both headers, see `metadata`.
    fovalign : {"ALTAZ", "RADEC", "REVERSE_LON_RADEC"}, optional
        Frame of DETX and DETY in the file, needed for a cube. For the last one the rate is
        given in RADEC, and written with DETX reversed; `read_background` reverses it again.
    kind : {"bkg_3d", "bkg_2d"}
        Write a cube, or its mean over the azimuth about the pointing.
    covariance : mapping of str to ndarray, shape (energy, energy), optional
        Covariances of the logarithm of the counts between energy bins, the columns of the HDU COVARIANCE.
    """
    stated = dict(keywords) | ({"FOVALIGN": (fovalign, "frame of DETX and DETY")} if fovalign else {})
    primary = primary_hdu(stated)
    stated = BKG_KEYWORDS | {"HDUCLAS4": kind.upper()} | stated
    if kind == "bkg_2d":
        theta, values = radial_mean(rate)
        edges = {"ENERG": rate.axes.energy, "THETA": theta}
        hdu = _table("BACKGROUND", edges, _single(values).T, "E", RATE, stated)
    else:
        in_file = mirrored(rate) if fovalign == REVERSED else rate
        hdu = cube_hdu("BACKGROUND", in_file.axes, _single(in_file.quantity), "E", RATE, stated)
    hdus = [primary, hdu]
    if covariance is not None:
        edges = rate.axes.energy
        columns = {
            name: ("D", str(part.unit), part.value) for name, part in (("ENERG_LO", edges[:-1]), ("ENERG_HI", edges[1:]))
        }
        columns |= {name: ("D", "", values) for name, values in covariance.items()}
        hdus.append(columns_hdu("COVARIANCE", columns))
    return hdus


def metadata(
    *,
    energy_range: u.Quantity,
    telescop: str = "",
    alt_pnt: float | None = None,
    az_pnt: float | None = None,
    live_fraction: float | None = None,
    ontime: float | None = None,
    livetime: float | None = None,
    scatter: tuple[float | None, float | None] = (None, None),
) -> dict[str, Any]:
    """Make the keywords of a background that GADF readers look for.

    Parameters
    ----------
    energy_range : `~astropy.units.Quantity`, shape (2,)
        Minimum and maximum energy at which the rate was measured.
    telescop : str
        Name of the instrument.
    alt_pnt, az_pnt : float, optional
        Pointing, deg.
    live_fraction : float, optional
        Livetime divided by ontime; without it the rate is per livetime.
    ontime, livetime : float, optional
        Ontime and livetime, s.
    scatter : tuple of float
        Scatter of norm and spectral index from run to run, see `~bgnb.ModelSet.scatter`.
    """
    low, high = energy_range.to_value("TeV")
    stated: dict[str, Any] = {
        "LO_THRES": (low, "[TeV] lowest energy used; extrapolated below"),
        "HI_THRES": (high, "[TeV] highest energy used; extrapolated above"),
        "TIMEBASE": ("LIVETIME" if live_fraction is None else "ONTIME", "what the rates are per"),
    }
    optional: dict[str, tuple[Any, str]] = {
        "TELESCOP": (telescop or None, "name of the instrument"),
        "ALT_PNT": (alt_pnt, "[deg] mean altitude of the pointing"),
        "AZ_PNT": (az_pnt, "[deg] mean azimuth of the pointing"),
        "ZEN_PNT": (None if alt_pnt is None else 90 - alt_pnt, "[deg] mean zenith angle of the pointing"),
        "DEADC": (live_fraction, "LIVETIME / ONTIME, contained in the rates"),
        "ONTIME": (ontime, "[s] sum of the good time intervals"),
        "LIVETIME": (livetime, "[s] ontime corrected for the dead time"),
    }
    return stated | {name: card for name, card in optional.items() if card[0] is not None} | scatter_keywords(scatter)


def norm_keywords(norm: RunNorm) -> dict[str, Any]:
    """Make the keywords that state norm and tilt of a background, and their uncertainty."""
    return {
        "NORMFROM": (norm.source, "origin of the norm: model or run"),
        "NORM": (norm.norm, "norm relative to the models, in the rates"),
        "NORM_ERR": (norm.norm_error, "standard deviation of log norm"),
        "NORMTILT": (norm.tilt, "factor (E/NORMEREF)**(-NORMTILT)"),
        "TILT_ERR": (norm.tilt_error, "standard deviation of NORMTILT"),
        "NORMCORR": (norm.correlation, "correlation of log norm and NORMTILT"),
        "NORMCURV": (norm.curvature, "factor exp(NORMCURV*ln(E/NORMEREF)**2)"),
        "NORMEREF": (norm.reference_tev, "[TeV] reference energy of norm and tilt"),
    }


def scatter_keywords(scatter: tuple[float | None, float | None]) -> dict[str, Any]:
    """Make the keywords of the scatter of norm and spectral index from run to run; none if it is not known."""
    comments = {"SCATTER": "of log norm from run to run, beyond statistics", "TILT": "scatter of the index from run to run"}
    cards = zip(comments.items(), scatter, strict=True)
    return {name: (value, comment) for (name, comment), value in cards if value is not None}


def cube_hdu(name: str, axes: CubeAxes, values: Any, code: str, unit: str, keywords: Mapping[str, Any]) -> memoryview:
    """Make a table of one row from a cube and its axes."""
    in_file = np.asarray(values).transpose(1, 2, 0)  # to (dety, detx, energy), which is FITS order (ENERG, DETX, DETY)
    return _table(name, {_AXES[axis]: getattr(axes, axis) for axis in _FITS_ORDER}, in_file, code, unit, keywords)


def read_axes(hdu: fits.BinTableHDU, path: str | Path) -> CubeAxes:
    """Read the axes of a cube.

    Raises
    ------
    DataError
        If a column is missing, or the bins of an axis have gaps, overlap or are invalid.
    """
    edges = {axis: _read_edges(hdu, path, column) for axis, column in _AXES.items()}
    with located(f"{path}, HDU {hdu.name}"):
        return CubeAxes(**edges)


def read_cube(hdu: fits.BinTableHDU, path: str | Path, name: str, axes: CubeAxes) -> Any:
    """Read a cube that must be on these axes; the order of axes is (energy, dety, detx).

    Raises
    ------
    DataError
        If the column is missing or too large, or the axes differ.
    """
    if read_axes(hdu, path) != axes:
        raise DataError("axes-mismatch", f"{path}, HDU {hdu.name}: its axes differ from those of the other HDUs")
    lengths = dict(zip(_AXES, axes.shape, strict=True))
    values = _transposed(hdu, path, name, _layout(hdu, path, name, lengths, None))
    if values.shape != axes.shape:
        text = f"column {name} has the shape {values.shape}, but the axes have {axes.shape} bins"
        raise DataError("bad-column", f"{path}, HDU {hdu.name}: {text}")
    return values


def _transposed(hdu: fits.BinTableHDU, path: str | Path, name: str, order: tuple[str, ...]) -> Any:
    """Read a cube, and transpose it to the order (energy, dety, detx), or a radial table to (energy, theta)."""
    values = _cell(hdu, path, name)
    if values.ndim != len(order):
        stated = f"column {name} has {values.ndim} axes by TDIM, but needs {len(order)}"
        raise DataError("bad-column", f"{path}, HDU {hdu.name}: {stated}")
    axes = [order.index(axis) for axis in (*_AXES, "theta") if axis in order]
    # A copy in order, so that sums are the same to the last digit as of a model that was not read from a file.
    return np.ascontiguousarray(values.transpose(axes), dtype=values.dtype.newbyteorder("="))


def read_rate(hdu: fits.BinTableHDU, path: str | Path, name: str, axes: CubeAxes) -> u.Quantity:
    """Read rates that must be on these axes, in any unit of a rate, and convert them to `RATE_UNIT`; see `read_cube`.

    Raises
    ------
    DataError
        If the column or its unit is missing, or is not a unit of a rate.
    """
    return _rate(hdu, path, name, read_cube(hdu, path, name, axes))


def _rate(hdu: fits.BinTableHDU, path: str | Path, name: str, values: Any) -> u.Quantity:
    """Convert values of a column of rates to `RATE_UNIT`."""
    stated = hdu.columns[name].unit
    if not stated:
        raise DataError("bad-unit", f"{path}, HDU {hdu.name}: column {name} has no unit")
    try:
        rate = u.Quantity(values, _unit(stated)).to(RATE_UNIT)
    except (TypeError, ValueError):
        raise DataError("bad-unit", f"{path}, HDU {hdu.name}: column {name} is in '{stated}', not in {RATE}") from None
    if (rate.value > LARGEST_RATE).any():
        raise DataError("bad-column", f"{path}, HDU {hdu.name}: column {name} has rates that single precision cannot represent")
    return rate


def read_rate_cube(hdu: fits.BinTableHDU, path: str | Path, layout: str | None) -> tuple[Cube, FovAlign]:
    """Read a cube of rates and its frame, without reversing DETX.

    Raises
    ------
    DataError
        If a column, a unit or a value is missing or invalid.
    """
    name, axes = _rate_column(hdu, path), read_axes(hdu, path)
    lengths = dict(zip(_AXES, axes.shape, strict=True))
    quantity = _rate(hdu, path, name, _transposed(hdu, path, name, _layout(hdu, path, name, lengths, layout)))
    stated = str(hdu.header.get("FOVALIGN", "ALTAZ"))
    with located(f"{path}, HDU {hdu.name}"):
        return Cube(axes, quantity), checked_fovalign("RADEC" if stated == REVERSED else stated)


def _radial_background(hdu: fits.BinTableHDU, path: str | Path, layout: str | None) -> Cube:
    """Read a radial table as a cube."""
    name = _rate_column(hdu, path)
    energy, theta = (_read_edges(hdu, path, column) for column in _RADIAL_AXES.values())
    lengths = {"energy": len(energy) - 1, "theta": len(theta) - 1}
    values = _rate(hdu, path, name, _transposed(hdu, path, name, _layout(hdu, path, name, lengths, layout)))
    with located(f"{path}, HDU {hdu.name}"):
        return cube_of_radial(energy, theta, values)


def _rate_column(hdu: fits.BinTableHDU, path: str | Path) -> str:
    """Find the column of rates."""
    name = next((name for name in ("BKG", "BGD") if name in hdu.columns.names), None)
    if name is None:
        raise DataError("missing-column", f"{path}, HDU {hdu.name}: has neither a column BKG nor BGD")
    return name


def _unit(stated: str) -> u.Unit:
    """Parse a unit; besides what Astropy parses, several divisions by simple units, as ``1/s/MeV/sr`` of CTA 1DC."""
    try:
        return u.Unit(stated)
    except ValueError:
        first, *divisors = (part.strip() for part in stated.split("/"))
        if len(divisors) < 2 or any(not re.fullmatch(r"[A-Za-z]+(\^|\*\*)?\d*", divisor) for divisor in divisors):
            raise
        unit = u.Unit("" if first == "1" else first)
        for divisor in divisors:
            unit = unit / u.Unit(divisor)
        return unit


def mirrored(cube: Cube) -> Cube:
    """Reverse the direction of DETX."""
    return Cube(replace(cube.axes, detx=-cube.axes.detx[::-1]), cube.quantity[:, :, ::-1])


def _cell(hdu: fits.BinTableHDU, path: str | Path, name: str) -> Any:
    """Read the cell of a column in a table of one row."""
    if name not in hdu.columns.names:
        raise DataError("missing-column", f"{path}, HDU {hdu.name}: column {name} is missing")
    if len(hdu.data) != 1:
        raise DataError("bad-header", f"{path}, HDU {hdu.name}: has {len(hdu.data)} rows, but must have one")
    if (n_bins := math.prod(hdu.data.dtype[name].shape)) > MAX_BINS:
        raise DataError("too-large", f"{path}, HDU {hdu.name}: {name} has {n_bins} bins; the maximum is {MAX_BINS}")
    return numbers(hdu, path, name)[0]


def _read_edges(hdu: fits.BinTableHDU, path: str | Path, column: str) -> u.Quantity:
    """Read the edges of an axis."""
    low, high = (np.ravel(_cell(hdu, path, f"{column}_{end}")).astype(float) for end in ("LO", "HI"))
    stated, other = (hdu.columns[f"{column}_{end}"].unit or "" for end in ("LO", "HI"))
    if len(low) != len(high):
        what = f"{column}_LO has {len(low)} bins, but {column}_HI {len(high)}"
        raise DataError("bad-column", f"{path}, HDU {hdu.name}: {what}")
    try:
        low = u.Quantity(low, _unit(stated))
        high = u.Quantity(high, _unit(other or stated)).to(low.unit)
    except (TypeError, ValueError):
        which = f"columns {column}_LO and {column}_HI have no common unit: '{stated}', '{other}'"
        raise DataError("bad-unit", f"{path}, HDU {hdu.name}: {which}") from None
    if not np.allclose(low[1:].value, high[:-1].value, rtol=1e-5, atol=1e-6):
        raise DataError("bad-column", f"{path}, HDU {hdu.name}: the bins of {column} have gaps or overlap")
    return np.append(low, high[-1])


def _layout(
    hdu: fits.BinTableHDU, path: str | Path, name: str, lengths: Mapping[str, int], layout: str | None
) -> tuple[str, ...]:
    """Find the axis order of rates, in numpy order, from the number of bins of each axis."""
    columns, layouts = (_RADIAL_AXES, _RADIAL_LAYOUTS) if "theta" in lengths else (_AXES, LAYOUTS)
    if layout is not None:
        return layouts[checked_choice("layout", layout, layouts)]
    shape = _cell(hdu, path, name).shape
    reference = str(hdu.header.get(f"CREF{hdu.columns.names.index(name) + 1}", ""))
    parts = [part.strip() for part in reference.strip("() ").split(",")]
    stated = [axis for part in parts for axis, key in columns.items() if part.startswith(key)]
    if sorted(stated) == sorted(columns):
        return tuple(reversed(stated))
    fitting = [order for order in layouts.values() if shape == tuple(lengths[axis] for axis in order)]
    if len(fitting) != 1:
        raise DataError(
            "bad-header",
            f"{path}, HDU {hdu.name}: the axis order of {name} is ambiguous; give a layout: {', '.join(LAYOUTS)}",
        )
    return fitting[0]


def _single(rate: u.Quantity) -> Any:
    """Convert rates to single precision; Gammapy would fill zeros from other energies."""
    return np.maximum(rate.to_value(RATE_UNIT), LEAST_RATE).astype(np.float32)


def _table(
    name: str, axes: Mapping[str, u.Quantity], in_file: Any, code: str, unit: str, keywords: Mapping[str, Any]
) -> memoryview:  # fmt: skip
    """Make a table of one row from edges, in FITS order, and values, whose numpy order is the reverse."""
    columns: dict[str, tuple[str, str, Any]] = {}
    for axis, edges in axes.items():
        for end, part in (("LO", edges[:-1]), ("HI", edges[1:])):
            columns[f"{axis}_{end}"] = ("D", str(part.unit), part.value[None])
    columns["BKG" if name == "BACKGROUND" else name] = (code, unit, in_file[None])
    order = f"({','.join(f'{axis}_LO:{axis}_HI' for axis in axes)})"
    return columns_hdu(name, columns, {**GADF_KEYWORDS, **keywords, f"CREF{len(columns)}": order})


def edge_keywords(edge: CameraEdge | None) -> dict[str, Any]:
    """Make the keywords of an edge of the camera; none if there is no edge."""
    if edge is None:
        return {}
    sizes = dict(zip(_EDGE, (edge.detx, edge.dety), strict=True))
    stated = {name: (size, "[deg] from the centre to this edge") for name, size in sizes.items() if size is not None}
    return {"CAMERA": (edge.shape, "fitted edge of the camera"), **stated}


def read_edge(hdu: fits.PrimaryHDU, path: str | Path) -> CameraEdge | None:
    """Read the keywords of an edge of the camera; None if there are none.

    Raises
    ------
    DataError
        If a keyword is invalid.
    """
    if "CAMERA" not in hdu.header:
        return None
    detx, dety = (None if name not in hdu.header else number_in(hdu, path, name, 0, 90) for name in _EDGE)
    if (shape := hdu.header["CAMERA"]) not in ("circle", "rectangle"):
        raise DataError("bad-keyword", f"{path}: keyword CAMERA must be circle or rectangle, got {shape!r}")
    return CameraEdge(shape=shape, detx=detx, dety=dety)
