"""Epochs: assignment of runs to periods or to values of a column."""

import numpy as np
import pytest
from astropy import units as u
from astropy.table import MaskedColumn, QTable, Table
from astropy.time import Time

from bgnb import open_runs
from bgnb.observations.epochs import Epochs
from bgnb.observations.run_selection import Reason
from tests.helpers.errors import raises
from tests.helpers.run_files import MJDREF, TSTART, run, write_gadf

START = MJDREF + TSTART / 86400  # MJD of all runs, TT


def table_of(*rows):
    return Table(rows=rows, names=("EPOCH", "START", "STOP"))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Three runs at the same time, with two further columns of the index."""
    indir = write_gadf(tmp_path_factory.mktemp("epochs") / "in", [run(2, 50), run(3, 50), run(5, 50)])
    index = Table.read(indir / "obs-index.fits.gz")
    index["TELLIST"], index["CONFIG"] = ["1,2,3", "1,2,4", ""], [7, 8, 7]
    index.write(indir / "obs-index.fits.gz", overwrite=True)
    return open_runs(indir, "GADF")


def test_runs_belong_to_periods(runs, tmp_path):
    """A run belongs to the period in which it starts; periods contain their start, and not their end."""
    second = 1 / 86400
    for rows, expected in (
        ([("a", START - 3, START), ("b", START, START + 1)], "b"),
        ([("a", START - 3, START + second), ("b", START + 1, START + 2)], "a"),
        ([("a", START - 3, START - second), ("b", START + second, START + 2)], Reason("outside all epochs", "2004-12-04")),
    ):
        table_of(*rows).write(tmp_path / "epochs.ecsv", overwrite=True)
        epochs = Epochs.read(tmp_path / "epochs.ecsv", runs)
        assert epochs.of(runs) == dict.fromkeys((2, 3, 5), expected)
        assert Epochs.from_table(epochs.as_table(), "table") == epochs


def test_dates_are_in_utc(runs, tmp_path):
    """Dates are those of Astropy in UTC."""
    table_of(("x", "2004-05-01", "2005-05-01T12:00:00")).write(tmp_path / "epochs.csv")
    epochs = Epochs.read(tmp_path / "epochs.csv", runs)
    expected = Time(["2004-05-01", "2005-05-01T12:00:00"], scale="utc").tt.mjd
    np.testing.assert_allclose(epochs.periods["x"], expected, rtol=0, atol=1e-9)


def test_names_that_are_numbers(runs, tmp_path):
    """Names in CSV are text as it is written."""
    (tmp_path / "epochs.csv").write_text("EPOCH,START,STOP\n2004.1,53000,53100\n2004.10,53100,53200\n007,53200,53300\n")
    assert [*Epochs.read(tmp_path / "epochs.csv", runs).periods] == ["2004.1", "2004.10", "007"]


def test_years_and_julian_dates():
    """Numbers that are no MJDs are refused; open ends, such as 0 and 99999, are not."""
    for start, stop, words in (
        (2004, 2005, "2004 seems to be a year"),
        (START - 1, 2453371.5, "2453371.5 seems to be a Julian date"),
    ):
        with raises("invalid-argument", "START" if stop == 2005 else "STOP", words):
            Epochs.from_table(table_of(("x", start, stop)), "table")
    assert [*Epochs.from_table(table_of(("x", 0, 99999)), "table").periods] == ["x"]


def test_times_in_fits(runs, tmp_path):
    """Times that Astropy wrote to FITS, and numbers with another reference or scale, are refused with advice."""
    times = Time([START - 1, START + 1], format="mjd", scale="tt")
    Table({"EPOCH": ["x"], "START": times[:1], "STOP": times[1:]}).write(tmp_path / "epochs.fits")
    with raises("invalid-argument", "epochs.fits", "START", "as ECSV"):
        Epochs.read(tmp_path / "epochs.fits", runs)
    for key, value in (("MJDREFI", 51910), ("MJDREF", 51910.5), ("TIMESYS", "UTC")):
        table = table_of(("x", START - 1, START + 1))
        table.meta[key] = value
        table.write(tmp_path / "epochs.fits", overwrite=True)
        with raises("invalid-argument", "epochs.fits", key):
            Epochs.read(tmp_path / "epochs.fits", runs)
    for reference in (0, 0.0, "0"):
        table.meta = {"MJDREF": reference, "TIMESYS": "tt"}
        assert [*Epochs.from_table(table, "table").periods] == ["x"]
    table = Table({"EPOCH": ["x"], "START": ["2004-05-01"], "STOP": ["2005-05-01"]}, meta={"TIMESYS": "UTC"})
    table.write(tmp_path / "epochs.fits", overwrite=True)  # as text, to which it does not apply
    assert [*Epochs.read(tmp_path / "epochs.fits", runs).periods] == ["x"]


def test_dates_of_other_centuries(runs, tmp_path):
    """Epochs may have open ends, given as dates of which the leap seconds are unknown."""
    table_of(("x", "0001-01-01", "2004-05-01"), ("y", "2004-05-01", "9999-12-31")).write(tmp_path / "epochs.csv")
    assert Epochs.read(tmp_path / "epochs.csv", runs).of(runs) == dict.fromkeys((2, 3, 5), "y")


def test_columns_name_epochs(runs):
    """Values of a column become names of directories; runs without a value have no epoch."""
    assert Epochs.read("tellist", runs).of(runs) == {2: "1_2_3", 3: "1_2_4", 5: Reason("without an epoch")}
    assert Epochs.read("CONFIG", runs).of(runs) == {2: "7", 3: "8", 5: "7"}


@pytest.mark.parametrize(
    ("rows", "code", "words"),
    [
        ([("a", 53000.0, 53010.0), ("b", 53009.0, 53020.0)], "invalid-argument", ("a and b overlap",)),
        ([("a", 53010.0, 53010.0)], "invalid-argument", ("epoch a",)),
        ([("a", 53000.0, 53010.0), ("a", 53010.0, 53020.0)], "invalid-argument", ("differ", "EPOCH")),
        ([("../a", 53000.0, 53010.0)], "invalid-argument", ("'../a'",)),
        ([("a", 53000.0, np.nan)], "invalid-argument", ("STOP", "finite")),
        ([("a", "spring", "autumn")], "invalid-argument", ("START", "dates")),
        ([("a", 53000.0, 9e9)], "invalid-argument", ("STOP", "dates")),
        ([("a" * 201, 53000.0, 53010.0)], "invalid-argument", ("more than 200 bytes",)),
    ],
)
def test_invalid_periods(runs, tmp_path, rows, code, words):
    """Tables with overlapping, empty, invalid or duplicate epochs are refused."""
    table_of(*rows).write(tmp_path / "epochs.ecsv")
    with raises(code, *words):
        Epochs.read(tmp_path / "epochs.ecsv", runs)


@pytest.mark.parametrize(
    ("starts", "words"),
    [
        (Time([53000.0, 53100.0], format="mjd", scale="local"), "time scale is local"),
        (Time([53000.0, 53100.0], format="mjd", scale="ut1"), "time scale is ut1"),
        ([[53000.0, 1.0], [53100.0, 2.0]], "more than one value"),
        ([2004.0, 2005.0] * u.yr, "unit is yr"),
        (MaskedColumn([53000.0, 53100.0], mask=[False, True]), "a value is missing"),
    ],
)
def test_times_of_epochs_that_cannot_be_used(runs, tmp_path, starts, words):
    """Times whose MJD is not known, or perhaps misunderstood, are refused, and nothing is downloaded."""
    table = QTable({"EPOCH": ["a", "b"], "STOP": [53100.0, 53200.0]})
    table["START"] = starts
    table.write(tmp_path / "epochs.ecsv")
    with raises("invalid-argument", "epochs.ecsv", "START", words):
        Epochs.read(tmp_path / "epochs.ecsv", runs)


def test_times_of_epochs_in_other_scales(runs, tmp_path):
    """A column of times is converted to TT, as MJDs in days are."""
    tai = QTable({"EPOCH": ["a"], "START": Time([53000.0], format="mjd", scale="tai"), "STOP": [53100.0] * u.d})
    tai.write(tmp_path / "epochs.ecsv")
    periods = Epochs.read(tmp_path / "epochs.ecsv", runs).periods
    assert periods == {"a": pytest.approx((53000 + 32.184 / 86400, 53100), rel=0, abs=1e-9)}


def test_invalid_sources_of_epochs(runs, tmp_path):
    """Files and columns that cannot be used are named."""
    with raises("not-found", "nothing", "TELLIST"):
        Epochs.read("nothing", runs)
    (tmp_path / "text.csv").write_text("nonsense")
    with raises("missing-column", "text.csv", "EPOCH"):
        Epochs.read(tmp_path / "text.csv", runs)
    (tmp_path / "bytes").write_bytes(b"\0\1")
    with raises("invalid-argument", "bytes"):
        Epochs.read(tmp_path / "bytes", runs)
    with raises("bad-column", "RA_PNT"):
        Epochs.read("RA_PNT", runs).of(runs)
    with raises("missing-column", "OTHER"):
        Epochs(column="OTHER", periods={}).of(runs)
