"""The errors that bgnb raises for input it cannot use."""


class BgnbError(Exception):
    """Something that the user asked for, or gave, cannot be used.

    The message is one line that says what was wrong, where, and what to do.
    """


class DataError(BgnbError):
    """A fault in one data file: the message names the file and the HDU, column or keyword."""
