"""The dashboard of runs: where they point, which are kept, and in which groups they are."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import ipywidgets as widgets
import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import Table
from numpy.typing import NDArray

from bgnb.compare import Floats
from bgnb.cube import to_value
from bgnb.dashboards.colours import CHOSEN, counted, number
from bgnb.dashboards.dashboard import Control, Dashboard, choice, row
from bgnb.dashboards.live import Action
from bgnb.dashboards.view import Graph, Series, View, span
from bgnb.datastore import open_runs
from bgnb.errors import BgnbError, DataError
from bgnb.figures import LINES
from bgnb.gadf import GROUPED_RUNS_FILE, GROUPS_FILE, read_groups
from bgnb.modelset import one_of
from bgnb.outdir import REPORT
from bgnb.runs import (
    EXCLUSION_RADIUS,
    ObservationGroups,
    Reason,
    Selection,
    group_runs,
    observation_groups,
    read_catalog,
    select_runs,
)

_KEPT, _LEFT_OUT, _SOURCES = LINES[0], "#999999", "#c08040"
#: Panels with a histogram: title of the axis, column, factor to its unit.
_HISTOGRAMS = {
    "livetime": ("livetime / min", "LIVETIME", 1 / 60),
    "zenith": ("zenith angle / deg", "ALT_PNT", 1.0),
    "muoneff": ("muon efficiency", "MUONEFF", 1.0),
}
#: Stands for no group in the menu, where None would show nothing.
_ANY = -1
#: A tap chooses the nearest run within this part of the axes, as far as they are seen.
_NEAR = 0.02


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
    """

    origin: str
    table: Table
    selection: Selection
    groups: ObservationGroups
    catalog: Table
    exclusion_radius: float | None
    call: str

    @cached_property
    def obs_ids(self) -> NDArray[np.int64]:
        """OBS_IDs of the table."""
        return np.asarray(self.table["OBS_ID"], dtype=np.int64)

    @cached_property
    def kept(self) -> NDArray[np.bool_]:
        """Which of them are kept."""
        return np.isin(self.obs_ids, self.selection.kept)

    @cached_property
    def group_ids(self) -> NDArray[np.int64]:
        """The group of each; −1 outside all groups."""
        return self.groups.group_ids(self.column("ALT_PNT"), self.column("AZ_PNT"))

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
        _, name, factor = _HISTOGRAMS[panel]
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
        return f"kept, group {self.group_ids[index]}"

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


@dataclass(frozen=True)
class RunsState:
    """What `explore_runs` shows: a selection of runs, and the group that it is, if it is one."""

    selected: tuple[int, ...] = ()
    group_id: int | None = None


