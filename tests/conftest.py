"""Fixtures and settings for all tests."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path

import pytest
from astropy.io import fits
from astropy.utils import iers
from hypothesis import settings

from bgnb._util import compression

# As in the command line, nothing compiles the grammar of IRIs, which nbformat would import.
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]

# No test is timed, also not on a busy machine.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


def pytest_collection_finish() -> None:
    """Let the garbage collector pass over the imported modules, and run rarely: each saves a tenth of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


@pytest.fixture(autouse=True, scope="session")
def _offline():
    """Astropy, our authority on coordinates, must not try to fetch newer Earth orientation data."""
    with iers.conf.set_temp("auto_download", False):
        yield


@pytest.fixture(autouse=True, scope="session")
def _without_waiting_for_the_disk():
    """Files need not survive a power failure; a tenth of the time was waiting for fsync."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture(autouse=True, scope="session")
def _settings_of_fits_files_are_constant():
    """Astropy looks up its settings for each card of each header, which took a tenth of the time; nothing changes them."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name, value in {name: getattr(fits.conf, name) for name in fits.conf}.items():
            monkeypatch.setattr(type(fits.conf), name, value)
        yield


@pytest.fixture(scope="session")
def hess_data() -> Path:
    """The real H.E.S.S. runs."""
    default = Path(__file__).parents[2] / "shared" / "hess-dl3-dr1"
    path = Path(os.environ.get("BGNB_TEST_DATA", default))
    if not (path / "obs-index.fits.gz").exists():
        pytest.skip(f"needs the runs of H.E.S.S. DL3 DR1 in {path}; set BGNB_TEST_DATA to where they are")
    return path


@pytest.fixture(scope="session")
def other_data() -> Path:
    """Public data of other telescopes."""
    path = Path(os.environ.get("BGNB_OTHER_DATA", Path(__file__).parents[2] / "shared" / "other-telescopes"))
    if not (path / "cta-1dc").exists():
        pytest.skip(f"needs public data of CTA and MAGIC in {path}; set BGNB_OTHER_DATA to where they are")
    return path


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say in one line how many tests were skipped because data are missing."""
    reasons = [str(report.longrepr[2]) for report in terminalreporter.stats.get("skipped", [])]
    if number := sum("BGNB_" in reason for reason in reasons):
        terminalreporter.write_line(
            f"{number} tests need public data that are missing, and were skipped; see BGNB_TEST_DATA and BGNB_OTHER_DATA"
        )


@pytest.fixture(params=["isal", "zlib"])
def engine(request, monkeypatch) -> str:
    """Compress and decompress with this engine."""
    if request.param == "zlib":
        monkeypatch.setattr(compression, "HAS_ISAL", False)
    return str(request.param)
