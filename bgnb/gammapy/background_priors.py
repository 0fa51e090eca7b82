"""Uncertainty of backgrounds, and priors on background models of Gammapy."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.table import Table

from bgnb._util.arrays import Floats
from bgnb._util.errors import BgnbError
from bgnb.gammapy.run_background import RunBackground

if TYPE_CHECKING:
    from gammapy.datasets import Datasets, MapDataset

#: Standard deviation of the logarithm of the counts that is assumed in each energy bin in addition, so that every
#: covariance can be inverted.
BIN_ERROR = 0.001
# Standard deviation below which a tilt is due to rounding.
_NO_TILT = 1e-6
# Fraction of the largest number of predicted counts in an energy bin below which a bin has none.
_NO_COUNTS = 1e-9
# Relative difference of the edges of the same energy bins, which Gammapy stacks, due to rounding and to other units.
_SAME_EDGE = 1e-6
_COLUMNS = ("BKG_ENERGY", "BKG_COUNTS", "BKG_COV", "BKG_COV_MODELS")


@dataclass(frozen=True, kw_only=True, eq=False)
class BackgroundErrors:
    """Uncertainty of the predicted background of a dataset.

    Parameters
    ----------
    edges : ndarray, shape (n + 1,)
        Edges of the energy bins, TeV.
    counts : ndarray, shape (n,)
        Predicted counts.
    covariance : ndarray, shape (n, n)
        Covariance of the logarithm of the predicted counts.
    of_models : ndarray, shape (n, n)
        Part of it that is due to the models, whose errors all runs have in common.
    """

    edges: Floats
    counts: Floats
    covariance: Floats
    of_models: Floats

    @classmethod
    def of_run(cls, background: RunBackground) -> BackgroundErrors:
        """Return the uncertainty of the background of a run, in the energy bins of its rate."""
        axes = background.rate.axes
        counts = (background.rate.quantity * axes.bin_volume).to_value("s-1").sum(axis=(1, 2)) * background.run.stated_ontime
        return cls(
            edges=axes.energy.to_value("TeV"),
            counts=counts,
            covariance=background.covariance,
            of_models=background.of_models,
        )

    def on_edges(self, edges: Floats) -> BackgroundErrors:
        """Convert to other energy bins, TeV; those without overlap have the errors of the nearest one."""
        log_edges, log_own = np.log(edges), np.log(self.edges)
        overlap = np.minimum(log_edges[1:, None], log_own[1:]) - np.maximum(log_edges[:-1, None], log_own[:-1])
        share = np.maximum(overlap, 0) / np.diff(log_own)
        counts = share @ self.counts
        outside = np.flatnonzero(counts <= 0)
        distance = np.abs((log_edges[1:] + log_edges[:-1])[outside, None] - (log_own[1:] + log_own[:-1]))
        weights = share * self.counts / np.where(counts > 0, counts, 1.0)[:, None]
        weights[outside, distance.argmin(axis=1)] = 1.0
        covariance, of_models = (weights @ matrix @ weights.T for matrix in (self.covariance, self.of_models))
        return BackgroundErrors(edges=edges, counts=counts, covariance=covariance, of_models=of_models)

    @property
    def columns(self) -> dict[str, Floats]:
        """Columns of a table with one row, flat, because Gammapy joins rows when it stacks datasets."""
        values = (self.edges, self.counts, self.covariance, self.of_models)
        return {name: np.ravel(each)[None] for name, each in zip(_COLUMNS, values, strict=True)}

    @classmethod
    def from_columns(cls, table: Table) -> BackgroundErrors:
        """Return the uncertainty of the sum of the backgrounds of one or several runs, see `stack`."""
        edges = np.unique(np.ravel(table[_COLUMNS[0]]))
        edges = edges[np.r_[True, np.diff(edges) > _SAME_EDGE * edges[1:]]]
        n_energy = len(edges) - 1
        counts = np.reshape(table[_COLUMNS[1]], (-1, n_energy))
        matrices = (np.reshape(table[name], (-1, n_energy, n_energy)) for name in _COLUMNS[2:])
        runs = zip(counts, *matrices, strict=True)
        return cls.stack(
            [cls(edges=edges, counts=each, covariance=covariance, of_models=shared) for each, covariance, shared in runs]
        )

    @classmethod
    def stack(cls, runs: list[BackgroundErrors]) -> BackgroundErrors:
        """Add the backgrounds of runs: errors of the models are fully correlated between runs, others not at all.

        In bins without counts, all runs have the same weight.
        """
        counts = np.sum([run.counts for run in runs], axis=0)
        shares = [np.divide(run.counts, counts, out=np.full(len(counts), 1 / len(runs)), where=counts > 0) for run in runs]
        weights = [share[:, None] for share in shares]
        pairs = list(zip(weights, runs, strict=True))
        root = np.sum([weight * _square_root(run.of_models) for weight, run in pairs], axis=0)
        own = np.sum([weight * (run.covariance - run.of_models) * weight.T for weight, run in pairs], axis=0)
        of_models = root @ root.T
        return cls(edges=runs[0].edges, counts=counts, covariance=own + of_models, of_models=of_models)


def _same_edges(one: Floats, other: Floats) -> bool:
    return len(one) == len(other) and np.allclose(one, other, rtol=_SAME_EDGE, atol=0)


def _square_root(matrix: Floats) -> Floats:
    """Compute the symmetric square root of a covariance."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T


