"""Notes on models that differ from the counts of which they are made."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from bgnb._util.arrays import Floats
from bgnb._util.errors import numbered
from bgnb.cubes.cells import Cell
from bgnb.cubes.cube import Cube, CubeAxes
from bgnb.cubes.group_model import GroupModel
from bgnb.cubes.method import PointingModel
from bgnb.cubes.stack import Stack

#: Differences between counts and models that are noted: relative, rms, and in standard deviations.
MISFIT, MISFIT_SIGMA = 0.05, 10.0
#: Number of rings of offset, of blocks of pixels along DETX and DETY, and of ranges of energy with the same number of counts.
N_RINGS, N_BLOCKS, N_RANGES = 16, 8, 3

# Bins in which counts and models are compared, and reasons for differences there.
_VIEWS = (
    (
        "pixel",
        "there may be sources in the field of view (see --sources and --exclude), or it may be very asymmetric, have holes, or "
        "end at an edge that is neither a circle nor a rectangle centred on the pointing",
    ),
    ("energy and offset", "the radial profile may change with energy in steps, as by cuts or an edge that depend on energy"),
    ("energy and part of the field of view", "its shape may change with energy other than in its radial profile"),
    ("direction and part of the field of view", "its shape may change with the direction of the pointing"),
)
_OF_DIRECTIONS = 3
_UNSMOOTHED = "--method unsmoothed follows any shape, but Gammapy cannot use it if bins are empty"
_CLASSIC = "compare it with --method classic, which follows the shape in each group"


def notes_on_misfit(cells: Sequence[Cell], fitted: PointingModel | None, models: Sequence[GroupModel]) -> list[str]:
    """Note that models differ from the counts that they are made of by more than these fluctuate.

    Counts and expectations are compared per pixel, per energy and ring of offset, per range of energy and block of pixels, and,
    if the models depend on the pointing, per direction and block. The expectations are scaled to the total of each group, or
    of each cell. The excess of χ² over its mean, per expected event, is the mean square of the relative difference, weighted by
    the expectation. It is noted of those groups in which it is large, or of all together, which is more sensitive.
    """
    project = _projections(models[0].model.stack.axes, sum(group.model.stack.counts.sum(axis=(1, 2)) for group in models))
    if fitted is None:
        samples = [project(group.model.rate, group.model.stack) for group in models]
    else:
        of_directions: dict[tuple[bool, int], list[Floats]] = {}
        middle = np.median([cell.alt_pnt for cell in cells])
        for cell in cells:
            found = project(fitted.rate_at(cell.alt_pnt, cell.az_pnt), cell.stack)
            direction = (cell.alt_pnt > middle, int(cell.az_pnt + 45) % 360 // 90)
            before = of_directions.get(direction)
            of_directions[direction] = [a + b for a, b in zip(before, found, strict=True)] if before else found
        samples = list(of_directions.values())
    for view, (bins, reason) in enumerate(_VIEWS):
        if view == _OF_DIRECTIONS and fitted is None:
            continue
        parts = [sample[view] for sample in samples]
        if fitted is not None and view != _OF_DIRECTIONS:
            parts = [np.sum(parts, axis=0)]
        sums = np.array([_misfit(*part) for part in parts])
        large = [number for number, each in enumerate(sums) if _is_large(*each)]
        if large or _is_large(*sums.sum(axis=0)):
            excess, _, expected = (sums[large] if large else sums).sum(axis=0)
            of_groups = large and fitted is None
            which = f" of {numbered('group', [models[number].group_id for number in large])}" if of_groups else ""
            difference = f"{100 * (excess / expected) ** 0.5:.0f} % (rms per {bins}, beyond fluctuations)"
            other = _UNSMOOTHED if fitted is None or view == 0 else _CLASSIC
            return [f"the models{which} differ from their counts by {difference}: {reason}; look at it with bgnb plot; {other}"]
    return []


def _projections(axes: CubeAxes, spectrum: NDArray[np.int64]) -> Callable[[Cube, Stack], list[Floats]]:
    """Return a function that computes the views of counts, and of expected counts of the same total, shape (2, …)."""
    offset = np.hypot(axes.dety_centers.value[:, None], axes.detx_centers.value)
    ring = np.minimum((offset / max(offset.max(), 1e-300) * N_RINGS).astype(int), N_RINGS - 1).ravel()
    rings = np.eye(N_RINGS)[ring]
    shares = np.cumsum(spectrum) / spectrum.sum()
    ranges = np.unique([0, *(1 + np.searchsorted(shares, np.arange(1, N_RANGES) / N_RANGES))])
    rows, columns = (np.unique(np.linspace(0, n, N_BLOCKS, endpoint=False).astype(int)) for n in axes.shape[1:])

    def project(rate: Cube, stack: Stack) -> list[Floats]:
        expected = (rate.quantity * stack.exposure).to_value("")
        both = np.array([stack.counts, expected * (stack.counts.sum() / max(expected.sum(), 1e-300))])
        image = both.sum(axis=1)
        of_rings = both.reshape(*both.shape[:2], -1) @ rings
        blocks = np.add.reduceat(np.add.reduceat(both, rows, axis=2), columns, axis=3)
        of_blocks = np.add.reduceat(blocks, ranges[ranges < axes.shape[0]], axis=1)
        return [image, of_rings, of_blocks, blocks.sum(axis=1)]

    return project


def _misfit(counts: Floats, expected: Floats) -> tuple[float, float, float]:
    """Compute the excess of χ² over its mean, its variance, and the expected counts, in bins with more than one of them."""
    counts, expected = counts[expected > 1], expected[expected > 1]
    return float(((counts - expected) ** 2 / expected - 1).sum()), float((2 + 1 / expected).sum()), float(expected.sum())


def _is_large(excess: float, variance: float, expected: float) -> bool:
    return excess > MISFIT**2 * expected and excess > MISFIT_SIGMA * variance**0.5
