"""Fast reader of binary tables in FITS files.

This reader decompresses a file once and makes arrays of the requested columns only, which
is faster than a general FITS library (``benchmarks/speed.py``). Large tables are read in pieces,
so that the memory is that of the requested columns. It verifies all checksums (gzip, DATASUM,
CHECKSUM), and that headers agree with the data. Errors name the file, the HDU, and the column or
keyword. Files are written by `bgnb.files.fits_writer`.
"""

from __future__ import annotations

import os
import re
from bz2 import BZ2File
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from bgnb._util.compression import MAGIC, GzipReader, StreamError, decompress
from bgnb._util.errors import DataError, shortened
from bgnb._util.reading import open_file
from bgnb.observations.fits_columns import columns_of, to_native, variable_size
from bgnb.observations.fits_header import AGAIN, BLOCK, CARD, HduClass, Header, read_header

#: Maximum number of rows of a table that Astropy reads, each of which takes 15 to 45 µs.
ROWS_MAX = 1_000_000
# Maximum number of HDUs that Astropy reads, each of which takes half a millisecond.
_HDUS_MAX = 1000
#: Maximum size of the columns that are read from a table, and of the content of a gzip file up to `SMALL`, bytes.
INFLATED_MAX = 1 << 30
#: Maximum size of a gzip file that is decompressed as a whole, bytes. The content of a larger file, which is decompressed
#: in pieces, is at most `MAX_RATIO` times as large as the file.
SMALL = 1 << 24
MAX_RATIO = INFLATED_MAX // SMALL

# Cards without a value, and keywords of sizes.
_COMMENTS = ("COMMENT ", "HISTORY ", "CONTINUE", "HIERARCH", 8 * " ")
_SIZES = re.compile(r"XTENSION|BITPIX|Z?NAXIS\d*|[PG]COUNT|THEAP|TFIELDS|Z?TFORM\d+|TDIM\d+|ZTILE\d+")
# Bytes of a table that are read at a time.
_PIECE = 4096 * BLOCK
_MORE_ROWS = "the table has more rows than NAXIS2 says"
_NOT_UPDATED = (
    "the file was damaged, or changed by a program that did not update the sum; copy the file again, or update the sum, "
    "in Astropy with checksum=True"
)
_ENDS_WITHIN = "the file ends within the table: it is truncated, or NAXIS2 is too large"


@dataclass(frozen=True, kw_only=True)
class FitsTable(Header):
    """Binary table HDU: its header, and the requested columns.

    Parameters
    ----------
    columns : mapping of str to ndarray
        Columns by name in upper case, scaled by TSCAL and TZERO; text without padding.
    units : mapping of str to str
        TUNIT of these columns, "" if there is none.
    repeated : frozenset of str
        Names of columns that occur more than once; the first is read.
    twins : int
        Number of further tables with the same name in the file.
    """

    columns: Mapping[str, NDArray[Any]]
    units: Mapping[str, str]
    repeated: frozenset[str] = frozenset()
    twins: int = 0

    def column(self, name: str) -> NDArray[Any]:
        """Return a column, or raise a `DataError` if it is missing."""
        if name not in self.columns:
            raise self.error("missing-column", f"column {name} is missing")
        return self.columns[name]


def _raise(error: DataError) -> None:
    raise error


def read_table(
    path: Path,
    hdu: str | int | HduClass = 1,
    columns: Collection[str] | None = None,
    refuse: Callable[[DataError], None] = _raise,
) -> FitsTable:
    """Read one binary table, which must exist; see `read_tables`."""
    (table,) = read_tables(path, [hdu], columns, refuse=refuse)
    if table is None:
        raise DataError("missing-hdu", f"{path}: there is no table HDU {hdu}")
    return table


