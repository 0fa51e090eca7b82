"""Time from start to exit and peak memory of the command, on the 40 H.E.S.S. runs.

python benchmarks/command.py [DIRECTORY]
"""

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TURNS = 5


def main(directory: Path) -> None:
    """Measure and print."""
    for title, arguments in (
        ("bgnb --help", ["--help"]),
        ("import bgnb", None),
        ("make-bg-cube-models --select all", ["make-bg-cube-models", str(directory), "GADF", "{out}", "--select", "all"]),
        ("make-bg-cube-models", ["make-bg-cube-models", str(directory), "GADF", "{out}"]),
    ):
        seconds = []
        for _ in range(TURNS):
            with tempfile.TemporaryDirectory() as folder:
                if arguments is None:
                    command = [sys.executable, "-c", "import bgnb"]
                else:
                    command = [sys.executable, "-m", "bgnb", *(a.replace("{out}", f"{folder}/out") for a in arguments)]
                started = time.perf_counter()
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
                seconds.append(time.perf_counter() - started)
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        print(f"{statistics.median(seconds):6.2f} s (median of {TURNS})  {title};  peak memory so far {peak:.0f} MB")


if __name__ == "__main__":
    default = os.environ.get("BGNB_TEST_DATA", Path(__file__).parents[2] / "shared" / "hess-dl3-dr1")
    main(Path(sys.argv[1] if len(sys.argv) > 1 else default).resolve())
