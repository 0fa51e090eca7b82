"""Tables read in pieces, against Astropy and against tables read at once."""

import gzip
import os

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits

from bgnb._util.errors import DataError
from bgnb.observations import fits_table
from bgnb.observations.fits_table import read_content, read_headers, read_table, read_tables
from bgnb.observations.gadf_keywords import column_in
from tests.helpers.errors import raises
from tests.helpers.time_limit import time_limit

ROWS = 1000


@pytest.fixture
def path(tmp_path):
    """Write a table of 215 bytes a row with texts, vectors and a single missing number, between two others."""
    rng, text = np.random.default_rng(3), np.array([f"event {number}"[: number % 17] for number in range(ROWS)])
    columns = [
        fits.Column("TIME", "D", unit="s", array=rng.normal(size=ROWS)),
        fits.Column("EVENT_ID", "J", null=7, array=np.r_[np.arange(10, ROWS + 8), 7, 3]),
        fits.Column("NAME", "17A", array=text),
        fits.Column("UNUSED", "160B", array=rng.integers(0, 255, (ROWS, 160))),
        fits.Column("WIDE", "6E", unit=str(u.deg), array=rng.normal(size=(ROWS, 6))),
        fits.Column("COUNT", "I", bzero=1 << 15, array=rng.integers(0, 1 << 16, ROWS, dtype=np.uint16)),
    ]
    other = fits.Column("ENERGY", "E", array=rng.normal(size=7000))
    tables = [fits.BinTableHDU.from_columns([other], name=name) for name in ("FIRST", "LAST")]
    tables.insert(1, fits.BinTableHDU.from_columns(columns, name="EVENTS"))
    fits.HDUList([fits.PrimaryHDU(), *tables]).writeto(tmp_path / "run.fits", checksum=True)
    return tmp_path / "run.fits"


def compressed(path):
    """Compress a file, and return the path of the result."""
    path.with_suffix(".fits.gz").write_bytes(gzip.compress(path.read_bytes()))
    return path.with_suffix(".fits.gz")


def set_pieces(monkeypatch):
    """Read tables in pieces of four blocks, and decompress files in pieces."""
    monkeypatch.setattr(fits_table, "_PIECE", 4 * 2880)
    monkeypatch.setattr(fits_table, "SMALL", 0)
    monkeypatch.setattr(fits_table, "MAX_RATIO", 4)


@pytest.fixture
def in_pieces(monkeypatch):
    set_pieces(monkeypatch)


def test_scaled_columns_are_in_double_precision(tmp_path):
    """Times in single precision since TZERO are not rounded when it is added, as in Astropy."""
    since = np.linspace(0, 1680, 9, dtype=np.float32)
    hdu = fits.BinTableHDU.from_columns([fits.Column("TIME", "E", unit="s", array=since)])
    hdu.header["TZERO1"], hdu.header["TSCAL1"] = 333780072.75, 0.5
    hdu.writeto(tmp_path / "scaled.fits")
    (times,) = read_table(tmp_path / "scaled.fits").columns.values()
    np.testing.assert_array_equal(times, fits.getdata(tmp_path / "scaled.fits")["TIME"])
    np.testing.assert_array_equal(times - 333780072.75, since / 2)


@pytest.mark.parametrize("is_gzip", [False, True])
@pytest.mark.usefixtures("engine")
def test_pieces_are_the_whole_table(path, is_gzip, monkeypatch):
    """All columns are those that are read at once, and those of Astropy; missing numbers are NaN."""
    where = compressed(path) if is_gzip else path
    whole = read_table(where, "EVENTS")
    set_pieces(monkeypatch)
    table, last = read_tables(where, ["EVENTS", "LAST"])
    assert set(table.columns) == {"TIME", "EVENT_ID", "NAME", "UNUSED", "WIDE", "COUNT"}
    for name, values in table.columns.items():
        assert values.dtype.kind == whole.columns[name].dtype.kind
        np.testing.assert_array_equal(values, whole.columns[name])
    with fits.open(path) as hdus:
        events = hdus["EVENTS"].data
        for name in ("TIME", "NAME", "UNUSED", "WIDE", "COUNT"):
            np.testing.assert_array_equal(table.columns[name], events[name])
        np.testing.assert_array_equal(np.flatnonzero(np.isnan(table.columns["EVENT_ID"])), [ROWS - 2])
        np.testing.assert_array_equal(last.columns["ENERGY"], hdus["LAST"].data["ENERGY"])
    assert (table.units["TIME"], table.units["WIDE"]) == ("s", "deg")


