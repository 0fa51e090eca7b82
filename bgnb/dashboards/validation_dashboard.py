"""Dashboard of a validation: deviations of observed from predicted counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import ipywidgets as widgets
import numpy as np

from bgnb._util.checks import numbers_in
from bgnb._util.errors import BgnbError
from bgnb.dashboards.controls import Control, menu, text_box
from bgnb.dashboards.dashboard import Dashboard
from bgnb.dashboards.live_figures import Action
from bgnb.dashboards.run_picking import nearest_run, runs_within
from bgnb.plots.cube_state import Energy
from bgnb.plots.labels import energy_label
from bgnb.plots.view import View
from bgnb.validation.compared_counts import ComparedCounts
from bgnb.validation.result import Validation
from bgnb.validation.validation_state import (
    CHOICES,
    EnergyRange,
    ValidationState,
    complete_state,
    energy_edges,
    energy_slice,
)
from bgnb.validation.validation_views import run_positions, validation_view

_RUN_PANELS = ("runs", "pointings")


class ValidationDashboard(Dashboard):
    """See `bgnb.dashboards.explore_validation`."""

    State = ValidationState
    kind = "validation"
    function = "explore_validation"
    bar = ("energy", "energies", "norm", "show", "x")
    drawer: Mapping[str, tuple[str, ...]] = {"Selected runs": ("selected",)}
    selecting = ("runs", "energy", "pointings")

    def __init__(self, validation: Validation, state: ValidationState) -> None:
        self._counts = ComparedCounts(validation)
        self._edges = energy_edges(self._counts)
        super().__init__(state)

    @property
    def energy(self) -> EnergyRange:
        """Lowest and highest energy of the selected bins, TeV; one energy may be set, or None for all."""
        return self._shown_energies(self.state)

    @energy.setter
    def energy(self, energy: Any) -> None:
        self.update(energy=energy)

    def settle(self, state: ValidationState) -> ValidationState:
        return complete_state(self._counts, state)

    def view_of(self, state: ValidationState) -> View:
        return validation_view(self._counts, state)

    def act(self, action: Action) -> None:
        panel, x, y, add = action["panel"], action["x"], action["y"], bool(action.get("add"))
        if x is None or y is None:
            return
        if action["kind"] == "select" and panel == "energy":
            self.update(energy=(max(x[0], 1e-6), x[1]))
        elif action["kind"] == "select":
            self.update(selected=runs_within(self._counts.obs_ids, *run_positions(self._counts, self.state, panel), action))
        elif panel == "energy":
            self._tap_energy(x, add)
        elif panel in _RUN_PANELS:
            nearest = nearest_run(self._counts.obs_ids, *run_positions(self._counts, self.state, panel), action)
            if nearest is not None:
                self.update(selected={nearest} ^ set(self.state.selected if add else ()))
            elif not add:
                self.update(selected=())

    def _tap_energy(self, energy: float, add: bool) -> None:
        """Select the energy bin at a position, or all bins if it is the selected one; with Shift, extend the range to it."""
        if not self._edges[0] <= energy < self._edges[-1]:
            return
        first = int(np.searchsorted(self._edges, energy, side="right")) - 1
        low, high = self._edges[first], self._edges[first + 1]
        if add and self.state.energy is not None:
            low, high = min(low, self.state.energy[0]), max(high, self.state.energy[1])
        self.update(energy=None if (low, high) == self.state.energy and not add else (low, high))

    def _slide(self, ends: EnergyRange) -> dict[str, Any]:
        """Take energies from the slider; at least one bin remains between its handles."""
        low, high = (self._edges.index(end) for end in ends)
        if low == high:
            if ends[1] == self._shown_energies(self.state)[1]:  # the lower handle was moved
                low -= 1
            low = min(max(low, 0), len(self._edges) - 2)
            high = low + 1
        return {"energy": (self._edges[low], self._edges[high])}

    def _shown_energies(self, state: ValidationState) -> EnergyRange:
        return state.energy or (self._edges[0], self._edges[-1])

    def _energy_text(self, state: ValidationState) -> str:
        energies = energy_slice(self._counts, state.energy)
        return energy_label(self._counts.validation.grid.axes, energies.start, energies.stop)

    def controls(self) -> dict[str, Control]:
        slider = widgets.SelectionRangeSlider(
            options=[(f"{edge:.3g}", edge) for edge in self._edges], description="energy", readout=False,
            continuous_update=False, style={"description_width": "initial"},
            layout={"width": "auto", "flex": "1 1 160px", "min_width": "150px"},
        )  # fmt: skip
        labels = {"norm": "norm of each run", "show": "show", "x": "runs against"}
        return {
            "energy": Control(widget=slider, show=lambda state: {"value": self._shown_energies(state)}, change=self._slide),
            "energies": Control(widget=widgets.HTML(), show=lambda state: {"value": f"<b>{self._energy_text(state)}</b>"}),
            **{name: menu(name, labels[name], choices) for name, choices in CHOICES.items()},
            "selected": text_box(
                "OBS_IDs",
                "all; tap or drag",
                lambda state: {"value": " ".join(map(str, state.selected))},
                lambda value: {"selected": numbers_in(value, "an OBS_ID")},
            ),
        }

    def frames(self) -> dict[tuple[str, str], Any]:
        ranges: list[EnergyRange | None] = [None, *pairwise(self._edges)]
        if self.state.energy not in ranges:
            ranges.append(self.state.energy)
        states = [self.settle(replace(self.state, energy=energy)) for energy in ranges]
        return {("", self._energy_text(state)): state for state in states}

    @property
    def python(self) -> str:
        fields = self.changed_fields()
        if "selected" in fields:
            fields["selected"] = list(fields["selected"])
        arguments = ["validation", *(f"{name}={value!r}" for name, value in fields.items())]
        return f"import bgnb\n\nbgnb.dashboards.explore_validation({', '.join(arguments)})"


def explore_validation(
    validation: Validation,
    *,
    selected: Sequence[int] = (),
    energy: Energy | tuple[Energy, Energy] | None = None,
    norm: str = "free",
    show: str = "significance",
    x: str = "OBS_ID",
) -> ValidationDashboard:
    """Explore where observed counts deviate from predicted ones: runs, energies, offsets, field of view, pointings.

    Tap a run to select it, with Shift to add or remove it, or drag over several runs; tap outside all
    runs to deselect them. Tap an energy bin, or drag over several bins, to sum over these energies only;
    tap the bin again to return to all energies. All arguments are controls, and attributes of the widget.

    Runs that deviate from the median by more than 3.5 standard deviations, of the scatter of all runs and
    their own counting statistics, are marked. The bins of the field of view are so wide that each has
    enough predicted counts. The summary below the plots states the largest deviations of each kind, and
    those expected by chance.

    Parameters
    ----------
    validation : `~bgnb.Validation`
        Result of `bgnb.validate`, or one of those of `bgnb.cross_validate`.
    selected : sequence of int
        OBS_IDs of the runs whose counts are summed; by default all.
    energy : `~astropy.units.Quantity`, str or float (TeV), or a pair of them, optional
        Energy, or a range of energies; all bins that contain it or overlap the range are used. By default all energies.
    norm : {"free", "fixed"}
        Scale the prediction of each run to its counts at all energies, or not. The plots of runs and
        pointings are always without a free norm.
    show : {"significance", "residual", "observed", "predicted"}
        Quantity in the field of view; the residual is observed over predicted counts − 1.
    x : {"OBS_ID", "altitude", "azimuth"}
        Horizontal axis of the runs.

    Returns
    -------
    ValidationDashboard
        A widget, see `Dashboard`.

    Raises
    ------
    BgnbError
        If an argument is invalid, or the validation does not contain a run or an energy.

    Examples
    --------
    >>> import bgnb
    >>> validation = bgnb.validate("models", "runs", "GADF")
    >>> dashboard = bgnb.dashboards.explore_validation(validation, norm="fixed")
    >>> dashboard.selected = [1]
    >>> print(dashboard.python)
    import bgnb
    <BLANKLINE>
    bgnb.dashboards.explore_validation(validation, selected=[1], norm='fixed')
    """
    if not isinstance(validation, Validation):
        wanted = "validation must be a result of bgnb.validate, or one of those of bgnb.cross_validate"
        raise BgnbError("invalid-argument", f"{wanted}, got {type(validation).__name__}")
    state: Any = {"selected": selected, "energy": energy, "norm": norm, "show": show, "x": x}
    return ValidationDashboard(validation, ValidationState(**state))
