"""Errors have codes, which the documentation lists."""

import ast
import pickle
import re
from pathlib import Path

import pytest

import bgnb
from bgnb import BgnbError, DataError

PACKAGE = Path(bgnb.__file__).parent
MAKERS = ("BgnbError", "DataError", "NotebookError", "error")


def codes() -> set[str]:
    """Collect the codes with which errors are made in the source."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) in MAKERS and node.args:
                found |= {each.value for each in ast.walk(node.args[0]) if isinstance(each, ast.Constant)}
    return found


def test_every_code_is_documented():
    """The page of errors lists all codes of the source, and no others."""
    page = (PACKAGE.parent / "docs" / "reference" / "errors.md").read_text()
    listed = {code for row in re.findall(r"^\| (`.*?`) \|", page, re.MULTILINE) for code in re.findall(r"`([a-z-]+)`", row)}
    assert len(listed) > 50
    assert codes() <= listed
    source = "".join(path.read_text() for path in PACKAGE.rglob("*.py"))
    assert {code for code in listed if f'"{code}"' not in source} == set()


def test_code_follows_the_message():
    """The code is appended; control characters of file names, and line ends, are replaced."""
    error = BgnbError("not-found", "a\x1b[31m\nb: there is no such file")
    error.add_note("in c\nd")
    assert str(error) == "a\N{REPLACEMENT CHARACTER}[31m\N{REPLACEMENT CHARACTER}b: there is no such file [not-found]"
    assert error._render_traceback_() == [f"BgnbError: {error}", "in c\N{REPLACEMENT CHARACTER}d"]


def test_errors_travel_between_processes():
    """A pickled error keeps its type, code and message."""
    error = pickle.loads(pickle.dumps(DataError("truncated", "run4: is truncated")))
    assert (type(error), error.code, error.message) == (DataError, "truncated", "run4: is truncated")


def test_error_needs_a_code():
    """An error without a code cannot be made."""
    with pytest.raises(TypeError):
        BgnbError("something is wrong")
