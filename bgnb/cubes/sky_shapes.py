"""Areas of any shape on the sky: closed lines and images, and the boundary of each."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from bgnb._util.arrays import Bools, Floats, Ints, ranges
from bgnb._util.errors import BgnbError
from bgnb.observations.coordinates import separation

if TYPE_CHECKING:
    from astropy.coordinates import BaseCoordinateFrame
    from astropy.wcs import WCS

#: Maximum distance of the points of closed lines from their centre, deg.
MAX_RADIUS = 40.0
# Maximum length of an edge, deg. A great circle of this length deviates from a straight line in DETX and DETY by less than
# 0.1 arcsec within 10 deg of the pointing.
_EDGE = 0.25
#: Maximum number of the edges about an area; a million takes 0.25 GB.
MAX_EDGES = 4_000_000
# Minimum and maximum width of pixels, deg; they are divided at _EDGE.
_MIN_PIXEL, _MAX_PIXEL = 1e-6, 30.0
# Size of the blocks in which images are searched for excluded pixels, deg.
_BLOCK = 1.0


class Boundary(NamedTuple):
    """Edges about an area: vertices (ICRS, deg), shape (n,), and the indices of both ends of each edge, shape (m, 2)."""

    ra: Floats
    dec: Floats
    edges: Ints


class SkyShape(Protocol):
    """An area on the sky that is inside its boundary by the even-odd rule."""

    @property
    def digest(self) -> str:
        """Digest of everything that defines the area."""

    def boundary(self, ra: float, dec: float, distance: float) -> Boundary:
        """Return the edges about all of the area that is closer to a position than a distance, deg; none if nothing is."""

    def covers(self, ra: Floats, dec: Floats) -> Bools:
        """Return a mask of the positions (ICRS, deg) that lie inside."""


def check_number_of_edges(number: int) -> None:
    """Raise a `BgnbError` for an area with more than `MAX_EDGES` edges, each of which takes memory."""
    if number > MAX_EDGES:
        text = f"has {number} edges of at most {_EDGE:g} deg, more than {MAX_EDGES}; use fewer vertices or pixels"
        raise BgnbError("too-large", f"the area {text}")


@dataclass(frozen=True, eq=False)
class ClosedLines:
    """Area inside closed lines, such as a polygon, by the even-odd rule; edges are great circles.

    Parameters
    ----------
    lines : sequence of ndarray, shape (n, 2)
        Right ascension and declination (ICRS, deg) of the vertices of each line.

    Raises
    ------
    BgnbError
        If a line has less than three vertices, or they are not within `MAX_RADIUS` of their centre.
    """

    lines: Sequence[Floats]

    def __post_init__(self) -> None:
        for line in self.lines:
            if line.ndim != 2 or len(line) < 3 or line.shape[1] != 2:
                raise BgnbError("invalid-value", "a closed line needs at least three vertices (RA, DEC)")
            if not (np.isfinite(line).all() and np.all(np.abs(line[:, 1]) <= 90)):
                raise BgnbError("invalid-value", "vertices must be finite positions with declinations within ±90 deg")
        if not np.max(separation(self._outline.ra, self._outline.dec, *self._center[:2])) <= MAX_RADIUS:
            raise BgnbError("invalid-value", f"an area inside closed lines must lie within {MAX_RADIUS:g} deg of its centre")

    @property
    def n_edges(self) -> int:
        """Number of all edges, which are short."""
        return len(self._outline.edges)

    @cached_property
    def _outline(self) -> Boundary:
        """All edges, which are short."""
        points, edges, n_points = [], [], 0
        for line in self.lines:
            start = _unit_vectors(*line.T)
            stop = np.roll(start, -1, axis=0)
            n_parts = np.ceil(np.linalg.norm(stop - start, axis=1) / np.radians(_EDGE)).astype(int).clip(1)
            check_number_of_edges(n_points + int(n_parts.sum()))
            for one, other, n in zip(start, stop, n_parts, strict=True):
                points.append(one + np.arange(n)[:, None] / n * (other - one))
            numbers = n_points + np.arange(n_parts.sum())
            edges.append(np.stack([numbers, np.roll(numbers, -1)], axis=1))
            n_points += len(numbers)
        return Boundary(*_positions(np.concatenate(points)), np.concatenate(edges))

    @cached_property
    def _center(self) -> tuple[float, float, float]:
        """Right ascension and declination of the centre, and the maximum distance of a point from it, deg."""
        outline = self._outline
        ra, dec = (float(angle[0]) for angle in _positions(_unit_vectors(outline.ra, outline.dec).mean(axis=0)[None]))
        return ra, dec, float(separation(outline.ra, outline.dec, ra, dec).max())

    @property
    def digest(self) -> str:
        """Digest of everything that defines the area."""
        return sha256(repr([line.tolist() for line in self.lines]).encode()).hexdigest()

    def boundary(self, ra: float, dec: float, distance: float) -> Boundary:
        """Return all edges, or none if no point inside can be closer to a position than a distance, deg."""
        lon, lat, radius = self._center
        return self._outline if separation(ra, dec, lon, lat) < radius + distance else _NOTHING

    def covers(self, ra: Floats, dec: Floats) -> Bools:
        """Return a mask of the positions (ICRS, deg) that lie inside."""
        lon, lat, radius = self._center
        covered = np.zeros(len(ra), dtype=bool)
        rows = np.flatnonzero(separation(ra, dec, lon, lat) <= radius)
        if not len(rows):
            return covered
        x, y = _about(lon, lat, ra[rows], dec[rows])
        order = np.argsort(y)
        edges_x, edges_y = _about(lon, lat, self._outline.ra, self._outline.dec)
        row, crossing = crossings(y[order], edges_x, edges_y, self._outline.edges)
        left = crossing <= x[order][row]
        covered[rows[order]] = np.bincount(row[left], minlength=len(rows)) % 2 == 1
        return covered


@dataclass(frozen=True, eq=False)
class SkyImage:
    """Area of the excluded pixels of an image. Positions outside the image are not excluded.

    Parameters
    ----------
    header : str
        Header of the celestial coordinates of the two axes of the image, see `from_array`.
    shape : tuple of int
        Numbers of pixels, (rows, columns).
    packed : bytes
        Compressed bits of the excluded pixels.
    """

    header: str
    shape: tuple[int, int]
    packed: bytes

    @classmethod
    def from_array(cls, excluded: Bools, wcs: WCS) -> SkyImage:
        """Pack an image.

        Parameters
        ----------
        excluded : ndarray of bool, shape (rows, columns)
            True for the excluded pixels.
        wcs : `~astropy.wcs.WCS`
            Celestial coordinates of the two axes.

        Raises
        ------
        BgnbError
            If the axes are not longitude and latitude, their frame is unknown, pixels are too large, or excluded pixels do
            not lie on the sky.
        """
        if wcs.naxis != 2 or (wcs.wcs.lng, wcs.wcs.lat) != (0, 1):
            raise BgnbError("invalid-value", "an image needs the axes longitude and latitude, in this order")
        widths = [float(abs(scale.to_value("deg"))) for scale in wcs.proj_plane_pixel_scales()]
        if not (min(widths) >= _MIN_PIXEL and max(widths) <= _MAX_PIXEL):
            limits = f"must lie within {_MIN_PIXEL:g} and {_MAX_PIXEL:g} deg"
            raise BgnbError("invalid-value", f"the widths of pixels {limits}, got {widths[0]:g} and {widths[1]:g} deg")
        stated, excluded = excluded, np.array(excluded, dtype=bool)
        if not _on_sky(wcs, *np.meshgrid(*(np.array([0, n]) for n in excluded.shape), indexing="ij")).all():
            for row in range(len(excluded)):  # pixels at the edges of an all-sky projection
                corners = _on_sky(wcs, *np.meshgrid([row, row + 1], np.arange(excluded.shape[1] + 1), indexing="ij"))
                whole = np.logical_and(*corners)
                excluded[row] &= whole[1:] & whole[:-1]
            if wcs.wcs.ctype[0].endswith("CAR") and np.any(excluded != stated):
                message = (
                    "excluded pixels lie more than 180 deg from CRVAL1; set it to the longitude of the centre of the image"
                )
                raise BgnbError("invalid-value", message)
            if not excluded.any():
                raise BgnbError("invalid-value", "none of the excluded pixels lies on the sky")
        changes = [int(np.count_nonzero(np.diff(excluded, axis=axis))) for axis in (0, 1)]
        check_number_of_edges(sum(changes) * int(np.ceil(_pixel(wcs) / _EDGE)))
        header = wcs.to_header_string(relax=True)
        try:
            _wcs(header)
            is_known = wcs.wcs.ctype[0][:4] in ("RA--", "GLON")  # Astropy takes ecliptic coordinates for equatorial ones
        except ValueError:
            is_known = False
        if not is_known:
            text = "the frame must be equatorial or galactic; correct CTYPE1, CTYPE2, RADESYS and EQUINOX, or convert the image"
            raise BgnbError("invalid-value", text)
        return cls(header, excluded.shape, zlib.compress(np.packbits(excluded).tobytes(), 1))

    def at_edge(self, excluded: Bools) -> tuple[Floats, Floats, Floats]:
        """Return circles in place of the excluded pixels at the edge of the sky, some of whose corners are off the sky.

        Parameters
        ----------
        excluded : ndarray of bool, shape (rows, columns)
            True for the excluded pixels, as the image was made from.

        Returns
        -------
        tuple of ndarray
            Right ascensions, declinations (ICRS) and radii, deg, of circles about pixels whose centre is on the sky.
        """
        wcs, frame = _wcs(self.header)
        row, column = np.array(np.nonzero(excluded & ~self.excluded), dtype=float) + 0.5
        if row.size:
            on_sky = _on_sky(wcs, row, column)
            row, column = row[on_sky], column[on_sky]
        if not row.size:
            return np.zeros(0), np.zeros(0), np.zeros(0)
        ra, dec = _sky(wcs, frame, row, column)
        return ra, dec, np.full(len(ra), np.hypot(*(scale.to_value("deg") for scale in wcs.proj_plane_pixel_scales())) / 2)

    @cached_property
    def digest(self) -> str:
        """Digest of everything that defines the area."""
        return sha256(repr([self.header, self.shape]).encode() + self.excluded.tobytes()).hexdigest()

    @property
    def excluded(self) -> Bools:
        """Mask of the excluded pixels, shape (rows, columns)."""
        return _unpacked(self.packed, self.shape)

    def boundary(self, ra: float, dec: float, distance: float) -> Boundary:
        """Return the edges about the excluded pixels that are closer to a position than a distance, deg; none without any."""
        return _image_boundary(self, ra, dec, distance)

    def covers(self, ra: Floats, dec: Floats) -> Bools:
        """Return a mask of the positions (ICRS, deg) that lie in excluded pixels."""
        from astropy.coordinates import SkyCoord

        wcs, frame = _wcs(self.header)
        sky = SkyCoord(ra, dec, unit="deg").transform_to(frame)
        x, y = wcs.wcs_world2pix(sky.spherical.lon.deg, sky.spherical.lat.deg, 0)
        rows, columns = self.shape
        on_image = (x >= -0.5) & (x < columns - 0.5) & (y >= -0.5) & (y < rows - 0.5)  # False for NaN
        covered = np.zeros(len(ra), dtype=bool)
        row, column = (np.floor(values[on_image] + 0.5).astype(int) for values in (y, x))
        covered[on_image] = self.excluded[row, column]
        return covered


def crossings(rows: Floats, x: Floats, y: Floats, edges: Ints) -> tuple[Ints, Floats]:
    """Find where edges cross rows of constant y.

    Parameters
    ----------
    rows : ndarray, shape (k,)
        Values of y, in ascending order.
    x, y : ndarray, shape (n,)
        Vertices.
    edges : ndarray of int, shape (m, 2)
        Indices of both ends of each edge. The crossings of a row with closed lines are even in number.

    Returns
    -------
    tuple of ndarray
        Number of the row and x of each crossing, in order of both.
    """
    x0, x1 = x[edges].T
    y0, y1 = y[edges].T
    first, last = (np.searchsorted(rows, ends) for ends in (np.minimum(y0, y1), np.maximum(y0, y1)))
    edge, row = ranges(first, last)
    crossing = x0[edge] + (rows[row] - y0[edge]) * (x1 - x0)[edge] / (y1 - y0)[edge]
    order = np.lexsort((crossing, row))
    return row[order], crossing[order]


@lru_cache(maxsize=2)
def _unpacked(packed: bytes, shape: tuple[int, int]) -> Bools:
    bits = np.frombuffer(zlib.decompress(packed), dtype=np.uint8)
    return np.unpackbits(bits, count=shape[0] * shape[1]).reshape(shape).astype(bool)


@lru_cache(maxsize=4)
def _wcs(header: str) -> tuple[WCS, BaseCoordinateFrame]:
    from astropy.io import fits
    from astropy.wcs import WCS
    from astropy.wcs.utils import wcs_to_celestial_frame

    wcs = WCS(fits.Header.fromstring(header))
    return wcs, wcs_to_celestial_frame(wcs)


@lru_cache(maxsize=8)
def _blocks(image: SkyImage) -> tuple[int, Bools, Floats, Floats]:
    """Divide an image into blocks.

    Returns the number of pixels on a side, a mask of the blocks with excluded pixels, the centres of these
    blocks (ICRS, deg), and the maximum distance of their pixels from it, deg.
    """
    wcs, frame = _wcs(image.header)
    size = max(round(_BLOCK / _pixel(wcs)), 1)
    starts = [np.arange(0, n, size) for n in image.shape]
    used = np.logical_or.reduceat(np.logical_or.reduceat(image.excluded, starts[0], axis=0), starts[1], axis=1)
    row, column = (each * size for each in np.nonzero(used))
    steps = np.array([0.5, 0, 0, 1, 1]) * size, np.array([0.5, 0, 1, 0, 1]) * size
    ra, dec = _sky(wcs, frame, row[:, None] + steps[0], column[:, None] + steps[1])
    radius = separation(ra[:, 1:], dec[:, 1:], ra[:, :1], dec[:, :1]).max(axis=1)
    return size, used, np.nan_to_num([ra[:, 0], dec[:, 0]]), np.nan_to_num(radius, nan=180.0)


@lru_cache(maxsize=8)  # a run in pieces needs it several times
def _image_boundary(image: SkyImage, ra: float, dec: float, distance: float) -> Boundary:
    wcs, frame = _wcs(image.header)
    size, used, centers, radius = _blocks(image)
    near = separation(centers[0], centers[1], ra, dec) < radius + distance
    if not near.any():
        return _NOTHING
    chosen = np.zeros_like(used)
    chosen[used] = near
    spans = [np.flatnonzero(chosen.any(axis=axis))[[0, -1]] + [0, 1] for axis in (1, 0)]
    pixels = tuple(slice(first * size, stop * size) for first, stop in spans)
    blocks = chosen[tuple(slice(*span) for span in spans)]
    excluded = image.excluded[pixels]
    excluded = excluded & blocks.repeat(size, axis=0).repeat(size, axis=1)[: excluded.shape[0], : excluded.shape[1]]
    n_parts = int(np.ceil(_pixel(wcs) / _EDGE))  # large pixels have curved edges
    inside = np.pad(excluded.repeat(n_parts, axis=0).repeat(n_parts, axis=1), 1)
    n_columns = inside.shape[1]
    across = np.flatnonzero(inside[:-1] != inside[1:])  # index of the corner on the right, counted from the padding
    along = np.flatnonzero((inside[:, :-1] != inside[:, 1:])[1:-1])
    row, column = np.divmod(across, n_columns)
    edges = [np.stack([row * n_columns + column - 1, row * n_columns + column], axis=1)]
    row, column = np.divmod(along, n_columns - 1)
    edges.append(np.stack([row * n_columns + column, (row + 1) * n_columns + column], axis=1))
    corners, numbers = np.unique(np.concatenate(edges), return_inverse=True)
    row, column = np.divmod(corners, n_columns)
    position = _sky(wcs, frame, pixels[0].start + row / n_parts, pixels[1].start + column / n_parts)
    return Boundary(*position, numbers.reshape(-1, 2))


def _pixel(wcs: WCS) -> float:
    """Return the larger width of a pixel, deg."""
    return float(max(np.abs(scale.to_value("deg")) for scale in wcs.proj_plane_pixel_scales()))


def _sky(wcs: WCS, frame: BaseCoordinateFrame, row: Floats, column: Floats) -> tuple[Floats, Floats]:
    """Compute positions (ICRS, deg) from rows and columns, counted from the corner of the first pixel."""
    from astropy.coordinates import SkyCoord

    lon, lat = wcs.wcs_pix2world(column - 0.5, row - 0.5, 0)
    icrs = SkyCoord(lon, np.where(np.abs(lat) <= 90, lat, np.nan), unit="deg", frame=frame).icrs
    return icrs.ra.deg, icrs.dec.deg


def _on_sky(wcs: WCS, row: Floats | Ints, column: Floats | Ints) -> Bools:
    """Return a mask of the corners of pixels that are positions on the sky."""
    lon, lat = wcs.wcs_pix2world(column - 0.5, row - 0.5, 0)
    return np.isfinite(lon) & (np.abs(lat) <= 90)


def _unit_vectors(ra: Floats, dec: Floats) -> Floats:
    """Compute unit vectors, shape (n, 3), of positions, deg."""
    lon, lat = np.radians(ra), np.radians(dec)
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=1)


def _positions(vectors: Floats) -> tuple[Floats, Floats]:
    """Compute right ascensions and declinations, deg, of vectors, shape (n, 3)."""
    x, y, z = vectors.T
    return np.degrees(np.arctan2(y, x)), np.degrees(np.arctan2(z, np.hypot(x, y)))


def _about(lon: float, lat: float, ra: Floats, dec: Floats) -> tuple[Floats, Floats]:
    """Compute longitudes and latitudes, deg, in the frame with a position on its equator at longitude 0."""
    (sin_lon, cos_lon), (sin_lat, cos_lat) = ((np.sin(angle), np.cos(angle)) for angle in np.radians([lon, lat]))
    x, y, z = _unit_vectors(ra, dec).T
    x, y = x * cos_lon + y * sin_lon, y * cos_lon - x * sin_lon
    return _positions(np.stack([x * cos_lat + z * sin_lat, y, z * cos_lat - x * sin_lat], axis=1))


_NOTHING = Boundary(np.zeros(0), np.zeros(0), np.zeros((0, 2), dtype=int))