# Bytes of the content from the start of the data that are replaced, and by which; the table has 215 000 bytes in 75 blocks.
FLIPPED = {
    "bit of the last row": (214_990, 214_991, b"\xff", "damaged"),
    "truncated in a piece": (30_000, None, b"", "truncated"),
    "truncated between pieces": (8 * 2880, None, b"", "truncated"),
    "truncated in the last table": (-2880, None, b"", "truncated"),
    "padding that is no padding": (215_005, 215_006, b"x", "bad-header"),
    "further rows": (75 * 2880, 75 * 2880, b"x" * 2880, "bad-header"),
    "next table within": (70 * 2880, 75 * 2880, b"", "bad-header"),
}


@pytest.mark.parametrize("is_gzip", [False, True])
@pytest.mark.parametrize("name", FLIPPED)
@pytest.mark.usefixtures("engine", "in_pieces")
def test_errors_in_any_piece(path, name, is_gzip):
    """Damaged and truncated tables are refused, wherever the pieces end."""
    first, stop, replacement, code = FLIPPED[name]
    content = path.read_bytes()
    start = content.index(b"END" + b" " * 77, content.index(b"'EVENTS  '")) // 2880 * 2880 + 2880
    data = content[start:]
    path.write_bytes(content[:start] + data[:first] + replacement + (b"" if stop is None else data[stop:]))
    with raises(code, "run.fits", kind=DataError):
        read_tables(compressed(path) if is_gzip else path, ["EVENTS", "FIRST"])


@pytest.mark.usefixtures("engine", "in_pieces")
def test_large_file_must_end_with_its_sum(path):
    """The checksum of a large gzip file is verified, although its last table is not read."""
    file = compressed(path)
    content = file.read_bytes()
    file.write_bytes(content[:-5] + bytes([content[-5] ^ 1]) + content[-4:])
    with raises("damaged", "run.fits.gz", kind=DataError):
        read_tables(file, ["FIRST"])


@pytest.mark.usefixtures("in_pieces")
def test_columns_count_and_not_the_table(path, monkeypatch):
    """The maximum size is that of the columns to read."""
    monkeypatch.setattr(fits_table, "INFLATED_MAX", 100_000)
    assert len(read_table(path, "EVENTS", ["TIME", "NAME"]).column("NAME")) == ROWS
    with raises("too-large", "run.fits", "EVENTS", kind=DataError):
        read_table(path, "EVENTS", ["UNUSED"])


@pytest.mark.usefixtures("engine", "in_pieces")
def test_ratio_of_compression_is_limited(path, monkeypatch):
    """A large gzip file may be decompressed beyond the maximum size of columns, but not far beyond its own size."""
    monkeypatch.setattr(fits_table, "INFLATED_MAX", 100_000)
    assert len(read_table(compressed(path), "EVENTS", ["TIME"]).column("TIME")) == ROWS
    path.write_bytes(path.read_bytes() + bytes(4_000_000))
    with raises("too-large", "run.fits.gz", kind=DataError):
        read_table(compressed(path), "EVENTS", ["TIME"])


def test_texts_over_many_cards(tmp_path):
    """Texts that CONTINUE cards continue are joined in a time that does not grow as the square of their length."""
    text = " & ".join(f"{number:07d}" for number in range(100_000))
    table = fits.BinTableHDU.from_columns([fits.Column("TIME", "D", array=[1.0])], name="EVENTS")
    table.header["LONG"], table.header["SHORT"] = text, "it's"
    table.header["LATER"] = "a & " * 40
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(tmp_path / "long.fits")
    with time_limit():
        read = read_table(tmp_path / "long.fits", "EVENTS")
    assert read.get("LONG") == text
    assert (read.get("SHORT"), read.get("LATER")) == ("it's", ("a & " * 40).rstrip())


def test_axes_beyond_the_standard(tmp_path):
    """More axes than FITS allows are refused, whose sizes would be multiplied."""
    image = fits.ImageHDU(np.zeros((2, 3)))
    fits.HDUList([fits.PrimaryHDU(), image]).writeto(tmp_path / "axes.fits")
    content = (tmp_path / "axes.fits").read_bytes()
    stated = b"NAXIS   =                    2"
    start = content.rindex(stated)
    (tmp_path / "axes.fits").write_bytes(content[:start] + stated[:-4] + b"1000" + content[start + len(stated) :])
    with raises("bad-keyword", "NAXIS must be at most 999, got 1000"):
        read_table(tmp_path / "axes.fits", "EVENTS")


