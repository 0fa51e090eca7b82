"""Counting of runs in chunks, on any workers, with exact sums.

`count_chunk` is a pure function of a chunk and of the files to which it refers.
"""

from __future__ import annotations

import io
import json
import math
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

import astropy
import numpy as np
from numpy.typing import NDArray

from bgnb._util.arrays import Floats
from bgnb._util.compression import GzipReader, compress
from bgnb._util.errors import BgnbError, DataError, numbered, printable
from bgnb._util.reading import FILE_MAX, read_bytes
from bgnb._version import __version__
from bgnb.cubes.cells import pointing_bin, segments
from bgnb.cubes.cube import CubeAxes
from bgnb.cubes.event_cuts import RunCounts, add_pieces, measured_planes
from bgnb.cubes.exclusion_mask import SourceMask
from bgnb.cubes.stack import Stack, StackSum, add_stacks
from bgnb.files.output_file import write_file
from bgnb.files.ownership import is_private
from bgnb.observations.coordinates import FovAlign
from bgnb.observations.event_list import EventList, RunFiles
from bgnb.observations.event_reader import read_pieces
from bgnb.observations.fits_header import HduClass
from bgnb.observations.groups import OUTSIDE, ObservationGroups
from bgnb.production.workers import Workers

T = TypeVar("T")
Cells = Literal["none", "run", "bin"]

#: Maximum number of runs in a chunk: a compromise between the cost of transfers and the work lost if a worker dies.
CHUNK_RUNS = 25


class Key(NamedTuple):
    """Identifier of a sum: a group and, for methods that fit all runs at once, a norm and a cell of this norm.

    The norm is a run, or the runs with similar pointing and the same measured energies; a cell is a range of pointings of them.
    """

    group_id: int
    norm: tuple[int, ...] = ()
    cell: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class Chunk:
    """Runs to be counted together.

    Parameters
    ----------
    groups : `~bgnb.observations.groups.ObservationGroups`
        The groups, to which runs contribute in pieces.
    cells : {"none", "run", "bin"}
        Sums within a group: all runs, or separate cells of single runs, or of runs with similar
        pointing.
    axes : `CubeAxes`
        Axes of the cube.
    fovalign : {"ALTAZ", "RADEC"}
        Frame of DETX and DETY.
    mask : `~bgnb.cubes.exclusion_mask.SourceMask` or None
        Exclusion regions.
    runs : tuple of `~bgnb.observations.event_list.RunFiles`
        The runs.
    version : str
        Version of bgnb with which the chunk was made.
    """

    groups: ObservationGroups
    cells: Cells
    axes: CubeAxes
    fovalign: FovAlign
    mask: SourceMask | None
    runs: tuple[RunFiles, ...]
    version: str = __version__

    def __str__(self) -> str:
        return numbered("run", self.obs_ids, CHUNK_RUNS)

    @cached_property
    def digest(self) -> str:
        """Digest of everything on which the counts depend: versions, groups, axes, mask, runs and their files.

        Files are identified by path, size and modification times when the digest is first accessed.
        """
        edges = [getattr(self.axes, name).value.tolist() for name in ("energy", "dety", "detx")]
        regions = None if self.mask is None else self.mask.content
        groups = [self.groups.alt_edges.value.tolist(), self.groups.az_edges.value.tolist(), self.cells]
        content = [self.version, np.__version__, astropy.__version__, groups, edges, self.fovalign, regions]
        # What the index states of the files does not change counts.
        runs = [
            [asdict(replace(run, files={})), *(_state(part.path) for part in (run.events, run.gti, run.aeff) if part)]
            for run in self.runs
        ]
        return sha256(json.dumps([*content, runs], default=repr).encode()).hexdigest()

    @property
    def obs_ids(self) -> list[int]:
        """OBS_ID of every run."""
        return [run.obs_id for run in self.runs]


