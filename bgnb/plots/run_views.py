"""Views of runs: where they point, which are kept, and in which groups they are."""

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
from numpy.typing import NDArray

from bgnb._util.arrays import Floats
from bgnb.observations.groups import ObservationGroups
from bgnb.observations.selection import Selection
from bgnb.plots.colours import CHOSEN, LINES
from bgnb.plots.labels import counted, number
from bgnb.plots.view import Graph, Series, View, histogram, span

_KEPT, _LEFT_OUT, _SOURCES = LINES[0], "#999999", "#c08040"
#: Panels with a histogram: title of the axis, column, factor to its unit.
HISTOGRAMS = {
    "livetime": ("livetime / min", "LIVETIME", 1 / 60),
    "zenith": ("zenith angle / deg", "ALT_PNT", 1.0),
    "muoneff": ("muon efficiency", "MUONEFF", 1.0),
}


@dataclass(frozen=True, eq=False)
class RunSet:
    """Runs, and what is to become of them.

    Parameters
    ----------
    origin : str
        Where they come from.
    table : `~astropy.table.Table`
        One row a run, as ``Runs.table``.
    selection : `Selection`
        The runs kept, and why the others are not; it may name runs that are not in the table.
    groups : `ObservationGroups`
        The groups.
    catalog : `~astropy.table.Table`
        Known sources.
    exclusion_radius : float, optional
        Distance from a source, besides twice its extension, that counts as far; deg. None
        where the runs were not selected by it.
    call : str
        The Python call that makes a dashboard of them.
    model_ids : mapping of int to int
        For each GROUP_ID that of the group whose model serves it; itself, where it is not named.
    """

    origin: str
    table: Table
    selection: Selection
    groups: ObservationGroups
    catalog: Table
    exclusion_radius: float | None
    call: str
    model_ids: Mapping[int, int] = field(default_factory=dict)

    @cached_property
    def obs_ids(self) -> NDArray[np.int64]:
        """OBS_IDs of the table."""
        return np.asarray(self.table["OBS_ID"], dtype=np.int64)

    @cached_property
    def kept(self) -> NDArray[np.bool_]:
        """Which of them are kept."""
        return np.isin(self.obs_ids, self.selection.kept)

    @cached_property
    def own_group_ids(self) -> NDArray[np.int64]:
        """The group that each points into; −1 outside all groups."""
        return self.groups.group_ids(self.column("ALT_PNT"), self.column("AZ_PNT"))

    @cached_property
    def group_ids(self) -> NDArray[np.int64]:
        """The group of each, whose model holds it where groups were merged; −1 outside all groups."""
        return np.array([self.model_id(group_id) for group_id in self.own_group_ids.tolist()], dtype=np.int64)

    def model_id(self, group_id: int) -> int:
        """The group whose model holds the runs of a group."""
        return self.model_ids.get(group_id, group_id)

    def column(self, name: str) -> Floats:
        """A column of numbers; not a number where there is none."""
        if name not in self.table.colnames:
            return np.full(len(self.table), np.nan)
        return np.array(np.ma.filled(np.ma.array(self.table[name], dtype=float), np.nan))

    def places(self, panel: str) -> tuple[Floats, Floats]:
        """Where the runs stand in a panel; y is not a number in histograms."""
        if panel == "sky":
            return self.column("RA_PNT") % 360, self.column("DEC_PNT")
        if panel == "groups":
            return self.groups.wrapped(self.column("AZ_PNT")), self.column("ALT_PNT")
        _, name, factor = HISTOGRAMS[panel]
        values = 90 - self.column(name) if panel == "zenith" else self.column(name) * factor
        return values, np.full(len(values), np.nan)

    def members(self, group_id: int) -> tuple[int, ...]:
        """The runs kept of a group."""
        return tuple(self.obs_ids[self.kept & (self.group_ids == group_id)].tolist())

    def fate(self, index: int) -> str:
        """What becomes of a run."""
        obs_id = int(self.obs_ids[index])
        if obs_id in self.selection.left_out:
            return f"left out: {self.selection.left_out[obs_id]}"
        own, group_id = int(self.own_group_ids[index]), int(self.group_ids[index])
        return f"kept, group {own}" + (f", merged into group {group_id}" if own != group_id else "")

    @cached_property
    def details(self) -> Mapping[str, list[str]]:
        """What is to read of each run."""
        names = self.table["OBJECT"] if "OBJECT" in self.table.colnames else [""] * len(self.table)
        altitude, azimuth = ([f"{number(value, 4)}°" for value in self.column(name)] for name in ("ALT_PNT", "AZ_PNT"))
        return {
            "OBS_ID": [str(obs_id) for obs_id in self.obs_ids],
            "OBJECT": [str(name).strip() for name in names],
            "altitude": altitude,
            "azimuth": azimuth,
            "livetime": [f"{number(value / 60)} min" for value in self.column("LIVETIME")],
            "becomes": [self.fate(index) for index in range(len(self.table))],
        }

    @cached_property
    def circles(self) -> tuple[Floats, Floats]:
        """The circles that sources exclude, with breaks between them and where they leave the map."""
        catalog = self.catalog
        if self.exclusion_radius is None:
            return np.full(1, np.nan), np.full(1, np.nan)
        centres = SkyCoord(np.asarray(catalog["RA"]), np.asarray(catalog["DEC"]), unit="deg")[:, None]
        radius = (self.exclusion_radius + 2 * np.asarray(catalog["EXTENSION"]))[:, None] * u.deg
        rim = centres.directional_offset_by(np.linspace(0, 360, 49) * u.deg, radius)
        x, y = rim.ra.deg, rim.dec.deg.copy()
        y[:, 1:][np.abs(np.diff(x, axis=1)) > 180] = np.nan
        closed = np.full((len(x), 1), np.nan)
        return np.hstack([x, closed]).ravel(), np.hstack([y, closed]).ravel()


