"""Comparison of two models, bin by bin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, get_args

import numpy as np
from astropy import units as u
from numpy.typing import NDArray

from bgnb._util.arrays import Bools, Floats, quotient
from bgnb._util.checks import check_type, checked_choice
from bgnb._util.errors import BgnbError, enumerate_values, numbered
from bgnb.cubes.cube import Cube, CubeAxes
from bgnb.cubes.energy_range import energy_planes, in_energies
from bgnb.cubes.event_cuts import RunCounts, common_runs
from bgnb.cubes.fov_region import FovRegion
from bgnb.cubes.model import BackgroundModel
from bgnb.cubes.profiles import Spectrum, exposed_weights, fov_weights, mean_spectrum, plane_integral
from bgnb.cubes.rebin import common_axes, rebin
from bgnb.observations.coordinates import mean_pointing
from bgnb.observations.sites import same_instrument

Normalise = Literal["none", "cube", "plane"]

#: Zones of the field of view in which the bias is given: limits of max(|x|, |y|), 0 at the centre and 1 at the edge.
ZONES = {"centre": (0.0, 0.25), "halfway": (0.4, 0.65), "rim": (0.85, 1.0)}

#: Minimum expected counts of the bins that contribute to the pulls of a cube.
MIN_EXPECTED = 10

#: Factor by which rates, or energies above which models are measured, may differ before a note says so.
NOTED_FACTOR = 2.0
#: Difference of the mean cosines of the zenith angles of the runs of two models from which on it is noted.
NOTED_COS_ZENITH = 0.03

#: Maximum relative difference of two models that are called the same.
SAME = 0.01


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
    notes : tuple of str
        Differences of the models besides their rates: instruments, axes, measured energies.

    Examples
    --------
    >>> import bgnb
    >>> axes = bgnb.CubeAxes.regular(n_energy=4, n_fov=10)
    >>> first, second = (bgnb.make_test_bg_cube_model(axes, altitude) for altitude in ("45 deg", "90 deg"))
    >>> comparison = bgnb.compare(first, second)
    >>> round(comparison.rate_ratio, 2), round(float(comparison.ratio[0, 5, 5]), 2)
    (1.33, 1.33)
    """

    first: BackgroundModel
    second: BackgroundModel
    normalise: Normalise
    factors: Floats
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Comparison({self.axes!r}, normalise={self.normalise!r}, ratio {self.rate_ratio:.4g})"

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
        return not common_runs(self.first.stack.runs, self.second.stack.runs)

    @property
    def no_pulls(self) -> str:
        """Reason why no bin has a pull; "" if there are pulls."""
        if not self.independent:
            return "the models share runs"
        return "" if len(self.pulls) else f"no bin has {MIN_EXPECTED} expected counts"

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
        return np.where(self.exposed_bins, quotient(difference, np.sqrt(variance)), np.nan)

    @property
    def exposed_bins(self) -> Bools:
        """Bins in which both models have livetime; those of a true model count as exposed."""
        return np.all([m.is_true | (m.stack.livetime_us > 0) for m in (self.first, self.second)], axis=0)

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

    @property
    def rate_ratio(self) -> float:
        """Ratio of the second to the first rate before normalisation, summed over the exposed energies."""
        first, second = self.plane_integrals()
        return float(quotient((second / self.factors)[self.exposed].sum(), first[self.exposed].sum()))

    def spectra(
        self,
        detx: u.Quantity | None = None,
        dety: u.Quantity | None = None,
        region: str | FovRegion | None = None,
    ) -> tuple[Spectrum, Spectrum]:
        """Compute the spectra of both models at a position or in a region, fitted at energies where both are exposed.

        Both are averaged over the same bins: if some of the bins of a region were exposed in
        both models at an energy, the others are excluded.

        Parameters
        ----------
        detx, dety, region
            See `~bgnb.spectrum`.

        Raises
        ------
        BgnbError
            If position or region lie outside the axes, or not exactly one of them is given.
        """
        weights = fov_weights(self.axes, detx, dety, region)
        if region is not None:
            weights = exposed_weights(np.broadcast_to(weights, self.axes.shape), self.exposed_bins)
        first, second = (
            mean_spectrum(model, weights, x, self.exposed)
            for model, x in zip((self.first, self.second), self.exposures, strict=True)
        )
        return first, second

    def compared_energies(self, first: int, last: int) -> Bools:
        """Find the energy bins between two edges at which both models have livetime; all of them if there is none.

        Returns
        -------
        ndarray of bool, shape (energy,)

        Raises
        ------
        BgnbError
            If there are no such edges, or the range is empty.
        """
        within = np.zeros(self.axes.shape[0], dtype=bool)
        within[energy_planes(self.axes, first, last)] = True
        both = within & self.exposed
        return both if both.any() else within

    def in_energies(self, first: int, last: int) -> Comparison:
        """Average both models over the `compared_energies` of a range, without normalising them again.

        Parameters
        ----------
        first, last : int
            Indices of the edges in energy at which the range begins and ends.

        Returns
        -------
        Comparison
            The models with one energy bin, see `~bgnb.cubes.energy_range.in_energies`, from the
            first to the last compared energy. Bins that were not exposed at all of these energies
            count as not exposed, so they have no pull. The factor of the second model is that of
            its rate integrated over these energies.

        Raises
        ------
        BgnbError
            If there are no such edges, or the range is empty.
        """
        planes = np.flatnonzero(self.compared_energies(first, last))
        first, last = int(planes[0]), int(planes[-1]) + 1
        use = np.isin(np.arange(first, last), planes)
        one = in_energies(self.first, first, last, whole=True, use=use)
        scaled, factors = plane_integral(self.second)[first:last], self.factors[first:last]
        raw = (scaled / factors)[use].sum()
        factor = scaled[use].sum() / raw if raw > 0 else 1.0
        other = in_energies(self.second, first, last, whole=True, factors=factor / factors, use=use)  # see `exposures`
        return Comparison(one, other, self.normalise, np.array([factor]), self.notes)


