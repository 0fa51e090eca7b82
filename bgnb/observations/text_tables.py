"""Limits of tables as text, which Astropy reads without: files and addresses that they name, and their size in memory."""

from __future__ import annotations

import csv
import math
import re
from itertools import takewhile, zip_longest
from textwrap import dedent
from xml.parsers import expat

import yaml  # on which Astropy depends for ECSV

from bgnb.observations.fits_table import INFLATED_MAX

# Memory of an element of an array in a VOTable, of a letter, and of a number in a list, bytes.
_ELEMENT, _LETTER, _ITEM = 16, 4, 32
# Maximum size of the header of an ECSV file, and depth of lists in it: the parser takes a minute for a few MiB.
_HEADER_MAX, _DEPTH_MAX = 1 << 20, 50


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
        if format == "ascii.ecsv":
            _check_size(_size_of_header(dedent("\n".join(line.strip()[1:] for line in header if line.strip()))))
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


def _size_of_header(header: str) -> float:
    """Return the memory of the values in the header of an ECSV file, in which lists may contain a list many times."""
    if len(header) > _HEADER_MAX:
        raise ValueError(f"its header is larger than {_HEADER_MAX >> 20} MiB, the maximum")
    size = 0.0
    sizes: dict[str, float] = {}
    before: list[tuple[str | None, float]] = []  # of lists that are not complete
    try:
        for event in yaml.parse(header, Loader=yaml.SafeLoader):
            anchor, start = getattr(event, "anchor", None), size
            if isinstance(event, yaml.CollectionStartEvent):
                before.append((anchor, start))
                size += 1
                if len(before) > _DEPTH_MAX:
                    raise ValueError("its header is too deeply nested")
                continue
            if isinstance(event, yaml.CollectionEndEvent):
                anchor, start = before.pop()
            elif isinstance(event, yaml.AliasEvent):
                size += sizes.get(str(anchor), 1)
                continue
            elif isinstance(event, yaml.ScalarEvent):
                size += 1 + len(event.value)
            if anchor:
                sizes[anchor] = size - start
    except yaml.YAMLError:
        raise ValueError("its header is not valid YAML") from None
    return size * _ITEM


def _size_of_cells(lines: list[str], delimiter: str) -> float:
    """Return the memory of the cells of a table if all are text, which is as long as the longest of its column."""
    widths: list[int] = []
    number = 0
    for cells in csv.reader(lines, delimiter=delimiter):
        number += 1
        widths = list(map(max, zip_longest(widths, map(len, cells), fillvalue=0)))
    return number * sum(widths) * _LETTER
