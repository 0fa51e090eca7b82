"""Report on a production of models: the outcome of every run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from astropy.table import Table

from bgnb._util.errors import numbered
from bgnb.cubes.event_cuts import EXCLUDED, RunCounts, add_pieces
from bgnb.observations.findings import notes_of_runs
from bgnb.observations.groups import OUTSIDE, OUTSIDE_GROUPS
from bgnb.observations.run_selection import Reason, Selection
from bgnb.production.count_chunks import Counted

#: Fraction of the events above threshold from which on many are outside the axes.
MANY_OUTSIDE = 0.1
_COUNTED = ("livetime_s", "events", *EXCLUDED, "counts")
_NO_COUNTS = Reason("in a group without counts inside the axes, above the energy thresholds and outside exclusion regions")
# Advice by kind of reason, if no run is left.
_ADVICE = {
    "near a known source": "use --sources mask, --select all or a smaller --exclusion-radius",
    OUTSIDE_GROUPS.kind: "use other group edges (--alt-edges, --az-edges), or --pointing computed if the index is wrong",
    _NO_COUNTS.kind: "check the axes and the exclusion regions (--exclude, --mask-radius)",
}


@dataclass(frozen=True)
class RunReport:
    """Result for one run of the input: used in one or more groups, or skipped for a reason.

    Parameters
    ----------
    obs_id : int
        Number of the run.
    group_id : int or None
        The group to which it contributes most livetime; None if it was not counted.
    reason : Reason or None
        Reason for skipping it.
    counted : RunCounts or None
        Sum over all groups. The livetime is that in groups.
    group_fractions : mapping of str to float
        Fraction of the livetime in each group, by GROUP_ID, and "outside" all groups; empty if the
        whole run is in one group.
    """

    obs_id: int
    group_id: int | None
    reason: Reason | None
    counted: RunCounts | None
    group_fractions: Mapping[str, float] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the entry in ``report.json``."""
        return {
            "obs_id": self.obs_id,
            "status": "used" if self.reason is None else "skipped",
            "reason": None if self.reason is None else str(self.reason),
            "group_id": self.group_id,
            "group_fractions": dict(self.group_fractions),
            "energy_threshold_tev": self.counted.energy_threshold_tev if self.counted else None,
            "energy_limit_tev": self.counted.energy_limit_tev if self.counted else None,
            **{name: getattr(self.counted, name) if self.counted else None for name in _COUNTED},
            "notes": list(self.counted.notes) if self.counted else [],
        }


@dataclass(frozen=True)
class GroupReport:
    """Result for one group with a model, and the groups that were merged into it.

    Altitudes and azimuths are those of the runs, not the edges of the group. The edge of the camera
    is described if one was found.
    """

    group_id: int
    n_runs: int
    livetime_s: float
    counts: int
    alt_mean_deg: float
    alt_min_deg: float
    alt_max_deg: float
    az_mean_deg: float
    files: tuple[str, ...]
    merged: tuple[int, ...] = ()
    camera_edge: str | None = None


