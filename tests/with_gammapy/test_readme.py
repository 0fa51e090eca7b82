"""Lines of the README on Gammapy, run on real data."""

import shlex

import pytest

from tests.helpers.commands import output_of
from tests.test_readme import steps

pytest.importorskip("gammapy", reason="Gammapy needs a separate environment: make test-gammapy")
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of Gammapy and its dependencies
    pytest.mark.filterwarnings("ignore::UserWarning"),
]


@pytest.mark.slow
def test_readme_lines_on_gammapy(hess_data, tmp_path, monkeypatch):
    """Commands and Python lines of the README run in order, and make the background of a run."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hess-dl3-dr1").symlink_to(hess_data)
    names: dict[str, object] = {}
    for kind, text in steps():
        if kind == "bgnb" and text.startswith(("make-bg-cube-models", "attach")):
            output_of(*shlex.split(text, comments=True))
        elif "gammapy" in text:
            exec(compile(text, "README.md", "exec"), names)
    assert len(names["observations"]) == 40
    assert names["background"].data.shape == (30, 40, 40)
