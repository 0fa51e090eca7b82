"""Commands and Python code of the README and of the guides, in order, and the example of a method.

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
# Simulated runs in place of real ones: few, short of events, far from known sources.
SMALL = {"trigger_rate": 4.0, "alt_range": (60, 66), "az_range": (100, 260), "progress": False}
# To save time: the default bins of the spline and of the other methods.
FEW_BINS = ("bgnb.cubes.rate_methods._Spline.default_bins", (5, 8)), ("bgnb.cubes.method.Method.default_bins", (5, 8))
#: Documents whose pictures are drawn; those of others come from the same functions, which tests/validation draws.
DRAWN = ("README.md", "docs/tutorials/getting_started.md")
#: Documents whose commands are followed: number of runs to simulate, their directory, whether models are made of them
#: beforehand, and what the commands make.
DOCUMENTS = {
    "README.md": (6, "hess-dl3-dr1", False, ["models", "store", "cross-validation"]),
    "docs/tutorials/getting_started.md": (0, "", False, ["first/dataset", "comparison/comparison_group27.html"]),
    "docs/how_to/methods.md": (6, "runs", False, ["spline-check", "classic-check"]),
    "docs/how_to/few_runs.md": (16, "runs", False, ["learning"]),
    "docs/how_to/check_runs.md": (4, "runs", True, ["overview/runs.html", "checks/runs.html", "better-models"]),
    "docs/how_to/maps.md": (6, "hess-dl3-dr1", True, ["store"]),
    "docs/how_to/notebooks.md": (6, "runs", True, ["my-notebooks", "out.ipynb", "more-models", "reports/index.html"]),
}
#: Those of other telescopes, in docs/how_to/own_data.md, and directories that they name.
OTHER_DATA = {"magic": "magic/rad_max/data", "1dc": "cta-1dc"}


def steps(document: str) -> list[tuple[str, str]]:
    """Return commands of bgnb and blocks of Python, in order."""
    found = re.finditer(
        r"^ {4,}(?:bgnb (?P<bgnb>[^\n]*))$|^```python\n(?P<python>.*?)^```",
        (ROOT / document).read_text(),
        re.MULTILINE | re.DOTALL,
    )
    return [(kind, text) for step in found for kind, text in step.groupdict().items() if text]


@pytest.mark.slow
@pytest.mark.parametrize("document", DOCUMENTS)
def test_documents_can_be_followed(document, tmp_path, monkeypatch):
    """Run the commands and code of a document, and find what it says they make."""
    monkeypatch.chdir(tmp_path)
    n_runs, runs, with_models, made = DOCUMENTS[document]
    for name, bins in FEW_BINS:
        monkeypatch.setattr(name, bins)
    if document not in DRAWN:
        monkeypatch.setattr("bgnb.plots.static._save", lambda *_, **__: b"")
    if n_runs:
        make_test_dataset(tmp_path / runs, n_runs=n_runs, seed=1, **SMALL)
        assert len(open_runs(tmp_path / runs, "GADF")) == n_runs
    if with_models:
        output_of("make-bg-cube-models", runs, "GADF", "models", "--alt-edges", "0,90")  # one group: one notebook
    opened = []
    monkeypatch.setattr("bgnb.notebooks.lab.open_lab", lambda *arguments: opened.append(arguments))  # it would not return
    for kind, text in steps(document):
        if kind == "bgnb":
            output_of(*shlex.split(text, comments=True))
        elif "gammapy" not in text:
            exec(compile(text, document, "exec"), {"__name__": "document"})
    assert len(opened) == sum(text.startswith("lab ") for _, text in steps(document))
    for name in made:
        assert (tmp_path / name).exists(), name


def test_commands_for_other_telescopes(other_data, tmp_path, monkeypatch):
    """Models are made of MAGIC and CTA 1DC with the commands given for them."""
    monkeypatch.chdir(tmp_path)
    for name, bins in FEW_BINS:
        monkeypatch.setattr(name, bins)
    for name, directory in OTHER_DATA.items():
        (tmp_path / name).symlink_to(other_data / directory)
    given = [shlex.split(text) for _, text in steps("docs/how_to/own_data.md")]
    for name in OTHER_DATA:
        (command,) = (words for words in given if words[0] == "make-bg-cube-models" and words[1].startswith(name))
        assert "used, 0 skipped" in output_of(*command, "--overwrite")


def test_the_example_of_a_method_works(tmp_path, monkeypatch):
    """Run the method in docs/explanation/architecture.md; each of its planes has a single rate."""
    monkeypatch.chdir(tmp_path)
    make_test_dataset(tmp_path / "hess-dl3-dr1", n_runs=1, **SMALL)
    text = (ROOT / "docs" / "explanation" / "architecture.md").read_text()
    (example,) = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
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
