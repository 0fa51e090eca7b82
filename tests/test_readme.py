"""Every command and every piece of Python in the README, one after the other, as a reader would run them.

What needs Gammapy is run in tests/with_gammapy.
"""

import re
import shlex
from pathlib import Path

from bgnb import make_test_dataset, open_runs
from tests.helpers.commands import output_of

README = (Path(__file__).parents[1] / "README.md").read_text()
# Runs that stand in for those of the README, few and poor, far from known sources.
SMALL = {"trigger_rate": 4.0, "alt_range": (60, 66), "az_range": (100, 260), "progress": False}


def steps() -> list[tuple[str, str]]:
    """Commands, and blocks of Python, in order."""
    found = re.finditer(r"^    (?:bgnb (?P<bgnb>[^\n]*))$|^```python\n(?P<python>.*?)^```", README, re.MULTILINE | re.DOTALL)
    return [(kind, text) for step in found for kind, text in step.groupdict().items() if text]


def test_the_readme_can_be_followed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, seed in (("hess-dl3-dr1", 1), ("new-runs", 2)):
        make_test_dataset(tmp_path / name, n_runs=6, seed=seed, **SMALL)
        assert len(open_runs(tmp_path / name, "GADF")) == 6
    monkeypatch.setattr("bgnb.production.settings.SPLINE_BINS", 10)  # for the sake of time
    opened = []
    monkeypatch.setattr("bgnb.notebooks.lab.open_lab", lambda *arguments: opened.append(arguments))  # it would not return
    followed = {"bgnb": 0, "python": 0}
    for kind, text in steps():
        if kind == "bgnb":
            output_of(*shlex.split(text, comments=True))
        elif "gammapy" not in text:
            exec(compile(text, "README.md", "exec"), {"__name__": "readme"})
        followed[kind] += 1
    assert len(opened) == 2
    assert followed["bgnb"] > 10
    assert followed["python"] >= 2
    for name in ("models", "store", "validation", "cross-validation", "comparison", "reports", "group.html"):
        assert (tmp_path / name).exists(), name
