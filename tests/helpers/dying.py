"""Tasks that kill their process; in a module of its own, as worker processes load the module of a task."""

import os
import signal
import struct
from multiprocessing import current_process

from bgnb.gammapy import run_background


def square_or_die(numbers, number):
    """Return the square of a number; some numbers kill the process."""
    if number in numbers:
        os.kill(os.getpid(), signal.SIGKILL)
    return number**2


def die_at(obs_id):
    """Change this process such that making the background of a run kills it."""
    read = run_background.read_event_list

    def read_or_die(files):
        square_or_die([obs_id], files.obs_id)
        return read(files)

    run_background.read_event_list = read_or_die


def write_half_and_die(number: int) -> int:
    """Return a number, or die at 3 after a part of the result was written, as when memory runs out."""
    if number == 3:
        results = current_process()._args[1]  # type: ignore[attr-defined]
        os.write(results._writer.fileno(), struct.pack("!i", 1000) + b"begin")
        os._exit(1)
    return number
