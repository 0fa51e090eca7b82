"""Background of a run: the mean rate of the models over the run, with its norm, as Gammapy expects it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from astropy import units as u

from bgnb._util.arrays import Floats
from bgnb.cubes.coverage import Coverage, continue_to_events, coverage, interpolable_rate
from bgnb.cubes.cube import Cube
from bgnb.cubes.event_cuts import RunCounts
from bgnb.cubes.exclusion_mask import SourceMask
from bgnb.cubes.model_set import ModelSet
from bgnb.cubes.prediction import point_rate
from bgnb.cubes.rotate import rotate_to_radec
from bgnb.cubes.run_norm import RunNorm, norm_of_run
from bgnb.files.background_tables import HESS_DR1_WRITER, REVERSED, background_hdus, metadata, norm_keywords
from bgnb.files.exclusion_regions import read_exclusions
from bgnb.gammapy.settings import BackgroundSettings
from bgnb.observations.catalog import read_catalog
from bgnb.observations.coordinates import FovAlign
from bgnb.observations.event_list import EventList, RunFiles
from bgnb.observations.event_reader import read_event_list, read_events_header
from bgnb.observations.fits_table import FitsTable

# Maximum rotation of the field of view for a background in ALTAZ, deg.
_MAX_ROTATION = 45.0


@dataclass(frozen=True, kw_only=True, eq=False)
class RunBackground:
    """Background of a run.

    Parameters
    ----------
    run : `~bgnb.EventList`
        The run.
    header : `~bgnb.observations.fits_table.FitsTable`
        Header of its events, without the values of the index.
    rate : `~bgnb.Cube`
        Rate per ontime at the bin centres, averaged over the pointings of the run.
    fovalign : str or None
        Frame: ALTAZ, RADEC or REVERSE_LON_RADEC, whose rate is given in RADEC; None for radial backgrounds.
    kind : {"bkg_3d", "bkg_2d"}
        Cube, or its mean over the azimuth about the pointing.
    groups : mapping of int to float
        Mean weights of the groups whose models make the background; empty for a spline.
    norm : `~bgnb.RunNorm`
        Norm and tilt relative to the models, and their uncertainty.
    covariance, of_models : ndarray, shape (energy, energy)
        Covariance of the logarithm of the predicted counts between the energy bins of the rate, and the part of it
        that is due to the models.
    coverage : `~bgnb.cubes.coverage.Coverage`
        Numbers of events outside the axes of the models.
    is_continued : bool
        True if the rate is continued beyond the energies of the models.
    keywords : mapping
        Keywords of the HDU, see `~bgnb.files.background_tables.metadata`.
    """

    run: EventList
    header: FitsTable
    rate: Cube
    fovalign: str | None
    kind: str
    groups: Mapping[int, float]
    norm: RunNorm
    covariance: Floats
    of_models: Floats
    coverage: Coverage
    is_continued: bool
    keywords: Mapping[str, Any]

    @cached_property
    def counted(self) -> RunCounts:
        """Numbers of events of the run, and notes on it."""
        return RunCounts.of(self.run, events_outside_gti=int(np.count_nonzero(~self.run.in_gti)))

    @property
    def hdus(self) -> list[memoryview]:
        """HDUs of a file: BACKGROUND and COVARIANCE."""
        covariance = {"COVARIANCE": self.covariance, "OF_MODELS": self.of_models}
        return background_hdus(self.rate, keywords=self.keywords, fovalign=self.fovalign, kind=self.kind, covariance=covariance)


class RunBackgrounds:
    """Function that makes the background of a run from models.

    Parameters
    ----------
    models : `~bgnb.ModelSet`
        The models.
    settings : `~bgnb.gammapy.settings.BackgroundSettings`
        Settings.
    mask : `~bgnb.cubes.exclusion_mask.SourceMask`, optional
        Exclusion regions of the norms of runs; by default those of the settings.

    Raises
    ------
    BgnbError
        If the models cannot be interpolated, or the catalogue or an exclusion region cannot be used.

    Attributes
    ----------
    mask : `~bgnb.cubes.exclusion_mask.SourceMask` or None
        Exclusion regions of the norms of runs; None if no events are used.
    """

    def __init__(self, models: ModelSet, settings: BackgroundSettings, mask: SourceMask | None = None) -> None:
        models.check_interpolable()
        self._models, self._settings = models, settings
        self.mask = mask
        if settings.norm == "run" and mask is None:
            self.mask = SourceMask.around(read_catalog(settings.catalog), settings.mask_radius * u.deg)
            self.mask += read_exclusions(settings.exclude)
        self._of_groups: dict[int, Cube] = {}

    def __call__(self, files: RunFiles, *, in_altaz: bool = True) -> RunBackground:
        """Make the background of a run.

        Parameters
        ----------
        files : `~bgnb.observations.event_list.RunFiles`
            The run.
        in_altaz : bool
            Keep the frame ALTAZ if Gammapy can predict the background in it; otherwise it is averaged in RADEC.

        Raises
        ------
        DataError
            If the run cannot be used, or belongs to another instrument.
        """
        models, settings = self._models, self._settings
        run, header = read_event_list(files), read_events_header(replace(files, index={}))
        models.check_instrument(run)
        ((alt_pnt,), (az_pnt,)) = run.field_of_view.pointing_altaz(np.zeros(1))
        found = models.mean_rate_for(run, settings.model_lookup)
        mean = interpolable_rate(found.rate)
        continued = continue_to_events(mean, run)
        rate = point_rate(continued) if continued is not mean else self._at_bin_centers(mean, found.weights)
        fovalign = None if settings.kind == "bkg_2d" else _frame(models.fovalign, header, run, in_altaz)
        if fovalign and fovalign != models.fovalign and models.fovalign == "ALTAZ":
            rate = rotate_to_radec(rate, run)
        norm = norm_of_run(models, found, run, settings.norm, self.mask)  # type: ignore[arg-type]
        factor = run.livetime / run.stated_ontime
        energy = rate.axes.energy_centers.value
        # Energies at which the rate is continued have the errors of the first or last bin.
        nearest = np.abs(np.log(energy[:, None] / found.rate.axes.energy_centers.value)).argmin(axis=1)
        keywords = metadata(
            energy_range=models.energy_range(found.weights),
            telescop=run.telescop.strip(),
            alt_pnt=alt_pnt,
            az_pnt=az_pnt,
            live_fraction=factor,
            ontime=run.stated_ontime,
            livetime=run.livetime,
            scatter=models.scatter,
        )
        selected = {"EVENTSEL": run.selection} if run.selection else {}
        groups = ", ".join(f"{group_id}: {weight:.4f}" for group_id, weight in found.weights.items())
        return RunBackground(
            run=run,
            header=header,
            rate=Cube(rate.axes, rate.quantity * (factor * norm.factor(energy))[:, None, None]),
            fovalign=fovalign,
            kind=settings.kind,
            groups=found.weights,
            norm=norm,
            covariance=norm.covariance[np.ix_(nearest, nearest)],
            of_models=norm.of_models[np.ix_(nearest, nearest)],
            coverage=coverage(run, mean.axes, models.fovalign),
            is_continued=continued is not mean,
            keywords=keywords | selected | {"OBS_ID": run.obs_id, "GROUPS": groups} | norm_keywords(norm),
        )

    def _at_bin_centers(self, mean: Cube, weights: Mapping[int, float]) -> Cube:
        """Return the rates at the bin centres; those of single groups are cached, as interpolated rates rarely occur twice."""
        if len(weights) != 1:
            return point_rate(mean)
        (group_id,) = weights
        if group_id not in self._of_groups:
            self._of_groups[group_id] = point_rate(mean)
        return self._of_groups[group_id]


def _frame(fovalign: FovAlign, header: FitsTable, run: EventList, in_altaz: bool) -> str:
    """Choose the frame in which Gammapy predicts the background of a run correctly.

    Gammapy interprets all backgrounds of runs of H.E.S.S. DR1 as REVERSE_LON_RADEC. It
    averages ALTAZ backgrounds from the start of the first good time interval as if there were
    no gaps; it does so with the intervals of the file, of which bgnb may have used a part. It computes
    them at each degree of rotation, which takes minutes and gigabytes for runs near the zenith.
    """
    if (header.get("CREATOR"), header.get("HDUVERS")) == HESS_DR1_WRITER:
        return REVERSED
    is_whole = len(run.gti) == run.n_gti_stated == 1 and abs(run.time_cut) < 1
    return fovalign if in_altaz and is_whole and (fovalign == "RADEC" or _rotation(run) < _MAX_ROTATION) else "RADEC"


def _rotation(run: EventList) -> float:
    """Return the angle by which the field of view rotates during the good time of a run, deg."""
    view, (seconds, _) = run.field_of_view, run.good_seconds(60.0)
    ra, dec = view.sky_position("RADEC", np.zeros(1), np.ones(1), np.zeros(1))
    detx, dety = view.detxy("ALTAZ", ra, dec, seconds)
    return float(np.degrees(np.ptp(np.unwrap(np.arctan2(detx, dety)))))
