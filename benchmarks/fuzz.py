"""Broken files without end: what the readers of event lists and indices make of them.

    python -m benchmarks.fuzz [--minutes 3] [--seed N]

Files of a small directory of runs are changed at random, inside and outside of their compression, and read.
Nothing may come out but a `bgnb.BgnbError` of one line or a run whose numbers are finite; in time, and in little
memory. Prints how many cases ended how. Anything else ends it with status 1, and leaves the directory that did it.
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
from bgnb.observations.selection import fault
from tests.helpers.run_files import run, write_gadf, write_hess

_BLOCK = 2880
_SECONDS = 10  # for one case
_MEGABYTES = 300  # for all, above what is taken at the start
_VALUES = ("-1", "0", "1", "1E400", "-1E300", "1E-320", "NaN", "'text'", "''", "T", "", "10000000000", "9" * 40)
_VALUES += ("'1E'", "'100D'", "'1A'", "'QD(9)'", "'2D'", "'K'", "'m'", "'TeV'", "'rad'", "'UTC'", "'EVENTS'", "2", "3.5")
_AXES = CubeAxes.regular(n_energy=6, n_fov=4)
Random = np.random.Generator


class Hang(BaseException):
    """A case takes too long: nothing that reads may catch this."""


def stop(*_: object) -> None:
    """End a case."""
    raise Hang(f"not done after {_SECONDS} s")


def flip(content: bytearray, rng: Random) -> bytearray:
    """Some bytes, of the header or anywhere."""
    end = len(content) if rng.random() < 0.5 else min(len(content), 4 * _BLOCK)
    for position in rng.integers(0, end, rng.integers(1, 5)):
        content[position] = rng.integers(256)
    return content


def card(content: bytearray, rng: Random) -> bytearray:
    """Another value for a keyword, or another keyword for a value."""
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
    """Start and end of a part, of whole blocks or not."""
    unit = _BLOCK if rng.random() < 0.7 else 1
    first, last = sorted(rng.integers(0, max(length // unit, 1) + 1, 2))
    return int(first) * unit, int(last) * unit


def delete(content: bytearray, rng: Random) -> bytearray:
    """Without a part."""
    start, end = piece(rng, len(content))
    return content[:start] + content[end:]


def duplicate(content: bytearray, rng: Random) -> bytearray:
    """A part twice."""
    start, end = piece(rng, len(content))
    return content[:end] + content[start:]


def blank(content: bytearray, rng: Random) -> bytearray:
    """A part full of one byte."""
    start, end = piece(rng, len(content))
    content[start:end] = bytes([rng.choice([0, 32, 255])]) * len(content[start:end])
    return content


def cut(content: bytearray, rng: Random) -> bytearray:
    """Without the end."""
    return content[: piece(rng, len(content))[1]]


CHANGES: tuple[Callable[[bytearray, Random], bytearray], ...] = (flip, flip, card, card, card, delete, duplicate, blank, cut)


def changed(content: bytes, rng: Random) -> bytes:
    """A file with some changes; compressed, and that changed, now and then."""
    new = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        if new:
            new = CHANGES[rng.integers(len(CHANGES))](new, rng)
    if rng.random() < 0.3:
        new = bytearray(gzip.compress(bytes(new), 1))
        if rng.random() < 0.5:
            new = (flip, cut, delete, duplicate)[rng.integers(4)](new, rng)
    return bytes(new)


def read(indir: Path, scheme: str) -> str:
    """Read all that can be read; how it ended, or an error of ours in one line."""
    try:
        runs = open_runs(indir, scheme)
        kept = select_all_runs(runs).kept
    except BgnbError as error:
        return checked(error)
    ends = {checked(fault(message).detail) for message in runs.faults.values()}
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


def checked(error: object) -> str:
    """The kind of an error: its message without what is particular to a case."""
    if not str(error) or not str(error).isprintable():
        raise AssertionError(f"a message must be one line of text: {str(error)!r}")
    message = str(error).rsplit(".fits", 1)[-1].removeprefix(".gz")
    return "".join(letter for letter in message.split(": ", 1)[-1] if not letter.isdigit())[:50]


def memory() -> float:
    """Greatest memory so far, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def base(folder: Path) -> dict[str, dict[str, bytes]]:
    """The inflated files of a good directory in each scheme, by path."""
    runs = [run(7, 12), run(8, 30)]
    directories = {"GADF": write_gadf(folder / "gadf", runs), "HESS": write_hess(folder / "hess", runs)}
    with fits.open(folder / "gadf" / "data" / "run8.fits.gz") as hdus:
        hdus.writeto(folder / "gadf" / "data" / "run8.fits.gz", overwrite=True, checksum=True)
    contents: dict[str, dict[str, bytes]] = {}
    for scheme, directory in directories.items():
        for path in directory.rglob("*.fits*"):
            content = path.read_bytes()
            inflated = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
            contents.setdefault(scheme, {})[path.relative_to(directory).as_posix()] = inflated
    return contents


def fuzz(minutes: float, seed: int, folder: Path) -> bool:
    """Cases until the time is over; whether all ended well."""
    files = base(folder / "good")
    for scheme, contents in files.items():
        shutil.copytree(folder / "good" / scheme.lower(), folder / scheme)
        for name, content in contents.items():
            (folder / scheme / name).write_bytes(content)
    signal.signal(signal.SIGALRM, stop)
    ends: Counter[str] = Counter()
    end, most, slowest = time.monotonic() + 60 * minutes, memory() + _MEGABYTES, 0.0
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
            if memory() > most:
                raise AssertionError(f"takes more than {most:.0f} MB")
        except (Exception, Hang):
            signal.setitimer(signal.ITIMER_REAL, 0)
            traceback.print_exc()
            print(f"case {number} of seed {seed} ended badly; read the directory {folder / scheme}, changed in {name}")
            return False
        signal.setitimer(signal.ITIMER_REAL, 0)
        slowest = max(slowest, time.monotonic() - started)
        path.write_bytes(files[scheme][name])
    for kind, count in ends.most_common():
        print(f"{count:8d}  {kind}")
    print(f"{ends.total()} cases of seed {seed} in {minutes:g} min, {len(ends)} kinds of end")
    print(f"slowest {slowest:.2f} s, memory at most {memory():.0f} MB")
    return True


def main() -> None:
    """Fuzz, and say how it ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=3)
    parser.add_argument("--seed", type=int, default=None)
    arguments = parser.parse_args()
    seed = int(np.random.SeedSequence().generate_state(1)[0]) if arguments.seed is None else arguments.seed
    folder = Path(tempfile.mkdtemp(prefix="bgnb-fuzz-"))
    warnings.simplefilter("error")
    if not fuzz(arguments.minutes, seed, folder):
        sys.exit(1)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
