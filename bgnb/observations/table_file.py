"""Tables in any format that Astropy reads."""

from __future__ import annotations

import warnings
from io import BytesIO
from pathlib import Path

from astropy.io.registry import identify_format
from astropy.table import Table
from astropy.utils.exceptions import AstropyWarning

from bgnb._util.compression import MAGIC, StreamError, decompress
from bgnb._util.errors import DataError
from bgnb._util.reading import TEXT_MAX, read_bytes
from bgnb.observations.fits_table import read_content

# First bytes of the formats that Astropy would decompress, without a maximum size.
_COMPRESSED = (MAGIC, b"BZh", b"\xfd7zXZ", b"PK\3\4", b"\x1f\x9d")


def read_table_file(path: str | Path, format: str | None = None) -> Table:
    """Read a table from a file, plain or gzipped.

    Parameters
    ----------
    path : path
        The file.
    format : str, optional
        Name of the format in Astropy; by default it is recognized from name and content.

    Raises
    ------
    DataError
        If it is not a regular file, or too large.
    Exception
        Of many kinds, if Astropy cannot read it.
    """
    path = Path(path).expanduser()
    path.stat()  # raises FileNotFoundError
    try:
        content = read_content(path).getvalue()
    except DataError as error:
        if error.code not in ("not-fits", "empty-file"):
            raise
        content = _read_text(path)
    with ignored_warnings():
        if format is None:
            stream = BytesIO(content)
            formats = identify_format("read", Table, str(path), stream, [stream], {})
            format = formats[0] if len(formats) == 1 else None
        return Table.read(BytesIO(content), format=format)


def ignored_warnings() -> warnings.catch_warnings[None]:
    """Return a context in which Astropy warns of nothing in a file; values and units that are used are checked."""
    return warnings.catch_warnings(action="ignore", category=AstropyWarning)


def _read_text(path: Path) -> bytes:
    """Read and decompress a file that is not FITS."""
    content = read_bytes(path, TEXT_MAX)
    try:
        content = decompress(content, TEXT_MAX) if content.startswith(MAGIC) else content
    except StreamError as error:
        raise ValueError(f"its gzip stream is {error.code.replace('-', ' ')}") from None
    if content.startswith(_COMPRESSED):
        raise ValueError("it is compressed, but not by gzip, or more than once; decompress it")
    return content
