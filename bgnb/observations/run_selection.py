"""Run selection: runs far from known sources, all runs, or listed runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from astropy import units as u
from astropy.table import Table

from bgnb._util.checks import check_type, checked_obs_ids, to_value
from bgnb._util.errors import BgnbError, DataError, enumerate_values, numbered, shortened
from bgnb._util.reading import TEXT_MAX, decoded, home_expanded, read_bytes
from bgnb.observations.catalog import DEFAULT_CATALOG, read_catalog
from bgnb.observations.coordinates import separation
from bgnb.observations.datastore import Runs
from bgnb.observations.findings import IndexNote, error_of_note

#: Minimum distance of off runs from a known source, in addition to twice its extension.
EXCLUSION_RADIUS = 3 * u.deg
# Maximum number of digits of an OBS_ID.
_MAX_DIGITS = 18


@dataclass(frozen=True)
class Reason:
    """Reason why a run is skipped: a kind of reason, and details of the run."""

    kind: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.kind}: {self.detail}" if self.detail else self.kind

    @classmethod
    def from_text(cls, text: str) -> Reason:
        """Parse the text of a reason, as in ``report.json``."""
        return cls(*text.split(": ", 1))

    @classmethod
    def from_error(cls, error: DataError) -> Reason:
        """Make the reason of a run that cannot be used."""
        return cls("cannot be used", str(error))

    @property
    def is_error(self) -> bool:
        """True for a run that cannot be used."""
        return self.kind == "cannot be used"


@dataclass(frozen=True)
class Selection:
    """Selected and skipped runs.

    Parameters
    ----------
    kept : tuple of int
        OBS_IDs of the selected runs, in order.
    skipped : mapping of int to `Reason`
        Reasons for skipping the other runs of the table, by OBS_ID.
    """

    kept: tuple[int, ...]
    skipped: Mapping[int, Reason]


class RunList(tuple[int, ...]):
    """OBS_IDs read from a text file, whose name is the attribute ``path``."""

    path: str


def select_off_runs(runs: Runs, catalog: Table | None = None, exclusion_radius: u.Quantity = EXCLUSION_RADIUS) -> Selection:
    """Select the runs that point far from all known sources.

    A run is skipped if it points closer to a source than ``exclusion_radius`` plus twice
    the extension of the source.

    Parameters
    ----------
    runs : `~bgnb.Runs`
        The runs.
    catalog : `~astropy.table.Table`, optional
        Known sources, see `read_catalog`.
    exclusion_radius : `~astropy.units.Quantity`
        Minimum distance from a source without extension.

    Returns
    -------
    Selection
        Selected runs, and the reasons for skipping the others.

    Examples
    --------
    >>> import bgnb
    >>> from astropy.table import Table
    >>> runs = bgnb.open_runs("runs", "GADF")
    >>> ra, dec = runs.table["RA_PNT", "DEC_PNT"][2]
    >>> catalog = bgnb.read_catalog(Table({"NAME": ["New source"], "RA": [ra], "DEC": [dec + 1]}))
    >>> selection = bgnb.select_off_runs(runs, catalog)
    >>> print(selection.skipped[3])
    near a known source: New source, 1.00 deg
    """
    check_type("runs", runs, Runs)
    near = _near_sources(runs, read_catalog(catalog), exclusion_radius)
    reasons = {obs_id: Reason("near a known source", f"{name}, {deg:.2f} deg") for obs_id, (name, deg) in near.items()}
    return _skip(runs, reasons | _unusable(runs))


def notes_on_catalog(runs: Runs, obs_ids: Iterable[int], catalog: str | Path | Table | None) -> list[str]:
    """Note the date of the catalogue included in bgnb, if no other one is used, and any run is not simulated."""
    if catalog is not None or runs.simulated.issuperset(obs_ids):
        return []
    return [f"known sources are those of {DEFAULT_CATALOG}; give a newer catalogue with --catalog, or regions with --exclude"]


def notes_on_sources(runs: Runs, obs_ids: Iterable[int], catalog: Table | None = None) -> list[str]:
    """Note the runs that point near known sources, and the nearest source.

    Parameters
    ----------
    runs : `~bgnb.Runs`
        The runs; simulated ones are not noted.
    obs_ids : iterable of int
        OBS_IDs of the runs that are used.
    catalog : `~astropy.table.Table`, optional
        The sources, see `read_catalog`.

    Returns
    -------
    list of str
        One note, or none.
    """
    near, used = _near_sources(runs, read_catalog(catalog), EXCLUSION_RADIUS), set(obs_ids)
    if not (found := [obs_id for obs_id in runs.obs_ids if obs_id in near and obs_id in used - runs.simulated]):
        return []
    nearest = min(found, key=lambda obs_id: near[obs_id][1])
    source, distance = near[nearest]
    where = f"{enumerate_values(found)} (nearest: {source}, {distance:.2f} deg from run {nearest})"
    return [
        f"runs near known sources, whose gamma rays count as background: {where}; use --sources mask, --exclude or --select far"
    ]


def _near_sources(runs: Runs, catalog: Table, exclusion_radius: u.Quantity) -> dict[int, tuple[str, float]]:
    """Find the runs that point near a source; return its name and distance (deg) by OBS_ID."""
    ra_pnt, dec_pnt = (np.asarray(runs.table[name]) for name in ("RA_PNT", "DEC_PNT"))
    excess = np.zeros(len(runs))  # minimum of distance − radius over all sources, where it is negative
    found: dict[int, tuple[str, float]] = {}
    if (least := to_value("exclusion_radius", exclusion_radius, "deg")) < 0:
        raise BgnbError("invalid-argument", f"exclusion_radius must be at least 0 deg, got {exclusion_radius}")
    radii = least + 2 * np.asarray(catalog["EXTENSION"])
    order = np.argsort(dec_pnt)
    first, last = (np.searchsorted(dec_pnt[order], catalog["DEC"] + sign * radii) for sign in (-1, 1))
    used = np.flatnonzero(first < last)  # only these sources can be near a run
    columns = (catalog["NAME"][used], catalog["RA"][used], catalog["DEC"][used], radii[used], first[used], last[used])
    for name, ra, dec, radius, start, stop in zip(*(column.tolist() for column in columns), strict=True):
        rows = order[start:stop]
        distance = separation(ra_pnt[rows], dec_pnt[rows], ra, dec)
        nearer = distance - radius < excess[rows]
        excess[rows[nearer]] = (distance - radius)[nearer]
        found |= {row: (name, deg) for row, deg in zip(rows[nearer].tolist(), distance[nearer].tolist(), strict=True)}
    obs_ids = runs.obs_ids
    return {obs_ids[row]: near for row, near in found.items()}


def select_all_runs(runs: Runs) -> Selection:
    """Select every run that can be used.

    Parameters
    ----------
    runs : `~bgnb.Runs`
        The runs.

    Returns
    -------
    Selection
        Selected runs, and the reasons for skipping the others.

    Examples
    --------
    >>> import bgnb
    >>> bgnb.select_all_runs(bgnb.open_runs("runs", "GADF")).kept
    (1, 2, 3, 4, 5, 6)
    """
    check_type("runs", runs, Runs)
    return _skip(runs, _unusable(runs))


def select_listed_runs(runs: Runs, obs_ids: Iterable[int]) -> Selection:
    """Select the runs with given OBS_IDs.

    Parameters
    ----------
    runs : `~bgnb.Runs`
        The runs.
    obs_ids : iterable of int
        OBS_IDs of the runs to select.

    Returns
    -------
    Selection
        Selected runs, and the reasons for skipping the others.

    Raises
    ------
    BgnbError
        If ``obs_ids`` is not a list of OBS_IDs, or a run is not in the table.

    Examples
    --------
    >>> import bgnb
    >>> selection = bgnb.select_listed_runs(bgnb.open_runs("runs", "GADF"), [2, 5])
    >>> selection.kept
    (2, 5)
    >>> print(selection.skipped[1])
    not in the list of runs
    """
    check_type("runs", runs, Runs)
    known = set(runs.obs_ids)
    wanted = set(checked_obs_ids("select", obs_ids))
    if unknown := sorted(wanted - known):
        source = obs_ids.path if isinstance(obs_ids, RunList) else "select"
        which = f"{numbered('run', unknown)} {'are' if len(unknown) > 1 else 'is'} not in {runs.path}"
        if n_errors := len(runs.file_errors):
            which += f", where {n_errors} file{'s' * (n_errors > 1)} cannot be used"
        raise BgnbError("not-found", f"{source}: {which}; correct the list, or give another directory")
    return _skip(runs, _unusable(runs) | dict.fromkeys(sorted(known - wanted), Reason("not in the list of runs")))


def _unusable(runs: Runs) -> dict[int, Reason]:
    return {obs_id: Reason.from_error(error) for obs_id, error in runs.errors.items()}


def _skip(runs: Runs, reasons: Mapping[int, Reason]) -> Selection:
    return Selection(tuple(obs_id for obs_id in runs.obs_ids if obs_id not in reasons), reasons)


def select_runs(
    runs: Runs,
    select: str | Path | Sequence[int] = "far",
    catalog: str | Path | Table | None = None,
    exclusion_radius: u.Quantity = EXCLUSION_RADIUS,
    on_error: Literal["skip", "fail"] = "skip",
) -> Selection:
    """Select the runs far from known sources, all runs, or listed runs.

    Parameters
    ----------
    runs : `~bgnb.Runs`
        The runs.
    select : {"far", "all"}, path or sequence of int
        ``far`` for `select_off_runs`, ``all`` for `select_all_runs`, or OBS_IDs, as a
        text file or a sequence, for `select_listed_runs`.
    catalog : path or `~astropy.table.Table`, optional
        Known sources, see `read_catalog`.
    exclusion_radius : `~astropy.units.Quantity`
        See `select_off_runs`.
    on_error : {"skip", "fail"}
        Skip runs that cannot be used according to the index, or raise the first error, or the first note on the index
        that concerns a selected run or, unless runs are listed, a file or event list of an unknown run.

    Returns
    -------
    Selection

    Raises
    ------
    BgnbError
        If the catalogue or the list of runs cannot be used, or, with ``fail``, a run.
    """
    errors: list[DataError] = []
    name = str(select).lower() if isinstance(select, str | Path) else ""
    listed = name not in ("far", "all")
    if not listed:
        errors += runs.file_errors
    if name == "far":
        selection = select_off_runs(runs, read_catalog(catalog), exclusion_radius)
    elif name == "all":
        selection = select_all_runs(runs)
    else:
        selection = select_listed_runs(runs, read_run_list(select) if isinstance(select, str | Path) else select)
    errors += [runs.errors[obs_id] for obs_id, reason in selection.skipped.items() if reason.is_error]
    for note in runs.notes:
        if isinstance(note, IndexNote) and (not note.obs_ids.isdisjoint(selection.kept) or not (note.obs_ids or listed)):
            errors.append(error_of_note(runs.path, note))
    if errors and on_error == "fail":
        raise errors[0]
    return selection


def read_run_list(path: str | Path) -> RunList:
    """Read OBS_IDs from a text file, one per line; empty lines and text after a # are ignored.

    Raises
    ------
    BgnbError
        If the file cannot be read, or a line is not an OBS_ID.
    """
    allowed = "select must be 'far', 'all' or a text file of OBS_IDs"
    try:
        lines = decoded(read_bytes(home_expanded(path), TEXT_MAX)).splitlines()
    except FileNotFoundError:
        raise BgnbError("not-found", f"{allowed}; there is no file '{shortened(str(path), 300)}'") from None
    except (OSError, ValueError):
        raise BgnbError("invalid-argument", f"{allowed}; '{shortened(str(path), 300)}' cannot be read as text") from None
    obs_ids = RunList(_run_numbers(lines, path))
    if not obs_ids:
        raise BgnbError("invalid-argument", f"{path}: contains no OBS_ID")
    obs_ids.path = str(path)
    return obs_ids


def _run_numbers(lines: Iterable[str], path: str | Path) -> Iterator[int]:
    for number, line in enumerate(lines, start=1):
        if text := line.partition("#")[0].strip():
            if not text.isdecimal() or len(text) > _MAX_DIGITS:
                raise BgnbError("invalid-argument", f"{path}, line {number}: '{text[:40]}' is not an OBS_ID")
            yield int(text)


def spread_out(selection: Selection, maximum: int) -> Selection:
    """Select at most ``maximum`` of the selected runs, evenly spaced in the table."""
    if len(selection.kept) <= maximum:
        return selection
    rows = np.linspace(0, len(selection.kept) - 1, maximum).round().astype(int)
    kept = tuple(selection.kept[row] for row in rows)
    rest = {obs_id: Reason(f"quick test with {maximum} runs") for obs_id in selection.kept if obs_id not in kept}
    return Selection(kept, {**selection.skipped, **rest})