class RunsDashboard(Dashboard):
    """See `bgnb.dashboards.explore_runs`."""

    State = RunsState
    kind = "runs"
    selecting = ("sky", "groups", *_HISTOGRAMS)

    def __init__(self, runs: RunSet, state: RunsState) -> None:
        self._runs = runs
        super().__init__(state)

    def settle(self, state: RunsState) -> RunsState:
        if state.group_id is not None:
            group_id = one_of(state.group_id, list(range(len(self._runs.groups))), "there is no group")
            return RunsState(self._runs.members(group_id), group_id)
        known = set(self._runs.obs_ids.tolist())
        try:
            if isinstance(state.selected, str):
                raise ValueError
            selected = {int(obs_id) for obs_id in state.selected}
        except (TypeError, ValueError):
            raise BgnbError(f"selected must be a list of OBS_IDs, got {state.selected!r}") from None
        if unknown := sorted(selected - known):
            raise BgnbError(f"{self._runs.origin} has no run {unknown[0]}")
        return RunsState(tuple(sorted(selected)))

    def update(self, **changes: Any) -> None:
        if "selected" in changes:
            changes = {"group_id": None} | changes
            if changes["group_id"] is not None:
                raise BgnbError("select runs or a group, not both")
        elif "group_id" in changes:
            changes = {"selected": ()} | changes
        super().update(**changes)

    def act(self, action: Action) -> None:
        panel, x, y = action["panel"], action["x"], action["y"]
        if action["kind"] == "select":
            self.update(selected=self._within(panel, x, y))
        elif panel not in _HISTOGRAMS and x is not None and y is not None:
            nearest = self._nearest(panel, x, y, action["width"], action["height"])
            group_id = self._runs.groups.group_id(y, x) if panel == "groups" else None
            if nearest is not None:
                chosen = {nearest} ^ set(self.state.selected if action.get("add") else ())
                self.update(selected=tuple(chosen))
            elif group_id is not None:
                self.update(group_id=group_id)
            elif not action.get("add"):
                self.update(selected=())

    def _within(self, panel: str, x: Sequence[float], y: Sequence[float]) -> tuple[int, ...]:
        px, py = self._runs.places(panel)
        inside = (px >= min(x)) & (px <= max(x))
        if panel in _HISTOGRAMS:
            inside &= self._runs.kept  # only these are in histograms
        else:
            inside &= (py >= min(y)) & (py <= max(y))
        return tuple(self._runs.obs_ids[inside].tolist())

    def _nearest(self, panel: str, x: float, y: float, width: float, height: float) -> int | None:
        """The run at a place, if there is one within a small part of what is seen of the axes."""
        px, py = self._runs.places(panel)
        distance = np.hypot(((px - x + 180) % 360 - 180) / width, (py - y) / height)  # both panels go around
        nearest = int(np.nanargmin(distance)) if np.isfinite(distance).any() else -1
        return int(self._runs.obs_ids[nearest]) if nearest >= 0 and distance[nearest] < _NEAR else None

    def view_of(self, state: RunsState) -> View:
        runs = self._runs
        chosen = np.isin(runs.obs_ids, state.selected)
        panels = {"sky": self._sky(chosen), "groups": self._alt_az(chosen)}
        panels |= {name: self._histogram(name, chosen) for name in _HISTOGRAMS}
        return View(f"Runs of {Path(runs.origin).name}", "\n".join(self._words(state, chosen)), panels)

    def _words(self, state: RunsState, chosen: NDArray[np.bool_]) -> list[str]:
        runs = self._runs
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
            lines.append(f"Group {state.group_id} has no runs.")
        else:
            lines.append("No runs selected: tap a run or a group, or drag over some.")
        return lines

    def _points(self, panel: str, chosen: NDArray[np.bool_]) -> tuple[Series, ...]:
        x, y = self._runs.places(panel)
        kept, details = self._runs.kept, self._runs.details
        series = []
        for name, use, colour in (("left out", ~kept, _LEFT_OUT), ("kept", kept, _KEPT), ("selected", chosen, CHOSEN)):
            read = {key: [value for value, used in zip(values, use, strict=True) if used] for key, values in details.items()}
            label = counted(int(use.sum()), "run") + f" {name}" if use.any() else ""
            series.append(Series(label, x[use], y[use], "points", colour, details=read))
        return tuple(series)

    def _sky(self, chosen: NDArray[np.bool_]) -> Graph:
        catalog = self._runs.catalog
        x, y = self._circles
        name = "known sources" + ", and what they exclude" * (self._runs.exclusion_radius is not None)
        ra, dec = np.array(catalog["RA"]) % 360, np.array(catalog["DEC"])
        details = {"source": [str(source) for source in catalog["NAME"]]}
        sources = Series(name, ra, dec, "dots", _SOURCES, details=details)
        series = (Series("", x, y, "outline", _SOURCES), sources, *self._points("sky", chosen))
        labels = "Runs on the sky", "right ascension / deg", "declination / deg"
        return Graph(*labels, series, (360.0, 0.0), (-90.0, 90.0), legend="below")

    @cached_property
    def _circles(self) -> tuple[Floats, Floats]:
        """The circles that sources exclude, with breaks between them and where they leave the map."""
        catalog = self._runs.catalog
        if self._runs.exclusion_radius is None:
            return np.full(1, np.nan), np.full(1, np.nan)
        centres = SkyCoord(np.asarray(catalog["RA"]), np.asarray(catalog["DEC"]), unit="deg")[:, None]
        radius = (self._runs.exclusion_radius + 2 * np.asarray(catalog["EXTENSION"]))[:, None] * u.deg
        rim = centres.directional_offset_by(np.linspace(0, 360, 49) * u.deg, radius)
        x, y = rim.ra.deg, rim.dec.deg.copy()
        y[:, 1:][np.abs(np.diff(x, axis=1)) > 180] = np.nan
        closed = np.full((len(x), 1), np.nan)
        return np.hstack([x, closed]).ravel(), np.hstack([y, closed]).ravel()

    def _alt_az(self, chosen: NDArray[np.bool_]) -> Graph:
        groups = self._runs.groups
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
        series = (edges, *self._points("groups", chosen))
        return Graph("Groups, with GROUP_ID", "azimuth / deg", "altitude / deg", series, *ranges, texts=texts, legend="below")

    def _histogram(self, panel: str, chosen: NDArray[np.bool_]) -> Graph:
        label, column, _ = _HISTOGRAMS[panel]
        values, _ = self._runs.places(panel)
        known = np.isfinite(values)
        low, high = span(values[known])
        edges = np.linspace(low, high, 21)
        centres = (edges[1:] + edges[:-1]) / 2
        series, tallest = [], np.zeros(1)
        for name, use, colour in (("kept", self._runs.kept, _KEPT), ("selected", chosen, CHOSEN)):
            counts = np.histogram(values[use & known], edges)[0].astype(float)
            tallest = np.maximum(tallest, counts.max())
            series.append(Series(name, centres, counts, "bars", colour, edges=edges))
        title = label.partition(" / ")[0].capitalize() if known.any() else f"The run table has no values of {column}"
        return Graph(title, label, "runs", tuple(series), (low, high), span(tallest, zero=True), legend="below")

    def controls(self) -> dict[str, Control]:
        runs = self._runs
        filled = sorted(set(runs.group_ids[runs.kept].tolist()) - {-1})
        options: list[Any] = [("any", _ANY)]
        options += [(f"{group}: {counted(len(runs.members(group)), 'run')}", group) for group in filled]
        options += [(f"{group}: no runs", group) for group in range(len(runs.groups)) if group not in filled]
        text = widgets.Textarea(
            description="selected OBS_IDs", rows=3, continuous_update=False, style={"description_width": "initial"},
            placeholder="none; tap or drag in a picture, or write them here", layout={"width": "min(48em, 95%)"},
        )  # fmt: skip
        return {
            "group_id": replace(
                choice("group_id", "group", options),
                show=lambda state: {"value": _ANY if state.group_id is None else state.group_id},
                act=lambda value: {"group_id": None if value == _ANY else value},
            ),
            "selected": Control(
                text, lambda state: {"value": " ".join(map(str, state.selected))}, lambda value: {"selected": _obs_ids(value)}
            ),
        }

    def arranged(self) -> list[Any]:
        return [row(self._controls["group_id"].widget, self._controls["selected"].widget)]

    @property
    def python(self) -> str:
        lines = f"import bgnb\n\nruns = {self._runs.call}\n"
        if self.state.group_id is not None:
            return lines + f"runs.group_id = {self.state.group_id}\nruns"
        return lines + (f"runs.selected = {list(self.state.selected)}\n" if self.state.selected else "") + "runs"


