"""Groups of runs in ranges of altitude and azimuth."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from astropy import units as u
from astropy.table import Table
from numpy.typing import NDArray

from bgnb._util.checks import check_type, check_unmasked, numbers_with_unit
from bgnb._util.errors import BgnbError, DataError, quoted, shortened
from bgnb.observations.coordinates import pointing_altaz
from bgnb.observations.datastore import Runs
from bgnb.observations.event_list import PLAUSIBLE_MJD
from bgnb.observations.event_reader import read_events_header
from bgnb.observations.gadf_keywords import mjdref_tt, site_of
from bgnb.observations.run_selection import Reason, Selection
from bgnb.observations.sites import Site

#: Default group edges, in deg.
ALT_EDGES = (0, 20, 23, 27, 30, 33, 37, 40, 44, 49, 53, 58, 64, 72, 90)
AZ_EDGES = (-90, 90, 270)
#: GROUP_ID of pointings outside all groups.
OUTSIDE = -1

# The sky rotates by 15.04 deg in an hour of solar time; deg/s. The pointing in the index may differ by some degrees from the
# actual one, which `bgnb.observations.consistency_checks` compares.
_ROTATION, _TOLERANCE = 15.042 / 3600, 5.0

#: Reason for skipping a run that never points into a group.
OUTSIDE_GROUPS = Reason("altitude and azimuth outside all groups")


@dataclass(frozen=True, eq=False)
class ObservationGroups:
    """Groups of runs in ranges of altitude and azimuth.

    GROUP_ID = i_alt · n_az + i_az, from 0. Azimuth runs from north through east and is
    wrapped into [first edge, first edge + 360 deg).

    Parameters
    ----------
    alt_edges, az_edges : `~astropy.units.Quantity`
        Increasing edges; altitudes within 0 and 90 deg, azimuths spanning at most 360 deg.

    Raises
    ------
    BgnbError
        If the edges are not increasing or out of range.

    Examples
    --------
    >>> import bgnb
    >>> groups = bgnb.ObservationGroups()
    >>> len(groups)
    28
    >>> groups.group_id(80, 180), groups.group_id(80, 359), groups.group_id(80, -1)
    (27, 26, 26)
    """

    alt_edges: u.Quantity = ALT_EDGES * u.deg
    az_edges: u.Quantity = AZ_EDGES * u.deg

    def __post_init__(self) -> None:
        for name, edges in (("alt_edges", self.alt_edges), ("az_edges", self.az_edges)):
            check_unmasked(name, edges)
            try:
                values = np.array(u.Quantity(edges).to_value("deg"), dtype=float)
            except (TypeError, ValueError) as error:
                raise BgnbError("invalid-value", f"{name} must be angles: {error}") from None
            if values.ndim != 1 or len(values) < 2 or not np.all(np.isfinite(values)) or not np.all(values[1:] > values[:-1]):
                raise BgnbError("invalid-value", f"{name} must be two or more increasing angles, got {_listed(edges)}")
            values.setflags(write=False)
            object.__setattr__(self, name, u.Quantity(values, "deg", copy=False))
        if self.alt_edges[0] < 0 * u.deg or self.alt_edges[-1] > 90 * u.deg:
            raise BgnbError("invalid-value", f"alt_edges must lie within 0 and 90 deg, got {_listed(self.alt_edges)}")
        if self.az_edges.value[-1] / 2 - self.az_edges.value[0] / 2 > 180:  # halves, as a difference may overflow
            raise BgnbError("invalid-value", f"az_edges must not span more than 360 deg, got {_listed(self.az_edges)}")

    def __len__(self) -> int:
        return (len(self.alt_edges) - 1) * (len(self.az_edges) - 1)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ObservationGroups):
            return NotImplemented
        return np.array_equal(self.alt_edges, other.alt_edges) and np.array_equal(self.az_edges, other.az_edges)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"ObservationGroups(alt_edges={self.alt_edges}, az_edges={self.az_edges})"

    @property
    def covers_sky(self) -> bool:
        """True if each pointing above the horizon is in a group."""
        (lowest, *_, highest), (first, *_, last) = self.alt_edges.value, self.az_edges.value
        return bool(lowest == 0 and highest == 90 and last - first == 360)

    def group_id(self, alt_pnt: float, az_pnt: float) -> int | None:
        """Return the GROUP_ID of a pointing, deg or with a unit; None outside all groups.

        The maximum altitude belongs to the last group.
        """
        if np.size(group_ids := self.group_ids(alt_pnt, az_pnt)) != 1:
            raise BgnbError("invalid-argument", "group_id needs one pointing; use group_ids for several")
        return None if group_ids.item() < 0 else int(group_ids.item())

    def group_ids(self, alt_pnt: Any, az_pnt: Any) -> NDArray[np.int64]:
        """Return the GROUP_IDs of pointings, deg or with a unit; −1 outside all groups."""
        alt_edges, az_edges = self.alt_edges.value, self.az_edges.value
        try:
            alt, az = np.broadcast_arrays(np.atleast_1d(_degrees(alt_pnt)), self.wrapped(az_pnt))
        except ValueError:
            shapes = f"{np.shape(alt_pnt)} and {np.shape(az_pnt)}"
            raise BgnbError("invalid-argument", f"altitudes and azimuths must have the same shape, got {shapes}") from None
        i_alt = np.searchsorted(alt_edges, alt, side="right") - 1
        i_alt[alt == alt_edges[-1]] -= 1
        i_az = np.searchsorted(az_edges, az, side="right") - 1
        inside = (i_alt >= 0) & (i_alt < len(alt_edges) - 1) & (i_az < len(az_edges) - 1)
        return np.where(inside, i_alt * (len(az_edges) - 1) + i_az, OUTSIDE)

    def az_column(self, az_pnt: float) -> int | None:
        """Return the index of the range that contains an azimuth in deg; None outside all ranges."""
        i_az = int(np.searchsorted(self.az_edges.value, self.wrapped(az_pnt), side="right")) - 1
        return i_az if i_az < len(self.az_edges) - 1 else None

    def wrapped(self, az_pnt: float | NDArray[np.float64]) -> Any:
        """Wrap azimuths in deg into the 360 deg that start at the first edge."""
        first = self.az_edges.value[0]
        with np.errstate(invalid="ignore"):  # infinity becomes NaN, which is outside all groups
            return (_degrees(az_pnt) - first) % 360 % 360 + first  # twice, as a tiny negative remainder rounds to 360

    @cached_property
    def table(self) -> Table:
        """One row per group: GROUP_ID, ALT_MIN, ALT_MAX, AZ_MIN, AZ_MAX (deg)."""
        low_alt, low_az = np.meshgrid(self.alt_edges[:-1], self.az_edges[:-1], indexing="ij")
        high_alt, high_az = np.meshgrid(self.alt_edges[1:], self.az_edges[1:], indexing="ij")
        table = Table({"GROUP_ID": np.arange(len(self))})
        for name, values in (("ALT_MIN", low_alt), ("ALT_MAX", high_alt), ("AZ_MIN", low_az), ("AZ_MAX", high_az)):
            table[name] = values.to_value("deg").ravel()
            table[name].unit = "deg"
        return table

    @classmethod
    def from_table(cls, table: Table) -> ObservationGroups:
        """Make groups from a table such as `table`.

        Raises
        ------
        BgnbError
            If a column is missing, or the rows do not form a grid in altitude and azimuth.
        """
        check_type("table", table, Table)
        edges = {}
        for axis in ("ALT", "AZ"):
            names = (f"{axis}_MIN", f"{axis}_MAX")
            if missing := [name for name in ("GROUP_ID", *names) if name not in table.colnames]:
                message = f"a table of groups needs the column {missing[0]}; it has {', '.join(table.colnames)}"
                raise BgnbError("missing-column", message)
            for name, kinds, content in (("GROUP_ID", "iu", "integers"), *((name, "iuf", "numbers") for name in names)):
                if table[name].dtype.kind not in kinds:
                    raise BgnbError("bad-column", f"column {name} of a table of groups must contain {content}")
                check_unmasked(f"column {name}", table[name])
            edges[axis] = np.unique(np.concatenate([u.Quantity(table[name], "deg") for name in names]))
        groups = cls(alt_edges=edges["ALT"], az_edges=edges["AZ"])
        expected = groups.table
        if len(table) != len(groups) or not all(np.array_equal(expected[name], table[name]) for name in expected.colnames):
            raise BgnbError("invalid-value", "the rows of a table of groups must form a grid in altitude and azimuth")
        return groups


def _degrees(angles: Any) -> NDArray[np.float64]:
    return numbers_with_unit("the pointing", angles, "deg")


def _listed(edges: u.Quantity) -> str:
    """List edges, or the first of many, as they are written on the command line.

    >>> _listed([90, 45.5, 0] * u.deg)
    '90,45.5,0 deg'
    """
    listed = ",".join(f"{edge:g}" for edge in np.ravel(u.Quantity(edges).value))
    return f"{shortened(listed)} {u.Quantity(edges).unit}"


def observation_groups(
    alt_edges: Sequence[float] | u.Quantity | None = None, az_edges: Sequence[float] | u.Quantity | None = None
) -> ObservationGroups:
    """Make groups from edges in deg; by default from `ALT_EDGES` and `AZ_EDGES`."""
    edges = {"alt_edges": ALT_EDGES if alt_edges is None else alt_edges, "az_edges": AZ_EDGES if az_edges is None else az_edges}
    return ObservationGroups(**{name: _angles(name, values) for name, values in edges.items()})


def _angles(name: str, edges: Any) -> u.Quantity:
    try:
        return u.Quantity(edges, "deg")
    except (TypeError, ValueError, OverflowError):
        raise BgnbError("invalid-value", f"{name} must be two or more increasing angles, got {quoted(edges)}") from None


def group_runs(
    runs: Runs, selection: Selection, groups: ObservationGroups, *, passing: bool = False
) -> tuple[dict[int, list[int]], Selection]:
    """Group selected runs by their pointing in the index.

    Parameters
    ----------
    runs : `~bgnb.Runs`
        The runs.
    selection : `Selection`
        The selected runs.
    groups : `ObservationGroups`
        The groups.
    passing : bool
        Keep the runs outside all groups that may point into a group at another time of the run,
        under `OUTSIDE`.

    Returns
    -------
    dict of int to list of int
        OBS_IDs by GROUP_ID.
    Selection
        The selection without the other runs outside all groups.
    """
    group_ids = dict(zip(runs.obs_ids, groups.group_ids(runs.table["ALT_PNT"], runs.table["AZ_PNT"]).tolist(), strict=True))
    outside = [obs_id for obs_id in selection.kept if group_ids[obs_id] == OUTSIDE]
    if passing:
        outside = _never_inside(runs, outside, groups)
    reasons = {**selection.skipped, **dict.fromkeys(outside, OUTSIDE_GROUPS)}
    kept = tuple(obs_id for obs_id in selection.kept if obs_id not in reasons)
    members: dict[int, list[int]] = {}
    for obs_id in kept:
        members.setdefault(group_ids[obs_id], []).append(obs_id)
    return dict(sorted(members.items())), Selection(kept, reasons)


def _never_inside(runs: Runs, obs_ids: list[int], groups: ObservationGroups) -> list[int]:
    """List the runs whose altitude is outside all groups at any time, by the index as well as by position and time.

    The altitude in the index may be wrong: whether it is, is known when a run is read.
    """
    columns = ("RA_PNT", "DEC_PNT", "ALT_PNT", "TSTART", "TSTOP")
    rows = runs.table[np.isin(runs.table["OBS_ID"], obs_ids)]
    ra, dec, altitude, start, stop = (
        np.asarray(rows[name], dtype=float) if name in rows.colnames else np.full(len(rows), np.nan) for name in columns
    )
    half, lowest, highest = (stop - start) / 2, groups.alt_edges.value[0], groups.alt_edges.value[-1]
    reach = _TOLERANCE + _ROTATION * np.where(half > 0, half, np.inf)

    def is_out_of_reach(altitude: NDArray[np.float64]) -> NDArray[np.bool_]:
        return (altitude <= lowest - reach) | (altitude >= highest + reach)

    far = is_out_of_reach(altitude)
    if runs.reading.pointing != "header" and far.any() and (known := _reference_and_site(runs, rows["OBS_ID"][far].tolist())):
        reference, site = known
        middle = reference + (start + half) / 86400
        far &= (middle > PLAUSIBLE_MJD[0]) & (middle < PLAUSIBLE_MJD[1])  # others are refused when they are read
        altitude[far] = [pointing_altaz(ra[row], dec[row], middle[row], site)[0] for row in np.flatnonzero(far)]
        far &= is_out_of_reach(altitude)
    return list(rows["OBS_ID"][far].tolist())


def _reference_and_site(runs: Runs, obs_ids: list[int]) -> tuple[float, Site] | None:
    """Read the reference time (MJD in TT) and the site in the header of the first run that states them."""
    for obs_id in obs_ids:
        try:
            header = read_events_header(runs.files(obs_id))
            return mjdref_tt(header), site_of(header)
        except DataError:
            continue  # another run may state them
    return None


def merge_groups(groups: ObservationGroups, livetime: Mapping[int, float], minimum: float) -> dict[int, int]:
    """Merge neighbouring groups until each has a minimum livetime.

    Repeatedly, the group with the lowest livetime is merged with its neighbour in altitude, at
    the same azimuths, that has less livetime. If the sum over all altitudes of a range of
    azimuth is too low, groups of the same altitude are merged over all azimuths first.

    Parameters
    ----------
    groups : `ObservationGroups`
        The groups.
    livetime : mapping of int to float
        Livetime of each group that has runs, by GROUP_ID, s.
    minimum : float
        Minimum livetime of a group, s.

    Returns
    -------
    dict of int to int
        GROUP_ID of the group into which each group is merged: the lowest of the merged ones.
    """
    n_az = len(groups.az_edges) - 1
    columns = [[[row * n_az + column] for row in range(len(groups) // n_az)] for column in range(n_az)]

    def total(group_ids: Iterable[int]) -> float:
        return sum(livetime.get(group_id, 0.0) for group_id in group_ids)

    if any(total(itertools.chain(*column)) < minimum for column in columns):
        columns = [[list(itertools.chain(*row)) for row in zip(*columns, strict=True)]]
    for column in columns:
        while len(column) > 1 and min(map(total, column)) < minimum:
            lowest = min(range(len(column)), key=lambda number: total(column[number]))
            neighbours = [number for number in (lowest - 1, lowest + 1) if 0 <= number < len(column)]
            first, second = sorted((lowest, min(neighbours, key=lambda number: total(column[number]))))
            column[first : second + 1] = [column[first] + column[second]]
    return {group_id: min(merged) for column in columns for merged in column for group_id in sorted(merged)}
