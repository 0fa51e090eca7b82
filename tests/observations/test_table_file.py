"""Tables from others, which must neither read other files nor use much more memory than their own size."""

import gzip
import re

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.io.votable.tree import Resource, VOTableFile
from astropy.table import QTable, Table
from astropy.time import Time

import bgnb
from bgnb.observations.table_file import read_table_file
from tests.helpers.errors import raises
from tests.helpers.time_limit import time_limit

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


def test_rows_of_no_bytes(tmp_path):
    """A table with many rows without bytes, in which NumPy would count without end, is refused."""
    path = tmp_path / "sources.fits"
    header = fits.BinTableHDU.from_columns([fits.Column(name, "D") for name in ("RA", "DEC")]).header
    header.update(NAXIS1=0, NAXIS2=10**12, TFORM1="0D", TFORM2="0D")
    path.write_bytes((fits.PrimaryHDU().header.tostring() + header.tostring()).encode())
    with raises("bad-header", path, "rows without bytes"):
        bgnb.read_catalog(path)


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


@pytest.mark.parametrize(
    "meta",
    [
        "A: &A {x: 1}, B: {<<: [*A, *A]}",  # PyYAML copies a mapping each time that it is merged
        "A: &A {x: 1}, B: {!!merge other: *A}",
        "A: !numpy.ndarray {buffer: !!binary AAAAAAAAAAA=, dtype: float64, shape: [500000000], strides: [0]}",
        "B: [&S strides], A: !numpy.ndarray {buffer: !!binary AAAAAAAAAAA=, dtype: float64, shape: [500000000], *S : [0]}",
    ],
)
def test_headers_that_swell(tmp_path, meta):
    """Merged mappings and arrays in a header, which may take time and memory without limit, are refused."""
    (tmp_path / "sources.ecsv").write_text(_ECSV.format(meta) + "83.0 22.0 Crab\n")
    with raises("bad-catalog", "sources.ecsv", "header", "meta"):
        bgnb.read_catalog(tmp_path / "sources.ecsv")


def test_headers_with_arrays(tmp_path):
    """Arrays, quantities and any text in the header of a table that Astropy wrote do not matter."""
    meta = {"EDGES": np.arange(3.0), "RANGE": [1, 2] * u.TeV, "COMMENT": "<<"}
    Table({"RA": [83.0], "DEC": [22.0]}, meta=meta).write(tmp_path / "sources.ecsv")
    assert bgnb.read_catalog(tmp_path / "sources.ecsv")["RA"].tolist() == [83.0]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_tables_have_a_maximum_number_of_lines(tmp_path, end):
    """Lines of a small compressed file, also empty ones, take much time and memory."""
    (tmp_path / "sources.csv.gz").write_bytes(gzip.compress(("RA,DEC" + end * 1_000_001 + "1,2").encode()))
    with raises("bad-catalog", "more than 1,000,000 lines"):
        bgnb.read_catalog(tmp_path / "sources.csv.gz")


@pytest.mark.parametrize("ending", ["csv", "ecsv"])
@pytest.mark.parametrize("quoted", ['"Crab', '"Crab\n10{0}10{0}Vela"'])
def test_cells_with_line_breaks(tmp_path, ending, quoted):
    """Rows that a missing quotation mark makes a part of a name are not lost without a word."""
    head, gap = (_ECSV.format(""), " ") if ending == "ecsv" else ("RA,DEC,NAME\n", ",")
    first, wrong, last = f'5{gap}7{gap}"PKS, of ""2"""', f"83{gap}22{gap}{quoted.format(gap)}", f"30{gap}-10{gap}other"
    path, comment = tmp_path / f"sources.{ending}", '# "a comment\n' if ending == "ecsv" else ""
    path.write_text(f"{head}{first}\n{comment}{last}\r\n")
    assert bgnb.read_catalog(path)["NAME"].tolist() == ['PKS, of "2"', "other"]
    for text in (f"{first}\n{wrong}\n{last}\n", f"{first}\n{last}\n{wrong}", f"{wrong}\n\n", f"{wrong}{'x' * 200_000}"):
        path.write_text(head + text)
        with raises("bad-catalog", path, "Crab", "line break", "quotation mark"):
            bgnb.read_catalog(path)


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