@dataclass(frozen=True)
class RunsState:
    """What `explore_runs` shows: a selection of runs, and the group that it is, if it is one."""

    selected: tuple[int, ...] = ()
    group_id: int | None = None


def runs_view(runs: RunSet, state: RunsState) -> View:
    """Where runs point, their groups, and histograms, with what is selected."""
    chosen = np.isin(runs.obs_ids, state.selected)
    panels = {"sky": _sky(runs, chosen), "groups": _alt_az(runs, chosen)}
    panels |= {name: _histogram(runs, name, chosen) for name in HISTOGRAMS}
    return View(f"Runs of {Path(runs.origin).name}", "\n".join(_words(runs, state, chosen)), panels)


def _words(runs: RunSet, state: RunsState, chosen: NDArray[np.bool_]) -> list[str]:
    kept, left_out = len(runs.selection.kept), runs.selection.left_out
    reasons = [f"{times} {kind}" for kind, times in Counter(reason.kind for reason in left_out.values()).most_common()]
    lines = [f"{counted(kept + len(left_out), 'run')} in {runs.origin}: {kept} kept, {len(left_out)} left out."]
    if reasons:
        lines[0] = f"{lines[0][:-1]}: {', '.join(reasons)}."
    if len(state.selected) == 1:
        read = {name: values[int(np.argmax(chosen))] for name, values in runs.details.items()}
        lines.append(
            f"Selected: run {read['OBS_ID']} {read['OBJECT']}, altitude {read['altitude']}, azimuth {read['azimuth']}, "
            f"livetime {read['livetime']}, {read['becomes']}."
        )
    elif state.selected:
        livetime = runs.column("LIVETIME")[chosen]
        hours = f", {np.nansum(livetime) / 3600:.2f} h" if np.isfinite(livetime).any() else ""
        group = "" if state.group_id is None else f" of group {state.group_id}"
        lines.append(
            f"Selected: {len(state.selected)} runs{group}{hours}, {np.count_nonzero(chosen & runs.kept)} of them kept."
        )
    elif state.group_id is not None:
        model_id = runs.model_id(state.group_id)
        merged = f": it was merged into group {model_id}" if model_id != state.group_id else ""
        lines.append(f"Group {state.group_id} has no runs{merged}.")
    else:
        lines.append("No runs selected: tap a run or a group, or drag over some.")
    return lines


def _points(runs: RunSet, panel: str, chosen: NDArray[np.bool_]) -> tuple[Series, ...]:
    x, y = runs.places(panel)
    kept, details = runs.kept, runs.details
    series = []
    for name, use, colour in (("left out", ~kept, _LEFT_OUT), ("kept", kept, _KEPT), ("selected", chosen, CHOSEN)):
        read = {key: [value for value, used in zip(values, use, strict=True) if used] for key, values in details.items()}
        label = counted(int(use.sum()), "run") + f" {name}" if use.any() else ""
        series.append(Series(label, x[use], y[use], "points", colour, details=read))
    return tuple(series)


def _sky(runs: RunSet, chosen: NDArray[np.bool_]) -> Graph:
    catalog = runs.catalog
    x, y = runs.circles
    name = "known sources" + ", and what they exclude" * (runs.exclusion_radius is not None)
    ra, dec = np.array(catalog["RA"]) % 360, np.array(catalog["DEC"])
    details = {"source": [str(source) for source in catalog["NAME"]]}
    sources = Series(name, ra, dec, "dots", _SOURCES, details=details)
    series = (Series("", x, y, "outline", _SOURCES), sources, *_points(runs, "sky", chosen))
    labels = "Runs on the sky", "right ascension / deg", "declination / deg"
    return Graph(*labels, series, (360.0, 0.0), (-90.0, 90.0), legend="below")


def _alt_az(runs: RunSet, chosen: NDArray[np.bool_]) -> Graph:
    groups = runs.groups
    az, alt = groups.az_edges.value, groups.alt_edges.value
    across = [([az[0], az[-1], np.nan], [edge, edge, np.nan]) for edge in alt]
    along = [([edge, edge, np.nan], [alt[0], alt[-1], np.nan]) for edge in az]
    x, y = (np.concatenate(parts) for parts in zip(*across, *along, strict=True))
    edges = Series("", x, y, "outline", "#aaaaaa")
    inset = 0.01 * (az[-1] - az[0])
    texts = tuple(
        (float(r["AZ_MIN"]) + inset, float(r["ALT_MIN"] + r["ALT_MAX"]) / 2, str(r["GROUP_ID"])) for r in groups.table
    )
    ranges = (float(az[0]), float(az[-1])), (float(alt[0]), float(alt[-1]))
    series = (edges, *_points(runs, "groups", chosen))
    return Graph("Groups, with GROUP_ID", "azimuth / deg", "altitude / deg", series, *ranges, texts=texts, legend="below")


def _histogram(runs: RunSet, panel: str, chosen: NDArray[np.bool_]) -> Graph:
    label, column, _ = HISTOGRAMS[panel]
    values, _ = runs.places(panel)
    known = np.isfinite(values)
    low, high = span(values[known])
    edges = np.linspace(low, high, 21)
    kept = histogram("kept", values[runs.kept & known], edges, _KEPT)
    selected = histogram("selected" if chosen.any() else "", values[chosen & known], edges, CHOSEN)
    title = label.partition(" / ")[0].capitalize() if known.any() else f"The run table has no values of {column}"
    heights = span(kept.y, selected.y, zero=True)
    return Graph(title, label, "runs", (kept, selected), (low, high), heights, legend="below")
