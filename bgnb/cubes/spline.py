"""A smooth rate in energy, field of view and pointing, fitted to the counts of all runs at once.

The fit is a penalised Poisson regression of the counts n in the bins (energy, DETY, DETX) of
cells, which are runs, or sums of runs in the same bin of pointing::

    n ~ Poisson(exposure · exp(η)),   η = sum of TERMS + norm of the cell

Each term is a product of functions of pointing, energy and field of view. Each function is a
constant, a line, a value for each energy bin, or the non-linear part of a cubic P-spline with a
second-order penalty, in the basis in which the penalty is the sum of the squared coefficients
(Eilers and Marx 1996, Statist. Sci. 11, 89; Lee and Durbán 2011, Stat. Model. 11, 49). Each term
has a separate penalty, and so have the norms of the cells. The strengths of the penalties maximise the restricted likelihood,
with priors (Schall's update: Wood and Fasiolo 2017, Biometrics 73, 1071). Terms without
support from the data are therefore shrunk to zero, and the norms absorb the variation from run to
run beyond statistical fluctuations, for example that of the atmosphere. The covariance of the
coefficients is that of their posterior distribution (Marra and Wood 2012, Scand. J. Statist. 39, 53).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from bgnb._util.arrays import Floats, Ints
from bgnb._util.checks import check_type
from bgnb._util.errors import BgnbError
from bgnb._util.threads import one_blas_thread
from bgnb.cubes.camera import CameraEdge, inside_camera, within_outermost
from bgnb.cubes.cells import Cell
from bgnb.cubes.spline_basis import (
    HALF,
    Parts,
    breaks_of_r2,
    centred,
    energy_parts,
    pointing_parts,
    view_parts,
    zenith_range_of,
)
from bgnb.cubes.spline_design import Design, Term, expected_counts, fisher_information, observed_counts, project, solve
from bgnb.cubes.spline_model import SplineModel
from bgnb.cubes.stack import Stack, add_stacks
from bgnb.observations.event_list import MICROSECONDS

#: Bases in pointing, energy and field of view of every term;
#: ~ marks the penalized part of a spline, "bins" is a value for each bin.
TERMS: tuple[Term, ...] = (
    ("1", "1", "1"),
    ("1", "energy", "1"),
    ("1", "1", "r2"),
    # shape at the mean pointing
    ("1", "energy~", "1"),
    ("1", "bins", "1"),
    ("1", "1", "r2~"),
    ("1", "energy", "r2"),
    ("1", "energy", "r2~"),
    ("1", "energy~", "r2"),
    ("1", "energy~", "r2~"),
    ("1", "1", "xy"),
    ("1", "energy", "xy"),
    ("1", "1", "xy~"),
    ("1", "energy", "xy~"),
    # change of norm, spectrum and shape with the zenith angle
    ("zenith", "1", "1"),
    ("zenith~", "1", "1"),
    ("zenith", "energy", "1"),
    ("zenith", "energy~", "1"),
    ("zenith", "1", "r2"),
    ("zenith~", "1", "r2"),
    ("zenith", "energy", "r2"),
    ("zenith", "1", "r2~"),
    ("zenith", "energy", "r2~"),
    ("zenith", "energy~", "r2"),
    ("zenith", "1", "xy"),
    # magnetic field of the Earth
    ("north", "1", "1"),
    ("north", "energy", "1"),
)
#: Further terms for few telescopes: their baselines, seen from the pointing, shift and elongate the acceptance.
TURNING_TERMS: tuple[Term, ...] = (
    ("azimuth", "1", "xy"),
    ("az_plus", "1", "plus"),
    ("az_plus", "energy", "plus"),
    ("az_plus", "energy~", "plus"),
    ("az_cross", "1", "cross"),
    ("az_cross", "energy", "cross"),
    ("az_cross", "energy~", "cross"),
    ("zenith", "1", "plus"),
    ("zenith", "energy", "plus"),
)
#: Number of telescopes from which on the acceptance is taken as round, on average over their baselines.
ROUND_FROM = 3
#: Terms for a single pointing, without surfaces in DETX and DETY: a radial profile with a gradient.
RADIAL_TERMS = tuple(term for term in TERMS if term[0] == "1" and term[2] != "xy~")
# Functions of the energy that are multiplied by the norms and the spectral indices of the runs.
_OF_NORMS = ("1", "energy")
# The first three terms have a weak, constant penalty.
_N_FREE, _FREE = 3, 1e-3
_LONGEST_STEP = 2.0
# Shape and scale, times two, of inverse-gamma priors on the variance of the coefficients of each term. Without one, terms
# with few coefficients may by chance be shrunk to zero, together with their error: pulls of simulations then had a width of 1.2
# instead of 1.00 ± 0.04 (benchmarks/spline.py). Held-out runs are predicted equally well. It is vague for most terms.
_PRIOR = (0.1, 0.0003)
# Few runs hardly show how norm and spectral index change from run to run, and with the pointing. The prior of their standard
# deviation σ is σ³ / (σ² + size²)². It avoids zero, for which few runs would have errors that are too small, but does not
# exclude small values (as in Chung et al. 2013, Psychometrika 78, 685). These are the sizes for runs, and per unit of
# the northern component of the pointing; per unit of the cosine of the zenith angle, they are five times as large.
_SCATTER, _TILT, _PER_COS_ZENITH = 0.14, 0.05, 5.0
# Weight of the squared coefficients of turning terms and of single energy bins. The prior does not shrink the coefficients of
# other terms below about 0.05, which would be 5 % at the edge of the field of view, or in each energy bin.
_WEIGHT_OF_SMALL = 100.0
# Minimum part of the livetime of a pixel that is fitted at the edge of an exclusion region.
_WHOLE = 0.9
_WEAKEST, _STRONGEST = 1e-4, 1e7
_INDEX = 2.7  # spectral index at the start of the fit, and where the counts do not determine it
_MAX_STEPS = 200
# Maximum number of fits to find the edge of the camera.
_MAX_EDGES = 5
# Maximum change of a coefficient in its standard errors, and of the degrees of freedom of a term.
_SETTLED = 0.01
# Maximum change of the logarithm of the penalties of the norms and indices of runs in the last step.
_SETTLED_CHANGE = 0.5


@one_blas_thread()
def fit_spline(cells: Sequence[Cell], terms: Sequence[Term] | None = None) -> SplineModel:
    """Fit the rate to the counts of cells.

    If events end at an edge of the camera, the fit is that of the pixels at least half inside. Those at the edge
    of exclusion regions larger than a pixel are left out.

    Parameters
    ----------
    cells : sequence of `Cell`
        Runs, pieces of runs, or sums of runs in the same bin of pointing, on the same axes.
    terms : sequence of tuple of str, optional
        The terms; the first three have to be those of `TERMS`. By default those, and `TURNING_TERMS` if a run has fewer than
        `ROUND_FROM` telescopes, or does not state their number.

    Returns
    -------
    SplineModel

    Raises
    ------
    BgnbError
        If there are no counts, cells differ in axes or frame, or the fit does not converge.

    Examples
    --------
    >>> import bgnb
    >>> runs = bgnb.open_runs("runs", "GADF")
    >>> events = [bgnb.read_event_list(runs.files(obs_id)) for obs_id in runs.obs_ids]
    >>> axes = bgnb.CubeAxes.regular(n_energy=10, n_fov=10)
    >>> cells = [bgnb.Cell(*run.mean_pointing, bgnb.stack_runs([run], axes)) for run in events]
    >>> spline = bgnb.fit_spline(cells)
    >>> rate, error = spline.at(75, 180)
    >>> rate.axes.shape
    (10, 10, 10)
    """
    check_type("cells", cells, Collection)
    for cell in cells:
        check_type("each of cells", cell, Cell)
    _check_cells(cells)
    if terms is None:
        n_tels = [run.n_tels or 0 for cell in cells for run in cell.stack.runs]
        terms = TERMS + TURNING_TERMS * (min(n_tels, default=0) < ROUND_FROM)
    whole = add_stacks(((0, cell.stack) for cell in cells), pieces=True)[0]
    camera, edge = _find_camera(whole, tuple(term for term in terms if term[0] == "1"))
    model, _ = _fit(_without_region_edges(cells), whole.counts, tuple(terms), camera)
    return replace(model, edge=edge)


def _find_camera(stack: Stack, terms: tuple[Term, ...]) -> tuple[Floats, CameraEdge | None]:
    """Find the edge of the camera, and the part of each pixel that is inside, by fits that are too stiff to follow an edge."""
    observed, everywhere = stack.counts.sum(axis=0).astype(float), np.ones(stack.axes.shape[1:])

    def predicted(camera: Floats) -> Floats | None:
        try:
            # If pixels at the edge were fitted, it would be confirmed wherever it is.
            return _fit([Cell(90.0, 0.0, stack)], stack.counts, terms, camera, least=1.0, stiff=True)[1]
        except BgnbError:
            return None

    expected = predicted(everywhere)
    if expected is None:  # it does not converge if it has to follow a sharp edge, or if the field of view is small on the axes
        used = within_outermost(observed, stack.axes)
        expected = predicted(used) if (observed * used).any() else None
    camera, edge = everywhere, None
    for _ in range(1 + _MAX_EDGES):
        if expected is None:
            break
        before = camera
        camera, edge = inside_camera(observed, expected, stack.axes)
        if edge is None or np.array_equal(camera, before):
            break
        expected = predicted(camera)
    return camera, edge


def _fit(
    cells: Sequence[Cell],
    total: NDArray[np.int64],
    terms: tuple[Term, ...],
    camera: Floats,
    *,
    least: float = HALF,
    stiff: bool = False,
) -> tuple[SplineModel, Floats]:
    """Fit the rate in pixels of which at ``least`` this part is inside; return it, and its counts in all pixels, (dety, detx).

    ``total`` are the counts of all cells. A stiff fit does not follow an edge.
    """
    inside = np.where(camera >= least, 1.0, 0.0)
    axes, (norm_of_cell, n_runs) = cells[0].stack.axes, _norms(cells)
    several = len(n_runs) > 1
    zenith_range, raw = _parts_of(cells, view_parts(axes, None if stiff else breaks_of_r2(axes, total, camera)))
    full_volume = np.broadcast_to(axes.bin_volume.to_value("MeV sr") / MICROSECONDS, axes.shape).reshape(axes.shape[0], -1)
    volume, counts = full_volume * (camera * inside).ravel(), total * inside
    sums = (
        np.array([(cell.stack.counts * inside).sum() for cell in cells]),
        counts.sum(axis=(1, 2)),
        counts.sum(axis=0).ravel(),
    )
    means = {
        name: values / counts.sum() @ part
        for parts, values in zip(raw, sums, strict=True)
        for name, part in parts.items()
        if name != "1"
    }
    pointing, energy, view = (centred(parts, means) for parts in raw)
    parts = (pointing, energy, view)
    design = Design.of_terms(parts, terms, _OF_NORMS if several else (), norm_of_cell)
    sizes = [math.prod(part[name].shape[1] for part, name in zip(parts, term, strict=True)) for term in terms]
    p = sum(sizes)
    # Norm and index of n runs have a scatter of 1/√n times that of a single run.
    of_terms = np.repeat([_WEIGHT_OF_SMALL if term in TURNING_TERMS or term[1] == "bins" else 1.0 for term in terms], sizes)
    sizes += [len(n_runs)] * len(design.of_norms)
    weight = np.concatenate([of_terms, *[n_runs] * len(design.of_norms)])
    ends = np.cumsum(sizes)
    blocks = [slice(end - size, end) for end, size in zip(ends, sizes, strict=True)]

    start = np.zeros(ends[-1])
    start[1] = -_INDEX * np.log(axes.energy[-1] / axes.energy[0]).value / 2
    coefficients = start.copy()
    coefficients[0] = np.log(
        counts.sum() / sum(expected.sum() for _, expected in expected_counts(design, cells, volume, start))
    )
    observed = project(design, observed_counts(design, cells, inside))
    penalty = np.array([_FREE] * _N_FREE + [1.0] * (len(blocks) - _N_FREE))
    expected_sizes = _expected_sizes(terms, axes.energy.value, zenith_range)[: len(blocks)]
    freedom, changing = np.zeros(len(blocks)), several
    for _ in range(_MAX_STEPS):
        information = fisher_information(design, expected_counts(design, cells, volume, coefficients))
        strength = weight * np.repeat(penalty, sizes)
        gradient = observed - information.expected - strength * (coefficients - start)
        try:
            step, covariance, of_norms = solve(information, strength, gradient)
        except (np.linalg.LinAlgError, ValueError):
            raise _not_converged("the spline cannot be fitted to these counts", cells, inside) from None
        variance = np.concatenate([np.diag(covariance), np.diagonal(of_norms, axis1=1, axis2=2).T.ravel()])
        largest = float(np.abs(step).max())
        coefficients = coefficients + step * min(1.0, _LONGEST_STEP / max(largest, _LONGEST_STEP))
        before, spent = freedom, strength * variance
        freedom = np.array([size - spent[block].sum() for size, block in zip(sizes, blocks, strict=True)])
        settled = np.all(np.abs(step) < _SETTLED * np.sqrt(variance)) and np.abs(freedom - before).max() < _SETTLED
        if settled and not changing:
            break
        if largest < 0.5:
            lengths = np.array([np.sum(weight[block] * (coefficients - start)[block] ** 2) for block in blocks])
            # Where the derivative of the restricted likelihood and of the logarithm of the prior is zero.
            vague = (freedom + _PRIOR[0]) / (lengths + _PRIOR[1])
            sized = (freedom + 1) / (lengths + 4 / (penalty + expected_sizes**-2))
            wanted = np.where(np.isfinite(expected_sizes), sized, vague)
            last, change = penalty[len(terms) :].copy(), np.clip(wanted / penalty, 1 / 30, 30)[_N_FREE:]
            penalty[_N_FREE:] = np.clip(penalty[_N_FREE:] * change, _WEAKEST, _STRONGEST)
            # The norms of few runs may settle long before their scatter.
            changing = bool(np.abs(np.log(penalty[len(terms) :] / last)).max(initial=0.0) > _SETTLED_CHANGE)
    else:
        raise _not_converged(f"the spline did not converge in {_MAX_STEPS} steps", cells, inside)
    predicted = sum(expected.sum(axis=(0, 1)) for _, expected in expected_counts(design, cells, full_volume, coefficients))
    scatter, tilt = (float(value) for value in penalty[-2:] ** -0.5) if several else (0.0, 0.0)
    if several:
        norms, indices = blocks[-2:]
        common = np.mean(n_runs * (coefficients[norms] * coefficients[indices] + of_norms[:, 0, 1]))
        x = energy["energy"][:, 0]
        # The coefficients describe the median run. The mean of the log-normal factors of runs lies above their median, by a
        # parabola in the logarithm of the energy, which splines contain.
        excess = len(n_runs) / n_runs.sum() * (scatter**2 + 2 * common * x + (tilt * x) ** 2) / 2
        columns = [(energy[e], block) for (p, e, v), block in zip(terms, blocks, strict=False) if p == v == "1"]
        change = np.linalg.lstsq(np.concatenate([part for part, _ in columns], axis=1), excess)[0]
        coefficients[np.r_[*(block for _, block in columns)]] += change
    model = SplineModel(
        axes=axes,
        fovalign=cells[0].stack.fovalign,
        counts=total,
        terms=terms,
        zenith_range=zenith_range,
        means=means,
        coefficients=coefficients[:p],
        covariance=covariance,
        degrees_of_freedom=freedom[: len(terms)],
        scatter=scatter,
        tilt=tilt * 2 / float(np.log(axes.energy[-1] / axes.energy[0])),
        camera=camera,
    )
    return model, predicted.reshape(inside.shape)


def _expected_sizes(terms: Sequence[Term], energy_edges: Floats, zenith_range: tuple[float, float]) -> Floats:
    """Return the expected size of the coefficients of each term, and of norms and indices of runs; infinite if unknown."""
    norm, index = _SCATTER, _TILT * np.log(energy_edges[-1] / energy_edges[0]) / 2  # over half of the axis
    zenith = _PER_COS_ZENITH * (zenith_range[1] - zenith_range[0]) / 2
    sizes = {
        ("zenith", "1", "1"): zenith * norm,
        ("zenith", "energy", "1"): zenith * index,
        ("north", "1", "1"): norm,
        ("north", "energy", "1"): index,
    }
    return np.array([sizes.get(term, np.inf) for term in terms] + [norm, index])


def _without_region_edges(cells: Sequence[Cell]) -> list[Cell]:
    """Remove counts and livetime of the pixels of each cell that are partly in large exclusion regions.

    What is outside lies on the side away from the region, where the rate differs from the mean of the pixel, for which its
    livetime would be too long or too short. The fit would continue this difference, of some percent, into the region.
    """
    remaining = []
    for cell in cells:
        livetime_us = cell.stack.livetime_us
        part = livetime_us / np.maximum(livetime_us.max(axis=(1, 2), keepdims=True), 1)
        if part.min(initial=1.0, where=part > 0) == 1:
            remaining.append(cell)
            continue
        beside = sliding_window_view(np.pad(part < HALF, ((0, 0), (1, 1), (1, 1))), (3, 3), axis=(1, 2)).any(axis=(3, 4))
        edges = beside & (part > 0) & (part < _WHOLE)
        if edges.any():
            counts, livetime_us = (np.where(edges, 0, values) for values in (cell.stack.counts, livetime_us))
            cell = replace(cell, stack=replace(cell.stack, counts=counts, livetime_us=livetime_us))
        remaining.append(cell)
    before, after = (sum(int(cell.stack.counts.sum()) for cell in some) for some in (cells, remaining))
    return remaining if 2 * after > before else list(cells)  # pixels that are larger than the regions are needed


def _not_converged(what: str, cells: Sequence[Cell], inside: Floats) -> BgnbError:
    """Make the error of a fit to one or several cells that fails."""
    exposed = (sum(cell.stack.exposure.value for cell in cells) * inside).any(axis=(1, 2))
    seen = np.flatnonzero(exposed & (sum(cell.stack.counts for cell in cells) * inside).any(axis=(1, 2)))
    hint = "classic" if len(cells) > 1 else "unsmoothed"  # classic smooths relative to the spline of one cell
    advice = f"try --method {hint}"
    if len(seen) and (empty := np.count_nonzero(exposed[: seen[0]]) + np.count_nonzero(exposed[seen[-1] + 1 :])):
        edges = cells[0].stack.axes.energy.value
        events = f"from {edges[seen[0]]:.3g} to {edges[seen[-1] + 1]:.3g} TeV"
        text = f"{empty} energy bins are exposed below or above all events, which lie in bins {events}; if events were selected"
        advice = f"{text} by energy, give the limits of the selection as --energy-min and --energy-max; or {advice}"
    return BgnbError("not-converged", f"{what}; {advice}")


def _parts_of(cells: Sequence[Cell], view: Parts) -> tuple[tuple[float, float], tuple[Parts, Parts, Parts]]:
    """Return the range of the cosine of the zenith angle of cells, and the basis in pointing, energy and field of view."""
    pointings = [np.array([[cell.alt_pnt, cell.az_pnt, 1.0]]) if cell.pointings is None else cell.pointings for cell in cells]
    alt_pnt, az_pnt, share = np.concatenate(pointings).T
    zenith_range = zenith_range_of(alt_pnt)
    first = np.cumsum([0, *map(len, pointings)])[:-1]
    of_runs = pointing_parts(alt_pnt, az_pnt, zenith_range)
    of_cells = {name: np.add.reduceat(part * share[:, None], first) for name, part in of_runs.items()}
    return zenith_range, (of_cells, energy_parts(cells[0].stack.axes), view)


def _norms(cells: Sequence[Cell]) -> tuple[Ints, Floats]:
    """Return the number of the norm of each cell, and the number of runs of each norm."""
    numbers: dict[Any, int] = {}
    runs: list[set[int]] = []
    norm_of_cell = np.empty(len(cells), dtype=int)
    for cell_number, cell in enumerate(cells):
        label = (cell_number, None) if cell.norm is None else (None, cell.norm)
        norm_of_cell[cell_number] = number = numbers.setdefault(label, len(numbers))
        if number == len(runs):
            runs.append(set())
        runs[number].update(cell.stack.obs_ids)
    return norm_of_cell, np.array([float(len(of_norm)) for of_norm in runs])


def _check_cells(cells: Sequence[Cell]) -> None:
    if any((cell.stack.axes, cell.stack.fovalign) != (cells[0].stack.axes, cells[0].stack.fovalign) for cell in cells):
        raise BgnbError("axes-mismatch", "cells of a spline must have the same axes and the same frame (fovalign)")
    if not any(cell.stack.counts.any() for cell in cells):
        raise BgnbError("no-counts", "no counts to fit a spline to")
