"""True model of a simulation.

The true rate per energy, solid angle and livetime is

    R(E, θ) = C · (0.5 + 0.5 alt/90°) · (E/TeV)^−(Γ+1) · exp(−θ² / 2σ(E)²)

where θ is the angular distance from the pointing, σ(E) a power law of energy from σ/2 at the
minimum energy to σ at the maximum, and C is chosen such that the integral over all directions
and energies is the trigger rate at the zenith. Two options make the rate asymmetric, so that
rotations and reflections can be detected: a linear gradient, and a quadrant without events.
With an elongation e, the field of view is that of two telescopes: the ratio of the widths along
their baseline, as seen from the pointing, and across it is e^(ℓ²), where ℓ is the length of the
projected baseline, relative to the zenith; the product of both widths is σ². It turns with the
azimuth of the pointing.

Events are drawn from exactly this rate: energies and Gaussian offsets in a plane are drawn,
and accepted with probability sin θ / θ (times the asymmetry), which projects the plane onto
the sphere. With an elongation, they are drawn from the round Gaussian that contains it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
from astropy import units as u

from bgnb._util.arrays import Floats, blocks
from bgnb._util.checks import checked_pointing, to_value
from bgnb._util.errors import BgnbError
from bgnb._util.setting_kinds import Number
from bgnb._util.settings_groups import setting
from bgnb.cubes.cube import RATE_UNIT, Cube, CubeAxes
from bgnb.cubes.model import BackgroundModel
from bgnb.cubes.stack import stack_runs
from bgnb.simulation.settings import TrueModelSettings

F = TypeVar("F", float, Floats)

#: Ontime and dead-time corrected livetime of a simulated run, s.
ONTIME, LIVETIME = 1800.0, 1500.0
#: Maximum number of events of a run.
MAX_EVENTS = 1e8


@dataclass(frozen=True, kw_only=True)
class TrueModel(TrueModelSettings):
    """True background rate of a simulation.

    Parameters
    ----------
    sigma : float
        Width of the field of view at the maximum energy, deg, from 0.1 to 20; half of it at the
        minimum energy.
    spectral_index : float
        Γ, at most 20: counts per logarithmic energy interval fall as E^−Γ, the rate as E^−(Γ+1).
    trigger_rate : float
        Background events per second of livetime at the zenith, from all directions, before a
        quadrant is masked.
    gradient_x, gradient_y : float
        Relative change of the rate per deg of DETX and DETY; the factor is limited to 0 to 2.
    mask_quadrant : bool
        Exclude events with DETX > 0 and DETY > 0.
    elongation : float
        Width along the baseline of two telescopes divided by that across, at the zenith; from 0.2 to 5.
    baseline_az : float
        Azimuth of this baseline, deg.
    fovalign : {"ALTAZ", "RADEC"}
        Frame of DETX and DETY; "ALTAZ" with an elongation.
    energy_min, energy_max : float
        Range of energies, TeV.

    Raises
    ------
    BgnbError
        If a parameter is out of range.

    Examples
    --------
    >>> import bgnb
    >>> truth = bgnb.TrueModel(gradient_x=0.1)
    >>> model = bgnb.make_test_bg_cube_model(bgnb.CubeAxes.regular(n_energy=4, n_fov=4), "70 deg", truth)
    >>> ratio = model.rate.quantity[:, :, -1] / model.rate.quantity[:, :, 0]
    >>> bool((ratio > 1.5).all())  # DETX of 3 deg over DETX of -3 deg
    True
    """

    energy_min: float = setting(Number(above=0), 0.1, help="Minimum energy, TeV.")
    energy_max: float = setting(Number(above=0), 100.0, help="Maximum energy, TeV.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.energy_min < self.energy_max:
            energies = f"{self.energy_min} and {self.energy_max}"
            raise BgnbError("invalid-argument", f"energy_min and energy_max must be increasing, got {energies}")

    def sigma_at(self, energy: Floats) -> Floats:
        """Return σ(E) in deg, for energies in TeV."""
        return self.sigma / 2 * (energy / self.energy_min) ** self._sigma_slope

    def asymmetry(self, detx: Floats, dety: Floats) -> Floats:
        """Return the factor on the symmetric rate, from 0 to 2, at positions in deg."""
        factor = np.clip(1 + self.gradient_x * detx + self.gradient_y * dety, 0, 2)
        return np.where((detx > 0) & (dety > 0), 0.0, factor) if self.mask_quadrant else factor

    def elongated_part(self, energy: Floats, detx: Floats, dety: Floats, alt_pnt: Floats, az_pnt: Floats) -> Floats:
        """Return the fraction of the events of `draw_directions` that the elongated field of view has.

        Parameters
        ----------
        energy, detx, dety : ndarray, shape (n,)
            Energies, TeV, and positions, deg.
        alt_pnt, az_pnt : ndarray, shape (n,)
            Pointing at the time of each event, deg.

        Returns
        -------
        ndarray, shape (n,)
        """
        offset_squared, excess = self._offset_squared(detx, dety, alt_pnt, az_pnt)
        return np.exp(-0.5 * (excess + offset_squared * (1 - 1 / self._widening)) / self.sigma_at(energy) ** 2)

    def expected(self, axes: CubeAxes, alt_pnt: float, az_pnt: float | None = None) -> Floats:
        """Integrate the rate over each bin.

        Gauss-Legendre quadrature is used, with five nodes in log energy and three in each of
        DETX and DETY.

        Parameters
        ----------
        axes : `CubeAxes`
            The bins.
        alt_pnt : float
            Altitude of the pointing, deg.
        az_pnt : float, optional
            Azimuth of the pointing, deg; needed if the field of view is elongated.

        Returns
        -------
        ndarray
            Expected events per second of livetime, shape (energy, dety, detx).

        Raises
        ------
        BgnbError
            If the azimuth is needed and not given.
        """
        if self.elongation != 1 and az_pnt is None:
            raise BgnbError(
                "invalid-argument", "azimuth must be given for a true model with an elongation, as it turns with it"
            )
        alt_pnt, azimuth = checked_pointing(alt_pnt, 0.0 if az_pnt is None else az_pnt)
        az_pnt = None if az_pnt is None else azimuth
        log_energy = np.clip(np.log(axes.energy.value), np.log(self.energy_min), np.log(self.energy_max))
        energy, d_energy = _quadrature(log_energy, 5)
        widening = np.sqrt(self._widening)
        limits = self.sigma / 2 / widening, 10 * self.sigma * widening  # the minimum width, and ten times the maximum
        dety_edges, detx_edges = (_divided(edges.value, *limits) for edges in (axes.dety, axes.detx))
        (dety, d_dety), (detx, d_detx) = (_quadrature(np.radians(edges), 3) for edges in (dety_edges, detx_edges))
        y, x = dety.reshape(-1, 1), detx.reshape(1, -1)
        offset = np.degrees(np.arccos(np.cos(x) * np.cos(y)))
        weight = d_dety.reshape(-1, 1) * d_detx.reshape(1, -1) * np.cos(y) * self.asymmetry(np.degrees(x), np.degrees(y))
        _, excess = self._offset_squared(np.degrees(x), np.degrees(y), alt_pnt, 0.0 if az_pnt is None else az_pnt)
        rate = np.zeros((axes.shape[0], len(dety), len(detx)))
        for plane in range(axes.shape[0]):
            for node, width in zip(np.exp(energy[plane]), d_energy[plane], strict=True):
                spatial = weight * np.exp(-0.5 * ((offset / self.sigma_at(node)) ** 2 + excess / self.sigma_at(node) ** 2))
                in_bins = spatial.reshape(len(dety), 3, len(detx), 3).sum(axis=(1, 3))
                rate[plane] += width * node**-self.spectral_index * in_bins
        rate = np.add.reduceat(rate, np.searchsorted(dety_edges, axes.dety.value[:-1]), axis=1)
        rate = np.add.reduceat(rate, np.searchsorted(detx_edges, axes.detx.value[:-1]), axis=2)
        return self._norm * altitude_factor(alt_pnt) * rate

    def draw_directions(self, rng: np.random.Generator, alt_pnt: float, livetime: float) -> tuple[Floats, Floats]:
        """Draw energies and directions of the events in a livetime.

        With an elongation, the field of view is the round one that contains it at any azimuth,
        see `elongated_part`.

        Parameters
        ----------
        rng : `~numpy.random.Generator`
            Random numbers.
        alt_pnt : float
            Altitude of the pointing, deg.
        livetime : float
            Livetime, s.

        Returns
        -------
        tuple of ndarray, shapes (n,) and (3, n)
            Energies, TeV, and unit vectors: components towards DETX = DETY = 0, DETX = 90 deg and DETY = 90 deg.

        Raises
        ------
        BgnbError
            If the run would have more than `MAX_EVENTS` events.
        """
        # In the plane the density is a power law in energy times a Gaussian of width sigma(E).
        slope = self.spectral_index - 2 * self._sigma_slope
        slope = slope if abs(slope) > 1e-6 else 1e-6  # avoids the logarithmic limit
        low, high = self.energy_min**-slope, self.energy_max**-slope
        gauss = 2 * np.pi * np.radians(self.sigma / 2) ** 2 * self.energy_min ** (-2 * self._sigma_slope)
        bound = 2.0 if self.gradient_x or self.gradient_y else 1.0
        mean = self._norm * altitude_factor(alt_pnt) * livetime * gauss * self._widening * (low - high) / slope
        if mean * bound > MAX_EVENTS:
            limit = f"more than {MAX_EVENTS:.0g}; use a lower one"
            raise BgnbError("too-large", f"trigger_rate gives a run up to {mean:.3g} events, {limit}")
        n = int(rng.poisson(mean * bound))
        widening = np.radians(np.sqrt(self._widening))
        rows, end = np.empty((4, n)), 0  # random numbers, which the events replace
        rng.random(out=rows[0])
        rng.standard_normal(out=rows[1:3])
        rng.random(out=rows[3])
        for block in blocks(n):
            uniform, plane, thinning = rows[0, block], rows[1:3, block], rows[3, block]
            energy = (low + (high - low) * uniform) ** (-1 / slope)
            directions, onto_sphere = _onto_sphere(self.sigma_at(energy) * widening * plane)
            if self.mask_quadrant or bound > 1:
                onto_sphere *= self.asymmetry(*detxy_of(directions))
            kept = np.flatnonzero(thinning * bound < onto_sphere)
            start, end = end, end + len(kept)
            rows[0, start:end], rows[1:, start:end] = energy[kept], directions.take(kept, axis=1)
        return rows[0, :end], rows[1:, :end]

    def _offset_squared(self, detx: Floats, dety: Floats, alt_pnt: Any, az_pnt: Any) -> tuple[Floats, Floats]:
        """Return θ² in deg², and the change that makes it the square of the offset in units of the elongated width σ."""
        x, y = np.radians(detx), np.radians(dety)
        left, up = np.cos(y) * np.sin(x), np.broadcast_to(np.sin(y), np.broadcast_shapes(x.shape, y.shape))
        offset = np.arctan2(np.hypot(left, up), np.cos(y) * np.cos(x))
        onto_plane = np.degrees(1 / np.sinc(offset / np.pi))  # θ / sin θ
        # The baseline as seen from the pointing, in units of its length.
        from_baseline = np.radians(az_pnt - self.baseline_az)
        baseline_x, baseline_y = np.sin(from_baseline), -np.sin(np.radians(alt_pnt)) * np.cos(from_baseline)
        length_squared = baseline_x**2 + baseline_y**2
        log_ratio = np.log(self.elongation) * length_squared
        along, across = left * baseline_x + up * baseline_y, left * baseline_y - up * baseline_x
        excess = along**2 * np.expm1(-log_ratio) + across**2 * np.expm1(log_ratio)
        return np.degrees(offset) ** 2, onto_plane**2 * excess / np.maximum(length_squared, 1e-12)

    @property
    def _widening(self) -> float:
        """Return the square of the maximum width in units of σ."""
        return max(self.elongation, 1 / self.elongation)

    @property
    def _sigma_slope(self) -> float:
        return float(np.log(2) / np.log(self.energy_max / self.energy_min))

    @cached_property
    def _norm(self) -> float:
        """Normalisation C, TeV-1 s-1 sr-1."""
        log_energy, d_energy = (
            a.ravel() for a in _quadrature(np.linspace(np.log(self.energy_min), np.log(self.energy_max), 41), 5)
        )
        energy = np.exp(log_energy)
        sigma = np.radians(self.sigma_at(energy))[:, None]
        fraction, weight = (a.ravel() for a in _quadrature(np.linspace(0, 1, 201), 5))
        farthest = np.minimum(np.pi, 10 * sigma)
        offset = farthest * fraction
        integral = (np.exp(-0.5 * (offset / sigma) ** 2) * 2 * np.pi * np.sin(offset) * farthest) @ weight
        return float(self.trigger_rate / ((energy**-self.spectral_index * integral) @ d_energy))


def detxy_of(directions: Floats) -> tuple[Floats, Floats]:
    """Compute DETX and DETY, deg, of unit vectors in the field of view, see `TrueModel.draw_directions`."""
    ahead, left, up = directions
    degrees = 180 / np.pi  # np.degrees takes eight times as long
    return degrees * np.arctan2(left, ahead), degrees * np.arcsin(up)


def _onto_sphere(plane: Floats) -> tuple[Floats, Floats]:
    """Compute unit vectors, shape (3, n), of positions in the plane, shape (2, n), rad, and sin θ / θ."""
    left, up = plane
    offset = np.sqrt(left * left + up * up) + 1e-300  # no division by zero
    half = np.tan(offset / 2)  # faster than sine and cosine
    ahead = 2 / (1 + half * half) - 1
    scale = (1 + ahead) * half / offset
    return np.stack([ahead, scale * left, scale * up]), scale


def altitude_factor(alt_pnt: F) -> F:
    """Return the rate at altitudes in deg, relative to the zenith."""
    return 0.5 + 0.5 * alt_pnt / 90


def make_test_bg_cube_model(
    axes: CubeAxes | None = None,
    altitude: u.Quantity | str = 70 * u.deg,
    model: TrueModel | None = None,
    azimuth: u.Quantity | str | None = None,
) -> BackgroundModel:
    """Make the true model of a simulation, as a cube.

    Parameters
    ----------
    axes : `CubeAxes`, optional
        Axes of the cube; by default those of a group of 100 runs.
    altitude : `~astropy.units.Quantity` or str
        Altitude of the pointing; for several runs their mean, as the rate is linear in it.
    model : `TrueModel`, optional
        The parameters; by default the default ones.
    azimuth : `~astropy.units.Quantity` or str, optional
        Azimuth of the pointing; needed if the field of view is elongated.

    Returns
    -------
    BackgroundModel
        The mean of the true rate over each bin, with an empty stack and the live fraction of
        simulated runs.

    Raises
    ------
    BgnbError
        If the altitude is not within 0 to 90 deg, or the azimuth is needed and not given.

    Examples
    --------
    >>> import bgnb
    >>> model = bgnb.make_test_bg_cube_model(altitude="70 deg")
    >>> (model.rate.quantity * model.axes.bin_volume).sum().to("Hz").round()
    <Quantity 205. Hz>
    """
    axes = CubeAxes.regular(n_energy=20, n_fov=60) if axes is None else axes
    model = TrueModel() if model is None else model
    alt_pnt = to_value("altitude", altitude, "deg")
    if not 0 <= alt_pnt <= 90:
        raise BgnbError("invalid-argument", f"altitude must be from 0 to 90 deg, got {alt_pnt:g} deg")
    az_pnt = None if azimuth is None else to_value("azimuth", azimuth, "deg")
    rate = model.expected(axes, alt_pnt, az_pnt) / axes.bin_volume.to_value("MeV sr")
    stack = stack_runs([], axes, model.fovalign)
    return BackgroundModel(Cube(axes, rate * RATE_UNIT), stack, "true", live_fraction=LIVETIME / ONTIME)


def _quadrature(edges: Floats, order: int) -> tuple[Floats, Floats]:
    """Return Gauss-Legendre nodes and weights within each bin, shapes (n_bins, order)."""
    nodes, weights = np.polynomial.legendre.leggauss(order)
    middle, half = (edges[1:] + edges[:-1]) / 2, np.diff(edges) / 2
    return middle[:, None] + half[:, None] * nodes, half[:, None] * weights


def _divided(edges: Floats, widest: float, farthest: float) -> Floats:
    """Divide bins at zero, an edge of the masked quadrant, and as far as there are events into parts of limited width."""
    edges = np.union1d(edges, [edge for edge in (-farthest, 0.0, farthest) if edges[0] < edge < edges[-1]])
    parts = [
        np.linspace(low, high, math.ceil((high - low) / widest) if -farthest <= low and high <= farthest else 1, endpoint=False)
        for low, high in pairwise(edges)
    ]
    return np.concatenate([*parts, edges[-1:]])
