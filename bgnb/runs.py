"""Which runs are stacked, and in which group."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from astropy import units as u
from astropy.table import Table
from numpy.typing import NDArray

from bgnb.datastore import Runs
from bgnb.errors import BgnbError, DataError, printable
from bgnb.fov import separation

#: What to do with a run that cannot be used: leave it out and report it, or stop.
OnError = Literal["skip", "fail"]
#: Distance from a known source, besides twice its extension, within which runs are dropped.
EXCLUSION_RADIUS = 3 * u.deg
#: The kind of reason of a run that cannot be used.
FAULT = "cannot be used"
#: Default group edges, in deg.
ALT_EDGES = (0, 20, 23, 27, 30, 33, 37, 40, 44, 49, 53, 58, 64, 72, 90)
AZ_EDGES = (-90, 90, 270)


@dataclass(frozen=True)
class Reason:
    """Why a run is left out: the kind of reason, and what is particular to the run."""

    kind: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.kind}: {self.detail}" if self.detail else self.kind


@dataclass(frozen=True)
class Selection:
    """Which runs to stack.

    Parameters
    ----------
    kept : tuple of int
        OBS_IDs, in order.
    left_out : mapping of int to `Reason`
        Every other run of the table, and why it is left out.
    """

    kept: tuple[int, ...]
    left_out: Mapping[int, Reason]


def fault(description: str) -> Reason:
    """The reason of a run that cannot be used."""
    return Reason(FAULT, printable(description))


def read_catalog(catalog: str | Path | Table | None = None) -> Table:
    """Read a catalogue of known sources.

    Parameters
    ----------
    catalog : path or `~astropy.table.Table`, optional
        Any table, or file of one that Astropy reads, with RA and DEC (deg where no unit is
        stated), and optionally EXTENSION (radius, deg; empty for a point source) and NAME.
        By default the catalogue that comes with bgnb: the known TeV sources of gamma-cat (2018-07).

    Returns
    -------
    `~astropy.table.Table`
        With columns NAME, RA, DEC and EXTENSION, in deg.

    Raises
    ------
    BgnbError
        Where it cannot be read, lacks positions, or has impossible ones.
    """
    if catalog is None:
        with as_file(files("bgnb") / "data" / "tev_sources.ecsv") as default:
            return read_catalog(default)
    if isinstance(catalog, Table):
        return _checked_catalog(catalog, "catalog")
    try:
        table = Table.read(catalog)
    except FileNotFoundError:
        raise BgnbError(f"{catalog}: there is no such catalogue") from None
    except Exception as error:  # astropy's readers raise many kinds
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise BgnbError(f"{catalog}: cannot be read as a table: {reason[0]}") from None
    return _checked_catalog(table, str(catalog))


def _checked_catalog(table: Table, where: str) -> Table:
    if not len(table):
        raise BgnbError(f"{where}: the catalogue has no sources")
    columns = {name.upper(): table[name] for name in table.colnames}
    catalog = Table()
    catalog["NAME"] = columns.get("NAME", [f"source {row + 1}" for row in range(len(table))])
    for name, least, most in (("RA", -360, 360), ("DEC", -90, 90), ("EXTENSION", 0, 180)):
        if name not in columns and name != "EXTENSION":
            raise BgnbError(f"{where}: the catalogue has no column {name}; it has {', '.join(table.colnames)}")
        values = columns.get(name, np.zeros(len(table)))
        try:
            filled = np.ma.filled(values, 0 if name == "EXTENSION" else np.nan)  # an empty extension: a point source
            degrees = u.Quantity(filled, getattr(values, "unit", None) or "deg").to_value("deg")
        except (TypeError, ValueError) as error:
            raise BgnbError(f"{where}: column {name} of the catalogue is not an angle: {error}") from None
        if len(wrong := np.flatnonzero(~((degrees >= least) & (degrees <= most)))):
            source = f"{name} of {catalog['NAME'][wrong[0]]} is {degrees[wrong[0]]:g} deg"
            raise BgnbError(f"{where}: {source}, and must lie within {least} and {most} deg")
        catalog[name] = degrees
        catalog[name].unit = "deg"
    return catalog


def select_off_runs(runs: Runs, catalog: Table | None = None, exclusion_radius: u.Quantity = EXCLUSION_RADIUS) -> Selection:
    """Keep the runs that point far from all known sources.

    A run is left out where a source lies within ``exclusion_radius`` plus twice the
    source's extension of its pointing.

    Parameters
    ----------
    runs : `~bgnb.Runs`
        The runs.
    catalog : `~astropy.table.Table`, optional
        Known sources, as `read_catalog` takes them.
    exclusion_radius : `~astropy.units.Quantity`
        Distance for a source without extension.
    """
    catalog = read_catalog(catalog)
    ra_pnt, dec_pnt = (np.asarray(runs.table[name]) for name in ("RA_PNT", "DEC_PNT"))
    excess = np.zeros(len(runs))  # over the radius around the source that is nearest to it, where it is negative
    details: dict[int, str] = {}
    for name, ra, dec, extension in zip(*(catalog[name].tolist() for name in ("NAME", "RA", "DEC", "EXTENSION")), strict=True):
        radius = exclusion_radius.to_value("deg") + 2 * extension
        rows = np.flatnonzero(np.abs(dec_pnt - dec) < radius + 1e-6)  # no other run can be near
        distance = separation(ra_pnt[rows], dec_pnt[rows], ra, dec)
        nearer = distance - radius < excess[rows]
        excess[rows[nearer]] = (distance - radius)[nearer]
        details |= {row: f"{name}, {apart:.2f} deg" for row, apart in zip(rows[nearer], distance[nearer], strict=True)}
    obs_ids = runs.obs_ids
    near = {obs_ids[row]: Reason("near a known source", detail) for row, detail in details.items()}
    return _selection(runs, near | _faults(runs))


def select_all_runs(runs: Runs) -> Selection:
    """Keep every run that can be used."""
    return _selection(runs, _faults(runs))


def select_listed_runs(runs: Runs, obs_ids: Iterable[int]) -> Selection:
    """Keep the runs with these OBS_IDs.

    Raises
    ------
    BgnbError
        Where a run is asked for that is not in the table.
    """
    wanted, known = set(obs_ids), set(runs.obs_ids)
    if unknown := sorted(wanted - known):
        raise BgnbError(f"{runs.path} has no run {', '.join(map(str, unknown[:5]))}{' …' if len(unknown) > 5 else ''}")
    return _selection(runs, _faults(runs) | dict.fromkeys(sorted(known - wanted), Reason("not in the list of runs")))


def select_runs(
    runs: Runs,
    select: str | Path | Sequence[int] = "far",
    catalog: str | Path | Table | None = None,
    exclusion_radius: u.Quantity = EXCLUSION_RADIUS,
    on_error: OnError = "skip",
) -> Selection:
    """Keep the runs far from known sources, or all, or those listed.

    Parameters
    ----------
    runs : `~bgnb.Runs`
        The runs.
    select : {"far", "all"}, path or sequence of int
        Which: `select_off_runs`, `select_all_runs`, or `select_listed_runs` with the
        OBS_IDs in a text file or a sequence.
    catalog : path or `~astropy.table.Table`, optional
        Known sources, see `read_catalog`.
    exclusion_radius : `~astropy.units.Quantity`
        See `select_off_runs`.
    on_error : {"skip", "fail"}
        Leave out runs that by the index cannot be used, or stop at the first.
    """
    if str(select).lower() == "far":
        selection = select_off_runs(runs, read_catalog(catalog), exclusion_radius)
    elif str(select).lower() == "all":
        selection = select_all_runs(runs)
    else:
        selection = select_listed_runs(runs, read_run_list(select) if isinstance(select, str | Path) else select)
    if on_error == "fail":
        for reason in selection.left_out.values():
            if reason.kind == FAULT:
                raise DataError(reason.detail)
    return selection


def checked_on_error(on_error: str) -> OnError:
    """What to do with runs that cannot be used, in lower case, or a `BgnbError`."""
    name = str(on_error).lower()
    if name not in get_args(OnError):
        raise BgnbError(f"unknown on_error '{on_error}': use one of {', '.join(get_args(OnError))}")
    return name  # type: ignore[return-value]


def read_run_list(path: str | Path) -> list[int]:
    """OBS_IDs from a text file, one a line; empty lines and what follows a # are passed over.

    Raises
    ------
    BgnbError
        Where the file is missing or a line is not a number.
    """
    try:
        lines = Path(path).read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        raise BgnbError(f"select must be 'far', 'all' or a text file of OBS_IDs; '{path}' cannot be read as text") from None
    obs_ids = []
    for number, line in enumerate(lines, start=1):
        if text := line.partition("#")[0].strip():
            if not text.isdecimal():
                raise BgnbError(f"{path}, line {number}: '{text}' is not an OBS_ID")
            obs_ids.append(int(text))
    if not obs_ids:
        raise BgnbError(f"{path}: lists no OBS_ID")
    return obs_ids


def spread_out(selection: Selection, most: int) -> Selection:
    """At most ``most`` of the kept runs, evenly spread over the table."""
    if len(selection.kept) <= most:
        return selection
    rows = np.linspace(0, len(selection.kept) - 1, most).round().astype(int)
    kept = tuple(selection.kept[row] for row in rows)
    rest = {obs_id: Reason(f"quick test with {most} runs") for obs_id in selection.kept if obs_id not in kept}
    return Selection(kept, {**selection.left_out, **rest})


def _faults(runs: Runs) -> dict[int, Reason]:
    return {obs_id: fault(description) for obs_id, description in runs.faults.items()}


def _selection(runs: Runs, left_out: Mapping[int, Reason]) -> Selection:
    return Selection(tuple(obs_id for obs_id in runs.obs_ids if obs_id not in left_out), left_out)


@dataclass(frozen=True, eq=False)
class ObservationGroups:
    """Groups of runs of like altitude and azimuth.

    GROUP_ID = i_alt · n_az + i_az, from 0. Azimuth is counted from north through east and
    wrapped into [first edge, first edge + 360 deg).

    Parameters
    ----------
    alt_edges, az_edges : `~astropy.units.Quantity`
        Increasing edges; altitudes within 0 and 90 deg, azimuths spanning at most 360 deg.

    Raises
    ------
    BgnbError
        Where the edges are not so.

    Examples
    --------
    >>> groups = ObservationGroups()
    >>> len(groups)
    28
    >>> groups.group_id(80, 180), groups.group_id(80, 359), groups.group_id(80, -1)
    (27, 26, 26)
    """

    alt_edges: u.Quantity = ALT_EDGES * u.deg
    az_edges: u.Quantity = AZ_EDGES * u.deg

    def __post_init__(self) -> None:
        for name, edges in (("alt_edges", self.alt_edges), ("az_edges", self.az_edges)):
            try:
                values = np.array(u.Quantity(edges).to_value("deg"), dtype=float)
            except (TypeError, ValueError) as error:
                raise BgnbError(f"{name} must be angles: {error}") from None
            if values.ndim != 1 or len(values) < 2 or not np.all(np.isfinite(values)) or not np.all(np.diff(values) > 0):
                raise BgnbError(f"{name} must be two or more increasing angles, got {edges}")
            values.setflags(write=False)
            object.__setattr__(self, name, u.Quantity(values, "deg", copy=False))
        if self.alt_edges[0] < 0 * u.deg or self.alt_edges[-1] > 90 * u.deg:
            raise BgnbError(f"alt_edges must lie within 0 and 90 deg, got {self.alt_edges}")
        if self.az_edges[-1] - self.az_edges[0] > 360 * u.deg:
            raise BgnbError(f"az_edges must not span more than 360 deg, got {self.az_edges}")

    def __len__(self) -> int:
        return (len(self.alt_edges) - 1) * (len(self.az_edges) - 1)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ObservationGroups):
            return NotImplemented
        return np.array_equal(self.alt_edges, other.alt_edges) and np.array_equal(self.az_edges, other.az_edges)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"ObservationGroups(alt_edges={self.alt_edges}, az_edges={self.az_edges})"

    def group_id(self, alt_pnt: float, az_pnt: float) -> int | None:
        """GROUP_ID of a pointing in deg; None outside all groups. The highest altitude belongs to the last group."""
        (group_id,) = self.group_ids([alt_pnt], [az_pnt]).tolist()
        return None if group_id < 0 else int(group_id)

    def group_ids(self, alt_pnt: Any, az_pnt: Any) -> NDArray[np.int64]:
        """GROUP_ID of each of many pointings in deg; −1 outside all groups."""
        alt_edges, az_edges, alt = self.alt_edges.value, self.az_edges.value, np.asarray(alt_pnt, dtype=float)
        i_alt = np.searchsorted(alt_edges, alt, side="right") - 1
        i_alt[alt == alt_edges[-1]] -= 1
        i_az = np.searchsorted(az_edges, self.wrapped(az_pnt), side="right") - 1
        inside = (i_alt >= 0) & (i_alt < len(alt_edges) - 1) & (i_az >= 0) & (i_az < len(az_edges) - 1)
        return np.where(inside, i_alt * (len(az_edges) - 1) + i_az, -1)

    def az_column(self, az_pnt: float) -> int | None:
        """Index of the range of azimuth that an azimuth in deg lies in; None outside all."""
        i_az = int(np.searchsorted(self.az_edges.value, self.wrapped(az_pnt), side="right")) - 1
        return i_az if 0 <= i_az < len(self.az_edges) - 1 else None

    def wrapped(self, az_pnt: float | NDArray[np.float64]) -> Any:
        """Azimuths in deg, from the first edge on."""
        first = self.az_edges.value[0]
        return (np.asarray(az_pnt) - first) % 360 % 360 + first  # a tiny negative remainder rounds to 360 itself: hence twice

    @cached_property
    def table(self) -> Table:
        """One row a group: GROUP_ID, ALT_MIN, ALT_MAX, AZ_MIN, AZ_MAX (deg)."""
        low_alt, low_az = np.meshgrid(self.alt_edges[:-1], self.az_edges[:-1], indexing="ij")
        high_alt, high_az = np.meshgrid(self.alt_edges[1:], self.az_edges[1:], indexing="ij")
        table = Table({"GROUP_ID": np.arange(len(self))})
        for name, values in (("ALT_MIN", low_alt), ("ALT_MAX", high_alt), ("AZ_MIN", low_az), ("AZ_MAX", high_az)):
            table[name] = values.to_value("deg").ravel()
            table[name].unit = "deg"
        return table

    @classmethod
    def from_table(cls, table: Table) -> ObservationGroups:
        """Groups of a table such as `table`.

        Raises
        ------
        BgnbError
            Where a column is missing, or the rows are not those of a grid of edges.
        """
        edges = {}
        for axis in ("ALT", "AZ"):
            for name in (f"{axis}_MIN", f"{axis}_MAX"):
                if name not in table.colnames:
                    raise BgnbError(f"a table of groups needs the column {name}; it has {', '.join(table.colnames)}")
            both = [u.Quantity(table[f"{axis}_{end}"], "deg") for end in ("MIN", "MAX")]
            edges[axis] = np.unique(np.concatenate(both))
        groups = cls(alt_edges=edges["ALT"], az_edges=edges["AZ"])
        same = len(table) == len(groups) and all(
            np.array_equal(groups.table[name], table[name]) for name in groups.table.colnames
        )
        if not same:
            raise BgnbError("the rows of the table of groups are not those of a grid of altitude and azimuth")
        return groups


def observation_groups(
    alt_edges: Sequence[float] | u.Quantity | None = None, az_edges: Sequence[float] | u.Quantity | None = None
) -> ObservationGroups:
    """Groups of edges in deg, or the default ones."""
    alt, az = (ALT_EDGES if alt_edges is None else alt_edges), (AZ_EDGES if az_edges is None else az_edges)
    return ObservationGroups(u.Quantity(alt, "deg"), u.Quantity(az, "deg"))


def group_runs(runs: Runs, selection: Selection, groups: ObservationGroups) -> tuple[dict[int, list[int]], Selection]:
    """OBS_IDs by GROUP_ID, and the selection without the runs outside all groups."""
    members: dict[int, list[int]] = {}
    left_out = dict(selection.left_out)
    kept = set(selection.kept)
    group_ids = groups.group_ids(runs.table["ALT_PNT"], runs.table["AZ_PNT"]).tolist()
    for obs_id, group_id in zip(runs.obs_ids, group_ids, strict=True):
        if obs_id not in kept:
            continue
        if group_id < 0:
            left_out[obs_id] = Reason("altitude and azimuth outside all groups")
        else:
            members.setdefault(group_id, []).append(obs_id)
    inside = tuple(obs_id for obs_id in selection.kept if obs_id not in left_out)
    return dict(sorted(members.items())), Selection(inside, left_out)


def merge_groups(groups: ObservationGroups, livetime: Mapping[int, float], least: float) -> dict[int, int]:
    """Merge neighbouring groups until each has at least a livetime.

    Again and again the group with the least livetime is merged with that neighbour in
    altitude, at the same azimuths, which has less. Where all altitudes of a range of azimuth
    together have too little, groups of the same altitude are merged over all azimuths first.

    Parameters
    ----------
    groups : `ObservationGroups`
        The groups.
    livetime : mapping of int to float
        Livetime of each group that has runs, by GROUP_ID, s.
    least : float
        The wanted livetime, s.

    Returns
    -------
    dict of int to int
        For every GROUP_ID, that of the group that it is merged into: the lowest of those merged.
    """
    n_az = len(groups.az_edges) - 1
    columns = [[[row * n_az + column] for row in range(len(groups) // n_az)] for column in range(n_az)]

    def total(merged: Iterable[int]) -> float:
        return sum(livetime.get(group_id, 0.0) for group_id in merged)

    if any(total(itertools.chain(*column)) < least for column in columns):
        columns = [[list(itertools.chain(*same)) for same in zip(*columns, strict=True)]]
    for column in columns:
        while len(column) > 1 and min(map(total, column)) < least:
            poorest = min(range(len(column)), key=lambda number: total(column[number]))
            beside = [number for number in (poorest - 1, poorest + 1) if 0 <= number < len(column)]
            other = min(beside, key=lambda number: total(column[number]))
            first, second = sorted((poorest, other))
            column[first : second + 1] = [column[first] + column[second]]
    return {group_id: min(merged) for column in columns for merged in column for group_id in sorted(merged)}


def mean_azimuth(az_pnt: NDArray[np.float64]) -> float:
    """Circular mean of azimuths, deg, in [0, 360).

    >>> round(mean_azimuth(np.array([350.0, 20.0])), 9)
    5.0
    """
    return float(np.degrees(np.angle(np.mean(np.exp(1j * np.radians(az_pnt))))) % 360 % 360)
