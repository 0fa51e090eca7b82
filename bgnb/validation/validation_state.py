"""State of the views of a validation: selected runs and energies, and the sums of their counts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from bgnb._util.arrays import Bools
from bgnb._util.checks import checked_choice, checked_obs_ids
from bgnb._util.errors import BgnbError
from bgnb.plots.cube_state import checked_energies
from bgnb.plots.labels import energy_label, format_count
from bgnb.validation.compared_counts import ComparedCounts, FieldMap, Goodness, Norm, Residuals, RunRatios

Show = Literal["significance", "residual", "observed", "predicted"]
RunAxis = Literal["OBS_ID", "altitude", "azimuth"]
#: Lowest and highest energy, TeV.
EnergyRange = tuple[float, float]

#: Choices of the fields of a state.
CHOICES: dict[str, tuple[str, ...]] = {"norm": get_args(Norm), "show": get_args(Show), "x": get_args(RunAxis)}
#: Description of predictions that are not scaled.
NO_NORM = "no free norm"
# Edges of energy bins are equal to energies within this relative difference, which is more than that of five digits.
_SAME_ENERGY = 1e-4


@dataclass(frozen=True, kw_only=True)
class ValidationState:
    """Runs and energies whose counts are compared, and the quantities shown.

    Parameters
    ----------
    selected : tuple of int
        OBS_IDs; empty for all runs.
    energy : tuple of float, optional
        Lowest and highest energy, TeV; None for all energies. One energy may be given for one bin.
    norm : {"free", "fixed"}
        Scale the prediction of each run to its counts at all energies, or not.
    show : {"significance", "residual", "observed", "predicted"}
        Quantity in the field of view.
    x : {"OBS_ID", "altitude", "azimuth"}
        Horizontal axis of the runs.

    Raises
    ------
    BgnbError
        If a value is invalid.
    """

    selected: tuple[int, ...] = ()
    energy: EnergyRange | None = None
    norm: Norm = "free"
    show: Show = "significance"
    x: RunAxis = "OBS_ID"

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            object.__setattr__(self, name, checked_choice(name, getattr(self, name), choices))
        object.__setattr__(self, "selected", checked_obs_ids("selected", self.selected))
        if self.energy is not None:
            object.__setattr__(self, "energy", checked_energies(self.energy))


def energy_edges(counts: ComparedCounts) -> tuple[float, ...]:
    """Round the edges of the energy bins to five digits, TeV."""
    return tuple(float(f"{edge:.5g}") for edge in counts.edges)


def energy_slice(counts: ComparedCounts, energy: EnergyRange | None) -> slice:
    """Find the energy bins that overlap a range; empty if none does."""
    if energy is None:
        return slice(0, len(counts.edges) - 1)
    low, high = energy
    first = int(np.searchsorted(counts.edges[1:], low * (1 + _SAME_ENERGY), side="right"))
    if low == high and np.isclose(low, counts.edges[-1], rtol=_SAME_ENERGY):  # the end of the axis belongs to the last bin
        return slice(len(counts.edges) - 2, len(counts.edges) - 1)
    stop = int(np.searchsorted(counts.edges[:-1], high * (1 - _SAME_ENERGY), side="left"))
    overlaps = low < counts.edges[-1] and high * (1 + _SAME_ENERGY) >= counts.edges[0]
    return slice(first, max(stop, first + 1) if overlaps else first)


def complete_state(counts: ComparedCounts, state: ValidationState) -> ValidationState:
    """Check that a validation contains the runs and energies of a state, and extend the energies to edges of bins.

    Raises
    ------
    BgnbError
        If it does not contain a run, or no energy bin.
    """
    if unknown := sorted(set(state.selected).difference(counts.obs_ids.tolist())):
        among = f"is not among the {format_count(len(counts.obs_ids), 'run')} of the validation"
        raise BgnbError("not-found", f"selected: run {unknown[0]} {among}")
    energies, edges = energy_slice(counts, state.energy), energy_edges(counts)
    if state.energy is not None and energies.start >= min(energies.stop, len(edges) - 1):
        low, high = state.energy
        ends = f"they extend from {edges[0]:g} to {edges[-1]:g} TeV"
        raise BgnbError("invalid-argument", f"energy: no energy bin overlaps {low:g} to {high:g} TeV; {ends}")
    ends_of_bins = edges[energies.start], edges[energies.stop]
    return replace(state, energy=None if ends_of_bins == (edges[0], edges[-1]) else ends_of_bins)


@dataclass(frozen=True, eq=False, kw_only=True)
class ShownCounts:
    """Sums of the counts of a state, from which all panels and the summary are made."""

    counts: ComparedCounts
    state: ValidationState
    energies: slice
    mask: Bools
    runs: RunRatios
    by_energy: Residuals
    by_offset: Residuals
    field: FieldMap
    goodness: Goodness

    @property
    def is_part(self) -> bool:
        """A part of the runs is selected."""
        return not self.mask.all()

    @property
    def which_runs(self) -> str:
        """Description of the runs."""
        n_runs, n_chosen = format_count(len(self.mask), "run"), int(self.mask.sum())
        if n_chosen == 1:
            return f"run {self.counts.obs_ids[self.mask][0]}"
        return f"{n_chosen} of {n_runs}" if self.is_part else n_runs

    @property
    def which_energies(self) -> str:
        """Description of the energies."""
        return energy_label(self.counts.validation.grid.axes, self.energies.start, self.energies.stop)

    def sample(self, *, every: bool = False, norm: str = "") -> str:
        """Describe the counts of a sentence: all runs or the selected ones, energies, and norm."""
        n_runs, n_chosen = format_count(len(self.mask), "run"), int(self.mask.sum())
        which = self.which_runs if n_chosen == 1 else f"{n_chosen} selected of {n_runs}" if self.is_part else f"all {n_runs}"
        return f"({f'all {n_runs}' if every else which}, {self.which_energies}, {norm or self.scaled})"

    @property
    def scaled(self) -> str:
        """Description of the norm of the predictions."""
        return "one free norm per run" if self.state.norm == "free" else NO_NORM
