"""Counts of a run, and what a model predicts of them, in the bins in which they are compared."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from astropy import units as u
from numpy.typing import NDArray

from bgnb._util.arrays import Floats, Ints
from bgnb._util.checks import to_value
from bgnb._util.errors import BgnbError
from bgnb.cubes.cube import CubeAxes
from bgnb.observations.coordinates import separation


@dataclass(frozen=True)
class Grid:
    """Where predictions are compared with counts: pixels whose centres lie within an offset.

    Parameters
    ----------
    axes : `CubeAxes`
        Energy bins, and pixels in DETY and DETX.
    offset_max : float
        Greatest offset of a pixel's centre from the pointing, deg.
    """

    axes: CubeAxes
    offset_max: float

    @classmethod
    def regular(
        cls,
        energy_min: u.Quantity | str = 0.5 * u.TeV,
        energy_max: u.Quantity | str = 50 * u.TeV,
        n_energy: int = 8,
        pixel: u.Quantity | str = 0.5 * u.deg,
        offset_max: u.Quantity | str = 2.5 * u.deg,
    ) -> Grid:
        """A grid of energy bins of equal logarithmic width, and square pixels.

        Parameters
        ----------
        energy_min, energy_max : `~astropy.units.Quantity` or str
            Ends of the energy axis.
        n_energy : int
            Number of its bins.
        pixel : `~astropy.units.Quantity` or str
            Width of a pixel.
        offset_max : `~astropy.units.Quantity` or str
            Greatest offset of a pixel's centre from the pointing.

        Raises
        ------
        BgnbError
            Where no pixel is left, or a value cannot be used.
        """
        width, offset = to_value("pixel", pixel, "deg"), to_value("offset_max", offset_max, "deg")
        if not 0 < width <= 2 * offset:
            raise BgnbError(f"pixel must be above 0 and at most twice offset_max, got {pixel} and {offset_max}")
        n_fov = math.ceil(2 * offset / width - 1e-9)
        axes = CubeAxes.regular(
            n_energy=n_energy, n_fov=n_fov, energy_min=energy_min, energy_max=energy_max, fov_max=n_fov * width / 2 * u.deg
        )
        return cls(axes, offset)

    @cached_property
    def offset(self) -> Floats:
        """Offset of each pixel's centre, shape (n_dety, n_detx), deg."""
        return separation(self.axes.detx_centers.value, self.axes.dety_centers.value[:, None], 0, 0)

    def used(self, covered: CubeAxes, first_bin: int) -> NDArray[np.bool_]:
        """Bins to compare: within the offset, on the axes of a model, and from an energy bin on; shape of the axes."""
        used = self.axes.bins_on(covered) & (self.offset <= self.offset_max)
        used[:first_bin] = False
        return used


@dataclass(frozen=True, eq=False)
class RunPrediction:
    """Counts of a run, and what a model predicts of them.

    Parameters
    ----------
    obs_id : int
        The run.
    alt_pnt, az_pnt : float
        Its pointing, deg.
    counts : ndarray of int64
        Shape (energy, dety, detx).
    expected : ndarray
        Predicted counts, same shape.
    used : ndarray of bool
        The bins that are compared, same shape.
    groups : mapping of int to float
        The groups whose models predict, and their weights.
    """

    obs_id: int
    alt_pnt: float
    az_pnt: float
    counts: Ints
    expected: Floats
    used: NDArray[np.bool_]
    groups: dict[int, float]

    @property
    def n_counts(self) -> int:
        """Counts in the bins that are compared."""
        return int(self.counts[self.used].sum())

    @property
    def n_expected(self) -> float:
        """Predicted counts in these bins."""
        return float(self.expected[self.used].sum())

    @property
    def factor(self) -> float:
        """What the prediction is multiplied with if its norm is free: counts over predicted counts, where there are any."""
        return float(self.counts[self.possible].sum()) / self.n_expected if self.n_expected > 0 else 0.0

    @property
    def possible(self) -> NDArray[np.bool_]:
        """The bins compared in which something is predicted."""
        return self.used & (self.expected > 0)

    def scaled(self, free_norm: bool) -> Floats:
        """The prediction, with its own norm or that of the counts."""
        return self.expected * (self.factor if free_norm else 1.0)
