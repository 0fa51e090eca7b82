"""The soak test (`benchmarks/soak.py`) detects each broken invariant."""

import json
import os
import shutil
import sys
from contextlib import ExitStack

import numpy as np
import pytest

import bgnb
from benchmarks import soak
from tests.helpers.files import digests
from tests.helpers.processes import started


def test_other_bits_and_half_outputs_are_found(tmp_path):
    """An output with other bits, half of one, and none where one must be are errors."""
    out = tmp_path / "out"
    bgnb.make_test_dataset(out, n_runs=1, trigger_rate=1, progress=False)
    allowed = [digests(out)]
    soak.check_output(out, allowed)
    with pytest.raises(AssertionError, match="other bits"):
        soak.check_output(out, [{}, {name: digest[::-1] for name, digest in allowed[0].items()}])
    next((out / "data").iterdir()).write_bytes(b"half")
    with pytest.raises(AssertionError, match="damaged"):
        soak.check_output(out, [*allowed, digests(out)])
    shutil.rmtree(out)
    soak.check_output(out, [{}])
    with pytest.raises(AssertionError, match="absent"):
        soak.check_output(out, allowed)


def test_lost_runs_are_found(tmp_path):
    """A run that the report lacks, a good one that is skipped, and a damaged one that is used are errors."""
    good, bad = (
        {"obs_id": 1, "status": "used", "reason": None},
        {"obs_id": 2, "status": "skipped", "reason": "cut [truncated]"},
    )

    def check(*runs, damaged=(2,)):
        (tmp_path / "report.json").write_text(json.dumps({"runs": runs}))
        soak.check_report(tmp_path, {1, 2}, set(damaged))

    check(good, bad)
    for runs, damaged in (((good,), (2,)), ((good, good, bad), (2,)), ((good, bad), ()), ((good, bad | {"reason": ""}), (2,))):
        with pytest.raises(AssertionError):
            check(*runs, damaged=damaged)
    with pytest.raises(AssertionError):
        check(good, good | {"obs_id": 2})


def test_leftovers_are_found(tmp_path):
    """A file and a process that are left are errors."""
    (tmp_path / "out").mkdir()
    soak.check_nothing_left(tmp_path, {"out"})
    (tmp_path / ".out.bgnb-partial").touch()
    with pytest.raises(AssertionError, match="bgnb-partial"):
        soak.check_nothing_left(tmp_path, {"out"})
    sleeping = started([sys.executable, "-c", "import time; time.sleep(600)"], os.environ | {soak._MARK: str(tmp_path)})
    with sleeping, pytest.raises(AssertionError, match="processes left"):
        soak.check_no_process(str(tmp_path), patience=0.1)
    soak.check_no_process(str(tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{}, {"bgnb._version": {"__version__": "9"}}], ids=["right", "wrong"])
def test_soak_notices_other_files(tmp_path, changes):
    """A case passes, and fails if commands write files of another version."""
    with ExitStack() as stack:
        world = soak.Soak(tmp_path, stack, changes)
        if not changes:
            world.case(np.random.default_rng(1))
            return
        with pytest.raises(AssertionError, match=r"other bits|version-mismatch"):
            world.case(np.random.default_rng(1))
    assert bgnb.__version__ != "9"
