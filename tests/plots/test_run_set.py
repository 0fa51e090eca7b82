"""Runs as dashboards show them: times."""

import numpy as np
import pytest
from astropy.table import Table
from astropy.time import Time

from bgnb import ObservationGroups
from bgnb.observations.catalog import read_catalog
from bgnb.observations.run_selection import Selection
from bgnb.plots.run_set import RunSet


def run_set(**columns):
    """Make runs with some columns."""
    number = len(next(iter(columns.values())))
    table = Table(
        {"OBS_ID": np.arange(number) + 1, "ALT_PNT": np.full(number, 70.0), "AZ_PNT": np.full(number, 10.0)} | columns
    )
    selection = Selection(tuple(table["OBS_ID"].tolist()), {})
    return RunSet(origin="runs", table=table, selection=selection, groups=ObservationGroups(), catalog=read_catalog())


@pytest.mark.parametrize("missing", ["TSTART", "MJDREFI", "DATE-OBS", "number in MJDREFI", "number in MJDREFF", ""])
def test_start_of_runs(missing):
    """The start is that of the mission time, or of the date; a run without either has none."""
    times = Time(["2004-03-26T22:15:00", "2009-11-02T01:30:00"], scale="tt")
    reference = 51910 + 0.00074287037
    columns = {
        "TSTART": (times.mjd - reference) * 86400, "DATE-OBS": [each[:10] for each in times.isot],
        "TIME-OBS": [each[11:19] for each in times.isot],
    }  # fmt: skip
    runs = run_set(**{name: values for name, values in columns.items() if name != missing})
    runs.table.meta = {"MJDREFI": 51910, "MJDREFF": 0.00074287037}
    if missing == "MJDREFI":
        del runs.table.meta["MJDREFI"]
    if missing.startswith("number"):
        runs.table.meta[missing.split()[-1]] = "unknown"
    np.testing.assert_allclose(runs.start, times.mjd, atol=1e-5)
    assert runs.details["start"] == ["2004-03-26 22:15", "2009-11-02 01:30"]
    label, values = runs.abscissae["time"]
    assert label == "start / year"
    np.testing.assert_allclose(values, times.jyear, atol=1e-5)


def test_short_times_and_bad_dates():
    """Times within two years are days since the first; an invalid date is unknown."""
    runs = run_set(**{"DATE-OBS": ["2010-01-03", "2010-01-01", "soon"], "TIME-OBS": ["12:00:00", "06:00:00", "00:00:00"]})
    label, values = runs.abscissae["time"]
    assert label == "start / days since 2010-01-01"
    np.testing.assert_allclose(values, [2.5, 0.25, np.nan])
    assert runs.details["start"][2] == "–"
    assert "time" not in run_set(**{"DATE-OBS": ["soon"]}).abscissae


def test_time_zones_and_missing_tstart():
    """Dates may state a time zone; runs without TSTART have the date."""
    dates = ["2010-01-03T12:00:00Z", "2010-01-03T13:00:00+01:00", "2010-01-03T12:00:00", "0001-01-01T00:00:00+23:00"]
    middle = Time("2010-01-03T12:00:00").mjd
    runs = run_set(**{"DATE-OBS": dates, "TSTART": [np.nan, np.nan, 0.0, np.nan]})
    np.testing.assert_allclose(runs.start[:3], middle)
    runs.table.meta = {"MJDREFI": 51910}
    del runs.__dict__["start"]
    np.testing.assert_allclose(runs.start[:3], [middle, middle, 51910])


@pytest.mark.parametrize("mjd", [4e6, -1e7, 1e12, np.inf, np.nan])
def test_dates_that_cannot_be_written(mjd):
    """A start outside the years 1 to 9999 has no date; those of other runs are shown."""
    runs = run_set(TSTART=[(mjd - 51910) * 86400, 0.0])
    runs.table.meta = {"MJDREFI": 51910}
    assert runs.details["start"] == ["–", "2001-01-01 00:00"]
    assert len(runs.abscissae["OBS_ID"][1]) == 2
    alone = run_set(TSTART=[(mjd - 51910) * 86400])
    alone.table.meta = {"MJDREFI": 51910}
    assert alone.details["start"] == ["–"]
    assert "OBS_ID" in alone.abscissae
