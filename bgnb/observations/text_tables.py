"""Checks that Astropy does not make of tables as text: they name no other files, fit into memory, and name columns once."""

from __future__ import annotations

import csv
import math
import re
from collections import Counter
from itertools import takewhile, zip_longest
from textwrap import dedent
from typing import Any
from xml.parsers import expat

from astropy.io.misc.yaml import AstropyLoader
from astropy.table.meta import get_header_from_yaml

from bgnb._util.errors import shortened
from bgnb.observations.fits_table import INFLATED_MAX

# Memory of an element of an array in a VOTable, and of a letter, bytes.
_ELEMENT, _LETTER = 16, 4
# Memory of an element of an array in a cell of ECSV, bytes: each is parsed on its own.
_PARSED = 64
# Maximum number of columns, as in FITS, and of elements of a VOTable except rows and cells: some take Astropy a millisecond.
_COLUMNS_MAX, _ELEMENTS_MAX = 999, 20_000
# Maximum number of arrays in the header of an ECSV file: each may refer to the values of another.
_ARRAYS_MAX = 100
# Maximum size of the header of an ECSV file, bytes: Astropy takes a minute for a few MiB.
_HEADER_MAX = 1 << 18

# Memory of a value in a stream of a VOTable, bytes; eight bits are one.
_IN_STREAM = {
    "unicodeChar": 2,
    "short": 2,
    "int": 4,
    "float": 4,
    "long": 8,
    "double": 8,
    "floatComplex": 8,
    "doubleComplex": 16,
}
# Maximum number of lines or rows, for which Astropy takes half a minute.
_LINES_MAX = 1_000_000

#: Why a file is refused of which Astropy would read the first table only, or none.
SEVERAL_TABLES = "it contains several tables; write the one that is wanted into a file of its own"


def check_text_table(content: bytes, format: str) -> None:
    """Refuse a table that would read other files, take much more memory than its file, or name a column twice.

    Parameters
    ----------
    content : bytes
        The file.
    format : {"votable", "ascii.ecsv", "ascii.csv"}
        Name of its format in Astropy; others are not checked.

    Raises
    ------
    ValueError
        If it is such a table; the message says why.
    """
    if format == "votable":
        _check_votable(content)
    elif format in ("ascii.ecsv", "ascii.csv"):
        if max(content.count(end) for end in (b"\n", b"\r")) > _LINES_MAX:
            raise ValueError(f"it has more than {_LINES_MAX:,} lines, the maximum")
        lines = content.decode().splitlines(keepends=True)
        header = [*takewhile(lambda line: line.strip()[:1] in ("#", ""), lines)]
        if sum(map(len, header)) > _HEADER_MAX:
            raise ValueError(f"its header is larger than {_HEADER_MAX >> 10} KiB, the maximum")
        rows, delimiter = lines[len(header) :], ","
        if format == "ascii.ecsv":
            described = _header_of_ecsv(header)
            columns, delimiter = _columns_of_ecsv(described), str(described.get("delimiter", " "))
            _check_names([str(column.get("name")) for column in columns])
            rows = [row for row in rows if not row.lstrip().startswith("#")]  # comments
            _check_size(_PARSED * len(rows) * sum(map(_elements_in_cell, columns)))
        if len(lines) * len(content) * _LETTER > INFLATED_MAX:  # it may be too large
            _check_size(max(_size_of_cells(rows, each) for each in ", "))
        _check_quotes(rows, delimiter)
        if format == "ascii.csv":
            _check_names([name.strip() for name in next(csv.reader(filter(str.strip, lines)), [])])


def _check_names(names: list[str]) -> None:
    """Refuse names of columns of which Astropy would change one, and too many columns."""
    if len(names) > _COLUMNS_MAX:
        raise ValueError(f"it has {len(names)} columns; the maximum is {_COLUMNS_MAX}; write only those that are needed")
    if repeated := [name for name, number in Counter(names).items() if number > 1 and name]:
        raise ValueError(f"several columns have the name {repeated[0]}; remove or rename all but one")


