"""Dashboard of runs: pointings, rates, selection and groups."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import ipywidgets as widgets
import numpy as np
from astropy import units as u
from astropy.table import Table

from bgnb._util.arrays import Floats
from bgnb._util.checks import checked_obs_ids, checked_path, numbers_in, to_value
from bgnb._util.errors import BgnbError, DataError, numbered, quoted
from bgnb.dashboards.controls import Control, button, menu
from bgnb.dashboards.dashboard import Dashboard, unused_path
from bgnb.dashboards.live_figures import Action
from bgnb.dashboards.run_picking import nearest_run, runs_within
from bgnb.files.fits_reader import find_fits
from bgnb.files.group_file import GROUPED_RUNS_FILE, GROUPS_FILE, read_groups, read_model_ids
from bgnb.files.model_directory import EPOCHS_FILE, checked_group, model_files
from bgnb.files.output_file import write_file
from bgnb.files.report_json import REPORT, read_report
from bgnb.observations import tolerances
from bgnb.observations.catalog import read_catalog
from bgnb.observations.coordinates import separation
from bgnb.observations.datastore import open_runs
from bgnb.observations.groups import group_runs, observation_groups
from bgnb.observations.run_selection import EXCLUSION_RADIUS, Reason, Selection, select_runs
from bgnb.observations.table_file import read_table_file
from bgnb.plots.labels import format_count
from bgnb.plots.pointing_map import group_at
from bgnb.plots.run_set import RunSet, check_numbers
from bgnb.plots.run_views import HISTOGRAMS, MAPS, RunsState, checked_quantities, coordinates, first_state, runs_view
from bgnb.plots.view import View
from bgnb.validation.check_runs import RunChecks
from bgnb.validation.run_check_views import selection_panels
from bgnb.validation.run_tests import RunResult

#: Value of the menu for no group, because a menu shows nothing for None.
_ANY_GROUP = -1
_NAME_THE_SCHEME = "for a directory of runs, give the scheme"


class RunDashboard(Dashboard):
    """See `bgnb.dashboards.explore_runs`."""

    State = RunsState
    kind = "runs"
    function = "explore_runs"
    bar = ("group_id", "y", "x", "colour_by")
    drawer: Mapping[str, tuple[str, ...]] = {"Selection": ("selected", "save_selection")}
    resets = ((("group_id",), {"selected": ()}),)
    selecting = (*MAPS, "histogram", *HISTOGRAMS)

    def __init__(self, runs: RunSet, arguments: list[str], results: Mapping[int, RunResult], **choices: Any) -> None:
        self._runs, self._arguments, self._results = runs, arguments, results
        self._first = first_state(runs)
        super().__init__(replace(self._first, **{name: value for name, value in choices.items() if value is not None}))

    def settle(self, state: RunsState) -> RunsState:
        runs = self._runs
        state, selected = checked_quantities(runs, state), set(state.selected)
        if state.group_id is not None:
            group_id = checked_group(state.group_id, list(range(len(runs.groups))), "there is no group")
            members = runs.members(group_id)
            if selected - set(members):
                raise BgnbError("conflicting-arguments", "selected and group_id cannot be combined; give only one of them")
            return replace(state, group_id=group_id, selected=members)
        if unknown := sorted(selected.difference(runs.obs_ids.tolist())):
            reason = runs.selection.skipped.get(unknown[0])
            why = "does not exist" if reason is None else f"was skipped ({reason}), and is not in the table of runs"
            raise BgnbError("not-found", f"{runs.origin}: run {unknown[0]} {why}")
        return replace(state, selected=tuple(sorted(selected)))

    def update(self, **changes: Any) -> bool:
        if "selected" in changes:  # a list or an array, for instance
            changes = {"group_id": None} | changes | {"selected": checked_obs_ids("selected", changes["selected"])}
        return super().update(**changes)

    def view_of(self, state: RunsState) -> View:
        tested = selection_panels(self._results, state.selected) if self._results else None
        return runs_view(self._runs, state, tested)

    def act(self, action: Action) -> None:
        panel, x, y = action["panel"], action["x"], action["y"]
        if action["kind"] == "select":
            self.update(selected=runs_within(self._runs.obs_ids, *self._positions(action), action))
        elif panel in MAPS and x is not None and y is not None:
            nearest = nearest_run(self._runs.obs_ids, *self._positions(action), action)
            group_id = group_at(self._runs.groups, x, y) if panel == "groups" else None
            if nearest is not None:
                self.update(selected=tuple({nearest} ^ set(self.selected if action.get("add") else ())))
            elif group_id is not None:
                self.update(group_id=self._runs.model_id(group_id))
            elif not action.get("add"):
                self.update(selected=())

    def _positions(self, action: Action) -> tuple[Floats, Floats]:
        """Return the positions of the runs in the panel of an action; in histograms, those of kept runs at its height."""
        x, y = coordinates(self._runs, action["panel"], self.state)
        return (x, y) if action["panel"] in MAPS else (x, np.where(self._runs.kept, action["y"][0], np.nan))

    def save_selection(self, path: str | Path) -> None:
        """Write the OBS_IDs of the selected runs as a text file, which the argument ``select`` accepts.

        Parameters
        ----------
        path : path
            The file.

        Raises
        ------
        BgnbError
            If no run is selected, or the file cannot be written.
        """
        if not self.selected:
            raise BgnbError("no-runs", f"no run is selected, so '{path}' would be empty; select runs first")
        group = "" if self.group_id is None else f" of group {self.group_id}"
        lines = [f"# {format_count(len(self.selected), 'run')}{group} of {self._runs.origin}", *map(str, self.selected)]
        write_file(checked_path("path", path), ("\n".join(lines) + "\n").encode())

    def _save_selection(self) -> None:
        path = unused_path("selected_runs.txt")
        self.save_selection(path)
        self._say(f"Saved {path.resolve()}")

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
            placeholder="none; tap or drag in a plot", layout={"width": "auto"},
        )  # fmt: skip
        return {
            "group_id": replace(
                menu("group_id", "group", options),
                show=lambda state: {"value": _ANY_GROUP if state.group_id is None else state.group_id},
                change=lambda value: {"group_id": None if value == _ANY_GROUP else value},
            ),
            "y": menu("y", "show", list(runs.quantities)),
            "x": menu("x", "against", list(runs.abscissae)),
            "colour_by": menu("colour_by", "groups by", list(runs.of_groups)),
            "selected": Control(
                widget=text,
                show=lambda state: {"value": " ".join(map(str, state.selected))},
                change=lambda value: {"selected": numbers_in(value, "an OBS_ID")},
            ),
            "save_selection": button("save selection", partial(self.attempt, self._save_selection)),
        }

    @property
    def python(self) -> str:
        choices = [
            f"{name}={getattr(self, name)!r}"
            for name in ("y", "x", "colour_by")
            if getattr(self, name) != getattr(self._first, name)
        ]
        lines = f"import bgnb\n\nruns = bgnb.dashboards.explore_runs({', '.join([*self._arguments, *choices])})\n"
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
    checks: RunChecks | None = None,
    y: str | None = None,
    x: str | None = None,
    colour_by: str | None = None,
    **reading: Any,
) -> RunDashboard:
    """Explore runs: their pointings and rates, the selection with its reasons, and the groups.

    Tap a run or a group, or drag over several runs: they are selected in all plots. Tap with
    Shift to add or remove a run. ``dashboard.selected`` are the OBS_IDs, which
    `make_bg_cube_models` takes as ``select``, and ``dashboard.save_selection(path)`` writes them to a
    file for ``--select``.

    Runs stand out, and are marked, if the quantity shown differs from its median by more than 3.5 standard
    deviations, see ``docs/reference/dashboards.md``. Runs for which a test of ``checks`` gives an alarm have another colour.

    Parameters
    ----------
    indir : path
        Directory of runs; or, without a scheme, a directory of models, to explore the runs of
        the models. A run then belongs to each group to whose model it contributes, with its share of the livetime.
    scheme : str, optional
        Layout of a directory of runs.
    select, catalog, exclusion_radius, alt_edges, az_edges : as in `make_bg_cube_models`
        For a directory of models, only ``catalog`` may be given.
        Circles show the exclusion regions if runs near sources of this catalogue were dropped.
    checks : RunChecks, optional
        Result of `bgnb.check_runs`: adds the norm of each run, its alarms, the residual map of the selected runs,
        and the rate of the selected run against time.
    y : str, optional
        Quantity: "livetime", "event rate", "rate above threshold", "rate below threshold", "norm",
        "muon efficiency" or "live fraction", if it is known. The rates above and below the energy threshold are known
        for a directory of models, and the norm with ``checks``.
    x : str, optional
        Quantity against which it is shown: "time", "zenith angle", "muon efficiency" or "OBS_ID".
    colour_by : str, optional
        Colours of the groups: "livetime", "counts" or "runs".
    **reading
        ``pointing``, ``trust``, ``allow`` and ``events`` of `bgnb.open_runs`, with a scheme only. The dashboard shows the
        index of runs, of which ``pointing="computed"`` replaces altitude and azimuth.

    Returns
    -------
    RunDashboard
        A widget, see `Dashboard`.

    Raises
    ------
    BgnbError
        If the directory cannot be read, or an argument is invalid.

    Examples
    --------
    >>> import bgnb
    >>> dashboard = bgnb.dashboards.explore_runs("runs", "GADF", select="all")
    >>> dashboard.selected = [1, 2]
    >>> dashboard.save_selection("selected.txt")
    >>> bgnb.make_models("runs", "GADF", select="selected.txt", n_energy=10, n_fov=10).models
    ModelSet(spline of 2 runs, groups 27)
    """
    far = isinstance(select, str) and select.lower() == "far"
    default_radius = exclusion_radius is EXCLUSION_RADIUS
    indir = checked_path("indir", indir)
    arguments = [repr(str(indir))] + ([] if scheme is None else [repr(scheme)])
    if catalog is not None:
        arguments.append("catalog=catalog" if isinstance(catalog, Table) else f"catalog={str(catalog)!r}")
    if scheme is None:
        if reading or not (far and default_radius and alt_edges is None and az_edges is None):
            options = ", ".join(("select", "exclusion_radius", "alt_edges", "az_edges", *reading))
            raise BgnbError("no-effect", f"{indir}: {options} cannot be changed for a directory of models; {_NAME_THE_SCHEME}")
        shown = _runs_of_models(indir, catalog)
    else:
        radius = to_value("exclusion_radius", exclusion_radius, "deg")
        sources, groups = read_catalog(catalog), observation_groups(alt_edges, az_edges)
        if not isinstance(select, str | Path):
            select = checked_obs_ids("select", select)
        runs = open_runs(indir, scheme, **reading)
        _, selection = group_runs(runs, select_runs(runs, select, sources, radius * u.deg), groups)
        chosen = str(select) if isinstance(select, str | Path) else list(select)
        arguments += [] if default_radius else [f"exclusion_radius='{radius!r} deg'"]
        arguments += [] if far else [f"select={chosen!r}"]
        arguments += [] if alt_edges is None else [f"alt_edges={groups.alt_edges.value.tolist()}"]
        arguments += [] if az_edges is None else [f"az_edges={groups.az_edges.value.tolist()}"]
        arguments += [f"{name}={value!r}" for name, value in reading.items()]
        shown = RunSet(
            origin=str(indir), table=runs.table, selection=selection, groups=groups, catalog=sources,
            exclusion_radius=radius if far else None, notes=runs.notes,
        )  # fmt: skip
    results: dict[int, RunResult] = {}
    if checks is not None:
        arguments.append("checks=checks")
        shown, results = _with_checks(shown, checks)
    return RunDashboard(shown, arguments, results, y=y, x=x, colour_by=colour_by)


def _with_checks(runs: RunSet, checks: RunChecks) -> tuple[RunSet, dict[int, RunResult]]:
    """Add norms, alarms and notes of checks to runs; return them with the results of the runs."""
    if not isinstance(checks, RunChecks):
        raise BgnbError("invalid-argument", f"checks must be a result of bgnb.check_runs, got {quoted(checks)}")
    known = set(runs.obs_ids.tolist())
    results = {run.obs_id: run for run in checks.runs if run.obs_id in known}
    if not results:
        raise BgnbError("not-found", f"{runs.origin}: checks contains none of these runs; check them with bgnb.check_runs")
    norms = {obs_id: (run.norm.norm, run.norm.norm * run.norm.norm_error) for obs_id, run in results.items()}
    notes = [note for note in checks.notes if note not in runs.notes]
    if elsewhere := _that_pointed_elsewhere(runs.table, results):
        text = "checks may be of other runs with the same OBS_IDs: altitude and azimuth differ by more than"
        notes.append(f"{text} {tolerances.OTHER_SKY:g} deg for {numbered('run', elsewhere)}")
    added = replace(runs, measured={**runs.measured, "norm": norms}, alarms=checks.alarms, notes=(*runs.notes, *notes))
    return added, results


def _that_pointed_elsewhere(table: Table, results: Mapping[int, RunResult]) -> list[int]:
    """List the runs whose pointing in a table is not that of the results; azimuths may be counted from south."""
    rows = table[np.isin(table["OBS_ID"], list(results))]
    alt, az = (np.array([getattr(results[obs_id], name) for obs_id in rows["OBS_ID"]]) for name in ("alt_pnt", "az_pnt"))
    distances = [separation(rows["AZ_PNT"] + turn, rows["ALT_PNT"], az, alt) for turn in (0, 180)]
    return list(rows["OBS_ID"][np.min(distances, axis=0) > tolerances.OTHER_SKY].tolist())


def _runs_of_models(modeldir: Path, catalog: str | Path | Table | None) -> RunSet:
    """Read the runs from which the models of a directory were made."""
    path = find_fits(modeldir, GROUPED_RUNS_FILE)
    if path is None:
        if (modeldir / EPOCHS_FILE).exists():
            model_files(modeldir)  # its error names the directories of the epochs
        raise BgnbError(
            "not-found", f"{modeldir}: contains no models with their runs ({GROUPED_RUNS_FILE}); {_NAME_THE_SCHEME}"
        )
    try:
        table = read_table_file(path)
        report = read_report(modeldir)
        settings = report["settings"]
        # With a catalogue other than that of the selection, circles would show regions that were not excluded.
        dropped = (settings["select"], settings["sources"]) == ("far", "drop") and _is_same_catalog(
            catalog, settings["catalog"]
        )
        radius = float(settings["exclusion_radius_deg"]) if dropped else None
        skipped = {run["obs_id"]: Reason.from_text(run["reason"]) for run in report["runs"] if run["status"] != "used"}
        fractions = {
            run["obs_id"]: {_group(name): float(fraction) for name, fraction in run["group_fractions"].items()}
            for run in report["runs"]
            if run.get("group_fractions")
        }
        notes = tuple(map(str, report["notes"]))
        measured = _rates([run for run in report["runs"] if run["livetime_s"]])
        kept = tuple(int(obs_id) for obs_id in table["OBS_ID"])
        check_numbers(table)
    except Exception as error:  # Astropy's readers raise many kinds
        known = error.message if isinstance(error, BgnbError) else f"{path.name} or {REPORT} is damaged; make the models again"
        raise DataError("not-a-model", f"{modeldir}: the runs of the models cannot be read: {known}") from None
    groups, model_ids = read_groups(modeldir / GROUPS_FILE), read_model_ids(modeldir / GROUPS_FILE)
    selection, sources = Selection(kept, skipped), read_catalog(catalog)
    return RunSet(
        origin=str(modeldir), table=table, selection=selection, groups=groups, catalog=sources, exclusion_radius=radius,
        model_ids=model_ids, group_fractions=fractions, notes=notes, measured=measured,
    )  # fmt: skip


def _group(name: str) -> str:
    """Return the GROUP_ID that a report states as text, or "outside"; raise ValueError for another text."""
    return name if name == "outside" else str(int(name))


def _rates(runs: Iterable[Mapping[str, Any]]) -> dict[str, dict[int, tuple[float, float]]]:
    """Compute rates above and below the energy threshold, if there are such events, with errors from entries of a report."""
    rates: dict[str, dict[int, tuple[float, float]]] = {"rate above threshold": {}, "rate below threshold": {}}
    for run in runs:
        below = run["events_below_threshold"]
        above = run["counts"] + run["events_outside_axes"] + run["events_in_mask"]
        for name, events in zip(rates, (above, below), strict=True):
            rates[name][run["obs_id"]] = events / run["livetime_s"], max(events, 1) ** 0.5 / run["livetime_s"]
    return {name: values for name, values in rates.items() if any(rate > 0 for rate, _ in values.values())}


def _is_same_catalog(catalog: str | Path | Table | None, used: str | None) -> bool:
    """Compare a catalogue with the name in the settings of a report, where every table is named ``table``."""
    if catalog is None or used is None:
        return catalog is used
    if isinstance(catalog, Table):
        return used == "table"
    return Path(catalog).resolve() == Path(used).resolve()
