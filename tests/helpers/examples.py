"""Examples in docstrings that are skipped where they stand, because they take long."""

from __future__ import annotations

import doctest
from collections.abc import Callable
from typing import Any


def run_example(function: Callable[..., Any]) -> None:
    """Run the example of a function in the current directory, although it is marked to be skipped, and compare its output."""
    text = (function.__doc__ or "").replace("# doctest: +SKIP", "")
    example = doctest.DocTestParser().get_doctest(text, {}, function.__name__, None, None)
    failed, tried = doctest.DocTestRunner().run(example)
    assert tried
    assert not failed
