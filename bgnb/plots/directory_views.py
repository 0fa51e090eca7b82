"""Views of a directory of models."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property, lru_cache

import numpy as np

from bgnb._util.arrays import Bools
from bgnb.cubes.energy_range import in_energies
from bgnb.cubes.event_cuts import measured_planes
from bgnb.cubes.model import BackgroundModel
from bgnb.cubes.spline_model import SplineModel
from bgnb.files.model_directory import ModelDirectory
from bgnb.plots.colours import LINES, choose_limits
from bgnb.plots.cube_state import Shown, energy_edges, weights_of
from bgnb.plots.model_views import EXTRAPOLATED, GroupsOverview, ModelState, limits_of, model_view, quantity_of
from bgnb.plots.view import Curve, Dash, Range, View

# Number of zenith angles of the curve of a spline.
_ZENITHS = 16


class DirectoryViews:
    """Views of the models of a directory. Results that further views can use are kept.

    Parameters
    ----------
    models : `ModelDirectory`
        The models.
    """

    def __init__(self, models: ModelDirectory) -> None:
        self._models = models
        #: Model of a group between two edges of the energy axis; the stamp is that of its file, which may be replaced.
        self._part = lru_cache(256)(lambda group_id, stamp, first, last: in_energies(models.read(group_id), first, last))
        self._all_limits = lru_cache(64)(
            lambda group_id, stamp, quantity, stretch, percentile: choose_limits(
                quantity_of(models.read(group_id), quantity), stretch, percentile
            )
        )

    def view_of(self, state: ModelState, limits: Range | None = None) -> View:
        """Draw the view of a state; limits of colours are by default those of `automatic_limits`."""
        models = {group_id: self._shown(group_id, state.energy) for group_id in (state.group_id, *state.further)}
        label, limits = self._models.label(state.group_id), limits or self.automatic_limits(state)
        pointing = self.overview.pointings.get(state.group_id)
        curves = self._spline.draw(state, pointing[1] % 360) if self._spline and pointing else []
        view = model_view(models, self.overview, state, label, limits, curves)
        return replace(view, summary="\n".join([view.summary, *(f"Note: {note}" for note in self._models.notes)]))

    def _shown(self, group_id: int, energy: tuple[float, float]) -> Shown[BackgroundModel]:
        model = self._models.read(group_id)
        return Shown(whole=model, part=self._part(group_id, self._models.stamp(group_id), *energy_edges(model.axes, energy)))

    def automatic_limits(self, state: ModelState) -> Range:
        """Choose limits of the colours that are not set by hand."""
        part = self._shown(state.group_id, state.energy).part
        if state.limits == "this energy":
            return limits_of(part, state)
        stamp = self._models.stamp(state.group_id)
        limits: Range = self._all_limits(state.group_id, stamp, state.quantity, state.stretch, state.percentile)
        if state.quantity in ("counts", "integrated rate"):  # sums over several energies exceed those of single ones
            low, high = limits_of(part, state)
            limits = min(limits[0], low), max(limits[1], high)
        return limits

    @cached_property
    def overview(self) -> GroupsOverview:
        """Properties of the groups, as far as the report on the models states them."""
        rows = self._models.group_rows
        known = {group_id: row for group_id, row in rows.items() if len(row) == 4 and row["livetime_s"] > 0}
        return GroupsOverview(
            groups=self._models.groups,
            model_ids={one: other for one, other in self._models.model_ids.items() if other in self._models.group_ids},
            pointings={group_id: (row["alt_mean_deg"], row["az_mean_deg"]) for group_id, row in known.items()},
            values={
                "livetime": {group_id: row["livetime_s"] / 3600 for group_id, row in known.items()},
                "counts": {group_id: row["counts"] for group_id, row in known.items()},
                "mean rate": {group_id: row["counts"] / row["livetime_s"] for group_id, row in known.items()},
            },
        )

    @cached_property
    def _spline(self) -> _SplineCurves | None:
        spline = self._models.spline
        return None if spline is None else _SplineCurves(spline, self._models.measurements)


class _SplineCurves:
    """Rate of a spline against the zenith angle.

    Parameters
    ----------
    spline : `SplineModel`
        The spline.
    measurements : iterable of tuple of float
        Those of `ModelDirectory`; empty if they are not known.
    """

    def __init__(self, spline: SplineModel, measurements: Iterable[tuple[float, float, float | None, float | None]]) -> None:
        self._axes = spline.axes
        low, high = spline.altitude_range
        self._zeniths = np.linspace(90 - high, 90 - low, _ZENITHS)
        # Range of zenith angles, and measured energy bins, of each run.
        self._measured = [
            (90 - highest, 90 - lowest, measured_planes(threshold, limit, spline.axes))
            for lowest, highest, threshold, limit in measurements
        ]
        #: Rates for an azimuth, shape (zenith, energy, dety, detx).
        self._rates = lru_cache(4)(
            lambda azimuth: np.array(
                [spline.rate_at(90 - zenith, azimuth).quantity.value for zenith in self._zeniths], np.float32
            )
        )

    def draw(self, state: ModelState, azimuth: float) -> list[Curve]:
        """Draw the rate at an azimuth, and at the opposite one."""
        first, last = energy_edges(self._axes, state.energy)
        weights = np.diff(self._axes.energy.value)[first:last, None, None] * weights_of(self._axes, state)
        curves: list[Curve] = []
        extrapolated: list[Curve] = []
        lines: tuple[tuple[float, Dash], ...] = (azimuth, "solid"), ((azimuth + 180) % 360, "dashed")
        within = self._is_measured(first, last)
        # Parts of the curve between a measured and another point are extrapolated.
        beyond = ~within | np.append(~within[1:], False) | np.append(False, ~within[:-1])
        for at, dash in lines:
            rate = np.tensordot(self._rates(at)[:, first:last], weights, 3) / weights.sum()
            curve = Curve(x=self._zeniths, y=rate, colour=LINES[2], name=f"spline, azimuth {at:.0f}°", width=1.5, dash=dash)
            curves.append(replace(curve, y=np.where(within, rate, np.nan)))
            if beyond.any():
                legend = "" if extrapolated else "extrapolated"
                rest = replace(curve, colour=EXTRAPOLATED, name=f"{curve.name}, extrapolated", legend=legend)
                extrapolated.append(replace(rest, y=np.where(beyond, rate, np.nan)))
        return [*curves, *extrapolated]

    def _is_measured(self, first: int, last: int) -> Bools:
        """Find the zenith angles of the curve in the range of those at which runs measured all energies between two edges."""
        if not self._measured:  # not known
            return np.ones(len(self._zeniths), dtype=bool)
        ranges = [ends for *ends, planes in self._measured if planes.start <= first and last <= planes.stop]
        low, high = min((low for low, _ in ranges), default=np.inf), max((high for _, high in ranges), default=-np.inf)
        step = np.ptp(self._zeniths) / (_ZENITHS - 1)
        return (self._zeniths > low - step / 2) & (self._zeniths < high + step / 2)
