"""Write FITS files with checksums; equal content gives bit-identical files.

An HDU is made as the bytes of the file, header and data with their checksums, which takes a tenth of the time of the
objects of Astropy. Astropy formats the cards, and makes the HDUs of other tables and images. The files contain no time
stamps, unless SOURCE_DATE_EPOCH is set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.table import Table
from numpy.typing import NDArray

from bgnb._util.arrays import blocks
from bgnb._util.compression import compress
from bgnb._version import __version__
from bgnb.files.output_file import source_date, write_file

GADF_KEYWORDS = {
    "HDUCLASS": "GADF",
    "HDUDOC": "https://github.com/open-gamma-ray-astro/gamma-astro-data-formats",
    "HDUVERS": "0.3",
}
_BLOCK = 2880
#: Numpy types by the letter of a TFORM.
_TYPES = {"D": ">f8", "E": ">f4", "J": ">i4", "K": ">i8"}
_CHECKSUM = {"CHECKSUM": ("0" * 16, "when written"), "DATASUM": ("0", "when written")}


def primary_hdu(keywords: Mapping[str, Any] | None = None, image: np.ndarray | None = None) -> memoryview:
    """Make a primary HDU with the version of bgnb.

    Parameters
    ----------
    keywords : mapping, optional
        Further keywords: values, or values and comments.
    image : ndarray of float32, optional
        An image.
    """
    shape = () if image is None else image.shape
    cards = {
        "SIMPLE": (True, "conforms to FITS standard"),
        "BITPIX": (8 if image is None else -32, "array data type"),
        "NAXIS": (len(shape), "number of array dimensions"),
        **{f"NAXIS{number}": length for number, length in enumerate(reversed(shape), start=1)},
        "EXTEND": True,
        "CREATOR": f"bgnb {__version__}",
    }
    if date := source_date():
        cards["DATE"] = date.strftime("%Y-%m-%dT%H:%M:%S")

    def write(data: NDArray[np.uint8]) -> None:
        if image is not None:
            data.view(">f4")[:] = image.ravel()

    return _hdu(0 if image is None else 4 * image.size, write, cards, keywords or {})


def columns_hdu(
    name: str, columns: Mapping[str, tuple[str, str, Any]], keywords: Mapping[str, Any] | None = None
) -> memoryview:
    """Make an HDU of a table of numbers.

    Parameters
    ----------
    name : str
        Name of the HDU.
    columns : mapping of str to tuple
        Of each column the type (D, E, J or K), the unit, which may be empty, and the values, shape (rows, ...).
    keywords : mapping, optional
        Further keywords: values, or values and comments.
    """
    arrays = {column: np.asarray(values) for column, (_, _, values) in columns.items()}
    types = np.dtype([(column, _TYPES[code], arrays[column].shape[1:]) for column, (code, _, _) in columns.items()])
    n_rows = len(next(iter(arrays.values())))
    described: dict[str, Any] = {}
    for number, (column, (code, unit, _)) in enumerate(columns.items(), start=1):
        cell = arrays[column].shape[1:]
        described |= {f"TTYPE{number}": column, f"TFORM{number}": f"{np.prod(cell, dtype=int) if cell else ''}{code}"}
        described |= {f"TUNIT{number}": unit} if unit else {}
        described |= {f"TDIM{number}": f"({','.join(map(str, reversed(cell)))})"} if len(cell) > 1 else {}
    cards = {
        "XTENSION": ("BINTABLE", "binary table extension"),
        "BITPIX": (8, "array data type"),
        "NAXIS": (2, "number of array dimensions"),
        "NAXIS1": (types.itemsize, "length of dimension 1"),
        "NAXIS2": (n_rows, "length of dimension 2"),
        "PCOUNT": (0, "number of group parameters"),
        "GCOUNT": (1, "number of groups"),
        "TFIELDS": (len(columns), "number of table fields"),
        **described,
        "EXTNAME": (name, "extension name"),
    }

    def write(data: NDArray[np.uint8]) -> None:
        rows = data.view(types)
        for block in blocks(n_rows):
            for column, values in arrays.items():
                rows[column][block] = values[block]

    return _hdu(n_rows * types.itemsize, write, cards, keywords or {})


def table_hdu(table: Table, name: str, keywords: Mapping[str, Any] | None = None) -> memoryview:
    """Make an HDU of a table; its metadata become keywords, except those with names of more than eight characters."""
    hdu = fits.table_to_hdu(Table(table, meta={key: value for key, value in table.meta.items() if len(key) <= 8}))
    hdu.header["EXTNAME"] = name
    hdu.header.update(keywords or {})
    return extension(hdu)


def index_hdu(table: Table, kind: str) -> memoryview:
    """Make an index of a data store: of observations (kind OBS) or of HDUs (kind HDU)."""
    return table_hdu(table, f"{kind}_INDEX", GADF_KEYWORDS | {"HDUCLAS1": "INDEX", "HDUCLAS2": kind})


def extension(hdu: Any) -> memoryview:
    """Return the bytes of an extension made by Astropy, with checksums."""
    # `when` is written to a comment; without a time, equal content gives bit-identical files.
    hdu.add_checksum(when="when written")
    buffer = BytesIO()
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(buffer)
    return buffer.getbuffer()[_BLOCK:]


def write_fits(path: Path, hdus: Iterable[memoryview], *, overwrite: bool = True) -> None:
    """Write HDUs to a file, which is compressed if its name ends in ``.gz``; for errors see `write_file`."""
    write_file(path, compress(b"".join(hdus)) if path.suffix == ".gz" else hdus, overwrite=overwrite)


def _hdu(size: int, write: Callable[[NDArray[np.uint8]], None], *keywords: Mapping[str, Any]) -> memoryview:
    """Make an HDU of data, which are written to its memory, and keywords.

    Later values replace earlier ones, but not their comments.
    """
    cards: dict[str, tuple[Any, str]] = {}
    for group in (*keywords, _CHECKSUM):
        for name, stated in group.items():
            comment = cards.get(name.upper(), (None, ""))[1]
            cards[name.upper()] = stated if isinstance(stated, tuple) else (stated, comment)
    header = _header(cards)
    start = len(header)
    content = np.empty(start + size + -size % _BLOCK, np.uint8)
    content[start + size :] = 0
    write(content[start : start + size])
    datasum = _sum_of_words(content[start:])
    of_zero, of_sum = (_card("DATASUM", value, cards["DATASUM"][1]).encode() for value in ("0", str(datasum)))
    header = header.replace(of_zero, of_sum)
    before, zeros, after = header.rpartition(b"CHECKSUM= '" + b"0" * 16)
    checksum = _encoded(~_sum_of_words(header, datasum) & 0xFFFFFFFF)
    content[:start] = np.frombuffer(before + zeros.replace(b"0" * 16, checksum) + after, np.uint8)
    return content.data


def _header(cards: Mapping[str, tuple[Any, str]]) -> bytes:
    text = "".join(_card(name, *stated) for name, stated in cards.items()) + "END".ljust(80)
    return text.encode("ascii").ljust(-(-len(text) // _BLOCK) * _BLOCK)


def _card(name: str, value: Any, comment: str) -> str:
    """Format a card; those that most files have are kept."""
    # -0.0 and 0.0 are equal, but not their cards.
    return _formatted(name, value, comment) if isinstance(value, str | int) else str(fits.Card(name, value, comment))


@lru_cache(maxsize=1000, typed=True)
def _formatted(name: str, value: str | int, comment: str) -> str:
    return str(fits.Card(name, value, comment))


def _sum_of_words(content: bytes | NDArray[np.uint8], start: int = 0) -> int:
    """Add up the 32-bit words of blocks in ones' complement, as CHECKSUM and DATASUM are defined."""
    total = start + int(np.frombuffer(content, ">u4").sum(dtype=np.uint64))
    while total >> 32:
        total = (total & 0xFFFFFFFF) + (total >> 32)
    return total


def _encoded(number: int) -> bytes:
    """Write 32 bits as 16 letters and digits, whose sum of words is the number (FITS standard, appendix J)."""
    quads = []
    for byte in number.to_bytes(4, "big"):
        quad = [byte // 4 + ord("0")] * 4
        quad[0] += byte % 4
        for first in (0, 2):
            while any(code in b":;<=>?@[\\]^_`" for code in quad[first : first + 2]):
                quad[first] += 1
                quad[first + 1] -= 1
        quads.append(quad)
    codes = [code for place in zip(*quads, strict=True) for code in place]
    return bytes([codes[-1], *codes[:-1]])