@dataclass(frozen=True)
class Report:
    """Report of `bgnb.make_bg_cube_models`.

    Parameters
    ----------
    runs : tuple of RunReport
        Every run of the input, in order of OBS_ID.
    groups : tuple of GroupReport
        Every group with a model, in order of GROUP_ID.
    settings : mapping
        All settings, including defaults.
    notes : tuple of str
        Warnings raised while the index of runs was read, and notes on the groups.
    """

    runs: tuple[RunReport, ...]
    groups: tuple[GroupReport, ...]
    settings: Mapping[str, Any]
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Report({len(self.group_ids)} of {len(self.runs)} runs used, {len(self.groups)} groups)"

    @property
    def table(self) -> Table:
        """One row per group: runs, counts, livetime, mean and range of the altitudes of the runs, mean azimuth, table file."""
        table = Table()
        table["GROUP_ID"] = np.array([group.group_id for group in self.groups], dtype=int)
        table["RUNS"] = np.array([group.n_runs for group in self.groups], dtype=int)
        table["COUNTS"] = np.array([group.counts for group in self.groups], dtype=int)
        for name, unit, values in (
            ("LIVETIME", "h", [group.livetime_s / 3600 for group in self.groups]),
            ("ALT_MEAN", "deg", [group.alt_mean_deg for group in self.groups]),
            ("ALT_MIN", "deg", [group.alt_min_deg for group in self.groups]),
            ("ALT_MAX", "deg", [group.alt_max_deg for group in self.groups]),
            ("AZ_MEAN", "deg", [group.az_mean_deg for group in self.groups]),
        ):
            table[name] = np.array(values, dtype=float)
            table[name].unit = unit
            table[name].info.format = ".2f"
        table["FILE"] = [group.files[0] for group in self.groups]
        return table

    @property
    def group_ids(self) -> dict[int, int]:
        """GROUP_ID of each run used, by OBS_ID: of several, that with most of its livetime."""
        return {run.obs_id: run.group_id for run in self.runs if run.reason is None and run.group_id is not None}

    @property
    def selection(self) -> Selection:
        """Runs that were used, and the reasons why others were skipped."""
        return Selection(tuple(self.group_ids), {run.obs_id: run.reason for run in self.runs if run.reason is not None})

    @property
    def faults(self) -> dict[int, str]:
        """Errors of the runs that cannot be used, by OBS_ID."""
        return {run.obs_id: run.reason.detail for run in self.runs if run.reason and run.reason.is_error}

    @property
    def summary(self) -> str:
        """Numbers of runs and events that were used, skipped or excluded, in a few lines."""
        skipped = [run.reason for run in self.runs if run.reason is not None]
        counted = [run.counted for run in self.runs if run.counted and run.reason is None]
        divided = sum(len(run.group_fractions) > 1 for run in self.runs if run.reason is None)
        lines = [f"{len(self.runs) - len(skipped)} of {len(self.runs)} runs used, {len(skipped)} skipped"]
        lines += [f"  {line}" for line in count_reasons(skipped)]
        sums = {name: sum(getattr(run, name) for run in counted) for name in _COUNTED}
        if divided:
            lines.append(f"runs that point into several groups, and contribute to each for the time that they do: {divided}")
        lines.append(f"{sums['counts']} of their {sums['events']} events counted, excluded:")
        if sums["events_outside_groups"]:
            lines.append(f"  {sums['events_outside_groups']} while altitude and azimuth were outside all groups")
        lines.append(f"  {sums['events_outside_gti']} outside the good time intervals")
        lines.append(f"  {sums['events_below_threshold']} below the energy threshold or in the bin that contains it")
        if sums["events_above_limit"]:
            lines.append(f"  {sums['events_above_limit']} above the energy limit or in the bin that contains it")
        outside = sums["events_outside_axes"]
        lines.append(f"  {outside} outside the axes")
        if outside > MANY_OUTSIDE * (outside + sums["counts"]):
            low, high, fov = (self.settings[name] for name in ("energy_min_tev", "energy_max_tev", "fov_max_deg"))
            lines[-1] += f", which extend from {low:g} to {high:g} TeV and to {fov:.3g} deg"
        if sums["events_in_mask"]:
            lines.append(f"  {sums['events_in_mask']} in exclusion regions")
        lines += self._groups_without_model
        for group in self.groups:
            if group.merged:
                several = len(group.merged) > 1
                merged = f"{numbered('group', group.merged)} {'are' if several else 'is'} merged"
                lines.append(f"{merged} into group {group.group_id} and use{'s' * (not several)} its model")
        return "\n".join([*lines, *(f"note: {note}" for note in [*self.notes, *self._notes_of_runs])])

    @property
    def _groups_without_model(self) -> list[str]:
        """State how many groups have no model, and where the rate comes from there; nothing if the groups are not known."""
        edges = [self.settings.get(f"{axis}_edges_deg") or () for axis in ("alt", "az")]
        n_groups = (len(edges[0]) - 1) * (len(edges[1]) - 1)
        number = n_groups - sum(1 + len(group.merged) for group in self.groups)
        if not self.groups or number <= 0:
            return []
        models = f"{len(self.groups)} model{'s' * (len(self.groups) > 1)} for {n_groups} groups"
        others = f"the other {f'{number} groups' if number > 1 else 'group'} from {'these' if len(self.groups) > 1 else 'it'}"
        return [f"{models}; attach and validate derive the rate of runs in {others}"]

    @property
    def _notes_of_runs(self) -> list[str]:
        """Warnings raised while the runs were read, each with the OBS_IDs of the runs concerned."""
        used = {run.obs_id: run.counted for run in self.runs if run.counted and run.reason is None}
        telescopes = Counter(run.n_tels for run in used.values() if run.n_tels is not None)
        lines = notes_of_runs({obs_id: run.all_notes for obs_id, run in used.items()})
        if len(telescopes) > 1:
            numbers = ", ".join(f"{n_tels} in {n} run{'s' * (n > 1)}" for n_tels, n in sorted(telescopes.items()))
            lines.append(f"runs have different numbers of telescopes (N_TELS): {numbers}")
        return lines

    def __str__(self) -> str:
        return "\n".join([*self.table.pformat(max_lines=-1, max_width=-1), self.summary])

    def as_dict(self) -> dict[str, Any]:
        """Return the content of ``report.json``."""
        return self.content | {"runs": [run.as_dict() for run in self.runs]}

    @property
    def content(self) -> dict[str, Any]:
        """Content of ``report.json``; an iterator makes the entries of runs, of which there may be many."""
        return {
            "runs": (run.as_dict() for run in self.runs),
            "groups": [asdict(group) for group in self.groups],
            "notes": [*self.notes, *self._notes_of_runs],
            "settings": self.settings,
        }


