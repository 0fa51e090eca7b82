"""Norm and tilt of the background of a run relative to the models, from the counts of the run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from bgnb._util.arrays import Floats
from bgnb.cubes.cube import Cube
from bgnb.cubes.exclusion_mask import SourceMask
from bgnb.cubes.model_set import ModelSet
from bgnb.cubes.stack import stack_runs
from bgnb.observations.event_list import EventList

NormSource = Literal["model", "run"]

#: Standard deviation of log norm that is assumed for runs of unknown models, more than that of any known instrument, and
#: its weight, in runs.
VAGUE_SCATTER, VAGUE_RUNS = 0.5, 0.2
_MAX_STEPS = 100
_SETTLED = 1e-9


@dataclass(frozen=True, kw_only=True)
class RunNorm:
    """Norm and tilt by which the rate of a model is multiplied for a run, and their uncertainty.

    The factor at energy E is norm · (E / reference)^−tilt, as in
    `gammapy.modeling.models.PowerLawNormSpectralModel`.

    Parameters
    ----------
    norm : float
        Mean of the norm.
    norm_error : float or None
        Standard deviation of its logarithm; None if the models do not state the scatter from run to run.
    tilt : float
        Mean of the tilt.
    tilt_error : float or None
        Standard deviation of the tilt; None as for the norm, 0 if the models state no scatter of the spectral index.
    correlation : float
        Correlation of log norm and tilt.
    reference_tev : float
        Reference energy, TeV.
    source : {"model", "run"}
        Origin of the norm: the expectation for any run, or the counts of this run.
    counts : int
        Number of events of the run that were compared with the models.
    expected : float
        Number of events that the models predict.
    """

    norm: float
    norm_error: float | None
    tilt: float
    tilt_error: float | None
    correlation: float
    reference_tev: float
    source: NormSource
    counts: int
    expected: float

    def factor(self, energy: Floats) -> Floats:
        """Compute the factor at energies (TeV)."""
        return self.norm * (energy / self.reference_tev) ** -self.tilt

    def covariance(self, energy: Floats) -> Floats:
        """Compute the covariance of the logarithm of the factor between energies (TeV).

        Parameters
        ----------
        energy : ndarray, shape (n,)
            Energies, TeV.

        Returns
        -------
        ndarray, shape (n, n)

        Examples
        --------
        >>> norm = fit_norm(np.array([100]), np.array([80.0]), np.array([1.0]), 0.2, 0.1, 1.0)
        >>> float(norm.norm_error) < 0.1
        True
        >>> bool(np.isclose(norm.covariance(np.array([1.0]))[0, 0], norm.norm_error**2))
        True
        """
        errors = np.array([self.norm_error or 0.0, self.tilt_error or 0.0])
        of_parameters = np.outer(errors, errors) * [[1.0, self.correlation], [self.correlation, 1.0]]
        design = np.stack([np.ones(len(energy)), -np.log(energy / self.reference_tev)], axis=1)
        return design @ of_parameters @ design.T


def norm_of_run(models: ModelSet, rate: Cube, run: EventList, source: NormSource, mask: SourceMask | None = None) -> RunNorm:
    """Determine norm and tilt of the background of a run.

    Parameters
    ----------
    models : `~bgnb.ModelSet`
        The models.
    rate : `~bgnb.Cube`
        Their rate for the run, see `~bgnb.ModelSet.mean_rate_for`.
    run : `~bgnb.EventList`
        The run.
    source : {"model", "run"}
        ``model``: norm 1, whose uncertainty is the scatter from run to run. ``run``: see `fit_norm`, with the scatter of
        `cautious_scatter`.
    mask : `~bgnb.cubes.exclusion_mask.SourceMask`, optional
        Exclusion regions, whose events and livetime are not compared.

    Returns
    -------
    RunNorm
    """
    stack = stack_runs([run], rate.axes, models.fovalign, mask)
    counts = stack.counts.sum(axis=(1, 2))
    expected = (rate.quantity * stack.exposure).to_value("").sum(axis=(1, 2))
    scatter, tilt = models.scatter
    if source == "run":
        energy = rate.axes.energy_centers.value
        return fit_norm(counts, expected, energy, cautious_scatter(models), tilt or 0.0, models.reference_energy)
    return RunNorm(
        norm=1.0,
        norm_error=scatter,
        tilt=0.0,
        tilt_error=None if scatter is None else tilt or 0.0,
        correlation=0.0,
        reference_tev=models.reference_energy,
        source="model",
        counts=int(counts.sum()),
        expected=float(expected.sum()),
    )


def cautious_scatter(models: ModelSet) -> float:
    """Estimate the standard deviation of log norm from run to run such that few runs that agree do not make it small.

    The variance is the mean of that of the models, weighted by the number of their runs, and of `VAGUE_SCATTER` squared,
    with the weight `VAGUE_RUNS`.
    """
    scatter, _ = models.scatter
    n_runs = 0 if scatter is None else len(models.obs_ids)
    variance = (n_runs * (scatter or 0.0) ** 2 + VAGUE_RUNS * VAGUE_SCATTER**2) / (n_runs + VAGUE_RUNS)
    return float(variance**0.5)


def fit_norm(counts: Floats, expected: Floats, energy: Floats, scatter: float, tilt: float, reference_tev: float) -> RunNorm:
    """Estimate norm and tilt of a run from its counts and the scatter from run to run.

    The counts in each energy bin are Poisson distributed about expected · exp(a − b ln(E / reference)).
    Before the counts are known, a is normal with mean −scatter² / 2 (so that the norm exp(a) has the mean 1) and
    standard deviation scatter, and b with mean 0 and standard deviation tilt (empirical Bayes). Few counts therefore
    leave the norm near 1. The estimate is the maximum of the posterior density, and the covariance that of its
    normal approximation there.

    Parameters
    ----------
    counts, expected : ndarray, shape (n,)
        Observed and predicted counts in energy bins, outside exclusion regions.
    energy : ndarray, shape (n,)
        Centres of these bins, TeV.
    scatter : float
        Standard deviation of log norm from run to run.
    tilt : float
        Standard deviation of the spectral index from run to run; if it is 0, only the norm is estimated.
    reference_tev : float
        Reference energy, at which log norm and spectral index vary independently from run to run, TeV.

    Returns
    -------
    RunNorm
    """
    widths = np.array([scatter, tilt])
    free = widths > 0
    design = np.stack([np.ones(len(energy)), -np.log(energy / reference_tev)], axis=1)[:, free]
    prior = np.array([-(widths[0] ** 2) / 2, 0.0])[free]
    precision = np.diag(widths[free] ** -2.0)
    values = prior
    for _ in range(_MAX_STEPS):
        predicted = expected * np.exp(design @ values)
        curvature = (design.T * predicted) @ design + precision
        step = np.linalg.solve(curvature, design.T @ (counts - predicted) - precision @ (values - prior))
        values = values + step / max(1.0, float(np.abs(step).max(initial=0.0)))
        if np.abs(step).max(initial=0.0) < _SETTLED:
            break
    mean, covariance = np.zeros(2), np.zeros((2, 2))
    mean[free], covariance[np.ix_(free, free)] = values, np.linalg.inv(curvature)
    errors = np.sqrt(np.diag(covariance))
    return RunNorm(
        norm=float(np.exp(mean[0] + covariance[0, 0] / 2)),
        norm_error=float(errors[0]),
        tilt=float(mean[1] + covariance[0, 1]),
        tilt_error=float(errors[1]),
        correlation=float(covariance[0, 1] / np.prod(errors)) if errors.all() else 0.0,
        reference_tev=reference_tev,
        source="run",
        counts=int(counts.sum()),
        expected=float(expected.sum()),
    )
