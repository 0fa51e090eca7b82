"""Counts and livetime of runs: exact sums, independent of the order of runs and of the machine."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from astropy import units as u
from numpy.typing import NDArray

from bgnb._util.checks import check_type, check_unmasked
from bgnb._util.errors import BgnbError
from bgnb._util.extras import require
from bgnb.cubes.cube import CubeAxes
from bgnb.cubes.event_cuts import RunCounts, add_pieces, cut_events, measured_planes
from bgnb.cubes.exclusion_mask import SourceMask, reach
from bgnb.observations.coordinates import FovAlign, checked_fovalign
from bgnb.observations.event_list import MICROSECONDS, EventList
from bgnb.observations.sites import same_instrument

#: Identifier of a sum.
K = TypeVar("K", bound="int | tuple[Any, ...]")


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

    Examples
    --------
    >>> import bgnb
    >>> runs = bgnb.open_runs("runs", "GADF")
    >>> axes = bgnb.CubeAxes.regular(n_energy=10, n_fov=20)
    >>> first, second = (bgnb.stack_runs([bgnb.read_event_list(runs.files(obs_id))], axes) for obs_id in (1, 2))
    >>> total = first + second
    >>> total.obs_ids, total.livetime.max()
    ([1, 2], <Quantity 3000. s>)
    """

    axes: CubeAxes
    fovalign: FovAlign
    counts: NDArray[np.int64]
    livetime_us: NDArray[np.int64]
    runs: tuple[RunCounts, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "fovalign", checked_fovalign(self.fovalign))
        check_type("axes", self.axes, CubeAxes)
        for run in self.runs:
            check_type("each of runs", run, RunCounts)
        for name in ("counts", "livetime_us"):
            check_unmasked(name, getattr(self, name))
            values = np.array(getattr(self, name))
            if values.shape != self.axes.shape or values.dtype != np.int64 or np.any(values < 0):
                raise BgnbError(
                    "invalid-value", f"{name} of a stack must be int64, of shape {self.axes.shape}, and non-negative"
                )
            if name == "livetime_us" and np.array_equal(values, np.broadcast_to(values[:, :1, :1], values.shape)):
                values = np.broadcast_to(values[:, :1, :1].copy(), values.shape)  # takes no memory
            values.setflags(write=False)
            object.__setattr__(self, name, values)
        if np.any(self.counts[self.livetime_us == 0]):
            raise BgnbError("invalid-value", "a stack cannot have counts in bins without livetime")
        if not self.runs and self.livetime_us.any():
            raise BgnbError("invalid-value", "a stack without runs cannot have a livetime")
        obs_ids = [run.obs_id for run in self.runs]
        if len(set(obs_ids)) < len(obs_ids):
            repeated = min(obs_id for obs_id, number in Counter(obs_ids).items() if number > 1)
            raise BgnbError("duplicate-run", f"run {repeated} would be counted twice")
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
    def live_fraction(self) -> float | None:
        """Livetime of the runs divided by their ontime; None without runs, or if a run does not state its ontime."""
        ontimes = [run.ontime_s for run in self.runs if run.ontime_s is not None]
        if not self.runs or len(ontimes) < len(self.runs):
            return None
        return math.fsum(run.livetime_s for run in self.runs) / math.fsum(ontimes)

    @property
    def obs_ids(self) -> list[int]:
        """OBS_ID of every run, in order."""
        return [run.obs_id for run in self.runs]

    @property
    def selection(self) -> str:
        """Condition by which the events of the runs were selected, "" for all events."""
        return next((run.selection for run in self.runs), "")

    @property
    def telescop(self) -> str:
        """Name of the instrument; "" if no run states it."""
        return next((run.telescop.strip() for run in self.runs if run.telescop.strip()), "")

    def to_hist(self) -> Any:
        """Convert the counts to a histogram of boost-histogram, from which ``hist.Hist`` makes its own.

        Returns
        -------
        ``boost_histogram.Histogram``
            With integer storage and axes in energy (TeV), DETY and DETX (deg), in this order, whose names are ``metadata``.

        Raises
        ------
        BgnbError
            If boost-histogram is not installed.
        """
        require("hist")
        import boost_histogram

        names = ("energy", "dety", "detx")
        axes = [boost_histogram.axis.Variable(getattr(self.axes, name).value, metadata=name) for name in names]
        histogram = boost_histogram.Histogram(*axes, storage=boost_histogram.storage.Int64())
        histogram.view()[...] = self.counts
        return histogram

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


