"""Read and write splines as FITS files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.table import Table

from bgnb._util.arrays import Floats
from bgnb._util.checks import check_type
from bgnb._util.errors import DataError
from bgnb.cubes.spline_basis import HALF, energy_parts, pointing_parts, view_parts
from bgnb.cubes.spline_model import SplineModel
from bgnb.files.background_tables import (
    cube_hdu,
    edge_keywords,
    read_axes,
    read_edge,
    scatter_keywords,
)
from bgnb.files.fits_reader import check_hdus, number_in, numbers, open_fits
from bgnb.files.fits_writer import extension, primary_hdu, table_hdu, write_fits
from bgnb.files.gadf import read_counted
from bgnb.observations.coordinates import checked_fovalign

#: File of the spline from which the models of all groups were derived.
SPLINE_FILE = "bg_spline.fits.gz"

# Maximum scatter of log norm and of the spectral index; the fit finds 100 at most.
_LARGEST_SCATTER = 1000.0
_TERM_COLUMNS = ["POINTING", "ENERGY", "VIEW", "FREEDOM"]


def write_spline(model: SplineModel, path: str | Path) -> None:
    """Write a spline to the HDUs COUNTS (which also states the axes), MEANS, TERMS, COEFFICIENTS and COVARIANCE.

    Parameters
    ----------
    model : `~bgnb.cubes.spline_model.SplineModel`
        The spline.
    path : path
        The file; its name must end in ``.fits.gz`` or ``.fits``.

    Examples
    --------
    >>> import bgnb
    >>> spline = bgnb.read_models("models").for_pointing
    >>> bgnb.write_spline(spline, "spline.fits.gz")
    >>> bool((bgnb.read_spline("spline.fits.gz").coefficients == spline.coefficients).all())
    True
    """
    check_type("model", model, SplineModel)
    stated = {
        "FOVALIGN": (model.fovalign, "frame of DETX and DETY"),
        "TIMEBASE": ("LIVETIME", "rates are per livetime, not per ontime"),
        **dict(zip(("COSZ_MIN", "COSZ_MAX"), model.zenith_range, strict=True)),
        **scatter_keywords((model.scatter, model.tilt)),
        **edge_keywords(model.edge),
    }
    parts = [(name, number, value) for name, values in model.means.items() for number, value in enumerate(values)]
    tables = {
        "MEANS": Table(rows=parts, names=["PART", "COLUMN", "MEAN"]),
        "TERMS": Table(
            rows=[*zip(*zip(*model.terms, strict=True), model.degrees_of_freedom, strict=True)], names=_TERM_COLUMNS
        ),
        "COEFFICIENTS": Table({"COEFFICIENT": model.coefficients}),
    }
    images = {"COVARIANCE": model.covariance, "CAMERA": model.camera}
    hdus = [primary_hdu(stated), cube_hdu("COUNTS", model.axes, model.counts, "K", "", {})]
    hdus += [table_hdu(table, name) for name, table in tables.items()]
    hdus += [extension(fits.ImageHDU(image, name=name)) for name, image in images.items()]
    write_fits(Path(path), hdus)


def read_spline(path: str | Path) -> SplineModel:
    """Read a spline written by `write_spline`.

    Parameters
    ----------
    path : path
        The file.

    Returns
    -------
    SplineModel
        Fitted rate for any pointing.

    Raises
    ------
    DataError
        If the file is not such a spline.

    Examples
    --------
    >>> import bgnb
    >>> spline = bgnb.read_spline("models/bg_spline.fits.gz")
    >>> spline.rate_at(75, 180).axes.shape
    (10, 10, 10)
    """
    with open_fits(path) as hdus:
        check_hdus(hdus, path, "spline", ("COUNTS", "MEANS", "TERMS", "COEFFICIENTS"), ("COVARIANCE",))
        if (fovalign := hdus[0].header.get("FOVALIGN")) is None:
            raise DataError("missing-keyword", f"{path}: keyword FOVALIGN is missing")
        primary, terms, axes = hdus[0], hdus["TERMS"], read_axes(hdus["COUNTS"], path)
        camera = np.ones(axes.shape[1:])
        if "CAMERA" in hdus:
            check_hdus(hdus, path, "spline", (), ["CAMERA"])
            camera = _finite(hdus["CAMERA"].data, "CAMERA", path, axes.shape[1:])
            if not (camera >= HALF).any():
                raise DataError("bad-column", f"{path}, HDU CAMERA: no pixel is inside")
        coefficients = _finite(numbers(hdus["COEFFICIENTS"], path, "COEFFICIENT"), "COEFFICIENTS", path)
        spline = SplineModel(
            axes=axes,
            fovalign=checked_fovalign(fovalign),
            counts=read_counted(hdus["COUNTS"], path, axes),
            terms=tuple((str(p), str(e), str(v)) for p, e, v in zip(*(terms.data[c] for c in _TERM_COLUMNS[:3]), strict=True)),
            zenith_range=(
                number_in(primary, path, "COSZ_MIN", -1, 1),
                number_in(primary, path, "COSZ_MAX", -1, 1),
            ),
            means=_read_means(hdus["MEANS"], path),
            coefficients=coefficients,
            covariance=_finite(hdus["COVARIANCE"].data, "COVARIANCE", path, 2 * coefficients.shape),
            degrees_of_freedom=_finite(numbers(terms, path, _TERM_COLUMNS[3]), "TERMS", path),
            scatter=number_in(primary, path, "SCATTER", 0, _LARGEST_SCATTER),
            tilt=number_in(primary, path, "TILT", 0, _LARGEST_SCATTER) if "TILT" in primary.header else 0.0,
            camera=camera,
            edge=read_edge(primary, path),
        )
        if spline.zenith_range[0] >= spline.zenith_range[1]:
            raise DataError("bad-keyword", f"{path}: COSZ_MIN is not below COSZ_MAX")
        _check_means(spline, path)
        spline.rate_at(90.0, 0.0)  # raises an error if terms and coefficients do not match
        return spline


def _check_means(spline: SplineModel, path: str | Path) -> None:
    """Check that each part of the terms has a mean for each of its functions."""
    pointing = pointing_parts(np.array([90.0]), np.array([0.0]), spline.zenith_range)
    parts = pointing | energy_parts(spline.axes) | view_parts(spline.axes)
    for name in {name for term in spline.terms for name in term} - {"1"}:
        if name in parts and spline.means.get(name, np.zeros(0)).shape != parts[name].shape[1:]:
            raise DataError("bad-column", f"{path}, HDU MEANS: needs {parts[name].shape[1]} rows for the part {name}")


def _read_means(hdu: fits.BinTableHDU, path: str | Path) -> dict[str, Floats]:
    """Read the means of each part, whose columns must be in order."""
    means: dict[str, list[float]] = {}
    values = _finite(numbers(hdu, path, "MEAN"), "MEANS", path)
    for part, column, value in zip(hdu.data["PART"], numbers(hdu, path, "COLUMN"), values, strict=True):
        if column != len(means.setdefault(str(part), [])):
            raise DataError("bad-column", f"{path}, HDU MEANS: the rows are not in order of COLUMN")
        means[str(part)].append(float(value))
    return {name: np.array(values) for name, values in means.items()}


def _finite(values: Any, name: str, path: str | Path, shape: tuple[int, ...] | None = None) -> Floats:
    """Convert to floats, which must be finite, and of a shape."""
    found = np.array(values, dtype=float)
    if found.ndim < 1 or not np.isfinite(found).all() or (shape is not None and found.shape != shape):
        raise DataError("bad-column", f"{path}, HDU {name}: contains values that are not finite, or has the wrong shape")
    return found
