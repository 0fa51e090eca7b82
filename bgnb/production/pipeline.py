"""The main job: from a directory of runs to a directory of background models."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

from astropy import units as u
from astropy.table import Table
from tqdm import tqdm

from bgnb._util.errors import BgnbError
from bgnb._util.progress import progress_bar
from bgnb.cubes.exclusion_mask import MASK_RADIUS
from bgnb.cubes.stack import RunCounts, check_instrument
from bgnb.files.output_directory import kept_folder, new_directory
from bgnb.observations.selection import EXCLUSION_RADIUS
from bgnb.production.counting import Chunk, Counted, KeptChunks, count_chunks, sum_counted
from bgnb.production.parts import open_parts, part_numbers, write_part
from bgnb.production.plan import Plan, make_plan
from bgnb.production.report import Report
from bgnb.production.settings import Settings
from bgnb.production.workers import open_workers
from bgnb.production.write_models import write_models

#: With so many runs it takes a while to count them, and what is counted is kept until the models are there.
KEPT_FROM = 100
#: By default another process is started for every so many runs: it takes as long to start as to count them.
RUNS_PER_WORKER = 200

# Arguments that do not change what is made.
_NOT_SETTINGS = ("outdir", "overwrite", "workers", "scheduler", "part", "progress")


def make_bg_cube_models(
    indir: str | Path,
    scheme: str,
    outdir: str | Path,
    *,
    test: bool = False,
    method: str = "default",
    overwrite: bool = False,
    select: str | Path | Sequence[int] = "far",
    catalog: str | Path | Table | None = None,
    exclusion_radius: u.Quantity | str = EXCLUSION_RADIUS,
    sources: str = "drop",
    mask_radius: u.Quantity | str = MASK_RADIUS,
    alt_edges: Sequence[float] | u.Quantity | None = None,
    az_edges: Sequence[float] | u.Quantity | None = None,
    min_livetime: u.Quantity | str | None = None,
    energy_min: u.Quantity | str = 0.1 * u.TeV,
    energy_max: u.Quantity | str = 80 * u.TeV,
    n_energy: int | None = None,
    fov_max: u.Quantity | str = 0.07 * u.rad,
    n_fov: int | None = None,
    fovalign: str = "ALTAZ",
    on_error: str = "skip",
    workers: int | Executor | None = None,
    scheduler: str | None = None,
    part: str | None = None,
    progress: bool | None = None,
) -> Report:
    """Make background cube models from a directory of runs.

    Select runs, group them by altitude and azimuth, stack counts and livetime of each
    group, make the model, write it. OUTDIR appears when all is done, or not at all.

    Parameters
    ----------
    indir : path
        Directory of event lists.
    scheme : {"GADF", "HESS"}
        Its layout, see `open_runs`.
    outdir : path
        Directory to make.
    test : bool
        Quick test: at most 20 runs, evenly spread, and altitude edges 0, 45, 90 deg.
    method : {"default", "michi", "spline", "unsmoothed"}
        See `make_model`. A spline is fitted to all runs at once and evaluated at the mean
        pointing of each group; that for any pointing is written besides, see `read_spline`.
    overwrite : bool
        Replace ``outdir``, if bgnb made it.
    select : {"far", "all"}, path or sequence of int
        Keep the runs far from known sources, or all, or those with the OBS_IDs in a text
        file, one a line, or in a sequence.
    catalog : path or `~astropy.table.Table`, optional
        Known sources, see `read_catalog`.
    exclusion_radius : `~astropy.units.Quantity` or str
        Distance from a source, besides twice its extension, that counts as far.
    sources : {"drop", "mask"}
        What to do with known sources: drop the runs near them, if ``select`` is "far"; or
        keep all runs that ``select`` names, with "far" those near sources too, and cut
        circles around the sources out of them, events and livetime.
    mask_radius : `~astropy.units.Quantity` or str
        Radius of such a circle, besides twice the source's extension.
    alt_edges, az_edges : sequence of float (deg) or `~astropy.units.Quantity`, optional
        Edges of the groups, see `ObservationGroups`.
    min_livetime : `~astropy.units.Quantity` or str, optional
        Merge neighbouring groups until each has at least this livetime, see `merge_groups`.
    energy_min, energy_max, fov_max : `~astropy.units.Quantity` or str
        Ends of the axes; the field of view reaches from −fov_max to fov_max.
    n_energy, n_fov : int, optional
        Numbers of bins. By default 20 and 60, and fewer in groups with fewer than 100 runs;
        40 and 40 for splines.
    fovalign : {"ALTAZ", "RADEC"}
        Frame of DETX and DETY.
    on_error : {"skip", "fail"}
        What to do with a run that cannot be used: leave it out and say so in the report, or
        stop at once and make nothing.
    workers : int or `concurrent.futures.Executor`, optional
        Number of processes on this machine, 1 for this one only; or where to count, such as
        ``distributed.Client(...).get_executor()``. By default as many as there are cores, but
        one for every 200 runs at most. The files are the same whoever makes them. Scripts
        that use several processes need ``if __name__ == "__main__":``.
    scheduler : str, optional
        Address of a running Dask scheduler, such as ``tcp://10.0.0.1:8786``, in place of
        ``workers``.
    part : str, optional
        Count only one part of the runs, such as ``3/10`` for the third of ten, and put what
        was counted into ``outdir``, for `merge`.
    progress : bool, optional
        Show a progress bar; by default on a terminal only.

    Returns
    -------
    Report
        Of a part, only its runs, and no groups.

    Raises
    ------
    BgnbError
        Where an argument cannot be used, no run is left, runs are of different instruments,
        or, with ``on_error="fail"``, a run cannot be used.
    """
    settings = Settings.checked(**{name: value for name, value in locals().items() if name not in _NOT_SETTINGS})
    table = catalog if isinstance(catalog, Table) else None
    numbers = None if part is None else part_numbers(part)
    if numbers and table is not None:
        raise BgnbError("a part needs the catalogue as a file, which merge reads again")
    with new_directory(Path(outdir), overwrite=overwrite, inputs=(Path(indir),)) as directory:
        plan = make_plan(settings, table)
        pieces = plan.pieces if numbers is None else plan.pieces[numbers[0] - 1 :: numbers[1]]
        n_runs = sum(len(obs_ids) for _, obs_ids in pieces)
        kept = KeptChunks(kept_folder(Path(outdir)) if n_runs >= KEPT_FROM else None)
        bar = progress_bar(n_runs, "run", progress)
        with bar, kept.noted(), open_workers(workers, scheduler, maximum=1 + n_runs // RUNS_PER_WORKER) as where:
            counted = _watched(count_chunks(pieces, plan.chunk, where, kept), plan, bar)
            if numbers is not None:
                return write_part(plan, counted, directory, numbers)
            sums = sum_counted((chunk.key, piece) for chunk, piece in counted)
            bar.set_postfix_str("making models")
            return write_models(plan, sums, directory)


def merge(parts: Sequence[str | Path], outdir: str | Path, *, overwrite: bool = False, progress: bool | None = None) -> Report:
    """Make the models of a directory of runs that was counted in parts.

    The files are the same, bit for bit, as those of `make_bg_cube_models` without ``part``.

    Parameters
    ----------
    parts : sequence of path
        The directories that `make_bg_cube_models` made of all parts, with the same settings. The
        directory of runs must still be where it was.
    outdir : path
        Directory to make.
    overwrite : bool
        Replace ``outdir``, if bgnb made it.
    progress : bool, optional
        Show a progress bar; by default on a terminal only.

    Returns
    -------
    Report

    Raises
    ------
    BgnbError
        Where a part is missing or damaged, or they do not belong together.
    """
    paths = [Path(path) for path in parts]
    with new_directory(Path(outdir), overwrite=overwrite, inputs=tuple(paths)) as directory:
        plan, counted = open_parts(paths)
        with progress_bar(plan.n_runs, "run", progress) as bar:
            sums = sum_counted((chunk.key, piece) for chunk, piece in _watched(counted, plan, bar))
        return write_models(plan, sums, directory)


def _watched(counted: Iterable[tuple[Chunk, Counted]], plan: Plan, bar: tqdm[Any]) -> Iterator[tuple[Chunk, Counted]]:
    """The same, seen by a progress bar; stops at what makes all of it useless, or where a run is counted twice."""
    events = 0
    seen: set[int] = set()
    first: list[RunCounts] = []
    for chunk, piece in counted:
        if piece.errors and plan.settings.on_error == "fail":
            raise piece.errors[min(piece.errors)]
        first = [*first, *(run for run in piece.stack.runs if run.telescop)][:1]
        check_instrument([*first, *piece.stack.runs])
        if not seen.isdisjoint(piece.obs_ids) or piece.obs_ids != sorted(chunk.obs_ids):
            raise RuntimeError(f"what was counted is not what was asked for: runs {chunk.obs_ids}")  # a bug, not bad input
        seen.update(piece.obs_ids)
        events += sum(run.events for run in piece.stack.runs)
        bar.update(len(piece.obs_ids))
        bar.set_postfix_str(f"{events} events")
        yield chunk, piece
