"""Chunks of runs: counted by themselves, on any machine, and added exactly.

A chunk names the files of some runs that are counted on the same axes; `count_chunk` is a
pure function of it and of these files. What it counted can be packed into bytes, to travel
or to be kept, and a digest of all that it depends on names it.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from isal import igzip, igzip_lib
from numpy.typing import NDArray

import bgnb
from bgnb.cube import CubeAxes
from bgnb.errors import BgnbError, DataError
from bgnb.eventfile import read_event_list
from bgnb.eventlist import EventList, RunFiles
from bgnb.fov import FovAlign
from bgnb.mask import SourceMask
from bgnb.outdir import write_file
from bgnb.stack import RunCounts, Stack, stack_runs
from bgnb.workers import Lost, Workers

T = TypeVar("T")
Key = tuple[int, ...]

#: Most runs of a chunk: so many that to send it costs little, so few that to lose it does.
CHUNK_RUNS = 25


@dataclass(frozen=True, eq=False)
class Chunk:
    """Runs to be counted together.

    Parameters
    ----------
    key : tuple of int
        What it is a part of: the sum of chunks with the same key is asked for.
    axes : `CubeAxes`
        The bins.
    fovalign : {"ALTAZ", "RADEC"}
        Frame of DETX and DETY.
    mask : `~bgnb.mask.SourceMask` or None
        Circles that are cut out.
    runs : tuple of `~bgnb.eventlist.RunFiles`
        The runs.
    """

    key: Key
    axes: CubeAxes
    fovalign: FovAlign
    mask: SourceMask | None
    runs: tuple[RunFiles, ...]
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        # A name for what is counted: other bins, masks, runs, files or index rows have another. Files are known by
        # path, size and times of change, as they are now, before they are read.
        mask = None if self.mask is None else [getattr(self.mask, name).tolist() for name in ("ra", "dec", "radius")]
        edges = [getattr(self.axes, name).value.tolist() for name in ("energy", "dety", "detx")]
        content = [bgnb.__version__, edges, self.fovalign, mask, [_identity(run) for run in self.runs]]
        object.__setattr__(self, "digest", sha256(json.dumps(content).encode()).hexdigest())

    @property
    def obs_ids(self) -> list[int]:
        """OBS_ID of every run, in order."""
        return [run.obs_id for run in self.runs]

    def split(self) -> list[Chunk]:
        """A chunk for each run."""
        return [replace(self, runs=(run,)) for run in self.runs]


@dataclass(frozen=True, eq=False)
class Counted:
    """What was counted in a chunk, and the runs of it that cannot be used, with the faults."""

    stack: Stack
    faults: Mapping[int, str]

    @property
    def obs_ids(self) -> list[int]:
        """OBS_ID of every run that was asked for, in order."""
        return sorted([*self.stack.obs_ids, *self.faults])

    def pack(self) -> bytes:
        """All of it in bytes, compressed; the axes and the frame are those of the chunk."""
        runs = [asdict(run) for run in self.stack.runs]
        text = json.dumps({"runs": runs, "faults": {str(obs_id): fault for obs_id, fault in self.faults.items()}})
        content = io.BytesIO()
        np.savez(content, text=np.array(text), counts=self.stack.counts, livetime_us=self.stack.livetime_us)
        return bytes(igzip.compress(content.getvalue(), 1))

    @classmethod
    def unpack(cls, content: bytes, chunk: Chunk) -> Counted:
        """What was counted in this chunk.

        Raises
        ------
        DataError
            Where the bytes are damaged, or of another chunk.
        """
        try:
            with np.load(io.BytesIO(igzip.decompress(content)), allow_pickle=False) as arrays:
                text = json.loads(str(arrays["text"]))
                counts, livetime_us = arrays["counts"], arrays["livetime_us"]
            runs = tuple(RunCounts(**run | {"notes": tuple(run["notes"])}) for run in text["runs"])
            stack = Stack(chunk.axes, chunk.fovalign, counts, livetime_us, runs)
            counted = cls(stack, {int(obs_id): fault for obs_id, fault in text["faults"].items()})
        except (BgnbError, OSError, EOFError, ValueError, KeyError, TypeError, igzip_lib.IsalError) as error:  # type: ignore[misc]
            raise DataError(f"what was counted in a chunk is damaged: {error}") from None
        if counted.obs_ids != sorted(chunk.obs_ids):
            raise DataError("what was counted is of other runs")
        return counted


@dataclass(frozen=True)
class KeptChunks:
    """What was counted, kept in a folder, if there is one, for the next time the same is asked for."""

    folder: Path | None

    def read(self, chunk: Chunk) -> Counted | None:
        """What is kept of a chunk; None where nothing is, or it is damaged."""
        if self.folder is None:
            return None
        try:
            return Counted.unpack((self.folder / chunk.digest).read_bytes(), chunk)
        except (OSError, DataError):
            return None

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Errors and interruptions in a block say what is kept."""
        try:
            yield
        except BaseException as error:
            if self.folder is not None and self.folder.is_dir():
                error.add_note(f"What was counted is kept in {self.folder}, and the same command goes on from there.")
            raise

    def write(self, chunk: Chunk, content: bytes) -> None:
        """Keep what was counted in a chunk."""
        if self.folder is not None:
            self.folder.mkdir(exist_ok=True)
            write_file(self.folder / chunk.digest, content)


