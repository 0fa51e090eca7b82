"""Fuzz test of the readers of event lists and indices.

    python -m benchmarks.fuzz [--minutes 3] [--seed N]

Files of a small directory of runs are changed at random, compressed or decompressed, and read. Each case must
end with a `bgnb.BgnbError` of one line that has a code, or with a run of finite values, within limits of time and
memory. Prints the number of cases by error code. A failure exits with status 1 and keeps the directory.
"""

from __future__ import annotations

import argparse
import gzip
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from astropy.io import fits

from bgnb import BgnbError, CubeAxes, DataError, open_runs, read_event_list, select_all_runs, stack_runs
from tests.helpers.run_files import run, write_gadf, write_hess

_BLOCK = 2880
_SECONDS = 10  # limit for one case
_MEGABYTES = 300  # limit for all cases, above the memory at the start
_VALUES = ("-1", "0", "1", "1E400", "-1E300", "1E-320", "NaN", "'text'", "''", "T", "", "10000000000", "9" * 40)
_VALUES += ("'1E'", "'100D'", "'1A'", "'QD(9)'", "'2D'", "'K'", "'m'", "'TeV'", "'rad'", "'UTC'", "'EVENTS'", "2", "3.5")
_AXES = CubeAxes.regular(n_energy=6, n_fov=4)
_CODES = (Path(__file__).parents[1] / "docs" / "reference" / "errors.md").read_text()
Random = np.random.Generator


class Hang(BaseException):
    """A case that takes too long; the readers must not catch this."""


def stop(*_: object) -> None:
    """Abort a case."""
    raise Hang(f"not done after {_SECONDS} s")


def flip(content: bytearray, rng: Random) -> bytearray:
    """Change some bytes, of the header or anywhere."""
    end = len(content) if rng.random() < 0.5 else min(len(content), 4 * _BLOCK)
    for position in rng.integers(0, end, rng.integers(1, 5)):
        content[position] = rng.integers(256)
    return content


def card(content: bytearray, rng: Random) -> bytearray:
    """Change the value or the keyword of a card."""
    cards = [at for at in range(0, len(content) - 80, 80) if content[at + 8 : at + 10] == b"= "]
    if cards:
        start = cards[rng.integers(len(cards))]
        if rng.random() < 0.8:
            content[start + 10 : start + 80] = f"{_VALUES[rng.integers(len(_VALUES))]:>20}".ljust(70).encode()
        else:
            other = cards[rng.integers(len(cards))]
            content[start : start + 8] = content[other : other + 8]
    return content