@pytest.mark.parametrize("keyword", [b"TFIELDS", b"tfields"])
def test_columns_beyond_the_standard(tmp_path, keyword):
    """More columns than FITS allows are refused, of which Astropy makes lists, also in a file that Astropy reads."""
    path = tmp_path / "t.fits"
    fits.BinTableHDU.from_columns([fits.Column("ENERGY", "E", array=np.ones(3))]).writeto(path)
    stated = b"TFIELDS =                    1"
    path.write_bytes(path.read_bytes().replace(stated, keyword + b" =           2147483647"))
    with time_limit(), raises("bad-keyword", path, "TFIELDS must be at most 999"):
        read_content(path)


@pytest.mark.parametrize(
    ("card", "words"),
    [
        ("TFIELDS= 2147483647", "column 9"),
        ("NAXIS2= 2147483647", "column 9"),
        (" NAXIS2 = 2147483647", "NAXIS2 appears more than once"),
        ("naxis2  = 2147483647", "NAXIS2 appears more than once"),
        ("HIERARCH NAXIS2 = 2147483647", "NAXIS2 appears more than once"),
    ],
)
def test_sizes_that_astropy_would_read_otherwise(tmp_path, card, words):
    """Limits on sizes are not passed by cards that other readers understand, or by keywords that are repeated."""
    path = tmp_path / "t.fits"
    hdu = fits.BinTableHDU.from_columns([fits.Column("ENERGY", "E", array=np.ones(3))])
    hdu.header["EXTNAME"] = "FIRST"
    hdu.header.insert("EXTNAME", ("ZZZZZZZZ", 1))
    hdu.writeto(path)
    content = path.read_bytes()
    start = content.index(b"ZZZZZZZZ")
    path.write_bytes(content[:start] + card.ljust(80).encode() + content[start + 80 :])
    with time_limit(), raises("bad-header", path, words):
        read_content(path)


@pytest.mark.parametrize("kind", [b"BINTABLE", b"A3DTABLE"])
def test_tables_of_very_many_rows(tmp_path, monkeypatch, kind):
    """A small compressed file of millions of rows is refused, also of the older name of binary tables."""
    monkeypatch.setattr(fits_table, "ROWS_MAX", 100)
    path = tmp_path / "t.fits"
    fits.BinTableHDU.from_columns([fits.Column("ENERGY", "E", array=np.ones(101))]).writeto(path)
    path.write_bytes(path.read_bytes().replace(b"BINTABLE", kind))
    with raises("too-large", path, "100 rows"):
        read_content(path)


def test_files_of_very_many_hdus(tmp_path):
    """A small compressed file of hundreds of thousands of empty HDUs is refused."""
    path = tmp_path / "t.fits.gz"
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU()]).writeto(path)
    content = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(content + 1000 * content[2880:]))
    with time_limit(), raises("too-large", path, "1000 HDUs"):
        read_content(path)


def test_damaged_numbers_give_no_warnings(tmp_path):
    """A signalling NaN, as of bit errors, and a scale beyond all numbers are not finite, without warnings of NumPy."""
    path = tmp_path / "t.fits"
    columns = [fits.Column("ENERGY", "E", array=np.ones(3), unit="TeV"), fits.Column("NUMBER", "J", array=[3, 1, 2])]
    fits.BinTableHDU.from_columns(columns).writeto(path)
    fits.setval(path, "TSCAL2", value=1e308, ext=1)
    content = bytearray(path.read_bytes())
    content[5760:5764] = bytes.fromhex("7fa00000")
    path.write_bytes(content)
    table = read_table(path)
    assert np.isnan(column_in(table, "ENERGY", "GeV")).tolist() == [True, False, False]
    assert np.isinf(table.columns["NUMBER"]).tolist() == [True, False, True]


def test_zeros_after_a_gzip_stream_take_no_time(path):
    """A copy that was cut off may end in gigabytes of zeros, whose space was reserved."""
    padded = compressed(path)
    os.truncate(padded, 4 << 30)
    with time_limit():
        assert [header.name for header in read_headers(padded)] == ["", "FIRST", "EVENTS", "LAST"]
        assert len(read_table(padded, "EVENTS").columns["TIME"]) == ROWS
