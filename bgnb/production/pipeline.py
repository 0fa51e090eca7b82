"""Production of background models from a directory of runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from bgnb._util.checks import checked_path
from bgnb._util.errors import BgnbError, quoted
from bgnb._util.progress import progress_bar
from bgnb._util.settings_groups import with_settings
from bgnb.cubes.event_cuts import RunCounts
from bgnb.cubes.model_set import ModelSet
from bgnb.cubes.stack import check_instrument
from bgnb.files.output_directory import kept_folder, new_directory, refuse_inputs
from bgnb.production.count_chunks import Chunk, Counted, KeptChunks, count_chunk, count_chunks, sum_counted
from bgnb.production.make_models import Production, models_of_counts
from bgnb.production.parts import open_parts, part_numbers, write_part
from bgnb.production.plan import Plan, make_plan, plan_of_runs
from bgnb.production.report import Report
from bgnb.production.settings import ProductionSettings, RunSelection
from bgnb.production.workers import open_workers
from bgnb.production.write_models import write_files

#: Minimum number of runs for which counts are kept until the models are written.
KEPT_FROM = 100
#: CPU time of counting, s, per run and per byte of its event file (``benchmarks/workers.py``).
SECONDS_PER_RUN, SECONDS_PER_BYTE = 3e-3, 12e-9
# Maximum number of runs from whose files the time is estimated; on network drives each may take ms.
_SAMPLE = 100


@with_settings(ProductionSettings)
def make_models(
    indir: str | Path,
    scheme: str,
    *,
    settings: ProductionSettings,
    workers: int | Executor | None = None,
    scheduler: str | None = None,
    progress: bool | None = None,
) -> Production:
    """Make background cube models from a directory of runs, in memory.

    Select runs, divide them by time into groups of altitude and azimuth, stack counts and
    livetime of each group, and make the models.

    Parameters
    ----------
    indir : path
        Directory of event lists.
    scheme : str
        Layout of the directory, see `open_runs`.
    {settings}
    workers : int or `concurrent.futures.Executor`, optional
        Number of processes on this machine, 1 for this process only; or an executor, such as
        ``distributed.Client(...).get_executor()``. By default as many as there are cores, but
        at most one more for every 3 s of work, estimated from the size of the files. The models
        are bit-identical in all cases. Scripts that use several processes need
        ``if __name__ == "__main__":``.
    scheduler : str, optional
        Address of a running Dask scheduler, such as ``tcp://10.0.0.1:8786``, instead of
        ``workers``.
    progress : bool, optional
        Show a progress bar; by default on a terminal only.

    Returns
    -------
    Production
        The models and the report.

    Raises
    ------
    BgnbError
        If an argument is invalid, the selection has no runs, runs belong to different
        instruments, or, with ``on_error="fail"``, a run cannot be used, or only with a note.

    Examples
    --------
    >>> import bgnb
    >>> production = bgnb.make_models("runs", "GADF", select="all", n_energy=10, n_fov=10)
    >>> production.models
    ModelSet(spline of 6 runs, groups 27)
    >>> production.models[27].energy_range
    <Quantity [ 0.1, 80. ] TeV>
    """
    return models_of_plan(make_plan(settings), workers, scheduler, progress)


def models_of_plan(
    plan: Plan,
    workers: int | Executor | None = None,
    scheduler: str | None = None,
    progress: bool | None = None,
    folder: Path | None = None,
) -> Production:
    """Count the runs of a plan and make the models, in memory; see `make_models`. A folder may keep the counts."""
    with _counting(plan, plan.chunks, folder, workers, scheduler, progress) as (counted, _):
        return models_of_counts(plan, sum_counted(piece for _, piece in counted))


def models_of_subsets(plan: Plan, subsets: Sequence[Sequence[int]]) -> Iterator[ModelSet]:
    """Make the models of subsets (OBS_IDs) of the runs of a plan, one after the other, in memory; each run is counted once.

    Runs that belong to the same subsets are counted together. Their counts, which are integers, are kept compressed, and
    added for each subset, so that the models are those that `models_of_plan` makes of a subset.
    """
    # Without masks, the catalogue is only needed to select runs.
    catalog = plan.settings.selection.catalog if plan.settings.source_handling.sources == "mask" else None
    packed: dict[str, bytes] = {}

    def count(of_subset: Plan, obs_ids: tuple[int, ...]) -> tuple[Chunk, Counted]:
        chunk = of_subset.chunk(obs_ids)
        if chunk.digest not in packed:
            packed[chunk.digest] = count_chunk(chunk).packed
        return chunk, Counted.unpack(packed[chunk.digest], chunk)

    together: dict[tuple[bool, ...], list[int]] = {}
    members = [frozenset(subset) for subset in subsets]
    for obs_ids in plan.members.values():
        for obs_id in obs_ids:
            together.setdefault(tuple(obs_id in subset for subset in members), []).append(obs_id)
    for number, subset in enumerate(subsets):
        selection = RunSelection(select=subset, catalog=catalog)
        of_subset = plan_of_runs(plan.runs, replace(plan.settings, selection=selection))
        pieces = (count(of_subset, tuple(obs_ids)) for within, obs_ids in together.items() if within[number])
        with progress_bar(len(subset), "run", show=False) as bar:
            yield models_of_counts(of_subset, sum_counted(piece for _, piece in _watched(pieces, of_subset, bar))).models


@with_settings(ProductionSettings)
def make_bg_cube_models(
    indir: str | Path,
    scheme: str,
    outdir: str | Path,
    *,
    settings: ProductionSettings,
    overwrite: bool = False,
    workers: int | Executor | None = None,
    scheduler: str | None = None,
    part: str | None = None,
    progress: bool | None = None,
) -> Report:
    """Make background cube models from a directory of runs, and write them.

    The models are made as by `make_models`. The directory ``outdir`` is created on success only.

    Parameters
    ----------
    indir : path
        Directory of event lists.
    scheme : str
        Layout of the directory, see `open_runs`.
    outdir : path
        Directory to make.
    {settings}
    overwrite : bool
        Replace ``outdir`` if bgnb made it, with models, or with the counts of a part.
    workers : int or `concurrent.futures.Executor`, optional
        Number of processes on this machine, or an executor, see `make_models`.
    scheduler : str, optional
        Address of a running Dask scheduler, see `make_models`.
    part : str, optional
        Count only one part of the runs, such as ``3/10`` for the third of ten, and write the
        counts to ``outdir`` for `merge`.
    progress : bool, optional
        Show a progress bar; by default on a terminal only.

    Returns
    -------
    Report
        The outcome of every run; for a part, only its runs, and no groups.

    Raises
    ------
    BgnbError
        If an argument is invalid, the selection has no runs, runs belong to different
        instruments, or, with ``on_error="fail"``, a run cannot be used, or only with a note.

    Examples
    --------
    >>> import bgnb
    >>> report = bgnb.make_bg_cube_models("runs", "GADF", "classic", select="all", method="classic")
    >>> print(report.table["GROUP_ID", "RUNS", "LIVETIME", "FILE"])
    GROUP_ID RUNS LIVETIME                 FILE
                     h
    -------- ---- -------- -----------------------------------
          27    6     2.50 bg_cube_model_group27_table.fits.gz
    """
    numbers = None if part is None else part_numbers(part)
    if numbers and not isinstance(settings.selection.catalog, str | None):
        raise BgnbError("invalid-argument", "catalog must be a file if a part is counted, as merge reads it again")
    if numbers and not all(isinstance(each, str) for each in settings.source_handling.exclude or ()):
        raise BgnbError("invalid-argument", "exclude must be files if a part is counted, as merge reads them again")
    with new_directory(
        Path(outdir), overwrite=overwrite, kind="parts" if numbers else "models", inputs=(Path(indir),)
    ) as directory:
        plan = make_plan(settings)
        chunks = plan.chunks if numbers is None else plan.chunks[numbers[0] - 1 :: numbers[1]]
        with _counting(plan, chunks, kept_folder(Path(outdir)), workers, scheduler, progress) as (counted, bar):
            if numbers is not None:
                return write_part(plan, counted, directory, numbers)
            sums = sum_counted(piece for _, piece in counted)
            bar.set_postfix_str("making models")
            production = models_of_counts(plan, sums)
            write_files(production, directory)
    return production.report


@contextmanager
def _counting(
    plan: Plan,
    chunks: Sequence[Sequence[int]],
    folder: Path | None,
    workers: int | Executor | None,
    scheduler: str | None,
    progress: bool | None,
) -> Iterator[tuple[Iterator[tuple[Chunk, Counted]], tqdm[Any]]]:
    """Count the runs of chunks with a progress bar. If there are many, a folder keeps the counts in case the block fails."""
    n_runs = sum(map(len, chunks))
    kept = KeptChunks(folder if n_runs >= KEPT_FROM else None)
    bar = progress_bar(n_runs, "run", progress)
    with bar, kept.noted(), open_workers(workers, scheduler, _estimated_seconds(plan, chunks)) as where:
        yield _watched(count_chunks(chunks, plan.chunk, where, kept), plan, bar), bar


def _estimated_seconds(plan: Plan, chunks: Iterable[Sequence[int]]) -> float:
    """Estimate the CPU time for the runs of chunks, s, from the mean size of up to `_SAMPLE` files."""
    obs_ids = [obs_id for chunk in chunks for obs_id in chunk]
    some = obs_ids[:: -(-len(obs_ids) // _SAMPLE) or 1]
    total = 0
    for obs_id in some:
        with suppress(OSError):  # reported when the run is counted
            total += plan.runs.files(obs_id).events.path.stat().st_size
    return len(obs_ids) * (SECONDS_PER_RUN + SECONDS_PER_BYTE * total / max(len(some), 1))


def merge(parts: Sequence[str | Path], outdir: str | Path, *, overwrite: bool = False, progress: bool | None = None) -> Report:
    """Make models from a directory of runs that was counted in parts.

    The files are bit-identical to those of `make_bg_cube_models` without ``part``.

    Parameters
    ----------
    parts : sequence of path
        Directories that `make_bg_cube_models` wrote for all parts, with the same settings. The
        directory of runs must not have been moved.
    outdir : path
        Directory to make.
    overwrite : bool
        Replace ``outdir`` if bgnb made it, with models.
    progress : bool, optional
        Show a progress bar; by default on a terminal only.

    Returns
    -------
    Report

    Raises
    ------
    BgnbError
        If a part is missing or damaged, or the parts do not belong together.

    Examples
    --------
    >>> import bgnb
    >>> for part in (1, 2):
    ...     report = bgnb.make_bg_cube_models("runs", "GADF", f"part{part}", select="all", part=f"{part}/2", n_fov=10)
    >>> report = bgnb.merge(["part1", "part2"], "merged")
    >>> bgnb.read_models("merged")
    ModelSet(spline of 6 runs, groups 27)
    """
    if isinstance(parts, str | Path) or not isinstance(parts, Iterable):
        raise BgnbError("invalid-argument", f"parts must be a list of directories, got {quoted(parts)}")
    paths = [checked_path("each of parts", path) for path in parts]
    with new_directory(Path(outdir), overwrite=overwrite, kind="models", inputs=tuple(paths)) as directory:
        plan, counted = open_parts(paths)
        refuse_inputs(Path(outdir), (plan.runs.path,))
        with progress_bar(plan.n_runs, "run", progress) as bar:
            sums = sum_counted(piece for _, piece in _watched(counted, plan, bar))
        production = models_of_counts(plan, sums)
        write_files(production, directory)
    return production.report


def _watched(counted: Iterable[tuple[Chunk, Counted]], plan: Plan, bar: tqdm[Any]) -> Iterator[tuple[Chunk, Counted]]:
    """Check counts and update the progress bar; raise errors that end the production, such as a run counted twice."""
    events = 0
    seen: set[int] = set()
    first: list[RunCounts] = []
    for chunk, piece in counted:
        if piece.errors and plan.settings.on_error == "fail":
            raise piece.errors[min(piece.errors)]
        runs = [run for stack in piece.stacks.values() for run in stack.runs]
        first = [*first, *(run for run in runs if run.telescop)][:1]
        check_instrument([*first, *runs])
        if not seen.isdisjoint(piece.obs_ids) or piece.obs_ids != sorted(chunk.obs_ids):
            raise RuntimeError(f"the counts are not those of runs {chunk.obs_ids}")  # a bug, not bad input
        seen.update(piece.obs_ids)
        events += sum(run.events for run in runs)
        bar.update(len(piece.obs_ids))
        bar.set_postfix_str(f"{events} events")
        yield chunk, piece
