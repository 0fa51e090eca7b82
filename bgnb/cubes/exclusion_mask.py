"""Exclusion regions around known sources and of users, and the livetime of bins outside them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from astropy import units as u
from astropy.table import Table

from bgnb._util.arrays import Bools, Floats, Ints, ranges
from bgnb._util.checks import finite_number, numbers_with_unit
from bgnb._util.errors import BgnbError
from bgnb.cubes.cube import CubeAxes
from bgnb.cubes.sky_shapes import SkyShape, crossings
from bgnb.observations.coordinates import FovAlign, separation
from bgnb.observations.event_list import EventList

#: Radius of the region excluded around a source, in addition to twice its extension.
MASK_RADIUS = 0.5 * u.deg
# Maximum height of the rows into which a bin is divided, deg, and time step in which moving regions are followed, s.
_ROW = 0.004
_STEP = 15.0
# Number of positions, of all times together, that are followed at a time.
_BLOCK = 128
# Distance of the field of view from the edge of a circle that contains it, deg, far above the rounding of positions.
_MARGIN = 0.1


@dataclass(frozen=True, eq=False)
class SourceMask:
    """Exclusion regions on the sky, in which events do not count: circles, and areas of other shapes.

    Parameters
    ----------
    ra, dec, radius : ndarray, shape (n,)
        Centres (ICRS) and radii of the circles, deg.
    e_min, e_max : ndarray, shape (n,), optional
        Range of energies, TeV, for which a circle is excluded; by default all. A circle counts in the energy bins
        that overlap with its range.
    shapes : sequence of `~bgnb.cubes.sky_shapes.SkyShape`
        Areas of other shapes, excluded at all energies.

    Raises
    ------
    BgnbError
        If the lengths differ, or a value lies out of range.
    """

    ra: Floats
    dec: Floats
    radius: Floats
    e_min: Floats | None = None
    e_max: Floats | None = None
    shapes: Sequence[SkyShape] = ()

    def __post_init__(self) -> None:
        for name, default in (("e_min", 0.0), ("e_max", np.inf)):
            if getattr(self, name) is None:
                object.__setattr__(self, name, np.full(np.shape(self.ra), default))
        columns = []
        for name, unit in (("ra", "deg"), ("dec", "deg"), ("radius", "deg"), ("e_min", "TeV"), ("e_max", "TeV")):
            columns.append(numbers_with_unit(name, getattr(self, name), unit))
            object.__setattr__(self, name, columns[-1])
        shapes = {np.shape(values) for values in columns}
        if len(shapes) != 1 or len(shapes.pop()) != 1:
            raise BgnbError("invalid-value", "ra, dec, radius and energies of a mask must be one-dimensional, of equal length")
        if not (
            np.isfinite(self.ra).all() and np.all(np.abs(self.dec) <= 90) and np.all((self.radius >= 0) & (self.radius <= 180))
        ):
            raise BgnbError("invalid-value", "a mask needs finite ra, dec within ±90 deg and radius within 0 to 180 deg")
        low, high = self.energies
        if not np.all((low >= 0) & (low < high)):
            raise BgnbError("invalid-value", "a mask needs energies with 0 ≤ e_min < e_max")

    @property
    def energies(self) -> Floats:
        """Minimum and maximum energies, TeV, shape (2, n)."""
        return np.array([self.e_min, self.e_max], dtype=float)

    @classmethod
    def around(cls, catalog: Table, radius: u.Quantity = MASK_RADIUS) -> SourceMask:
        """Make circles around the sources of a catalogue.

        Parameters
        ----------
        catalog : `~astropy.table.Table`
            Catalogue from `read_catalog`.
        radius : `~astropy.units.Quantity`
            Radius for a point source; twice the extension of an extended source is added.
        """
        ra, dec, extension = (np.asarray(catalog[name], dtype=float) for name in ("RA", "DEC", "EXTENSION"))
        return cls(ra, dec, np.minimum(finite_number("radius", radius, "deg") + 2 * extension, 180))

    def __add__(self, other: SourceMask) -> SourceMask:
        columns = {name: np.concatenate([getattr(mask, name) for mask in (self, other)]) for name in _CIRCLES}
        return SourceMask(**columns, shapes=(*self.shapes, *other.shapes))

    def _select(self, circles: Bools, shapes: Sequence[SkyShape]) -> SourceMask:
        return replace(self, **{name: getattr(self, name)[circles] for name in _CIRCLES}, shapes=shapes)

    def near(self, ra_pnt: float, dec_pnt: float, distance: float) -> SourceMask:
        """Select the regions whose edge is closer to a position than a distance; all in deg."""
        found = separation(self.ra, self.dec, ra_pnt, dec_pnt) < self.radius + distance
        return self._select(found, [shape for shape in self.shapes if len(shape.boundary(ra_pnt, dec_pnt, distance).edges)])

    @property
    def circles(self) -> list[list[float]]:
        """Right ascension, declination and radius of each circle, deg, as plain numbers."""
        return [[float(value) for value in circle] for circle in zip(self.ra, self.dec, self.radius, strict=True)]

    @property
    def content(self) -> list[Any]:
        """Everything that defines the regions, as plain values."""
        return [self.circles, self.energies.tolist(), [shape.digest for shape in self.shapes]]

    def __len__(self) -> int:
        return len(self.ra) + len(self.shapes)

    def covers(self, ra: Floats, dec: Floats, energy: tuple[Floats, Floats] | None = None) -> Bools:
        """Return a mask of the positions (ICRS, deg) that lie in a region.

        Parameters
        ----------
        ra, dec : ndarray, shape (n,)
            Positions.
        energy : tuple of ndarray, shape (n,), optional
            Lower and upper edge, TeV, of the energy bin of each position. By default regions count whatever their energies.
        """
        covered = np.zeros(len(ra), dtype=bool)
        lon, lat, radius, e_min, e_max = (getattr(self, name) for name in _CIRCLES)
        order = np.argsort(dec)  # only positions at the declinations of a circle can lie in it
        first, last = (np.searchsorted(dec[order], lat + sign * (radius + 1e-9)) for sign in (-1, 1))
        for number in np.flatnonzero(first < last):
            at = order[first[number] : last[number]]
            inside = separation(ra[at], dec[at], lon[number], lat[number]) < radius[number]
            if energy is not None:
                inside &= (energy[0][at] < e_max[number]) & (energy[1][at] > e_min[number])
            covered[at] |= inside
        for shape in self.shapes:
            covered |= shape.covers(ra, dec)
        return covered

    def open_fraction(self, events: EventList, axes: CubeAxes, fovalign: FovAlign) -> Floats:
        """Compute the fraction of the solid angle of each bin outside all regions, averaged over the good time of a run.

        Each bin is divided into rows of constant DETY and equal solid angle, on which the length that all regions together
        cover is exact: a circle of radius ρ about (λ₀, β₀) covers, at latitude β, the longitudes with
        ``|λ − λ₀| < arccos((cos ρ − sin β sin β₀) / (cos β cos β₀))``, and the edges of other shapes are crossed an even
        number of times. In ALTAZ the regions move, and are followed through the run.

        Parameters
        ----------
        events : `EventList`
            The run.
        axes : `CubeAxes`
            The bins.
        fovalign : {"ALTAZ", "RADEC"}
            Frame of DETX and DETY.

        Returns
        -------
        ndarray, shape (energy, dety, detx)
        """
        low, high = axes.energy.to_value("TeV")[:-1], axes.energy.to_value("TeV")[1:]
        active = (low[:, None] < self.energies[1]) & (high[:, None] > self.energies[0])
        planes: dict[bytes, list[int]] = {}  # with the same circles
        for plane, circles in enumerate(active):
            planes.setdefault(circles.tobytes(), []).append(plane)
        fraction = np.ones(axes.shape)
        for same in planes.values():
            if mask := self._select(active[same[0]], self.shapes):
                fraction[same] = mask._open_fraction(events, axes, fovalign)
        return fraction

    def _open_fraction(self, events: EventList, axes: CubeAxes, fovalign: FovAlign) -> Floats:
        """Compute the fraction outside all regions, whatever their energies, shape (dety, detx)."""
        if np.any(separation(self.ra, self.dec, events.ra_pnt, events.dec_pnt) + reach(axes) + _MARGIN < self.radius):
            return np.zeros(axes.shape[1:])  # one circle contains the whole field of view
        seconds, parts = (np.zeros(1), np.ones(1)) if fovalign == "RADEC" else events.good_seconds(_STEP)
        sines = np.sin(axes.dety.to_value("rad"))
        n_rows = int(np.ceil(np.diff(axes.dety.value).max() / _ROW))
        steps = (np.arange(n_rows) + 0.5) / n_rows
        rows = np.arcsin((sines[:-1, None] + np.diff(sines)[:, None] * steps).ravel())
        edges = axes.detx.to_value("rad")
        covered = np.zeros(axes.shape[1:])
        boundaries = [shape.boundary(events.ra_pnt, events.dec_pnt, reach(axes)) for shape in self.shapes]
        first = np.cumsum([len(self.ra), *(len(boundary.ra) for boundary in boundaries)])
        ra, dec = (np.concatenate([getattr(part, name) for part in (self, *boundaries)]) for name in ("ra", "dec"))
        n_times = max(_BLOCK // max(len(ra), 1), 1)
        cuts = range(n_times, len(seconds), n_times)
        for times, weights in zip(np.split(seconds, cuts), np.split(parts, cuts), strict=True):
            x, y = np.radians(events.field_of_view.detxy(fovalign, ra, dec, times[:, None])).reshape(2, len(times), -1)
            intervals = [_in_circles(rows, x[:, : first[0]], y[:, : first[0]], np.radians(self.radius))]
            for begin, end, boundary in zip(first, first[1:], boundaries, strict=False):
                for number, (lon, lat) in enumerate(zip(x[:, begin:end], y[:, begin:end], strict=True)):
                    row, crossing = crossings(rows, lon, lat, boundary.edges)
                    intervals.append((number * len(rows) + row[::2], crossing[::2], crossing[1::2]))
            row, left, right = (np.concatenate(each) for each in zip(*intervals, strict=True))
            covered += _covered(row, left, right, edges, n_rows, weights, axes.shape[1:])
        return np.clip(1 - covered / np.diff(edges), 0.0, 1.0)


_CIRCLES = ("ra", "dec", "radius", "e_min", "e_max")


def reach(axes: CubeAxes) -> float:
    """Return the maximum distance of a bin from the pointing, deg."""
    return float(np.hypot(*(np.abs(edges.value).max() for edges in (axes.dety, axes.detx))))


def _in_circles(rows: Floats, lon: Floats, lat: Floats, radius: Floats) -> tuple[Ints, Floats, Floats]:
    """Find the intervals that circles cover on rows of constant latitude: row, left and right end; all in rad.

    The centres have the shape (time, circle). The numbers of the rows continue from one time to the next.
    """
    position, row = ranges(*(np.searchsorted(rows, (lat + sign * radius).ravel()) for sign in (-1, 1)))
    time, circle = np.divmod(position, len(radius))
    lon, lat, radius, beta = lon[time, circle], lat[time, circle], radius[circle], rows[row]
    cosine = (np.cos(radius) - np.sin(beta) * np.sin(lat)) / (np.cos(beta) * np.cos(lat))
    half = np.arccos(np.clip(cosine, -1, 1))
    return time * len(rows) + row, lon - half, lon + half


def _covered(
    row: Ints, left: Floats, right: Floats, edges: Floats, n_rows: int, weights: Floats, shape: tuple[int, int]
) -> Floats:
    """Compute the length that intervals, which may overlap, cover in each bin, its mean over rows and weighted sum over times.

    There are ``n_rows`` rows in each bin, and a weight for each time. The shape is that of the bins, (dety, detx).
    """
    left, right = (np.clip(ends, edges[0], edges[-1]) for ends in (left, right))
    order = np.argsort(left + row * (2 * (edges[-1] - edges[0])), kind="stable")  # fast, as circles are sorted already
    row, left, right = row[order], left[order], right[order]
    offset = row * (2 * (edges[-1] - edges[0]))  # makes rows disjoint
    before = np.maximum.accumulate(right + offset)[:-1] - offset[1:]
    left[1:] = np.maximum(left[1:], before)  # overlaps count once
    row, left, right = row[right > left], left[right > left], right[right > left]
    time, row = np.divmod(row, shape[0] * n_rows)
    first, weight = row // n_rows * shape[1], weights[time]
    until = np.zeros((2, *shape))  # length in each bin up to the ends
    for which, ends in enumerate((left, right)):
        column = np.clip(np.searchsorted(edges, ends, side="right") - 1, 0, shape[1] - 1)
        partial, number = (
            np.bincount(first + column, values, minlength=math.prod(shape)).reshape(shape)
            for values in (weight * (ends - edges[column]), weight)
        )
        beyond = number.sum(axis=1, keepdims=True) - np.cumsum(number, axis=1)
        until[which] = partial + beyond * np.diff(edges)
    return (until[1] - until[0]) / n_rows