def run_reports(counted: Counted, with_model: Collection[int] | None = None) -> list[RunReport]:
    """Report on the runs that were counted, in order of OBS_ID.

    Parameters
    ----------
    counted : Counted
        Counts, and errors of runs.
    with_model : collection of int, optional
        GROUP_IDs of the groups with a model; by default all.
    """
    reports = [RunReport(obs_id, None, Reason.from_error(error), None) for obs_id, error in counted.errors.items()]
    for obs_id, pieces in counted.pieces.items():
        inside = {group_id: run for group_id, run in pieces.items() if group_id != OUTSIDE}
        if not inside:
            reports.append(RunReport(obs_id, None, OUTSIDE_GROUPS, None))
            continue
        used = inside.keys() if with_model is None else inside.keys() & set(with_model)
        most = max(used or inside, key=lambda group_id: (inside[group_id].livetime_s, -group_id))
        seconds = {str(group_id): run.livetime_s for group_id, run in inside.items()}
        outside = [replace(pieces[OUTSIDE], livetime_s=0.0)] if OUTSIDE in pieces else []
        if outside:
            seconds["outside"] = pieces[OUTSIDE].livetime_s
        fractions = {name: value / sum(seconds.values()) for name, value in seconds.items()} if len(seconds) > 1 else {}
        reason = None if used else _NO_COUNTS
        reports.append(RunReport(obs_id, most, reason, add_pieces([*inside.values(), *outside]), fractions))
    return sorted(reports, key=lambda run: run.obs_id)


def count_reasons(reasons: Iterable[Reason]) -> list[str]:
    """Count the runs by kind of reason, one line per kind, followed by the descriptions of errors."""
    reasons = list(reasons)
    lines = [f"{number} {kind}" for kind, number in Counter(reason.kind for reason in reasons).most_common()]
    return lines + sorted(reason.detail for reason in reasons if reason.is_error)


def in_one_line(reasons: Iterable[Reason]) -> str:
    """Count the runs by kind of reason in one line, and the errors by code, with an example of the most frequent one."""
    reasons = list(reasons)
    kinds = [f"{number} {kind}" for kind, number in Counter(reason.kind for reason in reasons).most_common()]
    errors = sorted(reason.detail.removesuffix("]").rpartition(" [")[::2] for reason in reasons if reason.is_error)
    if not errors:
        return ", ".join(kinds)
    codes = Counter(code for _, code in errors).most_common()
    most, number = codes[0]
    example = next(text for text, code in errors if code == most)
    if number == len(reasons):
        return example + f" (and {number - 1} more run{'s' * (number > 2)})" * (number > 1)
    counts = [f"{n} {code}" for code, n in codes]
    counts[0] += f" ({'such as ' * (number > 1)}{example})"
    return f"{', '.join(kinds)}; errors: {', '.join(counts)}"


def explain(reasons: Iterable[Reason]) -> str:
    """Explain why no run is left, and advise what to do."""
    reasons = list(reasons)
    kinds = {reason.kind for reason in reasons}
    return "; ".join([in_one_line(reasons), *(advice for kind, advice in _ADVICE.items() if kind in kinds)])


def explain_masked(reasons: Iterable[Reason]) -> str:
    """Explain why no run is left where known sources are always masked, and advise what to do."""
    reasons = list(reasons)
    is_near = any(reason.kind == "near a known source" for reason in reasons)
    return in_one_line(reasons) + "; use --select all, as known sources do not enter the result" * is_near
