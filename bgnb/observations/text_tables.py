"""Limits that Astropy does not set for tables as text: they name no other files or addresses, and fit into memory."""

from __future__ import annotations

import csv
import math
import re
from itertools import takewhile, zip_longest
from xml.parsers import expat

from bgnb.observations.fits_table import INFLATED_MAX

# Memory of an element of an array in a VOTable, and of a letter, bytes.
_ELEMENT, _LETTER = 16, 4
# Maximum size of the header of an ECSV file, bytes: Astropy takes a minute for a few MiB.
_HEADER_MAX = 1 << 20


def check_text_table(content: bytes, format: str) -> None:
    """Refuse a table that would read other files, or take much more memory than its file.

    Parameters
    ----------
    content : bytes
        The file.
    format : str
        Name of its format in Astropy; others than VOTable, ECSV and CSV are not checked.

    Raises
    ------
    ValueError
        If it is such a table; the message says why.
    """
    if format == "votable":
        _check_votable(content)
    elif format in ("ascii.ecsv", "ascii.csv"):
        lines = content.decode().splitlines(keepends=True)
        header = [*takewhile(lambda line: line.strip()[:1] in ("#", ""), lines)]
        if sum(map(len, header)) > _HEADER_MAX:
            raise ValueError(f"its header is larger than {_HEADER_MAX >> 20} MiB, the maximum")
        if len(lines) * len(content) * _LETTER > INFLATED_MAX:  # it may be too large
            _check_size(max(_size_of_cells(lines[len(header) :], delimiter) for delimiter in ", "))


def _check_size(size: float) -> None:
    if size > INFLATED_MAX:
        raise ValueError(f"it would be larger than {INFLATED_MAX / 2**30:.2g} GiB in memory, the maximum")


def _check_votable(content: bytes) -> None:
    """Refuse a VOTable whose data are elsewhere, as Astropy would read any file or address, or whose arrays are too large."""
    width = stated = rows = 0

    def check(name: str, attributes: dict[str, str]) -> None:
        nonlocal width, stated, rows
        name = name.rpartition(":")[2].upper()
        if name == "STREAM" and "href" in attributes:
            raise ValueError(f"its data are at {attributes['href']}, which is not read; give a table that contains them")
        if name in ("FIELD", "PARAM"):
            width += _size_of_array(attributes)
        elif name == "TABLE":
            stated += int(attributes.get("nrows") or 0)
        rows += name == "TR"
        _check_size(width * max(stated, rows, 1))

    parser = expat.ParserCreate()
    parser.StartElementHandler = check
    parser.Parse(content, True)


def _size_of_array(field: dict[str, str]) -> int:
    """Return the memory of a value of a field of a VOTable, if it is the same for all."""
    of_letters, size = "char" in field.get("datatype", "").lower(), field.get("arraysize", "")
    if "*" in size and not of_letters:
        return 0
    return math.prod(map(int, re.findall(r"[0-9]+", size))) * (_LETTER if of_letters else _ELEMENT)


def _size_of_cells(lines: list[str], delimiter: str) -> float:
    """Return the memory of the cells of a table if all are text, which is as long as the longest of its column."""
    widths: list[int] = []
    number = 0
    for cells in csv.reader(lines, delimiter=delimiter):
        number += 1
        widths = list(map(max, zip_longest(widths, map(len, cells), fillvalue=0)))
    return number * sum(widths) * _LETTER