def piece(rng: Random, length: int) -> tuple[int, int]:
    """Choose the start and end of a piece, in whole blocks or not."""
    unit = _BLOCK if rng.random() < 0.7 else 1
    first, last = sorted(rng.integers(0, max(length // unit, 1) + 1, 2))
    return int(first) * unit, int(last) * unit


def delete(content: bytearray, rng: Random) -> bytearray:
    """Delete a piece."""
    start, end = piece(rng, len(content))
    return content[:start] + content[end:]


def duplicate(content: bytearray, rng: Random) -> bytearray:
    """Duplicate a piece."""
    start, end = piece(rng, len(content))
    return content[:end] + content[start:]


def blank(content: bytearray, rng: Random) -> bytearray:
    """Fill a piece with one byte."""
    start, end = piece(rng, len(content))
    content[start:end] = bytes([rng.choice([0, 32, 255])]) * len(content[start:end])
    return content


def truncate(content: bytearray, rng: Random) -> bytearray:
    """Truncate at a random position."""
    return content[: piece(rng, len(content))[1]]


Change = Callable[[bytearray, Random], bytearray]
CHANGES: tuple[Change, ...] = (flip, flip, card, card, card, delete, duplicate, blank, truncate)


def changed(content: bytes, rng: Random) -> bytes:
    """Apply some changes; sometimes compress, and change the compressed bytes."""
    new = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        if new:
            new = CHANGES[rng.integers(len(CHANGES))](new, rng)
    if rng.random() < 0.3:
        new = bytearray(gzip.compress(bytes(new), 1))
        if rng.random() < 0.5:
            new = (flip, truncate, delete, duplicate)[rng.integers(4)](new, rng)
    return bytes(new)


def read(indir: Path, scheme: str) -> str:
    """Read the directory and return the outcome: ``read``, or an error code."""
    try:
        runs = open_runs(indir, scheme)
        kept = select_all_runs(runs).kept
    except BgnbError as error:
        return checked(error)
    ends = {checked(error) for error in runs.errors.values()}
    for obs_id in kept:
        try:
            events = read_event_list(runs.files(obs_id))
        except DataError as error:
            ends.add(checked(error))
            continue
        numbers = [events.time, events.ra, events.dec, events.energy, events.gti, events.livetime, *events.detxy()]
        if not all(np.all(np.isfinite(values)) for values in numbers):
            raise AssertionError(f"run {obs_id} has values that are not finite")
        if not np.all(np.isfinite(runs.pointing(obs_id))):
            raise AssertionError(f"run {obs_id} has no pointing")
        stack_runs([events], _AXES)
    return min(ends, default="read")


def checked(error: BgnbError) -> str:
    """Return the code of an error, which must be documented and have a message of one line."""
    if not error.message or not str(error).isprintable():
        raise AssertionError(f"a message must be one line of text: {str(error)!r}")
    if f"`{error.code}`" not in _CODES:
        raise AssertionError(f"docs/reference/errors.md does not list the code {error.code!r} of: {error}")
    return error.code


def memory() -> float:
    """Return the peak memory, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def base(folder: Path) -> dict[str, dict[str, bytes]]:
    """Make the decompressed files of a good directory in each scheme, by path."""
    runs = [run(7, 12), run(8, 30)]
    directories = {"GADF": write_gadf(folder / "gadf", runs), "HESS": write_hess(folder / "hess", runs)}
    with fits.open(folder / "gadf" / "data" / "run8.fits.gz") as hdus:
        hdus.writeto(folder / "gadf" / "data" / "run8.fits.gz", overwrite=True, checksum=True)
    contents: dict[str, dict[str, bytes]] = {}
    for scheme, directory in directories.items():
        for path in directory.rglob("*.fits*"):
            content = path.read_bytes()
            decompressed = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
            contents.setdefault(scheme, {})[path.relative_to(directory).as_posix()] = decompressed
    return contents


def fuzz(minutes: float, seed: int, folder: Path) -> bool:
    """Try cases until the time is over; return True if none failed."""
    files = base(folder / "good")
    for scheme, contents in files.items():
        shutil.copytree(folder / "good" / scheme.lower(), folder / scheme)
        for name, content in contents.items():
            (folder / scheme / name).write_bytes(content)
    signal.signal(signal.SIGALRM, stop)
    ends: Counter[str] = Counter()
    end, maximum, slowest = time.monotonic() + 60 * minutes, memory() + _MEGABYTES, 0.0
    while time.monotonic() < end:
        number = ends.total()
        rng = np.random.default_rng([seed, number])
        scheme = "GADF" if rng.random() < 0.8 else "HESS"
        name = list(files[scheme])[rng.integers(len(files[scheme]))]
        path = folder / scheme / name
        path.write_bytes(changed(files[scheme][name], rng))
        started = time.monotonic()
        signal.setitimer(signal.ITIMER_REAL, _SECONDS)
        try:
            ends[read(folder / scheme, scheme)] += 1
            if memory() > maximum:
                raise AssertionError(f"takes more than {maximum:.0f} MB")
        except (Exception, Hang):
            signal.setitimer(signal.ITIMER_REAL, 0)
            traceback.print_exc()
            print(f"case {number} of seed {seed} failed: directory {folder / scheme}, file {name}")
            return False
        signal.setitimer(signal.ITIMER_REAL, 0)
        slowest = max(slowest, time.monotonic() - started)
        path.write_bytes(files[scheme][name])
    for kind, count in ends.most_common():
        print(f"{count:8d}  {kind}")
    print(f"{ends.total()} cases of seed {seed} in {minutes:g} min, {len(ends)} outcomes")
    print(f"slowest case {slowest:.2f} s, peak memory {memory():.0f} MB")
    return True


def main() -> None:
    """Run the fuzz test."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=3)
    parser.add_argument("--seed", type=int, default=int(np.random.SeedSequence().generate_state(1)[0]))
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="bgnb-fuzz-"))
    warnings.simplefilter("error")
    if not fuzz(arguments.minutes, arguments.seed, folder):
        sys.exit(1)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
