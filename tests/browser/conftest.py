"""Skip the tests without Chromium; with BGNB_BROWSER=required, as in CI, they fail instead."""

import os

import pytest

from tests.browser.driver import chromium


@pytest.fixture(autouse=True, scope="session")
def _browser():
    try:
        import playwright  # noqa: F401
    except ImportError:
        missing = "playwright, from the dependency group test"
    else:
        if chromium():
            return
        missing = "Chromium, from the packages of the system (chromium), or BGNB_CHROMIUM with its path"
    if os.environ.get("BGNB_BROWSER") == "required":
        pytest.fail(f"these tests need {missing}")
    pytest.skip(f"needs {missing}")