def _check_quotes(rows: list[str], delimiter: str) -> None:
    """Refuse cells with line breaks: where a quotation mark is not closed, the rows that follow are parts of a name."""
    if delimiter not in (" ", ","):
        return  # which Astropy refuses
    texts = [row.rstrip("\r\n") for row in rows]
    reader = csv.reader([*(f"{text}\n" for text in texts), "end\n"], delimiter=delimiter, skipinitialspace=True)
    number = 0
    try:
        for _ in reader:
            if reader.line_num > number + 1:
                raise csv.Error
            number += 1
    except csv.Error:  # also for cells that are larger than the maximum
        advice = "close the quotation mark that is open there, remove the line break, or shorten the cell"
        raise ValueError(
            f"a cell of the row '{shortened(texts[number])}' contains a line break, or is too long; {advice}"
        ) from None


def _check_size(size: float) -> None:
    if size > INFLATED_MAX:
        raise ValueError(f"it would be larger than {INFLATED_MAX / 2**30:.2g} GiB in memory, the maximum")


def _check_votable(content: bytes) -> None:
    """Refuse a VOTable whose data are elsewhere, as Astropy would read any file or address, or whose arrays are too large.

    Positions must refer to the equinox J2000, as for `check_frame`: Astropy does not return the frame.
    """
    width = in_stream = letters = stated = rows = n_elements = n_tables = 0
    names: list[str] = []
    frames: dict[str, dict[str, str]] = {}
    frame_of: dict[str, str] = {}
    within: list[str] = []  # elements that are open

    def check(name: str, attributes: dict[str, str]) -> None:
        nonlocal width, in_stream, stated, rows, n_elements, n_tables
        name = name.rpartition(":")[2].upper()
        if name == "STREAM" and "href" in attributes:
            raise ValueError(f"its data are at {attributes['href']}, which is not read; give a table that contains them")
        if name in ("FIELD", "PARAM"):
            width += _size_of_array(attributes)
        if name == "FIELD" and within[-1:] == ["TABLE"]:  # Astropy does not read others
            in_stream += _size_in_stream(attributes)
        if name == "STREAM" and not in_stream:
            raise ValueError("its rows have no bytes")  # of which Astropy reads a stream without end
        within.append(name)
        if name == "FIELD":
            names.append(attributes.get("ID") or attributes.get("name", ""))  # as Astropy names columns
            frame_of[names[-1].upper()] = attributes.get("ref", "")
        elif name == "COOSYS":
            frames[attributes.get("ID", "")] = attributes
        elif name == "TABLE":
            n_tables += 1
            stated += int(attributes.get("nrows") or 0)
            _check_names(names)
            names.clear()
        rows += name == "TR"
        if rows > _LINES_MAX:
            raise ValueError(f"it has more than {_LINES_MAX:,} rows, the maximum")
        n_elements += name not in ("TR", "TD")
        _check_size(width * max(stated, rows, 1))
        if n_elements > _ELEMENTS_MAX:
            raise ValueError(f"it has more than {_ELEMENTS_MAX} elements that are not rows or cells, the maximum")

    def count(text: str) -> None:
        nonlocal letters
        letters += len(text) * ("STREAM" in within)
        if letters > _LINES_MAX * in_stream * 4 / 3:  # base64
            raise ValueError(f"its stream has more than {_LINES_MAX:,} rows, the maximum")

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.CharacterDataHandler = check, count
    parser.EndElementHandler = lambda _: within.pop()
    parser.Parse(content, True)
    _check_names(names)
    if n_tables > 1:
        raise ValueError(SEVERAL_TABLES)
    referred = [frames[ref] for name in ("RA", "DEC") if (ref := frame_of.get(name, "")) in frames]
    problems = [_problem_of_frame(frame) for frame in referred or (frames.values() if "RA" in frame_of else ())]
    if problems and (any(problems) if referred else all(problems)):
        raise ValueError(next(filter(None, problems)))
    if any(problems):
        raise ValueError("it states several frames, and not which is that of RA; add ref to the FIELD, or remove the others")


