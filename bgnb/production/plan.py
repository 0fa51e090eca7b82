"""Plan of a production: the runs to count, their groups and chunks."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Literal

import numpy as np
from astropy import units as u

from bgnb._util.checks import without_dots
from bgnb._util.errors import BgnbError
from bgnb._util.settings_groups import options_of
from bgnb._version import __version__
from bgnb.cubes.exclusion_mask import SourceMask
from bgnb.cubes.method import find_method
from bgnb.files.exclusion_regions import read_exclusions
from bgnb.observations.catalog import read_catalog
from bgnb.observations.datastore import Runs, open_runs
from bgnb.observations.groups import group_runs
from bgnb.observations.run_selection import Reason, Selection, notes_on_catalog, notes_on_sources, select_runs, spread_out
from bgnb.production.count_chunks import Chunk, chunks_of
from bgnb.production.report import explain
from bgnb.production.settings import ModelSettings, ProductionSettings, RunSelection, Sources

#: Maximum number of runs up to which methods that sum by pointing get single runs. Of more runs, those in the same bin of
#: pointing are summed first.
SINGLE_RUNS = 100

_TEST_RUNS = 20
# The axes do not depend on the number of runs.
_MANY = 100


@dataclass(frozen=True, eq=False)
class Plan:
    """Runs to count, and their groups.

    Parameters
    ----------
    settings : `ModelSettings`
        The settings.
    runs : `~bgnb.Runs`
        The runs of the directory.
    mask : `~bgnb.cubes.exclusion_mask.SourceMask` or None
        Exclusion regions.
    skipped : mapping of int to `~bgnb.observations.run_selection.Reason`
        Skipped runs, and the reasons.
    members : mapping of int to list of int
        OBS_IDs of the runs to be counted, by their GROUP_ID in the index. Runs of a chunk have the
        same one; to which groups they contribute is decided when they are read.
    """

    settings: ModelSettings
    runs: Runs
    mask: SourceMask | None
    skipped: Mapping[int, Reason]
    members: Mapping[int, list[int]]

    @property
    def n_runs(self) -> int:
        """Number of runs to count."""
        return sum(map(len, self.members.values()))

    @property
    def chunks(self) -> list[Sequence[int]]:
        """OBS_IDs of the runs of each chunk, in a fixed order."""
        return [part for obs_ids in self.members.values() for part in chunks_of(obs_ids)]

    def chunk(self, obs_ids: Sequence[int]) -> Chunk:
        """Make a chunk of runs."""
        settings, cells = self.settings, "none"
        if find_method(settings.method).sums == "pointing":
            cells = "run" if self.n_runs <= SINGLE_RUNS else "bin"
        return Chunk(
            groups=settings.groups,
            cells=cells,  # type: ignore[arg-type]
            axes=settings.binning.axes,
            fovalign=settings.fovalign,
            mask=self.mask,
            runs=tuple(self.runs.files(obs_id) for obs_id in obs_ids),
        )

    def digest(self) -> str:
        """Compute the SHA-256 of everything on which the plan depends: version, settings, sources, chunks, index of runs."""
        table = self.runs.table
        regions = None if self.mask is None else self.mask.content
        content = sha256(json.dumps([__version__, self.settings.as_dict(), regions, self.chunks]).encode())
        for name in table.colnames:
            content.update(f"{name} {table[name].dtype}".encode() + np.ascontiguousarray(table[name]).tobytes())
        return content.hexdigest()


def make_plan(settings: ProductionSettings) -> Plan:
    """Open, select and group the runs of a directory.

    Raises
    ------
    BgnbError
        If the directory cannot be used, or the selection has no runs.
    """
    # Workers may have other current directories.
    indir = without_dots(Path(settings.indir).absolute())
    return plan_of_runs(open_runs(indir, settings.scheme, **options_of(settings.reading)), settings)


def plan_of_runs(runs: Runs, settings: ModelSettings) -> Plan:
    """Select and group runs.

    Raises
    ------
    BgnbError
        If the selection has no runs.
    """
    runs = runs.with_on_error(settings.on_error)
    selection, mask = select_and_mask(runs, settings.selection, settings.source_handling, settings.on_error)
    if settings.test:
        selection = spread_out(selection, _TEST_RUNS)
    members, selection = group_runs(runs, selection, settings.groups, passing=True)
    require_runs(runs, selection)
    return Plan(settings, runs, mask, selection.skipped, members)


def select_and_mask(
    runs: Runs, selection: RunSelection, sources: Sources, on_error: Literal["skip", "fail"]
) -> tuple[Selection, SourceMask | None]:
    """Select runs, and make the exclusion regions: those of users, and around known sources if they are to be masked.

    With masks, all runs are far from sources. Runs that cannot be used according to the index are skipped with their reasons,
    or the first error is raised (``on_error``).
    """
    select, mask = selection.select, read_exclusions(sources.exclude)
    if sources.sources == "mask":
        mask = SourceMask.around(read_catalog(selection.catalog), sources.mask_radius * u.deg) + mask
        select = "all" if select == "far" else select
    selected = select_runs(runs, select, selection.catalog, selection.exclusion_radius * u.deg, on_error)
    return selected, mask if len(mask) else None


def require_runs(runs: Runs, selection: Selection) -> None:
    """Refuse a selection without runs.

    Raises
    ------
    BgnbError
        If no run is selected.
    """
    if not selection.kept:
        reasons = explain(selection.skipped.values())
        raise BgnbError("no-runs", f"{runs.path}: none of the {len(runs)} runs is selected: {reasons}")


def notes_on_selection(
    runs: Runs, obs_ids: Iterable[int], selection: RunSelection, sources: Sources, mask: SourceMask | None
) -> list[str]:
    """Note the date of the catalogue, if it was used; otherwise the runs used near sources outside the exclusion regions."""
    if selection.select == "far" or sources.sources == "mask":
        return notes_on_catalog(runs, obs_ids, selection.catalog)
    catalog = read_catalog()
    if mask is not None:
        catalog = catalog[~mask.covers(np.asarray(catalog["RA"]), np.asarray(catalog["DEC"]))]
    return notes_on_sources(runs, obs_ids, catalog) if len(catalog) else []
