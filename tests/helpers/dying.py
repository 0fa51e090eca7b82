"""A task that kills its process; in a module of its own, as worker processes load what stands beside it."""

import os
import signal
from pathlib import Path


def square_or_die(numbers, folder, number):
    """The square of a number; for some, the process dies, for others only the first time."""
    if number in numbers:
        first = Path(folder, f"died{number}")
        if numbers[number] == "always" or not first.exists():
            first.touch()
            os.kill(os.getpid(), signal.SIGKILL)
    return number**2
