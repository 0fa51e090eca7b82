"""Read the binary tables of a FITS file quickly, and no further than needed.

This reader inflates a file once and makes arrays of the asked columns only, so that it
is faster than a general FITS library (``benchmarks/speed.py``). It believes nothing: the
sums that guard the content (of gzip, DATASUM, CHECKSUM) must be right, and headers must
fit what is there. Each fault names file, HDU and column or keyword. All writing is left
to `astropy.io.fits`.
"""

from __future__ import annotations

import math
import os
import re
import stat
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from bgnb._util.compression import MAGIC, StreamError, decompress
from bgnb._util.errors import DataError
from bgnb.observations.fits_header import (
    AGAIN,
    BLOCK,
    CARD,
    Header,
    data_size,
    number_of,
    parse_card,
    read_header,
    size_of,
    value_of,
)

#: A gzipped file that inflates to more bytes, or a table of more, is not read: a hundred times a long run, or a trap.
INFLATED_MAX = 1 << 30

_TYPES = {"L": "i1", "B": "u1", "I": ">i2", "J": ">i4", "K": ">i8", "A": "S", "E": ">f4", "D": ">f8", "C": ">c8", "M": ">c16"}
_TYPES |= {"X": "V", "P": ">2i4", "Q": ">2i8"}  # bits; descriptors of arrays of variable length, kept as such
_MOST_REPEATED = 1 << 24  # numbers in a cell


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
    notes : tuple of str
        What is odd about the header, and was borne.
    """

    path: Path
    name: str
    header: Mapping[str, str]
    columns: Mapping[str, NDArray[Any]]
    units: Mapping[str, str]
    defaults: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def get(self, keyword: str, default: Any = None) -> Any:
        """Value of a keyword, or ``default``."""
        value = value_of(self.header, keyword, None)
        if value is None:
            value = self.defaults.get(keyword)
        return default if value is None else value

    def comment(self, keyword: str) -> str:
        """Comment of a keyword."""
        return parse_card(self.header.get(keyword, "")).comment

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
    try:
        with _content(path) as stream:
            found = _find(stream, path, keys, columns)
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"{path}: {_why_missing(path)}") from None
    except StreamError as error:
        raise DataError(f"{path}: {_why_not_inflated(error.code)}") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    except MemoryError:
        raise DataError(f"{path}: to read it takes more memory than there is") from None
    except (ValueError, TypeError, OverflowError) as error:
        raise DataError(f"{path}: a header contradicts itself or the data: {error}") from None
    return [found.get(key) for key in keys]


def _find(
    stream: BinaryIO, path: Path, keys: Collection[str | int], columns: Collection[str] | None
) -> dict[str | int, FitsTable]:
    """The tables that are there, by name in upper case or number."""
    found: dict[str | int, FitsTable] = {}
    end = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    number = 0
    while not found.keys() >= set(keys):
        header = read_header(stream, path, number)
        if header is None:
            break
        name = str(value_of(header.cards, "EXTNAME", "")).strip()
        matching = [key for key in (number, name.upper()) if key in keys and key not in found]
        where = f"{path}, HDU {name or number}"
        size = data_size(header.cards, where)
        is_wanted = bool(matching) and value_of(header.cards, "XTENSION", "") == "BINTABLE"
        if is_wanted:
            _check_form(header.cards, where)
        if size > end - stream.tell():
            raise DataError(f"{where}: the file ends within the table, of which NAXIS2 claims more rows than are there")
        if is_wanted:
            if size > INFLATED_MAX:
                raise DataError(f"{where}: the table has more than {INFLATED_MAX / 2**30:.2g} GiB, where bgnb stops")
            data = stream.read(size + -size % BLOCK)
            _check_end(data, size, stream, where)
            _check_sums(header, data, where)
            table = _make_table(path, name or str(number), header, data, columns)
            found.update(dict.fromkeys(matching, table))
        else:
            stream.seek(size + -size % BLOCK, os.SEEK_CUR)
        number += 1
    return found


def read_table(path: Path, hdu: str | int = 1, columns: Collection[str] | None = None) -> FitsTable:
    """Read one binary table: as `read_tables`, but a missing one is a `DataError`."""
    (table,) = read_tables(path, [hdu], columns)
    if table is None:
        raise DataError(f"{path}: there is no table HDU {hdu}")
    return table


@contextmanager
def _content(path: Path) -> Iterator[BinaryIO]:
    """The file, inflated if it is gzipped. It must be a regular one, and not change while it is read."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise DataError(f"{path}: is {'a folder' if path.is_dir() else 'a pipe or a device'}, not a file")
    with path.open("rb") as file:
        before = os.fstat(file.fileno())
        magic = file.read(2)
        file.seek(0)
        if magic == MAGIC:
            yield BytesIO(decompress(file.read(), INFLATED_MAX))
        else:
            yield file
        after = os.fstat(file.fileno())
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise DataError(f"{path}: changed while it was read; use it when it is complete")


