"""Columns of binary tables in FITS files: where they are in a row, and their values."""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bgnb.observations.fits_header import Header

_TYPES = {"L": "i1", "B": "u1", "I": ">i2", "J": ">i4", "K": ">i8", "A": "S", "E": ">f4", "D": ">f8", "C": ">c8", "M": ">c16"}
_TYPES |= {"X": "V", "P": ">2i4", "Q": ">2i8"}  # bits; descriptors of variable-length arrays, which are not followed
_MAX_REPEAT = 1 << 24  # elements of a cell
# Memory of an element of a variable-length array, and of an array besides its elements, bytes.
_ELEMENT, _ARRAY = 8, 128


def columns_of(
    header: Header, columns: Collection[str] | None
) -> tuple[dict[str, tuple[int, np.dtype[Any], int]], frozenset[str]]:
    """Return the number, type and offset in the row of the wanted columns, and the names that occur more than once."""
    width = header.size("NAXIS1")
    used: dict[str, tuple[int, np.dtype[Any], int]] = {}
    repeated: set[str] = set()
    offset = 0
    for number in range(1, header.size("TFIELDS") + 1):
        name = str(header.get(f"TTYPE{number}", "")).strip().upper()
        tform = str(header.get(f"TFORM{number}", ""))
        if (kind := _numpy_type(tform)) is None:
            raise header.error("bad-header", f"column {name or number} has the unknown format {tform!r} (TFORM{number})")
        if columns is None or name in columns:
            if name in used:
                repeated.add(name)
            used.setdefault(name, (number, kind, offset))
        offset += kind.itemsize
    if offset != width or not width:
        raise header.error("bad-header", f"rows have {offset} bytes by their columns, but {width} by NAXIS1")
    return used, frozenset(repeated)


@cache
def _numpy_type(tform: str) -> np.dtype[Any] | None:
    """Parse a TFORM; None if it is unknown."""
    form = re.match(r"\s*(\d*)([A-Z])", tform)
    if not form or form[2] not in _TYPES or int(form[1] or 1) > _MAX_REPEAT:
        return None
    repeat, code = int(form[1] or 1), form[2]
    if code == "X":
        return np.dtype(f"V{(repeat + 7) // 8}")
    if code == "A":
        return np.dtype(f"S{repeat}")
    return np.dtype(_TYPES[code]) if repeat == 1 else np.dtype((_TYPES[code], (repeat,)))


def to_native(column: NDArray[Any], header: Header, number: int) -> NDArray[Any]:
    """Convert to native byte order, scale, decode text, and replace TNULL by NaN."""
    if column.dtype.kind == "S":
        raw = column.tolist()
        texts = {text: _decode(text) for text in set(raw)}
        return np.array([texts[text] for text in raw], dtype=str)
    if column.dtype == np.int8:  # TFORM L: the letter T or F
        return column == ord("T")
    with np.errstate(invalid="ignore", over="ignore"):  # of damaged numbers, which are refused or noted as such
        return _scaled(column, header, number)


def _scaled(column: NDArray[Any], header: Header, number: int) -> NDArray[Any]:
    """Convert numbers to native byte order, scale them, and replace TNULL by NaN."""
    scale, zero = header.number(f"TSCAL{number}", 1), header.number(f"TZERO{number}", 0)
    native = column.astype(column.dtype.newbyteorder("="))
    null = header.get(f"TNULL{number}")
    if null is not None and native.dtype.kind in "iu" and np.any(native == null):
        return np.where(native == null, np.nan, native * scale + zero)
    if (scale, zero) == (1, 0):
        return native
    if column.dtype.kind in "iu" and scale == 1 and zero.is_integer():
        return native.astype(np.uint64 if zero == 1 << 63 else np.int64) + int(zero)
    double = np.promote_types(native.dtype, np.float64)  # times in single precision since TZERO
    return native.astype(double) * scale + zero


def _decode(raw: bytes) -> str:
    """Decode the text of a column, which should be ASCII but may be UTF-8 or Latin-1."""
    raw = raw.partition(b"\0")[0]
    try:
        return raw.decode().rstrip()
    except UnicodeDecodeError:
        return raw.decode("latin-1").rstrip()


def variable_size(header: Header, data: bytes) -> int:
    """Estimate the memory of the variable-length arrays of a table, bytes; several may be the same part of the file."""
    rows, width, offset, size = header.size("NAXIS2"), header.size("NAXIS1"), 0, 0
    table = np.frombuffer(data, np.uint8, rows * width).reshape(rows, width)
    for number in range(1, header.size("TFIELDS") + 1):
        tform = str(header.get(f"TFORM{number}", "")).strip()
        if (kind := _numpy_type(tform)) is None:  # which Astropy refuses
            break
        if (code := tform.lstrip("0123456789")[0]) in "PQ":
            cells = np.ascontiguousarray(table[:, offset : offset + kind.itemsize])
            lengths = cells.view(">i4" if code == "P" else ">i8")[:, ::2].clip(0)
            size += int(lengths.sum(dtype=float)) * _ELEMENT + lengths.size * _ARRAY
        offset += kind.itemsize
    return size