def checked_normalise(normalise: str) -> Normalise:
    """Check the name of a `Normalise`."""
    return checked_choice("normalise", normalise, get_args(Normalise))


def compare(first: BackgroundModel, second: BackgroundModel, normalise: str = "none") -> Comparison:
    """Compare two models.

    Models on different axes are rebinned to the coarser ones, over the range that both cover;
    see `common_axes` and `rebin`.

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
        If the models have different frames, or axes that do not overlap.

    Examples
    --------
    >>> import bgnb
    >>> model = bgnb.read_group_model("models", 27)
    >>> truth = bgnb.TrueModel(trigger_rate=4, spectral_index=1.5)
    >>> true = bgnb.make_test_bg_cube_model(model.axes, "75.4 deg", truth)
    >>> comparison = bgnb.compare(true, model)
    >>> round(comparison.rate_ratio, 1)
    1.0
    >>> abs(comparison.bias("centre")) < 0.1
    True
    """
    normalise = checked_normalise(normalise)
    check_type("first", first, BackgroundModel)
    check_type("second", second, BackgroundModel)
    if first.stack.fovalign != second.stack.fovalign:
        raise BgnbError(
            "frame-mismatch",
            f"models in different frames cannot be compared: {first.stack.fovalign} and {second.stack.fovalign}",
        )
    axes = common_axes(first.axes, second.axes)
    notes = (*_notes_on_axes(first.axes, second.axes, axes), *_notes_on_models(first, second))
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
    return Comparison(first, scaled, normalise, factors, (*notes, *_note_on_methods(raw)))


def note_on_rates(ratios: Mapping[int, float] | Mapping[str, float], rate: str, other: str, what: str) -> list[str]:
    """Note rates that differ by more than `NOTED_FACTOR`: one note, or none.

    Parameters
    ----------
    ratios : mapping of int or str to float
        Ratio of two rates, by group, run or energy bin; NaN and zero are skipped.
    rate, other : str
        Names of the two rates: numerator and denominator of the ratio.
    what : str
        ``group``, ``run`` or ``energy bin``.
    """
    positive = {number: ratio for number, ratio in ratios.items() if ratio > 0}
    if not (far := {number: ratio for number, ratio in positive.items() if max(ratio, 1 / ratio) > NOTED_FACTOR}):
        return []
    low, high = (f"{value:.2g}" if value < 100 else f"{value:.0f}" for value in (min(far.values()), max(far.values())))
    factor = low if low == high else f"{low} to {high}"
    where = numbered(what, far)
    return [f"{rate} is {factor} times {other}: {where}; are these the same instrument, configuration and analysis?"]


