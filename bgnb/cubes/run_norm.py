"""Norm and tilt of the background of a run relative to the models, from the counts of the run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

import numpy as np

from bgnb._util.arrays import Floats
from bgnb._util.checks import check_type, checked_choice
from bgnb._util.errors import BgnbError, numbered
from bgnb.cubes.exclusion_mask import SourceMask
from bgnb.cubes.group_model import RateForRun
from bgnb.cubes.model_set import ModelSet
from bgnb.cubes.stack import stack_runs
from bgnb.observations.event_list import EventList

NormSource = Literal["run", "model"]

#: Standard deviation of log norm that is assumed a priori, larger than that of any known instrument, and its weight in runs.
VAGUE_SCATTER, VAGUE_RUNS = 0.5, 0.2
#: Number of standard deviations of scatter and counting from which on a run is an outlier.
FAR = 3.0
_MAX_STEPS = 100
_SETTLED = 1e-9


@dataclass(frozen=True, kw_only=True)
class RunNorm:
    """Norm and tilt by which the rate of a model is multiplied for a run, and their uncertainty.

    The factor at energy E, with x = ln(E / reference), is norm · exp(−tilt · x + curvature · x²), the mean over
    the possible norms and tilts. Without the curvature, which is small, this is the form of
    `gammapy.modeling.models.PowerLawNormSpectralModel`.

    Parameters
    ----------
    norm : float
        Factor at the reference energy.
    norm_error : float
        Standard deviation of the logarithm of the norm. A log-normal distribution with the mean ``norm`` has the
        median norm · exp(−norm_error² / 2).
    tilt : float
        Tilt of the factor.
    tilt_error : float
        Standard deviation of the tilt; 0 if the models state no scatter of the spectral index.
    correlation : float
        Correlation of log norm and tilt.
    curvature : float
        Curvature of the factor.
    reference_tev : float
        Reference energy, TeV.
    source : {"run", "model"}
        Origin of the norm: the counts of this run, or the expectation for any run.
    counts : int
        Number of events of the run that were compared with the models.
    expected : float
        Number of events that the models predict.
    covariance : ndarray, shape (energy, energy)
        Covariance of the logarithm of the predicted counts in the field of view, between the energy bins of
        the rate: of norm, tilt and models.
    of_models : ndarray, shape (energy, energy)
        Part of it that is due to the models, whose errors all runs have in common.
    """

    norm: float
    norm_error: float
    tilt: float
    tilt_error: float
    correlation: float
    curvature: float
    reference_tev: float
    source: NormSource
    counts: int
    expected: float
    covariance: Floats = field(repr=False, compare=False)
    of_models: Floats = field(repr=False, compare=False)

    def is_far(self, scatter: float) -> bool:
        """Check that the counts lie more than `FAR` standard deviations of scatter and counting from the prediction."""
        return _least_scatter(self.counts, self.expected) > scatter

    def factor(self, energy: Floats) -> Floats:
        """Compute the factor at energies (TeV)."""
        x = np.log(energy / self.reference_tev)
        return self.norm * np.exp(-self.tilt * x + self.curvature * x**2)

    def as_dict(self) -> dict[str, Any]:
        """Return all values except the covariances."""
        return {name: value for name, value in asdict(self).items() if name not in ("covariance", "of_models")}


def _least_scatter(counts: float, expected: float) -> float:
    """Return the scatter of log norm with which counts lie `FAR` standard deviations from a prediction."""
    if expected <= 0:
        return 0.0
    some = max(counts, 0.5)
    return float(np.sqrt(max((np.log(some / expected) / FAR) ** 2 - 1 / min(some, expected), 0.0)))


def norm_of_run(
    models: ModelSet, found: RateForRun, run: EventList, source: NormSource = "run", mask: SourceMask | None = None
) -> RunNorm:
    """Determine norm and tilt of the background of a run.

    Parameters
    ----------
    models : `~bgnb.ModelSet`
        The models.
    found : `~bgnb.cubes.group_model.RateForRun`
        Their rate for the run, see `~bgnb.ModelSet.mean_rate_for`.
    run : `~bgnb.EventList`
        The run.
    source : {"run", "model"}
        ``run``: see `fit_norm`; the counts are those at the energies that the models measured. ``model``: the
        expectation for any run, with norm 1.
    mask : `~bgnb.cubes.exclusion_mask.SourceMask`, optional
        Exclusion regions, whose events and livetime are not compared.

    Returns
    -------
    RunNorm
        With ``source="model"`` if nothing can be compared.

    Raises
    ------
    BgnbError
        If there is no such source.

    Examples
    --------
    >>> import bgnb
    >>> models, runs = bgnb.read_models("models"), bgnb.open_runs("runs", "GADF")
    >>> run = bgnb.read_event_list(runs.files(1))
    >>> norm = bgnb.norm_of_run(models, models.mean_rate_for(run), run)
    >>> round(norm.norm, 1), norm.source
    (1.0, 'run')
    """
    checked_choice("source", source, get_args(NormSource))
    check_type("models", models, ModelSet)
    check_type("found", found, RateForRun)
    axes = found.rate.axes
    stack = stack_runs([run], axes, models.fovalign, mask)
    counts = stack.counts.sum(axis=(1, 2))
    expected = (found.rate.quantity * stack.exposure).to_value("").sum(axis=(1, 2))
    low, high = models.energy_range(found.weights).to_value("TeV")
    energy = axes.energy_centers.value
    compared = (energy > low) & (energy < high) & (expected > 0)
    return fit_norm(
        np.where(compared, counts, 0),
        np.where(compared, expected, 0.0),
        energy,
        scatter=prior_scatter(models),
        tilt=models.scatter[1] or 0.0,
        reference_tev=models.reference_energy,
        of_models=models.count_covariance(found, *run.mean_pointing),
        source=source,
    )


def prior_scatter(models: ModelSet) -> float:
    """Return the standard deviation of log norm that is expected for a run.

    It is the root mean square of the scatter of the models, weighted by the number of differences between runs from
    which it was estimated, and of `VAGUE_SCATTER`, with the weight `VAGUE_RUNS`, because few runs may agree by chance.
    """
    scatter = models.scatter[0] or 0.0
    weight = 0 if models.scatter[0] is None else models.scatter_freedom
    return float(np.sqrt((weight * scatter**2 + VAGUE_RUNS * VAGUE_SCATTER**2) / (weight + VAGUE_RUNS)))


def fit_norm(
    counts: Floats,
    expected: Floats,
    energy: Floats,
    *,
    scatter: float,
    tilt: float,
    reference_tev: float,
    of_models: Floats,
    source: NormSource = "run",
) -> RunNorm:
    """Estimate norm and tilt of a run from its counts and the scatter from run to run.

    With x = ln(E / reference), the counts in an energy bin are Poisson distributed about
    expected · exp(a − b x − (scatter² + (tilt x)²) / 2). Before the counts are known, a and b are independent and normal with
    mean 0 and the standard deviations ``scatter`` and ``tilt`` (empirical Bayes), so that the mean of the factor
    is 1. Few counts therefore leave the norm near 1. The estimate is the maximum of the posterior density, and the
    covariance that of its normal approximation there. The counts of an outlier decide: its ``scatter`` is widened
    such that it lies `FAR` standard deviations from the expectation.

    Errors of the models which norm and tilt compensate do not contribute to the covariance of the predicted counts.

    Parameters
    ----------
    counts, expected : ndarray, shape (n,)
        Observed and predicted counts in energy bins, outside exclusion regions; 0 in bins that are not compared.
    energy : ndarray, shape (n,)
        Centres of these bins, TeV.
    scatter : float
        Standard deviation of log norm from run to run.
    tilt : float
        Standard deviation of the spectral index from run to run; if it is 0, only the norm is estimated.
    reference_tev : float
        Reference energy, TeV.
    of_models : ndarray, shape (n, n)
        Covariance of the logarithm of the predicted counts that is due to the models.
    source : {"run", "model"}
        With ``model`` the counts are only stated, as if none were expected.

    Returns
    -------
    RunNorm

    Examples
    --------
    >>> counts, expected, energy = np.array([120]), np.array([80.0]), np.array([1.0])
    >>> norm = fit_norm(counts, expected, energy, scatter=0.2, tilt=0.0, reference_tev=1.0, of_models=np.zeros((1, 1)))
    >>> 1 < norm.norm < 1.5, norm.norm_error < 0.1
    (True, True)
    """
    n_counts, n_expected = int(counts.sum()), float(expected.sum())
    if source == "model" or n_expected == 0:
        source, counts, expected = "model", np.zeros_like(counts), np.zeros_like(expected)
    else:
        scatter = max(scatter, _least_scatter(n_counts, n_expected))
    x = np.log(energy / reference_tev)
    design, widths = np.stack([np.ones(len(x)), -x], axis=1), np.array([scatter, tilt])
    prior = np.diag(widths**2)
    median = expected * np.exp(-np.einsum("ij,jk,ik->i", design, prior, design) / 2)
    free = widths > 0
    of_free, precision = design[:, free], np.diag(widths[free] ** -2.0)
    values = np.zeros(len(precision))
    for _ in range(_MAX_STEPS):
        predicted = median * np.exp(of_free @ values)
        curvature = (of_free.T * predicted) @ of_free + precision
        step = np.linalg.solve(curvature, of_free.T @ (counts - predicted) - precision @ values)
        largest = float(np.abs(step).max(initial=0.0))
        values = values + step / max(1.0, largest)
        if largest < _SETTLED:
            break
    else:
        raise BgnbError("not-converged", f"the norm of {n_counts} counts did not converge in {_MAX_STEPS} steps")
    mean, covariance = np.zeros(2), np.zeros((2, 2))
    mean[free], covariance[np.ix_(free, free)] = values, np.linalg.inv(curvature)
    # Relative deviations of the counts, of whatever origin, shift the logarithm of the prediction by response · deviations.
    # What is left of those of the models, the norm and the tilt is its error, with the shift by statistical fluctuations.
    response = design @ (covariance @ design.T * predicted)
    left = response - np.eye(len(x))
    of_counts = response / np.where(predicted > 0, predicted, 1.0) @ response.T
    excess = (covariance - prior) / 2
    errors = np.sqrt(np.diag(covariance))
    return RunNorm(
        norm=float(np.exp(mean[0] + excess[0, 0])),
        norm_error=float(errors[0]),
        tilt=float(mean[1] + 2 * excess[0, 1]),
        tilt_error=float(errors[1]),
        correlation=float(covariance[0, 1] / np.prod(errors)) if errors.all() else 0.0,
        curvature=float(excess[1, 1]),
        reference_tev=reference_tev,
        source=source,
        counts=n_counts,
        expected=n_expected,
        covariance=left @ (of_models + design @ prior @ design.T) @ left.T + of_counts,
        of_models=left @ of_models @ left.T,
    )


def notes_on_norms(norms: Mapping[int, RunNorm], source: str, scatter: float) -> list[str]:
    """Note runs without counts to compare, and those whose counts the scatter from run to run does not explain."""
    notes = []
    nothing = [obs_id for obs_id, norm in norms.items() if source == "run" and norm.source == "model"]
    if nothing:
        reason = "no counts to compare at the energies of the models outside the exclusion regions"
        notes.append(f"{reason}, so that the norm is that of the models: {numbered('run', nothing)}")
    if far := [obs_id for obs_id, norm in norms.items() if norm.is_far(scatter)]:
        reason = f"counts more than {FAR:g} standard deviations from the models (scatter from run to run: {scatter:.3f})"
        advice = "check weather and instrument, or whether the models are made for such runs"
        notes.append(f"{reason}; {advice}: {numbered('run', far)}")
    return notes
