"""Files with changed bytes raise no other errors than ours; ``benchmarks/fuzz.py`` tries more."""

import contextlib
import gzip

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bgnb import BgnbError, DataError, open_runs, read_event_list
from tests.helpers.run_files import run, write_gadf

QUICK = {"suppress_health_check": [HealthCheck.function_scoped_fixture]}


@pytest.fixture(scope="module")
def plain_runs(tmp_path_factory):
    """Write a small directory of uncompressed files, so that changes reach headers and data."""
    indir = write_gadf(tmp_path_factory.mktemp("fuzz") / "in", [run(7, 5)])
    for path in indir.rglob("*.fits.gz"):
        path.write_bytes(gzip.decompress(path.read_bytes()))
    return indir


@contextlib.contextmanager
def changed(path, position, values):
    """Change bytes of a file within a context."""
    content = path.read_bytes()
    broken = bytearray(content)
    start = position % len(broken)
    broken[start : start + len(values)] = values
    path.write_bytes(broken)
    try:
        yield
    finally:
        path.write_bytes(content)


@pytest.mark.slow
@settings(max_examples=150, **QUICK)
@given(position=st.integers(0, 14_000), values=st.binary(min_size=1, max_size=8))
@example(position=8695, values=b"\x00H")  # an energy beyond the range of 32-bit numbers
def test_changed_event_lists(plain_runs, position, values):
    """Read finite values, or raise a DataError."""
    files = open_runs(plain_runs, "GADF").files(7)
    with changed(files.events.path, position, values), contextlib.suppress(DataError):
        events = read_event_list(files)
        for numbers in (events.time, events.ra, events.dec, events.energy, events.gti, events.livetime):
            assert np.all(np.isfinite(numbers))


@settings(max_examples=150, **QUICK)
@given(name=st.sampled_from(["obs", "hdu"]), position=st.integers(2880, 14_000), values=st.binary(min_size=1, max_size=8))
def test_changed_indices(plain_runs, name, position, values):
    """Read finite pointings, or raise a BgnbError."""
    with changed(plain_runs / f"{name}-index.fits.gz", position, values), contextlib.suppress(BgnbError):
        runs = open_runs(plain_runs, "GADF")
        for obs_id, row in zip(runs.obs_ids, runs.table, strict=True):
            assert obs_id in runs.errors or obs_id in runs.locations
            if obs_id not in runs.errors:
                assert np.isfinite([row[column] for column in ("RA_PNT", "DEC_PNT", "ALT_PNT", "AZ_PNT")]).all()
