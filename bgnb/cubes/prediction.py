"""Prediction of counts from a rate, on other axes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
from astropy import units as u
from numpy.typing import NDArray

from bgnb._util.arrays import Bools, Floats, quotient
from bgnb._util.checks import check_type, checked_choice
from bgnb.cubes.cube import FLOOR, LEAST_RATE, RATE_UNIT, Cube, CubeAxes, checked_rate

#: Interpolation of a rate between the centres of its bins.
Interpolation = Literal["none", "gammapy"]

_GAUSS_NODES = 3
_POINT_RATE_STEPS = 20
# With f = 0.19, the integral of the interpolated rate between the centres of the bins on both sides of an edge,
# (1 − f) / ln(1/f), is that of half a bin.
_EDGE_FACTOR = 0.19
_EDGE_STEPS = 6
# Number of nodes at which rates are interpolated at a time, such that they fit into the cache of a processor.
_BLOCK_NODES = 1 << 16
# Minimum factor by which the rate falls from one bin to the next at an edge. That of H.E.S.S., which has none, falls by 12.
_SHARP = 100.0
_CROSS = np.array([[[0, 1, 0], [1, 1, 1], [0, 1, 0]]], dtype=bool)


def predicted_rate(rate: Cube, axes: CubeAxes, interpolation: Interpolation = "none") -> Floats:
    """Predict the events per second in each bin of the given axes.

    Parameters
    ----------
    rate : `Cube`
        Background rate per energy and solid angle.
    axes : `CubeAxes`
        Bins of the prediction.
    interpolation : {"none", "gammapy"}
        ``none``: the rate is constant in each bin. ``gammapy``: as in Gammapy, the values are
        those at the bin centres, and the logarithm of the rate is interpolated linearly in
        log energy, DETX and DETY, and extrapolated up to the edges of the axes. In both
        cases the rate is zero outside its axes.

    Returns
    -------
    ndarray
        Shape of ``axes``, in s-1.

    Examples
    --------
    >>> import bgnb
    >>> rate = bgnb.make_test_bg_cube_model(bgnb.CubeAxes.regular(n_energy=40, n_fov=20)).rate
    >>> axes = bgnb.CubeAxes.regular(n_energy=10, n_fov=10)
    >>> predicted = bgnb.predicted_rate(rate, axes, interpolation="none")
    >>> predicted.shape
    (10, 10, 10)
    >>> round(float(predicted.sum() / (rate.quantity * rate.axes.bin_volume).sum().value), 6)
    1.0
    """
    rate = checked_rate("rate", rate)
    check_type("axes", axes, CubeAxes)
    if checked_choice("interpolation", interpolation, get_args(Interpolation)) == "none":
        overlaps = [
            _overlap(np.asarray(target, dtype=float), np.asarray(source, dtype=float))
            for target, source in zip(_measures(axes), _measures(rate.axes), strict=True)
        ]
        return _along_axes(rate.quantity.to_value(RATE_UNIT), *overlaps)

    matrices, sums = [], []
    coordinates = zip(_coordinates(axes), _coordinates(rate.axes), strict=True)
    for (target, density), (source, _) in coordinates:
        centres = (source[:-1] + source[1:]) / 2
        nodes, weight, start = _nodes(target, np.array([source[0], *centres, source[-1]]), density)
        matrices.append(_linear(nodes, centres))
        sums.append(_sums(np.where((nodes > source[0]) & (nodes < source[-1]), weight, 0.0), start))
    values = _along_axes(np.log(np.maximum(rate.quantity.to_value(RATE_UNIT), LEAST_RATE)), *matrices)
    np.minimum(values, 700.0, out=values)
    return _along_axes(np.exp(values, out=values), *sums)


def point_rate(rate: Cube) -> Cube:
    """Compute rates at the bin centres such that their interpolation predicts the same counts.

    The rate of a model is the mean over each bin. For a steeply falling spectrum it exceeds the
    rate at the bin centre: by 1 % for E^-2.7 and 20 bins from 0.1 to 80 TeV, by 2 % for
    13 bins. About the maximum of the field of view it is smaller. Gammapy interprets the values
    as rates at the bin centres, and interpolates their logarithm. Therefore they are corrected iteratively,
    along each axis in turn, by the ratios of the mean rate of each bin to that of the interpolation.

    At a sharp edge in the field of view, interpolation would lose the outer half of the last bin
    inside. The first bin outside therefore gets a fraction of its rate, with which the counts near
    the edge are conserved.

    Parameters
    ----------
    rate : `Cube`
        Mean rates of the bins.

    Returns
    -------
    Cube
        Rates at the bin centres, on the same axes.

    Examples
    --------
    >>> import bgnb
    >>> mean = bgnb.make_test_bg_cube_model().rate
    >>> ratio = bgnb.point_rate(mean).quantity / mean.quantity
    >>> round(float(ratio[10, 30, 30]), 2)
    0.97
    """
    from scipy.ndimage import minimum_filter1d

    rate = checked_rate("rate", rate)
    mean = rate.quantity.to_value(RATE_UNIT)
    smooth = mean > 10 * FLOOR * mean.max(axis=(1, 2), keepdims=True)
    point = mean
    for axis, edges in ((1, rate.axes.dety.to_value("rad")), (2, rate.axes.detx.to_value("rad"))):
        where = minimum_filter1d(smooth, 3, axis=axis, mode="nearest")
        point = np.moveaxis(_at_centres(np.moveaxis(point, axis, 0), edges, np.moveaxis(where, axis, 0), 0.0), 0, axis)
    point = _at_centres(point, np.log(rate.axes.energy.to_value("MeV")), mean > 0, 1.0)
    return Cube(rate.axes, u.Quantity(_with_sharp_edges(point, mean, rate.axes), RATE_UNIT))


def _at_centres(mean: Floats, edges: Floats, where: Bools, power: float) -> Floats:
    """Compute values at the centres of bins along the first axis, whose interpolation has the given means in the bins.

    Means are weighted by ``exp(power * x)``, with the coordinate x of the edges, in which the logarithm of the values is
    interpolated. Bins outside ``where`` keep their means.
    """
    centres = (edges[:-1] + edges[1:]) / 2
    column = (-1,) + (1,) * (mean.ndim - 1)
    to_edges, half = _linear(edges, centres), np.diff(edges).reshape(column) / 2
    weights = (np.diff(np.exp(power * edges)) / power if power else np.diff(edges)).reshape(column)
    # Between a centre and an edge, the interpolated value times the weight is an exponential function of x.
    log_edges, log_centres = power * edges.reshape(column), power * centres.reshape(column)
    # Approximate change of log values for a change of the logarithm of the means, as for a constant product with the weight.
    correction = np.linalg.inv((to_edges[:-1] + 2 * np.eye(len(mean)) + to_edges[1:]) / 4)
    point = mean
    for _ in range(_POINT_RATE_STEPS):
        logs = np.log(np.maximum(point, LEAST_RATE))
        at_edges, at_centres = np.tensordot(to_edges, logs, axes=1) + log_edges, logs + log_centres
        values, middle = np.exp(at_edges), np.exp(at_centres)
        interpolated = _exponential_mean(values[:-1], middle, at_centres - at_edges[:-1])
        interpolated += _exponential_mean(middle, values[1:], at_edges[1:] - at_centres)
        interpolated *= half / weights
        change = np.divide(mean, interpolated, out=np.ones_like(mean), where=where & (interpolated > 0))
        factor = np.exp(np.tensordot(correction, np.log(np.clip(change, 0.5, 2.0)), axes=1))
        point = np.where(where, point * np.clip(factor, 0.5, 2.0), point)
        if np.abs(change - 1).max() < 1e-6:
            break
    return point


def _exponential_mean(first: Floats, last: Floats, difference: Floats) -> Floats:
    """Compute the mean of an exponential function from its values at both ends, and the difference of their logarithms."""
    small = np.abs(difference) < 1e-3
    slope = (last - first) / np.where(small, 1.0, difference)
    return np.where(small, (first + last) / 2 * (1 - difference**2 / 12), slope)


def _with_sharp_edges(values: Floats, mean: Floats, axes: CubeAxes) -> Floats:
    """Conserve counts at sharp edges in the field of view, where the mean rate falls to `FLOOR` from one bin to the next.

    A rate that falls to it by less than `_SHARP` from one bin to the next is smooth, and interpolated well as it is.

    The first bin outside gets `_EDGE_FACTOR` times the maximum of its neighbours. The bins at the
    edge are then scaled such that the predicted counts in 3 × 3 bins about each are right.
    """
    from scipy.ndimage import maximum_filter, uniform_filter

    lowest = 10 * FLOOR * values.max(axis=(1, 2), keepdims=True)
    neighbours = maximum_filter(values, footprint=_CROSS, mode="nearest")
    outside = (values <= lowest) & (neighbours > np.maximum(lowest, _SHARP * values))
    if not outside.any():
        return values
    at_edge = maximum_filter(outside, size=(1, 3, 3), mode="nearest") & (values > lowest)
    counts = uniform_filter(mean * axes.bin_volume.value, size=(1, 3, 3), mode="constant")
    compared = np.nonzero(maximum_filter(at_edge, size=(1, 3, 3), mode="nearest"))  # few of all bins
    predicted_in, found = _prediction_in(axes, compared), np.zeros(values.shape)
    for _ in range(_EDGE_STEPS):
        neighbours = maximum_filter(values, footprint=_CROSS, mode="nearest")
        values = np.where(outside, _EDGE_FACTOR * neighbours, values)
        found[compared] = predicted_in(values)
        change = quotient(counts, uniform_filter(found, size=(1, 3, 3), mode="constant"), 1.0)
        values = np.where(at_edge, values * np.clip(change, 0.5, 2.0), np.where(outside, 0.0, values))
    neighbours = maximum_filter(values, footprint=_CROSS, mode="nearest")
    return np.where(outside, _EDGE_FACTOR * neighbours, values)


def _prediction_in(axes: CubeAxes, bins: tuple[NDArray[np.intp], ...]) -> Callable[[Floats], Floats]:
    """Return a function that predicts the events per second in some bins, as `predicted_rate` with "gammapy" does in all.

    The rate in a bin is interpolated between its centre and those of its neighbours. The function takes the
    rates at the centres of all bins. Bins are given by their indices along each axis.
    """
    windows, matrices, weights = [], [], []
    for (edges, density), index in zip(_coordinates(axes), bins, strict=True):
        n_bins, centres = len(edges) - 1, (edges[:-1] + edges[1:]) / 2
        nodes, weight, _ = _nodes(edges, centres, density)
        window = np.clip(np.arange(n_bins) - 1, 0, max(n_bins - 3, 0))[:, None] + np.arange(min(n_bins, 3))
        matrix = np.take_along_axis(_linear(nodes, centres).reshape(n_bins, -1, n_bins), window[:, None], axis=2)
        windows.append(window[index])
        matrices.append(matrix[index])
        weights.append(weight.reshape(n_bins, -1)[index])
    energy, dety, detx = windows
    rows = energy[:, :, None, None], dety[:, None, :, None], detx[:, None, None, :]
    to_energy, to_dety, to_detx = matrices
    block = _BLOCK_NODES // max(math.prod(weight.shape[1] for weight in weights), 1) + 1

    def predicted(values: Floats) -> Floats:
        logs = np.log(np.maximum(values, LEAST_RATE))
        sums = np.empty(len(energy))
        for start in range(0, len(sums), block):
            part = slice(start, start + block)
            nodes = logs[tuple(each[part] for each in rows)]
            nodes = nodes @ to_detx[part, None].swapaxes(-1, -2)
            nodes = to_dety[part, None] @ nodes
            n, n_energy, *of_plane = nodes.shape
            nodes = to_energy[part] @ nodes.reshape(n, n_energy, -1)
            np.exp(np.minimum(nodes, 700.0, out=nodes), out=nodes)
            planes = (weights[0][part, None] @ nodes).reshape(n, *of_plane)
            sums[part] = (weights[1][part, None] @ planes @ weights[2][part, :, None])[:, 0, 0]
        return sums

    return predicted


def _measures(axes: CubeAxes) -> tuple[Floats, Floats, Floats]:
    """Return coordinates in which the volume of a bin is the product of its widths: MeV, sine of the latitude, rad."""
    return axes.energy.to_value("MeV"), np.sin(axes.dety.to_value("rad")), axes.detx.to_value("rad")


def _coordinates(axes: CubeAxes) -> tuple[tuple[Floats, Callable[[Floats], Floats]], ...]:
    """Return the coordinates in which log rates are interpolated, and the densities of energy and solid angle in them."""
    return (
        (np.log(axes.energy.to_value("MeV")), np.exp),
        (axes.dety.to_value("rad"), np.cos),
        (axes.detx.to_value("rad"), np.ones_like),
    )


def _overlap(target: Floats, source: Floats) -> Floats:
    """Compute the overlap of bins, shape (n_target, n_source)."""
    low = np.maximum(target[:-1, None], source[None, :-1])
    high = np.minimum(target[1:, None], source[None, 1:])
    return np.maximum(high - low, 0.0)


def divided(rate: Cube, parts: int) -> Cube:
    """Divide each bin of the field of view into ``parts`` in DETY and in DETX.

    The rates at the centres of the parts are interpolated between the bin centres as Gammapy does, and constant beyond the
    first and the last centre.
    """
    matrices, finer = [], []
    for edges in (rate.axes.dety.value, rate.axes.detx.value):
        fine = np.interp(np.arange(parts * (len(edges) - 1) + 1) / parts, np.arange(len(edges)), edges)
        centres = (edges[:-1] + edges[1:]) / 2
        matrices.append(_linear(np.clip((fine[:-1] + fine[1:]) / 2, centres[0], centres[-1]), centres))
        finer.append(fine * u.deg)
    values = rate.quantity.to_value(RATE_UNIT)
    logs = _along_axes(np.log(np.maximum(values, LEAST_RATE)), np.eye(len(values)), *matrices)
    fine_values = np.where(logs < np.log(2 * LEAST_RATE), 0.0, np.exp(logs))
    return Cube(CubeAxes(rate.axes.energy, *finer), u.Quantity(fine_values, RATE_UNIT))


def _along_axes(values: Floats, energy: Floats, dety: Floats, detx: Floats) -> Floats:
    """Apply a matrix along each axis of a cube."""
    return np.einsum("ae,by,cx,eyx->abc", energy, dety, detx, values, optimize=True)


def _nodes(edges: Floats, kinks: Floats, density: Callable[[Floats], Floats]) -> tuple[Floats, Floats, NDArray[np.intp]]:
    """Compute Gauss-Legendre nodes in the intervals between bin edges and kinks of the integrand.

    Return the nodes, their weights times the density, and the index of the first node of each bin.
    """
    inner = kinks[(kinks > edges[0]) & (kinks < edges[-1])]
    cuts = np.unique(np.concatenate([edges, inner]))
    x, w = np.polynomial.legendre.leggauss(_GAUSS_NODES)
    half = np.diff(cuts)[:, None] / 2
    nodes = (cuts[:-1, None] + half * (1 + x)).ravel()
    return nodes, (w * half).ravel() * density(nodes), np.searchsorted(nodes, edges[:-1])


def _sums(weight: Floats, start: NDArray[np.intp]) -> Floats:
    """Make the matrix of weighted sums over the nodes of each bin, shape (n_bins, n_nodes)."""
    matrix, nodes = np.zeros((len(start), len(weight))), np.arange(len(weight))
    matrix[np.searchsorted(start, nodes, side="right") - 1, nodes] = weight
    return matrix


def _linear(nodes: Floats, centres: Floats) -> Floats:
    """Make the matrix of linear interpolation and extrapolation from centres to nodes, shape (n_nodes, n_centres)."""
    if len(centres) == 1:
        return np.ones((len(nodes), 1))
    left = np.clip(np.searchsorted(centres, nodes) - 1, 0, len(centres) - 2)
    part = (nodes - centres[left]) / (centres[left + 1] - centres[left])
    matrix = np.zeros((len(nodes), len(centres)))
    rows = np.arange(len(nodes))
    matrix[rows, left] = 1 - part
    matrix[rows, left + 1] = part
    return matrix
