"""Axes of a background cube, and cubes of values on them.

Axis order in memory is always ``(energy, dety, detx)``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import numpy as np
from astropy import units as u
from numpy.typing import NDArray

from bgnb._util.arrays import Floats
from bgnb._util.checks import (
    check_type,
    check_unmasked,
    checked_choice,
    finite_number,
    numbers_with_unit,
    to_value,
    whole_number,
)
from bgnb._util.errors import BgnbError, quoted

#: Names of the axes.
Axis = Literal["energy", "dety", "detx"]
RATE_UNIT = u.Unit("MeV-1 s-1 sr-1")
#: Minimum rate of fitted models, as a fraction of the maximum at the same energy.
FLOOR = 1e-6
#: Minimum rate that is written, or whose logarithm is taken, as in Gammapy: the smallest normal number in single precision.
LEAST_RATE = float(np.finfo(np.float32).tiny)
#: Maximum number of bins of axes that are made, and of cubes that are read; more are assumed to be a mistake.
MAX_BINS = 32_000_000


def checked_edges(name: str, edges: u.Quantity, unit: str, low: float, high: float) -> u.Quantity:
    """Check bin edges; return them read-only, in the unit of the axis.

    Raises
    ------
    BgnbError
        If edges have an invalid unit, are not increasing, or are out of range.
    """
    check_unmasked(f"{name} edges", edges)
    try:
        values = np.array(u.Quantity(edges).to_value(unit), dtype=float)
    except (u.UnitConversionError, TypeError, ValueError) as error:
        raise BgnbError("bad-unit", f"{name} edges need a unit that converts to {unit}: {error}") from None
    if values.ndim != 1 or values.size < 2:
        raise BgnbError("invalid-value", f"{name} edges must be a list of two or more values, got shape {values.shape}")
    if not np.all(np.isfinite(values)) or not np.all(np.diff(values) > 0):
        raise BgnbError("invalid-value", f"{name} edges must be finite and increasing, got {values}")
    if values[0] < low or values[-1] > high:
        limits = "above 0" if high == np.inf else f"within {low:g} and {high:g}"
        raise BgnbError("invalid-value", f"{name} edges must lie {limits} {unit}, got {values}")
    values.setflags(write=False)
    return u.Quantity(values, unit, copy=False)


def distances(edges: Floats) -> tuple[Floats, Floats]:
    """Return the minimum and the maximum distance of each bin from 0."""
    low, high = edges[:-1], edges[1:]
    return np.maximum(np.maximum(low, -high), 0), np.maximum(-low, high)


@dataclass(frozen=True, eq=False)
class CubeAxes:
    """Bin edges of a cube. Axes are equal if all their edges are equal.

    Parameters
    ----------
    energy : `~astropy.units.Quantity`, shape (n_energy + 1,)
        Edges in energy, above zero; converted to TeV.
    dety, detx : `~astropy.units.Quantity`, shapes (n_dety + 1,) and (n_detx + 1,)
        Edges of the field-of-view coordinates (GADF ``DETY``, ``DETX``: latitude and
        longitude in the frame centred on the pointing); converted to deg.

    Raises
    ------
    BgnbError
        If edges have an invalid unit, are not increasing, or are out of range.

    Examples
    --------
    >>> import bgnb
    >>> axes = bgnb.CubeAxes.regular(n_energy=3, n_fov=4, energy_min="1 TeV", energy_max="1000 TeV", fov_max="2 deg")
    >>> axes
    CubeAxes(energy: 3 bins 1-1000 TeV, dety: 4 bins -2-2 deg, detx: 4 bins -2-2 deg)
    >>> axes.shape
    (3, 4, 4)
    """

    energy: u.Quantity
    dety: u.Quantity
    detx: u.Quantity

    def __post_init__(self) -> None:
        tiny = np.finfo(float).tiny
        for name, edges in (
            ("energy", checked_edges("energy", self.energy, "TeV", tiny, np.inf)),
            ("dety", checked_edges("dety", self.dety, "deg", -90, 90)),
            ("detx", checked_edges("detx", self.detx, "deg", -180, 180)),
        ):
            object.__setattr__(self, name, edges)

    @classmethod
    def regular(
        cls,
        *,
        n_energy: int,
        n_fov: int,
        energy_min: u.Quantity | str = 0.1 * u.TeV,
        energy_max: u.Quantity | str = 80 * u.TeV,
        fov_max: u.Quantity | str = 0.07 * u.rad,
    ) -> CubeAxes:
        """Make axes with equal bins in log energy and a square field of view.

        Parameters
        ----------
        n_energy, n_fov : int
            Number of bins in energy, and in each of DETY and DETX.
        energy_min, energy_max : `~astropy.units.Quantity` or str
            Ends of the energy axis.
        fov_max : `~astropy.units.Quantity` or str
            DETX and DETY extend from ``-fov_max`` to ``fov_max``.

        Raises
        ------
        BgnbError
            If a value is invalid.
        """
        n_energy, n_fov = whole_number("n_energy", n_energy), whole_number("n_fov", n_fov)
        if n_energy * n_fov**2 > MAX_BINS:
            raise BgnbError(
                "invalid-argument", f"n_energy = {n_energy} and n_fov = {n_fov} make more than {MAX_BINS:,} bins; use fewer"
            )
        low, high = (to_value(name, e, "TeV") for name, e in (("energy_min", energy_min), ("energy_max", energy_max)))
        if not 0 < low < high < np.inf:
            raise BgnbError(
                "invalid-argument", f"energy_min and energy_max must be increasing and above 0, got {energy_min}, {energy_max}"
            )
        fov_deg = to_value("fov_max", fov_max, "deg")
        if not 0 < fov_deg <= 90:
            raise BgnbError("invalid-argument", f"fov_max must be above 0 and at most 90 deg, got {fov_max}")
        fov = np.linspace(-fov_deg, fov_deg, n_fov + 1) * u.deg
        return cls(energy=np.geomspace(low, high, n_energy + 1) * u.TeV, dety=fov, detx=fov)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of bins, (energy, dety, detx)."""
        return len(self.energy) - 1, len(self.dety) - 1, len(self.detx) - 1

    @cached_property
    def solid_angle(self) -> u.Quantity:
        """Exact solid angle of each bin on the sphere, shape (n_dety, n_detx), in sr.

        DETX is a longitude and DETY a latitude, so a bin covers
        Δlon · (sin lat_hi − sin lat_lo).
        """
        heights = np.diff(np.sin(self.dety.to_value("rad")))
        widths = np.diff(self.detx.to_value("rad"))
        return heights[:, None] * widths * u.sr

    @cached_property
    def bin_volume(self) -> u.Quantity:
        """ΔE · ΔΩ of each bin, shape (n_energy, n_dety, n_detx), in MeV sr."""
        return np.diff(self.energy.to("MeV"))[:, None, None] * self.solid_angle

    @property
    def energy_centers(self) -> u.Quantity:
        """Logarithmic bin centres in energy, shape (n_energy,), in TeV."""
        return np.sqrt(self.energy[:-1] * self.energy[1:])

    @property
    def dety_centers(self) -> u.Quantity:
        """Bin centres in DETY, shape (n_dety,), in deg."""
        return (self.dety[:-1] + self.dety[1:]) / 2

    @property
    def detx_centers(self) -> u.Quantity:
        """Bin centres in DETX, shape (n_detx,), in deg."""
        return (self.detx[:-1] + self.detx[1:]) / 2

    def bin_of(self, name: Axis, value: float | u.Quantity) -> int | None:
        """Return the index of the bin of an axis that contains a value (TeV, deg, or with a unit); None outside the axis.

        A bin contains its lower edge, but not its upper one.

        Examples
        --------
        >>> from astropy import units as u
        >>> axes = CubeAxes([1, 10, 100] * u.TeV, [-2, 0, 2] * u.deg, [-3, -1, 1, 3] * u.deg)
        >>> axes.bin_of("energy", 10), axes.bin_of("detx", -1.1), axes.bin_of("dety", 2)
        (1, 0, None)
        """
        value = self._plain(name, value)
        edges = getattr(self, name.lower()).value
        number = int(np.searchsorted(edges, value, side="right")) - 1
        return number if 0 <= number < len(edges) - 1 else None

    def nearest_bin(self, name: Axis, value: float | u.Quantity) -> int:
        """Return the index of the bin of an axis that contains a value (TeV, deg, or with a unit), or of the nearest bin."""
        plain = finite_number(name, self._plain(name, value))
        if (number := self.bin_of(name, plain)) is not None:
            return number
        edges = getattr(self, name.lower()).value
        return 0 if plain < edges[0] else len(edges) - 2

    def _plain(self, name: Axis, value: float | u.Quantity) -> float:
        number = numbers_with_unit(name, value, "TeV" if checked_choice("axis", name, get_args(Axis)) == "energy" else "deg")
        if number.ndim:
            raise BgnbError("invalid-argument", f"{name} must be one number, got {quoted(value)}")
        return float(number)

    def holds(self, detx: u.Quantity, dety: u.Quantity) -> bool:
        """Check whether a position lies in the field of view."""
        bins = self.bin_of("detx", detx.to_value("deg")), self.bin_of("dety", dety.to_value("deg"))
        return None not in bins

    def bins_on(self, other: CubeAxes) -> NDArray[np.bool_]:
        """Find the bins that lie entirely within other axes, up to rounding; the result has the shape of these axes."""
        inside = np.ones(self.shape, dtype=bool)
        for number, name in enumerate(("energy", "dety", "detx")):
            edges, others = getattr(self, name).value, getattr(other, name).value
            tolerance = 1e-6 * np.abs(others).max()
            outside = (edges[:-1] < others[0] - tolerance) | (edges[1:] > others[-1] + tolerance)
            inside[(slice(None),) * number + (outside,)] = False
        return inside

    def first_bin_above(self, threshold: u.Quantity) -> int:
        """Return the index of the first energy bin that lies entirely above ``threshold``.

        It equals ``n_energy`` if there is no such bin. An edge within a relative distance of
        10⁻⁶ from the threshold counts as equal to it, so that no bin is lost to rounding.
        """
        limit = threshold.to_value("TeV") * (1 - 1e-6)
        return min(int(np.searchsorted(self.energy.value, limit)), self.shape[0])

    def number_below(self, limit: u.Quantity) -> int:
        """Return the number of energy bins that lie entirely below ``limit``, with the same tolerance."""
        highest = limit.to_value("TeV") * (1 + 1e-6)
        return max(int(np.searchsorted(self.energy.value, highest, side="right")) - 1, 0)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CubeAxes):
            return NotImplemented
        return all(np.array_equal(getattr(self, n), getattr(other, n)) for n in ("energy", "dety", "detx"))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        parts = [
            f"{name}: {len(edges) - 1} bins {edges[0].value:.4g}-{edges[-1].value:.4g} {edges.unit}"
            for name, edges in (("energy", self.energy), ("dety", self.dety), ("detx", self.detx))
        ]
        return f"CubeAxes({', '.join(parts)})"


