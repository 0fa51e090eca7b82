"""Exclusion regions around known sources, and the livetime of bins outside them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from astropy import units as u
from astropy.table import Table
from numpy.typing import NDArray

from bgnb._util.arrays import Floats
from bgnb._util.errors import BgnbError
from bgnb.cubes.cube import CubeAxes
from bgnb.observations.coordinates import FovAlign, separation
from bgnb.observations.event_list import EventList

#: Radius of the region excluded around a source, in addition to twice its extension.
MASK_RADIUS = 0.5 * u.deg
# Maximum height of the rows into which a bin is divided, deg, and time step in which moving circles are followed, s.
_ROW = 0.004
_STEP = 15.0


@dataclass(frozen=True, eq=False)
class SourceMask:
    """Circular exclusion regions on the sky, in which events do not count.

    Parameters
    ----------
    ra, dec, radius : ndarray, shape (n,)
        Centres (ICRS) and radii, deg.

    Raises
    ------
    BgnbError
        If the lengths differ, or a value lies out of range.
    """

    ra: Floats
    dec: Floats
    radius: Floats

    def __post_init__(self) -> None:
        shapes = {np.shape(values) for values in (self.ra, self.dec, self.radius)}
        if len(shapes) != 1 or len(shapes.pop()) != 1:
            raise BgnbError("invalid-value", "ra, dec and radius of a mask must be one-dimensional and of equal length")
        if not (
            np.isfinite(self.ra).all() and np.all(np.abs(self.dec) <= 90) and np.all((self.radius >= 0) & (self.radius <= 180))
        ):
            raise BgnbError("invalid-value", "a mask needs finite ra, dec within ±90 deg and radius within 0 to 180 deg")

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
        return cls(ra, dec, np.minimum(radius.to_value("deg") + 2 * extension, 180))

    def near(self, ra_pnt: float, dec_pnt: float, distance: float) -> SourceMask:
        """Select the circles whose edge is closer to a position than a distance; all in deg."""
        found = separation(self.ra, self.dec, ra_pnt, dec_pnt) < self.radius + distance
        return SourceMask(self.ra[found], self.dec[found], self.radius[found])

    @property
    def circles(self) -> list[list[float]]:
        """Right ascension, declination and radius of each circle, deg, as plain numbers."""
        return [[float(value) for value in circle] for circle in zip(self.ra, self.dec, self.radius, strict=True)]

    def __len__(self) -> int:
        return len(self.ra)

    def covers(self, ra: Floats, dec: Floats) -> NDArray[np.bool_]:
        """Return a mask of the positions (ICRS, deg) that lie in a circle."""
        covered = np.zeros(len(ra), dtype=bool)
        for lon, lat, radius in zip(self.ra, self.dec, self.radius, strict=True):
            covered |= separation(ra, dec, lon, lat) < radius
        return covered

    def open_fraction(self, events: EventList, axes: CubeAxes, fovalign: FovAlign) -> Floats:
        """Compute the fraction of the solid angle of each bin outside all circles, averaged over the good time of a run.

        A circle of radius ρ about (λ₀, β₀) covers, at latitude β, the longitudes with
        ``|λ − λ₀| < arccos((cos ρ − sin β sin β₀) / (cos β cos β₀))``. Each bin is divided into rows
        of equal solid angle, on which the length covered by all circles together is exact.
        In ALTAZ the circles move, and are followed through the run.

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
        ndarray, shape (dety, detx)
        """
        seconds, parts = (np.zeros(1), np.ones(1)) if fovalign == "RADEC" else events.good_seconds(_STEP)
        sines = np.sin(axes.dety.to_value("rad"))
        n_rows = int(np.ceil(np.diff(axes.dety.value).max() / _ROW))
        steps = (np.arange(n_rows) + 0.5) / n_rows
        rows = np.arcsin((sines[:-1, None] + np.diff(sines)[:, None] * steps).ravel())
        edges = axes.detx.to_value("rad")
        covered = np.zeros((len(rows), len(edges) - 1))
        for second, part in zip(seconds, parts, strict=True):
            lon, lat = events.field_of_view.detxy(fovalign, self.ra, self.dec, np.full(len(self), second))
            covered += part * _covered(rows, edges, np.radians(lon), np.radians(lat), np.radians(self.radius))
        per_bin = covered.reshape(-1, n_rows, len(edges) - 1).mean(axis=1)
        return np.clip(1 - per_bin / np.diff(edges), 0.0, 1.0)


def _covered(rows: Floats, edges: Floats, lon: Floats, lat: Floats, radius: Floats) -> Floats:
    """Compute the length that circles cover in each bin, on rows of constant latitude, shape (n_rows, n_bins), rad."""
    covered = np.zeros((len(rows), len(edges) - 1))
    touched = np.flatnonzero(np.any(np.abs(rows[:, None] - lat) < radius, axis=1))
    if not len(touched):
        return covered
    beta = rows[touched][:, None]
    cosine = (np.cos(radius) - np.sin(beta) * np.sin(lat)) / (np.cos(beta) * np.cos(lat))
    half = np.arccos(np.clip(cosine, -1, 1))
    order = np.argsort(lon - half, axis=1)
    low, high = (np.take_along_axis(ends, order, axis=1) for ends in (lon - half, lon + half))
    before = np.maximum.accumulate(high, axis=1)
    low[:, 1:] = np.maximum(low[:, 1:], before[:, :-1])  # overlaps count once
    for left, right in zip(low.T, high.T, strict=True):
        overlap = np.minimum(right[:, None], edges[1:]) - np.maximum(left[:, None], edges[:-1])
        covered[touched] += np.maximum(overlap, 0)
    return covered
