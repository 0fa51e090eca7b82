"""Radial rates: the mean over the azimuth about the pointing, and cubes made from such means."""

from __future__ import annotations

import numpy as np
from astropy import units as u

from bgnb._util.errors import BgnbError
from bgnb.cubes.cube import LEAST_RATE, RATE_UNIT, Cube, CubeAxes, checked_edges
from bgnb.cubes.prediction import divided

# Minimum number of rings, and nodes in each ring: circles of equal solid angle, and points on each of them.
_RINGS, _CIRCLES, _POINTS = 60, 8, 1440
# Width of the last ring divided by that of the others. Gammapy repeats the last ring once, outside the field of view.
_LAST = 0.001


def radial_mean(rate: Cube) -> tuple[u.Quantity, u.Quantity]:
    """Average a rate over the azimuth about the pointing, weighted by solid angle.

    Parameters
    ----------
    rate : `Cube`
        Rates at the bin centres, between which their logarithm is interpolated.

    Returns
    -------
    theta : `~astropy.units.Quantity`, shape (n_theta + 1,)
        Edges of at least 60 rings, in deg: from 0 to the farthest edge in DETX or DETY, about as wide
        as the narrowest bin or a part of it. The last ring is a thousandth of that.
    values : `~astropy.units.Quantity`, shape (n_energy, n_theta)
        Mean rate in each ring, over its part inside the axes.

    Raises
    ------
    BgnbError
        If a ring lies outside the axes, because they do not contain the pointing.
    """
    edges = rate.axes.dety.value, rate.axes.detx.value
    theta_max, width = max(np.abs(axis).max() for axis in edges), min(np.diff(axis).min() for axis in edges)
    parts = max(int(np.ceil(_RINGS * width / theta_max - 1e-9)), 1)
    rate = divided(rate, parts)
    edges = rate.axes.dety.value, rate.axes.detx.value
    theta = np.linspace(0, theta_max, round(theta_max / width * parts) + 1)
    theta = np.insert(theta, -1, theta_max - _LAST * theta[1])
    cosine = np.cos(np.radians(theta))
    cosine = cosine[:-1, None] + np.diff(cosine)[:, None] * (np.arange(_CIRCLES) + 0.5) / _CIRCLES
    azimuth = (np.arange(_POINTS) + 0.5) * 2 * np.pi / _POINTS
    sine, cosine = np.sqrt(1 - cosine**2)[..., None], cosine[..., None]
    dety, detx = np.degrees(np.arcsin(sine * np.sin(azimuth))), np.degrees(np.arctan2(sine * np.cos(azimuth), cosine))
    row, column = (np.searchsorted(axis, at, side="right") - 1 for axis, at in zip(edges, (dety, detx), strict=True))
    _, n_dety, n_detx = rate.axes.shape
    inside = (row >= 0) & (row < n_dety) & (column >= 0) & (column < n_detx)
    ring = np.broadcast_to(np.arange(len(theta) - 1)[:, None, None], row.shape)
    cell = np.ravel_multi_index((ring[inside], row[inside], column[inside]), (len(theta) - 1, n_dety, n_detx))
    weight = np.bincount(cell, minlength=(len(theta) - 1) * n_dety * n_detx).reshape(len(theta) - 1, -1)
    total = weight.sum(axis=1)
    if not total.all():
        raise BgnbError("invalid-value", f"a radial rate needs axes that contain the pointing, got {rate.axes}")
    return theta * u.deg, rate.quantity.reshape(len(rate.quantity), -1) @ (weight / total[:, None]).T


def cube_of_radial(energy: u.Quantity, theta: u.Quantity, values: u.Quantity) -> Cube:
    """Make a cube from a radial rate.

    Parameters
    ----------
    energy, theta : `~astropy.units.Quantity`, shapes (n_energy + 1,) and (n_theta + 1,)
        Edges in energy and offset.
    values : `~astropy.units.Quantity`, shape (n_energy, n_theta)
        The rate, in a unit that converts to MeV-1 s-1 sr-1.

    Returns
    -------
    Cube
        The rate on square axes with ``2 n_theta`` bins in each of DETY and DETX, where a last ring
        as narrow as that of `radial_mean` does not count. Each bin has
        the rate at the offset of its centre: the logarithm of the rate is interpolated
        linearly in the offset between the centres of the rings, and constant beyond the first
        and the last centre. Outside the rings the rate is zero.

    Raises
    ------
    BgnbError
        If edges are invalid, or a value is negative or not finite.
    """
    rings, rate = checked_edges("theta", theta, "deg", 0, 90).value, values.to_value(RATE_UNIT)
    widths = np.diff(rings)
    n_theta = len(widths) - (len(widths) > 1 and widths[-1] < 2 * _LAST * widths[-2])
    edges = np.linspace(-rings[-1], rings[-1], 2 * n_theta + 1) * u.deg
    axes = CubeAxes(energy, edges, edges)
    if not np.all(np.isfinite(rate)) or np.any(rate < 0):
        raise BgnbError("invalid-value", "the values of a radial rate must be finite and not negative")
    dety, detx = np.radians(axes.dety_centers.value), np.radians(axes.detx_centers.value)
    offset = np.degrees(np.arccos(np.cos(dety)[:, None] * np.cos(detx)))
    log_rate = np.log(np.maximum(rate, LEAST_RATE))
    between = np.array([np.exp(np.interp(offset, (rings[1:] + rings[:-1]) / 2, each)) for each in log_rate])
    between[(between < 2 * LEAST_RATE) | (offset < rings[0]) | (offset > rings[-1])] = 0
    return Cube(axes, u.Quantity(between, RATE_UNIT))
