"""Catalogues, selections of runs, and groups."""

import gzip
from dataclasses import replace
from importlib.resources import as_file, files

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import MaskedColumn, Table
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from bgnb import (
    DataError,
    ObservationGroups,
    make_test_observation_table,
    open_runs,
    read_catalog,
    read_groups,
    select_all_runs,
    select_listed_runs,
    select_off_runs,
    write_groups,
)
from bgnb.observations.catalog import DEFAULT_CATALOG
from bgnb.observations.coordinates import mean_azimuth
from bgnb.observations.groups import group_runs
from bgnb.observations.run_selection import Reason, notes_on_sources, read_run_list, select_runs, spread_out
from bgnb.production.settings import RunSelection
from tests.helpers.errors import raises
from tests.helpers.run_files import run, write_gadf


@pytest.fixture
def runs(tmp_path):
    """Five runs at right ascensions 60, 70, … 100 deg and declination −45 deg."""
    parts = [run(obs_id, 5, RA_PNT=50.0 + 10 * obs_id, DEC_PNT=-45.0) for obs_id in (1, 2, 3, 4, 5)]
    return open_runs(write_gadf(tmp_path / "in", parts), "GADF")


def test_exclusion_radius_and_extension(runs):
    """Skip runs within the radius plus twice the extension of a source."""
    pointing = SkyCoord([70, 90] * u.deg, -45 * u.deg)
    sources = pointing.directional_offset_by([10, 190] * u.deg, [3.9, 3.9] * u.deg)
    catalog = Table({"NAME": ["wide", "narrow"], "RA": sources.ra.deg, "DEC": sources.dec.deg, "EXTENSION": [0.46, 0.44]})
    selection = select_off_runs(runs, catalog)
    assert selection.kept == (1, 3, 4, 5)
    assert selection.skipped == {2: Reason("near a known source", "wide, 3.90 deg")}
    assert select_off_runs(runs, catalog, exclusion_radius=3.1 * u.deg).kept == (1, 3, 5)


def test_nearest_source_is_named(runs):
    """Name the nearest source anywhere on the sky, as astropy finds it."""
    rng = np.random.default_rng(1)
    n_runs = 5000
    table = Table({"OBS_ID": np.arange(n_runs), "RA_PNT": rng.uniform(-360, 360, n_runs)})
    table["DEC_PNT"] = np.r_[-90, 90, np.degrees(np.arcsin(rng.uniform(-1, 1, n_runs - 2)))]  # with the poles
    catalog = Table({"NAME": [f"s{number}" for number in range(80)], "RA": rng.uniform(0, 360, 80)})
    catalog["DEC"], catalog["EXTENSION"] = np.r_[-89, 88, rng.uniform(-90, 90, 78)], rng.uniform(0, 3, 80)
    selection = select_off_runs(replace(runs, table=table), catalog)
    pointing = SkyCoord(table["RA_PNT"], table["DEC_PNT"], unit="deg")[:, None]
    distance = pointing.separation(SkyCoord(catalog["RA"], catalog["DEC"], unit="deg")).deg
    excess = distance - 3 - 2 * np.array(catalog["EXTENSION"])
    expected = {
        row: Reason("near a known source", f"s{source}, {distance[row, source]:.2f} deg")
        for row, source in enumerate(excess.argmin(axis=1).tolist())
        if excess[row, source] < 0
    }
    assert len(expected) > 900
    assert selection.skipped == expected


def test_used_runs_near_sources(runs):
    """Note the used runs within the radius of a source, and the nearest source; not simulated runs, which contain none."""
    crab = 83.63, 22.01
    table = runs.table.copy()
    table["RA_PNT"] = [crab[0], crab[0], 0.0, crab[0], crab[0]]
    table["DEC_PNT"] = [crab[1] - 2.5, crab[1] - 0.5, -45.0, crab[1] - 3.2, crab[1] + 0.2]
    near = replace(runs, table=table)
    (note,) = notes_on_sources(near, [1, 2, 3, 4])  # run 5 is nearest, but not used
    assert ": 1, 2 (nearest: Crab nebula, 0.50 deg from run 2);" in note
    assert "--sources mask" in note
    assert notes_on_sources(near, [3, 4]) == []
    table["OBJECT"] = ["simulated", "Crab", "simulated", "", "simulated"]
    (note,) = notes_on_sources(replace(near, table=table), [1, 2, 3, 4, 5])
    assert ": 2 (" in note
    assert set(make_test_observation_table(2)["OBJECT"]) == {"simulated"}


