"""Limit on what a notebook prints."""

import pytest

from bgnb import run_notebook
from tests.helpers.notebooks import notebook


@pytest.mark.slow
@pytest.mark.parametrize(("text", "lowest"), [("x" * 99_999, 19e6), ("", 4e6)])
def test_long_output_is_cut(tmp_path, text, lowest):
    """Output of a cell beyond 20 MB is left out, so that a loop that prints does not fill the memory; the cell goes on."""
    code = f"for _ in range({25_000_000 // (len(text) + 50)}):\n    print({text!r})\n'the end'"
    executed = run_notebook(notebook(tmp_path / "n.ipynb", code), tmp_path / "out.ipynb")
    assert lowest < executed.stat().st_size < 21e6
    assert executed.read_text().count("The notebook printed more than 20 MB; the rest is left out.") == 1
    assert "'the end'" in executed.read_text()