def _problem_of_frame(coosys: dict[str, str]) -> str:
    """Describe why a COOSYS is another frame than that of `check_equinox`; "" if it is not, or is unknown."""
    system = coosys.get("system", "").upper().removeprefix("EQ_")
    try:
        check_equinox("ICRS" if system in ("", "UNKNOWN", "ICRF") else system, coosys.get("equinox", ""))
    except ValueError as error:
        return str(error)
    return ""


def check_equinox(frame: str, equinox: str) -> None:
    """Check that right ascensions and declinations refer to the equinox J2000.

    Parameters
    ----------
    frame : str
        Such as ICRS or FK5.
    equinox : str
        Such as 2000 or J2000; "" if it is not stated.

    Raises
    ------
    ValueError
        If they refer to another frame.
    """
    if frame not in ("ICRS", "FK5") or not re.fullmatch(r"(J?2000(\.0*)?)?", equinox):
        stated = f"{frame}, equinox {equinox}" if equinox else frame
        raise ValueError(f"positions are in {stated}; convert them to ICRS, and correct the frame that the table states")


def _size_of_array(field: dict[str, str]) -> int:
    """Return the memory of a value of a field of a VOTable, if it is the same for all."""
    of_letters, size = "char" in field.get("datatype", "").lower(), field.get("arraysize", "")
    if "*" in size and not of_letters:
        return 0
    return math.prod(map(int, re.findall(r"[0-9]+", size))) * (_LETTER if of_letters else _ELEMENT)


def _size_in_stream(field: dict[str, str]) -> int:
    """Return the minimum number of bytes of a value of a field in the binary stream of a VOTable."""
    size, kind = field.get("arraysize", "1"), field.get("datatype", "")
    if "*" in size:
        return 4  # the number of its elements
    n = math.prod(map(int, re.findall(r"[0-9]+", size)))
    return -(-n // 8) if kind == "bit" else n * _IN_STREAM.get(kind, 1)


def _header_of_ecsv(header: list[str]) -> dict[str, Any]:
    """Return the header of an ECSV file; an empty one if it is invalid, as Astropy reads it again, with a message.

    Raises
    ------
    ValueError
        If it contains merged mappings, or arrays that may be larger than their values in the file.
    """
    lines = [line.strip().removeprefix("#") for line in header if line.strip()]
    try:
        refused = _refused_in_yaml(dedent("\n".join(lines)))
        found = {} if refused else get_header_from_yaml(lines)
    except Exception:  # of PyYAML, Astropy and others
        return {}
    if refused:
        raise ValueError(f"its header contains {refused}; delete it from the meta of the table, and write the table again")
    return found if isinstance(found, dict) else {}


def _refused_in_yaml(text: str) -> str:
    """Describe what takes PyYAML or NumPy time or memory without limit, read from parser events, which need neither."""
    loader, n_arrays, has_strides = AstropyLoader(text), 0, False
    while loader.check_event():
        event = loader.get_event()
        tag, value = str(getattr(event, "tag", "")), getattr(event, "value", "")
        n_arrays += tag.endswith("ndarray")
        has_strides |= value == "strides"
        if tag.endswith(":merge") or (value == "<<" and event.implicit[0]):
            return "a merged mapping (<<)"
    return "arrays with strides, or too many arrays" if n_arrays > (0 if has_strides else _ARRAYS_MAX) else ""


def _columns_of_ecsv(header: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the descriptions of the columns; none if they are invalid."""
    columns = header.get("datatype")
    return columns if isinstance(columns, list) and all(isinstance(column, dict) for column in columns) else []


def _elements_in_cell(column: dict[str, Any]) -> int:
    """Return the number of elements of an array of fixed shape in a cell, which an empty cell has as well; 0 for others."""
    shape = str(column.get("subtype")).partition("[")[2]
    return math.prod(map(int, re.findall(r"[0-9]+", shape))) if shape else 0


def _size_of_cells(lines: list[str], delimiter: str) -> float:
    """Return the memory of the cells of a table if all are text, which is as long as the longest of its column."""
    widths: list[int] = []
    number = 0
    for cells in csv.reader(lines, delimiter=delimiter):
        number += 1
        widths = list(map(max, zip_longest(widths, map(len, cells), fillvalue=0)))
    return number * sum(widths) * _LETTER
