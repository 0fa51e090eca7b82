"""A background rate for any pointing: a sum of splines, see `bgnb.cubes.spline` for their fit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from astropy import units as u
from numpy.typing import NDArray

from bgnb._util.arrays import Floats
from bgnb._util.checks import checked_pointing
from bgnb._util.threads import one_blas_thread
from bgnb.cubes.camera import CameraEdge
from bgnb.cubes.cube import FLOOR, RATE_UNIT, Cube, CubeAxes
from bgnb.cubes.spline_basis import Parts, breaks_of_r2, centred, energy_parts, pointing_parts, view_parts
from bgnb.cubes.spline_design import Term
from bgnb.observations.coordinates import FovAlign

#: Factor in energy below the lowest counts over which the spectrum is continued. Farther below the rate is constant, as a
#: steep spectrum would rise without limit.
CONTINUED = 2.0


@dataclass(frozen=True, eq=False)
class SplineModel:
    """A background rate for any pointing.

    Parameters
    ----------
    axes : `CubeAxes`
        Axes of the rate.
    fovalign : {"ALTAZ", "RADEC"}
        Frame of DETX and DETY.
    counts : ndarray
        Counts of all runs, shape (energy, dety, detx).
    terms : tuple of tuple of str
        The terms, see `bgnb.cubes.spline`.
    zenith_range : tuple of float
        Minimum and maximum cosine of the zenith angle of the runs; pointings outside this
        range get the rate at the limit.
    means : mapping of str to ndarray
        Means of the basis functions in pointing, energy and field of view over the data, which
        are subtracted.
    coefficients : ndarray, shape (p,)
        Coefficients of the terms, in order.
    covariance : ndarray, shape (p, p)
        Covariance of the coefficients.
    degrees_of_freedom : ndarray, shape (n_terms,)
        Effective number of coefficients of each term.
    scatter : float
        Standard deviation of the logarithm of the norm from run to run, beyond statistical
        fluctuations; 0 for a fit to a single stack, which does not show it.
    tilt : float
        Likewise, standard deviation of the spectral index.
    camera : ndarray, shape (dety, detx)
        Part of each pixel that is inside the camera, see `~bgnb.cubes.camera.inside_camera`.
    edge : `~bgnb.cubes.camera.CameraEdge` or None
        Edge of the camera, if one was found.

    Examples
    --------
    >>> import bgnb
    >>> spline = bgnb.read_models("models").for_pointing
    >>> rate, error = spline.at(75, 180)
    >>> bool((error.quantity < rate.quantity)[0].all())
    True
    """

    axes: CubeAxes
    fovalign: FovAlign
    counts: NDArray[np.int64]
    terms: tuple[Term, ...]
    zenith_range: tuple[float, float]
    means: Parts
    coefficients: Floats
    covariance: Floats
    degrees_of_freedom: Floats
    scatter: float
    tilt: float
    camera: Floats
    edge: CameraEdge | None = None

    def __repr__(self) -> str:
        return f"SplineModel({len(self.coefficients)} coefficients, {self.counts.sum()} counts, {self.fovalign}, {self.axes})"

    @property
    def altitude_range(self) -> tuple[float, float]:
        """Minimum and maximum altitude of the fit, deg: those of the runs, farther apart if these are nearly equal."""
        low, high = np.degrees(np.arcsin(self.zenith_range))
        return float(low), float(high)

    @one_blas_thread()
    def at(self, alt_pnt: float, az_pnt: float) -> tuple[Cube, Cube]:
        """Compute the rate at a pointing, and its statistical error.

        The error is that of the mean rate of runs with this pointing; single runs scatter
        about it by `scatter`.

        Parameters
        ----------
        alt_pnt, az_pnt : float
            Altitude and azimuth, deg.

        Returns
        -------
        rate, error : `Cube`
        """
        rate = self.rate_at(alt_pnt, az_pnt)
        variance = np.maximum(_variance(self.covariance, self._parts(alt_pnt, az_pnt), self.terms), 0)
        return rate, Cube(self.axes, rate.quantity * np.sqrt(variance).reshape(self.axes.shape))

    @one_blas_thread()
    def rate_at(self, alt_pnt: float, az_pnt: float) -> Cube:
        """Compute the rate at a pointing without its error, which is much faster than `at`."""
        log_rate = _linear_predictor(self.coefficients, self._parts(alt_pnt, az_pnt), self.terms)
        rate = np.exp(np.clip(log_rate, -700, 700)).reshape(self.axes.shape) * self.camera
        rate[: self._first_plane] = rate[self._first_plane]
        return Cube(self.axes, u.Quantity(np.maximum(rate, FLOOR * rate.max(axis=(1, 2), keepdims=True)), RATE_UNIT))

    @one_blas_thread()
    def count_covariance(self, alt_pnt: float, az_pnt: float) -> Floats:
        """Compute the statistical covariance of the logarithm of the counts in the field of view, between energy bins.

        Parameters
        ----------
        alt_pnt, az_pnt : float
            Altitude and azimuth, deg.

        Returns
        -------
        ndarray, shape (energy, energy)
        """
        rate = self.rate_at(alt_pnt, az_pnt).quantity * self.axes.solid_angle
        weights = rate.value.reshape(self.axes.shape[0], -1)
        weights = weights / weights.sum(axis=1, keepdims=True)
        pointing, energy, view = self._parts(alt_pnt, az_pnt)
        mean_view = {name: weights @ view[name] for name in {name for _, _, name in self.terms}}
        blocks = [
            pointing[p][0][:, None, None] * energy[e][:, None, :, None] * mean_view[s][:, None, None] for p, e, s in self.terms
        ]
        design = np.concatenate([block.reshape(len(weights), -1) for block in blocks], axis=1)
        design[: self._first_plane] = design[self._first_plane]
        return design @ self.covariance @ design.T

    @cached_property
    def _first_plane(self) -> int:
        """Index of the lowest energy plane to which the spectrum is continued, see `CONTINUED`."""
        edges, first = self.axes.energy.value, int(np.argmax(self.counts.any(axis=(1, 2))))
        return int(np.argmax(edges[1:] > edges[first] / CONTINUED))

    def _parts(self, alt_pnt: float, az_pnt: float) -> tuple[Parts, Parts, Parts]:
        """Evaluate the basis in pointing, energy and field of view, for one pointing."""
        altitude, azimuth = checked_pointing(alt_pnt, az_pnt)
        pointing = pointing_parts(np.array([altitude]), np.array([azimuth]), self.zenith_range)
        return centred(pointing, self.means), *self._axes_parts

    @cached_property
    def _axes_parts(self) -> tuple[Parts, Parts]:
        """Basis in energy and field of view, which all pointings have in common."""
        return centred(energy_parts(self.axes), self.means), centred(
            view_parts(self.axes, breaks_of_r2(self.axes, self.counts, self.camera)), self.means
        )


def _linear_predictor(coefficients: Floats, parts: tuple[Parts, Parts, Parts], terms: Sequence[Term]) -> Floats:
    """Compute the logarithm of the rate in each bin of each cell, shape (cell, energy, pixel)."""
    pointing, energy, view = parts
    by_view: dict[str, Floats] = {}
    at = 0
    for p, e, s in terms:
        shape = pointing[p].shape[1], energy[e].shape[1], view[s].shape[1]
        block = coefficients[at : at + math.prod(shape)].reshape(shape)
        at += block.size
        along_energy = (energy[e] @ block).reshape(shape[0], -1)  # (pointing, energy and view)
        values = (pointing[p] @ along_energy).reshape(len(pointing[p]), len(energy[e]), -1)
        by_view[s] = by_view.get(s, 0.0) + values
    if at != len(coefficients):
        raise ValueError(f"the terms have {at} coefficients, but {len(coefficients)} are given")
    return sum(part @ view[s].T for s, part in by_view.items())  # type: ignore[return-value]


def _variance(covariance: Floats, parts: tuple[Parts, Parts, Parts], terms: Sequence[Term]) -> Floats:
    """Compute the variance of the logarithm of the rate in each bin, at one pointing, shape (energy, pixel).

    At a fixed energy the logarithm is a linear combination of basis functions of the field of view. As these are
    far fewer than the coefficients, the covariance is first projected on them. Coefficients of terms that are the
    same at all energies, among them those of the basis with many columns, are themselves coefficients of such functions.
    """
    pointing, energy, view = parts
    n_planes = len(energy["1"])
    sizes = [math.prod((pointing[p].shape[1], energy[e].shape[1], view[s].shape[1])) for p, e, s in terms]
    is_fixed = np.repeat([(p, e) == ("1", "1") for p, e, _ in terms], sizes)
    fixed = np.concatenate([view[s] for p, e, s in terms if (p, e) == ("1", "1")], axis=1)
    others = [(p, e, s) for p, e, s in terms if (p, e) != ("1", "1")]
    columns = {s: view[s] for _, _, s in others}
    ends = np.cumsum([part.shape[1] for part in columns.values()])
    rows = {s: slice(end - part.shape[1], end) for end, (s, part) in zip(ends, columns.items(), strict=True)}
    design = np.concatenate([*columns.values()], axis=1)
    blocks = []
    for p, e, s in others:
        factors = (pointing[p][0][:, None] * energy[e][:, None, :]).reshape(n_planes, 1, -1, 1)
        block = np.zeros((n_planes, design.shape[1], pointing[p].shape[1] * energy[e].shape[1] * view[s].shape[1]))
        block[:, rows[s]] = (factors * np.eye(view[s].shape[1])[:, None, :]).reshape(n_planes, view[s].shape[1], -1)
        blocks.append(block)
    to_columns = np.concatenate(blocks, axis=2)
    of_fixed, of_others = covariance[np.ix_(is_fixed, is_fixed)], covariance[np.ix_(~is_fixed, ~is_fixed)]
    of_both = covariance[np.ix_(is_fixed, ~is_fixed)]
    variance = np.tile(np.einsum("sp,sp->s", fixed @ of_fixed, fixed), (n_planes, 1))
    for plane, of_plane in enumerate(to_columns):
        weights = design @ (of_plane @ of_others @ of_plane.T) + 2 * fixed @ (of_both @ of_plane.T)
        variance[plane] += np.einsum("sp,sp->s", weights, design)
    return variance
