"""Smoothing of the energy planes of a cube in the field of view, and models made with it."""

from __future__ import annotations

import numpy as np

from bgnb._util.arrays import Floats
from bgnb.cubes.cells import Cell
from bgnb.cubes.cube import RATE_UNIT, Cube
from bgnb.cubes.model import BackgroundModel
from bgnb.cubes.spline import RADIAL_TERMS, fit_spline
from bgnb.cubes.stack import Stack

#: Number of events for which the template counts: the rate follows the counts where more lie within the kernel. With fewer
#: or more, held-out runs are predicted less well.
TEMPLATE_EVENTS = 40.0
#: Kernel "k5a" of the original background cube tool of the H.E.S.S. software and Gammapy.
K5A = np.array(
    [
        [0, 0, 1, 0, 0],
        [0, 2, 2, 2, 0],
        [1, 2, 5, 2, 1],
        [0, 2, 2, 2, 0],
        [0, 0, 1, 0, 0],
    ],
    dtype=float,
)


def smoothing_kernel(times: int) -> Floats:
    """Return the kernel of several passes of `K5A`, shape (4 times + 1, 4 times + 1).

    It averages over 1 / Σ K² effective bins:

    >>> [round(1 / (smoothing_kernel(times) ** 2).sum()) for times in (3, 4, 5)]
    [31, 41, 51]
    """
    kernel = np.ones((1, 1))
    for _ in range(times):
        kernel = convolved(np.pad(kernel, 2), K5A / K5A.sum())
    return kernel


def convolved(planes: Floats, kernel: Floats) -> Floats:
    """Convolve planes with a kernel; neither may be negative.

    Planes are zero beyond their edges; the ratio of two smoothed cubes is unaffected. The square of a kernel propagates the
    variance of independent bins.
    """
    shape = [n + size - 1 for n, size in zip(planes.shape[-2:], kernel.shape, strict=True)]
    product = np.fft.irfft2(np.fft.rfft2(planes, shape) * np.fft.rfft2(kernel, shape), shape)
    rows, columns = (slice(size // 2, size // 2 + n) for n, size in zip(planes.shape[-2:], kernel.shape, strict=True))
    return np.asarray(np.maximum(product[..., rows, columns], 0.0))  # rounding can make zeros negative


def times_to_smooth(counts: float) -> int:
    """Return the number of smoothing passes of the original tool for a cube with this number of counts.

    >>> [times_to_smooth(counts) for counts in (99_999, 100_000, 1_000_000)]
    [5, 4, 3]
    """
    return 3 if counts >= 1e6 else 4 if counts >= 1e5 else 5


def smoothed_model(stack: Stack, method: str, weight: Floats) -> BackgroundModel:
    """Make a model from the smoothed ratio of the counts to those of a template, a radially symmetric fit to the stack.

    With smoothing S, weights w of the bins, template rate T, the counts n, μ = T · exposure, and
    k = `TEMPLATE_EVENTS` over the effective number of bins of the kernel, the rate is
    T · (S(wn) + k) / (S(wμ) + k). Smoothing so neither flattens the rate nor carries it across the
    edge of the camera, and bins with few counts around them follow the template. In the variance,
    that of the template has the weight that the smoothed counts leave to it.
    """
    fitted = fit_spline([Cell(90.0, 0.0, stack)], RADIAL_TERMS)
    template, template_error = fitted.at(90.0, 0.0)
    rate, kernel = template.quantity.to_value(RATE_UNIT), smoothing_kernel(times_to_smooth(stack.counts.sum()))
    expected = rate * stack.exposure.to_value("s MeV sr")
    effective_bins = 1 / (kernel**2).sum()
    k = TEMPLATE_EVENTS / effective_bins
    observed, smooth = (convolved(weight * values, kernel) for values in (stack.counts.astype(float), expected))
    ratio = (observed + k) / (smooth + k)
    local = convolved(weight**2 * expected * ratio, kernel**2) / (observed + k) ** 2
    share = (smooth / (smooth + k)) ** 2
    ratio *= stack.counts.sum() / (ratio * expected).sum()
    of_template = (template_error.quantity / template.quantity).value ** 2
    relative_error = np.sqrt(local + (1 - share) * of_template)
    cube = Cube(stack.axes, rate * ratio * RATE_UNIT)
    return BackgroundModel(cube, stack, method, Cube(stack.axes, cube.quantity * relative_error), edge=fitted.edge)
