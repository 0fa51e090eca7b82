"""Plots of validations."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bgnb.plots.colours import GREY, LINES
from bgnb.plots.labels import format_count
from bgnb.plots.static import Picture, new_figure, picture_of
from bgnb.validation.result import KINDS, PROFILES, Validation

_LABELS = {
    "energy": "energy / TeV",
    "offset": "offset / deg",
    "detx": "DETX / deg",
    "dety": "DETY / deg",
    "altitude": "altitude / deg",
    "azimuth": "azimuth / deg",
}


def plot_profiles(validation: Validation) -> Picture:
    """Plot predicted over observed counts against energy, position and pointing, with and without a free norm per run."""
    figure, panels = new_figure(11, 6, 2, 3)
    for axes, name in zip(panels.flat, PROFILES, strict=True):
        table = validation.profile(name)
        low, high = (np.asarray(table[end]) for end in ("LOW", "HIGH"))
        centre = np.sqrt(low * high) if name == "energy" else (low + high) / 2
        for column, label, colour in (("RATIO", "no free norm", LINES[1]), ("RATIO_NORM", "a free norm per run", LINES[0])):
            ratio = np.asarray(table[column])
            error = ratio * np.asarray(table["ERROR"])
            axes.errorbar(centre, ratio, error, [centre - low, high - centre], fmt=".", color=colour, label=label)
        axes.axhline(1, color=GREY, zorder=0)
        axes.set(xlabel=_LABELS[name], xscale="log" if name == "energy" else "linear")
    for axes in panels[:, 0]:
        axes.set_ylabel("predicted / observed")
    n_counts = sum(run.n_counts for run in validation.runs)
    figure.suptitle(f"{format_count(len(validation.runs), 'run')}, {n_counts} counts")
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return picture_of(figure)


def plot_significance(validation: Validation) -> Picture:
    """Plot distributions of significance with one free norm per run, and the expected normal distribution."""
    fit = validation.fit(free_norm=True)
    figure, panels = new_figure(13, 3.4, 1, 4)
    for axes, kind in zip(panels.flat, KINDS, strict=True):
        values, (mean, width) = fit.significance[kind], fit.mean_width(kind)
        edges = np.linspace(-5, 5, 41 if len(values) > 500 else 21)
        axes.hist(np.clip(values, -5, 5), bins=edges, color=LINES[0], alpha=0.6)
        axes.plot(edges, len(values) * (edges[1] - edges[0]) * np.exp(-(edges**2) / 2) / np.sqrt(2 * np.pi), color=LINES[1])
        axes.set(title=f"{kind}\nmean {mean:.3f}, width {width:.3f}", xlabel="significance")
    panels[0, 0].set_ylabel("bins")
    figure.suptitle(f"deviance over expectation {fit.ratio:.4f} ± {fit.ratio_error:.4f}; the line is the normal distribution")
    return picture_of(figure)


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
    width.set(title="Significance in energy bins", ylabel="width")
    ratios = [validations[size].ratio for size in sizes]
    norm.errorbar(sizes, [mean for mean, _ in ratios], [scatter for _, scatter in ratios], fmt="o-", color=LINES[0])
    norm.set(title="Norm: mean and scatter", ylabel="predicted / observed")
    for axes in panels.flat:
        if axes is not shape:
            axes.axhline(1, color=GREY, zorder=0)
        axes.set(xlabel="runs that models are made from", xticks=sizes, xscale="log")
        axes.set_xticks(sizes, labels=[str(size) for size in sizes])
        axes.minorticks_off()
    return picture_of(figure)
