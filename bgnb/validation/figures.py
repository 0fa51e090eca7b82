"""Plots of validations."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy import stats

from bgnb.plots.colours import GREY, LINES, choose_ticks
from bgnb.plots.cube_panels import beside
from bgnb.plots.labels import format_count, format_ticks
from bgnb.plots.static import Picture, new_figure, own_style, picture_of
from bgnb.plots.view import axis_range
from bgnb.validation.result import KINDS, PROFILES, Validation

_LABELS = {
    "energy": "energy / TeV",
    "offset": "offset / deg",
    "detx": "DETX / deg",
    "dety": "DETY / deg",
    "altitude": "altitude / deg",
    "azimuth": "azimuth / deg",
}


#: Ratios of a profile: end of the names of their columns, label and colour.
_RATIOS = ("", "no free norm", LINES[1]), ("_NORM", "one free norm per run", LINES[0])


@own_style()
def plot_profiles(validation: Validation) -> Picture:
    """Plot observed over predicted counts against energy, position and pointing, with and without a free norm per run."""
    figure, panels = new_figure(11, 6, 2, 3)
    ends = _common_range(validation)
    for axes, name in zip(panels.flat, PROFILES, strict=True):
        table, log = validation.profile(name), name == "energy"
        low, high = (np.asarray(table[side]) for side in ("LOW", "HIGH"))
        for number, (end, label, colour) in enumerate(_RATIOS):
            ratio, error = (np.asarray(table[f"{column}{end}"]) for column in ("RATIO", "ERROR"))
            at = np.array([beside(np.array(edges), number, len(_RATIOS), log=log)[0] for edges in zip(low, high, strict=True)])
            axes.errorbar(at, ratio, error, [at - low, high - at], fmt=".", color=colour, label=label)
        axes.axhline(1, color=GREY, zorder=0)
        axes.set(xlabel=_LABELS[name], xscale="log" if log else "linear", ylim=ends)
        if log:  # those of Matplotlib are formulas
            ticks = choose_ticks(*axes.get_xlim(), log=True)
            axes.set_xticks(ticks, labels=format_ticks(ticks, 0, log=True))
            axes.tick_params(axis="x", which="minor", label1On=False)
    for axes in panels[:, 0]:
        axes.set_ylabel("observed / predicted")
    n_counts = sum(run.n_counts for run in validation.runs)
    figure.suptitle(f"{format_count(len(validation.runs), 'predicted run')}, {n_counts} counts")
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return picture_of(figure)


def _common_range(validation: Validation) -> tuple[float, float]:
    """Choose one range of ratios for all profiles, so that they can be compared: of points and error bars, within 0 and 2."""
    tables = [validation.profile(name) for name in PROFILES]
    values = [np.asarray(table[f"RATIO{end}"]) + sign * np.asarray(table[f"ERROR{end}"])
              for table in tables for end, *_ in _RATIOS for sign in (-1, 1)]  # fmt: skip
    low, high = axis_range(*values, np.ones(1))
    return max(low, 0.0), min(high, 2.0)


@own_style()
def plot_significance(validation: Validation) -> Picture:
    """Plot distributions of significance with one free norm per run, and the expected normal distribution."""
    fit = validation.fit(free_norm=True)
    figure, panels = new_figure(13, 3.4, 1, 4)
    for axes, kind in zip(panels.flat, KINDS, strict=True):
        values, (mean, width) = fit.significance[kind], fit.mean_width(kind)
        edges = np.linspace(-5, 5, 41 if len(values) > 500 else 21)
        axes.hist(np.clip(values, -5, 5), bins=edges, color=LINES[0], alpha=0.6)
        line = np.linspace(-5, 5, 201)
        axes.plot(line, len(values) * (edges[1] - edges[0]) * stats.norm.pdf(line), color=LINES[1])
        axes.set(title=f"{kind}\nmean {mean:.3f}, width {width:.3f}".replace("-", "−"), xlabel="significance")
    panels[0, 0].set_ylabel("bins")
    goodness = f"deviance / expectation {fit.ratio:.4f} ± {fit.ratio_error:.4f}"
    figure.suptitle(f"One free norm per run: {goodness}; the line is the standard normal distribution")
    return picture_of(figure)


@own_style()
def plot_learning_curve(validations: Mapping[int, Validation]) -> Picture:
    """Plot the quality of the predictions against the number of runs from which the models were made."""
    sizes = sorted(validations)
    fits = [validations[size].fit(free_norm=True) for size in sizes]
    figure, panels = new_figure(11, 3.6, 1, 3)
    shape, width, norm = panels.flat
    shape.plot(
        sizes, [fit.deviance / len(validations[size].runs) for size, fit in zip(sizes, fits, strict=True)], "o-", color=LINES[0]
    )
    shape.set(title="Shape: one free norm per run", ylabel="deviance per run")
    width.plot(sizes, [fit.mean_width("cube of each run")[1] for fit in fits], "o-", color=LINES[0])
    width.set(title="Width of the significances", ylabel="standard deviation")
    ratios = [validations[size].ratio for size in sizes]
    norm.errorbar(sizes, [mean for mean, _ in ratios], [scatter for _, scatter in ratios], fmt="o-", color=LINES[0])
    norm.set(title="Norm: mean and scatter", ylabel="observed / predicted")
    for axes in panels.flat:
        if axes is not shape:
            axes.axhline(1, color=GREY, zorder=0)
        axes.set(xlabel="runs per model", xticks=sizes, xscale="log")
        axes.set_xticks(sizes, labels=[str(size) for size in sizes])
        axes.minorticks_off()
    return picture_of(figure)
