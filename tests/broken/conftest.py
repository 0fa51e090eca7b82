"""Good directory of runs to break, and a time limit per test."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest

from tests.broken.directory import write_runs

_SECONDS = 30


@pytest.fixture(scope="session")
def good_runs(tmp_path_factory) -> Path:
    """Write three good runs, which must not be changed."""
    return write_runs(tmp_path_factory.mktemp("good") / "in")


@pytest.fixture
def indir(good_runs, tmp_path) -> Path:
    """Copy the good runs, to change them."""
    return Path(shutil.copytree(good_runs, tmp_path / "in"))


@pytest.fixture(autouse=True)
def _no_hang():
    """Fail a test that exceeds the time limit."""

    def stop(*_):
        pytest.fail(f"not done after {_SECONDS} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(_SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
