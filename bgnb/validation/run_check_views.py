"""Views of checked runs: rate against time, field of view, sky and spectrum, with the largest deviation marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from bgnb._util.arrays import Floats, quotient
from bgnb.plots.colours import GREY, LINES, SELECTED, Colours
from bgnb.plots.labels import format_number, with_minus
from bgnb.plots.view import Curve, Graph, Image, Panel, Range, Series, View, axis_range
from bgnb.validation.run_tests import RADII, Cells, Map, RunResult

#: Maximum number of runs on a page.
MAX_SHOWN = 300
# Significance of the first and the last colour.
_LIMIT = 5.0


def check_view(run: RunResult, verdict: str) -> View:
    """Draw the results of the tests of a run."""
    pointing = f"Altitude {run.alt_pnt:.1f}°, azimuth {run.az_pnt:.1f}°, {run.events} events"
    lines = [f"{verdict.capitalize()}. {pointing}, norm {run.norm.norm:.3f}, tilt {with_minus(f'{run.norm.tilt:+.3f}')}."]
    for name, test in run.tests.items():
        significance = with_minus(f"{test.significance:+.1f}")
        numbers = f"{test.counts} events for {test.expected:.1f} expected, {significance} standard deviations"
        lines.append(
            f"{name}: p = {format_number(test.p_value, 2)}; largest deviation: {with_minus(test.where) or 'none'}, {numbers}."
        )
    sky = f"Sky, circles of {RADII[0]:g} deg: significance"
    panels: dict[str, Panel] = {
        "time": _time_graph(run.time),
        "field": _field_image("Field of view: significance of cells", run.field),
        "sky": _image(sky, run.sky, "west of the pointing / deg", "north of the pointing / deg"),
        "energy": _energy_graph(run.energy),
    }
    return View(f"Run {run.obs_id}: {verdict}", "\n".join(lines), panels)


def selection_panels(runs: Mapping[int, RunResult], selected: Sequence[int]) -> dict[str, Panel]:
    """Draw the field of view of selected runs, and the rate of the first one against time.

    OBS_IDs without results are ignored; without any OBS_ID, all runs are shown. For several runs, the significance of each
    pixel is the sum of those of the runs over the square root of their number.
    """
    results = [runs[obs_id] for obs_id in selected or runs if obs_id in runs]
    example, none = next(iter(runs.values())), "not checked"
    if not results:
        blank = Map(
            edges=example.field.edges,
            significance=np.full_like(example.field.significance, np.nan),
            marked=np.zeros_like(example.field.marked),
        )
        nothing, empty = np.zeros(0), _time_graph(example.time)
        series = tuple(replace(each, name="", x=nothing, y=nothing, low=None, high=None) for each in empty.series)
        time = replace(empty, title=f"Rate against time: {none}", series=series, band=None)
        return {"field": _field_image(f"Residual map: {none}", blank), "time": time}
    first = results[0]
    time = _time_graph(first.time)
    of_several = f", first of {len(results)}" if len(results) > 1 else ""
    marked = "; marked: largest deviation" if first.time.marked.any() else ""
    time = replace(time, title=f"Run {first.obs_id}{of_several}\nRate{marked}")
    if len(results) == 1:
        marked = ", worst region marked" if first.field.marked.any() else ": residual map"
        return {"field": _field_image(f"Run {first.obs_id}{marked}", first.field), "time": time}
    maps = np.array([result.field.significance for result in results])
    known = np.isfinite(maps).sum(axis=0)
    total = np.where(known, np.nansum(maps, axis=0) / np.sqrt(np.maximum(known, 1)), np.nan)
    combined = Map(edges=first.field.edges, significance=total, marked=np.zeros_like(first.field.marked))
    which = f"{len(results)} runs" if selected else f"All {len(results)} runs"
    return {"field": _field_image(f"{which}: combined residuals", combined), "time": time}


def _field_image(title: str, values: Map) -> Image:
    return _image(title, values, "DETX / deg", "DETY / deg")


def _time_graph(cells: Cells) -> Graph:
    minutes, seconds = cells.edges / 60, np.diff(cells.edges, axis=1)[:, 0]
    middle, rate, expected = minutes.mean(axis=1), cells.counts / seconds, cells.expected / seconds
    error = np.sqrt(cells.expected) / seconds
    series = (
        Series("observed", middle, rate, "points", LINES[0], low=rate - error, high=rate + error),
        Series("expected", middle, expected, "line", LINES[1]),
    )
    ends = float(minutes[0, 0]), float(minutes[-1, 1])
    texts = "Rate of all events; marked: largest deviation", "time since the start / min", "events / s"
    limits = axis_range(rate - error, rate + error, expected, zero=True)
    return Graph(*texts, series, ends, limits, band=_marked_range(cells, minutes), legend="below")


def _energy_graph(cells: Cells) -> Graph:
    middle = np.sqrt(cells.edges.prod(axis=1))
    ratio, error = quotient(cells.counts, cells.expected), quotient(np.sqrt(cells.expected), cells.expected)
    error = np.minimum(error, 3.0)
    series = (Series("observed", middle, ratio, "points", LINES[0], low=ratio - error, high=ratio + error, legend=""),)
    ends = float(cells.edges[0, 0]), float(cells.edges[-1, 1])
    texts = "Spectrum; marked: largest deviation", "energy / TeV", "observed / expected"
    expected = Curve(x=np.array(ends), y=np.ones(2), colour=GREY)
    band = _marked_range(cells, cells.edges)
    return Graph(*texts, series, ends, (0.0, 2.0), x_log=True, band=band, legend="below", curves=(expected,))


def _marked_range(cells: Cells, edges: Floats) -> Range:
    """Return the range of the window with the largest deviation, empty if there is none."""
    if not cells.marked.any():
        return float(edges[0, 0]), float(edges[0, 0])
    return float(edges[cells.marked][0, 0]), float(edges[cells.marked][-1, 1])


def _image(title: str, values: Map, x_label: str, y_label: str) -> Image:
    x, y = _outline(values)
    colours = Colours("diverging", "linear", -_LIMIT, _LIMIT, 0.0)
    marks = (Curve(x=x, y=y, colour=SELECTED, width=2.0),)
    return Image(
        title, x_label, y_label, "standard deviations", values.significance, values.edges, values.edges, colours, marks
    )


def _outline(values: Map) -> tuple[Floats, Floats]:
    """Return the sides between marked and other pixels, interrupted between them."""
    edges, inside = values.edges, np.pad(values.marked, 1)
    rows, columns = np.nonzero(inside[1:-1, 1:] != inside[1:-1, :-1])  # vertical sides
    gap = np.full(len(rows), np.nan)
    x, y = [edges[columns], edges[columns], gap], [edges[rows], edges[rows + 1], gap]
    rows, columns = np.nonzero(inside[1:, 1:-1] != inside[:-1, 1:-1])
    gap = np.full(len(rows), np.nan)
    across = [edges[columns], edges[columns + 1], gap], [edges[rows], edges[rows], gap]
    return tuple(np.concatenate([np.ravel(one, "F"), np.ravel(other, "F")]) for one, other in zip((x, y), across, strict=True))  # type: ignore[return-value]