def test_default_catalogue():
    """Contain the Crab nebula, and many extended sources."""
    catalog = read_catalog()
    crab = catalog[list(catalog["NAME"]).index("Crab nebula")]
    assert (round(crab["RA"], 2), round(crab["DEC"], 2)) == (83.63, 22.01)
    assert len(catalog) > 150
    with as_file(files("bgnb.observations") / "tev_sources.ecsv") as path:
        assert "gamma-cat, https://github.com/gammapy/gamma-cat, state of 2018-07" in Table.read(path).meta["source"]
    assert DEFAULT_CATALOG == "gamma-cat (July 2018)"
    assert max(catalog["EXTENSION"]) > 0.5


@pytest.mark.parametrize(
    ("columns", "meta", "words"),
    [
        ({"RA": [1.0], "ra": [2.0], "DEC": [3.0]}, {}, ["RA", "ra", "case"]),
        ({"RA": [[1.0, 2.0]], "DEC": [3.0]}, {}, ["RA", "each row"]),
        ({"RA": ["05:34:32"], "DEC": [3.0]}, {}, ["RA", "05:34:32"]),
        ({"RA": MaskedColumn([1, 2], mask=[False, True]), "DEC": [3.0, 4.0]}, {}, ["RA of source 2", "nan"]),
        ({"RA": [1.0], "DEC": [3.0]}, {"RADESYS": "FK4", "EQUINOX": 1950.0}, ["FK4", "1950", "ICRS"]),
        ({"RA": [1.0], "DEC": [3.0]}, {"EQUINOX": "J1975"}, ["J1975"]),
    ],
)
def test_wrong_catalogues_are_refused(tmp_path, columns, meta, words):
    """Refuse ambiguous columns, several numbers in a row, text, empty cells, and frames other than ICRS."""
    path = tmp_path / "catalog.ecsv"
    Table(columns, meta=meta).write(path)
    with raises("bad-catalog", path, *words):
        read_catalog(path)


def test_spellings_of_a_catalogue(tmp_path):
    """Read tables with a byte order mark, compressed, of integers with a mask, and number sources without a name."""
    text = "NAME,RA,DEC,EXTENSION\na,10,20,\n,30,40,1\n"
    contents = {"a.csv": b"\xef\xbb\xbf" + text.encode(), "b.csv.gz": gzip.compress(text.encode())}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    masked = {name: MaskedColumn([1, 2]) for name in ("RA", "DEC", "EXTENSION")}
    Table(masked, meta={"RADESYS": "FK5", "EQUINOX": 2000.0}).write(tmp_path / "c.vot", format="votable")
    for name in contents:
        catalog = read_catalog(tmp_path / name)
        assert catalog["NAME"].tolist() == ["a", "source 2"]
        assert [catalog[column].tolist() for column in ("RA", "DEC", "EXTENSION")] == [[10, 30], [20, 40], [0, 1]]
    assert read_catalog(tmp_path / "c.vot")["EXTENSION"].tolist() == [1, 2]
    latin = Table({"NAME": ["Cass A"], "RA": [350.0], "DEC": [58.0]})
    latin.write(tmp_path / "e.fits")
    (tmp_path / "e.fits").write_bytes((tmp_path / "e.fits").read_bytes().replace(b"Cass A", b"Cass\xe9A"))
    assert read_catalog(tmp_path / "e.fits")["NAME"].tolist() == ["Cass\N{REPLACEMENT CHARACTER}A"]
    content = (tmp_path / "e.fits").read_bytes()
    many = b"TFIELDS =         999999999999"  # would take all memory
    (tmp_path / "f.fits").write_bytes(content.replace(b"TFIELDS =                    3", many))
    with raises("bad-keyword", "f.fits", "TFIELDS"):
        read_catalog(tmp_path / "f.fits")
    (tmp_path / "d.txt").write_text("RA DEC\n10 20\n")
    with raises("bad-catalog", "d.txt", "ECSV", "CSV"):
        read_catalog(tmp_path / "d.txt")


