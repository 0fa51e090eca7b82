"""Runs counted in parts, without any scheduler, and put together again."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from bgnb._util.errors import BgnbError, DataError
from bgnb._version import __version__
from bgnb.files.manifest import check
from bgnb.files.output_directory import write_file
from bgnb.observations.selection import Reason
from bgnb.production.chunks import Chunk, Counted, Key
from bgnb.production.plan import Plan, make_plan
from bgnb.production.report import Report, RunReport
from bgnb.production.settings import ModelSettings

#: What a directory with a part says of itself.
PART_FILE = "part.json"


def part_numbers(part: str) -> tuple[int, int]:
    """Number of a part, and number of parts, from a text such as ``3/10``."""
    numbers = re.fullmatch(r"([0-9]+)/([0-9]+)", str(part))
    if not numbers or not 1 <= int(numbers[1]) <= int(numbers[2]):
        raise BgnbError(f"part must be like 3/10, for the third of ten, got '{part}'")
    return int(numbers[1]), int(numbers[2])


def write_part(plan: Plan, counted: Iterable[tuple[Chunk, Counted]], directory: Path, numbers: tuple[int, int]) -> Report:
    """Write what was counted for a part; the report names its runs."""
    chunks: list[dict[str, Any]] = []
    runs: list[RunReport] = []
    for chunk, piece in counted:
        name = f"run{min(chunk.obs_ids)}.counted"
        write_file(directory / name, piece.pack())
        chunks.append({"file": name, "key": [chunk.key.group_id, *chunk.key.part], "obs_ids": chunk.obs_ids})
        runs += [RunReport(run.obs_id, chunk.key.group_id, None, run) for run in piece.stack.runs]
        runs += [RunReport(obs_id, chunk.key.group_id, Reason.from_error(why), None) for obs_id, why in piece.faults.items()]
    content = {
        "creator": f"bgnb {__version__}",
        "part": numbers,
        "plan": plan.digest(),
        "settings": plan.settings.as_dict(),
        "chunks": sorted(chunks, key=lambda chunk: chunk["obs_ids"]),
    }
    write_file(directory / PART_FILE, (json.dumps(content, indent=1) + "\n").encode())
    settings = plan.settings.as_dict() | {"part": "/".join(map(str, numbers))}
    return Report(tuple(sorted(runs, key=lambda run: run.obs_id)), (), settings, plan.runs.notes)


def open_parts(paths: Sequence[Path]) -> tuple[Plan, Iterator[tuple[Chunk, Counted]]]:
    """The plan that parts belong to, and what was counted, one chunk after the other.

    Raises
    ------
    BgnbError
        Where one is missing, damaged or of another plan, or the runs are not what they were.
    """
    if not paths:
        raise BgnbError("there are no parts to merge")
    contents = [_content(path) for path in paths]
    first, n_parts = contents[0], contents[0]["part"][1]
    for path, content in zip(paths, contents, strict=True):
        if (content["plan"], content["part"][1]) != (first["plan"], n_parts):
            raise BgnbError(f"{path}: was made with other settings, or of other runs, than {paths[0]}")
    numbers = [content["part"][0] for content in contents]
    if missing := [number for number in range(1, min(n_parts, len(paths) + 6) + 1) if number not in numbers]:
        more = " …" if len(missing) > 5 else ""
        raise BgnbError(f"of {n_parts} parts, these numbers are missing: {', '.join(map(str, missing[:5]))}{more}")
    for place, number in enumerate(numbers):
        if number in numbers[:place]:
            raise BgnbError(f"the same part is given twice: {paths[numbers.index(number)]} and {paths[place]}")
    settings = ModelSettings.from_dict(first["settings"])
    if not Path(settings.indir).is_dir():
        where = "" if Path(settings.indir).is_absolute() else f" in {Path.cwd()}; merge where the parts were made"
        raise BgnbError(f"{settings.indir}: the directory of runs that the parts were made of is not there{where}")
    plan = make_plan(settings)
    if plan.digest() != first["plan"]:
        what = "the index of the runs or the catalogue is not what it was"
        raise BgnbError(f"{plan.runs.path}: {what} when {paths[0]} was made; make the parts again")
    files = [(path, chunk) for path, content in zip(paths, contents, strict=True) for chunk in content["chunks"]]
    return plan, (_read(plan, path, chunk) for path, chunk in files)


def _read(plan: Plan, path: Path, entry: dict[str, Any]) -> tuple[Chunk, Counted]:
    group_id, *part = entry["key"]
    chunk = plan.chunk((Key(group_id, tuple(part)), entry["obs_ids"]))
    try:
        return chunk, Counted.unpack((path / entry["file"]).read_bytes(), chunk)
    except (OSError, DataError) as error:
        raise BgnbError(f"{path / entry['file']}: cannot be used: {error}") from None


def _content(path: Path) -> dict[str, Any]:
    if not path.is_dir():
        raise BgnbError(f"{path}: there is no such directory; is this part finished?")
    for name, problem in check(path).items():
        if problem is not None:
            raise BgnbError(f"{path / name}: {problem}; make this part again")
    try:
        content = json.loads((path / PART_FILE).read_text())
    except (OSError, ValueError):
        raise BgnbError(f"{path}: is not a part that was made with --part") from None
    if content["creator"] != f"bgnb {__version__}":
        raise BgnbError(f"{path}: was made by {content['creator']}, this is bgnb {__version__}; make the part again")
    return dict(content)