def read_tables(
    path: Path,
    wanted: Collection[str | int | HduClass],
    columns: Collection[str] | None = None,
    content: Callable[[], bytes] | None = None,
    refuse: Callable[[DataError], None] = _raise,
) -> list[FitsTable | None]:
    """Read binary tables from a FITS file, plain or gzipped.

    Parameters
    ----------
    path : `~pathlib.Path`
        The file.
    wanted : collection of str, int or `~bgnb.observations.fits_header.HduClass`
        The HDUs, by name (any case), number (0 is the primary HDU) or content.
    columns : collection of str, optional
        Names of the columns to read; all by default. Missing columns are ignored.
    content : callable, optional
        Function that returns the content of a file in memory, of which ``path`` is only the name.
    refuse : callable
        Function that is called with the error of a table that does not agree with its DATASUM or CHECKSUM, and raises it
        unless such tables are allowed.

    Returns
    -------
    list of `FitsTable` or None
        Tables in the order of ``wanted``; None if there is no such table.

    Raises
    ------
    DataError
        If the file cannot be read, its data do not agree with its headers, or several HDUs have
        the same wanted content.
    """
    keys = [key.upper() if isinstance(key, str) else key for key in wanted]
    with _errors_explained(path), _decompressed(path) if content is None else BytesIO(content()) as stream:
        found = _find(stream, path, keys, columns, refuse)
    return [found.get(key) for key in keys]


def read_headers(path: Path) -> Iterator[Header]:
    """Read the headers of a FITS file one by one; a gzipped file is decompressed only as far as they are requested.

    Raises
    ------
    DataError
        If the file cannot be read up to the next header.
    """
    with _errors_explained(path), open_file(path) as file:
        max_size = _max_content(file) if _is_gzip(file) else None
        stream = GzipReader(file, max_size) if max_size else file
        number = 0
        while header := read_header(stream, path, number):
            yield header
            size = header.data_size()
            if max_size and stream.tell() + size > max_size:  # before it is skipped
                raise StreamError("too-large")
            stream.seek(max(size - 1, 0), os.SEEK_CUR)
            if size and not stream.read(1):
                raise header.error("truncated", _ENDS_WITHIN)
            stream.seek(-size % BLOCK, os.SEEK_CUR)
            number += 1


def read_content(path: Path, *, verify: bool = True) -> BytesIO:
    """Read a whole FITS file, plain or compressed by gzip or bzip2, as far as its headers state its size.

    Parameters
    ----------
    path : path
        The file.
    verify : bool
        Compare the data with DATASUM. CHECKSUM is not compared: programs that edit keywords leave the old one.

    Raises
    ------
    DataError
        If the file cannot be read, does not end with its last HDU, does not agree with DATASUM, or is larger than
        `INFLATED_MAX`.
    """
    content = BytesIO()
    with _errors_explained(path), open_file(path) as file:
        is_bzip2 = file.read(3) == b"BZh"
        file.seek(0)
        stream: Any = GzipReader(file, INFLATED_MAX) if _is_gzip(file) else BZ2File(file) if is_bzip2 else file
        number = 0
        while header := read_header(stream, path, number):
            if number > _HDUS_MAX:
                raise DataError("too-large", f"{path}: has more than {_HDUS_MAX} HDUs, the maximum")
            _check_cards(header)
            content.write(header.content)
            size = header.data_size()
            is_binary = header.get("XTENSION") in ("BINTABLE", "A3DTABLE")  # for Astropy the same
            if is_binary or header.get("XTENSION") == "TABLE":
                if header.get("NAXIS1") == 0 and header.get("NAXIS2"):
                    raise header.error("bad-header", "a table has rows without bytes")  # in which NumPy would count without end
                if header.size("NAXIS2", 0) > ROWS_MAX:
                    raise header.error("too-large", f"has more than the maximum of {ROWS_MAX:,} rows")
            padded = size + -size % BLOCK
            if content.tell() + padded > INFLATED_MAX:
                raise header.error("too-large", f"the file is larger than {INFLATED_MAX / 2**30:.2g} GiB, the maximum")
            data = stream.read(padded)
            if len(data) < size:
                raise header.error("truncated", _ENDS_WITHIN)
            if is_binary and variable_size(header, data) > INFLATED_MAX:
                what = f"arrays of variable length are larger than {INFLATED_MAX / 2**30:.2g} GiB, the maximum"
                raise header.error("too-large", what)
            data = data.ljust(padded, b"\0")
            if verify and "DATASUM" in header.cards:
                _check_data_sum(header, _ones_complement_sum(data))
            content.write(data)
            number += 1
        if isinstance(stream, GzipReader):
            stream.finish()
    content.seek(0)
    return content


