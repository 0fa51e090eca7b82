"""Comparison of two models, bin by bin."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, get_args

import numpy as np
from astropy import units as u
from numpy.typing import NDArray

from bgnb._util.arrays import Floats, quotient
from bgnb._util.checks import checked_choice
from bgnb._util.errors import BgnbError
from bgnb.cubes.cube import RATE_UNIT, Cube, CubeAxes
from bgnb.cubes.model import BackgroundModel
from bgnb.cubes.profiles import Spectrum, bin_at, plane_integral, spectrum_of
from bgnb.cubes.stack import Stack

Normalise = Literal["none", "cube", "plane"]

#: Zones of the field of view in which the bias is given: limits of max(|x|, |y|), 0 at the centre and 1 at the edge.
ZONES = {"centre": (0.0, 0.25), "halfway": (0.4, 0.65), "rim": (0.85, 1.0)}

#: Minimum expected counts of the bins that contribute to the pulls of a cube.
MIN_EXPECTED = 10


@dataclass(frozen=True, eq=False)
class Comparison:
    """Two models on the same axes. The first is the reference, for example a true model.

    Parameters
    ----------
    first, second : `BackgroundModel`
        The models, on their common axes; the second is normalised to the first.
    normalise : {"none", "cube", "plane"}
        Normalisation of the second model, see `compare`.
    factors : ndarray, shape (energy,)
        Factors by which the second model was multiplied.
    """

    first: BackgroundModel
    second: BackgroundModel
    normalise: Normalise
    factors: Floats

    @property
    def axes(self) -> CubeAxes:
        """The common axes."""
        return self.first.axes

    @cached_property
    def ratio(self) -> Floats:
        """Ratio of the second to the first rate, shape (energy, dety, detx); NaN where the first is zero."""
        return quotient(self.second.rate.quantity.value, self.first.rate.quantity.value)

    @cached_property
    def exposures(self) -> tuple[Floats, Floats]:
        """Exposures in s MeV sr, such that rate · exposure = counts; that of the second model includes its scaling."""
        first, second = (model.stack.exposure.to_value("s MeV sr") for model in (self.first, self.second))
        return first, second / self.factors[:, None, None]

    @property
    def _common_rate(self) -> Floats:
        """Common rate under the null hypothesis: that of the true model, else (n₁ + n₂) / (x₁ + x₂)."""
        rate1, rate2 = self.first.rate.quantity.value, self.second.rate.quantity.value
        if self.first.is_true or self.second.is_true:
            return rate1 if self.first.is_true else rate2
        x1, x2 = self.exposures
        return quotient(rate1 * x1 + rate2 * x2, x1 + x2)

    @property
    def independent(self) -> bool:
        """True if the models share no runs, so that their statistical errors are independent."""
        return not set(self.first.stack.obs_ids) & set(self.second.stack.obs_ids)

    @cached_property
    def expected(self) -> Floats:
        """Expected counts in each bin for the smaller of the two exposures."""
        used = [x for x, model in zip(self.exposures, (self.first, self.second), strict=True) if not model.is_true]
        return np.nan_to_num(self._common_rate * np.min(used, axis=0)) if used else np.zeros(self.axes.shape)

    @cached_property
    def pull(self) -> Floats:
        """Difference (second − first) divided by its statistical error, assuming a common rate.

        The common rate is (n₁ + n₂) / (x₁ + x₂) with counts n = rate · exposure x, and the
        variance of the difference is this rate times (1/x₁ + 1/x₂). If a model states its
        error, the square of this error replaces rate / x. A true model has no error.

        The pull is NaN in bins where a model (other than a true model) has no livetime or no
        counts are expected, and in all bins if the models share runs. Smoothing correlates
        bins, so the pulls of smoothed models have a width below 1.
        """
        if not self.independent:
            return np.full(self.axes.shape, np.nan)
        variance = np.zeros(self.axes.shape)
        for x, model in zip(self.exposures, (self.first, self.second), strict=True):
            if model.error is not None:
                variance += model.error.quantity.value**2
            elif not model.is_true:
                variance += self._common_rate * quotient(1.0, x)
        difference = self.second.rate.quantity.value - self.first.rate.quantity.value
        exposed = np.all([m.is_true | (m.stack.livetime_us > 0) for m in (self.first, self.second)], axis=0)
        return np.where(exposed, quotient(difference, np.sqrt(variance)), np.nan)

    @property
    def pulls(self) -> Floats:
        """Pulls of all bins with at least `MIN_EXPECTED` expected counts."""
        pulls = self.pull[self.expected >= MIN_EXPECTED]
        return pulls[np.isfinite(pulls)]

    @cached_property
    def exposed(self) -> NDArray[np.bool_]:
        """Energy planes in which both models have livetime; a true model counts as exposed."""
        return self.first.exposed & self.second.exposed

    def bias(self, zone: str) -> float:
        """Compute the relative difference of the rates, integrated over a zone of the field of view and the exposed energies.

        Parameters
        ----------
        zone : {"centre", "halfway", "rim"}
            See `ZONES`.

        Raises
        ------
        BgnbError
            If there is no such zone.
        """
        low, high = ZONES[checked_choice("zone", zone, ZONES)]
        centres = ((self.axes.dety_centers, self.axes.dety), (self.axes.detx_centers, self.axes.detx))
        y, x = (np.abs(centre.value / np.abs(edges.value).max()) for centre, edges in centres)
        distance = np.maximum(y[:, None], x[None, :])
        weight = self.axes.bin_volume.value * ((distance >= low) & (distance <= high)) * self.exposed[:, None, None]
        first, second = (float((m.rate.quantity.value * weight).sum()) for m in (self.first, self.second))
        return second / first - 1 if first > 0 else float("nan")

    def plane_integrals(self) -> tuple[Floats, Floats]:
        """Compute the rate in the whole field of view for each energy bin, s-1, for both models."""
        return plane_integral(self.first), plane_integral(self.second)

    def spectra(self, detx: u.Quantity, dety: u.Quantity) -> tuple[Spectrum, Spectrum]:
        """Compute the spectra of both models in the bin that contains a position, fitted at energies where both are exposed."""
        iy, ix = bin_at(self.axes, detx, dety)
        first, second = (
            spectrum_of(model, iy, ix, x[:, iy, ix], self.exposed)
            for model, x in zip((self.first, self.second), self.exposures, strict=True)
        )
        return first, second


def checked_normalise(normalise: str) -> Normalise:
    """Check the name of a `Normalise`."""
    return checked_choice("normalise", normalise, get_args(Normalise))


def compare(first: BackgroundModel, second: BackgroundModel, normalise: str = "none") -> Comparison:
    """Compare two models.

    Models on different axes are rebinned to the coarser ones, over the range that both cover.
    Each edge of the coarser axes must be an edge of the finer ones as well.

    Parameters
    ----------
    first, second : `BackgroundModel`
        The models; the first is the reference.
    normalise : {"none", "cube", "plane"}
        Scale the second model such that it has the same integral as the first, over the whole
        cube or over each energy plane. Only energies at which both are exposed are used.

    Returns
    -------
    Comparison
        The two models on the same axes.

    Raises
    ------
    BgnbError
        If the models have different frames, or axes without a common grid.
    """
    normalise = checked_normalise(normalise)
    if first.stack.fovalign != second.stack.fovalign:
        raise BgnbError(
            "frame-mismatch",
            f"models in different frames cannot be compared: {first.stack.fovalign} and {second.stack.fovalign}",
        )
    axes = common_axes(first.axes, second.axes)
    first, second = rebin(first, axes), rebin(second, axes)
    raw = Comparison(first, second, "none", np.ones(axes.shape[0]))
    planes = [np.where(raw.exposed, integral, 0) for integral in raw.plane_integrals()]
    factors = np.ones(axes.shape[0])
    if normalise == "cube":
        if not planes[0].sum() > 0 or not planes[1].sum() > 0:
            raise BgnbError(
                "nothing-to-compare", "the models cannot be normalised: there is no energy at which both are exposed"
            )
        factors[:] = planes[0].sum() / planes[1].sum()
    elif normalise == "plane":
        factors = np.divide(planes[0], planes[1], out=factors, where=(planes[0] > 0) & (planes[1] > 0))
    by_plane = factors[:, None, None]
    error = None if second.error is None else Cube(axes, second.error.quantity * by_plane)
    scaled = replace(second, rate=Cube(axes, second.rate.quantity * by_plane), error=error)
    return Comparison(first, scaled, normalise, factors)


def common_axes(first: CubeAxes, second: CubeAxes) -> CubeAxes:
    """Find the coarser of two grids over the range that both cover.

    Raises
    ------
    BgnbError
        If the ranges do not overlap, or an edge of the coarser grid is not an edge of the finer one.
    """
    edges = {}
    for name in ("energy", "dety", "detx"):
        one, other = getattr(first, name), getattr(second, name).to(getattr(first, name).unit)
        tolerance = 1e-6 * np.abs(one.value).max()
        low = max(one.value[0], other.value[0]) - tolerance
        high = min(one.value[-1], other.value[-1]) + tolerance
        inside = [edge.value[(edge.value >= low) & (edge.value <= high)] for edge in (one, other)]
        coarse, fine = sorted(inside, key=len)
        if len(coarse) < 2:
            raise BgnbError(
                "axes-mismatch",
                f"the {name} axes of the models do not overlap: {one[0]} to {one[-1]}, and {other[0]} to {other[-1]}",
            )
        if not all(np.isclose(fine, edge, rtol=1e-6, atol=1e-9 * high).any() for edge in coarse):
            raise BgnbError(
                "axes-mismatch",
                f"the {name} axes of the models have no common grid: {len(one) - 1} and {len(other) - 1} bins;"
                " make both with the same number of bins",
            )
        edges[name] = coarse * one.unit
    return CubeAxes(**edges)


def rebin(model: BackgroundModel, axes: CubeAxes) -> BackgroundModel:
    """Rebin a model to coarser axes whose edges are a subset of its own.

    Rates are averaged over volume, and counts are added. The livetime of a coarser bin is
    chosen such that rate · exposure is conserved. A coarser bin that was only partly exposed
    counts as not exposed. The error is averaged over volume like the rate, as if the bins
    were fully correlated: an upper limit.
    """
    if axes == model.axes:
        return model
    volume, livetime = model.axes.bin_volume.value, model.stack.livetime_us.astype(float)
    events = model.rate.quantity.value * volume
    known = _rebinned(volume * (livetime == 0), model.axes, axes) == 0
    weight = np.where(events > 0, events, 1e-30 * volume)  # livetime is averaged over volume if all rates are zero
    mean_livetime = _rebinned(livetime * weight, model.axes, axes) / _rebinned(weight, model.axes, axes)
    livetime_us = np.where(known, np.rint(mean_livetime), 0).astype(np.int64)
    counts = np.where(known, _rebinned(model.stack.counts.astype(float), model.axes, axes), 0).astype(np.int64)
    stack = Stack(axes, model.stack.fovalign, counts, livetime_us, model.stack.runs)
    error = None if model.error is None else _averaged(model.error, axes)
    return BackgroundModel(_averaged(model.rate, axes), stack, model.method, error)


def _averaged(cube: Cube, axes: CubeAxes) -> Cube:
    """Average a rate over volume, on coarser axes."""
    sums = _rebinned(cube.quantity.to_value(RATE_UNIT) * cube.axes.bin_volume.value, cube.axes, axes)
    return Cube(axes, sums / axes.bin_volume.value * RATE_UNIT)


def _rebinned(values: Floats, fine: CubeAxes, coarse: CubeAxes) -> Floats:
    for axis, name in enumerate(("energy", "dety", "detx")):
        old, new = getattr(fine, name).value, getattr(coarse, name).value
        starts = [int(np.argmin(np.abs(old - edge))) for edge in new]
        values = np.add.reduceat(values.take(range(starts[-1]), axis=axis), starts[:-1], axis=axis)
    return values
