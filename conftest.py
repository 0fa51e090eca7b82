"""Examples in docstrings: each runs in a directory of its own, with the runs and models of docs/reference/api.md."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import chdir
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from astropy.utils import iers

API = Path(__file__).parent / "docs" / "reference" / "api.md"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip examples that need Gammapy where it is missing."""
    for item in items:
        if isinstance(item, pytest.DoctestItem) and "from gammapy" in _code(item):
            reason = "Gammapy needs a separate environment: make test-gammapy"
            item.add_marker(pytest.mark.skipif(find_spec("gammapy") is None, reason=reason))
            for category in ("DeprecationWarning", "UserWarning"):  # of Gammapy and its dependencies
                item.add_marker(pytest.mark.filterwarnings(f"ignore::{category}"))


def _code(item: pytest.DoctestItem) -> str:
    return "".join(example.source for example in item.dtest.examples)


@pytest.fixture(scope="session")
def example_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the runs and models that the examples use, by the code in the documentation."""
    (code,) = re.findall(r"^```python\n(.*?)^```", API.read_text(), re.MULTILINE | re.DOTALL)
    path = tmp_path_factory.mktemp("examples")
    with chdir(path):
        exec(compile(code, API.name, "exec"), {"__name__": "examples"})
    return path


@pytest.fixture
def doctest_namespace(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, Any]]:
    """Let an example find the data, and leave no trace of it. One that imports bgnb can be pasted: it sees no other names."""
    from bgnb.cubes.method import methods

    code = _code(request.node)
    if "import bgnb" in code:
        request.node.dtest.globs.clear()
    if re.search(r'"(runs|models)[/"]', code):
        shutil.copytree(request.getfixturevalue("example_data"), tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    registered = dict(methods())
    with iers.conf.set_temp("auto_download", False):
        yield {}
    methods().clear()
    methods().update(registered)
