"""Tables from others, which must neither read other files nor use much more memory than their own size."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

import bgnb
from bgnb.observations.table_file import read_table_file
from tests.helpers.errors import raises

_VOTABLE = """<?xml version="1.0"?>
<VOTABLE version="1.3" xmlns="http://www.ivoa.net/xml/VOTable/v1.3"><RESOURCE><TABLE>
<FIELD name="RA" datatype="double" unit="deg"/><FIELD name="DEC" datatype="double" unit="deg"/>
<DATA><BINARY><STREAM href="{}"/></BINARY></DATA></TABLE></RESOURCE></VOTABLE>"""


@pytest.mark.parametrize("prefix", ["", "v:"])
def test_a_votable_does_not_read_other_files(tmp_path, prefix):
    (tmp_path / "secret").write_bytes(np.array([83.0, 22.0]).astype(">f8").tobytes())
    path = tmp_path / "sources.vot"
    path.write_text(_VOTABLE.format((tmp_path / "secret").as_uri()).replace("STREAM", f"{prefix}STREAM"))
    with raises("bad-catalog", path, "secret"):
        bgnb.read_catalog(path)


@pytest.mark.parametrize("serialization", ["tabledata", "binary2"])
def test_a_votable_with_its_data_is_read(tmp_path, serialization):
    table = Table({"RA": [83.0, 10.0], "DEC": [22.0, 5.0]})
    table.write(tmp_path / "sources.vot", format="votable", tabledata_format=serialization)
    assert bgnb.read_catalog(tmp_path / "sources.vot")["RA"].tolist() == [83.0, 10.0]


def test_the_keywords_of_a_table_are_not_all_written_as_text(tmp_path):
    # In ECSV, a list can contain another one many times; the text of ten levels has 10^10 numbers.
    written = []

    class Nested(list):
        def __repr__(self):
            written.append(self)
            return super().__repr__()

    table = Table({"RA": [83.0], "DEC": [22.0]}, meta={"LISTS": Nested([1])})
    assert len(bgnb.read_catalog(table)) == 1
    assert not written


def _with_arrays(path, n_rows, length, heap):
    """Write a table in which each row has the same array of variable length, the first elements of the heap."""
    column = fits.Column("V", "PB()", array=np.array([np.zeros(heap, np.uint8)], dtype=object))
    fits.BinTableHDU.from_columns([fits.Column("RA", "D", array=[1.0]), column]).writeto(path)
    header = fits.getheader(path, 1)
    rows = np.zeros(n_rows, [("RA", ">f8"), ("V", ">i4", 2)])
    rows["V"][:, 0] = length
    header["NAXIS2"], header["THEAP"] = n_rows, rows.nbytes
    data = rows.tobytes() + bytes(heap)
    primary = fits.PrimaryHDU().header.tostring()
    path.write_bytes((primary + header.tostring()).encode() + data + bytes(-len(data) % 2880))


def test_arrays_that_share_a_part_of_a_file_have_a_maximum_size(tmp_path):
    _with_arrays(tmp_path / "few.fits", 10, 50_000, 50_000)
    assert [len(each) for each in read_table_file(tmp_path / "few.fits")["V"]] == [50_000] * 10
    _with_arrays(tmp_path / "many.fits", 3000, 50_000, 50_000)
    with raises("too-large", "many.fits"):
        read_table_file(tmp_path / "many.fits")


_ECSV = """# %ECSV 1.0
# ---
# datatype:
# - {{name: RA, unit: deg, datatype: float64}}
# - {{name: DEC, unit: deg, datatype: float64}}
# - {{name: NAME, datatype: string}}
# meta: {{{}}}
RA DEC NAME
"""


def test_headers_of_a_table(tmp_path):
    """Lists that contain a list many times, here 10^8 numbers, are no more than references; large headers are refused."""
    lists = "L0: &L0 [1]" + "".join(f", L{i}: &L{i} [{', '.join([f'*L{i - 1}'] * 10)}]" for i in range(1, 9))
    (tmp_path / "lists.ecsv").write_text(_ECSV.format(lists) + "83.0 22.0 Crab\n")
    assert bgnb.read_catalog(tmp_path / "lists.ecsv")["NAME"].tolist() == ["Crab"]
    (tmp_path / "large.ecsv").write_text(_ECSV.format(f"TEXT: {'x' * (1 << 20)}") + "83.0 22.0 Crab\n")
    with raises("bad-catalog", "large.ecsv", "header"):
        bgnb.read_catalog(tmp_path / "large.ecsv")


@pytest.mark.parametrize("ending", ["csv", "ecsv"])
def test_cells_of_a_table_have_a_maximum_size(tmp_path, ending):
    head, gap = (_ECSV.format(""), " ") if ending == "ecsv" else ("RA,DEC,NAME\n", ",")
    row, long = gap.join(["83.0", "22.0", "Crab\n"]), gap.join(["83.0", "22.0", f"{'C' * 50_000}\n"])
    path = tmp_path / f"sources.{ending}"
    path.write_text(head + 10 * row + long)
    assert len(bgnb.read_catalog(path)) == 11
    path.write_text(head + 6000 * row + long)  # each name would take the memory of the longest one
    with raises("bad-catalog", path, "larger than"):
        bgnb.read_catalog(path)


@pytest.mark.parametrize("declared", ['datatype="double" arraysize="200000"', 'datatype="char" arraysize="800000*"'])
def test_arrays_of_a_votable_have_a_maximum_size(tmp_path, declared):
    table = _VOTABLE.replace(
        '<BINARY><STREAM href="{}"/></BINARY>', f"<TABLEDATA>{'<TR><TD/><TD/><TD/></TR>' * 400}</TABLEDATA>"
    )
    path = tmp_path / "sources.vot"
    path.write_text(table.replace("<DATA>", f'<FIELD name="V" {declared}/><DATA>'))
    with raises("bad-catalog", path, "larger than"):
        bgnb.read_catalog(path)
