"""HDUs made as bytes are those of Astropy."""

from io import BytesIO

import numpy as np
import pytest
from astropy.io import fits

from bgnb.files.fits_writer import columns_hdu, extension, primary_hdu

KEYWORDS = {
    "TELESCOP": ("HESS", "a comment"),
    "ALT_PNT": np.float64(-0.0),
    "AZ_PNT": 1 / 3,
    "OBS_ID": np.int64(2**40),
    "IS_TEST": True,
    "NUMBER": 1,
    "RATIO": 1.0,
    "NOTHING": None,
    "HDUDOC": "https://example.org/" + "a long address/" * 8,
    "DEADC": (0.9, "first comment"),
}


@pytest.mark.parametrize("n_rows", [0, 1, 7])
def test_table_has_bytes_of_astropy(n_rows):
    """Columns of all types and shapes, one-element cells and no rows at all give the bytes that Astropy writes."""
    rng = np.random.default_rng(n_rows)
    cells = {"D": (3, 5, 2), "E": (1,), "J": (), "K": (4,)}
    values = {code: rng.integers(-1000, 1000, (n_rows, *cell)) * (1.1 if code in "DE" else 1) for code, cell in cells.items()}
    ours = columns_hdu("RUNS", {f"COL_{code}": (code, "s-1" * (code == "D"), v) for code, v in values.items()}, KEYWORDS)
    columns = [
        fits.Column("COL_D", "30D", unit="s-1", dim="(2,5,3)", array=values["D"]),
        fits.Column("COL_E", "1E", array=values["E"]),
        fits.Column("COL_J", "J", array=values["J"]),
        fits.Column("COL_K", "4K", array=values["K"]),
    ]
    theirs = fits.BinTableHDU.from_columns(columns, name="RUNS")
    theirs.header.update(KEYWORDS)
    assert ours == extension(theirs)


def test_image_has_bytes_of_astropy():
    """A primary HDU with an asymmetric image is what Astropy writes."""
    image = np.arange(24, dtype=np.float32).reshape(4, 3, 2)
    theirs = fits.PrimaryHDU(image)
    theirs.header["CREATOR"] = fits.Header.fromstring(bytes(primary_hdu()).decode())["CREATOR"]
    theirs.header.update(KEYWORDS)
    theirs.add_checksum(when="when written")
    buffer = BytesIO()
    theirs.writeto(buffer)
    assert primary_hdu(KEYWORDS, image) == buffer.getvalue()


def test_later_keywords_keep_comments():
    """A value that replaces an earlier one keeps its place and its comment, as in an Astropy header."""
    header = fits.Header.fromstring(
        bytes(columns_hdu("GTI", {"START": ("D", "s", [1.0])}, {"extname": "OTHER"})[:2880]).decode()
    )
    assert (header["EXTNAME"], header.comments["EXTNAME"]) == ("OTHER", "extension name")


def test_equal_values_have_own_cards():
    """Values that compare equal, such as 1, 1.0 and True, or the two zeros, are not mixed up."""
    stated = [1, True, 1.0, 0, False, -0.0, 0.0, "1"]
    headers = [fits.Header.fromstring(bytes(primary_hdu({"VALUE": value})).decode()) for value in stated]
    assert [repr(header["VALUE"]) for header in headers] == [repr(value) for value in stated]


def test_checksums_are_valid_for_astropy():
    """Astropy verifies checksums of many contents, among them sums with each byte that the encoding has to avoid."""
    rng = np.random.default_rng(1)
    for number in range(300):
        values = rng.integers(0, 2**31, (number % 5, 2))
        content = b"".join([primary_hdu({"NUMBER": number}), columns_hdu("TEST", {"VALUE": ("K", "", values)})])
        with fits.open(BytesIO(content), checksum=True) as hdus:  # a wrong checksum is a warning, and an error in tests
            hdus.verify("exception")
            assert [hdu.verify_checksum() * hdu.verify_datasum() for hdu in hdus] == [1, 1]
            assert np.array_equal(hdus["TEST"].data["VALUE"], values)