def _check_cards(header: Header) -> None:
    """Refuse cards in which Astropy would read other sizes: with = before column 9, or of a keyword that is repeated."""
    text = header.content.decode("latin-1")
    sizes: set[str] = set()
    for card in (text[start : start + CARD] for start in range(0, len(text), CARD)):
        if card.startswith("END     "):
            break
        if 0 <= card.find("= ") < 8 and not card.startswith(_COMMENTS):
            raise header.error("bad-header", f"the = of the card '{shortened(card.rstrip())}' must be in column 9")
        name = card[8:].partition("=")[0] if card.startswith("HIERARCH") else card[:8]
        if _SIZES.fullmatch(name := name.strip().upper()):
            if name in sizes:
                raise header.error("bad-header", f"keyword {name} appears more than once")
            sizes.add(name)


@contextmanager
def _errors_explained(path: Path) -> Iterator[None]:
    """Raise all errors in reading a file as a `DataError` that names it."""
    try:
        yield
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError("not-found", f"{path}: {_why_missing(path)}") from None
    except StreamError as error:
        raise DataError(error.code, f"{path}: {why_not_decompressed(error.code)}") from None
    except OSError as error:
        raise DataError("unreadable", f"{path}: cannot be read: {error.strerror}") from None
    except MemoryError:
        raise DataError("too-large", f"{path}: there is not enough memory to read it") from None
    except (ValueError, TypeError, OverflowError) as error:
        raise DataError("bad-header", f"{path}: a header contradicts itself or the data: {error}") from None


def _find(
    stream: BinaryIO | GzipReader,
    path: Path,
    keys: Collection[str | int | HduClass],
    columns: Collection[str] | None,
    refuse: Callable[[DataError], None],
) -> dict[str | int | HduClass, FitsTable]:
    """Read the wanted tables that exist, by name in upper case, number or content."""
    found: dict[str | int | HduClass, FitsTable] = {}
    by_class = any(isinstance(key, HduClass) for key in keys)  # there must not be a second one
    twins: dict[str, int] = {}
    text_tables: dict[str, Header] = {}
    end = None
    if not isinstance(stream, GzipReader):
        end = stream.seek(0, os.SEEK_END)
        stream.seek(0)
    number = 0
    while header := read_header(stream, path, number):
        if header.get("XTENSION") == "BINTABLE":
            twins[header.name.upper()] = twins.get(header.name.upper(), -1) + 1
        content = header.hdu_class if by_class else None
        if content and content in found:
            which = f"HDUs {found[content].hdu} and {number} both contain {content.name}"
            raise DataError("ambiguous-hdu", f"{path}: {which}; name one of them in index files (scheme GADF)")
        names: list[str | int | HduClass] = [number, header.name.upper(), *([content] if content else [])]
        matching = [key for key in names if key in keys and key not in found]
        if header.get("XTENSION") == "TABLE":
            text_tables[header.name.upper()] = header
        size = header.data_size()
        is_wanted = bool(matching) and header.get("XTENSION") == "BINTABLE"
        if is_wanted:
            _check_form(header)
        if end is not None and size > end - stream.tell():
            raise header.error("truncated", _ENDS_WITHIN)
        if is_wanted:
            found.update(dict.fromkeys(matching, _read_table(header, stream, columns, refuse)))
        elif stream.tell() + size > stream.seek(size + -size % BLOCK, os.SEEK_CUR):
            raise header.error("truncated", _ENDS_WITHIN)
        number += 1
    if isinstance(stream, GzipReader):
        stream.finish()
    for key in (HduClass.EVENTS, HduClass.GTI):  # other HDUs are optional
        if {key, key.name} & {*keys} and not {key, key.name} & found.keys() and key.name in text_tables:
            raise text_tables[key.name].error("bad-header", "this is an ASCII table; convert it to a binary table")
    return {key: replace(table, twins=twins[table.name.upper()]) if table.name else table for key, table in found.items()}


