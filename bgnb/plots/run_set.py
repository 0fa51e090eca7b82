"""Runs with their selection, groups and quantities, as dashboards show them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property

import numpy as np
from astropy.table import Table

from bgnb._util.arrays import Bools, Floats, Ints, quotient
from bgnb._util.outliers import Deviations, deviations
from bgnb.observations.groups import ObservationGroups
from bgnb.observations.run_selection import Selection
from bgnb.plots import sky_map
from bgnb.plots.labels import format_number
from bgnb.plots.view import Curve

#: Columns of numbers of the table of runs, which may be missing.
NUMBERS = ("RA_PNT", "DEC_PNT", "ALT_PNT", "AZ_PNT", "LIVETIME", "ONTIME", "TSTART", "MUONEFF", "EVENT_COUNT")
#: Colour of sources and exclusion regions.
SOURCES = "#c08040"
#: Quantities of runs, and labels of their axes.
QUANTITIES = {
    "livetime": "livetime / min",
    "event rate": "all events / s⁻¹",
    "rate above threshold": "events above threshold / s⁻¹",
    "rate below threshold": "events below threshold / s⁻¹",
    "norm": "norm (observed / model)",
    "muon efficiency": "muon efficiency",
    "live fraction": "livetime / ontime",
}
#: Quantities against which others are drawn.
ABSCISSAE = ("time", "zenith angle", "muon efficiency", "OBS_ID")
# Times of at least this span are shown in years, d.
_LONG = 730.0
# Numbers above are not values, but stand for unknown ones, such as the largest of single precision.
_HUGE = 1e30
_MJD_ORIGIN = datetime(1858, 11, 17, tzinfo=UTC)


def check_numbers(table: Table) -> None:
    """Raise an error if a known column of a table of runs is not one number per run."""
    for name in NUMBERS:
        if name in table.colnames and np.ma.array(table[name], dtype=float).shape != (len(table),):
            raise ValueError(f"column {name} has several values per run")


@dataclass(frozen=True, eq=False, kw_only=True)
class RunSet:
    """Runs with their selection and groups.

    Parameters
    ----------
    origin : str
        Directory of the runs.
    table : `~astropy.table.Table`
        One row per run, as ``Runs.table``.
    selection : `Selection`
        Kept runs, and the reasons why others are skipped; may include runs not in the table.
    groups : `ObservationGroups`
        Groups.
    catalog : `~astropy.table.Table`
        Known sources.
    exclusion_radius : float, optional
        Radius, deg, which is added to twice the extension of a source, within which runs were
        dropped; None if runs were not selected in this way.
    model_ids : mapping of int to int
        For each GROUP_ID, the GROUP_ID of the group with its model; itself if not given.
    group_fractions : mapping of int to mapping of str to float
        Of runs that contribute to several groups, the fraction of the livetime in each, by GROUP_ID, and
        "outside" all groups; by OBS_ID.
    notes : tuple of str
        Notes on the runs.
    measured : mapping of str to mapping of int to pair of float
        Values and errors of quantities that the table does not contain, by quantity and OBS_ID.
    alarms : mapping of int to tuple of str
        Names of the tests that give an alarm, by OBS_ID.
    """

    origin: str
    table: Table
    selection: Selection
    groups: ObservationGroups
    catalog: Table
    exclusion_radius: float | None = None
    model_ids: Mapping[int, int] = field(default_factory=dict)
    group_fractions: Mapping[int, Mapping[str, float]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    measured: Mapping[str, Mapping[int, tuple[float, float]]] = field(default_factory=dict)
    alarms: Mapping[int, tuple[str, ...]] = field(default_factory=dict)

    @cached_property
    def obs_ids(self) -> Ints:
        """OBS_IDs of the table."""
        return np.asarray(self.table["OBS_ID"], dtype=np.int64)

    @cached_property
    def kept(self) -> Bools:
        """Mask of the kept runs."""
        return np.isin(self.obs_ids, self.selection.kept)

    @cached_property
    def own_group_ids(self) -> Ints:
        """GROUP_ID of the pointing of each run; −1 outside all groups."""
        return self.groups.group_ids(self.column("ALT_PNT"), self.column("AZ_PNT"))

    @cached_property
    def group_ids(self) -> Ints:
        """GROUP_ID of the model that contains each run, different if groups were merged; −1 outside all groups."""
        return np.array([self.model_id(group_id) for group_id in self.own_group_ids.tolist()], dtype=np.int64)

    def model_id(self, group_id: int) -> int:
        """Return the GROUP_ID of the model that contains the runs of a group."""
        return self.model_ids.get(group_id, group_id)

    def column(self, name: str) -> Floats:
        """Read a column of numbers; missing values, and the huge ones that some programs write instead, are NaN."""
        if name not in self.table.colnames:
            return np.full(len(self.table), np.nan)
        values: Floats = np.ma.filled(np.ma.array(self.table[name], dtype=float), np.nan)
        return np.where(np.abs(values) < _HUGE, values, np.nan)

    @cached_property
    def quantities(self) -> dict[str, tuple[Floats, Floats]]:
        """Values and errors of the known quantities of each run, in order of `QUANTITIES`; NaN where there is none."""
        livetime, count = self.column("LIVETIME"), self.column("EVENT_COUNT")
        none = np.full(len(livetime), np.nan)
        found = {
            "livetime": (livetime / 60, none),
            "event rate": (quotient(count, livetime), quotient(np.sqrt(np.maximum(count, 1)), livetime)),
            "muon efficiency": (self.column("MUONEFF"), none),
            "live fraction": (quotient(livetime, self.column("ONTIME")), none),
        }
        for name, values in self.measured.items():
            pairs = np.array([values.get(obs_id, (np.nan, np.nan)) for obs_id in self.obs_ids.tolist()]).reshape(-1, 2)
            found[name] = pairs[:, 0], pairs[:, 1]
        return {
            name: found[name]
            for name in QUANTITIES
            if name in found and (np.isfinite(found[name][0]).any() or name == "livetime")
        }

    @cached_property
    def start(self) -> Floats:
        """Start of each run, MJD; NaN if it is not known."""
        try:
            reference = float(self.table.meta["MJDREFI"]) + float(self.table.meta.get("MJDREFF", 0))
        except (KeyError, TypeError, ValueError):  # missing, or not a number
            reference = np.nan
        start = reference + self.column("TSTART") / 86400
        if "DATE-OBS" not in self.table.colnames:
            return start
        times = self.table["TIME-OBS"] if "TIME-OBS" in self.table.colnames else [""] * len(self.table)
        dates = [_parse_date(f"{date}T{time}".rstrip("T")) for date, time in zip(self.table["DATE-OBS"], times, strict=True)]
        return np.where(np.isfinite(start), start, dates)

    @cached_property
    def abscissae(self) -> dict[str, tuple[str, Floats]]:
        """Label of the axis, and values of each run, of the quantities against which others can be drawn."""
        found = {"zenith angle": ("zenith angle / deg", 90 - self.column("ALT_PNT"))}
        found["muon efficiency"] = ("muon efficiency", self.column("MUONEFF"))
        found["OBS_ID"] = ("OBS_ID", self.obs_ids.astype(float))
        if np.isfinite(self.start).any():
            first = float(np.floor(np.nanmin(self.start)))
            if np.nanmax(self.start) - first > _LONG:
                found["time"] = "start / year", 2000 + (self.start - 51544.5) / 365.25
            else:
                found["time"] = f"start / days since {format_date(first)[:10]}", self.start - first
        return {
            name: found[name] for name in ABSCISSAE if name in found and (np.isfinite(found[name][1]).any() or name == "OBS_ID")
        }

    @cached_property
    def shares(self) -> dict[int, Floats]:
        """Fraction of the livetime of each kept run in a group, by GROUP_ID of the model."""
        shares: dict[int, Floats] = {}
        for i in np.flatnonzero(self.kept).tolist():
            fractions = self.group_fractions.get(int(self.obs_ids[i])) or {str(self.own_group_ids[i]): 1.0}
            for name, fraction in fractions.items():
                if name not in ("outside", "-1"):
                    shares.setdefault(self.model_id(int(name)), np.zeros(len(self.obs_ids)))[i] += fraction
        return dict(sorted(shares.items()))

    @cached_property
    def of_groups(self) -> dict[str, dict[int, float]]:
        """Known values for the colours of groups, by GROUP_ID of the model.

        A run counts in each group to which it contributes, with its share of the livetime and of the events.
        """
        columns = {"livetime": self.column("LIVETIME") / 3600, "counts": self.column("EVENT_COUNT")}
        found = {
            name: {group_id: float(np.nansum(values * share)) for group_id, share in self.shares.items()}
            for name, values in columns.items()
            if np.isfinite(values).any()
        }
        return found | {"runs": {group_id: float(np.count_nonzero(share)) for group_id, share in self.shares.items()}}

    @cached_property
    def centre(self) -> float:
        """Right ascension in the middle of the map of the sky, deg."""
        return sky_map.central_meridian(self.column("RA_PNT"))

    def deviations(self, quantity: str) -> Deviations:
        """Compute the deviations of the kept runs from their median in a quantity."""
        values, errors = (np.where(self.kept, each, np.nan) for each in self.quantities[quantity])
        return deviations(values, errors)

    @cached_property
    def with_alarm(self) -> Bools:
        """Mask of the runs with an alarm."""
        return np.array([bool(self.alarms.get(obs_id)) for obs_id in self.obs_ids.tolist()], dtype=bool)

    def members(self, group_id: int) -> tuple[int, ...]:
        """Return the OBS_IDs of the kept runs that contribute to a group."""
        return tuple(self.obs_ids[self.shares[group_id] > 0].tolist()) if group_id in self.shares else ()

    def _status(self, index: int) -> str:
        obs_id = int(self.obs_ids[index])
        if reason := self.selection.skipped.get(obs_id):
            return f"skipped: {reason}"
        own, group_id = int(self.own_group_ids[index]), int(self.group_ids[index])
        merged = f", merged into group {group_id}" if own != group_id else ""
        parts = [
            f"{fraction:.0%} {'outside all groups' if name == 'outside' else f'in group {name}'}"
            for name, fraction in self.group_fractions.get(obs_id, {}).items()
        ]
        return f"kept, group {own}{merged}" + f" ({', '.join(parts)})" * bool(parts)

    @cached_property
    def details(self) -> Mapping[str, list[str]]:
        """Hover information of each run."""
        names = self.table["OBJECT"] if "OBJECT" in self.table.colnames else [""] * len(self.table)
        altitude, azimuth = ([f"{format_number(v, 4)}°" for v in self.column(name)] for name in ("ALT_PNT", "AZ_PNT"))
        return {
            "OBS_ID": [str(obs_id) for obs_id in self.obs_ids],
            "OBJECT": [str(name).strip() for name in names],
            "start": [format_date(mjd) for mjd in self.start],
            "altitude": altitude,
            "azimuth": azimuth,
            "livetime": [f"{format_number(value / 60)} min" for value in self.column("LIVETIME")],
            "status": [self._status(index) for index in range(len(self.table))],
        }

    @cached_property
    def exclusion_regions(self) -> Curve | None:
        """Outlines of the exclusion regions in the map of the sky; None if runs were not selected by them."""
        if self.exclusion_radius is None:
            return None
        radius = self.exclusion_radius + 2 * np.asarray(self.catalog["EXTENSION"])
        return sky_map.circles(self.catalog["RA"], self.catalog["DEC"], radius, SOURCES, self.centre, "excluded")


def _parse_date(text: str) -> float:
    """Convert a date in ISO format, UTC if it states no time zone, to MJD; NaN if it is none."""
    try:
        date = datetime.fromisoformat(text)
        return (date.replace(tzinfo=date.tzinfo or UTC) - _MJD_ORIGIN) / timedelta(days=1)
    except ValueError:
        return np.nan


def format_date(mjd: float) -> str:
    """Format a date and a time; a dash if it is not known, or not within years 1 to 9999."""
    try:
        return f"{_MJD_ORIGIN + timedelta(days=mjd):%Y-%m-%d %H:%M}"
    except (ValueError, OverflowError):
        return "–"
