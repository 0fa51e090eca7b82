"""Profiles of a model along one axis: spectra at a position, radial profiles, rates of the whole field of view."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from astropy import units as u

from bgnb._util.arrays import Bools, Floats, quotient
from bgnb._util.errors import BgnbError
from bgnb.cubes.cube import CubeAxes
from bgnb.cubes.model import BackgroundModel
from bgnb.cubes.power_law import fit_power_law

#: Width of the rings of a radial profile, deg.
RING_WIDTH = 0.5


@dataclass(frozen=True)
class Spectrum:
    """Rate against energy at one position.

    Parameters
    ----------
    energy : ndarray
        Bin centres, TeV.
    rate, error : ndarray
        Rate and its statistical error, MeV-1 s-1 sr-1. The error is the one stated by the
        model, or else follows from the counts in the bin (NaN without exposure). It is zero
        for a true model.
    index, index_error : float
        Spectral index γ of the power law E^−γ fitted to the exposed bins, and its error; NaN
        if fewer than two bins have a rate above zero. The error always follows from the counts
        at this position, because stated errors contain no correlation between energies. As
        smoothing and fits use the counts of other bins as well, the actual error is smaller.
    """

    energy: Floats
    rate: Floats
    error: Floats
    index: float
    index_error: float


def spectrum(model: BackgroundModel, detx: u.Quantity, dety: u.Quantity) -> Spectrum:
    """Compute the spectrum of a model in the bin that contains a position.

    The index is fitted by Poisson likelihood to the counts that the rate predicts in each bin;
    for a true model it is fitted to the rates, with equal weights for all bins.

    Parameters
    ----------
    model : `BackgroundModel`
        The model.
    detx, dety : `~astropy.units.Quantity`
        Position in the field of view.

    Returns
    -------
    Spectrum
        Rate against energy, and the fitted index.

    Raises
    ------
    BgnbError
        If the position lies outside the axes.
    """
    iy, ix = bin_at(model.axes, detx, dety)
    return spectrum_of(model, iy, ix, model.stack.exposure.to_value("s MeV sr")[:, iy, ix], model.exposed)


def spectrum_of(model: BackgroundModel, iy: int, ix: int, exposure: Floats, use: Bools) -> Spectrum:
    """Compute the spectrum of a model in a bin of the field of view; the index is fitted in the energy bins to use."""
    energy, rate = model.axes.energy_centers.value, model.rate.quantity.value[:, iy, ix]
    if model.is_true:
        use = use & (rate > 0)
        law = fit_power_law(energy[use], np.ones(np.count_nonzero(use)), 1 / rate[use])
        return Spectrum(energy, rate, np.zeros_like(rate), law.index if law else math.nan, 0.0)
    use = use & (exposure > 0)
    law = fit_power_law(energy[use], (rate * exposure)[use], exposure[use])
    index, index_error = (law.index, law.index_error) if law else (math.nan, math.nan)
    stated = None if model.error is None else model.error.quantity.value[:, iy, ix]
    return Spectrum(energy, rate, np.sqrt(quotient(rate, exposure)) if stated is None else stated, index, index_error)


@dataclass(frozen=True)
class RadialProfile:
    """Mean rate against the offset from the centre of the field of view.

    Parameters
    ----------
    edges : ndarray
        Edges of the rings, deg, shape (n + 1,).
    rate, error : ndarray
        Mean rate in each ring and its statistical error, MeV-1 s-1 sr-1, shape (n,); NaN in
        rings without bins. If the model states its error, the error of the mean is an upper
        limit; otherwise it is NaN in planes without livetime.
    """

    edges: Floats
    rate: Floats
    error: Floats


def radial_profile(model: BackgroundModel, number: int) -> RadialProfile:
    """Compute the mean rate in an energy bin in rings about the centre of the field of view.

    Rings have the width `RING_WIDTH`, and contain the bins with centres in them. The mean is
    weighted by solid angle Ω; if only a part of the plane was exposed, the other bins are
    excluded. The variance of the rate in a bin is rate / exposure, and that of the mean is
    ∑ Ω² · rate / exposure / (∑ Ω)². If the model states its error, bins are correlated; the
    error of the mean is then ∑ Ω · error / ∑ Ω, as if they were fully correlated: an upper
    limit. It is zero for a true model, as in `Spectrum`.

    Parameters
    ----------
    model : `BackgroundModel`
        The model.
    number : int
        Index of the energy bin.

    Raises
    ------
    BgnbError
        If there is no such energy bin.
    """
    axes = model.axes
    if not 0 <= number < axes.shape[0]:
        raise BgnbError("invalid-argument", f"number must be 0 to {axes.shape[0] - 1}, got {number}")
    offset = np.hypot(axes.detx_centers.value, axes.dety_centers.value[:, None])
    ring = (offset / RING_WIDTH).astype(np.intp).ravel()
    edges = np.arange(ring.max() + 2) * RING_WIDTH
    rate = model.rate.quantity.value[number].ravel()
    exposure = model.stack.exposure.to_value("s MeV sr")[number].ravel()
    exposed = exposure > 0
    solid_angle = axes.solid_angle.value.ravel() * (exposed | ~exposed.any())

    def sums(values: Floats) -> Floats:
        return np.bincount(ring, values).astype(float)

    weight = sums(solid_angle)
    mean = quotient(sums(solid_angle * rate), weight)
    if model.is_true:
        return RadialProfile(edges, mean, np.zeros_like(mean))
    if model.error is not None:
        return RadialProfile(edges, mean, quotient(sums(solid_angle * model.error.quantity.value[number].ravel()), weight))
    variance = solid_angle**2 * quotient(rate, exposure, 0.0 if exposed.any() else np.nan)
    return RadialProfile(edges, mean, quotient(np.sqrt(sums(variance)), weight))


def plane_integral(model: BackgroundModel) -> Floats:
    """Compute the rate in the whole field of view for each energy bin, s-1."""
    return (model.rate.quantity * model.axes.bin_volume).to_value("s-1").sum(axis=(1, 2))


def bin_at(axes: CubeAxes, detx: u.Quantity, dety: u.Quantity) -> tuple[int, int]:
    """Return the indices in DETY and DETX of the bin that contains a position."""
    iy, ix = axes.bin_of("dety", dety.to_value("deg")), axes.bin_of("detx", detx.to_value("deg"))
    if iy is None or ix is None:
        value, edges = (dety, axes.dety) if iy is None else (detx, axes.detx)
        raise BgnbError("invalid-argument", f"{value} lies outside the field of view of the model, {edges[0]} to {edges[-1]}")
    return iy, ix