def _is_gzip(file: BinaryIO) -> bool:
    """Check the first bytes of a file."""
    magic = file.read(2)
    file.seek(0)
    return magic == MAGIC


def _max_content(file: BinaryIO) -> int:
    """Compute the maximum size of the content of a gzip file, which refuses gzip bombs."""
    return max(INFLATED_MAX, MAX_RATIO * size if (size := os.fstat(file.fileno()).st_size) > SMALL else 0)


@contextmanager
def _decompressed(path: Path) -> Iterator[BinaryIO | GzipReader]:
    """Open a regular file, decompress it if it is gzipped, and check that it does not change while it is read."""
    with open_file(path) as file:
        before = os.fstat(file.fileno())
        if _is_gzip(file) and before.st_size > SMALL:
            yield GzipReader(file, _max_content(file))
        elif _is_gzip(file):
            yield BytesIO(decompress(file.read(), INFLATED_MAX))
        else:
            yield file
        after = os.fstat(file.fileno())
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise DataError("changed", f"{path}: changed while it was read; wait until it is complete")


def why_not_decompressed(code: str) -> str:
    """Explain the code of a `~bgnb._util.compression.StreamError`."""
    if code == "too-large":
        limit = f"{INFLATED_MAX / 2**30:.2g} GiB and {MAX_RATIO} times the size of the file"
        return f"is larger than {limit} when decompressed; decompress it if this is intended"
    reason = "is truncated (incomplete gzip stream)" if code == "truncated" else "is damaged and cannot be decompressed"
    return f"{reason}{AGAIN}"


def _why_missing(path: Path) -> str:
    if path.is_symlink():
        return f"is a link to {path.readlink()}, which does not exist"
    if "://" in str(path) or re.search(r":/[^/]", str(path)):
        return "there is no such file; files are read from disk, not from URLs"
    advice = "; --allow path-variables expands variables in paths, if they are set" if "$" in str(path) else ""
    return f"there is no such file{advice}"


def _check_form(header: Header) -> None:
    """Check keywords that have a fixed value in binary tables."""
    for keyword, value in (("BITPIX", 8), ("NAXIS", 2), ("GCOUNT", 1)):
        if (stated := header.get(keyword, value)) != value:
            raise header.error("bad-keyword", f"keyword {keyword} of a table must be {value}, got {stated!r}")
    if header.get("ZTABLE") is True:
        raise header.error("not-fits", "is a table that fpack compressed; decompress the file with funpack, or use gzip")


