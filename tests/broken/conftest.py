"""Good directory of runs to break, and a time limit per test."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.broken.directory import write_runs
from tests.broken.plausible import write_plausible_runs
from tests.helpers.time_limit import time_limit


@pytest.fixture(scope="session")
def good_runs(tmp_path_factory) -> Path:
    """Write three good runs, which must not be changed."""
    return write_runs(tmp_path_factory.mktemp("good") / "in")


@pytest.fixture(scope="session")
def plausible_runs(tmp_path_factory) -> Path:
    """Write three plausible runs, which must not be changed."""
    return write_plausible_runs(tmp_path_factory.mktemp("plausible") / "in")


@pytest.fixture
def indir(good_runs, tmp_path) -> Path:
    """Copy the good runs, to change them."""
    return Path(shutil.copytree(good_runs, tmp_path / "in"))


@pytest.fixture(autouse=True)
def _no_hang():
    """Fail a test that exceeds the time limit."""
    with time_limit():
        yield
