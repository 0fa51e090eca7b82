"""Read and write models as FITS files.

BACKGROUND is a GADF BKG_3D table in the recommended axis order, FITS order
(ENERG, DETX, DETY). As GADF defines it, the rate in the file is per *ontime* (TIMEBASE). That of
a `BackgroundModel` is per livetime: it is multiplied by the live fraction of the runs (DEADC)
when it is written, and divided by it when it is read. If it is unknown, rates
are per livetime, and TIMEBASE is LIVETIME.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from warnings import catch_warnings

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.io.fits.verify import VerifyWarning
from numpy.typing import NDArray

from bgnb._util.checks import check_type, finite_number
from bgnb._util.errors import BgnbError, DataError, quoted
from bgnb.cubes.compare import mean_altitude
from bgnb.cubes.cube import LEAST_RATE, RATE_UNIT, Cube, CubeAxes
from bgnb.cubes.event_cuts import RunCounts
from bgnb.cubes.model import BackgroundModel
from bgnb.cubes.stack import Stack
from bgnb.files.background_tables import (
    BKG_KEYWORDS,
    LARGEST_RATE,
    RATE,
    background_hdus,
    cube_hdu,
    edge_keywords,
    metadata,
    read_axes,
    read_cube,
    read_edge,
    read_rate,
    read_rate_cube,
)
from bgnb.files.fits_reader import check_hdus, in_unit, number_in, numbers, open_fits
from bgnb.files.fits_writer import columns_hdu, primary_hdu, write_fits
from bgnb.observations.coordinates import date_of
from bgnb.observations.event_list import MICROSECONDS
from bgnb.observations.gadf_keywords import SIMULATED, is_simulated

_RUN_COLUMNS = {
    "OBS_ID": ("obs_id", "K", ""),
    "LIVETIME": ("livetime_s", "D", "s"),
    "ONTIME": ("ontime_s", "D", "s"),
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
    "MJD": ("mjd", "D", "d"),
    "N_TELS": ("n_tels", "D", ""),
}
# Maximum difference of the stated mean altitude from that of the runs, deg.
_ALTITUDE_TOLERANCE = 1.0
_KEYWORD = re.compile(r"[A-Z0-9_-]{1,8}")
# Keywords of the structure of FITS, and those that tell how a model is read.
_RESERVED = re.compile(
    r"SIMPLE|XTENSION|INHERIT|EXT(NAME|VER|LEVEL)|HDU(CLAS\w*|DOC|VERS)|TIMEBASE|BUNIT|BITPIX|NAXIS\d*|EXTEND|[PG]COUNT|GROUPS|TFIELDS|T(TYPE|FORM|UNIT|DIM|NULL|SCAL|ZERO|DISP)\d+|THEAP"
    r"|B(ZERO|SCALE|LANK)|(CHECK|DATA)SUM|END|COMMENT|HISTORY|CONTINUE|METHOD|FOVALIGN|N_RUNS|CAM_\w*|CAMERA"
)
# Columns that files of all versions have.
_REQUIRED = ("OBS_ID", "LIVETIME", "LO_THRES", "EVENTS", "OUT_GTI", "BELOW_THRES", "OUT_AXES")


def write_model(
    model: BackgroundModel, path: str | Path, keywords: dict[str, Any] | None = None, *, overwrite: bool = True
) -> None:
    """Write a model as tables in HDUs COUNTS, LIVETIME, BACKGROUND and RUNS, and ERROR if the model states errors.

    BACKGROUND and ERROR are per ontime: the rate of the model times its live fraction, which
    is the keyword DEADC. If it is unknown, they are per livetime (TIMEBASE).

    Parameters
    ----------
    model : `BackgroundModel`
        The model.
    path : path
        The file; its name must end in ``.fits.gz`` or ``.fits``.
    keywords : dict, optional
        Further keywords for the primary header. The mean pointing of the runs, ALT_PNT and
        AZ_PNT, is written to BACKGROUND as well.
    overwrite : bool
        Replace the file if it exists.

    Raises
    ------
    BgnbError
        If the file cannot be written, the bins of the model have more counts or livetime than its runs, or its rates exceed
        single precision.

    Examples
    --------
    >>> import bgnb
    >>> model = bgnb.make_test_bg_cube_model(altitude="70 deg")
    >>> bgnb.write_model(model, "true.fits.gz", {"ALT_PNT": 70})
    >>> bgnb.read_model("true.fits.gz").method
    'true'
    """
    check_type("model", model, BackgroundModel)
    if wrong := _contradiction(model.stack):
        raise BgnbError("invalid-argument", f"{path}: {wrong}")
    axes = model.axes
    keywords = _checked_keywords(keywords)
    stated = {"FOVALIGN": model.stack.fovalign, **_model_keywords(model, keywords)}
    stated_rate = {**BKG_KEYWORDS, "HDUCLAS4": "BKG_3D", **stated}
    hdus = [
        primary_hdu(_primary_keywords(model, keywords)),
        cube_hdu("COUNTS", axes, model.stack.counts, "K", "", {}),
        cube_hdu("LIVETIME", axes, model.stack.livetime.value, "D", "s", {}),
        cube_hdu("BACKGROUND", axes, _in_file(path, model.rate, model), "D", RATE, stated_rate),
        _runs_hdu(model.stack),
    ]
    if model.error is not None:
        hdus.append(cube_hdu("ERROR", axes, _in_file(path, model.error, model), "D", RATE, stated))
    write_fits(Path(path), hdus, overwrite=overwrite)


def write_background_2d(model: BackgroundModel, path: str | Path, keywords: dict[str, Any] | None = None) -> None:
    """Write the rate of a model as a radial background (GADF BKG_2D), in the HDU BACKGROUND.

    The rate is averaged over the azimuth about the pointing, weighted by solid angle, in rings
    about as wide as a bin, out to the farthest edge of the axes in DETX or DETY. As in
    `write_model`, it is per ontime.

    Parameters
    ----------
    model : `BackgroundModel`
        The model.
    path : path
        The file; its name must end in ``.fits.gz`` or ``.fits``.
    keywords : dict, optional
        Further keywords for the header, such as the mean pointing of the runs, ALT_PNT and
        AZ_PNT.

    Raises
    ------
    BgnbError
        If the axes do not contain the pointing.

    Examples
    --------
    >>> import bgnb
    >>> model = bgnb.read_group_model("models", 27)
    >>> bgnb.write_background_2d(model, "radial.fits.gz")
    >>> cube, fovalign = bgnb.read_background("radial.fits.gz")
    >>> bool((cube.quantity[:, 0, 5] == cube.quantity[:, -1, 5]).all())
    True
    """
    check_type("model", model, BackgroundModel)
    keywords = _checked_keywords(keywords)
    stated = {"METHOD": model.method, **_model_keywords(model, keywords), **keywords}
    rate = Cube(model.axes, _in_file(path, model.rate, model))
    write_fits(Path(path), background_hdus(rate, kind="bkg_2d", keywords=stated))


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

    Examples
    --------
    >>> import bgnb
    >>> from astropy.io import fits
    >>> bgnb.write_image(bgnb.read_group_model("models", 27), "image.fits")
    >>> fits.getdata("image.fits").shape
    (10, 10, 10)
    """
    check_type("model", model, BackgroundModel)
    axes = model.axes
    stated = _primary_keywords(model, _checked_keywords(keywords)) | {
        "BUNIT": RATE,
        "TIMEBASE": ("LIVETIME", "rates are per livetime, not per ontime"),
    }
    for number, (name, edges) in enumerate((("DETX", axes.detx.value), ("DETY", axes.dety.value)), start=1):
        widths = np.diff(edges)
        if not np.allclose(widths, widths[0], rtol=1e-6):
            raise BgnbError("invalid-value", f"an image needs {name} bins of equal width")
        stated |= {f"CTYPE{number}": name, f"CUNIT{number}": "deg", f"CRPIX{number}": 0.5, f"CRVAL{number}": edges[0]}
        stated |= {f"CDELT{number}": (edges[-1] - edges[0]) / len(widths)}
    stated |= {"CTYPE3": "ENERGBIN", "CRPIX3": 1.0, "CRVAL3": 1.0, "CDELT3": 1.0}
    columns = {
        "BIN": ("J", "", np.arange(1, axes.shape[0] + 1)),
        "ENERG_LO": ("D", "TeV", axes.energy[:-1].value),
        "ENERG_HI": ("D", "TeV", axes.energy[1:].value),
    }
    image = model.rate.quantity.to_value(RATE_UNIT).astype(np.float32)
    write_fits(Path(path), [primary_hdu(stated, image), columns_hdu("ENERGIES", columns)])


