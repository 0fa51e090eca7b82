"""Read and write reports: the file ``report.json`` in each output directory."""

from __future__ import annotations

import json
import platform
from collections.abc import Collection, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from astropy.table import Table

from bgnb._util.compression import HAS_ISAL
from bgnb._util.errors import BgnbError
from bgnb._util.reading import read_json
from bgnb._version import __version__
from bgnb.files.output_file import write_file

#: Name of the file.
REPORT = "report.json"
# Packages that affect the numerical results and the compressed bytes; isal is optional.
_PACKAGES = ("bgnb", "numpy", "astropy", "scipy", *(["isal"] if HAS_ISAL else []))


def write_report(directory: Path, content: Mapping[str, Any]) -> None:
    """Write a report that begins with the versions of bgnb and its dependencies.

    Parameters
    ----------
    directory : path
        Directory of the report.
    content : mapping
        The report; `plain` converts it to JSON. Iterators are written as lists, one item after the other.

    Raises
    ------
    BgnbError
        If it cannot be written.
    """
    versions = {"python": platform.python_version()} | {name: version(name) for name in _PACKAGES}
    report = {"creator": f"bgnb {__version__}", "versions": versions, **content}
    write_file(directory / REPORT, (piece.encode() for piece in _pieces(report)))


def _pieces(report: Mapping[str, Any]) -> Iterator[str]:
    """Write a report as ``json.dumps`` does with ``indent=1``, in pieces: its entries, and the items of its iterators."""
    before = "{"
    for key, value in report.items():
        yield f"{before}\n {json.dumps(str(key))}: "
        before = ","
        if not isinstance(value, Iterator):
            yield _indented(value, 1)
            continue
        opening = "["
        for item in value:
            yield f"{opening}\n  {_indented(item, 2)}"
            opening = ","
        yield "[]" if opening == "[" else "\n ]"
    yield "\n}\n"


def _indented(value: Any, level: int) -> str:
    """Write a value as JSON, for a place that is indented; in texts there are no line breaks."""
    return json.dumps(plain(value), indent=1, allow_nan=False).replace("\n", "\n" + " " * level)


def read_report(directory: Path) -> dict[str, Any]:
    """Read the report of a directory.

    Raises
    ------
    BgnbError
        If it is missing or damaged.
    """
    path = directory / REPORT
    try:
        report = read_json(path)
    except ValueError as error:
        raise BgnbError("damaged", f"{path}: cannot be read: {error}") from None
    except OSError as error:
        raise BgnbError("unreadable", f"{path}: cannot be read: {error.strerror}") from None
    if not isinstance(report, dict):
        raise BgnbError("not-a-model", f"{path}: is not a report of bgnb")
    return report


def plain(value: Any) -> Any:
    """Convert a value to types that JSON supports: NaN to None, quantities and paths to text, tables to ``"table"``.

    >>> plain({"energy": 1 * u.TeV, "ratios": np.array([0.5, np.nan]), 27: (True, "x")})
    {'energy': '1.0 TeV', 'ratios': [0.5, None], '27': [True, 'x']}
    """
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, Table):
        return "table"
    if isinstance(value, u.Quantity | Path):
        return str(value)
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, Collection) and not isinstance(value, str):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
