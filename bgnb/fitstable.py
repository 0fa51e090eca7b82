"""Read the binary tables of a FITS file quickly, and no further than needed.

Event files keep EVENTS, GTI and AEFF before much larger HDUs. This reader inflates the
file once, in order, stops when it has what was asked for, and makes arrays of the asked
columns only. It is four times as fast as a general FITS library on such files
(``benchmarks/speed.py``), and each fault that it meets names file, HDU and column. All
writing is left to `astropy.io.fits`.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Collection, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from isal import igzip, igzip_lib
from numpy.typing import NDArray

from bgnb.errors import DataError

_BLOCK = 2880
_CARD = 80
_TYPES = {"L": "i1", "B": "u1", "I": ">i2", "J": ">i4", "K": ">i8", "A": "S", "E": ">f4", "D": ">f8", "C": ">c8", "M": ">c16"}
_TYPES |= {"X": "V", "P": ">2i4", "Q": ">2i8"}  # bits; descriptors of arrays of variable length, kept as such
_QUOTED = re.compile(r"\s*'((?:[^']|'')*)'\s*(?:/\s*(.*))?$")


@dataclass(frozen=True)
class Card:
    """Value and comment of a header card."""

    value: Any
    comment: str = ""


@dataclass(frozen=True)
class FitsTable:
    """Header of a binary table HDU, and the columns that were asked for.

    Parameters
    ----------
    path : `~pathlib.Path`
        The file.
    name : str
        EXTNAME, as written in the file.
    header : mapping of str to str
        Text of each card behind its keyword, parsed when it is asked for. Keywords in
        upper case; HIERARCH keywords without that word.
    columns : mapping of str to ndarray
        Columns in upper case, scaled by TSCAL and TZERO; text without padding.
    units : mapping of str to str
        TUNIT of these columns, "" where there is none.
    defaults : mapping
        Values of keywords, for those that the header lacks.
    """

    path: Path
    name: str
    header: Mapping[str, str]
    columns: Mapping[str, NDArray[Any]]
    units: Mapping[str, str]
    defaults: Mapping[str, Any] = field(default_factory=dict)

    def get(self, keyword: str, default: Any = None) -> Any:
        """Value of a keyword, or ``default``."""
        value = _value(self.header, keyword, None)
        if value is None:
            value = self.defaults.get(keyword)
        return default if value is None else value

    def comment(self, keyword: str) -> str:
        """Comment of a keyword."""
        return _parse_card(self.header.get(keyword, "")).comment

    def number(self, keyword: str, default: float | None = None) -> float:
        """Value of a keyword as a float: text that holds a number is accepted.

        Raises
        ------
        DataError
            Where it is missing and there is no default, or is not a finite number.
        """
        value = self.get(keyword, default)
        if value is None:
            raise DataError(f"{self.where}: keyword {keyword} is missing")
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if isinstance(value, bool) or not math.isfinite(number):
            raise DataError(f"{self.where}: keyword {keyword} is not a number: {value!r}")
        return number

    def column(self, name: str) -> NDArray[Any]:
        """A column, or a `DataError` that says which are there."""
        if name not in self.columns:
            raise DataError(f"{self.where}: column {name} is missing")
        return self.columns[name]

    def with_defaults(self, defaults: Mapping[str, Any]) -> FitsTable:
        """The same table, with values for keywords that the header lacks."""
        return replace(self, defaults=defaults)

    @property
    def where(self) -> str:
        """File and HDU, as error messages name them."""
        return f"{self.path}, HDU {self.name}"


def read_tables(path: Path, wanted: Collection[str | int], columns: Collection[str] | None = None) -> list[FitsTable | None]:
    """Read binary tables from a FITS file, plain or gzipped.

    Parameters
    ----------
    path : `~pathlib.Path`
        The file.
    wanted : collection of str or int
        The HDUs, by name (any case) or number (0 is the primary HDU).
    columns : collection of str, optional
        Names of the columns to read; all of them by default. Columns that are not
        there are left out, so that the caller decides what is missing.

    Returns
    -------
    list of `FitsTable` or None
        In the order of ``wanted``; None where there is no such table.

    Raises
    ------
    DataError
        Where the file cannot be read, or is not what its headers say.
    """
    keys = [key.upper() if isinstance(key, str) else key for key in wanted]
    found: dict[str | int, FitsTable] = {}
    try:
        with closing(_open(path)) as stream:
            number = 0
            while not found.keys() >= set(keys):
                header = _read_header(stream, path, number)
                if header is None:
                    break
                name = str(_value(header, "EXTNAME", "")).strip()
                matching = [key for key in (number, name.upper()) if key in keys and key not in found]
                size = _data_size(header, path, number)
                if matching and _value(header, "XTENSION", "") == "BINTABLE":
                    data = stream.read(size)
                    if len(data) < size:
                        raise DataError(f"{path}, HDU {name or number}: the file ends within the table")
                    table = _make_table(path, name or str(number), header, data, columns)
                    found.update(dict.fromkeys(matching, table))
                else:
                    _skip(stream, size)
                _skip(stream, -size % _BLOCK)
                number += 1
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file") from None
    except (OSError, EOFError, zlib.error, igzip_lib.IsalError) as error:  # type: ignore[misc] # isal does not type it
        raise DataError(f"{path}: cannot be read: {error}") from None
    except (ValueError, TypeError, OverflowError, MemoryError) as error:
        raise DataError(f"{path}: a header contradicts itself or the data: {error}") from None
    return [found.get(key) for key in keys]


def read_table(path: Path, hdu: str | int = 1, columns: Collection[str] | None = None) -> FitsTable:
    """Read one binary table: as `read_tables`, but a missing one is a `DataError`."""
    (table,) = read_tables(path, [hdu], columns)
    if table is None:
        raise DataError(f"{path}: there is no table HDU {hdu}")
    return table


def _open(path: Path) -> BinaryIO:
    with path.open("rb") as file:
        magic = file.read(2)
    return igzip.open(path, "rb") if magic == b"\x1f\x8b" else path.open("rb")


def _skip(stream: BinaryIO, size: int) -> None:
    while size > 0:
        piece = stream.read(min(size, 1 << 20))
        if not piece:
            return  # data that nobody asked for may be cut
        size -= len(piece)


def _read_header(stream: BinaryIO, path: Path, number: int) -> dict[str, str] | None:
    """Keywords and what stands behind them; None at the end of the file."""
    header: dict[str, str] = {}
    start: tuple[bytes, ...] = (b"SIMPLE  =", b"XTENSION=")
    while True:
        block = stream.read(_BLOCK)
        if start and number and not block.strip(b"\0 \n"):
            return None  # perhaps padded
        if len(block) < _BLOCK or not block.startswith(start or b""):
            raise DataError(f"{path}: is not a FITS file, or is cut, at the header of HDU {number}")
        start = ()
        text = block.decode("latin-1")
        for position in range(0, _BLOCK, _CARD):
            card = text[position : position + _CARD]
            if card[8:10] == "= ":
                header.setdefault(card[:8].rstrip(), card[10:])
            elif card.startswith("END     "):
                return header
            elif card.startswith("HIERARCH ") and "=" in card:
                key, value = card[9:].split("=", 1)
                header.setdefault(key.strip().upper(), value)


def _parse_card(text: str) -> Card:
    if quoted := _QUOTED.match(text):
        return Card(quoted[1].replace("''", "'").rstrip(), (quoted[2] or "").strip())
    value, _, comment = text.partition("/")
    return Card(_parse_scalar(value.strip()), comment.strip())


def _parse_scalar(text: str) -> bool | int | float | str | None:
    if text in ("T", "F"):
        return text == "T"
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text.replace("D", "E"))
    except ValueError:
        return text or None


def _value(header: Mapping[str, str], keyword: str, default: Any) -> Any:
    return _parse_card(header[keyword]).value if keyword in header else default


def _size(header: Mapping[str, str], keyword: str, where: str, default: int | None = None) -> int:
    value = _value(header, keyword, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise DataError(f"{where}: keyword {keyword} must be a whole number that is not negative, got {value!r}")
    return value


def _data_size(header: Mapping[str, str], path: Path, number: int) -> int:
    where = f"{path}, HDU {number}"
    naxis = _size(header, "NAXIS", where)
    if naxis == 0:
        return 0
    cells = math.prod(_size(header, f"NAXIS{i + 1}", where) for i in range(naxis))
    groups, extra = _size(header, "GCOUNT", where, 1), _size(header, "PCOUNT", where, 0)
    return abs(int(_value(header, "BITPIX", 8))) // 8 * groups * (extra + cells)


def _make_table(path: Path, name: str, header: dict[str, str], data: bytes, columns: Collection[str] | None) -> FitsTable:
    where = f"{path}, HDU {name}"
    rows, width = _size(header, "NAXIS2", where), _size(header, "NAXIS1", where)
    fields: dict[str, tuple[int, Any, int]] = {}  # name: TTYPE number, numpy type, offset in the row
    offset = 0
    for number in range(1, _size(header, "TFIELDS", where) + 1):
        column = str(_value(header, f"TTYPE{number}", "")).strip().upper()
        form = str(_value(header, f"TFORM{number}", ""))
        kind = _numpy_type(form)
        if kind is None:
            raise DataError(f"{where}: column {column} has the unknown format {form!r}")
        if columns is None or column in columns:
            fields.setdefault(column, (number, kind, offset))
        offset += kind.itemsize
    if offset != width:
        raise DataError(f"{where}: the columns take {offset} bytes a row, but NAXIS1 says {width}")
    numbers, kinds, offsets = zip(*fields.values(), strict=True) if fields else ((), (), ())
    dtype = np.dtype({"names": list(fields), "formats": kinds, "offsets": offsets, "itemsize": width})
    records: NDArray[Any] = np.ndarray((rows,), dtype, buffer=data)
    arrays = {column: _native(records[column], header, number) for column, number in zip(fields, numbers, strict=True)}
    units = {column: str(_value(header, f"TUNIT{number}", "")).strip() for column, number in zip(fields, numbers, strict=True)}
    return FitsTable(path, name, header, arrays, units)


@cache
def _numpy_type(tform: str) -> np.dtype[Any] | None:
    form = re.match(r"\s*(\d*)([A-Z])", tform)
    if not form or form[2] not in _TYPES:
        return None
    repeat, code = int(form[1] or 1), form[2]
    if code == "X":
        return np.dtype(f"V{(repeat + 7) // 8}")
    if code == "A":
        return np.dtype(f"S{repeat}")
    return np.dtype(_TYPES[code]) if repeat == 1 else np.dtype((_TYPES[code], (repeat,)))


def _native(column: NDArray[Any], header: Mapping[str, str], number: int) -> NDArray[Any]:
    """Values in the machine's byte order, scaled, text decoded, whole numbers that stand for "none" not a number."""
    if column.dtype.kind == "S":
        return np.array([text.partition(b"\0")[0].decode("latin-1").rstrip() for text in column.tolist()], dtype=str)
    if column.dtype == np.int8:  # TFORM L: the letter T or F
        return column == ord("T")
    scale, zero = _value(header, f"TSCAL{number}", 1), _value(header, f"TZERO{number}", 0)
    native = column.astype(column.dtype.newbyteorder("="))
    none = _value(header, f"TNULL{number}", None)
    if none is not None and native.dtype.kind in "iu" and np.any(native == none):
        return np.where(native == none, np.nan, native * scale + zero)
    if (scale, zero) == (1, 0):
        return native
    if column.dtype.kind in "iu" and scale == 1 and isinstance(zero, int):
        return native.astype(np.uint64 if zero == 1 << 63 else np.int64) + zero
    return native * scale + zero
