"""Tables in files: FITS, VOTable, ECSV or CSV."""

from __future__ import annotations

import csv
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Collection
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.io.registry import identify_format
from astropy.table import Column, Table

import bgnb._util.unit_parser  # noqa: F401 # which limits what Astropy computes
from bgnb._util.arrays import Floats
from bgnb._util.compression import MAGIC, StreamError, decompress
from bgnb._util.errors import DataError
from bgnb._util.reading import TEXT_MAX, decoded, home_expanded, read_bytes
from bgnb._util.threads import ignored_warnings
from bgnb.observations.fits_table import read_content
from bgnb.observations.text_tables import SEVERAL_TABLES, check_equinox, check_text_table

# Names of the formats in Astropy, of those whose size is limited.
_FORMATS = ("fits", "votable", "ascii.ecsv", "ascii.csv")
# Columns of text, in which CSV may contain names such as 007 or 2004.10.
_NAMES = ("EPOCH", "NAME", "SOURCE_NAME")
# First bytes of the formats that Astropy would decompress, without a maximum size.
_COMPRESSED = (MAGIC, b"BZh", b"\xfd7zXZ", b"PK\3\4", b"\x1f\x9d")


def read_table_file(path: str | Path, format: str | None = None, *, first_with: Collection[str] = ()) -> Table:
    """Read a table from a file, plain or gzipped. Users may have edited it: a DATASUM is not compared with its content.

    Parameters
    ----------
    path : path
        The file.
    format : str, optional
        Name of the format in Astropy; by default it is recognized from name and content.
    first_with : collection of str
        Read the first of several tables in a FITS file, which are refused otherwise, if it has a column with one of these names
        in upper case.

    Raises
    ------
    FileNotFoundError
        If there is none.
    DataError
        If it is not a regular file, too large, or cannot be read.
    Exception
        Of many kinds, if Astropy cannot read it.
    """
    path = Path(home_expanded(path))
    try:
        path.stat()  # raises FileNotFoundError
        content = _read(path)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DataError("unreadable", f"{path}: cannot be read: {error.strerror or error}") from None
    with ignored_warnings(Warning):  # Astropy uses those of Python as well
        if format is None:
            stream = BytesIO(content)
            formats = identify_format("read", Table, str(path).lower().removesuffix(".gz"), stream, [stream], {})
            if len(formats) != 1 or formats[0] not in _FORMATS:
                raise ValueError("its format is not recognized; give a table in FITS, VOTable, ECSV (*.ecsv) or CSV (*.csv)")
            format = formats[0]
        check_text_table(content, format)
        if format == "fits":
            with fits.open(BytesIO(content)) as hdus:
                tables = [hdu for hdu in hdus if isinstance(hdu, fits.BinTableHDU | fits.TableHDU)]
                if len(tables) > 1 and not {name.upper() for name in tables[0].columns.names} & {*first_with}:
                    raise ValueError(SEVERAL_TABLES)
        texts = {name: str for name in _csv_names(content) if name.upper() in _NAMES} if format == "ascii.csv" else {}
        options = {"converters": texts} if texts else {}  # with them, Astropy is ten times slower
        return Table.read(BytesIO(content), format=format, **options)


def _csv_names(content: bytes) -> list[str]:
    """Return the names of the columns of a table in CSV."""
    rows = csv.reader(StringIO(content.decode()), skipinitialspace=True)
    return [name.strip() for name in next((row for row in rows if any(row)), [])]


def columns_by_name(table: Table, names: Collection[str]) -> dict[str, Any]:
    """Return columns of a table by their names in upper case.

    Parameters
    ----------
    table : `~astropy.table.Table`
        The table.
    names : collection of str
        Names in upper case; other columns are ignored.

    Raises
    ------
    ValueError
        If several columns have one of these names, or one contains other objects than numbers or text.
    """
    columns: dict[str, Any] = {}
    for name in table.colnames:
        if (key := name.upper()) in columns:
            raise ValueError(f"columns {columns[key].info.name} and {name} differ only in case; remove one of them")
        if key in names:
            columns[key] = table[name]
            if not isinstance(columns[key], Column | u.Quantity):
                raise ValueError(f"column {name} is a {type(columns[key]).__name__}; write numbers or text")
    return columns


def numbers_in(column: Any, unit: str, empty: float = np.nan) -> Floats:
    """Return the numbers of a column in a unit, which they have if the column states none.

    Parameters
    ----------
    column : `~astropy.table.Column` or ndarray
        The column.
    unit : str
        The unit.
    empty : float
        Number for empty cells and NaN.

    Raises
    ------
    ValueError or TypeError
        If the column does not contain one number in each row, or has a unit that cannot be converted.
    """
    kind = getattr(getattr(column, "dtype", None), "kind", "O")
    if kind not in "iuf":
        raise ValueError("it does not contain numbers; write 83.63 instead of text such as 05:34:32 or 83d38m")
    if column.ndim != 1:
        raise ValueError("it contains more than one number in each row")
    values = np.ma.filled(column.astype(float), np.nan)  # integers cannot replace empty cells by NaN
    numbers = np.array(u.Quantity(values, getattr(column, "unit", None) or unit).to_value(unit), dtype=float)
    return np.where(np.isnan(numbers), empty, numbers)


def check_frame(table: Table) -> None:
    """Check that right ascensions and declinations refer to the equinox J2000, as far as the keywords of a table state it.

    Raises
    ------
    ValueError
        If they refer to another frame.
    """
    # A text of other keywords may be large without limit, as ECSV lets lists contain a list many times.
    texts = {str(key).upper(): value for key, value in table.meta.items() if isinstance(value, str | int | float)}
    stated = {key: str(value).strip().upper() for key, value in texts.items()}
    check_equinox(stated.get("RADESYS") or stated.get("RADECSYS") or "ICRS", stated.get("EQUINOX") or "")


def _read(path: Path) -> bytes:
    """Read and decompress a file, in FITS or as text."""
    try:
        return read_content(path, verify=False).getvalue()
    except DataError as error:
        if error.code not in ("not-fits", "empty-file"):
            raise
        return _read_text(path)


def _read_text(path: Path) -> bytes:
    """Read and decompress a file that is not FITS."""
    content = read_bytes(path, TEXT_MAX)
    try:
        content = decompress(content, TEXT_MAX) if content.startswith(MAGIC) else content
    except StreamError as error:
        raise ValueError(f"its gzip stream is {error.code.replace('-', ' ')}") from None
    if content.startswith(_COMPRESSED):
        raise ValueError("it is compressed, but not by gzip, or more than once; decompress it")
    is_binary = b"\0" in content and not content.startswith((BOM_UTF16_BE, BOM_UTF16_LE))
    return content if is_binary or content.startswith(b"<") else decoded(content).encode()  # XML states its encoding