def explore_runs(
    indir: str | Path,
    scheme: str | None = None,
    *,
    select: str | Path | Sequence[int] = "far",
    catalog: str | Path | Table | None = None,
    exclusion_radius: u.Quantity | str = EXCLUSION_RADIUS,
    alt_edges: Sequence[float] | u.Quantity | None = None,
    az_edges: Sequence[float] | u.Quantity | None = None,
) -> RunsDashboard:
    """Explore runs: where they point, which are kept and why, in which groups they are.

    Tap a run or a group, or drag over some: what is selected in one picture is selected in
    all. Tapping with Shift adds a run, or takes it away. ``dashboard.selected`` are the
    OBS_IDs, to be handed to `make_bg_cube_models` as ``select``.

    Parameters
    ----------
    indir : path
        A directory of runs, or, without a scheme, one of models: then it is about the runs
        in them.
    scheme : {"GADF", "HESS"}, optional
        Layout of a directory of runs.
    select, catalog, exclusion_radius, alt_edges, az_edges
        As in `make_bg_cube_models`. Of models all but ``catalog`` are known, and must not be given.

    Returns
    -------
    RunsDashboard
        A widget, see `Dashboard`.

    Raises
    ------
    BgnbError
        Where the directory cannot be read, or an argument cannot be used.
    """
    far = isinstance(select, str) and select.lower() == "far"
    given = {"exclusion_radius": exclusion_radius is not EXCLUSION_RADIUS, "select": not far}
    given |= {"alt_edges": alt_edges is not None, "az_edges": az_edges is not None}
    if scheme is None:
        if any(given.values()):
            raise BgnbError(f"{indir}: of models, selection and groups are known; of a directory of runs, name the scheme")
        return RunsDashboard(_of_models(Path(indir), catalog), RunsState())
    radius = to_value("exclusion_radius", exclusion_radius, "deg")
    sources = read_catalog(catalog)
    groups = observation_groups(alt_edges, az_edges)
    runs = open_runs(indir, scheme)
    _, selection = group_runs(runs, select_runs(runs, select, sources, radius * u.deg), groups)
    values = {
        "exclusion_radius": f"{radius!r} deg",
        "select": str(select) if isinstance(select, str | Path) else [int(obs_id) for obs_id in select],
        "alt_edges": groups.alt_edges.value.tolist(),
        "az_edges": groups.az_edges.value.tolist(),
    }
    arguments = [repr(str(indir)), repr(scheme), *_catalog_argument(catalog)]
    arguments += [f"{name}={value!r}" for name, value in values.items() if given[name]]
    call = f"bgnb.dashboards.explore_runs({', '.join(arguments)})"
    circles = radius if far else None
    return RunsDashboard(RunSet(str(indir), runs.table, selection, groups, sources, circles, call), RunsState())


