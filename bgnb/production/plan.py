"""Plan of a production: the runs to count, their groups and chunks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Literal

import numpy as np
from astropy import units as u

from bgnb._util.errors import BgnbError
from bgnb._version import __version__
from bgnb.cubes.cells import Cell, pointing_bin
from bgnb.cubes.exclusion_mask import SourceMask
from bgnb.cubes.method import find_method
from bgnb.observations.datastore import Runs, open_runs
from bgnb.observations.groups import group_runs, merge_groups
from bgnb.observations.run_selection import Reason, Selection, read_catalog, select_runs, spread_out
from bgnb.production.count_chunks import Chunk, Counted, Key, chunks_of
from bgnb.production.report import in_one_line
from bgnb.production.settings import ModelSettings, RunSelection, Sources

#: Maximum number of runs up to which methods that sum by pointing get single runs. Of more runs, those of a group in the same
#: bin of pointing are summed first.
SINGLE_RUNS = 100

_TEST_RUNS = 20


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
        OBS_IDs of the runs to be counted, by GROUP_ID of the model.
    model_ids : mapping of int to int
        GROUP_ID of the model for each group.
    """

    settings: ModelSettings
    runs: Runs
    mask: SourceMask | None
    skipped: Mapping[int, Reason]
    members: Mapping[int, list[int]]
    model_ids: Mapping[int, int]

    @property
    def n_runs(self) -> int:
        """Number of runs to count."""
        return sum(map(len, self.members.values()))

    @property
    def pieces(self) -> list[tuple[Key, Sequence[int]]]:
        """OBS_IDs of each chunk and the key of the sum to which it contributes, in a fixed order."""
        return [(key, part) for key, obs_ids in self._keys.items() for part in chunks_of(obs_ids)]

    @property
    def _keys(self) -> dict[Key, list[int]]:
        """OBS_IDs of the runs of each sum: a group, a single run, or the runs of a group in the same bin of pointing."""
        if find_method(self.settings.method).sums == "group":
            return {Key(group_id): obs_ids for group_id, obs_ids in self.members.items()}
        keys: dict[Key, list[int]] = {}
        for group_id, obs_ids in self.members.items():
            for obs_id in obs_ids:
                cell = (obs_id,) if self.n_runs <= SINGLE_RUNS else pointing_bin(*self.runs.pointing(obs_id))
                keys.setdefault(Key(group_id, cell), []).append(obs_id)
        return keys

    def chunk(self, piece: tuple[Key, Sequence[int]]) -> Chunk:
        """Make the chunk of a piece."""
        key, obs_ids = piece
        files = tuple(self.runs.files(obs_id) for obs_id in obs_ids)
        return Chunk(key, self.settings.binning.axes, self.settings.fovalign, self.mask, files)

    def cell(self, counted: Counted) -> Cell:
        """Combine counts with the mean pointing of their runs."""
        alt_pnt, az_pnt = np.array([self.runs.pointing(obs_id) for obs_id in counted.stack.obs_ids]).T
        return Cell.of_runs(alt_pnt, az_pnt, counted.stack)

    def digest(self) -> str:
        """Compute the SHA-256 of everything on which the plan depends: version, settings, sources, chunks, index of runs."""
        table = self.runs.table
        circles = None if self.mask is None else self.mask.circles
        content = sha256(json.dumps([__version__, self.settings.as_dict(), circles, self.pieces]).encode())
        for name in table.colnames:
            content.update(f"{name} {table[name].dtype}".encode() + np.ascontiguousarray(table[name]).tobytes())
        return content.hexdigest()


def make_plan(settings: ModelSettings) -> Plan:
    """Open, select and group runs.

    Parameters
    ----------
    settings : `ModelSettings`
        The settings.

    Raises
    ------
    BgnbError
        If the directory cannot be used, or the selection has no runs.
    """
    # Workers may have other current directories.
    runs = open_runs(Path(settings.indir).absolute(), settings.scheme)
    selection, mask = select_and_mask(runs, settings.selection, settings.source_handling, settings.on_error)
    if settings.test:
        selection = spread_out(selection, _TEST_RUNS)
    members, selection = group_runs(runs, selection, settings.groups)
    if not selection.kept:
        reasons = in_one_line(selection.left_out.values())
        advice = "try another exclusion radius, --sources mask, --select all or other group edges"
        raise BgnbError("no-runs", f"{runs.path}: none of the {len(runs)} runs is selected: {reasons}; {advice}")
    model_ids = {group_id: group_id for group_id in members}
    if settings.grouping.min_livetime > 0:
        livetimes = {group_id: _livetime(runs, obs_ids) for group_id, obs_ids in members.items()}
        model_ids = merge_groups(settings.groups, livetimes, settings.grouping.min_livetime)
        members = _merged(members, model_ids)
    return Plan(settings, runs, mask, selection.left_out, members, model_ids)


def select_and_mask(
    runs: Runs, selection: RunSelection, sources: Sources, on_error: Literal["skip", "fail"]
) -> tuple[Selection, SourceMask | None]:
    """Select runs, and make the exclusion regions around known sources if they are to be masked.

    Parameters
    ----------
    runs : `~bgnb.Runs`
        The runs.
    selection : `RunSelection`
        Settings of the selection; with masks, all runs are far from sources.
    sources : `Sources`
        Treatment of known sources.
    on_error : {"skip", "fail"}
        Skip runs that cannot be used according to the index, or raise the first error.

    Returns
    -------
    selection : `~bgnb.observations.run_selection.Selection`
        Selected runs, and the reasons for skipping the others.
    mask : `~bgnb.cubes.exclusion_mask.SourceMask` or None
        Exclusion regions.
    """
    select, mask = selection.select, None
    if sources.sources == "mask":
        mask = SourceMask.around(read_catalog(selection.catalog), sources.mask_radius * u.deg)
        select = "all" if select == "far" else select
    return select_runs(runs, select, selection.catalog, selection.exclusion_radius * u.deg, on_error), mask


def _livetime(runs: Runs, obs_ids: Sequence[int]) -> float:
    """Sum the livetime of runs in the index, s, or the ontime if the index has no livetime."""
    name = next((name for name in ("LIVETIME", "ONTIME") if name in runs.table.colnames), None)
    if name is None:
        raise BgnbError("missing-column", f"{runs.path}: min_livetime needs the column LIVETIME or ONTIME in the index of runs")
    return float(np.nansum(runs.table[name][np.isin(runs.table["OBS_ID"], obs_ids)]))


def _merged(members: Mapping[int, list[int]], model_ids: Mapping[int, int]) -> dict[int, list[int]]:
    """Collect the OBS_IDs of the groups that are merged, in order."""
    merged: dict[int, list[int]] = {}
    for group_id, obs_ids in members.items():
        merged.setdefault(model_ids[group_id], []).extend(obs_ids)
    return {group_id: sorted(obs_ids) for group_id, obs_ids in sorted(merged.items())}
