"""Chunks of runs are counted by themselves, on any machine, and added exactly.

`count_chunk` is a pure function of a chunk and of the files that it names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from astropy import units as u
from numpy.typing import NDArray

from bgnb._util.errors import BgnbError, DataError
from bgnb._version import __version__
from bgnb.cubes.stack import RunCounts, Stack, stack_runs
from bgnb.files.output_directory import write_file
from bgnb.observations.event_list import EventList, RunFiles
from bgnb.observations.event_reader import read_event_list
from bgnb.production.chunks import Chunk, Counted, Key
from bgnb.production.tasks import Lost, Workers

T = TypeVar("T")


@dataclass(frozen=True)
class KeptChunks:
    """What was counted, kept in a folder, if there is one, for the next time the same is asked for."""

    folder: Path | None

    def __bool__(self) -> bool:
        return self.folder is not None and self.folder.is_dir()

    def read(self, chunk: Chunk) -> Counted | None:
        """What is kept of a chunk; None where nothing is, or it is damaged."""
        if self.folder is None:
            return None
        try:
            return Counted.unpack((self.folder / chunk.digest).read_bytes(), chunk)
        except (OSError, DataError):
            return None

    def noting_files(self, chunk: Chunk) -> Chunk:
        """The same chunk; its digest is that of its files as they are now, before they are read."""
        if self.folder is not None:
            _ = chunk.digest  # from now on it has this one
        return chunk

    def write(self, chunk: Chunk, content: bytes) -> None:
        """Keep what was counted in a chunk."""
        if self.folder is None:
            return
        try:
            self.folder.mkdir(exist_ok=True)
        except OSError as error:
            raise BgnbError(f"{self.folder}: cannot be made: {error.strerror}") from None
        write_file(self.folder / chunk.digest, content)

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Errors and interruptions in a block say what is kept."""
        try:
            yield
        except BaseException as error:
            if self:
                error.add_note(f"What was counted is kept in {self.folder}, and the same command goes on from there.")
            raise


def count_chunk(chunk: Chunk) -> Counted:
    """Read the runs of a chunk and count their events; one run is held at a time."""
    faults: dict[int, str] = {}

    def readable() -> Iterator[EventList]:
        for run in chunk.runs:
            try:
                yield _read(run, chunk)
            except DataError as error:
                faults[run.obs_id] = str(error)

    stack = stack_runs(readable(), chunk.axes, chunk.fovalign, chunk.mask)
    return Counted(stack, faults)


def _read(run: RunFiles, chunk: Chunk) -> EventList:
    """The events of a run, which must have a bin above its energy threshold: otherwise its livetime would count nowhere."""
    events = read_event_list(run)
    threshold, energy = events.energy_threshold, chunk.axes.energy
    if threshold is not None and chunk.axes.first_bin_above(threshold * u.TeV) >= len(energy) - 1:
        where = run.events if run.aeff is None else run.aeff
        end = f"no energy bin lies above it, as the axis ends at {energy[-1].to_value('TeV'):g} TeV"
        raise DataError(f"{where.path}, HDU {where.hdu}: LO_THRES = {threshold:g} TeV: {end}")
    return events


def count_and_pack(chunk: Chunk) -> bytes:
    """`count_chunk`, for workers in other processes."""
    if chunk.version != __version__:
        raise BgnbError(f"a worker has bgnb {__version__}, this is bgnb {chunk.version}: install the same everywhere")
    return count_chunk(chunk).pack()


def count_chunks(
    pieces: Sequence[T], chunk_of: Callable[[T], Chunk], workers: Workers, kept: KeptChunks
) -> Iterator[tuple[Chunk, Counted]]:
    """Count each chunk once, in any order; those that are kept are not counted again.

    A chunk whose worker died is repeated, then split, and only a run that kills its worker
    when it is alone is blamed, as one that cannot be used.

    Parameters
    ----------
    pieces : sequence
        What to count.
    chunk_of : callable
        Makes the chunk of a piece, when it is its turn, so that few are held at a time.
    workers : `~bgnb.production.tasks.Workers`
        Where to count.
    kept : `KeptChunks`
        What was counted before.
    """
    missing = pieces
    if kept:
        missing = []
        for piece in pieces:
            chunk = chunk_of(piece)
            if (counted := kept.read(chunk)) is not None and _gone_fault(counted, chunk) is None:
                yield chunk, counted
            else:
                missing.append(piece)
    tasks = map(chunk_of, missing)
    if kept.folder is None and workers.submit is None:
        yield from ((chunk, count_chunk(chunk)) for chunk in tasks)
        return
    dangerous: list[Chunk] = []
    for chunk, result in workers.map(count_and_pack, map(kept.noting_files, tasks)):
        if isinstance(result, Lost):
            dangerous.append(chunk)
        else:
            counted = _believed(Counted.unpack(result, chunk), chunk)
            kept.write(chunk, result)
            yield chunk, counted
    for chunk in dangerous:
        for one, result in workers.one_by_one(count_and_pack, chunk.split()):
            yield one, _killer(one) if isinstance(result, Lost) else _believed(Counted.unpack(result, one), one)


def _believed(counted: Counted, chunk: Chunk) -> Counted:
    """The same, if the runs that a worker cannot use cannot be used here either."""
    if fault := _gone_fault(counted, chunk):
        raise BgnbError(f"a worker found: {fault}; but here the run can be read. Do all workers see the same files?")
    return counted


def _gone_fault(counted: Counted, chunk: Chunk) -> str | None:
    """A fault of a run that can be read here and now, as of a disk that did not answer; None where there is none."""
    for run in chunk.runs:
        if run.obs_id in counted.faults:
            try:
                _read(run, chunk)
            except DataError:
                continue
            return counted.faults[run.obs_id]
    return None


def _killer(chunk: Chunk) -> Counted:
    """What becomes of a chunk of one run that kills its worker."""
    run = chunk.runs[0]
    fault = f"{run.events.path}: the worker that read run {run.obs_id} died, even where it had nothing else to do"
    nothing = stack_runs([], chunk.axes, chunk.fovalign)
    return Counted(nothing, {run.obs_id: f"{fault}; has it enough memory?"})


def total(counted: Iterable[tuple[Key, Counted]]) -> dict[Key, Counted]:
    """The sums of what was counted, by key; one piece is held at a time, and their order does not matter."""
    sums: dict[Key, _Sum] = {}
    for key, piece in counted:
        if key not in sums:
            sums[key] = _Sum(piece, np.zeros_like(piece.stack.counts), np.zeros_like(piece.stack.livetime_us), [], {})
        sums[key].add(piece)
    return {key: sums[key].result() for key in sorted(sums)}


@dataclass
class _Sum:
    """A sum that grows."""

    first: Counted
    counts: NDArray[np.int64]
    livetime_us: NDArray[np.int64]
    runs: list[RunCounts]
    faults: dict[int, str]

    def add(self, piece: Counted) -> None:
        self.counts += piece.stack.counts
        self.livetime_us += piece.stack.livetime_us
        self.runs += piece.stack.runs
        self.faults |= piece.faults

    def result(self) -> Counted:
        like = self.first.stack
        return Counted(Stack(like.axes, like.fovalign, self.counts, self.livetime_us, tuple(self.runs)), self.faults)
