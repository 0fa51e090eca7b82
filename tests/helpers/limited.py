"""Commands in a process with limits on its memory and on their time, for input that could hang or swell."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.helpers.commands import command
from tests.helpers.processes import ROOT

#: Seconds after which a command ends the process.
SECONDS = 120
#: Memory that the commands may use beside that of the imported modules, bytes.
MEMORY = 512 << 20


def outcomes(commands: Sequence[Sequence[object]]) -> list[tuple[int, str]]:
    """Run commands, and return the exit status of each and the last line of its output.

    A command that takes more than `SECONDS` ends the process, so that its outcome and those of the next ones are missing.
    """
    texts = json.dumps([[str(argument) for argument in arguments] for arguments in commands])
    done = subprocess.run(
        [sys.executable, "-m", "tests.helpers.limited"], input=texts, capture_output=True, text=True, cwd=ROOT, check=False
    )
    found = [(status, line) for status, line in map(json.loads, done.stdout.splitlines())]
    assert len(found) == len(commands), f"{commands[len(found)]} ended the process: {done.returncode}, {done.stderr}"
    return found


def main() -> None:
    """Run the commands on standard input."""
    import astropy.table  # noqa: F401 # so that the limit of the memory does not include it
    import scipy.optimize  # noqa: F401

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    for arguments in json.load(sys.stdin):
        signal.alarm(SECONDS)
        result = command(*arguments)
        last = result.output.splitlines()[-1:] if result.exit_code in (0, 2) else [repr(result.exception)]
        print(json.dumps([result.exit_code, "".join(last)]), flush=True)


if __name__ == "__main__":
    main()
