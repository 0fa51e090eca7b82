"""Profiles of a model along one axis: spectra, radial profiles, profiles along DETX or DETY, rates of the whole plane."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from astropy import units as u
from numpy.typing import NDArray

from bgnb._util.arrays import Bools, Floats, quotient
from bgnb._util.checks import check_type, checked_choice, finite_number, to_value
from bgnb._util.errors import BgnbError
from bgnb.cubes.cube import CubeAxes
from bgnb.cubes.fov_region import FovRegion
from bgnb.cubes.model import BackgroundModel
from bgnb.observations.event_list import MICROSECONDS

#: Width of the rings of a radial profile, deg.
RING_WIDTH = 0.5


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Rate against energy at one position, or in a region of the field of view.

    Parameters
    ----------
    energy : ndarray
        Bin centres, TeV.
    rate, error : ndarray
        Rate and its statistical error, MeV-1 s-1 sr-1. The error is the one stated by the
        model, or else follows from the counts (NaN without exposure). It is zero for a true
        model. The error of the mean over a region is an upper limit if the model states its
        errors: bins are averaged as if they were fully correlated.
    index, index_error : float
        Spectral index γ of the power law E^−γ fitted to the exposed bins, and its error; NaN
        if fewer than two bins have a rate above zero. The error always follows from the counts
        at this position, because stated errors contain no correlation between energies. As
        smoothing and fits use the counts of other bins as well, the actual error is smaller.

    Examples
    --------
    >>> import bgnb
    >>> spectrum = bgnb.spectrum(bgnb.make_test_bg_cube_model(), region="circle(0, 0, 1)")
    >>> len(spectrum.energy), round(spectrum.index, 1)
    (20, 3.7)
    """

    energy: Floats
    rate: Floats
    error: Floats
    index: float
    index_error: float


def spectrum(
    model: BackgroundModel,
    detx: u.Quantity | None = None,
    dety: u.Quantity | None = None,
    region: str | FovRegion | None = None,
) -> Spectrum:
    """Compute the spectrum of a model in the bin that contains a position, or its mean over a region.

    The index is fitted by Poisson likelihood to the counts that the rate predicts in each bin;
    for a true model it is fitted to the rates, with equal weights for all bins.

    Parameters
    ----------
    model : `BackgroundModel`
        The model.
    detx, dety : `~astropy.units.Quantity`, optional
        Position in the field of view.
    region : str, optional
        Region of the field of view in deg, instead of a position: ``circle(x, y, r)``,
        ``annulus(x, y, r1, r2)`` or ``box(x, y, width, height)``, as in DS9. Bins are weighted
        by solid angle and the fraction of their area in the region. If only some of them were
        exposed at an energy, the others are excluded.

    Returns
    -------
    Spectrum
        Rate against energy, and the fitted index.

    Raises
    ------
    BgnbError
        If position or region lie outside the axes, or not exactly one of them is given.

    Examples
    --------
    >>> import bgnb
    >>> axes = bgnb.CubeAxes.regular(n_energy=10, n_fov=20)
    >>> model = bgnb.make_test_bg_cube_model(axes, "70 deg")
    >>> centre = bgnb.spectrum(model, region="circle(0, 0, 0.5)")
    >>> ring = bgnb.spectrum(model, region="annulus(0, 0, 2, 2.5)")
    >>> bool(ring.rate[0] < centre.rate[0])
    True
    """
    check_type("model", model, BackgroundModel)
    exposure = model.stack.exposure.to_value("s MeV sr")
    return mean_spectrum(model, fov_weights(model.axes, detx, dety, region), exposure, model.exposed)


def fov_weights(axes: CubeAxes, detx: u.Quantity | None, dety: u.Quantity | None, region: str | FovRegion | None) -> Floats:
    """Compute the weights of the bins for a mean over a region, in sr, or for the bin at a position; shape (dety, detx).

    Raises
    ------
    BgnbError
        If position or region lie outside the axes, or not exactly one of them is given.
    """
    if region is not None and detx is None and dety is None:
        found = FovRegion.from_text(region) if isinstance(region, str) else region
        check_type("region", found, FovRegion)
        return found.coverage(axes) * axes.solid_angle.value
    if region is not None or detx is None or dety is None:
        raise BgnbError("invalid-argument", "give either a position, detx and dety, or a region")
    weights = np.zeros(axes.shape[1:])
    weights[bin_at(axes, detx, dety)] = 1
    return weights