def read_model(path: str | Path, group_id: int | None = None) -> BackgroundModel:
    """Read a model written by `write_model`.

    Parameters
    ----------
    path : path
        The file.
    group_id : int, optional
        GROUP_ID that the file must state, if it states one.

    Returns
    -------
    BackgroundModel

    Raises
    ------
    DataError
        If the file is not such a model, or is that of another group.

    Examples
    --------
    >>> import bgnb
    >>> model = bgnb.read_model("models/bg_cube_model_group27_table.fits.gz")
    >>> model.stack.obs_ids
    [1, 2, 3, 4, 5, 6]
    """
    with open_fits(path) as hdus:
        _check_group(hdus[0], path, group_id)
        return _read_model(hdus, path)


def read_counts(path: str | Path) -> int:
    """Read the number of counts of a model, without its rates.

    Raises
    ------
    DataError
        If the file is not such a model.
    """
    with open_fits(path) as hdus:
        check_hdus(hdus, path, "model", ["COUNTS"])
        return int(read_counted(hdus["COUNTS"], path, read_axes(hdus["COUNTS"], path)).sum())


def read_model_and_pointing(path: str | Path, group_id: int | None = None) -> tuple[BackgroundModel, tuple[float, float]]:
    """Read a model from a directory of models, and the mean altitude and azimuth (deg) of its runs.

    Parameters
    ----------
    path : path
        The file.
    group_id : int, optional
        GROUP_ID that the file must state, if it states one.

    Raises
    ------
    DataError
        If the file is not such a model, is that of another group, or does not state the pointing of its runs.
    """
    with open_fits(path) as hdus:
        pointing = number_in(hdus[0], path, "ALT_PNT", -90, 90), number_in(hdus[0], path, "AZ_PNT", -360, 720)
        _check_group(hdus[0], path, group_id)
        model = _read_model(hdus, path)
    altitude = mean_altitude(model.stack.runs)
    if altitude is not None and abs(altitude - pointing[0]) > _ALTITUDE_TOLERANCE:
        reason = f"ALT_PNT is {pointing[0]:g} deg, but the mean altitude in HDU RUNS is {altitude:g} deg"
        raise DataError("bad-keyword", f"{path}: {reason}; correct the keyword, or copy the file again")
    return model, pointing