@pytest.mark.parametrize(
    ("fields", "data"),
    [
        ('<FIELD name="N" datatype="char" arraysize="0"/>', "<BINARY><STREAM encoding='base64'></STREAM></BINARY>"),
        (
            '<GROUP><FIELD name="A" datatype="char" arraysize="99"/></GROUP><FIELD name="N" datatype="short"/>',
            f"<BINARY><STREAM encoding='base64'><X/>{80 * 'AAAA'}</STREAM></BINARY>",
        ),
        ('<FIELD name="N" datatype="short"/>', f"<BINARY2><STREAM encoding='base64'>{80 * 'AAAA'}</STREAM></BINARY2>"),
        (
            '<FIELD name="N" datatype="bit" arraysize="8"/>',
            f"<BINARY><STREAM encoding='base64'>{40 * 'AAAA'}</STREAM></BINARY>",
        ),
        ('<FIELD name="N" datatype="int"/>', f"<TABLEDATA>{101 * '<TR/>'}</TABLEDATA>"),
    ],
    ids=["empty rows", "other fields", "BINARY2", "bits", "TABLEDATA"],
)
def test_a_votable_has_a_maximum_number_of_rows(tmp_path, monkeypatch, fields, data):
    """Of rows without bytes Astropy reads a stream without end."""
    monkeypatch.setattr("bgnb.observations.text_tables._LINES_MAX", 100)
    path = tmp_path / "sources.vot"
    head, tail = _VOTABLE.partition("<FIELD")[0], "</DATA></TABLE></RESOURCE></VOTABLE>"
    path.write_text(f"{head}{fields}<DATA>{data}{tail}")
    with time_limit(), raises("bad-catalog", path, "rows"):
        bgnb.read_catalog(path)


_SHAPE = "# - {{name: RA, datatype: float64}}\n# - {{name: DEC, datatype: float64}}\n# - {{name: V, datatype: string, {}}}\n"


@pytest.mark.parametrize("subtype", ["subtype: 'float64[1000,300]'", '"sub\\x74ype": "float64[1000,300]"'])
def test_empty_cells_of_ecsv_have_a_maximum_size(tmp_path, subtype):
    # An empty cell has as many elements as its column declares.
    path = tmp_path / "sources.ecsv"
    columns = _SHAPE.format(subtype)
    rows = 100 * '83 22 ""\n'
    path.write_text(f"# %ECSV 1.0\n# ---\n# datatype:\n{columns}# schema: astropy-2.0\nRA DEC V\n{rows}")
    with raises("bad-catalog", path, "larger than"):
        bgnb.read_catalog(path)


def test_arrays_in_cells_of_ecsv_are_read(tmp_path):
    table = Table({"RA": [83.0, 10.0], "DEC": [22.0, 5.0], "V": np.zeros((2, 3))})
    table.write(tmp_path / "sources.ecsv")
    assert bgnb.read_catalog(tmp_path / "sources.ecsv")["DEC"].tolist() == [22.0, 5.0]


def test_a_votable_has_a_maximum_number_of_elements(tmp_path):
    path = tmp_path / "sources.vot"
    Table({"RA": [83.0], "DEC": [22.0]}).write(path, format="votable", tabledata_format="tabledata")
    text = path.read_text()
    path.write_text(text.replace("<TABLE>", 20_000 * "<PARAM name='a' datatype='int' value='3'/>" + "<TABLE>"))
    with raises("bad-catalog", path, "20000 elements"):
        bgnb.read_catalog(path)
    Table({"RA": [83.0], "DEC": [22.0]} | {f"C{number}": [0.0] for number in range(998)}).write(path.with_suffix(".csv"))
    Table.read(path.with_suffix(".csv")).write(path.with_suffix(".ecsv"))
    for ending in (".csv", ".ecsv"):
        with raises("bad-catalog", f"sources{ending}", "1000 columns"):
            bgnb.read_catalog(path.with_suffix(ending))