def counts_in_mask(dataset: MapDataset, mask: Any) -> Floats:
    """Sum the background of a dataset in each energy bin, within a mask if there is one."""
    counts = dataset.background.data
    if mask is not None:
        counts = np.where(mask.data, counts, 0.0)
    return np.reshape(counts, (len(counts), -1)).sum(axis=1)


def background_errors(dataset: MapDataset) -> BackgroundErrors:
    """Return the uncertainty of the background of a dataset in its energy bins; the counts are those within its mask.

    Parameters
    ----------
    dataset : `~gammapy.datasets.MapDataset` or `~gammapy.datasets.SpectrumDataset`
        Dataset of an observation, or stacked, whose background was made by `BackgroundMaker`.

    Returns
    -------
    BackgroundErrors

    Raises
    ------
    BgnbError
        If the dataset has no valid columns of `BackgroundMaker` in its ``meta_table``, no background, one that is not
        finite or negative, or off counts.

    Examples
    --------
    >>> from gammapy.data import DataStore
    >>> from gammapy.datasets import MapDataset
    >>> from gammapy.makers import MapDatasetMaker
    >>> from gammapy.maps import MapAxis, WcsGeom
    >>> import bgnb
    >>> observation = DataStore.from_dir("runs").obs(1, required_irf=["aeff"])
    >>> energy = MapAxis.from_energy_bounds("0.2 TeV", "20 TeV", nbin=4)
    >>> geom = WcsGeom.create(skydir=observation.pointing.fixed_icrs, width=4, binsz=0.2, axes=[energy])
    >>> dataset = MapDatasetMaker(selection=["counts"]).run(MapDataset.create(geom), observation)
    >>> dataset = bgnb.gammapy.BackgroundMaker("models").run(dataset, observation)
    >>> errors = bgnb.gammapy.background_errors(dataset)
    >>> relative = errors.covariance.diagonal() ** 0.5
    >>> bool(relative[0] < relative[-1] < 0.5)  # high energies have few counts
    True
    """
    from gammapy.datasets import MapDataset

    if not isinstance(dataset, MapDataset):
        kind = type(dataset).__name__
        raise BgnbError("invalid-argument", f"datasets must be MapDatasets or SpectrumDatasets of Gammapy, got {kind}")
    where = f"dataset {dataset.name}"
    if dataset.stat_type == "wstat":
        raise BgnbError("invalid-argument", f"{where}: its background is that of its off counts (OnOff)")
    if dataset.background is None:
        raise BgnbError("invalid-argument", f"{where}: has no background; make it with bgnb.gammapy.BackgroundMaker")
    table = dataset.meta_table
    if table is None or not set(_COLUMNS) <= set(table.colnames):
        message = "meta_table has no uncertainty of the background; make it with bgnb.gammapy.BackgroundMaker, for all datasets"
        files = "Datasets.read reads meta_table with lazy=False only"
        raise BgnbError("missing-column", f"{where}: {message} of a stack or for none ({files})")
    try:
        errors = BackgroundErrors.from_columns(table).on_edges(dataset.counts.geom.axes["energy"].edges.to_value("TeV"))
    except (ValueError, TypeError):
        reason = f"columns {', '.join(_COLUMNS)} of meta_table are damaged, or do not have the same energy bins"
        advice = "make the dataset again with bgnb.gammapy.BackgroundMaker"
        raise BgnbError("bad-column", f"{where}: {reason}; {advice}") from None
    errors = replace(errors, counts=counts_in_mask(dataset, dataset.mask))
    if not all(np.isfinite(each).all() for each in (errors.counts, errors.covariance)) or (errors.counts < 0).any():
        reason = "the background within the mask must be finite and not negative, and its uncertainty finite"
        raise BgnbError("invalid-value", f"{where}: {reason}; mask these pixels, or make it with bgnb.gammapy.BackgroundMaker")
    return errors


