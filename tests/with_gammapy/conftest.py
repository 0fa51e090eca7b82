"""Fixtures for tests with Gammapy."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def offline_kernels(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevent Astropy in kernels from fetching Earth orientation data, which it tries for each use if it fails."""
    settings: Path = tmp_path_factory.mktemp("config") / "astropy" / "astropy.cfg"
    settings.parent.mkdir()
    settings.write_text("[utils.iers.iers]\nauto_download = False\n")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(settings.parents[1]))
