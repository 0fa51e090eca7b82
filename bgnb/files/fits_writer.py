"""Write FITS files with checksums; equal content gives bit-identical files.

The files contain no time stamps, unless SOURCE_DATE_EPOCH is set.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

from astropy.io import fits
from astropy.table import Table

from bgnb._util.compression import compress
from bgnb._version import __version__
from bgnb.files.output_directory import write_file

GADF_KEYWORDS = {
    "HDUCLASS": "GADF",
    "HDUDOC": "https://github.com/open-gamma-ray-astro/gamma-astro-data-formats",
    "HDUVERS": "0.3",
}


def primary_hdu() -> fits.PrimaryHDU:
    """Make a primary HDU with the version of bgnb."""
    primary = fits.PrimaryHDU()
    primary.header["CREATOR"] = f"bgnb {__version__}"
    if "SOURCE_DATE_EPOCH" in os.environ:
        date = datetime.fromtimestamp(int(os.environ["SOURCE_DATE_EPOCH"]), UTC)
        primary.header["DATE"] = date.strftime("%Y-%m-%dT%H:%M:%S")
    return primary


def table_hdu(table: Table, name: str) -> fits.BinTableHDU:
    """Convert a table to an HDU; its metadata become keywords, except those with names of more than eight characters."""
    hdu = fits.table_to_hdu(Table(table, meta={key: value for key, value in table.meta.items() if len(key) <= 8}))
    hdu.header["EXTNAME"] = name
    return hdu


def index_hdu(table: Table, kind: str) -> fits.BinTableHDU:
    """Make an index of a data store: of observations (kind OBS) or of HDUs (kind HDU)."""
    hdu = table_hdu(table, f"{kind}_INDEX")
    hdu.header.update(GADF_KEYWORDS | {"HDUCLAS1": "INDEX", "HDUCLAS2": kind})
    return hdu


def write_fits(path: Path, hdus: Sequence[Any]) -> None:
    """Write HDUs to a file, which is compressed if its name ends in ``.gz``.

    Raises
    ------
    BgnbError
        If it cannot be written.
    """
    for hdu in hdus:
        # `when` is written to a comment; without a time, equal content gives bit-identical files.
        hdu.add_checksum(when="when written")
    content = fits_content(hdus)
    write_file(path, compress(content) if path.suffix == ".gz" else content)


def fits_content(hdus: Sequence[Any]) -> bytes:
    """Return the content of a file of HDUs."""
    buffer = BytesIO()
    fits.HDUList(hdus).writeto(buffer)
    return buffer.getvalue()