def set_background_priors(datasets: Datasets | MapDataset | Iterable[MapDataset], *, per_energy: bool = False) -> Datasets:
    """Give the backgrounds of datasets norms with priors, so that a fit takes their uncertainty into account.

    Each dataset gets a `~gammapy.modeling.models.FoVBackgroundModel`; other models stay. The priors contain all
    errors that `BackgroundMaker` states, of the norm of each run and of the models. Errors of the shape in the field of
    view are not included. Errors of models are taken as common to all datasets, also if their models differ. A dataset
    without background in its mask gets a background without free parameters.

    With ``norm="run"``, the priors contain the events outside the exclusion regions. Fit only the pixels inside, see
    `BackgroundMaker.fit_mask`: events that are used twice make errors too small. With ``norm="model"`` all pixels may be
    fitted.

    Parameters
    ----------
    datasets : `~gammapy.datasets.Datasets` or `~gammapy.datasets.MapDataset`
        Datasets of observations, or stacked, whose background was made by `BackgroundMaker`.
    per_energy : bool
        By default the background has a norm and a tilt with one `~gammapy.modeling.models.GaussianPrior` each, at the
        energy at which they are not correlated. Errors that several datasets share are treated as if each
        had its own; stack the datasets to include them. With ``per_energy`` it has a norm in each energy bin, and
        all norms of all datasets have one `~gammapy.stats.GaussianPriorPenalty` with their covariance. Gammapy keeps
        it in the returned datasets only: estimators that copy models, such as those of flux points, ignore it.

    Returns
    -------
    `~gammapy.datasets.Datasets`
        The same datasets, to be fitted.

    Raises
    ------
    BgnbError
        If there are no datasets, two of them or of their models have the same name, one has off counts or no
        background of `BackgroundMaker`, none has background in its mask, or, with ``per_energy``, one has fewer than
        two energy bins, or other energy bins than the rest.

    Examples
    --------
    >>> from gammapy.data import DataStore
    >>> from gammapy.datasets import MapDataset
    >>> from gammapy.makers import MapDatasetMaker
    >>> from gammapy.maps import MapAxis, WcsGeom
    >>> import bgnb
    >>> observation = DataStore.from_dir("runs").obs(1, required_irf=["aeff"])
    >>> energy = MapAxis.from_energy_bounds("0.2 TeV", "20 TeV", nbin=4)
    >>> geom = WcsGeom.create(skydir=observation.pointing.fixed_icrs, width=4, binsz=0.2, axes=[energy])
    >>> dataset = MapDatasetMaker(selection=["counts"]).run(MapDataset.create(geom), observation)
    >>> dataset = bgnb.gammapy.BackgroundMaker("models", norm="model").run(dataset, observation)
    >>> datasets = bgnb.gammapy.set_background_priors(dataset)
    >>> sorted(datasets.parameters.free_parameters.names)
    ['norm', 'tilt']
    >>> type(datasets.parameters["norm"].prior).__name__
    'GaussianPrior'
    """
    from gammapy.datasets import Datasets
    from gammapy.modeling.models import FoVBackgroundModel, Models
    from gammapy.stats import GaussianPriorPenalty

    several = list(datasets) if isinstance(datasets, Iterable) and not isinstance(datasets, str) else [datasets]
    errors = [background_errors(dataset) for dataset in several]
    if not several:
        raise BgnbError("invalid-argument", "there are no datasets")
    if len({dataset.name for dataset in several}) < len(several):
        names = ", ".join(dataset.name for dataset in several)
        raise BgnbError("invalid-argument", f"datasets must have different names, got {names}")
    if not isinstance(datasets, Datasets):
        datasets = Datasets(several)
    if not any(each.counts.any() for each in errors):
        names = ", ".join(datasets.names)
        raise BgnbError("no-counts", f"{names}: there is no background in the masks (mask_safe and mask_fit)")
    if per_energy and not all(_same_edges(each.edges, errors[0].edges) for each in errors):
        raise BgnbError("invalid-argument", "per_energy needs the same energy bins in all datasets")
    make = _norms_per_energy if per_energy else _norm_and_tilt
    backgrounds = [
        FoVBackgroundModel(dataset_name=dataset.name, spectral_model=make(dataset, each))
        for dataset, each in zip(datasets, errors, strict=True)
    ]
    others = [[model for model in dataset.models or () if not isinstance(model, FoVBackgroundModel)] for dataset in datasets]
    try:
        models = Models([*dict.fromkeys(chain(*others)), *backgrounds])
    except ValueError as error:  # names that several models have
        raise BgnbError("invalid-argument", f"the models of the datasets cannot be fitted together: {error}") from None
    kept = set(models.parameters)
    penalties = [each for each in datasets._penalties or () if kept.issuperset(each.parameters)]
    if per_energy:
        norms = [parameter for model in backgrounds for parameter in model.parameters]
        penalties.append(GaussianPriorPenalty(norms, mean=np.ones(len(norms)), covariance=_joint_covariance(errors)))
    models.set_penalties(penalties or None)
    datasets.models = models
    for dataset, kept_models, background in zip(datasets, others, backgrounds, strict=True):
        dataset.models = [*kept_models, background]  # not those of other datasets, which Gammapy has just added
        dataset._background_parameters_cached = None  # it would compare the values of other parameters with these
    return datasets