def _of_models(modeldir: Path, catalog: str | Path | Table | None) -> RunSet:
    """The runs in the models of a directory."""
    path = modeldir / GROUPED_RUNS_FILE
    if not path.exists():
        raise BgnbError(f"{modeldir}: holds no models with their runs ({path.name}); of a directory of runs, name the scheme")
    try:
        table = Table.read(path)
        report = json.loads((modeldir / REPORT).read_text())
        chosen = report["settings"]
        circles = float(chosen["exclusion_radius_deg"]) if chosen["select"].lower() == "far" else None
        left_out = {run["obs_id"]: Reason(*run["reason"].split(": ", 1)) for run in report["runs"] if run["status"] != "used"}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{modeldir}: the runs of these models cannot be read: {error}") from None
    kept = tuple(int(obs_id) for obs_id in table["OBS_ID"])
    if catalog is None and chosen.get("catalog", "default") != "default":
        circles = None  # they were chosen by another catalogue than the one that is shown
    sources = read_catalog(catalog)
    call = f"bgnb.dashboards.explore_runs({', '.join([repr(str(modeldir)), *_catalog_argument(catalog)])})"
    groups = read_groups(modeldir / GROUPS_FILE)
    return RunSet(str(modeldir), table, Selection(kept, left_out), groups, sources, circles, call)


def _catalog_argument(catalog: str | Path | Table | None) -> list[str]:
    if catalog is None:
        return []
    return ["catalog=catalog" if isinstance(catalog, Table) else f"catalog={str(catalog)!r}"]


def _obs_ids(text: str) -> tuple[int, ...]:
    words = text.replace(",", " ").split()
    if wrong := [word for word in words if not word.isdecimal()]:
        raise BgnbError(f"'{wrong[0]}' is not an OBS_ID")
    return tuple(int(word) for word in words)
