"""Views of runs: pointings on the sky and in the groups, histograms, and the selection."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import Table

from bgnb._util.arrays import Bools, Floats, Ints
from bgnb.observations.groups import ObservationGroups
from bgnb.observations.run_selection import Selection
from bgnb.plots.colours import LINES, SELECTED
from bgnb.plots.labels import format_count, format_number
from bgnb.plots.view import Graph, Series, View, axis_range, histogram

_KEPT, _SKIPPED, _SOURCES = LINES[0], "#999999", "#c08040"
#: Panels with a histogram: label of the axis, column, factor to its unit.
HISTOGRAMS = {
    "livetime": ("livetime / min", "LIVETIME", 1 / 60),
    "zenith": ("zenith angle / deg", "ALT_PNT", 1.0),
    "muoneff": ("muon efficiency", "MUONEFF", 1.0),
}


@dataclass(frozen=True, eq=False)
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
        """Read a column of numbers; missing values are NaN."""
        if name not in self.table.colnames:
            return np.full(len(self.table), np.nan)
        return np.array(np.ma.filled(np.ma.array(self.table[name], dtype=float), np.nan))

    def coordinates(self, panel: str) -> tuple[Floats, Floats]:
        """Return the coordinates of the runs in a panel; y is NaN in histograms."""
        if panel == "sky":
            return self.column("RA_PNT") % 360, self.column("DEC_PNT")
        if panel == "groups":
            return self.groups.wrapped(self.column("AZ_PNT")), self.column("ALT_PNT")
        _, name, factor = HISTOGRAMS[panel]
        values = 90 - self.column(name) if panel == "zenith" else self.column(name) * factor
        return values, np.full(len(values), np.nan)

    def members(self, group_id: int) -> tuple[int, ...]:
        """Return the OBS_IDs of the kept runs of a group."""
        return tuple(self.obs_ids[self.kept & (self.group_ids == group_id)].tolist())

    def _status(self, index: int) -> str:
        obs_id = int(self.obs_ids[index])
        if reason := self.selection.left_out.get(obs_id):
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
            "altitude": altitude,
            "azimuth": azimuth,
            "livetime": [f"{format_number(value / 60)} min" for value in self.column("LIVETIME")],
            "status": [self._status(index) for index in range(len(self.table))],
        }

    @cached_property
    def circles(self) -> tuple[Floats, Floats]:
        """Outlines of the exclusion regions, interrupted between them and at the edge of the map."""
        if self.exclusion_radius is None:
            return np.full(1, np.nan), np.full(1, np.nan)
        centres = SkyCoord(np.asarray(self.catalog["RA"]), np.asarray(self.catalog["DEC"]), unit="deg")[:, None]
        radius = (self.exclusion_radius + 2 * np.asarray(self.catalog["EXTENSION"]))[:, None] * u.deg
        edge = centres.directional_offset_by(np.linspace(0, 360, 49) * u.deg, radius)
        x, y = edge.ra.deg, edge.dec.deg.copy()
        y[:, 1:][np.abs(np.diff(x, axis=1)) > 180] = np.nan
        gap = np.full((len(x), 1), np.nan)
        return np.hstack([x, gap]).ravel(), np.hstack([y, gap]).ravel()


@dataclass(frozen=True, kw_only=True)
class RunsState:
    """Selected runs, and the group if all runs of a group are selected."""

    selected: tuple[int, ...] = ()
    group_id: int | None = None


def runs_view(runs: RunSet, state: RunsState) -> View:
    """Draw the pointings and groups of runs, and histograms, with the selection marked."""
    selected = np.isin(runs.obs_ids, state.selected)
    panels = {"sky": _sky_map(runs, selected), "groups": _group_map(runs, selected)}
    panels |= {name: _histogram(runs, name, selected) for name in HISTOGRAMS}
    lines = [_describe_runs(runs), _describe_selection(runs, state, selected), *(f"Note: {note}" for note in runs.notes)]
    return View(f"Runs of {Path(runs.origin).name}", "\n".join(lines), panels)


def _describe_runs(runs: RunSet) -> str:
    kept, skipped = len(runs.selection.kept), runs.selection.left_out
    counts = Counter(reason.kind for reason in skipped.values()).most_common()
    reasons = ": " + ", ".join(f"{times} {kind}" for kind, times in counts) if skipped else ""
    return f"{format_count(kept + len(skipped), 'run')} in {runs.origin}: {kept} kept, {len(skipped)} skipped{reasons}."


def _describe_selection(runs: RunSet, state: RunsState, selected: Bools) -> str:
    if len(state.selected) == 1:
        run = {name: values[int(np.argmax(selected))] for name, values in runs.details.items()}
        pointing = f"altitude {run['altitude']}, azimuth {run['azimuth']}"
        return f"Selected: run {run['OBS_ID']} {run['OBJECT']}, {pointing}, livetime {run['livetime']}, {run['status']}."
    if state.selected:
        livetime = runs.column("LIVETIME")[selected]
        hours = f", {np.nansum(livetime) / 3600:.2f} h" if np.isfinite(livetime).any() else ""
        group = "" if state.group_id is None else f" of group {state.group_id}"
        return f"Selected: {len(state.selected)} runs{group}{hours}, {np.count_nonzero(selected & runs.kept)} of them kept."
    if state.group_id is not None:
        model_id = runs.model_id(state.group_id)
        merged = f": it was merged into group {model_id}" if model_id != state.group_id else ""
        return f"Group {state.group_id} has no runs{merged}."
    return "No runs selected: tap a run or a group, or drag over several runs."


def _run_points(runs: RunSet, panel: str, selected: Bools) -> tuple[Series, ...]:
    x, y = runs.coordinates(panel)
    series = []
    for name, mask, colour in (("skipped", ~runs.kept, _SKIPPED), ("kept", runs.kept, _KEPT), ("selected", selected, SELECTED)):
        details = {key: [values[i] for i in np.flatnonzero(mask)] for key, values in runs.details.items()}
        label = f"{format_count(int(mask.sum()), 'run')} {name}" if mask.any() else ""
        series.append(Series(label, x[mask], y[mask], "points", colour, details=details))
    return tuple(series)


def _sky_map(runs: RunSet, selected: Bools) -> Graph:
    catalog = runs.catalog
    name = "known sources" + ", with exclusion regions" * (runs.exclusion_radius is not None)
    details = {"source": [str(source) for source in catalog["NAME"]]}
    sources = Series(name, np.array(catalog["RA"]) % 360, np.array(catalog["DEC"]), "dots", _SOURCES, details=details)
    series = (Series("", *runs.circles, "outline", _SOURCES), sources, *_run_points(runs, "sky", selected))
    texts = "Runs on the sky", "right ascension / deg", "declination / deg"
    return Graph(*texts, series, (360.0, 0.0), (-90.0, 90.0), legend="below")


def _group_map(runs: RunSet, selected: Bools) -> Graph:
    groups = runs.groups
    az, alt = groups.az_edges.value, groups.alt_edges.value
    rows = [([az[0], az[-1], np.nan], [edge, edge, np.nan]) for edge in alt]
    columns = [([edge, edge, np.nan], [alt[0], alt[-1], np.nan]) for edge in az]
    x, y = (np.concatenate(lines) for lines in zip(*rows, *columns, strict=True))
    left = groups.table["AZ_MIN"] + 0.01 * (az[-1] - az[0])
    middle = (groups.table["ALT_MIN"] + groups.table["ALT_MAX"]) / 2
    texts = tuple(zip(left.tolist(), middle.tolist(), map(str, groups.table["GROUP_ID"]), strict=True))
    ranges = (float(az[0]), float(az[-1])), (float(alt[0]), float(alt[-1]))
    series = (Series("", x, y, "outline", "#aaaaaa"), *_run_points(runs, "groups", selected))
    return Graph("Groups, with GROUP_ID", "azimuth / deg", "altitude / deg", series, *ranges, texts=texts, legend="below")


def _histogram(runs: RunSet, panel: str, selected: Bools) -> Graph:
    label, column, _ = HISTOGRAMS[panel]
    values, _ = runs.coordinates(panel)
    known = np.isfinite(values)
    low, high = axis_range(values[known])
    edges = np.linspace(low, high, 21)
    kept = histogram("kept", values[runs.kept & known], edges, _KEPT)
    chosen = histogram("selected" if selected.any() else "", values[selected & known], edges, SELECTED)
    title = label.partition(" / ")[0].capitalize() if known.any() else f"The run table has no values of {column}"
    heights = axis_range(kept.y, chosen.y, zero=True)
    return Graph(title, label, "runs", (kept, chosen), (low, high), heights, legend="below")
