"""Parameters of notebooks, as they are read from a cell, and errors of kernels."""

import pytest

from bgnb import run_notebook
from bgnb.notebooks.content import error_summary, notebook_parameters
from tests.helpers.errors import raises
from tests.helpers.notebooks import notebook


@pytest.mark.parametrize("line", ["!ls\n", "x = 1  # long\n" * 100])  # magics beyond 500
def test_parameters_that_are_hardly_those(tmp_path, line):
    """A cell with thousands of magics, which IPython does not convert, or that is very long, is refused."""
    path = notebook(tmp_path / "n.ipynb", "1", parameters=line * 520)
    with raises("bad-notebook", "n.ipynb", "the tag parameters"):
        notebook_parameters(path)


def test_reason_why_a_kernel_did_not_start():
    """The error has what the kernel wrote, as where the home directory is full."""
    written = "Traceback …\nOSError: [Errno 28] No space left on device\n"
    summary = error_summary(RuntimeError("Kernel died before replying to kernel_info"), written)
    assert summary == "RuntimeError: Kernel died before replying to kernel_info (OSError: [Errno 28] No space left on device)"


@pytest.mark.parametrize("length", [5_000, 1_000_000])
def test_deeply_nested_parameter_is_refused(tmp_path, length):
    """A text that Python's parser cannot hold is a text."""
    path = notebook(tmp_path / "n.ipynb", "1", parameters="x: float = 1.0")
    with raises("invalid-argument", "parameter x must be float"):
        run_notebook(path, tmp_path / "out.ipynb", {"x": notebook_parameters(path)["x"].from_text(f"{'-' * length}1")})


def test_parameters_are_read_as_python(tmp_path):
    """Types that are unions, texts with a #, and magics before the parameters are read."""
    declared = """%matplotlib inline
a: str | None = None  # one
b: "list | None" = None
c: str = "# not a comment"  # three
d = None  # type: int|None four
e: dict = {
    "k": 1,
}  # five
f, g = 1, 2
h = i = 3"""
    found = notebook_parameters(notebook(tmp_path / "n.ipynb", "1", parameters=declared))
    assert [(name, each.types, each.default, each.meaning) for name, each in found.items()] == [
        ("a", ("str", "None"), None, "one"),
        ("b", ("list", "None"), None, ""),
        ("c", ("str",), "# not a comment", "three"),
        ("d", ("int", "None"), None, "four"),
        ("e", ("dict",), {"k": 1}, "five"),
    ]