def test_catalogue_needs_positions(tmp_path):
    """Read columns in any case and unit, and name what is missing."""
    Table({"ra": [1.0], "Dec": [np.radians(2.0)]}, units={"Dec": "rad"}).write(tmp_path / "good.ecsv")
    catalog = read_catalog(tmp_path / "good.ecsv")
    assert catalog["DEC"][0] == pytest.approx(2.0)
    assert catalog["EXTENSION"][0] == 0
    Table({"RA": [1.0]}).write(tmp_path / "bad.ecsv")
    with raises("bad-catalog", "bad.ecsv", "column DEC", "RA"):
        read_catalog(tmp_path / "bad.ecsv")
    Table({"RA": [1.0], "DEC": [np.nan]}).write(tmp_path / "nan.ecsv")
    with raises("bad-catalog", "nan.ecsv", "DEC of source 1", "nan deg", "-90 and 90 deg"):
        read_catalog(tmp_path / "nan.ecsv")
    with raises("not-found", "none.ecsv"):
        read_catalog(tmp_path / "none.ecsv")
    (tmp_path / "not.ecsv").write_text("hello")
    with raises("bad-catalog", "not.ecsv", "ECSV header line"):
        read_catalog(tmp_path / "not.ecsv")


def test_values_of_a_catalogue():
    """Read empty extensions as 0, and name sources with impossible values."""
    table = Table({"Ra": [-360.0, 360.0], "dec": [-90.0, 90.0]})
    assert read_catalog(table)["NAME"].tolist() == ["source 1", "source 2"]
    table["EXTENSION"] = MaskedColumn([180.0, 7.0], mask=[False, True], unit="deg")
    assert read_catalog(table)["EXTENSION"].tolist() == [180, 0]
    table["EXTENSION"] = [np.nan, 7.0]  # as in the text files of gamma-cat; FITS has no other empty cells
    table["e_Flux"], table["E_Flux"] = [1.0, 2.0], [3.0, 4.0]  # as in VizieR
    table.meta["EQUINOX"] = "J2000.000"
    assert read_catalog(table)["EXTENSION"].tolist() == [0, 7]
    assert read_catalog(table)["RA"].unit == read_catalog(table)["EXTENSION"].unit == "deg"
    for name, value, words in (
        ("EXTENSION", [0.0, -0.1], ("EXTENSION of source 2", "-0.1 deg", "0 and 180 deg")),
        ("EXTENSION", [181.0, 0.0], ("EXTENSION of source 1", "181 deg")),
        ("Ra", [0.0, 361.0], ("RA of source 2", "361 deg", "-360 and 360 deg")),
        ("Ra", [-361.0, 0.0], ("RA of source 1", "-361 deg")),
        ("dec", MaskedColumn([1.0, 2.0], mask=[False, True]), ("DEC of source 2", "nan deg")),
        ("dec", [1.0, 2.0] * u.TeV, ("column DEC", "not an angle")),
        ("dec", ["north", "south"], ("column DEC", "not an angle")),
    ):
        changed = table.copy()
        changed[name] = value
        with raises("bad-catalog", "catalog: ", *words):
            read_catalog(changed)
    with raises("bad-catalog", "no sources"):
        read_catalog(table[:0])


def in_other_units(rows):
    """Return known sources without units, in deg, hours, radians and galactic coordinates."""
    known = read_catalog()[rows]
    sky = SkyCoord(known["RA"], known["DEC"], unit="deg")
    positions = {
        "deg": (sky.ra.deg, sky.dec.deg),
        "hours": (sky.ra.hour, sky.dec.deg),
        "radians": (sky.ra.rad, sky.dec.rad),
        "galactic": (sky.galactic.l.deg, sky.galactic.b.deg),
    }
    return {name: Table({"RA": np.array(ra), "DEC": np.array(dec)}) for name, (ra, dec) in positions.items()}


