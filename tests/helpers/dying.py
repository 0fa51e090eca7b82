"""A task that kills its process; in a module of its own, as worker processes load the module of a task."""

import os
import signal


def square_or_die(numbers, number):
    """Return the square of a number; some numbers kill the process."""
    if number in numbers:
        os.kill(os.getpid(), signal.SIGKILL)
    return number**2
