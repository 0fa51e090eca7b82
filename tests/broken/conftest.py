"""A good directory of runs to break, and a limit of time: nothing may hang."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest

from tests.broken.directory import write_runs

_SECONDS = 30


@pytest.fixture(scope="session")
def good_runs(tmp_path_factory) -> Path:
    """Three good runs; do not change them."""
    return write_runs(tmp_path_factory.mktemp("good") / "in")


@pytest.fixture
def indir(good_runs, tmp_path) -> Path:
    """A copy of them, to change."""
    return Path(shutil.copytree(good_runs, tmp_path / "in"))


@pytest.fixture(autouse=True)
def _no_hang():
    """Each test ends in time, or fails."""

    def stop(*_):
        pytest.fail(f"not done after {_SECONDS} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(_SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