@pytest.mark.parametrize("rows", [slice(None), slice(3, None, 21), slice(0, 100, 25)])
def test_catalogue_without_units(rows):
    """Known sources in hours, radians or galactic coordinates without units are refused, and used with units."""
    tables = in_other_units(rows)
    expected = read_catalog()[rows]
    assert_allclose(read_catalog(tables["deg"])["RA"], expected["RA"])
    for name, words in {"hours": ("hours", "unit"), "radians": ("radians", "unit"), "galactic": ("GLON", "GLAT")}.items():
        with raises("bad-catalog", "catalog: ", *words):
            read_catalog(tables[name])
    tables["hours"]["RA"].unit = "hourangle"
    for name in ("RA", "DEC"):
        tables["radians"][name].unit = "rad"
    tables["galactic"].rename_columns(["RA", "DEC"], ["GLON", "glat"])
    for name in ("hours", "radians", "galactic"):
        catalog = read_catalog(tables[name])
        assert_allclose(catalog["RA"], expected["RA"], atol=1e-9)
        assert_allclose(catalog["DEC"], expected["DEC"], atol=1e-9)
        assert catalog["RA"].unit == catalog["DEC"].unit == "deg"
        assert_allclose(read_catalog(catalog)["RA"], expected["RA"], atol=1e-9)


def test_sources_without_known_ones():
    """Many unknown sources whose ranges are those of hours or radians are refused unless they state deg."""
    rng = np.random.default_rng(4)
    dec = np.linspace(-50, 50, 12) + 0.7
    for word, ra, latitude in (("hours", rng.uniform(0, 24, 12), dec), ("radians", rng.uniform(0, 6.28, 12), np.radians(dec))):
        table = Table({"RA": ra, "DEC": latitude})
        with raises("bad-catalog", word, "unit deg"):
            read_catalog(table)
        assert len(read_catalog(table[:9])) == 9
        table["RA"].unit = table["DEC"].unit = "deg"
        assert_allclose(read_catalog(table)["RA"], ra)


def test_small_catalogues_are_accepted():
    """Catalogues in deg are accepted: few sources, near (0, 0), in one field, known ones, or in the Galactic plane."""
    rng = np.random.default_rng(6)
    known = read_catalog()
    plane = SkyCoord(rng.uniform(0, 360, 40) * u.deg, rng.normal(0, 1, 40) * u.deg, frame="galactic").icrs
    low = known[known["RA"] < 24]
    for ra, dec in (
        ([1.0], [1.0]),
        ([0.0, 3.0, 6.0], [0.0, -1.0, 1.5]),
        (rng.uniform(0, 6, 9), rng.uniform(-1.5, 1.5, 9)),
        (10 + rng.uniform(0, 3, 30), -40 + rng.uniform(0, 3, 30)),
        (low["RA"], low["DEC"]),
        (plane.ra.deg, plane.dec.deg),
        (rng.uniform(0, 360, 300), rng.uniform(-90, 90, 300)),
        (np.array(known["RA"]) - 360, known["DEC"]),
    ):
        table = Table({"RA": np.array(ra), "DEC": np.array(dec)})
        assert_allclose(read_catalog(table)["DEC"], table["DEC"])


def test_galactic_catalogue(tmp_path):
    """Read GLON and GLAT in any unit, and name them in errors."""
    Table({"glon": [6.28], "GLAT": [-5.784]}, units={"glon": "rad"}).write(tmp_path / "good.ecsv")
    expected = SkyCoord(np.degrees(6.28) * u.deg, -5.784 * u.deg, frame="galactic").icrs
    catalog = read_catalog(tmp_path / "good.ecsv")
    assert catalog.colnames == ["NAME", "RA", "DEC", "EXTENSION"]
    assert_allclose([catalog["RA"][0], catalog["DEC"][0]], [expected.ra.deg, expected.dec.deg])
    with raises("bad-catalog", "GLAT of source 1", "95 deg"):
        read_catalog(Table({"GLON": [1.0], "GLAT": [95.0]}))
    with raises("bad-catalog", "column DEC"):
        read_catalog(Table({"RA": [1.0], "GLON": [1.0], "GLAT": [5.0]}))
    extended = Table({"RA": [1.0], "DEC": [2.0], "EXTENSION": MaskedColumn([30.0], mask=[False], unit="arcmin")})
    assert_allclose(read_catalog(extended)["EXTENSION"], 0.5)


