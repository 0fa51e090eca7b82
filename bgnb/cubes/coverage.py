"""Events of runs outside the axes of their models, and continuation of rates to the energies of such events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from astropy import units as u

from bgnb._util.errors import numbered
from bgnb.cubes.cube import Cube, CubeAxes
from bgnb.observations.coordinates import FovAlign
from bgnb.observations.event_list import EventList

#: Ranges of the index of the power laws along which rates are continued to lower and to higher energies.
INDEX_BELOW, INDEX_ABOVE = (-2.0, 4.0), (1.0, 6.0)
# Maximum factor in energy over which a rate is continued.
_FACTOR = 100.0
# Index in a single energy bin, and where the neighbouring plane is empty: about that of the cosmic rays.
_INDEX = 2.7


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """Numbers of events of a run outside the axes of its model.

    Parameters
    ----------
    events : int
        Number of events in the good time, above the energy threshold and below the energy limit.
    events_below_axis, events_above_axis : int
        Number of these events below and above the energy axis.
    events_outside_fov : int
        Number of these events with energies on the axis, but outside the field of view.
    """

    events: int
    events_below_axis: int
    events_above_axis: int
    events_outside_fov: int

    @property
    def outside(self) -> int:
        """Number of events outside the axes."""
        return self.events_below_axis + self.events_above_axis + self.events_outside_fov


def coverage(run: EventList, axes: CubeAxes, fovalign: FovAlign) -> Coverage:
    """Count the events of a run in the good time, above its energy threshold and below its limit, that lie outside axes."""
    rows = _used_rows(run)
    energy = run.energy[rows]
    below, above = energy < axes.energy[0].value, energy >= axes.energy[-1].value
    outside = np.zeros(int(np.count_nonzero(~(below | above))), dtype=bool)
    positions = run.detxy(fovalign, rows[~(below | above)])
    for values, edges in zip(positions, (axes.detx.value, axes.dety.value), strict=True):
        outside |= (values < edges[0]) | (values >= edges[-1])
    return Coverage(
        events=len(rows),
        events_below_axis=int(np.count_nonzero(below)),
        events_above_axis=int(np.count_nonzero(above)),
        events_outside_fov=int(np.count_nonzero(outside)),
    )


def notes_on_coverage(runs: Mapping[int, Coverage], outside_energy: str, outside_fov: str) -> list[str]:
    """Note numbers and fraction of the events outside the axes, the consequence, and the runs (OBS_ID)."""
    notes = []
    total = sum(run.events for run in runs.values())
    for places, axis, consequence in (
        ({"events_below_axis": "below", "events_above_axis": "above"}, "energies", outside_energy),
        ({"events_outside_fov": ""}, "field of view", outside_fov),
    ):
        numbers = {place: sum(getattr(run, name) for run in runs.values()) for name, place in places.items()}
        affected = [obs_id for obs_id, run in runs.items() if any(getattr(run, name) for name in places)]
        if affected:
            percent = 100 * sum(numbers.values()) / total
            share = f"{sum(numbers.values())} of {total} events ({f'{percent:.1f}' if percent >= 0.05 else '< 0.1'} %)"
            parts = ", ".join(f"{number} {place}" for place, number in numbers.items() if place and number)
            where = f"outside the {axis} of the models" + f" ({parts})" * bool(parts)
            notes.append(f"{share} above the energy thresholds lie {where}; {consequence}: {numbered('run', affected)}")
    return notes


def without_empty_ends(rate: Cube) -> Cube:
    """Remove the energy planes without a rate at both ends of the axis."""
    populated = np.flatnonzero(rate.quantity.value.any(axis=(1, 2)))
    if not len(populated) or np.ptp(populated) + 1 == rate.axes.shape[0]:
        return rate
    first, stop = populated[0], populated[-1] + 1
    return Cube(replace(rate.axes, energy=rate.axes.energy[first : stop + 1]), rate.quantity[first:stop])


def interpolable_rate(rate: Cube) -> Cube:
    """Remove the energy planes without a rate at both ends, and split single bins, so that Gammapy can interpolate the rate."""
    return without_single_bins(without_empty_ends(rate))


def without_single_bins(rate: Cube) -> Cube:
    """Split the bin of an axis with a single one in two, between which the rate can be interpolated.

    Along the energy axis, the rate in them is that of a power law with the same integral.
    """
    axes, values = rate.axes, rate.quantity
    for number, name in enumerate(("energy", "dety", "detx")):
        if values.shape[number] > 1:
            continue
        low, high = getattr(axes, name).value
        edges = np.array([low, np.sqrt(low * high) if name == "energy" else (low + high) / 2, high])
        values = np.repeat(values, 2, axis=number)
        if name == "energy":
            share = -np.diff(edges ** (1 - _INDEX)) / np.diff(edges)
            values = values * (share * (high - low) / (share @ np.diff(edges)))[:, None, None]
        axes = replace(axes, **{name: u.Quantity(edges, getattr(axes, name).unit)})
    return rate if axes is rate.axes else Cube(axes, values)


def continue_to_events(rate: Cube, run: EventList) -> Cube:
    """Continue a rate to the energies of all events of a run in the good time and above the energy threshold, over two decades.

    Bins as wide in log energy as the first, or last, bin of the axis are added. The rate in them has
    the shape of the first, or last, plane over the field of view. Its mean follows a power law
    through the means of the nearest two planes, with an index limited to `INDEX_BELOW` or
    `INDEX_ABOVE`.

    Parameters
    ----------
    rate : `Cube`
        Mean rates of the bins.
    run : `~bgnb.EventList`
        The run.

    Returns
    -------
    Cube
        The rate on longer axes; ``rate`` itself if its axis covers the energies of all events.
    """
    energy, edges = run.energy[_used_rows(run)], np.log(rate.axes.energy.value)
    if not len(energy) or not rate.quantity.value.any():
        return rate
    low = np.log(max(energy.min(), rate.axes.energy[0].value / _FACTOR))
    high = np.log(min(energy.max(), rate.axes.energy[-1].value * _FACTOR))
    first, last = edges[1] - edges[0], edges[-1] - edges[-2]
    n_below = int(np.ceil(max(edges[0] - low, 0.0) / first))
    n_above = int(np.floor((high - edges[-1]) / last)) + 1 if high >= edges[-1] else 0
    if not n_below and not n_above:
        return rate
    below, above = -first * np.arange(n_below, 0, -1), last * np.arange(1, n_above + 1)
    values, (to_below, to_above) = rate.quantity, _end_indices(rate)
    planes = (
        values[:1] * np.exp(-to_below * below)[:, None, None],
        values,
        values[-1:] * np.exp(-to_above * above)[:, None, None],
    )
    axis = np.concatenate([np.exp(edges[0] + below), rate.axes.energy.value, np.exp(edges[-1] + above)]) * u.TeV
    return Cube(replace(rate.axes, energy=axis), np.concatenate(planes))


def _used_rows(run: EventList) -> np.ndarray:
    """Return the rows of the events in the good time, above the energy threshold and below the energy limit."""
    limit = np.inf if run.energy_limit is None else run.energy_limit
    return np.flatnonzero(run.in_gti & (run.energy >= (run.energy_threshold or 0.0)) & (run.energy <= limit))


def _end_indices(rate: Cube) -> tuple[float, float]:
    """Compute the limited indices of the mean rate between the first two and between the last two planes."""
    mean = (rate.quantity.value * rate.axes.solid_angle.value).sum(axis=(1, 2))
    log_energy = np.log(rate.axes.energy_centers.value)
    indices = []
    for one, other, limits in ((0, 1, INDEX_BELOW), (-2, -1, INDEX_ABOVE)):
        index = _INDEX
        if len(mean) > 1 and mean[one] > 0 and mean[other] > 0:
            index = np.log(mean[one] / mean[other]) / (log_energy[other] - log_energy[one])
        indices.append(float(np.clip(index, *limits)))
    return indices[0], indices[1]