def mean_spectrum(model: BackgroundModel, weights: Floats, exposure: Floats, use: Bools) -> Spectrum:
    """Compute the spectrum of a model, averaged over the field of view.

    Parameters
    ----------
    model : `BackgroundModel`
        The model.
    weights : ndarray
        Weights of the bins, for example solid angles in a region, shape (dety, detx), or for
        each energy, shape (energy, dety, detx). At energies at which some of the bins with
        weight were exposed, the others are excluded.
    exposure : ndarray
        Exposure such that rate · exposure = counts, s MeV sr, shape (energy, dety, detx).
    use : ndarray of bool
        Energy bins in which the index is fitted, shape (energy,).

    Notes
    -----
    For weights w of sum 1, rates r and exposures x, the mean rate is ∑ w r and its variance
    ∑ w² r / x. The ratio of the two is the exposure of a single bin with the same rate and
    error. The index is fitted with the exposure that follows from the shape of the field of view at all energies together:
    the few counts at high energies alone would make it depend on where they happen to lie.
    """
    energy, n_energy = model.axes.energy_centers.value, model.axes.shape[0]
    seen = weights.reshape(-1, *model.axes.shape[1:]).any(axis=0)
    share = exposed_weights(np.broadcast_to(weights, model.axes.shape)[:, seen], exposure[:, seen] > 0)
    share = share / share.sum(axis=1, keepdims=True)
    rates = model.rate.quantity.value[:, seen]
    rate = (share * rates).sum(axis=1)
    if model.is_true:
        use = use & (rate > 0)
        index, _ = fit_index(energy[use], np.ones(np.count_nonzero(use)), 1 / rate[use])
        return Spectrum(energy, rate, np.zeros(n_energy), index, 0.0)
    effective = _effective_exposure(share, quotient(rates, rate[:, None], 1.0), exposure[:, seen])
    shape = quotient((rates * exposure[:, seen]).sum(axis=0), (rate[:, None] * exposure[:, seen]).sum(axis=0), 1.0)
    exposure_of_index = _effective_exposure(share, np.broadcast_to(shape, rates.shape), exposure[:, seen])
    use = use & (exposure_of_index > 0)
    index, index_error = fit_index(energy[use], (rate * exposure_of_index)[use], exposure_of_index[use])
    if model.error is None:
        return Spectrum(energy, rate, np.sqrt(quotient(rate, effective)), index, index_error)
    return Spectrum(energy, rate, (share * model.error.quantity.value[:, seen]).sum(axis=1), index, index_error)


def fit_index(energy: Floats, counts: Floats, exposure: Floats) -> tuple[float, float]:
    """Fit counts / exposure ∝ E^−index to Poisson distributed counts by maximum likelihood.

    This is a Poisson regression with a logarithmic link, solved by Fisher scoring (McCullagh
    and Nelder, Generalized Linear Models, 1989). Bins without counts contribute to the
    likelihood.

    Parameters
    ----------
    energy, counts, exposure : ndarray, shape (n,)
        Energy, counts and exposure of each bin; exposures above zero. Counts need not be integers.

    Returns
    -------
    index, error : float
        The index and its statistical error; NaN if fewer than two bins have counts, or the fit does not converge.
    """
    populated = counts > 0
    if np.count_nonzero(populated) < 2:
        return math.nan, math.nan
    x = np.log(energy) - np.average(np.log(energy), weights=counts)
    design = np.stack([np.ones_like(x), -x], axis=1)
    rate = counts[populated] / exposure[populated]
    slope, constant = np.polyfit(x[populated], np.log(rate), 1, w=np.sqrt(counts[populated]))
    beta = np.array([constant, -slope])
    for _ in range(100):
        expected = exposure * np.exp(np.clip(design @ beta, -700, 700))
        information = (design * expected[:, None]).T @ design
        try:
            covariance = np.linalg.inv(information)
        except np.linalg.LinAlgError:
            break
        step = covariance @ design.T @ (counts - expected)
        beta = beta + np.clip(step, -1, 1)
        if np.abs(step).max() < 1e-8:
            return float(beta[1]), float(np.sqrt(covariance[1, 1]))
    return math.nan, math.nan


def exposed_weights(weights: Floats, exposed: Bools) -> Floats:
    """Set the weights of bins that were not exposed to zero, at each energy at which a bin with weight was exposed."""
    some = ((weights > 0) & exposed).any(axis=tuple(range(1, weights.ndim)), keepdims=True)
    return weights * (exposed | ~some)


def _effective_exposure(share: Floats, relative_rate: Floats, exposure: Floats) -> Floats:
    """Compute 1 / ∑ w² ρ / x at each energy, such that it is exactly x for a single bin; zero without exposure."""
    largest = exposure.max(axis=1)
    return quotient(largest, (share**2 * relative_rate * quotient(largest[:, None], exposure, 0.0)).sum(axis=1), 0.0)


