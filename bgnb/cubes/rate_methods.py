"""The methods that come with bgnb. To add one, see `bgnb.cubes.method.Method`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bgnb._util.arrays import Bools, Floats, quotient
from bgnb.cubes.cells import Cell
from bgnb.cubes.cube import RATE_UNIT, Cube
from bgnb.cubes.method import Method
from bgnb.cubes.model import BackgroundModel
from bgnb.cubes.smoothing import effective_bins, smooth_planes, smoothed_variance, times_to_smooth
from bgnb.cubes.spline import RADIAL_TERMS, SplineModel, fit_spline
from bgnb.cubes.stack import Stack

#: Number of events for which the template counts: the rate follows the counts where more lie within the kernel. With fewer
#: or more, held-out runs are predicted less well.
TEMPLATE_EVENTS = 40.0
#: Minimum livetime of a bin in michi, as a fraction of the maximum in its plane.
MIN_LIVETIME = 0.1


class _Spline(Method):
    """Fit a rate that is smooth in energy, field of view and pointing to all runs."""

    name = "spline"
    sums = "pointing"
    # Different numbers: Gammapy finds the order of axes by their lengths.
    default_bins = (30, 40)

    def make(self, stack: Stack) -> BackgroundModel:
        fitted = self.fit([Cell(90.0, 0.0, stack)])
        rate, error = fitted.at(90.0, 0.0)
        return BackgroundModel(rate, stack, self.name, error, edge=fitted.edge)

    def fit(self, cells: Sequence[Cell]) -> SplineModel:
        return fit_spline(cells)


class _Classic(Method):
    """Smooth counts and exposure, and divide."""

    name = "classic"
    aliases = ("default",)

    def make(self, stack: Stack) -> BackgroundModel:
        return _smoothed(stack, self.name, np.ones(stack.axes.shape))


class _Michi(Method):
    """Divide counts by livetime, then smooth."""

    name = "michi"

    def make(self, stack: Stack) -> BackgroundModel:
        livetime = stack.livetime_us.astype(float)
        longest = livetime.max(axis=(1, 2), keepdims=True)
        weight = quotient(longest, livetime, 0.0)
        return _smoothed(stack, self.name, np.where(weight <= 1 / MIN_LIVETIME, weight, 0.0))


class _Unsmoothed(Method):
    """Divide counts by exposure, bin by bin."""

    name = "unsmoothed"
    interpolable = False

    def make(self, stack: Stack) -> BackgroundModel:
        rate = quotient(stack.counts, stack.exposure.to_value("s MeV sr"), 0.0) * RATE_UNIT
        return BackgroundModel(Cube(stack.axes, rate), stack, self.name)

    def extrapolated(self, stack: Stack) -> Bools:
        """Return no planes: no bin is extrapolated."""
        return np.zeros(stack.axes.shape[0], dtype=bool)


METHODS: tuple[Method, ...] = (_Spline(), _Classic(), _Michi(), _Unsmoothed())


def _smoothed(stack: Stack, method: str, weight: Floats) -> BackgroundModel:
    """Smooth the ratio of the counts to those of a template, a radially symmetric fit to the stack.

    With smoothing S, weights w of the bins, template rate T, the counts n, μ = T · exposure, and
    k = `TEMPLATE_EVENTS` over the effective number of bins of the kernel, the rate is
    T · (S(wn) + k) / (S(wμ) + k). Smoothing so neither flattens the rate nor carries it across the
    edge of the camera, and bins with few counts around them follow the template. In the variance,
    that of the template has the weight that the smoothed counts leave to it.
    """
    fitted = fit_spline([Cell(90.0, 0.0, stack)], RADIAL_TERMS)
    template, template_error = fitted.at(90.0, 0.0)
    rate, times = template.quantity.to_value(RATE_UNIT), times_to_smooth(stack.counts.sum())
    expected = rate * stack.exposure.to_value("s MeV sr")
    k = TEMPLATE_EVENTS / effective_bins(times)
    observed, smooth = (smooth_planes(weight * values, times) for values in (stack.counts.astype(float), expected))
    ratio = (observed + k) / (smooth + k)
    local = smoothed_variance(weight**2 * expected * ratio, times) / (observed + k) ** 2
    share = (smooth / (smooth + k)) ** 2
    ratio *= stack.counts.sum() / (ratio * expected).sum()
    of_template = (template_error.quantity / template.quantity).value ** 2
    relative_error = np.sqrt(local + (1 - share) * of_template)
    cube = Cube(stack.axes, rate * ratio * RATE_UNIT)
    return BackgroundModel(cube, stack, method, Cube(stack.axes, cube.quantity * relative_error), edge=fitted.edge)
