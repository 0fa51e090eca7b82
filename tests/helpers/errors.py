"""Assertions on the errors that bgnb raises."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bgnb import BgnbError


@contextmanager
def raises(code: str, *words: object, kind: type[BgnbError] = BgnbError) -> Iterator[pytest.ExceptionInfo[BgnbError]]:
    """Assert that a block raises an error of a code, whose message holds these words, such as a file and a column."""
    with pytest.raises(kind) as caught:
        yield caught
    assert caught.value.code == code, caught.value
    for word in words:
        assert str(word) in str(caught.value), caught.value
