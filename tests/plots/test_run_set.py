"""Runs as dashboards show them: outliers, and times."""

import numpy as np
import pytest
from astropy.table import Table
from astropy.time import Time

from bgnb import ObservationGroups
from bgnb.observations.run_selection import Selection, read_catalog
from bgnb.plots.run_set import RunSet, find_outliers


def run_set(**columns):
    """Make runs with some columns."""
    number = len(next(iter(columns.values())))
    table = Table(
        {"OBS_ID": np.arange(number) + 1, "ALT_PNT": np.full(number, 70.0), "AZ_PNT": np.full(number, 10.0)} | columns
    )
    selection = Selection(tuple(table["OBS_ID"].tolist()), {})
    return RunSet(origin="runs", table=table, selection=selection, groups=ObservationGroups(), catalog=read_catalog())


def test_outliers_are_far_from_median():
    """Values beyond 3.5 standard deviations are outliers, whatever their direction."""
    rng = np.random.default_rng(5)
    values = rng.normal(10, 2, 2001)
    values[:4] = 10 + 2 * np.array([4.2, -4.2, 3.0, -3.0])
    found = find_outliers(values, np.full(len(values), np.nan))
    assert found[:4].tolist() == [True, True, False, False]
    assert found[4:].sum() < 5
    values[4] = np.nan
    assert not find_outliers(values, np.full(len(values), np.nan))[4]


def test_errors_of_outliers_count():
    """A value with a large error is no outlier; constant values with errors have no scatter beyond these."""
    rng = np.random.default_rng(6)
    errors = np.full(1000, 0.5)
    errors[0] = errors[1] = 5.0
    values = 20 + errors * rng.standard_normal(1000)
    values[:3] = 30.0, 45.0, 22.6
    found = find_outliers(values, errors)
    assert found[:3].tolist() == [False, True, True]
    assert found[3:].sum() < 5


def test_outliers_need_five_values():
    """There are no outliers among four values; equal values differ by rounding only."""
    none = np.full(6, np.nan)
    values = np.array([1.0, 1, 1, 1 + 1e-12, 9, np.nan])
    assert find_outliers(values, none).tolist() == [False, False, False, False, True, False]
    assert not find_outliers(values[1:], none[1:]).any()


@pytest.mark.parametrize("missing", ["TSTART", "MJDREFI", "DATE-OBS", ""])
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
