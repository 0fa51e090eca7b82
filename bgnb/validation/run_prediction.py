"""Observed and predicted counts of a run, and the bins in which they are compared."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from astropy import units as u
from numpy.typing import NDArray

from bgnb._util.arrays import Floats, Ints
from bgnb._util.checks import check_type, finite_number, to_value, whole_number
from bgnb._util.errors import BgnbError
from bgnb.cubes.coverage import Coverage
from bgnb.cubes.cube import MAX_BINS, CubeAxes
from bgnb.cubes.event_cuts import RunCounts
from bgnb.observations.coordinates import separation


@dataclass(frozen=True)
class Grid:
    """Bins in which predicted and observed counts are compared.

    Parameters
    ----------
    axes : `CubeAxes`
        Energy bins, and pixels in DETY and DETX.
    offset_max : float
        Maximum offset of the centre of a pixel from the pointing, deg.

    Examples
    --------
    >>> import bgnb
    >>> bgnb.Grid.regular(n_energy=6, pixel="1 deg", offset_max="2 deg").axes
    CubeAxes(energy: 6 bins 0.5-50 TeV, dety: 4 bins -2-2 deg, detx: 4 bins -2-2 deg)
    """

    axes: CubeAxes
    offset_max: float

    def __post_init__(self) -> None:
        check_type("axes", self.axes, CubeAxes)
        object.__setattr__(self, "offset_max", finite_number("offset_max", self.offset_max, "deg"))

    @classmethod
    def regular(
        cls,
        energy_min: u.Quantity | str = 0.5 * u.TeV,
        energy_max: u.Quantity | str = 50 * u.TeV,
        n_energy: int = 8,
        pixel: u.Quantity | str = 0.5 * u.deg,
        offset_max: u.Quantity | str = 2.5 * u.deg,
    ) -> Grid:
        """Make a grid of energy bins of equal logarithmic width, and square pixels.

        Parameters
        ----------
        energy_min, energy_max : `~astropy.units.Quantity` or str
            Ends of the energy axis.
        n_energy : int
            Number of energy bins.
        pixel : `~astropy.units.Quantity` or str
            Width of a pixel.
        offset_max : `~astropy.units.Quantity` or str
            Maximum offset of the centre of a pixel from the pointing.

        Returns
        -------
        Grid
            The grid.

        Raises
        ------
        BgnbError
            If no pixel is left, or a value cannot be used.
        """
        width, offset = to_value("pixel", pixel, "deg"), to_value("offset_max", offset_max, "deg")
        if not 0 < width <= 2 * offset:
            limits = "above 0 and at most twice offset_max"
            raise BgnbError("invalid-argument", f"pixel must be {limits}, got {pixel} and {offset_max}")
        n_fov = math.ceil(2 * offset / width - 1e-9)
        if n_fov * width > 180:
            raise BgnbError(
                "invalid-argument", f"offset_max must be at most 90 deg, rounded up to whole pixels, got {offset_max}"
            )
        if whole_number("n_energy", n_energy) * n_fov**2 > MAX_BINS:
            advice = "use larger pixels or fewer energies"
            text = f"pixels of {pixel} and {n_energy} energies make more than {MAX_BINS:,} bins; {advice}"
            raise BgnbError("invalid-argument", text)
        axes = CubeAxes.regular(
            n_energy=n_energy, n_fov=n_fov, energy_min=energy_min, energy_max=energy_max, fov_max=n_fov * width / 2 * u.deg
        )
        grid = cls(axes, offset)
        if not (grid.offset <= offset).any():
            text = f"no pixel of {pixel} has its centre within offset_max, {offset_max}; use smaller pixels"
            raise BgnbError("invalid-argument", text)
        return grid

    @cached_property
    def offset(self) -> Floats:
        """Offset of the centre of each pixel, shape (n_dety, n_detx), deg."""
        return separation(self.axes.detx_centers.value, self.axes.dety_centers.value[:, None], 0, 0)

    @cached_property
    def offset_edges(self) -> Floats:
        """Edges of bins of the offset, deg."""
        return np.linspace(0, self.offset_max, 6)

    def divided(self, n_parts: int) -> CubeAxes:
        """Return the axes with each pixel divided into ``n_parts`` parts in each direction."""

        def finer(edges: u.Quantity) -> u.Quantity:
            parts = edges[:-1, None] + np.diff(edges)[:, None] * (np.arange(n_parts) / n_parts)
            return np.append(parts.ravel(), edges[-1])

        return CubeAxes(self.axes.energy, finer(self.axes.dety), finer(self.axes.detx))

    def used(self, covered: CubeAxes, first_bin: int, stop_bin: int | None = None) -> NDArray[np.bool_]:
        """Select the bins to compare.

        Parameters
        ----------
        covered : `CubeAxes`
            Axes of the model.
        first_bin : int
            First energy bin above the threshold of the run.
        stop_bin : int, optional
            First energy bin that is not entirely below the energy limit of the run, if there is a limit.

        Returns
        -------
        ndarray of bool, shape (energy, dety, detx)
            True for bins within the maximum offset, entirely on the axes of the model, above the threshold and below the limit.
        """
        used = self.axes.bins_on(covered) & (self.offset <= self.offset_max)
        used[:first_bin] = used[self.axes.shape[0] if stop_bin is None else stop_bin :] = False
        return used


@dataclass(frozen=True, eq=False)
class RunPrediction:
    """Observed and predicted counts of a run.

    Parameters
    ----------
    obs_id : int
        OBS_ID.
    alt_pnt, az_pnt : float
        Altitude and azimuth of the pointing, deg.
    counts : ndarray of int64
        Observed counts, shape (energy, dety, detx).
    expected : ndarray
        Predicted counts, same shape.
    used : ndarray of bool
        Bins that are compared, same shape.
    groups : mapping of int to float
        Mean weights of the groups whose models make the prediction, by GROUP_ID; empty for a spline.
    coverage : `~bgnb.cubes.coverage.Coverage`, optional
        Numbers of events outside the axes of the model.
    counted : `~bgnb.cubes.event_cuts.RunCounts`, optional
        Numbers of events of the run, and notes on it.
    """

    obs_id: int
    alt_pnt: float
    az_pnt: float
    counts: Ints
    expected: Floats
    used: NDArray[np.bool_]
    groups: dict[int, float]
    coverage: Coverage | None = None
    counted: RunCounts | None = None

    @property
    def n_counts(self) -> int:
        """Observed counts in the bins that are compared."""
        return int(self.counts[self.used].sum())

    @property
    def n_expected(self) -> float:
        """Predicted counts in the bins that are compared."""
        return float(self.expected[self.used].sum())

    @property
    def factor(self) -> float:
        """Free norm of the prediction: observed over predicted counts, in bins with a prediction above zero."""
        return float(self.counts[self.possible].sum()) / self.n_expected if self.n_expected > 0 else 0.0

    @property
    def possible(self) -> NDArray[np.bool_]:
        """Bins that are compared and have a prediction above zero."""
        return self.used & (self.expected > 0)

    def scaled(self, free_norm: bool) -> Floats:
        """Return the predicted counts, with a free norm scaled to the observed counts."""
        return self.expected * (self.factor if free_norm else 1.0)
