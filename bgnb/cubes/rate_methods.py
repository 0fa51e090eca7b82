"""The methods that come with bgnb. To add one, see `bgnb.cubes.method.Method`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from bgnb._util.arrays import Bools, quotient
from bgnb.cubes.method import Method

if TYPE_CHECKING:
    from bgnb.cubes.cells import Cell
    from bgnb.cubes.model import BackgroundModel
    from bgnb.cubes.spline_model import SplineModel
    from bgnb.cubes.stack import Stack

#: Minimum livetime of a bin in michi, as a fraction of the maximum in its plane.
MIN_LIVETIME = 0.1


class _Spline(Method):
    """Fit a rate that is smooth in energy, field of view and pointing to all runs."""

    name = "spline"
    sums = "pointing"
    # Different numbers: Gammapy finds the order of axes by their lengths.
    default_bins = (30, 40)

    def make(self, stack: Stack) -> BackgroundModel:
        from bgnb.cubes.cells import Cell
        from bgnb.cubes.model import BackgroundModel

        fitted = self.fit([Cell(90.0, 0.0, stack)])
        rate, error = fitted.at(90.0, 0.0)
        return BackgroundModel(rate, stack, self.name, error, edge=fitted.edge)

    def fit(self, cells: Sequence[Cell]) -> SplineModel:
        from bgnb.cubes.spline import fit_spline

        return fit_spline(cells)


class _Classic(Method):
    """Smooth counts and exposure, and divide."""

    name = "classic"
    aliases = ("default",)

    def make(self, stack: Stack) -> BackgroundModel:
        from bgnb.cubes.smoothing import smoothed_model

        return smoothed_model(stack, self.name, np.ones(stack.axes.shape))


class _Michi(Method):
    """Divide counts by livetime, then smooth."""

    name = "michi"

    def make(self, stack: Stack) -> BackgroundModel:
        from bgnb.cubes.smoothing import smoothed_model

        livetime = stack.livetime_us.astype(float)
        longest = livetime.max(axis=(1, 2), keepdims=True)
        weight = quotient(longest, livetime, 0.0)
        return smoothed_model(stack, self.name, np.where(weight <= 1 / MIN_LIVETIME, weight, 0.0))


class _Unsmoothed(Method):
    """Divide counts by exposure, bin by bin."""

    name = "unsmoothed"
    interpolable = False

    def make(self, stack: Stack) -> BackgroundModel:
        from bgnb.cubes.cube import RATE_UNIT, Cube
        from bgnb.cubes.model import BackgroundModel

        rate = quotient(stack.counts, stack.exposure.to_value("s MeV sr"), 0.0) * RATE_UNIT
        return BackgroundModel(Cube(stack.axes, rate), stack, self.name)

    def extrapolated(self, stack: Stack) -> Bools:
        """Return no planes: no bin is extrapolated."""
        return np.zeros(stack.axes.shape[0], dtype=bool)


METHODS: tuple[Method, ...] = (_Spline(), _Classic(), _Michi(), _Unsmoothed())
