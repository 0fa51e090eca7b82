"""The errors that bgnb raises for input it cannot use, and their words."""

from collections.abc import Collection
from itertools import islice


def printable(text: str) -> str:
    """The text without control characters, which files can hold and terminals would obey."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def listed(values: Collection[object], most: int = 5) -> str:
    """Values for a message; of many, the first.

    >>> listed([4, 8, 15]), listed(range(100), 3)
    ('4, 8, 15', '0, 1, 2 and 97 more')
    """
    more = f" and {len(values) - most} more" if len(values) > most else ""
    return ", ".join(str(value) for value in islice(values, most)) + more


class BgnbError(Exception):
    """Something that the user asked for, or gave, cannot be used.

    The message is one line that says what was wrong, where, and what to do.
    """

    def __str__(self) -> str:
        return "\n".join(map(printable, super().__str__().split("\n")))

    def _render_traceback_(self) -> list[str]:
        """What notebooks show of the error: its message, which says all there is to know."""
        return [f"{type(self).__name__}: {self}", *notes_of(self)]


class DataError(BgnbError):
    """A fault in one data file: the message names the file and the HDU, column or keyword."""

    def __str__(self) -> str:
        return printable(Exception.__str__(self))


def notes_of(error: BaseException | None) -> list[str]:
    """What was noted on an error, or on those that it came from."""
    notes: list[str] = []
    while error is not None:
        notes += getattr(error, "__notes__", [])
        error = error.__cause__ or error.__context__
    return notes
