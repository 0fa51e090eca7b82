"""Run a benchmark, and keep what it prints for the documentation, with date, machine and versions.

python benchmarks/record.py NAME COMMAND [ARGUMENTS ...]

The file is ``docs/explanation/measured/NAME.txt``. Paths are shortened to their last part.
"""

import os
import platform
import re
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

MEASURED = Path(__file__).parents[1] / "docs" / "explanation" / "measured"
PACKAGES = ("numpy", "scipy", "astropy")


def main(name: str, command: list[str]) -> None:
    """Run the command, show its output, and write the file if it succeeds."""
    lines = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout or ():
            print(line, end="", flush=True)
            lines.append(line)
    if process.returncode:
        raise SystemExit(process.returncode)
    MEASURED.mkdir(exist_ok=True)
    (MEASURED / f"{name}.txt").write_text(f"$ {shown(command)}\n# {machine()}\n\n{''.join(lines)}")


def shown(command: list[str]) -> str:
    """Return the command as a reader would type it."""
    words = [word if word.startswith("-") or word.startswith("benchmarks/") else Path(word).name for word in command]
    return shlex.join(words)


def machine() -> str:
    """Describe date, processor and versions."""
    try:
        processor = re.findall(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)[0]
    except (OSError, IndexError):
        processor = platform.processor() or platform.machine()
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores ({processor}), {platform.system()}, "
        f"Python {platform.python_version()}, {packages}"
    )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