def _norm_and_tilt(dataset: MapDataset, errors: BackgroundErrors) -> Any:
    """Make a norm and a tilt with independent priors, at the energy at which they are not correlated."""
    from gammapy.modeling.models import GaussianPrior, PowerLawNormSpectralModel

    x = (np.log(errors.edges[1:]) + np.log(errors.edges[:-1])) / 2
    if not errors.counts.any():
        model = PowerLawNormSpectralModel()
        model.freeze()
        return model
    has_counts = errors.counts > _NO_COUNTS * errors.counts.max()
    design = np.stack([np.ones_like(x), -x], axis=1) if np.count_nonzero(has_counts) > 1 else np.ones((len(x), 1))
    weighted = design.T * errors.counts
    project = np.linalg.solve(weighted @ design, weighted)
    covariance = project @ errors.covariance @ project.T
    variance_of_tilt = covariance[1, 1] if len(covariance) > 1 and covariance[1, 1] > _NO_TILT**2 else 0.0
    pivot = covariance[0, 1] / variance_of_tilt if variance_of_tilt > 0 else float(np.average(x, weights=errors.counts))
    at_pivot = np.array([1.0, -pivot])[: len(covariance)]
    model = PowerLawNormSpectralModel(norm=1, tilt=0, reference=f"{np.exp(pivot)} TeV")
    deviations = {"norm": np.sqrt(at_pivot @ covariance @ at_pivot), "tilt": np.sqrt(variance_of_tilt)}
    for name, mean in (("norm", 1.0), ("tilt", 0.0)):
        parameter = getattr(model, name)
        parameter.frozen = not deviations[name] > 0
        if not parameter.frozen:
            parameter.prior = GaussianPrior(mu=mean, sigma=deviations[name])
    return model


def _norms_per_energy(dataset: MapDataset, errors: BackgroundErrors) -> Any:
    """Make a norm in each energy bin."""
    from gammapy.modeling.models import PiecewiseNormSpectralModel

    axis = dataset.counts.geom.axes["energy"]
    if axis.nbin < 2:
        raise BgnbError("invalid-argument", f"dataset {dataset.name}: per_energy needs at least two energy bins")
    return PiecewiseNormSpectralModel(energy=axis.center)


def _joint_covariance(errors: list[BackgroundErrors]) -> Floats:
    """Compute the covariance of all norms of all datasets."""
    roots = np.concatenate([_square_root(each.of_models) for each in errors])
    covariance = roots @ roots.T
    start = 0
    for each in errors:
        own = slice(start, start := start + len(each.counts))
        covariance[own, own] = each.covariance
    return covariance + np.diag(np.full(len(covariance), BIN_ERROR**2))
