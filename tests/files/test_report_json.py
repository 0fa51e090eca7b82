"""Reports are the JSON of ``json.dumps``, also if iterators make their items."""

import json

import numpy as np
import pytest
from astropy import units as u

from bgnb.files.report_json import REPORT, plain, read_report, write_report

RUNS = [{"obs_id": 1, "notes": ['two\nlines of "text"'], "fractions": {}}, {"obs_id": 2, "notes": [], "fractions": {"3": 0.5}}]


@pytest.mark.parametrize("runs", [RUNS, RUNS[:1], []], ids=["two", "one", "none"])
def test_iterators_are_written_as_lists(runs, tmp_path):
    content = {"settings": {"radius": 2 * u.deg, "empty": {}}, "notes": (), "rates": np.array([[1.5, np.nan]]), 27: None}
    write_report(tmp_path, {"runs": iter(runs), **content, "again": (each for each in runs)})
    whole = {key: value for key, value in read_report(tmp_path).items() if key in ("creator", "versions")}
    whole |= plain({"runs": runs, **content, "again": runs})
    assert (tmp_path / REPORT).read_text() == json.dumps(whole, indent=1) + "\n"


def test_entries_are_made_one_by_one(tmp_path):
    living = set()

    class Entry(dict):
        def __init__(self, number):
            super().__init__(obs_id=number)
            living.add(id(self))

        def __del__(self):
            living.discard(id(self))

    most = []

    def entries():
        for number in range(50):
            most.append(len(living))
            yield Entry(number)

    write_report(tmp_path, {"runs": entries()})
    assert max(most) <= 1
    assert len(read_report(tmp_path)["runs"]) == 50
