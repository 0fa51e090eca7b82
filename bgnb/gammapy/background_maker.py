"""Maker of Gammapy that fills the background of datasets from models."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from copy import copy
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.table import Table
from gammapy.datasets import MapDataset, SpectrumDataset
from gammapy.makers import MapDatasetMaker, SpectrumDatasetMaker
from gammapy.makers.core import Maker
from gammapy.maps import Geom, Map, MapAxis
from numpy.typing import NDArray
from regions import PointSkyRegion

from bgnb._util.arrays import Floats
from bgnb._util.errors import BgnbError, numbered, quoted
from bgnb.cubes.model_set import ModelSet
from bgnb.files.model_directory import read_models
from bgnb.gammapy.attached_runs import attached_run, notes_on_backgrounds, notes_on_selection
from bgnb.gammapy.background_priors import BackgroundErrors, counts_in_mask
from bgnb.gammapy.irfs import to_irf
from bgnb.gammapy.observations import is_empty, obs_id_of, runs_of
from bgnb.gammapy.run_background import RunBackground, RunBackgrounds
from bgnb.gammapy.settings import BackgroundSettings
from bgnb.production.make_models import Production
from bgnb.production.report import MANY_OUTSIDE

if TYPE_CHECKING:
    from astropy.coordinates import SkyCoord
    from gammapy.data import GTI, Observation
    from gammapy.irf import Background2D, Background3D
    from gammapy.maps import RegionGeom

_log = logging.getLogger("bgnb.gammapy")
# Maximum width of the parts of energy bins in which the background is integrated, decades.
_MAX_WIDTH = 0.06
# Maximum number of pixels times energies computed at once, unless the map itself has more; Gammapy needs 1.5 kB for each.
_MAX_POINTS = 250_000
# Relative distance of an energy from the edge of a bin that makes clear on which side it lies.
_INSIDE = 1e-6


class BackgroundMaker(Maker):
    """Make the background of datasets from models.

    The background is that of `bgnb.attach`: the mean rate of the models over the pointings of the observation, with its norm.
    An observation without events, such as a short part of a run, has one as well. Put this maker after
    `~gammapy.makers.MapDatasetMaker` or `~gammapy.makers.SpectrumDatasetMaker`, which need a selection without ``"background"``
    if observations have no background; and, if datasets are stacked, after `~gammapy.makers.SafeMaskMaker`, so that the
    uncertainty takes the masks into account. The column BKG_NORM of ``dataset.meta_table`` has the norm; further columns with
    the uncertainty are used by `set_background_priors`. Notes on an observation, such as one long before or after the runs of
    the models, with an unusual norm or with many events outside their axes, are logged as warnings by the logger
    ``bgnb.gammapy``. Observations are not compared with each other, as `bgnb.attach` does.

    Parameters
    ----------
    models : `~bgnb.ModelSet`, `~bgnb.Production` or path
        Models, or their directory.
    norm : {"run", "model"}
        Norm of the observation, from its events outside known sources, or that of the models; see `bgnb.norm_of_run`.
    maker : `~gammapy.makers.MapDatasetMaker`, optional
        Maker whose ``make_background`` projects the background on the geometry of the dataset; by default a
        `~gammapy.makers.MapDatasetMaker` or `~gammapy.makers.SpectrumDatasetMaker`, for energy bins that are divided into
        parts of at most 0.06 decades; otherwise Gammapy predicts 1 % too many counts in bins of 0.2 decades, and 5 to 7 % in
        bins of 0.6. A maker that is given needs its own ``background_oversampling``. Gammapy
        multiplies the rate at the centre of a region by its solid angle, unless ``use_region_center`` is False.
    **settings
        Further settings: ``kind``, ``model_lookup``, ``catalog``, ``mask_radius``, ``exclude``, ``pointing``, ``trust``,
        ``allow`` and ``events`` of `bgnb.attach`.

    Raises
    ------
    BgnbError
        If a setting or ``maker`` is invalid, or the models cannot be read or interpolated.

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
    >>> round(float(dataset.background.data.sum() / dataset.counts.data.sum()), 1)
    1.0
    """

    tag = "BackgroundMaker"

    def __init__(
        self,
        models: ModelSet | Production | str | Path,
        norm: str = "run",
        maker: MapDatasetMaker | None = None,
        **settings: Any,
    ) -> None:
        if isinstance(models, Production):
            models = models.models
        elif isinstance(models, str | Path):
            models = read_models(models)
        if not isinstance(models, ModelSet):
            kinds = "a directory of models, or the result of make_models or read_models"
            raise BgnbError("invalid-argument", f"models must be {kinds}, got {type(models).__name__}")
        if unknown := sorted(settings.keys() - BackgroundSettings.declared().keys()):
            known = ", ".join(BackgroundSettings.declared())
            raise BgnbError("unknown-choice", f"unknown setting {quoted(unknown[0])}; use one of {known}")
        if maker is not None and not isinstance(maker, MapDatasetMaker):
            raise BgnbError("invalid-argument", f"maker must be a MapDatasetMaker or SpectrumDatasetMaker, got {quoted(maker)}")
        self.norm, self.maker = norm, maker  # which str(maker) shows
        self._models, self._settings = models, BackgroundSettings.from_options({"norm": norm, **settings})
        self._settings.check_effect()
        self._background_of = RunBackgrounds(models, self._settings)

    def make_irf(self, observation: Observation) -> Background3D | Background2D:
        """Make the background of an observation.

        Parameters
        ----------
        observation : `~gammapy.data.Observation`
            The observation, with events, good time intervals and, for the energy threshold, the effective area.

        Returns
        -------
        `~gammapy.irf.Background3D` or `~gammapy.irf.Background2D`
            Rate per ontime, which can be assigned to ``observation.bkg``. ``meta`` has norm and uncertainty.

        Raises
        ------
        DataError
            If the observation cannot be used, or belongs to another instrument than the models.
        """
        return _irf(self._make(observation))

    def run(self, dataset: MapDataset, observation: Observation) -> MapDataset:
        """Fill the background of a dataset.

        Parameters
        ----------
        dataset : `~gammapy.datasets.MapDataset` or `~gammapy.datasets.SpectrumDataset`
            The dataset of the observation, filled by `~gammapy.makers.MapDatasetMaker` or
            `~gammapy.makers.SpectrumDatasetMaker`.
        observation : `~gammapy.data.Observation`
            The observation.

        Returns
        -------
        `~gammapy.datasets.MapDataset` or `~gammapy.datasets.SpectrumDataset`
            The same dataset.

        Raises
        ------
        BgnbError
            If the dataset is not filled, is not that of this observation alone, has off counts or is that of a point, the
            observation cannot be used, or belongs to another instrument than the models.
        """
        _check_dataset(dataset, observation)
        geom = dataset.counts.geom
        edges = geom.axes["energy"].edges.to_value("TeV")
        maker, edges_of_parts = self.maker, edges
        if maker is None:
            maker = SpectrumDatasetMaker() if isinstance(dataset, SpectrumDataset) else MapDatasetMaker()
            edges_of_parts = _divided(edges)
        # Gammapy cannot integrate over a region and over time at once.
        background = self._make(observation, in_altaz=getattr(maker, "use_region_center", True))
        if dataset.gti is not None and not _same_time(dataset.gti, observation.gti):
            reason = "its good time intervals (gti) are not those of the observation"
            raise BgnbError("invalid-argument", f"dataset {dataset.name}: {reason}; fill it from the same observation")
        with_background = copy(observation)
        with_background.bkg = _irf(background)
        if len(edges_of_parts) == len(edges):
            dataset.background = maker.make_background(geom, with_background)
        else:
            sums = []
            n_pixels = int(np.prod(geom.to_image().data_shape))
            for of_bins in _blocks(np.searchsorted(edges_of_parts, edges), max(len(edges) - 1, _MAX_POINTS // n_pixels)):
                axis = MapAxis.from_energy_edges(edges_of_parts[of_bins[0] : of_bins[-1] + 1], unit="TeV")
                parts = maker.make_background(geom.to_image().to_cube([axis]), with_background)
                sums.append(np.add.reduceat(parts.data, of_bins[:-1] - of_bins[0], axis=0))
            dataset.background = Map.from_geom(geom, data=np.concatenate(sums), unit=parts.unit)
        errors = replace(BackgroundErrors.of_run(background).on_edges(edges), counts=counts_in_mask(dataset, dataset.mask_safe))
        table = Table() if dataset.meta_table is None else dataset.meta_table.copy()
        for name, values in {"BKG_NORM": [background.norm.norm], **errors.columns}.items():
            table[name] = values
        dataset.meta_table = table
        return dataset

    def fit_mask(self, geom: Geom) -> Map:
        """Make a mask of the pixels whose events the norm of a run did not use, to be fitted with priors.

        The norm of a run, and its prior, follow from the events outside the exclusion regions. A fit with priors must
        not use these events again, or errors are too small.

        Parameters
        ----------
        geom : `~gammapy.maps.Geom`
            Geometry of the counts of a dataset.

        Returns
        -------
        `~gammapy.maps.Map`
            True in the exclusion regions, and everywhere with ``norm="model"``. The geometry of a region must be
            excluded as a whole.

        Raises
        ------
        BgnbError
            If nothing is left to be fitted, or ``geom`` has other axes than one of energy.

        Examples
        --------
        >>> from gammapy.maps import MapAxis, WcsGeom
        >>> import bgnb
        >>> energy = MapAxis.from_energy_bounds("0.2 TeV", "20 TeV", nbin=4)
        >>> geom = WcsGeom.create(skydir=(83.63, 22.01), width=4, binsz=0.1, axes=[energy])  # the Crab Nebula
        >>> mask = bgnb.gammapy.BackgroundMaker("models").fit_mask(geom)
        >>> round(float(mask.data.mean()), 2)
        0.05
        """
        if not isinstance(geom, Geom):
            kind = type(geom).__name__
            raise BgnbError("invalid-argument", f"geom must be a geometry, such as dataset.counts.geom, got {kind}")
        if geom.axes.names != ["energy"]:
            names = ", ".join(geom.axes.names) or "none"
            raise BgnbError("invalid-argument", f"geom must have one axis, of energy, as dataset.counts.geom has; got {names}")
        if geom.is_region and geom.region is None:
            raise BgnbError("invalid-argument", "geom has no region")
        mask = Map.from_geom(geom, data=True, dtype=bool)
        excluded = self._background_of.mask
        if excluded is None:
            return mask
        sky = (_inside(geom) if geom.is_region else geom.to_image().get_coord().skycoord).icrs
        edges = geom.axes["energy"].edges.to_value("TeV")
        # Regions may depend on energy: a bin must be excluded at both ends, and on either side of their limits in it.
        limits = np.concatenate([excluded.energies * (1 + side) for side in (-_INSIDE, _INSIDE)], axis=None)
        for plane, low, high in zip(mask.data, edges[:-1] * (1 + _INSIDE), edges[1:] * (1 - _INSIDE), strict=True):
            for energy in (low, high, *np.unique(limits[(limits > low) & (limits < high)])):
                covered = excluded.covers(sky.ra.deg.ravel(), sky.dec.deg.ravel(), (np.full(sky.size, energy),) * 2)
                plane &= covered.all() if geom.is_region else covered.reshape(plane.shape)
        if not mask.data.any():
            reason = "no exclusion region covers it at any energy; give a catalog or regions (exclude) that do"
            if geom.is_region:
                reason = f"the region is not inside the exclusion regions; {reason.split('; ')[1]}"
            raise BgnbError("invalid-argument", f"fit_mask: {reason}, or use norm='model'")
        return mask

    def _make(self, observation: Observation, *, in_altaz: bool = True) -> RunBackground:
        runs = runs_of([observation], self._settings.reading)
        (obs_id,) = runs.obs_ids
        files = runs.files(obs_id)
        if is_empty(observation):  # the models predict a background nevertheless
            files = replace(files, may_be_empty=True)
        background = self._background_of(files, in_altaz=in_altaz)
        made, covered = attached_run(background), background.coverage
        if covered.outside <= MANY_OUTSIDE * covered.events:  # most observations have a few such events
            made = replace(made, coverage=None)
        notes = [
            *background.counted.all_notes,
            *notes_on_selection(self._settings.reading.events),
            *notes_on_backgrounds(self._models, self._settings, [made], {obs_id: background.counted}),
        ]
        for note in notes:
            _log.warning("%s", note)
        return background


def _check_dataset(dataset: MapDataset, observation: Observation) -> None:
    """Refuse datasets that cannot have the background of an observation."""
    if not isinstance(dataset, MapDataset):
        kind = type(dataset).__name__
        raise BgnbError("invalid-argument", f"dataset must be a MapDataset or SpectrumDataset, got {kind}")
    obs_id, where = obs_id_of(observation), f"dataset {dataset.name}"
    if dataset.stat_type == "wstat":
        raise BgnbError("invalid-argument", f"{where}: its background is that of its off counts (OnOff)")
    table, advice = dataset.meta_table, "run MapDatasetMaker or SpectrumDatasetMaker before BackgroundMaker"
    if dataset.counts is None or table is None or "OBS_ID" not in table.colnames:
        raise BgnbError("invalid-argument", f"{where}: is not filled (meta_table has no OBS_ID); {advice}")
    if (obs_ids := np.ravel(table["OBS_ID"]).astype(str).tolist()) != [str(observation.obs_id)]:
        reason = f"is filled from {numbered('observation', obs_ids)}, not from {obs_id} alone"
        raise BgnbError("invalid-argument", f"{where}: {reason}; {advice}, for each observation")
    geom = dataset.counts.geom
    if geom.is_hpx:
        raise BgnbError("invalid-argument", f"{where}: Gammapy makes no background on HEALPix maps; use a WcsGeom")
    if geom.is_region and isinstance(geom.region, PointSkyRegion):
        raise BgnbError("invalid-argument", f"{where}: a point has no solid angle; use a circle")
    axis = geom.axes["energy"]
    if axis.node_type != "edges" or not axis.edges[0] > 0:
        reason = "the energy axis must have edges (not nodes), all above 0 TeV"
        raise BgnbError("invalid-argument", f"{where}: {reason}; make it with MapAxis.from_energy_edges")


def _divided(edges: Floats) -> Floats:
    """Divide energy bins into parts of equal width in log energy, of at most `_MAX_WIDTH`."""
    parts = [
        np.geomspace(low, high, max(int(np.ceil(np.log10(high / low) / _MAX_WIDTH - 1e-9)), 1) + 1)[:-1]
        for low, high in pairwise(edges)
    ]
    return np.append(np.concatenate(parts), edges[-1])


def _blocks(starts: NDArray[np.int64], n_parts: int) -> Iterator[NDArray[np.int64]]:
    """Divide energy bins into blocks of at most a number of parts, or of one bin, as Gammapy computes all parts at once.

    ``starts`` has the number of the first part of each bin, and the number of all parts; blocks are slices of it.
    """
    first = 0
    while first < len(starts) - 1:
        last = max(int(np.searchsorted(starts, starts[first] + n_parts, side="right")) - 1, first + 1)
        yield starts[first : last + 1]
        first = last


def _same_time(one: GTI, other: GTI) -> bool:
    """Return whether good time intervals have the same start, stop and duration, within a second."""
    if not len(one.table):
        return False
    differences = (
        one.time_start.min() - other.time_start.min(),
        one.time_stop.max() - other.time_stop.max(),
        one.time_sum - other.time_sum,
    )
    return all(abs(difference.to_value("s")) < 1 for difference in differences)


def _inside(geom: RegionGeom) -> SkyCoord:
    """Return positions in a region: the centres of pixels of which more than half lies inside."""
    if isinstance(geom.region, PointSkyRegion):
        return geom.region.center.reshape(1)
    coord, weights = geom.get_wcs_coord_and_weights()
    return coord.skycoord[weights > 0.5 * weights.max()]


def _irf(background: RunBackground) -> Background3D | Background2D:
    irf = to_irf(background.rate, background.fovalign, kind=background.kind)
    irf.meta = {name: card[0] if isinstance(card, tuple) else card for name, card in background.keywords.items()}
    return irf
