"""The dashboard of runs: where they point, which are kept, and in which groups they are."""

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
from bgnb.dashboards.dashboard import Control, Dashboard, choice, row
from bgnb.dashboards.live import Action
from bgnb.files.group_file import GROUPED_RUNS_FILE, GROUPS_FILE, read_groups, read_model_ids
from bgnb.files.model_directory import checked_group
from bgnb.files.report_json import read_report
from bgnb.observations.datastore import open_runs
from bgnb.observations.groups import group_runs, observation_groups
from bgnb.observations.selection import EXCLUSION_RADIUS, Reason, Selection, read_catalog, select_runs
from bgnb.plots.labels import counted
from bgnb.plots.run_views import HISTOGRAMS, RunSet, RunsState, runs_view
from bgnb.plots.view import View

#: Stands for no group in the menu, where None would show nothing.
_ANY = -1
#: A tap chooses the nearest run within this part of the axes, as far as they are seen.
_NEAR = 0.02


class RunsDashboard(Dashboard):
    """See `bgnb.dashboards.explore_runs`."""

    State = RunsState
    kind = "runs"
    selecting = ("sky", "groups", *HISTOGRAMS)

    def __init__(self, runs: RunSet, state: RunsState) -> None:
        self._runs = runs
        super().__init__(state)

    def settle(self, state: RunsState) -> RunsState:
        if state.group_id is not None:
            group_id = checked_group(state.group_id, list(range(len(self._runs.groups))), "there is no group")
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

    def update(self, **changes: Any) -> bool:
        if "selected" in changes:
            changes = {"group_id": None} | changes
            if changes["group_id"] is not None:
                raise BgnbError("select runs or a group, not both")
        elif "group_id" in changes:
            changes = {"selected": ()} | changes
        return super().update(**changes)

    def act(self, action: Action) -> None:
        panel, x, y = action["panel"], action["x"], action["y"]
        if action["kind"] == "select":
            self.update(selected=self._within(panel, x, y))
        elif panel not in HISTOGRAMS and x is not None and y is not None:
            nearest = self._nearest(panel, x, y, action["width"], action["height"])
            group_id = self._runs.groups.group_id(y, x) if panel == "groups" else None
            if nearest is not None:
                chosen = {nearest} ^ set(self.state.selected if action.get("add") else ())
                self.update(selected=tuple(chosen))
            elif group_id is not None:
                self.update(group_id=self._runs.model_id(group_id))
            elif not action.get("add"):
                self.update(selected=())

    def _within(self, panel: str, x: Sequence[float], y: Sequence[float]) -> tuple[int, ...]:
        px, py = self._runs.places(panel)
        inside = (px >= min(x)) & (px <= max(x))
        if panel in HISTOGRAMS:
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
        return runs_view(self._runs, state)

    def controls(self) -> dict[str, Control]:
        runs = self._runs
        filled = sorted(set(runs.group_ids[runs.kept].tolist()) - {-1})
        options: list[Any] = [("any", _ANY)]
        options += [(f"{group}: {counted(len(runs.members(group)), 'run')}", group) for group in filled]
        for group in sorted(set(range(len(runs.groups))) - set(filled)):
            model_id = runs.model_id(group)
            options.append((f"{group}: no runs" if model_id == group else f"{group}: merged into {model_id}", group))
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
        in them, and a run belongs to the group whose model holds it.
    scheme : {"GADF", "HESS"}, optional
        Layout of a directory of runs.
    select, catalog, exclusion_radius, alt_edges, az_edges : as in `make_bg_cube_models`
        Of models all but ``catalog`` are known, and must not be given.
        Circles show what sources exclude where runs near those of this catalogue were dropped.

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
        report = read_report(modeldir)
        chosen = report["settings"]
        dropped = (chosen["select"], chosen["sources"]) == ("far", "drop")
        # With another catalogue than that by which they were dropped, circles would show what was never excluded.
        circles = float(chosen["exclusion_radius_deg"]) if dropped and _same_catalog(catalog, chosen["catalog"]) else None
        left_out = {run["obs_id"]: Reason(*run["reason"].split(": ", 1)) for run in report["runs"] if run["status"] != "used"}
    except (BgnbError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{modeldir}: the runs of these models cannot be read: {error}") from None
    kept = tuple(int(obs_id) for obs_id in table["OBS_ID"])
    sources = read_catalog(catalog)
    call = f"bgnb.dashboards.explore_runs({', '.join([repr(str(modeldir)), *_catalog_argument(catalog)])})"
    groups, model_ids = read_groups(modeldir / GROUPS_FILE), read_model_ids(modeldir / GROUPS_FILE)
    return RunSet(str(modeldir), table, Selection(kept, left_out), groups, sources, circles, call, model_ids)


def _same_catalog(catalog: str | Path | Table | None, chosen: str | None) -> bool:
    """Whether a catalogue has the name of the one that settings state; all tables are called table there."""
    if catalog is None or chosen is None:
        return catalog is chosen
    if isinstance(catalog, Table):
        return chosen == "table"
    return Path(catalog).resolve() == Path(chosen).resolve()


def _catalog_argument(catalog: str | Path | Table | None) -> list[str]:
    if catalog is None:
        return []
    return ["catalog=catalog" if isinstance(catalog, Table) else f"catalog={str(catalog)!r}"]


def _obs_ids(text: str) -> tuple[int, ...]:
    words = text.replace(",", " ").split()
    if wrong := [word for word in words if not word.isdecimal()]:
        raise BgnbError(f"'{wrong[0]}' is not an OBS_ID")
    return tuple(int(word) for word in words)
