"""Views of checked runs: rate against time, field of view, sky and spectrum, with the largest deviation marked."""

from __future__ import annotations

import numpy as np

from bgnb._util.arrays import Floats, quotient
from bgnb.plots.colours import GREY, LINES, Colours
from bgnb.plots.labels import format_number
from bgnb.plots.view import Graph, Image, Panel, Range, Series, View, axis_range
from bgnb.validation.run_tests import RADII, Cells, Map, RunResult

#: Maximum number of runs on a page.
MAX_SHOWN = 300
# Significance of the first and the last colour.
_LIMIT = 5.0


def check_view(run: RunResult, verdict: str) -> View:
    """Draw the results of the tests of a run."""
    pointing = f"altitude {run.alt_pnt:.1f}°, azimuth {run.az_pnt:.1f}°, {run.events} events"
    lines = [f"Verdict: {verdict}. {pointing}, norm {run.norm.norm:.3f}, tilt {run.norm.tilt:+.3f}."]
    for name, test in run.tests.items():
        numbers = f"{test.counts} events for {test.expected:.1f} expected, {test.significance:+.1f} standard deviations"
        lines.append(f"{name}: p = {format_number(test.p_value, 2)}; largest deviation: {test.where or 'none'}, {numbers}.")
    sky = f"Sky, circles of {RADII[0]:g} deg: significance"
    panels: dict[str, Panel] = {
        "time": _time_graph(run.time),
        "field": _image("Field of view: significance of cells", run.field, "DETX / deg", "DETY / deg"),
        "sky": _image(sky, run.sky, "west of the pointing / deg", "north of the pointing / deg"),
        "energy": _energy_graph(run.energy),
    }
    return View(f"Run {run.obs_id}: {verdict}", "\n".join(lines), panels)


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
    series = (
        Series("", middle, np.ones(len(middle)), "line", GREY),
        Series("", middle, ratio, "points", LINES[0], low=ratio - error, high=ratio + error),
    )
    ends = float(cells.edges[0, 0]), float(cells.edges[-1, 1])
    texts = "Spectrum; marked: largest deviation", "energy / TeV", "observed / expected"
    return Graph(*texts, series, ends, (0.0, 2.0), x_log=True, band=_marked_range(cells, cells.edges), legend="below")


def _marked_range(cells: Cells, edges: Floats) -> Range:
    """Return the range of the window with the largest deviation, empty if there is none."""
    if not cells.marked.any():
        return float(edges[0, 0]), float(edges[0, 0])
    return float(edges[cells.marked][0, 0]), float(edges[cells.marked][-1, 1])


def _image(title: str, values: Map, x_label: str, y_label: str) -> Image:
    y, x = np.nonzero(values.marked)
    edges = values.edges
    box = tuple(float(edges[at]) for at in (x.min(), x.max() + 1, y.min(), y.max() + 1)) if len(x) else (0.0,) * 4
    colours = Colours("diverging", "linear", -_LIMIT, _LIMIT, 0.0)
    texts = title, x_label, y_label, "standard deviations"
    return Image(*texts, values.significance, edges, edges, colours, (box,))  # type: ignore[arg-type]