def _check_group(hdu: fits.PrimaryHDU, path: str | Path, group_id: int | None) -> None:
    """Check that a model is that of the group in the name of its file."""
    if group_id is not None and (stated := hdu.header.get("GROUP_ID", group_id)) != group_id:
        advice = "copy the files again, with their names"
        raise DataError("groups-mismatch", f"{path}: contains the model of group {stated} (GROUP_ID), not {group_id}; {advice}")


def _read_model(hdus: fits.HDUList, path: str | Path) -> BackgroundModel:
    check_hdus(hdus, path, "model", ("COUNTS", "LIVETIME", "BACKGROUND", "RUNS"))
    primary, background = hdus[0], hdus["BACKGROUND"]
    per_ontime, fovalign = read_rate_cube(background, path, None)
    if (other := str(primary.header.get("FOVALIGN", fovalign)).upper()) != background.header.get("FOVALIGN", other):
        raise DataError("bad-keyword", f"{path}: FOVALIGN in HDU BACKGROUND is not that of the primary header, {other}")
    axes = per_ontime.axes
    seconds = in_unit(read_cube(hdus["LIVETIME"], path, "LIVETIME", axes), hdus["LIVETIME"], path, "LIVETIME", "s")
    livetime_us = _integers(seconds * float(MICROSECONDS), hdus["LIVETIME"], path)
    header = primary.header
    common = {"telescop": str(header.get("TELESCOP", "")), "simulated": is_simulated(header.get("OBJECT", ""))}
    runs = _read_runs(hdus["RUNS"], path, common | {"selection": str(header.get("EVENTSEL", ""))})
    stack = Stack(axes, fovalign, read_counted(hdus["COUNTS"], path, axes), livetime_us, runs)
    if wrong := _contradiction(stack):
        raise DataError("bad-column", f"{path}: {wrong}")
    live_fraction = _live_fraction(background, path, None, stack)
    rate, error = Cube(axes, _per_livetime(per_ontime.quantity, live_fraction)), None
    if "ERROR" in hdus:
        check_hdus(hdus, path, "model", ["ERROR"])
        fraction = _live_fraction(hdus["ERROR"], path, str(background.header["TIMEBASE"]), stack)
        error = Cube(axes, _per_livetime(read_rate(hdus["ERROR"], path, "ERROR", axes), fraction))
    return BackgroundModel(rate, stack, str(header.get("METHOD", "")), error, live_fraction, read_edge(primary, path))