def _read_table(
    header: Header, stream: BinaryIO | GzipReader, columns: Collection[str] | None, refuse: Callable[[DataError], None]
) -> FitsTable:
    """Read the wanted columns of a table, and check that it ends where its header says, its padding and its sums."""
    used, repeated = columns_of(header, columns)
    numbers, kinds, offsets = zip(*used.values(), strict=True) if used else ((), (), ())
    rows, width, size = header.size("NAXIS2"), header.size("NAXIS1"), header.data_size()
    if rows * sum(kind.itemsize for kind in kinds) > INFLATED_MAX:
        raise header.error("too-large", f"the columns to read are larger than {INFLATED_MAX / 2**30:.2g} GiB, the maximum")
    if width > INFLATED_MAX:
        raise header.error("too-large", f"a row is larger than {INFLATED_MAX / 2**30:.2g} GiB, the maximum")
    dtype = np.dtype({"names": list(used), "formats": kinds, "offsets": offsets, "itemsize": width})
    arrays: dict[str, NDArray[Any]] = {}
    has_sum = "DATASUM" in header.cards or "CHECKSUM" in header.cards
    position = data_sum = 0
    held: list[bytes] = []  # the beginning of a row
    n_held = done = 0
    while not position or position < size:
        wanted = min(_PIECE, size + -size % BLOCK - position)
        piece = stream.read(wanted)
        if len(piece) < wanted and position + len(piece) < size:
            raise header.error("truncated", _ENDS_WITHIN)
        _check_piece(header, piece, position, size)
        if has_sum:
            data_sum += _ones_complement_sum(piece + bytes(-len(piece) % 4))
        position += len(piece)
        held.append(piece)
        n_held += len(piece)
        if n_held < width and position < size:
            continue
        rest = held[0] if len(held) == 1 else b"".join(held)
        number = min(len(rest) // width, rows - done)
        records: NDArray[Any] = np.ndarray((number,), dtype, buffer=rest)
        for name, (column, kind, _) in used.items():
            part = to_native(records[name], header, column)
            arrays[name] = part if number == rows else _filled(arrays.get(name), part, done, rows, kind.itemsize)
        done += number
        held = [rest[number * width :]] if done < rows else []
        n_held = sum(map(len, held))
        if not wanted:
            break
    follows = stream.read(CARD)
    stream.seek(-len(follows), os.SEEK_CUR)
    if follows.strip(b"\0 \n") and not follows.startswith(b"XTENSION="):
        raise header.error("bad-header", _MORE_ROWS)
    if has_sum:
        try:
            _check_sums(header, data_sum % 0xFFFFFFFF)
        except DataError as error:
            refuse(error)
    units = {name: str(header.get(f"TUNIT{number}", "")).strip() for name, number in zip(used, numbers, strict=True)}
    stated = {part.name: getattr(header, part.name) for part in fields(header)}
    return FitsTable(**stated, columns=arrays, units=units, repeated=repeated)


def _filled(array: NDArray[Any] | None, part: NDArray[Any], start: int, rows: int, width: int) -> NDArray[Any]:
    """Put a part of the rows into the array of a column, which is made for all rows, again if its type must become wider.

    A text gets all of its ``width`` at first, if it uses half of it.
    """
    kind = part.dtype if array is None else np.promote_types(array.dtype, part.dtype)
    if kind.kind == "U" and width * 4 <= 2 * kind.itemsize:
        kind = np.dtype(f"U{width}")
    if array is None or array.dtype != kind:
        wider = np.empty((rows, *part.shape[1:]), kind)
        if array is not None:
            wider[:start] = array[:start]
        array = wider
    array[start : start + len(part)] = part
    return array


def _check_piece(header: Header, piece: bytes, position: int, size: int) -> None:
    """Check that no HDU starts within a table, and that nothing but padding follows it; pieces start at a block."""
    start = piece.find(b"XTENSION=")
    while start >= 0:
        if start % BLOCK == 0 and position + start:
            raise header.error("bad-header", "the next HDU starts within the table; NAXIS2 is too large")
        start = piece.find(b"XTENSION=", start + 1)
    if piece[max(size - position, 0) :].strip(b"\0 "):
        raise header.error("bad-header", _MORE_ROWS)


def _check_data_sum(header: Header, data_sum: int) -> None:
    """Check DATASUM, if it is stated (FITS 4.0, section 4.4.2.7)."""
    stated = str(header.get("DATASUM", "")).strip()
    if stated and (not stated.isdecimal() or int(stated) % 0xFFFFFFFF != data_sum):
        raise header.error("damaged", f"DATASUM does not agree with the data: {_NOT_UPDATED}")


def _check_sums(header: Header, data_sum: int) -> None:
    """Check DATASUM and CHECKSUM, as far as they are stated."""
    _check_data_sum(header, data_sum)
    if header.get("CHECKSUM") and (_ones_complement_sum(header.content) + data_sum) % 0xFFFFFFFF:
        raise header.error("damaged", f"CHECKSUM does not agree with the HDU: {_NOT_UPDATED}")


def _ones_complement_sum(data: bytes) -> int:
    """Add 32-bit words in ones' complement arithmetic; both of its zeros become 0."""
    return int(np.frombuffer(data, ">u4").sum(dtype=np.uint64)) % 0xFFFFFFFF