@dataclass(frozen=True, eq=False)
class Cube:
    """Finite, non-negative values with a unit, one for each bin of the axes.

    Parameters
    ----------
    axes : `CubeAxes`
        The axes.
    quantity : `~astropy.units.Quantity`
        Values, shape (energy, dety, detx).

    Raises
    ------
    BgnbError
        If the shape differs from that of the axes, or a value is negative or not finite.

    Examples
    --------
    >>> import bgnb
    >>> import numpy as np
    >>> from astropy import units as u
    >>> axes = bgnb.CubeAxes.regular(n_energy=3, n_fov=4, fov_max="2 deg")
    >>> bgnb.Cube(axes, np.ones(axes.shape) * u.Unit("MeV-1 s-1 sr-1"))
    Cube(CubeAxes(energy: 3 bins 0.1-80 TeV, dety: 4 bins -2-2 deg, detx: 4 bins -2-2 deg), unit: 1 / (MeV s sr))
    """

    axes: CubeAxes
    quantity: u.Quantity

    def __post_init__(self) -> None:
        check_type("axes", self.axes, CubeAxes)
        check_unmasked("quantity", self.quantity)
        try:
            quantity = u.Quantity(self.quantity, copy=True)
        except (TypeError, ValueError) as error:
            raise BgnbError("invalid-argument", f"the values of a cube must be a quantity: {error}") from None
        if quantity.shape != self.axes.shape:
            raise BgnbError("invalid-value", f"a cube on {self.axes} needs shape {self.axes.shape}, got {quantity.shape}")
        if not np.all(np.isfinite(quantity.value)) or np.any(quantity.value < 0):
            raise BgnbError("invalid-value", "the values of a cube must be finite and not negative")
        quantity.setflags(write=False)
        object.__setattr__(self, "quantity", quantity)

    def __repr__(self) -> str:
        return f"Cube({self.axes}, unit: {self.quantity.unit})"


def checked_rate(name: str, rate: object) -> Cube:
    """Return a rate, in `RATE_UNIT`.

    Raises
    ------
    BgnbError
        If it is not a cube, or its unit does not convert; the message names the argument.
    """
    if not isinstance(rate, Cube):
        advice = "; give its rate" if hasattr(rate, "rate") else ""
        raise BgnbError("invalid-argument", f"{name} must be of the type Cube, got {type(rate).__name__}{advice}")
    try:
        return Cube(rate.axes, rate.quantity.to(RATE_UNIT))
    except u.UnitConversionError:
        raise BgnbError("bad-unit", f"{name} must be in {RATE_UNIT}, got '{rate.quantity.unit}'") from None