def read_counted(hdu: fits.BinTableHDU, path: str | Path, axes: CubeAxes) -> NDArray[np.int64]:
    """Read the counts of HDU COUNTS, which must be on these axes.

    Raises
    ------
    DataError
        If they are not whole numbers, or the axes differ.
    """
    values = read_cube(hdu, path, "COUNTS", axes)
    counts = _integers(values, hdu, path)
    if not np.array_equal(counts, values):
        raise DataError("bad-column", f"{path}, HDU COUNTS: contains counts that are not whole numbers")
    return counts


def _integers(values: Any, hdu: fits.BinTableHDU, path: str | Path) -> NDArray[np.int64]:
    """Round values that must be neither negative nor larger than an integer can be."""
    if not (np.isfinite(values) & (values >= 0) & (values < 2.0**62)).all():
        raise DataError("bad-column", f"{path}, HDU {hdu.name}: contains values that are negative, not finite or too large")
    return np.rint(values).astype(np.int64)


def _contradiction(stack: Stack) -> str:
    """Describe bins with more counts or livetime than their runs; "" if there are none, or no runs are listed."""
    if not stack.runs:
        return ""
    counts, by_run = int(stack.counts.sum()), sum(run.counts for run in stack.runs)
    if counts > by_run:
        return f"COUNTS has {counts} counts, but the runs in RUNS have {by_run}"
    longest, livetime = stack.livetime_us.max() / MICROSECONDS, math.fsum(run.livetime_s for run in stack.runs)
    if longest > livetime * (1 + 1e-9) + 1e-6 * len(stack.runs):
        return f"LIVETIME has {longest:g} s, but the runs in RUNS have {livetime:g} s"
    return ""


def _live_fraction(hdu: fits.BinTableHDU, path: str | Path, default: str | None, stack: Stack) -> float | None:
    """Read the live fraction contained in the rates of a model; None if they are per livetime."""
    where, base = f"{path}, HDU {hdu.name}", hdu.header.get("TIMEBASE", default)
    if base not in ("ONTIME", "LIVETIME"):
        code = "missing-keyword" if base is None else "bad-keyword"
        raise DataError(code, f"{where}: TIMEBASE must be ONTIME or LIVETIME, what the rates are per, got {base!r}")
    if base == "LIVETIME":
        return None
    fraction, expected = number_in(hdu, path, "DEADC", LEAST_RATE), stack.live_fraction
    if expected is not None and not math.isclose(fraction, expected, rel_tol=1e-6):
        raise DataError("bad-keyword", f"{where}: DEADC is {fraction:g}, but LIVETIME / ONTIME in HDU RUNS is {expected:g}")
    return fraction


def _per_livetime(rate: u.Quantity, fraction: float | None) -> u.Quantity:
    """Convert rates of a model to rates per livetime."""
    return rate if fraction is None else rate / fraction


def _checked_keywords(keywords: Mapping[Any, Any] | None) -> dict[str, Any]:
    """Check further keywords for a header: names and values that FITS can contain, and none that a file states itself."""
    keywords = {} if keywords is None else keywords
    check_type("keywords", keywords, Mapping)
    for name, value in keywords.items():
        if not isinstance(name, str) or not _KEYWORD.fullmatch(name) or _RESERVED.fullmatch(name):
            wanted = "names of at most 8 of A–Z, 0–9, - and _, other than those of the structure of FITS and of a model"
            raise BgnbError("invalid-argument", f"keywords must have {wanted}, got {quoted(name)}")
        try:
            with catch_warnings(action="error", category=VerifyWarning):  # of comments that do not fit
                str(fits.Card(name, *(value if isinstance(value, tuple) and len(value) == 2 else (value,))))
        except (ValueError, TypeError, VerifyWarning) as error:
            raise BgnbError("invalid-argument", f"keywords: {name} cannot be {quoted(value)}: {error}") from None
    if "ALT_PNT" in keywords:
        stated = keywords["ALT_PNT"]
        finite_number("keywords: ALT_PNT", stated[0] if isinstance(stated, tuple) else stated)
    return dict(keywords)