def _notes_on_axes(first: CubeAxes, second: CubeAxes, common: CubeAxes) -> list[str]:
    """Note the axes on which models with different axes are compared."""
    names: dict[str, list[str]] = {}
    for name in ("energy", "dety", "detx"):
        one, other, both = (getattr(axes, name) for axes in (first, second, common))
        if len(one) != len(other) or not np.allclose(one.value, other.value, rtol=1e-6, atol=1e-9):
            described = [f"{len(e) - 1} bins from {e[0].value:.3g} to {e[-1].value:.3g} {e.unit}" for e in (one, other, both)]
            names.setdefault(f"{described[0]}, and {described[1]}; compared in {described[2]}", []).append(name)
    return [f"the {' and '.join(axes)} axes differ: {text}" for text, axes in names.items()]


def mean_altitude(runs: Sequence[RunCounts]) -> float | None:
    """Return the mean altitude of runs, deg, weighted by livetime; None if one is not known, or without runs."""
    if not runs or any(run.alt_pnt is None for run in runs):
        return None
    pointings = np.array([(run.alt_pnt, run.az_pnt) for run in runs], dtype=float)
    return mean_pointing(pointings, np.array([run.livetime_s for run in runs]))[0]


def _notes_on_models(first: BackgroundModel, second: BackgroundModel) -> list[str]:
    """Note different instruments, selections of events, telescopes, altitudes, and energies above which both are measured."""
    notes = []
    names = first.stack.telescop, second.stack.telescop
    if not same_instrument(*names):
        notes.append(f"the models are of different instruments: {' and '.join(names)} (TELESCOP)")
    if not first.is_true and not second.is_true and first.stack.selection != second.stack.selection:
        one, other = (
            f"events with {each}" if each else "all events" for each in (first.stack.selection, second.stack.selection)
        )
        notes.append(f"the first model is made from {one}, the second from {other}")
    telescopes = [{-1 if run.n_tels is None else run.n_tels for run in model.stack.runs} for model in (first, second)]
    if all(telescopes) and -1 not in set.union(*telescopes) and telescopes[0].isdisjoint(telescopes[1]):
        one, other = (enumerate_values(sorted(numbers)) for numbers in telescopes)
        notes.append(f"the runs of the models have different numbers of telescopes (N_TELS): {one} and {other}")
    altitudes = [mean_altitude(model.stack.runs) for model in (first, second)]
    if None not in altitudes and abs(np.diff(np.sin(np.radians(np.array(altitudes, dtype=float))))[0]) > NOTED_COS_ZENITH:
        notes.append(f"the mean altitudes of the runs differ: {altitudes[0]:.1f} and {altitudes[1]:.1f} deg")
    if first.is_simulated != second.is_simulated:
        which = "first" if first.is_simulated else "second"
        notes.append(f"only the {which} model is simulated")
    if not first.is_true and not second.is_true and first.exposed.any() and second.exposed.any():
        low, high = (model.axes.energy[np.argmax(model.exposed)].value for model in (first, second))
        if max(low, high) > NOTED_FACTOR * min(low, high):
            notes.append(f"the models are measured above {low:.3g} and {high:.3g} TeV; compared where both are")
    return notes


def _note_on_methods(comparison: Comparison) -> list[str]:
    """Note that michi and the classic method agree if the livetime does not depend on the position."""
    first, second = comparison.first, comparison.second
    names = first.method, second.method
    if names[0] == names[1] or "michi" not in names or first.stack.obs_ids != second.stack.obs_ids:
        return []
    uniform = all(np.all(model.stack.livetime_us == model.stack.livetime_us[:, :1, :1]) for model in (first, second))
    difference = np.abs(comparison.ratio[comparison.exposed] - 1)
    if not uniform or not difference.size or not np.all(difference < SAME):
        return []
    reason = "as always if the livetime is the same in the whole field of view (no exclusion regions)"
    return [f"{names[0]} and {names[1]} agree within {100 * SAME:g} %, {reason}"]
