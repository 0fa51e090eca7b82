"""Errors that bgnb raises for input it cannot use."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from reprlib import Repr

# Maximum length of a message, of which the middle is omitted beyond; paths may have 4096 letters each.
_LONGEST = 10_000


def printable(text: str) -> str:
    """Replace control characters, which files may contain and terminals would interpret."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def shortened(text: str, length: int = 80) -> str:
    """Shorten a text for a message.

    >>> shortened("circle(1, 2, 3)"), shortened("((((((((", 4)
    ('circle(1, 2, 3)', '((((…')
    """
    return text if len(text) <= length else f"{text[:length]}…"


class _ShortRepr(Repr):
    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxlong = self.maxother = 80

    def repr_int(self, x: int, level: int) -> str:
        """Represent also a number that Python refuses to convert to text."""
        return super().repr_int(x, level) if x.bit_length() < 10_000 else "a number of thousands of digits"


def quoted(value: object) -> str:
    """Represent a value of any kind and size in a message.

    >>> quoted("5 deg"), quoted([1, 10**5000])
    ("'5 deg'", '[1, a number of thousands of digits]')
    """
    return _ShortRepr().repr(value)


def enumerate_values(values: Collection[object], maximum: int = 5) -> str:
    """Join values for a message, and count those beyond the first few.

    >>> enumerate_values([4, 8, 15]), enumerate_values(range(100), 3)
    ('4, 8, 15', '0, 1, 2 and 97 more')
    """
    more = f" and {len(values) - maximum} more" if len(values) > maximum else ""
    shown = (quoted(value) if isinstance(value, int) else str(value) for value in islice(values, maximum))
    return ", ".join(shown) + more


def numbered(noun: str, numbers: Collection[object], maximum: int = 5) -> str:
    """Name things by their numbers in a message.

    >>> numbered("run", [4]), numbered("run", [4, 8, 15])
    ('run 4', 'runs 4, 8, 15')
    """
    return f"{noun}{'s' * (len(numbers) > 1)} {enumerate_values(numbers, maximum)}"


def command_line(*words: object) -> str:
    """Return a command of bgnb that can be pasted into a shell.

    >>> command_line("lab", "my models")
    "bgnb lab 'my models'"
    >>> command_line("lab", Path("-models"))
    'bgnb lab ./-models'
    """
    safe = ("./" * (isinstance(word, Path) and str(word).startswith("-")) + str(word) for word in words)
    return shlex.join(["bgnb", *safe])


class BgnbError(Exception):
    """Error of a request or an input that cannot be used.

    Parameters
    ----------
    code : str
        Short name of the kind of error, such as ``truncated``; ``docs/reference/errors.md`` lists them.
    message : str
        What was wrong, where, and what to do. ``str(error)`` is the message with the code in
        brackets.

    Examples
    --------
    >>> import bgnb
    >>> try:
    ...     bgnb.read_models("no-models")
    ... except bgnb.BgnbError as error:
    ...     print(error.code)
    not-found
    """

    def __init__(self, code: str, message: str) -> None:
        if len(message) > _LONGEST:  # that quotes a long text of a file
            message = f"{message[: _LONGEST // 2]} … {message[-_LONGEST // 2 :]}"
        super().__init__(code, message)
        self.code, self.message = code, message

    def __str__(self) -> str:
        return f"{printable(self.message)} [{self.code}]"

    def _render_traceback_(self) -> list[str]:
        """Show the message alone in notebooks, without the traceback."""
        return [f"{type(self).__name__}: {self}", *notes_of(self)]


class DataError(BgnbError):
    """Error of a data file that cannot be used; the message, in one line, names the file and the HDU, column or keyword.

    Parameters
    ----------
    code, message : str
        See `BgnbError`.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, printable(message))


@contextmanager
def located(where: str) -> Iterator[None]:
    """Raise errors about values in a file as a `DataError` that starts with the file and HDU."""
    try:
        yield
    except DataError:
        raise
    except BgnbError as error:
        raise DataError(error.code, f"{where}: {error.message}") from None


def notes_of(error: BaseException | None) -> list[str]:
    """Collect the notes on an error and on its causes, one line each."""
    notes: list[str] = []
    while error is not None:
        notes += map(printable, getattr(error, "__notes__", []))
        error = error.__cause__ or error.__context__
    return notes