def _why_not_inflated(code: str) -> str:
    if code == "too-large":
        limit = f"{INFLATED_MAX / 2**30:.2g} GiB"
        return f"inflates to more than {limit}, where bgnb stops; inflate it yourself if it is as it should be"
    return ("is cut: its compressed data do not end" if code == "truncated" else "is damaged, and cannot be inflated") + AGAIN


def _why_missing(path: Path) -> str:
    if path.is_symlink():
        return f"is a link to {path.readlink()}, which is not there"
    if "://" in str(path) or re.search(r":/[^/]", str(path)):
        return "there is no such file; files are read from disk, not from URLs"
    return "there is no such file" + ("; variables in paths are not expanded" if "$" in str(path) else "")


def _check_form(header: Mapping[str, str], where: str) -> None:
    """Keywords that have one value only in binary tables."""
    for keyword, value in (("BITPIX", 8), ("NAXIS", 2), ("GCOUNT", 1)):
        if value_of(header, keyword, value) != value:
            raise DataError(f"{where}: keyword {keyword} of a table must be {value}, got {value_of(header, keyword, value)!r}")


def _check_end(data: bytes, size: int, stream: BinaryIO, where: str) -> None:
    """The table must end where its header says: before the next HDU, and with nothing but padding between them."""
    start = data.find(b"XTENSION=")
    while start > 0:
        if start % BLOCK == 0:
            raise DataError(f"{where}: the next HDU begins within the table, of which NAXIS2 claims more rows than are there")
        start = data.find(b"XTENSION=", start + 1)
    follows = stream.read(CARD)
    stream.seek(-len(follows), os.SEEK_CUR)
    if data[size:].strip(b"\0 ") or (follows.strip(b"\0 \n") and not follows.startswith(b"XTENSION=")):
        raise DataError(f"{where}: the table goes on after rows that NAXIS2 claims")


def _check_sums(header: Header, data: bytes, where: str) -> None:
    """DATASUM and CHECKSUM, where they are stated (FITS 4.0, section 4.4.2.7)."""
    if "DATASUM" not in header.cards and "CHECKSUM" not in header.cards:
        return
    advice = "it was damaged, or changed by a program that left the sum as it was"
    data += bytes(-len(data) % 4)
    data_sum = _ones_complement_sum(data)
    stated = str(value_of(header.cards, "DATASUM", "")).strip()
    if stated and (not stated.isdecimal() or int(stated) % 0xFFFFFFFF != data_sum):
        raise DataError(f"{where}: DATASUM does not fit the table: {advice}")
    if value_of(header.cards, "CHECKSUM", None) and (_ones_complement_sum(header.content) + data_sum) % 0xFFFFFFFF:
        raise DataError(f"{where}: CHECKSUM does not fit the HDU: {advice}")