def test_listed_runs_and_all_runs(runs):
    """Select listed or all runs, and name runs that do not exist."""
    assert select_all_runs(runs).kept == (1, 2, 3, 4, 5)
    selection = select_listed_runs(runs, [4, 2])
    assert selection.kept == (2, 4)
    assert set(selection.skipped) == {1, 3, 5}
    with raises("not-found", "run 77"):
        select_listed_runs(runs, [1, 77])


def test_select_by_word_list_or_file(runs, tmp_path):
    """Select by word, list or file; skip runs with errors, or raise the first."""
    catalog = Table({"RA": [70.0, 80.0], "DEC": [-45.0, -45.5]})
    with_error = replace(runs, errors={4: DataError("damaged", "run 4 is\nbroken")})
    (tmp_path / "list.txt").write_text("# good ones\n\n 5 # the last\n4\n3#\n")
    for select, kept in (
        ("Far", (1, 5)),
        ("ALL", (1, 2, 3, 5)),
        ([5, 4, 1], (1, 5)),
        (tmp_path / "list.txt", (3, 5)),
        (str(tmp_path / "list.txt"), (3, 5)),
    ):
        selection = select_runs(with_error, select, catalog, 2 * u.deg)
        assert selection.kept == kept
        assert sorted((*kept, *selection.skipped)) == [1, 2, 3, 4, 5]
        reason = selection.skipped[4]
        assert (reason.is_error, str(reason).isprintable()) == (True, True)
        assert str(reason).endswith("[damaged]")
        with raises("damaged", "run 4", kind=DataError):
            select_runs(with_error, select, catalog, 2 * u.deg, on_error="fail")
        assert set(select_runs(runs, select, catalog, 2 * u.deg, on_error="fail").kept) >= set(kept)
    assert str(selection.skipped[1]) == "not in the list of runs"
    with raises("not-found", "runs 10, 11, 12, 13, 14 and 1 more are not in"):
        select_runs(runs, [1, *range(15, 9, -1)])
    with raises("not-found", "runs 10, 11, 12, 13, 14 are not in"):
        select_runs(runs, range(10, 15))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"1\n\n2 3\n", ("line 3", "'2 3'")),
        (b"-1\n", ("line 1", "'-1'")),
        (b"# none\n", ("OBS_ID",)),
        (b"1\n" + b"9" * 5000, ("line 2", "'999")),
        (b"\xff\xfe", ("select", "'far', 'all'", "text")),
    ],
)
def test_broken_list_of_runs(tmp_path, content, words):
    """Name the file and the line that cannot be used."""
    (tmp_path / "list.txt").write_bytes(content)
    with raises("invalid-argument", "list.txt", *words):
        read_run_list(tmp_path / "list.txt")


def test_list_with_byte_order_mark(tmp_path):
    """Read a list as editors on Windows write it."""
    (tmp_path / "list.txt").write_bytes(b"\xef\xbb\xbf3\r\n2 # later\r\n")
    assert read_run_list(tmp_path / "list.txt") == (3, 2)