@pytest.mark.parametrize(
    ("systems", "frame"),
    [
        ({"J": ("eq_FK4", "B1950"), "K": ("ICRS", "")}, "FK4, equinox B1950"),
        ({"J": ("eq_FK5", "J2000"), "K": ("eq_FK4", "B1950")}, ""),
        ({"K": ("galactic", "")}, "GALACTIC"),
        ({"K": ("ICRS", ""), "L": ("", "")}, ""),
    ],
)
def test_the_frame_that_a_votable_states(tmp_path, systems, frame):
    path = tmp_path / "sources.vot"
    Table({"RA": [83.0], "DEC": [22.0]}).write(path, format="votable", tabledata_format="tabledata")
    stated = "".join(f'<COOSYS ID="{name}" system="{system}" equinox="{year}"/>' for name, (system, year) in systems.items())
    stated = stated.replace(' equinox=""', "")
    path.write_text(path.read_text().replace("<TABLE>", f"{stated}<TABLE>").replace('name="RA"', 'name="RA" ref="J"'))
    if frame:
        with raises("bad-catalog", path, f"positions are in {frame};"):
            bgnb.read_catalog(path)
    else:
        assert bgnb.read_catalog(path)["RA"].tolist() == [83.0]


def test_names_and_frames_of_a_votable_that_are_ambiguous(tmp_path):
    # Astropy names a column by the ID of its FIELD.
    path = tmp_path / "sources.vot"
    frames = '<COOSYS ID="J" system="ICRS"/><COOSYS ID="B" system="eq_FK4" equinox="B1950"/><TABLE>'
    for ra, words in (
        ('ID="RA" name="ra1950" ref="B"', "FK4"),
        ('ID="RA" name="ra2000"', "several frames"),
        ('ID="RA" name="ra2000" ref="J"/><FIELD ID="RA_B" name="RA" ref="B" datatype="double"', ""),
    ):
        cells = "<TR><TD>83.0</TD>" + "<TD>84.0</TD>" * ("RA_B" in ra) + "<TD>22.0</TD></TR>"
        path.write_text(
            '<?xml version="1.0"?><VOTABLE version="1.3" xmlns="http://www.ivoa.net/xml/VOTable/v1.3"><RESOURCE>'
            f'{frames}<FIELD datatype="double" {ra}/><FIELD name="DEC" datatype="double"/>'
            f"<DATA><TABLEDATA>{cells}</TABLEDATA></DATA></TABLE></RESOURCE></VOTABLE>"
        )
        if words:
            with raises("bad-catalog", path, words):
                bgnb.read_catalog(path)
        else:
            assert bgnb.read_catalog(path)["RA"].tolist() == [83.0]


def test_several_tables_in_a_file(tmp_path):
    """Of catalogues, such as that of the HGPS, the first table is used if it states extensions; others are refused."""
    tables = [Table({"RA": [ra], "DEC": [22.0]}) for ra in (83.0, 10.0)]
    fits.HDUList([fits.PrimaryHDU(), *map(fits.table_to_hdu, tables)]).writeto(tmp_path / "sources.fits")
    votable = VOTableFile()
    votable.resources.append(Resource())
    votable.resources[0].tables.extend(VOTableFile.from_table(table).get_first_table() for table in tables)
    votable.to_xml(str(tmp_path / "sources.vot"))
    with raises("bad-catalog", "sources.fits", "several tables"):  # such as 4FGL, with the extensions in another one
        bgnb.read_catalog(tmp_path / "sources.fits")
    columns = {"Source_Name": ["Vela Junior", "point"], "GLON": [266.28, 10] * u.deg, "GLAT": [-1.24, 0] * u.deg}
    tables[0] = Table(columns | {"Size": [60, np.nan] * u.arcmin})
    fits.HDUList([fits.PrimaryHDU(), *map(fits.table_to_hdu, tables)]).writeto(tmp_path / "hgps.fits")
    catalog = bgnb.read_catalog(tmp_path / "hgps.fits")
    assert (catalog["NAME"].tolist(), catalog["EXTENSION"].tolist()) == (["Vela Junior", "point"], [1, 0])
    for unit, extension in ((u.kpc, 0), (u.dimensionless_unscaled, 0), (None, 5)):
        table = Table({"RA": [83.0], "DEC": [22.0], "Size": [5.0]}, units={"Size": unit})
        assert bgnb.read_catalog(table)["EXTENSION"].tolist() == [extension]
    with raises("bad-catalog", "sources.vot", "several tables"):
        bgnb.read_catalog(tmp_path / "sources.vot")
    with raises("bad-region", "sources.fits", "several tables"):
        bgnb.read_exclusions(tmp_path / "sources.fits")


