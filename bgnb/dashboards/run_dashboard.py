"""Dashboard of runs: pointings, selection and groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import ipywidgets as widgets
import numpy as np
from astropy import units as u
from astropy.table import Table

from bgnb._util.checks import to_value
from bgnb._util.errors import BgnbError, DataError
from bgnb.dashboards.dashboard import Control, Dashboard, menu
from bgnb.dashboards.live_figures import Action
from bgnb.files.group_file import GROUPED_RUNS_FILE, GROUPS_FILE, read_groups, read_model_ids
from bgnb.files.model_directory import checked_group
from bgnb.files.report_json import read_report
from bgnb.observations.datastore import open_runs
from bgnb.observations.groups import group_runs, observation_groups
from bgnb.observations.run_selection import EXCLUSION_RADIUS, Reason, Selection, read_catalog, select_runs
from bgnb.plots.labels import format_count
from bgnb.plots.run_views import HISTOGRAMS, RunSet, RunsState, runs_view
from bgnb.plots.view import View

#: Value of the menu for no group, because a menu shows nothing for None.
_ANY_GROUP = -1
#: A tap selects the nearest run within this fraction of the visible axes.
_MAX_DISTANCE = 0.02
_NAME_THE_SCHEME = "for a directory of runs, give the scheme"


class RunDashboard(Dashboard):
    """See `bgnb.dashboards.explore_runs`."""

    State = RunsState
    kind = "runs"
    rows = (("group_id", "selected"),)
    selecting = ("sky", "groups", *HISTOGRAMS)

    def __init__(self, runs: RunSet, arguments: list[str]) -> None:
        self._runs, self._arguments = runs, arguments
        super().__init__(RunsState())

    def settle(self, state: RunsState) -> RunsState:
        if state.group_id is not None:
            group_id = checked_group(state.group_id, list(range(len(self._runs.groups))), "there is no group")
            return RunsState(selected=self._runs.members(group_id), group_id=group_id)
        try:
            if isinstance(state.selected, str):  # its digits would be taken for OBS_IDs
                raise TypeError
            selected = set(map(int, state.selected))
        except (TypeError, ValueError):
            raise BgnbError("invalid-argument", f"selected must be a list of OBS_IDs, got {state.selected!r}") from None
        if unknown := sorted(selected.difference(self._runs.obs_ids.tolist())):
            raise BgnbError("not-found", f"{self._runs.origin}: run {unknown[0]} does not exist")
        return RunsState(selected=tuple(sorted(selected)))

    def update(self, **changes: Any) -> bool:
        if "selected" in changes and changes.setdefault("group_id", None) is not None:
            raise BgnbError("conflicting-arguments", "selected and group_id cannot be combined; give only one of them")
        if "group_id" in changes:
            changes.setdefault("selected", ())
        return super().update(**changes)

    def view_of(self, state: RunsState) -> View:
        return runs_view(self._runs, state)

    def act(self, action: Action) -> None:
        panel, x, y = action["panel"], action["x"], action["y"]
        if action["kind"] == "select":
            self.update(selected=self._runs_within(panel, x, y))
        elif panel not in HISTOGRAMS and x is not None and y is not None:
            nearest = self._nearest_run(panel, x, y, action["width"], action["height"])
            group_id = self._runs.groups.group_id(y, x) if panel == "groups" else None
            if nearest is not None:
                self.update(selected=tuple({nearest} ^ set(self.selected if action.get("add") else ())))
            elif group_id is not None:
                self.update(group_id=self._runs.model_id(group_id))
            elif not action.get("add"):
                self.update(selected=())

    def _runs_within(self, panel: str, x: Sequence[float], y: Sequence[float]) -> tuple[int, ...]:
        """Find the runs in a rectangle; in histograms, the kept runs in a range."""
        run_x, run_y = self._runs.coordinates(panel)
        inside = self._runs.kept if panel in HISTOGRAMS else (run_y >= min(y)) & (run_y <= max(y))
        return tuple(self._runs.obs_ids[inside & (run_x >= min(x)) & (run_x <= max(x))].tolist())

    def _nearest_run(self, panel: str, x: float, y: float, width: float, height: float) -> int | None:
        """Find the run at a position, if there is one within a small fraction of the visible axes."""
        run_x, run_y = self._runs.coordinates(panel)
        distance = np.hypot(((run_x - x + 180) % 360 - 180) / width, (run_y - y) / height)  # x is an angle in both maps
        nearest = np.argmin(np.nan_to_num(distance, nan=np.inf)) if len(distance) else 0
        return int(self._runs.obs_ids[nearest]) if len(distance) and distance[nearest] < _MAX_DISTANCE else None

    def controls(self) -> dict[str, Control]:
        runs = self._runs
        n_runs = {group_id: len(runs.members(group_id)) for group_id in range(len(runs.groups))}
        options = [("any", _ANY_GROUP)]
        for group_id in sorted(n_runs, key=lambda group_id: n_runs[group_id] == 0):  # groups without runs at the end
            empty = "no runs" if runs.model_id(group_id) == group_id else f"merged into {runs.model_id(group_id)}"
            text = format_count(n_runs[group_id], "run") if n_runs[group_id] else empty
            options.append((f"{group_id}: {text}", group_id))
        text = widgets.Textarea(
            description="selected OBS_IDs", rows=3, continuous_update=False, style={"description_width": "initial"},
            placeholder="none; tap or drag in a plot, or enter them here", layout={"width": "min(48em, 95%)"},
        )  # fmt: skip
        return {
            "group_id": replace(
                menu("group_id", "group", options),
                show=lambda state: {"value": _ANY_GROUP if state.group_id is None else state.group_id},
                change=lambda value: {"group_id": None if value == _ANY_GROUP else value},
            ),
            "selected": Control(
                widget=text,
                show=lambda state: {"value": " ".join(map(str, state.selected))},
                change=lambda value: {"selected": _parse_obs_ids(value)},
            ),
        }

    @property
    def python(self) -> str:
        lines = f"import bgnb\n\nruns = bgnb.dashboards.explore_runs({', '.join(self._arguments)})\n"
        if self.group_id is not None:
            return f"{lines}runs.group_id = {self.group_id}\nruns"
        return lines + (f"runs.selected = {list(self.selected)}\n" if self.selected else "") + "runs"


def explore_runs(
    indir: str | Path,
    scheme: str | None = None,
    *,
    select: str | Path | Sequence[int] = "far",
    catalog: str | Path | Table | None = None,
    exclusion_radius: u.Quantity | str = EXCLUSION_RADIUS,
    alt_edges: Sequence[float] | u.Quantity | None = None,
    az_edges: Sequence[float] | u.Quantity | None = None,
) -> RunDashboard:
    """Explore runs: their pointings, the selection with its reasons, and the groups.

    Tap a run or a group, or drag over several runs: they are selected in all plots. Tap with
    Shift to add or remove a run. ``dashboard.selected`` are the OBS_IDs, which
    `make_bg_cube_models` takes as ``select``.

    Parameters
    ----------
    indir : path
        Directory of runs; or, without a scheme, a directory of models, to explore the runs of
        the models. A run then belongs to the group whose model contains it.
    scheme : str, optional
        Layout of a directory of runs.
    select, catalog, exclusion_radius, alt_edges, az_edges : as in `make_bg_cube_models`
        For a directory of models, only ``catalog`` may be given.
        Circles show the exclusion regions if runs near sources of this catalogue were dropped.

    Returns
    -------
    RunDashboard
        A widget, see `Dashboard`.

    Raises
    ------
    BgnbError
        If the directory cannot be read, or an argument is invalid.
    """
    far = isinstance(select, str) and select.lower() == "far"
    default_radius = exclusion_radius is EXCLUSION_RADIUS
    arguments = [repr(str(indir))] + ([] if scheme is None else [repr(scheme)])
    if catalog is not None:
        arguments.append("catalog=catalog" if isinstance(catalog, Table) else f"catalog={str(catalog)!r}")
    if scheme is None:
        if not (far and default_radius and alt_edges is None and az_edges is None):
            options = "select, exclusion_radius, alt_edges and az_edges"
            raise BgnbError("no-effect", f"{indir}: {options} cannot be changed for a directory of models; {_NAME_THE_SCHEME}")
        return RunDashboard(_runs_of_models(Path(indir), catalog), arguments)
    radius = to_value("exclusion_radius", exclusion_radius, "deg")
    sources, groups, runs = read_catalog(catalog), observation_groups(alt_edges, az_edges), open_runs(indir, scheme)
    _, selection = group_runs(runs, select_runs(runs, select, sources, radius * u.deg), groups)
    chosen = str(select) if isinstance(select, str | Path) else [int(obs_id) for obs_id in select]
    arguments += [] if default_radius else [f"exclusion_radius='{radius!r} deg'"]
    arguments += [] if far else [f"select={chosen!r}"]
    arguments += [] if alt_edges is None else [f"alt_edges={groups.alt_edges.value.tolist()}"]
    arguments += [] if az_edges is None else [f"az_edges={groups.az_edges.value.tolist()}"]
    shown = RunSet(str(indir), runs.table, selection, groups, sources, radius if far else None, notes=runs.notes)
    return RunDashboard(shown, arguments)


def _runs_of_models(modeldir: Path, catalog: str | Path | Table | None) -> RunSet:
    """Read the runs from which the models of a directory were made."""
    path = modeldir / GROUPED_RUNS_FILE
    if not path.exists():
        raise BgnbError("not-found", f"{modeldir}: contains no models with their runs ({path.name}); {_NAME_THE_SCHEME}")
    try:
        table = Table.read(path)
        report = read_report(modeldir)
        settings = report["settings"]
        # With a catalogue other than that of the selection, circles would show regions that were not excluded.
        dropped = (settings["select"], settings["sources"]) == ("far", "drop") and _is_same_catalog(
            catalog, settings["catalog"]
        )
        radius = float(settings["exclusion_radius_deg"]) if dropped else None
        skipped = {run["obs_id"]: Reason.from_text(run["reason"]) for run in report["runs"] if run["status"] != "used"}
        fractions = {run["obs_id"]: run["group_fractions"] for run in report["runs"] if run.get("group_fractions")}
        notes = tuple(map(str, report["notes"]))
        kept = tuple(int(obs_id) for obs_id in table["OBS_ID"])
    except (BgnbError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError("not-a-model", f"{modeldir}: the runs of the models cannot be read: {error}") from None
    groups, model_ids = read_groups(modeldir / GROUPS_FILE), read_model_ids(modeldir / GROUPS_FILE)
    selection, sources = Selection(kept, skipped), read_catalog(catalog)
    return RunSet(str(modeldir), table, selection, groups, sources, radius, model_ids, group_fractions=fractions, notes=notes)


def _is_same_catalog(catalog: str | Path | Table | None, used: str | None) -> bool:
    """Compare a catalogue with the name in the settings of a report, where every table is named ``table``."""
    if catalog is None or used is None:
        return catalog is used
    if isinstance(catalog, Table):
        return used == "table"
    return Path(catalog).resolve() == Path(used).resolve()


def _parse_obs_ids(text: str) -> tuple[int, ...]:
    words = text.replace(",", " ").split()
    if invalid := [word for word in words if not word.isdecimal()]:
        raise BgnbError("invalid-argument", f"'{invalid[0]}' is not an OBS_ID")
    return tuple(map(int, words))