@dataclass(frozen=True, eq=False)
class Profile:
    """Mean rate against the offset from the centre of the field of view, or along DETX or DETY.

    Parameters
    ----------
    edges : ndarray
        Edges of the rings or bins, deg, shape (n + 1,).
    rate, error : ndarray
        Mean rate in each of them and its statistical error, MeV-1 s-1 sr-1, shape (n,); NaN in
        rings without bins. If the model states its error, the error of the mean is an upper
        limit; otherwise it is NaN in planes without livetime.
    """

    edges: Floats
    rate: Floats
    error: Floats


def radial_profile(model: BackgroundModel, number: int, exposed: Bools | None = None) -> Profile:
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
    exposed : ndarray of bool, optional
        Bins that count as exposed, shape (dety, detx); by default those with livetime.

    Raises
    ------
    BgnbError
        If there is no such energy bin.
    """
    offset = np.hypot(model.axes.detx_centers.value, model.axes.dety_centers.value[:, None])
    ring = (offset / RING_WIDTH).astype(np.intp)
    return _labelled_means(model, number, ring, np.arange(ring.max() + 2) * RING_WIDTH, exposed)


def strip_profile(
    model: BackgroundModel, number: int, axis: str, center: float, half_width: float = 0.5, exposed: Bools | None = None
) -> Profile:
    """Compute the mean rate in an energy bin along DETX or DETY, in a strip of the field of view.

    The mean, and its error, are those of `radial_profile`.

    Parameters
    ----------
    model : `BackgroundModel`
        The model.
    number : int
        Index of the energy bin.
    axis : {"detx", "dety"}
        Axis of the profile, whose bins are those of the model.
    center : float
        Centre of the strip on the other axis, deg.
    half_width : float
        The strip contains the bins of the other axis whose centres are at most this far from
        its centre, deg; if there are none, the bin at its centre, or nearest to it.
    exposed : ndarray of bool, optional
        Bins that count as exposed, as in `radial_profile`.

    Raises
    ------
    BgnbError
        If there is no such energy bin or axis.
    """
    axis = checked_choice("axis", axis, ("detx", "dety"))
    other: Literal["detx", "dety"] = "dety" if axis == "detx" else "detx"
    center, half_width = finite_number("center", center, "deg"), finite_number("half_width", half_width, "deg")
    centers = getattr(model.axes, f"{other}_centers").value
    within = np.abs(centers - center) <= half_width + 1e-9
    if not within.any():
        within[model.axes.nearest_bin(other, center)] = True
    edges = getattr(model.axes, axis).value
    label = np.where(within[:, None], np.arange(len(edges) - 1), -1)
    return _labelled_means(model, number, label if axis == "detx" else label.T, edges, exposed)


def _labelled_means(
    model: BackgroundModel, number: int, label: NDArray[np.intp], edges: Floats, exposed: Bools | None
) -> Profile:
    """Average the rate in an energy bin over bins with the same label, 0 to n − 1; bins with label −1 are excluded."""
    axes = model.axes
    if not 0 <= number < axes.shape[0]:
        raise BgnbError("invalid-argument", f"number must be 0 to {axes.shape[0] - 1}, got {number}")
    inside = label >= 0
    rate = model.rate.quantity.value[number][inside]
    exposed = model.stack.livetime_us[number] > 0 if exposed is None else exposed
    weights = (axes.solid_angle.value * (exposed | ~exposed.any()))[inside]

    def sums(values: Floats) -> Floats:
        return np.bincount(label[inside], values, minlength=len(edges) - 1).astype(float)

    weight = sums(weights)
    mean = quotient(sums(weights * rate), weight)
    if model.is_true:
        return Profile(edges, mean, np.zeros_like(mean))
    if model.error is not None:
        return Profile(edges, mean, quotient(sums(weights * model.error.quantity.value[number][inside]), weight))
    exposure = (model.stack.livetime_us[number] / MICROSECONDS * axes.bin_volume.value[number])[inside]
    variance = weights**2 * quotient(rate, exposure, 0.0 if exposed.any() else np.nan)
    return Profile(edges, mean, quotient(np.sqrt(sums(variance)), weight))


def plane_integral(model: BackgroundModel) -> Floats:
    """Compute the rate in the whole field of view for each energy bin, s-1."""
    return (model.rate.quantity * model.axes.bin_volume).to_value("s-1").sum(axis=(1, 2))


def bin_at(axes: CubeAxes, detx: u.Quantity, dety: u.Quantity) -> tuple[int, int]:
    """Return the indices in DETY and DETX of the bin that contains a position."""
    iy, ix = axes.bin_of("dety", to_value("dety", dety, "deg")), axes.bin_of("detx", to_value("detx", detx, "deg"))
    if iy is None or ix is None:
        value, edges = (dety, axes.dety) if iy is None else (detx, axes.detx)
        raise BgnbError("invalid-argument", f"{value} lies outside the field of view of the model, {edges[0]} to {edges[-1]}")
    return iy, ix
