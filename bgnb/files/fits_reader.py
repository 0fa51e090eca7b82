"""Read FITS files with Astropy, and check the tables, columns and keywords that are used."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning
from numpy.typing import NDArray

from bgnb._util.errors import BgnbError, DataError, located, quoted
from bgnb._util.reading import FILE_MAX
from bgnb._util.threads import ignored_warnings
from bgnb.observations.fits_table import read_content


@contextmanager
def open_fits(path: str | Path, *, verify: bool = True) -> Iterator[fits.HDUList]:
    """Open a FITS file, which is read and decompressed before: Astropy would do so slowly, and without a maximum size.

    Parameters
    ----------
    path : path
        The file.
    verify : bool
        Compare the data with DATASUM, if it is stated. Users edit exclusion images with programs that leave the old one.

    Yields
    ------
    `~astropy.io.fits.HDUList`
        The HDUs.

    Raises
    ------
    DataError
        If it is missing, truncated, too large, or cannot be read, also by the block, whose other errors are converted.
    """
    content = read_content(Path(path), verify=verify)
    try:
        with located(str(path)), ignored_warnings(AstropyWarning), fits.open(content, memmap=False) as hdus:
            for hdu in hdus:  # a compressed image may be much larger than its file
                if hdu.is_image and 8 * math.prod(hdu.shape) > FILE_MAX:
                    limit = f"an image may have {FILE_MAX >> 23} million pixels at most"
                    raise DataError("too-large", f"{path}, HDU {hdu.name}: is too large; {limit}")
            yield hdus
    except BgnbError:
        raise
    except Exception as error:  # Astropy raises many kinds
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise DataError("bad-header", f"{path}: a header contradicts itself or the data ({reason})") from None


def find_fits(directory: Path, name: str) -> Path | None:
    """Find a file whose name ends in ``.fits.gz``, or its decompressed copy; None if there is neither.

    Raises
    ------
    DataError
        If there are both, or the directory cannot be read.
    """
    try:
        found = [path for path in (directory / name, directory / name.removesuffix(".gz")) if path.exists()]
    except OSError as error:
        raise DataError("unreadable", f"{directory}: cannot be read: {error.strerror}") from None
    if len(found) > 1:
        raise DataError("groups-mismatch", f"{directory}: contains {found[0].name} and {found[1].name}; remove one of them")
    return found[0] if found else None


def check_hdus(hdus: fits.HDUList, path: str | Path, kind: str, needed: Collection[str], images: Collection[str] = ()) -> None:
    """Check that a file has these tables and images, each once.

    Raises
    ------
    DataError
        If an HDU is missing, appears twice, or is of another type.
    """
    names = [hdu.name for hdu in hdus]
    if missing := [name for name in (*needed, *images) if name not in names]:
        raise DataError("not-a-model", f"{path}: is not a bgnb {kind}: HDU {', '.join(missing)} is missing")
    for name in (*needed, *images):
        check_single(hdus, path, name)
        if not (hdus[name].is_image if name in images else isinstance(hdus[name], fits.BinTableHDU)):
            what = "an image" if name in images else "a binary table"
            raise DataError("bad-header", f"{path}, HDU {name}: is not {what}")


def check_single(hdus: fits.HDUList, path: str | Path, name: str) -> None:
    """Check that a file has one HDU of a name.

    Raises
    ------
    DataError
        If there are several.
    """
    if (number := [hdu.name for hdu in hdus].count(name)) > 1:
        raise DataError("ambiguous-hdu", f"{path}: has {number} HDUs {name}; remove those that are not wanted")


def numbers(hdu: fits.BinTableHDU, path: str | Path, name: str) -> NDArray[Any]:
    """Read a column of numbers.

    Raises
    ------
    DataError
        If it is missing, or has other content.
    """
    if name not in hdu.columns.names:
        raise DataError("missing-column", f"{path}, HDU {hdu.name}: column {name} is missing")
    values = np.asarray(hdu.data[name])
    if values.dtype.kind not in "iuf":
        raise DataError("bad-column", f"{path}, HDU {hdu.name}: column {name} does not contain numbers")
    return values


def in_unit(values: Any, hdu: fits.BinTableHDU, path: str | Path, name: str, unit: str) -> Any:
    """Convert values of a column from the unit that the file states; they are returned as they are if it states none.

    Raises
    ------
    DataError
        If the unit is not known, or does not convert.
    """
    stated = hdu.columns[name].unit
    if not stated or stated == unit:
        return values
    try:
        return u.Quantity(values, stated).to_value(unit)
    except (TypeError, ValueError):
        raise DataError("bad-unit", f"{path}, HDU {hdu.name}: column {name} is in '{stated}', not in {unit}") from None


def number_in(hdu: Any, path: str | Path, keyword: str, low: float = -math.inf, high: float = math.inf) -> float:
    """Read a keyword that contains a finite number.

    Raises
    ------
    DataError
        If it is missing, is no such number, or is out of range.
    """
    where, value = f"{path}, HDU {hdu.name}: keyword {keyword}", hdu.header.get(keyword)
    if value is None or isinstance(value, fits.card.Undefined):
        raise DataError("missing-keyword", f"{where} is missing")
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or not low <= value <= high:
        limits = "" if (low, high) == (-math.inf, math.inf) else f" from {low:g} to {high:g}"
        raise DataError("bad-keyword", f"{where} must be a finite number{limits}, got {quoted(value)}")
    return float(value)