@dataclass(frozen=True, eq=False)
class Counted:
    """Counts and livetime of the runs of a chunk, and errors of the runs that cannot be used.

    Parameters
    ----------
    stacks : mapping of Key to `Stack`
        Counts and livetime of the pieces of runs, in order of the keys. The stack of the pieces
        outside all groups has neither.
    errors : mapping of int to DataError
        Errors by OBS_ID.
    """

    stacks: Mapping[Key, Stack]
    errors: Mapping[int, DataError]

    @property
    def pieces(self) -> dict[int, dict[int, RunCounts]]:
        """Numbers of events by OBS_ID and GROUP_ID."""
        found: dict[int, dict[int, list[RunCounts]]] = {}
        for key, stack in self.stacks.items():
            for run in stack.runs:
                found.setdefault(run.obs_id, {}).setdefault(key.group_id, []).append(run)
        return {
            obs_id: {group_id: add_pieces(runs) for group_id, runs in groups.items()}
            for obs_id, groups in sorted(found.items())
        }

    @property
    def obs_ids(self) -> list[int]:
        """OBS_ID of every run of the chunk, in order."""
        return sorted({obs_id for stack in self.stacks.values() for obs_id in stack.obs_ids} | self.errors.keys())

    @cached_property
    def packed(self) -> bytes:
        """Compressed bytes, without the axes and the frame, which the chunk contains.

        The size of a text, 8 bytes; the text, in JSON; counts and livetimes of each stack, as 64-bit integers.
        """
        errors = {str(obs_id): error.args for obs_id, error in self.errors.items()}
        stacks = [{"key": key, "runs": [asdict(run) for run in stack.runs]} for key, stack in self.stacks.items()]
        text = json.dumps({"stacks": stacks, "errors": errors}).encode()
        arrays = (array for stack in self.stacks.values() for array in (stack.counts, stack.livetime_us))
        return compress(b"".join([len(text).to_bytes(8, "little"), text, *(array.astype("<i8").tobytes() for array in arrays)]))

    @classmethod
    def unpack(cls, packed: bytes, chunk: Chunk) -> Counted:
        """Unpack the counts of a chunk.

        Raises
        ------
        DataError
            If the bytes are damaged or belong to other runs.
        """
        try:
            text, arrays = _unpacked(packed, chunk.axes.shape)
            stacks = {
                _key(each["key"], chunk): Stack(
                    chunk.axes,
                    chunk.fovalign,
                    counts,
                    livetime_us,
                    tuple(RunCounts(**run | {"notes": tuple(map(printable, run["notes"]))}) for run in each["runs"]),
                )
                for each, (counts, livetime_us) in zip(text["stacks"], arrays, strict=True)
            }
            errors = {int(obs_id): _error(error) for obs_id, error in dict(text["errors"]).items()}
            if len(stacks) != len(text["stacks"]):
                raise ValueError("they contain a sum twice")
            for key, stack in stacks.items():
                _check_counts(key, stack, errors)
            counted = cls(stacks, errors)
        except (BgnbError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise DataError("damaged", f"the counts of {chunk} are damaged: {error}") from None
        if counted.obs_ids != sorted(chunk.obs_ids):
            raise DataError("wrong-run", f"counts of runs {counted.obs_ids} where those of {chunk} are expected")
        counted.__dict__["packed"] = packed  # as cached_property does
        return counted


def _key(value: Any, chunk: Chunk) -> Key:
    """Make the key of packed counts."""
    group_id, norm, cell = value
    key = Key(group_id, tuple(norm), tuple(cell))
    divided = chunk.cells != "none" and group_id != OUTSIDE
    whole = all(type(number) is int for number in (group_id, *norm, *cell))
    if not whole or not OUTSIDE <= group_id < len(chunk.groups) or (bool(norm), bool(cell)) != (divided, divided):
        raise ValueError(f"{key} is not a key of them")
    return key


def _error(value: Any) -> DataError:
    """Make an error of packed counts."""
    code, message = value
    return DataError(str(code), str(message))


def _check_counts(key: Key, stack: Stack, errors: Collection[int]) -> None:
    """Raise a ValueError if packed counts contradict themselves."""
    if sum(run.counts for run in stack.runs) != stack.counts.sum():
        raise ValueError(f"those of {key} are not those of its runs")
    if key.group_id == OUTSIDE and (stack.counts.any() or stack.livetime_us.any()):
        raise ValueError("there are counts or livetime outside all groups")
    livetime_us = sum(1e6 * run.livetime_s + 1 for run in stack.runs)  # each is rounded
    missing = any(None in (run.alt_pnt, run.az_pnt) or run.livetime_s <= 0 for run in stack.runs)
    if missing or stack.livetime_us.max() > livetime_us:
        raise ValueError(f"pointing or livetime of a run of {key} is missing or too short")
    if both := {run.obs_id for run in stack.runs} & set(errors):
        raise ValueError(f"runs {sorted(both)} are both used and skipped")


def _unpacked(packed: bytes, shape: tuple[int, ...]) -> tuple[Any, NDArray[np.int64]]:
    """Decompress the text of a chunk and the arrays of its stacks, of which nothing but the stated number is read."""
    stream = GzipReader(io.BytesIO(packed), max(FILE_MAX, 64 * CHUNK_RUNS * math.prod(shape)))
    text = json.loads(stream.read(int.from_bytes(stream.read(8), "little")))
    n_stacks = len(text["stacks"])
    arrays = stream.read(16 * n_stacks * math.prod(shape))
    if stream.read(1):
        raise ValueError("they contain more than they state")
    return text, np.frombuffer(arrays, "<i8").astype(np.int64, copy=False).reshape(n_stacks, 2, *shape)


def chunks_of(obs_ids: Sequence[int]) -> list[Sequence[int]]:
    """Split runs into chunks of at most `CHUNK_RUNS`."""
    return [obs_ids[start : start + CHUNK_RUNS] for start in range(0, len(obs_ids), CHUNK_RUNS)]


def _state(path: Path) -> list[int] | None:
    """Return the size and the modification times of a file, or None if it does not exist."""
    try:
        status = path.stat()
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns]


