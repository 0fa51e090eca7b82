"""Summary of a validation in sentences: the largest deviations of each kind, and those expected by chance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from bgnb._util.arrays import Floats
from bgnb.plots.labels import energy_label, format_count, format_number, with_minus
from bgnb.plots.run_views import describe_scatter
from bgnb.validation.compared_counts import MIN_BIN, MIN_MAP, FieldMap, Residuals, largest_by_chance
from bgnb.validation.validation_state import NO_NORM, ShownCounts

# Number of runs, energies and offsets with the largest deviations in the summary.
_N_WORST = 3
# Standard deviations of further deviations in the summary.
_NOTABLE = 2.0
# Number of OBS_IDs of selected runs in the summary.
_MAX_LISTED = 10


def summarize(shown: ShownCounts) -> list[str]:
    """Describe the counts of a state, and their deviations from the prediction, line by line."""
    counts, runs, validation = shown.counts, shown.runs, shown.counts.validation
    observed, predicted = float(runs.counts[shown.mask].sum()), float(runs.expected[shown.mask].sum())
    ratio = _with_error(observed / predicted, 1 / math.sqrt(predicted)) if predicted > 0 else "unknown"
    total = f"{observed:.0f} observed, {predicted:.1f} predicted, observed / predicted {ratio}"
    notes = [f"Note: {note}" for note in validation.all_notes]
    n_first = int(not validation.seen.isdisjoint(counts.obs_ids.tolist()))  # runs used to make the models
    lines = [f"Counts {shown.sample(norm=NO_NORM)}: {total}.", *notes[:n_first], _describe_goodness(shown)]
    lines += [_describe_runs(shown), *_describe_shapes(shown)]
    axes, within, every = validation.grid.axes, shown.energies, shown.by_energy
    energies = [energy_label(axes, i) for i in range(within.start, within.stop)]
    edges = every.edges[within.start : within.stop + 1]
    by_energy = Residuals(edges=edges, counts=every.counts[within], expected=every.expected[within])
    rings = shown.by_offset.edges
    offsets = [f"{low:.3g} to {high:.3g}°" for low, high in pairwise(rings)]
    lines += [
        _describe_bins(f"Energies {shown.sample()}", by_energy, energies),
        _describe_bins(f"Offsets {shown.sample()}", shown.by_offset, offsets),
        f"Field of view {shown.sample()}: {_describe_field(shown.field)}",
    ]
    if shown.is_part:
        obs_ids = [str(obs_id) for obs_id in counts.obs_ids[shown.mask]]
        more = f" and {len(obs_ids) - _MAX_LISTED} more" if len(obs_ids) > _MAX_LISTED else ""
        lines.append(f"Selected: {', '.join(obs_ids[:_MAX_LISTED])}{more}.")
    if unknown := int((~runs.known).sum()):
        lines.append(f"Not shown: {format_count(unknown, 'run')} with less than {MIN_BIN:g} predicted count at these energies.")
    if empty := validation.counts_where_none_are_possible:
        lines.append(f"Counts in bins where the model is empty: {empty}.")
    return lines + notes[n_first:] + [f"Skipped: {error}" for error in validation.faults.values()]


def _describe_goodness(shown: ShownCounts) -> str:
    good = shown.goodness
    deviation = f"deviance / expectation {_with_error(good.ratio, good.ratio_error)}"
    width = f"mean {signed(good.mean)}, width {good.width:.3f}"
    expected = f"expected {good.expected_width:.3f} ± {good.width_error:.3f}"
    return f"Bins {shown.sample()}: {deviation}; significance of {good.n_bins} bins: {width} ({expected})."


def _describe_runs(shown: ShownCounts) -> str:
    runs = shown.runs
    if not runs.known.any():
        return "Runs: none has enough predicted counts."
    floor = math.sqrt(float(np.mean(runs.error[runs.known] ** 2)))
    scatter = f"{describe_scatter(runs.deviations)}; " if runs.deviations.enough else ""
    median = f"median of observed / predicted {runs.deviations.median:.3f}, counting statistics {100 * floor:.2g} %"
    text = f"Runs {shown.sample(every=True, norm=NO_NORM)}: {median}, {scatter}"
    worst = [(i, sigma) for i, sigma in largest_deviations(runs.deviations.sigmas) if runs.deviations.stand_out[i]]
    found = worst or largest_deviations(runs.deviations.sigmas)[:1]
    listed = [f"{shown.counts.obs_ids[i]} ({runs.ratio[i]:.3f} ± {runs.error[i]:.3f}, {format_sigmas(s)})" for i, s in found]
    if worst:
        number = int(runs.deviations.stand_out.sum())
        return f"{text}{number} {'stands' if number == 1 else 'stand'} out: {', '.join(listed)}{', …' * (number > len(worst))}."
    chance = largest_by_chance(int(runs.known.sum()))
    return f"{text}none stands out; largest deviation: {listed[0]}; expected maximum {chance:.1f} σ."


def _describe_shapes(shown: ShownCounts) -> list[str]:
    """Describe the run whose distribution of counts deviates most, with a free norm or without one."""
    sigmas, ratios, errors = shown.counts.run_deviances(shown.mask, shown.energies, shown.state.norm)
    if not (worst := largest_deviations(sigmas)[:1]):
        return []
    [(i, sigma)] = worst
    obs_id = shown.counts.obs_ids[shown.mask][i]
    chance = f"expected maximum {largest_by_chance(int(np.isfinite(sigmas).sum())):.1f} σ"
    ratio = f"deviance / expectation {_with_error(ratios[i], errors[i])}, {format_sigmas(sigma)} ({chance})"
    return [f"Distribution of the counts of each run {shown.sample()}: largest deviation in run {obs_id}, {ratio}."]


def _describe_bins(name: str, residuals: Residuals, labels: Sequence[str]) -> str:
    sigmas = residuals.sigmas
    known = np.isfinite(sigmas)
    if not known.any():
        return f"{name}: no bin has enough predicted counts."
    listed = [
        f"{signed(residuals.residual[i])} ± {residuals.error[i]:.3f} ({format_sigmas(sigma)}) at {labels[i]}"
        for i, sigma in largest_deviations(sigmas)
    ]
    missing = (
        f"; {format_count(int((~known).sum()), 'bin')} with less than {MIN_BIN:g} predicted count not shown"
        if not known.all()
        else ""
    )
    chance = f"expected maximum {largest_by_chance(int(known.sum())):.1f} σ"
    return f"{name}: largest {'residuals' if len(listed) > 1 else 'residual'} {', '.join(listed)}; {chance}{missing}."


def _describe_field(field: FieldMap) -> str:
    worst = largest_deviations(field.significance.ravel())[:1]
    number = int(field.enough.sum())
    if not worst:
        return f"no bin has {MIN_MAP:g} predicted counts."
    [(where, sigma)] = worst
    iy, ix = divmod(where, len(field.x_edges) - 1)
    x, y = float(field.x_edges[ix : ix + 2].mean()), float(field.y_edges[iy : iy + 2].mean())
    observed = f"{field.counts[iy, ix]:.0f} observed, {field.expected[iy, ix]:.1f} predicted"
    grey = int((field.compared & ~field.enough).sum())
    few = f"; {format_count(grey, 'bin')} with fewer than {MIN_MAP:g} predicted counts not shown" if grey else ""
    chance = f"expected maximum {largest_by_chance(number):.1f} σ in {format_count(number, 'bin')}"
    where_text = f"DETX {format_number(x)}°, DETY {format_number(y)}°"
    return f"largest deviation {format_sigmas(sigma)} at {where_text}, {observed}; {chance}{few}."


def largest_deviations(sigmas: Floats) -> list[tuple[int, float]]:
    """Return numbers and values of the largest deviation, and of a few further ones above `_NOTABLE`, in decreasing order."""
    order = np.argsort(-np.abs(np.nan_to_num(sigmas)), kind="stable")[:_N_WORST].tolist()
    found = [(i, float(sigmas[i])) for i in order if np.isfinite(sigmas[i])]
    return found[:1] + [(i, sigma) for i, sigma in found[1:] if abs(sigma) > _NOTABLE]


def signed(value: float, places: int = 3) -> str:
    """Format a deviation with its sign; NaN as a dash."""
    return with_minus(f"{value:+.{places}f}") if math.isfinite(value) else "–"


def format_sigmas(value: float) -> str:
    """Format a number of standard deviations."""
    return f"{signed(value, 1)} σ"


def _with_error(value: float, error: float) -> str:
    """Format a value with as many decimal places as its error has with two digits."""
    if not (math.isfinite(value) and math.isfinite(error) and error > 0):
        return format_number(value)
    places = max(1 - math.floor(math.log10(error)), 0)
    return with_minus(f"{value:.{places}f} ± {error:.{places}f}")