def _ones_complement_sum(data: bytes) -> int:
    """Sum of 32-bit words with the carry added at the other end; 0 for both zeros of that arithmetic."""
    return int(np.frombuffer(data, ">u4").sum(dtype=np.uint64)) % 0xFFFFFFFF


def _text(raw: bytes) -> str:
    """Text of a column; FITS knows ASCII only, but files have names in UTF-8, too."""
    raw = raw.partition(b"\0")[0]
    try:
        return raw.decode().rstrip()
    except UnicodeDecodeError:
        return raw.decode("latin-1").rstrip()


def _make_table(path: Path, name: str, hdu: Header, data: bytes, columns: Collection[str] | None) -> FitsTable:
    where = f"{path}, HDU {name}"
    header = hdu.cards
    rows, width = size_of(header, "NAXIS2", where), size_of(header, "NAXIS1", where)
    fields: dict[str, tuple[int, Any, int]] = {}  # name: TTYPE number, numpy type, offset in the row
    offset = 0
    for number in range(1, size_of(header, "TFIELDS", where) + 1):
        column = str(value_of(header, f"TTYPE{number}", "")).strip().upper()
        form = str(value_of(header, f"TFORM{number}", ""))
        kind = _numpy_type(form)
        if kind is None:
            raise DataError(f"{where}: column {column or number} has the unknown format {form!r} (TFORM{number})")
        if columns is None or column in columns:
            fields.setdefault(column, (number, kind, offset))
        offset += kind.itemsize
    if offset != width or not width:
        raise DataError(f"{where}: the columns take {offset} bytes a row, but NAXIS1 says {width}")
    numbers, kinds, offsets = zip(*fields.values(), strict=True) if fields else ((), (), ())
    dtype = np.dtype({"names": list(fields), "formats": kinds, "offsets": offsets, "itemsize": width})
    records: NDArray[Any] = np.ndarray((rows,), dtype, buffer=data)
    arrays = {column: _native(records[column], header, number, where) for column, number in zip(fields, numbers, strict=True)}
    units = {
        column: str(value_of(header, f"TUNIT{number}", "")).strip() for column, number in zip(fields, numbers, strict=True)
    }
    return FitsTable(path, name, header, arrays, units, notes=hdu.notes)


@cache
def _numpy_type(tform: str) -> np.dtype[Any] | None:
    form = re.match(r"\s*(\d*)([A-Z])", tform)
    if not form or form[2] not in _TYPES:
        return None
    repeat, code = int(form[1] or 1), form[2]
    if repeat > _MOST_REPEATED:
        return None
    if code == "X":
        return np.dtype(f"V{(repeat + 7) // 8}")
    if code == "A":
        return np.dtype(f"S{repeat}")
    return np.dtype(_TYPES[code]) if repeat == 1 else np.dtype((_TYPES[code], (repeat,)))


def _native(column: NDArray[Any], header: Mapping[str, str], number: int, where: str) -> NDArray[Any]:
    """Values in the machine's byte order, scaled, text decoded, whole numbers that stand for "none" not a number."""
    if column.dtype.kind == "S":
        raw = column.tolist()
        texts = {text: _text(text) for text in set(raw)}
        return np.array([texts[text] for text in raw], dtype=str)
    if column.dtype == np.int8:  # TFORM L: the letter T or F
        return column == ord("T")
    scale, zero = number_of(header, f"TSCAL{number}", where, 1), number_of(header, f"TZERO{number}", where, 0)
    native = column.astype(column.dtype.newbyteorder("="))
    none = value_of(header, f"TNULL{number}", None)
    if none is not None and native.dtype.kind in "iu" and np.any(native == none):
        return np.where(native == none, np.nan, native * scale + zero)
    if (scale, zero) == (1, 0):
        return native
    if column.dtype.kind in "iu" and scale == 1 and isinstance(zero, int):
        return native.astype(np.uint64 if zero == 1 << 63 else np.int64) + zero
    return native * scale + zero