@dataclass(frozen=True)
class KeptChunks:
    """Counts of chunks that are kept in a folder, if one is given, so that the same command can be continued."""

    folder: Path | None

    def read(self, chunk: Chunk) -> Counted | None:
        """Return the counts of a chunk, or None if they are missing, damaged, or lack a run that has become readable."""
        if self.folder is None or not os.path.lexists(self.folder):
            return None
        self._require_private(self.folder)
        try:
            counted = Counted.unpack(read_bytes(self.folder / chunk.digest), chunk)
        except (OSError, DataError):
            return None
        return None if _wrong_error(counted, chunk) else counted

    def write(self, chunk: Chunk, counted: Counted) -> None:
        """Write the counts of a chunk."""
        if self.folder is None:
            return
        try:
            self.folder.mkdir(mode=0o700)
            if not is_private(self.folder):  # the file system has no permissions: anybody could change the counts
                self.folder.rmdir()
                return
        except FileExistsError:
            self._require_private(self.folder)
        except OSError as error:
            raise BgnbError("not-writable", f"{self.folder}: cannot be created: {error.strerror}") from None
        write_file(self.folder / chunk.digest, counted.packed)

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Add a note on the kept counts to errors and interruptions of a block."""
        try:
            yield
        except BaseException as error:
            if self.folder is not None and is_private(self.folder):
                error.add_note(f"The counts so far are kept in {self.folder}; run the same command to continue.")
            raise

    @staticmethod
    def _require_private(folder: Path) -> None:
        """Refuse a folder in which another user may have written: its counts would be believed."""
        if not is_private(folder):
            what = "is not a directory to which only this user has access, so that counts in it cannot be trusted"
            raise BgnbError("foreign-files", f"{folder}: {what}; remove it")


def count_chunk(chunk: Chunk) -> Counted:
    """Read the runs of a chunk and count their events by group and cell. Only one run is in memory at a time."""
    errors: dict[int, DataError] = {}
    sums: dict[Key, StackSum] = {}
    outside: dict[int, list[RunCounts]] = {}
    for run in chunk.runs:
        try:
            pieces = _pieces(chunk, run)
        except DataError as error:
            errors[run.obs_id] = DataError(*error.args)  # the traceback of the original keeps the file in memory
            continue
        while pieces:
            key, piece = pieces.pop(0)
            if key.group_id == OUTSIDE:
                outside.setdefault(run.obs_id, []).append(RunCounts.of(piece, events_outside_groups=len(piece)))
            else:
                sums.setdefault(key, StackSum(chunk.axes, chunk.fovalign, chunk.mask)).add_run(piece)
            del piece  # the next run is read without this one in memory
    stacks = {key: each.stack(pieces=True) for key, each in sums.items()}
    if outside:
        nothing = np.zeros(chunk.axes.shape, dtype=np.int64)
        runs = tuple(add_pieces(pieces) for pieces in outside.values())
        stacks[Key(OUTSIDE)] = Stack(chunk.axes, chunk.fovalign, nothing, nothing, runs)
    return Counted(dict(sorted(stacks.items())), errors)


def _pieces(chunk: Chunk, run: RunFiles) -> list[tuple[Key, EventList]]:
    """Read a run, and divide it into pieces by the sums to which they contribute."""
    parts = read_pieces(run)
    planes = _measured_planes(parts[0], run, chunk.axes)
    return [item for part in parts for item in part.split(partial(_keys, chunk, part.obs_id, planes)).items()]


def _keys(chunk: Chunk, obs_id: int, planes: slice, alt_pnt: Floats, az_pnt: Floats) -> list[Key]:
    """Return the sum to which each piece of a run contributes, by its pointing.

    Runs with other measured planes do not share a norm: if it were lower on average, as by moonlight, the spectrum would have a
    step at their threshold.
    """
    group_ids = chunk.groups.group_ids(alt_pnt, az_pnt).tolist()
    if chunk.cells == "none":
        return [Key(group_id) for group_id in group_ids]
    segment = np.array(segments(alt_pnt, az_pnt))
    norm: tuple[int, ...] = (obs_id,)
    cell: dict[int, tuple[int, ...]] = {number: (number,) for number in segment.tolist()}
    if chunk.cells == "bin":
        norm = (*pointing_bin(alt_pnt, az_pnt)[:2], planes.start, planes.stop)  # eastern and western cells share it
        cell = {number: pointing_bin(alt_pnt[segment == number], az_pnt[segment == number]) for number in cell}
    return [
        Key(group_id) if group_id == OUTSIDE else Key(group_id, norm, cell[number])
        for group_id, number in zip(group_ids, segment.tolist(), strict=True)
    ]


def _measured_planes(events: EventList, run: RunFiles, axes: CubeAxes) -> slice:
    """Return the energy bins between threshold and limit of a run, which is refused if there are none."""
    planes = measured_planes(events.energy_threshold, events.energy_limit, axes)
    if planes.start < planes.stop:
        return planes
    limits = (("LO_THRES", events.energy_threshold), ("HI_THRES", events.energy_limit))
    stated = ", ".join(f"{keyword} = {limit:g} TeV" for keyword, limit in limits if limit is not None)
    first, last = axes.energy[[0, -1]].to_value("TeV")
    where = run.events if run.aeff is None else run.aeff
    message = f"no energy bin lies within these limits; the axis ranges from {first:g} to {last:g} TeV"
    hdu = where.hdu.name if isinstance(where.hdu, HduClass) else where.hdu
    raise DataError("below-threshold", f"{where.path}, HDU {hdu}: {stated}: {message}")


def count_and_pack(chunk: Chunk) -> bytes:
    """Count a chunk in a worker, and return the packed counts."""
    if chunk.version != __version__:
        where = f"a worker has bgnb {__version__}, this is bgnb {chunk.version}"
        raise BgnbError("version-mismatch", f"{where}; install the same version everywhere")
    return count_chunk(chunk).packed


def count_chunks(
    descriptions: Sequence[T], chunk_of: Callable[[T], Chunk], workers: Workers, kept: KeptChunks
) -> Iterator[tuple[Chunk, Counted]]:
    """Count each chunk once, in any order, except those whose counts are kept by an earlier command.

    ``chunk_of`` makes a chunk from its description. It is called when the chunk is needed, so that few chunks are in memory at
    a time.
    """
    missing = []
    for description in descriptions:
        if (counted := kept.read(chunk := chunk_of(description))) is None:
            missing.append(description)
        else:
            yield chunk, counted
    # The digest must be computed before the files are read.
    chunks = (chunk for chunk in map(chunk_of, missing) if kept.folder is None or chunk.digest)
    function: Callable[[Chunk], Any] = count_chunk if workers.submit is None else count_and_pack
    for chunk, result in workers.map(function, chunks):
        counted = result if isinstance(result, Counted) else Counted.unpack(result, chunk)
        if workers.submit and (error := _wrong_error(counted, chunk)):
            raise BgnbError(
                "unreadable",
                f"a worker reports: {error}; but this process can read it; check that all workers see the same files",
            )
        kept.write(chunk, counted)
        yield chunk, counted


def _wrong_error(counted: Counted, chunk: Chunk) -> DataError | None:
    """Return the error of a run that this process can read, for example because a worker does not see the files."""
    if not counted.errors:
        return None
    again = count_chunk(replace(chunk, runs=tuple(run for run in chunk.runs if run.obs_id in counted.errors)))
    return next((error for obs_id, error in counted.errors.items() if obs_id not in again.errors), None)


def sum_counted(chunks: Iterable[Counted]) -> Counted:
    """Sum counts and livetimes by key; the order of the chunks does not matter."""
    errors: dict[int, DataError] = {}

    def stacks() -> Iterator[tuple[Key, Stack]]:
        for counted in chunks:
            errors.update(counted.errors)
            yield from counted.stacks.items()

    return Counted(add_stacks(stacks()), errors)
