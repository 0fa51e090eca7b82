"""Views of runs: sky, groups, and quantities such as rates, with the selection and the runs that stand out marked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bgnb._util.arrays import Bools, Floats
from bgnb._util.checks import checked_choice
from bgnb._util.errors import enumerate_values, printable
from bgnb._util.outliers import Deviations
from bgnb.plots import sky_map
from bgnb.plots.colours import LINES, SELECTED
from bgnb.plots.labels import format_count, format_number
from bgnb.plots.pointing_map import pointing_map, to_plane
from bgnb.plots.run_set import ABSCISSAE, QUANTITIES, SOURCES, RunSet
from bgnb.plots.view import Curve, Graph, Panel, Range, Series, Style, View, axis_range, histogram

_KEPT, _SKIPPED, _STANDS_OUT, _ALARM, _LIMIT = LINES[0], "#999999", LINES[1], LINES[4], "#888888"
#: Values that give groups their colours: label and unit.
COLOURED = {
    "livetime": ("Livetime of the kept runs", "h"),
    "counts": ("Events of the kept runs", "events"),
    "runs": ("Runs per group", ""),
}
#: Panels in which runs have a position.
MAPS = ("sky", "groups", "values")
#: Histograms of one quantity, shown if the runs were not checked.
HISTOGRAMS = {"zenith": "zenith angle", "muoneff": "muon efficiency"}
# Minimum height of the axis of a histogram, so that its ticks are whole numbers.
_MIN_HEIGHT = 4.0
# Quantities without a unit.
_RATIOS = ("norm", "live fraction")
# Maximum number of runs that are named.
_MAX_NAMED = 8
# Width of a letter of a name, as a fraction of the axis.
_LETTER = 0.02


@dataclass(frozen=True, kw_only=True)
class RunsState:
    """State of the dashboard of runs.

    Parameters
    ----------
    selected : tuple of int
        OBS_IDs of the selected runs.
    group_id : int, optional
        The group if all its runs are selected.
    y : str
        Quantity, see `QUANTITIES`.
    x : str
        Quantity against which it is drawn, see `ABSCISSAE`.
    colour_by : str
        Values that give groups their colours, see `COLOURED`.
    """

    selected: tuple[int, ...] = ()
    group_id: int | None = None
    y: str = "livetime"
    x: str = "OBS_ID"
    colour_by: str = "runs"


def first_state(runs: RunSet) -> RunsState:
    """Choose the state that is shown first: the most telling quantities that are known."""
    y = next(name for name in ("norm", "rate above threshold", "event rate", "livetime") if name in runs.quantities)
    x = next(name for name in ABSCISSAE if name in runs.abscissae and name != "muon efficiency")
    return RunsState(y=y, x=x, colour_by=next(iter(runs.of_groups)))


def checked_quantities(runs: RunSet, state: RunsState) -> RunsState:
    """Return a state with the names of known quantities, ignoring case; raise `BgnbError` if one is not known."""
    known: dict[str, Iterable[str]] = {"y": runs.quantities, "x": runs.abscissae, "colour_by": runs.of_groups}
    return replace(state, **{name: checked_choice(name, getattr(state, name), choices) for name, choices in known.items()})


def coordinates(runs: RunSet, panel: str, state: RunsState) -> tuple[Floats, Floats]:
    """Return the positions of the runs in a panel; y is NaN in histograms."""
    if panel == "sky":
        return sky_map.to_map(runs.column("RA_PNT"), runs.column("DEC_PNT"), runs.centre)
    if panel == "groups":
        return to_plane(runs.column("ALT_PNT"), runs.column("AZ_PNT"))
    none = np.full(len(runs.obs_ids), np.nan)
    if panel == "values":
        return runs.abscissae[state.x][1], runs.quantities[state.y][0]
    if panel == "histogram":
        return runs.quantities[state.y][0], none
    return runs.abscissae.get(HISTOGRAMS[panel], ("", none))[1], none


def runs_view(runs: RunSet, state: RunsState, tested: Mapping[str, Panel] | None = None) -> View:
    """Draw runs on the sky, in their groups, and their quantities, with the selection marked.

    Parameters
    ----------
    runs : `RunSet`
        Runs.
    state : `RunsState`
        State.
    tested : mapping of str to `Image` or `Graph`, optional
        Panels with tests of the selected run; by default there are histograms in their place.

    Returns
    -------
    View
        Panels ``sky``, ``groups``, ``histogram``, ``values``, and two others.
    """
    selected = np.isin(runs.obs_ids, state.selected)
    panels: dict[str, Panel] = {
        "sky": _sky_map(runs, state, selected),
        "groups": _group_map(runs, state, selected),
        "histogram": _histogram(runs, state, "histogram", selected),
        "values": _values_graph(runs, state, selected),
    }
    panels |= tested or {name: _histogram(runs, state, name, selected) for name in HISTOGRAMS}
    lines = [_describe_runs(runs), _describe_selection(runs, state, selected), *_describe_marked(runs, state, selected)]
    lines += [f"Note: {note}" for note in runs.notes]
    return View(printable(f"Runs of {Path(runs.origin).name}"), "\n".join(map(printable, lines)), panels)


def _describe_runs(runs: RunSet) -> str:
    kept, skipped = len(runs.selection.kept), runs.selection.skipped
    counts = Counter(reason.kind for reason in skipped.values()).most_common()
    reasons = ": " + ", ".join(f"{times} {kind}" for kind, times in counts) if skipped else ""
    return f"{format_count(kept + len(skipped), 'run')} in {runs.origin}: {kept} kept, {len(skipped)} skipped{reasons}."


def _describe_selection(runs: RunSet, state: RunsState, selected: Bools) -> str:
    if len(state.selected) == 1:
        run = {name: values[int(np.argmax(selected))] for name, values in runs.details.items()}
        pointing = f"altitude {run['altitude']}, azimuth {run['azimuth']}"
        return f"Selected: run {run['OBS_ID']} {run['OBJECT']}, {pointing}, livetime {run['livetime']}, {run['status']}."
    if state.selected:
        share = np.ones(len(selected)) if state.group_id is None else runs.shares[state.group_id]
        livetime = (runs.column("LIVETIME") * share)[selected]
        part = " in this group" if (share[selected] < 1).any() else ""
        hours = f", {np.nansum(livetime) / 3600:.2f} h{part}" if np.isfinite(livetime).any() else ""
        group = "" if state.group_id is None else f" of group {state.group_id}"
        return f"Selected: {len(state.selected)} runs{group}{hours}, {np.count_nonzero(selected & runs.kept)} of them kept."
    if state.group_id is not None:
        model_id = runs.model_id(state.group_id)
        merged = f": it was merged into group {model_id}" if model_id != state.group_id else ""
        return f"Group {state.group_id} has no runs{merged}."
    return "No runs selected: tap a run or a group, or drag over several runs."


def _describe_marked(runs: RunSet, state: RunsState, selected: Bools) -> list[str]:
    """Describe the quantity, the runs that stand out or give an alarm, and those that its axis does not show."""
    found, values = runs.deviations(state.y), runs.quantities[state.y][0]
    unit = "" if state.y in _RATIOS else QUANTITIES[state.y].partition(" / ")[2]
    name = f"{state.y.capitalize()}{' (all events, not corrected for zenith angle)' * (state.y == 'event rate')}"
    middle = f"median {format_number(found.median)} {unit}".rstrip() if np.isfinite(found.median) else "not known"
    wide = f", {describe_scatter(found)}" if found.enough else ""
    far = [str(obs_id) for obs_id in runs.obs_ids[found.stand_out]]
    which = f"{format_count(len(far), 'run')} {'stand' if len(far) > 1 else 'stands'} out: {enumerate_values(far, _MAX_NAMED)}"
    lines = [f"{name}: {middle}{wide}; {which if far else 'no run stands out'}."]
    alarms = [f"{obs_id} ({', '.join(runs.alarms[obs_id])})" for obs_id in runs.obs_ids[runs.with_alarm].tolist()]
    if alarms:
        lines.append(f"Alarms of the checks: {format_count(len(alarms), 'run')}: {enumerate_values(alarms, _MAX_NAMED)}.")
    low, high = _value_range(runs, state, selected)
    if beyond := int(np.count_nonzero((values < low) | (values > high))):
        lines.append(f"The axis of the {state.y} does not contain {format_count(beyond, 'skipped run')}.")
    return lines


def describe_scatter(found: Deviations) -> str:
    """Describe the scatter of values, and the deviation from which one stands out, relative to the median if possible."""
    scatter, limit = found.scatter, found.limits[1] - found.median
    if found.median > 0:
        texts = [f"{format_number(100 * value / found.median, 2)} %" for value in (scatter, limit)]
    else:
        texts = [format_number(value, 2) for value in (scatter, limit)]
    return f"scatter {texts[0]}, so that only deviations of more than about {texts[1]} stand out"


def shown_limits(found: Deviations) -> Floats:
    """Return the positive limits beyond which a value stands out; none without enough values."""
    return np.array([limit for limit in found.limits if found.enough and limit > 0])


def limit_curves(found: Deviations, x_range: Range) -> tuple[Curve, ...]:
    """Draw the median of values, and the limits beyond which one stands out if there are enough values."""
    x = np.array(x_range)
    if not np.isfinite(found.median):
        return ()
    return (
        Curve(x=x, y=np.full(2, found.median), colour=_LIMIT, name="median", dash="dashed"),
        *(Curve(x=x, y=np.full(2, limit), colour=_LIMIT, name="3.5 σ", dash="dotted") for limit in shown_limits(found)),
    )


def _value_range(runs: RunSet, state: RunsState, selected: Bools) -> Range:
    """Choose the ends of the axis of a quantity from the kept and the selected runs, and the limits of standing out."""
    values, errors = runs.quantities[state.y]
    shown = (runs.kept | selected) & np.isfinite(values)
    shown = shown if shown.any() else np.isfinite(values)
    span = np.nan_to_num(errors)
    return axis_range((values - span)[shown], (values + span)[shown], shown_limits(runs.deviations(state.y)))


def _points(
    runs: RunSet,
    panel: str,
    state: RunsState,
    sets: Iterable[tuple[str, Bools, str, str]],
    more: Mapping[str, list[str]],
    errors: Floats | None = None,
    small: bool = False,
) -> tuple[Series, ...]:
    """Draw sets of runs: their names, masks, colours, and names in the legend. Runs that are not selected may be small."""
    x, y = coordinates(runs, panel, state)
    texts, series = {**runs.details, **more}, []
    for name, mask, colour, legend in sets:
        details = {key: [values[i] for i in np.flatnonzero(mask)] for key, values in texts.items()}
        low, high = (None, None) if errors is None else ((y - errors)[mask], (y + errors)[mask])
        style: Style = "dots" if small and colour != SELECTED else "points"
        shown = legend if mask.any() else ""
        series.append(Series(name, x[mask], y[mask], style, colour, low, high, details=details, legend=shown))
    return tuple(series)


def _common_sets(runs: RunSet, selected: Bools, named: bool) -> list[tuple[str, Bools, str, str]]:
    """List sets of runs; a legend of one map explains the colours of all panels."""
    sets = (("skipped", ~runs.kept, _SKIPPED), ("kept", runs.kept, _KEPT), ("selected", selected, SELECTED))
    return [(name, mask, colour, f"{np.count_nonzero(mask)} {name}" if named else "") for name, mask, colour in sets]


def _sky_map(runs: RunSet, state: RunsState, selected: Bools) -> Graph:
    catalog, centre = runs.catalog, runs.centre
    details = {"source": [str(source) for source in catalog["NAME"]]} | _positions(catalog["RA"], catalog["DEC"])
    x, y = sky_map.to_map(catalog["RA"], catalog["DEC"], centre)
    sources = Series("sources", x, y, "dots", SOURCES, details=details)
    points = _points(
        runs, "sky", state, _common_sets(runs, selected, False), _positions(runs.column("RA_PNT"), runs.column("DEC_PNT"))
    )
    regions = () if runs.exclusion_regions is None else (runs.exclusion_regions,)
    return Graph(
        "Runs on the sky", sky_map.X_LABEL, sky_map.Y_LABEL, (sources, *points), sky_map.X_RANGE, sky_map.Y_RANGE,
        texts=(*_names_on_sky(runs, state, selected), *sky_map.labels(centre)), legend="below",
        curves=(*sky_map.background(centre), *regions), is_map=True,
    )  # fmt: skip


def _names_on_sky(runs: RunSet, state: RunsState, selected: Bools) -> list[tuple[float, float, str]]:
    """Place the OBS_IDs of runs that stand out or give an alarm, and of a few selected runs; texts are centred."""
    marked, few = runs.deviations(state.y).stand_out | runs.with_alarm, np.count_nonzero(selected) <= _MAX_NAMED
    rows = [*np.flatnonzero(marked).tolist(), *np.flatnonzero(selected & ~marked & few).tolist()]
    ranges = sky_map.X_RANGE, sky_map.Y_RANGE
    placed = _place_names(_names_at(runs, rows, *coordinates(runs, "sky", state)), *ranges)
    half = _LETTER / 2 * (ranges[0][1] - ranges[0][0])
    return [(left + half * len(name), y, name) for left, y, name in placed]


def _names_at(runs: RunSet, rows: Iterable[int], x: Floats, y: Floats) -> list[tuple[float, float, str]]:
    """List the OBS_IDs of runs with their positions, if these are known."""
    return [(float(x[row]), float(y[row]), str(runs.obs_ids[row])) for row in rows if np.isfinite(x[row] + y[row])]


def _positions(ra: Any, dec: Any) -> dict[str, list[str]]:
    return {name: [f"{format_number(value, 5)}°" for value in values] for name, values in (("RA", ra), ("DEC", dec))}


def _group_map(runs: RunSet, state: RunsState, selected: Bools) -> Graph:
    label, unit = COLOURED[state.colour_by]
    details: dict[int, dict[str, str]] = {}
    for name, values in runs.of_groups.items():
        if name != state.colour_by:
            for group_id, value in values.items():
                details.setdefault(group_id, {})[name] = (
                    f"{format_number(value, 6 if name == 'counts' else 3)} {COLOURED[name][1]}".rstrip()
                )
    values = runs.of_groups[state.colour_by]
    return pointing_map(
        runs.groups, runs.model_ids, values, label, unit,
        quantity=state.colour_by * (state.colour_by != "counts"),  # the unit describes these
        chosen=state.group_id,
        series=_points(runs, "groups", state, _common_sets(runs, selected, True), {}, small=True),
        details=details,
    )  # fmt: skip


def _values_graph(runs: RunSet, state: RunsState, selected: Bools) -> Graph:
    values, errors = runs.quantities[state.y]
    x_label, x = runs.abscissae[state.x]
    found = runs.deviations(state.y)
    far, alarm = found.stand_out, runs.with_alarm
    sets = [
        ("skipped", ~runs.kept, _SKIPPED, ""), ("kept", runs.kept & ~far & ~alarm, _KEPT, ""),
        ("outlier", far & ~alarm, _STANDS_OUT, "outlier"), ("alarm", alarm, _ALARM, "alarm"),
        ("selected", selected, SELECTED, ""),
    ]  # fmt: skip
    reasons = {
        state.y: [format_number(value, 4) for value in values],
        "stands out": ["yes" if each else "" for each in far.tolist()],
    }
    if runs.alarms:
        reasons["alarms"] = [", ".join(runs.alarms.get(i, ())) for i in runs.obs_ids.tolist()]
    points = _points(runs, "values", state, sets, reasons, errors)
    x_range = axis_range(x[np.isfinite(values)])
    y_range, curves = _value_range(runs, state, selected), limit_curves(found, x_range)
    texts = _place_names(_names_at(runs, np.flatnonzero(far | alarm).tolist(), x, values), x_range, y_range)
    title = f"{state.y.capitalize()} against {state.x}"
    return Graph(title, x_label, QUANTITIES[state.y], points, x_range, y_range, texts=texts, legend="below", curves=curves)


def _place_names(names: list[tuple[float, float, str]], x_range: Range, y_range: Range) -> tuple[tuple[float, float, str], ...]:
    """Move names beside their points, and omit those that would overlap another one."""
    (x_low, x_high), (y_low, y_high) = x_range, y_range
    width, height = x_high - x_low, y_high - y_low
    placed: list[tuple[float, float, str]] = []
    for x, y, name in names:
        length = _LETTER * len(name) * width
        left = x + 0.015 * width if x + length < x_high else x - length
        if all(abs(left - other[0]) > length or abs(y - other[1]) > 0.06 * height for other in placed):
            placed.append((left, y, name))
    return tuple(placed[:_MAX_NAMED])


def _histogram(runs: RunSet, state: RunsState, panel: str, selected: Bools) -> Graph:
    name = state.y if panel == "histogram" else HISTOGRAMS[panel]
    label = QUANTITIES.get(name, f"{name} / deg")
    values, _ = coordinates(runs, panel, state)
    known = np.isfinite(values)
    shown = known & (runs.kept | selected)
    ends = axis_range(values[shown if shown.any() else known])
    edges = np.linspace(*ends, 21)
    kept = histogram("kept", values[runs.kept & known], edges, _KEPT)
    chosen = histogram("selected", values[selected & known], edges, SELECTED, None if selected.any() else "")
    title = f"{name.capitalize()} of runs" if known.any() else f"The {name} of these runs is not known"
    return Graph(
        title,
        label,
        "runs",
        (kept, chosen),
        ends,
        axis_range(kept.y, chosen.y, np.full(1, _MIN_HEIGHT), zero=True),
        legend="below",
    )