class StackSum:
    """Sum of runs and stacks, which are added one by one, in place.

    The energy bins that contain the threshold and the limit of a run get neither counts nor
    livetime of this run.

    Parameters
    ----------
    axes, fovalign, mask
        See `stack_runs`.
    """

    def __init__(self, axes: CubeAxes, fovalign: FovAlign = "ALTAZ", mask: SourceMask | None = None) -> None:
        self._axes, self._fovalign, self._mask = axes, fovalign, mask
        self._counts = np.zeros(axes.shape, dtype=np.int64)
        self._livetime_us = np.zeros((axes.shape[0], 1, 1), dtype=np.int64)  # of the field of view once it depends on it
        self._runs: list[RunCounts] = []

    def add_run(self, events: EventList) -> None:
        """Add a run, or a piece of it."""
        here = self._mask.near(events.ra_pnt, events.dec_pnt, reach(self._axes)) if self._mask is not None else None
        part = here.open_fraction(events, self._axes, self._fovalign) if here else np.ones((self._axes.shape[0], 1, 1))
        bins, run = cut_events(events, self._axes, self._fovalign, here, part)
        np.add.at(self._counts.reshape(-1), bins, 1)
        planes = measured_planes(events.energy_threshold, events.energy_limit, self._axes)
        livetime_us = np.zeros(part.shape, dtype=np.int64)
        livetime_us[planes] = np.rint(part[planes] * (events.livetime * MICROSECONDS))
        self._livetime_us = self._livetime_us + livetime_us
        self._runs.append(run)

    def add(self, stack: Stack) -> None:
        """Add a stack with the same axes and frame."""
        self._counts += stack.counts
        livetime_us = stack.livetime_us
        self._livetime_us = self._livetime_us + (livetime_us if any(livetime_us.strides[1:]) else livetime_us[:, :1, :1])
        self._runs += stack.runs

    def stack(self, *, pieces: bool = False) -> Stack:
        """Return the sum; see `add_stacks`."""
        runs: dict[int, list[RunCounts]] = {}
        for number, run in enumerate(self._runs):
            runs.setdefault(run.obs_id if pieces else number, []).append(run)
        together = tuple(add_pieces(of_run) for of_run in runs.values())
        livetime_us = np.broadcast_to(self._livetime_us, self._axes.shape)
        return Stack(self._axes, self._fovalign, self._counts, livetime_us, together)


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

    Examples
    --------
    >>> import bgnb
    >>> runs = bgnb.open_runs("runs", "GADF")
    >>> events = (bgnb.read_event_list(runs.files(obs_id)) for obs_id in runs.obs_ids)
    >>> stack = bgnb.stack_runs(events, bgnb.CubeAxes.regular(n_energy=10, n_fov=20))
    >>> stack.counts.shape
    (10, 20, 20)
    >>> stack.livetime.max().to("h")
    <Quantity 2.5 h>
    """
    check_type("axes", axes, CubeAxes)
    if mask is not None:
        check_type("mask", mask, SourceMask)
    total = StackSum(axes, fovalign, mask)
    check_type("runs", runs, Iterable)
    for events in runs:
        check_type("each of runs", events, EventList)
        total.add_run(events)
    return total.stack()


def add_stacks(stacks: Iterable[tuple[K, Stack]], *, pieces: bool = False) -> dict[K, Stack]:
    """Add the stacks that have the same key. Only the sums and one stack are in memory at a time.

    Parameters
    ----------
    stacks : iterable of tuple
        Keys, which can be ordered, and stacks on the same axes and in the same frame.
    pieces : bool
        Join the entries of ``runs`` that are pieces of the same run. Otherwise a run that would
        be counted twice is an error.

    Returns
    -------
    dict of key to `Stack`
        The sums, in order of the keys.

    Raises
    ------
    BgnbError
        If a run would be counted twice.
    """
    first: dict[K, Stack] = {}
    sums: dict[K, StackSum] = {}
    for key, stack in stacks:
        if key in first:
            sums[key] = StackSum(stack.axes, stack.fovalign)
            sums[key].add(first.pop(key))
        if key in sums:
            sums[key].add(stack)
        else:
            first[key] = stack  # a single stack is not copied
    return {key: sums.pop(key).stack(pieces=pieces) if key in sums else first[key] for key in sorted({**first, **sums})}


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
