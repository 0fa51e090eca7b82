"""Write the counts of a part of the runs to files, and read the parts again to merge them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from bgnb._util.errors import BgnbError, DataError, enumerate_values, located, numbered
from bgnb._util.reading import read_bytes, read_json
from bgnb._version import __version__
from bgnb.files.manifest import check, manifest_text
from bgnb.files.output_file import write_file
from bgnb.production.count_chunks import Chunk, Counted
from bgnb.production.plan import Plan, make_plan
from bgnb.production.report import Report, RunReport, run_reports
from bgnb.production.settings import ProductionSettings

#: File that describes a part.
PART_FILE = "part.json"


def part_numbers(part: str) -> tuple[int, int]:
    """Parse the number of a part and the number of all parts from a text such as ``3/10``."""
    numbers = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", str(part))
    if not numbers or not 1 <= int(numbers[1]) <= int(numbers[2]):
        raise BgnbError("invalid-argument", f"part must be like 3/10, for the third of ten, got '{part}'")
    return int(numbers[1]), int(numbers[2])


def write_part(plan: Plan, counted: Iterable[tuple[Chunk, Counted]], directory: Path, numbers: tuple[int, int]) -> Report:
    """Write the counts of a part, and report on its runs."""
    runs: list[RunReport] = []
    for chunk, piece in counted:
        write_file(directory / _name(chunk.obs_ids), piece.packed)
        runs += run_reports(piece)
    plan.runs.check_unchanged()
    settings = plan.settings.as_dict()
    content = {"creator": f"bgnb {__version__}", "part": numbers, "plan": plan.digest(), "settings": settings}
    write_file(directory / PART_FILE, (json.dumps(content, indent=1) + "\n").encode())
    settings["part"] = "/".join(map(str, numbers))
    return Report(tuple(sorted(runs, key=lambda run: run.obs_id)), (), settings, plan.runs.notes)


def open_parts(paths: Sequence[Path]) -> tuple[Plan, Iterator[tuple[Chunk, Counted]]]:
    """Return the plan of parts, and an iterator over their counts by chunk.

    Raises
    ------
    BgnbError
        If a part is missing, damaged, made with another plan or replaced in the meantime, or the index of runs has changed.
    """
    if not paths:
        raise BgnbError("parts-mismatch", "there are no parts to merge")
    parts = [_content(path) for path in paths]
    digest, n_parts = parts[0]["plan"], parts[0]["part"][1]
    for path, part in zip(paths, parts, strict=True):
        if (part["plan"], part["part"][1]) != (digest, n_parts):
            raise BgnbError(
                "parts-mismatch", f"{path}: differs from {paths[0]} in the settings or the runs; make the parts again"
            )
    manifests = [manifest_text(path) for path in paths]
    numbers = [part["part"][0] for part in parts]
    if twice := [path for path, number in zip(paths, numbers, strict=True) if numbers.count(number) > 1]:
        raise BgnbError("parts-mismatch", f"a part is given more than once: {enumerate_values(twice)}")
    if missing := sorted({*range(1, n_parts + 1)} - {*numbers}):
        which = f"{numbered('part', missing)} of {n_parts} {'are' if len(missing) > 1 else 'is'} missing"
        raise BgnbError("parts-mismatch", f"{which}; give all parts")
    with located(str(paths[0] / PART_FILE)):
        settings = ProductionSettings.from_dict(parts[0]["settings"])
    plan = make_plan(settings)
    if plan.digest() != digest:
        what = f"the index of runs, the catalogue or an exclusion region has changed since {paths[0]} was made"
        raise BgnbError("parts-mismatch", f"{plan.runs.path}: {what}; make the parts again")
    directories = dict(zip(numbers, paths, strict=True))

    def counted() -> Iterator[tuple[Chunk, Counted]]:
        for number, obs_ids in enumerate(plan.chunks):
            chunk = plan.chunk(obs_ids)
            path = directories[number % n_parts + 1] / _name(chunk.obs_ids)
            yield chunk, _read_counts(path, chunk)
        if changed := [path for path, text in zip(paths, manifests, strict=True) if manifest_text(path) != text]:
            raise BgnbError("changed", f"{changed[0]}: was replaced while it was read; merge the parts again")

    return plan, counted()


def _name(obs_ids: Sequence[int]) -> str:
    return f"run{min(obs_ids)}.counted"


def _read_counts(path: Path, chunk: Chunk) -> Counted:
    """Read the counts of a chunk, which the manifest of the part may not describe."""
    try:
        packed = read_bytes(path)
    except OSError as error:
        raise DataError("unreadable", f"{path}: cannot be read: {error.strerror}; make this part again") from None
    try:
        return Counted.unpack(packed, chunk)
    except DataError as error:
        raise DataError(error.code, f"{path}: {error.message}; make this part again") from None


def _content(path: Path) -> dict[str, Any]:
    """Check the files of a part, and read its description."""
    for name, problem in check(path).items():
        if problem is not None:
            raise BgnbError("damaged", f"{path / name}: {problem}; make this part again")
    try:
        content = read_json(path / PART_FILE)
    except (OSError, ValueError):
        content = None
    match content:
        case {"creator": str(creator)} if creator != f"bgnb {__version__}":
            what = f"was made by {creator}, this is bgnb {__version__}"
            raise BgnbError("version-mismatch", f"{path}: {what}; make the part again")
        case {
            "creator": str(),
            "plan": str(),
            "part": [int(part), int(n_parts)],
            "settings": {"indir": str(), "scheme": str()},
        }:
            if 1 <= part <= n_parts < 10**6:
                return content
    raise BgnbError("parts-mismatch", f"{path}: was not made with --part")
