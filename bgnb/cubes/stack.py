"""Counts and livetime of runs: exact sums, independent of the order of runs and of the machine."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from astropy import units as u
from numpy.typing import NDArray

from bgnb._util.errors import BgnbError
from bgnb.cubes.cube import CubeAxes
from bgnb.cubes.event_cuts import MICROSECONDS, RunCounts, cut_events, measured_planes
from bgnb.cubes.exclusion_mask import SourceMask
from bgnb.observations.coordinates import FovAlign, checked_fovalign
from bgnb.observations.event_list import EventList
from bgnb.observations.sites import same_instrument


@dataclass(frozen=True, eq=False)
class Stack:
    """Counts and livetime in each bin, and the runs that contributed to them.

    Stacks of different runs on the same axes and in the same frame can be added with ``+``.
    Counts and livetimes are integers, so the sum does not depend on the order.

    Parameters
    ----------
    axes : `CubeAxes`
        The axes.
    fovalign : {"ALTAZ", "RADEC"}
        Frame of DETX and DETY.
    counts : ndarray of int64
        Counts in each bin, shape (energy, dety, detx).
    livetime_us : ndarray of int64
        Livetime of each bin in microseconds, same shape: the sum over the runs whose
        energy threshold lies below and whose energy limit lies above the bin, multiplied by
        the fraction of the bin outside exclusion regions.
    runs : tuple of `RunCounts`
        The runs, in order of OBS_ID.

    Raises
    ------
    BgnbError
        If a shape or type is wrong, a value is negative, a run appears twice, or runs belong
        to different instruments (TELESCOP).
    """

    axes: CubeAxes
    fovalign: FovAlign
    counts: NDArray[np.int64]
    livetime_us: NDArray[np.int64]
    runs: tuple[RunCounts, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "fovalign", checked_fovalign(self.fovalign))
        for name in ("counts", "livetime_us"):
            values = np.array(getattr(self, name))
            if values.shape != self.axes.shape or values.dtype != np.int64 or np.any(values < 0):
                raise BgnbError(
                    "invalid-value", f"{name} of a stack must be int64, of shape {self.axes.shape}, and non-negative"
                )
            values.setflags(write=False)
            object.__setattr__(self, name, values)
        if np.any(self.counts[self.livetime_us == 0]):
            raise BgnbError("invalid-value", "a stack cannot have counts in bins without livetime")
        if not self.runs and self.livetime_us.any():
            raise BgnbError("invalid-value", "a stack without runs cannot have a livetime")
        obs_ids = [run.obs_id for run in self.runs]
        if len(set(obs_ids)) < len(obs_ids):
            repeated = sorted({obs_id for obs_id in obs_ids if obs_ids.count(obs_id) > 1})
            raise BgnbError("duplicate-run", f"run {repeated[0]} would be counted twice")
        check_instrument(self.runs)
        object.__setattr__(self, "runs", tuple(sorted(self.runs, key=lambda run: run.obs_id)))

    @property
    def livetime(self) -> u.Quantity:
        """Livetime of each bin in s, shape (energy, dety, detx)."""
        return self.livetime_us / MICROSECONDS * u.s

    @property
    def exposure(self) -> u.Quantity:
        """Livetime times bin volume in s MeV sr, shape (energy, dety, detx)."""
        return self.livetime * self.axes.bin_volume

    @property
    def obs_ids(self) -> list[int]:
        """OBS_ID of every run, in order."""
        return [run.obs_id for run in self.runs]

    @property
    def telescop(self) -> str:
        """Name of the instrument; "" if no run states it."""
        return next((run.telescop.strip() for run in self.runs if run.telescop.strip()), "")

    def above(self, first_bin: int) -> Stack:
        """Remove the energy bins below ``first_bin``."""
        axes = replace(self.axes, energy=self.axes.energy[first_bin:])
        return replace(self, axes=axes, counts=self.counts[first_bin:], livetime_us=self.livetime_us[first_bin:])

    def __add__(self, other: Stack) -> Stack:
        if not isinstance(other, Stack):
            return NotImplemented
        if self.axes != other.axes or self.fovalign != other.fovalign:
            raise BgnbError(
                "axes-mismatch", f"stacks on different axes or in different frames cannot be added: {self!r} and {other!r}"
            )
        return Stack(
            self.axes,
            self.fovalign,
            self.counts + other.counts,
            self.livetime_us + other.livetime_us,
            self.runs + other.runs,
        )

    def __repr__(self) -> str:
        return f"Stack({len(self.runs)} runs, {self.counts.sum()} counts, {self.fovalign}, {self.axes})"


def stack_runs(
    runs: Iterable[EventList], axes: CubeAxes, fovalign: FovAlign = "ALTAZ", mask: SourceMask | None = None
) -> Stack:
    """Count the events of runs, and sum their livetime. Only one run is in memory at a time.

    The energy bins that contain the threshold and the limit of a run get neither counts nor
    livetime of this run.

    Parameters
    ----------
    runs : iterable of `EventList`
        The runs.
    axes : `CubeAxes`
        The axes.
    fovalign : {"ALTAZ", "RADEC"}
        Frame of DETX and DETY.
    mask : `~bgnb.cubes.exclusion_mask.SourceMask`, optional
        Exclusion regions, whose events and livetime are excluded.

    Returns
    -------
    Stack
    """
    counts = np.zeros(math.prod(axes.shape), dtype=np.int64)
    # Without a mask, the livetime depends on the energy alone.
    livetime_us = np.zeros((len(axes.energy) - 1, 1, 1) if mask is None else axes.shape, dtype=np.int64)
    reach = float(np.hypot(*(np.abs(edges.value).max() for edges in (axes.dety, axes.detx))))
    used = []
    for events in runs:
        here = mask.near(events.ra_pnt, events.dec_pnt, reach) if mask is not None else None
        part = here.open_fraction(events, axes, fovalign) if here else np.ones((1, 1))
        bins, run = cut_events(events, axes, fovalign, here, part)
        np.add.at(counts, bins, 1)
        livetime_us[measured_planes(events, axes)] += np.rint(part * (events.livetime * MICROSECONDS)).astype(np.int64)
        used.append(run)
    return Stack(axes, fovalign, counts.reshape(axes.shape), np.broadcast_to(livetime_us, axes.shape), tuple(used))


def check_instrument(runs: Iterable[RunCounts]) -> None:
    """Raise a `BgnbError` if runs belong to different instruments."""
    first: dict[str, RunCounts] = {}
    for run in runs:
        for name, other in first.items():
            if not same_instrument(run.telescop, name):
                one, two = sorted((run, other), key=lambda each: each.obs_id)
                which = f"run {one.obs_id} is of {one.telescop.strip()}, run {two.obs_id} of {two.telescop.strip()} (TELESCOP)"
                raise BgnbError("mixed-instruments", f"{which}; make separate models for each instrument")
        first.setdefault(run.telescop, run)