def test_texts_in_latin_1(tmp_path):
    """Names and comments may be in Latin-1; tables in UTF-16 are refused with advice."""
    text = "NAME,RA,DEC\nKönigstuhl,150.0,49.0\n"
    (tmp_path / "a.csv").write_text(text, encoding="latin-1")
    assert read_catalog(tmp_path / "a.csv")["NAME"].tolist() == ["Königstuhl"]
    (tmp_path / "A.CSV").write_text(text, encoding="latin-1")
    assert read_catalog(tmp_path / "A.CSV")["NAME"].tolist() == ["Königstuhl"]
    columns = "datatype:\n# - {name: RA, datatype: float64}\n# - {name: DEC, datatype: float64}"
    header = f"# %ECSV 1.0\n# ---\n# {columns}\n# meta: [1, 2]\n"
    (tmp_path / "A.ecsv").write_text(f"{header}RA DEC\n150.0 49.0\n")  # Astropy warns of other metadata than a mapping
    assert read_catalog(tmp_path / "A.ecsv")["DEC"].tolist() == [49.0]
    (tmp_path / "b.csv").write_text(text, encoding="utf-16")
    with raises("bad-catalog", "b.csv", "save it as UTF-8"):
        read_catalog(tmp_path / "b.csv")
    (tmp_path / "list.txt").write_bytes("8  # über Königstuhl\n".encode("latin-1"))
    assert list(read_run_list(tmp_path / "list.txt")) == [8]


def test_missing_list_of_runs():
    """A misspelled name may be a file or a choice."""
    with raises("not-found", "select", "'far', 'all'", "'fra'"):
        read_run_list("fra")


def test_unknown_run_names_its_list(runs, tmp_path):
    """A run that the directory lacks is named with the file that lists it, from a path and from settings, or the setting."""
    path = tmp_path / "list.txt"
    path.write_text("2\n33787\n")
    for select in (path, RunSelection(select=path).select):
        with raises("not-found", f"{path}: run 33787", runs.path):
            select_runs(runs, select)
    with raises("not-found", "select: run 33787", runs.path):
        select_runs(runs, [2, 33787])


def test_errors_precede_other_reasons(runs):
    """Report an error of the index even if the run points near a source; its text contains the code."""
    error = DataError("bad-index", "broken")
    selection = select_off_runs(replace(runs, errors={2: error}), Table({"RA": [70.0], "DEC": [-45.0]}))
    assert selection.skipped[2] == Reason.from_error(error) == Reason.from_text("cannot be used: broken [bad-index]")
    assert str(selection.skipped[2]) == "cannot be used: broken [bad-index]"
    assert selection.skipped[2].is_error


def test_spread_out_over_the_table(runs):
    """Select evenly spaced runs."""
    selection = spread_out(select_all_runs(runs), 3)
    assert selection.kept == (1, 3, 5)
    assert selection.skipped == dict.fromkeys((2, 4), Reason("quick test with 3 runs"))
    assert spread_out(selection, 3) == selection
    assert spread_out(selection, 2).kept == (1, 5)
    assert set(spread_out(selection, 2).skipped) == {2, 3, 4}


def test_group_ids_of_default_groups():
    """Number the default groups as documented."""
    groups = ObservationGroups()
    assert groups.group_id(72, 90) == 27
    assert groups.group_id(90, 269.9) == 27
    assert groups.group_id(72, 89.9) == 26
    assert groups.group_id(71.9, 270) == 24  # azimuth 270 is −90
    assert groups.group_id(0, -90) == 0
    assert groups.group_id(-1, 0) is None
    assert groups.table["ALT_MIN", "ALT_MAX", "AZ_MIN", "AZ_MAX"][27].as_void().tolist() == (72, 90, 90, 270)


@given(alt=st.floats(0, 90), az=st.floats(-360, 720))
def test_pointings_within_group_edges(alt, az):
    """Group any pointing between the edges of its group."""
    groups = ObservationGroups([0, 30, 50, 90] * u.deg, [-45, 45, 135, 200, 315] * u.deg)
    row = groups.table[groups.group_id(alt, az)]
    assert row["ALT_MIN"] <= alt <= row["ALT_MAX"]
    inside = (az - row["AZ_MIN"]) % 360
    assert inside <= row["AZ_MAX"] - row["AZ_MIN"] + 1e-9 or inside > 360 - 1e-9


def test_default_group_edges():
    """Use the documented default edges."""
    groups = ObservationGroups()
    assert groups.alt_edges.to_value("deg").tolist() == [0, 20, 23, 27, 30, 33, 37, 40, 44, 49, 53, 58, 64, 72, 90]
    assert groups.az_edges.to_value("deg").tolist() == [-90, 90, 270]


