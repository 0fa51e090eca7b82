"""All commands and Python code of the README, in order, and the example of a method in docs/explanation/architecture.md.

Code that needs Gammapy is tested in tests/with_gammapy.
"""

import re
import shlex
from pathlib import Path

import pytest

from bgnb import make_test_dataset, open_runs
from bgnb.cubes.method import methods
from tests.helpers.commands import output_of

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
# Simulated runs in place of those of the README: few, short of events, far from known sources.
SMALL = {"trigger_rate": 4.0, "alt_range": (60, 66), "az_range": (100, 260), "progress": False}


def steps() -> list[tuple[str, str]]:
    """Return commands and blocks of Python, in order."""
    found = re.finditer(r"^    (?:bgnb (?P<bgnb>[^\n]*))$|^```python\n(?P<python>.*?)^```", README, re.MULTILINE | re.DOTALL)
    return [(kind, text) for step in found for kind, text in step.groupdict().items() if text]


@pytest.mark.slow
def test_the_readme_can_be_followed(tmp_path, monkeypatch):
    """Run the commands and code of the README, and find the files that it mentions."""
    monkeypatch.chdir(tmp_path)
    for name, seed in (("hess-dl3-dr1", 1), ("new-runs", 2)):
        make_test_dataset(tmp_path / name, n_runs=6, seed=seed, **SMALL)
        assert len(open_runs(tmp_path / name, "GADF")) == 6
    monkeypatch.setattr("bgnb.cubes.rate_methods._Spline.default_bins", (10, 10))  # to save time
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
    for name in ("models", "store", "validation", "cross-validation", "comparison", "reports", "group.pdf", "models.html"):
        assert (tmp_path / name).exists(), name


def test_the_example_of_a_method_works(tmp_path, monkeypatch):
    """Run the method in docs/explanation/architecture.md; each of its planes has a single rate."""
    monkeypatch.chdir(tmp_path)
    make_test_dataset(tmp_path / "hess-dl3-dr1", n_runs=1, **SMALL)
    (example,) = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / "explanation" / "architecture.md").read_text(), re.MULTILINE | re.DOTALL)
    names: dict[str, object] = {"__name__": "architecture"}
    try:
        exec(compile(example, "architecture.md", "exec"), names)
    finally:
        methods().pop("flat", None)
    models = names["models"]
    for group in models.models:
        rate = group.model.rate.quantity.value
        assert group.model.method == "flat"
        assert rate.any()
        assert (rate == rate[:, :1, :1]).all()
