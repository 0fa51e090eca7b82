"""Read and write splines as FITS files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import Table

from bgnb._util.errors import DataError
from bgnb.cubes.spline import SplineModel
from bgnb.files.background_tables import (
    LAYOUTS,
    cube_hdu,
    edge_keywords,
    open_fits,
    read_axes,
    read_cube,
    read_edge,
    scatter_keywords,
)
from bgnb.files.fits_writer import extension, primary_hdu, table_hdu, write_fits
from bgnb.observations.coordinates import checked_fovalign

#: File of the spline from which the models of all groups were derived.
SPLINE_FILE = "bg_spline.fits.gz"

_TERM_COLUMNS = ["POINTING", "ENERGY", "VIEW", "FREEDOM"]


def write_spline(model: SplineModel, path: str | Path) -> None:
    """Write a spline to the HDUs COUNTS (which also states the axes), MEANS, TERMS, COEFFICIENTS and COVARIANCE.

    Parameters
    ----------
    model : `~bgnb.cubes.spline.SplineModel`
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
        names = [hdu.name for hdu in hdus]
        wanted = ("COUNTS", "MEANS", "TERMS", "COEFFICIENTS", "COVARIANCE")
        if missing := [name for name in wanted if name not in names]:
            raise DataError("not-a-model", f"{path}: is not a bgnb spline: HDU {', '.join(missing)} is missing")
        means: dict[str, list[float]] = {}
        for part, _, value in hdus["MEANS"].data:
            means.setdefault(part, []).append(float(value))
        terms, axes = hdus["TERMS"].data, read_axes(hdus["COUNTS"], path)
        header = hdus[0].header
        spline = SplineModel(
            axes=axes,
            fovalign=checked_fovalign(header["FOVALIGN"]),
            counts=read_cube(hdus["COUNTS"], path, "COUNTS", LAYOUTS["GADF"]).astype(np.int64),
            terms=tuple((str(p), str(e), str(v)) for p, e, v in zip(*(terms[c] for c in _TERM_COLUMNS[:3]), strict=True)),
            zenith_range=(header["COSZ_MIN"], header["COSZ_MAX"]),
            means={name: np.array(values) for name, values in means.items()},
            coefficients=np.array(hdus["COEFFICIENTS"].data["COEFFICIENT"], dtype=float),
            covariance=np.array(hdus["COVARIANCE"].data, dtype=float),
            degrees_of_freedom=np.array(terms[_TERM_COLUMNS[3]], dtype=float),
            scatter=header["SCATTER"],
            tilt=header.get("TILT", 0.0),
            camera=np.array(hdus["CAMERA"].data, dtype=float) if "CAMERA" in names else np.ones(axes.shape[1:]),
            edge=read_edge(header),
        )
        spline.rate_at(90.0, 0.0)  # raises an error if terms, means and coefficients do not match
        return spline
