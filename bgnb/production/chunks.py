"""Chunks of runs, and what was counted in them, as values that can travel and be kept."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import astropy
import numpy as np

from bgnb._util.compression import compress, decompress
from bgnb._util.errors import BgnbError, DataError
from bgnb._version import __version__
from bgnb.cubes.cube import CubeAxes
from bgnb.cubes.exclusion_mask import SourceMask
from bgnb.cubes.stack import RunCounts, Stack
from bgnb.observations.coordinates import FovAlign
from bgnb.observations.event_list import RunFiles

#: Most runs of a chunk: so many that to send it costs little, so few that to lose it does.
CHUNK_RUNS = 25


class Key(NamedTuple):
    """What chunks are added up to: a group; for splines a part of it, a run or runs that point alike."""

    group_id: int
    part: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class Chunk:
    """Runs to be counted together.

    Parameters
    ----------
    key : Key
        What it is a part of: the sum of chunks with the same key is asked for.
    axes : `CubeAxes`
        The bins.
    fovalign : {"ALTAZ", "RADEC"}
        Frame of DETX and DETY.
    mask : `~bgnb.cubes.exclusion_mask.SourceMask` or None
        Circles that are cut out.
    runs : tuple of `~bgnb.observations.event_list.RunFiles`
        The runs.
    version : str
        Version of bgnb that asks.
    """

    key: Key
    axes: CubeAxes
    fovalign: FovAlign
    mask: SourceMask | None
    runs: tuple[RunFiles, ...]
    version: str = __version__

    @cached_property
    def digest(self) -> str:
        """A name for what is counted: other bins, masks, runs, files or index rows have another.

        Files are known by path, size and times of change, as they are when this is first asked for.
        """
        edges = [getattr(self.axes, name).value.tolist() for name in ("energy", "dety", "detx")]
        circles = None if self.mask is None else self.mask.circles
        content = [self.version, np.__version__, astropy.__version__, edges, self.fovalign, circles]
        return sha256(json.dumps([*content, *map(_identity, self.runs)]).encode()).hexdigest()

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
        return compress(content.getvalue())

    @classmethod
    def unpack(cls, content: bytes, chunk: Chunk) -> Counted:
        """What was counted in this chunk.

        Raises
        ------
        DataError
            Where the bytes are damaged, or of another chunk.
        """
        try:
            with np.load(io.BytesIO(decompress(content)), allow_pickle=False) as arrays:
                text = json.loads(str(arrays["text"]))
                counts, livetime_us = arrays["counts"], arrays["livetime_us"]
            runs = tuple(RunCounts(**run | {"notes": tuple(run["notes"])}) for run in text["runs"])
            stack = Stack(chunk.axes, chunk.fovalign, counts, livetime_us, runs)
            counted = cls(stack, {int(obs_id): fault for obs_id, fault in text["faults"].items()})
        except (BgnbError, OSError, EOFError, ValueError, KeyError, TypeError, BadZipFile) as error:
            raise DataError(f"what was counted in a chunk is damaged: {error}") from None
        if counted.obs_ids != sorted(chunk.obs_ids):
            raise DataError("what was counted is of other runs")
        return counted


def chunks_of(obs_ids: Sequence[int]) -> list[Sequence[int]]:
    """Parts of at most `CHUNK_RUNS` runs."""
    return [obs_ids[start : start + CHUNK_RUNS] for start in range(0, len(obs_ids), CHUNK_RUNS)]


def _identity(run: RunFiles) -> list[Any]:
    """What tells a run and its files from others, and from what they were before."""
    parts = [None if part is None else [str(part.path), part.hdu, part.optional] for part in (run.events, run.gti, run.aeff)]
    paths = dict.fromkeys(part.path for part in (run.events, run.gti, run.aeff) if part is not None)
    index = sorted((name, repr(value)) for name, value in run.index.items())
    return [run.obs_id, parts, [_state(path) for path in paths], index, run.shared_with]


def _state(path: Path) -> list[int] | None:
    """Size of a file and times of its last change; None where it is not there."""
    try:
        status = path.stat()
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns]