def count_chunk(chunk: Chunk) -> Counted:
    """Read the runs of a chunk and count their events; one run is held at a time."""
    faults: dict[int, str] = {}

    def readable() -> Iterator[EventList]:
        for run in chunk.runs:
            try:
                yield read_event_list(run)
            except DataError as error:
                faults[run.obs_id] = str(error)

    stack = stack_runs(readable(), chunk.axes, chunk.fovalign, chunk.mask)
    return Counted(stack, faults)


def count_and_pack(chunk: Chunk) -> bytes:
    """`count_chunk`, for workers in other processes."""
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
    workers : `~bgnb.workers.Workers`
        Where to count.
    kept : `KeptChunks`
        What was counted before.
    """
    missing: list[T] = []
    for piece in pieces:
        chunk = chunk_of(piece)
        if (counted := kept.read(chunk)) is not None:
            yield chunk, counted
        else:
            missing.append(piece)
    count: Callable[[Chunk], Counted | bytes] = count_and_pack
    if kept.folder is None and workers.submit is None:
        count = count_chunk
    dangerous: list[Chunk] = []
    for chunk, result in workers.map(count, map(chunk_of, missing)):
        if isinstance(result, Lost):
            dangerous.append(chunk)
        elif isinstance(result, Counted):
            yield chunk, result
        else:
            kept.write(chunk, result)
            yield chunk, Counted.unpack(result, chunk)
    for chunk in dangerous:
        for one, result in workers.map(count_and_pack, chunk.split()):
            if isinstance(result, Lost):
                where, obs_id = one.runs[0].events.path, one.runs[0].obs_id
                fault = f"{where}: the worker that read run {obs_id} died, even where it had nothing else to do"
                nothing = stack_runs([], chunk.axes, chunk.fovalign)
                yield one, Counted(nothing, {obs_id: f"{fault}; has it enough memory?"})
            else:
                yield one, Counted.unpack(result, one)


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


def chunks_of(obs_ids: Sequence[int]) -> list[Sequence[int]]:
    """Parts of at most `CHUNK_RUNS` runs."""
    return [obs_ids[start : start + CHUNK_RUNS] for start in range(0, len(obs_ids), CHUNK_RUNS)]


def _identity(run: RunFiles) -> list[Any]:
    """What tells a run and its files from others, and from what they were before."""
    parts: list[Any] = []
    for part in (run.events, run.gti, run.aeff):
        if part is None:
            parts.append(None)
            continue
        try:
            status = part.path.stat()
            known: list[int] | None = [status.st_size, status.st_mtime_ns, status.st_ctime_ns]
        except OSError:
            known = None
        parts.append([str(part.path), part.hdu, part.optional, known])
    return [run.obs_id, parts, sorted((name, repr(value)) for name, value in run.index.items()), run.shared_with]
