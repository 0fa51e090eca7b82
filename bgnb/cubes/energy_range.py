"""Models averaged over a range of energies."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bgnb._util.arrays import Bools, Floats
from bgnb._util.errors import BgnbError
from bgnb.cubes.cube import Cube, CubeAxes
from bgnb.cubes.model import BackgroundModel


def in_energies(
    model: BackgroundModel,
    first: int,
    last: int,
    *,
    whole: bool = False,
    factors: Floats | float = 1.0,
    use: Bools | None = None,
) -> BackgroundModel:
    """Average a model over a range of energies.

    The rate is averaged over energy, and counts are added. The livetime is the mean livetime,
    weighted by the rate, so that rate · exposure is conserved. The error is averaged like the
    rate, as if energies were fully correlated: an upper limit. For a single energy bin, all
    values are those of the model.

    The rate contains all energies of the range. Counts and livetime, and with them the error
    that follows from the counts, are those of the energies at which a bin was exposed: the
    relative error of the rate is that of the measured part. It is too small if the livetime
    varies strongly within the range. Use `is_measured` to find out whether the range contains
    other energies.

    Parameters
    ----------
    model : `BackgroundModel`
        The model.
    first, last : int
        Indices of the edges in energy at which the range begins and ends.
    whole : bool
        A bin that was not exposed at all of these energies counts as not exposed, as in
        `~bgnb.cubes.rebin.rebin`.
    factors : ndarray, shape (last - first,), optional
        Factors by which the livetime of each energy bin in the range is multiplied, if the
        rates were multiplied by a different factor in each of them.
    use : ndarray of bool, shape (last - first,), optional
        Energy bins of the range that are averaged; by default all. The livetime is smaller by
        the part of the range that is not used, so that rate · exposure is still the counts.

    Returns
    -------
    BackgroundModel
        The model, with one energy bin.

    Raises
    ------
    BgnbError
        If there are no such edges, or the range is empty.
    """
    planes = np.arange(model.axes.shape[0])[energy_planes(model.axes, first, last)]
    used = np.ones(len(planes), dtype=bool) if use is None else use
    planes = planes[used]
    axes = CubeAxes(model.axes.energy[[first, last]], model.axes.dety, model.axes.detx)
    width = np.diff(model.axes.energy.value)[planes, None, None]
    part = width / width.sum()
    rate, livetime, counts = model.rate.quantity[planes], model.stack.livetime_us[planes], model.stack.counts[planes]
    events = rate.value * part
    events = np.where(events.any(axis=0), events, part)  # if all rates are zero, livetime is averaged over energy
    share = events / events.sum(axis=0) * np.broadcast_to(factors, used.shape)[used, None, None]
    if not used.all():
        share *= width.sum() / (axes.energy[1] - axes.energy[0]).value
    exposed = (livetime > 0).all(axis=0) if whole else (livetime > 0).any(axis=0)
    mean_livetime = np.where(exposed, np.maximum(np.rint((share * livetime).sum(axis=0)), 1), 0).astype(np.int64)
    stack = replace(model.stack, axes=axes, counts=(counts.sum(axis=0) * exposed)[None], livetime_us=mean_livetime[None])
    error = None if model.error is None else Cube(axes, (model.error.quantity[planes] * part).sum(axis=0)[None])
    return replace(model, rate=Cube(axes, (rate * part).sum(axis=0)[None]), stack=stack, error=error)


def is_measured(model: BackgroundModel, first: int, last: int) -> bool:
    """Return True if the model has livetime in all energy bins between two edges; always for a true model."""
    return bool(model.exposed[energy_planes(model.axes, first, last)].all())


def energy_planes(axes: CubeAxes, first: int, last: int) -> slice:
    """Return the energy bins between two edges.

    Raises
    ------
    BgnbError
        If there are no such edges, or the range is empty.
    """
    if not 0 <= first < last <= axes.shape[0]:
        raise BgnbError(
            "invalid-argument", f"edges in energy must be increasing and 0 to {axes.shape[0]}, got {first} and {last}"
        )
    return slice(first, last)