def test_names_in_csv(tmp_path):
    """Names that are numbers are text as it is written, whatever the case of the name of the column."""
    (tmp_path / "sources.csv").write_text("RA,DEC,Name\n83.6,22.0,007\n10,20,1e3\n")
    assert bgnb.read_catalog(tmp_path / "sources.csv")["NAME"].tolist() == ["007", "1e3"]
    (tmp_path / "sources.csv").write_text("Source_Name,RA,DEC\n0534.10,83.6,22.0\n")
    assert bgnb.read_catalog(tmp_path / "sources.csv")["NAME"].tolist() == ["0534.10"]
    (tmp_path / "sources.csv").write_text('\n"RA", "DEC", "NAME"\n83.6,22.0,"007"\n10,20,"1e3"\n')  # as R and pandas write
    assert bgnb.read_catalog(tmp_path / "sources.csv")["NAME"].tolist() == ["007", "1e3"]


def test_a_column_that_appears_twice(tmp_path):
    # Astropy would give the second another name.
    (tmp_path / "sources.csv").write_text("RA,DEC,RA\n83,22,184\n")
    with raises("bad-catalog", "sources.csv", "several columns have the name RA"):
        bgnb.read_catalog(tmp_path / "sources.csv")
    path = tmp_path / "sources.vot"
    Table({"RA": [83.0], "DEC": [22.0], "X": [184.0]}).write(path, format="votable", tabledata_format="tabledata")
    path.write_text(re.sub('<FIELD ID="[A-Z]*"', "<FIELD", path.read_text()).replace('name="X"', 'name="RA"'))
    with raises("bad-catalog", path, "several columns have the name RA"):
        bgnb.read_catalog(path)


@pytest.mark.parametrize("ending", ["rdb", "html", "tex", "dat"])
def test_other_formats_are_refused(tmp_path, ending):
    path = tmp_path / f"sources.{ending}"
    Table({"RA": [83.0], "DEC": [22.0]}).write(path, format={"dat": "ascii.ipac"}.get(ending))
    with raises("bad-catalog", path, "FITS, VOTable, ECSV (*.ecsv) or CSV (*.csv)"):
        bgnb.read_catalog(path)


@pytest.mark.parametrize("name", ["NAME", "RA"])
def test_columns_of_positions_and_times(tmp_path, name):
    # Astropy makes such columns from ECSV; another one, which is not used, may be of any kind.
    other = Time([53000.0], format="mjd") if name == "RA" else SkyCoord([83.0], [22.0], unit="deg")
    table = QTable({"RA": [83.0], "DEC": [22.0]})
    table["OTHER"] = other
    table.write(tmp_path / "good.ecsv")
    assert bgnb.read_catalog(tmp_path / "good.ecsv")["RA"].tolist() == [83.0]
    table[name] = other
    table.write(tmp_path / "bad.ecsv")
    with raises("bad-catalog", "bad.ecsv", f"column {name} is a {type(other).__name__}"):
        bgnb.read_catalog(tmp_path / "bad.ecsv")