def _primary_keywords(model: BackgroundModel, keywords: dict[str, Any]) -> dict[str, Any]:
    """Make the keywords of the primary header."""
    runs = model.stack.runs
    stated: dict[str, Any] = {
        "METHOD": (model.method, "how the rate was made from the counts"),
        "FOVALIGN": (model.stack.fovalign, "frame of DETX and DETY"),
        "N_RUNS": len(runs),
    }
    if telescop := model.stack.telescop:
        stated["TELESCOP"] = telescop
    if selection := model.stack.selection:
        stated["EVENTSEL"] = selection
    if model.is_simulated:
        stated["OBJECT"] = SIMULATED
    stated |= edge_keywords(model.edge)
    if mjds := [run.mjd for run in runs if run.mjd is not None]:
        stated["DATE-OBS"] = (date_of(min(mjds)), "date of the first run")
        stated["DATE-END"] = (date_of(max(mjds)), "date of the last run")
    return stated | keywords


def _model_keywords(model: BackgroundModel, keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Make the keywords of the rate of a model; the pointing is taken from further keywords, which may have comments."""
    given = {name: value[0] if isinstance(value, tuple) else value for name, value in keywords.items()}
    runs = model.stack.runs if model.stack.live_fraction is not None else ()
    return metadata(
        energy_range=model.energy_range,
        telescop=model.stack.telescop,
        alt_pnt=given.get("ALT_PNT"),
        az_pnt=given.get("AZ_PNT"),
        scatter=(given.get("SCATTER"), given.get("TILT")),
        live_fraction=model.live_fraction,
        ontime=math.fsum(run.ontime_s or 0.0 for run in runs) if runs else None,
        livetime=math.fsum(run.livetime_s for run in runs) if runs else None,
    )


def _in_file(path: str | Path, rate: Cube, model: BackgroundModel) -> u.Quantity:
    """Convert a rate per livetime to that in the file, per ontime if the live fraction is known."""
    in_file = rate.quantity * (1.0 if model.live_fraction is None else model.live_fraction)
    if (in_file.to_value(RATE_UNIT) > LARGEST_RATE).any():  # as readers do
        limit = f"{LARGEST_RATE:.2g} {RATE_UNIT}, the maximum of single precision"
        raise BgnbError("invalid-value", f"{path}: the rate or its error exceeds {limit}")
    return in_file


def _runs_hdu(stack: Stack) -> memoryview:
    columns = {}
    for column, (attribute, code, unit) in _RUN_COLUMNS.items():
        values = [np.nan if (value := getattr(run, attribute)) is None else value for run in stack.runs]
        columns[column] = (code, unit, np.array(values))
    return columns_hdu("RUNS", columns)


def _read_runs(hdu: fits.BinTableHDU, path: str | Path, common: Mapping[str, Any]) -> tuple[RunCounts, ...]:
    columns: dict[str, list[Any]] = {}
    for column, (attribute, _, unit) in _RUN_COLUMNS.items():
        if column in hdu.columns.names or column in _REQUIRED:  # older files have fewer
            values = numbers(hdu, path, column)
            if values.ndim != 1:
                raise DataError("bad-column", f"{path}, HDU RUNS: column {column} has several values in a row")
            columns[attribute] = in_unit(values, hdu, path, column, unit).tolist() if unit else values.tolist()
    runs = []
    for row in zip(*columns.values(), strict=True):
        stated: dict[str, Any] = {name: None if math.isnan(value) else value for name, value in zip(columns, row, strict=True)}
        n_tels = stated.pop("n_tels", None)
        try:
            runs.append(RunCounts(**stated, **common, n_tels=None if n_tels is None or n_tels < 0 else int(n_tels)))
        except (BgnbError, OverflowError) as error:
            reason = error.message if isinstance(error, BgnbError) else f"N_TELS of run {stated['obs_id']} is {n_tels}"
            raise DataError("bad-column", f"{path}, HDU RUNS: {reason}") from None
    return tuple(runs)
