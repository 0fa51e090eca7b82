"""Tables in any format that Astropy reads."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

from astropy.io.registry import identify_format
from astropy.table import Table

from bgnb._util.compression import MAGIC, decompress
from bgnb._util.reading import FILE_MAX, TEXT_MAX, read_bytes

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
    content = read_bytes(path)
    if content.startswith(MAGIC):
        content = decompress(content, FILE_MAX)
    if content.startswith(_COMPRESSED):
        raise ValueError("is compressed, but not by gzip, or more than once; decompress it")
    if not content.startswith(b"SIMPLE") and len(content) > TEXT_MAX:
        raise ValueError(f"is larger than {TEXT_MAX >> 20} MiB, the maximum for a table that is not FITS")
    if format is None:
        stream = BytesIO(content)
        formats = identify_format("read", Table, str(path), stream, [stream], {})
        format = formats[0] if len(formats) == 1 else None
    return Table.read(BytesIO(content), format=format)
