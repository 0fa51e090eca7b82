"""Predicted against observed counts."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from astropy.table import Table

from bgnb._util.arrays import Floats
from bgnb._util.checks import checked_choice
from bgnb._util.errors import BgnbError
from bgnb.cubes.coverage import notes_on_coverage
from bgnb.cubes.poisson_statistics import deviance, deviance_moments, significance
from bgnb.files.report_json import plain
from bgnb.plots.labels import format_count
from bgnb.validation.run_prediction import Grid, RunPrediction

#: Quantities in bins of which predicted and observed counts are compared.
PROFILES = ("energy", "offset", "detx", "dety", "altitude", "azimuth")
#: Significances are those of the bins of a cube (energy, DETY, DETX) or of an image (summed over
#: energy), of each run or of the sum of all runs. The sum shows deviations that the runs share.
KINDS = ("image of each run", "cube of each run", "image of all runs", "cube of all runs")

_SEED = 0  # of the random numbers in significances


@dataclass(frozen=True, eq=False)
class Fit:
    """Goodness of fit of predictions: deviance over its expectation, and significance of bins.

    Parameters
    ----------
    n_runs : int
        Number of runs compared.
    deviance, expected, error : float
        Poisson deviance, and its expectation and standard deviation if the prediction is
        true.
    significance : mapping of str to ndarray
        Significance of all bins, by kind (see `KINDS`).
    free_norm : bool
        The prediction of each run is scaled to its counts.
    """

    n_runs: int
    deviance: float
    expected: float
    error: float
    significance: Mapping[str, Floats]
    free_norm: bool = False

    @property
    def ratio(self) -> float:
        """Deviance over its expectation: 1 if the prediction is true."""
        return self.deviance / self.expected

    @property
    def ratio_error(self) -> float:
        """Standard deviation of `ratio`, if the prediction is true."""
        return self.error / self.expected

    def mean_width(self, kind: str) -> tuple[float, float]:
        """Return mean and standard deviation of a kind of significance: 0 and 1 if the prediction is true."""
        values = self.significance[kind]
        return float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else math.nan

    def expected_width(self, kind: str) -> tuple[float, float]:
        """Return the expected standard deviation of a kind of significance, and its error, if the prediction is true.

        Of n bins, the width is √((n − m) / (n − 1)), as m fitted norms reduce the sum of the squares:
        one per run, of which the sum of all runs has one.
        """
        n_bins = len(self.significance[kind])
        n_norms = self.n_runs if self.free_norm and kind.endswith("each run") else 1
        if n_bins < 2:
            return math.nan, math.nan
        return math.sqrt(max(n_bins - n_norms, 0) / (n_bins - 1)), 1 / math.sqrt(2 * (n_bins - 1))


@dataclass(frozen=True, eq=False)
class Validation:
    """Predicted against observed counts of runs.

    Parameters
    ----------
    grid : `Grid`
        Bins that are compared.
    runs : tuple of `RunPrediction`
        The runs, in order of OBS_ID.
    faults : mapping of int to str
        Error messages of runs that cannot be read, by OBS_ID.
    seen : set of int
        OBS_IDs of the runs used to make the models.
    notes : tuple of str
        Further notes on the runs.

    Raises
    ------
    BgnbError
        If no run has counts in bins with a prediction above zero.
    """

    grid: Grid
    runs: tuple[RunPrediction, ...]
    faults: Mapping[int, str] = field(default_factory=dict)
    seen: frozenset[int] = frozenset()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        usable = [run for run in self.runs if run.n_counts > 0 and run.n_expected > 0]
        if not usable:
            wrong = "no run has counts in bins with a prediction above zero; check that their energies overlap"
            if self.faults and not self.runs:
                first, more = next(iter(self.faults.values())), len(self.faults) - 1
                wrong = f"no run can be used: {first}" + f" (and {more} more run{'s' * (more > 1)})" * (more > 0)
            raise BgnbError("nothing-to-compare", f"nothing to compare: {wrong}")
        object.__setattr__(self, "runs", tuple(sorted(self.runs, key=lambda run: run.obs_id)))

    def __repr__(self) -> str:
        n_counts = sum(run.n_counts for run in self.runs)
        return f"Validation({len(self.runs)} runs, {n_counts} counts, ratio {self.total_ratio:.4g})"

    def __str__(self) -> str:
        return self.summary

    @property
    def counts_where_none_are_possible(self) -> int:
        """Counts in bins where the model is empty; they are excluded from deviance and significance."""
        return sum(int(run.counts[run.used & ~run.possible].sum()) for run in self.runs)

    @property
    def events_in_mask(self) -> int:
        """Number of events in exclusion regions, which are not compared."""
        return sum(run.counted.events_in_mask for run in self.runs if run.counted)

    @property
    def _notes_on_coverage(self) -> list[str]:
        """Notes on events outside the axes of the models."""
        counted = {run.obs_id: run.coverage for run in self.runs if run.coverage is not None}
        consequence = "bins that are not entirely inside are not compared"
        return notes_on_coverage(counted, consequence, consequence)

    @property
    def all_notes(self) -> list[str]:
        """Notes on runs used to make the models, the further notes, and those on events outside the axes of the models."""
        notes = [*self.notes, *self._notes_on_coverage]
        if seen := [run.obs_id for run in self.runs if run.obs_id in self.seen]:
            bias = "which biases the result in the models' favour"
            everything = "all of these runs" if len(seen) > 1 else "this run"
            which = f"{len(seen)} of these runs" if len(seen) < len(self.runs) else everything
            notes.insert(0, f"{which} {'were' if len(seen) > 1 else 'was'} used to make the models, {bias}")
        return notes

    @cached_property
    def ratios(self) -> Floats:
        """Observed over predicted counts of each run; NaN where none is predicted."""
        return np.array([run.n_counts / run.n_expected if run.n_expected > 0 else np.nan for run in self.runs])

    @property
    def ratio(self) -> tuple[float, float]:
        """Mean and standard deviation of observed over predicted counts of the runs, without a free norm."""
        ratios = self.ratios[np.isfinite(self.ratios)]
        return float(ratios.mean()), float(ratios.std(ddof=1)) if len(ratios) > 1 else math.nan

    @property
    def total_ratio(self) -> float:
        """Observed over predicted counts of all runs, without a free norm."""
        return sum(run.n_counts for run in self.runs) / sum(run.n_expected for run in self.runs)

    def fit(self, free_norm: bool, obs_id: int | None = None) -> Fit:
        """Compute the goodness of fit of the prediction of all runs, or of one.

        Parameters
        ----------
        free_norm : bool
            Scale the prediction of each run to its counts.
        obs_id : int, optional
            OBS_ID of one run; by default all runs are used.

        Returns
        -------
        Fit
            Deviance and significances.

        Raises
        ------
        BgnbError
            If there is no such run, or nothing to compare in it.
        """
        rng = np.random.default_rng(_SEED)
        n_runs = 0
        total = mean = variance = 0.0
        images, cubes = [], []
        summed = np.zeros((2, *self.grid.axes.shape))
        for run in self.runs:
            nothing = run.factor == 0 if free_norm else not run.possible.any()
            if obs_id not in (None, run.obs_id) or nothing:
                continue
            n_runs += 1
            expected, bins = run.scaled(free_norm), run.possible
            total += float(deviance(run.counts[bins], expected[bins]).sum())
            means, variances = deviance_moments(expected[bins])
            mean += float(means.sum()) - free_norm  # a fitted norm takes one degree of freedom
            variance += float(variances.sum())
            both = np.where(bins, [run.counts, expected], 0)
            summed += both
            images.append(_significance(both.sum(axis=1), rng))
            cubes.append(_significance(both, rng))
        if not n_runs:
            raise BgnbError("nothing-to-compare", "nothing to compare" + ("" if obs_id is None else f" in run {obs_id}"))
        significances = {
            "image of each run": np.concatenate(images),
            "cube of each run": np.concatenate(cubes),
            "image of all runs": _significance(summed.sum(axis=1), rng),
            "cube of all runs": _significance(summed, rng),
        }
        return Fit(n_runs, total, mean, math.sqrt(variance), significances, free_norm)

    def profile(self, axis: str) -> Table:
        """Compare predicted and observed counts in bins of a quantity.

        Parameters
        ----------
        axis : {"energy", "offset", "detx", "dety", "altitude", "azimuth"}
            The quantity.

        Returns
        -------
        `~astropy.table.Table`
            LOW and HIGH of each bin, COUNTS, EXPECTED (without a free norm), EXPECTED_NORM
            (each run scaled to its counts), observed over predicted counts without (RATIO) and with a free norm per
            run (RATIO_NORM), and the standard deviations expected from counting statistics, ERROR and ERROR_NORM. RESIDUAL
            is RATIO_NORM − 1. NORM and SPREAD are mean and standard deviation of observed over
            predicted counts, without a free norm, of the N_RUNS runs with at least one predicted
            count in the bin; SPREAD_POISSON is the spread expected from counting statistics. Empty
            bins are excluded.
        """
        edges, unit, value_of = self._profile_axis(axis)
        sums = np.zeros((len(self.runs), 3, len(edges) - 1))  # counts, prediction, and prediction with a free norm
        for run, in_bins in zip(self.runs, sums, strict=True):
            at_bins = np.broadcast_to(value_of(run), self.grid.axes.shape)[run.used]
            index = np.clip(np.searchsorted(edges, at_bins, side="right") - 1, 0, len(edges) - 2)
            for number, values in enumerate((run.counts, run.expected, run.scaled(True))):
                in_bins[number] = np.bincount(index, values[run.used], minlength=len(edges) - 1)
        counts, expected, scaled = sums.sum(axis=0)
        table = Table({"LOW": edges[:-1], "HIGH": edges[1:], "COUNTS": counts.astype(np.int64)})
        table["LOW"].unit = table["HIGH"].unit = unit
        table["EXPECTED"], table["EXPECTED_NORM"] = expected, scaled
        for end, predicted in (("", expected), ("_NORM", scaled)):
            divisor = np.where(predicted > 0, predicted, np.nan)
            table[f"RATIO{end}"], table[f"ERROR{end}"] = counts / divisor, 1 / np.sqrt(divisor)
        table["RESIDUAL"] = table["RATIO_NORM"] - 1
        enough = sums[:, 1] >= 1
        norms = np.ma.array(sums[:, 0], mask=~enough) / np.where(enough, sums[:, 1], 1)
        poisson = np.ma.array(1 / np.where(enough, sums[:, 1], 1), mask=~enough)
        table["N_RUNS"] = enough.sum(axis=0)
        for name, values in (
            ("NORM", norms.mean(axis=0)),
            ("SPREAD", norms.std(axis=0, ddof=1)),
            ("SPREAD_POISSON", np.ma.sqrt(poisson.mean(axis=0))),
        ):
            table[name] = np.ma.filled(values.astype(float), np.nan)
        for name in table.colnames[3:]:
            table[name].info.format = ".1f" if name.startswith("EXPECTED") else ".3f" if name != "N_RUNS" else None
        for name in ("LOW", "HIGH"):
            table[name].info.format = ".4g"
        return table[expected + counts > 0]

    def _profile_axis(self, axis: str) -> tuple[Floats, str, Callable[[RunPrediction], Any]]:
        """Return the edges and unit of an axis, and a function that returns the values of a run."""
        axes = self.grid.axes
        profiles: dict[str, tuple[Floats, str, Callable[[RunPrediction], Any]]] = {
            "energy": (axes.energy.value, "TeV", lambda _: axes.energy_centers.value[:, None, None]),
            "offset": (self.grid.offset_edges, "deg", lambda _: self.grid.offset),
            "detx": (axes.detx.value, "deg", lambda _: axes.detx_centers.value),
            "dety": (axes.dety.value, "deg", lambda _: axes.dety_centers.value[:, None]),
            "altitude": (np.linspace(0, 90, 10), "deg", lambda run: run.alt_pnt),
            "azimuth": (np.linspace(0, 360, 9), "deg", lambda run: run.az_pnt % 360),
        }
        return profiles[checked_choice("axis", axis, PROFILES)]

    @property
    def table(self) -> Table:
        """One row per run: pointing, observed and predicted counts, their ratio, and the goodness of fit of the shape."""
        fits = [self.fit(True, run.obs_id) if run.factor > 0 else None for run in self.runs]
        table = Table({"OBS_ID": [run.obs_id for run in self.runs]})
        table["ALT_PNT"], table["AZ_PNT"] = [run.alt_pnt for run in self.runs], [run.az_pnt for run in self.runs]
        table["COUNTS"], table["EXPECTED"] = [run.n_counts for run in self.runs], [run.n_expected for run in self.runs]
        table["RATIO"] = self.ratios
        table["DEV_EXP"] = [fit.ratio if fit else np.nan for fit in fits]
        table["DEV_EXP_ERROR"] = [fit.ratio_error if fit else np.nan for fit in fits]
        table["WIDTH"] = [fit.mean_width("cube of each run")[1] if fit else np.nan for fit in fits]
        table["GROUPS"] = [_describe_groups(run.groups) for run in self.runs]
        for name in ("ALT_PNT", "AZ_PNT"):
            table[name].unit = "deg"
        for name, form in (("ALT_PNT", ".1f"), ("AZ_PNT", ".1f"), ("EXPECTED", ".1f")):
            table[name].info.format = form
        for name in ("RATIO", "DEV_EXP", "DEV_EXP_ERROR", "WIDTH"):
            table[name].info.format = ".3f"
        return table

    @property
    def summary(self) -> str:
        """Results as text."""
        free, fixed = self.fit(True), self.fit(False)
        mean, scatter = self.ratio
        floor = np.sqrt(np.mean([1 / run.n_expected for run in self.runs if run.n_expected > 0]))
        counts = sum(run.n_counts for run in self.runs)
        lines = [f"{format_count(len(self.runs), 'run')}, {counts} counts within {self.grid.offset_max:g} deg"]
        if math.isfinite(scatter):
            spread = f"standard deviation {scatter:.3f} (expected from counting statistics: {floor:.3f})"
            lines.append(f"observed / predicted counts: {self.total_ratio:.3f} in total; mean of the runs {mean:.3f}, {spread}")
        else:  # a single run
            lines.append(f"observed / predicted counts: {self.total_ratio:.3f} ± {floor:.3f}")
        kind = "cube of each run"
        for name, fit in (("one free norm per run", free), ("no free norm", fixed)):
            ratio = f"{fit.ratio:.4f} ± {fit.ratio_error:.4f}"
            (_, width), (true_width, error) = fit.mean_width(kind), fit.expected_width(kind)
            lines.append(f"{name}: deviance {fit.deviance / fit.n_runs:.1f} per run; deviance / expectation {ratio}")
            if math.isfinite(width):
                lines[-1] += f"; width of significances {width:.3f} (expected {true_width:.3f} ± {error:.3f})"
        if masked := self.events_in_mask:
            lines.append(f"events in exclusion regions, which are not compared: {masked}")
        if impossible := self.counts_where_none_are_possible:
            lines.append(f"counts in bins where the model is empty: {impossible}")
        lines += [f"note: {note}" for note in self.all_notes]
        lines += [f"skipped: {error}" for error in self.faults.values()]
        return "\n".join(lines)

    def as_dict(self) -> dict[str, Any]:
        """Return all results as plain numbers, for ``report.json``."""
        mean, scatter = self.ratio
        table = self.table
        columns = {name.lower(): table[name].tolist() for name in table.colnames if name != "GROUPS"}
        runs = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
        results: dict[str, Any] = {
            "runs": [
                row | {"groups": run.groups, "coverage": run.coverage and asdict(run.coverage)}
                for row, run in zip(runs, self.runs, strict=True)
            ],
            "ratio": {"total": self.total_ratio, "mean": mean, "scatter": scatter},
            "counts_where_none_are_possible": self.counts_where_none_are_possible,
            "events_in_mask": self.events_in_mask,
            "skipped": self.faults,
            "notes": (*self.notes, *self._notes_on_coverage),
            "seen": sorted(self.seen & {run.obs_id for run in self.runs}),
        }
        names = ("mean", "width", "expected_width", "expected_width_error")
        for name, fit in (("free_norm", self.fit(True)), ("no_norm", self.fit(False))):
            results[name] = {
                "deviance": fit.deviance,
                "expected": fit.expected,
                "dev_exp": fit.ratio,
                "dev_exp_error": fit.ratio_error,
                "significance": {
                    kind: dict(zip(names, (*fit.mean_width(kind), *fit.expected_width(kind)), strict=True)) for kind in KINDS
                },
            }
        profiles = {axis: self.profile(axis) for axis in PROFILES}
        results["profiles"] = {axis: {name.lower(): table[name] for name in table.colnames} for axis, table in profiles.items()}
        return dict(plain(results))


def table_lines(table: Table) -> list[str]:
    """Format a table in lines, with units, and a dash for NaN."""
    return [re.sub(r"\bnan\b", "  –", line) for line in table.pformat(max_lines=-1, max_width=-1)]


def _significance(counts_expected: Floats, rng: np.random.Generator) -> Floats:
    """Return the significance of the bins with a prediction above zero."""
    counts, expected = counts_expected[:, counts_expected[1] > 0]
    return significance(np.rint(counts).astype(np.int64), expected, rng)


def _describe_groups(groups: Mapping[int, float]) -> str:
    """Describe the groups that make a prediction."""
    return ", ".join(f"{group} ({weight:.0%})" for group, weight in groups.items()) or "spline"