def test_azimuths_are_wrapped():
    """Wrap azimuths into the range of the edges."""
    groups = ObservationGroups([0, 90] * u.deg, [-45, 45, 200] * u.deg)
    azimuths = {-45: 0, 44.9: 0, 45: 1, 199.9: 1, 200: None, 314.9: None, 315: 0, 359: 0, 405: 1, -170: 1}
    assert {azimuth: groups.az_column(azimuth) for azimuth in azimuths} == azimuths
    assert {azimuth: groups.group_id(50, azimuth) for azimuth in azimuths} == azimuths


def test_pointings_outside_groups():
    """Group no pointings outside the edges."""
    groups = ObservationGroups([30, 60] * u.deg, [0, 90] * u.deg)
    assert groups.group_id(45, 180) is None
    assert groups.group_ids([29, 30, 60, 61, 45], [10, 10, 10, 10, -10]).tolist() == [-1, 0, 0, -1, -1]


def test_groups_file_round_trip(tmp_path):
    """Write and read groups, and refuse tables that are not a grid."""
    groups = ObservationGroups([0, 20.1, 90] * u.deg, [-90, 10 / 3, 270] * u.deg)
    write_groups(groups, tmp_path / "groups.ecsv")
    assert read_groups(tmp_path / "groups.ecsv") == groups
    numbered_otherwise = groups.table.copy()
    numbered_otherwise["GROUP_ID"] = [0, 2, 1, 3]
    for table in (groups.table[:3], groups.table[[0, 1, 2, 3, 3]], groups.table[::-1], numbered_otherwise):
        with raises("invalid-value", "grid"):
            ObservationGroups.from_table(table)
    for name in ("GROUP_ID", "ALT_MAX", "AZ_MIN"):
        table = groups.table.copy()
        table.remove_column(name)
        with raises("missing-column", name, table.colnames[0]):
            ObservationGroups.from_table(table)


@pytest.mark.parametrize(
    ("alt", "az", "words"),
    [
        ([0, 91], [0, 360], ("alt_edges", "0 and 90")),
        ([0, 20, 91], [0, 360], ("alt_edges", "0 and 90")),
        ([-1, 20, 90], [0, 360], ("alt_edges", "0 and 90")),
        ([0, 45, 45], [0, 360], ("alt_edges", "increasing", "0,45,45 deg")),
        ([0, 90], [-90, 90, 271], ("az_edges", "360", "-90,90,271 deg")),
        ([0, 90], [0], ("az_edges", "two")),
    ],
)
def test_invalid_group_edges(alt, az, words):
    """Name the edges that are out of range or not increasing."""
    with raises("invalid-value", *words):
        ObservationGroups(alt * u.deg, az * u.deg)


def test_selected_runs_by_group(runs):
    """Sort selected runs by group and OBS_ID, and skip those outside all groups."""
    table = runs.table.copy()
    table["ALT_PNT"], table["AZ_PNT"] = [60.0, 20.0, 95.0, 20.0, 60.0], [10.0, 200.0, 10.0, 190.0, 350.0]
    changed, before = replace(runs, table=table), Reason("not in the list of runs")
    groups = ObservationGroups([10, 50, 90] * u.deg, [-90, 90, 270] * u.deg)
    members, selection = group_runs(changed, select_listed_runs(changed, [1, 2, 3, 5]), groups)
    assert list(members.items()) == [(1, [2]), (2, [1, 5])]
    assert selection.kept == (1, 2, 5)
    assert selection.skipped == {4: before, 3: Reason("altitude and azimuth outside all groups")}
    table["ALT_PNT"] = 20.0
    members, _ = group_runs(replace(runs, table=table), select_all_runs(changed), groups)
    assert list(members.items()) == [(0, [1, 3, 5]), (1, [2, 4])]


def test_mean_azimuth_is_circular():
    """Average azimuths across north."""
    assert mean_azimuth(np.array([359.0, 3.0])) == pytest.approx(1.0)
    assert mean_azimuth(np.array([100.0, 200.0])) == pytest.approx(150.0)
    assert mean_azimuth(np.array([200.0, 300.0])) == pytest.approx(250.0)
